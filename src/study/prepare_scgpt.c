/* Trains scGPT by the options of group "model": chooses genes, names them, writes the history.
 *
 * The vocabulary of scGPT is gene symbols. Genes keep the name that they have in the file, so that
 * scGPT finds them there; those named by an Ensembl id get their current symbol, where it is known
 * and no other gene has it. */
#include "study/prepare.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/scgpt_train.h"

static void read_options(const cpt_options *o, const cpt_context *ctx, cpt_scgpt_train_options *t)
{
    cpt_scgpt_train_options_init(t);
    t->width = (int32_t)cpt_options_integer(o, "embsize");
    t->n_layers = (int32_t)cpt_options_integer(o, "layers");
    t->n_heads = (int32_t)cpt_options_integer(o, "heads");
    t->max_tokens = (int32_t)cpt_options_integer(o, "max-length");
    t->n_epochs = (int32_t)cpt_options_integer(o, "epochs");
    t->batch_size = (int32_t)cpt_options_integer(o, "batch-size");
    t->mask_ratio = cpt_options_number(o, "mask-ratio");
    t->mvc_weight = cpt_options_number(o, "mvc-weight");
    t->learning_rate = cpt_options_number(o, "learning-rate");
    t->dropout = cpt_options_number(o, "dropout");
    t->seed = ctx->seed;
}

static bool is_ensembl(const char *id)
{
    return strncmp(id, "ENS", 3) == 0 && strlen(id) >= 15;
}

/* `seen` holds the names given so far, and the ids of all genes: a symbol that is another gene's id
 * would be mistaken for it when cells are aligned. */
static cpt_status name_genes(const cpt_cells *cells, const int32_t *to_model, cpt_strings *names,
                             cpt_err *e)
{
    cpt_gene_map map = {0};
    json_t *seen = json_object();
    cpt_status status;
    CPT_TRY(seen ? CPT_OK : cpt_fail(e, CPT_ERR_MEMORY, "out of memory"));
    CPT_TRY(cpt_prepare_symbols(cells, &map, e));
    for (int32_t j = 0; j < cells->n_genes; j++)
        json_object_set_new(seen, cpt_strings_get(&cells->gene_ids, j), json_integer(j));
    for (int32_t j = 0; j < cells->n_genes; j++) {
        if (to_model[j] < 0) continue;
        const char *id = cpt_strings_get(&cells->gene_ids, j);
        const char *name = is_ensembl(id) ? cpt_strings_get(&map.symbols, j) : id;
        const json_t *owner = json_object_get(seen, name);
        if (owner && json_integer_value(owner) != j) name = id;
        json_object_set_new(seen, name, json_integer(j));
        CPT_TRY(cpt_strings_add(names, name, strlen(name), e));
    }
done:
    json_decref(seen);
    cpt_gene_map_free(&map);
    return status;
}

static void add_number(cpt_text *t, double x, char end)
{
    if (isfinite(x)) cpt_text_addf(t, "%.9g%c", x, end);
    else cpt_text_addf(t, "NA%c", end);
}

static void add_history(const cpt_scgpt_history *h, cpt_text *t)
{
    cpt_text_add(t,
                 "epoch\tlearning_rate\tgep\tmvc\tgradient_norm\tgep_validation\tmvc_validation\n");
    for (int32_t i = 0; i < h->n; i++) {
        const cpt_scgpt_epoch *r = &h->epochs[i];
        cpt_text_addf(t, "%d\t%.6g\t", r->epoch, r->rate);
        add_number(t, r->gep, '\t');
        add_number(t, r->mvc, '\t');
        add_number(t, r->gradient_norm, '\t');
        add_number(t, r->gep_validation, '\t');
        add_number(t, r->mvc_validation, '\n');
    }
}

cpt_status cpt_prepare_scgpt(const cpt_cells *cells, const cpt_options *o, cpt_model **out,
                             cpt_text *history, const cpt_context *ctx, cpt_err *e)
{
    int32_t *to_model = NULL, n_model = 0;
    cpt_strings names = {0};
    cpt_counts counts;
    cpt_scgpt_train_options t;
    cpt_scgpt_history epochs = {0};
    cpt_status status;
    read_options(o, ctx, &t);
    CPT_TRY(cpt_prepare_genes(cells, o, &to_model, &n_model, ctx, e));
    CPT_TRY(name_genes(cells, to_model, &names, e));
    CPT_TRY(cpt_counts_init(&counts, &cells->by_cell, to_model, n_model, e));
    CPT_TRY(cpt_scgpt_train(&counts, &names, &t, out, &epochs, ctx, e));
    const cpt_scgpt_epoch *last = epochs.n ? &epochs.epochs[epochs.n - 1] : NULL;
    if (!last) cpt_warn(ctx, "scGPT: 0 epochs: the network is untrained, of use as a control only");
    else
        cpt_info(
            ctx,
            "scGPT: %d genes, %d epochs on %lld cells, squared error of a bin %.1f (masked genes) "
            "and %.1f (from the cell's embedding); validation %.1f and %.1f",
            n_model, epochs.n, (long long)epochs.n_train, last->gep, last->mvc,
            last->gep_validation, last->mvc_validation);
    add_history(&epochs, history);
    status = cpt_text_status(history, e);
done:
    cpt_scgpt_history_free(&epochs);
    free(to_model);
    cpt_strings_free(&names);
    return status;
}

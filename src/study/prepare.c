#include "study/prepare.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/random.h"
#include "io/import.h"
#include "model/scgpt.h"
#include "model/scvi.h"
#include "model/variable_genes.h"
#include "study/share.h"
#include "study/store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_LIMIT = 4096 };
/* ---- cells ---- */

cpt_status cpt_prepare_cells(const char *input, const char *folder, const cpt_options *o,
                             const cpt_context *ctx, cpt_err *e)
{
    const char *layer = cpt_options_text(o, "layer"), *model = cpt_options_text(o, "model");
    cpt_import_options import = {.need_counts = true, .layer = *layer ? layer : NULL};
    import.allow_non_counts = cpt_prepare_is_fixed(model);
    if (strncmp(model, "obsm:", 5) == 0) import.obsm = model + 5;
    cpt_cells *cells = NULL;
    cpt_status status;
    CPT_TRY(cpt_import(input, folder, &import, ctx, e));
    CPT_TRY(cpt_cells_open_shallow(folder, &cells, e)); /* the import has checked it */
    cpt_info(ctx, "cells: %lld cells x %d genes, %lld counts from %s", (long long)cells->n_cells,
             cells->n_genes,
             (long long)(cells->has_counts ? cells->by_cell.indptr[cells->n_cells] : 0),
             cells->counts_from ? cells->counts_from : "nowhere");
    for (int64_t i = 0; i < cells->notes.n; i++)
        cpt_info(ctx, "%s", cpt_strings_get(&cells->notes, i));
    if (cells->n_cells < 10)
        status =
            cpt_fail(e, CPT_ERR_DATA,
                     "%s: only %lld cells; concepts need at least 10, and some hundreds to mean "
                     "anything",
                     input, (long long)cells->n_cells);
done:
    cpt_cells_free(cells);
    return status;
}

cpt_status cpt_prepare_symbols(const cpt_cells *cells, cpt_gene_map *map, cpt_err *e)
{
    char path[PATH_LIMIT];
    cpt_gene_table *table = NULL;
    cpt_status status = cpt_share_path("human_genes.tsv.gz", path, sizeof path, e);
    if (status == CPT_OK) status = cpt_gene_table_open(path, &table, e);
    if (status == CPT_OK) status = cpt_gene_map_make(table, &cells->gene_ids, &cells->var, map, e);
    cpt_gene_table_free(table);
    return status;
}

/* ---- models ---- */

static int choice(const cpt_options *o, const char *name, int n, const char *const names[])
{
    for (int i = 1; i < n; i++)
        if (strcmp(cpt_options_text(o, name), names[i]) == 0) return i;
    return 0;
}

static void scgpt_options(const cpt_options *o, cpt_scgpt_options *out)
{
    static const char *const ties[] = {"left", "random", "numpy"},
                             *const overflow[] = {"random", "top", "first", "torch"},
                             *const space[] = {"bins", "counts"},
                             *const precision[] = {"f32", "bf16"};
    out->ties = (cpt_scgpt_ties)choice(o, "ties", 3, ties);
    out->overflow = (cpt_scgpt_overflow)choice(o, "overflow", 4, overflow);
    out->space = (cpt_scgpt_space)choice(o, "space", 2, space);
    out->precision = (cpt_scgpt_precision)choice(o, "precision", 2, precision);
    out->tie_draws = (int32_t)cpt_options_integer(o, "tie-draws");
    out->max_tokens = (int32_t)cpt_options_integer(o, "max-tokens");
}

cpt_status cpt_prepare_open_model(const char *path, const cpt_options *o, cpt_model **out,
                                  const cpt_context *ctx, cpt_err *e)
{
    cpt_status status = cpt_model_open(path, out, ctx, e);
    if (status || !cpt_model_is_scgpt(*out)) return status;
    cpt_scgpt_options scgpt;
    cpt_scgpt_options_init(&scgpt);
    scgpt.seed = ctx->seed;
    scgpt_options(o, &scgpt);
    status = cpt_scgpt_set_options(*out, &scgpt, e);
    if (status) {
        cpt_model_free(*out);
        *out = NULL;
    }
    return status;
}

cpt_status cpt_prepare_align(const cpt_model *m, const cpt_strings *gene_ids,
                             const cpt_strings *symbols, const cpt_options *o, cpt_alignment *out,
                             cpt_err *e)
{
    char path[PATH_LIMIT];
    cpt_gene_table *table = NULL;
    const bool aliases = cpt_options_flag(o, "gene-aliases");
    cpt_status status = CPT_OK;
    if (aliases) {
        CPT_TRY(cpt_share_path("human_genes.tsv.gz", path, sizeof path, e));
        CPT_TRY(cpt_gene_table_open(path, &table, e));
    }
    status = cpt_align_genes(&m->gene_names, gene_ids, symbols, table, aliases, out, e);
done:
    cpt_gene_table_free(table);
    return status;
}

/* A vocabulary of all human genes is never found whole in an input: there the input's share counts.
 */
void cpt_prepare_report_coverage(const cpt_model *m, const cpt_alignment *a, int32_t n_columns,
                                 const cpt_context *ctx)
{
    const bool vocabulary = cpt_model_is_scgpt(m);
    const int32_t of = vocabulary ? n_columns : m->n_genes;
    const double share = (double)a->n_found / (of > 0 ? of : 1);
    const bool few = share < (vocabulary ? 0.5 : 0.8);
    cpt_log(ctx, few ? CPT_LOG_WARN : CPT_LOG_INFO,
            vocabulary
                ? "model: %s; %d of the input's %d genes are in its vocabulary (%.0f %%, %d by "
                  "an alias)%s"
                : "model: %s; %d of its %d genes are in the input (%.0f %%, %d by an alias)%s",
            cpt_text_str(&m->description), a->n_found, of, 100 * share, a->n_by_alias,
            !few         ? ""
            : vocabulary ? "; the others are not seen by it: are the ids symbols of human genes? "
                           "--gene-aliases brings old symbols to current ones"
                         : "; the others count as 0, which may distort the embedding");
}

bool cpt_prepare_is_fixed(const char *name)
{
    size_t n = strlen(name);
    return strncmp(name, "obsm:", 5) == 0 || (n > 4 && strcmp(name + n - 4, ".npy") == 0);
}

bool cpt_row_is_finite(const float *row, int32_t dim)
{
    for (int32_t j = 0; j < dim; j++)
        if (!isfinite(row[j])) return false;
    return true;
}

cpt_status cpt_prepare_npy(const char *path, float **values, int64_t *n, int32_t *dim, cpt_err *e)
{
    cpt_npy a;
    cpt_status status = cpt_npy_open(path, &a, e);
    if (status) return status;
    if (a.n_dims != 2 || (a.dtype != CPT_F32 && a.dtype != CPT_F64) || a.shape[1] < 1 ||
        a.shape[1] > 65536) {
        status =
            cpt_fail(e, CPT_ERR_DATA,
                     "%s: a matrix of float32 or float64, cells x dimensions, is expected", path);
        goto done;
    }
    CPT_TRY(cpt_alloc(values, (size_t)a.n_items, sizeof **values, e));
    if (a.dtype == CPT_F32) memcpy(*values, a.data, (size_t)a.n_items * sizeof **values);
    for (int64_t i = 0; a.dtype == CPT_F64 && i < a.n_items; i++) {
        double x;
        memcpy(&x, (const char *)a.data + 8 * i, 8);
        (*values)[i] = (float)x;
    }
    *n = a.shape[0];
    *dim = (int32_t)a.shape[1];
done:
    cpt_npy_close(&a);
    return status;
}

static cpt_status no_obsm(const cpt_cells *cells, const char *name, cpt_err *e)
{
    cpt_text there = {0};
    for (int32_t i = 0; i < cells->n_obsm; i++)
        cpt_text_addf(&there, "%s%s", i ? ", " : "", cells->obsm[i].name);
    cpt_fail(e, CPT_ERR_DATA, "--model %s: obsm of the cells has no '%s'; it holds %s", name, name + 5,
             cells->n_obsm ? cpt_text_str(&there) : "nothing");
    cpt_text_free(&there);
    return CPT_ERR_DATA;
}

cpt_status cpt_prepare_fixed(const cpt_cells *cells, const char *name, float **values, int32_t *dim,
                             cpt_err *e)
{
    int64_t n;
    if (strncmp(name, "obsm:", 5) == 0) {
        const cpt_obsm *m = cpt_cells_obsm(cells, name + 5);
        if (!m) return no_obsm(cells, name, e);
        *dim = (int32_t)m->width;
        cpt_status status =
            cpt_alloc(values, (size_t)cells->n_cells * (size_t)m->width, sizeof **values, e);
        if (status == CPT_OK)
            memcpy(*values, m->values, (size_t)cells->n_cells * (size_t)m->width * sizeof **values);
        return status;
    }
    cpt_status status = cpt_prepare_npy(name, values, &n, dim, e);
    if (status == CPT_OK && n != cells->n_cells) {
        free(*values);
        *values = NULL;
        return cpt_fail(e, CPT_ERR_DATA, "%s: %lld rows, but there are %lld cells", name,
                        (long long)n, (long long)cells->n_cells);
    }
    return status;
}

cpt_status cpt_prepare_genes(const cpt_cells *cells, const cpt_options *o, int32_t **to_model,
                             int32_t *n_model, const cpt_context *ctx, cpt_err *e)
{
    int64_t want = cpt_options_integer(o, "genes");
    int32_t *chosen = NULL, n_chosen = 0;
    double *variances = NULL;
    cpt_variable_genes_options v;
    cpt_status status;
    CPT_TRY(cpt_alloc(to_model, (size_t)cells->n_genes, sizeof **to_model, e));
    for (int32_t j = 0; j < cells->n_genes; j++) (*to_model)[j] = -1;
    if (want == 0 || want > cells->n_genes) want = cells->n_genes;
    cpt_variable_genes_options_init(&v);
    v.n_top = (int32_t)want;
    CPT_TRY(cpt_alloc(&chosen, (size_t)want, sizeof *chosen, e));
    CPT_TRY(cpt_alloc(&variances, (size_t)cells->n_genes, sizeof *variances, e));
    CPT_TRY(cpt_variable_genes(&cells->by_gene, &v, variances, chosen, &n_chosen, ctx, e));
    cpt_cells_forget(cells);
    for (int32_t i = 0; i < n_chosen; i++) (*to_model)[chosen[i]] = i;
    *n_model = n_chosen;
    if (n_chosen == 0)
        status =
            cpt_fail(e, CPT_ERR_DATA,
                     "none of the %d genes varies over the cells; there is nothing to train on",
                     cells->n_genes);
done:
    free(chosen);
    free(variances);
    if (status) {
        free(*to_model);
        *to_model = NULL;
    }
    return status;
}

/* The rule of scvi-tools gives large data fewer passes; small data we give fewer than it does (doc/methods.md). */
static int32_t scvi_epochs(int32_t asked, int64_t n_cells)
{
    enum { MOST = 60 };
    const int32_t rule = cpt_scvi_default_epochs(n_cells);
    return asked >= 0 ? asked : rule < MOST ? rule : MOST;
}

static cpt_status scvi_options(const cpt_options *o, const cpt_column *batches, int64_t n_cells,
                               cpt_scvi_options *t, cpt_err *e)
{
    cpt_scvi_options_init(t);
    t->n_hidden = (int32_t)cpt_options_integer(o, "hidden");
    t->n_latent = (int32_t)cpt_options_integer(o, "latent");
    t->n_layers = (int32_t)cpt_options_integer(o, "layers");
    t->n_epochs = scvi_epochs((int32_t)cpt_options_integer(o, "epochs"), n_cells);
    t->kl_warmup = (int32_t)cpt_options_integer(o, "kl-warmup");
    t->early_stopping = cpt_options_flag(o, "early-stopping");
    t->likelihood =
        strcmp(cpt_options_text(o, "likelihood"), "zinb") == 0 ? CPT_SCVI_ZINB : CPT_SCVI_NB;
    if (!batches) return CPT_OK;
    for (int64_t i = 0; i < n_cells; i++)
        if (batches->codes[i] < 0)
            return cpt_fail(
                e, CPT_ERR_DATA,
                "--batch %s: cell %lld has no value; fill the column or leave --batch out",
                batches->name, (long long)i);
    t->n_batches = (int32_t)batches->categories.n;
    t->batch_codes = batches->codes;
    t->batch_names = &batches->categories;
    t->batch_key = batches->name;
    return CPT_OK;
}

static void add_history(const cpt_scvi_history *h, cpt_text *t)
{
    cpt_text_add(
        t, "epoch\tkl_weight\tloss\telbo_train\treconstruction_train\tkl_train\telbo_validation\n");
    for (int32_t i = 0; i < h->n; i++) {
        const cpt_scvi_epoch *r = &h->epochs[i];
        cpt_text_addf(t, "%d\t%.6g\t%.9g\t%.9g\t%.9g\t%.9g\t", r->epoch, r->kl_weight, r->loss,
                      r->elbo_train, r->reconstruction_train, r->kl_train);
        if (isfinite(r->elbo_validation)) cpt_text_addf(t, "%.9g\n", r->elbo_validation);
        else cpt_text_add(t, "NA\n");
    }
}

static cpt_status train_scvi(const cpt_cells *cells, const cpt_options *o, cpt_model **out,
                             cpt_text *history, const cpt_context *ctx, cpt_err *e)
{
    int32_t *to_model = NULL, n_model = 0;
    cpt_strings names = {0};
    cpt_counts counts;
    cpt_scvi_options t;
    cpt_scvi_history epochs = {0};
    cpt_status status;
    const char *batch = cpt_options_text(o, "batch");
    const cpt_column *batches = *batch ? cpt_table_find(&cells->obs, batch) : NULL;
    if (*batch && (!batches || batches->kind != CPT_COLUMN_CATEGORY))
        return cpt_fail(e, CPT_ERR_DATA, "--batch: obs has no categorical column '%s'", batch);
    if (!cells->integer)
        cpt_warn(ctx, "the values are not whole counts; scVI's likelihood is meant for raw counts");
    CPT_TRY(cpt_prepare_genes(cells, o, &to_model, &n_model, ctx, e));
    for (int32_t j = 0; j < cells->n_genes; j++) {
        const char *name = cpt_strings_get(&cells->gene_ids, j);
        if (to_model[j] >= 0) CPT_TRY(cpt_strings_add(&names, name, strlen(name), e));
    }
    CPT_TRY(cpt_counts_init(&counts, &cells->by_cell, to_model, n_model, e));
    CPT_TRY(scvi_options(o, batches, cells->n_cells, &t, e));
    t.seed = ctx->seed;
    CPT_TRY(cpt_scvi_train(&counts, &names, &t, out, &epochs, ctx, e));
    cpt_info(ctx,
             "scVI: %d genes, %d epochs on %lld cells, ELBO %.2f (reconstruction %.2f, KL %.2f)",
             n_model, epochs.n, (long long)epochs.n_train,
             epochs.n ? epochs.epochs[epochs.n - 1].elbo_train : NAN,
             epochs.n ? epochs.epochs[epochs.n - 1].reconstruction_train : NAN,
             epochs.n ? epochs.epochs[epochs.n - 1].kl_train : NAN);
    add_history(&epochs, history);
    status = cpt_text_status(history, e);
done:
    cpt_scvi_history_free(&epochs);
    free(to_model);
    cpt_strings_free(&names);
    return status;
}

bool cpt_prepare_is_trained(const char *name)
{
    return strcmp(name, "scvi") == 0 || strcmp(name, "scgpt") == 0;
}

cpt_status cpt_prepare_train(const cpt_cells *cells, const cpt_options *o, cpt_model **out,
                             cpt_text *history, const cpt_context *ctx, cpt_err *e)
{
    return strcmp(cpt_options_text(o, "model"), "scgpt") == 0
               ? cpt_prepare_scgpt(cells, o, out, history, ctx, e)
               : train_scvi(cells, o, out, history, ctx, e);
}

/* ---- dictionaries ---- */

void cpt_prepare_dictionary_options(const cpt_options *o, cpt_dictionary_options *d)
{
    cpt_dictionary_options_init(d);
    const char *preset = cpt_options_text(o, "preset");
    d->kind = cpt_options_text(o, "dictionary");
    d->preset = *preset ? preset : NULL;
    d->expansion = (int32_t)cpt_options_integer(o, "expansion");
    d->n_concepts = (int32_t)cpt_options_integer(o, "concepts");
    d->k = (int32_t)cpt_options_integer(o, "k");
    d->groups = cpt_options_text(o, "groups");
    d->epochs = (int32_t)cpt_options_integer(o, "dictionary-epochs");
    d->ema = cpt_options_flag(o, "ema");
}

void cpt_split_free(cpt_split *s)
{
    free(s->train);
    free(s->validation);
    *s = (cpt_split){0};
}

/* Marks cells [n] 1 = validation: whole donors in random order until the share is reached. */
static cpt_status mark_donors(const cpt_column *donor, int64_t n, double share, cpt_stream *random,
                              uint8_t *mark, cpt_err *e)
{
    int32_t *order = NULL;
    int64_t *size = NULL, taken = 0;
    int32_t m = (int32_t)donor->categories.n;
    cpt_status status;
    CPT_TRY(cpt_alloc(&order, (size_t)m, sizeof *order, e));
    CPT_TRY(cpt_alloc(&size, (size_t)m, sizeof *size, e));
    for (int64_t i = 0; i < n; i++)
        if (donor->codes[i] >= 0) size[donor->codes[i]]++;
    for (int32_t i = 0; i < m; i++) order[i] = i;
    cpt_stream_shuffle_i32(random, order, m);
    for (int32_t i = 0; i + 1 < m && (double)taken < share * (double)n; i++) {
        for (int64_t j = 0; j < n; j++)
            if (donor->codes[j] == order[i]) mark[j] = 1;
        taken += size[order[i]];
    }
done:
    free(order);
    free(size);
    return status;
}

cpt_status cpt_split_make(const float *a, int64_t n, int32_t dim, const cpt_column *donor,
                          double share, uint64_t seed, cpt_split *out, cpt_err *e)
{
    int64_t *usable = NULL, n_usable = 0;
    uint8_t *mark = NULL;
    cpt_stream random;
    cpt_status status;
    *out = (cpt_split){0};
    cpt_stream_init(&random, seed, CPT_RANDOM_SPLIT, 0);
    CPT_TRY(cpt_alloc(&usable, (size_t)n, sizeof *usable, e));
    CPT_TRY(cpt_alloc(&mark, (size_t)n, 1, e));
    for (int64_t i = 0; i < n; i++)
        if (cpt_row_is_finite(a + i * dim, dim)) usable[n_usable++] = i;
    out->by_donor = donor && donor->categories.n >= 5;
    if (out->by_donor) {
        CPT_TRY(mark_donors(donor, n, share, &random, mark, e));
    } else {
        int64_t n_validation = (int64_t)floor(share * (double)n_usable);
        cpt_stream_shuffle_i64(&random, usable, n_usable);
        for (int64_t i = 0; i < n_validation; i++) mark[usable[i]] = 1;
    }
    CPT_TRY(cpt_alloc(&out->train, (size_t)n_usable, sizeof *out->train, e));
    CPT_TRY(cpt_alloc(&out->validation, (size_t)n_usable, sizeof *out->validation, e));
    for (int64_t i = 0; i < n; i++) {
        if (!cpt_row_is_finite(a + i * dim, dim)) continue;
        if (mark[i]) out->validation[out->n_validation++] = i;
        else out->train[out->n_train++] = i;
    }
done:
    free(usable);
    free(mark);
    if (status) cpt_split_free(out);
    return status;
}

static json_t *reconstruction_json(const cpt_reconstruction *r)
{
    return json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "n", (json_int_t)r->n, "r2_feature",
                     cpt_json_number(r->r2_feature), "r2_scalar", cpt_json_number(r->r2_scalar),
                     "fvu", cpt_json_number(r->fvu), "cosine", cpt_json_number(r->cosine), "l0",
                     cpt_json_number(r->l0), "dead_fraction", cpt_json_number(r->dead_fraction));
}

json_t *cpt_dictionary_report_json(const cpt_dictionary *d, const cpt_dictionary_report *r)
{
    return json_pack("{s:s, s:i, s:i, s:i, s:i, s:o, s:o, s:{s:o, s:o}, s:o, s:I, s:I, s:o}", "kind",
                     d->ops->kind, "n_concepts", d->n_concepts, "dim", d->dim, "max_active",
                     d->max_active, "k", d->k, "train", reconstruction_json(&r->train), "validation",
                     reconstruction_json(&r->validation), "mean_baseline", "r2_feature",
                     cpt_json_number(r->mean_baseline_feature), "r2_scalar",
                     cpt_json_number(r->mean_baseline_scalar), "gamma", cpt_json_number(r->gamma),
                     "n_steps", (json_int_t)r->n_steps, "n_resampled", (json_int_t)r->n_resampled,
                     "final_loss", cpt_json_number(r->final_loss));
}

#include "base/file.h"
#include "base/memory.h"
#include "model/fixed.h"
#include "study/manifest.h"
#include "study/prepare.h"
#include "study/store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The accessors of study.h: each opens what an earlier stage wrote, once, and keeps it. */

enum { PATH_LIMIT = CPT_STUDY_PATH_LIMIT };

cpt_status cpt_study_cells(cpt_study *s, const cpt_cells **out, cpt_err *e)
{
    char path[PATH_LIMIT];
    cpt_status status = CPT_OK;
    if (!s->cells) {
        status = cpt_study_path(s, "cache/cells", path, sizeof path, e);
        if (status == CPT_OK) status = cpt_cells_open(path, &s->cells, e);
    }
    *out = s->cells;
    return status;
}

/* cache/genes.tsv: id, symbol, how it was found; one line per gene of the input, in order. */
cpt_status cpt_study_symbols(cpt_study *s, const cpt_strings **out, cpt_err *e)
{
    const cpt_cells *cells;
    char path[PATH_LIMIT], *line;
    *out = &s->symbols;
    if (s->have_symbols) return CPT_OK;
    cpt_status status = cpt_study_cells(s, &cells, e);
    if (status == CPT_OK) status = cpt_study_path(s, "cache/genes.tsv", path, sizeof path, e);
    if (status) return status;
    cpt_lines *in = cpt_lines_open(path, 1 << 20, e);
    if (!in) return CPT_ERR_IO;
    CPT_TRY(cpt_lines_next(in, &line, NULL, e)); /* header */
    while ((status = cpt_lines_next(in, &line, NULL, e)) == CPT_OK && line) {
        char *symbol = strchr(line, '\t'), *end = symbol ? strchr(symbol + 1, '\t') : NULL;
        if (!end) {
            status = cpt_lines_fail(in, e, "three columns are expected");
            goto done;
        }
        CPT_TRY(cpt_strings_add(&s->symbols, symbol + 1, (size_t)(end - symbol - 1), e));
    }
    if (status) goto done;
    if (s->symbols.n != cells->n_genes)
        status = cpt_fail(e, CPT_ERR_FORMAT, "%s: %lld genes, the cells have %d", path,
                          (long long)s->symbols.n, cells->n_genes);
done:
    cpt_lines_close(in);
    s->have_symbols = status == CPT_OK;
    return status;
}

/* Without an option, the usual names of a cell type column serve; other columns must be asked for.
 */
cpt_status cpt_study_column(cpt_study *s, const char *which, const cpt_column **out, cpt_err *e)
{
    static const char *const usual[] = {
        "cell_type",  "celltype", "CellType", "cell_ontology_class", "cell_type_ontology_term_id",
        "annotation", "label",    "labels"};
    const cpt_cells *cells;
    const char *name = cpt_options_text(s->options, which);
    *out = NULL;
    cpt_status status = cpt_study_cells(s, &cells, e);
    if (status) return status;
    if (*name) {
        *out = cpt_table_find(&cells->obs, name);
        if (!*out) {
            const char *names[256];
            size_t n = 0;
            for (int32_t i = 0; i < cells->obs.n_columns && n < 256; i++)
                names[n++] = cells->obs.columns[i].name;
            const char *near = cpt_nearest_word(name, names, n);
            return cpt_fail(e, CPT_ERR_DATA,
                            "%s: --%s: obs has no column '%s'%s%s%s; `conceptome inspect` lists "
                            "the columns",
                            s->input ? s->input : s->folder, which, name,
                            near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
        }
        if ((*out)->kind != CPT_COLUMN_CATEGORY)
            return cpt_fail(e, CPT_ERR_DATA,
                            "%s: --%s: column '%s' holds numbers; a categorical column is needed "
                            "(in Python: adata.obs[...] = adata.obs[...].astype(str))",
                            s->input ? s->input : s->folder, which, name);
        return CPT_OK;
    }
    if (strcmp(which, "label") != 0) return CPT_OK;
    for (size_t i = 0; i < sizeof usual / sizeof *usual && !*out; i++) {
        const cpt_column *c = cpt_table_find(&cells->obs, usual[i]);
        if (c && c->kind == CPT_COLUMN_CATEGORY && c->categories.n <= 1000) *out = c;
    }
    return CPT_OK;
}

/* cache/model.json says where the model is: {"kind", "path", "trained", ...}. */
cpt_status cpt_study_model(cpt_study *s, cpt_model **out, cpt_err *e)
{
    json_t *record = NULL;
    char path[PATH_LIMIT];
    *out = s->model;
    if (s->model) return CPT_OK;
    const cpt_cells *cells;
    cpt_status status;
    CPT_TRY(cpt_study_cells(s, &cells, e));
    CPT_TRY(cpt_store_read_json(s, "cache/model.json", "model", &record, e));
    const char *where = json_string_value(json_object_get(record, "path"));
    const char *kind = json_string_value(json_object_get(record, "kind"));
    if (!where || !kind) {
        status = cpt_fail(e, CPT_ERR_FORMAT,
                          "%s/cache/model.json: damaged; delete it and run again", s->folder);
        goto done;
    }
    if (strcmp(kind, "fixed") == 0) {
        int64_t shape[2] = {cells->n_cells, -1};
        CPT_TRY(cpt_study_path(s, where, path, sizeof path, e));
        CPT_TRY(cpt_npy_open_as(path, CPT_F32, 2, shape, &s->fixed, e));
        status = cpt_fixed_new(s->fixed.data, s->fixed.shape[0], (int32_t)s->fixed.shape[1],
                               cpt_options_text(s->options, "model"), &s->model, e);
    } else if (where[0] == '/') {
        status = cpt_prepare_open_model(where, s->options, &s->model, s->ctx, e);
    } else {
        CPT_TRY(cpt_study_path(s, where, path, sizeof path, e));
        status = cpt_prepare_open_model(path, s->options, &s->model, s->ctx, e);
    }
    *out = s->model;
done:
    json_decref(record);
    return status;
}

cpt_status cpt_study_counts(cpt_study *s, const cpt_counts **out, cpt_err *e)
{
    const cpt_cells *cells;
    const cpt_strings *symbols;
    cpt_model *model;
    *out = &s->counts;
    if (s->counts.csr) return CPT_OK;
    cpt_status status;
    CPT_TRY(cpt_study_cells(s, &cells, e));
    CPT_TRY(cpt_study_symbols(s, &symbols, e));
    CPT_TRY(cpt_study_model(s, &model, e));
    if (!cpt_model_has_counterfactuals(model)) {
        status = cpt_counts_init(&s->counts, &cells->by_cell, NULL, cells->n_genes, e);
        goto done;
    }
    CPT_TRY(
        cpt_prepare_align(model, &cells->gene_ids, symbols, s->options, &s->alignment, e));
    if (s->alignment.n_found == 0) {
        status =
            cpt_fail(e, CPT_ERR_DATA,
                     "%s: none of the model's %d genes (such as %s) is among the input's "
                     "(such as %s); are the ids of one kind?",
                     s->input ? s->input : s->folder, model->n_genes,
                     cpt_strings_get(&model->gene_names, 0), cpt_strings_get(&cells->gene_ids, 0));
        goto done;
    }
    status = cpt_counts_init(&s->counts, &cells->by_cell, s->alignment.to_model, model->n_genes, e);
done:
    return status;
}

cpt_status cpt_study_universe(cpt_study *s, const cpt_universe **out, cpt_err *e)
{
    const cpt_cells *cells;
    const cpt_strings *symbols;
    const cpt_counts *counts;
    cpt_universe *u = &s->universe;
    *out = u;
    if (s->have_universe) return CPT_OK;
    cpt_status status;
    CPT_TRY(cpt_study_cells(s, &cells, e));
    CPT_TRY(cpt_study_symbols(s, &symbols, e));
    CPT_TRY(cpt_study_counts(s, &counts, e));
    CPT_TRY(cpt_alloc(&u->columns, (size_t)cells->n_genes, sizeof *u->columns, e));
    CPT_TRY(cpt_alloc(&u->model_genes, (size_t)cells->n_genes, sizeof *u->model_genes, e));
    const int32_t *to_model = s->alignment.to_model; /* NULL for fixed embeddings */
    for (int32_t j = 0; j < cells->n_genes; j++) {
        bool expressed = cells->by_gene.indptr[j + 1] > cells->by_gene.indptr[j];
        if (!expressed || (to_model && to_model[j] < 0)) continue;
        const char *name = cpt_strings_get(&cells->gene_ids, j),
                   *symbol = cpt_strings_get(symbols, j);
        u->columns[u->n] = j;
        u->model_genes[u->n++] = to_model ? to_model[j] : -1;
        CPT_TRY(cpt_strings_add(&u->names, name, strlen(name), e));
        CPT_TRY(cpt_strings_add(&u->symbols, symbol, strlen(symbol), e));
    }
    s->have_universe = true;
done:
    return status;
}

cpt_status cpt_study_embedding(cpt_study *s, const float **values, int64_t *n, int32_t *dim,
                               cpt_err *e)
{
    if (!s->embedding.data) {
        cpt_status status =
            cpt_store_open(s, "embedding", "embedding", CPT_F32, -1, -1, &s->embedding, e);
        if (status) return status;
    }
    *values = s->embedding.data;
    *n = s->embedding.shape[0];
    *dim = (int32_t)s->embedding.shape[1];
    return CPT_OK;
}

cpt_status cpt_study_umap(cpt_study *s, const float **values, cpt_err *e)
{
    if (!s->umap.data) {
        cpt_status status = cpt_store_open(s, "umap", "map", CPT_F32, -1, 2, &s->umap, e);
        if (status) return status;
    }
    *values = s->umap.data;
    return CPT_OK;
}

cpt_status cpt_study_split(cpt_study *s, const uint8_t **validation, cpt_err *e)
{
    if (!s->split.data) {
        cpt_status status = cpt_store_open(s, "split", "dictionary", CPT_U8, -1, 0, &s->split, e);
        if (status) return status;
    }
    *validation = s->split.data;
    return CPT_OK;
}

cpt_status cpt_study_dictionary(cpt_study *s, cpt_dictionary **out, cpt_err *e)
{
    char path[PATH_LIMIT];
    cpt_status status = CPT_OK;
    if (!s->dictionary) {
        status = cpt_study_path(s, "dictionary", path, sizeof path, e);
        if (status == CPT_OK) status = cpt_dictionary_open(path, &s->dictionary, e);
    }
    *out = s->dictionary;
    return status;
}

cpt_status cpt_study_dictionary_report(cpt_study *s, const json_t **out, cpt_err *e)
{
    cpt_status status = CPT_OK;
    if (!s->dictionary_report)
        status =
            cpt_store_read_json(s, "cache/dictionary.json", "dictionary", &s->dictionary_report, e);
    *out = s->dictionary_report;
    return status;
}

cpt_status cpt_study_activations(cpt_study *s, const cpt_activations **out, cpt_err *e)
{
    char path[PATH_LIMIT];
    cpt_status status = CPT_OK;
    if (!s->activations) {
        status = cpt_study_path(s, "cache", path, sizeof path, e);
        if (status == CPT_OK) status = cpt_activations_open(path, &s->activations, e);
    }
    *out = s->activations;
    return status;
}

static cpt_status load_attribution_once(cpt_study *s, cpt_err *e)
{
    const cpt_cells *cells;
    if (s->attribution) return CPT_OK;
    cpt_status status = cpt_study_cells(s, &cells, e); /* bounds of the pairs' cell numbers */
    return status ? status : cpt_load_attribution(s, &s->pairs, &s->attribution, e);
}

cpt_status cpt_study_pairs(cpt_study *s, const cpt_pairs **out, cpt_err *e)
{
    cpt_status status = load_attribution_once(s, e);
    *out = s->pairs;
    return status;
}

cpt_status cpt_study_attribution(cpt_study *s, const cpt_attribution **out, cpt_err *e)
{
    cpt_status status = load_attribution_once(s, e);
    *out = s->attribution;
    return status;
}

cpt_status cpt_study_expression(cpt_study *s, const cpt_expression **out, cpt_err *e)
{
    cpt_status status = s->expression ? CPT_OK : cpt_load_expression(s, &s->expression, e);
    *out = s->expression;
    return status;
}

cpt_status cpt_study_evaluation(cpt_study *s, const json_t **out, cpt_err *e)
{
    cpt_status status = CPT_OK;
    if (!s->evaluation)
        status = cpt_store_read_json(s, "evaluation.json", "evaluation", &s->evaluation, e);
    *out = s->evaluation;
    return status;
}

/* ---- forgetting ---- */

void cpt_study_drop_cells(cpt_study *s)
{
    cpt_cells_free(s->cells);
    cpt_strings_free(&s->symbols);
    s->cells = NULL;
    s->have_symbols = false;
}

/* What a stage has rewritten must not be served from memory any more. */
void cpt_study_drop_loaded(cpt_study *s)
{
    if (s->cells) cpt_cells_forget(s->cells);
    cpt_model_free(s->model);
    cpt_alignment_free(&s->alignment);
    free(s->universe.columns);
    free(s->universe.model_genes);
    cpt_strings_free(&s->universe.names);
    cpt_strings_free(&s->universe.symbols);
    cpt_npy_close(&s->fixed);
    cpt_npy_close(&s->embedding);
    cpt_npy_close(&s->umap);
    cpt_npy_close(&s->split);
    cpt_dictionary_free(s->dictionary);
    cpt_activations_free(s->activations);
    cpt_pairs_free(s->pairs);
    cpt_attribution_free(s->attribution);
    cpt_expression_free(s->expression);
    if (s->enrichment) {
        free(s->enrichment->rows);
        free(s->enrichment->first);
        cpt_strings_free(&s->enrichment->texts);
        free(s->enrichment);
    }
    json_decref(s->dictionary_report);
    json_decref(s->evaluation);
    s->have_universe = false;
    s->model = NULL;
    s->alignment = (cpt_alignment){0};
    s->counts = (cpt_counts){0};
    s->universe = (cpt_universe){0};
    s->dictionary = NULL;
    s->activations = NULL;
    s->pairs = NULL;
    s->attribution = NULL;
    s->expression = NULL;
    s->enrichment = NULL;
    s->dictionary_report = s->evaluation = NULL;
}

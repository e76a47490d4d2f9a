#include "view/view.h"
#include "base/memory.h"
#include "study/stages.h"
#include "study/store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Opening and closing a view, and what its other files share.
 *
 * A view is opened in the time it takes to read names, columns and row starts: no matrix is
 * touched. What is absent (a stage has not run, or failed) is left out and said when it is asked
 * for. Files are opened once: stages replace files instead of changing them, so a view goes on
 * showing what it was opened on. */

enum { PATH_LIMIT = 4096, PAIR_COLUMNS = 7 };

/* ---- rows ---- */

static cpt_status view_path(const cpt_view *v, const char *name, char path[PATH_LIMIT], cpt_err *e)
{
    return cpt_path_join(path, PATH_LIMIT, v->folder, name, e);
}

static bool present(const cpt_view *v, const char *name)
{
    char path[PATH_LIMIT];
    return view_path(v, name, path, NULL) == CPT_OK && cpt_path_exists(path);
}

static cpt_status open_rows(const cpt_view *v, const char *stem, int64_t n_rows, int64_t n_cols,
                            cpt_rows *r, cpt_err *e)
{
    char name[128], path[PATH_LIMIT];
    cpt_status status;
    snprintf(name, sizeof name, "cache/%s.indptr.npy", stem);
    CPT_TRY(view_path(v, name, path, e));
    CPT_TRY(
        cpt_npy_open_as(path, CPT_I64, 1, (int64_t[]){n_rows < 0 ? -1 : n_rows + 1}, &r->first, e));
    r->indptr = r->first.data;
    r->n_rows = r->first.n_items - 1;
    r->n_cols = n_cols;
    snprintf(name, sizeof name, "cache/%s.indices.npy", stem);
    CPT_TRY(view_path(v, name, path, e));
    CPT_TRY(cpt_array_open(path, CPT_I32, -1, 0, &r->indices, e));
    snprintf(name, sizeof name, "cache/%s.values.npy", stem);
    CPT_TRY(view_path(v, name, path, e));
    CPT_TRY(cpt_array_open(path, CPT_F32, r->indices.rows, 0, &r->values, e));
    bool good = r->n_rows >= 0 && r->n_rows < INT32_MAX && r->indptr[0] == 0 &&
                r->indptr[r->n_rows] == r->indices.rows;
    for (int64_t i = 0; good && i < r->n_rows; i++) good = r->indptr[i + 1] >= r->indptr[i];
    if (!good)
        status = cpt_fail(e, CPT_ERR_FORMAT, "%s/cache/%s: damaged; run the stage again", v->folder,
                          stem);
done:
    return status;
}

static void close_rows(cpt_rows *r)
{
    cpt_npy_close(&r->first);
    cpt_array_close(&r->indices);
    cpt_array_close(&r->values);
}

cpt_status cpt_rows_read(const cpt_rows *r, int64_t row, int32_t **indices, float **values,
                         int64_t *n, cpt_err *e)
{
    int64_t first = r->indptr[row];
    cpt_status status;
    *n = r->indptr[row + 1] - first;
    *indices = NULL;
    *values = NULL;
    CPT_TRY(cpt_alloc(indices, (size_t)*n, sizeof **indices, e));
    CPT_TRY(cpt_alloc(values, (size_t)*n, sizeof **values, e));
    CPT_TRY(cpt_array_read(&r->indices, first, *n, *indices, e));
    CPT_TRY(cpt_array_read(&r->values, first, *n, *values, e));
    for (int64_t k = 0; k < *n; k++)
        if ((*indices)[k] < 0 || (*indices)[k] >= r->n_cols) {
            status = cpt_fail(e, CPT_ERR_FORMAT,
                              "%s: row %lld holds a number out of range; run the stage again",
                              r->indices.path, (long long)row);
            goto done;
        }
done:
    if (status) {
        free(*indices);
        free(*values);
        *indices = NULL;
        *values = NULL;
    }
    return status;
}

cpt_status cpt_view_ranked_cells(const cpt_view *v, int32_t concept, int32_t **cells,
                                 float **values, int64_t *n, cpt_err *e)
{
    cpt_rows ranked = v->by_concept; /* the same row starts, other arrays */
    cpt_status status = cpt_view_need_index(v, e);
    if (status) return status;
    ranked.indices = v->index.ranked_cells;
    ranked.values = v->index.ranked_values;
    return cpt_rows_read(&ranked, concept, cells, values, n, e);
}

/* ---- opening ---- */

static json_t *read_json(const cpt_view *v, const char *name)
{
    char path[PATH_LIMIT];
    return view_path(v, name, path, NULL) == CPT_OK ? json_load_file(path, 0, NULL) : NULL;
}

static cpt_status open_cells(cpt_view *v, cpt_err *e)
{
    char path[PATH_LIMIT];
    cpt_status status;
    CPT_TRY(view_path(v, "cache/cells", path, e));
    CPT_TRY(cpt_cells_open_shallow(path, &v->study->cells, e));
    v->cells = v->study->cells;
    CPT_TRY(cpt_study_symbols(v->study, &v->symbols, e));
    /* A column that is recorded and no longer there is no reason not to show the rest. */
    if (cpt_study_column(v->study, "label", &v->label, NULL)) v->label = NULL;
    if (cpt_study_column(v->study, "donor", &v->donor, NULL)) v->donor = NULL;
    if (cpt_study_column(v->study, "batch", &v->batch, NULL)) v->batch = NULL;
    if (v->cells->has_counts) {
        CPT_TRY(open_rows(v, "cells/counts_by_cell", v->cells->n_cells, v->cells->n_genes,
                          &v->counts_by_cell, e));
        CPT_TRY(open_rows(v, "cells/counts_by_gene", v->cells->n_genes, v->cells->n_cells,
                          &v->counts_by_gene, e));
        v->have_counts = true;
    }
done:
    return status;
}

static cpt_status count_categories(const cpt_view *v, const cpt_column *c, int64_t **out,
                                   cpt_err *e)
{
    if (!c) return CPT_OK;
    cpt_status status = cpt_alloc(out, (size_t)c->categories.n, sizeof **out, e);
    for (int64_t i = 0; i < v->cells->n_cells && status == CPT_OK; i++)
        if (c->codes[i] >= 0 && cpt_view_is_usable(v, i)) (*out)[c->codes[i]]++;
    return status;
}

static cpt_status open_activations(cpt_view *v, cpt_err *e)
{
    char path[PATH_LIMIT];
    cpt_status status = CPT_OK;
    if (!present(v, "cache/activations_by_cell.indptr.npy")) return CPT_OK;
    CPT_TRY(open_rows(v, "activations_by_concept", -1, v->cells->n_cells, &v->by_concept, e));
    v->n_concepts = (int32_t)v->by_concept.n_rows;
    CPT_TRY(open_rows(v, "activations_by_cell", v->cells->n_cells, v->n_concepts, &v->by_cell, e));
    CPT_TRY(view_path(v, "cache/activations_by_cell.usable.npy", path, e));
    CPT_TRY(cpt_npy_open_as(path, CPT_BOOL, 1, (int64_t[]){v->cells->n_cells}, &v->usable, e));
    const unsigned char *usable = v->usable.data;
    for (int64_t i = 0; i < v->cells->n_cells; i++) v->n_usable += usable[i] != 0;
    CPT_TRY(count_categories(v, v->donor, &v->donor_cells, e));
    CPT_TRY(count_categories(v, v->batch, &v->batch_cells, e));
    v->have_activations = true;
done:
    return status;
}

static cpt_status open_matrices(cpt_view *v, const char *folder, const char *const *names,
                                const cpt_dtype *types, int n, cpt_array *out, cpt_err *e)
{
    char name[128], path[PATH_LIMIT];
    cpt_status status = CPT_OK;
    for (int i = 0; i < n && status == CPT_OK; i++) {
        snprintf(name, sizeof name, "cache/%s/%s.npy", folder, names[i]);
        status = view_path(v, name, path, e);
        if (status == CPT_OK)
            status = cpt_array_open(path, types[i], v->n_concepts, v->n_genes, &out[i], e);
    }
    return status;
}

static cpt_status open_pairs(cpt_view *v, cpt_err *e)
{
    char path[PATH_LIMIT];
    cpt_status status;
    CPT_TRY(view_path(v, "cache/attribution/n_pairs.npy", path, e));
    CPT_TRY(cpt_npy_open_as(path, CPT_I32, 1, (int64_t[]){v->n_concepts}, &v->n_pairs, e));
    CPT_TRY(view_path(v, "cache/pairs/first.npy", path, e));
    CPT_TRY(cpt_npy_open_as(path, CPT_I64, 1, (int64_t[]){v->n_concepts + 1}, &v->pairs_first, e));
    CPT_TRY(view_path(v, "cache/pairs/pairs.npy", path, e));
    CPT_TRY(cpt_npy_open_as(path, CPT_F64, 2, (int64_t[]){-1, PAIR_COLUMNS}, &v->pairs, e));
    const int64_t *first = v->pairs_first.data;
    bool good = first[0] == 0 && first[v->n_concepts] == v->pairs.shape[0];
    for (int32_t c = 0; good && c < v->n_concepts; c++) good = first[c + 1] >= first[c];
    const double *table = v->pairs.data;
    for (int64_t i = 0; good && i < v->pairs.shape[0]; i++)
        for (int k = 0; k < 2; k++) {
            double cell = table[i * PAIR_COLUMNS + k];
            good &= cell >= 0 && cell < (double)v->cells->n_cells;
        }
    if (!good)
        status = cpt_fail(e, CPT_ERR_FORMAT,
                          "%s/cache/pairs: damaged; run the stage 'attribution' again", v->folder);
    v->have_pairs = good;
done:
    return status;
}

static cpt_status open_genes(cpt_view *v, cpt_err *e)
{
    static const char *const a_names[CPT_VIEW_ATTRIBUTION] = {"mean", "low",       "high", "sd",
                                                              "n",    "same_sign", "p",    "q"};
    static const cpt_dtype a_types[CPT_VIEW_ATTRIBUTION] = {CPT_F32, CPT_F32, CPT_F32, CPT_F32,
                                                            CPT_I32, CPT_F32, CPT_F64, CPT_F64};
    static const char *const x_names[CPT_VIEW_EXPRESSION] = {"logfc",    "score",     "p",     "q",
                                                             "share_in", "share_out", "log10p"};
    static const cpt_dtype x_types[CPT_VIEW_EXPRESSION] = {CPT_F32, CPT_F32, CPT_F64, CPT_F64,
                                                           CPT_F32, CPT_F32, CPT_F64};
    cpt_status status = CPT_OK;
    v->attribution_summary = read_json(v, "cache/attribution/summary.json");
    if (json_is_true(json_object_get(v->attribution_summary, "present"))) {
        CPT_TRY(open_matrices(v, "attribution", a_names, a_types, CPT_VIEW_ATTRIBUTION,
                              v->attribution, e));
        v->have_attribution = true;
        CPT_TRY(open_pairs(v, e));
    }
    if (present(v, "cache/expression/summary.json")) {
        CPT_TRY(open_matrices(v, "expression", x_names, x_types, CPT_VIEW_EXPRESSION, v->expression,
                              e));
        v->have_expression = true;
    }
done:
    return status;
}

static cpt_status open_index(cpt_view *v, cpt_err *e)
{
    cpt_status status = CPT_OK;
    if (!v->have_activations || !present(v, "cache/index/index.json")) return CPT_OK;
    /* Of other results than those that are there now: as if it were not there. */
    if (!cpt_study_stage_done(v->study, cpt_stage_find("index"))) return CPT_OK;
    status = cpt_index_open(v->folder, v->cells->n_cells, v->n_concepts, &v->index, e);
    if (status == CPT_ERR_UNSUPPORTED)
        return CPT_OK; /* of another version: as if it were not there */
    if (status) return status;
    if (v->index.ranked_cells.rows != v->by_concept.indices.rows) {
        cpt_index_close(&v->index); /* of other activations: as if it were not there */
        return CPT_OK;
    }
    v->n_genes = (int32_t)v->index.universe.n_items;
    CPT_TRY(cpt_alloc(&v->gene_of_column, (size_t)v->cells->n_genes, sizeof *v->gene_of_column, e));
    for (int32_t j = 0; j < v->cells->n_genes; j++) v->gene_of_column[j] = -1;
    const int32_t *columns = v->index.universe.data;
    for (int32_t g = 0; g < v->n_genes; g++) {
        if (columns[g] < 0 || columns[g] >= v->cells->n_genes)
            return cpt_fail(e, CPT_ERR_FORMAT, "%s/cache/index: damaged; delete it", v->folder);
        v->gene_of_column[columns[g]] = g;
    }
    v->term_numbers = cpt_index_new((size_t)v->index.n_terms, e);
    if (!v->term_numbers) return CPT_ERR_MEMORY;
    for (int32_t t = 0; t < v->index.n_terms; t++)
        CPT_TRY(cpt_index_add(v->term_numbers, cpt_strings_get(&v->index.term_ids, t), t, NULL, e));
    v->have_index = true;
done:
    return status;
}

/* Coordinates as 16-bit numbers between the extremes of each axis. */
static cpt_status open_map(cpt_view *v, cpt_err *e)
{
    char path[PATH_LIMIT];
    cpt_status status = CPT_OK;
    int64_t n = v->cells->n_cells;
    if (!present(v, "cache/umap.npy")) return CPT_OK;
    CPT_TRY(view_path(v, "cache/umap.npy", path, e));
    CPT_TRY(cpt_npy_open_as(path, CPT_F32, 2, (int64_t[]){n, 2}, &v->umap, e));
    CPT_TRY(cpt_alloc(&v->places, 2 * (size_t)n, sizeof *v->places, e));
    const float *xy = v->umap.data;
    for (int d = 0; d < 2; d++) v->place_low[d] = INFINITY, v->place_high[d] = -INFINITY;
    for (int64_t i = 0; i < n; i++)
        for (int d = 0; d < 2; d++) {
            v->place_low[d] = fmin(v->place_low[d], (double)xy[2 * i + d]); /* passes NaN over */
            v->place_high[d] = fmax(v->place_high[d], (double)xy[2 * i + d]);
        }
    for (int64_t i = 0; i < n; i++) {
        bool placed = isfinite(xy[2 * i]) && isfinite(xy[2 * i + 1]);
        v->n_placed += placed;
        for (int d = 0; d < 2; d++) {
            double width = v->place_high[d] - v->place_low[d];
            double at = width > 0 ? ((double)xy[2 * i + d] - v->place_low[d]) / width : 0;
            v->places[2 * i + d] = placed ? (uint16_t)lrint(at * 65534) : UINT16_MAX;
        }
    }
done:
    cpt_npy_close(&v->umap);
    return status;
}

static cpt_status open_embedding(cpt_view *v, cpt_err *e)
{
    char path[PATH_LIMIT];
    cpt_status status = CPT_OK;
    if (!present(v, "cache/embedding.npy")) return CPT_OK;
    CPT_TRY(view_path(v, "cache/embedding.npy", path, e));
    CPT_TRY(cpt_array_open(path, CPT_F32, v->cells->n_cells, -1, &v->embedding, e));
    v->dim = (int32_t)v->embedding.cols;
done:
    return status;
}

/* evaluation.json lists concepts by name; they are asked for by number. */
static cpt_status open_evaluation(cpt_view *v, cpt_err *e)
{
    size_t i;
    json_t *item;
    int64_t c;
    cpt_status status = cpt_alloc(&v->faithful, (size_t)v->n_concepts, sizeof *v->faithful, e);
    if (status) return status;
    json_array_foreach(json_object_get(json_object_get(v->evaluation, "faithfulness"), "concepts"),
                       i, item)
    {
        const char *name = json_string_value(json_object_get(item, "concept"));
        if (name && name[0] == 'c' && cpt_parse_i64(name + 1, &c) && c >= 0 && c < v->n_concepts)
            v->faithful[c] = item;
    }
    return CPT_OK;
}

static cpt_status copy_name(cpt_view *v, const char *folder, cpt_err *e)
{
    v->folder = cpt_strdup(folder);
    char *real = realpath(folder, NULL);
    const char *slash = real ? strrchr(real, '/') : NULL;
    v->name = cpt_strdup(slash && slash[1] ? slash + 1 : folder);
    free(real);
    return v->folder && v->name ? CPT_OK : cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
}

cpt_status cpt_view_open(const char *folder, const cpt_context *ctx, cpt_view **out, cpt_err *e)
{
    char running[32];
    cpt_view *v = NULL;
    cpt_status status;
    *out = NULL;
    CPT_TRY(cpt_alloc(&v, 1, sizeof *v, e));
    pthread_mutex_init(&v->lock, NULL);
    CPT_TRY(copy_name(v, folder, e));
    CPT_TRY(cpt_study_open(folder, ctx, &v->study, e));
    CPT_TRY(cpt_study_generation(folder, v->generation, running, e));
    CPT_TRY(open_cells(v, e));
    v->model = read_json(v, "cache/model.json");
    v->dictionary = read_json(v, "cache/dictionary.json");
    v->enrichment = read_json(v, "cache/enrichment.json");
    v->evaluation = read_json(v, "evaluation.json");
    CPT_TRY(cpt_view_open_comparisons(v, e));
    CPT_TRY(open_map(v, e));
    CPT_TRY(open_embedding(v, e));
    CPT_TRY(open_activations(v, e));
    CPT_TRY(open_evaluation(v, e));
    CPT_TRY(open_index(v, e));
    if (v->have_index) status = open_genes(v, e);
done:
    if (status) cpt_view_close(v);
    else *out = v;
    return status;
}

void cpt_view_close(cpt_view *v)
{
    if (!v) return;
    json_t *const texts[] = {v->model,      v->dictionary,          v->enrichment,
                             v->evaluation, v->attribution_summary, v->comparisons};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) json_decref(texts[i]);
    close_rows(&v->by_cell);
    close_rows(&v->by_concept);
    close_rows(&v->counts_by_cell);
    close_rows(&v->counts_by_gene);
    cpt_npy_close(&v->usable);
    cpt_npy_close(&v->n_pairs);
    cpt_npy_close(&v->pairs);
    cpt_npy_close(&v->pairs_first);
    cpt_array_close(&v->embedding);
    for (int i = 0; i < CPT_VIEW_ATTRIBUTION; i++) cpt_array_close(&v->attribution[i]);
    for (int i = 0; i < CPT_VIEW_EXPRESSION; i++) cpt_array_close(&v->expression[i]);
    cpt_index_close(&v->index);
    cpt_index_free(v->term_numbers);
    free(v->gene_of_column);
    free(v->places);
    free(v->donor_cells);
    free(v->batch_cells);
    free(v->landscape);
    free(v->faithful);
    cpt_study_close(v->study);
    free(v->folder);
    free(v->name);
    pthread_mutex_destroy(&v->lock);
    free(v);
}

/* ---- what others ask ---- */

const char *cpt_view_generation(const cpt_view *v)
{
    return v->generation;
}

bool cpt_view_indexed(const cpt_view *v)
{
    return v->have_index || !v->have_activations;
}

int64_t cpt_view_n_cells(const cpt_view *v)
{
    return v->cells->n_cells;
}

int32_t cpt_view_n_concepts(const cpt_view *v)
{
    return v->n_concepts;
}

int32_t cpt_view_n_genes(const cpt_view *v)
{
    return v->n_genes;
}

int32_t cpt_view_n_neurons(const cpt_view *v)
{
    return v->dim;
}

cpt_status cpt_view_need_index(const cpt_view *v, cpt_err *e)
{
    if (v->have_index) return CPT_OK;
    return cpt_fail(
        e, CPT_ERR_DATA,
        "%s: %s; run `conceptome run` on this study, or serve it from a folder that can be written",
        v->name, v->have_activations ? "the index is not there yet" : "there are no concepts yet");
}

cpt_status cpt_view_need_concept(const cpt_view *v, int32_t concept, cpt_err *e)
{
    if (!v->have_activations) return cpt_view_need_index(v, e);
    if (concept >= 0 && concept < v->n_concepts) return CPT_OK;
    return cpt_fail(e, CPT_ERR_USAGE, "%s: there is no concept %d; they run from 0 to %d", v->name,
                    concept, v->n_concepts - 1);
}

cpt_status cpt_view_need_gene(const cpt_view *v, int32_t gene, cpt_err *e)
{
    cpt_status status = cpt_view_need_index(v, e);
    if (status || (gene >= 0 && gene < v->n_genes)) return status;
    return cpt_fail(e, CPT_ERR_USAGE, "%s: there is no gene %d; they run from 0 to %d", v->name,
                    gene, v->n_genes - 1);
}

static int32_t column_of(const cpt_view *v, int32_t gene)
{
    return ((const int32_t *)v->index.universe.data)[gene];
}

const char *cpt_view_symbol(const cpt_view *v, int32_t gene)
{
    return cpt_strings_get(v->symbols, column_of(v, gene));
}

const char *cpt_view_gene_name(const cpt_view *v, int32_t gene)
{
    return cpt_strings_get(&v->cells->gene_ids, column_of(v, gene));
}

bool cpt_view_is_usable(const cpt_view *v, int64_t cell)
{
    return ((const unsigned char *)v->usable.data)[cell] != 0;
}

static void put_cell_value(cpt_jot *j, const cpt_column *c, int64_t cell)
{
    cpt_jot_key(j, c->name);
    if (c->kind == CPT_COLUMN_NUMBER) cpt_jot_number(j, c->numbers[cell]);
    else
        cpt_jot_text(j,
                     c->codes[cell] < 0 ? NULL : cpt_strings_get(&c->categories, c->codes[cell]));
}

void cpt_view_put_columns(const cpt_view *v, cpt_jot *j, int64_t cell, bool all)
{
    const cpt_table *obs = &v->cells->obs;
    cpt_jot_open(j, '{');
    for (int32_t i = 0; i < obs->n_columns; i++) {
        const cpt_column *c = &obs->columns[i];
        if (all || c == v->label || c == v->donor || c == v->batch) put_cell_value(j, c, cell);
    }
    cpt_jot_close(j, '}');
}

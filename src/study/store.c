#include "study/store.h"
#include "io/json_value.h"
#include "study/shards.h"
#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_LIMIT = 4096 };

static cpt_status store_path(const cpt_study *s, const char *name, char path[PATH_LIMIT],
                             cpt_err *e)
{
    char file[512];
    snprintf(file, sizeof file, "cache/%s.npy", name);
    return cpt_study_path(s, file, path, PATH_LIMIT, e);
}

cpt_status cpt_store_write(const cpt_study *s, const char *name, cpt_dtype dtype, int64_t rows,
                           int64_t cols, const void *values, cpt_err *e)
{
    char cache[PATH_LIMIT];
    cpt_status status = cpt_study_path(s, "cache", cache, sizeof cache, e);
    return status ? status : cpt_piece_write(cache, name, dtype, rows, cols, values, e);
}

cpt_status cpt_store_open(const cpt_study *s, const char *name, const char *stage, cpt_dtype dtype,
                          int64_t rows, int64_t cols, cpt_npy *a, cpt_err *e)
{
    char path[PATH_LIMIT];
    int64_t shape[2] = {rows, cols};
    cpt_status status = store_path(s, name, path, e);
    if (status) return status;
    if (!cpt_path_exists(path))
        return cpt_fail(e, CPT_ERR_IO, "%s: absent; run the stage '%s' of this study first", path,
                        stage);
    return cpt_npy_open_as(path, dtype, cols ? 2 : 1, shape, a, e);
}

cpt_status cpt_store_read(const cpt_study *s, const char *name, const char *stage, cpt_dtype dtype,
                          int64_t rows, int64_t cols, void *out, cpt_err *e)
{
    cpt_npy a;
    void *copy;
    cpt_status status = cpt_store_open(s, name, stage, dtype, rows, cols, &a, e);
    if (status) return status;
    status = cpt_alloc(&copy, (size_t)a.n_items, cpt_dtype_size(dtype), e);
    if (status == CPT_OK) {
        memcpy(copy, a.data, (size_t)a.n_items * cpt_dtype_size(dtype));
        memcpy(out, &copy, sizeof copy);
    }
    cpt_npy_close(&a);
    return status;
}

cpt_status cpt_store_write_json(const cpt_study *s, const char *file, const json_t *value,
                                cpt_err *e)
{
    char path[PATH_LIMIT];
    cpt_status status = cpt_study_path(s, file, path, sizeof path, e);
    if (status) return status;
    char *text = json_dumps(value, JSON_INDENT(2) | JSON_SORT_KEYS | JSON_REAL_PRECISION(9));
    if (!text) return cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
    status = cpt_write_file(path, text, strlen(text), e);
    free(text);
    return status;
}

cpt_status cpt_store_read_json(const cpt_study *s, const char *file, const char *stage,
                               json_t **out, cpt_err *e)
{
    char path[PATH_LIMIT];
    json_error_t reason;
    cpt_status status = cpt_study_path(s, file, path, sizeof path, e);
    if (status) return status;
    if (!cpt_path_exists(path))
        return cpt_fail(e, CPT_ERR_IO, "%s: absent; run the stage '%s' of this study first", path,
                        stage);
    *out = json_load_file(path, 0, &reason);
    return *out ? CPT_OK
                : cpt_fail(e, CPT_ERR_FORMAT, "%s: line %d: %s", path, reason.line, reason.text);
}

json_t *cpt_json_number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

/* ---- attribution ---- */

/* One entry per array of a result struct: how the same table serves writing and reading. */
typedef struct array_entry {
    const char *name;
    cpt_dtype dtype;
    int64_t rows, cols;
    void *field; /* address of the pointer */
    bool optional;
} array_entry;

static cpt_status write_arrays(const cpt_study *s, const array_entry *list, size_t n, cpt_err *e)
{
    for (size_t i = 0; i < n; i++) {
        void *values;
        memcpy(&values, list[i].field, sizeof values);
        if (!values && list[i].optional) continue;
        cpt_status status =
            cpt_store_write(s, list[i].name, list[i].dtype, list[i].rows, list[i].cols, values, e);
        if (status) return status;
    }
    return CPT_OK;
}

static cpt_status read_arrays(const cpt_study *s, const char *stage, const array_entry *list,
                              size_t n, cpt_err *e)
{
    for (size_t i = 0; i < n; i++) {
        char path[PATH_LIMIT];
        cpt_status status = store_path(s, list[i].name, path, e);
        if (status) return status;
        if (list[i].optional && !cpt_path_exists(path)) continue;
        status = cpt_store_read(s, list[i].name, stage, list[i].dtype, list[i].rows, list[i].cols,
                                list[i].field, e);
        if (status) return status;
    }
    return CPT_OK;
}

enum { N_ATTRIBUTION_ARRAYS = 17, N_PAIR_ARRAYS = 3, N_EXPRESSION_ARRAYS = 9 };

static void attribution_arrays(cpt_attribution *a, array_entry list[N_ATTRIBUTION_ARRAYS])
{
    int64_t f = a->n_concepts, g = a->n_genes;
    const array_entry all[N_ATTRIBUTION_ARRAYS] = {
        {"attribution/mean", CPT_F32, f, g, &a->mean, false},
        {"attribution/mean_other", CPT_F32, f, g, &a->mean_other, true},
        {"attribution/sd", CPT_F32, f, g, &a->sd, false},
        {"attribution/n", CPT_I32, f, g, &a->n, false},
        {"attribution/same_sign", CPT_F32, f, g, &a->same_sign, false},
        {"attribution/low", CPT_F32, f, g, &a->low, false},
        {"attribution/high", CPT_F32, f, g, &a->high, false},
        {"attribution/p", CPT_F64, f, g, &a->p, false},
        {"attribution/q", CPT_F64, f, g, &a->q, false},
        {"attribution/n_pairs", CPT_I32, f, 0, &a->n_pairs, false},
        {"attribution/completeness_error", CPT_F64, f, 0, &a->completeness_error, true},
        {"attribution/hybrid_spearman", CPT_F64, f, 0, &a->hybrid_spearman, true},
        {"attribution/hybrid_top20", CPT_F64, f, 0, &a->hybrid_top20, true},
        {"attribution/hybrid_spearman_pre", CPT_F64, f, 0, &a->hybrid_spearman_pre, true},
        {"attribution/hybrid_top20_pre", CPT_F64, f, 0, &a->hybrid_top20_pre, true},
        {"attribution/noise_mean", CPT_F32, a->n_noise_directions, g, &a->noise_mean, true},
        {"attribution/noise_n", CPT_I32, a->n_noise_directions, g, &a->noise_n, true},
    };
    memcpy(list, all, sizeof all);
}

/* Pairs as one table of doubles: [n_pairs][7], columns as in the struct. */
static cpt_status store_pairs(const cpt_study *s, const cpt_pairs *p, cpt_err *e)
{
    int64_t n = p->first[p->n_concepts];
    double *table = NULL;
    uint8_t *low = NULL;
    cpt_status status;
    CPT_TRY(cpt_alloc(&table, (size_t)(n ? n : 1) * 7, sizeof *table, e));
    CPT_TRY(cpt_alloc(&low, (size_t)p->n_concepts, 1, e));
    for (int64_t i = 0; i < n; i++) {
        const cpt_pair *q = &p->pairs[i];
        const double row[7] = {(double)q->prototype,  (double)q->counterfactual, q->activation,
                               q->distance,           q->relative_distance,      q->prototype_rank,
                               q->counterfactual_rank};
        memcpy(table + 7 * i, row, sizeof row);
    }
    for (int32_t c = 0; c < p->n_concepts; c++) low[c] = p->substitute_low[c];
    CPT_TRY(cpt_store_write(s, "pairs/pairs", CPT_F64, n, 7, table, e));
    CPT_TRY(cpt_store_write(s, "pairs/first", CPT_I64, p->n_concepts + 1, 0, p->first, e));
    CPT_TRY(cpt_store_write(s, "pairs/n_unmatched", CPT_I32, p->n_concepts, 0, p->n_unmatched, e));
    CPT_TRY(cpt_store_write(s, "pairs/substitute_low", CPT_U8, p->n_concepts, 0, low, e));
done:
    free(table);
    free(low);
    return status;
}

static cpt_status load_pairs(const cpt_study *s, cpt_pairs **out, int64_t n_cells, cpt_err *e)
{
    double *table = NULL;
    uint8_t *low = NULL;
    cpt_npy shape = {0};
    cpt_pairs *p = calloc(1, sizeof *p);
    cpt_status status = p ? CPT_OK : cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
    if (status) return status;
    CPT_TRY(cpt_store_open(s, "pairs/first", "attribution", CPT_I64, -1, 0, &shape, e));
    p->n_concepts = (int32_t)shape.n_items - 1;
    CPT_TRY(cpt_store_read(s, "pairs/first", "attribution", CPT_I64, p->n_concepts + 1, 0,
                           &p->first, e));
    int64_t n = p->first[p->n_concepts];
    CPT_TRY(cpt_store_read(s, "pairs/pairs", "attribution", CPT_F64, n, 7, &table, e));
    CPT_TRY(cpt_store_read(s, "pairs/n_unmatched", "attribution", CPT_I32, p->n_concepts, 0,
                           &p->n_unmatched, e));
    CPT_TRY(cpt_store_read(s, "pairs/substitute_low", "attribution", CPT_U8, p->n_concepts, 0, &low,
                           e));
    CPT_TRY(cpt_alloc(&p->pairs, (size_t)n, sizeof *p->pairs, e));
    CPT_TRY(cpt_alloc(&p->substitute_low, (size_t)p->n_concepts, sizeof *p->substitute_low, e));
    for (int32_t c = 0; c < p->n_concepts; c++) p->substitute_low[c] = low[c] != 0;
    for (int64_t i = 0; i < n; i++) {
        const double *row = table + 7 * i;
        if (!(row[0] >= 0 && row[0] < (double)n_cells && row[1] >= 0 && row[1] < (double)n_cells)) {
            status = cpt_fail(e, CPT_ERR_FORMAT,
                              "%s: cache/pairs is damaged; delete the folder cache and run "
                              "again",
                              s->folder);
            goto done;
        }
        p->pairs[i] = (cpt_pair){(int64_t)row[0], (int64_t)row[1], (float)row[2],  (float)row[3],
                                 (float)row[4],   (int32_t)row[5], (int32_t)row[6]};
    }
done:
    cpt_npy_close(&shape);
    free(table);
    free(low);
    if (status) cpt_pairs_free(p);
    else *out = p;
    return status;
}

static cpt_status make_cache_folder(const cpt_study *s, const char *name, cpt_err *e)
{
    char path[PATH_LIMIT];
    cpt_status status = cpt_study_path(s, name, path, sizeof path, e);
    if (status == CPT_OK) status = cpt_remove_tree(path, e);
    return status ? status : cpt_make_folder(path, e);
}

cpt_status cpt_store_attribution(const cpt_study *s, const cpt_pairs *p, const cpt_attribution *a,
                                 cpt_err *e)
{
    cpt_status status;
    json_t *summary = NULL;
    cpt_attribution view = *a;
    array_entry list[N_ATTRIBUTION_ARRAYS];
    attribution_arrays(&view, list);
    CPT_TRY(make_cache_folder(s, "cache/attribution", e));
    CPT_TRY(make_cache_folder(s, "cache/pairs", e));
    CPT_TRY(store_pairs(s, p, e));
    CPT_TRY(write_arrays(s, list, N_ATTRIBUTION_ARRAYS, e));
    json_t *quantiles = json_array();
    for (int i = 0; i < 5; i++)
        json_array_append_new(quantiles, cpt_json_number(a->noise_quantiles[i]));
    summary = json_pack("{s:b, s:i, s:i, s:o, s:o, s:i, s:o}", "present", 1, "n_concepts",
                        a->n_concepts, "n_genes", a->n_genes, "noise_quantiles", quantiles,
                        "cutoff_percentile", cpt_json_number(a->cutoff_percentile),
                        "n_noise_directions", a->n_noise_directions, "median_neighbour_distance",
                        cpt_json_number(p->median_neighbour_distance));
    CPT_TRY(cpt_store_write_json(s, "cache/attribution/summary.json", summary, e));
done:
    json_decref(summary);
    return status;
}

/* Address of row `from` of an array, NULL when there is no array. */
static char *row_of(const array_entry *entry, int64_t from)
{
    char *values;
    memcpy(&values, entry->field, sizeof values);
    const size_t row = (size_t)(entry->cols ? entry->cols : 1) * cpt_dtype_size(entry->dtype);
    return values ? values + (size_t)from * row : NULL;
}

cpt_status cpt_store_attribution_rows(const char *folder, const cpt_attribution *a, int64_t from,
                                      int64_t to, cpt_err *e)
{
    cpt_attribution view = *a;
    array_entry list[N_ATTRIBUTION_ARRAYS];
    attribution_arrays(&view, list);
    for (int i = 0; i < N_ATTRIBUTION_ARRAYS; i++) {
        const char *rows = row_of(&list[i], from), *name = strchr(list[i].name, '/') + 1;
        if (!rows) continue;
        cpt_status status =
            cpt_piece_write(folder, name, list[i].dtype, to - from, list[i].cols, rows, e);
        if (status) return status;
    }
    return CPT_OK;
}

cpt_status cpt_load_attribution_rows(const char *folder, cpt_attribution *a, int64_t from,
                                     int64_t to, cpt_err *e)
{
    array_entry list[N_ATTRIBUTION_ARRAYS];
    attribution_arrays(a, list);
    for (int i = 0; i < N_ATTRIBUTION_ARRAYS; i++) {
        char *rows = row_of(&list[i], from);
        const char *name = strchr(list[i].name, '/') + 1;
        if (!rows) continue;
        cpt_status status =
            cpt_piece_read(folder, name, list[i].dtype, to - from, list[i].cols, rows, e);
        if (status) return status;
    }
    return CPT_OK;
}

cpt_status cpt_load_attribution(const cpt_study *s, cpt_pairs **p, cpt_attribution **out,
                                cpt_err *e)
{
    json_t *summary = NULL;
    cpt_attribution *a = NULL;
    *p = NULL;
    *out = NULL;
    cpt_status status;
    CPT_TRY(cpt_store_read_json(s, "cache/attribution/summary.json", "attribution", &summary, e));
    if (!json_is_true(json_object_get(summary, "present"))) goto done; /* fixed embedding */
    if (!(a = calloc(1, sizeof *a))) {
        status = cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
        goto done;
    }
    a->n_concepts = (int32_t)json_integer_value(json_object_get(summary, "n_concepts"));
    a->n_genes = (int32_t)json_integer_value(json_object_get(summary, "n_genes"));
    for (int i = 0; i < 5; i++)
        a->noise_quantiles[i] =
            cpt_json_double(json_array_get(json_object_get(summary, "noise_quantiles"), (size_t)i));
    a->cutoff_percentile = cpt_json_double(json_object_get(summary, "cutoff_percentile"));
    a->n_noise_directions =
        (int32_t)json_integer_value(json_object_get(summary, "n_noise_directions"));
    array_entry list[N_ATTRIBUTION_ARRAYS];
    attribution_arrays(a, list);
    CPT_TRY(read_arrays(s, "attribution", list, N_ATTRIBUTION_ARRAYS, e));
    CPT_TRY(load_pairs(s, p, s->cells ? s->cells->n_cells : INT64_MAX, e));
    (*p)->median_neighbour_distance =
        cpt_json_double(json_object_get(summary, "median_neighbour_distance"));
    *out = a;
    a = NULL;
done:
    json_decref(summary);
    cpt_attribution_free(a);
    return status;
}

/* ---- expression ---- */

static void expression_arrays(cpt_expression *x, array_entry list[N_EXPRESSION_ARRAYS])
{
    int64_t f = x->n_units, g = x->n_genes;
    const array_entry all[N_EXPRESSION_ARRAYS] = {
        {"expression/logfc", CPT_F32, f, g, &x->logfc, false},
        {"expression/score", CPT_F32, f, g, &x->score, false},
        {"expression/p", CPT_F64, f, g, &x->p, false},
        {"expression/log10p", CPT_F64, f, g, &x->log10p, false},
        {"expression/q", CPT_F64, f, g, &x->q, false},
        {"expression/share_in", CPT_F32, f, g, &x->share_in, false},
        {"expression/share_out", CPT_F32, f, g, &x->share_out, false},
        {"expression/n_in", CPT_I64, f, 0, &x->n_in, false},
        {"expression/n_out", CPT_I64, f, 0, &x->n_out, false},
    };
    memcpy(list, all, sizeof all);
}

cpt_status cpt_store_expression(const cpt_study *s, const cpt_expression *x, cpt_err *e)
{
    cpt_expression view = *x;
    array_entry list[N_EXPRESSION_ARRAYS];
    expression_arrays(&view, list);
    cpt_status status = make_cache_folder(s, "cache/expression", e);
    if (status == CPT_OK) status = write_arrays(s, list, N_EXPRESSION_ARRAYS, e);
    if (status) return status;
    json_t *summary = json_pack("{s:i, s:i}", "n_units", x->n_units, "n_genes", x->n_genes);
    status = cpt_store_write_json(s, "cache/expression/summary.json", summary, e);
    json_decref(summary);
    return status;
}

cpt_status cpt_load_expression(const cpt_study *s, cpt_expression **out, cpt_err *e)
{
    json_t *summary;
    *out = NULL;
    cpt_status status =
        cpt_store_read_json(s, "cache/expression/summary.json", "expression", &summary, e);
    if (status) return status;
    cpt_expression *x = calloc(1, sizeof *x);
    if (x) {
        x->n_units = (int32_t)json_integer_value(json_object_get(summary, "n_units"));
        x->n_genes = (int32_t)json_integer_value(json_object_get(summary, "n_genes"));
    }
    json_decref(summary);
    if (!x) return cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
    array_entry list[N_EXPRESSION_ARRAYS];
    expression_arrays(x, list);
    status = read_arrays(s, "expression", list, N_EXPRESSION_ARRAYS, e);
    if (status) cpt_expression_free(x);
    else *out = x;
    return status;
}

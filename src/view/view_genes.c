#include "base/memory.h"
#include "math/sort.h"
#include "view/view.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Genes of a concept, concepts of a gene. One concept's rows of fifteen matrices are read: 1.2 MB
 * for 20,000 genes, from the page cache. */

/* Rows of one concept; those of matrices that are absent are NULL. */
typedef struct gene_rows {
    void *attribution[CPT_VIEW_ATTRIBUTION], *expression[CPT_VIEW_EXPRESSION];
    int32_t *differing,
        *higher; /* pairs in which the counts differ; in which the prototype's is higher */
} gene_rows;

static float f32(const void *row, int32_t g)
{
    return row ? ((const float *)row)[g] : NAN;
}

static double f64(const void *row, int32_t g)
{
    return row ? ((const double *)row)[g] : NAN;
}

static cpt_status read_rows(const cpt_array *matrices, int n, int32_t concept, void **rows,
                            cpt_err *e)
{
    cpt_status status = CPT_OK;
    for (int i = 0; i < n && status == CPT_OK; i++) {
        status = cpt_alloc(&rows[i], (size_t)matrices[i].cols, matrices[i].item, e);
        if (status == CPT_OK) status = cpt_array_row(&matrices[i], concept, rows[i], e);
    }
    return status;
}

static void free_rows(gene_rows *r)
{
    for (int i = 0; i < CPT_VIEW_ATTRIBUTION; i++) free(r->attribution[i]);
    for (int i = 0; i < CPT_VIEW_EXPRESSION; i++) free(r->expression[i]);
    free(r->differing);
    free(r->higher);
}

/* ---- in which cell of a pair a gene is higher ---- */

/* Both rows ascend by column. */
static cpt_status count_pair(const cpt_view *v, const int64_t cells[2], gene_rows *r, cpt_err *e)
{
    int32_t *columns[2] = {NULL, NULL};
    float *counts[2] = {NULL, NULL};
    int64_t n[2] = {0, 0}, at[2] = {0, 0};
    cpt_status status = CPT_OK;
    for (int i = 0; i < 2; i++)
        CPT_TRY(cpt_rows_read(&v->counts_by_cell, cells[i], &columns[i], &counts[i], &n[i], e));
    while (at[0] < n[0] || at[1] < n[1]) {
        int32_t a = at[0] < n[0] ? columns[0][at[0]] : INT32_MAX,
                b = at[1] < n[1] ? columns[1][at[1]] : INT32_MAX;
        int32_t column = a < b ? a : b, g = v->gene_of_column[column];
        float x = a == column ? counts[0][at[0]++] : 0, y = b == column ? counts[1][at[1]++] : 0;
        if (g < 0 || x == y) continue;
        r->differing[g]++;
        r->higher[g] += x > y;
    }
done:
    for (int i = 0; i < 2; i++) {
        free(columns[i]);
        free(counts[i]);
    }
    return status;
}

static cpt_status count_pairs(const cpt_view *v, int32_t concept, gene_rows *r, cpt_err *e)
{
    enum { PAIR_COLUMNS = 7 };
    cpt_status status;
    if (!v->have_pairs || !v->have_counts) return CPT_OK;
    const int64_t *first = v->pairs_first.data;
    const double *pairs = v->pairs.data;
    CPT_TRY(cpt_alloc(&r->differing, (size_t)v->n_genes, sizeof *r->differing, e));
    CPT_TRY(cpt_alloc(&r->higher, (size_t)v->n_genes, sizeof *r->higher, e));
    for (int64_t k = first[concept]; k < first[concept + 1]; k++) {
        const int64_t cells[2] = {(int64_t)pairs[k * PAIR_COLUMNS],
                                  (int64_t)pairs[k * PAIR_COLUMNS + 1]};
        CPT_TRY(count_pair(v, cells, r, e));
    }
done:
    return status;
}

static void put_gene_row(const cpt_view *v, cpt_jot *j, const gene_rows *r, int32_t g)
{
    static const char *const a_names[] = {"mean", "low", "high", "sd"};
    cpt_jot_open(j, '{');
    cpt_jot_put_integer(j, "gene", g);
    cpt_jot_put_text(j, "name", cpt_view_gene_name(v, g));
    cpt_jot_put_text(j, "symbol", cpt_view_symbol(v, g));
    for (int i = 0; i < 4; i++)
        cpt_jot_put_number(j, a_names[i], (double)f32(r->attribution[i], g));
    cpt_jot_put_number(j, "n",
                       r->attribution[A_N] ? ((const int32_t *)r->attribution[A_N])[g] : NAN);
    cpt_jot_put_number(j, "same_sign", (double)f32(r->attribution[A_SAME_SIGN], g));
    cpt_jot_put_number(j, "p", f64(r->attribution[A_P], g));
    cpt_jot_put_number(j, "q", f64(r->attribution[A_Q], g));
    bool known = r->differing && r->differing[g] > 0;
    cpt_jot_put_number(j, "higher", known ? (double)r->higher[g] / (double)r->differing[g] : NAN);
    cpt_jot_put_number(j, "logfc", (double)f32(r->expression[X_LOGFC], g));
    cpt_jot_put_number(j, "score", (double)f32(r->expression[X_SCORE], g));
    cpt_jot_put_number(j, "dge_p", f64(r->expression[X_P], g));
    cpt_jot_put_number(j, "dge_q", f64(r->expression[X_Q], g));
    cpt_jot_put_number(j, "share_in", (double)f32(r->expression[X_SHARE_IN], g));
    cpt_jot_put_number(j, "share_out", (double)f32(r->expression[X_SHARE_OUT], g));
    cpt_jot_close(j, '}');
}

static bool matches(const cpt_view *v, int32_t g, const char *text)
{
    return !text || !*text || strcasestr(cpt_view_symbol(v, g), text) ||
           strcasestr(cpt_view_gene_name(v, g), text);
}

/* Genes that match, strongest first. As in the tables: significant ones come first among the
 * attributed. */
static cpt_status order_genes(const cpt_view *v, const gene_rows *r, bool by_attribution,
                              const char *text, int32_t **order, int32_t *n, cpt_err *e)
{
    uint64_t *keys = NULL;
    int32_t *scratch = NULL;
    size_t all = (size_t)v->n_genes;
    cpt_status status;
    *order = NULL;
    *n = 0;
    CPT_TRY(cpt_alloc(order, all, sizeof **order, e));
    CPT_TRY(cpt_alloc(&keys, 2 * all, sizeof *keys, e));
    CPT_TRY(cpt_alloc(&scratch, all, sizeof *scratch, e));
    for (int32_t g = 0; g < v->n_genes; g++) {
        if (!matches(v, g, text)) continue;
        double x = by_attribution ? fabs((double)f32(r->attribution[A_MEAN], g))
                                  : (double)f32(r->expression[X_SCORE], g);
        if (by_attribution && f64(r->attribution[A_Q], g) < 0.05) x += 1e6;
        if (isnan(x)) x = -INFINITY;
        keys[*n] = ~cpt_order_key(x);
        (*order)[(*n)++] = g;
    }
    cpt_radix_sort(*n, keys, *order, keys + all, scratch);
done:
    free(keys);
    free(scratch);
    return status;
}

cpt_status cpt_view_genes(const cpt_view *v, int32_t concept, const cpt_gene_query *q, char **json,
                          cpt_err *e)
{
    gene_rows rows = {.differing = NULL};
    int32_t *order = NULL, n = 0;
    cpt_jot j = {0};
    cpt_status status;
    CPT_TRY(cpt_view_need_concept(v, concept, e));
    CPT_TRY(cpt_view_need_index(v, e));
    bool by_attribution =
        q->order && *q->order ? strcmp(q->order, "attribution") == 0 : v->have_attribution;
    if (q->order && *q->order && !by_attribution && strcmp(q->order, "expression") != 0) {
        status = cpt_fail(e, CPT_ERR_USAGE, "order '%s' is neither attribution nor expression",
                          q->order);
        goto done;
    }
    if (v->have_attribution)
        CPT_TRY(read_rows(v->attribution, CPT_VIEW_ATTRIBUTION, concept, rows.attribution, e));
    if (v->have_expression)
        CPT_TRY(read_rows(v->expression, CPT_VIEW_EXPRESSION - 1, concept, rows.expression, e));
    CPT_TRY(count_pairs(v, concept, &rows, e));
    CPT_TRY(order_genes(v, &rows, by_attribution, q->text, &order, &n, e));
    int64_t first = q->offset > 0 ? q->offset : 0,
            last = q->limit > 0 && q->limit < n - first ? first + q->limit : n;
    cpt_jot_open(&j, '{');
    cpt_jot_put_integer(&j, "n", n);
    cpt_jot_put_integer(&j, "pairs",
                        v->have_pairs ? ((const int32_t *)v->n_pairs.data)[concept] : 0);
    cpt_jot_key(&j, "rows");
    cpt_jot_open(&j, '[');
    for (int64_t i = first; i < last; i++) put_gene_row(v, &j, &rows, order[i]);
    cpt_jot_close(&j, ']');
    cpt_jot_close(&j, '}');
done:
    free_rows(&rows);
    free(order);
    return status ? status : cpt_jot_take(&j, json, e);
}

/* ---- one gene ---- */

/* 1 = the concept's strongest gene by |mean|; -1 when it has none there. */
static cpt_status rank_in(const cpt_view *v, int32_t concept, int32_t gene, float *row,
                          int64_t *rank, cpt_err *e)
{
    *rank = -1;
    cpt_status status = cpt_array_row(&v->attribution[A_MEAN], concept, row, e);
    if (status || !(fabsf(row[gene]) > 0)) return status;
    float own = fabsf(row[gene]);
    *rank = 1;
    for (int32_t g = 0; g < v->n_genes; g++) *rank += fabsf(row[g]) > own;
    return CPT_OK;
}

static cpt_status put_gene_concept(const cpt_view *v, cpt_jot *j, int32_t concept, int32_t gene,
                                   float *row, cpt_err *e)
{
    int64_t at = (int64_t) concept * v->n_genes + gene, rank = -1;
    float mean = NAN, logfc = NAN;
    double q = NAN, dge_q = NAN;
    cpt_status status = CPT_OK;
    if (v->have_attribution) {
        CPT_TRY(rank_in(v, concept, gene, row, &rank, e));
        mean = row[gene];
        CPT_TRY(cpt_array_read(&v->attribution[A_Q], at, 1, &q, e));
    }
    if (v->have_expression) {
        CPT_TRY(cpt_array_read(&v->expression[X_LOGFC], at, 1, &logfc, e));
        CPT_TRY(cpt_array_read(&v->expression[X_Q], at, 1, &dge_q, e));
    }
    cpt_jot_open(j, '{');
    cpt_jot_put_integer(j, "concept", concept);
    cpt_jot_put_number(j, "mean", (double)mean);
    cpt_jot_put_number(j, "q", q);
    cpt_jot_put_number(j, "rank", rank > 0 ? (double)rank : NAN);
    cpt_jot_put_number(j, "logfc", (double)logfc);
    cpt_jot_put_number(j, "dge_q", dge_q);
    cpt_jot_close(j, '}');
done:
    return status;
}

/* Share of the usable cells with a count, mean of log1p CP10k over all of them. */
static cpt_status gene_level(const cpt_view *v, int32_t gene, double *expressed, double *mean,
                             cpt_err *e)
{
    int32_t *cells = NULL, column = ((const int32_t *)v->index.universe.data)[gene];
    float *values = NULL;
    const double *totals = v->index.totals.data;
    int64_t n, n_in = 0;
    double sum = 0;
    *expressed = *mean = NAN;
    if (!v->have_counts || !totals || v->n_usable == 0) return CPT_OK;
    cpt_status status = cpt_rows_read(&v->counts_by_gene, column, &cells, &values, &n, e);
    if (status) return status;
    for (int64_t k = 0; k < n; k++) {
        if (!cpt_view_is_usable(v, cells[k]) || !(values[k] > 0) || !(totals[cells[k]] > 0))
            continue;
        n_in++;
        sum += log1p((double)values[k] / totals[cells[k]] * 1e4);
    }
    *expressed = (double)n_in / (double)v->n_usable;
    *mean = sum / (double)v->n_usable;
    free(cells);
    free(values);
    return CPT_OK;
}

static cpt_status put_gene_terms(const cpt_view *v, cpt_jot *j, int32_t gene, cpt_err *e)
{
    enum { MOST = 200 };
    int32_t *pairs = NULL;
    int64_t n = 0;
    cpt_status status = cpt_list_read(&v->index.gene_terms, gene, INT32_MAX, &pairs, &n, e);
    cpt_jot_open(j, '[');
    for (int64_t i = 0; status == CPT_OK && i + 1 < n && i < 2 * MOST; i += 2) {
        if (pairs[i] >= v->index.n_terms) continue;
        cpt_jot_open(j, '{');
        cpt_jot_put_text(j, "term", cpt_strings_get(&v->index.term_ids, pairs[i]));
        cpt_jot_put_text(j, "name", cpt_strings_get(&v->index.term_names, pairs[i]));
        cpt_jot_put_integer(j, "concepts", pairs[i + 1]);
        cpt_jot_close(j, '}');
    }
    cpt_jot_close(j, ']');
    free(pairs);
    return status;
}

cpt_status cpt_view_gene(const cpt_view *v, int32_t gene, char **json, cpt_err *e)
{
    int32_t *concepts = NULL;
    int64_t n;
    float *row = NULL;
    double expressed, mean;
    cpt_jot j = {0};
    cpt_status status;
    CPT_TRY(cpt_view_need_gene(v, gene, e));
    CPT_TRY(gene_level(v, gene, &expressed, &mean, e));
    CPT_TRY(cpt_list_read(&v->index.gene_concepts, gene, v->n_concepts, &concepts, &n, e));
    CPT_TRY(cpt_alloc(&row, (size_t)v->n_genes, sizeof *row, e));
    cpt_jot_open(&j, '{');
    cpt_jot_put_integer(&j, "gene", gene);
    cpt_jot_put_text(&j, "name", cpt_view_gene_name(v, gene));
    cpt_jot_put_text(&j, "symbol", cpt_view_symbol(v, gene));
    cpt_jot_put_number(&j, "expressed", expressed);
    cpt_jot_put_number(&j, "mean", mean);
    cpt_jot_key(&j, "concepts");
    cpt_jot_open(&j, '[');
    for (int64_t i = 0; i < n; i++) CPT_TRY(put_gene_concept(v, &j, concepts[i], gene, row, e));
    cpt_jot_close(&j, ']');
    cpt_jot_key(&j, "terms");
    CPT_TRY(put_gene_terms(v, &j, gene, e));
    cpt_jot_close(&j, '}');
done:
    free(concepts);
    free(row);
    if (status == CPT_OK) return cpt_jot_take(&j, json, e);
    cpt_jot_drop(&j);
    return status;
}

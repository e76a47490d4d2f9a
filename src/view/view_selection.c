#include "base/memory.h"
#include "math/sort.h"
#include "math/statistics.h"
#include "view/ranked_cells.h"
#include "view/view.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Two groups of cells: which concepts and which genes tell them apart.
 *
 * Concepts: AUROC of the activation, exactly, by one pass over all cells of all concepts in order
 * of activation (index); p of the rank-sum test by its normal approximation with ties corrected,
 * the cells without activation being one tie; q by BH over the concepts active in either group.
 *
 * Genes: Welch's t on log1p(count / total * 1e4), whatever the study's own test: the rank-sum test
 * would have to sort every gene. Sums over all usable cells stand in the index, so "against all
 * others" reads the rows of the selection only; means and variances of the others come by
 * subtraction, as in expression.c, with its guard against what rounding leaves. Memory: a few
 * numbers per gene and one row of counts. */

static const double SCALE = 1e4, FOLD_OFFSET = 1e-9;
enum { CHECK_EVERY = 64, SMALL_COUNTS = 64 };

typedef struct groups {
    uint8_t *of; /* [n_cells] 0, 1 = a, 2 = b */
    int64_t n_a, n_b;
    bool against_rest;
} groups;

static cpt_status mark(const cpt_view *v, const uint32_t *cells, size_t n, uint8_t group,
                       uint8_t *of, cpt_err *e)
{
    for (size_t i = 0; i < n; i++) {
        if (cells[i] >= (uint64_t)v->cells->n_cells)
            return cpt_fail(e, CPT_ERR_USAGE, "there is no cell %u; they run from 0 to %lld",
                            cells[i], (long long)v->cells->n_cells - 1);
        if (of[cells[i]] && of[cells[i]] != group)
            return cpt_fail(e, CPT_ERR_USAGE, "cell %u is in both groups", cells[i]);
        of[cells[i]] = group;
    }
    return CPT_OK;
}

static cpt_status make_groups(const cpt_view *v, const cpt_selection *s, groups *g, cpt_err *e)
{
    int64_t n = v->cells->n_cells;
    cpt_status status;
    *g = (groups){.against_rest = s->n_b == 0};
    CPT_TRY(cpt_view_need_index(v, e));
    CPT_TRY(cpt_alloc(&g->of, (size_t)n, 1, e));
    CPT_TRY(mark(v, s->a, s->n_a, 1, g->of, e));
    CPT_TRY(mark(v, s->b, s->n_b, 2, g->of, e));
    for (int64_t i = 0; i < n; i++) {
        if (!cpt_view_is_usable(v, i)) g->of[i] = 0;
        else if (g->against_rest && g->of[i] == 0) g->of[i] = 2;
        g->n_a += g->of[i] == 1;
        g->n_b += g->of[i] == 2;
    }
    if (g->n_a == 0)
        status = cpt_fail(e, CPT_ERR_USAGE, "the selection holds no cell with an embedding");
done:
    return status;
}

static cpt_status still_wanted(const cpt_context *ctx, int64_t i, int64_t n, cpt_err *e)
{
    if (i % CHECK_EVERY) return CPT_OK;
    cpt_progress(ctx, "selection", (double)i, (double)n, NULL);
    return cpt_check_stop(ctx, e);
}

/* Items in order of falling keys; NaN last. */
static cpt_status order_by(int32_t n, const double *key, int32_t *items, cpt_err *e)
{
    uint64_t *keys = NULL;
    int32_t *scratch = NULL;
    cpt_status status;
    CPT_TRY(cpt_alloc(&keys, 2 * (size_t)n, sizeof *keys, e));
    CPT_TRY(cpt_alloc(&scratch, (size_t)n, sizeof *scratch, e));
    for (int32_t i = 0; i < n; i++) {
        items[i] = i;
        keys[i] = ~cpt_order_key(isnan(key[i]) ? -INFINITY : key[i]);
    }
    cpt_radix_sort(n, keys, items, keys + n, scratch);
done:
    free(keys);
    free(scratch);
    return status;
}

/* ---- concepts ---- */

typedef struct concept_table {
    cpt_ranked_comparison *rows; /* [n_concepts] */
    double *auroc, *p, *q;       /* p NaN for concepts that are active in neither group */
    int32_t *order;
} concept_table;

static cpt_status compare_concepts(const cpt_view *v, const groups *g, concept_table *t,
                                   const cpt_context *ctx, cpt_err *e)
{
    const int64_t *first = v->by_concept.indptr, n_cells = v->cells->n_cells;
    int32_t *cells = NULL;
    float *values = NULL;
    cpt_status status;
    CPT_TRY(cpt_alloc(&cells, (size_t)n_cells, sizeof *cells, e));
    CPT_TRY(cpt_alloc(&values, (size_t)n_cells, sizeof *values, e));
    for (int32_t c = 0; c < v->n_concepts; c++) {
        int64_t n = first[c + 1] - first[c];
        CPT_TRY(still_wanted(ctx, c, v->n_concepts, e));
        if (n > n_cells) {
            status =
                cpt_fail(e, CPT_ERR_FORMAT,
                         "%s: concept %d has more cells than there are; run again", v->name, c);
            goto done;
        }
        CPT_TRY(cpt_array_read(&v->index.ranked_cells, first[c], n, cells, e));
        CPT_TRY(cpt_array_read(&v->index.ranked_values, first[c], n, values, e));
        bool good = true;
        for (int64_t k = 0; k < n; k++) good &= (uint32_t)cells[k] < (uint64_t)n_cells;
        if (!good) {
            status = cpt_fail(e, CPT_ERR_FORMAT, "%s: cache/index is damaged; delete it", v->name);
            goto done;
        }
        t->rows[c] = cpt_ranked_compare(n, cells, values, g->of, g->n_a, g->n_b);
        t->auroc[c] = t->p[c] = NAN;
        if (t->rows[c].active_a + t->rows[c].active_b == 0) continue;
        t->auroc[c] = t->rows[c].auroc;
        t->p[c] = cpt_rank_sum(t->rows[c].rank_sum, (double)g->n_a, (double)g->n_b, t->rows[c].ties,
                               false)
                      .p;
    }
done:
    free(cells);
    free(values);
    return status;
}

static void put_concept_row(cpt_jot *j, const concept_table *t, int32_t c, const groups *g)
{
    const cpt_ranked_comparison *r = &t->rows[c];
    double n_a = (double)g->n_a, n_b = (double)g->n_b;
    cpt_jot_open(j, '{');
    cpt_jot_put_integer(j, "concept", c);
    cpt_jot_put_number(j, "share_a", (double)r->active_a / n_a);
    cpt_jot_put_number(j, "share_b", (double)r->active_b / n_b);
    cpt_jot_put_number(j, "mean_a", r->sum_a / n_a);
    cpt_jot_put_number(j, "mean_b", r->sum_b / n_b);
    cpt_jot_put_number(j, "auroc", r->auroc);
    cpt_jot_put_number(j, "p", t->p[c]);
    cpt_jot_put_number(j, "q", t->q[c]);
    cpt_jot_close(j, '}');
}

cpt_status cpt_view_selection_concepts(const cpt_view *v, const cpt_selection *s,
                                       const cpt_context *ctx, char **json, cpt_err *e)
{
    groups g = {0};
    concept_table t = {0};
    size_t n = (size_t)v->n_concepts;
    cpt_jot j = {0};
    cpt_status status;
    CPT_TRY(make_groups(v, s, &g, e));
    CPT_TRY(cpt_alloc(&t.rows, n, sizeof *t.rows, e));
    CPT_TRY(cpt_alloc(&t.auroc, n, sizeof *t.auroc, e));
    CPT_TRY(cpt_alloc(&t.p, n, sizeof *t.p, e));
    CPT_TRY(cpt_alloc(&t.q, n, sizeof *t.q, e));
    CPT_TRY(cpt_alloc(&t.order, n, sizeof *t.order, e));
    CPT_TRY(compare_concepts(v, &g, &t, ctx, e));
    CPT_TRY(cpt_bh(v->n_concepts, t.p, 0, t.q, e));
    CPT_TRY(order_by(v->n_concepts, t.auroc, t.order, e));
    cpt_jot_open(&j, '{');
    cpt_jot_put_integer(&j, "a", g.n_a);
    cpt_jot_put_integer(&j, "b", g.n_b);
    cpt_jot_key(&j, "rows");
    cpt_jot_open(&j, '[');
    for (int32_t i = 0; i < v->n_concepts; i++)
        if (!isnan(t.auroc[t.order[i]])) put_concept_row(&j, &t, t.order[i], &g);
    cpt_jot_close(&j, ']');
    cpt_jot_close(&j, '}');
done:
    free(g.of);
    free(t.rows);
    free(t.auroc);
    free(t.p);
    free(t.q);
    free(t.order);
    if (status == CPT_OK) return cpt_jot_take(&j, json, e);
    cpt_jot_drop(&j);
    return status;
}

/* ---- genes ---- */

typedef struct gene_sums {
    double sum, squares, n; /* of log1p CP10k; cells with a count */
} gene_sums;

typedef struct gene_table {
    gene_sums *in[2]; /* [n_genes] a and b */
    double *score, *p, *q, *logfc;
    int32_t *order;
} gene_table;

/* Adds one cell. Counts are mostly small whole numbers: their logarithms are made once per cell. */
static void add_cell(const cpt_view *v, const int32_t *columns, const float *counts, int64_t n,
                     double total, gene_sums *sums)
{
    double known[SMALL_COUNTS];
    bool have[SMALL_COUNTS] = {false};
    for (int64_t k = 0; k < n; k++) {
        int32_t g = v->gene_of_column[columns[k]];
        double x;
        if (g < 0 || !(counts[k] > 0)) continue;
        int small =
            counts[k] < SMALL_COUNTS && counts[k] == (float)(int)counts[k] ? (int)counts[k] : 0;
        if (small && have[small]) {
            x = known[small];
        } else {
            x = log1p((double)counts[k] / total * SCALE);
            if (small) known[small] = x, have[small] = true;
        }
        sums[g].sum += x;
        sums[g].squares += x * x;
        sums[g].n++;
    }
}

static cpt_status sum_cells(const cpt_view *v, const groups *g, gene_table *t,
                            const cpt_context *ctx, cpt_err *e)
{
    const cpt_rows *r = &v->counts_by_cell;
    const double *totals = v->index.totals.data;
    int32_t *columns = NULL;
    float *counts = NULL;
    cpt_status status;
    CPT_TRY(cpt_alloc(&columns, (size_t)r->n_cols, sizeof *columns, e));
    CPT_TRY(cpt_alloc(&counts, (size_t)r->n_cols, sizeof *counts, e));
    for (int64_t i = 0; i < r->n_rows; i++) {
        int64_t n = r->indptr[i + 1] - r->indptr[i];
        CPT_TRY(still_wanted(ctx, i, r->n_rows, e));
        if (g->of[i] == 0 || (g->against_rest && g->of[i] == 2) || !(totals[i] > 0)) continue;
        if (n > r->n_cols) n = -1; /* refused by the next line */
        CPT_TRY(cpt_array_read(&r->indices, r->indptr[i], n, columns, e));
        CPT_TRY(cpt_array_read(&r->values, r->indptr[i], n, counts, e));
        bool good = true;
        for (int64_t k = 0; k < n; k++) good &= (uint32_t)columns[k] < (uint64_t)r->n_cols;
        if (!good) {
            status = cpt_fail(e, CPT_ERR_FORMAT, "%s: row %lld is damaged; run again",
                              r->indices.path, (long long)i);
            goto done;
        }
        add_cell(v, columns, counts, n, totals[i], t->in[g->of[i] - 1]);
    }
done:
    free(columns);
    free(counts);
    return status;
}

/* The others: what the index has of all, less the selection. */
static void subtract(const cpt_view *v, gene_table *t)
{
    const double *all = v->index.gene_sums.data;
    for (int32_t g = 0; g < v->n_genes; g++) {
        const gene_sums *a = &t->in[0][g];
        gene_sums rest = {all[3 * g] - a->sum, all[3 * g + 1] - a->squares, all[3 * g + 2] - a->n};
        t->in[1][g] = rest.n > 0 ? rest : (gene_sums){0, 0, 0};
    }
}

static double variance(const gene_sums *s, double n, double noise)
{
    double ss = s->squares - s->sum * s->sum / n;
    return ss > noise ? ss / (n - 1) : 0;
}

static void test_genes(const cpt_view *v, const groups *g, gene_table *t)
{
    double n_a = (double)g->n_a, n_b = (double)g->n_b;
    for (int32_t k = 0; k < v->n_genes; k++) {
        const gene_sums *a = &t->in[0][k], *b = &t->in[1][k];
        double noise =
            (a->squares + b->squares) * 4e-15 * sqrt(n_a + n_b); /* rounding of the sums */
        cpt_test x = {NAN, NAN, NAN, NAN};
        if (n_a >= 2 && n_b >= 2 && a->n + b->n > 0)
            x = cpt_welch(a->sum / n_a, variance(a, n_a, noise), n_a, b->sum / n_b,
                          variance(b, n_b, noise), n_b);
        t->score[k] = x.statistic;
        t->p[k] = x.p;
        t->logfc[k] =
            a->n + b->n > 0 && n_b > 0
                ? log2((expm1(a->sum / n_a) + FOLD_OFFSET) / (expm1(b->sum / n_b) + FOLD_OFFSET))
                : NAN;
    }
}

static void put_gene_row(const cpt_view *v, cpt_jot *j, const gene_table *t, int32_t g,
                         const groups *of)
{
    cpt_jot_open(j, '{');
    cpt_jot_put_integer(j, "gene", g);
    cpt_jot_put_text(j, "symbol", cpt_view_symbol(v, g));
    cpt_jot_put_number(j, "logfc", t->logfc[g]);
    cpt_jot_put_number(j, "score", t->score[g]);
    cpt_jot_put_number(j, "p", t->p[g]);
    cpt_jot_put_number(j, "q", t->q[g]);
    cpt_jot_put_number(j, "share_a", t->in[0][g].n / (double)of->n_a);
    cpt_jot_put_number(j, "share_b", of->n_b ? t->in[1][g].n / (double)of->n_b : NAN);
    cpt_jot_close(j, '}');
}

static cpt_status alloc_genes(const cpt_view *v, gene_table *t, cpt_err *e)
{
    size_t n = (size_t)v->n_genes;
    cpt_status status;
    if (!v->have_counts || !v->index.totals.data || !v->index.gene_sums.data)
        return cpt_fail(e, CPT_ERR_DATA, "%s: the input had no counts", v->name);
    CPT_TRY(cpt_alloc(&t->in[0], n, sizeof *t->in[0], e));
    CPT_TRY(cpt_alloc(&t->in[1], n, sizeof *t->in[1], e));
    CPT_TRY(cpt_alloc(&t->score, n, sizeof *t->score, e));
    CPT_TRY(cpt_alloc(&t->p, n, sizeof *t->p, e));
    CPT_TRY(cpt_alloc(&t->q, n, sizeof *t->q, e));
    CPT_TRY(cpt_alloc(&t->logfc, n, sizeof *t->logfc, e));
    status = cpt_alloc(&t->order, n, sizeof *t->order, e);
done:
    return status;
}

static void free_genes(gene_table *t)
{
    free(t->in[0]);
    free(t->in[1]);
    free(t->score);
    free(t->p);
    free(t->q);
    free(t->logfc);
    free(t->order);
}

cpt_status cpt_view_selection_genes(const cpt_view *v, const cpt_selection *s,
                                    const cpt_context *ctx, char **json, cpt_err *e)
{
    groups g = {0};
    gene_table t = {0};
    int64_t n_tested = 0;
    cpt_jot j = {0};
    cpt_status status;
    CPT_TRY(make_groups(v, s, &g, e));
    CPT_TRY(alloc_genes(v, &t, e));
    CPT_TRY(sum_cells(v, &g, &t, ctx, e));
    if (g.against_rest) subtract(v, &t);
    test_genes(v, &g, &t);
    CPT_TRY(cpt_bh(v->n_genes, t.p, 0, t.q, e));
    CPT_TRY(order_by(v->n_genes, t.score, t.order, e));
    for (int32_t i = 0; i < v->n_genes; i++) n_tested += !isnan(t.p[i]);
    cpt_jot_open(&j, '{');
    cpt_jot_put_integer(&j, "a", g.n_a);
    cpt_jot_put_integer(&j, "b", g.n_b);
    cpt_jot_put_text(&j, "test", "welch");
    cpt_jot_put_integer(&j, "n", n_tested);
    cpt_jot_key(&j, "rows");
    cpt_jot_open(&j, '[');
    for (int32_t i = 0; i < v->n_genes; i++)
        if (!isnan(t.p[t.order[i]])) put_gene_row(v, &j, &t, t.order[i], &g);
    cpt_jot_close(&j, ']');
    cpt_jot_close(&j, '}');
done:
    free(g.of);
    free_genes(&t);
    if (status == CPT_OK) return cpt_jot_take(&j, json, e);
    cpt_jot_drop(&j);
    return status;
}

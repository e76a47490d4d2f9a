/* expression.c - differential expression of every gene for every concept at once (method.md 5).
 *
 * Problem: F concepts times G genes of two-group tests on N cells; done one concept at a time, every
 * test would read the whole matrix.
 * Method: one pass over each gene's cells; a cell's value is added to the sums of the concepts that are
 * active in it, and group 2 is the total minus group 1. Zeros enter by their number only. The same pass
 * collects rank sums, with the zeros as one tie group. Values are log1p(counts / total * 1e4) in double.
 * Conventions of scanpy's rank_genes_groups (Wolf et al. 2018): fold change of the means of the values
 * taken back by expm1, Welch's t with n - 1, rank sum by the normal approximation; ties are corrected
 * (scanpy's tie_correct=True) and there is no continuity correction.
 * Complexity: O(nnz * concepts per cell) plus O(F G) tests.
 * Traps: sums of squares leave noise where a variance is 0: a variance below the rounding of its own
 * terms is taken as 0, and a constant gene is told by its values, or it would be significant. Cells with a NaN embedding
 * are in neither group. A cell without any count has value 0 for every gene. */
#include "concept/expression.h"

#include <float.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "concept/expression_ranks.h"
#include "concept/failure.h"
#include "math/statistics.h"

static const double SCALE = 1e4, FOLD_OFFSET = 1e-9;

/* What a gene has in one group of cells. */
typedef struct moments {
    double sum, squares, rank_sum;
    int64_t n_expressing;
} moments;

/* What all genes share. */
typedef struct expression_job {
    const cpt_activations *u;
    const cpt_csr *by_gene;
    const double *totals;
    cpt_expression_test test;
    int64_t n_usable;
    int64_t *first;   /* [n_cells + 1] units of each cell */
    int32_t *units;
    cpt_expression *out;
} expression_job;

/* One gene over all usable cells. */
typedef struct gene_summary {
    moments all;
    double ties;   /* sum of t^3 - t; rank sum only */
    bool constant; /* the same value in every cell: no test */
} gene_summary;

/* Scratch of one thread. */
typedef struct expression_scratch {
    moments *groups;          /* [n_units] */
    cpt_ranked_value *values; /* [n_cells] */
    double *ranks;            /* [n_cells] */
} expression_scratch;

/* ---- groups ---- */

static int ascending(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

/* Activation above which a cell belongs to group 1 of a concept. */
static cpt_status group_threshold(const cpt_activations *u, int32_t concept, double share, double *out,
                                  cpt_err *e)
{
    const cpt_csr *m = &u->by_concept;
    int64_t from = m->indptr[concept], n = m->indptr[concept + 1] - from;
    double *sorted;
    *out = 0;
    if (share <= 0 || n == 0) return CPT_OK;
    cpt_status status = cpt_alloc(&sorted, (size_t)n, sizeof *sorted, e);
    if (status != CPT_OK) return status;
    for (int64_t i = 0; i < n; i++) sorted[i] = m->values[from + i];
    qsort(sorted, (size_t)n, sizeof *sorted, ascending);
    *out = cpt_quantile_sorted(n, sorted, share);
    free(sorted);
    return CPT_OK;
}

/* Lists the units of every cell and counts the groups. */
static cpt_status make_groups(expression_job *job, double share, cpt_err *e)
{
    const cpt_csr *m = &job->u->by_cell;
    double *threshold = NULL;
    int64_t n = 0;
    cpt_status status;
    CPT_TRY(cpt_alloc(&threshold, (size_t)job->u->n_concepts, sizeof *threshold, e));
    CPT_TRY(cpt_alloc(&job->first, (size_t)m->n_rows + 1, sizeof *job->first, e));
    CPT_TRY(cpt_alloc(&job->units, (size_t)m->indptr[m->n_rows], sizeof *job->units, e));
    for (int32_t c = 0; c < job->u->n_concepts; c++)
        CPT_TRY(group_threshold(job->u, c, share, &threshold[c], e));
    for (int64_t i = 0; i < m->n_rows; i++) {
        for (int64_t k = m->indptr[i]; k < m->indptr[i + 1]; k++) {
            int32_t c = m->indices[k];
            if (!(m->values[k] > threshold[c])) continue;
            job->units[n++] = c;
            job->out->n_in[c]++;
        }
        job->first[i + 1] = n;
    }
    for (int32_t c = 0; c < job->out->n_units; c++) job->out->n_out[c] = job->n_usable - job->out->n_in[c];
done:
    free(threshold);
    return status;
}

/* ---- one gene ---- */

static void add_value(moments *m, double x, double rank)
{
    m->sum += x;
    m->squares += x * x;
    m->rank_sum += rank;
    m->n_expressing++;
}

/* Values of the cells that express the gene; returns how many. */
static int64_t gather_values(const expression_job *job, int32_t gene, cpt_ranked_value *values)
{
    const cpt_csr *m = job->by_gene;
    int64_t n = 0;
    for (int64_t k = m->indptr[gene]; k < m->indptr[gene + 1]; k++) {
        int64_t cell = m->indices[k];
        if (!job->u->usable[cell] || !(m->values[k] > 0) || !(job->totals[cell] > 0)) continue;
        values[n++] = (cpt_ranked_value){log1p(m->values[k] / job->totals[cell] * SCALE), cell};
    }
    return n;
}

static bool is_constant(const cpt_ranked_value *values, int64_t n, int64_t n_usable)
{
    if (n > 0 && n < n_usable) return false;
    for (int64_t i = 1; i < n; i++)
        if (values[i].value != values[0].value) return false;
    return true;
}

/* Sums of group 1 of every unit into s->groups, of all cells into *gene. */
static void sum_gene(const expression_job *job, int32_t row, expression_scratch *s, gene_summary *gene)
{
    bool ranked = job->test == CPT_TEST_WILCOXON;
    int64_t n = gather_values(job, row, s->values);
    *gene = (gene_summary){.constant = is_constant(s->values, n, job->n_usable)};
    memset(s->groups, 0, (size_t)job->out->n_units * sizeof *s->groups);
    if (ranked) gene->ties = cpt_rank_sparse(job->n_usable - n, n, s->values, s->ranks);
    for (int64_t i = 0; i < n; i++) {
        int64_t cell = s->values[i].cell;
        double x = s->values[i].value, rank = ranked ? s->ranks[cell] : 0;
        add_value(&gene->all, x, rank);
        for (int64_t k = job->first[cell]; k < job->first[cell + 1]; k++)
            add_value(&s->groups[job->units[k]], x, rank);
    }
}

/* Variance with n - 1; 0 below `noise`, the rounding of the sums it comes from. */
static double variance(double sum, double squares, double n, double noise)
{
    double ss = squares - sum * sum / n;
    return ss > noise ? ss / (n - 1) : 0;
}

static cpt_test welch(const moments *all, const moments *in, double n1, double n2)
{
    double sum2 = all->sum - in->sum, squares2 = all->squares - in->squares;
    double noise = all->squares * 4e-15 * sqrt(n1 + n2); /* also of what is left after subtracting */
    if (all->n_expressing == in->n_expressing) sum2 = squares2 = 0;
    return cpt_welch(in->sum / n1, variance(in->sum, in->squares, n1, noise), n1, sum2 / n2,
                     variance(sum2, squares2, n2, noise), n2);
}

static cpt_test rank_sum(const moments *all, const moments *in, double n1, double n2, double ties)
{
    double zeros = n1 + n2 - (double)all->n_expressing, zeros_in = n1 - (double)in->n_expressing;
    return cpt_rank_sum(in->rank_sum + zeros_in * 0.5 * (zeros + 1), n1, n2, ties, false);
}

static void write_result(const expression_job *job, int32_t unit, int64_t at, const gene_summary *gene,
                         const moments *in)
{
    cpt_expression *out = job->out;
    const moments *all = &gene->all;
    double n1 = (double)out->n_in[unit], n2 = (double)out->n_out[unit];
    double sum2 = all->n_expressing == in->n_expressing ? 0 : all->sum - in->sum;
    cpt_test t = {NAN, NAN, NAN, NAN};
    if (n1 > 0) out->share_in[at] = (float)((double)in->n_expressing / n1);
    if (n2 > 0) out->share_out[at] = (float)((double)(all->n_expressing - in->n_expressing) / n2);
    if (n1 > 0 && n2 > 0)
        out->logfc[at] = (float)log2((expm1(in->sum / n1) + FOLD_OFFSET) / (expm1(sum2 / n2) + FOLD_OFFSET));
    if (n1 >= 2 && n2 >= 2 && !gene->constant)
        t = job->test == CPT_TEST_WELCH ? welch(all, in, n1, n2)
                                        : rank_sum(all, in, n1, n2, gene->ties);
    out->score[at] = (float)t.statistic;
    out->p[at] = t.p;
    out->log10p[at] = t.log10p;
}

static cpt_status scratch_make(expression_scratch *s, const expression_job *job, cpt_err *e)
{
    cpt_status status;
    size_t n = (size_t)job->u->n_cells;
    CPT_TRY(cpt_alloc(&s->groups, (size_t)job->out->n_units, sizeof *s->groups, e));
    CPT_TRY(cpt_alloc(&s->values, n, sizeof *s->values, e));
    status = cpt_alloc(&s->ranks, n, sizeof *s->ranks, e);
done:
    return status;
}

static void scratch_free(expression_scratch *s)
{
    free(s->groups);
    free(s->values);
    free(s->ranks);
}

static cpt_status test_genes(const expression_job *job, const int32_t *genes, const cpt_context *ctx,
                             cpt_err *e)
{
    cpt_failure failure = {.status = CPT_OK};
    int64_t n_done = 0;
    int32_t n_genes = job->out->n_genes;
#pragma omp parallel num_threads(cpt_threads(ctx))
    {
        cpt_err err;
        expression_scratch s = {0};
        cpt_failure_note(&failure, scratch_make(&s, job, &err), 0, &err);
#pragma omp for schedule(dynamic, 8)
        for (int32_t g = 0; g < n_genes; g++) {
            gene_summary gene;
            int64_t done;
            if (cpt_failed(&failure)) continue;
            cpt_failure_note(&failure, cpt_check_stop(ctx, &err), g, &err);
            sum_gene(job, genes[g], &s, &gene);
            for (int32_t c = 0; c < job->out->n_units; c++)
                write_result(job, c, (int64_t)c * n_genes + g, &gene, &s.groups[c]);
#pragma omp atomic capture
            done = ++n_done;
            if (omp_get_thread_num() == 0)
                cpt_progress(ctx, "testing expression", (double)done, (double)n_genes, NULL);
        }
        scratch_free(&s);
    }
    return cpt_failure_status(&failure, e);
}

static cpt_status correct_units(const cpt_expression *x, const cpt_context *ctx, cpt_err *e)
{
    cpt_failure failure = {.status = CPT_OK};
#pragma omp parallel for schedule(dynamic) num_threads(cpt_threads(ctx))
    for (int32_t c = 0; c < x->n_units; c++) {
        cpt_err err;
        int64_t row = (int64_t)c * x->n_genes;
        cpt_failure_note(&failure, cpt_bh(x->n_genes, x->p + row, 0, x->q + row, &err), c, &err);
    }
    return cpt_failure_status(&failure, e);
}

/* ---- all ---- */

static cpt_status check_inputs(const cpt_activations *u, const cpt_csr *by_gene, const int32_t *genes,
                               int32_t n_genes, double share, cpt_err *e)
{
    if (by_gene->n_cols != u->n_cells)
        return cpt_fail(e, CPT_ERR_USAGE, "counts of %lld cells for activations of %lld",
                        (long long)by_gene->n_cols, (long long)u->n_cells);
    if (!(share >= 0 && share < 1))
        return cpt_fail(e, CPT_ERR_USAGE, "activation quantile %g: must be at least 0 and below 1", share);
    for (int32_t g = 0; g < n_genes; g++)
        if (genes[g] < 0 || genes[g] >= by_gene->n_rows)
            return cpt_fail(e, CPT_ERR_USAGE, "gene %d: there are %lld", genes[g],
                            (long long)by_gene->n_rows);
    return CPT_OK;
}

static cpt_status expression_make(int32_t n_units, int32_t n_genes, cpt_expression **out, cpt_err *e)
{
    cpt_expression *x;
    size_t n;
    if (!cpt_size_mul((size_t)n_units, (size_t)n_genes, &n)) n = SIZE_MAX; /* refused below */
    cpt_status status = cpt_alloc(&x, 1, sizeof *x, e);
    if (status != CPT_OK) return status;
    *out = x;
    x->n_units = n_units;
    x->n_genes = n_genes;
    CPT_TRY(cpt_alloc(&x->logfc, n, sizeof *x->logfc, e));
    CPT_TRY(cpt_alloc(&x->score, n, sizeof *x->score, e));
    CPT_TRY(cpt_alloc(&x->p, n, sizeof *x->p, e));
    CPT_TRY(cpt_alloc(&x->log10p, n, sizeof *x->log10p, e));
    CPT_TRY(cpt_alloc(&x->q, n, sizeof *x->q, e));
    CPT_TRY(cpt_alloc(&x->share_in, n, sizeof *x->share_in, e));
    CPT_TRY(cpt_alloc(&x->share_out, n, sizeof *x->share_out, e));
    CPT_TRY(cpt_alloc(&x->n_in, (size_t)n_units, sizeof *x->n_in, e));
    CPT_TRY(cpt_alloc(&x->n_out, (size_t)n_units, sizeof *x->n_out, e));
    for (size_t i = 0; i < n; i++) x->logfc[i] = x->share_in[i] = x->share_out[i] = NAN;
done:
    return status;
}

cpt_status cpt_expression_test_all(const cpt_activations *u, const cpt_csr *by_gene,
                                   const int32_t *genes, int32_t n_genes, const double *totals,
                                   double active_quantile, cpt_expression_test test,
                                   cpt_expression **out, const cpt_context *ctx, cpt_err *e)
{
    expression_job job = {.u = u, .by_gene = by_gene, .totals = totals, .test = test,
                          .n_usable = u->n_cells - u->n_unusable};
    cpt_status status;
    *out = NULL;
    CPT_TRY(check_inputs(u, by_gene, genes, n_genes, active_quantile, e));
    CPT_TRY(expression_make(u->n_concepts, n_genes, &job.out, e));
    CPT_TRY(make_groups(&job, active_quantile, e));
    CPT_TRY(test_genes(&job, genes, ctx, e));
    status = correct_units(job.out, ctx, e);
done:
    free(job.first);
    free(job.units);
    if (status == CPT_OK) *out = job.out;
    else cpt_expression_free(job.out);
    return status;
}

void cpt_expression_free(cpt_expression *x)
{
    if (!x) return;
    free(x->logfc);
    free(x->score);
    free(x->p);
    free(x->log10p);
    free(x->q);
    free(x->share_in);
    free(x->share_out);
    free(x->n_in);
    free(x->n_out);
    free(x);
}

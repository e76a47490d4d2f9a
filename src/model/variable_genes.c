/* Problem: rank genes by the variance of their Pearson residuals under a negative binomial with one
 * overdispersion for all genes (Lause, Berens and Kobak, Genome Biology 2021, equations 3 to 5):
 *
 *     mu_gc = total_g total_c / total,   r_gc = (x_gc - mu_gc) / sqrt(mu_gc + mu_gc^2 / theta),
 *
 * r cut to +-sqrt(n_cells), variance over cells with n in the denominator.
 *
 * Method. A zero count has r = -sqrt(mu / (1 + mu / theta)), which depends on the cell through its
 * total only, and totals are whole numbers of which few are different (thousands among 300,000
 * cells). So the sum over all cells as if all counts were 0 runs over distinct totals, and each
 * stored count then replaces one such term: O(distinct totals + nnz) per gene instead of O(cells),
 * exactly the same sum. Residuals have a mean near 0, so E[r^2] - E[r]^2 does not cancel.
 *
 * Traps: the cut also hits zeros once n_cells < theta; empty cells have mu = 0 (0 / 0). */
#include "model/variable_genes.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

enum { LANES = 8, GENES_PER_CHUNK = 16 };

/* Cells grouped by their total, which is what the residual of a zero depends on. */
typedef struct totals {
    double *of_cell;   /* [n_cells] */
    double *of_group;  /* [n_groups], padded with zeros to whole lanes */
    double *n_cells;   /* [n_groups] cells with that total, padded likewise */
    double *sorted;    /* scratch */
    int64_t n_groups;
    double all;
} totals;

void cpt_variable_genes_options_init(cpt_variable_genes_options *o)
{
    *o = (cpt_variable_genes_options){.n_top = 4000, .theta = 100};
}

static int compare_doubles(const void *pa, const void *pb)
{
    double a = *(const double *)pa, b = *(const double *)pb;
    return (a > b) - (a < b);
}

static void totals_free(totals *t)
{
    free(t->of_cell);
    free(t->of_group);
    free(t->n_cells);
    free(t->sorted);
}

static cpt_status sum_cells(const cpt_csr *m, double *of_cell, cpt_err *e)
{
    for (int64_t gene = 0; gene < m->n_rows; gene++)
        for (int64_t i = m->indptr[gene]; i < m->indptr[gene + 1]; i++) {
            float count = m->values[i];
            if (!(count >= 0 && isfinite(count)))
                return cpt_fail(e, CPT_ERR_DATA, "variable genes: the count of gene %lld in cell %d (both "
                                "counted from 0) is %g; raw counts are needed", (long long)gene,
                                m->indices[i], (double)count);
            of_cell[m->indices[i]] += (double)count;
        }
    return CPT_OK;
}

static cpt_status totals_init(totals *t, const cpt_csr *m, cpt_err *e)
{
    cpt_status status;
    size_t n = (size_t)m->n_cols;
    *t = (totals){0};
    CPT_TRY(cpt_alloc(&t->of_cell, n, sizeof *t->of_cell, e));
    CPT_TRY(cpt_alloc(&t->sorted, n, sizeof *t->sorted, e));
    CPT_TRY(cpt_alloc(&t->of_group, n + LANES, sizeof *t->of_group, e));
    CPT_TRY(cpt_alloc(&t->n_cells, n + LANES, sizeof *t->n_cells, e));
    CPT_TRY(sum_cells(m, t->of_cell, e));

    memcpy(t->sorted, t->of_cell, n * sizeof *t->sorted);
    qsort(t->sorted, n, sizeof *t->sorted, compare_doubles);
    for (size_t i = 0; i < n; i++) {
        t->all += t->sorted[i];
        if (i == 0 || t->sorted[i] != t->sorted[i - 1]) t->of_group[t->n_groups++] = t->sorted[i];
        t->n_cells[t->n_groups - 1] += 1;
    }
done:
    return status;
}

/* Residual of a zero count where mu are expected. */
static inline double zero_residual(double mu, double inverse_theta, double clip)
{
    double r = -sqrt(mu / (1 + mu * inverse_theta));
    return r < -clip ? -clip : r;
}

/* A stored count > 0 implies that gene and cell have totals > 0, hence mu > 0. */
static inline double residual(double count, double mu, double inverse_theta, double clip)
{
    double r = (count - mu) / sqrt(mu + mu * mu * inverse_theta);
    return r > clip ? clip : r < -clip ? -clip : r;
}

/* Lanes are summed in a fixed order, whatever vectors the compiler uses. */
static double gene_variance(const cpt_csr *m, int64_t gene, const totals *t, double inverse_theta,
                            double clip)
{
    double of_gene = 0, lane_sum[LANES] = {0}, lane_square[LANES] = {0};
    for (int64_t i = m->indptr[gene]; i < m->indptr[gene + 1]; i++) of_gene += (double)m->values[i];
    if (of_gene <= 0) return 0;

    double share = of_gene / t->all;
    for (int64_t g = 0; g < t->n_groups; g += LANES)
        for (int l = 0; l < LANES; l++) {
            double r = zero_residual(share * t->of_group[g + l], inverse_theta, clip);
            lane_sum[l] += t->n_cells[g + l] * r;
            lane_square[l] += t->n_cells[g + l] * r * r;
        }
    double sum = 0, square = 0;
    for (int l = 0; l < LANES; l++) sum += lane_sum[l], square += lane_square[l];

    for (int64_t i = m->indptr[gene]; i < m->indptr[gene + 1]; i++) {
        double count = (double)m->values[i];
        if (count <= 0) continue;
        double mu = share * t->of_cell[m->indices[i]];
        double was = zero_residual(mu, inverse_theta, clip), is = residual(count, mu, inverse_theta, clip);
        sum += is - was;
        square += is * is - was * was;
    }
    double mean = sum / (double)m->n_cols;
    return fmax(0, square / (double)m->n_cols - mean * mean);
}

/* ---- the most variable genes ---- */

typedef struct ranked {
    double variance;
    int32_t gene;
} ranked;

static int compare_ranked(const void *pa, const void *pb)
{
    const ranked *a = pa, *b = pb;
    if (a->variance != b->variance) return a->variance > b->variance ? -1 : 1;
    return (a->gene > b->gene) - (a->gene < b->gene);
}

static cpt_status choose(const double *variances, int64_t n, int32_t n_top, int32_t *chosen,
                         int32_t *n_chosen, cpt_err *e)
{
    ranked *order;
    uint8_t *taken = NULL;
    int64_t n_ranked = 0;
    cpt_status status;
    CPT_TRY(cpt_alloc(&order, (size_t)n, sizeof *order, e));
    CPT_TRY(cpt_alloc(&taken, (size_t)n, sizeof *taken, e));
    for (int64_t gene = 0; gene < n; gene++)
        if (variances[gene] > 0) order[n_ranked++] = (ranked){variances[gene], (int32_t)gene};
    qsort(order, (size_t)n_ranked, sizeof *order, compare_ranked);

    for (int64_t i = 0; i < n_ranked && i < n_top; i++) taken[order[i].gene] = 1;
    *n_chosen = 0;
    for (int64_t gene = 0; gene < n; gene++)
        if (taken[gene]) chosen[(*n_chosen)++] = (int32_t)gene;
done:
    free(order);
    free(taken);
    return status;
}

static cpt_status check_options(const cpt_csr *m, const cpt_variable_genes_options *o, cpt_err *e)
{
    if (m->n_cols < 1 || m->n_rows < 1)
        return cpt_fail(e, CPT_ERR_DATA, "variable genes: there are %lld cells and %lld genes; both must be "
                        "at least 1", (long long)m->n_cols, (long long)m->n_rows);
    if (o->n_top < 1) return cpt_fail(e, CPT_ERR_USAGE, "number of variable genes is %d, must be at least 1", o->n_top);
    if (!(o->theta > 0)) return cpt_fail(e, CPT_ERR_USAGE, "theta is %g, must be above 0", o->theta);
    if (!(o->clip >= 0)) return cpt_fail(e, CPT_ERR_USAGE, "clip is %g, must not be negative", o->clip);
    return CPT_OK;
}

cpt_status cpt_variable_genes(const cpt_csr *m, const cpt_variable_genes_options *o, double *variances,
                              int32_t *chosen, int32_t *n_chosen, const cpt_context *ctx, cpt_err *e)
{
    cpt_status status;
    totals t = {0};
    CPT_TRY(check_options(m, o, e));
    CPT_TRY(totals_init(&t, m, e));
    double clip = o->clip > 0 ? o->clip : sqrt((double)m->n_cols), inverse_theta = 1 / o->theta;
    int64_t n_chunks = (m->n_rows + GENES_PER_CHUNK - 1) / GENES_PER_CHUNK;
    int n_threads = cpt_threads(ctx);
    bool stopped = false;
#pragma omp parallel for schedule(dynamic) num_threads(n_threads)
    for (int64_t chunk = 0; chunk < n_chunks; chunk++) {
        bool leave;
#pragma omp atomic read
        leave = stopped;
        if (leave) continue;
        int64_t first = chunk * GENES_PER_CHUNK, end = first + GENES_PER_CHUNK;
        if (end > m->n_rows) end = m->n_rows;
        for (int64_t gene = first; gene < end; gene++)
            variances[gene] = gene_variance(m, gene, &t, inverse_theta, clip);
        if (omp_get_thread_num() == 0 && cpt_check_stop(ctx, NULL) != CPT_OK) {
#pragma omp atomic write
            stopped = true;
        }
    }
    CPT_TRY(cpt_check_stop(ctx, e));
    CPT_TRY(choose(variances, m->n_rows, o->n_top, chosen, n_chosen, e));
done:
    totals_free(&t);
    return status;
}

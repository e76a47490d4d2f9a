/* cell_cycle.c - cell cycle phases by gene scores.
 *
 * Score of a list = mean of log1p(counts / total * 1e4) over its genes minus the mean over control
 * genes: those of the same bins of mean expression (25 bins of equal size over the expressed
 * genes), the list itself left out. Phase: G2M when its score is above that of S, else S; G1 when
 * both are negative (Tirosh et al. 2016; scanpy).
 *
 * Where we depart from scanpy: it draws min(n_S, n_G2M) control genes per bin at random, we take
 * all genes of the bin, which is what its score is on average. The result is that of scanpy's
 * score_genes with a ctrl_size beyond the size of the bins.
 *
 * Cost: two passes over the counts, by blocks of cells of which every thread has its own: the logarithms of small counts
 * are looked up, per cell. */
#include "evaluate/cell_cycle.h"

#include "base/memory.h"
#include "math/sort.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>

/* At most 36 bins come out: 35 genes in bins of round(35 / 24) = 1. */
enum { N_BINS = 25, MOST_BINS = 40, LEAST_GENES = 5, BLOCK = 4096, TABULATED = 16 };
static const double SCALE = 1e4;

const char *const cpt_phase_names[CPT_N_PHASES] = {"G1", "S", "G2M"};

static double level(double count, double total)
{
    return log1p(count / total * SCALE);
}

/* ---- blocks of cells ---- */

typedef struct counts {
    const cpt_csr *by_gene;
    const double *totals;
    int64_t n_blocks;
    int n_threads;
    double *levels; /* [n_threads][BLOCK][TABULATED] of the counts 0, 1, 2 ... of each cell */
} counts;

static cpt_status counts_init(const cpt_csr *by_gene, const double *totals, const cpt_context *ctx, counts *c,
                              cpt_err *e)
{
    *c = (counts){by_gene, totals, (by_gene->n_cols + BLOCK - 1) / BLOCK, cpt_threads(ctx), NULL};
    return cpt_alloc(&c->levels, (size_t)c->n_threads * BLOCK * TABULATED, sizeof *c->levels, e);
}

static int64_t first_of(const counts *c, int64_t block)
{
    return block < c->n_blocks ? block * BLOCK : c->by_gene->n_cols;
}

/* The thread's levels for the cells of the block. */
static double *tabulate(const counts *c, int64_t block)
{
    double *levels = c->levels + (int64_t)omp_get_thread_num() * BLOCK * TABULATED;
    const int64_t first = first_of(c, block), end = first_of(c, block + 1);
    for (int64_t i = first; i < end; i++)
        for (int count = 0; count < TABULATED; count++)
            levels[(i - first) * TABULATED + count] = level(count, c->totals[i]);
    return levels;
}

/* Where the cells from `cell` on begin among the counts of gene g. */
static int64_t begin_of(const cpt_csr *by_gene, int64_t g, int64_t cell)
{
    int64_t low = by_gene->indptr[g], high = by_gene->indptr[g + 1];
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (by_gene->indices[middle] < cell) low = middle + 1;
        else high = middle;
    }
    return low;
}

/* Level of count k, whose cell is of the block. */
static double level_at(const counts *c, const double *levels, int64_t first, int64_t k)
{
    const float count = c->by_gene->values[k];
    const int64_t cell = c->by_gene->indices[k];
    const bool small = count >= 0 && count < TABULATED && count == (float)(int)count;
    return small ? levels[(cell - first) * TABULATED + (int)count] : level((double)count, c->totals[cell]);
}

/* ---- means and bins ---- */

/* sums [n_rows]: of the levels of each gene over the cells of the block. */
static void add_up(const counts *c, int64_t block, double *sums)
{
    const double *levels = tabulate(c, block);
    const int64_t first = first_of(c, block), end = first_of(c, block + 1);
    for (int64_t g = 0; g < c->by_gene->n_rows; g++) {
        const int64_t last = c->by_gene->indptr[g + 1];
        for (int64_t k = begin_of(c->by_gene, g, first); k < last && c->by_gene->indices[k] < end; k++)
            sums[g] += level_at(c, levels, first, k);
    }
}

/* Mean level over all cells of every gene; NaN where no cell expresses it. */
static cpt_status gene_means(const counts *c, double *means, const cpt_context *ctx, cpt_err *e)
{
    const int64_t n = c->by_gene->n_rows;
    double *sums;
    cpt_status status = cpt_alloc(&sums, (size_t)c->n_blocks * (size_t)n, sizeof *sums, e);
    if (status != CPT_OK) return status;
#pragma omp parallel for schedule(dynamic) num_threads(c->n_threads)
    for (int64_t block = 0; block < c->n_blocks; block++)
        if (cpt_check_stop(ctx, NULL) == CPT_OK) add_up(c, block, sums + block * n);
    for (int64_t g = 0; g < n; g++) {
        const bool expressed = c->by_gene->indptr[g] < c->by_gene->indptr[g + 1];
        double sum = 0;
        for (int64_t block = 0; block < c->n_blocks; block++) sum += sums[block * n + g];
        means[g] = expressed ? sum / (double)c->by_gene->n_cols : NAN;
    }
    free(sums);
    return cpt_check_stop(ctx, e);
}

/* Half to even, as Python rounds. */
static int64_t round_to_even(double x)
{
    return (int64_t)nearbyint(x);
}

/* bin [n_rows]: (lowest rank among equals, from 1) / size of a bin; -1 = not expressed. */
static cpt_status make_bins(int64_t n, const double *means, int32_t *bin, cpt_err *e)
{
    int64_t *order, n_pool = 0;
    cpt_status status = cpt_alloc(&order, (size_t)n, sizeof *order, e);
    if (status != CPT_OK) return status;
    for (int64_t i = 0; i < n; i++) n_pool += !isnan(means[i]);
    status = cpt_argsort(n, means, order, e);
    int64_t size = round_to_even((double)n_pool / (N_BINS - 1)), rank = 1;
    if (size < 1) size = 1;
    for (int64_t i = 0; i < n && status == CPT_OK; i++) {
        bin[order[i]] = -1;
        if (i >= n_pool) continue; /* NaN last */
        if (i > 0 && means[order[i]] > means[order[i - 1]]) rank = i + 1;
        bin[order[i]] = (int32_t)(rank / size);
    }
    free(order);
    return status;
}

/* ---- scores ---- */

/* What a gene is to the list at hand. */
enum { OTHER, LISTED, CONTROL };

/* factors [n_rows]: by which the level of a gene counts in the score of the list. */
static cpt_status weigh_genes(const counts *c, const int32_t *bin, const int32_t *list, int32_t n_listed, int which,
                              double *factors, cpt_cell_cycle *out, cpt_err *e)
{
    const int64_t n_genes = c->by_gene->n_rows;
    uint8_t *role;
    bool wanted[MOST_BINS] = {false};
    int32_t n = 0, n_control = 0;
    cpt_status status = cpt_alloc(&role, (size_t)n_genes, sizeof *role, e);
    if (status != CPT_OK) return status;
    for (int32_t i = 0; i < n_listed; i++) {
        if (bin[list[i]] < 0) continue;
        role[list[i]] = LISTED;
        wanted[bin[list[i]]] = true;
        n++;
    }
    for (int64_t g = 0; g < n_genes; g++)
        if (role[g] == OTHER && bin[g] >= 0 && wanted[bin[g]]) {
            role[g] = CONTROL;
            n_control++;
        }
    for (int64_t g = 0; g < n_genes; g++)
        factors[g] = role[g] == LISTED ? 1.0 / n : role[g] == CONTROL ? -1.0 / n_control : 0;
    free(role);
    out->n_genes[which] = n;
    out->n_control[which] = n_control;
    if (n >= LEAST_GENES && n_control >= LEAST_GENES) return CPT_OK;
    return cpt_fail(e, CPT_ERR_DATA,
                    "cell cycle: %d of %d %s genes are expressed (%d control genes); at least %d are needed", n,
                    n_listed, which ? "G2/M" : "S", n_control, LEAST_GENES);
}

/* Both scores of the cells of the block; gene after gene, so in the same order for any block. */
static void score_block(const counts *c, int64_t block, double *const factors[2], double *const score[2])
{
    const double *levels = tabulate(c, block);
    const int64_t first = first_of(c, block), end = first_of(c, block + 1);
    for (int64_t g = 0; g < c->by_gene->n_rows; g++) {
        const double s = factors[0][g], g2m = factors[1][g];
        const int64_t last = c->by_gene->indptr[g + 1];
        if (s == 0 && g2m == 0) continue;
        for (int64_t k = begin_of(c->by_gene, g, first); k < last && c->by_gene->indices[k] < end; k++) {
            const double value = level_at(c, levels, first, k);
            score[0][c->by_gene->indices[k]] += s * value;
            score[1][c->by_gene->indices[k]] += g2m * value;
        }
    }
}

static cpt_status score_cells(const counts *c, double *const factors[2], cpt_cell_cycle *out, const cpt_context *ctx,
                              cpt_err *e)
{
#pragma omp parallel for schedule(dynamic) num_threads(c->n_threads)
    for (int64_t block = 0; block < c->n_blocks; block++)
        if (cpt_check_stop(ctx, NULL) == CPT_OK) score_block(c, block, factors, out->score);
    return cpt_check_stop(ctx, e);
}

static void name_phases(const double *totals, cpt_cell_cycle *c)
{
    for (int64_t i = 0; i < c->n_cells; i++) {
        double s = c->score[0][i], g2m = c->score[1][i];
        c->phase[i] = s < 0 && g2m < 0 ? CPT_PHASE_G1 : g2m > s ? CPT_PHASE_G2M : CPT_PHASE_S;
        if (totals[i] > 0) continue;
        c->phase[i] = -1;
        c->score[0][i] = c->score[1][i] = NAN;
    }
}

cpt_status cpt_cell_cycle_score(const cpt_csr *by_gene, const double *totals, const int32_t *const lists[2],
                                const int32_t n_listed[2], cpt_cell_cycle *out, const cpt_context *ctx, cpt_err *e)
{
    const size_t n_genes = (size_t)by_gene->n_rows, n_cells = (size_t)by_gene->n_cols;
    cpt_status status = CPT_OK;
    counts c = {0};
    double *means = NULL, *factors[2] = {NULL, NULL};
    int32_t *bin = NULL;
    *out = (cpt_cell_cycle){.n_cells = by_gene->n_cols};
    CPT_TRY(counts_init(by_gene, totals, ctx, &c, e));
    CPT_TRY(cpt_alloc(&means, n_genes, sizeof *means, e));
    CPT_TRY(cpt_alloc(&bin, n_genes, sizeof *bin, e));
    CPT_TRY(cpt_alloc(&out->phase, n_cells, sizeof *out->phase, e));
    CPT_TRY(gene_means(&c, means, ctx, e));
    CPT_TRY(make_bins(by_gene->n_rows, means, bin, e));
    for (int i = 0; i < 2; i++) {
        CPT_TRY(cpt_alloc(&out->score[i], n_cells, sizeof **out->score, e));
        CPT_TRY(cpt_alloc(&factors[i], n_genes, sizeof **factors, e));
        CPT_TRY(weigh_genes(&c, bin, lists[i], n_listed[i], i, factors[i], out, e));
    }
    CPT_TRY(score_cells(&c, factors, out, ctx, e));
    name_phases(totals, out);
done:
    free(c.levels);
    free(means);
    free(bin);
    free(factors[0]);
    free(factors[1]);
    if (status != CPT_OK) cpt_cell_cycle_free(out);
    return status;
}

void cpt_cell_cycle_free(cpt_cell_cycle *c)
{
    free(c->score[0]);
    free(c->score[1]);
    free(c->phase);
    *c = (cpt_cell_cycle){0};
}

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
 * Cost: one pass over the counts of the listed and the control genes. */
#include "evaluate/cell_cycle.h"

#include "base/memory.h"
#include "math/sort.h"

#include <math.h>
#include <stdlib.h>

/* At most 36 bins come out: 35 genes in bins of round(35 / 24) = 1. */
enum { N_BINS = 25, MOST_BINS = 40, LEAST_GENES = 5 };
static const double SCALE = 1e4;

const char *const cpt_phase_names[CPT_N_PHASES] = {"G1", "S", "G2M"};

static double level(float count, double total)
{
    return log1p((double)count / total * SCALE);
}

/* Mean level over all cells of every gene; NaN where no cell expresses it. */
static void gene_means(const cpt_csr *by_gene, const double *totals, double *means)
{
    for (int64_t g = 0; g < by_gene->n_rows; g++) {
        double sum = 0;
        for (int64_t k = by_gene->indptr[g]; k < by_gene->indptr[g + 1]; k++)
            sum += level(by_gene->values[k], totals[by_gene->indices[k]]);
        means[g] =
            by_gene->indptr[g] < by_gene->indptr[g + 1] ? sum / (double)by_gene->n_cols : NAN;
    }
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

/* Adds factor * level of one gene to the scores. */
static void add_gene(const cpt_csr *by_gene, const double *totals, int64_t g, double factor,
                     double *score)
{
    for (int64_t k = by_gene->indptr[g]; k < by_gene->indptr[g + 1]; k++) {
        int32_t cell = by_gene->indices[k];
        score[cell] += factor * level(by_gene->values[k], totals[cell]);
    }
}

/* What a gene is to the list at hand. */
enum { OTHER, LISTED, CONTROL };

static cpt_status score_list(const cpt_csr *by_gene, const double *totals, const int32_t *bin,
                             const int32_t *list, int32_t n_listed, int which, cpt_cell_cycle *out,
                             cpt_err *e)
{
    cpt_status status = CPT_OK;
    uint8_t *role = NULL;
    bool wanted[MOST_BINS] = {false};
    int32_t n = 0, n_control = 0;
    CPT_TRY(cpt_alloc(&role, (size_t)by_gene->n_rows, sizeof *role, e));
    for (int32_t i = 0; i < n_listed; i++) {
        if (bin[list[i]] < 0) continue;
        role[list[i]] = LISTED;
        wanted[bin[list[i]]] = true;
        n++;
    }
    for (int64_t g = 0; g < by_gene->n_rows; g++)
        if (role[g] == OTHER && bin[g] >= 0 && wanted[bin[g]]) {
            role[g] = CONTROL;
            n_control++;
        }
    if (n < LEAST_GENES || n_control < LEAST_GENES) {
        status =
            cpt_fail(e, CPT_ERR_DATA,
                     "cell cycle: %d of %d %s genes are expressed (%d control genes); at least %d "
                     "are needed",
                     n, n_listed, which ? "G2/M" : "S", n_control, LEAST_GENES);
        goto done;
    }
    for (int64_t g = 0; g < by_gene->n_rows; g++)
        if (role[g] != OTHER)
            add_gene(by_gene, totals, g, role[g] == LISTED ? 1.0 / n : -1.0 / n_control,
                     out->score[which]);
    out->n_genes[which] = n;
    out->n_control[which] = n_control;
done:
    free(role);
    return status;
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

cpt_status cpt_cell_cycle_score(const cpt_csr *by_gene, const double *totals,
                                const int32_t *const lists[2], const int32_t n_listed[2],
                                cpt_cell_cycle *out, cpt_err *e)
{
    cpt_status status = CPT_OK;
    double *means = NULL;
    int32_t *bin = NULL;
    *out = (cpt_cell_cycle){.n_cells = by_gene->n_cols};
    CPT_TRY(cpt_alloc(&means, (size_t)by_gene->n_rows, sizeof *means, e));
    CPT_TRY(cpt_alloc(&bin, (size_t)by_gene->n_rows, sizeof *bin, e));
    CPT_TRY(cpt_alloc(&out->phase, (size_t)out->n_cells, sizeof *out->phase, e));
    for (int i = 0; i < 2; i++)
        CPT_TRY(cpt_alloc(&out->score[i], (size_t)out->n_cells, sizeof **out->score, e));
    gene_means(by_gene, totals, means);
    CPT_TRY(make_bins(by_gene->n_rows, means, bin, e));
    for (int i = 0; i < 2; i++)
        CPT_TRY(score_list(by_gene, totals, bin, lists[i], n_listed[i], i, out, e));
    name_phases(totals, out);
done:
    free(means);
    free(bin);
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

/* noise_floor.c - distributions of attribution sizes and cut-offs from them.
 *
 * Two cut-offs are meant by "5 % false". By gene: 95 % of the null lies below; of 4,000 genes
 * without meaning 200 would still pass. By call: among the genes that pass, 5 % are expected to be
 * false (the ratio of the two tails, as in an empirical false discovery rate; Efron 2010). Both are
 * given. */
#include "evaluate/noise_floor.h"

#include "base/memory.h"
#include "math/statistics.h"

#include <math.h>
#include <stdlib.h>

static int ascending(const void *x, const void *y)
{
    const double *a = x, *b = y;
    return (*a > *b) - (*a < *b);
}

cpt_status cpt_sizes_make(const float *mean, const int32_t *n_differed, int32_t n_units,
                          int32_t n_genes, int32_t least, int32_t most, cpt_sizes *out, cpt_err *e)
{
    const int64_t total = (int64_t)n_units * n_genes;
    *out = (cpt_sizes){.n_units = n_units};
    cpt_status status = cpt_alloc(&out->sorted, (size_t)total, sizeof *out->sorted, e);
    if (status != CPT_OK) return status;
    for (int64_t i = 0; i < total; i++)
        if (n_differed[i] >= least && n_differed[i] <= most && isfinite(mean[i]))
            out->sorted[out->n++] = fabs((double)mean[i]);
    qsort(out->sorted, (size_t)out->n, sizeof *out->sorted, ascending);
    return CPT_OK;
}

void cpt_sizes_free(cpt_sizes *s)
{
    free(s->sorted);
    *s = (cpt_sizes){0};
}

double cpt_sizes_quantile(const cpt_sizes *s, double q)
{
    return s->n ? cpt_quantile_sorted(s->n, s->sorted, q) : NAN;
}

/* How many are below x. */
static int64_t below(const cpt_sizes *s, double x)
{
    int64_t low = 0, high = s->n;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (s->sorted[middle] < x) low = middle + 1;
        else high = middle;
    }
    return low;
}

double cpt_sizes_share_below(const cpt_sizes *s, double cutoff)
{
    return s->n ? (double)below(s, cutoff) / (double)s->n : NAN;
}

double cpt_cutoff_by_rate(const cpt_sizes *concepts, const cpt_sizes *null, double rate)
{
    if (concepts->n == 0 || null->n == 0) return NAN;
    double best = NAN;
    /* From the largest down, as long as the ratio of the tails holds: a lucky dip far below is no
     * cut-off. A null that is never reached counts as one value, or the ratio would be 0 for free.
     */
    for (int64_t i = concepts->n - 1; i >= 0; i--) {
        const double t = concepts->sorted[i];
        if (i > 0 && concepts->sorted[i - 1] == t) continue;
        const double called = (double)(concepts->n - i) / (double)concepts->n;
        const int64_t n_null = null->n - below(null, t);
        const double false_share = (double)(n_null ? n_null : 1) / (double)null->n;
        if (false_share <= rate * called) best = t;
        else if (!isnan(best)) break;
    }
    return best;
}

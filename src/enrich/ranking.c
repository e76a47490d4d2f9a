/* ranking.c - the order of the genes, and weights as integers.
 *
 * Weights are round(|s|^power * c) with c = 2^30 / sum, floored when >= 1, as fgsea does since 1.37.1:
 * running sums are then exact integers, so that equal enrichment scores compare as equal whatever the
 * order of summation, and statistics that are integers already stay in proportion.
 */
#include "enrich/ranking.h"
#include "base/memory.h"
#include "math/sort.h"

#include <math.h>
#include <stdlib.h>

static const double WEIGHT_SUM = 1073741824; /* 2^30 */

static cpt_status check_power(double power, cpt_err *e)
{
    if (power >= 0 && !isinf(power)) return CPT_OK;
    return cpt_fail(e, CPT_ERR_USAGE, "the GSEA weight is %g; it must be 0 or more", power);
}

static cpt_status check_statistic(int32_t n, const double *statistic, cpt_err *e)
{
    if (n > CPT_RANKING_MAX_GENES)
        return cpt_fail(e, CPT_ERR_UNSUPPORTED, "cannot rank %d genes, at most %d", n,
                        CPT_RANKING_MAX_GENES);
    for (int32_t g = 0; g < n; g++)
        if (isinf(statistic[g]))
            return cpt_fail(e, CPT_ERR_DATA, "the statistic of gene %d is infinite; cap it, or leave "
                            "the gene out with NaN", g);
    return CPT_OK;
}

/* Descending, and by gene number where equal. */
static uint64_t key_of(double statistic)
{
    return ~cpt_order_key(statistic);
}

/* Genes [from, to) have keys of one upper half: ties, or statistics that differ in a millionth. `keys` and `scratch`
 * hold as many; positions are not known yet, so their place serves too. */
static void settle_run(const double *statistic, int32_t from, int32_t to, uint64_t *keys, uint64_t *scratch,
                       cpt_ranking *r)
{
    int32_t n = to - from, *gene = r->gene + from;
    uint64_t differ = 0;
    for (int32_t i = 0; i < n; i++) {
        keys[i] = key_of(statistic[gene[i]]);
        differ |= keys[i] ^ keys[0];
    }
    if (differ) cpt_radix_sort(n, keys, gene, scratch, r->position);
    for (int32_t i = 0, j; i < n; i = j) {
        for (j = i + 1; j < n && keys[j] == keys[i]; j++) continue;
        if (j - i > 1) r->n_tied += j - i;
        if (statistic[gene[i]] == 0) r->n_zero += j - i;
    }
}

/* By the upper halves of the keys first; the gene goes along in the lower. */
static cpt_status sort_genes(int32_t n_universe, const double *statistic, cpt_ranking *r, cpt_err *e)
{
    static const uint64_t UPPER = ~0ull << 32;
    uint64_t *items, *keys;
    int32_t n = 0;
    cpt_status status = cpt_alloc(&items, 2 * (size_t)n_universe, sizeof *items, e);
    if (status) return status;
    keys = items + n_universe;
    for (int32_t g = 0; g < n_universe; g++)
        if (!isnan(statistic[g])) items[n++] = (key_of(statistic[g]) & UPPER) | (uint32_t)g;
    r->n = n;
    cpt_radix_sort_upper(n, items, keys);
    for (int32_t i = 0; i < n; i++) r->gene[i] = (int32_t)(items[i] & ~UPPER);
    for (int32_t i = 0, j; i < n; i = j) {
        for (j = i + 1; j < n && ((items[j] ^ items[i]) & UPPER) == 0; j++) continue;
        if (j - i > 1 || ((items[i] ^ key_of(0)) & UPPER) == 0) settle_run(statistic, i, j, keys, items + i, r);
    }
    for (int32_t g = 0; g < n_universe; g++) r->position[g] = -1;
    for (int32_t i = 0; i < n; i++) r->position[r->gene[i]] = i;
    free(items);
    return CPT_OK;
}

static double power_of(double x, double power)
{
    return power == 1 ? x : power == 0 ? 1 : power == 2 ? x * x : pow(x, power);
}

/* rint() of numbers below 2^51, without its call on processors that have no instruction for it in common. */
static double nearest(double x)
{
    const double shift = 0x1.8p52;
    return x + shift - shift;
}

/* In place: strengths, not negative, become weights. Returns the whole number that multiplied them; 0 when they were
 * rounded. */
static double set_weights(int32_t n, double *weight, double power)
{
    double sum = 0, largest = 0, unit = 1;
    for (int32_t i = 0; i < n; i++) {
        sum += power_of(weight[i], power);
        largest = weight[i] > largest ? weight[i] : largest;
    }
    if (largest > 0 && !(sum < 1e290 && sum > 1e-290)) { /* out of range: measure in units of the largest */
        unit = largest;
        sum = 0;
        for (int32_t i = 0; i < n; i++) sum += power_of(weight[i] / unit, power);
    }
    double scale = sum > 0 ? WEIGHT_SUM / sum : 0;
    if (scale >= 1) scale = floor(scale);
    for (int32_t i = 0; i < n; i++) weight[i] = nearest(power_of(weight[i] / unit, power) * scale);
    return scale >= 1 && power == 1 && unit == 1 ? scale : 0;
}

cpt_status cpt_ranking_order(int32_t n_universe, const double *statistic, cpt_ranking *r, cpt_err *e)
{
    cpt_status status = CPT_OK;
    *r = (cpt_ranking){0};
    CPT_TRY(check_statistic(n_universe, statistic, e));
    CPT_TRY(cpt_alloc(&r->gene, (size_t)n_universe, sizeof *r->gene, e));
    CPT_TRY(cpt_alloc(&r->position, (size_t)n_universe, sizeof *r->position, e));
    CPT_TRY(cpt_alloc(&r->weight, (size_t)n_universe + 1, sizeof *r->weight, e));
    status = sort_genes(n_universe, statistic, r, e);
done:
    if (status) cpt_ranking_free(r);
    return status;
}

cpt_status cpt_ranking_weigh(cpt_ranking *r, const double *statistic, double power, cpt_err *e)
{
    cpt_status status = check_power(power, e);
    if (status) return status;
    for (int32_t i = 0; i < r->n; i++) r->weight[i] = fabs(statistic[r->gene[i]]);
    set_weights(r->n, r->weight, power);
    r->unit = 0;
    return CPT_OK;
}

cpt_status cpt_ranking_weigh_ranks(cpt_ranking *r, double power, cpt_err *e)
{
    cpt_status status = check_power(power, e);
    if (status) return status;
    for (int32_t i = 0; i < r->n; i++) r->weight[i] = abs(2 * (i + 1) - r->n - 1);
    r->unit = set_weights(r->n, r->weight, power);
    return CPT_OK;
}

cpt_status cpt_ranking_make(int32_t n_universe, const double *statistic, double power,
                            cpt_ranking *r, cpt_err *e)
{
    cpt_status status = cpt_ranking_order(n_universe, statistic, r, e);
    if (status == CPT_OK) status = cpt_ranking_weigh(r, statistic, power, e);
    if (status) cpt_ranking_free(r);
    return status;
}

void cpt_ranking_free(cpt_ranking *r)
{
    free(r->gene);
    free(r->position);
    free(r->weight);
    *r = (cpt_ranking){0};
}

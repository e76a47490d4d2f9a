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

static cpt_status refuse_infinite(int32_t n, const double *statistic, cpt_err *e)
{
    int32_t g = 0;
    while (g < n - 1 && !isinf(statistic[g])) g++;
    return cpt_fail(e, CPT_ERR_DATA, "the statistic of gene %d is infinite; cap it, or leave the gene out with NaN", g);
}

/* Of a ranking that was not used yet. */
static cpt_status make_room(int32_t n_universe, cpt_ranking *r, cpt_err *e)
{
    cpt_status status;
    r->room = n_universe;
    CPT_TRY(cpt_alloc(&r->gene, (size_t)n_universe, sizeof *r->gene, e));
    CPT_TRY(cpt_alloc(&r->position, (size_t)n_universe, sizeof *r->position, e));
    status = cpt_alloc(&r->scratch, CPT_ORDER_SCRATCH * (size_t)n_universe, sizeof *r->scratch, e);
done:
    return status;
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
    cpt_order_facts facts;
    if (n_universe > CPT_RANKING_MAX_GENES)
        CPT_TRY(cpt_fail(e, CPT_ERR_UNSUPPORTED, "cannot rank %d genes, at most %d", n_universe,
                         CPT_RANKING_MAX_GENES));
    if (!r->gene) CPT_TRY(make_room(n_universe, r, e));
    r->weight = NULL;
    r->n = cpt_order(n_universe, statistic, true, r->gene, &facts, r->scratch);
    r->n_tied = facts.n_tied;
    r->n_zero = facts.n_zero;
    if (r->n && (isinf(facts.low) || isinf(facts.high))) CPT_TRY(refuse_infinite(n_universe, statistic, e));
    for (int32_t g = 0; g < n_universe && r->n < n_universe; g++) r->position[g] = -1;
    for (int32_t i = 0; i < r->n; i++) r->position[r->gene[i]] = i;
done:
    if (status) cpt_ranking_free(r);
    return status;
}

cpt_status cpt_ranking_weigh(cpt_ranking *r, const double *statistic, double power, cpt_err *e)
{
    cpt_status status;
    CPT_TRY(check_power(power, e));
    if (!r->own) CPT_TRY(cpt_alloc(&r->own, (size_t)r->room + 1, sizeof *r->own, e));
    for (int32_t i = 0; i < r->n; i++) r->own[i] = fabs(statistic[r->gene[i]]);
    r->own[r->n] = 0;
    set_weights(r->n, r->own, power);
    r->weight = r->own;
    r->unit = 0;
done:
    return status;
}

cpt_status cpt_rank_weights(int32_t n, double power, double *weight, double *unit, cpt_err *e)
{
    cpt_status status = check_power(power, e);
    if (status) return status;
    for (int32_t i = 0; i < n; i++) weight[i] = abs(2 * (i + 1) - n - 1);
    *unit = set_weights(n, weight, power);
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
    free(r->own);
    free(r->scratch);
    *r = (cpt_ranking){0};
}

/* tests.c - two-group tests from moments and rank sums, and the Benjamini-Hochberg correction.
 *
 * Welch      B. L. Welch, Biometrika 34 (1947), with the Welch-Satterthwaite degrees of freedom.
 * Rank sum   Mann & Whitney (1947), normal approximation with the tie correction of the variance.
 * BH         Benjamini & Hochberg, JRSS B 57 (1995): q_(i) = min over j >= i of m p_(j) / j, at most 1.
 * Trap       p underflows long before the statistic is extreme: p is clamped at the smallest normal
 *            double and its logarithm is computed apart.
 */
#include "base/memory.h"
#include "math/sort.h"
#include "math/statistics.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

static const cpt_test UNDEFINED = {NAN, NAN, NAN, NAN};

/* Two-sided from ln of the upper tail beyond |statistic|. */
static cpt_test two_sided(double statistic, double df, double log_tail)
{
    double log_p = fmin(log_tail + M_LN2, 0);
    cpt_test t = {statistic, df, fmax(exp(log_p), DBL_MIN), log_p / M_LN10};
    if (isinf(t.log10p)) t.log10p = log10(DBL_MIN);
    return t;
}

cpt_test cpt_welch(double mean1, double var1, double n1, double mean2, double var2, double n2)
{
    if (!(n1 >= 2 && n2 >= 2 && var1 >= 0 && var2 >= 0)) return UNDEFINED;
    double s1 = var1 / n1, s2 = var2 / n2, difference = mean1 - mean2;
    if (s1 + s2 == 0) {
        if (difference == 0 || isnan(difference)) return UNDEFINED;
        return two_sided(copysign(INFINITY, difference), n1 + n2 - 2, -INFINITY);
    }
    double share = s1 / (s1 + s2); /* scaled, so that tiny variances do not underflow when squared */
    double df = 1 / (share * share / (n1 - 1) + (1 - share) * (1 - share) / (n2 - 1));
    double t = difference / sqrt(s1 + s2);
    if (isnan(t)) return UNDEFINED;
    return two_sided(t, df, cpt_log_t_upper(fabs(t), df));
}

cpt_test cpt_rank_sum(double rank_sum1, double n1, double n2, double tie_sum, bool continuity)
{
    if (!(n1 >= 1 && n2 >= 1)) return UNDEFINED;
    double n = n1 + n2;
    double variance = n1 * n2 / 12 * (n + 1 - tie_sum / (n * (n - 1)));
    if (!(variance > 0)) return UNDEFINED; /* all values equal */
    double above = rank_sum1 - n1 * (n1 + 1) / 2 - n1 * n2 / 2; /* U - its mean */
    double distance = fabs(above) - (continuity ? 0.5 : 0), sd = sqrt(variance);
    /* A distance below 0 (U within the correction of its mean) means p = 1. */
    double z = fmax(distance, 0) / sd;
    return two_sided(above < 0 ? -z : z, NAN, cpt_log_normal_upper(z));
}

/* Shared by both scales: `log` says whether p and q are logarithms of base 10. */
static cpt_status benjamini_hochberg(int64_t n, const double *p, int64_t m_tests, bool log,
                                     double *q, cpt_err *e)
{
    cpt_status status = CPT_OK;
    int64_t *order = NULL, tested = 0;
    for (int64_t i = 0; i < n; i++) {
        if (isnan(p[i])) continue;
        tested++;
        if (p[i] > (log ? 0 : 1) || (!log && p[i] < 0))
            return cpt_fail(e, CPT_ERR_USAGE, "p value %lld of %lld is %g, outside its range",
                            (long long)i, (long long)n, p[i]);
    }
    int64_t m = m_tests ? m_tests : tested;
    if (m < tested)
        return cpt_fail(e, CPT_ERR_USAGE,
                        "correction for %lld tests asked for, but there are %lld p values",
                        (long long)m, (long long)tested);
    CPT_TRY(cpt_alloc(&order, (size_t)n, sizeof *order, e));
    CPT_TRY(cpt_argsort(n, p, order, e)); /* NaN last */
    double least = log ? 0 : 1;
    for (int64_t j = tested; j-- > 0;) {
        double factor = (double)m / (double)(j + 1), value = p[order[j]];
        double raised = log ? value + log10(factor) : value * factor;
        if (raised < least) least = raised;
        q[order[j]] = least;
    }
    for (int64_t j = tested; j < n; j++) q[order[j]] = NAN;
done:
    free(order);
    return status;
}

cpt_status cpt_bh(int64_t n, const double *p, int64_t m_tests, double *q, cpt_err *e)
{
    return benjamini_hochberg(n, p, m_tests, false, q, e);
}

cpt_status cpt_bh_log10(int64_t n, const double *log10p, int64_t m_tests, double *log10q, cpt_err *e)
{
    return benjamini_hochberg(n, log10p, m_tests, true, log10q, e);
}

/* statistics.h - tests, tails and corrections. log10 p beside p everywhere: p itself is never 0
 * (floor: the smallest normal double). References stand at the definitions. */
#ifndef CPT_MATH_STATISTICS_H
#define CPT_MATH_STATISTICS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* ---- special functions (1e-11 relative against R, golden/stats/special_functions.tsv) ---- */
double cpt_lgamma(double x);   /* x > 0 */
double cpt_digamma(double x);  /* x > 0 */
double cpt_trigamma(double x); /* x > 0 */
double cpt_log_beta(double a, double b);
double cpt_log_beta_inc(double a, double b, double x);   /* ln I_x(a, b) */
double cpt_log_gamma_inc_upper(double a, double x);      /* ln Q(a, x) */
double cpt_beta_quantile(double p, double a, double b);
double cpt_normal_quantile(double p);
double cpt_log_normal_upper(double z);                   /* ln P(Z > z) */
double cpt_log_t_upper(double t, double df);             /* ln P(T > t) */
double cpt_log_chi2_upper(double x, double df);

/* ---- two groups ---- */
typedef struct cpt_test {
    double statistic; /* Welch t; rank-sum z */
    double df;        /* Welch */
    double p;         /* two-sided; NaN when undefined */
    double log10p;
} cpt_test;
/* From moments (variances with n - 1). Zero variance in both groups: NaN when the means are equal, else
 * |t| = inf and p = floor. */
cpt_test cpt_welch(double mean1, double var1, double n1, double mean2, double var2, double n2);
/* Mann-Whitney by normal approximation from the rank sum of group 1 with midranks; tie_sum = sum over
 * tie groups of t^3 - t. Optional continuity correction. */
cpt_test cpt_rank_sum(double rank_sum1, double n1, double n2, double tie_sum, bool continuity);

/* ---- corrections. NaN in p stays NaN in q and does not count. ---- */
/* q_i of Benjamini-Hochberg; m_tests 0 = the number of non-NaN p, else the number of tests by design. */
cpt_status cpt_bh(int64_t n, const double *p, int64_t m_tests, double *q, cpt_err *e);
/* The same on log10 p (for p below 1e-300), q returned as log10 q. */
cpt_status cpt_bh_log10(int64_t n, const double *log10p, int64_t m_tests, double *log10q, cpt_err *e);

/* ---- hypergeometric: universe N, set m, study k, overlap q ---- */
double cpt_hyper_log_upper(int64_t N, int64_t m, int64_t k, int64_t q); /* ln P(X >= q) */
double cpt_hyper_log_lower(int64_t N, int64_t m, int64_t k, int64_t q); /* ln P(X <= q) */

/* ---- scores ---- */
double cpt_auroc(int64_t n, const float *score, const uint8_t *positive);   /* ties as one half; NaN if one class */
double cpt_pearson(int64_t n, const double *x, const double *y);
double cpt_spearman(int64_t n, const double *x, const double *y, cpt_err *e);
double cpt_median(int64_t n, double *values);                               /* reorders; NaN when n = 0 */
double cpt_quantile_sorted(int64_t n, const double *sorted, double q);      /* linear interpolation (type 7) */
/* Midranks 1..n of values into ranks; returns sum of t^3 - t. `order` is scratch [n]. */
double cpt_midranks(int64_t n, const double *values, double *ranks, int64_t *order);

#endif

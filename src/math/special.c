/* special.c - gamma, beta, normal, t and chi-square, all as logarithms so that tails do not underflow.
 *
 * Method     Stirling series with recurrence for lgamma's derivatives; Lentz's continued fractions for
 *            the incomplete beta (DLMF 8.17.22) and gamma (DLMF 8.9.2) functions; the series 8.7.1 for
 *            the lower gamma tail; Newton steps in logit or log-tail space, kept inside a bracket, for
 *            the quantiles.
 * Complexity O(sqrt(max(a, b))) terms of a continued fraction near the mean, a handful in the tails.
 * Trap       lgamma(a) - lgamma(a + b) loses all digits for a large a: the leading Stirling terms are
 *            cancelled by hand, and tails are given ln x and ln (1 - x) apart, because neither can be
 *            had from the other when it is near 0.
 */
#include "math/statistics.h"

#include <float.h>
#include <math.h>

static const double HALF_LOG_2PI = 0.91893853320467274178;
static const double TINY = 1e-300; /* Lentz: stands for a zero denominator */
enum { MAX_TERMS = 1000000, STIRLING_FROM = 10 };

double cpt_lgamma(double x)
{
    int sign;
    return lgamma_r(x, &sign); /* lgamma() writes a global */
}

/* lgamma(x) - ((x - 1/2) ln x - x + ln(2 pi) / 2), x >= 10. */
static double stirling_rest(double x)
{
    double y = 1 / (x * x);
    return (1. / 12 - y * (1. / 360 - y * (1. / 1260 - y * (1. / 1680 - y * (1. / 1188 -
            y * (691. / 360360 - y * (1. / 156))))))) / x;
}

double cpt_digamma(double x)
{
    double shift = 0;
    if (!(x > 0)) return NAN;
    for (; x < STIRLING_FROM; x++) shift -= 1 / x;
    double y = 1 / (x * x);
    return shift + log(x) - 0.5 / x -
           y * (1. / 12 - y * (1. / 120 - y * (1. / 252 - y * (1. / 240 - y * (1. / 132 -
           y * (691. / 32760 - y / 12))))));
}

double cpt_trigamma(double x)
{
    double shift = 0;
    if (!(x > 0)) return NAN;
    for (; x < STIRLING_FROM; x++) shift += 1 / (x * x);
    double y = 1 / (x * x);
    return shift + 1 / x + y / 2 +
           y / x * (1. / 6 - y * (1. / 30 - y * (1. / 42 - y * (1. / 30 - y * (5. / 66 -
           y * (691. / 2730 - y * 7 / 6))))));
}

double cpt_log_beta(double a, double b)
{
    if (a > b) {
        double t = a;
        a = b;
        b = t;
    }
    if (b < STIRLING_FROM) return cpt_lgamma(a) + cpt_lgamma(b) - cpt_lgamma(a + b);
    double rest = stirling_rest(b) - stirling_rest(a + b) - (b - 0.5) * log1p(a / b);
    if (a < STIRLING_FROM) return cpt_lgamma(a) + a - a * log(a + b) + rest;
    return HALF_LOG_2PI - a * log1p(b / a) - 0.5 * log(a) + stirling_rest(a) + rest;
}

/* Continued fraction of I_x(a, b) / (x^a (1-x)^b / (a B)), good for x < (a + 1) / (a + b + 2). */
static double beta_fraction(double a, double b, double x)
{
    double c = 1, d = 1 - (a + b) * x / (a + 1);
    d = 1 / (fabs(d) < TINY ? TINY : d);
    double h = d;
    for (int m = 1; m < MAX_TERMS; m++) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        d = 1 + even * d;
        c = 1 + even / c;
        d = 1 / (fabs(d) < TINY ? TINY : d);
        if (fabs(c) < TINY) c = TINY;
        h *= d * c;
        d = 1 + odd * d;
        c = 1 + odd / c;
        d = 1 / (fabs(d) < TINY ? TINY : d);
        if (fabs(c) < TINY) c = TINY;
        h *= d * c;
        if (fabs(d * c - 1) < DBL_EPSILON) break;
    }
    return h;
}

/* ln(1 - exp(l)), l <= 0 */
static double log_complement(double l)
{
    return l > -0.6931471805599453 ? log(-expm1(l)) : log1p(-exp(l));
}

/* ln I_x(a, b) from ln x and ln (1 - x). */
static double log_beta_inc_of_logs(double a, double b, double lx, double ly)
{
    double x = exp(lx);
    bool direct = x < (a + 1) / (a + b + 2);
    double lead = a * lx + b * ly - cpt_log_beta(a, b);
    if (direct) return lead - log(a) + log(beta_fraction(a, b, x));
    return log_complement(fmin(lead - log(b) + log(beta_fraction(b, a, exp(ly))), 0));
}

double cpt_log_beta_inc(double a, double b, double x)
{
    if (!(a > 0 && b > 0) || isnan(x)) return NAN;
    if (x <= 0) return -INFINITY;
    if (x >= 1) return 0;
    return log_beta_inc_of_logs(a, b, log(x), log1p(-x));
}

/* ln(x^a e^-x / Gamma(a)) */
static double log_gamma_lead(double a, double x)
{
    if (a < STIRLING_FROM) return a * log(x) - x - cpt_lgamma(a);
    double u = (x - a) / a;
    double deviance = fabs(u) < 0.5 ? a * (log1p(u) - u) : a * log(x / a) - (x - a);
    return deviance + 0.5 * log(a) - HALF_LOG_2PI - stirling_rest(a);
}

double cpt_log_gamma_inc_upper(double a, double x)
{
    if (!(a > 0) || isnan(x)) return NAN;
    if (x <= 0) return 0;
    if (isinf(x)) return -INFINITY;
    double lead = log_gamma_lead(a, x);
    if (x < a + 1) {
        double term = 1 / a, sum = term;
        for (int i = 1; i < MAX_TERMS && term > sum * DBL_EPSILON / 4; i++) {
            term *= x / (a + i);
            sum += term;
        }
        return log_complement(fmin(lead + log(sum), 0));
    }
    double b = x + 1 - a, c = 1 / TINY, d = 1 / b, h = d;
    for (int i = 1; i < MAX_TERMS; i++) {
        double an = -i * (i - a);
        b += 2;
        d = an * d + b;
        c = b + an / c;
        d = 1 / (fabs(d) < TINY ? TINY : d);
        if (fabs(c) < TINY) c = TINY;
        h *= d * c;
        if (fabs(d * c - 1) < DBL_EPSILON) break;
    }
    return lead + log(h);
}

double cpt_log_chi2_upper(double x, double df)
{
    return cpt_log_gamma_inc_upper(df / 2, x / 2);
}

double cpt_log_normal_upper(double z)
{
    if (z < 0) return log1p(-0.5 * erfc(-z * M_SQRT1_2));
    if (z < 10) return log(0.5 * erfc(z * M_SQRT1_2));
    /* Laplace's continued fraction from the far end; 60 levels are exact to rounding for z >= 10. */
    double fraction = z;
    for (int i = 60; i > 0; i--) fraction = z + i / fraction;
    return -0.5 * z * z - HALF_LOG_2PI - log(fraction);
}

double cpt_log_t_upper(double t, double df)
{
    if (isnan(t) || !(df > 0)) return NAN;
    if (isinf(df)) return cpt_log_normal_upper(t);
    if (t < 0) return log_complement(cpt_log_t_upper(-t, df));
    if (t == 0) return -M_LN2;
    if (isinf(t)) return -INFINITY;
    double r = t / sqrt(df);
    double lx = r > 1e150 ? -2 * log(r) : -log1p(r * r);
    double ly = r < 1e-150 ? 2 * log(r) : -log1p(1 / (r * r));
    return log_beta_inc_of_logs(df / 2, 0.5, lx, ly) - M_LN2;
}

double cpt_normal_quantile(double p)
{
    if (!(p >= 0 && p <= 1)) return NAN;
    if (p == 0 || p == 1) return p == 0 ? -INFINITY : INFINITY;
    if (p == 0.5) return 0;
    double tail = p < 0.5 ? p : 1 - p, want = log(tail);
    double t = sqrt(-2 * want); /* Abramowitz & Stegun 26.2.23, good to 4.5e-4 */
    double z = t - (2.515517 + t * (0.802853 + t * 0.010328)) /
                       (1 + t * (1.432788 + t * (0.189269 + t * 0.001308)));
    for (int i = 0; i < 8; i++) {
        double l = cpt_log_normal_upper(z);
        double step = (l - want) * exp(l + 0.5 * z * z + HALF_LOG_2PI); /* Q / density */
        z += step;
        if (fabs(step) <= 4e-16 * fabs(z)) break;
    }
    return p < 0.5 ? -z : z;
}

double cpt_beta_quantile(double p, double a, double b)
{
    if (!(p >= 0 && p <= 1 && a > 0 && b > 0)) return NAN;
    if (p == 0 || p == 1) return p;
    bool lower = p <= 0.5; /* match the smaller tail */
    double want = lower ? log(p) : log1p(-p), log_b = cpt_log_beta(a, b);
    double low = -745, high = 745, w = log(a / b);
    for (int i = 0; i < 200; i++) { /* w = ln(x / (1 - x)) */
        double lx = -log1p(exp(-w)), ly = -log1p(exp(w));
        double got = lower ? log_beta_inc_of_logs(a, b, lx, ly) : log_beta_inc_of_logs(b, a, ly, lx);
        double excess = lower ? got - want : want - got;
        if (excess > 0) high = w; else low = w;
        double step = -excess / exp(a * lx + b * ly - log_b - got);
        double next = w + step;
        if (!(next > low && next < high)) next = 0.5 * (low + high);
        double moved = fabs(next - w);
        w = next;
        if (moved <= 2e-16 * fmax(1, fabs(w))) break;
    }
    return 1 / (1 + exp(-w));
}

/* hypergeometric.c - tails of the hypergeometric distribution, as logarithms.
 *
 * Method     The point probability by C. Loader's saddle-point expansion ("Fast and accurate
 *            computation of binomial probabilities", 2000), as a ratio of three binomial ones; then the
 *            recurrence pmf(x+1) / pmf(x) = (m-x)(k-x) / ((x+1)(N-m-k+x+1)), summed away from the mode.
 *            On the other side of the mode the complementary tail is summed: ln(1 - tail).
 * Complexity O(number of terms above 1e-17 of the sum), about the standard deviation times ten.
 * Trap       ln C(n, k) from log-factorials of 20,000 genes carries 1e-10 of noise; the deviance does not.
 */
#include "math/statistics.h"

#include <float.h>
#include <math.h>

static const double HALF_LOG_2PI = 0.91893853320467274178;

/* ln n! - Stirling's approximation of it, n >= 1. */
static double stirling_error(double n)
{
    if (n < 16) return cpt_lgamma(n + 1) - (n + 0.5) * log(n) + n - HALF_LOG_2PI;
    double y = 1 / (n * n);
    return (1. / 12 - y * (1. / 360 - y * (1. / 1260 - y * (1. / 1680 - y / 1188)))) / n;
}

/* x ln(x / m) + m - x without cancellation near x = m; x, m > 0. */
static double deviance(double x, double m)
{
    double d = (x - m) / (x + m);
    if (fabs(d) > 0.1) return x * log(x / m) + m - x;
    double sum = (x - m) * d, power = 2 * x * d;
    for (int j = 3; j < 60; j += 2) { /* 2 x (atanh(d) - d) */
        power *= d * d;
        double next = sum + power / j;
        if (next == sum) break;
        sum = next;
    }
    return sum;
}

/* ln of the binomial probability of x out of n at p, q = 1 - p both > 0. */
static double log_binomial(double x, double n, double p, double q)
{
    if (n == 0) return 0;
    if (x == 0) return p < 0.1 ? n * log1p(-p) : n * log(q);
    if (x == n) return q < 0.1 ? n * log1p(-q) : n * log(p);
    return stirling_error(n) - stirling_error(x) - stirling_error(n - x) - deviance(x, n * p) -
           deviance(n - x, n * q) + 0.5 * log(n / (x * (n - x))) - HALF_LOG_2PI;
}

static double log_pmf(double N, double m, double k, double x)
{
    if (k == 0 || k == N) return 0; /* x can only be 0, or m */
    double p = k / N, q = (N - k) / N;
    return log_binomial(x, m, p, q) + log_binomial(k - x, N - m, p, q) - log_binomial(k, N, p, q);
}

/* ln of sum of pmf(x) over x = from .. to in steps of `step` away from the mode. */
static double log_tail(double N, double m, double k, double from, double to, double step)
{
    double lead = log_pmf(N, m, k, from), term = 1, sum = 1;
    for (double x = from; x != to && term > sum * 1e-18; x += step) {
        term *= step > 0 ? (m - x) * (k - x) / ((x + 1) * (N - m - k + x + 1))
                         : x * (N - m - k + x) / ((m - x + 1) * (k - x + 1));
        sum += term;
    }
    return fmin(lead + log(sum), 0);
}

static double log_complement(double l)
{
    return l > -0.6931471805599453 ? log(-expm1(l)) : log1p(-exp(l));
}

static double tail(int64_t N, int64_t m, int64_t k, int64_t q, bool upper)
{
    if (N < 0 || m < 0 || k < 0 || m > N || k > N) return NAN;
    int64_t low = m + k > N ? m + k - N : 0, high = m < k ? m : k;
    if (upper ? q <= low : q >= high) return 0;
    if (upper ? q > high : q < low) return -INFINITY;
    double mode = floor((double)(k + 1) * (double)(m + 1) / (double)(N + 2));
    double dN = (double)N, dm = (double)m, dk = (double)k, dq = (double)q;
    if (upper) {
        if (dq > mode) return log_tail(dN, dm, dk, dq, (double)high, 1);
        return log_complement(log_tail(dN, dm, dk, dq - 1, (double)low, -1));
    }
    if (dq < mode) return log_tail(dN, dm, dk, dq, (double)low, -1);
    return log_complement(log_tail(dN, dm, dk, dq + 1, (double)high, 1));
}

double cpt_hyper_log_upper(int64_t N, int64_t m, int64_t k, int64_t q)
{
    return tail(N, m, k, q, true);
}

double cpt_hyper_log_lower(int64_t N, int64_t m, int64_t k, int64_t q)
{
    return tail(N, m, k, q, false);
}

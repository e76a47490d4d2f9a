/* The reference of the count likelihoods, written as the formulas stand (models.md 5.5, 6.5;
 * scvi/distributions/_negative_binomial.py), value by value in double. The kernels in
 * kernels/likelihood.c are compared with it; nothing fast calls it.
 *
 * Trap: eps = 1e-8 sits inside the logarithms, so d log(theta + eps) = theta / (theta + eps). */
#include "math/likelihood.h"

#include <math.h>
#include <stddef.h>

static double log_gamma(double x)
{
    int sign;
    return lgamma_r(x, &sign);
}

/* Recurrence up to 10, then the asymptotic series. */
static double digamma(double x)
{
    double shift = 0;
    for (; x < 10; x++) shift += 1 / x;
    double z = 1 / (x * x);
    double tail = z * (1. / 12 - z * (1. / 120 - z * (1. / 252 - z * (1. / 240 - z * (1. / 132 -
                  z * (691. / 32760 - z / 12))))));
    return log(x) - 0.5 / x - tail - shift;
}

static double softplus(double x)
{
    return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static double negative_binomial(double x, double mu, double theta, double *d_mu, double *d_theta)
{
    const double eps = CPT_LIKELIHOOD_EPS;
    double total = theta + mu + eps, log_ratio = log(theta + eps) - log(total);
    *d_mu = theta / total + x / total - x / (mu + eps);
    *d_theta = -(log_ratio + theta / (theta + eps) - (theta + x) / total + digamma(x + theta) -
                 digamma(theta));
    return theta * log_ratio + x * (log(mu + eps) - log(total)) + log_gamma(x + theta) -
           log_gamma(theta) - log_gamma(x + 1);
}

double cpt_log_likelihood(double x, double mu, double theta, const double *pi, double *d_mu,
                          double *d_theta, double *d_pi)
{
    double m, t, p = 0, log_p = negative_binomial(x, mu, theta, &m, &t);
    if (pi && x > 0) {
        log_p += -*pi - softplus(-*pi); /* log(1 - sigmoid(pi)) */
        p = sigmoid(*pi);
    } else if (pi) {
        double a = -*pi + log_p, w = sigmoid(a);
        log_p = softplus(a) - softplus(-*pi);
        m *= w;
        t *= w;
        p = w - sigmoid(-*pi);
    }
    if (d_mu) *d_mu = m;
    if (d_theta) *d_theta = t;
    if (d_pi) *d_pi = p;
    return log_p;
}

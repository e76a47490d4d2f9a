/* Count likelihoods of one cell over all genes, value and gradient together (see
 * math/likelihood.h).
 *
 * Nine counts of ten are zero, and at zero NB needs neither lgamma nor digamma. So a cell takes
 * three sweeps over all genes in single precision,
 *     exp;   the terms as if every count were 0;   the way back through the softmax
 * and one over the genes that have a count, in double, which adds what a count changes:
 *     -log p(x) = -log p(0) - { x log((mu+eps)/D) + lnG(x+theta) - lnG(theta) - lnG(x+1) }
 * with D = theta + mu + eps, and likewise for the derivatives. log(D / (theta+eps)) is taken as
 * log1p(mu / (theta+eps)), which does not cancel. lnG(x+theta) - lnG(theta) does cancel for large
 * theta: that is why it is in double.
 *
 * Softmax: with q_g = mu_g d_mu_g the derivative by the logit is q_g - s_g sum_k q_k; the library
 * size drops out. Sums run over blocks of BLOCK genes in vector lanes and over blocks in double. */
#include "math/likelihood.h"

#include <stddef.h>

#include "base/cpu.h"
#include "math/kernels/vector_math.h"

enum { BLOCK = 256 };

static int32_t block_end(int32_t from, int32_t n)
{
    return n - from < BLOCK ? n : from + BLOCK;
}

static void gene_tables(int32_t n, const float *log_theta, cpt_gene_tables *t)
{
    t->n = n;
#pragma omp simd
    for (int32_t g = 0; g < n; g++) {
        /* theta outside [1e-30, 1e15] is of no use and would leave the range of the series */
        double r = log_theta[g], kept = r < -69 ? -69 : r > 34 ? 34 : r;
        float rounded = (float)vector_exp_double(kept);
        double theta = rounded; /* the same theta for both precisions */
        t->theta[g] = rounded;
        t->inverse[g] = (float)(1 / (theta + CPT_LIKELIHOOD_EPS));
        t->lgamma[g] = vector_lgamma(theta, &t->digamma[g]);
    }
}

/* logits -> exp(logits - largest); returns the sum. */
static double exponentials(int32_t n, float *logits)
{
    float largest = logits[0];
#pragma omp simd reduction(max : largest)
    for (int32_t g = 0; g < n; g++) largest = logits[g] > largest ? logits[g] : largest;
    double sum = 0;
    for (int32_t from = 0; from < n; from = block_end(from, n)) {
        float part = 0;
#pragma omp simd reduction(+ : part)
        for (int32_t g = from; g < block_end(from, n); g++) {
            logits[g] = vector_exp(logits[g] - largest);
            part += logits[g];
        }
        sum += part;
    }
    return sum;
}

static void softmax(int32_t n, float *logits)
{
    float scale = (float)(1 / exponentials(n, logits));
#pragma omp simd
    for (int32_t g = 0; g < n; g++) logits[g] *= scale;
}

static double log_factorials(int32_t n, const float *counts)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int32_t i = 0; i < n; i++) {
        double digamma;
        sum += vector_lgamma((double)counts[i] + 1, &digamma);
    }
    return sum;
}

/* Sums that one sweep hands to the next. */
typedef struct sweep {
    double loss, q; /* -log p; sum of mu d_mu */
} sweep;

/* All counts taken as 0: mu = factor * mu; q gets mu d_mu. */
static sweep zeros_nb(const cpt_gene_tables *t, float factor, float scale, float *restrict mu,
                      float *restrict q, float *restrict d_theta)
{
    const float *restrict theta = t->theta, *restrict inverse = t->inverse;
    sweep s = {0, 0};
    for (int32_t from = 0; from < t->n; from = block_end(from, t->n)) {
        float loss = 0, sum = 0;
#pragma omp simd reduction(+ : loss, sum)
        for (int32_t g = from; g < block_end(from, t->n); g++) {
            float m = mu[g] * factor, u = m * inverse[g], v = 1.0f / (1.0f + u);
            float log_ratio = vector_log1p_with(u, v), share = theta[g] * inverse[g];
            mu[g] = m;
            q[g] = m * share * v;
            loss += theta[g] * log_ratio;
            sum += q[g];
            d_theta[g] += scale * (log_ratio - share * (1.0f - v));
        }
        s.loss += loss;
        s.q += sum;
    }
    return s;
}

/* The same for ZINB; pi becomes d / d pi. */
static sweep zeros_zinb(const cpt_gene_tables *t, float factor, float scale, float *restrict mu,
                        float *restrict q, float *restrict d_theta, float *restrict pi)
{
    const float *restrict theta = t->theta, *restrict inverse = t->inverse;
    sweep s = {0, 0};
    for (int32_t from = 0; from < t->n; from = block_end(from, t->n)) {
        float loss = 0, sum = 0;
#pragma omp simd reduction(+ : loss, sum)
        for (int32_t g = from; g < block_end(from, t->n); g++) {
            float m = mu[g] * factor, u = m * inverse[g], v = 1.0f / (1.0f + u);
            float log_ratio = vector_log1p_with(u, v), share = theta[g] * inverse[g], w, keep;
            float all = vector_softplus(-pi[g] - theta[g] * log_ratio, &w);
            loss += vector_softplus(-pi[g], &keep) - all;
            mu[g] = m;
            q[g] = w * m * share * v;
            sum += q[g];
            d_theta[g] += scale * w * (log_ratio - share * (1.0f - v));
            pi[g] = w - keep;
        }
        s.loss += loss;
        s.q += sum;
    }
    return s;
}

/* What a count x > 0 changes, for NB: minus log likelihood, q and d_theta. */
static double counted_nb(const cpt_gene_tables *t, const cpt_cell_counts *c, const float *mu,
                         double *restrict q, double *restrict d_theta)
{
    double loss = 0;
#pragma omp simd reduction(+ : loss)
    for (int32_t i = 0; i < c->n; i++) {
        int32_t g = c->genes[i];
        double x = c->counts[i], m = mu[g], theta = t->theta[g], digamma;
        double total = 1 / (theta + m + CPT_LIKELIHOOD_EPS), near = m + CPT_LIKELIHOOD_EPS;
        double log_gamma = vector_lgamma(x + theta, &digamma);
        loss -= x * vector_log_double(near * total) + log_gamma - t->lgamma[g];
        q[i] = x * m * total - x * m / near;
        d_theta[i] = x * total - digamma + t->digamma[g];
    }
    return loss;
}

/* The rest of it for ZINB: the zero terms of these genes were weighted by w = P(not an extra zero
 * | 0), of which 1 - w is still missing. `pi` already holds w - sigmoid(-pi); its input is in
 * `logits_pi`. */
static double counted_zinb(const cpt_gene_tables *t, const cpt_cell_counts *c, const float *mu,
                           const double *restrict logits_pi, double *restrict rest,
                           double *restrict q, double *restrict d_theta)
{
    double loss = 0;
#pragma omp simd reduction(+ : loss)
    for (int32_t i = 0; i < c->n; i++) {
        int32_t g = c->genes[i];
        float u = mu[g] * t->inverse[g], v = 1.0f / (1.0f + u), missing;
        float log_ratio = vector_log1p_with(u, v), share = t->theta[g] * t->inverse[g];
        loss += vector_softplus((float)logits_pi[i] + t->theta[g] * log_ratio, &missing);
        q[i] += missing * mu[g] * share * v;
        d_theta[i] += missing * (log_ratio - share * (1.0f - v));
        rest[i] = missing;
    }
    return loss;
}

/* q and the share s -> d / d logit, and the sums over cells. */
static void through_softmax(int32_t n, float scale, float share, const float *restrict mu,
                            const float *restrict q, float *restrict logits, float *restrict sum)
{
#pragma omp simd
    for (int32_t g = 0; g < n; g++) {
        logits[g] = scale * (q[g] - mu[g] * share);
        sum[g] += logits[g];
    }
}

static double cell(const cpt_gene_tables *t, const cpt_cell_counts *c, cpt_likelihood_out *out)
{
    float *mu = out->logits, *q = out->scratch;
    double *pi = out->nonzero, *rest = pi + c->n, *q_more = rest + c->n,
           *theta_more = q_more + c->n;
    float scale = (float)out->scale, factor = (float)(c->library / exponentials(t->n, mu));
    if (out->dropout)
        for (int32_t i = 0; i < c->n; i++) pi[i] = out->dropout[c->genes[i]];
    sweep s = out->dropout ? zeros_zinb(t, factor, scale, mu, q, out->d_theta, out->dropout)
                           : zeros_nb(t, factor, scale, mu, q, out->d_theta);
    s.loss += counted_nb(t, c, mu, q_more, theta_more) + c->log_factorial;
    if (out->dropout) s.loss += counted_zinb(t, c, mu, pi, rest, q_more, theta_more);
    for (int32_t i = 0; i < c->n; i++) {
        int32_t g = c->genes[i];
        q[g] += (float)q_more[i];
        s.q += q_more[i];
        out->d_theta[g] += (float)(out->scale * theta_more[i]);
        if (out->dropout) out->dropout[g] += (float)rest[i];
    }
    float share = c->library > 0 ? (float)(s.q / c->library) : 0;
    through_softmax(t->n, scale, share, mu, q, out->logits, out->sum_logits);
    if (out->dropout) {
        float *restrict d_pi = out->dropout, *restrict sum = out->sum_dropout;
#pragma omp simd
        for (int32_t g = 0; g < t->n; g++) {
            d_pi[g] *= scale;
            sum[g] += d_pi[g];
        }
    }
    return s.loss;
}

const cpt_likelihood_kernels CPT_LEVEL_NAME(cpt_likelihood_kernels) = {
    .genes = gene_tables,
    .cell = cell,
    .softmax = softmax,
    .log_factorials = log_factorials,
};
CPT_KERNEL_DISPATCH(cpt_likelihood_kernels)

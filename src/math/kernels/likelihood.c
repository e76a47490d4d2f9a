/* Count likelihoods of one cell over all genes, value and gradient together (see
 * math/likelihood.h).
 *
 * Nine counts of ten are zero, and at zero NB needs neither lgamma nor digamma. So a cell takes
 * three sweeps over all genes in single precision,
 *     exp;   the terms as if every count were 0;   the way back through the softmax
 * and one over the genes that have a count, in double, which adds what a count changes:
 *     -log p(x) = -log p(0) - { x log((mu+eps)/D) + lnG(x+theta) - lnG(theta) - lnG(x+1) }
 * with D = theta + mu + eps, and likewise for the derivatives. log(D / (theta+eps)) is taken as
 * log1p(mu / (theta+eps)), which does not cancel. lnG(x+theta) - lnG(theta) is the logarithm of the
 * product of theta + k over k < x, and taken so where x is a whole number up to FEW, as most are;
 * for the others it cancels for large theta: that is why it is in double.
 *
 * Softmax: with q_g = mu_g d_mu_g the derivative by the logit is q_g - s_g sum_k q_k; the library
 * size drops out. Sums run over blocks of BLOCK genes in vector lanes and over blocks in double. */
#include "math/likelihood.h"

#include <stdbool.h>
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

/* The same for ZINB; pi becomes scale * d / d pi, which is added to sum_pi. */
static sweep zeros_zinb(const cpt_gene_tables *t, float factor, float scale, float *restrict mu,
                        float *restrict q, float *restrict d_theta, float *restrict pi,
                        float *restrict sum_pi)
{
    const float *restrict theta = t->theta, *restrict inverse = t->inverse;
    sweep s = {0, 0};
    for (int32_t from = 0; from < t->n; from = block_end(from, t->n)) {
        float loss = 0, sum = 0;
#pragma omp simd reduction(+ : loss, sum)
        for (int32_t g = from; g < block_end(from, t->n); g++) {
            float m = mu[g] * factor, u = m * inverse[g], v = 1.0f / (1.0f + u);
            float log_ratio = vector_log1p_with(u, v), share = theta[g] * inverse[g], w, keep;
            loss += vector_softplus_difference(-pi[g], -pi[g] - theta[g] * log_ratio, &keep, &w);
            mu[g] = m;
            q[g] = w * m * share * v;
            sum += q[g];
            d_theta[g] += scale * w * (log_ratio - share * (1.0f - v));
            pi[g] = scale * (w - keep);
            sum_pi[g] += pi[g];
        }
        s.loss += loss;
        s.q += sum;
    }
    return s;
}

/* What is needed of the genes that have a count, side by side: indirect loads would keep compilers
 * from making vector code of the loops below. All [n]. */
typedef struct counted {
    int32_t n;
    const float *counts;
    float *mu, *theta, *inverse, *pi; /* pi: dropout logits; ZINB only */
} counted;

static counted gather(const cpt_gene_tables *t, const cpt_cell_counts *c, const float *dropout, float *scratch)
{
    const counted d = {c->n, c->counts, scratch, scratch + c->n, scratch + 2 * c->n, scratch + 3 * c->n};
    for (int32_t i = 0; i < c->n; i++) {
        d.theta[i] = t->theta[c->genes[i]];
        d.inverse[i] = t->inverse[c->genes[i]];
        if (dropout) d.pi[i] = dropout[c->genes[i]];
    }
    return d;
}

/* What a count x > 0 changes, for NB: returns minus log likelihood. `of_gamma` and `of_digamma`:
 * lnG(x + theta) - lnG(theta) and its derivative. */
static inline double counted_term(double x, double m, double theta, double of_gamma, double of_digamma, double *q,
                                  double *d_theta)
{
    double near = m + CPT_LIKELIHOOD_EPS, total = 1 / (theta + near);
    *q = x * m * total - x * m / near;
    *d_theta = x * total - of_digamma;
    return -x * vector_log_double(near * total) - of_gamma;
}

enum { FEW = 8 }; /* counts up to this by the product theta (theta + 1) ... (theta + x - 1) */

static inline bool is_few(double x)
{
    const double round = 6755399441055744.0;
    return (x <= FEW) & (((x + round) - round) == x);
}

static double counted_nb(const counted *c, double *restrict q, double *restrict d_theta)
{
    const float *restrict counts = c->counts, *restrict mu = c->mu, *restrict thetas = c->theta;
    double loss = 0;
#pragma omp simd reduction(+ : loss)
    for (int32_t i = 0; i < c->n; i++) {
        double x = counts[i], theta = thetas[i], product = 1, slope = 0, term;
        for (int k = 0; k < FEW; k++) { /* product and its derivative */
            double factor = theta + k;
            slope = k < x ? slope * factor + product : slope;
            product = k < x ? product * factor : product;
        }
        term = counted_term(x, mu[i], theta, vector_log_double(product), slope / product, &q[i], &d_theta[i]);
        loss += is_few(x) ? term : 0;
    }
    return loss;
}

/* Those that are not few, one by one. */
static double counted_many(const cpt_gene_tables *t, const int32_t *genes, const counted *c, double *q,
                           double *d_theta)
{
    double loss = 0;
    for (int32_t i = 0; i < c->n; i++) {
        double x = c->counts[i], digamma, log_gamma;
        if (is_few(x)) continue;
        log_gamma = vector_lgamma(x + c->theta[i], &digamma);
        loss += counted_term(x, c->mu[i], c->theta[i], log_gamma - t->lgamma[genes[i]],
                             digamma - t->digamma[genes[i]], &q[i], &d_theta[i]);
    }
    return loss;
}

/* The rest of it for ZINB: the zero terms of these genes were weighted by w = P(not an extra zero
 * | 0), of which 1 - w is still missing: rest gets 1 - w, q and d_theta what belongs to it. */
static double counted_zinb(const counted *c, float *restrict rest, float *restrict q, float *restrict d_theta)
{
    const float *restrict mu = c->mu, *restrict theta = c->theta, *restrict inverse = c->inverse,
                *restrict pi = c->pi;
    double sum = 0;
    for (int32_t from = 0; from < c->n; from = block_end(from, c->n)) {
        float loss = 0;
#pragma omp simd reduction(+ : loss)
        for (int32_t i = from; i < block_end(from, c->n); i++) {
            float u = mu[i] * inverse[i], v = 1.0f / (1.0f + u), missing;
            float log_ratio = vector_log1p_with(u, v), share = theta[i] * inverse[i];
            loss += vector_softplus(pi[i] + theta[i] * log_ratio, &missing);
            q[i] = missing * mu[i] * share * v;
            d_theta[i] = missing * (log_ratio - share * (1.0f - v));
            rest[i] = missing;
        }
        sum += loss;
    }
    return sum;
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
    float *mu = out->logits, *q = out->scratch, *rest = out->single + 4 * (int64_t)c->n, *q_rest = rest + c->n,
          *theta_rest = q_rest + c->n;
    double *q_more = out->nonzero, *theta_more = q_more + c->n;
    const float scale = (float)out->scale, factor = (float)(c->library / exponentials(t->n, mu));
    const counted d = gather(t, c, out->dropout, out->single);
    sweep s = out->dropout ? zeros_zinb(t, factor, scale, mu, q, out->d_theta, out->dropout, out->sum_dropout)
                           : zeros_nb(t, factor, scale, mu, q, out->d_theta);
    for (int32_t i = 0; i < c->n; i++) d.mu[i] = mu[c->genes[i]];
    s.loss += counted_nb(&d, q_more, theta_more) + c->log_factorial;
    s.loss += counted_many(t, c->genes, &d, q_more, theta_more);
    for (int32_t i = 0; i < c->n; i++) {
        int32_t g = c->genes[i];
        q[g] += (float)q_more[i];
        s.q += q_more[i];
        out->d_theta[g] += (float)(out->scale * theta_more[i]);
    }
    if (out->dropout) {
        s.loss += counted_zinb(&d, rest, q_rest, theta_rest);
        for (int32_t i = 0; i < c->n; i++) {
            int32_t g = c->genes[i];
            q[g] += q_rest[i];
            s.q += (double)q_rest[i];
            out->d_theta[g] += scale * theta_rest[i];
            out->dropout[g] += scale * rest[i];
            out->sum_dropout[g] += scale * rest[i];
        }
    }
    float share = c->library > 0 ? (float)(s.q / c->library) : 0;
    through_softmax(t->n, scale, share, mu, q, out->logits, out->sum_logits);
    return s.loss;
}

const cpt_likelihood_kernels CPT_LEVEL_NAME(cpt_likelihood_kernels) = {
    .genes = gene_tables,
    .cell = cell,
    .softmax = softmax,
    .log_factorials = log_factorials,
};
CPT_KERNEL_DISPATCH(cpt_likelihood_kernels)

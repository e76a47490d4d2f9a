/* Count likelihoods of a block of genes, value and gradient together (see math/likelihood.h).
 *
 * Rows are genes and lanes are cells: what depends on the gene alone is broadcast, sums over genes add vectors, and only
 * the sums over cells cross the lanes, once per gene. Nine counts of ten are zero, and at zero NB needs neither lgamma
 * nor digamma. So a block takes sweeps in single precision,
 *     exp;   the terms as if every count were 0;   the way back through the softmax
 * and one over what has a count, in double, which adds what a count changes:
 *     -log p(x) = -log p(0) - { x log((mu+eps)/D) + lnG(x+theta) - lnG(theta) - lnG(x+1) }
 * with D = theta + mu + eps, and likewise for the derivatives. log(D / (theta+eps)) is taken as
 * log1p(mu / (theta+eps)), which does not cancel. lnG(x+theta) - lnG(theta) is the logarithm of the
 * product of theta + k over k < x, and taken so where x is a whole number up to FEW, as most are;
 * for the others it cancels for large theta: that is why it is in double.
 *
 * Softmax: every block has a largest logit of its own per cell, so that its exponentials can be taken before the others
 * are known. With q_g = mu_g d_mu_g the derivative by the logit is q_g - s_g sum_k q_k; the library size drops out.
 * Sums of a cell run over FLUSH genes in float and over these in double. */
#include "math/likelihood.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/cpu.h"
#include "math/kernels/vector_math.h"

enum { BLOCK = 256, FLUSH = 32, TILE = 16 };

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

/* ---- softmax over blocks ---- */

static const float *row_of(const cpt_gene_block *b, const float *matrix, int32_t gene)
{
    return matrix + (int64_t)gene * b->stride;
}

static void block_exponentials(const cpt_gene_block *b, const float *bias, float *restrict largest, float *restrict sum)
{
    const int32_t cells = b->cells;
    for (int32_t c = 0; c < cells; c++) {
        largest[c] = b->values[c] + bias[0];
        sum[c] = 0;
    }
    for (int32_t g = 1; g < b->n; g++) {
        const float *restrict y = row_of(b, b->values, g);
        const float shift = bias[g];
#pragma omp simd
        for (int32_t c = 0; c < cells; c++) largest[c] = y[c] + shift > largest[c] ? y[c] + shift : largest[c];
    }
    for (int32_t g = 0; g < b->n; g++) {
        float *restrict y = b->values + (int64_t)g * b->stride;
        const float shift = bias[g];
#pragma omp simd
        for (int32_t c = 0; c < cells; c++) {
            y[c] = vector_exp(y[c] + shift - largest[c]);
            sum[c] += y[c];
        }
    }
}

/* Of at most TILE cells. */
static void tile_factors(int32_t n_blocks, int32_t cells, int32_t stride, const double *library,
                         const float *restrict largest, float *restrict sum)
{
    float top[TILE];
    double total[TILE] = {0};
    memcpy(top, largest, sizeof *top * (size_t)cells);
    for (int64_t k = 1; k < n_blocks; k++)
#pragma omp simd
        for (int32_t c = 0; c < cells; c++)
            top[c] = largest[k * stride + c] > top[c] ? largest[k * stride + c] : top[c];
    for (int64_t k = 0; k < n_blocks; k++)
#pragma omp simd
        for (int32_t c = 0; c < cells; c++) {
            sum[k * stride + c] *= vector_exp(largest[k * stride + c] - top[c]);
            total[c] += sum[k * stride + c];
        }
    for (int32_t c = 0; c < cells; c++) total[c] = library[c] / total[c];
    for (int64_t k = 0; k < n_blocks; k++)
#pragma omp simd
        for (int32_t c = 0; c < cells; c++)
            sum[k * stride + c] = (float)total[c] * vector_exp(largest[k * stride + c] - top[c]);
}

static void factors(int32_t n_blocks, int32_t cells, int32_t stride, const double *library, const float *largest,
                    float *sum)
{
    for (int32_t c = 0; c < cells; c += TILE)
        tile_factors(n_blocks, cells - c < TILE ? cells - c : TILE, stride, library + c, largest + c, sum + c);
}

/* ---- all counts taken as 0 ---- */

/* What one gene adds: mu and q of all cells, their terms to loss and sum_q, the derivative by theta. */
static float zeros_nb(const cpt_gene_block *b, int32_t gene, float *restrict loss, float *restrict sum_q)
{
    float *restrict mu = b->values + (int64_t)gene * b->stride, *restrict q = b->q + (int64_t)gene * b->stride;
    const float *restrict factor = b->factor;
    const float theta = b->tables.theta[gene], inverse = b->tables.inverse[gene], share = theta * inverse;
    float d_theta = 0;
#pragma omp simd reduction(+ : d_theta)
    for (int32_t c = 0; c < b->cells; c++) {
        float m = mu[c] * factor[c], u = m * inverse, v = 1.0f / (1.0f + u), log_ratio = vector_log1p_with(u, v);
        mu[c] = m;
        q[c] = m * share * v;
        loss[c] += theta * log_ratio;
        sum_q[c] += q[c];
        d_theta += log_ratio - share * (1.0f - v);
    }
    return d_theta;
}

/* The same for ZINB; pi becomes scale * d / d pi, whose sum is *sum_pi. */
static float zeros_zinb(const cpt_gene_block *b, int32_t gene, float *restrict loss, float *restrict sum_q,
                        float *sum_pi)
{
    float *restrict mu = b->values + (int64_t)gene * b->stride, *restrict q = b->q + (int64_t)gene * b->stride;
    float *restrict pi = b->dropout + (int64_t)gene * b->stride;
    const float *restrict factor = b->factor;
    const float theta = b->tables.theta[gene], inverse = b->tables.inverse[gene], share = theta * inverse;
    const float bias = b->dropout_bias[gene], scale = (float)b->scale;
    float d_theta = 0, d_pi = 0;
#pragma omp simd reduction(+ : d_theta, d_pi)
    for (int32_t c = 0; c < b->cells; c++) {
        float m = mu[c] * factor[c], u = m * inverse, v = 1.0f / (1.0f + u), log_ratio = vector_log1p_with(u, v);
        float logit = pi[c] + bias, w, keep;
        loss[c] += vector_softplus_difference(-logit, -logit - theta * log_ratio, &keep, &w);
        mu[c] = m;
        q[c] = w * m * share * v;
        sum_q[c] += q[c];
        d_theta += w * (log_ratio - share * (1.0f - v));
        pi[c] = scale * (w - keep);
        d_pi += pi[c];
    }
    *sum_pi = d_pi;
    return d_theta;
}

static void zeros(const cpt_gene_block *b, const cpt_block_sums *out)
{
    const int32_t cells = b->cells;
    float *restrict loss = out->cells, *restrict q = loss + b->stride;
    for (int32_t from = 0; from < b->n; from += FLUSH) {
        const int32_t end = b->n - from < FLUSH ? b->n : from + FLUSH;
        memset(out->cells, 0, sizeof(float) * 2 * (size_t)b->stride);
        for (int32_t g = from; g < end; g++) {
            const float slope = b->dropout ? zeros_zinb(b, g, loss, q, &out->d_dropout[g]) : zeros_nb(b, g, loss, q);
            out->d_theta[g] = (float)b->scale * slope;
        }
#pragma omp simd
        for (int32_t c = 0; c < cells; c++) {
            out->loss[c] += loss[c];
            out->q[c] += q[c];
        }
    }
}

/* ---- what has a count ---- */

/* What is needed of it, side by side: indirect loads would keep compilers from making vector code of the loops below.
 * All [n]. */
typedef struct counted {
    int32_t n;
    const float *counts;
    float *mu, *theta, *inverse, *pi; /* pi: dropout logits; ZINB only */
    float *q, *d_theta, *rest, *loss; /* of ZINB, see counted_zinb */
    double *term, *q_more, *theta_more;
} counted;

static int64_t place(const cpt_gene_block *b, const cpt_counted *c, int32_t i)
{
    return (int64_t)c->genes[i] * b->stride + c->cells[i];
}

static counted lay_out(const cpt_counted *c)
{
    float *s = c->single;
    const int64_t n = c->n;
    return (counted){.n = c->n, .counts = c->counts, .mu = s, .theta = s + n, .inverse = s + 2 * n, .pi = s + 3 * n,
                     .q = s + 4 * n, .d_theta = s + 5 * n, .rest = s + 6 * n, .loss = s + 7 * n,
                     .term = c->terms, .q_more = c->terms + n, .theta_more = c->terms + 2 * n};
}

/* Before the zeros make slopes of them. */
static void gather_dropout(const cpt_gene_block *b, const cpt_counted *c, counted *d)
{
    for (int32_t i = 0; i < c->n; i++) d->pi[i] = b->dropout[place(b, c, i)] + b->dropout_bias[c->genes[i]];
}

static void gather(const cpt_gene_block *b, const cpt_counted *c, counted *d)
{
    for (int32_t i = 0; i < c->n; i++) {
        d->mu[i] = b->values[place(b, c, i)];
        d->theta[i] = b->tables.theta[c->genes[i]];
        d->inverse[i] = b->tables.inverse[c->genes[i]];
    }
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

static void counted_nb(const counted *c)
{
    const float *restrict counts = c->counts, *restrict mu = c->mu, *restrict thetas = c->theta;
    double *restrict terms = c->term, *restrict q = c->q_more, *restrict d_theta = c->theta_more;
#pragma omp simd
    for (int32_t i = 0; i < c->n; i++) {
        double x = counts[i], theta = thetas[i], product = 1, slope = 0;
        for (int k = 0; k < FEW; k++) { /* product and its derivative */
            double factor = theta + k;
            slope = k < x ? slope * factor + product : slope;
            product = k < x ? product * factor : product;
        }
        terms[i] = counted_term(x, mu[i], theta, vector_log_double(product), slope / product, &q[i], &d_theta[i]);
    }
}

/* Those that are not few, one by one. */
static void counted_many(const cpt_gene_block *b, const cpt_counted *from, const counted *c)
{
    for (int32_t i = 0; i < c->n; i++) {
        const int32_t g = from->genes[i];
        double x = c->counts[i], digamma, log_gamma;
        if (is_few(x)) continue;
        log_gamma = vector_lgamma(x + c->theta[i], &digamma);
        c->term[i] = counted_term(x, c->mu[i], c->theta[i], log_gamma - b->tables.lgamma[g],
                                  digamma - b->tables.digamma[g], &c->q_more[i], &c->theta_more[i]);
    }
}

/* The rest of it for ZINB: the zero terms were weighted by w = P(not an extra zero | 0), of which 1 - w is still
 * missing: rest gets 1 - w, q, d_theta and loss what belongs to it. */
static void counted_zinb(const counted *c)
{
    const float *restrict mu = c->mu, *restrict theta = c->theta, *restrict inverse = c->inverse, *restrict pi = c->pi;
    float *restrict rest = c->rest, *restrict q = c->q, *restrict d_theta = c->d_theta, *restrict loss = c->loss;
#pragma omp simd
    for (int32_t i = 0; i < c->n; i++) {
        float u = mu[i] * inverse[i], v = 1.0f / (1.0f + u), missing;
        float log_ratio = vector_log1p_with(u, v), share = theta[i] * inverse[i];
        loss[i] = vector_softplus(pi[i] + theta[i] * log_ratio, &missing);
        q[i] = missing * mu[i] * share * v;
        d_theta[i] = missing * (log_ratio - share * (1.0f - v));
        rest[i] = missing;
    }
}

static void add_nb(const cpt_gene_block *b, const cpt_counted *c, const counted *d, const cpt_block_sums *out)
{
    for (int32_t i = 0; i < c->n; i++) {
        out->loss[c->cells[i]] += d->term[i];
        out->q[c->cells[i]] += d->q_more[i];
        b->q[place(b, c, i)] += (float)d->q_more[i];
        out->d_theta[c->genes[i]] += (float)(b->scale * d->theta_more[i]);
    }
}

static void add_zinb(const cpt_gene_block *b, const cpt_counted *c, const counted *d, const cpt_block_sums *out)
{
    const float scale = (float)b->scale;
    for (int32_t i = 0; i < c->n; i++) {
        out->loss[c->cells[i]] += d->loss[i];
        out->q[c->cells[i]] += d->q[i];
        b->q[place(b, c, i)] += d->q[i];
        out->d_theta[c->genes[i]] += scale * d->d_theta[i];
        b->dropout[place(b, c, i)] += scale * d->rest[i];
        out->d_dropout[c->genes[i]] += scale * d->rest[i];
    }
}

static void block(const cpt_gene_block *b, const cpt_counted *c, const cpt_block_sums *out)
{
    counted d = lay_out(c);
    if (b->dropout) gather_dropout(b, c, &d);
    zeros(b, out);
    gather(b, c, &d);
    counted_nb(&d);
    counted_many(b, c, &d);
    add_nb(b, c, &d, out);
    if (!b->dropout) return;
    counted_zinb(&d);
    add_zinb(b, c, &d, out);
}

/* ---- back through the softmax ---- */

static void slopes(const cpt_gene_block *b, const float *restrict share, float *d_bias)
{
    const float scale = (float)b->scale;
    for (int32_t g = 0; g < b->n; g++) {
        float *restrict mu = b->values + (int64_t)g * b->stride;
        const float *restrict q = row_of(b, b->q, g);
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int32_t c = 0; c < b->cells; c++) {
            mu[c] = scale * (q[c] - mu[c] * share[c]);
            sum += mu[c];
        }
        d_bias[g] = sum;
    }
}

const cpt_likelihood_kernels CPT_LEVEL_NAME(cpt_likelihood_kernels) = {
    .genes = gene_tables,
    .exponentials = block_exponentials,
    .factors = factors,
    .block = block,
    .slopes = slopes,
    .softmax = softmax,
    .log_factorials = log_factorials,
};
CPT_KERNEL_DISPATCH(cpt_likelihood_kernels)

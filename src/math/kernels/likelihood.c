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
 * product of theta + k over k < x; where x is a whole number up to FEW, as most are, it is looked up in a table that is
 * made for the genes of the block. For the others it cancels for large theta: that is why it is in double.
 *
 * Softmax: every block has a largest logit of its own per cell, so that its exponentials can be taken before the others
 * are known. With q_g = mu_g d_mu_g the derivative by the logit is q_g - s_g sum_k q_k; the library size drops out.
 * Sums of a cell run over the genes of a block in float and over blocks in double. */
#include "math/likelihood.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/cpu.h"
#include "math/kernels/vector_math.h"

enum { BLOCK = 256, TILE = 16 };

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
    float *restrict loss = out->cells, *restrict q = loss + b->stride;
    double *restrict all_loss = out->loss, *restrict all_q = out->q;
    memset(out->cells, 0, sizeof(float) * 2 * (size_t)b->stride);
    for (int32_t g = 0; g < b->n; g++) {
        const float slope = b->dropout ? zeros_zinb(b, g, loss, q, &out->d_dropout[g]) : zeros_nb(b, g, loss, q);
        out->d_theta[g] = (float)b->scale * slope;
    }
#pragma omp simd
    for (int32_t c = 0; c < b->cells; c++) {
        all_loss[c] += loss[c];
        all_q[c] += q[c];
    }
}

/* ---- what has a count ---- */

/* What is needed of it, side by side: indirect loads would keep compilers from making vector code of the loops below.
 * All [n]. */
typedef struct counted {
    int32_t n;
    const float *counts;
    float *mu, *theta, *inverse, *pi; /* the last two: ZINB only */
    float *q, *d_theta, *rest, *loss; /* of ZINB, see counted_zinb */
    double *of_gamma, *of_digamma;    /* lnG(x + theta) - lnG(theta) and its derivative */
    double *term, *q_more, *theta_more;
} counted;

static counted lay_out(const cpt_counted *c)
{
    float *s = c->single;
    const int64_t n = c->n;
    return (counted){.n = c->n, .counts = c->counts, .mu = s, .theta = s + n, .inverse = s + 2 * n, .pi = s + 3 * n,
                     .q = s + 4 * n, .d_theta = s + 5 * n, .rest = s + 6 * n, .loss = s + 7 * n,
                     .term = c->terms, .q_more = c->terms + n, .theta_more = c->terms + 2 * n,
                     .of_gamma = c->terms + 3 * n, .of_digamma = c->terms + 4 * n};
}

/* Before the zeros make slopes of them. */
static void gather_dropout(const cpt_gene_block *b, const cpt_counted *c, counted *d)
{
    const int32_t *restrict genes = c->genes, *restrict at = c->at;
    const float *restrict dropout = b->dropout, *restrict bias = b->dropout_bias, *restrict all = b->tables.inverse;
    float *restrict pi = d->pi, *restrict inverse = d->inverse;
    for (int32_t i = 0; i < c->n; i++) {
        pi[i] = dropout[at[i]] + bias[genes[i]];
        inverse[i] = all[genes[i]];
    }
}

static void gather(const cpt_gene_block *b, const cpt_counted *c, counted *d)
{
    const int32_t *restrict genes = c->genes, *restrict at = c->at;
    const float *restrict values = b->values, *restrict thetas = b->tables.theta;
    float *restrict mu = d->mu, *restrict theta = d->theta;
    for (int32_t i = 0; i < c->n; i++) {
        mu[i] = values[at[i]];
        theta[i] = thetas[genes[i]];
    }
}

/* ---- lnG(x + theta) - lnG(theta) ---- */

enum { FEW = 8, GENES = CPT_LIKELIHOOD_GENES }; /* counts up to this by the product theta (theta + 1) ... (theta + x - 1) */

typedef struct few {
    double gamma[FEW + 1][GENES], digamma[FEW + 1][GENES];
} few;

/* The logarithm of the product, and its derivative, for all x up to FEW. */
static void tabulate(const cpt_gene_block *b, few *f)
{
    const float *restrict thetas = b->tables.theta;
    memset(f->gamma[0], 0, sizeof f->gamma[0]);
    memset(f->digamma[0], 0, sizeof f->digamma[0]);
    for (int x = 0; x < FEW; x++) {
        const double *restrict gamma = f->gamma[x], *restrict digamma = f->digamma[x];
        double *restrict next_gamma = f->gamma[x + 1], *restrict next_digamma = f->digamma[x + 1];
#pragma omp simd
        for (int32_t g = 0; g < b->n; g++) {
            const double factor = (double)thetas[g] + x;
            next_gamma[g] = gamma[g] + vector_log_double(factor);
            next_digamma[g] = digamma[g] + 1 / factor;
        }
    }
}

/* Those that are not few, from the tables of lgamma; `many`: which. Uses the terms as scratch. */
static void differences_of_many(const cpt_gene_block *b, const cpt_counted *c, counted *d, int32_t n)
{
    const int32_t *restrict many = c->many;
    double *restrict sum = d->term, *restrict gamma = d->q_more, *restrict digamma = d->theta_more;
    for (int32_t k = 0; k < n; k++) sum[k] = (double)d->counts[many[k]] + d->theta[many[k]];
#pragma omp simd
    for (int32_t k = 0; k < n; k++) gamma[k] = vector_lgamma(sum[k], &digamma[k]);
    for (int32_t k = 0; k < n; k++) {
        const int32_t i = many[k], g = c->genes[i];
        d->of_gamma[i] = gamma[k] - b->tables.lgamma[g];
        d->of_digamma[i] = digamma[k] - b->tables.digamma[g];
    }
}

static void differences(const cpt_gene_block *b, const cpt_counted *c, counted *d)
{
    const float *restrict counts = c->counts;
    const int32_t *restrict genes = c->genes;
    double *restrict of_gamma = d->of_gamma, *restrict of_digamma = d->of_digamma;
    int32_t *restrict many = c->many, n = 0;
    few table;
    tabulate(b, &table);
    for (int32_t i = 0; i < c->n; i++) {
        const int whole = counts[i] <= FEW ? (int)counts[i] : 0; /* 0 is no count: not few */
        const bool is_few = (float)whole == counts[i];
        of_gamma[i] = table.gamma[whole][genes[i]];
        of_digamma[i] = table.digamma[whole][genes[i]];
        many[n] = i;
        n += !is_few;
    }
    differences_of_many(b, c, d, n);
}

/* ---- the terms ---- */

/* What counts change for NB: terms = minus log likelihood. */
static void counted_nb(const counted *c)
{
    const float *restrict counts = c->counts, *restrict mu = c->mu, *restrict thetas = c->theta;
    const double *restrict of_gamma = c->of_gamma, *restrict of_digamma = c->of_digamma;
    double *restrict terms = c->term, *restrict q = c->q_more, *restrict d_theta = c->theta_more;
#pragma omp simd
    for (int32_t i = 0; i < c->n; i++) {
        double x = counts[i], m = mu[i], near = m + CPT_LIKELIHOOD_EPS, total = 1 / (thetas[i] + near);
        q[i] = x * m * total - x * m / near;
        d_theta[i] = x * total - of_digamma[i];
        terms[i] = -x * vector_log_double(near * total) - of_gamma[i];
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
    const int32_t *restrict genes = c->genes, *restrict cells = c->cells, *restrict at = c->at;
    const double *restrict term = d->term, *restrict more = d->q_more, *restrict theta_more = d->theta_more;
    double *restrict loss = out->loss, *restrict sum_q = out->q, d_theta[GENES] = {0};
    float *restrict q = b->q;
    for (int32_t i = 0; i < c->n; i++) {
        loss[cells[i]] += term[i];
        sum_q[cells[i]] += more[i];
        q[at[i]] += (float)more[i];
        d_theta[genes[i]] += theta_more[i];
    }
    for (int32_t g = 0; g < b->n; g++) out->d_theta[g] += (float)(b->scale * d_theta[g]);
}

static void add_zinb(const cpt_gene_block *b, const cpt_counted *c, const counted *d, const cpt_block_sums *out)
{
    const int32_t *restrict genes = c->genes, *restrict cells = c->cells, *restrict at = c->at;
    const float *restrict more = d->q, *restrict theta_more = d->d_theta, *restrict rest = d->rest,
                *restrict term = d->loss, scale = (float)b->scale;
    double *restrict loss = out->loss, *restrict sum_q = out->q;
    float *restrict q = b->q, *restrict d_pi = b->dropout, d_theta[GENES] = {0}, d_bias[GENES] = {0};
    for (int32_t i = 0; i < c->n; i++) {
        loss[cells[i]] += term[i];
        sum_q[cells[i]] += more[i];
        q[at[i]] += more[i];
        d_pi[at[i]] += scale * rest[i];
        d_theta[genes[i]] += theta_more[i];
        d_bias[genes[i]] += rest[i];
    }
    for (int32_t g = 0; g < b->n; g++) {
        out->d_theta[g] += scale * d_theta[g];
        out->d_dropout[g] += scale * d_bias[g];
    }
}

static void block(const cpt_gene_block *b, const cpt_counted *c, const cpt_block_sums *out)
{
    counted d = lay_out(c);
    if (b->dropout) gather_dropout(b, c, &d);
    zeros(b, out);
    gather(b, c, &d);
    differences(b, c, &d);
    counted_nb(&d);
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

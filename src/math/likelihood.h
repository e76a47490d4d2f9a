/* likelihood.h - negative binomial and zero-inflated negative binomial over a softmax, with
 * gradients.
 *
 * scVI's decoder (Lopez et al. 2018; models.md 5.4, 5.5, 6.5): logits y_g of a cell -> shares s = softmax(y), means
 * mu = library * s, dispersion theta_g = exp(r_g) per gene, and for ZINB the logits pi_g of an extra zero. Minus log
 * likelihood and its derivatives, for blocks of genes of all cells at once. */
#ifndef CPT_MATH_LIKELIHOOD_H
#define CPT_MATH_LIKELIHOOD_H

#include <stdbool.h>
#include <stdint.h>

#define CPT_LIKELIHOOD_EPS 1e-8

enum { CPT_LIKELIHOOD_GENES = 32 }; /* of a block, at most, for `block` below */

/* What depends on a gene alone; made once per step by `genes` below, shared by all cells. */
typedef struct cpt_gene_tables {
    int32_t n;
    float *theta, *inverse;    /* theta; 1 / (theta + eps) */
    double *lgamma, *digamma;  /* of theta */
} cpt_gene_tables;

/* Some genes of all cells of a minibatch: matrices are [n][stride], a row per gene, `cells` of it used.
 *
 *     k->exponentials(&block, bias, largest, sum);   for every block of genes: y -> exp(y - largest of the block)
 *     k->factors(...);                               for all blocks: what makes means of these
 *     k->block(&block, &counted, &sums);             for every block: terms of the likelihood
 *     k->slopes(&block, share, d_bias);              for every block: d / d y, in the place of y */
typedef struct cpt_gene_block {
    int32_t n, cells, stride;
    cpt_gene_tables tables; /* of these genes */
    double scale;           /* of all derivatives: 1 / cells of the minibatch */
    const float *factor;    /* [cells] mu = factor * values */
    float *values;          /* y; then exp(y - largest); then mu; at the end d / d y */
    float *q;               /* mu * d / d mu */
    float *dropout;         /* pi without its bias; then d / d pi. NULL = NB */
    const float *dropout_bias; /* [n] */
} cpt_gene_block;

/* The counts that are not 0 of these genes, in any order that is always the same. */
typedef struct cpt_counted {
    int32_t n;
    const int32_t *genes; /* [n] from 0 to the block's */
    const int32_t *cells; /* [n] */
    const int32_t *at;    /* [n] gene * stride + cell */
    const float *counts;  /* [n] > 0 */
    double *terms;        /* [5 n] scratch */
    float *single;        /* [8 n] scratch */
    int32_t *many;        /* [n + 1] scratch */
} cpt_counted;

typedef struct cpt_block_sums {
    double *loss;       /* [cells] += minus log likelihood but for log x! */
    double *q;          /* [cells] += q */
    float *d_theta;     /* [n] = d / d theta */
    float *d_dropout;   /* [n] = d / d the bias of pi; ZINB only */
    float *cells;       /* [2 stride] scratch */
} cpt_block_sums;

typedef struct cpt_likelihood_kernels {
    void (*genes)(int32_t n, const float *log_theta, cpt_gene_tables *t);
    /* values + bias -> exp(. - largest); largest and sum [cells] of these exponentials */
    void (*exponentials)(const cpt_gene_block *b, const float *bias, float *largest, float *sum);
    /* For `cells` columns of largest and sum [n_blocks][stride]: sum becomes library * exp(largest - largest of all) /
     * sum of all exponentials: the factor of its block. */
    void (*factors)(int32_t n_blocks, int32_t cells, int32_t stride, const double *library, const float *largest,
                    float *sum);
    void (*block)(const cpt_gene_block *b, const cpt_counted *c, const cpt_block_sums *out);
    /* share [cells] = sum of q over all genes / library. d_bias [n] = sums of the slopes over cells. */
    void (*slopes)(const cpt_gene_block *b, const float *share, float *d_bias);
    /* In place; for decoding. */
    void (*softmax)(int32_t n, float *logits);
    double (*log_factorials)(int32_t n, const float *counts); /* sum of lgamma(x + 1) */
} cpt_likelihood_kernels;

const cpt_likelihood_kernels *cpt_likelihood_kernels_get(void);
const cpt_likelihood_kernels *cpt_likelihood_kernels_at(int level);

/* The plain reference, in double, one value at a time: log p(x) and derivatives of -log p.
 * pi NULL = NB. Any of the outputs may be NULL. */
double cpt_log_likelihood(double x, double mu, double theta, const double *pi, double *d_mu,
                          double *d_theta, double *d_pi);

#endif

/* likelihood.h - negative binomial and zero-inflated negative binomial over a softmax, with
 * gradients.
 *
 * One cell of scVI's decoder (Lopez et al. 2018; models.md 5.4, 5.5, 6.5): logits y_g -> shares s
 * = softmax(y), means mu = library * s, dispersion theta_g = exp(r_g) per gene, and for ZINB the
 * logits pi_g of an extra zero. Minus log likelihood and its derivatives in one go. */
#ifndef CPT_MATH_LIKELIHOOD_H
#define CPT_MATH_LIKELIHOOD_H

#include <stdbool.h>
#include <stdint.h>

#define CPT_LIKELIHOOD_EPS 1e-8

/* What depends on a gene alone; made once per step by `genes` below, shared by all cells. */
typedef struct cpt_gene_tables {
    int32_t n;
    float *theta, *inverse;    /* theta; 1 / (theta + eps) */
    double *lgamma, *digamma;  /* of theta */
} cpt_gene_tables;

typedef struct cpt_cell_counts {
    int32_t n; /* genes with a count that is not 0 */
    const int32_t *genes;
    const float *counts;
    double library;       /* sum of the counts, > 0 */
    double log_factorial; /* sum of lgamma(count + 1): constant in the parameters */
} cpt_cell_counts;

/* Where one cell's derivatives go; all scaled by `scale` (1 / cells of the minibatch). */
typedef struct cpt_likelihood_out {
    double scale;
    float *logits;  /* in: y; out: d / d y */
    float *dropout; /* in: pi; out: d / d pi.  NULL = NB */
    float *d_theta; /* [n] += d / d theta */
    float *sum_logits,
        *sum_dropout; /* [n] += what is written to logits, dropout (bias gradients) */
    float *scratch; /* [n] */
    double *nonzero; /* [2 * cell->n] scratch */
    float *single;   /* [7 * cell->n] scratch */
} cpt_likelihood_out;

typedef struct cpt_likelihood_kernels {
    void (*genes)(int32_t n, const float *log_theta, cpt_gene_tables *t);
    /* Returns minus the log likelihood of the cell (not scaled). */
    double (*cell)(const cpt_gene_tables *t, const cpt_cell_counts *c, cpt_likelihood_out *out);
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

/* batch_norm.h - batch normalisation of a small layer in training mode, with the ReLU and dropout behind it.
 *
 * Matrices are [n][width], a row per cell. Statistics of a column are sums in double over ascending rows, whatever the
 * level; what is written is float. */
#ifndef CPT_MATH_BATCH_NORM_H
#define CPT_MATH_BATCH_NORM_H

#include <stdint.h>

/* One layer and one batch. Vectors are [width]. */
typedef struct cpt_batch_norm {
    int32_t n, width;
    const float *weight, *bias;
    const float *keep;  /* [n][width] factors of dropout; NULL = none */
    double *inverse_sd; /* 1 / sd of the columns */
    float *x;           /* normalised values */
} cpt_batch_norm;

typedef struct cpt_batch_norm_kernels {
    /* Mean of every column of x, and sum of squares about it. */
    void (*moments)(const cpt_batch_norm *b, double *mean, double *squares);
    /* x = (x - mean) inverse_sd in place; out = relu(weight x + bias) keep */
    void (*forward)(const cpt_batch_norm *b, const double *mean, float *out);
    /* d: derivative by `out` -> derivative by what x was before it was normalised. d_bias, d_weight: those of the
     * normalisation; d_sum: sums of the new d, which are the derivative of a bias before the normalisation. */
    void (*backward)(const cpt_batch_norm *b, float *d, float *d_weight, float *d_bias, float *d_sum);
} cpt_batch_norm_kernels;

const cpt_batch_norm_kernels *cpt_batch_norm_kernels_get(void);
const cpt_batch_norm_kernels *cpt_batch_norm_kernels_at(int level);

#endif

/* resample.h - sums of a few values under many weightings: bootstrap means and sign flips. */
#ifndef CPT_MATH_RESAMPLE_H
#define CPT_MATH_RESAMPLE_H

#include <stdint.h>

/* Rows of weights are as long as a multiple of this; what lies beyond n is not used. */
enum { CPT_RESAMPLE_ALIGN = 64 };

static inline int64_t cpt_resample_stride(int64_t n)
{
    return (n + CPT_RESAMPLE_ALIGN - 1) / CPT_RESAMPLE_ALIGN * CPT_RESAMPLE_ALIGN;
}

/* For row g of values [n_rows][n_values] and weighting r of weights [n_values][stride]:
 * sum(g, r) = sum_i values[g][i] weights[i][r], added up in the order of i. */
typedef struct cpt_resample_kernels {
    /* out [n_rows][stride] */
    void (*sums)(int32_t n_rows, int32_t n_values, const float *values, int64_t stride,
                 const float *weights, float *out);
    /* counts[g] = number of r < n with |sum(g, r)| >= limits[g] */
    void (*count_extreme)(int32_t n_rows, int32_t n_values, const float *values, int64_t n,
                          int64_t stride, const float *weights, const float *limits, int64_t *counts);
} cpt_resample_kernels;

const cpt_resample_kernels *cpt_resample_kernels_get(void);
const cpt_resample_kernels *cpt_resample_kernels_at(int level); /* tests; NULL when the CPU lacks it */

#endif

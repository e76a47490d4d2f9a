/* linalg.h - eigenvectors of symmetric matrices, and principal components. */
#ifndef CPT_MATH_LINALG_H
#define CPT_MATH_LINALG_H

#include "base/log.h"

/* The k largest eigenvalues of the symmetric a [n][n], descending, into values [k]; unit
 * eigenvectors as rows of vectors [k][n], the entry of largest magnitude positive (the first of
 * equals). Only the upper triangle of a is read; a is destroyed. 1 <= k <= n. */
cpt_status cpt_eigen_symmetric(double *a, int32_t n, int32_t k, double *values, double *vectors,
                               cpt_err *e);

/* The first k principal components of the rows of x [n][dim] (mean removed, not scaled), 1 <= k <=
 * dim: mean [dim], components [k][dim] as rows with the sign rule of above, singular [k] values of
 * the centred matrix, descending (variance = singular^2 / (n - 1)). Where the centred matrix has
 * rank r < k, the values after r are 0 (to rounding) and, when n < dim, their components are 0. Any
 * value that is not finite is an error naming its row. Same bytes for any number of threads. Time
 * O(n dim min(n, dim)), memory O(min(n, dim)^2 + dim k). */
cpt_status cpt_pca(const float *x, int64_t n, int32_t dim, int32_t k, double *mean, double *components,
                   double *singular, const cpt_context *ctx, cpt_err *e);
cpt_status cpt_pca_f64(const double *x, int64_t n, int32_t dim, int32_t k, double *mean,
                       double *components, double *singular, const cpt_context *ctx, cpt_err *e);

/* scores [n][k] = (x - mean) components^T, summed in double. */
void cpt_pca_scores(const float *x, int64_t n, int32_t dim, int32_t k, const double *mean,
                    const double *components, float *scores, const cpt_context *ctx);

#endif

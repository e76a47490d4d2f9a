/* blas.h - matrix products that give the same bytes for any number of threads.
 *
 * The product is cut into tiles of C whose size does not depend on the thread count; each tile is one
 * single-threaded CBLAS call; tiles are spread over OpenMP threads. */
#ifndef CPT_MATH_BLAS_H
#define CPT_MATH_BLAS_H

#include <stdbool.h>
#include <stdint.h>

/* C[m][n] (row stride ldc) = alpha * op(A) op(B) + beta * C, row-major, f32.
 * op(A) is [m][k]: A itself with row stride lda, or its transpose when trans_a (A is [k][m]). */
void cpt_gemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, float alpha,
              const float *a, int64_t lda, const float *b, int64_t ldb, float beta, float *c,
              int64_t ldc, int n_threads);

/* Must run before the first product of the process, in any thread; cpt_gemm does so itself. Sets
 * OpenBLAS to one thread per call (tiles are spread by us). */
void cpt_blas_single_thread(void);
const char *cpt_blas_core_name(void); /* "SkylakeX" ... for --version */

#endif

/* rows.h - short dense rows: inner product, scaled sum, and the Adam update.
 *
 * Lengths are multiples of CPT_ROW_ALIGN and the padding is 0: rows of 10 or 30 numbers then need no
 * scalar rest. */
#ifndef CPT_MATH_ROWS_H
#define CPT_MATH_ROWS_H

#include <stdint.h>

enum { CPT_ROW_ALIGN = 16 };

static inline int64_t cpt_row_stride(int64_t n)
{
    return (n + CPT_ROW_ALIGN - 1) / CPT_ROW_ALIGN * CPT_ROW_ALIGN;
}

/* Adam (Kingma and Ba 2015) with PyTorch's conventions. */
typedef struct cpt_adam {
    float beta1, beta2, eps;
    float rest1, rest2; /* 1 - beta, rounded once: 1 - 0.999f is 5e-5 off */
    float step;         /* learning rate / (1 - beta1^t) */
    float inverse_root; /* 1 / sqrt(1 - beta2^t) */
    float scale;        /* the gradient is multiplied by this: clipping */
} cpt_adam;
/* t = 1 for the first step. */
cpt_adam cpt_adam_at(double learning_rate, double beta1, double beta2, double eps, int64_t t,
                     double scale);

typedef struct cpt_row_kernels {
    float (*dot)(const float *x, const float *y, int64_t n);
    float (*distance2)(const float *x, const float *y, int64_t n); /* |x - y|^2 */
    void (*axpy)(float alpha, const float *x, float *y, int64_t n); /* y += alpha x */
    /* |x|^2, and into *rest |x - x rounded to bfloat16|^2; NaN or infinite where x is, or too large for a sum. */
    float (*rounding)(const float *x, int64_t n, float *rest);
    /* w -= step * m / (sqrt(v) * inverse_root + eps) after updating m and v; g NULL = zeros. */
    void (*adam)(const cpt_adam *s, const float *g, float *m, float *v, float *w, int64_t n);
} cpt_row_kernels;

const cpt_row_kernels *cpt_row_kernels_get(void);
const cpt_row_kernels *cpt_row_kernels_at(int level); /* tests; NULL when the CPU lacks it */

#endif

/* screen.h - which products of a row with the rows of a matrix are the k largest, exactly in f32, at the cost of
 * bfloat16.
 *
 * All products are computed roughly, in bfloat16 (math/gemm.h), together with bounds of their error; what may be among
 * the k largest by these bounds, a few more than k, is computed again in f32. The choice is that of the f32 products,
 * of which thousands per row need not be known.
 *
 *     cpt_screen_pack(&s, first, end, w, bias);                all of w, by any number of threads
 *     cpt_screen_ready(&s, bias);
 *     cpt_screen_rows(&s, n, x, stride, k, runs, norms, counts, chosen);
 *     for every strip: cpt_screen_add(...)                     the f32 products of what was chosen
 *     topk->few(...)
 *
 * The f32 product is the sum over strips of 64 columns (math/strips.h), in order, of 16 lanes each, and then the bias.
 *
 * Bounds. With x' and w' the rounded vectors, |x.w - x'.w'| <= |x - x'||w| + |x'||w - w'|, where the lengths of what is
 * rounded off are measured: about .0017 of |x| and |w|. Sums of n products in f32, in any order, err by at most some n
 * 2^-24 |x||w| (Higham 2002, section 3.1), once in the rough and once in the f32 product. Of 4,096 products of random
 * vectors of 512 numbers some 14 more than the k = 32 largest are within these bounds.
 *
 * Rows for which bounds do not help (more than CPT_TOPK_RUN candidates: many products as good as equal) or for which
 * they could overflow (numbers above 1e15 or so, NaN) are given up: their count is CPT_TOPK_TOO_MANY, and the caller
 * has to compute all their products by cpt_screen_add. */
#ifndef CPT_MATH_SCREEN_H
#define CPT_MATH_SCREEN_H

#include "math/gemm.h"
#include "math/strips.h"
#include "math/topk.h"

typedef struct cpt_screen {
    int32_t n_out;
    int64_t n_in;      /* a multiple of CPT_ROW_ALIGN */
    const float *bias; /* [n_out]; the caller's */
    const cpt_strip_kernels *kernels;
    cpt_packed rough;
    float *strips;     /* [strips of n_in][n_out][CPT_STRIP] */
    float *slack, *low, *high;
    cpt_topk_bounds bounds;
    float largest;     /* length of a row with its bias */
} cpt_screen;

/* Bytes of memory, aligned to 64, that a screen works in; CPT_ERR_MEMORY where they cannot be counted. */
cpt_status cpt_screen_bytes(int32_t n_out, int64_t n_in, size_t *bytes, cpt_err *e);
cpt_screen cpt_screen_of(int32_t n_out, int64_t n_in, void *memory);

/* Packs rows first .. end of w [n_out][n_in], where first is a multiple of CPT_GEMM_PANEL and end one too, or n_out;
 * bias [n_out]. cpt_screen_ready follows when all are packed. */
void cpt_screen_pack(cpt_screen *s, int64_t first, int64_t end, const float *w, const float *bias);
void cpt_screen_ready(cpt_screen *s, const float *bias);

/* For each of the rows x [n][n_in]: counts [n] of the outputs that may be among the k largest above 0, which go to
 * chosen [n][CPT_TOPK_RUN], ascending. k <= CPT_TOPK_RUN_K. runs [n] and norms [n] are scratch. In the calling thread. */
void cpt_screen_rows(const cpt_screen *s, int64_t n, const float *x, int32_t k, cpt_topk_run *runs, float *norms,
                     int32_t *counts, int32_t *chosen);

/* The part of one strip in the f32 products of row x [n_in] with m outputs: values [m] = it, or += it after the first
 * strip; at the last strip the bias is added. */
void cpt_screen_add(const cpt_screen *s, int64_t strip, const float *x, int32_t m, const int32_t *outputs,
                    float *values);

#endif

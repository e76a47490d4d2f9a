/* scan.h - the search of nearest neighbours within a leaf: points about its centre, and which of a block of their
 * products are small enough to be looked at again. */
#ifndef CPT_MATH_SCAN_H
#define CPT_MATH_SCAN_H

#include <stdint.h>

typedef struct cpt_scan_kernels {
    /* out [n] = x [n] - centre [n]; returns |out|^2, and into *rest |out - out rounded to bfloat16|^2, in f32. n is a
     * multiple of CPT_ROW_ALIGN (math/rows.h). */
    float (*about)(const float *x, const float *centre, int64_t n, float *out, float *rest);
    /* |a - b|^2 from differences in double, the same at every level; any n. */
    double (*exact)(const float *a, const float *b, int32_t n);
    /* Which q < n have low + lows[q] - 2 products[q] <= (reach[q] + radius)^2: into chosen [n], ascending; how many. */
    int32_t (*within)(int64_t n, const float *products, const float *lows, const float *reach, float low, float radius,
                      int32_t *chosen);
    /* products [rows][32] of a block (math/gemm.h): bit o of hits[r] = add[o] - 2 products[r][o] <= limits[r], for
     * o < outs <= 32; NaN hits nothing. Returns whether there is any. */
    uint32_t (*small)(int64_t rows, int64_t outs, const float *products, const float *add, const float *limits,
                      uint32_t *hits);
} cpt_scan_kernels;

const cpt_scan_kernels *cpt_scan_kernels_get(void);
const cpt_scan_kernels *cpt_scan_kernels_at(int level); /* tests; NULL when the CPU lacks it */

#endif

/* scan.h - which of a block of products are small enough to be looked at again. */
#ifndef CPT_MATH_SCAN_H
#define CPT_MATH_SCAN_H

#include <stdint.h>

typedef struct cpt_scan_kernels {
    /* products [rows][32] of a block (math/gemm.h): bit o of hits[r] = add[o] - 2 products[r][o] <= limits[r], for
     * o < outs <= 32; NaN hits nothing. Returns whether there is any. */
    uint32_t (*small)(int64_t rows, int64_t outs, const float *products, const float *add, const float *limits,
                      uint32_t *hits);
} cpt_scan_kernels;

const cpt_scan_kernels *cpt_scan_kernels_get(void);
const cpt_scan_kernels *cpt_scan_kernels_at(int level); /* tests; NULL when the CPU lacks it */

#endif

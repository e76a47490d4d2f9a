/* order.h - kernels of sorting numbers: what they look like, and their places on a scale. */
#ifndef CPT_MATH_ORDER_H
#define CPT_MATH_ORDER_H

#include <stdint.h>

enum { CPT_NO_STEP = -1 }; /* NaN */

typedef struct cpt_order_kernels {
    /* Least and largest of the values, +inf and -inf when there are none; NaN are left out. How many are zero. */
    void (*range)(int32_t n, const double *values, double *low, double *high, int32_t *n_zero);
    /* steps[i] = (values[i] / 2 - first) * scale rounded down, at most `most`. Levels may round differently, but none
     * turns the order of two values round. */
    void (*steps)(int32_t n, const double *values, double first, double scale, int32_t most, int32_t *steps);
} cpt_order_kernels;

const cpt_order_kernels *cpt_order_kernels_get(void);
const cpt_order_kernels *cpt_order_kernels_at(int level); /* tests; NULL when the CPU lacks it */

#endif

/* order.c - facts about numbers and their places on a scale. Lanes are explicit: the compiler may not reorder
 * comparisons of numbers. */
#include "math/order.h"
#include "base/cpu.h"

#include <math.h>

enum { LANES = 8 };
typedef double lanes __attribute__((vector_size(8 * LANES)));
typedef double loose_lanes __attribute__((vector_size(8 * LANES), may_alias, aligned(8)));
typedef int64_t masks __attribute__((vector_size(8 * LANES)));
#define WHERE(mask, a, b) ((lanes)(((masks)(a) & (mask)) | ((masks)(b) & ~(mask))))

static void range(int32_t n, const double *values, double *low, double *high, int32_t *n_zero)
{
    lanes least = (lanes){0} + INFINITY, most = (lanes){0} - INFINITY;
    masks zeros = {0};
    int32_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        lanes x = *(const loose_lanes *)(values + i);
        least = WHERE(x < least, x, least);
        most = WHERE(x > most, x, most);
        zeros -= x == 0;
    }
    *low = INFINITY;
    *high = -INFINITY;
    *n_zero = 0;
    for (; i < n; i++) {
        *low = values[i] < *low ? values[i] : *low;
        *high = values[i] > *high ? values[i] : *high;
        *n_zero += values[i] == 0;
    }
    for (int l = 0; l < LANES; l++) {
        *low = least[l] < *low ? least[l] : *low;
        *high = most[l] > *high ? most[l] : *high;
        *n_zero += (int32_t)zeros[l];
    }
}

static void steps(int32_t n, const double *values, double first, double scale, int32_t most, int32_t *to)
{
    const double last = most, none = CPT_NO_STEP;
    for (int32_t i = 0; i < n; i++) {
        double x = (0.5 * values[i] - first) * scale;
        x = x < last ? x : last;
        to[i] = (int32_t)(values[i] == values[i] ? x : none);
    }
}

const cpt_order_kernels CPT_LEVEL_NAME(cpt_order_kernels) = {range, steps};
CPT_KERNEL_DISPATCH(cpt_order_kernels)

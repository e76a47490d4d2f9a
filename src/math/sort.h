/* sort.h - ordering numbers: by radix, so in linear time and always in the same, stable way. */
#ifndef CPT_MATH_SORT_H
#define CPT_MATH_SORT_H

#include "base/error.h"

/* A key whose unsigned order is the order of the doubles: -inf .. +inf, then NaN of either sign.
 * -0 and 0 are the same key. */
static inline uint64_t cpt_order_key(double x)
{
    union {
        double value;
        uint64_t bits;
    } u = {x + 0.0};
    if (x != x) return UINT64_MAX;
    return u.bits ^ (-(u.bits >> 63) | 1ull << 63); /* without a branch, which signs would mislead */
}

/* Sorts (key, item) pairs by key, stable. Both arrays hold n; the scratch arrays too. */
void cpt_radix_sort(int64_t n, uint64_t *keys, int32_t *items, uint64_t *key_scratch,
                    int32_t *item_scratch);

/* Sorts by the upper 32 bits alone, stable: the lower ones are free to say what is sorted. scratch [n]. */
void cpt_radix_sort_upper(int64_t n, uint64_t *items, uint64_t *scratch);

/* order[0..n): indices of values ascending, equal ones by index, NaN last. */
cpt_status cpt_argsort(int64_t n, const double *values, int64_t *order, cpt_err *e);

#endif

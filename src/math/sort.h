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

typedef struct cpt_order_facts {
    int32_t n_tied, n_zero; /* numbers that equal another; zeros */
    double low, high;       /* least and largest; +inf and -inf when there are none */
} cpt_order_facts;
/* order[0 .. returned): indices of the numbers, equal ones by index; NaN are left out.
 * scratch [CPT_ORDER_SCRATCH * n]. */
enum { CPT_ORDER_SCRATCH = 4 };
int32_t cpt_order(int32_t n, const double *values, bool descending, int32_t *order, cpt_order_facts *facts,
                  uint64_t *scratch);

/* order[0..n): indices of values ascending, equal ones by index, NaN last. */
cpt_status cpt_argsort(int64_t n, const double *values, int64_t *order, cpt_err *e);

#endif

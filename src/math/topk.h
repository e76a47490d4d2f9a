/* topk.h - the k largest values of a row, exactly. */
#ifndef CPT_MATH_TOPK_H
#define CPT_MATH_TOPK_H

#include <stddef.h>
#include <stdint.h>

/* Bytes of scratch that one call with rows of n values needs. */
size_t cpt_topk_scratch(int32_t n);

typedef struct cpt_topk_kernels {
    /* The k largest values of row[n] that are > floor (use 0 for "active", -INFINITY for all): their
     * positions, ascending, into index and the values into value (both with room for k). Of equal
     * values the one with the lower position wins; NaN is never chosen. Returns how many there are,
     * at most k. `scratch` as above, aligned to 64 bytes. */
    int32_t (*row)(const float *row, int32_t n, int32_t k, float floor, int32_t *index, float *value,
                   void *scratch);
} cpt_topk_kernels;

const cpt_topk_kernels *cpt_topk_kernels_get(void);
const cpt_topk_kernels *cpt_topk_kernels_at(int level); /* tests; NULL when the CPU lacks it */

/* The same by sorting, for tests. */
int32_t cpt_topk_reference(const float *row, int32_t n, int32_t k, float floor, int32_t *index,
                           float *value, void *scratch);

#endif

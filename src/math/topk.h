/* topk.h - the k largest values of a row, exactly. */
#ifndef CPT_MATH_TOPK_H
#define CPT_MATH_TOPK_H

#include <stddef.h>
#include <stdint.h>

/* Bytes of scratch that one call with rows of n values needs. */
size_t cpt_topk_scratch(int32_t n);

/* The same while the row is still being computed, for k <= CPT_TOPK_RUN_K. Starts with {.bound = floor}. */
enum { CPT_TOPK_RUN = 192, CPT_TOPK_RUN_K = 64, CPT_TOPK_PIECE = 32 };
typedef struct cpt_topk_run {
    float bound; /* what is not above it has no place */
    int32_t n;
    int32_t index[CPT_TOPK_RUN];
    float value[CPT_TOPK_RUN];
} cpt_topk_run;

typedef struct cpt_topk_kernels {
    /* The k largest values of row[n] that are > floor (use 0 for "active", -INFINITY for all): their
     * positions, ascending, into index and the values into value (both with room for k). Of equal
     * values the one with the lower position wins; NaN is never chosen. Returns how many there are,
     * at most k. `scratch` as above, aligned to 64 bytes. */
    int32_t (*row)(const float *row, int32_t n, int32_t k, float floor, int32_t *index, float *value,
                   void *scratch);
    /* The next n <= CPT_TOPK_PIECE values, from position `first` on; positions rise from call to call. */
    void (*more)(cpt_topk_run *run, int32_t k, int32_t first, int32_t n, const float *values);
    /* As row(), of all that was given; the run is used up. */
    int32_t (*end)(cpt_topk_run *run, int32_t k, int32_t *index, float *value);
} cpt_topk_kernels;

const cpt_topk_kernels *cpt_topk_kernels_get(void);
const cpt_topk_kernels *cpt_topk_kernels_at(int level); /* tests; NULL when the CPU lacks it */

/* The same by sorting, for tests. */
int32_t cpt_topk_reference(const float *row, int32_t n, int32_t k, float floor, int32_t *index,
                           float *value, void *scratch);

#endif

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

/* The same when values are only known roughly: that of column c in a row of length `norm` is at least rough + low[c] -
 * norm slack[c] and at most rough + high[c] + norm slack[c], all of them finite. A run then collects positions and least
 * values of what may be among the k largest. */
enum { CPT_TOPK_TOO_MANY = -1 }; /* as a run's n: they do not fit; it takes no more */
typedef struct cpt_topk_bounds {
    const float *slack, *low, *high; /* [columns] */
    float widest, spread;            /* the largest slack and high - low */
} cpt_topk_bounds;

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
    /* The next n <= CPT_TOPK_PIECE rough values of several rows, block [rows][CPT_TOPK_PIECE], each into its run; what
     * is surely not above the floor or not among the k largest is left out. */
    void (*more_rough)(cpt_topk_run *runs, int64_t rows, int32_t k, int32_t first, int32_t n, const float *block,
                       const float *norms, const cpt_topk_bounds *bounds);
    /* Positions, ascending, of all that may be among the k largest, with room for CPT_TOPK_RUN; their number, or
     * CPT_TOPK_TOO_MANY. */
    int32_t (*end_rough)(cpt_topk_run *run, int32_t k, float norm, const cpt_topk_bounds *bounds, int32_t *index);
    /* As row(), of m <= CPT_TOPK_RUN values in order of their positions, with floor 0. */
    int32_t (*few)(int32_t m, const int32_t *positions, const float *values, int32_t k, int32_t *index, float *value);
} cpt_topk_kernels;

const cpt_topk_kernels *cpt_topk_kernels_get(void);
const cpt_topk_kernels *cpt_topk_kernels_at(int level); /* tests; NULL when the CPU lacks it */

/* The same by sorting, for tests. */
int32_t cpt_topk_reference(const float *row, int32_t n, int32_t k, float floor, int32_t *index,
                           float *value, void *scratch);

#endif

/* Sums under many weightings (math/resample.h).
 *
 * A matrix product whose inner dimension is a few tens: a tile of ROWS rows by STRIP vectors stays in
 * registers while the inner dimension runs, and the flips are counted there, so their sums are never
 * stored. A row left over takes the same chain alone, hence the same bits. */
#include "math/resample.h"

#include <string.h>

#include "base/cpu.h"

#if CPT_LEVEL == 2
typedef float vec __attribute__((vector_size(64)));
typedef int32_t mask __attribute__((vector_size(64)));
enum { STRIP = 4 };
#elif CPT_LEVEL == 1
typedef float vec __attribute__((vector_size(32)));
typedef int32_t mask __attribute__((vector_size(32)));
enum { STRIP = 2 };
#else
typedef float vec __attribute__((vector_size(16)));
typedef int32_t mask __attribute__((vector_size(16)));
enum { STRIP = 2 };
#endif
enum { LANES = sizeof(vec) / sizeof(float), WIDTH = STRIP * LANES, ROWS = 4 };

static inline vec load(const float *p)
{
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* Sums of `rows` (a constant at every call) rows and WIDTH weightings. */
static inline __attribute__((always_inline)) void tile(int rows, int32_t n_values, const float *values,
                                                       int64_t stride, const float *weights,
                                                       vec s[ROWS][STRIP])
{
    for (int g = 0; g < rows; g++)
        for (int k = 0; k < STRIP; k++) s[g][k] = (vec){0};
    for (int32_t i = 0; i < n_values; i++)
        for (int k = 0; k < STRIP; k++) {
            vec w = load(weights + i * stride + k * LANES);
            for (int g = 0; g < rows; g++) s[g][k] += values[(int64_t)g * n_values + i] * w;
        }
}

static inline __attribute__((always_inline)) void sums_of(int rows, int32_t n_values, const float *values,
                                                          int64_t stride, const float *weights, float *out)
{
    for (int64_t r = 0; r < stride; r += WIDTH) {
        vec s[ROWS][STRIP];
        tile(rows, n_values, values, stride, weights + r, s);
        for (int g = 0; g < rows; g++)
            memcpy(out + g * stride + r, s[g], sizeof s[g]);
    }
}

static void sums(int32_t n_rows, int32_t n_values, const float *values, int64_t stride,
                 const float *weights, float *out)
{
    int32_t g = 0;
    for (; g + ROWS <= n_rows; g += ROWS)
        sums_of(ROWS, n_values, values + (int64_t)g * n_values, stride, weights, out + g * stride);
    for (; g < n_rows; g++)
        sums_of(1, n_values, values + (int64_t)g * n_values, stride, weights, out + g * stride);
}

static inline __attribute__((always_inline)) void count_of(int rows, int32_t n_values, const float *values,
                                                           int64_t n, int64_t stride, const float *weights,
                                                           const float *limits, int64_t *counts)
{
    vec s[ROWS][STRIP];
    mask hits[ROWS] = {{0}};
    int64_t r = 0;
    for (; r + WIDTH <= n; r += WIDTH) {
        tile(rows, n_values, values, stride, weights + r, s);
        for (int g = 0; g < rows; g++)
            for (int k = 0; k < STRIP; k++) hits[g] -= (s[g][k] >= limits[g]) | (s[g][k] <= -limits[g]);
    }
    for (int g = 0; g < rows; g++) {
        counts[g] = 0;
        for (int l = 0; l < LANES; l++) counts[g] += hits[g][l];
    }
    if (r == n) return;
    tile(rows, n_values, values, stride, weights + r, s); /* reads into the padding */
    for (int g = 0; g < rows; g++) {
        float rest[WIDTH];
        memcpy(rest, s[g], sizeof rest);
        for (int64_t l = 0; l < n - r; l++) counts[g] += rest[l] >= limits[g] || rest[l] <= -limits[g];
    }
}

static void count_extreme(int32_t n_rows, int32_t n_values, const float *values, int64_t n, int64_t stride,
                          const float *weights, const float *limits, int64_t *counts)
{
    int32_t g = 0;
    for (; g + ROWS <= n_rows; g += ROWS)
        count_of(ROWS, n_values, values + (int64_t)g * n_values, n, stride, weights, limits + g, counts + g);
    for (; g < n_rows; g++)
        count_of(1, n_values, values + (int64_t)g * n_values, n, stride, weights, limits + g, counts + g);
}

extern const cpt_resample_kernels CPT_LEVEL_NAME(cpt_resample_kernels);
const cpt_resample_kernels CPT_LEVEL_NAME(cpt_resample_kernels) = {.sums = sums,
                                                                   .count_extreme = count_extreme};

CPT_KERNEL_DISPATCH(cpt_resample_kernels)

/* Sums of a few rows out of many, strip by strip (math/strips.h). Sums have 16 lanes written out, as in rows.c: levels
 * differ only by fused multiply-add. */
#include "math/strips.h"

#include <string.h>

#include "base/cpu.h"

enum { LANES = 16, VECTORS = CPT_STRIP / LANES, HALVES = CPT_PAIR_STRIP / LANES };
typedef float floats __attribute__((vector_size(64)));

static void copy(int64_t n, const float *rows, int64_t stride, int64_t first, float *strip)
{
    const int64_t left = stride - first, here = left < CPT_STRIP ? left : CPT_STRIP;
    if (here < CPT_STRIP) memset(strip, 0, (size_t)n * CPT_STRIP * sizeof *strip);
    for (int64_t i = 0; i < n; i++) {
        if (here == CPT_STRIP) memcpy(strip + i * CPT_STRIP, rows + i * stride + first, CPT_STRIP * sizeof *strip);
        else memcpy(strip + i * CPT_STRIP, rows + i * stride + first, (size_t)here * sizeof *strip);
    }
}

static inline __attribute__((always_inline)) float sum_of(const floats *x)
{
    float lanes[LANES];
    memcpy(lanes, x, sizeof lanes);
    for (int width = LANES / 2; width; width /= 2)
        for (int j = 0; j < width; j++) lanes[j] += lanes[j + width];
    return lanes[0];
}

static inline __attribute__((always_inline)) float dot_strip(const floats *x, const float *row)
{
    floats sum = {0};
    for (int v = 0; v < VECTORS; v++) {
        floats r;
        memcpy(&r, row + v * LANES, sizeof r);
        sum += x[v] * r;
    }
    return sum_of(&sum);
}

static float decode(int32_t m, const int32_t *rows, const float *values, const float *strip, const float *centred,
                    float *error, float *dots)
{
    floats x[VECTORS];
    memcpy(x, centred, sizeof x);
    for (int v = 0; v < VECTORS; v++) x[v] = -x[v];
    for (int32_t p = 0; p < m; p++) {
        const float *row = strip + (int64_t)rows[p] * CPT_STRIP, value = values[p];
        for (int v = 0; v < VECTORS; v++) {
            floats r;
            memcpy(&r, row + v * LANES, sizeof r);
            x[v] += value * r;
        }
    }
    memcpy(error, x, sizeof x);
    for (int32_t p = 0; p < m; p++) dots[p] += dot_strip(x, strip + (int64_t)rows[p] * CPT_STRIP);
    floats squares = {0};
    for (int v = 0; v < VECTORS; v++) squares += x[v] * x[v];
    return sum_of(&squares);
}

static void gather(int64_t n, const cpt_strip_entry *entries, const float *pairs, float factor, float *left,
                   float *right)
{
    floats a[HALVES] = {{0}}, b[HALVES] = {{0}};
    for (int64_t i = 0; i < n; i++) {
        const float *row = pairs + (int64_t)entries[i].row * (2 * CPT_PAIR_STRIP);
        const float gradient = entries[i].gradient, value = factor * entries[i].value;
        for (int v = 0; v < HALVES; v++) {
            floats x, y;
            memcpy(&x, row + v * LANES, sizeof x);
            memcpy(&y, row + CPT_PAIR_STRIP + v * LANES, sizeof y);
            a[v] += gradient * x;
            b[v] += value * y;
        }
    }
    memcpy(left, a, sizeof a);
    memcpy(right, b, sizeof b);
}

static void add(int64_t n, const float *restrict row, double *restrict sum)
{
    for (int64_t j = 0; j < n; j++) sum[j] += (double)row[j];
}

const cpt_strip_kernels CPT_LEVEL_NAME(cpt_strip_kernels) = {copy, decode, gather, add};
CPT_KERNEL_DISPATCH(cpt_strip_kernels)

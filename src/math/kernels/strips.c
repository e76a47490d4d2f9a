/* Sums of a few rows out of many, strip by strip (math/strips.h). Sums have 16 lanes written out, as in rows.c: levels
 * differ only by fused multiply-add. */
#include "math/strips.h"

#include <string.h>

#include "base/cpu.h"

#if CPT_LEVEL == 2
#include <immintrin.h>
#endif

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

#if CPT_LEVEL == 2
/* Lanes 8, then 4 apart. */
static inline __attribute__((always_inline)) __m128 fold(const floats *x)
{
    const __m512 all = (__m512)*x;
    const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(all), _mm512_extractf32x8_ps(all, 1));
    return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}

/* As sum_of of each of four, in the same order. */
static inline __attribute__((always_inline)) __m128 sums_of_four(const floats x[4])
{
    const __m128 a = fold(x), b = fold(x + 1), c = fold(x + 2), d = fold(x + 3);
    const __m128 ab = _mm_add_ps(_mm_unpacklo_ps(a, b), _mm_unpackhi_ps(a, b));
    const __m128 cd = _mm_add_ps(_mm_unpacklo_ps(c, d), _mm_unpackhi_ps(c, d));
    return _mm_add_ps(_mm_movelh_ps(ab, cd), _mm_movehl_ps(cd, ab));
}
#endif

static inline __attribute__((always_inline)) void add_dots(int32_t m, const int32_t *rows, const float *strip,
                                                           const floats *x, float *dots)
{
    int32_t p = 0;
#if CPT_LEVEL == 2
    for (; p + 4 <= m; p += 4) {
        floats sums[4];
        for (int i = 0; i < 4; i++) {
            const float *row = strip + (int64_t)rows[p + i] * CPT_STRIP;
            sums[i] = (floats){0};
            for (int v = 0; v < VECTORS; v++) {
                floats r;
                memcpy(&r, row + v * LANES, sizeof r);
                sums[i] += x[v] * r;
            }
        }
        _mm_storeu_ps(dots + p, _mm_add_ps(_mm_loadu_ps(dots + p), sums_of_four(sums)));
    }
#endif
    for (; p < m; p++) dots[p] += dot_strip(x, strip + (int64_t)rows[p] * CPT_STRIP);
}

static void dots_of(int32_t m, const int32_t *rows, const float *strip, const float *x, float *dots)
{
    floats own[VECTORS];
    memcpy(own, x, sizeof own);
    add_dots(m, rows, strip, own, dots);
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
    add_dots(m, rows, strip, x, dots);
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

const cpt_strip_kernels CPT_LEVEL_NAME(cpt_strip_kernels) = {copy, decode, dots_of, gather, add};
CPT_KERNEL_DISPATCH(cpt_strip_kernels)

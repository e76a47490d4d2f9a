/* Row operations of a transformer's training (math/training.h).
 *
 * The gradient of a normalisation repeats the moments of its row (as attention.c computes them:
 * 16 lanes, added up in double) instead of keeping them: two passes over a row that is in the
 * first-level cache. Sums over rows go row after row in float, at most some hundred rows at a
 * time. */
#include "math/training.h"

#include <math.h>

#include "base/cpu.h"
#include "math/attention.h"
#include "math/kernels/vector_math.h"

enum { LANES = 16 };
static const float LEAK = 0.01f;

static inline double add_lanes(const float lanes[LANES])
{
    double sum = 0;
    for (int j = 0; j < LANES; j++) sum += (double)lanes[j];
    return sum;
}

static void add_rows(int64_t n, int64_t width, const float *restrict rows, float *restrict sum)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < width; j++) sum[j] += rows[i * width + j];
}

/* mean, and 1 / sqrt(variance + eps) */
static inline float moments(int64_t width, const float *row, float *inverse)
{
    float sums[LANES] = {0}, squares[LANES] = {0};
    int64_t whole = width / LANES * LANES;
    for (int64_t i = 0; i < whole; i += LANES)
        for (int j = 0; j < LANES; j++) sums[j] += row[i + j];
    for (int64_t i = whole; i < width; i++) sums[i - whole] += row[i];
    const float mean = (float)(add_lanes(sums) / (double)width);
    for (int64_t i = 0; i < whole; i += LANES)
        for (int j = 0; j < LANES; j++) squares[j] += (row[i + j] - mean) * (row[i + j] - mean);
    for (int64_t i = whole; i < width; i++) squares[i - whole] += (row[i] - mean) * (row[i] - mean);
    *inverse = (float)(1 / sqrt(add_lanes(squares) / (double)width + CPT_LAYER_NORM_EPS));
    return mean;
}

/* With h = (in - mean) / sd and g = gain * grad: (g - mean g - h mean(g h)) / sd. */
static inline void norm_row_back(int64_t width, const float *restrict in,
                                 const float *restrict gain, float *restrict g,
                                 float *restrict gain_grad, float *restrict shift_grad)
{
    float inverse, mean = moments(width, in, &inverse), sums[LANES] = {0}, along[LANES] = {0};
    const int64_t whole = width / LANES * LANES;
#pragma omp simd
    for (int64_t j = 0; j < width; j++) {
        gain_grad[j] += g[j] * ((in[j] - mean) * inverse);
        shift_grad[j] += g[j];
        g[j] *= gain[j];
    }
    for (int64_t i = 0; i < whole; i += LANES)
        for (int j = 0; j < LANES; j++) {
            sums[j] += g[i + j];
            along[j] += g[i + j] * (in[i + j] - mean);
        }
    for (int64_t i = whole; i < width; i++) {
        sums[i - whole] += g[i];
        along[i - whole] += g[i] * (in[i] - mean);
    }
    const float g_mean = (float)(add_lanes(sums) / (double)width);
    const float slope =
        (float)(add_lanes(along) * (double)inverse * (double)inverse / (double)width);
#pragma omp simd
    for (int64_t j = 0; j < width; j++) g[j] = (g[j] - g_mean - (in[j] - mean) * slope) * inverse;
}

static void norm_back(int64_t n, int64_t width, const float *in, const float *gain, float *grad,
                      float *gain_grad, float *shift_grad)
{
    for (int64_t i = 0; i < n; i++)
        norm_row_back(width, in + i * width, gain, grad + i * width, gain_grad, shift_grad);
}

static void add_bias_leaky(int64_t n, int64_t width, const float *restrict bias,
                           float *restrict rows)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < width; j++) {
            float y = rows[i * width + j] + bias[j];
            rows[i * width + j] = y > 0 ? y : LEAK * y;
        }
}

static void leaky_back(int64_t n, const float *restrict output, float *restrict grad)
{
    for (int64_t i = 0; i < n; i++) grad[i] *= output[i] > 0 ? 1 : LEAK;
}

static void sigmoid(int64_t n, const float *x, float *out)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        /* exp of what is not positive: no overflow */
        const float size = vector_exp(x[i] > 0 ? -x[i] : x[i]);
        out[i] = (x[i] > 0 ? 1 : size) / (1 + size);
    }
}

/* "lowbias32" (C. Wellons), with the second half of the key between its two products. */
static inline uint32_t hash(uint32_t x, const uint32_t key[2])
{
    x ^= key[0];
    x ^= x >> 16;
    x *= 0x7feb352du;
    x ^= x >> 15;
    x += key[1];
    x *= 0x846ca68bu;
    return x ^ x >> 16;
}

static void dropout(int64_t n, uint32_t first, const cpt_dropout *d, float *x)
{
    const uint32_t key[2] = {d->key[0], d->key[1]}, below = d->below;
    const float scale = d->scale;
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        x[i] = hash(first + (uint32_t)i, key) < below ? 0 : x[i] * scale;
}

const cpt_training_kernels CPT_LEVEL_NAME(cpt_training_kernels) = {
    .add_rows = add_rows,
    .norm_back = norm_back,
    .add_bias_leaky = add_bias_leaky,
    .leaky_back = leaky_back,
    .sigmoid = sigmoid,
    .dropout = dropout,
};
CPT_KERNEL_DISPATCH(cpt_training_kernels)

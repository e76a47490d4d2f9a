/* Row operations of a transformer (math/attention.h).
 *
 * Everything here streams a row that is in the first-level cache: normalisation reads it three
 * times (mean, variance about the mean, result), softmax three times (maximum, exponential and sum,
 * and later the division, which is done on the 64 numbers of the context instead of the 1,200
 * weights). Two passes for the variance, not sum of squares: rows of a trained network have means
 * far from 0.
 *
 * Sums have 16 explicit lanes, so that the order of summation is written here and is the same for
 * every instruction set; levels differ by fused multiply-adds only. */
#include "math/attention.h"

#include <math.h>

#include "base/cpu.h"
#include "math/kernels/vector_math.h"

enum { LANES = 16 };

static inline double add_lanes(const float lanes[LANES])
{
    double sum = 0;
    for (int j = 0; j < LANES; j++) sum += (double)lanes[j];
    return sum;
}

static inline double sum_of(int64_t n, const float *x)
{
    float lanes[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) lanes[j] += x[i + j];
    for (int j = 0; i + j < n; j++) lanes[j] += x[i + j];
    return add_lanes(lanes);
}

static inline double sum_of_squares(int64_t n, const float *x, float mean)
{
    float lanes[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) lanes[j] += (x[i + j] - mean) * (x[i + j] - mean);
    for (int j = 0; i + j < n; j++) lanes[j] += (x[i + j] - mean) * (x[i + j] - mean);
    return add_lanes(lanes);
}

static inline double sum_of_products(int64_t n, const float *x, const float *y)
{
    float lanes[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) lanes[j] += x[i + j] * y[i + j];
    for (int j = 0; i + j < n; j++) lanes[j] += x[i + j] * y[i + j];
    return add_lanes(lanes);
}

static void add_bias(int64_t n, int64_t width, const float *restrict bias, float *restrict rows)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < width; j++) rows[i * width + j] += bias[j];
}

static void add_bias_relu(int64_t n, int64_t width, const float *restrict bias,
                          float *restrict rows)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < width; j++) {
            float y = rows[i * width + j] + bias[j];
            rows[i * width + j] = y > 0 ? y : 0;
        }
}

/* Mean of a row and 1 / sqrt(variance + eps). */
static inline float moments(int64_t width, const float *row, float *inverse)
{
    float mean = (float)(sum_of(width, row) / (double)width);
    double variance = sum_of_squares(width, row, mean) / (double)width;
    *inverse = (float)(1 / sqrt(variance + CPT_LAYER_NORM_EPS));
    return mean;
}

static inline void norm_row(int64_t width, const float *in, const float *gain, const float *shift,
                            float *out)
{
    float inverse, mean = moments(width, in, &inverse);
#pragma omp simd
    for (int64_t j = 0; j < width; j++) out[j] = (in[j] - mean) * inverse * gain[j] + shift[j];
}

static void layer_norm(int64_t n, int64_t width, const float *in, const float *gain,
                       const float *shift, float *out)
{
    for (int64_t i = 0; i < n; i++) norm_row(width, in + i * width, gain, shift, out + i * width);
}

static void add_norm(int64_t n, int64_t width, const float *add, const float *bias,
                     const float *gain, const float *shift, float *x, float *sum)
{
    for (int64_t i = 0; i < n; i++) {
        const float *a = add + i * width, *from = x + i * width;
        float *s = sum + i * width;
#pragma omp simd
        for (int64_t j = 0; j < width; j++) s[j] = from[j] + (a[j] + bias[j]);
        norm_row(width, s, gain, shift, x + i * width);
    }
}

/* With h = (in - mean) / sd and g = gain * grad: (g - mean g - h mean(g h)) / sd. */
static void layer_norm_back(int64_t n, int64_t width, const float *in, const float *gain,
                            float *grad)
{
    for (int64_t i = 0; i < n; i++) {
        const float *row = in + i * width;
        float inverse, mean = moments(width, row, &inverse), *g = grad + i * width;
#pragma omp simd
        for (int64_t j = 0; j < width; j++) g[j] *= gain[j];
        float g_mean = (float)(sum_of(width, g) / (double)width);
        float slope = (float)((sum_of_products(width, g, row) - (double)mean * sum_of(width, g)) *
                              (double)inverse * (double)inverse / (double)width);
#pragma omp simd
        for (int64_t j = 0; j < width; j++)
            g[j] = (g[j] - g_mean - (row[j] - mean) * slope) * inverse;
    }
}

static inline float maximum(int64_t n, const float *x)
{
    float lanes[LANES], most = x[0];
    int64_t i = 0;
    for (int j = 0; j < LANES; j++) lanes[j] = x[0];
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) lanes[j] = x[i + j] > lanes[j] ? x[i + j] : lanes[j];
    for (int j = 0; i + j < n; j++) lanes[j] = x[i + j] > lanes[j] ? x[i + j] : lanes[j];
    for (int j = 0; j < LANES; j++) most = lanes[j] > most ? lanes[j] : most;
    return most;
}

static void softmax(int64_t n, int64_t width, int64_t stride, float scale, float *scores,
                    float *maxima, float *sums)
{
    for (int64_t i = 0; i < n; i++) {
        float *row = scores + i * stride, most = maximum(width, row);
#pragma omp simd
        for (int64_t j = 0; j < width; j++) row[j] = vector_exp((row[j] - most) * scale);
        sums[i] = (float)sum_of(width, row);
        if (maxima) maxima[i] = most * scale;
    }
}

static inline void softmax_row(int64_t width, float scale, float bound, const float *restrict block,
                               float *restrict out, float *restrict lanes)
{
    float sums[LANES];
    int64_t i = 0;
    for (int j = 0; j < LANES; j++) sums[j] = lanes[j];
    for (; i + LANES <= width; i += LANES) {
#pragma omp simd
        for (int j = 0; j < LANES; j++) {
            const float y = vector_exp(block[i + j] * scale - bound);
            out[i + j] = y;
            sums[j] += y;
        }
    }
    for (int j = 0; i + j < width; j++) {
        out[i + j] = vector_exp(block[i + j] * scale - bound);
        sums[j] += out[i + j];
    }
    for (int j = 0; j < LANES; j++) lanes[j] = sums[j];
}

static void softmax_block(int64_t n, int64_t width, int64_t block_stride, float scale,
                          const float *bounds, const float *block, int64_t stride, float *out,
                          float *lanes)
{
    for (int64_t r = 0; r < n; r++) {
        const float *from = block + r * block_stride;
        if (width == 2 * LANES)
            softmax_row(2 * LANES, scale, bounds[r], from, out + r * stride, lanes + r * LANES);
        else softmax_row(width, scale, bounds[r], from, out + r * stride, lanes + r * LANES);
    }
}

static void lane_sums(int64_t n, const float *lanes, float *sums)
{
    for (int64_t r = 0; r < n; r++) sums[r] = (float)add_lanes(lanes + r * LANES);
}

static void lengths(int64_t n, int64_t width, int64_t stride, const float *rows, float *out)
{
    for (int64_t r = 0; r < n; r++) {
        const float *row = rows + r * stride;
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t j = 0; j < width; j++) sum += row[j] * row[j];
        out[r] = sqrtf(sum);
    }
}

static void divide(int64_t n, int64_t width, int64_t stride, const float *divisors, float *rows)
{
    for (int64_t i = 0; i < n; i++) {
        const float factor = 1 / divisors[i];
        for (int64_t j = 0; j < width; j++) rows[i * stride + j] *= factor;
    }
}

static void softmax_back(int64_t n, int64_t width, int64_t stride, float scale, const float *p,
                         float *grad)
{
    for (int64_t i = 0; i < n; i++) {
        const float *w = p + i * stride;
        float *g = grad + i * stride, mean = (float)sum_of_products(width, w, g);
#pragma omp simd
        for (int64_t j = 0; j < width; j++) g[j] = w[j] * (g[j] - mean) * scale;
    }
}

static void relu_back(int64_t n, const float *active, float *grad)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) grad[i] = active[i] > 0 ? grad[i] : 0;
}

static void mark(int64_t n, const float *restrict x, uint8_t *restrict marks)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) marks[i] = x[i] > 0;
}

static void keep_marked(int64_t n, const uint8_t *restrict marks, float *restrict grad)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) grad[i] = marks[i] ? grad[i] : 0;
}

static void weigh(int64_t n, int64_t width, int64_t stride, float scale, const float *maxima,
                  const float *sums, float *scores)
{
    for (int64_t i = 0; i < n; i++) {
        const float factor = 1 / sums[i], most = maxima[i];
        float *row = scores + i * stride;
#pragma omp simd
        for (int64_t j = 0; j < width; j++) {
            const float x = row[j] * scale - most;
            row[j] = vector_exp(x < 69 ? x : 69) * factor;
        }
    }
}

/* c' = (c - p v + q v') / (1 - p + q). A row that gave nearly everything to the key that leaves has
 * no linear answer; its divisor is kept away from 0. */
static void swap(int64_t n, float along, const float *restrict p, const float *restrict leaving,
                 const float *restrict q, const float *restrict coming, float *restrict sums)
{
#pragma omp simd
    for (int64_t t = 0; t < n; t++) {
        const float rest = 1 - p[t] + q[t], divisor = rest > 1e-3f ? rest : 1e-3f;
        sums[t] += (p[t] * (along - leaving[t]) + q[t] * (coming[t] - along)) / divisor;
    }
}

const cpt_attention_kernels CPT_LEVEL_NAME(cpt_attention_kernels) = {
    .add_bias = add_bias,
    .add_bias_relu = add_bias_relu,
    .layer_norm = layer_norm,
    .add_norm = add_norm,
    .layer_norm_back = layer_norm_back,
    .softmax = softmax,
    .softmax_block = softmax_block,
    .lane_sums = lane_sums,
    .lengths = lengths,
    .divide = divide,
    .softmax_back = softmax_back,
    .relu_back = relu_back,
    .mark = mark,
    .keep_marked = keep_marked,
    .weigh = weigh,
    .swap = swap,
};
CPT_KERNEL_DISPATCH(cpt_attention_kernels)

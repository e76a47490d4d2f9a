/* Batch normalisation (math/batch_norm.h): what is compiled per level.
 *
 * Columns go in tiles of LANES, whose sums in double stay in registers while the loop walks down the rows; columns that
 * do not fill a tile have zeros beside them. A tile of 128 rows is 8 KB: it is still in the first-level cache when it is
 * read a second time. */
#include "math/batch_norm.h"

#include <string.h>

#include "base/cpu.h"

#if CPT_LEVEL == 2
enum { LANES = 16 };
#else
enum { LANES = 8 };
#endif
typedef float floats __attribute__((vector_size(4 * LANES)));
typedef int32_t words __attribute__((vector_size(4 * LANES)));
typedef float halves __attribute__((vector_size(2 * LANES)));
typedef double doubles __attribute__((vector_size(4 * LANES))); /* of half a tile */

typedef struct pair {
    doubles low, high;
} pair;

#define INLINE static inline __attribute__((always_inline))

/* `n` of a tile: LANES, or fewer at the right edge, where 0 is behind them. */
INLINE void load_tile(int32_t n, const float *from, floats *out)
{
    *out = (floats){0};
    if (n == LANES) memcpy(out, from, sizeof *out);
    else memcpy(out, from, sizeof *from * (size_t)n);
}

INLINE void store_tile(int32_t n, const floats *x, float *to)
{
    if (n == LANES) memcpy(to, x, sizeof *x);
    else memcpy(to, x, sizeof *to * (size_t)n);
}

INLINE void widen(const floats *x, pair *out)
{
    halves h[2];
    memcpy(h, x, sizeof h);
    out->low = __builtin_convertvector(h[0], doubles);
    out->high = __builtin_convertvector(h[1], doubles);
}

INLINE void narrow(const pair *x, floats *out)
{
    const halves h[2] = {__builtin_convertvector(x->low, halves), __builtin_convertvector(x->high, halves)};
    memcpy(out, h, sizeof *out);
}

INLINE void load_pair(int32_t n, const double *from, pair *out)
{
    *out = (pair){{0}, {0}};
    memcpy(out, from, sizeof *from * (size_t)n);
}

/* `n` is a constant where a tile is whole. */
INLINE void tile_moments(int32_t rows, int32_t width, int32_t n, const float *x, double *mean, double *squares)
{
    pair sum = {{0}, {0}}, about = {{0}, {0}}, v;
    floats f;
    for (int32_t i = 0; i < rows; i++) {
        load_tile(n, x + (int64_t)i * width, &f);
        widen(&f, &v);
        sum.low += v.low;
        sum.high += v.high;
    }
    sum.low /= (double)rows;
    sum.high /= (double)rows;
    for (int32_t i = 0; i < rows; i++) {
        load_tile(n, x + (int64_t)i * width, &f);
        widen(&f, &v);
        v.low -= sum.low;
        v.high -= sum.high;
        about.low += v.low * v.low;
        about.high += v.high * v.high;
    }
    memcpy(mean, &sum, sizeof *mean * (size_t)n);
    memcpy(squares, &about, sizeof *squares * (size_t)n);
}

static void moments(const cpt_batch_norm *b, double *mean, double *squares)
{
    int32_t j = 0;
    for (; j + LANES <= b->width; j += LANES) tile_moments(b->n, b->width, LANES, b->x + j, mean + j, squares + j);
    if (j < b->width) tile_moments(b->n, b->width, b->width - j, b->x + j, mean + j, squares + j);
}

/* y where weight x + bias is above 0, else 0; times keep. */
INLINE void gate(int32_t n, const floats *x, const floats *weight, const floats *bias, const float *keep, floats *y)
{
    const words open = *x * *weight + *bias > 0;
    *y = (floats)((words)*y & open);
    if (!keep) return;
    floats k;
    load_tile(n, keep, &k);
    *y *= k;
}

INLINE void tile_forward(const cpt_batch_norm *b, int32_t j, int32_t n, const double *mean, float *out)
{
    floats weight, bias, f;
    pair middle, scale, v;
    load_tile(n, b->weight + j, &weight);
    load_tile(n, b->bias + j, &bias);
    load_pair(n, mean + j, &middle);
    load_pair(n, b->inverse_sd + j, &scale);
    for (int32_t i = 0; i < b->n; i++) {
        const int64_t at = (int64_t)i * b->width + j;
        load_tile(n, b->x + at, &f);
        widen(&f, &v);
        v.low = (v.low - middle.low) * scale.low;
        v.high = (v.high - middle.high) * scale.high;
        narrow(&v, &f);
        store_tile(n, &f, b->x + at);
        floats y = f * weight + bias;
        gate(n, &f, &weight, &bias, b->keep ? b->keep + at : NULL, &y);
        store_tile(n, &y, out + at);
    }
}

static void forward(const cpt_batch_norm *b, const double *mean, float *out)
{
    int32_t j = 0;
    for (; j + LANES <= b->width; j += LANES) tile_forward(b, j, LANES, mean, out);
    if (j < b->width) tile_forward(b, j, b->width - j, mean, out);
}

/* Sums of d and of d x over rows, d having gone back through dropout and ReLU. */
INLINE void tile_gate(const cpt_batch_norm *b, int32_t j, int32_t n, float *d, pair *sum, pair *product)
{
    floats weight, bias, f, y;
    pair v, w;
    load_tile(n, b->weight + j, &weight);
    load_tile(n, b->bias + j, &bias);
    *sum = *product = (pair){{0}, {0}};
    for (int32_t i = 0; i < b->n; i++) {
        const int64_t at = (int64_t)i * b->width + j;
        load_tile(n, b->x + at, &f);
        load_tile(n, d + at, &y);
        gate(n, &f, &weight, &bias, b->keep ? b->keep + at : NULL, &y);
        store_tile(n, &y, d + at);
        widen(&y, &v);
        widen(&f, &w);
        sum->low += v.low;
        sum->high += v.high;
        product->low += v.low * w.low;
        product->high += v.high * w.high;
    }
}

/* d = weight inverse_sd (d - (sum + x product) / n); total: sums of it. */
INLINE void tile_through(const cpt_batch_norm *b, int32_t j, int32_t n, float *d, const pair *sum, const pair *product,
                         pair *total)
{
    const double count = b->n;
    floats f, y;
    pair scale, factor, v, w;
    load_tile(n, b->weight + j, &f);
    widen(&f, &factor);
    load_pair(n, b->inverse_sd + j, &scale);
    scale.low *= factor.low;
    scale.high *= factor.high;
    *total = (pair){{0}, {0}};
    for (int32_t i = 0; i < b->n; i++) {
        const int64_t at = (int64_t)i * b->width + j;
        load_tile(n, b->x + at, &f);
        load_tile(n, d + at, &y);
        widen(&f, &w);
        widen(&y, &v);
        v.low = scale.low * (v.low - (sum->low + w.low * product->low) / count);
        v.high = scale.high * (v.high - (sum->high + w.high * product->high) / count);
        narrow(&v, &y);
        store_tile(n, &y, d + at);
        widen(&y, &v);
        total->low += v.low;
        total->high += v.high;
    }
}

INLINE void tile_backward(const cpt_batch_norm *b, int32_t j, int32_t n, float *d, float *d_weight, float *d_bias,
                          float *d_sum)
{
    pair sum, product, total;
    floats f;
    tile_gate(b, j, n, d, &sum, &product);
    tile_through(b, j, n, d, &sum, &product, &total);
    narrow(&sum, &f);
    store_tile(n, &f, d_bias + j);
    narrow(&product, &f);
    store_tile(n, &f, d_weight + j);
    narrow(&total, &f);
    store_tile(n, &f, d_sum + j);
}

static void backward(const cpt_batch_norm *b, float *d, float *d_weight, float *d_bias, float *d_sum)
{
    int32_t j = 0;
    for (; j + LANES <= b->width; j += LANES) tile_backward(b, j, LANES, d, d_weight, d_bias, d_sum);
    if (j < b->width) tile_backward(b, j, b->width - j, d, d_weight, d_bias, d_sum);
}

const cpt_batch_norm_kernels CPT_LEVEL_NAME(cpt_batch_norm_kernels) = {
    .moments = moments,
    .forward = forward,
    .backward = backward,
};
CPT_KERNEL_DISPATCH(cpt_batch_norm_kernels)

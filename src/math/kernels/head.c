/* The steps between the products of an attention head (math/head.h): softmax weights and their gradients, made out of a
 * panel of sums and cut into parts (math/gemm.h) while they are in registers.
 *
 * A block of 32 x 32 numbers can be both sides of a product. As left-hand rows, a dword holds the inputs (columns) j and
 * j + 16 of one row; as right-hand panel with the rows for inputs, rows i and i + 16 of one column. Both are made from
 * the same four vectors, with no transposition. */
#include "math/head.h"

#include <string.h>

#include "base/cpu.h"
#include "math/kernels/parts.h"
#include "math/kernels/vector_math.h"

enum { PANEL = CPT_GEMM_PANEL, TILE = CPT_TILE, DWORDS = TILE * TILE };

/* y [32] = exp(scale * s - bound) * factor, 0 from column outs on. */
static inline __attribute__((always_inline)) void weigh_row(int64_t outs, float scale, float bound, float factor,
                                                            const float *s, float *y)
{
#pragma omp simd
    for (int j = 0; j < PANEL; j++) y[j] = vector_exp(s[j] * scale - bound) * factor;
    for (int64_t j = outs; j < PANEL; j++) y[j] = 0;
}

/* Dwords of two vectors, part by part, `step` dwords apart. */
static inline __attribute__((always_inline)) void put_pairs(int parts, const float *low, const float *high,
                                                            int64_t step, uint32_t *to)
{
    floats x, y;
    memcpy(&x, low, sizeof x);
    memcpy(&y, high, sizeof y);
    for (int part = 0; part < parts; part++) {
        words a, b;
        take_part(parts, part, &x, &a);
        take_part(parts, part, &y, &b);
        const words pairs = a >> 16 | b;
        memcpy(to + part * step, &pairs, sizeof pairs);
    }
}

static inline __attribute__((always_inline)) void weigh_parts(int parts, const cpt_score_block *b, float *lanes,
                                                              int64_t row_tiles, uint32_t *tiles)
{
    for (int64_t r = 0; r < b->rows; r++) {
        float y[PANEL] __attribute__((aligned(64)));
        float *sums = lanes + r * TILE;
        weigh_row(b->outs, b->scale, b->bounds[r], 1, b->scores + r * PANEL, y);
#pragma omp simd
        for (int j = 0; j < TILE; j++) sums[j] = (sums[j] + y[j]) + y[TILE + j];
        put_pairs(parts, y, y + TILE, DWORDS, tiles + (r / TILE * row_tiles * TILE + r % TILE) * TILE);
    }
}

static void weigh(int parts, const cpt_score_block *b, float *lanes, int64_t row_tiles, uint32_t *tiles)
{
    if (parts == 1) weigh_parts(1, b, lanes, row_tiles, tiles);
    else if (parts == 2) weigh_parts(2, b, lanes, row_tiles, tiles);
    else weigh_parts(3, b, lanes, row_tiles, tiles);
}

/* Rows i and i + 16 of each 32; those behind the last are zeros on the panel's side. */
static inline __attribute__((always_inline)) void normal_parts(int parts, const cpt_score_block *b,
                                                               const float *factors, float *weights, uint32_t *panel)
{
    for (int64_t first = 0; first < b->rows; first += PANEL, panel += parts * 2 * DWORDS)
        for (int64_t i = 0; i < TILE; i++) {
            float y[2][PANEL] __attribute__((aligned(64))) = {{0}};
            uint32_t *to = panel + i * TILE;
            for (int64_t k = 0; k < 2; k++) {
                const int64_t row = first + k * TILE + i;
                if (row >= b->rows) continue;
                weigh_row(b->outs, b->scale, b->bounds[row], factors[row], b->scores + row * PANEL, y[k]);
                memcpy(weights + row * PANEL, y[k], sizeof y[k]);
            }
            put_pairs(parts, y[0], y[1], 2 * DWORDS, to);
            put_pairs(parts, y[0] + TILE, y[1] + TILE, 2 * DWORDS, to + DWORDS);
        }
}

static void normal(int parts, const cpt_score_block *b, const float *factors, float *weights, uint32_t *panel)
{
    if (parts == 1) normal_parts(1, b, factors, weights, panel);
    else if (parts == 2) normal_parts(2, b, factors, weights, panel);
    else normal_parts(3, b, factors, weights, panel);
}

/* One row's gradient of its scores: x [32] = scale * weight * (grad - mean). */
static inline __attribute__((always_inline)) void slope_row(int64_t outs, float scale, float mean, const float *weights,
                                                            const float *grads, float *x)
{
#pragma omp simd
    for (int j = 0; j < PANEL; j++) x[j] = weights[j] * (grads[j] - mean) * scale;
    for (int64_t j = outs; j < PANEL; j++) x[j] = 0;
}

static inline __attribute__((always_inline)) void slope_parts(int parts, const cpt_score_block *b, const float *weights,
                                                              const float *means, int64_t row_tiles, uint32_t *tiles,
                                                              uint32_t *panel)
{
    for (int64_t first = 0; first < b->rows; first += PANEL, panel += parts * 2 * DWORDS)
        for (int64_t i = 0; i < TILE; i++) {
            float x[2][PANEL] __attribute__((aligned(64))) = {{0}};
            floats rest[2][2];
            uint32_t *left[2] = {NULL, NULL};
            for (int64_t k = 0; k < 2; k++) {
                const int64_t row = first + k * TILE + i;
                if (row >= b->rows) continue;
                slope_row(b->outs, b->scale, means[row], weights + row * PANEL, b->scores + row * PANEL, x[k]);
                left[k] = tiles + (row / TILE * row_tiles * TILE + i) * TILE;
            }
            memcpy(rest, x, sizeof rest);
            for (int part = 0; part < parts; part++) {
                words p[2][2], pairs;
                uint32_t *right = panel + part * 2 * DWORDS + i * TILE;
                for (int k = 0; k < 2; k++)
                    for (int half = 0; half < 2; half++) take_part(parts, part, &rest[k][half], &p[k][half]);
                for (int k = 0; k < 2; k++) {
                    if (!left[k]) continue;
                    pairs = p[k][0] >> 16 | p[k][1];
                    memcpy(left[k] + part * DWORDS, &pairs, sizeof pairs);
                }
                for (int half = 0; half < 2; half++) {
                    pairs = p[0][half] >> 16 | p[1][half];
                    memcpy(right + half * DWORDS, &pairs, sizeof pairs);
                }
            }
        }
}

static void slopes(int parts, const cpt_score_block *b, const float *weights, const float *means, int64_t row_tiles,
                   uint32_t *tiles, uint32_t *panel)
{
    if (parts == 1) slope_parts(1, b, weights, means, row_tiles, tiles, panel);
    else if (parts == 2) slope_parts(2, b, weights, means, row_tiles, tiles, panel);
    else slope_parts(3, b, weights, means, row_tiles, tiles, panel);
}

static void turn(int64_t rows, int64_t width, const float *in, int64_t stride, float *out, int64_t out_stride)
{
    for (int64_t r = 0; r < rows; r += TILE)
        for (int64_t c = 0; c < width; c += TILE) {
            const float *from = in + r * stride + c;
            float *to = out + c * out_stride + r;
            if (r + TILE <= rows && c + TILE <= width) {
                transpose((const dword *)from, stride, (dword *)to, out_stride);
                continue;
            }
            for (int64_t i = 0; i < TILE && r + i < rows; i++)
                for (int64_t j = 0; j < TILE && c + j < width; j++) to[j * out_stride + i] = from[i * stride + j];
        }
}

static void dots(int64_t rows, int64_t width, const float *x, const float *y, int64_t stride, float *out)
{
    for (int64_t r = 0; r < rows; r++) {
        const float *a = x + r * stride, *b = y + r * stride;
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t j = 0; j < width; j++) sum += a[j] * b[j];
        out[r] = sum;
    }
}

const cpt_head_kernels CPT_LEVEL_NAME(cpt_head_kernels) = {
    .weigh = weigh,
    .normal = normal,
    .slopes = slopes,
    .turn = turn,
    .dots = dots,
};
CPT_KERNEL_DISPATCH(cpt_head_kernels)

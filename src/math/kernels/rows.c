/* rows.c - inner product, scaled sum and Adam on padded rows, in plain C that vectorises.
 *
 * Sums have explicit lanes (16), so that the order of summation is written here and not chosen by
 * the compiler; levels differ only by fused multiply-add. */
#include "base/cpu.h"
#include "math/rows.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

static float dot(const float *restrict x, const float *restrict y, int64_t n)
{
    float lanes[CPT_ROW_ALIGN] = {0};
    for (int64_t i = 0; i < n; i += CPT_ROW_ALIGN)
        for (int j = 0; j < CPT_ROW_ALIGN; j++) lanes[j] += x[i + j] * y[i + j];
    for (int width = CPT_ROW_ALIGN / 2; width; width /= 2)
        for (int j = 0; j < width; j++) lanes[j] += lanes[j + width];
    return lanes[0];
}

static float distance2(const float *restrict x, const float *restrict y, int64_t n)
{
    float lanes[CPT_ROW_ALIGN] = {0};
    for (int64_t i = 0; i < n; i += CPT_ROW_ALIGN)
        for (int j = 0; j < CPT_ROW_ALIGN; j++) lanes[j] += (x[i + j] - y[i + j]) * (x[i + j] - y[i + j]);
    for (int width = CPT_ROW_ALIGN / 2; width; width /= 2)
        for (int j = 0; j < width; j++) lanes[j] += lanes[j + width];
    return lanes[0];
}

static void axpy(float alpha, const float *restrict x, float *restrict y, int64_t n)
{
    for (int64_t i = 0; i < n; i += CPT_ROW_ALIGN)
        for (int j = 0; j < CPT_ROW_ALIGN; j++) y[i + j] += alpha * x[i + j];
}

static float rounding(const float *x, int64_t n, float *rest)
{
    float squares[CPT_ROW_ALIGN] = {0}, rests[CPT_ROW_ALIGN] = {0}, sum = 0;
    *rest = 0;
    for (int64_t i = 0; i < n; i += CPT_ROW_ALIGN)
        for (int j = 0; j < CPT_ROW_ALIGN; j++) {
            uint32_t bits;
            float rounded;
            memcpy(&bits, x + i + j, sizeof bits);
            bits = (bits + 0x7fffu + (bits >> 16 & 1)) & 0xffff0000u;
            memcpy(&rounded, &bits, sizeof bits);
            squares[j] += x[i + j] * x[i + j];
            rests[j] += (x[i + j] - rounded) * (x[i + j] - rounded);
        }
    for (int j = 0; j < CPT_ROW_ALIGN; j++) {
        sum += squares[j];
        *rest += rests[j];
    }
    return sum;
}

static void adam(const cpt_adam *s, const float *restrict g, float *restrict m, float *restrict v,
                 float *restrict w, int64_t n)
{
    const float b1 = s->beta1, b2 = s->beta2, eps = s->eps, root = s->inverse_root;
    const float step = s->step, scale = s->scale, rest1 = s->rest1, rest2 = s->rest2;
    if (!g) {
        for (int64_t i = 0; i < n; i++) {
            m[i] *= b1;
            v[i] *= b2;
            w[i] -= step * m[i] / (sqrtf(v[i]) * root + eps);
        }
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        float gi = g[i] * scale;
        m[i] = b1 * m[i] + rest1 * gi;
        v[i] = b2 * v[i] + rest2 * gi * gi;
        w[i] -= step * m[i] / (sqrtf(v[i]) * root + eps);
    }
}

const cpt_row_kernels CPT_LEVEL_NAME(cpt_row_kernels) = {dot, distance2, axpy, rounding, adam};
CPT_KERNEL_DISPATCH(cpt_row_kernels)

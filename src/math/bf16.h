/* bf16.h - matrix products of numbers rounded to bfloat16, summed in f32.
 *
 * A bfloat16 is the upper half of a float: its range, and 8 bits of precision. Products of two are
 * exact in f32; only the sums round. On processors with AVX512-BF16 one instruction multiplies and
 * adds 32 pairs; elsewhere the same is computed by widening, with sums in another order.
 *
 * The right-hand matrix ("weights", [n_out][n_in]) is packed once: panels of CPT_BF16_PANEL
 * outputs, within a panel pairs of inputs side by side. Odd n_in and the last panel are padded with
 * 0. */
#ifndef CPT_MATH_BF16_H
#define CPT_MATH_BF16_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CPT_BF16_PANEL = 64 };

static inline int64_t cpt_bf16_row(int64_t n_in) /* numbers in a rounded row: even */
{
    return (n_in + 1) / 2 * 2;
}
static inline size_t cpt_bf16_packed(int64_t n_out, int64_t n_in) /* numbers in packed weights */
{
    return (size_t)((n_out + CPT_BF16_PANEL - 1) / CPT_BF16_PANEL * CPT_BF16_PANEL) *
           (size_t)cpt_bf16_row(n_in);
}
/* To nearest, ties to even; NaN stays NaN. Subnormal numbers become 0, as the instructions have it.
 */
uint16_t cpt_bf16_of(float x);
float cpt_bf16_value(uint16_t x);

typedef struct cpt_bf16_kernels {
    /* out [n][cpt_bf16_row(width)] = in [n][width], row stride in_stride */
    void (*round)(int64_t n, int64_t width, int64_t in_stride, const float *in, uint16_t *out);
    /* Weight (o, i) lies at w[o * out_step + i * in_step]: also packs transposed matrices. */
    void (*pack)(int64_t n_out, int64_t n_in, const float *w, int64_t out_step, int64_t in_step,
                 uint16_t *packed);
    /* out [n][n_out], row stride out_stride, = in [n][cpt_bf16_row(n_in)] weights'. A row's result
     * does not depend on n. */
    void (*multiply)(int64_t n, int64_t n_in, int64_t n_out, const uint16_t *in,
                     const uint16_t *packed, float *out, int64_t out_stride);
} cpt_bf16_kernels;

const cpt_bf16_kernels *cpt_bf16_kernels_get(void);
const cpt_bf16_kernels *cpt_bf16_kernels_at(int level); /* tests; NULL when the CPU lacks it */
/* The processor has the instructions, and the level in use may use them. */
bool cpt_bf16_native(void);

#endif

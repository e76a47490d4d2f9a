/* Products of bfloat16 matrices (math/bf16.h).
 *
 * The native kernel holds a tile of 6 rows x 64 outputs in 24 of the 32 vector registers; per pair
 * of inputs it loads 4 vectors of weights and broadcasts 6 pairs of inputs. A panel of weights (64
 * outputs x n_in) is read once per 6 rows out of the second-level cache. Sums run over the inputs
 * in ascending order, one chain per output: a row's result does not depend on its neighbours.
 *
 * The plain kernel widens and multiplies by the compiler's own vectors; it is the reference, and
 * what processors without AVX512-BF16 use. The native one flushes subnormal numbers to 0 and adds
 * the odd input of a pair first, so that both agree to rounding only. */
#include "math/bf16.h"

#include <math.h>
#include <string.h>

#include "base/cpu.h"

#if CPT_LEVEL == 2 && defined(__x86_64__)
#include <immintrin.h>
#define HAVE_NATIVE 1
#endif

static inline uint16_t rounded(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(bits >> 16 | 0x40u);
    if ((bits & 0x7f800000u) == 0) return (uint16_t)(bits >> 16 & 0x8000u);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

static inline float value_of(uint16_t x)
{
    const uint32_t bits = (uint32_t)x << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void round_rows(int64_t n, int64_t width, int64_t in_stride, const float *in, uint16_t *out)
{
    const int64_t row = cpt_bf16_row(width);
    for (int64_t i = 0; i < n; i++) {
        const float *from = in + i * in_stride;
        uint16_t *to = out + i * row;
        for (int64_t j = 0; j < width; j++) to[j] = rounded(from[j]);
        if (row > width) to[width] = 0;
    }
}

static void pack(int64_t n_out, int64_t n_in, const float *w, int64_t out_step, int64_t in_step,
                 uint16_t *packed)
{
    const int64_t pairs = cpt_bf16_row(n_in) / 2;
    memset(packed, 0, cpt_bf16_packed(n_out, n_in) * sizeof *packed);
    for (int64_t o = 0; o < n_out; o++) {
        uint16_t *column =
            packed + (o / CPT_BF16_PANEL * pairs * CPT_BF16_PANEL + o % CPT_BF16_PANEL) * 2;
        for (int64_t i = 0; i < n_in; i++)
            column[i / 2 * CPT_BF16_PANEL * 2 + i % 2] = rounded(w[o * out_step + i * in_step]);
    }
}

/* One row against one panel. */
static void plain_row(int64_t pairs, const uint16_t *in, const uint16_t *panel, float *sums)
{
    memset(sums, 0, CPT_BF16_PANEL * sizeof *sums);
    for (int64_t k = 0; k < pairs; k++) {
        const float a = value_of(in[2 * k]), b = value_of(in[2 * k + 1]);
        const uint16_t *w = panel + k * CPT_BF16_PANEL * 2;
        for (int64_t j = 0; j < CPT_BF16_PANEL; j++)
            sums[j] += b * value_of(w[2 * j + 1]) + a * value_of(w[2 * j]);
    }
}

static void plain_multiply(int64_t n, int64_t n_in, int64_t n_out, const uint16_t *in,
                           const uint16_t *packed, float *out, int64_t out_stride)
{
    const int64_t row = cpt_bf16_row(n_in);
    for (int64_t from = 0; from < n_out; from += CPT_BF16_PANEL) {
        const int64_t width = n_out - from < CPT_BF16_PANEL ? n_out - from : CPT_BF16_PANEL;
        for (int64_t i = 0; i < n; i++) {
            float sums[CPT_BF16_PANEL];
            plain_row(row / 2, in + i * row, packed + from * row, sums);
            memcpy(out + i * out_stride + from, sums, (size_t)width * sizeof *sums);
        }
    }
}

#ifdef HAVE_NATIVE
#define NATIVE __attribute__((target("avx512bf16")))
enum { TILE = 6, LANES = 16, VECTORS = CPT_BF16_PANEL / LANES };

/* `rows` is a constant at every call, so that the sums live in registers. */
NATIVE static inline __attribute__((always_inline)) void
native_tile(int rows, int64_t pairs, const uint16_t *in, int64_t row, const uint16_t *panel,
            const __mmask16 *masks, float *out, int64_t out_stride)
{
    __m512 sums[TILE][VECTORS];
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < VECTORS; v++) sums[i][v] = _mm512_setzero_ps();
    for (int64_t k = 0; k < pairs; k++) {
        const uint16_t *w = panel + k * CPT_BF16_PANEL * 2;
        __m512bh weights[VECTORS];
        for (int v = 0; v < VECTORS; v++)
            weights[v] = (__m512bh)_mm512_loadu_si512(w + v * 2 * LANES);
        for (int i = 0; i < rows; i++) {
            int32_t pair;
            memcpy(&pair, in + i * row + 2 * k, sizeof pair);
            const __m512bh a = (__m512bh)_mm512_set1_epi32(pair);
            for (int v = 0; v < VECTORS; v++)
                sums[i][v] = _mm512_dpbf16_ps(sums[i][v], a, weights[v]);
        }
    }
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < VECTORS; v++)
            _mm512_mask_storeu_ps(out + i * out_stride + v * LANES, masks[v], sums[i][v]);
}

NATIVE static void native_rows(int64_t n, int64_t pairs, const uint16_t *in, const uint16_t *panel,
                               const __mmask16 *masks, float *out, int64_t out_stride)
{
    const int64_t row = 2 * pairs;
    int64_t i = 0;
    for (; i + TILE <= n; i += TILE)
        native_tile(TILE, pairs, in + i * row, row, panel, masks, out + i * out_stride, out_stride);
    in += i * row;
    out += i * out_stride;
    switch (n - i) {
    case 5: native_tile(5, pairs, in, row, panel, masks, out, out_stride); break;
    case 4: native_tile(4, pairs, in, row, panel, masks, out, out_stride); break;
    case 3: native_tile(3, pairs, in, row, panel, masks, out, out_stride); break;
    case 2: native_tile(2, pairs, in, row, panel, masks, out, out_stride); break;
    case 1: native_tile(1, pairs, in, row, panel, masks, out, out_stride); break;
    default: break;
    }
}

NATIVE static void native_multiply(int64_t n, int64_t n_in, int64_t n_out, const uint16_t *in,
                                   const uint16_t *packed, float *out, int64_t out_stride)
{
    const int64_t row = cpt_bf16_row(n_in);
    for (int64_t from = 0; from < n_out; from += CPT_BF16_PANEL) {
        __mmask16 masks[VECTORS];
        for (int v = 0; v < VECTORS; v++) {
            const int64_t left = n_out - from - v * LANES;
            masks[v] = left >= LANES ? 0xffff : left > 0 ? (__mmask16)((1u << left) - 1) : 0;
        }
        native_rows(n, row / 2, in, packed + from * row, masks, out + from, out_stride);
    }
}

static void multiply(int64_t n, int64_t n_in, int64_t n_out, const uint16_t *in,
                     const uint16_t *packed, float *out, int64_t out_stride)
{
    if (cpt_cpu_level() >= CPT_CPU_AVX512_BF16)
        native_multiply(n, n_in, n_out, in, packed, out, out_stride);
    else plain_multiply(n, n_in, n_out, in, packed, out, out_stride);
}
#else
#define multiply plain_multiply
#endif

extern const cpt_bf16_kernels CPT_LEVEL_NAME(cpt_bf16_kernels);
const cpt_bf16_kernels CPT_LEVEL_NAME(cpt_bf16_kernels) = {round_rows, pack, multiply};
CPT_KERNEL_DISPATCH(cpt_bf16_kernels)

#if CPT_LEVEL == 0
uint16_t cpt_bf16_of(float x)
{
    return rounded(x);
}

float cpt_bf16_value(uint16_t x)
{
    return value_of(x);
}

bool cpt_bf16_native(void)
{
#if defined(__x86_64__)
    return cpt_cpu_level() >= CPT_CPU_AVX512_BF16;
#else
    return false;
#endif
}
#endif

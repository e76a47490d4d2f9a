/* parts.h - numbers as sums of bfloat16, in vectors of 16: what the kernels of math/gemm.h and math/head.h share. */
#ifndef CPT_MATH_KERNELS_PARTS_H
#define CPT_MATH_KERNELS_PARTS_H

#include <stdbool.h>
#include <stdint.h>

#if CPT_LEVEL == 2 && defined(__x86_64__)
#include <immintrin.h>
#define HAVE_AVX512 1
#endif

/* Where registers are shorter the compiler uses several. By address in calls: how vectors are passed depends on the
 * level. */
typedef float floats __attribute__((vector_size(64)));
typedef uint32_t words __attribute__((vector_size(64)));

/* The nearest bfloat16 as a float's bits; NaN stays NaN. Ties: to even where it is the only part, else away from 0: with
 * the parts that follow the sum is exact anyway. */
static inline __attribute__((always_inline)) void round_part(const floats *x, bool even, words *out)
{
    const words bits = (words)*x, nan = (words)(*x != *x);
    const words half = even ? 0x7fff + (bits >> 16 & 1) : (bits & 0) + 0x8000;
    const words rounded = (bits + half) & 0xffff0000u;
    *out = (rounded & ~nan) | (nan & 0x7fc00000u);
}

/* Takes part `part` (from 0) of `parts` out of the rest x, as a float's bits. As above without looking for NaN: those that
 * arithmetic makes stay NaN. The third part is what is left as it is. */
static inline __attribute__((always_inline)) void take_part(int parts, int part, floats *x, words *out)
{
    words bits = (words)*x;
    if (parts == 1) bits += 0x7fff + (bits >> 16 & 1);
    else if (part < 2) bits += 0x8000;
    *out = bits & 0xffff0000u;
    *x -= (floats)*out;
}

/* 16 x 16 dwords, of integers or floats; strides in dwords. */
typedef uint32_t __attribute__((may_alias)) dword;
#ifdef HAVE_AVX512
static inline void transpose(const dword *in, int64_t in_stride, dword *out, int64_t out_stride)
{
    enum { TILE = 16 };
    __m512i a[TILE], b[TILE];
    for (int i = 0; i < TILE; i++) a[i] = _mm512_loadu_si512(in + i * in_stride);
    for (int i = 0; i < TILE; i += 2) {
        b[i] = _mm512_unpacklo_epi32(a[i], a[i + 1]);
        b[i + 1] = _mm512_unpackhi_epi32(a[i], a[i + 1]);
    }
    for (int i = 0; i < TILE; i += 4) /* a[i + j]: columns j, j + 4 ... of rows i .. i + 3 */
        for (int j = 0; j < 2; j++) {
            a[i + 2 * j] = _mm512_unpacklo_epi64(b[i + j], b[i + j + 2]);
            a[i + 2 * j + 1] = _mm512_unpackhi_epi64(b[i + j], b[i + j + 2]);
        }
    for (int j = 0; j < 4; j++) {
        b[j] = _mm512_shuffle_i32x4(a[j], a[j + 4], 0x88);
        b[j + 4] = _mm512_shuffle_i32x4(a[j], a[j + 4], 0xdd);
        b[j + 8] = _mm512_shuffle_i32x4(a[j + 8], a[j + 12], 0x88);
        b[j + 12] = _mm512_shuffle_i32x4(a[j + 8], a[j + 12], 0xdd);
    }
    for (int j = 0; j < 4; j++) {
        _mm512_storeu_si512(out + j * out_stride, _mm512_shuffle_i32x4(b[j], b[j + 8], 0x88));
        _mm512_storeu_si512(out + (j + 8) * out_stride, _mm512_shuffle_i32x4(b[j], b[j + 8], 0xdd));
        _mm512_storeu_si512(out + (j + 4) * out_stride, _mm512_shuffle_i32x4(b[j + 4], b[j + 12], 0x88));
        _mm512_storeu_si512(out + (j + 12) * out_stride, _mm512_shuffle_i32x4(b[j + 4], b[j + 12], 0xdd));
    }
}
#else
static inline void transpose(const dword *in, int64_t in_stride, dword *out, int64_t out_stride)
{
    for (int i = 0; i < 16; i++)
        for (int j = 0; j < 16; j++) out[j * out_stride + i] = in[i * in_stride + j];
}
#endif

#endif

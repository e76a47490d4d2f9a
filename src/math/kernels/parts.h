/* parts.h - numbers as sums of bfloat16, in vectors of 16: what the kernels of math/gemm.h and math/head.h share. */
#ifndef CPT_MATH_KERNELS_PARTS_H
#define CPT_MATH_KERNELS_PARTS_H

#include <stdbool.h>
#include <stdint.h>

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

#endif

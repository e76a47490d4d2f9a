/* chains.h - independent multiply-adds in registers: the limit of f32 that bench_peak and bench_kernels show. */
#ifndef CPT_BENCH_CHAINS_H
#define CPT_BENCH_CHAINS_H

#if defined(__x86_64__)
#include <immintrin.h>

enum { CHAINS = 24 };
/* Named one by one: in an array they would be kept in memory. */
#define EACH(f) f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9) f(10) f(11)
#define MORE(f) f(12) f(13) f(14) f(15) f(16) f(17) f(18) f(19) f(20) f(21) f(22) f(23)
#define HOLD(i) __asm__ volatile("" : "+v"(s##i));
#define START(i) __m512 s##i = _mm512_set1_ps(i);
#define FMA(i) s##i = _mm512_fmadd_ps(s##i, a, b);

/* 24 chains of 16 numbers, `turns` multiply-adds each. */
__attribute__((target("avx512f"))) static inline void fma_512(long turns)
{
    __m512 a = _mm512_set1_ps(1.0000001f), b = _mm512_set1_ps(1e-9f);
    EACH(START) MORE(START)
    for (long t = 0; t < turns; t++) {
        EACH(FMA) MORE(FMA)
    }
    EACH(HOLD) MORE(HOLD)
}
#endif

#endif

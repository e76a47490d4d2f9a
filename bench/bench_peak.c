/* The machine's limits on the threads that the other programs get: multiply-adds in registers (f32, bf16
 * pairs, AMX tiles), reading memory, and the triad a = b + s c.
 *
 *     build/bench/bench_peak [threads]
 *
 * Arithmetic: independent chains in registers, no memory. What the processor lacks is not printed. */
#include <omp.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <immintrin.h>
#include <sys/syscall.h>
#endif

#include "base/cpu.h"
#include "bench.h"
#include "chains.h"

enum { REPEATS = 7, TURNS = 4000000 };

/* One rate: GFLOP of one thread's run(TURNS), best and median are close; the best is the limit. */
static void arithmetic(const char *what, int threads, double flop_per_turn, long turns, void (*run)(long))
{
    double best = 0;
    for (int i = 0; i < REPEATS; i++) {
        double from = bench_now();
#pragma omp parallel num_threads(threads)
        run(turns);
        double rate = 1e-9 * flop_per_turn * (double)turns * threads / (bench_now() - from);
        best = rate > best ? rate : best;
    }
    bench_line("peak", what, best, "GFLOP/s");
}

static volatile float sink;

#if defined(__x86_64__)
#define HOLD_YMM(i) __asm__ volatile("" : "+x"(s##i));
#define DOT(i) s##i = _mm512_dpbf16_ps(s##i, a, b);
#define START_YMM(i) __m256 s##i = _mm256_set1_ps(i);
#define FMA_YMM(i) s##i = _mm256_fmadd_ps(s##i, a, b);

__attribute__((target("avx2,fma"))) static void fma_256(long turns)
{
    __m256 a = _mm256_set1_ps(1.0000001f), b = _mm256_set1_ps(1e-9f);
    EACH(START_YMM)
    for (long t = 0; t < turns; t++) {
        EACH(FMA_YMM)
    }
    EACH(HOLD_YMM)
}

__attribute__((target("avx512f,avx512bw,avx512bf16"))) static void bf16_512(long turns)
{
    __m512bh a = _mm512_cvtne2ps_pbh(_mm512_set1_ps(1), _mm512_set1_ps(1)), b = a;
    EACH(START) MORE(START)
    for (long t = 0; t < turns; t++) {
        EACH(DOT) MORE(DOT)
    }
    EACH(HOLD) MORE(HOLD)
}

/* Four accumulator tiles of 16 x 16, two of 16 x 32 bf16 pairs a side: 4 x 16 x 16 x 32 multiply-adds. */
__attribute__((target("amx-tile,amx-bf16"))) static void amx(long turns)
{
    struct {
        uint8_t palette, start, reserved[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } config = {.palette = 1};
    uint16_t numbers[16 * 32]; /* bfloat16 of all sizes: zeros take less power and run faster */
    for (int i = 0; i < 16 * 32; i++) numbers[i] = (uint16_t)(0x3c00 + i * 37 % 0x3ff);
    for (int i = 0; i < 8; i++) config.bytes[i] = 64, config.rows[i] = 16;
    __asm__ volatile("" ::"r"(&config), "r"(numbers) : "memory"); /* gcc 12 believes that only its first 8 bytes are read */
    _tile_loadconfig(&config);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_loadd(4, numbers, 64);
    _tile_loadd(5, numbers, 64);
    _tile_loadd(6, numbers, 64);
    _tile_loadd(7, numbers, 64);
    for (long t = 0; t < turns; t++) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_release();
}

/* Linux gives AMX state to a process that asks for it (ARCH_REQ_XCOMP_PERM, XTILEDATA). */
static bool amx_allowed(void)
{
    unsigned a = 7, b, c = 0, d;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    return (d >> 22 & 1) && (d >> 24 & 1) && syscall(SYS_arch_prctl, 0x1023, 18) == 0;
}

static void all_arithmetic(int threads)
{
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f")) arithmetic("f32", threads, CHAINS * 16 * 2, TURNS, fma_512);
    else if (__builtin_cpu_supports("fma")) arithmetic("f32", threads, 12 * 8 * 2, 2 * TURNS, fma_256);
    if (__builtin_cpu_supports("avx512bf16"))
        arithmetic("bf16", threads, CHAINS * 32 * 2, TURNS, bf16_512);
    if (amx_allowed()) arithmetic("amx", threads, 4 * 16 * 16 * 32 * 2, TURNS, amx);
}
#else
static void multiply_add(long turns)
{
    enum { N = 64 };
    float s[N];
    for (int i = 0; i < N; i++) s[i] = (float)i;
    for (long t = 0; t < turns; t++)
        for (int i = 0; i < N; i++) s[i] = s[i] * 1.0000001f + 1e-9f;
    for (int i = 1; i < N; i++) s[0] += s[i];
    sink = s[0];
}
static void all_arithmetic(int threads)
{
    arithmetic("f32", threads, 64 * 2, TURNS, multiply_add);
}
#endif

enum { FLOATS = 64 << 20 }; /* 256 MiB an array */

enum { BLOCK = 1 << 16, LANES = 64 };

/* Enough sums at once that the adder's latency does not count. */
static float block_sum(const float *x)
{
    float s[LANES] = {0};
    for (int i = 0; i < BLOCK; i += LANES)
        for (int j = 0; j < LANES; j++) s[j] += x[i + j];
    for (int j = 1; j < LANES; j++) s[0] += s[j];
    return s[0];
}

static void memory(int threads)
{
    float *a = malloc(sizeof *a * FLOATS), *b = malloc(sizeof *b * FLOATS), *c = malloc(sizeof *c * FLOATS);
    double read[REPEATS], triad[REPEATS], total = 0;
    if (!a || !b || !c) exit(1);
#pragma omp parallel for num_threads(threads)
    for (int i = 0; i < FLOATS; i++) a[i] = b[i] = c[i] = 1;
    for (int r = 0; r < REPEATS; r++) {
        double from = bench_now();
        double sum = 0;
#pragma omp parallel for num_threads(threads) reduction(+ : sum)
        for (int i = 0; i < FLOATS; i += BLOCK) sum += (double)block_sum(a + i);
        read[r] = 4e-9 * FLOATS / (bench_now() - from);
        total += sum;
        from = bench_now();
#pragma omp parallel for simd num_threads(threads)
        for (int i = 0; i < FLOATS; i++) a[i] = b[i] + 1.5f * c[i];
        triad[r] = 12e-9 * FLOATS / (bench_now() - from);
    }
    sink = (float)total;
    bench_line("peak", "read", bench_median(read, REPEATS), "GB/s");
    bench_line("peak", "triad", bench_median(triad, REPEATS), "GB/s");
    free(a);
    free(b);
    free(c);
}

int main(int argc, char **argv)
{
    const int threads = argc > 1 ? atoi(argv[1]) : omp_get_max_threads();
    all_arithmetic(threads);
    memory(threads);
    return 0;
}

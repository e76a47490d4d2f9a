/* Kernels beside the machine's limits, which are measured in the same run.
 *
 *     build/bench/bench_kernels [threads]       (OPENBLAS_CORETYPE unset)
 *
 * One line per figure: kernels, what, rate, unit, share of the limit. Products: shapes of the models' layers, rows cut
 * among the threads, every level of the processor, packing not counted (it is shown for itself); OpenBLAS beside them.
 * Limit of f32: multiply-adds in registers; on AMX tile products of numbers that are not 0 (zeros take less power and
 * run faster), a sixth of that for F32, a third for SPLIT. Limit of what goes through rows once: reading memory. */
#include <omp.h>
#include <stdint.h>
#include <string.h>
#include "base/cpu.h"
#include "bench.h"
#include "chains.h"
#include "math/attention.h"
#include "math/blas.h"
#include "math/gemm.h"
#include "math/rows.h"
#include "math/topk.h"

enum { REPEATS = 5 };
static double fma_peak, tile_peak, read_peak; /* per thread count in use: GFLOP/s, GFLOP/s, GB/s */

static float *numbers(int64_t n)
{
    float *x = aligned_alloc(64, ((size_t)n * sizeof *x + 127) / 64 * 64);
    uint32_t s = 1;
    if (!x) exit(1);
    for (int64_t i = 0; i < n; i++) {
        s = s * 1664525u + 1013904223u;
        x[i] = (float)(s >> 8) * 0x1p-24f - 0.5f;
    }
    return x;
}

static void line(const char *what, double rate, const char *unit, double limit)
{
    printf("kernels\t%s\t%.4g\t%s\t", what, rate, unit);
    if (limit > 0) printf("%.0f %%\n", 100 * rate / limit);
    else printf("\n");
    fflush(stdout);
}

/* ---- limits ---- */

static volatile float sink;

/* Multiply-adds in registers. Below AVX-512 the share is not shown. */
static double measure_fma(int threads)
{
    double best = 0;
#if defined(__x86_64__)
    enum { TURNS = 4000000 };
    if (cpt_cpu_best() < CPT_CPU_AVX512) return 0;
    for (int i = 0; i < REPEATS; i++) {
        const double from = bench_now();
#pragma omp parallel num_threads(threads)
        fma_512(TURNS);
        const double rate = 1e-9 * CHAINS * 32 * TURNS * threads / (bench_now() - from);
        best = rate > best ? rate : best;
    }
#endif
    return best;
}

/* The tile kernel itself on 32 rows x 32 outputs x 256 inputs, which stay in the first-level cache. */
static double measure_tiles(int threads)
{
    enum { IN = 256, TURNS = 30000 };
    const cpt_gemm_kernels *k = cpt_gemm_kernels_at(CPT_CPU_AMX);
    double best = 0;
    if (!k) return 0;
    for (int i = 0; i < REPEATS; i++) {
        const double from = bench_now();
#pragma omp parallel num_threads(threads)
        {
            float *in = numbers(32 * IN), *w = numbers(32 * IN), *sums = numbers(32 * 32);
            uint32_t *tiles = (uint32_t *)numbers(32 * IN), *panel = (uint32_t *)numbers(32 * IN);
            k->split_rows(1, 32, IN, in, IN, tiles);
            k->pack_parts(1, IN, 32, w, IN, 1, panel);
            const cpt_tile_job job = {.parts = 1, .add = true, .rows = 32, .outs = 32, .blocks = IN / 32,
                                      .tiles = tiles, .row_tiles = IN / 32, .panel = panel, .sums = sums};
            k->begin_amx();
            for (int t = 0; t < TURNS; t++) k->parts_amx(&job);
            k->end_amx();
            free(in);
            free(w);
            free(sums);
            free(tiles);
            free(panel);
        }
        const double rate = 2e-9 * 32 * 32 * IN * TURNS * threads / (bench_now() - from);
        best = rate > best ? rate : best;
    }
    return best;
}

static double measure_read(int threads)
{
    const int64_t n = 64 << 20;
    float *x = numbers(n);
    double best = 0;
    for (int i = 0; i < REPEATS; i++) {
        const double from = bench_now();
        double sum = 0;
#pragma omp parallel for num_threads(threads) reduction(+ : sum) schedule(static)
        for (int64_t b = 0; b < n / 4096; b++) sum += (double)cpt_row_kernels_get()->dot(x + b * 4096, x + b * 4096, 4096);
        sink = (float)sum;
        const double rate = 4e-9 * (double)n / (bench_now() - from);
        best = rate > best ? rate : best;
    }
    free(x);
    return best;
}

/* ---- products ---- */

typedef struct shape {
    int64_t rows, inputs, outputs;
    const char *what;
} shape;
static const shape shapes[] = {{1200, 512, 1536, "1200x512x1536"},     {1200, 512, 512, "1200x512x512"},
                               {4096, 512, 4096, "4096x512x4096"},     {1024, 512, 4096, "1024x512x4096"},
                               {128, 4000, 128, "128x4000x128"},       {1024, 10, 320, "1024x10x320"},
                               {1200, 64, 1200, "1200x64x1200 (QK^T)"}, {1200, 1200, 64, "1200x1200x64 (PV)"}};

static double limit_of(const cpt_packed *p)
{
    static const double products[] = {0, 1, 3, 6};
    if (p->parts == 0) return fma_peak;
    return p->level >= CPT_CPU_AMX ? tile_peak / products[p->parts] : 0;
}

static void product_line(const shape *z, const char *how, int level, int threads, double seconds, double limit)
{
    char what[128];
    snprintf(what, sizeof what, "%s, %s%s%s, %d threads", z->what, how, level < 0 ? "" : " ",
             level < 0 ? "" : cpt_cpu_level_name(level), threads);
    line(what, 2e-9 * (double)(z->rows * z->inputs * z->outputs) / seconds, "GFLOP/s", limit);
}

static double once(const shape *z, const cpt_packed *p, const float *in, float *out, int threads)
{
    int64_t step = (z->rows / threads + 31) / 32 * 32;
    if (step > 256 * 2) step = 512;
    const double from = bench_now();
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (int64_t r = 0; r < z->rows; r += step)
        cpt_multiply(p, z->rows - r < step ? z->rows - r : step, in + r * z->inputs, z->inputs, out + r * z->outputs,
                     z->outputs, NULL);
    return bench_now() - from;
}

static double median_of(const shape *z, const cpt_packed *p, const float *in, const float *w, float *out, int threads)
{
    double times[64];
    int n = (int)(4e9 / (double)(z->rows * z->inputs * z->outputs));
    n = n < REPEATS ? REPEATS : n > 63 ? 63 : n;
    for (int i = 0; i <= n; i++) {
        double from = bench_now();
        if (p) times[i] = once(z, p, in, out, threads);
        else {
            cpt_gemm(false, true, z->rows, z->outputs, z->inputs, 1, in, z->inputs, w, z->inputs, 0, out, z->outputs,
                     threads);
            times[i] = bench_now() - from;
        }
    }
    return bench_median(times + 1, n); /* the first one warms up */
}

static void products(const shape *z, int threads)
{
    static const char *const names[] = {"f32", "split", "bf16"};
    float *in = numbers(z->rows * z->inputs), *w = numbers(z->outputs * z->inputs), *out = numbers(z->rows * z->outputs);
    void *memory = aligned_alloc(64, (size_t)(z->outputs + 32) * (size_t)(z->inputs + 32) * 6 / 64 * 64 + 64);
    if (!memory) exit(1);
    product_line(z, "OpenBLAS", -1, threads, median_of(z, NULL, in, w, out, threads), fma_peak);
    for (int level = 0; level <= cpt_cpu_best(); level++)
        for (int precision = CPT_GEMM_F32; precision <= CPT_GEMM_BF16; precision++) {
            cpt_packed p;
            if (level < CPT_CPU_AVX512 && (precision != CPT_GEMM_F32 || threads > 1)) continue;
            if (level < CPT_CPU_AMX && precision == CPT_GEMM_SPLIT) continue; /* the same as f32 */
            if (level == CPT_CPU_AVX512_BF16 && precision == CPT_GEMM_F32) continue; /* as avx512 */
            const double from = bench_now();
            cpt_pack_at(level, (cpt_precision)precision, z->outputs, z->inputs, w, z->inputs, 1, memory, &p);
            const double packing = bench_now() - from;
            const double seconds = median_of(z, &p, in, NULL, out, threads);
            product_line(z, names[precision], level, threads, seconds,
                         level >= CPT_CPU_AVX512 ? limit_of(&p) : 0);
            if (threads == 1 && level == cpt_cpu_best() && precision == CPT_GEMM_F32) {
                char what[96];
                snprintf(what, sizeof what, "%s, packing f32 / product", z->what);
                line(what, packing / seconds, "", 0);
            }
        }
    free(in);
    free(w);
    free(out);
    free(memory);
}

/* ---- rows ---- */

enum { ROW = 1200, N_ROWS = 16384 };

static void softmax_rows(int level, int64_t n, float *x, float *scratch)
{
    cpt_attention_kernels_at(level)->softmax(n, ROW, ROW, 0.125f, x, NULL, scratch);
}
static void norm_rows(int level, int64_t n, float *x, float *scratch)
{
    cpt_attention_kernels_at(level)->layer_norm(n, ROW, x, scratch, scratch + ROW, x);
}
static void topk_rows(int level, int64_t n, float *x, float *scratch)
{
    int32_t index[32];
    float value[32];
    for (int64_t i = 0; i < n; i++) cpt_topk_kernels_at(level)->row(x + i * ROW, ROW, 32, 0, index, value, scratch);
}

static void rows_line(const char *what, void (*run)(int, int64_t, float *, float *), int level, int threads, double bytes)
{
    enum { STEP = 64 };
    float *x = numbers((int64_t)N_ROWS * ROW);
    double times[REPEATS];
    for (int i = -1; i < REPEATS; i++) {
        const double from = bench_now();
#pragma omp parallel num_threads(threads)
        {
            float *scratch = numbers(8 * ROW + 1024);
#pragma omp for schedule(static)
            for (int64_t r = 0; r < N_ROWS; r += STEP) run(level, STEP, x + r * ROW, scratch);
            free(scratch);
        }
        if (i >= 0) times[i] = bench_now() - from;
    }
    char name[96];
    snprintf(name, sizeof name, "%s of rows of %d, %s, %d threads", what, ROW, cpt_cpu_level_name(level), threads);
    line(name, 1e-9 * bytes * N_ROWS * ROW / bench_median(times, REPEATS), "GB/s", read_peak);
    free(x);
}

int main(int argc, char **argv)
{
    const int most = argc > 1 ? atoi(argv[1]) : omp_get_max_threads();
    cpt_cpu_best(); /* asks for the tiles before there are threads */
    printf("OpenBLAS %s, kernels %s\n", cpt_blas_core_name(), cpt_cpu_level_name(cpt_cpu_best()));
    for (int threads = 1; threads <= most; threads += threads == most ? 1 : most - threads) {
        char what[64];
        fma_peak = measure_fma(threads);
        tile_peak = measure_tiles(threads);
        read_peak = measure_read(threads);
        snprintf(what, sizeof what, "limit: f32 multiply-adds, %d threads", threads);
        line(what, fma_peak, "GFLOP/s", 0);
        snprintf(what, sizeof what, "limit: bfloat16 tiles, %d threads", threads);
        line(what, tile_peak, "GFLOP/s", 0);
        snprintf(what, sizeof what, "limit: reading memory, %d threads", threads);
        line(what, read_peak, "GB/s", 0);
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) products(&shapes[i], threads);
        for (int level = 0; level <= cpt_cpu_best() && level <= CPT_CPU_AVX512; level++) {
            if (threads > 1 && level < CPT_CPU_AVX512) continue;
            rows_line("softmax", softmax_rows, level, threads, 8);
            rows_line("layer norm", norm_rows, level, threads, 8);
            rows_line("top 32", topk_rows, level, threads, 4);
        }
    }
    return 0;
}

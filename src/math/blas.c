#include "math/blas.h"
#include "base/cpu.h"

#include <cblas.h>
#include <omp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* C is cut into tiles of fixed size; K is never cut, so every element of C is summed by one call in
 * one order whatever the thread count. The tile shape balances the 1-thread efficiency of OpenBLAS
 * (it wants >= 64 rows and >= 256 columns) against parallel slack for two to sixteen threads. */
enum { TILE_ROWS = 128, TILE_COLS = 512 };

/* A product below this many multiply-adds is not worth waking threads for. */
static const double SERIAL_WORK = 1e6;

extern void openblas_set_num_threads(int n);
extern char *openblas_get_corename(void);

/* Exported by builds of OpenBLAS that choose their kernels at run time; absent from others. */
extern void gotoblas_dynamic_init(void) __attribute__((weak));
extern void gotoblas_dynamic_quit(void) __attribute__((weak));

/* OpenBLAS tells processors by a table of models; on one newer than the library (Emerald Rapids with
 * the 0.3.21 of Debian 12) it falls back to "Prescott": SSE3, five times slower. Then the choice is made
 * again, by what the processor can do. A choice of the user's stands. */
static void leave_prescott(void)
{
    const int best = cpt_cpu_best();
    const char *core = best >= CPT_CPU_AVX512 ? "SkylakeX" : best == CPT_CPU_AVX2 ? "Haswell" : NULL;
    const char *variable = "OPENBLAS_CORETYPE";
    if (!core || getenv(variable) || strcmp(openblas_get_corename(), "Prescott") != 0) return;
    if (!gotoblas_dynamic_init || !gotoblas_dynamic_quit || setenv(variable, core, 1) != 0) return;
    gotoblas_dynamic_quit();
    gotoblas_dynamic_init();
    unsetenv(variable);
}

static void set_single_thread(void)
{
    leave_prescott();
    openblas_set_num_threads(1);
}

void cpt_blas_single_thread(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, set_single_thread);
}

const char *cpt_blas_core_name(void)
{
    cpt_blas_single_thread();
    return openblas_get_corename();
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

void cpt_gemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, float alpha,
              const float *a, int64_t lda, const float *b, int64_t ldb, float beta, float *c,
              int64_t ldc, int n_threads)
{
    if (m <= 0 || n <= 0) return;
    cpt_blas_single_thread();
    CBLAS_TRANSPOSE ta = trans_a ? CblasTrans : CblasNoTrans, tb = trans_b ? CblasTrans : CblasNoTrans;
    int64_t tile_rows = (m + TILE_ROWS - 1) / TILE_ROWS, tile_cols = (n + TILE_COLS - 1) / TILE_COLS;
    bool parallel = n_threads > 1 && (double)m * (double)n * (double)k > SERIAL_WORK;
    /* OpenBLAS takes the calling thread's OpenMP setting for its own number of threads, unless it is called from
     * inside a team: outside of one, a product would be cut by K and its bits depend on the setting. */
    int setting = omp_get_max_threads();
    if (!omp_in_parallel()) omp_set_num_threads(1);
#pragma omp parallel for schedule(dynamic) collapse(2) num_threads(n_threads) if (parallel)
    for (int64_t i = 0; i < tile_rows; i++)
        for (int64_t j = 0; j < tile_cols; j++) {
            int64_t row = i * TILE_ROWS, col = j * TILE_COLS;
            const float *pa = trans_a ? a + row : a + row * lda;
            const float *pb = trans_b ? b + col * ldb : b + col;
            cblas_sgemm(CblasRowMajor, ta, tb, (int)smaller(TILE_ROWS, m - row),
                        (int)smaller(TILE_COLS, n - col), (int)k, alpha, pa, (int)lda, pb, (int)ldb,
                        beta, c + row * ldc + col, (int)ldc);
        }
    if (!omp_in_parallel()) omp_set_num_threads(setting);
}

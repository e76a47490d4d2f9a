/* Problem: principal components of tall matrices (300,000 x 512), the same for any thread count.
 *
 * Method. The eigenvectors of the covariance matrix, dim x dim, or, when there are fewer rows than
 * columns, of the n x n matrix of inner products. Either is summed in double over blocks of rows in
 * ascending order; its tiles belong to one thread each, so no sum depends on the schedule. The
 * eigenproblem is LAPACK's dsyevr (MRRR), k of n vectors, on one thread.
 *
 * Cost: n dim^2 flops for the matrix (half of it by symmetry), 4/3 dim^3 for the reduction.
 *
 * Traps. Squaring loses singular values below 1e-8 of the largest: they come out as noise of that
 * size. LAPACK is column-major: the upper triangle row-major is its lower one. OpenBLAS must run
 * single-threaded, or its sums depend on the number of threads. */
#include "math/linalg.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "math/blas.h"

/* Fortran LAPACK out of OpenBLAS; Debian packages its C headers separately. */
extern void dsyevr_(const char *jobz, const char *range, const char *uplo, const int *n, double *a,
                    const int *lda, const double *vl, const double *vu, const int *il, const int *iu,
                    const double *abstol, int *m, double *w, double *z, const int *ldz, int *isuppz,
                    double *work, const int *lwork, int *iwork, const int *liwork, int *info);

enum { BLOCK_ROWS = 1024, TILE = 128, MEAN_COLUMNS = 16 };

/* ---- symmetric eigenproblem ---- */

static void fix_sign(double *v, int32_t n)
{
    int32_t largest = 0;
    for (int32_t i = 1; i < n; i++)
        if (fabs(v[i]) > fabs(v[largest])) largest = i;
    if (v[largest] < 0)
        for (int32_t i = 0; i < n; i++) v[i] = -v[i];
}

cpt_status cpt_eigen_symmetric(double *a, int32_t n, int32_t k, double *values, double *vectors, cpt_err *e)
{
    if (n < 1 || k < 1 || k > n)
        return cpt_fail(e, CPT_ERR_USAGE, "%d eigenvectors of a matrix of size %d were asked for", k, n);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = i; j < n; j++)
            if (!isfinite(a[i * n + j]))
                return cpt_fail(e, CPT_ERR_DATA, "eigenvectors: the matrix has a value that is not finite "
                                "in row %lld", (long long)i);
    cpt_blas_single_thread();

    double *w = NULL, *z = NULL, *work = NULL, none = 0, tolerance = 0, best_work = 0;
    int *iwork = NULL, *support = NULL;
    int first = n - k + 1, last = n, found = 0, info = 0, query = -1, best_iwork = 0;
    cpt_status status;
    CPT_TRY(cpt_alloc(&w, (size_t)n, sizeof *w, e));
    CPT_TRY(cpt_alloc(&z, (size_t)n * (size_t)k, sizeof *z, e));
    CPT_TRY(cpt_alloc(&support, 2 * (size_t)k, sizeof *support, e));
    dsyevr_("V", "I", "L", &n, a, &n, &none, &none, &first, &last, &tolerance, &found, w, z, &n, support,
            &best_work, &query, &best_iwork, &query, &info);
    int lwork = (int)best_work;
    CPT_TRY(cpt_alloc(&work, (size_t)lwork, sizeof *work, e));
    CPT_TRY(cpt_alloc(&iwork, (size_t)best_iwork, sizeof *iwork, e));
    dsyevr_("V", "I", "L", &n, a, &n, &none, &none, &first, &last, &tolerance, &found, w, z, &n, support,
            work, &lwork, iwork, &best_iwork, &info);
    if (info != 0 || found != k) {
        status = cpt_fail(e, CPT_ERR_INTERNAL, "eigenvectors: LAPACK dsyevr failed (info %d, %d of %d found)",
                          info, found, k);
        goto done;
    }
    for (int32_t i = 0; i < k; i++) { /* LAPACK's order is ascending */
        values[i] = w[k - 1 - i];
        memcpy(vectors + (size_t)i * (size_t)n, z + (size_t)(k - 1 - i) * (size_t)n, (size_t)n * sizeof *z);
        fix_sign(vectors + (size_t)i * (size_t)n, n);
    }
done:
    free(w);
    free(z);
    free(work);
    free(iwork);
    free(support);
    return status;
}

/* ---- principal components ---- */

/* Rows in either precision, with their column means. */
typedef struct points {
    const float *f32; /* one of these two */
    const double *f64;
    int64_t n;
    int32_t dim;
    double *mean; /* [dim] */
} points;

static inline double point_at(const points *p, int64_t i)
{
    return p->f32 ? (double)p->f32[i] : p->f64[i];
}

static cpt_status check_points(const points *p, int32_t k, cpt_err *e)
{
    if (p->n < 1 || p->dim < 1)
        return cpt_fail(e, CPT_ERR_DATA, "principal components of %lld rows with %d columns: both must be at "
                        "least 1", (long long)p->n, p->dim);
    if (k < 1 || k > p->dim)
        return cpt_fail(e, CPT_ERR_USAGE, "%d principal components of %d columns were asked for", k, p->dim);
    for (int64_t i = 0; i < p->n * p->dim; i++)
        if (!isfinite(point_at(p, i)))
            return cpt_fail(e, CPT_ERR_DATA, "principal components: row %lld (counted from 0) has a value that "
                            "is not finite in column %lld; leave such cells out first",
                            (long long)(i / p->dim), (long long)(i % p->dim));
    return CPT_OK;
}

static void column_means(const points *p, int n_threads)
{
#pragma omp parallel for schedule(static) num_threads(n_threads)
    for (int32_t first = 0; first < p->dim; first += MEAN_COLUMNS) {
        int32_t end = first + MEAN_COLUMNS < p->dim ? first + MEAN_COLUMNS : p->dim;
        for (int32_t d = first; d < end; d++) p->mean[d] = 0;
        for (int64_t i = 0; i < p->n; i++)
            for (int32_t d = first; d < end; d++) p->mean[d] += point_at(p, i * p->dim + d);
        for (int32_t d = first; d < end; d++) p->mean[d] /= (double)p->n;
    }
}

/* block [rows][dim] = rows of the centred matrix from `first` on. */
static void centred_rows(const points *p, int64_t first, int64_t rows, double *block, int n_threads)
{
#pragma omp parallel for schedule(static) num_threads(n_threads)
    for (int64_t r = 0; r < rows; r++)
        for (int32_t d = 0; d < p->dim; d++)
            block[r * p->dim + d] = point_at(p, (first + r) * p->dim + d) - p->mean[d];
}

/* Adds to the upper triangle of c [size][size]: block^T block (over columns), or block block^T
 * (over rows) when by_rows; block is [rows][dim]. One thread per tile of c. */
static void add_products(const double *block, int32_t rows, int32_t dim, bool by_rows, double *c, int n_threads)
{
    int32_t size = by_rows ? rows : dim, tiles = (size + TILE - 1) / TILE;
#pragma omp parallel for schedule(dynamic) collapse(2) num_threads(n_threads)
    for (int32_t i = 0; i < tiles; i++)
        for (int32_t j = 0; j < tiles; j++) {
            if (j < i) continue;
            int32_t row = i * TILE, col = j * TILE;
            int32_t m = size - row < TILE ? size - row : TILE, n = size - col < TILE ? size - col : TILE;
            double *tile = c + (size_t)row * (size_t)size + (size_t)col;
            if (by_rows)
                cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, n, dim, 1, block + (size_t)row * (size_t)dim,
                            dim, block + (size_t)col * (size_t)dim, dim, 1, tile, size);
            else
                cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, m, n, rows, 1, block + row, dim,
                            block + col, dim, 1, tile, size);
        }
}

static void set_singular(int32_t k, double *singular)
{
    for (int32_t i = 0; i < k; i++) singular[i] = singular[i] > 0 ? sqrt(singular[i]) : 0;
}

static cpt_status pca_by_columns(const points *p, int32_t k, double *components, double *singular,
                                 const cpt_context *ctx, cpt_err *e)
{
    double *c = NULL, *block = NULL;
    int n_threads = cpt_threads(ctx);
    cpt_status status;
    CPT_TRY(cpt_alloc(&c, (size_t)p->dim * (size_t)p->dim, sizeof *c, e));
    CPT_TRY(cpt_alloc(&block, (size_t)BLOCK_ROWS * (size_t)p->dim, sizeof *block, e));
    for (int64_t first = 0; first < p->n; first += BLOCK_ROWS) {
        int64_t rows = p->n - first < BLOCK_ROWS ? p->n - first : BLOCK_ROWS;
        centred_rows(p, first, rows, block, n_threads);
        add_products(block, (int32_t)rows, p->dim, false, c, n_threads);
        CPT_TRY(cpt_check_stop(ctx, e));
    }
    CPT_TRY(cpt_eigen_symmetric(c, p->dim, k, singular, components, e));
    set_singular(k, singular);
done:
    free(c);
    free(block);
    return status;
}

/* With X = U S V^T, X X^T = U S^2 U^T and V = X^T U / S. */
static cpt_status pca_by_rows(const points *p, int32_t k, double *components, double *singular,
                              const cpt_context *ctx, cpt_err *e)
{
    int32_t n = (int32_t)p->n, dim = p->dim, n_vectors = k < n ? k : n;
    double *c = NULL, *block = NULL, *u = NULL;
    cpt_status status;
    CPT_TRY(cpt_alloc(&c, (size_t)n * (size_t)n, sizeof *c, e));
    CPT_TRY(cpt_alloc(&block, (size_t)n * (size_t)dim, sizeof *block, e));
    CPT_TRY(cpt_alloc(&u, (size_t)n_vectors * (size_t)n, sizeof *u, e));
    centred_rows(p, 0, n, block, cpt_threads(ctx));
    add_products(block, n, dim, true, c, cpt_threads(ctx));
    memset(singular, 0, (size_t)k * sizeof *singular);
    memset(components, 0, (size_t)k * (size_t)dim * sizeof *components);
    CPT_TRY(cpt_eigen_symmetric(c, n, n_vectors, singular, u, e));
    set_singular(n_vectors, singular);

    for (int32_t i = 0; i < n_vectors; i++) {
        double *v = components + (size_t)i * (size_t)dim;
        if (singular[i] <= 1e-7 * singular[0]) { /* the null space, and the rounding of squares */
            singular[i] = 0;
            continue;
        }
        cblas_dgemv(CblasRowMajor, CblasTrans, n, dim, 1 / singular[i], block, dim, u + (size_t)i * (size_t)n,
                    1, 0, v, 1);
        fix_sign(v, dim);
    }
done:
    free(c);
    free(block);
    free(u);
    return status;
}

static cpt_status pca(const points *p, int32_t k, double *components, double *singular,
                      const cpt_context *ctx, cpt_err *e)
{
    cpt_status status = check_points(p, k, e);
    if (status != CPT_OK) return status;
    cpt_blas_single_thread();
    column_means(p, cpt_threads(ctx));
    return p->n < p->dim ? pca_by_rows(p, k, components, singular, ctx, e)
                         : pca_by_columns(p, k, components, singular, ctx, e);
}

cpt_status cpt_pca(const float *x, int64_t n, int32_t dim, int32_t k, double *mean, double *components,
                   double *singular, const cpt_context *ctx, cpt_err *e)
{
    const points p = {.f32 = x, .n = n, .dim = dim, .mean = mean};
    return pca(&p, k, components, singular, ctx, e);
}

cpt_status cpt_pca_f64(const double *x, int64_t n, int32_t dim, int32_t k, double *mean, double *components,
                       double *singular, const cpt_context *ctx, cpt_err *e)
{
    const points p = {.f64 = x, .n = n, .dim = dim, .mean = mean};
    return pca(&p, k, components, singular, ctx, e);
}

void cpt_pca_scores(const float *x, int64_t n, int32_t dim, int32_t k, const double *mean,
                    const double *components, float *scores, const cpt_context *ctx)
{
    int n_threads = cpt_threads(ctx);
#pragma omp parallel for schedule(static) num_threads(n_threads)
    for (int64_t i = 0; i < n; i++)
        for (int32_t c = 0; c < k; c++) {
            const double *v = components + (size_t)c * (size_t)dim;
            double sum = 0;
            for (int32_t d = 0; d < dim; d++) sum += ((double)x[i * dim + d] - mean[d]) * v[d];
            scores[i * k + c] = (float)sum;
        }
}

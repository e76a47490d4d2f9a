/* Problem: how far the neighbours in a map are neighbours in the original space (Venna and Kaski
 * 2001):
 *
 *     T = 1 - 2 / (n k (2n - 3k - 1)) * sum over i, over j among the k nearest of i in the map, of
 *         max(0, r(i, j) - k),   r = rank of j by distance from i in the original space.
 *
 * Method: the definition; O(n^2 dim) in double, O(n) memory. Ties rank by lower number. */
#include "math/layout.h"

#include <omp.h>
#include <stdlib.h>

#include "base/memory.h"
#include "math/neighbours.h"

static void distances_from(const float *x, int64_t n, int32_t dim, int64_t i, double *d2)
{
    for (int64_t j = 0; j < n; j++) {
        double sum = 0;
        for (int32_t d = 0; d < dim; d++) {
            double v = (double)x[i * dim + d] - (double)x[j * dim + d];
            sum += v * v;
        }
        d2[j] = sum;
    }
}

static int64_t penalty(const double *d2, int64_t n, int64_t i, const int32_t *neighbours, int32_t k)
{
    int64_t sum = 0;
    for (int32_t t = 0; t < k; t++) {
        int64_t j = neighbours[t], rank = 1;
        for (int64_t l = 0; l < n; l++) rank += l != i && (d2[l] < d2[j] || (d2[l] == d2[j] && l < j));
        if (rank > k) sum += rank - k;
    }
    return sum;
}

cpt_status cpt_trustworthiness(const float *x, int64_t n, int32_t dim, const float *y, int32_t k, double *out,
                               const cpt_context *ctx, cpt_err *e)
{
    if (k < 1 || 2 * (int64_t)k >= n)
        return cpt_fail(e, CPT_ERR_USAGE, "trustworthiness with %d neighbours needs more than %lld points, there "
                        "are %lld", k, 2 * (long long)k, (long long)n);
    int32_t *neighbours = NULL;
    float *distances = NULL;
    double *d2 = NULL;
    int n_threads = cpt_threads(ctx);
    int64_t total = 0;
    cpt_status status;
    CPT_TRY(cpt_alloc(&neighbours, (size_t)n * (size_t)k, sizeof *neighbours, e));
    CPT_TRY(cpt_alloc(&distances, (size_t)n * (size_t)k, sizeof *distances, e));
    CPT_TRY(cpt_alloc(&d2, (size_t)n * (size_t)n_threads, sizeof *d2, e));
    CPT_TRY(cpt_neighbours(y, n, 2, k, neighbours, distances, ctx, e));
#pragma omp parallel for schedule(dynamic, 16) num_threads(n_threads) reduction(+ : total)
    for (int64_t i = 0; i < n; i++) { /* integers: the sum does not depend on its order */
        double *mine = d2 + (int64_t)omp_get_thread_num() * n;
        distances_from(x, n, dim, i, mine);
        total += penalty(mine, n, i, neighbours + i * k, k);
    }
    CPT_TRY(cpt_check_stop(ctx, e));
    *out = 1 - 2.0 * (double)total / ((double)n * k * (2.0 * (double)n - 3.0 * k - 1));
done:
    free(neighbours);
    free(distances);
    free(d2);
    return status;
}

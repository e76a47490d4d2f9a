/* Exact nearest neighbours of 300,000 points in 50 dimensions, k = 15.
 *
 *     build/bench/bench_knn [threads [points dimensions [clusters]]]
 *
 * 200 clusters; 1 = points without any, of which no part can be left out.
 *
 * bench/peers/knn_peer.py: hnswlib (approximate: its recall is printed) and brute force on BLAS. */
#include <math.h>
#include <omp.h>

#include "base/memory.h"
#include "bench.h"
#include "math/neighbours.h"

enum { POINTS = 300000, DIM = 50, K = 15, CLUSTERS = 200, CHECKED = 50 };
enum { KEY_CENTRE = 11, KEY_NOISE };

/* Cubes of unit width around CLUSTERS points of a cube of width 2, in the peer the same. */
static void make_points(int64_t n, int32_t dim, int32_t clusters, float *x)
{
#pragma omp parallel for
    for (int64_t i = 0; i < n; i++)
        for (int32_t j = 0; j < dim; j++)
            x[i * dim + j] = 2 * bench_uniform(KEY_CENTRE, (uint32_t)(i % clusters * dim + j)) +
                             bench_uniform(KEY_NOISE, (uint32_t)(i * dim + j));
}

static double distance2(const float *a, const float *b, int32_t dim)
{
    double sum = 0;
    for (int32_t d = 0; d < dim; d++) sum += ((double)a[d] - (double)b[d]) * ((double)a[d] - (double)b[d]);
    return sum;
}

/* Of CHECKED queries, the share of those found that fewer than k points are nearer than, by comparing with all points one
 * by one. `scratch` [n]. */
static double recall(const float *x, int64_t n, int32_t dim, const int32_t *neighbours, double *scratch)
{
    int64_t n_right = 0;
    for (int64_t c = 0; c < CHECKED; c++) {
        const int64_t query = c * n / CHECKED;
        for (int64_t j = 0; j < n; j++) scratch[j] = distance2(x + query * dim, x + j * dim, dim);
        scratch[query] = INFINITY;
        for (int32_t i = 0; i < K; i++) {
            int64_t n_nearer = 0;
            for (int64_t j = 0; j < n; j++) n_nearer += scratch[j] < scratch[neighbours[query * K + i]];
            n_right += n_nearer < K;
        }
    }
    return (double)n_right / (CHECKED * K);
}

int main(int argc, char **argv)
{
    const cpt_context ctx = {.n_threads = argc > 1 ? atoi(argv[1]) : omp_get_max_threads()};
    const int64_t n = argc > 3 ? atoll(argv[2]) : POINTS;
    const int32_t dim = argc > 3 ? atoi(argv[3]) : DIM;
    const int32_t clusters = argc > 4 ? atoi(argv[4]) : CLUSTERS;
    float *x, *distances;
    int32_t *neighbours;
    double *scratch;
    char what[64];
    cpt_err e;
    if (cpt_alloc(&x, (size_t)(n * dim), sizeof *x, &e) ||
        cpt_alloc(&distances, (size_t)(n * K), sizeof *distances, &e) ||
        cpt_alloc(&scratch, (size_t)n, sizeof *scratch, &e) ||
        cpt_alloc(&neighbours, (size_t)(n * K), sizeof *neighbours, &e))
        return fprintf(stderr, "%s\n", e.text), 1;
    make_points(n, dim, clusters, x);
    const double from = bench_now(); /* once: nothing is warm after so long */
    if (cpt_neighbours(x, n, dim, K, neighbours, distances, &ctx, &e)) return fprintf(stderr, "%s\n", e.text), 1;
    const double seconds = bench_now() - from;
    snprintf(what, sizeof what, "%lldk x %d exact%s", (long long)(n / 1000), dim, clusters == 1 ? ", no clusters" : "");
    bench_line("knn", what, seconds, "s");
    bench_line("knn", "recall", recall(x, n, dim, neighbours, scratch), "");
    free(x);
    free(distances);
    free(neighbours);
    free(scratch);
    return 0;
}

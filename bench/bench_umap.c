/* UMAP of made-up cells: time of neighbours and of the whole, and trustworthiness.
 *     bench_umap FOLDER N DIM THREADS      writes FOLDER/points.npy and FOLDER/ours.npy
 *     bench_umap FOLDER check MAP.npy      trustworthiness of any map of these points
 * bench/peers/umap_peer.py lays out the same points with umap-learn.
 *
 * Points: 25 Gaussian clusters of unequal size, spread and dimension, every third drawn out along a
 * curve into its neighbour. Trustworthiness (Venna and Kaski 2001; k = 15) over 2,000 points against all. */
#include "bench.h"

#include "base/memory.h"
#include "base/random.h"
#include "io/npy.h"
#include "math/layout.h"
#include "math/neighbours.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CLUSTERS = 25, K = 15, QUERIES = 2000 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void make_points(int64_t n, int32_t dim, float *x)
{
    float *centres;
    if (cpt_alloc(&centres, (size_t)(CLUSTERS * dim), sizeof *centres, NULL)) exit(1);
    cpt_stream s;
    cpt_stream_init(&s, 1, CPT_RANDOM_TEST, 0);
    for (int32_t i = 0; i < CLUSTERS * dim; i++) centres[i] = (float)(2 * cpt_stream_normal(&s));
    for (int64_t i = 0; i < n; i++) {
        cpt_stream_init(&s, 2, CPT_RANDOM_TEST, (uint64_t)i);
        double u = cpt_stream_uniform(&s);
        int32_t c = (int32_t)(u * u * CLUSTERS), next = (c + 1) % CLUSTERS;
        double along = c % 3 ? 0 : pow(cpt_stream_uniform(&s), 2), spread = 0.4 + 0.1 * (c % 7);
        for (int32_t d = 0; d < dim; d++) {
            double own = (double)centres[c * dim + d], other = (double)centres[next * dim + d];
            double width = d < 8 + c ? spread : 0.1 * spread;
            x[i * dim + d] = (float)(own + along * (other - own) + width * cpt_stream_normal(&s));
        }
    }
    free(centres);
}

static double distance2(const float *a, const float *b, int32_t dim)
{
    double sum = 0;
    for (int32_t d = 0; d < dim; d++) sum += (double)((a[d] - b[d]) * (a[d] - b[d]));
    return sum;
}

/* Penalty of one point: how far beyond K its K nearest in the map stand among its nearest in x. */
static double penalty(const float *x, const float *y, int64_t n, int32_t dim, int64_t i, double *far)
{
    int64_t near[K];
    double of[K], sum = 0;
    int filled = 0;
    for (int64_t j = 0; j < n; j++) {
        if (j == i) continue;
        double d = distance2(y + 2 * i, y + 2 * j, 2);
        if (filled == K && d >= of[K - 1]) continue;
        int p = filled < K ? filled++ : K - 1;
        for (; p > 0 && of[p - 1] > d; p--) of[p] = of[p - 1], near[p] = near[p - 1];
        of[p] = d;
        near[p] = j;
    }
    for (int64_t j = 0; j < n; j++) far[j] = j == i ? INFINITY : distance2(x + i * dim, x + j * dim, dim);
    for (int k = 0; k < K; k++) {
        int64_t rank = 1;
        for (int64_t j = 0; j < n; j++) rank += far[j] < far[near[k]];
        if (rank > K) sum += (double)(rank - K);
    }
    return sum;
}

static double trustworthiness(const float *x, const float *y, int64_t n, int32_t dim)
{
    double sum = 0;
    int64_t queries = n < QUERIES ? n : QUERIES;
#pragma omp parallel for schedule(dynamic) reduction(+ : sum)
    for (int64_t q = 0; q < queries; q++) {
        double *far;
        if (cpt_alloc(&far, (size_t)n, sizeof *far, NULL)) exit(1);
        sum += penalty(x, y, n, dim, q * n / queries, far);
        free(far);
    }
    return 1 - 2 * sum / ((double)queries * K * (2 * (double)n - 3 * K - 1));
}

static int run(const char *folder, int64_t n, int32_t dim, int threads)
{
    cpt_err err;
    float *x, *y, *distances;
    int32_t *neighbours;
    char path[4096];
    const cpt_context ctx = {.n_threads = threads};
    cpt_umap_options o;
    cpt_umap_options_init(&o);
    const int32_t k = o.n_neighbours - 1;
    if (cpt_alloc(&x, (size_t)(n * dim), sizeof *x, &err) || cpt_alloc(&y, (size_t)n * 2, sizeof *y, &err) ||
        cpt_alloc(&neighbours, (size_t)(n * k), sizeof *neighbours, &err) ||
        cpt_alloc(&distances, (size_t)(n * k), sizeof *distances, &err))
        return fprintf(stderr, "%s\n", err.text), 1;
    make_points(n, dim, x);
    snprintf(path, sizeof path, "%s/points.npy", folder);
    if (cpt_npy_write(path, CPT_F32, 2, (int64_t[]){n, dim}, x, &err)) return fprintf(stderr, "%s\n", err.text), 1;
    double start = now();
    if (cpt_neighbours(x, n, dim, k, neighbours, distances, &ctx, &err)) return fprintf(stderr, "%s\n", err.text), 1;
    double found = now();
    if (cpt_umap_of_graph(x, n, dim, neighbours, distances, k, &o, y, &ctx, &err))
        return fprintf(stderr, "%s\n", err.text), 1;
    double end = now();
    snprintf(path, sizeof path, "%s/ours.npy", folder);
    if (cpt_npy_write(path, CPT_F32, 2, (int64_t[]){n, 2}, y, &err)) return fprintf(stderr, "%s\n", err.text), 1;
    printf("%lld x %d, %d threads: neighbours %.2f s, graph and layout %.2f s\n", (long long)n, dim, threads,
           found - start, end - found);
    bench_line("umap", "50k x 50", end - start, "s");
    bench_line("umap", "trustworthiness", trustworthiness(x, y, n, dim), "");
    free(x), free(y), free(neighbours), free(distances);
    return 0;
}

static int check(const char *folder, const char *map)
{
    cpt_err err;
    char path[4096];
    cpt_npy x, y;
    snprintf(path, sizeof path, "%s/points.npy", folder);
    if (cpt_npy_open_as(path, CPT_F32, 2, (int64_t[]){-1, -1}, &x, &err) ||
        cpt_npy_open_as(map, CPT_F32, 2, (int64_t[]){x.shape[0], 2}, &y, &err))
        return fprintf(stderr, "%s\n", err.text), 1;
    printf("%.4f\n", trustworthiness(x.data, y.data, x.shape[0], (int32_t)x.shape[1]));
    cpt_npy_close(&x);
    cpt_npy_close(&y);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[2], "check") == 0) return check(argv[1], argv[3]);
    if (argc == 5) return run(argv[1], atoll(argv[2]), atoi(argv[3]), atoi(argv[4]));
    return fprintf(stderr, "bench_umap FOLDER N DIM THREADS | bench_umap FOLDER check MAP.npy\n"), 2;
}

/* Exact nearest neighbours of 300,000 points in 50 dimensions, k = 15.
 *
 *     build/bench/bench_knn [threads]
 *
 * bench/peers/knn_peer.py: hnswlib (approximate: its recall is printed) and brute force on BLAS. */
#include <omp.h>

#include "bench.h"
#include "math/neighbours.h"

enum { POINTS = 300000, DIM = 50, K = 15, CLUSTERS = 200 };
enum { KEY_CENTRE = 11, KEY_NOISE };

/* Cubes of unit width around CLUSTERS points of a cube of width 2, in the peer the same. */
static float *make_points(void)
{
    float *x = malloc(sizeof *x * POINTS * DIM);
    if (!x) exit(1);
#pragma omp parallel for
    for (int32_t i = 0; i < POINTS; i++)
        for (int32_t j = 0; j < DIM; j++)
            x[(int64_t)i * DIM + j] =
                2 * bench_uniform(KEY_CENTRE, (uint32_t)(i % CLUSTERS * DIM + j)) +
                bench_uniform(KEY_NOISE, (uint32_t)(i * DIM + j));
    return x;
}

int main(int argc, char **argv)
{
    enum { REPEATS = 2 };
    const cpt_context ctx = {.n_threads = argc > 1 ? atoi(argv[1]) : omp_get_max_threads()};
    const char *const what = "300k x 50 exact";
    float *x = make_points(), *distances = malloc(sizeof *distances * POINTS * K);
    int32_t *neighbours = malloc(sizeof *neighbours * POINTS * K);
    double times[REPEATS];
    cpt_err e;
    if (!distances || !neighbours) return 1;
    for (int i = 0; i < REPEATS; i++) {
        const double from = bench_now();
        if (cpt_neighbours(x, POINTS, DIM, K, neighbours, distances, &ctx, &e))
            return fprintf(stderr, "%s\n", e.text), 1;
        times[i] = bench_now() - from;
    }
    bench_line("knn", what, bench_median(times, REPEATS), "s");
    bench_work("knn", what, 2e-9 * POINTS * (double)POINTS * DIM, "GFLOP", "f32");
    bench_line("knn", "recall", 1, "");
    free(x);
    free(distances);
    free(neighbours);
    return 0;
}

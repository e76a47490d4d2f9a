/* Parts by k-means, and leaves: every point once, none too large, points of a cluster together. */
#include "check.h"

#include "base/memory.h"
#include "base/random.h"
#include "math/leaves.h"

static cpt_err err;

enum { N = 5000, DIM = 21, CLUSTERS = 16 };
static const double ZEROS[DIM];

/* Cluster i % CLUSTERS is at a corner of a cube of width 8, with a spread of 1/2. */
static void make_points(float *x)
{
    cpt_stream s;
    cpt_stream_init(&s, 1, CPT_RANDOM_TEST, 0);
    for (int64_t i = 0; i < N; i++)
        for (int d = 0; d < DIM; d++) {
            const int corner = (int)((uint64_t)(i % CLUSTERS + 1) * 2654435761u >> d & 1);
            x[i * DIM + d] = (float)(8 * corner + 0.5 * cpt_stream_normal(&s));
        }
}

static void parts_are_clusters(void **state)
{
    float *x = malloc(sizeof *x * N * DIM);
    int32_t part_of[2][N], cluster_of[CLUSTERS];
    make_points(x);
    const cpt_points p = {x, N, DIM, ZEROS, 0.125};
    for (int t = 0; t < 2; t++) assert_ok(cpt_kmeans_parts(&p, CLUSTERS, 1 + 2 * t, part_of[t], &err));
    assert_memory_equal(part_of[0], part_of[1], sizeof part_of[0]);
    for (int c = 0; c < CLUSTERS; c++) cluster_of[c] = -1;
    for (int64_t i = 0; i < N; i++) {
        const int32_t part = part_of[0][i];
        assert_true(part >= 0 && part < CLUSTERS);
        if (cluster_of[part] < 0) cluster_of[part] = (int32_t)(i % CLUSTERS);
        assert_int_equal(cluster_of[part], i % CLUSTERS); /* seeds that are drawn by distance miss no cluster */
    }
    free(x);
}

static void more_parts_than_places(void **state)
{
    float *x = calloc((size_t)N * DIM, sizeof *x);
    int32_t part_of[N];
    for (int64_t i = 0; i < N; i++) x[i * DIM] = (float)(i % 2);
    const cpt_points p = {x, N, DIM, ZEROS, 1};
    assert_ok(cpt_kmeans_parts(&p, 5, 2, part_of, &err));
    for (int64_t i = 0; i < N; i++) assert_int_equal(part_of[i], part_of[i % 2]);
    assert_int_not_equal(part_of[0], part_of[1]);
    free(x);
}

static void check_leaves(const float *x, int64_t n, int32_t dim, int64_t size, int n_threads)
{
    cpt_leaves leaves;
    const cpt_points p = {x, n, dim, ZEROS, 0.125};
    bool *seen = calloc((size_t)n, sizeof *seen);
    assert_ok(cpt_leaves_new(&p, size, n_threads, &leaves, &err));
    assert_int_equal(leaves.starts[0], 0);
    assert_int_equal(leaves.starts[leaves.n_leaves], n);
    for (int64_t l = 0; l < leaves.n_leaves; l++)
        assert_in_range(leaves.starts[l + 1] - leaves.starts[l], 1, size);
    for (int64_t i = 0; i < n; i++) {
        assert_in_range(leaves.numbers[i], 0, n - 1);
        assert_false(seen[leaves.numbers[i]]);
        seen[leaves.numbers[i]] = true;
    }
    free(seen);
    cpt_leaves_free(&leaves);
    assert_null(leaves.numbers);
}

static void every_point_once(void **state)
{
    const int64_t numbers[] = {1, 2, 31, 32, 33, 500, N}, sizes[] = {1, 32, 512};
    float *x = malloc(sizeof *x * N * DIM), *same = calloc((size_t)N * DIM, sizeof *same);
    make_points(x);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        for (size_t j = 0; j < sizeof sizes / sizeof *sizes; j++) {
            check_leaves(x, numbers[i], DIM, sizes[j], 1 + (int)j);
            check_leaves(same, numbers[i], DIM, sizes[j], 2); /* nothing but the number tells them apart */
            check_leaves(x, numbers[i], 1, sizes[j], 2);
        }
    for (int64_t i = 0; i < N * DIM; i++) x[i] *= 1e36f;
    check_leaves(x, N, DIM, 64, 2);
    free(x);
    free(same);
}

/* A part of several clusters along one line is halved across that line. */
static void halves_are_apart(void **state)
{
    enum { FEW = 400, SIZE = 100 };
    float x[FEW * DIM];
    cpt_stream s;
    cpt_stream_init(&s, 2, CPT_RANDOM_TEST, 0);
    for (int64_t i = 0; i < FEW; i++)
        for (int d = 0; d < DIM; d++)
            x[i * DIM + d] = (float)(cpt_stream_normal(&s) + (d % 2 ? 1 : -2) * (double)(i % 4) * 20);
    cpt_leaves leaves;
    const cpt_points p = {x, FEW, DIM, ZEROS, 0.125};
    assert_ok(cpt_leaves_new(&p, SIZE, 1, &leaves, &err));
    assert_int_equal(leaves.n_leaves, 4);
    for (int64_t l = 0; l < 4; l++)
        for (int64_t i = leaves.starts[l]; i < leaves.starts[l + 1]; i++)
            assert_int_equal(leaves.numbers[i] % 4, leaves.numbers[leaves.starts[l]] % 4);
    cpt_leaves_free(&leaves);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_are_clusters),
        cmocka_unit_test(more_parts_than_places),
        cmocka_unit_test(every_point_once),
        cmocka_unit_test(halves_are_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Exact neighbours against brute force in double, where the fast scan may well be wrong. */
#include "check.h"

#include "base/cpu.h"
#include "base/memory.h"
#include "base/random.h"
#include "math/neighbours.h"
#include "math/rows.h"
#include "math/scan.h"

static cpt_err err;

static double distance2(const float *x, int32_t dim, int64_t i, int64_t j)
{
    double sum = 0;
    for (int32_t d = 0; d < dim; d++) {
        double v = (double)x[i * dim + d] - (double)x[j * dim + d];
        sum += v * v;
    }
    return sum;
}

/* Selection by repeated minimum: ties by lower number come for free. */
static void brute_row(const float *x, int64_t n, int32_t dim, int32_t k, int64_t i, int32_t *numbers,
                      double *d2)
{
    bool *used = calloc((size_t)n, sizeof *used);
    double *all = malloc((size_t)n * sizeof *all);
    for (int64_t j = 0; j < n; j++) all[j] = distance2(x, dim, i, j);
    used[i] = true;
    for (int32_t t = 0; t < k; t++) {
        numbers[t] = -1;
        for (int64_t j = 0; j < n; j++)
            if (!used[j] && (numbers[t] < 0 || all[j] < all[numbers[t]])) numbers[t] = (int32_t)j;
        if (numbers[t] < 0) continue;
        d2[t] = all[numbers[t]];
        used[numbers[t]] = true;
    }
    free(used);
    free(all);
}

/* exact_ties: sums are exact (small integers), so numbers must agree as well. */
static void check_against_brute(const float *x, int64_t n, int32_t dim, int32_t k, bool exact_ties)
{
    int32_t *got = malloc((size_t)(n * k) * sizeof *got), *want = malloc((size_t)k * sizeof *want);
    float *distances = malloc((size_t)(n * k) * sizeof *distances);
    double *d2 = malloc((size_t)k * sizeof *d2);
    cpt_context ctx = {.n_threads = 2};
    assert_ok(cpt_neighbours(x, n, dim, k, got, distances, &ctx, &err));
    for (int64_t i = 0; i < n; i += n > 500 ? 37 : 1) {
        brute_row(x, n, dim, k, i, want, d2);
        for (int32_t t = 0; t < k; t++) {
            int64_t at = i * k + t;
            if (want[t] < 0) {
                assert_int_equal(got[at], -1);
                assert_true(isinf(distances[at]));
                continue;
            }
            assert_near(distances[at], sqrt(d2[t]), 1e-6 * sqrt(d2[t]));
            if (exact_ties || fabs(d2[t] - distance2(x, dim, i, got[at])) > 1e-13 * d2[t])
                assert_int_equal(got[at], want[t]);
        }
    }
    free(got);
    free(want);
    free(distances);
    free(d2);
}

static float *normal_points(int64_t n, int32_t dim, double offset, double spread, uint64_t item)
{
    float *x = malloc((size_t)(n * dim) * sizeof *x);
    cpt_stream s;
    cpt_stream_init(&s, 1, CPT_RANDOM_TEST, item);
    for (int64_t i = 0; i < n * dim; i++) x[i] = (float)(offset + spread * cpt_stream_normal(&s));
    return x;
}

static void random_points(void **state)
{
    const struct { int64_t n; int32_t dim, k; } cases[] = {
        {1, 3, 2}, {2, 1, 1}, {2, 1, 5}, {50, 2, 60}, {130, 7, 1}, {300, 33, 15}, {2500, 50, 15}, {4500, 5, 30}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        float *x = normal_points(cases[c].n, cases[c].dim, 0, 1, c);
        check_against_brute(x, cases[c].n, cases[c].dim, cases[c].k, false);
        free(x);
    }
}

/* The norms trick in f32 alone gets these wrong: tight clusters far from 0 and from each other. */
static void far_from_origin(void **state)
{
    enum { N = 600, DIM = 20 };
    float *x = normal_points(N, DIM, 1000, 1e-3, 7);
    check_against_brute(x, N, DIM, 10, false);
    for (int64_t i = 0; i < N / 2 * DIM; i++) x[i] += 5000;
    check_against_brute(x, N, DIM, 10, false);
    free(x);
}

static void huge_and_tiny_values(void **state)
{
    float *x = normal_points(200, 6, 0, 1e30, 8);
    check_against_brute(x, 200, 6, 5, false);
    for (int i = 0; i < 200 * 6; i++) x[i] *= 1e-38f;
    for (int i = 0; i < 200 * 6; i++) x[i] *= 1e-30f;
    x[0] = 1e30f; /* one outlier, everything else at the bottom of the range */
    check_against_brute(x, 200, 6, 5, false);
    free(x);
}

static void ties_go_to_the_lower_number(void **state)
{
    enum { N = 700, DIM = 3, K = 20 };
    float *x = malloc(N * DIM * sizeof *x);
    cpt_stream s;
    cpt_stream_init(&s, 2, CPT_RANDOM_TEST, 0);
    for (int i = 0; i < N * DIM; i++) x[i] = (float)cpt_stream_below(&s, 4); /* 64 places for 700 */
    check_against_brute(x, N, DIM, K, true);
    for (int i = 0; i < N * DIM; i++) x[i] = 3; /* all the same point */
    check_against_brute(x, N, DIM, K, true);
    free(x);
}

/* Clusters that are tight against the spread of all points, with many equal points: whole numbers, so that ties are
 * exact, in more dimensions than one block of the product has. */
static void tight_clusters_and_duplicates(void **state)
{
    enum { N = 900, DIM = 70, K = 15, CLUSTERS = 5 };
    float *x = malloc(N * DIM * sizeof *x);
    cpt_stream s;
    cpt_stream_init(&s, 3, CPT_RANDOM_TEST, 0);
    for (int step = 1; step < 300; step *= 8) {
        for (int i = 0; i < N; i++)
            for (int d = 0; d < DIM; d++) {
                const float centre = (float)((i % CLUSTERS * 37 + d * 11) % 64) * 8;
                const bool moved = i % 3 > 0 && (d * 7 + i) % 9 == 0;
                x[i * DIM + d] = (float)step * centre + (moved ? (float)cpt_stream_below(&s, 3) : 0);
            }
        check_against_brute(x, N, DIM, K, true);
    }
    free(x);
}

/* Clusters far apart, so that nearly all leaves are out of reach, some with outliers; a leaf has points of several. */
static void clusters_apart(void **state)
{
    enum { N = 6000, DIM = 12, K = 15 };
    for (int clusters = 1; clusters < 2000; clusters *= 12) {
        float *x = normal_points(N, DIM, 0, 0.2, (uint64_t)clusters);
        cpt_stream s;
        for (int64_t i = 0; i < N; i++) {
            cpt_stream_init(&s, 5, CPT_RANDOM_TEST, (uint64_t)(i % clusters));
            for (int d = 0; d < DIM; d++)
                x[i * DIM + d] = x[i * DIM + d] * (i % 50 == 0 ? 20 : 1) + (float)(9 * cpt_stream_normal(&s));
        }
        check_against_brute(x, N, DIM, K, false);
        free(x);
    }
}

static void scans_agree(void **state)
{
    float products[64 * 32], add[32], limits[64];
    uint32_t want[64], got[64];
    cpt_stream s;
    cpt_stream_init(&s, 4, CPT_RANDOM_TEST, 0);
    for (int i = 0; i < 64 * 32; i++) products[i] = (float)cpt_stream_below(&s, 9);
    for (int i = 0; i < 32; i++) add[i] = (float)cpt_stream_below(&s, 9);
    for (int i = 0; i < 64; i++) limits[i] = i == 5 ? NAN : i == 6 ? INFINITY : -(float)cpt_stream_below(&s, 14);
    products[77] = NAN;
    for (int64_t outs = 1; outs <= 32; outs += 31 - (outs > 1) * 20)
        for (int level = 0; level <= cpt_cpu_best(); level++) {
            uint32_t any = cpt_scan_kernels_at(level)->small(64, outs, products, add, limits, got);
            uint32_t expected = 0;
            for (int r = 0; r < 64; r++) {
                want[r] = 0;
                for (int o = 0; o < outs; o++)
                    want[r] |= (uint32_t)(add[o] - 2 * products[r * 32 + o] <= limits[r]) << o;
                expected |= want[r];
            }
            assert_memory_equal(got, want, sizeof want);
            assert_int_equal(any != 0, expected != 0);
        }
}

static void points_about_a_centre(void **state)
{
    enum { N = 48 };
    float x[N], centre[N], want[N], out[N], rest;
    cpt_stream s;
    cpt_stream_init(&s, 6, CPT_RANDOM_TEST, 0);
    double norm2 = 0, exact2 = 0, want_rest = 0;
    for (int i = 0; i < N; i++) {
        x[i] = (float)cpt_stream_normal(&s);
        centre[i] = (float)cpt_stream_normal(&s);
        want[i] = x[i] - centre[i];
        norm2 += (double)want[i] * (double)want[i];
        exact2 += ((double)x[i] - (double)centre[i]) * ((double)x[i] - (double)centre[i]);
        const double ulp = ldexp(1, ilogb((double)want[i]) - 7); /* bfloat16 has 8 bits */
        const double off = (double)want[i] - nearbyint((double)want[i] / ulp) * ulp;
        want_rest += off * off;
    }
    const double first = cpt_scan_kernels_at(0)->exact(x, centre, N - 3);
    for (int level = 0; level <= cpt_cpu_best(); level++) {
        const cpt_scan_kernels *k = cpt_scan_kernels_at(level);
        assert_near(k->about(x, centre, N, out, &rest), norm2, 1e-5 * norm2);
        assert_near(rest, want_rest, 1e-5 * want_rest);
        assert_memory_equal(out, want, sizeof want);
        assert_near(k->exact(x, centre, N), exact2, 1e-14 * exact2);
        assert_true(k->exact(x, centre, N - 3) == first);
        assert_near(cpt_row_kernels_at(level)->distance2(x, centre, N), exact2, 1e-5 * exact2);
    }
}

static void queries_within_reach(void **state)
{
    enum { N = 77 };
    float products[N], lows[N], reach[N];
    int32_t want[N], got[N + 16], n_want = 0;
    cpt_stream s;
    cpt_stream_init(&s, 7, CPT_RANDOM_TEST, 0);
    for (int q = 0; q < N; q++) { /* whole numbers: ties are exact */
        products[q] = q == 3 ? NAN : (float)cpt_stream_below(&s, 9);
        lows[q] = (float)cpt_stream_below(&s, 20);
        reach[q] = q == 20 ? INFINITY : (float)cpt_stream_below(&s, 3);
        if (4 + lows[q] - 2 * products[q] <= (reach[q] + 1) * (reach[q] + 1)) want[n_want++] = q;
    }
    assert_true(n_want > 5 && n_want < N - 5);
    for (int level = 0; level <= cpt_cpu_best(); level++) {
        assert_int_equal(cpt_scan_kernels_at(level)->within(N, products, lows, reach, 4, 1, got), n_want);
        assert_memory_equal(got, want, (size_t)n_want * sizeof *want);
    }
}

static void same_for_any_thread_count(void **state)
{
    enum { N = 1500, DIM = 10, K = 15 };
    float *x = normal_points(N, DIM, 0, 1, 9), *d[2];
    int32_t *nb[2];
    for (int t = 0; t < 2; t++) {
        cpt_context ctx = {.n_threads = t ? 3 : 1};
        nb[t] = malloc(N * K * sizeof **nb);
        d[t] = malloc(N * K * sizeof **d);
        assert_ok(cpt_neighbours(x, N, DIM, K, nb[t], d[t], &ctx, &err));
    }
    assert_memory_equal(nb[0], nb[1], N * K * sizeof **nb);
    assert_memory_equal(d[0], d[1], N * K * sizeof **d);
    for (int t = 0; t < 2; t++) free(nb[t]), free(d[t]);
    free(x);
}

static void wrong_input(void **state)
{
    float x[6] = {0, 1, 2, NAN, 4, 5}, d[6];
    int32_t nb[6];
    assert_int_equal(cpt_neighbours(x, 3, 2, 2, nb, d, NULL, &err), CPT_ERR_DATA);
    assert_non_null(strstr(err.text, "row 1"));
    assert_non_null(strstr(err.text, "column 1"));
    x[3] = INFINITY;
    assert_int_equal(cpt_neighbours(x, 3, 2, 2, nb, d, NULL, &err), CPT_ERR_DATA);
    x[3] = 3;
    assert_int_equal(cpt_neighbours(x, 3, 2, 0, nb, d, NULL, &err), CPT_ERR_USAGE);
    assert_int_equal(cpt_neighbours(x, 3, 0, 2, nb, d, NULL, &err), CPT_ERR_USAGE);
    assert_ok(cpt_neighbours(x, 0, 2, 2, nb, d, NULL, &err));

    int stop = 1;
    cpt_context ctx = {.n_threads = 1, .stop = &stop};
    assert_int_equal(cpt_neighbours(x, 3, 2, 2, nb, d, &ctx, &err), CPT_ERR_INTERRUPTED);
}

static void median_distance(void **state)
{
    /* On a line: nearest distances 1 1 2 4 8 16. */
    const float x[6] = {0, 1, 3, 7, 15, 31};
    double median;
    assert_ok(cpt_median_neighbour_distance(x, 6, 1, 100, &median, NULL, &err));
    assert_near(median, 3, 0);
    assert_ok(cpt_median_neighbour_distance(x, 6, 1, 3, &median, NULL, &err)); /* points 0, 2, 4 */
    assert_near(median, 2, 0);
    assert_int_equal(cpt_median_neighbour_distance(x, 1, 1, 3, &median, NULL, &err), CPT_ERR_DATA);
    assert_int_equal(cpt_median_neighbour_distance(x, 6, 1, 0, &median, NULL, &err), CPT_ERR_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_points),
        cmocka_unit_test(far_from_origin),
        cmocka_unit_test(huge_and_tiny_values),
        cmocka_unit_test(ties_go_to_the_lower_number),
        cmocka_unit_test(tight_clusters_and_duplicates),
        cmocka_unit_test(clusters_apart),
        cmocka_unit_test(scans_agree),
        cmocka_unit_test(points_about_a_centre),
        cmocka_unit_test(queries_within_reach),
        cmocka_unit_test(same_for_any_thread_count),
        cmocka_unit_test(wrong_input),
        cmocka_unit_test(median_distance),
    };
    int failed = 0;
    for (int level = 0; level <= cpt_cpu_best(); level++) { /* every instruction set scans in its own way */
        setenv("CONCEPTOME_CPU", cpt_cpu_level_name(level), 1);
        failed += cmocka_run_group_tests_name(cpt_cpu_level_name(level), tests, NULL, NULL);
    }
    return failed;
}

#include "check.h"

#include "base/cpu.h"
#include "base/random.h"
#include "math/rows.h"
#include "math/topk.h"

enum { N_MAX = 5000 };

static float row[N_MAX], want_value[N_MAX], got_value[N_MAX];
static int32_t want_index[N_MAX], got_index[N_MAX];
static _Alignas(64) char scratch[3 * (N_MAX + 64) * sizeof(float)];

/* Row by piece, the pieces of uneven size. */
static void check_run(const cpt_topk_kernels *kernels, int32_t n, int32_t k, float floor, int32_t want)
{
    static int32_t index[CPT_TOPK_RUN_K];
    static float value[CPT_TOPK_RUN_K];
    cpt_topk_run run = {.bound = floor};
    for (int32_t i = 0, piece = 32; i < n; i += piece, piece = i % 7 == 3 ? 5 : 32)
        kernels->more(&run, k, i, n - i < piece ? n - i : piece, row + i);
    assert_int_equal(kernels->end(&run, k, index, value), want);
    if (want == 0) return;
    assert_memory_equal(index, want_index, (size_t)want * sizeof *index);
    assert_memory_equal(value, want_value, (size_t)want * sizeof *value);
}

static void compare(int32_t n, int32_t k, float floor)
{
    assert_true(cpt_topk_scratch(n) <= sizeof scratch);
    int32_t want = cpt_topk_reference(row, n, k, floor, want_index, want_value, scratch);
    for (int level = 0; level <= cpt_cpu_best(); level++) {
        const cpt_topk_kernels *kernels = cpt_topk_kernels_at(level);
        int32_t got = kernels->row(row, n, k, floor, got_index, got_value, scratch);
        assert_int_equal(got, want);
        if (k <= CPT_TOPK_RUN_K) check_run(kernels, n, k, floor, want);
        if (want == 0) continue;
        assert_memory_equal(got_index, want_index, (size_t)want * sizeof *got_index);
        assert_memory_equal(got_value, want_value, (size_t)want * sizeof *got_value);
    }
}

static void compare_sizes(void)
{
    static const int32_t sizes[] = {0, 1, 2, 15, 16, 17, 31, 33, 96, 160, 480, 1000, 4096, 4999};
    static const int32_t ks[] = {0, 1, 2, 5, 8, 16, 17, 32, 64, 100, 513, 1024, 2000, 5000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (size_t j = 0; j < sizeof ks / sizeof *ks; j++) {
            compare(sizes[i], ks[j], 0);
            compare(sizes[i], ks[j], -INFINITY);
        }
}

static void test_random_rows(void **state)
{
    cpt_stream s;
    cpt_stream_init(&s, 1, CPT_RANDOM_TEST, 0);
    for (int i = 0; i < N_MAX; i++) row[i] = (float)cpt_stream_normal(&s);
    compare_sizes();
}

/* Few distinct values: nearly everything is decided by the rule for ties. */
static void test_ties(void **state)
{
    cpt_stream s;
    cpt_stream_init(&s, 2, CPT_RANDOM_TEST, 0);
    for (int i = 0; i < N_MAX; i++) row[i] = (float)((double)cpt_stream_below(&s, 5) - 2);
    compare_sizes();
    for (int i = 0; i < N_MAX; i++) row[i] = 1;
    compare_sizes();
    int32_t m = cpt_topk_kernels_get()->row(row, 1000, 3, 0, got_index, got_value, scratch);
    assert_int_equal(m, 3);
    for (int i = 0; i < 3; i++) assert_int_equal(got_index[i], i);
}

static void test_sorted_rows(void **state)
{
    for (int i = 0; i < N_MAX; i++) row[i] = (float)i - 100;
    compare_sizes();
    for (int i = 0; i < N_MAX; i++) row[i] = 100 - (float)i;
    compare_sizes();
}

static void test_odd_values(void **state)
{
    cpt_stream s;
    cpt_stream_init(&s, 3, CPT_RANDOM_TEST, 0);
    static const float odd[] = {NAN, INFINITY, -INFINITY, 0.0f, -0.0f, 1e-42f, -1e-42f, 3e38f};
    for (int i = 0; i < N_MAX; i++)
        row[i] = cpt_stream_below(&s, 3) ? (float)cpt_stream_normal(&s) : odd[cpt_stream_below(&s, 8)];
    compare_sizes();
    for (int i = 0; i < N_MAX; i++) row[i] = NAN;
    compare_sizes();
    assert_int_equal(cpt_topk_kernels_get()->row(row, 100, 5, 0, got_index, got_value, scratch), 0);
}

/* Values <= floor have no place even when there are fewer than k others. */
static void test_floor(void **state)
{
    for (int i = 0; i < 64; i++) row[i] = i < 60 ? -1.0f : (float)i;
    int32_t m = cpt_topk_kernels_get()->row(row, 64, 8, 0, got_index, got_value, scratch);
    assert_int_equal(m, 4);
    assert_int_equal(got_index[0], 60);
    assert_int_equal(got_index[3], 63);
}

static void test_row_kernels(void **state)
{
    enum { N = 48 };
    float x[N], y[N], z[N], m[N], v[N], w[N];
    cpt_stream s;
    cpt_stream_init(&s, 4, CPT_RANDOM_TEST, 0);
    double sum = 0;
    for (int i = 0; i < N; i++) {
        x[i] = (float)cpt_stream_normal(&s);
        y[i] = (float)cpt_stream_normal(&s);
        sum += (double)x[i] * y[i];
    }
    for (int level = 0; level <= cpt_cpu_best(); level++) {
        const cpt_row_kernels *kernels = cpt_row_kernels_at(level);
        assert_near(kernels->dot(x, y, N), sum, 1e-5);
        memcpy(z, y, sizeof z);
        kernels->axpy(2, x, z, N);
        for (int i = 0; i < N; i++) assert_near(z[i], y[i] + 2 * (double)x[i], 1e-6);

        memset(m, 0, sizeof m);
        memset(v, 0, sizeof v);
        memset(w, 0, sizeof w);
        double dm = 0, dv = 0, dw = 0; /* entry 7 by hand, in double, two steps and one without g */
        for (int t = 1; t <= 3; t++) {
            double g = t < 3 ? 0.5 * x[7] : 0;
            cpt_adam step = cpt_adam_at(0.01, 0.9, 0.999, 1e-8, t, 0.5);
            kernels->adam(&step, t < 3 ? x : NULL, m, v, w, N);
            dm = 0.9 * dm + 0.1 * g;
            dv = 0.999 * dv + 0.001 * g * g;
            dw -= 0.01 / (1 - pow(0.9, t)) * dm / (sqrt(dv / (1 - pow(0.999, t))) + 1e-8);
            assert_near(w[7], dw, 1e-7);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_rows), cmocka_unit_test(test_ties),
        cmocka_unit_test(test_sorted_rows), cmocka_unit_test(test_odd_values),
        cmocka_unit_test(test_floor),       cmocka_unit_test(test_row_kernels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

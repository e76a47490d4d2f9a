/* The k largest products by screening in bfloat16, on every level: position for position and bit for bit what all f32
 * products give, for ordinary rows and for those that make bounds useless. */
#include "base/cpu.h"
#include "base/random.h"
#include "check.h"
#include "math/screen.h"

enum { OUT = 701, IN = 208, ROWS = 150 };

static cpt_err err;
static float w[OUT * IN], bias[OUT], x[ROWS * IN];
static int32_t counts[ROWS], chosen[ROWS * CPT_TOPK_RUN], every[OUT];
static cpt_topk_run runs[ROWS];
static float norms[ROWS];

/* Rows of the matrix of lengths that differ by a factor of 20, biases of both signs, rows shifted from 0. */
static void ordinary(uint64_t seed)
{
    cpt_stream s;
    cpt_stream_init(&s, seed, CPT_RANDOM_TEST, 0);
    for (int c = 0; c < OUT; c++) {
        const double length = exp(3 * cpt_stream_uniform(&s) - 3);
        for (int j = 0; j < IN; j++) w[c * IN + j] = (float)(length * cpt_stream_normal(&s));
        bias[c] = (float)(cpt_stream_normal(&s) - 0.5);
        every[c] = c;
    }
    for (int i = 0; i < ROWS * IN; i++) x[i] = (float)(cpt_stream_normal(&s) + 0.3);
}

static void values_of(const cpt_screen *s, int i, int32_t m, const int32_t *outputs, float *values)
{
    for (int64_t strip = 0; strip < cpt_strips(IN); strip++) cpt_screen_add(s, strip, x + i * IN, m, outputs, values);
}

/* Returns how many rows were given up; *candidates = their mean number in the others. */
static int compare(int32_t k, double *candidates)
{
    const cpt_topk_kernels *topk = cpt_topk_kernels_get();
    static float all[OUT], few[CPT_TOPK_RUN], value[2][CPT_TOPK_RUN_K];
    int32_t index[2][CPT_TOPK_RUN_K];
    size_t bytes;
    int given_up = 0, n_candidates = 0;
    assert_ok(cpt_screen_bytes(OUT, IN, &bytes, &err));
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    void *scratch = aligned_alloc(64, (cpt_topk_scratch(OUT) + 63) / 64 * 64);
    assert_true(memory && scratch);
    cpt_screen s = cpt_screen_of(OUT, IN, memory);
    cpt_screen_pack(&s, 256, OUT, w, bias); /* in any order */
    cpt_screen_pack(&s, 0, 256, w, bias);
    cpt_screen_ready(&s, bias);
    cpt_screen_rows(&s, ROWS, x, k, runs, norms, counts, chosen);
    for (int i = 0; i < ROWS; i++) {
        if (counts[i] == CPT_TOPK_TOO_MANY) {
            given_up++;
            continue;
        }
        values_of(&s, i, OUT, every, all);
        values_of(&s, i, counts[i], chosen + i * CPT_TOPK_RUN, few);
        const int32_t n = topk->few(counts[i], chosen + i * CPT_TOPK_RUN, few, k, index[0], value[0]);
        assert_int_equal(n, cpt_topk_reference(all, OUT, k, 0, index[1], value[1], scratch));
        assert_memory_equal(index[0], index[1], (size_t)n * sizeof *index[0]);
        assert_memory_equal(value[0], value[1], (size_t)n * sizeof *value[0]);
        n_candidates += counts[i];
    }
    if (candidates) *candidates = given_up < ROWS ? (double)n_candidates / (ROWS - given_up) : 0;
    free(memory);
    free(scratch);
    return given_up;
}

static void on_every_level(void (*test)(void))
{
    for (int level = 0; level <= cpt_cpu_best(); level++) {
        setenv("CONCEPTOME_CPU", cpt_cpu_level_name(level), 1);
        test();
    }
    unsetenv("CONCEPTOME_CPU");
}

static void ordinary_rows(void)
{
    static const int32_t ks[] = {1, 5, 32, 64};
    for (int i = 0; i < 4; i++) {
        double candidates;
        ordinary((uint64_t)i);
        assert_int_equal(compare(ks[i], &candidates), 0);
        assert_true(candidates < 1.3 * ks[i] + 4);
    }
}

/* Of the f32 products themselves: near those in double. */
static void products(void)
{
    static float values[OUT];
    size_t bytes;
    ordinary(9);
    assert_ok(cpt_screen_bytes(OUT, IN, &bytes, &err));
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    assert_non_null(memory);
    cpt_screen s = cpt_screen_of(OUT, IN, memory);
    cpt_screen_pack(&s, 0, OUT, w, bias);
    cpt_screen_ready(&s, bias);
    for (int i = 0; i < ROWS; i += 10) {
        values_of(&s, i, OUT, every, values);
        for (int c = 0; c < OUT; c++) {
            double sum = bias[c], size = fabs(sum);
            for (int j = 0; j < IN; j++) {
                sum += (double)x[i * IN + j] * w[c * IN + j];
                size += fabs((double)x[i * IN + j] * w[c * IN + j]);
            }
            assert_near(values[c], sum, 1e-6 * size);
        }
    }
    free(memory);
}

/* Nothing above 0, and fewer than k. */
static void few_positive(void)
{
    ordinary(11);
    for (int c = 0; c < OUT; c++) bias[c] = -1e4f;
    assert_int_equal(compare(32, NULL), 0);
    for (int c = 3; c < 20; c++) bias[c] = 1e4f;
    assert_int_equal(compare(32, NULL), 0);
}

/* Pairs of equal rows are told apart by position; hundreds of them are given up. */
static void equal_rows(void)
{
    ordinary(12);
    for (int c = 1; c < OUT; c += 2) {
        memcpy(w + c * IN, w + (c - 1) * IN, IN * sizeof *w);
        bias[c] = bias[c - 1];
    }
    assert_int_equal(compare(31, NULL), 0);
    for (int c = 0; c < 300; c++) {
        memcpy(w + c * IN, w, IN * sizeof *w);
        bias[c] = 1e4f;
    }
    assert_int_equal(compare(31, NULL), ROWS);
}

/* Numbers so small that squares and products vanish, so large that they overflow, and none at all. */
static void odd_numbers(void)
{
    ordinary(13);
    for (int j = 0; j < IN; j++) {
        x[0 * IN + j] = 0;
        x[1 * IN + j] *= 1e-30f;
        x[2 * IN + j] *= 1e-41f;
        x[3 * IN + j] *= 1e12f;
        x[4 * IN + j] *= 1e25f;
        x[5 * IN + j] = j == 7 ? NAN : x[5 * IN + j];
        x[6 * IN + j] = j == 7 ? INFINITY : x[6 * IN + j];
        w[3 * IN + j] = 0;
        w[4 * IN + j] *= 1e-25f;
    }
    bias[3] = 50;
    compare(32, NULL);
    for (int i = 4; i < 7; i++) assert_int_equal(counts[i], CPT_TOPK_TOO_MANY);
    assert_true(counts[3] >= 32 && counts[7] >= 32);
    w[100] = NAN;
    assert_int_equal(compare(32, NULL), ROWS);
    w[100] = 3e38f;
    assert_int_equal(compare(32, NULL), ROWS);
}

static void test_ordinary_rows(void **state)
{
    on_every_level(ordinary_rows);
}
static void test_products(void **state)
{
    on_every_level(products);
}
static void test_few_positive(void **state)
{
    on_every_level(few_positive);
}
static void test_equal_rows(void **state)
{
    on_every_level(equal_rows);
}
static void test_odd_numbers(void **state)
{
    on_every_level(odd_numbers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_ordinary_rows), cmocka_unit_test(test_products),
                                       cmocka_unit_test(test_few_positive), cmocka_unit_test(test_equal_rows),
                                       cmocka_unit_test(test_odd_numbers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

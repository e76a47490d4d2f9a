/* test_corrections.c - BH over all concepts, and Simes then within, by hand and against definitions. */
#include "check.h"

#include "base/random.h"
#include "enrich/corrections.h"
#include "math/statistics.h"

enum { FAMILIES = 30, TESTS = 40, ALL = FAMILIES * TESTS };

static void test_by_hand(void **state)
{
    cpt_err err;
    const int64_t first[] = {0, 2, 2, 4}, n_tests[] = {4, 4, 4};
    const double p[] = {0.001, 0.02, 0.04, 0.03};
    double log10p[4];
    cpt_corrections c;
    for (int i = 0; i < 4; i++) log10p[i] = log10(p[i]);
    cpt_test_families f = {3, first, n_tests, log10p};
    assert_ok(cpt_corrections_make(&f, 0.05, &c, &err));
    assert_near(c.p_simes[0], 0.004, 1e-15); /* min(4 * 0.001, 4 * 0.02 / 2) */
    assert_near(c.p_simes[1], 1, 0);
    assert_near(c.p_simes[2], 0.08, 1e-15);
    assert_near(c.q_simes[0], 0.012, 1e-15);
    assert_near(c.q_simes[2], 0.12, 1e-15);
    assert_int_equal(c.n_selected, 1);
    assert_near(c.q_hierarchical[0], 0.012, 1e-15); /* 0.004 * 3 / 1 */
    assert_near(c.q_hierarchical[1], 0.12, 1e-15);
    assert_true(isnan(c.q_hierarchical[2]));
    assert_near(c.q_all[0], 0.012, 1e-15); /* 12 tests */
    assert_near(c.q_all[1], 0.12, 1e-15);
    assert_near(c.q_all[3], 0.12, 1e-15);  /* 12 * 0.03 / 3 */
    cpt_corrections_free(&c);
}

static void random_p(double *log10p, double share_of_effects)
{
    cpt_stream s;
    cpt_stream_init(&s, 5, CPT_RANDOM_TEST, 0);
    for (int i = 0; i < ALL; i++) {
        double p = cpt_stream_uniform(&s);
        log10p[i] = log10(p) * (cpt_stream_uniform(&s) < share_of_effects ? 8 : 1);
    }
}

/* Leaving out p above 0.05 changes no value up to 0.05, and makes none smaller. */
static void test_short_lists(void **state)
{
    cpt_err err;
    static double all[ALL], kept[ALL], small[ALL];
    static int64_t from[ALL];
    int64_t first[FAMILIES + 1] = {0}, short_first[FAMILIES + 1] = {0}, n_tests[FAMILIES], n = 0;
    cpt_corrections a, b;
    random_p(all, 0.1);
    for (int f = 0; f < FAMILIES; f++) {
        n_tests[f] = TESTS;
        first[f + 1] = (f + 1) * TESTS;
        for (int i = f * TESTS; i < (f + 1) * TESTS; i++)
            if (all[i] <= log10(0.05)) {
                from[n] = i;
                kept[n++] = all[i];
            }
        short_first[f + 1] = n;
    }
    cpt_test_families whole = {FAMILIES, first, n_tests, all}, listed = {FAMILIES, short_first, n_tests, kept};
    assert_ok(cpt_corrections_make(&whole, 0.05, &a, &err));
    assert_ok(cpt_corrections_make(&listed, 0.05, &b, &err));
    assert_int_equal(a.n_selected, b.n_selected);
    assert_true(a.n_selected > 0 && a.n_selected <= FAMILIES);
    for (int64_t i = 0; i < n; i++) {
        int64_t k = from[i];
        if (a.q_all[k] <= 0.05) assert_near(b.q_all[i], a.q_all[k], 1e-12);
        assert_true(b.q_all[i] >= a.q_all[k] * (1 - 1e-12));
        if (a.q_hierarchical[k] <= 0.05) assert_near(b.q_hierarchical[i], a.q_hierarchical[k], 1e-12);
    }
    /* q_all is BH over everything. */
    for (int i = 0; i < ALL; i++) small[i] = pow(10, all[i]);
    static double q[ALL];
    assert_ok(cpt_bh(ALL, small, 0, q, &err));
    for (int i = 0; i < ALL; i++) assert_near(a.q_all[i], q[i], 1e-12);
    cpt_corrections_free(&a);
    cpt_corrections_free(&b);
}

static void test_edges(void **state)
{
    cpt_err err;
    cpt_corrections c;
    const int64_t first[] = {0, 1}, none[] = {0, 0}, one[] = {1}, zero[] = {0};
    const double tiny[] = {-500};
    cpt_test_families empty = {0, none, one, NULL}, extreme = {1, first, one, tiny}, wrong = {1, first, zero, tiny};
    assert_ok(cpt_corrections_make(&empty, 0.05, &c, &err));
    assert_int_equal(c.n_selected, 0);
    cpt_corrections_free(&c);
    assert_ok(cpt_corrections_make(&extreme, 0.05, &c, &err));
    assert_true(c.q_all[0] > 0 && c.p_simes[0] > 0 && c.q_hierarchical[0] > 0);
    cpt_corrections_free(&c);
    assert_int_equal(cpt_corrections_make(&wrong, 0.05, &c, &err), CPT_ERR_INTERNAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_by_hand), cmocka_unit_test(test_short_lists),
                                       cmocka_unit_test(test_edges)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Tests and tails against SciPy and scikit-learn on made-up data (test/golden/stats). */
#include "golden.h"

#include "math/statistics.h"

static cpt_err err;

/* |got / want - 1| within tolerance; both NaN counts as equal. */
static void check(double got, double want, double tolerance, const char *what, size_t i)
{
    if (isnan(want) ? !isnan(got) : !(fabs(got - want) <= tolerance * fabs(want)))
        fail_msg("%s of entry %zu: %.17g, SciPy has %.17g", what, i, got, want);
}

static void test_welch(void **state)
{
    json_t *root = golden_json("test/golden/stats/two_group.json"), *row;
    size_t i;
    json_array_foreach(json_object_get(root, "tests"), i, row) {
        int n;
        double *mean = golden_array(json_object_get(row, "mean"), &n);
        double *var = golden_array(json_object_get(row, "var"), &n);
        cpt_test t = cpt_welch(mean[0], var[0], 17, mean[1], var[1], 23);
        double want = golden_get(row, "welch_t");
        if (i == 18) { /* SciPy: -inf, p = 0; ours is never 0 */
            assert_true(isinf(t.statistic) && t.statistic < 0 && t.p > 0 && t.p < 1e-300);
        } else {
            check(t.statistic, want, 1e-12, "t", i);
            check(t.p, golden_get(row, "welch_p"), 1e-11, "p of t", i);
            if (!isnan(want)) check(t.df, golden_get(row, "welch_df"), 1e-12, "df", i);
        }
        free(mean), free(var);
    }
    assert_int_equal(i, 20);
    json_decref(root);
}

static void test_rank_sum(void **state)
{
    json_t *root = golden_json("test/golden/stats/two_group.json"), *row;
    json_t *counts = json_object_get(root, "counts"), *groups = json_object_get(root, "group_1");
    size_t i;
    json_array_foreach(json_object_get(root, "tests"), i, row) {
        int n;
        double *x = golden_array(json_object_get(json_array_get(counts, i), "counts"), &n);
        double ranks[40], sum = 0, u = golden_get(row, "mwu_u");
        int64_t order[40];
        float score[40];
        uint8_t positive[40];
        double ties = cpt_midranks(n, x, ranks, order);
        for (int j = 0; j < n; j++) {
            positive[j] = json_is_true(json_array_get(groups, (size_t)j));
            score[j] = (float)x[j];
            if (positive[j]) sum += ranks[j];
        }
        check(sum, golden_get(row, "rank_sum_1"), 0, "rank sum", i);
        check(ties, golden_get(row, "tie_sum"), 0, "tie sum", i);
        if (!isnan(u)) check(sum - 17 * 18 / 2., u, 0, "U", i);
        check(cpt_rank_sum(sum, 17, 23, ties, false).p, golden_get(row, "mwu_p"), 1e-11, "p of U",
              i);
        check(cpt_rank_sum(sum, 17, 23, ties, true).p, golden_get(row, "mwu_p_continuity"), 1e-11,
              "p of U with continuity", i);
        check(cpt_auroc(n, score, positive), golden_get(row, "auroc"), 1e-14, "AUROC", i);
        free(x);
    }
    json_decref(root);
}

static void test_false_discoveries(void **state)
{
    json_t *root = golden_json("test/golden/stats/corrections.json"), *entry;
    size_t i;
    json_array_foreach(json_object_get(root, "bh"), i, entry) {
        int n;
        double *p = golden_array(json_object_get(entry, "p"), &n), got[64];
        double *q = golden_array(json_object_get(entry, "q"), &n), log10p[64];
        assert_ok(cpt_bh(n, p, 0, got, &err));
        for (int j = 0; j < n; j++) check(got[j], q[j], 1e-14, "q", i);
        for (int j = 0; j < n; j++) log10p[j] = log10(p[j]);
        assert_ok(cpt_bh_log10(n, log10p, 0, got, &err));
        for (int j = 0; j < n; j++) assert_near(got[j], log10(q[j]), 1e-12);
        free(p), free(q);
    }
    assert_int_equal(i, 4);
    json_decref(root);
}

/* SciPy's terms are differences of log-gammas up to 2e4: 1e-10 absolute. */
static void test_hypergeometric(void **state)
{
    json_t *root = golden_json("test/golden/stats/hypergeometric.json"), *row;
    size_t i;
    json_array_foreach(json_object_get(root, "tails"), i, row) {
        int64_t N = (int64_t)golden_get(row, "N"), m = (int64_t)golden_get(row, "m");
        int64_t k = (int64_t)golden_get(row, "k"), q = (int64_t)golden_get(row, "q");
        assert_near(cpt_hyper_log_upper(N, m, k, q), golden_get(row, "log_upper"), 1e-10);
        assert_near(cpt_hyper_log_lower(N, m, k, q), golden_get(row, "log_lower"), 1e-10);
        double logsf = golden_get(row, "logsf"), logcdf = golden_get(row, "logcdf");
        if (!isnan(logsf)) assert_near(cpt_hyper_log_upper(N, m, k, q), logsf, 1e-9);
        if (!isnan(logcdf)) assert_near(cpt_hyper_log_lower(N, m, k, q), logcdf, 1e-9);
    }
    assert_int_equal(i, 60);
    json_decref(root);
}

static void test_correlations(void **state)
{
    json_t *root = golden_json("test/golden/stats/correlations.json"), *row;
    size_t i;
    json_array_foreach(json_object_get(root, "pairs"), i, row) {
        int n;
        double *x = golden_array(json_object_get(row, "x"), &n);
        double *y = golden_array(json_object_get(row, "y"), &n);
        assert_near(cpt_pearson(n, x, y), golden_get(row, "pearson"), 1e-14);
        assert_near(cpt_spearman(n, x, y, &err), golden_get(row, "spearman"), 1e-14);
        free(x), free(y);
    }
    assert_int_equal(i, 3);
    json_decref(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_welch),
        cmocka_unit_test(test_rank_sum),
        cmocka_unit_test(test_false_discoveries),
        cmocka_unit_test(test_hypergeometric),
        cmocka_unit_test(test_correlations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

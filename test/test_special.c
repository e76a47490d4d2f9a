/* Special functions and hypergeometric tails against R and exact integer arithmetic. */
#include "check.h"
#include "golden.h"

#include "math/statistics.h"

static double evaluate(const char *f, double a, double b)
{
    if (!strcmp(f, "lgamma")) return cpt_lgamma(a);
    if (!strcmp(f, "digamma")) return cpt_digamma(a);
    if (!strcmp(f, "trigamma")) return cpt_trigamma(a);
    if (!strcmp(f, "ln_pt_upper")) return cpt_log_t_upper(a, b);
    if (!strcmp(f, "ln_pnorm_upper")) return cpt_log_normal_upper(a);
    if (!strcmp(f, "qnorm")) return cpt_normal_quantile(a);
    if (!strcmp(f, "ln_pchisq_upper")) return cpt_log_chi2_upper(a, b);
    if (!strcmp(f, "qbeta_n_and_1001-n")) return cpt_beta_quantile(a, b, 1001 - b);
    fail_msg("unknown function %s", f);
    return NAN;
}

static void test_against_r(void **state)
{
    NEED_SHARED(path, "golden/stats/special_functions.tsv");
    golden_tsv t;
    int n = 0;
    golden_tsv_open(&t, path);
    while (golden_tsv_next(&t)) {
        double a = golden_number(&t, "a"), b = golden_number(&t, "b"), want = golden_number(&t, "v");
        double got = evaluate(golden_text(&t, "f"), a, b);
        if (!(fabs(got - want) <= 1e-11 * fabs(want) || got == want))
            fail_msg("%s(%g, %g) = %.17g, want %.17g", golden_text(&t, "f"), a, b, got, want);
        n++;
    }
    assert_true(n > 100);
}

/* The quantile must undo the distribution, whichever tail. */
static void test_quantiles_undo(void **state)
{
    static const double shapes[] = {0.3, 1, 2.5, 40, 3000}, ps[] = {1e-200, 1e-9, 0.2, 0.5, 0.8, 0.999};
    for (int i = 0; i < 5; i++)
        for (int j = 0; j < 5; j++)
            for (int k = 0; k < 6; k++) {
                double x = cpt_beta_quantile(ps[k], shapes[i], shapes[j]);
                if (x < 1e-290 || x > 0.999) continue;
                double back = cpt_log_beta_inc(shapes[i], shapes[j], x);
                assert_near(back, log(ps[k]), 1e-9 * fmax(1, fabs(log(ps[k]))));
            }
    for (double z = -37; z < 8; z += 0.37) {
        double p = exp(cpt_log_normal_upper(-z));
        assert_near(cpt_normal_quantile(p), z, 1e-12 * fmax(1, fabs(z)) + 3e-16 * exp(z * z / 2));
    }
}

static void test_identities(void **state)
{
    /* I_x(a, b) + I_1-x(b, a) = 1; chi-square with 2 degrees = exponential; Student with df -> normal. */
    for (double x = 0.01; x < 1; x += 0.07) {
        double p = exp(cpt_log_beta_inc(3.5, 9, x)), q = exp(cpt_log_beta_inc(9, 3.5, 1 - x));
        assert_near(p + q, 1, 1e-13);
    }
    assert_near(cpt_log_chi2_upper(1e5, 2), -5e4, 1e-7);
    assert_near(cpt_log_t_upper(5, INFINITY), cpt_log_normal_upper(5), 0);
    assert_near(cpt_log_t_upper(-3, 7), log1p(-exp(cpt_log_t_upper(3, 7))), 1e-14);
    assert_near(cpt_log_t_upper(1e200, 4), log(3) - 800 * M_LN10, 1e-9);
    assert_near(cpt_log_beta(1e8, 2), -log(1e8) - log1p(1e8), 1e-13 * 37);
    assert_near(cpt_log_beta(3, 4), -log(60), 1e-14);
    assert_near(cpt_log_gamma_inc_upper(1, 3), -3, 1e-14);
}

static void test_outside(void **state)
{
    assert_true(isnan(cpt_digamma(0)) && isnan(cpt_trigamma(-1)) && isnan(cpt_normal_quantile(1.5)));
    assert_true(isnan(cpt_log_beta_inc(-1, 2, 0.5)) && isnan(cpt_beta_quantile(NAN, 1, 1)));
    assert_true(isnan(cpt_log_t_upper(NAN, 3)) && isnan(cpt_log_gamma_inc_upper(1, NAN)));
    assert_true(cpt_log_beta_inc(1, 2, 0) == -INFINITY && cpt_log_beta_inc(1, 2, 1) == 0);
    assert_true(cpt_normal_quantile(0) == -INFINITY && cpt_normal_quantile(1) == INFINITY);
    assert_true(cpt_log_t_upper(INFINITY, 3) == -INFINITY && cpt_log_chi2_upper(0, 4) == 0);
}

static void test_hypergeometric_golden(void **state)
{
    NEED_SHARED(path, "golden/gsea/hypergeometric.tsv");
    golden_tsv t;
    int n = 0;
    golden_tsv_open(&t, path);
    while (golden_tsv_next(&t)) {
        int64_t N = atoll(golden_text(&t, "N")), m = atoll(golden_text(&t, "m"));
        int64_t k = atoll(golden_text(&t, "k")), q = atoll(golden_text(&t, "q"));
        double upper = golden_number(&t, "lnp_upper_exact"), lower = golden_number(&t, "lnp_lower_exact");
        assert_near(cpt_hyper_log_upper(N, m, k, q), upper, fmax(1e-11 * fabs(upper), 1e-12));
        assert_near(cpt_hyper_log_lower(N, m, k, q), lower, fmax(1e-11 * fabs(lower), 1e-12));
        n++;
    }
    assert_int_equal(n, 60);
}

/* Small cases in full: binomial coefficients are exact in doubles. */
static void test_hypergeometric_enumerated(void **state)
{
    for (int N = 0; N <= 14; N++)
        for (int m = 0; m <= N; m++)
            for (int k = 0; k <= N; k++) {
                double pmf[16] = {0}, total = 0, upper = 0;
                for (int x = 0; x <= m && x <= k; x++) {
                    if (k - x > N - m) continue;
                    double c = 1;
                    for (int i = 0; i < x; i++) c = c * (m - i) / (i + 1);
                    for (int i = 0; i < k - x; i++) c = c * (N - m - i) / (i + 1);
                    pmf[x] = c;
                    total += c;
                }
                for (int q = (m < k ? m : k); q >= 0; q--) {
                    upper += pmf[q];
                    double low = total - upper + pmf[q];
                    assert_near(exp(cpt_hyper_log_upper(N, m, k, q)), upper / total, 1e-12);
                    assert_near(exp(cpt_hyper_log_lower(N, m, k, q)), low / total, 1e-12);
                }
                assert_true(cpt_hyper_log_upper(N, m, k, k + 1) == -INFINITY);
                assert_true(cpt_hyper_log_upper(N, m, k, -3) == 0);
            }
    assert_true(isnan(cpt_hyper_log_upper(10, 11, 3, 1)));
}

/* Far tail of a large universe: symmetric in set and study, decreasing, finite. */
static void test_hypergeometric_far(void **state)
{
    double last = 0;
    for (int q = 0; q <= 5000; q += 50) {
        double l = cpt_hyper_log_upper(60000, 5000, 6000, q);
        assert_true(isfinite(l) && l <= last);
        assert_near(l, cpt_hyper_log_upper(60000, 6000, 5000, q), 1e-9 * fabs(l) + 1e-12);
        last = l;
    }
    assert_true(last < -12000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_r),
        cmocka_unit_test(test_quantiles_undo),
        cmocka_unit_test(test_identities),
        cmocka_unit_test(test_outside),
        cmocka_unit_test(test_hypergeometric_golden),
        cmocka_unit_test(test_hypergeometric_enumerated),
        cmocka_unit_test(test_hypergeometric_far),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

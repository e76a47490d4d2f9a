/* test_tilted.c - importance sampling of enrichment scores against all subsets, and against splitting. */
#include "check.h"

#include "enrich/multilevel.h"
#include "enrich/tilted.h"
#include "exact_null.h"

enum { STEPS = 64, MOST_GENES = 4000 };

/* |2 rank - n - 1|^power, a few units for power 2 */
static void weigh(int32_t n, int power, double *weight)
{
    for (int32_t i = 0; i < n; i++) weight[i] = pow(abs(2 * (i + 1) - n - 1), power);
}

/* Short lists, all subsets: the estimate lies within 1.96 stated errors for 95 % of the seeds, less what chance allows. */
static void test_exact(void **state)
{
    static exact_null null;
    enum { SEEDS = 40 };
    static const struct {
        int n, k, power;
    } lists[] = {{20, 5, 1}, {20, 3, 1}, {20, 4, 0}, {18, 5, 2}, {19, 1, 1}};
    cpt_err err;
    for (size_t c = 0; c < sizeof lists / sizeof *lists; c++) {
        int n = lists[c].n, k = lists[c].k, tried = 0, inside = 0;
        double weight[32], log_p[STEPS + 1], log2err[STEPS + 1], off = 0;
        int64_t weights[32];
        weigh(n, lists[c].power, weight);
        for (int i = 0; i < n; i++) weights[i] = (int64_t)weight[i];
        exact_list(&null, weights, n, k, CPT_SCORE_STD);
        for (int seed = 0; seed < SEEDS; seed++) {
            cpt_tilted_options o = {2000, log(1e-50), (uint64_t)seed};
            assert_ok(cpt_tilted_null(n, weight, k, &o, STEPS, log_p, log2err, NULL, &err));
            for (int s = 4; s <= STEPS; s += 12) {
                int beyond = 0;
                for (int i = 0; i < null.n; i++) beyond += null.es[i] >= (double)s / STEPS;
                if (beyond == 0) continue;
                assert_false(isnan(log2err[s]));
                double d = log_p[s] / M_LN2 - log2((double)beyond / null.n);
                tried++;
                off += d;
                inside += fabs(d) <= 1.96 * log2err[s] + 1e-9;
            }
        }
        if (tried < 4 * SEEDS || inside < 0.95 * tried - 3 * sqrt(tried * 0.95 * 0.05) || fabs(off / tried) > 0.02)
            fail_msg("n %d k %d: %d of %d within the stated error, mean log2 error %.4f", n, k, inside, tried,
                     off / tried);
    }
}

/* Long lists, small and large sets, weights of every power in use: as splitting says, which knows no tilts. */
static void test_agrees_with_splitting(void **state)
{
    static const struct {
        int n, k, power;
        double eps;
    } cases[] = {{4000, 15, 1, 1e-15}, {4000, 100, 1, 1e-25}, {4000, 400, 1, 1e-15}, {1000, 40, 2, 1e-15},
                 {1000, 40, 0, 1e-15}, {300, 200, 1, 1e-12}};
    static double weight[MOST_GENES];
    cpt_err err;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        int n = cases[c].n, k = cases[c].k, compared = 0;
        double log_p[STEPS + 1], log2err[STEPS + 1], squared = 0;
        cpt_multilevel_query q[STEPS];
        cpt_gsea_options ordinary;
        cpt_gsea_options_init(&ordinary);
        ordinary.eps = cases[c].eps;
        ordinary.sample_size = 301;
        weigh(n, cases[c].power, weight);
        cpt_tilted_options o = {16000, log(cases[c].eps), 5};
        assert_ok(cpt_tilted_null(n, weight, k, &o, STEPS, log_p, log2err, NULL, &err));
        int n_queries = 0;
        for (int s = 2; s < STEPS && log_p[s] > log(cases[c].eps) && !isnan(log2err[s]); s++)
            q[n_queries++] = (cpt_multilevel_query){.size = k, .numerator = s * (1e6 / STEPS) * (n - k), .total = 1e6};
        assert_ok(cpt_multilevel_run(n, weight, &ordinary, n_queries, q, 1, NULL, &err));
        for (int i = 0; i < n_queries; i++) {
            if (isnan(q[i].log2err)) continue;
            double z = (q[i].log_p - log_p[i + 2]) / M_LN2 / hypot(q[i].log2err, log2err[i + 2]);
            assert_true(fabs(z) < 4.5);
            squared += z * z;
            compared++;
        }
        assert_true(compared > 10 && sqrt(squared / compared) < 2); /* entries of one table err together */
        assert_true(log_p[n_queries + 1] < log(cases[c].eps) + 5);  /* as deep as asked */
    }
}

/* Independent runs differ by what they state, from the bulk to 1e-30. */
static void test_stated_errors(void **state)
{
    enum { N = 3000, K = 60, SEEDS = 40, AT = 6 };
    static double weight[N], found[SEEDS][AT], stated[AT];
    double log_p[STEPS + 1], log2err[STEPS + 1];
    cpt_err err;
    weigh(N, 1, weight);
    for (int seed = 0; seed < SEEDS; seed++) {
        cpt_tilted_options o = {3000, log(1e-30), (uint64_t)seed};
        assert_ok(cpt_tilted_null(N, weight, K, &o, STEPS, log_p, log2err, NULL, &err));
        for (int i = 0; i < AT; i++) {
            found[seed][i] = log_p[10 + 8 * i] / M_LN2;
            stated[i] += log2err[10 + 8 * i] * log2err[10 + 8 * i] / SEEDS;
        }
    }
    for (int i = 0; i < AT; i++) {
        double mean = 0, variance = 0;
        for (int seed = 0; seed < SEEDS; seed++) mean += found[seed][i] / SEEDS;
        for (int seed = 0; seed < SEEDS; seed++) variance += pow(found[seed][i] - mean, 2) / (SEEDS - 1);
        assert_true(variance < 2.2 * stated[i] && variance > 0.4 * stated[i]); /* chi-square on 39, both beyond .999 */
    }
    assert_true(log_p[10 + 8 * (AT - 1)] < log(1e-20));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact),
        cmocka_unit_test(test_agrees_with_splitting),
        cmocka_unit_test(test_stated_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

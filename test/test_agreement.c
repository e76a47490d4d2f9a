/* Agreement of ratings: textbook values, values of scikit-learn 1.9, statsmodels and krippendorff
 * 0.9 on simulated ratings (made once; the ratings stand below), and properties of interval and
 * permutation. */
#include "check.h"

#include "base/random.h"
#include "evaluate/agreement.h"

enum { UNITS = 40 };
static const int32_t simulated[3][UNITS] = {
    {3, 3, 2, 2, 3, 1, 3, 5, 2, 3, 4, 3, 3, 2, 3, 4, 1, 3, 1, 1,
     1, 3, 2, 3, 3, 3, 1, 3, 3, 3, 1, 2, 2, 2, 5, 2, 3, 4, 2, 3},
    {3, 3, 3, 2, 2, 1, 3, 4, 3, 3, 4, 4, 3, 3, 3, 4, 1, 3, 1, 1,
     1, 2, 2, 5, 3, 2, 1, 3, 3, 3, 2, 3, 1, 2, 4, 1, 3, 3, 3, 3},
    {3, 3, 3, 1, 1, 2, 1, 5, 1, 3, 3, 4, 3, 1, 4, 5, 1, 2, 1, 1,
     2, 2, 1, 2, 2, 1, 1, 2, 4, 3, 1, 2, 1, 2, 4, 2, 1, 3, 4, 2}};

/* Values of sklearn.metrics.cohen_kappa_score(weights="quadratic"). */
static void weighted_kappa_agrees_with_sklearn(void **state)
{
    const double want[3] = {0.7721822541966428, 0.6038647342995169, 0.5769230769230769};
    const int pair[3][2] = {{0, 1}, {0, 2}, {1, 2}};
    for (int i = 0; i < 3; i++) {
        cpt_kappa k = cpt_kappa_weighted(simulated[pair[i][0]], simulated[pair[i][1]], UNITS, 5);
        assert_int_equal(k.n, UNITS);
        assert_near(k.kappa, want[i], 1e-12);
    }
    assert_near(cpt_kappa_weighted(simulated[0], simulated[1], UNITS, 5).exact, 0.6, 1e-12);
}

static void weighted_kappa_edges(void **state)
{
    const int32_t same[4] = {1, 5, 3, 2}, constant[4] = {2, 2, 2, 2}, gaps[4] = {0, 5, 0, 2},
                  none[4] = {0};
    assert_near(cpt_kappa_weighted(same, same, 4, 5).kappa, 1, 0);
    assert_near(cpt_kappa_weighted(same, gaps, 4, 5).kappa, 1, 0);
    assert_int_equal(cpt_kappa_weighted(same, gaps, 4, 5).n, 2);
    assert_true(isnan(cpt_kappa_weighted(constant, constant, 4, 5).kappa));
    assert_near(cpt_kappa_weighted(constant, constant, 4, 5).exact, 1, 0);
    assert_true(isnan(cpt_kappa_weighted(same, none, 4, 5).exact));
    assert_int_equal(cpt_kappa_weighted(same, none, 4, 5).n, 0);
}

/* Fleiss' kappa: the worked example of 10 subjects and 14 raters (0.210), given as counts. */
static void fleiss_textbook(void **state)
{
    static const int counts[10][5] = {
        {0, 0, 0, 0, 14}, {0, 2, 6, 4, 2}, {0, 0, 3, 5, 6}, {0, 3, 9, 2, 0}, {2, 2, 8, 1, 1},
        {7, 7, 0, 0, 0},  {3, 2, 6, 3, 0}, {2, 5, 3, 2, 2}, {6, 5, 2, 1, 0}, {0, 2, 2, 3, 7}};
    int32_t ratings[14][10], n;
    for (int u = 0; u < 10; u++)
        for (int c = 0, rater = 0; c < 5; c++)
            for (int k = 0; k < counts[u][c]; k++) ratings[rater++][u] = c + 1;
    const cpt_ratings r = {14, 10, 5, &ratings[0][0]};
    assert_near(cpt_kappa_fleiss(&r, &n), 0.20993070442195522, 1e-12); /* statsmodels */
    assert_int_equal(n, 10);
    const cpt_ratings ours = {3, UNITS, 5, &simulated[0][0]};
    assert_near(cpt_kappa_fleiss(&ours, &n), 0.2497158014399394, 1e-12);
    ratings[3][2] = 0; /* that unit then has not been rated by all */
    cpt_kappa_fleiss(&r, &n);
    assert_int_equal(n, 9);
}

/* Krippendorff 2011, section E: four observers, twelve units, missing data; ordinal alpha 0.815. */
static void krippendorff_textbook(void **state)
{
    static const int32_t k[4][12] = {{1, 2, 3, 3, 2, 1, 4, 1, 2, 0, 0, 0},
                                     {1, 2, 3, 3, 2, 2, 4, 1, 2, 5, 0, 3},
                                     {0, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 0},
                                     {1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, 0}};
    const cpt_ratings r = {4, 12, 5, &k[0][0]};
    int32_t n;
    assert_near(cpt_alpha_ordinal(&r, &n), 0.8153875037548814, 1e-12);
    assert_int_equal(n, 11); /* the twelfth has one rating */
}

static void krippendorff_agrees_with_package(void **state)
{
    int32_t ratings[3][UNITS], n;
    memcpy(ratings, simulated, sizeof ratings);
    for (int u = 0; u < UNITS; u += 7) ratings[0][u] = 0;
    for (int u = 3; u < UNITS; u += 5) ratings[1][u] = 0;
    for (int u = 0; u < UNITS; u += 4) ratings[2][u] = 0;
    const cpt_ratings r = {3, UNITS, 5, &ratings[0][0]};
    assert_near(cpt_alpha_ordinal(&r, &n), 0.7152657513992502, 1e-12);
}

static void nothing_is_not_a_number(void **state)
{
    const int32_t none[2] = {0, 0};
    const cpt_ratings r = {2, 1, 5, none}, empty = {0, 0, 5, none};
    int32_t n;
    cpt_err err;
    cpt_rating_contrast c;
    cpt_rating_mean m;
    assert_true(isnan(cpt_alpha_ordinal(&r, &n)));
    assert_int_equal(n, 0);
    assert_true(isnan(cpt_kappa_fleiss(&empty, &n)));
    const int32_t kind[1] = {0};
    assert_ok(cpt_rating_compare(&r, kind, 0, 1, 100, 1, &c, &err));
    assert_true(isnan(c.difference) && isnan(c.p));
    assert_ok(cpt_rating_mean_of(&empty, kind, 0, 100, 1, &m, &err));
    assert_int_equal(m.n_units, 0);
    assert_true(isnan(m.mean));
}

static void mean_and_interval(void **state)
{
    int32_t kinds[UNITS];
    cpt_err err;
    cpt_rating_mean m, again;
    for (int u = 0; u < UNITS; u++) kinds[u] = u % 2;
    const cpt_ratings r = {3, UNITS, 5, &simulated[0][0]};
    assert_ok(cpt_rating_mean_of(&r, kinds, 0, 10000, 1, &m, &err));
    double sum = 0, square = 0;
    for (int u = 0; u < UNITS; u += 2) {
        double x = (simulated[0][u] + simulated[1][u] + simulated[2][u]) / 3.0;
        sum += x;
        square += x * x;
    }
    double mean = sum / 20, se = sqrt((square / 20 - mean * mean) / 20);
    assert_int_equal(m.n_units, 20);
    assert_int_equal(m.n_ratings, 60);
    assert_near(m.mean, mean, 1e-12);
    assert_near(m.low, mean - 1.96 * se, 0.1); /* the bootstrap of a mean is near to normal */
    assert_near(m.high, mean + 1.96 * se, 0.1);
    assert_ok(cpt_rating_mean_of(&r, kinds, 0, 10000, 1, &again, &err));
    assert_memory_equal(&m, &again, sizeof m);
}

/* Three units against three, one rater, complete separation: 2 of the 20 ways to split are as
 * extreme. */
static void permutation_p_is_exact(void **state)
{
    const int32_t ratings[6] = {5, 5, 5, 1, 1, 1}, kinds[6] = {0, 0, 0, 1, 1, 1};
    const cpt_ratings r = {1, 6, 5, ratings};
    cpt_rating_contrast c;
    cpt_err err;
    assert_ok(cpt_rating_compare(&r, kinds, 0, 1, 20000, 3, &c, &err));
    assert_near(c.difference, 4, 1e-12);
    assert_near(c.p, 0.1, 4 * sqrt(0.1 * 0.9 / 20000)); /* four standard errors */
    assert_int_equal(c.n_raters, 1);
}

static void p_is_never_zero(void **state)
{
    int32_t ratings[2][60], kinds[60];
    cpt_rating_contrast c;
    cpt_err err;
    for (int u = 0; u < 60; u++) {
        kinds[u] = u >= 30;
        ratings[0][u] = u < 30 ? 5 : 1;
        ratings[1][u] = u < 30 ? 4 : 2;
    }
    const cpt_ratings r = {2, 60, 5, &ratings[0][0]};
    assert_ok(cpt_rating_compare(&r, kinds, 0, 1, 999, 3, &c, &err));
    assert_near(c.p, 0.001, 1e-12);
    assert_near(c.difference, 3, 1e-12);
    assert_near(c.low, 3, 1e-12);
}

/* Two experts who look at the same units and agree are not twice the evidence: under the null p
 * must be uniform although their ratings of a unit are equal. */
static void twin_raters_do_not_make_significance(void **state)
{
    enum { RUNS = 200, N = 24 };
    int rejected = 0;
    cpt_err err;
    for (int run = 0; run < RUNS; run++) {
        int32_t ratings[3][N], kinds[N];
        cpt_rating_contrast c;
        cpt_stream s;
        cpt_stream_init(&s, 5, CPT_RANDOM_TEST, (uint64_t)run);
        for (int u = 0; u < N; u++) {
            kinds[u] = u % 2;
            ratings[0][u] = ratings[1][u] = ratings[2][u] = 1 + (int32_t)cpt_stream_below(&s, 5);
        }
        const cpt_ratings r = {3, N, 5, &ratings[0][0]};
        assert_ok(cpt_rating_compare(&r, kinds, 0, 1, 199, (uint64_t)run, &c, &err));
        rejected += c.p <= 0.05;
    }
    /* Binomial(200, 0.05): 10 expected, 22 or more has probability 0.0004. */
    assert_true(rejected < 22);
}

/* Experts with units of their own: kinds move only between units of one expert, so that a strict
 * expert who saw more controls makes no difference. */
static void strictness_is_no_difference(void **state)
{
    int32_t ratings[2][40] = {{0}}, kinds[40];
    cpt_rating_contrast c;
    cpt_err err;
    for (int u = 0; u < 40; u++) {
        bool lenient = u < 20;
        kinds[u] = lenient ? u % 5 == 0 : u % 5 != 0; /* the lenient expert sees few of kind 1 */
        ratings[lenient ? 0 : 1][u] = (lenient ? 4 : 1) + u % 2;
    }
    const cpt_ratings r = {2, 40, 5, &ratings[0][0]};
    assert_ok(cpt_rating_compare(&r, kinds, 0, 1, 999, 3, &c, &err));
    assert_true(fabs(c.difference) < 0.2);
    assert_true(c.p > 0.5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weighted_kappa_agrees_with_sklearn),
        cmocka_unit_test(weighted_kappa_edges),
        cmocka_unit_test(fleiss_textbook),
        cmocka_unit_test(krippendorff_textbook),
        cmocka_unit_test(krippendorff_agrees_with_package),
        cmocka_unit_test(nothing_is_not_a_number),
        cmocka_unit_test(mean_and_interval),
        cmocka_unit_test(permutation_p_is_exact),
        cmocka_unit_test(p_is_never_zero),
        cmocka_unit_test(twin_raters_do_not_make_significance),
        cmocka_unit_test(strictness_is_no_difference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

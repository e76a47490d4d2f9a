/* Intervals over concepts and pairs, sign flips, sizes of attributions and cut-offs, by hand. */
#include "check.h"

#include "base/random.h"
#include "evaluate/noise_floor.h"
#include "evaluate/ranking_areas.h"

static cpt_err err;

static void means_over_concepts(void **state)
{
    (void)state;
    /* three concepts with 2, 0 and 3 pairs; two rankings; one unusable pair */
    const int64_t first[4] = {0, 2, 2, 5};
    const double values[10] = {1, 0.5, 3, 0.5, 10, 1, NAN, NAN, 20, 2};
    const cpt_pair_values_by_concept v = {3, 2, first, values};
    cpt_interval i;
    assert_near(cpt_concept_mean(&v, 0, 0, -1), 2, 0);
    assert_near(cpt_concept_mean(&v, 2, 0, 1), 13.5, 0);
    assert_true(isnan(cpt_concept_mean(&v, 1, 0, -1)));
    assert_ok(cpt_interval_over_concepts(&v, 0, -1, 500, 1, &i, NULL, &err));
    assert_near(i.mean, 8.5, 1e-12); /* (2 + 15) / 2, not the mean over pairs */
    assert_near(i.sd, 13 / sqrt(2), 1e-12);
    assert_int_equal(i.n_concepts, 2);
    assert_int_equal(i.n_pairs, 4);
    assert_true(i.low >= 1 && i.low < 3 && i.high > 14 && i.high <= 20);
    double low, high;
    assert_ok(cpt_concept_interval(&v, 2, 0, -1, 500, &low, &high, NULL, &err));
    assert_near(low, 10, 0);
    assert_near(high, 20, 0);
}

/* The interval of normal data covers the truth about as often as it says. */
static void intervals_cover(void **state)
{
    (void)state;
    enum { CONCEPTS = 25, PAIRS = 6, RUNS = 200 };
    int64_t first[CONCEPTS + 1];
    double values[CONCEPTS * PAIRS];
    int covered = 0;
    for (int c = 0; c <= CONCEPTS; c++) first[c] = c * PAIRS;
    for (int run = 0; run < RUNS; run++) {
        cpt_stream s;
        cpt_interval i;
        cpt_stream_init(&s, 9, CPT_RANDOM_TEST, (uint64_t)run);
        for (int c = 0; c < CONCEPTS; c++) {
            const double centre = 1 + cpt_stream_normal(&s);
            for (int p = 0; p < PAIRS; p++)
                values[c * PAIRS + p] = centre + 0.5 * cpt_stream_normal(&s);
        }
        const cpt_pair_values_by_concept v = {CONCEPTS, 1, first, values};
        assert_ok(cpt_interval_over_concepts(&v, 0, -1, 300, (uint64_t)run, &i, NULL, &err));
        covered += i.low <= 1 && i.high >= 1;
    }
    assert_true(covered >= 180 && covered <= 200); /* 190 +- 3 sd; two stages are a little wide */
}

static void sign_flips(void **state)
{
    (void)state;
    const double three[3] = {1, 2, 3};
    assert_near(cpt_sign_flip_p(3, three, 0, 0, 0), 0.25, 0); /* all plus, all minus, of 8 */
    double many[40];
    for (int i = 0; i < 40; i++) many[i] = 1 + 0.01 * i;
    assert_near(cpt_sign_flip_p(40, many, 999, 0, 0), 1e-3, 1e-12);
    for (int i = 0; i < 40; i++) many[i] = i % 2 ? 1 : -1;
    assert_near(cpt_sign_flip_p(40, many, 999, 0, 0), 1, 1e-12);
    assert_true(isnan(cpt_sign_flip_p(0, many, 999, 0, 0)));
}

static void sizes_and_cutoffs(void **state)
{
    (void)state;
    enum { GENES = 1000 };
    float real[GENES], chance[GENES];
    int32_t n[GENES];
    cpt_sizes a, b;
    for (int g = 0; g < GENES; g++) {
        chance[g] = (float)(g % 2 ? -g : g) / GENES; /* sizes 0 .. 0.999 */
        real[g] = g < 900 ? chance[g] : 2 + (float)g / GENES;
        n[g] = 1 + g % 3;
    }
    real[5] = NAN;
    assert_ok(cpt_sizes_make(real, n, 1, GENES, 1, 99, &a, &err));
    assert_ok(cpt_sizes_make(chance, n, 1, GENES, 1, 99, &b, &err));
    assert_int_equal(a.n, GENES - 1);
    assert_near(cpt_sizes_quantile(&b, 0.95), 0.949, 1e-3);
    assert_near(cpt_sizes_share_below(&b, 0.25), 0.25, 1e-9);
    /* called share .1 down to the gap at 2.9; the null has nothing there and counts as one value */
    assert_near(cpt_cutoff_by_rate(&a, &b, 0.05), 2.9, 1e-6);
    assert_true(isnan(cpt_cutoff_by_rate(&b, &b, 0.05))); /* the null against itself */
    cpt_sizes_free(&a);
    assert_ok(cpt_sizes_make(real, n, 1, GENES, 2, 2, &a, &err)); /* one class of n */
    assert_int_equal(a.n, 333);
    cpt_sizes_free(&a);
    assert_ok(cpt_sizes_make(real, n, 1, GENES, 50, 99, &a, &err));
    assert_true(isnan(cpt_sizes_quantile(&a, 0.5)) && isnan(cpt_cutoff_by_rate(&a, &b, 0.05)));
    cpt_sizes_free(&a);
    cpt_sizes_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(means_over_concepts),
        cmocka_unit_test(intervals_cover),
        cmocka_unit_test(sign_flips),
        cmocka_unit_test(sizes_and_cutoffs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

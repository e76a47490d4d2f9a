/* Matching of decoder rows: permutations are undone, chance is measured. */
#include "check.h"

#include "base/random.h"
#include "evaluate/stability.h"

static cpt_err err;
enum { ROWS = 40, DIM = 12 };

static void draw(float *rows, int32_t n, int32_t dim, uint64_t seed)
{
    cpt_stream s;
    cpt_stream_init(&s, seed, CPT_RANDOM_TEST, 0);
    for (int i = 0; i < n * dim; i++) rows[i] = (float)cpt_stream_normal(&s);
}

/* Permuted, scaled, slightly moved. */
static void permutation_is_found(void **state)
{
    float a[ROWS * DIM], b[ROWS * DIM], noise[ROWS * DIM];
    int64_t order[ROWS];
    int32_t partner[ROWS];
    double cosine[ROWS];
    cpt_match m;
    cpt_stream s;
    draw(a, ROWS, DIM, 1);
    draw(noise, ROWS, DIM, 2);
    for (int i = 0; i < ROWS; i++) order[i] = i;
    cpt_stream_init(&s, 1, CPT_RANDOM_TEST, 1);
    cpt_stream_shuffle_i64(&s, order, ROWS);
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < DIM; j++)
            b[order[i] * DIM + j] = (float)(1 + i) * (a[i * DIM + j] + 0.05f * noise[i * DIM + j]);
    const cpt_rows one = {a, ROWS}, two = {b, ROWS};
    assert_ok(cpt_match_rows(&one, &two, DIM, partner, cosine, &m, NULL, &err));
    double mean = 0;
    for (int i = 0; i < ROWS; i++) {
        assert_int_equal(partner[i], order[i]);
        assert_true(cosine[i] > 0.95);
        mean += cosine[i] / ROWS;
    }
    assert_near(m.cosine, mean, 1e-6);
    assert_near(m.above_09, 1, 0);
    assert_near(m.pw_mcc, m.cosine, 1e-6);
    assert_ok(cpt_match_rows(&one, &one, DIM, NULL, NULL, &m, NULL, &err));
    assert_near(m.cosine, 1, 1e-6);
}

/* Rows turned round are the same features for PW-MCC, and not for the cosine. */
static void signs(void **state)
{
    float a[ROWS * DIM], b[ROWS * DIM];
    cpt_match m, back;
    draw(a, ROWS, DIM, 3);
    for (int i = 0; i < ROWS * DIM; i++) b[i] = -a[i];
    const cpt_rows one = {a, ROWS}, two = {b, ROWS};
    assert_ok(cpt_match_rows(&one, &two, DIM, NULL, NULL, &m, NULL, &err));
    assert_near(m.pw_mcc, 1, 1e-6);
    assert_true(m.cosine < 0.8);
    assert_ok(cpt_match_rows(&two, &one, DIM, NULL, NULL, &back, NULL, &err));
    assert_near(back.cosine, m.cosine, 1e-6);
    assert_near(back.above_07, m.above_07, 0);
}

static void by_hand(void **state)
{
    /* cosines: a0.b0 = 0.8, a0.b1 = 0, a1.b0 = 0.6, a1.b1 = -1; the best total takes 0.8 - 1 = -0.2
     * or 0 + 0.6 = 0.6, though 0.8 is the largest; by |cosine| 0.8 + 1. */
    const float a[] = {1, 0, 0, 2}, b[] = {4, 3, 0, -1};
    int32_t partner[3];
    double cosine[3];
    cpt_match m;
    const cpt_rows one = {a, 2}, two = {b, 2};
    assert_ok(cpt_match_rows(&one, &two, 2, partner, cosine, &m, NULL, &err));
    assert_int_equal(partner[0], 1);
    assert_int_equal(partner[1], 0);
    assert_near(m.cosine, 0.3, 1e-7);
    assert_near(m.pw_mcc, 0.9, 1e-7);
    assert_near(m.above_07, 0, 0);

    /* one row more than partners, and a row of zeros */
    const float more[] = {0, 0, 1, 0, 0, 1};
    const cpt_rows three = {more, 3};
    assert_ok(cpt_match_rows(&three, &one, 2, partner, cosine, &m, NULL, &err));
    assert_int_equal(m.n_matched, 2);
    assert_int_equal(partner[0], -1);
    assert_true(isnan(cosine[0]));
    assert_near(m.cosine, 1, 1e-7);
    assert_near(m.above_09, 1, 0);
}

static void against_chance(void **state)
{
    static float rows[3][ROWS * DIM];
    cpt_rows d[3];
    cpt_stability s, again;
    for (int i = 0; i < 3; i++) {
        draw(rows[i], ROWS, DIM, 10 + (uint64_t)i);
        d[i] = (cpt_rows){rows[i], ROWS};
    }
    const cpt_context one = {.n_threads = 1, .seed = 4}, two = {.n_threads = 2, .seed = 4};
    assert_ok(cpt_stability_of(d, 3, DIM, 30, &s, &one, &err));
    assert_int_equal(s.n_pairs, 3);
    assert_int_equal(s.n_null, 30);
    assert_near(s.cosine.mean, s.null_cosine.mean,
                5 * s.null_cosine.sd); /* random is like random */
    assert_near(s.pw_mcc.mean, s.null_pw_mcc.mean, 5 * s.null_pw_mcc.sd);
    assert_true(s.null_cosine.mean > 0.3); /* which is far from 0 */
    assert_true(s.p > 0.04 && s.p <= 1);
    assert_ok(cpt_stability_of(d, 3, DIM, 30, &again, &two, &err));
    assert_true(again.cosine.mean == s.cosine.mean && again.pw_mcc.sd == s.pw_mcc.sd);
    assert_true(again.null_cosine.mean == s.null_cosine.mean &&
                again.null_pw_mcc.sd == s.null_pw_mcc.sd);
    assert_true(again.p == s.p);

    for (int i = 1; i < 3; i++)
        for (int j = 0; j < ROWS * DIM; j++) rows[i][j] = rows[0][j] + 0.1f * rows[i][j];
    assert_ok(cpt_stability_of(d, 3, DIM, 30, &s, &one, &err));
    assert_true(s.cosine.mean > 0.95);
    assert_near(s.p, 1.0 / 31, 1e-12);
    assert_ok(cpt_stability_of(d, 2, DIM, 0, &s, &one, &err));
    assert_true(isnan(s.p) && isnan(s.null_cosine.mean) && isnan(s.cosine.sd));
}

static void refuses(void **state)
{
    float a[] = {1, 0, NAN, 0};
    const cpt_rows good = {a, 1}, bad = {a, 2}, empty = {a, 0};
    cpt_match m;
    cpt_stability s;
    assert_int_equal(cpt_match_rows(&good, &bad, 2, NULL, NULL, &m, NULL, &err), CPT_ERR_DATA);
    assert_non_null(strstr(err.text, "row 1 (counted from 0) of the second dictionary"));
    assert_int_equal(cpt_match_rows(&empty, &good, 2, NULL, NULL, &m, NULL, &err), CPT_ERR_DATA);
    assert_int_equal(cpt_stability_of(&good, 1, 2, 3, &s, NULL, &err), CPT_ERR_USAGE);
    assert_non_null(strstr(err.text, "2 to 1000 dictionaries"));
}

/* Cells on a line: their covariance, and they themselves, match nearly perfectly; random rows do not. */
static void nulls_know_the_data(void **state)
{
    (void)state;
    enum { CELLS = 300, DRAWS = 200 }; /* 20 rows of random sign: .75 on average, .19 in a draw */
    static float cells[CELLS * DIM];
    cpt_stability_null n[CPT_N_NULL_ROWS], again;
    const int32_t rows[2] = {20, 20}, many[2] = {CELLS + 50, 5};
    draw(cells, CELLS, DIM, 8);
    for (int i = 0; i < CELLS; i++)
        for (int j = 0; j < DIM; j++) cells[i * DIM + j] = 5 + cells[i * DIM + j] * (j == 3 ? 10.0f : 0.1f);
    for (int k = 0; k < CPT_N_NULL_ROWS; k++)
        assert_ok(cpt_stability_null_of((cpt_null_rows)k, cells, CELLS, DIM, rows, DRAWS, &n[k], NULL, &err));
    assert_true(n[CPT_NULL_SPHERE].cosine.mean < 0.6);
    assert_true(n[CPT_NULL_COVARIANCE].cosine.mean > 0.7);
    assert_true(n[CPT_NULL_CELLS].cosine.mean > 0.7);
    assert_true(n[CPT_NULL_CELLS].pw_mcc.mean > 0.95); /* a line has no sign */
    assert_true(n[CPT_NULL_SPHERE].row_quantiles[0] < n[CPT_NULL_SPHERE].row_quantiles[2]);
    assert_ok(cpt_stability_null_of(CPT_NULL_CELLS, cells, CELLS, DIM, rows, DRAWS, &again, NULL, &err));
    assert_near(again.cosine.mean, n[CPT_NULL_CELLS].cosine.mean, 0);
    assert_ok(cpt_stability_null_of(CPT_NULL_CELLS, cells, CELLS, DIM, many, 2, &again, NULL, &err)); /* more rows than cells */
    assert_int_equal(cpt_stability_null_of(CPT_NULL_CELLS, cells, 1, DIM, rows, 5, &again, NULL, &err), CPT_ERR_DATA);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(permutation_is_found),
        cmocka_unit_test(signs),
        cmocka_unit_test(by_hand),
        cmocka_unit_test(against_chance),
        cmocka_unit_test(refuses),
        cmocka_unit_test(nulls_know_the_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Likeness of concepts of two studies: permutations are found again, chance stays chance. */
#include "check.h"

#include "base/random.h"
#include "evaluate/alignment.h"
#include "math/statistics.h"

static cpt_err err;
enum { UNITS = 12, CELLS = 400, GENES = 300, DIM = 10 };

static float normal(cpt_stream *s)
{
    return (float)cpt_stream_normal(s);
}

/* ---- activations ---- */

typedef struct sparse {
    int64_t indptr[CELLS + 1];
    int32_t indices[CELLS * UNITS];
    float values[CELLS * UNITS];
    cpt_csr csr;
} sparse;

/* dense [CELLS][UNITS]; 0 = not active. Columns are renamed by order[unit]. */
static void compress(const float *dense, const int32_t *order, sparse *out)
{
    int64_t at = 0;
    for (int i = 0; i < CELLS; i++) {
        for (int j = 0; j < UNITS; j++)
            for (int u = 0; u < UNITS; u++) {
                if ((order ? order[u] : u) != j || dense[i * UNITS + u] <= 0) continue;
                out->indices[at] = j;
                out->values[at++] = dense[i * UNITS + u];
            }
        out->indptr[i + 1] = at;
    }
    out->csr = (cpt_csr){CELLS, UNITS, out->indptr, out->indices, out->values};
}

static void draw_activations(uint64_t seed, float *dense)
{
    cpt_stream s;
    cpt_stream_init(&s, seed, CPT_RANDOM_TEST, 0);
    for (int i = 0; i < CELLS * UNITS; i++) {
        const double x = cpt_stream_normal(&s);
        dense[i] = x > 0.7 ? (float)x : 0;
    }
}

static void activations_are_matched(void **state)
{
    static float dense[CELLS * UNITS], noisy[CELLS * UNITS];
    static sparse a, b;
    int32_t order[UNITS];
    cpt_likeness *l = NULL;
    cpt_matching m;
    cpt_stream s;
    double column[2][CELLS];
    draw_activations(1, dense);
    cpt_stream_init(&s, 2, CPT_RANDOM_TEST, 0);
    for (int i = 0; i < CELLS * UNITS; i++)
        noisy[i] = dense[i] > 0 ? dense[i] + 0.1f * (float)cpt_stream_uniform(&s) : 0;
    for (int u = 0; u < UNITS; u++) order[u] = (u * 5 + 3) % UNITS;
    compress(dense, NULL, &a);
    compress(noisy, order, &b);
    const cpt_cell_set set = {&a.csr, &b.csr, NULL};
    assert_ok(cpt_likeness_activations(&set, 1, &l, NULL, &err));
    /* the matrix is Pearson's correlation of dense columns */
    for (int u = 0; u < UNITS; u += 5)
        for (int v = 0; v < UNITS; v++) {
            for (int i = 0; i < CELLS; i++) {
                column[0][i] = dense[i * UNITS + u];
                column[1][i] = noisy[i * UNITS + v];
            }
            assert_near(cpt_likeness_values(l)[u * UNITS + order[v]],
                        cpt_pearson(CELLS, column[0], column[1]), 1e-10);
        }
    assert_ok(cpt_likeness_match(l, 99, &m, NULL, &err));
    assert_int_equal(m.n, UNITS);
    for (int i = 0; i < m.n; i++) {
        assert_int_equal(m.pairs[i].b, order[m.pairs[i].a]);
        assert_near(m.pairs[i].p, 0.01, 1e-12);
        assert_true(m.pairs[i].value > 0.97 && m.pairs[i].runner_up < 0.5);
        if (i) assert_true(m.pairs[i].value <= m.pairs[i - 1].value);
    }
    assert_near(m.p, 0.01, 1e-12);
    assert_true(m.null_mean < 0.25 && m.null_sd > 0 && fabs(m.partners_mean) < 0.3);
    assert_int_equal(m.n_significant, UNITS);
    assert_near(m.above_09, 1, 0);
    cpt_matching_free(&m);
    cpt_likeness_free(l);
}

/* Unrelated activations: p of the whole and of the pairs are those of chance. */
static void unrelated_is_chance(void **state)
{
    static float one[CELLS * UNITS], two[CELLS * UNITS];
    static sparse a, b;
    double p_sum = 0, pair_sum = 0;
    enum { TRIALS = 40 };
    for (int t = 0; t < TRIALS; t++) {
        cpt_likeness *l = NULL;
        cpt_matching m;
        draw_activations(100 + 2 * (uint64_t)t, one);
        draw_activations(101 + 2 * (uint64_t)t, two);
        compress(one, NULL, &a);
        compress(two, NULL, &b);
        const cpt_cell_set set = {&a.csr, &b.csr, NULL};
        assert_ok(cpt_likeness_activations(&set, 1, &l, NULL, &err));
        assert_ok(cpt_likeness_match(l, 39, &m, NULL, &err));
        p_sum += m.p / TRIALS;
        for (int i = 0; i < m.n; i++) pair_sum += m.pairs[i].p / m.n / TRIALS;
        assert_true(m.n_significant <= 2);
        cpt_matching_free(&m);
        cpt_likeness_free(l);
    }
    assert_true(p_sum > 0.35 && p_sum < 0.65); /* uniform: 0.51, sd 0.046 */
    assert_true(pair_sum > 0.4);
}

/* Units 0..5 follow the cell's type alone, 6..11 something of their own: permuting within types
 * leaves the first alike by chance, and not the second. */
static void within_strata(void **state)
{
    static float one[CELLS * UNITS], two[CELLS * UNITS];
    static sparse a, b;
    int32_t strata[CELLS];
    cpt_likeness *l = NULL;
    cpt_matching m[2];
    cpt_stream s;
    cpt_stream_init(&s, 31, CPT_RANDOM_TEST, 0);
    for (int i = 0; i < CELLS; i++) {
        strata[i] = i % 6 - 1; /* one of them "missing" */
        for (int u = 0; u < UNITS; u++) {
            const double own = cpt_stream_normal(&s), x = cpt_stream_uniform(&s),
                         y = cpt_stream_uniform(&s);
            const bool on = u < 6 ? strata[i] + 1 == u : own > 0.7;
            one[i * UNITS + u] = on ? (float)(1 + x + (u < 6 ? 0 : own)) : 0;
            two[i * UNITS + u] = on ? (float)(1 + y + (u < 6 ? 0 : own)) : 0;
        }
    }
    compress(one, NULL, &a);
    compress(two, NULL, &b);
    for (int k = 0; k < 2; k++) {
        const cpt_cell_set set = {&a.csr, &b.csr, k ? strata : NULL};
        assert_ok(cpt_likeness_activations(&set, 1, &l, NULL, &err));
        assert_ok(cpt_likeness_match(l, 99, &m[k], NULL, &err));
        cpt_likeness_free(l);
    }
    assert_true(m[0].mean == m[1].mean); /* strata concern the null alone */
    assert_int_equal(m[0].n_significant, UNITS);
    assert_true(m[1].null_mean > m[0].null_mean + 0.2);
    int n_beyond = 0;
    for (int i = 0; i < UNITS; i++) {
        const cpt_matched_pair *x = &m[1].pairs[i];
        assert_int_equal(x->a, x->b);
        if (x->a < 6) n_beyond += x->p < 0.05;
        else assert_near(x->p, 0.01, 1e-12);
    }
    assert_true(n_beyond <= 1);
    for (int k = 0; k < 2; k++) cpt_matching_free(&m[k]);
}

/* Two sets: the mean of both; a unit that is silent in one counts 0 there. Jaccard by hand. */
static void sets_are_averaged(void **state)
{
    static float dense[CELLS * UNITS], silent[CELLS * UNITS];
    static sparse a, b;
    cpt_likeness *l = NULL;
    double jaccard[UNITS * UNITS];
    draw_activations(5, dense);
    memcpy(silent, dense, sizeof silent);
    for (int i = 0; i < CELLS; i++) silent[i * UNITS + 4] = 0;
    for (int i = 0; i < CELLS / 2; i++) silent[i * UNITS + 7] = 0;
    compress(dense, NULL, &a);
    compress(silent, NULL, &b);
    const cpt_cell_set sets[] = {{&a.csr, &a.csr, NULL}, {&a.csr, &b.csr, NULL}};
    assert_ok(cpt_likeness_activations(sets, 2, &l, NULL, &err));
    assert_near(cpt_likeness_values(l)[0], 1, 1e-12);
    assert_near(cpt_likeness_values(l)[4 * UNITS + 4], 0.5, 1e-12);
    cpt_likeness_free(l);
    int both = 0, either = 0;
    for (int i = 0; i < CELLS; i++) {
        both += dense[i * UNITS + 7] > 0 && silent[i * UNITS + 7] > 0;
        either += dense[i * UNITS + 7] > 0 || silent[i * UNITS + 7] > 0;
    }
    assert_ok(cpt_jaccard(&sets[1], 1, jaccard, &err));
    assert_near(jaccard[7 * UNITS + 7], (double)both / either, 1e-12);
    assert_near(jaccard[4 * UNITS + 4], 0, 0);
    assert_near(jaccard[0], 1, 0);
    assert_ok(cpt_jaccard(sets, 2, jaccard, &err));
    assert_near(jaccard[7 * UNITS + 7], (double)(both + either) / (2 * either), 1e-12);
}

/* ---- decoders ---- */

static void decoders(void **state)
{
    float a[UNITS * DIM], b[(UNITS + 3) * DIM];
    cpt_likeness *l = NULL;
    cpt_matching m;
    cpt_stream s;
    cpt_stream_init(&s, 9, CPT_RANDOM_TEST, 0);
    for (int i = 0; i < UNITS * DIM; i++) a[i] = normal(&s);
    for (int i = 0; i < (UNITS + 3) * DIM; i++) b[i] = normal(&s);
    for (int i = 0; i < UNITS; i++) /* the negatives of a, in reverse */
        for (int j = 0; j < DIM; j++) b[(UNITS + 2 - i) * DIM + j] = -3 * a[i * DIM + j];
    assert_ok(cpt_likeness_decoders(a, UNITS, b, UNITS + 3, DIM, true, &l, NULL, &err));
    assert_ok(cpt_likeness_match(l, 49, &m, NULL, &err));
    assert_near(m.mean, 1, 1e-5);
    for (int i = 0; i < m.n; i++) assert_int_equal(m.pairs[i].b, UNITS + 2 - m.pairs[i].a);
    assert_near(m.p, 0.02, 1e-12);
    assert_true(m.null_mean > 0.4 && m.null_mean < 0.8); /* 10 dimensions: chance is high */
    cpt_matching_free(&m);
    cpt_likeness_free(l);
    assert_ok(cpt_likeness_decoders(a, UNITS, b, UNITS + 3, DIM, false, &l, NULL, &err));
    assert_ok(cpt_likeness_match(l, 49, &m, NULL, &err));
    assert_true(m.mean < 0.7 && m.p > 0.02);
    cpt_matching_free(&m);
    cpt_likeness_free(l);
}

/* ---- profiles ---- */

static void profiles(void **state)
{
    static float a[UNITS * GENES], b[UNITS * GENES];
    cpt_likeness *l = NULL, *cosine = NULL;
    cpt_matching m;
    cpt_stream s;
    double x[GENES], y[GENES];
    cpt_stream_init(&s, 11, CPT_RANDOM_TEST, 0);
    for (int i = 0; i < UNITS * GENES; i++) a[i] = normal(&s);
    for (int u = 0; u < UNITS; u++)
        for (int g = 0; g < GENES; g++)
            b[(UNITS - 1 - u) * GENES + g] = 5 + 2 * a[u * GENES + g] + normal(&s);
    a[3] = NAN; /* counts as 0 */
    assert_ok(cpt_likeness_profiles(a, UNITS, b, UNITS, GENES, true, &l, NULL, &err));
    assert_ok(cpt_likeness_match(l, 49, &m, NULL, &err));
    for (int i = 0; i < m.n; i++) assert_int_equal(m.pairs[i].b, UNITS - 1 - m.pairs[i].a);
    assert_true(m.mean > 0.8 && m.null_mean < 0.3);
    for (int g = 0; g < GENES; g++) {
        x[g] = a[1 * GENES + g];
        y[g] = b[(UNITS - 2) * GENES + g];
    }
    assert_near(cpt_likeness_values(l)[1 * UNITS + UNITS - 2], cpt_pearson(GENES, x, y), 1e-5);
    cpt_matching_free(&m);
    cpt_likeness_free(l);
    assert_ok(cpt_likeness_profiles(a, UNITS, b, UNITS, GENES, false, &cosine, NULL, &err));
    assert_true(cpt_likeness_values(cosine)[1 * UNITS + UNITS - 2] <
                0.6); /* the 5 is not centred away */
    cpt_likeness_free(cosine);
}

/* ---- edges ---- */

static void same_bytes_for_any_threads(void **state)
{
    static float one[CELLS * UNITS], two[CELLS * UNITS];
    static sparse a, b;
    cpt_likeness *l = NULL;
    cpt_matching m[2];
    draw_activations(21, one);
    draw_activations(22, two);
    compress(one, NULL, &a);
    compress(two, NULL, &b);
    const cpt_cell_set set = {&a.csr, &b.csr, NULL};
    for (int t = 0; t < 2; t++) {
        cpt_context ctx;
        cpt_context_init(&ctx);
        ctx.n_threads = 1 + 3 * t;
        assert_ok(cpt_likeness_activations(&set, 1, &l, &ctx, &err));
        assert_ok(cpt_likeness_match(l, 25, &m[t], &ctx, &err));
        cpt_likeness_free(l);
    }
    assert_memory_equal(m[0].pairs, m[1].pairs, sizeof *m[0].pairs * UNITS);
    assert_true(m[0].null_mean == m[1].null_mean && m[0].partners_sd == m[1].partners_sd);
    for (int t = 0; t < 2; t++) cpt_matching_free(&m[t]);
}

static void one_unit_each(void **state)
{
    const float a[] = {1, 0, 0}, b[] = {2, 0, 0}, zero[] = {0, 0, 0};
    cpt_likeness *l = NULL;
    cpt_matching m;
    assert_ok(cpt_likeness_decoders(a, 1, b, 1, 3, false, &l, NULL, &err));
    assert_ok(cpt_likeness_match(l, 1, &m, NULL, &err));
    assert_near(m.mean, 1, 1e-7);
    assert_true(isnan(m.sd) && isnan(m.pairs[0].runner_up) && m.pairs[0].p >= 0.5);
    cpt_matching_free(&m);
    cpt_likeness_free(l);
    assert_ok(cpt_likeness_decoders(a, 1, zero, 1, 3, false, &l, NULL, &err));
    assert_near(cpt_likeness_values(l)[0], 0, 0);
    assert_int_equal(cpt_likeness_match(l, 0, &m, NULL, &err), CPT_ERR_USAGE);
    cpt_likeness_free(l);
}

static void wrong_sizes(void **state)
{
    const float a[] = {1, 2};
    const int64_t indptr[] = {0, 0, 0};
    const cpt_csr two = {2, 3, indptr, NULL, NULL};
    const cpt_cell_set set = {&two, &two, NULL};
    cpt_likeness *l = NULL;
    assert_int_equal(cpt_likeness_decoders(a, 0, a, 1, 2, false, &l, NULL, &err), CPT_ERR_DATA);
    assert_non_null(strstr(err.text, "0 concepts cannot be matched with 1"));
    assert_null(l);
    assert_int_equal(cpt_likeness_profiles(a, 1, a, 1, 0, true, &l, NULL, &err), CPT_ERR_DATA);
    assert_int_equal(cpt_likeness_activations(&set, 1, &l, NULL, &err), CPT_ERR_DATA);
    assert_non_null(strstr(err.text, "at least 3 are needed"));
    assert_null(l);
    cpt_likeness_free(NULL);
}

static void stops(void **state)
{
    const float a[] = {1, 0, 0, 1};
    const int up = 1;
    cpt_context ctx;
    cpt_likeness *l = NULL;
    cpt_matching m;
    cpt_context_init(&ctx);
    ctx.stop = &up;
    assert_ok(cpt_likeness_decoders(a, 2, a, 2, 2, false, &l, &ctx, &err));
    assert_int_equal(cpt_likeness_match(l, 10, &m, &ctx, &err), CPT_ERR_INTERRUPTED);
    assert_null(m.pairs);
    cpt_likeness_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(activations_are_matched),
        cmocka_unit_test(unrelated_is_chance),
        cmocka_unit_test(within_strata),
        cmocka_unit_test(sets_are_averaged),
        cmocka_unit_test(decoders),
        cmocka_unit_test(profiles),
        cmocka_unit_test(same_bytes_for_any_threads),
        cmocka_unit_test(one_unit_each),
        cmocka_unit_test(wrong_sizes),
        cmocka_unit_test(stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

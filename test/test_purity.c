/* AUROC and F1 of units: against brute force, planted units found, permutations honest. */
#include "check.h"

#include "base/random.h"
#include "evaluate/purity.h"
#include "math/statistics.h"

enum { CELLS = 240, UNITS = 12, LABELS = 4 };
static cpt_err err;

typedef struct table {
    float values[UNITS][CELLS];
    int32_t codes[CELLS];
} table;

static void give(const void *data, int32_t unit, float *out)
{
    memcpy(out, ((const table *)data)->values[unit], sizeof((const table *)data)->values[unit]);
}

/* Unit 0 is label 0 with noise; odd units are sparse, even ones dense; label 3 has 4 cells; some
 * cells have none. */
static table *make_table(void)
{
    table *t = calloc(1, sizeof *t);
    cpt_stream s;
    cpt_stream_init(&s, 3, CPT_RANDOM_TEST, 0);
    for (int i = 0; i < CELLS; i++)
        t->codes[i] = i < 4 ? 3 : i % 17 == 0 ? -1 : (int32_t)cpt_stream_below(&s, 3);
    for (int u = 0; u < UNITS; u++)
        for (int i = 0; i < CELLS; i++) {
            const double x = cpt_stream_normal(&s);
            t->values[u][i] = u % 2 ? (float)(x > 1 ? round(4 * x) / 4 : 0) : (float)x;
        }
    for (int i = 0; i < CELLS; i++) t->values[0][i] += t->codes[i] == 0 ? 4 : 0;
    return t;
}

/* Over all labelled cells of labels that count. */
static void brute_force(const table *t, int unit, int label, double *auroc, double *f1)
{
    float score[CELLS];
    uint8_t positive[CELLS];
    int64_t n = 0;
    for (int i = 0; i < CELLS; i++) {
        if (t->codes[i] < 0 || t->codes[i] == 3) continue;
        score[n] = t->values[unit][i];
        positive[n++] = t->codes[i] == label;
    }
    *auroc = cpt_auroc(n, score, positive);
    *f1 = 0;
    for (int64_t k = 0; k < n; k++) {
        double tp = 0, called = 0, total = 0;
        for (int64_t i = 0; i < n; i++) {
            tp += score[i] >= score[k] && positive[i];
            called += score[i] >= score[k];
            total += positive[i];
        }
        if (2 * tp / (called + total) > *f1) *f1 = 2 * tp / (called + total);
    }
}

static void equals_brute_force(void **state)
{
    (void)state;
    table *t = make_table();
    cpt_purity_options o = {50, 10};
    cpt_purity *p, *again;
    cpt_context ctx;
    cpt_context_init(&ctx);
    ctx.n_threads = 2;
    assert_ok(cpt_purity_find(&o, UNITS, give, t, CELLS, t->codes, LABELS, &p, &ctx, &err));
    ctx.n_threads = 1;
    assert_ok(cpt_purity_find(&o, UNITS, give, t, CELLS, t->codes, LABELS, &again, &ctx, &err));
    assert_memory_equal(p->auroc_p, again->auroc_p, UNITS * sizeof *p->auroc_p);
    assert_memory_equal(p->f1, again->f1, UNITS * LABELS * sizeof *p->f1);
    assert_int_equal(p->n_labels_used, 3);
    for (int u = 0; u < UNITS; u++) {
        double best = -1;
        assert_true(isnan(p->auroc[u * LABELS + 3]));
        for (int k = 0; k < 3; k++) {
            double auroc, f1;
            brute_force(t, u, k, &auroc, &f1);
            assert_near(p->auroc[u * LABELS + k], auroc, 1e-6);
            assert_near(p->f1[u * LABELS + k], f1, 1e-6);
            best = auroc > best ? auroc : best;
        }
        assert_near(p->best_auroc[u], best, 1e-9);
    }
    assert_int_equal(p->auroc_label[0], 0);
    assert_near(p->auroc_p[0], 1 / 51.0, 1e-12);
    assert_near(p->f1_p[0], 1 / 51.0, 1e-12);
    cpt_purity_free(p);
    cpt_purity_free(again);
    free(t);
}

/* Units without a link to the labels: p spread over (0, 1], few below 0.1. */
static void no_link_gives_large_p(void **state)
{
    (void)state;
    table *t = make_table();
    cpt_purity_options o = {199, 10};
    cpt_purity *p;
    int n_small = 0;
    assert_ok(cpt_purity_find(&o, UNITS, give, t, CELLS, t->codes, LABELS, &p, NULL, &err));
    for (int u = 1; u < UNITS; u++) n_small += p->auroc_p[u] < 0.1;
    assert_true(n_small <= 3); /* binomial(11, 0.1): more in 2 % of draws */
    cpt_purity_free(p);
    free(t);
}

static void constant_unit_is_chance(void **state)
{
    (void)state;
    table *t = make_table();
    cpt_purity_options o = {20, 10};
    cpt_purity *p;
    memset(t->values[1], 0, sizeof t->values[1]);
    assert_ok(cpt_purity_find(&o, UNITS, give, t, CELLS, t->codes, LABELS, &p, NULL, &err));
    assert_near(p->best_auroc[1], 0.5, 1e-12);
    assert_near(p->auroc_p[1], 1, 0);
    cpt_purity_free(p);
    for (int i = 0; i < CELLS; i++) t->codes[i] = 0;
    assert_int_equal(cpt_purity_find(&o, UNITS, give, t, CELLS, t->codes, LABELS, &p, NULL, &err),
                     CPT_ERR_DATA);
    assert_non_null(strstr(err.text, "two labels"));
    assert_null(p);
    free(t);
}

static void kinds(void **state)
{
    (void)state;
    const double a[6] = {5, 6, 5, 7, 6, 5}, b[5] = {1, 2, NAN, 1, 2}, same[6] = {5, 7, 6, 5, 5, 6};
    cpt_kind_test t;
    assert_ok(cpt_kinds_differ(6, a, 5, b, 4999, 1, &t, NULL, &err));
    assert_int_equal(t.n_b, 4);
    assert_near(t.difference, 34 / 6.0 - 1.5, 1e-12);
    assert_true(t.p < 0.02 && t.p > 0); /* 1 of 210 splits is as extreme */
    assert_ok(cpt_kinds_differ(6, a, 6, same, 999, 1, &t, NULL, &err));
    assert_near(t.p, 1, 1e-12);
    assert_ok(cpt_kinds_differ(6, a, 0, b, 999, 1, &t, NULL, &err));
    assert_true(isnan(t.p));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_brute_force),
        cmocka_unit_test(no_link_gives_large_p),
        cmocka_unit_test(constant_unit_is_chance),
        cmocka_unit_test(kinds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

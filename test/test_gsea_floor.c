/* Sets alone at the floor of the permutation p: split, and nothing else changed. */
#include "check.h"
#include "genesets_by_hand.h"

#include "base/log.h"
#include "enrich/enrich.h"

enum { GENES = 2000, SETS = 2000, PLANTED_SIZE = 20 };

/* Random sets, of which the first n_planted lie near the top when genes fall with their number. */
static cpt_genesets make_sets(int n_planted, int n_sets, uint64_t seed)
{
    cpt_stream s;
    cpt_stream_init(&s, seed, CPT_RANDOM_TEST, 0);
    cpt_genesets sets = by_hand_new(GENES);
    for (int i = 0; i < n_sets; i++)
        if (i < n_planted) by_hand_add_random(&sets, PLANTED_SIZE, GENES / 8, &s);
        else by_hand_add_random(&sets, 15 + i % 46, GENES, &s);
    return sets;
}

static void make_statistic(double *statistic, double sign, uint64_t seed)
{
    cpt_stream s;
    cpt_stream_init(&s, seed, CPT_RANDOM_TEST, 1);
    for (int g = 0; g < GENES; g++)
        statistic[g] = sign * ((GENES / 2.0 - g) / GENES + 0.01 * cpt_stream_normal(&s));
}

static cpt_gsea_options options(int32_t n_permutations, cpt_score_type type)
{
    cpt_gsea_options o;
    cpt_gsea_options_init(&o);
    o.n_permutations = n_permutations;
    o.score_type = type;
    o.multilevel = false;
    o.split_floor = true;
    return o;
}

static cpt_gsea *run(const cpt_genesets *sets, const double *statistic, const cpt_gsea_options *o, int n_threads)
{
    cpt_err err;
    cpt_gsea *g;
    cpt_context ctx;
    cpt_context_init(&ctx);
    ctx.n_threads = n_threads;
    assert_ok(cpt_gsea_run(sets, statistic, o, &g, &ctx, &err));
    return g;
}

/* No null score beyond: the largest error there is. */
static double error_at_floor(const cpt_gsea *simple)
{
    double high = 0;
    for (int i = 0; i < simple->n_rows; i++) high = fmax(high, simple->rows[i].log2err);
    return high;
}

static bool same_number(double a, double b)
{
    return a == b || (isnan(a) && isnan(b));
}

static bool same_row(const cpt_gsea_row *a, const cpt_gsea_row *b)
{
    return a->p == b->p && a->log10p == b->log10p && same_number(a->log2err, b->log2err) && a->nes == b->nes &&
           a->multilevel == b->multilevel && a->reason == b->reason;
}

/* One strong set among 2,000. */
static void check_alone(int32_t n_permutations, cpt_score_type type)
{
    static double statistic[GENES];
    cpt_genesets sets = make_sets(1, SETS, 1);
    make_statistic(statistic, type == CPT_SCORE_NEG ? -1 : 1, 1);
    cpt_gsea_options o = options(n_permutations, type), plain = o, full = o;
    plain.split_floor = false;
    full.multilevel = true;
    full.eps = 1e-10; /* where splitting for the floor ends */
    cpt_gsea *simple = run(&sets, statistic, &plain, 2), *g = run(&sets, statistic, &o, 2),
             *all = run(&sets, statistic, &full, 2);
    const cpt_gsea_row *planted = &g->rows[0];
    assert_true(simple->rows[0].q > 0.05 && !simple->rows[0].multilevel); /* what was wrong */
    assert_true(planted->q < 0.05 && planted->multilevel && planted->p < simple->rows[0].p);
    assert_true(planted->below_eps ? planted->p > 0.99 * full.eps && planted->p < 1e-7
                                   : planted->log2err > 0 && planted->log2err < 1);
    for (int i = 0; i < SETS; i++) {
        const cpt_gsea_row *a = &g->rows[i], *b = &simple->rows[i];
        if (a->multilevel) {
            assert_true(b->log2err == error_at_floor(simple));
            if (a->below_eps) assert_true(all->rows[i].below_eps && a->p > 0.99 * all->rows[i].p);
            else assert_true(same_row(a, &all->rows[i]));
        }
        else assert_true(same_row(a, b));
    }
    full.seed = 7; /* other chains, other permutations */
    cpt_gsea *other = run(&sets, statistic, &full, 2);
    const double error = hypot(planted->log2err, other->rows[0].log2err);
    if (planted->below_eps) assert_true(other->rows[0].p < 1e-9);
    else assert_near(log2(planted->p), log2(other->rows[0].p), 4 * error);
    cpt_gsea_free(simple);
    cpt_gsea_free(g);
    cpt_gsea_free(all);
    cpt_gsea_free(other);
    by_hand_free(&sets);
}

static void test_one_strong_set(void **state)
{
    check_alone(100, CPT_SCORE_STD);
    check_alone(1000, CPT_SCORE_STD);
    check_alone(1000, CPT_SCORE_POS);
    check_alone(1000, CPT_SCORE_NEG);
    check_alone(10000, CPT_SCORE_STD);
}

/* Where many lie at the floor BH finds them there: nothing is split. */
static void test_many_are_left_alone(void **state)
{
    static double statistic[GENES];
    cpt_genesets sets = make_sets(400, SETS, 2);
    make_statistic(statistic, 1, 2);
    cpt_gsea_options o = options(1000, CPT_SCORE_STD);
    cpt_gsea *g = run(&sets, statistic, &o, 2);
    o.split_floor = false;
    cpt_gsea *simple = run(&sets, statistic, &o, 2);
    int n_found = 0;
    for (int i = 0; i < SETS; i++) {
        assert_true(same_row(&g->rows[i], &simple->rows[i]) && g->rows[i].q == simple->rows[i].q);
        n_found += g->rows[i].q < 0.05;
    }
    assert_true(n_found > 300);
    cpt_gsea_free(g);
    cpt_gsea_free(simple);
    by_hand_free(&sets);
}

/* Threads, the order of the sets, and what an engine did before leave no trace. */
static void test_same_bits(void **state)
{
    cpt_err err;
    static double statistic[GENES], noise[GENES];
    cpt_genesets sets = make_sets(3, SETS, 3), turned = by_hand_new(GENES);
    for (int i = SETS; i-- > 0;)
        by_hand_add(&turned, (int32_t)(sets.first[i + 1] - sets.first[i]), sets.genes + sets.first[i]);
    make_statistic(statistic, 1, 3);
    for (int g = 0; g < GENES; g++) noise[g] = statistic[(g * 7) % GENES];
    cpt_gsea_options o = options(1000, CPT_SCORE_STD);
    cpt_gsea *one = run(&sets, statistic, &o, 1), *eight = run(&sets, statistic, &o, 8),
             *back = run(&turned, statistic, &o, 2), *engine_one;
    cpt_gsea_engine *engine = cpt_gsea_engine_new(&sets, &o, &err);
    assert_non_null(engine);
    assert_ok(cpt_gsea_engine_run(engine, noise, &engine_one, &err));
    cpt_gsea_free(engine_one);
    assert_ok(cpt_gsea_engine_run(engine, statistic, &engine_one, &err));
    int n_split = 0;
    for (int i = 0; i < SETS; i++) {
        const cpt_gsea_row *a = &one->rows[i];
        n_split += a->multilevel;
        assert_true(same_row(a, &eight->rows[i]) && a->q == eight->rows[i].q);
        assert_true(same_row(a, &engine_one->rows[i]) && a->q == engine_one->rows[i].q);
        assert_true(same_row(a, &back->rows[SETS - 1 - i]) && a->q == back->rows[SETS - 1 - i].q);
    }
    assert_true(n_split >= 3);
    cpt_gsea_free(one);
    cpt_gsea_free(eight);
    cpt_gsea_free(back);
    cpt_gsea_free(engine_one);
    cpt_gsea_engine_free(engine);
    by_hand_free(&sets);
    by_hand_free(&turned);
}

/* Rankings in which nothing is to be found: one in twenty may find something. */
static void test_level_is_kept(void **state)
{
    enum { RANKINGS = 200, N_SETS = 500 };
    cpt_err err;
    static double statistic[GENES];
    cpt_genesets sets = make_sets(0, N_SETS, 4);
    cpt_gsea_options o = options(1000, CPT_SCORE_STD);
    cpt_gsea_engine *engine = cpt_gsea_engine_new(&sets, &o, &err);
    assert_non_null(engine);
    int n_any = 0, n_split = 0;
    for (int k = 0; k < RANKINGS; k++) {
        cpt_stream s;
        cpt_gsea *g;
        bool any = false;
        cpt_stream_init(&s, 5, CPT_RANDOM_TEST, (uint64_t)k);
        for (int i = 0; i < GENES; i++) statistic[i] = cpt_stream_normal(&s);
        assert_ok(cpt_gsea_engine_run(engine, statistic, &g, &err));
        for (int i = 0; i < N_SETS; i++) {
            any |= g->rows[i].q < 0.05;
            n_split += g->rows[i].multilevel;
        }
        n_any += any;
        cpt_gsea_free(g);
    }
    print_message("%d of %d rankings of noise have a finding; %d sets were split\n", n_any, RANKINGS, n_split);
    assert_true(n_split > RANKINGS / 2);
    assert_true(n_any <= 20); /* 10 expected at most; beyond 20 with probability 0.001 */
    cpt_gsea_engine_free(engine);
    by_hand_free(&sets);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_strong_set),
        cmocka_unit_test(test_many_are_left_alone),
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_level_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

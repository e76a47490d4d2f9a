/* Multilevel p values against exhaustive enumeration, fine runs of fgsea, and fgsea's stored numbers. */
#include "check.h"
#include "exact_null.h"
#include "golden_sets.h"

#include "enrich/enrich.h"
#include "enrich/multilevel.h"
#include "enrich/ranking.h"
#include "enrich/walker.h"

/* Share of seeds whose estimate lies within 1.96 stated errors of the exact p: at least 95 %, less what
 * chance allows for this many seeds. Cases of exact_small.json; all subsets were listed. */
static void test_exact_small(void **state)
{
    NEED_SHARED(path, "golden/gsea/exact_small.json");
    static exact_null null;
    enum { SEEDS = 60 };
    cpt_err err;
    json_t *root = golden_json(path), *group, *item;
    size_t i, j;
    json_array_foreach(root, i, group) {
        int n, k = (int)golden_get(group, "k"), inside = 0, tried = 0;
        double *statistic = golden_array(json_object_get(group, "stats"), &n), weight[32];
        int64_t weights[32];
        for (int g = 0; g < n; g++) { /* three decimals: integers */
            weights[g] = llabs(llround(statistic[g] * 1000));
            weight[g] = (double)weights[g];
        }
        exact_list(&null, weights, n, k, CPT_SCORE_STD);
        cpt_gsea_options o;
        cpt_gsea_options_init(&o);
        double bias = 0;
        json_array_foreach(json_object_get(group, "cases"), j, item) {
            int m, n_same;
            double *list = golden_array(json_object_get(item, "S"), &m), total = 0;
            int32_t positions[32];
            for (int g = 0; g < m; g++) {
                positions[g] = (int32_t)list[g] - 1;
                total += weight[positions[g]];
            }
            free(list);
            if (total == 0) total = m;
            double es = cpt_gsea_es(weights, n, positions, m, CPT_SCORE_STD);
            if (es == 0) continue;
            double p = exact_p(&null, es, &n_same, NULL) * n_same / null.n; /* score and sign */
            for (int seed = 0; seed < SEEDS; seed++) {
                o.seed = (uint64_t)seed;
                cpt_multilevel_query q = {.size = m, .negative = es < 0, .total = total,
                                          .numerator = round(fabs(es) * total * (n - m))};
                assert_ok(cpt_multilevel_run(n, weight, &o, 1, &q, 1, NULL, &err));
                assert_false(q.stuck);
                double off = q.log_p / M_LN2 - log2(p);
                tried++;
                /* an estimate at the floor of 1 / C(n, k) is exact when that is p */
                inside += fabs(off) <= 1.96 * (isnan(q.log2err) ? 1 : q.log2err) + 1e-9;
                if (p * null.n > 3) bias += off; /* the floor cuts errors to one side */
            }
        }
        if (inside < 0.95 * tried - 3 * sqrt(tried * 0.95 * 0.05) || fabs(bias / tried) > 0.08)
            fail_msg("%s: %d of %d within the stated error, mean log2 error %.3f",
                     json_string_value(json_object_get(group, "name")), inside, tried, bias / tried);
        free(statistic);
    }
    json_decref(root);
}

/* Ranks 1 .. 3000 as weights: fgsea's stored p. P of score and sign, so no division by the sign's share;
 * its table divides neither. */
static void test_fgsea_core(void **state)
{
    NEED_SHARED(path, "golden/gsea/fgsea_refs/ref_fgseaMultilevelCpp.tsv");
    enum { N = 3000 };
    cpt_err err;
    static double weight[N];
    for (int i = 0; i < N; i++) weight[i] = i + 1;
    cpt_gsea_options o;
    cpt_gsea_options_init(&o);
    o.eps = 0;
    golden_tsv t;
    golden_tsv_open(&t, path);
    int n = 0;
    for (; golden_tsv_next(&t); n++) {
        double es = golden_number(&t, "ES"), p = golden_number(&t, "cppMPval");
        int k = (int)golden_number(&t, "pathwaySize");
        cpt_multilevel_query q = {.size = k, .negative = es < 0, .total = 1e6,
                                  .numerator = ceil(fabs(es) * 1e6 * (N - k) - 1e-3)};
        assert_ok(cpt_multilevel_run(N, weight, &o, 1, &q, 1, NULL, &err));
        assert_false(q.stuck || q.below_eps);
        assert_near(q.log_p / M_LN2, log2(p), 4 * hypot(q.log2err, golden_number(&t, "log2err")));
    }
    assert_int_equal(n, 10);
}

/* Real ranking and sets: fgsea with sample size 1001 and 100,000 permutations. */
static void test_fgsea_fine(void **state)
{
    NEED_SHARED(es_path, "golden/gsea/es.json");
    NEED_SHARED(ranking, "golden/gsea/ranking.tsv");
    NEED_SHARED(fine, "golden/gsea/fgsea_multilevel.tsv");
    cpt_err err;
    static double statistic[GOLDEN_GENES];
    golden_tsv t;
    golden_ranking(ranking, statistic);
    json_t *root = golden_json(es_path), *list = json_object_get(root, "sets");
    cpt_genesets sets = golden_sets(list, "positions", GOLDEN_GENES);
    cpt_gsea *runs[2];
    for (int type = 0; type < 2; type++) {
        cpt_gsea_options o;
        cpt_gsea_options_init(&o);
        o.score_type = (cpt_score_type)type;
        o.n_permutations = 10000;
        o.seed = 11;
        assert_ok(cpt_gsea_run(&sets, statistic, &o, &runs[type], NULL, &err));
    }
    int n = 0, n_multilevel = 0;
    golden_tsv_open(&t, fine);
    for (; golden_tsv_next(&t); n++) {
        const cpt_gsea_row *row = NULL;
        for (int s = 0; s < sets.n_sets; s++)
            if (!strcmp(json_string_value(json_object_get(json_array_get(list, (size_t)s), "set")),
                        golden_text(&t, "pathway")))
                row = &runs[strcmp(golden_text(&t, "scoreType"), "std") != 0]->rows[s];
        assert_non_null(row);
        assert_near(row->es, golden_number(&t, "ES"), 1e-6);
        assert_near(row->nes, golden_number(&t, "NES_fine"), 0.02 * fabs(row->nes));
        double error = hypot(row->log2err, golden_number(&t, "log2err_fine"));
        assert_near(log2(row->p), log2(golden_number(&t, "pval_fine")), 4 * error);
        assert_near(row->log10p, log10(row->p), 1e-12 * fabs(row->log10p) + 1e-15);
        n_multilevel += row->multilevel;
    }
    assert_true(n > 60 && n_multilevel > 5);
    for (int type = 0; type < 2; type++) cpt_gsea_free(runs[type]);
    json_decref(root);
    by_hand_free(&sets);
}

/* ---- the walker ---- */

/* After thousands of swaps the arrays are those of a subset scored anew, and the bound holds. */
static void walk_and_check(int32_t n, int32_t k, double zero_share, uint64_t seed)
{
    double *weight = calloc((size_t)n, sizeof *weight);
    uint64_t *hash = calloc((size_t)n, sizeof *hash), *bitmap = calloc((size_t)n / 64 + 1, sizeof *bitmap);
    int64_t *integers = calloc((size_t)n, sizeof *integers);
    void *bytes = aligned_alloc(64, (cpt_walker_bytes(k) + 63) / 64 * 64);
    assert_true(weight && hash && bitmap && integers && bytes);
    cpt_stream s;
    cpt_stream_init(&s, seed, CPT_RANDOM_TEST, (uint64_t)k);
    for (int32_t i = 0; i < n; i++) {
        if (cpt_stream_uniform(&s) >= zero_share) weight[i] = (double)cpt_stream_below(&s, 100000);
        integers[i] = (int64_t)weight[i];
        hash[i] = cpt_stream_u64(&s);
    }
    cpt_field field = {n, k, weight, hash, cpt_walk_kernels_get()};
    cpt_walker w;
    cpt_walker_place(&w, k, bytes);
    cpt_walker_draw(&w, &field, &s, bitmap);
    int32_t accepted = 0;
    for (int round = 0; round < 60; round++) {
        cpt_element bound = cpt_walker_score(&w, &field), after;
        uint64_t below = bound.hash ? bound.hash - 1 : 0; /* just under: stay at least as high */
        bound.hash = below;
        accepted += cpt_walker_move(&w, &field, &bound, 50, &s);
        double total = 0;
        uint64_t x = 0;
        for (int32_t i = 0; i < k; i++) {
            assert_true(!i || w.position[i] > w.position[i - 1]);
            total += weight[w.position[i]];
            assert_true(w.sum[i] == total);
            x ^= hash[w.position[i]];
        }
        assert_true(w.total == total && w.hash == x);
        after = cpt_walker_score(&w, &field);
        assert_true(cpt_element_compare(&after, &bound) > 0);
        assert_near(after.numerator / (after.total * (n - k)),
                    cpt_gsea_es(integers, n, w.position, k, CPT_SCORE_POS), 0);
        assert_int_equal(after.positive, cpt_gsea_es(integers, n, w.position, k, CPT_SCORE_STD) >= 0);
    }
    assert_true(accepted > 0 || n < 10);
    free(weight);
    free(hash);
    free(bitmap);
    free(integers);
    free(bytes);
}

static void test_walker(void **state)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        walk_and_check(500, 40, 0, seed);
        walk_and_check(300, 7, 0.6, seed);
        walk_and_check(60, 3, 0.97, seed); /* most subsets weigh nothing */
        walk_and_check(20, 17, 0.3, seed);
        walk_and_check(5, 1, 0, seed);
    }
}

static void test_compare(void **state)
{
    assert_int_equal(cpt_score_compare(1, 3, 333333333, 1000000000), 1);
    assert_int_equal(cpt_score_compare(1, 3, 357913941, 1073741823), 0);
    assert_int_equal(cpt_score_compare(4503599627370495, 1073741824, 4503599627370491, 1073741823), -1);
    assert_int_equal(cpt_score_compare(0, 5, 0, 7), 0);
    assert_int_equal(cpt_score_compare(-1, 5, 0, 7), -1);
}

/* ---- sparse rankings, caps, eps ---- */

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* With 60 % zeros and few permutations, so that splitting does most of the work: still uniform. */
static void test_sparse_calibrated(void **state)
{
    enum { N = 1000, SETS = 600 };
    cpt_err err;
    static double statistic[N], p[SETS];
    cpt_stream s;
    cpt_stream_init(&s, 5, CPT_RANDOM_TEST, 0);
    for (int g = 0; g < N; g++) statistic[g] = cpt_stream_uniform(&s) < 0.6 ? 0 : cpt_stream_normal(&s);
    cpt_genesets sets = by_hand_new(N);
    for (int i = 0; i < SETS; i++) by_hand_add_random(&sets, 10 + i % 15, N, &s);
    cpt_gsea_options o;
    cpt_gsea_options_init(&o);
    o.n_permutations = 100;
    cpt_gsea *g;
    assert_ok(cpt_gsea_run(&sets, statistic, &o, &g, NULL, &err));
    int n = 0, n_multilevel = 0;
    for (int i = 0; i < SETS; i++) {
        assert_false(isnan(g->rows[i].p));
        n_multilevel += g->rows[i].multilevel;
        p[n++] = g->rows[i].p;
    }
    assert_true(n_multilevel > 10);
    qsort(p, SETS, sizeof *p, ascending);
    double d = 0;
    for (int i = 0; i < n; i++) d = fmax(d, fmax(p[i] - (double)i / n, (i + 1.0) / n - p[i]));
    assert_true(d * sqrt(n) < 1.95);
    cpt_gsea_free(g);
    by_hand_free(&sets);
}

/* Almost everything is 0: the score can take few values. An answer or a reason, in finite time. */
static void test_extremely_sparse(void **state)
{
    enum { N = 3000 };
    cpt_err err;
    static double statistic[N];
    for (int non_zero = 0; non_zero < 5; non_zero += 2) {
        memset(statistic, 0, sizeof statistic);
        for (int g = 0; g < non_zero; g++) statistic[g * 3] = 5 - g;
        cpt_genesets sets = by_hand_new(N);
        int32_t genes[40];
        for (int g = 0; g < 40; g++) genes[g] = g;
        by_hand_add(&sets, 40, genes);
        for (int g = 0; g < 20; g++) genes[g] = N - 1 - g;
        by_hand_add(&sets, 20, genes);
        cpt_gsea_options o;
        cpt_gsea_options_init(&o);
        o.sample_size = 31;
        cpt_gsea *g;
        assert_ok(cpt_gsea_run(&sets, statistic, &o, &g, NULL, &err));
        for (int i = 0; i < 2; i++) {
            const cpt_gsea_row *row = &g->rows[i];
            if (row->reason == CPT_GSEA_FEW_SAME_SIGN) assert_true(isnan(row->p));
            else assert_true(row->p > 0 && row->p <= 1);
        }
        cpt_gsea_free(g);
        by_hand_free(&sets);
    }
}

/* The best of C(20, 3) subsets cannot have p below 1 / C(20, 3); eps ends the search, and says so. */
static void test_floor_and_eps(void **state)
{
    enum { N = 200 };
    cpt_err err;
    double statistic[N];
    for (int g = 0; g < N; g++) statistic[g] = 100.5 - g;
    cpt_genesets sets = by_hand_new(N), small = by_hand_new(20);
    int32_t genes[20];
    for (int g = 0; g < 20; g++) genes[g] = g + g / 6;
    by_hand_add(&sets, 20, genes);
    by_hand_add(&small, 3, (int32_t[]){0, 1, 2});
    cpt_gsea_options o;
    cpt_gsea_options_init(&o);
    cpt_gsea *g;
    o.eps = 1e-12;
    assert_ok(cpt_gsea_run(&sets, statistic, &o, &g, NULL, &err));
    assert_true(g->rows[0].below_eps && g->rows[0].multilevel && isnan(g->rows[0].log2err));
    assert_near(g->rows[0].log10p, -12, 1e-12);
    cpt_gsea_free(g);
    o.eps = 0;
    assert_ok(cpt_gsea_run(&sets, statistic, &o, &g, NULL, &err));
    assert_int_equal(g->rows[0].reason, CPT_GSEA_TESTED);
    assert_false(g->rows[0].below_eps);
    assert_true(g->rows[0].log10p < -20);
    cpt_gsea_free(g);
    for (int32_t i = 0; i < 20; i++) genes[i] = i; /* the single best of 1.6e27: out of the chain's reach */
    sets.first[sets.n_sets = 0] = 0;
    by_hand_add(&sets, 20, genes);
    assert_ok(cpt_gsea_run(&sets, statistic, &o, &g, NULL, &err));
    assert_true(g->rows[0].log10p < -20 && g->rows[0].log10p > -27.5);
    if (g->rows[0].reason) assert_true(g->rows[0].reason == CPT_GSEA_NO_CONVERGENCE && isnan(g->rows[0].log2err));
    cpt_gsea_free(g);
    for (uint64_t seed = 0; seed < 30; seed++) {
        o.seed = seed;
        assert_ok(cpt_gsea_run(&small, statistic + 90, &o, &g, NULL, &err));
        assert_true(g->rows[0].p >= 1 / 1140. * (1 - 1e-9));
        cpt_gsea_free(g);
    }
    by_hand_free(&sets);
    by_hand_free(&small);
}

/* A ruler is its own: alone, among others, and on any number of threads it gives the same bits. */
static void test_rulers_are_independent(void **state)
{
    enum { N = 800, Q = 6 };
    cpt_err err;
    static double weight[N];
    for (int i = 0; i < N; i++) weight[i] = fabs(i - 400.0);
    cpt_gsea_options o;
    cpt_gsea_options_init(&o);
    cpt_multilevel_query all[2][Q], alone;
    for (int i = 0; i < Q; i++)
        all[0][i] = all[1][i] = (cpt_multilevel_query){.size = 20 + i / 2, .negative = i % 2,
                                                       .numerator = 0.55 * 1e4 * (N - 20 - i / 2), .total = 1e4};
    assert_ok(cpt_multilevel_run(N, weight, &o, Q, all[0], 1, NULL, &err));
    assert_ok(cpt_multilevel_run(N, weight, &o, Q, all[1], 4, NULL, &err));
    for (int i = 0; i < Q; i++) {
        assert_true(all[0][i].log_p == all[1][i].log_p && all[0][i].log2err == all[1][i].log2err);
        alone = all[0][i];
        alone.log_p = 0;
        assert_ok(cpt_multilevel_run(N, weight, &o, 1, &alone, 1, NULL, &err));
        assert_true(alone.log_p == all[0][i].log_p);
    }
    volatile int stop = 1;
    cpt_context ctx;
    cpt_context_init(&ctx);
    ctx.stop = &stop;
    assert_int_equal(cpt_multilevel_run(N, weight, &o, Q, all[0], 2, &ctx, &err), CPT_ERR_INTERRUPTED);
    assert_ok(cpt_multilevel_run(N, weight, &o, 0, NULL, 1, NULL, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact_small),
        cmocka_unit_test(test_fgsea_core),
        cmocka_unit_test(test_fgsea_fine),
        cmocka_unit_test(test_walker),
        cmocka_unit_test(test_compare),
        cmocka_unit_test(test_sparse_calibrated),
        cmocka_unit_test(test_extremely_sparse),
        cmocka_unit_test(test_floor_and_eps),
        cmocka_unit_test(test_rulers_are_independent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

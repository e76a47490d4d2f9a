/* test_rank_null.c - one null for all rankings: the same p as permutations and splitting of each by itself. */
#include "check.h"

#include "base/memory.h"
#include "base/random.h"
#include "enrich/rank_null.h"
#include "enrich/tilted.h"
#include "genesets_by_hand.h"

enum { N_GENES = 1200, N_SETS = 40 };

/* Half of the sets lie near one end of the ranking, each more than the one before. */
static cpt_genesets some_sets(void)
{
    static const int32_t sizes[] = {5, 15, 24, 40};
    cpt_stream stream;
    cpt_genesets sets = by_hand_new(N_GENES);
    cpt_stream_init(&stream, 4, CPT_RANDOM_TEST, 0);
    for (int i = 0; i < N_SETS; i++)
        by_hand_add_random(&sets, sizes[i % 4], i < 20 ? N_GENES : N_GENES - 12 * i, &stream);
    return sets;
}

/* No ties: gene 0 lowest (sign < 0) or highest. */
static void even_ranking(double *s, int sign)
{
    for (int i = 0; i < N_GENES; i++) s[i] = sign * (N_GENES + 1 - 2.0 * (i + 1));
}

static cpt_gsea_options options(void)
{
    cpt_gsea_options o;
    cpt_gsea_options_init(&o);
    o.n_permutations = 2000;
    o.seed = 3;
    o.eps = 1e-9;
    return o;
}

static cpt_rank_null *grown(const cpt_gsea_engine *engine, const double *statistic, int n_threads)
{
    cpt_err err;
    cpt_context ctx;
    cpt_rank_null *x;
    cpt_gsea_options o = options();
    char reason[96];
    bool changed;
    cpt_context_init(&ctx);
    ctx.n_threads = n_threads;
    assert_ok(cpt_rank_null_make(N_GENES, 40, &o, &x, &err));
    assert_ok(cpt_gsea_engine_ask(engine, statistic, x, reason, sizeof reason, &err));
    assert_string_equal(reason, "");
    assert_ok(cpt_rank_null_grow(x, &changed, &ctx, &err));
    assert_true(changed);
    assert_ok(cpt_rank_null_grow(x, &changed, &ctx, &err));
    assert_false(changed);
    return x;
}

/* The statistic here is the centred rank itself, so that the ordinary way answers the same question. */
static void test_agrees_with_the_ordinary_way(void **state)
{
    cpt_err err;
    double statistic[N_GENES], squared = 0;
    cpt_genesets sets = some_sets();
    cpt_gsea_options o = options();
    cpt_gsea *apart, *together;
    for (int sign = -1; sign <= 1; sign += 2) {
        even_ranking(statistic, sign);
        cpt_gsea_engine *engine = cpt_gsea_engine_new(&sets, &o, &err);
        assert_non_null(engine);
        assert_ok(cpt_gsea_engine_run(engine, statistic, &apart, &err));
        cpt_rank_null *null = grown(engine, statistic, 2);
        cpt_gsea_engine_use(engine, null);
        assert_ok(cpt_gsea_engine_run(engine, statistic, &together, &err));
        assert_true(together->shared_null);
        int n = 0;
        for (int s = 0; s < N_SETS; s++) {
            const cpt_gsea_row *a = &apart->rows[s], *b = &together->rows[s];
            assert_true(a->es == b->es);
            assert_true(b->shared && b->p > 0 && b->p <= 1);
            assert_true(fabs(a->nes / b->nes - 1) < 0.06);
            if (isnan(a->log2err) || isnan(b->log2err) || a->p > 0.9) continue;
            double z = (a->log10p - b->log10p) * log2(10) / hypot(a->log2err, b->log2err);
            assert_true(fabs(z) < 5);
            squared += z * z;
            n++;
        }
        assert_true(n > 25);
        assert_true(sqrt(squared / n) < 1.6);
        squared = 0;
        cpt_gsea_free(apart);
        cpt_gsea_free(together);
        cpt_gsea_engine_free(engine);
        cpt_rank_null_free(null);
    }
    by_hand_free(&sets);
}

/* With more sizes, other threads, or read back: the entries that were there are the same. */
static void test_entries_do_not_depend_on_company(void **state)
{
    cpt_err err;
    double statistic[N_GENES];
    cpt_genesets sets = some_sets();
    cpt_gsea_options o = options();
    cpt_gsea_engine *engine = cpt_gsea_engine_new(&sets, &o, &err);
    assert_non_null(engine);
    even_ranking(statistic, 1);
    cpt_rank_null *one = grown(engine, statistic, 1), *two = grown(engine, statistic, 2), *read;
    bool changed;
    assert_null(two->sizes[12].log_p);
    cpt_rank_null_ask(two, 13); /* between 12 and 15 */
    cpt_rank_null_ask(two, 17);
    assert_ok(cpt_rank_null_grow(two, &changed, NULL, &err));
    assert_true(changed && two->sizes[12].log_p && !one->sizes[12].log_p);
    int64_t n;
    double *rows;
    assert_ok(cpt_rank_null_pack(two, &n, &rows, &err));
    assert_int_equal(n, 8); /* 5, 12, 15, 18, 22, 27, 33, 41 */
    assert_ok(cpt_rank_null_make(N_GENES, 40, &o, &read, &err));
    assert_ok(cpt_rank_null_unpack(read, n, rows, &err));
    for (int32_t k = 1; k <= 40; k++) {
        const cpt_rank_null_size *a = &one->sizes[k], *b = &two->sizes[k], *c = &read->sizes[k];
        size_t bytes = (CPT_RANK_NULL_STEPS + 1) * sizeof *a->log_p;
        assert_true(b->mean == c->mean && !b->log_p == !c->log_p && (b->log_p || !a->log_p));
        if (!b->log_p) continue;
        assert_memory_equal(b->log_p, c->log_p, bytes);
        assert_memory_equal(b->log2err, c->log2err, bytes);
        for (int32_t i = 1; i <= CPT_RANK_NULL_STEPS; i++) assert_true(b->log_p[i] <= b->log_p[i - 1]);
        if (!a->log_p) continue;
        assert_true(a->mean == b->mean);
        assert_memory_equal(a->log_p, b->log_p, bytes);
        assert_memory_equal(a->log2err, b->log2err, bytes);
    }
    rows[3] = 1; /* p above 1 */
    assert_int_equal(cpt_rank_null_unpack(read, n, rows, &err), CPT_ERR_FORMAT);
    rows[3] = 0;
    rows[0] = 1e6;
    assert_int_equal(cpt_rank_null_unpack(read, n, rows, &err), CPT_ERR_FORMAT);
    free(rows);
    cpt_rank_null_free(one);
    cpt_rank_null_free(two);
    cpt_rank_null_free(read);
    cpt_gsea_engine_free(engine);
    by_hand_free(&sets);
}

/* Sizes between tables: what is read there is what a table of that size says. */
static void test_between_sizes(void **state)
{
    enum { GENES = 5000, STEP = 16 };
    cpt_err err;
    cpt_gsea_options o = options();
    cpt_rank_null *null;
    double unit;
    static double weight[GENES], log_p[CPT_RANK_NULL_STEPS + 1], log2err[CPT_RANK_NULL_STEPS + 1];
    static const int32_t sizes[] = {17, 87, 261};
    bool changed;
    o.eps = 1e-15;
    assert_ok(cpt_rank_null_make(GENES, 300, &o, &null, &err));
    for (int i = 0; i < 3; i++) cpt_rank_null_ask(null, sizes[i]);
    assert_ok(cpt_rank_null_grow(null, &changed, NULL, &err));
    assert_ok(cpt_rank_weights(GENES, 1, weight, &unit, &err));
    for (int i = 0; i < 3; i++) {
        cpt_tilted_options t = {CPT_RANK_NULL_SAMPLE, log(o.eps), 77};
        assert_null(null->sizes[sizes[i]].log_p);
        assert_ok(cpt_tilted_null(GENES, weight, sizes[i], &t, CPT_RANK_NULL_STEPS, log_p, log2err, NULL, &err));
        for (int s = 0; s < CPT_RANK_NULL_STEPS; s += STEP) {
            cpt_rank_null_answer a = cpt_rank_null_read(null, sizes[i], (double)s / CPT_RANK_NULL_STEPS);
            if (a.below_eps || a.bound || log_p[s] < log(o.eps)) break;
            double off = (a.log_p - fmin(0, log_p[s] + M_LN2)) / M_LN2;
            assert_true(fabs(off) < 4.5 * hypot(a.log2err, log2err[s]));
        }
    }
    cpt_rank_null_free(null);
}

/* Rankings that ranks do not suit are refused with the reason and tested the ordinary way. */
static void test_refusals(void **state)
{
    cpt_err err;
    double statistic[N_GENES];
    char reason[96];
    cpt_genesets sets = some_sets();
    cpt_gsea_options o = options();
    o.multilevel = false;
    cpt_gsea_engine *engine = cpt_gsea_engine_new(&sets, &o, &err);
    cpt_rank_null *null;
    assert_non_null(engine);
    assert_ok(cpt_rank_null_make(N_GENES, 40, &o, &null, &err));
    static const char *const expected[] = {"30 % of the genes have the statistic 0",
                                           "30 % of the genes share their statistic with others",
                                           "only 1199 of 1200 genes are ranked"};
    for (int which = 0; which < 3; which++) {
        even_ranking(statistic, 1);
        if (which < 2)
            for (int i = 0; i < 360; i++) statistic[i + 400] = which ? i % 2 + 700.5 : 0;
        else statistic[7] = NAN;
        assert_ok(cpt_gsea_engine_ask(engine, statistic, null, reason, sizeof reason, &err));
        assert_string_equal(reason, expected[which]);
        cpt_gsea *apart, *refused;
        assert_ok(cpt_gsea_engine_run(engine, statistic, &apart, &err));
        cpt_gsea_engine_use(engine, null);
        assert_ok(cpt_gsea_engine_run(engine, statistic, &refused, &err));
        cpt_gsea_engine_use(engine, NULL);
        assert_false(refused->shared_null);
        for (int s = 0; s < N_SETS; s++) {
            assert_false(refused->rows[s].shared);
            assert_true(apart->rows[s].p == refused->rows[s].p);
        }
        cpt_gsea_free(apart);
        cpt_gsea_free(refused);
    }
    even_ranking(statistic, 1);
    o.weight = 3;
    cpt_gsea_engine *cubed = cpt_gsea_engine_new(&sets, &o, &err);
    assert_non_null(cubed);
    assert_ok(cpt_gsea_engine_ask(cubed, statistic, null, reason, sizeof reason, &err));
    assert_string_equal(reason, "the GSEA weight is 3, and the shared null knows 0 to 2");
    cpt_gsea_engine_free(cubed);
    cpt_rank_null_free(null);
    cpt_gsea_engine_free(engine);
    by_hand_free(&sets);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Random sets: p uniform (Kolmogorov-Smirnov). */
static void test_calibrated(void **state)
{
    enum { N = 400 };
    cpt_err err;
    cpt_stream stream;
    double statistic[N_GENES], p[N], d = 0;
    cpt_genesets sets = by_hand_new(N_GENES);
    cpt_gsea_options o = options();
    cpt_stream_init(&stream, 8, CPT_RANDOM_TEST, 0);
    for (int i = 0; i < N; i++) by_hand_add_random(&sets, 20 + i % 3 * 10, N_GENES, &stream);
    for (int i = 0; i < N_GENES; i++) statistic[i] = cpt_stream_normal(&stream);
    cpt_gsea_engine *engine = cpt_gsea_engine_new(&sets, &o, &err);
    assert_non_null(engine);
    cpt_rank_null *null = grown(engine, statistic, 2);
    cpt_gsea_engine_use(engine, null);
    cpt_gsea *g;
    assert_ok(cpt_gsea_engine_run(engine, statistic, &g, &err));
    for (int i = 0; i < N; i++) p[i] = g->rows[i].p;
    qsort(p, N, sizeof *p, ascending);
    for (int i = 0; i < N; i++) d = fmax(d, fmax(fabs(p[i] - (double)i / N), fabs(p[i] - (i + 1.0) / N)));
    assert_true(d * sqrt(N) < 1.95); /* p of the test above 0.001 */
    cpt_gsea_free(g);
    cpt_gsea_engine_free(engine);
    cpt_rank_null_free(null);
    by_hand_free(&sets);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agrees_with_the_ordinary_way),
        cmocka_unit_test(test_entries_do_not_depend_on_company),
        cmocka_unit_test(test_between_sizes),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_calibrated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

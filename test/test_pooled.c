/* test_pooled.c - many variants of a family in one run; thinned annotations; relabelled genes. */
#include "check.h"

#include "base/file.h"
#include "base/random.h"
#include "enrich/pooled.h"
#include "genesets_by_hand.h"
#include "ontology/go.h"

enum { N_GENES = 300, N_SETS = 20 };

static cpt_genesets some_sets(uint64_t seed, int32_t *term)
{
    cpt_stream stream;
    cpt_genesets sets = by_hand_new(N_GENES);
    cpt_stream_init(&stream, seed, CPT_RANDOM_TEST, 0);
    for (int i = 0; i < N_SETS; i++) {
        if (i < 5) by_hand_add_random(&sets, 20, 60, &stream); /* near the top of the ranking below */
        else by_hand_add_random(&sets, 10 + i, N_GENES, &stream);
        term[i] = 2 * i;
    }
    sets.term = term;
    return sets;
}

static void ranking(double *s)
{
    cpt_stream stream;
    cpt_stream_init(&stream, 9, CPT_RANDOM_TEST, 1);
    for (int i = 0; i < N_GENES; i++) s[i] = cpt_stream_normal(&stream) + (i < 60 ? 2 : 0);
}

static cpt_gsea *run(const cpt_genesets *sets)
{
    cpt_err err;
    cpt_gsea *result;
    cpt_gsea_options o;
    double s[N_GENES];
    ranking(s);
    cpt_gsea_options_init(&o);
    o.multilevel = false;
    assert_ok(cpt_gsea_run(sets, s, &o, &result, NULL, &err));
    return result;
}

/* By way of the engine's scores, which must be those of the run. */
static double best_nes(const cpt_pool *pool, const cpt_gsea *g, int32_t v)
{
    double nes[64 * N_SETS], best;
    assert_true(g->n_rows <= (int32_t)(sizeof nes / sizeof *nes));
    for (int32_t i = 0; i < g->n_rows; i++) nes[i] = g->rows[i].nes;
    best = cpt_pool_best_nes(pool, nes, v);
    return best;
}

/* Apart or together: the same scores and p, and after the correction the same q. */
static void test_same_as_apart(void **state)
{
    cpt_err err;
    int32_t term[2][N_SETS];
    cpt_genesets a = some_sets(1, term[0]), b = some_sets(2, term[1]);
    const cpt_genesets *variants[] = {&a, &b};
    cpt_pool pool;
    assert_ok(cpt_pool_make(2, variants, &pool, &err));
    cpt_gsea *together = run(pool.sets);
    assert_ok(cpt_pool_correct(&pool, together->rows, &err));
    for (int v = 0; v < 2; v++) {
        cpt_gsea *apart = run(variants[v]);
        double best = 0;
        for (int i = 0; i < N_SETS; i++) {
            const cpt_gsea_row *x = &apart->rows[i], *y = &together->rows[v * N_SETS + i];
            assert_near(y->es, x->es, 0);
            assert_near(y->nes, x->nes, 1e-12);
            assert_near(y->p, x->p, 0);
            assert_near(y->q, x->q, 1e-12);
            best = fmax(best, fabs(x->nes));
        }
        assert_near(best_nes(&pool, together, v), best, 1e-12);
        cpt_gsea_free(apart);
    }
    cpt_gsea_free(together);
    cpt_pool_free(&pool);
    by_hand_free(&a);
    by_hand_free(&b);
}

static void test_agreement_by_hand(void **state)
{
    cpt_err err;
    int32_t first_set[] = {0, 4, 7}, term[] = {1, 3, 5, 7, /**/ 3, 5, 8};
    cpt_pool pool = {.n_variants = 2, .first_set = first_set, .term = term};
    const double q[] = {0.01, 0.02, 0.5, 0.03, 0.01, 0.2, 0.04}, nes[] = {1, 2, 3, 4, 2.5, 2.6, 1};
    cpt_gsea_row rows[7];
    cpt_agreement g;
    for (int i = 0; i < 7; i++) rows[i] = (cpt_gsea_row){.q = q[i], .nes = nes[i], .log10p = i == 1 ? -5 : -2};
    assert_ok(cpt_pool_agreement(&pool, rows, 1, 0.05, &g, &err));
    assert_int_equal(g.n_significant, 3);
    assert_int_equal(g.n_significant_here, 2);
    assert_int_equal(g.n_both, 1);
    assert_near(g.recall, 1.0 / 3, 1e-15);
    assert_near(g.jaccard, 0.25, 1e-15);
    assert_true(isnan(g.spearman)); /* two terms only */
    assert_true(g.best_significant);
    rows[4].q = 0.06;
    assert_ok(cpt_pool_agreement(&pool, rows, 1, 0.05, &g, &err));
    assert_false(g.best_significant);
    assert_near(g.recall, 0, 0);
    assert_ok(cpt_pool_agreement(&pool, rows, 0, 0.05, &g, &err)); /* with itself */
    assert_near(g.recall, 1, 0);
    assert_near(g.jaccard, 1, 0);
    assert_near(g.spearman, 1, 1e-12);
    for (int i = 0; i < 7; i++) rows[i].q = NAN;
    assert_ok(cpt_pool_agreement(&pool, rows, 1, 0.05, &g, &err));
    assert_true(isnan(g.recall) && isnan(g.jaccard) && !g.best_significant);
}

/* Relabelled copies keep sizes and overlaps, and seldom score like sets that were built to score. */
static void test_relabelled(void **state)
{
    cpt_err err;
    int32_t term[N_SETS], n_above = 0;
    cpt_genesets a = some_sets(1, term);
    cpt_pool pool, again;
    assert_ok(cpt_pool_relabelled(&a, 50, 3, &pool, &err));
    assert_ok(cpt_pool_relabelled(&a, 50, 3, &again, &err));
    assert_int_equal(pool.sets->n_sets, 51 * N_SETS);
    assert_memory_equal(pool.sets->genes, again.sets->genes, (size_t)pool.sets->first[51 * N_SETS] * sizeof(int32_t));
    for (int s = 0; s < 51 * N_SETS; s++)
        assert_int_equal(pool.sets->first[s + 1] - pool.sets->first[s], a.first[s % N_SETS + 1] - a.first[s % N_SETS]);
    cpt_gsea *r = run(pool.sets); /* refuses genes out of order */
    double best = best_nes(&pool, r, 0);
    for (int v = 1; v <= 50; v++) n_above += best_nes(&pool, r, v) >= best;
    assert_true(n_above <= 2);
    cpt_gsea_free(r);
    cpt_pool_free(&pool);
    cpt_pool_free(&again);
    by_hand_free(&a);
}

/* ---- thinning ---- */

static void open_toy(cpt_go **go, cpt_annotation **a)
{
    static const char obo[] =
        "format-version: 1.2\n\n[Term]\nid: GO:0008150\nname: r\nnamespace: biological_process\n\n"
        "[Term]\nid: GO:0000001\nname: a\nnamespace: biological_process\nis_a: GO:0008150\n\n"
        "[Term]\nid: GO:0000002\nname: b\nnamespace: biological_process\nis_a: GO:0000001\n";
    cpt_err err;
    cpt_strings u = {0};
    cpt_text gaf = {0};
    char path[64];
    cpt_go_options options = {.part_of = true};
    snprintf(path, sizeof path, "/tmp/cpt_test_pooled_%ld", (long)getpid());
    assert_ok(cpt_write_file(path, obo, sizeof obo - 1, &err));
    assert_ok(cpt_go_open(path, &options, go, &err));
    for (int i = 0; i < 100; i++) {
        char gene[16];
        snprintf(gene, sizeof gene, "g%02d", i);
        assert_ok(cpt_strings_add(&u, gene, strlen(gene), &err));
        for (int k = 0; k < 2; k++) /* the same pair twice, by two kinds of evidence */
            cpt_text_addf(&gaf, "D\ti\t%s\t\t%s\tr\t%s\t\tP\t\t\t\t\t\t\t\t\n", gene, "GO:0000002", k ? "IEA" : "IDA");
        if (i < 50) cpt_text_addf(&gaf, "D\ti\t%s\t\tGO:0008150\tr\tIDA\t\tP\t\t\t\t\t\t\t\t\n", gene);
    }
    assert_ok(cpt_write_file(path, gaf.bytes, gaf.length, &err));
    assert_ok(cpt_annotation_open(path, *go, &u, NULL, a, &err));
    unlink(path);
    cpt_text_free(&gaf);
    cpt_strings_free(&u);
}

static bool has(const cpt_annotation *a, int32_t gene, int32_t term)
{
    for (int64_t i = a->direct_first[gene]; i < a->direct_first[gene + 1]; i++)
        if (a->direct[i] == term) return true;
    return false;
}

static void test_thin(void **state)
{
    cpt_err err;
    cpt_go *go;
    cpt_annotation *a, *part[3];
    static const double shares[] = {0.2, 0.6, 1};
    open_toy(&go, &a);
    assert_int_equal(a->direct_first[100], 150); /* repeats are gone */
    for (int k = 0; k < 3; k++) {
        assert_ok(cpt_annotation_thin(go, a, shares[k], 7, &part[k], &err));
        assert_int_equal(part[k]->direct_first[100], (int64_t)(150 * shares[k] + 0.5));
    }
    for (int32_t g = 0; g < 100; g++)
        for (int32_t t = 0; t < 3; t++) { /* nested */
            assert_true(!has(part[0], g, t) || has(part[1], g, t));
            assert_true(!has(part[1], g, t) || has(a, g, t));
        }
    assert_memory_equal(part[2]->genes, a->genes, (size_t)a->first[3] * sizeof(int32_t));
    for (int64_t t = 0; t < 3; t++) assert_true(part[0]->first[t + 1] <= part[1]->first[t + 1]);
    int64_t b = part[0]->first[2] - part[0]->first[1], top = part[0]->first[1];
    assert_true(b <= top); /* true path */
    cpt_annotation *none;
    assert_int_equal(cpt_annotation_thin(go, a, 1.5, 7, &none, &err), CPT_ERR_USAGE);
    assert_null(none);
    for (int k = 0; k < 3; k++) cpt_annotation_free(part[k]);
    cpt_annotation_free(a);
    cpt_go_free(go);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_as_apart), cmocka_unit_test(test_agreement_by_hand),
        cmocka_unit_test(test_relabelled),    cmocka_unit_test(test_thin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

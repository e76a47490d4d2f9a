/* Preranked GSEA against GSEApy, over-representation against SciPy (test/golden/gsea). */
#include "genesets_by_hand.h"
#include "golden.h"

#include "enrich/enrich.h"

enum { N_GENES = 400, N_SETS = 16 };

typedef struct golden_sets {
    json_t *root, *rows;
    double *statistic;
    cpt_genesets sets;
} golden_sets;

static int32_t numbers(const json_t *list, int32_t *out)
{
    int n;
    double *v = golden_array(list, &n);
    for (int i = 0; i < n; i++) out[i] = (int32_t)v[i];
    free(v);
    return n;
}

static void open_sets(golden_sets *g)
{
    int n;
    size_t i;
    json_t *row;
    g->root = golden_json("test/golden/gsea/gsea.json");
    g->rows = json_object_get(g->root, "sets");
    g->statistic = golden_array(json_object_get(g->root, "statistic"), &n);
    assert_int_equal(n, N_GENES);
    assert_int_equal(json_array_size(g->rows), N_SETS);
    g->sets = by_hand_new(N_GENES);
    json_array_foreach(g->rows, i, row) {
        int32_t genes[N_GENES];
        int32_t m = numbers(json_object_get(row, "genes"), genes);
        by_hand_add(&g->sets, m, genes);
    }
}

static void close_sets(golden_sets *g)
{
    by_hand_free(&g->sets);
    free(g->statistic);
    json_decref(g->root);
}

static cpt_gsea *run(const golden_sets *g, double weight, int32_t n_permutations)
{
    cpt_err err;
    cpt_gsea *out;
    cpt_gsea_options o;
    cpt_gsea_options_init(&o);
    o.weight = weight;
    o.n_permutations = n_permutations;
    o.multilevel = false;
    assert_ok(cpt_gsea_run(&g->sets, g->statistic, &o, &out, NULL, &err));
    return out;
}

/* Our weights are integers that sum to about 2^30: 1e-8 of the score. */
static void test_scores(void **state)
{
    golden_sets g;
    open_sets(&g);
    for (int weight = 0; weight < 2; weight++) {
        cpt_gsea *ours = run(&g, weight, 1000);
        for (int i = 0; i < N_SETS; i++) {
            const json_t *want = json_array_get(g.rows, (size_t)i);
            assert_near(ours->rows[i].es, golden_get(want, weight ? "es_p1" : "es_p0"), 1e-7);
        }
        cpt_gsea_free(ours);
    }
    close_sets(&g);
}

static void test_leading_edge(void **state)
{
    golden_sets g;
    open_sets(&g);
    cpt_gsea *ours = run(&g, 1, 1000);
    for (int i = 0; i < N_SETS; i++) {
        const cpt_gsea_row *row = &ours->rows[i];
        int32_t want[N_GENES];
        int32_t n = numbers(json_object_get(json_array_get(g.rows, (size_t)i), "leading"), want);
        assert_int_equal(row->n_leading, n);
        for (int j = 0; j < n; j++) assert_int_equal(row->leading[j], want[j]); /* outermost first, both */
    }
    cpt_gsea_free(ours);
    close_sets(&g);
}

/* Both draw: NES within 5 %, p within 5 standard errors of both (GSEApy: 4,000 permutations, of
 * which half have the sign of the score; ours 20,000) and the 1 that is added to counts. */
static void test_null(void **state)
{
    golden_sets g;
    open_sets(&g);
    for (int weight = 0; weight < 2; weight++) {
        cpt_gsea *ours = run(&g, weight, 20000);
        for (int i = 0; i < N_SETS; i++) {
            const cpt_gsea_row *row = &ours->rows[i];
            const json_t *want = json_array_get(g.rows, (size_t)i);
            double p = golden_get(want, weight ? "p_p1" : "p_p0");
            double nes = golden_get(want, weight ? "nes_p1" : "nes_p0");
            double error = sqrt(row->p * (1 - row->p) * (1 / 1500. + 1 / 7500.)) + 1 / 1500.;
            if (getenv("CPT_SHOW"))
                printf("set %d: nes %.4f %.4f, p %.4f %.4f\n", i, row->nes, nes, row->p, p);
            assert_near(row->nes / nes, 1, 0.05);
            assert_near(row->p, p, 5 * error);
        }
        cpt_gsea_free(ours);
    }
    close_sets(&g);
}

static void test_over_representation(void **state)
{
    cpt_err err;
    golden_sets g;
    int32_t study[N_GENES];
    open_sets(&g);
    int32_t n = numbers(json_object_get(g.root, "study"), study);
    cpt_ora *ours;
    assert_ok(cpt_ora_run(&g.sets, n, study, &ours, &err));
    for (int i = 0; i < N_SETS; i++) {
        const json_t *want = json_array_get(g.rows, (size_t)i);
        assert_int_equal(ours->rows[i].overlap, golden_get(want, "overlap"));
        assert_near(ours->rows[i].log10p * log(10), golden_get(want, "log_p_ora"), 1e-11);
        assert_near(ours->rows[i].q / golden_get(want, "q_ora"), 1, 1e-11);
    }
    cpt_ora_free(ours);
    close_sets(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scores),
        cmocka_unit_test(test_leading_edge),
        cmocka_unit_test(test_null),
        cmocka_unit_test(test_over_representation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

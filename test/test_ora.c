/* Over-representation against fgsea's fora, R's tables, and the rules of the correction. */
#include "check.h"
#include "golden_sets.h"

#include "enrich/enrich.h"

#include <float.h>

/* Real sets against the 250 best genes of the golden ranking; fora numbers genes by rank. */
static void test_fora(void **state)
{
    NEED_SHARED(es_path, "golden/gsea/es.json");
    NEED_SHARED(tsv_path, "golden/gsea/fora.tsv");
    cpt_err err;
    json_t *root = golden_json(es_path), *list = json_object_get(root, "sets");
    cpt_genesets sets = golden_sets(list, "positions", GOLDEN_GENES);
    int32_t study[250];
    for (int j = 0; j < 250; j++) study[j] = j;
    cpt_ora *r;
    assert_ok(cpt_ora_run(&sets, 250, study, &r, &err));
    golden_tsv t;
    int n = 0;
    golden_tsv_open(&t, tsv_path);
    for (; golden_tsv_next(&t); n++) {
        const cpt_ora_row *row = NULL;
        for (int s = 0; s < sets.n_sets; s++)
            if (!strcmp(json_string_value(json_object_get(json_array_get(list, (size_t)s), "set")),
                        golden_text(&t, "pathway")))
                row = &r->rows[s];
        assert_non_null(row);
        double p = golden_number(&t, "pval"), q = golden_number(&t, "padj");
        assert_int_equal(row->overlap, (int)golden_number(&t, "overlap"));
        assert_int_equal(row->size, (int)golden_number(&t, "size"));
        assert_near(row->p, p, 1e-11 * p);
        assert_near(row->log10p, log10(p), 1e-11 * fabs(log10(p)) + 1e-12);
        assert_near(row->q, q, 1e-11 * q);
        assert_near(row->fold, golden_number(&t, "foldEnrichment"), 1e-12 * row->fold);
        assert_int_equal(row->n_genes, row->overlap);
        for (int j = 0; j < row->n_genes; j++) {
            assert_true(row->genes[j] < 250);
            assert_true(!j || row->genes[j] > row->genes[j - 1]);
        }
    }
    assert_int_equal(n, r->n_rows);
    cpt_ora_free(r);
    json_decref(root);
    by_hand_free(&sets);
}

/* Odds ratios of R's tables: study 0 .. k-1, set = q of them and m - q others. */
static void test_odds(void **state)
{
    NEED_SHARED(path, "golden/gsea/hypergeometric.tsv");
    cpt_err err;
    golden_tsv t;
    golden_tsv_open(&t, path);
    while (golden_tsv_next(&t)) {
        int32_t N = atoi(golden_text(&t, "N")), m = atoi(golden_text(&t, "m")),
                k = atoi(golden_text(&t, "k")), q = atoi(golden_text(&t, "q"));
        if (q > k || q > m || m - q > N - k) continue;
        int32_t *genes = malloc((size_t)(m + k + 2) * sizeof *genes), *study = genes + m + 1;
        for (int32_t i = 0; i < q; i++) genes[i] = i;
        for (int32_t i = q; i < m; i++) genes[i] = k + i - q;
        for (int32_t i = 0; i < k; i++) study[i] = i;
        cpt_genesets sets = by_hand_new(N);
        by_hand_add(&sets, m, genes);
        cpt_ora *r;
        assert_ok(cpt_ora_run(&sets, k, study, &r, &err));
        const cpt_ora_row *row = r->rows;
        double want = golden_number(&t, row->haldane ? "haldane_odds_ratio" : "sample_odds_ratio");
        double lnp = golden_number(&t, "lnp_upper_exact");
        assert_near(row->odds_ratio, want, 1e-12 * want);
        if (row->haldane) {
            assert_near(row->odds_low, golden_number(&t, "haldane_ci95_low"), 1e-9 * row->odds_low);
            assert_near(row->odds_high, golden_number(&t, "haldane_ci95_high"), 1e-9 * row->odds_high);
        }
        assert_true(row->odds_low < row->odds_ratio && row->odds_ratio < row->odds_high);
        assert_near(row->log10p * M_LN10, lnp, fmax(1e-11 * fabs(lnp), 1e-12));
        assert_true(row->p >= DBL_MIN);
        cpt_ora_free(r);
        by_hand_free(&sets);
        free(genes);
    }
}

static void test_no_hit_counts(void **state)
{
    cpt_err err;
    cpt_genesets sets = by_hand_new(100);
    by_hand_add(&sets, 5, (int32_t[]){0, 1, 2, 3, 50});
    for (int i = 0; i < 9; i++) by_hand_add(&sets, 3, (int32_t[]){60 + i, 70 + i, 80 + i});
    by_hand_add(&sets, 0, (int32_t[]){0});
    cpt_ora *r;
    assert_ok(cpt_ora_run(&sets, 5, (int32_t[]){0, 1, 2, 3, 4}, &r, &err));
    assert_near(r->rows[1].p, 1, 0);
    assert_near(r->rows[0].q, r->rows[0].p * 11, 1e-15);
    assert_true(isnan(r->rows[10].fold) && r->rows[10].p == 1);
    cpt_ora_free(r);
    assert_ok(cpt_ora_run(&sets, 0, NULL, &r, &err)); /* an empty study is an answer: p = 1 */
    assert_near(r->rows[0].p, 1, 0);
    assert_true(isnan(r->rows[0].fold));
    cpt_ora_free(r);
    by_hand_free(&sets);
}

static void test_wrong_study(void **state)
{
    cpt_err err;
    cpt_genesets sets = by_hand_new(10);
    by_hand_add(&sets, 2, (int32_t[]){1, 2});
    cpt_ora *r;
    assert_int_equal(cpt_ora_run(&sets, 2, (int32_t[]){3, 10}, &r, &err), CPT_ERR_USAGE);
    assert_non_null(strstr(err.text, "universe has 10"));
    assert_null(r);
    assert_int_equal(cpt_ora_run(&sets, 2, (int32_t[]){3, 3}, &r, &err), CPT_ERR_USAGE);
    assert_non_null(strstr(err.text, "ascend"));
    by_hand_free(&sets);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fora),
        cmocka_unit_test(test_odds),
        cmocka_unit_test(test_no_hit_counts),
        cmocka_unit_test(test_wrong_study),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What stands for a concept: the best finding, never a marker set. */
#include "small_study.h"

#include "study/naming.h"
#include "view/index.h"

enum { MARKERS = 12, TYPES = 8 };

/* ---- the rule ---- */

static cpt_naming named(const char *ranking, const char *method, double q, double log10p, double nes)
{
    cpt_naming n;
    assert_true(cpt_naming_of(ranking, method, false, q, log10p, nes, 0.1, &n));
    return n;
}

static void test_rule(void **state)
{
    cpt_naming n, best = named("attribution", "gsea", 0.04, -3, 2);
    const cpt_naming lesser[] = {named("attribution", "gsea", 0.04, -3, 1.9), named("attribution", "gsea", 0.04, -2, 3),
                                 named("attribution", "ora", 1e-9, -12, NAN), named("expression", "gsea", 1e-9, -12, 4),
                                 named("expression", "ora", 1e-9, -12, NAN)};
    for (size_t i = 0; i < sizeof lesser / sizeof *lesser; i++) {
        assert_true(cpt_naming_beats(&best, &lesser[i]));
        assert_false(cpt_naming_beats(&lesser[i], &best));
    }
    assert_false(cpt_naming_beats(&best, &best));
    cpt_naming large, narrow, rare; /* floors: of a large set, where more null scores have its sign; of a narrow one */
    assert_true(cpt_naming_of("attribution", "gsea", false, 0.01, -2.82, 1.3, 1.85, &large));
    assert_true(cpt_naming_of("attribution", "gsea", false, 0.01, -2.75, 1.6, 1.85, &narrow));
    assert_true(cpt_naming_of("attribution", "gsea", false, 0.01, -6, 1.4, 0.3, &rare));
    assert_true(cpt_naming_beats(&narrow, &large) && !cpt_naming_beats(&large, &narrow));
    assert_true(cpt_naming_beats(&rare, &narrow) && !cpt_naming_beats(&narrow, &rare));
    assert_true(cpt_naming_beats(&lesser[2], &lesser[3]));
    assert_true(cpt_naming_beats(&lesser[3], &lesser[4]));
    assert_false(cpt_naming_of("attribution", "gsea", true, 1e-9, -12, 3, 0.1, &n));   /* markers */
    assert_false(cpt_naming_of("attribution", "gsea", false, 0.05, -12, 3, 0.1, &n));  /* not significant */
    assert_false(cpt_naming_of("attribution", "gsea", false, NAN, -12, 3, 0.1, &n));
    assert_false(cpt_naming_of("attribution", "gsea", false, 1e-9, -12, -3, 0.1, &n)); /* depleted */
    assert_false(cpt_naming_of("attribution", "elim", false, 1e-9, -12, NAN, 0.1, &n)); /* selected on */
}

/* ---- a study ---- */

/* For some concepts their best genes as a marker set: nothing fits better. */
static void write_markers(cpt_study *s, const char *path)
{
    const cpt_universe *u;
    cpt_err err;
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    assert_ok(cpt_study_universe(s, &u, &err));
    for (int32_t c = 0; c < TYPES; c++) {
        int32_t genes[MARKERS], n = cpt_study_top_genes(s, c, MARKERS, genes);
        if (n < 5) continue;
        fprintf(out, "TYPE_%d\tna", c);
        for (int32_t i = 0; i < n; i++) fprintf(out, "\t%s", cpt_strings_get(&u->symbols, genes[i]));
        fputs("\n", out);
    }
    assert_int_equal(fclose(out), 0);
}

/* Whether the best row of a concept that could name it, markers or not, is of markers. */
static bool markers_lead(const cpt_enrichment *r, int32_t c)
{
    bool leads = false, any = false;
    cpt_naming best = {0}, here;
    for (int64_t k = r->first[c]; k < r->first[c + 1]; k++) {
        const cpt_enrichment_row *row = &r->rows[k];
        if (!cpt_naming_of(row->ranking, row->method, false, row->q, row->log10p, row->nes,
                           row->log2err, &here)) continue;
        if (any && !cpt_naming_beats(&here, &best)) continue;
        best = here;
        any = true;
        leads = row->marker;
    }
    return leads;
}

/* The first row of the same list that could name the concept: lists come in the order that names go by. */
static const cpt_enrichment_row *first_like(const cpt_enrichment *r, int32_t c, const cpt_enrichment_row *top)
{
    for (int64_t k = r->first[c]; k < r->first[c + 1]; k++) {
        const cpt_enrichment_row *row = &r->rows[k];
        if (strcmp(row->ranking, top->ranking) == 0 && strcmp(row->method, top->method) == 0 &&
            strcmp(row->collection, top->collection) == 0 && row->q < 0.05 && !(row->nes < 0))
            return row;
    }
    return NULL;
}

static const char *indexed_collection(const cpt_index_files *index, int32_t c)
{
    cpt_err err;
    cpt_index_row row;
    int64_t best = ((const int64_t *)index->best_row.data)[c];
    if (best < 0) return "";
    assert_ok(cpt_index_row_read(index, best, &row, &err));
    return cpt_index_name(index, "collections", row.codes[CPT_ROW_COLLECTION]);
}

static void test_markers_name_nothing(void **state)
{
    char path[128];
    cpt_err err;
    cpt_context ctx;
    cpt_study *s;
    const cpt_enrichment *r;
    const json_t *evaluation;
    cpt_index_files index = {0};
    int n_lead = 0, n_named = 0;
    cpt_context_init(&ctx);
    ctx.n_threads = 1;
    snprintf(path, sizeof path, "%s/types.gmt", small_root);
    assert_ok(cpt_study_open(small_study, &ctx, &s, &err));
    write_markers(s, path);
    cpt_study_close(s);
    cpt_options *o = cpt_options_new(&err);
    assert_non_null(o);
    assert_ok(cpt_options_set(o, "markers", path, &err));
    assert_ok(cpt_study_run(NULL, small_study, NULL, o, "test", &ctx, &err));
    cpt_options_free(o);

    assert_ok(cpt_study_open(small_study, &ctx, &s, &err));
    assert_ok(cpt_study_enrichment(s, &r, &err));
    assert_ok(cpt_index_open(small_study, SMALL_CELLS, r->n_concepts, &index, &err));
    for (int32_t c = 0; c < r->n_concepts; c++) {
        const cpt_enrichment_row *top = cpt_study_top_term(s, c);
        const char *collection = indexed_collection(&index, c);
        n_lead += markers_lead(r, c);
        n_named += top != NULL;
        assert_string_not_equal(collection, "types");
        assert_string_equal(collection, top ? top->collection : "");
        if (!top) continue;
        assert_string_equal(top->collection, "sets");
        assert_ptr_equal(first_like(r, c, top), top);
    }
    assert_true(n_lead > 3); /* without the rule they would have been named by markers */
    assert_true(n_named > 0);
    assert_ok(cpt_study_evaluation(s, &evaluation, &err));
    assert_true(json_object_size(json_object_get(json_object_get(evaluation, "suggested"), "concepts")) >= (size_t)n_lead);
    cpt_index_close(&index);
    cpt_study_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rule),
        cmocka_unit_test(test_markers_name_nothing),
    };
    return cmocka_run_group_tests_name("naming", tests, small_study_make, small_study_remove);
}

/* test_redundancy.c - term similarity against golden matrices; the rules of the greedy reduction. */
#include "check.h"

#include <jansson.h>

#include "base/file.h"
#include "enrich/redundancy.h"

enum { N_TOY = 15 };

static json_t *member(json_t *object, const char *name)
{
    json_t *value = json_object_get(object, name);
    assert_non_null(value);
    return value;
}

static void compare(json_t *want, const double *got, const char *name)
{
    for (size_t i = 0; i < N_TOY; i++)
        for (size_t j = 0; j < N_TOY; j++) {
            json_t *w = json_array_get(json_array_get(want, i), j);
            double g = got[i * N_TOY + j];
            if (json_is_null(w) ? !isnan(g) : !(fabs(g - json_number_value(w)) <= 1e-12)) {
                print_error("%s[%zu][%zu] = %.17g, want %.17g\n", name, i, j, g, json_number_value(w));
                fail();
            }
        }
}

/* One gene per count, annotated to its term: the counts of the golden file. */
static cpt_annotation *toy_annotation(const cpt_go *go, json_t *counts)
{
    cpt_err err;
    cpt_text gaf = {0};
    cpt_strings u = {0};
    cpt_annotation *a;
    const char *id;
    json_t *count;
    json_object_foreach(counts, id, count)
        for (json_int_t k = 0; k < json_integer_value(count); k++) {
            char gene[64];
            snprintf(gene, sizeof gene, "%s_%d", id, (int)k);
            assert_ok(cpt_strings_add(&u, gene, strlen(gene), &err));
            cpt_text_addf(&gaf, "D\ti\t%s\t\t%s\tr\tIDA\t\tP\t\t\t\t\t\t\t\t\n", gene, id);
        }
    char path[64];
    snprintf(path, sizeof path, "/tmp/cpt_test_redundancy_%ld", (long)getpid());
    assert_ok(cpt_write_file(path, gaf.bytes, gaf.length, &err));
    assert_ok(cpt_annotation_open(path, go, &u, NULL, &a, &err));
    unlink(path);
    cpt_text_free(&gaf);
    cpt_strings_free(&u);
    return a;
}

static void test_golden(void **state)
{
    NEED_SHARED(folder, "golden/gsea");
    static const char *const names[] = {"resnik", "lin", "simrel", "wang"};
    cpt_err err;
    char path[1200];
    cpt_go *go;
    double ic[N_TOY], got[N_TOY * N_TOY];
    int32_t terms[N_TOY];
    snprintf(path, sizeof path, "%s/semantic.obo", folder);
    assert_ok(cpt_go_open(path, NULL, &go, &err));
    assert_int_equal(go->n_terms, N_TOY);
    snprintf(path, sizeof path, "%s/semantic.json", folder);
    json_t *golden = json_load_file(path, 0, NULL);
    assert_non_null(golden);
    cpt_annotation *a = toy_annotation(go, member(golden, "direct_gene_counts"));
    assert_ok(cpt_term_ic(go, a, ic, &err));
    for (size_t i = 0; i < N_TOY; i++) {
        const char *id = json_string_value(json_array_get(member(golden, "terms"), i));
        terms[i] = (int32_t)cpt_index_get(go->by_id, id);
        assert_near(ic[terms[i]], json_number_value(member(member(golden, "ic"), id)), 1e-14);
    }
    for (int kind = 0; kind < 4; kind++) {
        assert_ok(cpt_term_similarity(go, ic, (cpt_similarity)kind, N_TOY, terms, got, &err));
        compare(member(member(golden, "by_definition"), names[kind]), got, names[kind]);
    }
    terms[3] = N_TOY;
    assert_int_equal(cpt_term_similarity(go, ic, CPT_SIMILARITY_LIN, N_TOY, terms, got, &err), CPT_ERR_USAGE);
    json_decref(golden);
    cpt_annotation_free(a);
    cpt_go_free(go);
}

static void test_lists(void **state)
{
    static const int64_t first[] = {0, 3, 5, 5, 8, 8};
    static const int32_t genes[] = {1, 4, 7, 4, 9, 1, 4, 7};
    double s[25];
    cpt_list_similarity(5, first, genes, s);
    assert_near(s[0 * 5 + 0], 1, 0);
    assert_near(s[0 * 5 + 1], 0.25, 0);
    assert_near(s[1 * 5 + 0], 0.25, 0);
    assert_near(s[0 * 5 + 3], 1, 0);
    assert_near(s[0 * 5 + 2], 0, 0);
    assert_near(s[2 * 5 + 4], 0, 0);
}

static cpt_go *ladder(int levels)
{
    cpt_err err;
    cpt_go *go;
    cpt_text t = {0};
    cpt_text_add(&t, "[Term]\nid: T00a\nname: n\nnamespace: biological_process\n");
    for (int i = 1; i < levels; i++)
        for (char c = 'a'; c <= 'b'; c++) {
            cpt_text_addf(&t, "[Term]\nid: T%02d%c\nname: n\nnamespace: biological_process\n", i, c);
            cpt_text_addf(&t, "is_a: T%02da\n", i - 1);
            if (i > 1) cpt_text_addf(&t, "is_a: T%02db\n", i - 1);
        }
    char path[64];
    snprintf(path, sizeof path, "/tmp/cpt_test_redundancy_%ld.obo", (long)getpid());
    assert_ok(cpt_write_file(path, t.bytes, t.length, &err));
    assert_ok(cpt_go_open(path, NULL, &go, &err));
    unlink(path);
    cpt_text_free(&t);
    return go;
}

/* Two findings at similarity 0.8: which number stays? */
static int32_t winner(const cpt_go *go, cpt_finding a, cpt_finding b)
{
    cpt_err err;
    const cpt_finding f[] = {a, b};
    const double s[] = {1, 0.8, 0.8, 1};
    int32_t representative[2];
    double dispensability[2];
    assert_ok(cpt_reduce_findings(go, 1000, 2, f, s, 0.7, representative, dispensability, &err));
    assert_int_equal(representative[0], representative[1]);
    int32_t w = representative[0];
    assert_near(dispensability[w], 0, 0);
    assert_near(dispensability[1 - w], 0.8, 0);
    return w;
}

static void test_rules(void **state)
{
    cpt_go *go = ladder(60); /* 2^59 paths from bottom to top: a walk over paths would not end */
    int32_t top = 0, bottom = go->n_terms - 1, sibling = go->n_terms - 2;
    assert_int_equal(winner(NULL, (cpt_finding){-1, 90, 1, true}, (cpt_finding){-1, 10, 9, false}), 0);
    assert_int_equal(winner(NULL, (cpt_finding){-1, 51, 9, false}, (cpt_finding){-1, 40, 1, false}), 1);
    assert_int_equal(winner(NULL, (cpt_finding){-1, 50, 9, false}, (cpt_finding){-1, 40, 1, false}), 0);
    assert_int_equal(winner(NULL, (cpt_finding){-1, 20, 5, false}, (cpt_finding){-1, 10, 5, false}), 0);
    assert_int_equal(winner(go, (cpt_finding){top, 20, 5, false}, (cpt_finding){bottom, 16, 4.9, false}), 1);
    assert_int_equal(winner(go, (cpt_finding){bottom, 16, 5, false}, (cpt_finding){top, 20, 4.9, false}), 0);
    assert_int_equal(winner(go, (cpt_finding){top, 20, 4.9, false}, (cpt_finding){bottom, 15, 5, false}), 0);
    assert_int_equal(winner(go, (cpt_finding){bottom, 9, 5, false}, (cpt_finding){sibling, 9, 5.1, false}), 1);
    cpt_go_free(go);
}

static void test_chain(void **state)
{
    /* 0 ~ 1 at 0.9 (1 wins), 1 ~ 2 at 0.8 (2 wins), 3 alone (NaN) */
    static const cpt_finding f[] = {{-1, 9, 1, false}, {-1, 9, 2, false}, {-1, 9, 3, false}, {-1, 9, 9, false}};
    static const int32_t want[] = {2, 2, 2, 3}, all[] = {0, 1, 2, 3};
    const double s[] = {1, .9, .1, NAN, .9, 1, .8, 0, .1, .8, 1, 0, NAN, 0, 0, 1};
    int32_t r[4];
    double d[4];
    cpt_err err;
    assert_ok(cpt_reduce_findings(NULL, 1000, 4, f, s, 0.7, r, d, &err));
    assert_memory_equal(r, want, sizeof want);
    assert_near(d[0], 0.9, 0);
    assert_near(d[1], 0.8, 0);
    assert_ok(cpt_reduce_findings(NULL, 1000, 4, f, s, 0.95, r, d, &err));
    assert_memory_equal(r, all, sizeof all);
    assert_ok(cpt_reduce_findings(NULL, 1000, 0, f, s, 0.7, r, d, &err));
    assert_int_equal(cpt_reduce_findings(NULL, 1000, 4, f, s, NAN, r, d, &err), CPT_ERR_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden), cmocka_unit_test(test_lists),
        cmocka_unit_test(test_rules),  cmocka_unit_test(test_chain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

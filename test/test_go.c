/* test_go.c - the OBO reader and the graph: golden toy graphs, the real release, and refusals. */
#include "check.h"

#include "base/file.h"
#include "base/random.h"
#include "ontology/go.h"

static char *write_obo(const char *text)
{
    static char path[4][64];
    static int turn;
    char *p = path[turn++ & 3];
    cpt_err err;
    snprintf(p, sizeof path[0], "/tmp/cpt_test_go_%ld_%d.obo", (long)getpid(), turn & 3);
    assert_ok(cpt_write_file(p, text, strlen(text), &err));
    return p;
}

static const cpt_go_options with_part_of = {.part_of = true}, is_a_only = {.part_of = false};

static cpt_go *open_text(const char *text, const cpt_go_options *o)
{
    cpt_err err;
    cpt_go *go;
    const char *path = write_obo(text);
    assert_ok(cpt_go_open(path, o, &go, &err));
    unlink(path);
    return go;
}

static void refuse(const char *text, const char *const *parts)
{
    cpt_err err;
    cpt_go *go = (cpt_go *)1;
    const char *path = write_obo(text);
    assert_int_equal(cpt_go_open(path, &with_part_of, &go, &err), CPT_ERR_FORMAT);
    assert_null(go);
    assert_non_null(strstr(err.text, path));
    for (; *parts; parts++)
        if (!strstr(err.text, *parts)) {
            print_error("'%s' does not say '%s'\n", err.text, *parts);
            fail();
        }
    unlink(path);
}
#define REFUSE(text, ...) refuse(text, (const char *const[]){__VA_ARGS__, NULL})

#define TERM(id, rest)                                                                             \
    "[Term]\nid: " id "\nname: name of " id "\nnamespace: biological_process\n" rest "\n"

static int32_t term(const cpt_go *go, const char *id)
{
    return (int32_t)cpt_index_get(go->by_id, id);
}

static const char *name_of(const cpt_go *go, const char *id)
{
    return cpt_strings_get(&go->names, term(go, id));
}

static bool has_parent(const cpt_go *go, const char *child, const char *parent, int kind)
{
    int32_t t = term(go, child);
    for (int32_t i = go->parent_first[t]; i < go->parent_first[t + 1]; i++)
        if (go->parents[i] == term(go, parent) && go->parent_kind[i] == kind) return true;
    return false;
}

static int32_t n_parents(const cpt_go *go, const char *id)
{
    int32_t t = term(go, id);
    return go->parent_first[t + 1] - go->parent_first[t];
}

/* Order and levels hold for any graph. */
static void check_order(const cpt_go *go)
{
    int32_t *position = malloc((size_t)go->n_terms * sizeof *position);
    assert_non_null(position);
    for (int32_t t = 0; t < go->n_terms; t++) position[t] = -1;
    for (int32_t i = 0; i < go->n_terms; i++) {
        assert_int_equal(position[go->order[i]], -1);
        position[go->order[i]] = i;
    }
    for (int32_t t = 0; t < go->n_terms; t++) {
        int32_t level = 0;
        for (int32_t i = go->parent_first[t]; i < go->parent_first[t + 1]; i++) {
            int32_t p = go->parents[i];
            assert_true(position[p] < position[t]);
            assert_int_equal(go->aspect[p], go->aspect[t]);
            if (go->level[p] + 1 > level) level = go->level[p] + 1;
        }
        assert_int_equal(go->level[t], level);
        if (t) assert_true(strcmp(cpt_strings_get(&go->ids, t - 1), cpt_strings_get(&go->ids, t)) < 0);
    }
    free(position);
}

static void test_lexical(void **state)
{
    cpt_go *go = open_text(
        "format-version: 1.2\ndata-version: releases/2026-01-23 ! comment\n! a comment line\n\n"
        "[Typedef]\nid: part_of\nname: part of\nthis line is skipped\n\n"
        "[Term] ! trailing\r\nid: GO:2 {source=\"x\"} ! two\r\nname:   a \\\"b\\\" \\{c\\}\\, d ! no part\r\n"
        "namespace: biological_process {a=\"b\"}\r\n"
        "def: \"first\\nsecond \\\"quoted\\\" ! not a comment {x}\" [PMID:1] {y=\"z\"}\r\n"
        "is_a: GO:1 {is_inferred=\"true\"} ! one\r\n"
        "relationship: part_of GO:1 ! one\r\n"
        "relationship: regulates GO:3 ! three\r\n"
        "unknown_tag: anything\r\n\r\n"
        "[Term]\nid: GO:1\nname: o\\\nne {m=\"n\"}\nnamespace: biological_process\nalt_id: GO:10\n"
        "[Term]\nid: GO:3\nname: wow! three\nnamespace: biological_process\nrelationship: part_of GO:10\n",
        &with_part_of);
    assert_int_equal(go->n_terms, 3);
    assert_string_equal(go->data_version, "releases/2026-01-23");
    assert_string_equal(name_of(go, "GO:1"), "one");
    assert_string_equal(name_of(go, "GO:2"), "a \"b\" {c}, d");
    assert_string_equal(name_of(go, "GO:3"), "wow! three");
    assert_string_equal(cpt_strings_get(&go->definitions, term(go, "GO:2")),
                        "first second \"quoted\" ! not a comment {x}");
    assert_int_equal(n_parents(go, "GO:2"), 1); /* is_a and part_of to one parent: is_a */
    assert_true(has_parent(go, "GO:2", "GO:1", 0));
    assert_true(has_parent(go, "GO:3", "GO:1", 1)); /* by its alternative id */
    assert_int_equal(term(go, "GO:10"), term(go, "GO:1"));
    assert_int_equal(go->n_alt_ids, 1);
    check_order(go);
    cpt_go_free(go);
}

static void test_part_of_off(void **state)
{
    const char *text = TERM("GO:1", "") TERM("GO:2", "relationship: part_of GO:1\n");
    cpt_go *go = open_text(text, &is_a_only);
    assert_int_equal(n_parents(go, "GO:2"), 0);
    cpt_go_free(go);
    go = open_text(text, NULL); /* the default follows part_of */
    assert_int_equal(n_parents(go, "GO:2"), 1);
    cpt_go_free(go);
}

static void test_obsolete(void **state)
{
    cpt_go *go = open_text(
        TERM("GO:1", "")
        TERM("GO:2", "is_obsolete: true\nis_a: GO:99\nreplaced_by: GO:1\n")
        TERM("GO:3", "is_obsolete: true\nreplaced_by: GO:2 ! again\n")
        TERM("GO:4", "is_obsolete: true\nreplaced_by: GO:1\nreplaced_by: GO:7\n")
        TERM("GO:5", "is_obsolete: true\nconsider: GO:1\n")
        TERM("GO:6", "is_obsolete: true\nreplaced_by: GO:6\n")
        "[Term]\nid: GO:8\nis_obsolete: true\n\n"
        TERM("GO:7", "is_a: GO:1\nis_obsolete: false\n"),
        &with_part_of);
    assert_int_equal(go->n_terms, 2);
    assert_int_equal(go->n_obsolete, 6);
    assert_int_equal(term(go, "GO:2"), term(go, "GO:1"));
    assert_int_equal(term(go, "GO:3"), term(go, "GO:1"));
    assert_int_equal(term(go, "GO:4"), -1); /* two replacements: not ours to choose */
    assert_int_equal(term(go, "GO:5"), -1);
    assert_int_equal(term(go, "GO:6"), -1);
    assert_int_equal(term(go, "GO:8"), -1);
    cpt_go_free(go);
}

static void test_aspects_stay_apart(void **state)
{
    cpt_go *go = open_text(TERM("GO:1", "")
                           "[Term]\nid: GO:2\nname: f\nnamespace: molecular_function\n"
                           "relationship: part_of GO:1\n",
                           &with_part_of);
    assert_int_equal(go->n_cross_aspect, 1);
    assert_int_equal(n_parents(go, "GO:2"), 0);
    assert_int_equal(go->aspect[term(go, "GO:2")], CPT_GO_MF);
    cpt_go_free(go);
}

static void test_default_namespace(void **state)
{
    cpt_go *go = open_text("default-namespace: cellular_component\n[Term]\nid: GO:1\nname: n\n", NULL);
    assert_int_equal(go->aspect[0], CPT_GO_CC);
    assert_string_equal(go->data_version, "");
    cpt_go_free(go);
}

static void test_refusals(void **state)
{
    REFUSE(TERM("GO:1", "is_a: GO:9 ! missing\n"), "line 5", "GO:9", "GO:1", "not in the file");
    REFUSE(TERM("GO:1", "is_a: GO:2\n") TERM("GO:2", "is_obsolete: true\n"), "line 5", "obsolete");
    REFUSE(TERM("GO:1", "") TERM("GO:1", ""), "line 6", "first on line 1", "GO:1");
    REFUSE(TERM("GO:1", "is_a: GO:2\n") TERM("GO:2", "is_a: GO:3\n") TERM("GO:3", "is_a: GO:1\n")
           TERM("GO:4", "is_a: GO:3\n") TERM("GO:5", ""), "cycle of 3", "GO:1 -> GO:2 -> GO:3");
    REFUSE(TERM("GO:1", "is_a: GO:1\n"), "cycle of 1", "GO:1 -> GO:1");
    REFUSE("[Term]\nid: GO:1\nnamespace: biological_process\n", "GO:1", "line 1", "no name");
    REFUSE("[Term]\nid: GO:1\nname: x\n", "GO:1", "no namespace");
    REFUSE("[Term]\nname: x\n\n[Term]\nid: GO:1\n", "line 1 has no id");
    REFUSE("[Term]\nid: A\nname: x\nnamespace: disease\n", "line 4", "disease", "go-basic.obo");
    REFUSE("[Term]\nid: A\nid: B\n", "line 3", "second 'id'");
    REFUSE("[Term]\nid: A\nname: x\nis_a:\n", "line 4", "without an id");
    REFUSE("[Term\nid: A\n", "line 1", "']'");
    REFUSE("hello world\n", "line 1", "OBO");
    REFUSE("", "no [Term]");
    REFUSE("format-version: 1.2\n", "no [Term]");
    REFUSE(TERM("GO:1", "is_obsolete: true\n"), "every term is obsolete");
    REFUSE("[Term]\nid: GO:1\nname: \xff\xfe\n", "line 3", "UTF-8");
    cpt_err err;
    cpt_go *go;
    assert_int_equal(cpt_go_open("/nonexistent/x.obo", NULL, &go, &err), CPT_ERR_IO);
    assert_non_null(strstr(err.text, "/nonexistent/x.obo"));
    cpt_go_free(NULL);
}

static void test_long_cycle_is_cut(void **state)
{
    cpt_text t = {0};
    for (int i = 0; i < 50; i++)
        cpt_text_addf(&t, "[Term]\nid: GO:%02d\nname: n\nnamespace: biological_process\nis_a: GO:%02d\n",
                      i, (i + 1) % 50);
    REFUSE(cpt_text_str(&t), "cycle of 50", "...");
    cpt_text_free(&t);
}

/* Random graphs, edges from later to earlier terms under shuffled ids. */
static void test_random_graphs(void **state)
{
    for (uint64_t round = 0; round < 50; round++) {
        cpt_stream s;
        cpt_stream_init(&s, round, CPT_RANDOM_TEST, 1);
        int32_t n = 1 + (int32_t)cpt_stream_below(&s, 60), id[64];
        for (int32_t i = 0; i < n; i++) id[i] = i;
        cpt_stream_shuffle_i32(&s, id, n);
        cpt_text t = {0};
        for (int32_t i = 0; i < n; i++) {
            cpt_text_addf(&t, TERM("GO:%03d", ""), id[i], id[i]);
            t.length--; /* the blank line */
            for (int32_t k = 0; i && k < 3; k++)
                cpt_text_addf(&t, k == 1 ? "relationship: part_of GO:%03d\n" : "is_a: GO:%03d\n",
                              id[cpt_stream_below(&s, (uint64_t)i)]);
        }
        cpt_go *go = open_text(cpt_text_str(&t), &with_part_of);
        assert_int_equal(go->n_terms, n);
        check_order(go);
        cpt_go_free(go);
        cpt_text_free(&t);
    }
}

static void test_golden_graphs(void **state)
{
    static const char *const files[] = {"dag_chain_child_enriched.obo", "dag_immune_dag.obo",
                                        "dag_term_equals_parent.obo", "semantic.obo"};
    NEED_SHARED(folder, "golden/gsea");
    for (size_t i = 0; i < 4; i++) {
        cpt_err err;
        cpt_go *go;
        char path[1200];
        snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        assert_ok(cpt_go_open(path, &with_part_of, &go, &err));
        check_order(go);
        assert_int_equal(go->level[term(go, "GO:0008150")], 0);
        if (i == 0) assert_int_equal(go->level[term(go, "GO:0000278")], 3);
        if (i == 2) assert_int_equal(go->level[term(go, "GO:0036037")], 7);
        cpt_go_free(go);
    }
}

/* The shipped release: 48,600 stanzas, 9,861 of them obsolete. */
static void test_release(void **state)
{
    cpt_err err;
    cpt_go *go;
    assert_ok(cpt_go_open("data/go-basic.obo.gz", &with_part_of, &go, &err));
    assert_int_equal(go->n_terms, 38739);
    assert_int_equal(go->n_obsolete, 9861);
    assert_int_equal(go->n_alt_ids, 3297);
    assert_string_equal(go->data_version, "releases/2026-01-23");
    check_order(go);
    int32_t roots = 0;
    for (int32_t t = 0; t < go->n_terms; t++) roots += go->level[t] == 0;
    assert_int_equal(roots, 3);
    assert_int_equal(go->level[term(go, "GO:0008150")], 0);
    assert_int_equal(go->level[term(go, "GO:0003674")], 0);
    assert_int_equal(go->level[term(go, "GO:0005575")], 0);
    assert_string_equal(name_of(go, "GO:0042113"), "B cell activation");
    assert_true(has_parent(go, "GO:0042113", "GO:0046649", 0)); /* is a lymphocyte activation */
    assert_string_equal(cpt_strings_get(&go->ids, term(go, "GO:0036422")), "GO:0000010"); /* alt_id */
    assert_int_equal(term(go, "GO:0000005"), -1); /* obsolete, no replacement given */
    cpt_go_free(go);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lexical),          cmocka_unit_test(test_part_of_off),
        cmocka_unit_test(test_obsolete),         cmocka_unit_test(test_aspects_stay_apart),
        cmocka_unit_test(test_default_namespace), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_long_cycle_is_cut), cmocka_unit_test(test_random_graphs),
        cmocka_unit_test(test_golden_graphs),    cmocka_unit_test(test_release),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_gaf.c - annotations: rows, qualifiers, synonyms, evidence; the true-path rule against a plain
 * propagation; the real release on the genes of its own file. */
#include "check.h"

#include "base/file.h"
#include "base/random.h"
#include "ontology/genes.h"
#include "ontology/go.h"

#define TERM(id, space, rest) "[Term]\nid: " id "\nname: n\nnamespace: " space "\n" rest "\n"
#define BP "biological_process"
#define ROW(symbol, qualifier, term, evidence, aspect, synonyms)                                   \
    "DB\tid\t" symbol "\t" qualifier "\t" term "\tref\t" evidence "\t\t" aspect "\tname\t" synonyms  \
    "\tprotein\ttaxon:9606\t20260101\tX\t\t\n"

static const char small_graph[] =
    TERM("GO:1", BP, "alt_id: GO:11\n") TERM("GO:2", BP, "is_a: GO:1\n")
    TERM("GO:3", BP, "relationship: part_of GO:2\n") TERM("GO:4", BP, "is_a: GO:1\n")
    TERM("GO:5", BP, "is_a: GO:3\nis_a: GO:4\n") TERM("GO:6", "molecular_function", "")
    TERM("GO:7", BP, "is_obsolete: true\nreplaced_by: GO:4\n");

static const char *write_text(const char *text)
{
    static char path[4][64];
    static int turn;
    char *p = path[turn++ & 3];
    cpt_err err;
    snprintf(p, sizeof path[0], "/tmp/cpt_test_gaf_%ld_%d", (long)getpid(), turn & 3);
    assert_ok(cpt_write_file(p, text, strlen(text), &err));
    return p;
}

static cpt_go *graph(const char *text)
{
    cpt_err err;
    cpt_go *go;
    const char *path = write_text(text);
    assert_ok(cpt_go_open(path, NULL, &go, &err));
    unlink(path);
    return go;
}

static cpt_strings universe_of(const char *const *symbols)
{
    cpt_err err;
    cpt_strings s = {0};
    for (; *symbols; symbols++) assert_ok(cpt_strings_add(&s, *symbols, strlen(*symbols), &err));
    return s;
}
#define UNIVERSE(...) universe_of((const char *const[]){__VA_ARGS__, NULL})

static cpt_annotation *annotate(const cpt_go *go, const char *gaf, cpt_strings *symbols,
                                const char *excluded)
{
    cpt_err err;
    cpt_annotation *a;
    const char *path = write_text(gaf);
    const cpt_annotation_options o = {.exclude_evidence = excluded};
    assert_ok(cpt_annotation_open(path, go, symbols, &o, &a, &err));
    unlink(path);
    return a;
}

/* The genes of a term as text: "0 3 4". */
static const char *genes_of(const cpt_go *go, const cpt_annotation *a, const char *id)
{
    static char text[4][256];
    static int turn;
    char *p = text[turn++ & 3];
    int64_t t = cpt_index_get(go->by_id, id);
    size_t n = 0;
    *p = '\0';
    for (int64_t i = a->first[t]; i < a->first[t + 1]; i++)
        n += (size_t)snprintf(p + n, 256 - n, i == a->first[t] ? "%d" : " %d", a->genes[i]);
    return p;
}

static void test_true_path(void **state)
{
    cpt_go *go = graph(small_graph);
    cpt_strings u = UNIVERSE("A", "B", "C", "D", "X");
    cpt_annotation *a = annotate(go,
        "!gaf-version: 2.2\n!date-generated: 2026-03-18\n"
        ROW("A", "involved_in", "GO:5", "IDA", "P", "")
        ROW("B", "involved_in", "GO:3", "IEA", "P", "")
        ROW("B", "involved_in", "GO:3", "IDA", "P", "")
        ROW("C", "involved_in", "GO:11", "IDA", "P", "") /* alternative id */
        ROW("D", "involved_in", "GO:7", "IDA", "P", "")  /* obsolete, replaced */
        ROW("D", "enables", "GO:6", "IEA", "F", "")
        ROW("D", "enables", "GO:6", "IEA", "P", "")      /* wrong aspect */
        ROW("A", "enables", "GO:99", "IEA", "F", "")     /* unknown term */
        ROW("Z", "enables", "GO:6", "IEA", "F", ""), &u, NULL);
    assert_string_equal(genes_of(go, a, "GO:5"), "0");
    assert_string_equal(genes_of(go, a, "GO:3"), "0 1");
    assert_string_equal(genes_of(go, a, "GO:2"), "0 1");
    assert_string_equal(genes_of(go, a, "GO:4"), "0 3");
    assert_string_equal(genes_of(go, a, "GO:1"), "0 1 2 3");
    assert_string_equal(genes_of(go, a, "GO:6"), "3");
    assert_int_equal(a->n_rows, 9);
    assert_int_equal(a->n_unknown_term, 1);
    assert_int_equal(a->n_unknown_gene, 1);
    assert_int_equal(a->n_wrong_aspect, 1);
    assert_int_equal(a->n_iea, 5);
    assert_int_equal(a->n_annotated_genes, 4);
    assert_string_equal(cpt_text_str(&a->header), "!gaf-version: 2.2\n!date-generated: 2026-03-18\n");
    cpt_annotation_free(a);
    cpt_strings_free(&u);
    cpt_go_free(go);
}

static void test_not_rows(void **state)
{
    cpt_go *go = graph(small_graph);
    cpt_strings u = UNIVERSE("A", "B", "C", "D");
    cpt_annotation *a = annotate(go,
        ROW("A", "NOT|involved_in", "GO:5", "IDA", "P", "")
        ROW("B", "NOT", "GO:5", "IDA", "P", "")
        ROW("C", "contributes_to|NOT", "GO:5", "IDA", "P", "")
        ROW("A", "involved_in", "GO:4", "IDA", "P", "")
        ROW("D", "NOTHING|KNOT", "GO:5", "IDA", "P", ""), &u, NULL);
    assert_int_equal(a->n_not, 3);
    assert_string_equal(genes_of(go, a, "GO:5"), "3");
    assert_string_equal(genes_of(go, a, "GO:4"), "0 3");
    cpt_annotation_free(a);
    cpt_strings_free(&u);
    cpt_go_free(go);
}

static void test_evidence(void **state)
{
    cpt_go *go = graph(small_graph);
    cpt_strings u = UNIVERSE("A", "B", "C");
    const char *gaf = ROW("A", "", "GO:5", "IEA", "P", "") ROW("B", "", "GO:5", "ND", "P", "")
                      ROW("C", "", "GO:5", "IDA", "P", "");
    cpt_annotation *a = annotate(go, gaf, &u, "IEA,ND");
    assert_string_equal(genes_of(go, a, "GO:5"), "2");
    assert_int_equal(a->n_excluded, 2);
    assert_int_equal(a->n_iea, 0);
    cpt_annotation_free(a);
    a = annotate(go, gaf, &u, "");
    assert_string_equal(genes_of(go, a, "GO:5"), "0 1 2");
    cpt_annotation_free(a);

    cpt_err err;
    const char *path = write_text(gaf);
    const cpt_annotation_options o = {.exclude_evidence = "IEA,IEAA"};
    assert_int_equal(cpt_annotation_open(path, go, &u, &o, &a, &err), CPT_ERR_USAGE);
    assert_non_null(strstr(err.text, "did you mean IEA?"));
    assert_null(a);
    unlink(path);
    cpt_strings_free(&u);
    cpt_go_free(go);
}

static void test_matching(void **state)
{
    cpt_go *go = graph(small_graph);
    /* several columns of one symbol; OLD is a synonym of NEW; BOTH of two genes; OWN is a gene itself */
    cpt_strings u = UNIVERSE("A", "OLD", "A", "BOTH", "OWN", "P1", "P2", "A");
    cpt_annotation *a = annotate(go,
        ROW("A", "", "GO:5", "IDA", "P", "OLD2")
        ROW("NEW", "", "GO:5", "IDA", "P", "x|OLD|y")
        ROW("G1", "", "GO:5", "IDA", "P", "BOTH")
        ROW("G2", "", "GO:5", "IDA", "P", "BOTH")
        ROW("OWN", "", "GO:4", "IDA", "P", "")
        ROW("G3", "", "GO:5", "IDA", "P", "OWN")
        ROW("G4", "", "GO:5", "IDA", "P", "P1|P2")
        ROW("NEW", "", "GO:6", "IDA", "F", "x|OLD|y"), /* the same gene, later again */
        &u, NULL);
    assert_string_equal(genes_of(go, a, "GO:5"), "0 1 2 7");
    assert_string_equal(genes_of(go, a, "GO:4"), "0 1 2 4 7");
    assert_string_equal(genes_of(go, a, "GO:6"), "1");
    assert_int_equal(a->n_unknown_gene, 4);
    assert_int_equal(a->n_annotated_genes, 5);
    cpt_annotation_free(a);

    cpt_strings none = {0};
    a = annotate(go, ROW("A", "", "GO:5", "IDA", "P", ""), &none, NULL);
    assert_int_equal(a->first[a->n_terms], 0);
    cpt_annotation_free(a);
    cpt_strings_free(&u);
    cpt_go_free(go);
}

static void test_refusals(void **state)
{
    static const char *const cases[][3] = {
        {"!x\nDB\tid\tA\n", "line 2", "3 columns"},
        {ROW("", "", "GO:5", "IDA", "P", ""), "line 1", "symbol"},
        {ROW("A", "", "", "IDA", "P", ""), "line 1", "GO id"},
        {ROW("A", "", "GO:5", "IDA", "PP", ""), "line 1", "'PP'"},
        {ROW("A", "", "GO:5", "IDA", "", ""), "line 1", "aspect"},
        {"!gaf-version: 2.2\n", "no annotation", ""},
        {"", "no annotation", ""}};
    cpt_go *go = graph(small_graph);
    cpt_strings u = UNIVERSE("A");
    cpt_err err;
    cpt_annotation *a;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *path = write_text(cases[i][0]);
        assert_int_equal(cpt_annotation_open(path, go, &u, NULL, &a, &err), CPT_ERR_FORMAT);
        assert_null(a);
        assert_non_null(strstr(err.text, path));
        assert_non_null(strstr(err.text, cases[i][1]));
        assert_non_null(strstr(err.text, cases[i][2]));
        unlink(path);
    }
    assert_int_equal(cpt_annotation_open("/nonexistent.gaf", go, &u, NULL, &a, &err), CPT_ERR_IO);
    cpt_annotation_free(NULL);
    cpt_strings_free(&u);
    cpt_go_free(go);
}

/* Random graphs and annotations against a walk over all ancestors, gene by gene. */
enum { MAX_TERMS = 40, MAX_GENES = 9000 };

static void mark_ancestors(const cpt_go *go, int32_t t, bool *has)
{
    if (has[t]) return;
    has[t] = true;
    for (int32_t i = go->parent_first[t]; i < go->parent_first[t + 1]; i++)
        mark_ancestors(go, go->parents[i], has);
}

static void one_random_case(uint64_t round, int32_t n_genes)
{
    cpt_stream s;
    cpt_stream_init(&s, round, CPT_RANDOM_TEST, 2);
    int32_t n = 1 + (int32_t)cpt_stream_below(&s, MAX_TERMS);
    cpt_text obo = {0}, gaf = {0};
    cpt_strings u = {0};
    cpt_err err;
    bool(*want)[MAX_TERMS] = calloc((size_t)n_genes, sizeof *want);
    assert_non_null(want);
    for (int32_t t = 0; t < n; t++) {
        cpt_text_addf(&obo, "[Term]\nid: T%02d\nname: n\nnamespace: " BP "\n", t);
        for (int k = 0; t && k < 2; k++)
            cpt_text_addf(&obo, "is_a: T%02d\n", (int)cpt_stream_below(&s, (uint64_t)t));
    }
    cpt_go *go = graph(cpt_text_str(&obo));
    for (int32_t g = 0; g < n_genes; g++) {
        char symbol[16];
        snprintf(symbol, sizeof symbol, "g%d", g);
        assert_ok(cpt_strings_add(&u, symbol, strlen(symbol), &err));
        for (uint64_t k = cpt_stream_below(&s, 4); k > 0; k--) {
            int32_t t = (int32_t)cpt_stream_below(&s, (uint64_t)n);
            cpt_text_addf(&gaf, ROW("%s", "", "T%02d", "IDA", "P", ""), symbol, t);
            mark_ancestors(go, t, want[g]);
        }
    }
    cpt_text_add(&gaf, ROW("nobody", "", "T00", "IDA", "P", ""));
    cpt_annotation *a = annotate(go, cpt_text_str(&gaf), &u, NULL);
    for (int32_t t = 0; t < n; t++) {
        int64_t i = a->first[t];
        for (int32_t g = 0; g < n_genes; g++) {
            bool has = i < a->first[t + 1] && a->genes[i] == g;
            assert_int_equal(has, want[g][t]);
            i += has;
        }
        assert_int_equal(i, a->first[t + 1]);
    }
    cpt_annotation_free(a);
    cpt_go_free(go);
    cpt_text_free(&obo);
    cpt_text_free(&gaf);
    cpt_strings_free(&u);
    free(want);
}

static void test_random_against_naive(void **state)
{
    for (uint64_t round = 0; round < 30; round++) one_random_case(round, 1 + (int32_t)round * 7);
    one_random_case(100, MAX_GENES); /* several blocks, the last one partial */
    one_random_case(101, 4096);
    one_random_case(102, 4097);
}

/* ---- the real files ---- */

static bool has_gene(const cpt_go *go, const cpt_annotation *a, const cpt_strings *u, const char *id,
                     const char *symbol)
{
    int64_t t = cpt_index_get(go->by_id, id);
    for (int64_t i = a->first[t]; i < a->first[t + 1]; i++)
        if (strcmp(cpt_strings_get(u, a->genes[i]), symbol) == 0) return true;
    return false;
}

/* All symbols of the shipped gene table. */
static cpt_strings all_symbols(void)
{
    cpt_err err;
    cpt_strings u = {0};
    cpt_lines *in = cpt_lines_open("data/human_genes.tsv.gz", 1 << 20, &err);
    assert_non_null(in);
    char *line;
    assert_ok(cpt_lines_next(in, &line, NULL, &err));
    for (;;) {
        assert_ok(cpt_lines_next(in, &line, NULL, &err));
        if (!line) break;
        assert_ok(cpt_strings_add(&u, line, strcspn(line, "\t"), &err));
    }
    cpt_lines_close(in);
    return u;
}

static void test_release(void **state)
{
    cpt_err err;
    cpt_go *go;
    cpt_annotation *a, *b;
    cpt_strings u = all_symbols();
    assert_ok(cpt_go_open("data/go-basic.obo.gz", NULL, &go, &err));
    assert_ok(cpt_annotation_open("data/goa_human.gaf.gz", go, &u, NULL, &a, &err));
    assert_int_equal(a->n_rows, 460801);
    assert_int_equal(a->n_iea, 173318);
    assert_int_equal(a->n_not, 0);
    assert_int_equal(a->n_wrong_aspect, 0);
    assert_int_equal(a->n_unknown_term, 0);
    static const char *const b_cell[] = {"MS4A1", "CD79A", "CD19", "CD40", "BLNK"};
    for (size_t i = 0; i < sizeof b_cell / sizeof *b_cell; i++)
        assert_true(has_gene(go, a, &u, "GO:0042113", b_cell[i]));
    assert_false(has_gene(go, a, &u, "GO:0042113", "GAPDH"));
    assert_true(has_gene(go, a, &u, "GO:0042110", "CD3E"));  /* T cell activation */
    assert_true(has_gene(go, a, &u, "GO:0005840", "RPL3"));  /* ribosome */
    for (int32_t t = 0; t < go->n_terms; t++)                /* ancestors have supersets */
        for (int32_t i = go->parent_first[t]; i < go->parent_first[t + 1]; i++) {
            int64_t at = a->first[go->parents[i]];
            for (int64_t g = a->first[t]; g < a->first[t + 1]; g++) {
                while (at < a->first[go->parents[i] + 1] && a->genes[at] < a->genes[g]) at++;
                assert_true(at < a->first[go->parents[i] + 1] && a->genes[at] == a->genes[g]);
            }
        }
    const cpt_annotation_options o = {.exclude_evidence = "IEA"};
    assert_ok(cpt_annotation_open("data/goa_human.gaf.gz", go, &u, &o, &b, &err));
    assert_int_equal(b->n_excluded, 173318);
    assert_true(b->first[b->n_terms] < a->first[a->n_terms]);
    cpt_annotation_free(a);
    cpt_annotation_free(b);
    cpt_go_free(go);
    cpt_strings_free(&u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_true_path),  cmocka_unit_test(test_not_rows),
        cmocka_unit_test(test_evidence),   cmocka_unit_test(test_matching),
        cmocka_unit_test(test_refusals),   cmocka_unit_test(test_random_against_naive),
        cmocka_unit_test(test_release),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

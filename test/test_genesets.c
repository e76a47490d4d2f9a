/* test_genesets.c - families of sets from the ontology and from GMT files. */
#include "check.h"

#include "base/file.h"
#include "ontology/genes.h"
#include "ontology/genesets.h"

static const char *write_text(const char *text)
{
    static char path[4][64];
    static int turn;
    char *p = path[turn++ & 3];
    cpt_err err;
    snprintf(p, sizeof path[0], "/tmp/cpt_test_sets_%ld_%d", (long)getpid(), turn & 3);
    assert_ok(cpt_write_file(p, text, strlen(text), &err));
    return p;
}

static cpt_strings universe_of(const char *const *symbols)
{
    cpt_err err;
    cpt_strings s = {0};
    for (; *symbols; symbols++) assert_ok(cpt_strings_add(&s, *symbols, strlen(*symbols), &err));
    return s;
}
#define UNIVERSE(...) universe_of((const char *const[]){__VA_ARGS__, NULL})

/* "0 3 4" */
static const char *genes_of(const cpt_genesets *s, int32_t set)
{
    static char text[512];
    size_t n = 0;
    text[0] = '\0';
    for (int64_t i = s->first[set]; i < s->first[set + 1]; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, n ? " %d" : "%d", s->genes[i]);
    return text;
}

static cpt_genesets *gmt(const char *text, const cpt_strings *u, const cpt_gene_table *table,
                         int32_t min, int32_t max)
{
    cpt_err err;
    cpt_genesets *s;
    const char *path = write_text(text);
    assert_ok(cpt_genesets_from_gmt(path, u, table, min, max, &s, &err));
    unlink(path);
    return s;
}

static void test_gmt(void **state)
{
    cpt_strings u = UNIVERSE("A", "B", "C", "B", "D");
    cpt_genesets *s = gmt("zeta\tsome words\tA\tB\tA\tQ\r\n"
                          "\r\n"
                          "alpha\thttps://x.org/alpha\tC\t D \tA\t\t\t\r\n"
                          "beta\tx\tA\tC\tD\n"
                          "empty\tno genes\n"
                          "gamma\t\tQ\tR",
                          &u, NULL, 1, 10);
    assert_int_equal(s->n_sets, 3);
    assert_int_equal(s->n_universe, 5);
    assert_string_equal(cpt_strings_get(&s->ids, 0), "alpha");
    assert_string_equal(cpt_strings_get(&s->names, 0), "alpha"); /* an address is no name */
    assert_string_equal(genes_of(s, 0), "0 2 4");
    assert_int_equal(s->full_size[0], 3);
    assert_string_equal(cpt_strings_get(&s->names, 1), "beta"); /* nor is one word */
    assert_string_equal(genes_of(s, 1), "0 2 4");
    assert_string_equal(cpt_strings_get(&s->ids, 2), "zeta");
    assert_string_equal(cpt_strings_get(&s->names, 2), "some words");
    assert_string_equal(genes_of(s, 2), "0 1 3"); /* both columns named B */
    assert_int_equal(s->full_size[2], 3);
    assert_int_equal(s->n_duplicate, 1);
    assert_int_equal(s->n_too_small, 2);
    assert_int_equal(s->term[0], -1);
    assert_true(isnan(s->ic[0]));
    cpt_genesets_free(s);
    s = gmt("a\t\tA\tB\nb\t\tA\tC\nc\t\tA\n", &u, NULL, 2, 2); /* sizes 3, 2, 1 */
    assert_int_equal(s->n_sets, 1);
    assert_int_equal(s->n_too_small, 1);
    assert_int_equal(s->n_too_large, 1);
    cpt_genesets_free(s);
    s = gmt("a\t\tA\n", &u, NULL, 10, 20); /* an empty family is a family */
    assert_int_equal(s->n_sets, 0);
    assert_int_equal(s->first[0], 0);
    cpt_genesets_free(s);
    s = gmt("a\t\tQ\nb\t\tR\n", &u, NULL, 1, 20); /* no gene of any set is known */
    assert_int_equal(s->n_too_small, 2);
    cpt_genesets_free(s);
    cpt_strings_free(&u);
}

static void test_gmt_aliases(void **state)
{
    cpt_err err;
    cpt_gene_table *table;
    const char *path = write_text("symbol\tensembl_ids\taliases\nCENPU\tENSG1\tMLF1IP\nTP53\tENSG2\tp53\n");
    assert_ok(cpt_gene_table_open(path, &table, &err));
    unlink(path);
    cpt_strings u = UNIVERSE("TP53", "CENPU");
    cpt_genesets *s = gmt("s\t\tMLF1IP\tCENPU\tENSG2\tNOTHING\n", &u, table, 1, 5);
    assert_string_equal(genes_of(s, 0), "0 1"); /* two names of one gene count once */
    assert_int_equal(s->full_size[0], 4);
    cpt_genesets_free(s);
    s = gmt("s\t\tMLF1IP\tCENPU\tENSG2\tNOTHING\n", &u, NULL, 1, 5);
    assert_string_equal(genes_of(s, 0), "1");
    cpt_genesets_free(s);
    cpt_strings_free(&u);
    cpt_gene_table_free(table);
}

static void test_gmt_refusals(void **state)
{
    static const char *const cases[][3] = {
        {"a\tb\tC\nno tabs here\n", "line 2", "no TAB"},
        {"\tb\tC\n", "line 1", "no set name"},
        {"x\t\tA\ny\t\tA\nx\t\tB\n", "line 3", "already on line 1"},
        {"\xff\t\tA\n", "line 1", "UTF-8"},
        {"", "no gene set", ""},
        {"\n\n", "no gene set", ""}};
    cpt_strings u = UNIVERSE("A");
    cpt_err err;
    cpt_genesets *s;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *path = write_text(cases[i][0]);
        assert_int_equal(cpt_genesets_from_gmt(path, &u, NULL, 1, 5, &s, &err), CPT_ERR_FORMAT);
        assert_null(s);
        assert_non_null(strstr(err.text, path));
        assert_non_null(strstr(err.text, cases[i][1]));
        assert_non_null(strstr(err.text, cases[i][2]));
        unlink(path);
    }
    assert_int_equal(cpt_genesets_from_gmt("/nonexistent.gmt", &u, NULL, 1, 5, &s, &err), CPT_ERR_IO);
    assert_int_equal(cpt_genesets_from_gmt("/nonexistent.gmt", &u, NULL, 0, 5, &s, &err), CPT_ERR_USAGE);
    assert_int_equal(cpt_genesets_from_gmt("/nonexistent.gmt", &u, NULL, 6, 5, &s, &err), CPT_ERR_USAGE);
    assert_non_null(strstr(err.text, "from 6 to 5"));
    cpt_genesets_free(NULL);
    cpt_strings_free(&u);
}

static void test_collection_name(void **state)
{
    cpt_err err;
    cpt_genesets *s;
    cpt_strings u = UNIVERSE("A");
    char path[64];
    snprintf(path, sizeof path, "/tmp/cpt_%ld.v7.GMT", (long)getpid());
    assert_ok(cpt_write_file(path, "s\t\tA\n", 5, &err));
    assert_ok(cpt_genesets_from_gmt(path, &u, NULL, 1, 5, &s, &err));
    char want[64];
    snprintf(want, sizeof want, "cpt_%ld.v7", (long)getpid());
    assert_string_equal(s->collection, want);
    unlink(path);
    cpt_genesets_free(s);
    cpt_strings_free(&u);
}

/* ---- from the ontology ---- */

#define TERM(id, space, rest) "[Term]\nid: " id "\nname: name " id "\nnamespace: " space "\n" rest "\n"
#define ROW(gene, term) "DB\tid\t" gene "\t\t" term "\tref\tIDA\t\tP\t\t\t\t\t\t\t\t\n"

static void test_from_go(void **state)
{
    cpt_err err;
    cpt_go *go;
    cpt_annotation *a;
    cpt_genesets *s;
    const char *obo = write_text(TERM("GO:1", "biological_process", "")
                                 TERM("GO:2", "biological_process", "is_a: GO:1\n")
                                 TERM("GO:3", "biological_process", "is_a: GO:2\n")
                                 TERM("GO:4", "biological_process", "is_a: GO:1\n")
                                 TERM("GO:5", "molecular_function", ""));
    const char *gaf = write_text(ROW("A", "GO:3") ROW("B", "GO:3") ROW("C", "GO:4") ROW("D", "GO:1")
                                 ROW("Q", "GO:4") ROW("R", "GO:1"));
    cpt_strings u = UNIVERSE("A", "B", "C", "D", "E");
    assert_ok(cpt_go_open(obo, NULL, &go, &err));
    assert_ok(cpt_annotation_open(gaf, go, &u, NULL, &a, &err));
    assert_ok(cpt_genesets_from_go(go, a, CPT_GO_BP, 1, 3, &s, &err));
    assert_string_equal(s->collection, "GO_BP");
    assert_int_equal(s->n_universe, 5); /* E counts, annotated or not */
    assert_int_equal(s->n_sets, 3);
    assert_int_equal(s->n_too_large, 1); /* the root */
    assert_int_equal(s->n_duplicate, 1); /* GO:2 and GO:3 have the same genes */
    assert_string_equal(cpt_strings_get(&s->ids, 0), "GO:2");
    assert_string_equal(cpt_strings_get(&s->names, 1), "name GO:3");
    assert_string_equal(genes_of(s, 0), "0 1");
    assert_string_equal(genes_of(s, 2), "2"); /* Q is not in the universe */
    assert_near(s->ic[0], log(4.0 / 2), 1e-15);
    assert_near(s->ic[2], log(4.0 / 1), 1e-15);
    assert_int_equal(s->term[0], cpt_index_get(go->by_id, "GO:2"));
    assert_int_equal(s->full_size[0], 2);
    cpt_genesets_free(s);
    assert_ok(cpt_genesets_from_go(go, a, CPT_GO_BP, 1, 4, &s, &err));
    assert_near(s->ic[0], 0, 0); /* the root tells nothing */
    cpt_genesets_free(s);
    assert_ok(cpt_genesets_from_go(go, a, CPT_GO_MF, 1, 4, &s, &err));
    assert_int_equal(s->n_sets, 0);
    assert_int_equal(s->n_too_small, 1);
    cpt_genesets_free(s);
    unlink(obo);
    unlink(gaf);
    cpt_annotation_free(a);
    cpt_go_free(go);
    cpt_strings_free(&u);
}

/* Shipped files, universe = the symbols of the shipped gene table. */
static cpt_strings all_symbols(void)
{
    cpt_err err;
    cpt_strings u = {0};
    cpt_lines *in = cpt_lines_open("data/human_genes.tsv.gz", 1 << 20, &err);
    assert_non_null(in);
    for (char *line;;) {
        assert_ok(cpt_lines_next(in, &line, NULL, &err));
        if (!line) break;
        if (cpt_lines_number(in) > 1) assert_ok(cpt_strings_add(&u, line, strcspn(line, "\t"), &err));
    }
    cpt_lines_close(in);
    return u;
}

static void test_release(void **state)
{
    static const char *const collections[] = {"GO_BP", "GO_MF", "GO_CC"};
    static const char *const roots[] = {"GO:0008150", "GO:0003674", "GO:0005575"};
    cpt_err err;
    cpt_go *go;
    cpt_annotation *a;
    cpt_genesets *s;
    cpt_strings u = all_symbols();
    assert_ok(cpt_go_open("data/go-basic.obo.gz", NULL, &go, &err));
    assert_ok(cpt_annotation_open("data/goa_human.gaf.gz", go, &u, NULL, &a, &err));
    for (int aspect = 0; aspect < 3; aspect++) {
        int32_t n_terms = 0, root = (int32_t)cpt_index_get(go->by_id, roots[aspect]);
        double n_root = (double)(a->first[root + 1] - a->first[root]);
        assert_ok(cpt_genesets_from_go(go, a, (cpt_go_aspect)aspect, 10, 500, &s, &err));
        assert_string_equal(s->collection, collections[aspect]);
        for (int32_t t = 0; t < go->n_terms; t++) n_terms += go->aspect[t] == aspect;
        assert_int_equal(s->n_sets + s->n_too_small + s->n_too_large, n_terms);
        for (int32_t i = 0; i < s->n_sets; i++) {
            int64_t size = s->first[i + 1] - s->first[i];
            assert_true(size >= 10 && size <= 500);
            assert_true(s->term[i] != root);
            assert_near(s->ic[i], -log((double)size / n_root), 1e-12);
            if (i) assert_true(strcmp(cpt_strings_get(&s->ids, i - 1), cpt_strings_get(&s->ids, i)) < 0);
        }
        printf("%s: %d sets, %d too small, %d too large, %d duplicate, root %.0f\n", s->collection,
               s->n_sets, s->n_too_small, s->n_too_large, s->n_duplicate, n_root);
        cpt_genesets_free(s);
    }
    cpt_annotation_free(a);
    cpt_go_free(go);
    cpt_strings_free(&u);
}

static void test_msigdb(void **state)
{
    static const struct { const char *file; int32_t n; } files[] = {
        {"hallmark.gmt", 50}, {"reactome.gmt.gz", 1787}, {"immunesigdb.gmt.gz", 4872}};
    NEED_SHARED(folder, "data");
    cpt_err err;
    cpt_gene_table *table;
    cpt_strings u = all_symbols();
    assert_ok(cpt_gene_table_open("data/human_genes.tsv.gz", &table, &err));
    for (size_t i = 0; i < 3; i++) {
        char path[1200];
        cpt_genesets *s;
        snprintf(path, sizeof path, "%s/%s", folder, files[i].file);
        assert_ok(cpt_genesets_from_gmt(path, &u, table, 1, 100000, &s, &err));
        assert_int_equal(s->n_sets, files[i].n);
        double found = 0, full = 0;
        for (int32_t k = 0; k < s->n_sets; k++) {
            found += (double)(s->first[k + 1] - s->first[k]);
            full += s->full_size[k];
        }
        printf("%s: %.2f %% of the genes found, %d identical lists\n", files[i].file,
               100 * found / full, s->n_duplicate);
        assert_true(found > 0.97 * full && found <= full);
        cpt_genesets_free(s);
    }
    cpt_gene_table_free(table);
    cpt_strings_free(&u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gmt),             cmocka_unit_test(test_gmt_aliases),
        cmocka_unit_test(test_gmt_refusals),    cmocka_unit_test(test_collection_name),
        cmocka_unit_test(test_from_go),         cmocka_unit_test(test_release),
        cmocka_unit_test(test_msigdb),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

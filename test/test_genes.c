/* test_genes.c - gene names: the table, all genes of an input, aligning two gene lists. */
#include "check.h"

#include "base/file.h"
#include "ontology/genes.h"

static const char *write_text(const char *text)
{
    static char path[4][64];
    static int turn;
    char *p = path[turn++ & 3];
    cpt_err err;
    snprintf(p, sizeof path[0], "/tmp/cpt_test_genes_%ld_%d", (long)getpid(), turn & 3);
    assert_ok(cpt_write_file(p, text, strlen(text), &err));
    return p;
}

static cpt_gene_table *table_of(const char *text)
{
    cpt_err err;
    cpt_gene_table *t;
    const char *path = write_text(text);
    assert_ok(cpt_gene_table_open(path, &t, &err));
    unlink(path);
    return t;
}

static cpt_strings list_of(const char *const *names)
{
    cpt_err err;
    cpt_strings s = {0};
    for (; *names; names++) assert_ok(cpt_strings_add(&s, *names, strlen(*names), &err));
    return s;
}
#define LIST(...) list_of((const char *const[]){__VA_ARGS__, NULL})

static const char small_table[] =
    "symbol\tensembl_ids\tentrez_id\tgene_type\taliases\tname\n"
    "CENPU\tENSG00000151725\t1\tprotein-coding\tMLF1IP|KLIP1\tx\n"
    "PIMREG\tENSG00000129195\t2\tprotein-coding\tFAM64A|SHARED\tx\n"
    "TP53\tENSG00000141510\t3\tprotein-coding\tp53|SHARED\tx\n"
    "ABC1\tENSG1|ENSG2\t4\tprotein-coding\tTP53|XYZ\tx\n"
    "MCL1\tENSG3\t5\tprotein-coding\t\tx\n"
    "MCL1-AS1\tENSG3\t6\tncRNA\t\tx\n"
    "EFNA4-EFNA3\tENSG4\t7\tprotein-coding\t\tx\n"
    "EFNA3\tENSG4\t8\tprotein-coding\tXYZ\tx\n"
    "PRH1\tENSG5\t9\tprotein-coding\tREPEAT|REPEAT\tx\n"
    "PRR4\tENSG5\t10\tprotein-coding\t\n"
    "NOID\n";

static void expect(const cpt_gene_table *t, const char *name, const char *symbol, cpt_gene_match how)
{
    cpt_gene_match got;
    const char *s = cpt_gene_table_symbol(t, name, &got);
    const char *got_text = s ? s : "(unknown)", *want_text = symbol ? symbol : "(unknown)";
    if (strcmp(got_text, want_text) != 0 || got != how) {
        print_error("%s -> %s (%d), want %s (%d)\n", name, got_text, got, want_text, how);
        fail();
    }
}

static void test_lookup(void **state)
{
    cpt_gene_table *t = table_of(small_table);
    expect(t, "TP53", "TP53", CPT_GENE_SYMBOL); /* though ABC1 has it as an alias */
    expect(t, "MLF1IP", "CENPU", CPT_GENE_ALIAS);
    expect(t, "REPEAT", "PRH1", CPT_GENE_ALIAS);
    expect(t, "SHARED", NULL, CPT_GENE_UNKNOWN);
    expect(t, "XYZ", NULL, CPT_GENE_UNKNOWN);
    expect(t, "ENSG00000141510", "TP53", CPT_GENE_ENSEMBL);
    expect(t, "ENSG00000141510.17", "TP53", CPT_GENE_ENSEMBL);
    expect(t, "ENSG00000141510.17_PAR_Y", "TP53", CPT_GENE_ENSEMBL);
    expect(t, "ENSG2", "ABC1", CPT_GENE_ENSEMBL);
    expect(t, "ENSG3", "MCL1", CPT_GENE_ENSEMBL);  /* the coding one */
    expect(t, "ENSG4", "EFNA3", CPT_GENE_ENSEMBL); /* not the read-through */
    expect(t, "ENSG5", NULL, CPT_GENE_UNKNOWN);
    expect(t, "NOID", "NOID", CPT_GENE_SYMBOL);
    expect(t, "1-Mar", NULL, CPT_GENE_UNKNOWN);
    expect(t, "tp53", NULL, CPT_GENE_UNKNOWN);
    expect(t, "", NULL, CPT_GENE_UNKNOWN);
    expect(t, "ENSG", NULL, CPT_GENE_UNKNOWN);
    assert_string_equal(cpt_gene_table_symbol(t, "FAM64A", NULL), "PIMREG");
    cpt_gene_table_free(t);
    t = table_of("name\tsymbol\r\nx\tONLY\r\n"); /* just symbols, anywhere */
    expect(t, "ONLY", "ONLY", CPT_GENE_SYMBOL);
    cpt_gene_table_free(t);
}

static void test_refusals(void **state)
{
    static const char *const cases[][3] = {{"", "empty", ""},
                                           {"gene\tid\nA\tB\n", "line 1", "'symbol'"},
                                           {"symbol\tx\nA\t\n\ty\n", "line 3", "no symbol"},
                                           {"symbol\nA\nB\nA\n", "symbol A", "twice"},
                                           {"symbol\n", "names no gene", ""}};
    cpt_err err;
    cpt_gene_table *t;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *path = write_text(cases[i][0]);
        assert_int_equal(cpt_gene_table_open(path, &t, &err), CPT_ERR_FORMAT);
        assert_null(t);
        assert_non_null(strstr(err.text, path));
        assert_non_null(strstr(err.text, cases[i][1]));
        assert_non_null(strstr(err.text, cases[i][2]));
        unlink(path);
    }
    assert_int_equal(cpt_gene_table_open("/nonexistent.tsv", &t, &err), CPT_ERR_IO);
    cpt_gene_table_free(NULL);
}

static void test_map(void **state)
{
    cpt_err err;
    cpt_gene_map m;
    cpt_gene_table *t = table_of(small_table);
    cpt_strings ids = LIST("ENSG00000151725", "ENSG00000141510", "ENSG3", "ENSG99", "ENSG00000141510.2", "ENSG1");
    cpt_column columns[] = {{.name = "n", .kind = CPT_COLUMN_NUMBER},
                            {.name = "feature_name", .kind = CPT_COLUMN_CATEGORY,
                             .codes = (const int32_t[]){0, 1, 2, 3, -1, 4},
                             .categories = LIST("MLF1IP", "TP53", "RP11-1.1", "FAM64A", "MCL1")}};
    cpt_table var = {.n_rows = 6, .n_columns = 2, .columns = columns};
    static const char *const want[] = {"CENPU", "TP53", "MCL1", "PIMREG", "TP53", "MCL1"};
    static const uint8_t how[] = {CPT_GENE_ENSEMBL, CPT_GENE_SYMBOL, CPT_GENE_ENSEMBL, CPT_GENE_ALIAS,
                                  CPT_GENE_ENSEMBL, CPT_GENE_SYMBOL};
    assert_ok(cpt_gene_map_make(t, &ids, &var, &m, &err));
    for (int i = 0; i < 6; i++) {
        assert_string_equal(cpt_strings_get(&m.symbols, i), want[i]);
        assert_int_equal(m.how[i], how[i]);
    }
    assert_int_equal(m.n_symbol, 2);
    assert_int_equal(m.n_ensembl, 3);
    assert_int_equal(m.n_alias, 1);
    assert_int_equal(m.n_unknown, 0);
    assert_int_equal(m.n_duplicate, 2);
    cpt_gene_map_free(&m);

    assert_ok(cpt_gene_map_make(t, &ids, NULL, &m, &err)); /* from the ids alone */
    assert_string_equal(cpt_strings_get(&m.symbols, 0), "CENPU");
    assert_string_equal(cpt_strings_get(&m.symbols, 3), "ENSG99"); /* unknown: keeps its name */
    assert_int_equal(m.n_unknown, 1);
    cpt_gene_map_free(&m);

    assert_ok(cpt_gene_map_make(NULL, &ids, &var, &m, &err)); /* no table: as they stand */
    assert_string_equal(cpt_strings_get(&m.symbols, 2), "RP11-1.1");
    assert_string_equal(cpt_strings_get(&m.symbols, 4), "ENSG00000141510.2");
    assert_int_equal(m.n_unknown, 6);
    cpt_gene_map_free(&m);

    var.n_rows = 5;
    assert_int_equal(cpt_gene_map_make(t, &ids, &var, &m, &err), CPT_ERR_DATA);
    cpt_strings none = {0};
    assert_ok(cpt_gene_map_make(t, &none, NULL, &m, &err));
    assert_int_equal(m.symbols.n, 0);
    cpt_gene_map_free(&m);
    cpt_strings_free(&columns[1].categories);
    cpt_strings_free(&ids);
    cpt_gene_table_free(t);
}

static void test_align(void **state)
{
    cpt_err err;
    cpt_alignment a;
    cpt_gene_table *t = table_of(small_table);
    cpt_strings model = LIST("TP53", "FAM64A", "ENSG3", "CENPU", "ABSENT", "PRH1");
    cpt_strings ids = LIST("ENSG00000141510", "ENSG00000129195", "ENSG3", "ENSG00000151725", "x", "y");
    cpt_strings symbols = LIST("TP53", "PIMREG", "MCL1", "MLF1IP", "TP53", "PRH1");
    static const int32_t exact[] = {0, -1, 2, -1, -1, 5}, all[] = {0, 1, 2, 3, -1, 5};
    assert_ok(cpt_align_genes(&model, &ids, &symbols, t, false, &a, &err));
    assert_memory_equal(a.to_model, exact, sizeof exact);
    assert_int_equal(a.n_model, 6);
    assert_int_equal(a.n_found, 3);
    assert_int_equal(a.n_by_alias, 0);
    cpt_alignment_free(&a);
    assert_ok(cpt_align_genes(&model, &ids, &symbols, t, true, &a, &err));
    assert_memory_equal(a.to_model, all, sizeof all);
    assert_int_equal(a.n_found, 5);
    assert_int_equal(a.n_by_alias, 2);
    cpt_alignment_free(&a);
    /* an exact id in a later column beats a symbol in an earlier one */
    cpt_strings ids2 = LIST("q", "PRH1"), symbols2 = LIST("PRH1", "z");
    assert_ok(cpt_align_genes(&model, &ids2, &symbols2, NULL, true, &a, &err));
    assert_int_equal(a.to_model[0], -1);
    assert_int_equal(a.to_model[1], 5);
    cpt_alignment_free(&a);
    assert_int_equal(cpt_align_genes(&model, &ids2, &symbols, NULL, true, &a, &err), CPT_ERR_INTERNAL);
    cpt_strings_free(&model);
    cpt_strings_free(&ids);
    cpt_strings_free(&symbols);
    cpt_strings_free(&ids2);
    cpt_strings_free(&symbols2);
    cpt_gene_table_free(t);
}

static void test_release(void **state)
{
    cpt_err err;
    cpt_gene_table *t;
    assert_ok(cpt_gene_table_open("data/human_genes.tsv.gz", &t, &err));
    expect(t, "MS4A1", "MS4A1", CPT_GENE_SYMBOL);
    expect(t, "ENSG00000156738", "MS4A1", CPT_GENE_ENSEMBL);
    expect(t, "ENSG00000156738.18", "MS4A1", CPT_GENE_ENSEMBL);
    expect(t, "MLF1IP", "CENPU", CPT_GENE_ALIAS);
    expect(t, "FAM64A", "PIMREG", CPT_GENE_ALIAS);
    expect(t, "ENSG00000143384", "MCL1", CPT_GENE_ENSEMBL); /* shared with ADAMTSL4-AS1 */
    expect(t, "ENSG00000158747", "NBL1", CPT_GENE_ENSEMBL); /* shared with MICOS10-NBL1 */
    expect(t, "1-Mar", NULL, CPT_GENE_UNKNOWN);
    /* all 97 genes of the cell cycle list are known under some name */
    cpt_lines *in = cpt_lines_open("data/cell_cycle_genes.tsv", 1000, &err);
    assert_non_null(in);
    int known = 0;
    for (char *line;;) {
        assert_ok(cpt_lines_next(in, &line, NULL, &err));
        if (!line) break;
        line[strcspn(line, "\t")] = '\0';
        known += cpt_gene_table_symbol(t, line, NULL) != NULL;
    }
    assert_int_equal(known, 97);
    cpt_lines_close(in);
    cpt_gene_table_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lookup), cmocka_unit_test(test_refusals), cmocka_unit_test(test_map),
        cmocka_unit_test(test_align),  cmocka_unit_test(test_release),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_dag_tests.c - elim, weight01 and parent-child against golden p values of four small graphs. */
#include "check.h"

#include <jansson.h>

#include "base/file.h"
#include "enrich/dag_tests.h"

static json_t *member(json_t *object, const char *name)
{
    json_t *value = json_object_get(object, name);
    assert_non_null(value);
    return value;
}

/* The golden annotation is "gene TAB term"; its genes, and those of the study, are the universe. */
static cpt_annotation *annotation_of(const char *path, const cpt_go *go, json_t *test, cpt_strings *u)
{
    cpt_err err;
    cpt_text gaf = {0};
    cpt_annotation *a;
    cpt_lines *in = cpt_lines_open(path, 1000, &err);
    assert_non_null(in);
    json_int_t n_universe = json_integer_value(member(test, "universe_size"));
    for (json_int_t i = 1; i <= n_universe; i++) {
        char gene[16];
        snprintf(gene, sizeof gene, n_universe > 999 ? "g%04d" : "g%03d", (int)i);
        assert_ok(cpt_strings_add(u, gene, strlen(gene), &err));
    }
    for (char *line;;) {
        assert_ok(cpt_lines_next(in, &line, NULL, &err));
        if (!line) break;
        char *tab = strchr(line, '\t');
        *tab = '\0';
        if (cpt_lines_number(in) > 1)
            cpt_text_addf(&gaf, "D\ti\t%s\t\t%s\tr\tIDA\t\tP\t\t\t\t\t\t\t\t\n", line, tab + 1);
    }
    char file[64];
    snprintf(file, sizeof file, "/tmp/cpt_test_dag_%ld", (long)getpid());
    assert_ok(cpt_write_file(file, gaf.bytes, gaf.length, &err));
    assert_ok(cpt_annotation_open(file, go, u, NULL, &a, &err));
    assert_int_equal(a->n_unknown_gene, 0);
    unlink(file);
    cpt_lines_close(in);
    cpt_text_free(&gaf);
    return a;
}

static int32_t read_study(json_t *test, const cpt_strings *u, int32_t *study)
{
    int32_t n = 0;
    json_t *list = member(test, "study");
    for (int32_t g = 0; g < u->n; g++)
        for (size_t i = 0; i < json_array_size(list); i++)
            if (strcmp(json_string_value(json_array_get(list, i)), cpt_strings_get(u, g)) == 0)
                study[n++] = g;
    assert_int_equal(n, json_array_size(list));
    return n;
}

static const cpt_dag_row *find_row(const cpt_go *go, const cpt_dag_row *rows, int32_t n, json_t *term)
{
    int32_t t = (int32_t)cpt_index_get(go->by_id, json_string_value(member(term, "id")));
    for (int32_t r = 0; r < n; r++)
        if (rows[r].term == t) return &rows[r];
    return NULL;
}

static const struct { cpt_dag_method method; const char *golden, *left; } methods[] = {
    {CPT_DAG_CLASSIC, "classic", NULL},
    {CPT_DAG_ELIM, "elim", NULL},
    {CPT_DAG_WEIGHT01, "weight01_not_worse_children", NULL},
    {CPT_DAG_WEIGHT01_TOPGO, "weight01_all_children", "weight01_all_children_genes_left"},
    {CPT_DAG_UNION, "parent_child_union", NULL},
    {CPT_DAG_INTERSECTION, "parent_child_intersection", NULL}};

static void compare(json_t *test, const cpt_go *go, const cpt_annotation *a, int32_t n_study,
                    const int32_t *study)
{
    cpt_err err;
    for (size_t m = 0; m < sizeof methods / sizeof *methods; m++) {
        cpt_dag_row *rows;
        int32_t n;
        size_t i;
        json_t *term;
        assert_ok(cpt_dag_test(go, a, CPT_GO_BP, methods[m].method, 0.01, n_study, study, &rows, &n, &err));
        assert_int_equal(n, json_array_size(member(test, "terms")));
        json_array_foreach(member(test, "terms"), i, term) {
            const cpt_dag_row *row = find_row(go, rows, n, term);
            assert_non_null(row);
            assert_int_equal(row->size, json_integer_value(member(term, "annotated")));
            assert_int_equal(row->overlap, json_integer_value(member(term, "significant")));
            double want = json_number_value(member(member(term, "hand_p"), methods[m].golden));
            if (fabs(row->p - want) > 1e-9 * want)
                print_error("%s %s %s: ", json_string_value(member(test, "name")), methods[m].golden,
                            json_string_value(member(term, "id")));
            assert_near(row->p, want, 1e-9 * want);
            assert_near(row->log10p, log10(want), 1e-8);
            if (methods[m].left && want < 1) /* at p = 1 the golden count stops early in one term */
                assert_int_equal(row->size_left, json_integer_value(member(term, methods[m].left)));
        }
        free(rows);
    }
}

static void test_golden(void **state)
{
    NEED_SHARED(folder, "golden/gsea");
    char path[1200];
    size_t i;
    json_t *test;
    snprintf(path, sizeof path, "%s/dag_tests.json", folder);
    json_t *golden = json_load_file(path, 0, NULL);
    assert_non_null(golden);
    json_array_foreach(golden, i, test) {
        cpt_err err;
        cpt_go *go;
        cpt_strings u = {0};
        int32_t study[1000];
        snprintf(path, sizeof path, "%s/%s", folder, json_string_value(member(test, "obo")));
        assert_ok(cpt_go_open(path, NULL, &go, &err));
        snprintf(path, sizeof path, "%s/%s", folder, json_string_value(member(test, "annotation_file")));
        cpt_annotation *a = annotation_of(path, go, test, &u);
        compare(test, go, a, read_study(test, &u, study), study);
        if (i == 0) {
            cpt_dag_row *rows;
            int32_t n;
            study[1] = study[0];
            assert_int_equal(cpt_dag_test(go, a, CPT_GO_BP, CPT_DAG_ELIM, 0.01, 2, study, &rows, &n, &err),
                             CPT_ERR_USAGE);
            assert_int_equal(cpt_dag_test(go, a, CPT_GO_BP, CPT_DAG_ELIM, 0, 0, study, &rows, &n, &err),
                             CPT_ERR_USAGE);
            assert_ok(cpt_dag_test(go, a, CPT_GO_MF, CPT_DAG_ELIM, 0.01, 0, study, &rows, &n, &err));
            assert_int_equal(n, 0);
            free(rows);
        }
        cpt_annotation_free(a);
        cpt_strings_free(&u);
        cpt_go_free(go);
    }
    json_decref(golden);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_golden)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

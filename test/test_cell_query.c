/* Cells chosen by a text: what it means, and what is said of a wrong one. */
#include "check.h"

#include "base/text.h"
#include "compare/cell_query.h"

static cpt_err err;
enum { CELLS = 6 };

/* Cells 0..5; types B cell, T & NK, B cell, missing, T=4, B cell; n_genes missing in the last. */
static const int32_t codes[CELLS] = {0, 1, 0, -1, 2, 0};
static const double sizes[CELLS] = {100, 500, 501, 700, 1e4, NAN};
static const int64_t cell_start[CELLS + 1] = {0, 1, 1, 2, 3, 3, 4}, concept_start[3] = {0, 1, 4};
static const int32_t cell_concepts[4] = {1, 0, 1, 1}, concept_cells[4] = {2, 0, 3, 5};
static const float cell_values[4] = {2, 3, 4, 5}, concept_values[4] = {3, 2, 4, 5};
static const bool usable[CELLS] = {true, true, true, true, false, true};
static const int64_t count_start[CELLS + 1] = {0, 2, 3, 3, 3, 3, 3};
static const int32_t count_genes[3] = {0, 2, 1};
static const float count_values[3] = {4, 5, 6};

typedef struct fixture {
    cpt_column columns[2];
    cpt_cells cells;
    cpt_activations u;
} fixture;

static void make(fixture *f)
{
    static const char *const names[] = {"B cell", "T & NK", "T=4"};
    *f = (fixture){.columns = {{.name = "cell_type", .kind = CPT_COLUMN_CATEGORY, .codes = codes},
                               {.name = "size", .kind = CPT_COLUMN_NUMBER, .numbers = sizes}}};
    for (int i = 0; i < 3; i++)
        assert_ok(cpt_strings_add(&f->columns[0].categories, names[i], strlen(names[i]), &err));
    f->cells = (cpt_cells){.n_cells = CELLS,
                           .n_genes = 3,
                           .has_counts = true,
                           .by_cell = {CELLS, 3, count_start, count_genes, count_values},
                           .obs = {CELLS, 2, f->columns}};
    f->u = (cpt_activations){.n_cells = CELLS,
                             .n_concepts = 2,
                             .by_cell = {CELLS, 2, cell_start, cell_concepts, cell_values},
                             .by_concept = {2, CELLS, concept_start, concept_cells, concept_values},
                             .usable = usable};
}

/* The chosen cells as text, "0 2 5"; or the error. */
static const char *ask(const char *query)
{
    static char text[64];
    fixture f;
    uint8_t keep[CELLS];
    int64_t n;
    make(&f);
    cpt_status status = cpt_cell_query(query, &f.cells, &f.u, 1, keep, &n, &err);
    text[0] = '\0';
    for (int i = 0, shown = 0; i < CELLS; i++)
        if (keep[i]) sprintf(text + strlen(text), "%s%d", shown++ ? " " : "", i);
    cpt_strings_free(&f.columns[0].categories);
    if (status == CPT_OK) return text;
    assert_int_equal(status, CPT_ERR_USAGE);
    return err.text;
}

static void what_queries_mean(void **state)
{
    static const char *const table[][2] = {
        {"", "0 1 2 3 4 5"},
        {"  ", "0 1 2 3 4 5"},
        {"cell_type==B cell", "0 2 5"},
        {" cell_type  =  B cell ", "0 2 5"},
        {"cell_type!=B cell", "1 4"}, /* a missing type is no other type */
        {"cell_type==\"T & NK\"", "1"},
        {"cell_type==T=4", "4"},
        {"size>500", "2 3 4"},
        {"size>=500", "1 2 3 4"},
        {"size<500", "0"},
        {"size<=5e2", "0 1"},
        {"size==100", "0"},
        {"size!=100", "1 2 3 4"},
        {"active", "0 3 5"},
        {"inactive", "1 2"}, /* cell 4 is not usable */
        {"active & cell_type==B cell", "0 5"},
        {"cell_type==\"B cell\"&size>1&inactive", "2"},
        {"c0>0", "2"},
        {"c1>=4", "3 5"},
        {"n_genes>=1", "0 1"},
        {"n_counts>6", "0"},
        {"size>1 & size<0", ""},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(ask(table[i][0]), table[i][1]) != 0)
            fail_msg("'%s': %s, not %s", table[i][0], ask(table[i][0]), table[i][1]);
}

static void what_is_said(void **state)
{
    static const char *const table[][2] = {
        {"cell_typ==B cell", "did you mean 'cell_type'?"},
        {"cell_typ==B cell", "it has cell_type, size"},
        {"cell_type==B cel", "did you mean 'B cell'?"},
        {"cell_type==x", "it holds B cell, T & NK, T=4"},
        {"cell_type>3", "only == and !="},
        {"size>many", "'size' holds numbers and is compared with 'many'"},
        {"size>nan", "is compared with 'nan'"},
        {"size>", "compared with nothing"},
        {"activ", "'activ' is no condition"},
        {"active &", "nothing follows the last &"},
        {"& active", "a condition is empty"},
        {"active && active", "a condition is empty"},
        {"==3", "a condition is empty"},
        {"cell_type==T & NK", "no cell has 'T'"},
        {"cell_type==\"T & NK", "is not closed"},
        {"cell_type==\"T & NK\" or active", "follows a value in quotation marks"},
        {"c2>0", "no column 'c2'"},
        {"c99999999999>0", "no column"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (!strstr(ask(table[i][0]), table[i][1]))
            fail_msg("'%s': %s; want: %s", table[i][0], ask(table[i][0]), table[i][1]);
}

static void long_texts(void **state)
{
    char query[4000];
    memset(query, 'x', sizeof query - 1);
    query[sizeof query - 1] = '\0';
    assert_non_null(strstr(ask(query), "longer than"));
    memcpy(query, "size==", 6);
    assert_non_null(strstr(ask(query), "longer than"));
    memcpy(query, "size==\"", 7);
    query[sizeof query - 2] = '"';
    assert_non_null(strstr(ask(query), "longer than"));
}

/* obs may be empty, and counts absent. */
static void bare_cells(void **state)
{
    fixture f;
    uint8_t keep[CELLS];
    int64_t n;
    make(&f);
    f.cells.obs.n_columns = 0;
    f.cells.has_counts = false;
    assert_int_equal(cpt_cell_query("cell_type==B", &f.cells, &f.u, 0, keep, &n, &err),
                     CPT_ERR_USAGE);
    assert_non_null(strstr(err.text, "it has none"));
    assert_int_equal(cpt_cell_query("n_genes>3", &f.cells, &f.u, 0, keep, &n, &err), CPT_ERR_USAGE);
    assert_non_null(strstr(err.text, "no counts"));
    cpt_strings_free(&f.columns[0].categories);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_queries_mean),
        cmocka_unit_test(what_is_said),
        cmocka_unit_test(long_texts),
        cmocka_unit_test(bare_cells),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Files that the present anndata wrote (test/golden/h5ad): what manifest.json promises is found. */
#include "golden.h"

#include "base/file.h"
#include "io/import.h"

static const char folder[] = "test/golden/h5ad";
static char cache[256];
static cpt_err err;

static int make_cache_name(void **state)
{
    const char *root = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(cache, sizeof cache, "%s/cpt-test-golden-h5ad-%ld", root, (long)getpid());
    return 0;
}

static int remove_cache(void **state)
{
    return cpt_remove_tree(cache, NULL);
}

static void check_ids(const cpt_strings *ids, const json_t *want)
{
    assert_int_equal(ids->n, json_array_size(want));
    for (int64_t i = 0; i < ids->n; i++) {
        const json_t *id = json_array_get(want, (size_t)i);
        assert_string_equal(cpt_strings_get(ids, i), json_string_value(id));
    }
}

static void check_counts(const cpt_cells *c, const json_t *want)
{
    int64_t nnz = 0;
    for (int64_t i = 0; i < c->n_cells; i++) {
        const json_t *row = json_array_get(want, (size_t)i);
        int64_t p = c->by_cell.indptr[i];
        for (int32_t j = 0; j < c->n_genes; j++) {
            double x = json_number_value(json_array_get(row, (size_t)j));
            if (x == 0) continue;
            assert_true(p < c->by_cell.indptr[i + 1]);
            assert_int_equal(c->by_cell.indices[p], j);
            assert_near(c->by_cell.values[p++], x, 0);
            nnz++;
        }
        assert_int_equal(p, c->by_cell.indptr[i + 1]);
    }
    assert_int_equal(c->by_gene.indptr[c->n_genes], nnz);
    for (int32_t j = 0; j < c->n_genes; j++)
        for (int64_t p = c->by_gene.indptr[j]; p < c->by_gene.indptr[j + 1]; p++) {
            const json_t *row = json_array_get(want, (size_t)c->by_gene.indices[p]);
            assert_near(c->by_gene.values[p], json_number_value(json_array_get(row, (size_t)j)), 0);
        }
}

/* Texts, numbers and booleans; null = missing. */
static void check_column(const cpt_table *t, const char *name, const json_t *want)
{
    const cpt_column *c = cpt_table_find(t, name);
    if (!c || !want) fail_msg("no column %s", name);
    assert_int_equal(t->n_rows, json_array_size(want));
    for (int64_t i = 0; i < t->n_rows; i++) {
        const json_t *x = json_array_get(want, (size_t)i);
        if (c->kind == CPT_COLUMN_CATEGORY) {
            const int32_t code = c->codes[i];
            assert_int_equal(code < 0, json_is_null(x));
            if (code >= 0)
                assert_string_equal(cpt_strings_get(&c->categories, code), json_string_value(x));
        } else if (json_is_null(x)) {
            assert_true(isnan(c->numbers[i]));
        } else {
            double number = json_is_boolean(x) ? json_is_true(x) : json_number_value(x);
            assert_near(c->numbers[i], number, 0);
        }
    }
}

static void check_obsm(const cpt_cells *c, const json_t *want)
{
    const cpt_obsm *m = cpt_cells_obsm(c, "X_pca");
    assert_non_null(m);
    assert_int_equal(m->width, 3);
    for (int64_t i = 0; i < 3 * c->n_cells; i++) {
        const json_t *row = json_array_get(want, (size_t)(i / 3));
        assert_near(m->values[i], json_number_value(json_array_get(row, (size_t)(i % 3))), 0);
    }
}

static void check_file(const json_t *root, const json_t *file)
{
    char path[300];
    const char *name = json_string_value(json_object_get(file, "file"));
    const cpt_import_options options = {.need_counts = true, .silence_limit_s = 60};
    const json_t *column, *obs = json_object_get(root, "obs"), *var = json_object_get(root, "var");
    cpt_cells *c;
    size_t i;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    print_message("%s\n", name);
    assert_ok(cpt_import(path, cache, &options, NULL, &err));
    assert_ok(cpt_cells_open(cache, &c, &err));
    assert_true(c->has_counts && c->integer);
    assert_string_equal(c->counts_from, json_string_value(json_object_get(file, "counts_from")));
    check_ids(&c->cell_ids, json_object_get(root, "obs_names"));
    check_ids(&c->gene_ids, json_object_get(root, "var_names"));
    check_counts(c, json_object_get(root, "counts"));
    json_array_foreach(json_object_get(file, "obs"), i, column)
        check_column(&c->obs, json_string_value(column),
                     json_object_get(obs, json_string_value(column)));
    assert_true(i >= 1);
    check_column(&c->var, "gene_symbol", json_object_get(var, "gene_symbol"));
    check_column(&c->var, "highly_variable", json_object_get(var, "highly_variable"));
    if (json_is_true(json_object_get(file, "obsm"))) check_obsm(c, json_object_get(root, "X_pca"));
    cpt_cells_free(c);
}

static void test_files(void **state)
{
    json_t *root = golden_json("test/golden/h5ad/manifest.json"), *file;
    size_t i;
    json_array_foreach(json_object_get(root, "files"), i, file) check_file(root, file);
    assert_int_equal(i, 8);
    json_decref(root);
}

/* What was asked for by name is taken, also where it holds no counts. */
static void test_choice(void **state)
{
    cpt_cells *c;
    cpt_import_options o = {.need_counts = true, .layer = "X"};
    assert_int_equal(cpt_import("test/golden/h5ad/raw.h5ad", cache, &o, NULL, &err), CPT_ERR_DATA);
    assert_non_null(strstr(err.text, "whole numbers"));
    o.allow_non_counts = true;
    assert_ok(cpt_import("test/golden/h5ad/raw.h5ad", cache, &o, NULL, &err));
    assert_ok(cpt_cells_open(cache, &c, &err));
    assert_false(c->integer);
    assert_string_equal(c->counts_from, "X");
    cpt_cells_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_files), cmocka_unit_test(test_choice)};
    return cmocka_run_group_tests(tests, make_cache_name, remove_cache);
}

/* The flat cache: what is written is what is read; wrong input and damaged caches are refused. */
#include "check.h"

#include "base/file.h"
#include "base/random.h"
#include "io/cells.h"

static char folder[256];

static int name_folder(void **state)
{
    const char *root = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(folder, sizeof folder, "%s/cpt-test-cells-%ld", root, (long)getpid());
    return 0;
}

static int remove_folder(void **state)
{
    return cpt_remove_tree(folder, NULL);
}

static void add_names(cpt_strings *s, const char *stem, int64_t n)
{
    char name[64];
    for (int64_t i = 0; i < n; i++) {
        snprintf(name, sizeof name, "%s%lld", stem, (long long)i);
        assert_int_equal(cpt_strings_add(s, name, strlen(name), NULL), CPT_OK);
    }
}

static cpt_cells_writer *new_writer(int64_t n_cells, int64_t n_genes)
{
    cpt_err err;
    cpt_strings cells = {0}, genes = {0};
    add_names(&cells, "c", n_cells);
    add_names(&genes, "g", n_genes);
    cpt_cells_writer *w = cpt_cells_writer_new(folder, &err);
    assert_non_null(w);
    assert_ok(cpt_cells_writer_ids(w, &cells, &genes, &err));
    cpt_strings_free(&cells);
    cpt_strings_free(&genes);
    return w;
}

static float value_at(int64_t i, int64_t j)
{
    cpt_stream s;
    cpt_stream_init(&s, 3, CPT_RANDOM_TEST, (uint64_t)(i * 1000 + j));
    return cpt_stream_uniform(&s) < 0.3 ? (float)(1 + cpt_stream_below(&s, 5)) : 0.0f;
}

/* Rows in a shuffled order of columns, with every zero stored when `zeros`. */
static void add_rows(cpt_cells_writer *w, int64_t n_rows, int64_t n_cols, bool transposed,
                     bool zeros)
{
    cpt_err err;
    int32_t indices[64];
    float values[64];
    for (int64_t i = 0; i < n_rows; i++) {
        int32_t n = 0;
        for (int64_t j = n_cols - 1; j >= 0; j--) {
            int64_t column = zeros ? j : n_cols - 1 - j;
            float x = transposed ? value_at(column, i) : value_at(i, column);
            if (x == 0 && !zeros) continue;
            indices[n] = (int32_t)column;
            values[n++] = x;
        }
        assert_ok(cpt_cells_writer_row(w, n, indices, values, &err));
    }
}

static void check_values(const cpt_csr *m, bool transposed)
{
    for (int64_t i = 0; i < m->n_rows; i++) {
        int64_t p = m->indptr[i];
        for (int64_t j = 0; j < m->n_cols; j++) {
            float x = transposed ? value_at(j, i) : value_at(i, j);
            if (x == 0) continue;
            assert_true(p < m->indptr[i + 1] && m->indices[p] == j && m->values[p] == x);
            p++;
        }
        assert_int_equal(p, m->indptr[i + 1]);
    }
}

enum { CELLS = 61, GENES = 23 };

/* by cell in order, by cell in reverse with zeros, by gene: the same cache, byte for byte */
static void test_three_ways(void **state)
{
    cpt_err err;
    char hash[3][65];
    for (int way = 0; way < 3; way++) {
        cpt_cells *c;
        cpt_cells_writer *w = new_writer(CELLS, GENES);
        assert_ok(cpt_cells_writer_begin(w, way == 2, &err));
        if (way == 2) add_rows(w, GENES, CELLS, true, false);
        else add_rows(w, CELLS, GENES, false, way == 1);
        assert_true(cpt_cells_writer_integer(w));
        assert_ok(cpt_cells_writer_finish(w, "X", &err));
        assert_ok(cpt_cells_open(folder, &c, &err));
        assert_int_equal(c->by_cell.n_rows, CELLS);
        assert_int_equal(c->by_gene.n_rows, GENES);
        check_values(&c->by_cell, false);
        check_values(&c->by_gene, true);
        assert_true(c->integer && c->has_counts);
        assert_string_equal(c->counts_from, "X");
        cpt_cells_free(c);
        assert_ok(cpt_sha256_path(folder, hash[way], &err));
    }
    assert_string_equal(hash[0], hash[1]);
    assert_string_equal(hash[0], hash[2]);
}

static void test_tables(void **state)
{
    cpt_err err;
    cpt_cells *c;
    double numbers[3] = {1.5, NAN, -3};
    int32_t codes[3] = {1, -1, 0};
    float pca[6] = {1, 2, 3, 4, 5, 6};
    cpt_column number = {.name = "score", .kind = CPT_COLUMN_NUMBER, .numbers = numbers};
    cpt_column label = {.name = "type \"q\"", .kind = CPT_COLUMN_CATEGORY, .codes = codes};
    add_names(&label.categories, "T\xce\xb1 ", 2);
    cpt_cells_writer *w = new_writer(3, 0);
    assert_ok(cpt_cells_writer_column(w, 'o', &number, 3, &err));
    assert_ok(cpt_cells_writer_column(w, 'o', &label, 3, &err));
    assert_ok(cpt_cells_writer_obsm(w, "X_pca", 3, 2, pca, &err));
    assert_ok(cpt_cells_writer_note(w, "Said so.", &err));
    assert_ok(cpt_cells_writer_finish(w, NULL, &err));
    assert_ok(cpt_cells_open(folder, &c, &err));
    assert_false(c->has_counts);
    assert_int_equal(c->obs.n_columns, 2);
    const cpt_column *got = cpt_table_find(&c->obs, label.name);
    assert_non_null(got);
    assert_memory_equal(got->codes, codes, sizeof codes);
    assert_string_equal(cpt_strings_get(&got->categories, 1), "T\xce\xb1 1");
    assert_true(isnan(cpt_table_find(&c->obs, "score")->numbers[1]));
    assert_null(cpt_table_find(&c->obs, "nothing"));
    assert_int_equal(cpt_cells_obsm(c, "X_pca")->width, 2);
    assert_memory_equal(cpt_cells_obsm(c, "X_pca")->values, pca, sizeof pca);
    assert_null(cpt_cells_obsm(c, "X_umap"));
    assert_string_equal(cpt_strings_get(&c->notes, 0), "Said so.");
    cpt_cells_free(c);
    cpt_strings_free(&label.categories);
}

static void test_unique_names(void **state)
{
    static const char *const in[] = {"a", "b", "a", "a-1", "a", "b", "a"};
    static const char *const out[] = {"a", "b", "a-2", "a-1", "a-3", "b-1", "a-4"};
    cpt_err err;
    cpt_cells *c;
    cpt_strings cells = {0}, genes = {0};
    for (int i = 0; i < 7; i++) cpt_strings_add(&genes, in[i], strlen(in[i]), NULL);
    add_names(&cells, "c", 1);
    cpt_cells_writer *w = cpt_cells_writer_new(folder, &err);
    assert_ok(cpt_cells_writer_ids(w, &cells, &genes, &err));
    assert_ok(cpt_cells_writer_finish(w, NULL, &err));
    assert_ok(cpt_cells_open(folder, &c, &err));
    for (int i = 0; i < 7; i++) assert_string_equal(cpt_strings_get(&c->gene_ids, i), out[i]);
    assert_int_equal(c->notes.n, 1);
    cpt_cells_free(c);
    cpt_strings_free(&cells);
    cpt_strings_free(&genes);
}

/* One bad row: its error text. */
static void refuse_row(int32_t n, const int32_t *indices, const float *values, const char *says)
{
    cpt_err err = {0};
    cpt_cells_writer *w = new_writer(2, 5);
    assert_ok(cpt_cells_writer_row(w, 1, &(int32_t){1}, &(float){2}, &err));
    assert_int_not_equal(cpt_cells_writer_row(w, n, indices, values, &err), CPT_OK);
    if (!strstr(err.text, says)) fail_msg("\"%s\" does not say \"%s\"", err.text, says);
    cpt_cells_writer_abandon(w);
}

static void test_bad_rows(void **state)
{
    refuse_row(2, (int32_t[]){0, 3}, (float[]){1, NAN},
               "row 1, column 3: the count is not a number");
    refuse_row(2, (int32_t[]){0, 3}, (float[]){-1, 1}, "row 1, column 0: the count is negative");
    refuse_row(2, (int32_t[]){0, 3}, (float[]){1, INFINITY}, "column 3: the count is infinite");
    refuse_row(3, (int32_t[]){2, 0, 2}, (float[]){1, 1, 1}, "column 2: the entry occurs twice");
    refuse_row(2, (int32_t[]){2, 2}, (float[]){1, 0}, "column 2: the entry occurs twice");
    refuse_row(1, (int32_t[]){-1}, (float[]){1}, "column index -1 is negative");
}

static void test_sizes_must_fit(void **state)
{
    cpt_err err;
    cpt_cells_writer *w = new_writer(2, 5);
    assert_ok(cpt_cells_writer_row(w, 1, &(int32_t){1}, &(float){2}, &err));
    assert_int_equal(cpt_cells_writer_finish(w, "X", &err), CPT_ERR_FORMAT); /* one row of two */
    w = new_writer(1, 5);
    assert_ok(cpt_cells_writer_row(w, 1, &(int32_t){5}, &(float){2}, &err));
    assert_int_equal(cpt_cells_writer_finish(w, "X", &err), CPT_ERR_FORMAT); /* column 5 of 0..4 */
    cpt_strings cells = {0}, genes = {0};
    add_names(&cells, "c", 1);
    cpt_strings_add(&genes, "", 0, NULL);
    w = cpt_cells_writer_new(folder, &err);
    assert_int_equal(cpt_cells_writer_ids(w, &cells, &genes, &err), CPT_ERR_DATA);
    assert_non_null(strstr(err.text, "gene 0 (from 0) is empty"));
    cpt_cells_writer_abandon(w);
    cpt_strings_free(&cells);
    cpt_strings_free(&genes);
    cpt_cells *c;
    assert_int_equal(cpt_cells_open(folder, &c, &err), CPT_ERR_IO); /* abandoned: no cells.json */
    assert_null(c);
}

static void write_cache(void)
{
    cpt_err err;
    cpt_column label = {.name = "l", .kind = CPT_COLUMN_CATEGORY, .codes = (int32_t[CELLS]){0}};
    add_names(&label.categories, "k", 2);
    cpt_cells_writer *w = new_writer(CELLS, GENES);
    add_rows(w, CELLS, GENES, false, false);
    assert_ok(cpt_cells_writer_column(w, 'o', &label, CELLS, &err));
    assert_ok(cpt_cells_writer_finish(w, "X", &err));
    cpt_strings_free(&label.categories);
}

/* Changes one file of a good cache; opening must then fail. */
static void damage(const char *name, long at, const void *bytes, size_t n)
{
    char path[400];
    cpt_err err = {0};
    cpt_cells *c;
    write_cache();
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, at, at < 0 ? SEEK_END : SEEK_SET), 0);
    if (n) assert_int_equal(fwrite(bytes, 1, n, f), n);
    else assert_int_equal(ftruncate(fileno(f), at), 0);
    fclose(f);
    if (cpt_cells_open(folder, &c, &err) == CPT_OK) fail_msg("%s: damage was not seen", name);
    assert_non_null(strstr(err.text, folder));
}

static void test_damaged_cache(void **state)
{
    const int64_t huge = (int64_t)1 << 40, minus = -1;
    const int32_t out = GENES, code = 2;
    enum { DATA = 256 };
    damage("counts_by_cell.indptr.npy", -8, &huge, 8);
    damage("counts_by_cell.indptr.npy", DATA + 8, &huge, 8);
    damage("counts_by_gene.indptr.npy", DATA, &minus, 8);
    damage("counts_by_cell.indices.npy", -4, &out, 4);
    damage("counts_by_cell.indices.npy", DATA, &minus, 4);
    damage("counts_by_gene.indices.npy", DATA + 400, &huge, 4);
    damage("counts_by_cell.values.npy", 300, NULL, 0);
    damage("cell_ids.offsets.npy", DATA + 8, &huge, 8);
    damage("cell_ids.offsets.npy", DATA + 8, &minus, 8);
    damage("gene_ids.bytes.npy", -1, "x", 1);
    damage("obs.0.npy", DATA, &code, 4);
    damage("obs.0.npy", DATA, &(int32_t){-2}, 4);
    damage("cells.json", 0, "[", 1);
    damage("cells.json", 100, NULL, 0);
}

static void test_json_leads_nowhere(void **state)
{
    cpt_err err = {0};
    cpt_cells *c;
    char path[400];
    static const char *const texts[] = {
        "{\"version\": 2}",
        "{\"version\": 1, \"n_cells\": -1, \"n_genes\": 1, \"nnz\": 0}",
        "{\"version\": 1, \"n_cells\": 61, \"n_genes\": 23, \"nnz\": 0, \"obs\": [{\"name\": "
        "\"a\", "
        "\"kind\": \"number\", \"file\": \"../x.npy\"}], \"var\": [], \"obsm\": [], \"notes\": []}",
        "{\"version\": 1, \"n_cells\": 61, \"n_genes\": 23, \"nnz\": 0, \"obs\": [], \"var\": [], "
        "\"obsm\": [], \"notes\": [1]}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        write_cache();
        snprintf(path, sizeof path, "%s/cells.json", folder);
        assert_ok(cpt_write_file(path, texts[i], strlen(texts[i]), &err));
        assert_int_not_equal(cpt_cells_open(folder, &c, &err), CPT_OK);
        assert_non_null(strstr(err.text, "cells.json"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_three_ways),   cmocka_unit_test(test_tables),
        cmocka_unit_test(test_unique_names), cmocka_unit_test(test_bad_rows),
        cmocka_unit_test(test_sizes_must_fit), cmocka_unit_test(test_damaged_cache),
        cmocka_unit_test(test_json_leads_nowhere),
    };
    return cmocka_run_group_tests(tests, name_folder, remove_folder);
}

/* Writing .h5ad: read back by our own reader; the same bytes again, for any number of threads.
 * `test_h5ad_write FILE` writes an example; test/check_anndata.py asks anndata what it reads there.
 */
#include "check.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/random.h"
#include "io/h5ad_write.h"
#include "io/import.h"

#include <omp.h>

static char folder[256];

static int make_folder(void **state)
{
    cpt_err err;
    const char *root = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(folder, sizeof folder, "%s/cpt-test-h5ad-write-%ld", root, (long)getpid());
    return cpt_make_folder(folder, &err);
}

static int remove_folder(void **state)
{
    return cpt_remove_tree(folder, NULL);
}

typedef struct example {
    int64_t n_obs, n_var;
    cpt_strings obs, var, texts;
    cpt_csr counts;
    float *dense, *pca;
    double *numbers;
    int64_t *integers;
    bool *flags;
    int32_t *codes;
    cpt_column label;
} example;

static void add_names(cpt_strings *s, const char *stem, int64_t n)
{
    char name[64];
    for (int64_t i = 0; i < n; i++) {
        snprintf(name, sizeof name, "%s%lld", stem, (long long)i);
        assert_int_equal(cpt_strings_add(s, name, strlen(name), NULL), CPT_OK);
    }
}

static void make_example(example *x, int64_t n_obs, int64_t n_var)
{
    cpt_stream s;
    *x = (example){.n_obs = n_obs, .n_var = n_var};
    add_names(&x->obs, "cell\xce\xb1", n_obs);
    add_names(&x->var, "GENE", n_var);
    add_names(&x->texts, "text ", n_obs);
    int64_t *indptr = calloc((size_t)n_obs + 1, 8), nnz = 0;
    int32_t *indices = calloc((size_t)(n_obs * n_var) + 1, 4);
    float *values = calloc((size_t)(n_obs * n_var) + 1, 4);
    x->dense = calloc((size_t)(n_obs * n_var) + 1, 4);
    x->pca = calloc((size_t)(n_obs * 3) + 1, 4);
    x->numbers = calloc((size_t)n_obs + 1, 8);
    x->integers = calloc((size_t)n_obs + 1, 8);
    x->flags = calloc((size_t)n_obs + 1, sizeof(bool));
    x->codes = calloc((size_t)n_obs + 1, 4);
    cpt_stream_init(&s, 1, CPT_RANDOM_TEST, 0);
    for (int64_t i = 0; i < n_obs; i++) {
        for (int64_t j = 0; j < n_var; j++) {
            x->dense[i * n_var + j] = (float)cpt_stream_normal(&s);
            if (cpt_stream_uniform(&s) > 0.2) continue;
            indices[nnz] = (int32_t)j;
            values[nnz++] = (float)(1 + cpt_stream_below(&s, 9));
        }
        indptr[i + 1] = nnz;
        for (int j = 0; j < 3; j++) x->pca[i * 3 + j] = (float)cpt_stream_normal(&s);
        x->numbers[i] = i % 5 ? cpt_stream_normal(&s) : NAN;
        x->integers[i] = (int64_t)1 << (i % 50);
        x->flags[i] = i % 3 == 0;
        x->codes[i] = (int32_t)(i % 4) - 1;
    }
    x->counts = (cpt_csr){n_obs, n_var, indptr, indices, values};
    add_names(&x->label.categories, "type ", 3);
    x->label.name = "cell_type";
    x->label.kind = CPT_COLUMN_CATEGORY;
    x->label.codes = x->codes;
}

static void free_example(example *x)
{
    cpt_strings_free(&x->obs);
    cpt_strings_free(&x->var);
    cpt_strings_free(&x->texts);
    cpt_strings_free(&x->label.categories);
    free((void *)(uintptr_t)x->counts.indptr);
    free((void *)(uintptr_t)x->counts.indices);
    free((void *)(uintptr_t)x->counts.values);
    free(x->dense);
    free(x->pca);
    free(x->numbers);
    free(x->integers);
    free(x->flags);
    free(x->codes);
}

static void write_example(const example *x, const char *path)
{
    cpt_err err;
    cpt_h5ad *f = cpt_h5ad_create(path, &x->obs, &x->var, &err);
    if (!f) fail_msg("%s", err.text);
    assert_ok(cpt_h5ad_csr(f, "X", &x->counts, &err));
    assert_ok(cpt_h5ad_dense(f, "layers/mean", CPT_F32, x->dense, &err));
    assert_ok(cpt_h5ad_column(f, 'o', &x->label, &err));
    assert_ok(cpt_h5ad_numbers(f, 'o', "score", x->numbers, &err));
    assert_ok(cpt_h5ad_integers(f, 'o', "n", x->integers, &err));
    assert_ok(cpt_h5ad_integers(f, 'o', "a/b", x->integers, &err));
    assert_ok(cpt_h5ad_flags(f, 'o', "dead", x->flags, &err));
    assert_ok(cpt_h5ad_texts(f, 'o', "words", &x->texts, &err));
    assert_ok(cpt_h5ad_matrix(f, "obsm/X_pca", 3, x->pca, &err));
    assert_ok(cpt_h5ad_uns_json(
        f, "settings",
        "{\"seed\": 1, \"rate\": 0.5, \"name\": \"k\\u00e4se\", \"on\": true,"
        "\"none\": null, \"inner\": {\"list\": [1, 2], \"mix\": [1, \"a\"], \"w\": [\"a\"]}}",
        &err));
    assert_ok(cpt_h5ad_uns_json(f, "version", "\"0.1\"", &err));
    assert_ok(cpt_h5ad_finish(f, &err));
}

static void test_round_trip(void **state)
{
    cpt_err err;
    char path[300], cache[300];
    example x;
    cpt_cells *c;
    make_example(&x, 300, 200);
    snprintf(path, sizeof path, "%s/a.h5ad", folder);
    snprintf(cache, sizeof cache, "%s/cache", folder);
    write_example(&x, path);
    cpt_import_options options = {.need_counts = true};
    assert_ok(cpt_import(path, cache, &options, NULL, &err));
    assert_ok(cpt_cells_open(cache, &c, &err));
    assert_int_equal(c->n_cells, 300);
    assert_int_equal(c->n_genes, 200);
    int64_t nnz = x.counts.indptr[300];
    assert_memory_equal(c->by_cell.indptr, x.counts.indptr, 301 * 8);
    assert_memory_equal(c->by_cell.indices, x.counts.indices, (size_t)nnz * 4);
    assert_memory_equal(c->by_cell.values, x.counts.values, (size_t)nnz * 4);
    assert_string_equal(cpt_strings_get(&c->cell_ids, 299), "cell\xce\xb1" "299");
    const cpt_column *label = cpt_table_find(&c->obs, "cell_type"),
                     *n = cpt_table_find(&c->obs, "n");
    assert_memory_equal(label->codes, x.codes, 300 * 4);
    assert_int_equal(label->categories.n, 3);
    assert_true(n->numbers[49] == (double)((int64_t)1 << 49));
    const cpt_column *score = cpt_table_find(&c->obs, "score"),
                     *dead = cpt_table_find(&c->obs, "dead");
    for (int i = 0; i < 300; i++) {
        assert_true(isnan(x.numbers[i]) ? isnan(score->numbers[i])
                                        : score->numbers[i] == x.numbers[i]);
        assert_true(dead->numbers[i] == (double)x.flags[i]);
    }
    assert_memory_equal(cpt_table_find(&c->obs, "a/b")->numbers, n->numbers, 300 * 8);
    assert_memory_equal(cpt_cells_obsm(c, "X_pca")->values, x.pca, 900 * 4);
    assert_int_equal(c->notes.n, 0);
    cpt_cells_free(c);
    free_example(&x);
}

/* Several chunks of whole rows, wider than a float: the importer's direct way. */
static void test_dense_counts(void **state)
{
    enum { N = 900, M = 300 };
    cpt_err err;
    char path[300], cache[300];
    cpt_strings obs = {0}, var = {0};
    cpt_cells *c;
    double *x = calloc(N * M, sizeof *x);
    for (int i = 0; i < N * M; i++) x[i] = i % 7 == 0 ? i % 1000 : 0;
    x[5] = 16777217; /* no float holds it */
    add_names(&obs, "c", N);
    add_names(&var, "g", M);
    snprintf(path, sizeof path, "%s/dense.h5ad", folder);
    snprintf(cache, sizeof cache, "%s/cache", folder);
    cpt_h5ad *f = cpt_h5ad_create(path, &obs, &var, &err);
    assert_non_null(f);
    assert_ok(cpt_h5ad_dense(f, "X", CPT_F64, x, &err));
    assert_ok(cpt_h5ad_finish(f, &err));
    assert_ok(cpt_import(path, cache, NULL, NULL, &err));
    assert_ok(cpt_cells_open(cache, &c, &err));
    for (int64_t i = 0; i < N; i++) {
        int64_t p = c->by_cell.indptr[i];
        for (int64_t j = 0; j < M; j++) {
            if (x[i * M + j] == 0) continue;
            assert_true(c->by_cell.indices[p] == j && c->by_cell.values[p] == (float)x[i * M + j]);
            p++;
        }
        assert_int_equal(p, c->by_cell.indptr[i + 1]);
    }
    assert_int_equal(c->notes.n, 1);
    assert_non_null(strstr(cpt_strings_get(&c->notes, 0), "rounded"));
    cpt_cells_free(c);
    cpt_strings_free(&obs);
    cpt_strings_free(&var);
    free(x);
}

static void test_same_bytes(void **state)
{
    cpt_err err;
    char path[300], first[65], again[65];
    example x;
    make_example(&x, 2000, 300);
    snprintf(path, sizeof path, "%s/b.h5ad", folder);
    omp_set_num_threads(1);
    write_example(&x, path);
    assert_ok(cpt_sha256_path(path, first, &err));
    sleep(1); /* a time stamp would have another second */
    omp_set_num_threads(2);
    write_example(&x, path);
    assert_ok(cpt_sha256_path(path, again, &err));
    assert_string_equal(first, again);
    free_example(&x);
}

static void test_empty(void **state)
{
    char path[300];
    example x;
    make_example(&x, 0, 0);
    snprintf(path, sizeof path, "%s/empty.h5ad", folder);
    write_example(&x, path);
    assert_true(cpt_path_exists(path));
    free_example(&x);
}

static void test_wrong_use(void **state)
{
    cpt_err err;
    char path[300];
    example x;
    make_example(&x, 5, 4);
    snprintf(path, sizeof path, "%s/nowhere/x.h5ad", folder);
    assert_null(cpt_h5ad_create(path, &x.obs, &x.var, &err));
    assert_non_null(strstr(err.text, "nowhere/x.h5ad: cannot be created"));
    snprintf(path, sizeof path, "%s/wrong.h5ad", folder);
    cpt_h5ad *f = cpt_h5ad_create(path, &x.obs, &x.var, &err);
    assert_non_null(f);
    assert_int_equal(cpt_h5ad_dense(f, "obsm/Y", CPT_F32, x.dense, &err), CPT_ERR_USAGE);
    assert_int_equal(cpt_h5ad_matrix(f, "uns/Y", 3, x.pca, &err), CPT_ERR_USAGE);
    assert_int_equal(cpt_h5ad_numbers(f, 'o', "_index", x.numbers, &err), CPT_ERR_USAGE);
    assert_int_equal(cpt_h5ad_uns_json(f, "a", "{\"x/y\": 1}", &err), CPT_ERR_USAGE);
    assert_int_equal(cpt_h5ad_uns_json(f, "b", "{", &err), CPT_ERR_USAGE);
    assert_ok(cpt_h5ad_numbers(f, 'o', "twice", x.numbers, &err));
    assert_int_equal(cpt_h5ad_numbers(f, 'o', "twice", x.numbers, &err), CPT_ERR_IO);
    cpt_h5ad_abandon(f);
    assert_false(cpt_path_exists(path));
    free_example(&x);
}

int main(int argc, char **argv)
{
    if (argc == 2) { /* an example for anndata to read */
        example x;
        make_example(&x, 2000, 300);
        write_example(&x, argv[1]);
        free_example(&x);
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_dense_counts),
        cmocka_unit_test(test_same_bytes),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_wrong_use),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}

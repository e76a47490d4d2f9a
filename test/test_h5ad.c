/* Reading .h5ad: every file of the golden set, damaged files, real files. */
#include "check.h"

#include "base/file.h"
#include "base/random.h"
#include "io/import.h"

#include <jansson.h>

static char cache[256], mutant[256];

static int make_cache_name(void **state)
{
    const char *root = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(cache, sizeof cache, "%s/cpt-test-h5ad-%ld", root, (long)getpid());
    snprintf(mutant, sizeof mutant, "%s/cpt-test-h5ad-%ld.h5ad", root, (long)getpid());
    return 0;
}

static int remove_cache(void **state)
{
    remove(mutant);
    return cpt_remove_tree(cache, NULL);
}

static json_t *load_manifest(const char *folder)
{
    char path[1200];
    json_error_t why;
    snprintf(path, sizeof path, "%s/manifest.json", folder);
    json_t *root = json_load_file(path, 0, &why);
    assert_non_null(root);
    return root;
}

static double number_at(const json_t *matrix, size_t i, size_t j)
{
    return json_number_value(json_array_get(json_array_get(matrix, i), j));
}

/* Values of a CSR matrix against nested lists, both ways round. */
static bool same_matrix(const cpt_cells *c, const json_t *want)
{
    for (int64_t i = 0; i < c->n_cells; i++) {
        int64_t p = c->by_cell.indptr[i];
        for (int32_t j = 0; j < c->n_genes; j++) {
            double x = number_at(want, (size_t)i, (size_t)j);
            bool stored = p < c->by_cell.indptr[i + 1] && c->by_cell.indices[p] == j;
            if (stored != (x != 0) || (stored && c->by_cell.values[p] != (float)x)) return false;
            p += stored;
        }
    }
    for (int32_t j = 0; j < c->n_genes; j++) {
        int64_t p = c->by_gene.indptr[j];
        for (int64_t i = 0; i < c->n_cells; i++) {
            double x = number_at(want, (size_t)i, (size_t)j);
            bool stored = p < c->by_gene.indptr[j + 1] && c->by_gene.indices[p] == i;
            if (stored != (x != 0) || (stored && c->by_gene.values[p] != (float)x)) return false;
            p += stored;
        }
    }
    return true;
}

/* Does a column say what the list says? Texts, numbers, booleans; null = missing. */
static bool same_column(const cpt_table *t, const char *name, const json_t *want)
{
    const cpt_column *c = cpt_table_find(t, name);
    char text[64];
    if (!c || (size_t)t->n_rows != json_array_size(want)) return false;
    for (int64_t i = 0; i < t->n_rows; i++) {
        const json_t *x = json_array_get(want, (size_t)i);
        bool missing = c->kind == CPT_COLUMN_CATEGORY ? c->codes[i] < 0 : isnan(c->numbers[i]);
        if (missing != json_is_null(x)) return false;
        if (missing) continue;
        if (c->kind == CPT_COLUMN_NUMBER) {
            double d = json_is_boolean(x) ? json_is_true(x) : json_number_value(x);
            if (c->numbers[i] != d && c->numbers[i] != (double)(float)d) return false;
            continue;
        }
        snprintf(text, sizeof text, "%s", json_is_string(x) ? json_string_value(x) : "");
        if (json_is_integer(x))
            snprintf(text, sizeof text, "%lld", (long long)json_integer_value(x));
        if (strcmp(cpt_strings_get(&c->categories, c->codes[i]), text) != 0) return false;
    }
    return true;
}

static bool same_ids(const cpt_strings *ids, const json_t *want)
{
    if ((size_t)ids->n != json_array_size(want)) return false;
    for (int64_t i = 0; i < ids->n; i++)
        if (strcmp(cpt_strings_get(ids, i), json_string_value(json_array_get(want, (size_t)i))) !=
            0)
            return false;
    return true;
}

static bool same_obsm(const cpt_cells *c, const json_t *want)
{
    const cpt_obsm *m = cpt_cells_obsm(c, "X_pca");
    if (!m || m->width != 3) return false;
    for (size_t i = 0; i < (size_t)c->n_cells; i++)
        for (size_t j = 0; j < 3; j++)
            if (m->values[i * 3 + j] != (float)number_at(want, i, j)) return false;
    return true;
}

static const json_t *dig(const json_t *o, const char *a, const char *b)
{
    return json_object_get(json_object_get(o, a), b);
}

/* The content that the manifest promises for one file; returns the first thing that differs. */
static const char *compare(const cpt_cells *c, const json_t *content, const json_t *file)
{
    const char *what = json_string_value(json_object_get(file, "content"));
    const json_t *extra = json_object_get(file, "extra"), *raw = json_object_get(content, "raw");
    static const char *const obs[] = {"cell_type", "donor", "n_counts", "score",
                                      "is_ok",     "stage", "flag"};
    const char *name = json_string_value(json_object_get(file, "file"));
    bool from_raw = strcmp(name, "raw_counts.h5ad") == 0,
         full = what && strncmp(what, "full", 4) == 0;
    bool old = strncmp(name, "layout_06", 9) == 0, only_07 = strcmp(name, "layout_07.h5ad") == 0;
    if (!same_ids(&c->cell_ids, json_object_get(content, "obs_names"))) return "obs_names";
    if (!same_ids(&c->gene_ids, json_object_get(from_raw ? raw : content, "var_names")))
        return "var_names";
    if (!same_matrix(c, json_object_get(from_raw ? raw : content, "X"))) return "X";
    if (!c->has_counts || !c->integer) return "has_counts, integer";
    for (int i = 0; i < 7; i++) {
        char key[64];
        snprintf(key, sizeof key, "obs.%s", obs[i]);
        const json_t *want = json_object_get(extra, key);
        bool promised = (i == 0 && what && strstr(what, "obs.cell_type")) || (old && i < 5) ||
                        (full && !(only_07 && i > 4));
        if (!want && promised) want = dig(content, "obs", obs[i]);
        if (want && !same_column(&c->obs, obs[i], want)) return obs[i];
    }
    const json_t *cluster = json_object_get(extra, "obs.cluster");
    if (cluster && !same_column(&c->obs, "cluster", cluster)) return "obs.cluster";
    bool symbols = (what && strstr(what, "var.gene_symbol")) || full || old;
    const char *symbol =
        strcmp(name, "var_feature_name.h5ad") == 0 ? "feature_name" : "gene_symbol";
    if (symbols && !same_column(&c->var, symbol, dig(content, "var", "gene_symbol"))) return symbol;
    if ((full || old) &&
        !same_column(&c->var, "highly_variable", dig(content, "var", "highly_variable")))
        return "highly_variable";
    if ((full || old) && !same_obsm(c, dig(content, "obsm", "X_pca"))) return "obsm.X_pca";
    return NULL;
}

static bool good_message(const char *text, const char *path)
{
    return strstr(text, path) && strlen(text) > strlen(path) + 20 && !strchr(text, '\n');
}

static void test_golden_set(void **state)
{
    NEED_SHARED(folder, "golden/h5ad");
    char path[1200];
    size_t i;
    int n_bad = 0, n_loaded = 0, n_refused = 0;
    json_t *root = load_manifest(folder), *file;
    const json_t *content = json_object_get(root, "content");
    json_array_foreach(json_object_get(root, "files"), i, file) {
        cpt_err err = {0};
        cpt_cells *c = NULL;
        const char *outcome = json_string_value(json_object_get(file, "outcome"));
        snprintf(path, sizeof path, "%s/%s", folder,
                 json_string_value(json_object_get(file, "file")));
        cpt_import_options options = {.need_counts = true, .silence_limit_s = 20};
        cpt_status status = cpt_import(path, cache, &options, NULL, &err);
        if (status == CPT_OK) assert_ok(cpt_cells_open(cache, &c, &err));
        const char *differs = NULL;
        if (strcmp(outcome, "load") == 0) differs = status ? err.text : compare(c, content, file);
        if (strcmp(outcome, "refuse") == 0 && !status) differs = "was not refused";
        if (status && (!good_message(err.text, path) || strstr(err.text, "crashed")))
            differs = err.text;
        if (getenv("CPT_SHOW")) printf("%s %s\n", status ? "-" : "+", status ? err.text : path);
        if (getenv("CPT_SHOW") && c)
            for (int64_t k = 0; k < c->notes.n; k++)
                printf("    %s\n", cpt_strings_get(&c->notes, k));
        if (differs) {
            print_error("%s: %s\n", path, differs);
            n_bad++;
        }
        n_loaded += status == CPT_OK;
        n_refused += status != CPT_OK;
        cpt_cells_free(c);
    }
    json_decref(root);
    assert_int_equal(n_bad, 0);
    assert_true(n_loaded >= 30 && n_refused >= 35);
}

/* ---- choices ---- */

static cpt_cells *import_golden(const char *folder, const char *name,
                                const cpt_import_options *options)
{
    cpt_err err;
    char path[1200];
    cpt_cells *c;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_ok(cpt_import(path, cache, options, NULL, &err));
    assert_ok(cpt_cells_open(cache, &c, &err));
    return c;
}

static void test_layer_choice(void **state)
{
    NEED_SHARED(folder, "golden/h5ad");
    static const struct { const char *layer, *from; bool fractions; int32_t n_genes; } cases[] = {
        {NULL, "X", false, 5}, {"X", "X", false, 5}, {"counts", "layers/counts", false, 5},
        {"raw", "raw/X", false, 8}, {"norm", "layers/norm", true, 5},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cpt_import_options o = {
            .need_counts = true, .layer = cases[i].layer, .allow_non_counts = cases[i].fractions};
        cpt_cells *c = import_golden(folder, "anndata08_full.h5ad", &o);
        assert_string_equal(c->counts_from, cases[i].from);
        assert_int_equal(c->n_genes, cases[i].n_genes);
        assert_int_equal(c->integer, !cases[i].fractions);
        assert_int_equal(c->notes.n, cases[i].fractions);
        cpt_cells_free(c);
    }
}

static void test_without_counts(void **state)
{
    NEED_SHARED(folder, "golden/h5ad");
    static const char *const files[] = {"anndata0114_no_X.h5ad", "bad_nan_count.h5ad",
                                        "fractional_count.h5ad"};
    for (int i = 0; i < 3; i++) {
        cpt_import_options o = {.need_counts = false};
        cpt_cells *c = import_golden(folder, files[i], &o);
        assert_false(c->has_counts);
        assert_int_equal(c->notes.n, 1);
        cpt_cells_free(c);
    }
    cpt_import_options o = {.need_counts = false, .layer = "none"};
    cpt_cells *c = import_golden(folder, "anndata08_full.h5ad", &o);
    assert_false(c->has_counts);
    assert_int_equal(c->n_obsm, 1);
    cpt_cells_free(c);
}

static void test_wrong_choice(void **state)
{
    NEED_SHARED(folder, "golden/h5ad");
    cpt_err err;
    char path[1200];
    snprintf(path, sizeof path, "%s/anndata08_full.h5ad", folder);
    cpt_import_options o = {.need_counts = true, .layer = "nothing"};
    assert_int_equal(cpt_import(path, cache, &o, NULL, &err), CPT_ERR_DATA);
    assert_non_null(strstr(err.text, "layers: has no nothing"));
    o = (cpt_import_options){.need_counts = true, .obsm = "X_umap"};
    assert_int_equal(cpt_import(path, cache, &o, NULL, &err), CPT_ERR_DATA);
    assert_non_null(strstr(err.text, "obsm: has no X_umap; it has X_pca"));
    o = (cpt_import_options){.need_counts = true, .layer = "norm"};
    assert_int_equal(cpt_import(path, cache, &o, NULL, &err), CPT_ERR_DATA);
    assert_non_null(strstr(err.text, "layers/norm: its values are not whole numbers"));
    int stop = 1;
    cpt_context ctx = {.n_threads = 1, .stop = &stop};
    assert_int_equal(cpt_import(path, cache, NULL, &ctx, &err), CPT_ERR_INTERRUPTED);
    assert_false(cpt_path_exists(cache));
}

static void test_inspect(void **state)
{
    NEED_SHARED(folder, "golden/h5ad");
    cpt_err err;
    char path[1200], *json;
    json_error_t why;
    snprintf(path, sizeof path, "%s/anndata08_full.h5ad", folder);
    assert_ok(cpt_import_inspect(path, &json, &err));
    json_t *root = json_loads(json, 0, &why);
    assert_int_equal(json_integer_value(json_object_get(root, "n_cells")), 7);
    assert_non_null(dig(root, "obsm", "X_pca"));
    json_decref(root);
    free(json);
    snprintf(path, sizeof path, "%s/links.h5ad", folder);
    assert_ok(cpt_import_inspect(path, &json, &err));
    assert_non_null(strstr(json, "a link, not followed"));
    free(json);
}

/* ---- damage ---- */

/* Bytes changed at random, mostly in the first 4 KiB where the structure is. Whatever comes of it,
 * this process lives and gets a status with a text. */
static void test_mutants(void **state)
{
    NEED_SHARED(folder, "golden/h5ad");
    static const char *const files[] = {"csr_gzip_chunks.h5ad",  "newest_full.h5ad",
                                        "dense_lzf.h5ad",        "csr_f32_latest.h5ad",
                                        "layout_06_sparse.h5ad", "csc_u16_gzip.h5ad"};
    enum { N_FILES = sizeof files / sizeof *files, PER_FILE = 50 };
    const char *more = getenv("CPT_MUTANTS");
    int per_file = more ? atoi(more) : PER_FILE, n_loaded = 0, n_crashed = 0;
    for (int i = 0; i < N_FILES * per_file; i++) {
        cpt_err err = {0};
        cpt_map map;
        cpt_stream s;
        char path[1200];
        snprintf(path, sizeof path, "%s/%s", folder, files[i % N_FILES]);
        assert_ok(cpt_map_open(path, &map, &err));
        unsigned char *bytes = malloc(map.size);
        memcpy(bytes, map.bytes, map.size);
        cpt_stream_init(&s, 11, CPT_RANDOM_TEST, (uint64_t)i);
        for (uint64_t k = 1 + cpt_stream_below(&s, 8); k; k--) {
            size_t span = cpt_stream_below(&s, 2) && map.size > 4096 ? 4096 : map.size;
            bytes[cpt_stream_below(&s, span)] = (unsigned char)cpt_stream_below(&s, 256);
        }
        assert_ok(cpt_write_file(mutant, bytes, map.size, &err));
        cpt_import_options options = {.need_counts = i & 1, .silence_limit_s = 3};
        cpt_status status = cpt_import(mutant, cache, &options, NULL, &err);
        if (status && (!strstr(err.text, mutant) || err.code != status))
            fail_msg("mutant %d: %s", i, err.text);
        n_loaded += status == CPT_OK;
        n_crashed += status != CPT_OK && strstr(err.text, "crashed") != NULL;
        free(bytes);
        cpt_map_close(&map);
    }
    if (getenv("CPT_SHOW")) printf("%d loaded, %d crashed the child\n", n_loaded, n_crashed);
    assert_true(n_loaded > 0 && n_loaded < N_FILES * per_file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_set),   cmocka_unit_test(test_layer_choice),
        cmocka_unit_test(test_without_counts), cmocka_unit_test(test_wrong_choice),
        cmocka_unit_test(test_inspect),      cmocka_unit_test(test_mutants),
    };
    return cmocka_run_group_tests(tests, make_cache_name, remove_cache);
}

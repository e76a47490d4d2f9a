/* 10x folders and 10x .h5: versions 2 and 3, plain and gzip, any order of entries, wrong input. */
#include "check.h"

#include "base/file.h"
#include "io/import.h"

#include <hdf5.h>
#include <zlib.h>

static char root[200], cache[256];

static int make_root(void **state)
{
    cpt_err err;
    const char *where = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(root, sizeof root, "%s/cpt-test-tenx-%ld", where, (long)getpid());
    snprintf(cache, sizeof cache, "%s/cache", root);
    return cpt_make_folder(root, &err);
}

static int remove_root(void **state)
{
    return cpt_remove_tree(root, NULL);
}

static void put(const char *folder, const char *name, const char *text)
{
    cpt_err err;
    char path[600];
    assert_ok(cpt_make_folder(folder, &err));
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (!strstr(name, ".gz")) {
        assert_ok(cpt_write_file(path, text, strlen(text), &err));
        return;
    }
    gzFile gz = gzopen(path, "wb");
    assert_int_equal(gzwrite(gz, text, (unsigned)strlen(text)), (int)strlen(text));
    gzclose(gz);
}

static const char barcodes[] = "AAA-1\nCCC-1\nGGG-1\n";
static const char genes_v2[] = "ENSG1\tCD3D\nENSG2\tLYZ\nENSG3\tNKG7\nENSG4\tCD4\n";
static const char features_v3[] = "ENSG1\tCD3D\tGene Expression\nENSG2\tLYZ\tGene Expression\n"
                                  "AB1\tCD19_prot\tAntibody Capture\nENSG4\tCD4\tGene Expression\n";
static const char banner[] =
    "%%MatrixMarket matrix coordinate integer general\n%metadata_json: {}\n";
/* cell 0: gene 0 = 3, gene 3 = 1; cell 2: gene 1 = 70000, gene 2 = 5 */
static const char sorted[] = "4 3 4\n1 1 3\n4 1 1\n2 3 70000\n3 3 5\n";
static const char by_gene[] = "4 3 4\n1 1 3\n2 3 70000\n3 3 5\n4 1 1\n";
static const char swapped[] = "3 4 4\n1 1 3\n1 4 1\n3 2 70000\n3 3 5\n";

static void make_folder_of(const char *folder, const char *matrix, bool zipped, bool version3)
{
    char text[2000];
    cpt_remove_tree(folder, NULL);
    snprintf(text, sizeof text, "%s%s", banner, matrix);
    put(folder, zipped ? "barcodes.tsv.gz" : "barcodes.tsv", barcodes);
    if (version3) put(folder, zipped ? "features.tsv.gz" : "features.tsv", features_v3);
    else put(folder, zipped ? "genes.tsv.gz" : "genes.tsv", genes_v2);
    put(folder, zipped ? "matrix.mtx.gz" : "matrix.mtx", text);
}

static void check_counts(const cpt_cells *c, bool version3)
{
    static const int64_t indptr4[] = {0, 2, 2, 4}, indptr3[] = {0, 2, 2, 3};
    static const int32_t indices4[] = {0, 3, 1, 2}, indices3[] = {0, 2, 1};
    static const float values4[] = {3, 1, 70000, 5}, values3[] = {3, 1, 70000};
    int n = version3 ? 3 : 4;
    assert_int_equal(c->n_cells, 3);
    assert_int_equal(c->n_genes, n);
    assert_memory_equal(c->by_cell.indptr, version3 ? indptr3 : indptr4, sizeof indptr4);
    assert_memory_equal(c->by_cell.indices, version3 ? indices3 : indices4, (size_t)n * 4);
    assert_memory_equal(c->by_cell.values, version3 ? values3 : values4, (size_t)n * 4);
    assert_string_equal(cpt_strings_get(&c->cell_ids, 2), "GGG-1");
    assert_string_equal(cpt_strings_get(&c->gene_ids, n - 1), "ENSG4");
    const cpt_column *symbol = cpt_table_find(&c->var, "gene_symbol");
    assert_non_null(symbol);
    assert_string_equal(cpt_strings_get(&symbol->categories, symbol->codes[1]), "LYZ");
    assert_true(c->integer);
    assert_int_equal(c->notes.n, version3); /* the antibody was left out */
}

static void import_and_check(const char *path, bool version3)
{
    cpt_err err;
    cpt_cells *c;
    assert_ok(cpt_import(path, cache, NULL, NULL, &err));
    assert_ok(cpt_cells_open(cache, &c, &err));
    check_counts(c, version3);
    cpt_cells_free(c);
}

static void test_folders(void **state)
{
    static const char *const matrices[] = {sorted, by_gene, swapped};
    char folder[256];
    snprintf(folder, sizeof folder, "%s/folder", root);
    for (int i = 0; i < 12; i++) {
        make_folder_of(folder, matrices[i / 4], i & 1, i & 2);
        import_and_check(folder, i & 2);
    }
}

static void test_inspect_folder(void **state)
{
    cpt_err err;
    char folder[256], *json;
    snprintf(folder, sizeof folder, "%s/folder", root);
    make_folder_of(folder, sorted, true, true);
    assert_ok(cpt_import_inspect(folder, &json, &err));
    assert_non_null(strstr(json, "\"n_cells\": 3"));
    free(json);
}

/* A folder of version 2 with this matrix (banner and all) must be refused with this text. */
static void refuse(const char *matrix, const char *says)
{
    cpt_err err = {0};
    char folder[256];
    snprintf(folder, sizeof folder, "%s/folder", root);
    make_folder_of(folder, "", false, false);
    put(folder, "matrix.mtx", matrix);
    if (cpt_import(folder, cache, NULL, NULL, &err) == CPT_OK) fail_msg("not refused: %s", says);
    if (!strstr(err.text, says) || !strstr(err.text, folder))
        fail_msg("\"%s\" does not say \"%s\"", err.text, says);
    assert_false(cpt_path_exists(cache));
}

static void test_bad_matrices(void **state)
{
    static const char b[] = "%%MatrixMarket matrix coordinate integer general\n";
    char text[2000];
    static const struct { const char *lines, *says; } cases[] = {
        {"4 3 2\n1 1 3\n", "1 entries, but the header says 2"},
        {"4 3 1\n1 1 3\n2 1 3\n", "line 4: more entries than the header says (1)"},
        {"4 3 1\n5 1 3\n", "line 3: entry (5, 1) is outside"},
        {"4 3 1\n0 1 3\n", "line 3: entry (0, 1) is outside"},
        {"4 3 1\n1 4 3\n", "is outside"},
        {"4 3 1\n1 1 -3\n", "line 3: a count is negative"},
        {"4 3 1\n1 1 nan\n", "line 3: a count is negative or not a number"},
        {"4 3 1\n1 1\n", "line 3: a row, a column and a count are expected"},
        {"4 3 1\n1 x 1\n", "line 3: a row, a column"},
        {"4 3 1\n99999999999999999999 1 1\n", "line 3: a row, a column"},
        {"4 4 1\n1 1 1\n", "do not belong together"},
        {"4 3\n1 1 1\n", "three sizes are expected"},
        {"4 3 2\n1 1 3\n1 1 3\n", "row 0, column 0: the entry occurs twice"},
        {"4 3 1\n1 1 0\n", "all counts are zero"},
        {"4 3 1\n1 1 1.5\n", "not whole numbers"},
        {"", "ends before its sizes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(text, sizeof text, "%s%s", b, cases[i].lines);
        refuse(text, cases[i].says);
    }
    refuse("1,2,3\n", "line 1: is not a MatrixMarket header");
    refuse("%%MatrixMarket matrix coordinate integer symmetric\n4 3 0\n", "only general matrices");
    refuse("%%MatrixMarket matrix coordinate pattern general\n4 3 0\n", "only integer and real");
    refuse("", "is empty");
}

static void test_missing_files(void **state)
{
    cpt_err err;
    char folder[256], path[300];
    cpt_input_kind kind;
    snprintf(folder, sizeof folder, "%s/folder", root);
    make_folder_of(folder, sorted, false, false);
    snprintf(path, sizeof path, "%s/barcodes.tsv", folder);
    remove(path);
    assert_int_equal(cpt_import(folder, cache, NULL, NULL, &err), CPT_ERR_IO);
    assert_non_null(strstr(err.text, "has no barcodes.tsv"));
    snprintf(path, sizeof path, "%s/matrix.mtx", folder);
    assert_int_equal(cpt_import(path, cache, NULL, NULL, &err), CPT_ERR_FORMAT);
    assert_non_null(strstr(err.text, "give the folder"));
    remove(path);
    assert_int_equal(cpt_import(folder, cache, NULL, NULL, &err), CPT_ERR_FORMAT);
    assert_non_null(strstr(err.text, "without matrix.mtx"));
    snprintf(path, sizeof path, "%s/outs/filtered_feature_bc_matrix", root);
    assert_ok(cpt_make_folder(path, &err));
    snprintf(path, sizeof path, "%s/outs", root);
    assert_int_equal(cpt_input_detect(path, &kind, &err), CPT_ERR_USAGE);
    assert_non_null(strstr(err.text, "give "));
    assert_int_equal(cpt_input_detect("/nowhere/at/all", &kind, &err), CPT_ERR_IO);
}

/* ---- .h5 ---- */

static void put_numbers(hid_t file, const char *name, hid_t stored, hid_t memory, hsize_t n,
                        const void *values)
{
    hid_t space = H5Screate_simple(1, &n, NULL);
    hid_t id = H5Dcreate2(file, name, stored, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(id >= 0 && H5Dwrite(id, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    H5Dclose(id);
    H5Sclose(space);
}

static void put_fixed(hid_t file, const char *name, hsize_t n, const char *texts, size_t width)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, width);
    put_numbers(file, name, type, type, n, texts);
    H5Tclose(type);
}

static hid_t make_h5(const char *path, const char *group, bool version3)
{
    char name[100];
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    hid_t g = H5Gcreate2(file, group, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
#define AT(x) (snprintf(name, sizeof name, "%s/%s", group, x), name)
    put_fixed(file, AT("barcodes"), 3, "AAA-1\0CCC-1\0GGG-1", 6);
    put_numbers(file, AT("data"), H5T_STD_I32LE, H5T_NATIVE_INT, 4, (int[]){3, 1, 70000, 5});
    put_numbers(file, AT("indices"), H5T_STD_I64LE, H5T_NATIVE_INT, 4, (int[]){0, 3, 1, 2});
    put_numbers(file, AT("indptr"), H5T_STD_I64LE, H5T_NATIVE_INT, 4, (int[]){0, 2, 2, 4});
    put_numbers(file, AT("shape"), H5T_STD_I32LE, H5T_NATIVE_INT, 2, (int[]){4, 3});
    if (version3) {
        H5Gclose(H5Gcreate2(file, AT("features"), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
        put_fixed(file, AT("features/id"), 4, "ENSG1ENSG2AB1\0\0ENSG4", 5);
        put_fixed(file, AT("features/name"), 4, "CD3DLYZ\0CD19CD4\0", 4);
        put_fixed(file, AT("features/feature_type"), 4,
                  "Gene Expression\0Gene Expression\0AntibodyCapture\0Gene Expression\0", 16);
    } else {
        put_fixed(file, AT("genes"), 4, "ENSG1ENSG2ENSG3ENSG4", 5);
        put_fixed(file, AT("gene_names"), 4, "CD3DLYZ\0NKG7CD4\0", 4);
    }
#undef AT
    H5Gclose(g);
    return file;
}

static void test_h5(void **state)
{
    cpt_err err;
    char path[300], *json;
    snprintf(path, sizeof path, "%s/x.h5", root);
    H5Fclose(make_h5(path, "matrix", true));
    import_and_check(path, true);
    H5Fclose(make_h5(path, "GRCh38", false));
    import_and_check(path, false);
    assert_ok(cpt_import_inspect(path, &json, &err));
    assert_non_null(strstr(json, "10x .h5"));
    free(json);
}

static void test_bad_h5(void **state)
{
    cpt_err err;
    char path[300];
    snprintf(path, sizeof path, "%s/x.h5", root);
    hid_t file = make_h5(path, "GRCh38", false);
    H5Lcopy(file, "GRCh38", file, "mm10", H5P_DEFAULT, H5P_DEFAULT);
    hid_t g = H5Gcreate2(file, "other", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    H5Gclose(g);
    H5Fclose(file);
    assert_int_equal(cpt_import(path, cache, NULL, NULL, &err), CPT_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "2 genomes"));
    file = make_h5(path, "matrix", false);
    H5Ldelete(file, "matrix/shape", H5P_DEFAULT);
    put_numbers(file, "matrix/shape", H5T_STD_I32LE, H5T_NATIVE_INT, 2, (int[]){4, 9});
    H5Fclose(file);
    assert_int_equal(cpt_import(path, cache, NULL, NULL, &err), CPT_ERR_FORMAT);
    assert_non_null(strstr(err.text, "matrix/shape: says 4 x 9"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_folders), cmocka_unit_test(test_inspect_folder),
        cmocka_unit_test(test_bad_matrices), cmocka_unit_test(test_missing_files),
        cmocka_unit_test(test_h5), cmocka_unit_test(test_bad_h5),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}

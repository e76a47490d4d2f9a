/* Arrays read past the HDF5 library: every type and layout, any rows, any threads; hostile addresses. */
#include "check.h"

#include "base/memory.h"
#include "base/random.h"
#include "io/h5_util.h"

enum { ROWS = 20000, BIG = 1 << 20 };
static char path[256];

static int name_file(void **state)
{
    snprintf(path, sizeof path, "/tmp/cpt-test-chunks-%ld.h5", (long)getpid());
    return 0;
}

static int remove_file(void **state)
{
    remove(path);
    return 0;
}

typedef enum layout { CONTIGUOUS, PLAIN, GZIP, SHUFFLED, N_LAYOUTS } layout;

static double value_at(int64_t i, int64_t j)
{
    cpt_stream s;
    cpt_stream_init(&s, 3, CPT_RANDOM_TEST, (uint64_t)(i * 8 + j));
    return (double)cpt_stream_below(&s, 120) - 3 * (i % 2);
}

/* [ROWS][width] of value_at. */
static void put(hid_t file, const char *name, hid_t type, layout how, int64_t width, hsize_t rows)
{
    hsize_t shape[2] = {ROWS, (hsize_t)width}, chunk[2] = {rows, (hsize_t)width};
    int rank = width > 1 ? 2 : 1;
    double *values;
    assert_int_equal(cpt_alloc(&values, (size_t)(ROWS * width), sizeof *values, NULL), CPT_OK);
    for (int64_t i = 0; i < ROWS * width; i++) values[i] = value_at(i / width, i % width);
    hid_t plist = H5Pcreate(H5P_DATASET_CREATE), space = H5Screate_simple(rank, shape, NULL);
    if (how != CONTIGUOUS) H5Pset_chunk(plist, rank, chunk);
    if (how == SHUFFLED) H5Pset_shuffle(plist);
    if (how == GZIP || how == SHUFFLED) H5Pset_deflate(plist, 1);
    hid_t id = H5Dcreate2(file, name, type, space, H5P_DEFAULT, plist, H5P_DEFAULT);
    assert_true(id >= 0);
    assert_true(H5Dwrite(id, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    H5Dclose(id);
    H5Sclose(space);
    H5Pclose(plist);
    free(values);
}

/* Rows [first, first + n) as doubles and as integers. */
static void check_rows(const h5_array *a, int64_t first, int64_t n, int64_t width)
{
    static double reals[ROWS * 3];
    static int32_t integers[ROWS * 3];
    cpt_err err;
    assert_ok(h5_array_read(a, first, n, H5T_NATIVE_DOUBLE, reals, &err));
    assert_ok(h5_array_read(a, first, n, H5T_NATIVE_INT32, integers, &err));
    for (int64_t i = 0; i < n * width; i++) {
        double want = value_at(first + i / width, i % width);
        if (a->class == H5_IS_INTEGER && want < 0 && H5Tget_sign(a->type) == H5T_SGN_NONE) want = 0;
        assert_true(reals[i] == want);
        assert_true(integers[i] == (int32_t)want);
    }
}

static void check_array(const h5_file *f, const char *name, int64_t width)
{
    cpt_err err;
    h5_array a;
    cpt_stream s;
    assert_ok(h5_array_open(f, name, &a, &err));
    assert_non_null(a.chunks);
    check_rows(&a, 0, ROWS, width);
    cpt_stream_init(&s, 9, CPT_RANDOM_TEST, (uint64_t)f->n_threads);
    for (int i = 0; i < 20; i++) {
        int64_t first = (int64_t)cpt_stream_below(&s, ROWS),
                n = 1 + (int64_t)cpt_stream_below(&s, (uint64_t)(ROWS - first));
        check_rows(&a, first, n, width);
    }
    for (int64_t first = 0; first < ROWS; first += 1777) /* block after block, as the import does */
        check_rows(&a, first, ROWS - first < 1777 ? ROWS - first : 1777, width);
    h5_array_close(&a);
}

static void test_types_and_layouts(void **state)
{
    const hid_t types[] = {H5T_NATIVE_INT8,   H5T_NATIVE_UINT8, H5T_NATIVE_INT16,  H5T_NATIVE_UINT16,
                           H5T_NATIVE_INT32,  H5T_NATIVE_UINT32, H5T_NATIVE_INT64, H5T_NATIVE_UINT64,
                           H5T_NATIVE_FLOAT,  H5T_NATIVE_DOUBLE, H5T_IEEE_F32BE};
    cpt_err err;
    h5_file f;
    char name[32];
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    for (size_t t = 0; t < sizeof types / sizeof *types; t++)
        for (int how = 0; how < N_LAYOUTS; how++) {
            snprintf(name, sizeof name, "a%d%d", (int)t, how);
            put(file, name, types[t], (layout)how, 1 + (int64_t)t % 3, how == GZIP ? 5000 : 4099);
        }
    H5Fclose(file);
    assert_ok(h5_open(path, &f, &err));
    for (f.n_threads = 1; f.n_threads <= 5; f.n_threads += 4)
        for (size_t t = 0; t < sizeof types / sizeof *types - 1; t++)
            for (int how = 0; how < N_LAYOUTS; how++) {
                snprintf(name, sizeof name, "a%d%d", (int)t, how);
                check_array(&f, name, 1 + (int64_t)t % 3);
            }
    h5_array a; /* numbers of another machine are the library's to read */
    assert_ok(h5_array_open(&f, "a102", &a, &err));
    assert_null(a.chunks);
    check_rows(&a, 100, 900, 2);
    h5_array_close(&a);
    h5_close(&f);
}

/* Integers that do not fit saturate, as the library has them: a check afterwards sees them. */
static void test_saturation(void **state)
{
    const int64_t wide[] = {INT64_MAX, INT64_MIN, 1LL << 31, -(1LL << 31) - 1, 5};
    const uint64_t unsigned_wide[] = {UINT64_MAX, 1ULL << 63, 1ULL << 31, 5, 0};
    const int32_t want[] = {INT32_MAX, INT32_MIN, INT32_MAX, INT32_MIN, 5};
    cpt_err err;
    h5_file f;
    h5_array a;
    int32_t narrow[5];
    int64_t back[5];
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    hid_t space = H5Screate_simple(1, &(hsize_t){5}, NULL);
    hid_t id = H5Dcreate2(file, "i", H5T_NATIVE_INT64, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    H5Dwrite(id, H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, wide);
    H5Dclose(id);
    id = H5Dcreate2(file, "u", H5T_NATIVE_UINT64, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    H5Dwrite(id, H5T_NATIVE_UINT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, unsigned_wide);
    H5Dclose(id);
    H5Sclose(space);
    H5Fclose(file);
    assert_ok(h5_open(path, &f, &err));
    assert_ok(h5_array_open(&f, "i", &a, &err));
    assert_non_null(a.chunks);
    assert_ok(h5_array_read(&a, 0, 5, H5T_NATIVE_INT32, narrow, &err));
    assert_memory_equal(narrow, want, sizeof want);
    h5_array_close(&a);
    assert_ok(h5_array_open(&f, "u", &a, &err));
    assert_ok(h5_array_read(&a, 0, 5, H5T_NATIVE_INT64, back, &err));
    assert_true(back[0] == INT64_MAX && back[1] == INT64_MAX && back[2] == 1LL << 31 && back[3] == 5);
    h5_array_close(&a);
    h5_close(&f);
}

/* ---- files that lie about where their chunks are ---- */

/* Two chunks; tells where the second lies. */
static void make_two_chunks(uint64_t *address, uint64_t *stored)
{
    hsize_t second[1] = {ROWS / 2}, size;
    haddr_t where;
    unsigned mask;
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    put(file, "x", H5T_NATIVE_INT32, GZIP, 1, ROWS / 2);
    hid_t id = H5Dopen2(file, "x", H5P_DEFAULT);
    assert_true(H5Dget_chunk_info_by_coord(id, second, &mask, &where, &size) >= 0);
    *address = where;
    *stored = size;
    H5Dclose(id);
    H5Fclose(file);
}

/* Replaces the only place in the file that holds these bytes. */
static void patch(const void *old, const void *new, size_t n)
{
    static unsigned char bytes[BIG];
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    size_t size = fread(bytes, 1, sizeof bytes, file), at = 0, found = 0;
    for (size_t i = 0; i + n <= size; i++)
        if (memcmp(bytes + i, old, n) == 0) at = i, found++;
    assert_int_equal(found, 1);
    fseek(file, (long)at, SEEK_SET);
    assert_int_equal(fwrite(new, 1, n, file), n);
    fclose(file);
}

static void expect_refusal(const char *text)
{
    static int32_t values[ROWS];
    cpt_err err = {0};
    h5_file f;
    h5_array a;
    assert_ok(h5_open(path, &f, &err));
    f.n_threads = 3;
    assert_ok(h5_array_open(&f, "x", &a, &err));
    assert_int_equal(h5_array_read(&a, 0, ROWS, H5T_NATIVE_INT32, values, &err), CPT_ERR_FORMAT);
    assert_non_null(strstr(err.text, text));
    h5_array_close(&a);
    h5_close(&f);
}

static void test_address_beyond_the_file(void **state)
{
    uint64_t address, stored, far = 1ULL << 40;
    make_two_chunks(&address, &stored);
    patch(&address, &far, sizeof far);
    expect_refusal("beyond the end");
}

/* In the index the size stands before the filter mask and the offset of the chunk. */
static void test_size_beyond_the_file(void **state)
{
    uint64_t address, stored;
    make_two_chunks(&address, &stored);
    struct {
        uint32_t size, mask;
        uint64_t offset;
    } old = {(uint32_t)stored, 0, ROWS / 2}, new = old;
    new.size = 60000; /* within what a chunk may take, not within the file */
    FILE *file = fopen(path, "rb");
    fseek(file, 0, SEEK_END);
    assert_true((uint64_t)ftell(file) < address + new.size);
    fclose(file);
    patch(&old, &new, sizeof new);
    expect_refusal("beyond the end");
    make_two_chunks(&address, &stored);
    new.size = 1U << 31;
    patch(&old, &new, sizeof new);
    expect_refusal("impossible");
}

/* A sound stream of another length, and one that is none. */
static void test_inflated_size(void **state)
{
    /* zlib.compress(b"") */
    static const unsigned char empty[] = {0x78, 0x9c, 0x03, 0x00, 0x00, 0x00, 0x00, 0x01};
    uint64_t address, stored;
    for (int i = 0; i < 2; i++) {
        make_two_chunks(&address, &stored);
        FILE *file = fopen(path, "r+b");
        fseek(file, (long)address, SEEK_SET);
        if (i) fwrite(empty, 1, sizeof empty, file);
        else fputc(0xff, file);
        fclose(file);
        expect_refusal("cannot be decompressed");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types_and_layouts),
        cmocka_unit_test(test_saturation),
        cmocka_unit_test(test_address_beyond_the_file),
        cmocka_unit_test(test_size_beyond_the_file),
        cmocka_unit_test(test_inflated_size),
    };
    return cmocka_run_group_tests(tests, name_file, remove_file);
}

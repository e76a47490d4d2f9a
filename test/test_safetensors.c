/* .safetensors: golden files, round trips, exact conversion of every element type, hostile headers.
 */
#include "check.h"

#include "base/file.h"
#include "io/checkpoint.h"

#include <jansson.h>
#include <unistd.h>

static cpt_err err;
static char scratch[256];

static const char *scratch_path(const char *name)
{
    snprintf(scratch, sizeof scratch, "/tmp/cpt-safetensors-%d-%s", (int)getpid(), name);
    return scratch;
}

/* A file with the given header text (length computed unless `length` is not -1) and data. */
static const char *craft(const char *header, int64_t length, size_t n_data)
{
    const char *path = scratch_path("crafted");
    unsigned char bytes[8], data[256] = {0};
    uint64_t n = length < 0 ? strlen(header) : (uint64_t)length;
    for (int i = 0; i < 8; i++) bytes[i] = (unsigned char)(n >> 8 * i);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fwrite(bytes, 1, 8, f);
    fwrite(header, 1, strlen(header), f);
    fwrite(data, 1, n_data, f);
    fclose(f);
    return path;
}

static void refuse(const char *header, int64_t length, size_t n_data, cpt_status code,
                   const char *what)
{
    cpt_checkpoint *c;
    const char *path = craft(header, length, n_data);
    assert_int_equal(cpt_checkpoint_open(path, &c, &err), code);
    assert_null(c);
    if (!strstr(err.text, path) || !strstr(err.text, what)) {
        print_error("header %s: error '%s' does not name the file or '%s'\n", header, err.text,
                    what);
        fail();
    }
    unlink(path);
}

static void test_refusals(void **state)
{
#define T(shape, range) "{\"w\":{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":" range "}}"
    refuse(T("[2,2]", "[0,16]"), -1, 15, CPT_ERR_FORMAT, "lie outside of the file");
    refuse(T("[2,2]", "[0,16]"), -1, 17, CPT_ERR_FORMAT, "belong to no tensor");
    refuse(T("[2,2]", "[4,20]"), -1, 20, CPT_ERR_FORMAT, "hole in front");
    refuse(T("[2,3]", "[0,16]"), -1, 16, CPT_ERR_FORMAT, "disagree");
    refuse(T("[2,2]", "[16,0]"), -1, 16, CPT_ERR_FORMAT, "outside");
    refuse(T("[2,2]", "[0]"), -1, 16, CPT_ERR_FORMAT, "data_offsets");
    refuse(T("[2,2]", "[0.0,16]"), -1, 16, CPT_ERR_FORMAT, "data_offsets");
    refuse(T("[-2,-2]", "[0,16]"), -1, 16, CPT_ERR_FORMAT, "shape");
    refuse(T("[4611686018427387904,4]", "[0,0]"), -1, 0, CPT_ERR_FORMAT, "shape");
    refuse(T("[0,4611686018427387904,4]", "[0,0]"), -1, 0, CPT_ERR_FORMAT, "shape");
    refuse(T("[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", "[0,4]"), -1, 4, CPT_ERR_FORMAT, "shape");
    refuse(T("[2,2]", "[0,9223372036854775808]"), -1, 16, CPT_ERR_FORMAT, "integer");
    refuse("{\"w\":{\"dtype\":\"F8_E4M3\",\"shape\":[1],\"data_offsets\":[0,1]}}", -1, 1,
           CPT_ERR_UNSUPPORTED, "convert it to F32");
    refuse("{\"w\":3}", -1, 0, CPT_ERR_UNSUPPORTED, "'w'");
    refuse("{\"__metadata__\":[]}", -1, 0, CPT_ERR_FORMAT, "__metadata__");
    refuse("{\"__metadata__\":{\"a\":1}}", -1, 0, CPT_ERR_FORMAT, "'a' is not a text");
    refuse("{", -1, 0, CPT_ERR_FORMAT, "header, byte");
    refuse("{}", 1000, 0, CPT_ERR_FORMAT, "cut off");
    refuse("{}", INT64_MAX, 0, CPT_ERR_FORMAT, "cut off");
}

/* A header of 0x80 bytes, or 0x280, begins as a pickle does, one of 0x8b1f as gzip. */
static void test_lengths_that_look_like_other_formats(void **state)
{
    static const size_t lengths[] = {0x50, 0x80, 0x93, 0x280, 0x480, 0xb528, 0x8b1f, 0x5a42};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        char *header = malloc(lengths[i] + 1);
        cpt_checkpoint *c;
        memset(header, ' ', lengths[i]);
        header[lengths[i]] = 0;
        memcpy(header, T("[2,2]", "[0,16]"), sizeof T("[2,2]", "[0,16]") - 1);
        assert_ok(cpt_checkpoint_open(craft(header, -1, 16), &c, &err));
        assert_int_equal(c->n_tensors, 1);
        cpt_checkpoint_free(c);
        unlink(scratch);
        free(header);
    }
}

static void test_empty_file_of_no_tensors(void **state)
{
    cpt_checkpoint *c;
    assert_ok(cpt_checkpoint_open(craft("{}", -1, 0), &c, &err));
    assert_int_equal(c->n_tensors, 0);
    assert_null(cpt_checkpoint_find(c, "w"));
    assert_null(c->root);
    cpt_checkpoint_free(c);
    cpt_checkpoint_free(NULL);
    unlink(scratch);
}

/* Sums, first values and shape as in a manifest entry. */
static void check_against(const cpt_tensor *t, const json_t *want)
{
    double sum = 0, *x = calloc((size_t)t->n_items + 1, sizeof *x);
    const json_t *shape = json_object_get(want, "shape");
    assert_string_equal(cpt_dtype_name(t->dtype),
                        json_string_value(json_object_get(want, "dtype")));
    assert_int_equal(t->n_dims, json_array_size(shape));
    for (int i = 0; i < t->n_dims; i++)
        assert_int_equal(t->shape[i], json_integer_value(json_array_get(shape, (size_t)i)));
    assert_ok(cpt_tensor_read_f64(t, x, &err));
    for (int64_t i = 0; i < t->n_items; i++) sum += x[i];
    assert_near(sum, json_number_value(json_object_get(want, "sum")), 0);
    free(x);
}

static void test_golden_manifest(void **state)
{
    NEED_SHARED(folder, "golden/checkpoints");
    char path[1200];
    size_t i;
    int n_checked = 0;
    json_t *entry, *tensor;
    const char *name;
    snprintf(path, sizeof path, "%s/manifest.json", folder);
    json_t *manifest = json_load_file(path, 0, NULL);
    assert_non_null(manifest);
    json_array_foreach(json_object_get(manifest, "files"), i, entry) {
        const char *file = json_string_value(json_object_get(entry, "file"));
        const char *outcome = json_string_value(json_object_get(entry, "outcome"));
        cpt_checkpoint *c;
        if (!strstr(file, ".safetensors")) continue;
        snprintf(path, sizeof path, "%s/%s", folder, file);
        cpt_status status = cpt_checkpoint_open(path, &c, &err);
        if (strcmp(outcome, "either") != 0)
            assert_int_equal(status == CPT_OK, !strcmp(outcome, "load"));
        if (status) assert_non_null(strstr(err.text, file));
        json_object_foreach(json_object_get(entry, "tensors"), name, tensor) {
            if (status) continue;
            assert_non_null(cpt_checkpoint_find(c, name));
            check_against(cpt_checkpoint_find(c, name), tensor);
        }
        cpt_checkpoint_free(c);
        n_checked++;
    }
    assert_true(n_checked >= 14);
    json_decref(manifest);
}

static cpt_tensor tensor_of(const char *name, cpt_dtype dtype, int64_t n, const void *data)
{
    return (cpt_tensor){.name = name,
                        .dtype = dtype,
                        .n_dims = 1,
                        .shape = {n},
                        .strides = {1},
                        .n_items = n,
                        .contiguous = true,
                        .data = data};
}

/* Names and metadata with everything JSON must escape; odd sizes, so that data are unaligned. */
static void test_round_trip(void **state)
{
    unsigned char bytes[3] = {1, 2, 255};
    float floats[2] = {-0.0f, 3.5f};
    double doubles[1] = {0.1};
    cpt_tensor t[] = {tensor_of("a\"b\\c\n\x01 \xc3\xa9", CPT_U8, 3, bytes),
                      tensor_of("f", CPT_F32, 2, floats), tensor_of("", CPT_F64, 1, doubles),
                      tensor_of("none", CPT_I64, 0, NULL)};
    const char *metadata[] = {"format", "pt", "q\"\t", "\xe2\x82\xac"};
    const char *path = scratch_path("round");
    cpt_checkpoint *c;
    double x[3];
    assert_ok(cpt_safetensors_write(path, 4, t, 2, metadata, &err));
    assert_ok(cpt_checkpoint_open(path, &c, &err));
    assert_int_equal(c->n_tensors, 4);
    for (int i = 0; i < 4; i++) {
        const cpt_tensor *got = cpt_checkpoint_find(c, t[i].name);
        assert_non_null(got);
        assert_int_equal(got->dtype, t[i].dtype);
        assert_int_equal(got->n_items, t[i].n_items);
    }
    assert_ok(cpt_tensor_read_f64(cpt_checkpoint_find(c, t[0].name), x, &err));
    assert_near(x[0] + 10 * x[1] + 100 * x[2], 25521, 0);
    assert_ok(cpt_tensor_read_f64(cpt_checkpoint_find(c, ""), x, &err));
    assert_near(x[0], 0.1, 0);
    assert_ok(cpt_tensor_read_f64(cpt_checkpoint_find(c, "f"), x, &err));
    assert_true(x[0] == 0 && signbit(x[0]) && x[1] == 3.5);
    assert_int_equal(c->metadata_keys->n, 2);
    assert_string_equal(cpt_strings_get(c->metadata_keys, 1), metadata[2]);
    assert_string_equal(cpt_strings_get(c->metadata_values, 1), metadata[3]);
    cpt_checkpoint_free(c);
    unlink(path);
}

static void test_writer_refuses(void **state)
{
    float x[2] = {0};
    cpt_tensor twice[] = {tensor_of("w", CPT_F32, 2, x), tensor_of("w", CPT_F32, 2, x)};
    const char *path = scratch_path("refused");
    assert_int_equal(cpt_safetensors_write(path, 2, twice, 0, NULL, &err), CPT_ERR_USAGE);
    assert_non_null(strstr(err.text, "two tensors are called 'w'"));
    twice[0].contiguous = false;
    assert_int_equal(cpt_safetensors_write(path, 1, twice, 0, NULL, &err), CPT_ERR_USAGE);
    twice[0] = tensor_of("\xff", CPT_F32, 2, x);
    assert_int_equal(cpt_safetensors_write(path, 1, twice, 0, NULL, &err), CPT_ERR_USAGE);
    twice[0] = tensor_of("__metadata__", CPT_F32, 2, x);
    assert_int_equal(cpt_safetensors_write(path, 1, twice, 0, NULL, &err), CPT_ERR_USAGE);
    assert_false(cpt_path_exists(path));
    twice[0] = tensor_of("w", CPT_F32, 2, x);
    assert_int_equal(cpt_safetensors_write("/nonexistent/folder/x", 1, twice, 0, NULL, &err),
                     CPT_ERR_IO);
}

/* ---- conversion ---- */

static double half_value(uint16_t h) /* the definition of IEEE 754 binary16 */
{
    int exponent = h >> 10 & 31, fraction = h & 1023;
    double x = exponent == 0 ? ldexp(fraction, -24) : ldexp(1024 + fraction, exponent - 25);
    if (exponent == 31) x = fraction ? NAN : INFINITY;
    return h >> 15 ? -x : x;
}

static void test_half_and_bfloat_exactly(void **state)
{
    uint16_t *all = malloc(65536 * sizeof *all);
    float *f = malloc(65536 * sizeof *f);
    for (int i = 0; i < 65536; i++) all[i] = (uint16_t)i;
    cpt_tensor t = tensor_of("h", CPT_F16, 65536, all);
    assert_ok(cpt_tensor_read_f32(&t, f, &err));
    for (int i = 0; i < 65536; i++) {
        double want = half_value((uint16_t)i);
        if (isnan(want)) assert_true(isnan(f[i]));
        else if (f[i] != want || !signbit(f[i]) != !signbit(want))
            fail_msg("half %04x", (unsigned)i);
    }
    t.dtype = CPT_BF16;
    assert_ok(cpt_tensor_read_f32(&t, f, &err));
    for (int i = 0; i < 65536; i++) {
        uint32_t bits;
        memcpy(&bits, &f[i], sizeof bits);
        assert_int_equal(bits, (uint32_t)i << 16);
    }
    free(all);
    free(f);
}

static void test_integers(void **state)
{
    int8_t i8[] = {-128, 127};
    uint16_t u16[] = {65535, 1};
    uint32_t u32[] = {4294967295u, 2};
    int64_t i64[] = {INT64_MIN, INT64_MAX}, out[2];
    uint64_t u64[] = {1, (uint64_t)1 << 63};
    unsigned char boolean[] = {0, 7};
    float f32[] = {1, 2};
    cpt_tensor t = tensor_of("i8", CPT_I8, 2, i8);
    assert_ok(cpt_tensor_read_i64(&t, out, &err));
    assert_true(out[0] == -128 && out[1] == 127);
    t = tensor_of("u16", CPT_U16, 2, u16);
    assert_ok(cpt_tensor_read_i64(&t, out, &err));
    assert_true(out[0] == 65535 && out[1] == 1);
    t = tensor_of("u32", CPT_U32, 2, u32);
    assert_ok(cpt_tensor_read_i64(&t, out, &err));
    assert_true(out[0] == 4294967295 && out[1] == 2);
    t = tensor_of("i64", CPT_I64, 2, i64);
    assert_ok(cpt_tensor_read_i64(&t, out, &err));
    assert_true(out[0] == INT64_MIN && out[1] == INT64_MAX);
    t = tensor_of("b", CPT_BOOL, 2, boolean);
    assert_ok(cpt_tensor_read_i64(&t, out, &err));
    assert_true(out[0] == 0 && out[1] == 1);
    t = tensor_of("u64", CPT_U64, 2, u64);
    assert_int_equal(cpt_tensor_read_i64(&t, out, &err), CPT_ERR_FORMAT);
    assert_non_null(strstr(err.text, "position 1"));
    t = tensor_of("f32", CPT_F32, 2, f32);
    assert_int_equal(cpt_tensor_read_i64(&t, out, &err), CPT_ERR_FORMAT);
    assert_non_null(strstr(err.text, "whole numbers"));
}

/* Every index of a 2 x 3 x 4 x 1 view with odd strides, out of data at an odd address. */
static void test_strides_and_alignment(void **state)
{
    unsigned char raw[401];
    float out[24];
    for (int i = 0; i < 100; i++) {
        float x = (float)i;
        memcpy(raw + 1 + 4 * i, &x, sizeof x);
    }
    cpt_tensor t = {.name = "v",
                    .dtype = CPT_F32,
                    .n_dims = 4,
                    .shape = {2, 3, 4, 1},
                    .strides = {1, 30, 7, 99},
                    .n_items = 24,
                    .data = raw + 1};
    assert_ok(cpt_tensor_read_f32(&t, out, &err));
    for (int i = 0; i < 24; i++)
        assert_near(out[i], (i / 12) * 1 + (i / 4 % 3) * 30 + (i % 4) * 7, 0);
    t.shape[1] = 0;
    t.n_items = 0;
    assert_ok(cpt_tensor_read_f32(&t, out, &err));
}

static void test_need(void **state)
{
    float x[6] = {0};
    cpt_tensor t[] = {tensor_of("encoder.weight", CPT_F32, 6, x)};
    t[0].n_dims = 2;
    t[0].shape[0] = 2;
    t[0].shape[1] = 3;
    t[0].strides[0] = 3;
    t[0].strides[1] = 1;
    int64_t right[] = {2, -1}, wrong[] = {3, -1};
    const cpt_tensor *got;
    cpt_checkpoint *c;
    const char *path = scratch_path("need");
    assert_ok(cpt_safetensors_write(path, 1, t, 0, NULL, &err));
    assert_ok(cpt_checkpoint_open(path, &c, &err));
    assert_ok(cpt_checkpoint_need(c, "encoder.weight", 2, right, &got, &err));
    assert_int_equal(got->shape[1], 3);
    assert_int_equal(cpt_checkpoint_need(c, "encoder.weight", 2, wrong, &got, &err),
                     CPT_ERR_FORMAT);
    assert_null(got);
    assert_non_null(strstr(err.text, "'encoder.weight' has shape [2, 3], [3, any] was expected"));
    assert_int_equal(cpt_checkpoint_need(c, "encoder.weight", 1, right, &got, &err),
                     CPT_ERR_FORMAT);
    assert_int_equal(cpt_checkpoint_need(c, "encoder.weihgt", 2, right, &got, &err),
                     CPT_ERR_FORMAT);
    assert_non_null(strstr(err.text, "has no tensor 'encoder.weihgt'"));
    assert_non_null(strstr(err.text, "nearest is 'encoder.weight'"));
    assert_non_null(strstr(err.text, path));
    cpt_checkpoint_free(c);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_lengths_that_look_like_other_formats),
        cmocka_unit_test(test_empty_file_of_no_tensors),
        cmocka_unit_test(test_golden_manifest),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_writer_refuses),
        cmocka_unit_test(test_half_and_bfloat_exactly),
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_strides_and_alignment),
        cmocka_unit_test(test_need),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

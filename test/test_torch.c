/* .pt and .pkl: the golden checkpoints (good, damaged, hostile), real models, values that Python
 * wrote, round trips of the writer, and mutations of all of it. */
#include "check.h"

#include "base/file.h"
#include "fuzz/small_archive.h"
#include "io/checkpoint_owned.h"

#include <jansson.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define CORPUS "test/fuzz/corpus/torch/"

static cpt_err err;

static const char *scratch_path(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "/tmp/cpt-torch-%d-%s", (int)getpid(), name);
    return path;
}

static void write_bytes(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    fclose(f);
}

/* ---- the manifest ---- */

static void check_lengths(const json_t *want, int n, const int64_t *got)
{
    assert_int_equal(json_array_size(want), n);
    for (int i = 0; i < n; i++)
        assert_int_equal(json_integer_value(json_array_get(want, (size_t)i)), got[i]);
}

static double number(const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);
    assert_true(json_is_number(v));
    return json_number_value(v);
}

static void check_tensor(const char *file, const cpt_tensor *t, const json_t *want)
{
    double sum = 0, weighted = 0, *x = calloc((size_t)t->n_items + 1, sizeof *x);
    int64_t n_bad = 0;
    const json_t *first = json_object_get(want, "first");
    assert_string_equal(cpt_dtype_name(t->dtype),
                        json_string_value(json_object_get(want, "dtype")));
    check_lengths(json_object_get(want, "shape"), t->n_dims, t->shape);
    if (json_object_get(want, "stride") && t->n_items)
        check_lengths(json_object_get(want, "stride"), t->n_dims, t->strides);
    assert_ok(cpt_tensor_read_f64(t, x, &err));
    for (int64_t i = 0; i < t->n_items; i++) {
        if (!isfinite(x[i])) {
            n_bad++;
            continue;
        }
        sum += x[i];
        weighted += x[i] * (double)(i + 1);
    }
    for (size_t i = 0; i < json_array_size(first); i++)
        if (json_is_number(json_array_get(first, i)) && isfinite(x[i]))
            assert_near(x[i], json_number_value(json_array_get(first, i)), 0);
    print_message("    %s: '%s'\n", file, t->name);
    assert_near(sum, number(want, "sum"), 1e-12 * fabs(sum));
    if (json_object_get(want, "abs_weighted_sum"))
        assert_near(weighted, number(want, "abs_weighted_sum"), 1e-12 * fabs(weighted));
    if (json_object_get(want, "non_finite")) assert_near(n_bad, number(want, "non_finite"), 0);
    free(x);
}

static void check_entry(const char *folder, const json_t *entry)
{
    const char *file = json_string_value(json_object_get(entry, "file"));
    const char *outcome = json_string_value(json_object_get(entry, "outcome"));
    const json_t *n_tensors = json_object_get(entry, "n_tensors");
    char path[1200];
    const char *name;
    json_t *want;
    cpt_checkpoint *c;
    snprintf(path, sizeof path, "%s/%s", folder, file);
    cpt_status status = cpt_checkpoint_open(path, &c, &err);
    if (strcmp(outcome, "either") != 0 && (status == CPT_OK) != (strcmp(outcome, "load") == 0))
        fail_msg("%s: %s", file, status ? err.text : "was loaded");
    if (status) {
        assert_null(c);
        assert_non_null(strstr(err.text, path));
        return;
    }
    if (n_tensors) assert_int_equal(c->n_tensors, json_integer_value(n_tensors));
    json_object_foreach(json_object_get(entry, "tensors"), name, want) {
        const cpt_tensor *t = cpt_checkpoint_find(c, name);
        if (!t) fail_msg("%s: no tensor '%s'", file, name);
        check_tensor(file, t, want);
    }
    if (!n_tensors && json_object_size(json_object_get(entry, "tensors")))
        assert_int_equal(c->n_tensors, json_object_size(json_object_get(entry, "tensors")));
    cpt_checkpoint_free(c);
}

static void test_golden_manifest(void **state)
{
    NEED_SHARED(folder, "golden/checkpoints");
    char path[1200];
    size_t i;
    int n_checked = 0;
    json_t *entry;
    struct rusage before, after;
    snprintf(path, sizeof path, "%s/manifest.json", folder);
    json_t *manifest = json_load_file(path, 0, NULL);
    assert_non_null(manifest);
    getrusage(RUSAGE_SELF, &before);
    json_array_foreach(json_object_get(manifest, "files"), i, entry) {
        if (strstr(json_string_value(json_object_get(entry, "file")), ".safetensors")) continue;
        check_entry(folder, entry);
        n_checked++;
    }
    getrusage(RUSAGE_SELF, &after);
    assert_true(n_checked >= 85);
    assert_true(after.ru_maxrss - before.ru_maxrss <
                64 * 1024); /* KiB: nothing large is allocated */
    assert_int_not_equal(access("EXECUTED_BY_PICKLE", F_OK), 0);
    json_decref(manifest);
}

/* What is wrong, where, and what to do: the sentences users will see most. */
static void test_messages(void **state)
{
    NEED_SHARED(folder, "golden/checkpoints");
    static const struct {
        const char *file, *what, *next;
    } cases[] = {
        {"empty_file.pt", "is empty", "download it again"},
        {"html_page.pt", "web page", "browser"},
        {"lfs_pointer.pt", "Git LFS pointer", "git lfs pull"},
        {"legacy.pt", "before 1.6", "torch.save"},
        {"truncated_half.pt", "cut off", "again"},
        {"truncated_directory.pt", "cut off", "again"},
        {"wrong_crc.pt", "plain/data/0: the checksum", "download"},
        {"compressed.pt", "plain/data/0: is compressed", "save it again"},
        {"big_endian.pt", "big-endian", "save it again"},
        {"no_pickle.pt", "no data.pkl", "unpack"},
        {"unknown_opcode.pt", "archive/data.pkl, byte 3: unknown instruction 0xfa", "again"},
        {"storage_short.pt", "storage 0 should hold 64 items of f32, but has 252 bytes", "again"},
        {"storage_unknown_type.pt", "torch.ComplexFloatStorage", "state_dict"},
        {"evil_os_system.pt", "holds no tensor", "state_dict"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[1200];
        cpt_checkpoint *c;
        snprintf(path, sizeof path, "%s/%s", folder, cases[i].file);
        assert_int_not_equal(cpt_checkpoint_open(path, &c, &err), CPT_OK);
        if (!strstr(err.text, cases[i].what) || !strstr(err.text, cases[i].next))
            fail_msg("%s: '%s'", cases[i].file, err.text);
    }
}

static void refuse_bytes(const void *bytes, size_t n, const char *what)
{
    const char *path = scratch_path("refused");
    cpt_checkpoint *c;
    write_bytes(path, bytes, n);
    assert_int_not_equal(cpt_checkpoint_open(path, &c, &err), CPT_OK);
    if (!strstr(err.text, what) || !strstr(err.text, path))
        fail_msg("'%s', want '%s'", err.text, what);
    unlink(path);
}

static void test_other_files(void **state)
{
    char tar[512] = "model.pt", zeros[64] = {0};
    memcpy(tar + 257, "ustar", 5);
    refuse_bytes("\x1f\x8b\x08\0\0\0\0\0\0", 9, "gunzip");
    refuse_bytes("\xfd"
                 "7zXZ\0\0\0\0",
                 9, "unxz");
    refuse_bytes(tar, sizeof tar, "tar -xf");
    refuse_bytes(zeros, sizeof zeros, "not complete");
    refuse_bytes("\x89HDF\r\n\x1a\n\0", 9, "HDF5");
    refuse_bytes("\xef\xbb\xbf\n <!DOCTYPE html><p>", 22, "web page");
    refuse_bytes("gene1\ngene2\n", 12, "neither a PyTorch");
    refuse_bytes("\x80\x01]q.", 5, "protocol 1");
    refuse_bytes("\x80\x02", 2, "byte 2: ends in the middle");
    refuse_bytes("\x80\x02)Q.", 5, "of an unpacked .pt, give the .pt itself");
    cpt_checkpoint *c;
    assert_int_equal(cpt_checkpoint_open("/nonexistent/model.pt", &c, &err), CPT_ERR_IO);
    assert_null(c);
}

/* ---- real files ---- */

static void test_real_models(void **state)
{
    NEED_SHARED(folder, "weights/scvi-family");
    static const struct {
        const char *file;
        int n_tensors;
        double sum; /* of all values, by torch */
    } models[] = {
        {"decipher.pt", 52, 23880.76233995815},
        {"exp_activation_totalvi.pt", 73, 3516.0567278665967},
        {"pre_logits_fix_scanvi.pt", 68, 1499.3680987258706},
        {"rnastereoscope.pt", 3, -2088030.4700630428},
        {"saved_model_multimodal.pt", 58, 1912.8651026415655},
        {"test_condscvi.pt", 16, -50.70760489507023},
    };
    for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
        char path[1200];
        double sum = 0;
        cpt_checkpoint *c;
        snprintf(path, sizeof path, "%s/%s", folder, models[m].file);
        assert_ok(cpt_checkpoint_open(path, &c, &err));
        assert_int_equal(c->n_tensors, models[m].n_tensors);
        for (int32_t i = 0; i < c->n_tensors; i++) {
            double *x = malloc(((size_t)c->tensors[i].n_items + 1) * sizeof *x);
            assert_ok(cpt_tensor_read_f64(&c->tensors[i], x, &err));
            for (int64_t k = 0; k < c->tensors[i].n_items; k++) sum += x[k];
            free(x);
        }
        assert_near(sum, models[m].sum, 1e-9 * fabs(sum));
        const cpt_value *attributes = cpt_value_get(c->root, "attr_dict");
        assert_non_null(attributes);
        assert_int_equal(cpt_value_get(attributes, "is_trained_")->kind, CPT_VALUE_BOOL);
        cpt_checkpoint_free(c);
    }
}

/* Every tensor of a scVI model against the same written as .safetensors. */
static void check_scvi(const char *inner)
{
    const char *folder = shared_path(inner);
    char path[1200], name[300];
    cpt_checkpoint *pt, *st;
    assert_non_null(folder);
    snprintf(path, sizeof path, "%s/model.pt", folder);
    assert_ok(cpt_checkpoint_open(path, &pt, &err));
    snprintf(path, sizeof path, "%s/state_dict.safetensors", folder);
    assert_ok(cpt_checkpoint_open(path, &st, &err));
    assert_int_equal(pt->n_tensors, st->n_tensors);
    for (int32_t i = 0; i < st->n_tensors; i++) {
        const cpt_tensor *want = &st->tensors[i], *got;
        snprintf(name, sizeof name, "model_state_dict.%s", want->name);
        assert_ok(cpt_checkpoint_need(pt, name, want->n_dims, want->shape, &got, &err));
        assert_int_equal(got->dtype, want->dtype);
        assert_true(got->contiguous);
        assert_memory_equal(got->data, want->data,
                            (size_t)want->n_items * cpt_dtype_size(want->dtype));
    }
    const cpt_value *genes = cpt_value_get(pt->root, "var_names");
    assert_non_null(genes);
    assert_int_equal(genes->kind, CPT_VALUE_ARRAY);
    assert_int_equal(genes->as.array.n_dims, 1);
    assert_int_equal(genes->as.array.shape[0], 200);
    for (int i = 0; i < 200; i++) assert_non_null(cpt_value_text(genes->as.array.objects[i]));
    const cpt_value *registry = cpt_value_get(cpt_value_get(pt->root, "attr_dict"), "registry_");
    assert_non_null(cpt_value_text(cpt_value_get(registry, "scvi_version")));
    assert_non_null(cpt_value_get(cpt_value_get(registry, "field_registries"), "X"));
    cpt_checkpoint_free(pt);
    cpt_checkpoint_free(st);
}

static void test_scvi_models(void **state)
{
    NEED_SHARED(here, "golden/scvi");
    check_scvi("golden/scvi/nb1");
    check_scvi("golden/scvi/zinb2");
}

/* ---- values that Python and NumPy wrote (test/fuzz/make_corpus.py) ---- */

static const cpt_value *get(const cpt_value *v, const char *key, cpt_value_kind kind)
{
    const cpt_value *item = cpt_value_get(v, key);
    if (!item || item->kind != kind) fail_msg("%s: kind %d", key, item ? (int)item->kind : -1);
    return item;
}

static void check_arrays(const cpt_value *root)
{
    const cpt_value *a = get(root, "mapping", CPT_VALUE_ARRAY);
    assert_int_equal(a->as.array.shape[0], 2);
    assert_string_equal(cpt_value_text(a->as.array.objects[0]), "batch a");
    assert_string_equal(cpt_value_text(a->as.array.objects[1]), "b\xc3\xa9");
    a = get(root, "unicode", CPT_VALUE_ARRAY);
    assert_int_equal(a->as.array.shape[0], 3);
    assert_string_equal(cpt_value_text(a->as.array.objects[0]), "x");
    assert_string_equal(cpt_value_text(a->as.array.objects[1]), "\xe2\x82\xac\xf0\x9f\xa7\xac");
    assert_string_equal(cpt_value_text(a->as.array.objects[2]), "");
    a = get(root, "codes", CPT_VALUE_ARRAY);
    assert_null(a->as.array.objects);
    assert_int_equal(a->as.array.dtype, CPT_I32);
    assert_memory_equal(a->as.array.data, ((int32_t[]){3, -1, 2}), 12);
    a = get(root, "fortran", CPT_VALUE_ARRAY);
    assert_true(a->as.array.n_dims == 2 && a->as.array.shape[0] == 2 && a->as.array.shape[1] == 3);
    assert_memory_equal(a->as.array.data, ((int16_t[]){0, 1, 2, 3, 4, 5}), 12);
    a = get(root, "cube", CPT_VALUE_ARRAY);
    for (int i = 0; i < 24; i++) {
        float x;
        memcpy(&x, (const char *)a->as.array.data + 4 * i, 4);
        assert_near(x, i, 0);
    }
    a = get(root, "fortran_objects", CPT_VALUE_ARRAY);
    for (int i = 0; i < 6; i++)
        assert_int_equal(cpt_value_text(a->as.array.objects[i])[0], "abcdef"[i]);
    get(root, "swapped", CPT_VALUE_OPAQUE);
    get(root, "dates", CPT_VALUE_OPAQUE);
}

static void check_attributes(const cpt_value *root)
{
    check_arrays(root);
    assert_near(get(root, "scalar", CPT_VALUE_FLOAT)->as.number, 2.5, 0);
    assert_int_equal(get(root, "token", CPT_VALUE_INT)->as.integer, -7);
    assert_true(get(root, "flag", CPT_VALUE_BOOL)->as.boolean);
    get(root, "big", CPT_VALUE_OPAQUE);
    assert_true(get(root, "unsigned", CPT_VALUE_INT)->as.integer == INT64_MAX);
    assert_true(get(root, "negative", CPT_VALUE_INT)->as.integer == -((int64_t)1 << 40));
    const cpt_value *raw = get(root, "raw", CPT_VALUE_BYTES);
    assert_int_equal(raw->as.text.length, 3);
    assert_memory_equal(raw->as.text.bytes, "\x00\xff\x80", 4);
    assert_int_equal(get(root, "set", CPT_VALUE_LIST)->as.list.items[0]->as.integer, 5);
    assert_int_equal(get(root, "frozen", CPT_VALUE_LIST)->as.list.items[0]->as.integer, 6);
    assert_int_equal(get(get(root, "ordered", CPT_VALUE_DICT), "z", CPT_VALUE_INT)->as.integer, 1);
    const cpt_value *k = get(get(root, "counts", CPT_VALUE_DICT), "k", CPT_VALUE_LIST);
    assert_near(k->as.list.items[0]->as.number, 1.5, 0);
    const cpt_value *object = get(root, "object", CPT_VALUE_OPAQUE);
    assert_non_null(strstr(object->as.list.items[0]->as.text.bytes, ".complex"));
    assert_string_equal(get(root, "class", CPT_VALUE_NAME)->as.text.bytes, "numpy.ndarray");
    const cpt_value *nested = get(get(root, "nested", CPT_VALUE_DICT), "a", CPT_VALUE_TUPLE);
    assert_int_equal(get(nested->as.list.items[0], "b", CPT_VALUE_LIST)->as.list.n, 2);
    const cpt_value *numbers = get(root, "numbers", CPT_VALUE_LIST);
    static const int64_t want[] = {0,  255,        256,         65535,     65536,
                                   -1, 2147483647, -2147483648, 2147483648};
    assert_int_equal(numbers->as.list.n, 9);
    for (int i = 0; i < 9; i++) assert_true(numbers->as.list.items[i]->as.integer == want[i]);
    assert_null(cpt_value_get(root, "absent"));
    assert_null(cpt_value_get(numbers, "x"));
    assert_null(cpt_value_get(NULL, "x"));
    assert_null(cpt_value_text(numbers));
    assert_null(cpt_value_text(NULL));
}

static void test_python_values(void **state)
{
    static const char *const files[] = {"attr_protocol2.pkl", "attr_protocol4.pkl",
                                        "attr_protocol5.pkl"};
    for (int i = 0; i < 3; i++) {
        char path[200];
        cpt_checkpoint *c;
        snprintf(path, sizeof path, CORPUS "%s", files[i]);
        assert_ok(cpt_checkpoint_open(path, &c, &err));
        assert_int_equal(c->n_tensors, 0);
        assert_non_null(c->root);
        check_attributes(c->root);
        cpt_checkpoint_free(c);
    }
    cpt_checkpoint *c;
    assert_ok(cpt_checkpoint_open(CORPUS "attributes.pt", &c, &err));
    check_attributes(cpt_value_get(c->root, "attr_dict"));
    cpt_checkpoint_free(c);
}

static void test_torch_oddities(void **state)
{
    cpt_checkpoint *c;
    float b[2];
    int64_t u[2];
    assert_ok(cpt_checkpoint_open(CORPUS "shared.pt", &c, &err));
    assert_int_equal(c->n_tensors, 4);
    const cpt_tensor *whole = cpt_checkpoint_find(c, "a"), *part = cpt_checkpoint_find(c, "b");
    assert_ptr_equal((const char *)whole->data + 4, part->data);
    assert_ok(cpt_tensor_read_f32(part, b, &err));
    assert_true(b[0] == 1 && b[1] == 2);
    assert_int_equal(cpt_checkpoint_find(c, "p")->dtype, CPT_BF16);
    assert_ok(cpt_tensor_read_i64(cpt_checkpoint_find(c, "u"), u, &err)); /* _rebuild_tensor_v3 */
    assert_true(u[0] == 1 && u[1] == 65535);
    assert_int_equal(get(c->root, "size", CPT_VALUE_TUPLE)->as.list.items[0]->as.integer, 4);
    assert_string_equal(cpt_value_get(c->root, "p")->as.tensor->name, "p");
    cpt_checkpoint_free(c);
    assert_int_equal(cpt_checkpoint_open(CORPUS "module.pt", &c, &err), CPT_ERR_FORMAT);
    assert_non_null(strstr(err.text, "not the model itself"));
}

static void test_zip64_fields(void **state)
{
    cpt_checkpoint *c;
    float w[3];
    assert_ok(cpt_checkpoint_open(CORPUS "zip64.pt", &c, &err));
    assert_int_equal(c->n_tensors, 1);
    assert_ok(cpt_tensor_read_f32(cpt_checkpoint_find(c, "w"), w, &err));
    assert_true(w[0] == 0 && w[1] == 1 && w[2] == 2);
    cpt_checkpoint_free(c);
}

/* ---- hostile pickles made here ---- */

/* Each call of _codecs.encode makes a new copy of one long text: 5 bytes of pickle for 64 KiB. */
static void test_amplification(void **state)
{
    enum { SIZE = 1 << 16, CALLS = 12000 };
    cpt_text t = {0};
    const char *path = scratch_path("bomb");
    cpt_checkpoint *c;
    cpt_text_add_bytes(&t, "\x80\x02]c_codecs\nencode\nq\x00X\x00\x00\x01\x00", 26);
    for (int i = 0; i < SIZE; i++) cpt_text_add(&t, "a");
    cpt_text_add_bytes(&t, "X\x06\x00\x00\x00latin1\x86q\x01R(", 16);
    for (int i = 0; i < CALLS; i++) cpt_text_add_bytes(&t, "h\x00h\x01R", 5); /* 64 KiB each */
    cpt_text_add(&t, "t.");
    write_bytes(path, t.bytes, t.length);
    assert_int_equal(cpt_checkpoint_open(path, &c, &err), CPT_ERR_MEMORY);
    assert_non_null(strstr(err.text, "byte "));
    cpt_text_free(&t);
    unlink(path);
}

/* A tensor of 4 floats on storage 0. */
#define STORAGE                                                                                    \
    "((X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0"                                            \
    "0X\3\0\0\0cpuK\20tQ"
#define REST "\211ccollections\nOrderedDict\n)RtR"
#define TENSOR "ctorch._utils\n_rebuild_tensor_v2\n" STORAGE "K\0K\4\205K\1\205" REST
#define PICKLE(literal) "\200\2" literal ".", sizeof("\200\2" literal ".") - 1

static cpt_status open_pickle(cpt_checkpoint **c, const char *pickle, size_t n)
{
    const char *path = scratch_path("pickle.pt");
    size_t size;
    uint8_t *archive = archive_of_pickle(pickle, n, &size);
    assert_non_null(archive);
    write_bytes(path, archive, size);
    free(archive);
    cpt_status status = cpt_checkpoint_open(path, c, &err);
    unlink(path);
    return status;
}

static void refuse_pickle(const char *what, const char *pickle, size_t n)
{
    cpt_checkpoint *c;
    if (open_pickle(&c, pickle, n) == CPT_OK) fail_msg("loaded, want '%s'", what);
    if (!strstr(err.text, what)) fail_msg("'%s', want '%s'", err.text, what);
}

static void test_hostile_pickles(void **state)
{
    cpt_checkpoint *c;
    assert_ok(open_pickle(&c, PICKLE(TENSOR)));
    assert_int_equal(c->n_tensors, 1);
    assert_non_null(cpt_checkpoint_find(c, ""));
    cpt_checkpoint_free(c);
    refuse_pickle("contains itself", PICKLE("]q\0(h\0" TENSOR "e"));
    refuse_pickle("contains itself", PICKLE("}q\0(X\1\0\0\0ah\0X\1\0\0\0b" TENSOR "u"));
    refuse_pickle("two tensors are called 'a.b'",
                  PICKLE("}(X\3\0\0\0a.b" TENSOR "X\1\0\0\0a}X\1\0\0\0b" TENSOR "su"));
    refuse_pickle("reaches beyond its storage", /* 2^40 times the same item */
                  PICKLE("ctorch._utils\n_rebuild_tensor_v2\n" STORAGE
                         "K\0\212\6\0\0\0\0\0\1\205K\0\205" REST));
    refuse_pickle("a tensor has no storage",
                  PICKLE("ctorch._utils\n_rebuild_tensor_v2\n(NK\0K\4\205K\1\205" REST));
    refuse_pickle("a tensor has no storage", PICKLE("ctorch._utils\n_rebuild_tensor_v2\n)R"));
    refuse_pickle("element type of a tensor",
                  PICKLE("ctorch._utils\n_rebuild_tensor_v3\n" STORAGE "K\0K\4\205K\1\205" REST));
    refuse_pickle("a parameter has no tensor", PICKLE("ctorch._utils\n_rebuild_parameter\n)R"));
    refuse_pickle("arguments of a call are no tuple", PICKLE("ctorch\nSize\nNR"));
    refuse_pickle("a reference to a storage", PICKLE(")Q"));
    refuse_pickle("gives a state to", PICKLE("K\1}b"));
    refuse_pickle("ends inside of a group", PICKLE("(]"));
    refuse_pickle("takes more values", PICKLE("](a"));
    refuse_pickle("not made of pairs", PICKLE("ccollections\nOrderedDict\n]K\1a\205R"));
    refuse_pickle("a byte is above 255",
                  PICKLE("c_codecs\nencode\nX\3\0\0\0\342\202\254X\6\0\0\0latin1\206R"));
}

#define NDARRAY "cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\205N\207R"
#define DTYPE(name) "cnumpy\ndtype\nX\2\0\0\0" name "\211\210\207R"

static void test_hostile_arrays(void **state)
{
    refuse_pickle("large as its shape", PICKLE(NDARRAY "(K\1K\5\205" DTYPE("i8") "\211C\1atb"));
    refuse_pickle("as many items", PICKLE(NDARRAY "(K\1K\5\205" DTYPE("O8") "\211]tb"));
    refuse_pickle("without width",
                  PICKLE(NDARRAY "(K\1\212\5\0\0\0\0\1\205" DTYPE("U0") "\211C\0tb"));
    refuse_pickle("no proper shape",
                  PICKLE(NDARRAY "(K\1J\377\377\377\377\205" DTYPE("i8") "\211C\0tb"));
    refuse_pickle("no text", PICKLE(NDARRAY "(K\1K\1\205" DTYPE("U1") "\211C\4\377\377\377\377tb"));
}

/* Lists that share lists, 10^20 leaves if walked, beside a tensor: given up after a bounded time.
 */
static void test_shared_lists_are_not_walked_forever(void **state)
{
    cpt_text t = {0};
    cpt_text_add_bytes(&t, "\200\2]q\0(K\1K\2K\3K\4e", 15);
    for (int i = 1; i <= 20; i++) {
        char level[] = {']', 'q', (char)i, '('}, item[] = {'h', (char)(i - 1)};
        cpt_text_add_bytes(&t, level, sizeof level);
        for (int k = 0; k < 10; k++) cpt_text_add_bytes(&t, item, sizeof item);
        cpt_text_add(&t, "e");
    }
    cpt_text_add_bytes(&t, TENSOR "\206.", sizeof(TENSOR "\206.") - 1);
    refuse_pickle("repeated without end", t.bytes, t.length);
    cpt_text_free(&t);
}

static void test_long_names(void **state)
{
    cpt_text t = {0};
    cpt_text_add_bytes(&t, "\200\2}X\0\40\0\0", 8);
    for (int i = 0; i < 8192; i++) cpt_text_add(&t, "n");
    cpt_text_add_bytes(&t, TENSOR "s.", sizeof(TENSOR "s.") - 1);
    refuse_pickle("the name of a tensor", t.bytes, t.length);
    cpt_text_free(&t);
}

/* ---- the writer ---- */

static cpt_value *sample_tree(cpt_tree *t, const float *w, const uint16_t *h, const int64_t *step)
{
    static const int64_t w_shape[] = {2, 3}, h_shape[] = {3}, empty[] = {0, 4},
                         values[] = {-1, 1 << 20};
    cpt_value *root = cpt_tree_dict(t, false), *weights = cpt_tree_dict(t, true);
    cpt_value *list = cpt_tree_list(t), *tuple = cpt_tree_tuple(t);
    cpt_strings genes = {0};
    assert_ok(cpt_strings_add(&genes, "CD3\xce\xb5", 5, &err));
    assert_ok(cpt_strings_add(&genes, "", 0, &err));
    bool fine = cpt_tree_set(t, weights, "Layer 0.w", cpt_tree_tensor(t, CPT_F32, 2, w_shape, w)) &&
                cpt_tree_set(t, weights, "h", cpt_tree_tensor(t, CPT_BF16, 1, h_shape, h)) &&
                cpt_tree_set(t, weights, "step", cpt_tree_tensor(t, CPT_I64, 0, NULL, step)) &&
                cpt_tree_set(t, weights, "empty", cpt_tree_tensor(t, CPT_F32, 2, empty, NULL)) &&
                cpt_tree_set(t, root, "model_state_dict", weights) &&
                cpt_tree_set(t, root, "var_names", cpt_tree_text_array(t, &genes)) &&
                cpt_tree_set(t, root, "codes", cpt_tree_int_array(t, values, 2)) &&
                cpt_tree_append(t, list, cpt_tree_float(t, -0.1)) &&
                cpt_tree_append(t, list, cpt_tree_int(t, INT64_MIN)) &&
                cpt_tree_append(t, list, cpt_tree_bool(t, true)) &&
                cpt_tree_append(t, list, cpt_tree_none(t)) &&
                cpt_tree_append(t, tuple, cpt_tree_text(t, "\xe2\x82\xac")) &&
                cpt_tree_append(t, tuple, list) && cpt_tree_set(t, root, "attr_dict", tuple);
    assert_true(fine);
    cpt_strings_free(&genes);
    return root;
}

static void check_sample(const cpt_checkpoint *c, const float *w, const uint16_t *h)
{
    const cpt_tensor *t = cpt_checkpoint_find(c, "model_state_dict.Layer 0.w");
    int64_t step;
    assert_non_null(t);
    assert_true(t->n_dims == 2 && t->shape[0] == 2 && t->shape[1] == 3 && t->dtype == CPT_F32);
    assert_memory_equal(t->data, w, 24);
    assert_int_equal((uintptr_t)t->data % 64, 0); /* the map is aligned to pages */
    t = cpt_checkpoint_find(c, "model_state_dict.h");
    assert_int_equal(t->dtype, CPT_BF16);
    assert_memory_equal(t->data, h, 6);
    assert_ok(cpt_tensor_read_i64(cpt_checkpoint_find(c, "model_state_dict.step"), &step, &err));
    assert_int_equal(step, 12345);
    t = cpt_checkpoint_find(c, "model_state_dict.empty");
    assert_true(t->n_items == 0 && t->shape[1] == 4);
    const cpt_value *a = get(c->root, "var_names", CPT_VALUE_ARRAY);
    assert_string_equal(cpt_value_text(a->as.array.objects[0]), "CD3\xce\xb5");
    assert_string_equal(cpt_value_text(a->as.array.objects[1]), "");
    a = get(c->root, "codes", CPT_VALUE_ARRAY);
    assert_memory_equal(a->as.array.data, ((int64_t[]){-1, 1 << 20}), 16);
    a = get(c->root, "attr_dict", CPT_VALUE_TUPLE);
    assert_string_equal(cpt_value_text(a->as.list.items[0]), "\xe2\x82\xac");
    cpt_value **items = a->as.list.items[1]->as.list.items;
    assert_near(items[0]->as.number, -0.1, 0);
    assert_true(items[1]->as.integer == INT64_MIN && items[2]->as.boolean);
    assert_int_equal(items[3]->kind, CPT_VALUE_NONE);
}

static void assert_same_files(const char *a, const char *b)
{
    cpt_map x, y;
    assert_ok(cpt_map_open(a, &x, &err));
    assert_ok(cpt_map_open(b, &y, &err));
    assert_int_equal(x.size, y.size);
    assert_memory_equal(x.bytes, y.bytes, x.size);
    cpt_map_close(&x);
    cpt_map_close(&y);
}

/* Written, read, and what was read written again: the same bytes. */
static void test_round_trip(void **state)
{
    const float w[6] = {1, -2, 3.5f, 0, 1e-30f, INFINITY};
    const uint16_t h[3] = {0x3f80, 0, 0xc000};
    const int64_t step = 12345;
    char first[256], second[256];
    cpt_tree *t = cpt_tree_new();
    cpt_value *root = sample_tree(t, w, h, &step);
    cpt_checkpoint *c;
    snprintf(first, sizeof first, "%s", scratch_path("first.pt"));
    snprintf(second, sizeof second, "%s", scratch_path("second.pt"));
    assert_ok(cpt_torch_write(first, root, &err));
    assert_ok(cpt_torch_write(second, root, &err));
    assert_same_files(first, second);
    assert_ok(cpt_checkpoint_open(first, &c, &err));
    check_sample(c, w, h);
    cpt_checkpoint_free(c);
    cpt_tree_free(t);
    cpt_tree_free(NULL);
    unlink(first);
    unlink(second);
}

static void test_reread_tree_is_writable(void **state)
{
    NEED_SHARED(folder, "golden/checkpoints");
    char path[1200], first[256], second[256];
    cpt_checkpoint *c;
    snprintf(path, sizeof path, "%s/nested.pt", folder);
    snprintf(first, sizeof first, "%s", scratch_path("first.pt"));
    snprintf(second, sizeof second, "%s", scratch_path("second.pt"));
    assert_ok(cpt_checkpoint_open(path, &c, &err));
    assert_ok(cpt_torch_write(first, c->root, &err));
    cpt_checkpoint_free(c);
    assert_ok(cpt_checkpoint_open(first, &c, &err));
    assert_int_equal(c->n_tensors, 6);
    assert_ok(cpt_torch_write(second, c->root, &err));
    cpt_checkpoint_free(c);
    assert_same_files(first, second);
    unlink(first);
    unlink(second);
}

static void test_writer_refuses(void **state)
{
    const char *path = scratch_path("refused.pt");
    static const int64_t shape[] = {2};
    float x[2] = {0};
    cpt_tree *t = cpt_tree_new();
    cpt_value *list = cpt_tree_list(t);
    assert_false(cpt_tree_append(t, list, NULL));
    assert_false(cpt_tree_set(t, list, "x", cpt_tree_none(t)));
    assert_null(cpt_tree_tensor(t, CPT_F32, 1, (const int64_t[]){-1}, x));
    assert_true(cpt_tree_append(t, list, cpt_tree_tensor(t, CPT_U32, 1, shape, x)));
    assert_int_equal(cpt_torch_write(path, list, &err), CPT_ERR_USAGE);
    assert_non_null(strstr(err.text, "u32"));
    assert_int_equal(cpt_torch_write(path, cpt_tree_text(t, "\xff"), &err), CPT_ERR_USAGE);
    assert_int_equal(cpt_torch_write(path, NULL, &err), CPT_ERR_MEMORY);
    list = cpt_tree_list(t);
    assert_true(cpt_tree_append(t, list, list)); /* a cycle */
    assert_int_equal(cpt_torch_write(path, list, &err), CPT_ERR_USAGE);
    assert_non_null(strstr(err.text, "nested too deep"));
    assert_int_equal(cpt_torch_write("/nonexistent/x.pt", cpt_tree_none(t), &err), CPT_ERR_IO);
    assert_false(cpt_path_exists(path));
    cpt_tree_free(t);
}

/* ---- mutations ---- */

/* In memory of exactly this size, so that sanitizers see where it ends. */
static void open_mutant(const void *bytes, size_t n, bool must_fail)
{
    cpt_checkpoint *c;
    void *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, n);
    cpt_status status = cpt_checkpoint_parse("mutant", copy, n, &c, &err);
    if (status) assert_non_null(strstr(err.text, "mutant"));
    else assert_false(must_fail);
    cpt_checkpoint_free(c);
    free(copy);
}

/* Every truncation must be refused; a changed byte may be, but must never crash. */
static void mutate(const char *file)
{
    static const unsigned char changes[] = {0x01, 0x80, 0xff, 0x28};
    cpt_map m;
    assert_ok(cpt_map_open(file, &m, &err));
    unsigned char *copy = malloc(m.size);
    assert_non_null(copy);
    memcpy(copy, m.bytes, m.size);
    for (size_t n = 0; n < m.size; n++) open_mutant(copy, n, true);
    for (size_t i = 0; i < 4 * m.size; i++) {
        copy[i / 4] ^= changes[i % 4];
        open_mutant(copy, m.size, false);
        copy[i / 4] = m.bytes[i / 4];
    }
    free(copy);
    cpt_map_close(&m);
}

static void test_mutants(void **state)
{
    mutate(CORPUS "attr_protocol4.pkl");
    mutate(CORPUS "attr_protocol2.pkl");
    mutate(CORPUS "shared.pt");
    mutate(CORPUS "zip64.pt");
    mutate(CORPUS "attributes.pt");
}

/* Opening runs at the speed of memory, checksums included: 200 MB in some 50 ms. */
static void test_large_file(void **state)
{
    enum { N = 1 << 19, PARTS = 10 };
    const char *path = scratch_path("large.pt");
    static const int64_t shape[] = {N};
    float *x = calloc(N, sizeof *x);
    cpt_tree *t = cpt_tree_new();
    cpt_value *root = cpt_tree_dict(t, true);
    struct timespec from, to;
    cpt_checkpoint *c;
    for (int i = 0; i < N; i++) x[i] = (float)i;
    for (int i = 0; i < PARTS; i++) {
        char name[20];
        snprintf(name, sizeof name, "part%d", i);
        assert_true(cpt_tree_set(t, root, name, cpt_tree_tensor(t, CPT_F32, 1, shape, x)));
    }
    assert_ok(cpt_torch_write(path, root, &err));
    clock_gettime(CLOCK_MONOTONIC, &from);
    assert_ok(cpt_checkpoint_open(path, &c, &err));
    clock_gettime(CLOCK_MONOTONIC, &to);
    double seconds = (double)(to.tv_sec - from.tv_sec) + 1e-9 * (double)(to.tv_nsec - from.tv_nsec);
    print_message("    %d MB opened and verified in %.0f ms\n", PARTS * N / 250000, 1000 * seconds);
    assert_int_equal(c->n_tensors, PARTS);
    assert_true(seconds < 5); /* generous: the machine may be busy */
    cpt_checkpoint_free(c);
    cpt_tree_free(t);
    free(x);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_manifest),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_other_files),
        cmocka_unit_test(test_real_models),
        cmocka_unit_test(test_scvi_models),
        cmocka_unit_test(test_python_values),
        cmocka_unit_test(test_torch_oddities),
        cmocka_unit_test(test_zip64_fields),
        cmocka_unit_test(test_amplification),
        cmocka_unit_test(test_hostile_pickles),
        cmocka_unit_test(test_hostile_arrays),
        cmocka_unit_test(test_shared_lists_are_not_walked_forever),
        cmocka_unit_test(test_long_names),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_writer_refuses),
        cmocka_unit_test(test_reread_tree_is_writable),
        cmocka_unit_test(test_mutants),
        cmocka_unit_test(test_large_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

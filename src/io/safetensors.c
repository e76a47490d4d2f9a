/* The .safetensors format, read and written.
 *
 *   u64 little-endian n | n bytes of JSON | data
 *   JSON: {"name": {"dtype": "F32", "shape": [..], "data_offsets": [begin, end]}, ...,
 *          "__metadata__": {"key": "text"}}          (offsets from the start of data)
 *
 * The header is a claim that is checked in full before anything is believed: every range lies
 * inside the data, has exactly the size that dtype and shape ask for, and the ranges tile the data
 * without hole or overlap (as the reference implementation demands). Tensors are views into the
 * map. O(n log n) in the number of tensors. Trap: other writers do not align the data. */
#include "base/memory.h"
#include "io/checkpoint_owned.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* A JSON tree takes some fifty times the room of its text; real ones have 100 bytes per tensor. */
static const uint64_t LONGEST_HEADER = 32u << 20;

static const struct {
    const char *name;
    cpt_dtype dtype;
} types[] = {
    {"F32", CPT_F32}, {"F16", CPT_F16}, {"BF16", CPT_BF16}, {"F64", CPT_F64}, {"I64", CPT_I64},
    {"I32", CPT_I32}, {"I16", CPT_I16}, {"I8", CPT_I8},     {"U8", CPT_U8},   {"U16", CPT_U16},
    {"U32", CPT_U32}, {"U64", CPT_U64}, {"BOOL", CPT_BOOL},
};
enum { N_TYPES = sizeof types / sizeof *types };

/* ---- reading ---- */

static cpt_status bad_tensor(const struct checkpoint_owned *o, const char *name, cpt_err *e,
                             const char *what)
{
    return cpt_fail(e, CPT_ERR_FORMAT,
                    "%s: tensor '%s': %s; the file is damaged: download or save it again", o->path,
                    name, what);
}

static bool find_type(const char *name, cpt_dtype *dtype)
{
    for (int i = 0; name && i < N_TYPES; i++)
        if (strcmp(types[i].name, name) == 0) {
            *dtype = types[i].dtype;
            return true;
        }
    return false;
}

/* A JSON array of whole numbers >= 0; -1 when it is not one or has more than `most` of them. */
static int parse_lengths(const json_t *array, int64_t *out, size_t most)
{
    if (!json_is_array(array) || json_array_size(array) > most) return -1;
    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *item = json_array_get(array, i);
        if (!json_is_integer(item) || (out[i] = json_integer_value(item)) < 0) return -1;
    }
    return (int)json_array_size(array);
}

static cpt_status parse_tensor(struct checkpoint_owned *o, const char *name, const json_t *json,
                               const unsigned char *data, size_t data_size, cpt_err *e)
{
    cpt_tensor t = {0};
    int64_t shape[CPT_TENSOR_MAX_DIMS], range[2];
    const char *type = json_string_value(json_object_get(json, "dtype"));
    if (!find_type(type, &t.dtype))
        return cpt_fail(e, CPT_ERR_UNSUPPORTED,
                        "%s: tensor '%s': element type '%s' is not known; convert it to F32",
                        o->path, name, type ? type : "");
    int n_dims = parse_lengths(json_object_get(json, "shape"), shape, CPT_TENSOR_MAX_DIMS);
    if (n_dims < 0 || !cpt_tensor_lay_out(&t, n_dims, shape, NULL))
        return bad_tensor(o, name, e, "its shape is not one");
    if (parse_lengths(json_object_get(json, "data_offsets"), range, 2) != 2)
        return bad_tensor(o, name, e, "its data_offsets are not two positions");
    if (range[0] > range[1] || (uint64_t)range[1] > data_size)
        return bad_tensor(o, name, e, "its data lie outside of the file");
    size_t bytes;
    if (!cpt_size_mul((size_t)t.n_items, cpt_dtype_size(t.dtype), &bytes) ||
        bytes != (uint64_t)range[1] - (uint64_t)range[0])
        return bad_tensor(o, name, e, "shape and size of its data disagree");
    t.data = data + range[0];
    if (!(t.name = cpt_arena_copy(&o->arena, name, strlen(name))))
        return cpt_fail(e, CPT_ERR_MEMORY, "%s: out of memory", o->path);
    return cpt_checkpoint_add(o, &t, e);
}

static cpt_status parse_metadata(struct checkpoint_owned *o, json_t *json, cpt_err *e)
{
    const char *key;
    json_t *value;
    if (!json_is_object(json))
        return cpt_fail(e, CPT_ERR_FORMAT, "%s: __metadata__ is not an object", o->path);
    json_object_foreach(json, key, value) {
        const char *text = json_string_value(value);
        if (!text)
            return cpt_fail(e, CPT_ERR_FORMAT, "%s: __metadata__ '%s' is not a text", o->path, key);
        cpt_status status = cpt_strings_add(&o->keys, key, strlen(key), e);
        if (!status) status = cpt_strings_add(&o->values, text, strlen(text), e);
        if (status) return status;
    }
    return CPT_OK;
}

static int by_position(const void *a, const void *b)
{
    const cpt_tensor *x = a, *y = b;
    const char *p = x->data, *q = y->data;
    if (p != q) return p < q ? -1 : 1;
    if ((x->n_items == 0) != (y->n_items == 0)) return x->n_items == 0 ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* Sorted by position, the tensors must follow each other from the first byte to the last. */
static cpt_status check_tiling(struct checkpoint_owned *o, const unsigned char *data,
                               size_t data_size, cpt_err *e)
{
    if (o->n_tensors) qsort(o->tensors, o->n_tensors, sizeof *o->tensors, by_position);
    const unsigned char *at = data;
    for (size_t i = 0; i < o->n_tensors; i++) {
        const cpt_tensor *t = &o->tensors[i];
        const unsigned char *begin = t->data;
        if (begin < at)
            return bad_tensor(o, t->name, e, "its data overlap those of another tensor");
        if (begin > at) return bad_tensor(o, t->name, e, "there is a hole in front of its data");
        at = begin + (size_t)t->n_items * cpt_dtype_size(t->dtype);
    }
    if (at != data + data_size)
        return cpt_fail(e, CPT_ERR_FORMAT,
                        "%s: %zu bytes at the end belong to no tensor; download or save it again",
                        o->path, (size_t)(data + data_size - at));
    return CPT_OK;
}

static cpt_status parse_header(struct checkpoint_owned *o, json_t *header,
                               const unsigned char *data, size_t data_size, cpt_err *e)
{
    const char *name;
    json_t *value;
    cpt_status status = CPT_OK;
    json_object_foreach(header, name, value) {
        if (strcmp(name, "__metadata__") == 0) status = parse_metadata(o, value, e);
        else status = parse_tensor(o, name, value, data, data_size, e);
        if (status) return status;
    }
    return check_tiling(o, data, data_size, e);
}

cpt_status cpt_safetensors_read(struct checkpoint_owned *o, cpt_err *e)
{
    const unsigned char *b = o->map.bytes;
    uint64_t length = 0;
    if (o->map.size < 8)
        return cpt_fail(e, CPT_ERR_FORMAT, "%s: only %zu bytes long; download or save it again",
                        o->path, o->map.size);
    for (int i = 7; i >= 0; i--) length = length << 8 | b[i];
    if (length > o->map.size - 8)
        return cpt_fail(e, CPT_ERR_FORMAT,
                        "%s: the header should have %llu bytes, the file has %zu; it is cut off: "
                        "download it again",
                        o->path, (unsigned long long)length, o->map.size);
    if (length > LONGEST_HEADER)
        return cpt_fail(e, CPT_ERR_UNSUPPORTED,
                        "%s: a header of %llu bytes is too long (limit %llu)", o->path,
                        (unsigned long long)length, (unsigned long long)LONGEST_HEADER);
    json_error_t problem;
    json_t *header =
        json_loadb((const char *)b + 8, (size_t)length, JSON_REJECT_DUPLICATES, &problem);
    if (!header)
        return cpt_fail(
            e, CPT_ERR_FORMAT,
            "%s: header, byte %d: %s; the file is damaged or no safetensors file: download "
            "or save it again",
            o->path, problem.position, problem.text);
    cpt_status status;
    if (json_is_object(header))
        status = parse_header(o, header, b + 8 + length, o->map.size - 8 - (size_t)length, e);
    else status = cpt_fail(e, CPT_ERR_FORMAT, "%s: the header is no JSON object", o->path);
    json_decref(header);
    return status;
}

/* ---- writing ---- */

static const char *type_name(cpt_dtype dtype)
{
    for (int i = 0; i < N_TYPES; i++)
        if (types[i].dtype == dtype) return types[i].name;
    return NULL;
}

static void add_json_text(cpt_text *t, const char *s)
{
    cpt_text_add(t, "\"");
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\') cpt_text_addf(t, "\\%c", c);
        else if (c < 0x20) cpt_text_addf(t, "\\u%04x", c);
        else cpt_text_add_bytes(t, s, 1);
    }
    cpt_text_add(t, "\"");
}

static void add_metadata(cpt_text *h, int32_t n_metadata, const char *const *metadata)
{
    cpt_text_add(h, "\"__metadata__\":{");
    for (int32_t i = 0; i < n_metadata; i++) {
        if (i) cpt_text_add(h, ",");
        add_json_text(h, metadata[2 * i]);
        cpt_text_add(h, ":");
        add_json_text(h, metadata[2 * i + 1]);
    }
    cpt_text_add(h, "}");
}

static void add_tensor(cpt_text *h, const cpt_tensor *t, uint64_t begin, uint64_t end)
{
    add_json_text(h, t->name);
    cpt_text_addf(h, ":{\"dtype\":\"%s\",\"shape\":[", type_name(t->dtype));
    for (int i = 0; i < t->n_dims; i++)
        cpt_text_addf(h, "%s%lld", i ? "," : "", (long long)t->shape[i]);
    cpt_text_addf(h, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)begin,
                  (unsigned long long)end);
}

static cpt_status check_texts(const char *path, int32_t n, const cpt_tensor *tensors,
                              int32_t n_metadata, const char *const *metadata, cpt_err *e)
{
    cpt_status status = CPT_OK;
    cpt_index *seen = cpt_index_new((size_t)n, e);
    if (!seen) return CPT_ERR_MEMORY;
    for (int32_t i = 0; i < n && !status; i++) {
        const char *name = tensors[i].name;
        int64_t first;
        if (!name || !cpt_utf8_valid(name, strlen(name)) || strcmp(name, "__metadata__") == 0)
            status = cpt_fail(e, CPT_ERR_USAGE, "%s: tensor %d has no valid name", path, i);
        else if (!tensors[i].contiguous)
            status = cpt_fail(e, CPT_ERR_USAGE, "%s: tensor '%s' is not contiguous", path, name);
        else if (!(status = cpt_index_add(seen, name, i, &first, e)) && first != i)
            status = cpt_fail(e, CPT_ERR_USAGE, "%s: two tensors are called '%s'", path, name);
    }
    for (int32_t i = 0; i < 2 * n_metadata && !status; i++)
        if (!cpt_utf8_valid(metadata[i], strlen(metadata[i])))
            status = cpt_fail(e, CPT_ERR_USAGE, "%s: metadata text %d is not UTF-8", path, i);
    cpt_index_free(seen);
    return status;
}

static size_t tensor_bytes(const cpt_tensor *t)
{
    return (size_t)t->n_items * cpt_dtype_size(t->dtype);
}

/* Ends in blanks so that the data begin at a multiple of 64 bytes. */
static cpt_status compose_header(cpt_text *h, int32_t n, const cpt_tensor *tensors,
                                 int32_t n_metadata, const char *const *metadata, cpt_err *e)
{
    uint64_t at = 0;
    cpt_text_add(h, "{");
    if (n_metadata) add_metadata(h, n_metadata, metadata);
    for (int32_t i = 0; i < n; i++) {
        uint64_t end = at + tensor_bytes(&tensors[i]);
        if (i || n_metadata) cpt_text_add(h, ",");
        add_tensor(h, &tensors[i], at, end);
        at = end;
    }
    cpt_text_add(h, "}");
    while (!h->failed && (h->length + 8) % 64) cpt_text_add(h, " ");
    return cpt_text_status(h, e);
}

cpt_status cpt_safetensors_write(const char *path, int32_t n, const cpt_tensor *tensors,
                                 int32_t n_metadata, const char *const *metadata, cpt_err *e)
{
    cpt_text header = {0};
    cpt_atomic out = {0};
    unsigned char length[8];
    cpt_status status;
    CPT_TRY(check_texts(path, n, tensors, n_metadata, metadata, e));
    CPT_TRY(compose_header(&header, n, tensors, n_metadata, metadata, e));
    CPT_TRY(cpt_atomic_open(path, &out, e));
    for (int i = 0; i < 8; i++) length[i] = (unsigned char)((uint64_t)header.length >> 8 * i);
    bool fine = fwrite(length, 1, 8, out.file) == 8 &&
                fwrite(header.bytes, 1, header.length, out.file) == header.length;
    for (int32_t i = 0; i < n && fine; i++) {
        size_t bytes = tensor_bytes(&tensors[i]);
        fine = bytes == 0 || fwrite(tensors[i].data, 1, bytes, out.file) == bytes;
    }
    if (!fine) status = cpt_fail(e, CPT_ERR_IO, "%s: cannot be written; is the disk full?", path);
    else status = cpt_atomic_commit(&out, e);
done:
    cpt_atomic_abandon(&out);
    cpt_text_free(&header);
    return status;
}

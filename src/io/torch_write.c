/* Writes what torch.save writes: a ZIP of stored entries, archive/data.pkl as a pickle of protocol
 * 2 first, then archive/byteorder, one archive/data/<i> per tensor, and archive/version.
 *
 * The pickle uses only names that torch.load(weights_only=True) allows, as long as the tree holds
 * nothing but plain values and tensors; NumPy arrays need weights_only=False or torch >= 2.5 with
 * their names allowed, as with files of scvi-tools. They are written under the name numpy.core,
 * which NumPy 1 and 2 both know. No memo is used: a value that occurs twice is written twice.
 *
 * Payloads begin at multiples of 64 bytes by way of an extra field "FB" in the local header, as
 * PyTorch does. Checksums and sizes are known beforehand, so there are no data descriptors. Dates
 * are 1980-01-01: same tree, same bytes. O(bytes). */
#include "base/file.h"
#include "base/memory.h"
#include "io/value.h"

#include <libdeflate.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64, FLAG_UTF8 = 0x0800, DOS_DATE = 0x0021, VERSION_ZIP64 = 45 };

typedef struct writer {
    const char *path;
    cpt_atomic out;
    uint64_t at;
    cpt_text pickle, directory;
    uint64_t n_entries;
    const cpt_tensor **tensors; /* in the order of their storages */
    size_t n_tensors, capacity;
} writer;

/* ---- pickle ---- */

static void add_little(cpt_text *t, uint64_t v, int n)
{
    char b[8];
    for (int i = 0; i < n; i++) b[i] = (char)(v >> 8 * i & 0xff);
    cpt_text_add_bytes(t, b, (size_t)n);
}

static void add_op(cpt_text *t, int opcode)
{
    add_little(t, (uint64_t)opcode, 1);
}

static void add_text(cpt_text *t, const char *s, size_t n)
{
    add_op(t, 'X');
    add_little(t, n, 4);
    cpt_text_add_bytes(t, s, n);
}

static void add_word(cpt_text *t, const char *s)
{
    add_text(t, s, strlen(s));
}

static void add_int(cpt_text *t, int64_t i)
{
    if (i >= 0 && i < 256) add_op(t, 'K'), add_little(t, (uint64_t)i, 1);
    else if (i >= 0 && i < 65536) add_op(t, 'M'), add_little(t, (uint64_t)i, 2);
    else if (i >= INT32_MIN && i <= INT32_MAX) add_op(t, 'J'), add_little(t, (uint64_t)i, 4);
    else add_op(t, 0x8a), add_op(t, 8), add_little(t, (uint64_t)i, 8);
}

static void add_float(cpt_text *t, double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    add_op(t, 'G');
    for (int i = 56; i >= 0; i -= 8) add_little(t, bits >> i, 1);
}

static void add_bool(cpt_text *t, bool b)
{
    add_op(t, b ? 0x88 : 0x89);
}

/* Protocol 2 has no bytes: _codecs.encode of the text with the same code points. */
static void add_bytes(cpt_text *t, const unsigned char *b, size_t n)
{
    size_t length = n;
    for (size_t i = 0; i < n; i++) length += b[i] >> 7;
    cpt_text_add(t, "c_codecs\nencode\n");
    add_op(t, 'X');
    add_little(t, length, 4);
    for (size_t i = 0; i < n; i++) {
        char two[2] = {(char)(0xc0 | b[i] >> 6), (char)(0x80 | (b[i] & 63))};
        if (b[i] < 0x80) cpt_text_add_bytes(t, (const char *)b + i, 1);
        else cpt_text_add_bytes(t, two, 2);
    }
    add_word(t, "latin1");
    add_op(t, 0x86);
    add_op(t, 'R');
}

static void add_lengths(cpt_text *t, int n, const int64_t *lengths)
{
    add_op(t, '(');
    for (int i = 0; i < n; i++) add_int(t, lengths[i]);
    add_op(t, 't');
}

static const char *storage_name(cpt_dtype dtype)
{
    switch (dtype) {
    case CPT_F32: return "Float";
    case CPT_F64: return "Double";
    case CPT_F16: return "Half";
    case CPT_BF16: return "BFloat16";
    case CPT_I64: return "Long";
    case CPT_I32: return "Int";
    case CPT_I16: return "Short";
    case CPT_I8: return "Char";
    case CPT_U8: return "Byte";
    case CPT_BOOL: return "Bool";
    default: return NULL; /* unsigned types came late to torch and have no storage name */
    }
}

static cpt_status add_tensor(writer *w, const cpt_tensor *t, cpt_err *e)
{
    cpt_text *p = &w->pickle;
    const char *type = storage_name(t->dtype);
    if (!type || !t->contiguous)
        return cpt_fail(e, CPT_ERR_USAGE, "%s: a tensor of %s%s cannot be written", w->path,
                        cpt_dtype_name(t->dtype), t->contiguous ? "" : " with gaps");
    cpt_status status =
        cpt_grow(&w->tensors, &w->capacity, w->n_tensors + 1, sizeof *w->tensors, e);
    if (status) return status;
    char key[24];
    snprintf(key, sizeof key, "%zu", w->n_tensors);
    w->tensors[w->n_tensors++] = t;
    cpt_text_addf(p, "ctorch._utils\n_rebuild_tensor_v2\n((");
    add_word(p, "storage");
    cpt_text_addf(p, "ctorch\n%sStorage\n", type);
    add_word(p, key);
    add_word(p, "cpu");
    add_int(p, t->n_items);
    add_op(p, 't');
    add_op(p, 'Q');
    add_int(p, 0);
    add_lengths(p, t->n_dims, t->shape);
    add_lengths(p, t->n_dims, t->strides);
    add_bool(p, false);
    cpt_text_add(p, "ccollections\nOrderedDict\n)RtR");
    return CPT_OK;
}

static const char *numpy_name(cpt_dtype dtype)
{
    static const char *const names[] = {
        [CPT_U8] = "u1",  [CPT_I8] = "i1",  [CPT_U16] = "u2",  [CPT_I16] = "i2", [CPT_U32] = "u4",
        [CPT_I32] = "i4", [CPT_U64] = "u8", [CPT_I64] = "i8",  [CPT_F16] = "f2", [CPT_BF16] = NULL,
        [CPT_F32] = "f4", [CPT_F64] = "f8", [CPT_BOOL] = "b1",
    };
    return names[dtype];
}

/* (3, order, None, None, None, -1, -1, flags): 63 marks a type that holds Python objects. */
static void add_numpy_type(cpt_text *p, const char *name, const char *order, int flags)
{
    cpt_text_add(p, "cnumpy\ndtype\n(");
    add_word(p, name);
    add_bool(p, false);
    add_bool(p, true);
    cpt_text_add(p, "tR(");
    add_int(p, 3);
    add_word(p, order);
    cpt_text_add(p, "NNN");
    add_int(p, -1);
    add_int(p, -1);
    add_int(p, flags);
    cpt_text_add(p, "tb");
}

static cpt_status add_value(writer *w, const cpt_value *v, int depth, cpt_err *e);

static cpt_status add_values(writer *w, cpt_value *const *items, int64_t n, int depth, cpt_err *e)
{
    cpt_status status = CPT_OK;
    add_op(&w->pickle, '(');
    for (int64_t i = 0; i < n && !status; i++) status = add_value(w, items[i], depth, e);
    return status;
}

static cpt_status add_array(writer *w, const cpt_value *v, int depth, cpt_err *e)
{
    cpt_text *p = &w->pickle;
    cpt_status status = CPT_OK;
    int64_t n = 1;
    bool objects = v->as.array.objects != NULL;
    const char *name = objects ? "O8" : numpy_name(v->as.array.dtype);
    size_t size = objects ? 8 : cpt_dtype_size(v->as.array.dtype);
    if (!name) return cpt_fail(e, CPT_ERR_USAGE, "%s: NumPy has no bf16 arrays", w->path);
    for (int i = 0; i < v->as.array.n_dims; i++) n *= v->as.array.shape[i];
    cpt_text_add(p, "cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK");
    add_little(p, 0, 1);
    add_op(p, 0x85);
    add_bytes(p, (const unsigned char *)"b", 1);
    add_op(p, 0x87);
    cpt_text_add(p, "R(");
    add_int(p, 1);
    add_lengths(p, v->as.array.n_dims, v->as.array.shape);
    add_numpy_type(p, name, objects || size == 1 ? "|" : "<", objects ? 63 : 0);
    add_bool(p, false);
    if (objects) {
        add_op(p, ']');
        status = add_values(w, v->as.array.objects, n, depth, e);
        add_op(p, 'e');
    } else add_bytes(p, v->as.array.data, (size_t)n * size);
    cpt_text_add(p, "tb");
    return status;
}

static cpt_status add_dict(writer *w, const cpt_value *v, int depth, cpt_err *e)
{
    bool ordered = cpt_node_of(v)->role == CPT_ROLE_ORDERED;
    cpt_text_add(&w->pickle, ordered ? "ccollections\nOrderedDict\n)R" : "}");
    cpt_status status = add_values(w, v->as.list.items, 2 * v->as.list.n, depth, e);
    add_op(&w->pickle, 'u');
    return status;
}

static cpt_status add_list(writer *w, const cpt_value *v, int depth, cpt_err *e)
{
    bool tuple = v->kind == CPT_VALUE_TUPLE;
    if (!tuple) add_op(&w->pickle, ']');
    cpt_status status = add_values(w, v->as.list.items, v->as.list.n, depth, e);
    add_op(&w->pickle, tuple ? 't' : 'e');
    return status;
}

/* Recursion as deep as the tree, which is bounded. */
static cpt_status add_value(writer *w, const cpt_value *v, int depth, cpt_err *e)
{
    cpt_text *p = &w->pickle;
    if (depth > CPT_MOST_NESTED)
        return cpt_fail(e, CPT_ERR_USAGE, "%s: values are nested too deep to be written", w->path);
    if ((v->kind == CPT_VALUE_TEXT || v->kind == CPT_VALUE_BYTES) &&
        v->as.text.length > UINT32_MAX / 2)
        return cpt_fail(e, CPT_ERR_USAGE, "%s: a text is too long to be written", w->path);
    switch (v->kind) {
    case CPT_VALUE_NONE: add_op(p, 'N'); break;
    case CPT_VALUE_BOOL: add_bool(p, v->as.boolean); break;
    case CPT_VALUE_INT: add_int(p, v->as.integer); break;
    case CPT_VALUE_FLOAT: add_float(p, v->as.number); break;
    case CPT_VALUE_BYTES:
        add_bytes(p, (const unsigned char *)v->as.text.bytes, v->as.text.length);
        break;
    case CPT_VALUE_TEXT:
        if (!cpt_utf8_valid(v->as.text.bytes, v->as.text.length))
            return cpt_fail(e, CPT_ERR_USAGE, "%s: the text '%s' is not UTF-8", w->path,
                            v->as.text.bytes);
        add_text(p, v->as.text.bytes, v->as.text.length);
        break;
    case CPT_VALUE_LIST:
    case CPT_VALUE_TUPLE: return add_list(w, v, depth + 1, e);
    case CPT_VALUE_DICT: return add_dict(w, v, depth + 1, e);
    case CPT_VALUE_TENSOR: return add_tensor(w, v->as.tensor, e);
    case CPT_VALUE_ARRAY: return add_array(w, v, depth + 1, e);
    default: return cpt_fail(e, CPT_ERR_USAGE, "%s: an unknown object cannot be written", w->path);
    }
    return CPT_OK;
}

/* ---- archive ---- */

static cpt_status put(writer *w, const void *bytes, size_t n, cpt_err *e)
{
    if (n && fwrite(bytes, 1, n, w->out.file) != n)
        return cpt_fail(e, CPT_ERR_IO, "%s: cannot be written; is the disk full?", w->path);
    w->at += n;
    return CPT_OK;
}

/* The fields that local header and directory have in common, from flags to uncompressed size. */
static void add_common(cpt_text *h, uint32_t crc, uint64_t size, bool wide)
{
    add_little(h, FLAG_UTF8, 2);
    add_little(h, 0, 2); /* stored */
    add_little(h, 0, 2); /* midnight */
    add_little(h, DOS_DATE, 2);
    add_little(h, crc, 4);
    add_little(h, wide ? 0xffffffff : size, 4);
    add_little(h, wide ? 0xffffffff : size, 4);
}

/* Local header with both sizes in a ZIP64 extra field when they are large, and padding. */
static void add_local(cpt_text *h, const char *name, uint32_t crc, uint64_t size, uint64_t at)
{
    bool wide = size >= 0xffffffff;
    size_t fixed = 30 + strlen(name) + (wide ? 20 : 0) + 4;
    size_t padding = (ALIGNMENT - (at + fixed) % ALIGNMENT) % ALIGNMENT;
    cpt_text_add_bytes(h, "PK\3\4", 4);
    add_little(h, wide ? VERSION_ZIP64 : 20, 2);
    add_common(h, crc, size, wide);
    add_little(h, strlen(name), 2);
    add_little(h, (wide ? 20 : 0) + 4 + padding, 2);
    cpt_text_add(h, name);
    if (wide) {
        add_little(h, 1, 2);
        add_little(h, 16, 2);
        add_little(h, size, 8);
        add_little(h, size, 8);
    }
    cpt_text_add_bytes(h, "FB", 2);
    add_little(h, padding, 2);
    while (padding-- > 0) add_op(h, 'Z');
}

static void add_central(cpt_text *d, const char *name, uint32_t crc, uint64_t size, uint64_t at)
{
    bool wide = size >= 0xffffffff, far = at >= 0xffffffff;
    size_t extra = (wide ? 16 : 0) + (far ? 8 : 0);
    cpt_text_add_bytes(d, "PK\1\2", 4);
    add_little(d, wide || far ? VERSION_ZIP64 : 20, 2);
    add_little(d, wide || far ? VERSION_ZIP64 : 20, 2);
    add_common(d, crc, size, wide);
    add_little(d, strlen(name), 2);
    add_little(d, extra ? extra + 4 : 0, 2);
    add_little(d, 0, 6); /* length of the comment, disk, internal attributes */
    add_little(d, 0, 4); /* external attributes */
    add_little(d, far ? 0xffffffff : at, 4);
    cpt_text_add(d, name);
    if (!extra) return;
    add_little(d, 1, 2);
    add_little(d, extra, 2);
    if (wide) add_little(d, size, 8), add_little(d, size, 8);
    if (far) add_little(d, at, 8);
}

static cpt_status put_entry(writer *w, const char *name, const void *bytes, size_t size, cpt_err *e)
{
    uint32_t crc = size ? libdeflate_crc32(0, bytes, size) : 0;
    cpt_text header = {0};
    add_local(&header, name, crc, size, w->at);
    add_central(&w->directory, name, crc, size, w->at);
    w->n_entries++;
    cpt_status status = cpt_text_status(&header, e);
    if (!status) status = cpt_text_status(&w->directory, e);
    if (!status) status = put(w, header.bytes, header.length, e);
    if (!status) status = put(w, bytes, size, e);
    cpt_text_free(&header);
    return status;
}

/* Directory, ZIP64 end record with its locator (PyTorch writes them always), end record. */
static cpt_status put_directory(writer *w, cpt_err *e)
{
    cpt_text *d = &w->directory;
    uint64_t start = w->at, size = d->length, n = w->n_entries;
    cpt_text_add_bytes(d, "PK\6\6", 4);
    add_little(d, 44, 8);
    add_little(d, VERSION_ZIP64, 2);
    add_little(d, VERSION_ZIP64, 2);
    add_little(d, 0, 8);
    add_little(d, n, 8);
    add_little(d, n, 8);
    add_little(d, size, 8);
    add_little(d, start, 8);
    cpt_text_add_bytes(d, "PK\6\7", 4);
    add_little(d, 0, 4);
    add_little(d, start + size, 8);
    add_little(d, 1, 4);
    cpt_text_add_bytes(d, "PK\5\6", 4);
    add_little(d, 0, 4);
    add_little(d, n < 0xffff ? n : 0xffff, 2);
    add_little(d, n < 0xffff ? n : 0xffff, 2);
    add_little(d, size < 0xffffffff ? size : 0xffffffff, 4);
    add_little(d, start < 0xffffffff ? start : 0xffffffff, 4);
    add_little(d, 0, 2);
    cpt_status status = cpt_text_status(d, e);
    return status ? status : put(w, d->bytes, d->length, e);
}

static cpt_status put_archive(writer *w, cpt_err *e)
{
    char name[48];
    cpt_status status = put_entry(w, "archive/data.pkl", w->pickle.bytes, w->pickle.length, e);
    if (!status) status = put_entry(w, "archive/byteorder", "little", 6, e);
    for (size_t i = 0; i < w->n_tensors && !status; i++) {
        const cpt_tensor *t = w->tensors[i];
        snprintf(name, sizeof name, "archive/data/%zu", i);
        status = put_entry(w, name, t->data, (size_t)t->n_items * cpt_dtype_size(t->dtype), e);
    }
    if (!status) status = put_entry(w, "archive/version", "3\n", 2, e);
    return status ? status : put_directory(w, e);
}

cpt_status cpt_torch_write(const char *path, const cpt_value *root, cpt_err *e)
{
    writer w = {.path = path};
    cpt_status status;
    if (!root) return cpt_fail(e, CPT_ERR_MEMORY, "%s: out of memory", path);
    add_op(&w.pickle, 0x80);
    add_op(&w.pickle, 2);
    CPT_TRY(add_value(&w, root, 0, e));
    add_op(&w.pickle, '.');
    CPT_TRY(cpt_text_status(&w.pickle, e));
    CPT_TRY(cpt_atomic_open(path, &w.out, e));
    CPT_TRY(put_archive(&w, e));
    CPT_TRY(cpt_atomic_commit(&w.out, e));
done:
    cpt_atomic_abandon(&w.out);
    cpt_text_free(&w.pickle);
    cpt_text_free(&w.directory);
    free(w.tensors);
    return status;
}

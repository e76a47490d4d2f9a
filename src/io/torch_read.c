/* PyTorch's files: a ZIP of stored entries under one common prefix P,
 *
 *   P/data.pkl       a pickle; tensors are calls of torch._utils._rebuild_tensor_v2 on storages
 *   P/data/<number>  the bytes of one storage
 *   P/byteorder      "little" or "big"; little when absent
 *
 * and bare pickles (attr.pkl of old scvi-tools). The pickle runs on the inert machine of pickle.h;
 * this file supplies the meaning of torch's and Python's own names and then lists the tensors that
 * sit in dictionaries, lists and tuples, by path. Opaque objects are not searched.
 *
 * Checks: a storage must have the size its element type and count say and a matching CRC-32 (at
 * the speed of memory: 200 MB take some 50 ms); sizes and strides of a tensor must stay inside of
 * it. Storages may be shared (tied weights), and the walk bounds what cycles and shared lists
 * multiply. */
#include "base/memory.h"
#include "io/checkpoint_owned.h"
#include "io/numpy_read.h"
#include "io/zip.h"

#include <stdlib.h>
#include <string.h>

enum {
    MOST_VISITS = 20000000, /* values looked at while tensors are listed */
    LONGEST_PATH = 4096,    /* of a tensor */
    MOST_REPEATED = 1 << 24 /* items of a tensor that shows a smaller storage repeatedly */
};

typedef struct storage {
    const unsigned char *bytes;
    size_t size;
    cpt_dtype dtype;
    bool untyped;
} storage;

typedef struct reader {
    struct checkpoint_owned *o;
    cpt_zip zip;
    char *folder;   /* "P/data/" */
    bool *verified; /* per entry of the archive */
    int64_t n_rebuilt;
} reader;

/* ---- storages ---- */

static const struct {
    const char *storage, *name; /* torch.FloatStorage, torch.float32 */
    cpt_dtype dtype;
} types[] = {
    {"Float", "float32", CPT_F32}, {"Double", "float64", CPT_F64},
    {"Half", "float16", CPT_F16},  {"BFloat16", "bfloat16", CPT_BF16},
    {"Long", "int64", CPT_I64},    {"Int", "int32", CPT_I32},
    {"Short", "int16", CPT_I16},   {"Char", "int8", CPT_I8},
    {"Byte", "uint8", CPT_U8},     {"Bool", "bool", CPT_BOOL},
    {"", "uint16", CPT_U16},       {"", "uint32", CPT_U32},
    {"", "uint64", CPT_U64},
};
enum { N_TYPES = sizeof types / sizeof *types };

static bool storage_type(const char *name, storage *s)
{
    if (strncmp(name, "torch.", 6) != 0) return false;
    name += 6;
    if (strncmp(name, "cuda.", 5) == 0) name += 5;
    if (strcmp(name, "storage.UntypedStorage") == 0 || strcmp(name, "UntypedStorage") == 0) {
        s->untyped = true;
        s->dtype = CPT_U8;
        return true;
    }
    for (int i = 0; i < N_TYPES; i++) {
        size_t n = strlen(types[i].storage);
        if (n && strncmp(name, types[i].storage, n) == 0 && strcmp(name + n, "Storage") == 0) {
            s->dtype = types[i].dtype;
            return true;
        }
    }
    return false;
}

/* "torch.float32" */
static bool named_type(const cpt_value *name, cpt_dtype *dtype)
{
    if (!name || name->kind != CPT_VALUE_NAME || strncmp(name->as.text.bytes, "torch.", 6) != 0)
        return false;
    for (int i = 0; i < N_TYPES; i++)
        if (strcmp(name->as.text.bytes + 6, types[i].name) == 0) {
            *dtype = types[i].dtype;
            return true;
        }
    return false;
}

static cpt_status verify_once(reader *r, const cpt_zip_entry *entry, cpt_err *e)
{
    size_t i = (size_t)(entry - r->zip.entries);
    if (r->verified[i]) return CPT_OK;
    r->verified[i] = true;
    return cpt_zip_verify(&r->zip, entry, e);
}

static bool is_number(const cpt_value *key)
{
    const char *s = cpt_value_text(key);
    size_t n = s ? key->as.text.length : 0;
    return n > 0 && n < 20 && strspn(s, "0123456789") == n;
}

static cpt_status find_storage(cpt_pickle *p, const cpt_value *key, int64_t n_items, storage *s,
                               cpt_err *e)
{
    reader *r = p->data;
    char name[LONGEST_PATH];
    size_t bytes;
    int n = snprintf(name, sizeof name, "%s%s", r->folder, key->as.text.bytes);
    const cpt_zip_entry *entry = n < (int)sizeof name ? cpt_zip_find(&r->zip, name) : NULL;
    if (!entry) return cpt_pickle_fail(p, e, "storage %s is not in the file", key->as.text.bytes);
    if (n_items < 0 || !cpt_size_mul((size_t)n_items, cpt_dtype_size(s->dtype), &bytes) ||
        bytes != entry->size)
        return cpt_pickle_fail(p, e, "storage %s should hold %lld items of %s, but has %zu bytes",
                               key->as.text.bytes, (long long)n_items, cpt_dtype_name(s->dtype),
                               entry->size);
    s->bytes = entry->bytes;
    s->size = entry->size;
    return verify_once(r, entry, e);
}

/* ('storage', <type>, '0', 'cpu', number of items); where it was, 'cuda:0', does not matter. */
static cpt_status load_storage(cpt_pickle *p, const cpt_value *id, cpt_value **out, cpt_err *e)
{
    const cpt_value *type = cpt_value_item(id, 1), *key = cpt_value_item(id, 2);
    const cpt_value *n_items = cpt_value_item(id, 4);
    if (!n_items || n_items->kind != CPT_VALUE_INT || type->kind != CPT_VALUE_NAME ||
        !cpt_value_is_text(cpt_value_item(id, 0), "storage") || !is_number(key))
        return cpt_pickle_fail(p, e, "a reference to a storage is not in order");
    storage *s = cpt_arena_take(p->arena, sizeof *s);
    cpt_value *v = cpt_value_new(p->arena, CPT_VALUE_OPAQUE);
    if (!s || !v) return cpt_pickle_memory(p, e);
    if (!storage_type(type->as.text.bytes, s))
        return cpt_pickle_unsupported(p, e, "element type '%s' is not supported",
                                      type->as.text.bytes);
    cpt_status status = find_storage(p, key, n_items->as.integer, s, e);
    cpt_node_of(v)->role = CPT_ROLE_STORAGE;
    cpt_node_of(v)->extra = s;
    *out = v;
    return status;
}

/* ---- tensors ---- */

static int take_lengths(const cpt_value *tuple, int64_t out[CPT_TENSOR_MAX_DIMS])
{
    if (!tuple || tuple->kind != CPT_VALUE_TUPLE || tuple->as.list.n > CPT_TENSOR_MAX_DIMS)
        return -1;
    for (int64_t i = 0; i < tuple->as.list.n; i++) {
        const cpt_value *v = tuple->as.list.items[i];
        if (v->kind != CPT_VALUE_INT) return -1;
        out[i] = v->as.integer;
    }
    return (int)tuple->as.list.n;
}

/* Index of the last item plus one must not be above `available`. */
static bool inside(const cpt_tensor *t, int64_t offset, int64_t available)
{
    int64_t end = offset;
    if (offset < 0 || offset > available) return false;
    if (t->n_items == 0) return true;
    for (int i = 0; i < t->n_dims; i++) {
        int64_t reach;
        if (__builtin_mul_overflow(t->shape[i] - 1, t->strides[i], &reach) ||
            __builtin_add_overflow(end, reach, &end))
            return false;
    }
    return end < available && (t->n_items <= available || t->n_items <= MOST_REPEATED);
}

static cpt_status place_tensor(cpt_pickle *p, cpt_tensor *t, const storage *s,
                               const cpt_value *arguments, cpt_err *e)
{
    int64_t shape[CPT_TENSOR_MAX_DIMS], strides[CPT_TENSOR_MAX_DIMS];
    const cpt_value *offset = cpt_value_item(arguments, 1);
    int n = take_lengths(cpt_value_item(arguments, 2), shape);
    int n_strides = take_lengths(cpt_value_item(arguments, 3), strides);
    int64_t available = (int64_t)(s->size / cpt_dtype_size(t->dtype));
    if (!offset || offset->kind != CPT_VALUE_INT || n < 0 || n != n_strides ||
        !cpt_tensor_lay_out(t, n, shape, strides))
        return cpt_pickle_fail(p, e, "a tensor has no proper shape");
    if (!inside(t, offset->as.integer, available))
        return cpt_pickle_fail(p, e, "a tensor reaches beyond its storage");
    t->data = s->bytes + (size_t)offset->as.integer * cpt_dtype_size(t->dtype);
    return CPT_OK;
}

/* (storage, offset, size, stride, requires_grad, hooks); version 3: dtype after these. */
static cpt_status rebuild_tensor(cpt_pickle *p, const cpt_value *arguments, int version,
                                 cpt_value **out, cpt_err *e)
{
    reader *r = p->data;
    const cpt_value *from = cpt_value_item(arguments, 0);
    if (!from || cpt_node_of(from)->role != CPT_ROLE_STORAGE)
        return cpt_pickle_fail(p, e, "a tensor has no storage");
    const storage *s = cpt_node_of(from)->extra;
    cpt_tensor *t = cpt_arena_take(p->arena, sizeof *t);
    cpt_value *v = cpt_value_new(p->arena, CPT_VALUE_TENSOR);
    if (!t || !v) return cpt_pickle_memory(p, e);
    t->name = "";
    t->dtype = s->dtype;
    if (version == 3 && !named_type(cpt_value_item(arguments, 6), &t->dtype))
        return cpt_pickle_unsupported(p, e, "the element type of a tensor is not supported");
    if (version == 2 && s->untyped) return cpt_pickle_fail(p, e, "a tensor has no element type");
    cpt_status status = place_tensor(p, t, s, arguments, e);
    v->as.tensor = t;
    r->n_rebuilt++;
    *out = v;
    return status;
}

static cpt_status rebuild_parameter(cpt_pickle *p, const cpt_value *arguments, cpt_value **out,
                                    cpt_err *e)
{
    *out = cpt_value_item(arguments, 0);
    if (*out && (*out)->kind == CPT_VALUE_TENSOR) return CPT_OK;
    return cpt_pickle_fail(p, e, "a parameter has no tensor");
}

/* ---- Python's own ---- */

/* OrderedDict and dict, also from a list of pairs. */
static cpt_status new_dict(cpt_pickle *p, const cpt_value *pairs, cpt_value **out, cpt_err *e)
{
    cpt_value *dict = cpt_value_new(p->arena, CPT_VALUE_DICT), *pair;
    if (!dict) return cpt_pickle_memory(p, e);
    for (int64_t i = 0; (pair = cpt_value_item(pairs, i)) != NULL; i++) {
        cpt_value *key = cpt_value_item(pair, 0), *value = cpt_value_item(pair, 1);
        if (!key || !value) return cpt_pickle_fail(p, e, "a dictionary is not made of pairs");
        cpt_put put = cpt_value_add_pair(p->arena, dict, key, value);
        if (put == CPT_PUT_MEMORY) return cpt_pickle_memory(p, e);
        if (put == CPT_PUT_TOO_DEEP) return cpt_pickle_fail(p, e, "values are nested too deep");
    }
    *out = dict;
    return CPT_OK;
}

/* Protocol 2 has no bytes: each is written as the character of the same number. */
static cpt_status encode_latin1(cpt_pickle *p, const cpt_value *arguments, cpt_value **out,
                                cpt_err *e)
{
    const cpt_value *text = cpt_value_item(arguments, 0), *code = cpt_value_item(arguments, 1);
    if (!cpt_value_text(text) || !cpt_value_is_text(code, "latin1")) return CPT_OK;
    cpt_value *v = cpt_value_new(p->arena, CPT_VALUE_BYTES);
    unsigned char *b = cpt_arena_take(p->arena, text->as.text.length + 1);
    if (!v || !b) return cpt_pickle_memory(p, e);
    const unsigned char *s = (const unsigned char *)text->as.text.bytes;
    size_t n = 0, length = text->as.text.length;
    for (size_t i = 0; i < length; i++) { /* valid UTF-8: 1 byte, or 2 that begin with c2 or c3 */
        if (s[i] > 0xc3) return cpt_pickle_fail(p, e, "a byte is above 255");
        if (s[i] < 0x80) b[n++] = s[i];
        else {
            b[n++] = (unsigned char)(s[i] << 6 | (s[i + 1] & 63));
            i++;
        }
    }
    v->as.text.bytes = (const char *)b;
    v->as.text.length = n;
    *out = v;
    return CPT_OK;
}

/* Python 2 said __builtin__ and torch.save writes protocol 2. */
static const char *builtin_name(const cpt_value *name)
{
    const char *s = name->as.text.bytes;
    if (strncmp(s, "builtins.", 9) == 0) return s + 9;
    if (strncmp(s, "__builtin__.", 12) == 0) return s + 12;
    return "";
}

static cpt_status call_python(cpt_pickle *p, const cpt_value *name, const cpt_value *arguments,
                              cpt_value **out, cpt_err *e)
{
    const char *builtin = builtin_name(name);
    cpt_value *first = cpt_value_item(arguments, 0);
    if (cpt_value_is_text(name, "collections.OrderedDict") || strcmp(builtin, "dict") == 0)
        return new_dict(p, first, out, e);
    if (cpt_value_is_text(name, "collections.defaultdict")) return new_dict(p, NULL, out, e);
    if (cpt_value_is_text(name, "_codecs.encode")) return encode_latin1(p, arguments, out, e);
    if (strcmp(builtin, "bytes") == 0 && !first) {
        *out = cpt_value_new_bytes(p->arena, CPT_VALUE_BYTES, "", 0);
        return *out ? CPT_OK : cpt_pickle_memory(p, e);
    }
    if ((strcmp(builtin, "set") == 0 || strcmp(builtin, "frozenset") == 0) && first &&
        first->kind == CPT_VALUE_LIST)
        *out = first;
    if (cpt_value_is_text(name, "torch.Size") && first && first->kind == CPT_VALUE_TUPLE)
        *out = first;
    return CPT_OK;
}

static cpt_status call(cpt_pickle *p, const cpt_value *name, const cpt_value *arguments,
                       cpt_value **out, cpt_err *e)
{
    if (cpt_value_is_text(name, "torch._utils._rebuild_tensor_v2"))
        return rebuild_tensor(p, arguments, 2, out, e);
    if (cpt_value_is_text(name, "torch._utils._rebuild_tensor_v3"))
        return rebuild_tensor(p, arguments, 3, out, e);
    if (cpt_value_is_text(name, "torch._utils._rebuild_parameter") ||
        cpt_value_is_text(name, "torch._utils._rebuild_parameter_with_state"))
        return rebuild_parameter(p, arguments, out, e);
    cpt_status status = call_python(p, name, arguments, out, e);
    return status || *out ? status : cpt_numpy_call(p, name, arguments, out, e);
}

/* ---- the list of tensors ---- */

typedef struct frame {
    const cpt_value *value;
    int64_t next;
    size_t path; /* length of the path of `value` */
} frame;

/* Appends ".key" to the path; a path that is too long stays too long and names no tensor. */
static void extend_path(cpt_text *path, const frame *f, const cpt_value *container, int64_t i)
{
    path->length = f->path;
    if (path->bytes) path->bytes[path->length] = '\0';
    if (path->length > LONGEST_PATH) return;
    const cpt_value *key =
        container->kind == CPT_VALUE_DICT ? container->as.list.items[2 * i] : NULL;
    if (f->path) cpt_text_add(path, ".");
    if (!key) cpt_text_addf(path, "%lld", (long long)i);
    else if (key->kind == CPT_VALUE_INT) cpt_text_addf(path, "%lld", (long long)key->as.integer);
    else if (key->kind == CPT_VALUE_TEXT)
        cpt_text_add_bytes(path, key->as.text.bytes,
                           key->as.text.length <= LONGEST_PATH ? key->as.text.length
                                                               : LONGEST_PATH + 1);
    else cpt_text_addf(path, "#%lld", (long long)i); /* a key that is no text: by position */
}

static cpt_status list_tensor(struct checkpoint_owned *o, const cpt_value *v, const cpt_text *path,
                              cpt_err *e)
{
    if (path->length > LONGEST_PATH)
        return cpt_fail(e, CPT_ERR_UNSUPPORTED, "%s: the name of a tensor has more than %d bytes",
                        o->path, LONGEST_PATH);
    cpt_tensor *t = (cpt_tensor *)(uintptr_t)v->as.tensor; /* in the arena */
    cpt_tensor named = *t;
    if (!(named.name = cpt_arena_copy(&o->arena, cpt_text_str(path), path->length)))
        return cpt_fail(e, CPT_ERR_MEMORY, "%s: out of memory", o->path);
    t->name = named.name;
    return cpt_checkpoint_add(o, &named, e);
}

static bool is_searched(const cpt_value *v)
{
    return v->kind == CPT_VALUE_DICT || v->kind == CPT_VALUE_LIST || v->kind == CPT_VALUE_TUPLE;
}

/* Depth first, in the order of the file, on a stack of its own. */
static cpt_status list_tensors(struct checkpoint_owned *o, const cpt_value *root, cpt_err *e)
{
    frame frames[CPT_MOST_NESTED + 1] = {{.value = root}};
    cpt_text path = {0};
    cpt_status status = CPT_OK;
    int64_t n_visits = 0;
    int depth = is_searched(root) ? 1 : 0;
    if (root->kind == CPT_VALUE_TENSOR) status = list_tensor(o, root, &path, e);
    while (depth > 0 && !status) {
        frame *f = &frames[depth - 1];
        if (f->next == f->value->as.list.n) {
            depth--;
            continue;
        }
        int64_t i = f->next++;
        const cpt_value *v =
            f->value->as.list.items[f->value->kind == CPT_VALUE_DICT ? 2 * i + 1 : i];
        bool too_many = ++n_visits > MOST_VISITS;
        if (!is_searched(v) && v->kind != CPT_VALUE_TENSOR && !too_many) continue;
        if (too_many || depth > CPT_MOST_NESTED) {
            status =
                cpt_fail(e, CPT_ERR_FORMAT,
                         "%s: a list in it contains itself or is repeated without end; the file is "
                         "not made by torch.save: download it again",
                         o->path);
            break;
        }
        extend_path(&path, f, f->value, i);
        if (v->kind == CPT_VALUE_TENSOR) status = list_tensor(o, v, &path, e);
        else frames[depth++] = (frame){.value = v, .path = path.length};
    }
    if (!status) status = cpt_text_status(&path, e);
    cpt_text_free(&path);
    return status;
}

/* ---- files ---- */

/* What values may take for a pickle of this size: no real one needs a tenth of it. */
static void limit_memory(struct checkpoint_owned *o, size_t pickle_size)
{
    o->arena.limit =
        ((size_t)64 << 20) + (pickle_size < SIZE_MAX / 1024 ? 256 * pickle_size : SIZE_MAX / 4);
}

static bool ends_in(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

static cpt_status find_pickle(reader *r, const cpt_zip_entry **out, cpt_err *e)
{
    const char *path = r->o->path;
    *out = NULL;
    for (size_t i = 0; i < r->zip.n; i++) {
        const cpt_zip_entry *entry = &r->zip.entries[i];
        if (!ends_in(entry->name, "/data.pkl")) continue;
        if (*out)
            return cpt_fail(
                e, CPT_ERR_FORMAT,
                "%s: %s and %s: two models in one archive; the file is damaged: download it "
                "again",
                path, (*out)->name, entry->name);
        *out = entry;
    }
    if (*out) return CPT_OK;
    return cpt_fail(
        e, CPT_ERR_FORMAT,
        "%s: is a ZIP archive, but not one written by torch.save (no data.pkl among its %zu "
        "entries); unpack it if the model is inside",
        path, r->zip.n);
}

static cpt_status check_byte_order(reader *r, const char *prefix, size_t n_prefix, cpt_err *e)
{
    for (size_t i = 0; i < r->zip.n; i++) {
        const cpt_zip_entry *entry = &r->zip.entries[i];
        if (strncmp(entry->name, prefix, n_prefix) != 0 ||
            strcmp(entry->name + n_prefix, "byteorder") != 0)
            continue;
        cpt_status status = verify_once(r, entry, e);
        if (status) return status;
        if (entry->size != 6 || memcmp(entry->bytes, "little", 6) != 0)
            return cpt_fail(
                e, CPT_ERR_UNSUPPORTED,
                "%s: %s: was written on a big-endian machine; save it again on a common one",
                r->o->path, entry->name);
    }
    return CPT_OK;
}

static cpt_status finish(reader *r, cpt_value *root, cpt_err *e)
{
    r->o->root = root;
    return r->n_rebuilt ? list_tensors(r->o, root, e) : CPT_OK;
}

static cpt_status run_archive(reader *r, cpt_err *e)
{
    const cpt_zip_entry *pickle = NULL;
    cpt_value *root = NULL;
    cpt_status status = find_pickle(r, &pickle, e);
    if (status) return status;
    size_t prefix = strlen(pickle->name) - strlen("data.pkl");
    cpt_text folder = {0};
    cpt_text_add_bytes(&folder, pickle->name, prefix);
    cpt_text_add(&folder, "data/");
    r->folder = folder.bytes;
    CPT_TRY(cpt_text_status(&folder, e));
    CPT_TRY(cpt_alloc(&r->verified, r->zip.n, sizeof *r->verified, e));
    CPT_TRY(check_byte_order(r, pickle->name, prefix, e));
    CPT_TRY(verify_once(r, pickle, e));
    limit_memory(r->o, pickle->size);
    cpt_pickle p = {.path = r->o->path,
                    .place = pickle->name,
                    .bytes = pickle->bytes,
                    .size = pickle->size,
                    .arena = &r->o->arena,
                    .data = r,
                    .call = call,
                    .build = cpt_numpy_build,
                    .persistent = load_storage};
    CPT_TRY(cpt_pickle_run(&p, &root, e));
    CPT_TRY(finish(r, root, e));
    if (r->o->n_tensors == 0)
        status = cpt_fail(
            e, CPT_ERR_FORMAT,
            "%s: %s: holds no tensor in a dictionary or list; save the model's state_dict, "
            "not the model itself",
            r->o->path, pickle->name);
done:
    free(r->folder);
    free(r->verified);
    return status;
}

cpt_status cpt_torch_read(struct checkpoint_owned *o, cpt_err *e)
{
    reader r = {.o = o};
    cpt_status status = cpt_zip_open(o->path, &o->map, &r.zip, e);
    if (status == CPT_OK) status = run_archive(&r, e);
    cpt_zip_free(&r.zip);
    return status;
}

cpt_status cpt_pickle_read(struct checkpoint_owned *o, cpt_err *e)
{
    reader r = {.o = o};
    cpt_value *root = NULL;
    limit_memory(o, o->map.size);
    cpt_pickle p = {.path = o->path,
                    .place = "",
                    .bytes = o->map.bytes,
                    .size = o->map.size,
                    .arena = &o->arena,
                    .data = &r,
                    .call = call,
                    .build = cpt_numpy_build};
    cpt_status status = cpt_pickle_run(&p, &root, e);
    return status ? status : finish(&r, root, e);
}

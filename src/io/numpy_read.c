/* How NumPy pickles itself:
 *
 *   dtype    numpy.dtype('i8', False, True), then state (3, '<', ...): the byte order
 *   array    numpy.core.multiarray._reconstruct(ndarray, (0,), b'b'), then state
 *            (1, shape, dtype, is_fortran, bytes) or (..., list) for dtype object
 *   array    numpy.core.numeric._frombuffer(bytes, dtype, shape, 'C' or 'F')      (protocol 5)
 *   scalar   numpy.core.multiarray.scalar(dtype, bytes)
 *
 * numpy.core became numpy._core in NumPy 2. Fixed-width unicode arrays (dtype U) become arrays of
 * texts, Fortran order becomes row-major. Types not known here (dates, records, other byte orders)
 * leave an opaque value: they occur beside what we need, such as in training histories. */
#include "io/numpy_read.h"
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

enum { OBJECTS = 100, UNICODE, UNKNOWN }; /* codes of types beyond cpt_dtype */

/* ---- types ---- */

static void parse_dtype(const char *s, cpt_node *node)
{
    static const struct {
        const char *name;
        cpt_dtype dtype;
    } types[] = {
        {"u1", CPT_U8},  {"i1", CPT_I8},  {"u2", CPT_U16}, {"i2", CPT_I16},
        {"u4", CPT_U32}, {"i4", CPT_I32}, {"u8", CPT_U64}, {"i8", CPT_I64},
        {"f2", CPT_F16}, {"f4", CPT_F32}, {"f8", CPT_F64}, {"b1", CPT_BOOL},
    };
    int64_t width;
    bool foreign = *s == '>';
    if (*s && strchr("<>|=", *s)) s++;
    node->code = UNKNOWN;
    if (s[0] == 'O') node->code = OBJECTS;
    if (s[0] == 'U' && cpt_parse_i64(s + 1, &width) && width >= 0 && width <= 1 << 20) {
        node->code = UNICODE;
        node->size = (uint32_t)width * 4;
    }
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(s, types[i].name) == 0) {
            node->code = (uint8_t)types[i].dtype;
            node->size = (uint32_t)cpt_dtype_size(types[i].dtype);
        }
    if (foreign && node->size > 1) node->code = UNKNOWN;
}

static cpt_status new_dtype(cpt_pickle *p, const cpt_value *arguments, cpt_value **out, cpt_err *e)
{
    const char *name = cpt_value_text(cpt_value_item(arguments, 0));
    if (!(*out = cpt_value_new(p->arena, CPT_VALUE_OPAQUE))) return cpt_pickle_memory(p, e);
    cpt_node *node = cpt_node_of(*out);
    node->role = CPT_ROLE_DTYPE;
    parse_dtype(name ? name : "", node);
    return CPT_OK;
}

static void build_dtype(cpt_value *dtype, const cpt_value *state)
{
    const char *order = cpt_value_text(cpt_value_item(state, 1));
    cpt_node *node = cpt_node_of(dtype);
    if (order && *order == '>' && node->code != OBJECTS && node->size > 1) node->code = UNKNOWN;
}

static const cpt_node *dtype_node(const cpt_value *v)
{
    return v && cpt_node_of(v)->role == CPT_ROLE_DTYPE ? cpt_node_of(v) : NULL;
}

/* ---- arrays ---- */

/* The array's shape out of a tuple; *n = its items. */
static bool set_shape(cpt_value *array, const cpt_value *shape, int64_t *n)
{
    if (!shape || shape->kind != CPT_VALUE_TUPLE || shape->as.list.n > CPT_TENSOR_MAX_DIMS)
        return false;
    *n = 1;
    for (int i = 0; i < shape->as.list.n; i++) {
        const cpt_value *length = shape->as.list.items[i];
        if (length->kind != CPT_VALUE_INT || length->as.integer < 0 ||
            __builtin_mul_overflow(*n, length->as.integer, n))
            return false;
        array->as.array.shape[i] = length->as.integer;
    }
    array->as.array.n_dims = (int)shape->as.list.n;
    return true;
}

/* Position in row-major order -> position in column-major order, one step at a time. */
static void next_fortran(int n_dims, const int64_t *shape, int64_t *at, int64_t *position)
{
    int64_t stride = 1;
    for (int i = 0; i < n_dims - 1; i++) stride *= shape[i];
    for (int i = n_dims - 1; i >= 0; i--) {
        *position += stride;
        if (++at[i] < shape[i]) return;
        *position -= stride * at[i];
        at[i] = 0;
        if (i > 0) stride /= shape[i - 1];
    }
}

/* Copies n items of `size` bytes from column-major to row-major order. */
static void *transposed(cpt_arena *a, const cpt_value *array, int64_t n, size_t size,
                        const void *from)
{
    char *to = cpt_arena_take(a, (size_t)n * size);
    int64_t at[CPT_TENSOR_MAX_DIMS] = {0}, position = 0;
    for (int64_t i = 0; to && i < n; i++) {
        memcpy(to + (size_t)i * size, (const char *)from + (size_t)position * size, size);
        next_fortran(array->as.array.n_dims, array->as.array.shape, at, &position);
    }
    return to;
}

static size_t put_utf8(char *out, uint32_t c)
{
    if (c < 0x80) return out[0] = (char)c, 1;
    if (c < 0x800) return out[0] = (char)(0xc0 | c >> 6), out[1] = (char)(0x80 | (c & 63)), 2;
    size_t n = c < 0x10000 ? 3 : 4;
    out[0] = (char)(n == 3 ? 0xe0 | c >> 12 : 0xf0 | c >> 18);
    if (n == 4) out[1] = (char)(0x80 | (c >> 12 & 63));
    out[n - 2] = (char)(0x80 | (c >> 6 & 63));
    out[n - 1] = (char)(0x80 | (c & 63));
    return n;
}

/* One item of a unicode array: UCS-4, padded with zeros. NULL: no memory or no such character. */
static cpt_value *unicode_item(cpt_arena *a, const unsigned char *b, size_t width, char *scratch)
{
    size_t n = 0, length = width;
    while (length &&
           !(b[4 * length - 1] | b[4 * length - 2] | b[4 * length - 3] | b[4 * length - 4]))
        length--;
    for (size_t i = 0; i < length; i++) {
        uint32_t c = b[4 * i] | (uint32_t)b[4 * i + 1] << 8 | (uint32_t)b[4 * i + 2] << 16 |
                     (uint32_t)b[4 * i + 3] << 24;
        if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) return NULL;
        n += put_utf8(scratch + n, c);
    }
    return cpt_value_new_bytes(a, CPT_VALUE_TEXT, scratch, n);
}

static bool unicode_items(cpt_arena *a, const unsigned char *b, size_t size, int64_t n,
                          cpt_value **items)
{
    char *scratch = malloc(size + 1); /* UTF-8 is never longer than UCS-4 */
    bool fine = scratch != NULL;
    for (int64_t i = 0; i < n && fine; i++)
        fine = (items[i] = unicode_item(a, b + (size_t)i * size, size / 4, scratch)) != NULL;
    free(scratch);
    return fine;
}

/* Objects come as a list, which NumPy writes in row-major order whatever the order of the array.
 * The items are copied since the list can still grow. */
static cpt_status fill_objects(cpt_pickle *p, cpt_value *array, const cpt_value *data, int64_t n,
                               cpt_err *e)
{
    if (data->kind != CPT_VALUE_LIST || data->as.list.n != n)
        return cpt_pickle_fail(p, e, "an array does not have as many items as its shape says");
    cpt_value **items = cpt_arena_take(p->arena, ((size_t)n + 1) * sizeof *items);
    if (!items) return cpt_pickle_memory(p, e);
    if (n) memcpy(items, data->as.list.items, (size_t)n * sizeof *items);
    cpt_node_of(array)->height = cpt_node_of(data)->height;
    array->as.array.objects = items;
    return CPT_OK;
}

static cpt_status check_bytes(cpt_pickle *p, const cpt_value *data, int64_t n, size_t size,
                              cpt_err *e)
{
    size_t bytes;
    if (data->kind == CPT_VALUE_BYTES && cpt_size_mul((size_t)n, size, &bytes) &&
        bytes == data->as.text.length)
        return CPT_OK;
    return cpt_pickle_fail(p, e, "an array is not as large as its shape says");
}

static cpt_status fill_texts(cpt_pickle *p, cpt_value *array, const cpt_node *dtype, bool fortran,
                             const cpt_value *data, int64_t n, cpt_err *e)
{
    cpt_status status = check_bytes(p, data, n, dtype->size, e);
    if (status) return status;
    /* With items of no width, n would not be bounded by the bytes that are there. */
    if (dtype->size == 0 && n > 0) return cpt_pickle_fail(p, e, "an array has items without width");
    cpt_value **items = cpt_arena_take(p->arena, ((size_t)n + 1) * sizeof *items);
    if (!items) return cpt_pickle_memory(p, e);
    if (!unicode_items(p->arena, (const unsigned char *)data->as.text.bytes, dtype->size, n, items))
        return cpt_pickle_fail(p, e, "an array holds what is no text, or too much of it");
    if (fortran && n) items = transposed(p->arena, array, n, sizeof *items, items);
    if (!items) return cpt_pickle_memory(p, e);
    array->as.array.objects = items;
    return CPT_OK;
}

static cpt_status fill_numbers(cpt_pickle *p, cpt_value *array, const cpt_node *dtype, bool fortran,
                               const cpt_value *data, int64_t n, cpt_err *e)
{
    cpt_status status = check_bytes(p, data, n, dtype->size, e);
    if (status) return status;
    array->as.array.dtype = (cpt_dtype)dtype->code;
    array->as.array.data = data->as.text.bytes;
    if (fortran && n && array->as.array.n_dims > 1)
        array->as.array.data = transposed(p->arena, array, n, dtype->size, data->as.text.bytes);
    return array->as.array.data ? CPT_OK : cpt_pickle_memory(p, e);
}

static cpt_value *new_array(cpt_arena *a)
{
    cpt_value *array = cpt_value_new(a, CPT_VALUE_ARRAY);
    if (!array) return NULL;
    array->as.array.n_dims = 1; /* empty until it is filled */
    array->as.array.data = "";
    cpt_node_of(array)->role = CPT_ROLE_NDARRAY;
    return array;
}

/* Turns into an opaque value what is of an unknown type. */
static cpt_status fill_array(cpt_pickle *p, cpt_value *array, const cpt_value *shape,
                             const cpt_value *type, bool fortran, const cpt_value *data, cpt_err *e)
{
    const cpt_node *dtype = dtype_node(type);
    int64_t n;
    cpt_node_of(array)->role = CPT_ROLE_PLAIN;
    if (!data || !set_shape(array, shape, &n))
        return cpt_pickle_fail(p, e, "an array has no proper shape");
    if (dtype && dtype->code == OBJECTS) return fill_objects(p, array, data, n, e);
    if (dtype && dtype->code == UNICODE) return fill_texts(p, array, dtype, fortran, data, n, e);
    if (dtype && dtype->code != UNKNOWN) return fill_numbers(p, array, dtype, fortran, data, n, e);
    memset(&array->as, 0, sizeof array->as);
    array->kind = CPT_VALUE_OPAQUE;
    return CPT_OK;
}

static cpt_status array_of_buffer(cpt_pickle *p, const cpt_value *arguments, cpt_value **out,
                                  cpt_err *e)
{
    const char *order = cpt_value_text(cpt_value_item(arguments, 3));
    cpt_value *array = new_array(p->arena);
    if (!array) return cpt_pickle_memory(p, e);
    *out = array;
    return fill_array(p, array, cpt_value_item(arguments, 2), cpt_value_item(arguments, 1),
                      order && *order == 'F', cpt_value_item(arguments, 0), e);
}

/* ---- scalars ---- */

static cpt_status new_scalar(cpt_pickle *p, const cpt_value *arguments, cpt_value **out, cpt_err *e)
{
    const cpt_node *dtype = dtype_node(cpt_value_item(arguments, 0));
    const cpt_value *data = cpt_value_item(arguments, 1);
    if (!dtype || dtype->code >= OBJECTS || !data || data->kind != CPT_VALUE_BYTES) return CPT_OK;
    if (data->as.text.length != dtype->size)
        return cpt_pickle_fail(p, e, "a number has the wrong size");
    cpt_tensor one = {.dtype = (cpt_dtype)dtype->code,
                      .n_items = 1,
                      .contiguous = true,
                      .data = data->as.text.bytes};
    bool real = one.dtype == CPT_F16 || one.dtype == CPT_F32 || one.dtype == CPT_F64;
    cpt_value *v = cpt_value_new(p->arena, real                    ? CPT_VALUE_FLOAT
                                           : one.dtype == CPT_BOOL ? CPT_VALUE_BOOL
                                                                   : CPT_VALUE_INT);
    if (!v) return cpt_pickle_memory(p, e);
    if (real) (void)cpt_tensor_read_f64(&one, &v->as.number, NULL);
    else if (one.dtype == CPT_BOOL) v->as.boolean = data->as.text.bytes[0] != 0;
    else if (cpt_tensor_read_i64(&one, &v->as.integer, NULL) != CPT_OK)
        return CPT_OK; /* above 2^63 */
    *out = v;
    return CPT_OK;
}

/* ---- hooks ---- */

/* "numpy.core.multiarray.scalar" and "numpy._core.multiarray.scalar" -> "multiarray.scalar". */
static const char *core_name(const cpt_value *name)
{
    const char *s = name->as.text.bytes;
    if (strncmp(s, "numpy.core.", 11) == 0) return s + 11;
    if (strncmp(s, "numpy._core.", 12) == 0) return s + 12;
    return "";
}

cpt_status cpt_numpy_call(cpt_pickle *p, const cpt_value *name, const cpt_value *arguments,
                          cpt_value **out, cpt_err *e)
{
    const char *core = core_name(name);
    if (cpt_value_is_text(name, "numpy.dtype")) return new_dtype(p, arguments, out, e);
    if (strcmp(core, "multiarray.scalar") == 0) return new_scalar(p, arguments, out, e);
    if (strcmp(core, "numeric._frombuffer") == 0) return array_of_buffer(p, arguments, out, e);
    if (strcmp(core, "multiarray._reconstruct") != 0 ||
        !cpt_value_is_text(cpt_value_item(arguments, 0), "numpy.ndarray"))
        return CPT_OK;
    *out = new_array(p->arena);
    return *out ? CPT_OK : cpt_pickle_memory(p, e);
}

cpt_status cpt_numpy_build(cpt_pickle *p, cpt_value *object, cpt_value *state, bool *taken,
                           cpt_err *e)
{
    cpt_role role = cpt_node_of(object)->role;
    *taken = role == CPT_ROLE_DTYPE || role == CPT_ROLE_NDARRAY;
    if (role == CPT_ROLE_DTYPE) build_dtype(object, state);
    if (role != CPT_ROLE_NDARRAY) return CPT_OK;
    const cpt_value *fortran = cpt_value_item(state, 3);
    return fill_array(p, object, cpt_value_item(state, 1), cpt_value_item(state, 2),
                      fortran && fortran->kind == CPT_VALUE_BOOL && fortran->as.boolean,
                      cpt_value_item(state, 4), e);
}

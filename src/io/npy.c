#include "io/npy.h"
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

/* See npy.h for the format. The header is parsed by a scanner that knows exactly the literal NumPy
 * writes; anything else is refused. */

static const struct {
    const char *name, *descr; /* descr without the byte-order mark */
    size_t size;
} types[] = {
    [CPT_U8] = {"u8", "u1", 1},   [CPT_I8] = {"i8", "i1", 1},    [CPT_U16] = {"u16", "u2", 2},
    [CPT_I16] = {"i16", "i2", 2}, [CPT_U32] = {"u32", "u4", 4},  [CPT_I32] = {"i32", "i4", 4},
    [CPT_U64] = {"u64", "u8", 8}, [CPT_I64] = {"i64", "i8", 8},  [CPT_F16] = {"f16", "f2", 2},
    [CPT_BF16] = {"bf16", "V2", 2}, [CPT_F32] = {"f32", "f4", 4}, [CPT_F64] = {"f64", "f8", 8},
    [CPT_BOOL] = {"bool", "b1", 1},
};
enum { N_TYPES = sizeof types / sizeof *types };

size_t cpt_dtype_size(cpt_dtype t)
{
    return types[t].size;
}

const char *cpt_dtype_name(cpt_dtype t)
{
    return types[t].name;
}

/* Finds `'key':` in the header literal and returns what follows, blanks skipped. */
static const char *header_field(const char *header, const char *key)
{
    const char *p = strstr(header, key);
    if (!p) return NULL;
    p += strlen(key);
    while (*p == ' ') p++;
    return p;
}

static bool parse_descr(const char *p, cpt_dtype *dtype)
{
    if (!p || *p++ != '\'') return false;
    if (*p != '<' && *p != '|') return false;
    p++;
    for (int t = 0; t < N_TYPES; t++) {
        size_t n = strlen(types[t].descr);
        if (strncmp(p, types[t].descr, n) == 0 && p[n] == '\'') {
            *dtype = (cpt_dtype)t;
            return true;
        }
    }
    return false;
}

static bool parse_shape(const char *p, cpt_npy *a)
{
    if (!p || *p++ != '(') return false;
    a->n_items = 1;
    for (a->n_dims = 0; *p != ')';) {
        char *end;
        long long length = strtoll(p, &end, 10);
        if (end == p || length < 0 || a->n_dims == CPT_NPY_MAX_DIMS) return false;
        if (__builtin_mul_overflow(a->n_items, (int64_t)length, &a->n_items)) return false;
        a->shape[a->n_dims++] = length;
        for (p = end; *p == ',' || *p == ' ';) p++;
    }
    return true;
}

static cpt_status parse_header(const char *path, cpt_npy *a, cpt_err *e)
{
    const unsigned char *b = a->map.bytes;
    size_t size = a->map.size, start, length;
    if (size < 12 || memcmp(b, "\x93NUMPY", 6) != 0)
        return cpt_fail(e, CPT_ERR_FORMAT, "%s: not a NumPy .npy file", path);
    if (b[6] == 1) {
        start = 10;
        length = (size_t)b[8] | (size_t)b[9] << 8;
    } else {
        start = 12;
        length = (size_t)b[8] | (size_t)b[9] << 8 | (size_t)b[10] << 16 | (size_t)b[11] << 24;
    }
    if (b[6] < 1 || b[6] > 3 || length > 65536 || length > size - start)
        return cpt_fail(e, CPT_ERR_FORMAT, "%s: .npy header is damaged or of an unknown version", path);
    char *header = malloc(length + 1);
    if (!header) return cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
    memcpy(header, b + start, length);
    header[length] = '\0';
    const char *order = header_field(header, "'fortran_order':");
    bool row_major = order && strncmp(order, "False", 5) == 0;
    bool typed = parse_descr(header_field(header, "'descr':"), &a->dtype);
    bool shaped = parse_shape(header_field(header, "'shape':"), a);
    free(header);
    if (!row_major)
        return cpt_fail(e, CPT_ERR_UNSUPPORTED,
                        "%s: the array is in Fortran order; save it with numpy.ascontiguousarray", path);
    if (!typed)
        return cpt_fail(e, CPT_ERR_UNSUPPORTED,
                        "%s: the element type is not a little-endian number; convert it to float32", path);
    size_t bytes;
    if (!shaped || !cpt_size_mul((size_t)a->n_items, types[a->dtype].size, &bytes) ||
        bytes != size - start - length)
        return cpt_fail(e, CPT_ERR_FORMAT, "%s: shape and file size disagree; the file is cut off", path);
    a->data = b + start + length;
    return CPT_OK;
}

cpt_status cpt_npy_open(const char *path, cpt_npy *a, cpt_err *e)
{
    *a = (cpt_npy){0};
    cpt_status status = cpt_map_open(path, &a->map, e);
    if (status == CPT_OK) status = parse_header(path, a, e);
    if (status) cpt_npy_close(a);
    return status;
}

cpt_status cpt_npy_open_as(const char *path, cpt_dtype dtype, int n_dims, const int64_t *shape,
                           cpt_npy *a, cpt_err *e)
{
    cpt_status status = cpt_npy_open(path, a, e);
    if (status) return status;
    bool fits = a->dtype == dtype && a->n_dims == n_dims;
    for (int i = 0; fits && i < n_dims; i++) fits = shape[i] == -1 || shape[i] == a->shape[i];
    if (fits && ((uintptr_t)a->data % types[dtype].size) == 0) return CPT_OK;
    cpt_npy_close(a);
    return cpt_fail(e, CPT_ERR_FORMAT, "%s: not the array that belongs here (%s, %d dimensions)", path,
                    types[dtype].name, n_dims);
}

void cpt_npy_close(cpt_npy *a)
{
    cpt_map_close(&a->map);
    *a = (cpt_npy){0};
}

/* ---- writing ---- */

/* Room for any shape in one fixed length, so that the header can be rewritten in place. */
enum { HEADER_BYTES = 256 };

static void format_header(char header[HEADER_BYTES], cpt_dtype dtype, int n_dims, const int64_t *shape)
{
    memset(header, ' ', HEADER_BYTES);
    memcpy(header, "\x93NUMPY\x01\x00", 8);
    header[8] = (char)((HEADER_BYTES - 10) & 0xff);
    header[9] = (char)((HEADER_BYTES - 10) >> 8);
    char dims[200] = "";
    size_t n = 0;
    for (int i = 0; i < n_dims; i++)
        n += (size_t)snprintf(dims + n, sizeof dims - n, "%lld%s", (long long)shape[i],
                              n_dims == 1 ? "," : i + 1 < n_dims ? ", " : "");
    int length = snprintf(header + 10, HEADER_BYTES - 10,
                          "{'descr': '%c%s', 'fortran_order': False, 'shape': (%s), }",
                          types[dtype].size == 1 ? '|' : '<', types[dtype].descr, dims);
    header[10 + length] = ' ';
    header[HEADER_BYTES - 1] = '\n';
}

cpt_status cpt_npy_begin(cpt_npy_writer *w, const char *path, cpt_dtype dtype, int n_dims,
                         const int64_t *shape, cpt_err *e)
{
    char header[HEADER_BYTES];
    *w = (cpt_npy_writer){.dtype = dtype, .n_dims = n_dims};
    memcpy(w->shape, shape, (size_t)n_dims * sizeof *shape);
    cpt_status status = cpt_atomic_open(path, &w->out, e);
    if (status) return status;
    format_header(header, dtype, n_dims, shape);
    fwrite(header, 1, sizeof header, w->out.file);
    return CPT_OK;
}

cpt_status cpt_npy_append(cpt_npy_writer *w, const void *items, int64_t n, cpt_err *e)
{
    size_t wrote = n ? fwrite(items, types[w->dtype].size, (size_t)n, w->out.file) : 0;
    if (wrote != (size_t)n)
        return cpt_fail(e, CPT_ERR_IO, "%s: cannot be written; is the disk full?", w->out.path);
    w->n_written += n;
    return CPT_OK;
}

cpt_status cpt_npy_finish(cpt_npy_writer *w, cpt_err *e)
{
    int64_t inner = 1, total;
    for (int i = 1; i < w->n_dims; i++) inner *= w->shape[i];
    if (w->n_dims && w->shape[0] == -1) w->shape[0] = inner ? w->n_written / inner : 0;
    total = w->n_dims ? w->shape[0] * inner : 1;
    if (total != w->n_written) {
        cpt_fail(e, CPT_ERR_INTERNAL, "%s: %lld items written, %lld announced", w->out.path,
                 (long long)w->n_written, (long long)total);
        cpt_npy_abandon(w);
        return CPT_ERR_INTERNAL;
    }
    char header[HEADER_BYTES];
    format_header(header, w->dtype, w->n_dims, w->shape);
    if (fseek(w->out.file, 0, SEEK_SET) == 0) fwrite(header, 1, sizeof header, w->out.file);
    return cpt_atomic_commit(&w->out, e);
}

void cpt_npy_abandon(cpt_npy_writer *w)
{
    cpt_atomic_abandon(&w->out);
}

cpt_status cpt_npy_write(const char *path, cpt_dtype dtype, int n_dims, const int64_t *shape,
                         const void *data, cpt_err *e)
{
    cpt_npy_writer w;
    int64_t n = 1;
    for (int i = 0; i < n_dims; i++) n *= shape[i];
    cpt_status status = cpt_npy_begin(&w, path, dtype, n_dims, shape, e);
    if (status == CPT_OK) status = cpt_npy_append(&w, data, n, e);
    if (status == CPT_OK) return cpt_npy_finish(&w, e);
    cpt_npy_abandon(&w);
    return status;
}

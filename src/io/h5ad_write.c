/* AnnData files in the encodings that anndata 0.8 and later write and read (dataframe 0.2.0,
 * csr_matrix 0.1.0, categorical 0.2.0, string-array 0.2.0, ...).
 *
 * Problem: results must open in anndata.read_h5ad, be small, and have the same bytes whenever and
 * by however many threads they are written.
 * Method: chunks are shuffled and deflated here, many at a time, each by itself, and stored in
 * order as they are; everything else goes through the HDF5 library. No object tracks times.
 * Traps: HDF5 forbids chunks of zero rows, so empty arrays are stored contiguously; attributes
 * beyond 64 KiB (many column names) need the 1.8 object headers; h5py's booleans are an enum of
 * FALSE and TRUE over int8; the HDF5 library is not thread-safe: one writer at a time. */
#include "io/h5ad_write.h"
#include "base/file.h"
#include "base/memory.h"

#include <hdf5.h>
#include <jansson.h>
#include <libdeflate.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_LIMIT = 4096, GZIP_LEVEL = 4, CHUNK_BYTES = 1 << 19, BATCH = 32, MAX_DEPTH = 32 };

struct cpt_h5ad {
    char *path, temporary[PATH_LIMIT];
    hid_t file;
    hid_t text, boolean;   /* types: variable-length UTF-8, h5py's bool */
    hid_t make_link;       /* names are UTF-8 */
    int64_t n_obs, n_var;
    cpt_strings obs_columns, var_columns;
    H5E_auto2_t print;     /* what the process did with HDF5's errors before */
    void *print_data;
    bool silenced;
};

static cpt_status failed(const cpt_h5ad *f, const char *where, cpt_err *e)
{
    return cpt_fail(e, CPT_ERR_IO,
                    "%s: %s: cannot be written; is the disk full, or the name taken?", f->path,
                    where);
}

/* ---- attributes ---- */

static bool put_text_attribute(const cpt_h5ad *f, hid_t object, const char *name, const char *value)
{
    hid_t space = H5Screate(H5S_SCALAR);
    hid_t id = H5Acreate2(object, name, f->text, space, H5P_DEFAULT, H5P_DEFAULT);
    bool good = id >= 0 && H5Awrite(id, f->text, &value) >= 0;
    if (id >= 0) H5Aclose(id);
    H5Sclose(space);
    return good;
}

static bool put_array_attribute(hid_t object, const char *name, hid_t type, hsize_t n,
                                const void *values)
{
    hid_t space = H5Screate_simple(1, &n, NULL);
    hid_t id = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    bool good = id >= 0 && (n == 0 || H5Awrite(id, type, values) >= 0);
    if (id >= 0) H5Aclose(id);
    H5Sclose(space);
    return good;
}

static bool put_encoding(const cpt_h5ad *f, hid_t object, const char *type, const char *version)
{
    return put_text_attribute(f, object, "encoding-type", type) &&
           put_text_attribute(f, object, "encoding-version", version);
}

/* ---- groups ---- */

/* Creates the group with its encoding; -1 on failure. The caller closes it. */
static hid_t create_group(const cpt_h5ad *f, const char *place, const char *type,
                          const char *version)
{
    hid_t plist = H5Pcreate(H5P_GROUP_CREATE);
    H5Pset_obj_track_times(plist, false);
    hid_t id = H5Gcreate2(f->file, place, f->make_link, plist, H5P_DEFAULT);
    H5Pclose(plist);
    if (id >= 0 && !put_encoding(f, id, type, version)) {
        H5Gclose(id);
        return -1;
    }
    return id;
}

static cpt_status put_group(const cpt_h5ad *f, const char *place, const char *type,
                            const char *version, cpt_err *e)
{
    hid_t id = create_group(f, place, type, version);
    if (id < 0 || H5Gclose(id) < 0) return failed(f, place, e);
    return CPT_OK;
}

/* ---- arrays ---- */

static hid_t file_type(const cpt_h5ad *f, cpt_dtype dtype)
{
    switch (dtype) {
    case CPT_I8: return H5T_STD_I8LE;
    case CPT_I16: return H5T_STD_I16LE;
    case CPT_I32: return H5T_STD_I32LE;
    case CPT_I64: return H5T_STD_I64LE;
    case CPT_F32: return H5T_IEEE_F32LE;
    case CPT_F64: return H5T_IEEE_F64LE;
    case CPT_BOOL: return f->boolean;
    default: return -1;
    }
}

/* Byte planes: all first bytes, then all second bytes, ... as the HDF5 shuffle filter does. */
static void shuffle_bytes(const unsigned char *in, size_t n, size_t size, unsigned char *out)
{
    for (size_t b = 0; b < size; b++)
        for (size_t i = 0; i < n; i++) out[b * n + i] = in[i * size + b];
}

typedef struct chunks {
    const unsigned char *bytes;
    size_t total, chunk, size;      /* bytes in all, per chunk, per element */
    size_t bound;                   /* most that a compressed chunk may take */
    unsigned char *packed, *scratch; /* [BATCH][bound], [BATCH][2 * chunk] */
    size_t packed_size[BATCH];
    struct libdeflate_compressor *compressors[BATCH];
} chunks;

static void pack_chunk(chunks *c, size_t first, size_t slot)
{
    size_t start = (first + slot) * c->chunk,
           n = c->total - start < c->chunk ? c->total - start : c->chunk;
    unsigned char *padded = c->scratch + slot * 2 * c->chunk, *planes = padded + c->chunk;
    memcpy(padded, c->bytes + start, n);
    memset(padded + n, 0, c->chunk - n);
    shuffle_bytes(padded, c->chunk / c->size, c->size, planes);
    c->packed_size[slot] = libdeflate_zlib_compress(c->compressors[slot], planes, c->chunk,
                                                    c->packed + slot * c->bound, c->bound);
}

static cpt_status chunks_init(chunks *c, cpt_err *e)
{
    cpt_status status = CPT_OK;
    for (int i = 0; i < BATCH; i++)
        if (!(c->compressors[i] = libdeflate_alloc_compressor(GZIP_LEVEL)))
            return cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
    c->bound = libdeflate_zlib_compress_bound(c->compressors[0], c->chunk);
    CPT_TRY(cpt_alloc(&c->packed, BATCH, c->bound, e));
    CPT_TRY(cpt_alloc(&c->scratch, BATCH, 2 * c->chunk, e));
done:
    return status;
}

static void chunks_free(chunks *c)
{
    for (int i = 0; i < BATCH; i++) libdeflate_free_compressor(c->compressors[i]);
    free(c->packed);
    free(c->scratch);
}

/* Rows are whole in every chunk, so chunk k begins at row k * rows. */
static cpt_status write_chunks(const cpt_h5ad *f, const char *where, hid_t id, chunks *c,
                               hsize_t rows, cpt_err *e)
{
    cpt_status status = chunks_init(c, e);
    size_t n_chunks = (c->total + c->chunk - 1) / c->chunk;
    for (size_t first = 0; first < n_chunks && status == CPT_OK; first += BATCH) {
        int n = (int)(n_chunks - first < BATCH ? n_chunks - first : BATCH);
#pragma omp parallel for schedule(dynamic) if (n > 1)
        for (int i = 0; i < n; i++) pack_chunk(c, first, (size_t)i);
        for (int i = 0; i < n && status == CPT_OK; i++) {
            hsize_t offset[2] = {(first + (size_t)i) * rows, 0};
            if (!c->packed_size[i] || H5Dwrite_chunk(id, H5P_DEFAULT, 0, offset, c->packed_size[i],
                                                     c->packed + (size_t)i * c->bound) < 0)
                status = failed(f, where, e);
        }
    }
    chunks_free(c);
    return status;
}

static hid_t creation_list(int n_dims, const hsize_t *chunk)
{
    hid_t plist = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_obj_track_times(plist, false);
    if (chunk) {
        H5Pset_chunk(plist, n_dims, chunk);
        H5Pset_fill_time(plist, H5D_FILL_TIME_NEVER);
        H5Pset_shuffle(plist);
        H5Pset_deflate(plist, GZIP_LEVEL);
    }
    return plist;
}

/* An array of one or two dimensions with encoding "array" (encoded = false: bare, inside a matrix).
 */
static cpt_status put_array(const cpt_h5ad *f, const char *where, cpt_dtype dtype, int n_dims,
                            const int64_t *shape, const void *values, bool encoded, cpt_err *e)
{
    size_t size = cpt_dtype_size(dtype), row = size, total;
    hsize_t dims[2] = {(hsize_t)shape[0], n_dims == 2 ? (hsize_t)shape[1] : 1}, chunk[2];
    if (!cpt_size_mul(row, (size_t)dims[1], &row) || !cpt_size_mul(row, (size_t)dims[0], &total))
        return cpt_fail(e, CPT_ERR_MEMORY, "%s: %s: too large", f->path, where);
    chunk[0] = row && row < CHUNK_BYTES ? CHUNK_BYTES / row : 1;
    if (chunk[0] > dims[0]) chunk[0] = dims[0];
    chunk[1] = dims[1];
    bool packed = total >= 1024; /* below, the chunk index takes more than compression saves */
    hid_t plist = creation_list(n_dims, packed ? chunk : NULL),
          space = H5Screate_simple(n_dims, dims, NULL);
    hid_t type = file_type(f, dtype);
    hid_t id = H5Dcreate2(f->file, where, type, space, f->make_link, plist, H5P_DEFAULT);
    cpt_status status = id < 0 || (encoded && !put_encoding(f, id, "array", "0.2.0"))
                            ? failed(f, where, e)
                            : CPT_OK;
    if (status == CPT_OK && packed) {
        chunks c = {.bytes = values, .total = total, .chunk = chunk[0] * row, .size = size};
        status = write_chunks(f, where, id, &c, chunk[0], e);
    } else if (status == CPT_OK && total &&
               H5Dwrite(id, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0) {
        status = failed(f, where, e);
    }
    if (id >= 0 && H5Dclose(id) < 0 && status == CPT_OK) status = failed(f, where, e);
    H5Sclose(space);
    H5Pclose(plist);
    return status;
}

/* Texts, one-dimensional or (n = -1) a single one. */
static cpt_status put_texts(const cpt_h5ad *f, const char *where, const char *const *texts,
                            int64_t n, cpt_err *e)
{
    hsize_t dims = (hsize_t)n;
    hid_t plist = creation_list(1, NULL),
          space = n < 0 ? H5Screate(H5S_SCALAR) : H5Screate_simple(1, &dims, NULL);
    hid_t id = H5Dcreate2(f->file, where, f->text, space, f->make_link, plist, H5P_DEFAULT);
    bool good = id >= 0 && put_encoding(f, id, n < 0 ? "string" : "string-array", "0.2.0") &&
                (n == 0 || H5Dwrite(id, f->text, H5S_ALL, H5S_ALL, H5P_DEFAULT, texts) >= 0);
    if (id >= 0) good = H5Dclose(id) >= 0 && good;
    H5Sclose(space);
    H5Pclose(plist);
    return good ? CPT_OK : failed(f, where, e);
}

static cpt_status put_strings(const cpt_h5ad *f, const char *where, const cpt_strings *s,
                              cpt_err *e)
{
    const char **texts;
    cpt_status status = cpt_alloc(&texts, (size_t)s->n, sizeof *texts, e);
    if (status) return status;
    for (int64_t i = 0; i < s->n; i++) texts[i] = cpt_strings_get(s, i);
    status = put_texts(f, where, texts, s->n, e);
    free(texts);
    return status;
}

/* ---- opening and closing ---- */

static cpt_status put_skeleton(cpt_h5ad *f, const cpt_strings *obs_names,
                               const cpt_strings *var_names, cpt_err *e)
{
    static const char *const dicts[] = {"layers", "obsm", "varm", "obsp", "varp", "uns"};
    cpt_status status = CPT_OK;
    hid_t root = H5Gopen2(f->file, "/", H5P_DEFAULT);
    bool good = root >= 0 && put_encoding(f, root, "anndata", "0.1.0");
    if (root >= 0) H5Gclose(root);
    if (!good) return failed(f, "/", e);
    CPT_TRY(put_group(f, "obs", "dataframe", "0.2.0", e));
    CPT_TRY(put_group(f, "var", "dataframe", "0.2.0", e));
    CPT_TRY(put_strings(f, "obs/_index", obs_names, e));
    CPT_TRY(put_strings(f, "var/_index", var_names, e));
    for (size_t i = 0; i < sizeof dicts / sizeof *dicts; i++)
        CPT_TRY(put_group(f, dicts[i], "dict", "0.1.0", e));
done:
    return status;
}

static void make_types(cpt_h5ad *f)
{
    f->text = H5Tcopy(H5T_C_S1);
    H5Tset_size(f->text, H5T_VARIABLE);
    H5Tset_cset(f->text, H5T_CSET_UTF8);
    f->boolean = H5Tenum_create(H5T_STD_I8LE);
    H5Tenum_insert(f->boolean, "FALSE", &(int8_t){0});
    H5Tenum_insert(f->boolean, "TRUE", &(int8_t){1});
    f->make_link = H5Pcreate(H5P_LINK_CREATE);
    H5Pset_char_encoding(f->make_link, H5T_CSET_UTF8);
}

static cpt_status create_file(cpt_h5ad *f, cpt_err *e)
{
    hid_t access = H5Pcreate(H5P_FILE_ACCESS), create = H5Pcreate(H5P_FILE_CREATE);
    H5Pset_libver_bounds(access, H5F_LIBVER_V18, H5F_LIBVER_V110);
    H5Pset_obj_track_times(create, false); /* of the root group */
    f->file = H5Fcreate(f->temporary, H5F_ACC_TRUNC, create, access);
    H5Pclose(access);
    H5Pclose(create);
    if (f->file < 0)
        return cpt_fail(e, CPT_ERR_IO, "%s: cannot be created; is the folder there, and writable?",
                        f->path);
    return CPT_OK;
}

cpt_h5ad *cpt_h5ad_create(const char *path, const cpt_strings *obs_names,
                          const cpt_strings *var_names, cpt_err *e)
{
    cpt_h5ad *f = calloc(1, sizeof *f);
    if (!f || !(f->path = cpt_strdup(path))) {
        cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
        free(f);
        return NULL;
    }
    f->file = f->text = f->boolean = f->make_link = -1;
    f->n_obs = obs_names->n;
    f->n_var = var_names->n;
    if (H5open() < 0) cpt_fail(e, CPT_ERR_INTERNAL, "the HDF5 library does not start");
    else if (cpt_atomic_name(path, f->temporary, sizeof f->temporary, e) == CPT_OK) {
        H5Eget_auto2(H5E_DEFAULT, &f->print, &f->print_data);
        H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
        f->silenced = true;
        make_types(f);
        if (create_file(f, e) == CPT_OK && put_skeleton(f, obs_names, var_names, e) == CPT_OK)
            return f;
    }
    cpt_h5ad_abandon(f);
    return NULL;
}

static bool close_file(cpt_h5ad *f)
{
    bool good = f->file < 0 || H5Fclose(f->file) >= 0;
    f->file = -1;
    return good;
}

void cpt_h5ad_abandon(cpt_h5ad *f)
{
    if (!f) return;
    if (f->file >= 0) {
        close_file(f);
        remove(f->temporary);
    }
    if (f->text >= 0) H5Tclose(f->text);
    if (f->boolean >= 0) H5Tclose(f->boolean);
    if (f->make_link >= 0) H5Pclose(f->make_link);
    if (f->silenced) H5Eset_auto2(H5E_DEFAULT, f->print, f->print_data);
    cpt_strings_free(&f->obs_columns);
    cpt_strings_free(&f->var_columns);
    free(f->path);
    free(f);
}

/* What a dataframe says about itself is known only at the end. */
static cpt_status put_column_order(const cpt_h5ad *f, const char *group, const cpt_strings *columns,
                                   cpt_err *e)
{
    const char **names;
    cpt_status status = cpt_alloc(&names, (size_t)columns->n, sizeof *names, e);
    if (status) return status;
    for (int64_t i = 0; i < columns->n; i++) names[i] = cpt_strings_get(columns, i);
    hid_t id = H5Gopen2(f->file, group, H5P_DEFAULT);
    bool good = id >= 0 && put_text_attribute(f, id, "_index", "_index") &&
                put_array_attribute(id, "column-order", f->text, (hsize_t)columns->n, names);
    if (id >= 0) H5Gclose(id);
    free(names);
    return good ? CPT_OK : failed(f, group, e);
}

cpt_status cpt_h5ad_finish(cpt_h5ad *f, cpt_err *e)
{
    cpt_status status;
    CPT_TRY(put_column_order(f, "obs", &f->obs_columns, e));
    CPT_TRY(put_column_order(f, "var", &f->var_columns, e));
    if (!close_file(f)) {
        remove(f->temporary);
        CPT_TRY(failed(f, "/", e));
    }
    CPT_TRY(cpt_atomic_move(f->temporary, f->path, e));
done:
    cpt_h5ad_abandon(f);
    return status;
}

/* ---- matrices ---- */

static cpt_status bad_place(const cpt_h5ad *f, const char *where, cpt_err *e)
{
    return cpt_fail(e, CPT_ERR_USAGE, "%s: %s: not a place for this in an AnnData file", f->path,
                    where);
}

static bool is_matrix_place(const char *where)
{
    return strcmp(where, "X") == 0 ||
           (strncmp(where, "layers/", 7) == 0 && where[7] && !strchr(where + 7, '/'));
}

cpt_status cpt_h5ad_dense(cpt_h5ad *f, const char *where, cpt_dtype dtype, const void *values,
                          cpt_err *e)
{
    if (!is_matrix_place(where) || (dtype != CPT_F32 && dtype != CPT_F64))
        return bad_place(f, where, e);
    return put_array(f, where, dtype, 2, (int64_t[]){f->n_obs, f->n_var}, values, true, e);
}

static cpt_status put_indptr(const cpt_h5ad *f, const char *where, const cpt_csr *m, cpt_err *e)
{
    int64_t n = m->n_rows + 1;
    if (m->indptr[m->n_rows] > INT32_MAX)
        return put_array(f, where, CPT_I64, 1, &n, m->indptr, false, e);
    int32_t *narrow; /* scipy wants indices and indptr of one type, and copies when they differ */
    cpt_status status = cpt_alloc(&narrow, (size_t)n, sizeof *narrow, e);
    if (status) return status;
    for (int64_t i = 0; i < n; i++) narrow[i] = (int32_t)m->indptr[i];
    status = put_array(f, where, CPT_I32, 1, &n, narrow, false, e);
    free(narrow);
    return status;
}

cpt_status cpt_h5ad_csr(cpt_h5ad *f, const char *where, const cpt_csr *m, cpt_err *e)
{
    cpt_status status = CPT_OK;
    char place[PATH_LIMIT];
    int64_t nnz = m->indptr[m->n_rows], shape[2] = {m->n_rows, m->n_cols};
    if (!is_matrix_place(where)) return bad_place(f, where, e);
    if (m->n_rows != f->n_obs || m->n_cols != f->n_var)
        return cpt_fail(e, CPT_ERR_USAGE, "%s: %s: is %lld x %lld, the file is %lld x %lld",
                        f->path, where, (long long)m->n_rows, (long long)m->n_cols,
                        (long long)f->n_obs, (long long)f->n_var);
    hid_t group = create_group(f, where, "csr_matrix", "0.1.0");
    if (group < 0 || !put_array_attribute(group, "shape", H5T_STD_I64LE, 2, shape))
        status = failed(f, where, e);
    if (group >= 0) H5Gclose(group);
    CPT_TRY(status);
    CPT_TRY(cpt_path_join(place, sizeof place, where, "data", e));
    CPT_TRY(put_array(f, place, CPT_F32, 1, &nnz, m->values, false, e));
    CPT_TRY(cpt_path_join(place, sizeof place, where, "indices", e));
    CPT_TRY(put_array(f, place, CPT_I32, 1, &nnz, m->indices, false, e));
    CPT_TRY(cpt_path_join(place, sizeof place, where, "indptr", e));
    CPT_TRY(put_indptr(f, place, m, e));
done:
    return status;
}

cpt_status cpt_h5ad_matrix(cpt_h5ad *f, const char *where, int64_t width, const float *values,
                           cpt_err *e)
{
    bool obs = strncmp(where, "obsm/", 5) == 0;
    if ((!obs && strncmp(where, "varm/", 5) != 0) || !where[5] || strchr(where + 5, '/') ||
        width < 0)
        return bad_place(f, where, e);
    return put_array(f, where, CPT_F32, 2, (int64_t[]){obs ? f->n_obs : f->n_var, width}, values,
                     true, e);
}

/* ---- columns ---- */

/* A column may be called "a/b": then "a" is a group. Made here, because those that HDF5 makes by
 * itself bear a time stamp. */
static cpt_status make_groups_between(const cpt_h5ad *f, const char *place, cpt_err *e)
{
    char group[PATH_LIMIT];
    cpt_status status = CPT_OK;
    for (const char *p = strchr(place, '/'); p && (p = strchr(p + 1, '/')) && !status;) {
        snprintf(group, sizeof group, "%.*s", (int)(p - place), place);
        if (H5Lexists(f->file, group, H5P_DEFAULT) <= 0)
            status = put_group(f, group, "dict", "0.1.0", e);
    }
    return status;
}

/* Remembers the column and gives the place to write it and its length. */
static cpt_status begin_column(cpt_h5ad *f, char axis, const char *name, char place[PATH_LIMIT],
                               int64_t *n, cpt_err *e)
{
    bool obs = axis == 'o';
    const char *group = obs ? "obs" : "var";
    if (!*name || strcmp(name, "_index") == 0 || !cpt_utf8_valid(name, strlen(name)))
        return cpt_fail(e, CPT_ERR_USAGE, "%s: %s: a column cannot be called \"%s\"", f->path,
                        group, name);
    *n = obs ? f->n_obs : f->n_var;
    cpt_status status = cpt_path_join(place, PATH_LIMIT, group, name, e);
    if (status == CPT_OK) status = make_groups_between(f, place, e);
    return status ? status
                  : cpt_strings_add(obs ? &f->obs_columns : &f->var_columns, name, strlen(name), e);
}

static cpt_status put_column(cpt_h5ad *f, char axis, const char *name, cpt_dtype dtype,
                             const void *values, cpt_err *e)
{
    char place[PATH_LIMIT];
    int64_t n = 0;
    cpt_status status = begin_column(f, axis, name, place, &n, e);
    return status ? status : put_array(f, place, dtype, 1, &n, values, true, e);
}

cpt_status cpt_h5ad_numbers(cpt_h5ad *f, char axis, const char *name, const double *values,
                            cpt_err *e)
{
    return put_column(f, axis, name, CPT_F64, values, e);
}

cpt_status cpt_h5ad_integers(cpt_h5ad *f, char axis, const char *name, const int64_t *values,
                             cpt_err *e)
{
    return put_column(f, axis, name, CPT_I64, values, e);
}

cpt_status cpt_h5ad_flags(cpt_h5ad *f, char axis, const char *name, const bool *values, cpt_err *e)
{
    return put_column(f, axis, name, CPT_BOOL, values, e);
}

cpt_status cpt_h5ad_texts(cpt_h5ad *f, char axis, const char *name, const cpt_strings *values,
                          cpt_err *e)
{
    char place[PATH_LIMIT];
    int64_t n = 0;
    cpt_status status = begin_column(f, axis, name, place, &n, e);
    if (status) return status;
    if (values->n != n)
        return cpt_fail(e, CPT_ERR_USAGE, "%s: %s: %lld texts, %lld needed", f->path, place,
                        (long long)values->n, (long long)n);
    return put_strings(f, place, values, e);
}

/* Codes in the narrowest type that pandas would use. */
static cpt_status put_codes(const cpt_h5ad *f, const char *place, const cpt_column *c, int64_t n,
                            cpt_err *e)
{
    if (c->categories.n > INT16_MAX) return put_array(f, place, CPT_I32, 1, &n, c->codes, true, e);
    int8_t *bytes = NULL;
    int16_t *shorts = NULL;
    bool tiny = c->categories.n <= INT8_MAX;
    cpt_status status;
    CPT_TRY(cpt_alloc(&bytes, (size_t)n, 1, e));
    CPT_TRY(cpt_alloc(&shorts, (size_t)n, 2, e));
    for (int64_t i = 0; i < n; i++) {
        shorts[i] = (int16_t)c->codes[i];
        bytes[i] = (int8_t)shorts[i];
    }
    CPT_TRY(put_array(f, place, tiny ? CPT_I8 : CPT_I16, 1, &n, tiny ? (const void *)bytes : shorts,
                      true, e));
done:
    free(bytes);
    free(shorts);
    return status;
}

static bool put_ordered(const cpt_h5ad *f, hid_t group)
{
    int8_t no = 0;
    hid_t space = H5Screate(H5S_SCALAR);
    hid_t id = H5Acreate2(group, "ordered", f->boolean, space, H5P_DEFAULT, H5P_DEFAULT);
    bool good = id >= 0 && H5Awrite(id, f->boolean, &no) >= 0;
    if (id >= 0) H5Aclose(id);
    H5Sclose(space);
    return good;
}

cpt_status cpt_h5ad_column(cpt_h5ad *f, char axis, const cpt_column *column, cpt_err *e)
{
    cpt_status status;
    char place[PATH_LIMIT], part[PATH_LIMIT];
    int64_t n = 0;
    if (column->kind == CPT_COLUMN_NUMBER)
        return cpt_h5ad_numbers(f, axis, column->name, column->numbers, e);
    CPT_TRY(begin_column(f, axis, column->name, place, &n, e));
    hid_t group = create_group(f, place, "categorical", "0.2.0");
    if (group < 0 || !put_ordered(f, group)) status = failed(f, place, e);
    if (group >= 0) H5Gclose(group);
    CPT_TRY(status);
    CPT_TRY(cpt_path_join(part, sizeof part, place, "categories", e));
    CPT_TRY(put_strings(f, part, &column->categories, e));
    CPT_TRY(cpt_path_join(part, sizeof part, place, "codes", e));
    CPT_TRY(put_codes(f, part, column, n, e));
done:
    return status;
}

/* ---- uns ---- */

static cpt_status put_scalar(const cpt_h5ad *f, const char *where, hid_t type, hid_t memory,
                             const void *value, cpt_err *e)
{
    hid_t plist = creation_list(1, NULL), space = H5Screate(H5S_SCALAR);
    hid_t id = H5Dcreate2(f->file, where, type, space, f->make_link, plist, H5P_DEFAULT);
    bool good = id >= 0 && put_encoding(f, id, "numeric-scalar", "0.2.0") &&
                H5Dwrite(id, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, value) >= 0;
    if (id >= 0) H5Dclose(id);
    H5Sclose(space);
    H5Pclose(plist);
    return good ? CPT_OK : failed(f, where, e);
}

/* Lists of one kind become arrays; *kind is 's', 'i', 'r', or 0 for anything else. */
static char list_kind(const json_t *list)
{
    size_t n = json_array_size(list), n_texts = 0, n_integers = 0, n_numbers = 0;
    for (size_t i = 0; i < n; i++) {
        const json_t *x = json_array_get(list, i);
        n_texts += json_is_string(x);
        n_integers += json_is_integer(x);
        n_numbers += json_is_number(x);
    }
    return n == n_texts ? 's' : n == n_integers ? 'i' : n == n_numbers ? 'r' : '\0';
}

static cpt_status put_json_list(const cpt_h5ad *f, const char *where, const json_t *list,
                                cpt_err *e)
{
    cpt_status status;
    int64_t n = (int64_t)json_array_size(list), *integers = NULL;
    double *numbers = NULL;
    const char **texts = NULL;
    char kind = list_kind(list);
    CPT_TRY(cpt_alloc(&integers, (size_t)n, sizeof *integers, e));
    CPT_TRY(cpt_alloc(&numbers, (size_t)n, sizeof *numbers, e));
    CPT_TRY(cpt_alloc(&texts, (size_t)n, sizeof *texts, e));
    for (int64_t i = 0; i < n; i++) {
        const json_t *x = json_array_get(list, (size_t)i);
        integers[i] = json_integer_value(x);
        numbers[i] = json_number_value(x);
        texts[i] = json_string_value(x);
    }
    if (kind == 's') status = put_texts(f, where, texts, n, e);
    else if (kind == 'i') status = put_array(f, where, CPT_I64, 1, &n, integers, true, e);
    else if (kind == 'r') status = put_array(f, where, CPT_F64, 1, &n, numbers, true, e);
    else {
        char *text = json_dumps(list, JSON_COMPACT);
        status = text ? put_texts(f, where, &(const char *){text}, -1, e)
                      : cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
        free(text);
    }
done:
    free(integers);
    free(numbers);
    free(texts);
    return status;
}

static cpt_status put_json(const cpt_h5ad *f, const char *where, const json_t *x, int depth,
                           cpt_err *e);

static cpt_status put_json_object(const cpt_h5ad *f, const char *where, const json_t *x, int depth,
                                  cpt_err *e)
{
    const char *key;
    json_t *value;
    char place[PATH_LIMIT];
    cpt_status status = put_group(f, where, "dict", "0.1.0", e);
    if (status) return status;
    json_object_foreach((json_t *)(uintptr_t)x, key, value) {
        if (!*key || strchr(key, '/') || strcmp(key, ".") == 0)
            return cpt_fail(e, CPT_ERR_USAGE, "%s: %s: \"%s\" cannot be a name in HDF5", f->path,
                            where, key);
        status = cpt_path_join(place, sizeof place, where, key, e);
        if (status == CPT_OK) status = put_json(f, place, value, depth + 1, e);
        if (status) return status;
    }
    return CPT_OK;
}

/* null has no encoding before anndata 0.11: such entries are left out. */
static cpt_status put_json(const cpt_h5ad *f, const char *where, const json_t *x, int depth,
                           cpt_err *e)
{
    if (depth > MAX_DEPTH)
        return cpt_fail(e, CPT_ERR_USAGE, "%s: %s: nested too deeply", f->path, where);
    switch (json_typeof(x)) {
    case JSON_OBJECT: return put_json_object(f, where, x, depth, e);
    case JSON_ARRAY: return put_json_list(f, where, x, e);
    case JSON_STRING: return put_texts(f, where, &(const char *){json_string_value(x)}, -1, e);
    case JSON_INTEGER:
        return put_scalar(f, where, H5T_STD_I64LE, H5T_NATIVE_INT64,
                          &(int64_t){json_integer_value(x)}, e);
    case JSON_REAL:
        return put_scalar(f, where, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE,
                          &(double){json_real_value(x)}, e);
    case JSON_TRUE:
    case JSON_FALSE:
        return put_scalar(f, where, f->boolean, f->boolean, &(int8_t){json_is_true(x)}, e);
    default: return CPT_OK;
    }
}

cpt_status cpt_h5ad_uns_json(cpt_h5ad *f, const char *name, const char *json_object, cpt_err *e)
{
    char place[PATH_LIMIT];
    json_error_t why;
    if (!*name || strchr(name, '/')) return bad_place(f, name, e);
    json_t *x = json_loads(json_object, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &why);
    if (!x) return cpt_fail(e, CPT_ERR_USAGE, "%s: uns/%s: not JSON: %s", f->path, name, why.text);
    cpt_status status = cpt_path_join(place, sizeof place, "uns", name, e);
    if (status == CPT_OK) status = put_json(f, place, x, 0, e);
    json_decref(x);
    return status;
}

/* HDF5 objects opened with suspicion: see h5_util.h.
 *
 * Problem: an .h5ad comes from anywhere. Links may lead out of the file or in circles, storage may
 * be another file, types may be of any size, and the library itself reads out of bounds on damaged
 * files.
 * Method: each object is looked up component by component and refused unless it is plainly stored;
 * shapes and types are classified once, reads are by whole rows of the first dimension. The rest,
 * a crash inside the library, is the parent process' concern (import.c).
 * Traps: HDF5 converts out-of-range integers by clamping, so a check after the conversion still
 * sees them as out of range; the default chunk cache of 1 MiB makes it inflate a large chunk again
 * for every block of rows, so the cache is sized to the chunk; variable-length strings may be NULL.
 */
#include "io/h5_util.h"
#include "base/memory.h"
#include "io/h5_chunks.h"
#include "io/lzf.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TEXT_BLOCK = 16384, MAX_TEXT = 1 << 20 };
static const size_t max_chunk_cache = (size_t)1 << 30;

/* ---- errors ---- */

cpt_status h5_fail(const h5_file *f, cpt_err *e, cpt_status code, const char *place,
                   const char *fmt, ...)
{
    char what[sizeof e->text];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    return cpt_fail(e, code, "%s: %s: %s", f->path, *place ? place : "/", what);
}

static herr_t innermost_reason(unsigned n, const H5E_error2_t *error, void *text)
{
    if (n == 0 && error->desc) snprintf(text, 160, "%s", error->desc);
    return 0;
}

cpt_status h5_fail_library(const h5_file *f, cpt_err *e, const char *place, const char *what)
{
    char reason[160] = "no reason given";
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, innermost_reason, reason);
    H5Eclear2(H5E_DEFAULT);
    return h5_fail(f, e, CPT_ERR_FORMAT, place,
                   "%s (HDF5: %s); the file is damaged, copy or write it again", what, reason);
}

/* ---- the file ---- */

/* Addresses that the library tells do not count a user block. */
static void open_beside(h5_file *f)
{
    hsize_t block = 1;
    struct stat st;
    hid_t plist = H5Fget_create_plist(f->id);
    bool plain = plist >= 0 && H5Pget_userblock(plist, &block) >= 0 && block == 0;
    if (plist >= 0) H5Pclose(plist);
    if (!plain || (f->fd = open(f->path, O_RDONLY | O_CLOEXEC)) < 0) return;
    if (fstat(f->fd, &st) == 0) {
        f->size = (uint64_t)st.st_size;
        return;
    }
    close(f->fd);
    f->fd = -1;
}

cpt_status h5_open(const char *path, h5_file *f, cpt_err *e)
{
    *f = (h5_file){.id = -1, .path = path, .fd = -1, .n_threads = 1};
    char reason[160] = "no reason given";
    setenv("HDF5_USE_FILE_LOCKING", "FALSE", 1); /* read-only file systems refuse locks */
    if (H5open() < 0) return cpt_fail(e, CPT_ERR_INTERNAL, "the HDF5 library does not start");
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    H5PLset_loading_state(0);
    if (cpt_lzf_register() < 0)
        return cpt_fail(e, CPT_ERR_INTERNAL, "the lzf filter cannot be registered");
    f->id = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    if (f->id >= 0) {
        open_beside(f);
        return CPT_OK;
    }
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, innermost_reason, reason);
    return cpt_fail(
        e, CPT_ERR_FORMAT,
        "%s: cannot be opened as HDF5 (%s); the file is cut off or damaged, copy it again", path,
        reason);
}

void h5_close(h5_file *f)
{
    if (f->path && f->id >= 0) H5Fclose(f->id);
    if (f->path && f->fd >= 0) close(f->fd);
    *f = (h5_file){.id = -1, .fd = -1};
}

/* ---- places ---- */

bool h5_join(char out[H5_PLACE_LIMIT], const char *group, const char *name)
{
    int n = snprintf(out, H5_PLACE_LIMIT, "%s%s%s", group, *group ? "/" : "", name);
    return n >= 0 && n < H5_PLACE_LIMIT;
}

/* What the last component is; all before it must be groups behind hard links. */
static h5_kind kind_here(hid_t file, const char *place)
{
    H5L_info_t link;
    H5O_info_t object;
    htri_t there = H5Lexists(file, place, H5P_DEFAULT);
    if (there <= 0 || H5Lget_info(file, place, &link, H5P_DEFAULT) < 0) return H5_ABSENT;
    if (link.type != H5L_TYPE_HARD) return H5_LINK;
    if (H5Oget_info_by_name2(file, place, &object, H5O_INFO_BASIC, H5P_DEFAULT) < 0)
        return H5_OTHER;
    if (object.type == H5O_TYPE_GROUP) return H5_GROUP;
    return object.type == H5O_TYPE_DATASET ? H5_DATA : H5_OTHER;
}

h5_kind h5_kind_of(const h5_file *f, const char *place)
{
    char part[H5_PLACE_LIMIT];
    h5_kind kind = H5_GROUP;
    for (size_t n = strcspn(place, "/"); *place; n += 1 + strcspn(place + n + 1, "/")) {
        if (n >= sizeof part || kind != H5_GROUP) return H5_ABSENT;
        memcpy(part, place, n);
        part[n] = '\0';
        kind = kind_here(f->id, part);
        if (place[n] == '\0' || kind == H5_LINK) break;
    }
    H5Eclear2(H5E_DEFAULT);
    return kind;
}

typedef struct collecting {
    cpt_strings *names;
    cpt_status status;
    cpt_err *e;
} collecting;

static herr_t collect_name(hid_t group, const char *name, const H5L_info_t *info, void *data)
{
    collecting *c = data;
    c->status = cpt_strings_add(c->names, name, strlen(name), c->e);
    return c->status ? -1 : 0;
}

cpt_status h5_members(const h5_file *f, const char *group, cpt_strings *names, cpt_err *e)
{
    collecting c = {names, CPT_OK, e};
    if (h5_kind_of(f, group) != H5_GROUP) return CPT_OK;
    hid_t id = H5Gopen2(f->id, *group ? group : "/", H5P_DEFAULT);
    herr_t result =
        id < 0 ? -1 : H5Literate(id, H5_INDEX_NAME, H5_ITER_INC, NULL, collect_name, &c);
    if (id >= 0) H5Gclose(id);
    if (c.status) return c.status;
    return result < 0 ? h5_fail_library(f, e, group, "the members cannot be listed") : CPT_OK;
}

/* ---- texts ---- */

/* Adds `n` bytes at s, as UTF-8. */
static cpt_status add_text(cpt_strings *out, const char *s, size_t n, cpt_err *e)
{
    if (cpt_utf8_valid(s, n)) return cpt_strings_add(out, s, n, e);
    cpt_text t = {0};
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        char two[2] = {(char)(0xc0 | c >> 6), (char)(0x80 | (c & 0x3f))};
        if (c < 0x80) cpt_text_add_bytes(&t, s + i, 1);
        else cpt_text_add_bytes(&t, two, 2);
    }
    cpt_status status = cpt_text_status(&t, e);
    if (status == CPT_OK) status = cpt_strings_add(out, t.bytes, t.length, e);
    cpt_text_free(&t);
    return status;
}

/* A buffer of `n` texts as H5Dread and H5Aread fill it. */
static cpt_status add_texts(cpt_strings *out, const void *buffer, int64_t n, size_t fixed,
                            cpt_err *e)
{
    for (int64_t i = 0; i < n; i++) {
        const char *s =
            fixed ? (const char *)buffer + (size_t)i * fixed : ((char *const *)buffer)[i];
        size_t length = !s ? 0 : fixed ? strnlen(s, fixed) : strlen(s);
        cpt_status status = add_text(out, s ? s : "", length, e);
        if (status) return status;
    }
    return CPT_OK;
}

/* A memory type for texts of the file type `type`: variable-length, or fixed of the same size,
 * which is then stored in *fixed (0 = variable). */
static hid_t text_type(hid_t type, size_t *fixed)
{
    bool variable = H5Tis_variable_str(type) > 0;
    *fixed = variable ? 0 : H5Tget_size(type);
    hid_t memory = H5Tcopy(H5T_C_S1);
    H5Tset_size(memory, variable ? H5T_VARIABLE : *fixed);
    H5Tset_cset(memory, H5Tget_cset(type));
    if (!variable) H5Tset_strpad(memory, H5Tget_strpad(type));
    return memory;
}

/* ---- attributes ---- */

static hid_t open_attribute(const h5_file *f, const char *place, const char *name)
{
    const char *object = *place ? place : "/";
    if (H5Aexists_by_name(f->id, object, name, H5P_DEFAULT) <= 0) {
        H5Eclear2(H5E_DEFAULT);
        return -1;
    }
    return H5Aopen_by_name(f->id, object, name, H5P_DEFAULT, H5P_DEFAULT);
}

static cpt_status read_attribute_texts(const h5_file *f, const char *place, const char *name,
                                       hid_t id, hid_t type, hssize_t n, cpt_strings *out,
                                       cpt_err *e)
{
    size_t fixed, bytes;
    void *buffer = NULL;
    hid_t memory = text_type(type, &fixed), space = H5Aget_space(id);
    cpt_status status = CPT_OK;
    if (fixed > MAX_TEXT || !cpt_size_mul((size_t)n, fixed ? fixed : sizeof(char *), &bytes))
        CPT_TRY(h5_fail(f, e, CPT_ERR_FORMAT, place, "attribute %s is too large", name));
    CPT_TRY(cpt_alloc(&buffer, bytes, 1, e));
    if (H5Aread(id, memory, buffer) < 0) {
        status = h5_fail_library(f, e, place, "an attribute cannot be read");
        goto done;
    }
    status = add_texts(out, buffer, n, fixed, e);
    if (!fixed) H5Dvlen_reclaim(memory, space, H5P_DEFAULT, buffer);
done:
    free(buffer);
    H5Sclose(space);
    H5Tclose(memory);
    return status;
}

cpt_status h5_attribute_texts(const h5_file *f, const char *place, const char *name,
                              cpt_strings *out, bool *present, cpt_err *e)
{
    cpt_status status = CPT_OK;
    hid_t id = open_attribute(f, place, name);
    if (present) *present = id >= 0;
    if (id < 0) return CPT_OK;
    hid_t type = H5Aget_type(id), space = H5Aget_space(id);
    hssize_t n = H5Sget_simple_extent_npoints(space);
    if (H5Tget_class(type) == H5T_STRING && n > 0)
        status = read_attribute_texts(f, place, name, id, type, n, out, e);
    H5Tclose(type);
    H5Sclose(space);
    H5Aclose(id);
    return status;
}

cpt_status h5_attribute_text(const h5_file *f, const char *place, const char *name, char *out,
                             size_t capacity, cpt_err *e)
{
    cpt_strings texts = {0};
    cpt_status status = h5_attribute_texts(f, place, name, &texts, NULL, e);
    snprintf(out, capacity, "%s", texts.n ? cpt_strings_get(&texts, 0) : "");
    cpt_strings_free(&texts);
    return status;
}

cpt_status h5_attribute_integers(const h5_file *f, const char *place, const char *name,
                                 int64_t *out, int most, int *n, cpt_err *e)
{
    cpt_status status = CPT_OK;
    *n = 0;
    hid_t id = open_attribute(f, place, name);
    if (id < 0) return CPT_OK;
    hid_t type = H5Aget_type(id), space = H5Aget_space(id);
    hssize_t count = H5Sget_simple_extent_npoints(space);
    if (H5Tget_class(type) == H5T_INTEGER && count > 0 && count <= most) {
        if (H5Aread(id, H5T_NATIVE_INT64, out) < 0)
            status = h5_fail_library(f, e, place, "an attribute cannot be read");
        else *n = (int)count;
    }
    H5Tclose(type);
    H5Sclose(space);
    H5Aclose(id);
    return status;
}

/* ---- arrays ---- */

static h5_class classify(hid_t type)
{
    size_t size = H5Tget_size(type);
    switch (H5Tget_class(type)) {
    case H5T_INTEGER: return size <= 8 ? H5_IS_INTEGER : H5_IS_OTHER;
    case H5T_FLOAT: return size <= 8 ? H5_IS_FLOAT : H5_IS_OTHER;
    case H5T_ENUM: return size <= 8 && H5Tget_nmembers(type) == 2 ? H5_IS_BOOL : H5_IS_OTHER;
    case H5T_STRING: return H5_IS_TEXT;
    case H5T_COMPOUND: return H5_IS_RECORD;
    default: return H5_IS_OTHER;
    }
}

static cpt_status check_filters(const h5_array *a, hid_t plist, cpt_err *e)
{
    int n = H5Pget_nfilters(plist);
    for (int i = 0; i < n; i++) {
        unsigned flags, config, values[8];
        size_t n_values = 8;
        char name[64] = "";
        H5Z_filter_t id = H5Pget_filter2(plist, (unsigned)i, &flags, &n_values, values, sizeof name,
                                         name, &config);
        name[sizeof name - 1] = '\0';
        if (id != H5Z_FILTER_DEFLATE && id != H5Z_FILTER_SHUFFLE && id != H5Z_FILTER_FLETCHER32 &&
            id != CPT_LZF_FILTER)
            return h5_fail(
                a->file, e, CPT_ERR_UNSUPPORTED, a->place,
                "compressed with the unsupported filter %d%s%s%s; write the file with gzip "
                "(adata.write_h5ad(..., compression=\"gzip\"))",
                (int)id, *name ? " (" : "", name, *name ? ")" : "");
    }
    return CPT_OK;
}

static cpt_status check_storage(h5_array *a, hid_t plist, cpt_err *e)
{
    hsize_t chunk[H5S_MAX_RANK];
    H5D_layout_t layout = H5Pget_layout(plist);
    if (layout == H5D_VIRTUAL || (layout == H5D_CONTIGUOUS && H5Pget_external_count(plist) > 0))
        return h5_fail(
            a->file, e, CPT_ERR_UNSUPPORTED, a->place,
            "stored in another file, which is not followed; write the data into this file");
    if (layout != H5D_CHUNKED) return CPT_OK;
    int n = H5Pget_chunk(plist, H5S_MAX_RANK, chunk);
    for (int i = 0; i < n && i < 3; i++) a->chunk[i] = (int64_t)chunk[i];
    return check_filters(a, plist, e);
}

static cpt_status read_shape(h5_array *a, cpt_err *e)
{
    hsize_t shape[H5S_MAX_RANK];
    hid_t space = H5Dget_space(a->id);
    int n = H5Sget_simple_extent_ndims(space);
    bool simple = n >= 0 && n <= 3 && H5Sget_simple_extent_type(space) != H5S_NULL &&
                  H5Sget_simple_extent_dims(space, shape, NULL) == n;
    if (space >= 0) H5Sclose(space);
    if (!simple)
        return h5_fail(a->file, e, CPT_ERR_FORMAT, a->place,
                       "empty or of more than three dimensions");
    a->n_dims = n;
    for (int i = 0; i < n; i++) {
        if (shape[i] > (hsize_t)1 << 56)
            return h5_fail(a->file, e, CPT_ERR_FORMAT, a->place, "its size is impossible");
        a->shape[i] = (int64_t)shape[i];
    }
    return CPT_OK;
}

/* Opens again with a chunk cache in which one row of chunks fits. */
static void enlarge_cache(h5_array *a)
{
    if (!a->chunk[0] || a->n_dims < 1) return;
    size_t bytes = a->element_size ? a->element_size : 1;
    for (int i = 0; i < a->n_dims; i++) {
        int64_t c = a->chunk[i] > 0 ? a->chunk[i] : 1;
        int64_t across = i ? (a->shape[i] + c - 1) / c * c : c;
        if (!cpt_size_mul(bytes, (size_t)(across > 0 ? across : 1), &bytes)) return;
    }
    if (bytes <= (size_t)1 << 19 || bytes > max_chunk_cache) return;
    hid_t access = H5Pcreate(H5P_DATASET_ACCESS);
    H5Pset_chunk_cache(access, 12421, bytes + (bytes >> 1), 1.0);
    hid_t again = H5Dopen2(a->file->id, a->place, access);
    H5Pclose(access);
    if (again < 0) return;
    H5Dclose(a->id);
    a->id = again;
}

cpt_status h5_array_open(const h5_file *f, const char *place, h5_array *a, cpt_err *e)
{
    *a = (h5_array){.file = f, .id = -1, .type = -1};
    snprintf(a->place, sizeof a->place, "%s", place);
    h5_kind kind = h5_kind_of(f, place);
    if (kind == H5_LINK)
        return h5_fail(f, e, CPT_ERR_UNSUPPORTED, place,
                       "is a link, which is not followed; store the data in the file itself");
    if (kind != H5_DATA)
        return h5_fail(f, e, CPT_ERR_FORMAT, place,
                       kind == H5_ABSENT ? "is missing; write the file again"
                                         : "is not a data set");
    if ((a->id = H5Dopen2(f->id, place, H5P_DEFAULT)) < 0)
        return h5_fail_library(f, e, place, "cannot be opened");
    hid_t plist = H5Dget_create_plist(a->id);
    cpt_status status =
        plist < 0 ? h5_fail_library(f, e, place, "cannot be opened") : read_shape(a, e);
    if (status == CPT_OK) status = check_storage(a, plist, e);
    if (status == CPT_OK && (a->type = H5Dget_type(a->id)) < 0)
        status = h5_fail_library(f, e, place, "its type cannot be read");
    if (status == CPT_OK) {
        a->class = classify(a->type);
        a->element_size = H5Tget_size(a->type);
        a->chunks = h5_chunks_new(a, plist);
        if (!a->chunks) enlarge_cache(a);
    }
    if (plist >= 0) H5Pclose(plist);
    if (status) h5_array_close(a);
    return status;
}

cpt_status h5_array_open_member(const h5_file *f, const char *place, const char *name, h5_array *a,
                                cpt_err *e)
{
    hsize_t inner[H5S_MAX_RANK] = {0};
    cpt_status status = h5_array_open(f, place, a, e);
    if (status) return status;
    int i = a->class == H5_IS_RECORD && a->n_dims == 1 ? H5Tget_member_index(a->type, name) : -1;
    hid_t type = i < 0 ? -1 : H5Tget_member_type(a->type, (unsigned)i);
    if (type < 0 || strlen(name) >= sizeof a->member) {
        if (type >= 0) H5Tclose(type);
        h5_array_close(a);
        return h5_fail(f, e, CPT_ERR_FORMAT, place, "has no readable field %s", name);
    }
    H5Tclose(a->type);
    snprintf(a->member, sizeof a->member, "%s", name);
    if (H5Tget_class(type) == H5T_ARRAY && H5Tget_array_ndims(type) == 1 &&
        H5Tget_array_dims2(type, inner) == 1) {
        hid_t base = H5Tget_super(type);
        H5Tclose(type);
        type = base;
        a->n_dims = 2;
        a->shape[1] = (int64_t)inner[0];
    }
    a->type = type;
    a->class = classify(type);
    return CPT_OK;
}

void h5_array_close(h5_array *a)
{
    if (!a->file) return;
    h5_chunks_free(a->chunks);
    if (a->type >= 0) H5Tclose(a->type);
    if (a->id >= 0) H5Dclose(a->id);
    *a = (h5_array){0};
}

bool h5_fits_float(const h5_array *a)
{
    size_t size = H5Tget_size(a->type);
    return a->class == H5_IS_FLOAT ? size <= 4 : a->class == H5_IS_BOOL || size <= 2;
}

/* The memory type to read with: the element's, inside its record where there is one. */
static hid_t reading_type(const h5_array *a, hid_t memory)
{
    hid_t inner = H5Tcopy(memory);
    if (!*a->member) return inner;
    if (a->n_dims == 2) {
        hid_t array = H5Tarray_create2(memory, 1, &(hsize_t){(hsize_t)a->shape[1]});
        H5Tclose(inner);
        inner = array;
    }
    hid_t record = H5Tcreate(H5T_COMPOUND, H5Tget_size(inner));
    H5Tinsert(record, a->member, 0, inner);
    H5Tclose(inner);
    return record;
}

cpt_status h5_array_read(const h5_array *a, int64_t first, int64_t n, hid_t memory, void *out,
                         cpt_err *e)
{
    bool possible = false;
    if (n == 0) return CPT_OK;
    if (a->chunks && first >= 0 && n <= a->shape[0] - first) {
        cpt_status done = h5_chunks_read(a->chunks, a, first, n, memory, out, &possible, e);
        if (done || possible) return done;
    }
    hsize_t start[3] = {(hsize_t)first}, count[3] = {(hsize_t)n};
    int rank = *a->member ? 1 : a->n_dims;
    for (int i = 1; i < rank; i++) count[i] = (hsize_t)a->shape[i];
    hid_t file_space = H5Dget_space(a->id), type = reading_type(a, memory);
    hid_t memory_space = H5Screate_simple(rank, count, NULL);
    bool failed = file_space < 0 || type < 0 || memory_space < 0 ||
                  H5Sselect_hyperslab(file_space, H5S_SELECT_SET, start, NULL, count, NULL) < 0 ||
                  H5Dread(a->id, type, memory_space, file_space, H5P_DEFAULT, out) < 0;
    cpt_status status = failed ? h5_fail_library(a->file, e, a->place, "cannot be read") : CPT_OK;
    if (type >= 0) H5Tclose(type);
    if (memory_space >= 0) H5Sclose(memory_space);
    if (file_space >= 0) H5Sclose(file_space);
    return status;
}

cpt_status h5_array_texts(const h5_array *a, cpt_strings *out, cpt_err *e)
{
    size_t fixed;
    void *buffer = NULL;
    cpt_status status = CPT_OK;
    if (a->class != H5_IS_TEXT || a->n_dims != 1)
        return h5_fail(a->file, e, CPT_ERR_FORMAT, a->place, "is not a list of texts");
    hid_t memory = text_type(a->type, &fixed);
    int64_t block = fixed > 1024 ? 1 + TEXT_BLOCK / (int64_t)(fixed / 1024 + 1) : TEXT_BLOCK;
    if (fixed > MAX_TEXT)
        CPT_TRY(h5_fail(a->file, e, CPT_ERR_FORMAT, a->place, "texts of %zu bytes are too long",
                        fixed));
    CPT_TRY(cpt_alloc(&buffer, (size_t)block, fixed ? fixed : sizeof(char *), e));
    for (int64_t i = 0; i < a->shape[0]; i += block) {
        int64_t n = a->shape[0] - i < block ? a->shape[0] - i : block;
        CPT_TRY(h5_array_read(a, i, n, memory, buffer, e));
        status = add_texts(out, buffer, n, fixed, e);
        if (!fixed) {
            hid_t space = H5Screate_simple(1, &(hsize_t){(hsize_t)n}, NULL);
            hid_t type = reading_type(a, memory);
            H5Dvlen_reclaim(type, space, H5P_DEFAULT, buffer);
            H5Tclose(type);
            H5Sclose(space);
        }
        if (status) goto done;
    }
done:
    free(buffer);
    H5Tclose(memory);
    return status;
}

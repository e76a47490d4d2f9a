/* h5_util.h - HDF5 objects opened with suspicion. For use in the importer's child process only.
 *
 * A place is a path inside the file, "obs/cell_type/codes". Every component must be a hard link:
 * soft and external links are never followed. Data sets must lie in the file itself (no external or
 * virtual storage) and use filters this program knows: deflate, shuffle, fletcher32, lzf.
 */
#ifndef CPT_IO_H5_UTIL_H
#define CPT_IO_H5_UTIL_H

#include "base/text.h"

#include <hdf5.h>

enum { H5_PLACE_LIMIT = 512 };

typedef struct h5_file {
    hid_t id;
    const char *path; /* borrowed */
    int fd;           /* of the same file, for reading past the library; -1 = not to be done */
    uint64_t size;
    int n_threads;    /* for that; 1 unless the caller says more */
} h5_file;

/* Silences HDF5's printing, forbids plug-ins, registers lzf. */
cpt_status h5_open(const char *path, h5_file *f, cpt_err *e);
void h5_close(h5_file *f); /* accepts a zeroed one */

/* "FILE: PLACE: what". */
cpt_status h5_fail(const h5_file *f, cpt_err *e, cpt_status code, const char *place,
                   const char *fmt, ...) CPT_PRINTF(5, 6);
/* As h5_fail with code CPT_ERR_FORMAT, and HDF5's own reason in parentheses. */
cpt_status h5_fail_library(const h5_file *f, cpt_err *e, const char *place, const char *what);

typedef enum h5_kind { H5_ABSENT, H5_GROUP, H5_DATA, H5_LINK, H5_OTHER } h5_kind;
h5_kind h5_kind_of(const h5_file *f, const char *place);
bool h5_join(char out[H5_PLACE_LIMIT], const char *group, const char *name); /* false: too long */
/* Names of the members of a group, in byte order. */
cpt_status h5_members(const h5_file *f, const char *group, cpt_strings *names, cpt_err *e);

/* ---- attributes of the object at `place` ("" or "/" = root) ---- */

/* Text or list of texts; absent, or not of texts: n = 0 with CPT_OK. */
cpt_status h5_attribute_texts(const h5_file *f, const char *place, const char *name,
                              cpt_strings *out, bool *present, cpt_err *e);
/* First text of it, cut to fit; "" when there is none. */
cpt_status h5_attribute_text(const h5_file *f, const char *place, const char *name, char *out,
                             size_t capacity, cpt_err *e);
/* Integers; *n = 0 when absent or of another type, or when there are more than `most`. */
cpt_status h5_attribute_integers(const h5_file *f, const char *place, const char *name,
                                 int64_t *out, int most, int *n, cpt_err *e);

/* ---- data sets, or one member of a data set of records (anndata 0.6) ---- */

typedef enum h5_class {
    H5_IS_INTEGER,
    H5_IS_FLOAT,
    H5_IS_BOOL,
    H5_IS_TEXT,
    H5_IS_RECORD,
    H5_IS_OTHER
} h5_class;

typedef struct h5_array {
    const h5_file *file;
    hid_t id, type; /* type of the elements, or of the member */
    h5_class class;
    size_t element_size;
    int n_dims; /* 0..3; inner dimensions of an array-valued member count */
    int64_t shape[3];
    int64_t chunk[3]; /* 0 = contiguous */
    char place[H5_PLACE_LIMIT], member[H5_PLACE_LIMIT];
    struct h5_chunks *chunks; /* the fast way, or NULL */
} h5_array;

cpt_status h5_array_open(const h5_file *f, const char *place, h5_array *a, cpt_err *e);
/* The member `name` of the records at `place`. */
cpt_status h5_array_open_member(const h5_file *f, const char *place, const char *name, h5_array *a,
                                cpt_err *e);
void h5_array_close(h5_array *a); /* accepts a zeroed one */

/* Rows [first, first + n) (all inner elements of each) as `memory` = H5T_NATIVE_... */
cpt_status h5_array_read(const h5_array *a, int64_t first, int64_t n, hid_t memory, void *out,
                         cpt_err *e);
/* A whole one-dimensional array of texts; bytes that are not UTF-8 are taken as Latin-1. */
cpt_status h5_array_texts(const h5_array *a, cpt_strings *out, cpt_err *e);
/* float holds every value of the type exactly. */
bool h5_fits_float(const h5_array *a);

#endif

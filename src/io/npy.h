/* npy.h - NumPy .npy arrays, version 1.0: what the flat cache of a study is made of.
 *
 * The format, as read and written here:
 *   1. bytes 93 'N' 'U' 'M' 'P' 'Y' 01 00
 *   2. u16 little-endian: length of the header text
 *   3. header text, a Python literal {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
 *      padded with blanks to a multiple of 64 (from the file's start), ending in a newline
 *   4. the elements, row-major, little-endian
 * Version 2.0 (u32 header length) is accepted on reading. Other byte orders, Fortran order, object
 * arrays and structured types are refused with the reason.
 */
#ifndef CPT_IO_NPY_H
#define CPT_IO_NPY_H

#include "base/file.h"

typedef enum cpt_dtype {
    CPT_U8, CPT_I8, CPT_U16, CPT_I16, CPT_U32, CPT_I32, CPT_U64, CPT_I64, CPT_F16, CPT_BF16,
    CPT_F32, CPT_F64, CPT_BOOL
} cpt_dtype;
size_t cpt_dtype_size(cpt_dtype t);
const char *cpt_dtype_name(cpt_dtype t); /* "f32" ... */

enum { CPT_NPY_MAX_DIMS = 8 };

/* A mapped array; data is borrowed from map. */
typedef struct cpt_npy {
    cpt_map map;
    cpt_dtype dtype;
    int n_dims;
    int64_t shape[CPT_NPY_MAX_DIMS];
    int64_t n_items;
    const void *data;
} cpt_npy;

/* Checks that the file's size is what shape and dtype say. */
cpt_status cpt_npy_open(const char *path, cpt_npy *a, cpt_err *e);
/* As _open, and also demands dtype and shape; -1 in `shape` accepts any length. */
cpt_status cpt_npy_open_as(const char *path, cpt_dtype dtype, int n_dims, const int64_t *shape,
                           cpt_npy *a, cpt_err *e);
void cpt_npy_close(cpt_npy *a);

/* Whole array at once, atomically. */
cpt_status cpt_npy_write(const char *path, cpt_dtype dtype, int n_dims, const int64_t *shape,
                         const void *data, cpt_err *e);

/* Streamed: the first dimension may be left open (-1) and is filled in at _finish. */
typedef struct cpt_npy_writer {
    cpt_atomic out;
    cpt_dtype dtype;
    int n_dims;
    int64_t shape[CPT_NPY_MAX_DIMS];
    int64_t n_written; /* items */
} cpt_npy_writer;
cpt_status cpt_npy_begin(cpt_npy_writer *w, const char *path, cpt_dtype dtype, int n_dims,
                         const int64_t *shape, cpt_err *e);
cpt_status cpt_npy_append(cpt_npy_writer *w, const void *items, int64_t n, cpt_err *e);
cpt_status cpt_npy_finish(cpt_npy_writer *w, cpt_err *e); /* checks the count, commits */
void cpt_npy_abandon(cpt_npy_writer *w);                  /* no-op after finish or when zeroed */

#endif

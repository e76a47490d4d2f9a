/* h5_chunks.h - rows of an array of numbers by way of the addresses of its stored bytes, without
 * HDF5's filter pipeline and on several threads (private to h5_util.c). */
#ifndef CPT_IO_H5_CHUNKS_H
#define CPT_IO_H5_CHUNKS_H

#include "io/h5_util.h"

typedef struct h5_chunks h5_chunks;

/* NULL when the array is not stored in one piece, nor as whole rows in chunks that are plain,
 * deflated, or shuffled and deflated. */
h5_chunks *h5_chunks_new(const h5_array *a, hid_t plist);
void h5_chunks_free(h5_chunks *c);

/* As h5_array_read. *possible = false: nothing useful was read, because the place of some chunk is
 * not known, some chunk is stored otherwise, or `memory` is no plain number. */
cpt_status h5_chunks_read(h5_chunks *c, const h5_array *a, int64_t first, int64_t n, hid_t memory,
                          void *out, bool *possible, cpt_err *e);

#endif

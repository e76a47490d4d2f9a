/* h5_chunks.h - rows of a deflated data set without HDF5's filter pipeline (private to h5_util.c).
 */
#ifndef CPT_IO_H5_CHUNKS_H
#define CPT_IO_H5_CHUNKS_H

#include "io/h5_util.h"

typedef struct h5_chunks h5_chunks;

/* NULL when the array is not stored as whole rows in chunks of deflate or shuffle + deflate. */
h5_chunks *h5_chunks_new(const h5_array *a, hid_t plist);
void h5_chunks_free(h5_chunks *c);

/* As h5_array_read. *possible = false: nothing was read, because some chunk is stored otherwise. */
cpt_status h5_chunks_read(h5_chunks *c, const h5_array *a, int64_t first, int64_t n, hid_t memory,
                          void *out, bool *possible, cpt_err *e);

#endif

/* transpose.h - compressed rows into compressed columns, in bounded memory. */
#ifndef CPT_IO_TRANSPOSE_H
#define CPT_IO_TRANSPOSE_H

#include "io/cells.h"

enum { CPT_TRANSPOSE_ENTRIES = 1 << 26 }; /* 512 MiB */

/* Appends the transpose of m to three writers that have been begun: indptr without its leading 0
 * (n_cols items), indices and values. On up to n_threads threads that are made for it (a child
 * process after fork may call this); the bytes do not depend on them.
 * Memory: `most` entries of 8 bytes (more where one column alone has more), and 8 bytes per column
 * of m and thread. All of m is gone through once for every `most` entries. */
cpt_status cpt_transpose(const cpt_csr *m, int64_t most, int n_threads, cpt_npy_writer *indptr,
                         cpt_npy_writer *indices, cpt_npy_writer *values, cpt_err *e);

#endif

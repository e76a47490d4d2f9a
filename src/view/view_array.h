/* view_array.h - an array of the cache that is read piece by piece.
 *
 * Not mapped: rows of the big matrices are copied out by position (pread). The page cache serves
 * both ways alike, but this way what was looked at does not stay in the process, and a file that is
 * cut off behind our back is an error message instead of SIGBUS. Reading is thread-safe. */
#ifndef CPT_VIEW_VIEW_ARRAY_H
#define CPT_VIEW_VIEW_ARRAY_H

#include "io/npy.h"

typedef struct cpt_array {
    char *path; /* NULL = not open */
    int fd;
    int64_t start;      /* of the elements, in bytes */
    size_t item;        /* bytes of an element */
    int64_t rows, cols; /* cols 1 for one dimension */
} cpt_array;

/* One dimension when cols is 0, else two; -1 = any. */
cpt_status cpt_array_open(const char *path, cpt_dtype dtype, int64_t rows, int64_t cols,
                          cpt_array *a, cpt_err *e);
/* n elements from element `first` on; asking beyond the end is an error. */
cpt_status cpt_array_read(const cpt_array *a, int64_t first, int64_t n, void *out, cpt_err *e);
cpt_status cpt_array_row(const cpt_array *a, int64_t row, void *out, cpt_err *e);
static inline bool cpt_array_is_open(const cpt_array *a)
{
    return a->path != NULL;
}
void cpt_array_close(cpt_array *a); /* accepts a zeroed one */

#endif

#include "view/view_array.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

cpt_status cpt_array_open(const char *path, cpt_dtype dtype, int64_t rows, int64_t cols,
                          cpt_array *a, cpt_err *e)
{
    cpt_npy npy;
    int64_t shape[2] = {rows, cols};
    *a = (cpt_array){0};
    /* The descriptor comes first: were the file replaced in between, it would hold the old one and
     * the sizes of the new one would be refused below or at the read that meets its end. */
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return cpt_fail(e, CPT_ERR_IO, "%s: %s", path, strerror(errno));
    cpt_status status = cpt_npy_open_as(path, dtype, cols ? 2 : 1, shape, &npy, e);
    if (status == CPT_OK) {
        a->fd = fd;
        a->start = (int64_t)((const unsigned char *)npy.data - npy.map.bytes);
        a->item = cpt_dtype_size(dtype);
        a->rows = npy.shape[0];
        a->cols = cols ? npy.shape[1] : 1;
        a->path = cpt_strdup(path);
        if (!a->path) status = cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
        cpt_npy_close(&npy);
    }
    if (status) {
        close(fd);
        *a = (cpt_array){0};
    }
    return status;
}

cpt_status cpt_array_read(const cpt_array *a, int64_t first, int64_t n, void *out, cpt_err *e)
{
    if (first < 0 || n < 0 || n > a->rows * a->cols - first)
        return cpt_fail(e, CPT_ERR_FORMAT,
                        "%s: asked beyond its end; the cache is inconsistent, run again", a->path);
    char *to = out;
    size_t left = (size_t)n * a->item;
    off_t at = (off_t)(a->start + first * (int64_t)a->item);
    while (left > 0) {
        ssize_t got = pread(a->fd, to, left, at);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0)
            return cpt_fail(e, CPT_ERR_IO, "%s: %s", a->path,
                            got < 0 ? strerror(errno) : "cut off");
        to += got;
        at += got;
        left -= (size_t)got;
    }
    return CPT_OK;
}

cpt_status cpt_array_row(const cpt_array *a, int64_t row, void *out, cpt_err *e)
{
    return cpt_array_read(a, row * a->cols, a->cols, out, e);
}

void cpt_array_close(cpt_array *a)
{
    if (a->path) close(a->fd);
    free(a->path);
    *a = (cpt_array){0};
}

/* LZF decompression: see lzf.h for the stream.
 *
 * Problem: h5py compresses with LZF on request, and the HDF5 library does not bring that filter.
 * Method: one loop over the tokens, each checked against both buffers before a byte is copied.
 * O(n). Traps: a copy may overlap what it writes (a run), so it goes byte by byte; the size of the
 * output is not stored in the stream, so the buffer grows until it fits. */
#include "io/lzf.h"

#include <hdf5.h>
#include <stdlib.h>
#include <string.h>

size_t cpt_lzf_expand(const unsigned char *in, size_t n, unsigned char *out, size_t capacity,
                      int *full)
{
    size_t i = 0, o = 0;
    *full = 0;
    while (i < n) {
        size_t token = in[i++], length = token >> 5;
        if (length == 0) {
            length = token + 1;
            if (length > n - i) return 0;
            if (length > capacity - o) {
                *full = 1;
                return 0;
            }
            memcpy(out + o, in + i, length);
            i += length;
            o += length;
            continue;
        }
        if (length == 7) {
            if (i == n) return 0;
            length += in[i++];
        }
        length += 2;
        if (i == n) return 0;
        size_t back = ((token & 31) << 8 | in[i++]) + 1;
        if (back > o) return 0;
        if (length > capacity - o) {
            *full = 1;
            return 0;
        }
        for (; length; length--, o++) out[o] = out[o - back];
    }
    return o;
}

static size_t lzf_filter(unsigned flags, size_t n_values, const unsigned values[], size_t n,
                         size_t *size, void **buffer)
{
    if (!(flags & H5Z_FLAG_REVERSE)) return 0;
    /* h5py stores the size of a chunk as third value: HDF5 itself does not check what it gets back.
     */
    const size_t promised = n_values >= 3 ? values[2] : 0;
    size_t capacity = promised ? promised : *size > 1024 ? *size : 1024;
    const size_t limit =
        n > SIZE_MAX / 512 ? SIZE_MAX / 2 : 256 * n + 1024; /* one token: <= 264 from 3 bytes */
    for (;; capacity *= 2) {
        int full;
        if (capacity > limit) capacity = limit;
        unsigned char *out = malloc(capacity);
        size_t length = out ? cpt_lzf_expand(*buffer, n, out, capacity, &full) : 0;
        if (length && (!promised || length == promised)) {
            free(*buffer);
            *buffer = out;
            *size = capacity;
            return length;
        }
        free(out);
        if (!out || length || !full || capacity >= limit) return 0;
    }
}

int cpt_lzf_register(void)
{
    static const H5Z_class2_t lzf = {H5Z_CLASS_T_VERS, CPT_LZF_FILTER, 0, 1, "lzf", NULL, NULL,
                                     lzf_filter};
    return H5Zregister(&lzf);
}

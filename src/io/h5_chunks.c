/* Rows of a deflated data set, chunk by chunk: see h5_chunks.h.
 *
 * Problem: HDF5 inflates with zlib, through a cache that is searched for every chunk; on a large
 * sparse matrix that is most of the import.
 * Method: the stored bytes of a chunk are fetched with H5Dread_chunk, inflated with libdeflate (two
 * to three times as fast), unshuffled, and converted by HDF5's own H5Tconvert. The chunk read last
 * is kept, because blocks of rows straddle chunks. O(bytes). Traps: a chunk may be missing (all
 * fill values) or stored unfiltered: then the library reads; the inflated size must be the chunk's
 * exactly. */
#include "io/h5_chunks.h"
#include "base/memory.h"

#include <libdeflate.h>
#include <stdlib.h>
#include <string.h>

struct h5_chunks {
    struct libdeflate_decompressor *inflater;
    bool shuffled;
    size_t size, row_items, rows, bytes; /* element, elements per row, rows and bytes per chunk */
    unsigned char *packed, *planes, *chunk, *converted;
    size_t packed_capacity, planes_capacity, chunk_capacity, converted_capacity;
    int64_t number; /* of the chunk in `chunk`; -1 = none */
};

/* deflate alone, or shuffle before it. */
static bool knows_filters(hid_t plist, bool *shuffled)
{
    unsigned flags, config, value;
    size_t n_values = 1;
    int n = H5Pget_nfilters(plist);
    if (n < 1 || n > 2) return false;
    H5Z_filter_t first = H5Pget_filter2(plist, 0, &flags, &n_values, &value, 0, NULL, &config),
                 last = first;
    n_values = 1;
    if (n == 2) last = H5Pget_filter2(plist, 1, &flags, &n_values, &value, 0, NULL, &config);
    *shuffled = n == 2;
    return last == H5Z_FILTER_DEFLATE && (n == 1 || first == H5Z_FILTER_SHUFFLE);
}

h5_chunks *h5_chunks_new(const h5_array *a, hid_t plist)
{
    bool shuffled, numbers = a->class == H5_IS_INTEGER || a->class == H5_IS_FLOAT;
    if (!numbers || a->n_dims < 1 || a->chunk[0] < 1 || !knows_filters(plist, &shuffled))
        return NULL;
    size_t items = 1, bytes = a->element_size;
    for (int i = 1; i < a->n_dims; i++) {
        if (a->chunk[i] != a->shape[i] || !cpt_size_mul(items, (size_t)a->shape[i], &items))
            return NULL;
    }
    if (!cpt_size_mul(bytes, items, &bytes) || !cpt_size_mul(bytes, (size_t)a->chunk[0], &bytes))
        return NULL;
    if (bytes == 0 || bytes > (size_t)1 << 30) return NULL;
    h5_chunks *c = calloc(1, sizeof *c);
    if (!c) return NULL;
    *c = (h5_chunks){.shuffled = shuffled, .size = a->element_size, .row_items = items,
                     .rows = (size_t)a->chunk[0], .bytes = bytes, .number = -1};
    if ((c->inflater = libdeflate_alloc_decompressor())) return c;
    free(c);
    return NULL;
}

void h5_chunks_free(h5_chunks *c)
{
    if (!c) return;
    libdeflate_free_decompressor(c->inflater);
    free(c->packed);
    free(c->planes);
    free(c->chunk);
    free(c->converted);
    free(c);
}

static void unshuffle(const unsigned char *planes, size_t n, size_t size, unsigned char *out)
{
    for (size_t b = 0; b < size; b++)
        for (size_t i = 0; i < n; i++) out[i * size + b] = planes[b * n + i];
}

static cpt_status load_chunk(h5_chunks *c, const h5_array *a, int64_t number, bool *possible,
                             cpt_err *e)
{
    cpt_status status;
    hsize_t offset[3] = {(hsize_t)number * c->rows}, stored = 0;
    uint32_t skipped = 0;
    *possible = H5Dget_chunk_storage_size(a->id, offset, &stored) >= 0 && stored > 0 &&
                stored <= 2 * c->bytes + 65536;
    if (!*possible) return CPT_OK;
    c->number = -1;
    CPT_TRY(cpt_grow(&c->packed, &c->packed_capacity, (size_t)stored, 1, e));
    CPT_TRY(cpt_grow(&c->chunk, &c->chunk_capacity, c->bytes, 1, e));
    CPT_TRY(cpt_grow(&c->planes, &c->planes_capacity, c->bytes, 1, e));
    if (H5Dread_chunk(a->id, H5P_DEFAULT, offset, &skipped, c->packed) < 0)
        return h5_fail_library(a->file, e, a->place, "cannot be read");
    *possible = skipped == 0;
    if (skipped) return CPT_OK;
    size_t length;
    if (libdeflate_zlib_decompress(c->inflater, c->packed, (size_t)stored,
                                   c->shuffled ? c->planes : c->chunk, c->bytes,
                                   &length) != LIBDEFLATE_SUCCESS ||
        length != c->bytes)
        return h5_fail(
            a->file, e, CPT_ERR_FORMAT, a->place,
            "chunk %lld cannot be decompressed; the file is damaged, copy or write it again",
            (long long)number);
    if (c->shuffled) unshuffle(c->planes, c->bytes / c->size, c->size, c->chunk);
    c->number = number;
done:
    return status;
}

/* Elements of the file's type into `out` as `memory`. */
static cpt_status convert(h5_chunks *c, const h5_array *a, const unsigned char *in, size_t n,
                          hid_t memory, unsigned char *out, cpt_err *e)
{
    size_t size = H5Tget_size(memory), larger = size > c->size ? size : c->size;
    cpt_status status = cpt_grow(&c->converted, &c->converted_capacity, n * larger, 1, e);
    if (status) return status;
    memcpy(c->converted, in, n * c->size);
    if (H5Tconvert(a->type, memory, n, c->converted, NULL, H5P_DEFAULT) < 0)
        return h5_fail_library(a->file, e, a->place, "its numbers cannot be converted");
    memcpy(out, c->converted, n * size);
    return CPT_OK;
}

cpt_status h5_chunks_read(h5_chunks *c, const h5_array *a, int64_t first, int64_t n, hid_t memory,
                          void *out, bool *possible, cpt_err *e)
{
    size_t size = H5Tget_size(memory);
    bool same = H5Tequal(a->type, memory) > 0;
    unsigned char *to = out;
    *possible = true;
    for (int64_t row = first, end = first + n; row < end;) {
        int64_t number = row / (int64_t)c->rows, next = (number + 1) * (int64_t)c->rows;
        if (next > end) next = end;
        cpt_status status = number == c->number ? CPT_OK : load_chunk(c, a, number, possible, e);
        if (status || !*possible) return status;
        size_t items = (size_t)(next - row) * c->row_items;
        const unsigned char *from = c->chunk + ((size_t)row % c->rows) * c->row_items * c->size;
        if (same) memcpy(to, from, items * size);
        else if ((status = convert(c, a, from, items, memory, to, e))) return status;
        to += items * size;
        row = next;
    }
    return CPT_OK;
}

/* Rows of an array, chunk by chunk, from where they lie in the file: see h5_chunks.h.
 *
 * Problem: HDF5 inflates with zlib, on one thread, through a cache that is searched for every chunk;
 * on a large sparse matrix that is most of the import.
 * Method: the library is only asked where each chunk lies (H5Dget_chunk_info_by_coord). The bytes
 * are then fetched with pread, inflated with libdeflate, unshuffled and converted, each chunk on any
 * thread. An array in one piece is read likewise, in pieces of PIECE_BYTES. A chunk that the end of
 * the rows cuts is kept, because the next call begins with it. O(bytes); memory: three chunks per
 * thread. The library finds a chunk by going through all before it: some 10 % of the time where there are
 * thousands. So beside the inflating, one thread asks for as many places as the next call will need.
 * Traps: addresses and sizes are what a hostile file says: both are checked against the size of the
 * file and of the chunk, and the inflated size must be the chunk's exactly; the library is not
 * thread-safe, so it is called by one thread at a time, and never while it may be by another; addresses do not count a user block, so files that
 * have one are left to the library, as are chunks that are missing (all fill values) or that skip a
 * filter. Of several errors that of the first chunk counts, whichever thread was faster. */
#include "io/h5_chunks.h"
#include "base/crew.h"
#include "base/memory.h"
#include "io/h5_convert.h"

#include <libdeflate.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PIECE_BYTES = 1 << 20, SMALLEST_CHUNK = 4096 };
static const size_t LARGEST_CHUNK = (size_t)1 << 30;

/* Buffers of one thread, grown as needed. */
typedef struct workplace {
    struct libdeflate_decompressor *inflater;
    unsigned char *packed, *planes, *chunk;
    size_t packed_capacity, planes_capacity, chunk_capacity;
} workplace;

/* An inflated chunk that outlives the call. number -1 = none. */
typedef struct kept_chunk {
    unsigned char *bytes;
    size_t capacity;
    int64_t number;
} kept_chunk;

/* Where the library says that a chunk lies. */
typedef struct chunk_place {
    bool known;
    unsigned skipped; /* filters */
    haddr_t address;
    hsize_t stored;
} chunk_place;

struct h5_chunks {
    bool in_pieces;    /* of an array that is stored in one */
    bool deflated, shuffled;
    uint64_t start;    /* in_pieces: address of the array */
    h5_number number;
    size_t size, row_items, rows, bytes; /* element, elements per row, rows and bytes per chunk */
    int64_t n_rows;
    kept_chunk kept[2]; /* the one to begin with, and the one to leave for the next call */
    chunk_place *ahead; /* [n_ahead] of chunks first_ahead on: what the next call probably needs */
    size_t ahead_capacity;
    int64_t first_ahead, n_ahead;
    int n_threads;
    workplace *places; /* [n_threads] */
};

/* Where one chunk lies, and which of its rows go where. */
typedef struct errand {
    int64_t number;
    uint64_t address, stored;
    size_t skip, n_rows; /* rows before the first wanted one, and how many are wanted */
    unsigned char *to;
    bool keep;           /* inflate into kept[1] */
    enum { GOOD, UNREADABLE, NOT_DEFLATED, NO_MEMORY } outcome;
} errand;

typedef struct round_of_work {
    h5_chunks *c;
    const h5_array *a;
    h5_number memory;
    size_t memory_size;
    errand *errands;
    int64_t first_ahead, n_ahead; /* to be asked for; n_ahead = 0: none */
} round_of_work;

/* ---- what can be read so ---- */

/* No filter, deflate, or shuffle and deflate. */
static bool knows_filters(hid_t plist, h5_chunks *c)
{
    unsigned flags, config, value, options;
    size_t n_values = 1;
    int n = H5Pget_nfilters(plist);
    if (H5Pget_chunk_opts(plist, &options) < 0 || options) return false;
    if (n == 0) return true;
    if (n < 0 || n > 2) return false;
    H5Z_filter_t first = H5Pget_filter2(plist, 0, &flags, &n_values, &value, 0, NULL, &config),
                 last = first;
    n_values = 1;
    if (n == 2) last = H5Pget_filter2(plist, 1, &flags, &n_values, &value, 0, NULL, &config);
    c->deflated = true;
    c->shuffled = n == 2;
    return last == H5Z_FILTER_DEFLATE && (n == 1 || first == H5Z_FILTER_SHUFFLE);
}

/* Elements per row; false when a chunk does not hold whole rows. */
static bool whole_rows(const h5_array *a, size_t *items)
{
    *items = 1;
    for (int i = 1; i < a->n_dims; i++)
        if ((a->chunk[0] && a->chunk[i] != a->shape[i]) ||
            !cpt_size_mul(*items, (size_t)a->shape[i], items))
            return false;
    return *items > 0;
}

static bool in_one_piece(const h5_array *a, hid_t plist, h5_chunks *c)
{
    size_t row;
    if (H5Pget_layout(plist) != H5D_CONTIGUOUS || !cpt_size_mul(c->size, c->row_items, &row))
        return false;
    haddr_t start = H5Dget_offset(a->id);
    size_t total;
    if (start == HADDR_UNDEF || !cpt_size_mul(row, (size_t)a->shape[0], &total) ||
        H5Dget_storage_size(a->id) != total)
        return false;
    c->in_pieces = true;
    c->start = start;
    c->rows = row < PIECE_BYTES ? PIECE_BYTES / row : 1;
    return true;
}

static h5_chunks *describe(const h5_array *a, hid_t plist, h5_chunks *c)
{
    if (a->n_dims < 1 || a->file->fd < 0 || !whole_rows(a, &c->row_items)) return NULL;
    c->size = a->element_size;
    c->n_rows = a->shape[0];
    c->number = h5_number_of(a->type);
    if (c->number == H5_NO_NUMBER) return NULL;
    if (a->chunk[0] >= 1) {
        c->rows = (size_t)a->chunk[0];
        if (!knows_filters(plist, c)) return NULL;
    } else if (!in_one_piece(a, plist, c)) {
        return NULL;
    }
    if (!cpt_size_mul(c->size, c->row_items, &c->bytes) ||
        !cpt_size_mul(c->bytes, c->rows, &c->bytes) || c->bytes > LARGEST_CHUNK)
        return NULL;
    /* Crumbs are not worth an errand each. */
    return c->bytes >= SMALLEST_CHUNK || c->rows >= (size_t)a->shape[0] ? c : NULL;
}

h5_chunks *h5_chunks_new(const h5_array *a, hid_t plist)
{
    h5_chunks *c = calloc(1, sizeof *c);
    if (!c) return NULL;
    c->kept[0].number = c->kept[1].number = -1;
    c->n_threads = a->file->n_threads < 1               ? 1
                   : a->file->n_threads > CPT_CREW_MOST ? CPT_CREW_MOST
                                                        : a->file->n_threads;
    c->places = calloc((size_t)c->n_threads, sizeof *c->places);
    bool good = c->places && describe(a, plist, c);
    for (int i = 0; good && c->deflated && i < c->n_threads; i++)
        good = (c->places[i].inflater = libdeflate_alloc_decompressor()) != NULL;
    if (good) return c;
    h5_chunks_free(c);
    return NULL;
}

void h5_chunks_free(h5_chunks *c)
{
    if (!c) return;
    for (int i = 0; c->places && i < c->n_threads; i++) {
        if (c->places[i].inflater) libdeflate_free_decompressor(c->places[i].inflater);
        free(c->places[i].packed);
        free(c->places[i].planes);
        free(c->places[i].chunk);
    }
    free(c->places);
    free(c->ahead);
    free(c->kept[0].bytes);
    free(c->kept[1].bytes);
    free(c);
}

/* ---- where chunks lie ---- */

static bool ask(const h5_chunks *c, const h5_array *a, int64_t number, chunk_place *place)
{
    hsize_t offset[3] = {(hsize_t)number * c->rows};
    *place = (chunk_place){.address = HADDR_UNDEF};
    place->known = H5Dget_chunk_info_by_coord(a->id, offset, &place->skipped, &place->address, &place->stored) >= 0;
    return place->known;
}

/* While other threads inflate. What cannot be told is asked again when it is needed; silently, as every thread may have
 * error messages of its own, which the library would print. */
static void ask_ahead(const round_of_work *r)
{
    h5_chunks *c = r->c;
    H5E_BEGIN_TRY
    {
        for (int64_t i = 0; i < r->n_ahead; i++) ask(c, r->a, r->first_ahead + i, &c->ahead[i]);
    }
    H5E_END_TRY;
}

/* As many chunks as there are errands, from the first that this call does not read whole. */
static void plan_ahead(round_of_work *r, int64_t n_errands)
{
    h5_chunks *c = r->c;
    const int64_t n_chunks = (c->n_rows + (int64_t)c->rows - 1) / (int64_t)c->rows;
    r->first_ahead = r->errands[n_errands - 1].number + 1;
    r->n_ahead = c->in_pieces || n_errands < 2 ? 0 : n_chunks - r->first_ahead;
    if (r->n_ahead > n_errands) r->n_ahead = n_errands;
    if (r->n_ahead > 0 && cpt_grow(&c->ahead, &c->ahead_capacity, (size_t)r->n_ahead, sizeof *c->ahead, NULL))
        r->n_ahead = 0;
    c->first_ahead = r->first_ahead;
    c->n_ahead = r->n_ahead;
}

/* ---- one chunk, on any thread ---- */

static int fetch(const h5_array *a, uint64_t address, size_t n, unsigned char *out)
{
    while (n) {
        ssize_t got = pread(a->file->fd, out, n, (off_t)address);
        if (got <= 0) return UNREADABLE;
        out += got;
        address += (uint64_t)got;
        n -= (size_t)got;
    }
    return GOOD;
}

static bool room(unsigned char **buffer, size_t *capacity, size_t n)
{
    return cpt_grow(buffer, capacity, n, 1, NULL) == CPT_OK;
}

#define UNSHUFFLE(TYPE)                                                                            \
    do {                                                                                           \
        TYPE *numbers = (TYPE *)(void *)out;                                                       \
        for (size_t i = 0; i < n; i++) {                                                           \
            TYPE x = 0;                                                                            \
            for (size_t b = 0; b < sizeof(TYPE); b++) x |= (TYPE)((TYPE)planes[b * n + i] << 8 * b); \
            numbers[i] = x;                                                                        \
        }                                                                                          \
    } while (0)

/* Byte planes back into numbers; out is aligned. Little-endian, as all types read here. */
static void unshuffle(const unsigned char *planes, size_t n, size_t size, unsigned char *out)
{
    if (size == 2) UNSHUFFLE(uint16_t);
    else if (size == 4) UNSHUFFLE(uint32_t);
    else if (size == 8) UNSHUFFLE(uint64_t);
    else memcpy(out, planes, n * size); /* of one byte */
}

static int inflate_chunk(const round_of_work *r, const errand *x, workplace *w, unsigned char *out)
{
    const h5_chunks *c = r->c;
    const size_t stored = (size_t)x->stored;
    size_t length;
    if (!room(&w->packed, &w->packed_capacity, stored) ||
        (c->shuffled && !room(&w->planes, &w->planes_capacity, c->bytes)))
        return NO_MEMORY;
    int outcome = fetch(r->a, x->address, stored, w->packed);
    if (outcome) return outcome;
    if (libdeflate_zlib_decompress(w->inflater, w->packed, stored, c->shuffled ? w->planes : out,
                                   c->bytes, &length) != LIBDEFLATE_SUCCESS ||
        length != c->bytes)
        return NOT_DEFLATED;
    if (c->shuffled) unshuffle(w->planes, c->bytes / c->size, c->size, out);
    return GOOD;
}

/* The wanted rows in the file's type: *from points to them, unless they are in their place already
 * (NULL). */
static int get_rows(const round_of_work *r, const errand *x, workplace *w,
                    const unsigned char **from)
{
    const h5_chunks *c = r->c;
    const size_t row = c->row_items * c->size, wanted = x->n_rows * row;
    const bool same = c->number == r->memory;
    *from = NULL;
    if (x->number == c->kept[0].number) {
        *from = c->kept[0].bytes + x->skip * row;
        return GOOD;
    }
    if (!c->deflated && same) return fetch(r->a, x->address + x->skip * row, wanted, x->to);
    if (same && !x->keep && x->n_rows == c->rows) return inflate_chunk(r, x, w, x->to);
    if (!x->keep && !room(&w->chunk, &w->chunk_capacity, c->deflated ? c->bytes : wanted))
        return NO_MEMORY;
    if (!c->deflated) {
        *from = w->chunk;
        return fetch(r->a, x->address + x->skip * row, wanted, w->chunk);
    }
    unsigned char *whole = x->keep ? c->kept[1].bytes : w->chunk;
    *from = whole + x->skip * row;
    return inflate_chunk(r, x, w, whole);
}

static void work(void *data, int64_t item, int thread)
{
    const round_of_work *r = data;
    const h5_chunks *c = r->c;
    const unsigned char *from;
    if (r->n_ahead > 0 && item-- == 0) {
        ask_ahead(r);
        return;
    }
    errand *x = &r->errands[item];
    x->outcome = get_rows(r, x, &c->places[thread], &from);
    if (x->outcome != GOOD || !from) return;
    const size_t n = x->n_rows * c->row_items;
    if (c->number == r->memory) memcpy(x->to, from, n * c->size);
    else h5_convert(c->number, r->memory, from, n, x->to);
}

/* ---- all chunks of some rows ---- */

/* Fills in address and size; *possible = false where the library must read. */
static cpt_status locate(const h5_chunks *c, const h5_array *a, errand *x, bool *possible,
                         cpt_err *e)
{
    const size_t row = c->row_items * c->size;
    if (x->number == c->kept[0].number) return CPT_OK;
    if (c->in_pieces) {
        x->address = c->start + (uint64_t)x->number * c->bytes;
        x->stored = (x->skip + x->n_rows) * row;
    } else {
        const int64_t at = x->number - c->first_ahead;
        chunk_place place = {.known = false};
        if (at >= 0 && at < c->n_ahead) place = c->ahead[at];
        if (!place.known && !ask(c, a, x->number, &place))
            return h5_fail_library(a->file, e, a->place, "cannot be read");
        *possible = place.address != HADDR_UNDEF && place.stored > 0 && place.skipped == 0;
        if (!*possible) return CPT_OK;
        x->address = place.address;
        x->stored = place.stored;
        if (c->deflated ? place.stored > 2 * c->bytes + 65536 : place.stored != c->bytes)
            return h5_fail(a->file, e, CPT_ERR_FORMAT, a->place,
                           "chunk %lld takes %llu bytes, which is impossible; the file is damaged, "
                           "copy or write it again",
                           (long long)x->number, (unsigned long long)place.stored);
    }
    if (x->address > a->file->size || x->stored > a->file->size - x->address)
        return h5_fail(a->file, e, CPT_ERR_FORMAT, a->place,
                       "chunk %lld lies beyond the end of the file; the file is cut off or damaged, "
                       "copy or write it again",
                       (long long)x->number);
    return CPT_OK;
}

static cpt_status plan(round_of_work *r, int64_t first, int64_t n, unsigned char *out,
                       int64_t n_errands, bool *possible, cpt_err *e)
{
    h5_chunks *c = r->c;
    const int64_t rows = (int64_t)c->rows;
    for (int64_t i = 0, row = first; i < n_errands; i++) {
        errand *x = &r->errands[i];
        x->number = row / rows;
        int64_t end = (x->number + 1) * rows;
        x->keep = c->deflated && end > first + n && first + n < c->n_rows &&
                  x->number != c->kept[0].number;
        if (end > first + n) end = first + n;
        x->skip = (size_t)(row - x->number * rows);
        x->n_rows = (size_t)(end - row);
        x->to = out + (size_t)(row - first) * c->row_items * r->memory_size;
        cpt_status status = locate(c, r->a, x, possible, e);
        if (status || !*possible) return status;
        if (x->keep) {
            c->kept[1].number = -1;
            status = cpt_grow(&c->kept[1].bytes, &c->kept[1].capacity, c->bytes, 1, e);
            if (status) return status;
        }
        row = end;
    }
    return CPT_OK;
}

static cpt_status complain(const h5_array *a, const errand *x, cpt_err *e)
{
    if (x->outcome == NO_MEMORY) return cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
    if (x->outcome == UNREADABLE)
        return h5_fail(a->file, e, CPT_ERR_IO, a->place, "chunk %lld cannot be read",
                       (long long)x->number);
    return h5_fail(a->file, e, CPT_ERR_FORMAT, a->place,
                   "chunk %lld cannot be decompressed; the file is damaged, copy or write it again",
                   (long long)x->number);
}

/* The chunk that was cut becomes the one to begin with. */
static void keep_last(h5_chunks *c, const errand *last)
{
    if (!last->keep) return;
    kept_chunk old = c->kept[0];
    c->kept[0] = c->kept[1];
    c->kept[0].number = last->number;
    c->kept[1] = old;
}

cpt_status h5_chunks_read(h5_chunks *c, const h5_array *a, int64_t first, int64_t n, hid_t memory,
                          void *out, bool *possible, cpt_err *e)
{
    cpt_status status;
    round_of_work r = {.c = c, .a = a, .memory = h5_number_of(memory)};
    *possible = h5_converts(c->number, r.memory) || (c->number == r.memory && c->number);
    if (!*possible) return CPT_OK;
    r.memory_size = H5Tget_size(memory);
    const int64_t rows = (int64_t)c->rows;
    const int64_t n_errands = (first + n - 1) / rows - first / rows + 1;
    CPT_TRY(cpt_alloc(&r.errands, (size_t)n_errands, sizeof *r.errands, e));
    CPT_TRY(plan(&r, first, n, out, n_errands, possible, e));
    if (!*possible) goto done;
    plan_ahead(&r, n_errands);
    cpt_crew(c->n_threads, n_errands + (r.n_ahead > 0), work, &r);
    for (int64_t i = 0; i < n_errands; i++)
        if (r.errands[i].outcome != GOOD) CPT_TRY(complain(a, &r.errands[i], e));
    keep_last(c, &r.errands[n_errands - 1]);
done:
    free(r.errands);
    return status;
}

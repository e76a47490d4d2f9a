/* Attributions of single pairs in a file (pair_store.h).
 *
 * At opening the file is mapped and its whole records are indexed by (concept, prototype,
 * counterfactual) in a sorted list; lookups are binary searches into the map and need no lock. New
 * records go to the end by one write each, under a lock: a kill can cut the last record only, and
 * its checksum tells. They are not looked up again: a pair is computed once per run. */
#include "concept/pair_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "base/file.h"
#include "base/memory.h"

static const char MAGIC[8] = {'C', 'P', 'T', 'P', 'A', 'I', 'R', 'S'};
static const uint32_t VERSION = 2, RECORD = 0x52494150;
enum { HEADER_BYTES = 80, FIXED_BYTES = 72, USABLE = 1, HAS_ACTIVATION = 2 };

/* The fixed part of a record, as it lies in the file. */
typedef struct record {
    uint32_t magic;
    int32_t concept;
    int64_t prototype, counterfactual;
    uint32_t flags, n;
    double quality[5];
} record;
_Static_assert(sizeof(record) == FIXED_BYTES, "records have no padding");

typedef struct entry {
    int32_t concept;
    int64_t prototype, counterfactual;
    size_t at; /* of the record in the map */
} entry;

struct cpt_pair_store {
    char *path, key[65];
    int file;
    int32_t n_genes;
    cpt_map map;
    entry *entries;
    int64_t n, capacity;
};

static int compare(const void *x, const void *y)
{
    const entry *a = x, *b = y;
    if (a->concept != b->concept) return a->concept < b->concept ? -1 : 1;
    if (a->prototype != b->prototype) return a->prototype < b->prototype ? -1 : 1;
    if (a->counterfactual != b->counterfactual)
        return a->counterfactual < b->counterfactual ? -1 : 1;
    return 0;
}

static void header_of(const cpt_pair_store *s, const char *key, unsigned char out[HEADER_BYTES])
{
    const uint32_t genes = (uint32_t)s->n_genes;
    memcpy(out, MAGIC, 8);
    memcpy(out + 8, &VERSION, 4);
    memcpy(out + 12, &genes, 4);
    memcpy(out + 16, key, 64);
}

static size_t arrays_bytes(const record *r)
{
    return (size_t)r->n * (r->flags & HAS_ACTIVATION ? 12 : 8);
}

/* Bytes of the whole record at `at`, 0 when there is none that can be trusted. */
static size_t record_bytes(const cpt_pair_store *s, size_t at, record *r)
{
    const size_t left = s->map.size - at;
    const unsigned char *p = s->map.bytes + at;
    uint32_t sum;
    int32_t gene, before = -1;
    if (left < FIXED_BYTES + 4) return 0;
    memcpy(r, p, FIXED_BYTES);
    if (r->magic != RECORD || r->n > (uint32_t)s->n_genes || r->flags > 3) return 0;
    const size_t size = FIXED_BYTES + arrays_bytes(r);
    if (left < size + 4) return 0;
    memcpy(&sum, p + size, 4);
    if (sum != (uint32_t)crc32(0, p, (uInt)size)) return 0;
    for (uint32_t i = 0; i < r->n; i++) {
        memcpy(&gene, p + FIXED_BYTES + 4 * (size_t)i, 4);
        if (gene <= before || gene >= s->n_genes) return 0;
        before = gene;
    }
    return size + 4;
}

static cpt_status add_entry(cpt_pair_store *s, const record *r, size_t at, cpt_err *e)
{
    if (s->n == s->capacity) {
        const int64_t capacity = s->capacity ? 2 * s->capacity : 256;
        entry *more = realloc(s->entries, (size_t)capacity * sizeof *more);
        if (!more) return cpt_fail(e, CPT_ERR_MEMORY, "%s: out of memory", s->path);
        s->entries = more;
        s->capacity = capacity;
    }
    s->entries[s->n++] = (entry){r->concept, r->prototype, r->counterfactual, at};
    return CPT_OK;
}

static cpt_status io_error(const cpt_pair_store *s, cpt_err *e)
{
    return cpt_fail(e, CPT_ERR_IO, "%s: %s", s->path, strerror(errno));
}

static cpt_status write_all(const cpt_pair_store *s, const unsigned char *bytes, size_t n,
                            cpt_err *e)
{
    while (n) {
        const ssize_t done = write(s->file, bytes, n);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return io_error(s, e);
        bytes += done;
        n -= (size_t)done;
    }
    return CPT_OK;
}

/* Indexes what can be trusted and cuts the file behind it. */
static cpt_status read_records(cpt_pair_store *s, const char *key, cpt_err *e)
{
    unsigned char header[HEADER_BYTES];
    size_t at = HEADER_BYTES, size;
    record r;
    header_of(s, key, header);
    cpt_status status = cpt_map_open(s->path, &s->map, e);
    if (status) return status;
    if (s->map.size < HEADER_BYTES || memcmp(s->map.bytes, header, HEADER_BYTES) != 0) {
        if (ftruncate(s->file, 0) != 0) return io_error(s, e);
        return write_all(s, header, HEADER_BYTES, e);
    }
    for (; (size = record_bytes(s, at, &r)) > 0; at += size) {
        status = add_entry(s, &r, at, e);
        if (status) return status;
    }
    if (ftruncate(s->file, (off_t)at) != 0 || lseek(s->file, 0, SEEK_END) < 0)
        return io_error(s, e);
    if (s->n) qsort(s->entries, (size_t)s->n, sizeof *s->entries, compare);
    return CPT_OK;
}

cpt_status cpt_pair_store_open(const char *path, const char key[65], int32_t n_genes,
                               cpt_pair_store **out, cpt_err *e)
{
    cpt_pair_store *s = NULL;
    *out = NULL;
    cpt_status status = cpt_alloc(&s, 1, sizeof *s, e);
    if (status) return status;
    s->file = -1;
    s->n_genes = n_genes;
    if (strlen(key) != 64) CPT_TRY(cpt_fail(e, CPT_ERR_INTERNAL, "a key has 64 digits"));
    memcpy(s->key, key, sizeof s->key);
    s->path = cpt_strdup(path);
    if (!s->path) CPT_TRY(cpt_fail(e, CPT_ERR_MEMORY, "out of memory"));
    s->file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (s->file < 0) CPT_TRY(io_error(s, e));
    CPT_TRY(read_records(s, key, e));
    *out = s;
done:
    if (status) cpt_pair_store_close(s);
    return status;
}

void cpt_pair_store_close(cpt_pair_store *s)
{
    if (!s) return;
    if (s->file >= 0) close(s->file);
    cpt_map_close(&s->map);
    free(s->entries);
    free(s->path);
    free(s);
}

static cpt_status write_sorted(const cpt_pair_store *s, cpt_err *e)
{
    cpt_atomic out = {NULL};
    record r;
    cpt_status status = cpt_atomic_open(s->path, &out, e);
    if (status) return status;
    if (fwrite(s->map.bytes, 1, HEADER_BYTES, out.file) != HEADER_BYTES) CPT_TRY(io_error(s, e));
    for (int64_t i = 0; i < s->n; i++) {
        const size_t at = s->entries[i].at;
        memcpy(&r, s->map.bytes + at, FIXED_BYTES);
        const size_t size = FIXED_BYTES + arrays_bytes(&r) + 4;
        if (fwrite(s->map.bytes + at, 1, size, out.file) != size) CPT_TRY(io_error(s, e));
    }
    status = cpt_atomic_commit(&out, e);
done:
    if (status) cpt_atomic_abandon(&out);
    return status;
}

cpt_status cpt_pair_store_settle(cpt_pair_store *s, cpt_err *e)
{
    cpt_pair_store *all = NULL;
    if (!s) return CPT_OK;
    cpt_status status = cpt_pair_store_open(s->path, s->key, s->n_genes, &all, e);
    cpt_pair_store_close(s);
    if (status == CPT_OK) status = write_sorted(all, e);
    cpt_pair_store_close(all);
    return status;
}

int64_t cpt_pair_store_size(const cpt_pair_store *s)
{
    return s->n;
}

void cpt_pair_store_get(const cpt_pair_store *s, int32_t concept, const cpt_pair *pair,
                        cpt_pair_attribution *out, bool *usable, bool *found)
{
    const entry want = {concept, pair->prototype, pair->counterfactual, 0};
    const entry *at = s->n ? bsearch(&want, s->entries, (size_t)s->n, sizeof want, compare) : NULL;
    record r;
    *usable = false;
    *found = at != NULL;
    if (!at) return;
    const unsigned char *p = s->map.bytes + at->at;
    memcpy(&r, p, FIXED_BYTES);
    *usable = r.flags & USABLE;
    out->completeness_error = r.quality[0];
    out->hybrid_spearman = r.quality[1];
    out->hybrid_top20_overlap = r.quality[2];
    out->hybrid_spearman_pre = r.quality[3];
    out->hybrid_top20_pre = r.quality[4];
    p += FIXED_BYTES;
    for (size_t i = 0; i < r.n; i++) {
        int32_t gene;
        memcpy(&gene, p + 4 * i, 4);
        out->differs[gene] = true;
        memcpy(&out->pre[gene], p + 4 * (r.n + i), 4);
        if (out->activation && r.flags & HAS_ACTIVATION)
            memcpy(&out->activation[gene], p + 4 * (2 * (size_t)r.n + i), 4);
    }
}

/* The record's bytes into a block of their own. */
static cpt_status pack(const cpt_pair_store *s, int32_t concept, const cpt_pair *pair,
                       const cpt_pair_attribution *in, bool usable, unsigned char **out,
                       size_t *size, cpt_err *e)
{
    record r = {RECORD,
                concept,
                pair->prototype,
                pair->counterfactual,
                (usable ? USABLE : 0) | (in->activation ? HAS_ACTIVATION : 0),
                0,
                {in->completeness_error, in->hybrid_spearman, in->hybrid_top20_overlap,
                 in->hybrid_spearman_pre, in->hybrid_top20_pre}};
    for (int32_t g = 0; g < s->n_genes; g++) r.n += in->differs[g];
    *size = FIXED_BYTES + arrays_bytes(&r) + 4;
    cpt_status status = cpt_alloc(out, *size, 1, e);
    if (status) return status;
    memcpy(*out, &r, FIXED_BYTES);
    unsigned char *p = *out + FIXED_BYTES;
    for (int32_t g = 0, i = 0; g < s->n_genes; g++) {
        if (!in->differs[g]) continue;
        memcpy(p + 4 * (size_t)i, &g, 4);
        memcpy(p + 4 * (r.n + (size_t)i), &in->pre[g], 4);
        if (in->activation) memcpy(p + 4 * (2 * (size_t)r.n + (size_t)i), &in->activation[g], 4);
        i++;
    }
    const uint32_t sum = (uint32_t)crc32(0, *out, (uInt)(*size - 4));
    memcpy(*out + *size - 4, &sum, 4);
    return CPT_OK;
}

cpt_status cpt_pair_store_put(cpt_pair_store *s, int32_t concept, const cpt_pair *pair,
                              const cpt_pair_attribution *in, bool usable, cpt_err *e)
{
    unsigned char *bytes = NULL;
    size_t size;
    cpt_status status = pack(s, concept, pair, in, usable, &bytes, &size, e);
    if (status) return status;
#pragma omp critical(cpt_pair_store_put)
    status = write_all(s, bytes, size, e);
    free(bytes);
    return status;
}

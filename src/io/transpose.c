/* See transpose.h.
 *
 * Method: columns are dealt out in blocks of so many entries, as many at a time as there are
 * threads. A thread goes through all rows for its block: indices ascend within a row, so the first
 * entry of the block is found by bisection and the others follow it. Then the blocks are appended
 * in their order, one thread per file. O(nnz + blocks * rows).
 * Traps: entries are scattered over thousands of places at a time; in pages of 4 KiB each of them
 * costs a walk through the page table, so the blocks ask for large pages (20 % of the time). */
#include "io/transpose.h"
#include "base/crew.h"
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { LARGE_PAGE = 1 << 21, SLICES_PER_THREAD = 8 };

typedef struct block {
    int64_t first, last;  /* columns */
    int64_t n;            /* entries */
    int32_t *indices;
    float *values;
    int64_t *fill;        /* [last - first] next free place of each column */
} block;

typedef struct transposing {
    const cpt_csr *m;
    int64_t most; /* entries of a block */
    int n_threads;
    int64_t *starts; /* [n_cols + 1] where each column begins */
    int64_t *counts; /* [n_threads][n_cols] */
    block *blocks;   /* [n_threads] */
    int n_blocks;    /* of this round */
    cpt_npy_writer *indices, *values;
    cpt_err errors[2];
} transposing;

/* ---- how many entries each column has ---- */

static void count_slice(void *data, int64_t slice, int thread)
{
    const transposing *t = data;
    int64_t n_slices = (int64_t)t->n_threads * SLICES_PER_THREAD, nnz = t->m->indptr[t->m->n_rows];
    int64_t *counts = t->counts + thread * t->m->n_cols;
    for (int64_t p = nnz / n_slices * slice,
                 end = slice == n_slices - 1 ? nnz : nnz / n_slices * (slice + 1);
         p < end; p++)
        counts[t->m->indices[p]]++;
}

static void count_columns(transposing *t)
{
    cpt_crew(t->n_threads, (int64_t)t->n_threads * SLICES_PER_THREAD, count_slice, t);
    for (int i = 0; i < t->n_threads; i++)
        for (int64_t j = 0; j < t->m->n_cols; j++)
            t->starts[j + 1] += t->counts[i * t->m->n_cols + j];
    for (int64_t j = 0; j < t->m->n_cols; j++) t->starts[j + 1] += t->starts[j];
}

/* ---- blocks ---- */

static int64_t block_end(const transposing *t, int64_t first)
{
    int64_t last = first + 1;
    while (last < t->m->n_cols && t->starts[last + 1] - t->starts[first] <= t->most) last++;
    return last;
}

/* The first entry in [p, end) whose column is not below `column`. */
static int64_t bisect(const int32_t *indices, int64_t p, int64_t end, int64_t column)
{
    while (p < end) {
        int64_t middle = p + (end - p) / 2;
        if (indices[middle] < column) p = middle + 1;
        else end = middle;
    }
    return p;
}

static void fill_block(void *data, int64_t item, int thread)
{
    (void)thread;
    const transposing *t = data;
    const cpt_csr *m = t->m;
    block *b = &t->blocks[item];
    for (int64_t j = b->first; j < b->last; j++)
        b->fill[j - b->first] = t->starts[j] - t->starts[b->first];
    for (int64_t i = 0; i < m->n_rows; i++) {
        int64_t end = m->indptr[i + 1], p = bisect(m->indices, m->indptr[i], end, b->first);
        for (; p < end && m->indices[p] < b->last; p++) {
            int64_t place = b->fill[m->indices[p] - b->first]++;
            b->indices[place] = (int32_t)i;
            b->values[place] = m->values[p];
        }
    }
}

static void append_file(void *data, int64_t file, int thread)
{
    (void)thread;
    transposing *t = data;
    cpt_status status = CPT_OK;
    cpt_err *e = &t->errors[file];
    for (int i = 0; i < t->n_blocks && status == CPT_OK; i++) {
        const block *b = &t->blocks[i];
        status = file ? cpt_npy_append(t->values, b->values, b->n, e)
                      : cpt_npy_append(t->indices, b->indices, b->n, e);
    }
    e->code = status;
}

static cpt_status transpose_round(transposing *t, int64_t *first, cpt_err *e)
{
    int n = 0;
    for (; n < t->n_threads && *first < t->m->n_cols; n++) {
        block *b = &t->blocks[n];
        b->first = *first;
        b->last = *first = block_end(t, *first);
        b->n = t->starts[b->last] - t->starts[b->first];
    }
    t->n_blocks = n;
    cpt_crew(t->n_threads, n, fill_block, t);
    cpt_crew(t->n_threads, 2, append_file, t);
    for (int i = 0; i < 2; i++)
        if (t->errors[i].code) {
            if (e) *e = t->errors[i];
            return t->errors[i].code;
        }
    return CPT_OK;
}

/* ---- room ---- */

static cpt_status in_large_pages(void *out, size_t bytes, cpt_err *e)
{
    void *p = NULL;
    size_t whole = (bytes / LARGE_PAGE + 1) * LARGE_PAGE;
    if (posix_memalign(&p, LARGE_PAGE, whole) != 0)
        return cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
    madvise(p, whole, MADV_HUGEPAGE);
    memcpy(out, &p, sizeof p);
    return CPT_OK;
}

static cpt_status make_room(transposing *t, cpt_err *e)
{
    cpt_status status = CPT_OK;
    int64_t largest = 0, widest = 0;
    for (int64_t first = 0, last; first < t->m->n_cols; first = last) {
        last = block_end(t, first);
        int64_t n = t->starts[last] - t->starts[first];
        if (n > largest) largest = n;
        if (last - first > widest) widest = last - first;
    }
    for (int i = 0; i < t->n_threads; i++) {
        block *b = &t->blocks[i];
        CPT_TRY(in_large_pages(&b->indices, (size_t)largest * sizeof *b->indices, e));
        CPT_TRY(in_large_pages(&b->values, (size_t)largest * sizeof *b->values, e));
        CPT_TRY(cpt_alloc(&b->fill, (size_t)widest, sizeof *b->fill, e));
    }
done:
    return status;
}

cpt_status cpt_transpose(const cpt_csr *m, int64_t most, int n_threads, cpt_npy_writer *indptr,
                         cpt_npy_writer *indices, cpt_npy_writer *values, cpt_err *e)
{
    cpt_status status;
    transposing t = {.m = m, .indices = indices, .values = values};
    t.n_threads = n_threads < 1 ? 1 : n_threads > CPT_CREW_MOST ? CPT_CREW_MOST : n_threads;
    t.most = most / t.n_threads;
    const size_t n_cols = (size_t)m->n_cols;
    CPT_TRY(cpt_alloc(&t.blocks, (size_t)t.n_threads, sizeof *t.blocks, e));
    CPT_TRY(cpt_alloc(&t.starts, n_cols + 1, sizeof *t.starts, e));
    CPT_TRY(cpt_alloc(&t.counts, (size_t)t.n_threads * n_cols, sizeof *t.counts, e));
    count_columns(&t);
    CPT_TRY(make_room(&t, e));
    CPT_TRY(cpt_npy_append(indptr, t.starts + 1, m->n_cols, e));
    for (int64_t first = 0; first < m->n_cols;) CPT_TRY(transpose_round(&t, &first, e));
done:
    for (int i = 0; t.blocks && i < t.n_threads; i++) {
        free(t.blocks[i].indices);
        free(t.blocks[i].values);
        free(t.blocks[i].fill);
    }
    free(t.blocks);
    free(t.starts);
    free(t.counts);
    return status;
}

/* activations.c - who activates what.
 *
 * Problem: encode all cells with a dictionary and keep the result in both directions, by cell for
 * tests over genes and by concept for prototypes and the interface.
 * Method: blocks of cells of a fixed size are encoded in parallel into slots of their own, then put
 * one after the other; the transpose is a counting sort, so cells ascend within a concept.
 * Complexity: one encode per cell, O(nnz) for the rest.
 * Traps: a NaN embedding would poison a block's matrix product, so such rows are taken out before
 * the encoder sees them. Opened files are hostile until checked: every index is bounded here,
 * nothing above checks again. */
#include "concept/activations.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "concept/failure.h"

enum { BLOCK = 1024, RARE_CELLS = 10 };

struct activations_maps {
    cpt_npy cell[3], concept[3], usable;
};

typedef struct encoded_block {
    int64_t nnz;
    int32_t *concepts;
    float *values;
} encoded_block;

static bool row_finite(const float *row, int32_t dim)
{
    for (int32_t j = 0; j < dim; j++)
        if (!isfinite(row[j])) return false;
    return true;
}

/* Copies the usable rows of a block together; returns how many. */
static int64_t gather_usable(const float *a, int64_t first, int64_t n, int32_t dim, bool *usable,
                             float *rows)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < n; i++) {
        const float *row = a + (first + i) * dim;
        usable[first + i] = row_finite(row, dim);
        if (usable[first + i]) memcpy(rows + kept++ * dim, row, (size_t)dim * sizeof *rows);
    }
    return kept;
}

/* Packs the encoder's padded rows into `b` and writes the length of row i to lengths[i]. */
static cpt_status pack_block(const cpt_dictionary *d, int64_t n, const bool *usable,
                             const int32_t *counts, const int32_t *concepts, const float *values,
                             int64_t *lengths, encoded_block *b, cpt_err *e)
{
    int64_t kept = 0, at = 0;
    for (int64_t i = 0; i < n; i++) {
        lengths[i] = usable[i] ? counts[kept++] : 0;
        b->nnz += lengths[i];
    }
    cpt_status status = cpt_alloc(&b->concepts, (size_t)b->nnz, sizeof *b->concepts, e);
    if (status == CPT_OK) status = cpt_alloc(&b->values, (size_t)b->nnz, sizeof *b->values, e);
    if (status != CPT_OK) return status;
    for (int64_t row = 0; row < kept; row++) {
        memcpy(b->concepts + at, concepts + row * d->max_active, (size_t)counts[row] * sizeof *concepts);
        memcpy(b->values + at, values + row * d->max_active, (size_t)counts[row] * sizeof *values);
        at += counts[row];
    }
    return CPT_OK;
}

static cpt_status encode_block(const cpt_dictionary *d, const float *a, int64_t first, int64_t n,
                               bool *usable, int64_t *lengths, encoded_block *b, cpt_err *e)
{
    float *rows = NULL, *values = NULL;
    int32_t *counts = NULL, *concepts = NULL;
    cpt_status status;
    size_t width = (size_t)d->max_active;

    CPT_TRY(cpt_alloc(&rows, (size_t)n * (size_t)d->dim, sizeof *rows, e));
    CPT_TRY(cpt_alloc(&counts, (size_t)n, sizeof *counts, e));
    CPT_TRY(cpt_alloc(&concepts, (size_t)n * width, sizeof *concepts, e));
    CPT_TRY(cpt_alloc(&values, (size_t)n * width, sizeof *values, e));
    int64_t kept = gather_usable(a, first, n, d->dim, usable, rows);
    if (kept > 0) CPT_TRY(d->ops->encode(d, kept, rows, counts, concepts, values, e));
    status = pack_block(d, n, usable + first, counts, concepts, values, lengths, b, e);
done:
    free(rows);
    free(counts);
    free(concepts);
    free(values);
    return status;
}

/* Sums the row lengths in indptr[1..] up and puts the blocks one after the other. */
static cpt_status join_blocks(cpt_activations *u, int64_t *indptr, const encoded_block *blocks,
                              int64_t n_blocks, cpt_err *e)
{
    int32_t *indices;
    float *values;
    int64_t at = 0;
    cpt_status status;
    for (int64_t i = 0; i < u->n_cells; i++) indptr[i + 1] += indptr[i];
    CPT_TRY(cpt_alloc(&indices, (size_t)indptr[u->n_cells], sizeof *indices, e));
    u->by_cell.indices = indices;
    CPT_TRY(cpt_alloc(&values, (size_t)indptr[u->n_cells], sizeof *values, e));
    u->by_cell.values = values;
    for (int64_t b = 0; b < n_blocks; b++) {
        memcpy(indices + at, blocks[b].concepts, (size_t)blocks[b].nnz * sizeof *indices);
        memcpy(values + at, blocks[b].values, (size_t)blocks[b].nnz * sizeof *values);
        at += blocks[b].nnz;
    }
done:
    return status;
}

/* by_concept out of by_cell: a counting sort, so that cells ascend. */
static cpt_status transpose(cpt_activations *u, cpt_err *e)
{
    const cpt_csr *in = &u->by_cell;
    int64_t nnz = in->indptr[u->n_cells], *indptr, *next = NULL;
    int32_t *indices;
    float *values;
    cpt_status status;

    CPT_TRY(cpt_alloc(&indptr, (size_t)u->n_concepts + 1, sizeof *indptr, e));
    u->by_concept.indptr = indptr;
    CPT_TRY(cpt_alloc(&indices, (size_t)nnz, sizeof *indices, e));
    u->by_concept.indices = indices;
    CPT_TRY(cpt_alloc(&values, (size_t)nnz, sizeof *values, e));
    u->by_concept.values = values;
    CPT_TRY(cpt_alloc(&next, (size_t)u->n_concepts + 1, sizeof *next, e));
    for (int64_t k = 0; k < nnz; k++) indptr[in->indices[k] + 1]++;
    for (int32_t c = 0; c < u->n_concepts; c++) indptr[c + 1] += indptr[c];
    memcpy(next, indptr, (size_t)u->n_concepts * sizeof *next);
    for (int64_t i = 0; i < u->n_cells; i++)
        for (int64_t k = in->indptr[i]; k < in->indptr[i + 1]; k++) {
            int64_t to = next[in->indices[k]]++;
            indices[to] = (int32_t)i;
            values[to] = in->values[k];
        }
done:
    free(next);
    return status;
}

static cpt_status make_stats(cpt_activations *u, cpt_err *e)
{
    cpt_status status = cpt_alloc(&u->stats, (size_t)u->n_concepts, sizeof *u->stats, e);
    if (status != CPT_OK) return status;
    u->n_unusable = 0;
    for (int64_t i = 0; i < u->n_cells; i++) u->n_unusable += !u->usable[i];
    double n_usable = (double)(u->n_cells - u->n_unusable);
    for (int32_t c = 0; c < u->n_concepts; c++) {
        cpt_concept_stats *s = &u->stats[c];
        double sum = 0;
        for (int64_t k = u->by_concept.indptr[c]; k < u->by_concept.indptr[c + 1]; k++) {
            float v = u->by_concept.values[k];
            sum += v;
            if (v > s->max) s->max = v;
        }
        s->n_active = u->by_concept.indptr[c + 1] - u->by_concept.indptr[c];
        s->frequency = n_usable > 0 ? (double)s->n_active / n_usable : 0;
        s->mean = s->n_active ? (float)(sum / (double)s->n_active) : 0;
        s->dead = s->n_active == 0;
        s->dense = s->frequency > 0.5;
        s->rare = !s->dead && s->n_active < RARE_CELLS;
    }
    return CPT_OK;
}

static cpt_status encode_blocks(cpt_activations *u, const cpt_dictionary *d, const float *a,
                                bool *usable, int64_t *indptr, encoded_block *blocks,
                                int64_t n_blocks, const cpt_context *ctx, cpt_err *e)
{
    cpt_failure failure = {.status = CPT_OK};
    int64_t n_done = 0;
#pragma omp parallel for schedule(dynamic) num_threads(cpt_threads(ctx))
    for (int64_t b = 0; b < n_blocks; b++) {
        if (cpt_failed(&failure)) continue;
        cpt_err err;
        int64_t first = b * BLOCK, n = u->n_cells - first < BLOCK ? u->n_cells - first : BLOCK, done;
        cpt_status status = cpt_check_stop(ctx, &err);
        if (status == CPT_OK)
            status = encode_block(d, a, first, n, usable, indptr + 1 + first, &blocks[b], &err);
        cpt_failure_note(&failure, status, b, &err);
#pragma omp atomic capture
        done = ++n_done;
        if (omp_get_thread_num() == 0)
            cpt_progress(ctx, "encoding cells", (double)done, (double)n_blocks, NULL);
    }
    return cpt_failure_status(&failure, e);
}

cpt_status cpt_activations_encode(const cpt_dictionary *d, const float *a, int64_t n_cells,
                                  cpt_activations **out, const cpt_context *ctx, cpt_err *e)
{
    *out = NULL;
    if (n_cells > INT32_MAX)
        return cpt_fail(e, CPT_ERR_UNSUPPORTED, "%lld cells: at most %d can be encoded at once",
                        (long long)n_cells, INT32_MAX);
    cpt_activations *u = NULL;
    encoded_block *blocks = NULL;
    int64_t n_blocks = (n_cells + BLOCK - 1) / BLOCK, *indptr;
    bool *usable;
    cpt_status status;

    CPT_TRY(cpt_alloc(&u, 1, sizeof *u, e));
    u->n_cells = n_cells;
    u->n_concepts = d->n_concepts;
    CPT_TRY(cpt_alloc(&indptr, (size_t)n_cells + 1, sizeof *indptr, e));
    u->by_cell = (cpt_csr){n_cells, d->n_concepts, indptr, NULL, NULL};
    u->by_concept = (cpt_csr){d->n_concepts, n_cells, NULL, NULL, NULL};
    CPT_TRY(cpt_alloc(&usable, (size_t)n_cells, sizeof *usable, e));
    u->usable = usable;
    CPT_TRY(cpt_alloc(&blocks, (size_t)n_blocks, sizeof *blocks, e));
    CPT_TRY(encode_blocks(u, d, a, usable, indptr, blocks, n_blocks, ctx, e));
    CPT_TRY(join_blocks(u, indptr, blocks, n_blocks, e));
    CPT_TRY(transpose(u, e));
    status = make_stats(u, e);
done:
    for (int64_t b = 0; blocks && b < n_blocks; b++) {
        free(blocks[b].concepts);
        free(blocks[b].values);
    }
    free(blocks);
    if (status == CPT_OK) *out = u;
    else cpt_activations_free(u);
    return status;
}

/* ---- files ---- */

static const char *const PARTS[3] = {"indptr", "indices", "values"};
static const cpt_dtype PART_TYPES[3] = {CPT_I64, CPT_I32, CPT_F32};

static cpt_status part_path(char *path, size_t capacity, const char *folder, const char *side,
                            const char *part, cpt_err *e)
{
    char name[64];
    snprintf(name, sizeof name, "activations_by_%s.%s.npy", side, part);
    return cpt_path_join(path, capacity, folder, name, e);
}

static cpt_status save_side(const cpt_csr *m, const char *folder, const char *side, cpt_err *e)
{
    const void *data[3] = {m->indptr, m->indices, m->values};
    int64_t nnz = m->indptr[m->n_rows], lengths[3] = {m->n_rows + 1, nnz, nnz};
    char path[4096];
    cpt_status status = CPT_OK;
    for (int part = 0; part < 3 && status == CPT_OK; part++) {
        CPT_TRY(part_path(path, sizeof path, folder, side, PARTS[part], e));
        status = cpt_npy_write(path, PART_TYPES[part], 1, &lengths[part], data[part], e);
    }
done:
    return status;
}

cpt_status cpt_activations_save(const cpt_activations *u, const char *folder, cpt_err *e)
{
    char path[4096];
    cpt_status status;
    CPT_TRY(cpt_make_folder(folder, e));
    CPT_TRY(save_side(&u->by_cell, folder, "cell", e));
    CPT_TRY(save_side(&u->by_concept, folder, "concept", e));
    CPT_TRY(part_path(path, sizeof path, folder, "cell", "usable", e));
    status = cpt_npy_write(path, CPT_BOOL, 1, &u->n_cells, u->usable, e);
done:
    return status;
}

static cpt_status open_side(const char *folder, const char *side, cpt_npy maps[3], cpt_csr *m, cpt_err *e)
{
    char path[4096];
    int64_t length = -1;
    cpt_status status = CPT_OK;
    for (int part = 0; part < 3; part++) {
        CPT_TRY(part_path(path, sizeof path, folder, side, PARTS[part], e));
        CPT_TRY(cpt_npy_open_as(path, PART_TYPES[part], 1, &length, &maps[part], e));
        if (part == 1) length = maps[1].n_items; /* values: as many as indices */
    }
    m->n_rows = maps[0].n_items - 1;
    m->indptr = maps[0].data;
    m->indices = maps[1].data;
    m->values = maps[2].data;
    if (m->n_rows < 0 || m->n_rows > INT32_MAX || m->indptr[0] != 0 ||
        m->indptr[m->n_rows] != maps[1].n_items)
        return cpt_fail(e, CPT_ERR_FORMAT, "%s: activations_by_%s.indptr.npy does not fit its indices; "
                        "run the encode step again", folder, side);
done:
    return status;
}

static cpt_status check_side(const char *folder, const char *side, const cpt_csr *m, cpt_err *e)
{
    int64_t nnz = m->indptr[m->n_rows];
    for (int64_t i = 0; i < m->n_rows; i++) {
        int64_t from = m->indptr[i], to = m->indptr[i + 1];
        if (from > to || to > nnz || from < 0)
            return cpt_fail(e, CPT_ERR_FORMAT, "%s: activations_by_%s.indptr.npy: row %lld: offsets "
                            "must ascend; run the encode step again", folder, side, (long long)i);
        for (int64_t k = from; k < to; k++) {
            bool order = k == from || m->indices[k - 1] < m->indices[k];
            if (!order || m->indices[k] < 0 || m->indices[k] >= m->n_cols ||
                !(m->values[k] > 0 && isfinite(m->values[k])))
                return cpt_fail(e, CPT_ERR_FORMAT, "%s: activations_by_%s: row %lld: entry %lld is out "
                                "of order, out of range or not positive; run the encode step again",
                                folder, side, (long long)i, (long long)(k - from));
        }
    }
    return CPT_OK;
}

static cpt_status open_usable(cpt_activations *u, const char *folder, cpt_err *e)
{
    char path[4096];
    cpt_status status;
    CPT_TRY(part_path(path, sizeof path, folder, "cell", "usable", e));
    CPT_TRY(cpt_npy_open_as(path, CPT_BOOL, 1, &u->n_cells, &u->maps->usable, e));
    const unsigned char *bytes = u->maps->usable.data;
    for (int64_t i = 0; i < u->n_cells; i++)
        if (bytes[i] > 1 || (!bytes[i] && u->by_cell.indptr[i] < u->by_cell.indptr[i + 1]))
            return cpt_fail(e, CPT_ERR_FORMAT, "%s: cell %lld is neither usable nor without "
                            "activations; run the encode step again", path, (long long)i);
    u->usable = u->maps->usable.data;
done:
    return status;
}

/* Both sides must tell the same story: the same entries in the transposed order. */
static cpt_status check_sides_agree(const cpt_activations *u, const char *folder, cpt_err *e)
{
    int64_t *next;
    bool same = u->by_cell.indptr[u->n_cells] == u->by_concept.indptr[u->n_concepts];
    cpt_status status = cpt_alloc(&next, (size_t)u->n_concepts, sizeof *next, e);
    if (status != CPT_OK) return status;
    memcpy(next, u->by_concept.indptr, (size_t)u->n_concepts * sizeof *next);
    for (int64_t i = 0; i < u->n_cells && same; i++)
        for (int64_t k = u->by_cell.indptr[i]; k < u->by_cell.indptr[i + 1] && same; k++) {
            int32_t c = u->by_cell.indices[k];
            int64_t at = next[c]++;
            same = at < u->by_concept.indptr[c + 1] && u->by_concept.indices[at] == i &&
                   u->by_concept.values[at] == u->by_cell.values[k];
        }
    free(next);
    if (!same)
        return cpt_fail(e, CPT_ERR_FORMAT, "%s: activations_by_cell and activations_by_concept "
                        "disagree; run the encode step again", folder);
    return CPT_OK;
}

cpt_status cpt_activations_open(const char *folder, cpt_activations **out, cpt_err *e)
{
    cpt_activations *u = NULL;
    cpt_status status;
    *out = NULL;
    CPT_TRY(cpt_alloc(&u, 1, sizeof *u, e));
    CPT_TRY(cpt_alloc(&u->maps, 1, sizeof *u->maps, e));
    CPT_TRY(open_side(folder, "cell", u->maps->cell, &u->by_cell, e));
    CPT_TRY(open_side(folder, "concept", u->maps->concept, &u->by_concept, e));
    u->n_cells = u->by_concept.n_cols = u->by_cell.n_rows;
    u->by_cell.n_cols = u->by_concept.n_rows;
    u->n_concepts = (int32_t)u->by_concept.n_rows;
    CPT_TRY(check_side(folder, "cell", &u->by_cell, e));
    CPT_TRY(check_side(folder, "concept", &u->by_concept, e));
    CPT_TRY(check_sides_agree(u, folder, e));
    CPT_TRY(open_usable(u, folder, e));
    status = make_stats(u, e);
done:
    if (status == CPT_OK) *out = u;
    else cpt_activations_free(u);
    return status;
}

static void free_side(cpt_csr *m)
{
    free((void *)m->indptr);
    free((void *)m->indices);
    free((void *)m->values);
}

void cpt_activations_free(cpt_activations *u)
{
    if (!u) return;
    if (u->maps) {
        for (int part = 0; part < 3; part++) {
            cpt_npy_close(&u->maps->cell[part]);
            cpt_npy_close(&u->maps->concept[part]);
        }
        cpt_npy_close(&u->maps->usable);
        free(u->maps);
    } else {
        free_side(&u->by_cell);
        free_side(&u->by_concept);
        free((void *)u->usable);
    }
    free(u->stats);
    free(u);
}

void cpt_activations_column(const cpt_activations *u, int32_t concept, float *out)
{
    const cpt_csr *m = &u->by_concept;
    memset(out, 0, (size_t)u->n_cells * sizeof *out);
    for (int64_t k = m->indptr[concept]; k < m->indptr[concept + 1]; k++)
        out[m->indices[k]] = m->values[k];
}

/* pairs_search.c - exact nearest inactive cells for the prototypes of all concepts.
 *
 * Problem: for each of F * n prototypes, the nearest of N cells among those that do not activate the
 * prototype's own concept. Every concept forbids other cells, so no shared index helps.
 * Method: as in math/neighbours.c. All cells are packed once; tiles of queries of all concepts go through them by matrix
 * product, |q - x|^2 = |q|^2 + |x|^2 - 2 q.x on centred coordinates, scaled by a power of two. The product (SPLIT) is
 * only a filter: g (|q|^2 + |x|^2) bounds its error (derived there), and every cell whose lower bound does not exceed
 * the m-th best distance is measured again, from differences in double. Hence the answer does not depend on the kernels
 * or the machine.
 * Complexity: O(F n N dim) multiply-adds in the product plus one scan; exact rechecks are few, since
 * the limit falls like a record process. Memory: a packed copy of the embedding.
 * Traps: active cells are the nearest of all, so they are struck out of the hits by a cursor along the concept's list
 * instead of being looked up one by one; embeddings far from 0 would lose all digits without centring. */
#include "concept/pairs_search.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "concept/failure.h"
#include "math/gemm.h"
#include "math/scan.h"

enum { TILE = 512, LEAST = 64, PACK_ROWS = 512 };

typedef struct search {
    const cpt_activations *u;
    const float *a;
    const cpt_column *match;
    int32_t dim;
    float *mean;   /* [dim] of the usable cells */
    double scale;  /* a power of two: the largest deviation is below 1 */
    float *norms;  /* [n_cells] (1 - g) |x - mean|^2; +inf when unusable */
    double g;
    cpt_packed packed; /* centred, scaled cells; 0 when unusable */
    const int64_t *cells;
    const int32_t *concepts;
    cpt_near_list *lists;
} search;

/* Queries first .. first + n. */
typedef struct tile {
    const search *s;
    const cpt_scan_kernels *scan;
    int64_t first, n;
    float *queries;   /* [n][dim] centred, scaled */
    double *norms2;   /* [n] */
    float *limits;    /* [n] see scan_limit */
    int64_t *cursor;  /* [n] next entry of the query's concept that is not before the cells at hand */
} tile;

bool cpt_near_closer(cpt_near x, cpt_near y)
{
    return x.distance2 < y.distance2 || (x.distance2 == y.distance2 && x.cell < y.cell);
}

void cpt_near_insert(cpt_near_list *list, cpt_near found)
{
    int32_t at = list->n;
    if (at == list->m) {
        if (!cpt_near_closer(found, list->items[at - 1])) return;
        at--;
    } else {
        list->n++;
    }
    for (; at > 0 && cpt_near_closer(found, list->items[at - 1]); at--)
        list->items[at] = list->items[at - 1];
    list->items[at] = found;
}

double cpt_distance2(const float *x, const float *y, int32_t dim)
{
    double sum = 0;
    for (int32_t j = 0; j < dim; j++) {
        double diff = (double)x[j] - (double)y[j];
        sum += diff * diff;
    }
    return sum;
}

static cpt_status find_mean(search *s, cpt_err *e)
{
    double *sum, n = 0, largest = 0;
    cpt_status status = cpt_alloc(&sum, (size_t)s->dim, sizeof *sum, e);
    if (status != CPT_OK) return status;
    for (int64_t i = 0; i < s->u->n_cells; i++) {
        if (!s->u->usable[i]) continue;
        const float *row = s->a + i * s->dim;
        for (int32_t j = 0; j < s->dim; j++) sum[j] += (double)row[j];
        n++;
    }
    for (int32_t j = 0; j < s->dim; j++) s->mean[j] = n > 0 ? (float)(sum[j] / n) : 0;
    free(sum);
    for (int64_t i = 0; i < s->u->n_cells; i++)
        for (int32_t j = 0; j < s->dim && s->u->usable[i]; j++)
            largest = fmax(largest, fabs((double)s->a[i * s->dim + j] - (double)s->mean[j]));
    int exponent = 0;
    if (largest > 0 && isfinite(largest)) frexp(largest, &exponent);
    s->scale = ldexp(1.0, -exponent);
    return CPT_OK;
}

/* Centred, scaled copy of a row; zeros for unusable cells, so that the product stays finite. Returns its square. */
static double centre(const search *s, int64_t cell, float *out)
{
    const float *row = s->a + cell * s->dim;
    double sum = 0;
    if (!s->u->usable[cell]) {
        memset(out, 0, (size_t)s->dim * sizeof *out);
        return 0;
    }
    for (int32_t j = 0; j < s->dim; j++) {
        out[j] = (float)(((double)row[j] - (double)s->mean[j]) * s->scale);
        sum += (double)out[j] * (double)out[j];
    }
    return sum;
}

static cpt_status pack_cells(search *s, int n_threads, cpt_err *e)
{
    const int64_t n = s->u->n_cells, chunks = (n + PACK_ROWS - 1) / PACK_ROWS;
    cpt_status status;
    float *rows = NULL;
    s->packed = cpt_packed_of(CPT_GEMM_SPLIT, n, s->dim, NULL);
    CPT_TRY(cpt_alloc(&s->packed.data, cpt_packed_bytes(CPT_GEMM_SPLIT, n, s->dim), 1, e));
    CPT_TRY(cpt_alloc(&rows, (size_t)n_threads * PACK_ROWS * (size_t)s->dim, sizeof *rows, e));
#pragma omp parallel for schedule(static) num_threads(n_threads)
    for (int64_t c = 0; c < chunks; c++) {
        float *own = rows + (int64_t)omp_get_thread_num() * PACK_ROWS * s->dim;
        const int64_t first = c * PACK_ROWS, end = n - first < PACK_ROWS ? n : first + PACK_ROWS;
        for (int64_t i = first; i < end; i++) {
            const double square = centre(s, i, own + (i - first) * s->dim);
            s->norms[i] = s->u->usable[i] ? (float)((1 - s->g) * square) : INFINITY;
        }
        cpt_repack(&s->packed, first, end, own, s->dim, 1);
    }
done:
    free(rows);
    return status;
}

/* Which of n <= 32 cells from `first` on activate the concept; the cursor moves along its list. */
static uint32_t active_bits(const search *s, int32_t concept, int64_t first, int64_t n, int64_t *cursor)
{
    const cpt_csr *m = &s->u->by_concept;
    int64_t k = *cursor, end = m->indptr[concept + 1];
    uint32_t bits = 0;
    while (k < end && m->indices[k] < first) k++;
    for (; k < end && m->indices[k] < first + n; k++) bits |= (uint32_t)1 << (m->indices[k] - first);
    *cursor = k;
    return bits;
}

/* Largest value of norm - 2 product at which a cell may still be nearer than the worst of the list. */
static float scan_limit(const search *s, const cpt_near_list *list, double query_norm2)
{
    if (list->n < list->m) return 0x1p100f; /* everything but unusable cells */
    double limit = list->items[list->m - 1].distance2 * s->scale * s->scale * (1 + 1e-12) + 0x1p-100 -
                   (1 - s->g) * query_norm2;
    return nextafterf((float)limit, INFINITY);
}

/* The query shares the match column's category with the cell, or nothing needs to match. */
static bool matches(const search *s, int64_t query, int64_t cell)
{
    return !s->match || (s->match->codes[query] >= 0 && s->match->codes[query] == s->match->codes[cell]);
}

static void measure(tile *t, int64_t q, int64_t cell)
{
    const search *s = t->s;
    const int64_t query = s->cells[t->first + q];
    cpt_near_list *list = &s->lists[t->first + q];
    if (!matches(s, query, cell)) return;
    const double d2 = cpt_distance2(s->a + query * s->dim, s->a + cell * s->dim, s->dim);
    cpt_near_insert(list, (cpt_near){cell, d2});
    t->limits[q] = scan_limit(s, list, t->norms2[q]);
}

/* A block of products: a cpt_gemm_sink. */
static void scan_block(void *user, int64_t first_row, int64_t rows, int64_t first, int64_t n, const float *products)
{
    tile *t = user;
    const search *s = t->s;
    uint32_t hits[CPT_GEMM_ROWS];
    t->scan->small(rows, n, products, s->norms + first, t->limits + first_row, hits);
    for (int64_t r = 0; r < rows; r++) {
        const int64_t q = first_row + r;
        uint32_t left = hits[r];
        if (left) left &= ~active_bits(s, s->concepts[t->first + q], first, n, &t->cursor[q]);
        for (; left; left &= left - 1) measure(t, q, first + __builtin_ctz(left));
    }
}

static void tile_free(tile *t)
{
    free(t->queries);
    free(t->norms2);
    free(t->limits);
    free(t->cursor);
}

static cpt_status search_tile(const search *s, int64_t first, int64_t n, const cpt_context *ctx, cpt_err *e)
{
    tile t = {.s = s, .scan = cpt_scan_kernels_get(), .first = first, .n = n};
    cpt_status status;
    CPT_TRY(cpt_alloc(&t.queries, (size_t)n * (size_t)s->dim, sizeof *t.queries, e));
    CPT_TRY(cpt_alloc(&t.norms2, (size_t)n, sizeof *t.norms2, e));
    CPT_TRY(cpt_alloc(&t.limits, (size_t)n, sizeof *t.limits, e));
    CPT_TRY(cpt_alloc(&t.cursor, (size_t)n, sizeof *t.cursor, e));
    CPT_TRY(cpt_check_stop(ctx, e));
    for (int64_t q = 0; q < n; q++) {
        t.norms2[q] = centre(s, s->cells[first + q], t.queries + q * s->dim);
        t.limits[q] = scan_limit(s, &s->lists[first + q], t.norms2[q]);
        t.cursor[q] = s->u->by_concept.indptr[s->concepts[first + q]];
    }
    cpt_multiply_into(&s->packed, n, t.queries, s->dim, NULL, scan_block, &t);
done:
    tile_free(&t);
    return status;
}

cpt_status cpt_pairs_search(const cpt_activations *u, const float *a, int32_t dim,
                            const cpt_column *match, int64_t n_queries, const int64_t *cells,
                            const int32_t *concepts, cpt_near_list *lists, const cpt_context *ctx,
                            cpt_err *e)
{
    const int n_threads = cpt_threads(ctx);
    search s = {.u = u, .a = a, .match = match, .dim = dim, .cells = cells, .concepts = concepts, .lists = lists};
    cpt_failure failure = {.status = CPT_OK};
    int64_t step = n_queries / (4 * n_threads), n_done = 0; /* of no consequence for the result */
    cpt_status status;
    step = step > TILE ? TILE : step < LEAST ? LEAST : step;
    const int64_t n_tiles = (n_queries + step - 1) / step;

    s.g = 2 * ((dim + 40) * 0x1p-24 + 3.02 * 0x1p-16); /* math/neighbours.c */
    CPT_TRY(cpt_alloc(&s.mean, (size_t)dim, sizeof *s.mean, e));
    CPT_TRY(cpt_alloc(&s.norms, (size_t)u->n_cells, sizeof *s.norms, e));
    CPT_TRY(find_mean(&s, e));
    CPT_TRY(pack_cells(&s, n_threads, e));
#pragma omp parallel for schedule(dynamic) num_threads(n_threads)
    for (int64_t t = 0; t < n_tiles; t++) {
        if (cpt_failed(&failure)) continue;
        cpt_err err;
        int64_t first = t * step, n = n_queries - first < step ? n_queries - first : step, done;
        cpt_failure_note(&failure, search_tile(&s, first, n, ctx, &err), t, &err);
#pragma omp atomic capture
        done = ++n_done;
        if (omp_get_thread_num() == 0)
            cpt_progress(ctx, "searching counterfactuals", (double)done, (double)n_tiles, NULL);
    }
    status = cpt_failure_status(&failure, e);
done:
    cpt_packed_free(&s.packed);
    free(s.mean);
    free(s.norms);
    return status;
}

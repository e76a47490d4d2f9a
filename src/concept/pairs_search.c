/* pairs_search.c - exact nearest inactive cells for the prototypes of all concepts.
 *
 * Problem: for each of F * n prototypes, the nearest of N cells among those that do not activate the
 * prototype's own concept. Every concept forbids other cells, so no shared index helps.
 * Method: tiles of queries against blocks of cells by matrix product, |q - x|^2 = |q|^2 + |x|^2 - 2 q.x
 * on centred coordinates. The product is in float and only a filter: g (|q|^2 + |x|^2) bounds its
 * rounding error for any order of summation (Higham 2002, section 3.1: g = (dim + a few) * 2^-24), and
 * every cell whose lower bound does not exceed the m-th best distance is measured again, from
 * differences in double. Hence the answer does not depend on the matrix library or the machine.
 * Complexity: O(F n N dim) multiply-adds in the product plus one scan; exact rechecks are few, since
 * the limit falls like a record process.
 * Traps: active cells are the nearest of all, so they are struck out before the scan (+inf) instead of
 * being tested one by one inside it; embeddings far from 0 would lose all digits without centring. */
#include "concept/pairs_search.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "concept/failure.h"
#include "math/blas.h"

enum { TILE = 256, BLOCK = 1024, SCAN = 64 };

typedef struct search {
    const cpt_activations *u;
    const float *a;
    const cpt_column *match;
    int32_t dim;
    float *mean;  /* [dim] of the usable cells */
    float *norms; /* [n_cells] (1 - g) |x - mean|^2; +inf when unusable */
    float g;
    const int64_t *cells;
    const int32_t *concepts;
    cpt_near_list *lists;
} search;

typedef struct scratch {
    float *queries;  /* [TILE][dim] centred */
    float *block;    /* [BLOCK][dim] centred */
    float *products; /* [TILE][BLOCK] -2 q.x */
    int64_t *cursor; /* [TILE] next entry of the query's concept that is not before the block */
} scratch;

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
    double *sum, n = 0;
    cpt_status status = cpt_alloc(&sum, (size_t)s->dim, sizeof *sum, e);
    if (status != CPT_OK) return status;
    for (int64_t i = 0; i < s->u->n_cells; i++) {
        if (!s->u->usable[i]) continue;
        const float *row = s->a + i * s->dim;
        for (int32_t j = 0; j < s->dim; j++) sum[j] += row[j];
        n++;
    }
    for (int32_t j = 0; j < s->dim; j++) s->mean[j] = n > 0 ? (float)(sum[j] / n) : 0;
    free(sum);
    return CPT_OK;
}

/* Centred copy of a row; zeros for unusable cells, so that the product stays finite. */
static void centre(const search *s, int64_t cell, float *out)
{
    const float *row = s->a + cell * s->dim;
    if (!s->u->usable[cell]) {
        memset(out, 0, (size_t)s->dim * sizeof *out);
        return;
    }
    for (int32_t j = 0; j < s->dim; j++) out[j] = row[j] - s->mean[j];
}

static float centred_norm2(const search *s, int64_t cell)
{
    const float *row = s->a + cell * s->dim;
    double sum = 0;
    for (int32_t j = 0; j < s->dim; j++) {
        double x = (float)(row[j] - s->mean[j]); /* rounded as the product sees it */
        sum += x * x;
    }
    return (float)sum;
}

static void find_norms(search *s, int n_threads)
{
#pragma omp parallel for schedule(static) num_threads(n_threads)
    for (int64_t i = 0; i < s->u->n_cells; i++)
        s->norms[i] = s->u->usable[i] ? (1 - s->g) * centred_norm2(s, i) : INFINITY;
}

/* Strikes the concept's active cells out of the row of products; the cursor moves along the list. */
static void strike_active(const search *s, int32_t concept, int64_t first, int64_t n, int64_t *cursor,
                          float *row)
{
    const cpt_csr *m = &s->u->by_concept;
    int64_t k = *cursor, end = m->indptr[concept + 1];
    for (; k < end && m->indices[k] < first + n; k++) row[m->indices[k] - first] = INFINITY;
    *cursor = k;
}

/* Largest value of product + norm at which a cell may still be nearer than the worst of the list. */
static float scan_limit(const search *s, const cpt_near_list *list, float query_norm2)
{
    if (list->n < list->m) return INFINITY;
    double limit = list->items[list->m - 1].distance2 - (1 - (double)s->g) * query_norm2;
    return nextafterf((float)limit, INFINITY);
}

/* The query shares the match column's category with the cell, or nothing needs to match. */
static bool matches(const search *s, int64_t query, int64_t cell)
{
    return !s->match || (s->match->codes[query] >= 0 && s->match->codes[query] == s->match->codes[cell]);
}

static bool any_below(const float *row, const float *norms, int64_t n, float limit)
{
    int hits = 0;
    for (int64_t i = 0; i < n; i++) hits |= row[i] + norms[i] <= limit;
    return hits;
}

static void scan_row(const search *s, int64_t q, float query_norm2, int64_t first, int64_t n,
                     const float *row)
{
    cpt_near_list *list = &s->lists[q];
    const float *query = s->a + s->cells[q] * s->dim, *norms = s->norms + first;
    float limit = scan_limit(s, list, query_norm2);
    for (int64_t from = 0; from < n; from += SCAN) {
        int64_t to = n - from < SCAN ? n : from + SCAN;
        if (!any_below(row + from, norms + from, to - from, limit)) continue;
        for (int64_t i = from; i < to; i++) {
            float bound = row[i] + norms[i];
            if (!(bound <= limit) || bound == INFINITY || !matches(s, s->cells[q], first + i)) continue;
            double d2 = cpt_distance2(query, s->a + (first + i) * s->dim, s->dim);
            cpt_near_insert(list, (cpt_near){first + i, d2});
            limit = scan_limit(s, list, query_norm2);
        }
    }
}

static void scratch_free(scratch *x)
{
    free(x->queries);
    free(x->block);
    free(x->products);
    free(x->cursor);
}

static cpt_status scratch_make(scratch *x, int32_t dim, cpt_err *e)
{
    cpt_status status;
    *x = (scratch){0};
    CPT_TRY(cpt_alloc(&x->queries, (size_t)TILE * (size_t)dim, sizeof(float), e));
    CPT_TRY(cpt_alloc(&x->block, (size_t)BLOCK * (size_t)dim, sizeof(float), e));
    CPT_TRY(cpt_alloc(&x->products, (size_t)TILE * BLOCK, sizeof(float), e));
    status = cpt_alloc(&x->cursor, TILE, sizeof *x->cursor, e);
done:
    return status;
}

/* Queries [first_query, first_query + n) against all cells. */
static cpt_status search_tile(const search *s, int64_t first_query, int64_t n, const cpt_context *ctx,
                              cpt_err *e)
{
    scratch x;
    float norms2[TILE];
    cpt_status status;
    int64_t n_cells = s->u->n_cells;

    CPT_TRY(scratch_make(&x, s->dim, e));
    for (int64_t q = 0; q < n; q++) {
        centre(s, s->cells[first_query + q], x.queries + q * s->dim);
        norms2[q] = centred_norm2(s, s->cells[first_query + q]);
        x.cursor[q] = s->u->by_concept.indptr[s->concepts[first_query + q]];
    }
    for (int64_t first = 0; first < n_cells; first += BLOCK) {
        int64_t width = n_cells - first < BLOCK ? n_cells - first : BLOCK;
        CPT_TRY(cpt_check_stop(ctx, e));
        for (int64_t i = 0; i < width; i++) centre(s, first + i, x.block + i * s->dim);
        cpt_gemm(false, true, n, width, s->dim, -2, x.queries, s->dim, x.block, s->dim, 0, x.products,
                 BLOCK, 1);
        for (int64_t q = 0; q < n; q++) {
            float *row = x.products + q * BLOCK;
            strike_active(s, s->concepts[first_query + q], first, width, &x.cursor[q], row);
            scan_row(s, first_query + q, norms2[q], first, width, row);
        }
    }
done:
    scratch_free(&x);
    return status;
}

cpt_status cpt_pairs_search(const cpt_activations *u, const float *a, int32_t dim,
                            const cpt_column *match, int64_t n_queries, const int64_t *cells,
                            const int32_t *concepts, cpt_near_list *lists, const cpt_context *ctx,
                            cpt_err *e)
{
    search s = {.u = u, .a = a, .match = match, .dim = dim, .cells = cells, .concepts = concepts,
                .lists = lists, .g = (float)(dim + 16) * 0x1p-24f};
    cpt_failure failure = {.status = CPT_OK};
    int64_t n_tiles = (n_queries + TILE - 1) / TILE, n_done = 0;
    cpt_status status;

    cpt_blas_single_thread(); /* here, not first inside the parallel loop */
    CPT_TRY(cpt_alloc(&s.mean, (size_t)dim, sizeof *s.mean, e));
    CPT_TRY(cpt_alloc(&s.norms, (size_t)u->n_cells, sizeof *s.norms, e));
    CPT_TRY(find_mean(&s, e));
    find_norms(&s, cpt_threads(ctx));
#pragma omp parallel for schedule(dynamic) num_threads(cpt_threads(ctx))
    for (int64_t t = 0; t < n_tiles; t++) {
        if (cpt_failed(&failure)) continue;
        cpt_err err;
        int64_t first = t * TILE, n = n_queries - first < TILE ? n_queries - first : TILE, done;
        cpt_failure_note(&failure, search_tile(&s, first, n, ctx, &err), t, &err);
#pragma omp atomic capture
        done = ++n_done;
        if (omp_get_thread_num() == 0)
            cpt_progress(ctx, "searching counterfactuals", (double)done, (double)n_tiles, NULL);
    }
    status = cpt_failure_status(&failure, e);
done:
    free(s.mean);
    free(s.norms);
    return status;
}

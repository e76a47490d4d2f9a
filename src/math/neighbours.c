/* Problem: the k nearest of n points, for every point, exactly, at n = 300,000 in a few seconds.
 *
 * Method. Points are put in the order of leaves (math/leaves.h). All queries of a leaf search together, from leaf to
 * leaf by distance from their own. A leaf whose ball (centre c, radius r) is out of reach of a query a, |a - c| - r >
 * the distance of its k-th best so far, is left out for it (triangle inequality). The other queries make one matrix
 * product with its points (math/gemm.h): with a and b measured from c, |a - b|^2 = |a|^2 + |b|^2 - 2 a.b. That sum
 * cancels and its factors are rounded, to bfloat16 where the processor has products of it, so it is used only to
 * discard: points whose lower bound is within the query's threshold become candidates; candidates get their distance
 * from differences in double, and the k-th best of those is the next threshold. The result is that of brute force in
 * double, so it depends neither on the kernels nor on leaves or threads.
 *
 * The bound. With a' and b' what rounding leaves of a and b, and a'', b'' what it takes,
 *     a.b <= a'.b' + |a''||b| + |a'||b''|,   2 |a''||b| <= |a''|^2 / T + T |b|^2   (and so the other),
 * for any T > 0; best is the usual |a''| / |a|, .0017. Rounding of sums and differences: at most (d + 100) 2^-22 of
 * |a|^2 + |b|^2 (Higham 2002, section 3.1, whatever the order of summation; doubled). So
 *     |a - b|^2 >= low(a) + low(b) - 2 a'.b',   low(v) = |v|^2 (1 - 1.02 T - (d + 100) 2^-22) - |v''|^2 / T,
 * which loses about .3 % of |a|^2 + |b|^2, small beside |a - b|^2 as all is measured from a centre nearby.
 *
 * Cost: n^2 d multiply-adds where no leaf can be left out (many dimensions, no clusters); n (n / 700 + a few leaves) d
 * where clusters are apart. Memory: the points packed once (2 bytes a number, d rounded up to 32; 4 bytes where there
 * is no bfloat16), and per thread 1,024 points and a number for each pair of theirs with a leaf.
 *
 * Traps. Values are scaled by a power of two first: large ones would overflow f32. A block of products is compared with
 * the thresholds while it is in the first-level cache, and never stored. */
#include "math/neighbours.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/memory.h"
#include "math/gemm.h"
#include "math/leaves.h"
#include "math/rows.h"
#include "math/scan.h"
#include "math/sort.h"

enum { LEAF_MAX = 1024, LEAF_MIN = 64, LINE = 64, AHEAD = 4 };

static const float BALANCE = 0x1.cp-10f; /* T of the bound */
/* Of lengths and of sums of lengths, which are in f32; what underflows stays below TINY. */
static const float GENEROUS = 1.0001f, TINY = 0x1p-100f;

typedef struct candidate {
    double distance2;
    int32_t number;
} candidate;

/* What all threads share, read only. */
typedef struct search {
    const float *x; /* [n][dim] as given */
    int64_t n, stride; /* of rows about a centre: dim padded with 0 */
    int32_t dim;
    int32_t k, capacity; /* candidates kept per query between two settlements */
    double *mean;        /* [dim] */
    double scale;        /* a power of two that brings the largest deviation from the mean below 1 */
    float margin;        /* of the bound: what low(v) leaves out of |v|^2 */
    int64_t leaf_size;   /* the most points of a leaf */
    cpt_leaves leaves;
    float *centres;      /* [n_leaves][stride], scaled */
    float *radii;        /* [n_leaves] */
    float *middle;       /* [stride] the mean, scaled */
    float *far_centres;  /* [n_leaves][stride] centres about the middle */
    float *far_lows;     /* [n_leaves] of them */
    cpt_precision precision;
    char *packed;        /* leaf after leaf, from offsets [n_leaves + 1] on: its points about its centre */
    size_t *offsets;
    float *lows;         /* [n] by position */
    const int32_t *places; /* [n] by number: where the query stands in the result, -1 = is none; NULL = its number */
    int32_t *neighbours; /* [n_queries][k] or NULL */
    float *distances;    /* [n_queries][k] */
    const cpt_scan_kernels *kernels;
    const cpt_row_kernels *rows;
} search;

/* What one thread needs for the queries of a leaf; n_queries <= leaf_size. */
typedef struct workspace {
    int64_t n_queries;
    int32_t *numbers;  /* [n_queries] of the points */
    float *own;        /* [n_queries][stride] scaled */
    float *far_lows;   /* [n_queries] of the queries about the middle */
    void *far_packed;  /* [n_queries] the same points */
    float *far;        /* [n_leaves][n_queries] products with the far centres */
    double *reach2;    /* [n_queries] scaled squared distance of the k-th best so far */
    float *reach;      /* its root, rounded up */
    candidate *lists;  /* [n_queries][capacity] */
    int32_t *lengths;  /* [n_queries] */
    int32_t *settled;  /* [n_queries] leading candidates whose distance is known and sorted */
    int32_t *maybe;    /* [n_queries] queries that this leaf may be in reach of */
    int64_t n_active;  /* queries that it is in reach of: */
    int32_t *active;   /* [n_active] */
    float *left;       /* [n_active][stride] about the leaf's centre */
    float *left_lows;  /* [n_active] */
    float *limits;     /* [n_active] of low(b) - 2 a'.b' */
    int32_t *order;    /* [n_leaves] from near to far */
    uint64_t *keys, *key_scratch; /* [n_leaves] */
    int32_t *order_scratch;
} workspace;

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* ---- candidates ---- */

static inline bool is_nearer(const candidate *a, const candidate *b)
{
    return a->distance2 < b->distance2 || (a->distance2 == b->distance2 && a->number < b->number);
}

/* Puts `c` in its place among the best so far, which are sorted; the list keeps at most k. */
static int32_t insert(candidate *best, int32_t n, int32_t k, candidate c)
{
    if (n == k) {
        if (!is_nearer(&c, &best[n - 1])) return n;
        n--;
    }
    int32_t low = 0, high = n;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (is_nearer(&c, &best[middle])) high = middle;
        else low = middle + 1;
    }
    memmove(best + low + 1, best + low, (size_t)(n - low) * sizeof *best);
    best[low] = c;
    return n + 1;
}

/* Rows of candidates lie anywhere in memory. */
static void fetch_row(const search *s, int32_t number)
{
    const char *row = (const char *)(s->x + (int64_t)number * s->dim);
    const int64_t bytes = smaller(s->dim * (int64_t)sizeof(float), 8 * LINE); /* the processor goes on from there */
    for (int64_t b = 0; b < bytes; b += LINE) __builtin_prefetch(row + b);
}

static float limit_of(const workspace *w, int32_t query, float low)
{
    return nextafterf((float)(w->reach2[query] * (1 + 1e-9)) - low + TINY, INFINITY);
}

/* Measures the candidates that are new, keeps the k best and lowers the query's reach. The sorted
 * part grows over new candidates that have been read already. */
static void settle(const search *s, workspace *w, int32_t query)
{
    candidate *list = w->lists + (size_t)query * (size_t)s->capacity;
    const float *a = s->x + (int64_t)w->numbers[query] * s->dim;
    const int32_t length = w->lengths[query];
    int32_t n = w->settled[query];
    for (int32_t i = n; i < length; i++) {
        int32_t number = list[i].number;
        if (i + AHEAD < length) fetch_row(s, list[i + AHEAD].number);
        double distance2 = s->kernels->exact(a, s->x + (int64_t)number * s->dim, s->dim);
        n = insert(list, n, s->k, (candidate){distance2, number});
    }
    w->lengths[query] = w->settled[query] = n;
    if (n < s->k) return;
    w->reach2[query] = list[n - 1].distance2 * s->scale * s->scale;
    w->reach[query] = GENEROUS * (float)sqrt(w->reach2[query]) + TINY;
}

/* ---- preparation ---- */

static cpt_status check_points(const float *x, int64_t n, int32_t dim, cpt_err *e)
{
    if (n < 0 || n > INT32_MAX || dim < 1)
        return cpt_fail(e, CPT_ERR_USAGE, "nearest neighbours of %lld points in %d dimensions: the "
                        "number of points must be 0 to 2147483647 and dimensions at least 1",
                        (long long)n, dim);
    for (int64_t i = 0; i < n; i++)
        for (int32_t d = 0; d < dim; d++)
            if (!isfinite(x[i * dim + d]))
                return cpt_fail(e, CPT_ERR_DATA, "nearest neighbours: row %lld (counted from 0) has a value "
                                "that is not finite in column %d; leave such cells out first",
                                (long long)i, d);
    return CPT_OK;
}

static void find_scale(search *s)
{
    double largest = 0;
    for (int64_t i = 0; i < s->n; i++)
        for (int32_t d = 0; d < s->dim; d++) s->mean[d] += (double)s->x[i * s->dim + d];
    for (int32_t d = 0; d < s->dim; d++) s->mean[d] /= (double)s->n;
    for (int64_t i = 0; i < s->n; i++)
        for (int32_t d = 0; d < s->dim; d++)
            largest = fmax(largest, fabs((double)s->x[i * s->dim + d] - s->mean[d]));
    int exponent = 0;
    if (largest > 0) frexp(largest, &exponent);
    s->scale = ldexp(1.0, -exponent);
}

/* out [stride] */
static void scaled_row(const search *s, int64_t number, float *out)
{
    const float *row = s->x + number * s->dim;
    for (int32_t d = 0; d < s->dim; d++) out[d] = (float)((double)row[d] * s->scale);
    for (int64_t d = s->dim; d < s->stride; d++) out[d] = 0;
}

static float low_of(const search *s, float norm2, float rest)
{
    return norm2 * (1 - s->margin) - (s->precision == CPT_GEMM_BF16 ? GENEROUS * rest / BALANCE : 0);
}

/* At least the length whose square is norm2, a sum of up to some thousand squares in f32. */
static float length_of(float norm2)
{
    return GENEROUS * sqrtf(norm2) + TINY;
}

/* The same for points about the middle, of whose product 16 bits are kept (SPLIT of math/gemm.h): |a3| <= 2^-16 |a| of
 * a = a1 + a2 + a3, and a2 b2 is below 2^-16 |a||b|. For nothing but which leaves are in reach. */
static float far_low(const search *s, float norm2)
{
    return norm2 * (1 - (float)(s->dim + 100) * 0x1p-22f - 6.1f * 0x1p-16f) - TINY;
}

/* rows [leaf_size][stride] and sums [dim] are scratch. */
static void prepare_leaf(const search *s, int64_t leaf, float *rows, double *sums)
{
    const int64_t first = s->leaves.starts[leaf], n = s->leaves.starts[leaf + 1] - first;
    float *centre = s->centres + leaf * s->stride, rest;
    memset(sums, 0, (size_t)s->dim * sizeof *sums);
    for (int64_t i = 0; i < n; i++) {
        scaled_row(s, s->leaves.numbers[first + i], rows + i * s->stride);
        for (int32_t d = 0; d < s->dim; d++) sums[d] += (double)rows[i * s->stride + d];
    }
    for (int32_t d = 0; d < s->dim; d++) centre[d] = (float)(sums[d] / (double)n);
    for (int64_t i = 0; i < n; i++) {
        const float norm2 = s->kernels->about(rows + i * s->stride, centre, s->stride, rows + i * s->stride, &rest);
        s->lows[first + i] = low_of(s, norm2, rest);
        s->radii[leaf] = fmaxf(s->radii[leaf], length_of(norm2));
    }
    float *far = s->far_centres + leaf * s->stride;
    s->far_lows[leaf] = far_low(s, s->kernels->about(centre, s->middle, s->stride, far, &rest));
    cpt_packed packed;
    cpt_pack(s->precision, n, s->dim, rows, s->stride, 1, s->packed + s->offsets[leaf], &packed);
}

static cpt_status prepare(search *s, int n_threads, cpt_err *e)
{
    const int64_t n_leaves = s->leaves.n_leaves, n_rows = s->leaf_size * s->stride;
    cpt_status status;
    float *rows = NULL;
    double *sums = NULL;
    CPT_TRY(cpt_alloc(&s->centres, (size_t)(n_leaves * s->stride), sizeof *s->centres, e));
    CPT_TRY(cpt_alloc(&s->radii, (size_t)n_leaves, sizeof *s->radii, e));
    CPT_TRY(cpt_alloc(&s->middle, (size_t)s->stride, sizeof *s->middle, e));
    CPT_TRY(cpt_alloc(&s->far_centres, (size_t)(n_leaves * s->stride), sizeof *s->far_centres, e));
    CPT_TRY(cpt_alloc(&s->far_lows, (size_t)n_leaves, sizeof *s->far_lows, e));
    for (int32_t d = 0; d < s->dim; d++) s->middle[d] = (float)(s->mean[d] * s->scale);
    CPT_TRY(cpt_alloc(&s->lows, (size_t)s->n, sizeof *s->lows, e));
    CPT_TRY(cpt_alloc(&s->offsets, (size_t)n_leaves + 1, sizeof *s->offsets, e));
    for (int64_t leaf = 0; leaf < n_leaves; leaf++)
        s->offsets[leaf + 1] = s->offsets[leaf] + cpt_packed_bytes(s->precision, s->leaves.starts[leaf + 1] -
                                                                   s->leaves.starts[leaf], s->dim);
    CPT_TRY(cpt_alloc(&s->packed, s->offsets[n_leaves], 1, e));
    CPT_TRY(cpt_alloc(&rows, (size_t)n_threads * (size_t)n_rows, sizeof *rows, e));
    CPT_TRY(cpt_alloc(&sums, (size_t)n_threads * (size_t)s->dim, sizeof *sums, e));
#pragma omp parallel for schedule(static) num_threads(n_threads)
    for (int64_t leaf = 0; leaf < n_leaves; leaf++) {
        const int64_t thread = omp_get_thread_num();
        prepare_leaf(s, leaf, rows + thread * n_rows, sums + thread * s->dim);
    }
done:
    free(rows);
    free(sums);
    return status;
}

/* ---- the search of one leaf's queries in another leaf ---- */

static void add_candidate(const search *s, workspace *w, int64_t at, int64_t position)
{
    const int32_t query = w->active[at], number = s->leaves.numbers[position];
    if (number == w->numbers[query]) return;
    candidate *list = w->lists + (size_t)query * (size_t)s->capacity;
    list[w->lengths[query]++] = (candidate){.number = number};
    if (w->lengths[query] < s->capacity) return;
    settle(s, w, query);
    w->limits[at] = limit_of(w, query, w->left_lows[at]);
}

typedef struct scan {
    const search *s;
    workspace *w;
    int64_t position; /* of the leaf's first point */
} scan;

/* A block of products: a cpt_gemm_sink. The limit may fall between two hits; a candidate too many does no harm. */
static void scan_block(void *user, int64_t first_row, int64_t rows, int64_t first, int64_t n, const float *products)
{
    const scan *at = user;
    const search *s = at->s;
    uint32_t hits[CPT_GEMM_ROWS];
    if (!s->kernels->small(rows, n, products, s->lows + at->position + first, at->w->limits + first_row, hits)) return;
    for (int64_t r = 0; r < rows; r++)
        for (uint32_t left = hits[r]; left; left &= left - 1)
            add_candidate(s, at->w, first_row + r, at->position + first + __builtin_ctz(left));
}

/* Is the ball of a leaf, of that radius, out of reach of a query at that distance from its centre? */
static bool is_out_of_reach(const workspace *w, int32_t query, float distance, float radius)
{
    return distance - radius - (GENEROUS - 1) * (distance + radius) > w->reach[query];
}

/* The queries that the leaf is in reach of, about its centre. */
static void activate(const search *s, workspace *w, int64_t leaf)
{
    const float *centre = s->centres + leaf * s->stride, radius = s->radii[leaf];
    const int32_t n = s->kernels->within(w->n_queries, w->far + leaf * w->n_queries, w->far_lows, w->reach,
                                         s->far_lows[leaf], GENEROUS * radius, w->maybe);
    float rest;
    w->n_active = 0;
    for (int32_t i = 0; i < n; i++) {
        const int32_t q = w->maybe[i];
        float *row = w->left + w->n_active * s->stride;
        const float norm2 = s->kernels->about(w->own + q * s->stride, centre, s->stride, row, &rest);
        if (is_out_of_reach(w, q, sqrtf(norm2), radius)) continue;
        const float low = low_of(s, norm2, rest);
        w->active[w->n_active] = q;
        w->left_lows[w->n_active] = low;
        w->limits[w->n_active++] = limit_of(w, q, low);
    }
}

static void search_leaf(const search *s, workspace *w, int64_t leaf)
{
    scan at = {s, w, s->leaves.starts[leaf]};
    activate(s, w, leaf);
    if (w->n_active == 0) return;
    const int64_t n = s->leaves.starts[leaf + 1] - at.position;
    const cpt_packed packed = cpt_packed_of(s->precision, n, s->dim, s->packed + s->offsets[leaf]);
    cpt_multiply_into(&packed, w->n_active, w->left, s->stride, NULL, scan_block, &at);
}

/* ---- all queries ---- */

static void write_row(const search *s, const workspace *w, int32_t query)
{
    const candidate *list = w->lists + (size_t)query * (size_t)s->capacity;
    const int64_t place = s->places ? s->places[w->numbers[query]] : w->numbers[query];
    for (int32_t i = 0; i < s->k; i++) {
        bool there = i < w->lengths[query];
        if (s->neighbours) s->neighbours[place * s->k + i] = there ? list[i].number : -1;
        s->distances[place * s->k + i] = there ? (float)sqrt(list[i].distance2) : INFINITY;
    }
}

/* The queries of the leaf, and their products with all centres. */
static void begin_queries(const search *s, workspace *w, int64_t leaf)
{
    cpt_packed packed;
    float rest;
    w->n_queries = 0;
    for (int64_t i = s->leaves.starts[leaf]; i < s->leaves.starts[leaf + 1]; i++) {
        const int32_t number = s->leaves.numbers[i];
        if (s->places && s->places[number] < 0) continue;
        const int64_t q = w->n_queries++;
        float *own = w->own + q * s->stride;
        w->numbers[q] = number;
        scaled_row(s, number, own);
        w->far_lows[q] = far_low(s, s->kernels->about(own, s->middle, s->stride, w->left + q * s->stride, &rest));
        w->lengths[q] = w->settled[q] = 0;
        w->reach2[q] = w->reach[q] = INFINITY;
    }
    cpt_pack(CPT_GEMM_SPLIT, w->n_queries, s->dim, w->left, s->stride, 1, w->far_packed, &packed);
    cpt_multiply(&packed, s->leaves.n_leaves, s->far_centres, s->stride, w->far, w->n_queries, NULL);
}

/* The leaves from near to far: the own one first. */
static void order_leaves(const search *s, workspace *w, int64_t leaf)
{
    const int64_t n_leaves = s->leaves.n_leaves;
    const float *centre = s->centres + leaf * s->stride;
    for (int64_t l = 0; l < n_leaves; l++) {
        const float apart2 = s->rows->distance2(s->centres + l * s->stride, centre, s->stride);
        w->keys[l] = cpt_order_key(l == leaf ? -1 : (double)apart2);
        w->order[l] = (int32_t)l;
    }
    cpt_radix_sort(n_leaves, w->keys, w->order, w->key_scratch, w->order_scratch);
}

static void search_queries(const search *s, workspace *w, int64_t leaf)
{
    begin_queries(s, w, leaf);
    if (w->n_queries == 0) return;
    order_leaves(s, w, leaf);
    for (int64_t i = 0; i < s->leaves.n_leaves; i++) {
        search_leaf(s, w, w->order[i]);
        if (i == 0) /* all that is known of the own leaf, before others are looked at */
            for (int32_t q = 0; q < w->n_queries; q++) settle(s, w, q);
    }
    for (int32_t q = 0; q < w->n_queries; q++) {
        settle(s, w, q);
        write_row(s, w, q);
    }
}

static void workspace_free(workspace *w)
{
    void *all[] = {w->numbers, w->own,    w->far_lows, w->far_packed, w->far,   w->reach2,
                   w->reach,   w->lists,  w->lengths,  w->settled,    w->maybe, w->active,
                   w->left,    w->left_lows, w->limits, w->order,     w->keys,  w->key_scratch,
                   w->order_scratch};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

static cpt_status workspace_init(const search *s, workspace *w, cpt_err *e)
{
    const size_t rows = (size_t)s->leaf_size, stride = (size_t)s->stride, leaves = (size_t)s->leaves.n_leaves;
    cpt_status status;
    CPT_TRY(cpt_alloc(&w->numbers, rows, sizeof *w->numbers, e));
    CPT_TRY(cpt_alloc(&w->own, rows * stride, sizeof *w->own, e));
    CPT_TRY(cpt_alloc(&w->far_lows, rows, sizeof *w->far_lows, e));
    CPT_TRY(cpt_alloc(&w->far_packed, cpt_packed_bytes(CPT_GEMM_SPLIT, s->leaf_size, s->dim), 1, e));
    CPT_TRY(cpt_alloc(&w->far, leaves * rows, sizeof *w->far, e));
    CPT_TRY(cpt_alloc(&w->maybe, rows, sizeof *w->maybe, e));
    CPT_TRY(cpt_alloc(&w->reach2, rows, sizeof *w->reach2, e));
    CPT_TRY(cpt_alloc(&w->reach, rows, sizeof *w->reach, e));
    CPT_TRY(cpt_alloc(&w->lists, rows * (size_t)s->capacity, sizeof *w->lists, e));
    CPT_TRY(cpt_alloc(&w->lengths, rows, sizeof *w->lengths, e));
    CPT_TRY(cpt_alloc(&w->settled, rows, sizeof *w->settled, e));
    CPT_TRY(cpt_alloc(&w->active, rows, sizeof *w->active, e));
    CPT_TRY(cpt_alloc(&w->left, rows * stride, sizeof *w->left, e));
    CPT_TRY(cpt_alloc(&w->left_lows, rows, sizeof *w->left_lows, e));
    CPT_TRY(cpt_alloc(&w->limits, rows, sizeof *w->limits, e));
    CPT_TRY(cpt_alloc(&w->order, leaves, sizeof *w->order, e));
    CPT_TRY(cpt_alloc(&w->keys, leaves, sizeof *w->keys, e));
    CPT_TRY(cpt_alloc(&w->key_scratch, leaves, sizeof *w->key_scratch, e));
    CPT_TRY(cpt_alloc(&w->order_scratch, leaves, sizeof *w->order_scratch, e));
done:
    return status;
}

/* The caller's callbacks are called from thread 0 only, which is the thread that called us. */
static cpt_status search_all(const search *s, int n_threads, const cpt_context *ctx, cpt_err *e)
{
    const int64_t n_leaves = s->leaves.n_leaves;
    cpt_status status = CPT_OK;
    int64_t n_done = 0;
    workspace *spaces = NULL;
    bool stopped = false;
    CPT_TRY(cpt_alloc(&spaces, (size_t)n_threads, sizeof *spaces, e));
    for (int t = 0; t < n_threads; t++) CPT_TRY(workspace_init(s, &spaces[t], e));

#pragma omp parallel for schedule(dynamic) num_threads(n_threads)
    for (int64_t leaf = 0; leaf < n_leaves; leaf++) {
        bool leave;
#pragma omp atomic read
        leave = stopped;
        if (leave) continue;
        search_queries(s, &spaces[omp_get_thread_num()], leaf);

        int64_t so_far;
#pragma omp atomic capture
        so_far = ++n_done;
        if (omp_get_thread_num() == 0) {
            if (so_far < n_leaves) cpt_progress(ctx, "neighbours", (double)so_far, (double)n_leaves, NULL);
            if (cpt_check_stop(ctx, NULL) != CPT_OK) {
#pragma omp atomic write
                stopped = true;
            }
        }
    }
    CPT_TRY(cpt_check_stop(ctx, e));
    cpt_progress(ctx, "neighbours", (double)n_leaves, (double)n_leaves, NULL);
done:
    for (int t = 0; spaces && t < n_threads; t++) workspace_free(&spaces[t]);
    free(spaces);
    return status;
}

/* Enough leaves for all threads; of no consequence for the result. */
static int64_t choose_leaf_size(int64_t n, int n_threads)
{
    const int64_t size = n / (4 * n_threads) / CPT_GEMM_PANEL * CPT_GEMM_PANEL;
    return size < LEAF_MIN ? LEAF_MIN : smaller(size, LEAF_MAX);
}

static cpt_status search_run(search *s, const cpt_context *ctx, cpt_err *e)
{
    cpt_status status = check_points(s->x, s->n, s->dim, e);
    if (status != CPT_OK) return status;
    if (s->k < 1 || s->k > (1 << 20))
        return cpt_fail(e, CPT_ERR_USAGE, "nearest neighbours: k is %d, must be 1 to 1048576", s->k);
    if (s->n == 0) return CPT_OK;

    const int n_threads = cpt_threads(ctx);
    s->leaf_size = choose_leaf_size(s->n, n_threads);
    s->capacity = s->k < 16 ? 32 : 2 * s->k; /* fewer: the reach falls sooner, and less is measured */
    s->stride = cpt_row_stride(s->dim);
    s->precision = cpt_cpu_level() >= CPT_CPU_AVX512_BF16 ? CPT_GEMM_BF16 : CPT_GEMM_F32;
    s->margin = (float)(s->dim + 100) * 0x1p-22f + (s->precision == CPT_GEMM_BF16 ? 1.02f * BALANCE : 0);
    s->kernels = cpt_scan_kernels_get();
    s->rows = cpt_row_kernels_get();
    CPT_TRY(cpt_alloc(&s->mean, (size_t)s->dim, sizeof *s->mean, e));
    find_scale(s);
    const cpt_points points = {s->x, s->n, s->dim, s->mean, s->scale};
    CPT_TRY(cpt_leaves_new(&points, s->leaf_size, n_threads, &s->leaves, e));
    CPT_TRY(prepare(s, n_threads, e));
    status = search_all(s, n_threads, ctx, e);
done:
    cpt_leaves_free(&s->leaves);
    free(s->mean);
    free(s->centres);
    free(s->radii);
    free(s->middle);
    free(s->far_centres);
    free(s->far_lows);
    free(s->lows);
    free(s->packed);
    free(s->offsets);
    return status;
}

cpt_status cpt_neighbours(const float *x, int64_t n, int32_t dim, int32_t k, int32_t *neighbours,
                          float *distances, const cpt_context *ctx, cpt_err *e)
{
    search s = {.x = x, .n = n, .dim = dim, .k = k, .neighbours = neighbours, .distances = distances};
    return search_run(&s, ctx, e);
}

static int compare_floats(const void *pa, const void *pb)
{
    float a = *(const float *)pa, b = *(const float *)pb;
    return (a > b) - (a < b);
}

cpt_status cpt_median_neighbour_distance(const float *x, int64_t n, int32_t dim, int64_t sample,
                                         double *out, const cpt_context *ctx, cpt_err *e)
{
    cpt_status status;
    int32_t *places = NULL;
    float *nearest = NULL;
    *out = NAN;
    if (n < 2)
        return cpt_fail(e, CPT_ERR_DATA, "the distance to the nearest other point needs two points; there "
                        "is %lld", (long long)n);
    if (sample < 1) return cpt_fail(e, CPT_ERR_USAGE, "a sample of %lld points is empty", (long long)sample);

    sample = smaller(sample, n);
    CPT_TRY(cpt_alloc(&places, (size_t)n, sizeof *places, e));
    CPT_TRY(cpt_alloc(&nearest, (size_t)sample, sizeof *nearest, e));
    for (int64_t i = 0; i < n; i++) places[i] = -1;
    for (int64_t i = 0; i < sample; i++) places[(int64_t)((double)i * (double)n / (double)sample)] = (int32_t)i;

    search s = {.x = x, .n = n, .dim = dim, .k = 1, .places = places, .distances = nearest};
    CPT_TRY(search_run(&s, ctx, e));
    qsort(nearest, (size_t)sample, sizeof *nearest, compare_floats);
    *out = 0.5 * ((double)nearest[(sample - 1) / 2] + (double)nearest[sample / 2]);
done:
    free(places);
    free(nearest);
    return status;
}

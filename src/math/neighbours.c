/* Problem: the k nearest of n points, for every point, exactly, at n = 300,000 in some ten seconds.
 *
 * Method. |a - b|^2 = |a|^2 + |b|^2 - 2 a.b makes all squared distances of a tile one matrix product
 * (math/gemm.h, SPLIT: two bfloat16 parts of each number where that is faster than f32). That sum cancels and is
 * rounded, so it is used only to discard. Two errors: (1) the rounding of sums, at most about d u |a||b| with
 * u = 2^-24 (Higham 2002, section 3.1, whatever the order of summation and with or without FMA); (2) of SPLIT, where
 * a = a1 + a2 + a3 with |a2| <= 2^-8 |a| and |a3| <= 2^-16 |a|, the products a2 b2, a3 b and a b3 that are left out, at
 * most 3 (1 + 2^-8) 2^-16 |a||b| by Cauchy-Schwarz. From these follows a lower bound of the true squared distance.
 * Points whose lower bound is within the row's threshold become candidates; candidates get their distance from
 * differences in double, and the k-th best of those is the next threshold. The result is that of brute force in double,
 * so it depends neither on the kernels nor on tiles or threads.
 *
 * All points are packed once as the right-hand side; a block of products is compared with the thresholds while it is in
 * the first-level cache, and never stored.
 *
 * Cost: n^2 d multiply-adds (times 3 in bfloat16 for SPLIT) and n^2 comparisons, plus about 2k + 1.5k ln(n / 2k)
 * exact distances per row. Memory: one packed copy of the points (4 bytes a number, d rounded up to 32) and 2 MiB per thread.
 *
 * Traps. Points are centred and scaled by a power of two first: far from 0 the bound would keep
 * every point, and large values would overflow f32. Within a cluster that is very tight against the
 * spread of all points (distances below 1 % of it) the bound cannot tell members apart; then they are all candidates:
 * slower, never wrong. */
#include "math/neighbours.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "math/gemm.h"
#include "math/scan.h"

enum { TILE_ROWS_MAX = 512, TILE_ROWS_MIN = 64, PACK_ROWS = 512, SUM_LANES = 8, LINE = 64, AHEAD = 4 };

typedef struct candidate {
    double distance2;
    int32_t number;
} candidate;

/* What all threads share, read only. */
typedef struct search {
    const float *x; /* [n][dim] as given */
    int64_t n;
    int32_t dim;
    int32_t k, capacity;  /* candidates kept per row between two settlements */
    cpt_packed points;    /* centred, scaled */
    float *lowered;       /* [n] |b|^2 (1 - margin) of them */
    double *mean;         /* [dim] */
    double scale, margin; /* scale is a power of two */
    const int32_t *queries; /* [n_queries] row numbers; NULL = 0, 1, 2 ... */
    int64_t n_queries, tile_rows;
    int32_t *neighbours; /* [n_queries][k] or NULL */
    float *distances;    /* [n_queries][k] */
} search;

/* What one thread needs for tile_rows queries. */
typedef struct workspace {
    float *left;         /* [tile_rows][dim] */
    double *norms2;      /* [tile_rows] of them */
    candidate *lists;    /* [tile_rows][capacity] */
    int32_t *lengths;    /* [tile_rows] */
    int32_t *settled;    /* [tile_rows] leading candidates whose distance is known and sorted */
    float *thresholds;   /* [tile_rows] of lowered |b|^2 - 2 a.b */
    int64_t *numbers;    /* [tile_rows] of the queries */
} workspace;

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* ---- exact distances ---- */

/* Lanes in a fixed order: the compiler may use vectors and the sum stays the same everywhere. */
static double exact_distance2(const float *a, const float *b, int32_t dim)
{
    double lane[SUM_LANES] = {0};
    int32_t d = 0;
    for (; d + SUM_LANES <= dim; d += SUM_LANES)
        for (int l = 0; l < SUM_LANES; l++) {
            double difference = (double)a[d + l] - (double)b[d + l];
            lane[l] += difference * difference;
        }
    for (int l = 0; d < dim; d++, l++) {
        double difference = (double)a[d] - (double)b[d];
        lane[l] += difference * difference;
    }
    return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

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

/* Measures the candidates that are new, keeps the k best and lowers the row's threshold. The sorted
 * part grows over new candidates that have been read already. */
static void settle(const search *s, workspace *w, int32_t row, int64_t query)
{
    candidate *list = w->lists + (size_t)row * (size_t)s->capacity;
    const float *a = s->x + query * s->dim;
    int32_t length = w->lengths[row], n = w->settled[row];
    for (int32_t i = n; i < length; i++) {
        int32_t number = list[i].number;
        if (i + AHEAD < length) fetch_row(s, list[i + AHEAD].number);
        double distance2 = exact_distance2(a, s->x + (int64_t)number * s->dim, s->dim);
        n = insert(list, n, s->k, (candidate){distance2, number});
    }
    w->lengths[row] = w->settled[row] = n;
    if (n < s->k) return;

    /* lowered |b|^2 - 2 a.b + |a|^2 (1 - margin) is a lower bound of the scaled squared distance, see prepare */
    double bound = list[n - 1].distance2 * s->scale * s->scale * (1 + 1e-12);
    w->thresholds[row] = nextafterf((float)(bound - w->norms2[row] * (1 - s->margin) + 0x1p-100), INFINITY);
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

/* Mean of each column, and a power of two that brings the largest deviation below 1. */
static void centre_and_scale(search *s)
{
    for (int64_t i = 0; i < s->n; i++)
        for (int32_t d = 0; d < s->dim; d++) s->mean[d] += (double)s->x[i * s->dim + d];
    for (int32_t d = 0; d < s->dim; d++) s->mean[d] /= (double)s->n;

    double largest = 0;
    for (int64_t i = 0; i < s->n; i++)
        for (int32_t d = 0; d < s->dim; d++) {
            double deviation = fabs((double)s->x[i * s->dim + d] - s->mean[d]);
            if (deviation > largest) largest = deviation;
        }
    int exponent = 0;
    if (largest > 0) frexp(largest, &exponent);
    s->scale = ldexp(1.0, -exponent);
}

/* Centred, scaled, in f32; returns the squared norm before rounding. */
static double scaled_row(const search *s, int64_t i, float *out)
{
    double sum = 0;
    for (int32_t d = 0; d < s->dim; d++) {
        double v = ((double)s->x[i * s->dim + d] - s->mean[d]) * s->scale;
        sum += v * v;
        out[d] = (float)v;
    }
    return sum;
}

/* Errors of the scan relative to |a|^2 + |b|^2 >= 2 |a||b|: rounding the centred coordinates 2u, the sums of the
 * product (d + 32) u, what SPLIT leaves out 3.02 * 2^-16, rounding |b|^2, the sum with it and the threshold 4u.
 * `margin` is twice their sum; it is subtracted from |a|^2 and |b|^2 alike. What underflows stays below 2^-100. */
static cpt_status prepare(search *s, int n_threads, cpt_err *e)
{
    const int64_t n_chunks = (s->n + PACK_ROWS - 1) / PACK_ROWS;
    cpt_status status;
    float *rows = NULL;
    centre_and_scale(s);
    s->margin = fmin(0.5, 2 * ((s->dim + 40) * 0x1p-24 + 3.02 * 0x1p-16));
    s->points = cpt_packed_of(CPT_GEMM_SPLIT, s->n, s->dim, NULL);
    CPT_TRY(cpt_alloc(&s->points.data, cpt_packed_bytes(CPT_GEMM_SPLIT, s->n, s->dim), 1, e));
    CPT_TRY(cpt_alloc(&rows, (size_t)n_threads * PACK_ROWS * (size_t)s->dim, sizeof *rows, e));
#pragma omp parallel for schedule(static) num_threads(n_threads)
    for (int64_t chunk = 0; chunk < n_chunks; chunk++) {
        float *own = rows + (int64_t)omp_get_thread_num() * PACK_ROWS * s->dim;
        const int64_t first = chunk * PACK_ROWS, end = smaller(s->n, first + PACK_ROWS);
        for (int64_t i = first; i < end; i++)
            s->lowered[i] = (float)(scaled_row(s, i, own + (i - first) * s->dim) * (1 - s->margin));
        cpt_repack(&s->points, first, end, own, s->dim, 1);
    }
done:
    free(rows);
    return status;
}

/* ---- the scan ---- */

static void add_candidate(const search *s, workspace *w, int32_t row, int64_t number)
{
    const int64_t query = w->numbers[row];
    if (number == query) return;
    candidate *list = w->lists + (size_t)row * (size_t)s->capacity;
    list[w->lengths[row]++] = (candidate){.number = (int32_t)number};
    if (w->lengths[row] == s->capacity) settle(s, w, row, query);
}

typedef struct scan {
    const search *s;
    workspace *w;
    const cpt_scan_kernels *kernels;
} scan;

/* A block of products: a cpt_gemm_sink. The threshold may fall between two hits; a candidate too many does no harm. */
static void scan_block(void *user, int64_t first_row, int64_t rows, int64_t first, int64_t n, const float *products)
{
    const scan *at = user;
    uint32_t hits[CPT_GEMM_ROWS];
    if (!at->kernels->small(rows, n, products, at->s->lowered + first, at->w->thresholds + first_row, hits)) return;
    for (int64_t r = 0; r < rows; r++)
        for (uint32_t left = hits[r]; left; left &= left - 1)
            add_candidate(at->s, at->w, (int32_t)(first_row + r), first + __builtin_ctz(left));
}

static void write_row(const search *s, const workspace *w, int32_t row, int64_t position)
{
    const candidate *list = w->lists + (size_t)row * (size_t)s->capacity;
    for (int32_t i = 0; i < s->k; i++) {
        bool there = i < w->lengths[row];
        if (s->neighbours) s->neighbours[position * s->k + i] = there ? list[i].number : -1;
        s->distances[position * s->k + i] = there ? (float)sqrt(list[i].distance2) : INFINITY;
    }
}

static int64_t query_at(const search *s, int64_t position)
{
    return s->queries ? s->queries[position] : position;
}

static void search_tile(const search *s, workspace *w, int64_t first_query)
{
    const int64_t rows = smaller(s->tile_rows, s->n_queries - first_query);
    for (int64_t r = 0; r < rows; r++) {
        w->numbers[r] = query_at(s, first_query + r);
        w->norms2[r] = scaled_row(s, w->numbers[r], w->left + r * s->dim);
        w->lengths[r] = w->settled[r] = 0;
        w->thresholds[r] = INFINITY;
    }
    scan at = {s, w, cpt_scan_kernels_get()};
    cpt_multiply_into(&s->points, rows, w->left, s->dim, NULL, scan_block, &at);
    for (int64_t r = 0; r < rows; r++) {
        settle(s, w, (int32_t)r, w->numbers[r]);
        write_row(s, w, (int32_t)r, first_query + r);
    }
}

static void workspace_free(workspace *w)
{
    free(w->left);
    free(w->norms2);
    free(w->lists);
    free(w->lengths);
    free(w->settled);
    free(w->thresholds);
    free(w->numbers);
}

static cpt_status workspace_init(const search *s, workspace *w, cpt_err *e)
{
    const size_t rows = (size_t)s->tile_rows;
    cpt_status status;
    CPT_TRY(cpt_alloc(&w->left, rows * (size_t)s->dim, sizeof *w->left, e));
    CPT_TRY(cpt_alloc(&w->norms2, rows, sizeof *w->norms2, e));
    CPT_TRY(cpt_alloc(&w->lists, rows * (size_t)s->capacity, sizeof *w->lists, e));
    CPT_TRY(cpt_alloc(&w->lengths, rows, sizeof *w->lengths, e));
    CPT_TRY(cpt_alloc(&w->settled, rows, sizeof *w->settled, e));
    CPT_TRY(cpt_alloc(&w->thresholds, rows, sizeof *w->thresholds, e));
    CPT_TRY(cpt_alloc(&w->numbers, rows, sizeof *w->numbers, e));
done:
    return status;
}

/* The caller's callbacks are called from thread 0 only, which is the thread that called us. */
static cpt_status search_all(const search *s, int n_threads, const cpt_context *ctx, cpt_err *e)
{
    cpt_status status = CPT_OK;
    int64_t n_tiles = (s->n_queries + s->tile_rows - 1) / s->tile_rows, done_tiles = 0;
    workspace *spaces = NULL;
    bool stopped = false;
    CPT_TRY(cpt_alloc(&spaces, (size_t)n_threads, sizeof *spaces, e));
    for (int t = 0; t < n_threads; t++) CPT_TRY(workspace_init(s, &spaces[t], e));

#pragma omp parallel for schedule(dynamic) num_threads(n_threads)
    for (int64_t tile = 0; tile < n_tiles; tile++) {
        bool leave;
#pragma omp atomic read
        leave = stopped;
        if (leave) continue;
        search_tile(s, &spaces[omp_get_thread_num()], tile * s->tile_rows);

        int64_t so_far;
#pragma omp atomic capture
        so_far = ++done_tiles;
        if (omp_get_thread_num() == 0) {
            if (so_far < n_tiles) cpt_progress(ctx, "neighbours", (double)so_far, (double)n_tiles, NULL);
            if (cpt_check_stop(ctx, NULL) != CPT_OK) {
#pragma omp atomic write
                stopped = true;
            }
        }
    }
    CPT_TRY(cpt_check_stop(ctx, e));
    cpt_progress(ctx, "neighbours", (double)n_tiles, (double)n_tiles, NULL);
done:
    for (int t = 0; spaces && t < n_threads; t++) workspace_free(&spaces[t]);
    free(spaces);
    return status;
}

static cpt_status search_run(search *s, const cpt_context *ctx, cpt_err *e)
{
    cpt_status status = check_points(s->x, s->n, s->dim, e);
    if (status != CPT_OK) return status;
    if (s->k < 1 || s->k > (1 << 20))
        return cpt_fail(e, CPT_ERR_USAGE, "nearest neighbours: k is %d, must be 1 to 1048576", s->k);
    if (s->n == 0) return CPT_OK;

    const int n_threads = cpt_threads(ctx);
    s->capacity = s->k < 16 ? 32 : 2 * s->k; /* fewer: thresholds fall sooner, and less is measured */
    s->tile_rows = s->n_queries / (4 * n_threads); /* enough tiles for all; of no consequence for the result */
    if (s->tile_rows > TILE_ROWS_MAX) s->tile_rows = TILE_ROWS_MAX;
    if (s->tile_rows < TILE_ROWS_MIN) s->tile_rows = TILE_ROWS_MIN;
    CPT_TRY(cpt_alloc(&s->lowered, (size_t)s->n, sizeof *s->lowered, e));
    CPT_TRY(cpt_alloc(&s->mean, (size_t)s->dim, sizeof *s->mean, e));
    CPT_TRY(prepare(s, n_threads, e));
    status = search_all(s, n_threads, ctx, e);
done:
    cpt_packed_free(&s->points);
    free(s->lowered);
    free(s->mean);
    return status;
}

cpt_status cpt_neighbours(const float *x, int64_t n, int32_t dim, int32_t k, int32_t *neighbours,
                          float *distances, const cpt_context *ctx, cpt_err *e)
{
    search s = {.x = x, .n = n, .dim = dim, .k = k, .n_queries = n, .neighbours = neighbours,
                .distances = distances};
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
    int32_t *queries = NULL;
    float *nearest = NULL;
    *out = NAN;
    if (n < 2)
        return cpt_fail(e, CPT_ERR_DATA, "the distance to the nearest other point needs two points; there "
                        "is %lld", (long long)n);
    if (sample < 1) return cpt_fail(e, CPT_ERR_USAGE, "a sample of %lld points is empty", (long long)sample);

    sample = smaller(sample, n);
    CPT_TRY(cpt_alloc(&queries, (size_t)sample, sizeof *queries, e));
    CPT_TRY(cpt_alloc(&nearest, (size_t)sample, sizeof *nearest, e));
    for (int64_t i = 0; i < sample; i++) queries[i] = (int32_t)((double)i * (double)n / (double)sample);

    search s = {.x = x, .n = n, .dim = dim, .k = 1, .queries = queries, .n_queries = sample,
                .distances = nearest};
    CPT_TRY(search_run(&s, ctx, e));
    qsort(nearest, (size_t)sample, sizeof *nearest, compare_floats);
    *out = 0.5 * ((double)nearest[(sample - 1) / 2] + (double)nearest[sample / 2]);
done:
    free(queries);
    free(nearest);
    return status;
}

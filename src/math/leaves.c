/* Problem: leaves that are compact, made in much less time than the search takes.
 *
 * Method. Points are first parted by k-means, about POINTS_PER_PART a part: only centres find clusters in many
 * dimensions, where any plane cuts through several. A part is halved until its leaves are small enough: across
 * the first principal axis of a sample of it, found by a few steps of power iteration from the coordinate that varies
 * most (a principal axis tree: McNames 2001, IEEE Trans. Pattern Anal. Mach. Intell. 23:964).
 *
 * Traps. Values may be as large as f32 allows: all sums are in double. Equal places on an axis are told apart by the
 * number of the point, so that selection ends whatever the points are. */
#include "math/leaves.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

enum { POINTS_PER_PART = 512, PARTS_MAX = 2048, SAMPLE = 256, POWER_STEPS = 4, FEW = 12 };

typedef struct place {
    double along;
    int32_t number;
} place;

typedef struct building {
    const cpt_points *p;
    int64_t size;
    place *places;        /* [n] by position */
    int32_t *part_of;     /* [n] by number */
    int64_t *part_starts; /* [n_parts + 1] positions */
    bool *is_start;       /* [n] by position: of a leaf */
    double *scratch;      /* [n_threads][3][dim] */
} building;

/* A range of positions that is halved. */
typedef struct node {
    const building *b;
    place *places;
    int64_t n, n_sample;
} node;

static const float *row_at(const node *at, int64_t i)
{
    return at->b->p->x + (int64_t)at->places[i].number * at->b->p->dim;
}

static const float *sampled_row(const node *at, int64_t i)
{
    return row_at(at, i * at->n / at->n_sample);
}

/* ---- directions ---- */

static double along(const float *row, const double *axis, int32_t dim)
{
    double lanes[4] = {0};
    int32_t d = 0;
    for (; d + 4 <= dim; d += 4)
        for (int l = 0; l < 4; l++) lanes[l] += (double)row[d + l] * axis[d + l];
    for (; d < dim; d++) lanes[0] += (double)row[d] * axis[d];
    return (lanes[0] + lanes[2]) + (lanes[1] + lanes[3]);
}

/* mean [dim] of the sample; axis = the unit vector of the coordinate that varies most, or 0 where none does. */
static void start_axis(const node *at, double *mean, double *variance, double *axis)
{
    const int32_t dim = at->b->p->dim;
    for (int32_t d = 0; d < dim; d++) mean[d] = variance[d] = axis[d] = 0;
    for (int64_t i = 0; i < at->n_sample; i++)
        for (int32_t d = 0; d < dim; d++) mean[d] += (double)sampled_row(at, i)[d] / (double)at->n_sample;
    for (int64_t i = 0; i < at->n_sample; i++)
        for (int32_t d = 0; d < dim; d++) {
            const double deviation = (double)sampled_row(at, i)[d] - mean[d];
            variance[d] += deviation * deviation;
        }
    int32_t most = 0;
    for (int32_t d = 1; d < dim; d++)
        if (variance[d] > variance[most]) most = d;
    if (variance[most] > 0) axis[most] = 1;
}

/* turned [dim] = the covariance of the sample times axis. */
static void turn(const node *at, const double *mean, const double *axis, double *turned)
{
    const int32_t dim = at->b->p->dim;
    double middle = 0;
    for (int32_t d = 0; d < dim; d++) {
        middle += mean[d] * axis[d];
        turned[d] = 0;
    }
    for (int64_t i = 0; i < at->n_sample; i++) {
        const float *row = sampled_row(at, i);
        const double weight = along(row, axis, dim) - middle;
        for (int32_t d = 0; d < dim; d++) turned[d] += weight * ((double)row[d] - mean[d]);
    }
}

/* axis = v / |v|, unless that has no direction. */
static void set_axis(const double *v, int32_t dim, double *axis)
{
    double largest = 0, sum = 0;
    for (int32_t d = 0; d < dim; d++) largest = fmax(largest, fabs(v[d]));
    if (!(largest > 0 && isfinite(largest))) return;
    for (int32_t d = 0; d < dim; d++) sum += v[d] / largest * (v[d] / largest);
    for (int32_t d = 0; d < dim; d++) axis[d] = v[d] / largest / sqrt(sum);
}

static void find_axis(const node *at, double *axis, double *mean, double *turned)
{
    start_axis(at, mean, turned, axis);
    for (int step = 0; step < POWER_STEPS; step++) {
        turn(at, mean, axis, turned);
        set_axis(turned, at->b->p->dim, axis);
    }
}

/* ---- selection ---- */

static bool is_before(const place *a, const place *b)
{
    return a->along < b->along || (a->along == b->along && a->number < b->number);
}

static void swap_places(place *a, place *b)
{
    const place t = *a;
    *a = *b;
    *b = t;
}

static void sort_few(place *p, int64_t n)
{
    for (int64_t i = 1; i < n; i++)
        for (int64_t j = i; j > 0 && is_before(&p[j], &p[j - 1]); j--) swap_places(&p[j], &p[j - 1]);
}

/* The second of the first, middle and last, which are put in order. */
static place choose_pivot(place *p, int64_t n)
{
    place *a = &p[0], *m = &p[n / 2], *z = &p[n - 1];
    if (is_before(m, a)) swap_places(a, m);
    if (is_before(z, m)) swap_places(m, z);
    if (is_before(m, a)) swap_places(a, m);
    return *m;
}

/* Orders p so that the first k are the k lowest (Hoare 1961); in linear time unless made to defy it. */
static void select_lowest(place *p, int64_t n, int64_t k)
{
    while (n > FEW) {
        const place pivot = choose_pivot(p, n);
        int64_t i = 0, j = n - 1;
        while (i <= j) {
            while (is_before(&p[i], &pivot)) i++;
            while (is_before(&pivot, &p[j])) j--;
            if (i <= j) swap_places(&p[i++], &p[j--]);
        }
        if (k == j + 1) return;
        if (k <= j) n = j + 1;
        else p += i, n -= i, k -= i; /* between j and i is the pivot, if anything */
    }
    sort_few(p, n);
}

/* ---- leaves ---- */

/* scratch [3][dim]. As deep as the binary logarithm of n / size. */
static void halve(const building *b, int64_t first, int64_t n, double *scratch)
{
    const int32_t dim = b->p->dim;
    if (n <= b->size) {
        b->is_start[first] = true;
        return;
    }
    const node at = {b, b->places + first, n, n < SAMPLE ? n : SAMPLE};
    find_axis(&at, scratch, scratch + dim, scratch + 2 * (int64_t)dim);
    for (int64_t i = 0; i < n; i++) at.places[i].along = along(row_at(&at, i), scratch, dim);
    select_lowest(at.places, n, n / 2);
    halve(b, first, n / 2, scratch);
    halve(b, first + n / 2, n - n / 2, scratch);
}

/* Places by part, in a part by number. */
static void order_by_part(const building *b, int32_t n_parts)
{
    const int64_t n = b->p->n;
    for (int64_t i = 0; i < n; i++) b->part_starts[b->part_of[i] + 1]++;
    for (int32_t part = 0; part < n_parts; part++) b->part_starts[part + 1] += b->part_starts[part];
    for (int64_t i = 0; i < n; i++) b->places[b->part_starts[b->part_of[i]]++].number = (int32_t)i;
    for (int32_t part = n_parts; part > 0; part--) b->part_starts[part] = b->part_starts[part - 1];
    b->part_starts[0] = 0;
}

static void halve_parts(const building *b, int32_t n_parts, int n_threads)
{
#pragma omp parallel for schedule(dynamic) num_threads(n_threads)
    for (int32_t part = 0; part < n_parts; part++) {
        const int64_t first = b->part_starts[part], n = b->part_starts[part + 1] - first;
        if (n > 0) halve(b, first, n, b->scratch + (int64_t)omp_get_thread_num() * 3 * b->p->dim);
    }
}

static cpt_status take_leaves(const building *b, cpt_leaves *out, cpt_err *e)
{
    const int64_t n = b->p->n;
    cpt_status status;
    for (int64_t i = 0; i < n; i++) out->n_leaves += b->is_start[i];
    CPT_TRY(cpt_alloc(&out->numbers, (size_t)n, sizeof *out->numbers, e));
    CPT_TRY(cpt_alloc(&out->starts, (size_t)out->n_leaves + 1, sizeof *out->starts, e));
    int64_t leaf = 0;
    for (int64_t i = 0; i < n; i++) {
        if (b->is_start[i]) out->starts[leaf++] = i;
        out->numbers[i] = b->places[i].number;
    }
    out->starts[leaf] = n;
done:
    return status;
}

cpt_status cpt_leaves_new(const cpt_points *p, int64_t size, int n_threads, cpt_leaves *out, cpt_err *e)
{
    const int64_t wanted = p->n / POINTS_PER_PART;
    const int32_t n_parts = (int32_t)(wanted < 1 ? 1 : wanted > PARTS_MAX ? PARTS_MAX : wanted);
    building b = {.p = p, .size = size};
    cpt_status status;
    *out = (cpt_leaves){0};
    CPT_TRY(cpt_alloc(&b.places, (size_t)p->n, sizeof *b.places, e));
    CPT_TRY(cpt_alloc(&b.part_of, (size_t)p->n, sizeof *b.part_of, e));
    CPT_TRY(cpt_alloc(&b.part_starts, (size_t)n_parts + 1, sizeof *b.part_starts, e));
    CPT_TRY(cpt_alloc(&b.is_start, (size_t)p->n, sizeof *b.is_start, e));
    CPT_TRY(cpt_alloc(&b.scratch, (size_t)n_threads * 3 * (size_t)p->dim, sizeof *b.scratch, e));
    if (n_parts > 1) CPT_TRY(cpt_kmeans_parts(p, n_parts, n_threads, b.part_of, e));
    order_by_part(&b, n_parts);
    halve_parts(&b, n_parts, n_threads);
    status = take_leaves(&b, out, e);
done:
    free(b.places);
    free(b.part_of);
    free(b.part_starts);
    free(b.is_start);
    free(b.scratch);
    if (status != CPT_OK) cpt_leaves_free(out);
    return status;
}

void cpt_leaves_free(cpt_leaves *l)
{
    free(l->starts);
    free(l->numbers);
    *l = (cpt_leaves){0};
}

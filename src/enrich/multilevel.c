/* multilevel.c - adaptive multilevel splitting of the null of the enrichment score.
 *
 * Problem    p of 1e-20 cannot be had from a thousand random subsets.
 * Method     As fgsea (Korotkevich et al., bioRxiv 060012): a sample of subsets is split at its
 * median score; the upper half replaces the lower one and walks at random above that bound until it
 *            has forgotten where it came from; again, until the score is reached. Each level halves
 * the probability; digamma and trigamma differences of order statistics give ln p and its variance.
 *            All arguments are integers, so these are harmonic sums. Ours: the first sample is 16
 * times as large and its highest 1 in 16 go on, which replaces four levels of walks by draws.
 * Complexity log2(1/p) levels of about sample * k accepted swaps (walker.c). Rulers are independent
 * and run in parallel, each on its own stream keyed by (seed, size, side). Traps      Heavy ties
 * stop the splitting: elements are told apart by hashes first, and rounds without enough accepted
 * swaps end the ruler, with an upper bound of p, instead of spinning. No probability is below 1 /
 * C(n, k): levels past that floor would be noise.
 */
#include "enrich/multilevel.h"
#include "base/log.h"
#include "base/memory.h"
#include "enrich/walker.h"
#include "math/statistics.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

/* A level that would need more rounds of all walkers is given up. A round tries k / 10 swaps per
 * walker and k / 2 must be accepted on average, so this is an acceptance of 1 in 400. */
enum { FIRST_SAMPLE = 16 };
enum { MOST_ROUNDS = 2000, ROUNDS_TO_JUDGE = 100, ROUNDS_PER_STOP_CHECK = 8 };

/* ---- one level: the sorted sample it was made of ---- */

typedef struct level {
    cpt_element bound; /* the largest of the low part */
    int32_t n, n_low;
    cpt_element *elements; /* [n] ascending: low, then high */
    int32_t *n_positive;   /* [n + 1] positive ones at or behind each */
} level;

typedef struct ruler {
    cpt_field field;
    int32_t sample_size;
    bool sided;          /* count only elements with the sign of the score */
    uint64_t seed, item; /* keys of its streams */
    cpt_stream stream;
    cpt_walker *now, *next;
    void *memory;
    uint64_t *bitmap;
    level *levels;
    size_t n_levels, capacity;
    const double *harmonic, *square; /* [FIRST_SAMPLE S + 2] sums of 1/i and 1/i^2 up to i */
    double log_p;                    /* of the last level */
    double floor;                    /* ln of 1 / C(n, k) */
    bool stuck, at_eps;
} ruler;

static void ruler_free(ruler *r)
{
    for (size_t l = 0; l < r->n_levels; l++) {
        free(r->levels[l].elements);
        free(r->levels[l].n_positive);
    }
    free(r->levels);
    free(r->now);
    free(r->next);
    free(r->memory);
    free(r->bitmap);
}

static cpt_status ruler_make(const cpt_field *field, int32_t sample_size, ruler *r, cpt_err *e)
{
    cpt_status status = CPT_OK;
    size_t s = (size_t)sample_size, bytes = cpt_walker_bytes(field->k);
    r->field = *field;
    r->sample_size = sample_size;
    double n = field->n, k = field->k;
    r->floor = -(cpt_lgamma(n + 1) - cpt_lgamma(k + 1) - cpt_lgamma(n - k + 1));
    CPT_TRY(cpt_alloc(&r->now, s, sizeof *r->now, e));
    CPT_TRY(cpt_alloc(&r->next, s, sizeof *r->next, e));
    CPT_TRY(cpt_alloc(&r->memory, 2 * s, bytes, e));
    CPT_TRY(cpt_alloc(&r->bitmap, (size_t)field->n / 64 + 1, sizeof *r->bitmap, e));
    for (size_t i = 0; i < s; i++) {
        cpt_walker_place(&r->now[i], field->k, (char *)r->memory + i * bytes);
        cpt_walker_place(&r->next[i], field->k, (char *)r->memory + (s + i) * bytes);
    }
done:
    return status;
}

typedef struct scored {
    cpt_element element;
    int32_t walker;
} scored;

static int by_element(const void *a, const void *b)
{
    const scored *x = a, *y = b;
    int c = cpt_element_compare(&x->element, &y->element);
    return c ? c : (x->walker > y->walker) - (x->walker < y->walker);
}

/* Where the sorted sample is split: at the element `at`, or above all that equal it when it is the
 * smallest. n when all elements are equal. */
static int32_t split(const scored *sorted, int32_t n, int32_t at)
{
    int32_t f = 0;
    while (cpt_element_compare(&sorted[f].element, &sorted[at].element) < 0) f++;
    if (f == 0)
        while (f < n && cpt_element_compare(&sorted[f].element, &sorted[0].element) == 0) f++;
    return f;
}

/* Sorts the sample and makes it a level. *added = false: all are equal. */
static cpt_status add_level(ruler *r, scored *all, int32_t n, int32_t at, bool *added, cpt_err *e)
{
    cpt_status status;
    level new = {.n = n};
    qsort(all, (size_t)n, sizeof *all, by_element);
    new.n_low = split(all, n, at);
    *added = new.n_low < n;
    if (!*added) return CPT_OK;
    CPT_TRY(cpt_alloc(&new.elements, (size_t)n, sizeof *new.elements, e));
    CPT_TRY(cpt_alloc(&new.n_positive, (size_t)n + 1, sizeof *new.n_positive, e));
    for (int32_t i = 0; i < n; i++) new.elements[i] = all[i].element;
    for (int32_t i = n; i-- > 0;)
        new.n_positive[i] = new.n_positive[i + 1] + new.elements[i].positive;
    new.bound = new.elements[new.n_low - 1];
    CPT_TRY(cpt_grow(&r->levels, &r->capacity, r->n_levels + 1, sizeof *r->levels, e));
    r->levels[r->n_levels++] = new;
    return CPT_OK;
done:
    free(new.elements);
    free(new.n_positive);
    return status;
}

static void draw_one(ruler *r, int32_t i, cpt_walker *to)
{
    cpt_stream stream;
    cpt_stream_init(&stream, r->seed, CPT_RANDOM_MULTILEVEL, r->item + ((uint64_t)(i + 1) << 24));
    cpt_walker_draw(to, &r->field, &stream, r->bitmap);
}

/* The first level. Only scores are kept at first; the subsets that go on are drawn a second time.
 */
static cpt_status sample(ruler *r, bool *added, cpt_err *e)
{
    int32_t s = r->sample_size, n = s * FIRST_SAMPLE;
    scored *all;
    cpt_status status = cpt_alloc(&all, (size_t)n, sizeof *all, e);
    if (status) return status;
    for (int32_t i = 0; i < n; i++) {
        draw_one(r, i, &r->now[0]);
        all[i] = (scored){cpt_walker_score(&r->now[0], &r->field), i};
    }
    status = add_level(r, all, n, n - s, added, e);
    if (status == CPT_OK && *added) {
        int32_t f =
            r->levels[0].n_low; /* fewer or more than s go on only when subsets are the same */
        for (int32_t i = 0; i < s; i++) {
            int32_t from = n - 1 - i;
            if (from < f) from = f + (int32_t)cpt_stream_below(&r->stream, (uint64_t)(n - f));
            draw_one(r, all[from].walker, &r->now[i]);
            cpt_walker_score(&r->now[i], &r->field);
        }
    }
    free(all);
    return status;
}

/* Adds a level and replaces the low walkers by copies of high ones. */
static cpt_status resample(ruler *r, bool *added, cpt_err *e)
{
    int32_t s = r->sample_size;
    scored *all;
    cpt_status status = cpt_alloc(&all, (size_t)s, sizeof *all, e);
    if (status) return status;
    for (int32_t i = 0; i < s; i++) all[i] = (scored){cpt_walker_score(&r->now[i], &r->field), i};
    status = add_level(r, all, s, s / 2, added, e);
    if (status == CPT_OK && *added) {
        int32_t f = r->levels[r->n_levels - 1].n_low;
        for (int32_t i = 0; i < s; i++) {
            int32_t from = i < f ? f + (int32_t)cpt_stream_below(&r->stream, (uint64_t)(s - f)) : i;
            cpt_walker_copy(&r->next[i], &r->now[all[from].walker], r->field.k);
        }
        cpt_walker *t = r->now;
        r->now = r->next;
        r->next = t;
    }
    free(all);
    return status;
}

/* Moves all walkers until enough swaps were accepted, then as long again (fgsea's rule). */
static cpt_status mix(ruler *r, const cpt_context *ctx, cpt_err *e)
{
    const cpt_element bound = r->levels[r->n_levels - 1].bound;
    int32_t k = r->field.k, s = r->sample_size, tries = k / 10 > 1 ? k / 10 : 1, rounds = 0;
    int64_t accepted = 0, need = (int64_t)s * k / 2;
    do {
        for (int32_t i = 0; i < s; i++)
            accepted += cpt_walker_move(&r->now[i], &r->field, &bound, tries, &r->stream);
        rounds++;
        if (rounds >= ROUNDS_TO_JUDGE && accepted * MOST_ROUNDS < need * rounds) {
            r->stuck = true;
            return CPT_OK;
        }
        if (rounds % ROUNDS_PER_STOP_CHECK == 0 && cpt_check_stop(ctx, e))
            return CPT_ERR_INTERRUPTED;
    } while (accepted < need);
    for (int32_t round = 0; round < rounds; round++)
        for (int32_t i = 0; i < s; i++)
            cpt_walker_move(&r->now[i], &r->field, &bound, tries, &r->stream);
    return CPT_OK;
}

static double psi_difference(const ruler *r, int32_t a, int32_t b)
{
    return r->harmonic[a - 1] - r->harmonic[b - 1];
}

static double psi1_difference(const ruler *r, int32_t a, int32_t b)
{
    return r->square[b - 1] - r->square[a - 1];
}

static int32_t n_high(const ruler *r, size_t l)
{
    return r->levels[l].n - r->levels[l].n_low;
}

static bool beyond(const level *last, double numerator, double total)
{
    return cpt_score_compare(last->bound.numerator, last->bound.total, numerator, total) < 0;
}

/* Adds levels until one bounds the score, or there is a reason to stop. */
static cpt_status extend(ruler *r, double numerator, double total, double log_eps,
                         const cpt_context *ctx, cpt_err *e)
{
    cpt_status status = CPT_OK;
    bool added;
    CPT_TRY(sample(r, &added, e));
    while (added && beyond(&r->levels[r->n_levels - 1], numerator, total)) {
        r->log_p +=
            psi_difference(r, n_high(r, r->n_levels - 1) + 1, r->levels[r->n_levels - 1].n + 1);
        r->at_eps = r->log_p < log_eps;
        if (r->at_eps || r->log_p < r->floor) break;
        CPT_TRY(mix(r, ctx, e));
        if (r->stuck) break;
        CPT_TRY(resample(r, &added, e));
    }
done:
    return status;
}

/* ---- reading the ruler ---- */

/* Elements from `from` on that are at least the score, and of its side. */
static int32_t count(const ruler *r, const level *l, int32_t from, const cpt_multilevel_query *q)
{
    int32_t end = l->n;
    while (from < end) {
        int32_t middle = from + (end - from) / 2;
        const cpt_element *x = &l->elements[middle];
        bool below = cpt_score_compare(x->numerator, x->total, q->numerator, q->total) < 0;
        if (below) from = middle + 1;
        else end = middle;
    }
    return r->sided ? l->n_positive[from] : l->n - from;
}

/* The last factor: n of `whole` - 1 elements reach the score. */
static void finish(const ruler *r, cpt_multilevel_query *q, double variance, int32_t n,
                   int32_t whole)
{
    q->log_p += psi_difference(r, n > 0 ? n : 1, whole);
    q->log2err = n > 0 ? sqrt(variance + psi1_difference(r, n, whole)) / M_LN2 : NAN;
}

static void read_ruler(const ruler *r, cpt_multilevel_query *q)
{
    double variance = 0;
    bool past = true;
    q->log_p = 0;
    for (size_t l = 0; l < r->n_levels; l++) {
        const level *at = &r->levels[l];
        if (!beyond(at, q->numerator, q->total)) {
            finish(r, q, variance, count(r, at, 0, q), at->n + 1);
            past = false;
            break;
        }
        q->log_p += psi_difference(r, n_high(r, l) + 1, at->n + 1);
        variance += psi1_difference(r, n_high(r, l) + 1, at->n + 1);
    }
    q->below_eps = past && r->at_eps;
    q->stuck = false;
    if (past &&
        r->n_levels) { /* the bounds end below the score: ask the last upper part. It was drawn
above its bound whether or not it could move on from there, as the best few subsets cannot. */
        const level *last = &r->levels[r->n_levels - 1];
        int32_t n = count(r, last, last->n_low, q);
        q->stuck = n == 0 && !r->at_eps;
        if (q->stuck) q->log2err = NAN; /* log_p stays that of the last bound: p is at most this */
        else finish(r, q, variance, n, n_high(r, r->n_levels - 1) + 1);
    }
    if (q->log_p < r->floor) q->log_p = r->floor;
}

/* ---- all rulers ---- */

double cpt_multilevel_error(double p, int32_t sample_size)
{
    double s = sample_size, one = cpt_trigamma((s + 1) / 2) - cpt_trigamma(s + 1);
    return sqrt(floor(1 - log2(p)) * one) / M_LN2;
}

/* What all rulers of one call share. */
typedef struct shared {
    int32_t n;
    const cpt_gsea_options *o;
    double *weight[2]; /* by position, and from the end */
    uint64_t *hash;
    double *harmonic, *square;
    cpt_multilevel_query **sorted; /* by size and side, most extreme last */
} shared;

static void shared_free(shared *c)
{
    free(c->weight[0]);
    free(c->weight[1]);
    free(c->hash);
    free(c->harmonic);
    free(c->square);
    free(c->sorted);
}

static int by_ruler(const void *a, const void *b)
{
    const cpt_multilevel_query *x = *(cpt_multilevel_query *const *)a;
    const cpt_multilevel_query *y = *(cpt_multilevel_query *const *)b;
    if (x->size != y->size) return x->size > y->size ? 1 : -1;
    if (x->negative != y->negative) return x->negative ? 1 : -1;
    int c = cpt_score_compare(x->numerator, x->total, y->numerator, y->total);
    return c ? c : (x > y) - (x < y);
}

static cpt_status shared_make(int32_t n, const double *weight, const cpt_gsea_options *o,
                              int32_t n_queries, cpt_multilevel_query *queries, shared *c,
                              cpt_err *e)
{
    cpt_status status = CPT_OK;
    size_t s = (size_t)o->sample_size * FIRST_SAMPLE + 2;
    c->n = n;
    c->o = o;
    for (int side = 0; side < 2; side++)
        CPT_TRY(cpt_alloc(&c->weight[side], (size_t)n, sizeof **c->weight, e));
    CPT_TRY(cpt_alloc(&c->hash, (size_t)n, sizeof *c->hash, e));
    CPT_TRY(cpt_alloc(&c->harmonic, s, sizeof *c->harmonic, e));
    CPT_TRY(cpt_alloc(&c->square, s, sizeof *c->square, e));
    CPT_TRY(cpt_alloc(&c->sorted, (size_t)n_queries, sizeof *c->sorted, e));
    cpt_stream stream;
    cpt_stream_init(&stream, o->seed, CPT_RANDOM_MULTILEVEL, UINT64_MAX);
    for (int32_t i = 0; i < n; i++) {
        c->weight[0][i] = weight[i];
        c->weight[1][i] = weight[n - 1 - i];
        c->hash[i] = cpt_stream_u64(&stream);
    }
    for (size_t i = 1; i < s; i++) {
        c->harmonic[i] = c->harmonic[i - 1] + 1.0 / (double)i;
        c->square[i] = c->square[i - 1] + 1.0 / ((double)i * (double)i);
    }
    for (int32_t i = 0; i < n_queries; i++) c->sorted[i] = &queries[i];
    qsort(c->sorted, (size_t)n_queries, sizeof *c->sorted, by_ruler);
done:
    return status;
}

/* Queries first .. last - 1 are of one ruler. */
static cpt_status run_ruler(const shared *c, int32_t first, int32_t last, const cpt_context *ctx,
                            cpt_err *e)
{
    cpt_status status = CPT_OK;
    const cpt_multilevel_query *farthest = c->sorted[last - 1];
    bool negative = farthest->negative;
    cpt_field field = {c->n, farthest->size, c->weight[negative], c->hash, cpt_walk_kernels_get()};
    ruler r = {
        .harmonic = c->harmonic, .square = c->square, .sided = c->o->score_type == CPT_SCORE_STD};
    double log_eps = c->o->eps > 0 ? log(c->o->eps) : -INFINITY;
    r.seed = c->o->seed;
    r.item = (uint64_t)farthest->size * 2 + negative; /* below 2^24: CPT_RANKING_MAX_GENES */
    cpt_stream_init(&r.stream, r.seed, CPT_RANDOM_MULTILEVEL, r.item);
    CPT_TRY(ruler_make(&field, c->o->sample_size, &r, e));
    CPT_TRY(extend(&r, farthest->numerator, farthest->total, log_eps, ctx, e));
    for (int32_t i = first; i < last; i++) read_ruler(&r, c->sorted[i]);
done:
    ruler_free(&r);
    return status;
}

cpt_status cpt_multilevel_run(int32_t n, const double *weight, const cpt_gsea_options *o,
                              int32_t n_queries, cpt_multilevel_query *queries, int n_threads,
                              const cpt_context *ctx, cpt_err *e)
{
    cpt_status status = CPT_OK;
    shared c = {0};
    int32_t *start = NULL, n_rulers = 0, done_rulers = 0;
    if (n_queries == 0) return CPT_OK;
    CPT_TRY(shared_make(n, weight, o, n_queries, queries, &c, e));
    CPT_TRY(cpt_alloc(&start, (size_t)n_queries + 1, sizeof *start, e));
    for (int32_t i = 0; i < n_queries; i++)
        if (!i || c.sorted[i]->size != c.sorted[i - 1]->size ||
            c.sorted[i]->negative != c.sorted[i - 1]->negative)
            start[n_rulers++] = i;
    start[n_rulers] = n_queries;
#pragma omp parallel for schedule(dynamic, 1) num_threads(n_threads) if (n_threads > 1)
    for (int32_t i = n_rulers - 1; i >= 0; i--) { /* large sets take longest: first */
        cpt_err own;
        int32_t so_far;
#pragma omp atomic read
        so_far = done_rulers;
        if (omp_get_thread_num() == 0) cpt_progress(ctx, "multilevel", so_far, n_rulers, NULL);
        cpt_status failed = run_ruler(&c, start[i], start[i + 1], ctx, &own);
#pragma omp atomic
        done_rulers++;
        if (failed) {
#pragma omp critical(cpt_multilevel_failure)
            {
                status = failed;
                if (e) *e = own;
            }
        }
    }
    if (!status) cpt_progress(ctx, "multilevel", n_rulers, n_rulers, NULL);
done:
    shared_free(&c);
    free(start);
    return status;
}

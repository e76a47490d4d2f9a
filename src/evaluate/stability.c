/* stability.c - decoder rows of several trainings, matched one to one.
 *
 * Cosines come from one single-precision product of unit rows (good to 1e-6, far below the
 * differences that matter); the matching is exact. All pairs of n dictionaries: n (n - 1) / 2 times
 * two assignments of O(F^3); the null as often as is asked.
 *
 * Trap: with F = 160 rows in 10 dimensions random rows match at a mean cosine near 0.8. Read the
 * null. */
#include "evaluate/stability.h"

#include "base/memory.h"
#include "base/random.h"
#include "math/assignment.h"
#include "math/blas.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

typedef struct matcher {
    float *a, *b;     /* unit rows */
    float *product;   /* [a.n][b.n] */
    double *cost;     /* [a.n][b.n] */
    int32_t *partner; /* [a.n] */
} matcher;

static cpt_status unit_rows(const char *which, const cpt_rows *r, int32_t dim, float *to,
                            cpt_err *e)
{
    for (int64_t i = 0; i < r->n; i++) {
        const float *from = r->rows + i * dim;
        double square = 0;
        for (int32_t j = 0; j < dim; j++) square += (double)from[j] * from[j];
        if (!isfinite(square))
            return cpt_fail(e, CPT_ERR_DATA,
                            "matching: row %lld (counted from 0) of the %s dictionary is not "
                            "finite",
                            (long long)i, which);
        const double norm = square > 0 ? sqrt(square) : 1;
        for (int32_t j = 0; j < dim; j++) to[i * dim + j] = (float)(from[j] / norm);
    }
    return CPT_OK;
}

static cpt_status matcher_new(const cpt_rows *a, const cpt_rows *b, int32_t dim, matcher *m,
                              cpt_err *e)
{
    cpt_status status = CPT_OK;
    const size_t size = (size_t)a->n * (size_t)b->n;
    CPT_TRY(cpt_alloc(&m->a, (size_t)a->n * (size_t)dim, sizeof *m->a, e));
    CPT_TRY(cpt_alloc(&m->b, (size_t)b->n * (size_t)dim, sizeof *m->b, e));
    CPT_TRY(cpt_alloc(&m->product, size, sizeof *m->product, e));
    CPT_TRY(cpt_alloc(&m->cost, size, sizeof *m->cost, e));
    CPT_TRY(cpt_alloc(&m->partner, (size_t)a->n, sizeof *m->partner, e));
done:
    return status;
}

static void matcher_free(matcher *m)
{
    free(m->a);
    free(m->b);
    free(m->product);
    free(m->cost);
    free(m->partner);
}

/* The best matching by cosine, or by |cosine|: its mean. */
static cpt_status match(matcher *m, int32_t n_a, int32_t n_b, bool absolute, double *mean,
                        cpt_err *e)
{
    const int64_t size = (int64_t)n_a * n_b;
    double total = 0;
    for (int64_t i = 0; i < size; i++)
        m->cost[i] = absolute ? -fabs((double)m->product[i]) : -(double)m->product[i];
    cpt_status status = cpt_assignment(m->cost, n_a, n_b, m->partner, &total, e);
    *mean = -total / (n_a < n_b ? n_a : n_b);
    return status;
}

static void read_pairs(const matcher *m, int32_t n_a, int32_t n_b, int32_t *partner, double *cosine,
                       cpt_match *out)
{
    int32_t above_07 = 0, above_09 = 0;
    for (int64_t i = 0; i < n_a; i++) {
        const double c = m->partner[i] < 0 ? NAN : (double)m->product[i * n_b + m->partner[i]];
        above_07 += c > 0.7;
        above_09 += c > 0.9;
        if (partner) partner[i] = m->partner[i];
        if (cosine) cosine[i] = c;
    }
    out->above_07 = (double)above_07 / out->n_matched;
    out->above_09 = (double)above_09 / out->n_matched;
}

cpt_status cpt_match_rows(const cpt_rows *a, const cpt_rows *b, int32_t dim, int32_t *partner,
                          double *cosine, cpt_match *out, const cpt_context *ctx, cpt_err *e)
{
    cpt_status status = CPT_OK;
    matcher m = {0};
    *out = (cpt_match){.n_matched = a->n < b->n ? a->n : b->n};
    if (a->n < 1 || b->n < 1 || dim < 1)
        return cpt_fail(e, CPT_ERR_DATA,
                        "matching %d with %d rows of %d dimensions: all must be at least 1", a->n,
                        b->n, dim);
    CPT_TRY(matcher_new(a, b, dim, &m, e));
    CPT_TRY(unit_rows("first", a, dim, m.a, e));
    CPT_TRY(unit_rows("second", b, dim, m.b, e));
    cpt_gemm(false, true, a->n, b->n, dim, 1, m.a, dim, m.b, dim, 0, m.product, b->n,
             cpt_threads(ctx));
    CPT_TRY(match(&m, a->n, b->n, false, &out->cosine, e));
    read_pairs(&m, a->n, b->n, partner, cosine, out);
    CPT_TRY(cpt_check_stop(ctx, e));
    CPT_TRY(match(&m, a->n, b->n, true, &out->pw_mcc, e));
done:
    matcher_free(&m);
    return status;
}

/* ---- over pairs, and by chance ---- */

cpt_spread cpt_spread_of(int32_t n, const cpt_match *matches, size_t field)
{
    cpt_spread s = {0, 0};
    for (int32_t i = 0; i < n; i++)
        s.mean += *(const double *)((const char *)&matches[i] + field) / n;
    for (int32_t i = 0; i < n; i++) {
        const double d = *(const double *)((const char *)&matches[i] + field) - s.mean;
        s.sd += d * d;
    }
    s.sd = n > 1 ? sqrt(s.sd / (n - 1)) : NAN;
    if (n == 0) s.mean = NAN;
    return s;
}

static void random_rows(uint64_t seed, uint64_t draw, int32_t n, int32_t dim, float *rows)
{
    for (int64_t i = 0; i < n; i++) {
        cpt_stream s;
        cpt_stream_init(&s, seed, CPT_RANDOM_EVALUATE, draw << 32 | (uint64_t)i);
        for (int32_t j = 0; j < dim; j++) rows[i * dim + j] = (float)cpt_stream_normal(&s);
    }
}

static cpt_status draw_null(const cpt_rows *like, int32_t dim, int32_t n_null, cpt_match *matches,
                            const cpt_context *ctx, cpt_err *e)
{
    cpt_status status = CPT_OK;
    const uint64_t seed = ctx ? ctx->seed : 0;
    float *rows[2] = {NULL, NULL};
    for (int side = 0; side < 2; side++)
        CPT_TRY(cpt_alloc(&rows[side], (size_t)like[side].n * (size_t)dim, sizeof **rows, e));
    for (int32_t i = 0; i < n_null; i++) {
        for (int side = 0; side < 2; side++)
            random_rows(seed, 2 * (uint64_t)i + (uint64_t)side, like[side].n, dim, rows[side]);
        const cpt_rows a = {rows[0], like[0].n}, b = {rows[1], like[1].n};
        CPT_TRY(cpt_match_rows(&a, &b, dim, NULL, NULL, &matches[i], ctx, e));
        cpt_progress(ctx, "stability by chance", i + 1, n_null, NULL);
    }
done:
    free(rows[0]);
    free(rows[1]);
    return status;
}

static void fill(const cpt_match *pairs, const cpt_match *null, cpt_stability *out)
{
    out->cosine = cpt_spread_of(out->n_pairs, pairs, offsetof(cpt_match, cosine));
    out->above_07 = cpt_spread_of(out->n_pairs, pairs, offsetof(cpt_match, above_07));
    out->above_09 = cpt_spread_of(out->n_pairs, pairs, offsetof(cpt_match, above_09));
    out->pw_mcc = cpt_spread_of(out->n_pairs, pairs, offsetof(cpt_match, pw_mcc));
    out->null_cosine = cpt_spread_of(out->n_null, null, offsetof(cpt_match, cosine));
    out->null_above_07 = cpt_spread_of(out->n_null, null, offsetof(cpt_match, above_07));
    out->null_above_09 = cpt_spread_of(out->n_null, null, offsetof(cpt_match, above_09));
    out->null_pw_mcc = cpt_spread_of(out->n_null, null, offsetof(cpt_match, pw_mcc));
    int32_t reached = 0;
    for (int32_t i = 0; i < out->n_null; i++) reached += null[i].cosine >= out->cosine.mean;
    out->p = out->n_null ? (1.0 + reached) / (1.0 + out->n_null) : NAN;
}

cpt_status cpt_stability_of(const cpt_rows *dictionaries, int32_t n, int32_t dim, int32_t n_null,
                            cpt_stability *out, const cpt_context *ctx, cpt_err *e)
{
    cpt_status status = CPT_OK;
    cpt_match *pairs = NULL, *null = NULL;
    *out = (cpt_stability){0};
    if (n < 2 || n > 1000 || n_null < 0)
        return cpt_fail(e, CPT_ERR_USAGE,
                        "stability compares 2 to 1000 dictionaries with 0 or more random draws; "
                        "%d and %d were given",
                        n, n_null);
    const int32_t n_pairs = n * (n - 1) / 2;
    CPT_TRY(cpt_alloc(&pairs, (size_t)n_pairs, sizeof *pairs, e));
    CPT_TRY(cpt_alloc(&null, (size_t)n_null, sizeof *null, e));
    int32_t done = 0;
    for (int32_t i = 0; i < n; i++)
        for (int32_t j = i + 1; j < n; j++) {
            CPT_TRY(cpt_match_rows(&dictionaries[i], &dictionaries[j], dim, NULL, NULL,
                                   &pairs[done++], ctx, e));
            cpt_progress(ctx, "stability", done, n_pairs, NULL);
        }
    CPT_TRY(draw_null(dictionaries, dim, n_null, null, ctx, e));
    out->n_dictionaries = n;
    out->n_pairs = n_pairs;
    out->n_null = n_null;
    fill(pairs, null, out);
done:
    free(pairs);
    free(null);
    return status;
}

/* alignment.c - likeness matrices, their one-to-one matching, and both by chance.
 *
 * A likeness knows how to fill its matrix for draw i of its null; draw -1 is the truth. Draws are
 * spread over threads, each with matrices of its own, and their results are put down by draw.
 *
 * Activations are sparse: the sum of products of all pairs of units takes (active units)^2 steps
 * per cell, and means and variances do not change when cells are permuted. Profiles and decoder
 * rows are unit rows; their likeness is one product of matrices in single precision (good to 1e-6).
 *
 * Traps. A null of single pairs would let rare concepts speak: of two concepts active in one cell
 * each, the best over all pairs is often 1 by chance. The p of a pair is therefore asked of its own
 * row and column alone: how often does this unit, as rare as it is, find any partner so alike?
 * And these nulls are soft: a cell type that both models know lifts every concept of it. Read the
 * runner-up, the random partners, and the null within strata too. */
#include "evaluate/alignment.h"

#include "base/memory.h"
#include "base/random.h"
#include "math/assignment.h"
#include "math/blas.h"
#include "math/statistics.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { TRUTH = -1 };
static const double TIE = 1e-9; /* draws that equal the truth but for rounding reach it */

typedef struct column_moments {
    double mean, sd; /* sd 0: constant */
} column_moments;

/* One of a set's two sides. */
typedef struct set_moments {
    column_moments *a, *b;
} set_moments;

struct cpt_likeness {
    int32_t n_a, n_b;
    double *values; /* [n_a][n_b] */
    uint64_t seed;
    cpt_status (*fill)(const cpt_likeness *l, int32_t draw, double *values, cpt_err *e);
    /* rows: decoders, profiles */
    float *rows_a, *rows_b; /* unit rows [n][width] */
    int64_t width;
    bool absolute;
    /* activations */
    cpt_cell_set *sets;
    set_moments *moments;
    int32_t n_sets;
};

void cpt_likeness_free(cpt_likeness *l)
{
    if (!l) return;
    for (int32_t s = 0; l->moments && s < l->n_sets; s++) {
        free(l->moments[s].a);
        free(l->moments[s].b);
    }
    free(l->moments);
    free(l->sets);
    free(l->rows_a);
    free(l->rows_b);
    free(l->values);
    free(l);
}

int32_t cpt_likeness_rows(const cpt_likeness *l)
{
    return l->n_a;
}

int32_t cpt_likeness_columns(const cpt_likeness *l)
{
    return l->n_b;
}

const double *cpt_likeness_values(const cpt_likeness *l)
{
    return l->values;
}

static cpt_status likeness_new(int32_t n_a, int32_t n_b, const cpt_context *ctx, cpt_likeness **out,
                               cpt_err *e)
{
    cpt_status status;
    cpt_likeness *l = NULL;
    *out = NULL;
    if (n_a < 1 || n_b < 1)
        return cpt_fail(e, CPT_ERR_DATA,
                        "%d concepts cannot be matched with %d: both studies need at least one "
                        "that is active",
                        n_a, n_b);
    CPT_TRY(cpt_alloc(&l, 1, sizeof *l, e));
    *out = l;
    l->n_a = n_a;
    l->n_b = n_b;
    l->seed = ctx ? ctx->seed : 0;
    status = cpt_alloc(&l->values, (size_t)n_a * (size_t)n_b, sizeof *l->values, e);
done:
    return status;
}

/* Fills the true matrix; frees everything after a failure. */
static cpt_status finish(cpt_status status, cpt_likeness **l, cpt_err *e)
{
    if (status == CPT_OK) status = (*l)->fill(*l, TRUTH, (*l)->values, e);
    if (status != CPT_OK) {
        cpt_likeness_free(*l);
        *l = NULL;
    }
    return status;
}

/* ---- rows ---- */

/* Unit rows, centred first when asked; rows without length become 0. */
static cpt_status unit_rows(const float *from, int32_t n, int64_t width, bool centred, float **out,
                            cpt_err *e)
{
    cpt_status status = cpt_alloc(out, (size_t)n * (size_t)width, sizeof **out, e);
    if (status) return status;
    for (int64_t i = 0; i < n; i++) {
        const float *x = from + i * width;
        double mean = 0, square = 0;
        for (int64_t j = 0; j < width; j++) mean += isfinite(x[j]) ? (double)x[j] : 0;
        mean = centred ? mean / (double)width : 0;
        for (int64_t j = 0; j < width; j++) {
            const double d = (isfinite(x[j]) ? (double)x[j] : 0) - mean;
            square += d * d;
        }
        const double scale = square > 0 && isfinite(square) ? 1 / sqrt(square) : 0;
        for (int64_t j = 0; j < width; j++)
            (*out)[i * width + j] = (float)(((isfinite(x[j]) ? (double)x[j] : 0) - mean) * scale);
    }
    return CPT_OK;
}

static cpt_status multiply_rows(const cpt_likeness *l, const float *b, double *values, cpt_err *e)
{
    float *product;
    const int64_t size = (int64_t)l->n_a * l->n_b;
    cpt_status status = cpt_alloc(&product, (size_t)size, sizeof *product, e);
    if (status) return status;
    cpt_gemm(false, true, l->n_a, l->n_b, l->width, 1, l->rows_a, l->width, b, l->width, 0, product,
             l->n_b, 1);
    for (int64_t i = 0; i < size; i++)
        values[i] = l->absolute ? fabs((double)product[i]) : (double)product[i];
    free(product);
    return CPT_OK;
}

/* A rotation (or reflection) of R^n without preference: Gram-Schmidt on normal rows, twice for
 * orthogonality to rounding. */
static void random_rotation(cpt_stream *s, int64_t n, double *q)
{
    for (int64_t i = 0; i < n * n; i++) q[i] = cpt_stream_normal(s);
    for (int64_t i = 0; i < n; i++) {
        double *row = q + i * n, square = 0;
        for (int64_t k = 0; k < 2 * i; k++) {
            const double *other = q + k % i * n;
            double along = 0;
            for (int64_t j = 0; j < n; j++) along += row[j] * other[j];
            for (int64_t j = 0; j < n; j++) row[j] -= along * other[j];
        }
        for (int64_t j = 0; j < n; j++) square += row[j] * row[j];
        for (int64_t j = 0; j < n; j++) row[j] /= sqrt(square);
    }
}

static cpt_status fill_decoders(const cpt_likeness *l, int32_t draw, double *values, cpt_err *e)
{
    double *q = NULL;
    float *rotation = NULL, *turned = NULL;
    const size_t dim = (size_t)l->width;
    cpt_stream s;
    cpt_status status;
    if (draw == TRUTH) return multiply_rows(l, l->rows_b, values, e);
    CPT_TRY(cpt_alloc(&q, dim * dim, sizeof *q, e));
    CPT_TRY(cpt_alloc(&rotation, dim * dim, sizeof *rotation, e));
    CPT_TRY(cpt_alloc(&turned, (size_t)l->n_b * dim, sizeof *turned, e));
    cpt_stream_init(&s, l->seed, CPT_RANDOM_ALIGN, (uint64_t)draw << 8 | 1);
    random_rotation(&s, l->width, q);
    for (size_t i = 0; i < dim * dim; i++) rotation[i] = (float)q[i];
    cpt_gemm(false, false, l->n_b, l->width, l->width, 1, l->rows_b, l->width, rotation, l->width,
             0, turned, l->width, 1);
    status = multiply_rows(l, turned, values, e);
done:
    free(q);
    free(rotation);
    free(turned);
    return status;
}

static cpt_status permutation(const cpt_likeness *l, int32_t draw, int32_t part, int64_t n,
                              int64_t **order, cpt_err *e)
{
    cpt_stream s;
    cpt_status status = cpt_alloc(order, (size_t)n, sizeof **order, e);
    if (status) return status;
    for (int64_t i = 0; i < n; i++) (*order)[i] = i;
    if (draw == TRUTH) return CPT_OK;
    cpt_stream_init(&s, l->seed, CPT_RANDOM_ALIGN, (uint64_t)draw << 8 | (uint64_t)(2 + part));
    cpt_stream_shuffle_i64(&s, *order, n);
    return CPT_OK;
}

typedef struct member {
    int32_t stratum;
    int64_t cell;
} member;

static int by_stratum(const void *x, const void *y)
{
    const member *a = x, *b = y;
    if (a->stratum != b->stratum) return a->stratum < b->stratum ? -1 : 1;
    return (a->cell > b->cell) - (a->cell < b->cell);
}

/* As permutation(), but cells change places within their stratum only. */
static cpt_status permute_within(const cpt_likeness *l, int32_t draw, int32_t part, int64_t n,
                                 const int32_t *strata, int64_t **order, cpt_err *e)
{
    member *members = NULL;
    int64_t *shuffled = NULL;
    cpt_stream s;
    cpt_status status;
    CPT_TRY(cpt_alloc(order, (size_t)n, sizeof **order, e));
    CPT_TRY(cpt_alloc(&members, (size_t)n, sizeof *members, e));
    CPT_TRY(cpt_alloc(&shuffled, (size_t)n, sizeof *shuffled, e));
    for (int64_t i = 0; i < n; i++) members[i] = (member){strata[i], i};
    qsort(members, (size_t)n, sizeof *members, by_stratum);
    for (int64_t i = 0; i < n; i++) shuffled[i] = members[i].cell;
    cpt_stream_init(&s, l->seed, CPT_RANDOM_ALIGN, (uint64_t)draw << 8 | (uint64_t)(2 + part));
    for (int64_t from = 0, to; from < n; from = to) {
        for (to = from + 1; to < n && members[to].stratum == members[from].stratum;) to++;
        cpt_stream_shuffle_i64(&s, shuffled + from, to - from);
    }
    for (int64_t i = 0; i < n; i++) (*order)[members[i].cell] = shuffled[i];
done:
    free(members);
    free(shuffled);
    return status;
}

static cpt_status fill_profiles(const cpt_likeness *l, int32_t draw, double *values, cpt_err *e)
{
    int64_t *order = NULL;
    float *permuted = NULL;
    cpt_status status;
    if (draw == TRUTH) return multiply_rows(l, l->rows_b, values, e);
    CPT_TRY(permutation(l, draw, 0, l->width, &order, e));
    CPT_TRY(cpt_alloc(&permuted, (size_t)l->n_b * (size_t)l->width, sizeof *permuted, e));
    for (int64_t i = 0; i < l->n_b; i++)
        for (int64_t j = 0; j < l->width; j++)
            permuted[i * l->width + j] = l->rows_b[i * l->width + order[j]];
    status = multiply_rows(l, permuted, values, e);
done:
    free(order);
    free(permuted);
    return status;
}

static cpt_status likeness_of_rows(const float *a, int32_t n_a, const float *b, int32_t n_b,
                                   int64_t width, bool centred, cpt_likeness **out,
                                   const cpt_context *ctx, cpt_err *e)
{
    cpt_status status;
    *out = NULL;
    if (width < 1)
        return cpt_fail(e, CPT_ERR_DATA, "rows of length %lld cannot be compared",
                        (long long)width);
    CPT_TRY(likeness_new(n_a, n_b, ctx, out, e));
    (*out)->width = width;
    CPT_TRY(unit_rows(a, n_a, width, centred, &(*out)->rows_a, e));
    CPT_TRY(unit_rows(b, n_b, width, centred, &(*out)->rows_b, e));
done:
    return status;
}

cpt_status cpt_likeness_decoders(const float *a, int32_t n_a, const float *b, int32_t n_b,
                                 int32_t dim, bool absolute, cpt_likeness **out,
                                 const cpt_context *ctx, cpt_err *e)
{
    cpt_status status = likeness_of_rows(a, n_a, b, n_b, dim, false, out, ctx, e);
    if (*out) {
        (*out)->absolute = absolute;
        (*out)->fill = fill_decoders;
    }
    return finish(status, out, e);
}

cpt_status cpt_likeness_profiles(const float *a, int32_t n_a, const float *b, int32_t n_b,
                                 int64_t n_genes, bool centred, cpt_likeness **out,
                                 const cpt_context *ctx, cpt_err *e)
{
    cpt_status status = likeness_of_rows(a, n_a, b, n_b, n_genes, centred, out, ctx, e);
    if (*out) (*out)->fill = fill_profiles;
    return finish(status, out, e);
}

/* ---- activations ---- */

static cpt_status measure_columns(const cpt_csr *m, column_moments **out, cpt_err *e)
{
    cpt_status status = cpt_alloc(out, (size_t)m->n_cols, sizeof **out, e);
    if (status) return status;
    column_moments *c = *out;
    const double n = (double)m->n_rows;
    for (int64_t k = 0; k < m->indptr[m->n_rows]; k++) {
        c[m->indices[k]].mean += m->values[k];
        c[m->indices[k]].sd += (double)m->values[k] * m->values[k];
    }
    for (int64_t j = 0; j < m->n_cols; j++) {
        const double square = c[j].sd;
        c[j].mean /= n;
        const double variance = square / n - c[j].mean * c[j].mean;
        c[j].sd = variance > 1e-12 * square / n ? sqrt(variance) : 0;
    }
    return CPT_OK;
}

/* sums [n_a][n_b] of products over the cells, the cells of b in the given order. */
static void sum_products(const cpt_cell_set *set, const int64_t *order, double *sums)
{
    const int64_t n_b = set->b->n_cols;
    memset(sums, 0, (size_t)set->a->n_cols * (size_t)n_b * sizeof *sums);
    for (int64_t i = 0; i < set->a->n_rows; i++)
        for (int64_t k = set->a->indptr[i]; k < set->a->indptr[i + 1]; k++) {
            double *row = sums + set->a->indices[k] * n_b;
            const double x = set->a->values[k];
            for (int64_t m = set->b->indptr[order[i]]; m < set->b->indptr[order[i] + 1]; m++)
                row[set->b->indices[m]] += x * set->b->values[m];
        }
}

static cpt_status fill_activations(const cpt_likeness *l, int32_t draw, double *values, cpt_err *e)
{
    double *sums = NULL;
    int64_t *order = NULL;
    const size_t size = (size_t)l->n_a * (size_t)l->n_b;
    cpt_status status;
    CPT_TRY(cpt_alloc(&sums, size, sizeof *sums, e));
    memset(values, 0, size * sizeof *values);
    for (int32_t s = 0; s < l->n_sets; s++) {
        const double n = (double)l->sets[s].a->n_rows;
        free(order);
        order = NULL;
        const int32_t *strata = draw == TRUTH ? NULL : l->sets[s].strata;
        CPT_TRY(strata ? permute_within(l, draw, s, l->sets[s].a->n_rows, strata, &order, e)
                       : permutation(l, draw, s, l->sets[s].a->n_rows, &order, e));
        sum_products(&l->sets[s], order, sums);
        for (int64_t i = 0; i < l->n_a; i++)
            for (int64_t j = 0; j < l->n_b; j++) {
                const column_moments a = l->moments[s].a[i], b = l->moments[s].b[j];
                if (a.sd > 0 && b.sd > 0)
                    values[i * l->n_b + j] +=
                        (sums[i * l->n_b + j] / n - a.mean * b.mean) / (a.sd * b.sd) / l->n_sets;
            }
    }
done:
    free(sums);
    free(order);
    return status;
}

static cpt_status check_sets(const cpt_cell_set *sets, int32_t n_sets, cpt_err *e)
{
    if (n_sets < 1 || n_sets > 200)
        return cpt_fail(e, CPT_ERR_INTERNAL, "activations on %d sets of cells", n_sets);
    for (int32_t s = 0; s < n_sets; s++) {
        if (sets[s].a->n_rows != sets[s].b->n_rows || sets[s].a->n_cols != sets[0].a->n_cols ||
            sets[s].b->n_cols != sets[0].b->n_cols)
            return cpt_fail(e, CPT_ERR_INTERNAL, "activations: set %d has other sizes", s);
        if (sets[s].a->n_rows < 3)
            return cpt_fail(e, CPT_ERR_DATA,
                            "activations of %lld cells cannot be correlated; at least 3 are needed",
                            (long long)sets[s].a->n_rows);
    }
    return CPT_OK;
}

cpt_status cpt_likeness_activations(const cpt_cell_set *sets, int32_t n_sets, cpt_likeness **out,
                                    const cpt_context *ctx, cpt_err *e)
{
    cpt_likeness *l;
    *out = NULL;
    cpt_status status = check_sets(sets, n_sets, e);
    if (status) return status;
    CPT_TRY(likeness_new((int32_t)sets[0].a->n_cols, (int32_t)sets[0].b->n_cols, ctx, out, e));
    l = *out;
    l->fill = fill_activations;
    l->n_sets = n_sets;
    CPT_TRY(cpt_alloc(&l->sets, (size_t)n_sets, sizeof *l->sets, e));
    CPT_TRY(cpt_alloc(&l->moments, (size_t)n_sets, sizeof *l->moments, e));
    for (int32_t s = 0; s < n_sets; s++) {
        l->sets[s] = sets[s];
        CPT_TRY(measure_columns(sets[s].a, &l->moments[s].a, e));
        CPT_TRY(measure_columns(sets[s].b, &l->moments[s].b, e));
    }
done:
    return finish(status, out, e);
}

cpt_status cpt_jaccard(const cpt_cell_set *sets, int32_t n_sets, double *out, cpt_err *e)
{
    int64_t *n_a = NULL, *n_b = NULL;
    cpt_status status = check_sets(sets, n_sets, e);
    if (status) return status;
    const int64_t rows = sets[0].a->n_cols, cols = sets[0].b->n_cols;
    CPT_TRY(cpt_alloc(&n_a, (size_t)rows, sizeof *n_a, e));
    CPT_TRY(cpt_alloc(&n_b, (size_t)cols, sizeof *n_b, e));
    memset(out, 0, (size_t)rows * (size_t)cols * sizeof *out);
    for (int32_t s = 0; s < n_sets; s++) {
        const cpt_csr *a = sets[s].a, *b = sets[s].b;
        for (int64_t k = 0; k < a->indptr[a->n_rows]; k++) n_a[a->indices[k]]++;
        for (int64_t k = 0; k < b->indptr[b->n_rows]; k++) n_b[b->indices[k]]++;
        for (int64_t i = 0; i < a->n_rows; i++)
            for (int64_t k = a->indptr[i]; k < a->indptr[i + 1]; k++)
                for (int64_t m = b->indptr[i]; m < b->indptr[i + 1]; m++)
                    out[a->indices[k] * cols + b->indices[m]]++;
    }
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++) {
            const double either = (double)(n_a[i] + n_b[j]) - out[i * cols + j];
            out[i * cols + j] = either > 0 ? out[i * cols + j] / either : 0;
        }
done:
    free(n_a);
    free(n_b);
    return status;
}

/* ---- matching ---- */

/* The largest value of each row and column. */
static void margins(const cpt_likeness *l, const double *values, double *row_best, double *col_best)
{
    for (int32_t j = 0; j < l->n_b; j++) col_best[j] = -INFINITY;
    for (int64_t i = 0; i < l->n_a; i++) {
        row_best[i] = -INFINITY;
        for (int64_t j = 0; j < l->n_b; j++) {
            const double v = values[i * l->n_b + j];
            if (v > row_best[i]) row_best[i] = v;
            if (v > col_best[j]) col_best[j] = v;
        }
    }
}

/* `values` becomes the cost. */
static cpt_status best_matching(const cpt_likeness *l, double *values, int32_t *partner,
                                double *mean, cpt_err *e)
{
    double total = 0;
    const int64_t size = (int64_t)l->n_a * l->n_b;
    for (int64_t i = 0; i < size; i++) values[i] = -values[i];
    cpt_status status = cpt_assignment(values, l->n_a, l->n_b, partner, &total, e);
    *mean = -total / (l->n_a < l->n_b ? l->n_a : l->n_b);
    return status;
}

static int by_value(const void *x, const void *y)
{
    const cpt_matched_pair *a = x, *b = y;
    if (a->value != b->value) return a->value > b->value ? -1 : 1;
    return (a->a > b->a) - (a->a < b->a);
}

static double runner_up_of(const cpt_likeness *l, int32_t a, int32_t b)
{
    double best = -INFINITY;
    for (int32_t j = 0; j < l->n_b; j++)
        if (j != b) best = fmax(best, l->values[(int64_t)a * l->n_b + j]);
    for (int32_t i = 0; i < l->n_a; i++)
        if (i != a) best = fmax(best, l->values[(int64_t)i * l->n_b + b]);
    return isfinite(best) ? best : NAN;
}

static cpt_status match_truth(const cpt_likeness *l, cpt_matching *out, cpt_err *e)
{
    double *cost = NULL, above[3] = {0, 0, 0};
    int32_t *partner = NULL, n = 0;
    const size_t size = (size_t)l->n_a * (size_t)l->n_b;
    cpt_status status;
    CPT_TRY(cpt_alloc(&cost, size, sizeof *cost, e));
    CPT_TRY(cpt_alloc(&partner, (size_t)l->n_a, sizeof *partner, e));
    memcpy(cost, l->values, size * sizeof *cost);
    CPT_TRY(best_matching(l, cost, partner, &out->mean, e));
    for (int32_t i = 0; i < l->n_a; i++) {
        if (partner[i] < 0) continue;
        const double v = l->values[(int64_t)i * l->n_b + partner[i]];
        out->pairs[n++] = (cpt_matched_pair){.a = i, .b = partner[i], .value = v};
        out->pairs[n - 1].runner_up = runner_up_of(l, i, partner[i]);
        out->sd += (v - out->mean) * (v - out->mean);
        for (int t = 0; t < 3; t++) above[t] += v > 0.5 + 0.2 * t;
    }
    out->sd = n > 1 ? sqrt(out->sd / (n - 1)) : NAN;
    out->above_05 = above[0] / n;
    out->above_07 = above[1] / n;
    out->above_09 = above[2] / n;
    qsort(out->pairs, (size_t)n, sizeof *out->pairs, by_value);
done:
    free(cost);
    free(partner);
    return status;
}

/* What one thread needs for its draws. */
typedef struct draw_room {
    double *values, *row_best, *col_best;
    int32_t *partner;
} draw_room;

static cpt_status room_new(const cpt_likeness *l, draw_room *r, cpt_err *e)
{
    cpt_status status;
    *r = (draw_room){0};
    CPT_TRY(cpt_alloc(&r->values, (size_t)l->n_a * (size_t)l->n_b, sizeof *r->values, e));
    CPT_TRY(cpt_alloc(&r->row_best, (size_t)l->n_a, sizeof *r->row_best, e));
    CPT_TRY(cpt_alloc(&r->col_best, (size_t)l->n_b, sizeof *r->col_best, e));
    CPT_TRY(cpt_alloc(&r->partner, (size_t)l->n_a, sizeof *r->partner, e));
done:
    return status;
}

static void room_free(draw_room *r)
{
    free(r->values);
    free(r->row_best);
    free(r->col_best);
    free(r->partner);
}

/* One draw: its matched mean, and which pairs it reaches (added to `reached` [m->n]). */
static cpt_status draw_once(const cpt_likeness *l, const cpt_matching *m, int32_t draw,
                            draw_room *r, double *mean, int32_t *reached, cpt_err *e)
{
    cpt_status status = l->fill(l, draw, r->values, e);
    if (status) return status;
    margins(l, r->values, r->row_best, r->col_best);
    for (int32_t i = 0; i < m->n; i++) {
        const double best = fmax(r->row_best[m->pairs[i].a], r->col_best[m->pairs[i].b]);
        if (best >= m->pairs[i].value - TIE) {
#pragma omp atomic
            reached[i]++;
        }
    }
    return best_matching(l, r->values, r->partner, mean, e);
}

static cpt_status draw_all(const cpt_likeness *l, const cpt_matching *m, int32_t n_null,
                           double *means, int32_t *reached, const cpt_context *ctx, cpt_err *e)
{
    cpt_status status = CPT_OK;
    int32_t n_done = 0;
#pragma omp parallel num_threads(cpt_threads(ctx))
    {
        draw_room r;
        cpt_err err;
        cpt_status mine = room_new(l, &r, &err);
#pragma omp for schedule(dynamic)
        for (int32_t i = 0; i < n_null; i++) {
            int32_t done;
            if (mine == CPT_OK) mine = cpt_check_stop(ctx, &err);
            if (mine == CPT_OK) mine = draw_once(l, m, i, &r, &means[i], reached, &err);
#pragma omp atomic capture
            done = ++n_done;
            if (omp_get_thread_num() == 0)
                cpt_progress(ctx, "matching by chance", done, n_null, NULL);
        }
        if (mine != CPT_OK) {
#pragma omp critical(cpt_alignment_status)
            {
                status = mine;
                if (e) *e = err;
            }
        }
        room_free(&r);
    }
    if (status == CPT_OK) cpt_progress(ctx, "matching by chance", n_null, n_null, NULL);
    return status;
}

/* Mean likeness of n_null random matchings, each of as many pairs as the best one. */
static cpt_status random_partners(const cpt_likeness *l, int32_t n_null, cpt_matching *out,
                                  cpt_err *e)
{
    const bool wide = l->n_a <= l->n_b;
    const int32_t n = wide ? l->n_a : l->n_b, most = wide ? l->n_b : l->n_a;
    double sum = 0, square = 0;
    int32_t *order;
    cpt_status status = cpt_alloc(&order, (size_t)most, sizeof *order, e);
    if (status) return status;
    for (int32_t i = 0; i < most; i++) order[i] = i;
    for (int32_t d = 0; d < n_null; d++) {
        cpt_stream s;
        double mean = 0;
        cpt_stream_init(&s, l->seed, CPT_RANDOM_ALIGN, (uint64_t)d << 8);
        cpt_stream_shuffle_i32(&s, order, most);
        for (int64_t i = 0; i < n; i++)
            mean += l->values[wide ? i * l->n_b + order[i] : (int64_t)order[i] * l->n_b + i] / n;
        sum += mean;
        square += mean * mean;
    }
    out->partners_mean = sum / n_null;
    out->partners_sd =
        n_null > 1 ? sqrt(fmax(0, square - sum * out->partners_mean) / (n_null - 1)) : NAN;
    free(order);
    return CPT_OK;
}

static cpt_status judge(int32_t n_null, const double *means, const int32_t *reached,
                        cpt_matching *out, cpt_err *e)
{
    double *p = NULL, *q = NULL;
    int32_t n_reached = 0;
    cpt_status status;
    CPT_TRY(cpt_alloc(&p, (size_t)out->n, sizeof *p, e));
    CPT_TRY(cpt_alloc(&q, (size_t)out->n, sizeof *q, e));
    for (int32_t i = 0; i < n_null; i++) {
        out->null_mean += means[i] / n_null;
        n_reached += means[i] >= out->mean - TIE;
    }
    for (int32_t i = 0; i < n_null; i++)
        out->null_sd += (means[i] - out->null_mean) * (means[i] - out->null_mean);
    out->null_sd = n_null > 1 ? sqrt(out->null_sd / (n_null - 1)) : NAN;
    out->n_null = n_null;
    out->p = (1.0 + n_reached) / (1.0 + n_null);
    for (int32_t i = 0; i < out->n; i++) p[i] = (1.0 + reached[i]) / (1.0 + n_null);
    CPT_TRY(cpt_bh(out->n, p, 0, q, e));
    for (int32_t i = 0; i < out->n; i++) {
        out->pairs[i].p = p[i];
        out->pairs[i].q = q[i];
        out->n_significant += q[i] < 0.05;
    }
done:
    free(p);
    free(q);
    return status;
}

cpt_status cpt_likeness_match(const cpt_likeness *l, int32_t n_null, cpt_matching *out,
                              const cpt_context *ctx, cpt_err *e)
{
    double *means = NULL;
    int32_t *reached = NULL;
    cpt_status status;
    *out = (cpt_matching){.n = l->n_a < l->n_b ? l->n_a : l->n_b};
    if (n_null < 1 || n_null > 1000000)
        return cpt_fail(e, CPT_ERR_USAGE, "%d draws of the null: 1 to 1,000,000 are possible",
                        n_null);
    CPT_TRY(cpt_alloc(&out->pairs, (size_t)out->n, sizeof *out->pairs, e));
    CPT_TRY(cpt_alloc(&means, (size_t)n_null, sizeof *means, e));
    CPT_TRY(cpt_alloc(&reached, (size_t)out->n, sizeof *reached, e));
    CPT_TRY(match_truth(l, out, e));
    CPT_TRY(draw_all(l, out, n_null, means, reached, ctx, e));
    CPT_TRY(random_partners(l, n_null, out, e));
    status = judge(n_null, means, reached, out, e);
done:
    free(means);
    free(reached);
    if (status != CPT_OK) cpt_matching_free(out);
    return status;
}

void cpt_matching_free(cpt_matching *m)
{
    free(m->pairs);
    *m = (cpt_matching){0};
}

/* stability_null.c - how well two dictionaries match that know less than a trained one.
 *
 * Random unit rows are too weak a null: the cells of an embedding lie in few directions, and any
 * two dictionaries that follow them agree beyond chance. So there are two more: rows with the
 * covariance of the embedding, and cells picked at random - the stability that comes of the data
 * alone, without any training. Where a trained dictionary does not exceed the last, its training
 * adds nothing that is reproducible.
 *
 * Cost: a decomposition of the covariance, then an assignment per draw (stability.c). */
#include "evaluate/stability.h"

#include "base/memory.h"
#include "base/random.h"
#include "math/linalg.h"
#include "math/statistics.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>

typedef struct source {
    cpt_null_rows kind;
    const float *a;
    int64_t n;
    int32_t dim;
    double *mean, *components, *singular; /* [dim], [dim][dim], [dim] */
    uint64_t seed;
} source;

static void normal_row(const source *x, cpt_stream *s, float *row)
{
    const int32_t dim = x->dim;
    if (x->kind == CPT_NULL_SPHERE) {
        for (int32_t j = 0; j < dim; j++) row[j] = (float)cpt_stream_normal(s);
        return;
    }
    for (int32_t j = 0; j < dim; j++) row[j] = 0;
    for (int32_t k = 0; k < dim; k++) {
        const double z = cpt_stream_normal(s) * x->singular[k];
        for (int32_t j = 0; j < dim; j++)
            row[j] += (float)(z * x->components[(int64_t)k * dim + j]);
    }
}

static cpt_status cell_rows(const source *x, cpt_stream *s, int32_t n_rows, float *rows, cpt_err *e)
{
    int64_t *order;
    cpt_status status = cpt_alloc(&order, (size_t)x->n, sizeof *order, e);
    if (status != CPT_OK) return status;
    for (int64_t i = 0; i < x->n; i++) order[i] = i;
    for (int32_t r = 0; r < n_rows; r++) {
        const int64_t at = r % x->n, j = at + (int64_t)cpt_stream_below(s, (uint64_t)(x->n - at));
        const int64_t cell = order[j];
        order[j] = order[at];
        order[at] = cell;
        for (int32_t k = 0; k < x->dim; k++)
            rows[(int64_t)r * x->dim + k] = (float)(x->a[cell * x->dim + k] - x->mean[k]);
    }
    free(order);
    return CPT_OK;
}

static cpt_status draw_rows(const source *x, uint64_t item, int32_t n_rows, float *rows, cpt_err *e)
{
    cpt_stream s;
    cpt_stream_init(&s, x->seed, CPT_RANDOM_STABILITY, (uint64_t)x->kind << 48 | item);
    if (x->kind == CPT_NULL_CELLS) return cell_rows(x, &s, n_rows, rows, e);
    for (int32_t r = 0; r < n_rows; r++) normal_row(x, &s, rows + (int64_t)r * x->dim);
    return CPT_OK;
}

static int ascending(const void *x, const void *y)
{
    const double *a = x, *b = y;
    return (*a > *b) - (*a < *b);
}

static void summarise(const cpt_match *matches, int64_t n_cosines, double *cosines,
                      cpt_stability_null *out)
{
    static const double quantiles[3] = {0.05, 0.5, 0.95};
    out->cosine = cpt_spread_of(out->n_draws, matches, offsetof(cpt_match, cosine));
    out->above_07 = cpt_spread_of(out->n_draws, matches, offsetof(cpt_match, above_07));
    out->above_09 = cpt_spread_of(out->n_draws, matches, offsetof(cpt_match, above_09));
    out->pw_mcc = cpt_spread_of(out->n_draws, matches, offsetof(cpt_match, pw_mcc));
    qsort(cosines, (size_t)n_cosines, sizeof *cosines, ascending);
    for (int i = 0; i < 3; i++)
        out->row_quantiles[i] = cpt_quantile_sorted(n_cosines, cosines, quantiles[i]);
}

static cpt_status run_draws(const source *x, const int32_t n_rows[2], int32_t n_draws,
                            cpt_stability_null *out, const cpt_context *ctx, cpt_err *e)
{
    cpt_status status;
    float *rows[2] = {NULL, NULL};
    double *cosines = NULL, *all = NULL;
    cpt_match *matches = NULL;
    int64_t n = 0;
    for (int side = 0; side < 2; side++)
        CPT_TRY(cpt_alloc(&rows[side], (size_t)n_rows[side] * (size_t)x->dim, sizeof **rows, e));
    CPT_TRY(cpt_alloc(&matches, (size_t)n_draws, sizeof *matches, e));
    CPT_TRY(cpt_alloc(&cosines, (size_t)n_rows[0], sizeof *cosines, e));
    CPT_TRY(cpt_alloc(&all, (size_t)n_draws * (size_t)n_rows[0], sizeof *all, e));
    for (int32_t i = 0; i < n_draws; i++) {
        for (int side = 0; side < 2; side++)
            CPT_TRY(draw_rows(x, 2 * (uint64_t)i + (uint64_t)side, n_rows[side], rows[side], e));
        const cpt_rows a = {rows[0], n_rows[0]}, b = {rows[1], n_rows[1]};
        CPT_TRY(cpt_match_rows(&a, &b, x->dim, NULL, cosines, &matches[i], ctx, e));
        for (int32_t r = 0; r < n_rows[0]; r++)
            if (isfinite(cosines[r])) all[n++] = cosines[r];
        CPT_TRY(cpt_check_stop(ctx, e));
        cpt_progress(ctx, "stability by chance", i + 1, n_draws, NULL);
    }
    out->n_draws = n_draws;
    summarise(matches, n, all, out);
done:
    free(rows[0]);
    free(rows[1]);
    free(matches);
    free(cosines);
    free(all);
    return status;
}

cpt_status cpt_stability_null_of(cpt_null_rows kind, const float *a, int64_t n, int32_t dim,
                                 const int32_t n_rows[2], int32_t n_draws, cpt_stability_null *out,
                                 const cpt_context *ctx, cpt_err *e)
{
    source x = {.kind = kind, .a = a, .n = n, .dim = dim, .seed = ctx ? ctx->seed : 0};
    cpt_status status;
    *out = (cpt_stability_null){0};
    if (n < 2 || dim < 1 || n_rows[0] < 1 || n_rows[1] < 1 || n_draws < 1)
        return cpt_fail(
            e, CPT_ERR_DATA,
            "a null of stability needs 2 cells, 1 dimension, 1 row a side and 1 draw; there "
            "are %lld, %d, %d and %d, %d",
            (long long)n, dim, n_rows[0], n_rows[1], n_draws);
    CPT_TRY(cpt_alloc(&x.mean, (size_t)dim, sizeof *x.mean, e));
    CPT_TRY(cpt_alloc(&x.components, (size_t)dim * (size_t)dim, sizeof *x.components, e));
    CPT_TRY(cpt_alloc(&x.singular, (size_t)dim, sizeof *x.singular, e));
    if (kind != CPT_NULL_SPHERE)
        CPT_TRY(cpt_pca(a, n, dim, dim, x.mean, x.components, x.singular, ctx, e));
    status = run_draws(&x, n_rows, n_draws, out, ctx, e);
done:
    free(x.mean);
    free(x.components);
    free(x.singular);
    return status;
}

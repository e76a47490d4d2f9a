/* attribution_noise.c - where the cut-off lies among the attributions of random directions.
 *
 * Problem: an attribution of 0.05 means little unless one knows what a direction without meaning gets.
 * Method: random unit directions w as concepts of their own, activation relu(w.(a - mean) - t), with t
 * such that as many cells are active as for the median concept. They go through the same choice of
 * pairs and the same attribution; the quantiles of |mean| over genes and directions are the floor.
 * Complexity: that of attributing n more concepts, without intervals and tests.
 * Traps: only genes that differ in at least one pair count: the others are 0 by construction and would
 * make any cut-off look safe. */
#include "concept/attribution_internal.h"

#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "base/random.h"
#include "concept/failure.h"
#include "math/statistics.h"

static const double QUANTILES[5] = {0.5, 0.9, 0.95, 0.99, 0.999};

/* n directions, each independent of the others: no competition for places. */
typedef struct directions {
    cpt_dictionary base;
    float *rows;    /* [n][dim] unit */
    float *offsets; /* [n] h = w.a + offset */
} directions;

static const directions *directions_of(const cpt_dictionary *d)
{
    return (const directions *)(const void *)d;
}

/* Double and in one order, so that encode and readout agree to the last bit. */
static float direction_pre(const directions *d, int32_t c, const float *a)
{
    const float *w = d->rows + (int64_t)c * d->base.dim;
    double h = d->offsets[c];
    for (int32_t j = 0; j < d->base.dim; j++) h += (double)w[j] * a[j];
    return (float)h;
}

static cpt_status directions_encode(const cpt_dictionary *base, int64_t n, const float *a, int32_t *counts,
                                    int32_t *concepts, float *values, cpt_err *e)
{
    const directions *d = directions_of(base);
    (void)e;
    for (int64_t i = 0; i < n; i++) {
        counts[i] = 0;
        for (int32_t c = 0; c < base->n_concepts; c++) {
            float h = direction_pre(d, c, a + i * base->dim);
            if (!(h > 0)) continue;
            int64_t at = i * base->max_active + counts[i]++;
            concepts[at] = c;
            values[at] = h;
        }
    }
    return CPT_OK;
}

static cpt_status directions_readout(const cpt_dictionary *base, int32_t concept, int64_t n, const float *a,
                                     float *activation, float *pre, cpt_err *e)
{
    (void)e;
    for (int64_t i = 0; i < n; i++) {
        float h = direction_pre(directions_of(base), concept, a + i * base->dim);
        if (pre) pre[i] = h;
        if (activation) activation[i] = h > 0 ? h : 0;
    }
    return CPT_OK;
}

static void directions_gradient(const cpt_dictionary *base, int32_t concept, const float *a, float *out)
{
    const float *w = directions_of(base)->rows + (int64_t)concept * base->dim;
    (void)a;
    for (int32_t j = 0; j < base->dim; j++) out[j] = w[j];
}

static const cpt_dictionary_ops DIRECTION_OPS = {.kind = "directions", .encode = directions_encode,
                                                 .readout = directions_readout,
                                                 .gradient = directions_gradient};

static void directions_free(directions *d)
{
    free(d->rows);
    free(d->offsets);
}

static void draw_direction(float *row, int32_t dim, uint64_t seed, int32_t item)
{
    cpt_stream s;
    double squares = 0;
    cpt_stream_init(&s, seed, CPT_RANDOM_NOISE_FLOOR, (uint64_t)item);
    for (int32_t j = 0; j < dim; j++) {
        row[j] = (float)cpt_stream_normal(&s);
        squares += (double)row[j] * row[j];
    }
    for (int32_t j = 0; j < dim && squares > 0; j++) row[j] = (float)(row[j] / sqrt(squares));
}

/* Frequency of the median concept that is neither dead nor active everywhere; 0 when none is. */
static cpt_status median_frequency(const cpt_activations *u, double *out, cpt_err *e)
{
    double *values;
    int64_t n = 0;
    cpt_status status = cpt_alloc(&values, (size_t)u->n_concepts, sizeof *values, e);
    if (status != CPT_OK) return status;
    for (int32_t c = 0; c < u->n_concepts; c++)
        if (!u->stats[c].dead && u->stats[c].frequency < 1) values[n++] = u->stats[c].frequency;
    *out = n ? cpt_median(n, values) : 0;
    free(values);
    return CPT_OK;
}

static int descending(const void *x, const void *y)
{
    float a = *(const float *)x, b = *(const float *)y;
    return (a < b) - (a > b);
}

/* Offset that leaves direction c active in `n_active` of the usable cells (fewer when they tie). */
static cpt_status set_offset(directions *d, int32_t c, const cpt_activations *u, const float *embedding,
                             int64_t n_active, cpt_err *e)
{
    float *scores;
    int64_t n = 0;
    cpt_status status = cpt_alloc(&scores, (size_t)u->n_cells, sizeof *scores, e);
    if (status != CPT_OK) return status;
    for (int64_t i = 0; i < u->n_cells; i++)
        if (u->usable[i]) scores[n++] = direction_pre(d, c, embedding + i * d->base.dim);
    qsort(scores, (size_t)n, sizeof *scores, descending);
    d->offsets[c] = -scores[n_active];
    free(scores);
    return CPT_OK;
}

static cpt_status directions_make(directions *d, int32_t n, int32_t dim, const cpt_activations *u,
                                  const float *embedding, uint64_t seed, const cpt_context *ctx,
                                  cpt_err *e)
{
    cpt_failure failure = {.status = CPT_OK};
    double frequency;
    int64_t n_usable = u->n_cells - u->n_unusable, n_active;
    cpt_status status;
    *d = (directions){.base = {.ops = &DIRECTION_OPS, .n_concepts = n, .dim = dim, .max_active = n}};
    CPT_TRY(cpt_alloc(&d->rows, (size_t)n * (size_t)dim, sizeof *d->rows, e));
    CPT_TRY(cpt_alloc(&d->offsets, (size_t)n, sizeof *d->offsets, e));
    CPT_TRY(median_frequency(u, &frequency, e));
    n_active = (int64_t)llround(frequency * (double)n_usable);
    if (n_active < 1) n_active = 1;
    if (n_usable < 2)
        return cpt_fail(e, CPT_ERR_DATA, "the noise floor needs at least 2 cells with an embedding, "
                        "there are %lld", (long long)n_usable);
    if (n_active > n_usable - 1) n_active = n_usable - 1;
#pragma omp parallel for schedule(dynamic) num_threads(cpt_threads(ctx))
    for (int32_t c = 0; c < n; c++) {
        cpt_err err;
        draw_direction(d->rows + (int64_t)c * dim, dim, seed, c);
        cpt_failure_note(&failure, set_offset(d, c, u, embedding, n_active, &err), c, &err);
    }
    status = cpt_failure_status(&failure, e);
done:
    return status;
}

static int ascending(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

/* Quantiles of |mean| over the genes that differed in a pair, and the share below the cut-off. */
static cpt_status summarise_noise(const cpt_attribution *noise, double cutoff, cpt_attribution *a, cpt_err *e)
{
    double *sizes;
    int64_t n = 0, below = 0, total = (int64_t)noise->n_concepts * noise->n_genes;
    cpt_status status = cpt_alloc(&sizes, (size_t)total, sizeof *sizes, e);
    if (status != CPT_OK) return status;
    for (int64_t i = 0; i < total; i++)
        if (noise->n[i] > 0) sizes[n++] = fabs((double)noise->mean[i]);
    qsort(sizes, (size_t)n, sizeof *sizes, ascending);
    while (below < n && sizes[below] < cutoff) below++;
    for (int i = 0; i < 5; i++)
        a->noise_quantiles[i] = n ? cpt_quantile_sorted(n, sizes, QUANTILES[i]) : NAN;
    a->cutoff_percentile = n ? (double)below / (double)n : NAN;
    a->n_noise_directions = noise->n_concepts;
    free(sizes);
    return CPT_OK;
}

cpt_status cpt_attribution_noise(const cpt_model *m, const cpt_dictionary *d, const cpt_counts *counts,
                                 const float *embedding, int64_t n_cells, int32_t n_directions,
                                 const cpt_pair_options *po, const cpt_attribution_options *o,
                                 cpt_attribution *a, const cpt_context *ctx, cpt_err *e)
{
    directions random = {.rows = NULL};
    cpt_activations *concepts = NULL, *active = NULL;
    cpt_pairs *pairs = NULL;
    cpt_attribution *noise = NULL;
    cpt_attribution_options plain = *o;
    plain.store = o->noise_store;
    cpt_status status;

    plain.n_bootstrap = plain.n_sign_flips = 0;
    if (n_directions < 1)
        return cpt_fail(e, CPT_ERR_USAGE, "%d random directions: at least 1 is needed", n_directions);
    CPT_TRY(cpt_activations_encode(d, embedding, n_cells, &concepts, ctx, e));
    CPT_TRY(directions_make(&random, n_directions, d->dim, concepts, embedding, ctx ? ctx->seed : 0, ctx, e));
    CPT_TRY(cpt_activations_encode(&random.base, embedding, n_cells, &active, ctx, e));
    CPT_TRY(cpt_pairs_find(active, embedding, d->dim, po, &pairs, ctx, e));
    CPT_TRY(cpt_attribute_all(m, &random.base, counts, pairs, &plain, &noise, ctx, e));
    CPT_TRY(summarise_noise(noise, o->cutoff, a, e));
    free(a->noise_mean);
    free(a->noise_n);
    a->noise_mean = noise->mean; /* handed over */
    a->noise_n = noise->n;
    noise->mean = NULL;
    noise->n = NULL;
done:
    cpt_attribution_free(noise);
    cpt_pairs_free(pairs);
    cpt_activations_free(active);
    cpt_activations_free(concepts);
    directions_free(&random);
    return status;
}

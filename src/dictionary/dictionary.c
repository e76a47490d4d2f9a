/* dictionary.c - what all dictionaries share: options, freeing, and the reconstruction scores.
 *
 * Scores (method.md 2.3) in two passes over blocks of fixed size: the means first, then all sums.
 * Every block has its own sums, added in order of the blocks, so the result does not depend on the
 * number of threads. Trap: the one-pass formula sum x^2 - n mean^2 loses all digits on embeddings whose
 * mean is large against their spread. */
#include "dictionary/dictionary.h"

#include "base/memory.h"
#include "math/blas.h"

#include <math.h>
#include <stdlib.h>

enum { BLOCK_ROWS = 512 };

void cpt_dictionary_free(cpt_dictionary *d)
{
    if (d) d->ops->free(d);
}

void cpt_dictionary_options_init(cpt_dictionary_options *o)
{
    *o = (cpt_dictionary_options){.kind = "topk"};
}

void cpt_dictionary_report_free(cpt_dictionary_report *r)
{
    if (!r) return;
    cpt_text_free(&r->log);
}

static int64_t n_blocks_of(int64_t n)
{
    return (n + BLOCK_ROWS - 1) / BLOCK_ROWS;
}

static const float *row_of(const float *a, int32_t dim, const int64_t *rows, int64_t i)
{
    return a + (rows ? rows[i] : i) * dim;
}

/* means [dim] of the rows; partial [blocks][dim] is scratch. */
static void feature_means(const float *a, int32_t dim, int64_t n, const int64_t *rows, double *partial,
                          double *means, const cpt_context *ctx)
{
    int64_t n_blocks = n_blocks_of(n);
#pragma omp parallel for schedule(static) num_threads(cpt_threads(ctx))
    for (int64_t b = 0; b < n_blocks; b++) {
        double *sum = partial + b * dim;
        for (int32_t j = 0; j < dim; j++) sum[j] = 0;
        for (int64_t i = b * BLOCK_ROWS; i < n && i < (b + 1) * BLOCK_ROWS; i++) {
            const float *x = row_of(a, dim, rows, i);
            for (int32_t j = 0; j < dim; j++) sum[j] += x[j];
        }
    }
    for (int32_t j = 0; j < dim; j++) means[j] = 0;
    for (int64_t b = 0; b < n_blocks; b++)
        for (int32_t j = 0; j < dim; j++) means[j] += partial[b * dim + j];
    for (int32_t j = 0; j < dim; j++) means[j] /= (double)(n > 0 ? n : 1);
}

typedef struct sums {
    double error, around_feature, around_scalar, cosine, active;
} sums;

typedef struct block_memory {
    float *a, *decoded; /* [BLOCK_ROWS][dim] */
    int32_t *counts, *concepts;
    float *values;
} block_memory;

static void block_memory_free(block_memory *m)
{
    free(m->a);
    free(m->decoded);
    free(m->counts);
    free(m->concepts);
    free(m->values);
}

static cpt_status block_memory_new(const cpt_dictionary *d, block_memory *m, cpt_err *e)
{
    cpt_status status = CPT_OK;
    *m = (block_memory){0};
    CPT_TRY(cpt_alloc(&m->a, (size_t)BLOCK_ROWS * (size_t)d->dim, sizeof *m->a, e));
    CPT_TRY(cpt_alloc(&m->decoded, (size_t)BLOCK_ROWS * (size_t)d->dim, sizeof *m->decoded, e));
    CPT_TRY(cpt_alloc(&m->counts, BLOCK_ROWS, sizeof *m->counts, e));
    CPT_TRY(cpt_alloc(&m->concepts, (size_t)BLOCK_ROWS * (size_t)d->max_active,
                      sizeof *m->concepts, e));
    CPT_TRY(cpt_alloc(&m->values, (size_t)BLOCK_ROWS * (size_t)d->max_active, sizeof *m->values, e));
done:
    return status;
}

static void add_row(const float *x, const float *decoded, int32_t dim, const double *means,
                    double scalar_mean, sums *s)
{
    double xx = 0, yy = 0, xy = 0;
    for (int32_t j = 0; j < dim; j++) {
        double v = x[j], w = decoded[j];
        s->error += (v - w) * (v - w);
        s->around_feature += (v - means[j]) * (v - means[j]);
        s->around_scalar += (v - scalar_mean) * (v - scalar_mean);
        xx += v * v;
        yy += w * w;
        xy += v * w;
    }
    if (xx > 0 && yy > 0) s->cosine += xy / sqrt(xx * yy);
}

/* One block of rows; `alive` [n_concepts] gets a 1 for each concept that is active (every thread
 * writes the same 1, into bytes of its own copy). */
static cpt_status score_block(const cpt_dictionary *d, const float *a, int64_t start, int64_t n,
                              const int64_t *rows, const double *means, double scalar_mean,
                              block_memory *m, uint8_t *alive, sums *s, cpt_err *e)
{
    const int32_t dim = d->dim;
    for (int64_t i = 0; i < n; i++) {
        const float *x = row_of(a, dim, rows, start + i);
        for (int32_t j = 0; j < dim; j++) m->a[i * dim + j] = x[j];
    }
    cpt_status status = d->ops->encode(d, n, m->a, m->counts, m->concepts, m->values, e);
    if (status != CPT_OK) return status;
    d->ops->decode(d, n, m->counts, m->concepts, m->values, m->decoded);
    for (int64_t i = 0; i < n; i++) {
        add_row(m->a + i * dim, m->decoded + i * dim, dim, means, scalar_mean, s);
        s->active += m->counts[i];
        for (int32_t c = 0; c < m->counts[i]; c++) alive[m->concepts[i * d->max_active + c]] = 1;
    }
    return CPT_OK;
}

/* 1 - a / b with 0 / 0 = perfect. */
static double explained(double error, double total)
{
    return total > 0 ? 1 - error / total : error > 0 ? -INFINITY : 1;
}

static void fill_score(const cpt_dictionary *d, int64_t n, int64_t n_blocks, const sums *blocks,
                       int n_threads, const uint8_t *alive, cpt_reconstruction *out)
{
    sums s = {0};
    for (int64_t b = 0; b < n_blocks; b++) {
        s.error += blocks[b].error;
        s.around_feature += blocks[b].around_feature;
        s.around_scalar += blocks[b].around_scalar;
        s.cosine += blocks[b].cosine;
        s.active += blocks[b].active;
    }
    int64_t n_dead = 0;
    for (int32_t c = 0; c < d->n_concepts; c++) {
        bool any = false;
        for (int t = 0; t < n_threads; t++) any |= alive[(int64_t)t * d->n_concepts + c];
        n_dead += !any;
    }
    out->n = n;
    out->r2_feature = explained(s.error, s.around_feature);
    out->r2_scalar = explained(s.error, s.around_scalar);
    out->fvu = 1 - out->r2_feature;
    out->cosine = s.cosine / (double)n;
    out->l0 = s.active / (double)n;
    out->dead_fraction = (double)n_dead / d->n_concepts;
}

cpt_status cpt_reconstruction_score(const cpt_dictionary *d, const float *a, int64_t n,
                                    const int64_t *rows, const float *means, cpt_reconstruction *out,
                                    const cpt_context *ctx, cpt_err *e)
{
    *out = (cpt_reconstruction){.n = n, NAN, NAN, NAN, NAN, NAN, NAN};
    if (n <= 0) return CPT_OK;
    cpt_status status = CPT_OK;
    cpt_blas_single_thread();
    const int n_threads = cpt_threads(ctx);
    const int64_t n_blocks = n_blocks_of(n);
    double *partial = NULL, *center = NULL;
    sums *blocks = NULL;
    uint8_t *alive = NULL;
    CPT_TRY(cpt_alloc(&partial, (size_t)n_blocks * (size_t)d->dim, sizeof *partial, e));
    CPT_TRY(cpt_alloc(&center, (size_t)d->dim, sizeof *center, e));
    CPT_TRY(cpt_alloc(&blocks, (size_t)n_blocks, sizeof *blocks, e));
    CPT_TRY(cpt_alloc(&alive, (size_t)n_threads * (size_t)d->n_concepts, 1, e));
    feature_means(a, d->dim, n, rows, partial, center, ctx);
    double scalar_mean = 0;
    for (int32_t j = 0; j < d->dim; j++) {
        if (means) center[j] = means[j];
        scalar_mean += center[j] / d->dim;
    }
    int64_t next_thread = 0;
#pragma omp parallel num_threads(n_threads)
    {
        block_memory memory;
        cpt_err local;
        cpt_status mine = block_memory_new(d, &memory, &local);
        int64_t slot;
#pragma omp atomic capture
        slot = next_thread++;
#pragma omp for schedule(dynamic)
        for (int64_t b = 0; b < n_blocks; b++) {
            if (mine != CPT_OK || (mine = cpt_check_stop(ctx, &local)) != CPT_OK) continue;
            int64_t start = b * BLOCK_ROWS, size = n - start < BLOCK_ROWS ? n - start : BLOCK_ROWS;
            mine = score_block(d, a, start, size, rows, center, scalar_mean, &memory,
                               alive + slot * d->n_concepts, &blocks[b], &local);
        }
        block_memory_free(&memory);
#pragma omp critical(cpt_reconstruction)
        if (mine != CPT_OK && status == CPT_OK) {
            status = mine;
            if (e) *e = local;
        }
    }
    if (status == CPT_OK) fill_score(d, n, n_blocks, blocks, n_threads, alive, out);
done:
    free(partial);
    free(center);
    free(blocks);
    free(alive);
    return status;
}

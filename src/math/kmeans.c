/* Problem: some hundred parts of a million points, in a hundredth of the time of what they are for.
 *
 * Method. A sample of SAMPLE_PER_PART points per part, evenly spaced; seeds drawn from it one after the other with
 * probability in proportion to the squared distance from the nearest seed so far; LLOYD_STEPS steps of k-means on it;
 * then the nearest centre of every point: the largest of x.c - |c|^2 / 2, by matrix products (math/gemm.h).
 *
 * Cost: n_parts * dim multiply-adds for each point, and for each of the sample LLOYD_STEPS + 1 times as much. */
#include "math/kmeans.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "math/gemm.h"
#include "math/rows.h"

enum { SAMPLE_PER_PART = 32, LLOYD_STEPS = 3, CHUNK = 512 };

typedef struct clustering {
    const cpt_points *p;
    int32_t n_parts;
    int64_t stride, n_sample;
    int n_threads;
    float *sample;    /* [n_sample][stride] */
    float *distance2; /* [n_sample] from the nearest seed */
    int32_t *part_of; /* [n_sample] */
    float *centres;   /* [n_parts][stride] */
    float *bias;      /* [n_parts] -|c|^2 / 2 */
    double *sums;     /* [n_parts][dim] */
    int64_t *counts;  /* [n_parts] */
    cpt_packed packed;
} clustering;

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void scaled_row(const clustering *c, int64_t i, float *out)
{
    const cpt_points *p = c->p;
    for (int32_t d = 0; d < p->dim; d++)
        out[d] = (float)(((double)p->x[i * p->dim + d] - p->mean[d]) * p->scale);
    for (int64_t d = p->dim; d < c->stride; d++) out[d] = 0;
}

static void take_sample(const clustering *c)
{
#pragma omp parallel for num_threads(c->n_threads)
    for (int64_t i = 0; i < c->n_sample; i++) {
        scaled_row(c, (int64_t)((double)i * (double)c->p->n / (double)c->n_sample), c->sample + i * c->stride);
        c->distance2[i] = INFINITY;
    }
}

/* ---- seeds ---- */

static void use_seed(const clustering *c, const float *seed)
{
    const cpt_row_kernels *k = cpt_row_kernels_get();
#pragma omp parallel for schedule(static) num_threads(c->n_threads)
    for (int64_t i = 0; i < c->n_sample; i++)
        c->distance2[i] = fminf(c->distance2[i], k->distance2(c->sample + i * c->stride, seed, c->stride));
}

/* With probability in proportion to distance2; where all are 0, any. */
static int64_t draw_seed(const clustering *c, cpt_stream *random)
{
    double sum = 0;
    for (int64_t i = 0; i < c->n_sample; i++) sum += (double)c->distance2[i];
    if (!(sum > 0)) return (int64_t)cpt_stream_below(random, (uint64_t)c->n_sample);
    double left = sum * cpt_stream_uniform(random);
    int64_t last = 0;
    for (int64_t i = 0; i < c->n_sample; i++) {
        if (!(c->distance2[i] > 0)) continue;
        last = i;
        left -= (double)c->distance2[i];
        if (left < 0) break;
    }
    return last;
}

static void seed_centres(const clustering *c)
{
    cpt_stream random;
    cpt_stream_init(&random, 0, CPT_RANDOM_KMEANS, 0);
    for (int32_t part = 0; part < c->n_parts; part++) {
        const int64_t chosen = part == 0 ? c->n_sample / 2 : draw_seed(c, &random);
        float *centre = c->centres + part * c->stride;
        memcpy(centre, c->sample + chosen * c->stride, (size_t)c->stride * sizeof *centre);
        use_seed(c, centre);
    }
}

/* ---- nearest centres ---- */

static void pack_centres(clustering *c)
{
    const cpt_row_kernels *k = cpt_row_kernels_get();
    for (int32_t part = 0; part < c->n_parts; part++) {
        const float *centre = c->centres + part * c->stride;
        c->bias[part] = -0.5f * k->dot(centre, centre, c->stride);
    }
    cpt_repack(&c->packed, 0, c->n_parts, c->centres, c->stride, 1);
}

typedef struct nearest {
    float best[CHUNK];
    int32_t *part_of; /* of the chunk's rows */
} nearest;

/* A cpt_gemm_sink. */
static void keep_largest(void *user, int64_t first_row, int64_t rows, int64_t first, int64_t n, const float *block)
{
    nearest *at = user;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t o = 0; o < n; o++) {
            const float score = block[r * CPT_GEMM_PANEL + o];
            if (!(score > at->best[first_row + r])) continue;
            at->best[first_row + r] = score;
            at->part_of[first_row + r] = (int32_t)(first + o);
        }
}

static void assign(const clustering *c, const float *rows, int64_t n, int32_t *part_of)
{
    nearest at = {.part_of = part_of};
    for (int64_t r = 0; r < n; r++) {
        at.best[r] = -INFINITY;
        part_of[r] = 0;
    }
    cpt_multiply_into(&c->packed, n, rows, c->stride, &(cpt_epilogue){.bias = c->bias}, keep_largest, &at);
}

static void assign_sample(const clustering *c)
{
#pragma omp parallel for schedule(dynamic) num_threads(c->n_threads)
    for (int64_t i = 0; i < c->n_sample; i += CHUNK)
        assign(c, c->sample + i * c->stride, smaller(CHUNK, c->n_sample - i), c->part_of + i);
}

/* The means of the parts; an empty one keeps its centre. */
static void move_centres(const clustering *c)
{
    const int32_t dim = c->p->dim;
    memset(c->sums, 0, (size_t)c->n_parts * (size_t)dim * sizeof *c->sums);
    memset(c->counts, 0, (size_t)c->n_parts * sizeof *c->counts);
    for (int64_t i = 0; i < c->n_sample; i++) {
        double *sums = c->sums + (int64_t)c->part_of[i] * dim;
        c->counts[c->part_of[i]]++;
        for (int32_t d = 0; d < dim; d++) sums[d] += (double)c->sample[i * c->stride + d];
    }
    for (int32_t part = 0; part < c->n_parts; part++)
        for (int32_t d = 0; d < dim && c->counts[part] > 0; d++)
            c->centres[part * c->stride + d] = (float)(c->sums[(int64_t)part * dim + d] / (double)c->counts[part]);
}

/* rows [n_threads][CHUNK][stride] is scratch. */
static void assign_all(const clustering *c, float *rows, int32_t *part_of)
{
#pragma omp parallel for schedule(dynamic) num_threads(c->n_threads)
    for (int64_t i = 0; i < c->p->n; i += CHUNK) {
        float *own = rows + (int64_t)omp_get_thread_num() * CHUNK * c->stride;
        const int64_t n = smaller(CHUNK, c->p->n - i);
        for (int64_t r = 0; r < n; r++) scaled_row(c, i + r, own + r * c->stride);
        assign(c, own, n, part_of + i);
    }
}

static cpt_status clustering_init(clustering *c, cpt_err *e)
{
    const size_t parts = (size_t)c->n_parts, stride = (size_t)c->stride, sample = (size_t)c->n_sample;
    cpt_status status;
    CPT_TRY(cpt_alloc(&c->sample, sample * stride, sizeof *c->sample, e));
    CPT_TRY(cpt_alloc(&c->distance2, sample, sizeof *c->distance2, e));
    CPT_TRY(cpt_alloc(&c->part_of, sample, sizeof *c->part_of, e));
    CPT_TRY(cpt_alloc(&c->centres, parts * stride, sizeof *c->centres, e));
    CPT_TRY(cpt_alloc(&c->bias, parts, sizeof *c->bias, e));
    CPT_TRY(cpt_alloc(&c->sums, parts * (size_t)c->p->dim, sizeof *c->sums, e));
    CPT_TRY(cpt_alloc(&c->counts, parts, sizeof *c->counts, e));
    c->packed = cpt_packed_of(CPT_GEMM_SPLIT, c->n_parts, c->p->dim, NULL);
    CPT_TRY(cpt_alloc(&c->packed.data, cpt_packed_bytes(CPT_GEMM_SPLIT, c->n_parts, c->p->dim), 1, e));
done:
    return status;
}

static void clustering_free(clustering *c)
{
    free(c->sample);
    free(c->distance2);
    free(c->part_of);
    free(c->centres);
    free(c->bias);
    free(c->sums);
    free(c->counts);
    cpt_packed_free(&c->packed);
}

cpt_status cpt_kmeans_parts(const cpt_points *p, int32_t n_parts, int n_threads, int32_t *part_of, cpt_err *e)
{
    clustering c = {.p = p, .n_parts = n_parts, .stride = cpt_row_stride(p->dim), .n_threads = n_threads};
    cpt_status status;
    float *rows = NULL;
    c.n_sample = smaller(p->n, (int64_t)n_parts * SAMPLE_PER_PART);
    CPT_TRY(clustering_init(&c, e));
    CPT_TRY(cpt_alloc(&rows, (size_t)n_threads * CHUNK * (size_t)c.stride, sizeof *rows, e));
    take_sample(&c);
    seed_centres(&c);
    for (int step = 0; step < LLOYD_STEPS; step++) {
        pack_centres(&c);
        assign_sample(&c);
        move_centres(&c);
    }
    pack_centres(&c);
    assign_all(&c, rows, part_of);
done:
    free(rows);
    clustering_free(&c);
    return status;
}

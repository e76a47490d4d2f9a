/* Problem: UMAP's stochastic gradient descent, with the same result for any number of threads.
 *
 * The published algorithm walks over edges and moves both ends at once, so its result depends on the order
 * and, with threads, on races. Here vertices own their moves. An edge of weight w (largest weight 1)
 * is due w times per epoch from each of its ends in the published scheme, and each time it pulls both
 * ends; so a vertex makes 2 w pulls along each of its edges per epoch, every second one followed by
 * `negatives` pushes from random vertices. A vertex makes its moves one after the other, with its own position
 * as it stands and all others as they were when its group began. Vertices are dealt out to GROUPS groups; groups
 * take turns, so that a vertex sees nearly all others as they are now: with all vertices moving at once,
 * neighbours jump past each other and clusters do not settle.
 *
 * Cost per epoch: O(edges), dominated by one power per pull and push. Random numbers are keyed by (seed,
 * epoch, vertex). Powers are computed by our own polynomials: the same bytes with any libm. */
#include "math/umap.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"

enum { GROUPS = 16 };
static const float CLIP = 4;

typedef struct plane {
    float x, y;
} plane;

typedef struct descent {
    const cpt_umap_graph *graph;
    const plane *at; /* [n] positions at the start of the group's turn */
    float a, b, inverse_max_weight, rate;
    float lightest; /* edges below are never due */
    int32_t epoch, negatives;
    uint64_t seed;
} descent;

/* x^b for x > 0 and moderate exponents, relative error below 1e-5: 2^(b log2 x) with log2 of the
 * mantissa by its series in (m - 1) / (m + 1) and 2^f by Taylor's. */
static inline float power(float x, float b)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint32_t mantissa = (bits & 0x7fffffu) | 0x3f800000u; /* in [1, 2) */
    float m, exponent = (float)((int32_t)(bits >> 23) - 127);
    memcpy(&m, &mantissa, sizeof m);
    bool upper = m > 1.41421356f; /* to [0.707, 1.414]: the series is centred on 1 */
    m = upper ? 0.5f * m : m;
    exponent = upper ? exponent + 1 : exponent;
    float t = (m - 1) / (m + 1), t2 = t * t;
    float log2m = t * (2.88539008f + t2 * (0.961796694f + t2 * (0.577078016f + t2 * 0.412198583f)));

    float p = b * (exponent + log2m);
    if (p < -126) return 0;
    if (p > 127) p = 127;
    float whole = floorf(p + 0.5f), f = (p - whole) * 0.693147181f;
    float fraction = 1 + f * (1 + f * (0.5f + f * (0.166666667f + f * (0.0416666667f + f * 0.00833333333f))));
    uint32_t scale_bits = (uint32_t)((int32_t)whole + 127) << 23;
    float scale;
    memcpy(&scale, &scale_bits, sizeof scale);
    return scale * fraction;
}

static inline float clip(float v)
{
    return v > CLIP ? CLIP : v < -CLIP ? -CLIP : v;
}

/* ---- moves ---- */

static inline plane pull(const descent *s, plane from, plane to)
{
    float dx = from.x - to.x, dy = from.y - to.y, d2 = dx * dx + dy * dy;
    if (!(d2 > 0)) return from;
    float similarity_scale = power(d2, s->b); /* d^2b */
    float g = -2 * s->a * s->b * similarity_scale / (d2 * (1 + s->a * similarity_scale));
    return (plane){from.x + s->rate * clip(g * dx), from.y + s->rate * clip(g * dy)};
}

static inline plane push(const descent *s, plane from, plane other)
{
    float dx = from.x - other.x, dy = from.y - other.y, d2 = dx * dx + dy * dy;
    if (!(d2 > 0)) return from;
    float g = 2 * s->b / ((0.001f + d2) * (1 + s->a * power(d2, s->b)));
    return (plane){from.x + s->rate * clip(g * dx), from.y + s->rate * clip(g * dy)};
}

static plane push_at_random(const descent *s, plane here, int32_t vertex, cpt_stream *random)
{
    for (int32_t i = 0; i < s->negatives; i++) {
        int32_t other = (int32_t)(((uint64_t)cpt_stream_u32(random) * (uint64_t)s->graph->n) >> 32);
        if (other != vertex) here = push(s, here, s->at[other]);
    }
    return here;
}

/* A phase in [0, 1) per edge and direction, so that edges of equal weight are not all due together. */
static inline double phase(int32_t from, int32_t to)
{
    uint32_t h = (uint32_t)from * 0x9E3779B9u ^ ((uint32_t)to + 0x7F4A7C15u) * 0x85EBCA6Bu;
    h = (h ^ h >> 15) * 0x2C1B3C6Du;
    return (double)(h ^ h >> 13) * 0x1p-32;
}

/* All moves of one vertex in one epoch; pulls are numbered over all epochs. */
static plane move_vertex(const descent *s, int32_t vertex)
{
    const cpt_umap_graph *g = s->graph;
    plane here = s->at[vertex];
    cpt_stream random;
    cpt_stream_init(&random, s->seed, CPT_RANDOM_UMAP, ((uint64_t)s->epoch + 1) << 32 | (uint32_t)vertex);
    for (int64_t i = g->starts[vertex]; i < g->starts[vertex + 1]; i++) {
        if (g->weights[i] < s->lightest) continue;
        double per_epoch = 2 * (double)(g->weights[i] * s->inverse_max_weight);
        double start = 2 * phase(vertex, g->ends[i]) + per_epoch * s->epoch;
        int64_t end = (int64_t)(start + per_epoch);
        for (int64_t p = (int64_t)start; p < end; p++) {
            here = pull(s, here, s->at[g->ends[i]]);
            if (p & 1) here = push_at_random(s, here, vertex, &random);
        }
    }
    return here;
}

static void run_epoch(const descent *s, plane *y, plane *next, int n_threads)
{
    for (int64_t group = 0; group < GROUPS; group++) {
        int64_t members = (s->graph->n - group + GROUPS - 1) / GROUPS;
#pragma omp parallel num_threads(n_threads)
        {
#pragma omp for schedule(dynamic, 64)
            for (int64_t i = 0; i < members; i++) next[i] = move_vertex(s, (int32_t)(group + i * GROUPS));
#pragma omp for schedule(static)
            for (int64_t i = 0; i < members; i++) y[group + i * GROUPS] = next[i];
        }
    }
}

cpt_status cpt_umap_optimise(const cpt_umap_graph *graph, const cpt_umap_descent *descent_options, float *y,
                             const cpt_context *ctx, cpt_err *e)
{
    cpt_status status;
    plane *at = NULL, *next = NULL;
    float max_weight = 0;
    CPT_TRY(cpt_alloc(&at, (size_t)graph->n, sizeof *at, e));
    CPT_TRY(cpt_alloc(&next, (size_t)graph->n / GROUPS + 1, sizeof *next, e));
    memcpy(at, y, (size_t)graph->n * sizeof *at);
    for (int64_t i = 0; i < graph->starts[graph->n]; i++)
        if (graph->weights[i] > max_weight) max_weight = graph->weights[i];
    if (!(max_weight > 0)) goto done;

    descent s = {.graph = graph, .at = at, .a = (float)descent_options->a, .b = (float)descent_options->b,
                 .inverse_max_weight = 1 / max_weight, .negatives = descent_options->negatives,
                 .lightest = max_weight / (float)descent_options->n_epochs, .seed = ctx ? ctx->seed : 0};
    for (s.epoch = 0; s.epoch < descent_options->n_epochs; s.epoch++) {
        CPT_TRY(cpt_check_stop(ctx, e));
        s.rate = (float)(1 - (double)s.epoch / descent_options->n_epochs);
        run_epoch(&s, at, next, cpt_threads(ctx));
        cpt_progress(ctx, "layout", s.epoch + 1, descent_options->n_epochs, NULL);
    }
    memcpy(y, at, (size_t)graph->n * sizeof *at);
done:
    free(at);
    free(next);
    return status;
}

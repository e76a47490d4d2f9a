/* Problem: UMAP's stochastic gradient descent, with the same result for any number of threads.
 *
 * The published algorithm walks over edges and moves both ends at once, so its result depends on
 * the order and, with threads, on races. Here vertices own their moves. An edge of weight w
 * (largest weight
 * 1) has w events per epoch in either direction; the published event pulls both ends together and
 * pushes its head from `negatives` random vertices. Seen from one vertex that is, per edge and
 * event, two pulls (one as head, one as tail) and the pushes, and so it is done here. A vertex
 * makes its moves one after the other, with its own position as it stands and all others as they
 * were when its group's turn began. Vertices are dealt out to GROUPS groups that take turns, so
 * that a vertex sees nearly all others as they are now: were all to move at once, neighbours would
 * jump past each other.
 *
 * The two gradients depend on the squared distance only. They are tabulated over its bits: exponent
 * and leading mantissa bits are the index, the others interpolate (relative error below 1e-4). That
 * is several times faster than a power per move, and the same bytes with any libm.
 *
 * Cost per epoch: O(edges), about 100 ns per event. Random numbers are keyed by (seed, epoch,
 * vertex). Traps: positions are kept twice, and groups that had their turn are read from the second
 * copy, so one barrier per turn is enough; with few vertices even that costs more than a second
 * thread brings. Vertices at the same place neither pull nor push. */
#include "math/umap.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"

enum { GROUPS = 8, CHUNK = 32, PARALLEL_FROM = 4000 };
enum { TABLE_BITS = 6, OCTAVES = 64, FIRST_EXPONENT = 127 - 40, TABLE_SIZE = OCTAVES << TABLE_BITS };
static const float CLIP = 4;

typedef struct plane {
    float x, y;
} plane;

/* A function of d^2 from 2^-40 to 2^24: value at the start of each cell and its slope per unit of
 * the remaining mantissa bits. */
typedef struct table {
    float value[TABLE_SIZE + 1], slope[TABLE_SIZE + 1];
} table;

typedef struct edge {
    int32_t end;
    float step; /* epochs between two events */
    float next; /* epoch of the next event */
} edge;

typedef struct descent {
    int64_t n;
    int64_t *starts; /* [n + 1] */
    edge *edges;
    plane *at[2]; /* [n] before and after this epoch's turn */
    table pull, push;
    float rate;
    int32_t epoch, negatives;
    uint64_t seed;
} descent;

/* ---- gradients: displacement = coefficient(d^2) * difference, cut to +-CLIP per axis ---- */

static double pull_coefficient(double d2, double a, double b)
{
    double power = pow(d2, b);
    return -2 * a * b * power / (d2 * (1 + a * power));
}

static double push_coefficient(double d2, double a, double b)
{
    return 2 * b / ((0.001 + d2) * (1 + a * pow(d2, b)));
}

static void table_fill(table *t, double (*function)(double d2, double a, double b), double a, double b)
{
    for (int i = 0; i <= TABLE_SIZE; i++) {
        double octave = ldexp(1, FIRST_EXPONENT - 127 + (i >> TABLE_BITS));
        t->value[i] = (float)function(octave * (1 + (double)(i & ((1 << TABLE_BITS) - 1)) / (1 << TABLE_BITS)), a, b);
    }
    for (int i = 0; i < TABLE_SIZE; i++)
        t->slope[i] = (t->value[i + 1] - t->value[i]) / (float)(1 << (23 - TABLE_BITS));
}

static inline float table_at(const table *t, float d2)
{
    uint32_t bits;
    memcpy(&bits, &d2, sizeof bits);
    int32_t cell = (int32_t)(bits >> (23 - TABLE_BITS)) - (FIRST_EXPONENT << TABLE_BITS);
    cell = cell < 0 ? 0 : cell > TABLE_SIZE ? TABLE_SIZE : cell; /* constant beyond either end */
    return t->value[cell] + t->slope[cell] * (float)(int32_t)(bits & ((1u << (23 - TABLE_BITS)) - 1));
}

static inline float clip(float v)
{
    return v > CLIP ? CLIP : v < -CLIP ? -CLIP : v;
}

static inline plane displacement(const table *t, plane here, plane other)
{
    float dx = here.x - other.x, dy = here.y - other.y;
    float g = table_at(t, dx * dx + dy * dy);
    return (plane){clip(g * dx), clip(g * dy)};
}

/* ---- moves ---- */

/* The current position of any vertex while `group` has its turn. */
static inline plane position(const descent *s, int32_t vertex, int32_t group)
{
    return s->at[vertex % GROUPS < group][vertex];
}

static inline plane pull(const descent *s, plane here, plane to)
{
    plane d = displacement(&s->pull, here, to);
    return (plane){here.x + s->rate * d.x, here.y + s->rate * d.y};
}

/* All pushes of an event start from the same place: they do not wait for each other. */
static inline plane push_at_random(const descent *s, plane here, int32_t group, cpt_stream *random)
{
    plane sum = {0, 0};
    for (int32_t i = 0; i < s->negatives; i++) {
        int32_t other = (int32_t)(((uint64_t)cpt_stream_u32(random) * (uint64_t)s->n) >> 32);
        plane d = displacement(&s->push, here, position(s, other, group)); /* 0 from itself */
        sum.x += d.x;
        sum.y += d.y;
    }
    return (plane){here.x + s->rate * sum.x, here.y + s->rate * sum.y};
}

static void move_vertex(descent *s, int32_t vertex, int32_t group)
{
    plane here = s->at[0][vertex];
    float now = (float)s->epoch + 1;
    cpt_stream random;
    cpt_stream_init(&random, s->seed, CPT_RANDOM_UMAP, ((uint64_t)s->epoch + 1) << 32 | (uint32_t)vertex);
    for (int64_t i = s->starts[vertex]; i < s->starts[vertex + 1]; i++) {
        edge *to = &s->edges[i];
        for (; to->next <= now; to->next += to->step) {
            plane end = position(s, to->end, group);
            here = pull(s, here, end);
            here = push_at_random(s, here, group, &random);
            here = pull(s, here, end);
        }
    }
    s->at[1][vertex] = here;
}

static void run_epoch(descent *s, int n_threads)
{
#pragma omp parallel num_threads(n_threads) if (s->n >= PARALLEL_FROM)
    for (int32_t group = 0; group < GROUPS; group++) {
        int64_t members = (s->n - group + GROUPS - 1) / GROUPS;
#pragma omp for schedule(dynamic, CHUNK)
        for (int64_t i = 0; i < members; i++) move_vertex(s, (int32_t)(group + i * GROUPS), group);
    }
    plane *was = s->at[0];
    s->at[0] = s->at[1];
    s->at[1] = was;
}

/* ---- set-up ---- */

/* A phase in (0, 1] per edge and direction, so that equal edges are not all due together. */
static float phase(int32_t from, int32_t to)
{
    uint32_t h = (uint32_t)from * 0x9E3779B9u ^ ((uint32_t)to + 0x7F4A7C15u) * 0x85EBCA6Bu;
    h = (h ^ h >> 15) * 0x2C1B3C6Du;
    return ((float)((h ^ h >> 13) >> 8) + 1) * 0x1p-24f;
}

/* Edges too light to have an event in all epochs are left out, as in the published code. */
static cpt_status take_edges(descent *s, const cpt_umap_graph *g, int32_t n_epochs, cpt_err *e)
{
    float heaviest = 0;
    cpt_status status;
    CPT_TRY(cpt_alloc(&s->starts, (size_t)g->n + 1, sizeof *s->starts, e));
    CPT_TRY(cpt_alloc(&s->edges, (size_t)g->starts[g->n], sizeof *s->edges, e));
    for (int64_t i = 0; i < g->starts[g->n]; i++)
        if (g->weights[i] > heaviest) heaviest = g->weights[i];
    float lightest = heaviest / (float)n_epochs;
    int64_t n = 0;
    for (int64_t v = 0; v < g->n; v++) {
        for (int64_t i = g->starts[v]; i < g->starts[v + 1]; i++) {
            if (!(g->weights[i] > 0) || g->weights[i] < lightest) continue;
            float step = heaviest / g->weights[i];
            s->edges[n++] = (edge){g->ends[i], step, step * phase((int32_t)v, g->ends[i])};
        }
        s->starts[v + 1] = n;
    }
done:
    return status;
}

cpt_status cpt_umap_optimise(const cpt_umap_graph *graph, const cpt_umap_descent *o, float *y,
                             const cpt_context *ctx, cpt_err *e)
{
    cpt_status status;
    descent *s = NULL;
    plane *memory[2] = {NULL, NULL};
    CPT_TRY(cpt_alloc(&s, 1, sizeof *s, e));
    CPT_TRY(take_edges(s, graph, o->n_epochs, e));
    for (int i = 0; i < 2; i++) CPT_TRY(cpt_alloc(&memory[i], (size_t)graph->n, sizeof *memory[i], e));
    memcpy(memory[0], y, (size_t)graph->n * sizeof *memory[0]);
    s->at[0] = memory[0];
    s->at[1] = memory[1];
    s->n = graph->n;
    s->negatives = o->negatives;
    s->seed = ctx ? ctx->seed : 0;
    table_fill(&s->pull, pull_coefficient, o->a, o->b);
    table_fill(&s->push, push_coefficient, o->a, o->b);

    for (s->epoch = 0; s->epoch < o->n_epochs; s->epoch++) {
        CPT_TRY(cpt_check_stop(ctx, e));
        s->rate = (float)(1 - (double)s->epoch / o->n_epochs);
        run_epoch(s, cpt_threads(ctx));
        cpt_progress(ctx, "layout", s->epoch + 1, o->n_epochs, NULL);
    }
    memcpy(y, s->at[0], (size_t)graph->n * sizeof *s->at[0]);
done:
    for (int i = 0; i < 2; i++) free(memory[i]);
    if (s) {
        free(s->starts);
        free(s->edges);
    }
    free(s);
    return status;
}

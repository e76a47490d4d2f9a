/* Problem: UMAP's stochastic gradient descent, with the same result for any number of threads.
 *
 * The published algorithm walks over edges and moves both ends at once, so its result depends on
 * the order and, with threads, on races. Here vertices own their moves. An edge of weight w
 * (largest weight 1) has w events per epoch in either direction; the published event pulls both ends together and
 * pushes its head from `negatives` random vertices. Seen from one vertex that is, per edge and
 * event, two pulls (one as head, one as tail) and the pushes, and so it is done here. A vertex
 * makes its moves one after the other, with its own position as it stands and all others as they
 * were when its group's turn began. Vertices are dealt out to groups that take turns, so
 * that a vertex sees nearly all others as they are now: were all to move at once, neighbours would
 * jump past each other.
 *
 * The two gradients depend on the squared distance only. They are tabulated over its bits: exponent
 * and leading mantissa bits are the index, the others interpolate (relative error below 1e-4). That
 * is several times faster than a power per move, and the same bytes with any libm.
 *
 * Vertices of a group do not wait for each other: they move in lanes (kernels/moves.c).
 *
 * Cost per epoch: O(edges), about 20 ns per event. Random numbers are keyed by (seed, epoch,
 * vertex). Traps: positions are kept twice, and groups that had their turn are read from the second
 * copy, so one barrier per turn is enough; with few vertices even that costs more than a second
 * thread brings. Vertices at the same place neither pull nor push. */
#include "math/umap.h"
#include "math/moves.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"

enum { CHUNK = 4, PARALLEL_FROM = 4000 };
static const float CLIP = 4;

typedef struct edge {
    int32_t end;
    float step; /* epochs between two events, at least 1 */
    float next; /* epoch of the next event */
} edge;

typedef struct descent {
    int64_t n;
    int64_t *starts; /* [n + 1] by slot: group after group, as the turns come */
    edge *edges;     /* likewise, so that each turn reads on */
    cpt_plane *at;   /* [2 n] before and after this epoch's turn */
    int64_t most_edges; /* of a vertex */
    cpt_moves moves;
    const cpt_moves_kernels *kernels;
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

static void table_fill(cpt_table_cell *t, double (*function)(double d2, double a, double b), double a,
                       double b)
{
    for (int i = 0; i <= CPT_TABLE_SIZE; i++) {
        double octave = ldexp(1, CPT_TABLE_FIRST - 127 + (i >> CPT_TABLE_BITS));
        double within = (double)(i & ((1 << CPT_TABLE_BITS) - 1)) / (1 << CPT_TABLE_BITS);
        t[i].value = (float)function(octave * (1 + within), a, b);
    }
    for (int i = 0; i < CPT_TABLE_SIZE; i++)
        t[i].slope = (t[i + 1].value - t[i].value) / (float)(1 << (23 - CPT_TABLE_BITS));
}

static float table_at(const cpt_table_cell *t, float d2)
{
    uint32_t bits;
    memcpy(&bits, &d2, sizeof bits);
    int32_t cell = (int32_t)(bits >> (23 - CPT_TABLE_BITS)) - (CPT_TABLE_FIRST << CPT_TABLE_BITS);
    cell = cell < 0 ? 0 : cell > CPT_TABLE_SIZE ? CPT_TABLE_SIZE : cell;
    return t[cell].value + t[cell].slope * (float)(int32_t)(bits & ((1u << (23 - CPT_TABLE_BITS)) - 1));
}

/* ---- moves of one vertex, plainly ---- */

static float clip(float v)
{
    return v > CLIP ? CLIP : v < -CLIP ? -CLIP : v;
}

static cpt_plane displacement(const cpt_table_cell *t, cpt_plane here, cpt_plane other)
{
    float dx = here.x - other.x, dy = here.y - other.y;
    float g = table_at(t, dx * dx + dy * dy);
    return (cpt_plane){clip(g * dx), clip(g * dy)};
}

static cpt_plane moved(const cpt_moves *m, cpt_plane here, cpt_plane by)
{
    return (cpt_plane){here.x + m->rate * by.x, here.y + m->rate * by.y};
}

/* All pushes of an event start from the same place: they do not wait for each other. */
static cpt_plane push_at_random(const cpt_moves *m, cpt_plane here, cpt_stream *random)
{
    cpt_plane sum = {0, 0};
    for (int32_t i = 0; i < m->negatives; i++) {
        uint32_t other = (uint32_t)(((uint64_t)cpt_stream_u32(random) * m->n) >> 32);
        cpt_plane d = displacement(m->push, here, m->at[cpt_moves_place(m, other)]); /* 0 from itself */
        sum.x += d.x;
        sum.y += d.y;
    }
    return moved(m, here, sum);
}

void cpt_moves_plain(const cpt_moves *m, const uint32_t *vertices, const int32_t *n_events,
                     const int32_t *ends, float *x, float *y)
{
    for (int l = 0; l < CPT_MOVES_LANES; l++) {
        cpt_plane here = {x[l], y[l]};
        cpt_stream random = {.key = {m->key[0], m->key[1]},
                             .counter = {0, m->purpose, vertices[l], m->epoch}, .used = 4};
        for (int32_t event = 0; event < n_events[l]; event++) {
            cpt_plane end = m->at[ends[event * CPT_MOVES_LANES + l]];
            here = moved(m, here, displacement(m->pull, here, end));
            here = push_at_random(m, here, &random);
            here = moved(m, here, displacement(m->pull, here, end));
        }
        x[l] = here.x;
        y[l] = here.y;
    }
}

/* ---- an epoch ---- */

static int64_t members_of(int64_t n, int64_t group)
{
    return (n - group + CPT_MOVES_GROUPS - 1) / CPT_MOVES_GROUPS;
}

/* Of the group's first member. */
static int64_t slot_of(int64_t n, int64_t group)
{
    int64_t slot = 0;
    for (int64_t g = 0; g < group; g++) slot += members_of(n, g);
    return slot;
}

/* Events that are due, into column l of `ends`. Steps are at least 1: an edge has at most one. */
static int32_t due_events(descent *s, int64_t slot, int32_t *ends, int l)
{
    const float now = (float)(s->moves.epoch);
    int32_t n = 0;
    for (int64_t i = s->starts[slot]; i < s->starts[slot + 1]; i++) {
        edge *to = &s->edges[i];
        const int due = to->next <= now;
        ends[n * CPT_MOVES_LANES + l] = cpt_moves_place(&s->moves, (uint32_t)to->end);
        n += due;
        to->next = due ? to->next + to->step : to->next;
    }
    return n;
}

/* Members [first, first + CPT_MOVES_LANES) of the group whose turn it is. */
static void move_lanes(descent *s, int64_t first, int64_t members, int32_t *ends)
{
    const int64_t first_slot = slot_of(s->n, s->moves.group);
    const cpt_moves *m = &s->moves;
    uint32_t vertices[CPT_MOVES_LANES];
    int32_t n_events[CPT_MOVES_LANES] = {0};
    float x[CPT_MOVES_LANES] = {0}, y[CPT_MOVES_LANES] = {0};
    const int n = members - first < CPT_MOVES_LANES ? (int)(members - first) : CPT_MOVES_LANES;
    for (int l = 0; l < CPT_MOVES_LANES; l++) {
        const int64_t member = first + (l < n ? l : 0);
        vertices[l] = m->group + (uint32_t)member * CPT_MOVES_GROUPS;
        if (l >= n) continue;
        n_events[l] = due_events(s, first_slot + member, ends, l);
        x[l] = s->at[m->before + vertices[l]].x;
        y[l] = s->at[m->before + vertices[l]].y;
    }
    s->kernels->move(m, vertices, n_events, ends, x, y);
    for (int l = 0; l < n; l++) s->at[m->after + vertices[l]] = (cpt_plane){x[l], y[l]};
}

static void run_epoch(descent *s, int32_t *all_ends, int n_threads)
{
    const int64_t room = (s->most_edges + 1) * CPT_MOVES_LANES;
    for (uint32_t group = 0; group < CPT_MOVES_GROUPS; group++) {
        const int64_t members = members_of(s->n, group);
        s->moves.group = group;
#pragma omp parallel for schedule(dynamic, CHUNK) num_threads(n_threads) if (s->n >= PARALLEL_FROM)
        for (int64_t i = 0; i < members; i += CPT_MOVES_LANES)
            move_lanes(s, i, members, all_ends + omp_get_thread_num() * room);
    }
    uint32_t before = s->moves.before;
    s->moves.before = s->moves.after;
    s->moves.after = before;
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
    int64_t n = 0, slot = 0;
    for (int32_t group = 0; group < CPT_MOVES_GROUPS; group++)
        for (int64_t v = group; v < g->n; v += CPT_MOVES_GROUPS, slot++) {
            for (int64_t i = g->starts[v]; i < g->starts[v + 1]; i++) {
                if (!(g->weights[i] > 0) || g->weights[i] < lightest) continue;
                float step = heaviest / g->weights[i];
                s->edges[n++] = (edge){g->ends[i], step, step * phase((int32_t)v, g->ends[i])};
            }
            s->starts[slot + 1] = n;
            if (n - s->starts[slot] > s->most_edges) s->most_edges = n - s->starts[slot];
        }
done:
    return status;
}

static void prepare_moves(descent *s, const cpt_umap_descent *o, uint64_t seed)
{
    cpt_stream random; /* for the layout of its key and counter only */
    cpt_stream_init(&random, seed, CPT_RANDOM_UMAP, 0);
    cpt_moves *m = &s->moves;
    m->at = s->at;
    m->n = (uint32_t)s->n;
    m->after = m->n;
    m->negatives = o->negatives;
    m->key[0] = random.key[0], m->key[1] = random.key[1];
    m->purpose = random.counter[1];
    table_fill(m->pull, pull_coefficient, o->a, o->b);
    table_fill(m->push, push_coefficient, o->a, o->b);
    s->kernels = cpt_moves_kernels_get();
}

cpt_status cpt_umap_optimise(const cpt_umap_graph *graph, const cpt_umap_descent *o, float *y,
                             const cpt_context *ctx, cpt_err *e)
{
    cpt_status status;
    descent *s = NULL;
    int32_t *ends = NULL;
    const int n_threads = cpt_threads(ctx);
    CPT_TRY(cpt_alloc(&s, 1, sizeof *s, e));
    CPT_TRY(take_edges(s, graph, o->n_epochs, e));
    CPT_TRY(cpt_alloc(&s->at, 2 * (size_t)graph->n, sizeof *s->at, e));
    CPT_TRY(cpt_alloc(&ends, (size_t)n_threads * ((size_t)s->most_edges + 1),
                      CPT_MOVES_LANES * sizeof *ends, e));
    memcpy(s->at, y, (size_t)graph->n * sizeof *s->at);
    s->n = graph->n;
    prepare_moves(s, o, ctx ? ctx->seed : 0);

    for (int32_t epoch = 0; epoch < o->n_epochs; epoch++) {
        CPT_TRY(cpt_check_stop(ctx, e));
        s->moves.epoch = (uint32_t)epoch + 1;
        s->moves.rate = (float)(1 - (double)epoch / o->n_epochs);
        run_epoch(s, ends, n_threads);
        cpt_progress(ctx, "layout", epoch + 1, o->n_epochs, NULL);
    }
    memcpy(y, s->at + s->moves.before, (size_t)graph->n * sizeof *s->at);
done:
    if (s) {
        free(s->at);
        free(s->starts);
        free(s->edges);
    }
    free(s);
    free(ends);
    return status;
}

/* Problem: softmax(Q K' scale) V of one head and its gradients, without writing the scores out (math/head.h).
 *
 * Forward. Per panel of 32 keys: scores of all rows into 16 KB, weights and their parts out of them (kernels/head.c),
 * and after BATCH panels context += weights values, whose sums stay in memory of the call.
 *
 * Back, with weights P, context C and its gradient G: dP = G V', D = rows of (G . C), dS = scale P (dP - D);
 * dV = P' G, dK = dS' Q, dQ = dS K. A panel of P or dS is at once what stands on the right in the transposed products
 * dV' = G' P and dK' = Q' dS, whose left-hand sides are split once per block of rows, and, for dS, what stands on the
 * left in dQ. So no block is ever transposed. Five products of the size of one forward's two: 2.5 times its work. Keys,
 * values and their gradients are more than the second-level cache holds: a panel of them serves PIECES blocks of rows
 * before the next one comes. */
#include "math/head.h"

#include <string.h>

#include "base/cpu.h"

enum { PANEL = CPT_GEMM_PANEL, TILE = CPT_TILE, DWORDS = TILE * TILE, ROWS = CPT_HEAD_ROWS, BATCH = 4, PIECES = CPT_HEAD_BACK_ROWS / ROWS };

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t blocks_of(int64_t n) /* panels as well: both are 32 wide */
{
    return (n + PANEL - 1) / PANEL;
}

static int64_t whole_tiles(int64_t n)
{
    return (n + TILE - 1) / TILE * TILE;
}

bool cpt_in_parts(const cpt_packed *a, const cpt_packed *b)
{
    return a->parts > 0 && a->parts == b->parts && a->level == b->level;
}

/* ---- memory ---- */

enum { STEP_DWORDS = ROWS / TILE * BATCH * CPT_MAX_PARTS * DWORDS }; /* tiles of all rows and BATCH panels */

static int64_t row_dwords(int64_t size)
{
    return ROWS / TILE * blocks_of(size) * CPT_MAX_PARTS * DWORDS;
}

static int64_t turned_dwords(int64_t size)
{
    return whole_tiles(size) / TILE * (ROWS / PANEL) * CPT_MAX_PARTS * DWORDS;
}

static int64_t sum_floats(int64_t size)
{
    return blocks_of(size) * ROWS * PANEL;
}

/* Of the queries or one direction's gradients: rows, and turned. */
typedef struct split {
    uint32_t *rows, *turned;
} split;

static size_t shared_dwords(int64_t size)
{
    return 2 * ROWS * PANEL + (size_t)(whole_tiles(size) * ROWS) + 2 * (ROWS / PANEL) * CPT_MAX_PARTS * 2 * DWORDS;
}

static size_t own_dwords(int64_t size)
{
    return (size_t)(row_dwords(size) + turned_dwords(size) + STEP_DWORDS + sum_floats(size));
}

size_t cpt_head_bytes(int64_t size, int32_t n_w)
{
    return 4 * (shared_dwords(size) + (size_t)(n_w + 1) * (n_w ? PIECES : 1) * own_dwords(size));
}

static uint32_t *cut(uint32_t **at, int64_t dwords)
{
    uint32_t *here = *at;
    *at += dwords;
    return here;
}

/* ---- products ---- */

typedef struct engine {
    const cpt_gemm_kernels *gemm;
    const cpt_head_kernels *head;
    cpt_parts_kernel *multiply;
    int parts;
    bool amx;
} engine;

static engine begin(const cpt_packed *w)
{
    engine e = {.gemm = cpt_gemm_kernels_at(w->level),
                .head = cpt_head_kernels_at(w->level),
                .multiply = cpt_gemm_parts(w->level),
                .parts = w->parts,
                .amx = w->level >= CPT_CPU_AMX};
    if (e.amx) e.gemm->begin_amx();
    return e;
}

static void end(const engine *e)
{
    if (e->amx) e->gemm->end_amx();
}

/* Where block `block` of inputs begins in the panel of outputs that starts at `first`. */
static const uint32_t *panel_of(const cpt_packed *w, int64_t first, int64_t block)
{
    const int64_t step = w->parts * 2 * DWORDS;
    return (const uint32_t *)w->data + (first / PANEL * blocks_of(w->n_in) + block) * step;
}

/* sums [rows][PANEL] = rows times the panel of w at output `first`, all inputs. next: what comes then. */
static void one_panel(const engine *e, const cpt_packed *w, int64_t first, int64_t rows, const uint32_t *tiles,
                      const uint32_t *next, float *sums)
{
    const int64_t blocks = blocks_of(w->n_in);
    const cpt_tile_job job = {.parts = e->parts,
                              .rows = rows,
                              .outs = smaller(PANEL, w->n_out - first),
                              .blocks = blocks,
                              .tiles = tiles,
                              .row_tiles = blocks * e->parts,
                              .panel = panel_of(w, first, 0),
                              .sums = sums,
                              .next = (const char *)next,
                              .next_bytes = next ? blocks * e->parts * 2 * CPT_TILE_BYTES : 0};
    e->multiply(&job);
}

/* sums [blocks of size][ROWS][PANEL] += tiles of the panels up to `last` times those inputs of w [size][n]. */
static void add_batch(const engine *e, const cpt_packed *w, int64_t last, int64_t rows, const uint32_t *tiles,
                      float *sums)
{
    const int64_t from = last / BATCH * BATCH;
    for (int64_t first = 0; first < w->n_out; first += PANEL) {
        const cpt_tile_job job = {.parts = e->parts,
                                  .add = from > 0,
                                  .rows = rows,
                                  .outs = smaller(PANEL, w->n_out - first),
                                  .blocks = last - from + 1,
                                  .tiles = tiles,
                                  .row_tiles = BATCH * e->parts,
                                  .panel = panel_of(w, first, from),
                                  .sums = sums + first * ROWS};
        e->multiply(&job);
    }
}

static bool batch_ends(int64_t panel, int64_t n_panels)
{
    return panel % BATCH == BATCH - 1 || panel == n_panels - 1;
}

static uint32_t *batch_tiles(const engine *e, uint32_t *tiles, int64_t panel)
{
    return tiles + panel % BATCH * e->parts * DWORDS;
}

/* out [rows][size] = sums, times factors [rows] (NULL = 1). */
static void settle(int64_t rows, int64_t size, const float *sums, const float *factors, float *out, int64_t stride)
{
    for (int64_t first = 0; first < size; first += PANEL)
        for (int64_t r = 0; r < rows; r++) {
            const float *from = sums + first * ROWS + r * PANEL, factor = factors ? factors[r] : 1;
            for (int64_t j = 0; j < smaller(PANEL, size - first); j++) out[r * stride + first + j] = from[j] * factor;
        }
}

/* ---- forward ---- */

void cpt_head_context(const cpt_head *h, int64_t rows, const float *queries, int64_t query_stride, const float *bounds,
                      void *memory, float *context, int64_t stride, float *sums)
{
    const int64_t size = h->keys.n_in, n = h->keys.n_out, n_panels = blocks_of(n);
    const engine e = begin(&h->keys);
    float lanes[ROWS * TILE] __attribute__((aligned(64))) = {0}, factors[ROWS];
    uint32_t *at = memory;
    uint32_t *tiles = cut(&at, row_dwords(size)), *weights = cut(&at, STEP_DWORDS);
    float *scores = (float *)cut(&at, ROWS * PANEL), *out = (float *)cut(&at, sum_floats(size));
    e.gemm->split_rows(e.parts, rows, size, queries, query_stride, tiles);
    for (int64_t p = 0; p < n_panels; p++) {
        const cpt_score_block block = {rows, smaller(PANEL, n - p * PANEL), h->scale, bounds, scores};
        one_panel(&e, &h->keys, p * PANEL, rows, tiles,
                  p + 1 < n_panels ? panel_of(&h->keys, (p + 1) * PANEL, 0) : NULL, scores);
        e.head->weigh(e.parts, &block, lanes, BATCH * e.parts, batch_tiles(&e, weights, p));
        if (batch_ends(p, n_panels)) add_batch(&e, &h->values, p, rows, weights, out);
    }
    end(&e);
    for (int64_t r = 0; r < rows; r++) {
        double sum = 0;
        for (int64_t j = 0; j < TILE; j++) sum += (double)lanes[r * TILE + j];
        sums[r] = (float)sum;
        factors[r] = 1 / sums[r];
    }
    settle(rows, size, out, factors, context, stride);
}

/* ---- back ---- */

static split split_both(const engine *e, int64_t rows, int64_t size, const float *in, int64_t stride, float *turned,
                        uint32_t **at)
{
    const split s = {cut(at, row_dwords(size)), cut(at, turned_dwords(size))};
    e->gemm->split_rows(e->parts, rows, size, in, stride, s.rows);
    e->head->turn(rows, size, in, stride, turned, ROWS);
    e->gemm->split_rows(e->parts, size, rows, turned, ROWS, s.turned);
    return s;
}

size_t cpt_head_columns(int64_t n, int64_t size)
{
    return (size_t)(blocks_of(n) * whole_tiles(size) * PANEL);
}

/* One direction's part of a block of rows. */
typedef struct direction {
    split grads;
    uint32_t *tiles; /* of BATCH panels of slopes */
    float *to_queries, *to_keys, *to_values;
    float means[ROWS];
} direction;

enum { MOST_DIRECTIONS = 8 };

/* One of the PIECES. */
typedef struct block_back {
    const engine *e;
    const cpt_head_back *h;
    cpt_head_rows r;
    bool fresh;
    split queries;
    float *scores, *grads;      /* the same for all pieces, as the next two: right-hand panels */
    uint32_t *weights, *slopes;
    float factors[ROWS];
    direction d[MOST_DIRECTIONS];
} block_back;

/* columns [size][PANEL] (+)= turned rows times what the rows have in this panel. */
static void add_columns(const block_back *b, const uint32_t *turned, const uint32_t *panel, int64_t p, float *columns)
{
    const int64_t size = b->h->keys.n_in, blocks = blocks_of(b->r.rows);
    const cpt_tile_job job = {.parts = b->e->parts,
                              .add = !b->fresh,
                              .rows = size,
                              .outs = smaller(PANEL, b->h->keys.n_out - p * PANEL),
                              .blocks = blocks,
                              .tiles = turned,
                              .row_tiles = blocks * b->e->parts,
                              .panel = panel,
                              .sums = columns + p * whole_tiles(size) * PANEL};
    b->e->multiply(&job);
}

static void copy_panel(const cpt_head_rows *r, int64_t p, int64_t outs, const float *block, float *to)
{
    for (int64_t i = 0; i < r->rows; i++)
        memcpy(to + i * r->copy_stride + p * PANEL, block + i * PANEL, (size_t)outs * sizeof *to);
}

static void direction_panel(block_back *b, int32_t i, int64_t p, int64_t outs)
{
    const cpt_head_rows *r = &b->r;
    const cpt_head_back *h = b->h;
    direction *d = &b->d[i];
    const cpt_score_block block = {r->rows, outs, h->scale, NULL, b->grads};
    one_panel(b->e, &h->values, p * PANEL, r->rows, d->grads.rows, NULL, b->grads);
    if (r->slopes) copy_panel(r, p, outs, b->grads, r->slopes + i * r->slope_step);
    add_columns(b, d->grads.turned, b->weights, p, d->to_values);
    b->e->head->slopes(b->e->parts, &block, b->scores, d->means, BATCH * b->e->parts, batch_tiles(b->e, d->tiles, p),
                       b->slopes);
    add_columns(b, b->queries.turned, b->slopes, p, d->to_keys);
    if (batch_ends(p, blocks_of(h->keys.n_out))) add_batch(b->e, &h->turned, p, r->rows, d->tiles, d->to_queries);
}

static void block_panel(block_back *b, int64_t p)
{
    const cpt_head_rows *r = &b->r;
    const cpt_head_back *h = b->h;
    const int64_t outs = smaller(PANEL, h->keys.n_out - p * PANEL);
    const cpt_score_block block = {r->rows, outs, h->scale, r->bounds, b->scores};
    one_panel(b->e, &h->keys, p * PANEL, r->rows, b->queries.rows, panel_of(&h->values, p * PANEL, 0), b->scores);
    b->e->head->normal(b->e->parts, &block, b->factors, b->scores, b->weights);
    if (r->weights) copy_panel(r, p, outs, b->scores, r->weights);
    for (int32_t i = 0; i < h->n_w; i++) direction_panel(b, i, p, outs);
}

/* Rows first .. first + rows of the call's. */
static cpt_head_rows rows_from(const cpt_head_rows *whole, int64_t first, int64_t rows)
{
    cpt_head_rows r = *whole;
    r.rows = rows;
    r.queries += first * r.query_stride;
    r.to_queries += first * r.query_stride;
    r.context += first * r.stride;
    r.grads += first * r.stride;
    r.bounds += first;
    r.sums += first;
    if (r.weights) r.weights += first * r.copy_stride;
    if (r.slopes) r.slopes += first * r.copy_stride;
    return r;
}

static void prepare(block_back *b, float *turned, uint32_t **at)
{
    const cpt_head_rows *r = &b->r;
    const cpt_head_back *h = b->h;
    const int64_t size = h->keys.n_in, columns = (int64_t)cpt_head_columns(h->keys.n_out, size);
    b->queries = split_both(b->e, r->rows, size, r->queries, r->query_stride, turned, at);
    for (int64_t i = 0; i < r->rows; i++) b->factors[i] = 1 / r->sums[i];
    for (int32_t i = 0; i < h->n_w; i++) {
        direction *d = &b->d[i];
        const float *grads = r->grads + i * r->step;
        d->grads = split_both(b->e, r->rows, size, grads, r->stride, turned, at);
        d->tiles = cut(at, STEP_DWORDS);
        d->to_queries = (float *)cut(at, sum_floats(size));
        d->to_keys = h->to_keys + i * columns;
        d->to_values = h->to_values + i * columns;
        b->e->head->dots(r->rows, size, grads, r->context, r->stride, d->means);
    }
}

void cpt_head_rows_back(cpt_head_back *h, const cpt_head_rows *r)
{
    const int64_t n = h->keys.n_out, size = h->keys.n_in, pieces = (r->rows + ROWS - 1) / ROWS;
    const engine e = begin(&h->keys);
    block_back b[PIECES];
    uint32_t *at = h->memory;
    float *scores = (float *)cut(&at, ROWS * PANEL), *grads = (float *)cut(&at, ROWS * PANEL);
    float *turned = (float *)cut(&at, whole_tiles(size) * ROWS);
    uint32_t *weights = cut(&at, ROWS / PANEL * CPT_MAX_PARTS * 2 * DWORDS);
    uint32_t *slopes = cut(&at, ROWS / PANEL * CPT_MAX_PARTS * 2 * DWORDS);
    for (int64_t i = 0; i < pieces; i++) {
        b[i].e = &e;
        b[i].h = h;
        b[i].r = rows_from(r, i * ROWS, smaller(ROWS, r->rows - i * ROWS));
        b[i].fresh = h->fresh && i == 0;
        b[i].scores = scores;
        b[i].grads = grads;
        b[i].weights = weights;
        b[i].slopes = slopes;
        prepare(&b[i], turned, &at);
    }
    for (int64_t p = 0; p < blocks_of(n); p++)
        for (int64_t i = 0; i < pieces; i++) block_panel(&b[i], p);
    end(&e);
    h->fresh = false;
    for (int64_t i = 0; i < pieces; i++)
        for (int32_t k = 0; k < h->n_w; k++)
            settle(b[i].r.rows, size, b[i].d[k].to_queries, NULL, b[i].r.to_queries + k * r->query_step,
                   r->query_stride);
}

void cpt_head_unfold(int64_t n, int64_t size, const float *columns, float *out, int64_t stride)
{
    const cpt_head_kernels *k = cpt_head_kernels_get();
    for (int64_t p = 0; p < blocks_of(n); p++)
        k->turn(size, smaller(PANEL, n - p * PANEL), columns + p * whole_tiles(size) * PANEL, PANEL,
                out + p * PANEL * stride, stride);
}

/* Problem: products with a matrix that is packed once (math/gemm.h), in the calling thread, the same for a row whatever
 * rows it is computed with.
 *
 * Method. Rows go in blocks, packed outputs in panels of 32; a kernel (kernels/gemm.c) adds up a block of rows x panel
 * in a buffer of the first-level cache, and an epilogue writes it out. Of bfloat16 parts a row has to be split first:
 * once per block of rows, into memory that the thread keeps. A block has as many rows as let the split rows stay in the
 * second-level cache beside a panel, while each panel is read once per block.
 *
 * Where that memory cannot be had, blocks are 32 rows and the inputs go through a small buffer on the stack, split anew
 * for every panel: slow, the same bytes. */
#include "math/gemm.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/memory.h"

enum {
    PANEL = CPT_GEMM_PANEL,
    MAX_ROWS = CPT_GEMM_ROWS,
    SPLIT_BYTES = 1 << 20,      /* of split rows, in the second-level cache: every panel is read once per so many */
    MAX_SPLIT_ROWS = 512,
    PLAIN_ROWS = 126,           /* a multiple of the register tiles' 14 and 6 */
    SMALL_ROWS = 32,            /* without memory */
    SMALL_BLOCKS = 8,
    FEW_INPUTS = 16             /* below, tiles of 32 inputs are mostly padding: f32 as they are */
};

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t blocks_of(int64_t n_in)
{
    return (n_in + CPT_TILE_INPUTS - 1) / CPT_TILE_INPUTS;
}

/* ---- packing ---- */

static int parts_of(int level, cpt_precision precision, int64_t n_in)
{
    if (precision == CPT_GEMM_BF16) return 1;
    if (level < CPT_CPU_AMX || n_in <= FEW_INPUTS) return 0;
    return precision == CPT_GEMM_SPLIT ? 2 : 3;
}

static size_t panel_bytes(int parts, int64_t n_in)
{
    return parts ? (size_t)blocks_of(n_in) * (size_t)parts * 2 * CPT_TILE_BYTES : (size_t)n_in * PANEL * sizeof(float);
}

static size_t packed_bytes(int parts, int64_t n_out, int64_t n_in)
{
    return (size_t)((n_out + PANEL - 1) / PANEL) * panel_bytes(parts, n_in);
}

size_t cpt_packed_bytes(cpt_precision precision, int64_t n_out, int64_t n_in)
{
    return packed_bytes(parts_of(cpt_cpu_level(), precision, n_in), n_out, n_in);
}

static void *panel_at(const cpt_packed *p, int64_t first)
{
    return (char *)p->data + (size_t)(first / PANEL) * panel_bytes(p->parts, p->n_in);
}

void cpt_repack(const cpt_packed *p, int64_t first, int64_t end, const float *w, int64_t out_step, int64_t in_step)
{
    const cpt_gemm_kernels *k = cpt_gemm_kernels_at(p->level);
    for (int64_t o = first; o < end; o += PANEL) {
        const int64_t outs = smaller(PANEL, p->n_out - o);
        const float *from = w + (o - first) * out_step;
        if (p->parts) k->pack_parts(p->parts, p->n_in, outs, from, out_step, in_step, panel_at(p, o));
        else k->pack_plain(p->n_in, outs, from, out_step, in_step, panel_at(p, o));
    }
}

static cpt_packed packed_at(int level, cpt_precision precision, int64_t n_out, int64_t n_in, void *memory)
{
    return (cpt_packed){.n_out = n_out,
                        .n_in = n_in,
                        .level = level,
                        .parts = parts_of(level, precision, n_in),
                        .data = memory};
}

cpt_packed cpt_packed_of(cpt_precision precision, int64_t n_out, int64_t n_in, void *memory)
{
    return packed_at(cpt_cpu_level(), precision, n_out, n_in, memory);
}

static void pack_for(int level, cpt_precision precision, int64_t n_out, int64_t n_in, const float *w, int64_t out_step,
                     int64_t in_step, void *memory, cpt_packed *out)
{
    *out = packed_at(level, precision, n_out, n_in, memory);
    cpt_repack(out, 0, n_out, w, out_step, in_step);
}

void cpt_pack(cpt_precision precision, int64_t n_out, int64_t n_in, const float *w, int64_t out_step, int64_t in_step,
              void *memory, cpt_packed *out)
{
    pack_for(cpt_cpu_level(), precision, n_out, n_in, w, out_step, in_step, memory, out);
}

bool cpt_pack_at(int level, cpt_precision precision, int64_t n_out, int64_t n_in, const float *w, int64_t out_step,
                 int64_t in_step, void *memory, cpt_packed *out)
{
    if (level > cpt_cpu_best()) return false;
    pack_for(level, precision, n_out, n_in, w, out_step, in_step, memory, out);
    return true;
}

cpt_status cpt_packed_new(cpt_precision precision, int64_t n_out, int64_t n_in, const float *w, int64_t out_step,
                          int64_t in_step, cpt_packed *out, cpt_err *e)
{
    const int level = cpt_cpu_level(), parts = parts_of(level, precision, n_in);
    const size_t n_panels = (size_t)((n_out + PANEL - 1) / PANEL);
    void *memory = NULL;
    *out = (cpt_packed){0};
    cpt_status status = cpt_alloc(&memory, n_panels, panel_bytes(parts, n_in), e);
    if (status == CPT_OK) pack_for(level, precision, n_out, n_in, w, out_step, in_step, memory, out);
    return status;
}

void cpt_packed_free(cpt_packed *p)
{
    free(p->data);
    *p = (cpt_packed){0};
}

/* ---- the thread's memory for split rows ---- */

typedef struct scratch {
    size_t bytes;
    char padding[56];
    char data[]; /* 64-byte aligned as the struct is */
} scratch;

static pthread_key_t scratch_key;
static bool have_key;

static void make_key(void)
{
    have_key = pthread_key_create(&scratch_key, free) == 0;
}

/* NULL where there is none. Given back when the thread ends. */
static uint32_t *thread_scratch(size_t bytes)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_key);
    if (!have_key) return NULL;
    scratch *s = pthread_getspecific(scratch_key);
    if (s && s->bytes >= bytes) return (uint32_t *)s->data;
    if (bytes > SIZE_MAX / 2) return NULL;
    const size_t whole = (bytes + sizeof(scratch) + 63) / 64 * 64;
    scratch *grown = aligned_alloc(64, whole);
    if (!grown) return NULL;
    grown->bytes = whole - sizeof(scratch);
    if (pthread_setspecific(scratch_key, grown) != 0) {
        free(grown);
        return NULL;
    }
    free(s);
    return (uint32_t *)grown->data;
}

/* ---- products ---- */

typedef struct product {
    const cpt_packed *w;
    const cpt_gemm_kernels *k;
    cpt_parts_kernel *parts;
    const float *in;
    int64_t in_stride;
    cpt_epilogue epilogue;
    float *out; /* or a sink */
    int64_t out_stride;
    cpt_gemm_sink *sink;
    void *user;
} product;

static void finish(const product *p, int64_t row, int64_t rows, int64_t first, int64_t outs, float *sums)
{
    const cpt_epilogue *e = &p->epilogue;
    if (!p->sink) {
        p->k->finish(rows, outs, sums, e, first, row, p->out + row * p->out_stride + first, p->out_stride);
        return;
    }
    if (e->bias || e->add || e->relu || (e->scale != 0 && e->scale != 1))
        p->k->finish(rows, outs, sums, e, first, row, sums, PANEL);
    p->sink(p->user, row, rows, first, outs, sums);
}

/* Without memory for all inputs of the rows. */
static void add_small(const product *p, int64_t row, const cpt_tile_job *whole)
{
    uint32_t tiles[SMALL_ROWS / CPT_TILE * SMALL_BLOCKS * CPT_MAX_PARTS * CPT_TILE_BYTES / 4]
        __attribute__((aligned(64)));
    enum { STEP = SMALL_BLOCKS * CPT_TILE_INPUTS };
    cpt_tile_job job = *whole;
    job.tiles = tiles;
    for (int64_t i = 0; i < p->w->n_in; i += STEP) {
        const int64_t here = smaller(STEP, p->w->n_in - i);
        p->k->split_rows(job.parts, job.rows, here, p->in + row * p->in_stride + i, p->in_stride, tiles);
        job.add = i > 0;
        job.blocks = blocks_of(here);
        job.row_tiles = job.blocks * job.parts;
        job.panel = whole->panel + i / CPT_TILE_INPUTS * job.parts * 2 * CPT_TILE_BYTES / 4;
        p->parts(&job);
    }
}

/* Whether tiles of sums can be written where the results go: nothing becomes of them, and all are whole. */
static bool straight_out(const product *p, int64_t rows, int64_t outs)
{
    const cpt_epilogue *e = &p->epilogue;
    return p->k->parts_amx && p->parts == p->k->parts_amx && !p->sink && outs == PANEL && rows % CPT_TILE == 0 &&
           !e->bias && !e->add && !e->relu && (e->scale == 0 || e->scale == 1);
}

/* Rows `row` .. `row + rows` of one panel of outputs, of parts; their tiles, or NULL where there is no memory. */
static void block_of_parts(const product *p, int64_t row, int64_t rows, int64_t first, const uint32_t *tiles,
                           float *sums)
{
    const cpt_packed *w = p->w;
    const int64_t blocks = blocks_of(w->n_in), left = w->n_out - first;
    cpt_tile_job job = {
        .parts = w->parts,
        .rows = rows,
        .outs = smaller(PANEL, left),
        .blocks = blocks,
        .tiles = tiles,
        .row_tiles = blocks * w->parts,
        .panel = panel_at(w, first),
        .sums = sums,
        .next = panel_at(w, left > PANEL ? first + PANEL : 0), /* the first again, for the next rows */
        .next_bytes = (int64_t)panel_bytes(w->parts, w->n_in),
        .out = p->sink ? NULL : (const char *)(p->out + row * p->out_stride + first),
        .out_bytes = p->out_stride * (int64_t)sizeof(float)};
    if (tiles && straight_out(p, rows, job.outs)) {
        job.sums = p->out + row * p->out_stride + first;
        job.sums_stride = p->out_stride;
        p->parts(&job);
        return;
    }
    if (tiles) p->parts(&job);
    else add_small(p, row, &job);
    finish(p, row, rows, first, job.outs, sums);
}

/* Splits the rows once, then goes through the panels. */
static void rows_of_parts(const product *p, int64_t row, int64_t rows, uint32_t *tiles, float *sums)
{
    const cpt_packed *w = p->w;
    const int64_t row_tiles = blocks_of(w->n_in) * w->parts, step = tiles ? MAX_ROWS : SMALL_ROWS;
    if (tiles) p->k->split_rows(w->parts, rows, w->n_in, p->in + row * p->in_stride, p->in_stride, tiles);
    for (int64_t first = 0; first < w->n_out; first += PANEL)
        for (int64_t r = 0; r < rows; r += step)
            block_of_parts(p, row + r, smaller(step, rows - r), first,
                           tiles ? tiles + r * row_tiles * CPT_TILE_BYTES / CPT_TILE / 4 : NULL, sums);
}

static void rows_of_plain(const product *p, int64_t row, int64_t rows, float *sums)
{
    const cpt_packed *w = p->w;
    for (int64_t first = 0; first < w->n_out; first += PANEL) {
        memset(sums, 0, (size_t)(rows * PANEL) * sizeof *sums);
        p->k->plain(rows, w->n_in, p->in + row * p->in_stride, p->in_stride, panel_at(w, first), sums);
        finish(p, row, rows, first, smaller(PANEL, w->n_out - first), sums);
    }
}

cpt_parts_kernel *cpt_gemm_parts(int level)
{
    const cpt_gemm_kernels *k = cpt_gemm_kernels_at(level);
    return level >= CPT_CPU_AMX ? k->parts_amx : level >= CPT_CPU_AVX512_BF16 ? k->parts_bf16 : k->parts;
}

static void run(product *p, int64_t n)
{
    const cpt_packed *w = p->w;
    const bool amx = w->parts && w->level >= CPT_CPU_AMX;
    float sums[MAX_ROWS * PANEL] __attribute__((aligned(64)));
    p->k = cpt_gemm_kernels_at(w->level);
    p->parts = cpt_gemm_parts(w->level);
    int64_t rows = PLAIN_ROWS;
    uint32_t *tiles = NULL;
    if (w->parts) {
        const int64_t row_bytes = blocks_of(w->n_in) * w->parts * CPT_TILE_BYTES / CPT_TILE;
        rows = smaller(MAX_SPLIT_ROWS, SPLIT_BYTES / row_bytes);
        rows = rows >= MAX_ROWS ? rows / MAX_ROWS * MAX_ROWS : rows / SMALL_ROWS * SMALL_ROWS;
        if (rows < SMALL_ROWS) rows = SMALL_ROWS;
        if (rows > n) rows = (n + CPT_TILE - 1) / CPT_TILE * CPT_TILE;
        tiles = thread_scratch((size_t)rows * (size_t)row_bytes);
    }
    if (amx) p->k->begin_amx();
    for (int64_t row = 0; row < n; row += rows) {
        if (w->parts) rows_of_parts(p, row, smaller(rows, n - row), tiles, sums);
        else rows_of_plain(p, row, smaller(rows, n - row), sums);
    }
    if (amx) p->k->end_amx();
}

void cpt_multiply(const cpt_packed *w, int64_t n, const float *in, int64_t in_stride, float *out, int64_t out_stride,
                  const cpt_epilogue *epilogue)
{
    product p = {.w = w, .in = in, .in_stride = in_stride, .out = out, .out_stride = out_stride};
    if (epilogue) p.epilogue = *epilogue;
    run(&p, n);
}

void cpt_multiply_into(const cpt_packed *w, int64_t n, const float *in, int64_t in_stride,
                       const cpt_epilogue *epilogue, cpt_gemm_sink *sink, void *user)
{
    product p = {.w = w, .in = in, .in_stride = in_stride, .sink = sink, .user = user};
    if (epilogue) p.epilogue = *epilogue;
    run(&p, n);
}

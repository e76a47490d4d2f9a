/* Matrix products with a packed right-hand side (math/gemm.h): what is compiled per level.
 *
 * f32. A tile of rows x 2 vectors of outputs stays in registers (28 of 32 with AVX-512); per input it loads two vectors
 * of weights and broadcasts one number of each row, which is read in place. Inputs go in chunks so that a chunk of the
 * panel stays in the first-level cache for all rows of the block. Every sum is one chain over ascending inputs.
 *
 * bfloat16. A number is the sum of `parts` bfloat16, each the rest rounded to nearest: one part has 8 bits, two have 16,
 * three have all 24. Of the products a_i b_j those with i + j <= parts + 1 are added (1, 3 or 6). The AMX kernel holds
 * 32 x 32 sums in four tile registers and walks through pairs of parts in an order that loads few tiles:
 * (3,1) (1,1) (2,1) (2,2) (1,2) (1,3). A tile product sums its 32 inputs from 0 and then adds to the sum, so that chains
 * are short; hence the good accuracy. */
#include "math/gemm.h"

#include <string.h>

#include "base/cpu.h"
#include "math/kernels/parts.h"

enum { PANEL = CPT_GEMM_PANEL, TILE = CPT_TILE, DWORDS = TILE * TILE, CHUNK = 256 };

/* ---- packing ---- */

static void pack_plain(int64_t n_in, int64_t outs, const float *w, int64_t out_step, int64_t in_step, float *panel)
{
    if (outs < PANEL) memset(panel, 0, (size_t)n_in * PANEL * sizeof *panel);
    if (out_step == 1) {
        for (int64_t i = 0; i < n_in; i++) memcpy(panel + i * PANEL, w + i * in_step, (size_t)outs * sizeof *w);
        return;
    }
    for (int64_t from = 0; from < n_in; from += TILE) { /* whole lines of the panel at a time */
        const int64_t end = from + TILE < n_in ? from + TILE : n_in;
        for (int64_t o = 0; o < outs; o++)
            for (int64_t i = from; i < end; i++) panel[i * PANEL + o] = w[o * out_step + i * in_step];
    }
}

#ifdef HAVE_AVX512
/* As below; the third part is what is left as it is, and only the first looks for NaN, whose rest is NaN again. */
static inline __attribute__((always_inline)) void split_pairs(int parts, const floats *low_in,
                                                              const floats *high_in, int64_t step, uint32_t *out)
{
    const floats low = *low_in, high = *high_in;
    const __m512i half = _mm512_set1_epi32(0x8000), upper = _mm512_set1_epi32((int)0xffff0000u);
    if (parts == 1) {
        words a, b;
        round_part(&low, true, &a);
        round_part(&high, true, &b);
        _mm512_store_si512(out, (__m512i)(a >> 16 | b));
        return;
    }
    __m512 x = (__m512)low, y = (__m512)high;
    for (int part = 0; part < parts; part++) {
        __m512i a = _mm512_castps_si512(x), b = _mm512_castps_si512(y);
        if (part == 0) {
            a = _mm512_mask_add_epi32(a, _mm512_cmp_ps_mask(x, x, _CMP_ORD_Q), a, half);
            b = _mm512_mask_add_epi32(b, _mm512_cmp_ps_mask(y, y, _CMP_ORD_Q), b, half);
        } else if (part == 1) {
            a = _mm512_add_epi32(a, half);
            b = _mm512_add_epi32(b, half);
        }
        a = _mm512_and_si512(a, upper);
        b = _mm512_and_si512(b, upper);
        _mm512_store_si512(out + part * step, _mm512_or_si512(_mm512_srli_epi32(a, 16), b));
        x = _mm512_sub_ps(x, _mm512_castsi512_ps(a));
        y = _mm512_sub_ps(y, _mm512_castsi512_ps(b));
    }
}
#else
/* The parts of inputs p and p + 16 of a block, as pairs: out [parts][step] dwords apart. */
static inline __attribute__((always_inline)) void split_pairs(int parts, const floats *low_in,
                                                              const floats *high_in, int64_t step, uint32_t *out)
{
    floats low = *low_in, high = *high_in; /* by address: how vectors are passed depends on the level */
    for (int part = 0; part < parts; part++) {
        words a, b;
        round_part(&low, parts == 1, &a);
        round_part(&high, parts == 1, &b);
        const words pairs = a >> 16 | b;
        memcpy(out + part * step, &pairs, sizeof pairs);
        low -= (floats)a;
        high -= (floats)b;
    }
}
#endif

static inline __attribute__((always_inline)) void load_some(const float *from, int64_t n, floats *out)
{
    if (n >= TILE) {
        memcpy(out, from, sizeof *out);
        return;
    }
    float some[TILE] = {0};
    for (int64_t i = 0; i < n; i++) some[i] = from[i];
    memcpy(out, some, sizeof *out);
}

/* Inputs of one row in blocks from .. end. */
static inline __attribute__((always_inline)) void split_some(int parts, int64_t from, int64_t end, int64_t n_in,
                                                             const float *in, uint32_t *to)
{
    for (int64_t b = from; b < end; b++) {
        const int64_t left = n_in - b * CPT_TILE_INPUTS;
        floats low, high = {0};
        load_some(in + b * CPT_TILE_INPUTS, left, &low);
        if (left > TILE) load_some(in + b * CPT_TILE_INPUTS + TILE, left - TILE, &high);
        split_pairs(parts, &low, &high, DWORDS, to + b * parts * DWORDS);
    }
}

/* A few blocks of inputs for 16 rows, then the next few: tiles are written close together. */
static inline __attribute__((always_inline)) void split_rows_of(int parts, int64_t rows, int64_t n_in, const float *in,
                                                                int64_t in_stride, uint32_t *tiles)
{
    enum { FEW = 4 };
    const int64_t blocks = (n_in + CPT_TILE_INPUTS - 1) / CPT_TILE_INPUTS;
    for (int64_t r = 0; r < rows; r += TILE, tiles += blocks * parts * DWORDS) {
        const int64_t here = rows - r < TILE ? rows - r : TILE;
        if (here < TILE) memset(tiles, 0, (size_t)(blocks * parts) * CPT_TILE_BYTES);
        for (int64_t b = 0; b < blocks; b += FEW)
            for (int64_t i = 0; i < here; i++)
                split_some(parts, b, b + FEW < blocks ? b + FEW : blocks, n_in, in + (r + i) * in_stride,
                           tiles + i * TILE);
    }
}

static void split_rows(int parts, int64_t rows, int64_t n_in, const float *in, int64_t in_stride, uint32_t *tiles)
{
    if (parts == 1) split_rows_of(1, rows, n_in, in, in_stride, tiles);
    else if (parts == 2) split_rows_of(2, rows, n_in, in, in_stride, tiles);
    else split_rows_of(3, rows, n_in, in, in_stride, tiles);
}

/* One tile per part: outputs 0 .. outs of one half of a panel, inputs of one block. */
static inline __attribute__((always_inline)) void pack_tile(int parts, int64_t ins, int64_t outs, const float *w,
                                                            int64_t out_step, int64_t in_step, uint32_t *tiles,
                                                            int64_t step)
{
    uint32_t turned[CPT_MAX_PARTS * DWORDS] __attribute__((aligned(64)));
    if (in_step == 1) { /* rows of inputs, then turned */
        for (int64_t o = 0; o < TILE; o++) {
            floats low = {0}, high = {0};
            if (o < outs) load_some(w + o * out_step, ins, &low);
            if (o < outs && ins > TILE) load_some(w + o * out_step + TILE, ins - TILE, &high);
            split_pairs(parts, &low, &high, DWORDS, turned + o * TILE);
        }
        for (int part = 0; part < parts; part++) transpose(turned + part * DWORDS, TILE, tiles + part * step, TILE);
        return;
    }
    if (out_step == 1) { /* rows of outputs, as the tile has them */
        for (int64_t p = 0; p < TILE; p++) {
            floats low = {0}, high = {0};
            if (p < ins && outs > 0) load_some(w + p * in_step, outs, &low);
            if (p + TILE < ins && outs > 0) load_some(w + (p + TILE) * in_step, outs, &high);
            split_pairs(parts, &low, &high, step, tiles + p * TILE);
        }
        return;
    }
    for (int64_t p = 0; p < TILE; p++) {
        float low[TILE] = {0}, high[TILE] = {0};
        for (int64_t o = 0; o < outs && p < ins; o++) low[o] = w[o * out_step + p * in_step];
        for (int64_t o = 0; o < outs && p + TILE < ins; o++) high[o] = w[o * out_step + (p + TILE) * in_step];
        floats a, b;
        memcpy(&a, low, sizeof a);
        memcpy(&b, high, sizeof b);
        split_pairs(parts, &a, &b, step, tiles + p * TILE);
    }
}

/* panel: [block][part][half][16 pairs][16 outputs] */
static void pack_parts(int parts, int64_t n_in, int64_t outs, const float *w, int64_t out_step, int64_t in_step,
                       uint32_t *panel)
{
    for (int64_t i = 0; i < n_in; i += CPT_TILE_INPUTS)
        for (int64_t half = 0; half < 2; half++) {
            const int64_t first = half * TILE, left = outs - first, here = left > TILE ? TILE : left;
            const int64_t ins = n_in - i < CPT_TILE_INPUTS ? n_in - i : CPT_TILE_INPUTS;
            const float *from = w + (here > 0 ? first * out_step : 0) + i * in_step;
            uint32_t *to = panel + (i / CPT_TILE_INPUTS * parts * 2 + half) * DWORDS;
            if (parts == 1) pack_tile(1, ins, here, from, out_step, in_step, to, 2 * DWORDS);
            else if (parts == 2) pack_tile(2, ins, here, from, out_step, in_step, to, 2 * DWORDS);
            else pack_tile(3, ins, here, from, out_step, in_step, to, 2 * DWORDS);
        }
}

/* ---- f32 ---- */

#if CPT_LEVEL == 2
enum { LANES = 16, ROWS = 14 };
#elif CPT_LEVEL == 1
enum { LANES = 8, ROWS = 6 };
#else
enum { LANES = 4, ROWS = 4 };
#endif
typedef float lanes __attribute__((vector_size(4 * LANES)));
enum { VECTORS = 2, WIDTH = VECTORS * LANES };

/* `rows` is a constant at every call, so that the sums live in registers. */
static inline __attribute__((always_inline)) void plain_tile(int rows, int64_t n_in, const float *in, int64_t in_stride,
                                                             const float *panel, float *sums)
{
    lanes s[ROWS][VECTORS];
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < VECTORS; v++) memcpy(&s[r][v], sums + r * PANEL + v * LANES, sizeof(lanes));
    for (int64_t i = 0; i < n_in; i++) {
        lanes w[VECTORS];
        for (int v = 0; v < VECTORS; v++) memcpy(&w[v], panel + i * PANEL + v * LANES, sizeof(lanes));
        for (int r = 0; r < rows; r++) {
            const float a = in[r * in_stride + i];
            for (int v = 0; v < VECTORS; v++) s[r][v] += a * w[v];
        }
    }
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < VECTORS; v++) memcpy(sums + r * PANEL + v * LANES, &s[r][v], sizeof(lanes));
}

static void plain_chunk(int64_t rows, int64_t n_in, const float *in, int64_t in_stride, const float *panel, float *sums)
{
    int64_t r = 0;
    for (; r + ROWS <= rows; r += ROWS) plain_tile(ROWS, n_in, in + r * in_stride, in_stride, panel, sums + r * PANEL);
#if CPT_LEVEL == 2
    for (; r + 8 <= rows; r += 8) plain_tile(8, n_in, in + r * in_stride, in_stride, panel, sums + r * PANEL);
#endif
    for (; r + 4 <= rows; r += 4) plain_tile(4, n_in, in + r * in_stride, in_stride, panel, sums + r * PANEL);
    for (; r + 2 <= rows; r += 2) plain_tile(2, n_in, in + r * in_stride, in_stride, panel, sums + r * PANEL);
    for (; r < rows; r++) plain_tile(1, n_in, in + r * in_stride, in_stride, panel, sums + r * PANEL);
}

static void plain(int64_t rows, int64_t n_in, const float *in, int64_t in_stride, const float *panel, float *sums)
{
    for (int64_t i = 0; i < n_in; i += CHUNK) {
        const int64_t here = n_in - i < CHUNK ? n_in - i : CHUNK;
        for (int64_t o = 0; o < PANEL; o += WIDTH)
            plain_chunk(rows, here, in + i, in_stride, panel + i * PANEL + o, sums + o);
    }
}

/* ---- bfloat16 in plain C: the reference, and what processors without the instructions use ---- */

enum { PLAIN_ROWS = 4 };

/* A block of 32 inputs for 4 rows and one half of the panel. */
static inline __attribute__((always_inline)) void widened_block(const uint32_t *tile, const uint32_t *weights,
                                                                floats *sums)
{
    for (int p = 0; p < TILE; p++) {
        words w;
        memcpy(&w, weights + p * TILE, sizeof w);
        const floats low = (floats)(w << 16), high = (floats)(w & 0xffff0000u);
        for (int r = 0; r < PLAIN_ROWS; r++) {
            const uint32_t pair = tile[r * TILE + p], bits[2] = {pair << 16, pair & 0xffff0000u};
            float a[2];
            memcpy(a, bits, sizeof a);
            sums[r] += a[0] * low + a[1] * high;
        }
    }
}

static void widened(const cpt_tile_job *job)
{
    const int parts = job->parts;
    for (int64_t r = 0; r < job->rows; r += PLAIN_ROWS)
        for (int64_t half = 0; half < (job->outs + TILE - 1) / TILE; half++) {
            const uint32_t *tile = job->tiles + r / TILE * job->row_tiles * DWORDS + r % TILE * TILE;
            float *sums = job->sums + r * PANEL + half * TILE;
            floats s[PLAIN_ROWS] = {{0}};
            for (int i = 0; i < PLAIN_ROWS && job->add; i++) memcpy(&s[i], sums + i * PANEL, sizeof s[i]);
            for (int64_t b = 0; b < job->blocks; b++)
                for (int i = parts - 1; i >= 0; i--)
                    for (int j = 0; i + j < parts; j++)
                        widened_block(tile + (b * parts + i) * DWORDS,
                                      job->panel + ((b * parts + j) * 2 + half) * DWORDS, s);
            for (int i = 0; i < PLAIN_ROWS; i++) memcpy(sums + i * PANEL, &s[i], sizeof s[i]);
        }
}

/* ---- what becomes of the sums ---- */

static inline __attribute__((always_inline)) void finish_row(int64_t n, const float *sums, float scale,
                                                             const float *bias, const float *add, bool relu, float *out)
{
    for (int64_t j = 0; j < n; j++) {
        float y = scale * sums[j];
        if (bias) y += bias[j];
        if (add) y += add[j];
        out[j] = relu && y <= 0 ? 0 : y; /* NaN stays */
    }
}

/* All rows of a whole panel. The flags are constants at every call; `out` may be `sums` or `add`. */
static inline __attribute__((always_inline)) void finish_panel(bool biased, bool adds, bool relu, int64_t rows,
                                                               const float *sums, float scale, const float *bias,
                                                               const float *add, int64_t add_stride, float *out,
                                                               int64_t out_stride)
{
    floats b[2] = {{0}};
    if (biased) memcpy(b, bias, sizeof b);
    for (int64_t r = 0; r < rows; r++)
        for (int v = 0; v < 2; v++) {
            floats y, a;
            memcpy(&y, sums + r * PANEL + v * TILE, sizeof y);
            y = scale * y;
            if (biased) y += b[v];
            if (adds) {
                memcpy(&a, add + r * add_stride + v * TILE, sizeof a);
                y += a;
            }
            if (relu) y = (floats)((words)y & ~(words)(y <= 0));
            memcpy(out + r * out_stride + v * TILE, &y, sizeof y);
        }
}

static void finish(int64_t rows, int64_t outs, const float *sums, const cpt_epilogue *e, int64_t first_out,
                   int64_t first_row, float *out, int64_t out_stride)
{
    const float scale = e->scale == 0 ? 1 : e->scale, *bias = e->bias ? e->bias + first_out : NULL;
    const float *add = e->add ? e->add + first_row * e->add_stride + first_out : NULL;
    const int64_t step = e->add_stride;
    if (outs < PANEL) {
        for (int64_t r = 0; r < rows; r++)
            finish_row(outs, sums + r * PANEL, scale, bias, add ? add + r * step : NULL, e->relu, out + r * out_stride);
        return;
    }
    if (bias && !add && !e->relu)
        finish_panel(true, false, false, rows, sums, scale, bias, NULL, 0, out, out_stride);
    else if (bias && !add)
        finish_panel(true, false, true, rows, sums, scale, bias, NULL, 0, out, out_stride);
    else if (bias && e->relu) finish_panel(true, true, true, rows, sums, scale, bias, add, step, out, out_stride);
    else if (bias) finish_panel(true, true, false, rows, sums, scale, bias, add, step, out, out_stride);
    else if (add && e->relu) finish_panel(false, true, true, rows, sums, scale, NULL, add, step, out, out_stride);
    else if (add) finish_panel(false, true, false, rows, sums, scale, NULL, add, step, out, out_stride);
    else if (e->relu) finish_panel(false, false, true, rows, sums, scale, NULL, NULL, 0, out, out_stride);
    else finish_panel(false, false, false, rows, sums, scale, NULL, NULL, 0, out, out_stride);
}

/* ---- AVX512-BF16 and AMX ---- */

#ifdef HAVE_AVX512
#define DOTS __attribute__((target("avx512bf16")))
enum { DOT_ROWS = 8 };

DOTS static inline __attribute__((always_inline)) void dot_block(const uint32_t *tile, const uint32_t *weights,
                                                                 __m512 sums[DOT_ROWS][2])
{
    for (int p = 0; p < TILE; p++) {
        const __m512bh low = (__m512bh)_mm512_load_si512(weights + p * TILE);
        const __m512bh high = (__m512bh)_mm512_load_si512(weights + DWORDS + p * TILE);
        for (int r = 0; r < DOT_ROWS; r++) {
            const __m512bh a = (__m512bh)_mm512_set1_epi32((int)tile[r * TILE + p]);
            sums[r][0] = _mm512_dpbf16_ps(sums[r][0], a, low);
            sums[r][1] = _mm512_dpbf16_ps(sums[r][1], a, high);
        }
    }
}

DOTS static void dots(const cpt_tile_job *job)
{
    const int parts = job->parts;
    for (int64_t r = 0; r < job->rows; r += DOT_ROWS) {
        const uint32_t *tile = job->tiles + r / TILE * job->row_tiles * DWORDS + r % TILE * TILE;
        float *sums = job->sums + r * PANEL;
        __m512 s[DOT_ROWS][2];
        for (int i = 0; i < DOT_ROWS; i++)
            for (int v = 0; v < 2; v++)
                s[i][v] = job->add ? _mm512_loadu_ps(sums + i * PANEL + v * TILE) : _mm512_setzero_ps();
        for (int64_t b = 0; b < job->blocks; b++)
            for (int i = parts - 1; i >= 0; i--)
                for (int j = 0; i + j < parts; j++)
                    dot_block(tile + (b * parts + i) * DWORDS, job->panel + (b * parts + j) * 2 * DWORDS, s);
        for (int i = 0; i < DOT_ROWS; i++)
            for (int v = 0; v < 2; v++) _mm512_storeu_ps(sums + i * PANEL + v * TILE, s[i][v]);
    }
}

#define AMX __attribute__((target("amx-tile,amx-bf16")))
enum { LINE = 64 };

AMX static void begin_amx(void)
{
    struct {
        uint8_t palette, start_row, zero[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } config = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        config.row_bytes[i] = LINE;
        config.rows[i] = TILE;
    }
    __asm__ volatile("" ::"r"(&config) : "memory"); /* gcc 12 believes that only its first 8 bytes are read */
    _tile_loadconfig(&config);
}

AMX static void end_amx(void)
{
    _tile_release();
}

/* Registers: 0 .. 3 sums, 4 and 5 rows, 6 and 7 weights. The flags are constants at every call. */
#define AMX_INLINE AMX static inline __attribute__((always_inline))

AMX_INLINE void load_left(bool two, const uint32_t *tile, int64_t next)
{
    _tile_loadd(4, tile, LINE);
    if (two) _tile_loadd(5, tile + next, LINE);
}

AMX_INLINE void load_right(bool two, const uint32_t *tile)
{
    _tile_loadd(6, tile, LINE);
    if (two) _tile_loadd(7, tile + DWORDS, LINE);
}

AMX_INLINE void add_products(bool two_left, bool two_right)
{
    _tile_dpbf16ps(0, 4, 6);
    if (two_right) _tile_dpbf16ps(1, 4, 7);
    if (two_left) _tile_dpbf16ps(2, 5, 6);
    if (two_left && two_right) _tile_dpbf16ps(3, 5, 7);
}

AMX_INLINE void start_sums(bool add, bool rows2, bool outs2, const float *sums, int64_t stride)
{
    const int64_t line = stride * (int64_t)sizeof *sums;
    if (!add) {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
        return;
    }
    _tile_loadd(0, sums, line);
    if (outs2) _tile_loadd(1, sums + TILE, line);
    if (rows2) _tile_loadd(2, sums + TILE * stride, line);
    if (rows2 && outs2) _tile_loadd(3, sums + TILE * stride + TILE, line);
}

AMX_INLINE void store_sums(bool rows2, bool outs2, float *sums, int64_t stride)
{
    const int64_t line = stride * (int64_t)sizeof *sums;
    _tile_stored(0, sums, line);
    if (outs2) _tile_stored(1, sums + TILE, line);
    if (rows2) _tile_stored(2, sums + TILE * stride, line);
    if (rows2 && outs2) _tile_stored(3, sums + TILE * stride + TILE, line);
}

/* One block of inputs: rows' parts from a, weights' from b. */
AMX_INLINE void amx_block(int parts, bool rows2, bool outs2, const uint32_t *a, int64_t next, const uint32_t *b)
{
    load_right(outs2, b);
    if (parts == 3) {
        load_left(rows2, a + 2 * DWORDS, next);
        add_products(rows2, outs2);
    }
    load_left(rows2, a, next);
    add_products(rows2, outs2);
    if (parts == 1) return;
    load_left(rows2, a + DWORDS, next);
    add_products(rows2, outs2);
    load_right(outs2, b + 2 * DWORDS);
    if (parts == 3) add_products(rows2, outs2);
    load_left(rows2, a, next);
    add_products(rows2, outs2);
    if (parts == 2) return;
    load_right(outs2, b + 4 * DWORDS);
    add_products(rows2, outs2);
}

/* What will be needed is fetched a few lines per block of inputs: the next panel into the second-level cache, and the
 * lines that the result goes to. Without, a third to a half of the time is waiting for memory. */
typedef struct ahead {
    const char *panel, *panel_end;
    int64_t panel_step;
    const char *out; /* NULL: not */
    int64_t out_bytes, out_row, out_rows, out_step;
} ahead;

static inline __attribute__((always_inline)) void fetch_ahead(ahead *f)
{
    const char *end = f->panel + f->panel_step;
    if (end > f->panel_end) end = f->panel_end;
    for (; f->panel < end; f->panel += LINE) _mm_prefetch(f->panel, _MM_HINT_T1);
    if (!f->out) return;
    int64_t last = f->out_row + f->out_step;
    if (last > f->out_rows) last = f->out_rows;
    for (; f->out_row < last; f->out_row++) {
        __builtin_prefetch(f->out + f->out_row * f->out_bytes, 1);
        __builtin_prefetch(f->out + f->out_row * f->out_bytes + LINE, 1);
    }
}

AMX_INLINE void amx_rows(int parts, bool outs2, const cpt_tile_job *job)
{
    const int64_t next = job->row_tiles * DWORDS, groups = (job->rows + 2 * TILE - 1) / (2 * TILE);
    const int64_t steps = groups * job->blocks, stride = job->sums_stride ? job->sums_stride : PANEL;
    ahead f = {.panel = job->next,
               .panel_end = job->next + job->next_bytes,
               .panel_step = (job->next_bytes / LINE + steps - 1) / steps * LINE,
               .out = job->out,
               .out_bytes = job->out_bytes,
               .out_rows = job->rows,
               .out_step = (job->rows + steps - 1) / steps};
    for (int64_t g = 0; g < groups; g++) {
        const uint32_t *a = job->tiles + g * 2 * next, *b = job->panel;
        const bool rows2 = job->rows - g * 2 * TILE > TILE;
        float *sums = job->sums + g * 2 * TILE * stride;
        start_sums(job->add, rows2, outs2, sums, stride);
        for (int64_t block = 0; block < job->blocks; block++, a += parts * DWORDS, b += 2 * parts * DWORDS) {
            fetch_ahead(&f);
            if (rows2) amx_block(parts, true, outs2, a, next, b);
            else amx_block(parts, false, outs2, a, next, b);
        }
        store_sums(rows2, outs2, sums, stride);
    }
}

AMX static void amx(const cpt_tile_job *job)
{
    const bool outs2 = job->outs > TILE;
    __asm__ volatile("" ::: "memory"); /* tile loads do not tell the compiler what they read */
    if (job->parts == 1 && outs2) amx_rows(1, true, job);
    else if (job->parts == 1) amx_rows(1, false, job);
    else if (job->parts == 2 && outs2) amx_rows(2, true, job);
    else if (job->parts == 2) amx_rows(2, false, job);
    else if (outs2) amx_rows(3, true, job);
    else amx_rows(3, false, job);
    __asm__ volatile("" ::: "memory");
}
#endif

const cpt_gemm_kernels CPT_LEVEL_NAME(cpt_gemm_kernels) = {
    .pack_plain = pack_plain,
    .pack_parts = pack_parts,
    .split_rows = split_rows,
    .plain = plain,
    .parts = widened,
    .finish = finish,
#ifdef HAVE_AVX512
    .parts_bf16 = dots,
    .parts_amx = amx,
    .begin_amx = begin_amx,
    .end_amx = end_amx,
#endif
};
CPT_KERNEL_DISPATCH(cpt_gemm_kernels)

/* gemm.h - matrix products whose right-hand side is packed: once for weights, cheaply for a matrix that is used once.
 *
 *     cpt_packed w;
 *     CPT_TRY(cpt_packed_new(CPT_GEMM_F32, n_out, n_in, weight, n_in, 1, &w, e));
 *     cpt_multiply(&w, n, in, in_stride, out, out_stride, &(cpt_epilogue){.bias = bias, .relu = true});
 *     cpt_packed_free(&w);
 *
 * out [n][n_out] = in [n][n_in] weight', weight [n_out][n_in] with any strides. Every call runs in the thread that
 * makes it; callers cut the rows among their threads. A row's result depends on nothing but the row, the packed matrix
 * and the level (base/cpu.h): not on n, nor on how rows are cut.
 *
 * Precisions. F32: as good as a chain of fused multiply-adds in f32. BF16: both factors rounded to bfloat16 (8 bits),
 * summed in f32. SPLIT: both factors rounded to 16 bits, for what is checked or repeated in f32 afterwards; only where
 * it is faster, else as F32.
 *
 * With AMX, F32 writes each factor as the sum of three bfloat16, which is exact, and adds six of the nine products; the
 * three left out are below 2^-24 of the product. Measured errors are below those of f32 chains (test_gemm.c).
 * What differs: numbers of magnitude 3.39e38 and above (and infinities) give NaN; what is below 2^-126 counts as 0, be
 * it a factor, one of its parts or a product, so that factors below 2^-102 lose digits and an absolute error of some
 * 2^-126 n_in is possible. NaN gives NaN. */
#ifndef CPT_MATH_GEMM_H
#define CPT_MATH_GEMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef enum cpt_precision { CPT_GEMM_F32, CPT_GEMM_SPLIT, CPT_GEMM_BF16 } cpt_precision;

enum { CPT_GEMM_PANEL = 32, CPT_GEMM_ROWS = 128 };

typedef struct cpt_packed {
    int64_t n_out, n_in;
    int level, parts; /* parts: bfloat16 per number; 0 = f32 as they are */
    void *data;       /* 64-byte aligned */
} cpt_packed;

/* What becomes of the sums: out = scale * sum + bias + add, then max(0, .) with relu. All zero: the sums. */
typedef struct cpt_epilogue {
    float scale;       /* 0 = 1 */
    const float *bias; /* [n_out] or NULL */
    const float *add;  /* [n][n_out], row stride add_stride, or NULL; may be `out` itself */
    int64_t add_stride;
    bool relu;
} cpt_epilogue;

/* Weight (o, i) lies at w[o * out_step + i * in_step]. Memory of its own; on an error nothing is left to free. */
cpt_status cpt_packed_new(cpt_precision precision, int64_t n_out, int64_t n_in, const float *w, int64_t out_step,
                          int64_t in_step, cpt_packed *out, cpt_err *e);
void cpt_packed_free(cpt_packed *p); /* of cpt_packed_new only; leaves zeros */

/* The same into memory of the caller's, aligned to 64 bytes, of cpt_packed_bytes. */
size_t cpt_packed_bytes(cpt_precision precision, int64_t n_out, int64_t n_in);
void cpt_pack(cpt_precision precision, int64_t n_out, int64_t n_in, const float *w, int64_t out_step, int64_t in_step,
              void *memory, cpt_packed *out);
/* The same before anything is packed: for cpt_repack. */
cpt_packed cpt_packed_of(cpt_precision precision, int64_t n_out, int64_t n_in, void *memory);
/* Packs outputs first .. end anew from w, which starts at output `first`; first is a multiple of CPT_GEMM_PANEL, and end one
 * too, or n_out. For weights that change, by several threads at once. */
void cpt_repack(const cpt_packed *p, int64_t first, int64_t end, const float *w, int64_t out_step, int64_t in_step);

/* epilogue: NULL = the sums. `in` and `out` may not overlap. */
void cpt_multiply(const cpt_packed *w, int64_t n, const float *in, int64_t in_stride, float *out, int64_t out_stride,
                  const cpt_epilogue *epilogue);

/* The same without `out`: each block of results, rows first_row .. first_row + rows (at most CPT_GEMM_ROWS) of outputs
 * first_out .. first_out + outs (at most CPT_GEMM_PANEL), goes to `sink` while it is in the first-level cache, row
 * stride CPT_GEMM_PANEL. Of one row the outputs come in ascending order. The sink makes no products. */
typedef void cpt_gemm_sink(void *user, int64_t first_row, int64_t rows, int64_t first_out, int64_t outs,
                           const float *block);
void cpt_multiply_into(const cpt_packed *w, int64_t n, const float *in, int64_t in_stride,
                       const cpt_epilogue *epilogue, cpt_gemm_sink *sink, void *user);

/* For tests and benches: as packed on a processor of that level; false when this one lacks it. */
bool cpt_pack_at(int level, cpt_precision precision, int64_t n_out, int64_t n_in, const float *w, int64_t out_step,
                 int64_t in_step, void *memory, cpt_packed *out);

/* ---- what is compiled per level (kernels/gemm.c); used by gemm.c and head.c only ---- */

/* bfloat16 lie in tiles: of the packed matrix [16 pairs][16 outputs], of the left-hand rows [16 rows][16 pairs], where
 * pair p of a block of 32 inputs holds inputs p (low half) and p + 16. */
enum { CPT_TILE = 16, CPT_TILE_INPUTS = 32, CPT_TILE_BYTES = 1024, CPT_MAX_PARTS = 3 };

/* sums [rows rounded up to 16][CPT_GEMM_PANEL] of rows times one panel; the tile kernel alone knows another stride. */
typedef struct cpt_tile_job {
    int parts;
    bool add;                /* to the sums that are there; else they start at 0 */
    int64_t rows, outs;
    int64_t blocks;          /* of inputs */
    const uint32_t *tiles;   /* of the rows */
    int64_t row_tiles;       /* tiles from 16 rows to the next 16 */
    const uint32_t *panel;
    float *sums;
    int64_t sums_stride;     /* 0 = CPT_GEMM_PANEL */
    const char *next;        /* what the next job reads, next_bytes of it; and where the result of this one goes: */
    int64_t next_bytes;
    const char *out;         /* rows of out_bytes bytes; hints only, for fetching ahead; NULL = unknown */
    int64_t out_bytes;
} cpt_tile_job;

typedef struct cpt_gemm_kernels {
    void (*pack_plain)(int64_t n_in, int64_t outs, const float *w, int64_t out_step, int64_t in_step, float *panel);
    void (*pack_parts)(int parts, int64_t n_in, int64_t outs, const float *w, int64_t out_step, int64_t in_step,
                       uint32_t *panel);
    /* tiles [ceil(rows / 16)][blocks of inputs][parts][16][16] of the rows, 0 behind the last row and input */
    void (*split_rows)(int parts, int64_t rows, int64_t n_in, const float *in, int64_t in_stride, uint32_t *tiles);
    /* sums [rows][CPT_GEMM_PANEL] += rows panel' */
    void (*plain)(int64_t rows, int64_t n_in, const float *in, int64_t in_stride, const float *panel, float *sums);
    void (*parts)(const cpt_tile_job *job);
    void (*finish)(int64_t rows, int64_t outs, const float *sums, const cpt_epilogue *epilogue, int64_t first_out,
                   int64_t first_row, float *out, int64_t out_stride);
    /* AVX512-BF16 and AMX versions of `parts`; NULL below AVX-512. Tiles are set up and given back around calls. */
    void (*parts_bf16)(const cpt_tile_job *job);
    void (*parts_amx)(const cpt_tile_job *job);
    void (*begin_amx)(void);
    void (*end_amx)(void);
} cpt_gemm_kernels;
typedef void cpt_parts_kernel(const cpt_tile_job *job);
cpt_parts_kernel *cpt_gemm_parts(int level); /* the fastest of the three */
const cpt_gemm_kernels *cpt_gemm_kernels_get(void);
const cpt_gemm_kernels *cpt_gemm_kernels_at(int level);

#endif

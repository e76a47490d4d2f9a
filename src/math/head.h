/* head.h - softmax attention of one head, and its gradients, block by block: what lies between its products never
 * leaves the processor's caches.
 *
 * For matrices that are packed in parts (math/gemm.h: bfloat16, and f32 where there is AMX): a panel of scores is made
 * into weights, cut into parts and multiplied on while it is hot. Where factors are not in parts, products are made one
 * after the other (cpt_multiply). A row's result depends on that row, keys and values, and on nothing else.
 *
 * Weights are exp(scale * score - bound) with a bound per row that no scaled score exceeds by much; dividing by their
 * sum comes last. */
#ifndef CPT_MATH_HEAD_H
#define CPT_MATH_HEAD_H

#include "math/gemm.h"

/* At most so many rows in a call forward, and back. */
enum { CPT_HEAD_ROWS = 128, CPT_HEAD_BACK_ROWS = 3 * CPT_HEAD_ROWS };

/* ---- forward ---- */

typedef struct cpt_head {
    cpt_packed keys;   /* [n][size]: scores = queries keys' */
    cpt_packed values; /* [size][n]: context = weights values' */
    float scale;
} cpt_head;

/* Whether these are in as many parts: without, none of what follows may be called. */
bool cpt_in_parts(const cpt_packed *a, const cpt_packed *b);

/* Bytes that a call needs, with n_w = 0 forward and else for so many directions back; memory aligned to 64 bytes. */
size_t cpt_head_bytes(int64_t size, int32_t n_w);

/* context [rows][size] and sums [rows] of the weights, by which the context is divided already. bounds [rows]. */
void cpt_head_context(const cpt_head *h, int64_t rows, const float *queries, int64_t query_stride, const float *bounds,
                      void *memory, float *context, int64_t stride, float *sums);

/* ---- back ---- */

typedef struct cpt_head_back {
    cpt_packed keys, values; /* [n][size] */
    cpt_packed turned;       /* keys [size][n] */
    float scale;
    int32_t n_w;             /* directions */
    /* [n_w][cpt_head_columns]: gradients of keys and values, summed over the rows of all calls since `fresh` */
    float *to_keys, *to_values;
    bool fresh;              /* the next call starts the sums anew */
    void *memory;            /* cpt_head_bytes */
} cpt_head_back;

typedef struct cpt_head_rows {
    int64_t rows;
    const float *queries, *context; /* [rows][size], the latter as the forward pass left it */
    const float *bounds, *sums;     /* [rows] of the forward pass */
    const float *grads;             /* [n_w] times [rows][size]: gradients of the context, step floats apart */
    float *to_queries;              /* [n_w] times [rows][size] */
    int64_t query_stride, stride;   /* of queries and to_queries; of context and grads */
    int64_t query_step, step;
    /* NULL, or copies of the normalised weights [rows][copy_stride] and of their gradients, for each direction
     * the same, slope_step floats apart */
    float *weights, *slopes;
    int64_t copy_stride, slope_step;
} cpt_head_rows;

void cpt_head_rows_back(cpt_head_back *h, const cpt_head_rows *r);

/* Floats of one direction's sums, and what they hold: [n][size] into out, row stride `stride`. */
size_t cpt_head_columns(int64_t n, int64_t size);
void cpt_head_unfold(int64_t n, int64_t size, const float *columns, float *out, int64_t stride);

/* ---- what is compiled per level (kernels/head.c); used by head.c and tests only ---- */

typedef struct cpt_score_block {
    int64_t rows, outs; /* outs <= CPT_GEMM_PANEL; what lies behind them is not read */
    float scale;
    const float *bounds; /* [rows] */
    const float *scores; /* [rows][CPT_GEMM_PANEL] */
} cpt_score_block;

typedef struct cpt_head_kernels {
    /* exp(scale * score - bound): as left-hand tiles, 16 rows of them row_tiles tiles after the last 16; and added to
     * lanes [rows][16] */
    void (*weigh)(int parts, const cpt_score_block *b, float *lanes, int64_t row_tiles, uint32_t *tiles);
    /* The same times factors [rows]: as they are to weights [rows][CPT_GEMM_PANEL] (which may be the scores), and as a
     * right-hand panel [blocks of 32 rows][part][half][16][16] in which the rows are the inputs, zeros behind the last */
    void (*normal)(int parts, const cpt_score_block *b, const float *factors, float *weights, uint32_t *panel);
    /* b->scores are gradients of the weights: scale * weight * (grad - mean), means [rows], in both forms */
    void (*slopes)(int parts, const cpt_score_block *b, const float *weights, const float *means, int64_t row_tiles,
                   uint32_t *tiles, uint32_t *panel);
    /* out [width][out_stride] = in [rows][width] transposed */
    void (*turn)(int64_t rows, int64_t width, const float *in, int64_t stride, float *out, int64_t out_stride);
    /* out [rows]: inner products of the rows of x and y, both with row stride `stride` */
    void (*dots)(int64_t rows, int64_t width, const float *x, const float *y, int64_t stride, float *out);
} cpt_head_kernels;
const cpt_head_kernels *cpt_head_kernels_get(void);
const cpt_head_kernels *cpt_head_kernels_at(int level);

#endif

/* scGPT's layers with products of bfloat16: for embedding many cells, where a processor multiplies
 * bfloat16 faster than f32.
 *
 * Weights are rounded and packed once per model, inputs as they come; all sums, the softmax, the
 * layer norms and the residual stream stay f32. The relative error of an embedding is about 0.4 %
 * (doc/methods.md), far below what tells cells apart, but larger than what one gene changes in a
 * cell: sessions, and with them attribution, always compute in f32.
 *
 * Per head, keys and values are packed as "weights" of two products: scores = queries keys',
 * context = weights values. A head is one thread's; rows of the dense products go over threads in
 * fixed blocks. */
#include "model/scgpt_network.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "math/bf16.h"

enum { ROWS = 96 }; /* of a dense product, per unit of work */

typedef struct packed_layer {
    uint16_t *qkv, *out, *up, *down;
} packed_layer;

struct scgpt_bf16 {
    packed_layer *layers; /* [n_layers - 1]: the last one is computed for one row, in f32 */
    uint16_t *block;
};

/* What a thread needs for one head. */
typedef struct head_work {
    uint16_t *queries, *keys, *values, *weights; /* [n][size], packed, packed, [QUERIES][n] */
} head_work;

void scgpt_bf16_free(scgpt_bf16 *b)
{
    if (!b) return;
    free(b->layers);
    free(b->block);
    free(b);
}

static uint16_t *pack_next(uint16_t **at, int32_t n_out, int32_t n_in, const float *weight)
{
    uint16_t *here = *at;
    cpt_bf16_kernels_get()->pack(n_out, n_in, weight, n_in, 1, here);
    *at += cpt_bf16_packed(n_out, n_in);
    return here;
}

cpt_status scgpt_bf16_new(const cpt_scgpt *m, scgpt_bf16 **out, cpt_err *e)
{
    const int32_t d = m->shape.width, f = m->shape.hidden, n = m->shape.n_layers - 1;
    const size_t layer = cpt_bf16_packed(3 * d, d) + cpt_bf16_packed(d, d) + cpt_bf16_packed(f, d) +
                         cpt_bf16_packed(d, f);
    scgpt_bf16 *b = NULL;
    *out = NULL;
    cpt_status status = cpt_alloc(&b, 1, sizeof *b, e);
    if (status) return status;
    CPT_TRY(cpt_alloc(&b->layers, (size_t)n, sizeof *b->layers, e));
    CPT_TRY(cpt_alloc(&b->block, layer * (size_t)n, sizeof *b->block, e));
    uint16_t *at = b->block;
    for (int32_t i = 0; i < n; i++) {
        const scgpt_layer *l = &m->layers[i];
        b->layers[i].qkv = pack_next(&at, 3 * d, d, l->qkv_weight);
        b->layers[i].out = pack_next(&at, d, d, l->out_weight);
        b->layers[i].up = pack_next(&at, f, d, l->up_weight);
        b->layers[i].down = pack_next(&at, d, f, l->down_weight);
    }
    *out = b;
done:
    if (status) scgpt_bf16_free(b);
    return status;
}

/* ---- scratch: one block per scgpt_work ---- */

static size_t rounded_size(const cpt_scgpt *m, int32_t capacity)
{
    const int32_t widest = m->shape.hidden > m->shape.width ? m->shape.hidden : m->shape.width;
    return (size_t)capacity * (size_t)cpt_bf16_row(widest);
}

static size_t head_size(const cpt_scgpt *m, int32_t n)
{
    const int32_t size = m->shape.width / m->shape.n_heads;
    return (size_t)n * (size_t)cpt_bf16_row(size) + cpt_bf16_packed(n, size) +
           cpt_bf16_packed(size, n) + (size_t)SCGPT_QUERIES * (size_t)cpt_bf16_row(n);
}

size_t scgpt_bf16_scratch(const cpt_scgpt *m, int32_t capacity, int n_threads)
{
    return rounded_size(m, capacity) + (size_t)n_threads * head_size(m, capacity);
}

static head_work head_at(const cpt_scgpt *m, const scgpt_work *w, int32_t n)
{
    const int32_t size = m->shape.width / m->shape.n_heads;
    head_work h;
    h.queries = w->rounded + rounded_size(m, w->capacity) +
                (size_t)omp_get_thread_num() * head_size(m, w->capacity);
    h.keys = h.queries + (size_t)n * (size_t)cpt_bf16_row(size);
    h.values = h.keys + cpt_bf16_packed(n, size);
    h.weights = h.values + cpt_bf16_packed(size, n);
    return h;
}

/* ---- a layer ---- */

static void multiply(int32_t n, int32_t n_in, int32_t n_out, const float *in,
                     const uint16_t *packed, scgpt_work *w, float *out)
{
    const cpt_bf16_kernels *k = cpt_bf16_kernels_get();
    const int64_t row = cpt_bf16_row(n_in);
    const int32_t blocks = (n + ROWS - 1) / ROWS;
#pragma omp parallel for schedule(static) num_threads(w->n_threads) if (w->n_threads > 1)
    for (int32_t b = 0; b < blocks; b++) {
        const int64_t from = (int64_t)b * ROWS, rows = n - from < ROWS ? n - from : ROWS;
        uint16_t *rounded = w->rounded + from * row;
        k->round(rows, n_in, n_in, in + from * n_in, rounded);
        k->multiply(rows, n_in, n_out, rounded, packed, out + from * n_out, n_out);
    }
}

static void attend_head(const cpt_scgpt *m, int32_t n, int32_t head, const scgpt_work *w)
{
    const cpt_bf16_kernels *k = cpt_bf16_kernels_get();
    const cpt_attention_kernels *a = cpt_attention_kernels_get();
    const int64_t d = m->shape.width, size = d / m->shape.n_heads, stride = scgpt_score_stride(n);
    const head_work h = head_at(m, w, n);
    const float *qkv = w->qkv + head * size;
    float *scores =
        w->scores + omp_get_thread_num() * SCGPT_QUERIES * scgpt_score_stride(w->capacity);
    k->round(n, size, 3 * d, qkv, h.queries);
    k->pack(n, size, qkv + d, 3 * d, 1, h.keys);
    k->pack(size, n, qkv + 2 * d, 1, 3 * d, h.values);
    for (int32_t from = 0; from < n; from += SCGPT_QUERIES) {
        const int32_t rows = n - from < SCGPT_QUERIES ? n - from : SCGPT_QUERIES;
        float sums[SCGPT_QUERIES], *out = w->context + from * d + head * size;
        k->multiply(rows, size, n, h.queries + from * cpt_bf16_row(size), h.keys, scores, stride);
        a->softmax(rows, n, stride, scgpt_score_scale(m), scores, NULL, sums);
        k->round(rows, n, stride, scores, h.weights);
        k->multiply(rows, n, size, h.weights, h.values, out, d);
        a->divide(rows, size, d, sums, out);
    }
}

void scgpt_bf16_layer(const cpt_scgpt *m, int32_t layer, int32_t n, scgpt_work *w)
{
    const cpt_attention_kernels *k = cpt_attention_kernels_get();
    const packed_layer *p = &m->bf16->layers[layer];
    const scgpt_layer *l = &m->layers[layer];
    const int32_t d = m->shape.width, f = m->shape.hidden;
    multiply(n, d, 3 * d, w->x, p->qkv, w, w->qkv);
    k->add_bias(n, 3 * d, l->qkv_bias, w->qkv);
#pragma omp parallel for schedule(dynamic) num_threads(w->n_threads) if (w->n_threads > 1)
    for (int32_t head = 0; head < m->shape.n_heads; head++) attend_head(m, n, head, w);
    multiply(n, d, d, w->context, p->out, w, w->sum);
    k->add_norm(n, d, w->sum, l->out_bias, l->norm1.gain, l->norm1.shift, w->x, w->sum);
    multiply(n, d, f, w->x, p->up, w, w->hidden);
    k->add_bias_relu(n, f, l->up_bias, w->hidden);
    multiply(n, f, d, w->hidden, p->down, w, w->sum);
    k->add_norm(n, d, w->sum, l->down_bias, l->norm2.gain, l->norm2.shift, w->x, w->sum);
}

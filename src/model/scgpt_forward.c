/* scGPT's network in eval mode: tokens -> the output at <cls> (models.md 1.3).
 *
 * A post-norm transformer over one cell: no padding, no mask, no positions, no final norm.
 * Attention takes SCGPT_QUERIES rows of one head at a time, so that their scores stay in the
 * second-level cache; the weights are left undivided and the 64 numbers of the context are divided
 * instead. Weights are packed once per model, keys and values once per head (math/gemm.h). In
 * bfloat16 all of these products are; sums, softmax, layer norms and the residual stream stay f32:
 * the relative error of an embedding is then about 0.7 % (bench/RESULTS.md), far below what tells
 * cells apart, but larger than what one gene changes in a cell: sessions are f32.
 *
 * With S tokens, width d and feed-forward width f, one layer costs 2 S d (4 d + 2 f) + 4 S^2 d
 * operations: at S = 1,200, d = f = 512 it is 6.7 GFLOP. The last layer is wanted for row 0 only
 * and costs 4 heads S d + 4 d (d + f), a thousandth (scgpt_last). So a cell costs n_layers - 1
 * layers.
 *
 * Every unit of work (block of rows of a product, head) is computed by one thread in
 * an order that does not depend on the number of threads: cells go over threads when there are
 * enough of them, else the units of one cell do, with the same bytes. */
#include "model/scgpt_network.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "math/blas.h"

/* ---- memory ---- */

size_t scgpt_last_size(const cpt_scgpt *m, int32_t capacity)
{
    const size_t d = (size_t)m->shape.width, heads = (size_t)m->shape.n_heads;
    return 6 * d + (size_t)m->shape.hidden + 2 * heads * d + heads * (size_t)capacity;
}

scgpt_last scgpt_last_at(const cpt_scgpt *m, int32_t capacity, float *block)
{
    const size_t d = (size_t)m->shape.width, heads = (size_t)m->shape.n_heads;
    scgpt_last l = {.query = block};
    l.context = l.query + d;
    l.sum1 = l.context + d;
    l.mid = l.sum1 + d;
    l.sum2 = l.mid + d;
    l.raw = l.sum2 + d;
    l.hidden = l.raw + d;
    l.reader = l.hidden + m->shape.hidden;
    l.mixed = l.reader + heads * d;
    l.weights = l.mixed + heads * d;
    return l;
}

cpt_status scgpt_work_init(scgpt_work *w, const cpt_scgpt *m, cpt_precision precision,
                           int32_t capacity, int n_threads, cpt_err *e)
{
    const size_t rows = (size_t)capacity, d = (size_t)m->shape.width, f = (size_t)m->shape.hidden;
    const size_t scores = (size_t)SCGPT_QUERIES * (size_t)scgpt_score_stride(capacity);
    const size_t threads = (size_t)n_threads, last = scgpt_last_size(m, capacity);
    float *p = NULL;
    *w = (scgpt_work){.capacity = capacity, .n_threads = n_threads, .precision = precision};
    w->head_bytes = scgpt_head_bytes(m, precision, capacity);
    cpt_status status = scgpt_packed(m, precision, false, &w->layers, e);
    if (!status) status = cpt_alloc(&w->heads, threads, w->head_bytes, e);
    if (!status)
        status = cpt_alloc(&p, rows * (6 * d + f) + threads * scores + last, sizeof *p, e);
    if (status) {
        free(w->heads);
        w->heads = NULL;
        return status;
    }
    w->block = p;
    w->x = p;
    w->qkv = w->x + rows * d;
    w->context = w->qkv + 3 * rows * d;
    w->sum = w->context + rows * d;
    w->hidden = w->sum + rows * d;
    w->scores = w->hidden + rows * f;
    w->last = w->scores + threads * scores;
    return CPT_OK;
}

void scgpt_work_free(scgpt_work *w)
{
    free(w->block);
    free(w->heads);
    *w = (scgpt_work){0};
}

/* ---- input ---- */

/* Row of the value table, or -1. */
static int32_t table_row(const cpt_scgpt *m, float value)
{
    if (value == m->shape.pad_value) return SCGPT_BINS;
    return value >= 0 && value < SCGPT_BINS && value == floorf(value) ? (int32_t)value : -1;
}

void scgpt_embed_values(const cpt_scgpt *m, int32_t n, const float *values, float *out,
                        float *scratch)
{
    const cpt_attention_kernels *k = cpt_attention_kernels_get();
    const int32_t d = m->shape.width;
    for (int32_t i = 0; i < n; i++) {
        const float u = values[i] < SCGPT_MAX_VALUE ? values[i] : SCGPT_MAX_VALUE;
        float *row = scratch + (size_t)i * (size_t)d;
        for (int32_t j = 0; j < d; j++) {
            float y = m->value_in[j] * u + m->value_in_bias[j];
            row[j] = y > 0 ? y : 0;
        }
    }
    scgpt_multiply(n, d, d, scratch, m->value_out, out, 1);
    k->add_bias(n, d, m->value_out_bias, out);
    k->layer_norm(n, d, out, m->value_norm.gain, m->value_norm.shift, out);
}

void scgpt_input(const cpt_scgpt *m, int32_t n, const int32_t *ids, const float *values, float *x,
                 float *scratch)
{
    const cpt_attention_kernels *k = cpt_attention_kernels_get();
    const int32_t d = m->shape.width;
    for (int32_t i = 0; i < n; i++) {
        const float *token = m->embedding + (size_t)ids[i] * (size_t)d, *value = scratch;
        float *row = x + (size_t)i * (size_t)d;
        const int32_t known = table_row(m, values[i]);
        if (known >= 0) value = m->value_table + (size_t)known * (size_t)d;
        else scgpt_embed_values(m, 1, &values[i], scratch, scratch + d);
        k->layer_norm(1, d, token, m->token_norm.gain, m->token_norm.shift, row);
        for (int32_t j = 0; j < d; j++) row[j] += value[j];
    }
}

/* ---- a full layer ---- */

static size_t round_up(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

size_t scgpt_head_bytes(const cpt_scgpt *m, cpt_precision precision, int32_t n)
{
    const int64_t size = m->shape.width / m->shape.n_heads;
    return round_up(cpt_packed_bytes(precision, n, size)) +
           round_up(cpt_packed_bytes(precision, size, n)) + round_up(cpt_head_bytes(size, 0));
}

void scgpt_head_pack(scgpt_head *h, const cpt_scgpt *m, cpt_precision precision, int32_t n,
                     int32_t head, const float *qkv, void *memory)
{
    const int64_t d = m->shape.width, size = d / m->shape.n_heads;
    char *values = (char *)memory + round_up(cpt_packed_bytes(precision, n, size));
    *h = (scgpt_head){.m = m, .n = n, .number = head, .qkv = qkv};
    h->packed.scale = scgpt_score_scale(m);
    h->scratch = values + round_up(cpt_packed_bytes(precision, size, n));
    cpt_pack(precision, n, size, qkv + d + head * size, 3 * d, 1, memory, &h->packed.keys);
    cpt_pack(precision, size, n, qkv + 2 * d + head * size, 1, 3 * d, values, &h->packed.values);
    for (int64_t first = 0; first < n; first += SCGPT_QUERIES) {
        const int64_t rows = n - first < SCGPT_QUERIES ? n - first : SCGPT_QUERIES;
        float lengths[SCGPT_QUERIES];
        cpt_attention_kernels_get()->lengths(rows, size, 3 * d,
                                             qkv + d + head * size + first * 3 * d, lengths);
        for (int64_t i = 0; i < rows; i++) h->longest = fmaxf(h->longest, lengths[i]);
    }
}

void scgpt_attention_weights(const scgpt_head *h, int32_t first, int32_t rows, float *weights,
                             float *maxima, float *sums)
{
    const int64_t d = h->m->shape.width, size = d / h->m->shape.n_heads;
    const int64_t stride = scgpt_score_stride(h->n);
    cpt_multiply(&h->packed.keys, rows, h->qkv + first * 3 * d + h->number * size, 3 * d, weights, stride,
                 NULL);
    cpt_attention_kernels_get()->softmax(rows, h->n, stride, scgpt_score_scale(h->m), weights,
                                         maxima, sums);
}

/* Where blocks of scores go as they are made. */
typedef struct weight_sink {
    float scale, *weights;
    int64_t stride;
    const float *bounds;
    float lanes[SCGPT_QUERIES * 16];
} weight_sink;

static void take_scores(void *user, int64_t first_row, int64_t rows, int64_t first_out, int64_t outs,
                        const float *block)
{
    weight_sink *s = user;
    cpt_attention_kernels_get()->softmax_block(
        rows, outs, CPT_GEMM_PANEL, s->scale, s->bounds + first_row, block, s->stride,
        s->weights + first_row * s->stride + first_out, s->lanes + first_row * 16);
}

/* Weights need no maximum, only something that keeps exp in its range: no score exceeds the product
 * of the lengths of query and longest key (Cauchy and Schwarz), in rounded numbers but for their
 * rounding. A row whose weights are all but nothing on that scale is done again with its maximum. */
static const float LEAST = 1e-20f;

static const float *bound_scores(const scgpt_head *h, int32_t first, int32_t rows, float *bounds)
{
    const int64_t d = h->m->shape.width, size = d / h->m->shape.n_heads;
    const float *queries = h->qkv + first * 3 * d + h->number * size;
    cpt_attention_kernels_get()->lengths(rows, size, 3 * d, queries, bounds);
    for (int32_t i = 0; i < rows; i++) bounds[i] *= h->packed.scale * h->longest;
    return queries;
}

void scgpt_attention_weights_once(const scgpt_head *h, int32_t first, int32_t rows, float *weights,
                                  float *bounds, float *sums)
{
    weight_sink s = {.scale = h->packed.scale, .weights = weights, .bounds = bounds,
                     .stride = scgpt_score_stride(h->n)};
    const float *queries = bound_scores(h, first, rows, bounds);
    cpt_multiply_into(&h->packed.keys, rows, queries, 3 * h->m->shape.width, NULL, take_scores, &s);
    cpt_attention_kernels_get()->lane_sums(rows, s.lanes, sums);
    for (int32_t i = 0; i < rows; i++)
        if (!(sums[i] > LEAST))
            scgpt_attention_weights(h, first + i, 1, weights + i * s.stride, &bounds[i], &sums[i]);
}

void scgpt_attention_context(const scgpt_head *h, int32_t first, int32_t rows,
                             const float *weights, const float *sums, float *context)
{
    const int64_t d = h->m->shape.width, size = d / h->m->shape.n_heads;
    float *out = context + first * d + h->number * size;
    cpt_multiply(&h->packed.values, rows, weights, scgpt_score_stride(h->n), out, d, NULL);
    cpt_attention_kernels_get()->divide(rows, size, d, sums, out);
}

void scgpt_attend(const scgpt_head *h, int32_t first, int32_t rows, float *weights, float *context,
                  float *bounds, float *sums)
{
    const int64_t d = h->m->shape.width, from = h->number * (d / h->m->shape.n_heads);
    if (!cpt_in_parts(&h->packed.keys, &h->packed.values)) {
        scgpt_attention_weights_once(h, first, rows, weights, bounds, sums);
        scgpt_attention_context(h, first, rows, weights, sums, context);
        return;
    }
    const float *queries = bound_scores(h, first, rows, bounds);
    cpt_head_context(&h->packed, rows, queries, 3 * d, bounds, h->scratch,
                     context + first * d + from, d, sums);
    for (int32_t i = 0; i < rows; i++) {
        if (sums[i] > LEAST) continue;
        scgpt_attention_weights(h, first + i, 1, weights, &bounds[i], &sums[i]);
        scgpt_attention_context(h, first + i, 1, weights, &sums[i], context);
    }
}

/* A head is one thread's. */
static void attend_all(const cpt_scgpt *m, int32_t n, scgpt_work *w, const scgpt_record *r)
{
    const int64_t per_thread = SCGPT_QUERIES * scgpt_score_stride(w->capacity);
#pragma omp parallel for schedule(dynamic) num_threads(w->n_threads) if (w->n_threads > 1)
    for (int32_t head = 0; head < m->shape.n_heads; head++) {
        const int thread = omp_get_thread_num();
        float *weights = w->scores + thread * per_thread;
        float bounds[SCGPT_QUERIES], sums[SCGPT_QUERIES];
        scgpt_head h;
        scgpt_head_pack(&h, m, w->precision, n, head, w->qkv,
                        w->heads + (size_t)thread * w->head_bytes);
        for (int32_t first = 0; first < n; first += SCGPT_QUERIES) {
            const int32_t rows = n - first < SCGPT_QUERIES ? n - first : SCGPT_QUERIES;
            const int64_t at = (int64_t)head * n + first;
            scgpt_attend(&h, first, rows, weights, w->context, r ? r->bounds + at : bounds,
                         r ? r->sums + at : sums);
        }
    }
}

void scgpt_multiply(int32_t n, int32_t n_in, int32_t n_out, const float *in, const float *weight,
                    float *out, int n_threads)
{
    cpt_gemm(false, true, n, n_out, n_in, 1, in, n_in, weight, n_in, 0, out, n_out, n_threads);
}

void scgpt_multiply_back(int32_t n, int32_t n_in, int32_t n_out, const float *in,
                         const float *weight, float beta, float *out, int n_threads)
{
    cpt_gemm(false, false, n, n_in, n_out, 1, in, n_out, weight, n_in, beta, out, n_in, n_threads);
}

/* A block of rows through everything that follows the attention, while it is in the cache. */
static void feed_rows(const cpt_scgpt *m, int32_t layer, int64_t first, int64_t rows,
                      scgpt_work *w, const scgpt_record *r)
{
    const cpt_attention_kernels *k = cpt_attention_kernels_get();
    const scgpt_packed_layer *p = &w->layers[layer];
    const scgpt_layer *l = &m->layers[layer];
    const int64_t d = m->shape.width, f = m->shape.hidden, at = first * d;
    float *x = w->x + at, *hidden = w->hidden + first * f;
    float *sum1 = (r ? r->sum1 : w->sum) + at, *sum2 = (r ? r->sum2 : w->sum) + at;
    const cpt_epilogue join1 = {.bias = l->out_bias, .add = x, .add_stride = d},
                       join2 = {.bias = l->down_bias, .add = x, .add_stride = d},
                       relu = {.bias = l->up_bias, .relu = true};
    cpt_multiply(&p->out, rows, w->context + at, d, sum1, d, &join1);
    k->layer_norm(rows, d, sum1, l->norm1.gain, l->norm1.shift, x);
    cpt_multiply(&p->up, rows, x, d, hidden, f, &relu);
    if (r) k->mark(rows * f, hidden, r->active + first * f);
    cpt_multiply(&p->down, rows, hidden, f, sum2, d, &join2);
    k->layer_norm(rows, d, sum2, l->norm2.gain, l->norm2.shift, x);
}

/* Rows that a thread takes at once: the weights pass through the cache once for them, so as many as
 * are split together (math/gemm.c), but the same number for every thread. */
static int32_t rows_at_once(int32_t n, int32_t n_threads)
{
    enum { MOST = 256, TILE = CPT_TILE };
    const int32_t pieces = (n + n_threads * MOST - 1) / (n_threads * MOST) * n_threads;
    return ((n + pieces - 1) / pieces + TILE - 1) / TILE * TILE;
}

void scgpt_layer_feed(const cpt_scgpt *m, int32_t layer, int32_t n, scgpt_work *w,
                      const scgpt_record *r)
{
    const int32_t step = rows_at_once(n, w->n_threads);
#pragma omp parallel for schedule(dynamic) num_threads(w->n_threads) if (w->n_threads > 1)
    for (int32_t first = 0; first < n; first += step)
        feed_rows(m, layer, first, n - first < step ? n - first : step, w, r);
}

void scgpt_layer_project(const cpt_scgpt *m, int32_t layer, int32_t n, scgpt_work *w)
{
    const int64_t d = m->shape.width;
    const cpt_epilogue bias = {.bias = m->layers[layer].qkv_bias};
    const int32_t step = rows_at_once(n, w->n_threads);
#pragma omp parallel for schedule(dynamic) num_threads(w->n_threads) if (w->n_threads > 1)
    for (int32_t first = 0; first < n; first += step)
        cpt_multiply(&w->layers[layer].qkv, n - first < step ? n - first : step, w->x + first * d, d,
                     w->qkv + first * 3 * d, 3 * d, &bias);
}

void scgpt_layer_forward(const cpt_scgpt *m, int32_t layer, int32_t n, scgpt_work *w,
                         const scgpt_record *r)
{
    scgpt_work here = *w;
    if (r) {
        here.qkv = r->qkv;
        here.context = r->context;
    }
    scgpt_layer_project(m, layer, n, &here);
    attend_all(m, n, &here, r);
    scgpt_layer_feed(m, layer, n, &here, r);
}

/* ---- tapes ---- */

static size_t record_size(const cpt_scgpt *m, int32_t n)
{
    const size_t bytes = (size_t)n * (size_t)m->shape.hidden;
    return (size_t)n * (6 * (size_t)m->shape.width + 2 * (size_t)m->shape.n_heads) +
           (bytes + sizeof(float) - 1) / sizeof(float);
}

size_t scgpt_tape_size(const cpt_scgpt *m, int32_t n)
{
    return (size_t)(m->shape.n_layers - 1) * record_size(m, n);
}

scgpt_record scgpt_record_of(const cpt_scgpt *m, int32_t layer, int32_t n, float *tape)
{
    const size_t rows = (size_t)n * (size_t)m->shape.width;
    const size_t heads = (size_t)n * (size_t)m->shape.n_heads;
    float *p = tape + (size_t)layer * record_size(m, n);
    return (scgpt_record){.sum1 = p,
                          .sum2 = p + rows,
                          .qkv = p + 2 * rows,
                          .context = p + 5 * rows,
                          .bounds = p + 6 * rows,
                          .sums = p + 6 * rows + heads,
                          .active = (uint8_t *)(p + 6 * rows + 2 * heads)};
}

/* ---- the last layer, for <cls> alone ---- */

/* out [n_out] = weight [n_out][n_in] in + bias (NULL = 0) */
static void dense_row(int32_t n_in, int32_t n_out, const float *weight, const float *bias,
                      const float *in, float *out)
{
    scgpt_multiply(1, n_in, n_out, in, weight, out, 1);
    if (bias) cpt_attention_kernels_get()->add_bias(1, n_out, bias, out);
}

/* Attention of row 0: query, readers, weights, mixed, context. */
static void attend_from_cls(const cpt_scgpt *m, int32_t n, const float *x, int32_t capacity,
                            scgpt_last *a)
{
    const cpt_attention_kernels *k = cpt_attention_kernels_get();
    const scgpt_layer *l = &m->layers[m->shape.n_layers - 1];
    const int64_t d = m->shape.width, heads = m->shape.n_heads, size = d / heads;
    const float *keys = l->qkv_weight + d * d, *values = keys + d * d,
                *value_bias = l->qkv_bias + 2 * d;
    dense_row((int32_t)d, (int32_t)d, l->qkv_weight, l->qkv_bias, x, a->query);
    for (int64_t h = 0; h < heads; h++) /* q' W_k: rows h size .. of the keys' weights */
        cpt_gemm(false, false, 1, d, size, 1, a->query + h * size, size, keys + h * size * d, d, 0,
                 a->reader + h * d, d, 1);
    cpt_gemm(false, true, heads, n, d, 1, a->reader, d, x, d, 0, a->weights, capacity, 1);
    for (int64_t h = 0; h < heads; h++) {
        float sum, *row = a->weights + h * capacity;
        k->softmax(1, n, n, scgpt_score_scale(m), row, NULL, &sum);
        k->divide(1, n, n, &sum, row);
    }
    cpt_gemm(false, false, heads, d, n, 1, a->weights, capacity, x, d, 0, a->mixed, d, 1);
    for (int64_t h = 0; h < heads; h++)
        dense_row((int32_t)d, (int32_t)size, values + h * size * d, value_bias + h * size,
                  a->mixed + h * d, a->context + h * size);
}

void scgpt_last_forward(const cpt_scgpt *m, int32_t n, const float *x, int32_t capacity,
                        scgpt_last *a)
{
    const cpt_attention_kernels *k = cpt_attention_kernels_get();
    const scgpt_layer *l = &m->layers[m->shape.n_layers - 1];
    const int32_t d = m->shape.width, f = m->shape.hidden;
    attend_from_cls(m, n, x, capacity, a);
    memcpy(a->mid, x, sizeof *x * (size_t)d);
    dense_row(d, d, l->out_weight, NULL, a->context, a->sum1);
    k->add_norm(1, d, a->sum1, l->out_bias, l->norm1.gain, l->norm1.shift, a->mid, a->sum1);
    dense_row(d, f, l->up_weight, NULL, a->mid, a->hidden);
    k->add_bias_relu(1, f, l->up_bias, a->hidden);
    memcpy(a->raw, a->mid, sizeof *x * (size_t)d);
    dense_row(f, d, l->down_weight, NULL, a->hidden, a->sum2);
    k->add_norm(1, d, a->sum2, l->down_bias, l->norm2.gain, l->norm2.shift, a->raw, a->sum2);
}

/* ---- a cell ---- */

void scgpt_normalise(int32_t width, const float *raw, float *out)
{
    double squares = 0;
    for (int32_t j = 0; j < width; j++) squares += (double)raw[j] * (double)raw[j];
    const double length = sqrt(squares);
    for (int32_t j = 0; j < width; j++) out[j] = (float)((double)raw[j] / length);
}

void scgpt_forward(const cpt_scgpt *m, int32_t n, const int32_t *ids, const float *values,
                   scgpt_work *w, float *tape, float *out)
{
    scgpt_last last = scgpt_last_at(m, w->capacity, w->last);
    scgpt_input(m, n, ids, values, w->x, w->qkv);
    for (int32_t i = 0; i + 1 < m->shape.n_layers; i++) {
        scgpt_record r;
        if (tape) r = scgpt_record_of(m, i, n, tape);
        scgpt_layer_forward(m, i, n, w, tape ? &r : NULL);
    }
    scgpt_last_forward(m, n, w->x, w->capacity, &last);
    if (out) scgpt_normalise(m->shape.width, last.raw, out);
}

/* ---- many cells ---- */

/* What one thread owns. */
typedef struct embedder {
    scgpt_tokenizer tokenizer;
    scgpt_work work;
    double *sum; /* [width] over several binnings */
} embedder;

static cpt_status embedder_init(embedder *b, const cpt_scgpt *m, int32_t capacity, int n_threads)
{
    *b = (embedder){0};
    cpt_status status = scgpt_tokenizer_init(&b->tokenizer, m, NULL);
    if (!status) status = cpt_alloc(&b->sum, (size_t)m->shape.width, sizeof *b->sum, NULL);
    const cpt_precision precision = m->options.precision == CPT_SCGPT_BF16 ? CPT_GEMM_BF16 : CPT_GEMM_F32;
    if (!status) status = scgpt_work_init(&b->work, m, precision, capacity, n_threads, NULL);
    return status;
}

static void embedder_free(embedder *b)
{
    scgpt_work_free(&b->work);
    scgpt_tokenizer_free(&b->tokenizer);
    free(b->sum);
}

static void embed_once(const cpt_scgpt *m, const cpt_counts *counts, int64_t row, embedder *b,
                       float *out)
{
    const scgpt_cell *c = &b->tokenizer.cell;
    scgpt_tokenize(&b->tokenizer, m, counts, row, m->options.ties);
    if (c->n > 1) scgpt_forward(m, c->n, c->ids, c->values, &b->work, NULL, out);
    for (int32_t j = 0; c->n <= 1 && j < m->base.dim; j++) out[j] = NAN;
}

/* The mean over several random binnings, of unit length again. */
static void embed_cell(const cpt_scgpt *m, const cpt_counts *counts, int64_t row, embedder *b,
                       float *out)
{
    const int32_t n = m->options.ties == CPT_SCGPT_TIES_RANDOM ? m->options.tie_draws : 1;
    const int32_t d = m->base.dim;
    b->tokenizer.draw = 0;
    embed_once(m, counts, row, b, out);
    if (n == 1) return;
    for (int32_t j = 0; j < d; j++) b->sum[j] = (double)out[j];
    for (b->tokenizer.draw = 1; b->tokenizer.draw < n; b->tokenizer.draw++) {
        embed_once(m, counts, row, b, out);
        for (int32_t j = 0; j < d; j++) b->sum[j] += (double)out[j];
    }
    for (int32_t j = 0; j < d; j++) out[j] = (float)(b->sum[j] / n);
    scgpt_normalise(d, out, out);
}

/* Most tokens that a row of the range can have. */
static int32_t longest(const cpt_scgpt *m, const cpt_csr *csr, int64_t first, int64_t n)
{
    int64_t most = 0;
    for (int64_t i = first; i < first + n; i++) {
        int64_t row = csr->indptr[i + 1] - csr->indptr[i];
        most = row > most ? row : most;
    }
    return most + 1 < m->options.max_tokens ? (int32_t)most + 1 : m->options.max_tokens;
}

/* From the caller's own thread only; a cell takes long enough to be reported by itself. */
static void report(const cpt_context *ctx, int64_t n_cells, int64_t first, int64_t *n_done)
{
    int64_t done;
#pragma omp atomic capture
    done = ++*n_done;
    if (omp_get_thread_num() == 0)
        cpt_progress(ctx, "embedding cells", (double)(first + done), (double)n_cells, NULL);
}

cpt_status scgpt_embed(const cpt_model *base, const cpt_counts *counts, int64_t first, int64_t n,
                       float *out, const cpt_context *ctx, cpt_err *e)
{
    const cpt_scgpt *m = scgpt_of(base);
    const int n_threads = cpt_threads(ctx);
    const int outer = n >= n_threads ? n_threads : 1, inner = outer > 1 ? 1 : n_threads;
    const int32_t capacity = longest(m, counts->csr, first, n);
    cpt_status status = CPT_OK;
    int64_t n_done = 0;
    if (counts->n_genes != base->n_genes)
        return cpt_fail(e, CPT_ERR_USAGE, "the counts are mapped to %d genes, the model has %d",
                        counts->n_genes, base->n_genes);
    cpt_blas_single_thread();
#pragma omp parallel num_threads(outer) if (outer > 1)
    {
        embedder b;
        cpt_status mine = embedder_init(&b, m, capacity, inner);
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < n; i++) {
            if (!mine) mine = cpt_check_stop(ctx, NULL);
            if (!mine) embed_cell(m, counts, first + i, &b, out + i * base->dim);
            report(ctx, counts->csr->n_rows, first, &n_done);
        }
        if (mine) {
#pragma omp critical(scgpt_embed_status)
            status = mine;
        }
        embedder_free(&b);
    }
    if (status == CPT_ERR_INTERRUPTED) return cpt_check_stop(ctx, e);
    return status ? cpt_fail(e, status, "out of memory while embedding cells") : CPT_OK;
}

cpt_status scgpt_profile(const cpt_model *base, const cpt_counts *counts, int64_t row,
                         cpt_profile *out, cpt_err *e)
{
    const cpt_scgpt *m = scgpt_of(base);
    const bool in_counts = m->options.space == CPT_SCGPT_SPACE_COUNTS;
    scgpt_tokenizer t;
    cpt_status status = scgpt_tokenizer_init(&t, m, e);
    *out = (cpt_profile){0};
    if (status) return status;
    scgpt_tokenize(&t, m, counts, row, CPT_SCGPT_TIES_LEFT);
    if (t.cell.broken)
        CPT_TRY(cpt_fail(e, CPT_ERR_DATA, "row %lld: a count is not finite", (long long)row));
    const int32_t n = in_counts ? t.n_raw : t.cell.n - 1;
    CPT_TRY(cpt_alloc(&out->genes, (size_t)n, sizeof *out->genes, e));
    CPT_TRY(cpt_alloc(&out->values, (size_t)n, sizeof *out->values, e));
    out->n = n;
    if (in_counts) {
        cpt_counts_row(counts, row, out->genes, out->values);
    } else {
        memcpy(out->genes, t.cell.genes + 1, sizeof *out->genes * (size_t)n);
        memcpy(out->values, t.cell.values + 1, sizeof *out->values * (size_t)n);
    }
done:
    scgpt_tokenizer_free(&t);
    if (status) cpt_profile_free(out);
    return status;
}

/* Gradients of the embedding with respect to the tokens' values.
 *
 * Weights need no gradients here, so going back costs one product per linear map and four per
 * attention. Of the forward pass a tape keeps what the normalisations read, queries, keys, values
 * and contexts (six rows per token and layer) and the feed-forward's signs; attention weights are
 * computed again, once for GROUP directions. The last layer has one query and costs next to
 * nothing, as going forward (scgpt_last_forward). A layer forward is 4 d + 2 f per token in maps
 * and 2 n in attention (times 2 d); back, the maps are the same and attention is 5 n: 1.7 times as
 * much in all at 1,200 tokens and d = f = 512.
 *
 * Where factors come in parts, the attention of a block of rows is done by math/head.h, and else
 * product by product, which is also the reference.
 *
 * At the bottom, x = token + LN(W relu(w u + b) + c) with u = min(value, 512): the chain ends in
 * the inner product of two rows per token. As in PyTorch the slope of relu at 0 is 0 and that of
 * the clamp at exactly 512 is 1. Single-threaded: pairs are independent and run side by side. */
#include "model/scgpt_network.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "math/blas.h"

enum { GROUP = 4 };

typedef struct backward {
    const cpt_scgpt *m;
    const cpt_attention_kernels *kernels;
    int32_t n, n_w;  /* tokens, directions of this group */
    scgpt_work *w;   /* x: of the last layer; context, qkv: scratch */
    scgpt_record record; /* of the layer at hand */
    float *grad;     /* [n_w][n][width] of the layer's output, then of its input */
    float *context;  /* [n_w][n][width] */
    float *qkv;      /* [n_w][n][3 width] */
    float *hidden;   /* [n][hidden] */
    float *weights;  /* [SCGPT_QUERIES][stride] */
    float *slopes;   /* [n_w] times the same: gradients of the weights; one if not by math/head.h */
    float *columns;  /* [size][SCGPT_QUERIES]: a block's queries or context gradients, transposed */
    float *to_keys, *to_values;       /* [n_w][cpt_head_columns]: of one head, transposed */
    const scgpt_packed_layer *layers; /* [n_layers - 1] transposed weights */
    char *packs;     /* keys, keys transposed, values of one head; then the weights of a block */
    cpt_head_back head;               /* its keys and values, packed */
    cpt_packed block_weights;
    scgpt_screen *screen; /* single changes to estimate on the way; NULL = none */
    void *block;
} backward;

static size_t round_up(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static int64_t head_size(const backward *b)
{
    return b->m->shape.width / b->m->shape.n_heads;
}

static size_t pack_bytes(const backward *b)
{
    const cpt_precision p = b->w->precision;
    return 2 * round_up(cpt_packed_bytes(p, b->n, head_size(b))) +
           round_up(cpt_packed_bytes(p, head_size(b), b->n)) +
           round_up(cpt_packed_bytes(p, b->n, SCGPT_QUERIES)) +
           cpt_head_bytes(head_size(b), b->n_w);
}

static cpt_status allocate(backward *b, cpt_err *e)
{
    const size_t rows = (size_t)b->n, d = (size_t)b->m->shape.width, f = (size_t)b->m->shape.hidden;
    const size_t stride = (size_t)scgpt_score_stride(b->n), scores = SCGPT_QUERIES * stride;
    const size_t size = (size_t)head_size(b), w = (size_t)b->n_w;
    const size_t columns = cpt_head_columns(b->n, head_size(b)), slopes = b->screen ? w : 1;
    float *p = NULL;
    cpt_status status = scgpt_packed(b->m, b->w->precision, true, &b->layers, e);
    if (!status) status = cpt_alloc(&b->packs, pack_bytes(b), 1, e);
    if (!status)
        status = cpt_alloc(&p,
                           w * rows * 5 * d + rows * f + (1 + slopes) * scores +
                               size * SCGPT_QUERIES + 2 * w * columns,
                           sizeof *p, e);
    if (status) return status;
    b->block = p;
    b->grad = p;
    b->context = b->grad + w * rows * d;
    b->qkv = b->context + w * rows * d;
    b->hidden = b->qkv + 3 * w * rows * d;
    b->weights = b->hidden + rows * f;
    b->slopes = b->weights + scores;
    b->columns = b->slopes + slopes * scores;
    b->to_keys = b->columns + size * SCGPT_QUERIES;
    b->to_values = b->to_keys + w * columns;
    return CPT_OK;
}

/* Row block of direction i in one of the arrays of `width` numbers per token. */
static float *part(const backward *b, float *array, int32_t i, int32_t width)
{
    return array + (size_t)i * (size_t)b->n * (size_t)width;
}

/* ---- the last layer ---- */

/* grad [width] of the embedding -> of the layer's output before division by its length */
static void through_length(int32_t d, const float *raw, const float *direction, float *grad)
{
    double squares = 0, along = 0;
    for (int32_t j = 0; j < d; j++) {
        squares += (double)raw[j] * (double)raw[j];
        along += (double)raw[j] * (double)direction[j];
    }
    const double length = sqrt(squares);
    for (int32_t j = 0; j < d; j++)
        grad[j] = (float)(((double)direction[j] - (double)raw[j] * along / squares) / length);
}

/* Gradient of the layer's output row -> of its context row (in `context`); what reaches row 0 past
 * the attention goes into `grad`. */
static void last_to_context(const backward *b, const scgpt_last *a, float *grad, float *context)
{
    const cpt_attention_kernels *k = b->kernels;
    const scgpt_layer *l = &b->m->layers[b->m->shape.n_layers - 1];
    const int32_t d = b->m->shape.width, f = b->m->shape.hidden;
    k->layer_norm_back(1, d, a->sum2, l->norm2.gain, grad);
    scgpt_multiply_back(1, f, d, grad, l->down_weight, 0, b->hidden, 1);
    k->relu_back(f, a->hidden, b->hidden);
    scgpt_multiply_back(1, d, f, b->hidden, l->up_weight, 1, grad, 1);
    k->layer_norm_back(1, d, a->sum1, l->norm1.gain, grad);
    scgpt_multiply_back(1, d, d, grad, l->out_weight, 0, context, 1);
}

/* Attention of row 0 with its context's gradient -> added to grad [n][width]. x is the layer's
 * input. */
static void last_attention(backward *b, int32_t direction, const scgpt_last *a,
                           const float *context, float *scratch, float *grad)
{
    const scgpt_layer *l = &b->m->layers[b->m->shape.n_layers - 1];
    const int64_t d = b->m->shape.width, heads = b->m->shape.n_heads, size = d / heads, n = b->n;
    const int64_t capacity = b->w->capacity;
    const float *keys = l->qkv_weight + d * d, *values = keys + d * d, *x = b->w->x;
    float *mixed = scratch, *reader = mixed + heads * d, *query = reader + heads * d;
    float *slopes = query + d; /* [heads][capacity] */
    for (int64_t h = 0; h < heads; h++)
        scgpt_multiply_back(1, (int32_t)d, (int32_t)size, context + h * size, values + h * size * d,
                            0, mixed + h * d, 1);
    cpt_gemm(false, true, heads, n, d, 1, mixed, d, x, d, 0, slopes, capacity, 1);
    if (b->screen) scgpt_screen_last(b->screen, direction, a, x, capacity, mixed, slopes);
    b->kernels->softmax_back(heads, n, capacity, scgpt_score_scale(b->m), a->weights, slopes);
    cpt_gemm(true, false, n, d, heads, 1, a->weights, capacity, mixed, d, 1, grad, d, 1);
    cpt_gemm(true, false, n, d, heads, 1, slopes, capacity, a->reader, d, 1, grad, d, 1);
    cpt_gemm(false, false, heads, d, n, 1, slopes, capacity, x, d, 0, reader, d, 1);
    for (int64_t h = 0; h < heads; h++)
        scgpt_multiply(1, (int32_t)d, (int32_t)size, reader + h * d, keys + h * size * d,
                       query + h * size, 1);
    scgpt_multiply_back(1, (int32_t)d, (int32_t)d, query, l->qkv_weight, 1, grad, 1);
}

static cpt_status last_layer(backward *b, bool raw, const float *directions, cpt_err *e)
{
    const int32_t d = b->m->shape.width, heads = b->m->shape.n_heads;
    scgpt_last a = scgpt_last_at(b->m, b->w->capacity, b->w->last);
    const size_t size =
        2 * (size_t)heads * (size_t)d + 2 * (size_t)d + (size_t)heads * (size_t)b->w->capacity;
    float *scratch = NULL;
    cpt_status status = cpt_alloc(&scratch, size, sizeof *scratch, e);
    if (status) return status;
    scgpt_last_forward(b->m, b->n, b->w->x, b->w->capacity, &a);
    memset(b->grad, 0, sizeof *b->grad * (size_t)b->n_w * (size_t)b->n * (size_t)d);
    for (int32_t i = 0; i < b->n_w; i++) {
        const float *w = directions + (size_t)i * (size_t)d;
        float *grad = part(b, b->grad, i, d), *context = scratch;
        if (raw) memcpy(grad, w, sizeof *w * (size_t)d);
        else through_length(d, a.raw, w, grad);
        last_to_context(b, &a, grad, context);
        last_attention(b, i, &a, context, scratch + d, grad);
    }
    free(scratch);
    return CPT_OK;
}

/* ---- a full layer ---- */

/* columns [size][SCGPT_QUERIES] = block [rows][size], row stride `stride`, transposed. */
static void transpose(const backward *b, int32_t rows, const float *block, int64_t stride)
{
    const int64_t size = head_size(b);
    for (int64_t j = 0; j < size; j++)
        for (int64_t i = 0; i < rows; i++)
            b->columns[j * SCGPT_QUERIES + i] = block[i * stride + j];
}

/* to [size][stride] += left' weights, left [rows][size], weights [rows][n]: what queries or context
 * gradients do to all keys or values. The weights of the block are the packed side. */
static void add_columns(backward *b, int32_t rows, const float *left, int64_t left_stride,
                        float *to)
{
    const int64_t stride = scgpt_score_stride(b->n);
    const cpt_epilogue add = {.add = to, .add_stride = stride};
    transpose(b, rows, left, left_stride);
    cpt_multiply(&b->block_weights, head_size(b), b->columns, SCGPT_QUERIES, to, stride, &add);
}

static void pack_block(backward *b, int32_t rows, const float *weights)
{
    const cpt_precision p = b->w->precision;
    char *memory = b->packs + pack_bytes(b) - round_up(cpt_packed_bytes(p, b->n, SCGPT_QUERIES));
    cpt_pack(p, b->n, rows, weights, 1, scgpt_score_stride(b->n), memory, &b->block_weights);
}

/* One block of queries of one head for all directions: adds to the keys' and values' gradients,
 * sets the queries'. */
static void block_by_products(backward *b, int32_t head, int32_t first, int32_t rows)
{
    const int64_t d = b->m->shape.width, size = head_size(b), n = b->n;
    const int64_t stride = scgpt_score_stride(b->n), from = head * size;
    const float *q = b->record.qkv + first * 3 * d + from;
    const float scale = scgpt_score_scale(b->m);
    float sums[SCGPT_QUERIES], maxima[SCGPT_QUERIES];
    cpt_multiply(&b->head.keys, rows, q, 3 * d, b->weights, stride, NULL);
    b->kernels->softmax(rows, n, stride, scale, b->weights, maxima, sums);
    b->kernels->divide(rows, n, stride, sums, b->weights);
    if (b->screen) scgpt_screen_weigh(b->screen, rows, q, maxima, sums);
    pack_block(b, rows, b->weights);
    for (int32_t i = 0; i < b->n_w; i++)
        add_columns(b, rows, part(b, b->context, i, (int32_t)d) + first * d + from, d,
                    b->to_values + i * size * stride);
    for (int32_t i = 0; i < b->n_w; i++) {
        const float *context = part(b, b->context, i, (int32_t)d) + first * d + from;
        float *grad = part(b, b->qkv, i, 3 * (int32_t)d) + first * 3 * d + from;
        cpt_multiply(&b->head.values, rows, context, d, b->slopes, stride, NULL);
        if (b->screen)
            scgpt_screen_block(b->screen, i, first, rows, context, b->weights, b->slopes);
        b->kernels->softmax_back(rows, n, stride, scale, b->weights, b->slopes);
        cpt_multiply(&b->head.turned, rows, b->slopes, stride, grad, 3 * d, NULL);
        pack_block(b, rows, b->slopes);
        add_columns(b, rows, q, 3 * d, b->to_keys + i * size * stride);
    }
}

/* What the screen wants of a block that math/head.h has done. */
static void screen_block(backward *b, int32_t first, const cpt_head_rows *r)
{
    float maxima[SCGPT_QUERIES], ones[SCGPT_QUERIES];
    for (int64_t i = 0; i < r->rows; i++) {
        maxima[i] = r->bounds[i] + logf(r->sums[i]);
        ones[i] = 1;
    }
    scgpt_screen_weigh(b->screen, (int32_t)r->rows, r->queries, maxima, ones);
    for (int32_t i = 0; i < b->n_w; i++)
        scgpt_screen_block(b->screen, i, first, (int32_t)r->rows, r->grads + i * r->step,
                           r->weights, r->slopes + i * r->slope_step);
}

/* The same at once. */
static void block_at_once(backward *b, int32_t head, int32_t first, int32_t rows)
{
    const int64_t d = b->m->shape.width, n = b->n, from = head * head_size(b) + first * d;
    const cpt_head_rows r = {.rows = rows,
                             .queries = b->record.qkv + from + first * 2 * d,
                             .context = b->record.context + from,
                             .bounds = b->record.bounds + head * n + first,
                             .sums = b->record.sums + head * n + first,
                             .grads = b->context + from,
                             .to_queries = b->qkv + from + first * 2 * d,
                             .query_stride = 3 * d,
                             .stride = d,
                             .query_step = n * 3 * d,
                             .step = n * d,
                             .weights = b->screen ? b->weights : NULL,
                             .slopes = b->screen ? b->slopes : NULL,
                             .copy_stride = scgpt_score_stride(b->n),
                             .slope_step = SCGPT_QUERIES * scgpt_score_stride(b->n)};
    cpt_head_rows_back(&b->head, &r);
    if (b->screen) screen_block(b, first, &r);
}

static void pack_head(backward *b, int32_t head)
{
    const int64_t d = b->m->shape.width, size = head_size(b);
    const cpt_precision p = b->w->precision;
    const float *keys = b->record.qkv + d + head * size;
    char *at = b->packs;
    b->head = (cpt_head_back){.scale = scgpt_score_scale(b->m),
                              .n_w = b->n_w,
                              .to_keys = b->to_keys,
                              .to_values = b->to_values,
                              .fresh = true};
    cpt_pack(p, b->n, size, keys, 3 * d, 1, at, &b->head.keys);
    at += round_up(cpt_packed_bytes(p, b->n, size));
    cpt_pack(p, b->n, size, keys + d, 3 * d, 1, at, &b->head.values);
    at += round_up(cpt_packed_bytes(p, b->n, size));
    cpt_pack(p, size, b->n, keys, 1, 3 * d, at, &b->head.turned);
    at += round_up(cpt_packed_bytes(p, size, b->n));
    b->head.memory = at + round_up(cpt_packed_bytes(p, b->n, SCGPT_QUERIES));
}

/* Gradients of a head's keys and values out of their transposed sums. */
static void unfold(const backward *b, bool at_once, const float *columns, float *out)
{
    const int64_t d = b->m->shape.width, size = head_size(b), stride = scgpt_score_stride(b->n);
    if (at_once) {
        cpt_head_unfold(b->n, size, columns, out, 3 * d);
        return;
    }
    for (int64_t t = 0; t < b->n; t++)
        for (int64_t j = 0; j < size; j++) out[t * 3 * d + j] = columns[j * stride + t];
}

static void attend_back(backward *b, int32_t head)
{
    const int64_t d = b->m->shape.width, size = head_size(b), columns =
        (int64_t)cpt_head_columns(b->n, size), plain = size * scgpt_score_stride(b->n);
    pack_head(b, head);
    const bool at_once = cpt_in_parts(&b->head.keys, &b->head.turned);
    if (!at_once) {
        memset(b->to_keys, 0, (size_t)(b->n_w * plain) * sizeof(float));
        memset(b->to_values, 0, (size_t)(b->n_w * plain) * sizeof(float));
    }
    if (b->screen) scgpt_screen_head(b->screen, head);
    const int32_t most = at_once && !b->screen ? CPT_HEAD_BACK_ROWS : SCGPT_QUERIES;
    for (int32_t first = 0; first < b->n; first += most) {
        const int32_t rows = b->n - first < most ? b->n - first : most;
        if (at_once) block_at_once(b, head, first, rows);
        else block_by_products(b, head, first, rows);
    }
    for (int32_t i = 0; i < b->n_w; i++) {
        float *keys = part(b, b->qkv, i, 3 * (int32_t)d) + d + head * size;
        const int64_t step = i * (at_once ? columns : plain);
        unfold(b, at_once, b->to_keys + step, keys);
        unfold(b, at_once, b->to_values + step, keys + d);
    }
}

static void attention(backward *b)
{
    for (int32_t head = 0; head < b->m->shape.n_heads; head++) attend_back(b, head);
}

/* What norms, feed-forward and output map do to the gradient of one direction. */
static void feed_back(backward *b, int32_t layer, int32_t i)
{
    const scgpt_layer *l = &b->m->layers[layer];
    const scgpt_packed_layer *p = &b->layers[layer];
    const cpt_attention_kernels *k = b->kernels;
    const int64_t d = b->m->shape.width, f = b->m->shape.hidden, n = b->n;
    float *grad = part(b, b->grad, i, (int32_t)d);
    const cpt_epilogue add = {.add = grad, .add_stride = d};
    k->layer_norm_back(n, d, b->record.sum2, l->norm2.gain, grad);
    cpt_multiply(&p->down, n, grad, d, b->hidden, f, NULL);
    k->keep_marked(n * f, b->record.active, b->hidden);
    cpt_multiply(&p->up, n, b->hidden, f, grad, d, &add);
    k->layer_norm_back(n, d, b->record.sum1, l->norm1.gain, grad);
    cpt_multiply(&p->out, n, grad, d, part(b, b->context, i, (int32_t)d), d, NULL);
}

static void full_layer(backward *b, int32_t layer)
{
    const int64_t d = b->m->shape.width, n = b->n;
    if (b->screen) scgpt_screen_project(b->screen, layer);
    for (int32_t i = 0; i < b->n_w; i++) feed_back(b, layer, i);
    attention(b);
    for (int32_t i = 0; i < b->n_w; i++) {
        float *grad = part(b, b->grad, i, (int32_t)d);
        const cpt_epilogue add = {.add = grad, .add_stride = d};
        cpt_multiply(&b->layers[layer].qkv, n, part(b, b->qkv, i, 3 * (int32_t)d), 3 * d, grad, d,
                     &add);
    }
}

/* ---- the value encoder ---- */

/* before [n][width] = what the encoder's normalisation reads; slopes [n][width], its derivative. */
static void value_slopes(const backward *b, const float *values, float *before, float *slopes,
                         float *scratch)
{
    const cpt_scgpt *m = b->m;
    const int32_t d = m->shape.width;
    for (int pass = 0; pass < 2; pass++) {
        for (int32_t i = 0; i < b->n; i++) {
            const bool clamped = values[i] > SCGPT_MAX_VALUE;
            const float u = clamped ? SCGPT_MAX_VALUE : values[i];
            for (int32_t j = 0; j < d; j++) {
                const float y = m->value_in[j] * u + m->value_in_bias[j];
                const float slope = clamped ? 0 : m->value_in[j];
                scratch[(size_t)i * (size_t)d + (size_t)j] = y > 0 ? (pass ? slope : y) : 0;
            }
        }
        scgpt_multiply(b->n, d, d, scratch, m->value_out, pass ? slopes : before, 1);
    }
    b->kernels->add_bias(b->n, d, m->value_out_bias, before);
}

static void to_values(backward *b, const float *values, float *out)
{
    const int32_t d = b->m->shape.width, n = b->n;
    float *before = b->w->qkv, *slopes = before + (size_t)n * (size_t)d;
    value_slopes(b, values, before, slopes, b->w->context);
    for (int32_t i = 0; i < b->n_w; i++) {
        float *grad = part(b, b->grad, i, d);
        b->kernels->layer_norm_back(n, d, before, b->m->value_norm.gain, grad);
        for (int32_t t = 0; t < n; t++) {
            const float *g = grad + (size_t)t * (size_t)d, *s = slopes + (size_t)t * (size_t)d;
            double sum = 0;
            for (int32_t j = 0; j < d; j++) sum += (double)g[j] * (double)s[j];
            out[(size_t)i * (size_t)n + (size_t)t] = (float)sum;
        }
    }
}

/* ---- all ---- */

/* The input of the last layer into w->x. */
static void last_input(const cpt_scgpt *m, int32_t n, const int32_t *ids, const float *values,
                       float *tape, scgpt_work *w)
{
    const int32_t before = m->shape.n_layers - 2;
    if (before < 0) {
        scgpt_input(m, n, ids, values, w->x, w->qkv);
        return;
    }
    const scgpt_norm *norm = &m->layers[before].norm2;
    cpt_attention_kernels_get()->layer_norm(n, m->shape.width,
                                            scgpt_record_of(m, before, n, tape).sum2, norm->gain,
                                            norm->shift, w->x);
}

cpt_status scgpt_backward(const cpt_scgpt *m, int32_t n, const int32_t *ids, const float *values,
                          scgpt_work *w, float *tape, bool raw, int32_t n_w,
                          const float *directions, scgpt_screen *screen, float *out, cpt_err *e)
{
    const size_t d = (size_t)m->shape.width;
    backward b = {.m = m, .kernels = cpt_attention_kernels_get(), .n = n, .w = w, .screen = screen,
                  .n_w = n_w < GROUP ? n_w : GROUP};
    cpt_status status = allocate(&b, e);
    for (int32_t from = 0; !status && from < n_w; from += GROUP) {
        b.n_w = n_w - from < GROUP ? n_w - from : GROUP;
        if (screen) screen->first = from;
        last_input(m, n, ids, values, tape, w);
        status = last_layer(&b, raw, directions + (size_t)from * d, e);
        for (int32_t i = m->shape.n_layers - 2; !status && i >= 0; i--) {
            b.record = scgpt_record_of(m, i, n, tape);
            full_layer(&b, i);
        }
        if (!status && out) to_values(&b, values, out + (size_t)from * (size_t)n);
    }
    free(b.packs);
    free(b.block);
    return status;
}

/* Some cells together through the transformer, and back, for training.
 *
 * A block is whole cells, one after the other without padding, about SCGPT_BLOCK_ROWS tokens: so
 * many that products run well, so few that the activations of a layer stay in the second-level
 * cache. Attention is done cell by cell and head by head; everything else over all rows at once.
 * One thread works on a block. Of the last layer only <cls> and the masked tokens are wanted: its
 * other rows give keys and values and nothing else.
 *
 * Dropout (a key per cell and place) sits where PyTorch's encoder layer has it, but for the
 * attention weights: on the value embedding, on the attention's output, after ReLU, on the
 * feed-forward's output. Masks are computed again on the way back.
 *
 * Attention weights, too, are computed again instead of being kept: S^2 numbers per head and
 * layer against one product of seven. Cost per token of a layer with width d, feed-forward f and S
 * tokens: 2 d (4 d + 2 f) + 4 S d operations forward, twice as many back, 2 S d for the repeated
 * scores. */
#include "model/scgpt_step.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "math/blas.h"

/* ---- memory ---- */

/* Floats given out one after the other; without a base it only counts them. */
typedef struct floats {
    float *base;
    size_t used;
} floats;

static float *cut(floats *p, size_t n)
{
    float *here = p->base ? p->base + p->used : NULL;
    p->used += (n + 15) / 16 * 16;
    return here;
}

static void lay_out(scgpt_block *b, floats *p)
{
    const scgpt_shape *s = &b->weights->shape;
    const size_t r = (size_t)b->capacity, d = (size_t)s->width, f = (size_t)s->hidden;
    const size_t genes = (size_t)(s->n_tokens - SCGPT_SPECIAL);
    const size_t scores = (size_t)SCGPT_QUERIES * (size_t)scgpt_score_stride(b->capacity);
    float **const wide[] = {&b->out,     &b->d_out, &b->d_x,    &b->d_q,     &b->d_context,
                            &b->dropped, &b->first, &b->second, &b->d_first, &b->d_second};
    for (int32_t i = 0; i < s->n_layers; i++) {
        scgpt_tape *t = &b->tape[i];
        float **const rows[] = {&t->x, &t->q, &t->context, &t->sum1, &t->mid, &t->sum2};
        for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) *rows[k] = cut(p, r * d);
        t->kv = cut(p, 2 * r * d);
        t->hidden = cut(p, r * f);
        t->chosen = i + 1 < s->n_layers ? t->x : cut(p, r * d);
    }
    for (size_t k = 0; k < sizeof wide / sizeof *wide; k++) *wide[k] = cut(p, r * d);
    b->d_kv = cut(p, 2 * r * d);
    b->d_hidden = cut(p, r * f);
    b->predicted = cut(p, r);
    b->target = cut(p, r);
    b->cells = cut(p, SCGPT_BLOCK_CELLS * d);
    b->d_cells = cut(p, SCGPT_BLOCK_CELLS * d);
    b->mvc = cut(p, SCGPT_BLOCK_CELLS * genes);
    b->weights_of = cut(p, scores);
    b->slopes = cut(p, scores);
    b->zero = cut(p, d);
}

cpt_status scgpt_block_init(scgpt_block *b, const scgpt_weights *w, const scgpt_tables *t,
                            int32_t max_tokens, bool dropout, cpt_err *e)
{
    const size_t sites = 1 + 3 * (size_t)w->shape.n_layers;
    floats p = {0};
    cpt_status status;
    *b = (scgpt_block){.weights = w, .tables = t};
    b->capacity = max_tokens > SCGPT_BLOCK_ROWS ? max_tokens : SCGPT_BLOCK_ROWS;
    const size_t rows = (size_t)b->capacity;
    CPT_TRY(cpt_alloc(&b->tape, (size_t)w->shape.n_layers, sizeof *b->tape, e));
    CPT_TRY(cpt_alloc(&b->ids, 3 * rows, sizeof *b->ids, e));
    b->value = b->ids + rows;
    b->want = b->value + rows;
    if (dropout) CPT_TRY(cpt_alloc(&b->keys, SCGPT_BLOCK_CELLS * sites, sizeof *b->keys, e));
    lay_out(b, &p);
    CPT_TRY(cpt_alloc(&p.base, p.used, sizeof *p.base, e));
    b->block = p.base;
    p.used = 0;
    lay_out(b, &p);
done:
    if (status) scgpt_block_free(b);
    return status;
}

void scgpt_block_free(scgpt_block *b)
{
    free(b->tape);
    free(b->ids);
    free(b->keys);
    free(b->block);
    *b = (scgpt_block){0};
}

/* ---- filling ---- */

void scgpt_block_clear(scgpt_block *b)
{
    b->n_cells = 0;
    b->cell_start[0] = b->want_start[0] = 0;
}

bool scgpt_block_add(scgpt_block *b, const scgpt_batch *batch, int32_t i, const cpt_dropout *keys)
{
    const int32_t c = b->n_cells, n = batch->length[i], from = b->cell_start[c];
    const size_t at = (size_t)i * (size_t)batch->max_tokens;
    const size_t sites = 1 + 3 * (size_t)b->weights->shape.n_layers;
    int32_t wanted = b->want_start[c];
    if (c == SCGPT_BLOCK_CELLS || from + n > b->capacity) return false;
    for (int32_t j = 0; j < n; j++) {
        const bool masked = batch->masked[at + (size_t)j];
        b->ids[from + j] = batch->ids[at + (size_t)j];
        b->value[from + j] = j == 0   ? SCGPT_CLS_VALUE
                             : masked ? SCGPT_MASK_VALUE
                                      : batch->bins[at + (size_t)j];
        if (j && !masked) continue;
        b->target[wanted] = batch->bins[at + (size_t)j];
        b->want[wanted++] = from + j;
    }
    b->cell_targets[c] = batch->targets + (size_t)i * (size_t)batch->n_genes;
    if (keys) memcpy(b->keys + (size_t)c * sites, keys, sites * sizeof *keys);
    b->drops = keys != NULL;
    b->n_cells = c + 1;
    b->cell_start[c + 1] = from + n;
    b->want_start[c + 1] = wanted;
    return true;
}

/* ---- dropout ---- */

enum { SITE_VALUE, SITE_ATTENTION = 0, SITE_HIDDEN, SITE_FEED };

/* The rows of a layer's output: where each cell's begin, and their numbers (NULL: all rows). */
static const int32_t *row_starts(const scgpt_block *b, int32_t layer, const int32_t **rows)
{
    const bool last = layer + 1 == b->weights->shape.n_layers;
    *rows = last ? b->want : NULL;
    return last ? b->want_start : b->cell_start;
}

/* Row r of a cell takes the elements r width .. of its block of random bits. */
static void drop(const scgpt_block *b, int32_t layer, int32_t site, int32_t width, float *x)
{
    const cpt_training_kernels *k = cpt_training_kernels_get();
    const int32_t sites = 1 + 3 * b->weights->shape.n_layers, *rows;
    const int32_t *start = layer < 0 ? b->cell_start : row_starts(b, layer, &rows);
    if (!b->drops) return;
    if (layer < 0) rows = NULL;
    for (int32_t c = 0; c < b->n_cells; c++) {
        const cpt_dropout *key = &b->keys[c * sites + (layer < 0 ? 0 : 1 + 3 * layer + site)];
        for (int32_t i = start[c]; i < start[c + 1]; i++) {
            const int32_t row = (rows ? rows[i] : i) - b->cell_start[c];
            k->dropout(width, (uint32_t)row * (uint32_t)width, key, x + (int64_t)i * width);
        }
    }
}

/* ---- attention of one cell and head ---- */

/* What one head of one cell reads: m queries, n keys and values, each with its row stride. */
typedef struct head {
    int32_t m, n, size;
    int64_t q_stride, kv_stride, stride; /* of scores */
    const float *q, *k, *v;
    float scale;
} head;

static head head_of(const scgpt_block *b, int32_t layer, int32_t cell, int32_t number)
{
    const scgpt_shape *s = &b->weights->shape;
    const scgpt_tape *t = &b->tape[layer];
    const int64_t d = s->width, from = number * (d / s->n_heads);
    const int32_t *rows, *start = row_starts(b, layer, &rows);
    const int64_t first = b->cell_start[cell];
    head h = {.m = start[cell + 1] - start[cell],
              .n = b->cell_start[cell + 1] - (int32_t)first,
              .size = s->width / s->n_heads,
              .q_stride = d,
              .kv_stride = 2 * d};
    h.stride = scgpt_score_stride(h.n);
    h.q = t->q + start[cell] * d + from;
    h.k = t->kv + first * 2 * d + from;
    h.v = h.k + d;
    h.scale = 1 / sqrtf((float)h.size);
    return h;
}

/* Undivided attention weights of queries [first, first + rows) and what each row sums to. */
static void scores(const head *h, int32_t first, int32_t rows, float *weights, float *sums)
{
    cpt_gemm(false, true, rows, h->n, h->size, 1, h->q + first * h->q_stride, h->q_stride, h->k,
             h->kv_stride, 0, weights, h->stride, 1);
    cpt_attention_kernels_get()->softmax(rows, h->n, h->stride, h->scale, weights, NULL, sums);
}

static void head_forward(const head *h, float *weights, float *context)
{
    for (int32_t first = 0; first < h->m; first += SCGPT_QUERIES) {
        const int32_t rows = h->m - first < SCGPT_QUERIES ? h->m - first : SCGPT_QUERIES;
        float sums[SCGPT_QUERIES], *out = context + first * h->q_stride;
        scores(h, first, rows, weights, sums);
        cpt_gemm(false, false, rows, h->size, h->n, 1, weights, h->stride, h->v, h->kv_stride, 0,
                 out, h->q_stride, 1);
        cpt_attention_kernels_get()->divide(rows, h->size, h->q_stride, sums, out);
    }
}

/* Sets d_q, adds to d_k and d_v. */
static void head_back(const head *h, const float *d_context, float *weights, float *slopes,
                      float *d_q, float *d_k, float *d_v)
{
    const cpt_attention_kernels *k = cpt_attention_kernels_get();
    for (int32_t first = 0; first < h->m; first += SCGPT_QUERIES) {
        const int32_t rows = h->m - first < SCGPT_QUERIES ? h->m - first : SCGPT_QUERIES;
        const float *d_out = d_context + first * h->q_stride;
        float sums[SCGPT_QUERIES];
        scores(h, first, rows, weights, sums);
        k->divide(rows, h->n, h->stride, sums, weights);
        cpt_gemm(true, false, h->n, h->size, rows, 1, weights, h->stride, d_out, h->q_stride, 1,
                 d_v, h->kv_stride, 1);
        cpt_gemm(false, true, rows, h->n, h->size, 1, d_out, h->q_stride, h->v, h->kv_stride, 0,
                 slopes, h->stride, 1);
        k->softmax_back(rows, h->n, h->stride, h->scale, weights, slopes);
        cpt_gemm(false, false, rows, h->size, h->n, 1, slopes, h->stride, h->k, h->kv_stride, 0,
                 d_q + first * h->q_stride, h->q_stride, 1);
        cpt_gemm(true, false, h->n, h->size, rows, 1, slopes, h->stride, h->q + first * h->q_stride,
                 h->q_stride, 1, d_k, h->kv_stride, 1);
    }
}

/* ---- forward ---- */

static const float *layer_weights(const scgpt_block *b, int32_t layer)
{
    const scgpt_layout *at = &b->weights->at;
    return b->weights->values + at->layers + layer * at->layer_size;
}

static void input(scgpt_block *b)
{
    const int64_t d = b->weights->shape.width, n = b->cell_start[b->n_cells];
    float *x = b->tape[0].x;
    for (int64_t i = 0; i < n; i++)
        memcpy(x + i * d, b->tables->value + b->value[i] * d, sizeof *x * (size_t)d);
    drop(b, -1, SITE_VALUE, (int32_t)d, x);
    for (int64_t i = 0; i < n; i++) {
        const float *token = b->tables->token + b->ids[i] * d;
        for (int64_t j = 0; j < d; j++) x[i * d + j] += token[j];
    }
}

/* x + dropout(add + bias), normalised: add is overwritten, sum [m][width] is what was normalised.
 */
static void join(const scgpt_block *b, int32_t layer, int32_t site, int32_t m, const float *x,
                 const float *bias, const float *gain, const float *shift, float *sum, float *out)
{
    const cpt_attention_kernels *k = cpt_attention_kernels_get();
    const int32_t d = b->weights->shape.width;
    if (b->drops) {
        k->add_bias(m, d, bias, sum);
        drop(b, layer, site, d, sum);
        bias = b->zero;
    }
    memcpy(out, x, sizeof *x * (size_t)m * (size_t)d);
    k->add_norm(m, d, sum, bias, gain, shift, out, sum);
}

static void attend(scgpt_block *b, int32_t layer)
{
    const int64_t d = b->weights->shape.width, size = d / b->weights->shape.n_heads;
    const int32_t *rows, *start = row_starts(b, layer, &rows);
    for (int32_t c = 0; c < b->n_cells; c++)
        for (int32_t i = 0; i < b->weights->shape.n_heads; i++) {
            const head h = head_of(b, layer, c, i);
            head_forward(&h, b->weights_of, b->tape[layer].context + start[c] * d + i * size);
        }
}

static void layer_forward(scgpt_block *b, int32_t layer, float *out)
{
    const cpt_attention_kernels *k = cpt_attention_kernels_get();
    const scgpt_layout *at = &b->weights->at;
    const int32_t d = b->weights->shape.width, f = b->weights->shape.hidden;
    const float *p = layer_weights(b, layer);
    scgpt_tape *t = &b->tape[layer];
    const int32_t *rows, *start = row_starts(b, layer, &rows);
    const int32_t n = b->cell_start[b->n_cells], m = start[b->n_cells];
    for (int32_t i = 0; rows && i < m; i++)
        memcpy(t->chosen + (int64_t)i * d, t->x + (int64_t)rows[i] * d, sizeof *out * (size_t)d);
    scgpt_multiply(m, d, d, t->chosen, p + at->qkv_weight, t->q, 1);
    k->add_bias(m, d, p + at->qkv_bias, t->q);
    scgpt_multiply(n, d, 2 * d, t->x, p + at->qkv_weight + (int64_t)d * d, t->kv, 1);
    k->add_bias(n, 2 * d, p + at->qkv_bias + d, t->kv);
    attend(b, layer);
    scgpt_multiply(m, d, d, t->context, p + at->out_weight, t->sum1, 1);
    join(b, layer, SITE_ATTENTION, m, t->chosen, p + at->out_bias, p + at->gain1, p + at->shift1,
         t->sum1, t->mid);
    scgpt_multiply(m, d, f, t->mid, p + at->up_weight, t->hidden, 1);
    k->add_bias_relu(m, f, p + at->up_bias, t->hidden);
    drop(b, layer, SITE_HIDDEN, f, t->hidden);
    scgpt_multiply(m, f, d, t->hidden, p + at->down_weight, t->sum2, 1);
    join(b, layer, SITE_FEED, m, t->mid, p + at->down_bias, p + at->gain2, p + at->shift2, t->sum2,
         out);
}

void scgpt_block_forward(scgpt_block *b)
{
    const int32_t n_layers = b->weights->shape.n_layers;
    input(b);
    for (int32_t i = 0; i < n_layers; i++)
        layer_forward(b, i, i + 1 < n_layers ? b->tape[i + 1].x : b->out);
}

/* ---- back ---- */

/* weight_grad [n_out][n_in] += d_out' in, bias_grad += column sums of d_out [n][n_out] */
static void linear_back(int64_t n, int64_t n_in, int64_t n_out, const float *in, const float *d_out,
                        float *weight_grad, float *bias_grad)
{
    cpt_gemm(true, false, n_out, n_in, n, 1, d_out, n_out, in, n_in, 1, weight_grad, n_in, 1);
    cpt_training_kernels_get()->add_rows(n, n_out, d_out, bias_grad);
}

/* What dropout let through: d itself without dropout, else a copy. */
static const float *undrop(scgpt_block *b, int32_t layer, int32_t site, int32_t m,
                           const float *d_sum)
{
    const int32_t d = b->weights->shape.width;
    if (!b->drops) return d_sum;
    memcpy(b->dropped, d_sum, sizeof *d_sum * (size_t)m * (size_t)d);
    drop(b, layer, site, d, b->dropped);
    return b->dropped;
}

/* grad [m][width]: of the layer's output -> of what the attention's output is added to. */
static void feed_back(scgpt_block *b, int32_t layer, int32_t m, float *grad)
{
    const cpt_training_kernels *train = cpt_training_kernels_get();
    const scgpt_layout *at = &b->weights->at;
    const int32_t d = b->weights->shape.width, f = b->weights->shape.hidden;
    const scgpt_tape *t = &b->tape[layer];
    const float *p = layer_weights(b, layer);
    float *g = b->grad + at->layers + layer * at->layer_size;
    train->norm_back(m, d, t->sum2, p + at->gain2, grad, g + at->gain2, g + at->shift2);
    const float *d_feed = undrop(b, layer, SITE_FEED, m, grad);
    linear_back(m, f, d, t->hidden, d_feed, g + at->down_weight, g + at->down_bias);
    scgpt_multiply_back(m, f, d, d_feed, p + at->down_weight, 0, b->d_hidden, 1);
    cpt_attention_kernels_get()->relu_back((int64_t)m * f, t->hidden, b->d_hidden);
    /* a hidden unit that dropout took away is 0, like one that ReLU did: only the scale is left */
    const float scale = b->drops ? b->keys[0].scale : 1;
    for (int64_t i = 0; b->drops && i < (int64_t)m * f; i++) b->d_hidden[i] *= scale;
    linear_back(m, d, f, t->mid, b->d_hidden, g + at->up_weight, g + at->up_bias);
    scgpt_multiply_back(m, d, f, b->d_hidden, p + at->up_weight, 1, grad, 1);
    train->norm_back(m, d, t->sum1, p + at->gain1, grad, g + at->gain1, g + at->shift1);
}

/* d_context -> d_q and d_kv */
static void attention_back(scgpt_block *b, int32_t layer)
{
    const int64_t d = b->weights->shape.width, size = d / b->weights->shape.n_heads;
    const int32_t *rows, *start = row_starts(b, layer, &rows);
    memset(b->d_kv, 0, sizeof *b->d_kv * 2 * (size_t)d * (size_t)b->cell_start[b->n_cells]);
    for (int32_t c = 0; c < b->n_cells; c++)
        for (int32_t i = 0; i < b->weights->shape.n_heads; i++) {
            const head h = head_of(b, layer, c, i);
            const int64_t at = start[c] * d + i * size;
            float *d_k = b->d_kv + b->cell_start[c] * 2 * d + i * size;
            head_back(&h, b->d_context + at, b->weights_of, b->slopes, b->d_q + at, d_k, d_k + d);
        }
}

/* grad: of the layer's output rows [m] -> of all its input rows; returns where that lies. */
static float *layer_back(scgpt_block *b, int32_t layer, float *grad)
{
    const scgpt_layout *at = &b->weights->at;
    const int32_t d = b->weights->shape.width, n = b->cell_start[b->n_cells];
    const scgpt_tape *t = &b->tape[layer];
    const float *p = layer_weights(b, layer);
    float *g = b->grad + at->layers + layer * at->layer_size;
    const int32_t *rows, *start = row_starts(b, layer, &rows), m = start[b->n_cells];
    const int64_t keys = (int64_t)d * d; /* where the weights of keys and values begin */
    feed_back(b, layer, m, grad);
    const float *d_sum = undrop(b, layer, SITE_ATTENTION, m, grad);
    linear_back(m, d, d, t->context, d_sum, g + at->out_weight, g + at->out_bias);
    scgpt_multiply_back(m, d, d, d_sum, p + at->out_weight, 0, b->d_context, 1);
    attention_back(b, layer);
    linear_back(m, d, d, t->chosen, b->d_q, g + at->qkv_weight, g + at->qkv_bias);
    linear_back(n, d, 2 * d, t->x, b->d_kv, g + at->qkv_weight + keys, g + at->qkv_bias + d);
    scgpt_multiply_back(m, d, d, b->d_q, p + at->qkv_weight, 1, grad, 1);
    float *d_x = rows ? b->d_x : grad;
    scgpt_multiply_back(n, d, 2 * d, b->d_kv, p + at->qkv_weight + keys, rows ? 0 : 1, d_x, 1);
    for (int32_t i = 0; rows && i < m; i++)
        for (int32_t j = 0; j < d; j++) d_x[(int64_t)rows[i] * d + j] += grad[(int64_t)i * d + j];
    return d_x;
}

void scgpt_block_back(scgpt_block *b)
{
    const int64_t d = b->weights->shape.width, n = b->cell_start[b->n_cells];
    float *grad = b->d_out;
    for (int32_t i = b->weights->shape.n_layers - 1; i >= 0; i--) grad = layer_back(b, i, grad);
    for (int64_t i = 0; i < n; i++) {
        float *token = b->grad + b->weights->at.embedding + b->ids[i] * d;
        for (int64_t j = 0; j < d; j++) token[j] += grad[i * d + j];
    }
    drop(b, -1, SITE_VALUE, (int32_t)d, grad);
    for (int64_t i = 0; i < n; i++) {
        float *value = b->value_grad + b->value[i] * d;
        for (int64_t j = 0; j < d; j++) value[j] += grad[i * d + j];
    }
}

/* What many single changes of a cell do to its embedding, estimated together.
 *
 * An exact answer costs a forward pass per change (scgpt_session.c). Here all of them share one
 * forward and one backward pass. A change takes a token away, adds one, or gives one another value:
 * one key less, one more, or both, in the attention of every other token. So for each layer, head
 * and row with context c and gradient g (of w . f with respect to c) the first-order effect is
 *
 *     g . (c' - c),   c' = (c - p v + q v') / (1 - p + q)
 *
 * with p the weight that the row gave to the leaving token (value row v) and q the one that it
 * gives, on the same scale, to the coming one (v'). The sum over layers, heads and rows is the
 * estimate: linear in what the rest of the cell does about the change, exact in the step itself -
 * the value encoder, the token's coming and going are no small changes, and a derivative with
 * respect to the value knows nothing of them.
 *
 * A coming token is a ghost: it sees the cell (but for the token that it replaces) and itself, and
 * goes through the layers as it would if the cell took no notice of it; the cell does not see it.
 * All ghosts of a cell go together, as further rows of queries.
 *
 * Cost with n tokens and g ghosts: one forward pass of g rows over n keys, one backward pass of the
 * cell, and 4 n g d operations per layer. */
#include "model/scgpt_network.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "math/blas.h"

/* ---- memory ---- */

/* Packed keys or values of all ghosts in one head. */
static size_t head_bytes(const scgpt_screen *s, cpt_precision precision)
{
    return (cpt_packed_bytes(precision, s->n_ghosts, s->m->shape.width / s->m->shape.n_heads) + 63) /
           64 * 64;
}

static cpt_status allocate(scgpt_screen *s, cpt_precision precision, int32_t n_w, cpt_err *e)
{
    const size_t d = (size_t)s->m->shape.width, n = (size_t)s->n, ghosts = (size_t)s->n_ghosts;
    const size_t rows = (size_t)SCGPT_QUERIES, layers = (size_t)s->m->shape.n_layers;
    cpt_status status;
    float *p;
    s->stride = scgpt_score_stride(s->n_ghosts > s->n_tokens ? s->n_ghosts : s->n_tokens + 1);
    CPT_TRY(cpt_alloc(&s->order, n, sizeof *s->order, e));
    CPT_TRY(cpt_alloc(&s->old, n, sizeof *s->old, e));
    CPT_TRY(cpt_alloc(&s->swap_of, (size_t)s->n_tokens, sizeof *s->swap_of, e));
    CPT_TRY(cpt_alloc(&s->estimates, (size_t)n_w * n, sizeof *s->estimates, e));
    CPT_TRY(scgpt_work_init(&s->work, s->m, precision, s->n_ghosts ? s->n_ghosts : 1, 1, e));
    CPT_TRY(cpt_alloc(&s->heads, 2, head_bytes(s, precision), e));
    CPT_TRY(cpt_alloc(&p, layers * ghosts * d + 2 * rows * (size_t)s->stride + 5 * n, sizeof *p,
                      e));
    s->block = p;
    s->x = p;
    s->weights = s->x + layers * ghosts * d;
    s->coming = s->weights + rows * (size_t)s->stride;
    s->p = s->coming + rows * (size_t)s->stride;
    s->leaving = s->p + n;
    s->q = s->leaving + n;
    s->grads = s->q + n;
    s->sums = s->grads + n;
done:
    return status;
}

void scgpt_screen_free(scgpt_screen *s)
{
    free(s->order);
    free(s->old);
    free(s->swap_of);
    free(s->estimates);
    free(s->heads);
    free(s->block);
    scgpt_work_free(&s->work);
    *s = (scgpt_screen){0};
}

/* ---- ghosts ---- */

/* A block of the ghosts' rows in one head of the cell: weights of its tokens, and of the ghost itself
 * in column n. */
static void ghost_block(scgpt_screen *s, const scgpt_head *h, int32_t first, int32_t rows)
{
    const cpt_attention_kernels *k = cpt_attention_kernels_get();
    const int64_t d = s->m->shape.width, size = d / s->m->shape.n_heads, n = s->n_tokens;
    const float *own = s->work.qkv + first * 3 * d + h->number * size;
    float *out = s->work.context + first * d + h->number * size, sums[SCGPT_QUERIES];
    cpt_multiply(&h->packed.keys, rows, own, 3 * d, s->weights, s->stride, NULL);
    for (int64_t i = 0; i < rows; i++) {
        const float *q = own + i * 3 * d;
        float dot = 0;
        for (int64_t j = 0; j < size; j++) dot += q[j] * q[d + j];
        s->weights[i * s->stride + n] = dot;
        if (s->old[first + i]) s->weights[i * s->stride + s->old[first + i]] = -INFINITY;
    }
    k->softmax(rows, n + 1, s->stride, scgpt_score_scale(s->m), s->weights, NULL, sums);
    cpt_multiply(&h->packed.values, rows, s->weights, s->stride, out, d, NULL);
    for (int64_t i = 0; i < rows; i++) {
        const float *v = own + i * 3 * d + 2 * d, weight = s->weights[i * s->stride + n];
        for (int64_t j = 0; j < size; j++) out[i * d + j] += weight * v[j];
    }
    k->divide(rows, size, d, sums, out);
}

/* The ghosts' rows in s->work.x through one layer; qkv is that of the cell. */
static void ghost_layer(scgpt_screen *s, int32_t layer, const float *qkv, scgpt_work *w)
{
    const int32_t g = s->n_ghosts;
    scgpt_layer_project(s->m, layer, g, &s->work);
    for (int32_t head = 0; head < s->m->shape.n_heads; head++) {
        scgpt_head h;
        scgpt_head_pack(&h, s->m, w->precision, s->n_tokens, head, qkv, w->heads);
        for (int32_t first = 0; first < g; first += SCGPT_QUERIES)
            ghost_block(s, &h, first, g - first < SCGPT_QUERIES ? g - first : SCGPT_QUERIES);
    }
    scgpt_layer_feed(s->m, layer, g, &s->work, NULL);
}

static float *ghosts_at(const scgpt_screen *s, int32_t layer)
{
    return s->x + (size_t)layer * (size_t)s->n_ghosts * (size_t)s->m->shape.width;
}

/* Fills s->x. */
static void run_ghosts(scgpt_screen *s, float *tape, scgpt_work *w)
{
    const size_t bytes = (size_t)s->n_ghosts * (size_t)s->m->shape.width * sizeof *s->x;
    const int32_t n_layers = s->m->shape.n_layers;
    memcpy(s->x, s->work.x, bytes);
    for (int32_t i = 0; i + 1 < n_layers; i++) {
        ghost_layer(s, i, scgpt_record_of(s->m, i, s->n_tokens, tape).qkv, w);
        memcpy(ghosts_at(s, i + 1), s->work.x, bytes);
    }
}

/* Swaps in which a token comes get the first places; their input rows go into work.x. */
static void sort_swaps(scgpt_screen *s, const scgpt_swap *swaps)
{
    const size_t d = (size_t)s->m->shape.width;
    int32_t ghosts = 0, others = s->n_ghosts;
    for (int32_t i = 0; i < s->n_tokens; i++) s->swap_of[i] = -1;
    for (int32_t i = 0; i < s->n; i++) {
        const int32_t at = swaps[i].value != 0 ? ghosts++ : others++;
        s->order[i] = at;
        s->old[at] = swaps[i].old;
        if (swaps[i].old) s->swap_of[swaps[i].old] = at;
        if (swaps[i].value != 0)
            scgpt_input(s->m, 1, &swaps[i].id, &swaps[i].value, s->work.x + (size_t)at * d,
                        s->work.qkv);
    }
}

cpt_status scgpt_screen_init(scgpt_screen *s, const cpt_scgpt *m, int32_t n_tokens, float *tape,
                             scgpt_work *w, int32_t n, const scgpt_swap *swaps, int32_t n_w,
                             cpt_err *e)
{
    *s = (scgpt_screen){.m = m, .n = n, .n_tokens = n_tokens};
    for (int32_t i = 0; i < n; i++) s->n_ghosts += swaps[i].value != 0;
    cpt_status status = allocate(s, w->precision, n_w, e);
    if (status) {
        scgpt_screen_free(s);
        return status;
    }
    sort_swaps(s, swaps);
    if (s->n_ghosts) run_ghosts(s, tape, w);
    return CPT_OK;
}

/* ---- on the way back ---- */

/* Adds one row's effects to the sums: p [n_tokens] its normalised weights, slopes [n_tokens] g . v
 * of each token, q and coming [n_ghosts]. `row` is the token whose row it is: gone when it leaves.
 */
static void add_row(scgpt_screen *s, int32_t row, const float *p, const float *slopes,
                    const float *q, const float *coming)
{
    double along = 0;
    for (int32_t j = 0; j < s->n_tokens; j++) along += (double)p[j] * (double)slopes[j];
    for (int32_t t = 0; t < s->n; t++) {
        s->p[t] = s->old[t] ? p[s->old[t]] : 0;
        s->leaving[t] = slopes[s->old[t]];
    }
    if (s->n_ghosts) {
        memcpy(s->q, q, sizeof *q * (size_t)s->n_ghosts);
        memcpy(s->grads, coming, sizeof *q * (size_t)s->n_ghosts);
    }
    const int32_t gone = s->swap_of[row];
    if (gone >= 0) s->p[gone] = s->q[gone] = 0;
    cpt_attention_kernels_get()->swap(s->n, (float)along, s->p, s->leaving, s->q, s->grads,
                                      s->sums);
}

static void settle(scgpt_screen *s, int32_t direction)
{
    double *to = s->estimates + (size_t)(s->first + direction) * (size_t)s->n;
    for (int32_t t = 0; t < s->n; t++) to[t] += (double)s->sums[t];
    memset(s->sums, 0, sizeof *s->sums * (size_t)s->n);
}

void scgpt_screen_project(scgpt_screen *s, int32_t layer)
{
    if (!s->n_ghosts) return;
    memcpy(s->work.x, ghosts_at(s, layer),
           (size_t)s->n_ghosts * (size_t)s->m->shape.width * sizeof *s->x);
    scgpt_layer_project(s->m, layer, s->n_ghosts, &s->work);
}

void scgpt_screen_head(scgpt_screen *s, int32_t head)
{
    const int64_t d = s->m->shape.width, size = d / s->m->shape.n_heads, g = s->n_ghosts;
    const cpt_precision precision = s->work.precision;
    const float *keys = s->work.qkv + d + head * size;
    if (!g) return;
    cpt_pack(precision, g, size, keys, 3 * d, 1, s->heads, &s->keys);
    cpt_pack(precision, g, size, keys + d, 3 * d, 1, s->heads + head_bytes(s, precision),
             &s->values);
}

void scgpt_screen_weigh(scgpt_screen *s, int32_t rows, const float *queries, const float *maxima,
                        const float *sums)
{
    if (!s->n_ghosts) return;
    cpt_multiply(&s->keys, rows, queries, 3 * s->m->shape.width, s->weights, s->stride, NULL);
    cpt_attention_kernels_get()->weigh(rows, s->n_ghosts, s->stride, scgpt_score_scale(s->m),
                                       maxima, sums, s->weights);
}

void scgpt_screen_block(scgpt_screen *s, int32_t direction, int32_t first, int32_t rows,
                        const float *context, const float *weights, const float *slopes)
{
    const int64_t stride = scgpt_score_stride(s->n_tokens);
    if (s->n_ghosts)
        cpt_multiply(&s->values, rows, context, s->m->shape.width, s->coming, s->stride, NULL);
    for (int32_t i = 0; i < rows; i++)
        add_row(s, first + i, weights + i * stride, slopes + i * stride,
                s->weights + i * s->stride, s->coming + i * s->stride);
    settle(s, direction);
}

/* The one row of the last layer: a head's weight of a token with input row x is exp(scale reader .
 * x), and its value reaches the context as mixed . x. A ghost's weight is told by that of the
 * token which has the largest. */
void scgpt_screen_last(scgpt_screen *s, int32_t direction, const scgpt_last *a, const float *x,
                       int64_t capacity, const float *mixed, const float *slopes)
{
    const int64_t d = s->m->shape.width, heads = s->m->shape.n_heads, g = s->n_ghosts;
    const float *ghosts = ghosts_at(s, s->m->shape.n_layers - 1), zero = 0;
    for (int64_t h = 0; h < heads; h++) {
        const float *p = a->weights + h * capacity, *reader = a->reader + h * d;
        float score = 0, inverse;
        int64_t most = 0;
        for (int64_t j = 1; j < s->n_tokens; j++)
            if (p[j] > p[most]) most = j;
        for (int64_t j = 0; j < d; j++) score += reader[j] * x[most * d + j];
        if (g) {
            cpt_gemm(false, true, 1, g, d, 1, reader, d, ghosts, d, 0, s->weights, s->stride, 1);
            cpt_gemm(false, true, 1, g, d, 1, mixed + h * d, d, ghosts, d, 0, s->coming, s->stride,
                     1);
            for (int64_t j = 0; j < g; j++) s->weights[j] -= score;
            inverse = 1 / p[most];
            cpt_attention_kernels_get()->weigh(1, g, s->stride, scgpt_score_scale(s->m), &zero,
                                               &inverse, s->weights);
        }
        add_row(s, 0, p, slopes + h * capacity, s->weights, s->coming);
    }
    settle(s, direction);
}

void scgpt_screen_result(const scgpt_screen *s, int32_t n_w, float *out)
{
    for (int32_t k = 0; k < n_w; k++)
        for (int32_t i = 0; i < s->n; i++)
            out[(size_t)k * (size_t)s->n + (size_t)i] =
                (float)s->estimates[(size_t)k * (size_t)s->n + (size_t)s->order[i]];
}

/* One scGPT cell and its perturbed copies.
 *
 * A copy differs from the cell in one token: its value is another, it is gone, or there is one
 * more. What all copies share is computed once: token embeddings, and in the first layer queries,
 * keys, values and the attention of every untouched token. There, with p the weight that a row gave
 * to the old token (value row v) and e the weight, on the same scale, that it gives to the new one
 * (v'), its context c becomes (c - p v + e v') / (1 - p + e), one inner product per row and head
 * instead of n. A row that gave the old token more than MOST_SHARE of its attention would lose
 * digits that way and is computed anew. From the second layer on every row of every copy is
 * different and nothing can be shared exactly; the last layer costs next to nothing
 * (scgpt_last_forward). With 12 layers of width 512 and 1,200 tokens a copy costs 69 GFLOP, a whole
 * forward pass 74, and 81 where the last layer is computed for all tokens.
 *
 * In the space of counts every change moves the quantiles and with them many bins: each copy is a
 * cell of its own, binned and computed from the start. */
#include "model/scgpt_network.h"

#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/memory.h"
#include "math/blas.h"

static const double MOST_SHARE = 0.75;

/* What copies share in the first layer; made by the first call of singles. Row n of the first two
 * is for the copy's new token. */
typedef struct first_layer {
    float *x;       /* [n + 1][width] */
    float *qkv;     /* [n + 1][3 width] */
    float *context; /* [n][width] */
    float *maxima, *sums; /* [n_heads][n] of the softmax */
    double *old_weight, *new_weight; /* [n] scratch, of one head */
    float *row;     /* [n + 1 rounded up] scratch */
    float *block;
} first_layer;

typedef struct scgpt_session {
    cpt_session base;
    int32_t n, capacity; /* tokens of the cell; room for those of a copy */
    int32_t *ids, *genes; /* [capacity]; genes[0] = -1, ascending */
    float *values;        /* [capacity] */
    int32_t *copy_ids;    /* [capacity] scratch */
    float *copy_values;
    int32_t *position;    /* [n_genes] token of a gene, 0 = none */
    bool *marked;         /* [n_genes] scratch of joint, all false between calls */
    float *embedding;     /* [width] */
    float *tape;
    scgpt_work work;
    first_layer first;
    /* in the space of counts: */
    int32_t n_counts;
    int32_t *count_genes, *copy_genes; /* [n_counts], [n_genes] */
    float *counts, *copy_counts;
    uint64_t identity;
    scgpt_tokenizer tokenizer;
} scgpt_session;

static scgpt_session *session_of(cpt_session *s)
{
    return (scgpt_session *)(void *)s;
}

static const cpt_scgpt *model_of(const scgpt_session *s)
{
    return scgpt_of(s->base.model);
}

static bool in_counts(const scgpt_session *s)
{
    return s->tokenizer.block != NULL;
}

void scgpt_session_free(cpt_session *base)
{
    scgpt_session *s = session_of(base);
    if (!s) return;
    free(s->ids);
    free(s->genes);
    free(s->values);
    free(s->copy_ids);
    free(s->copy_values);
    free(s->position);
    free(s->marked);
    free(s->embedding);
    free(s->tape);
    free(s->first.block);
    free(s->first.old_weight);
    free(s->count_genes);
    free(s->copy_genes);
    free(s->counts);
    free(s->copy_counts);
    scgpt_tokenizer_free(&s->tokenizer);
    scgpt_work_free(&s->work);
    free(s);
}

static cpt_status check_value(const cpt_scgpt *m, int32_t gene, float value, cpt_err *e)
{
    if (gene < 0 || gene >= m->base.n_genes)
        return cpt_fail(e, CPT_ERR_USAGE, "there is no gene %d: the model has %d", gene,
                        m->base.n_genes);
    if (!isfinite(value))
        return cpt_fail(e, CPT_ERR_USAGE, "gene %s: %g is no value",
                        cpt_strings_get(&m->base.gene_names, gene), (double)value);
    return CPT_OK;
}

/* ---- opening ---- */

static cpt_status check_entry(const cpt_scgpt *m, const cpt_profile *cell, int32_t i, cpt_err *e)
{
    if (i > 0 && cell->genes[i] <= cell->genes[i - 1])
        return cpt_fail(e, CPT_ERR_USAGE, "the genes of a profile must ascend: %d after %d",
                        cell->genes[i], cell->genes[i - 1]);
    return check_value(m, cell->genes[i], cell->values[i], e);
}

static cpt_status allocate(scgpt_session *s, const cpt_scgpt *m, int32_t capacity, cpt_err *e)
{
    const size_t room = (size_t)capacity, genes = (size_t)m->base.n_genes;
    cpt_status status;
    s->capacity = capacity;
    CPT_TRY(cpt_alloc(&s->ids, room, sizeof *s->ids, e));
    CPT_TRY(cpt_alloc(&s->genes, room, sizeof *s->genes, e));
    CPT_TRY(cpt_alloc(&s->values, room, sizeof *s->values, e));
    CPT_TRY(cpt_alloc(&s->copy_ids, room, sizeof *s->copy_ids, e));
    CPT_TRY(cpt_alloc(&s->copy_values, room, sizeof *s->copy_values, e));
    CPT_TRY(cpt_alloc(&s->position, genes, sizeof *s->position, e));
    CPT_TRY(cpt_alloc(&s->marked, genes, sizeof *s->marked, e));
    CPT_TRY(cpt_alloc(&s->embedding, (size_t)m->base.dim, sizeof *s->embedding, e));
    CPT_TRY(scgpt_work_init(&s->work, m, CPT_GEMM_F32, capacity, 1, e));
done:
    return status;
}

/* The profile is the cell's tokens. */
static cpt_status take_bins(scgpt_session *s, const cpt_scgpt *m, const cpt_profile *cell,
                            cpt_err *e)
{
    cpt_status status;
    CPT_TRY(allocate(s, m, cell->n + 2, e));
    s->n = 1;
    for (int32_t i = 0; i < cell->n; i++) {
        const int32_t gene = cell->genes[i];
        CPT_TRY(check_entry(m, cell, i, e));
        if (cell->values[i] == 0) continue;
        s->position[gene] = s->n;
        s->genes[s->n] = gene;
        s->ids[s->n] = m->token_of[gene];
        s->values[s->n++] = cell->values[i];
    }
done:
    return status;
}

/* The profile is the cell's counts, of which the tokenizer makes the tokens. */
static cpt_status take_counts(scgpt_session *s, const cpt_scgpt *m, const cpt_profile *cell,
                              cpt_err *e)
{
    const size_t genes = (size_t)m->base.n_genes, size = (size_t)cell->n;
    cpt_status status;
    CPT_TRY(allocate(s, m, m->options.max_tokens, e));
    CPT_TRY(scgpt_tokenizer_init(&s->tokenizer, m, e));
    CPT_TRY(cpt_alloc(&s->count_genes, size, sizeof *s->count_genes, e));
    CPT_TRY(cpt_alloc(&s->counts, size, sizeof *s->counts, e));
    CPT_TRY(cpt_alloc(&s->copy_genes, genes, sizeof *s->copy_genes, e));
    CPT_TRY(cpt_alloc(&s->copy_counts, genes, sizeof *s->copy_counts, e));
    for (int32_t i = 0; i < cell->n; i++) {
        CPT_TRY(check_entry(m, cell, i, e));
        if (cell->values[i] == 0) continue;
        s->count_genes[s->n_counts] = cell->genes[i];
        s->counts[s->n_counts++] = cell->values[i];
    }
    s->identity = scgpt_identity(s->n_counts, s->count_genes, s->counts);
    scgpt_tokenize_counts(&s->tokenizer, m, s->n_counts, s->count_genes, s->counts, s->identity);
    s->n = s->tokenizer.cell.n;
    memcpy(s->ids, s->tokenizer.cell.ids, sizeof *s->ids * (size_t)s->n);
    memcpy(s->values, s->tokenizer.cell.values, sizeof *s->values * (size_t)s->n);
done:
    return status;
}

cpt_status scgpt_session_open(const cpt_model *base, const cpt_profile *cell, cpt_session **out,
                              cpt_err *e)
{
    const cpt_scgpt *m = scgpt_of(base);
    const bool counts = m->options.space == CPT_SCGPT_SPACE_COUNTS;
    scgpt_session *s = NULL;
    *out = NULL;
    cpt_status status = cpt_alloc(&s, 1, sizeof *s, e);
    if (status) return status;
    s->base.model = base;
    CPT_TRY(counts ? take_counts(s, m, cell, e) : take_bins(s, m, cell, e));
    s->ids[0] = m->cls;
    s->genes[0] = -1;
    s->values[0] = m->shape.pad_value;
    if (!counts)
        CPT_TRY(cpt_alloc(&s->tape, scgpt_tape_size(m, s->n), sizeof *s->tape, e));
    scgpt_forward(m, s->n, s->ids, s->values, &s->work, s->tape, s->embedding);
    *out = &s->base;
done:
    if (status) scgpt_session_free(&s->base);
    return status;
}

const float *scgpt_session_embedding(const cpt_session *s)
{
    return ((const scgpt_session *)(const void *)s)->embedding;
}

/* ---- the first layer's share ---- */

static cpt_status share_first_layer(scgpt_session *s, cpt_err *e)
{
    const cpt_scgpt *m = model_of(s);
    const size_t n = (size_t)s->n, d = (size_t)m->shape.width, heads = (size_t)m->shape.n_heads;
    first_layer *f = &s->first;
    float *p = NULL;
    double *weights = NULL;
    if (f->block) return CPT_OK;
    cpt_status status =
        cpt_alloc(&p, (n + 1) * 4 * d + n * d + 2 * heads * n + n + 16, sizeof *p, e);
    if (status) return status;
    f->block = p;
    f->x = p;
    f->qkv = f->x + (n + 1) * d;
    f->context = f->qkv + (n + 1) * 3 * d;
    f->maxima = f->context + n * d;
    f->sums = f->maxima + heads * n;
    f->row = f->sums + heads * n;
    status = cpt_alloc(&weights, 2 * n, sizeof *weights, e);
    if (status) {
        free(p);
        *f = (first_layer){0};
        return status;
    }
    f->old_weight = weights;
    f->new_weight = weights + n;
    scgpt_input(m, s->n, s->ids, s->values, s->work.x, s->work.qkv);
    memcpy(f->x, s->work.x, sizeof *p * n * d);
    scgpt_layer_project(m, 0, s->n, &s->work);
    memcpy(f->qkv, s->work.qkv, sizeof *p * n * 3 * d);
    for (int32_t h = 0; h < m->shape.n_heads; h++) {
        scgpt_head head;
        scgpt_head_pack(&head, m, s->work.precision, s->n, h, f->qkv, s->work.heads);
        for (int32_t from = 0; from < s->n; from += SCGPT_QUERIES) {
            const int32_t rows = s->n - from < SCGPT_QUERIES ? s->n - from : SCGPT_QUERIES;
            float *sums = f->sums + (size_t)h * n + from;
            scgpt_attention_weights(&head, from, rows, s->work.scores,
                                    f->maxima + (size_t)h * n + from, sums);
            scgpt_attention_context(&head, from, rows, s->work.scores, sums, f->context);
        }
    }
    return CPT_OK;
}

/* A single change, told by positions: `old` leaves (0 = none does), a new token comes or not. */
typedef struct change {
    int32_t old;
    bool comes;
} change;

/* Row i of the copy's attention in one head from the start; i = n is the new token's own row. */
static void attend_anew(scgpt_session *s, change c, int32_t head, int32_t i, float *out)
{
    const cpt_scgpt *m = model_of(s);
    const cpt_attention_kernels *k = cpt_attention_kernels_get();
    const int64_t d = m->shape.width, size = d / m->shape.n_heads, n = s->n + c.comes;
    const float *query = s->first.qkv + i * 3 * d + head * size,
                *keys = s->first.qkv + d + head * size;
    float sum, *row = s->first.row;
    cpt_gemm(false, true, 1, n, size, 1, query, 3 * d, keys, 3 * d, 0, row, n, 1);
    if (c.old) row[c.old] = -INFINITY;
    k->softmax(1, n, n, scgpt_score_scale(m), row, NULL, &sum);
    cpt_gemm(false, false, 1, size, n, 1, row, n, keys + d, 3 * d, 0, out, d, 1);
    k->divide(1, size, d, &sum, out);
}

/* weight[i] = exp(scale q_i k - maximum_i) / sum_i for all rows of the cell and key row `key`. */
static void weights_of(scgpt_session *s, int32_t head, int32_t key, double *weight)
{
    const cpt_scgpt *m = model_of(s);
    const int64_t d = m->shape.width, size = d / m->shape.n_heads, n = s->n;
    const float *queries = s->first.qkv + head * size,
                *k = s->first.qkv + key * 3 * d + d + head * size;
    const float *maxima = s->first.maxima + head * n, *sums = s->first.sums + head * n;
    float *row = s->first.row;
    cpt_gemm(false, true, n, 1, size, 1, queries, 3 * d, k, 3 * d, 0, row, 1, 1);
    for (int64_t i = 0; i < n; i++)
        weight[i] = exp((double)row[i] * (double)scgpt_score_scale(m) - (double)maxima[i]) /
                    (double)sums[i];
}

/* The copy's row that row i of the cell becomes. */
static int32_t copy_row(change c, int32_t i)
{
    return i - (c.old && !c.comes && i > c.old);
}

static void change_head(scgpt_session *s, change c, int32_t head, float *context)
{
    const cpt_scgpt *m = model_of(s);
    const int64_t d = m->shape.width, size = d / m->shape.n_heads, n = s->n, from = head * size;
    const float *v_old = s->first.qkv + c.old * 3 * d + 2 * d + from,
                *v_new = s->first.qkv + n * 3 * d + 2 * d + from;
    if (c.old) weights_of(s, head, c.old, s->first.old_weight);
    if (c.comes) weights_of(s, head, s->n, s->first.new_weight);
    for (int32_t i = 0; i < n; i++) {
        const double p = c.old ? s->first.old_weight[i] : 0,
                     q = c.comes ? s->first.new_weight[i] : 0;
        const float *was = s->first.context + i * d + from;
        float *out = context + copy_row(c, i) * d + from;
        if (c.old && i == c.old) continue;
        if (p > MOST_SHARE || !(q < 1e30)) {
            attend_anew(s, c, head, i, out);
            continue;
        }
        const float keep = (float)(1 / (1 - p + q)), less = (float)(p / (1 - p + q)),
                    more = (float)(q / (1 - p + q));
        for (int64_t j = 0; j < size; j++)
            out[j] = keep * was[j] - less * v_old[j] + more * v_new[j];
    }
    if (c.comes) attend_anew(s, c, head, s->n, context + (c.old ? c.old : n) * d + from);
}

/* The copy's input rows into work->x. */
static void change_input(scgpt_session *s, change c)
{
    const size_t d = (size_t)model_of(s)->shape.width, n = (size_t)s->n, old = (size_t)c.old;
    const float *x = s->first.x, *extra = x + n * d;
    float *to = s->work.x;
    memcpy(to, x, sizeof *x * n * d);
    if (c.comes) memcpy(to + (old ? old : n) * d, extra, sizeof *x * d);
    else memmove(to + old * d, to + (old + 1) * d, sizeof *x * (n - old - 1) * d);
}

/* ---- copies ---- */

static void share_single(scgpt_session *s, change c, int32_t id, float value, float *out)
{
    const cpt_scgpt *m = model_of(s);
    const size_t d = (size_t)m->shape.width, n = (size_t)s->n;
    const int32_t size = s->n + c.comes - (c.old != 0);
    scgpt_work *w = &s->work;
    scgpt_last last = scgpt_last_at(m, w->capacity, w->last);
    if (c.comes) {
        float *x = s->first.x + n * d;
        scgpt_work one = {
            .n_threads = 1, .layers = w->layers, .x = x, .qkv = s->first.qkv + n * 3 * d};
        scgpt_input(m, 1, &id, &value, x, w->qkv);
        scgpt_layer_project(m, 0, 1, &one);
    }
    for (int32_t h = 0; h < m->shape.n_heads; h++) change_head(s, c, h, w->context);
    change_input(s, c);
    scgpt_layer_feed(m, 0, size, w, NULL);
    for (int32_t i = 1; i + 1 < m->shape.n_layers; i++) scgpt_layer_forward(m, i, size, w, NULL);
    scgpt_last_forward(m, size, w->x, w->capacity, &last);
    scgpt_normalise(m->shape.width, last.raw, out);
}

/* Room for copies of n tokens. */
static cpt_status make_room(scgpt_session *s, int32_t n, cpt_err *e)
{
    scgpt_work work;
    int32_t *ids = NULL;
    float *values = NULL;
    cpt_status status;
    if (n <= s->capacity) return CPT_OK;
    CPT_TRY(cpt_alloc(&ids, (size_t)n, sizeof *ids, e));
    CPT_TRY(cpt_alloc(&values, (size_t)n, sizeof *values, e));
    CPT_TRY(scgpt_work_init(&work, model_of(s), CPT_GEMM_F32, n, 1, e));
    free(s->copy_ids);
    free(s->copy_values);
    scgpt_work_free(&s->work);
    s->copy_ids = ids;
    s->copy_values = values;
    s->work = work;
    s->capacity = n;
    return CPT_OK;
done:
    free(ids);
    free(values);
    return status;
}

/* The cell with all changes, from the start; genes are checked, each at most once. */
static cpt_status whole_copy(scgpt_session *s, int32_t n, const cpt_change *changes, float *out,
                             cpt_err *e)
{
    const cpt_scgpt *m = model_of(s);
    int32_t size = 0;
    cpt_status status = make_room(s, s->n + n, e);
    if (status) return status;
    memcpy(s->copy_values, s->values, sizeof *s->values * (size_t)s->n);
    for (int32_t i = 0; i < n; i++)
        if (s->position[changes[i].gene])
            s->copy_values[s->position[changes[i].gene]] = changes[i].value;
    for (int32_t i = 0; i < s->n; i++) {
        if (i > 0 && s->copy_values[i] == 0) continue;
        s->copy_ids[size] = s->ids[i];
        s->copy_values[size++] = s->copy_values[i];
    }
    for (int32_t i = 0; i < n; i++) {
        if (s->position[changes[i].gene] || changes[i].value == 0) continue;
        s->copy_ids[size] = m->token_of[changes[i].gene];
        s->copy_values[size++] = changes[i].value;
    }
    scgpt_forward(m, size, s->copy_ids, s->copy_values, &s->work, NULL, out);
    return CPT_OK;
}

static cpt_status single(scgpt_session *s, const cpt_change *to, float *out, cpt_err *e)
{
    const cpt_scgpt *m = model_of(s);
    const change c = {s->position[to->gene], to->value != 0};
    if ((c.old ? s->values[c.old] : 0) == to->value) {
        memcpy(out, s->embedding, sizeof *out * (size_t)m->base.dim);
        return CPT_OK;
    }
    if (m->shape.n_layers == 1) return whole_copy(s, 1, to, out, e);
    cpt_status status = share_first_layer(s, e);
    if (!status) share_single(s, c, m->token_of[to->gene], to->value, out);
    return status;
}

/* ---- copies in the space of counts ---- */

/* The cell's counts with n changes, those sorted by gene. */
static int32_t merge_counts(scgpt_session *s, int32_t n, const cpt_change *changes)
{
    int32_t size = 0, i = 0;
    for (int32_t k = 0; k <= n; k++) {
        const int32_t until = k < n ? changes[k].gene : INT32_MAX;
        for (; i < s->n_counts && s->count_genes[i] < until; i++) {
            s->copy_genes[size] = s->count_genes[i];
            s->copy_counts[size++] = s->counts[i];
        }
        if (k == n) break;
        i += i < s->n_counts && s->count_genes[i] == until;
        if (changes[k].value == 0) continue;
        s->copy_genes[size] = until;
        s->copy_counts[size++] = changes[k].value;
    }
    return size;
}

static int by_gene(const void *a, const void *b)
{
    const cpt_change *x = a, *y = b;
    return (x->gene > y->gene) - (x->gene < y->gene);
}

static cpt_status recount(scgpt_session *s, int32_t n, const cpt_change *changes, float *out,
                          cpt_err *e)
{
    const cpt_scgpt *m = model_of(s);
    const scgpt_cell *cell = &s->tokenizer.cell;
    cpt_change *sorted = NULL;
    cpt_status status = cpt_alloc(&sorted, (size_t)n, sizeof *sorted, e);
    if (status) return status;
    memcpy(sorted, changes, sizeof *sorted * (size_t)n);
    qsort(sorted, (size_t)n, sizeof *sorted, by_gene);
    const int32_t size = merge_counts(s, n, sorted);
    free(sorted);
    scgpt_tokenize_counts(&s->tokenizer, m, size, s->copy_genes, s->copy_counts, s->identity);
    scgpt_forward(m, cell->n, cell->ids, cell->values, &s->work, NULL, out);
    return CPT_OK;
}

/* ---- the common interface ---- */

cpt_status scgpt_session_singles(cpt_session *base, int32_t n, const cpt_change *changes,
                                 float *out, cpt_err *e)
{
    scgpt_session *s = session_of(base);
    const cpt_scgpt *m = model_of(s);
    cpt_status status = CPT_OK;
    for (int32_t i = 0; !status && i < n; i++) {
        float *to = out + (size_t)i * (size_t)m->base.dim;
        status = check_value(m, changes[i].gene, changes[i].value, e);
        if (status) break;
        status = in_counts(s) ? recount(s, 1, &changes[i], to, e) : single(s, &changes[i], to, e);
    }
    return status;
}

cpt_status scgpt_session_joint(cpt_session *base, int32_t n, const cpt_change *changes, float *out,
                               cpt_err *e)
{
    scgpt_session *s = session_of(base);
    const cpt_scgpt *m = model_of(s);
    cpt_status status = CPT_OK;
    int32_t n_marked = 0;
    for (; n_marked < n; n_marked++) {
        const cpt_change *c = &changes[n_marked];
        CPT_TRY(check_value(m, c->gene, c->value, e));
        if (s->marked[c->gene])
            CPT_TRY(cpt_fail(e, CPT_ERR_USAGE, "gene %d is changed twice in one joint change",
                             c->gene));
        s->marked[c->gene] = true;
    }
    CPT_TRY(in_counts(s) ? recount(s, n, changes, out, e) : whole_copy(s, n, changes, out, e));
done:
    while (n_marked > 0) s->marked[changes[--n_marked].gene] = false;
    return status;
}

cpt_status scgpt_session_gradient(cpt_session *base, int32_t n_w, const float *w, float *out,
                                  cpt_err *e)
{
    scgpt_session *s = session_of(base);
    const cpt_scgpt *m = model_of(s);
    const size_t genes = (size_t)m->base.n_genes;
    float *slopes = NULL;
    if (in_counts(s))
        return cpt_fail(e, CPT_ERR_UNSUPPORTED,
                        "scGPT: binning makes the gradient with respect to counts 0 "
                        "almost everywhere; use the space of bins for gradients");
    cpt_status status = cpt_alloc(&slopes, (size_t)n_w * (size_t)s->n, sizeof *slopes, e);
    if (!status)
        status =
            scgpt_backward(m, s->n, s->ids, s->values, &s->work, s->tape, false, n_w, w, NULL,
                           slopes, e);
    if (!status) memset(out, 0, sizeof *out * (size_t)n_w * genes);
    for (int32_t k = 0; !status && k < n_w; k++)
        for (int32_t i = 1; i < s->n; i++)
            out[(size_t)k * genes + (size_t)s->genes[i]] =
                slopes[(size_t)k * (size_t)s->n + (size_t)i];
    free(slopes);
    return status;
}

static void list_swaps(const scgpt_session *s, int32_t n, const cpt_change *changes,
                       scgpt_swap *swaps)
{
    for (int32_t i = 0; i < n; i++)
        swaps[i] = (scgpt_swap){s->position[changes[i].gene],
                                model_of(s)->token_of[changes[i].gene], changes[i].value};
}

/* A change that changes nothing has no effect, whatever rounding says. */
static void clear_same(const scgpt_session *s, int32_t n_w, int32_t n, const cpt_change *changes,
                       float *out)
{
    for (int32_t i = 0; i < n; i++) {
        const int32_t at = s->position[changes[i].gene];
        if (changes[i].value != (at ? s->values[at] : 0)) continue;
        for (int32_t k = 0; k < n_w; k++) out[(size_t)k * (size_t)n + (size_t)i] = 0;
    }
}

cpt_status scgpt_session_screen(cpt_session *base, int32_t n_w, const float *w, int32_t n,
                                const cpt_change *changes, float *out, cpt_err *e)
{
    scgpt_session *s = session_of(base);
    const cpt_scgpt *m = model_of(s);
    const cpt_precision precision = cpt_cpu_level() >= CPT_CPU_AMX ? CPT_GEMM_SPLIT : CPT_GEMM_F32;
    scgpt_screen screen = {0};
    scgpt_work work = {0};
    scgpt_swap *swaps = NULL;
    cpt_status status = CPT_OK;
    if (in_counts(s))
        return cpt_fail(e, CPT_ERR_UNSUPPORTED,
                        "scGPT: a changed count moves the bins of other genes; estimates are of "
                        "the space of bins");
    for (int32_t i = 0; i < n; i++)
        CPT_TRY(check_value(m, changes[i].gene, changes[i].value, e));
    CPT_TRY(cpt_alloc(&swaps, (size_t)n, sizeof *swaps, e));
    list_swaps(s, n, changes, swaps);
    CPT_TRY(scgpt_work_init(&work, m, precision, s->n, 1, e));
    CPT_TRY(scgpt_screen_init(&screen, m, s->n, s->tape, &work, n, swaps, n_w, e));
    CPT_TRY(scgpt_backward(m, s->n, s->ids, s->values, &work, s->tape, false, n_w, w, &screen,
                           NULL, e));
    scgpt_screen_result(&screen, n_w, out);
    clear_same(s, n_w, n, changes, out);
done:
    scgpt_screen_free(&screen);
    scgpt_work_free(&work);
    free(swaps);
    return status;
}

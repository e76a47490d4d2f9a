/* A minibatch of scGPT's training over threads, and Adam.
 *
 * The cells are dealt to 1, 2, 4 or 8 lanes, each a run of neighbours in the minibatch; a lane is
 * worked through by one thread, block by block, and adds to gradients of its own. The lanes' sums
 * are added up in their order. How many lanes there are depends on the number of tokens, and
 * nothing on which thread had which lane, so the same seed gives the same bytes for any number of
 * threads; with 8 cells of 128 genes more than 4 threads are of no use.
 *
 * Adam as torch.optim.Adam without weight decay, after clipping the norm of all gradients together
 * as torch.nn.utils.clip_grad_norm_ does (times clip / (norm + 1e-6) when the norm is larger). */
#include "model/scgpt_step.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "math/network.h"

enum { CHUNK = 1 << 15 }; /* floats of the flat passes */

/* ---- a minibatch ---- */

cpt_status scgpt_batch_init(scgpt_batch *b, int32_t n_cells, int32_t max_tokens, int32_t n_genes,
                            cpt_err *e)
{
    const size_t n = (size_t)n_cells, tokens = n * (size_t)max_tokens, all = n * (size_t)n_genes;
    int32_t *p = NULL;
    *b = (scgpt_batch){.max_tokens = max_tokens, .n_genes = n_genes};
    /* bytes, in units of int32_t */
    cpt_status status =
        cpt_alloc(&p, n + tokens + (2 * tokens + all) / sizeof *p + 1, sizeof *p, e);
    if (status) return status;
    b->block = p;
    b->length = p;
    b->ids = b->length + n;
    b->bins = (uint8_t *)(void *)(b->ids + tokens);
    b->masked = b->bins + tokens;
    b->targets = b->masked + tokens;
    return CPT_OK;
}

void scgpt_batch_free(scgpt_batch *b)
{
    free(b->block);
    *b = (scgpt_batch){0};
}

/* ---- memory ---- */

struct scgpt_stepper {
    scgpt_weights *weights;
    cpt_scgpt_train_options options;
    scgpt_tables tables;
    int n_threads;       /* at most SCGPT_LANES */
    scgpt_block *blocks; /* [n_threads] */
    cpt_dropout *keys;   /* [n_threads][1 + 3 n_layers] */
    int n_lanes;         /* of the present minibatch */
    int64_t lane_size;   /* layout.n, then query and value gradients */
    float *lanes;        /* [SCGPT_LANES][lane_size] */
    float *moments;      /* [2][layout.n] */
    double *squares;     /* per chunk */
    int64_t n_steps;
};

static int32_t n_genes_of(const scgpt_weights *w)
{
    return w->shape.n_tokens - SCGPT_SPECIAL;
}

static int32_t sites_of(const scgpt_weights *w)
{
    return 1 + 3 * w->shape.n_layers;
}

cpt_status scgpt_stepper_new(scgpt_weights *w, const cpt_scgpt_train_options *o, int n_threads,
                             scgpt_stepper **out, cpt_err *e)
{
    const size_t d = (size_t)w->shape.width, genes = (size_t)n_genes_of(w);
    scgpt_stepper *s;
    cpt_status status = cpt_alloc(&s, 1, sizeof *s, e);
    *out = NULL;
    if (status) return status;
    s->weights = w;
    s->options = *o;
    s->n_threads = n_threads < SCGPT_LANES ? n_threads : SCGPT_LANES;
    s->lane_size = w->at.n + (int64_t)((genes + SCGPT_TABLE) * d);
    const size_t threads = (size_t)s->n_threads;
    CPT_TRY(scgpt_tables_init(&s->tables, w, e));
    CPT_TRY(cpt_alloc(&s->blocks, threads, sizeof *s->blocks, e));
    for (int i = 0; i < s->n_threads; i++)
        CPT_TRY(scgpt_block_init(&s->blocks[i], w, &s->tables, o->max_tokens, o->dropout > 0, e));
    CPT_TRY(cpt_alloc(&s->keys, threads * (size_t)sites_of(w), sizeof *s->keys, e));
    CPT_TRY(cpt_alloc(&s->lanes, SCGPT_LANES * (size_t)s->lane_size, sizeof *s->lanes, e));
    CPT_TRY(cpt_alloc(&s->moments, 2 * (size_t)w->at.n, sizeof *s->moments, e));
    CPT_TRY(cpt_alloc(&s->squares, (size_t)(w->at.n / CHUNK) + 1, sizeof *s->squares, e));
    *out = s;
done:
    if (status) scgpt_stepper_free(s);
    return status;
}

void scgpt_stepper_free(scgpt_stepper *s)
{
    if (!s) return;
    for (int i = 0; s->blocks && i < s->n_threads; i++) scgpt_block_free(&s->blocks[i]);
    scgpt_tables_free(&s->tables);
    free(s->blocks);
    free(s->keys);
    free(s->lanes);
    free(s->moments);
    free(s->squares);
    free(s);
}

float *scgpt_stepper_gradients(const scgpt_stepper *s)
{
    return s->lanes; /* where the lanes are summed */
}

/* ---- gradients ---- */

static const cpt_dropout *draw_keys(const scgpt_stepper *s, cpt_dropout *keys, uint64_t step,
                                    int32_t cell)
{
    const double p = s->options.dropout;
    cpt_stream random;
    if (!(p > 0)) return NULL;
    cpt_stream_init(&random, s->options.seed, CPT_RANDOM_SCGPT_TRAIN,
                    (uint64_t)SCGPT_STREAM_DROPOUT << 62 | step << 24 | (uint64_t)cell);
    for (int32_t i = 0; i < sites_of(s->weights); i++) {
        keys[i].key[0] = cpt_stream_u32(&random);
        keys[i].key[1] = cpt_stream_u32(&random);
        keys[i].below = (uint32_t)(p * 4294967296.0);
        keys[i].scale = (float)(1 / (1 - p));
    }
    return keys;
}

static void run_block(const scgpt_stepper *s, scgpt_block *b, const double *rates,
                      scgpt_losses *losses)
{
    scgpt_block_forward(b);
    scgpt_heads(b, s->options.mvc_targets, rates, losses);
    if (rates) scgpt_block_back(b);
    scgpt_block_clear(b);
}

/* As many lanes as leave each enough rows for products to run well: a lane has its own gradients,
 * to be cleared and added up. */
static int count_lanes(const scgpt_batch *batch)
{
    enum { ROWS = 256 };
    int64_t n = 0;
    int lanes = 1;
    for (int32_t i = 0; i < batch->n_cells; i++) n += batch->length[i];
    while (lanes < SCGPT_LANES && lanes < batch->n_cells && n >= (int64_t)2 * lanes * ROWS)
        lanes *= 2;
    return lanes;
}

/* rates NULL: losses only, no dropout */
static void run_lane(const scgpt_stepper *s, const scgpt_batch *batch, int lane, int thread,
                     uint64_t step, const double *rates, scgpt_losses *losses)
{
    const int32_t first = (int32_t)((int64_t)batch->n_cells * lane / s->n_lanes);
    const int32_t end = (int32_t)((int64_t)batch->n_cells * (lane + 1) / s->n_lanes);
    scgpt_block *b = &s->blocks[thread];
    cpt_dropout *buffer = s->keys + thread * sites_of(s->weights);
    float *g = s->lanes + lane * s->lane_size;
    b->grad = g;
    b->query_grad = g + s->weights->at.n;
    b->value_grad = b->query_grad + (int64_t)n_genes_of(s->weights) * s->weights->shape.width;
    if (rates) memset(g, 0, sizeof *g * (size_t)s->lane_size);
    scgpt_block_clear(b);
    for (int32_t i = first; i < end; i++) {
        const cpt_dropout *keys = rates ? draw_keys(s, buffer, step, i) : NULL;
        if (scgpt_block_add(b, batch, i, keys)) continue;
        run_block(s, b, rates, losses);
        scgpt_block_add(b, batch, i, keys);
    }
    if (b->n_cells) run_block(s, b, rates, losses);
}

static void run_lanes(scgpt_stepper *s, const scgpt_batch *batch, uint64_t step,
                      const double *rates, scgpt_losses *out)
{
    scgpt_losses losses[SCGPT_LANES] = {{0}};
    s->n_lanes = count_lanes(batch);
    scgpt_tables_make(&s->tables, s->weights, s->options.mask_value, s->n_threads);
#pragma omp parallel for schedule(dynamic) num_threads(s->n_threads) if (s->n_threads > 1)
    for (int lane = 0; lane < s->n_lanes; lane++)
        run_lane(s, batch, lane, omp_get_thread_num(), step, rates, &losses[lane]);
    *out = (scgpt_losses){0};
    for (int lane = 0; lane < s->n_lanes; lane++) {
        out->gep += losses[lane].gep;
        out->mvc += losses[lane].mvc;
        out->n_gep += losses[lane].n_gep;
        out->n_mvc += losses[lane].n_mvc;
    }
}

/* Into lane 0. */
static void sum_lanes(scgpt_stepper *s)
{
    const int64_t n_chunks = (s->lane_size + CHUNK - 1) / CHUNK;
#pragma omp parallel for schedule(static) num_threads(s->n_threads) if (s->n_threads > 1)
    for (int64_t c = 0; c < n_chunks; c++) {
        const int64_t first = c * CHUNK;
        const int64_t end = first + CHUNK < s->lane_size ? first + CHUNK : s->lane_size;
        for (int lane = 1; lane < s->n_lanes; lane++) {
            const float *from = s->lanes + lane * s->lane_size;
            for (int64_t i = first; i < end; i++) s->lanes[i] += from[i];
        }
    }
}

static int64_t count_masked(const scgpt_batch *batch)
{
    int64_t n = 0;
    for (int32_t i = 0; i < batch->n_cells; i++)
        for (int32_t j = 1; j < batch->length[i]; j++)
            n += batch->masked[(size_t)i * (size_t)batch->max_tokens + (size_t)j];
    return n;
}

void scgpt_stepper_gradient(scgpt_stepper *s, const scgpt_batch *batch, uint64_t step,
                            scgpt_losses *losses)
{
    const double n_masked = fmax(1, (double)count_masked(batch));
    const double n_mvc = s->options.mvc_targets == CPT_SCGPT_TARGETS_ALL
                             ? (double)batch->n_cells * batch->n_genes
                             : n_masked;
    const double rates[2] = {s->options.gep_weight / n_masked, s->options.mvc_weight / n_mvc};
    run_lanes(s, batch, step, rates, losses);
    sum_lanes(s);
    float *queries = s->lanes + s->weights->at.n;
    scgpt_tables_back(&s->tables, s->weights, s->options.mask_value, s->lanes, queries,
                      queries + (int64_t)n_genes_of(s->weights) * s->weights->shape.width,
                      s->n_threads);
}

void scgpt_stepper_evaluate(scgpt_stepper *s, const scgpt_batch *batch, scgpt_losses *losses)
{
    run_lanes(s, batch, 0, NULL, losses);
}

/* ---- the update ---- */

static double norm_of(scgpt_stepper *s)
{
    const int64_t n = s->weights->at.n, n_chunks = (n + CHUNK - 1) / CHUNK;
    double sum = 0;
#pragma omp parallel for schedule(static) num_threads(s->n_threads) if (s->n_threads > 1)
    for (int64_t c = 0; c < n_chunks; c++) {
        const int64_t end = (c + 1) * CHUNK < n ? (c + 1) * CHUNK : n;
        double squares = 0;
        for (int64_t i = c * CHUNK; i < end; i++)
            squares += (double)s->lanes[i] * (double)s->lanes[i];
        s->squares[c] = squares;
    }
    for (int64_t c = 0; c < n_chunks; c++) sum += s->squares[c];
    return sqrt(sum);
}

double scgpt_stepper_update(scgpt_stepper *s, double rate)
{
    const double beta1 = 0.9, beta2 = 0.999, norm = norm_of(s), clip = s->options.clip;
    const int64_t n = s->weights->at.n, n_chunks = (n + CHUNK - 1) / CHUNK;
    const double t = (double)++s->n_steps;
    const cpt_adam_step step = {.rate = (float)(rate / (1 - pow(beta1, t))),
                                .root = (float)(1 / sqrt(1 - pow(beta2, t))),
                                .beta1 = (float)beta1,
                                .rest1 = (float)(1 - beta1),
                                .beta2 = (float)beta2,
                                .rest2 = (float)(1 - beta2),
                                .eps = (float)s->options.adam_eps};
    const float scale = clip > 0 && norm > clip ? (float)(clip / (norm + 1e-6)) : 1;
#pragma omp parallel for schedule(static) num_threads(s->n_threads) if (s->n_threads > 1)
    for (int64_t c = 0; c < n_chunks; c++) {
        const int64_t first = c * CHUNK, size = first + CHUNK < n ? CHUNK : n - first;
        float *g = s->lanes + first;
        for (int64_t i = 0; i < size; i++) g[i] *= scale;
        cpt_network_kernels_get()->adam(size, &step, s->weights->values + first, g,
                                        s->moments + first, s->moments + n + first);
    }
    return norm;
}

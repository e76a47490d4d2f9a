/* The heads of scVI over genes, the likelihood, and back (models.md 6.4, 6.5).
 *
 * Logits, SCVI_HEAD_BLOCK genes of all cells at a time: the block's weights are packed (math/gemm.h), multiplied and
 * forgotten while they are in the cache; then SCVI_CHUNK cells at a time likelihood and its gradient in place
 * (math/kernels/likelihood.c); then again by blocks of genes the block's share of the gradient of the hidden layer, and
 * the gradient of the block's own weights. */
#include "model/scvi_stepper.h"

#include <string.h>

#include "math/gemm.h"

static float *chunk_sum(const scvi_stepper *s, int32_t chunk, int which)
{
    return s->sums + ((size_t)chunk * SCVI_SUMS + (size_t)which) * (size_t)s->model->shape.n_genes;
}

static int32_t shorter(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

/* Of one head, all cells, genes [first, first + n): values = hidden weight' + bias. */
static void head_values(scvi_stepper *s, int32_t first, int32_t n, const float *weight, const float *bias,
                        float *values)
{
    const cpt_scvi *m = s->model;
    const int32_t h = m->shape.n_hidden;
    cpt_packed packed;
    cpt_pack(CPT_GEMM_F32, n, h, weight + scvi_at(first, h), h, 1,
             s->blocks_of_genes[first / SCVI_HEAD_BLOCK].packed, &packed);
    cpt_multiply(&packed, s->batch.n, s->decoder[m->shape.n_layers - 1].output, h, values + first, m->shape.n_genes,
                 &(cpt_epilogue){.bias = bias + first});
}

/* Logits become their gradients; losses per cell; sums over the chunk's cells. */
static void chunk_likelihood(scvi_stepper *s, int32_t chunk, int32_t first, int32_t n)
{
    const scvi_minibatch *b = &s->batch;
    const int32_t genes = s->model->shape.n_genes;
    cpt_likelihood_out out = {.scale = 1.0 / b->n,
                              .d_theta = chunk_sum(s, chunk, SCVI_SUM_THETA),
                              .sum_logits = chunk_sum(s, chunk, SCVI_SUM_LOGITS),
                              .sum_dropout = chunk_sum(s, chunk, SCVI_SUM_DROPOUT),
                              .scratch = chunk_sum(s, chunk, SCVI_SUM_SCRATCH),
                              .nonzero = s->nonzero + (size_t)chunk * 2 * (size_t)genes,
                              .single = s->single + (size_t)chunk * 7 * (size_t)genes};
    memset(out.d_theta, 0, sizeof(float) * 3 * (size_t)genes); /* the first three of SCVI_SUMS */
    for (int32_t i = first; i < first + n; i++) {
        cpt_cell_counts cell = {s->length[i], b->genes + b->start[i], b->counts + b->start[i],
                                b->library[i], b->log_factorial[i]};
        out.logits = s->logits + scvi_at(i, genes);
        out.dropout = s->dropout ? s->dropout + scvi_at(i, genes) : NULL;
        s->reconstruction[i] = cpt_likelihood_kernels_get()->cell(&s->tables, &cell, &out);
    }
}

/* out [n_genes] = sum over chunks, times factor (NULL = 1) */
static void add_chunks(const scvi_stepper *s, int which, const float *factor, float *out)
{
    const int32_t genes = s->model->shape.n_genes, n_chunks = (s->batch.n + SCVI_CHUNK - 1) / SCVI_CHUNK;
    for (int32_t g = 0; g < genes; g++) {
        double sum = 0;
        for (int32_t c = 0; c < n_chunks; c++) sum += chunk_sum(s, c, which)[g];
        out[g] = (float)(factor ? sum * factor[g] : sum);
    }
}

/* Of one head and the genes of a block: the block's share of d / d last decoder layer (added to what is
 * there if `add`), and the gradient of the block's weights. `slopes` = d / d the head's values. */
static void head_back(scvi_stepper *s, const cpt_packed *hidden, int32_t first, int32_t n, const float *weight,
                      const float *slopes, bool add)
{
    const int32_t h = s->model->shape.n_hidden, genes = s->model->shape.n_genes, cells = s->batch.n;
    scvi_head_block *b = &s->blocks_of_genes[first / SCVI_HEAD_BLOCK];
    cpt_packed packed;
    cpt_pack(CPT_GEMM_F32, h, n, weight + scvi_at(first, h), 1, h, b->packed, &packed);
    cpt_multiply(&packed, cells, slopes + first, genes, b->share, h,
                 add ? &(cpt_epilogue){.add = b->share, .add_stride = h} : NULL);
    cpt_network_kernels_get()->turn(cells, n, slopes + first, genes, b->turned, cells);
    cpt_multiply(hidden, n, b->turned, cells, scvi_gradient_of(s, weight) + scvi_at(first, h), h, NULL);
}

/* d / d last decoder layer: the sum of all blocks' shares, in their order. */
static void add_shares(scvi_stepper *s)
{
    const cpt_scvi *m = s->model;
    const size_t size = scvi_at(s->batch.n, m->shape.n_hidden);
    float *restrict to = s->decoder[m->shape.n_layers - 1].gradient;
    memcpy(to, s->blocks_of_genes[0].share, sizeof *to * size);
    for (int32_t b = 1; b * SCVI_HEAD_BLOCK < m->shape.n_genes; b++) {
        const float *restrict share = s->blocks_of_genes[b].share;
        for (size_t i = 0; i < size; i++) to[i] += share[i];
    }
}

void scvi_heads_backward(scvi_stepper *s, int n_threads)
{
    const cpt_scvi *m = s->model;
    const int32_t h = m->shape.n_hidden, genes = m->shape.n_genes;
    cpt_packed hidden;
    cpt_pack(CPT_GEMM_F32, h, s->batch.n, s->decoder[m->shape.n_layers - 1].output, 1, h, s->packed_hidden, &hidden);
#pragma omp parallel for schedule(dynamic) num_threads(n_threads)
    for (int32_t first = 0; first < genes; first += SCVI_HEAD_BLOCK) {
        const int32_t n = shorter(SCVI_HEAD_BLOCK, genes - first);
        head_back(s, &hidden, first, n, m->scale_weight, s->logits, false);
        if (m->dropout_weight) head_back(s, &hidden, first, n, m->dropout_weight, s->dropout, true);
    }
    add_shares(s);
    add_chunks(s, SCVI_SUM_LOGITS, NULL, scvi_gradient_of(s, m->scale_bias));
    add_chunks(s, SCVI_SUM_THETA, s->tables.theta, scvi_gradient_of(s, m->px_r));
    if (m->dropout_weight) add_chunks(s, SCVI_SUM_DROPOUT, NULL, scvi_gradient_of(s, m->dropout_bias));
}

/* Logits, likelihood, and d / d logits in their place. */
void scvi_heads_forward(scvi_stepper *s, int n_threads)
{
    const cpt_scvi *m = s->model;
    const int32_t n = s->batch.n, genes = m->shape.n_genes, n_chunks = (n + SCVI_CHUNK - 1) / SCVI_CHUNK;
#pragma omp parallel num_threads(n_threads)
    {
#pragma omp for schedule(dynamic)
        for (int32_t first = 0; first < genes; first += SCVI_HEAD_BLOCK) {
            const int32_t size = shorter(SCVI_HEAD_BLOCK, genes - first);
            head_values(s, first, size, m->scale_weight, m->scale_bias, s->logits);
            if (m->dropout_weight) head_values(s, first, size, m->dropout_weight, m->dropout_bias, s->dropout);
        }
#pragma omp for schedule(dynamic)
        for (int32_t c = 0; c < n_chunks; c++)
            chunk_likelihood(s, c, c * SCVI_CHUNK, shorter(SCVI_CHUNK, n - c * SCVI_CHUNK));
    }
}

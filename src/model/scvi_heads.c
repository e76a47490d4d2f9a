/* The heads of scVI over genes, the likelihood, and back (models.md 6.4, 6.5).
 *
 * Everything about genes lies by gene, [n_genes][cells]: a block of genes is then a few rows of the weights and a few of
 * the values, and the products there (values = W hidden') and back (d W = slopes hidden) read both as they lie. What
 * they share, the hidden layer, is packed once (math/gemm.h); only d hidden = slopes' W needs the slopes turned.
 *
 *     heads_forward   per block of SCVI_HEAD_BLOCK genes: tables, logits; per unit of SCVI_UNIT of them, still in the cache,
 *                     exponentials and their sums per cell
 *                     then, as now the softmax is known, per unit the likelihood (math/likelihood.h)
 *     heads_backward  then, as now the sums over genes are known, per block the slopes, the share of the block in the
 *                     gradient of the hidden layer, the gradient of its own weights, and their step of Adam
 *
 * Sums over cells and over blocks are taken in the order of these. */
#include "model/scvi_stepper.h"

#include <omp.h>
#include <string.h>

static int32_t n_head_blocks(const scvi_stepper *s)
{
    return (s->model->shape.n_genes + SCVI_HEAD_BLOCK - 1) / SCVI_HEAD_BLOCK;
}

static void pack_hidden(scvi_stepper *s)
{
    const cpt_scvi *m = s->model;
    const int32_t n = s->batch.n, h = m->shape.n_hidden;
    const float *hidden = s->decoder[m->shape.n_layers - 1].output;
    cpt_pack(CPT_GEMM_F32, n, h, hidden, h, 1, s->packed_values, &s->by_cell);
    cpt_pack(CPT_GEMM_F32, h, n, hidden, 1, h, s->packed_hidden, &s->by_unit);
}

/* Genes [first, first + n) for the kernels. */
static cpt_gene_block genes_of(const scvi_stepper *s, int32_t first, int32_t n)
{
    const cpt_gene_tables *t = &s->tables;
    const size_t at = scvi_at(first, s->stride);
    return (cpt_gene_block){
        .n = n,
        .cells = s->batch.n,
        .stride = s->stride,
        .tables = {n, t->theta + first, t->inverse + first, t->lgamma + first, t->digamma + first},
        .scale = 1.0 / s->batch.n,
        .factor = s->factor + scvi_at(first / SCVI_UNIT, s->stride),
        .values = s->values + at,
        .q = s->q + at,
        .dropout = s->dropout ? s->dropout + at : NULL,
        .dropout_bias = s->dropout ? s->model->dropout_bias + first : NULL};
}

/* ---- forward ---- */

static void block_values(scvi_stepper *s, int32_t first, int32_t n)
{
    const cpt_scvi *m = s->model;
    const int32_t h = m->shape.n_hidden;
    const size_t at = scvi_at(first, s->stride);
    cpt_multiply(&s->by_cell, n, m->scale_weight + scvi_at(first, h), h, s->values + at, s->stride, NULL);
    if (s->dropout)
        cpt_multiply(&s->by_cell, n, m->dropout_weight + scvi_at(first, h), h, s->dropout + at, s->stride, NULL);
    cpt_gene_tables tables = genes_of(s, first, n).tables;
    cpt_likelihood_kernels_get()->genes(n, m->px_r + first, &tables);
    for (int32_t g = first; g < first + n; g += SCVI_UNIT) {
        const cpt_gene_block unit = genes_of(s, g, scvi_shorter(SCVI_UNIT, first + n - g));
        const size_t row = scvi_at(g / SCVI_UNIT, s->stride);
        cpt_likelihood_kernels_get()->exponentials(&unit, m->scale_bias + g, s->largest + row, s->factor + row);
    }
}

/* The counts of a unit, cells ascending. */
static cpt_counted unit_counts(const scvi_stepper *s, scvi_worker *w, int32_t unit)
{
    const scvi_minibatch *b = &s->batch;
    int32_t n = 0;
    for (int32_t i = 0; i < b->n; i++) {
        const int32_t *range = b->units + scvi_at(i, s->n_units + 1) + unit;
        for (int64_t k = b->start[i] + range[0]; k < b->start[i] + range[1]; k++, n++) {
            w->genes[n] = b->genes[k] - unit * SCVI_UNIT;
            w->cells[n] = i;
            w->at[n] = w->genes[n] * s->stride + i;
            w->counts[n] = b->counts[k];
        }
    }
    return (cpt_counted){n, w->genes, w->cells, w->at, w->counts, w->terms, w->single, w->many};
}

static void block_likelihood(scvi_stepper *s, scvi_worker *w, int32_t first, int32_t n)
{
    const cpt_scvi *m = s->model;
    const size_t row = scvi_at(first / SCVI_HEAD_BLOCK, s->stride);
    memset(s->block_loss + row, 0, sizeof(double) * (size_t)s->stride);
    memset(s->block_q + row, 0, sizeof(double) * (size_t)s->stride);
    for (int32_t g = first; g < first + n; g += SCVI_UNIT) {
        const cpt_gene_block unit = genes_of(s, g, scvi_shorter(SCVI_UNIT, first + n - g));
        const cpt_counted counts = unit_counts(s, w, g / SCVI_UNIT);
        const cpt_block_sums sums = {s->block_loss + row, s->block_q + row, s->d_theta + g,
                                     s->dropout ? scvi_gradient_of(s, m->dropout_bias) + g : NULL, w->sums};
        cpt_likelihood_kernels_get()->block(&unit, &counts, &sums);
    }
}

/* Sums over blocks: the loss of every cell, and what its slopes need. */
static void add_blocks(scvi_stepper *s)
{
    for (int32_t i = 0; i < s->batch.n; i++) {
        double loss = s->batch.log_factorial[i], q = 0;
        for (int32_t k = 0; k < n_head_blocks(s); k++) {
            loss += s->block_loss[scvi_at(k, s->stride) + (size_t)i];
            q += s->block_q[scvi_at(k, s->stride) + (size_t)i];
        }
        s->reconstruction[i] = loss;
        s->pull[i] = s->batch.library[i] > 0 ? (float)(q / s->batch.library[i]) : 0;
    }
}

void scvi_heads_forward(scvi_stepper *s, int n_threads)
{
    enum { FEW = 16 }; /* cells */
    const int32_t n = s->batch.n, genes = s->model->shape.n_genes;
    pack_hidden(s);
#pragma omp parallel num_threads(n_threads)
    {
        scvi_worker *w = &s->workers[omp_get_thread_num()];
#pragma omp for schedule(dynamic)
        for (int32_t first = 0; first < genes; first += SCVI_HEAD_BLOCK)
            block_values(s, first, scvi_shorter(SCVI_HEAD_BLOCK, genes - first));
#pragma omp for schedule(static)
        for (int32_t i = 0; i < n; i += FEW)
            cpt_likelihood_kernels_get()->factors(s->n_units, scvi_shorter(FEW, n - i), s->stride,
                                                  s->batch.library + i, s->largest + i, s->factor + i);
#pragma omp for schedule(dynamic)
        for (int32_t first = 0; first < genes; first += SCVI_HEAD_BLOCK)
            block_likelihood(s, w, first, scvi_shorter(SCVI_HEAD_BLOCK, genes - first));
    }
    add_blocks(s);
}

/* ---- back ---- */

/* Of one head and the genes of a block, from `slopes` = d / d the head's values: the block's share of d / d last decoder
 * layer (added to what is there if `add`), and the gradient of the block's weights. */
static void head_back(scvi_stepper *s, scvi_worker *w, int32_t first, int32_t n, float *weight, const float *slopes,
                      bool add)
{
    const int32_t h = s->model->shape.n_hidden, cells = s->batch.n;
    float *share = s->shares + scvi_at(first / SCVI_HEAD_BLOCK, s->batch.capacity) * (size_t)h;
    float *rows = weight + scvi_at(first, h), *gradient = scvi_gradient_place(s, w, rows);
    cpt_packed packed;
    cpt_pack(CPT_GEMM_F32, h, n, rows, 1, h, w->packed, &packed);
    cpt_network_kernels_get()->turn(n, cells, slopes, s->stride, w->turned, SCVI_HEAD_BLOCK);
    cpt_multiply(&packed, cells, w->turned, SCVI_HEAD_BLOCK, share, h,
                 add ? &(cpt_epilogue){.add = share, .add_stride = h} : NULL);
    cpt_multiply(&s->by_unit, n, slopes, s->stride, gradient, h, NULL);
    scvi_learn(s, rows, gradient, scvi_at(n, h));
}

static void block_back(scvi_stepper *s, scvi_worker *w, int32_t first, int32_t n)
{
    const cpt_scvi *m = s->model;
    const cpt_gene_block block = genes_of(s, first, n);
    float *d_log_theta = scvi_gradient_of(s, m->px_r) + first;
    cpt_likelihood_kernels_get()->slopes(&block, s->pull, scvi_gradient_of(s, m->scale_bias) + first);
    for (int32_t g = 0; g < n; g++) d_log_theta[g] = s->d_theta[first + g] * block.tables.theta[g];
    head_back(s, w, first, n, m->scale_weight, block.values, false);
    if (s->dropout) head_back(s, w, first, n, m->dropout_weight, block.dropout, true);
}

/* d / d last decoder layer, of one cell: the sum of all blocks' shares, in their order. */
static void add_shares(scvi_stepper *s, int32_t cell)
{
    const int32_t h = s->model->shape.n_hidden, n_blocks = n_head_blocks(s);
    float *restrict to = s->decoder[s->model->shape.n_layers - 1].gradient + scvi_at(cell, h);
    memset(to, 0, sizeof *to * (size_t)h);
    for (int32_t k = 0; k < n_blocks; k++) {
        const float *restrict share = s->shares + (scvi_at(k, s->batch.capacity) + (size_t)cell) * (size_t)h;
        for (int32_t j = 0; j < h; j++) to[j] += share[j];
    }
}

void scvi_heads_backward(scvi_stepper *s, int n_threads)
{
    const int32_t genes = s->model->shape.n_genes;
#pragma omp parallel num_threads(n_threads)
    {
        scvi_worker *w = &s->workers[omp_get_thread_num()];
#pragma omp for schedule(dynamic)
        for (int32_t first = 0; first < genes; first += SCVI_HEAD_BLOCK)
            block_back(s, w, first, scvi_shorter(SCVI_HEAD_BLOCK, genes - first));
#pragma omp for schedule(static)
        for (int32_t i = 0; i < s->batch.n; i++) add_shares(s, i);
    }
}

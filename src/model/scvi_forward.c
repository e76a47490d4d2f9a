/* scVI in eval mode: counts -> encoder mean, and latent -> expected expression.
 *
 * The first layer is a sum over the genes a cell has (a twentieth to a fifth of them), never a
 * dense product: out = sum_g log1p(x_g) W[g]. Cells go in blocks of SCVI_BLOCK over the threads;
 * every product sums in an order that does not depend on the block (math/network.h), so a cell's
 * embedding depends on its row alone. Cost per cell: nnz H + L H^2 multiply-adds.
 *
 * A cell without counts is well defined: its input is 0. */
#include "model/scvi_network.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "math/blas.h"

cpt_status scvi_scratch_init(scvi_scratch *s, const cpt_scvi *m, cpt_err *e)
{
    size_t genes = (size_t)m->shape.n_genes,
           hidden = (size_t)SCVI_BLOCK * (size_t)m->shape.n_hidden;
    size_t head = (size_t)SCVI_BLOCK * (size_t)m->padded;
    float *p = NULL;
    *s = (scvi_scratch){0};
    cpt_status status =
        cpt_alloc(&p, 2 * genes + 2 * hidden + head + (size_t)m->shape.n_hidden, sizeof(float), e);
    if (status) return status;
    s->block = p;
    s->head = p;
    s->hidden[0] = p + head;
    s->hidden[1] = s->hidden[0] + hidden;
    s->values = s->hidden[1] + hidden;
    s->genes = (int32_t *)(void *)(s->values + genes);
    s->zeros = s->values + 2 * genes;
    return CPT_OK;
}

void scvi_scratch_free(scvi_scratch *s)
{
    free(s->block);
    *s = (scvi_scratch){0};
}

void scvi_inputs(const cpt_scvi *m, int32_t n, float *values)
{
    if (m->shape.log_input) cpt_network_kernels_get()->log1p(n, values, values);
}

void scvi_first_layer(const cpt_scvi *m, int32_t n, const int32_t *genes, const float *inputs,
                      float *out)
{
    memset(out, 0, sizeof(float) * (size_t)m->shape.n_hidden);
    cpt_network_kernels_get()->accumulate(n, genes, inputs, m->encoder[0].weight, m->shape.n_hidden,
                                          out);
}

/* rows [n][n_out] = relu(scale * rows + shift) */
static void activate(const scvi_layer *l, int32_t n, float *rows)
{
    cpt_network_kernels_get()->activate(n, l->n_out, l->scale, l->shift, rows);
}

/* out [n][n_out] = in [n][n_in] weight, no bias: that is in the layer's shift. */
static void multiply(const scvi_layer *l, int32_t n, const float *in, const float *zeros,
                     float *out)
{
    cpt_network_kernels_get()->dense(n, l->n_in, l->n_out, in, l->weight, zeros, out);
}

void scvi_encode_rest(const cpt_scvi *m, int32_t n, scvi_scratch *s, float *out, int *last)
{
    const cpt_network_kernels *k = cpt_network_kernels_get();
    const int32_t latent = m->shape.n_latent;
    int now = 0;
    for (int32_t i = 1; i < m->shape.n_layers; i++, now = !now) {
        const scvi_layer *l = &m->encoder[i];
        multiply(l, n, s->hidden[now], s->zeros, s->hidden[!now]);
        activate(l, n, s->hidden[!now]);
    }
    k->dense(n, m->shape.n_hidden, m->padded, s->hidden[now], m->mean_head, m->mean_head_bias,
             s->head);
    for (int32_t i = 0; i < n; i++)
        memcpy(out + (size_t)i * (size_t)latent, s->head + (size_t)i * (size_t)m->padded,
               sizeof(float) * (size_t)latent);
    if (last) *last = now;
}

static void embed_block(const cpt_scvi *m, const cpt_counts *counts, int64_t first, int32_t n,
                        scvi_scratch *s, float *out)
{
    for (int32_t i = 0; i < n; i++) {
        int32_t nnz = cpt_counts_row(counts, first + i, s->genes, s->values);
        scvi_inputs(m, nnz, s->values);
        scvi_first_layer(m, nnz, s->genes, s->values,
                         s->hidden[0] + (size_t)i * (size_t)m->shape.n_hidden);
    }
    activate(&m->encoder[0], n, s->hidden[0]);
    scvi_encode_rest(m, n, s, out, NULL);
}

cpt_status scvi_embed(const cpt_model *base, const cpt_counts *counts, int64_t first, int64_t n,
                      float *out, const cpt_context *ctx, cpt_err *e)
{
    const cpt_scvi *m = scvi_of(base);
    const int n_threads = cpt_threads(ctx);
    const int64_t n_blocks = (n + SCVI_BLOCK - 1) / SCVI_BLOCK;
    cpt_status status = CPT_OK;
    if (counts->n_genes != base->n_genes)
        return cpt_fail(e, CPT_ERR_USAGE, "the counts are mapped to %d genes, the model has %d",
                        counts->n_genes, base->n_genes);
#pragma omp parallel num_threads(n_threads) if (n_blocks > 1)
    {
        scvi_scratch s;
        cpt_status mine = scvi_scratch_init(&s, m, NULL);
#pragma omp for schedule(dynamic)
        for (int64_t b = 0; b < n_blocks; b++) {
            int64_t from = b * SCVI_BLOCK, size = n - from < SCVI_BLOCK ? n - from : SCVI_BLOCK;
            if (mine) continue;
            embed_block(m, counts, first + from, (int32_t)size, &s, out + from * base->dim);
        }
        if (mine) {
#pragma omp critical(scvi_embed_status)
            status = mine;
        }
        scvi_scratch_free(&s);
    }
    return status ? cpt_fail(e, status, "out of memory while embedding cells") : CPT_OK;
}

cpt_status scvi_profile(const cpt_model *m, const cpt_counts *counts, int64_t row, cpt_profile *out,
                        cpt_err *e)
{
    cpt_status status;
    *out = (cpt_profile){0};
    CPT_TRY(cpt_alloc(&out->genes, (size_t)m->n_genes, sizeof *out->genes, e));
    CPT_TRY(cpt_alloc(&out->values, (size_t)m->n_genes, sizeof *out->values, e));
    out->n = cpt_counts_row(counts, row, out->genes, out->values);
done:
    if (status) cpt_profile_free(out);
    return status;
}

/* The decoder's input: latent values, then the one-hot of the batch. */
static void decoder_input(const cpt_scvi *m, const scvi_layer *l, int32_t n, const float *rows,
                          int32_t width, const int32_t *codes, float *out)
{
    memset(out, 0, sizeof(float) * (size_t)n * (size_t)l->n_in);
    for (int32_t i = 0; i < n; i++) {
        float *row = out + (size_t)i * (size_t)l->n_in;
        memcpy(row, rows + (size_t)i * (size_t)width, sizeof(float) * (size_t)width);
        if (l->n_in > width && m->n_batches > 0) row[width + (codes ? codes[i] : 0)] = 1;
    }
}

cpt_status scvi_decode_hidden(const cpt_scvi *m, int32_t n, const float *z, const int32_t *codes,
                              float *out, cpt_err *e)
{
    const cpt_network_kernels *k = cpt_network_kernels_get();
    int32_t widest = 0, width = m->shape.n_latent;
    float *input = NULL, *zeros = NULL;
    cpt_status status;
    for (int32_t i = 0; i < m->shape.n_layers; i++)
        widest = m->decoder[i].n_in > widest ? m->decoder[i].n_in : widest;
    CPT_TRY(cpt_alloc(&input, (size_t)n * (size_t)widest, sizeof *input, e));
    CPT_TRY(cpt_alloc(&zeros, (size_t)m->shape.n_hidden, sizeof *zeros, e));
    for (int32_t i = 0; i < m->shape.n_layers; i++) {
        const scvi_layer *l = &m->decoder[i];
        decoder_input(m, l, n, i ? out : z, width, codes, input);
        k->dense(n, l->n_in, l->n_out, input, l->weight, zeros, out);
        activate(l, n, out);
        width = l->n_out;
    }
done:
    free(input);
    free(zeros);
    return status;
}

/* Adds the shares of `n` cells decoded for one batch, weighted. */
static cpt_status decode_for(const cpt_scvi *m, int32_t n, const float *z, int32_t batch,
                             float weight, float *hidden, float *logits, float *out, cpt_err *e)
{
    const int32_t genes = m->shape.n_genes, h = m->shape.n_hidden;
    int32_t codes[SCVI_BLOCK] = {0};
    for (int32_t i = 0; i < n; i++) codes[i] = batch;
    cpt_status status = scvi_decode_hidden(m, n, z, codes, hidden, e);
    if (status) return status;
    for (int32_t i = 0; i < n; i++)
        memcpy(logits + (size_t)i * (size_t)genes, m->scale_bias, sizeof(float) * (size_t)genes);
    cpt_gemm(false, true, n, genes, h, 1, hidden, h, m->scale_weight, h, 1, logits, genes, 1);
    for (int32_t i = 0; i < n; i++) {
        float *from = logits + (size_t)i * (size_t)genes, *to = out + (size_t)i * (size_t)genes;
        cpt_likelihood_kernels_get()->softmax(genes, from);
        for (int32_t g = 0; g < genes; g++) to[g] += weight * from[g];
    }
    return CPT_OK;
}

static cpt_status decode_block(const cpt_scvi *m, int32_t n, const float *z, int32_t batch,
                               float *out, cpt_err *e)
{
    float *hidden = NULL, *logits = NULL;
    int32_t n_batches = m->n_batches > 1 ? m->n_batches : 1;
    cpt_status status;
    CPT_TRY(cpt_alloc(&hidden, (size_t)n * (size_t)m->shape.n_hidden, sizeof *hidden, e));
    CPT_TRY(cpt_alloc(&logits, (size_t)n * (size_t)m->shape.n_genes, sizeof *logits, e));
    memset(out, 0, sizeof(float) * (size_t)n * (size_t)m->shape.n_genes);
    if (batch >= 0 || n_batches == 1) {
        CPT_TRY(decode_for(m, n, z, batch < 0 ? 0 : batch, 1, hidden, logits, out, e));
    } else {
        for (int32_t b = 0; b < n_batches; b++)
            CPT_TRY(decode_for(m, n, z, b, 1.0f / (float)n_batches, hidden, logits, out, e));
    }
done:
    free(hidden);
    free(logits);
    return status;
}

cpt_status scvi_decode(const cpt_model *base, int64_t n, const float *z, int32_t batch, float *out,
                       const cpt_context *ctx, cpt_err *e)
{
    const cpt_scvi *m = scvi_of(base);
    const int n_threads = cpt_threads(ctx);
    const int64_t n_blocks = (n + SCVI_BLOCK - 1) / SCVI_BLOCK;
    cpt_status status = CPT_OK;
    if (m->no_decode)
        return cpt_fail(e, CPT_ERR_UNSUPPORTED, "this model cannot decode: %s", m->no_decode);
    if (batch >= (m->n_batches > 1 ? m->n_batches : 1) || batch < -1)
        return cpt_fail(e, CPT_ERR_USAGE, "there is no batch %d: the model has %d", batch,
                        m->n_batches > 1 ? m->n_batches : 1);
    cpt_blas_single_thread();
#pragma omp parallel for schedule(dynamic) num_threads(n_threads) if (n_blocks > 1)
    for (int64_t b = 0; b < n_blocks; b++) {
        int64_t from = b * SCVI_BLOCK, size = n - from < SCVI_BLOCK ? n - from : SCVI_BLOCK;
        cpt_status mine = decode_block(m, (int32_t)size, z + from * base->dim, batch,
                                       out + from * base->n_genes, NULL);
        if (mine) {
#pragma omp critical(scvi_decode_status)
            status = mine;
        }
    }
    return status ? cpt_fail(e, status, "out of memory while decoding") : CPT_OK;
}

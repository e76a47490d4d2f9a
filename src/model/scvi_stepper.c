/* Memory of one minibatch's training (scvi_stepper.h): all of it is reserved before the first step, but what depends on
 * the counts of a minibatch, and the scratch of threads, of which the first minibatch tells the number. */
#include "model/scvi_stepper.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "math/blas.h"
#include "math/gemm.h"

static cpt_status reserve(scvi_stepper *s, void *out, int64_t n, size_t size, cpt_err *e)
{
    void *p = NULL;
    cpt_status status =
        cpt_grow(&s->blocks, &s->blocks_capacity, s->n_blocks + 1, sizeof *s->blocks, e);
    if (!status) status = cpt_alloc(&p, (size_t)n, size, e);
    if (!status) s->blocks[s->n_blocks++] = p;
    memcpy(out, &p, sizeof p);
    return status;
}

static cpt_status reserve_floats(scvi_stepper *s, float **out, int64_t n, cpt_err *e)
{
    return reserve(s, out, n, sizeof(float), e);
}

static cpt_status reserve_layer(scvi_stepper *s, scvi_layer_pass *p, const scvi_layer *l, bool input,
                                cpt_err *e)
{
    int64_t n = s->batch.capacity, size = n * l->n_out;
    cpt_status status;
    if (input) CPT_TRY(reserve_floats(s, &p->input, n * l->n_in, e));
    CPT_TRY(reserve_floats(s, &p->normalised, size, e));
    CPT_TRY(reserve_floats(s, &p->output, size, e));
    CPT_TRY(reserve_floats(s, &p->gradient, size, e));
    CPT_TRY(reserve(s, &p->inverse_sd, l->n_out, sizeof(double), e));
done:
    return status;
}

static cpt_status reserve_layers(scvi_stepper *s, cpt_err *e)
{
    const cpt_scvi *m = s->model;
    const int64_t n = s->batch.capacity, latent = n * m->shape.n_latent;
    int64_t widest = 0;
    cpt_status status;
    CPT_TRY(reserve(s, &s->encoder, m->shape.n_layers, sizeof *s->encoder, e));
    CPT_TRY(reserve(s, &s->decoder, m->shape.n_layers, sizeof *s->decoder, e));
    for (int32_t i = 0; i < m->shape.n_layers; i++) {
        CPT_TRY(reserve_layer(s, &s->encoder[i], &m->encoder[i], i > 0, e));
        CPT_TRY(reserve_layer(s, &s->decoder[i], &m->decoder[i], true, e));
        widest = m->decoder[i].n_in > widest ? m->decoder[i].n_in : widest;
    }
    CPT_TRY(reserve_floats(s, &s->d_input, n * widest, e));
    float **const six[] = {&s->mean,   &s->log_var, &s->variance,
                           &s->latent, &s->d_mean,  &s->d_log_var};
    for (size_t i = 0; i < sizeof six / sizeof *six; i++)
        CPT_TRY(reserve_floats(s, six[i], latent, e));
    CPT_TRY(reserve(s, &s->column, 2 * (int64_t)m->shape.n_hidden, sizeof(double), e));
done:
    return status;
}

static cpt_status reserve_heads(scvi_stepper *s, cpt_err *e)
{
    const cpt_scvi *m = s->model;
    const int64_t n = s->batch.capacity, genes = m->shape.n_genes, h = m->shape.n_hidden, stride = s->stride;
    const int64_t n_blocks = (genes + SCVI_HEAD_BLOCK - 1) / SCVI_HEAD_BLOCK;
    cpt_status status;
    CPT_TRY(reserve_floats(s, &s->values, genes * stride, e));
    CPT_TRY(reserve_floats(s, &s->q, genes * stride, e));
    if (m->dropout_weight) CPT_TRY(reserve_floats(s, &s->dropout, genes * stride, e));
    CPT_TRY(reserve_floats(s, &s->largest, s->n_units * stride, e));
    CPT_TRY(reserve_floats(s, &s->factor, s->n_units * stride, e));
    CPT_TRY(reserve(s, &s->block_loss, n_blocks * stride, sizeof(double), e));
    CPT_TRY(reserve(s, &s->block_q, n_blocks * stride, sizeof(double), e));
    CPT_TRY(reserve_floats(s, &s->d_theta, genes, e));
    CPT_TRY(reserve_floats(s, &s->pull, stride, e));
    CPT_TRY(reserve_floats(s, &s->shares, n_blocks * n * h, e));
    CPT_TRY(reserve(s, &s->packed_values, (int64_t)cpt_packed_bytes(CPT_GEMM_F32, n, h), 1, e));
    CPT_TRY(reserve(s, &s->packed_hidden, (int64_t)cpt_packed_bytes(CPT_GEMM_F32, h, n), 1, e));
    CPT_TRY(reserve_floats(s, &s->tables.theta, genes, e));
    CPT_TRY(reserve_floats(s, &s->tables.inverse, genes, e));
    CPT_TRY(reserve(s, &s->tables.lgamma, genes, sizeof(double), e));
    CPT_TRY(reserve(s, &s->tables.digamma, genes, sizeof(double), e));
    CPT_TRY(reserve(s, &s->reconstruction, n, sizeof(double), e));
    CPT_TRY(reserve_floats(s, &s->gradients, m->n_parameters, e));
    CPT_TRY(reserve_floats(s, &s->first_moment, m->n_parameters, e));
    CPT_TRY(reserve_floats(s, &s->second_moment, m->n_parameters, e));
done:
    return status;
}

static cpt_status reserve_worker(scvi_stepper *s, scvi_worker *w, cpt_err *e)
{
    const int64_t n = s->batch.capacity, h = s->model->shape.n_hidden, most = SCVI_UNIT * n;
    cpt_status status;
    *w = (scvi_worker){0};
    CPT_TRY(reserve_floats(s, &w->gradient, SCVI_HEAD_BLOCK * h, e));
    CPT_TRY(reserve_floats(s, &w->turned, SCVI_HEAD_BLOCK * n, e));
    CPT_TRY(reserve(s, &w->packed, (int64_t)cpt_packed_bytes(CPT_GEMM_F32, h, SCVI_HEAD_BLOCK), 1, e));
    int32_t **const lists[] = {&w->genes, &w->cells, &w->at, &w->many};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        CPT_TRY(reserve(s, lists[i], most + 1, sizeof **lists[i], e));
    CPT_TRY(reserve_floats(s, &w->counts, most, e));
    CPT_TRY(reserve_floats(s, &w->single, 8 * most, e));
    CPT_TRY(reserve(s, &w->terms, 5 * most, sizeof *w->terms, e));
    CPT_TRY(reserve_floats(s, &w->sums, 2 * (int64_t)s->stride, e));
done:
    return status;
}

cpt_status scvi_stepper_hire(scvi_stepper *s, int n_threads, cpt_err *e)
{
    while (s->n_workers < (size_t)n_threads) {
        cpt_status status = cpt_grow(&s->workers, &s->workers_capacity, s->n_workers + 1, sizeof *s->workers, e);
        if (!status) status = reserve_worker(s, &s->workers[s->n_workers], e);
        if (status) return status;
        s->n_workers++;
    }
    return CPT_OK;
}

static cpt_status reserve_minibatch(scvi_stepper *s, cpt_err *e)
{
    scvi_minibatch *b = &s->batch;
    cpt_status status;
    CPT_TRY(reserve(s, &b->start, b->capacity, sizeof *b->start, e));
    CPT_TRY(reserve(s, &b->length, b->capacity, sizeof *b->length, e));
    CPT_TRY(reserve(s, &b->units, b->capacity * (int64_t)(s->n_units + 1), sizeof *b->units, e));
    CPT_TRY(reserve(s, &b->library, b->capacity, sizeof *b->library, e));
    CPT_TRY(reserve(s, &b->log_factorial, b->capacity, sizeof *b->log_factorial, e));
    CPT_TRY(reserve(s, &b->codes, b->capacity, sizeof *b->codes, e));
done:
    return status;
}

cpt_status scvi_stepper_new(cpt_scvi *m, const cpt_scvi_options *options, scvi_stepper **out,
                            cpt_err *e)
{
    scvi_stepper *s = NULL;
    cpt_status status;
    *out = NULL;
    if (!m->shape.encoder_norm || !m->shape.decoder_norm || !m->px_r ||
        m->shape.n_covariates != m->n_batches)
        return cpt_fail(e, CPT_ERR_UNSUPPORTED, "training needs batch normalisation in encoder and "
                        "decoder, one dispersion per gene, and no covariates but the batch");
    CPT_TRY(cpt_alloc(&s, 1, sizeof *s, e));
    s->model = m;
    s->options = *options;
    s->batch.capacity = options->batch_size;
    s->stride = (options->batch_size + 15) / 16 * 16;
    s->n_units = (m->shape.n_genes + SCVI_UNIT - 1) / SCVI_UNIT;
    CPT_TRY(reserve_minibatch(s, e));
    CPT_TRY(reserve_layers(s, e));
    CPT_TRY(reserve_heads(s, e));
    cpt_blas_single_thread();
done:
    if (status) scvi_stepper_free(s);
    else *out = s;
    return status;
}

void scvi_stepper_free(scvi_stepper *s)
{
    if (!s) return;
    for (size_t i = 0; i < s->n_blocks; i++) free(s->blocks[i]);
    free(s->blocks);
    free(s->log_factorial);
    free(s->batch.genes);
    free(s->batch.counts);
    free(s->batch.inputs);
    free(s->workers);
    free(s);
}

const float *scvi_stepper_gradients(const scvi_stepper *s)
{
    return s->gradients;
}

const float *scvi_stepper_latent(const scvi_stepper *s, const float **mean, const float **variance)
{
    *mean = s->mean;
    *variance = s->variance;
    return s->latent;
}

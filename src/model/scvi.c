/* scVI models as objects: layout of the parameters, initialisation, derived arrays.
 *
 * The parameters are laid out by one function that runs twice: first with no memory, to count,
 * then over the block. Batch normalisation in eval mode is an affine map, so a layer collapses to
 *     relu(scale * (x W) + shift),  scale = w / sqrt(var + 1e-3),  shift = b_bn + (b - mean) *
 * scale (models.md 5.2): derived once here, used by embedding and by sessions. */
#include "model/scvi_network.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"

/* The next n numbers of a block, on a boundary of 16 so that vectors do not straddle cache lines.
 */
typedef struct cursor {
    float *block; /* NULL while counting */
    int64_t used;
} cursor;

static float *take(cursor *c, int64_t n)
{
    float *p = c->block ? c->block + c->used : NULL;
    c->used += (n + 15) / 16 * 16;
    return p;
}

static void lay_out_layer(scvi_layer *l, cursor *parameters, cursor *statistics, int32_t n_in,
                          int32_t n_out, bool norm)
{
    l->n_in = n_in;
    l->n_out = n_out;
    l->weight = take(parameters, (int64_t)n_in * n_out);
    l->bias = take(parameters, n_out);
    if (norm) {
        l->bn_weight = take(parameters, n_out);
        l->bn_bias = take(parameters, n_out);
        l->running_mean = take(statistics, n_out);
        l->running_var = take(statistics, n_out);
    }
    l->scale = take(statistics, n_out);
    l->shift = take(statistics, n_out);
}

static void lay_out(cpt_scvi *m, cursor *p, cursor *s)
{
    const scvi_shape *d = &m->shape;
    int64_t h = d->n_hidden, g = d->n_genes, l = d->n_latent;
    for (int32_t i = 0; i < d->n_layers; i++)
        lay_out_layer(&m->encoder[i], p, s, i ? d->n_hidden : d->n_genes, d->n_hidden,
                      d->encoder_norm);
    m->mean_weight = take(p, h * l);
    m->mean_bias = take(p, l);
    m->var_weight = take(p, h * l);
    m->var_bias = take(p, l);
    for (int32_t i = 0; i < d->n_layers; i++)
        lay_out_layer(&m->decoder[i], p, s,
                      (i ? d->n_hidden : d->n_latent) + (i == 0 || d->deep ? d->n_covariates : 0),
                      d->n_hidden, d->decoder_norm);
    m->scale_weight = take(p, g * h);
    m->scale_bias = take(p, g);
    if (d->zero_inflated) {
        m->dropout_weight = take(p, g * h);
        m->dropout_bias = take(p, g);
    }
    if (d->has_px_r) m->px_r = take(p, g);
    m->mean_head = take(s, h * m->padded);
    m->mean_head_bias = take(s, m->padded);
}

static cpt_status allocate(cpt_scvi *m, cpt_err *e)
{
    cpt_status status;
    cursor p = {NULL, 0}, s = {NULL, 0};
    CPT_TRY(cpt_alloc(&m->encoder, (size_t)m->shape.n_layers, sizeof *m->encoder, e));
    CPT_TRY(cpt_alloc(&m->decoder, (size_t)m->shape.n_layers, sizeof *m->decoder, e));
    lay_out(m, &p, &s);
    m->n_parameters = p.used;
    CPT_TRY(cpt_alloc(&m->parameters, (size_t)p.used, sizeof(float), e));
    CPT_TRY(cpt_alloc(&m->statistics, (size_t)s.used, sizeof(float), e));
    p = (cursor){m->parameters, 0};
    s = (cursor){m->statistics, 0};
    lay_out(m, &p, &s);
done:
    return status;
}

static void free_scvi(cpt_model *base)
{
    cpt_scvi *m = (cpt_scvi *)(void *)base;
    if (!m) return;
    free(m->encoder);
    free(m->decoder);
    free(m->parameters);
    free(m->statistics);
    cpt_strings_free(&m->batch_names);
    cpt_text_free(&m->batch_key);
    cpt_strings_free(&m->base.gene_names);
    cpt_text_free(&m->base.description);
    free(m);
}

cpt_status scvi_new(const scvi_shape *shape, cpt_scvi **out, cpt_err *e)
{
    cpt_scvi *m = NULL;
    *out = NULL;
    if (shape->n_genes < 1 || shape->n_hidden < 1 || shape->n_latent < 1 || shape->n_layers < 1 ||
        shape->n_layers > SCVI_MAX_LAYERS || shape->n_covariates < 0)
        return cpt_fail(e, CPT_ERR_USAGE,
                        "scVI: %d genes, %d hidden, %d latent, %d layers (at most %d) cannot be",
                        shape->n_genes, shape->n_hidden, shape->n_latent, shape->n_layers,
                        SCVI_MAX_LAYERS);
    cpt_status status = cpt_alloc(&m, 1, sizeof *m, e);
    if (status) return status;
    m->base.ops = &scvi_ops;
    m->base.n_genes = shape->n_genes;
    m->base.dim = shape->n_latent;
    m->shape = *shape;
    m->padded = (shape->n_latent + 15) / 16 * 16;
    status = allocate(m, e);
    if (status) {
        free_scvi(&m->base);
        return status;
    }
    for (int32_t i = 0; i < shape->n_layers; i++)
        for (int side = 0; side < 2; side++) {
            scvi_layer *l = side ? &m->decoder[i] : &m->encoder[i];
            for (int32_t j = 0; l->running_var && j < l->n_out; j++) l->running_var[j] = 1;
        }
    *out = m;
    return CPT_OK;
}

/* U(-1/sqrt(n_in), 1/sqrt(n_in)) */
static void uniform(cpt_stream *s, int64_t n, int32_t n_in, float *out)
{
    double bound = 1 / sqrt((double)n_in);
    for (int64_t i = 0; i < n; i++) out[i] = (float)(bound * (2 * cpt_stream_uniform(s) - 1));
}

static void initialise_layer(cpt_stream *s, scvi_layer *l)
{
    uniform(s, (int64_t)l->n_in * l->n_out, l->n_in, l->weight);
    uniform(s, l->n_out, l->n_in, l->bias);
    for (int32_t j = 0; l->bn_weight && j < l->n_out; j++) l->bn_weight[j] = 1;
}

void scvi_initialise(cpt_scvi *m, uint64_t seed)
{
    const scvi_shape *d = &m->shape;
    int64_t heads = (int64_t)d->n_genes * d->n_hidden, latent = (int64_t)d->n_hidden * d->n_latent;
    cpt_stream s;
    cpt_stream_init(&s, seed, CPT_RANDOM_SCVI_INIT, 0);
    for (int32_t i = 0; i < d->n_layers; i++) initialise_layer(&s, &m->encoder[i]);
    uniform(&s, latent, d->n_hidden, m->mean_weight);
    uniform(&s, d->n_latent, d->n_hidden, m->mean_bias);
    uniform(&s, latent, d->n_hidden, m->var_weight);
    uniform(&s, d->n_latent, d->n_hidden, m->var_bias);
    for (int32_t i = 0; i < d->n_layers; i++) initialise_layer(&s, &m->decoder[i]);
    uniform(&s, heads, d->n_hidden, m->scale_weight);
    uniform(&s, d->n_genes, d->n_hidden, m->scale_bias);
    if (m->dropout_weight) {
        uniform(&s, heads, d->n_hidden, m->dropout_weight);
        uniform(&s, d->n_genes, d->n_hidden, m->dropout_bias);
    }
    for (int32_t g = 0; m->px_r && g < d->n_genes; g++) m->px_r[g] = (float)cpt_stream_normal(&s);
}

static void derive_layer(scvi_layer *l)
{
    for (int32_t j = 0; j < l->n_out; j++) {
        double scale = 1, shift = l->bias[j];
        if (l->bn_weight) {
            scale = l->bn_weight[j] / sqrt((double)l->running_var[j] + SCVI_BATCH_EPS);
            shift = l->bn_bias[j] + ((double)l->bias[j] - l->running_mean[j]) * scale;
        }
        l->scale[j] = (float)scale;
        l->shift[j] = (float)shift;
    }
}

void scvi_derive(cpt_scvi *m)
{
    const scvi_shape *d = &m->shape;
    for (int32_t i = 0; i < d->n_layers; i++) {
        derive_layer(&m->encoder[i]);
        derive_layer(&m->decoder[i]);
    }
    for (int32_t h = 0; h < d->n_hidden; h++)
        memcpy(m->mean_head + (size_t)h * (size_t)m->padded,
               m->mean_weight + (size_t)h * (size_t)d->n_latent,
               sizeof(float) * (size_t)d->n_latent);
    memcpy(m->mean_head_bias, m->mean_bias, sizeof(float) * (size_t)d->n_latent);
}

cpt_status scvi_describe(cpt_scvi *m, cpt_err *e)
{
    const scvi_shape *d = &m->shape;
    cpt_text *t = &m->base.description;
    cpt_text_free(t);
    cpt_text_addf(t, "scVI, %d genes, %d layer%s, %d hidden, %d latent, %s", d->n_genes,
                  d->n_layers, d->n_layers == 1 ? "" : "s", d->n_hidden, d->n_latent,
                  d->zero_inflated ? "ZINB" : "NB");
    if (m->n_batches > 1) cpt_text_addf(t, ", %d batches", m->n_batches);
    return cpt_text_status(t, e);
}

cpt_status scvi_finish(cpt_scvi *m, cpt_err *e)
{
    scvi_derive(m);
    return scvi_describe(m, e);
}

bool cpt_model_is_scvi(const cpt_model *m)
{
    return m->ops == &scvi_ops;
}

const cpt_model_ops scvi_ops = {
    .kind = "scvi",
    .embed = scvi_embed,
    .profile = scvi_profile,
    .session_open = scvi_session_open,
    .session_embedding = scvi_session_embedding,
    .session_singles = scvi_session_singles,
    .session_joint = scvi_session_joint,
    .session_gradient = scvi_session_gradient,
    .session_free = scvi_session_free,
    .decode = scvi_decode,
    .save = cpt_scvi_save,
    .free = free_scvi,
};

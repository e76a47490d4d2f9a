/* The block of parameters of an scGPT that is trained here: layout, names, initial values.
 *
 * Initial values are those of the modules that scGPT is built of: U(-0.1, 0.1) for gene tokens,
 * Xavier for the attention's input projection with a zero bias, He-uniform with a = sqrt(5) (that
 * is +-1 / sqrt(n_in)) for all other linear maps. Every tensor has a stream of its own. */
#include "model/scgpt_weights.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"

enum { LAYER_PARAMETERS = 12, OTHER_PARAMETERS = 9 + 2 * SCGPT_DECODER_LAYERS + 3 };

static int64_t take(int64_t *at, int64_t n)
{
    const int64_t here = *at;
    *at += (n + 15) / 16 * 16;
    return here;
}

void scgpt_layout_init(scgpt_layout *l, const scgpt_shape *s)
{
    const int64_t d = s->width, f = s->hidden;
    int64_t at = 0, in = 0;
    l->embedding = take(&at, (int64_t)s->n_tokens * d);
    l->token_gain = take(&at, d);
    l->token_shift = take(&at, d);
    l->value_in = take(&at, d);
    l->value_in_bias = take(&at, d);
    l->value_out = take(&at, d * d);
    l->value_out_bias = take(&at, d);
    l->value_gain = take(&at, d);
    l->value_shift = take(&at, d);
    l->qkv_weight = take(&in, 3 * d * d);
    l->qkv_bias = take(&in, 3 * d);
    l->out_weight = take(&in, d * d);
    l->out_bias = take(&in, d);
    l->up_weight = take(&in, f * d);
    l->up_bias = take(&in, f);
    l->down_weight = take(&in, d * f);
    l->down_bias = take(&in, d);
    l->gain1 = take(&in, d);
    l->shift1 = take(&in, d);
    l->gain2 = take(&in, d);
    l->shift2 = take(&in, d);
    l->layers = at;
    l->layer_size = in;
    at += in * s->n_layers;
    for (int i = 0; i < SCGPT_DECODER_LAYERS; i++) {
        const int64_t n_out = i + 1 < SCGPT_DECODER_LAYERS ? d : 1;
        l->decoder_weight[i] = take(&at, n_out * d);
        l->decoder_bias[i] = take(&at, n_out);
    }
    l->query_weight = take(&at, d * d);
    l->query_bias = take(&at, d);
    l->mvc_weight = take(&at, d * d);
    l->n = at;
}

/* ---- the list ---- */

static void add(scgpt_weights *w, int64_t offset, int64_t rows, int64_t cols, int64_t n_in,
                scgpt_init init, const char *name)
{
    scgpt_parameter *p = &w->parameters[w->n_parameters++];
    *p =
        (scgpt_parameter){.offset = offset, .rows = rows, .cols = cols, .n_in = n_in, .init = init};
    snprintf(p->name, sizeof p->name, "%s", name);
}

static void add_layer(scgpt_weights *w, int32_t layer)
{
    const int64_t d = w->shape.width, f = w->shape.hidden;
    const scgpt_layout *l = &w->at;
    const struct {
        const char *name;
        int64_t at, rows, cols, n_in;
        scgpt_init init;
    } parts[] = {{"self_attn.Wqkv.weight", l->qkv_weight, 3 * d, d, d, SCGPT_INIT_XAVIER},
                 {"self_attn.Wqkv.bias", l->qkv_bias, 3 * d, 0, d, SCGPT_INIT_ZERO},
                 {"self_attn.out_proj.weight", l->out_weight, d, d, d, SCGPT_INIT_LINEAR},
                 {"self_attn.out_proj.bias", l->out_bias, d, 0, d, SCGPT_INIT_ZERO},
                 {"linear1.weight", l->up_weight, f, d, d, SCGPT_INIT_LINEAR},
                 {"linear1.bias", l->up_bias, f, 0, d, SCGPT_INIT_LINEAR},
                 {"linear2.weight", l->down_weight, d, f, f, SCGPT_INIT_LINEAR},
                 {"linear2.bias", l->down_bias, d, 0, f, SCGPT_INIT_LINEAR},
                 {"norm1.weight", l->gain1, d, 0, d, SCGPT_INIT_ONE},
                 {"norm1.bias", l->shift1, d, 0, d, SCGPT_INIT_ZERO},
                 {"norm2.weight", l->gain2, d, 0, d, SCGPT_INIT_ONE},
                 {"norm2.bias", l->shift2, d, 0, d, SCGPT_INIT_ZERO}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char name[SCGPT_NAME];
        snprintf(name, sizeof name, "transformer_encoder.layers.%d.%s", layer, parts[i].name);
        add(w, l->layers + layer * l->layer_size + parts[i].at, parts[i].rows, parts[i].cols,
            parts[i].n_in, parts[i].init, name);
    }
}

static void list_parameters(scgpt_weights *w)
{
    const int64_t d = w->shape.width;
    const scgpt_layout *l = &w->at;
    add(w, l->embedding, w->shape.n_tokens, d, d, SCGPT_INIT_EMBEDDING, "encoder.embedding.weight");
    add(w, l->token_gain, d, 0, d, SCGPT_INIT_ONE, "encoder.enc_norm.weight");
    add(w, l->token_shift, d, 0, d, SCGPT_INIT_ZERO, "encoder.enc_norm.bias");
    add(w, l->value_in, d, 1, 1, SCGPT_INIT_LINEAR, "value_encoder.linear1.weight");
    add(w, l->value_in_bias, d, 0, 1, SCGPT_INIT_LINEAR, "value_encoder.linear1.bias");
    add(w, l->value_out, d, d, d, SCGPT_INIT_LINEAR, "value_encoder.linear2.weight");
    add(w, l->value_out_bias, d, 0, d, SCGPT_INIT_LINEAR, "value_encoder.linear2.bias");
    add(w, l->value_gain, d, 0, d, SCGPT_INIT_ONE, "value_encoder.norm.weight");
    add(w, l->value_shift, d, 0, d, SCGPT_INIT_ZERO, "value_encoder.norm.bias");
    for (int32_t i = 0; i < w->shape.n_layers; i++) add_layer(w, i);
    for (int i = 0; i < SCGPT_DECODER_LAYERS; i++) {
        const int64_t n_out = i + 1 < SCGPT_DECODER_LAYERS ? d : 1;
        char name[SCGPT_NAME];
        snprintf(name, sizeof name, "decoder.fc.%d.weight", 2 * i);
        add(w, l->decoder_weight[i], n_out, d, d, SCGPT_INIT_LINEAR, name);
        snprintf(name, sizeof name, "decoder.fc.%d.bias", 2 * i);
        add(w, l->decoder_bias[i], n_out, 0, d, SCGPT_INIT_LINEAR, name);
    }
    add(w, l->query_weight, d, d, d, SCGPT_INIT_LINEAR, "mvc_decoder.gene2query.weight");
    add(w, l->query_bias, d, 0, d, SCGPT_INIT_LINEAR, "mvc_decoder.gene2query.bias");
    add(w, l->mvc_weight, d, d, d, SCGPT_INIT_LINEAR, "mvc_decoder.W.weight");
}

/* ---- initial values ---- */

static double bound_of(const scgpt_parameter *p)
{
    switch (p->init) {
    case SCGPT_INIT_EMBEDDING: return 0.1;
    case SCGPT_INIT_LINEAR: return 1 / sqrt((double)p->n_in);
    case SCGPT_INIT_XAVIER: return sqrt(6.0 / (double)(p->rows + p->cols));
    default: return 0;
    }
}

static void initialise(scgpt_weights *w, uint64_t seed)
{
    for (int32_t i = 0; i < w->n_parameters; i++) {
        const scgpt_parameter *p = &w->parameters[i];
        const int64_t n = p->rows * (p->cols ? p->cols : 1);
        const double bound = bound_of(p), one = p->init == SCGPT_INIT_ONE;
        cpt_stream s;
        cpt_stream_init(&s, seed, CPT_RANDOM_SCGPT_INIT, (uint64_t)i);
        for (int64_t j = 0; j < n; j++)
            w->values[p->offset + j] =
                (float)(bound > 0 ? bound * (2 * cpt_stream_uniform(&s) - 1) : one);
    }
}

cpt_status scgpt_weights_new(const scgpt_shape *shape, uint64_t seed, scgpt_weights **out,
                             cpt_err *e)
{
    scgpt_weights *w;
    cpt_status status = cpt_alloc(&w, 1, sizeof *w, e);
    *out = NULL;
    if (status) return status;
    w->shape = *shape;
    scgpt_layout_init(&w->at, shape);
    const size_t n = (size_t)shape->n_layers * LAYER_PARAMETERS + OTHER_PARAMETERS;
    CPT_TRY(cpt_alloc(&w->parameters, n, sizeof *w->parameters, e));
    CPT_TRY(cpt_alloc(&w->values, (size_t)w->at.n, sizeof *w->values, e));
    list_parameters(w);
    initialise(w, seed);
    *out = w;
done:
    if (status) scgpt_weights_free(w);
    return status;
}

void scgpt_weights_free(scgpt_weights *w)
{
    if (!w) return;
    free(w->parameters);
    free(w->values);
    free(w);
}

const scgpt_parameter *scgpt_weights_find(const scgpt_weights *w, const char *name)
{
    for (int32_t i = 0; i < w->n_parameters; i++)
        if (strcmp(w->parameters[i].name, name) == 0) return &w->parameters[i];
    return NULL;
}

/* ---- as a model ---- */

static void point_layer(const scgpt_weights *w, int32_t layer, scgpt_layer *l)
{
    const scgpt_layout *at = &w->at;
    const float *p = w->values + at->layers + layer * at->layer_size;
    *l = (scgpt_layer){.qkv_weight = p + at->qkv_weight,
                       .qkv_bias = p + at->qkv_bias,
                       .out_weight = p + at->out_weight,
                       .out_bias = p + at->out_bias,
                       .up_weight = p + at->up_weight,
                       .up_bias = p + at->up_bias,
                       .down_weight = p + at->down_weight,
                       .down_bias = p + at->down_bias,
                       .norm1 = {p + at->gain1, p + at->shift1},
                       .norm2 = {p + at->gain2, p + at->shift2}};
}

static void point_all(cpt_scgpt *m, const scgpt_weights *w)
{
    const scgpt_layout *at = &w->at;
    const float *p = w->values;
    m->embedding = p + at->embedding;
    m->token_norm = (scgpt_norm){p + at->token_gain, p + at->token_shift};
    m->value_norm = (scgpt_norm){p + at->value_gain, p + at->value_shift};
    m->value_in = p + at->value_in;
    m->value_in_bias = p + at->value_in_bias;
    m->value_out = p + at->value_out;
    m->value_out_bias = p + at->value_out_bias;
    for (int32_t i = 0; i < w->shape.n_layers; i++) point_layer(w, i, &m->layers[i]);
}

cpt_status scgpt_model_of(scgpt_weights *w, const cpt_strings *gene_names, uint64_t seed,
                          cpt_model **out, cpt_err *e)
{
    cpt_scgpt *m = NULL;
    cpt_status status;
    *out = NULL;
    CPT_TRY(cpt_alloc(&m, 1, sizeof *m, e));
    m->base.ops = &scgpt_ops;
    m->base.dim = w->shape.width;
    m->base.n_genes = w->shape.n_tokens - SCGPT_SPECIAL;
    m->shape = w->shape;
    m->cls = m->base.n_genes + 1;
    cpt_scgpt_options_init(&m->options);
    m->options.seed = seed;
    CPT_TRY(cpt_alloc(&m->token_of, (size_t)m->base.n_genes, sizeof *m->token_of, e));
    CPT_TRY(cpt_alloc(&m->layers, (size_t)w->shape.n_layers, sizeof *m->layers, e));
    for (int32_t i = 0; i < m->base.n_genes; i++) {
        const char *name = cpt_strings_get(gene_names, i);
        m->token_of[i] = i;
        CPT_TRY(cpt_strings_add(&m->base.gene_names, name, strlen(name), e));
    }
    point_all(m, w);
    CPT_TRY(scgpt_finish(m, e));
    m->trained = w;
    *out = &m->base;
done:
    if (status && m) cpt_model_free(&m->base);
    return status;
}

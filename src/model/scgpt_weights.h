/* scgpt_weights.h - all parameters of an scGPT that is trained here, in one block.
 *
 * One layout serves the weights, their gradients and Adam's moments: an offset (in floats) per
 * tensor, each a multiple of 16, so that a step of Adam is one pass. Names and shapes are those of
 * the published checkpoints (models.md 1.2). Genes are tokens 0 .. n_genes - 1, then <pad>, <cls>,
 * <eoc>. */
#ifndef CPT_MODEL_SCGPT_WEIGHTS_H
#define CPT_MODEL_SCGPT_WEIGHTS_H

#include "model/scgpt_network.h"

enum { SCGPT_SPECIAL = 3, SCGPT_DECODER_LAYERS = 3 };

typedef struct scgpt_layout {
    int64_t embedding;               /* [n_tokens][width] */
    int64_t token_gain, token_shift; /* [width]: encoder.enc_norm */
    int64_t value_in, value_in_bias, value_out, value_out_bias, value_gain, value_shift;
    int64_t layers, layer_size; /* layer i begins at layers + i * layer_size; in it: */
    int64_t qkv_weight, qkv_bias, out_weight, out_bias, up_weight, up_bias, down_weight, down_bias,
        gain1, shift1, gain2, shift2;
    int64_t decoder_weight[SCGPT_DECODER_LAYERS], decoder_bias[SCGPT_DECODER_LAYERS];
    int64_t query_weight, query_bias, mvc_weight; /* mvc_decoder */
    int64_t n;                                    /* floats altogether, gaps included */
} scgpt_layout;

typedef enum scgpt_init {
    SCGPT_INIT_EMBEDDING, /* U(-0.1, 0.1) */
    SCGPT_INIT_LINEAR,    /* U(+-1 / sqrt(n_in)): torch.nn.Linear, weight and bias */
    SCGPT_INIT_XAVIER,    /* U(+-sqrt(6 / (n_in + n_out))): in_proj of MultiheadAttention */
    SCGPT_INIT_ZERO,
    SCGPT_INIT_ONE
} scgpt_init;

enum { SCGPT_NAME = 96 };
typedef struct scgpt_parameter {
    char name[SCGPT_NAME];      /* "transformer_encoder.layers.0.linear1.weight" */
    int64_t offset, rows, cols; /* cols 0: a vector of `rows` */
    int64_t n_in;               /* of the linear map it belongs to */
    scgpt_init init;
} scgpt_parameter;

typedef struct scgpt_weights {
    scgpt_shape shape;
    scgpt_layout at;
    int32_t n_parameters;
    scgpt_parameter *parameters; /* in the order of the file */
    float *values;               /* [at.n] */
    double dropout, mask_value;  /* of the training, for args.json */
    int32_t max_tokens;
} scgpt_weights;

void scgpt_layout_init(scgpt_layout *at, const scgpt_shape *shape);
/* Weights as PyTorch would start them, from streams of (seed, tensor). */
cpt_status scgpt_weights_new(const scgpt_shape *shape, uint64_t seed, scgpt_weights **out,
                             cpt_err *e);
void scgpt_weights_free(scgpt_weights *w);
const scgpt_parameter *scgpt_weights_find(const scgpt_weights *w, const char *name);

/* A model that computes with these weights, which it takes over: genes are tokens 0 .. n - 1. The
 * names are copied. When weights have changed, scgpt_finish makes what is derived from them anew.
 */
cpt_status scgpt_model_of(scgpt_weights *w, const cpt_strings *gene_names, uint64_t seed,
                          cpt_model **out, cpt_err *e);

/* FOLDER/best_model.pt, args.json and vocab.json, as scGPT reads them (scgpt_save.c). */
cpt_status scgpt_save(const cpt_model *m, const char *folder, cpt_err *e);

#endif

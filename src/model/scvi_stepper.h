/* scvi_stepper.h - what the files of one minibatch of scVI's training share.
 *
 *     scvi_stepper.c    its memory
 *     scvi_minibatch.c  counts of a minibatch, by cell and by gene
 *     scvi_layers.c     the layers between counts and latent values, and between these and the heads; there and back
 *     scvi_heads.c      the heads over genes, the likelihood, and back
 *     scvi_step.c       a step of all these, the losses, Adam */
#ifndef CPT_MODEL_SCVI_STEPPER_H
#define CPT_MODEL_SCVI_STEPPER_H

#include "model/scvi_network.h"

enum { SCVI_CHUNK = 32, SCVI_HEAD_BLOCK = 256 }; /* cells, genes that are one unit for any number of threads */

/* Scratch of a block of genes, of each its own, as threads take blocks as they come. */
typedef struct scvi_head_block {
    void *packed;  /* its weights */
    float *turned; /* [SCVI_HEAD_BLOCK][capacity] gradients of its logits */
    float *share;  /* [capacity][n_hidden] of the gradient of the last decoder layer */
} scvi_head_block;

/* What the backward pass needs of a layer; [capacity][n_out] unless said otherwise. */
typedef struct scvi_layer_pass {
    float *input;      /* [capacity][n_in]; NULL for the first encoder layer */
    float *normalised; /* (x - mean) / sd */
    float *output;     /* after ReLU and dropout */
    float *gradient;   /* d / d output, then d / d (x weight + bias) */
    double *inverse_sd; /* [n_out] */
} scvi_layer_pass;

struct scvi_stepper {
    cpt_scvi *model;
    cpt_scvi_options options;
    scvi_minibatch batch;
    int32_t *length;         /* [capacity] genes of each cell */
    double *log_factorial;   /* [n_known] of cells of the data, NaN = not yet computed */
    int64_t n_known;
    scvi_layer_pass *encoder, *decoder; /* [n_layers] */
    float *mean, *log_var, *variance, *latent;   /* [capacity][n_latent] */
    float *d_mean, *d_log_var;                   /* [capacity][n_latent] */
    float *d_input;          /* [capacity][widest decoder input] */
    float *logits, *dropout; /* [capacity][n_genes]; dropout NULL for NB */
    scvi_head_block *blocks_of_genes; /* [ceil(n_genes / SCVI_HEAD_BLOCK)] */
    void *packed_hidden;     /* the last decoder layer's output as right-hand side */
    cpt_gene_tables tables;
    float *sums;             /* [n_chunks][SCVI_SUMS][n_genes] */
    double *nonzero;         /* [n_chunks][2 * n_genes] */
    float *single;           /* [n_chunks][7 * n_genes] */
    double *reconstruction;  /* [capacity] per cell */
    double *column;          /* [4][n_hidden] scratch */
    float *gradients, *first_moment, *second_moment; /* [n_parameters] */
    int64_t n_steps;
    void **blocks;           /* everything above that was allocated */
    size_t n_blocks, blocks_capacity;
};
enum { SCVI_SUM_THETA, SCVI_SUM_LOGITS, SCVI_SUM_DROPOUT, SCVI_SUM_SCRATCH, SCVI_SUMS };

static inline size_t scvi_at(int32_t row, int32_t width)
{
    return (size_t)row * (size_t)width;
}

static inline float *scvi_gradient_of(const scvi_stepper *s, const float *parameter)
{
    return s->gradients + (parameter - s->model->parameters);
}

/* The same entries by gene, cells ascending. */
void scvi_sort_by_gene(scvi_stepper *s);

/* The sums of the first encoder layer; the rest of the encoder, the draw of latent values, the decoder's layers. */
void scvi_sum_first_layer(scvi_stepper *s, bool training, int n_threads);
void scvi_layers_forward(scvi_stepper *s, const scvi_noise *noise, bool training, int n_threads);
/* The way back: from the gradient of the last decoder layer to those of all parameters but the heads'. */
void scvi_layers_backward(scvi_stepper *s, const scvi_noise *noise, double kl_weight, int n_threads);

/* Logits, likelihood, and the gradient by the logits in their place; then the gradients of the heads' parameters and of
 * the last decoder layer. */
void scvi_heads_forward(scvi_stepper *s, int n_threads);
void scvi_heads_backward(scvi_stepper *s, int n_threads);

#endif

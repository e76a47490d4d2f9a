/* scvi_stepper.h - what the files of one minibatch of scVI's training share.
 *
 *     scvi_stepper.c    its memory
 *     scvi_minibatch.c  counts of a minibatch
 *     scvi_layers.c     the layers between counts and latent values, and between these and the heads; there and back
 *     scvi_heads.c      the heads over genes, the likelihood, and back
 *     scvi_step.c       a step of all these, the losses, Adam */
#ifndef CPT_MODEL_SCVI_STEPPER_H
#define CPT_MODEL_SCVI_STEPPER_H

#include "math/gemm.h"
#include "model/scvi_network.h"

/* Genes that are one unit, whatever the number of threads: of sums over genes, of the first layer's gradient, and of the
 * products with the heads; each a multiple of the one before. */
enum { SCVI_UNIT = CPT_LIKELIHOOD_GENES, SCVI_INPUT_BLOCK = 64, SCVI_HEAD_BLOCK = 256 };

typedef struct scvi_minibatch { /* sparse rows */
    int32_t n, capacity;
    int64_t *start;      /* [n] */
    int32_t *length;     /* [n] genes of each cell */
    int32_t *units;      /* [n][n_units + 1]: where in a cell's genes each unit begins */
    int32_t *genes;      /* [nnz], ascending in a cell */
    float *counts, *inputs;
    double *library, *log_factorial; /* [n] */
    int32_t *codes;      /* [n] batch codes */
    size_t room;         /* of the nnz arrays */
} scvi_minibatch;

/* Scratch of a thread. */
typedef struct scvi_worker {
    float *gradient;          /* [SCVI_HEAD_BLOCK][n_hidden] of a block's weights */
    float *turned;            /* [capacity][SCVI_HEAD_BLOCK] slopes of its logits, a row per cell */
    void *packed;             /* its weights, n_hidden outputs */
    int32_t *genes, *cells, *at, *many; /* [SCVI_UNIT * capacity + 1] a unit's counts, as cpt_counted */
    float *counts, *single;
    double *terms;
    float *sums;              /* [2][stride] */
} scvi_worker;

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
    double *log_factorial;   /* [n_known] of cells of the data, NaN = not yet computed */
    int64_t n_known;
    scvi_layer_pass *encoder, *decoder; /* [n_layers] */
    float *mean, *log_var, *variance, *latent;   /* [capacity][n_latent] */
    float *d_mean, *d_log_var;                   /* [capacity][n_latent] */
    float *d_input;          /* [capacity][widest decoder input] */
    int32_t stride;          /* capacity, rounded up to whole vectors */
    int32_t n_units;         /* ceil(n_genes / SCVI_UNIT) */
    float *values, *q, *dropout; /* [n_genes][stride] logits and what becomes of them; dropout NULL for NB */
    float *largest, *factor; /* [n_units][stride] */
    double *block_loss, *block_q; /* [n_head_blocks][stride] sums of a cell */
    float *d_theta;          /* [n_genes] */
    float *pull;             /* [stride] sum of q over all genes / library */
    float *shares;           /* [n_head_blocks][capacity][n_hidden] of the gradient of the last decoder layer */
    void *packed_values, *packed_hidden; /* the last decoder layer as right-hand side: cells, hidden units as outputs */
    cpt_packed by_cell, by_unit;
    cpt_gene_tables tables;
    double *reconstruction;  /* [capacity] per cell */
    double *column;          /* [2][n_hidden] scratch */
    float *gradients, *first_moment, *second_moment; /* [n_parameters] */
    const cpt_adam_step *learning; /* of the step in progress; NULL: gradients are kept for later */
    int64_t n_steps;
    scvi_worker *workers;    /* [n_workers] */
    size_t n_workers, workers_capacity;
    void **blocks;           /* everything above that was allocated */
    size_t n_blocks, blocks_capacity;
};

static inline size_t scvi_at(int32_t row, int32_t width)
{
    return (size_t)row * (size_t)width;
}

static inline float *scvi_gradient_of(const scvi_stepper *s, const float *parameter)
{
    return s->gradients + (parameter - s->model->parameters);
}

static inline int32_t scvi_shorter(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

/* Where a block's gradient of `parameter` is to be written: for good, or into the worker's scratch when it is used at
 * once. */
static inline float *scvi_gradient_place(const scvi_stepper *s, const scvi_worker *w, const float *parameter)
{
    return s->learning ? w->gradient : scvi_gradient_of(s, parameter);
}

/* Adam for n parameters that nothing in this step reads any more; nothing unless the step in progress learns. */
void scvi_learn(scvi_stepper *s, float *parameter, const float *gradient, size_t n);

/* Scratch for that many threads. */
cpt_status scvi_stepper_hire(scvi_stepper *s, int n_threads, cpt_err *e);

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

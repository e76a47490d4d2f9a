/* scvi_network.h - the inside of an scVI model: shared by its files, and by their tests.
 *
 * All trained numbers are one block (`parameters`), so that Adam and its moments are flat arrays;
 * the pointers of the layers go into it. Weights of the fully connected layers and of the two
 * encoder heads are stored [n_in][n_out], the transpose of PyTorch's, so that the weights of one
 * input gene are contiguous; those of the heads over genes are [n_genes][n_hidden] as in PyTorch.
 */
#ifndef CPT_MODEL_SCVI_NETWORK_H
#define CPT_MODEL_SCVI_NETWORK_H

#include "math/likelihood.h"
#include "math/network.h"
#include "model/scvi.h"

#define SCVI_BATCH_EPS 1e-3       /* torch.nn.BatchNorm1d as scvi-tools sets it */
#define SCVI_BATCH_MOMENTUM 0.01
#define SCVI_VARIANCE_EPS 1e-4    /* q_v = exp(.) + this */

enum { SCVI_MAX_LAYERS = 64 };

typedef struct scvi_layer {
    int32_t n_in, n_out; /* n_in with the one-hot columns at its end */
    float *weight;       /* [n_in][n_out] */
    float *bias;         /* [n_out], as the following */
    float *bn_weight, *bn_bias; /* NULL = no batch normalisation */
    float *running_mean, *running_var;
    int64_t n_tracked;
    float *scale, *shift; /* derived: eval-mode layer = relu(scale * (x weight) + shift) */
} scvi_layer;

typedef struct scvi_shape {
    int32_t n_genes, n_hidden, n_latent, n_layers;
    int32_t n_covariates; /* decoder's extra input columns; the batch one-hot when training */
    bool deep;            /* ... of every decoder layer, not only the first */
    bool encoder_norm, decoder_norm;
    bool zero_inflated, has_px_r;
    bool log_input; /* the encoder reads log(1 + x) */
} scvi_shape;

typedef struct cpt_scvi {
    cpt_model base;
    scvi_shape shape;
    int32_t n_batches;       /* one-hot columns that are batches; 0 = the model has one batch */
    const char *no_decode;   /* why decode is refused; NULL = it works */
    cpt_strings batch_names; /* [max(n_batches, 1)]; empty when not known */
    cpt_text batch_key;      /* obs column; empty when not known */
    double dropout;          /* that it was trained with */
    scvi_layer *encoder, *decoder; /* [n_layers] */
    float *mean_weight, *mean_bias, *var_weight, *var_bias; /* [n_hidden][n_latent], [n_latent] */
    float *scale_weight, *scale_bias;     /* [n_genes][n_hidden], [n_genes] */
    float *dropout_weight, *dropout_bias; /* the same; NULL for NB */
    float *px_r;                          /* [n_genes] log theta; NULL when not by gene alone */
    float *parameters;
    int64_t n_parameters;
    float *statistics; /* running statistics and derived arrays */
    int32_t padded;    /* n_latent rounded up to a whole vector */
    float *mean_head, *mean_head_bias; /* derived: [n_hidden][padded], [padded], zeros behind */
} cpt_scvi;

static inline const cpt_scvi *scvi_of(const cpt_model *m)
{
    return (const cpt_scvi *)(const void *)m;
}

extern const cpt_model_ops scvi_ops;

/* A model of zeros (running variances 1). Freed by cpt_model_free. */
cpt_status scvi_new(const scvi_shape *shape, cpt_scvi **out, cpt_err *e);
void scvi_initialise(cpt_scvi *m, uint64_t seed); /* as PyTorch does: models.md 6.2 */
/* Fills the derived arrays and the description; after every change of the parameters. */
cpt_status scvi_finish(cpt_scvi *m, cpt_err *e);
cpt_status scvi_describe(cpt_scvi *m, cpt_err *e);
void scvi_derive(cpt_scvi *m); /* the derived arrays alone */

/* ---- forward in eval mode (scvi_forward.c) ---- */

/* Buffers of one thread for blocks of up to SCVI_BLOCK cells. */
enum { SCVI_BLOCK = 64 };
typedef struct scvi_scratch {
    int32_t *genes;  /* [n_genes] */
    float *values;   /* [n_genes] */
    float *hidden[2]; /* [SCVI_BLOCK][n_hidden] */
    float *head;      /* [SCVI_BLOCK][padded] */
    float *zeros;     /* [n_hidden] */
    void *block;
} scvi_scratch;
cpt_status scvi_scratch_init(scvi_scratch *s, const cpt_scvi *m, cpt_err *e);
void scvi_scratch_free(scvi_scratch *s);

/* out [n_hidden] = the first layer's weights times the input: what the cell's genes add up to. */
void scvi_first_layer(const cpt_scvi *m, int32_t n, const int32_t *genes, const float *inputs,
                      float *out);
/* The rest of the encoder: hidden[0] = first layer after ReLU, n <= SCVI_BLOCK rows, -> out
 * [n][dim]. Leaves the last hidden layer in hidden[*last]. */
void scvi_encode_rest(const cpt_scvi *m, int32_t n, scvi_scratch *s, float *out, int *last);
/* One row: counts -> what the first layer eats, in place. */
void scvi_inputs(const cpt_scvi *m, int32_t n, float *values);
/* z [n][n_latent], codes [n] (NULL = 0) -> last decoder layer [n][n_hidden]. */
cpt_status scvi_decode_hidden(const cpt_scvi *m, int32_t n, const float *z, const int32_t *codes,
                              float *out, cpt_err *e);

cpt_status scvi_embed(const cpt_model *m, const cpt_counts *counts, int64_t first, int64_t n,
                      float *out, const cpt_context *ctx, cpt_err *e);
cpt_status scvi_profile(const cpt_model *m, const cpt_counts *counts, int64_t row, cpt_profile *out,
                        cpt_err *e);
cpt_status scvi_decode(const cpt_model *m, int64_t n, const float *z, int32_t batch, float *out,
                       const cpt_context *ctx, cpt_err *e);

/* ---- sessions (scvi_session.c) ---- */
cpt_status scvi_session_open(const cpt_model *m, const cpt_profile *base, cpt_session **out,
                             cpt_err *e);
const float *scvi_session_embedding(const cpt_session *s);
cpt_status scvi_session_singles(cpt_session *s, int32_t n, const cpt_change *changes, float *out,
                                cpt_err *e);
cpt_status scvi_session_joint(cpt_session *s, int32_t n, const cpt_change *changes, float *out,
                              cpt_err *e);
cpt_status scvi_session_gradient(cpt_session *s, int32_t n_w, const float *w, float *out,
                                 cpt_err *e);
void scvi_session_free(cpt_session *s);

/* ---- one minibatch in training mode (scvi_stepper.h) ---- */

typedef struct scvi_noise { /* what is random in a step */
    const float *latent;  /* [n][n_latent], N(0, 1) */
    const float *dropout; /* [n_layers][n][n_hidden], 0 or 1 / keep; NULL = no dropout */
} scvi_noise;

/* Draws them for item (a step, or a validation block), by the options' seed; dropout NULL = not. */
void scvi_noise_draw(const cpt_scvi_options *o, int32_t n, uint64_t item, float *latent, float *dropout, int n_threads);

typedef struct scvi_losses {
    double reconstruction, kl; /* sums over the minibatch, kl unweighted */
} scvi_losses;

typedef struct scvi_stepper scvi_stepper;
cpt_status scvi_stepper_new(cpt_scvi *m, const cpt_scvi_options *options, scvi_stepper **out,
                            cpt_err *e);
void scvi_stepper_free(scvi_stepper *s);
/* Loads rows of the counts; n <= options->batch_size. The steps that follow use at most ctx's threads. */
cpt_status scvi_stepper_load(scvi_stepper *s, const cpt_counts *counts, int32_t n,
                             const int64_t *rows, const cpt_context *ctx, cpt_err *e);
/* Forward in training mode and all gradients of mean(reconstruction + kl_weight * kl). */
void scvi_stepper_gradient(scvi_stepper *s, const scvi_noise *noise, double kl_weight,
                           scvi_losses *losses, int n_threads);
/* Adam with the gradient just computed. */
void scvi_stepper_update(scvi_stepper *s, int n_threads);
/* Both at once, to the same bytes: each weight is changed while its gradient is in the cache, and the gradients of the
 * large matrices are not kept. */
void scvi_stepper_step(scvi_stepper *s, const scvi_noise *noise, double kl_weight, scvi_losses *losses, int n_threads);
/* Forward alone in eval mode with the given latent noise. */
void scvi_stepper_evaluate(scvi_stepper *s, const scvi_noise *noise, scvi_losses *losses,
                           double *reconstruction, double *kl, int n_threads);
/* For tests: the gradient laid out as m->parameters, and the latent values of the last forward. */
const float *scvi_stepper_gradients(const scvi_stepper *s);
const float *scvi_stepper_latent(const scvi_stepper *s, const float **mean, const float **variance);

/* ---- files (scvi_load.c, scvi_save.c; see scvi_files.h) ---- */

#endif

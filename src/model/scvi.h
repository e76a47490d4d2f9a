/* scvi.h - scVI (Lopez et al. 2018) beyond the common interface of model.h: training, and files.
 *
 * The model is that of scvi-tools with its defaults; what is computed, and from which line of
 * which version, stands in doc/methods.md. A model trained here opens in scvi-tools
 * (cpt_scvi_save) and the other way round (cpt_model_open). */
#ifndef CPT_MODEL_SCVI_H
#define CPT_MODEL_SCVI_H

#include "model/model.h"

typedef enum cpt_scvi_likelihood { CPT_SCVI_ZINB, CPT_SCVI_NB } cpt_scvi_likelihood;

typedef struct cpt_scvi_options {
    int32_t n_hidden;  /* 128 */
    int32_t n_latent;  /* 10 */
    int32_t n_layers;  /* 1 */
    double dropout;    /* 0.1, encoder only */
    cpt_scvi_likelihood likelihood; /* ZINB, as scvi-tools */
    int32_t n_epochs;  /* 0 = cpt_scvi_default_epochs */
    /* Epochs over which the weight of the KL term rises from 0 to 1. 400, as scvi-tools: note that
     * above 20,000 cells the default number of epochs is smaller and the weight then never gets to
     * 1 (100,000 cells: 80 epochs, weight 0.2). 0 = as many as the run has; -1 = no warm-up. */
    int32_t kl_warmup;
    int32_t batch_size; /* 128 */
    double learning_rate, weight_decay, adam_eps; /* 1e-3, 1e-6, 0.01 */
    bool early_stopping; /* false; monitors elbo_validation; the last weights stay, not the best */
    int32_t patience;    /* 45 */
    bool validate;       /* false; early_stopping implies it */
    double train_size;   /* 0.9 */
    uint64_t seed;
    /* Batches that the decoder corrects for. n_batches <= 1: none, the rest is not looked at. */
    int32_t n_batches;
    const int32_t *batch_codes;     /* [n_cells] in [0, n_batches) */
    const cpt_strings *batch_names; /* [n_batches], or NULL = "0", "1", ... */
    const char *batch_key;          /* the obs column they come from; NULL = "batch" */
} cpt_scvi_options;
void cpt_scvi_options_init(cpt_scvi_options *o);

/* max(1, min(400, round(20000 / n_cells * 400))), halves to even. */
int32_t cpt_scvi_default_epochs(int64_t n_cells);
/* Sizes of the two parts. A last minibatch of one or two cells would spoil the batch statistics:
 * those cells move to validation (as scvi-tools does for the default train_size). */
void cpt_scvi_split_sizes(int64_t n_cells, double train_size, int32_t batch_size, int64_t *n_train,
                          int64_t *n_validation);

/* Means over cells, in nats. elbo = reconstruction + kl (unweighted), the negative of the ELBO as
 * scvi-tools prints it. The validation values are NaN when not computed. */
typedef struct cpt_scvi_epoch {
    int32_t epoch;    /* from 0 */
    double kl_weight;
    double loss;      /* reconstruction + kl_weight * kl */
    double elbo_train, reconstruction_train, kl_train;
    double elbo_validation, reconstruction_validation, kl_validation;
} cpt_scvi_epoch;

typedef struct cpt_scvi_history {
    int32_t n;
    cpt_scvi_epoch *epochs; /* [n] */
    size_t capacity;
    int64_t n_train, n_validation, n_empty; /* cells; empty ones (no counts) take no part */
    bool stopped_early;
} cpt_scvi_history;
void cpt_scvi_history_free(cpt_scvi_history *h);

/* Trains on all rows of `counts`, whose genes are named by gene_names [counts->n_genes]. The same
 * seed gives the same bytes for any number of threads. *history may be NULL; it is zeroed first
 * and is to be freed by the caller also after a failure or an interruption. */
cpt_status cpt_scvi_train(const cpt_counts *counts, const cpt_strings *gene_names,
                          const cpt_scvi_options *options, cpt_model **out,
                          cpt_scvi_history *history, const cpt_context *ctx, cpt_err *e);

/* Minus log likelihood and KL (unweighted) of each row given its encoder mean, in eval mode; any of
 * the outputs [n] may be NULL. batch_codes NULL = batch 0. For model checks and reports. */
cpt_status cpt_scvi_evaluate(const cpt_model *m, const cpt_counts *counts, int64_t first, int64_t n,
                             const int32_t *batch_codes, double *reconstruction, double *kl,
                             const cpt_context *ctx, cpt_err *e);

/* Our own exact and fast file. */
cpt_status cpt_scvi_save_tensors(const cpt_model *m, const char *path, cpt_err *e);
/* FOLDER/model.pt in the layout of scvi-tools, for SCVI.load(FOLDER, adata). The same as ops->save.
 */
cpt_status cpt_scvi_save(const cpt_model *m, const char *folder, cpt_err *e);

bool cpt_model_is_scvi(const cpt_model *m);

#endif

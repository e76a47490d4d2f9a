/* scgpt_train.h - trains a small scGPT on the cells at hand.
 *
 * The network, its file and the two tasks are scGPT's (Cui et al. 2024): bins of masked genes are
 * predicted from the genes' own outputs (GEP) and from the output at <cls> (GEPC, in the code
 * "MVC"). What differs is said at the options; doc/methods.md has the whole. */
#ifndef CPT_MODEL_SCGPT_TRAIN_H
#define CPT_MODEL_SCGPT_TRAIN_H

#include "model/model.h"

typedef enum cpt_scgpt_targets {
    CPT_SCGPT_TARGETS_MASKED, /* MVC predicts the masked genes, as scGPT */
    CPT_SCGPT_TARGETS_ALL     /* all genes of the model, those that a cell lacks as bin 0 */
} cpt_scgpt_targets;

typedef struct cpt_scgpt_train_options {
    int32_t width;      /* 128: embsize */
    int32_t hidden;     /* 0 = width, as in released models: d_hid */
    int32_t n_layers;   /* 4 */
    int32_t n_heads;    /* 4 */
    int32_t max_tokens; /* 129, <cls> included; longer cells give a new random part every epoch */
    int32_t n_epochs;   /* 8; 0 = the untrained network, as a control */
    int32_t batch_size; /* 8 cells: many small steps learn more than few large ones */
    double mask_ratio;  /* 0.4 of a cell's tokens, at least one */
    double mask_value;  /* -1 */
    double learning_rate, adam_eps; /* 1e-3, 1e-8 */
    double warmup;  /* 0.05: share of the steps in which the rate rises; then it falls to 0 along
                       half a cosine */
    double clip;    /* 1: largest norm of all gradients together; 0 = no clipping */
    double dropout; /* 0; scGPT: 0.2. Not on the attention weights */
    double gep_weight, mvc_weight; /* 1, 1 */
    cpt_scgpt_targets mvc_targets; /* ALL */
    double validation;             /* 0.05: share of the cells left out, at most 500 */
    uint64_t seed;
} cpt_scgpt_train_options;
void cpt_scgpt_train_options_init(cpt_scgpt_train_options *o);

/* Mean squared errors in bins. */
typedef struct cpt_scgpt_epoch {
    int32_t epoch;                         /* from 0 */
    double rate;                           /* of learning, at its end */
    double gep, mvc, gradient_norm;        /* training; the norm is a mean, before clipping */
    double gep_validation, mvc_validation; /* NaN without validation cells */
    double seconds;
} cpt_scgpt_epoch;

typedef struct cpt_scgpt_history {
    int32_t n;
    cpt_scgpt_epoch *epochs; /* [n] */
    size_t capacity;
    int64_t n_train, n_validation, n_empty; /* cells; empty ones have none of the genes */
    double tokens_per_cell;
} cpt_scgpt_history;
void cpt_scgpt_history_free(cpt_scgpt_history *h);

/* Trains on all rows of `counts`, whose genes are named by gene_names [counts->n_genes] (no two
 * alike, none like "<...>"). The same seed gives the same bytes for any number of threads. *history
 * may be NULL; it is zeroed first and is to be freed by the caller also after a failure. The model
 * is written by its ops->save: best_model.pt, args.json, vocab.json. */
cpt_status cpt_scgpt_train(const cpt_counts *counts, const cpt_strings *gene_names,
                           const cpt_scgpt_train_options *options, cpt_model **out,
                           cpt_scgpt_history *history, const cpt_context *ctx, cpt_err *e);

#endif

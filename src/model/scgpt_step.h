/* scgpt_step.h - one minibatch of scGPT's training: losses, gradients of all parameters, Adam.
 *
 * scgpt_block.c takes some cells through the transformer and back, scgpt_heads.c holds what lies
 * before and after it, scgpt_step.c spreads a minibatch over threads and updates. */
#ifndef CPT_MODEL_SCGPT_STEP_H
#define CPT_MODEL_SCGPT_STEP_H

#include "math/training.h"
#include "model/scgpt_train.h"
#include "model/scgpt_weights.h"

enum {
    SCGPT_LANES = 8,              /* parts of a minibatch, at most, that are summed on their own */
    SCGPT_BLOCK_CELLS = 64,       /* at most */
    SCGPT_BLOCK_ROWS = 512,       /* tokens that go through the network together, or one cell */
    SCGPT_CLS_VALUE = SCGPT_BINS, /* rows of the value table beyond the bins: <cls> */
    SCGPT_MASK_VALUE = SCGPT_BINS + 1,
    SCGPT_TABLE = SCGPT_BINS + 2
};

/* Kinds of streams of CPT_RANDOM_SCGPT_TRAIN: the two highest bits of their item. */
enum { SCGPT_STREAM_SHUFFLE, SCGPT_STREAM_MASK, SCGPT_STREAM_DROPOUT };

/* A minibatch. Position 0 of a cell is <cls>: its bin means nothing and it is never masked. */
typedef struct scgpt_batch {
    int32_t n_cells, max_tokens, n_genes;
    int32_t *length;  /* [n_cells] tokens, at least 2 */
    int32_t *ids;     /* [n_cells][max_tokens] */
    uint8_t *bins;    /* [n_cells][max_tokens] */
    uint8_t *masked;  /* [n_cells][max_tokens] 0 or 1 */
    uint8_t *targets; /* [n_cells][n_genes]: bins of all genes, 0 = not there */
    void *block;
} scgpt_batch;
cpt_status scgpt_batch_init(scgpt_batch *b, int32_t n_cells, int32_t max_tokens, int32_t n_genes,
                            cpt_err *e);
void scgpt_batch_free(scgpt_batch *b);

/* Sums of squared errors over what was predicted. */
typedef struct scgpt_losses {
    double gep, mvc;
    int64_t n_gep, n_mvc;
} scgpt_losses;

/* ---- before and after the transformer (scgpt_heads.c) ---- */

/* What all cells of a step share; made of the weights once per step. */
typedef struct scgpt_tables {
    float *token;                            /* [n_tokens][width]: normalised embeddings */
    float *value_hidden, *value_sum, *value; /* [SCGPT_TABLE][width]: after ReLU, before and after
                                                the norm */
    float *gate;                             /* [n_genes][width]: sigmoid(gene2query token) */
    float *query;                            /* [n_genes][width]: W gate */
    float *scratch;                          /* [n_genes][width] */
    void *block;
} scgpt_tables;
cpt_status scgpt_tables_init(scgpt_tables *t, const scgpt_weights *w, cpt_err *e);
void scgpt_tables_free(scgpt_tables *t);
void scgpt_tables_make(scgpt_tables *t, const scgpt_weights *w, double mask_value, int n_threads);
/* Gradients of the tables' rows -> those of the parameters they are made of. g [layout.n] has the
 * token rows' gradient where the embedding's goes. query_grad [n_genes][width], value_grad
 * [SCGPT_TABLE][width] and t->value are overwritten. */
void scgpt_tables_back(const scgpt_tables *t, const scgpt_weights *w, double mask_value, float *g,
                       float *query_grad, float *value_grad, int n_threads);

/* ---- some cells through the network (scgpt_block.c) ---- */

/* Activations of one layer; M rows are the ones that are wanted from it. */
typedef struct scgpt_tape {
    float *x;          /* [R][width] input */
    float *chosen;     /* [M][width] rows of x that ask (x itself but in the last layer) */
    float *kv;         /* [R][2 width] */
    float *q;          /* [M][width] */
    float *context;    /* [M][width] */
    float *sum1, *mid; /* [M][width] before and after norm1 */
    float *hidden;     /* [M][hidden] after ReLU and dropout */
    float *sum2;       /* [M][width] */
} scgpt_tape;

typedef struct scgpt_block {
    const scgpt_weights *weights;
    const scgpt_tables *tables;
    float *grad;       /* [layout.n] added to; token rows' gradients at the embedding's place */
    float *query_grad; /* [n_genes][width] */
    float *value_grad; /* [SCGPT_TABLE][width] */
    int32_t capacity;  /* rows */
    int32_t n_cells;
    int32_t cell_start[SCGPT_BLOCK_CELLS + 1]; /* rows of the cells */
    int32_t want_start[SCGPT_BLOCK_CELLS + 1]; /* among the wanted rows; the first is <cls> */
    int32_t *ids, *value;                      /* [R] token, row of the value table */
    int32_t *want;                             /* [M] row numbers */
    float *target;                             /* [M] bins; of <cls> it means nothing */
    const uint8_t *cell_targets[SCGPT_BLOCK_CELLS];
    bool drops;
    cpt_dropout *keys;  /* [n_cells][1 + 3 n_layers]: value encoder; per layer attention, hidden,
                           feed-forward */
    scgpt_tape *tape;   /* [n_layers] */
    float *out;         /* [M][width] of the last layer */
    float *d_out, *d_x; /* [R][width] */
    float *d_kv, *d_q, *d_context, *d_hidden, *dropped; /* as their namesakes; dropped [R][width] */
    float *first, *second, *d_first, *d_second, *predicted; /* decoder: [M][width], [M] */
    float *cells, *d_cells, *mvc; /* [n_cells][width] twice, [n_cells][n_genes] */
    float *weights_of, *slopes;   /* [SCGPT_QUERIES][stride] */
    float *zero;                  /* [width] */
    void *block;
} scgpt_block;
cpt_status scgpt_block_init(scgpt_block *b, const scgpt_weights *w, const scgpt_tables *t,
                            int32_t max_tokens, bool dropout, cpt_err *e);
void scgpt_block_free(scgpt_block *b);
void scgpt_block_clear(scgpt_block *b);
/* Adds cell i of the batch with its keys (NULL = no dropout); false when there is no room. */
bool scgpt_block_add(scgpt_block *b, const scgpt_batch *batch, int32_t i, const cpt_dropout *keys);
void scgpt_block_forward(scgpt_block *b);
void scgpt_block_back(scgpt_block *b); /* from d_out [M][width] */

/* Both heads over the block's output: losses are added to; when rates are not NULL, d_out is set to
 * the gradient of rates[0] * gep + rates[1] * mvc. (scgpt_heads.c) */
void scgpt_heads(scgpt_block *b, cpt_scgpt_targets targets, const double *rates,
                 scgpt_losses *losses);

/* ---- a step (scgpt_step.c) ---- */

typedef struct scgpt_stepper scgpt_stepper;
/* The weights are changed in place and must outlive the stepper. */
cpt_status scgpt_stepper_new(scgpt_weights *w, const cpt_scgpt_train_options *o, int n_threads,
                             scgpt_stepper **out, cpt_err *e);
void scgpt_stepper_free(scgpt_stepper *s);
/* Losses of the minibatch, and the gradients of gep_weight * mean gep + mvc_weight * mean mvc.
 * `step` keys the dropout. The same bytes for any number of threads. */
void scgpt_stepper_gradient(scgpt_stepper *s, const scgpt_batch *batch, uint64_t step,
                            scgpt_losses *losses);
/* Losses alone, without dropout. */
void scgpt_stepper_evaluate(scgpt_stepper *s, const scgpt_batch *batch, scgpt_losses *losses);
float *scgpt_stepper_gradients(const scgpt_stepper *s); /* [layout.n] */
/* Clips the gradients and makes a step of Adam; returns their norm before. */
double scgpt_stepper_update(scgpt_stepper *s, double rate);

#endif

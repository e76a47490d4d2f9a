/* dictionary.h - the interface that every concept extractor implements.
 *
 * A dictionary encodes an embedding a in R^dim as activations u in R^n_concepts, u >= 0 and mostly
 * 0, and decodes them again: a_hat = sum_c u_c D_c + b. Nothing above knows which extractor it is.
 *
 * To add one: a file NAME.c with a static const cpt_dictionary_ops, its trainer in the table of
 * train.c and its loader in the table of open.c; nothing else.
 */
#ifndef CPT_DICTIONARY_DICTIONARY_H
#define CPT_DICTIONARY_DICTIONARY_H

#include "base/log.h"
#include "base/text.h"

typedef struct cpt_dictionary cpt_dictionary;

typedef struct cpt_dictionary_ops {
    const char *kind; /* "topk", "neurons", "pca", ... */

    /* n embeddings a [n][dim] -> the active concepts of each, concept ascending, value > 0:
     * row i has counts[i] <= max_active entries at concepts/values [i * max_active ...].
     * Single-threaded; blocks of rows may be encoded by different threads at once. */
    cpt_status (*encode)(const cpt_dictionary *d, int64_t n, const float *a, int32_t *counts,
                         int32_t *concepts, float *values, cpt_err *e);

    /* The inverse direction; out [n][dim]. */
    void (*decode)(const cpt_dictionary *d, int64_t n, const int32_t *counts,
                   const int32_t *concepts, const float *values, float *out);

    /* One concept on n embeddings: `activation` [n] = u_c after sparsification (0 when it lost its
     * place), `pre` [n] = the smooth pre-activation h_c. Either may be NULL. Single-threaded. */
    cpt_status (*readout)(const cpt_dictionary *d, int32_t concept, int64_t n, const float *a,
                          float *activation, float *pre, cpt_err *e);

    /* d h_c / d a at one embedding, into out [dim]. */
    void (*gradient)(const cpt_dictionary *d, int32_t concept, const float *a, float *out);

    cpt_status (*save)(const cpt_dictionary *d, const char *folder, cpt_err *e);
    void (*free)(cpt_dictionary *d);

    /* Optional, both or neither: the pre-activations of all concepts at one embedding, into h
     * [n_concepts]; and the activation of one of them, all of h given. They foretell what becomes
     * of a concept when pre-activations move a little. */
    cpt_status (*pre_activations)(const cpt_dictionary *d, const float *a, float *h, cpt_err *e);
    float (*activation)(const cpt_dictionary *d, int32_t concept, const float *h);
} cpt_dictionary_ops;

/* First member of every extractor's own struct. */
struct cpt_dictionary {
    const cpt_dictionary_ops *ops;
    int32_t n_concepts, dim, max_active;
    int32_t k;            /* active concepts per cell that it was made for: at most so many, or so many on
                           * average where a threshold decides (max_active = n_concepts); 0 = not known */
    const float *decoder; /* [n_concepts][dim], unit rows where the kind has them */
    const float *bias;    /* [dim] b, added in decode; NULL = 0 */
};
void cpt_dictionary_free(cpt_dictionary *d); /* accepts NULL */

/* The kinds that can be trained, i = 0, 1, ...: "topk", "batchtopk", ...; NULL behind the last. */
const char *cpt_dictionary_kind(int i);
bool cpt_dictionary_is_kind(const char *name);
/* "topk, batchtopk, ..., random" for messages. */
void cpt_dictionary_kinds_text(char *out, size_t capacity);

typedef struct cpt_dictionary_options {
    const char *kind;      /* "topk"; see cpt_dictionary_kind */
    const char *preset;    /* NULL = our recipe (method.md 2.1) | "overcomplete" | "openai" | "sae-lens" */
    int32_t expansion;     /* concepts per dimension; 0 = 4 up to 64 dimensions, 8 from 256, else 16 */
    int32_t n_concepts;    /* overrides expansion when > 0 */
    const char *groups;    /* matryoshka: shares of the concepts in each group; NULL = "1/8,1/8,1/4,1/2" */
    int32_t k;             /* 0 = min(32 for dim >= 256, 8 for dim <= 64; between: 16), at most dim / 2 */
    int32_t epochs;        /* 0 = 20, or as many as make 5,000 steps */
    int32_t batch;         /* 0 = 4,096, or N / 8 when smaller (at least 32) */
    double learning_rate;  /* 0 = 2e-4 / sqrt(F / 2^14) */
    bool ema;              /* average the weights, 0.999 */
} cpt_dictionary_options;
void cpt_dictionary_options_init(cpt_dictionary_options *o);

/* What training printed and `evaluate` repeats: method.md 2.3. */
typedef struct cpt_reconstruction {
    int64_t n;            /* cells */
    double r2_feature;    /* 1 - SSE / sum of squares around each feature's mean: the headline */
    double r2_scalar;     /* the same around ONE scalar mean over all entries */
    double fvu;           /* 1 - r2_feature */
    double cosine;        /* mean over cells of cos(a, a_hat) */
    double l0;            /* mean number of active concepts */
    double dead_fraction; /* concepts active in no cell of this set */
} cpt_reconstruction;

typedef struct cpt_dictionary_report {
    cpt_reconstruction train, validation;
    double mean_baseline_feature, mean_baseline_scalar; /* R2 on validation of predicting train's mean */
    double gamma;         /* ||mean|| / ||std|| of the embedding */
    int64_t n_steps, n_resampled;
    double final_loss;
    cpt_text log;         /* TSV: step, loss, fvu, aux, dead */
} cpt_dictionary_report;
void cpt_dictionary_report_free(cpt_dictionary_report *r);

/* Trains on rows `train` and reports on both; a [n][dim] must be finite in the listed rows.
 * Same seed, same bytes, for any number of threads. */
cpt_status cpt_dictionary_train(const cpt_dictionary_options *o, const float *a, int32_t dim,
                                int64_t n_train, const int64_t *train, int64_t n_validation,
                                const int64_t *validation, cpt_dictionary **out,
                                cpt_dictionary_report *report, const cpt_context *ctx, cpt_err *e);

/* Loads a dictionary folder (sae_weights.safetensors + cfg.json; SAELens' own too). */
cpt_status cpt_dictionary_open(const char *folder, cpt_dictionary **out, cpt_err *e);

/* Reconstruction scores of any dictionary on the listed rows (NULL = all n). `means` [dim]: the
 * feature means for the denominator; NULL = those of the rows themselves. */
cpt_status cpt_reconstruction_score(const cpt_dictionary *d, const float *a, int64_t n,
                                    const int64_t *rows, const float *means, cpt_reconstruction *out,
                                    const cpt_context *ctx, cpt_err *e);

#endif

/* sae_recipe.h - how a sparse autoencoder is trained: every point in which the established recipes
 * differ, and what makes Batch-Top-K and Matryoshka out of Top-K.
 *
 * method.md 2.1 is our own recipe and 2.2 the table behind the presets and variants. Private to this folder (and to
 * tests and benches). */
#ifndef CPT_DICTIONARY_SAE_RECIPE_H
#define CPT_DICTIONARY_SAE_RECIPE_H

#include "dictionary/dictionary.h"

/* The loss is weight * sum over the batch of |x - x_hat|^2, with weight = */
typedef enum cpt_sae_loss {
    CPT_SAE_LOSS_FVU,  /* 1 / sum of squares around the batch's feature means */
    CPT_SAE_LOSS_SUM,  /* 1 / batch: squared error summed over dimensions */
    CPT_SAE_LOSS_MEAN, /* 1 / (batch * dim) */
    CPT_SAE_LOSS_FIXED /* loss_scale / (batch * dim): OpenAI's, from the first data */
} cpt_sae_loss;

typedef enum cpt_sae_decoder {
    CPT_SAE_DECODER_UNIT,       /* gradient along a row removed; rows set to unit norm after the step */
    CPT_SAE_DECODER_UNIT_FIRST, /* rows set to unit norm, gradient removed, then the step (OpenAI) */
    CPT_SAE_DECODER_IN_FORWARD, /* used as row / norm; the gradient goes through that (overcomplete) */
    CPT_SAE_DECODER_RESCALED,   /* the same, and pre-activations times the norm (SAELens) */
    CPT_SAE_DECODER_FREE        /* no constraint */
} cpt_sae_decoder;

typedef enum cpt_sae_aux {
    CPT_SAE_AUX_NONE,
    CPT_SAE_AUX_NORMALISED, /* error of the residual / its sum of squares around the batch mean */
    CPT_SAE_AUX_SUM         /* sum of squares / batch, times min(dead / k_aux, 1) (SAELens) */
} cpt_sae_aux;

typedef enum cpt_sae_init {
    CPT_SAE_INIT_SPHERE, /* decoder rows uniform on the sphere, encoder = decoder */
    CPT_SAE_INIT_CELLS,  /* directions of random training cells from the bias, encoder = decoder */
    CPT_SAE_INIT_NOISE   /* encoder and decoder independent, uniform in +-1 / sqrt(dim) */
} cpt_sae_init;

typedef enum cpt_sae_bias {
    CPT_SAE_BIAS_MEDIAN, /* geometric median */
    CPT_SAE_BIAS_ZERO,
    CPT_SAE_BIAS_ABSENT  /* no decoder bias at all (overcomplete) */
} cpt_sae_bias;

typedef enum cpt_sae_revive {
    CPT_SAE_REVIVE_NONE,
    CPT_SAE_REVIVE_INPUT,   /* row = direction of a badly reconstructed cell from the bias */
    CPT_SAE_REVIVE_RESIDUAL /* row = direction of its residual */
} cpt_sae_revive;

typedef enum cpt_sae_select {
    CPT_SAE_SELECT_SAMPLE, /* the k largest of each sample (Gao et al. 2024) */
    CPT_SAE_SELECT_BATCH   /* the k * batch largest of the batch (Bussmann et al. 2024) */
} cpt_sae_select;

enum { CPT_SAE_MAX_PREFIXES = 8 };

typedef struct cpt_sae_recipe {
    int32_t n_concepts, k, batch, epochs;
    cpt_sae_select select;
    /* Matryoshka (Bussmann et al. 2025): prefix m reconstructs by the latents below prefix_end[m] alone,
     * and the loss is the sum over prefixes of prefix_weight * their loss. */
    int32_t n_prefixes;       /* 0 or 1 = one loss, of all latents */
    int32_t prefix_end[CPT_SAE_MAX_PREFIXES]; /* ascending; the last = n_concepts */
    double prefix_weight;     /* 0 = 1 / n_prefixes */
    /* SELECT_BATCH: inference keeps what is above a threshold, the moving average (double) of the
     * smallest active value of each batch, from step threshold_start (from 0) on. */
    double threshold_keep;    /* average = keep * average + (1 - keep) * value */
    int64_t threshold_start;  /* -1 = 1,000, or a fifth of all steps if less; then keep = 1 - 1 / that, too */
    bool threshold_from_zero; /* SAELens: the average starts at 0; else at its first value */
    bool scale_input;         /* by one scalar, so that the mean squared distance from the mean = dim */
    cpt_sae_init init;
    double decoder_norm;      /* of the rows at the start */
    cpt_sae_bias bias;
    cpt_sae_decoder decoder;
    double projection_eps;    /* row / (norm + eps) in the projection of UNIT */
    double unit_eps;          /* row / (norm + eps) when rows are set to unit norm */
    cpt_sae_loss loss;
    double loss_scale;        /* of LOSS_FIXED */
    cpt_sae_aux aux;
    double aux_weight;
    int32_t k_aux;            /* 0 = dim / 2; never more than there are dead latents */
    bool aux_negative;        /* auxiliary activations may be <= 0 (SAELens) */
    bool aux_bias_gradient;   /* OpenAI: the auxiliary decode holds the live bias */
    double fire_above;        /* a latent fires with an activation above this */
    int64_t dead_after;       /* samples without firing; 0 = one epoch */
    bool fired_step_counts;   /* OpenAI: the step that fires counts as one without */
    double learning_rate, beta1, beta2, adam_eps;
    int encoder;              /* cpt_precision (math/gemm.h) of the product that chooses latents; 0 = f32 */
    double warm_up, decay;    /* shares of all steps */
    double clip;              /* of the global gradient norm; 0 = none */
    double ema;               /* 0 = none */
    int32_t k_start;          /* k is annealed from here ...; 0 = no annealing */
    double k_anneal;          /* ... to k, linearly over this share of the steps */
    cpt_sae_revive revive;    /* of dead latents, at the end of an epoch ... */
    double revive_until;      /* ... in this share of the steps */
    int32_t revive_rounds;    /* ... at most so often in a training; 0 = every epoch */
    double revive_encoder;    /* the new encoder row = this times the new decoder row */
} cpt_sae_recipe;

/* The recipe of a preset (NULL = ours) at the sizes in the resolved options. */
cpt_status cpt_sae_recipe_init(const cpt_dictionary_options *resolved, int32_t dim,
                               cpt_sae_recipe *out, cpt_err *e);

/* What the recipe trains: "topk", "batchtopk" or "matryoshka". */
const char *cpt_sae_recipe_kind(const cpt_sae_recipe *r);

/* Learning rate factor of step s (from 0) of n: linear warm-up, plateau, linear decay to 0. */
double cpt_sae_schedule(const cpt_sae_recipe *r, int64_t s, int64_t n);
/* The number of active latents (per sample on average) in step s of n. */
int32_t cpt_sae_k_at(const cpt_sae_recipe *r, int64_t s, int64_t n);

#endif

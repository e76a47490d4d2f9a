/* sae_step.h - the state of a sparse autoencoder in training, and one step of it. Private to this folder, and
 * to tests, which compare steps with those of the established implementations. */
#ifndef CPT_DICTIONARY_SAE_STEP_H
#define CPT_DICTIONARY_SAE_STEP_H

#include "dictionary/sae_recipe.h"
#include "dictionary/train.h"
#include "math/screen.h"
#include "math/strips.h"
#include "math/topk.h"

/* The active (sample, latent) pairs of a batch, by sample and by latent. */
typedef struct cpt_sae_active {
    int64_t *first;      /* [batch] place of the sample's first pair: pairs first .. first + count */
    int32_t *counts;     /* [batch] */
    int32_t *samples;    /* [pairs] */
    int32_t *latents;    /* [pairs] ascending within a sample */
    float *values;       /* [pairs] */
    float *gradients;    /* [pairs] d loss / d value */
    int64_t *starts;     /* [n_concepts + 1] into entries */
    int64_t *entries;    /* [pairs] places, by latent, samples ascending */
} cpt_sae_active;

typedef struct cpt_sae_moments {
    float *mean, *square;
} cpt_sae_moments;

typedef struct cpt_sae_step_report {
    double loss;            /* what was minimised */
    double main_loss;       /* without the auxiliary term */
    double squared_error;   /* mean over the batch of |x - x_hat|^2 */
    double fvu;             /* of the batch */
    double aux;             /* auxiliary loss before its weight */
    double gradient_norm;   /* after projection, before clipping */
    int32_t n_dead;
} cpt_sae_step_report;

typedef struct cpt_sae_trainer {
    cpt_sae_recipe recipe;
    int32_t dim, n_concepts;
    int64_t stride;               /* of all rows: dim rounded up, padded with 0 */
    int64_t n_steps;              /* done */
    float *w_enc, *w_dec;         /* [n_concepts][stride] */
    float *b_enc;                 /* [n_concepts rounded up] */
    float *b_dec;                 /* [stride] */
    float *atoms;                 /* [n_concepts][stride]: what decodes: w_dec, or its unit rows */
    float *norms;                 /* [n_concepts] of w_dec where atoms are a copy */
    float *g_w_enc, *g_w_dec, *g_b_enc, *g_b_dec; /* gradients of the last step, not clipped */
    cpt_sae_moments m_w_enc, m_w_dec, m_b_enc, m_b_dec;
    float *e_w_enc, *e_w_dec, *e_b_enc, *e_b_dec; /* moving averages; NULL without ema */
    int64_t *since;               /* [n_concepts] samples since it fired */
    int64_t dead_after;

    double threshold;             /* of SELECT_BATCH: moving average in units of scaled data; < 0 = none yet */
    float smallest;               /* active value of the last batch */

    int64_t batch_max;
    float *centred, *error, *aux_gradient; /* [batch][stride]; error = x_hat - x, by strips
                                             * only where there is an auxiliary loss */
    float *pull;                  /* [prefixes][batch][stride]: of prefix m the sum of the errors of m and all
                                   * longer ones, which is what pulls at its latents; = error without prefixes */
    cpt_sae_active active, aux;
    int32_t *candidates;          /* latents that are dead unless they fire now */
    int32_t n_candidates;
    int32_t *dead;                /* [n_concepts] places in candidates */
    int32_t n_dead;
    float *candidate_values;      /* [batch][n_candidates] */
    size_t candidate_capacity;
    double *block_sums;           /* [blocks][...]: see sae_step.c */
    double *squares;              /* [n_concepts] squared norm of each latent's gradient */
    uint8_t *has_gradient;        /* [n_concepts] */
    double *bias_partial;         /* [chunks][stride] */
    cpt_packed packed;            /* w_enc of this step (math/gemm.h) */
    void *packed_memory;
    bool fused;                   /* the k largest are chosen while the product is computed; tests may clear it */
    cpt_topk_run *runs;           /* [threads][rows of an encoder's turn], when fused */
    bool screened;                /* latents of wide f32 encoders are chosen by math/screen.h; tests may change it ... */
    bool may_screen;              /* ... where this is set */
    cpt_screen screen;            /* w_enc of this step */
    void *screen_memory;
    float *row_norms;             /* [threads][rows of an encoder's turn] */
    int32_t *chosen, *n_chosen;   /* [batch][CPT_TOPK_RUN], [batch] */
    float *chosen_values;         /* as chosen */
    int32_t *every;               /* [n_concepts] 0, 1, 2 ... */
    float *candidate_rows, *candidate_bias; /* [n_concepts / 2][stride], [n_concepts / 2]: of w_enc and b_enc */
    cpt_packed candidate_packed;
    void *candidate_memory;
    bool strips;                  /* decoding and gradients by strips of columns (math/strips.h); tests may clear it */
    float *atom_strip;            /* [n_concepts][CPT_STRIP] */
    float *pair_strips;           /* [strips of 32][batch][2][32]: centred, error */
    int64_t *list_places;         /* [threads][n_concepts] scratch of the lists by latent */
    cpt_strip_entry *list;        /* [pairs] by latent: active.entries with what they stand for */
    float *pre;                   /* [threads][block rows][n_concepts]; SELECT_BATCH: [batch][n_concepts] */
    int64_t *histograms;          /* of SELECT_BATCH: see sae_select.c */
    int32_t *equal;               /* [batch] of SELECT_BATCH */
    unsigned char *topk;          /* [threads][topk_size] */
    size_t topk_size;
    float *gather;                /* [threads][n_concepts] */
    int n_threads;
    void **memory;                /* [n_memory] everything allocated */
    size_t n_memory, memory_capacity;
} cpt_sae_trainer;

/* Weights are 0: fill them (sae_init.c) before the first step. batch_max = the largest batch. */
cpt_status cpt_sae_trainer_new(const cpt_sae_recipe *r, int32_t dim, int64_t batch_max, int n_threads,
                               cpt_sae_trainer **out, cpt_err *e);
void cpt_sae_trainer_free(cpt_sae_trainer *t);

/* One step on `scale` times the rows `order` [n] of `data`, with k active latents. row_error (or NULL)
 * [n] gets |x - x_hat|^2 of each. */
cpt_status cpt_sae_step(cpt_sae_trainer *t, const cpt_training_rows *data, const int64_t *order,
                        int64_t n, float scale, int32_t k, double learning_rate, float *row_error,
                        cpt_sae_step_report *report, cpt_err *e);

/* Refreshes `atoms` and `norms` after w_dec was changed from outside. */
void cpt_sae_refresh_atoms(cpt_sae_trainer *t);

/* ---- sae_select.c ---- */

/* int64_t that the selection of a batch needs. */
size_t cpt_sae_select_scratch(int n_threads);
/* The n_chosen largest of the positive values pre [n][F] as pairs of `a`; of equal values the first. What
 * is chosen does not depend on n_threads. Returns the smallest chosen value, 0 when there is none. */
float cpt_sae_select_batch(const float *pre, int64_t n, int32_t F, int64_t n_chosen, cpt_sae_active *a,
                           int32_t *equal, int64_t *histograms, int n_threads);

/* ---- sae_init.c ---- */

/* Weiszfeld's geometric median of scale * rows, mean as start, at most 100 rounds, until it moves by less
 * than 1e-5. out [dim]. */
cpt_status cpt_geometric_median(const cpt_training_rows *data, float scale, int n_threads, float *out,
                                cpt_err *e);
cpt_status cpt_sae_initialise(cpt_sae_trainer *t, const cpt_training_rows *data, float scale,
                              uint64_t seed, cpt_err *e);

/* ---- sae_revive.c ---- */

/* Re-initialises the latents that have not fired for one epoch on cells drawn with probability
 * proportional to row_error [data->n]. Returns how many in *n. */
cpt_status cpt_sae_revive_dead(cpt_sae_trainer *t, const cpt_training_rows *data, float scale,
                               const float *row_error, uint64_t seed, int64_t *n, cpt_err *e);

#endif

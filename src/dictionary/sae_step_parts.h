/* sae_step_parts.h - what the files of one training step share: sae_step.c, sae_encode.c, sae_trainer.c. */
#ifndef CPT_DICTIONARY_SAE_STEP_PARTS_H
#define CPT_DICTIONARY_SAE_STEP_PARTS_H

#include "dictionary/sae_step.h"
#include "math/rows.h"

enum { CPT_SAE_BLOCK = 128 };      /* rows whose sums are one unit: the same for any number of threads */
enum { CPT_SAE_TURN = 2 };         /* blocks per turn of the encoder: a panel of weights is read once per turn */
enum { CPT_SAE_CHUNK = 32 };       /* latents that a thread takes at a time */

/* Per block of rows: sums [stride] of centred, of error, of the errors of all prefixes and of
 * aux_gradient, then these scalars. */
enum { SUM_CENTRED, SUM_ERROR, SUM_PULL, SUM_AUX, N_VECTORS };
enum { SQUARE_CENTRED, SQUARE_ERROR, SQUARE_PREFIXES, SQUARE_AUX, N_SCALARS };

/* One step of one trainer. */
typedef struct cpt_sae_pass {
    cpt_sae_trainer *t;
    const cpt_row_kernels *rows;
    const cpt_topk_kernels *topk;
    const cpt_strip_kernels *strips;
    const cpt_training_rows *data;
    const int64_t *order;
    int64_t n, n_blocks;
    float scale;
    int32_t k;
    int n_threads;
    bool screened;      /* the encoder works by math/screen.h in this step */
    float *row_error;
    double weight;      /* of the squared error (of each prefix) in the loss */
    double aux_weight;  /* of the squared auxiliary error */
    int32_t k_aux;
} cpt_sae_pass;

static inline double *cpt_sae_block_vector(const cpt_sae_pass *s, int64_t block, int which)
{
    return s->t->block_sums + block * (N_VECTORS * s->t->stride + N_SCALARS) + which * s->t->stride;
}

static inline double *cpt_sae_block_scalar(const cpt_sae_pass *s, int64_t block, int which)
{
    return cpt_sae_block_vector(s, block, N_VECTORS) + which;
}

static inline int64_t cpt_sae_block_end(const cpt_sae_pass *s, int64_t block)
{
    int64_t end = (block + 1) * CPT_SAE_BLOCK;
    return end < s->n ? end : s->n;
}

/* Decoded with rows of their own: w_dec of unit length. */
static inline bool cpt_sae_own_atoms(const cpt_sae_trainer *t)
{
    return t->recipe.decoder == CPT_SAE_DECODER_IN_FORWARD || t->recipe.decoder == CPT_SAE_DECODER_RESCALED;
}

static inline bool cpt_sae_prefixed(const cpt_sae_trainer *t)
{
    return t->recipe.n_prefixes > 1;
}

static inline bool cpt_sae_selects_batch(const cpt_sae_trainer *t)
{
    return t->recipe.select == CPT_SAE_SELECT_BATCH;
}

/* Lists the latents that will be dead after this batch unless they fire in it: before cpt_sae_encode. */
cpt_status cpt_sae_list_candidates(cpt_sae_pass *s, cpt_err *e);
/* Fills centred, the active pairs (of SELECT_BATCH: all pre-activations) and the candidates' values. */
void cpt_sae_encode(cpt_sae_pass *s);

#endif

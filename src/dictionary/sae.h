/* sae.h - the sparse autoencoder as a dictionary.
 *
 *     h = W_enc (a - b_dec) + b_enc;  a_hat = u W_dec + b_dec
 *
 *     u = relu(topk_k(h))                     topk, random: a concept can lose its place to others
 *     u_c = h_c if h_c > max(threshold_c, 0)  batchtopk, matryoshka, jumprelu: each for itself
 *
 * with unit rows in W_dec (foreign jumprelu files: as they are). All in the units of the raw
 * embedding. */
#ifndef CPT_DICTIONARY_SAE_H
#define CPT_DICTIONARY_SAE_H

#include "dictionary/dictionary.h"

#define CPT_SAE_TOPK "topk"
#define CPT_SAE_BATCHTOPK "batchtopk"
#define CPT_SAE_MATRYOSHKA "matryoshka"
#define CPT_SAE_JUMPRELU "jumprelu" /* somebody else's, with one threshold per concept */
#define CPT_SAE_RANDOM "random"     /* drawn instead of learned rows, Top-K encoded */

typedef struct cpt_sae {
    cpt_dictionary base;     /* decoder = w_dec, bias = b_dec, max_active = k, or all with a threshold */
    bool subtract_bias;      /* a - b_dec before the encoder; false in some foreign files */
    float *w_enc, *w_dec;    /* [n_concepts][dim] both: concept by concept */
    float *b_enc;            /* [n_concepts] */
    float *b_dec;            /* [dim] */
    float *threshold;        /* [n_concepts]; NULL = Top-K */
    float *memory;           /* the block all of them lie in */
} cpt_sae;

/* kind: one of the names above. Weights and thresholds are 0. k may be 0 (not known) with a threshold. */
cpt_status cpt_sae_new(const char *kind, int32_t n_concepts, int32_t dim, int32_t k, cpt_sae **out,
                       cpt_err *e);

/* Top-K only: puts concepts into unit rows without changing what is decoded: w_dec row / norm, w_enc row
 * and b_enc * norm. Only valid when the selection was made by those scaled activations, or when the rows
 * have unit norm up to rounding. A row of zeros stays. */
void cpt_sae_unit_rows(cpt_sae *s);

/* Written by sae_file.c. */
cpt_status cpt_sae_save(const cpt_dictionary *d, const char *folder, cpt_err *e);

#endif

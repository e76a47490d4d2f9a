/* sae.h - the Top-K sparse autoencoder as a dictionary.
 *
 *     h = W_enc (a - b_dec) + b_enc;  u = relu(topk_k(h));  a_hat = u W_dec + b_dec
 *
 * with unit rows in W_dec. All in the units of the raw embedding. */
#ifndef CPT_DICTIONARY_SAE_H
#define CPT_DICTIONARY_SAE_H

#include "dictionary/dictionary.h"

typedef struct cpt_sae {
    cpt_dictionary base;     /* decoder = w_dec, bias = b_dec, max_active = k */
    bool subtract_bias;      /* a - b_dec before the encoder; false in some foreign files */
    float *w_enc, *w_dec;    /* [n_concepts][dim] both: concept by concept */
    float *b_enc;            /* [n_concepts] */
    float *b_dec;            /* [dim] */
    float *memory;           /* the block all of them lie in */
} cpt_sae;

/* kind: "topk" or "random" (the same object with drawn instead of learned rows). Weights are 0. */
cpt_status cpt_sae_new(const char *kind, int32_t n_concepts, int32_t dim, int32_t k, cpt_sae **out,
                       cpt_err *e);

/* Puts concepts into unit rows without changing what is decoded: w_dec row / norm, w_enc row and
 * b_enc * norm. Only valid when the selection was made by those scaled activations, or when the rows
 * have unit norm up to rounding. A row of zeros stays. */
void cpt_sae_unit_rows(cpt_sae *s);

/* Written by sae_file.c. */
cpt_status cpt_sae_save(const cpt_dictionary *d, const char *folder, cpt_err *e);

#endif

/* largest.h - a dictionary of which each cell keeps only its k largest activations.
 *
 * What makes PCA, ICA, NMF and neurons comparable with a Top-K autoencoder: the same number of active
 * units per cell, chosen cell by cell. With orthonormal components this is the best reconstruction by k
 * of them; elsewhere it is the cheap one (no values are fitted again). */
#ifndef CPT_DICTIONARY_LARGEST_H
#define CPT_DICTIONARY_LARGEST_H

#include "dictionary/dictionary.h"

typedef struct cpt_largest {
    cpt_dictionary base;
    const cpt_dictionary *inner;
} cpt_largest;

/* Lives on the caller's stack and borrows `inner`; nothing to free. For scores: it cannot be saved and
 * has no read-out of single concepts. */
void cpt_largest_init(cpt_largest *d, const cpt_dictionary *inner, int32_t k);

#endif

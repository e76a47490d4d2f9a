/* activation_match.h - units of two dictionaries matched by what they do: the correlation of their
 * activations over the same cells. Works across dictionaries, data sets and models alike, where
 * decoders cannot be compared. */
#ifndef CPT_EVALUATE_ACTIVATION_MATCH_H
#define CPT_EVALUATE_ACTIVATION_MATCH_H

#include "base/log.h"
#include "io/cells.h"

typedef struct cpt_activation_match {
    int32_t n_matched;  /* units matched that both vary: at most the smaller number */
    double correlation; /* mean over the matched pairs */
    double above_05, above_07, above_09; /* share of them above */
} cpt_activation_match;

/* a, b: activations by cell, rows = the same cells. Matches one to one so that the sum of Pearson
 * correlations is largest; a unit that is constant over the cells correlates 0 and counts as
 * unmatched. partner [a->n_cols] (-1 = none) and correlation [a->n_cols] (NaN = none) may be NULL.
 * Time: cells times active units squared, then an assignment O(units^3). */
cpt_status cpt_match_activations(const cpt_csr *a, const cpt_csr *b, int32_t *partner,
                                 double *correlation, cpt_activation_match *out,
                                 const cpt_context *ctx, cpt_err *e);

#endif

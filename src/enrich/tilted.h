/* tilted.h - the null of the enrichment score of one set size, by importance sampling.
 *
 * For weights that grow and fall slowly along the list, as ranks do. Splitting (multilevel.h) asks nothing of the
 * weights and costs a hundred times as much. */
#ifndef CPT_ENRICH_TILTED_H
#define CPT_ENRICH_TILTED_H

#include "base/log.h"

typedef struct cpt_tilted_options {
    int32_t n_samples; /* about; subsets drawn */
    double log_eps;    /* ln of the smallest p looked for */
    uint64_t seed;
} cpt_tilted_options;

/* weight [n] by position, integers as in walk.h; 1 <= k < n. log_p [n_steps + 1]: ln of P(the running sum of a
 * random subset of size k rises to i / n_steps or more, and higher than it falls); log2err: standard error of its log2, NaN
 * beyond the highest subset that was met, where log_p is the last one known: a bound. Depends on (n, weight, k,
 * options) only. Single-threaded; asks ctx whether to stop. */
cpt_status cpt_tilted_null(int32_t n, const double *weight, int32_t k, const cpt_tilted_options *o, int32_t n_steps,
                           double *log_p, double *log2err, const cpt_context *ctx, cpt_err *e);

#endif

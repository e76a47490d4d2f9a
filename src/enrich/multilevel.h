/* multilevel.h - p values of enrichment scores far below one over the number of permutations, by adaptive
 * multilevel splitting (Korotkevich et al., bioRxiv 060012). */
#ifndef CPT_ENRICH_MULTILEVEL_H
#define CPT_ENRICH_MULTILEVEL_H

#include "enrich/enrich.h"

/* P(a random subset of this size scores at least this high, and on this side), over all subsets. */
typedef struct cpt_multilevel_query {
    int32_t size;
    bool negative;           /* the fall of the sum counts: the list is read from its end */
    double numerator, total; /* |score| = numerator / (total (n - size)), integers as in walk.h */
    /* out */
    double log_p;            /* ln p, at least ln of 1 / (number of subsets) */
    double log2err;          /* standard error of log2 p; NaN when no sample reached the score */
    bool below_eps;          /* the levels ended at eps, before the score */
    bool stuck;              /* the chain could not mix up to the score: p is at most this */
} cpt_multilevel_query;

/* Standard error of log2 p that splitting would have at p. */
double cpt_multilevel_error(double p, int32_t sample_size);

/* weight [n] by position. One ruler per distinct (size, side), grown to its most extreme query. Results
 * depend on the seed and the queries of a ruler, not on threads or on other rulers. With score type STD
 * only subsets of the side of the score count, with POS and NEG all. */
cpt_status cpt_multilevel_run(int32_t n, const double *weight, const cpt_gsea_options *o,
                              int32_t n_queries, cpt_multilevel_query *queries, int n_threads,
                              const cpt_context *ctx, cpt_err *e);

#endif

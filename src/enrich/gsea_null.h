/* gsea_null.h - random subsets of a list of genes and the enrichment scores they get by chance. */
#ifndef CPT_ENRICH_GSEA_NULL_H
#define CPT_ENRICH_GSEA_NULL_H

#include "base/log.h"
#include "enrich/enrich.h"

/* Permutation b is the start of one random order of n positions, keyed by (seed, b); its first k
 * entries are its subset of size k. Depends on nothing but n and the seed: rankings share it. */
typedef struct cpt_gsea_null {
    uint64_t seed;
    int32_t n_genes, largest, n_permutations, n_kept; /* the first n_kept are held in memory */
    int32_t *positions, *arrivals; /* [n_kept][largest] ascending positions; when each was drawn */
} cpt_gsea_null;

cpt_status cpt_gsea_null_make(int32_t n_genes, int32_t largest, int32_t n_permutations,
                              uint64_t seed, cpt_gsea_null *out, cpt_err *e);
void cpt_gsea_null_free(cpt_gsea_null *null);

/* What the null of one size says about itself; scores of 0 count on both sides. */
typedef struct cpt_gsea_tally {
    int32_t n_positive, n_negative;
    double sum_positive, sum_negative;
} cpt_gsea_tally;

/* A score to be placed in the null of sizes[size]. */
typedef struct cpt_gsea_target {
    int32_t size;                  /* index into sizes */
    double es;
    int32_t n_at_least, n_at_most; /* out: null scores >= es, <= es */
} cpt_gsea_target;

/* sizes ascending, distinct, within 1 .. n_genes - 1. Results do not depend on n_threads. */
cpt_status cpt_gsea_null_place(const cpt_gsea_null *null, const double *weight, cpt_score_type type,
                               int32_t n_sizes, const int32_t *sizes, cpt_gsea_tally *tallies,
                               int64_t n_targets, cpt_gsea_target *targets, int n_threads,
                               const cpt_context *ctx, cpt_err *e);

#endif

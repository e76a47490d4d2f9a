/* pooled.h - GSEA of one ranking on many variants of a family of gene sets at the price of little more than one.
 *
 * The null of a ranking knows sizes only, not members: thinned annotations and relabelled genes share it. */
#ifndef CPT_ENRICH_POOLED_H
#define CPT_ENRICH_POOLED_H

#include "enrich/enrich.h"

/* Variants one after the other as one family. */
typedef struct cpt_pool {
    int32_t n_variants;
    int32_t *first_set; /* [n_variants + 1] */
    int32_t *term;      /* of every set; -1 = none */
    cpt_genesets *sets; /* members only: no ids, no names */
} cpt_pool;

cpt_status cpt_pool_make(int32_t n_variants, const cpt_genesets *const *variants, cpt_pool *out, cpt_err *e);
/* `sets` as they are (variant 0), then n_copies with the genes of the universe permuted: the sets keep sizes and
 * overlaps among each other and lose their relation to any ranking. */
cpt_status cpt_pool_relabelled(const cpt_genesets *sets, int32_t n_copies, uint64_t seed, cpt_pool *out, cpt_err *e);
void cpt_pool_free(cpt_pool *p);

/* How findings of variant `v` agree with those of variant 0 on the same ranking; terms are matched by number,
 * ascending in every variant. */
typedef struct cpt_agreement {
    int32_t n_significant, n_significant_here, n_both; /* q < alpha: in variant 0, here, in both */
    double recall;    /* n_both / n_significant; NaN when that is 0 */
    double jaccard;   /* of the two; NaN when both are empty */
    double spearman;  /* of NES over the terms that both could test; NaN below 3 */
    bool best_significant; /* variant 0's best term is significant here too */
} cpt_agreement;
/* rows: of the pool, q corrected within each variant (cpt_pool_correct). */
cpt_status cpt_pool_agreement(const cpt_pool *p, const cpt_gsea_row *rows, int32_t v, double alpha,
                              cpt_agreement *out, cpt_err *e);
cpt_status cpt_pool_correct(const cpt_pool *p, cpt_gsea_row *rows, cpt_err *e);
/* Largest |NES| of a variant; 0 when it has none. nes: of the pool's sets. */
double cpt_pool_best_nes(const cpt_pool *p, const double *nes, int32_t v);

#endif

/* faithfulness.h - does a ranking of genes name those that carry a concept (method.md 4)? The top m
 * genes are substituted together and the activation is watched: the better the ranking, the earlier
 * and deeper it falls. */
#ifndef CPT_CONCEPT_FAITHFULNESS_H
#define CPT_CONCEPT_FAITHFULNESS_H

#include "concept/attribution.h"

enum { CPT_FAITHFULNESS_POINTS = 8 };
extern const int32_t cpt_faithfulness_sizes[CPT_FAITHFULNESS_POINTS]; /* 1, 2, 5, ... 200 */

typedef struct cpt_faithfulness {
    int32_t n_rankings, n_concepts;
    /* [n_rankings][n_concepts][POINTS] mean over pairs of [u_c(x_p) - u_c(changed)] / u_c(x_p), of the
     * chosen read-out; NaN for a concept without pairs */
    float *drop;
    /* [n_rankings][n_concepts] area under it over log m, divided by the width: a mean drop */
    float *area;
    int32_t *n_pairs; /* [n_concepts] */
    /* [pairs][n_rankings][POINTS] the drops of each pair, for intervals; NaN for a prototype that does
     * not activate the concept */
    float *pair_drop;
} cpt_faithfulness;

/* Area under one curve [POINTS] over log m, divided by the width. */
double cpt_faithfulness_area(const float *drop);

/* rankings[r] [n_concepts][n_genes]: larger = earlier; NaN last; ties by lower gene; a NULL ranking is
 * a random order, drawn per pair. In each pair only the genes that differ are ranked, so that m
 * counts substitutions that change something; all of them when there are fewer than m. */
cpt_status cpt_faithfulness_curves(const cpt_model *m, const cpt_dictionary *d, const cpt_counts *counts,
                                   const cpt_pairs *pairs, cpt_readout readout, int32_t n_rankings,
                                   const float *const *rankings, cpt_faithfulness **out,
                                   const cpt_context *ctx, cpt_err *e);
void cpt_faithfulness_free(cpt_faithfulness *f);

#endif

/* unit_flags.h - what speaks against reading a concept at face value: cells of one donor only,
 * pairs of cells that differ in much else. */
#ifndef CPT_EVALUATE_UNIT_FLAGS_H
#define CPT_EVALUATE_UNIT_FLAGS_H

#include "concept/activations.h"
#include "concept/pairs.h"

typedef struct cpt_concentration {
    int32_t code;             /* category that holds most of the active cells; -1 = none is known */
    double share, background; /* its share of the active, of all usable cells */
    bool flagged;
} cpt_concentration;

/* out [n_concepts]. Flagged: at least 10 active cells, more than 80 % of them in one category that
 * has less than 40 % of the cells (method.md 8). Cells without a category count in no numerator. */
cpt_status cpt_concentrations(const cpt_activations *u, const cpt_column *column,
                              cpt_concentration *out, cpt_err *e);

/* How much prototypes and counterfactuals differ beside the concept.
 *
 * The difference of the two embeddings, less its part along the concept's decoder row; its length
 * is compared with that of n_random random pairs of cells, treated alike. rest [n_concepts]: share
 * of the random pairs that differ less than the concept's median pair does (NaN without pairs): 0 =
 * alike but for the concept, 0.5 = as good as any two cells. along [n_concepts]: median cosine of
 * the difference with the decoder row. Distance itself does not tell: a strong concept puts cells
 * far apart along its own direction, which is as it should be. */
cpt_status cpt_pair_rests(const cpt_pairs *pairs, const float *a, int64_t n, int32_t dim,
                          const bool *usable, const float *decoder, int32_t n_random, double *rest,
                          double *along, const cpt_context *ctx, cpt_err *e);

#endif

/* pairs.h - prototypes of a concept and their counterfactuals (method.md 3). */
#ifndef CPT_CONCEPT_PAIRS_H
#define CPT_CONCEPT_PAIRS_H

#include "concept/activations.h"

typedef enum cpt_prototype_choice {
    CPT_PROTOTYPES_TOP,       /* largest activation */
    CPT_PROTOTYPES_QUANTILES, /* spread evenly over the ranks of the active cells */
    CPT_PROTOTYPES_SPREAD     /* round robin over the categories of a column (donors), largest first */
} cpt_prototype_choice;

typedef struct cpt_pair_options {
    int32_t n_prototypes;      /* 32 */
    int32_t n_counterfactuals; /* m nearest per prototype; 1 = the paper, 5 recommended */
    double min_share;          /* a prototype has at least this share of the concept's largest
                                  activation, 0.1 (ours): attributions are divided by it; 0 = any */
    cpt_prototype_choice choice;
    const cpt_column *spread;  /* for SPREAD */
    const cpt_column *match;   /* NULL, or a CATEGORY column that both cells must share */
} cpt_pair_options;
void cpt_pair_options_init(cpt_pair_options *o);

typedef struct cpt_pair {
    int64_t prototype, counterfactual; /* cells */
    float activation;         /* u_c(prototype) */
    float distance;           /* Euclidean, embedding space */
    float relative_distance;  /* distance / median nearest-neighbour distance of all cells */
    int32_t prototype_rank, counterfactual_rank; /* from 0 */
} cpt_pair;

typedef struct cpt_pairs {
    int32_t n_concepts;
    int64_t *first;      /* [n_concepts + 1] pairs of concept c: pairs[first[c]] .. */
    cpt_pair *pairs;
    int32_t *n_unmatched; /* [n_concepts] prototypes for which `match` left no inactive cell */
    bool *substitute_low; /* [n_concepts] no inactive cell at all: the least active served */
    double median_neighbour_distance;
} cpt_pairs;

/* Exact search: for each prototype the nearest cells with u_c = 0; ties by lower cell number.
 * Dead concepts get no pairs. a [n_cells][dim]. */
cpt_status cpt_pairs_find(const cpt_activations *u, const float *a, int32_t dim,
                          const cpt_pair_options *o, cpt_pairs **out, const cpt_context *ctx, cpt_err *e);
void cpt_pairs_free(cpt_pairs *p);
/* A copy of `from` with the pairs of the chosen [n_concepts] concepts only (NULL = all), of at most
 * n_prototypes prototypes each (0 = all), and without prototypes that the same concept has in `not_in`
 * (NULL = none). */
cpt_status cpt_pairs_select(const cpt_pairs *from, const bool *chosen, int32_t n_prototypes,
                            const cpt_pairs *not_in, cpt_pairs **out, cpt_err *e);

#endif

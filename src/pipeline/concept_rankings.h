/* concept_rankings.h - what a concept gives the enrichment: two rankings of the universe and, from each, a
 * short list of genes. */
#ifndef CPT_PIPELINE_CONCEPT_RANKINGS_H
#define CPT_PIPELINE_CONCEPT_RANKINGS_H

#include "study/study.h"

enum { CPT_BY_ATTRIBUTION, CPT_BY_EXPRESSION, CPT_N_RANKINGS };
extern const char *const cpt_ranking_names[CPT_N_RANKINGS]; /* "attribution", "expression" */

typedef struct cpt_concept_rankings {
    int32_t n_concepts, n_genes; /* genes of the universe */
    const cpt_attribution *attribution; /* NULL for fixed embeddings */
    const cpt_expression *expression;
    double cutoff;        /* of attributed genes */
    int32_t study_genes;  /* longest short list */
} cpt_concept_rankings;

/* Options "cutoff" and "study-genes"; everything is borrowed from the study. */
cpt_status cpt_concept_rankings_open(cpt_study *s, cpt_concept_rankings *out, cpt_err *e);

/* statistic [n_genes], NaN = not ranked. False when there is nothing to rank: a dead concept, one that is
 * active everywhere, or no attribution at all. */
bool cpt_concept_statistic(const cpt_concept_rankings *r, int32_t concept, int ranking, double *statistic);

/* The short list [at most n_genes], ascending: attributed genes (method.md 4) by |mean|, or significantly
 * higher expressed ones by score. */
cpt_status cpt_concept_study_list(const cpt_concept_rankings *r, int32_t concept, int ranking,
                                  int32_t *study, int32_t *n_study, cpt_err *e);

#endif

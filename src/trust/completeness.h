/* completeness.h - would the terms of a concept be found if less were known about genes? */
#ifndef CPT_TRUST_COMPLETENESS_H
#define CPT_TRUST_COMPLETENESS_H

#include "pipeline/concept_rankings.h"
#include "study/genesets_open.h"

/* `completeness` of evaluation.json: GSEA of every concept with 20, 40, 60, 80 % of GO's direct annotations,
 * ten draws each, and without electronic ones, against the whole. Families that are not GO are passed over. */
cpt_status cpt_completeness_json(const cpt_study *s, const cpt_families *f, const cpt_concept_rankings *r,
                                 json_t **out, cpt_err *e);

#endif

/* controls.h - how good do terms look where there is nothing to find? */
#ifndef CPT_TRUST_CONTROLS_H
#define CPT_TRUST_CONTROLS_H

#include "pipeline/concept_rankings.h"
#include "study/genesets_open.h"

/* `controls` of evaluation.json: the best |NES| of every concept among those of rankings with shuffled genes, and
 * how much the rankings follow how well a gene is known and how often it is detected. */
cpt_status cpt_controls_json(cpt_study *s, const cpt_families *f, const cpt_concept_rankings *r, json_t **out,
                             cpt_err *e);

#endif

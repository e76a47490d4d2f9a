/* annotated.h - how often concepts find a term at all, by which road, and what the roads have in common. */
#ifndef CPT_TRUST_ANNOTATED_H
#define CPT_TRUST_ANNOTATED_H

#include "study/study.h"

/* `annotated` of evaluation.json. n_alive: concepts that are not dead, the base of all shares. */
cpt_status cpt_annotated_json(const cpt_enrichment *r, int64_t n_alive, bool with_attribution, json_t **out,
                              cpt_err *e);

/* `suggested` of evaluation.json: per concept and ranking the marker set that fits best. A suggestion is a test's
 * result, not a label. */
json_t *cpt_suggested_json(const cpt_enrichment *r);

#endif

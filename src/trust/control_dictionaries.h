/* control_dictionaries.h - what the same pipeline finds with dictionaries that learned nothing. */
#ifndef CPT_TRUST_CONTROL_DICTIONARIES_H
#define CPT_TRUST_CONTROL_DICTIONARIES_H

#include "study/study.h"

/* `controls.dictionaries` of evaluation.json: neurons, principal components and random directions of the same
 * embedding, each a study in cache/controls (control_studies.h), through the same
 * attribution, rankings, sets and corrections; shares of units with a term beside the study's own, and per concept
 * the percentile of its best |NES| among the units of each control. */
cpt_status cpt_control_dictionaries_json(cpt_study *s, json_t **out, cpt_err *e);

#endif

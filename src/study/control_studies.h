/* control_studies.h - the same pipeline on dictionaries that learned nothing about cells. */
#ifndef CPT_STUDY_CONTROL_STUDIES_H
#define CPT_STUDY_CONTROL_STUDIES_H

#include "study/study.h"

/* `controls.dictionaries` of evaluation.json: neurons, principal components and random directions of the same
 * embedding, each a small study in cache/controls/ (kept: a second run takes what is valid), through the same
 * attribution, rankings, sets and corrections; shares of units with a term beside the study's own, and per concept
 * the percentile of its best |NES| among the units of each control. */
cpt_status cpt_control_studies_json(cpt_study *s, json_t **out, cpt_err *e);

#endif

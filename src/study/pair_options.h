/* pair_options.h - how a study chooses prototypes and counterfactuals, and attributes. */
#ifndef CPT_STUDY_PAIR_OPTIONS_H
#define CPT_STUDY_PAIR_OPTIONS_H

#include "study/study.h"

/* Out of the options of the group "attribution"; columns are borrowed from the study. stage_concepts.c */
cpt_status cpt_study_pair_options(cpt_study *s, cpt_pair_options *o, cpt_err *e);
cpt_status cpt_study_attribution_options(cpt_study *s, const cpt_model *model, cpt_attribution_options *o,
                                         cpt_err *e);

#endif

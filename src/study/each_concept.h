/* each_concept.h - a loop over concepts by all threads, with progress, stop and the first error. */
#ifndef CPT_STUDY_EACH_CONCEPT_H
#define CPT_STUDY_EACH_CONCEPT_H

#include "base/log.h"

/* Works on one concept; called by several threads at once, once per concept. */
typedef cpt_status cpt_concept_fn(void *data, int32_t concept, cpt_err *e);
cpt_status cpt_each_concept(int32_t n_concepts, const char *what, cpt_concept_fn *work, void *data,
                            const cpt_context *ctx, cpt_err *e);

#endif

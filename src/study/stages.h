/* stages.h - the list of stages: what each reads, which options it obeys, what it writes. */
#ifndef CPT_STUDY_STAGES_H
#define CPT_STUDY_STAGES_H

#include "study/study.h"

enum { CPT_STAGE_MAX_READS = 12, CPT_STAGE_MAX_OPTIONS = 24, CPT_STAGE_MAX_OUTPUTS = 16 };

enum {
    CPT_STAGE_SEED = 1, /* draws random numbers */
    CPT_STAGE_NOTES = 2 /* shows what experts said: runs again when that changes */
};

typedef struct cpt_stage {
    const char *name;
    cpt_status (*run)(cpt_study *s, cpt_err *e);
    int format;                               /* raised when the meaning of its outputs changes */
    unsigned depends;                         /* beside reads and options: CPT_STAGE_... */
    const char *reads[CPT_STAGE_MAX_READS];   /* earlier stages */
    const char *options[CPT_STAGE_MAX_OPTIONS];
    const char *outputs[CPT_STAGE_MAX_OUTPUTS]; /* files or folders that must be there afterwards */
} cpt_stage;

const cpt_stage *cpt_stage_list(size_t *n);
const cpt_stage *cpt_stage_find(const char *name); /* NULL when unknown */

#endif

/* manifest.h - inside this room: study.json, the options recorded in it, and what is dropped when a
 * stage has rewritten it. Everyone else uses study.h and stages.h. */
#ifndef CPT_STUDY_MANIFEST_H
#define CPT_STUDY_MANIFEST_H

#include "study/study.h"

enum { CPT_STUDY_PATH_LIMIT = 4096 };

/* ---- study.c ---- */
cpt_status cpt_manifest_write(cpt_study *s, cpt_err *e); /* atomically */

/* ---- study_options.c ---- */
bool cpt_option_names_a_file(const char *option);
json_t *cpt_options_json(const cpt_options *o); /* owned by the caller */
/* s->options: what is given now (NULL = nothing), else what the manifest recorded, else the default. */
cpt_status cpt_study_merge_options(cpt_study *s, const cpt_options *given, cpt_err *e);
/* After a run that failed: given options that no finished stage has used become again what they were
 * `before`. */
void cpt_study_forget_options(cpt_study *s, const cpt_options *given, const json_t *before);

/* ---- access.c ---- */
void cpt_study_drop_cells(cpt_study *s);  /* change with their own stage only */
void cpt_study_drop_loaded(cpt_study *s); /* everything else the accessors have opened */

#endif

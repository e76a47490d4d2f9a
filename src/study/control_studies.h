/* control_studies.h - the same pipeline on dictionaries in which there is nothing to find.
 *
 * STUDY/cache/controls/neurons and .../random are studies like any other: same cells, model and
 * embedding (links to the study's files), but the coordinates of the embedding, or random
 * directions, in place of the trained dictionary. Everything that reads a study reads them:
 * cpt_study_open, cpt_view_open. They are what blind review mixes in and what `evaluate --controls`
 * can compare with. */
#ifndef CPT_STUDY_CONTROL_STUDIES_H
#define CPT_STUDY_CONTROL_STUDIES_H

#include "study/study.h"

enum { CPT_CONTROL_KINDS = 2 };
extern const char *const cpt_control_kinds[CPT_CONTROL_KINDS]; /* "neurons", "random" */

/* Folder of a control study, whether or not it is there. */
cpt_status cpt_control_folder(const char *study, const char *kind, char *path, size_t capacity,
                              cpt_err *e);
/* Makes it, or brings it up to date, up to stage `last`. The study is open for work (locked) and
 * its stages up to "enrichment" are done. Nothing is computed when nothing has changed. */
cpt_status cpt_control_make(cpt_study *s, const char *kind, const char *last, cpt_err *e);

#endif

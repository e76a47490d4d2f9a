/* notes_study.h - what stages read of the notes. */
#ifndef CPT_STUDY_NOTES_STUDY_H
#define CPT_STUDY_NOTES_STUDY_H

#include "base/file.h"
#include "notes/notes.h"
#include "study/study.h"

/* The notes of an open study for reading; *out = NULL when there are none. Close them before the
 * study. */
cpt_status cpt_notes_of_study(cpt_study *s, cpt_notes **out, cpt_err *e);
/* What holds about the study's concepts; empty without notes. Free with cpt_notes_opinions_free. */
cpt_status cpt_study_opinions(cpt_study *s, cpt_notes_opinions *out, cpt_err *e);
/* Adds it to the key of a stage that shows it. Adds nothing when nobody has said anything. */
cpt_status cpt_study_hash_opinions(cpt_study *s, cpt_sha256 *h, cpt_err *e);

#endif

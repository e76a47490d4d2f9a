/* concept_keys.h - a short key that says which concept this is, whatever its number. */
#ifndef CPT_VIEW_CONCEPT_KEYS_H
#define CPT_VIEW_CONCEPT_KEYS_H

#include "notes/notes.h"
#include "study/study.h"

/* The keys of all concepts of a study, malloc'ed [*n]. Two concepts have the same key only if
 * embedding, decoder row and activations are the same; a run that gives the same bytes gives the
 * same keys. O(concepts x dim); the matrix of activations is not read as a whole. */
cpt_status cpt_study_concept_keys(cpt_study *s, int32_t *n, char (**keys)[CPT_NOTES_KEY + 1],
                                  cpt_err *e);

#endif

/* share.h - the files that come with the program: GO, its annotation, gene names. */
#ifndef CPT_STUDY_SHARE_H
#define CPT_STUDY_SHARE_H

#include "base/error.h"

/* Finds NAME in $CONCEPTOME_SHARE, beside the program (../share/conceptome, ../data, ../../data) or
 * in the folder the build was configured for. Error names the places. */
cpt_status cpt_share_path(const char *name, char *path, size_t capacity, cpt_err *e);

#endif

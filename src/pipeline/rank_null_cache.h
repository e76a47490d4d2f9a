/* rank_null_cache.h - the null that rankings share, kept in cache/ of a study between runs. */
#ifndef CPT_PIPELINE_RANK_NULL_CACHE_H
#define CPT_PIPELINE_RANK_NULL_CACHE_H

#include "enrich/rank_null.h"
#include "study/study.h"

/* Adds what was kept for the same genes and options. Files that are damaged are a warning, and nothing is taken: the
 * null is computed again, with the same numbers. */
void cpt_rank_null_load(const cpt_study *s, cpt_rank_null *x);
/* That it cannot be kept, on a full disk say, is a warning: only time is lost. */
void cpt_rank_null_save(const cpt_study *s, const cpt_rank_null *x);

#endif

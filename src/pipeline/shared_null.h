/* shared_null.h - --weights rank: one null for all concepts, kept in the study's cache. */
#ifndef CPT_PIPELINE_SHARED_NULL_H
#define CPT_PIPELINE_SHARED_NULL_H

#include "enrich/rank_null.h"
#include "pipeline/concept_rankings.h"
#include "study/genesets_open.h"

/* Asks about every ranking of every concept, loads or grows the null, and gives it to the engines [families->n].
 * *out = NULL unless the study's option says so; free it after the engines' last run. *summary: how many rankings
 * use it, and why the others do not; a new reference. */
cpt_status cpt_shared_null_open(cpt_study *s, const cpt_families *families, cpt_gsea_engine *const *engines,
                                const cpt_concept_rankings *rankings, const cpt_gsea_options *o, cpt_rank_null **out,
                                json_t **summary, cpt_err *e);

#endif

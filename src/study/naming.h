/* naming.h - which finding stands for a concept where there is room for one. */
#ifndef CPT_STUDY_NAMING_H
#define CPT_STUDY_NAMING_H

#include "enrich/strength.h"
#include "study/study.h"

/* How good a name a finding makes: GSEA before ORA, attribution before expression; then the stronger, as in the tables. */
typedef struct cpt_naming {
    int place;
    cpt_strength strength;
} cpt_naming;

/* false = it names nothing: q is not below 0.05, its term is depleted, another method found it, or it is a marker set.
 * nes: NaN where there is none. */
bool cpt_naming_of(const char *ranking, const char *method, bool marker, double q, double log10p, double nes,
                   double log2err, cpt_naming *out);
bool cpt_naming_beats(const cpt_naming *a, const cpt_naming *b);

/* Names of the collections that option "markers" brought; an empty list when there are none. json_decref it. */
cpt_status cpt_marker_collections(const cpt_study *s, json_t **names, cpt_err *e);
bool cpt_is_marker_collection(const json_t *names, const char *collection);

#endif

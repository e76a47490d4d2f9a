/* naming.h - which finding stands for a concept where there is room for one. */
#ifndef CPT_STUDY_NAMING_H
#define CPT_STUDY_NAMING_H

#include "study/study.h"

/* How good a name a finding makes: GSEA before ORA, attribution before expression; then the smaller p, the larger
 * |NES|. At the floor of p (no score by chance was as extreme) p says how many scores there were, which are more for
 * larger sets: floors that are as good as one are told apart by |NES|, as in the table (enrich/term_rows.c). */
typedef struct cpt_naming {
    int place;
    double log10p, nes;
    bool floor;
} cpt_naming;

bool cpt_at_floor(double log10p, double nes, double log2err);

/* false = it names nothing: q is not below 0.05, its term is depleted, another method found it, or it is a marker set.
 * nes: NaN where there is none. */
bool cpt_naming_of(const char *ranking, const char *method, bool marker, double q, double log10p, double nes,
                   double log2err, cpt_naming *out);
bool cpt_naming_beats(const cpt_naming *a, const cpt_naming *b);

/* Names of the collections that option "markers" brought; an empty list when there are none. json_decref it. */
cpt_status cpt_marker_collections(const cpt_study *s, json_t **names, cpt_err *e);
bool cpt_is_marker_collection(const json_t *names, const char *collection);

#endif

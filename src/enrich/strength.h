/* strength.h - which of two findings comes first: in tables, in plots, as the name of a concept. */
#ifndef CPT_ENRICH_STRENGTH_H
#define CPT_ENRICH_STRENGTH_H

#include <stdint.h>

/* The smaller p first, among equals the larger |NES|. At the floor of p (no score by chance was as extreme) p only says
 * how many scores had the sign, which are more for larger sets: floors of one power of ten are equals. Rows
 * without a p come last. A weak order: sorting and picking the best agree, in whatever order rows are met. */
typedef struct cpt_strength {
    double log10p; /* what is compared first: at the floor that of its power of ten */
    double nes;    /* absolute; 0 where there is none */
    double own;    /* log10 p as it is */
} cpt_strength;

/* nes, log2err: NaN where there is none. */
cpt_strength cpt_strength_of(double log10p, double nes, double log2err);
/* < 0: a first; 0: as good as each other. */
int cpt_strength_compare(cpt_strength a, cpt_strength b);
/* The same for sorting: never 0 for different sets. */
int cpt_strength_then_set(cpt_strength a, int32_t set_a, cpt_strength b, int32_t set_b);

#endif

/* set_family.h - building a cpt_genesets one set at a time. Private to ontology/. */
#ifndef CPT_ONTOLOGY_SET_FAMILY_H
#define CPT_ONTOLOGY_SET_FAMILY_H

#include "ontology/genesets.h"

/* Everything is copied by _add. genes: ascending, distinct. */
typedef struct cpt_set_member {
    const char *id, *name;
    const int32_t *genes;
    int32_t size, full_size, term;
    double ic;
} cpt_set_member;

typedef struct cpt_set_family {
    cpt_genesets *sets;
    int32_t min_size, max_size;
    size_t first_capacity, gene_capacity, full_capacity, ic_capacity, term_capacity;
} cpt_set_family;

cpt_status cpt_set_family_begin(cpt_set_family *f, const char *collection, int32_t n_universe,
                            int32_t min_size, int32_t max_size, cpt_err *e);
/* Sets outside the size limits are counted and left out. Ids must come in ascending order. */
cpt_status cpt_set_family_add(cpt_set_family *f, const cpt_set_member *s, cpt_err *e);
/* Counts identical lists and hands the family over. */
cpt_status cpt_set_family_finish(cpt_set_family *f, cpt_genesets **out, cpt_err *e);
void cpt_set_family_free(cpt_set_family *f);

#endif

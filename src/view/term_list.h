/* term_list.h - the terms of an index: numbered as they are met, known by collection and id. */
#ifndef CPT_VIEW_TERM_LIST_H
#define CPT_VIEW_TERM_LIST_H

#include "view/index_parts.h"

enum { CPT_TERM_COLLECTION, CPT_TERM_SIZE, CPT_TERM_IC, CPT_N_TERM_FACTS };

typedef struct cpt_term_list {
    cpt_strings ids, names, definitions, collections;
    char **keys;   /* [ids.n] "GO_BP\tGO:0006955": what `numbers` borrows */
    char **titles; /* [ids.n] a name learned after the id alone had been met; NULL = as in names */
    size_t key_capacity, title_capacity, number_capacity;
    cpt_index *numbers;
    double *facts; /* [ids.n][CPT_N_TERM_FACTS] size 0 = not tested, information content NaN = not of an ontology */
} cpt_term_list;

cpt_status cpt_term_list_make(cpt_term_list *t, cpt_err *e);
void cpt_term_list_free(cpt_term_list *t);

/* Number of a term; added when it is new. A name that is the id is none. */
cpt_status cpt_term_list_number(cpt_term_list *t, const char *collection, const char *id, const char *name,
                                const char *definition, int32_t *number, cpt_err *e);
/* terms.ids, .names, .definitions, .numbers of the index, and "collections" of its head. */
cpt_status cpt_term_list_put(cpt_index_job *job, const cpt_term_list *t, cpt_err *e);

/* Place of `name` in a short list; added when it is new. */
cpt_status cpt_name_number(cpt_strings *list, const char *name, int32_t *number, cpt_err *e);
/* The names of a list as JSON. */
json_t *cpt_names_json(const cpt_strings *list);

/* ---- what is put there ---- */

/* Sets, parents and genes of the families that were tested, and what the ontology knows of them (index_families.c). */
cpt_status cpt_index_families(cpt_index_job *job, cpt_term_list *t, cpt_err *e);
/* The enrichment table by concept, by term and by gene (index_rows.c). */
cpt_status cpt_index_rows(cpt_index_job *job, cpt_term_list *t, const char *path, cpt_err *e);

#endif

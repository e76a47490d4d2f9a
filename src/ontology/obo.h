/* obo.h - what an OBO file says, line by line, before it is checked as a graph. Private to ontology/. */
#ifndef CPT_ONTOLOGY_OBO_H
#define CPT_ONTOLOGY_OBO_H

#include "ontology/go.h"

enum { CPT_OBO_NONE = -1 };

/* Numbers of strings in cpt_obo.text; CPT_OBO_NONE when the stanza does not have the tag. */
typedef struct cpt_obo_term {
    int64_t line; /* of "[Term]" */
    int64_t id, name, definition;
    int64_t replaced_by; /* the only one; NONE when there are several */
    int32_t n_replaced_by;
    uint8_t aspect; /* cpt_go_aspect, or CPT_OBO_NO_ASPECT */
    bool obsolete;
} cpt_obo_term;
enum { CPT_OBO_NO_ASPECT = 255 };

/* A line that ties a term to another name: a parent or an alternative id. */
typedef struct cpt_obo_link {
    int32_t term; /* number in cpt_obo.terms */
    int64_t name; /* string: the parent's id, or the alternative id */
    int64_t line;
    uint8_t kind; /* parents: 0 = is_a, 1 = part_of */
} cpt_obo_link;

typedef struct cpt_obo {
    cpt_strings text;
    cpt_obo_term *terms; /* in file order, obsolete ones included */
    cpt_obo_link *parents, *alt_ids;
    int64_t n_terms, n_parents, n_alt_ids;
    size_t term_capacity, parent_capacity, alt_id_capacity;
    int64_t data_version; /* string or NONE */
} cpt_obo;

/* Refuses, with the line: stanzas without id, live terms without name or a GO namespace. */
cpt_status cpt_obo_read(const char *path, cpt_obo *out, cpt_err *e);
void cpt_obo_free(cpt_obo *o);

static inline const char *cpt_obo_text(const cpt_obo *o, int64_t string)
{
    return string == CPT_OBO_NONE ? "" : cpt_strings_get(&o->text, string);
}

#endif

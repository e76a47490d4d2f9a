/* set_walks.h - the running sums of all sets of a family on one ranking. */
#ifndef CPT_ENRICH_SET_WALKS_H
#define CPT_ENRICH_SET_WALKS_H

#include "enrich/enrich.h"
#include "enrich/ranking.h"
#include "math/columns.h"

/* What does not depend on the ranking. Sets of like size share a group of CPT_COLUMNS, whose members lie side by side:
 * those of one set are CPT_COLUMNS slots apart. Numbers have 16 bits where 65,535 genes at most allow it. */
typedef struct cpt_set_index {
    const cpt_genesets *sets; /* borrowed */
    int32_t *order;           /* [n_sets] by size: column c of group g holds set order[CPT_COLUMNS g + c] */
    int64_t *slot;            /* [n_sets] where the first member of a set lies */
    uint16_t *gene16;         /* [n_slots] genes; n_universe where a column has no more. NULL for wide numbers, then */
    int32_t *gene32;
    int64_t n_slots;
    int32_t largest;          /* size of the largest set */
} cpt_set_index;

/* Refuses sets whose genes are out of order or outside the universe. */
cpt_status cpt_set_index_make(const cpt_genesets *sets, cpt_set_index *out, cpt_err *e);
void cpt_set_index_free(cpt_set_index *x);

/* One set on one ranking. es = numerator / (total (n - size)); integers but for es. */
typedef struct cpt_walk {
    int32_t size;                     /* ranked members */
    int32_t first_leading, n_leading; /* the leading edge, as members in order */
    double numerator, total, es;      /* all 0 when none or all of the genes are members */
} cpt_walk;

typedef struct cpt_set_walks {
    uint16_t *position16; /* [n_slots] in the ranking, ascending in a set, then n; as gene16 and gene32 */
    int32_t *position32;
    cpt_walk *walks;      /* [n_sets] */
} cpt_set_walks;

static inline int32_t cpt_set_walks_position(const cpt_set_walks *w, int64_t slot)
{
    return w->position16 ? w->position16[slot] : w->position32[slot];
}

/* Single-threaded. */
cpt_status cpt_set_walks_make(const cpt_set_index *x, const cpt_ranking *r, cpt_score_type type,
                              cpt_set_walks *out, cpt_err *e);
void cpt_set_walks_free(cpt_set_walks *w);

#endif

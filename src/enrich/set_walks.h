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
    int32_t size, n_leading;          /* ranked members; those of the leading edge */
    int64_t leading;                  /* where it begins in cpt_set_walks.leading */
    double numerator, total, es;      /* all 0 when none or all of the genes are members */
} cpt_walk;

/* Zeroed at first. One that was used takes the next ranking of the same index into the same memory; `leading` may have
 * been taken away (and set to NULL) before. */
typedef struct cpt_set_walks {
    cpt_walk *walks;  /* [n_sets] */
    int32_t *leading; /* genes of all leading edges, each from its end of the ranking inwards */
    /* The position of every gene and, at n_universe, of none. Genes that are not ranked count as none: behind all. */
    uint16_t *of_gene16; /* [n_universe + 2], of_gene32 alike */
    int32_t *of_gene32;
    /* The group at hand stays in the first cache: its positions, the weights found there. */
    uint16_t *position16; /* [rows][CPT_COLUMNS] ascending in a column, then n; position32 alike */
    int32_t *position32;
    double *scratch; /* [rows][lanes of a walk] */
} cpt_set_walks;

/* Single-threaded. */
cpt_status cpt_set_walks_make(const cpt_set_index *x, const cpt_ranking *r, cpt_score_type type,
                              cpt_set_walks *w, cpt_err *e);
void cpt_set_walks_free(cpt_set_walks *w);

#endif

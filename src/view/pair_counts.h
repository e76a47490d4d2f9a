/* pair_counts.h - how many concepts a gene and a term have in common. */
#ifndef CPT_VIEW_PAIR_COUNTS_H
#define CPT_VIEW_PAIR_COUNTS_H

#include "base/error.h"

typedef struct cpt_pair_count {
    int32_t gene, term; /* gene -1 = free */
    int32_t concepts, last;
} cpt_pair_count;

/* Open addressing; {0} is empty. slots: free() them. */
typedef struct cpt_pair_counts {
    cpt_pair_count *slots;
    size_t capacity, used; /* capacity is a power of two */
} cpt_pair_counts;

/* Concepts come one after the other: each counts once for a pair. */
cpt_status cpt_pair_counts_add(cpt_pair_counts *p, int32_t gene, int32_t term, int32_t concept, cpt_err *e);
/* Moves the pairs to the front of `slots`, by gene, then by falling number of concepts, then by term; returns how many.
 * Nothing can be added afterwards. */
size_t cpt_pair_counts_sort(cpt_pair_counts *p);

#endif

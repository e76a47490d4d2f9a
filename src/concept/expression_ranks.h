/* expression_ranks.h - midranks of one gene over cells, most of them 0. Private to this room. */
#ifndef CPT_CONCEPT_EXPRESSION_RANKS_H
#define CPT_CONCEPT_EXPRESSION_RANKS_H

#include <stdint.h>

typedef struct cpt_ranked_value {
    double value;
    int64_t cell; /* position in the caller's list; tells equal values apart in the sort */
} cpt_ranked_value;

/* Midranks of n_zero zeros and the n values (> 0): ranks[values[i].cell] gets the rank of value i;
 * `values` is sorted. Returns the sum of t^3 - t over tie groups, the zeros included; the zeros' own rank
 * is (n_zero + 1) / 2. */
double cpt_rank_sparse(int64_t n_zero, int64_t n, cpt_ranked_value *values, double *ranks);

#endif

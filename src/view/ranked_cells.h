/* ranked_cells.h - two groups of cells compared by a concept's activation, which is 0 in most
 * cells. */
#ifndef CPT_VIEW_RANKED_CELLS_H
#define CPT_VIEW_RANKED_CELLS_H

#include <stdint.h>

typedef struct cpt_ranked_comparison {
    int64_t active_a, active_b;
    double sum_a, sum_b; /* of activations */
    double auroc; /* that a cell of a is above one of b, ties one half; NaN when a group is empty */
    double rank_sum, ties; /* of a; sum of t^3 - t: what cpt_rank_sum takes */
} cpt_ranked_comparison;

/* n cells with activation > 0 in order of falling activation. group[cell]: 0 = in none, 1 = a, 2 =
 * b; n_a, n_b: sizes of the groups, cells without activation included. One pass, exact. */
cpt_ranked_comparison cpt_ranked_compare(int64_t n, const int32_t *cells, const float *values,
                                         const uint8_t *group, int64_t n_a, int64_t n_b);

#endif

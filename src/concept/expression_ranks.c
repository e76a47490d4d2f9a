/* expression_ranks.c - ranks for the rank-sum test on sparse data.
 *
 * Problem: the rank-sum test needs ranks over all cells, but a gene is 0 in most of them.
 * Method: the zeros are one tie group at the bottom; only the rest is sorted.
 * Complexity: O(n log n) in the cells that express the gene. */
#include "concept/expression_ranks.h"

#include <stdlib.h>

static int by_value(const void *x, const void *y)
{
    const cpt_ranked_value *a = x, *b = y;
    if (a->value != b->value) return a->value < b->value ? -1 : 1;
    return (a->cell > b->cell) - (a->cell < b->cell);
}

static double tie_term(int64_t t)
{
    double n = (double)t;
    return n * n * n - n;
}

double cpt_rank_sparse(int64_t n_zero, int64_t n, cpt_ranked_value *values, double *ranks)
{
    double ties = tie_term(n_zero);
    qsort(values, (size_t)n, sizeof *values, by_value);
    for (int64_t from = 0, to; from < n; from = to) {
        for (to = from + 1; to < n && values[to].value == values[from].value;) to++;
        double rank = (double)n_zero + 0.5 * (double)(from + 1 + to);
        for (int64_t i = from; i < to; i++) ranks[values[i].cell] = rank;
        ties += tie_term(to - from);
    }
    return ties;
}

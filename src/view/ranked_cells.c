#include "view/ranked_cells.h"

#include <math.h>

/* Mann-Whitney's U from cells that are sorted already: walking down the activations, each cell of a
 * beats the cells of b that are still to come. Cells without activation are one tie group at the
 * bottom and enter by their number, so the cost is that of the active ones (19 million for 10,000
 * concepts in 300,000 cells: some 60 ms). */

static double tie_term(int64_t t)
{
    double n = (double)t;
    return n * n * n - n;
}

cpt_ranked_comparison cpt_ranked_compare(int64_t n, const int32_t *cells, const float *values,
                                         const uint8_t *group, int64_t n_a, int64_t n_b)
{
    cpt_ranked_comparison r = {0};
    int64_t twice_u = 0; /* 2 U: whole numbers, exact */
    for (int64_t from = 0, to; from < n; from = to) {
        int64_t a = 0, b = 0;
        for (to = from; to < n && values[to] == values[from]; to++) {
            a += group[cells[to]] == 1;
            b += group[cells[to]] == 2;
        }
        if (a + b == 0) continue;
        twice_u += a * (2 * (n_b - r.active_b - b) + b);
        if (a + b > 1) r.ties += tie_term(a + b);
        r.active_a += a;
        r.active_b += b;
        r.sum_a += (double)a * (double)values[from];
        r.sum_b += (double)b * (double)values[from];
    }
    int64_t rest_a = n_a - r.active_a, rest_b = n_b - r.active_b;
    twice_u += rest_a * rest_b;
    r.ties += tie_term(rest_a + rest_b);
    double u = 0.5 * (double)twice_u;
    r.auroc = n_a && n_b ? u / ((double)n_a * (double)n_b) : NAN;
    r.rank_sum = u + 0.5 * (double)n_a * ((double)n_a + 1);
    return r;
}

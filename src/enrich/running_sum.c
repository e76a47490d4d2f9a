/* running_sum.c - the curve of one set, for plots.
 *
 * Method     The sum just before and just after every member, and 0 at both ends: between members
 * it falls along a straight line, so these are all its corners. Complexity O(genes).
 */
#include "base/memory.h"
#include "enrich/enrich.h"
#include "enrich/ranking.h"

#include <stdlib.h>

static cpt_status draw_curve(const cpt_ranking *r, const cpt_genesets *sets, int32_t set,
                             int32_t **x, double **y, int32_t *n, cpt_err *e)
{
    cpt_status status = CPT_OK;
    uint8_t *member = NULL;
    double total = 0, sum = 0;
    int32_t m = 0, seen = 0, points = 0;
    CPT_TRY(cpt_alloc(&member, (size_t)r->n, 1, e));
    for (int64_t i = sets->first[set]; i < sets->first[set + 1]; i++) {
        int32_t at = r->position[sets->genes[i]];
        if (at < 0) continue;
        member[at] = 1;
        total += r->weight[at];
        m++;
    }
    CPT_TRY(cpt_alloc(x, 2 * (size_t)m + 2, sizeof **x, e));
    CPT_TRY(cpt_alloc(y, 2 * (size_t)m + 2, sizeof **y, e));
    double outside = r->n - m;
    (*x)[points++] = 0; /* y is 0 */
    for (int32_t at = 0; at < r->n; at++) {
        if (!member[at]) continue;
        double misses = outside > 0 ? (at - seen++) / outside : 0;
        (*x)[points] = at;
        (*y)[points++] = (total > 0 ? sum / total : (double)(seen - 1) / m) - misses;
        sum += r->weight[at];
        (*x)[points] = at + 1;
        (*y)[points++] = (total > 0 ? sum / total : (double)seen / m) - misses;
    }
    (*x)[points++] = r->n;
    *n = points;
done:
    free(member);
    return status;
}

cpt_status cpt_gsea_running_sum(const cpt_genesets *sets, const double *statistic, int32_t set,
                                double weight, int32_t **x, double **y, int32_t *n, cpt_err *e)
{
    cpt_status status = CPT_OK;
    cpt_ranking ranking = {0};
    *x = NULL;
    *y = NULL;
    *n = 0;
    if (set < 0 || set >= sets->n_sets)
        return cpt_fail(e, CPT_ERR_USAGE, "there is no gene set %d of %d", set, sets->n_sets);
    CPT_TRY(cpt_ranking_make(sets->n_universe, statistic, weight, &ranking, e));
    CPT_TRY(draw_curve(&ranking, sets, set, x, y, n, e));
done:
    cpt_ranking_free(&ranking);
    if (status) {
        free(*x);
        free(*y);
        *x = NULL;
        *y = NULL;
    }
    return status;
}

/* redundancy.c - one representative for each group of alike findings.
 *
 * Greedy, after REVIGO (Supek et al. 2011): pairs at least `cutoff` alike, most alike first; while both
 * are left, one absorbs the other. Who stays, first rule that decides:
 *   1. a pinned term;
 *   2. when the broader one has more than 5 % of the genes: the narrower one;
 *   3. the larger value, unless the two are within 10 %;
 *   4. parent and child: the child, when it has at least 75 % of the parent's genes; else the parent;
 *   5. the larger value; then the earlier finding.
 * An absorbed finding is shown under its representative, never deleted; chains are followed to the end.
 * REVIGO draws its last rule at random, we do not. O(n^2 log n) for the sorting of the pairs.
 */
#include "enrich/redundancy.h"

#include <math.h>
#include <stdlib.h>

#include "base/memory.h"

static const double BROAD = 0.05, NEARLY_EQUAL = 0.10, MOSTLY_THE_CHILD = 0.25;

typedef struct pair {
    double similarity;
    int32_t a, b; /* a < b */
} pair;

static int by_similarity(const void *x, const void *y)
{
    const pair *p = x, *q = y;
    if (p->similarity != q->similarity) return p->similarity > q->similarity ? -1 : 1;
    if (p->a != q->a) return p->a < q->a ? -1 : 1;
    return (p->b > q->b) - (p->b < q->b);
}

/* NaN is not alike. */
static cpt_status collect_pairs(int32_t n, const double *similarity, double cutoff, pair **pairs,
                                size_t *n_pairs, cpt_err *e)
{
    size_t capacity = 0;
    *n_pairs = 0;
    for (int32_t a = 0; a < n; a++)
        for (int32_t b = a + 1; b < n; b++) {
            double s = similarity[(int64_t)a * n + b];
            if (!(s >= cutoff)) continue;
            cpt_status status = cpt_grow(pairs, &capacity, *n_pairs + 1, sizeof **pairs, e);
            if (status) return status;
            (*pairs)[(*n_pairs)++] = (pair){s, a, b};
        }
    if (*n_pairs) qsort(*pairs, *n_pairs, sizeof **pairs, by_similarity);
    return CPT_OK;
}

/* What the rules need to see beside the two findings. */
typedef struct reducer {
    const cpt_go *go;
    int32_t n_universe;
    int32_t *stamp, *queue; /* [go->n_terms] each; stamp: last walk that came by */
    int32_t n_walks;
} reducer;

/* Breadth first from `low`, not below the level of `high`; every term once, whatever the number of paths. */
static bool is_above(reducer *r, int32_t high, int32_t low)
{
    const cpt_go *go = r->go;
    int32_t n = 0;
    r->n_walks++;
    r->stamp[low] = r->n_walks;
    r->queue[n++] = low;
    for (int32_t at = 0; at < n; at++) {
        int32_t t = r->queue[at];
        if (t == high) return true;
        for (int32_t i = go->parent_first[t]; i < go->parent_first[t + 1]; i++) {
            int32_t p = go->parents[i];
            if (r->stamp[p] == r->n_walks || go->level[p] < go->level[high]) continue;
            r->stamp[p] = r->n_walks;
            r->queue[n++] = p;
        }
    }
    return false;
}

/* Rule 4; 0 = does not decide, 1 = parent stays, -1 = child stays. */
static int between_parent_and_child(const cpt_finding *parent, const cpt_finding *child)
{
    if (parent->size <= 0) return 0;
    return (double)(parent->size - child->size) / parent->size < MOSTLY_THE_CHILD ? -1 : 1;
}

/* True when finding a stays and b is absorbed. */
static bool first_stays(reducer *r, const cpt_finding *a, const cpt_finding *b)
{
    if (a->pinned != b->pinned) return a->pinned;
    int32_t broader = a->size > b->size ? a->size : b->size;
    if (a->size != b->size && broader > BROAD * r->n_universe) return a->size < b->size;
    double difference = fabs(a->value - b->value), larger = fmax(a->value, b->value);
    if (difference > NEARLY_EQUAL * larger) return a->value > b->value;
    if (r->go && a->term >= 0 && b->term >= 0 && a->term != b->term) {
        int a_stays = is_above(r, a->term, b->term) ? between_parent_and_child(a, b)
                      : is_above(r, b->term, a->term) ? -between_parent_and_child(b, a) : 0;
        if (a_stays) return a_stays > 0;
    }
    return a->value >= b->value;
}

cpt_status cpt_reduce_findings(const cpt_go *go, int32_t n_universe, int32_t n, const cpt_finding *f,
                               const double *similarity, double cutoff, int32_t *representative,
                               double *dispensability, cpt_err *e)
{
    pair *pairs = NULL;
    size_t n_pairs;
    reducer r = {.go = go, .n_universe = n_universe};
    cpt_status status;
    if (!(cutoff > 0)) return cpt_fail(e, CPT_ERR_USAGE, "similarity cutoff %g: must be above 0", cutoff);
    CPT_TRY(cpt_alloc(&r.stamp, go ? (size_t)go->n_terms : 0, sizeof *r.stamp, e));
    CPT_TRY(cpt_alloc(&r.queue, go ? (size_t)go->n_terms : 0, sizeof *r.queue, e));
    CPT_TRY(collect_pairs(n, similarity, cutoff, &pairs, &n_pairs, e));
    for (int32_t i = 0; i < n; i++) {
        representative[i] = i;
        dispensability[i] = 0;
    }
    for (size_t k = 0; k < n_pairs; k++) {
        int32_t a = pairs[k].a, b = pairs[k].b;
        if (representative[a] != a || representative[b] != b) continue; /* one is absorbed already */
        bool keep_a = first_stays(&r, &f[a], &f[b]);
        representative[keep_a ? b : a] = keep_a ? a : b;
        dispensability[keep_a ? b : a] = pairs[k].similarity;
    }
    for (int32_t i = 0; i < n; i++) /* no rings: who is absorbed absorbs nobody afterwards */
        while (representative[i] != representative[representative[i]])
            representative[i] = representative[representative[i]];
done:
    free(pairs);
    free(r.stamp);
    free(r.queue);
    return status;
}

/* thin.c - an annotation with part of its direct annotations: what would be found if less were known?
 *
 * The unit is a pair of gene and term, whatever the number of rows behind it. The pairs are shuffled once
 * per seed and the first part is kept, so that shares of one seed are nested; then the true-path rule.
 * O(pairs + terms * genes in them).
 */
#include "ontology/go.h"

#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "base/random.h"
#include "ontology/true_path.h"

/* keep [n]: 1 for the first round(share n) pairs of a random order. */
static cpt_status choose(int64_t n, double share, uint64_t seed, uint8_t *keep, cpt_err *e)
{
    int64_t *order;
    cpt_stream stream;
    cpt_status status = cpt_alloc(&order, (size_t)n, sizeof *order, e);
    if (status) return status;
    for (int64_t i = 0; i < n; i++) order[i] = i;
    cpt_stream_init(&stream, seed, CPT_RANDOM_THIN, 0);
    cpt_stream_shuffle_i64(&stream, order, n);
    for (int64_t i = 0; i < llround(share * (double)n); i++) keep[order[i]] = 1;
    free(order);
    return CPT_OK;
}

cpt_status cpt_annotation_thin(const cpt_go *go, const cpt_annotation *a, double share, uint64_t seed,
                               cpt_annotation **out, cpt_err *e)
{
    cpt_annotation *t = NULL;
    uint8_t *keep = NULL;
    int64_t n = a->direct_first[a->n_universe], kept = 0;
    cpt_status status;
    *out = NULL;
    if (!(share >= 0 && share <= 1))
        return cpt_fail(e, CPT_ERR_USAGE, "a share of annotations must lie between 0 and 1, not %g", share);
    CPT_TRY(cpt_alloc(&t, 1, sizeof *t, e));
    t->n_terms = a->n_terms;
    t->n_universe = a->n_universe;
    CPT_TRY(cpt_alloc(&keep, (size_t)n, 1, e));
    CPT_TRY(choose(n, share, seed, keep, e));
    CPT_TRY(cpt_alloc(&t->direct_first, (size_t)t->n_universe + 1, sizeof *t->direct_first, e));
    CPT_TRY(cpt_alloc(&t->direct, (size_t)n, sizeof *t->direct, e));
    for (int32_t g = 0; g < t->n_universe; g++) {
        for (int64_t i = a->direct_first[g]; i < a->direct_first[g + 1]; i++)
            if (keep[i]) t->direct[kept++] = a->direct[i];
        t->direct_first[g + 1] = kept;
        t->n_annotated_genes += kept > t->direct_first[g];
    }
    CPT_TRY(cpt_true_path(go, t->n_universe, t->direct_first, t->direct, &t->first, &t->genes, e));
    *out = t;
    t = NULL;
done:
    cpt_annotation_free(t);
    free(keep);
    return status;
}

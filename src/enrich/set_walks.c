/* set_walks.c - enrichment scores of all sets on one ranking.
 *
 * Method     The genes, best first, are dealt to the sets that hold them, which gives every set its
 * sorted positions without a sort. Sets of like size lie side by side, eight to a group, so that
 * the walks of a group are one pass of a SIMD kernel (math/walk.h), which also says where the
 * extremes are: the leading edges. Complexity O(total size of the sets), about 3 ns per member, most
 * of it stores that miss the first cache: hence positions of 16 bits where they do.
 * Exactness  Integers in doubles, see walk.h.
 * Traps      Genes without a statistic leave the list, so sets may lose members: sizes are counted
 * per ranking. Sets whose weights are all 0 count every member as 1; the kernel does not know them
 * and they are walked alone.
 */
#include "enrich/set_walks.h"

#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "math/walk.h"

enum { LANES = CPT_WALK_LANES };

/* ---- the index ---- */

static cpt_status check_sets(const cpt_genesets *sets, cpt_err *e)
{
    for (int32_t s = 0; s < sets->n_sets; s++)
        for (int64_t i = sets->first[s]; i < sets->first[s + 1]; i++) {
            int32_t g = sets->genes[i];
            if (g < 0 || g >= sets->n_universe || (i > sets->first[s] && g <= sets->genes[i - 1]))
                return cpt_fail(e, CPT_ERR_INTERNAL,
                                "gene set %d holds gene number %d out of order or outside the "
                                "universe of %d genes",
                                s, g, sets->n_universe);
        }
    return CPT_OK;
}

/* Turns "genes of a set" into "sets of a gene". */
static cpt_status invert_sets(cpt_set_index *x, cpt_err *e)
{
    cpt_status status = CPT_OK;
    const cpt_genesets *sets = x->sets;
    int64_t *next = NULL, total = sets->n_sets ? sets->first[sets->n_sets] : 0;
    CPT_TRY(cpt_alloc(&x->first_set, (size_t)sets->n_universe + 1, sizeof *x->first_set, e));
    CPT_TRY(cpt_alloc(&x->set_of, (size_t)total, sizeof *x->set_of, e));
    CPT_TRY(cpt_alloc(&next, (size_t)sets->n_universe, sizeof *next, e));
    for (int64_t i = 0; i < total; i++) x->first_set[sets->genes[i] + 1]++;
    for (int32_t g = 0; g < sets->n_universe; g++) {
        x->first_set[g + 1] += x->first_set[g];
        next[g] = x->first_set[g];
    }
    for (int32_t s = 0; s < sets->n_sets; s++)
        for (int64_t i = sets->first[s]; i < sets->first[s + 1]; i++)
            x->set_of[next[sets->genes[i]]++] = s;
done:
    free(next);
    return status;
}

/* Orders the sets by size (counting sort: equal sizes stay in order) and gives every set its slots.
 */
static cpt_status lay_out(cpt_set_index *x, cpt_err *e)
{
    const cpt_genesets *sets = x->sets;
    int32_t n = sets->n_sets;
    int64_t *start = NULL;
    cpt_status status;
    for (int32_t s = 0; s < n; s++) {
        int64_t size = sets->first[s + 1] - sets->first[s];
        if (size > x->largest) x->largest = (int32_t)size;
    }
    CPT_TRY(cpt_alloc(&start, (size_t)x->largest + 2, sizeof *start, e));
    CPT_TRY(cpt_alloc(&x->order, (size_t)n, sizeof *x->order, e));
    CPT_TRY(cpt_alloc(&x->slot, (size_t)n, sizeof *x->slot, e));
    for (int32_t s = 0; s < n; s++) start[sets->first[s + 1] - sets->first[s] + 1]++;
    for (int32_t k = 0; k <= x->largest; k++) start[k + 1] += start[k];
    for (int32_t s = 0; s < n; s++) x->order[start[sets->first[s + 1] - sets->first[s]]++] = s;
    for (int32_t g = 0; g < n; g += LANES) {
        int32_t last = x->order[g + LANES < n ? g + LANES - 1 : n - 1];
        for (int32_t i = g; i < n && i < g + LANES; i++) x->slot[x->order[i]] = x->n_slots + i - g;
        x->n_slots += (sets->first[last + 1] - sets->first[last]) * LANES;
    }
    if (x->n_slots > INT32_MAX)
        status = cpt_fail(e, CPT_ERR_UNSUPPORTED,
                          "%d gene sets have too many members in all; test fewer at a time", n);
done:
    free(start);
    return status;
}

cpt_status cpt_set_index_make(const cpt_genesets *sets, cpt_set_index *x, cpt_err *e)
{
    *x = (cpt_set_index){.sets = sets};
    cpt_status status = check_sets(sets, e);
    if (status == CPT_OK) status = invert_sets(x, e);
    if (status == CPT_OK) status = lay_out(x, e);
    if (status) cpt_set_index_free(x);
    return status;
}

void cpt_set_index_free(cpt_set_index *x)
{
    free(x->first_set);
    free(x->set_of);
    free(x->order);
    free(x->slot);
    *x = (cpt_set_index){0};
}

/* ---- the walks ---- */

/* Extremes of a walk, and the members where they are met. */
typedef struct extremes {
    double top[LANES], bottom[LANES], top_at[LANES], bottom_at[LANES];
} extremes;

static void finish(cpt_walk *w, int32_t n, cpt_score_type type, const extremes *x, int lane)
{
    double high = x->top[lane], low = x->bottom[lane];
    bool up = type == CPT_SCORE_POS || (type == CPT_SCORE_STD && high > -low);
    bool down = type == CPT_SCORE_NEG || (type == CPT_SCORE_STD && high < -low);
    w->numerator = up ? high : down ? low : 0;
    w->es = w->numerator / (w->total * (n - w->size));
    if (w->numerator == 0) return;
    int32_t at = (int32_t)(up ? x->top_at[lane] : x->bottom_at[lane]);
    w->first_leading = up ? 0 : at;
    w->n_leading = up ? at + 1 : w->size - at;
}

/* A set whose weights are all 0: every member counts 1. */
static void walk_equals(const cpt_set_walks *all, int64_t slot, int32_t n, cpt_score_type type, cpt_walk *w)
{
    extremes x = {{0}, {0}, {0}, {0}};
    double outside = n - w->size;
    w->total = w->size;
    for (int32_t i = 0; i < w->size; i++) {
        int32_t position = cpt_set_walks_position(all, slot + (int64_t)i * LANES);
        double bottom = i * outside - (position - i) * w->total,
               top = bottom + outside;
        if (top > x.top[0]) x.top_at[0] = i, x.top[0] = top;
        if (bottom < x.bottom[0]) x.bottom_at[0] = i, x.bottom[0] = bottom;
    }
    finish(w, n, type, &x, 0);
}

/* Walks the sets order[at] .. order[at + n_lanes - 1]. */
static void walk_group(const cpt_set_index *index, const cpt_ranking *r, cpt_score_type type,
                       int32_t at, int32_t n_lanes, cpt_set_walks *w)
{
    _Alignas(64) double sizes[LANES] = {0}, totals[LANES];
    _Alignas(64) extremes x;
    const int32_t *set = index->order + at;
    int32_t n_steps = 0;
    for (int l = 0; l < n_lanes; l++) {
        int32_t size = w->walks[set[l]].size;
        if (size < r->n) sizes[l] = size;
        if (size < r->n && size > n_steps) n_steps = size;
    }
    const cpt_walk_kernels *kernels = cpt_walk_kernels_get();
    int64_t slot = index->slot[set[0]];
    if (w->position)
        kernels->subsets16(n_steps, w->position + slot, r->weight, r->n, sizes, totals, x.top, x.bottom, x.top_at,
                           x.bottom_at);
    else
        kernels->subsets(n_steps, w->position32 + slot, r->weight, r->n, sizes, totals, x.top, x.bottom, x.top_at,
                         x.bottom_at);
    for (int l = 0; l < n_lanes; l++) {
        cpt_walk *walk = &w->walks[set[l]];
        walk->total = totals[l];
        if (totals[l] > 0) finish(walk, r->n, type, &x, l);
        else if (sizes[l] > 0) walk_equals(w, index->slot[set[l]], r->n, type, walk);
    }
}

/* Deals the genes, best first, to their sets. */
static cpt_status deal(const cpt_set_index *index, const cpt_ranking *r, cpt_set_walks *w,
                       cpt_err *e)
{
    enum { AHEAD = 8 };
    int32_t n = index->sets->n_sets, *next;
    cpt_status status = cpt_alloc(&next, (size_t)n, sizeof *next, e);
    if (status) return status;
    for (int32_t s = 0; s < n; s++) next[s] = (int32_t)index->slot[s];
    for (int32_t at = 0; at < r->n; at++) {
        const int32_t *set = index->set_of + index->first_set[r->gene[at]];
        const int32_t *end = index->set_of + index->first_set[r->gene[at] + 1];
        if (at + AHEAD < r->n)
            __builtin_prefetch(index->set_of + index->first_set[r->gene[at + AHEAD]]);
        if (w->position)
            for (; set < end; set++) {
                w->position[next[*set]] = (uint16_t)at;
                next[*set] += LANES;
            }
        else
            for (; set < end; set++) {
                w->position32[next[*set]] = (uint32_t)at;
                next[*set] += LANES;
            }
    }
    for (int32_t s = 0; s < n; s++)
        w->walks[s].size = (int32_t)((next[s] - index->slot[s]) / LANES);
    free(next);
    return CPT_OK;
}

cpt_status cpt_set_walks_make(const cpt_set_index *index, const cpt_ranking *r, cpt_score_type type,
                              cpt_set_walks *out, cpt_err *e)
{
    int32_t n = index->sets->n_sets;
    cpt_status status;
    *out = (cpt_set_walks){0};
    if (r->n <= 1 << 16) CPT_TRY(cpt_alloc(&out->position, (size_t)index->n_slots, sizeof *out->position, e));
    else CPT_TRY(cpt_alloc(&out->position32, (size_t)index->n_slots, sizeof *out->position32, e));
    CPT_TRY(cpt_alloc(&out->walks, (size_t)n, sizeof *out->walks, e));
    CPT_TRY(deal(index, r, out, e));
    for (int32_t at = 0; at < n; at += LANES)
        walk_group(index, r, type, at, n - at < LANES ? n - at : LANES, out);
done:
    if (status) cpt_set_walks_free(out);
    return status;
}

void cpt_set_walks_free(cpt_set_walks *w)
{
    free(w->position);
    free(w->position32);
    free(w->walks);
    *w = (cpt_set_walks){0};
}

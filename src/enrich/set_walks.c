/* set_walks.c - enrichment scores of all sets on one ranking.
 *
 * Method     Sets of like size lie side by side, a group of 32 columns at a time. The positions of their
 *            members are looked up and every column is sorted by one network (math/columns.h); then the
 *            walks are SIMD lanes too (math/walk.h), which also say where the extremes are: the leading
 *            edges. A group stays in the first cache from the look-up to the end.
 * Complexity O(total size of the sets times log^2 of a size), about 2 ns per member. Dealing the genes,
 *            best first, to the sets that hold them needs no sort, but 2,500 streams of stores miss the
 *            first cache: 2.4 ns per member for the order alone.
 * Exactness  Integers in doubles, see walk.h.
 * Traps      Genes without a statistic leave the list, so sets may lose members: sizes are counted
 *            per ranking. Sets whose weights are all 0 count every member as 1; the kernel does not know
 *            them and they are walked alone.
 */
#include "enrich/set_walks.h"

#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "math/walk.h"

enum { COLUMNS = CPT_COLUMNS, LANES = CPT_WALK_LANES };

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

static int32_t size_of(const cpt_genesets *sets, int32_t s)
{
    return (int32_t)(sets->first[s + 1] - sets->first[s]);
}

/* Orders the sets by size (counting sort: equal sizes stay in order). */
static cpt_status order_sets(cpt_set_index *x, cpt_err *e)
{
    int32_t n = x->sets->n_sets, *start = NULL;
    cpt_status status;
    for (int32_t s = 0; s < n; s++)
        if (size_of(x->sets, s) > x->largest) x->largest = size_of(x->sets, s);
    CPT_TRY(cpt_alloc(&start, (size_t)x->largest + 2, sizeof *start, e));
    CPT_TRY(cpt_alloc(&x->order, (size_t)n, sizeof *x->order, e));
    for (int32_t s = 0; s < n; s++) start[size_of(x->sets, s) + 1]++;
    for (int32_t k = 0; k <= x->largest; k++) start[k + 1] += start[k];
    for (int32_t s = 0; s < n; s++) x->order[start[size_of(x->sets, s)]++] = s;
done:
    free(start);
    return status;
}

/* Rows of the group that begins with order[at]: of its largest set, in whole blocks. */
static int32_t n_rows(const cpt_set_index *x, int32_t at)
{
    int32_t n = x->sets->n_sets, last = x->order[at + COLUMNS < n ? at + COLUMNS - 1 : n - 1];
    return (size_of(x->sets, last) + CPT_COLUMN_BLOCK - 1) / CPT_COLUMN_BLOCK * CPT_COLUMN_BLOCK;
}

static cpt_status give_slots(cpt_set_index *x, cpt_err *e)
{
    int32_t n = x->sets->n_sets;
    cpt_status status = cpt_alloc(&x->slot, (size_t)n, sizeof *x->slot, e);
    for (int32_t g = 0; g < n && status == CPT_OK; g += COLUMNS) {
        for (int32_t i = g; i < n && i < g + COLUMNS; i++) x->slot[x->order[i]] = x->n_slots + i - g;
        x->n_slots += (int64_t)n_rows(x, g) * COLUMNS;
    }
    if (status == CPT_OK && x->n_slots > INT32_MAX)
        status = cpt_fail(e, CPT_ERR_UNSUPPORTED,
                          "%d gene sets have too many members in all; test fewer at a time", n);
    return status;
}

static cpt_status lay_out(cpt_set_index *x, cpt_err *e)
{
    const cpt_genesets *sets = x->sets;
    bool wide = sets->n_universe > UINT16_MAX;
    cpt_status status = wide ? cpt_alloc(&x->gene32, (size_t)x->n_slots, sizeof *x->gene32, e)
                             : cpt_alloc(&x->gene16, (size_t)x->n_slots, sizeof *x->gene16, e);
    if (status) return status;
    for (int64_t i = 0; i < x->n_slots; i++)
        if (wide) x->gene32[i] = sets->n_universe;
        else x->gene16[i] = (uint16_t)sets->n_universe;
    for (int32_t s = 0; s < sets->n_sets; s++) {
        int64_t slot = x->slot[s];
        for (int64_t i = sets->first[s]; i < sets->first[s + 1]; i++, slot += COLUMNS)
            if (wide) x->gene32[slot] = sets->genes[i];
            else x->gene16[slot] = (uint16_t)sets->genes[i];
    }
    return CPT_OK;
}

cpt_status cpt_set_index_make(const cpt_genesets *sets, cpt_set_index *x, cpt_err *e)
{
    *x = (cpt_set_index){.sets = sets};
    cpt_status status = check_sets(sets, e);
    if (status == CPT_OK) status = order_sets(x, e);
    if (status == CPT_OK) status = give_slots(x, e);
    if (status == CPT_OK) status = lay_out(x, e);
    if (status) cpt_set_index_free(x);
    return status;
}

void cpt_set_index_free(cpt_set_index *x)
{
    free(x->order);
    free(x->slot);
    free(x->gene16);
    free(x->gene32);
    *x = (cpt_set_index){0};
}

/* ---- positions ---- */

/* The position of every gene and, at n_universe, of none. Genes that are not ranked count as none: behind all. */
typedef struct table {
    uint16_t *at16; /* [n_universe + 1] */
    int32_t *at32;
} table;

static cpt_status table_make(const cpt_set_index *x, const cpt_ranking *r, table *t, cpt_err *e)
{
    int32_t n = x->sets->n_universe;
    cpt_status status = x->gene16 ? cpt_alloc(&t->at16, (size_t)n + 1, sizeof *t->at16, e)
                                  : cpt_alloc(&t->at32, (size_t)n + 1, sizeof *t->at32, e);
    if (status) return status;
    for (int32_t g = 0; g <= n; g++) {
        int32_t at = g < n && r->position[g] >= 0 ? r->position[g] : r->n;
        if (t->at16) t->at16[g] = (uint16_t)at;
        else t->at32[g] = at;
    }
    return CPT_OK;
}

/* Sorted positions of a group. */
static void find_positions(const cpt_set_index *x, const table *t, int64_t slot, int32_t rows, cpt_set_walks *w)
{
    const cpt_column_kernels *kernels = cpt_column_kernels_get();
    int64_t end = slot + (int64_t)rows * COLUMNS;
    if (t->at16) {
        for (int64_t i = slot; i < end; i++) w->position16[i] = t->at16[x->gene16[i]];
        kernels->sort16(rows, w->position16 + slot);
    } else {
        for (int64_t i = slot; i < end; i++) w->position32[i] = t->at32[x->gene32[i]];
        kernels->sort32(rows, w->position32 + slot);
    }
}

/* How many of `most` members are ranked. */
static int32_t count_ranked(const cpt_set_walks *w, int64_t slot, int32_t most, int32_t n)
{
    int32_t low = 0, high = most;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (cpt_set_walks_position(w, slot + (int64_t)middle * COLUMNS) < n) low = middle + 1;
        else high = middle;
    }
    return low;
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
        int32_t position = cpt_set_walks_position(all, slot + (int64_t)i * COLUMNS);
        double bottom = i * outside - (position - i) * w->total,
               top = bottom + outside;
        if (top > x.top[0]) x.top_at[0] = i, x.top[0] = top;
        if (bottom < x.bottom[0]) x.bottom_at[0] = i, x.bottom[0] = bottom;
    }
    finish(w, n, type, &x, 0);
}

/* The kernel's view: integers but for a factor that all weights have in common. */
static void run_kernel(const cpt_ranking *r, int64_t slot, int32_t n_steps, const double *sizes, double *scratch,
                       const cpt_set_walks *w, double *totals, extremes *x)
{
    const cpt_walk_kernels *k = cpt_walk_kernels_get();
    const uint16_t *at16 = w->position16 ? w->position16 + slot : NULL;
    const int32_t *at32 = w->position32 ? w->position32 + slot : NULL;
    if (r->unit > 0) {
        if (at16) k->ranked16(n_steps, at16, r->n, sizes, totals, x->top, x->bottom, x->top_at, x->bottom_at);
        else k->ranked32(n_steps, at32, r->n, sizes, totals, x->top, x->bottom, x->top_at, x->bottom_at);
        for (int l = 0; l < LANES; l++) totals[l] *= r->unit, x->top[l] *= r->unit, x->bottom[l] *= r->unit;
    } else if (at16) {
        k->subsets16(n_steps, at16, r->weight, r->n, sizes, scratch, totals, x->top, x->bottom, x->top_at,
                     x->bottom_at);
    } else {
        k->subsets32(n_steps, at32, r->weight, r->n, sizes, scratch, totals, x->top, x->bottom, x->top_at,
                     x->bottom_at);
    }
}

/* Walks LANES sets, or those of order[at] .. that there are. */
static void walk_lanes(const cpt_set_index *index, const cpt_ranking *r, cpt_score_type type, int32_t at,
                       int32_t n_lanes, double *scratch, cpt_set_walks *w)
{
    _Alignas(64) double sizes[LANES] = {0}, totals[LANES];
    _Alignas(64) extremes x;
    const int32_t *set = index->order + at;
    int32_t n_steps = 0;
    int64_t slot = index->slot[set[0]];
    for (int l = 0; l < n_lanes; l++) {
        sizes[l] = w->walks[set[l]].size;
        if (sizes[l] > n_steps) n_steps = w->walks[set[l]].size;
    }
    run_kernel(r, slot, n_steps, sizes, scratch, w, totals, &x);
    for (int l = 0; l < n_lanes; l++) {
        cpt_walk *walk = &w->walks[set[l]];
        if (walk->size == 0 || walk->size == r->n) continue; /* none or all: no walk */
        walk->total = totals[l];
        if (totals[l] > 0) finish(walk, r->n, type, &x, l);
        else walk_equals(w, slot + l, r->n, type, walk);
    }
}

/* The sets order[at] .. order[at + n - 1]. */
static void walk_group(const cpt_set_index *index, const cpt_ranking *r, const table *t, cpt_score_type type,
                       int32_t at, int32_t n, double *scratch, cpt_set_walks *w)
{
    const int32_t *set = index->order + at;
    int64_t slot = index->slot[set[0]];
    find_positions(index, t, slot, n_rows(index, at), w);
    for (int32_t c = 0; c < n; c++) {
        int32_t size = size_of(index->sets, set[c]);
        w->walks[set[c]].size = r->n < index->sets->n_universe ? count_ranked(w, slot + c, size, r->n) : size;
    }
    for (int32_t c = 0; c < n; c += LANES)
        walk_lanes(index, r, type, at + c, n - c < LANES ? n - c : LANES, scratch, w);
}

cpt_status cpt_set_walks_make(const cpt_set_index *index, const cpt_ranking *r, cpt_score_type type,
                              cpt_set_walks *out, cpt_err *e)
{
    int32_t n = index->sets->n_sets;
    table t = {0};
    double *scratch = NULL;
    cpt_status status;
    *out = (cpt_set_walks){0};
    if (index->gene16) CPT_TRY(cpt_alloc(&out->position16, (size_t)index->n_slots, sizeof *out->position16, e));
    else CPT_TRY(cpt_alloc(&out->position32, (size_t)index->n_slots, sizeof *out->position32, e));
    CPT_TRY(cpt_alloc(&out->walks, (size_t)n, sizeof *out->walks, e));
    CPT_TRY(cpt_alloc(&scratch, (size_t)index->largest * LANES, sizeof *scratch, e));
    CPT_TRY(table_make(index, r, &t, e));
    for (int32_t at = 0; at < n; at += COLUMNS)
        walk_group(index, r, &t, type, at, n - at < COLUMNS ? n - at : COLUMNS, scratch, out);
done:
    free(t.at16);
    free(t.at32);
    free(scratch);
    if (status) cpt_set_walks_free(out);
    return status;
}

void cpt_set_walks_free(cpt_set_walks *w)
{
    free(w->position16);
    free(w->position32);
    free(w->walks);
    *w = (cpt_set_walks){0};
}

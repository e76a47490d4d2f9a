/* set_walks.c - enrichment scores of all sets on one ranking.
 *
 * Method     Sets of like size lie side by side, a group of 32 columns at a time. The positions of their
 *            members are looked up and every column is sorted by one network (math/columns.h); then the
 *            walks are SIMD lanes too (math/walk.h), which also say where the extremes are: the leading
 *            edges. A group stays in the first cache from the look-up to the end.
 * Complexity O(total size of the sets times log^2 of a size), about 1.5 ns per member. Dealing the genes,
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

/* ---- what one ranking is walked with ---- */

typedef struct bench {
    const cpt_set_index *index;
    const cpt_ranking *ranking;
    cpt_score_type type;
    cpt_set_walks *out;
    const cpt_column_kernels *columns;
    const cpt_walk_kernels *kernels;
} bench;

/* Of walks that were not used yet. */
static cpt_status make_room(const cpt_set_index *x, cpt_set_walks *w, cpt_err *e)
{
    size_t n = (size_t)x->sets->n_universe + 2, rows = (size_t)x->largest + CPT_COLUMN_BLOCK;
    cpt_status status;
    if (x->gene16) {
        CPT_TRY(cpt_alloc(&w->of_gene16, n, sizeof *w->of_gene16, e));
        CPT_TRY(cpt_alloc(&w->position16, rows * COLUMNS, sizeof *w->position16, e));
    } else {
        CPT_TRY(cpt_alloc(&w->of_gene32, n, sizeof *w->of_gene32, e));
        CPT_TRY(cpt_alloc(&w->position32, rows * COLUMNS, sizeof *w->position32, e));
    }
    CPT_TRY(cpt_alloc(&w->scratch, rows * LANES, sizeof *w->scratch, e));
    status = cpt_alloc(&w->walks, (size_t)x->sets->n_sets, sizeof *w->walks, e);
done:
    return status;
}

static void place_genes(const bench *b)
{
    int32_t n = b->index->sets->n_universe, none = b->ranking->n;
    const int32_t *position = b->ranking->position;
    uint16_t *narrow = b->out->of_gene16;
    int32_t *wide = b->out->of_gene32;
    for (int32_t g = 0; g < n && narrow; g++) narrow[g] = (uint16_t)(position[g] >= 0 ? position[g] : none);
    for (int32_t g = 0; g < n && wide; g++) wide[g] = position[g] >= 0 ? position[g] : none;
    if (narrow) narrow[n] = (uint16_t)none;
    else wide[n] = none;
}

static int32_t position_at(const bench *b, int32_t column, int32_t i)
{
    size_t at = (size_t)i * COLUMNS + (size_t)column;
    return b->out->position16 ? b->out->position16[at] : b->out->position32[at];
}

/* Sorted positions of the group whose members begin at `slot`. */
static void find_positions(const bench *b, int64_t slot, int32_t rows)
{
    cpt_set_walks *w = b->out;
    if (w->position16) {
        b->columns->look_up16(rows, b->index->gene16 + slot, w->of_gene16, w->position16);
        b->columns->sort16(rows, w->position16);
    } else {
        const int32_t *gene = b->index->gene32 + slot;
        for (int32_t i = 0; i < rows * COLUMNS; i++) w->position32[i] = w->of_gene32[gene[i]];
        b->columns->sort32(rows, w->position32);
    }
}

/* How many of `most` members are ranked. */
static int32_t count_ranked(const bench *b, int32_t column, int32_t most)
{
    int32_t low = 0, high = most;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (position_at(b, column, middle) < b->ranking->n) low = middle + 1;
        else high = middle;
    }
    return low;
}

/* ---- the walks ---- */

/* Extremes of a walk, and the members where they are met. */
typedef struct extremes {
    double top[LANES], bottom[LANES], top_at[LANES], bottom_at[LANES];
} extremes;

/* Score and leading edge of one set, from the end of the list inwards; the edge goes to the end of `out`'s. */
static void finish(const bench *b, int32_t column, const extremes *x, int lane, cpt_walk *w, int64_t *n_leading)
{
    w->numerator = cpt_score_extreme(b->type, x->top[lane], x->bottom[lane]);
    w->es = w->numerator / (w->total * (b->ranking->n - w->size));
    w->leading = *n_leading;
    if (w->numerator == 0) return;
    bool up = w->numerator > 0;
    int32_t at = (int32_t)(up ? x->top_at[lane] : x->bottom_at[lane]);
    int32_t n_members = up ? at + 1 : w->size - at, i = up ? 0 : w->size - 1, step = up ? 1 : -1;
    int32_t *leading = b->out->leading + *n_leading;
#pragma GCC unroll 4
    for (int32_t k = 0; k < n_members; k++, i += step) leading[k] = b->ranking->gene[position_at(b, column, i)];
    w->n_leading = n_members;
    *n_leading += n_members;
}

/* A set whose weights are all 0: every member counts 1. */
static void find_equals(const bench *b, int32_t column, cpt_walk *w, int lane, extremes *x)
{
    double outside = b->ranking->n - w->size;
    w->total = w->size;
    x->top[lane] = x->bottom[lane] = x->top_at[lane] = x->bottom_at[lane] = 0;
    for (int32_t i = 0; i < w->size; i++) {
        double bottom = i * outside - (position_at(b, column, i) - i) * w->total, top = bottom + outside;
        if (top > x->top[lane]) x->top_at[lane] = i, x->top[lane] = top;
        if (bottom < x->bottom[lane]) x->bottom_at[lane] = i, x->bottom[lane] = bottom;
    }
}

/* The kernel's view: integers but for a factor that all weights have in common. `totals` are given where weights are
 * ranks, else found. */
static void run_kernel(const bench *b, int32_t column, int32_t n_steps, const double *sizes, double *totals,
                       extremes *x)
{
    const cpt_walk_kernels *k = b->kernels;
    const cpt_ranking *r = b->ranking;
    const uint16_t *at16 = b->out->position16 ? b->out->position16 + column : NULL;
    const int32_t *at32 = b->out->position32 ? b->out->position32 + column : NULL;
    if (r->unit > 0) {
        if (at16) k->ranked16(n_steps, at16, r->n, sizes, totals, x->top, x->bottom, x->top_at, x->bottom_at);
        else k->ranked32(n_steps, at32, r->n, sizes, totals, x->top, x->bottom, x->top_at, x->bottom_at);
        for (int l = 0; l < LANES; l++) totals[l] *= r->unit, x->top[l] *= r->unit, x->bottom[l] *= r->unit;
    } else if (at16) {
        k->subsets16(n_steps, at16, r->weight, r->n, sizes, b->out->scratch, totals, x->top, x->bottom, x->top_at,
                     x->bottom_at);
    } else {
        k->subsets32(n_steps, at32, r->weight, r->n, sizes, b->out->scratch, totals, x->top, x->bottom, x->top_at,
                     x->bottom_at);
    }
}

/* LANES sets from `column` on, or those that there are. */
static void walk_lanes(const bench *b, const int32_t *set, int32_t column, int32_t n_lanes, const double *sizes,
                       double *totals, int64_t *n_leading)
{
    _Alignas(64) extremes x;
    double n_steps = 0;
    for (int l = 0; l < n_lanes; l++) n_steps = sizes[l] > n_steps ? sizes[l] : n_steps;
    run_kernel(b, column, (int32_t)n_steps, sizes, totals, &x);
    for (int l = 0; l < n_lanes; l++) {
        cpt_walk *w = &b->out->walks[set[l]];
        *w = (cpt_walk){.size = (int32_t)sizes[l]};
        if (w->size == 0 || w->size == b->ranking->n) continue; /* none or all: no walk */
        w->total = totals[l];
        if (!(totals[l] > 0)) find_equals(b, column + l, w, l, &x);
        finish(b, column + l, &x, l, w, n_leading);
    }
}

/* The sets order[at] .. order[at + n - 1]. */
static void walk_group(const bench *b, int32_t at, int32_t n, int64_t *n_leading)
{
    const cpt_set_index *index = b->index;
    const cpt_ranking *r = b->ranking;
    const int32_t *set = index->order + at, rows = n_rows(index, at);
    _Alignas(64) double sizes[COLUMNS] = {0}, totals[COLUMNS];
    find_positions(b, index->slot[set[0]], rows);
    for (int32_t c = 0; c < n; c++) {
        int32_t size = size_of(index->sets, set[c]);
        sizes[c] = r->n < index->sets->n_universe ? count_ranked(b, c, size) : size;
    }
    if (r->unit > 0 && b->out->position16) b->kernels->rank_sums16(rows, b->out->position16, r->n, sizes, totals);
    else if (r->unit > 0) b->kernels->rank_sums32(rows, b->out->position32, r->n, sizes, totals);
    for (int32_t c = 0; c < n; c += LANES)
        walk_lanes(b, set + c, c, n - c < LANES ? n - c : LANES, sizes + c, totals + c, n_leading);
}

cpt_status cpt_set_walks_make(const cpt_set_index *index, const cpt_ranking *r, cpt_score_type type,
                              cpt_set_walks *out, cpt_err *e)
{
    int32_t n = index->sets->n_sets;
    int64_t n_leading = 0;
    const bench b = {index, r, type, out, cpt_column_kernels_get(), cpt_walk_kernels_get()};
    cpt_status status = CPT_OK;
    if (!out->walks) CPT_TRY(make_room(index, out, e));
    if (!out->leading) /* more than needed: not zeroed */
        out->leading = malloc(((size_t)index->n_slots + 1) * sizeof *out->leading);
    if (!out->leading) CPT_TRY(cpt_fail(e, CPT_ERR_MEMORY, "out of memory for the leading edges of %d sets", n));
    place_genes(&b);
    for (int32_t at = 0; at < n; at += COLUMNS) walk_group(&b, at, n - at < COLUMNS ? n - at : COLUMNS, &n_leading);
done:
    if (status) cpt_set_walks_free(out);
    return status;
}

void cpt_set_walks_free(cpt_set_walks *w)
{
    free(w->walks);
    free(w->leading);
    free(w->of_gene16);
    free(w->of_gene32);
    free(w->position16);
    free(w->position32);
    free(w->scratch);
    *w = (cpt_set_walks){0};
}

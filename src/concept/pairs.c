/* pairs.c - prototypes of every concept and their counterfactuals (method.md 3).
 *
 * Problem: cells that show a concept best, each beside the most similar cell that does not show it.
 * Method: prototypes by activation (or spread over its ranks, or over donors); counterfactuals by the
 * exact search of pairs_search.c over all concepts at once.
 * Traps: a cell that barely activates the concept is no prototype: everything is divided by its
 * activation, and one divisor near 0 would outweigh all other pairs. A concept that no usable cell leaves inactive has no counterfactual; the nearest of its least
 * active cells serve instead and the concept is flagged. Two equal activations are told apart by cell
 * number, or the choice would depend on the sort. Cells with a NaN embedding activate nothing and must
 * not pass for "inactive". */
#include "concept/pairs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "concept/pairs_search.h"
#include "math/neighbours.h"

/* Least active cells that serve a concept without inactive cells: this share of its cells. */
static const double LOW_SHARE = 0.01;
/* The median distance to the nearest neighbour is taken over at most so many cells. */
enum { NEIGHBOUR_SAMPLE = 2000 };

void cpt_pair_options_init(cpt_pair_options *o)
{
    *o = (cpt_pair_options){.n_prototypes = 32, .n_counterfactuals = 1, .min_share = 0.1,
                            .choice = CPT_PROTOTYPES_TOP};
}

/* An active cell on its way to becoming a prototype. */
typedef struct candidate {
    float activation;
    int32_t round; /* SPREAD: how many stronger cells its category has */
    int64_t cell;
} candidate;

static int by_activation(const void *x, const void *y)
{
    const candidate *a = x, *b = y;
    if (a->activation != b->activation) return a->activation > b->activation ? -1 : 1;
    return (a->cell > b->cell) - (a->cell < b->cell);
}

static int by_round(const void *x, const void *y)
{
    const candidate *a = x, *b = y;
    return a->round != b->round ? (a->round < b->round ? -1 : 1) : by_activation(x, y);
}

/* Round robin over categories; cells without one form a category of their own. */
static cpt_status deal_rounds(candidate *list, int64_t n, const cpt_column *spread, cpt_err *e)
{
    int32_t *seen;
    cpt_status status = cpt_alloc(&seen, (size_t)spread->categories.n + 1, sizeof *seen, e);
    if (status != CPT_OK) return status;
    for (int64_t i = 0; i < n; i++) list[i].round = seen[spread->codes[list[i].cell] + 1]++;
    free(seen);
    qsort(list, (size_t)n, sizeof *list, by_round);
    return CPT_OK;
}

/* Prototypes of one concept into cells [<= n_prototypes]; `list` has room for its active cells. */
static cpt_status choose_prototypes(const cpt_activations *u, int32_t concept, const cpt_pair_options *o,
                                    candidate *list, int64_t *cells, int32_t *n_chosen, cpt_err *e)
{
    const cpt_csr *m = &u->by_concept;
    int64_t from = m->indptr[concept], n = m->indptr[concept + 1] - from;
    for (int64_t i = 0; i < n; i++)
        list[i] = (candidate){m->values[from + i], 0, m->indices[from + i]};
    qsort(list, (size_t)n, sizeof *list, by_activation);
    while (n > 0 && list[n - 1].activation < o->min_share * list[0].activation) n--;
    if (o->choice == CPT_PROTOTYPES_SPREAD) {
        cpt_status status = deal_rounds(list, n, o->spread, e);
        if (status != CPT_OK) return status;
    }
    int64_t take = n < o->n_prototypes ? n : o->n_prototypes;
    for (int64_t i = 0; i < take; i++)
        cells[i] = list[o->choice == CPT_PROTOTYPES_QUANTILES ? i * n / take : i].cell;
    *n_chosen = (int32_t)take;
    return CPT_OK;
}

/* ---- concepts that every usable cell activates ---- */

static int by_activation_ascending(const void *x, const void *y)
{
    const candidate *a = x, *b = y;
    if (a->activation != b->activation) return a->activation < b->activation ? -1 : 1;
    return (a->cell > b->cell) - (a->cell < b->cell);
}

/* Counterfactuals among the least active hundredth of the cells (at least m of them); a prototype is
 * never paired with a cell that activates the concept as much as itself. */
static void search_low(const cpt_activations *u, const float *a, int32_t dim, const cpt_pair_options *o,
                       int32_t concept, candidate *list, int64_t n_queries, const int64_t *cells,
                       const float *activation, cpt_near_list *lists)
{
    const cpt_csr *m = &u->by_concept;
    int64_t from = m->indptr[concept], n = m->indptr[concept + 1] - from;
    int64_t n_low = (int64_t)ceil(LOW_SHARE * (double)n);
    if (n_low < o->n_counterfactuals) n_low = o->n_counterfactuals;
    if (n_low > n) n_low = n;
    for (int64_t i = 0; i < n; i++)
        list[i] = (candidate){m->values[from + i], 0, m->indices[from + i]};
    qsort(list, (size_t)n, sizeof *list, by_activation_ascending);
    for (int64_t q = 0; q < n_queries; q++)
        for (int64_t i = 0; i < n_low && list[i].activation < activation[q]; i++) {
            int64_t cell = list[i].cell;
            if (o->match && (o->match->codes[cells[q]] < 0 ||
                             o->match->codes[cells[q]] != o->match->codes[cell]))
                continue;
            double d2 = cpt_distance2(a + cells[q] * dim, a + cell * dim, dim);
            cpt_near_insert(&lists[q], (cpt_near){cell, d2});
        }
}

/* ---- all concepts ---- */

typedef struct finder {
    const cpt_activations *u;
    const cpt_pair_options *o;
    int64_t n_queries;
    int64_t *first;      /* [n_concepts + 1] queries of each concept */
    int64_t *cells;      /* [n_queries] */
    int32_t *concepts;   /* [n_queries] */
    float *activation;   /* [n_queries] */
    cpt_near *found;     /* [n_queries][m] */
    cpt_near_list *lists;
    candidate *list;     /* [largest concept] */
} finder;

static void finder_free(finder *f)
{
    free(f->first);
    free(f->cells);
    free(f->concepts);
    free(f->activation);
    free(f->found);
    free(f->lists);
    free(f->list);
}

static cpt_status finder_make(finder *f, cpt_err *e)
{
    const cpt_csr *m = &f->u->by_concept;
    int64_t largest = 0, n = 0, counterfactuals = f->o->n_counterfactuals;
    cpt_status status;
    for (int32_t c = 0; c < f->u->n_concepts; c++) {
        int64_t size = m->indptr[c + 1] - m->indptr[c];
        if (size > largest) largest = size;
        n += size < f->o->n_prototypes ? size : f->o->n_prototypes;
    }
    CPT_TRY(cpt_alloc(&f->first, (size_t)f->u->n_concepts + 1, sizeof *f->first, e));
    CPT_TRY(cpt_alloc(&f->cells, (size_t)n, sizeof *f->cells, e));
    CPT_TRY(cpt_alloc(&f->concepts, (size_t)n, sizeof *f->concepts, e));
    CPT_TRY(cpt_alloc(&f->activation, (size_t)n, sizeof *f->activation, e));
    CPT_TRY(cpt_alloc(&f->found, (size_t)n * (size_t)counterfactuals, sizeof *f->found, e));
    CPT_TRY(cpt_alloc(&f->lists, (size_t)n, sizeof *f->lists, e));
    CPT_TRY(cpt_alloc(&f->list, (size_t)largest, sizeof *f->list, e));
    for (int64_t q = 0; q < n; q++)
        f->lists[q] = (cpt_near_list){0, f->o->n_counterfactuals, f->found + q * counterfactuals};
done:
    return status;
}

static float activation_of(const cpt_activations *u, int32_t concept, int64_t cell)
{
    const cpt_csr *m = &u->by_concept;
    int64_t low = m->indptr[concept], high = m->indptr[concept + 1];
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (m->indices[middle] < cell) low = middle + 1;
        else high = middle;
    }
    return low < m->indptr[concept + 1] && m->indices[low] == cell ? m->values[low] : 0;
}

static cpt_status choose_all(finder *f, cpt_err *e)
{
    cpt_status status = CPT_OK;
    for (int32_t c = 0; c < f->u->n_concepts && status == CPT_OK; c++) {
        int32_t n = 0;
        int64_t *cells = f->cells + f->n_queries;
        status = choose_prototypes(f->u, c, f->o, f->list, cells, &n, e);
        for (int32_t i = 0; i < n; i++) {
            f->concepts[f->n_queries + i] = c;
            f->activation[f->n_queries + i] = activation_of(f->u, c, cells[i]);
        }
        f->n_queries += n;
        f->first[c + 1] = f->n_queries;
    }
    return status;
}

/* Median distance to the nearest neighbour over the usable cells; NaN with fewer than two. */
static cpt_status find_median(const cpt_activations *u, const float *a, int32_t dim, double *out,
                              const cpt_context *ctx, cpt_err *e)
{
    float *rows = NULL;
    int64_t n = 0;
    cpt_status status;
    *out = NAN;
    if (u->n_cells - u->n_unusable < 2) return CPT_OK;
    if (u->n_unusable == 0)
        return cpt_median_neighbour_distance(a, u->n_cells, dim, NEIGHBOUR_SAMPLE, out, ctx, e);
    CPT_TRY(cpt_alloc(&rows, (size_t)(u->n_cells - u->n_unusable) * (size_t)dim, sizeof *rows, e));
    for (int64_t i = 0; i < u->n_cells; i++)
        if (u->usable[i]) memcpy(rows + n++ * dim, a + i * dim, (size_t)dim * sizeof *rows);
    status = cpt_median_neighbour_distance(rows, n, dim, NEIGHBOUR_SAMPLE, out, ctx, e);
done:
    free(rows);
    return status;
}

/* Writes what the search found as pairs. */
static cpt_status collect(const finder *f, cpt_pairs *p, cpt_err *e)
{
    int64_t total = 0, at = 0;
    for (int64_t q = 0; q < f->n_queries; q++) total += f->lists[q].n;
    cpt_status status = cpt_alloc(&p->pairs, (size_t)total, sizeof *p->pairs, e);
    if (status != CPT_OK) return status;
    for (int32_t c = 0; c < p->n_concepts; c++) {
        for (int64_t q = f->first[c]; q < f->first[c + 1]; q++) {
            const cpt_near_list *list = &f->lists[q];
            if (list->n == 0) p->n_unmatched[c]++;
            for (int32_t r = 0; r < list->n; r++) {
                double distance = sqrt(list->items[r].distance2);
                double relative = p->median_neighbour_distance > 0
                                      ? distance / p->median_neighbour_distance : NAN;
                p->pairs[at++] = (cpt_pair){f->cells[q], list->items[r].cell, f->activation[q],
                                            (float)distance, (float)relative,
                                            (int32_t)(q - f->first[c]), r};
            }
        }
        p->first[c + 1] = at;
    }
    return CPT_OK;
}

static cpt_status check_column(const char *option, const cpt_column *c, cpt_err *e)
{
    if (!c || c->kind == CPT_COLUMN_CATEGORY) return CPT_OK;
    return cpt_fail(e, CPT_ERR_USAGE, "--%s %s: the column holds numbers; give a column of categories "
                    "such as the donor", option, c->name);
}

static cpt_status check_options(const cpt_pair_options *o, cpt_err *e)
{
    if (o->n_prototypes < 1 || o->n_counterfactuals < 1)
        return cpt_fail(e, CPT_ERR_USAGE, "%d prototypes with %d counterfactuals each: both must be at "
                        "least 1", o->n_prototypes, o->n_counterfactuals);
    if (!(o->min_share >= 0 && o->min_share <= 1))
        return cpt_fail(e, CPT_ERR_USAGE, "least share of the largest activation %g: must be from 0 to 1",
                        o->min_share);
    if (o->choice == CPT_PROTOTYPES_SPREAD && !o->spread)
        return cpt_fail(e, CPT_ERR_USAGE, "prototypes are to be spread over a column, but none is "
                        "given; name a column of categories such as the donor");
    cpt_status status = check_column("spread", o->spread, e);
    return status == CPT_OK ? check_column("match", o->match, e) : status;
}

static cpt_status pairs_make(int32_t n_concepts, cpt_pairs **out, cpt_err *e)
{
    cpt_pairs *p;
    cpt_status status = cpt_alloc(&p, 1, sizeof *p, e);
    if (status != CPT_OK) return status;
    *out = p;
    p->n_concepts = n_concepts;
    CPT_TRY(cpt_alloc(&p->first, (size_t)n_concepts + 1, sizeof *p->first, e));
    CPT_TRY(cpt_alloc(&p->n_unmatched, (size_t)n_concepts, sizeof *p->n_unmatched, e));
    status = cpt_alloc(&p->substitute_low, (size_t)n_concepts, sizeof *p->substitute_low, e);
done:
    return status;
}

static void search_all_low(const finder *f, const float *a, int32_t dim, cpt_pairs *p)
{
    int64_t n_usable = f->u->n_cells - f->u->n_unusable;
    for (int32_t c = 0; c < p->n_concepts; c++) {
        int64_t q = f->first[c], n = f->first[c + 1] - q;
        p->substitute_low[c] = n_usable > 0 && f->u->stats[c].n_active == n_usable;
        if (p->substitute_low[c])
            search_low(f->u, a, dim, f->o, c, f->list, n, f->cells + q, f->activation + q, f->lists + q);
    }
}

cpt_status cpt_pairs_find(const cpt_activations *u, const float *a, int32_t dim,
                          const cpt_pair_options *o, cpt_pairs **out, const cpt_context *ctx, cpt_err *e)
{
    finder f = {.u = u, .o = o};
    cpt_pairs *p = NULL;
    cpt_status status;
    *out = NULL;
    CPT_TRY(check_options(o, e));
    CPT_TRY(pairs_make(u->n_concepts, &p, e));
    CPT_TRY(finder_make(&f, e));
    CPT_TRY(choose_all(&f, e));
    CPT_TRY(cpt_pairs_search(u, a, dim, o->match, f.n_queries, f.cells, f.concepts, f.lists, ctx, e));
    search_all_low(&f, a, dim, p);
    CPT_TRY(find_median(u, a, dim, &p->median_neighbour_distance, ctx, e));
    status = collect(&f, p, e);
done:
    finder_free(&f);
    if (status == CPT_OK) *out = p;
    else cpt_pairs_free(p);
    return status;
}

void cpt_pairs_free(cpt_pairs *p)
{
    if (!p) return;
    free(p->first);
    free(p->pairs);
    free(p->n_unmatched);
    free(p->substitute_low);
    free(p);
}

/* ---- a part of them ---- */

static bool is_prototype(const cpt_pairs *p, int32_t concept, int64_t cell)
{
    for (int64_t i = p->first[concept]; i < p->first[concept + 1]; i++)
        if (p->pairs[i].prototype == cell) return true;
    return false;
}

cpt_status cpt_pairs_select(const cpt_pairs *from, const bool *chosen, int32_t n_prototypes,
                            const cpt_pairs *not_in, cpt_pairs **out, cpt_err *e)
{
    cpt_pairs *p = NULL;
    int64_t n = 0;
    cpt_status status;
    *out = NULL;
    CPT_TRY(pairs_make(from->n_concepts, &p, e));
    CPT_TRY(cpt_alloc(&p->pairs, (size_t)from->first[from->n_concepts], sizeof *p->pairs, e));
    p->median_neighbour_distance = from->median_neighbour_distance;
    for (int32_t c = 0; c < from->n_concepts; c++) {
        int32_t taken = 0;
        int64_t last = -1;
        for (int64_t i = from->first[c]; i < from->first[c + 1] && (!chosen || chosen[c]); i++) {
            const cpt_pair *q = &from->pairs[i];
            if (not_in && is_prototype(not_in, c, q->prototype)) continue;
            if (q->prototype != last && n_prototypes && taken == n_prototypes) break;
            taken += q->prototype != last;
            last = q->prototype;
            p->pairs[n++] = *q;
        }
        p->first[c + 1] = n;
        p->n_unmatched[c] = from->n_unmatched[c];
        p->substitute_low[c] = from->substitute_low[c];
    }
done:
    if (status == CPT_OK) *out = p;
    else cpt_pairs_free(p);
    return status;
}

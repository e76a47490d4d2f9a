#include "base/memory.h"
#include "math/statistics.h"
#include "view/view.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Cells that activate a concept: prototypes with their counterfactuals, and examples from the top,
 * the middle and the bottom of the active ones; one cell's concepts; and who the active cells are.
 */

enum {
    PAIR_COLUMNS = 7,
    P_PROTOTYPE = 0,
    P_COUNTERFACTUAL = 1,
    P_ACTIVATION = 2,
    P_DISTANCE = 3,
    P_RELATIVE = 4,
    DIFFERING = 8,
    MOST_CELLS = 500,
    MIDDLING = 24
};

static const char *cell_id(const cpt_view *v, int64_t cell)
{
    return cpt_strings_get(&v->cells->cell_ids, cell);
}

static void put_cell(const cpt_view *v, cpt_jot *j, int64_t cell)
{
    cpt_jot_put_integer(j, "cell", cell);
    cpt_jot_put_text(j, "id", cell_id(v, cell));
}

static void put_known(const cpt_view *v, cpt_jot *j, int64_t cell)
{
    cpt_jot_key(j, "columns");
    cpt_view_put_columns(v, j, cell, false);
}

/* ---- what differs between a prototype and its counterfactual ---- */

typedef struct difference {
    int32_t gene;
    float counts[2], mean;
} difference;

static int by_mean(const void *a, const void *b)
{
    const difference *x = a, *y = b;
    float p = fabsf(x->mean), q = fabsf(y->mean);
    if (p != q) return p > q ? -1 : 1;
    return (x->gene > y->gene) - (x->gene < y->gene);
}

/* Genes of the universe whose counts differ, the most attributed first; both rows ascend. */
static cpt_status find_differences(const cpt_view *v, const int64_t cells[2], const float *mean,
                                   difference **out, int64_t *n, cpt_err *e)
{
    int32_t *genes[2] = {NULL, NULL};
    float *values[2] = {NULL, NULL};
    int64_t length[2] = {0, 0}, at[2] = {0, 0};
    cpt_status status = CPT_OK;
    *out = NULL;
    *n = 0;
    for (int i = 0; i < 2; i++)
        CPT_TRY(cpt_rows_read(&v->counts_by_cell, cells[i], &genes[i], &values[i], &length[i], e));
    CPT_TRY(cpt_alloc(out, (size_t)(length[0] + length[1]), sizeof **out, e));
    while (at[0] < length[0] || at[1] < length[1]) {
        int32_t a = at[0] < length[0] ? genes[0][at[0]] : INT32_MAX,
                b = at[1] < length[1] ? genes[1][at[1]] : INT32_MAX;
        int32_t column = a < b ? a : b, g = v->gene_of_column[column];
        float x = a == column ? values[0][at[0]++] : 0, y = b == column ? values[1][at[1]++] : 0;
        if (g >= 0 && x != y && isfinite(mean[g]) && mean[g] != 0)
            (*out)[(*n)++] = (difference){g, {x, y}, mean[g]};
    }
    qsort(*out, (size_t)*n, sizeof **out, by_mean);
done:
    for (int i = 0; i < 2; i++) {
        free(genes[i]);
        free(values[i]);
    }
    return status;
}

static cpt_status put_differing(const cpt_view *v, cpt_jot *j, int64_t prototype,
                                int64_t counterfactual, const float *mean, cpt_err *e)
{
    difference *list = NULL;
    int64_t n;
    if (!v->have_counts) return CPT_OK;
    cpt_status status =
        find_differences(v, (const int64_t[]){prototype, counterfactual}, mean, &list, &n, e);
    cpt_jot_key(j, "differing");
    cpt_jot_open(j, '[');
    for (int64_t i = 0; status == CPT_OK && i < n && i < DIFFERING; i++) {
        cpt_jot_open(j, '{');
        cpt_jot_put_integer(j, "gene", list[i].gene);
        cpt_jot_put_text(j, "symbol", cpt_view_symbol(v, list[i].gene));
        cpt_jot_put_number(j, "prototype", (double)list[i].counts[0]);
        cpt_jot_put_number(j, "counterfactual", (double)list[i].counts[1]);
        cpt_jot_put_number(j, "mean", (double)list[i].mean);
        cpt_jot_close(j, '}');
    }
    cpt_jot_close(j, ']');
    free(list);
    return status;
}

/* ---- prototypes ---- */

static void put_counterfactual(const cpt_view *v, cpt_jot *j, const double *pair)
{
    int64_t cell = (int64_t)pair[P_COUNTERFACTUAL];
    cpt_jot_open(j, '{');
    put_cell(v, j, cell);
    cpt_jot_put_number(j, "distance", pair[P_DISTANCE]);
    cpt_jot_put_number(j, "relative", pair[P_RELATIVE]);
    put_known(v, j, cell);
    cpt_jot_close(j, '}');
}

/* Pairs of one prototype lie side by side. */
static cpt_status put_prototypes(const cpt_view *v, cpt_jot *j, int32_t concept, int64_t limit,
                                 cpt_err *e)
{
    if (!v->have_pairs) return CPT_OK;
    const int64_t *first = v->pairs_first.data;
    const double *table = v->pairs.data;
    float *mean = NULL;
    cpt_status status;
    CPT_TRY(cpt_alloc(&mean, (size_t)v->n_genes, sizeof *mean, e));
    CPT_TRY(cpt_array_row(&v->attribution[A_MEAN], concept, mean, e));
    for (int64_t k = first[concept], next; k < first[concept + 1] && limit-- > 0; k = next) {
        const double *pair = table + k * PAIR_COLUMNS;
        int64_t cell = (int64_t)pair[P_PROTOTYPE];
        cpt_jot_open(j, '{');
        put_cell(v, j, cell);
        cpt_jot_put_number(j, "activation", pair[P_ACTIVATION]);
        put_known(v, j, cell);
        cpt_jot_key(j, "counterfactual");
        cpt_jot_open(j, '[');
        for (next = k; next < first[concept + 1] && (int64_t)table[next * PAIR_COLUMNS] == cell;
             next++)
            put_counterfactual(v, j, table + next * PAIR_COLUMNS);
        cpt_jot_close(j, ']');
        CPT_TRY(put_differing(v, j, cell, (int64_t)pair[P_COUNTERFACTUAL], mean, e));
        cpt_jot_close(j, '}');
    }
done:
    free(mean);
    return status;
}

/* ---- bands of activation ---- */

static cpt_status put_band(const cpt_view *v, cpt_jot *j, int32_t concept, const char *band,
                           int64_t limit, cpt_err *e)
{
    int32_t *cells;
    float *values;
    int64_t n;
    cpt_status status = cpt_view_ranked_cells(v, concept, &cells, &values, &n, e);
    if (status) return status;
    if (limit > n) limit = n;
    int64_t start = strcmp(band, "high") == 0  ? 0
                    : strcmp(band, "low") == 0 ? n - limit
                                               : (n - limit) / 2;
    for (int64_t k = start; k < start + limit; k++) {
        cpt_jot_open(j, '{');
        put_cell(v, j, cells[k]);
        cpt_jot_put_number(j, "activation", (double)values[k]);
        put_known(v, j, cells[k]);
        cpt_jot_close(j, '}');
    }
    free(cells);
    free(values);
    return CPT_OK;
}

cpt_status cpt_view_cells(const cpt_view *v, int32_t concept, const char *band, int64_t limit,
                          char **json, cpt_err *e)
{
    static const char *const bands[] = {"prototypes", "high", "middle", "low"};
    cpt_jot j = {0};
    int which = 0;
    cpt_status status;
    CPT_TRY(cpt_view_need_concept(v, concept, e));
    CPT_TRY(cpt_view_need_index(v, e));
    if (!band || !*band) band = v->have_pairs ? "prototypes" : "high";
    while (which < 4 && strcmp(band, bands[which]) != 0) which++;
    if (which == 4) {
        status = cpt_fail(e, CPT_ERR_USAGE, "band '%.40s' is none of prototypes, high, middle, low",
                          band);
        goto done;
    }
    if (limit <= 0) limit = MIDDLING;
    if (limit > MOST_CELLS) limit = MOST_CELLS;
    cpt_jot_open(&j, '{');
    cpt_jot_put_text(&j, "band", band);
    cpt_jot_key(&j, "rows");
    cpt_jot_open(&j, '[');
    CPT_TRY(which == 0 ? put_prototypes(v, &j, concept, limit, e)
                       : put_band(v, &j, concept, band, limit, e));
    cpt_jot_close(&j, ']');
    cpt_jot_close(&j, '}');
done:
    if (status == CPT_OK) return cpt_jot_take(&j, json, e);
    cpt_jot_drop(&j);
    return status;
}

/* ---- one cell ---- */

typedef struct active {
    float activation;
    int32_t concept;
} active;

static int by_activation(const void *a, const void *b)
{
    const active *x = a, *y = b;
    if (x->activation != y->activation) return x->activation > y->activation ? -1 : 1;
    return (x->concept > y->concept) - (x->concept < y->concept);
}

static cpt_status put_concepts(const cpt_view *v, cpt_jot *j, int64_t cell, cpt_err *e)
{
    int32_t *concepts = NULL;
    float *values = NULL;
    active *list = NULL;
    int64_t n = 0;
    cpt_status status = CPT_OK;
    if (v->have_activations) CPT_TRY(cpt_rows_read(&v->by_cell, cell, &concepts, &values, &n, e));
    CPT_TRY(cpt_alloc(&list, (size_t)n, sizeof *list, e));
    for (int64_t k = 0; k < n; k++) list[k] = (active){values[k], concepts[k]};
    qsort(list, (size_t)n, sizeof *list, by_activation);
    cpt_jot_key(j, "concepts");
    cpt_jot_open(j, '[');
    for (int64_t k = 0; k < n; k++) {
        cpt_jot_open(j, '{');
        cpt_jot_put_integer(j, "concept", list[k].concept);
        cpt_jot_put_number(j, "activation", (double)list[k].activation);
        cpt_jot_close(j, '}');
    }
    cpt_jot_close(j, ']');
done:
    free(concepts);
    free(values);
    free(list);
    return status;
}

cpt_status cpt_view_cell(const cpt_view *v, int64_t cell, char **json, cpt_err *e)
{
    cpt_jot j = {0};
    cpt_status status = CPT_OK;
    if (cell < 0 || cell >= v->cells->n_cells)
        return cpt_fail(e, CPT_ERR_USAGE, "%s: there is no cell %lld; they run from 0 to %lld",
                        v->name, (long long)cell, (long long)v->cells->n_cells - 1);
    const double *totals = v->index.totals.data;
    cpt_jot_open(&j, '{');
    put_cell(v, &j, cell);
    cpt_jot_put_number(&j, "total", totals ? totals[cell] : NAN);
    cpt_jot_key(&j, "columns");
    cpt_view_put_columns(v, &j, cell, true);
    CPT_TRY(put_concepts(v, &j, cell, e));
    cpt_jot_close(&j, '}');
done:
    if (status == CPT_OK) return cpt_jot_take(&j, json, e);
    cpt_jot_drop(&j);
    return status;
}

/* ---- composition ---- */

/* Score interval of a share (Wilson 1927), 95 %. */
static void wilson(double k, double n, double *low, double *high)
{
    static const double Z = 1.959963984540054;
    double p = k / n, middle = p + Z * Z / (2 * n),
           half = Z * sqrt(p * (1 - p) / n + Z * Z / (4 * n * n));
    *low = fmax(0, (middle - half) / (1 + Z * Z / n));
    *high = fmin(1, (middle + half) / (1 + Z * Z / n));
}

/* Two-sided: twice the smaller tail, at most 1; never 0. */
static double hypergeometric_p(int64_t all, int64_t category, int64_t n_active, int64_t both)
{
    double upper = cpt_hyper_log_upper(all, category, n_active, both),
           lower = cpt_hyper_log_lower(all, category, n_active, both);
    return fmax(fmin(1, 2 * exp(fmin(upper, lower))), 2.2250738585072014e-308);
}

typedef struct composition {
    const cpt_column *column;
    int64_t *inside, *total, n_in, n_all;
    double *p, *q;
} composition;

static cpt_status count_cells(const cpt_view *v, int32_t concept, composition *x, cpt_err *e)
{
    int32_t *cells = NULL;
    float *values = NULL;
    int64_t n, m = x->column->categories.n;
    cpt_status status;
    CPT_TRY(cpt_rows_read(&v->by_concept, concept, &cells, &values, &n, e));
    CPT_TRY(cpt_alloc(&x->inside, (size_t)m, sizeof *x->inside, e));
    CPT_TRY(cpt_alloc(&x->total, (size_t)m, sizeof *x->total, e));
    CPT_TRY(cpt_alloc(&x->p, (size_t)m, sizeof *x->p, e));
    CPT_TRY(cpt_alloc(&x->q, (size_t)m, sizeof *x->q, e));
    const int32_t *codes = x->column->codes;
    for (int64_t i = 0; i < v->cells->n_cells; i++)
        if (codes[i] >= 0 && cpt_view_is_usable(v, i)) x->total[codes[i]]++, x->n_all++;
    for (int64_t k = 0; k < n; k++)
        if (codes[cells[k]] >= 0) x->inside[codes[cells[k]]]++, x->n_in++;
    for (int64_t k = 0; k < m; k++)
        x->p[k] = x->total[k] && x->n_in
                      ? hypergeometric_p(x->n_all, x->total[k], x->n_in, x->inside[k])
                      : NAN;
    status = cpt_bh(m, x->p, 0, x->q, e);
done:
    free(cells);
    free(values);
    return status;
}

static void put_composition(cpt_jot *j, const composition *x)
{
    cpt_jot_key(j, "rows");
    cpt_jot_open(j, '[');
    for (int64_t k = 0; k < x->column->categories.n; k++) {
        double low = NAN, high = NAN;
        if (x->total[k] == 0) continue;
        if (x->n_in) wilson((double)x->inside[k], (double)x->n_in, &low, &high);
        cpt_jot_open(j, '{');
        cpt_jot_put_text(j, "value", cpt_strings_get(&x->column->categories, k));
        cpt_jot_put_integer(j, "active", x->inside[k]);
        cpt_jot_put_integer(j, "cells", x->total[k]);
        cpt_jot_put_number(j, "share", x->n_in ? (double)x->inside[k] / (double)x->n_in : NAN);
        cpt_jot_put_number(j, "background", (double)x->total[k] / (double)x->n_all);
        cpt_jot_put_number(j, "low", low);
        cpt_jot_put_number(j, "high", high);
        cpt_jot_put_number(j, "p", x->p[k]);
        cpt_jot_put_number(j, "q", x->q[k]);
        cpt_jot_close(j, '}');
    }
    cpt_jot_close(j, ']');
}

static cpt_status find_column(const cpt_view *v, const char *name, const cpt_column **out,
                              cpt_err *e)
{
    const cpt_table *obs = &v->cells->obs;
    *out = name && *name ? cpt_table_find(obs, name) : v->label;
    for (int32_t i = 0; !*out && !(name && *name) && i < obs->n_columns; i++)
        if (obs->columns[i].kind == CPT_COLUMN_CATEGORY) *out = &obs->columns[i];
    if (!*out)
        return cpt_fail(e, CPT_ERR_USAGE, "%s: the cells have no column '%.80s'", v->name,
                        name ? name : "");
    if ((*out)->kind != CPT_COLUMN_CATEGORY)
        return cpt_fail(e, CPT_ERR_USAGE,
                        "%s: column '%.80s' holds numbers; a composition needs categories", v->name,
                        name);
    return CPT_OK;
}

cpt_status cpt_view_composition(const cpt_view *v, int32_t concept, const char *column, char **json,
                                cpt_err *e)
{
    composition x = {0};
    cpt_concept_facts facts;
    cpt_jot j = {0};
    cpt_status status;
    CPT_TRY(cpt_view_need_concept(v, concept, e));
    CPT_TRY(find_column(v, column, &x.column, e));
    CPT_TRY(count_cells(v, concept, &x, e));
    cpt_view_facts(v, concept, &facts);
    cpt_jot_open(&j, '{');
    cpt_jot_put_text(&j, "column", x.column->name);
    cpt_jot_put_integer(&j, "active", x.n_in);
    cpt_jot_put_integer(&j, "cells", x.n_all);
    put_composition(&j, &x);
    cpt_jot_key(&j, "warnings");
    cpt_jot_open(&j, '[');
    for (int i = 0; i < facts.n_flags; i++)
        if (strcmp(facts.flags[i].name, "concentrated") == 0) cpt_jot_text(&j, facts.flags[i].text);
    cpt_jot_close(&j, ']');
    cpt_jot_close(&j, '}');
done:
    free(x.inside);
    free(x.total);
    free(x.p);
    free(x.q);
    if (status == CPT_OK) return cpt_jot_take(&j, json, e);
    cpt_jot_drop(&j);
    return status;
}

#include "base/memory.h"
#include "enrich/enrich.h"
#include "enrich/ranking.h"
#include "view/view.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Terms of a concept, concepts of a term, and the running sum behind a score. */

static const char *term_id(const cpt_view *v, int64_t t)
{
    return t < 0 ? "" : cpt_strings_get(&v->index.term_ids, t);
}

static const char *term_name(const cpt_view *v, int64_t t)
{
    return t < 0 ? "" : cpt_strings_get(&v->index.term_names, t);
}

static double term_fact(const cpt_view *v, int64_t t, int which)
{
    return ((const double *)v->index.term_numbers.data)[3 * t + which];
}

static const char *row_name(const cpt_view *v, const cpt_index_row *r, int code)
{
    static const char *const lists[] = {[CPT_ROW_RANKING] = "rankings",
                                        [CPT_ROW_METHOD] = "methods",
                                        [CPT_ROW_COLLECTION] = "collections"};
    return cpt_index_name(&v->index, lists[code], r->codes[code]);
}

void cpt_view_put_term(const cpt_view *v, cpt_jot *j, int64_t row)
{
    cpt_index_row r;
    if (row < 0 || cpt_index_row_read(&v->index, row, &r, NULL) != CPT_OK) {
        cpt_jot_null(j);
        return;
    }
    cpt_jot_open(j, '{');
    cpt_jot_put_text(j, "id", term_id(v, r.codes[CPT_ROW_TERM]));
    cpt_jot_put_text(j, "name", term_name(v, r.codes[CPT_ROW_TERM]));
    cpt_jot_put_number(j, "q", r.values[CPT_ROW_Q]);
    cpt_jot_put_text(j, "ranking", row_name(v, &r, CPT_ROW_RANKING));
    cpt_jot_put_text(j, "method", row_name(v, &r, CPT_ROW_METHOD));
    cpt_jot_close(j, '}');
}

/* ---- terms of a concept ---- */

static void put_values(cpt_jot *j, const cpt_index_row *r)
{
    cpt_jot_put_number(j, "nes", r->values[CPT_ROW_NES]);
    cpt_jot_put_number(j, "p", r->values[CPT_ROW_P]);
    cpt_jot_put_number(j, "log10p", r->values[CPT_ROW_LOG10P]);
    cpt_jot_put_number(j, "q", r->values[CPT_ROW_Q]);
}

static cpt_status put_term_row(const cpt_view *v, cpt_jot *j, int64_t row, const cpt_index_row *r,
                               cpt_err *e)
{
    int32_t *genes = NULL, t = r->codes[CPT_ROW_TERM];
    int64_t n;
    cpt_status status = cpt_list_read(&v->index.edges, row, v->n_genes, &genes, &n, e);
    if (status) return status;
    cpt_jot_open(j, '{');
    cpt_jot_put_text(j, "ranking", row_name(v, r, CPT_ROW_RANKING));
    cpt_jot_put_text(j, "method", row_name(v, r, CPT_ROW_METHOD));
    cpt_jot_put_text(j, "collection", row_name(v, r, CPT_ROW_COLLECTION));
    cpt_jot_put_text(j, "term", term_id(v, t));
    cpt_jot_put_text(j, "name", term_name(v, t));
    cpt_jot_put_integer(j, "size", r->codes[CPT_ROW_SIZE]);
    cpt_jot_put_integer(j, "overlap", r->codes[CPT_ROW_OVERLAP]);
    cpt_jot_put_number(j, "es", r->values[CPT_ROW_ES]);
    put_values(j, r);
    cpt_jot_put_number(j, "log2err", r->values[CPT_ROW_LOG2ERR]);
    cpt_jot_put_number(j, "ic", term_fact(v, t, 2));
    cpt_jot_key(j, "genes");
    cpt_jot_open(j, '[');
    for (int64_t i = 0; i < n; i++) cpt_jot_text(j, cpt_view_symbol(v, genes[i]));
    cpt_jot_close(j, ']');
    cpt_jot_put_text(j, "represented_by", term_id(v, r->codes[CPT_ROW_REPRESENTED]));
    cpt_jot_close(j, '}');
    free(genes);
    return CPT_OK;
}

static bool wanted(const char *asked, const char *name)
{
    return !asked || !*asked || strcmp(asked, name) == 0;
}

static void put_tested(const cpt_view *v, cpt_jot *j)
{
    const char *key;
    json_t *value;
    cpt_jot_key(j, "tested");
    cpt_jot_open(j, '{');
    json_object_foreach(json_object_get(v->enrichment, "sets_tested"), key, value)
        cpt_jot_put_integer(j, key, json_integer_value(value));
    cpt_jot_close(j, '}');
}

cpt_status cpt_view_terms(const cpt_view *v, int32_t concept, const cpt_term_query *q, char **json,
                          cpt_err *e)
{
    cpt_jot j = {0};
    cpt_status status;
    CPT_TRY(cpt_view_need_concept(v, concept, e));
    CPT_TRY(cpt_view_need_index(v, e));
    cpt_jot_open(&j, '{');
    put_tested(v, &j);
    cpt_jot_key(&j, "rows");
    cpt_jot_open(&j, '[');
    if (v->index.have_rows)
        for (int64_t row = v->index.row_first[concept]; row < v->index.row_first[concept + 1];
             row++) {
            cpt_index_row r;
            CPT_TRY(cpt_index_row_read(&v->index, row, &r, e));
            if (!wanted(q->ranking, row_name(v, &r, CPT_ROW_RANKING)) ||
                !wanted(q->method, row_name(v, &r, CPT_ROW_METHOD)) ||
                !wanted(q->collection, row_name(v, &r, CPT_ROW_COLLECTION)) ||
                (!q->all && r.codes[CPT_ROW_REPRESENTED] >= 0))
                continue;
            CPT_TRY(put_term_row(v, &j, row, &r, e));
        }
    cpt_jot_close(&j, ']');
    cpt_jot_close(&j, '}');
done:
    if (status == CPT_OK) return cpt_jot_take(&j, json, e);
    cpt_jot_drop(&j);
    return status;
}

/* ---- the running sum ---- */

static cpt_status find_term(const cpt_view *v, const char *id, int32_t *term, cpt_err *e)
{
    cpt_status status = cpt_view_need_index(v, e);
    if (status) return status;
    *term = (int32_t)cpt_index_get(v->term_numbers, id);
    return *term >= 0
               ? CPT_OK
               : cpt_fail(e, CPT_ERR_USAGE, "%s: there is no term '%.80s' here", v->name, id);
}

/* The row of GSEA of a concept for a term; values NaN when there is none (p above 0.05). */
static cpt_status gsea_row(const cpt_view *v, int32_t concept, int32_t term, const char *ranking,
                           cpt_index_row *out, cpt_err *e)
{
    for (int i = 0; i < CPT_N_VALUES; i++) out->values[i] = NAN;
    if (!v->index.have_rows) return CPT_OK;
    for (int64_t row = v->index.row_first[concept]; row < v->index.row_first[concept + 1]; row++) {
        cpt_index_row r;
        cpt_status status = cpt_index_row_read(&v->index, row, &r, e);
        if (status) return status;
        if (r.codes[CPT_ROW_TERM] != term || strcmp(row_name(v, &r, CPT_ROW_METHOD), "gsea") ||
            strcmp(row_name(v, &r, CPT_ROW_RANKING), ranking))
            continue;
        *out = r;
        return CPT_OK;
    }
    return CPT_OK;
}

typedef struct running {
    double *statistic; /* [n_genes] */
    cpt_genesets set;
    int64_t set_first[2];
    int32_t *genes, *x, n_corners;
    double *y, weight;
    cpt_ranking ranking;
    int32_t peak; /* corner where the sum is farthest from 0 */
} running;

static cpt_status read_statistic(const cpt_view *v, int32_t concept, bool attribution,
                                 double *statistic, cpt_err *e)
{
    float *row;
    const cpt_array *matrix = attribution ? &v->attribution[A_MEAN] : &v->expression[X_SCORE];
    if (!(attribution ? v->have_attribution : v->have_expression))
        return cpt_fail(e, CPT_ERR_DATA, "%s: there is no %s in this study", v->name,
                        attribution ? "attribution" : "expression");
    cpt_status status = cpt_alloc(&row, (size_t)v->n_genes, sizeof *row, e);
    if (status) return status;
    status = cpt_array_row(matrix, concept, row, e);
    for (int32_t g = 0; g < v->n_genes; g++) statistic[g] = (double)row[g];
    free(row);
    return status;
}

static cpt_status make_running(const cpt_view *v, int32_t concept, int32_t term, bool attribution,
                               running *r, cpt_err *e)
{
    int64_t n;
    cpt_status status;
    r->weight = cpt_options_number(v->study->options, "weight");
    CPT_TRY(cpt_alloc(&r->statistic, (size_t)v->n_genes, sizeof *r->statistic, e));
    CPT_TRY(read_statistic(v, concept, attribution, r->statistic, e));
    CPT_TRY(cpt_list_read(&v->index.term_genes, term, v->n_genes, &r->genes, &n, e));
    if (n == 0) {
        status = cpt_fail(e, CPT_ERR_DATA, "%s: the genes of %s are not in the index", v->name,
                          term_id(v, term));
        goto done;
    }
    r->set_first[1] = n;
    r->set = (cpt_genesets){
        .n_universe = v->n_genes, .n_sets = 1, .first = r->set_first, .genes = r->genes};
    CPT_TRY(
        cpt_gsea_running_sum(&r->set, r->statistic, 0, r->weight, &r->x, &r->y, &r->n_corners, e));
    CPT_TRY(cpt_ranking_make(v->n_genes, r->statistic, r->weight, &r->ranking, e));
    for (int32_t i = 1; i < r->n_corners; i++)
        if (fabs(r->y[i]) > fabs(r->y[r->peak])) r->peak = i;
done:
    return status;
}

static void free_running(running *r)
{
    free(r->statistic);
    free(r->genes);
    free(r->x);
    free(r->y);
    cpt_ranking_free(&r->ranking);
}

static int ascending(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* Members of the set in order of the ranking. A positive score's leading edge lies before the peak,
 * a negative one's after it. */
static void put_hits(const cpt_view *v, cpt_jot *j, running *r)
{
    int32_t n = 0, *positions = r->genes, peak = r->x[r->peak];
    bool positive = r->y[r->peak] >= 0;
    for (int64_t i = 0; i < r->set_first[1]; i++)
        if (r->ranking.position[r->genes[i]] >= 0)
            positions[n++] = r->ranking.position[r->genes[i]];
    qsort(positions, (size_t)n, sizeof *positions, ascending);
    cpt_jot_key(j, "hits");
    cpt_jot_open(j, '[');
    for (int32_t i = 0; i < n; i++) {
        int32_t g = r->ranking.gene[positions[i]];
        cpt_jot_open(j, '{');
        cpt_jot_put_integer(j, "rank", positions[i]);
        cpt_jot_put_integer(j, "gene", g);
        cpt_jot_put_text(j, "symbol", cpt_view_symbol(v, g));
        cpt_jot_put_number(j, "value", r->statistic[g]);
        cpt_jot_key(j, "leading");
        cpt_jot_bool(j, positive ? positions[i] <= peak : positions[i] >= peak);
        cpt_jot_close(j, '}');
    }
    cpt_jot_close(j, ']');
}

cpt_status cpt_view_running(const cpt_view *v, int32_t concept, const char *term,
                            const char *ranking, char **json, cpt_err *e)
{
    running r = {0};
    cpt_index_row row;
    int32_t t;
    cpt_jot j = {0};
    cpt_status status;
    CPT_TRY(cpt_view_need_concept(v, concept, e));
    CPT_TRY(find_term(v, term, &t, e));
    bool attribution =
        ranking && *ranking ? strcmp(ranking, "attribution") == 0 : v->have_attribution;
    const char *name = attribution ? "attribution" : "expression";
    CPT_TRY(make_running(v, concept, t, attribution, &r, e));
    CPT_TRY(gsea_row(v, concept, t, name, &row, e));
    cpt_jot_open(&j, '{');
    cpt_jot_put_text(&j, "term", term_id(v, t));
    cpt_jot_put_text(&j, "name", term_name(v, t));
    cpt_jot_put_text(&j, "ranking", name);
    cpt_jot_put_integer(&j, "n", r.ranking.n);
    cpt_jot_put_integer(&j, "size", r.set_first[1]);
    cpt_jot_put_number(&j, "es", r.y[r.peak]);
    put_values(&j, &row);
    cpt_jot_put_integer(&j, "peak", r.x[r.peak]);
    cpt_jot_key(&j, "curve");
    cpt_jot_open(&j, '[');
    for (int32_t i = 0; i < r.n_corners; i++) {
        cpt_jot_open(&j, '[');
        cpt_jot_integer(&j, r.x[i]);
        cpt_jot_number(&j, r.y[i]);
        cpt_jot_close(&j, ']');
    }
    cpt_jot_close(&j, ']');
    put_hits(v, &j, &r);
    cpt_jot_close(&j, '}');
done:
    free_running(&r);
    if (status == CPT_OK) return cpt_jot_take(&j, json, e);
    cpt_jot_drop(&j);
    return status;
}

/* ---- one term ---- */

static cpt_status put_relatives(const cpt_view *v, cpt_jot *j, const char *key,
                                const cpt_lists *lists, int32_t term, cpt_err *e)
{
    int32_t *items = NULL;
    int64_t n = 0;
    cpt_status status = cpt_list_read(lists, term, v->index.n_terms, &items, &n, e);
    cpt_jot_key(j, key);
    cpt_jot_open(j, '[');
    for (int64_t i = 0; i < n; i++) {
        cpt_jot_open(j, '{');
        cpt_jot_put_text(j, "term", term_id(v, items[i]));
        cpt_jot_put_text(j, "name", term_name(v, items[i]));
        cpt_jot_close(j, '}');
    }
    cpt_jot_close(j, ']');
    free(items);
    return status;
}

static cpt_status put_term_concepts(const cpt_view *v, cpt_jot *j, int32_t term, cpt_err *e)
{
    const cpt_lists *l = &v->index.term_rows;
    cpt_status status = CPT_OK;
    cpt_jot_key(j, "concepts");
    cpt_jot_open(j, '[');
    for (int64_t k = l->indptr && term < l->n ? l->indptr[term] : 0;
         l->indptr && term < l->n && k < l->indptr[term + 1] && status == CPT_OK; k++) {
        int64_t row;
        cpt_index_row r;
        CPT_TRY(cpt_array_read(&l->items, k, 1, &row, e));
        CPT_TRY(cpt_index_row_read(&v->index, row, &r, e));
        cpt_jot_open(j, '{');
        cpt_jot_put_integer(j, "concept", r.codes[CPT_ROW_CONCEPT]);
        cpt_jot_put_text(j, "ranking", row_name(v, &r, CPT_ROW_RANKING));
        cpt_jot_put_text(j, "method", row_name(v, &r, CPT_ROW_METHOD));
        cpt_jot_put_number(j, "nes", r.values[CPT_ROW_NES]);
        cpt_jot_put_number(j, "p", r.values[CPT_ROW_P]);
        cpt_jot_put_number(j, "q", r.values[CPT_ROW_Q]);
        cpt_jot_put_text(j, "represented_by", term_id(v, r.codes[CPT_ROW_REPRESENTED]));
        cpt_jot_close(j, '}');
    }
    cpt_jot_close(j, ']');
done:
    return status;
}

cpt_status cpt_view_term(const cpt_view *v, const char *id, char **json, cpt_err *e)
{
    int32_t t;
    cpt_jot j = {0};
    cpt_status status = find_term(v, id, &t, e);
    if (status) return status;
    double size = term_fact(v, t, 1);
    cpt_jot_open(&j, '{');
    cpt_jot_put_text(&j, "term", term_id(v, t));
    cpt_jot_put_text(&j, "name", term_name(v, t));
    cpt_jot_put_text(&j, "collection",
                     cpt_index_name(&v->index, "collections", (int64_t)term_fact(v, t, 0)));
    cpt_jot_put_text(&j, "definition", cpt_strings_get(&v->index.term_definitions, t));
    cpt_jot_put_number(&j, "ic", term_fact(v, t, 2));
    cpt_jot_put_number(&j, "size", size > 0 ? size : NAN);
    CPT_TRY(put_relatives(v, &j, "parents", &v->index.term_parents, t, e));
    CPT_TRY(put_relatives(v, &j, "children", &v->index.term_children, t, e));
    CPT_TRY(put_term_concepts(v, &j, t, e));
    cpt_jot_close(&j, '}');
done:
    if (status == CPT_OK) return cpt_jot_take(&j, json, e);
    cpt_jot_drop(&j);
    return status;
}

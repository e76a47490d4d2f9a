#include "trust/annotated.h"
#include "base/memory.h"
#include "study/store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Counts over the significant rows of enrichment.tsv.gz. Attribution and differential expression
 * are the two roads from a concept to a term; per concept the terms of each (any collection but of
 * markers, by one method) are compared as sets. Terms of different collections never share an id by accident: they
 * are compared together with their collection. */

static const char *const methods[] = {"gsea", "ora"};
enum { N_METHODS = 2 };

static bool counts_for(const cpt_enrichment_row *row, const char *ranking, const char *method)
{
    return !row->marker && row->q < 0.05 && strcmp(row->method, method) == 0 && strcmp(row->ranking, ranking) == 0;
}

static json_t *road_json(const cpt_enrichment *r, int64_t n_alive, const char *ranking,
                         const char *method)
{
    int64_t n_with_term = 0, n_terms = 0, n_kept = 0, n_ic = 0;
    double ic = 0;
    for (int32_t c = 0; c < r->n_concepts; c++) {
        const cpt_enrichment_row *best = NULL;
        for (int64_t k = r->first[c]; k < r->first[c + 1]; k++) {
            const cpt_enrichment_row *row = &r->rows[k];
            if (!counts_for(row, ranking, method)) continue;
            n_terms++;
            n_kept += !*row->represented_by;
            if (!best || row->log10p < best->log10p) best = row;
        }
        n_with_term += best != NULL;
        if (best && isfinite(best->ic)) {
            ic += best->ic;
            n_ic++;
        }
    }
    double n = (double)n_alive;
    return json_pack("{s:I, s:I, s:o, s:o, s:o, s:o, s:I}", "n", (json_int_t)n_alive, "n_with_term",
                     (json_int_t)n_with_term, "share", cpt_json_number((double)n_with_term / n),
                     "mean_terms", cpt_json_number((double)n_terms / n),
                     "mean_representative_terms", cpt_json_number((double)n_kept / n),
                     "mean_ic_of_best_term", cpt_json_number(ic / (double)n_ic), "n_ic",
                     (json_int_t)n_ic);
}

/* ---- both roads of one concept ---- */

typedef struct found {
    const char *collection, *term;
    int road;
} found;

static int by_term(const void *a, const void *b)
{
    const found *x = a, *y = b;
    int order = strcmp(x->collection, y->collection);
    if (order == 0) order = strcmp(x->term, y->term);
    return order ? order : (x->road > y->road) - (x->road < y->road);
}

typedef struct overlap {
    int64_t attribution_only, expression_only, both;
} overlap;

static overlap compare_roads(const cpt_enrichment *r, int32_t c, const char *method, found *list)
{
    int64_t n = 0;
    overlap o = {0};
    for (int64_t k = r->first[c]; k < r->first[c + 1]; k++) {
        const cpt_enrichment_row *row = &r->rows[k];
        bool a = counts_for(row, "attribution", method);
        if (a || counts_for(row, "expression", method))
            list[n++] = (found){row->collection, row->term, !a};
    }
    qsort(list, (size_t)n, sizeof *list, by_term);
    for (int64_t i = 0; i < n; i++) {
        bool twice = i + 1 < n && strcmp(list[i].term, list[i + 1].term) == 0 &&
                     strcmp(list[i].collection, list[i + 1].collection) == 0;
        if (twice) o.both++, i++;
        else if (list[i].road) o.expression_only++;
        else o.attribution_only++;
    }
    return o;
}

static json_t *routes_json(const cpt_enrichment *r, const char *method, found *list)
{
    json_t *a = json_array(), *x = json_array(), *both = json_array();
    overlap sum = {0};
    for (int32_t c = 0; c < r->n_concepts; c++) {
        overlap o = compare_roads(r, c, method, list);
        json_array_append_new(a, json_integer((json_int_t)o.attribution_only));
        json_array_append_new(x, json_integer((json_int_t)o.expression_only));
        json_array_append_new(both, json_integer((json_int_t)o.both));
        sum.attribution_only += o.attribution_only;
        sum.expression_only += o.expression_only;
        sum.both += o.both;
    }
    return json_pack("{s:I, s:I, s:I, s:{s:o, s:o, s:o}}", "attribution_only",
                     (json_int_t)sum.attribution_only, "expression_only",
                     (json_int_t)sum.expression_only, "both", (json_int_t)sum.both,
                     "terms_by_concept", "attribution_only", a, "expression_only", x, "both", both);
}

cpt_status cpt_annotated_json(const cpt_enrichment *r, int64_t n_alive, bool with_attribution,
                              json_t **out, cpt_err *e)
{
    found *list;
    int64_t most = 0;
    for (int32_t c = 0; c < r->n_concepts; c++)
        if (r->first[c + 1] - r->first[c] > most) most = r->first[c + 1] - r->first[c];
    cpt_status status = cpt_alloc(&list, (size_t)most, sizeof *list, e);
    if (status) return status;
    json_t *root = json_object(), *routes = json_object();
    for (int ranking = with_attribution ? 0 : 1; ranking < 2; ranking++) {
        const char *name = ranking ? "expression" : "attribution";
        json_t *by_method = json_object();
        for (int m = 0; m < N_METHODS; m++)
            json_object_set_new(by_method, methods[m], road_json(r, n_alive, name, methods[m]));
        json_object_set_new(root, name, by_method);
    }
    for (int m = 0; m < N_METHODS && with_attribution; m++)
        json_object_set_new(routes, methods[m], routes_json(r, methods[m], list));
    json_object_set_new(root, "routes", routes);
    json_object_set_new(
        root, "rule",
        json_string("at least one term with q < 0.05, BH within concept, ranking, method "
                    "and collection; marker sets do not count; n = concepts that are not dead"));
    free(list);
    *out = root;
    return CPT_OK;
}

/* ---- cell types whose markers are enriched ---- */

/* Markers at the lower end of a ranking speak against a cell type. */
static bool suggests(const cpt_enrichment_row *row, const char *ranking)
{
    bool test =
        strcmp(row->method, "ora") == 0 || (strcmp(row->method, "gsea") == 0 && row->nes > 0);
    return test && row->marker && row->q < 0.05 && strcmp(row->ranking, ranking) == 0;
}

json_t *cpt_suggested_json(const cpt_enrichment *r)
{
    static const char *const rankings[] = {"attribution", "expression"};
    json_t *concepts = json_object();
    for (int32_t c = 0; c < r->n_concepts; c++)
        for (int i = 0; i < 2; i++) {
            const cpt_enrichment_row *best = NULL;
            char name[32];
            snprintf(name, sizeof name, "c%d", c);
            for (int64_t k = r->first[c]; k < r->first[c + 1]; k++)
                if (suggests(&r->rows[k], rankings[i]) &&
                    (!best || r->rows[k].log10p < best->log10p))
                    best = &r->rows[k];
            if (!best) continue;
            if (!json_object_get(concepts, name))
                json_object_set_new(concepts, name, json_object());
            json_object_set_new(json_object_get(concepts, name), rankings[i],
                                json_pack("{s:s, s:s, s:s, s:o, s:o, s:i, s:i}", "set", best->term,
                                          "collection", best->collection, "method", best->method,
                                          "p", cpt_json_number(best->p), "q",
                                          cpt_json_number(best->q), "size", best->size, "overlap",
                                          best->overlap));
        }
    return json_pack(
        "{s:s, s:o}", "rule",
        "smallest p with q < 0.05 among the marker sets, at the upper end of the ranking; "
        "a suggestion, not a label",
        "concepts", concepts);
}

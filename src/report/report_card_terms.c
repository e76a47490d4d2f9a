#include "report/report.h"
#include "enrich/strength.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The terms of a card: by attribution beside by differential expression, each by GSEA and by ORA. Terms that one road
 * alone finds are marked; redundant ones are folded under the one that stands for them. */

enum { LEADING_GENES = 6, MOST_ABSORBED = 12 };

/* The term is significant for the concept by the other ranking, by either method. */
static bool significant_by(const cpt_report *r, int32_t concept, const char *ranking,
                           const cpt_enrichment_row *row)
{
    const cpt_enrichment *all = r->enrichment;
    for (int64_t k = all->first[concept]; k < all->first[concept + 1]; k++) {
        const cpt_enrichment_row *other = &all->rows[k];
        bool test = strcmp(other->method, "gsea") == 0 || strcmp(other->method, "ora") == 0;
        if (test && other->q < 0.05 && strcmp(other->ranking, ranking) == 0 &&
            strcmp(other->term, row->term) == 0 &&
            strcmp(other->collection, row->collection) == 0)
            return true;
    }
    return false;
}

/* The first few genes of a comma-separated list, and how many more there are. */
static void add_leading(cpt_text *t, const char *genes)
{
    int n = *genes ? 1 : 0, shown = 0;
    for (const char *p = genes; *p; p++) n += *p == ',';
    cpt_text_add(t, "<td class=\"gs\">");
    for (const char *p = genes; *p && shown < LEADING_GENES; shown++) {
        size_t length = strcspn(p, ",");
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)(length < 63 ? length : 63), p);
        cpt_text_add(t, shown ? " " : "");
        cpt_text_add_html(t, name);
        p += length + (p[length] == ',');
    }
    if (n > shown) cpt_text_addf(t, " <small>+%d</small>", n - shown);
    cpt_text_add(t, "</td>");
}

/* Terms alike that this one stands for: how many, and their names on hover. */
static void add_absorbed(cpt_report *r, int32_t concept, const cpt_enrichment_row *row)
{
    const cpt_enrichment *all = r->enrichment;
    cpt_text names = {0};
    int n = 0;
    for (int64_t k = all->first[concept]; k < all->first[concept + 1]; k++) {
        const cpt_enrichment_row *other = &all->rows[k];
        if (strcmp(other->represented_by, row->term) != 0 ||
            strcmp(other->ranking, row->ranking) != 0 || strcmp(other->method, row->method) != 0 ||
            strcmp(other->collection, row->collection) != 0)
            continue;
        if (n++ < MOST_ABSORBED) {
            cpt_text_add(&names, n > 1 ? "; " : "");
            cpt_text_add(&names, other->name);
        }
    }
    if (n) {
        cpt_text_add(&r->html, " <small title=\"");
        cpt_text_add_html(&r->html, cpt_text_str(&names));
        cpt_text_addf(&r->html, "%s\">+%d alike</small>", n > MOST_ABSORBED ? "; ..." : "", n);
    }
    cpt_text_free(&names);
}

/* p of the same term by the tests along GO's graph that were made: a dash where it is above CPT_ENRICHMENT_P. */
static void add_graph_tests(cpt_report *r, int32_t concept, const cpt_enrichment_row *row)
{
    const cpt_enrichment *all = r->enrichment;
    cpt_text *t = &r->html;
    bool any = false;
    for (int m = 0; m < CPT_N_GRAPH_TESTS; m++) {
        if (!cpt_report_graph_test(r, m) || strncmp(row->collection, "GO_", 3) != 0) continue;
        const cpt_enrichment_row *found = NULL;
        for (int64_t k = all->first[concept]; k < all->first[concept + 1] && !found; k++) {
            const cpt_enrichment_row *other = &all->rows[k];
            if (strcmp(other->method, cpt_graph_tests[m][0]) == 0 && strcmp(other->ranking, row->ranking) == 0 &&
                strcmp(other->term, row->term) == 0 && strcmp(other->collection, row->collection) == 0)
                found = other;
        }
        cpt_text_addf(t, "%s%s&nbsp;", any ? " · " : "<br><small title=\"p of the same term by tests along GO's graph; a "
                                                   "dash: above 0.05\">p: ", cpt_graph_tests[m][1]);
        if (found) cpt_report_p(t, found->p);
        else cpt_text_add(t, "–");
        any = true;
    }
    if (any) cpt_text_add(t, "</small>");
}

static void add_term_row(cpt_report *r, int32_t concept, const cpt_enrichment_row *row, bool gsea)
{
    bool attribution = strcmp(row->ranking, "attribution") == 0;
    cpt_text *t = &r->html;
    cpt_text_add(t, row->q < 0.05 ? "<tr><td class=\"tn\" title=\"" : "<tr class=\"ns\"><td "
                                                                      "class=\"tn\" title=\"");
    cpt_text_add_html(t, row->term);
    cpt_text_add(t, "\">");
    cpt_text_add_html(t, row->name);
    if (r->several_collections) {
        cpt_text_add(t, " <small>");
        cpt_text_add_html(t, row->collection);
        cpt_text_add(t, "</small>");
    }
    if (r->attribution && row->q < 0.05 && !significant_by(r, concept, attribution ? "expression" :
                                                           "attribution", row))
        cpt_text_addf(t, " <span class=\"u\" title=\"not significant by %s\">only %s</span>",
                      attribution ? "differential expression" : "attribution", attribution ?
                          "attribution" : "DGE");
    add_absorbed(r, concept, row);
    if (!gsea) add_graph_tests(r, concept, row);
    cpt_text_add(t, "</td>");
    if (gsea) {
        cpt_text_add(t, row->nes < 0 ? "<td class=\"r dn\">↓ " : "<td class=\"r\">");
        cpt_report_number(t, row->nes, 3);
        cpt_text_add(t, "</td>");
        cpt_text_addf(t, "<td class=\"r\">%d</td>", row->size);
    } else {
        cpt_text_addf(t, "<td class=\"r\">%d / %d</td>", row->overlap, row->size);
    }
    cpt_report_p_cell(t, row->q);
    add_leading(t, row->leading_edge);
    cpt_text_add(t, "</tr>");
}

static void add_term_header(cpt_text *t, bool gsea)
{
    cpt_text_addf(t, "<table class=\"terms\"><thead><tr><th>%s</th>%s<th class=\"r\" "
                     "title=\"Benjamini–Hochberg over the sets "
                  "of the collection\">q</th><th title=\"%s\">genes</th></tr></thead><tbody>",
                  gsea ? "GSEA" : "ORA",
                  gsea ? "<th class=\"r\" title=\"normalised enrichment score; ↓ below 0: the "
                         "genes lie at the other end of the ranking (lower "
                         "expression, or against the concept)\">NES"
                         "</th><th class=\"r\" title=\"genes of the set in the universe\">size</th>"
                       : "<th class=\"r\" title=\"selected genes in the set / genes of the set in "
                         "the universe\">overlap</th>",
                  gsea ? "leading edge, strongest part first" : "selected genes that are in the "
                                                                "set");
}

/* What a concept has tells more of it than what it lacks: the enriched first, then the depleted, then what may be
 * chance. */
static int rank_of(const cpt_enrichment_row *row)
{
    return row->q < 0.05 ? row->nes < 0 : 2;
}

static bool better(const cpt_enrichment_row *a, const cpt_enrichment_row *b)
{
    if (rank_of(a) != rank_of(b)) return rank_of(a) < rank_of(b);
    return cpt_strength_compare(cpt_strength_of(a->log10p, a->nes, a->log2err),
                                cpt_strength_of(b->log10p, b->nes, b->log2err)) < 0;
}

/* The best rows over all collections but those of markers, which have a line of their own. */
static void add_terms(cpt_report *r, int32_t concept, const char *ranking, const char *method)
{
    const cpt_enrichment *all = r->enrichment;
    const cpt_enrichment_row *best[CPT_REPORT_TERMS];
    bool gsea = strcmp(method, "gsea") == 0;
    int n = 0, n_significant = 0, n_depleted = 0;
    cpt_text *t = &r->html;
    for (int64_t k = all->first[concept]; k < all->first[concept + 1]; k++) {
        const cpt_enrichment_row *row = &all->rows[k];
        if (row->marker || strcmp(row->ranking, ranking) != 0 || strcmp(row->method, method) != 0) continue;
        n_significant += row->q < 0.05;
        n_depleted += rank_of(row) == 1;
        if (*row->represented_by) continue; /* shown under the one that stands for it */
        if (n == CPT_REPORT_TERMS && !better(row, best[n - 1])) continue;
        int at = n < CPT_REPORT_TERMS ? n++ : n - 1;
        for (; at > 0 && better(row, best[at - 1]); at--) best[at] = best[at - 1];
        best[at] = row;
    }
    if (n == 0) {
        cpt_text_addf(t, "<p class=\"note\">%s: no term with p ≤ %g.</p>", gsea ? "GSEA" : "ORA",
                      CPT_ENRICHMENT_P);
        return;
    }
    add_term_header(t, gsea);
    for (int i = 0; i < n; i++) add_term_row(r, concept, best[i], gsea);
    cpt_text_addf(t, "</tbody></table><p class=\"note\">%d term%s with q &lt; 0.05", n_significant,
                  n_significant == 1 ? "" : "s");
    if (n_depleted) cpt_text_addf(t, ", %d of them depleted (↓), listed last", n_depleted);
    cpt_text_add(t, n_significant ? ".</p>" : "; the grey ones are only the best of many tests.</p>");
}

/* What the marker sets suggest by one ranking: a test's result, said as such. */
static void add_suggestion(cpt_report *r, int32_t concept, const char *ranking)
{
    char name[32];
    snprintf(name, sizeof name, "c%d", concept);
    const json_t *all = json_object_get(json_object_get(r->evaluation, "suggested"), "concepts");
    const json_t *best = json_object_get(json_object_get(all, name), ranking);
    const char *set = json_string_value(json_object_get(best, "set"));
    if (!set) return;
    cpt_text_add(&r->html, "<p class=\"note\">Markers suggest: <b>");
    cpt_text_add_html(&r->html, set);
    cpt_text_add(&r->html, "</b>, q ");
    cpt_report_p(&r->html, cpt_report_json(best, "q", NULL, NULL));
    cpt_text_add(&r->html, ". A suggestion, not a label.</p>");
}

void cpt_report_card_terms(cpt_report *r, int32_t concept)
{
    cpt_text *t = &r->html;
    for (int k = r->attribution ? 0 : 1; k < 2; k++) {
        const char *ranking = k ? "expression" : "attribution";
        cpt_text_addf(t, "<div><h4>Terms by %s</h4>", k ? "differential expression" :
                      "attribution");
        add_terms(r, concept, ranking, "gsea");
        add_terms(r, concept, ranking, "ora");
        add_suggestion(r, concept, ranking);
        cpt_text_add(t, "</div>");
    }
}

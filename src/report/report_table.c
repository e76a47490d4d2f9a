#include "report/report.h"

#include <math.h>
#include <string.h>

/* The table of all concepts beside the map: one row each, sortable by the script. data-v holds
 * the value a column sorts by where the text is not a plain number. */

enum { TABLE_GENES = 5 };

static void add_header(cpt_text *t, const char *name, const char *meaning, bool number)
{
    bool sorted = strcmp(name, "active") == 0;
    cpt_text_addf(t, "<th scope=\"col\" aria-sort=\"%s\" title=\"%s\"%s><button "
                     "type=\"button\">%s</button></th>",
                  sorted ? "descending" : "none", meaning, number ? " class=\"r\"" : "", name);
}

static void add_value_cell(cpt_text *t, double sort_value)
{
    if (isfinite(sort_value)) cpt_text_addf(t, "<td class=\"r\" data-v=\"%.6g\">", sort_value);
    else cpt_text_add(t, "<td class=\"r\" data-v=\"\">");
}

static void add_label(cpt_report *r, int32_t concept)
{
    const cpt_report_concept *c = &r->concepts[concept];
    cpt_text *t = &r->html;
    cpt_text_add(t, "<td>");
    if (c->label >= 0) {
        cpt_text_add_html(t, cpt_strings_get(&r->label->categories, c->label));
        cpt_text_addf(t, " <small>%.0f %%</small>", 100 * c->share);
    } else {
        cpt_text_add(t, "–");
    }
    cpt_text_add(t, "</td>");
}

static void add_genes(cpt_report *r, int32_t concept)
{
    int32_t genes[TABLE_GENES];
    int32_t n = cpt_report_genes(r, concept, r->attribution != NULL, TABLE_GENES, genes);
    cpt_text *t = &r->html;
    cpt_text_add(t, "<td class=\"gs\">");
    for (int32_t i = 0; i < n; i++) {
        size_t at = (size_t)concept * (size_t)r->universe->n + (size_t)genes[i];
        const char *mark = cpt_report_attributed(r, at) ? "b" : "span";
        cpt_text_addf(t, "%s<%s>", i ? " " : "", mark);
        cpt_text_add_html(t, cpt_strings_get(&r->universe->symbols, genes[i]));
        cpt_text_addf(t, "</%s>", mark);
    }
    cpt_text_add(t, "</td>");
}

static void add_term(cpt_report *r, int32_t concept)
{
    const cpt_enrichment_row *term = cpt_study_top_term(r->s, concept);
    cpt_text *t = &r->html;
    if (!term) {
        cpt_text_add(t, "<td data-v=\"\">–</td>");
        return;
    }
    cpt_text_addf(t, "<td data-v=\"%.6g\" title=\"", term->q);
    cpt_text_add_html(t, term->term);
    cpt_text_addf(t, ", by %s on %s, q = ", strcmp(term->method, "gsea") ? "ORA" : "GSEA",
                  strcmp(term->ranking, "attribution") ? "differential expression" : "attribution");
    cpt_report_p(t, term->q);
    cpt_text_addf(t, "%s\">%s", term->nes < 0 ? "; NES below 0: lower, not higher, with the "
                                                "concept" : "",
                  term->nes < 0 ? "<span class=\"dn\">↓</span> " : "");
    cpt_text_add_html(t, term->name);
    cpt_text_addf(t, " <small>%s q ", strcmp(term->ranking, "attribution") ? "DGE" : "attr.");
    cpt_report_p(t, term->q);
    cpt_text_add(t, "</small></td>");
}

static void add_row(cpt_report *r, int32_t concept, bool card)
{
    const cpt_concept_stats *st = &r->u->stats[concept];
    cpt_text *t = &r->html;
    cpt_text_addf(t, "<tr data-c=\"%d\"%s><td data-v=\"%d\">", concept, st->dead ?
                  " class=\"dead\"" : "", concept);
    if (!card) cpt_text_addf(t, "c%d", concept);
    else
        cpt_text_addf(t, "<a href=\"#c%d\">c%d</a> <button type=\"button\" class=\"show\" "
                         "title=\"Colour the map by c%d\" aria-label=\"Colour the "
                      "map by c%d\">◉</button>", concept, concept, concept, concept);
    cpt_text_add(t, "</td>");
    add_value_cell(t, (double)st->n_active);
    cpt_report_percent(t, st->frequency);
    cpt_text_add(t, " <small>");
    cpt_report_count(t, st->n_active);
    cpt_text_add(t, "</small></td>");
    add_value_cell(t, st->dead ? NAN : (double)st->max);
    cpt_report_number(t, st->dead ? NAN : (double)st->max, 3);
    cpt_text_add(t, "</td>");
    if (r->label) add_label(r, concept);
    add_genes(r, concept);
    add_term(r, concept);
    if (r->pairs) {
        add_value_cell(t, r->concepts[concept].distance);
        cpt_report_number(t, r->concepts[concept].distance, 2);
        cpt_text_add(t, "</td>");
    }
    if (r->opinions.n) {
        cpt_text_add(t, "<td>");
        cpt_report_expert(r, concept);
        cpt_text_add(t, "</td>");
    }
    cpt_text_add(t, "<td>");
    cpt_report_flags(r, concept);
    cpt_text_add(t, "</td></tr>\n");
}

cpt_status cpt_report_table(cpt_report *r, cpt_err *e)
{
    cpt_text *t = &r->html;
    cpt_text_add(t, "<div class=\"tablebox\"><div class=\"tools\"><label>Filter <input "
                    "type=\"search\" id=\"filter\" "
                    "placeholder=\"gene, term, label or c12\" title=\"Keeps concepts whose "
                    "number, label, flags, listed "
                    "genes or listed terms contain the text; also hides the other cards\"></label> "
                    "<span id=\"shown\" role=\"status\"></span></div><div class=\"scroll\" "
                    "tabindex=\"0\" role=\"region\" "
                    "aria-label=\"Table of concepts\"><table id=\"concepts\"><thead><tr>");
    add_header(t, "concept", "number of the concept; ◉ colours the map by it", false);
    add_header(t, "active", "share and number of cells in which the concept is active", true);
    add_header(t, "max", "largest activation over all cells, in units of the dictionary", true);
    if (r->label)
        add_header(t, "label", "label that fits the active cells best (F1), and the share of "
                               "active cells that carry it",
                   false);
    add_header(t, r->attribution ? "genes, attribution" : "genes, DGE",
               r->attribution ? "five genes with the largest |mean attribution|; bold: above the "
                                "cut-off with q below 0.05"
                              : "five genes with the largest differential expression score", false);
    add_header(t, "top term", "term with the smallest p among those with q below 0.05: GSEA on "
                              "attribution first, then "
               "ORA on it, then the same on differential expression (DGE); ↓: the genes of the "
               "term are lower with the concept; sorts by q", false);
    if (r->pairs)
        add_header(t, "distance", "median distance from prototype to counterfactual, in units of "
                                  "the median "
                   "nearest-neighbour distance of all cells", true);
    if (r->opinions.n)
        add_header(t, "experts", "name, label and mean rating that experts gave", false);
    add_header(t, "flags", "see the hints on each flag", false);
    cpt_text_add(t, "</tr></thead><tbody>\n");
    for (int32_t i = 0; i < r->u->n_concepts; i++) {
        cpt_status status = cpt_check_stop(r->s->ctx, e);
        if (status) return status;
        add_row(r, r->order[i], i < r->n_cards);
    }
    cpt_text_add(t, "</tbody></table></div></div>\n");
    return CPT_OK;
}

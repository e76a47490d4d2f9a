#include "report/report.h"
#include "plot/svg.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One card per concept: where it is active, which genes cause it beside which genes differ, which
 * terms stand behind either, and the cells it was read from. Tables are written in full, so that
 * a card is complete without the script. */

enum { HISTOGRAM_BINS = 24, LEADING_GENES = 6, MOST_ABSORBED = 12 };

/* ---- where it is active ---- */

static void add_histogram(cpt_report *r, int32_t concept)
{
    const cpt_csr *m = &r->u->by_concept;
    int64_t counts[HISTOGRAM_BINS] = {0};
    const cpt_scale x = {.low = 0, .high = r->u->stats[concept].max};
    const cpt_svg_plot plot = {300, 84, "Activations of the active cells", "activation of the "
                                                                           "active cells", NULL,
                                                                               NULL, 0};
    for (int64_t k = m->indptr[concept]; k < m->indptr[concept + 1]; k++) {
        int b = cpt_svg_bin(&x, HISTOGRAM_BINS, m->values[k]);
        if (b >= 0) counts[b]++;
    }
    cpt_svg_histogram(&r->html, &plot, &x, HISTOGRAM_BINS, counts);
}

static void add_composition_row(cpt_report *r, const char *name, int64_t n, int64_t n_active,
                                double background)
{
    cpt_text *t = &r->html;
    cpt_text_add(t, "<tr><td class=\"l\">");
    cpt_text_add_html(t, name);
    cpt_text_add(t, "</td><td>");
    cpt_svg_share(t, (double)n / (double)n_active, background);
    cpt_text_add(t, "</td><td class=\"r\">");
    cpt_report_percent(t, (double)n / (double)n_active);
    cpt_text_add(t, "</td><td class=\"r m\">");
    cpt_report_percent(t, background);
    cpt_text_add(t, "</td><td class=\"r\">");
    cpt_report_count(t, n);
    cpt_text_add(t, "</td></tr>");
}

/* The labels by falling number of active cells, found one after the other: a handful of few. */
static cpt_status add_composition(cpt_report *r, int32_t concept, cpt_err *e)
{
    const cpt_csr *m = &r->u->by_concept;
    int64_t n_active = r->u->stats[concept].n_active, n_labels = r->label->categories.n, rest =
        n_active;
    int64_t *counts = calloc((size_t)n_labels + 1, sizeof *counts);
    double rest_background = 1;
    if (!counts) return cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
    for (int64_t k = m->indptr[concept]; k < m->indptr[concept + 1]; k++) {
        int32_t code = r->label->codes[m->indices[k]];
        if (code >= 0) counts[code]++;
    }
    cpt_text_add(&r->html, "<table class=\"comp\"><thead><tr><th>composition</th><th title=\"bar: "
                           "share of the active "
                           "cells; tick: share of all cells\"></th><th class=\"r\" title=\"share "
                           "of the active cells with "
                           "this label\">active</th><th class=\"r\" title=\"share of all cells "
                           "with this label: what to "
                           "expect by chance\">all</th><th class=\"r\" title=\"active cells with "
                           "this label\">n</th></tr>"
                           "</thead><tbody>");
    for (int i = 0; i < CPT_REPORT_LABELS; i++) {
        int64_t best = 0;
        for (int64_t l = 1; l < n_labels; l++)
            if (counts[l] > counts[best]) best = l;
        if (counts[best] <= 0) break;
        double background = (double)r->label_counts[best] / (double)r->cells->n_cells;
        add_composition_row(r, cpt_strings_get(&r->label->categories, best), counts[best],
                            n_active, background);
        rest -= counts[best];
        rest_background -= background;
        counts[best] = 0;
    }
    if (rest > 0) add_composition_row(r, "(others)", rest, n_active, fmax(rest_background, 0));
    cpt_text_add(&r->html, "</tbody></table>");
    free(counts);
    return CPT_OK;
}

/* ---- genes ---- */

static void add_gene_name(cpt_report *r, int32_t gene, bool attributed)
{
    const char *symbol = cpt_strings_get(&r->universe->symbols, gene);
    const char *name = cpt_strings_get(&r->universe->names, gene);
    cpt_text *t = &r->html;
    cpt_text_add(t, "<td class=\"g\"");
    if (strcmp(symbol, name) != 0) {
        cpt_text_add(t, " title=\"in the input: ");
        cpt_text_add_html(t, name);
        cpt_text_add(t, "\"");
    }
    cpt_text_add(t, ">");
    cpt_text_add_html(t, symbol);
    cpt_text_add(t, attributed ? "<i>●</i></td>" : "</td>");
}

static void add_number_cell(cpt_text *t, double x, int digits)
{
    cpt_text_add(t, "<td class=\"r\">");
    cpt_report_number(t, x, digits);
    cpt_text_add(t, "</td>");
}

static void add_p_cell(cpt_text *t, double p)
{
    cpt_text_add(t, p < 0.05 ? "<td class=\"r\">" : "<td class=\"r m\">");
    cpt_report_p(t, p);
    cpt_text_add(t, "</td>");
}

static void add_shares(cpt_report *r, size_t at)
{
    double in = r->expression->share_in[at], out = r->expression->share_out[at];
    if (isnan(in) || isnan(out)) cpt_text_add(&r->html, "<td class=\"r\">–</td>");
    else cpt_text_addf(&r->html, "<td class=\"r\">%.0f / %.0f</td>", 100 * in, 100 * out);
}

static void add_attribution_row(cpt_report *r, int32_t concept, int32_t gene, double limit)
{
    const cpt_attribution *a = r->attribution;
    size_t at = (size_t)concept * (size_t)r->universe->n + (size_t)gene;
    cpt_text *t = &r->html;
    cpt_text_add(t, "<tr>");
    add_gene_name(r, gene, cpt_report_attributed(r, at));
    cpt_text_add(t, "<td>");
    cpt_svg_bar(t, a->mean[at], a->low[at], a->high[at], limit, r->cutoff);
    cpt_text_add(t, "</td>");
    add_number_cell(t, a->mean[at], 2);
    cpt_text_add(t, "<td class=\"r m\">");
    cpt_report_number(t, a->low[at], 2);
    cpt_text_add(t, " … ");
    cpt_report_number(t, a->high[at], 2);
    cpt_text_add(t, "</td>");
    add_p_cell(t, a->q[at]);
    cpt_text_addf(t, "<td class=\"r\">%d/%d</td>", a->n[at], a->n_pairs[concept]);
    add_number_cell(t, r->expression->logfc[at], 2);
    add_p_cell(t, r->expression->q[at]);
    add_shares(r, at);
    cpt_text_add(t, "</tr>");
}

static void add_attribution_table(cpt_report *r, int32_t concept)
{
    const cpt_attribution *a = r->attribution;
    int32_t genes[CPT_REPORT_GENES];
    int32_t n = cpt_report_genes(r, concept, true, CPT_REPORT_GENES, genes);
    int32_t n_attributed = cpt_report_count_attributed(r, concept);
    size_t row = (size_t)concept * (size_t)r->universe->n;
    double limit = 0;
    cpt_text *t = &r->html;
    cpt_text_addf(t, "<div><h4>Genes by attribution</h4><p class=\"note\">%d gene%s reach%s "
                     "|mean| ≥ %g with q &lt; 0.05 "
                  "(marked ●)%s</p>", n_attributed, n_attributed == 1 ? "" : "s", n_attributed == 1
                      ? "es" : "", r->cutoff,
                  n_attributed > n ? "; the strongest are listed." : ". The strongest by |mean| "
                                                                     "are listed, whether or not "
                  "they do.");
    if (n == 0) {
        cpt_text_add(t, "<p class=\"note\">No gene changes this concept in any pair of "
                        "cells.</p></div>");
        return;
    }
    for (int32_t i = 0; i < n; i++) {
        size_t at = row + (size_t)genes[i];
        const double sizes[] = {fabs((double)a->mean[at]), fabs((double)a->low[at]),
                                fabs((double)a->high[at])};
        for (int k = 0; k < 3; k++)
            if (sizes[k] > limit && isfinite(sizes[k])) limit = sizes[k];
    }
    cpt_text_addf(t, "<table class=\"genes\"><thead><tr><th>gene</th><th title=\"mean attribution "
                     "with its 95 %% interval; "
                  "full width = %.2g\"></th><th class=\"r\" title=\"mean attribution over pairs: "
                  "the change of the concept's "
                  "activation, in units of the prototype's activation, when the gene's value is "
                  "replaced by the "
                  "counterfactual's; positive: the gene supports the concept\">mean</th><th "
                  "class=\"r\" title=\"95 %% "
                  "percentile bootstrap interval of the mean over pairs\">95 %% interval</th><th "
                  "class=\"r\" title=\"sign-flip "
                  "test over pairs, Benjamini–Hochberg over the genes of the concept\">q</th><th "
                  "class=\"r\" title=\"pairs in "
                  "which the gene's value differs / pairs\">pairs</th><th class=\"r\" "
                  "title=\"log2 fold change, active against "
                  "other cells\">log2FC</th><th class=\"r\" title=\"q of differential "
                  "expression\">q DGE</th><th class=\"r\" "
                  "title=\"per cent of the active / of the other cells that express the gene\">%% "
                  "in/out</th></tr></thead>"
                  "<tbody>", limit);
    for (int32_t i = 0; i < n; i++) add_attribution_row(r, concept, genes[i], limit);
    cpt_text_add(t, "</tbody></table></div>");
}

static void add_expression_table(cpt_report *r, int32_t concept)
{
    int32_t genes[CPT_REPORT_GENES];
    int32_t n = cpt_report_genes(r, concept, false, CPT_REPORT_GENES, genes);
    cpt_text *t = &r->html;
    cpt_text_add(t, "<div><h4>Genes by differential expression</h4><p class=\"note\">Higher in "
                    "the active cells, ");
    cpt_report_count(t, r->expression->n_in[concept]);
    cpt_text_add(t, " against ");
    cpt_report_count(t, r->expression->n_out[concept]);
    cpt_text_add(t, ".</p>");
    if (n == 0) {
        cpt_text_add(t, "<p class=\"note\">Too few cells on one side for a test.</p></div>");
        return;
    }
    cpt_text_add(t, "<table class=\"genes\"><thead><tr><th>gene</th><th class=\"r\" title=\"log2 "
                    "fold change, active against "
                    "other cells\">log2FC</th><th class=\"r\" title=\"Benjamini–Hochberg over the "
                    "genes of the concept; the "
                    "same cells defined the groups, so it is a ranking rather than "
                    "evidence\">q</th><th class=\"r\" "
                    "title=\"per cent of the active / of the other cells that express the "
                    "gene\">% in/out</th>");
    if (r->attribution) cpt_text_add(t, "<th class=\"r\" title=\"mean attribution over "
                                        "pairs\">attr.</th>");
    cpt_text_add(t, "</tr></thead><tbody>");
    for (int32_t i = 0; i < n; i++) {
        size_t at = (size_t)concept * (size_t)r->universe->n + (size_t)genes[i];
        cpt_text_add(t, "<tr>");
        add_gene_name(r, genes[i], cpt_report_attributed(r, at));
        add_number_cell(t, r->expression->logfc[at], 2);
        add_p_cell(t, r->expression->q[at]);
        add_shares(r, at);
        if (r->attribution) add_number_cell(t, r->attribution->mean[at], 1);
        cpt_text_add(t, "</tr>");
    }
    cpt_text_add(t, "</tbody></table></div>");
}

/* ---- terms ---- */

/* The term is significant for the concept by the other ranking, by either method. */
static bool significant_by(const cpt_report *r, int32_t concept, const char *ranking,
                           const cpt_enrichment_row *row)
{
    const cpt_enrichment *all = r->enrichment;
    for (int64_t k = all->first[concept]; k < all->first[concept + 1]; k++) {
        const cpt_enrichment_row *other = &all->rows[k];
        if (other->q < 0.05 && strcmp(other->ranking, ranking) == 0 &&
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
    cpt_text_add(t, "</td>");
    if (gsea) {
        cpt_text_add(t, row->nes < 0 ? "<td class=\"r dn\">↓ " : "<td class=\"r\">");
        cpt_report_number(t, row->nes, 3);
        cpt_text_add(t, "</td>");
        cpt_text_addf(t, "<td class=\"r\">%d</td>", row->size);
    } else {
        cpt_text_addf(t, "<td class=\"r\">%d / %d</td>", row->overlap, row->size);
    }
    add_p_cell(t, row->q);
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

/* Smaller p first; among equal ones (the floor of simple permutations) the larger |NES|. */
static bool better(const cpt_enrichment_row *a, const cpt_enrichment_row *b)
{
    return a->log10p < b->log10p || (a->log10p == b->log10p && fabs(a->nes) > fabs(b->nes));
}

/* The best rows over all collections. */
static void add_terms(cpt_report *r, int32_t concept, const char *ranking, const char *method)
{
    const cpt_enrichment *all = r->enrichment;
    const cpt_enrichment_row *best[CPT_REPORT_TERMS];
    bool gsea = strcmp(method, "gsea") == 0;
    int n = 0, n_significant = 0;
    cpt_text *t = &r->html;
    for (int64_t k = all->first[concept]; k < all->first[concept + 1]; k++) {
        const cpt_enrichment_row *row = &all->rows[k];
        if (strcmp(row->ranking, ranking) != 0 || strcmp(row->method, method) != 0) continue;
        n_significant += row->q < 0.05;
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
    cpt_text_addf(t, "</tbody></table><p class=\"note\">%d term%s with q &lt; 0.05%s</p>",
                  n_significant,
                  n_significant == 1 ? "" : "s", n_significant == 0 ? "; the grey ones are only "
                                                                      "the best of many tests." :
                                                                          ".");
}

/* ---- prototypes ---- */

static void add_cell(cpt_report *r, int64_t cell)
{
    cpt_text *t = &r->html;
    cpt_text_add(t, "<td class=\"id\">");
    cpt_text_add_html(t, cpt_strings_get(&r->cells->cell_ids, cell));
    cpt_text_add(t, "</td>");
    if (!r->label) return;
    cpt_text_add(t, "<td>");
    cpt_text_add_html(t, cpt_report_label(r, cell));
    cpt_text_add(t, "</td>");
}

static void add_prototypes(cpt_report *r, int32_t concept)
{
    int64_t first = r->pairs->first[concept], last = r->pairs->first[concept + 1];
    const char *label = r->label ? "<th>label</th>" : "";
    cpt_text *t = &r->html;
    if (last == first) return;
    cpt_text_addf(t, "<details><summary>Prototypes and counterfactuals (%lld pairs",
                  (long long)(last - first));
    if (r->pairs->n_unmatched[concept])
        cpt_text_addf(t, "; %d prototypes had no inactive cell that matches",
                      r->pairs->n_unmatched[concept]);
    cpt_text_addf(t, ")</summary><table class=\"pairs\"><thead><tr><th>prototype</th>%s<th "
                     "class=\"r\" title=\"activation of "
                  "the concept in the prototype\">activation</th><th title=\"nearest cell in "
                  "which the concept is not active\">"
                  "counterfactual</th>%s<th class=\"r\" title=\"distance between the two, in "
                  "units of the median "
                  "nearest-neighbour distance of all cells\">distance</th></tr></thead><tbody>",
                      label, label);
    int shown = 0;
    for (int64_t k = first; k < last && shown < CPT_REPORT_PAIRS; k++) {
        const cpt_pair *p = &r->pairs->pairs[k];
        if (p->counterfactual_rank > 0) continue;
        cpt_text_add(t, "<tr>");
        add_cell(r, p->prototype);
        add_number_cell(t, p->activation, 3);
        add_cell(r, p->counterfactual);
        add_number_cell(t, p->relative_distance, 2);
        cpt_text_add(t, "</tr>");
        shown++;
    }
    cpt_text_add(t, "</tbody></table></details>");
}

/* ---- the card ---- */

static void add_head(cpt_report *r, int32_t concept)
{
    const cpt_concept_stats *st = &r->u->stats[concept];
    const cpt_report_concept *c = &r->concepts[concept];
    cpt_text *t = &r->html;
    cpt_text_addf(t, "<article class=\"card\" id=\"c%d\" data-c=\"%d\"><h3><a "
                     "href=\"#c%d\">c%d</a> ", concept, concept,
                  concept, concept);
    if (c->label >= 0) {
        cpt_text_add_html(t, cpt_strings_get(&r->label->categories, c->label));
        cpt_text_addf(t, " <small title=\"share of the active cells that carry the label; F1 of "
                         "'active' for the label\">"
                      "%.0f %% of active cells, F1 %.2f</small> ", 100 * c->share, c->f1);
    }
    cpt_report_expert(r, concept);
    cpt_report_flags(r, concept);
    cpt_text_add(t, "</h3><p class=\"stats\">active in <b>");
    cpt_report_count(t, st->n_active);
    cpt_text_add(t, "</b> cells (");
    cpt_report_percent(t, st->frequency);
    cpt_text_add(t, ") · mean of the active <b>");
    cpt_report_number(t, st->mean, 3);
    cpt_text_add(t, "</b>, max <b>");
    cpt_report_number(t, st->max, 3);
    cpt_text_add(t, "</b>");
    if (isfinite(c->distance)) {
        cpt_text_add(t, " · counterfactuals at <b>");
        cpt_report_number(t, c->distance, 2);
        cpt_text_add(t, "</b> × the usual nearest-neighbour distance");
    }
    cpt_text_add(t, "</p>\n");
}

cpt_status cpt_report_card(cpt_report *r, int32_t concept, cpt_err *e)
{
    cpt_status status = CPT_OK;
    cpt_text *t = &r->html;
    add_head(r, concept);
    cpt_text_addf(t, "<div class=\"body\"><div class=\"where\"><canvas data-c=\"%d\" role=\"img\" "
                     "aria-label=\"Cells that "
                  "activate c%d\"></canvas>", concept, concept);
    add_histogram(r, concept);
    if (r->label) status = add_composition(r, concept, e);
    cpt_text_addf(t, "</div><div class=\"what\"><div class=\"two%s\">", r->attribution ? "" :
                  " one");
    if (r->attribution) add_attribution_table(r, concept);
    add_expression_table(r, concept);
    cpt_text_addf(t, "</div><div class=\"two even%s\">", r->attribution ? "" : " one");
    for (int k = r->attribution ? 0 : 1; k < 2; k++) {
        const char *ranking = k ? "expression" : "attribution";
        cpt_text_addf(t, "<div><h4>Terms by %s</h4>", k ? "differential expression" :
                      "attribution");
        add_terms(r, concept, ranking, "gsea");
        add_terms(r, concept, ranking, "ora");
        cpt_text_add(t, "</div>");
    }
    cpt_text_add(t, "</div>");
    if (r->pairs) add_prototypes(r, concept);
    cpt_text_add(t, "</div></div></article>\n");
    return status;
}

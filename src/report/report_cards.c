#include "report/report.h"
#include "plot/svg.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One card per concept: where it is active, which genes cause it beside which genes differ, which
 * terms stand behind either, and the cells it was read from. Tables are written in full, so that
 * a card is complete without the script. */

enum { HISTOGRAM_BINS = 24 };

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
    cpt_report_p_cell(t, a->q[at]);
    cpt_text_addf(t, "<td class=\"r\">%d/%d</td>", a->n[at], a->n_pairs[concept]);
    add_number_cell(t, r->expression->logfc[at], 2);
    cpt_report_p_cell(t, r->expression->q[at]);
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
        cpt_report_p_cell(t, r->expression->q[at]);
        add_shares(r, at);
        if (r->attribution) add_number_cell(t, r->attribution->mean[at], 1);
        cpt_text_add(t, "</tr>");
    }
    cpt_text_add(t, "</tbody></table></div>");
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
        cpt_text_add(t, "<small>fits best</small> ");
        cpt_text_add_html(t, cpt_strings_get(&r->label->categories, c->label));
        cpt_text_addf(t, " <small title=\"share of the active cells that carry the label, and of all; F1 of "
                         "'active' for the label\">"
                      "%.0f %% of active cells (of all %.0f %%), F1 %.2f</small> ", 100 * c->share,
                      100 * (double)r->label_counts[c->label] / (double)r->cells->n_cells, c->f1);
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
    cpt_report_card_terms(r, concept);
    cpt_text_add(t, "</div>");
    if (r->pairs) add_prototypes(r, concept);
    cpt_text_add(t, "</div></div></article>\n");
    return status;
}

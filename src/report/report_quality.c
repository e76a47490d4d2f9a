#include "base/memory.h"
#include "report/report.h"
#include "plot/svg.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* How far the dictionary and the attributions can be trusted: reconstruction, frequencies, the
 * attributions beside the noise floor, the share of concepts with terms, and the fit to the
 * labels. */

enum { N_BINS = 40 };

/* ---- reconstruction ---- */

typedef struct score {
    const char *key, *name, *meaning;
} score;

static void add_scores(cpt_report *r)
{
    static const score scores[] = {
        {"r2_feature", "R² per feature", "1 − residual / total variance about the mean of each "
                                         "dimension, summed over "
         "dimensions; 0 = no better than the mean of the training cells"},
        {"r2_scalar", "R² scalar", "the same about one mean of all values of all dimensions; "
                                   "inflated when dimensions "
         "have different means"},
        {"cosine", "cosine", "mean cosine between embedding and reconstruction"},
        {"fvu", "FVU", "fraction of variance unexplained"},
        {"l0", "L0", "mean number of active concepts per cell"},
        {"dead_fraction", "silent concepts", "share of concepts active in none of these cells"},
    };
    static const char *const columns[] = {"train", "validation", "mean_baseline"};
    cpt_text *t = &r->html;
    cpt_text_add(t, "<table class=\"plain\"><thead><tr><th scope=\"col\">Reconstruction</th><th "
                    "class=\"r\" "
                    "title=\"cells the dictionary was trained on\">training</th><th class=\"r\" "
                    "title=\"cells "
                    "kept out of its training\">validation</th><th class=\"r\" title=\"predicting "
                    "the mean of the "
                    "training cells for every validation cell\">mean "
                    "baseline</th></tr></thead><tbody><tr><td>cells</td>");
    for (int k = 0; k < 3; k++) {
        double n = cpt_report_json(r->dictionary, columns[k], "n", NULL);
        cpt_text_add(t, "<td class=\"r\">");
        if (isfinite(n)) cpt_report_count(t, (int64_t)n);
        cpt_text_add(t, "</td>");
    }
    cpt_text_add(t, "</tr>");
    for (size_t i = 0; i < sizeof scores / sizeof *scores; i++) {
        cpt_text_addf(t, "<tr><td title=\"%s\">%s</td>", scores[i].meaning, scores[i].name);
        for (int k = 0; k < 3; k++) {
            double x = cpt_report_json(r->dictionary, columns[k], scores[i].key, NULL);
            cpt_text_addf(t, "<td class=\"r\" title=\"%s\">", scores[i].meaning);
            if (isfinite(x)) cpt_report_number(t, fabs(x) < 5e-4 ? 0 : x, 3);
            cpt_text_add(t, "</td>");
        }
        cpt_text_add(t, "</tr>");
    }
    cpt_text_add(t, "</tbody></table>");
}

/* ---- terms ---- */

static void add_annotated(cpt_report *r)
{
    static const char *const rankings[] = {"attribution", "expression"};
    static const char *const methods[] = {"gsea", "ora"};
    cpt_text *t = &r->html;
    cpt_text_add(t, "<table class=\"plain\"><thead><tr><th scope=\"col\">Concepts with a term, q "
                    "&lt; 0.05</th>"
                    "<th class=\"r\" title=\"gene set enrichment on the whole "
                    "ranking\">GSEA</th><th class=\"r\" "
                    "title=\"over-representation among the selected "
                    "genes\">ORA</th></tr></thead><tbody>");
    for (int i = 0; i < 2; i++) {
        const json_t *row = json_object_get(json_object_get(r->evaluation, "annotated"),
                                            rankings[i]);
        cpt_text_addf(t, "<tr><td>by %s</td>", i ? "differential expression" : "attribution");
        for (int k = 0; k < 2; k++) {
            double n = cpt_report_json(row, methods[k], "n_with_term", NULL);
            double of = cpt_report_json(row, methods[k], "n", NULL);
            cpt_text_add(t, "<td class=\"r\">");
            if (isfinite(n)) cpt_text_addf(t, "%.0f of %.0f", n, of);
            else cpt_text_add(t, "–");
            cpt_text_add(t, "</td>");
        }
        cpt_text_add(t, "</tr>");
    }
    cpt_text_add(t, "</tbody></table><p class=\"note\">At least one term after Benjamini–Hochberg "
                    "within concept, "
                    "ranking, method and collection. The attribution ranks come from at most a "
                    "few dozen pairs of cells; "
                    "the expression ranks from all cells.</p>");
}

/* ---- figures ---- */

static void add_frequencies(cpt_report *r)
{
    int64_t counts[N_BINS] = {0};
    double lowest = 1.0 / (double)(r->cells->n_cells > 1 ? r->cells->n_cells : 2);
    const cpt_scale x = {.low = lowest, .high = 1, .log = true};
    const cpt_svg_marker marker = {0.5, "dense"};
    const cpt_svg_plot plot = {420, 200, "How often concepts are active", "share of cells in "
                                                                          "which a concept is "
                                                                          "active",
                               "concepts", &marker, 1};
    for (int32_t c = 0; c < r->u->n_concepts; c++) {
        if (r->u->stats[c].dead) continue;
        int b = cpt_svg_bin(&x, N_BINS, r->u->stats[c].frequency);
        if (b >= 0) counts[b]++;
    }
    cpt_text_add(&r->html, "<figure><figcaption>Activation frequency of the living "
                           "concepts</figcaption>");
    cpt_svg_histogram(&r->html, &plot, &x, N_BINS, counts);
    cpt_text_add(&r->html, "</figure>");
}

static void add_noise_note(cpt_report *r)
{
    const cpt_attribution *a = r->attribution;
    cpt_text *t = &r->html;
    if (a->n_noise_directions == 0 || isnan(a->cutoff_percentile)) {
        cpt_text_add(t, "<p class=\"note\">No random directions were run, so there is no noise "
                        "floor.</p>");
        return;
    }
    cpt_text_addf(t, "<p class=\"note\">Noise floor: the same pipeline on %d random directions. ",
                  a->n_noise_directions);
    cpt_report_percent(t, a->cutoff_percentile);
    cpt_text_addf(t, " of their |mean attributions| lie below the cut-off %g. ", r->cutoff);
    if (a->cutoff_percentile < 0.95)
        cpt_text_add(t, "The cut-off does not separate concepts from noise here: read genes near "
                        "it with care.");
    cpt_text_add(t, "</p>");
}

static void add_attributions(cpt_report *r)
{
    const cpt_attribution *a = r->attribution;
    int64_t counts[N_BINS] = {0}, n = 0, n_above = 0;
    const cpt_scale x = {.low = 1e-5, .high = 10, .log = true};
    const cpt_svg_marker markers[] = {{r->cutoff, "cut-off"}, {a->noise_quantiles[0], "noise 50 %"},
                                      {a->noise_quantiles[2], "95 %"},
                                          {a->noise_quantiles[3], "99 %"}};
    cpt_svg_plot plot = {420, 200, "Sizes of attributions", "|mean attribution| of a gene to a "
                                                            "concept",
                         "gene–concept pairs", markers, isfinite(a->noise_quantiles[0]) ? 4 : 1};
    size_t total = (size_t)a->n_concepts * (size_t)a->n_genes;
    for (size_t i = 0; i < total; i++) {
        double m = fabs((double)a->mean[i]);
        if (!(m > 0)) continue;
        int b = cpt_svg_bin(&x, N_BINS, m < x.low ? x.low : m > x.high ? x.high : m);
        counts[b]++;
        n++;
        n_above += m >= r->cutoff;
    }
    cpt_text_add(&r->html, "<figure><figcaption>Attributions, and the noise floor</figcaption>");
    cpt_svg_histogram(&r->html, &plot, &x, N_BINS, counts);
    cpt_text_add(&r->html, "</figure><p class=\"note\">");
    cpt_report_count(&r->html, n);
    cpt_text_add(&r->html, " attributions are not 0; ");
    cpt_report_percent(&r->html, n ? (double)n_above / (double)n : NAN);
    cpt_text_add(&r->html, " reach the cut-off. Values beyond the axis are counted at its "
                           "ends.</p>");
    add_noise_note(r);
}

/* Frequency against the share of the best label: every dot leads to its card. */
static cpt_status add_purities(cpt_report *r, cpt_err *e)
{
    cpt_svg_point *points = NULL;
    cpt_text titles = {0};
    size_t *starts = NULL;
    double lowest = 1.0 / (double)(r->cells->n_cells > 1 ? r->cells->n_cells : 2);
    const cpt_scale x = {.low = lowest, .high = 1, .log = true}, y = {.low = 0, .high = 1};
    const cpt_svg_plot plot = {420, 240, "Frequency and purity of concepts", "share of cells in "
                                                                             "which a concept is "
                                                                             "active",
                               "share of its best label", NULL, 0};
    cpt_status status;
    CPT_TRY(cpt_alloc(&points, (size_t)r->n_cards, sizeof *points, e));
    CPT_TRY(cpt_alloc(&starts, (size_t)r->n_cards * 2, sizeof *starts, e));
    for (int32_t i = 0; i < r->n_cards; i++) { /* "#c12" NUL "c12 label" NUL,
                                              pointed at when complete */
        const cpt_report_concept *c = &r->concepts[r->order[i]];
        starts[2 * i] = titles.length;
        cpt_text_addf(&titles, "#c%d", r->order[i]);
        cpt_text_add_bytes(&titles, "", 1);
        starts[2 * i + 1] = titles.length;
        cpt_text_addf(&titles, "c%d: %.0f %% %s", r->order[i], 100 * c->share,
                      c->label >= 0 ? cpt_strings_get(&r->label->categories, c->label) : "");
        cpt_text_add_bytes(&titles, "", 1);
    }
    CPT_TRY(cpt_text_status(&titles, e));
    for (int32_t i = 0; i < r->n_cards; i++) {
        int32_t c = r->order[i];
        points[i] = (cpt_svg_point){r->u->stats[c].frequency, r->concepts[c].share,
                                    titles.bytes + starts[2 * i],
                                    titles.bytes + starts[2 * i + 1]};
    }
    cpt_text_add(&r->html, "<figure><figcaption>How pure concepts are (each dot leads to its "
                           "card)</figcaption>");
    cpt_svg_scatter(&r->html, &plot, &x, &y, r->n_cards, points);
    cpt_text_add(&r->html, "</figure>");
done:
    free(points);
    free(starts);
    cpt_text_free(&titles);
    return status;
}

/* ---- labels ---- */

/* Of how many cells the table speaks, where it is not all: its counts must not puzzle anybody. */
static void add_purity_sample(cpt_report *r, const json_t *purity)
{
    const int64_t n = (int64_t)cpt_report_json(purity, "n", NULL, NULL);
    int64_t labelled = 0;
    for (int64_t l = 0; l < r->label->categories.n; l++) labelled += r->label_counts[l];
    if (n < 1 || n >= labelled) return;
    cpt_text_add(&r->html, "<p class=\"note\">On ");
    cpt_report_count(&r->html, n);
    cpt_text_add(&r->html, " of ");
    cpt_report_count(&r->html, labelled);
    cpt_text_add(&r->html, " labelled cells, drawn at random.</p>");
}

static void add_label_fit(cpt_report *r)
{
    const json_t *purity = json_object_get(r->evaluation, "purity");
    const json_t *labels = json_object_get(purity, "labels");
    cpt_text *t = &r->html;
    cpt_text_add(t, "<table class=\"plain\"><thead><tr><th scope=\"col\">Label</th><th "
                    "class=\"r\" title=\"cells with "
                    "the label\">cells</th><th title=\"concept whose active cells fit the label "
                    "best by F1\">best "
                    "concept</th><th class=\"r\" title=\"harmonic mean of precision and recall of "
                    "'active' for the label; "
                    "1 = the same cells\">F1</th><th class=\"r\" title=\"probability that a cell "
                    "with the label has a "
                    "higher activation than one without; 0.5 = "
                    "chance\">AUROC</th></tr></thead><tbody>");
    for (int64_t l = 0; l < r->label->categories.n; l++) {
        const char *name = cpt_strings_get(&r->label->categories, l);
        const json_t *fit = json_object_get(labels, name);
        const char *concept = json_string_value(json_object_get(fit, "concept"));
        if (!fit || !concept) continue;
        cpt_text_add(t, "<tr><td>");
        cpt_text_add_html(t, name);
        cpt_text_add(t, "</td><td class=\"r\">");
        cpt_report_count(t, (int64_t)cpt_report_json(fit, "n", NULL, NULL));
        cpt_text_add(t, "</td><td><a href=\"#");
        cpt_text_add_html(t, concept);
        cpt_text_add(t, "\">");
        cpt_text_add_html(t, concept);
        cpt_text_add(t, "</a></td><td class=\"r\">");
        cpt_report_number(t, cpt_report_json(fit, "f1", NULL, NULL), 2);
        cpt_text_add(t, "</td><td class=\"r\">");
        cpt_report_number(t, cpt_report_json(fit, "auroc", NULL, NULL), 3);
        cpt_text_add(t, "</td></tr>");
    }
    cpt_text_add(t, "</tbody></table><p class=\"note\">The best of all concepts was chosen for "
                    "each label on the same "
                    "cells: the scores are a little optimistic, most for labels with few "
                    "cells.</p>");
    add_purity_sample(r, purity);
}

cpt_status cpt_report_quality(cpt_report *r, cpt_err *e)
{
    cpt_status status = CPT_OK;
    cpt_text_add(&r->html, "<section id=\"quality\"><h2>Quality</h2><div class=\"cols\"><div>");
    add_scores(r);
    add_annotated(r);
    cpt_report_sweep(r);
    cpt_text_add(&r->html, "</div><div>");
    add_frequencies(r);
    if (r->attribution) add_attributions(r);
    else
        cpt_text_add(&r->html, "<p class=\"note\">The embedding was given as numbers, without its "
                               "model: no gene can be "
                               "perturbed, so there are no attributions. Genes and terms are by "
                               "differential expression."
                               "</p>");
    cpt_text_add(&r->html, "</div><div>");
    if (r->label) {
        status = add_purities(r, e);
        add_label_fit(r);
    } else {
        cpt_text_add(&r->html, "<p class=\"note\">No label column was given, so the fit of "
                               "concepts to cell types is not "
                               "known.</p>");
    }
    cpt_text_add(&r->html, "</div></div></section>\n");
    return status;
}

#include "base/memory.h"
#include "io/json_value.h"
#include "report/report.h"
#include "plot/svg_series.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Stability, faithfulness and the noise floor as drawings with their nulls. */

enum { MAX_POINTS = 64 };

static int read_numbers(const json_t *list, double *out)
{
    int n = 0;
    for (size_t i = 0; i < json_array_size(list) && n < MAX_POINTS; i++) {
        const json_t *x = json_array_get(list, i);
        out[n++] = cpt_json_double(x);
    }
    return n;
}

/* ---- stability ---- */

static cpt_svg_row row_of(const char *name, const char *css, const json_t *from, const char *key)
{
    const double mean = cpt_report_json(from, key, "mean", NULL),
                 sd = cpt_report_json(from, key, "sd", NULL);
    return (cpt_svg_row){name, css, mean, mean - sd, mean + sd, NAN, NULL};
}

static void add_stability(cpt_report *r)
{
    const json_t *s = json_object_get(r->evaluation, "stability"),
                 *d = json_object_get(s, "decoder"), *a = json_object_get(s, "activation"),
                 *null = json_object_get(d, "null");
    const cpt_scale x = {.low = 0, .high = 1};
    const cpt_svg_plot plot = {420,
                               0,
                               "Agreement of dictionaries trained with different seeds",
                               "mean over matched concepts",
                               NULL,
                               NULL,
                               0};
    cpt_text *t = &r->html;
    cpt_text_add(t, "<div>");
    if (!cpt_report_skipped(r, s, "Stability over seeds")) {
        const cpt_svg_row rows[] = {
            row_of("direction (cosine)", "s0", d, "cosine"),
            row_of("random cells", "nl", json_object_get(null, "random_cells"), "cosine"),
            row_of("same covariance", "nl", json_object_get(null, "random_covariance"), "cosine"),
            row_of("random rows", "nl", json_object_get(null, "random_rows"), "cosine"),
            row_of("activity (correlation)", "s0", a, "correlation"),
            row_of("random dictionaries", "nl", json_object_get(a, "null"), "correlation")};
        cpt_text_add(t,
                     "<figure><figcaption>Would another seed find the same concepts?</figcaption>");
        cpt_svg_rows(t, &plot, &x, sizeof rows / sizeof *rows, rows);
        cpt_text_addf(
            t,
            "</figure><p class=\"note\">%.0f trainings, concepts matched one to one; whiskers: sd "
            "over "
            "pairs of dictionaries (grey: the same for nulls). Correlation above 0.7 for ",
            cpt_report_json(s, "n_seeds", NULL, NULL));
        cpt_report_percent(t, cpt_report_json(a, "above_0.7", "mean", NULL));
        cpt_text_add(t, " of matched concepts (random dictionaries ");
        cpt_report_percent(t,
                           cpt_report_json(json_object_get(a, "null"), "above_0.7", "mean", NULL));
        cpt_text_add(t, "), cosine above 0.9 for ");
        cpt_report_percent(t, cpt_report_json(d, "above_0.9", "mean", NULL));
        cpt_text_add(t, "; PW-MCC ");
        cpt_report_number(t, cpt_report_json(d, "pw_mcc", "mean", NULL), 3);
        cpt_text_add(
            t, ". In few dimensions random directions match well: judge by the grey bars.</p>");
    }
    cpt_text_add(t, "</div>");
}

/* ---- faithfulness ---- */

static const struct {
    const char *key, *name, *css;
} rankings[] = {{"attribution", "attribution", "s0"},
                {"ig", "integrated gradients", "s3"},
                {"gradient", "gradient", "s4"},
                {"expression", "expression, higher first", "s1"},
                {"expression_abs", "expression, either way", "s2"},
                {"random", "random order", "nl"}};
enum { N_RANKINGS = sizeof rankings / sizeof *rankings };

static void add_curve_plot(cpt_report *r, const json_t *f)
{
    static const char *const title = "Drop of the activation when the top genes are swapped";
    double x[MAX_POINTS], y[N_RANKINGS][3][MAX_POINTS], top = 0.1;
    cpt_svg_line lines[N_RANKINGS];
    int n_lines = 0;
    const int n = read_numbers(json_object_get(f, "sizes"), x);
    for (int i = 0; i < N_RANKINGS; i++) {
        const json_t *curve = json_object_get(json_object_get(f, "curve"), rankings[i].key);
        if (!curve || read_numbers(json_object_get(curve, "mean"), y[i][0]) != n ||
            read_numbers(json_object_get(curve, "low"), y[i][1]) != n ||
            read_numbers(json_object_get(curve, "high"), y[i][2]) != n)
            continue;
        for (int p = 0; p < n; p++)
            if (y[i][2][p] > top) top = y[i][2][p];
        const bool banded = i == 0 || i == N_RANKINGS - 1;
        lines[n_lines++] =
            (cpt_svg_line){rankings[i].name,        rankings[i].css,        n, x, y[i][0],
                           banded ? y[i][1] : NULL, banded ? y[i][2] : NULL};
    }
    const cpt_scale sx = {.low = 1, .high = 200, .log = true},
                    sy = {.low = 0, .high = top < 1 ? top : 1};
    const cpt_svg_plot plot = {
        420, 230, title, "genes swapped together", "share of the activation lost", NULL, 0};
    cpt_text_addf(&r->html, "<figure><figcaption>%s</figcaption>", title);
    cpt_svg_lines(&r->html, &plot, &sx, &sy, n_lines, lines);
    cpt_text_add(&r->html, "</figure>");
}

static void add_area_table(cpt_report *r, const json_t *f)
{
    cpt_text *t = &r->html;
    cpt_text_add(t, "<table class=\"plain\"><thead><tr><th scope=\"col\">Genes ranked by</th><th "
                    "class=\"r\" title=\"mean "
                    "drop over log m from 1 to 200 genes\">area</th><th class=\"r\">95 % "
                    "interval</th><th class=\"r\" "
                    "title=\"attribution's area minus this one\">difference</th><th "
                    "class=\"r\">p</th></tr></thead><tbody>");
    for (int i = 0; i < N_RANKINGS; i++) {
        const json_t *area = json_object_get(json_object_get(f, "area"), rankings[i].key),
                     *less =
                         json_object_get(json_object_get(f, "attribution_less"), rankings[i].key);
        if (!area) continue;
        cpt_text_addf(t, "<tr><td>%s</td><td class=\"r\">", rankings[i].name);
        cpt_report_number(t, cpt_report_json(area, "mean", NULL, NULL), 3);
        cpt_text_add(t, "</td><td class=\"r\">");
        cpt_report_number(t, cpt_report_json(area, "low", NULL, NULL), 3);
        cpt_text_add(t, " to ");
        cpt_report_number(t, cpt_report_json(area, "high", NULL, NULL), 3);
        cpt_text_add(t, "</td><td class=\"r\">");
        if (less) cpt_report_number(t, cpt_report_json(less, "mean", NULL, NULL), 3);
        cpt_text_add(t, "</td><td class=\"r\">");
        if (less) cpt_report_p(t, cpt_report_json(less, "p", NULL, NULL));
        cpt_text_add(t, "</td></tr>");
    }
    cpt_text_add(t, "</tbody></table>");
}

static void add_faithfulness(cpt_report *r)
{
    const json_t *f = json_object_get(r->evaluation, "faithfulness"),
                 *behind = json_object_get(f, "attribution_does_not_lead");
    cpt_text *t = &r->html;
    cpt_text_add(t, "<div>");
    if (!cpt_report_skipped(r, f, "Faithfulness of gene rankings")) {
        add_curve_plot(r, f);
        add_area_table(r, f);
        cpt_text_addf(
            t,
            "<p class=\"note\">%.0f concepts, %.0f pairs of cells that took no part in the "
            "attribution; "
            "bands and intervals: concepts and pairs drawn anew; difference: what attribution's area "
            "is larger by; p: signs of concepts flipped. ",
            cpt_report_json(f, "n_concepts", NULL, NULL),
            cpt_report_json(f, "n_pairs", NULL, NULL));
        cpt_text_add(t, json_array_size(behind) ? "Attribution does not lead for "
                                                : "Attribution leads for every concept.");
        for (size_t i = 0; i < json_array_size(behind); i++) {
            const char *name = json_string_value(json_array_get(behind, i));
            int32_t c = -1;
            if (!name || sscanf(name, "c%d", &c) != 1 || c < 0 || c >= r->u->n_concepts) continue;
            cpt_text_add(t, i ? ", " : "");
            cpt_report_link(r, c);
        }
        if (json_array_size(behind))
            cpt_text_add(t, " (against the better ranking by expression, or against random).");
        cpt_text_add(t, "</p>");
    }
    cpt_text_add(t, "</div>");
}

/* ---- noise floor ---- */

static const struct {
    const char *key, *name, *css;
} sources[] = {{"concepts", "concepts", "s0"},
               {"neurons", "neurons", "s1"},
               {"random_dictionary", "random dictionary", "s4"},
               {"random_directions", "random directions", "nl"}};
enum { N_SOURCES = sizeof sources / sizeof *sources };

static void add_noise_plot(cpt_report *r, const json_t *noise)
{
    static const char *const title = "Sizes of attributions";
    double x[MAX_POINTS], y[N_SOURCES][MAX_POINTS], top = 0.01;
    cpt_svg_line lines[N_SOURCES];
    int n_lines = 0;
    const json_t *bins = json_object_get(noise, "histogram_bins");
    const double low = cpt_report_json(bins, "low", NULL, NULL),
                 high = cpt_report_json(bins, "high", NULL, NULL),
                 n_bins = cpt_report_json(bins, "n", NULL, NULL);
    if (!(low > 0 && high > low && n_bins > 1 && n_bins <= MAX_POINTS)) return;
    for (int b = 0; b < (int)n_bins; b++) x[b] = low * pow(high / low, (b + 0.5) / n_bins);
    for (int i = 0; i < N_SOURCES; i++) {
        const json_t *source = json_object_get(json_object_get(noise, "sources"), sources[i].key);
        const double total = cpt_report_json(source, "n_attributions", NULL, NULL);
        if (!source || read_numbers(json_object_get(source, "histogram"), y[i]) != (int)n_bins ||
            !(total > 0))
            continue;
        for (int b = 0; b < (int)n_bins; b++) {
            y[i][b] /= total;
            if (y[i][b] > top) top = y[i][b];
        }
        lines[n_lines++] =
            (cpt_svg_line){sources[i].name, sources[i].css, (int)n_bins, x, y[i], NULL, NULL};
    }
    const json_t *cut = json_object_get(noise, "cutoff_for_5_percent_false");
    const json_t *all = json_object_get(json_object_get(cut, "random_directions"), "all");
    const cpt_svg_marker markers[] = {
        {r->cutoff, "cut-off"},
        {cpt_report_json(all, "by_gene", NULL, NULL), "95 % of random"},
        {cpt_report_json(all, "by_call", NULL, NULL), "5 % of calls false"}};
    const cpt_scale sx = {.low = low, .high = high, .log = true}, sy = {.low = 0, .high = top};
    const cpt_svg_plot plot = {
        420, 210, title, "|mean attribution|", "share of the attributions", markers, 3};
    cpt_text_addf(&r->html, "<figure><figcaption>%s</figcaption>", title);
    cpt_svg_lines(&r->html, &plot, &sx, &sy, n_lines, lines);
    cpt_text_add(&r->html, "</figure>");
}

static void add_noise_table(cpt_report *r, const json_t *noise)
{
    static const char *const quantiles[] = {"q50", "q95", "q99", "q99.9"};
    cpt_text *t = &r->html;
    cpt_text_add(
        t, "<table class=\"plain\"><thead><tr><th scope=\"col\">|mean attribution|</th><th "
           "class=\"r\">50 "
           "%</th><th class=\"r\">95 %</th><th class=\"r\">99 %</th><th class=\"r\">99.9 %</th><th "
           "class=\"r\">below cut-off</th></tr></thead><tbody>");
    for (int i = 0; i < N_SOURCES; i++) {
        const json_t *source = json_object_get(json_object_get(noise, "sources"), sources[i].key);
        if (!source) continue;
        cpt_text_addf(t, "<tr><td>%.0f %s</td>", cpt_report_json(source, "n_units", NULL, NULL),
                      sources[i].name);
        for (int q = 0; q < 4; q++) {
            cpt_text_add(t, "<td class=\"r\">");
            cpt_report_number(
                t, cpt_report_json(source, "abs_mean_attribution", quantiles[q], NULL), 2);
            cpt_text_add(t, "</td>");
        }
        cpt_text_addf(t, "<td class=\"r\">%.2f %%</td></tr>",
                      floor(1e4 * cpt_report_json(source, "share_below_cutoff", NULL, NULL)) / 100);
    }
    cpt_text_add(t, "</tbody></table>");
}

static void add_cutoff_note(cpt_report *r, const json_t *noise)
{
    static const char *const nulls[][2] = {{"random_directions", "random directions"},
                                           {"random_dictionary", "a random dictionary"}};
    cpt_text *t = &r->html;
    cpt_text_add(t, "<p class=\"note\">");
    for (int i = 0; i < 2; i++) {
        const json_t *all = json_object_get(
            json_object_get(json_object_get(noise, "cutoff_for_5_percent_false"), nulls[i][0]),
            "all");
        if (!all) continue;
        cpt_text_addf(t, "By %s, 5 %% of meaningless genes pass ", nulls[i][1]);
        cpt_report_number(t, cpt_report_json(all, "by_gene", NULL, NULL), 2);
        const double by_call = cpt_report_json(all, "by_call", NULL, NULL);
        if (isfinite(by_call)) {
            cpt_text_add(t, ", and of the genes called 5 % are false at ");
            cpt_report_number(t, by_call, 2);
            cpt_text_add(t, ". ");
        } else cpt_text_add(t, "; at no cut-off are as few as 5 % of the genes called false. ");
    }
    cpt_text_add(t, "A unit of a dictionary can lose its place among the k largest, which makes "
                    "one pair count 1: "
                    "random directions never do.</p>");
}

cpt_status cpt_report_curves(cpt_report *r, cpt_err *e)
{
    const json_t *noise = json_object_get(r->evaluation, "noise_floor");
    add_stability(r);
    add_faithfulness(r);
    cpt_text_add(&r->html, "<div>");
    if (!cpt_report_skipped(r, noise, "Noise floor")) {
        add_noise_plot(r, noise);
        add_noise_table(r, noise);
        add_cutoff_note(r, noise);
    }
    cpt_text_add(&r->html, "</div>");
    return cpt_text_status(&r->html, e);
}

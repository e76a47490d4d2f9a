#include "report/report.h"
#include "plot/svg.h"

#include <math.h>
#include <string.h>

/* Curves of `evaluate --sweep`: the unexplained variance (1 - R2 per feature, validation cells)
 * over the number of active units per cell, one line per kind of dictionary, whiskers of one sd
 * over the seeds.
 *
 * Logarithmic in both: the lines of 0.99 and 0.999 would lie on each other under the roof of an R2
 * axis. What is beyond the axis (an exact reconstruction has 0) lies on its edge. */

enum { WIDTH = 520, HEIGHT = 300, LEFT = 58, RIGHT = 124, TOP = 8, BOTTOM = 36 };
static const double LOWEST = 1e-4, HIGHEST = 2;

typedef struct curve {
    const char *kind, *how, *name, *colour, *dash;
} curve;

/* Expansion 4 stands for each autoencoder: the default of small embeddings, and in every grid. */
static const curve curves[] = {
    {"topk", "trained", "topk", "var(--pos)", ""},
    {"batchtopk", "trained", "batchtopk", "var(--neg)", ""},
    {"matryoshka", "trained", "matryoshka", "var(--uniq)", ""},
    {"random", "trained", "random rows", "var(--cut)", ""},
    {"pca", "rank", "pca, rank k", "var(--fg)", ""},
    {"pca", "largest", "pca, k largest", "var(--fg)", "4 2"},
    {"ica", "largest", "ica, k largest", "var(--flag)", "4 2"},
    {"nmf", "rank", "nmf, rank k", "var(--flag)", ""},
    {"neurons", "largest", "neurons, k largest", "var(--mute)", "1 2"},
};
enum { N_CURVES = sizeof curves / sizeof *curves };

static bool has(const json_t *row, const char *key, const char *value)
{
    const char *text = json_string_value(json_object_get(row, key));
    return text && strcmp(text, value) == 0;
}

static bool belongs(const json_t *row, const curve *c, double dim)
{
    if (!has(row, "kind", c->kind) || !has(row, "how", c->how)) return false;
    const double n = cpt_report_json(row, "n_concepts", NULL, NULL);
    return strcmp(c->how, "trained") != 0 || n == (dim > 64 ? 8 : 4) * dim;
}

/* ---- axes ---- */

static void add_axes(cpt_text *t, const cpt_scale *x, const cpt_scale *y, const json_t *rows)
{
    static const struct {
        double unexplained;
        const char *text;
    } levels[] = {{1, "0"},       {0.5, "0.5"},     {0.1, "0.9"},
                  {0.01, "0.99"}, {0.001, "0.999"}, {1e-4, "0.9999"}};
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        const double at = cpt_scale_at(y, levels[i].unexplained);
        cpt_text_addf(t,
                      "<path class=\"gl\" d=\"M%.1f %.1fH%.1f\"/><text x=\"%.1f\" y=\"%.1f\" "
                      "text-anchor=\"end\">%s</text>",
                      x->from, at, x->to, x->from - 5, at + 4, levels[i].text);
    }
    double last = -1;
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row)
    {
        const double k = cpt_report_json(row, "k", NULL, NULL), at = cpt_scale_at(x, k);
        if (!has(row, "kind", "pca") || !has(row, "how", "rank") || at < last + 14) continue;
        cpt_text_addf(t,
                      "<path class=\"ax\" d=\"M%.1f %.1fv4\"/><text x=\"%.1f\" y=\"%.1f\" "
                      "text-anchor=\"middle\">%.0f</text>",
                      at, y->to, at, y->to + 15, k);
        last = at;
    }
    const double middle = (y->from + y->to) / 2;
    cpt_text_addf(
        t,
        "<path class=\"ax\" d=\"M%.1f %.1fH%.1f\"/><text x=\"%.1f\" y=\"%.1f\" "
        "text-anchor=\"middle\">active units per cell (measured)</text><text x=\"11\" y=\"%.1f\" "
        "text-anchor=\"middle\" transform=\"rotate(-90 11 %.1f)\">R² per feature, validation"
        "</text>",
        x->from, y->to, x->to, (x->from + x->to) / 2, y->to + 30, middle, middle);
}

/* ---- curves ---- */

typedef struct place {
    double x, y, low, high;
} place;

static bool place_of(const json_t *row, const cpt_scale *x, const cpt_scale *y, place *p)
{
    const double r2 = cpt_report_json(row, "validation_r2_feature", "mean", NULL);
    double sd = cpt_report_json(row, "validation_r2_feature", "sd", NULL);
    const double l0 = cpt_report_json(row, "validation_l0", "mean", NULL);
    if (!isfinite(r2) || !(l0 > 0)) return false;
    if (!isfinite(sd)) sd = 0;
    *p = (place){cpt_scale_at(x, l0), cpt_scale_at(y, 1 - r2), cpt_scale_at(y, 1 - r2 + sd),
                 cpt_scale_at(y, 1 - r2 - sd)};
    return true;
}

/* Returns the height at which it ends, for its name; NaN when it has no points. */
static double add_curve(cpt_text *t, const json_t *rows, const curve *c, double dim,
                        const cpt_scale *x, const cpt_scale *y)
{
    cpt_text whiskers = {0};
    double last = NAN;
    size_t i;
    json_t *row;
    place p;
    cpt_text_addf(
        t, "<path fill=\"none\" stroke=\"%s\" stroke-width=\"1.5\" stroke-dasharray=\"%s\" d=\"",
        c->colour, c->dash);
    json_array_foreach(rows, i, row)
    {
        if (!belongs(row, c, dim) || !place_of(row, x, y, &p)) continue;
        cpt_text_addf(t, "%c%.1f %.1f", isnan(last) ? 'M' : 'L', p.x, p.y);
        cpt_text_addf(&whiskers, "M%.1f %.1fV%.1f", p.x, p.low, p.high);
        last = p.y;
    }
    cpt_text_add(t, isnan(last) ? "M0 0\"/>" : "\"/>");
    if (!isnan(last))
        cpt_text_addf(t, "<path fill=\"none\" stroke=\"%s\" d=\"%s\"/>", c->colour,
                      cpt_text_str(&whiskers));
    if (whiskers.failed) t->failed = true;
    cpt_text_free(&whiskers);
    return last;
}

/* Names stand to the right in the order in which the curves end, never on each other: pushed down
 * where they are dense, and up again from the lower edge. */
static void add_names(cpt_text *t, const double *ends, const cpt_scale *x)
{
    enum { LINE = 12 };
    int order[N_CURVES], n = 0;
    double at[N_CURVES];
    for (int i = 0; i < N_CURVES; i++) {
        if (!isfinite(ends[i])) continue;
        int j = n++;
        for (; j > 0 && ends[order[j - 1]] > ends[i]; j--) order[j] = order[j - 1];
        order[j] = i;
    }
    for (int i = 0; i < n; i++) at[i] = i ? fmax(ends[order[i]], at[i - 1] + LINE) : ends[order[i]];
    for (int i = n - 1; i >= 0; i--)
        at[i] = fmin(at[i], i == n - 1 ? HEIGHT - BOTTOM : at[i + 1] - LINE);
    for (int i = 0; i < n; i++) {
        const curve *c = &curves[order[i]];
        cpt_text_addf(
            t,
            "<path fill=\"none\" stroke=\"%s\" stroke-dasharray=\"%s\" stroke-width=\"1.5\" "
            "d=\"M%.1f %.1fh10\"/><text x=\"%.1f\" y=\"%.1f\">%s</text>",
            c->colour, c->dash, x->to + 6, at[i], x->to + 19, at[i] + 4, c->name);
    }
}

static void add_plot(cpt_report *r, const json_t *sweep)
{
    cpt_text *t = &r->html;
    const json_t *rows = json_object_get(sweep, "rows");
    const double dim = cpt_report_json(sweep, "dim", NULL, NULL);
    double lowest = INFINITY, highest = 0, ends[N_CURVES];
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row)
    {
        const double k = cpt_report_json(row, "k", NULL, NULL);
        lowest = fmin(lowest, k);
        highest = fmax(highest, k);
    }
    const cpt_scale x = {lowest * 0.9, highest * 1.1, LEFT, WIDTH - RIGHT, true};
    const cpt_scale y = {LOWEST, HIGHEST, TOP, HEIGHT - BOTTOM, true}; /* the best on top */
    cpt_text_addf(
        t,
        "<figure><figcaption>Reconstruction by kind of dictionary</figcaption><svg class=\"plot\" "
        "viewBox=\"0 0 %d %d\" role=\"img\"><title>Reconstruction over the number of active "
        "units</title>",
        WIDTH, HEIGHT);
    add_axes(t, &x, &y, rows);
    for (int c = 0; c < N_CURVES; c++) ends[c] = add_curve(t, rows, &curves[c], dim, &x, &y);
    add_names(t, ends, &x);
    cpt_text_add(t, "</svg></figure>");
}

/* ---- which setting is enough ---- */

static void add_smallest(cpt_text *t, const json_t *setting)
{
    const double k = cpt_report_json(setting, "k", NULL, NULL),
                 concepts = cpt_report_json(setting, "n_concepts", NULL, NULL);
    if (!isfinite(k)) cpt_text_add(t, "<td class=\"r\">–</td>");
    else if (isfinite(concepts)) cpt_text_addf(t, "<td class=\"r\">%.0f of %.0f</td>", k, concepts);
    else cpt_text_addf(t, "<td class=\"r\">%.0f</td>", k);
}

/* Both lists have the same kinds in the same order. */
static void add_reaches(cpt_report *r, const json_t *sweep)
{
    cpt_text *t = &r->html;
    const json_t *reaches = json_object_get(sweep, "reaches_r2_feature");
    const json_t *first = json_object_get(reaches, "0.99"),
                 *second = json_object_get(reaches, "0.999");
    size_t i;
    json_t *row;
    cpt_text_add(t, "<table class=\"plain\"><thead><tr><th scope=\"col\">Smallest k with R² of</th>"
                    "<th class=\"r\">0.99</th><th class=\"r\">0.999</th></tr></thead><tbody>");
    json_array_foreach(first, i, row)
    {
        cpt_text_add(t, "<tr><td>");
        cpt_text_add_html(t, json_string_value(json_object_get(row, "kind")));
        if (!has(row, "how", "trained")) {
            cpt_text_add(t, ", ");
            cpt_text_add_html(t, json_string_value(json_object_get(row, "how")));
        }
        cpt_text_add(t, "</td>");
        add_smallest(t, row);
        add_smallest(t, json_array_get(second, i));
        cpt_text_add(t, "</tr>");
    }
    cpt_text_add(t, "</tbody></table>");
}

void cpt_report_sweep(cpt_report *r)
{
    const json_t *sweep = json_object_get(r->evaluation, "sweep");
    if (!json_is_object(sweep) || !json_array_size(json_object_get(sweep, "rows"))) return;
    add_plot(r, sweep);
    cpt_text_addf(
        &r->html,
        "<p class=\"note\">Mean and sd over %.0f seeds, which change the training and the "
        "split. <em>rank</em>: k components, all used; <em>largest</em>: of all components the k "
        "largest of each cell. Drawn: autoencoders with %d concepts per dimension; all settings "
        "are in sweep.tsv.</p>",
        cpt_report_json(sweep, "n_seeds", NULL, NULL),
        cpt_report_json(sweep, "dim", NULL, NULL) > 64 ? 8 : 4);
    add_reaches(r, sweep);
}

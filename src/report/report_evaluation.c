#include "base/memory.h"
#include "report/report.h"
#include "plot/svg_series.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The section "How far to trust it": the paragraph of evaluation.json, probing, single units
 * against labels, and the flags. Every drawing has its null drawn in. Curves: report_curves.c. */

bool cpt_report_skipped(cpt_report *r, const json_t *part, const char *what)
{
    const char *why = json_string_value(json_object_get(part, "skipped"));
    if (part && !why) return false;
    cpt_text_addf(&r->html, "<p class=\"note\">%s: not done", what);
    if (why) {
        cpt_text_add(&r->html, " – ");
        cpt_text_add_html(&r->html, why);
    }
    cpt_text_add(&r->html, ".</p>");
    return true;
}

void cpt_report_link(cpt_report *r, int32_t concept)
{
    const bool card = r->concepts[concept].card;
    if (card) cpt_text_addf(&r->html, "<a href=\"#c%d\">c%d</a>", concept, concept);
    else cpt_text_addf(&r->html, "c%d", concept);
}

static const json_t *part(const cpt_report *r, const char *name)
{
    return json_object_get(r->evaluation, name);
}

/* ---- probing ---- */

typedef struct probe_input {
    const char *key, *name, *css;
} probe_input;
static const probe_input inputs[] = {{"embedding", "embedding = all neurons", "s1"},
                                     {"concepts", "all concepts", "s0"},
                                     {"concepts_20", "best 20 concepts", "s0"},
                                     {"concepts_10", "best 10 concepts", "s0"},
                                     {"concepts_5", "best 5 concepts", "s0"},
                                     {"concepts_1", "best concept", "s0"},
                                     {"neurons_20", "best 20 neurons", "s1"},
                                     {"neurons_10", "best 10 neurons", "s1"},
                                     {"neurons_5", "best 5 neurons", "s1"},
                                     {"neurons_1", "best neuron", "s1"},
                                     {"pca", "all components", "s2"},
                                     {"pca_20", "best 20 components", "s2"},
                                     {"pca_10", "best 10 components", "s2"},
                                     {"pca_5", "best 5 components", "s2"},
                                     {"pca_1", "best component", "s2"}};
enum { N_INPUTS = sizeof inputs / sizeof *inputs };

static void add_probe_plot(cpt_report *r, const json_t *target, const char *measure,
                           const char *caption)
{
    cpt_svg_row rows[N_INPUTS];
    const cpt_scale x = {.low = 0, .high = 1};
    const cpt_svg_plot plot = {420, 0, caption, measure, NULL, NULL, 0};
    const char *key = strcmp(measure, "accuracy") == 0 ? "accuracy" : "macro_f1";
    const double null = cpt_report_json(target, "majority", key, NULL);
    for (int i = 0; i < N_INPUTS; i++) {
        const double mean = cpt_report_json(target, inputs[i].key, key, "mean"),
                     sd = cpt_report_json(target, inputs[i].key, key, "sd");
        rows[i] =
            (cpt_svg_row){inputs[i].name, inputs[i].css, mean, mean - sd, mean + sd, null, NULL};
    }
    cpt_text_addf(&r->html, "<figure><figcaption>%s</figcaption>", caption);
    cpt_svg_rows(&r->html, &plot, &x, N_INPUTS, rows);
    cpt_text_add(&r->html, "</figure>");
}

static void add_probe_note(cpt_report *r, const json_t *target)
{
    cpt_text *t = &r->html;
    const json_t *left_out = json_object_get(target, "left_out");
    cpt_text_addf(
        t,
        "<p class=\"note\">%.0f cells, %.0f classes, %.0f folds%s; whiskers: sd over folds; "
        "dashed: always "
        "the commonest class. Best columns are chosen on the training cells of each fold.",
        cpt_report_json(target, "n", NULL, NULL), cpt_report_json(target, "classes", NULL, NULL),
        cpt_report_json(target, "folds", NULL, NULL),
        json_is_true(json_object_get(target, "grouped_by_donor")) ? " of whole donors" : "");
    for (size_t i = 0; i < json_array_size(left_out); i++) {
        cpt_text_add(t, i ? ", " : " Left out: ");
        const char *label = json_string_value(json_array_get(left_out, i));
        cpt_text_add_html(t, label ? label : "");
    }
    cpt_text_add(t, json_array_size(left_out) ? ".</p>" : "</p>");
}

static void add_probing(cpt_report *r)
{
    static const char *const targets[][2] = {{"label", "Labels"},
                                             {"cell_cycle", "Cell cycle phase"}};
    for (int i = 0; i < 2; i++) {
        const json_t *target = json_object_get(part(r, "probing"), targets[i][0]);
        char caption[96];
        cpt_text_add(&r->html, "<div>");
        snprintf(caption, sizeof caption, "%s read off by a linear probe", targets[i][1]);
        if (!cpt_report_skipped(r, target, caption)) {
            add_probe_plot(r, target, i ? "macro F1" : "accuracy", caption);
            add_probe_note(r, target);
        }
        cpt_text_add(&r->html, "</div>");
    }
}

/* ---- purity ---- */

static int ascending(const void *x, const void *y)
{
    const double *a = x, *b = y;
    return (*a > *b) - (*a < *b);
}

/* The scores of a kind of units in falling order, over their rank as a share: a line from best to
 * worst. */
static cpt_status sorted_scores(const json_t *kind, const char *measure, double **x, double **y,
                                int *n, cpt_err *e)
{
    const json_t *list = json_object_get(json_object_get(kind, measure), "best");
    const size_t size = json_array_size(list);
    cpt_status status;
    *n = 0;
    CPT_TRY(cpt_alloc(x, size, sizeof **x, e));
    CPT_TRY(cpt_alloc(y, size, sizeof **y, e));
    for (size_t i = 0; i < size; i++)
        if (json_is_number(json_array_get(list, i)))
            (*y)[(*n)++] = -json_number_value(json_array_get(list, i));
    qsort(*y, (size_t)*n, sizeof **y, ascending);
    for (int i = 0; i < *n; i++) {
        (*y)[i] = -(*y)[i];
        (*x)[i] = *n > 1 ? (double)i / (*n - 1) : 0;
    }
done:
    return status;
}

static cpt_status add_purity_plot(cpt_report *r, const char *measure, const char *name, cpt_err *e)
{
    static const char *const kinds[2] = {"concepts", "neurons"};
    const json_t *purity = part(r, "purity");
    double *x[2] = {NULL, NULL}, *y[2] = {NULL, NULL};
    int n[2];
    cpt_svg_line lines[4];
    double ends[2] = {0, 1}, null[2][2];
    const cpt_scale scale = {.low = 0, .high = 1};
    char caption[64];
    snprintf(caption, sizeof caption, "Best %s of each unit with any label", name);
    const cpt_svg_plot plot = {420,  200,  caption, "units from best to worst (share)",
                               name, NULL, 0};
    cpt_status status;
    for (int i = 0; i < 2; i++) {
        const json_t *kind = json_object_get(purity, kinds[i]);
        CPT_TRY(sorted_scores(kind, measure, &x[i], &y[i], &n[i], e));
        null[i][0] = null[i][1] = cpt_report_json(kind, measure, "null_mean", NULL);
        lines[i] = (cpt_svg_line){
            i ? "neurons, both signs" : "concepts", i ? "s1" : "s0", n[i], x[i], y[i], NULL, NULL};
        lines[2 + i] = (cpt_svg_line){i ? "neurons, labels permuted" : "concepts, labels permuted",
                                      "nl",
                                      2,
                                      ends,
                                      null[i],
                                      NULL,
                                      NULL};
    }
    cpt_text_addf(&r->html, "<figure><figcaption>%s</figcaption>", caption);
    cpt_svg_lines(&r->html, &plot, &scale, &scale, 4, lines);
    cpt_text_add(&r->html, "</figure>");
done:
    for (int i = 0; i < 2; i++) {
        free(x[i]);
        free(y[i]);
    }
    return status;
}

static void add_p(cpt_text *t, double p)
{
    cpt_text_add(t, "p = ");
    cpt_report_p(t, p);
}

static cpt_status add_purity(cpt_report *r, cpt_err *e)
{
    const json_t *purity = part(r, "purity");
    cpt_text *t = &r->html;
    cpt_text_add(t, "<div>");
    if (!cpt_report_skipped(r, purity, "Single units against labels")) {
        const json_t *f1 = json_object_get(json_object_get(purity, "best_by_label"), "f1"),
                     *units =
                         json_object_get(json_object_get(purity, "concepts_against_neurons"), "f1");
        cpt_status status = add_purity_plot(r, "f1", "F1", e);
        cpt_text_add(t, "</div><div>");
        if (status == CPT_OK) status = add_purity_plot(r, "auroc", "AUROC", e);
        if (status) return status;
        cpt_text_addf(t,
                      "<p class=\"note\">%.0f of %.0f concepts fit a label better than permuted "
                      "labels (F1, q &lt; "
                      "0.05). Mean over units: concepts ",
                      cpt_report_json(purity, "concepts", "f1", "n_q_below_0.05"),
                      cpt_report_json(purity, "concepts", "n", NULL));
        cpt_report_number(t, cpt_report_json(units, "mean_concepts", NULL, NULL), 3);
        cpt_text_add(t, ", neurons ");
        cpt_report_number(t, cpt_report_json(units, "mean_neurons", NULL, NULL), 3);
        cpt_text_add(t, " (");
        add_p(t, cpt_report_json(units, "p", NULL, NULL));
        cpt_text_add(t, "). Label by label, best concept against best neuron: F1 ");
        cpt_report_number(t, cpt_report_json(f1, "mean_concepts", NULL, NULL), 3);
        cpt_text_add(t, " against ");
        cpt_report_number(t, cpt_report_json(f1, "mean_neurons", NULL, NULL), 3);
        cpt_text_add(t, " (");
        add_p(t, cpt_report_json(f1, "p", NULL, NULL));
        cpt_text_add(t, "). The AUROC of a sparse unit is held down by its many inactive cells, "
                        "all equal.</p>");
    }
    cpt_text_add(t, "</div>");
    return CPT_OK;
}

/* ---- flags ---- */

/* evaluation.json is a file like any other: what it holds is looked at before it is used. */
static bool holds(const json_t *list, const char *text)
{
    for (size_t k = 0; k < json_array_size(list); k++) {
        const char *item = json_string_value(json_array_get(list, k));
        if (item && strcmp(item, text) == 0) return true;
    }
    return false;
}

static void add_flagged(cpt_report *r, const json_t *concepts, const char *flag)
{
    enum { MOST = 60 };
    int shown = 0;
    for (int32_t c = 0; c < r->u->n_concepts; c++) {
        if (!holds(json_object_get(json_array_get(concepts, (size_t)c), "flags"), flag)) continue;
        if (shown++ >= MOST) continue;
        cpt_text_add(&r->html, shown > 1 ? " " : "");
        cpt_report_link(r, c);
    }
    if (shown > MOST) cpt_text_addf(&r->html, " and %d more", shown - MOST);
}

static void add_flags(cpt_report *r)
{
    static const char *const names[][2] = {{"dead", "dead"},           {"dense", "dense"},
                                           {"rare", "rare"},           {"one_donor", "one donor"},
                                           {"one_batch", "one batch"}, {"confounded", "confounded"},
                                           {"fragile", "fragile"},     {"unstable", "unstable"}};
    const json_t *flags = part(r, "flags");
    cpt_text *t = &r->html;
    cpt_text_add(t, "<h3>Flags</h3><table class=\"plain\"><thead><tr><th "
                    "scope=\"col\">Flag</th><th class=\"r\">"
                    "concepts</th><th>when (our defaults)</th><th>which</th></tr></thead><tbody>");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const double n = cpt_report_json(flags, "counts", names[i][0], NULL);
        const char *rule =
            json_string_value(json_object_get(json_object_get(flags, "rules"), names[i][0]));
        cpt_text_addf(t, "<tr><td>%s</td><td class=\"r\">", names[i][1]);
        if (isnan(n)) cpt_text_add(t, "<small>not examined</small>");
        else cpt_text_addf(t, "%.0f", n);
        cpt_text_add(t, "</td><td class=\"m\">");
        cpt_text_add_html(t, rule ? rule : "");
        cpt_text_add(t, "</td><td>");
        add_flagged(r, json_object_get(flags, "concepts"), names[i][0]);
        cpt_text_add(t, "</td></tr>");
    }
    cpt_text_add(t, "</tbody></table>");
}

/* ---- the section ---- */

cpt_status cpt_report_evaluation(cpt_report *r, cpt_err *e)
{
    cpt_text *t = &r->html;
    const char *summary = json_string_value(part(r, "summary"));
    const char *effort = json_string_value(part(r, "effort"));
    cpt_status status;
    cpt_text_add(t, "<section id=\"trust\"><h2>How far to trust it</h2>");
    if (summary && *summary) {
        cpt_text_add(t, "<blockquote>");
        cpt_text_add_html(t, summary);
        cpt_text_add(t, "</blockquote>");
    }
    if (effort && strcmp(effort, "quick") == 0)
        cpt_text_add(t, "<p class=\"note\">In brief; <code>conceptome evaluate STUDY</code> does "
                        "it in full.</p>");
    cpt_text_add(t, "<div class=\"cols\">");
    add_probing(r);
    CPT_TRY(add_purity(r, e));
    CPT_TRY(cpt_report_curves(r, e));
    cpt_text_add(t, "</div>");
    add_flags(r);
    cpt_text_add(t, "</section>\n");
done:
    return status;
}

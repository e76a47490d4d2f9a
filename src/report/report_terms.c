#include "report/report.h"
#include "plot/svg_series.h"

#include <math.h>
#include <string.h>

/* How far the terms of the report can be trusted: what each ranking finds, what is left under stricter
 * corrections, what dictionaries that learned nothing find by the same pipeline, what is left when
 * less is known about genes, and what marker sets suggest. Everything is read from evaluation.json;
 * experiments that were not run are named with the option that runs them. */

static const char *const rankings[] = {"attribution", "expression"};
static const char *const ranking_words[] = {"attribution", "differential expression"};

static const json_t *part(const cpt_report *r, const char *a, const char *b)
{
    const json_t *x = json_object_get(r->evaluation, a);
    return b ? json_object_get(x, b) : x;
}

static void add_header(cpt_text *t, const char *first, int n, const char *const *columns)
{
    cpt_text_addf(t, "<table class=\"plain\"><thead><tr><th scope=\"col\">%s</th>", first);
    for (int i = 0; i < n; i++) cpt_text_addf(t, "<th class=\"r\">%s</th>", columns[i]);
    cpt_text_add(t, "</tr></thead><tbody>");
}

/* Shares and correlations. */
static void add_cell(cpt_text *t, double x)
{
    cpt_text_add(t, "<td class=\"r\">");
    if (isfinite(x)) cpt_text_addf(t, x < 0 ? "−%.2f" : "%.2f", fabs(x));
    else cpt_text_add(t, "–");
    cpt_text_add(t, "</td>");
}

static void add_count(cpt_text *t, double n)
{
    if (isfinite(n)) cpt_report_count(t, (int64_t)n);
    else cpt_text_add(t, "–");
}

static void add_of(cpt_text *t, double n, double of)
{
    cpt_text_add(t, "<td class=\"r\">");
    if (isfinite(n) && isfinite(of)) cpt_text_addf(t, "%.0f of %.0f", n, of);
    else cpt_text_add(t, "–");
    cpt_text_add(t, "</td>");
}

/* ---- what was found, by ranking and by correction ---- */

static void add_routes(cpt_report *r)
{
    static const char *const columns[] = {"attribution only", "both", "expression only"};
    static const char *const keys[] = {"attribution_only", "both", "expression_only"};
    const json_t *routes = part(r, "annotated", "routes");
    cpt_text *t = &r->html;
    if (!json_object_size(routes)) return;
    add_header(t, "Significant terms found by", 3, columns);
    for (int m = 0; m < 2; m++) {
        cpt_text_addf(t, "<tr><td>%s</td>", m ? "ORA" : "GSEA");
        for (int k = 0; k < 3; k++) {
            cpt_text_add(t, "<td class=\"r\">");
            add_count(t, cpt_report_json(routes, m ? "ora" : "gsea", keys[k], NULL));
            cpt_text_add(t, "</td>");
        }
        cpt_text_add(t, "</tr>");
    }
    cpt_text_add(t, "</tbody></table><p class=\"note\">Pairs of a concept and a term with q &lt; 0.05 within "
                    "the concept. On the cards, terms that one ranking alone finds are marked.</p>");
}

static void add_correction_rows(cpt_text *t, const json_t *by_method, const char *ranking)
{
    static const char *const keys[] = {"within_concept", "over_all_concepts", "hierarchical"};
    for (int m = 0; m < 2; m++) {
        const char *collection;
        json_t *c;
        json_object_foreach(json_object_get(by_method, m ? "ora" : "gsea"), collection, c)
        {
            cpt_text_addf(t, "<tr><td>%s, %s <small>", ranking, m ? "ORA" : "GSEA");
            cpt_text_add_html(t, collection);
            cpt_text_add(t, "</small></td>");
            for (int k = 0; k < 3; k++) {
                cpt_text_add(t, "<td class=\"r\">");
                add_count(t, cpt_report_json(c, keys[k], "n_findings", NULL));
                cpt_text_addf(t, " <small>in %.0f</small></td>", cpt_report_json(c, keys[k], "n_concepts", NULL));
            }
            cpt_text_add(t, "</tr>");
        }
    }
}

static void add_corrections(cpt_report *r)
{
    static const char *const columns[] = {"within each concept", "over all concepts", "hierarchical"};
    cpt_text *t = &r->html;
    if (!part(r, "corrections", NULL)) return;
    add_header(t, "Findings <small>in concepts</small>", 3, columns);
    for (int i = 0; i < 2; i++) {
        const json_t *by_method = part(r, "corrections", rankings[i]);
        if (json_object_size(by_method)) add_correction_rows(t, by_method, rankings[i]);
    }
    cpt_text_add(t, "</tbody></table><p class=\"note\">Benjamini–Hochberg over the terms of a concept; over the "
                    "terms of all concepts; and over concepts first (Simes), then within those selected "
                    "(Benjamini and Bogomolov). Lists: enrichment_corrections.tsv.gz.</p>");
}

/* ---- along the graph ---- */

const char *const cpt_graph_tests[CPT_N_GRAPH_TESTS][2] = {{"elim", "elim"},
                                                           {"weight01", "weight01"},
                                                           {"parent_child", "parent–child"},
                                                           {"parent_child_intersect", "p.–c., intersection"}};

bool cpt_report_graph_test(const cpt_report *r, int test)
{
    const char *list = cpt_options_text(r->s->options, "dag-tests"), *name = cpt_graph_tests[test][0];
    for (const char *p = list; *p; p += strcspn(p, ","), p += *p == ',')
        if (strcspn(p, ",") == strlen(name) && strncmp(p, name, strlen(name)) == 0) return true;
    return false;
}

/* Findings by one ranking: [0] by ORA on GO, [1 + m] by test m. */
static void count_findings(const cpt_report *r, const char *ranking, int64_t found[1 + CPT_N_GRAPH_TESTS])
{
    const cpt_enrichment *all = r->enrichment;
    for (int64_t k = 0; k < all->n; k++) {
        const cpt_enrichment_row *row = &all->rows[k];
        if (!(row->q < 0.05) || strcmp(row->ranking, ranking) != 0 || strncmp(row->collection, "GO_", 3) != 0) continue;
        found[0] += strcmp(row->method, "ora") == 0;
        for (int m = 0; m < CPT_N_GRAPH_TESTS; m++) found[1 + m] += strcmp(row->method, cpt_graph_tests[m][0]) == 0;
    }
}

static void add_graph_tests(cpt_report *r)
{
    const char *columns[1 + CPT_N_GRAPH_TESTS] = {"ORA"};
    int column[1 + CPT_N_GRAPH_TESTS] = {0}, n = 1;
    cpt_text *t = &r->html;
    for (int m = 0; m < CPT_N_GRAPH_TESTS; m++)
        if (cpt_report_graph_test(r, m)) {
            column[n] = 1 + m;
            columns[n++] = cpt_graph_tests[m][1];
        }
    if (n == 1) return;
    cpt_text_add(t, "<h3>Along GO's graph</h3>");
    add_header(t, "Findings on the same lists of genes", n, columns);
    for (int i = r->attribution ? 0 : 1; i < 2; i++) {
        int64_t found[1 + CPT_N_GRAPH_TESTS] = {0};
        count_findings(r, rankings[i], found);
        cpt_text_addf(t, "<tr><td>%s</td>", ranking_words[i]);
        for (int k = 0; k < n; k++) {
            cpt_text_add(t, "<td class=\"r\">");
            cpt_report_count(t, found[column[k]]);
            cpt_text_add(t, "</td>");
        }
        cpt_text_add(t, "</tr>");
    }
    cpt_text_add(t, "</tbody></table><p class=\"note\">Pairs of a concept and a GO term with q &lt; 0.05. A term's genes "
                    "are its descendants' too, so plain ORA finds whole branches. elim and weight01 take the genes of "
                    "descendants that were found away from their ancestors; parent–child asks whether a term is "
                    "enriched given its parents. p of elim and weight01 were selected on: they rank terms, and their "
                    "counts are a guide only.</p>");
}

/* ---- controls ---- */

static void add_share_row(cpt_text *t, const char *name, const json_t *o)
{
    cpt_text_addf(t, "<tr><td>%s</td>", name);
    for (int i = 0; i < 2; i++) {
        const json_t *g = json_object_get(json_object_get(json_object_get(o, "annotated"), rankings[i]), "gsea");
        add_of(t, cpt_report_json(g, "n_with_term", NULL, NULL), cpt_report_json(g, "n", NULL, NULL));
    }
    for (int i = 0; i < 2; i++) {
        const json_t *p = json_object_get(json_object_get(o, "percentile"), rankings[i]);
        add_of(t, cpt_report_json(p, "n_at_least_95", NULL, NULL), cpt_report_json(p, "n_concepts", NULL, NULL));
    }
    cpt_text_add(t, "</tr>");
}

static void add_dictionaries(cpt_report *r, const json_t *d)
{
    static const char *const columns[] = {"by<br>attribution", "by<br>expression", "beyond 95 %,<br>attribution",
                                          "beyond 95 %,<br>expression"};
    static const char *const kinds[][2] = {{"study", "this study's concepts"},
                                           {"neurons", "neurons, both signs"},
                                           {"pca", "principal components, both signs"},
                                           {"random", "random directions"}};
    cpt_text *t = &r->html;
    add_header(t, "Units with a term (GSEA)", 4, columns);
    for (int i = 0; i < 4; i++)
        if (json_object_get(d, kinds[i][0])) add_share_row(t, kinds[i][1], json_object_get(d, kinds[i][0]));
    cpt_text_addf(t, "</tbody></table><p class=\"note\">%sThe same embedding, pipeline, universe, sets and correction; "
                    "only the dictionary differs. <i>Beyond 95 %%</i>: concepts of this study whose best |NES| is "
                    "larger than that of 95 %% of the control's units. A share that controls reach as well says "
                    "that the embedding holds the biology, not that the dictionary found it.</p>",
                  r->several_collections ? "A term of any collection, each corrected by itself; marker sets do not "
                                           "count. " : "");
}

static void add_shuffled(cpt_report *r, const json_t *controls)
{
    static const char *const columns[] = {"by attribution", "by expression"};
    cpt_text *t = &r->html;
    const char *collection;
    json_t *o;
    add_header(t, "Beyond shuffled genes, p &lt; 0.05", 2, columns);
    json_object_foreach(json_object_get(controls, "shuffled_genes"), collection, o)
    {
        cpt_text_add(t, "<tr><td>");
        cpt_text_add_html(t, collection);
        cpt_text_add(t, "</td>");
        for (int i = 0; i < 2; i++)
            add_of(t, cpt_report_json(o, rankings[i], "n_below_0.05", NULL),
                   cpt_report_json(o, rankings[i], "n_concepts", NULL));
        cpt_text_add(t, "</tr>");
    }
    static const char *const names[] = {"annotation_count", "detection_frequency"};
    for (int k = 0; k < 2; k++) {
        char key[64];
        snprintf(key, sizeof key, "spearman_with_%s", names[k]);
        cpt_text_addf(t, "<tr><td>Spearman of |statistic| with %s, median</td>",
                      k ? "how often a gene is detected" : "the number of a gene's annotations");
        for (int i = 0; i < 2; i++)
            add_cell(t, cpt_report_json(json_object_get(json_object_get(controls, "bias"), rankings[i]), key,
                                        "median", NULL));
        cpt_text_add(t, "</tr>");
    }
    cpt_text_add(t, "</tbody></table><p class=\"note\">Best |NES| of a concept among those of 100 rankings with "
                    "permuted genes; and what rankings owe to well-known and often detected genes.</p>");
}

static void add_controls(cpt_report *r)
{
    const json_t *controls = part(r, "controls", NULL);
    cpt_text_add(&r->html, "<h3>Controls</h3>");
    if (!controls) {
        cpt_text_add(&r->html, "<p class=\"note\">Not run: <code>conceptome evaluate STUDY --controls</code> "
                               "repeats the pipeline on neurons, principal components, random directions and "
                               "shuffled genes.</p>");
        return;
    }
    if (json_object_get(controls, "dictionaries")) add_dictionaries(r, json_object_get(controls, "dictionaries"));
    add_shuffled(r, controls);
}

/* ---- completeness ---- */

enum { N_SHARES = 4 };
static const char *const share_keys[N_SHARES] = {"20", "40", "60", "80"};

static void add_completeness_plot(cpt_report *r, const json_t *o)
{
    static const double shares[N_SHARES + 1] = {20, 40, 60, 80, 100};
    double y[2][N_SHARES + 1];
    int n_lines = 0;
    cpt_svg_line lines[2];
    const cpt_svg_plot plot = {420, 220, "Findings that survive fewer annotations", "annotations kept, %",
                               "recall of significant terms", NULL, 0};
    const cpt_scale x = {.low = 10, .high = 100}, up = {.low = 0, .high = 1};
    for (int i = 0; i < 2; i++) {
        const json_t *levels = json_object_get(o, rankings[i]);
        if (!levels) continue;
        for (int k = 0; k < N_SHARES; k++)
            y[n_lines][k] = cpt_report_json(levels, share_keys[k], "recall", "mean");
        y[n_lines][N_SHARES] = 1;
        if (!isfinite(y[n_lines][N_SHARES - 1])) continue; /* nothing was significant */
        lines[n_lines] = (cpt_svg_line){.n = N_SHARES + 1, .x = shares, .y = y[n_lines], .name = ranking_words[i],
                                         .css = i ? "s1" : "s0"};
        n_lines++;
    }
    if (n_lines == 0) return;
    cpt_text_add(&r->html, "<figure><figcaption>Findings that survive fewer annotations</figcaption>");
    cpt_svg_lines(&r->html, &plot, &x, &up, n_lines, lines);
    cpt_text_add(&r->html, "</figure>");
}

static void add_fragile(cpt_text *t, const json_t *o, int i)
{
    const json_t *flags = json_object_get(json_object_get(o, rankings[i]), "fragile"), *flag;
    size_t c, n = 0, n_known = 0;
    json_array_foreach(flags, c, flag)
    {
        n += json_is_true(flag);
        n_known += !json_is_null(flag);
    }
    if (!flags) return;
    cpt_text_addf(t, "Fragile by %s: %zu of %zu concepts with a term", ranking_words[i], n, n_known);
    json_array_foreach(flags, c, flag) if (json_is_true(flag))
        cpt_text_addf(t, " <a href=\"#c%zu\">c%zu</a>", c, c);
    cpt_text_add(t, ". ");
}

static void add_completeness_of(cpt_report *r, const char *collection, const json_t *o)
{
    static const char *const columns[] = {"20 %", "40 %", "60 %", "80 %", "without IEA"};
    static const char *const levels[] = {"20", "40", "60", "80", "without_iea"};
    static const char *const measures[][2] = {{"recall", "recall"},
                                              {"jaccard", "Jaccard"},
                                              {"spearman", "Spearman of NES"},
                                              {"best_term_survival", "best term found again"}};
    cpt_text *t = &r->html;
    cpt_text head = {0};
    cpt_text_add_html(&head, collection);
    add_header(t, cpt_text_str(&head), 5, columns);
    cpt_text_free(&head);
    for (int i = 0; i < 2; i++)
        for (int m = 0; m < 4 && json_object_get(o, rankings[i]); m++) {
            cpt_text_addf(t, "<tr><td>%s, %s</td>", rankings[i], measures[m][1]);
            for (int l = 0; l < 5; l++)
                add_cell(t, cpt_report_json(json_object_get(o, rankings[i]), levels[l], measures[m][0], "mean"));
            cpt_text_add(t, "</tr>");
        }
    cpt_text_add(t, "<tr><td>sets tested (of ");
    cpt_report_number(t, cpt_report_json(o, "mean_sets_tested", "all", NULL), 6);
    cpt_text_add(t, ")</td>");
    for (int l = 0; l < 5; l++) {
        cpt_text_add(t, "<td class=\"r\">");
        cpt_report_count(t, (int64_t)cpt_report_json(o, "mean_sets_tested", levels[l], NULL));
        cpt_text_add(t, "</td>");
    }
    cpt_text_add(t, "</tr></tbody></table><p class=\"note\">");
    for (int i = 0; i < 2; i++) add_fragile(t, o, i);
    cpt_text_add(t, "Means over concepts with a significant term, ten random draws of the direct annotations each. "
                    "Fragile: the best term is found in less than half of the draws with 80&nbsp;%.</p>");
}

static void add_completeness(cpt_report *r)
{
    const json_t *all = part(r, "completeness", NULL);
    const char *collection;
    json_t *o;
    cpt_text_add(&r->html, "<h3>If less were known about genes</h3>");
    if (!all)
        cpt_text_add(&r->html, "<p class=\"note\">Not run: <code>conceptome evaluate STUDY --completeness</code> "
                               "repeats the tests with a part of the annotations.</p>");
    json_object_foreach((json_t *)all, collection, o)
    {
        if (!json_is_object(o)) continue;
        add_completeness_of(r, collection, o);
        add_completeness_plot(r, o);
    }
}

/* ---- suggestions ---- */

static void add_suggestion_cells(cpt_text *t, const json_t *s)
{
    const char *set = json_string_value(json_object_get(s, "set"));
    cpt_text_add(t, "<td>");
    cpt_text_add_html(t, set ? set : "–");
    cpt_text_add(t, "</td><td class=\"r\">");
    if (set) cpt_report_p(t, cpt_report_json(s, "q", NULL, NULL));
    cpt_text_add(t, "</td>");
}

static void add_suggestions(cpt_report *r)
{
    const json_t *concepts = json_object_get(part(r, "suggested", NULL), "concepts");
    cpt_text *t = &r->html;
    if (!json_object_size(concepts)) return;
    cpt_text_add(t, "<h3>Cell types that marker sets suggest</h3><table class=\"plain\"><thead><tr>"
                    "<th scope=\"col\">Concept</th><th>by attribution</th><th class=\"r\">q</th>"
                    "<th>by expression</th><th class=\"r\">q</th></tr></thead><tbody>");
    for (int32_t c = 0; c < r->u->n_concepts; c++) {
        char name[32];
        snprintf(name, sizeof name, "c%d", c);
        const json_t *o = json_object_get(concepts, name);
        if (!o) continue;
        cpt_text_add(t, "<tr><td>");
        cpt_report_link(r, c);
        cpt_text_add(t, "</td>");
        for (int i = 0; i < 2; i++) add_suggestion_cells(t, json_object_get(o, rankings[i]));
        cpt_text_add(t, "</tr>");
    }
    cpt_text_add(t, "</tbody></table><p class=\"note\">The marker set with the smallest p, q &lt; 0.05: a test's "
                    "result, not a label. Where the two disagree, neither is to be trusted by itself.</p>");
}

void cpt_report_terms(cpt_report *r)
{
    cpt_text *t = &r->html;
    cpt_text_add(t, "<section id=\"terms\"><h2>How far to trust the terms</h2><div class=\"cols\"><div>");
    add_routes(r);
    add_corrections(r);
    add_graph_tests(r);
    add_suggestions(r);
    add_controls(r);
    cpt_text_add(t, "</div><div>");
    add_completeness(r);
    cpt_text_add(t, "</div></div></section>\n");
}

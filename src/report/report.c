#include "report/report.h"
#include "base/file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* report.html: the page for a colleague who does not have the program, and for a reviewer.
 *
 * Sections in order: what was found in words; map and table of concepts; quality; a card per
 * concept; methods and provenance. The page is composed in memory (some MB) and written atomically.
 * Of the study's manifest it shows input and options, never times nor the command (which may name
 * threads): the same study gives the same bytes. */

static const char *study_name(const cpt_study *s, char *name, size_t capacity)
{
    size_t n = strlen(s->folder);
    while (n > 1 && s->folder[n - 1] == '/') n--;
    size_t first = n;
    while (first > 0 && s->folder[first - 1] != '/') first--;
    snprintf(name, capacity, "%.*s", (int)(n - first < capacity ? n - first : capacity - 1),
             s->folder + first);
    return *name && strcmp(name, ".") ? name : "study";
}

static void add_list(cpt_text *t, const char *const *parts)
{
    for (; *parts; parts++) cpt_text_add(t, *parts);
}

static void add_chip(cpt_text *t, const char *name, const char *value)
{
    cpt_text_addf(t, "<span class=\"chip\"><small>%s</small> ", name);
    cpt_text_add_html(t, value);
    cpt_text_add(t, "</span> ");
}

static void add_head(cpt_report *r)
{
    char name[256], number[64];
    cpt_text *t = &r->html;
    study_name(r->s, name, sizeof name);
    cpt_text_add(t, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta "
                    "name=\"viewport\" "
                    "content=\"width=device-width,initial-scale=1\"><meta name=\"color-scheme\" "
                    "content=\"light dark\"><title>");
    cpt_text_add_html(t, name);
    cpt_text_add(t, " · concepts</title><style>");
    add_list(t, cpt_report_css);
    cpt_text_add(t, "</style></head><body><header><h1>");
    cpt_text_add_html(t, name);
    cpt_text_add(t, "</h1><nav><a href=\"#explore\">Map and table</a><a "
                    "href=\"#quality\">Quality</a>"
                    "<a href=\"#trust\">Trust</a><a href=\"#cards\">Concepts</a><a "
                    "href=\"#methods\">Methods</a></nav></header>\n<main>"
                    "<p class=\"chips\">");
    cpt_text count = {0};
    cpt_report_count(&count, r->cells->n_cells);
    add_chip(t, "cells", cpt_text_str(&count));
    count.length = 0;
    cpt_report_count(&count, r->cells->n_genes);
    add_chip(t, "genes", cpt_text_str(&count));
    cpt_text_free(&count);
    const char *model = json_string_value(json_object_get(r->model, "description"));
    if (model && *model) add_chip(t, "model", model);
    snprintf(number, sizeof number, "%d concepts of %.0f dimensions, %.3g per cell",
             r->u->n_concepts, cpt_report_json(r->dictionary, "dim", NULL, NULL),
             cpt_report_json(r->dictionary, "train", "l0", NULL));
    const char *kind = json_string_value(json_object_get(r->dictionary, "kind"));
    add_chip(t, kind ? kind : "dictionary", number);
    if (r->label) add_chip(t, "label", r->label->name);
    if (r->donor) add_chip(t, "donor", r->donor->name);
    if (r->batch) add_chip(t, "batch", r->batch->name);
    add_chip(t, "seed", cpt_options_text(r->s->options, "seed"));
    cpt_text_add(t, "</p>\n");
}

/* ---- findings in words ---- */

static void add_share_sentence(cpt_report *r, const char *ranking, const char *words)
{
    const json_t *methods = json_object_get(json_object_get(r->evaluation, "annotated"), ranking);
    double n = cpt_report_json(methods, "gsea", "n", NULL), found =
        cpt_report_json(methods, "gsea", "n_with_term", NULL);
    if (!isfinite(n) || !isfinite(found) || n <= 0) return;
    cpt_text_addf(&r->html, "<b>%.0f %%</b> (%.0f of %.0f) by %s", 100 * found / n, found, n,
                  words);
}

static void add_reconstruction_sentence(cpt_report *r)
{
    double r2 = cpt_report_json(r->dictionary, "validation", "r2_feature", NULL);
    double base = cpt_report_json(r->dictionary, "mean_baseline", "r2_feature", NULL);
    cpt_text *t = &r->html;
    if (!isfinite(r2)) return;
    cpt_text_addf(t, "On cells kept out of its training the dictionary reproduces the embedding "
                     "with R² = <b>%.3f</b> per "
                  "feature", r2);
    if (isfinite(base)) {
        cpt_text_add(t, " (predicting the mean gives ");
        cpt_report_number(t, fabs(base) < 5e-4 ? 0 : base, 2);
        cpt_text_add(t, ")");
    }
    cpt_text_addf(t, ", with %.3g concepts active per cell. ",
                  cpt_report_json(r->dictionary, "validation", "l0", NULL));
}

static void add_noise_sentence(cpt_report *r)
{
    const cpt_attribution *a = r->attribution;
    int32_t n_with = 0;
    cpt_text *t = &r->html;
    for (int32_t c = 0; c < r->u->n_concepts; c++) n_with += cpt_report_count_attributed(r, c) > 0;
    cpt_text_addf(t, "%d concepts have at least one gene above the paper's cut-off |attribution| "
                     "≥ %g with q &lt; 0.05. ",
                  n_with, r->cutoff);
    if (a->n_noise_directions == 0 || isnan(a->cutoff_percentile)) return;
    cpt_text_addf(t, "Noise floor: the cut-off lies at the <b>%.1fth</b> percentile of the "
                     "attributions of %d random "
                  "directions%s", floor(1000 * a->cutoff_percentile) / 10, a->n_noise_directions,
                  a->cutoff_percentile < 0.95 ? ", so genes near it are not told from chance by "
                                                "size alone." : ".");
}

static void add_findings(cpt_report *r)
{
    int32_t n_dense = 0, n_rare = 0;
    cpt_text *t = &r->html;
    for (int32_t c = 0; c < r->u->n_concepts; c++) {
        n_dense += r->u->stats[c].dense;
        n_rare += r->u->stats[c].rare;
    }
    cpt_text_addf(t, "<p class=\"lead\"><b>%d</b> concepts, of which <b>%d</b> are alive (active "
                     "in at least one cell), %d "
                  "dense and %d rare. ", r->u->n_concepts, r->n_alive, n_dense, n_rare);
    add_reconstruction_sentence(r);
    cpt_text_add(t, "A significant term (GSEA, q &lt; 0.05) is found for ");
    if (r->attribution) {
        add_share_sentence(r, "attribution", "attribution");
        cpt_text_add(t, " and for ");
    }
    add_share_sentence(r, "expression", "differential expression");
    cpt_text_add(t, " of the living concepts. ");
    if (r->attribution) add_noise_sentence(r);
    cpt_text_add(t, "</p>\n");
}

/* ---- cards ---- */

static void add_dead(cpt_report *r)
{
    cpt_text *t = &r->html;
    if (r->n_alive == r->u->n_concepts) return;
    cpt_text_addf(t, "<p class=\"note\">Dead (active in no cell), without a card: ");
    for (int32_t i = r->n_alive; i < r->u->n_concepts; i++)
        cpt_text_addf(t, "%sc%d", i > r->n_alive ? ", " : "", r->order[i]);
    cpt_text_add(t, ".</p>");
}

static cpt_status add_cards(cpt_report *r, cpt_err *e)
{
    cpt_text *t = &r->html;
    cpt_text_add(t, "<section id=\"cards\"><h2>Concepts</h2><p>By falling frequency. ");
    if (r->n_cards < r->n_alive)
        cpt_text_addf(t, "Cards are made for the %d most frequent of %d living concepts; the "
                         "table lists all. ", r->n_cards,
                      r->n_alive);
    cpt_text_add(t, "On the small maps grey cells are inactive; bars of genes are centred on "
                    "0.</p>\n");
    for (int32_t i = 0; i < r->n_cards; i++) {
        cpt_status status = cpt_check_stop(r->s->ctx, e);
        if (status == CPT_OK) status = cpt_report_card(r, r->order[i], e);
        if (status) return status;
        cpt_progress(r->s->ctx, "report", i + 1, r->n_cards, NULL);
    }
    add_dead(r);
    cpt_text_add(t, "</section>\n");
    return CPT_OK;
}

/* ---- the page ---- */

static cpt_status write_page(cpt_report *r, cpt_err *e)
{
    char path[4096];
    cpt_status status;
    add_head(r);
    add_findings(r);
    cpt_text_add(&r->html, "<section id=\"explore\"><h2>Map and table</h2><div class=\"explore\">");
    CPT_TRY(cpt_report_table(r, e));
    cpt_report_map(r);
    cpt_text_add(&r->html, "</div></section>\n");
    CPT_TRY(cpt_report_quality(r, e));
    CPT_TRY(cpt_report_evaluation(r, e));
    cpt_report_terms(r);
    CPT_TRY(add_cards(r, e));
    cpt_report_methods(r);
    cpt_text_add(&r->html, "</main>\n");
    CPT_TRY(cpt_report_data(r, e));
    cpt_text_add(&r->html, "<script>");
    add_list(&r->html, cpt_report_script);
    cpt_text_add(&r->html, "</script></body></html>\n");
    CPT_TRY(cpt_text_status(&r->html, e));
    CPT_TRY(cpt_study_path(r->s, "report.html", path, sizeof path, e));
    status = cpt_write_file(path, r->html.bytes, r->html.length, e);
done:
    return status;
}

cpt_status cpt_stage_report(cpt_study *s, cpt_err *e)
{
    cpt_report r = {0};
    cpt_status status = cpt_report_open(s, &r, e);
    if (status == CPT_OK) status = write_page(&r, e);
    cpt_report_close(&r);
    return status;
}

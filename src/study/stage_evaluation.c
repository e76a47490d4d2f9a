#include "base/memory.h"
#include "math/statistics.h"
#include "study/annotated.h"
#include "study/completeness.h"
#include "study/control_studies.h"
#include "study/controls.h"
#include "study/store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* evaluation.json: reconstruction (from training), share of concepts with a significant term, fit
 * of concepts to labels, and the noise floor. Every number stands beside its n. */

/* ---- purity: the concept that fits each label best ---- */

typedef struct best_fit {
    int32_t concept;
    double auroc, f1;
} best_fit;

static best_fit fit_label(const cpt_activations *u, const cpt_column *label, int32_t code,
                          float *column, uint8_t *positive)
{
    best_fit best = {-1, NAN, -1};
    int64_t n_label = 0;
    for (int64_t i = 0; i < u->n_cells; i++) n_label += positive[i] = label->codes[i] == code;
    for (int32_t c = 0; c < u->n_concepts; c++) {
        int64_t first = u->by_concept.indptr[c], last = u->by_concept.indptr[c + 1], inside = 0;
        for (int64_t k = first; k < last; k++) inside += positive[u->by_concept.indices[k]];
        double f1 = last > first ? 2.0 * (double)inside / (double)(n_label + last - first) : -1;
        if (f1 > best.f1) best.f1 = f1, best.concept = c;
    }
    if (best.concept >= 0) {
        cpt_activations_column(u, best.concept, column);
        best.auroc = cpt_auroc(u->n_cells, column, positive);
    }
    return best;
}

static cpt_status purity_json(const cpt_activations *u, const cpt_column *label, json_t **out,
                              cpt_err *e)
{
    float *column = NULL;
    uint8_t *positive = NULL;
    cpt_status status;
    json_t *labels = json_object();
    CPT_TRY(cpt_alloc(&column, (size_t)u->n_cells, sizeof *column, e));
    CPT_TRY(cpt_alloc(&positive, (size_t)u->n_cells, 1, e));
    for (int64_t l = 0; l < label->categories.n; l++) {
        int64_t n = 0;
        for (int64_t i = 0; i < u->n_cells; i++) n += label->codes[i] == l;
        if (n == 0) continue;
        best_fit b = fit_label(u, label, (int32_t)l, column, positive);
        char name[32];
        snprintf(name, sizeof name, "c%d", b.concept);
        json_object_set_new(labels, cpt_strings_get(&label->categories, l),
                            json_pack("{s:I, s:s, s:o, s:o}", "n", (json_int_t)n, "concept", name,
                                      "f1", cpt_json_number(b.f1), "auroc",
                                      cpt_json_number(b.auroc)));
    }
    *out = json_pack(
        "{s:s, s:s, s:o}", "column", label->name, "rule",
        "for each label the concept whose active cells have the best F1, its AUROC over all cells",
        "labels", labels);
    labels = NULL;
done:
    json_decref(labels);
    free(column);
    free(positive);
    return status;
}

/* ---- all ---- */

static json_t *reconstruction_json(const json_t *report)
{
    json_t *baseline = json_object_get(report, "mean_baseline");
    return json_pack("{s:O, s:O, s:O, s:O, s:O}", "train", json_object_get(report, "train"),
                     "validation", json_object_get(report, "validation"), "mean_baseline", baseline,
                     "gamma", json_object_get(report, "gamma"), "split_by_donor",
                     json_object_get(report, "split_by_donor"));
}

static json_t *noise_json(const cpt_attribution *a, double cutoff)
{
    static const char *const names[] = {"q50", "q90", "q95", "q99", "q99.9"};
    json_t *quantiles = json_object();
    for (int i = 0; i < 5; i++)
        json_object_set_new(quantiles, names[i], cpt_json_number(a->noise_quantiles[i]));
    return json_pack("{s:i, s:o, s:f, s:o}", "n", a->n_noise_directions, "abs_mean_attribution",
                     quantiles, "cutoff", cutoff, "share_of_noise_below_cutoff",
                     cpt_json_number(a->cutoff_percentile));
}

/* ---- experiments that are asked for ---- */

static cpt_status add_control_studies(cpt_study *s, json_t *controls, cpt_err *e)
{
    json_t *dictionaries;
    cpt_status status = cpt_control_studies_json(s, &dictionaries, e);
    if (status) json_decref(controls);
    else json_object_set_new(controls, "dictionaries", dictionaries);
    return status;
}

static cpt_status add_experiments(cpt_study *s, json_t *root, cpt_err *e)
{
    bool completeness = cpt_options_flag(s->options, "completeness"),
         controls = cpt_options_flag(s->options, "controls");
    cpt_families families = {0};
    cpt_concept_rankings rankings;
    const cpt_universe *universe;
    json_t *part;
    cpt_status status = CPT_OK;
    if (!completeness && !controls) return CPT_OK;
    CPT_TRY(cpt_study_universe(s, &universe, e));
    CPT_TRY(cpt_concept_rankings_open(s, &rankings, e));
    CPT_TRY(cpt_families_open(s->options, &universe->symbols, &families, s->ctx, e));
    if (completeness) {
        CPT_TRY(cpt_completeness_json(s, &families, &rankings, &part, e));
        json_object_set_new(root, "completeness", part);
    }
    if (controls) {
        CPT_TRY(cpt_controls_json(s, &families, &rankings, &part, e));
        CPT_TRY(add_control_studies(s, part, e));
        json_object_set_new(root, "controls", part);
    }
done:
    cpt_families_free(&families);
    return status;
}

cpt_status cpt_stage_evaluation(cpt_study *s, cpt_err *e)
{
    const json_t *report;
    const cpt_activations *u;
    const cpt_enrichment *r;
    const cpt_attribution *a;
    const cpt_column *label;
    json_t *root = json_object(), *purity = NULL, *annotated, *sets = NULL;
    int64_t n_alive = 0;
    cpt_status status;
    CPT_TRY(cpt_study_dictionary_report(s, &report, e));
    CPT_TRY(cpt_study_activations(s, &u, e));
    CPT_TRY(cpt_study_enrichment(s, &r, e));
    CPT_TRY(cpt_study_attribution(s, &a, e));
    CPT_TRY(cpt_study_column(s, "label", &label, e));
    for (int32_t c = 0; c < u->n_concepts; c++) n_alive += !u->stats[c].dead;
    json_object_set_new(root, "reconstruction", reconstruction_json(report));
    CPT_TRY(cpt_annotated_json(r, n_alive, a != NULL, &annotated, e));
    json_object_set_new(root, "annotated", annotated);
    CPT_TRY(cpt_store_read_json(s, "cache/enrichment.json", "enrichment", &sets, e));
    json_object_set(root, "corrections", json_object_get(sets, "corrections"));
    if (json_object_get(sets, "marker_collections"))
        json_object_set_new(root, "suggested",
                            cpt_suggested_json(r, json_object_get(sets, "marker_collections")));
    if (label) {
        CPT_TRY(purity_json(u, label, &purity, e));
        json_object_set_new(root, "purity", purity);
    }
    if (a)
        json_object_set_new(root, "noise_floor",
                            noise_json(a, cpt_options_number(s->options, "cutoff")));
    CPT_TRY(add_experiments(s, root, e));
    json_object_set_new(root, "n_cells", json_integer((json_int_t)u->n_cells));
    json_object_set_new(root, "n_unusable_cells", json_integer((json_int_t)u->n_unusable));
    status = cpt_store_write_json(s, "evaluation.json", root, e);
done:
    json_decref(root);
    json_decref(sets);
    return status;
}

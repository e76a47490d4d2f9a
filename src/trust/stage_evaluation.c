#include "base/memory.h"
#include "trust/annotated.h"
#include "trust/completeness.h"
#include "trust/control_dictionaries.h"
#include "trust/controls.h"
#include "trust/evaluate.h"
#include "study/store.h"
#include "trust/sweep.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* evaluation.json: reconstruction (from training), share of concepts with a significant term, the
 * experiments that are asked for, and the parts that are stages of their own (evaluate.h). Every
 * number stands beside its n. */

/* ---- all ---- */

static json_t *reconstruction_json(const json_t *report)
{
    json_t *baseline = json_object_get(report, "mean_baseline");
    return json_pack("{s:O, s:O, s:O, s:O, s:O}", "train", json_object_get(report, "train"),
                     "validation", json_object_get(report, "validation"), "mean_baseline", baseline,
                     "gamma", json_object_get(report, "gamma"), "split_by_donor",
                     json_object_get(report, "split_by_donor"));
}

/* ---- experiments that are asked for ---- */

static cpt_status add_control_studies(cpt_study *s, json_t *controls, cpt_err *e)
{
    json_t *dictionaries;
    cpt_status status = cpt_control_dictionaries_json(s, &dictionaries, e);
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
    json_t *root = json_object(), *annotated, *sets = NULL;
    int64_t n_alive = 0;
    cpt_status status;
    CPT_TRY(cpt_study_dictionary_report(s, &report, e));
    CPT_TRY(cpt_study_activations(s, &u, e));
    CPT_TRY(cpt_study_enrichment(s, &r, e));
    CPT_TRY(cpt_study_attribution(s, &a, e));
    for (int32_t c = 0; c < u->n_concepts; c++) n_alive += !u->stats[c].dead;
    json_object_set_new(root, "reconstruction", reconstruction_json(report));
    CPT_TRY(cpt_annotated_json(r, n_alive, a != NULL, &annotated, e));
    json_object_set_new(root, "annotated", annotated);
    CPT_TRY(cpt_store_read_json(s, "cache/enrichment.json", "enrichment", &sets, e));
    json_object_set(root, "corrections", json_object_get(sets, "corrections"));
    if (json_object_get(sets, "marker_collections"))
        json_object_set_new(root, "suggested", cpt_suggested_json(r));
    CPT_TRY(add_experiments(s, root, e));
    if (cpt_options_flag(s->options, "sweep")) {
        json_t *sweep;
        CPT_TRY(cpt_sweep_json(s, &sweep, e));
        json_object_set_new(root, "sweep", sweep);
    }
    CPT_TRY(cpt_evaluation_add_parts(s, root, e));
    json_object_set_new(root, "n_cells", json_integer((json_int_t)u->n_cells));
    json_object_set_new(root, "n_unusable_cells", json_integer((json_int_t)u->n_unusable));
    status = cpt_store_write_json(s, "evaluation.json", root, e);
done:
    json_decref(root);
    json_decref(sets);
    return status;
}

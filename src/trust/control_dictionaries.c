#include "trust/control_dictionaries.h"
#include "base/memory.h"
#include "trust/annotated.h"
#include "pipeline/concept_rankings.h"
#include "study/control_studies.h"
#include "study/store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Controls are studies of their own (control_studies.c), which is what makes it the same pipeline, and
 * lets a stopped run go on; here they are brought up to date, read and compared. */

enum { PATH_LIMIT = 4096 };
static const char *const kinds[] = {"neurons", "pca", "random"};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

static cpt_status open_control(cpt_study *s, const char *kind, cpt_study **out, cpt_err *e)
{
    char folder[PATH_LIMIT];
    cpt_status status;
    CPT_TRY(cpt_control_make(s, kind, "enrichment", e));
    CPT_TRY(cpt_control_folder(s->folder, kind, folder, sizeof folder, e));
    status = cpt_study_open(folder, s->ctx, out, e);
done:
    if (status) cpt_fail_in(e, "control dictionary %s", kind);
    return status;
}

/* ---- reading one ---- */

/* Largest |NES| among a unit's lines of GSEA, 0 without; NaN for dead units. */
static cpt_status best_scores(cpt_study *s, double **best, int32_t *n, int64_t *n_alive, cpt_err *e)
{
    const cpt_enrichment *r;
    const cpt_activations *u;
    cpt_status status;
    CPT_TRY(cpt_study_activations(s, &u, e));
    CPT_TRY(cpt_study_enrichment(s, &r, e));
    CPT_TRY(cpt_alloc(best, (size_t)u->n_concepts * CPT_N_RANKINGS, sizeof **best, e));
    *n = u->n_concepts;
    *n_alive = 0;
    for (int32_t c = 0; c < u->n_concepts; c++) {
        double *of = *best + (int64_t)c * CPT_N_RANKINGS;
        *n_alive += !u->stats[c].dead;
        for (int k = 0; k < CPT_N_RANKINGS && u->stats[c].dead; k++) of[k] = NAN;
        for (int64_t i = r->first[c]; i < r->first[c + 1] && !u->stats[c].dead; i++) {
            const cpt_enrichment_row *row = &r->rows[i];
            int k = strcmp(row->ranking, cpt_ranking_names[CPT_BY_ATTRIBUTION]) != 0;
            if (strcmp(row->method, "gsea") == 0 && fabs(row->nes) > of[k]) of[k] = fabs(row->nes);
        }
    }
done:
    return status;
}

/* Per concept the share of the control's units whose best score is smaller. */
static json_t *percentiles(int32_t n, const double *best, int32_t n_control, const double *control,
                           int ranking)
{
    json_t *list = json_array();
    int64_t n_beyond = 0, n_known = 0;
    for (int32_t c = 0; c < n; c++) {
        double own = best[(int64_t)c * CPT_N_RANKINGS + ranking];
        int64_t below = 0, all = 0;
        for (int32_t i = 0; i < n_control; i++) {
            double other = control[(int64_t)i * CPT_N_RANKINGS + ranking];
            all += !isnan(other);
            below += other < own;
        }
        bool known = !isnan(own) && all > 0;
        double share = known ? 100.0 * (double)below / (double)all : NAN;
        json_array_append_new(list, cpt_json_number(share));
        n_known += known;
        n_beyond += known && share >= 95;
    }
    return json_pack("{s:I, s:I, s:o}", "n_concepts", (json_int_t)n_known, "n_at_least_95",
                     (json_int_t)n_beyond, "by_concept", list);
}

static json_t *score_list(int32_t n, const double *best, int ranking)
{
    json_t *list = json_array();
    for (int32_t c = 0; c < n; c++)
        json_array_append_new(list, cpt_json_number(best[(int64_t)c * CPT_N_RANKINGS + ranking]));
    return list;
}

typedef struct units {
    int32_t n;
    int64_t n_alive;
    double *best; /* [n][ranking] */
    bool with_attribution;
} units;

static cpt_status describe(cpt_study *s, units *x, json_t **out, cpt_err *e)
{
    const cpt_enrichment *r;
    const cpt_attribution *a;
    json_t *annotated, *scores = json_object();
    cpt_status status;
    CPT_TRY(best_scores(s, &x->best, &x->n, &x->n_alive, e));
    CPT_TRY(cpt_study_enrichment(s, &r, e));
    CPT_TRY(cpt_study_attribution(s, &a, e));
    x->with_attribution = a != NULL;
    CPT_TRY(cpt_annotated_json(r, x->n_alive, a != NULL, &annotated, e));
    json_object_del(annotated, "routes");
    json_object_del(annotated, "rule");
    for (int k = a ? 0 : 1; k < CPT_N_RANKINGS; k++)
        json_object_set_new(scores, cpt_ranking_names[k], score_list(x->n, x->best, k));
    *out = json_pack("{s:i, s:I, s:o, s:O}", "n_units", x->n, "n_alive", (json_int_t)x->n_alive,
                     "annotated", annotated, "best_abs_nes", scores);
done:
    json_decref(scores);
    return status;
}

static cpt_status compare(cpt_study *s, const units *own, const char *kind, json_t *root, cpt_err *e)
{
    cpt_study *control = NULL;
    units x = {0};
    json_t *o = NULL;
    cpt_status status;
    CPT_TRY(open_control(s, kind, &control, e));
    CPT_TRY(describe(control, &x, &o, e));
    json_t *percentile = json_object();
    json_object_set_new(o, "percentile", percentile);
    for (int k = x.with_attribution ? 0 : 1; k < CPT_N_RANKINGS; k++)
        json_object_set_new(percentile, cpt_ranking_names[k],
                            percentiles(own->n, own->best, x.n, x.best, k));
    json_object_set(root, kind, o);
done:
    json_decref(o);
    free(x.best);
    cpt_study_close(control);
    return status;
}

cpt_status cpt_control_dictionaries_json(cpt_study *s, json_t **out, cpt_err *e)
{
    const char *own_kind = cpt_options_text(s->options, "dictionary");
    json_t *root = json_object(), *study = NULL;
    units own = {0};
    cpt_status status;
    CPT_TRY(describe(s, &own, &study, e));
    json_object_set_new(root, "study", study);
    for (int i = 0; i < N_KINDS; i++)
        if (strcmp(kinds[i], own_kind) != 0) CPT_TRY(compare(s, &own, kinds[i], root, e));
    json_object_set_new(
        root, "rule",
        json_string("the study's pipeline with another dictionary on the same embedding: neurons and "
                    "principal components (both signs of each), random directions (as many, and as "
                    "many active per cell, as the study's); annotated: share of living units with a "
                    "term at q < 0.05; percentile: share of the control's living units whose best "
                    "|NES| (GSEA, all collections, among p <= 0.05) is smaller than the concept's"));
    *out = root;
    root = NULL;
done:
    json_decref(root);
    free(own.best);
    return status;
}

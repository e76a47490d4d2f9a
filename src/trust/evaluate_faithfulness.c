#include "base/memory.h"
#include "concept/faithfulness.h"
#include "evaluate/ranking_areas.h"
#include "trust/evaluate.h"
#include "study/pair_options.h"
#include "study/store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* `faithfulness`: which ranking of genes finds those that carry a concept? The top genes of each
 * ranking are substituted together and the activation is watched.
 *
 * Judged on other cells than those the rankings come from: fresh prototypes (the next largest
 * activations that are no prototypes of the study) with counterfactuals of their own. On the
 * study's own pairs attribution would be judged on what it was measured on. Concepts with too few
 * active cells for fresh prototypes are left out, and counted.
 *
 * Differential expression uses all cells; it is ranked once with genes higher in active cells first
 * ("expression") and once by size whatever the sign ("expression_abs"): a gene that must be low is
 * swapped as well. Attribution is compared with the better of the two. */

typedef enum ranking {
    ATTRIBUTION,
    GRADIENT,
    IG,
    EXPRESSION,
    EXPRESSION_ABS,
    N_SCORED,
    RANDOM = N_SCORED,
    N_RANKINGS
} ranking;
static const char *const names[N_RANKINGS] = {"attribution", "gradient",       "ig",
                                              "expression",  "expression_abs", "random"};

enum { N_RESAMPLES = 2000, N_FLIPS = 9999, POINTS = CPT_FAITHFULNESS_POINTS };

/* How much is done. One unit of work is one changed copy of a cell: a matrix row for scVI, a
 * forward pass for a transformer. */
typedef struct effort {
    int32_t n_concepts; /* at most, evenly spaced among those alive; 0 = all */
    int32_t n_pairs;    /* fresh prototypes per concept */
    int32_t n_random;   /* random orders per pair */
    int32_t ig_steps;   /* 0 = no integrated gradients */
    int32_t n_source; /* pairs per concept that gradients are averaged over; 0 = the study's all */
} effort;

static effort choose_effort(const cpt_study *s, const cpt_model *m)
{
    const bool full = cpt_evaluation_in_full(s), transformer = m->ops->costly;
    if (transformer) return full ? (effort){24, 4, 3, 8, 4} : (effort){6, 2, 1, 0, 2};
    return full ? (effort){0, 32, 10, 32, 0} : (effort){0, 8, 3, 8, 8};
}

typedef struct trial {
    effort how;
    const cpt_model *m;
    const cpt_dictionary *d;
    const cpt_counts *counts;
    const cpt_universe *universe;
    bool *chosen;            /* [n_concepts] */
    cpt_pairs *fresh;        /* of the chosen concepts */
    float *scores[N_SCORED]; /* [n_concepts][model genes]; NULL = not computed */
    cpt_faithfulness *curves;
    double *areas; /* [pairs][N_RANKINGS] random = mean over its orders */
    float *drops;  /* [pairs][N_RANKINGS][POINTS] likewise */
} trial;

static void trial_free(trial *t)
{
    free(t->chosen);
    cpt_pairs_free(t->fresh);
    for (int r = 0; r < N_SCORED; r++) free(t->scores[r]);
    cpt_faithfulness_free(t->curves);
    free(t->areas);
    free(t->drops);
}

/* ---- concepts and pairs ---- */

static cpt_status choose_concepts(trial *t, const cpt_activations *u, cpt_err *e)
{
    int32_t n_alive = 0, n_seen = 0;
    cpt_status status = cpt_alloc(&t->chosen, (size_t)u->n_concepts, sizeof *t->chosen, e);
    if (status) return status;
    for (int32_t c = 0; c < u->n_concepts; c++) n_alive += !u->stats[c].dead;
    const int32_t wanted =
        t->how.n_concepts && t->how.n_concepts < n_alive ? t->how.n_concepts : n_alive;
    for (int32_t c = 0; c < u->n_concepts; c++) {
        if (u->stats[c].dead) continue;
        t->chosen[c] =
            (int64_t)(n_seen + 1) * wanted / n_alive > (int64_t)n_seen * wanted / n_alive;
        n_seen++;
    }
    return CPT_OK;
}

static cpt_status find_fresh(cpt_study *s, trial *t, const cpt_activations *u, const cpt_pairs *own,
                             cpt_err *e)
{
    const float *a;
    int64_t n;
    int32_t dim;
    cpt_pair_options o;
    cpt_pairs *all = NULL;
    cpt_status status;
    CPT_TRY(cpt_study_embedding(s, &a, &n, &dim, e));
    CPT_TRY(cpt_study_pair_options(s, &o, e));
    o.n_prototypes += t->how.n_pairs;
    o.n_counterfactuals = 1;
    CPT_TRY(cpt_pairs_find(u, a, dim, &o, &all, s->ctx, e));
    status = cpt_pairs_select(all, t->chosen, t->how.n_pairs, own, &t->fresh, e);
done:
    cpt_pairs_free(all);
    return status;
}

/* ---- rankings ---- */

/* Universe order -> model order; genes outside the universe stay NaN: last. */
static cpt_status to_model(const trial *t, int32_t n_concepts, const float *from, bool absolute,
                           float **out, cpt_err *e)
{
    const cpt_universe *u = t->universe;
    const size_t width = (size_t)t->m->n_genes;
    cpt_status status = cpt_alloc(out, (size_t)n_concepts * width, sizeof **out, e);
    if (status) return status;
    for (size_t i = 0; i < (size_t)n_concepts * width; i++) (*out)[i] = NAN;
    for (int32_t c = 0; c < n_concepts; c++)
        for (int32_t j = 0; j < u->n; j++) {
            const float x = from[(size_t)c * (size_t)u->n + (size_t)j];
            (*out)[(size_t)c * width + (size_t)u->model_genes[j]] = absolute ? fabsf(x) : x;
        }
    return CPT_OK;
}

/* The study's pairs again, by gradient or integrated gradients. */
static cpt_status attribute_again(cpt_study *s, trial *t, const cpt_pairs *own,
                                  cpt_attribution_method method, float **out, cpt_err *e)
{
    cpt_attribution_options o;
    cpt_attribution *a = NULL;
    cpt_pairs *source = NULL;
    cpt_status status;
    cpt_attribution_options_init(&o);
    o.method = method;
    o.ig_steps = t->how.ig_steps;
    o.n_bootstrap = o.n_sign_flips = 0;
    CPT_TRY(cpt_pairs_select(own, t->chosen, t->how.n_source, NULL, &source, e));
    CPT_TRY(cpt_attribute_all(t->m, t->d, t->counts, source, &o, &a, s->ctx, e));
    *out = a->mean;
    a->mean = NULL;
done:
    cpt_pairs_free(source);
    cpt_attribution_free(a);
    return status;
}

static cpt_status make_rankings(cpt_study *s, trial *t, const cpt_pairs *own, cpt_err *e)
{
    const cpt_attribution *a;
    const cpt_expression *x;
    bool counts = strcmp(cpt_options_text(s->options, "space"), "counts") == 0 &&
                  strcmp(t->m->ops->kind, "scgpt") == 0; /* binned again: no gradient */
    cpt_status status;
    CPT_TRY(cpt_study_attribution(s, &a, e));
    CPT_TRY(cpt_study_expression(s, &x, e));
    CPT_TRY(to_model(t, a->n_concepts, a->mean, false, &t->scores[ATTRIBUTION], e));
    CPT_TRY(to_model(t, a->n_concepts, x->score, false, &t->scores[EXPRESSION], e));
    CPT_TRY(to_model(t, a->n_concepts, x->score, true, &t->scores[EXPRESSION_ABS], e));
    if (counts) goto done;
    CPT_TRY(attribute_again(s, t, own, CPT_METHOD_GRADIENT, &t->scores[GRADIENT], e));
    if (t->how.ig_steps) CPT_TRY(attribute_again(s, t, own, CPT_METHOD_IG, &t->scores[IG], e));
done:
    return status;
}

/* ---- curves ---- */

/* Random orders are averaged pair by pair: one column for all of them. */
static void reduce(trial *t, const int *column, int n_columns)
{
    const int64_t n_pairs = t->fresh->first[t->fresh->n_concepts];
    for (int64_t i = 0; i < n_pairs; i++) {
        for (int r = 0; r < N_RANKINGS; r++) {
            float *to = t->drops + (i * N_RANKINGS + r) * POINTS;
            const float *from = t->curves->pair_drop + i * n_columns * POINTS;
            for (int p = 0; p < POINTS; p++) {
                double sum = 0;
                const int n = r == RANDOM ? t->how.n_random : 1;
                for (int k = 0; k < n; k++)
                    sum += column[r] < 0 ? NAN : from[(column[r] + k) * POINTS + p];
                to[p] = (float)(sum / n);
            }
            t->areas[i * N_RANKINGS + r] = cpt_faithfulness_area(to);
        }
    }
}

static cpt_status run_curves(cpt_study *s, trial *t, cpt_err *e)
{
    const float *rankings[N_SCORED + 16];
    int column[N_RANKINGS], n = 0;
    const size_t n_pairs = (size_t)t->fresh->first[t->fresh->n_concepts];
    const bool pre = strcmp(cpt_options_text(s->options, "readout"), "pre") == 0;
    cpt_status status;
    for (int r = 0; r < N_SCORED; r++) {
        column[r] = t->scores[r] ? n : -1;
        if (t->scores[r]) rankings[n++] = t->scores[r];
    }
    column[RANDOM] = n;
    for (int k = 0; k < t->how.n_random; k++) rankings[n++] = NULL;
    CPT_TRY(cpt_faithfulness_curves(t->m, t->d, t->counts, t->fresh,
                                    pre ? CPT_READOUT_PRE : CPT_READOUT_ACTIVATION, n, rankings,
                                    &t->curves, s->ctx, e));
    CPT_TRY(cpt_alloc(&t->areas, n_pairs * N_RANKINGS, sizeof *t->areas, e));
    CPT_TRY(cpt_alloc(&t->drops, n_pairs * N_RANKINGS * POINTS, sizeof *t->drops, e));
    reduce(t, column, n);
done:
    return status;
}

/* ---- what is told ---- */

static json_t *interval_json(const cpt_interval *i)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:i, s:I}", "mean", cpt_json_number(i->mean), "sd",
                     cpt_json_number(i->sd), "low", cpt_json_number(i->low), "high",
                     cpt_json_number(i->high), "n_concepts", i->n_concepts, "n_pairs",
                     (json_int_t)i->n_pairs);
}

/* Mean drop at each m with its interval. */
static cpt_status curve_json(cpt_study *s, const trial *t, int r, json_t **out, cpt_err *e)
{
    const int64_t n_pairs = t->fresh->first[t->fresh->n_concepts];
    double *values = NULL;
    json_t *drop = json_array(), *low = json_array(), *high = json_array();
    cpt_status status;
    CPT_TRY(cpt_alloc(&values, (size_t)n_pairs, sizeof *values, e));
    for (int p = 0; p < POINTS; p++) {
        cpt_interval interval;
        for (int64_t i = 0; i < n_pairs; i++)
            values[i] = (double)t->drops[(i * N_RANKINGS + r) * POINTS + p];
        const cpt_pair_values_by_concept v = {t->fresh->n_concepts, 1, t->fresh->first, values};
        CPT_TRY(cpt_interval_over_concepts(&v, 0, -1, N_RESAMPLES / 4,
                                           100 + (uint64_t)(r * POINTS + p), &interval, s->ctx, e));
        json_array_append_new(drop, cpt_json_number(interval.mean));
        json_array_append_new(low, cpt_json_number(interval.low));
        json_array_append_new(high, cpt_json_number(interval.high));
    }
    *out = json_pack("{s:O, s:O, s:O}", "mean", drop, "low", low, "high", high);
done:
    json_decref(drop);
    json_decref(low);
    json_decref(high);
    free(values);
    return status;
}

static cpt_pair_values_by_concept areas_of(const trial *t)
{
    return (cpt_pair_values_by_concept){t->fresh->n_concepts, N_RANKINGS, t->fresh->first,
                                        t->areas};
}

static cpt_status comparison_json(cpt_study *s, const trial *t, int against, json_t **out,
                                  cpt_err *e)
{
    const cpt_pair_values_by_concept v = areas_of(t);
    cpt_interval interval;
    double *differences = NULL;
    int32_t n = 0, n_ahead = 0;
    cpt_status status;
    CPT_TRY(cpt_interval_over_concepts(&v, ATTRIBUTION, against, N_RESAMPLES,
                                       10 + (uint64_t)against, &interval, s->ctx, e));
    CPT_TRY(cpt_alloc(&differences, (size_t)v.n_concepts, sizeof *differences, e));
    for (int32_t c = 0; c < v.n_concepts; c++) {
        const double d = cpt_concept_mean(&v, c, ATTRIBUTION, against);
        if (isnan(d)) continue;
        differences[n++] = d;
        n_ahead += d > 0;
    }
    *out = interval_json(&interval);
    json_object_set_new(*out, "p",
                        cpt_json_number(cpt_sign_flip_p(n, differences, N_FLIPS, s->ctx->seed,
                                                        10 + (uint64_t)against)));
    json_object_set_new(*out, "n_concepts_ahead", json_integer(n_ahead));
done:
    free(differences);
    return status;
}

/* One concept: its areas, and attribution against the better ranking by expression with an
 * interval. */
static cpt_status concept_json(cpt_study *s, const trial *t, int32_t c, json_t **out, cpt_err *e)
{
    const cpt_pair_values_by_concept v = areas_of(t);
    char name[32];
    json_t *areas = json_object();
    double low, high;
    int64_t n_pairs = 0;
    snprintf(name, sizeof name, "c%d", c);
    for (int64_t i = v.first[c]; i < v.first[c + 1]; i++)
        n_pairs += !isnan(t->areas[i * N_RANKINGS]);
    for (int r = 0; r < N_RANKINGS; r++)
        json_object_set_new(areas, names[r], cpt_json_number(cpt_concept_mean(&v, c, r, -1)));
    const double signed_area = cpt_concept_mean(&v, c, EXPRESSION, -1),
                 absolute = cpt_concept_mean(&v, c, EXPRESSION_ABS, -1);
    const int better = absolute > signed_area ? EXPRESSION_ABS : EXPRESSION;
    cpt_status status =
        cpt_concept_interval(&v, c, ATTRIBUTION, better, N_RESAMPLES / 4, &low, &high, s->ctx, e);
    if (status) return status;
    const double difference = cpt_concept_mean(&v, c, ATTRIBUTION, better),
                 over_random = cpt_concept_mean(&v, c, ATTRIBUTION, RANDOM);
    *out = json_pack("{s:s, s:I, s:o, s:o, s:o, s:o, s:b}", "concept", name, "n_pairs",
                     (json_int_t)n_pairs, "area", areas, "attribution_less_expression",
                     cpt_json_number(difference), "low", cpt_json_number(low), "high",
                     cpt_json_number(high), "leads", difference > 0 && over_random > 0);
    return CPT_OK;
}

static cpt_status concepts_json(cpt_study *s, const trial *t, json_t *to, cpt_err *e)
{
    json_t *list = json_array(), *behind = json_array(), *one;
    int32_t n_without = 0;
    cpt_status status = CPT_OK;
    for (int32_t c = 0; c < t->fresh->n_concepts; c++) {
        const cpt_pair_values_by_concept v = areas_of(t);
        if (!t->chosen[c]) continue;
        if (isnan(cpt_concept_mean(&v, c, ATTRIBUTION, -1))) {
            n_without++;
            continue;
        }
        CPT_TRY(concept_json(s, t, c, &one, e));
        if (!json_is_true(json_object_get(one, "leads")))
            json_array_append(behind, json_object_get(one, "concept"));
        json_array_append_new(list, one);
    }
    json_object_set_new(to, "n_concepts", json_integer((json_int_t)json_array_size(list)));
    json_object_set_new(to, "n_concepts_without_fresh_prototypes", json_integer(n_without));
    json_object_set(to, "concepts", list);
    json_object_set(to, "attribution_does_not_lead", behind);
done:
    json_decref(list);
    json_decref(behind);
    return status;
}

static json_t *effort_json(const cpt_study *s, const trial *t)
{
    const effort *w = &t->how;
    return json_pack("{s:s, s:i, s:i, s:i, s:i, s:i}", "level",
                     cpt_evaluation_in_full(s) ? "full" : "quick", "most_concepts", w->n_concepts,
                     "fresh_prototypes", w->n_pairs, "random_orders", w->n_random, "ig_steps",
                     w->ig_steps, "pairs_for_gradients", w->n_source);
}

static cpt_status tell(cpt_study *s, const trial *t, json_t *to, cpt_err *e)
{
    const cpt_pair_values_by_concept v = areas_of(t);
    json_t *areas = json_object(), *curves = json_object(), *against = json_object(), *part = NULL,
           *sizes = json_array();
    cpt_status status = CPT_OK;
    json_object_set_new(to, "sizes", sizes);
    json_object_set_new(to, "area", areas);
    json_object_set_new(to, "curve", curves);
    json_object_set_new(to, "attribution_less", against);
    for (int p = 0; p < POINTS; p++)
        json_array_append_new(sizes, json_integer(cpt_faithfulness_sizes[p]));
    for (int r = 0; r < N_RANKINGS; r++) {
        cpt_interval interval;
        if (r < N_SCORED && !t->scores[r]) continue;
        CPT_TRY(cpt_interval_over_concepts(&v, r, -1, N_RESAMPLES, (uint64_t)r + 1, &interval,
                                           s->ctx, e));
        json_object_set_new(areas, names[r], interval_json(&interval));
        CPT_TRY(curve_json(s, t, r, &part, e));
        json_object_set_new(curves, names[r], part);
        if (r == ATTRIBUTION) continue;
        CPT_TRY(comparison_json(s, t, r, &part, e));
        json_object_set_new(against, names[r], part);
    }
    CPT_TRY(concepts_json(s, t, to, e));
    json_object_set_new(to, "n_pairs",
                        json_integer((json_int_t)t->fresh->first[t->fresh->n_concepts]));
    json_object_set_new(to, "effort", effort_json(s, t));
    json_object_set_new(to, "readout", json_string(cpt_options_text(s->options, "readout")));
    json_object_set_new(
        to, "rule",
        json_string(
            "the top m genes of a ranking, among those that differ, are given the counterfactual's "
            "values together; drop = change of the activation / activation of the prototype; area: "
            "mean drop over log m from 1 to 200; judged on prototypes that took no part in the "
            "attribution; null: genes in random order; intervals 95 %, concepts and then pairs "
            "drawn "
            "anew; p: signs of concepts flipped; leads: above the better of the two rankings by "
            "expression and above random"));
done:
    return status;
}

static cpt_status run_trial(cpt_study *s, trial *t, json_t *to, cpt_err *e)
{
    const cpt_activations *u;
    const cpt_pairs *own;
    cpt_dictionary *d;
    cpt_status status;
    CPT_TRY(cpt_study_activations(s, &u, e));
    CPT_TRY(cpt_study_pairs(s, &own, e));
    CPT_TRY(cpt_study_dictionary(s, &d, e));
    CPT_TRY(cpt_study_counts(s, &t->counts, e));
    CPT_TRY(cpt_study_universe(s, &t->universe, e));
    t->d = d;
    t->how = choose_effort(s, t->m);
    CPT_TRY(choose_concepts(t, u, e));
    CPT_TRY(find_fresh(s, t, u, own, e));
    if (t->fresh->first[t->fresh->n_concepts] == 0) {
        status = cpt_fail(e, CPT_ERR_DATA,
                          "no concept has active cells beside its prototypes; fewer "
                          "--prototypes would leave some");
        goto done;
    }
    CPT_TRY(make_rankings(s, t, own, e));
    CPT_TRY(run_curves(s, t, e));
    status = tell(s, t, to, e);
done:
    return status;
}

static cpt_status faithfulness(cpt_study *s, json_t **out, cpt_err *e)
{
    cpt_model *m;
    trial t = {.chosen = NULL};
    json_t *to = json_object();
    cpt_status status;
    CPT_TRY(cpt_study_model(s, &m, e));
    if (!cpt_model_has_counterfactuals(m)) {
        status = cpt_fail(e, CPT_ERR_DATA, "a fixed embedding has no counterfactuals");
        goto done;
    }
    t.m = m;
    CPT_TRY(run_trial(s, &t, to, e));
    *out = json_incref(to);
done:
    json_decref(to);
    trial_free(&t);
    return status;
}

cpt_status cpt_stage_faithfulness(cpt_study *s, cpt_err *e)
{
    return cpt_evaluation_part(s, "faithfulness", faithfulness, e);
}

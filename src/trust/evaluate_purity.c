#include "base/memory.h"
#include "base/random.h"
#include "evaluate/purity.h"
#include "evaluate/ranking_areas.h"
#include "math/statistics.h"
#include "trust/evaluate.h"
#include "study/store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* `purity`: how well single concepts tell the labels apart, beside single neurons (coordinates of
 * the embedding, both signs). */

enum { MOST_CELLS = 20000, LEAST_CELLS = 10, N_KIND_PERMUTATIONS = 9999 };
/* Permutations in full and in brief; fewer where units x cells x permutations would exceed the
 * limit. */
static const int32_t permutations_full = 1000, permutations_brief = 200;
static const double most_steps = 4e9;

typedef struct units {
    const cpt_activations *u;
    const float *a;
    int64_t n;
    int32_t dim;
} units;

static void concept_values(const void *data, int32_t unit, float *out)
{
    cpt_activations_column(((const units *)data)->u, unit, out);
}

/* Unit 2j is +j, 2j + 1 is -j, as in the dictionary "neurons". */
static void neuron_values(const void *data, int32_t unit, float *out)
{
    const units *x = data;
    const int32_t j = unit / 2;
    const float sign = unit % 2 ? -1 : 1;
    for (int64_t i = 0; i < x->n; i++) out[i] = sign * x->a[i * x->dim + j];
}

static void unit_name(bool neuron, int32_t unit, char name[32])
{
    if (neuron) snprintf(name, 32, "%c%d", unit % 2 ? '-' : '+', unit / 2);
    else snprintf(name, 32, "c%d", unit);
}

static int ascending(const void *x, const void *y)
{
    const double *a = x, *b = y;
    return (*a > *b) - (*a < *b);
}

static cpt_status quantiles_json(int32_t n, const double *values, json_t **out, cpt_err *e)
{
    static const double at[5] = {0.05, 0.25, 0.5, 0.75, 0.95};
    static const char *const names[5] = {"q5", "q25", "q50", "q75", "q95"};
    double *sorted, mean = 0;
    int32_t m = 0;
    cpt_status status = cpt_alloc(&sorted, (size_t)n, sizeof *sorted, e);
    if (status) return status;
    for (int32_t i = 0; i < n; i++)
        if (isfinite(values[i])) sorted[m++] = values[i];
    qsort(sorted, (size_t)m, sizeof *sorted, ascending);
    for (int32_t i = 0; i < m; i++) mean += sorted[i] / m;
    *out = json_pack("{s:i, s:o}", "n", m, "mean", cpt_json_number(m ? mean : NAN));
    for (int i = 0; i < 5; i++)
        json_object_set_new(*out, names[i],
                            cpt_json_number(m ? cpt_quantile_sorted(m, sorted, at[i]) : NAN));
    free(sorted);
    return CPT_OK;
}

static json_t *label_names(int32_t n, const int32_t *codes, const cpt_column *label)
{
    json_t *list = json_array();
    for (int32_t i = 0; i < n; i++)
        json_array_append_new(
            list, codes[i] < 0 ? json_null()
                               : json_string(cpt_strings_get(&label->categories, codes[i])));
    return list;
}

static cpt_status score_json(int32_t n, const double *best, const double *p, const double *null,
                             const int32_t *where, const cpt_column *label, json_t **out,
                             cpt_err *e)
{
    double *q = NULL, mean = 0;
    int32_t n_found = 0;
    cpt_status status;
    CPT_TRY(cpt_alloc(&q, (size_t)n, sizeof *q, e));
    CPT_TRY(cpt_bh(n, p, 0, q, e));
    CPT_TRY(quantiles_json(n, best, out, e));
    for (int32_t i = 0; i < n; i++) n_found += q[i] < 0.05;
    for (int32_t i = 0; i < n; i++) mean += null[i] / n;
    json_object_set_new(*out, "null_mean", cpt_json_number(mean));
    json_object_set_new(*out, "n_q_below_0.05", json_integer(n_found));
    json_object_set_new(*out, "best", cpt_json_numbers(n, best));
    json_object_set_new(*out, "label", label_names(n, where, label));
    json_object_set_new(*out, "p", cpt_json_numbers(n, p));
    json_object_set_new(*out, "q", cpt_json_numbers(n, q));
done:
    free(q);
    return status;
}

static cpt_status kind_json(const cpt_purity *p, const cpt_column *label, bool neurons,
                            json_t **out, cpt_err *e)
{
    json_t *auroc, *f1, *names = json_array();
    cpt_status status = score_json(p->n_units, p->best_auroc, p->auroc_p, p->auroc_null,
                                   p->auroc_label, label, &auroc, e);
    if (status == CPT_OK)
        status =
            score_json(p->n_units, p->best_f1, p->f1_p, p->f1_null, p->f1_label, label, &f1, e);
    if (status) return status;
    for (int32_t i = 0; i < p->n_units; i++) {
        char name[32];
        unit_name(neurons, i, name);
        json_array_append_new(names, json_string(name));
    }
    *out = json_pack("{s:i, s:o, s:o, s:o}", "n", p->n_units, "units", names, "auroc", auroc, "f1",
                     f1);
    return CPT_OK;
}

/* ---- label by label ---- */

/* The unit of the best AUROC for a label. */
static json_t *best_unit(const cpt_purity *p, int32_t code, bool neurons)
{
    int32_t best = -1;
    char name[32];
    for (int32_t u = 0; u < p->n_units; u++) {
        const float x = p->auroc[(int64_t)u * p->n_labels + code];
        if (!isnan(x) && (best < 0 || x > p->auroc[(int64_t)best * p->n_labels + code])) best = u;
    }
    if (best < 0) return json_null();
    unit_name(neurons, best, name);
    return json_pack("{s:s, s:o, s:o}", "unit", name, "auroc",
                     cpt_json_number((double)p->auroc[(int64_t)best * p->n_labels + code]), "f1",
                     cpt_json_number((double)p->f1[(int64_t)best * p->n_labels + code]));
}

/* The concept whose active cells fit a label best: F1 of active or not, without a threshold to
 * choose. */
static cpt_status fit_label(const cpt_activations *u, const int32_t *codes, int32_t code,
                            int64_t n_label, float *column, uint8_t *positive, json_t **out)
{
    int32_t best = -1;
    double best_f1 = -1;
    char name[32];
    for (int64_t i = 0; i < u->n_cells; i++) positive[i] = codes[i] == code;
    for (int32_t c = 0; c < u->n_concepts; c++) {
        int64_t first = u->by_concept.indptr[c], last = u->by_concept.indptr[c + 1], inside = 0,
                known = 0;
        for (int64_t k = first; k < last; k++) {
            known += codes[u->by_concept.indices[k]] >= 0;
            inside += positive[u->by_concept.indices[k]];
        }
        double f1 = known > 0 ? 2.0 * (double)inside / (double)(n_label + known) : -1;
        if (f1 > best_f1) best_f1 = f1, best = c;
    }
    if (best < 0) {
        *out = json_pack("{s:I}", "n", (json_int_t)n_label);
        return CPT_OK;
    }
    cpt_activations_column(u, best, column);
    int64_t n = 0; /* only cells with a label */
    for (int64_t i = 0; i < u->n_cells; i++)
        if (codes[i] >= 0) {
            column[n] = column[i];
            positive[n++] = positive[i];
        }
    snprintf(name, sizeof name, "c%d", best);
    *out = json_pack("{s:I, s:s, s:o, s:o}", "n", (json_int_t)n_label, "concept", name, "f1",
                     cpt_json_number(best_f1), "auroc",
                     cpt_json_number(cpt_auroc(n, column, positive)));
    return CPT_OK;
}

static cpt_status labels_json(const units *x, const cpt_column *label, const int32_t *codes,
                              const cpt_purity *concepts, const cpt_purity *neurons, json_t **out,
                              cpt_err *e)
{
    float *column = NULL;
    uint8_t *positive = NULL;
    json_t *labels = json_object();
    cpt_status status;
    CPT_TRY(cpt_alloc(&column, (size_t)x->n, sizeof *column, e));
    CPT_TRY(cpt_alloc(&positive, (size_t)x->n, 1, e));
    for (int32_t k = 0; k < label->categories.n; k++) {
        json_t *fit;
        int64_t n_label = 0;
        for (int64_t i = 0; i < x->n; i++) n_label += codes[i] == k;
        if (n_label == 0) continue;
        CPT_TRY(fit_label(x->u, codes, k, n_label, column, positive, &fit));
        json_object_set_new(fit, "best_auroc_concept", best_unit(concepts, k, false));
        json_object_set_new(fit, "best_auroc_neuron", best_unit(neurons, k, true));
        json_object_set_new(labels, cpt_strings_get(&label->categories, k), fit);
    }
    *out = json_incref(labels);
done:
    json_decref(labels);
    free(column);
    free(positive);
    return status;
}

/* ---- concepts against neurons ---- */

/* Largest score of any unit for one label; NaN when the label was left out. */
static double best_score(const cpt_purity *p, const float *scores, int32_t label)
{
    double best = NAN;
    for (int32_t u = 0; u < p->n_units; u++) {
        const double x = (double)scores[(int64_t)u * p->n_labels + label];
        if (x > best || (isnan(best) && !isnan(x))) best = x;
    }
    return best;
}

static json_t *difference_json(const cpt_kind_test *t)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:i, s:i, s:i}", "mean_concepts",
                     cpt_json_number(t->mean_a), "mean_neurons", cpt_json_number(t->mean_b),
                     "difference", cpt_json_number(t->difference), "p", cpt_json_number(t->p),
                     "n_concepts", t->n_a, "n_neurons", t->n_b, "n_permutations",
                     t->n_permutations);
}

/* Dead concepts have no say: they would be scored at chance. */
static cpt_status compare(cpt_study *s, const units *x, const cpt_purity *concepts,
                          const cpt_purity *neurons, json_t *to, cpt_err *e)
{
    const double *scores[2][2] = {{concepts->best_auroc, neurons->best_auroc},
                                  {concepts->best_f1, neurons->best_f1}};
    static const char *const names[2] = {"auroc", "f1"};
    double *alive = NULL, *best = NULL;
    json_t *all = json_object(), *better = json_object();
    cpt_status status;
    CPT_TRY(cpt_alloc(&alive, (size_t)concepts->n_units, sizeof *alive, e));
    CPT_TRY(cpt_alloc(&best, (size_t)x->dim, sizeof *best, e));
    for (int i = 0; i < 2; i++) {
        cpt_kind_test t;
        int32_t n = 0;
        for (int32_t c = 0; c < concepts->n_units; c++)
            if (!x->u->stats[c].dead) alive[n++] = scores[i][0][c];
        CPT_TRY(cpt_kinds_differ(n, alive, neurons->n_units, scores[i][1], N_KIND_PERMUTATIONS,
                                 (uint64_t)i + 1, &t, s->ctx, e));
        json_object_set_new(all, names[i], difference_json(&t));
        for (int32_t j = 0; j < x->dim; j++)
            best[j] = fmax(scores[i][1][2 * j], scores[i][1][2 * j + 1]);
        CPT_TRY(cpt_kinds_differ(n, alive, x->dim, best, N_KIND_PERMUTATIONS, (uint64_t)i + 3, &t,
                                 s->ctx, e));
        json_object_set_new(better, names[i], difference_json(&t));
    }
    json_object_set(to, "concepts_against_neurons", all);
    json_object_set(to, "concepts_against_better_sign", better);
done:
    json_decref(all);
    json_decref(better);
    free(alive);
    free(best);
    return status;
}

/* Label by label: the best concept against the best neuron, signs flipped over labels. */
static cpt_status compare_by_label(cpt_study *s, const cpt_purity *concepts,
                                   const cpt_purity *neurons, json_t *to, cpt_err *e)
{
    static const char *const names[2] = {"auroc", "f1"};
    const float *scores[2][2] = {{concepts->auroc, neurons->auroc}, {concepts->f1, neurons->f1}};
    double *differences = NULL;
    json_t *all = json_object();
    cpt_status status;
    CPT_TRY(cpt_alloc(&differences, (size_t)concepts->n_labels, sizeof *differences, e));
    for (int i = 0; i < 2; i++) {
        double means[2] = {0, 0};
        int32_t n = 0, n_ahead = 0;
        for (int32_t k = 0; k < concepts->n_labels; k++) {
            const double best[2] = {best_score(concepts, scores[i][0], k),
                                    best_score(neurons, scores[i][1], k)};
            if (isnan(best[0]) || isnan(best[1])) continue;
            means[0] += best[0];
            means[1] += best[1];
            differences[n++] = best[0] - best[1];
            n_ahead += best[0] > best[1];
        }
        const double p =
            cpt_sign_flip_p(n, differences, N_KIND_PERMUTATIONS, s->ctx->seed, 200 + (uint64_t)i);
        json_object_set_new(all, names[i],
                            json_pack("{s:o, s:o, s:o, s:i, s:i}", "mean_concepts",
                                      cpt_json_number(means[0] / n), "mean_neurons",
                                      cpt_json_number(means[1] / n), "p", cpt_json_number(p),
                                      "n_labels", n, "n_labels_concept_ahead", n_ahead));
    }
    json_object_set(to, "best_by_label", all);
done:
    json_decref(all);
    free(differences);
    return status;
}

/* ---- all ---- */

/* At most MOST_CELLS labelled cells, at random: the others become -1. */
static cpt_status thin_codes(const cpt_study *s, int64_t n, int32_t *codes, cpt_err *e)
{
    int64_t *cells, m = 0;
    cpt_stream stream;
    cpt_status status = cpt_alloc(&cells, (size_t)n, sizeof *cells, e);
    if (status) return status;
    for (int64_t i = 0; i < n; i++)
        if (codes[i] >= 0) cells[m++] = i;
    cpt_stream_init(&stream, s->ctx->seed, CPT_RANDOM_FOLDS, 3);
    if (m > MOST_CELLS) cpt_stream_shuffle_i64(&stream, cells, m);
    for (int64_t i = MOST_CELLS; i < m; i++) codes[cells[i]] = -1;
    free(cells);
    return CPT_OK;
}

static cpt_status find_purities(cpt_study *s, const units *x, const cpt_column *label,
                                const int32_t *codes, json_t *to, cpt_err *e)
{
    const bool full = cpt_evaluation_in_full(s);
    cpt_purity_options o = {full ? permutations_full : permutations_brief, LEAST_CELLS};
    cpt_purity *concepts = NULL, *neurons = NULL;
    json_t *part;
    int64_t n = x->n < MOST_CELLS ? x->n : MOST_CELLS;
    const double steps = (double)x->u->by_cell.indptr[x->n] * (double)n / (double)x->n +
                         2.0 * (double)x->dim * (double)n; /* of one walk of all units */
    if (steps * o.n_permutations > most_steps)
        o.n_permutations = (int32_t)fmax(99, most_steps / steps);
    const int32_t n_labels = (int32_t)label->categories.n;
    cpt_status status;
    CPT_TRY(cpt_purity_find(&o, x->u->n_concepts, concept_values, x, x->n, codes, n_labels,
                            &concepts, s->ctx, e));
    CPT_TRY(cpt_purity_find(&o, 2 * x->dim, neuron_values, x, x->n, codes, n_labels, &neurons,
                            s->ctx, e));
    CPT_TRY(labels_json(x, label, codes, concepts, neurons, &part, e));
    json_object_set_new(to, "labels", part);
    CPT_TRY(kind_json(concepts, label, false, &part, e));
    json_object_set_new(to, "concepts", part);
    CPT_TRY(kind_json(neurons, label, true, &part, e));
    json_object_set_new(to, "neurons", part);
    CPT_TRY(compare(s, x, concepts, neurons, to, e));
    CPT_TRY(compare_by_label(s, concepts, neurons, to, e));
    json_object_set_new(to, "n", json_integer((json_int_t)concepts->n_cells));
    json_object_set_new(to, "n_labels", json_integer(concepts->n_labels_used));
    json_object_set_new(to, "n_permutations", json_integer(o.n_permutations));
    json_object_set_new(to, "effort",
                        json_pack("{s:s, s:i, s:i}", "level", full ? "full" : "quick", "most_cells",
                                  MOST_CELLS, "permutations", o.n_permutations));
done:
    cpt_purity_free(concepts);
    cpt_purity_free(neurons);
    return status;
}

static cpt_status purity(cpt_study *s, json_t **out, cpt_err *e)
{
    units x = {0};
    const cpt_column *label;
    int32_t *codes = NULL;
    json_t *left_out = NULL, *to = json_object();
    cpt_status status;
    CPT_TRY(cpt_study_column(s, "label", &label, e));
    CPT_TRY(cpt_study_activations(s, &x.u, e));
    CPT_TRY(cpt_study_embedding(s, &x.a, &x.n, &x.dim, e));
    if (!label) {
        status = cpt_fail(e, CPT_ERR_DATA, "no column with labels was given (--label)");
        goto done;
    }
    CPT_TRY(cpt_evaluation_codes(label, x.n, x.u->usable, &codes, &left_out, e));
    CPT_TRY(thin_codes(s, x.n, codes, e));
    CPT_TRY(find_purities(s, &x, label, codes, to, e));
    json_object_set_new(to, "column", json_string(label->name));
    json_object_set(to, "left_out", left_out);
    json_object_set_new(
        to, "rule",
        json_string(
            "labels: the concept whose active cells have the best F1, its AUROC over all labelled "
            "cells; units: best AUROC and best F1 (over thresholds) among the labels with 10 cells "
            "or more, p by permuting the labels over cells, best against best; neurons: both signs "
            "of every coordinate; concepts against neurons: kinds permuted over units; "
            "best_by_label: the best concept against the best neuron, signs flipped over labels"));
    *out = json_incref(to);
done:
    json_decref(to);
    json_decref(left_out);
    free(codes);
    return status;
}

cpt_status cpt_stage_purity(cpt_study *s, cpt_err *e)
{
    return cpt_evaluation_part(s, "purity", purity, e);
}

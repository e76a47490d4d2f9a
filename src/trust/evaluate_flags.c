#include "base/memory.h"
#include "evaluate/unit_flags.h"
#include "io/json_value.h"
#include "math/statistics.h"
#include "trust/evaluate.h"
#include "study/store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* `flags`: what speaks against reading a concept at face value. Thresholds are our defaults; the
 * numbers they are set on stand beside them. A flag is null where it was not examined: no donor
 * column, no completeness, no stability, no counterfactuals. */

/* Random pairs of cells that the pairs of a concept are held against. */
enum { N_RANDOM_PAIRS = 4000 };
static const double CONFOUNDED = 0.10, UNSTABLE = 0.5;

typedef struct flags {
    cpt_study *s;
    const cpt_activations *u;
    const cpt_pairs *pairs;       /* NULL for fixed embeddings */
    const cpt_column *columns[2]; /* donor, batch; NULL = none */
    cpt_concentration *concentrated[2];
    double *rest, *along, *distance;                          /* [n_concepts] NaN = no pairs */
    const json_t *stability, *activation_stability, *fragile; /* arrays by concept, or NULL */
    int32_t counts[8];
} flags;

enum { DEAD, DENSE, RARE, DONOR, BATCH, CONFOUNDED_PAIRS, FRAGILE, UNSTABLE_ROWS };
static const char *const flag_names[8] = {"dead",      "dense",      "rare",    "one_donor",
                                          "one_batch", "confounded", "fragile", "unstable"};

static void flags_free(flags *f)
{
    free(f->concentrated[0]);
    free(f->concentrated[1]);
    free(f->rest);
    free(f->along);
    free(f->distance);
}

static cpt_status measure_pairs(flags *f, cpt_err *e)
{
    const float *a;
    int64_t n;
    int32_t dim;
    cpt_dictionary *d;
    double *scratch = NULL;
    cpt_status status;
    CPT_TRY(cpt_study_embedding(f->s, &a, &n, &dim, e));
    CPT_TRY(cpt_study_dictionary(f->s, &d, e));
    CPT_TRY(cpt_pair_rests(f->pairs, a, n, dim, f->u->usable, d->decoder, N_RANDOM_PAIRS, f->rest,
                           f->along, f->s->ctx, e));
    CPT_TRY(cpt_alloc(&scratch, (size_t)f->pairs->first[f->pairs->n_concepts], sizeof *scratch, e));
    for (int32_t c = 0; c < f->pairs->n_concepts; c++) {
        const int64_t first = f->pairs->first[c], m = f->pairs->first[c + 1] - first;
        for (int64_t i = 0; i < m; i++)
            scratch[i] = (double)f->pairs->pairs[first + i].relative_distance;
        f->distance[c] = cpt_median(m, scratch);
    }
done:
    free(scratch);
    return status;
}

/* `fragile` of the first collection that completeness examined, by attribution when there is one.
 */
static const json_t *find_fragile(const json_t *evaluation)
{
    static const char *const rankings[] = {"attribution", "expression"};
    const json_t *completeness = json_object_get(evaluation, "completeness");
    const char *name;
    json_t *collection;
    for (int r = 0; r < 2; r++)
        json_object_foreach((json_t *)(uintptr_t)completeness, name, collection)
        {
            const json_t *list =
                json_object_get(json_object_get(collection, rankings[r]), "fragile");
            if (json_is_array(list)) return list;
        }
    return NULL;
}

static const json_t *by_concept(const json_t *evaluation, const char *kind)
{
    const json_t *stability = json_object_get(evaluation, "stability");
    return json_object_get(json_object_get(stability, kind), "by_concept");
}

static cpt_status open_flags(cpt_study *s, const json_t *evaluation, flags *f, cpt_err *e)
{
    static const char *const which[2] = {"donor", "batch"};
    cpt_status status;
    f->s = s;
    CPT_TRY(cpt_study_activations(s, &f->u, e));
    CPT_TRY(cpt_study_pairs(s, &f->pairs, e));
    const size_t n = (size_t)f->u->n_concepts;
    CPT_TRY(cpt_alloc(&f->rest, n, sizeof *f->rest, e));
    CPT_TRY(cpt_alloc(&f->along, n, sizeof *f->along, e));
    CPT_TRY(cpt_alloc(&f->distance, n, sizeof *f->distance, e));
    for (size_t c = 0; c < n; c++) f->rest[c] = f->along[c] = f->distance[c] = NAN;
    for (int i = 0; i < 2; i++) {
        CPT_TRY(cpt_study_column(s, which[i], &f->columns[i], e));
        if (!f->columns[i]) continue;
        CPT_TRY(cpt_alloc(&f->concentrated[i], n, sizeof **f->concentrated, e));
        CPT_TRY(cpt_concentrations(f->u, f->columns[i], f->concentrated[i], e));
    }
    if (f->pairs) CPT_TRY(measure_pairs(f, e));
    f->stability = by_concept(evaluation, "decoder");
    f->activation_stability = by_concept(evaluation, "activation");
    f->fragile = find_fragile(evaluation);
done:
    return status;
}

/* ---- what is told ---- */

static double number_at(const json_t *list, int32_t i)
{
    return cpt_json_double(json_array_get(list, (size_t)i));
}

static void raise_flag(flags *f, int which, bool raised, json_t *list)
{
    if (!raised) return;
    f->counts[which]++;
    json_array_append_new(list, json_string(flag_names[which]));
}

static json_t *concentration_json(const cpt_column *column, const cpt_concentration *c)
{
    if (c->code < 0) return json_null();
    return json_pack("{s:s, s:o, s:o}", "name", cpt_strings_get(&column->categories, c->code),
                     "share", cpt_json_number(c->share), "of_all_cells",
                     cpt_json_number(c->background));
}

static json_t *concept_json(flags *f, int32_t c)
{
    const cpt_concept_stats *st = &f->u->stats[c];
    json_t *raised = json_array();
    char name[32];
    snprintf(name, sizeof name, "c%d", c);
    const double rows = st->dead ? NAN : number_at(f->stability, c);
    const double stability = st->dead ? NAN : number_at(f->activation_stability, c);
    raise_flag(f, DEAD, st->dead, raised);
    raise_flag(f, DENSE, st->dense, raised);
    raise_flag(f, RARE, st->rare, raised);
    for (int i = 0; i < 2; i++)
        raise_flag(f, DONOR + i, f->columns[i] && f->concentrated[i][c].flagged, raised);
    raise_flag(f, CONFOUNDED_PAIRS, f->rest[c] > CONFOUNDED, raised);
    raise_flag(f, FRAGILE, json_is_true(json_array_get(f->fragile, (size_t)c)), raised);
    raise_flag(f, UNSTABLE_ROWS, stability < UNSTABLE, raised);
    json_t *o = json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "concept", name, "flags", raised,
                          "stability", cpt_json_number(stability), "decoder_stability",
                          cpt_json_number(rows), "pair_rest", cpt_json_number(f->rest[c]),
                          "pair_cosine", cpt_json_number(f->along[c]), "relative_distance",
                          cpt_json_number(f->distance[c]));
    if (f->columns[0])
        json_object_set_new(o, "main_donor",
                            concentration_json(f->columns[0], &f->concentrated[0][c]));
    if (f->columns[1])
        json_object_set_new(o, "main_batch",
                            concentration_json(f->columns[1], &f->concentrated[1][c]));
    return o;
}

static json_t *rules_json(void)
{
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "dead", "active in no cell", "dense",
        "active in more than half of the cells", "rare", "active in 1 to 9 cells", "one_donor",
        "10 active cells or more, over 80 % of them from one donor that has under 40 % of all "
        "cells",
        "one_batch", "the same for the batch", "confounded",
        "beside the concept's own direction the median prototype and counterfactual differ more "
        "than a tenth "
        "of random pairs of cells do (pair_rest > 0.1)",
        "fragile",
        "the best term is lost in more than half of the draws with 80 % of the annotation",
        "unstable",
        "mean correlation of its activations with those of its partners in dictionaries of other "
        "seeds below 0.5");
}

static json_t *counts_json(const flags *f)
{
    const bool examined[8] = {true,
                              true,
                              true,
                              f->columns[0] != NULL,
                              f->columns[1] != NULL,
                              f->pairs != NULL,
                              f->fragile != NULL,
                              f->stability != NULL};
    json_t *counts = json_object();
    for (int i = 0; i < 8; i++)
        json_object_set_new(counts, flag_names[i],
                            examined[i] ? json_integer(f->counts[i]) : json_null());
    return counts;
}

cpt_status cpt_flags_json(cpt_study *s, const json_t *evaluation, json_t **out, cpt_err *e)
{
    flags f = {.s = NULL};
    cpt_status status = open_flags(s, evaluation, &f, e);
    if (status == CPT_OK) {
        json_t *concepts = json_array();
        for (int32_t c = 0; c < f.u->n_concepts; c++)
            json_array_append_new(concepts, concept_json(&f, c));
        *out = json_pack("{s:i, s:o, s:o, s:o, s:i}", "n", f.u->n_concepts, "counts",
                         counts_json(&f), "rules", rules_json(), "concepts", concepts,
                         "n_random_pairs", N_RANDOM_PAIRS);
    }
    flags_free(&f);
    return status;
}

#include "compare/compare_pair.h"

#include "base/memory.h"
#include "study/store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Measures of a pair of studies, each matched for itself; the first that can be had, in the order
 * of `leads`, gives the list of matched concepts, on which all measures are then told.
 *
 * Activations lead although decoder rows would say more of the model: in a latent space of ten
 * dimensions forty rows find partners with a cosine of 0.54 by chance alone, and what is alike then
 * names other cells. */

enum { DECODER, ACTIVATION, ATTRIBUTION, EXPRESSION, N_MEASURES };
static const int leads[N_MEASURES] = {ACTIVATION, DECODER, ATTRIBUTION, EXPRESSION};
enum { TOP_GENES = 10, SHARED_TOP = 20, LEAST_GENES = 10 };
static const char *const measure_names[N_MEASURES] = {"decoder", "activation", "attribution",
                                                      "expression"};

const char *const cpt_match_columns[] = {"study_a",
                                         "concept_a",
                                         "study_b",
                                         "concept_b",
                                         "likeness",
                                         "runner_up",
                                         "p",
                                         "q",
                                         "q_within_labels",
                                         "mutual_best",
                                         "decoder_cosine",
                                         "activation_r",
                                         "activation_r_a",
                                         "activation_r_b",
                                         "jaccard",
                                         "attribution_r",
                                         "attribution_cosine",
                                         "expression_r",
                                         "active_a",
                                         "active_b",
                                         "label_a",
                                         "label_b",
                                         "shared_genes",
                                         "genes_a",
                                         "genes_b",
                                         "term_a",
                                         "term_b",
                                         NULL};

typedef struct measure {
    cpt_likeness *likeness; /* NULL: cannot be had */
    cpt_matching matching;
    char why[256]; /* it cannot be had */
} measure;

typedef struct pair {
    const cpt_compared *a, *b;
    cpt_common common;
    measure measures[N_MEASURES];
    cpt_matching within_labels; /* activations; n 0 without labels */
    double pw_mcc, pw_mcc_null, pw_mcc_sd, pw_mcc_p;
    cpt_likeness *cosine;       /* of attribution profiles */
    cpt_likeness *by_set[2];    /* activations on each set alone */
    double *jaccard;            /* [n_units a][n_units b] or NULL */
    int32_t n_genes;            /* in both universes */
    int32_t *genes_a, *genes_b; /* [n_genes] numbers in the universes */
    const cpt_universe *universe_a, *universe_b;
} pair;

static void pair_free(pair *p)
{
    for (int m = 0; m < N_MEASURES; m++) {
        cpt_likeness_free(p->measures[m].likeness);
        cpt_matching_free(&p->measures[m].matching);
    }
    cpt_matching_free(&p->within_labels);
    cpt_likeness_free(p->cosine);
    for (int i = 0; i < 2; i++) cpt_likeness_free(p->by_set[i]);
    free(p->jaccard);
    free(p->genes_a);
    free(p->genes_b);
    cpt_common_free(&p->common);
}

/* ---- likenesses ---- */

/* Decoder rows of the units in use, together. */
static cpt_status unit_rows(const cpt_compared *c, float **out, cpt_err *e)
{
    const size_t dim = (size_t)c->dictionary->dim;
    cpt_status status = cpt_alloc(out, (size_t)c->n_units * dim, sizeof **out, e);
    if (status) return status;
    for (int32_t i = 0; i < c->n_units; i++)
        memcpy(*out + (size_t)i * dim, c->dictionary->decoder + (size_t)c->units[i] * dim,
               dim * sizeof **out);
    return CPT_OK;
}

static cpt_status compare_decoders(pair *p, int32_t n_null, const cpt_context *ctx, cpt_err *e)
{
    float *a = NULL, *b = NULL;
    cpt_likeness *absolute = NULL;
    cpt_matching m = {0};
    const int32_t dim = p->a->dictionary->dim;
    cpt_status status;
    if (!p->common.same_space) {
        snprintf(p->measures[DECODER].why, sizeof p->measures[DECODER].why,
                 "the studies have different models: their latent spaces have nothing in common");
        return CPT_OK;
    }
    CPT_TRY(unit_rows(p->a, &a, e));
    CPT_TRY(unit_rows(p->b, &b, e));
    CPT_TRY(cpt_likeness_decoders(a, p->a->n_units, b, p->b->n_units, dim, false,
                                  &p->measures[DECODER].likeness, ctx, e));
    CPT_TRY(
        cpt_likeness_decoders(a, p->a->n_units, b, p->b->n_units, dim, true, &absolute, ctx, e));
    CPT_TRY(cpt_likeness_match(absolute, n_null, &m, ctx, e));
    p->pw_mcc = m.mean;
    p->pw_mcc_null = m.null_mean;
    p->pw_mcc_sd = m.null_sd;
    p->pw_mcc_p = m.p;
done:
    cpt_matching_free(&m);
    cpt_likeness_free(absolute);
    free(a);
    free(b);
    return status;
}

/* The same likeness, judged by permutations among cells of one label: is it more than the label? */
static cpt_status compare_within_labels(pair *p, cpt_cell_set *sets, int32_t n, int32_t n_null,
                                        const cpt_context *ctx, cpt_err *e)
{
    cpt_likeness *l = NULL;
    for (int32_t i = 0; i < n; i++) sets[i].strata = p->common.sets[i].strata;
    for (int32_t i = 0; i < n; i++)
        if (!sets[i].strata) return CPT_OK;
    cpt_status status = cpt_likeness_activations(sets, n, &l, ctx, e);
    if (status == CPT_OK) status = cpt_likeness_match(l, n_null, &p->within_labels, ctx, e);
    cpt_likeness_free(l);
    return status;
}

static cpt_status compare_activations(pair *p, int32_t n_null, const cpt_context *ctx, cpt_err *e)
{
    cpt_cell_set sets[2];
    cpt_status status;
    const int32_t n = p->common.n_sets;
    for (int32_t i = 0; i < n; i++)
        sets[i] = (cpt_cell_set){&p->common.sets[i].a, &p->common.sets[i].b, NULL};
    if (n == 0) {
        snprintf(p->measures[ACTIVATION].why, sizeof p->measures[ACTIVATION].why,
                 "there are no cells that both studies can see (notes say why)");
        return CPT_OK;
    }
    CPT_TRY(cpt_likeness_activations(sets, n, &p->measures[ACTIVATION].likeness, ctx, e));
    for (int32_t i = 0; i < n; i++)
        CPT_TRY(cpt_likeness_activations(&sets[i], 1, &p->by_set[i], ctx, e));
    CPT_TRY(compare_within_labels(p, sets, n, n_null, ctx, e));
    CPT_TRY(cpt_alloc(&p->jaccard, (size_t)p->a->n_units * (size_t)p->b->n_units,
                      sizeof *p->jaccard, e));
    status = cpt_jaccard(sets, n, p->jaccard, e);
done:
    return status;
}

/* Genes that both universes have. */
static cpt_status share_genes(pair *p, const cpt_gene_table *table, cpt_err *e)
{
    cpt_alignment genes = {0};
    cpt_status status;
    CPT_TRY(cpt_study_universe(p->a->study, &p->universe_a, e));
    CPT_TRY(cpt_study_universe(p->b->study, &p->universe_b, e));
    CPT_TRY(cpt_alloc(&p->genes_a, (size_t)p->universe_a->n, sizeof *p->genes_a, e));
    CPT_TRY(cpt_alloc(&p->genes_b, (size_t)p->universe_a->n, sizeof *p->genes_b, e));
    if (p->universe_a->n == 0 || p->universe_b->n == 0) return CPT_OK;
    CPT_TRY(cpt_align_genes(&p->universe_b->names, &p->universe_a->names, &p->universe_a->symbols,
                            table, table != NULL, &genes, e));
    for (int32_t g = 0; g < p->universe_a->n; g++)
        if (genes.to_model[g] >= 0) {
            p->genes_a[p->n_genes] = g;
            p->genes_b[p->n_genes++] = genes.to_model[g];
        }
done:
    cpt_alignment_free(&genes);
    return status;
}

/* Rows of the units over the shared genes out of values [n_concepts][n_genes]. */
static cpt_status profiles(const cpt_compared *c, const float *values, int32_t n_genes,
                           int32_t n_shared, const int32_t *shared, float **out, cpt_err *e)
{
    cpt_status status = cpt_alloc(out, (size_t)c->n_units * (size_t)n_shared, sizeof **out, e);
    if (status) return status;
    for (int64_t i = 0; i < c->n_units; i++)
        for (int64_t g = 0; g < n_shared; g++)
            (*out)[i * n_shared + g] = values[(int64_t)c->units[i] * n_genes + shared[g]];
    return CPT_OK;
}

/* NULL without attribution or expression; `fits` false when it does not belong to these concepts.
 */
static const float *profile_source(const cpt_compared *c, int what, int32_t n_genes, bool *fits)
{
    const cpt_attribution *x = NULL;
    const cpt_expression *y = NULL;
    if (what == ATTRIBUTION) {
        if (cpt_study_attribution(c->study, &x, NULL) || !x) return NULL;
        *fits = x->n_genes == n_genes && x->n_concepts == c->u->n_concepts;
        return x->mean;
    }
    if (cpt_study_expression(c->study, &y, NULL) || !y) return NULL;
    *fits = y->n_genes == n_genes && y->n_units == c->u->n_concepts;
    return y->score;
}

static cpt_status compare_profiles(pair *p, int what, const cpt_context *ctx, cpt_err *e)
{
    float *a = NULL, *b = NULL;
    bool fits_a = false, fits_b = false;
    measure *m = &p->measures[what];
    const float *from_a = profile_source(p->a, what, p->universe_a->n, &fits_a),
                *from_b = profile_source(p->b, what, p->universe_b->n, &fits_b);
    cpt_status status;
    if (!from_a || !from_b || !fits_a || !fits_b) {
        snprintf(m->why, sizeof m->why, "%s has no %s", from_a && fits_a ? p->b->name : p->a->name,
                 what == ATTRIBUTION ? "attribution (not computed yet, or a fixed embedding)"
                                     : "differential expression");
        return CPT_OK;
    }
    if (p->n_genes < LEAST_GENES) {
        snprintf(m->why, sizeof m->why, "the studies have %d genes in common", p->n_genes);
        return CPT_OK;
    }
    CPT_TRY(profiles(p->a, from_a, p->universe_a->n, p->n_genes, p->genes_a, &a, e));
    CPT_TRY(profiles(p->b, from_b, p->universe_b->n, p->n_genes, p->genes_b, &b, e));
    CPT_TRY(cpt_likeness_profiles(a, p->a->n_units, b, p->b->n_units, p->n_genes, true,
                                  &m->likeness, ctx, e));
    if (what == ATTRIBUTION)
        status = cpt_likeness_profiles(a, p->a->n_units, b, p->b->n_units, p->n_genes, false,
                                       &p->cosine, ctx, e);
done:
    free(a);
    free(b);
    return status;
}

/* ---- JSON ---- */

static json_t *side_json(const cpt_compared *c)
{
    size_t n = strlen(c->study->folder);
    while (n > 1 && c->study->folder[n - 1] == '/') n--;
    return json_pack("{s:s, s:s%, s:s, s:s, s:I, s:i, s:i}", "name", c->name, "folder",
                     c->study->folder, n, "model", cpt_text_str(&c->model->description),
                     "dictionary", c->dictionary->ops->kind, "n_cells",
                     (json_int_t)c->cells->n_cells, "n_concepts", c->u->n_concepts, "n_active",
                     c->n_units);
}

static json_t *sets_json(const cpt_common *c)
{
    json_t *list = json_array();
    for (int32_t i = 0; i < c->n_sets; i++) {
        const cpt_common_set *s = &c->sets[i];
        json_t *set = json_pack("{s:s, s:I, s:I}", "of",
                                s->of == 's'   ? "both"
                                : s->of == 'a' ? "a"
                                               : "b",
                                "n", (json_int_t)s->n, "n_cells", (json_int_t)s->n_cells);
        if (s->of != 's') {
            json_object_set_new(set, "model_genes", json_integer(s->n_model));
            json_object_set_new(set, "genes_found", json_integer(s->n_found));
        }
        json_array_append_new(list, set);
    }
    return list;
}

/* Share of the lead pairs that a measure's own matching has too. */
static double agreement(const cpt_matching *lead, const cpt_matching *other)
{
    int32_t n = 0;
    for (int32_t i = 0; i < lead->n; i++)
        for (int32_t k = 0; k < other->n; k++)
            n += lead->pairs[i].a == other->pairs[k].a && lead->pairs[i].b == other->pairs[k].b;
    return (double)n / lead->n;
}

static json_t *measure_json(const pair *p, int what, int lead)
{
    const measure *m = &p->measures[what];
    const cpt_matching *x = &m->matching;
    if (!m->likeness) return json_pack("{s:s}", "absent", m->why);
    json_t *out = json_pack(
        "{s:i, s:f, s:o, s:f, s:f, s:f, s:i, s:f, s:{s:i, s:f, s:o}, s:{s:f, s:o}, s:f}", "n", x->n,
        "mean", x->mean, "sd", cpt_json_number(x->sd), "above_05", x->above_05, "above_07",
        x->above_07, "above_09", x->above_09, "n_significant", x->n_significant, "p", x->p, "null",
        "n", x->n_null, "mean", x->null_mean, "sd", cpt_json_number(x->null_sd), "random_partners",
        "mean", x->partners_mean, "sd", cpt_json_number(x->partners_sd), "agreement",
        agreement(&p->measures[lead].matching, x));
    if (what == ACTIVATION && p->within_labels.n) {
        const cpt_matching *w = &p->within_labels;
        json_object_set_new(out, "within_labels",
                            json_pack("{s:f, s:f, s:o, s:i}", "p", w->p, "null_mean", w->null_mean,
                                      "null_sd", cpt_json_number(w->null_sd), "n_significant",
                                      w->n_significant));
    }
    if (what == DECODER)
        json_object_set_new(out, "pw_mcc",
                            json_pack("{s:f, s:f, s:o, s:f}", "mean", p->pw_mcc, "null_mean",
                                      p->pw_mcc_null, "null_sd", cpt_json_number(p->pw_mcc_sd), "p",
                                      p->pw_mcc_p));
    return out;
}

static double at(const cpt_likeness *l, int32_t i, int32_t j)
{
    return l ? cpt_likeness_values(l)[(int64_t)i * cpt_likeness_columns(l) + j] : NAN;
}

/* Symbols of a concept's top genes, joined; those also among the other's first SHARED_TOP into
 * `shared`, when it is not NULL. */
static void top_genes(const cpt_compared *c, int32_t concept, const cpt_compared *other,
                      int32_t other_concept, cpt_text *out, cpt_text *shared)
{
    int32_t mine[SHARED_TOP], theirs[SHARED_TOP];
    const cpt_universe *u, *v;
    if (cpt_study_universe(c->study, &u, NULL) || cpt_study_universe(other->study, &v, NULL))
        return;
    const int32_t n = cpt_study_top_genes(c->study, concept, SHARED_TOP, mine);
    for (int32_t i = 0; i < n && i < TOP_GENES; i++)
        cpt_text_addf(out, "%s%s", i ? "," : "", cpt_strings_get(&u->symbols, mine[i]));
    if (!shared) return;
    const int32_t m = cpt_study_top_genes(other->study, other_concept, SHARED_TOP, theirs);
    for (int32_t i = 0; i < n; i++)
        for (int32_t k = 0; k < m; k++)
            if (strcmp(cpt_strings_get(&u->symbols, mine[i]),
                       cpt_strings_get(&v->symbols, theirs[k])) == 0)
                cpt_text_addf(shared, "%s%s", shared->length ? "," : "",
                              cpt_strings_get(&u->symbols, mine[i]));
}

/* Label, genes and term of one side, keys with `suffix`. */
static cpt_status add_side(const cpt_compared *c, int32_t concept, const cpt_compared *other,
                           int32_t other_concept, const char *suffix, json_t *row, cpt_err *e)
{
    cpt_text label = {0}, genes = {0}, shared = {0};
    char key[32];
    const bool first = strcmp(suffix, "a") == 0;
    const cpt_enrichment_row *term = cpt_study_top_term(c->study, concept);
    cpt_status status;
    CPT_TRY(cpt_study_concept_label(c->study, concept, &label, e));
    top_genes(c, concept, other, other_concept, &genes, first ? &shared : NULL);
    CPT_TRY(cpt_text_status(&genes, e));
    snprintf(key, sizeof key, "study_%s", suffix);
    json_object_set_new(row, key, json_string(c->name));
    snprintf(key, sizeof key, "concept_%s", suffix);
    json_object_set_new(row, key, json_sprintf("c%d", concept));
    snprintf(key, sizeof key, "active_%s", suffix);
    json_object_set_new(row, key, json_real(c->u->stats[concept].frequency));
    snprintf(key, sizeof key, "label_%s", suffix);
    json_object_set_new(row, key, json_string(cpt_text_str(&label)));
    snprintf(key, sizeof key, "genes_%s", suffix);
    json_object_set_new(row, key, json_string(cpt_text_str(&genes)));
    snprintf(key, sizeof key, "term_%s", suffix);
    json_object_set_new(row, key, json_string(term ? term->name : ""));
    if (first) json_object_set_new(row, "shared_genes", json_string(cpt_text_str(&shared)));
done:
    cpt_text_free(&label);
    cpt_text_free(&genes);
    cpt_text_free(&shared);
    return status;
}

/* Activation on the cells of one study alone; for common cells the same number stands for both. */
static double on_cells_of(const pair *p, char of, int32_t i, int32_t j)
{
    for (int32_t s = 0; s < p->common.n_sets; s++)
        if (p->common.sets[s].of == of || p->common.sets[s].of == 's')
            return at(p->by_set[s], i, j);
    return NAN;
}

static double q_within_labels(const pair *p, int32_t a, int32_t b)
{
    for (int32_t i = 0; i < p->within_labels.n; i++)
        if (p->within_labels.pairs[i].a == a && p->within_labels.pairs[i].b == b)
            return p->within_labels.pairs[i].q;
    return NAN;
}

static cpt_status match_json(const pair *p, const cpt_matched_pair *x, json_t **out, cpt_err *e)
{
    const int32_t i = x->a, j = x->b, a = p->a->units[i], b = p->b->units[j];
    json_t *row = json_object();
    const struct {
        const char *key;
        double value;
    } numbers[] = {
        {"likeness", x->value},
        {"runner_up", x->runner_up},
        {"p", x->p},
        {"q", x->q},
        {"q_within_labels", q_within_labels(p, i, j)},
        {"decoder_cosine", at(p->measures[DECODER].likeness, i, j)},
        {"activation_r", at(p->measures[ACTIVATION].likeness, i, j)},
        {"activation_r_a", on_cells_of(p, 'a', i, j)},
        {"activation_r_b", on_cells_of(p, 'b', i, j)},
        {"jaccard", p->jaccard ? p->jaccard[(int64_t)i * p->b->n_units + j] : NAN},
        {"attribution_r", at(p->measures[ATTRIBUTION].likeness, i, j)},
        {"attribution_cosine", at(p->cosine, i, j)},
        {"expression_r", at(p->measures[EXPRESSION].likeness, i, j)},
    };
    cpt_status status = add_side(p->a, a, p->b, b, "a", row, e);
    if (status == CPT_OK) status = add_side(p->b, b, p->a, a, "b", row, e);
    for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++)
        json_object_set_new(row, numbers[k].key, cpt_json_number(numbers[k].value));
    json_object_set_new(row, "mutual_best", json_boolean(!(x->runner_up > x->value)));
    if (status) json_decref(row);
    else *out = row;
    return status;
}

static json_t *unmatched_json(const cpt_compared *c, const cpt_matching *m, bool side_b)
{
    json_t *list = json_array();
    for (int32_t i = 0; i < c->n_units; i++) {
        bool matched = false;
        for (int32_t k = 0; k < m->n; k++) matched |= (side_b ? m->pairs[k].b : m->pairs[k].a) == i;
        if (!matched) json_array_append_new(list, json_sprintf("c%d", c->units[i]));
    }
    return list;
}

static cpt_status pair_json(pair *p, int lead, json_t **out, cpt_err *e)
{
    const cpt_matching *m = &p->measures[lead].matching;
    json_t *matches = json_array(), *measures = json_object();
    cpt_status status = CPT_OK;
    for (int32_t i = 0; i < m->n && status == CPT_OK; i++) {
        json_t *row;
        status = match_json(p, &m->pairs[i], &row, e);
        if (status == CPT_OK) json_array_append_new(matches, row);
    }
    for (int k = 0; k < N_MEASURES; k++)
        json_object_set_new(measures, measure_names[k], measure_json(p, k, lead));
    *out = json_pack(
        "{s:o, s:o, s:b, s:o, s:b, s:I, s:o, s:{s:i, s:i, s:i}, s:s, s:o, s:o, s:o, s:o, s:O}", "a",
        side_json(p->a), "b", side_json(p->b), "same_model", p->common.same_space, "same_model_by",
        p->common.same_space ? json_string(p->common.same_space_why) : json_null(), "same_cells",
        p->common.same_cells, "n_common_names", (json_int_t)p->common.n_names, "cells",
        sets_json(&p->common), "genes", "a", p->universe_a->n, "b", p->universe_b->n, "shared",
        p->n_genes, "matched_by", measure_names[lead], "measures", measures, "matches", matches,
        "unmatched_a", unmatched_json(p->a, m, false), "unmatched_b", unmatched_json(p->b, m, true),
        "notes", p->common.notes);
    if (!*out && status == CPT_OK)
        status = cpt_fail(e, CPT_ERR_MEMORY, "out of memory, or a name that is not UTF-8");
    if (status) json_decref(*out);
    return status;
}

cpt_status cpt_compare_pair(const cpt_compared *a, const cpt_compared *b,
                            const cpt_gene_table *table, const cpt_comparison *how, json_t **out,
                            const cpt_context *ctx, cpt_err *e)
{
    pair p = {.a = a, .b = b};
    int order = 0;
    cpt_status status;
    *out = NULL;
    CPT_TRY(cpt_common_find(a, b, table, how->max_cells, &p.common, ctx, e));
    CPT_TRY(share_genes(&p, table, e));
    CPT_TRY(compare_decoders(&p, how->n_null, ctx, e));
    CPT_TRY(compare_activations(&p, how->n_null, ctx, e));
    CPT_TRY(compare_profiles(&p, ATTRIBUTION, ctx, e));
    CPT_TRY(compare_profiles(&p, EXPRESSION, ctx, e));
    for (int m = 0; m < N_MEASURES; m++)
        if (p.measures[m].likeness)
            CPT_TRY(cpt_likeness_match(p.measures[m].likeness, how->n_null, &p.measures[m].matching,
                                       ctx, e));
    while (order < N_MEASURES && !p.measures[leads[order]].likeness) order++;
    if (order == N_MEASURES) {
        status = cpt_fail(e, CPT_ERR_DATA, "%s and %s: nothing can be compared: %s; %s", a->name,
                          b->name, p.measures[ACTIVATION].why, p.measures[EXPRESSION].why);
        goto done;
    }
    status = pair_json(&p, leads[order], out, e);
done:
    pair_free(&p);
    return status;
}

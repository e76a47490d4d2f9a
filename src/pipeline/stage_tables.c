#include "base/file.h"
#include "base/memory.h"
#include "io/h5ad_write.h"
#include "io/json_value.h"
#include "math/statistics.h"
#include "study/notes_study.h"
#include "study/store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The AnnData files of a study: cells.h5ad, concepts.h5ad, attribution.h5ad. Field names are a
 * contract (cli.md); doc/formats.md lists them. */

enum { PATH_LIMIT = 4096, TOP_GENES = 10 };

static cpt_status concept_names(int32_t n, cpt_strings *names, cpt_err *e)
{
    char name[32];
    for (int32_t c = 0; c < n; c++) {
        int length = snprintf(name, sizeof name, "c%d", c);
        cpt_status status = cpt_strings_add(names, name, (size_t)length, e);
        if (status) return status;
    }
    return CPT_OK;
}

/* Opens PATH for writing; NULL with *e filled on failure. */
static cpt_h5ad *create(cpt_study *s, const char *name, const cpt_strings *obs,
                        const cpt_strings *var, cpt_err *e)
{
    char path[PATH_LIMIT];
    if (cpt_study_path(s, name, path, sizeof path, e)) return NULL;
    return cpt_h5ad_create(path, obs, var, e);
}

static cpt_status add_maps(cpt_study *s, cpt_h5ad *f, cpt_err *e)
{
    const float *a, *map;
    int64_t n;
    int32_t dim;
    cpt_status status;
    CPT_TRY(cpt_study_embedding(s, &a, &n, &dim, e));
    CPT_TRY(cpt_study_umap(s, &map, e));
    CPT_TRY(cpt_h5ad_matrix(f, "obsm/X_embedding", dim, a, e));
    status = cpt_h5ad_matrix(f, "obsm/X_umap", 2, map, e);
done:
    return status;
}

static cpt_status add_obs(const cpt_cells *cells, cpt_h5ad *f, cpt_err *e)
{
    for (int32_t i = 0; i < cells->obs.n_columns; i++) {
        cpt_status status = cpt_h5ad_column(f, 'o', &cells->obs.columns[i], e);
        if (status) return status;
    }
    return CPT_OK;
}

/* ---- cells.h5ad ---- */

static cpt_status write_cells(cpt_study *s, const cpt_cells *cells, cpt_err *e)
{
    const cpt_strings none = {0};
    cpt_h5ad *f = create(s, "cells.h5ad", &cells->cell_ids, &none, e);
    if (!f) return e ? e->code : CPT_ERR_IO;
    cpt_status status;
    CPT_TRY(add_obs(cells, f, e));
    CPT_TRY(add_maps(s, f, e));
    return cpt_h5ad_finish(f, e);
done:
    cpt_h5ad_abandon(f);
    return status;
}

/* ---- concepts.h5ad ---- */

typedef struct concept_columns {
    double *frequency, *max, *mean;
    bool *dead, *dense, *rare;
    double *stability, *pair_rest; /* NaN = not examined */
    cpt_strings genes, terms, labels, flags;
} concept_columns;

static void free_columns(concept_columns *c)
{
    free(c->frequency);
    free(c->max);
    free(c->mean);
    free(c->dead);
    free(c->dense);
    free(c->rare);
    free(c->stability);
    free(c->pair_rest);
    cpt_strings_free(&c->flags);
    cpt_strings_free(&c->genes);
    cpt_strings_free(&c->terms);
    cpt_strings_free(&c->labels);
}

static cpt_status add_findings(cpt_study *s, const cpt_universe *u, int32_t concept,
                               concept_columns *columns, cpt_err *e)
{
    int32_t genes[TOP_GENES];
    cpt_text t = {0}, label = {0};
    cpt_status status;
    int32_t n = cpt_study_top_genes(s, concept, TOP_GENES, genes);
    for (int32_t i = 0; i < n; i++)
        cpt_text_addf(&t, "%s%s", i ? "," : "", cpt_strings_get(&u->symbols, genes[i]));
    CPT_TRY(cpt_text_status(&t, e));
    CPT_TRY(cpt_strings_add(&columns->genes, cpt_text_str(&t), t.length, e));
    const cpt_enrichment_row *term = cpt_study_top_term(s, concept);
    const char *name = term ? term->name : "";
    CPT_TRY(cpt_strings_add(&columns->terms, name, strlen(name), e));
    CPT_TRY(cpt_study_concept_label(s, concept, &label, e));
    CPT_TRY(cpt_strings_add(&columns->labels, cpt_text_str(&label), label.length, e));
done:
    cpt_text_free(&t);
    cpt_text_free(&label);
    return status;
}

static double number_of(const json_t *object, const char *name)
{
    return cpt_json_double(json_object_get(object, name));
}

/* What evaluation.json says of each concept: flags joined by ',', and two of the numbers behind them. */
static cpt_status add_flags(cpt_study *s, int32_t n, concept_columns *c, cpt_err *e)
{
    const json_t *evaluation, *list;
    cpt_text t = {0};
    cpt_status status;
    CPT_TRY(cpt_study_evaluation(s, &evaluation, e));
    CPT_TRY(cpt_alloc(&c->stability, (size_t)n, sizeof *c->stability, e));
    CPT_TRY(cpt_alloc(&c->pair_rest, (size_t)n, sizeof *c->pair_rest, e));
    list = json_object_get(json_object_get(evaluation, "flags"), "concepts");
    for (int32_t i = 0; i < n; i++) {
        const json_t *one = json_array_get(list, (size_t)i), *flags = json_object_get(one, "flags");
        c->stability[i] = number_of(one, "stability");
        c->pair_rest[i] = number_of(one, "pair_rest");
        t.length = 0;
        for (size_t k = 0; k < json_array_size(flags); k++) {
            const char *flag = json_string_value(json_array_get(flags, k));
            if (flag) cpt_text_addf(&t, "%s%s", t.length ? "," : "", flag);
        }
        CPT_TRY(cpt_text_status(&t, e));
        CPT_TRY(cpt_strings_add(&c->flags, t.length ? t.bytes : "", t.length, e));
    }
done:
    cpt_text_free(&t);
    return status;
}

static cpt_status make_columns(cpt_study *s, const cpt_activations *u, concept_columns *c,
                               cpt_err *e)
{
    const cpt_universe *universe;
    size_t n = (size_t)u->n_concepts;
    cpt_status status;
    CPT_TRY(cpt_study_universe(s, &universe, e));
    CPT_TRY(cpt_alloc(&c->frequency, n, sizeof *c->frequency, e));
    CPT_TRY(cpt_alloc(&c->max, n, sizeof *c->max, e));
    CPT_TRY(cpt_alloc(&c->mean, n, sizeof *c->mean, e));
    CPT_TRY(cpt_alloc(&c->dead, n, sizeof *c->dead, e));
    CPT_TRY(cpt_alloc(&c->dense, n, sizeof *c->dense, e));
    CPT_TRY(cpt_alloc(&c->rare, n, sizeof *c->rare, e));
    for (int32_t i = 0; i < u->n_concepts; i++) {
        const cpt_concept_stats *stats = &u->stats[i];
        c->frequency[i] = stats->frequency;
        c->max[i] = stats->max;
        c->mean[i] = stats->mean;
        c->dead[i] = stats->dead;
        c->dense[i] = stats->dense;
        c->rare[i] = stats->rare;
        CPT_TRY(add_findings(s, universe, i, c, e));
    }
    status = add_flags(s, u->n_concepts, c, e);
done:
    return status;
}

/* What experts said, where anybody said anything: names and labels of the latest change, mean rating. */
static cpt_status add_opinions(cpt_study *s, cpt_h5ad *f, int32_t n_concepts, cpt_err *e)
{
    cpt_notes_opinions o;
    cpt_strings names = {0}, labels = {0}, notes = {0};
    double *rating = NULL, *experts = NULL;
    cpt_status status = cpt_study_opinions(s, &o, e);
    if (status || o.n == 0) goto done;
    CPT_TRY(cpt_alloc(&rating, (size_t)n_concepts, sizeof *rating, e));
    CPT_TRY(cpt_alloc(&experts, (size_t)n_concepts, sizeof *experts, e));
    for (int32_t c = 0; c < n_concepts; c++) {
        const cpt_notes_opinion *r = cpt_notes_opinion_of(&o, c);
        rating[c] = r ? r->rating : NAN;
        experts[c] = r ? r->n_experts : 0;
        CPT_TRY(cpt_strings_add(&names, r ? r->name : "", r ? strlen(r->name) : 0, e));
        CPT_TRY(cpt_strings_add(&labels, r ? r->label : "", r ? strlen(r->label) : 0, e));
        CPT_TRY(cpt_strings_add(&notes, r ? r->notes : "", r ? strlen(r->notes) : 0, e));
    }
    CPT_TRY(cpt_h5ad_texts(f, 'v', "expert_name", &names, e));
    CPT_TRY(cpt_h5ad_texts(f, 'v', "expert_label", &labels, e));
    CPT_TRY(cpt_h5ad_texts(f, 'v', "expert_notes", &notes, e));
    CPT_TRY(cpt_h5ad_numbers(f, 'v', "expert_rating", rating, e));
    status = cpt_h5ad_numbers(f, 'v', "experts", experts, e);
done:
    cpt_notes_opinions_free(&o);
    cpt_strings_free(&names);
    cpt_strings_free(&labels);
    cpt_strings_free(&notes);
    free(rating);
    free(experts);
    return status;
}

static cpt_status write_concepts(cpt_study *s, const cpt_cells *cells, const cpt_activations *u,
                                 const cpt_strings *names, cpt_err *e)
{
    concept_columns c = {0};
    cpt_dictionary *d;
    cpt_status status;
    cpt_h5ad *f = create(s, "concepts.h5ad", &cells->cell_ids, names, e);
    if (!f) return e ? e->code : CPT_ERR_IO;
    CPT_TRY(make_columns(s, u, &c, e));
    CPT_TRY(cpt_study_dictionary(s, &d, e));
    CPT_TRY(cpt_h5ad_csr(f, "X", &u->by_cell, e));
    CPT_TRY(add_obs(cells, f, e));
    CPT_TRY(cpt_h5ad_numbers(f, 'v', "frequency", c.frequency, e));
    CPT_TRY(cpt_h5ad_numbers(f, 'v', "max_activation", c.max, e));
    CPT_TRY(cpt_h5ad_numbers(f, 'v', "mean_activation", c.mean, e));
    CPT_TRY(cpt_h5ad_flags(f, 'v', "dead", c.dead, e));
    CPT_TRY(cpt_h5ad_flags(f, 'v', "dense", c.dense, e));
    CPT_TRY(cpt_h5ad_flags(f, 'v', "rare", c.rare, e));
    CPT_TRY(cpt_h5ad_texts(f, 'v', "flags", &c.flags, e));
    CPT_TRY(cpt_h5ad_numbers(f, 'v', "stability", c.stability, e));
    CPT_TRY(cpt_h5ad_numbers(f, 'v', "pair_rest", c.pair_rest, e));
    CPT_TRY(cpt_h5ad_texts(f, 'v', "top_genes", &c.genes, e));
    CPT_TRY(cpt_h5ad_texts(f, 'v', "top_term", &c.terms, e));
    CPT_TRY(cpt_h5ad_texts(f, 'v', "label", &c.labels, e));
    CPT_TRY(add_opinions(s, f, u->n_concepts, e));
    CPT_TRY(cpt_h5ad_matrix(f, "varm/decoder", d->dim, d->decoder, e));
    CPT_TRY(add_maps(s, f, e));
    status = cpt_h5ad_finish(f, e);
    f = NULL;
done:
    cpt_h5ad_abandon(f);
    free_columns(&c);
    return status;
}

/* ---- attribution.h5ad ---- */

static json_t *settings_json(cpt_study *s, const cpt_attribution *a, const cpt_pairs *p)
{
    static const char *const names[] = {
        "prototypes", "prototype-choice", "counterfactuals", "match", "method",
        "mode",       "readout",          "cutoff",          "space", "test"};
    json_t *settings = json_object(), *quantiles = json_array();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        json_object_set_new(settings, names[i],
                            json_string(cpt_options_text(s->options, names[i])));
    if (strcmp(cpt_options_text(s->options, "method"), "") == 0)
        json_object_set_new(settings, "method", json_string("default of the model"));
    json_object_set_new(settings, "unit",
                        json_string("change of the activation / activation of the prototype"));
    json_object_set_new(settings, "conceptome", json_string(CPT_VERSION));
    for (int i = 0; a && i < 5; i++)
        json_array_append_new(quantiles, cpt_json_number(a->noise_quantiles[i]));
    json_object_set_new(settings, "noise_floor_quantiles_50_90_95_99_99.9", quantiles);
    if (a)
        json_object_set_new(settings, "cutoff_percentile_of_noise",
                            cpt_json_number(a->cutoff_percentile));
    if (p)
        json_object_set_new(settings, "median_neighbour_distance",
                            cpt_json_number(p->median_neighbour_distance));
    return settings;
}

static cpt_status widen(const int32_t *from, size_t n, double **to, cpt_err *e)
{
    cpt_status status = cpt_alloc(to, n, sizeof **to, e);
    for (size_t i = 0; status == CPT_OK && i < n; i++) (*to)[i] = from[i];
    return status;
}

static cpt_status add_attribution_layers(cpt_study *s, cpt_h5ad *f, const cpt_attribution *a,
                                         cpt_err *e)
{
    double *n = NULL, *n_pairs = NULL;
    cpt_status status;
    CPT_TRY(widen(a->n, (size_t)a->n_concepts * (size_t)a->n_genes, &n, e));
    CPT_TRY(widen(a->n_pairs, (size_t)a->n_concepts, &n_pairs, e));
    CPT_TRY(cpt_h5ad_dense(f, "X", CPT_F32, a->mean, e));
    if (a->mean_other) {
        bool pre = strcmp(cpt_options_text(s->options, "readout"), "pre") == 0;
        CPT_TRY(cpt_h5ad_dense(f, pre ? "layers/mean_activation" : "layers/mean_pre", CPT_F32,
                               a->mean_other, e));
    }
    CPT_TRY(cpt_h5ad_dense(f, "layers/sd", CPT_F32, a->sd, e));
    CPT_TRY(cpt_h5ad_dense(f, "layers/n", CPT_F64, n, e));
    CPT_TRY(cpt_h5ad_dense(f, "layers/same_sign", CPT_F32, a->same_sign, e));
    CPT_TRY(cpt_h5ad_dense(f, "layers/low", CPT_F32, a->low, e));
    CPT_TRY(cpt_h5ad_dense(f, "layers/high", CPT_F32, a->high, e));
    CPT_TRY(cpt_h5ad_dense(f, "layers/p", CPT_F64, a->p, e));
    CPT_TRY(cpt_h5ad_dense(f, "layers/q", CPT_F64, a->q, e));
    CPT_TRY(cpt_h5ad_numbers(f, 'o', "n_pairs", n_pairs, e));
    if (a->completeness_error)
        CPT_TRY(cpt_h5ad_numbers(f, 'o', "completeness_error", a->completeness_error, e));
    if (a->hybrid_spearman)
        CPT_TRY(cpt_h5ad_numbers(f, 'o', "hybrid_spearman", a->hybrid_spearman, e));
    if (a->hybrid_top20)
        CPT_TRY(cpt_h5ad_numbers(f, 'o', "hybrid_top20_overlap", a->hybrid_top20, e));
    if (a->hybrid_spearman_pre)
        CPT_TRY(cpt_h5ad_numbers(f, 'o', "hybrid_spearman_pre", a->hybrid_spearman_pre, e));
    if (a->hybrid_top20_pre)
        CPT_TRY(cpt_h5ad_numbers(f, 'o', "hybrid_top20_overlap_pre", a->hybrid_top20_pre, e));
done:
    free(n);
    free(n_pairs);
    return status;
}

/* Median distance of a concept's pairs relative to the median neighbour distance: large =
 * confounded. */
static cpt_status add_distances(cpt_h5ad *f, const cpt_pairs *p, cpt_err *e)
{
    double *median = NULL, *scratch = NULL;
    int64_t longest = 1;
    cpt_status status;
    for (int32_t c = 0; c < p->n_concepts; c++)
        if (p->first[c + 1] - p->first[c] > longest) longest = p->first[c + 1] - p->first[c];
    CPT_TRY(cpt_alloc(&median, (size_t)p->n_concepts, sizeof *median, e));
    CPT_TRY(cpt_alloc(&scratch, (size_t)longest, sizeof *scratch, e));
    for (int32_t c = 0; c < p->n_concepts; c++) {
        int64_t n = p->first[c + 1] - p->first[c];
        for (int64_t i = 0; i < n; i++) scratch[i] = p->pairs[p->first[c] + i].relative_distance;
        median[c] = cpt_median(n, scratch);
    }
    status = cpt_h5ad_numbers(f, 'o', "relative_distance", median, e);
done:
    free(median);
    free(scratch);
    return status;
}

static cpt_status write_attribution(cpt_study *s, const cpt_strings *names, cpt_err *e)
{
    const cpt_universe *u;
    const cpt_attribution *a;
    const cpt_pairs *p;
    const cpt_expression *x;
    json_t *settings = NULL;
    char *text = NULL;
    cpt_h5ad *f = NULL;
    cpt_status status;
    CPT_TRY(cpt_study_universe(s, &u, e));
    CPT_TRY(cpt_study_attribution(s, &a, e));
    CPT_TRY(cpt_study_pairs(s, &p, e));
    CPT_TRY(cpt_study_expression(s, &x, e));
    f = create(s, "attribution.h5ad", names, &u->names, e);
    if (!f) return e ? e->code : CPT_ERR_IO;
    CPT_TRY(cpt_h5ad_texts(f, 'v', "gene_symbol", &u->symbols, e));
    if (a) CPT_TRY(add_attribution_layers(s, f, a, e));
    if (p) CPT_TRY(add_distances(f, p, e));
    CPT_TRY(cpt_h5ad_dense(f, "layers/dge_logfc", CPT_F32, x->logfc, e));
    CPT_TRY(cpt_h5ad_dense(f, "layers/dge_score", CPT_F32, x->score, e));
    CPT_TRY(cpt_h5ad_dense(f, "layers/dge_p", CPT_F64, x->p, e));
    CPT_TRY(cpt_h5ad_dense(f, "layers/dge_q", CPT_F64, x->q, e));
    settings = settings_json(s, a, p);
    text = json_dumps(settings, JSON_SORT_KEYS | JSON_REAL_PRECISION(9));
    if (!text) {
        status = cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
        goto done;
    }
    CPT_TRY(cpt_h5ad_uns_json(f, "settings", text, e));
    status = cpt_h5ad_finish(f, e);
    f = NULL;
done:
    cpt_h5ad_abandon(f);
    json_decref(settings);
    free(text);
    return status;
}

cpt_status cpt_stage_tables(cpt_study *s, cpt_err *e)
{
    const cpt_cells *cells;
    const cpt_activations *u;
    cpt_strings names = {0};
    cpt_status status;
    CPT_TRY(cpt_study_cells(s, &cells, e));
    CPT_TRY(cpt_study_activations(s, &u, e));
    CPT_TRY(concept_names(u->n_concepts, &names, e));
    CPT_TRY(write_cells(s, cells, e));
    CPT_TRY(write_concepts(s, cells, u, &names, e));
    status = write_attribution(s, &names, e);
done:
    cpt_strings_free(&names);
    return status;
}

#include "base/memory.h"
#include "evaluate/noise_floor.h"
#include "trust/evaluate.h"
#include "study/pair_options.h"
#include "study/prepare.h"
#include "study/store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* `noise_floor`: sizes of attributions of concepts beside those of neurons, of a random dictionary
 * and of random directions (these from the stage attribution), where the cut-off lies in each, and
 * the cut-offs that leave 5 % false attributions by the null of random directions. By the number of
 * pairs in which a gene differed as well: a mean over few pairs strays further. */

enum { CONCEPTS, NEURONS, RANDOM_DICTIONARY, RANDOM_DIRECTIONS, N_SOURCES };
enum { N_QUANTILES = 7, N_BINS = 48, N_CLASSES = 5 };
static const char *const source_names[N_SOURCES] = {"concepts", "neurons", "random_dictionary",
                                                    "random_directions"};
static const double quantile_at[N_QUANTILES] = {0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999};
static const char *const quantile_names[N_QUANTILES] = {"q25", "q50", "q75",  "q90",
                                                        "q95", "q99", "q99.9"};
/* Histogram: bins equal in log10 from LOWEST to HIGHEST; what lies outside counts at the ends. */
static const double LOWEST = 1e-6, HIGHEST = 10;
static const double FALSE_RATE = 0.05;
/* Transformers, where a pair takes hundreds of passes: so much of the neurons and the random
 * dictionary. */
enum { MOST_UNITS = 8, MOST_PROTOTYPES = 8 };
/* Genes by the pairs in which they differed. */
static const struct {
    const char *name;
    int32_t least, most;
} classes[N_CLASSES] = {
    {"1", 1, 1}, {"2-4", 2, 4}, {"5-8", 5, 8}, {"9-16", 9, 16}, {"17+", 17, INT32_MAX}};

/* mean and n of one source, [n_units][n_genes]; mean NULL = not computed. */
typedef struct source {
    const float *mean;
    const int32_t *n;
    int32_t n_units, n_genes;
    cpt_attribution *owned;
} source;

/* ---- other dictionaries through the same pipeline ---- */

/* Units from the front, spread evenly when they are bounded. */
static cpt_status bound_units(const cpt_activations *u, bool bounded, bool **chosen, cpt_err *e)
{
    cpt_status status = cpt_alloc(chosen, (size_t)u->n_concepts, sizeof **chosen, e);
    if (status) return status;
    int32_t n_alive = 0, n_seen = 0;
    for (int32_t c = 0; c < u->n_concepts; c++) n_alive += !u->stats[c].dead;
    const int64_t wanted = bounded && n_alive > MOST_UNITS ? MOST_UNITS : n_alive;
    for (int32_t c = 0; c < u->n_concepts; c++) {
        if (u->stats[c].dead) continue;
        (*chosen)[c] = (n_seen + 1) * wanted / n_alive > n_seen * wanted / n_alive;
        n_seen++;
    }
    return CPT_OK;
}

/* Attributes all units of an untrained dictionary, without intervals and tests. */
static cpt_status attribute_units(cpt_study *s, const cpt_model *m, const cpt_dictionary *d,
                                  source *out, cpt_err *e)
{
    const bool bounded = m->ops->costly;
    const float *a;
    const cpt_counts *counts;
    int64_t n;
    int32_t dim;
    cpt_activations *u = NULL;
    cpt_pairs *all = NULL, *pairs = NULL;
    bool *chosen = NULL;
    cpt_pair_options po;
    cpt_attribution_options ao;
    cpt_status status;
    CPT_TRY(cpt_study_embedding(s, &a, &n, &dim, e));
    CPT_TRY(cpt_study_counts(s, &counts, e));
    CPT_TRY(cpt_study_pair_options(s, &po, e));
    CPT_TRY(cpt_study_attribution_options(s, m, &ao, e));
    ao.n_bootstrap = ao.n_sign_flips = 0;
    CPT_TRY(cpt_activations_encode(d, a, n, &u, s->ctx, e));
    CPT_TRY(cpt_pairs_find(u, a, dim, &po, &all, s->ctx, e));
    CPT_TRY(bound_units(u, bounded, &chosen, e));
    CPT_TRY(cpt_pairs_select(all, chosen, bounded ? MOST_PROTOTYPES : 0, NULL, &pairs, e));
    CPT_TRY(cpt_attribute_all(m, d, counts, pairs, &ao, &out->owned, s->ctx, e));
    *out = (source){out->owned->mean, out->owned->n, 0, out->owned->n_genes, out->owned};
    out->n_units = d->n_concepts;
done:
    free(chosen);
    cpt_pairs_free(all);
    cpt_pairs_free(pairs);
    cpt_activations_free(u);
    return status;
}

/* Neurons or a random dictionary of the study's size and k. */
static cpt_status attribute_kind(cpt_study *s, const cpt_model *m, const char *kind,
                                 const cpt_dictionary *like, source *out, cpt_err *e)
{
    const float *a;
    int64_t n;
    int32_t dim;
    cpt_split split = {0};
    cpt_dictionary_options o;
    cpt_dictionary_report report = {0};
    cpt_dictionary *d = NULL;
    cpt_status status;
    CPT_TRY(cpt_study_embedding(s, &a, &n, &dim, e));
    CPT_TRY(cpt_split_make(a, n, dim, NULL, 0, s->ctx->seed, &split, e));
    cpt_dictionary_options_init(&o);
    o.kind = kind;
    if (strcmp(kind, "random") == 0) {
        o.n_concepts = like->n_concepts;
        o.k = like->max_active < dim ? like->max_active : dim;
    }
    cpt_context silent = *s->ctx;
    silent.log = NULL;
    CPT_TRY(cpt_dictionary_train(&o, a, dim, split.n_train, split.train, split.n_validation,
                                 split.validation, &d, &report, &silent, e));
    status = attribute_units(s, m, d, out, e);
done:
    cpt_split_free(&split);
    cpt_dictionary_report_free(&report);
    cpt_dictionary_free(d);
    return status;
}

/* ---- what is told ---- */

static json_t *histogram_json(const cpt_sizes *x)
{
    int64_t counts[N_BINS] = {0};
    json_t *list = json_array();
    const double low = log10(LOWEST), width = (log10(HIGHEST) - low) / N_BINS;
    for (int64_t i = 0; i < x->n; i++) {
        const double at = x->sorted[i] > 0 ? (log10(x->sorted[i]) - low) / width : -1;
        counts[at < 0 ? 0 : at >= N_BINS ? N_BINS - 1 : (int)at]++;
    }
    for (int b = 0; b < N_BINS; b++)
        json_array_append_new(list, json_integer((json_int_t)counts[b]));
    return list;
}

static json_t *sizes_json(const cpt_sizes *x, double cutoff)
{
    json_t *quantiles = json_object();
    for (int i = 0; i < N_QUANTILES; i++)
        json_object_set_new(quantiles, quantile_names[i],
                            cpt_json_number(cpt_sizes_quantile(x, quantile_at[i])));
    return json_pack("{s:i, s:I, s:o, s:o, s:o}", "n_units", x->n_units, "n_attributions",
                     (json_int_t)x->n, "abs_mean_attribution", quantiles, "share_below_cutoff",
                     cpt_json_number(cpt_sizes_share_below(x, cutoff)), "histogram",
                     histogram_json(x));
}

static cpt_status make_sizes(const source *x, int class, cpt_sizes *out, cpt_err *e)
{
    const int32_t least = class < 0 ? 1 : classes[class].least;
    const int32_t most = class < 0 ? INT32_MAX : classes[class].most;
    cpt_status status = cpt_sizes_make(x->mean, x->n, x->n_units, x->n_genes, least, most, out, e);
    int32_t n_units = 0; /* with pairs */
    for (int32_t u = 0; u < x->n_units; u++)
        for (int32_t g = 0; g < x->n_genes; g++)
            if (x->n[(int64_t)u * x->n_genes + g] > 0) {
                n_units++;
                break;
            }
    out->n_units = n_units;
    return status;
}

/* Both cut-offs, and what they leave. */
static cpt_status cutoffs_json(const source *concepts, const source *null, int class, json_t **out,
                               cpt_err *e)
{
    cpt_sizes real = {0}, chance = {0};
    cpt_status status;
    CPT_TRY(make_sizes(concepts, class, &real, e));
    CPT_TRY(make_sizes(null, class, &chance, e));
    const double by_gene = cpt_sizes_quantile(&chance, 1 - FALSE_RATE);
    const double by_call = cpt_cutoff_by_rate(&real, &chance, FALSE_RATE);
    *out = json_pack(
        "{s:o, s:o, s:o, s:o, s:I, s:I}", "by_gene", cpt_json_number(by_gene),
        "share_of_concepts_above_by_gene",
        cpt_json_number(isnan(by_gene) ? NAN : 1 - cpt_sizes_share_below(&real, by_gene)),
        "by_call", cpt_json_number(by_call), "share_of_concepts_above_by_call",
        cpt_json_number(isnan(by_call) ? NAN : 1 - cpt_sizes_share_below(&real, by_call)),
        "n_concept_attributions", (json_int_t)real.n, "n_null_attributions", (json_int_t)chance.n);
done:
    cpt_sizes_free(&real);
    cpt_sizes_free(&chance);
    return status;
}

/* By both nulls. Random directions compete with nobody; in a random dictionary, as in a trained
 * one, a unit can lose its place among the k largest, and its activation jumps to 0: one such pair
 * of n moves the mean by 1 / n. */
static cpt_status add_cutoffs(const source *concepts, const source *null, const char *name,
                              json_t *to, cpt_err *e)
{
    json_t *part, *by_pairs = json_object(), *whole = json_object();
    cpt_status status = cutoffs_json(concepts, null, -1, &part, e);
    if (status == CPT_OK) json_object_set_new(whole, "all", part);
    for (int k = 0; k < N_CLASSES && status == CPT_OK; k++) {
        status = cutoffs_json(concepts, null, k, &part, e);
        if (status == CPT_OK) json_object_set_new(by_pairs, classes[k].name, part);
    }
    json_object_set_new(whole, "by_pairs_in_which_the_gene_differs", by_pairs);
    json_object_set_new(to, name, whole);
    return status;
}

/* The five numbers of the stage attribution, as earlier versions wrote them. */
static void add_floor(const cpt_attribution *a, double cutoff, json_t *to)
{
    static const char *const floor_names[] = {"q50", "q90", "q95", "q99", "q99.9"};
    json_t *quantiles = json_object();
    for (int i = 0; i < 5; i++)
        json_object_set_new(quantiles, floor_names[i], cpt_json_number(a->noise_quantiles[i]));
    json_object_set_new(to, "n", json_integer(a->n_noise_directions));
    json_object_set_new(to, "abs_mean_attribution", quantiles);
    json_object_set_new(to, "cutoff", json_real(cutoff));
    json_object_set_new(to, "share_of_noise_below_cutoff", cpt_json_number(a->cutoff_percentile));
}

static cpt_status tell(const source sources[N_SOURCES], double cutoff, json_t *to, cpt_err *e)
{
    json_t *all = json_object();
    cpt_status status = CPT_OK;
    json_object_set_new(to, "sources", all);
    json_object_set_new(to, "histogram_bins",
                        json_pack("{s:f, s:f, s:i, s:s}", "low", LOWEST, "high", HIGHEST, "n",
                                  N_BINS, "scale", "log10"));
    for (int i = 0; i < N_SOURCES; i++) {
        cpt_sizes x;
        if (!sources[i].mean) continue;
        status = make_sizes(&sources[i], -1, &x, e);
        if (status == CPT_OK) json_object_set_new(all, source_names[i], sizes_json(&x, cutoff));
        cpt_sizes_free(&x);
        if (status) return status;
    }
    json_t *cutoffs = json_object();
    json_object_set_new(to, "cutoff_for_5_percent_false", cutoffs);
    for (int i = RANDOM_DICTIONARY; i <= RANDOM_DIRECTIONS && status == CPT_OK; i++)
        if (sources[i].mean)
            status = add_cutoffs(&sources[CONCEPTS], &sources[i], source_names[i], cutoffs, e);
    return status;
}

static cpt_status noise(cpt_study *s, json_t **out, cpt_err *e)
{
    const cpt_attribution *a;
    const double cutoff = cpt_options_number(s->options, "cutoff");
    cpt_model *m;
    cpt_dictionary *d;
    source sources[N_SOURCES] = {{0}};
    json_t *to = json_object();
    cpt_status status;
    CPT_TRY(cpt_study_attribution(s, &a, e));
    CPT_TRY(cpt_study_model(s, &m, e));
    CPT_TRY(cpt_study_dictionary(s, &d, e));
    if (!a) {
        status = cpt_fail(e, CPT_ERR_DATA, "a fixed embedding has no counterfactuals");
        goto done;
    }
    const bool bounded = m->ops->costly;
    const bool others = !bounded || cpt_evaluation_in_full(s);
    sources[CONCEPTS] = (source){a->mean, a->n, a->n_concepts, a->n_genes, NULL};
    sources[RANDOM_DIRECTIONS] =
        (source){a->noise_mean, a->noise_n, a->n_noise_directions, a->n_genes, NULL};
    if (others) {
        CPT_TRY(attribute_kind(s, m, "neurons", d, &sources[NEURONS], e));
        CPT_TRY(attribute_kind(s, m, "random", d, &sources[RANDOM_DICTIONARY], e));
    }
    add_floor(a, cutoff, to);
    CPT_TRY(tell(sources, cutoff, to, e));
    json_object_set_new(
        to, "effort",
        json_pack("{s:s, s:b, s:i, s:i}", "level", cpt_evaluation_in_full(s) ? "full" : "quick",
                  "neurons_and_random_dictionary", others, "most_units", bounded ? MOST_UNITS : 0,
                  "most_prototypes", bounded ? MOST_PROTOTYPES : 0));
    json_object_set_new(
        to, "rule",
        json_string(
            "|mean attribution| over the genes that differed in a pair; null: random directions "
            "through the same pipeline; by_gene: 95 % of the null lies below; by_call: smallest "
            "size at "
            "and above which the share of the null is at most 5 % of the share of the concepts"));
    *out = json_incref(to);
done:
    for (int i = 0; i < N_SOURCES; i++) cpt_attribution_free(sources[i].owned);
    json_decref(to);
    return status;
}

cpt_status cpt_stage_noise(cpt_study *s, cpt_err *e)
{
    return cpt_evaluation_part(s, "noise", noise, e);
}

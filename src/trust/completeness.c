#include "trust/completeness.h"
#include "base/memory.h"
#include "enrich/pooled.h"
#include "base/each.h"
#include "study/share.h"
#include "study/store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The experiment that the paper names as future work. All thinned annotations are tested in one run
 * of GSEA per ranking (pooled.c), so that it costs little more than the stage enrichment itself. A
 * term that falls below the smallest size with the annotations that are left is not tested there,
 * and so not found: that is part of what incompleteness does. p by simple permutations, also when
 * the study asks for multilevel. */

enum {
    N_LEVELS = 4,
    N_DRAWS = 10,
    N_THINNED = N_LEVELS * N_DRAWS,
    N_VARIANTS = N_THINNED + 2,
    PATH_LIMIT = 4096
};
static const double shares[N_LEVELS] = {0.2, 0.4, 0.6, 0.8};
static const char *const level_names[N_LEVELS + 1] = {"20", "40", "60", "80", "without_iea"};
static const double ALPHA = 0.05;

/* Variant 0 is the whole, 1 + level * N_DRAWS + draw the thinned ones, then the one without IEA. */
static int first_variant(int level)
{
    return 1 + level * N_DRAWS;
}
static int n_draws(int level)
{
    return level < N_LEVELS ? N_DRAWS : 1;
}

typedef struct experiment {
    const cpt_concept_rankings *rankings;
    cpt_pool pool;
    cpt_gsea_engine *engine;
    cpt_agreement *agreements; /* [concept][ranking][variant] */
    uint8_t *tested;           /* [concept][ranking] */
} experiment;

static cpt_agreement *agreement(const experiment *x, int32_t concept, int ranking, int variant)
{
    return &x->agreements[((int64_t) concept * CPT_N_RANKINGS + ranking) * N_VARIANTS + variant];
}

/* ---- the variants ---- */

static cpt_status without_iea(const cpt_study *s, const cpt_families *f, cpt_annotation **out,
                              cpt_err *e)
{
    const cpt_universe *universe = &s->universe;
    const char *excluded = cpt_options_text(s->options, "exclude-evidence");
    char gaf[PATH_LIMIT], codes[512];
    snprintf(gaf, sizeof gaf, "%s", cpt_options_text(s->options, "annotation"));
    cpt_status status = gaf[0] ? CPT_OK : cpt_share_path("goa_human.gaf.gz", gaf, sizeof gaf, e);
    if (status) return status;
    snprintf(codes, sizeof codes, "%s%sIEA", excluded, *excluded ? "," : "");
    cpt_annotation_options o = {codes};
    return cpt_annotation_open(gaf, f->go, &universe->symbols, &o, out, e);
}

static cpt_status make_variant(const cpt_study *s, const cpt_families *f, int aspect, int v,
                               cpt_genesets **out, cpt_err *e)
{
    cpt_annotation *a = NULL;
    uint64_t draw = (uint64_t)((v - 1) % N_DRAWS) + 1;
    cpt_status status = v <= N_THINNED
                            ? cpt_annotation_thin(f->go, f->annotation, shares[(v - 1) / N_DRAWS],
                                                  s->ctx->seed + (draw << 32), &a, e)
                            : without_iea(s, f, &a, e);
    if (status == CPT_OK)
        status = cpt_genesets_from_go(f->go, a, (cpt_go_aspect)aspect,
                                      (int32_t)cpt_options_integer(s->options, "min-size"),
                                      (int32_t)cpt_options_integer(s->options, "max-size"), out, e);
    cpt_annotation_free(a);
    return status;
}

static cpt_status make_pool(const cpt_study *s, const cpt_families *f, int32_t family,
                            experiment *x, json_t *sizes, cpt_err *e)
{
    cpt_genesets *made[N_VARIANTS] = {NULL};
    const cpt_genesets *variants[N_VARIANTS] = {f->sets[family]};
    cpt_status status = CPT_OK;
    for (int v = 1; v < N_VARIANTS; v++) {
        CPT_TRY(cpt_check_stop(s->ctx, e));
        CPT_TRY(make_variant(s, f, f->aspect[family], v, &made[v], e));
        variants[v] = made[v];
        cpt_progress(s->ctx, "thinned annotations", v, N_VARIANTS - 1, NULL);
    }
    json_object_set_new(sizes, "all", json_integer(variants[0]->n_sets));
    for (int l = 0; l <= N_LEVELS; l++) {
        double n = 0;
        for (int d = 0; d < n_draws(l); d++) n += variants[first_variant(l) + d]->n_sets;
        json_object_set_new(sizes, level_names[l], cpt_json_number(n / n_draws(l)));
    }
    CPT_TRY(cpt_pool_make(N_VARIANTS, variants, &x->pool, e));
done:
    for (int v = 1; v < N_VARIANTS; v++) cpt_genesets_free(made[v]);
    return status;
}

/* ---- the runs ---- */

static cpt_status run_concept(void *data, int32_t concept, cpt_err *e)
{
    experiment *x = data;
    double *statistic;
    cpt_gsea *result = NULL;
    cpt_status status = cpt_alloc(&statistic, (size_t)x->rankings->n_genes, sizeof *statistic, e);
    for (int r = 0; r < CPT_N_RANKINGS && status == CPT_OK; r++) {
        if (!cpt_concept_statistic(x->rankings, concept, r, statistic)) continue;
        CPT_TRY(cpt_gsea_engine_run(x->engine, statistic, &result, e));
        CPT_TRY(cpt_pool_correct(&x->pool, result->rows, e));
        for (int v = 1; v < N_VARIANTS; v++)
            CPT_TRY(cpt_pool_agreement(&x->pool, result->rows, v, ALPHA,
                                       agreement(x, concept, r, v), e));
        x->tested[concept * CPT_N_RANKINGS + r] = 1;
        cpt_gsea_free(result);
        result = NULL;
    }
done:
    cpt_gsea_free(result);
    free(statistic);
    return status;
}

static cpt_status open_experiment(const cpt_study *s, experiment *x, cpt_err *e)
{
    size_t n = (size_t)x->rankings->n_concepts * CPT_N_RANKINGS;
    cpt_gsea_options o;
    cpt_gsea_options_init(&o);
    o.weight = cpt_options_number(s->options, "weight");
    o.n_permutations = (int32_t)cpt_options_integer(s->options, "permutations");
    o.multilevel = false;
    o.seed = s->ctx->seed;
    cpt_status status;
    CPT_TRY(cpt_alloc(&x->agreements, n * N_VARIANTS, sizeof *x->agreements, e));
    CPT_TRY(cpt_alloc(&x->tested, n, 1, e));
    x->engine = cpt_gsea_engine_new(x->pool.sets, &o, e);
    if (!x->engine) status = e ? e->code : CPT_ERR_MEMORY;
done:
    return status;
}

static void close_experiment(experiment *x)
{
    cpt_gsea_engine_free(x->engine);
    cpt_pool_free(&x->pool);
    free(x->agreements);
    free(x->tested);
}

/* ---- what is told ---- */

enum { RECALL, JACCARD, SPEARMAN, N_MEASURES };
static const char *const measure_names[N_MEASURES] = {"recall", "jaccard", "spearman"};

static double measure(const cpt_agreement *a, int which)
{
    return which == RECALL ? a->recall : which == JACCARD ? a->jaccard : a->spearman;
}

/* Mean over the draws of one concept; NaN when undefined in all. */
static double mean_of_draws(const experiment *x, int32_t concept, int ranking, int level, int which)
{
    double sum = 0;
    int n = 0;
    for (int d = 0; d < n_draws(level); d++) {
        double value = measure(agreement(x, concept, ranking, first_variant(level) + d), which);
        if (isnan(value)) continue;
        sum += value;
        n++;
    }
    return n ? sum / n : NAN;
}

/* Share of the draws in which the concept's best term was found again; NaN when it has none. */
static double survival(const experiment *x, int32_t concept, int ranking, int level)
{
    int n = 0;
    if (!x->tested[concept * CPT_N_RANKINGS + ranking] ||
        agreement(x, concept, ranking, first_variant(level))->n_significant == 0)
        return NAN;
    for (int d = 0; d < n_draws(level); d++)
        n += agreement(x, concept, ranking, first_variant(level) + d)->best_significant;
    return (double)n / n_draws(level);
}

/* Mean over concepts, its n, and the values by concept. */
static void add_measure(json_t *to, const char *name, int32_t n_concepts, const double *values)
{
    json_t *list = json_array();
    double sum = 0;
    int64_t n = 0;
    for (int32_t c = 0; c < n_concepts; c++) {
        json_array_append_new(list, cpt_json_number(values[c]));
        if (isnan(values[c])) continue;
        sum += values[c];
        n++;
    }
    json_object_set_new(to, name,
                        json_pack("{s:o, s:I, s:o}", "mean",
                                  cpt_json_number(n ? sum / (double)n : NAN), "n_concepts",
                                  (json_int_t)n, "by_concept", list));
}

static json_t *level_json(const experiment *x, int ranking, int level, double *values)
{
    int32_t n = x->rankings->n_concepts;
    json_t *o = json_object();
    for (int m = 0; m < N_MEASURES; m++) {
        for (int32_t c = 0; c < n; c++)
            values[c] = x->tested[c * CPT_N_RANKINGS + ranking]
                            ? mean_of_draws(x, c, ranking, level, m)
                            : NAN;
        add_measure(o, measure_names[m], n, values);
    }
    for (int32_t c = 0; c < n; c++) values[c] = survival(x, c, ranking, level);
    add_measure(o, "best_term_survival", n, values);
    return o;
}

static json_t *fragile_json(const experiment *x, int ranking)
{
    json_t *list = json_array();
    for (int32_t c = 0; c < x->rankings->n_concepts; c++) {
        double share = survival(x, c, ranking, N_LEVELS - 1);
        json_array_append_new(list, isnan(share) ? json_null() : json_boolean(share < 0.5));
    }
    return list;
}

static cpt_status report(const experiment *x, json_t *to, cpt_err *e)
{
    double *values;
    cpt_status status = cpt_alloc(&values, (size_t)x->rankings->n_concepts, sizeof *values, e);
    if (status) return status;
    for (int r = x->rankings->attribution ? 0 : 1; r < CPT_N_RANKINGS; r++) {
        json_t *levels = json_object();
        for (int l = 0; l <= N_LEVELS; l++)
            json_object_set_new(levels, level_names[l], level_json(x, r, l, values));
        json_object_set_new(levels, "fragile", fragile_json(x, r));
        json_object_set_new(to, cpt_ranking_names[r], levels);
    }
    free(values);
    return CPT_OK;
}

static cpt_status run_family(const cpt_study *s, const cpt_families *f, int32_t family,
                             const cpt_concept_rankings *r, json_t *to, cpt_err *e)
{
    experiment x = {.rankings = r};
    json_t *sizes = json_object();
    cpt_status status;
    json_object_set_new(to, "mean_sets_tested", sizes);
    CPT_TRY(make_pool(s, f, family, &x, sizes, e));
    CPT_TRY(open_experiment(s, &x, e));
    CPT_TRY(cpt_each(r->n_concepts, "annotation completeness", run_concept, &x, cpt_threads(s->ctx), s->ctx, e));
    CPT_TRY(report(&x, to, e));
done:
    close_experiment(&x);
    return status;
}

cpt_status cpt_completeness_json(const cpt_study *s, const cpt_families *f,
                                 const cpt_concept_rankings *r, json_t **out, cpt_err *e)
{
    json_t *root = json_object();
    cpt_status status = CPT_OK;
    for (int32_t i = 0; i < f->n && status == CPT_OK; i++) {
        json_t *o = json_object();
        if (f->aspect[i] >= 0) status = run_family(s, f, i, r, o, e);
        if (f->aspect[i] >= 0) json_object_set(root, f->sets[i]->collection, o);
        json_decref(o);
    }
    json_object_set_new(
        root, "rule",
        json_string("GSEA with a random part of the direct annotations (percent; 10 draws, means "
                    "over draws, then concepts) or without IEA, against all of them; q < "
                    "0.05 within concept; spearman: of NES over the terms tested in both; "
                    "fragile: the best term is found in less than half of the draws at 80"));
    *out = root;
    if (status) {
        json_decref(root);
        *out = NULL;
    }
    return status;
}

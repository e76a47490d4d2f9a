#include "trust/controls.h"
#include "base/memory.h"
#include "enrich/pooled.h"
#include "math/statistics.h"
#include "base/each.h"
#include "study/store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Two honest questions about every concept (enrichment.md C.4):
 *
 * Shuffled genes. The same ranking with its genes permuted within the universe, N_COPIES times (the
 * sets are permuted, which is the same and shares the null: pooled.c). The percentile of the
 * concept's best |NES| among theirs says whether its best term stands out of what the number of
 * sets gives by itself. It breaks the correlation between genes as well, so it is a lower hurdle
 * than a random dictionary.
 *
 * Bias. Spearman's correlation of |statistic| with the number of direct annotations of a gene and
 * with the share of cells that express it: well-known and highly expressed genes are in many terms
 * (Gillis and Pavlidis 2011). */

enum { N_COPIES = 100, N_PERMUTATIONS = 1000 }; /* the latter only for the means behind NES */

typedef struct controls {
    const cpt_concept_rankings *rankings;
    cpt_pool pool;
    cpt_gsea_engine *engine;
    const double *n_annotations, *detection; /* [n_genes]; n_annotations NULL without GO */
    double *best, *percentile, *p;           /* [concept][ranking]; NaN = no such ranking */
    double *with_annotations, *with_detection;
    double *n_correlated;
} controls;

static void correlate(controls *x, int64_t at, int32_t n, const double *strength,
                      const double *known, const double *detected)
{
    cpt_err ignored; /* out of memory leaves NaN: a missing number, not a wrong one */
    x->n_correlated[at] = n;
    if (n < 3) return;
    if (x->n_annotations) x->with_annotations[at] = cpt_spearman(n, strength, known, &ignored);
    x->with_detection[at] = cpt_spearman(n, strength, detected, &ignored);
}

static cpt_status run_ranking(controls *x, int64_t at, const double *statistic, double *scratch,
                              cpt_err *e)
{
    int32_t g = x->rankings->n_genes, n = 0, n_above = 0;
    double *strength = scratch, *known = scratch + g, *detected = scratch + 2 * (int64_t)g;
    for (int32_t i = 0; i < g; i++) {
        if (!isfinite(statistic[i])) continue;
        strength[n] = fabs(statistic[i]);
        known[n] = x->n_annotations ? x->n_annotations[i] : 0;
        detected[n++] = x->detection[i];
    }
    correlate(x, at, n, strength, known, detected);
    double *nes;
    cpt_status status = cpt_alloc(&nes, (size_t)x->pool.sets->n_sets, sizeof *nes, e);
    if (status == CPT_OK) status = cpt_gsea_engine_nes(x->engine, statistic, nes, e);
    if (status) {
        free(nes);
        return status;
    }
    x->best[at] = cpt_pool_best_nes(&x->pool, nes, 0);
    for (int v = 1; v <= N_COPIES; v++)
        n_above += cpt_pool_best_nes(&x->pool, nes, v) >= x->best[at];
    x->percentile[at] = 100.0 * (N_COPIES - n_above) / N_COPIES;
    x->p[at] = (n_above + 1.0) / (N_COPIES + 1.0);
    free(nes);
    return CPT_OK;
}

static cpt_status run_concept(void *data, int32_t concept, cpt_err *e)
{
    controls *x = data;
    double *statistic = NULL, *scratch = NULL;
    size_t g = (size_t)x->rankings->n_genes;
    cpt_status status;
    CPT_TRY(cpt_alloc(&statistic, g, sizeof *statistic, e));
    CPT_TRY(cpt_alloc(&scratch, 3 * g, sizeof *scratch, e));
    for (int r = 0; r < CPT_N_RANKINGS; r++)
        if (cpt_concept_statistic(x->rankings, concept, r, statistic))
            CPT_TRY(run_ranking(x, (int64_t) concept * CPT_N_RANKINGS + r, statistic, scratch, e));
done:
    free(statistic);
    free(scratch);
    return status;
}

/* ---- what is told ---- */

static json_t *by_concept(const controls *x, int ranking, const double *values)
{
    json_t *list = json_array();
    for (int32_t c = 0; c < x->rankings->n_concepts; c++)
        json_array_append_new(list, cpt_json_number(values[(int64_t)c * CPT_N_RANKINGS + ranking]));
    return list;
}

static json_t *shuffled_json(const controls *x, int ranking)
{
    int64_t n = 0, n_beyond = 0;
    for (int32_t c = 0; c < x->rankings->n_concepts; c++) {
        double p = x->p[(int64_t)c * CPT_N_RANKINGS + ranking];
        n += !isnan(p);
        n_beyond += p < 0.05;
    }
    return json_pack("{s:i, s:I, s:I, s:o, s:o, s:o, s:o}", "n_shuffles", N_COPIES, "n_concepts",
                     (json_int_t)n, "n_below_0.05", (json_int_t)n_beyond, "share",
                     cpt_json_number((double)n_beyond / (double)n), "best_abs_nes",
                     by_concept(x, ranking, x->best), "percentile",
                     by_concept(x, ranking, x->percentile), "p", by_concept(x, ranking, x->p));
}

static cpt_status bias_json(const controls *x, int ranking, const double *values, json_t **out,
                            cpt_err *e)
{
    double *sorted;
    int64_t n = 0;
    cpt_status status = cpt_alloc(&sorted, (size_t)x->rankings->n_concepts, sizeof *sorted, e);
    if (status) return status;
    for (int32_t c = 0; c < x->rankings->n_concepts; c++) {
        double v = values[(int64_t)c * CPT_N_RANKINGS + ranking];
        if (!isnan(v)) sorted[n++] = v;
    }
    *out = json_pack("{s:o, s:I, s:o}", "median", cpt_json_number(cpt_median(n, sorted)),
                     "n_concepts", (json_int_t)n, "by_concept", by_concept(x, ranking, values));
    free(sorted);
    return CPT_OK;
}

static cpt_status family_json(const controls *x, bool with_bias, json_t *bias, json_t *shuffled,
                              cpt_err *e)
{
    cpt_status status = CPT_OK;
    for (int r = x->rankings->attribution ? 0 : 1; r < CPT_N_RANKINGS; r++) {
        json_t *a, *d;
        json_object_set_new(shuffled, cpt_ranking_names[r], shuffled_json(x, r));
        if (!with_bias) continue;
        CPT_TRY(bias_json(x, r, x->with_annotations, &a, e));
        CPT_TRY(bias_json(x, r, x->with_detection, &d, e));
        json_object_set_new(bias, cpt_ranking_names[r],
                            json_pack("{s:o, s:o, s:o}", "spearman_with_annotation_count", a,
                                      "spearman_with_detection_frequency", d, "n_genes",
                                      by_concept(x, r, x->n_correlated)));
    }
done:
    return status;
}

/* ---- the experiment ---- */

static cpt_status open_controls(const cpt_study *s, const cpt_genesets *sets, controls *x,
                                cpt_err *e)
{
    size_t n = (size_t)x->rankings->n_concepts * CPT_N_RANKINGS;
    double **arrays[] = {&x->best,           &x->percentile,  &x->p, &x->with_annotations,
                         &x->with_detection, &x->n_correlated};
    cpt_gsea_options o;
    cpt_status status;
    cpt_gsea_options_init(&o);
    o.weight = cpt_options_number(s->options, "weight");
    o.n_permutations = N_PERMUTATIONS;
    o.multilevel = false;
    o.seed = s->ctx->seed;
    for (size_t k = 0; k < sizeof arrays / sizeof *arrays; k++) {
        CPT_TRY(cpt_alloc(arrays[k], n, sizeof **arrays[k], e));
        for (size_t i = 0; i < n; i++) (*arrays[k])[i] = NAN;
    }
    CPT_TRY(cpt_pool_relabelled(sets, N_COPIES, s->ctx->seed, &x->pool, e));
    x->engine = cpt_gsea_engine_new(x->pool.sets, &o, e);
    if (!x->engine) status = e ? e->code : CPT_ERR_MEMORY;
done:
    return status;
}

static void close_controls(controls *x)
{
    cpt_gsea_engine_free(x->engine);
    cpt_pool_free(&x->pool);
    free(x->best);
    free(x->percentile);
    free(x->p);
    free(x->with_annotations);
    free(x->with_detection);
    free(x->n_correlated);
}

/* Per gene of the universe: direct annotations (NULL without GO), and the share of cells that
 * express it. */
static cpt_status describe_genes(cpt_study *s, const cpt_families *f, double **n_annotations,
                                 double **detection, cpt_err *e)
{
    const cpt_universe *u;
    const cpt_cells *cells;
    cpt_status status;
    CPT_TRY(cpt_study_universe(s, &u, e));
    CPT_TRY(cpt_study_cells(s, &cells, e));
    CPT_TRY(cpt_alloc(detection, (size_t)u->n, sizeof **detection, e));
    for (int32_t i = 0; i < u->n; i++) {
        int64_t begin = cells->by_gene.indptr[u->columns[i]],
                end = cells->by_gene.indptr[u->columns[i] + 1];
        (*detection)[i] = (double)(end - begin) / (double)cells->n_cells;
    }
    if (!f->annotation) goto done;
    CPT_TRY(cpt_alloc(n_annotations, (size_t)u->n, sizeof **n_annotations, e));
    for (int32_t i = 0; i < u->n; i++)
        (*n_annotations)[i] =
            (double)(f->annotation->direct_first[i + 1] - f->annotation->direct_first[i]);
done:
    return status;
}

cpt_status cpt_controls_json(cpt_study *s, const cpt_families *f, const cpt_concept_rankings *r,
                             json_t **out, cpt_err *e)
{
    double *n_annotations = NULL, *detection = NULL;
    json_t *root = json_object(), *bias = json_object(), *all = json_object();
    cpt_status status;
    json_object_set_new(root, "bias", bias);
    json_object_set_new(root, "shuffled_genes", all);
    CPT_TRY(describe_genes(s, f, &n_annotations, &detection, e));
    for (int32_t i = 0; i < f->n; i++) {
        controls x = {.rankings = r, .n_annotations = n_annotations, .detection = detection};
        json_t *shuffled = json_object();
        json_object_set_new(all, f->sets[i]->collection, shuffled);
        status = open_controls(s, f->sets[i], &x, e);
        if (status == CPT_OK)
            status = cpt_each(r->n_concepts, "controls", run_concept, &x, cpt_threads(s->ctx), s->ctx, e);
        if (status == CPT_OK) status = family_json(&x, i == 0, bias, shuffled, e);
        close_controls(&x);
        if (status) goto done;
    }
    json_object_set_new(
        root, "rule",
        json_string("shuffled_genes: GSEA of the same ranking with genes permuted within the "
                    "universe; p = (1 + shuffles with a best |NES| at least as large) / (1 + "
                    "shuffles); bias: Spearman over the ranked genes"));
    *out = root;
    root = NULL;
done:
    json_decref(root);
    free(n_annotations);
    free(detection);
    return status;
}

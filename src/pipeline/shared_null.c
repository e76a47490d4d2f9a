#include "pipeline/shared_null.h"
#include "pipeline/rank_null_cache.h"
#include "base/memory.h"
#include "base/each.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { REASON = 96 };
static const double EPS = 1e-50;

typedef struct survey {
    const cpt_families *families;
    cpt_gsea_engine *const *engines;
    const cpt_concept_rankings *rankings;
    cpt_rank_null *null;
    char (*reason)[REASON]; /* [concept][ranking]; "" = suits, "-" = there is no such ranking */
} survey;

static cpt_status ask_concept(void *data, int32_t concept, cpt_err *e)
{
    const survey *v = data;
    double *statistic;
    cpt_status status = cpt_alloc(&statistic, (size_t)v->rankings->n_genes, sizeof *statistic, e);
    for (int r = 0; r < CPT_N_RANKINGS && status == CPT_OK; r++) {
        char *reason = v->reason[concept * CPT_N_RANKINGS + r];
        strcpy(reason, "-");
        if (!cpt_concept_statistic(v->rankings, concept, r, statistic)) continue;
        for (int32_t f = 0; f < v->families->n && status == CPT_OK; f++)
            status = cpt_gsea_engine_ask(v->engines[f], statistic, v->null, reason, REASON, e);
    }
    free(statistic);
    return status;
}

static json_t *summarise(const cpt_study *s, const survey *v)
{
    json_t *root = json_object();
    for (int r = 0; r < CPT_N_RANKINGS; r++) {
        json_t *refused = json_object();
        const char *first = NULL;
        int n = 0;
        for (int32_t c = 0; c < v->rankings->n_concepts; c++) {
            const char *reason = v->reason[c * CPT_N_RANKINGS + r];
            char name[32];
            if (strcmp(reason, "-") == 0) continue;
            n++;
            if (!*reason) continue;
            if (!first) first = reason;
            snprintf(name, sizeof name, "c%d", c);
            json_object_set_new(refused, name, json_string(reason));
        }
        size_t n_refused = json_object_size(refused);
        if (n)
            cpt_info(s->ctx, "weights by rank: %d of %d rankings by %s share one null%s%s%s",
                     n - (int)n_refused, n, cpt_ranking_names[r],
                     first ? "; the others keep the statistic as weight (such as: " : "",
                     first ? first : "", first ? ")" : "");
        json_object_set_new(root, cpt_ranking_names[r],
                            json_pack("{s:i, s:i, s:o}", "n_rankings", n, "n_shared",
                                      n - (int)n_refused, "refused", refused));
    }
    return root;
}

static int32_t largest_set(const cpt_families *f)
{
    int64_t largest = 0;
    for (int32_t i = 0; i < f->n; i++)
        for (int32_t s = 0; s < f->sets[i]->n_sets; s++) {
            int64_t size = f->sets[i]->first[s + 1] - f->sets[i]->first[s];
            if (size > largest) largest = size;
        }
    return (int32_t)largest;
}

cpt_status cpt_shared_null_open(cpt_study *s, const cpt_families *families,
                                cpt_gsea_engine *const *engines,
                                const cpt_concept_rankings *rankings, const cpt_gsea_options *o,
                                cpt_rank_null **out, json_t **summary, cpt_err *e)
{
    cpt_gsea_options own = *o;
    survey v = {.families = families, .engines = engines, .rankings = rankings};
    bool changed;
    cpt_status status = CPT_OK;
    *out = NULL;
    *summary = NULL;
    if (strcmp(cpt_options_text(s->options, "weights"), "rank") != 0) return CPT_OK;
    own.eps = EPS;
    CPT_TRY(cpt_alloc(&v.reason, (size_t)rankings->n_concepts * CPT_N_RANKINGS, sizeof *v.reason, e));
    CPT_TRY(cpt_rank_null_make(rankings->n_genes, largest_set(families), &own, &v.null, e));
    cpt_rank_null_load(s, v.null);
    CPT_TRY(cpt_each(rankings->n_concepts, "scores by rank", ask_concept, &v, cpt_threads(s->ctx), s->ctx, e));
    CPT_TRY(cpt_rank_null_grow(v.null, &changed, s->ctx, e));
    if (changed) cpt_rank_null_save(s, v.null);
    for (int32_t f = 0; f < families->n; f++) cpt_gsea_engine_use(engines[f], v.null);
    *summary = summarise(s, &v);
    *out = v.null;
    v.null = NULL;
done:
    free(v.reason);
    cpt_rank_null_free(v.null);
    return status;
}

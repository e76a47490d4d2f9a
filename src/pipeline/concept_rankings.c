#include "pipeline/concept_rankings.h"
#include "base/memory.h"

#include <math.h>
#include <stdlib.h>

/* Rankings and short lists of concepts. A short list is cut to its strongest genes first and
 * brought to ascending order afterwards; equal strength goes by gene number, so the cut does not
 * depend on the sort. */

const char *const cpt_ranking_names[CPT_N_RANKINGS] = {"attribution", "expression"};

cpt_status cpt_concept_rankings_open(cpt_study *s, cpt_concept_rankings *out, cpt_err *e)
{
    const cpt_universe *universe;
    const cpt_activations *u;
    cpt_status status;
    *out = (cpt_concept_rankings){0};
    CPT_TRY(cpt_study_activations(s, &u, e));
    CPT_TRY(cpt_study_universe(s, &universe, e));
    CPT_TRY(cpt_study_attribution(s, &out->attribution, e));
    CPT_TRY(cpt_study_expression(s, &out->expression, e));
    out->n_concepts = u->n_concepts;
    out->n_genes = universe->n;
    out->cutoff = cpt_options_number(s->options, "cutoff");
    out->study_genes = (int32_t)cpt_options_integer(s->options, "study-genes");
done:
    return status;
}

bool cpt_concept_statistic(const cpt_concept_rankings *r, int32_t concept, int ranking,
                           double *statistic)
{
    bool attribution = ranking == CPT_BY_ATTRIBUTION;
    if (attribution && (!r->attribution || r->attribution->n_pairs[concept] == 0)) return false;
    const float *values = (attribution ? r->attribution->mean : r->expression->score) +
                          (int64_t) concept * r->n_genes;
    int32_t n = 0;
    for (int32_t i = 0; i < r->n_genes; i++) {
        statistic[i] = values[i];
        n += isfinite(statistic[i]);
    }
    return n >= 2;
}

typedef struct ranked {
    double strength;
    int32_t gene;
} ranked;

static int by_strength(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->strength != y->strength) return x->strength > y->strength ? -1 : 1;
    return (x->gene > y->gene) - (x->gene < y->gene);
}

static int ascending(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

cpt_status cpt_concept_study_list(const cpt_concept_rankings *r, int32_t concept, int ranking,
                                  int32_t *study, int32_t *n_study, cpt_err *e)
{
    ranked *all;
    int32_t n = 0;
    cpt_status status = cpt_alloc(&all, (size_t)r->n_genes, sizeof *all, e);
    *n_study = 0;
    if (status) return status;
    for (int32_t i = 0; i < r->n_genes; i++) {
        int64_t at = (int64_t) concept * r->n_genes + i;
        if (ranking == CPT_BY_ATTRIBUTION) {
            double m = r->attribution ? fabs((double)r->attribution->mean[at]) : NAN;
            if (m >= r->cutoff && r->attribution->q[at] < 0.05) all[n++] = (ranked){m, i};
        } else if (r->expression->q[at] < 0.05 && r->expression->logfc[at] > 0) {
            all[n++] = (ranked){r->expression->score[at], i};
        }
    }
    qsort(all, (size_t)n, sizeof *all, by_strength);
    if (n > r->study_genes) n = r->study_genes;
    for (int32_t i = 0; i < n; i++) study[i] = all[i].gene;
    qsort(study, (size_t)n, sizeof *study, ascending);
    *n_study = n;
    free(all);
    return CPT_OK;
}

#include "base/memory.h"
#include "study/naming.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One-line findings per concept: its top genes, its top term, the label it fits.
 *
 * Top genes: those with q < 0.05 by |mean attribution|, then the others by |mean attribution|: a
 * gene that moved the concept in every pair says more than one that moved it once and far. The
 * paper's cut-off of 0.05 plays no part: in a model of 4,000 genes a single one rarely moves an
 * activation by 5 %, and the reader wants to see the strongest all the same. Which of them pass
 * cut-off and q is said where they are listed one by one. */

/* Larger comes first; 0 or NaN never. */
static double gene_strength(const cpt_attribution *a, const cpt_expression *x, int32_t n_genes,
                            int32_t concept, int32_t gene)
{
    static const double SIGNIFICANT_FIRST =
        1e6; /* far above any |mean attribution| that is sorted by */
    size_t at = (size_t) concept * (size_t)n_genes + (size_t)gene;
    if (a) return fabs((double)a->mean[at]) + (a->q[at] < 0.05 ? SIGNIFICANT_FIRST : 0);
    return x && x->q[at] < 0.05 && x->logfc[at] > 0 ? x->score[at] : 0;
}

int32_t cpt_study_top_genes(cpt_study *s, int32_t concept, int32_t capacity, int32_t *genes)
{
    const cpt_attribution *a = NULL;
    const cpt_expression *x = NULL;
    const cpt_universe *u;
    if (cpt_study_universe(s, &u, NULL) || cpt_study_attribution(s, &a, NULL) ||
        cpt_study_expression(s, &x, NULL))
        return 0;
    int32_t n = 0;
    double best[64];
    if (capacity > 64) capacity = 64;
    for (int32_t g = 0; g < u->n; g++) { /* insertion into a short sorted list */
        double v = gene_strength(a, x, u->n, concept, g);
        if (!(v > 0) || (n == capacity && v <= best[n - 1])) continue;
        int32_t at = n < capacity ? n++ : n - 1;
        for (; at > 0 && best[at - 1] < v; at--) best[at] = best[at - 1], genes[at] = genes[at - 1];
        best[at] = v;
        genes[at] = g;
    }
    return n;
}

const cpt_enrichment_row *cpt_study_top_term(cpt_study *s, int32_t concept)
{
    const cpt_enrichment *r;
    const cpt_enrichment_row *best = NULL;
    cpt_naming most = {0}, here;
    if (cpt_study_enrichment(s, &r, NULL) || concept >= r->n_concepts) return NULL;
    for (int64_t k = r->first[concept]; k < r->first[concept + 1]; k++) {
        const cpt_enrichment_row *row = &r->rows[k];
        if (!cpt_naming_of(row->ranking, row->method, row->marker, row->q, row->log10p, row->nes,
                           row->log2err, &here) ||
            (best && !cpt_naming_beats(&here, &most)))
            continue;
        best = row;
        most = here;
    }
    return best;
}

cpt_status cpt_study_concept_label(cpt_study *s, int32_t concept, cpt_text *out, cpt_err *e)
{
    const cpt_activations *u;
    const cpt_column *label;
    int64_t *inside = NULL, *total = NULL;
    cpt_status status;
    CPT_TRY(cpt_study_column(s, "label", &label, e));
    CPT_TRY(cpt_study_activations(s, &u, e));
    if (!label) goto done;
    size_t m = (size_t)label->categories.n;
    CPT_TRY(cpt_alloc(&inside, m, sizeof *inside, e));
    CPT_TRY(cpt_alloc(&total, m, sizeof *total, e));
    for (int64_t i = 0; i < u->n_cells; i++)
        if (label->codes[i] >= 0) total[label->codes[i]]++;
    int64_t first = u->by_concept.indptr[concept], last = u->by_concept.indptr[concept + 1];
    for (int64_t k = first; k < last; k++) {
        int32_t code = label->codes[u->by_concept.indices[k]];
        if (code >= 0) inside[code]++;
    }
    size_t best = 0;
    double best_f1 = 0;
    for (size_t c = 0; c < m && last > first; c++) {
        double f1 = 2.0 * (double)inside[c] / (double)(total[c] + (last - first));
        if (f1 > best_f1) best_f1 = f1, best = c;
    }
    if (best_f1 > 0)
        cpt_text_addf(out, "%s (%.0f %% of active cells)",
                      cpt_strings_get(&label->categories, (int64_t)best),
                      100.0 * (double)inside[best] / (double)(last - first));
    status = cpt_text_status(out, e);
done:
    free(inside);
    free(total);
    return status;
}

/* purity.h - how well single units (concepts, neurons) tell labels apart, and whether better than
 * by chance (method.md 8, "monosemanticity"). */
#ifndef CPT_EVALUATE_PURITY_H
#define CPT_EVALUATE_PURITY_H

#include "base/log.h"

typedef struct cpt_purity_options {
    int32_t n_permutations; /* of the labels over the cells, 1000 */
    int32_t least_cells;    /* a label with fewer cells is left out, 10 */
} cpt_purity_options;

/* Values of one unit in all cells into out [n]; called by several threads at once. */
typedef void cpt_unit_values(const void *data, int32_t unit, float *out);

/* A unit against every label. AUROC: a cell with the label has the higher value, ties one half. F1:
 * of "value at or above t" against the label, at the t that suits it best. */
typedef struct cpt_purity {
    int32_t n_units, n_labels;
    int64_t n_cells; /* with a label that counts */
    int32_t n_labels_used, n_permutations;
    float *auroc, *f1;               /* [n_units][n_labels]; NaN for labels left out */
    double *best_auroc, *best_f1;    /* [n_units] over labels */
    int32_t *auroc_label, *f1_label; /* [n_units] where; -1 = nowhere */
    /* [n_units] (1 + permutations whose best over labels is at least as good) / (1 + n): so the
     * choice among labels is paid for */
    double *auroc_p, *f1_p;
    double *auroc_null,
        *f1_null; /* [n_units] mean of that best over the permutations; NaN without */
} cpt_purity;

/* codes [n] 0 .. n_labels - 1, or -1 = left out. Fewer than two labels that count is CPT_ERR_DATA.
 * Same bytes for any number of threads. Time n_units * (n log n + n_permutations * cells that
 * differ from the unit's lowest value): cheap for sparse units. */
cpt_status cpt_purity_find(const cpt_purity_options *o, int32_t n_units, cpt_unit_values *values,
                           const void *data, int64_t n, const int32_t *codes, int32_t n_labels,
                           cpt_purity **out, const cpt_context *ctx, cpt_err *e);
void cpt_purity_free(cpt_purity *p);

/* Whether two kinds of units differ in the mean of a score: kinds permuted over units. p two-sided,
 * never 0; NaN scores are left out. */
typedef struct cpt_kind_test {
    int32_t n_a, n_b, n_permutations;
    double mean_a, mean_b, difference, p;
} cpt_kind_test;
cpt_status cpt_kinds_differ(int32_t n_a, const double *a, int32_t n_b, const double *b,
                            int32_t n_permutations, uint64_t item, cpt_kind_test *out,
                            const cpt_context *ctx, cpt_err *e);

#endif

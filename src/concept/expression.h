/* expression.h - the differential expression baseline (method.md 5): cells that activate a concept
 * against the others, on log1p(counts / total * 1e4), conventions of scanpy rank_genes_groups. */
#ifndef CPT_CONCEPT_EXPRESSION_H
#define CPT_CONCEPT_EXPRESSION_H

#include "concept/activations.h"

typedef enum cpt_expression_test { CPT_TEST_WELCH, CPT_TEST_WILCOXON } cpt_expression_test;

/* Arrays [n_units][n_genes]; NaN where undefined (a group of fewer than 2 cells, a constant gene).
 * p is never 0 (floor DBL_MIN, log10p holds the true magnitude). */
typedef struct cpt_expression {
    int32_t n_units, n_genes;
    float *logfc;    /* log2((expm1(mean1) + 1e-9) / (expm1(mean2) + 1e-9)) */
    float *score;    /* Welch t, or the z of the rank sum */
    double *p, *log10p, *q; /* q: BH over the genes of a unit */
    float *share_in, *share_out; /* share of cells with a count > 0 */
    int64_t *n_in, *n_out; /* [n_units] */
} cpt_expression;

/* Units are concepts; group 1 of unit c = cells with activation > the given quantile of the
 * positive activations (0 = all active cells). `genes` lists the columns of by_gene to test (order
 * of the output). `totals` [n_cells]: counts over all genes of the input. */
cpt_status cpt_expression_test_all(const cpt_activations *u, const cpt_csr *by_gene,
                                   const int32_t *genes, int32_t n_genes, const double *totals,
                                   double active_quantile, cpt_expression_test test,
                                   cpt_expression **out, const cpt_context *ctx, cpt_err *e);
void cpt_expression_free(cpt_expression *x);

#endif

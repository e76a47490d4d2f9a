/* variable_genes.h - highly variable genes by analytic Pearson residuals. */
#ifndef CPT_MODEL_VARIABLE_GENES_H
#define CPT_MODEL_VARIABLE_GENES_H

#include "base/log.h"
#include "io/cells.h"

typedef struct cpt_variable_genes_options {
    int32_t n_top; /* 4000 */
    double theta;  /* 100: overdispersion; INFINITY = Poisson */
    double clip;   /* residuals are cut to +-clip; 0 = sqrt(number of cells) */
} cpt_variable_genes_options;
void cpt_variable_genes_options_init(cpt_variable_genes_options *o);

/* by_gene: one row per gene, columns are cells, raw counts >= 0. Variance of the residuals of every
 * gene into variances [n_genes] (0 for genes without a count), and the n_top most variable genes,
 * in ascending number, into chosen [n_top]; *n_chosen may be less: genes of variance 0 are never
 * chosen. Ties go to the lower number. A cell without any count has residual 0. A negative or
 * non-finite count is an error that names its gene and cell by number. */
cpt_status cpt_variable_genes(const cpt_csr *by_gene, const cpt_variable_genes_options *o,
                              double *variances, int32_t *chosen, int32_t *n_chosen,
                              const cpt_context *ctx, cpt_err *e);

#endif

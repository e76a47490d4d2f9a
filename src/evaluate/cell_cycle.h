/* cell_cycle.h - S and G2/M scores of cells and the phase they name (Tirosh et al. 2016, Science
 * 352, 189), by the conventions of scanpy's score_genes_cell_cycle. */
#ifndef CPT_EVALUATE_CELL_CYCLE_H
#define CPT_EVALUATE_CELL_CYCLE_H

#include "base/log.h"
#include "io/cells.h"

enum { CPT_PHASE_G1, CPT_PHASE_S, CPT_PHASE_G2M, CPT_N_PHASES };
extern const char *const cpt_phase_names[CPT_N_PHASES]; /* "G1", "S", "G2M" */

typedef struct cpt_cell_cycle {
    int64_t n_cells;
    double *score[2];   /* [n_cells] S, G2M; NaN for a cell without counts */
    int32_t *phase;     /* [n_cells] CPT_PHASE_*; -1 for a cell without counts */
    int32_t n_genes[2]; /* of the lists, that a cell expresses */
    int32_t n_control[2];
} cpt_cell_cycle;

/* by_gene: counts, rows = genes, columns = cells; totals [n_cells] counts over all genes. lists[i]
 * [n] rows of the S and the G2/M genes, without repeats; rows that no cell expresses are passed
 * over. Fewer than 5 expressed genes in a list is CPT_ERR_DATA. */
cpt_status cpt_cell_cycle_score(const cpt_csr *by_gene, const double *totals,
                                const int32_t *const lists[2], const int32_t n_listed[2],
                                cpt_cell_cycle *out, const cpt_context *ctx, cpt_err *e);
void cpt_cell_cycle_free(cpt_cell_cycle *c); /* accepts a zeroed one */

#endif

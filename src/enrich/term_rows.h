/* term_rows.h - one test of one family of gene sets, whichever it was, as rows in order of p. */
#ifndef CPT_ENRICH_TERM_ROWS_H
#define CPT_ENRICH_TERM_ROWS_H

#include "enrich/dag_tests.h"
#include "enrich/enrich.h"
#include "enrich/redundancy.h"

typedef struct cpt_term_row {
    int32_t set, size, overlap; /* overlap: leading edge (GSEA), study genes in the set (the others) */
    double es, nes, p, log10p, q, log2err; /* NaN where not defined */
    int32_t n_genes;
    const int32_t *genes;       /* leading edge from its end of the ranking, or the overlap ascending */
    int32_t representative;     /* row that stands for this one; its own number when it stays */
} cpt_term_row;

/* Strongest first (strength.h), then by set; rows without a p last. */
typedef struct cpt_term_rows {
    int32_t n, n_tested; /* n_tested: rows with a p that count as a test */
    cpt_term_row *rows;
    cpt_gsea *gsea;      /* what the rows' genes point into: one of these, or pool */
    cpt_ora *ora;
    int32_t *pool;
} cpt_term_rows;

/* *out is overwritten; empty on failure. */
cpt_status cpt_term_rows_gsea(const cpt_gsea_engine *engine, const double *statistic,
                              cpt_term_rows *out, cpt_err *e);
cpt_status cpt_term_rows_ora(const cpt_genesets *sets, int32_t n_study, const int32_t *study,
                             cpt_term_rows *out, cpt_err *e);
/* The whole aspect is tested; rows are those of `sets`, which came from the same ontology and annotation.
 * Size, overlap and genes as annotated, also where the test ran on what was left of them. q: BH over
 * the rows that are tests; a guide only for elim and weight01 (dag_tests.h). */
cpt_status cpt_term_rows_dag(const cpt_go *go, const cpt_annotation *a, cpt_go_aspect aspect,
                             const cpt_genesets *sets, cpt_dag_method method, double cut,
                             int32_t n_study, const int32_t *study, cpt_term_rows *out, cpt_err *e);
void cpt_term_rows_free(cpt_term_rows *r);

/* How alike two significant terms are; GENES is the Jaccard index of their genes (leading edges). */
typedef struct cpt_reduction {
    bool by_genes;       /* else by `kind`; sets without terms are always compared by genes */
    cpt_similarity kind; /* Resnik is divided by ln(universe), so that the cut-off lies in 0 .. 1 */
    double cutoff;       /* in (0, 1] */
    double alpha;        /* rows with q below it are reduced, the others stay as they are */
    const cpt_go *go;    /* NULL for families without terms */
    const double *ic;    /* [go->n_terms], cpt_term_ic */
} cpt_reduction;

/* Fills representative. Rows of opposite direction (NES) are never alike. At most the 2,000 rows with the
 * smallest p are looked at. */
cpt_status cpt_term_rows_reduce(cpt_term_rows *r, const cpt_genesets *sets, const cpt_reduction *how,
                                cpt_err *e);

#endif

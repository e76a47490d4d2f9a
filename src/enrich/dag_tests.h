/* dag_tests.h - over-representation that knows the graph: elim, weight01, parent-child (enrichment.md C.3.5).
 *
 * The p values of elim and weight01 depend on each other and were selected on: use them to rank terms, and
 * take a correction for multiple tests as a guide only. */
#ifndef CPT_ENRICH_DAG_TESTS_H
#define CPT_ENRICH_DAG_TESTS_H

#include "ontology/go.h"

typedef enum cpt_dag_method {
    CPT_DAG_CLASSIC,        /* every term for itself */
    CPT_DAG_ELIM,           /* genes of significant terms leave their ancestors */
    CPT_DAG_WEIGHT01,       /* genes of children that are not worse leave parent and ancestors */
    CPT_DAG_WEIGHT01_TOPGO, /* as topGO 2.31 computes it: genes of all children leave */
    CPT_DAG_UNION,          /* parent-child: among the genes of any parent */
    CPT_DAG_INTERSECTION    /* parent-child: among the genes that all parents share */
} cpt_dag_method;

typedef struct cpt_dag_row {
    int32_t term, size, overlap;   /* as annotated */
    int32_t size_left, overlap_left; /* what was tested */
    bool tested; /* false: a root, or the same genes as its parents (parent-child); p = 1, not a test */
    double p, log10p;
} cpt_dag_row;

/* All terms of the aspect with at least one gene, ascending; rows are freed with free(). study: universe
 * numbers, ascending, distinct. cut: significance for elim (0.01). The universe is a->n_universe. */
cpt_status cpt_dag_test(const cpt_go *go, const cpt_annotation *a, cpt_go_aspect aspect,
                        cpt_dag_method method, double cut, int32_t n_study, const int32_t *study,
                        cpt_dag_row **rows, int32_t *n_rows, cpt_err *e);

#endif

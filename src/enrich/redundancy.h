/* redundancy.h - how alike reported terms are, and one representative per group (enrichment.md C.3.6). */
#ifndef CPT_ENRICH_REDUNDANCY_H
#define CPT_ENRICH_REDUNDANCY_H

#include "ontology/go.h"

typedef enum cpt_similarity {
    CPT_SIMILARITY_RESNIK, /* IC of the most informative common ancestor, self included */
    CPT_SIMILARITY_LIN,    /* 2 Resnik / (IC a + IC b) */
    CPT_SIMILARITY_SIMREL, /* Lin (1 - p of that ancestor) */
    CPT_SIMILARITY_WANG    /* graph only: is_a 0.8, part_of 0.6 */
} cpt_similarity;

/* ic [n_terms]: -ln(genes / genes annotated in the aspect); infinite for terms without genes. */
cpt_status cpt_term_ic(const cpt_go *go, const cpt_annotation *a, double *ic, cpt_err *e);

/* out [n][n], symmetric. `ic` as above (unused for Wang). NaN where undefined: Lin and SimRel of roots
 * with themselves. Terms of different aspects have similarity 0. */
cpt_status cpt_term_similarity(const cpt_go *go, const double *ic, cpt_similarity kind, int32_t n,
                               const int32_t *terms, double *out, cpt_err *e);

/* out [n][n]: Jaccard index of gene lists (leading edges, say). genes of list i:
 * genes[first[i]] .. [first[i + 1]), ascending. Two empty lists: 0. */
void cpt_list_similarity(int32_t n, const int64_t *first, const int32_t *genes, double *out);

typedef struct cpt_finding {
    int32_t term; /* of the ontology; -1 = none (GMT) */
    int32_t size; /* genes of the term in the universe */
    double value; /* larger is better: -log10 p */
    bool pinned;  /* never absorbed by a term that is not pinned */
} cpt_finding;

/* Greedy grouping of findings in the order of their ids. representative [n]: the finding that stands for
 * this one at the end (itself when it stays); dispensability [n]: similarity at which it was absorbed,
 * 0 when it stays. `go` may be NULL (no parent-child rule). */
cpt_status cpt_reduce_findings(const cpt_go *go, int32_t n_universe, int32_t n, const cpt_finding *f,
                               const double *similarity, double cutoff, int32_t *representative,
                               double *dispensability, cpt_err *e);

#endif

/* genesets.h - families of gene sets over one universe: GO aspects, GMT collections. */
#ifndef CPT_ONTOLOGY_GENESETS_H
#define CPT_ONTOLOGY_GENESETS_H

#include "ontology/go.h"

/* A collection is one family of tests (BH runs within concept x collection). Sets ascend by term id. */
typedef struct cpt_genesets {
    char *collection;      /* "GO_BP", "hallmark" */
    int32_t n_universe;    /* all genes measured, annotated or not */
    int32_t n_sets;
    cpt_strings ids, names;
    int64_t *first;        /* [n_sets + 1] members: genes[first[s]] .., ascending universe numbers */
    int32_t *genes;
    int32_t *full_size;    /* [n_sets] size before cutting to the universe (GMT), else = size */
    double *ic;            /* [n_sets] information content -ln(size / root size); NaN for GMT */
    int32_t *term;         /* [n_sets] GO term number; -1 for GMT */
    int32_t n_too_small, n_too_large, n_duplicate; /* left out by the size filter; identical gene lists */
} cpt_genesets;

/* Sizes are counted after cutting to the universe; min 10 or 15, max 500 by default of the caller. */
cpt_status cpt_genesets_from_go(const cpt_go *go, const cpt_annotation *a, cpt_go_aspect aspect,
                                int32_t min_size, int32_t max_size, cpt_genesets **out, cpt_err *e);
/* GMT, plain or gz: name TAB description TAB gene... Genes matched by symbol, aliases through `table`
 * (may be NULL) when the exact symbol is not in the universe. The collection is named after the file. */
struct cpt_gene_table;
cpt_status cpt_genesets_from_gmt(const char *path, const cpt_strings *symbols,
                                 const struct cpt_gene_table *table, int32_t min_size,
                                 int32_t max_size, cpt_genesets **out, cpt_err *e);
void cpt_genesets_free(cpt_genesets *s);

#endif

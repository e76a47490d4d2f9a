/* true_path.h - direct annotations carried up to all ancestors. Private to ontology/. */
#ifndef CPT_ONTOLOGY_TRUE_PATH_H
#define CPT_ONTOLOGY_TRUE_PATH_H

#include "ontology/go.h"

/* direct: terms of gene g are terms[gene_first[g]] .. [gene_first[g + 1]), in any order, repeats allowed.
 * Allocates first [n_terms + 1] and genes [first[n_terms]], ascending within a term; freed with free(). */
cpt_status cpt_true_path(const cpt_go *go, int32_t n_genes, const int64_t *gene_first,
                         const int32_t *terms, int64_t **first, int32_t **genes, cpt_err *e);

#endif

/* genes.h - gene names: symbols, Ensembl ids and aliases of human genes mapped onto current symbols. */
#ifndef CPT_ONTOLOGY_GENES_H
#define CPT_ONTOLOGY_GENES_H

#include "base/log.h"
#include "base/text.h"
#include "io/cells.h"

typedef struct cpt_gene_table cpt_gene_table; /* human_genes.tsv.gz in memory, indexed */
cpt_status cpt_gene_table_open(const char *path, cpt_gene_table **out, cpt_err *e);
void cpt_gene_table_free(cpt_gene_table *t);

typedef enum cpt_gene_match {
    CPT_GENE_UNKNOWN, CPT_GENE_SYMBOL, CPT_GENE_ENSEMBL, CPT_GENE_ALIAS /* unique alias or old symbol */
} cpt_gene_match;

/* Current symbol for one name (symbol exactly; Ensembl id with or without version; alias only when it
 * belongs to one gene and is not itself a current symbol). NULL when unknown. */
const char *cpt_gene_table_symbol(const cpt_gene_table *t, const char *name, cpt_gene_match *how);

/* Symbols for all genes of an input: from var column gene_symbol / feature_name / gene_name /
 * gene_symbols when there, else from the ids. Unknown genes keep their own name. */
typedef struct cpt_gene_map {
    cpt_strings symbols;       /* [n_genes] */
    uint8_t *how;              /* [n_genes] cpt_gene_match */
    int32_t n_symbol, n_ensembl, n_alias, n_unknown;
    int32_t n_duplicate;       /* genes whose symbol an earlier gene already has */
} cpt_gene_map;
/* table may be NULL: then symbols are taken as they stand. */
cpt_status cpt_gene_map_make(const cpt_gene_table *table, const cpt_strings *gene_ids,
                             const cpt_table *var, cpt_gene_map *out, cpt_err *e);
void cpt_gene_map_free(cpt_gene_map *m);

/* Model gene -> column of the input, by name: exact id first, then exact symbol, then (aliases) the
 * current symbol of both sides. to_model [n_columns] gets the model gene of each column or -1. */
typedef struct cpt_alignment {
    int32_t *to_model;
    int32_t n_model, n_found, n_by_alias;
} cpt_alignment;
cpt_status cpt_align_genes(const cpt_strings *model_genes, const cpt_strings *gene_ids,
                           const cpt_strings *symbols, const cpt_gene_table *table, bool aliases,
                           cpt_alignment *out, cpt_err *e);
void cpt_alignment_free(cpt_alignment *a);

#endif

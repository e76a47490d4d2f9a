/* go.h - the Gene Ontology as a directed acyclic graph, and its human annotation (enrichment.md C.3.1). */
#ifndef CPT_ONTOLOGY_GO_H
#define CPT_ONTOLOGY_GO_H

#include "base/log.h"
#include "base/text.h"

typedef enum cpt_go_aspect { CPT_GO_BP, CPT_GO_MF, CPT_GO_CC } cpt_go_aspect;

/* Terms ascend by id; obsolete terms are left out (their replaced_by is kept as an alias). */
typedef struct cpt_go {
    int32_t n_terms;
    cpt_strings ids, names, definitions;
    uint8_t *aspect;       /* [n_terms] */
    int32_t *parent_first; /* [n_terms + 1] is_a and part_of edges, in parents[] */
    int32_t *parents;
    uint8_t *parent_kind;  /* 0 = is_a, 1 = part_of */
    int32_t *order;        /* [n_terms] parents before children */
    int32_t *level;        /* [n_terms] longest path from the root */
    char *data_version;    /* "releases/2026-01-23" */
    cpt_index *by_id;      /* id, alt_id, and obsolete id with one live replacement -> term */
    cpt_strings alias_ids; /* the latter two, which by_id borrows */
    int32_t n_obsolete, n_alt_ids;
    int32_t n_cross_aspect; /* part_of edges between aspects: left out (default rule) */
} cpt_go;

typedef struct cpt_go_options {
    bool part_of; /* true: true-path propagation follows is_a and part_of */
} cpt_go_options;

/* A cycle, an edge to a missing term, a term without name or namespace: refused with the line. */
cpt_status cpt_go_open(const char *obo, const cpt_go_options *o, cpt_go **out, cpt_err *e);
void cpt_go_free(cpt_go *go);

/* Direct annotations as the file has them. */
typedef struct cpt_annotation_options {
    const char *exclude_evidence; /* NULL, or "IEA,ND": comma-separated codes to leave out */
} cpt_annotation_options;

/* Which genes of a universe each term has, after the true-path rule. Gene numbers index the universe. */
typedef struct cpt_annotation {
    int32_t n_terms, n_universe;
    int64_t *first;      /* [n_terms + 1] genes of term t: genes[first[t]] .., ascending */
    int32_t *genes;
    int64_t *direct_first; /* [n_universe + 1] direct annotations of gene g, before the true-path rule: */
    int32_t *direct;       /* terms direct[direct_first[g]] .., ascending, distinct */
    /* Every row of the file is NOT, excluded by evidence, of an unknown term, of an unknown gene, or
     * used; n_iea and n_wrong_aspect count among the rows that are neither NOT nor excluded. */
    int64_t n_rows, n_not, n_excluded, n_unknown_term, n_unknown_gene, n_iea;
    int64_t n_wrong_aspect; /* the row's aspect is not the term's; the ontology is believed */
    int32_t n_annotated_genes; /* of the universe, with at least one annotation */
    cpt_text header;     /* '!' lines worth citing: versions and dates */
} cpt_annotation;

/* GAF 2.x. `symbols` [n_universe]: several columns may share a symbol, all of them get the term. Genes
 * of the file are matched by symbol, then by synonym when unique and not a universe symbol. */
cpt_status cpt_annotation_open(const char *gaf, const cpt_go *go, const cpt_strings *symbols,
                               const cpt_annotation_options *o, cpt_annotation **out, cpt_err *e);
/* The same annotation with a random share of its direct annotations; of one seed, smaller shares lie within
 * larger ones. Counts of the file's rows, and the header, stay empty. */
cpt_status cpt_annotation_thin(const cpt_go *go, const cpt_annotation *a, double share, uint64_t seed,
                               cpt_annotation **out, cpt_err *e);
void cpt_annotation_free(cpt_annotation *a);

#endif

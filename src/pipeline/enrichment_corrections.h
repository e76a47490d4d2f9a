/* enrichment_corrections.h - findings of all concepts, corrected over all concepts: the second table. */
#ifndef CPT_PIPELINE_ENRICHMENT_CORRECTIONS_H
#define CPT_PIPELINE_ENRICHMENT_CORRECTIONS_H

#include "enrich/term_rows.h"
#include "pipeline/concept_rankings.h"
#include "study/genesets_open.h"

enum { CPT_KEPT_GSEA, CPT_KEPT_ORA, CPT_N_KEPT_METHODS };

/* The small p of one concept's tests. Zero-initialised. */
typedef struct cpt_kept {
    int64_t n_tests; /* 0 = not tested */
    int32_t n;
    int32_t *set;    /* [n] */
    double *log10p, *p, *q; /* [n] */
} cpt_kept;

/* All of them: [ranking][method][family][concept]. */
typedef struct cpt_kept_table {
    int32_t n_families, n_concepts;
    cpt_kept *cells;
} cpt_kept_table;

cpt_status cpt_kept_table_make(int32_t n_families, int32_t n_concepts, cpt_kept_table *t, cpt_err *e);
/* Keeps p up to CPT_ENRICHMENT_P. Different cells may be filled by different threads. */
cpt_status cpt_kept_table_add(cpt_kept_table *t, int ranking, int method, int32_t family, int32_t concept,
                              const cpt_term_rows *rows, cpt_err *e);
void cpt_kept_table_free(cpt_kept_table *t);
/* Concepts [from, to) as arrays of a piece (shards.h), and back into a table whose cells are empty there. */
cpt_status cpt_kept_table_write(const cpt_kept_table *t, int64_t from, int64_t to, const char *folder,
                                cpt_err *e);
cpt_status cpt_kept_table_read(cpt_kept_table *t, int64_t from, int64_t to, const char *folder,
                               cpt_err *e);

/* Writes enrichment_corrections.tsv.gz; *summary: counts per ranking, method and collection. */
cpt_status cpt_corrections_write(const cpt_study *s, const cpt_kept_table *t, const cpt_families *families,
                                 json_t **summary, cpt_err *e);

#endif

/* study.h - a study: one folder, its manifest, its stages, and what later stages read of earlier ones.
 *
 * Stages form a list (stages.c); each names the options it depends on and the stages it reads. Its key
 * is the SHA-256 over these and the input's checksum: while key and outputs stand, it is not run again.
 * Everything a stage hands on lies in the folder; the accessors below open it on demand, so a stage
 * never cares whether its predecessors ran now or last week.
 *
 * Formats: doc/formats.md. Times are kept in study.json only, never in a result.
 */
#ifndef CPT_STUDY_STUDY_H
#define CPT_STUDY_STUDY_H

#include "concept/attribution.h"
#include "concept/expression.h"
#include "dictionary/dictionary.h"
#include "io/cells.h"
#include "model/model.h"
#include "ontology/genes.h"

#include <jansson.h>

/* The genes that attribution, expression and enrichment speak of: the universe. Columns of the input
 * that the model has and that at least one cell expresses, in input order. */
typedef struct cpt_universe {
    int32_t n;
    int32_t *columns;     /* [n] column of the input, ascending */
    int32_t *model_genes; /* [n] gene of the model; -1 for fixed embeddings */
    cpt_strings names;    /* [n] as in the input */
    cpt_strings symbols;  /* [n] current symbols, or the name where unknown */
} cpt_universe;

/* One line of enrichment.tsv.gz. Texts are borrowed from the cpt_enrichment. */
typedef struct cpt_enrichment_row {
    int32_t concept;
    const char *ranking;    /* "attribution" | "expression" */
    const char *method;     /* "gsea" | "ora" */
    const char *collection; /* "GO_BP" ... */
    bool marker;            /* the collection is one of marker sets: suggests a cell type, names nothing */
    const char *term, *name;
    int32_t size, overlap;  /* overlap: ORA; leading edge size for GSEA */
    double es, nes, p, log10p, q, log2err, ic; /* NaN where not defined */
    const char *leading_edge; /* symbols joined by ',', "" for rows above p 0.05 */
    const char *represented_by; /* term id, "" = itself */
} cpt_enrichment_row;

/* Rows with p up to CPT_ENRICHMENT_P: the table itself can have millions. */
#define CPT_ENRICHMENT_P 0.05
typedef struct cpt_enrichment {
    int64_t n;
    cpt_enrichment_row *rows; /* by concept, then ranking, method, collection, p */
    int64_t *first;           /* [n_concepts + 1] */
    int32_t n_concepts;
    cpt_strings texts;        /* private */
} cpt_enrichment;

typedef struct cpt_study {
    char *folder, *input;     /* input: path of the cells */
    cpt_options *options;     /* complete, as recorded */
    cpt_context own;          /* the caller's context with the study's seed */
    const cpt_context *ctx;   /* = &own */
    const char *command;
    json_t *manifest;         /* study.json */
    json_t *options_before;   /* its options when the study was opened for work */
    int lock;                 /* descriptor that holds the lock, -1 when read-only */

    /* opened on demand by the accessors; NULL until then; dropped when a stage rewrites them */
    cpt_cells *cells;
    cpt_strings symbols;      /* [n_genes of the input] */
    bool have_symbols, have_universe;
    cpt_model *model;
    cpt_alignment alignment;
    cpt_counts counts;
    cpt_universe universe;
    cpt_npy fixed, embedding, umap, split;
    cpt_dictionary *dictionary;
    cpt_activations *activations;
    cpt_pairs *pairs;
    cpt_attribution *attribution;
    cpt_expression *expression;
    cpt_enrichment *enrichment;
    json_t *dictionary_report, *evaluation;
} cpt_study;

/* ---- opening ---- */
/* Creates or opens for work, takes the lock. `input` NULL = as recorded. `given`: options that replace
 * the recorded ones where they were given. */
cpt_status cpt_study_begin(const char *folder, const char *input, const cpt_options *given,
                           const char *command, const cpt_context *ctx, cpt_study **out, cpt_err *e);
/* Opens for reading; no lock. */
cpt_status cpt_study_open(const char *folder, const cpt_context *ctx, cpt_study **out, cpt_err *e);
/* The same with options that replace the recorded ones where they were given. */
cpt_status cpt_study_look(const char *folder, const cpt_options *given, const cpt_context *ctx,
                          cpt_study **out, cpt_err *e);
void cpt_study_close(cpt_study *s); /* accepts NULL */

/* ---- running ---- */
/* Runs the stages up to and including `last` (NULL = all) where needed; `force` reruns `last` itself. */
cpt_status cpt_study_advance(cpt_study *s, const char *last, bool force, cpt_err *e);
/* Runs this one stage where it is out of date, on whatever the others have left. */
cpt_status cpt_study_advance_one(cpt_study *s, const char *name, cpt_err *e);

/* ---- accessors: borrowed from the study. Each fails with the stage to run when its file is absent. ---- */
cpt_status cpt_study_path(const cpt_study *s, const char *name, char *path, size_t capacity, cpt_err *e);
cpt_status cpt_study_cells(cpt_study *s, const cpt_cells **out, cpt_err *e);
cpt_status cpt_study_symbols(cpt_study *s, const cpt_strings **out, cpt_err *e);
/* The label, donor or batch column chosen by option `which`; *out = NULL when there is none. */
cpt_status cpt_study_column(cpt_study *s, const char *which, const cpt_column **out, cpt_err *e);
cpt_status cpt_study_model(cpt_study *s, cpt_model **out, cpt_err *e);
cpt_status cpt_study_counts(cpt_study *s, const cpt_counts **out, cpt_err *e);
cpt_status cpt_study_universe(cpt_study *s, const cpt_universe **out, cpt_err *e);
cpt_status cpt_study_embedding(cpt_study *s, const float **values, int64_t *n, int32_t *dim, cpt_err *e);
cpt_status cpt_study_umap(cpt_study *s, const float **values, cpt_err *e); /* [n_cells][2], NaN = not placed */
cpt_status cpt_study_split(cpt_study *s, const uint8_t **validation, cpt_err *e); /* [n_cells] 1 = validation */
cpt_status cpt_study_dictionary(cpt_study *s, cpt_dictionary **out, cpt_err *e);
cpt_status cpt_study_dictionary_report(cpt_study *s, const json_t **out, cpt_err *e);
cpt_status cpt_study_activations(cpt_study *s, const cpt_activations **out, cpt_err *e);
cpt_status cpt_study_pairs(cpt_study *s, const cpt_pairs **out, cpt_err *e);
/* Genes are those of the universe. *out = NULL for fixed embeddings: they have no counterfactuals. */
cpt_status cpt_study_attribution(cpt_study *s, const cpt_attribution **out, cpt_err *e);
cpt_status cpt_study_expression(cpt_study *s, const cpt_expression **out, cpt_err *e);
cpt_status cpt_study_enrichment(cpt_study *s, const cpt_enrichment **out, cpt_err *e);
cpt_status cpt_study_evaluation(cpt_study *s, const json_t **out, cpt_err *e);

/* Top of a concept's genes: universe numbers, those with q < 0.05 first, by falling |mean attribution|
 * (by expression score among the significantly higher ones when there is no attribution); returns how
 * many, at most min(capacity, 64). */
int32_t cpt_study_top_genes(cpt_study *s, int32_t concept, int32_t capacity, int32_t *genes);
/* The term with the smallest p for a concept: GSEA on attribution first (q < 0.05), then ORA on it, then
 * the same on expression; terms with a negative NES and marker sets are passed over (naming.h); NULL when none is
 * significant. */
const cpt_enrichment_row *cpt_study_top_term(cpt_study *s, int32_t concept);
/* "B cell (91 %)": label with the best F1 of its cells against the active ones; "" without labels. */
cpt_status cpt_study_concept_label(cpt_study *s, int32_t concept, cpt_text *out, cpt_err *e);

enum { CPT_INDEX_VERSION = 5 }; /* of the files that the stage index writes (view/index.h) */

/* ---- stages: each writes its outputs atomically; used by the table in stages.c ---- */
cpt_status cpt_stage_cells(cpt_study *s, cpt_err *e);
cpt_status cpt_stage_model(cpt_study *s, cpt_err *e);
cpt_status cpt_stage_embedding(cpt_study *s, cpt_err *e);
cpt_status cpt_stage_map(cpt_study *s, cpt_err *e);
cpt_status cpt_stage_dictionary(cpt_study *s, cpt_err *e);
cpt_status cpt_stage_concepts(cpt_study *s, cpt_err *e);
cpt_status cpt_stage_attribution(cpt_study *s, cpt_err *e);
cpt_status cpt_stage_expression(cpt_study *s, cpt_err *e);
cpt_status cpt_stage_enrichment(cpt_study *s, cpt_err *e);
cpt_status cpt_stage_probing(cpt_study *s, cpt_err *e);
cpt_status cpt_stage_purity(cpt_study *s, cpt_err *e);
cpt_status cpt_stage_stability(cpt_study *s, cpt_err *e);
cpt_status cpt_stage_faithfulness(cpt_study *s, cpt_err *e);
cpt_status cpt_stage_noise(cpt_study *s, cpt_err *e);
cpt_status cpt_stage_index(cpt_study *s, cpt_err *e);
cpt_status cpt_stage_evaluation(cpt_study *s, cpt_err *e);
cpt_status cpt_stage_tables(cpt_study *s, cpt_err *e); /* cells.h5ad, concepts.h5ad, attribution.h5ad */
cpt_status cpt_stage_report(cpt_study *s, cpt_err *e);

/* Options whose default depends on the model that is trained (options.c). */
bool cpt_options_by_model(const char *name);

#endif

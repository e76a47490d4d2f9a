/* compare_cells.h - cells on which the concepts of two studies can be seen side by side.
 *
 * Two studies of the same cells (same names and same counts; names alone are no proof: barcodes are
 * drawn from one list) share their own activations. Else a sample of each study's cells is encoded
 * by the other's model and dictionary, genes matched by name. */
#ifndef CPT_COMPARE_COMPARE_CELLS_H
#define CPT_COMPARE_COMPARE_CELLS_H

#include "evaluate/alignment.h"
#include "study/study.h"

/* One side of a comparison: a study and its concepts that are active in at least one of its cells.
 */
typedef struct cpt_compared {
    cpt_study *study; /* borrowed */
    const char *name; /* borrowed */
    const cpt_cells *cells;
    const cpt_strings *symbols;
    const cpt_activations *u;
    cpt_dictionary *dictionary;
    cpt_model *model;
    const float *embedding;  /* [n_cells][dim] */
    const cpt_column *label; /* cell types, or NULL */
    int32_t n_units;
    int32_t *units;   /* [n_units] concepts, ascending */
    int32_t *unit_of; /* [n_concepts] position in units, -1 = dead */
} cpt_compared;
cpt_status cpt_compared_open(cpt_study *s, const char *name, cpt_compared *out, cpt_err *e);
void cpt_compared_close(cpt_compared *c);

typedef struct cpt_common_set {
    char of;         /* 's' cells of both, 'a' cells of a encoded by b, 'b' cells of b by a */
    int64_t n;       /* cells with an embedding on both sides */
    int64_t n_cells; /* there were so many to choose from */
    int32_t n_model, n_found; /* genes of the encoding model, and how many of them the cells have */
    cpt_csr a, b;             /* [n][units]; owned */
    int32_t *strata; /* [n] codes of the label column of the study whose cells they are (of a, else
                      * b, for common cells); NULL without one; owned */
} cpt_common_set;

typedef struct cpt_common {
    int32_t n_sets; /* 0 when nothing can be compared */
    cpt_common_set sets[2];
    int64_t n_names; /* cells with a name in both */
    bool same_cells;
    bool same_space;            /* both embeddings are of one model */
    const char *same_space_why; /* how that was found; static text */
    json_t *notes;              /* array of texts, new; owned */
} cpt_common;
/* `table` translates gene names; may be NULL. */
cpt_status cpt_common_find(const cpt_compared *a, const cpt_compared *b,
                           const cpt_gene_table *table, int64_t max_cells, cpt_common *out,
                           const cpt_context *ctx, cpt_err *e);
void cpt_common_free(cpt_common *c);

#endif

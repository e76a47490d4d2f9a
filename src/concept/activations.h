/* activations.h - who activates what: cells x concepts, by cell and by concept, with statistics. */
#ifndef CPT_CONCEPT_ACTIVATIONS_H
#define CPT_CONCEPT_ACTIVATIONS_H

#include "dictionary/dictionary.h"
#include "io/cells.h"

typedef struct cpt_concept_stats {
    double frequency;       /* share of the usable cells with u > 0 */
    float max, mean;        /* mean over the active cells; 0 when dead */
    int64_t n_active;
    bool dead;              /* active in no cell */
    bool dense;             /* active in more than half of the cells (our default threshold) */
    bool rare;              /* active in 1 to 9 cells (our default threshold) */
} cpt_concept_stats;

typedef struct cpt_activations {
    int64_t n_cells;
    int32_t n_concepts;
    cpt_csr by_cell;        /* [n_cells] x [n_concepts] */
    cpt_csr by_concept;     /* [n_concepts] x [n_cells] */
    cpt_concept_stats *stats; /* [n_concepts] */
    const bool *usable;     /* [n_cells] false = a NaN in the embedding: no activation, left out of
                               frequencies, never a counterfactual, in no group of a test */
    int64_t n_unusable;
    struct activations_maps *maps; /* private: not NULL = the arrays live in maps */
} cpt_activations;

/* Encodes all cells. a [n_cells][dim]; rows with NaN are counted as unusable and stay empty. */
cpt_status cpt_activations_encode(const cpt_dictionary *d, const float *a, int64_t n_cells,
                                  cpt_activations **out, const cpt_context *ctx, cpt_err *e);
/* Flat files in `folder`:
 *   activations_by_cell.{indptr,indices,values,usable}.npy    i64 [n_cells + 1], i32, f32, bool [n_cells]
 *   activations_by_concept.{indptr,indices,values}.npy        i64 [n_concepts + 1], i32, f32 */
cpt_status cpt_activations_save(const cpt_activations *u, const char *folder, cpt_err *e);
cpt_status cpt_activations_open(const char *folder, cpt_activations **out, cpt_err *e);
void cpt_activations_free(cpt_activations *u);
/* Dense column of one concept into out [n_cells]. */
void cpt_activations_column(const cpt_activations *u, int32_t concept, float *out);

#endif

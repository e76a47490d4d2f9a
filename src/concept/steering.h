/* steering.h - a concept turned up, down or off in cells, and what the model then expects.
 *
 * The embedding a of a cell is u_c d_c + (the other concepts) + (the part that the dictionary does
 * not explain). Only the first term is edited, so that everything else, the error included, stays:
 *
 *     a' = a + (u' - u_c) d_c
 *
 * (as interventions on sparse autoencoders keep their error term: Templeton et al. 2024, Marks et
 * al. 2025). A model with a decoder says which expression it expects before and after. */
#ifndef CPT_CONCEPT_STEERING_H
#define CPT_CONCEPT_STEERING_H

#include "dictionary/dictionary.h"
#include "model/model.h"

typedef enum cpt_steering_kind {
    CPT_STEER_SCALE, /* u' = value * u: cells without the concept stay as they are */
    CPT_STEER_CLAMP  /* u' = value in every cell */
} cpt_steering_kind;

typedef struct cpt_steering {
    int32_t concept;
    cpt_steering_kind kind;
    double value; /* finite, >= 0; 0 = ablation in both kinds */
} cpt_steering;

/* u_c before and u' after, each [n], of embeddings a [n][dim], which must be finite. */
cpt_status cpt_steering_activations(const cpt_dictionary *d, const cpt_steering *what, int64_t n,
                                    const float *a, float *before, float *after, cpt_err *e);

/* out [n][dim] = a + (after - before) * direction [dim]; before, after [n]. out may be a. */
void cpt_steering_edit(int64_t n, int32_t dim, const float *a, const float *before,
                       const float *after, const float *direction, float *out);

/* Directions without preference, each of the length of `like` [dim]: out [n][dim]. Direction i
 * depends on (seed, i) alone. */
void cpt_steering_random(uint64_t seed, int32_t n, int32_t dim, const float *like, float *out);

typedef struct cpt_gene_change {
    int32_t gene;              /* of the model */
    double log2fc, sd;         /* mean over cells of log2((after + eps) / (before + eps)); n - 1 */
    double same_sign;          /* share of the cells whose change has the sign of the mean */
    double before, after;      /* mean expected share of a cell's counts */
    double null_mean, null_sd; /* of log2fc over the random directions */
    double p;                  /* cpt_rank_p of log2fc among them; NaN without directions */
    double q;                  /* BH over genes */
} cpt_gene_change;

/* Two-sided p of a value x by its rank among n draws, whose distribution may be lopsided (a gene
 * that is not expressed can only rise): min(1, 2 (1 + least of draws >= x and draws <= x) / (1 +
 * n)). Never 0. */
double cpt_rank_p(int32_t n_at_least, int32_t n_at_most, int32_t n);

/* eps = 1e-8: a hundredth of a count in a million (our default). */
#define CPT_STEERING_EPS 1e-8

/* Decodes n cells before and after the edit, and after the same edit along each of n_null other
 * directions [n_null][dim]. out [m->n_genes] by falling |log2fc|, then gene. CPT_ERR_UNSUPPORTED
 * when the model cannot decode. Same bytes for any number of threads. */
cpt_status cpt_steering_genes(const cpt_model *m, int64_t n, const float *a, const float *before,
                              const float *after, const float *direction, int32_t n_null,
                              const float *directions, cpt_gene_change *out, const cpt_context *ctx,
                              cpt_err *e);

#endif

/* scgpt.h - scGPT (Cui et al. 2024) beyond the interface of model.h: how cells become tokens.
 *
 * What is computed is the zero-shot cell embedding of scGPT's embed_data (models.md 1 and 2): the
 * output of the transformer at <cls>, divided by its length. Model genes are the vocabulary without
 * its special tokens, in the order of their ids.
 *
 * scGPT bins each cell's counts by that cell's own quantiles into 1..50. Counts that fall on
 * several edges at once (all the ones of a UMI cell) get a random one of those bins there, and a
 * cell with more genes than fit loses random ones, so that its embedding differs from run to run.
 * Here every random number is a function of the seed, the cell's content and the gene: it does not
 * depend on the order of cells or columns, on threads, or on what else is in the file. */
#ifndef CPT_MODEL_SCGPT_H
#define CPT_MODEL_SCGPT_H

#include "model/model.h"

typedef enum cpt_scgpt_ties {
    CPT_SCGPT_TIES_LEFT,   /* the highest bin that is possible: no random numbers */
    CPT_SCGPT_TIES_RANDOM, /* one of the possible bins, by our generator */
    CPT_SCGPT_TIES_NUMPY   /* as np.random.seed(seed + row) before each cell, in column order */
} cpt_scgpt_ties;

typedef enum cpt_scgpt_overflow {
    CPT_SCGPT_OVERFLOW_RANDOM, /* a random subset, by our generator (scGPT: random, too) */
    CPT_SCGPT_OVERFLOW_TOP,    /* the highest counts; random ones among equal counts */
    CPT_SCGPT_OVERFLOW_FIRST,  /* the first columns */
    CPT_SCGPT_OVERFLOW_TORCH   /* as torch.manual_seed(seed + row) before each cell */
} cpt_scgpt_overflow;

typedef enum cpt_scgpt_space {
    CPT_SCGPT_SPACE_BINS,  /* sessions exchange bins; the other genes keep theirs */
    CPT_SCGPT_SPACE_COUNTS /* sessions exchange counts and bin the cell again; no gradients */
} cpt_scgpt_space;

typedef enum cpt_scgpt_precision {
    CPT_SCGPT_F32,
    CPT_SCGPT_BF16 /* products of embed in bfloat16, sums in f32; sessions stay f32 */
} cpt_scgpt_precision;

typedef struct cpt_scgpt_options {
    cpt_scgpt_ties ties;         /* LEFT. Sessions always use LEFT (method.md 4) */
    int32_t tie_draws;           /* 1; with RANDOM: embeddings are averaged over so many binnings */
    cpt_scgpt_precision precision; /* F32 */
    cpt_scgpt_overflow overflow; /* RANDOM */
    cpt_scgpt_space space;       /* BINS */
    int32_t max_tokens;          /* 1200, <cls> included */
    uint64_t seed;               /* the context's seed when the model was opened */
} cpt_scgpt_options;
void cpt_scgpt_options_init(cpt_scgpt_options *o);

bool cpt_model_is_scgpt(const cpt_model *m);
/* Neither while the model is used by another thread nor while sessions are open. */
cpt_status cpt_scgpt_set_options(cpt_model *m, const cpt_scgpt_options *o, cpt_err *e);
/* Names of tensors in the file that are no part of any scGPT (the known heads, such as decoder.*,
 * are left out). */
const cpt_strings *cpt_scgpt_unknown_tensors(const cpt_model *m);

#endif

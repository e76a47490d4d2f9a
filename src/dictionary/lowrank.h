/* lowrank.h - the low-rank baselines pca, ica and nmf; private to this folder.
 *
 * pca, ica: r components, each with two signs and so two units (as in neurons.c):
 *
 *     h_j = E_j . (a - mean);  unit 2j: u = max(+h_j, 0);  unit 2j + 1: u = max(-h_j, 0)
 *     a_hat = mean + sum_j h_j D_j
 *
 * with D the unit rows of the decoder and E D^T = 1: encoding what was decoded gives the same
 * units.
 *
 * nmf: F components H >= 0 of the split coordinates s(a) = [max(a, 0), max(-a, 0)], each one unit:
 *
 *     u = argmin_{u >= 0} |s(a) - u H|^2;  a_hat = sum_c u_c (H_c+ - H_c-)
 *
 * H_c+ and H_c- are the two halves of row c, which has unit norm as a whole. The smooth value of a
 * unit that is 0 is what it would take, free of its own bound, with all others held.
 *
 * Rank: --concepts C is rank C / 2 for pca and ica, C for nmf; --k K is rank K for all (what is
 * "equal L0" for a Top-K SAE); with neither, the rank is that of the training cells, min(dim, n -
 * 1), for nmf min(dim, n): at 2 dim components nmf is the neurons again. */
#ifndef CPT_DICTIONARY_LOWRANK_H
#define CPT_DICTIONARY_LOWRANK_H

#include "dictionary/config.h"
#include "dictionary/train.h"

#define CPT_ARCHITECTURE_PCA "conceptome-pca"
#define CPT_ARCHITECTURE_ICA "conceptome-ica"
#define CPT_ARCHITECTURE_NMF "conceptome-nmf"

enum { CPT_LOWRANK_MAX_DIM = 1 << 13 }; /* weights have dim^2 entries */

cpt_trainer_fn cpt_train_pca, cpt_train_ica, cpt_train_nmf;
cpt_loader_fn cpt_load_pca, cpt_load_ica, cpt_load_nmf;

/* Whether the sizes of this kind are those of this file, and then: o->k = rank, o->n_concepts =
 * units, both 0 when the data are to decide. */
bool cpt_lowrank_is(const char *kind);
cpt_status cpt_lowrank_resolve(cpt_dictionary_options *o, int32_t dim, int64_t n_train, cpt_err *e);

/* ---- pca and ica ---- */
typedef struct cpt_lowrank {
    cpt_dictionary base;   /* decoder [2 rank][dim] = rows +D_j, -D_j; bias = mean */
    int32_t rank;
    float *encoder;        /* [rank][dim] E */
    float *components;     /* [rank][dim] D */
    float *mean;           /* [dim] */
    float *units;          /* base.decoder */
    double *encoder_by_dim; /* [dim][rank] E^T: many sums at once, each in order */
} cpt_lowrank;

/* kind "pca" | "ica". Fill encoder, components and mean, then call _finish. */
cpt_status cpt_lowrank_new(const char *kind, int32_t rank, int32_t dim, cpt_lowrank **out,
                           cpt_err *e);
void cpt_lowrank_finish(cpt_lowrank *d);

/* The principal axes of the training cells. Zero-initialise. */
typedef struct cpt_axes {
    int32_t dim, rank;
    int64_t n;
    float *x;              /* [n][dim] the cells, one after the other */
    double *mean;          /* [dim] */
    double *components;    /* [rank][dim] orthonormal */
    double *singular;      /* [rank] > 0, descending */
} cpt_axes;
/* rank 0 = all there are; more than there are is an error. */
cpt_status cpt_axes_make(const char *kind, int32_t rank, const cpt_training_rows *t, cpt_axes *axes,
                         const cpt_context *ctx, cpt_err *e);
void cpt_axes_free(cpt_axes *axes);

/* ---- files: sae_weights.safetensors with the tensors listed, and cfg.json ---- */
typedef struct cpt_lowrank_tensor {
    const char *name;
    float *data;
    int64_t rows, columns; /* columns 0: one dimension */
} cpt_lowrank_tensor;
cpt_status cpt_lowrank_save(const char *folder, const char *architecture, const cpt_dictionary *d,
                            int32_t n, const cpt_lowrank_tensor *tensors, cpt_err *e);
/* In two steps, so that nothing is allocated for a size before the file was seen to hold it: _check
 * (data ignored), then _read, which refuses values that are not finite. */
typedef struct cpt_checkpoint cpt_checkpoint;
cpt_status cpt_lowrank_check(const cpt_checkpoint *file, int32_t n,
                             const cpt_lowrank_tensor *tensors, cpt_err *e);
cpt_status cpt_lowrank_read(const cpt_checkpoint *file, const char *path, int32_t n,
                            const cpt_lowrank_tensor *tensors, cpt_err *e);

#endif

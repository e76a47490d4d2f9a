/* scvi_files.h - what scvi_tensors.c, scvi_load.c, scvi_save.c and model_open.c share. */
#ifndef CPT_MODEL_SCVI_FILES_H
#define CPT_MODEL_SCVI_FILES_H

#include "io/checkpoint.h"
#include "model/scvi_network.h"

/* ---- tensors (scvi_tensors.c) ---- */

/* What shapes do not tell. */
typedef struct scvi_settings {
    bool zero_inflated; /* gene_likelihood is zinb */
    bool log_input;     /* log_variational */
    int32_t n_batches;
    double dropout;
    const char *no_decode; /* a reason (static text), or NULL */
} scvi_settings;

/* Tensors named prefix + scvi-tools' key. The genes' names are left empty. */
cpt_status scvi_read_tensors(const char *path, const cpt_checkpoint *file, const char *prefix,
                             const scvi_settings *settings, cpt_scvi **out, cpt_err *e);

/* The tensors of a model as scvi-tools names and orders them, contiguous. */
typedef struct scvi_export {
    int32_t n;
    cpt_tensor *tensors;
    cpt_strings names;
    float *values;
    int64_t *counters;
} scvi_export;
/* With `unused`, also those that scvi-tools allocates but never trains, freshly initialised. */
cpt_status scvi_export_init(scvi_export *x, const cpt_scvi *m, bool unused, cpt_err *e);
void scvi_export_free(scvi_export *x);

/* ---- reading (scvi_load.c) ---- */

/* Of scvi-tools 0.15 and later: model.pt. */
cpt_status scvi_open_torch(const char *path, const cpt_checkpoint *file, cpt_model **out,
                           cpt_err *e);
/* Before 0.15: a folder with model_params.pt, var_names.csv, attr.pkl. */
cpt_status scvi_open_legacy(const char *folder, cpt_model **out, cpt_err *e);
/* Ours: .safetensors with the metadata key below. */
#define SCVI_METADATA "conceptome scvi 1"
cpt_status scvi_open_tensors(const char *path, const cpt_checkpoint *file, cpt_model **out,
                             cpt_err *e);

#endif

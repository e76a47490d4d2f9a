/* scvi_files.h - what scvi_tensors.c, scvi_load.c and scvi_save.c share. */
#ifndef CPT_MODEL_SCVI_FILES_H
#define CPT_MODEL_SCVI_FILES_H

#include "io/checkpoint.h"
#include "model/scvi_network.h"

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

/* Our own .safetensors (scvi_save.c writes, scvi_load.c reads), by its metadata. */
#define SCVI_FORMAT "conceptome scvi 1"

#endif

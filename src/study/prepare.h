/* prepare.h - steps that a study and the single-step commands (fit, embed, train) share. */
#ifndef CPT_STUDY_PREPARE_H
#define CPT_STUDY_PREPARE_H

#include "ontology/genes.h"
#include "dictionary/dictionary.h"
#include "io/cells.h"
#include "model/model.h"
#include "ontology/genes.h"

/* Input file -> flat cache, by the options of group "cells"; logs what the reader noted. */
cpt_status cpt_prepare_cells(const char *input, const char *folder, const cpt_options *o,
                             const cpt_context *ctx, cpt_err *e);

/* "scvi", "scgpt": models that are trained on the cells at hand. */
bool cpt_prepare_is_trained(const char *model_name);
/* Trains one of them by the options of group "model" on the chosen genes; history as TSV. */
cpt_status cpt_prepare_train(const cpt_cells *cells, const cpt_options *o, cpt_model **out,
                             cpt_text *history, const cpt_context *ctx, cpt_err *e);
cpt_status cpt_prepare_scgpt(const cpt_cells *cells, const cpt_options *o, cpt_model **out,
                             cpt_text *history, const cpt_context *ctx, cpt_err *e);
/* Columns of the input to train on: to_model [cells->n_genes] ascends, -1 = not chosen; malloc'ed. */
cpt_status cpt_prepare_genes(const cpt_cells *cells, const cpt_options *o, int32_t **to_model,
                             int32_t *n_model, const cpt_context *ctx, cpt_err *e);
/* Current symbols of the input's genes, by the gene table that comes with the program. */
cpt_status cpt_prepare_symbols(const cpt_cells *cells, cpt_gene_map *map, cpt_err *e);

/* Opens a saved model and gives it the options that concern it (scGPT: "space"). */
cpt_status cpt_prepare_open_model(const char *path, const cpt_options *o, cpt_model **out,
                                  const cpt_context *ctx, cpt_err *e);
/* Columns of the input -> genes of the model, with option "gene-aliases" by the shipped gene table too. */
cpt_status cpt_prepare_align(const cpt_model *m, const cpt_strings *gene_ids, const cpt_strings *symbols,
                             const cpt_options *o, cpt_alignment *out, cpt_err *e);
/* Says which model it is and how many genes it shares with the input; a warning when that is little. */
void cpt_prepare_report_coverage(const cpt_model *m, const cpt_alignment *a, int32_t n_columns,
                                 const cpt_context *ctx);

/* "obsm:KEY" or a name that ends in .npy */
bool cpt_prepare_is_fixed(const char *model_name);
/* Its values as malloc'ed f32 [n_cells][*dim]. */
cpt_status cpt_prepare_fixed(const cpt_cells *cells, const char *model_name, float **values,
                             int32_t *dim, cpt_err *e);
/* A .npy of f32 or f64 [n][dim] as malloc'ed f32. */
cpt_status cpt_prepare_npy(const char *path, float **values, int64_t *n, int32_t *dim, cpt_err *e);

bool cpt_row_is_finite(const float *row, int32_t dim);

/* Dictionary options out of the option table. */
void cpt_prepare_dictionary_options(const cpt_options *o, cpt_dictionary_options *d);

/* Rows for training and validation among those with a finite embedding: whole donors when `donor` is a
 * column with at least 5 categories, else single cells. Lists ascend; malloc'ed. */
typedef struct cpt_split {
    int64_t *train, *validation, n_train, n_validation;
    bool by_donor;
} cpt_split;
cpt_status cpt_split_make(const float *a, int64_t n, int32_t dim, const cpt_column *donor, double share,
                          uint64_t seed, cpt_split *out, cpt_err *e);
void cpt_split_free(cpt_split *s);

/* The training report as a JSON object (new reference), without the long step log. */
struct json_t;
struct json_t *cpt_dictionary_report_json(const cpt_dictionary *d, const cpt_dictionary_report *r);

#endif

/* train.h - what a trainer gets: private to this folder. See train.c for the table of trainers. */
#ifndef CPT_DICTIONARY_TRAIN_H
#define CPT_DICTIONARY_TRAIN_H

#include "dictionary/dictionary.h"

/* The cells to learn from: rows [n] of a [..][dim], all finite. */
typedef struct cpt_training_rows {
    const float *a;
    int32_t dim;
    int64_t n;
    const int64_t *rows;
} cpt_training_rows;

static inline const float *cpt_training_row(const cpt_training_rows *t, int64_t i)
{
    return t->a + (t->rows ? t->rows[i] : i) * t->dim;
}

/* o is resolved: no field is 0 any more except learning_rate (depends on the preset) and those that
 * may be. Fills report->n_steps, n_resampled, final_loss and log where they apply. */
typedef cpt_status cpt_trainer_fn(const cpt_dictionary_options *o, const cpt_training_rows *t,
                                  cpt_dictionary **out, cpt_dictionary_report *report,
                                  const cpt_context *ctx, cpt_err *e);

cpt_trainer_fn cpt_train_sae, cpt_train_neurons, cpt_train_random;

/* Every option that is 0 becomes its default; impossible ones are refused. */
cpt_status cpt_dictionary_resolve(const cpt_dictionary_options *o, int32_t dim, int64_t n_train,
                                  cpt_dictionary_options *out, cpt_err *e);

/* Column means in double, by fixed blocks. */
cpt_status cpt_training_means(const cpt_training_rows *t, double *means, cpt_err *e);

/* A loader gets the folder and its parsed cfg.json (a json_t). */
typedef cpt_status cpt_loader_fn(const char *folder, const void *cfg, cpt_dictionary **out, cpt_err *e);
cpt_loader_fn cpt_load_sae, cpt_load_neurons;

#endif

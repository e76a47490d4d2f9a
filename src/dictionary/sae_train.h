/* sae_train.h - training by an explicit recipe; private to this folder and to benches. */
#ifndef CPT_DICTIONARY_SAE_TRAIN_H
#define CPT_DICTIONARY_SAE_TRAIN_H

#include "dictionary/sae_step.h"

/* As cpt_dictionary_train without the scores: fills n_steps, n_resampled, final_loss, log. */
cpt_status cpt_sae_train_recipe(const cpt_sae_recipe *recipe, const cpt_training_rows *data,
                                cpt_dictionary **out, cpt_dictionary_report *report,
                                const cpt_context *ctx, cpt_err *e);

#endif

/* fixed.h - a precomputed embedding (obsm of the input, or a file) in the place of a model. It
 * has no counterfactuals: concepts can be found and compared, but no genes attributed. */
#ifndef CPT_MODEL_FIXED_H
#define CPT_MODEL_FIXED_H

#include "model/model.h"

/* `values` [n_cells][dim] is borrowed; `name` is for the description ("X_pca"). */
cpt_status cpt_fixed_new(const float *values, int64_t n_cells, int32_t dim, const char *name,
                         cpt_model **out, cpt_err *e);

#endif

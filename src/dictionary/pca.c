/* pca.c - principal components as a dictionary: the best linear reconstruction of its rank.
 *
 * Components are orthonormal, by descending variance, the entry of largest magnitude positive
 * (linalg.h). R2 per feature on the training cells is the explained variance, to float rounding. */
#include "dictionary/lowrank.h"

cpt_status cpt_train_pca(const cpt_dictionary_options *o, const cpt_training_rows *t,
                         cpt_dictionary **out, cpt_dictionary_report *report,
                         const cpt_context *ctx, cpt_err *e)
{
    cpt_status status = CPT_OK;
    cpt_axes axes = {0};
    cpt_lowrank *d = NULL;
    CPT_TRY(cpt_axes_make("pca", o->k, t, &axes, ctx, e));
    CPT_TRY(cpt_lowrank_new("pca", axes.rank, t->dim, &d, e));
    for (int32_t j = 0; j < t->dim; j++) d->mean[j] = (float)axes.mean[j];
    for (int64_t i = 0; i < (int64_t)axes.rank * t->dim; i++)
        d->encoder[i] = d->components[i] = (float)axes.components[i];
    cpt_lowrank_finish(d);
    *out = &d->base;
done:
    cpt_axes_free(&axes);
    return status;
}

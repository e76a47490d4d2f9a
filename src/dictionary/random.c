/* random.c - the null dictionary: unit rows drawn uniformly on the sphere, Top-K encoding around the
 * mean of the training cells. Whatever a concept shows must be more than what these directions show.
 *
 * Stored and used as a Top-K SAE with tied weights; the kind stands in the metadata. */
#include "dictionary/sae.h"
#include "dictionary/train.h"

#include "base/memory.h"
#include "base/random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void unit_row(uint64_t seed, int64_t number, int32_t dim, float *row)
{
    cpt_stream s;
    cpt_stream_init(&s, seed, CPT_RANDOM_DICTIONARY, (uint64_t)number);
    double sum = 0;
    while (!(sum > 0)) { /* a row of zeros has probability 0, but not in floating point */
        sum = 0;
        for (int32_t j = 0; j < dim; j++) {
            row[j] = (float)cpt_stream_normal(&s);
            sum += (double)row[j] * row[j];
        }
    }
    for (int32_t j = 0; j < dim; j++) row[j] = (float)(row[j] / sqrt(sum));
}

cpt_status cpt_train_random(const cpt_dictionary_options *o, const cpt_training_rows *t,
                            cpt_dictionary **out, cpt_dictionary_report *report,
                            const cpt_context *ctx, cpt_err *e)
{
    cpt_status status = CPT_OK;
    cpt_sae *s = NULL;
    double *means = NULL;
    CPT_TRY(cpt_alloc(&means, (size_t)t->dim, sizeof *means, e));
    CPT_TRY(cpt_sae_new("random", o->n_concepts, t->dim, o->k, &s, e));
    CPT_TRY(cpt_training_means(t, means, e));
    for (int32_t j = 0; j < t->dim; j++) s->b_dec[j] = (float)means[j];
    const uint64_t seed = ctx ? ctx->seed : 0;
    for (int64_t c = 0; c < o->n_concepts; c++) unit_row(seed, c, t->dim, s->w_dec + c * t->dim);
    memcpy(s->w_enc, s->w_dec, (size_t)o->n_concepts * (size_t)t->dim * sizeof *s->w_enc);
    *out = &s->base;
    s = NULL;
done:
    free(means);
    if (s) cpt_dictionary_free(&s->base);
    return status;
}

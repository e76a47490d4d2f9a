/* sae_revive.c - new life for dead latents: each is set on a cell that is badly reconstructed.
 *
 * Cells are drawn with probability proportional to their squared error in the last epoch (as in k-means++;
 * Bricken et al. 2023 square it once more). The decoder row becomes the direction of the cell from the bias,
 * or of its residual, the encoder row a multiple of it, the encoder bias 0; Adam's moments of both start
 * anew, since those of the dead direction mean nothing. */
#include "dictionary/sae_step.h"

#include "base/memory.h"
#include "base/random.h"
#include "math/topk.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* First position whose cumulative sum is above `at`. */
static int64_t search(const double *cumulative, int64_t n, double at)
{
    int64_t low = 0, high = n - 1;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (cumulative[middle] > at) high = middle;
        else low = middle + 1;
    }
    return low;
}

static void subtract_reconstruction(const cpt_sae_trainer *t, const float *centred, float *row,
                                    float *pre, int32_t *latents, float *values, void *scratch)
{
    const int32_t F = t->n_concepts;
    for (int32_t c = 0; c < F; c++) {
        double sum = t->b_enc[c];
        for (int32_t j = 0; j < t->dim; j++) sum += (double)t->w_enc[c * t->stride + j] * centred[j];
        pre[c] = (float)sum;
    }
    const bool batch = t->recipe.select == CPT_SAE_SELECT_BATCH; /* then: above the last batch's edge */
    int32_t n = cpt_topk_kernels_get()->row(pre, F, batch ? F : t->recipe.k, batch ? t->smallest : 0,
                                            latents, values, scratch);
    for (int32_t p = 0; p < n; p++)
        for (int32_t j = 0; j < t->dim; j++)
            row[j] -= values[p] * t->atoms[latents[p] * t->stride + j];
}

static void forget(cpt_sae_moments *m, int64_t at, int64_t n)
{
    memset(m->mean + at, 0, (size_t)n * sizeof *m->mean);
    memset(m->square + at, 0, (size_t)n * sizeof *m->square);
}

static bool place(cpt_sae_trainer *t, int32_t c, const float *direction)
{
    const int64_t at = c * t->stride;
    double sum = 0;
    for (int32_t j = 0; j < t->dim; j++) sum += (double)direction[j] * direction[j];
    if (!(sum > 0) || !isfinite(sum)) return false;
    for (int32_t j = 0; j < t->dim; j++) {
        t->w_dec[at + j] = (float)(direction[j] / sqrt(sum));
        t->w_enc[at + j] = (float)(t->recipe.revive_encoder * t->w_dec[at + j]);
    }
    t->b_enc[c] = 0;
    forget(&t->m_w_enc, at, t->stride);
    forget(&t->m_w_dec, at, t->stride);
    forget(&t->m_b_enc, c, 1);
    t->since[c] = 0;
    return true;
}

cpt_status cpt_sae_revive_dead(cpt_sae_trainer *t, const cpt_training_rows *data, float scale,
                               const float *row_error, uint64_t seed, int64_t *n, cpt_err *e)
{
    cpt_status status = CPT_OK;
    double *cumulative = NULL, total = 0;
    float *centred = NULL, *pre = NULL, *values = NULL;
    int32_t *latents = NULL;
    void *scratch = NULL;
    *n = 0;
    int64_t n_dead = 0;
    for (int32_t c = 0; c < t->n_concepts; c++) n_dead += t->since[c] >= t->dead_after;
    if (n_dead == 0) return CPT_OK;
    CPT_TRY(cpt_alloc(&cumulative, (size_t)data->n, sizeof *cumulative, e));
    CPT_TRY(cpt_alloc(&centred, 2 * (size_t)t->dim, sizeof *centred, e));
    CPT_TRY(cpt_alloc(&pre, (size_t)t->n_concepts, sizeof *pre, e));
    CPT_TRY(cpt_alloc(&values, (size_t)t->n_concepts, sizeof *values, e));
    CPT_TRY(cpt_alloc(&latents, (size_t)t->n_concepts, sizeof *latents, e));
    CPT_TRY(cpt_alloc(&scratch, cpt_topk_scratch(t->n_concepts), 1, e));
    for (int64_t i = 0; i < data->n; i++) cumulative[i] = total += row_error[i];
    if (!(total > 0) || !isfinite(total)) goto done; /* everything is reconstructed */

    cpt_stream s;
    cpt_stream_init(&s, seed, CPT_RANDOM_SAE_RESAMPLE, (uint64_t)t->n_steps);
    float *row = centred + t->dim;
    for (int32_t c = 0; c < t->n_concepts; c++) {
        if (t->since[c] < t->dead_after) continue;
        int64_t cell = search(cumulative, data->n, cpt_stream_uniform(&s) * total);
        const float *x = cpt_training_row(data, cell);
        for (int32_t j = 0; j < t->dim; j++) row[j] = centred[j] = x[j] * scale - t->b_dec[j];
        if (t->recipe.revive == CPT_SAE_REVIVE_RESIDUAL)
            subtract_reconstruction(t, centred, row, pre, latents, values, scratch);
        *n += place(t, c, row);
    }
    cpt_sae_refresh_atoms(t);
done:
    free(cumulative);
    free(centred);
    free(pre);
    free(values);
    free(latents);
    free(scratch);
    return status;
}

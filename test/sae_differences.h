/* sae_differences.h - gradients of a small autoencoder against central differences of its loss. */
#ifndef CPT_TEST_SAE_DIFFERENCES_H
#define CPT_TEST_SAE_DIFFERENCES_H

#include "sae_golden.h"

enum { SMALL_DIM = 7, SMALL_F = 20, SMALL_N = 130, SMALL_K = 3 };

static inline cpt_sae_trainer *small_trainer(const cpt_sae_recipe *r, const cpt_training_rows *rows)
{
    cpt_sae_trainer *t;
    assert_ok(cpt_sae_trainer_new(r, SMALL_DIM, SMALL_N, 1, &t, &err));
    assert_ok(cpt_sae_initialise(t, rows, 1, 5, &err));
    for (int c = 0; c < SMALL_F; c++) { /* no row of unit norm, nothing tied */
        for (int j = 0; j < SMALL_DIM; j++) t->w_dec[c * t->stride + j] *= 1 + 0.02f * (float)c;
        t->w_enc[c * t->stride] += 0.1f;
        t->b_enc[c] = 0.01f * (float)c;
    }
    cpt_sae_refresh_atoms(t);
    return t;
}

static inline double loss_after_moving(const cpt_sae_recipe *r, const cpt_training_rows *rows,
                                       int which, int64_t at, float by)
{
    cpt_sae_step_report report;
    cpt_sae_trainer *t = small_trainer(r, rows);
    float *arrays[] = {t->w_enc, t->w_dec, t->b_enc, t->b_dec};
    arrays[which][at] += by;
    cpt_sae_refresh_atoms(t);
    assert_ok(cpt_sae_step(t, rows, NULL, rows->n, 1, r->k, 0, NULL, &report, &err));
    cpt_sae_trainer_free(t);
    return report.loss;
}

/* `trials` places of each of w_enc, w_dec, b_enc and, unless the recipe has none, b_dec. The recipe
 * is of SMALL_F concepts; it loses its auxiliary term, whose target is detached: the loss is not
 * what is derived there. A selection that changes within the step makes a jump: rare, and then
 * large; `most_far` of them are allowed. */
static inline void check_differences_of(cpt_sae_recipe r, int trials, int most_far)
{
    static float x[SMALL_N * SMALL_DIM];
    fill_normal(x, SMALL_N * SMALL_DIM, 0);
    cpt_training_rows rows = {x, SMALL_DIM, SMALL_N, NULL};
    r.n_concepts = SMALL_F;
    r.k = SMALL_K;
    r.decoder_norm = 1;
    r.aux = CPT_SAE_AUX_NONE;
    r.clip = 0;
    cpt_sae_step_report report;
    cpt_sae_trainer *t = small_trainer(&r, &rows);
    assert_ok(cpt_sae_step(t, &rows, NULL, SMALL_N, 1, SMALL_K, 0, NULL, &report, &err));
    const float *gradients[] = {t->g_w_enc, t->g_w_dec, t->g_b_enc, t->g_b_dec};
    int n_far = 0, n_tried = 0;
    for (int which = 0; which < (r.bias == CPT_SAE_BIAS_ABSENT ? 3 : 4); which++)
        for (int trial = 0; trial < trials; trial++) {
            const int unit = trial % SMALL_F;
            const int64_t at = which == 3   ? trial % SMALL_DIM
                               : which == 2 ? unit
                                            : unit * t->stride + trial % SMALL_DIM;
            if (which < 3 && !t->has_gradient[unit]) continue;
            const float h = 1e-3f;
            const double numeric = (loss_after_moving(&r, &rows, which, at, h) -
                                    loss_after_moving(&r, &rows, which, at, -h)) /
                                   (2 * (double)h);
            n_tried++;
            n_far += fabs(numeric - gradients[which][at]) > 2e-3 * report.gradient_norm;
        }
    assert_true(n_tried > 2 * trials);
    assert_true(n_far <= most_far);
    cpt_sae_trainer_free(t);
}

#endif

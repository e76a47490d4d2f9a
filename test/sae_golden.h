/* sae_golden.h - the golden training steps of sparse autoencoders, and how a trainer is compared
 * with them. */
#ifndef CPT_TEST_SAE_GOLDEN_H
#define CPT_TEST_SAE_GOLDEN_H

#include "check.h"

#include "base/random.h"
#include "dictionary/sae_train.h"
#include "io/checkpoint.h"

enum { DIM = 24, F = 96, K = 6, BATCH = 64, STEPS = 5, K_AUX = 12 };

static cpt_err err;

static inline cpt_checkpoint *open_golden(const char *folder, const char *name)
{
    char path[1200];
    cpt_checkpoint *c;
    snprintf(path, sizeof path, "%s/%s.safetensors", folder, name);
    assert_ok(cpt_checkpoint_open(path, &c, &err));
    return c;
}

static inline void read_f32(const cpt_checkpoint *c, const char *prefix, const char *name,
                            float *out)
{
    char full[100];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    const cpt_tensor *t = cpt_checkpoint_find(c, full);
    if (!t) fail_msg("no tensor %s", full);
    assert_ok(cpt_tensor_read_f32(t, out, &err));
}

/* Compares a row-major golden tensor, [rows][columns] or its transpose, with our padded rows. */
static inline void compare(const cpt_checkpoint *c, const char *prefix, const char *name,
                           const float *got, int rows, int columns, int64_t stride, bool transposed,
                           double tolerance)
{
    float *want = malloc((size_t)rows * columns * sizeof *want);
    read_f32(c, prefix, name, want);
    double worst = 0;
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < columns; j++) {
            double g = got[i * stride + j], w = want[transposed ? j * rows + i : i * columns + j];
            worst = fmax(worst, fabs(g - w));
        }
    if (!(worst <= tolerance))
        fail_msg("%s%s: off by %g, allowed %g", prefix, name, worst, tolerance);
    free(want);
}

static inline void fill_rows(const cpt_checkpoint *c, const char *prefix, const char *name,
                             bool transposed, int64_t stride, float *out)
{
    float *flat = malloc(F * DIM * sizeof *flat);
    read_f32(c, prefix, name, flat);
    for (int i = 0; i < F; i++)
        for (int j = 0; j < DIM; j++)
            out[i * stride + j] = transposed ? flat[j * F + i] : flat[i * DIM + j];
    free(flat);
}

static inline cpt_sae_recipe golden_recipe(void)
{
    return (cpt_sae_recipe){.n_concepts = F,
                            .k = K,
                            .batch = BATCH,
                            .epochs = 1,
                            .decoder = CPT_SAE_DECODER_UNIT,
                            .projection_eps = 1e-6,
                            .unit_eps = 1.1920929e-7,
                            .loss = CPT_SAE_LOSS_SUM,
                            .aux = CPT_SAE_AUX_NORMALISED,
                            .aux_weight = 1.0 / 32,
                            .k_aux = K_AUX,
                            .dead_after = 200,
                            .learning_rate = 1e-3,
                            .beta1 = 0.9,
                            .beta2 = 0.999,
                            .adam_eps = 1e-8,
                            .clip = 1};
}

typedef struct names {
    const char *w_enc, *b_enc, *w_dec, *b_dec;
} names;
static const names learning = {"encoder.weight", "encoder.bias", "decoder.weight", "b_dec"};

static inline void compare_weights(const cpt_sae_trainer *t, const cpt_checkpoint *c,
                                   const char *prefix, const names *n, double tolerance)
{
    compare(c, prefix, n->w_enc, t->w_enc, F, DIM, t->stride, false, tolerance);
    compare(c, prefix, n->w_dec, t->w_dec, F, DIM, t->stride, true, tolerance);
    compare(c, prefix, n->b_enc, t->b_enc, 1, F, F, false, tolerance);
    compare(c, prefix, n->b_dec, t->b_dec, 1, DIM, t->stride, false, tolerance);
}

/* Rows of a gradient that were not touched keep old content: they stand for zeros. */
static inline void clear_unused(cpt_sae_trainer *t)
{
    for (int c = 0; c < F; c++)
        if (!t->has_gradient[c]) {
            memset(t->g_w_enc + c * t->stride, 0, (size_t)t->stride * sizeof(float));
            memset(t->g_w_dec + c * t->stride, 0, (size_t)t->stride * sizeof(float));
        }
}

static inline void compare_gradients(cpt_sae_trainer *t, const cpt_checkpoint *c,
                                     const char *decoder, const names *n)
{
    clear_unused(t);
    compare(c, "step0.grad.", n->w_enc, t->g_w_enc, F, DIM, t->stride, false, 2e-6);
    compare(c, "step0.grad.", n->b_enc, t->g_b_enc, 1, F, F, false, 2e-6);
    compare(c, "step0.grad.", n->b_dec, t->g_b_dec, 1, DIM, t->stride, false, 2e-6);
    compare(c, decoder, n->w_dec, t->g_w_dec, F, DIM, t->stride, true, 2e-6);
}

static inline cpt_sae_trainer *start(const cpt_sae_recipe *r, const cpt_checkpoint *init,
                                     const names *n, const float *bias, const char *counters,
                                     int n_threads)
{
    cpt_sae_trainer *t;
    assert_ok(cpt_sae_trainer_new(r, DIM, BATCH, n_threads, &t, &err));
    fill_rows(init, "init.", n->w_enc, false, t->stride, t->w_enc);
    fill_rows(init, "init.", n->w_dec, true, t->stride, t->w_dec);
    read_f32(init, "init.", n->b_enc, t->b_enc);
    memcpy(t->b_dec, bias, DIM * sizeof *bias);
    assert_ok(cpt_tensor_read_i64(cpt_checkpoint_find(init, counters), t->since, &err));
    if (r->fired_step_counts) /* theirs counts steps */
        for (int c = 0; c < F; c++) t->since[c] *= BATCH;
    cpt_sae_refresh_atoms(t);
    return t;
}

static inline void check_counters(const cpt_sae_trainer *t, const cpt_checkpoint *c,
                                  const char *name, int unit)
{
    int64_t want[F];
    assert_ok(cpt_tensor_read_i64(cpt_checkpoint_find(c, name), want, &err));
    for (int i = 0; i < F; i++) assert_int_equal(t->since[i], want[i] * unit);
}

static inline void read_log(const cpt_checkpoint *c, const char *name, double *out)
{
    assert_ok(cpt_tensor_read_f64(cpt_checkpoint_find(c, name), out, &err));
}

static inline void fill_normal(float *x, int64_t n, uint64_t item)
{
    cpt_stream s;
    cpt_stream_init(&s, 11, CPT_RANDOM_TEST, item);
    for (int64_t i = 0; i < n; i++) x[i] = (float)cpt_stream_normal(&s);
}

#endif

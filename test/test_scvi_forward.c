/* scVI in eval mode against the real scvi-tools (golden/scvi). */
#include "check.h"

#include "base/memory.h"
#include "io/checkpoint.h"
#include "model/scvi_files.h"
#include "scvi_golden.h"

static void test_encoder(void **state)
{
    cpt_err err;
    NEED_GOLDEN(folder, "golden/scvi");
    for (int which = 0; which < 2; which++) {
        golden_model g;
        golden_open(&g, folder, which);
        double worst = 0;
        float *out = calloc((size_t)g.n_cells * (size_t)g.model->dim, sizeof *out);
        float *want = golden_f32(g.forward, "q_m_f64");
        assert_ok(cpt_model_embed_all(g.model, &g.counts, out, NULL, NULL, &err));
        for (int64_t i = 0; i < g.n_cells * g.model->dim; i++)
            worst = fmax(worst, fabs((double)out[i] - want[i]));
        print_message("%s: q_m worst %.2g\n", g.name, worst);
        assert_true(worst < 5e-6);
        free(out);
        free(want);
        golden_close(&g);
    }
}

static void test_losses(void **state)
{
    cpt_err err;
    NEED_GOLDEN(folder, "golden/scvi");
    for (int which = 0; which < 2; which++) {
        golden_model g;
        golden_open(&g, folder, which);
        const int32_t latent = g.model->dim;
        /* the stored latent values: as noise that leads from q_m to them */
        scvi_stepper *s = NULL;
        cpt_scvi_options o;
        cpt_scvi_options_init(&o);
        o.batch_codes = g.codes;
        assert_ok(scvi_stepper_new((cpt_scvi *)g.model, &o, &s, &err));
        int64_t rows[64];
        for (int i = 0; i < 64; i++) rows[i] = i;
        assert_ok(scvi_stepper_load(s, &g.counts, 64, rows, NULL, &err));
        float *z = golden_f32(g.forward, "z_fixed"), *q_m = golden_f32(g.forward, "q_m_f64"),
              *q_v = golden_f32(g.forward, "q_v_f64"), *noise = calloc((size_t)(64 * latent), 4);
        for (int i = 0; i < 64 * latent; i++) noise[i] = (z[i] - q_m[i]) / sqrtf(q_v[i]);
        float *recon = golden_f32(g.forward, "reconstruction_loss_f64"),
              *kl = golden_f32(g.forward, "kl_z_f64");
        double got_recon[64], got_kl[64];
        scvi_losses sum;
        scvi_stepper_evaluate(s, &(scvi_noise){noise, NULL}, &sum, got_recon, got_kl, 1);
        for (int i = 0; i < 64; i++) {
            assert_near(got_recon[i] / recon[i], 1, 1e-5);
            assert_near(got_kl[i] / kl[i], 1, 1e-5);
        }
        float *loss1 = golden_f32(g.forward, "loss_kl1_f64"), *loss025 = golden_f32(g.forward, "loss_kl025_f64");
        assert_near((sum.reconstruction + sum.kl) / 64 / loss1[0], 1, 1e-5);
        assert_near((sum.reconstruction + 0.25 * sum.kl) / 64 / loss025[0], 1, 1e-5);
        const float *mean, *variance;
        scvi_stepper_latent(s, &mean, &variance);
        for (int i = 0; i < 64 * latent; i++) assert_near(variance[i] / q_v[i], 1, 1e-5);
        /* the KL term does not depend on the draw */
        assert_ok(cpt_scvi_evaluate(g.model, &g.counts, 0, 64, g.codes, got_recon, got_kl, NULL, &err));
        for (int i = 0; i < 64; i++) {
            assert_near(got_kl[i] / kl[i], 1, 1e-5);
            assert_true(got_recon[i] < 2 * recon[i] && got_recon[i] > 0.5 * recon[i]);
        }
        free(z), free(q_m), free(q_v), free(noise), free(recon), free(kl), free(loss1), free(loss025);
        scvi_stepper_free(s);
        golden_close(&g);
    }
}

static void test_decode(void **state)
{
    cpt_err err;
    NEED_GOLDEN(folder, "golden/scvi");
    for (int which = 0; which < 2; which++) {
        golden_model g;
        golden_open(&g, folder, which);
        const int32_t genes = g.model->n_genes, latent = g.model->dim;
        float *z = golden_f32(g.forward, "z_fixed"), *scale = golden_f32(g.forward, "px_scale_8");
        float *log_prob = golden_f32(g.forward, "log_prob_8"), *theta = golden_f32(g.forward, "px_theta");
        float *pi = which ? golden_f32(g.forward, "px_zi_logits_8") : NULL;
        float *out = calloc((size_t)genes, sizeof *out);
        for (int i = 0; i < 8; i++) {
            assert_ok(g.model->ops->decode(g.model, 1, z + i * latent, which ? g.codes[i] : 0, out,
                                           NULL, &err));
            double library = 0, sum = 0;
            for (int j = 0; j < genes; j++) library += g.values[i * genes + j], sum += out[j];
            assert_near(sum, 1, 1e-5);
            for (int j = 0; j < genes; j++) {
                double logit = pi ? pi[i * genes + j] : 0;
                assert_near(out[j] / scale[i * genes + j], 1, 2e-5);
                double got = cpt_log_likelihood(g.values[i * genes + j], library * out[j], theta[j],
                                                pi ? &logit : NULL, NULL, NULL, NULL);
                assert_near(got, log_prob[i * genes + j], 1e-5 * (1 + fabs(got)));
            }
        }
        /* the average over batches, and a batch that is not there */
        float *one = calloc((size_t)genes, sizeof *one), *two = calloc((size_t)genes, sizeof *two);
        assert_ok(g.model->ops->decode(g.model, 1, z, -1, out, NULL, &err));
        assert_ok(g.model->ops->decode(g.model, 1, z, 0, one, NULL, &err));
        assert_ok(g.model->ops->decode(g.model, 1, z, which, two, NULL, &err));
        for (int j = 0; j < genes; j++) assert_near(out[j], (one[j] + two[j]) / 2, 1e-7);
        assert_int_equal(g.model->ops->decode(g.model, 1, z, which + 1, out, NULL, &err), CPT_ERR_USAGE);
        free(z), free(scale), free(log_prob), free(theta), free(pi), free(out), free(one), free(two);
        golden_close(&g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encoder),
        ON_FOLDER(test_encoder, "test/golden/scvi"),
        cmocka_unit_test(test_losses),
        ON_FOLDER(test_losses, "test/golden/scvi"),
        cmocka_unit_test(test_decode),
        ON_FOLDER(test_decode, "test/golden/scvi"),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Models that SCVI.save wrote (test/golden/scvi): opened whole, and their embedding. The forward
 * pass, losses, gradients, training steps and swaps of the same models are compared in
 * test_scvi_forward.c, test_scvi_train.c and test_scvi_session.c. */
#include "scvi_golden.h"

static void test_saved_models(void **state)
{
    static const char *const about[] = {
        "scVI, 40 genes, 1 layer, 10 hidden, 5 latent, NB",
        "scVI, 40 genes, 2 layers, 9 hidden, 6 latent, ZINB, 2 batches"};
    cpt_err err;
    for (int which = 0; which < 2; which++) {
        golden_model g;
        golden_open(&g, "test/golden/scvi", which);
        char path[100];
        snprintf(path, sizeof path, "test/golden/scvi/%s%s", g.name, which ? "/model.pt" : "");
        cpt_model *m;
        assert_ok(cpt_model_open(path, &m, NULL, &err));
        assert_string_equal(cpt_text_str(&m->description), about[which]);
        const cpt_scvi *a = scvi_of(m), *b = scvi_of(g.model);
        assert_int_equal(a->n_parameters, b->n_parameters);
        assert_memory_equal(a->parameters, b->parameters, sizeof(float) * (size_t)a->n_parameters);
        for (int j = 0; j < m->n_genes; j++) {
            char name[16];
            snprintf(name, sizeof name, "GENE%d", j);
            assert_string_equal(cpt_strings_get(&m->gene_names, j), name);
        }
        assert_int_equal(a->batch_names.n, which ? 2 : 0);
        if (which) {
            assert_string_equal(cpt_text_str(&a->batch_key), "batch");
            assert_string_equal(cpt_strings_get(&a->batch_names, 0), "donor_a");
            assert_string_equal(cpt_strings_get(&a->batch_names, 1), "donor_b");
        }
        float *want = golden_f32(g.forward, "q_m_f64");
        float *got = calloc((size_t)(64 * m->dim), sizeof *got);
        assert_ok(cpt_model_embed_all(m, &g.counts, got, NULL, NULL, &err));
        for (int i = 0; i < 64 * m->dim; i++) assert_near(got[i], want[i], 5e-6);
        free(want), free(got);
        cpt_model_free(m);
        golden_close(&g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_saved_models)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

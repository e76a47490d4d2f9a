/* Perturbation sessions of scVI against the real encoder (golden/scvi swaps and gradients) and against
 * a whole forward pass of every changed cell; counts, profiles and fixed embeddings. */
#include "check.h"

#include "base/random.h"
#include "model/fixed.h"
#include "scvi_golden.h"

/* A random model with `layers` layers whose normalisation is not trivial. */
static cpt_scvi *random_model(int32_t genes, int32_t hidden, int32_t latent, int32_t layers, bool norm)
{
    cpt_err err;
    const scvi_shape shape = {.n_genes = genes, .n_hidden = hidden, .n_latent = latent,
                              .n_layers = layers, .encoder_norm = norm, .decoder_norm = norm,
                              .has_px_r = true, .log_input = true};
    cpt_scvi *m;
    cpt_stream s;
    assert_ok(scvi_new(&shape, &m, &err));
    scvi_initialise(m, 9);
    cpt_stream_init(&s, 1, CPT_RANDOM_TEST, 0);
    for (int32_t i = 0; norm && i < layers; i++)
        for (int32_t j = 0; j < hidden; j++) {
            m->encoder[i].bn_weight[j] = (float)(0.5 + cpt_stream_uniform(&s));
            m->encoder[i].bn_bias[j] = (float)cpt_stream_normal(&s) * 0.3f;
            m->encoder[i].running_mean[j] = (float)cpt_stream_normal(&s) * 0.2f;
            m->encoder[i].running_var[j] = (float)(0.05 + cpt_stream_uniform(&s));
        }
    assert_ok(scvi_finish(m, &err));
    return m;
}

static void random_cell(float *values, int32_t genes, uint64_t item)
{
    cpt_stream s;
    cpt_stream_init(&s, 2, CPT_RANDOM_TEST, item);
    for (int32_t g = 0; g < genes; g++)
        values[g] = cpt_stream_uniform(&s) < 0.1 ? (float)(1 + cpt_stream_poisson(&s, 2)) : 0;
}

/* Encoder mean of dense cells by a whole forward pass. */
static void forward(const cpt_model *m, const float *values, int64_t n, float *out)
{
    cpt_err err;
    cpt_csr csr = dense_csr(values, n, m->n_genes);
    cpt_counts c;
    assert_ok(cpt_counts_init(&c, &csr, NULL, m->n_genes, &err));
    assert_ok(m->ops->embed(m, &c, 0, n, out, NULL, &err));
    dense_free(&csr);
}

static cpt_session *open_cell(const cpt_model *m, const float *values)
{
    cpt_err err;
    cpt_csr csr = dense_csr(values, 1, m->n_genes);
    cpt_counts c;
    cpt_profile p;
    cpt_session *s;
    assert_ok(cpt_counts_init(&c, &csr, NULL, m->n_genes, &err));
    assert_ok(m->ops->profile(m, &c, 0, &p, &err));
    for (int32_t g = 0; g < m->n_genes; g++) assert_near(cpt_profile_value(&p, g), values[g], 0);
    assert_ok(m->ops->session_open(m, &p, &s, &err));
    cpt_profile_free(&p);
    dense_free(&csr);
    return s;
}

static void test_golden_swaps_and_gradients(void **state)
{
    cpt_err err;
    NEED_GOLDEN(folder, "golden/scvi");
    for (int which = 0; which < 2; which++) {
        golden_model g;
        golden_open(&g, folder, which);
        const int32_t genes = g.model->n_genes, dim = g.model->dim;
        const cpt_tensor *t = cpt_checkpoint_find(g.forward, "swap");
        double swap[16][4];
        assert_ok(cpt_tensor_read_f64(t, swap[0], &err));
        float *want = golden_f32(g.forward, "swap_q_m"), *out = calloc((size_t)dim, 4);
        for (int i = 0; i < 16; i++) {
            const float *cell = g.values + (int64_t)swap[i][0] * genes;
            assert_near(cell[(int)swap[i][1]], swap[i][3], 0);
            cpt_session *s = open_cell(g.model, cell);
            const cpt_change change = {(int32_t)swap[i][1], (float)swap[i][2]};
            assert_ok(g.model->ops->session_singles(s, 1, &change, out, &err));
            for (int j = 0; j < dim; j++) assert_near(out[j], want[i * dim + j], 5e-6);
            g.model->ops->session_free(s);
        }
        float *w = golden_f32(g.forward, "functional"), *slope = golden_f32(g.forward, "attr_grad_8");
        float *got = calloc((size_t)genes, 4);
        for (int i = 0; i < 8; i++) {
            cpt_session *s = open_cell(g.model, g.values + i * genes);
            assert_ok(g.model->ops->session_gradient(s, 1, w, got, &err));
            for (int j = 0; j < genes; j++) assert_near(got[j], slope[i * genes + j], 2e-5);
            g.model->ops->session_free(s);
        }
        free(want), free(out), free(w), free(slope), free(got);
        golden_close(&g);
    }
}

static void test_singles_are_whole_forwards(void **state)
{
    cpt_err err;
    static const struct { int32_t genes, hidden, latent, layers; bool norm; } cases[] = {
        {700, 128, 10, 1, true}, {300, 37, 21, 2, true}, {150, 16, 5, 3, false}, {1, 1, 1, 1, true}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        cpt_scvi *m = random_model(cases[k].genes, cases[k].hidden, cases[k].latent, cases[k].layers,
                                   cases[k].norm);
        const int32_t genes = cases[k].genes, dim = cases[k].latent;
        float *cell = calloc((size_t)genes, 4), *many = calloc((size_t)(genes * genes), 4);
        float *want = calloc((size_t)(genes * dim), 4), *got = calloc((size_t)(genes * dim), 4);
        cpt_change *changes = calloc((size_t)genes, sizeof *changes);
        random_cell(cell, genes, k);
        cpt_session *s = open_cell(&m->base, cell);
        forward(&m->base, cell, 1, want);
        for (int32_t j = 0; j < dim; j++) assert_near(scvi_session_embedding(s)[j], want[j], 0);
        for (int32_t g = 0; g < genes; g++) { /* up, away, and to a real number */
            memcpy(many + g * genes, cell, sizeof *cell * (size_t)genes);
            changes[g] = (cpt_change){g, g % 3 == 0 ? 0 : g % 3 == 1 ? cell[g] + 3 : 1.75f};
            many[g * genes + g] = changes[g].value;
        }
        forward(&m->base, many, genes, want);
        assert_ok(scvi_session_singles(s, genes, changes, got, &err));
        double worst = 0;
        for (int32_t i = 0; i < genes * dim; i++) worst = fmax(worst, fabs((double)want[i] - got[i]));
        assert_true(worst < 1e-6);
        /* one by one: the same bits as all at once */
        for (int32_t g = 0; g < genes; g += 13) {
            assert_ok(scvi_session_singles(s, 1, &changes[g], want, &err));
            assert_memory_equal(want, got + g * dim, sizeof *got * (size_t)dim);
        }
        /* all at once as one copy */
        for (int32_t g = 0; g < genes; g++) cell[g] = changes[g].value;
        forward(&m->base, cell, 1, want);
        assert_ok(scvi_session_joint(s, genes, changes, got, &err));
        for (int32_t j = 0; j < dim; j++) assert_near(got[j], want[j], 2e-6);
        assert_ok(scvi_session_joint(s, 0, NULL, got, &err));
        for (int32_t j = 0; j < dim; j++) assert_near(got[j], scvi_session_embedding(s)[j], 0);
        print_message("%d genes, %d layers: singles off by %.2g\n", genes, cases[k].layers, worst);
        scvi_session_free(s);
        free(cell), free(many), free(want), free(got), free(changes);
        cpt_model_free(&m->base);
    }
}

static void test_gradient_by_differences(void **state)
{
    cpt_err err;
    enum { GENES = 90, DIM = 4 };
    cpt_scvi *m = random_model(GENES, 32, DIM, 2, true);
    float cell[GENES], w[2 * DIM] = {1, 0, 0, 0, 0.3f, -1, 2, 0.5f}, got[2 * GENES];
    random_cell(cell, GENES, 1);
    for (int g = 0; g < GENES; g++) cell[g] += 0.37f; /* inside a path of integrated gradients */
    cpt_session *s = open_cell(&m->base, cell);
    assert_ok(scvi_session_gradient(s, 2, w, got, &err));
    int far = 0;
    for (int g = 0; g < GENES; g++) {
        float up[DIM], down[DIM];
        const float step = 0.02f;
        assert_ok(scvi_session_singles(s, 1, &(cpt_change){g, cell[g] + step}, up, &err));
        assert_ok(scvi_session_singles(s, 1, &(cpt_change){g, cell[g] - step}, down, &err));
        for (int k = 0; k < 2; k++) {
            double slope = 0;
            for (int j = 0; j < DIM; j++) slope += w[k * DIM + j] * ((double)up[j] - down[j]) / (2 * step);
            far += fabs(slope - got[k * GENES + g]) > 2e-3 * (0.05 + fabs(slope));
        }
    }
    assert_true(far < 18); /* of 180: a ReLU that flips between the two points */
    scvi_session_free(s);
    cpt_model_free(&m->base);
}

static void test_wrong_changes(void **state)
{
    cpt_err err;
    cpt_scvi *m = random_model(20, 8, 3, 1, true);
    float cell[20] = {1, 2}, out[6];
    cpt_session *s = open_cell(&m->base, cell);
    const cpt_change twice[2] = {{3, 1}, {3, 2}}, outside = {20, 1}, negative = {3, -1}, nan = {3, NAN};
    assert_int_equal(scvi_session_joint(s, 2, twice, out, &err), CPT_ERR_USAGE);
    assert_non_null(strstr(err.text, "gene 3 is changed twice"));
    assert_ok(scvi_session_joint(s, 1, twice, out, &err)); /* the marks are gone again */
    assert_int_equal(scvi_session_singles(s, 1, &outside, out, &err), CPT_ERR_USAGE);
    assert_non_null(strstr(err.text, "no gene 20"));
    assert_int_equal(scvi_session_singles(s, 1, &negative, out, &err), CPT_ERR_USAGE);
    assert_int_equal(scvi_session_singles(s, 1, &nan, out, &err), CPT_ERR_USAGE);
    assert_ok(scvi_session_singles(s, 0, NULL, out, &err));
    scvi_session_free(s);
    cpt_model_free(&m->base);
}

/* Columns in another order, some unknown: the same rows as with the model's own order. */
static void test_counts(void **state)
{
    cpt_err err;
    enum { N = 50, COLS = 70, GENES = 60 };
    float values[N * COLS];
    int32_t to_model[COLS], genes[GENES];
    float row[GENES], dense[GENES];
    cpt_counts c;
    for (int i = 0; i < N; i++) random_cell(values + i * COLS, COLS, (uint64_t)i);
    cpt_csr csr = dense_csr(values, N, COLS);
    for (int j = 0, next = 0; j < COLS; j++) to_model[j] = j % 7 == 6 ? -1 : (next++ * 17) % GENES;
    assert_ok(cpt_counts_init(&c, &csr, to_model, GENES, &err));
    assert_false(c.ascending);
    for (int i = 0; i < N; i++) {
        int32_t n = cpt_counts_row(&c, i, genes, row);
        memset(dense, 0, sizeof dense);
        for (int32_t k = 0; k < n; k++) {
            if (k) assert_true(genes[k] > genes[k - 1]);
            assert_true(row[k] != 0);
            dense[genes[k]] = row[k];
        }
        for (int j = 0; j < COLS; j++)
            if (to_model[j] >= 0) assert_near(dense[to_model[j]], values[i * COLS + j], 0);
    }
    to_model[5] = to_model[4];
    assert_int_equal(cpt_counts_init(&c, &csr, to_model, GENES, &err), CPT_ERR_DATA);
    assert_non_null(strstr(err.text, "columns 4 and 5"));
    to_model[5] = GENES;
    assert_int_equal(cpt_counts_init(&c, &csr, to_model, GENES, &err), CPT_ERR_USAGE);
    assert_int_equal(cpt_counts_init(&c, &csr, NULL, GENES, &err), CPT_ERR_USAGE);
    dense_free(&csr);
}

static void test_fixed(void **state)
{
    cpt_err err;
    const float values[6] = {1, 2, 3, NAN, 5, 6};
    const int64_t indptr[4] = {0};
    const cpt_csr csr = {3, 0, indptr, NULL, NULL};
    cpt_counts c = {.csr = &csr};
    cpt_model *m;
    float out[6];
    int64_t unusable;
    assert_ok(cpt_fixed_new(values, 3, 2, "X_pca", &m, &err));
    assert_false(cpt_model_has_counterfactuals(m));
    assert_string_equal(cpt_text_str(&m->description), "X_pca, 2 values per cell");
    assert_ok(cpt_model_embed_all(m, &c, out, &unusable, NULL, &err));
    assert_int_equal(unusable, 1);
    assert_near(out[1], 2, 0);
    assert_true(isnan(out[2]) && isnan(out[3]));
    assert_int_equal(m->ops->embed(m, &c, 2, 2, out, NULL, &err), CPT_ERR_DATA);
    cpt_model_free(m);
    assert_int_equal(cpt_fixed_new(values, 3, 0, "X", &m, &err), CPT_ERR_DATA);
    cpt_model_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_swaps_and_gradients),
        ON_FOLDER(test_golden_swaps_and_gradients, "test/golden/scvi"),
        cmocka_unit_test(test_singles_are_whole_forwards),
        cmocka_unit_test(test_gradient_by_differences),
        cmocka_unit_test(test_wrong_changes),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_fixed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

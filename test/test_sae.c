#include "sae_differences.h"

#include "base/cpu.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/random.h"
#include "dictionary/sae.h"
#include "dictionary/sae_train.h"
#include "io/checkpoint.h"

/* ---- golden steps of dictionary_learning and OpenAI ---- */

static cpt_sae_recipe openai_recipe(void)
{
    cpt_sae_recipe r = golden_recipe();
    r.decoder = CPT_SAE_DECODER_UNIT_FIRST;
    r.projection_eps = r.unit_eps = 0;
    r.loss = CPT_SAE_LOSS_FIXED;
    r.loss_scale = 0.880081057548523;
    r.aux_bias_gradient = true;
    r.fire_above = 1e-3;
    r.fired_step_counts = true;
    r.dead_after = 3 * BATCH + 1; /* more than 3 steps */
    r.adam_eps = 6.25e-10;
    r.clip = 0;
    return r;
}

static const names openai = {"encoder.weight", "latent_bias", "decoder.weight", "pre_bias"};

static void golden_topk(const char *folder, const char *name, double data_scale)
{
    cpt_checkpoint *data = open_golden(folder, "data"), *init = open_golden(folder, "topk");
    cpt_checkpoint *want = open_golden(folder, name);
    float x[STEPS * BATCH * DIM], median[DIM];
    double log[STEPS * 6];
    read_f32(data, "", "x", x);
    for (int i = 0; i < STEPS * BATCH * DIM; i++) x[i] *= (float)data_scale;
    read_log(want, "log_f64", log);

    cpt_training_rows rows = {x, DIM, BATCH, NULL};
    assert_ok(cpt_geometric_median(&rows, 1, 1, median, &err));
    compare(want, "step0.", "geometric_median", median, 1, DIM, DIM, false, 1e-6);
    cpt_sae_recipe r = golden_recipe();
    cpt_sae_trainer *t = start(&r, init, &learning, median, "init.num_tokens_since_fired", 1);
    for (int s = 0; s < STEPS; s++) {
        cpt_sae_step_report report;
        rows.a = x + s * BATCH * DIM;
        assert_ok(cpt_sae_step(t, &rows, NULL, BATCH, 1, K, r.learning_rate, NULL, &report, &err));
        const double *w = log + s * 6;
        assert_near(report.loss, w[0], 1e-5 * w[0]);
        assert_near(report.squared_error, w[1], 1e-5 * w[1]);
        assert_near(report.aux, w[2], 1e-5 * w[2]);
        assert_int_equal(report.n_dead, w[4]);
        assert_near(report.gradient_norm, w[5], 1e-5 * w[5]);
        if (s == 0) {
            compare_gradients(t, want, "step0.grad_projected.", &learning);
            compare_weights(t, want, "after1.", &learning, 1e-6);
            check_counters(t, want, "after1.num_tokens_since_fired", 1);
        }
    }
    compare_weights(t, want, "after5.", &learning, 2e-6);
    check_counters(t, want, "after5.num_tokens_since_fired", 1);
    cpt_sae_trainer_free(t);
    cpt_checkpoint_free(data);
    cpt_checkpoint_free(init);
    cpt_checkpoint_free(want);
}

static void test_golden_topk(void **state)
{
    NEED_GOLDEN(folder, "golden/sae");
    golden_topk(folder, "topk", 1);
}

/* Gradients below the clip. */
static void test_golden_topk_small(void **state)
{
    NEED_GOLDEN(folder, "golden/sae");
    golden_topk(folder, "topk_small", 0.1);
}

/* The selection, the reconstruction and the gradient before projection, of the first step. */
static void test_golden_first_step(void **state)
{
    NEED_GOLDEN(folder, "golden/sae");
    cpt_checkpoint *data = open_golden(folder, "data"), *want = open_golden(folder, "topk");
    float x[STEPS * BATCH * DIM], median[DIM], values[BATCH * K], x_hat[BATCH * DIM];
    int64_t index[BATCH * K];
    read_f32(data, "", "x", x);
    read_f32(want, "step0.", "geometric_median", median);
    read_f32(want, "step0.", "topk_value", values);
    assert_ok(cpt_tensor_read_i64(cpt_checkpoint_find(want, "step0.topk_index"), index, &err));
    cpt_sae_recipe r = golden_recipe();
    r.decoder = CPT_SAE_DECODER_FREE;
    cpt_sae_trainer *t = start(&r, want, &learning, median, "init.num_tokens_since_fired", 1);
    cpt_training_rows rows = {x, DIM, BATCH, NULL};
    cpt_sae_step_report report;
    assert_ok(cpt_sae_step(t, &rows, NULL, BATCH, 1, K, r.learning_rate, NULL, &report, &err));
    compare_gradients(t, want, "step0.grad.", &learning);
    for (int i = 0; i < BATCH; i++) {
        assert_int_equal(t->active.counts[i], K);
        for (int j = 0; j < K; j++) { /* theirs is sorted by value, ours by latent */
            int at = 0;
            while (at < K && t->active.latents[i * K + at] != index[i * K + j]) at++;
            assert_true(at < K);
            assert_near(t->active.values[i * K + at], values[i * K + j], 2e-6);
        }
        for (int j = 0; j < DIM; j++)
            x_hat[i * DIM + j] = x[i * DIM + j] + t->error[i * t->stride + j];
    }
    compare(want, "step0.", "x_hat", x_hat, BATCH, DIM, DIM, false, 5e-6);
    cpt_sae_trainer_free(t);
    cpt_checkpoint_free(data);
    cpt_checkpoint_free(want);
}

static void test_golden_openai(void **state)
{
    NEED_SHARED(folder, "golden/sae");
    cpt_checkpoint *data = open_golden(folder, "data");
    cpt_checkpoint *shipped = open_golden(folder, "openai_as_shipped");
    cpt_checkpoint *want = open_golden(folder, "openai_zero_grad");
    float x[STEPS * BATCH * DIM], bias[DIM];
    double losses[STEPS * 3];
    read_f32(data, "", "x", x);
    read_f32(shipped, "", "init.pre_bias", bias);
    read_log(want, "loss_parts", losses);
    cpt_sae_recipe r = openai_recipe();
    cpt_sae_trainer *t = start(&r, shipped, &openai, bias, "init.stats_last_nonzero", 1);
    cpt_training_rows rows = {x, DIM, BATCH, NULL};
    for (int s = 0; s < STEPS; s++) {
        cpt_sae_step_report report;
        rows.a = x + s * BATCH * DIM;
        assert_ok(cpt_sae_step(t, &rows, NULL, BATCH, 1, K, r.learning_rate, NULL, &report, &err));
        assert_near(report.loss, losses[s * 3], 1e-5 * losses[s * 3]);
        assert_near(report.main_loss, losses[s * 3 + 1], 1e-5 * losses[s * 3 + 1]);
        assert_near(report.aux, losses[s * 3 + 2], 1e-5 * losses[s * 3 + 2]);
        if (s == 0) {
            compare_gradients(t, shipped, "step0.grad_projected.", &openai);
            compare_weights(t, shipped, "after1.", &openai, 1e-6);
            check_counters(t, shipped, "step0.stats_last_nonzero", BATCH);
        }
    }
    compare_weights(t, want, "after5.", &openai, 2e-6);
    check_counters(t, want, "after5.stats_last_nonzero", BATCH);
    cpt_sae_trainer_free(t);
    cpt_checkpoint_free(data);
    cpt_checkpoint_free(shipped);
    cpt_checkpoint_free(want);
}

static void test_schedule(void **state)
{
    cpt_sae_recipe r = {.warm_up = 0.25, .decay = 0.25, .k = 5, .k_start = 20, .k_anneal = 0.5};
    assert_near(cpt_sae_schedule(&r, 0, 100), 1.0 / 25, 1e-12);
    assert_near(cpt_sae_schedule(&r, 24, 100), 1, 0);
    assert_near(cpt_sae_schedule(&r, 75, 100), 1, 0);
    assert_near(cpt_sae_schedule(&r, 99, 100), 1.0 / 25, 1e-12);
    assert_int_equal(cpt_sae_k_at(&r, 0, 100), 20);
    assert_int_equal(cpt_sae_k_at(&r, 49, 100), 5);
    assert_int_equal(cpt_sae_k_at(&r, 99, 100), 5);
    for (int s = 1; s < 100; s++)
        assert_true(cpt_sae_k_at(&r, s, 100) <= cpt_sae_k_at(&r, s - 1, 100));
    r.warm_up = r.decay = 0;
    r.k_start = 0;
    assert_near(cpt_sae_schedule(&r, 99, 100), 1, 0);
    assert_int_equal(cpt_sae_k_at(&r, 0, 100), 5);
}

/* ---- gradients of every recipe against central differences of the loss ---- */

static void check_finite_differences(cpt_sae_decoder decoder, cpt_sae_loss loss, cpt_sae_bias bias)
{
    cpt_sae_recipe r = golden_recipe();
    r.decoder = decoder;
    r.loss = loss;
    r.loss_scale = 0.7;
    r.bias = bias;
    check_differences_of(r, 12, 4);
}

static void test_finite_differences(void **state)
{
    check_finite_differences(CPT_SAE_DECODER_FREE, CPT_SAE_LOSS_SUM, CPT_SAE_BIAS_MEDIAN);
    check_finite_differences(CPT_SAE_DECODER_FREE, CPT_SAE_LOSS_FVU, CPT_SAE_BIAS_MEDIAN);
    check_finite_differences(CPT_SAE_DECODER_FREE, CPT_SAE_LOSS_FIXED, CPT_SAE_BIAS_ZERO);
    check_finite_differences(CPT_SAE_DECODER_IN_FORWARD, CPT_SAE_LOSS_MEAN, CPT_SAE_BIAS_ABSENT);
    check_finite_differences(CPT_SAE_DECODER_RESCALED, CPT_SAE_LOSS_SUM, CPT_SAE_BIAS_ZERO);
}

/* ---- whole training ---- */

enum { CELLS = 1200, CELL_DIM = 10, TOPICS = 16 };
static float cells[CELLS * CELL_DIM];
static int64_t all_rows[CELLS];

/* Cells made of 2 of 16 directions each, off centre, with a little noise. */
static void make_cells(void)
{
    float topics[TOPICS * CELL_DIM];
    fill_normal(topics, TOPICS * CELL_DIM, 100);
    fill_normal(cells, CELLS * CELL_DIM, 101);
    cpt_stream s;
    cpt_stream_init(&s, 12, CPT_RANDOM_TEST, 102);
    for (int i = 0; i < CELLS; i++) {
        all_rows[i] = i;
        for (int j = 0; j < CELL_DIM; j++) cells[i * CELL_DIM + j] = 0.1f * cells[i * CELL_DIM + j] + 3;
        for (int m = 0; m < 2; m++) {
            int topic = (int)cpt_stream_below(&s, TOPICS);
            float amount = (float)(1 + cpt_stream_uniform(&s));
            for (int j = 0; j < CELL_DIM; j++)
                cells[i * CELL_DIM + j] += amount * topics[topic * CELL_DIM + j];
        }
    }
}

static cpt_dictionary *train(const char *preset, bool ema, int n_threads, uint64_t seed,
                             cpt_dictionary_report *report)
{
    cpt_context ctx;
    cpt_context_init(&ctx);
    ctx.n_threads = n_threads;
    ctx.seed = seed;
    cpt_dictionary_options o;
    cpt_dictionary_options_init(&o);
    o.preset = preset;
    o.ema = ema;
    o.epochs = 125;
    o.n_concepts = 64;
    o.k = 4;
    cpt_dictionary *d = NULL;
    assert_ok(cpt_dictionary_train(&o, cells, CELL_DIM, 1000, all_rows, 200, all_rows + 1000, &d,
                                   report, &ctx, &err));
    return d;
}

static void check_unit_rows(const cpt_dictionary *d)
{
    for (int c = 0; c < d->n_concepts; c++) {
        double sum = 0;
        for (int j = 0; j < d->dim; j++)
            sum += (double)d->decoder[c * d->dim + j] * d->decoder[c * d->dim + j];
        assert_near(sqrt(sum), 1, 1e-6);
    }
}

static void test_training(void **state)
{
    cpt_dictionary_report report;
    cpt_dictionary *d = train(NULL, false, 1, 1, &report);
    assert_int_equal(d->n_concepts, 64);
    assert_int_equal(d->dim, CELL_DIM);
    assert_int_equal(d->max_active, 4);
    assert_int_equal(report.n_steps, 1000);
    assert_int_equal(report.train.n, 1000);
    assert_int_equal(report.validation.n, 200);
    assert_true(report.validation.r2_feature > 0.9);
    assert_true(report.train.r2_feature > 0.9);
    assert_true(report.validation.r2_scalar >= report.validation.r2_feature);
    assert_near(report.validation.fvu, 1 - report.validation.r2_feature, 1e-12);
    assert_true(report.train.l0 > 1 && report.train.l0 <= 4);
    assert_true(report.train.dead_fraction <= 0.05);
    assert_true(report.mean_baseline_feature <= 0 && report.mean_baseline_feature > -0.1);
    assert_true(report.gamma > 0);
    assert_true(report.final_loss > 0);
    assert_non_null(strstr(report.log.bytes, "step\tloss\tfvu\taux\tdead\n"));
    check_unit_rows(d);
    cpt_dictionary_free(d);
    cpt_dictionary_report_free(&report);
}

static void test_presets(void **state)
{
    static const char *const presets[] = {"overcomplete", "openai", "sae-lens"};
    for (int p = 0; p < 3; p++) {
        cpt_dictionary_report report;
        cpt_dictionary *d = train(presets[p], false, 1, 1, &report);
        check_unit_rows(d);
        if (!(report.validation.r2_feature > 0.3))
            fail_msg("%s: R2 %g", presets[p], report.validation.r2_feature);
        cpt_dictionary_free(d);
        cpt_dictionary_report_free(&report);
    }
}

static void check_same(const cpt_dictionary *a, const cpt_dictionary *b)
{
    const cpt_sae *x = (const cpt_sae *)a, *y = (const cpt_sae *)b;
    size_t n = (size_t)a->n_concepts * (size_t)a->dim;
    assert_int_equal(a->n_concepts, b->n_concepts);
    assert_int_equal(a->dim, b->dim);
    assert_int_equal(a->max_active, b->max_active);
    assert_int_equal(x->subtract_bias, y->subtract_bias);
    assert_string_equal(a->ops->kind, b->ops->kind);
    assert_memory_equal(x->w_enc, y->w_enc, n * sizeof(float));
    assert_memory_equal(x->w_dec, y->w_dec, n * sizeof(float));
    assert_memory_equal(x->b_enc, y->b_enc, (size_t)a->n_concepts * sizeof(float));
    assert_memory_equal(x->b_dec, y->b_dec, (size_t)a->dim * sizeof(float));
}

static void test_same_bytes_for_any_threads(void **state)
{
    cpt_dictionary_report r1, r3;
    cpt_dictionary *one = train(NULL, true, 1, 7, &r1), *three = train(NULL, true, 3, 7, &r3);
    check_same(one, three);
    assert_memory_equal(&r1.train, &r3.train, sizeof r1.train);
    assert_string_equal(r1.log.bytes, r3.log.bytes);
    cpt_dictionary_report r2;
    cpt_dictionary *other = train(NULL, true, 1, 8, &r2);
    assert_memory_not_equal(one->decoder, other->decoder, 64);
    cpt_dictionary_free(one);
    cpt_dictionary_free(three);
    cpt_dictionary_free(other);
    cpt_dictionary_report_free(&r1);
    cpt_dictionary_report_free(&r2);
    cpt_dictionary_report_free(&r3);
}

/* Large enough that a step is spread over threads, with the auxiliary loss at work. */
static void test_threads_inside_a_step(void **state)
{
    enum { N = 700, D = 40, BIG = 300 };
    static float x[N * D];
    fill_normal(x, N * D, 200);
    cpt_training_rows rows = {x, D, N, NULL};
    cpt_sae_recipe r = golden_recipe();
    r.n_concepts = BIG;
    r.init = CPT_SAE_INIT_SPHERE;
    r.decoder_norm = 1;
    r.dead_after = 800;
    cpt_sae_trainer *t[2];
    for (int which = 0; which < 2; which++) {
        cpt_sae_step_report report;
        assert_ok(cpt_sae_trainer_new(&r, D, N, which ? 3 : 1, &t[which], &err));
        assert_ok(cpt_sae_initialise(t[which], &rows, 1, 3, &err));
        for (int c = 0; c < BIG; c += 3) t[which]->b_enc[c] = -9; /* never fires */
        for (int s = 0; s < 4; s++)
            assert_ok(cpt_sae_step(t[which], &rows, NULL, N, 1, K, 1e-3, NULL, &report, &err));
        assert_int_equal(report.n_dead, BIG / 3);
    }
    size_t bytes = BIG * (size_t)t[0]->stride * sizeof(float);
    assert_memory_equal(t[0]->w_enc, t[1]->w_enc, bytes);
    assert_memory_equal(t[0]->w_dec, t[1]->w_dec, bytes);
    assert_memory_equal(t[0]->b_dec, t[1]->b_dec, D * sizeof(float));
    cpt_sae_trainer_free(t[0]);
    cpt_sae_trainer_free(t[1]);
}

/* Steps of a wide dictionary by strips, with the choice by screening or in the product, in one thread and three, against
 * those that go row by row: the same losses, and the same bytes for any number of threads. */
static void check_strips(const cpt_sae_recipe *r)
{
    enum { N = 400, D = 200, BIG = 700, WIDE_K = 9, ROUNDS = 6 };
    static float x[N * D], row_error[2][N];
    fill_normal(x, N * D, 300);
    for (int i = 0; i < N * D; i++) x[i] += 0.5f;
    const cpt_training_rows rows = {x, D, N, NULL};
    cpt_sae_trainer *t[3]; /* strips in 1 and in 3 threads, rows */
    cpt_sae_step_report report[3];
    for (int which = 0; which < 3; which++) {
        assert_ok(cpt_sae_trainer_new(r, D, N, which == 1 ? 3 : 1, &t[which], &err));
        assert_ok(cpt_sae_initialise(t[which], &rows, 1, 3, &err));
        for (int c = 0; c < BIG; c += 5) t[which]->b_enc[c] = -9; /* never fires */
        assert_true(t[which]->strips && t[which]->fused);
        t[which]->screened = which < 2 && t[which]->may_screen;
        if (which == 2) t[which]->strips = t[which]->fused = false;
    }
    for (int round = 0; round < ROUNDS; round++) {
        assert_int_equal(t[0]->screened, t[0]->may_screen); /* no row was too much */
        for (int which = 0; which < 3; which++)
            assert_ok(cpt_sae_step(t[which], &rows, NULL, N - round, 1, WIDE_K, 1e-3, row_error[which == 2],
                                   &report[which], &err));
        assert_near(report[0].loss, report[2].loss, 2e-6 * report[2].loss);
        assert_near(report[0].gradient_norm, report[2].gradient_norm, 1e-5 * report[2].gradient_norm);
        assert_int_equal(report[0].n_dead, report[2].n_dead);
        for (int i = 0; i < N - round; i++)
            assert_near((double)row_error[0][i], (double)row_error[1][i], 1e-4 * (double)row_error[1][i]);
    }
    const size_t bytes = BIG * (size_t)t[0]->stride * sizeof(float);
    assert_memory_equal(t[0]->w_enc, t[1]->w_enc, bytes);
    assert_memory_equal(t[0]->w_dec, t[1]->w_dec, bytes);
    assert_memory_equal(t[0]->b_dec, t[1]->b_dec, D * sizeof(float));
    for (int which = 0; which < 3; which++) cpt_sae_trainer_free(t[which]);
}

static void test_strips_against_rows(void **state)
{
    const cpt_sae_decoder decoders[] = {CPT_SAE_DECODER_UNIT, CPT_SAE_DECODER_UNIT_FIRST, CPT_SAE_DECODER_RESCALED,
                                        CPT_SAE_DECODER_IN_FORWARD};
    for (int level = 0; level <= cpt_cpu_best(); level++) {
        setenv("CONCEPTOME_CPU", cpt_cpu_level_name(level), 1);
        for (int i = 0; i < 4; i++) {
            if (level < cpt_cpu_best() && i > 0) continue;
            cpt_sae_recipe r = golden_recipe();
            r.n_concepts = 700;
            r.k = 9;
            r.init = CPT_SAE_INIT_SPHERE;
            r.decoder_norm = 1;
            r.dead_after = 500;
            r.decoder = decoders[i];
            r.aux = i == 2 ? CPT_SAE_AUX_SUM : i == 3 ? CPT_SAE_AUX_NONE : CPT_SAE_AUX_NORMALISED;
            check_strips(&r);
        }
    }
    unsetenv("CONCEPTOME_CPU");
}

/* The encoder in two bfloat16 parts and in one: the loss of the first step to 4 and to 2 digits. */
static void test_encoder_precision(void **state)
{
    enum { N = 300, D = 160, BIG = 600 };
    static float x[N * D];
    fill_normal(x, N * D, 400);
    const cpt_training_rows rows = {x, D, N, NULL};
    double loss[3];
    for (int precision = 0; precision < 3; precision++) {
        cpt_sae_recipe r = golden_recipe();
        r.n_concepts = BIG;
        r.init = CPT_SAE_INIT_SPHERE;
        r.decoder_norm = 1;
        r.encoder = precision;
        cpt_sae_trainer *t;
        cpt_sae_step_report report;
        assert_ok(cpt_sae_trainer_new(&r, D, N, 2, &t, &err));
        assert_ok(cpt_sae_initialise(t, &rows, 1, 3, &err));
        assert_ok(cpt_sae_step(t, &rows, NULL, N, 1, K, 1e-3, NULL, &report, &err));
        loss[precision] = report.loss;
        cpt_sae_trainer_free(t);
    }
    assert_near(loss[1], loss[0], 1e-4 * loss[0]);
    assert_near(loss[2], loss[0], 1e-2 * loss[0]);
    assert_true(loss[2] != loss[0]);
}

/* Latents that can never fire come back, and their moments are forgotten. */
static void test_revival(void **state)
{
    for (int kind = CPT_SAE_REVIVE_INPUT; kind <= CPT_SAE_REVIVE_RESIDUAL; kind++) {
        cpt_sae_recipe r = golden_recipe();
        r.n_concepts = 40;
        r.init = CPT_SAE_INIT_CELLS;
        r.decoder_norm = 1;
        r.revive = kind;
        r.revive_encoder = 1;
        r.dead_after = CELLS;
        cpt_training_rows rows = {cells, CELL_DIM, CELLS, NULL};
        cpt_sae_trainer *t;
        static float row_error[CELLS];
        cpt_sae_step_report report;
        int64_t n_revived;
        assert_ok(cpt_sae_trainer_new(&r, CELL_DIM, CELLS, 1, &t, &err));
        assert_ok(cpt_sae_initialise(t, &rows, 1, 3, &err));
        for (int c = 0; c < 10; c++) t->b_enc[c] = -1e4f;
        assert_ok(cpt_sae_step(t, &rows, NULL, CELLS, 1, K, 1e-3, row_error, &report, &err));
        assert_true(report.n_dead >= 10);
        int32_t n_dead = report.n_dead;
        double sum = 0;
        for (int i = 0; i < CELLS; i++) sum += row_error[i];
        assert_near(sum / CELLS, report.squared_error, 1e-4 * report.squared_error);
        assert_ok(cpt_sae_revive_dead(t, &rows, 1, row_error, 3, &n_revived, &err));
        assert_int_equal(n_revived, n_dead);
        assert_near(t->b_enc[0], 0, 0);
        assert_near(t->m_w_enc.mean[0], 0, 0);
        assert_int_equal(t->since[0], 0);
        assert_ok(cpt_sae_step(t, &rows, NULL, CELLS, 1, K, 1e-3, row_error, &report, &err));
        assert_true(report.n_dead < n_dead);
        cpt_sae_trainer_free(t);
    }
}

/* ---- encode, decode, readout, gradient ---- */

static void test_object(void **state)
{
    cpt_dictionary_report report;
    cpt_dictionary *d = train(NULL, false, 1, 1, &report);
    const cpt_sae *s = (const cpt_sae *)d;
    enum { N = 150 };
    int32_t counts[N], concepts[N * 4];
    float values[N * 4], decoded[N * CELL_DIM], activation[N], pre[N], only[N], g[CELL_DIM];
    assert_ok(d->ops->encode(d, N, cells, counts, concepts, values, &err));
    d->ops->decode(d, N, counts, concepts, values, decoded);
    for (int i = 0; i < N; i++) {
        assert_true(counts[i] >= 0 && counts[i] <= 4);
        for (int j = 0; j < counts[i]; j++) {
            assert_true(values[i * 4 + j] > 0);
            if (j) assert_true(concepts[i * 4 + j] > concepts[i * 4 + j - 1]);
        }
    }
    for (int c = 0; c < d->n_concepts; c++) {
        assert_ok(d->ops->readout(d, c, N, cells, activation, pre, &err));
        assert_ok(d->ops->readout(d, c, N, cells, NULL, only, &err));
        for (int i = 0; i < N; i++) {
            float want = 0;
            for (int j = 0; j < counts[i]; j++)
                if (concepts[i * 4 + j] == c) want = values[i * 4 + j];
            assert_near(activation[i], want, 1e-5);
            assert_near(pre[i], only[i], 1e-4);
        }
    }
    d->ops->gradient(d, 5, cells, g);
    for (int j = 0; j < CELL_DIM; j++) { /* h is affine, so one difference is exact */
        float moved[CELL_DIM];
        memcpy(moved, cells, sizeof moved);
        moved[j] += 1;
        assert_ok(d->ops->readout(d, 5, 1, cells, NULL, pre, &err));
        assert_ok(d->ops->readout(d, 5, 1, moved, NULL, pre + 1, &err));
        assert_near(g[j], pre[1] - pre[0], 2e-5);
    }
    /* decode is linear: bias + sum */
    double x = s->b_dec[3];
    for (int j = 0; j < counts[9]; j++)
        x += (double)values[9 * 4 + j] * d->decoder[concepts[9 * 4 + j] * CELL_DIM + 3];
    assert_near(decoded[9 * CELL_DIM + 3], x, 1e-5);
    cpt_dictionary_free(d);
    cpt_dictionary_report_free(&report);
}

/* Scores by hand on a dictionary that keeps the larger of two coordinates. */
static void test_scores(void **state)
{
    cpt_sae *s;
    assert_ok(cpt_sae_new("topk", 2, 2, 1, &s, &err));
    s->w_enc[0] = s->w_enc[3] = s->w_dec[0] = s->w_dec[3] = 1;
    const float a[] = {3, 1, 2, 0, 4, 2};
    cpt_reconstruction r;
    assert_ok(cpt_reconstruction_score(&s->base, a, 3, NULL, NULL, &r, NULL, &err));
    /* error 1 + 0 + 4; around means (3, 1): 0 + 1 + 1, 0 + 1 + 1; around 2: 1+1+0+4+4+0 */
    assert_near(r.r2_feature, 1 - 5.0 / 4, 1e-12);
    assert_near(r.r2_scalar, 1 - 5.0 / 10, 1e-12);
    assert_near(r.cosine, (3 / sqrt(10) + 1 + 4 / sqrt(20)) / 3, 1e-7);
    assert_near(r.l0, 1, 0);
    assert_near(r.dead_fraction, 0.5, 0);
    const int64_t rows[] = {1};
    const float means[] = {1, 1};
    assert_ok(cpt_reconstruction_score(&s->base, a, 1, rows, means, &r, NULL, &err));
    assert_near(r.r2_feature, 1, 0);
    assert_ok(cpt_reconstruction_score(&s->base, a, 0, NULL, NULL, &r, NULL, &err));
    assert_true(isnan(r.r2_feature));
    cpt_dictionary_free(&s->base);
}

/* ---- files ---- */

static char folder_name[64];

static const char *temporary_folder(void)
{
    snprintf(folder_name, sizeof folder_name, "/tmp/conceptome-test-sae-%d", (int)getpid());
    cpt_remove_tree(folder_name, &err);
    return folder_name;
}

static void write_text(const char *folder, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_ok(cpt_write_file(path, text, strlen(text), &err));
}

static void test_round_trip(void **state)
{
    const char *folder = temporary_folder();
    cpt_dictionary_report report;
    cpt_dictionary *d = train(NULL, false, 1, 1, &report), *back;
    assert_ok(d->ops->save(d, folder, &err));
    assert_ok(cpt_dictionary_open(folder, &back, &err));
    check_same(d, back);
    cpt_dictionary_free(d);
    cpt_dictionary_free(back);
    cpt_dictionary_report_free(&report);

    cpt_dictionary_options o;
    cpt_dictionary_options_init(&o);
    o.kind = "random";
    assert_ok(cpt_dictionary_train(&o, cells, CELL_DIM, 1000, all_rows, 0, NULL, &d, &report, NULL, &err));
    check_unit_rows(d);
    assert_ok(d->ops->save(d, folder, &err));
    assert_ok(cpt_dictionary_open(folder, &back, &err));
    assert_string_equal(back->ops->kind, "random");
    check_same(d, back);
    cpt_dictionary_free(d);
    cpt_dictionary_free(back);
    cpt_dictionary_report_free(&report);
    assert_ok(cpt_remove_tree(folder, &err));
}

/* Selection and output of a folder whose decoder norms are still to be multiplied in. */
static void test_rescaled_folder(void **state)
{
    const char *folder = temporary_folder();
    cpt_sae *s;
    cpt_dictionary *d;
    assert_ok(cpt_sae_new("topk", 3, 2, 1, &s, &err));
    const float w_enc[] = {1, 0, 0, 1, 1, 1}, w_dec[] = {4, 0, 0, 0.5f, 1, 1};
    memcpy(s->w_enc, w_enc, sizeof w_enc);
    memcpy(s->w_dec, w_dec, sizeof w_dec);
    assert_ok(s->base.ops->save(&s->base, folder, &err));
    write_text(folder, "cfg.json", "{\"architecture\":\"topk\",\"d_in\":2,\"d_sae\":3,\"k\":1,"
               "\"rescale_acts_by_decoder_norm\":true,\"apply_b_dec_to_input\":false}");
    assert_ok(cpt_dictionary_open(folder, &d, &err));
    const float a[] = {1, 2}; /* scaled pre-activations 4, 1, 3 sqrt 2 */
    int32_t count, concept;
    float value, decoded[2];
    assert_ok(d->ops->encode(d, 1, a, &count, &concept, &value, &err));
    d->ops->decode(d, 1, &count, &concept, &value, decoded);
    assert_int_equal(count, 1);
    assert_int_equal(concept, 2);
    assert_near(value, 3 * sqrt(2), 1e-6);
    assert_near(decoded[0], 3, 1e-6);
    cpt_dictionary_free(d);
    cpt_dictionary_free(&s->base);
    assert_ok(cpt_remove_tree(folder, &err));
}

static void refuse(const char *folder, cpt_status code, const char *part)
{
    cpt_dictionary *d;
    cpt_status status = cpt_dictionary_open(folder, &d, &err);
    if (status != code || !strstr(err.text, part) || !strstr(err.text, folder))
        fail_msg("got %d '%s', want %d with '%s'", status, err.text, code, part);
    assert_null(d);
}

static void test_refused_folders(void **state)
{
    const char *folder = temporary_folder();
    refuse(folder, CPT_ERR_IO, "not a folder");
    cpt_sae *s;
    assert_ok(cpt_sae_new("topk", 3, 2, 1, &s, &err));
    assert_ok(s->base.ops->save(&s->base, folder, &err));
    static const struct {
        const char *cfg;
        cpt_status code;
        const char *part;
    } cases[] = {
        {"", CPT_ERR_FORMAT, "line"},
        {"[1]", CPT_ERR_FORMAT, "not a JSON object"},
        {"{\"d_in\":2}", CPT_ERR_FORMAT, "architecture"},
        {"{\"architecture\":\"gated\"}", CPT_ERR_UNSUPPORTED, "gated"},
        {"{\"architecture\":\"jumprelu\",\"d_in\":2,\"d_sae\":3}", CPT_ERR_FORMAT, "threshold"},
        {"{\"architecture\":\"topk\",\"d_in\":2,\"d_in\":2}", CPT_ERR_FORMAT, "duplicate"},
        {"{\"architecture\":\"topk\",\"d_in\":2,\"d_sae\":3}", CPT_ERR_FORMAT, "'k'"},
        {"{\"architecture\":\"topk\",\"d_in\":2,\"d_sae\":3,\"k\":4}", CPT_ERR_FORMAT, "'k'"},
        {"{\"architecture\":\"topk\",\"d_in\":0,\"d_sae\":3,\"k\":1}", CPT_ERR_FORMAT, "d_in"},
        {"{\"architecture\":\"topk\",\"d_in\":\"2\",\"d_sae\":3,\"k\":1}", CPT_ERR_FORMAT, "d_in"},
        {"{\"architecture\":\"topk\",\"d_in\":1000000,\"d_sae\":2000000000,\"k\":1}", CPT_ERR_FORMAT,
         "W_enc"},
        {"{\"architecture\":\"topk\",\"d_in\":3,\"d_sae\":2,\"k\":1}", CPT_ERR_FORMAT, "W_enc"},
        {"{\"architecture\":\"topk\",\"d_in\":2,\"d_sae\":3,\"k\":1,\"apply_b_dec_to_input\":1}",
         CPT_ERR_FORMAT, "apply_b_dec_to_input"},
        {"{\"architecture\":\"topk\",\"d_in\":2,\"d_sae\":3,\"k\":1,"
         "\"normalize_activations\":\"layer_norm\"}", CPT_ERR_UNSUPPORTED, "layer_norm"},
        {"{\"architecture\":\"conceptome-neurons\",\"d_in\":5,\"d_sae\":9}", CPT_ERR_FORMAT, "d_sae"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_text(folder, "cfg.json", cases[i].cfg);
        refuse(folder, cases[i].code, cases[i].part);
    }
    s->b_enc[1] = NAN;
    assert_ok(s->base.ops->save(&s->base, folder, &err));
    refuse(folder, CPT_ERR_FORMAT, "b_enc is not finite at element 1");
    write_text(folder, "sae_weights.safetensors", "<!DOCTYPE html>");
    refuse(folder, CPT_ERR_FORMAT, "sae_weights.safetensors");
    cpt_dictionary_free(&s->base);
    assert_ok(cpt_remove_tree(folder, &err));
}

/* ---- wrong input and small sets ---- */

static void refuse_training(cpt_dictionary_options o, const float *a, int32_t dim, int64_t n,
                            cpt_status code, const char *part)
{
    cpt_dictionary *d;
    cpt_dictionary_report report;
    cpt_status status = cpt_dictionary_train(&o, a, dim, n, all_rows, 0, NULL, &d, &report, NULL, &err);
    if (status != code || !strstr(err.text, part))
        fail_msg("got %d '%s', want %d with '%s'", status, err.text, code, part);
    assert_null(d);
}

static void test_refused_training(void **state)
{
    cpt_dictionary_options o;
    cpt_dictionary_options_init(&o);
    o.kind = "topkk";
    refuse_training(o, cells, CELL_DIM, 100, CPT_ERR_USAGE, "did you mean topk");
    cpt_dictionary_options_init(&o);
    o.preset = "openal";
    refuse_training(o, cells, CELL_DIM, 100, CPT_ERR_USAGE, "presets: overcomplete");
    cpt_dictionary_options_init(&o);
    o.k = 200;
    refuse_training(o, cells, CELL_DIM, 100, CPT_ERR_USAGE, "k = 200");
    o.k = -1;
    refuse_training(o, cells, CELL_DIM, 100, CPT_ERR_USAGE, "negative");
    cpt_dictionary_options_init(&o);
    o.expansion = 1 << 30;
    refuse_training(o, cells, CELL_DIM, 100, CPT_ERR_USAGE, "expansion");
    cpt_dictionary_options_init(&o);
    refuse_training(o, cells, CELL_DIM, 0, CPT_ERR_DATA, "no cells");
    float bad[30];
    memcpy(bad, cells, sizeof bad);
    bad[27] = NAN;
    refuse_training(o, bad, CELL_DIM, 3, CPT_ERR_DATA, "row 2, counted from 0) is not finite at coordinate 7");
}

static void train_tiny(const float *a, int32_t dim, int64_t n)
{
    cpt_dictionary_options o;
    cpt_dictionary_options_init(&o);
    o.epochs = 30;
    cpt_dictionary *d;
    cpt_dictionary_report report;
    assert_ok(cpt_dictionary_train(&o, a, dim, n, all_rows, 0, NULL, &d, &report, NULL, &err));
    assert_true(isnan(report.validation.r2_feature));
    assert_true(isfinite(report.train.r2_feature));
    for (int64_t i = 0; i < (int64_t)d->n_concepts * dim; i++) assert_true(isfinite(d->decoder[i]));
    cpt_dictionary_free(d);
    cpt_dictionary_report_free(&report);
}

static void test_tiny_sets(void **state)
{
    static float same[50 * 4];
    for (int i = 0; i < 200; i++) same[i] = 2.5f;
    train_tiny(cells, CELL_DIM, 1);
    train_tiny(cells, CELL_DIM, 2);
    train_tiny(cells, CELL_DIM, 33);
    train_tiny(cells, 1, 40);
    train_tiny(same, 4, 50);
    for (int i = 0; i < 200; i++) same[i] = (i % 7 ? 1.0f : -2.0f) * 1e18f;
    train_tiny(same, 4, 50);
    for (int i = 0; i < 200; i++) same[i] = (i % 7 ? 1.0f : -2.0f) * 1e-18f;
    train_tiny(same, 4, 50);
}

static void test_stop(void **state)
{
    volatile int stop = 1;
    cpt_context ctx;
    cpt_context_init(&ctx);
    ctx.stop = &stop;
    cpt_dictionary_options o;
    cpt_dictionary_options_init(&o);
    cpt_dictionary *d;
    cpt_dictionary_report report;
    assert_int_equal(cpt_dictionary_train(&o, cells, CELL_DIM, 1000, all_rows, 0, NULL, &d, &report, &ctx,
                                          &err), CPT_ERR_INTERRUPTED);
    assert_null(d);
}

static int setup(void **state)
{
    make_cells();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_topk),
        ON_FOLDER(test_golden_topk, "test/golden/sae"),
        cmocka_unit_test(test_golden_topk_small),
        ON_FOLDER(test_golden_topk_small, "test/golden/sae"),
        cmocka_unit_test(test_golden_first_step),
        ON_FOLDER(test_golden_first_step, "test/golden/sae"),
        cmocka_unit_test(test_golden_openai),
        cmocka_unit_test(test_schedule),
        cmocka_unit_test(test_finite_differences),
        cmocka_unit_test(test_training),
        cmocka_unit_test(test_presets),
        cmocka_unit_test(test_same_bytes_for_any_threads),
        cmocka_unit_test(test_threads_inside_a_step),
        cmocka_unit_test(test_revival),
        cmocka_unit_test(test_object),
        cmocka_unit_test(test_scores),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_rescaled_folder),
        cmocka_unit_test(test_refused_folders),
        cmocka_unit_test(test_refused_training),
        cmocka_unit_test(test_tiny_sets),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_strips_against_rows),
        cmocka_unit_test(test_encoder_precision),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}

/* Training of scVI: against the real trainer's steps (golden/scvi), against central differences of an
 * independent forward pass in double, and as a whole on simulated cells. */
#include "check.h"

#include "base/memory.h"
#include "base/random.h"
#include "scvi_golden.h"

/* ---- the golden steps ---- */

/* The parameter that a scvi-tools key names, transposed where the file's is. */
static void check_parameter(const cpt_scvi *m, const float *block, const cpt_checkpoint *c,
                            const char *stage, const char *key, const float *parameter,
                            int32_t rows, int32_t cols, bool transposed, double tolerance)
{
    char name[256];
    snprintf(name, sizeof name, "%s.%s", stage, key);
    float *want = golden_f32(c, name);
    const float *got = block + (parameter - m->parameters);
    for (int32_t i = 0; i < rows; i++)
        for (int32_t j = 0; j < cols; j++) {
            double w = want[(int64_t)i * cols + j];
            double g = transposed ? got[(int64_t)j * rows + i] : got[(int64_t)i * cols + j];
            if (fabs(g - w) > tolerance) fail_msg("%s[%d][%d] = %.9g, want %.9g", name, i, j, g, w);
        }
    free(want);
}

static void check_all(const cpt_scvi *m, const float *block, const cpt_checkpoint *c, const char *stage,
                      double tolerance)
{
    const int32_t h = m->shape.n_hidden, l = m->shape.n_latent, g = m->shape.n_genes;
    char key[200];
#define CHECK(name, pointer, rows, cols, transposed)                                               \
    check_parameter(m, block, c, stage, name, pointer, rows, cols, transposed, tolerance)
    for (int side = 0; side < 2; side++)
        for (int32_t i = 0; i < m->shape.n_layers; i++) {
            const scvi_layer *layer = side ? &m->decoder[i] : &m->encoder[i];
            const char *stem = side ? "decoder.px_decoder" : "z_encoder.encoder";
            snprintf(key, sizeof key, "%s.fc_layers.Layer %d.0.weight", stem, i);
            CHECK(key, layer->weight, layer->n_out, layer->n_in, true);
            snprintf(key, sizeof key, "%s.fc_layers.Layer %d.0.bias", stem, i);
            CHECK(key, layer->bias, 1, layer->n_out, false);
            snprintf(key, sizeof key, "%s.fc_layers.Layer %d.1.weight", stem, i);
            CHECK(key, layer->bn_weight, 1, layer->n_out, false);
            snprintf(key, sizeof key, "%s.fc_layers.Layer %d.1.bias", stem, i);
            CHECK(key, layer->bn_bias, 1, layer->n_out, false);
        }
    CHECK("z_encoder.mean_encoder.weight", m->mean_weight, l, h, true);
    CHECK("z_encoder.mean_encoder.bias", m->mean_bias, 1, l, false);
    CHECK("z_encoder.var_encoder.weight", m->var_weight, l, h, true);
    CHECK("z_encoder.var_encoder.bias", m->var_bias, 1, l, false);
    CHECK("decoder.px_scale_decoder.0.weight", m->scale_weight, g, h, false);
    CHECK("decoder.px_scale_decoder.0.bias", m->scale_bias, 1, g, false);
    if (m->dropout_weight) {
        CHECK("decoder.px_dropout_decoder.weight", m->dropout_weight, g, h, false);
        CHECK("decoder.px_dropout_decoder.bias", m->dropout_bias, 1, g, false);
    }
    CHECK("px_r", m->px_r, 1, g, false);
#undef CHECK
}

static void check_statistics(const cpt_scvi *m, const cpt_checkpoint *c, const char *stage)
{
    char name[256];
    for (int side = 0; side < 2; side++)
        for (int32_t i = 0; i < m->shape.n_layers; i++) {
            const scvi_layer *l = side ? &m->decoder[i] : &m->encoder[i];
            const char *stem = side ? "decoder.px_decoder" : "z_encoder.encoder";
            snprintf(name, sizeof name, "%s.%s.fc_layers.Layer %d.1.running_mean", stage, stem, i);
            float *mean = golden_f32(c, name);
            snprintf(name, sizeof name, "%s.%s.fc_layers.Layer %d.1.running_var", stage, stem, i);
            float *var = golden_f32(c, name);
            snprintf(name, sizeof name, "%s.%s.fc_layers.Layer %d.1.num_batches_tracked", stage, stem, i);
            int64_t *tracked = golden_i64(c, name);
            assert_int_equal(l->n_tracked, *tracked);
            for (int32_t j = 0; j < l->n_out; j++) {
                assert_near(l->running_mean[j], mean[j], 2e-6);
                assert_near(l->running_var[j], var[j], 2e-6 * (1 + var[j]));
            }
            free(mean), free(var), free(tracked);
        }
}

static void test_golden_steps(void **state)
{
    cpt_err err;
    NEED_GOLDEN(folder, "golden/scvi");
    for (int which = 0; which < 2; which++)
        for (int n_threads = 1; n_threads < 4; n_threads += 2) {
            golden_model g;
            golden_open(&g, folder, which);
            cpt_scvi *m = (cpt_scvi *)(void *)g.model;
            cpt_scvi_options o;
            cpt_scvi_options_init(&o);
            o.batch_codes = g.codes;
            o.batch_size = 32;
            scvi_stepper *s;
            assert_ok(scvi_stepper_new(m, &o, &s, &err));
            int64_t *rows = golden_i64(g.train, "minibatch");
            float *eps = golden_f32(g.train, "eps"), *losses = golden_f32(g.train, "losses_f64");
            const cpt_context ctx = {.n_threads = n_threads};
            for (int step = 0; step < 3; step++) {
                scvi_losses sum;
                const scvi_noise noise = {eps + (int64_t)step * 32 * g.model->dim, NULL};
                assert_ok(scvi_stepper_load(s, &g.counts, 32, rows + step * 32, &ctx, &err));
                scvi_stepper_gradient(s, &noise, 0.25, &sum, n_threads);
                assert_near((sum.reconstruction + 0.25 * sum.kl) / 32 / losses[step * 3], 1, 1e-5);
                assert_near(sum.reconstruction / 32 / losses[step * 3 + 1], 1, 1e-5);
                assert_near(sum.kl / 32 / losses[step * 3 + 2], 1, 1e-5);
                if (step == 0) check_all(m, scvi_stepper_gradients(s), g.train, "grad", 2e-5);
                scvi_stepper_update(s, n_threads);
                if (step == 1) continue;
                check_all(m, m->parameters, g.train, step ? "after3" : "after1", 2e-6);
                check_statistics(m, g.train, step ? "after3" : "after1");
            }
            free(rows), free(eps), free(losses);
            scvi_stepper_free(s);
            golden_close(&g);
        }
}

/* ---- gradients by central differences ---- */

/* The loss of a minibatch in double, from the formulas alone; parameters by their place in the block. */
typedef struct plain {
    const cpt_scvi *m;
    const double *p; /* [n_parameters] */
    const float *counts; /* [n][n_genes] */
    const int32_t *codes;
    const float *latent, *keep;
    int32_t n;
} plain;

static double at(const plain *q, const float *parameter, int64_t i)
{
    return q->p[parameter - q->m->parameters + i];
}

static double *plain_layer(const plain *q, const scvi_layer *l, const double *in, const float *keep)
{
    const int32_t n = q->n, width = l->n_out;
    double *out = calloc((size_t)(n * width), sizeof *out);
    for (int32_t j = 0; j < width; j++) {
        double mean = 0, var = 0;
        for (int32_t i = 0; i < n; i++) {
            double sum = at(q, l->bias, j);
            for (int32_t k = 0; k < l->n_in; k++)
                sum += in[i * l->n_in + k] * at(q, l->weight, (int64_t)k * width + j);
            out[i * width + j] = sum;
            mean += sum / n;
        }
        for (int32_t i = 0; i < n; i++) var += pow(out[i * width + j] - mean, 2) / n;
        for (int32_t i = 0; i < n; i++) {
            double y = (out[i * width + j] - mean) / sqrt(var + 1e-3) * at(q, l->bn_weight, j) +
                       at(q, l->bn_bias, j);
            out[i * width + j] = (y > 0 ? y : 0) * (keep ? keep[i * width + j] : 1);
        }
    }
    return out;
}

static double *plain_product(const plain *q, const double *in, int32_t n_in, const float *weight,
                             const float *bias, int32_t n_out, bool by_output)
{
    double *out = calloc((size_t)(q->n * n_out), sizeof *out);
    for (int32_t i = 0; i < q->n; i++)
        for (int32_t j = 0; j < n_out; j++) {
            double sum = at(q, bias, j);
            for (int32_t k = 0; k < n_in; k++)
                sum += in[i * n_in + k] * at(q, weight, by_output ? j * n_in + k : k * n_out + j);
            out[i * n_out + j] = sum;
        }
    return out;
}

static double plain_loss(const plain *q, double kl_weight)
{
    const cpt_scvi *m = q->m;
    const int32_t n = q->n, genes = m->shape.n_genes, h = m->shape.n_hidden, latent = m->shape.n_latent;
    double *x = calloc((size_t)(n * genes), sizeof *x), loss = 0;
    for (int32_t i = 0; i < n * genes; i++) x[i] = log1p((double)q->counts[i]);
    for (int32_t i = 0; i < m->shape.n_layers; i++) {
        double *next = plain_layer(q, &m->encoder[i], x, q->keep ? q->keep + i * n * h : NULL);
        free(x);
        x = next;
    }
    double *mean = plain_product(q, x, h, m->mean_weight, m->mean_bias, latent, false);
    double *log_var = plain_product(q, x, h, m->var_weight, m->var_bias, latent, false);
    free(x);
    x = calloc((size_t)(n * latent), sizeof *x);
    for (int32_t i = 0; i < n * latent; i++) {
        double v = exp(log_var[i]) + 1e-4;
        x[i] = mean[i] + sqrt(v) * q->latent[i];
        loss += kl_weight * 0.5 * (v + mean[i] * mean[i] - 1 - log(v));
    }
    for (int32_t i = 0; i < m->shape.n_layers; i++) {
        const int32_t width = i ? h : latent, n_in = m->decoder[i].n_in;
        double *in = calloc((size_t)(n * n_in), sizeof *in);
        for (int32_t c = 0; c < n; c++) {
            memcpy(in + c * n_in, x + c * width, sizeof *x * (size_t)width);
            if (n_in > width) in[c * n_in + width + q->codes[c]] = 1;
        }
        free(x);
        x = plain_layer(q, &m->decoder[i], in, NULL);
        free(in);
    }
    double *logits = plain_product(q, x, h, m->scale_weight, m->scale_bias, genes, true);
    double *pi = m->dropout_weight ? plain_product(q, x, h, m->dropout_weight, m->dropout_bias, genes, true) : NULL;
    for (int32_t i = 0; i < n; i++) {
        double library = 0, sum = 0;
        for (int32_t g = 0; g < genes; g++) {
            library += q->counts[i * genes + g];
            sum += exp(logits[i * genes + g]);
        }
        for (int32_t g = 0; g < genes; g++)
            loss -= cpt_log_likelihood(q->counts[i * genes + g], library * exp(logits[i * genes + g]) / sum,
                                       exp(at(q, m->px_r, g)), pi ? &pi[i * genes + g] : NULL, NULL,
                                       NULL, NULL);
    }
    free(x), free(mean), free(log_var), free(logits), free(pi);
    return loss / n;
}

enum { CELLS = 40, GENES = 23 };

static void simulate(int32_t n, int32_t genes, float *counts, int32_t *codes)
{
    for (int32_t i = 0; i < n; i++) {
        cpt_stream s;
        cpt_stream_init(&s, 5, CPT_RANDOM_SIMULATE, (uint64_t)i);
        codes[i] = i % 2;
        for (int32_t g = 0; g < genes; g++) {
            double mean = (g % 3 == i % 3 ? 4 : 0.3) * (1 + 0.2 * codes[i]);
            counts[(int64_t)i * genes + g] = (float)cpt_stream_poisson(&s, mean * cpt_stream_gamma(&s, 2) / 2);
        }
        counts[(int64_t)i * genes] += 1; /* no empty cell */
    }
}

static void test_gradient_by_differences(void **state)
{
    cpt_err err;
    float counts[CELLS * GENES];
    int32_t codes[CELLS];
    int64_t rows[CELLS];
    simulate(CELLS, GENES, counts, codes);
    for (int i = 0; i < CELLS; i++) rows[i] = i;
    cpt_csr csr = dense_csr(counts, CELLS, GENES);
    cpt_counts c;
    assert_ok(cpt_counts_init(&c, &csr, NULL, GENES, &err));
    for (int which = 0; which < 4; which++) { /* NB or ZINB; one layer, or two with two batches and dropout */
        const bool deep = which >= 2;
        const scvi_shape shape = {.n_genes = GENES, .n_hidden = 7, .n_latent = 3, .n_layers = 1 + deep,
                                  .n_covariates = deep ? 2 : 0, .deep = true, .encoder_norm = true,
                                  .decoder_norm = true, .zero_inflated = which & 1, .has_px_r = true,
                                  .log_input = true};
        cpt_scvi *m;
        assert_ok(scvi_new(&shape, &m, &err));
        m->n_batches = shape.n_covariates;
        scvi_initialise(m, (uint64_t)which);
        cpt_scvi_options o;
        cpt_scvi_options_init(&o);
        o.batch_codes = codes;
        scvi_stepper *s;
        assert_ok(scvi_stepper_new(m, &o, &s, &err));
        float latent[CELLS * 3], keep[2 * CELLS * 7];
        cpt_stream stream;
        cpt_stream_init(&stream, 1, CPT_RANDOM_TEST, (uint64_t)which);
        for (int i = 0; i < CELLS * 3; i++) latent[i] = (float)cpt_stream_normal(&stream);
        for (int i = 0; i < 2 * CELLS * 7; i++) keep[i] = cpt_stream_uniform(&stream) < 0.2 ? 0 : 1.25f;
        const scvi_noise noise = {latent, deep ? keep : NULL};
        scvi_losses sum;
        assert_ok(scvi_stepper_load(s, &c, CELLS, rows, NULL, &err));
        scvi_stepper_gradient(s, &noise, 0.7, &sum, 2);
        double *p = calloc((size_t)m->n_parameters, sizeof *p), worst = 0, largest = 0;
        for (int64_t i = 0; i < m->n_parameters; i++) p[i] = m->parameters[i];
        const plain q = {m, p, counts, codes, latent, noise.dropout, CELLS};
        assert_near((sum.reconstruction + 0.7 * sum.kl) / CELLS / plain_loss(&q, 0.7), 1, 2e-6);
        const float *gradient = scvi_stepper_gradients(s);
        for (int64_t i = 0; i < m->n_parameters; i++) {
            const double kept = p[i], step = 1e-5;
            p[i] = kept + step;
            double up = plain_loss(&q, 0.7);
            p[i] = kept - step;
            double down = plain_loss(&q, 0.7);
            p[i] = kept;
            worst = fmax(worst, fabs((up - down) / (2 * step) - gradient[i]));
            largest = fmax(largest, fabs(gradient[i]));
        }
        print_message("case %d: gradient up to %.2g, off by %.2g\n", which, largest, worst);
        assert_true(worst < 5e-6 * (1 + largest)); /* float sums; a ReLU kink would show as 1e-2 */
        free(p);
        scvi_stepper_free(s);
        cpt_model_free(&m->base);
    }
    dense_free(&csr);
}

/* A step that learns while it goes back does what gradients and Adam afterwards do. */
static void test_step_is_gradient_and_update(void **state)
{
    cpt_err err;
    enum { WIDE_GENES = 700 }; /* several blocks of every kind */
    float *counts = calloc(CELLS * WIDE_GENES, sizeof *counts);
    int32_t codes[CELLS];
    int64_t rows[CELLS];
    float latent[CELLS * 3];
    simulate(CELLS, WIDE_GENES, counts, codes);
    for (int i = 0; i < CELLS; i++) rows[i] = i;
    for (int i = 0; i < CELLS * 3; i++) latent[i] = sinf((float)i);
    cpt_csr csr = dense_csr(counts, CELLS, WIDE_GENES);
    cpt_counts c;
    assert_ok(cpt_counts_init(&c, &csr, NULL, WIDE_GENES, &err));
    for (int zero_inflated = 0; zero_inflated < 2; zero_inflated++) {
        const scvi_shape shape = {.n_genes = WIDE_GENES, .n_hidden = 20, .n_latent = 3, .n_layers = 2,
                                  .encoder_norm = true, .decoder_norm = true, .zero_inflated = zero_inflated,
                                  .has_px_r = true, .log_input = true};
        cpt_scvi *models[2];
        for (int fused = 0; fused < 2; fused++) {
            const cpt_context ctx = {.n_threads = 1 + fused};
            const scvi_noise noise = {latent, NULL};
            cpt_scvi_options o;
            scvi_stepper *s;
            scvi_losses losses;
            assert_ok(scvi_new(&shape, &models[fused], &err));
            scvi_initialise(models[fused], 1);
            cpt_scvi_options_init(&o);
            assert_ok(scvi_stepper_new(models[fused], &o, &s, &err));
            for (int step = 0; step < 3; step++) {
                const int32_t n = CELLS - 7 * step; /* not always whole vectors */
                assert_ok(scvi_stepper_load(s, &c, n, rows + step, &ctx, &err));
                if (fused) scvi_stepper_step(s, &noise, 0.5, &losses, 2);
                else scvi_stepper_gradient(s, &noise, 0.5, &losses, 1);
                if (!fused) scvi_stepper_update(s, 1);
            }
            scvi_stepper_free(s);
        }
        assert_memory_equal(models[0]->parameters, models[1]->parameters,
                            sizeof(float) * (size_t)models[0]->n_parameters);
        for (int i = 0; i < 2; i++) cpt_model_free(&models[i]->base);
    }
    free(counts);
    dense_free(&csr);
}

/* ---- rules and whole runs ---- */

static void test_rules(void **state)
{
    static const int64_t epochs[][2] = {{2, 400}, {9142, 400}, {20001, 400}, {25000, 320}, {33333, 240},
        {53333, 150}, {100000, 80}, {160000, 50}, {329762, 24}, {1000000, 8}, {8000000, 1}, {100000000, 1}};
    static const int64_t split[][3] = {{2, 0, 0}, {9, 9, 0}, {10, 9, 1}, {64, 58, 6}, {143, 128, 15},
        {144, 128, 16}, {145, 131, 14}, {14224, 12800, 1424}, {14225, 12803, 1422}, {14226, 12804, 1422},
        {329762, 296786, 32976}};
    for (size_t i = 0; i < sizeof epochs / sizeof *epochs; i++)
        assert_int_equal(cpt_scvi_default_epochs(epochs[i][0]), epochs[i][1]);
    for (size_t i = 0; i < sizeof split / sizeof *split; i++) {
        int64_t train, validation;
        cpt_scvi_split_sizes(split[i][0], 0.9, 128, &train, &validation);
        assert_int_equal(train, split[i][1]);
        if (split[i][0] > 2) assert_int_equal(validation, split[i][2]);
    }
}

enum { MANY = 600, WIDE = 60 };

typedef struct simulated {
    float *counts;
    int32_t *codes;
    cpt_csr csr;
    cpt_counts view;
    cpt_strings genes;
} simulated;

static void simulated_init(simulated *d)
{
    cpt_err err;
    *d = (simulated){.counts = calloc(MANY * WIDE, 4), .codes = calloc(MANY, 4)};
    simulate(MANY, WIDE, d->counts, d->codes);
    memset(d->counts + 7 * WIDE, 0, WIDE * 4); /* one cell without counts */
    d->csr = dense_csr(d->counts, MANY, WIDE);
    for (int g = 0; g < WIDE; g++) {
        char name[16];
        int n = snprintf(name, sizeof name, "gene%d", g);
        assert_ok(cpt_strings_add(&d->genes, name, (size_t)n, &err));
    }
    assert_ok(cpt_counts_init(&d->view, &d->csr, NULL, WIDE, &err));
}

static void simulated_free(simulated *d)
{
    free(d->counts);
    free(d->codes);
    dense_free(&d->csr);
    cpt_strings_free(&d->genes);
}

static cpt_scvi_options small_options(void)
{
    cpt_scvi_options o;
    cpt_scvi_options_init(&o);
    o.n_hidden = 24;
    o.n_latent = 4;
    o.n_epochs = 12;
    o.batch_size = 64;
    o.seed = 3;
    return o;
}

static void test_same_bytes_for_any_threads(void **state)
{
    cpt_err err;
    simulated d;
    simulated_init(&d);
    cpt_scvi_options o = small_options();
    o.n_epochs = 3;
    o.validate = true;
    o.n_batches = 2;
    o.batch_codes = d.codes;
    o.n_layers = 2;
    cpt_model *models[3];
    cpt_scvi_history h[3];
    for (int i = 0; i < 3; i++) {
        const cpt_context ctx = {.n_threads = 1 + 2 * i};
        assert_ok(cpt_scvi_train(&d.view, &d.genes, &o, &models[i], &h[i], &ctx, &err));
    }
    const cpt_scvi *a = scvi_of(models[0]);
    for (int i = 1; i < 3; i++) {
        assert_memory_equal(a->parameters, scvi_of(models[i])->parameters,
                            sizeof(float) * (size_t)a->n_parameters);
        assert_memory_equal(h[0].epochs, h[i].epochs, sizeof *h[0].epochs * 3);
    }
    for (int i = 0; i < 3; i++) {
        cpt_model_free(models[i]);
        cpt_scvi_history_free(&h[i]);
    }
    simulated_free(&d);
}

/* Cells of one kind must lie together: the nearest other cell is nearly always of the same kind. */
static void test_learns_the_groups(void **state)
{
    cpt_err err;
    simulated d;
    simulated_init(&d);
    for (int likelihood = CPT_SCVI_ZINB; likelihood <= CPT_SCVI_NB; likelihood++) {
        cpt_scvi_options o = small_options();
        o.likelihood = (cpt_scvi_likelihood)likelihood;
        o.n_epochs = 60;
        o.validate = true;
        o.kl_warmup = 0;
        cpt_model *m;
        cpt_scvi_history h;
        assert_ok(cpt_scvi_train(&d.view, &d.genes, &o, &m, &h, NULL, &err));
        assert_int_equal(h.n, 60);
        assert_int_equal(h.n_empty, 1);
        assert_int_equal(h.n_train + h.n_validation, MANY - 1);
        assert_true(h.epochs[59].elbo_train < 0.8 * h.epochs[0].elbo_train);
        assert_true(fabs(h.epochs[59].elbo_validation / h.epochs[59].elbo_train - 1) < 0.1);
        assert_near(h.epochs[30].kl_weight, 0.5, 0);
        float *z = calloc(MANY * 4, sizeof *z);
        int64_t unusable;
        int same = 0;
        assert_ok(cpt_model_embed_all(m, &d.view, z, &unusable, NULL, &err));
        assert_int_equal(unusable, 0); /* the empty cell has an embedding too */
        for (int i = 0; i < MANY; i++) {
            double best = INFINITY;
            int nearest = 0;
            for (int j = 0; j < MANY; j++) {
                double distance = 0;
                for (int k = 0; k < 4; k++) distance += pow(z[i * 4 + k] - z[j * 4 + k], 2);
                if (j != i && distance < best) best = distance, nearest = j;
            }
            same += nearest % 3 == i % 3;
        }
        print_message("%s: nearest of the same kind %d of %d\n",
                      likelihood == CPT_SCVI_NB ? "NB" : "ZINB", same, MANY);
        assert_true(same > 0.98 * MANY);
        free(z);
        cpt_model_free(m);
        cpt_scvi_history_free(&h);
    }
    simulated_free(&d);
}

static void test_early_stopping_and_warmup(void **state)
{
    cpt_err err;
    simulated d;
    simulated_init(&d);
    cpt_scvi_options o = small_options();
    o.n_epochs = 300;
    o.early_stopping = true;
    o.patience = 3;
    o.kl_warmup = -1;
    o.learning_rate = 0.02;
    cpt_model *m;
    cpt_scvi_history h;
    assert_ok(cpt_scvi_train(&d.view, &d.genes, &o, &m, &h, NULL, &err));
    assert_true(h.stopped_early);
    assert_true(h.n < 300 && h.n > 4);
    double best = INFINITY; /* the last `patience` epochs did not improve on the best before */
    for (int i = 0; i < h.n - 3; i++) best = fmin(best, h.epochs[i].elbo_validation);
    for (int i = h.n - 3; i < h.n; i++) assert_true(h.epochs[i].elbo_validation >= best);
    assert_near(h.epochs[0].kl_weight, 1, 0);
    cpt_model_free(m);
    cpt_scvi_history_free(&h);
    simulated_free(&d);
}

static void test_refusals(void **state)
{
    cpt_err err;
    simulated d;
    simulated_init(&d);
    cpt_model *m = NULL;
    cpt_scvi_options o = small_options();
    o.batch_size = 2;
    assert_int_equal(cpt_scvi_train(&d.view, &d.genes, &o, &m, NULL, NULL, &err), CPT_ERR_USAGE);
    assert_non_null(strstr(err.text, "batch size 2"));
    o = small_options();
    o.n_batches = 2;
    o.batch_codes = d.codes;
    d.codes[5] = -1;
    assert_int_equal(cpt_scvi_train(&d.view, &d.genes, &o, &m, NULL, NULL, &err), CPT_ERR_DATA);
    assert_non_null(strstr(err.text, "cell 5 has no batch"));
    o = small_options();
    const volatile int stop = 1;
    const cpt_context ctx = {.n_threads = 1, .stop = &stop};
    assert_int_equal(cpt_scvi_train(&d.view, &d.genes, &o, &m, NULL, &ctx, &err), CPT_ERR_INTERRUPTED);
    assert_null(m);
    float two[2 * WIDE] = {1};
    two[WIDE] = 1;
    cpt_csr csr = dense_csr(two, 2, WIDE);
    cpt_counts c;
    assert_ok(cpt_counts_init(&c, &csr, NULL, WIDE, &err));
    assert_int_equal(cpt_scvi_train(&c, &d.genes, &o, &m, NULL, NULL, &err), CPT_ERR_DATA);
    assert_non_null(strstr(err.text, "2 cells with counts are too few"));
    dense_free(&csr);
    simulated_free(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_steps),
        ON_FOLDER(test_golden_steps, "test/golden/scvi"),
        cmocka_unit_test(test_gradient_by_differences),
        cmocka_unit_test(test_step_is_gradient_and_update),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_same_bytes_for_any_threads),
        cmocka_unit_test(test_learns_the_groups),
        cmocka_unit_test(test_early_stopping_and_warmup),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Training of scGPT: losses, gradients and Adam against the real scGPT code (test/golden/scgpt,
 * micro_train), gradients by central differences with dropout on, the same bytes for any number of
 * threads, files that open again, and what must be refused. */
#include "scgpt_golden.h"

#include "base/log.h"
#include "base/random.h"
#include "model/scgpt_step.h"

#define GOLDEN "test/golden/scgpt"

/* ---- the micro model as weights and a minibatch ---- */

typedef struct micro {
    cpt_checkpoint *weights_file, *cells, *train;
    scgpt_weights *weights;
    scgpt_batch batch;
} micro;

static void read_weights(scgpt_weights *w, const cpt_checkpoint *file, const char *prefix)
{
    cpt_err err;
    char name[200];
    for (int32_t i = 0; i < w->n_parameters; i++) {
        const scgpt_parameter *p = &w->parameters[i];
        const int64_t shape[2] = {p->rows, p->cols};
        const cpt_tensor *t;
        snprintf(name, sizeof name, "%s%s", prefix, p->name);
        assert_ok(cpt_checkpoint_need(file, name, p->cols ? 2 : 1, shape, &t, &err));
        assert_ok(cpt_tensor_read_f32(t, w->values + p->offset, &err));
    }
}

static void micro_open(micro *g)
{
    const scgpt_shape shape = {
        .n_tokens = 23, .width = 16, .hidden = 20, .n_heads = 2, .n_layers = 2, .pad_value = -2};
    cpt_err err;
    assert_ok(cpt_checkpoint_open(GOLDEN "/micro/best_model.pt", &g->weights_file, &err));
    assert_ok(cpt_checkpoint_open(GOLDEN "/micro.safetensors", &g->cells, &err));
    assert_ok(cpt_checkpoint_open(GOLDEN "/micro_train.safetensors", &g->train, &err));
    assert_ok(scgpt_weights_new(&shape, 0, &g->weights, &err));
    read_weights(g->weights, g->weights_file, "");
    const cpt_tensor *t = cpt_checkpoint_find(g->cells, "token");
    assert_non_null(t);
    const int32_t n = (int32_t)t->shape[0], most = (int32_t)t->shape[1];
    double *token = golden_numbers(g->cells, "token"), *bin = golden_numbers(g->cells, "bin_left");
    double *length = golden_numbers(g->cells, "length"),
           *masked = golden_numbers(g->train, "masked");
    assert_ok(scgpt_batch_init(&g->batch, n, most, 20, &err));
    g->batch.n_cells = n;
    for (int32_t c = 0; c < n; c++) {
        g->batch.length[c] = (int32_t)length[c];
        for (int32_t j = 0; j < g->batch.length[c]; j++) {
            const int32_t at = c * most + j;
            g->batch.ids[at] = (int32_t)token[at];
            g->batch.bins[at] = (uint8_t)(j ? bin[at] : 0);
            g->batch.masked[at] = (uint8_t)masked[at];
            if (j) g->batch.targets[c * 20 + g->batch.ids[at]] = g->batch.bins[at];
        }
    }
    free(token), free(bin), free(length), free(masked);
}

static void micro_close(micro *g)
{
    cpt_checkpoint_free(g->weights_file);
    cpt_checkpoint_free(g->cells);
    cpt_checkpoint_free(g->train);
    scgpt_weights_free(g->weights);
    scgpt_batch_free(&g->batch);
}

static cpt_scgpt_train_options micro_options(cpt_scgpt_targets targets)
{
    cpt_scgpt_train_options o;
    cpt_scgpt_train_options_init(&o);
    o.max_tokens = 64;
    o.mvc_targets = targets;
    o.mvc_weight = 0.5;
    o.dropout = 0;
    return o;
}

/* ---- against the real code ---- */

/* Largest difference of all tensors "KIND.WHAT.NAME", relative to the largest number of each. */
static double worst_of(const micro *g, const char *kind, const char *what, const float *values,
                       bool relative)
{
    double worst = 0;
    for (int32_t i = 0; i < g->weights->n_parameters; i++) {
        const scgpt_parameter *p = &g->weights->parameters[i];
        const int64_t n = p->rows * (p->cols ? p->cols : 1);
        char name[200];
        snprintf(name, sizeof name, "%s.%s.%s", kind, what, p->name);
        double *want = golden_numbers(g->train, name), most = 1e-3, difference = 0;
        assert_non_null(want);
        /* a constant added to all keys changes no softmax: their bias has no gradient but rounding,
         * which Adam makes a whole step of */
        const bool keys = strstr(p->name, "Wqkv.bias") != NULL;
        for (int64_t j = 0; j < n; j++) {
            if (keys && !relative && j >= n / 3 && j < 2 * n / 3) continue;
            most = fmax(most, fabs(want[j]));
            difference = fmax(difference, fabs((double)values[p->offset + j] - want[j]));
        }
        free(want);
        if (relative) difference /= most;
        if (difference > worst) worst = difference;
        if (difference > 1e-5) print_error("%s: %g\n", name, difference);
    }
    return worst;
}

static void check_steps(cpt_scgpt_targets targets, const char *kind)
{
    cpt_err err;
    micro g;
    scgpt_stepper *s;
    scgpt_losses l;
    char name[64];
    const cpt_scgpt_train_options o = micro_options(targets);
    micro_open(&g);
    snprintf(name, sizeof name, "%s.losses", kind);
    double *losses = golden_numbers(g.train, name);
    snprintf(name, sizeof name, "%s.norms", kind);
    double *norms = golden_numbers(g.train, name);
    assert_ok(scgpt_stepper_new(g.weights, &o, 2, &s, &err));
    for (int step = 0; step < 3; step++) {
        scgpt_stepper_gradient(s, &g.batch, 0, &l);
        assert_near(l.gep / (double)l.n_gep / losses[2 * step], 1, 1e-6);
        assert_near(l.mvc / (double)l.n_mvc / losses[2 * step + 1], 1, 1e-6);
        if (step == 0)
            assert_true(worst_of(&g, kind, "grad", scgpt_stepper_gradients(s), true) < 1e-5);
        assert_near(scgpt_stepper_update(s, 1e-3) / norms[step], 1, 1e-5);
    }
    /* Adam divides by the gradient's own size: where that is nothing but rounding, so is the step
     */
    assert_true(worst_of(&g, kind, "after3", g.weights->values, false) < 2e-5);
    free(losses), free(norms);
    scgpt_stepper_free(s);
    micro_close(&g);
}

static void test_steps_masked(void **state)
{
    (void)state;
    check_steps(CPT_SCGPT_TARGETS_MASKED, "masked");
}

static void test_steps_all(void **state)
{
    (void)state;
    check_steps(CPT_SCGPT_TARGETS_ALL, "all");
}

/* ---- central differences ---- */

static double loss_of(scgpt_stepper *s, const scgpt_batch *b, const cpt_scgpt_train_options *o)
{
    scgpt_losses l;
    scgpt_stepper_gradient(s, b, 5, &l); /* not evaluate: with dropout */
    return o->gep_weight * l.gep / (double)l.n_gep + o->mvc_weight * l.mvc / (double)l.n_mvc;
}

/* Along a random direction in each tensor, dropout on: its masks are the same in every pass. */
static void test_differences(void **state)
{
    (void)state;
    cpt_err err;
    micro g;
    scgpt_stepper *s;
    cpt_scgpt_train_options o = micro_options(CPT_SCGPT_TARGETS_ALL);
    o.dropout = 0.2;
    micro_open(&g);
    assert_ok(scgpt_stepper_new(g.weights, &o, 1, &s, &err));
    float *v = g.weights->values, *gradient, *start;
    const size_t size = (size_t)g.weights->at.n * sizeof *v;
    assert_non_null(gradient = malloc(size));
    assert_non_null(start = malloc(size));
    loss_of(s, &g.batch, &o);
    memcpy(gradient, scgpt_stepper_gradients(s), size);
    memcpy(start, v, size);
    for (int32_t i = 0; i < g.weights->n_parameters; i++) {
        const scgpt_parameter *p = &g.weights->parameters[i];
        const int64_t n = p->rows * (p->cols ? p->cols : 1);
        double slope = 0, length = 0, value[2];
        cpt_stream r;
        for (int64_t j = 0; j < n; j++) length += pow(gradient[p->offset + j], 2);
        if (strcmp(p->name, "transformer_encoder.layers.0.self_attn.Wqkv.bias") == 0)
            length = fmax(length, 1e-12); /* a third of it, the keys' bias, has no gradient */
        assert_true(length > 0);
        /* half along the gradient, so that the slope is not an accident near 0 */
        const double h = 2e-3;
        for (int side = 0; side < 2; side++) {
            cpt_stream_init(&r, 3, CPT_RANDOM_TEST, (uint64_t)i);
            slope = 0;
            for (int64_t j = 0; j < n; j++) {
                const double d = gradient[p->offset + j] / sqrt(length) +
                                 0.5 * cpt_stream_normal(&r) / sqrt((double)n);
                v[p->offset + j] = (float)(start[p->offset + j] + (side ? h : -h) * d);
                slope += gradient[p->offset + j] *
                         ((double)v[p->offset + j] - (double)start[p->offset + j]);
            }
            value[side] = loss_of(s, &g.batch, &o);
        }
        memcpy(v, start, size);
        const double measured = (value[1] - value[0]) / 2;
        if (!(fabs(measured - slope) < 0.02 * fabs(slope) + 2e-5))
            print_error("%s: %g, by differences %g\n", p->name, slope, measured);
        assert_true(fabs(measured - slope) < 0.02 * fabs(slope) + 2e-5);
    }
    free(gradient), free(start);
    scgpt_stepper_free(s);
    micro_close(&g);
}

/* ---- independence ---- */

/* Each cell alone gives what it gives in company: losses are sums over cells. */
static void test_cells_apart(void **state)
{
    (void)state;
    cpt_err err;
    micro g;
    scgpt_stepper *s;
    scgpt_losses all, one, sum = {0};
    const cpt_scgpt_train_options o = micro_options(CPT_SCGPT_TARGETS_ALL);
    micro_open(&g);
    assert_ok(scgpt_stepper_new(g.weights, &o, 2, &s, &err));
    scgpt_stepper_evaluate(s, &g.batch, &all);
    for (int32_t c = 0; c < g.batch.n_cells; c++) {
        scgpt_batch b = g.batch;
        b.n_cells = 1;
        b.length += c;
        b.ids += c * b.max_tokens;
        b.bins += c * b.max_tokens;
        b.masked += c * b.max_tokens;
        b.targets += c * b.n_genes;
        scgpt_stepper_evaluate(s, &b, &one);
        sum.gep += one.gep;
        sum.mvc += one.mvc;
        sum.n_gep += one.n_gep;
    }
    assert_int_equal(sum.n_gep, all.n_gep);
    assert_near(sum.gep / all.gep, 1, 1e-6);
    assert_near(sum.mvc / all.mvc, 1, 1e-6);
    scgpt_stepper_free(s);
    micro_close(&g);
}

/* ---- whole runs on made-up cells ---- */

enum { CELLS = 60, GENES = 40, EMPTY = 7 };

typedef struct made_up {
    int64_t indptr[CELLS + 1];
    int32_t indices[CELLS * GENES];
    float values[CELLS * GENES];
    cpt_csr csr;
    cpt_counts counts;
    cpt_strings names;
} made_up;

/* Two kinds of cell, each with half of the genes raised; one cell without counts. */
static void make_cells(made_up *d)
{
    cpt_err err;
    char name[16];
    int64_t at = 0;
    *d = (made_up){0};
    for (int32_t c = 0; c < CELLS; c++) {
        cpt_stream s;
        cpt_stream_init(&s, 9, CPT_RANDOM_TEST, (uint64_t)c);
        for (int32_t j = 0; j < GENES && c != EMPTY; j++) {
            const double count =
                (double)cpt_stream_poisson(&s, (c % 2 == (j >= GENES / 2) ? 6 : 0.3));
            if (count <= 0) continue;
            d->indices[at] = j;
            d->values[at++] = (float)count;
        }
        d->indptr[c + 1] = at;
    }
    for (int32_t j = 0; j < GENES; j++) {
        const int n = snprintf(name, sizeof name, "G%d", j);
        assert_ok(cpt_strings_add(&d->names, name, (size_t)n, &err));
    }
    d->csr = (cpt_csr){.n_rows = CELLS,
                       .n_cols = GENES,
                       .indptr = d->indptr,
                       .indices = d->indices,
                       .values = d->values};
    assert_ok(cpt_counts_init(&d->counts, &d->csr, NULL, GENES, &err));
}

static cpt_scgpt_train_options small_options(void)
{
    cpt_scgpt_train_options o;
    cpt_scgpt_train_options_init(&o);
    o.width = 16;
    o.n_layers = 2;
    o.n_heads = 2;
    o.max_tokens = 20;
    o.n_epochs = 4;
    o.batch_size = 8;
    o.dropout = 0.1;
    o.validation = 0.1;
    o.seed = 3;
    return o;
}

static cpt_model *train(const made_up *d, const cpt_scgpt_train_options *o, int n_threads,
                        cpt_scgpt_history *h)
{
    cpt_err err;
    cpt_model *m;
    const cpt_context ctx = {.n_threads = n_threads};
    assert_ok(cpt_scgpt_train(&d->counts, &d->names, o, &m, h, &ctx, &err));
    return m;
}

static void test_threads(void **state)
{
    (void)state;
    made_up d;
    cpt_scgpt_history h[3];
    const cpt_scgpt_train_options o = small_options();
    cpt_model *m[3];
    make_cells(&d);
    for (int i = 0; i < 3; i++) m[i] = train(&d, &o, i + 1, &h[i]);
    const scgpt_weights *w = scgpt_of(m[0])->trained;
    for (int i = 1; i < 3; i++) {
        assert_memory_equal(w->values, scgpt_of(m[i])->trained->values,
                            sizeof *w->values * (size_t)w->at.n);
        for (int32_t j = 0; j < h[0].n; j++) {
            assert_true(h[0].epochs[j].gep == h[i].epochs[j].gep);
            assert_true(h[0].epochs[j].mvc_validation == h[i].epochs[j].mvc_validation);
        }
    }
    assert_int_equal(h[0].n, 4);
    assert_int_equal(h[0].n_empty, 1);
    assert_int_equal(h[0].n_validation, 5);
    assert_int_equal(h[0].n_train, 54);
    for (int i = 0; i < 3; i++) {
        cpt_model_free(m[i]);
        cpt_scgpt_history_free(&h[i]);
    }
    cpt_strings_free(&d.names);
}

/* It learns: errors fall well below those of always saying the mean, also on validation cells. */
static void test_learns(void **state)
{
    (void)state;
    made_up d;
    cpt_scgpt_history h;
    cpt_scgpt_train_options o = small_options();
    o.n_epochs = 40;
    o.max_tokens = 41;
    o.dropout = 0;
    o.learning_rate = 5e-3;
    make_cells(&d);
    cpt_model *m = train(&d, &o, 2, &h);
    const cpt_scgpt_epoch *first = &h.epochs[0], *last = &h.epochs[h.n - 1];
    assert_true(last->gep < 0.8 * first->gep);
    assert_true(last->mvc < 0.3 * first->mvc);
    assert_true(last->mvc_validation < 0.4 * first->mvc_validation);
    /* the two kinds of cell lie apart */
    float *a;
    cpt_err err;
    double within = 0, between = 0;
    int64_t n[2] = {0}, unusable;
    assert_non_null(a = malloc(sizeof *a * CELLS * 16));
    assert_ok(cpt_model_embed_all(m, &d.counts, a, &unusable, NULL, &err));
    assert_int_equal(unusable, 1);
    for (int i = 0; i < CELLS; i++)
        for (int j = 0; j < i; j++) {
            double cosine = 0;
            if (i == EMPTY || j == EMPTY) continue;
            for (int k = 0; k < 16; k++) cosine += (double)a[16 * i + k] * (double)a[16 * j + k];
            *(i % 2 == j % 2 ? &within : &between) += cosine;
            n[i % 2 == j % 2]++;
        }
    assert_true(within / (double)n[1] > between / (double)n[0] + 0.3);
    free(a);
    cpt_model_free(m);
    cpt_scgpt_history_free(&h);
    cpt_strings_free(&d.names);
}

/* ---- files ---- */

static void test_saved(void **state)
{
    (void)state;
    cpt_err err;
    made_up d;
    char folder[] = "/tmp/conceptome-scgpt-XXXXXX";
    float before[2][16], after[2][16];
    const cpt_scgpt_train_options o = small_options();
    cpt_model *opened;
    make_cells(&d);
    cpt_model *m = train(&d, &o, 1, NULL);
    assert_non_null(mkdtemp(folder));
    assert_ok(m->ops->save(m, folder, &err));
    assert_ok(cpt_model_open(folder, &opened, NULL, &err));
    assert_string_equal(opened->ops->kind, "scgpt");
    assert_int_equal(opened->n_genes, GENES);
    assert_int_equal(cpt_scgpt_unknown_tensors(opened)->n, 0);
    for (int32_t j = 0; j < GENES; j++)
        assert_string_equal(cpt_strings_get(&opened->gene_names, j), cpt_strings_get(&d.names, j));
    assert_ok(m->ops->embed(m, &d.counts, 0, 2, before[0], NULL, &err));
    assert_ok(opened->ops->embed(opened, &d.counts, 0, 2, after[0], NULL, &err));
    assert_memory_equal(before, after, sizeof before);
    assert_int_equal(opened->ops->save(opened, folder, &err), CPT_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "copy its folder"));
    cpt_model_free(opened);
    cpt_model_free(m);
    assert_ok(cpt_remove_tree(folder, &err));
    cpt_strings_free(&d.names);
}

/* ---- refused ---- */

static void refuse(const made_up *d, const cpt_scgpt_train_options *o, const cpt_context *ctx,
                   cpt_status code, const char *text)
{
    cpt_err err;
    cpt_model *m = NULL;
    cpt_scgpt_history h;
    assert_int_equal(cpt_scgpt_train(&d->counts, &d->names, o, &m, &h, ctx, &err), code);
    assert_null(m);
    if (!strstr(err.text, text)) fail_msg("'%s' does not say '%s'", err.text, text);
    cpt_scgpt_history_free(&h);
}

static void test_refused(void **state)
{
    (void)state;
    cpt_err err;
    made_up d;
    cpt_scgpt_train_options o;
    const cpt_context ctx = {.n_threads = 1};
    make_cells(&d);
    o = small_options(), o.n_heads = 3;
    refuse(&d, &o, &ctx, CPT_ERR_USAGE, "multiple of the number of heads 3");
    o = small_options(), o.max_tokens = 2;
    refuse(&d, &o, &ctx, CPT_ERR_USAGE, "3 to 65536");
    o = small_options(), o.mask_ratio = 1;
    refuse(&d, &o, &ctx, CPT_ERR_USAGE, "mask ratio 1");
    o = small_options(), o.dropout = 1;
    refuse(&d, &o, &ctx, CPT_ERR_USAGE, "dropout 1");
    o = small_options(), o.learning_rate = NAN;
    refuse(&d, &o, &ctx, CPT_ERR_USAGE, "learning rate nan");
    o = small_options(), o.n_epochs = -1;
    refuse(&d, &o, &ctx, CPT_ERR_USAGE, "-1 epochs");
    o = small_options();
    d.values[3] = NAN;
    refuse(&d, &o, &ctx, CPT_ERR_DATA, "row 0: a count is not finite");
    d.values[3] = 1;
    const volatile int stop = 1;
    const cpt_context stopped = {.n_threads = 1, .stop = &stop};
    refuse(&d, &o, &stopped, CPT_ERR_INTERRUPTED, "");
    const cpt_strings names = d.names;
    d.names = (cpt_strings){0};
    for (int j = 0; j < GENES; j++) {
        const char *name = j == 30 ? "G7" : cpt_strings_get(&names, j);
        assert_ok(cpt_strings_add(&d.names, name, strlen(name), &err));
    }
    refuse(&d, &o, &ctx, CPT_ERR_DATA, "two genes are called 'G7'");
    cpt_strings_free(&d.names);
    for (int j = 0; j < GENES; j++) {
        const char *name = j == 30 ? "<pad>" : cpt_strings_get(&names, j);
        assert_ok(cpt_strings_add(&d.names, name, strlen(name), &err));
    }
    refuse(&d, &o, &ctx, CPT_ERR_DATA, "like a special token");
    cpt_strings_free(&d.names);
    d.names = names;
    d.csr.n_rows = 1;
    refuse(&d, &o, &ctx, CPT_ERR_DATA, "1 cells with counts of the chosen genes are too few");
    cpt_strings_free(&d.names);
}

/* Cells of a single gene, and one token more than fits. */
static void test_smallest(void **state)
{
    (void)state;
    made_up d;
    cpt_scgpt_history h;
    cpt_scgpt_train_options o = small_options();
    make_cells(&d);
    for (int32_t c = 0; c < CELLS; c++) d.indptr[c + 1] = c + 1;
    for (int32_t c = 0; c < CELLS; c++) d.indices[c] = c % GENES, d.values[c] = 1;
    o.max_tokens = 3;
    o.n_epochs = 1;
    o.batch_size = 1;
    o.validation = 0;
    cpt_model_free(train(&d, &o, 2, &h));
    assert_true(isfinite(h.epochs[0].gep) && isnan(h.epochs[0].gep_validation));
    cpt_scgpt_history_free(&h);
    o.n_epochs = 0; /* the untrained network */
    cpt_model_free(train(&d, &o, 2, &h));
    assert_int_equal(h.n, 0);
    cpt_scgpt_history_free(&h);
    cpt_strings_free(&d.names);
}

/* ---- kernels ---- */

static void test_kernels(void **state)
{
    (void)state;
    enum { ROWS = 5, WIDTH = 37, N = ROWS * WIDTH };
    const cpt_training_kernels *plain = cpt_training_kernels_at(0);
    const cpt_dropout drop = {{77, 12345}, 0x40000000u, 4.0f / 3};
    float x[N], gain[WIDTH];
    cpt_stream s;
    cpt_stream_init(&s, 1, CPT_RANDOM_TEST, 0);
    for (int i = 0; i < N; i++) x[i] = (float)(1 + 3 * cpt_stream_normal(&s));
    for (int j = 0; j < WIDTH; j++) gain[j] = (float)cpt_stream_normal(&s);
    x[3] = 200, x[4] = -200;
    for (int level = 0; level <= 2; level++) {
        const cpt_training_kernels *k = cpt_training_kernels_at(level);
        if (!k) continue;
        float a[2][N], g[2][2 * WIDTH] = {{0}};
        const cpt_training_kernels *both[2] = {plain, k};
        for (int i = 0; i < 2; i++) {
            memcpy(a[i], x, sizeof x);
            both[i]->dropout(N, 5, &drop, a[i]);
        }
        assert_memory_equal(a[0], a[1], sizeof x);
        for (int i = 0; i < 2; i++) {
            for (int j = 0; j < N; j++) a[i][j] = sinf((float)j);
            both[i]->norm_back(ROWS, WIDTH, x, gain, a[i], g[i], g[i] + WIDTH);
            both[i]->add_rows(ROWS, WIDTH, x, g[i]);
        }
        for (int j = 0; j < N; j++) assert_near(a[0][j], a[1][j], 2e-6);
        for (int j = 0; j < 2 * WIDTH; j++) assert_near(g[0][j], g[1][j], 1e-4);
        k->sigmoid(N, x, a[0]);
        for (int j = 0; j < N; j++) assert_near(a[0][j], 1 / (1 + exp(-(double)x[j])), 3e-7);
    }
    /* a quarter is dropped, whatever the offset */
    float *ones, kept = 0;
    enum { MANY = 100000 };
    assert_non_null(ones = malloc(sizeof *ones * MANY));
    for (int i = 0; i < MANY; i++) ones[i] = 1;
    plain->dropout(MANY / 2, 0, &drop, ones);
    plain->dropout(MANY / 2, MANY / 2, &drop, ones + MANY / 2);
    for (int i = 0; i < MANY; i++) kept += ones[i] > 0;
    assert_near(kept / MANY, 0.75, 5 * sqrt(0.75 * 0.25 / MANY));
    free(ones);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps_masked), cmocka_unit_test(test_steps_all),
        cmocka_unit_test(test_differences),  cmocka_unit_test(test_cells_apart),
        cmocka_unit_test(test_threads),      cmocka_unit_test(test_learns),
        cmocka_unit_test(test_saved),        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_smallest),     cmocka_unit_test(test_kernels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

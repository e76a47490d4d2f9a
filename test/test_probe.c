/* Logistic regression against scikit-learn's optimum; folds and scores of the probe. */
#include "check.h"
#include "golden.h"

#include "base/random.h"
#include "evaluate/logistic.h"
#include "evaluate/probe.h"

static cpt_err err;
enum { GOLDEN_N = 120, GOLDEN_DIM = 8, WIDTH = GOLDEN_DIM + 1 };

typedef struct golden {
    json_t *root;
    double x[GOLDEN_N * WIDTH],
        plain[GOLDEN_N * GOLDEN_DIM]; /* with and without the column of ones */
    int32_t binary[GOLDEN_N], multi[GOLDEN_N];
} golden;

static void golden_open(golden *g, const char *folder)
{
    char path[1100];
    size_t bytes;
    snprintf(path, sizeof path, "%s/linear.json", folder);
    g->root = golden_json(path);
    snprintf(path, sizeof path, "%s/linear.safetensors", folder);
    double *x = golden_tensor(path, "X", &bytes);
    assert_int_equal(bytes, sizeof g->plain);
    memcpy(g->plain, x, sizeof g->plain);
    int64_t *binary = golden_tensor(path, "y_binary", &bytes),
            *multi = golden_tensor(path, "y_multi", &bytes);
    for (int i = 0; i < GOLDEN_N; i++) {
        memcpy(g->x + i * WIDTH, x + i * GOLDEN_DIM, GOLDEN_DIM * sizeof *x);
        g->x[i * WIDTH + GOLDEN_DIM] = 1;
        g->binary[i] = (int32_t)binary[i], g->multi[i] = (int32_t)multi[i];
    }
    free(x), free(binary), free(multi);
}

static cpt_logistic golden_problem(const golden *g, int n_classes, double c)
{
    return (cpt_logistic){.n = GOLDEN_N,
                          .width = WIDTH,
                          .n_free = 1,
                          .n_classes = n_classes,
                          .x = g->x,
                          .y = n_classes == 2 ? g->binary : g->multi,
                          .strength = n_classes == 2 ? c / 2 : c,
                          .tolerance = 1e-11};
}

static void golden_binary(void **state)
{
    NEED_SHARED(folder, "golden/stats");
    static const struct {
        const char *name, *coef, *intercept;
        double c, tolerance;
        bool balanced, free;
    } cases[] = {
        {"binary_C0.1", "coef_newton", "intercept_newton", 0.1, 1e-6, false, true},
        {"binary_C1.0", "coef_newton", "intercept_newton", 1, 1e-6, false, true},
        {"binary_C10.0", "coef_newton", "intercept_newton", 10, 1e-6, false, true},
        /* stored from lbfgs alone, which stops up to 3e-5 away */
        {"binary_balanced_C1.0", "coef", "intercept", 1, 1e-4, true, true},
        {"binary_no_intercept_C1.0", "coef", NULL, 1, 1e-4, false, false},
    };
    golden g;
    golden_open(&g, folder);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const json_t *want = json_object_get(g.root, cases[i].name);
        double theta[2 * WIDTH] = {0}, weights[GOLDEN_N], size[2] = {0};
        int n;
        double *coef = golden_array(json_object_get(want, cases[i].coef), &n);
        assert_int_equal(n, GOLDEN_DIM);
        cpt_logistic p = golden_problem(&g, 2, cases[i].c);
        for (int j = 0; j < GOLDEN_N; j++) size[g.binary[j]]++;
        for (int j = 0; j < GOLDEN_N; j++) weights[j] = GOLDEN_N / (2 * size[g.binary[j]]);
        if (cases[i].balanced) p.weights = weights;
        if (!cases[i].free) p.x = g.plain, p.width = GOLDEN_DIM, p.n_free = 0;
        assert_ok(cpt_logistic_fit(&p, theta, NULL, &err));
        for (int j = 0; j < GOLDEN_DIM; j++)
            assert_near(theta[p.width + j] - theta[j], coef[j], cases[i].tolerance);
        if (cases[i].free)
            assert_near(theta[2 * WIDTH - 1] - theta[WIDTH - 1],
                        golden_get(want, cases[i].intercept), cases[i].tolerance);
        free(coef);
    }
    json_decref(g.root);
}

static void golden_multinomial(void **state)
{
    NEED_SHARED(folder, "golden/stats");
    golden g;
    golden_open(&g, folder);
    const json_t *want = json_object_get(g.root, "multinomial_C1.0");
    double theta[2][3 * WIDTH] = {{0}};
    int n;
    double *intercept = golden_array(json_object_get(want, "intercept_newton"), &n);
    assert_int_equal(n, 3);
    cpt_logistic p = golden_problem(&g, 3, 100);
    assert_ok(cpt_logistic_fit(&p, theta[1], NULL, &err)); /* a start far off must not matter */
    p.strength = 1;
    for (int start = 0; start < 2; start++) {
        assert_ok(cpt_logistic_fit(&p, theta[start], NULL, &err));
        for (int c = 0; c < 3; c++) {
            double *coef = golden_array(
                json_array_get(json_object_get(want, "coef_newton"), (size_t)c), &n);
            for (int j = 0; j < GOLDEN_DIM; j++)
                assert_near(theta[start][c * WIDTH + j], coef[j], 1e-6);
            assert_near(theta[start][c * WIDTH + GOLDEN_DIM], intercept[c], 1e-6);
            free(coef);
        }
    }
    free(intercept);
    json_decref(g.root);
}

static void separable_and_wild_data(void **state)
{
    /* Separable classes have a finite optimum through the penalty; large values must not overflow.
     */
    const double x[] = {-1e4, 1, -2e4, 1, 1e4, 1, 3e4, 1};
    const int32_t y[] = {0, 0, 1, 1};
    double theta[4] = {0};
    cpt_logistic p = {.n = 4,
                      .width = 2,
                      .n_free = 1,
                      .n_classes = 2,
                      .x = x,
                      .y = y,
                      .strength = 1,
                      .tolerance = 1e-9};
    assert_ok(cpt_logistic_fit(&p, theta, NULL, &err));
    for (int i = 0; i < 4; i++) assert_true(isfinite(theta[i]));
    assert_true(theta[2] > 0);
    assert_near(theta[0], -theta[2], 1e-12);
    p.n_classes = 1;
    assert_int_equal(cpt_logistic_fit(&p, theta, NULL, &err), CPT_ERR_USAGE);
    assert_non_null(strstr(err.text, "at least 2 classes"));
}

/* ---- the probe ---- */

enum { N = 400, DIM = 6, LABELS = 3, DONORS = 6 };
typedef struct sample {
    float x[N * DIM];
    int32_t labels[N], donors[N];
} sample;

/* Labels sit in the first two columns; with a `donor_mark` labels go by donor, and
 * every donor has a column of its own. */
static void make_sample(sample *s, double signal, double donor_mark)
{
    cpt_stream r;
    cpt_stream_init(&r, 3, CPT_RANDOM_TEST, 0);
    for (int i = 0; i < N; i++) {
        s->donors[i] = i % DONORS;
        s->labels[i] = (int32_t)cpt_stream_below(&r, LABELS);
        if (donor_mark > 0) s->labels[i] = s->donors[i] % LABELS;
        for (int j = 0; j < DIM; j++) s->x[i * DIM + j] = (float)cpt_stream_normal(&r);
        s->x[i * DIM] += (float)(signal * (s->labels[i] == 1));
        s->x[i * DIM + 1] += (float)(signal * (s->labels[i] == 2));
        s->x[i * DIM + s->donors[i]] += (float)donor_mark;
    }
}

static cpt_probe_result probe(const sample *s, const cpt_probe_options *o, const int32_t *groups,
                              int threads)
{
    cpt_probe_result r;
    const cpt_context ctx = {.n_threads = threads, .seed = 5};
    assert_ok(cpt_probe(o, s->x, N, DIM, s->labels, LABELS, groups, &r, &ctx, &err));
    return r;
}

static void reads_what_is_there(void **state)
{
    static sample s;
    cpt_probe_options o;
    cpt_probe_options_init(&o);
    make_sample(&s, 6, 0);
    cpt_probe_result r = probe(&s, &o, NULL, 1), grouped = probe(&s, &o, s.donors, 1);
    assert_true(r.accuracy > 0.97 && grouped.accuracy > 0.97);
    assert_true(r.macro_f1 > 0.97);
    assert_int_equal(r.n_cells, N);
    assert_int_equal(r.n_labels, LABELS);
    assert_int_equal(r.n_folds, 5);
    assert_false(r.grouped);
    assert_true(grouped.grouped);
    int64_t n_test = 0;
    for (int f = 0; f < 5; f++) n_test += r.folds[f].n_test;
    assert_int_equal(n_test, N);
    make_sample(&s, 0, 0); /* nothing is there */
    r = probe(&s, &o, NULL, 1);
    assert_true(fabs(r.accuracy - 1.0 / LABELS) < 0.1);
    assert_true(r.accuracy_sd > 0);
}

/* What marks the donor and not the label helps only where the donor was seen. */
static void groups_are_kept_apart(void **state)
{
    static sample s;
    cpt_probe_options o;
    cpt_probe_options_init(&o);
    o.n_folds = 6;
    make_sample(&s, 0, 6);
    const double seen = probe(&s, &o, NULL, 1).accuracy,
                 unseen = probe(&s, &o, s.donors, 1).accuracy;
    assert_true(seen > 0.95);
    assert_true(unseen < 0.6);
}

/* The columns are chosen on training cells: 2000 columns of noise do not look good. */
static void choice_is_inside_the_folds(void **state)
{
    enum { CELLS = 60, COLUMNS = 2000 };
    float *x = calloc(CELLS * COLUMNS, sizeof *x);
    int32_t labels[CELLS];
    cpt_stream r;
    cpt_stream_init(&r, 8, CPT_RANDOM_TEST, 0);
    for (int i = 0; i < CELLS * COLUMNS; i++) x[i] = (float)cpt_stream_normal(&r);
    for (int i = 0; i < CELLS; i++) labels[i] = i % 2;
    cpt_probe_options o;
    cpt_probe_result result;
    cpt_probe_options_init(&o);
    o.n_best = 10;
    assert_ok(cpt_probe(&o, x, CELLS, COLUMNS, labels, 2, NULL, &result, NULL, &err));
    assert_true(fabs(result.accuracy - 0.5) < 0.2);
    for (int i = 0; i < CELLS; i++) x[i * COLUMNS + 1234] += (float)(5 * labels[i]);
    o.n_best = 1;
    assert_ok(cpt_probe(&o, x, CELLS, COLUMNS, labels, 2, NULL, &result, NULL, &err));
    assert_true(result.accuracy > 0.95);
    free(x);
}

static void scores_by_hand(void **state)
{
    /* One column tells label 0 from the rest; labels 1 and 2 look alike and 1 is commoner, so that
     * 2 is never named: F1 = 1, 2 * 0.75 / 1.75, 0. Folds have 2, 3 and 1 of them. */
    float x[60];
    int32_t labels[60];
    for (int i = 0; i < 60; i++) {
        labels[i] = i < 20 ? 0 : i < 50 ? 1 : 2;
        x[i] = labels[i] == 0 ? -1 : 1;
    }
    cpt_probe_options o;
    cpt_probe_result r;
    cpt_probe_options_init(&o);
    o.n_folds = 10;
    o.n_strengths = 1, o.strengths[0] = 1;
    assert_ok(cpt_probe(&o, x, 60, 1, labels, 3, NULL, &r, NULL, &err));
    assert_int_equal(r.n_folds, 10);
    assert_near(r.accuracy, 5.0 / 6, 1e-12);
    assert_near(r.accuracy_sd, 0, 1e-12);
    assert_near(r.macro_f1, (1 + 2 * 3.0 / (4 + 3) + 0) / 3, 1e-12);
    assert_near(r.majority, 0.5, 1e-12);
    assert_near(r.folds[0].strength, 1, 0);
}

static void deals_evenly(void **state)
{
    enum { CELLS = 103 };
    int32_t labels[CELLS], fold[CELLS], again[CELLS], counts[5][4] = {{0}}, n_folds = 5;
    for (int i = 0; i < CELLS; i++) labels[i] = i % 4;
    assert_ok(cpt_probe_deal(CELLS, labels, NULL, 1, 2, &n_folds, fold, &err));
    assert_ok(cpt_probe_deal(CELLS, labels, NULL, 1, 3, &n_folds, again, &err));
    assert_memory_not_equal(fold, again, sizeof fold);
    for (int i = 0; i < CELLS; i++) counts[fold[i]][labels[i]]++;
    for (int f = 0; f < 5; f++) {
        int total = 0;
        for (int k = 0; k < 4; k++) {
            assert_in_range(counts[f][k], 5, 6);
            total += counts[f][k];
        }
        assert_in_range(total, 20, 21);
    }
    const int32_t groups[] = {7, 7, 7, 2, 2, 9, 9};
    assert_ok(cpt_probe_deal(7, NULL, groups, 0, 0, &n_folds, fold, &err));
    assert_int_equal(n_folds, 3);
    assert_int_equal(fold[0], 0);
    assert_int_equal(fold[3], 1);
    assert_int_equal(fold[5], 2);
}

static void same_bits_for_any_threads(void **state)
{
    static sample s;
    cpt_probe_options o;
    cpt_probe_options_init(&o);
    o.max_cells = 300;
    make_sample(&s, 1, 0);
    cpt_probe_result one = probe(&s, &o, NULL, 1), two = probe(&s, &o, NULL, 2);
    assert_int_equal(one.n_cells, 300);
    for (int f = 0; f < 5; f++) {
        assert_true(one.folds[f].accuracy == two.folds[f].accuracy);
        assert_true(one.folds[f].strength == two.folds[f].strength);
    }
    enum { CELLS = 20000, COLUMNS = 20 }; /* enough work for a team of threads */
    double theta[2][LABELS * COLUMNS] = {{0}}, *x = calloc(CELLS * COLUMNS, sizeof *x);
    int32_t *y = calloc(CELLS, sizeof *y);
    cpt_stream draw;
    cpt_stream_init(&draw, 1, CPT_RANDOM_TEST, 0);
    for (int i = 0; i < CELLS * COLUMNS; i++) x[i] = cpt_stream_normal(&draw);
    for (int i = 0; i < CELLS; i++) y[i] = (x[i * COLUMNS] > 0) + (x[i * COLUMNS + 1] > 0.5);
    for (int t = 0; t < 2; t++) {
        const cpt_context ctx = {.n_threads = t + 1};
        const cpt_logistic p = {.n = CELLS, .width = COLUMNS, .n_classes = LABELS, .x = x, .y = y,
                                .strength = 1, .tolerance = 1e-3};
        assert_ok(cpt_logistic_fit(&p, theta[t], &ctx, &err));
    }
    free(x), free(y);
    assert_memory_equal(theta[0], theta[1], sizeof theta[0]);
}

static void rare_and_absent_labels(void **state)
{
    static sample s;
    cpt_probe_options o;
    cpt_probe_options_init(&o);
    make_sample(&s, 6, 0);
    for (int i = 0; i < N; i++)
        if (s.labels[i] == 2 && i > 10)
            s.labels[i] = i % 3 ? 0 : -1; /* a few are left of label 2 */
    cpt_probe_result r = probe(&s, &o, NULL, 1);
    assert_true(r.n_cells < N);
    assert_true(r.macro_f1 < r.accuracy);
    assert_true(isfinite(r.macro_f1_sd));
}

static void refuses(void **state)
{
    static sample s;
    cpt_probe_options o;
    cpt_probe_result r;
    int32_t one[N] = {0};
    make_sample(&s, 1, 0);
#define REFUSED(code, words, x, n, labels, groups)                                                 \
    do {                                                                                           \
        assert_int_equal(cpt_probe(&o, x, n, DIM, labels, LABELS, groups, &r, NULL, &err), code);  \
        if (!strstr(err.text, words)) fail_msg("%s", err.text);                                    \
    } while (0)
    cpt_probe_options_init(&o);
    REFUSED(CPT_ERR_DATA, "at least two labels", s.x, N, one, NULL);
    REFUSED(CPT_ERR_DATA, "probe without groups", s.x, N, s.labels, one);
    REFUSED(CPT_ERR_DATA, "too few for 5 folds", s.x, 9, s.labels, NULL);
    REFUSED(CPT_ERR_DATA, "must be at least 1", s.x, 0, s.labels, NULL);
    s.labels[17] = 3;
    REFUSED(CPT_ERR_USAGE, "label 3 of cell 17", s.x, N, s.labels, NULL);
    s.labels[17] = -1;
    s.x[18 * DIM + 2] = NAN;
    REFUSED(CPT_ERR_DATA, "column 2 of cell 18", s.x, N, s.labels, NULL);
    s.labels[18] = -1; /* an unlabelled cell may be anything */
    assert_ok(cpt_probe(&o, s.x, N, DIM, s.labels, LABELS, NULL, &r, NULL, &err));
    o.n_folds = 1;
    REFUSED(CPT_ERR_USAGE, "2 to 20 folds", s.x, N, s.labels, NULL);
    cpt_probe_options_init(&o);
    o.strengths[2] = 0.001;
    REFUSED(CPT_ERR_USAGE, "number 3 is 0.001", s.x, N, s.labels, NULL);
#undef REFUSED
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_binary),
        cmocka_unit_test(golden_multinomial),
        cmocka_unit_test(separable_and_wild_data),
        cmocka_unit_test(reads_what_is_there),
        cmocka_unit_test(groups_are_kept_apart),
        cmocka_unit_test(choice_is_inside_the_folds),
        cmocka_unit_test(scores_by_hand),
        cmocka_unit_test(deals_evenly),
        cmocka_unit_test(same_bits_for_any_threads),
        cmocka_unit_test(rare_and_absent_labels),
        cmocka_unit_test(refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

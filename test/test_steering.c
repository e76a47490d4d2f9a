/* Edits of one concept, their decoded expression, and the labels' probabilities. */
#include "check.h"

#include "base/memory.h"
#include "base/random.h"
#include "concept/activations.h"
#include "concept/steering.h"
#include "dictionary/train.h"
#include "evaluate/label_change.h"

static cpt_err err;
enum { DIM = 6, CELLS = 240, GENES = 40 };

static void draw(float *out, int64_t n, uint64_t seed)
{
    cpt_stream s;
    cpt_stream_init(&s, seed, CPT_RANDOM_TEST, 0);
    for (int64_t i = 0; i < n; i++) out[i] = (float)cpt_stream_normal(&s);
}

/* ---- a model whose log rates are linear in the embedding ---- */

typedef struct toy {
    cpt_model base;
    float loading[GENES * DIM];
} toy;

static cpt_status toy_decode(const cpt_model *m, int64_t n, const float *z, int32_t batch,
                             float *out, const cpt_context *ctx, cpt_err *e)
{
    const toy *t = (const toy *)(const void *)m;
    for (int64_t i = 0; i < n; i++) {
        double sum = 0, rate[GENES];
        for (int g = 0; g < GENES; g++) {
            double score = 0;
            for (int j = 0; j < DIM; j++) score += (double)t->loading[g * DIM + j] * z[i * DIM + j];
            sum += rate[g] = exp(score);
        }
        for (int g = 0; g < GENES; g++) out[i * GENES + g] = (float)(rate[g] / sum);
    }
    return CPT_OK;
}

static const cpt_model_ops toy_ops = {.kind = "toy", .decode = toy_decode};
static const cpt_model_ops silent_ops = {.kind = "silent"};

static void toy_init(toy *t)
{
    *t = (toy){.base = {.ops = &toy_ops, .n_genes = GENES, .dim = DIM}};
    draw(t->loading, GENES * DIM, 3);
    for (int j = 0; j < DIM; j++) t->loading[5 * DIM + j] = j == 0 ? 4.0f : 0; /* gene 5: axis 0 */
}

static cpt_dictionary *neurons(void)
{
    cpt_dictionary *d = NULL;
    cpt_dictionary_options o;
    cpt_dictionary_report report = {0};
    float a[CELLS * DIM];
    int64_t rows[CELLS];
    cpt_dictionary_options_init(&o);
    o.kind = "neurons";
    draw(a, CELLS * DIM, 1);
    for (int i = 0; i < CELLS; i++) rows[i] = i;
    assert_ok(cpt_dictionary_train(&o, a, DIM, CELLS - 20, rows, 20, rows + CELLS - 20, &d, &report,
                                   NULL, &err));
    cpt_dictionary_report_free(&report);
    return d;
}

/* ---- edits ---- */

static void edits_move_one_concept(void **state)
{
    cpt_dictionary *d = neurons(); /* c0 = +coordinate 0, c1 = -coordinate 0 */
    float a[CELLS * DIM], before[CELLS], after[CELLS], out[CELLS * DIM], again[CELLS];
    draw(a, CELLS * DIM, 2);
    cpt_steering what = {.concept = 0, .kind = CPT_STEER_SCALE, .value = 3};
    assert_ok(cpt_steering_activations(d, &what, CELLS, a, before, after, &err));
    cpt_steering_edit(CELLS, DIM, a, before, after, d->decoder, out);
    for (int i = 0; i < CELLS; i++) {
        const float u = a[i * DIM] > 0 ? a[i * DIM] : 0;
        assert_near(before[i], u, 0);
        assert_near(after[i], 3 * u, 1e-6);
        assert_near(out[i * DIM], a[i * DIM] + 2 * u, 1e-5);
        for (int j = 1; j < DIM; j++) assert_true(out[i * DIM + j] == a[i * DIM + j]);
    }
    what = (cpt_steering){.concept = 0, .kind = CPT_STEER_CLAMP, .value = 0};
    assert_ok(cpt_steering_activations(d, &what, CELLS, a, before, after, &err));
    cpt_steering_edit(CELLS, DIM, a, before, after, d->decoder, out);
    assert_ok(d->ops->readout(d, 0, CELLS, out, again, NULL, &err));
    for (int i = 0; i < CELLS; i++) assert_near(again[i], 0, 0);
    what.concept = 2 * DIM;
    assert_int_equal(cpt_steering_activations(d, &what, 1, a, before, after, &err), CPT_ERR_USAGE);
    assert_non_null(strstr(err.text, "c0 to c11"));
    what = (cpt_steering){.concept = 0, .kind = CPT_STEER_SCALE, .value = -1};
    assert_int_equal(cpt_steering_activations(d, &what, 1, a, before, after, &err), CPT_ERR_USAGE);
    what.value = NAN;
    assert_int_equal(cpt_steering_activations(d, &what, 1, a, before, after, &err), CPT_ERR_USAGE);
    cpt_dictionary_free(d);
}

/* The part that the dictionary does not explain survives any edit, whatever the dictionary. */
static void error_term_is_kept(void **state)
{
    static const char *const kinds[] = {"topk", "pca", "ica", "nmf", "neurons", "random"};
    static float a[CELLS * DIM];
    int64_t rows[CELLS];
    draw(a, CELLS * DIM, 4);
    for (int i = 0; i < CELLS; i++) rows[i] = i;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        cpt_dictionary *d = NULL;
        cpt_dictionary_options o;
        cpt_dictionary_report report = {0};
        cpt_activations *u = NULL;
        float before[CELLS], after[CELLS], out[CELLS * DIM];
        cpt_dictionary_options_init(&o);
        o.kind = kinds[k];
        o.epochs = 2;
        assert_ok(cpt_dictionary_train(&o, a, DIM, CELLS - 20, rows, 20, rows + CELLS - 20, &d,
                                       &report, NULL, &err));
        assert_ok(cpt_activations_encode(d, a, CELLS, &u, NULL, &err));
        const cpt_steering what = {.concept = 1, .kind = CPT_STEER_CLAMP, .value = 1.5};
        assert_ok(cpt_steering_activations(d, &what, CELLS, a, before, after, &err));
        cpt_steering_edit(CELLS, DIM, a, before, after, d->decoder + DIM, out);
        float column[CELLS];
        cpt_activations_column(u, 1, column);
        for (int i = 0; i < CELLS; i++) {
            assert_near(before[i], column[i], 1e-6); /* what the study holds */
            for (int j = 0; j < DIM; j++)
                assert_near(out[i * DIM + j] - a[i * DIM + j],
                            (1.5 - (double)column[i]) * d->decoder[DIM + j], 1e-5);
        }
        cpt_activations_free(u);
        cpt_dictionary_report_free(&report);
        cpt_dictionary_free(d);
    }
}

static void directions_have_the_length(void **state)
{
    const float like[DIM] = {3, 0, 0, 4, 0, 0};
    float out[50 * DIM], fewer[10 * DIM];
    double mean[DIM] = {0};
    cpt_steering_random(1, 50, DIM, like, out);
    cpt_steering_random(1, 10, DIM, like, fewer);
    assert_memory_equal(out, fewer, sizeof fewer);
    for (int i = 0; i < 50; i++) {
        double square = 0;
        for (int j = 0; j < DIM; j++) {
            square += (double)out[i * DIM + j] * out[i * DIM + j];
            mean[j] += out[i * DIM + j] / 50.0;
        }
        assert_near(sqrt(square), 5, 1e-5);
    }
    for (int j = 0; j < DIM; j++) assert_true(fabs(mean[j]) < 1.2); /* sd 0.29 */
    assert_near(cpt_rank_p(0, 99, 99), 0.02, 1e-12);
    assert_near(cpt_rank_p(50, 49, 99), 1, 1e-12);
}

/* ---- genes ---- */

static void genes_follow_the_decoder(void **state)
{
    static float a[CELLS * DIM], directions[99 * DIM];
    toy t;
    float before[CELLS], after[CELLS];
    const float direction[DIM] = {1, 0, 0, 0, 0, 0};
    cpt_gene_change c[2][GENES];
    toy_init(&t);
    draw(a, CELLS * DIM, 5);
    for (int i = 0; i < CELLS; i++) {
        before[i] = 0;
        after[i] = 1;
    }
    cpt_steering_random(2, 99, DIM, direction, directions);
    for (int k = 0; k < 2; k++) {
        cpt_context ctx;
        cpt_context_init(&ctx);
        ctx.n_threads = 1 + 3 * k;
        assert_ok(cpt_steering_genes(&t.base, CELLS, a, before, after, direction, 99, directions,
                                     c[k], &ctx, &err));
    }
    for (int g = 0; g < GENES; g++) /* padding may differ */
        assert_true(c[0][g].gene == c[1][g].gene && c[0][g].log2fc == c[1][g].log2fc &&
                    c[0][g].sd == c[1][g].sd && c[0][g].null_mean == c[1][g].null_mean &&
                    c[0][g].null_sd == c[1][g].null_sd && c[0][g].p == c[1][g].p);
    int32_t at = 0;
    while (c[0][at].gene != 5) at++;
    /* by hand: the mean log2 fold of gene 5 */
    double mean = 0, square = 0;
    for (int i = 0; i < CELLS; i++) {
        float edited[DIM], x[GENES], y[GENES];
        for (int j = 0; j < DIM; j++) edited[j] = a[i * DIM + j] + direction[j];
        toy_decode(&t.base, 1, a + i * DIM, -1, x, NULL, NULL);
        toy_decode(&t.base, 1, edited, -1, y, NULL, NULL);
        const double change = log2((y[5] + 1e-8) / (x[5] + 1e-8));
        mean += change / CELLS;
        square += change * change;
    }
    assert_near(c[0][at].log2fc, mean, 1e-4);
    assert_near(c[0][at].sd, sqrt((square - CELLS * mean * mean) / (CELLS - 1)), 1e-3);
    assert_near(c[0][at].same_sign, 1, 0);
    assert_true(c[0][at].p <= 0.06); /* the axis it loads on */
    assert_true(c[0][at].after > c[0][at].before);
    int32_t n_small = 0;
    for (int g = 0; g < GENES; g++) {
        if (g) assert_true(fabs(c[0][g].log2fc) <= fabs(c[0][g - 1].log2fc));
        assert_true(c[0][g].p > 0 && c[0][g].p <= 1 && c[0][g].q >= c[0][g].p);
        n_small += c[0][g].p < 0.05;
    }
    assert_true(n_small < GENES / 3);
}

static void without_directions_or_decoder(void **state)
{
    static float a[3 * DIM];
    toy t;
    const float before[3] = {0, 0, 0}, after[3] = {0, 0, 0}, direction[DIM] = {1};
    cpt_gene_change c[GENES];
    toy_init(&t);
    draw(a, 3 * DIM, 6);
    assert_ok(cpt_steering_genes(&t.base, 3, a, before, after, direction, 0, NULL, c, NULL, &err));
    for (int g = 0; g < GENES; g++) { /* nothing was moved */
        assert_near(c[g].log2fc, 0, 0);
        assert_true(isnan(c[g].p) && isnan(c[g].q) && isnan(c[g].null_sd));
        assert_int_equal(c[g].gene, g);
    }
    assert_ok(cpt_steering_genes(&t.base, 1, a, before, after, direction, 0, NULL, c, NULL, &err));
    assert_true(isnan(c[0].sd));
    assert_int_equal(
        cpt_steering_genes(&t.base, 0, a, before, after, direction, 0, NULL, c, NULL, &err),
        CPT_ERR_DATA);
    t.base.ops = &silent_ops;
    assert_int_equal(
        cpt_steering_genes(&t.base, 3, a, before, after, direction, 0, NULL, c, NULL, &err),
        CPT_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "no decoder"));
}

/* ---- labels ---- */

/* Three labels in three corners. */
static void draw_labelled(float *a, int32_t *labels, int32_t *donors)
{
    draw(a, CELLS * DIM, 7);
    for (int i = 0; i < CELLS; i++) {
        labels[i] = i % 3;
        donors[i] = i / 3 % 5;
        a[i * DIM + labels[i]] += 4;
    }
}

static void probabilities_follow_the_edit(void **state)
{
    static float a[CELLS * DIM], directions[59 * DIM];
    int32_t labels[CELLS], donors[CELLS];
    int64_t cells[CELLS], n = 0, n_judged;
    float before[CELLS], after[CELLS];
    double accuracy, majority, p[3];
    const float direction[DIM] = {-1, 1, 0, 0, 0, 0};
    cpt_crossfit_options o;
    cpt_label_change c[2][3];
    draw_labelled(a, labels, donors);
    labels[0] = labels[4] = -1;
    a[7 * DIM] = NAN;
    for (int i = 0; i < CELLS; i++)
        if (labels[i] == 0) {
            cells[n] = i;
            before[n] = 0;
            after[n++] = 4;
        }
    cpt_steering_random(3, 59, DIM, direction, directions);
    cpt_crossfit_options_init(&o);
    for (int grouped = 0; grouped < 2; grouped++) {
        cpt_crossfit *probe = NULL;
        assert_ok(cpt_crossfit_new(&o, a, CELLS, DIM, labels, 3, grouped ? donors : NULL, &probe,
                                   NULL, &err));
        cpt_crossfit_accuracy(probe, &n_judged, &accuracy, &majority);
        assert_int_equal(n_judged, CELLS - 3);
        assert_true(accuracy > 0.95 && majority > 0.3 && majority < 0.4);
        cpt_crossfit_probabilities(probe, 0, a, p); /* a cell without a label has one too */
        assert_near(p[0] + p[1] + p[2], 1, 1e-12);
        for (int k = 0; k < 2; k++) {
            cpt_context ctx;
            cpt_context_init(&ctx);
            ctx.n_threads = 1 + 2 * k;
            assert_ok(cpt_label_changes(probe, a, n, cells, before, after, direction, 59,
                                        directions, c[k], &ctx, &err));
        }
        for (int l = 0; l < 3; l++)
            assert_true(c[0][l].change == c[1][l].change && c[0][l].null_sd == c[1][l].null_sd &&
                        c[0][l].p == c[1][l].p);
        assert_true(c[0][0].before > 0.9 && c[0][1].after > 0.9 && c[0][1].named_after > 0.9);
        assert_near(c[0][0].change, c[0][0].after - c[0][0].before, 1e-12);
        assert_near(c[0][0].change + c[0][1].change + c[0][2].change, 0, 1e-9);
        assert_true(c[0][1].p < 0.1 && c[0][2].p > 0.1 && c[0][1].null_mean < 0.5);
        cpt_crossfit_free(probe);
    }
}

static void probe_needs_labels(void **state)
{
    static float a[CELLS * DIM];
    int32_t labels[CELLS], donors[CELLS];
    cpt_crossfit_options o;
    cpt_crossfit *probe = NULL;
    cpt_crossfit_options_init(&o);
    draw_labelled(a, labels, donors);
    for (int i = 0; i < CELLS; i++) labels[i] = 1;
    assert_int_equal(cpt_crossfit_new(&o, a, CELLS, DIM, labels, 3, NULL, &probe, NULL, &err),
                     CPT_ERR_DATA);
    assert_null(probe);
    draw_labelled(a, labels, donors);
    for (int i = 0; i < CELLS; i++) donors[i] = 2;
    assert_int_equal(cpt_crossfit_new(&o, a, CELLS, DIM, labels, 3, donors, &probe, NULL, &err),
                     CPT_ERR_DATA);
    assert_non_null(strstr(err.text, "one donor"));
    for (int i = 8; i < CELLS; i++) labels[i] = -1;
    assert_int_equal(cpt_crossfit_new(&o, a, CELLS, DIM, labels, 3, NULL, &probe, NULL, &err),
                     CPT_ERR_DATA);
    assert_non_null(strstr(err.text, "too few"));
    cpt_crossfit_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(edits_move_one_concept),
        cmocka_unit_test(error_term_is_kept),
        cmocka_unit_test(directions_have_the_length),
        cmocka_unit_test(genes_follow_the_decoder),
        cmocka_unit_test(without_directions_or_decoder),
        cmocka_unit_test(probabilities_follow_the_edit),
        cmocka_unit_test(probe_needs_labels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "check.h"

#include "base/file.h"
#include "dictionary/dictionary.h"

enum { DIM = 3, N = 4 };

static cpt_err err;
static const float a[N * DIM] = {1, -2, 0, 0, 0, 0, -0.5f, 0.25f, 8, -0.0f, 1e-30f, -1e30f};

static cpt_dictionary *neurons(void)
{
    static const int64_t rows[] = {0, 1, 2, 3};
    cpt_dictionary_options o;
    cpt_dictionary_options_init(&o);
    o.kind = "neurons";
    cpt_dictionary *d;
    cpt_dictionary_report report;
    assert_ok(cpt_dictionary_train(&o, a, DIM, 2, rows, 2, rows + 2, &d, &report, NULL, &err));
    assert_near(report.train.r2_feature, 1, 0);
    assert_near(report.validation.r2_feature, 1, 0);
    assert_near(report.validation.l0, 2.5, 0);
    assert_near(report.validation.dead_fraction, 2.0 / 6, 1e-12);
    cpt_dictionary_report_free(&report);
    return d;
}

static void test_units(void **state)
{
    cpt_dictionary *d = neurons();
    int32_t counts[N], concepts[N * DIM];
    float values[N * DIM], decoded[N * DIM], activation[N], pre[N], g[DIM];
    assert_int_equal(d->n_concepts, 2 * DIM);
    assert_int_equal(d->max_active, DIM);
    assert_string_equal(d->ops->kind, "neurons");
    assert_ok(d->ops->encode(d, N, a, counts, concepts, values, &err));
    assert_int_equal(counts[0], 2);
    assert_int_equal(concepts[0], 0); /* +coordinate 0 */
    assert_int_equal(concepts[1], 3); /* -coordinate 1 */
    assert_near(values[1], 2, 0);
    assert_int_equal(counts[1], 0);
    assert_int_equal(counts[3], 2); /* -0 is not active */
    d->ops->decode(d, N, counts, concepts, values, decoded);
    for (int i = 0; i < N * DIM; i++) assert_near(decoded[i], a[i], 0);

    assert_ok(d->ops->readout(d, 3, N, a, activation, pre, &err));
    assert_near(activation[0], 2, 0);
    assert_near(pre[0], 2, 0);
    assert_near(activation[2], 0, 0);
    assert_near(pre[2], -0.25, 0);
    assert_ok(d->ops->readout(d, 0, N, a, activation, NULL, &err));
    assert_near(activation[0], 1, 0);
    d->ops->gradient(d, 3, a, g);
    for (int j = 0; j < DIM; j++) {
        assert_near(g[j], j == 1 ? -1 : 0, 0);
        assert_near(d->decoder[3 * DIM + j], j == 1 ? -1 : 0, 0);
    }
    cpt_dictionary_free(d);
}

static void test_round_trip(void **state)
{
    char folder[64];
    snprintf(folder, sizeof folder, "/tmp/conceptome-test-neurons-%d", (int)getpid());
    cpt_dictionary *d = neurons(), *back;
    assert_ok(d->ops->save(d, folder, &err));
    assert_ok(cpt_dictionary_open(folder, &back, &err));
    assert_string_equal(back->ops->kind, "neurons");
    assert_int_equal(back->dim, DIM);
    assert_memory_equal(back->decoder, d->decoder, 2 * DIM * DIM * sizeof(float));
    cpt_dictionary_free(d);
    cpt_dictionary_free(back);
    assert_ok(cpt_remove_tree(folder, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_units),
        cmocka_unit_test(test_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

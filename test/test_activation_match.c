/* Units matched by activations: permutations undone, correlations as Pearson's, constants left out.
 */
#include "check.h"

#include "base/random.h"
#include "evaluate/activation_match.h"
#include "math/statistics.h"

enum { CELLS = 150, UNITS = 9 };
static cpt_err err;

typedef struct sparse {
    float dense[CELLS][UNITS];
    int64_t indptr[CELLS + 1];
    int32_t indices[CELLS * UNITS];
    float values[CELLS * UNITS];
    cpt_csr csr;
} sparse;

static void pack(sparse *x)
{
    int64_t n = 0;
    for (int i = 0; i < CELLS; i++) {
        for (int u = 0; u < UNITS; u++)
            if (x->dense[i][u] > 0) {
                x->indices[n] = u;
                x->values[n++] = x->dense[i][u];
            }
        x->indptr[i + 1] = n;
    }
    x->csr = (cpt_csr){CELLS, UNITS, x->indptr, x->indices, x->values};
}

static void permuted_units_are_matched(void **state)
{
    (void)state;
    static sparse a, b;
    static const int to[UNITS] = {4, 2, 8, 0, 6, 1, 7, 3, 5};
    int32_t partner[UNITS];
    double correlation[UNITS], mean = 0;
    cpt_activation_match m;
    cpt_stream s;
    cpt_stream_init(&s, 5, CPT_RANDOM_TEST, 0);
    for (int i = 0; i < CELLS; i++)
        for (int u = 0; u < UNITS; u++) {
            const double x = cpt_stream_normal(&s), noise = cpt_stream_normal(&s);
            a.dense[i][u] = x > 0.5 && u != 3 ? (float)x : 0; /* unit 3 is dead */
            b.dense[i][to[u]] = a.dense[i][u] > 0 ? (float)(2 * x + 0.1 * fabs(noise)) : 0;
        }
    pack(&a);
    pack(&b);
    assert_ok(cpt_match_activations(&a.csr, &b.csr, partner, correlation, &m, NULL, &err));
    assert_int_equal(m.n_matched, UNITS - 1);
    for (int u = 0; u < UNITS; u++) {
        double x[CELLS], y[CELLS];
        if (u == 3) {
            assert_int_equal(partner[u], -1);
            assert_true(isnan(correlation[u]));
            continue;
        }
        assert_int_equal(partner[u], to[u]);
        for (int i = 0; i < CELLS; i++) {
            x[i] = (double)a.dense[i][u];
            y[i] = (double)b.dense[i][to[u]];
        }
        assert_near(correlation[u], cpt_pearson(CELLS, x, y), 1e-9);
        mean += correlation[u] / (UNITS - 1);
    }
    assert_near(m.correlation, mean, 1e-12);
    assert_near(m.above_09, 1, 0);
}

static void other_cells_are_refused(void **state)
{
    (void)state;
    static sparse a;
    cpt_activation_match m;
    pack(&a);
    cpt_csr fewer = a.csr;
    fewer.n_rows--;
    assert_int_equal(cpt_match_activations(&a.csr, &fewer, NULL, NULL, &m, NULL, &err),
                     CPT_ERR_DATA);
    assert_non_null(strstr(err.text, "same cells"));
    assert_ok(cpt_match_activations(&a.csr, &a.csr, NULL, NULL, &m, NULL, &err)); /* all dead */
    assert_int_equal(m.n_matched, 0);
    assert_true(isnan(m.correlation));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(permuted_units_are_matched),
        cmocka_unit_test(other_cells_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

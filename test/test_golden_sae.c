/* Dictionary folders that SAELens wrote: our encoding and decoding against its own
 * (test/golden/sae). The training steps of dictionary_learning in the same folder are compared in
 * test_sae.c. */
#include "check.h"

#include "dictionary/dictionary.h"
#include "io/checkpoint.h"

enum { CELLS = 24, DIM = 10, CONCEPTS = 40, K = 4 };

static cpt_err err;

static void read_tensor(const cpt_checkpoint *c, const char *prefix, const char *name, double *out)
{
    char full[100];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    const cpt_tensor *t = cpt_checkpoint_find(c, full);
    if (!t) fail_msg("no tensor %s", full);
    assert_ok(cpt_tensor_read_f64(t, out, &err));
}

static void check_folder(const char *name)
{
    static double x[CELLS * DIM], want_u[CELLS * CONCEPTS], want_a[CELLS * DIM];
    static float a[CELLS * DIM], values[CELLS * K], got[CELLS * DIM];
    int32_t counts[CELLS], concepts[CELLS * K];
    char folder[100];
    cpt_checkpoint *c;
    cpt_dictionary *d;
    assert_ok(cpt_checkpoint_open("test/golden/sae/sae_lens.safetensors", &c, &err));
    read_tensor(c, "", "x", x);
    read_tensor(c, name, ".activations_f64", want_u);
    read_tensor(c, name, ".reconstruction_f64", want_a);
    cpt_checkpoint_free(c);
    for (int i = 0; i < CELLS * DIM; i++) a[i] = (float)x[i];

    snprintf(folder, sizeof folder, "test/golden/sae/%s", name);
    assert_ok(cpt_dictionary_open(folder, &d, &err));
    assert_int_equal(d->dim, DIM);
    assert_int_equal(d->n_concepts, CONCEPTS);
    assert_int_equal(d->max_active, K);
    assert_ok(d->ops->encode(d, CELLS, a, counts, concepts, values, &err));
    for (int i = 0; i < CELLS; i++) {
        int at = 0;
        for (int f = 0; f < CONCEPTS; f++) {
            bool active = at < counts[i] && concepts[i * K + at] == f;
            double u = active ? values[i * K + at++] : 0, w = want_u[i * CONCEPTS + f];
            if (active != (w > 0))
                fail_msg("%s: cell %d, concept %d: %g, not %g", name, i, f, u, w);
            assert_near(u, w, 2e-6 * (1 + w));
        }
        assert_int_equal(at, counts[i]);
    }
    d->ops->decode(d, CELLS, counts, concepts, values, got);
    for (int i = 0; i < CELLS * DIM; i++) assert_near(got[i], want_a[i], 1e-5);
    cpt_dictionary_free(d);
}

static void test_sae_lens(void **state)
{
    check_folder("sae_lens");
}

static void test_sae_lens_rescaled(void **state)
{
    check_folder("sae_lens_rescaled");
}

static void test_sae_lens_no_input_bias(void **state)
{
    check_folder("sae_lens_no_input_bias");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sae_lens),
        cmocka_unit_test(test_sae_lens_rescaled),
        cmocka_unit_test(test_sae_lens_no_input_bias),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

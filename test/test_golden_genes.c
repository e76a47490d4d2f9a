/* The choice of variable genes against scanpy's (test/golden/genes). */
#include "golden.h"
#include "scvi_golden.h"

#include "model/variable_genes.h"

enum { CELLS = 90, GENES = 70 };

static void test_pearson_residuals(void **state)
{
    cpt_err err;
    cpt_checkpoint *file = golden_file("test/golden", "genes", "counts.safetensors");
    float *counts = golden_f32(file, "counts"), by_gene[GENES * CELLS];
    for (int g = 0; g < GENES; g++)
        for (int c = 0; c < CELLS; c++) by_gene[g * CELLS + c] = counts[c * GENES + g];
    cpt_csr csr = dense_csr(by_gene, GENES, CELLS);
    json_t *root = golden_json("test/golden/genes/pearson_residuals.json"), *entry;
    size_t i;
    json_array_foreach(json_object_get(root, "cases"), i, entry) {
        const double theta = golden_get(entry, "theta");
        const cpt_variable_genes_options o = {.n_top = (int32_t)golden_get(entry, "n_top"),
                                              .theta = isnan(theta) ? INFINITY : theta,
                                              .clip = golden_get(entry, "clip")};
        double got[GENES];
        int32_t chosen[GENES], n_chosen;
        int n;
        assert_ok(cpt_variable_genes(&csr, &o, got, chosen, &n_chosen, NULL, &err));
        double *variance = golden_array(json_object_get(entry, "residual_variance"), &n);
        assert_int_equal(n, GENES);
        for (int g = 0; g < GENES; g++) /* scanpy works in double, from counts in float32: exact */
            assert_near(got[g], variance[g], 1e-11 * (1 + variance[g]));
        double *want = golden_array(json_object_get(entry, "chosen"), &n);
        assert_int_equal(n_chosen, n);
        for (int j = 0; j < n; j++) assert_int_equal(chosen[j], want[j]);
        free(variance), free(want);
    }
    assert_int_equal(i, 4);
    json_decref(root);
    dense_free(&csr);
    free(counts);
    cpt_checkpoint_free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pearson_residuals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

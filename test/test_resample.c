/* Resampling kernels against plain loops, at every level of the processor. */
#include "check.h"

#include "base/random.h"
#include "math/resample.h"

enum { ROWS = 7, VALUES = 33, N = 150 };

static void equal_plain_loops(void **state)
{
    (void)state;
    int64_t stride = cpt_resample_stride(N), counts[ROWS];
    assert_int_equal(stride, 192);
    float values[ROWS * VALUES], *weights = calloc((size_t)(VALUES * stride), sizeof *weights);
    float *out = calloc((size_t)(ROWS * stride), sizeof *out), limits[ROWS];
    cpt_stream s;
    cpt_stream_init(&s, 3, CPT_RANDOM_TEST, 0);
    for (int i = 0; i < ROWS * VALUES; i++) values[i] = (float)cpt_stream_normal(&s);
    for (int i = 0; i < VALUES; i++)
        for (int r = 0; r < N; r++) weights[i * stride + r] = cpt_stream_below(&s, 2) ? 1 : -1;
    for (int g = 0; g < ROWS; g++) limits[g] = g == 5 ? -1 : (float)g; /* below 0: all are extreme */
    for (int level = 0; level < 3; level++) {
        const cpt_resample_kernels *k = cpt_resample_kernels_at(level);
        if (!k) continue;
        k->sums(ROWS, VALUES, values, stride, weights, out);
        k->count_extreme(ROWS, VALUES, values, N, stride, weights, limits, counts);
        for (int g = 0; g < ROWS; g++) {
            int64_t extreme = 0;
            for (int r = 0; r < N; r++) {
                double want = 0;
                for (int i = 0; i < VALUES; i++) want += (double)values[g * VALUES + i] * weights[i * stride + r];
                assert_near(out[g * stride + r], want, 1e-5);
                extreme += fabsf(out[g * stride + r]) >= limits[g];
            }
            assert_int_equal(counts[g], extreme);
        }
        for (int64_t n = 0; n <= N; n += 50) { /* any length, and a row alone has the same bits */
            k->count_extreme(1, VALUES, values + 4 * VALUES, n, stride, weights, limits + 4, counts);
            int64_t extreme = 0;
            for (int64_t r = 0; r < n; r++) extreme += fabsf(out[4 * stride + r]) >= limits[4];
            assert_int_equal(counts[0], extreme);
        }
    }
    free(weights);
    free(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(equal_plain_loops)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

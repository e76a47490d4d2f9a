/* Batch normalisation with ReLU and dropout, there and back, against plain loops in double, at every level. */
#include "check.h"

#include "base/cpu.h"
#include "base/random.h"
#include "math/batch_norm.h"

enum { ROWS = 130, COLUMNS = 70 };

typedef struct layer {
    int32_t n, width;
    float x[ROWS * COLUMNS], d[ROWS * COLUMNS], keep[ROWS * COLUMNS], weight[COLUMNS], bias[COLUMNS];
} layer;

static void fill(layer *l, int32_t n, int32_t width)
{
    cpt_stream s;
    cpt_stream_init(&s, 1, CPT_RANDOM_TEST, (uint64_t)(n * 1000 + width));
    l->n = n;
    l->width = width;
    for (int32_t i = 0; i < n * width; i++) {
        l->x[i] = 100 + (float)cpt_stream_normal(&s); /* a mean that floats would feel */
        l->d[i] = (float)cpt_stream_normal(&s);
        l->keep[i] = cpt_stream_uniform(&s) < 0.3 ? 0 : 1.25f;
    }
    for (int32_t j = 0; j < width; j++) {
        l->weight[j] = 1 + 0.3f * (float)cpt_stream_normal(&s);
        l->bias[j] = 0.3f * (float)cpt_stream_normal(&s);
    }
}

static void check(const cpt_batch_norm_kernels *k, const layer *l, bool dropout)
{
    static float x[ROWS * COLUMNS + 1], y[ROWS * COLUMNS + 1], d[ROWS * COLUMNS + 1];
    double mean[COLUMNS], squares[COLUMNS], inverse[COLUMNS];
    float d_weight[COLUMNS + 1], d_bias[COLUMNS + 1], d_sum[COLUMNS + 1];
    const int32_t n = l->n, width = l->width;
    const cpt_batch_norm b = {n, width, l->weight, l->bias, dropout ? l->keep : NULL, inverse, x};
    memcpy(x, l->x, sizeof l->x);
    memcpy(d, l->d, sizeof l->d);
    x[n * width] = y[n * width] = d[n * width] = d_weight[width] = d_bias[width] = d_sum[width] = 7;
    k->moments(&b, mean, squares);
    for (int32_t j = 0; j < width; j++) inverse[j] = 1 / sqrt(squares[j] / n + 1e-3);
    k->forward(&b, mean, y);
    k->backward(&b, d, d_weight, d_bias, d_sum);
    assert_true(x[n * width] == 7 && y[n * width] == 7 && d[n * width] == 7);
    assert_true(d_weight[width] == 7 && d_bias[width] == 7 && d_sum[width] == 7);
    for (int32_t j = 0; j < width; j++) {
        double m = 0, v = 0, sum = 0, product = 0, total = 0, gated[ROWS], normal[ROWS];
        for (int32_t i = 0; i < n; i++) m += (double)l->x[i * width + j] / n;
        for (int32_t i = 0; i < n; i++) v += pow(l->x[i * width + j] - m, 2);
        assert_near(mean[j], m, 1e-12 * 100);
        assert_near(squares[j], v, 1e-10 * (1 + v));
        for (int32_t i = 0; i < n; i++) {
            const int32_t at = i * width + j;
            normal[i] = (l->x[at] - m) / sqrt(v / n + 1e-3);
            const double a = normal[i] * l->weight[j] + l->bias[j], kept = dropout ? l->keep[at] : 1;
            assert_near(x[at], normal[i], 3e-7 * (1 + fabs(normal[i])));
            assert_near(y[at], a > 0 ? a * kept : 0, 1e-6 * (1 + fabs(a)));
            gated[i] = a > 0 ? l->d[at] * kept : 0;
            sum += gated[i];
            product += gated[i] * normal[i];
        }
        for (int32_t i = 0; i < n; i++) {
            const double want = l->weight[j] / sqrt(v / n + 1e-3) * (gated[i] - (sum + normal[i] * product) / n);
            assert_near(d[i * width + j], want, 1e-6 * (1 + fabs(want)) / sqrt(v / n + 1e-3));
            total += d[i * width + j];
        }
        assert_near(d_bias[j], sum, 1e-6 * (1 + fabs(sum)));
        assert_near(d_weight[j], product, 1e-6 * (n + fabs(product)));
        assert_near(d_sum[j], total, 1e-6 * (1 + fabs(total)));
    }
}

static void test_against_plain_loops(void **state)
{
    (void)state;
    static const int32_t sizes[][2] = {{3, 1}, {128, 16}, {5, 7}, {130, 70}, {64, 33}, {17, 24}};
    static layer l;
    for (int level = 0; level <= 2; level++)
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            const cpt_batch_norm_kernels *k = cpt_batch_norm_kernels_at(level);
            if (!k) continue;
            fill(&l, sizes[s][0], sizes[s][1]);
            check(k, &l, false);
            check(k, &l, true);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_plain_loops)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

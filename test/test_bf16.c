/* bfloat16: rounding against its definition, products of every level against double precision. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/random.h"
#include "check.h"
#include "math/bf16.h"

static void rounding(void **state)
{
    assert_int_equal(cpt_bf16_of(1.0f), 0x3f80);
    assert_int_equal(cpt_bf16_of(-2.0f), 0xc000);
    assert_int_equal(cpt_bf16_of(1.00390625f), 0x3f80); /* half-way between: to even */
    assert_int_equal(cpt_bf16_of(1.01171875f), 0x3f82); /* half-way, odd below */
    assert_int_equal(cpt_bf16_of(1.0039065f), 0x3f81);  /* just above half-way */
    assert_int_equal(cpt_bf16_of(INFINITY), 0x7f80);
    assert_int_equal(cpt_bf16_of(3.4e38f), 0x7f80); /* beyond the largest: infinite */
    assert_true(isnan(cpt_bf16_value(cpt_bf16_of(NAN))));
    assert_int_equal(cpt_bf16_of(1e-40f), 0);
    assert_int_equal(cpt_bf16_of(-0.0f), 0x8000);
    for (uint32_t bits = 0x0080; bits < 0x7f80; bits++) /* what is representable stays */
        assert_int_equal(cpt_bf16_of(cpt_bf16_value((uint16_t)bits)), bits);
}

static void fill(cpt_stream *s, int64_t n, float *x)
{
    for (int64_t i = 0; i < n; i++) x[i] = (float)cpt_stream_uniform(s) - 0.4f;
}

/* The exact sum of the rounded numbers, and how far f32 sums may be from it: n_in roundings of
 * partial sums no larger than the sum of magnitudes. */
static void check_product(const cpt_bf16_kernels *k, int64_t n, int64_t n_in, int64_t n_out,
                          bool transposed)
{
    const int64_t stride = n_out + 3;
    float *in = calloc((size_t)(n * n_in), 4), *w = calloc((size_t)(n_out * n_in), 4);
    float *out = calloc((size_t)(n * stride), 4);
    uint16_t *rows = calloc((size_t)(n * cpt_bf16_row(n_in)), 2);
    uint16_t *packed = calloc(cpt_bf16_packed(n_out, n_in), 2);
    cpt_stream s;
    cpt_stream_init(&s, 7, CPT_RANDOM_TIES, (uint64_t)(n * 1000 + n_in));
    fill(&s, n * n_in, in);
    fill(&s, n_out * n_in, w);
    for (int64_t i = 0; i < n * stride; i++) out[i] = -7;
    k->round(n, n_in, n_in, in, rows);
    k->pack(n_out, n_in, w, transposed ? 1 : n_in, transposed ? n_out : 1, packed);
    k->multiply(n, n_in, n_out, rows, packed, out, stride);
    for (int64_t i = 0; i < n; i++)
        for (int64_t o = 0; o < n_out; o++) {
            double sum = 0, size = 0;
            for (int64_t j = 0; j < n_in; j++) {
                const float weight = w[transposed ? j * n_out + o : o * n_in + j];
                const double p = (double)cpt_bf16_value(cpt_bf16_of(in[i * n_in + j])) *
                                 (double)cpt_bf16_value(cpt_bf16_of(weight));
                sum += p;
                size += fabs(p);
            }
            assert_true(fabs(sum - (double)out[i * stride + o]) <=
                        (double)(n_in + 1) * 6e-8 * size + 1e-30);
        }
    for (int64_t i = 0; i < n; i++) /* nothing beyond the row's end is touched */
        for (int64_t o = n_out; o < stride; o++) assert_true(out[i * stride + o] == -7);
    free(in);
    free(w);
    free(out);
    free(rows);
    free(packed);
}

static void products(void **state)
{
    static const int64_t shapes[][3] = {{1, 1, 1},    {6, 64, 64}, {13, 7, 65}, {5, 33, 130},
                                        {11, 128, 1}, {3, 51, 63}, {64, 96, 16}};
    for (int level = 0; level <= cpt_cpu_best(); level++) {
        const cpt_bf16_kernels *k = cpt_bf16_kernels_at(level);
        for (size_t i = 0; k && i < sizeof shapes / sizeof *shapes; i++)
            for (int t = 0; t < 2; t++)
                check_product(k, shapes[i][0], shapes[i][1], shapes[i][2], t);
    }
}

/* A row alone gives the bits that it gives among others. */
static void rows_alone(void **state)
{
    enum { N = 9, IN = 70, OUT = 100 };
    const cpt_bf16_kernels *k = cpt_bf16_kernels_get();
    static float in[N * IN], w[OUT * IN], all[N * OUT], one[OUT];
    static uint16_t rows[N * IN], packed[2 * CPT_BF16_PANEL * IN];
    cpt_stream s;
    cpt_stream_init(&s, 3, CPT_RANDOM_TIES, 1);
    fill(&s, N * IN, in);
    fill(&s, OUT * IN, w);
    k->round(N, IN, IN, in, rows);
    k->pack(OUT, IN, w, IN, 1, packed);
    k->multiply(N, IN, OUT, rows, packed, all, OUT);
    for (int i = 0; i < N; i++) {
        k->multiply(1, IN, OUT, rows + i * IN, packed, one, OUT);
        assert_memory_equal(one, all + i * OUT, sizeof one);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(rounding), cmocka_unit_test(products),
                                       cmocka_unit_test(rows_alone)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

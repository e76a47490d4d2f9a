/* Packed products: every precision on every level against double precision, beside the error of f32 chains. */
#include "base/cpu.h"
#include "base/random.h"
#include "check.h"
#include "math/gemm.h"

typedef struct shape {
    int64_t n, n_in, n_out;
} shape;

static const shape shapes[] = {{1, 1, 1},     {6, 64, 64},   {13, 17, 65}, {5, 33, 130},  {31, 128, 1},
                               {300, 96, 16}, {130, 40, 70}, {3, 700, 33}, {33, 2100, 20}, {17, 10, 320}};

static void fill(cpt_stream *s, int64_t n, float *x)
{
    for (int64_t i = 0; i < n; i++) x[i] = (float)(cpt_stream_uniform(s) - 0.4) * 3;
}

static float *floats(int64_t n)
{
    float *x = calloc((size_t)n + 16, sizeof *x);
    assert_non_null(x);
    return x;
}

static void *packed_memory(int64_t n_out, int64_t n_in)
{
    void *p = aligned_alloc(64, (size_t)(n_out + 32) * (size_t)(n_in + 32) * 6 / 64 * 64 + 64);
    assert_non_null(p);
    return p;
}

static float bf16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits = (bits + 0x7fffu + (bits >> 16 & 1)) & 0xffff0000u;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* What is left of a factor, and how far a product of two such may be from the sum of magnitudes. */
static double kept(cpt_precision precision, float x)
{
    return precision == CPT_GEMM_BF16 ? bf16(x) : x;
}
static double relative_bound(cpt_precision precision, int64_t n_in)
{
    const double sums = (double)(n_in + 8) * 0x1p-24;
    return precision == CPT_GEMM_SPLIT ? sums + 3 * 0x1p-16 : sums;
}

static void check_product(int level, cpt_precision precision, shape z, bool transposed, int which)
{
    const int64_t stride = z.n_out + 3, in_stride = z.n_in + 5;
    float *in = floats(z.n * in_stride), *w = floats(z.n_out * z.n_in), *out = floats(z.n * stride);
    float *bias = floats(z.n_out), *add = floats(z.n * z.n_out);
    void *memory = packed_memory(z.n_out, z.n_in);
    cpt_stream s;
    cpt_stream_init(&s, 7, CPT_RANDOM_TIES, (uint64_t)(z.n * 1000 + z.n_in));
    fill(&s, z.n * in_stride, in);
    fill(&s, z.n_out * z.n_in, w);
    fill(&s, z.n_out, bias);
    fill(&s, z.n * z.n_out, add);
    for (int64_t i = 0; i < z.n * stride; i++) out[i] = -7;
    const cpt_epilogue choices[] = {{0},
                                    {.bias = bias},
                                    {.bias = bias, .relu = true},
                                    {.scale = 0.5f, .add = add, .add_stride = z.n_out},
                                    {.scale = -2, .bias = bias, .add = add, .add_stride = z.n_out, .relu = true}};
    const cpt_epilogue *e = &choices[which];
    cpt_packed p;
    assert_true(cpt_pack_at(level, precision, z.n_out, z.n_in, w, transposed ? 1 : z.n_in, transposed ? z.n_out : 1,
                            memory, &p));
    cpt_multiply(&p, z.n, in, in_stride, out, stride, which ? e : NULL);
    const double scale = e->scale == 0 ? 1 : (double)e->scale;
    for (int64_t i = 0; i < z.n; i++)
        for (int64_t o = 0; o < z.n_out; o++) {
            double sum = 0, size = 0;
            for (int64_t j = 0; j < z.n_in; j++) {
                const float weight = w[transposed ? j * z.n_out + o : o * z.n_in + j];
                const double product = kept(precision, in[i * in_stride + j]) * kept(precision, weight);
                sum += product;
                size += fabs(product);
            }
            double want = scale * sum;
            if (e->bias) want += (double)bias[o];
            if (e->add) want += (double)add[i * z.n_out + o];
            const double room = fabs(scale) * relative_bound(precision, z.n_in) * size + 2e-6;
            if (e->relu && want < 0) want = 0;
            assert_near((double)out[i * stride + o], want, room);
        }
    for (int64_t i = 0; i < z.n; i++) /* nothing behind the row's end is touched */
        for (int64_t o = z.n_out; o < stride; o++) assert_true(out[i * stride + o] == -7);
    free(in);
    free(w);
    free(out);
    free(bias);
    free(add);
    free(memory);
}

static void products(void **state)
{
    for (int level = 0; level <= cpt_cpu_best(); level++) {
        print_message("level %s\n", cpt_cpu_level_name(level));
        for (int precision = CPT_GEMM_F32; precision <= CPT_GEMM_BF16; precision++)
            for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
                for (int t = 0; t < 2; t++)
                    check_product(level, precision, shapes[i], t, (int)((i + (size_t)t) % 5));
    }
}

/* Root mean square of the error against double, relative to that of the results. */
static double error_of(const float *out, const double *want, int64_t n)
{
    double error = 0, size = 0;
    for (int64_t i = 0; i < n; i++) {
        error += ((double)out[i] - want[i]) * ((double)out[i] - want[i]);
        size += want[i] * want[i];
    }
    return sqrt(error / size);
}

/* F32 of every level is no worse than a chain of fused multiply-adds, for numbers around 0, all positive ones, and of
 * very unlike sizes. */
static void accuracy(void **state)
{
    enum { N = 64, OUT = 64 };
    static const int64_t inputs[] = {24, 64, 512, 4000};
    for (int kind = 0; kind < 3; kind++)
        for (size_t c = 0; c < 4; c++) {
            const int64_t n_in = inputs[c];
            float *in = floats(N * n_in), *w = floats(OUT * n_in), *out = floats(N * OUT), *chain = floats(N * OUT);
            double *want = calloc(N * OUT, sizeof *want);
            void *memory = packed_memory(OUT, n_in);
            cpt_stream s;
            cpt_stream_init(&s, 11, CPT_RANDOM_TIES, (uint64_t)n_in);
            for (int64_t i = 0; i < N * n_in + OUT * n_in; i++) {
                double x = cpt_stream_uniform(&s) - (kind == 1 ? 0 : 0.5);
                if (kind == 2) x *= exp(12 * (cpt_stream_uniform(&s) - 0.5));
                (i < N * n_in ? in : w - N * n_in)[i] = (float)x;
            }
            for (int64_t i = 0; i < N; i++)
                for (int64_t o = 0; o < OUT; o++) {
                    float sum = 0;
                    for (int64_t j = 0; j < n_in; j++) {
                        sum = fmaf(in[i * n_in + j], w[o * n_in + j], sum);
                        want[i * OUT + o] += (double)in[i * n_in + j] * (double)w[o * n_in + j];
                    }
                    chain[i * OUT + o] = sum;
                }
            const double usual = error_of(chain, want, N * OUT);
            for (int level = 0; level <= cpt_cpu_best(); level++) {
                cpt_packed p;
                assert_true(cpt_pack_at(level, CPT_GEMM_F32, OUT, n_in, w, n_in, 1, memory, &p));
                cpt_multiply(&p, N, in, n_in, out, OUT, NULL);
                const double error = error_of(out, want, N * OUT);
                print_message("kind %d, %lld inputs, %s: %.2e (chain %.2e)\n", kind, (long long)n_in,
                              cpt_cpu_level_name(level), error, usual);
                assert_true(error <= 1.2 * usual + 3e-8);
            }
            free(in);
            free(w);
            free(out);
            free(chain);
            free(want);
            free(memory);
        }
}

typedef struct collected {
    float *out;
    int64_t stride;
} collected;

static void collect(void *user, int64_t first_row, int64_t rows, int64_t first_out, int64_t outs, const float *block)
{
    const collected *c = user;
    for (int64_t i = 0; i < rows; i++)
        memcpy(c->out + (first_row + i) * c->stride + first_out, block + i * CPT_GEMM_PANEL,
               (size_t)outs * sizeof *block);
}

/* The same bytes whole, row by row, in uneven pieces, into a sink, and repacked in pieces. */
static void pieces(void **state)
{
    static const shape some[] = {{300, 70, 75}, {200, 10, 33}, {141, 3000, 50}};
    for (int level = 0; level <= cpt_cpu_best(); level++)
        for (int precision = CPT_GEMM_F32; precision <= CPT_GEMM_BF16; precision++)
            for (size_t c = 0; c < 3; c++) {
                const shape z = some[c];
                const int64_t all = z.n * z.n_out;
                float *in = floats(z.n * z.n_in), *w = floats(z.n_out * z.n_in);
                float *whole = floats(all), *cut = floats(all), *bias = floats(z.n_out);
                void *memory = packed_memory(z.n_out, z.n_in);
                cpt_stream s;
                cpt_stream_init(&s, 13, CPT_RANDOM_TIES, (uint64_t)z.n_in);
                fill(&s, z.n * z.n_in, in);
                fill(&s, z.n_out * z.n_in, w);
                fill(&s, z.n_out, bias);
                const cpt_epilogue e = {.bias = bias};
                cpt_packed p;
                assert_true(cpt_pack_at(level, precision, z.n_out, z.n_in, w, z.n_in, 1, memory, &p));
                cpt_multiply(&p, z.n, in, z.n_in, whole, z.n_out, &e);
                for (int64_t i = 0, step = 1; i < z.n; i += step, step = step * 3 % 50) {
                    const int64_t rows = z.n - i < step ? z.n - i : step;
                    cpt_multiply(&p, rows, in + i * z.n_in, z.n_in, cut + i * z.n_out, z.n_out, &e);
                }
                assert_memory_equal(whole, cut, (size_t)all * sizeof *cut);
                memset(cut, 0, (size_t)all * sizeof *cut);
                collected to = {cut, z.n_out};
                cpt_multiply_into(&p, z.n, in, z.n_in, &e, collect, &to);
                assert_memory_equal(whole, cut, (size_t)all * sizeof *cut);
                for (int64_t o = 0; o < z.n_out; o += CPT_GEMM_PANEL) {
                    const int64_t end = o + CPT_GEMM_PANEL < z.n_out ? o + CPT_GEMM_PANEL : z.n_out;
                    cpt_repack(&p, o, end, w + o * z.n_in, z.n_in, 1);
                }
                memset(cut, 0, (size_t)all * sizeof *cut);
                cpt_multiply(&p, z.n, in, z.n_in, cut, z.n_out, &e);
                assert_memory_equal(whole, cut, (size_t)all * sizeof *cut);
                /* adding to what is there: bias + 0 first */
                memset(cut, 0, (size_t)all * sizeof *cut);
                cpt_multiply(&p, z.n, in, z.n_in, cut, z.n_out,
                             &(cpt_epilogue){.bias = bias, .add = cut, .add_stride = z.n_out});
                assert_memory_equal(whole, cut, (size_t)all * sizeof *cut);
                free(in);
                free(w);
                free(whole);
                free(cut);
                free(bias);
                free(memory);
            }
}

/* NaN is never lost, whatever its bits; a zero times anything finite is 0; small numbers become 0 at worst. */
static void special_values(void **state)
{
    enum { N_IN = 40 };
    static const uint32_t nans[] = {0x7fc00000u, 0xffffffffu, 0x7fffffffu, 0x7f800001u};
    for (int level = 0; level <= cpt_cpu_best(); level++)
        for (int precision = CPT_GEMM_F32; precision <= CPT_GEMM_BF16; precision++) {
            float in[3 * N_IN] = {0}, w[N_IN], out[3];
            void *memory = packed_memory(1, N_IN);
            for (int i = 0; i < N_IN; i++) w[i] = 1;
            cpt_packed p;
            assert_true(cpt_pack_at(level, precision, 1, N_IN, w, N_IN, 1, memory, &p));
            for (size_t c = 0; c < sizeof nans / sizeof *nans; c++) {
                memcpy(&in[N_IN + 20], &nans[c], sizeof *in);
                in[2 * N_IN] = 1e-40f;
                in[2 * N_IN + 1] = 1e-30f;
                cpt_multiply(&p, 3, in, N_IN, out, 1, &(cpt_epilogue){.relu = true});
                assert_true(out[0] == 0);
                assert_true(isnan(out[1]));
                assert_near((double)out[2], 1e-30, 1e-32);
            }
            free(memory);
        }
}

static void weights_of_their_own(void **state)
{
    cpt_err err = {0};
    float w[6] = {1, 2, 3, 4, 5, 6}, in[3] = {1, 10, 100}, out[2];
    cpt_packed p;
    for (int precision = CPT_GEMM_F32; precision <= CPT_GEMM_BF16; precision++) {
        assert_ok(cpt_packed_new(precision, 2, 3, w, 3, 1, &p, &err));
        assert_true(cpt_packed_bytes(precision, 2, 3) > 0);
        cpt_multiply(&p, 1, in, 3, out, 2, NULL);
        assert_true(out[0] == 321 && out[1] == 654);
        cpt_multiply(&p, 0, in, 3, out, 2, NULL);
        cpt_packed_free(&p);
        assert_null(p.data);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products),       cmocka_unit_test(accuracy),
        cmocka_unit_test(pieces),         cmocka_unit_test(special_values),
        cmocka_unit_test(weights_of_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

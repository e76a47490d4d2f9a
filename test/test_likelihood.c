/* Count likelihoods: the kernels of every instruction set against the plain reference in double, and the
 * reference against its own derivatives by differences. */
#include "check.h"

#include "base/cpu.h"
#include "base/random.h"
#include "math/likelihood.h"
#include "math/network.h"

/* ---- the reference ---- */

static void test_reference_derivatives(void **state)
{
    static const double counts[] = {0, 1, 7, 300}, means[] = {1e-3, 0.7, 40}, thetas[] = {0.05, 1, 80};
    static const double logits[] = {-3, 0.4, 6};
    for (int i = 0; i < 4 * 3 * 3 * 4; i++) {
        double x = counts[i % 4], mu = means[i / 4 % 3], theta = thetas[i / 12 % 3], d_mu, d_theta, d_pi;
        double pi = i / 36 < 3 ? logits[i / 36] : 0, h = 1e-5;
        const bool zero_inflated = i / 36 < 3;
        const double *p = zero_inflated ? &pi : NULL;
        cpt_log_likelihood(x, mu, theta, p, &d_mu, &d_theta, &d_pi);
#define SLOPE(a, b) (-((a) - (b)) / (2 * h))
#define AT(m, t, q) cpt_log_likelihood(x, (m) * mu, (t) * theta, (q), NULL, NULL, NULL)
        double slope = SLOPE(AT(1 + h, 1, p), AT(1 - h, 1, p)) / mu;
        assert_near(d_mu, slope, 2e-6 * (1 + fabs(slope)));
        slope = SLOPE(AT(1, 1 + h, p), AT(1, 1 - h, p)) / theta;
        assert_near(d_theta, slope, 2e-6 * (1 + fabs(slope)));
        if (!zero_inflated) continue;
        double up = pi + h, down = pi - h;
        slope = SLOPE(AT(1, 1, &up), AT(1, 1, &down));
        assert_near(d_pi, slope, 2e-6 * (1 + fabs(slope)));
    }
}

/* Probabilities of all counts sum to one. */
static void test_reference_sums_to_one(void **state)
{
    for (int k = 0; k < 2; k++) {
        double sum = 0, pi = 0.3;
        for (int x = 0; x < 4000; x++)
            sum += exp(cpt_log_likelihood(x, 12, 0.8, k ? &pi : NULL, NULL, NULL, NULL));
        assert_near(sum, 1, 1e-6); /* the eps inside the logarithms costs 1e-8 */
    }
}

/* ---- the kernels ---- */

enum { GENES = 1037 };

typedef struct cell_case {
    const char *name;
    double density, theta_from, theta_to, spread, count_scale;
} cell_case;

enum { CELLS = 19, STRIDE = 32, UNIT = 30, UNITS = (GENES + UNIT - 1) / UNIT, SIZE = GENES * STRIDE };

typedef struct buffers {
    float log_theta[GENES], bias[GENES], pi_bias[GENES], theta[GENES], inverse[GENES];
    double lgamma[GENES], digamma[GENES];
    float logits[SIZE], pi[SIZE], counts[SIZE]; /* [GENES][STRIDE] without the biases */
    float values[SIZE], q[SIZE], d_pi[SIZE], largest[UNITS * STRIDE], factor[UNITS * STRIDE];
    float d_theta[GENES], d_bias[GENES], d_pi_bias[GENES], scratch[2 * STRIDE], share[STRIDE];
    double library[CELLS], loss[STRIDE], sum_q[STRIDE], terms[5 * UNIT * CELLS];
    float single[8 * UNIT * CELLS], nonzero[UNIT * CELLS];
    int32_t genes[UNIT * CELLS], cells[UNIT * CELLS], at[UNIT * CELLS], many[UNIT * CELLS + 1];
} buffers;

static void fill_case(buffers *b, const cell_case *c, uint64_t item)
{
    cpt_stream s;
    int32_t n = 0;
    cpt_stream_init(&s, 11, CPT_RANDOM_TEST, item);
    memset(b->counts, 0, sizeof b->counts);
    memset(b->library, 0, sizeof b->library);
    for (int g = 0; g < GENES; g++) {
        double u = cpt_stream_uniform(&s);
        b->log_theta[g] = (float)(log(c->theta_from) + u * log(c->theta_to / c->theta_from));
        b->bias[g] = (float)cpt_stream_normal(&s);
        b->pi_bias[g] = (float)cpt_stream_normal(&s);
        for (int i = 0; i < CELLS; i++) {
            const int at = g * STRIDE + i;
            b->logits[at] = (float)(c->spread * cpt_stream_normal(&s));
            b->pi[at] = (float)(4 * cpt_stream_normal(&s));
            if (cpt_stream_uniform(&s) >= c->density) continue;
            b->counts[at] = (float)(1 + floor(c->count_scale * -log(1 - cpt_stream_uniform(&s))));
            if (n++ % 7 == 6) b->counts[at] += 0.25f; /* now and then no whole number */
            b->library[i] += b->counts[at];
        }
    }
    for (int i = 0; n == 0 && i < CELLS; i++) b->library[i] = 5; /* cells whose counts are all in other genes */
}

static cpt_gene_block unit_of(buffers *b, bool zero_inflated, double scale, int unit)
{
    const int first = unit * UNIT;
    return (cpt_gene_block){.n = GENES - first < UNIT ? GENES - first : UNIT,
                            .cells = CELLS,
                            .stride = STRIDE,
                            .tables = {UNIT, b->theta + first, b->inverse + first, b->lgamma + first, b->digamma + first},
                            .scale = scale,
                            .factor = b->factor + unit * STRIDE,
                            .values = b->values + first * STRIDE,
                            .q = b->q + first * STRIDE,
                            .dropout = zero_inflated ? b->d_pi + first * STRIDE : NULL,
                            .dropout_bias = b->pi_bias + first};
}

static cpt_counted counts_of(buffers *b, int first, int n)
{
    cpt_counted c = {0, b->genes, b->cells, b->at, b->nonzero, b->terms, b->single, b->many};
    for (int i = 0; i < CELLS; i++)
        for (int g = 0; g < n; g++) {
            const float x = b->counts[(first + g) * STRIDE + i];
            if (x == 0) continue;
            b->genes[c.n] = g;
            b->cells[c.n] = i;
            b->at[c.n] = g * STRIDE + i;
            b->nonzero[c.n++] = x;
        }
    return c;
}

/* All that the kernels make of b. */
static void run_kernels(const cpt_likelihood_kernels *k, buffers *b, bool zero_inflated, double scale)
{
    cpt_gene_tables t = {0, b->theta, b->inverse, b->lgamma, b->digamma};
    k->genes(GENES, b->log_theta, &t);
    memcpy(b->values, b->logits, sizeof b->values);
    memcpy(b->d_pi, b->pi, sizeof b->d_pi);
    memset(b->loss, 0, sizeof b->loss);
    memset(b->sum_q, 0, sizeof b->sum_q);
    for (int u = 0; u < UNITS; u++) {
        const cpt_gene_block unit = unit_of(b, zero_inflated, scale, u);
        k->exponentials(&unit, b->bias + u * UNIT, b->largest + u * STRIDE, b->factor + u * STRIDE);
    }
    k->factors(UNITS, CELLS, STRIDE, b->library, b->largest, b->factor);
    for (int u = 0; u < UNITS; u++) {
        const cpt_gene_block unit = unit_of(b, zero_inflated, scale, u);
        const cpt_counted counts = counts_of(b, u * UNIT, unit.n);
        const cpt_block_sums sums = {b->loss, b->sum_q, b->d_theta + u * UNIT, b->d_pi_bias + u * UNIT, b->scratch};
        k->block(&unit, &counts, &sums);
    }
    for (int i = 0; i < CELLS; i++) b->share[i] = (float)(b->sum_q[i] / b->library[i]);
    for (int u = 0; u < UNITS; u++) {
        const cpt_gene_block unit = unit_of(b, zero_inflated, scale, u);
        k->slopes(&unit, b->share, b->d_bias + u * UNIT);
    }
}

/* One cell against the reference; adds to sums over cells [GENES] and their tolerances. */
static void check_cell(const buffers *b, int i, bool zero_inflated, double scale, double *theta_sum, double *theta_terms)
{
    static double mu[GENES], d_mu[GENES], d_theta[GENES], d_pi[GENES];
    double largest = -INFINITY, sum = 0, want = 0, constant = 0, q = 0;
    const double library = b->library[i];
    for (int g = 0; g < GENES; g++) largest = fmax(largest, b->logits[g * STRIDE + i] + b->bias[g]);
    for (int g = 0; g < GENES; g++) sum += exp((double)(b->logits[g * STRIDE + i] + b->bias[g]) - largest);
    for (int g = 0; g < GENES; g++) {
        const double x = b->counts[g * STRIDE + i], pi = b->pi[g * STRIDE + i] + b->pi_bias[g];
        int sign;
        mu[g] = library * exp((double)(b->logits[g * STRIDE + i] + b->bias[g]) - largest) / sum;
        want -= cpt_log_likelihood(x, mu[g], exp((double)b->log_theta[g]), zero_inflated ? &pi : NULL, &d_mu[g],
                                   &d_theta[g], &d_pi[g]);
        constant += lgamma_r(x + 1, &sign);
        q += mu[g] * d_mu[g];
    }
    assert_near((b->loss[i] + constant) / want, 1, 2e-6);
    for (int g = 0; g < GENES; g++) {
        /* float mu is good to 4e-7; what that moves in a derivative is bounded by its terms */
        const int at = g * STRIDE + i;
        const double x = b->counts[at], logit = mu[g] * d_mu[g] - mu[g] / library * q;
        const double terms = mu[g] + x + mu[g] / library * (fabs(q) + library);
        assert_near(b->values[at] / scale, logit, 3e-6 * terms + 1e-7);
        theta_sum[g] += d_theta[g];
        theta_terms[g] += 1 + x / (exp(b->log_theta[g]) + mu[g]) + fabs(d_theta[g]);
        if (zero_inflated) assert_near(b->d_pi[at] / scale, d_pi[g], 2e-6 * (1 + mu[g]));
    }
}

static void check_case(int level, const cell_case *c, bool zero_inflated, uint64_t item)
{
    const double scale = 0.25;
    static buffers b;
    double theta_sum[GENES] = {0}, theta_terms[GENES] = {0};
    fill_case(&b, c, item);
    run_kernels(cpt_likelihood_kernels_at(level), &b, zero_inflated, scale);
    for (int i = 0; i < CELLS; i++) check_cell(&b, i, zero_inflated, scale, theta_sum, theta_terms);
    for (int g = 0; g < GENES; g++) {
        double bias = 0, pi_bias = 0, size = 0, pi_size = 0;
        for (int i = 0; i < CELLS; i++) {
            bias += b.values[g * STRIDE + i];
            size += fabs(b.values[g * STRIDE + i]);
            pi_bias += b.d_pi[g * STRIDE + i];
            pi_size += 1;
        }
        assert_near(b.d_theta[g] / scale, theta_sum[g], 3e-6 * theta_terms[g]);
        assert_near(b.d_bias[g], bias, 1e-6 * size);
        if (zero_inflated) assert_near(b.d_pi_bias[g], pi_bias, 1e-6 * pi_size);
    }
}

static void test_kernels(void **state)
{
    static const cell_case cases[] = {
        {"usual", 0.1, 0.1, 10, 1.5, 2},       {"dense", 1, 0.5, 5, 1, 30},
        {"no counts", 0, 0.5, 5, 1, 1},        {"huge counts", 0.3, 0.1, 10, 2, 30000},
        {"large theta", 0.2, 100, 1e5, 1, 4},  {"small theta", 0.2, 1e-4, 1e-2, 1, 4},
        {"peaked", 0.2, 0.1, 10, 12, 4},
    };
    for (int level = 0; level <= 2; level++) {
        if (!cpt_likelihood_kernels_at(level)) {
            print_message("level %s is not here\n", cpt_cpu_level_name(level));
            continue;
        }
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
            for (int zero_inflated = 0; zero_inflated < 2; zero_inflated++)
                check_case(level, &cases[i], zero_inflated, i);
    }
}

static void test_special_functions(void **state)
{
    for (int level = 0; level <= 2 && cpt_likelihood_kernels_at(level); level++) {
        const cpt_likelihood_kernels *k = cpt_likelihood_kernels_at(level);
        float log_theta[200], theta[200], inverse[200];
        double lgamma_[200], digamma_[200];
        cpt_gene_tables t = {0, theta, inverse, lgamma_, digamma_};
        for (int i = 0; i < 200; i++) log_theta[i] = -20 + 0.2f * (float)i;
        k->genes(200, log_theta, &t);
        for (int i = 0; i < 200; i++) {
            int sign;
            double x = theta[i], want = lgamma_r(x, &sign), h = 1e-4 * x;
            assert_near(x / exp((double)log_theta[i]), 1, 1e-7);
            assert_near(lgamma_[i], want, 1e-13 * (1 + fabs(want)));
            double slope = (-lgamma_r(x + 2 * h, &sign) + 8 * lgamma_r(x + h, &sign) -
                            8 * lgamma_r(x - h, &sign) + lgamma_r(x - 2 * h, &sign)) / (12 * h);
            assert_near(digamma_[i], slope, 1e-8 * (1 + fabs(slope)) + 1e-10 * fabs(want) / h * 1e-2);
        }
        for (float count = 1; count < 3e6f; count *= 3) { /* lgamma(x + 1) */
            int sign;
            double want = lgamma_r((double)count + 1, &sign);
            assert_near(k->log_factorials(1, &count), want, 1e-13 * (1 + want));
        }
        float logits[5] = {-200, 0, 1, 2, -90};
        k->softmax(5, logits);
        double sum = 0;
        for (int i = 0; i < 5; i++) sum += logits[i];
        assert_near(sum, 1, 1e-6);
        assert_near(logits[3] / logits[2], exp(1), 1e-6);
        assert_near(logits[0], 0, 0);
    }
}

static void test_log1p_and_adam(void **state)
{
    for (int level = 0; level <= 2 && cpt_network_kernels_at(level); level++) {
        const cpt_network_kernels *k = cpt_network_kernels_at(level);
        float x[333], y[333], worst = 0;
        for (int i = 0; i < 333; i++) x[i] = i < 100 ? (float)i : powf(10, -30 + 0.15f * (float)(i - 100));
        k->log1p(333, x, y);
        for (int i = 0; i < 333; i++) {
            double want = log1p((double)x[i]);
            if (want > 0) worst = fmaxf(worst, (float)fabs(y[i] / want - 1));
        }
        assert_true(worst < 3 * 6e-8);
        assert_near(y[0], 0, 0);
        float p[40], g[40], m[40] = {0}, v[40] = {0};
        for (int i = 0; i < 40; i++) p[i] = (float)i - 20, g[i] = 0.1f * (float)(i % 7 - 3);
        const cpt_adam_step step = {0.01f, 30, 0.9f, 0.1f, 0.999f, 0.001f, 0.01f, 0.5f};
        k->adam(40, &step, p, g, m, v);
        for (int i = 0; i < 40; i++) {
            double start = i - 20, d = 0.1f * (float)(i % 7 - 3) + 0.5 * start;
            assert_near(m[i], 0.1 * d, 1e-6);
            assert_near(v[i], 0.001 * d * d, 1e-7);
            assert_near(p[i], start - 0.01 * 0.1 * d / (30 * sqrt(0.001) * fabs(d) + 0.01), 3e-6);
        }
    }
}

/* Products against plain loops; and rows do not feel each other. */
static void test_products(void **state)
{
    static const int32_t sizes[][3] = {{1, 1, 1}, {9, 13, 16}, {17, 40, 100}, {8, 128, 128}, {3, 5, 70}};
    for (int level = 0; level <= 2 && cpt_network_kernels_at(level); level++)
        for (size_t c = 0; c < sizeof sizes / sizeof *sizes; c++) {
            const cpt_network_kernels *k = cpt_network_kernels_at(level);
            const int32_t n = sizes[c][0], n_in = sizes[c][1], n_out = sizes[c][2];
            float *in = malloc(sizeof *in * (size_t)(n * n_in)), *w = malloc(sizeof *w * (size_t)(n_in * n_out));
            float *bias = malloc(sizeof *bias * (size_t)n_out), *out = malloc(sizeof *out * (size_t)(n * n_out));
            float *one = malloc(sizeof *one * (size_t)n_out);
            int32_t *rows = malloc(sizeof *rows * (size_t)n_in);
            cpt_stream s;
            cpt_stream_init(&s, 3, CPT_RANDOM_TEST, c);
            for (int32_t i = 0; i < n * n_in; i++) in[i] = (float)cpt_stream_normal(&s);
            for (int32_t i = 0; i < n_in * n_out; i++) w[i] = (float)cpt_stream_normal(&s);
            for (int32_t i = 0; i < n_out; i++) bias[i] = (float)cpt_stream_normal(&s);
            for (int32_t i = 0; i < n_in; i++) rows[i] = i;
            k->dense(n, n_in, n_out, in, w, bias, out);
            for (int32_t i = 0; i < n; i++) {
                for (int32_t j = 0; j < n_out; j++) {
                    double want = bias[j];
                    for (int32_t q = 0; q < n_in; q++) want += (double)in[i * n_in + q] * w[q * n_out + j];
                    assert_near(out[i * n_out + j], want, 1e-6 * n_in);
                }
                k->dense(1, n_in, n_out, in + i * n_in, w, bias, one);
                assert_memory_equal(one, out + i * n_out, sizeof *one * (size_t)n_out);
                memcpy(one, bias, sizeof *one * (size_t)n_out);
                k->accumulate(n_in, rows, in + i * n_in, w, n_out, one);
                for (int32_t j = 0; j < n_out; j++) assert_near(one[j], out[i * n_out + j], 1e-6 * n_in);
            }
            for (int32_t q = 0; q < n_in; q++) rows[q] = 5 + n_in - 1 - q; /* row by row, from below */
            float *grown = malloc(sizeof *grown * (size_t)(n_in * n_out));
            memcpy(grown, w, sizeof *grown * (size_t)(n_in * n_out));
            k->scatter(n_in, rows, 5, in, bias, n_out, grown);
            for (int32_t q = 0; q < n_in; q++)
                for (int32_t j = 0; j < n_out; j++) {
                    const int32_t at = q * n_out + j;
                    assert_near(grown[at], w[at] + (double)in[n_in - 1 - q] * bias[j], 1e-6 * (1 + fabsf(w[at])));
                }
            free(grown);
            free(in), free(w), free(bias), free(out), free(one), free(rows);
        }
}

static void test_turn(void **state)
{
    (void)state;
    static const int32_t sizes[][2] = {{1, 1}, {4, 4}, {3, 9}, {17, 35}, {128, 66}, {33, 4}};
    static float in[128 * 70], out[66 * 130];
    for (int i = 0; i < 128 * 70; i++) in[i] = (float)i;
    for (int level = 0; level <= 2; level++) {
        const cpt_network_kernels *k = cpt_network_kernels_at(level);
        for (size_t s = 0; k && s < sizeof sizes / sizeof *sizes; s++) {
            const int32_t rows = sizes[s][0], columns = sizes[s][1];
            for (int i = 0; i < 66 * 130; i++) out[i] = -1;
            k->turn(rows, columns, in, 70, out, 130);
            for (int32_t c = 0; c < 66; c++)
                for (int32_t r = 0; r < 130; r++)
                    assert_true(out[c * 130 + r] == (c < columns && r < rows ? in[r * 70 + c] : -1));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference_derivatives),
        cmocka_unit_test(test_reference_sums_to_one),
        cmocka_unit_test(test_kernels),
        cmocka_unit_test(test_special_functions),
        cmocka_unit_test(test_log1p_and_adam),
        cmocka_unit_test(test_turn),
        cmocka_unit_test(test_products),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

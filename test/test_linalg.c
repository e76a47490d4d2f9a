/* Eigenvectors and principal components: golden values (scikit-learn), properties, traps. */
#include "check.h"

#include <jansson.h>

#include "base/random.h"
#include "io/checkpoint.h"
#include "math/linalg.h"

static cpt_err err;

static double dot(const double *a, const double *b, int32_t n)
{
    double sum = 0;
    for (int32_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

static double *read_tensor(const char *path, const char *name)
{
    cpt_checkpoint *c = NULL;
    assert_ok(cpt_checkpoint_open(path, &c, &err));
    const cpt_tensor *t = cpt_checkpoint_find(c, name);
    assert_non_null(t);
    double *out = malloc((size_t)t->n_items * sizeof *out);
    assert_ok(cpt_tensor_read_f64(t, out, &err));
    cpt_checkpoint_free(c);
    return out;
}

/* want: components [dim][dim] up to sign; the last `n_null` directions are arbitrary. */
static void check_pca(const double *x, int64_t n, int32_t dim, int32_t n_null, const double *want,
                      const double *want_mean, const json_t *singular_values)
{
    double mean[32], singular[32], components[32 * 32];
    assert_int_equal(json_array_size(singular_values), dim);
    assert_ok(cpt_pca_f64(x, n, dim, dim, mean, components, singular, NULL, &err));
    for (int32_t i = 0; i < dim; i++) {
        assert_near(mean[i], want_mean[i], 1e-12 * (1 + fabs(want_mean[i])));
        double s = json_number_value(json_array_get(singular_values, (size_t)i));
        if (i >= dim - n_null) {
            assert_near(singular[i], 0, 1e-7 * singular[0]);
            continue;
        }
        assert_near(singular[i], s, 1e-10 * s);
        assert_near(fabs(dot(components + i * dim, want + i * dim, dim)), 1, 1e-9);
    }
}

static void golden_pca(void **state)
{
    NEED_SHARED(folder, "golden/stats");
    char path[1100];
    snprintf(path, sizeof path, "%s/linear.json", folder);
    json_t *golden = json_load_file(path, 0, NULL);
    assert_non_null(golden);
    snprintf(path, sizeof path, "%s/linear.safetensors", folder);
    double *x = read_tensor(path, "pca_X"), *components = read_tensor(path, "pca_components_X"),
           *mean = read_tensor(path, "pca_mean_X");
    check_pca(x, 120, 8, 0, components, mean, json_object_get(json_object_get(golden, "pca_X"), "singular_values"));
    free(x), free(components), free(mean);

    /* The first 24 genes of the 40 cells; one of them is constant. */
    components = read_tensor(path, "pca_components_counts"), mean = read_tensor(path, "pca_mean_counts");
    snprintf(path, sizeof path, "%s/two_group.safetensors", folder);
    double *all = read_tensor(path, "counts"), *counts = malloc(40 * 24 * sizeof *counts);
    for (int i = 0; i < 40; i++) memcpy(counts + i * 24, all + i * 28, 24 * sizeof *counts);
    check_pca(counts, 40, 24, 1, components, mean,
              json_object_get(json_object_get(golden, "pca_counts"), "singular_values"));
    free(all), free(counts), free(components), free(mean);
    json_decref(golden);
}

static void eigenvectors(void **state)
{
    enum { N = 60, K = 7 };
    double *a = calloc(N * N, sizeof *a), *copy = malloc(N * N * sizeof *a), values[N], vectors[N * N];
    cpt_stream s;
    cpt_stream_init(&s, 4, CPT_RANDOM_TEST, 0);
    for (int i = 0; i < N; i++)
        for (int j = i; j < N; j++) a[i * N + j] = a[j * N + i] = cpt_stream_normal(&s);
    memcpy(copy, a, N * N * sizeof *a);
    for (int i = 0; i < N; i++)
        for (int j = 0; j < i; j++) copy[i * N + j] = NAN; /* the lower triangle is not read */
    assert_ok(cpt_eigen_symmetric(copy, N, K, values, vectors, &err));
    for (int k = 0; k < K; k++) {
        double *v = vectors + k * N, largest = 0;
        for (int i = 0; i < N; i++) assert_near(dot(a + i * N, v, N), values[k] * v[i], 1e-12 * N);
        for (int l = 0; l <= k; l++) assert_near(dot(v, vectors + l * N, N), l == k, 1e-12);
        if (k) assert_true(values[k] <= values[k - 1]);
        for (int i = 0; i < N; i++)
            if (fabs(v[i]) > fabs(largest)) largest = v[i];
        assert_true(largest > 0);
    }
    double trace = 0, sum = 0;
    memcpy(copy, a, N * N * sizeof *a);
    assert_ok(cpt_eigen_symmetric(copy, N, N, values, vectors, &err));
    for (int i = 0; i < N; i++) trace += a[i * N + i], sum += values[i];
    assert_near(sum, trace, 1e-11);

    double one = -3;
    assert_ok(cpt_eigen_symmetric(&one, 1, 1, values, vectors, &err));
    assert_near(values[0], -3, 0);
    assert_near(vectors[0], 1, 0);
    double zero[4] = {0};
    assert_ok(cpt_eigen_symmetric(zero, 2, 2, values, vectors, &err));
    assert_near(values[0], 0, 0);
    assert_near(dot(vectors, vectors + 2, 2), 0, 0);
    one = NAN;
    assert_int_equal(cpt_eigen_symmetric(&one, 1, 1, values, vectors, &err), CPT_ERR_DATA);
    assert_int_equal(cpt_eigen_symmetric(&one, 1, 2, values, vectors, &err), CPT_ERR_USAGE);
    free(a);
    free(copy);
}

/* Wide and tall matrices go different ways and must agree. */
static void rows_against_columns(void **state)
{
    enum { N = 30, DIM = 150, K = 31 };
    double *x = malloc(N * DIM * sizeof *x), *tall = calloc(2 * DIM * DIM, sizeof *tall);
    double mean[DIM], singular[2][K], *components[2];
    cpt_stream s;
    cpt_stream_init(&s, 5, CPT_RANDOM_TEST, 0);
    for (int i = 0; i < N * DIM; i++) x[i] = cpt_stream_normal(&s);
    for (int t = 0; t < 2; t++) components[t] = malloc(K * DIM * sizeof **components);
    assert_ok(cpt_pca_f64(x, N, DIM, K, mean, components[0], singular[0], NULL, &err));

    /* The same covariance times N, by rows that sum to 0: +- (x - mean) and zeros. */
    for (int i = 0; i < N; i++)
        for (int d = 0; d < DIM; d++) {
            tall[(2 * i) * DIM + d] = (x[i * DIM + d] - mean[d]) / sqrt(2);
            tall[(2 * i + 1) * DIM + d] = -tall[(2 * i) * DIM + d];
        }
    assert_ok(cpt_pca_f64(tall, 2 * DIM, DIM, K, mean, components[1], singular[1], NULL, &err));
    for (int i = 0; i < N - 1; i++) {
        assert_near(singular[0][i], singular[1][i], 1e-10 * singular[1][0]);
        for (int d = 0; d < DIM; d++) assert_near(components[0][i * DIM + d], components[1][i * DIM + d], 1e-8);
    }
    for (int i = N - 1; i < K; i++) { /* rank is N - 1 */
        assert_near(singular[0][i], 0, 0);
        assert_near(dot(components[0] + i * DIM, components[0] + i * DIM, DIM), 0, 0);
    }
    free(x);
    free(tall);
    for (int t = 0; t < 2; t++) free(components[t]);
}

/* Scores are uncorrelated, with variances singular^2 / (n - 1), at any distance from 0. */
static void scores_are_uncorrelated(void **state)
{
    enum { N = 3000, DIM = 200, K = 5 };
    float *x = malloc(N * DIM * sizeof *x), *scores[2];
    double mean[DIM], singular[2][K], *components = malloc(K * DIM * sizeof *components);
    cpt_stream s;
    cpt_stream_init(&s, 6, CPT_RANDOM_TEST, 0);
    for (int i = 0; i < N; i++) {
        double shared = cpt_stream_normal(&s);
        for (int d = 0; d < DIM; d++)
            x[i * DIM + d] = (float)(500 + 3 * shared * (d % 5) + (1 + d % 7) * cpt_stream_normal(&s));
    }
    for (int t = 0; t < 2; t++) {
        cpt_context ctx = {.n_threads = 1 + 2 * t};
        scores[t] = malloc(N * K * sizeof **scores);
        assert_ok(cpt_pca(x, N, DIM, K, mean, components, singular[t], &ctx, &err));
        cpt_pca_scores(x, N, DIM, K, mean, components, scores[t], &ctx);
    }
    assert_memory_equal(scores[0], scores[1], N * K * sizeof **scores); /* any thread count */
    assert_memory_equal(singular[0], singular[1], sizeof singular[0]);
    for (int a = 0; a < K; a++)
        for (int b = 0; b <= a; b++) {
            double sum = 0;
            for (int i = 0; i < N; i++) sum += (double)scores[0][i * K + a] * (double)scores[0][i * K + b];
            double want = a == b ? singular[0][a] * singular[0][a] : 0;
            assert_near(sum, want, 1e-5 * singular[0][0] * singular[0][0]);
        }
    for (int t = 0; t < 2; t++) free(scores[t]);
    free(x);
    free(components);
}

static void edge_cases(void **state)
{
    double mean[3], components[9], singular[3];
    float x[6] = {1, 2, 3, 1, 2, 3};
    assert_ok(cpt_pca(x, 1, 3, 3, mean, components, singular, NULL, &err)); /* one row */
    assert_near(singular[0], 0, 0);
    assert_near(mean[2], 3, 0);
    assert_ok(cpt_pca(x, 2, 3, 2, mean, components, singular, NULL, &err)); /* the same twice */
    assert_near(singular[0], 0, 0);
    assert_ok(cpt_pca(x, 6, 1, 1, mean, components, singular, NULL, &err)); /* one column */
    assert_near(singular[0], 2, 1e-14);
    assert_near(components[0], 1, 0);
    assert_int_equal(cpt_pca(x, 2, 3, 4, mean, components, singular, NULL, &err), CPT_ERR_USAGE);
    assert_int_equal(cpt_pca(x, 0, 3, 1, mean, components, singular, NULL, &err), CPT_ERR_DATA);
    x[4] = NAN;
    assert_int_equal(cpt_pca(x, 2, 3, 1, mean, components, singular, NULL, &err), CPT_ERR_DATA);
    assert_non_null(strstr(err.text, "row 1"));
    assert_non_null(strstr(err.text, "column 1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_pca),
        cmocka_unit_test(eigenvectors),
        cmocka_unit_test(rows_against_columns),
        cmocka_unit_test(scores_are_uncorrelated),
        cmocka_unit_test(edge_cases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

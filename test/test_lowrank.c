/* pca, ica and nmf as dictionaries: exactness, planted sources, derivatives, files, threads. */
#include "check.h"
#include "golden.h"

#include "base/file.h"
#include "base/random.h"
#include "dictionary/dictionary.h"
#include "dictionary/nnls.h"
#include "io/checkpoint.h"

static cpt_err err;
static const char *const kinds[] = {"pca", "ica", "nmf"};
enum { N_KINDS = 3, N = 600, DIM = 7, RANK = 4 };

static int64_t rows[100000];

/* Laplace sources of descending spread, mixed, away from 0; planted [n][rank] may be NULL. */
static float *cells(int64_t n, int32_t dim, int32_t rank, double noise, double *planted,
                    double *mixing)
{
    float *a = calloc((size_t)(n * dim), sizeof *a);
    double *mix = calloc((size_t)(rank * dim), sizeof *mix);
    cpt_stream s;
    cpt_stream_init(&s, 11, CPT_RANDOM_TEST, (uint64_t)dim);
    for (int32_t i = 0; i < rank * dim; i++) mix[i] = cpt_stream_normal(&s) * 3 / (1 + i / dim);
    for (int64_t i = 0; i < n; i++) {
        for (int32_t j = 0; j < dim; j++)
            a[i * dim + j] = (float)(0.5 + 0.1 * j + noise * cpt_stream_normal(&s));
        for (int32_t c = 0; c < rank; c++) {
            const double u = cpt_stream_uniform(&s) - 0.5;
            const double source = (u < 0 ? 1 : -1) * log(1 - 2 * fabs(u) + 1e-12);
            if (planted) planted[i * rank + c] = source;
            for (int32_t j = 0; j < dim; j++) a[i * dim + j] += (float)(source * mix[c * dim + j]);
        }
    }
    if (mixing) memcpy(mixing, mix, (size_t)(rank * dim) * sizeof *mix);
    free(mix);
    return a;
}

static cpt_dictionary *train(const char *kind, const float *a, int64_t n, int32_t dim, int32_t k,
                             cpt_dictionary_report *report, int threads, uint64_t seed)
{
    const cpt_context ctx = {.n_threads = threads, .seed = seed};
    cpt_dictionary_options o;
    cpt_dictionary_report own;
    cpt_dictionary *d = NULL;
    cpt_dictionary_options_init(&o);
    o.kind = kind;
    o.k = k;
    assert_ok(cpt_dictionary_train(&o, a, dim, n, rows, n / 4, rows, &d, report ? report : &own,
                                   &ctx, &err));
    if (!report) cpt_dictionary_report_free(&own);
    return d;
}

/* encoded [n][n_concepts], dense, and decoded [n][dim] */
static void use(const cpt_dictionary *d, const float *a, int64_t n, float *encoded, float *decoded)
{
    int32_t *counts = calloc((size_t)n, sizeof *counts),
            *concepts = calloc((size_t)(n * d->max_active), sizeof *concepts);
    float *values = calloc((size_t)(n * d->max_active), sizeof *values);
    assert_ok(d->ops->encode(d, n, a, counts, concepts, values, &err));
    memset(encoded, 0, (size_t)(n * d->n_concepts) * sizeof *encoded);
    for (int64_t i = 0; i < n; i++) {
        assert_in_range(counts[i], 0, d->max_active);
        for (int32_t c = 0; c < counts[i]; c++) {
            const int64_t at = i * d->max_active + c;
            assert_true(values[at] > 0);
            assert_in_range(concepts[at], c ? concepts[at - 1] + 1 : 0, d->n_concepts - 1);
            encoded[i * d->n_concepts + concepts[at]] = values[at];
        }
    }
    d->ops->decode(d, n, counts, concepts, values, decoded);
    free(counts), free(concepts), free(values);
}

static void full_rank_is_exact(void **state)
{
    float *a = cells(N, DIM, RANK, 0.3, NULL, NULL);
    float encoded[4 * 4 * DIM], decoded[4 * DIM];
    for (int k = 0; k < N_KINDS; k++) {
        cpt_dictionary_report report;
        cpt_dictionary *d = train(kinds[k], a, N, DIM, k == 2 ? 2 * DIM : 0, &report, 1, 1);
        assert_int_equal(d->n_concepts, 2 * DIM);
        assert_int_equal(d->max_active, k == 2 ? 2 * DIM : DIM);
        if (k < 2) {
            assert_near(report.train.r2_feature, 1, 1e-12);
            assert_near(report.train.l0, DIM, 0);
            use(d, a, 4, encoded, decoded);
            for (int i = 0; i < 4 * DIM; i++) assert_near(decoded[i], a[i], 2e-5);
        } else {
            assert_true(report.train.r2_feature > 0.999); /* a local optimum of neurons' own */
        }
        cpt_dictionary_report_free(&report);
        cpt_dictionary_free(d);
    }
    free(a);
}

/* R2 = the explained variance of scikit-learn's components, which are ours up to sign. */
static void golden_pca(void **state)
{
    NEED_SHARED(folder, "golden/stats");
    char path[1100];
    size_t bytes;
    snprintf(path, sizeof path, "%s/linear.safetensors", folder);
    double *x = golden_tensor(path, "pca_X", &bytes),
           *want = golden_tensor(path, "pca_components_X", &bytes);
    snprintf(path, sizeof path, "%s/linear.json", folder);
    json_t *root = golden_json(path);
    int n_ratios;
    double *ratios = golden_array(
               json_object_get(json_object_get(root, "pca_X"), "explained_variance_ratio"),
               &n_ratios),
           explained = 0;
    float a[120 * 8];
    for (int i = 0; i < 120 * 8; i++) a[i] = (float)x[i];
    for (int rank = 1; rank <= 8; rank++) {
        cpt_dictionary_report report;
        cpt_dictionary *d = train("pca", a, 120, 8, rank, &report, 1, 0);
        explained += ratios[rank - 1];
        assert_near(report.train.r2_feature, explained, 1e-6);
        assert_int_equal(d->n_concepts, 2 * rank);
        for (int c = 0; c < rank; c++) {
            double dot = 0;
            for (int j = 0; j < 8; j++) dot += d->decoder[2 * c * 8 + j] * want[c * 8 + j];
            assert_near(fabs(dot), 1, 1e-5);
        }
        cpt_dictionary_report_free(&report);
        cpt_dictionary_free(d);
    }
    free(x), free(want), free(ratios);
    json_decref(root);
}

static void pca_is_orthonormal(void **state)
{
    float *a = cells(N, DIM, RANK, 0.3, NULL, NULL);
    cpt_dictionary *d = train("pca", a, N, DIM, 0, NULL, 1, 0);
    for (int i = 0; i < 2 * DIM; i++)
        for (int j = 0; j < 2 * DIM; j++) {
            double dot = 0;
            for (int x = 0; x < DIM; x++)
                dot += (double)d->decoder[i * DIM + x] * d->decoder[j * DIM + x];
            assert_near(dot, i / 2 != j / 2 ? 0 : i == j ? 1 : -1, 1e-6);
        }
    cpt_dictionary_free(d);
    free(a);
}

static void ica_recovers_sources(void **state)
{
    enum { CELLS = 20000, SOURCES = 4 };
    double *planted = calloc(CELLS * SOURCES, sizeof *planted), mixing[SOURCES * DIM];
    float *a = cells(CELLS, DIM, SOURCES, 0, planted, mixing), h[CELLS];
    cpt_dictionary *pca = train("pca", a, CELLS, DIM, SOURCES, NULL, 2, 0);
    cpt_dictionary *ica = train("ica", a, CELLS, DIM, 0, NULL, 2, 0);
    assert_int_equal(ica->n_concepts, 2 * SOURCES); /* the rank of the data, not of the space */
    double worst_pca = 1;
    for (int s = 0; s < SOURCES; s++) {
        double best[2] = {0}, x[CELLS], y[CELLS], direction = 0;
        for (int c = 0; c < 2 * SOURCES; c += 2)
            for (int which = 0; which < 2; which++) {
                const cpt_dictionary *d = which ? ica : pca;
                double xy = 0, xx = 0, yy = 0, mean = 0, cosine = 0, norm = 0;
                assert_ok(d->ops->readout(d, c, CELLS, a, NULL, h, &err));
                for (int i = 0; i < CELLS; i++) mean += h[i] / (double)CELLS;
                for (int i = 0; i < CELLS; i++) {
                    x[i] = planted[i * SOURCES + s], y[i] = h[i] - mean;
                    xy += x[i] * y[i], xx += x[i] * x[i], yy += y[i] * y[i];
                }
                if (fabs(xy) / sqrt(xx * yy) < best[which]) continue;
                best[which] = fabs(xy) / sqrt(xx * yy);
                for (int j = 0; j < DIM; j++) {
                    cosine += d->decoder[c * DIM + j] * mixing[s * DIM + j];
                    norm += mixing[s * DIM + j] * mixing[s * DIM + j];
                }
                if (which) direction = fabs(cosine) / sqrt(norm);
            }
        assert_true(best[1] > 0.995);
        assert_true(direction > 0.995);
        if (best[0] < worst_pca) worst_pca = best[0];
    }
    assert_true(worst_pca < 0.95); /* or the test could not fail */
    cpt_dictionary_free(pca);
    cpt_dictionary_free(ica);
    free(a), free(planted);
}

static void nmf_is_non_negative_and_falls(void **state)
{
    float *a = cells(N, DIM, RANK, 0.3, NULL, NULL);
    cpt_dictionary_report report;
    cpt_dictionary *d = train("nmf", a, N, DIM, 5, &report, 1, 3);
    double before = INFINITY, value;
    int step, n_steps = 0;
    for (const char *line = strchr(cpt_text_str(&report.log), '\n'); line && line[1];
         line = strchr(line + 1, '\n')) {
        assert_int_equal(sscanf(line + 1, "%d\t%lf", &step, &value), 2);
        assert_true(value <= before + 1e-9);
        before = value;
        n_steps++;
    }
    assert_int_equal(n_steps, report.n_steps);
    assert_true(n_steps > 3);
    float *encoded = calloc(N * 5, sizeof *encoded), *decoded = calloc(N * DIM, sizeof *decoded);
    use(d, a, N, encoded, decoded); /* checks that values are positive */
    /* the exact encoding is at least as good as the last round of training; the loss of the split
     * coordinates bounds that of the embedding */
    double sse = 0;
    for (int i = 0; i < N * DIM; i++) sse += (a[i] - decoded[i]) * (a[i] - decoded[i]);
    assert_true(sse / N <= 2 * report.final_loss * (1 + 1e-6));
    assert_true(report.train.r2_feature > 0.5);
    free(encoded), free(decoded), free(a);
    cpt_dictionary_report_free(&report);
    cpt_dictionary_free(d);
}

/* Programs that never overlap are found one by one. */
static void nmf_recovers_parts(void **state)
{
    enum { CELLS = 500, PARTS = 3, WIDTH = 6 };
    static const float parts[PARTS][WIDTH] = {
        {1, 2, 0, 0, 0, 0}, {0, 0, -1, 1, 0, 0}, {0, 0, 0, 0, -3, -1}};
    float *a = calloc(CELLS * WIDTH, sizeof *a);
    cpt_stream s;
    cpt_stream_init(&s, 5, CPT_RANDOM_TEST, 1);
    for (int i = 0; i < CELLS; i++)
        for (int p = 0; p < PARTS; p++) {
            const double on = cpt_stream_uniform(&s) < 0.5 ? 0 : cpt_stream_gamma(&s, 2);
            for (int j = 0; j < WIDTH; j++) a[i * WIDTH + j] += (float)(on * parts[p][j]);
        }
    cpt_dictionary_report report;
    cpt_dictionary *d = train("nmf", a, CELLS, WIDTH, PARTS, &report, 1, 0);
    assert_true(report.train.r2_feature > 0.9999);
    for (int p = 0; p < PARTS; p++) {
        double best = 0, norm = 0;
        for (int j = 0; j < WIDTH; j++) norm += parts[p][j] * parts[p][j];
        for (int c = 0; c < PARTS; c++) {
            double dot = 0;
            for (int j = 0; j < WIDTH; j++) dot += parts[p][j] * d->decoder[c * WIDTH + j];
            best = fmax(best, dot / sqrt(norm));
        }
        assert_near(best, 1, 1e-3);
    }
    cpt_dictionary_report_free(&report);
    cpt_dictionary_free(d);
    free(a);
}

static void readout_agrees_with_encode(void **state)
{
    float *a = cells(N, DIM, RANK, 0.3, NULL, NULL);
    float *encoded = calloc(N * 2 * DIM, sizeof *encoded),
          *decoded = calloc(N * DIM, sizeof *decoded);
    float activation[N], pre[N], only[N];
    for (int k = 0; k < N_KINDS; k++) {
        cpt_dictionary *d = train(kinds[k], a, N, DIM, 5, NULL, 1, 0);
        use(d, a, N, encoded, decoded);
        for (int32_t c = 0; c < d->n_concepts; c++) {
            assert_ok(d->ops->readout(d, c, N, a, activation, pre, &err));
            assert_ok(d->ops->readout(d, c, N, a, only, NULL, &err));
            for (int i = 0; i < N; i++) {
                assert_true(activation[i] == encoded[i * d->n_concepts + c]);
                assert_true(only[i] == activation[i]);
                if (activation[i] > 0) assert_true(pre[i] == activation[i]);
                else assert_true(pre[i] <= 0);
            }
            assert_ok(d->ops->readout(d, c, N, a, NULL, only, &err));
            assert_memory_equal(only, pre, sizeof pre);
        }
        cpt_dictionary_free(d);
    }
    free(a), free(encoded), free(decoded);
}

/* h is linear between kinks: a step of 1e-3 sees either the slope or a kink, and kinks are rare. */
static void gradient_is_the_slope(void **state)
{
    enum { CELLS = 40 };
    const double step = 1e-3;
    float *a = cells(N, DIM, RANK, 0.3, NULL, NULL), g[DIM], at[3 * DIM], h[3];
    for (int k = 0; k < N_KINDS; k++) {
        cpt_dictionary *d = train(kinds[k], a, N, DIM, 5, NULL, 1, 0);
        int n_kinks = 0, n_slopes = 0;
        for (int i = 0; i < CELLS; i++)
            for (int32_t c = 0; c < d->n_concepts; c++) {
                d->ops->gradient(d, c, a + i * DIM, g);
                for (int j = 0; j < DIM; j++) {
                    for (int s = 0; s < 3; s++) {
                        memcpy(at + s * DIM, a + i * DIM, DIM * sizeof *at);
                        at[s * DIM + j] += (float)((s - 1) * step);
                    }
                    assert_ok(d->ops->readout(d, c, 3, at, NULL, h, &err));
                    const double up = (h[2] - h[1]) / ((double)at[2 * DIM + j] - at[DIM + j]);
                    const double down = (h[1] - h[0]) / ((double)at[DIM + j] - at[j]);
                    n_slopes++;
                    if (fabs(up - down) > 0.01) {
                        n_kinks++;
                        continue;
                    }
                    assert_near(g[j], (up + down) / 2, 0.01);
                }
            }
        assert_true(n_kinks <= (k == 2 ? n_slopes / 50 : 0));
        cpt_dictionary_free(d);
    }
    free(a);
}

/* At a coordinate that is exactly 0 the two sides are averaged. */
static void gradient_at_zero(void **state)
{
    float *a = cells(N, DIM, RANK, 0.3, NULL, NULL), zero[DIM] = {0}, g[DIM], h;
    cpt_dictionary *d = train("nmf", a, N, DIM, 5, NULL, 1, 0);
    assert_ok(d->ops->readout(d, 0, 1, zero, NULL, &h, &err));
    assert_near(h, 0, 0);
    d->ops->gradient(d, 0, zero, g);
    for (int j = 0; j < DIM; j++) assert_near(g[j], d->decoder[j] / 2, 1e-6);
    cpt_dictionary_free(d);
    free(a);
}

static void same_bits_for_any_threads(void **state)
{
    enum { WIDTH = 33 };
    static const int64_t n[N_KINDS] = {2000, 6000, 1500}; /* enough work for a team of threads */
    float *a = cells(6000, WIDTH, 12, 0.1, NULL, NULL);
    for (int k = 0; k < N_KINDS; k++) {
        cpt_dictionary_report r[2];
        cpt_dictionary *one = train(kinds[k], a, n[k], WIDTH, 12, &r[0], 1, 9);
        cpt_dictionary *two = train(kinds[k], a, n[k], WIDTH, 12, &r[1], 2, 9);
        assert_memory_equal(one->decoder, two->decoder,
                            (size_t)one->n_concepts * WIDTH * sizeof(float));
        assert_string_equal(cpt_text_str(&r[0].log), cpt_text_str(&r[1].log));
        for (int i = 0; i < 2; i++) cpt_dictionary_report_free(&r[i]);
        cpt_dictionary_free(one);
        cpt_dictionary_free(two);
    }
    free(a);
}

static void round_trip(void **state)
{
    char folder[64];
    snprintf(folder, sizeof folder, "/tmp/conceptome-test-lowrank-%d", (int)getpid());
    float *a = cells(N, DIM, RANK, 0.3, NULL, NULL);
    float *encoded[2], *decoded[2];
    for (int i = 0; i < 2; i++) {
        encoded[i] = calloc(N * 2 * DIM, sizeof **encoded);
        decoded[i] = calloc(N * DIM, sizeof **decoded);
    }
    for (int k = 0; k < N_KINDS; k++) {
        cpt_dictionary *d = train(kinds[k], a, N, DIM, 5, NULL, 1, 0), *back;
        assert_ok(d->ops->save(d, folder, &err));
        assert_ok(cpt_dictionary_open(folder, &back, &err));
        assert_string_equal(back->ops->kind, kinds[k]);
        assert_int_equal(back->n_concepts, d->n_concepts);
        assert_int_equal(back->max_active, d->max_active);
        assert_memory_equal(back->decoder, d->decoder, (size_t)d->n_concepts * DIM * sizeof(float));
        use(d, a, N, encoded[0], decoded[0]);
        use(back, a, N, encoded[1], decoded[1]);
        assert_memory_equal(encoded[0], encoded[1],
                            (size_t)N * (size_t)d->n_concepts * sizeof(float));
        assert_memory_equal(decoded[0], decoded[1], N * DIM * sizeof(float));
        cpt_dictionary_free(d);
        cpt_dictionary_free(back);
        assert_ok(cpt_remove_tree(folder, &err));
    }
    for (int i = 0; i < 2; i++) free(encoded[i]), free(decoded[i]);
    free(a);
}

/* ---- what must be refused ---- */

static void refuses_options(void **state)
{
    static const struct {
        const char *kind;
        int32_t n_concepts, k, expansion;
        const char *text;
    } cases[] = {
        {"pca", 7, 0, 0, "7 concepts are odd"},
        {"ica", 8, 3, 0, "rank 4, but --k says 3"},
        {"pca", 0, 8, 0, "rank 8 is more than the 7"},
        {"nmf", 15, 0, 0, "rank 15 is more than the 14"},
        {"nmf", 0, 0, 2, "no expansion; use --k RANK or --concepts RANK"},
        {"pcs", 0, 0, 0, "did you mean pca"},
    };
    float *a = cells(N, DIM, RANK, 0.3, NULL, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cpt_dictionary_options o;
        cpt_dictionary_report report;
        cpt_dictionary *d;
        cpt_dictionary_options_init(&o);
        o.kind = cases[i].kind, o.n_concepts = cases[i].n_concepts, o.k = cases[i].k;
        o.expansion = cases[i].expansion;
        assert_int_equal(
            cpt_dictionary_train(&o, a, DIM, N, rows, 0, rows, &d, &report, NULL, &err),
            CPT_ERR_USAGE);
        assert_non_null(strstr(err.text, cases[i].text));
    }
    free(a);
}

static void refuses_data(void **state)
{
    static float flat[10 * 3], line[10 * 3];
    cpt_dictionary_options o;
    cpt_dictionary_report report;
    cpt_dictionary *d;
    cpt_dictionary_options_init(&o);
    for (int i = 0; i < 30; i++) line[i] = (float)(i / 3);
    for (int k = 0; k < N_KINDS; k++) {
        o.kind = kinds[k];
        assert_int_equal(
            cpt_dictionary_train(&o, flat, 3, 10, rows, 0, rows, &d, &report, NULL, &err),
            CPT_ERR_DATA);
        assert_non_null(strstr(err.text, k == 2 ? "is 0" : "same embedding"));
        assert_null(d);
    }
    o.kind = "pca", o.k = 2;
    assert_int_equal(cpt_dictionary_train(&o, line, 3, 10, rows, 0, rows, &d, &report, NULL, &err),
                     CPT_ERR_DATA);
    assert_non_null(strstr(err.text, "has rank 1"));
    o.k = 0;
    assert_int_equal(cpt_dictionary_train(&o, line, 3, 1, rows, 0, rows, &d, &report, NULL, &err),
                     CPT_ERR_DATA);
    assert_non_null(strstr(err.text, "at least 2"));
}

/* Fewer cells than dimensions, and a single one for nmf. */
static void few_cells(void **state)
{
    float *a = cells(5, 40, 3, 0.3, NULL, NULL);
    for (int k = 0; k < N_KINDS; k++) {
        cpt_dictionary_report report;
        cpt_dictionary *d = train(kinds[k], a, 5, 40, 0, &report, 1, 0);
        assert_int_equal(d->n_concepts, k == 2 ? 5 : 8);
        assert_true(report.train.r2_feature > 0.99);
        cpt_dictionary_report_free(&report);
        cpt_dictionary_free(d);
    }
    cpt_dictionary *d = train("nmf", a, 1, 40, 0, NULL, 1, 0);
    assert_int_equal(d->n_concepts, 1);
    cpt_dictionary_free(d);
    free(a);
}

static void refuses_files(void **state)
{
    static const struct {
        const char *kind, *architecture;
        int32_t d_in, d_sae;
        const char *text;
    } cases[] = {
        {"pca", "conceptome-pca", 7, 9, "two units per component"},
        {"pca", "conceptome-pca", 7, 16, "'d_sae' must be a whole number from 2 to 14"},
        {"ica", "conceptome-ica", 6, 10, "components"},
        {"nmf", "conceptome-nmf", 7, 6, "components"},
        {"pca", "conceptome-nmf", 7, 5, "components"},
    };
    char folder[64], path[128], text[256];
    snprintf(folder, sizeof folder, "/tmp/conceptome-test-lowrank-%d", (int)getpid());
    snprintf(path, sizeof path, "%s/cfg.json", folder);
    float *a = cells(N, DIM, RANK, 0.3, NULL, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cpt_dictionary *d = train(cases[i].kind, a, N, DIM, 5, NULL, 1, 0), *back;
        assert_ok(d->ops->save(d, folder, &err));
        const int n = snprintf(text, sizeof text,
                               "{\"architecture\": \"%s\", \"d_in\": %d, \"d_sae\": %d}",
                               cases[i].architecture, cases[i].d_in, cases[i].d_sae);
        assert_ok(cpt_write_file(path, text, (size_t)n, &err));
        assert_int_not_equal(cpt_dictionary_open(folder, &back, &err), CPT_OK);
        if (!strstr(err.text, cases[i].text)) fail_msg("%s", err.text);
        assert_non_null(strstr(err.text, folder));
        cpt_dictionary_free(d);
    }
    assert_ok(cpt_remove_tree(folder, &err));
    free(a);
}

/* ---- non-negative least squares: optimality conditions, also where columns depend on each other
 * ---- */

static void nnls_is_optimal(void **state)
{
    enum { M = 9, COLUMNS = 14 };
    cpt_nnls s;
    assert_ok(cpt_nnls_new(COLUMNS, &s, &err));
    for (uint64_t turn = 0; turn < 300; turn++) {
        double h[COLUMNS][M], target[M], gram[COLUMNS * COLUMNS], b[COLUMNS];
        cpt_stream r;
        cpt_stream_init(&r, 1, CPT_RANDOM_TEST, turn);
        for (int c = 0; c < COLUMNS; c++)
            for (int j = 0; j < M; j++) {
                h[c][j] = turn % 3 && cpt_stream_uniform(&r) < 0.5 ? 0
                                                                   : fabs(cpt_stream_normal(&r));
                if (c % 5 == 4) h[c][j] = h[c - 1][j] + h[c - 2][j];
                if (c == 7 && turn % 2) h[c][j] = 0;
            }
        for (int j = 0; j < M; j++) target[j] = fabs(cpt_stream_normal(&r)) * (turn == 5 ? 0 : 1);
        for (int c = 0; c < COLUMNS; c++) {
            b[c] = 0;
            for (int j = 0; j < M; j++) b[c] += h[c][j] * target[j];
            for (int k = 0; k < COLUMNS; k++) {
                gram[c * COLUMNS + k] = 0;
                for (int j = 0; j < M; j++) gram[c * COLUMNS + k] += h[c][j] * h[k][j];
            }
        }
        cpt_nnls_solve(&s, gram, b);
        for (int c = 0; c < COLUMNS; c++) {
            double slack = b[c];
            for (int k = 0; k < COLUMNS; k++) slack -= gram[c * COLUMNS + k] * s.u[k];
            assert_true(s.u[c] >= 0);
            assert_true(slack < 1e-9);
            if (s.u[c] > 0) assert_near(slack, 0, 1e-9);
        }
    }
    cpt_nnls_free(&s);
}

int main(void)
{
    for (int64_t i = 0; i < (int64_t)(sizeof rows / sizeof *rows); i++) rows[i] = i;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(full_rank_is_exact),
        cmocka_unit_test(golden_pca),
        cmocka_unit_test(pca_is_orthonormal),
        cmocka_unit_test(ica_recovers_sources),
        cmocka_unit_test(nmf_is_non_negative_and_falls),
        cmocka_unit_test(nmf_recovers_parts),
        cmocka_unit_test(readout_agrees_with_encode),
        cmocka_unit_test(gradient_is_the_slope),
        cmocka_unit_test(gradient_at_zero),
        cmocka_unit_test(same_bits_for_any_threads),
        cmocka_unit_test(round_trip),
        cmocka_unit_test(refuses_options),
        cmocka_unit_test(refuses_data),
        cmocka_unit_test(few_cells),
        cmocka_unit_test(refuses_files),
        cmocka_unit_test(nnls_is_optimal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

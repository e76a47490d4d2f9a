/* The expression baseline against SciPy's numbers (golden/stats/two_group) and against brute force. */
#include "fake_model.h"

#include <jansson.h>

#include "concept/expression.h"
#include "math/statistics.h"

static cpt_context context(int n_threads)
{
    cpt_context ctx;
    cpt_context_init(&ctx);
    ctx.n_threads = n_threads;
    return ctx;
}

/* Activations of one concept per row of `groups` [n_units][n_cells]; NULL usable = all. */
static cpt_activations *activations_of(const float *groups, int32_t n_units, int64_t n_cells)
{
    cpt_activations *u = calloc(1, sizeof *u);
    bool *usable = malloc((size_t)n_cells * sizeof *usable);
    memset(usable, 1, (size_t)n_cells);
    u->n_cells = n_cells;
    u->n_concepts = n_units;
    u->by_concept = fake_csr(groups, n_units, n_cells, false);
    u->by_cell = fake_csr(groups, n_cells, n_units, true);
    u->usable = usable;
    return u;
}

/* ---- golden ---- */

/* An F64 tensor of a .safetensors file, by the plainest reading of the format. */
static double *tensor(const char *path, const char *name, size_t *n)
{
    FILE *f = fopen(path, "rb");
    uint64_t header = 0;
    assert_non_null(f);
    assert_int_equal(fread(&header, 8, 1, f), 1);
    char *text = calloc(header + 1, 1);
    assert_int_equal(fread(text, 1, header, f), header);
    json_t *root = json_loads(text, 0, NULL), *offsets = json_object_get(json_object_get(root, name),
                                                                         "data_offsets");
    long long from = json_integer_value(json_array_get(offsets, 0));
    long long to = json_integer_value(json_array_get(offsets, 1));
    double *out = malloc((size_t)(to - from));
    *n = (size_t)(to - from) / 8;
    assert_int_equal(fseek(f, (long)(8 + header) + (long)from, SEEK_SET), 0);
    assert_int_equal(fread(out, 8, *n, f), *n);
    fclose(f);
    free(text);
    json_decref(root);
    return out;
}

enum { GOLDEN_CELLS = 40 };

/* Counts that log1p(counts / total * 1e4) turns into the golden values: total 1e4, counts expm1. */
static fake_cells golden_cells(const double *log1p_values, int32_t n_genes)
{
    float *dense = calloc(GOLDEN_CELLS * (size_t)n_genes, sizeof *dense);
    for (int i = 0; i < GOLDEN_CELLS * n_genes; i++) dense[i] = (float)expm1(log1p_values[i]);
    fake_cells c = fake_cells_of(dense, GOLDEN_CELLS, n_genes);
    for (int i = 0; i < GOLDEN_CELLS; i++) c.totals[i] = 1e4;
    return c;
}

static double number(const json_t *row, const char *key)
{
    json_t *v = json_object_get(row, key);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

static void assert_close(double got, double want, double relative)
{
    if (isnan(want)) assert_true(isnan(got));
    else assert_near(got, want, relative * fabs(want));
}

static void agrees_with_scipy(void **state)
{
    (void)state;
    NEED_SHARED(json_path, "golden/stats/two_group.json");
    NEED_SHARED(data_path, "golden/stats/two_group.safetensors");
    cpt_err err;
    size_t n, n_group;
    double *values = tensor(data_path, "log1p_cp10k", &n);
    int64_t *in_group = (int64_t *)(void *)tensor(data_path, "group", &n_group);
    int32_t n_genes = (int32_t)(n / GOLDEN_CELLS), genes[64];
    float group[GOLDEN_CELLS];
    for (int i = 0; i < GOLDEN_CELLS; i++) group[i] = in_group[i] ? 0.5f : 0;
    for (int g = 0; g < n_genes; g++) genes[g] = g;
    json_t *root = json_load_file(json_path, 0, NULL), *rows = json_object_get(root, "log1p_cp10k");
    fake_cells c = golden_cells(values, n_genes);
    cpt_activations *u = activations_of(group, 1, GOLDEN_CELLS);
    cpt_expression *t, *w;
    assert_ok(cpt_expression_test_all(u, &c.by_gene, genes, n_genes, c.totals, 0, CPT_TEST_WELCH, &t,
                                      NULL, &err));
    assert_ok(cpt_expression_test_all(u, &c.by_gene, genes, n_genes, c.totals, 0, CPT_TEST_WILCOXON, &w,
                                      NULL, &err));
    assert_int_equal(t->n_in[0], 18);
    assert_int_equal(t->n_out[0], 22);
    for (int32_t g = 0; g < n_genes; g++) {
        const json_t *row = json_array_get(rows, (size_t)g);
        double mean1 = number(row, "mean1"), mean0 = number(row, "mean0");
        double var1 = number(row, "var1"), var0 = number(row, "var0");
        /* counts are stored as float: 6e-8 relative in expm1(x) */
        assert_close(t->logfc[g], log2((expm1(mean1) + 1e-9) / (expm1(mean0) + 1e-9)), 3e-6);
        if (var1 > 0 || var0 > 0) {
            assert_close(t->score[g], number(row, "welch_t"), 2e-5);
            assert_close(t->log10p[g], log10(number(row, "welch_p")), 2e-5);
            assert_true(t->p[g] > 0);
        }
        double p = number(row, "p_two");
        if (!isnan(p) && !isnan(w->p[g])) assert_close(w->p[g], p, 1e-6);
        assert_int_equal(isnan(p), isnan(w->p[g]));
    }
    json_decref(root);
    cpt_expression_free(t);
    cpt_expression_free(w);
    cpt_activations_free(u);
    fake_cells_free(&c);
    free(values);
    free(in_group);
}

/* ---- brute force ---- */

enum { N = 300, G = 40, F = 6 };

/* Dense two-group test of one gene from scratch. */
static void brute_test(const fake_cells *c, const cpt_activations *u, const float *group, double threshold,
                       int32_t gene, cpt_test *welch, cpt_test *ranks, double *logfc, double shares[2])
{
    double x[N], r[N], sum[2] = {0}, squares[2] = {0}, n[2] = {0}, rank_sum = 0, expressing[2] = {0};
    int64_t order[N], m = 0;
    int side[N];
    for (int i = 0; i < N; i++) {
        if (!u->usable[i]) continue;
        side[m] = group[i] > threshold ? 0 : 1;
        x[m] = c->totals[i] > 0 ? log1p(c->dense[i * G + gene] / c->totals[i] * 1e4) : 0;
        n[side[m]]++;
        sum[side[m]] += x[m];
        expressing[side[m]] += x[m] > 0;
        m++;
    }
    for (int i = 0; i < m; i++) {
        double d = x[i] - sum[side[i]] / n[side[i]];
        squares[side[i]] += d * d;
    }
    *welch = cpt_welch(sum[0] / n[0], squares[0] / (n[0] - 1), n[0], sum[1] / n[1],
                       squares[1] / (n[1] - 1), n[1]);
    double ties = cpt_midranks(m, x, r, order);
    for (int i = 0; i < m; i++) rank_sum += side[i] == 0 ? r[i] : 0;
    *ranks = cpt_rank_sum(rank_sum, n[0], n[1], ties, false);
    *logfc = log2((expm1(sum[0] / n[0]) + 1e-9) / (expm1(sum[1] / n[1]) + 1e-9));
    shares[0] = expressing[0] / n[0];
    shares[1] = expressing[1] / n[1];
}

static int ascending(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

static void agrees_with_brute_force(void **state)
{
    (void)state;
    cpt_err err;
    fake_cells c = fake_cells_random(N, G, 4, 3);
    float groups[F * N] = {0};
    int32_t genes[G];
    cpt_stream s;
    cpt_stream_init(&s, 8, CPT_RANDOM_TEST, 0);
    for (int i = 0; i < N; i++) /* the last unit is empty, the one before has one cell */
        for (int f = 0; f < F - 2; f++)
            if (cpt_stream_uniform(&s) < 0.15 + 0.2 * (i % 4 == f)) groups[f * N + i] = (float)cpt_stream_uniform(&s);
    groups[(F - 2) * N + 3] = 1;
    for (int f = 0; f < F; f++) groups[f * N + 299] = 0; /* will be unusable */
    for (int g = 0; g < G; g++) genes[g] = G - 1 - g; /* another order than the columns */
    cpt_activations *u = activations_of(groups, F, N);
    ((bool *)(uintptr_t)u->usable)[299] = false;
    u->n_unusable = 1;
    c.totals[7] = 0; /* a cell without counts over all genes */
    cpt_context one = context(1), two = context(2);
    for (int variant = 0; variant < 4; variant++) {
        cpt_expression_test test = variant & 1 ? CPT_TEST_WILCOXON : CPT_TEST_WELCH;
        double share = variant & 2 ? 0.5 : 0;
        cpt_expression *x, *again;
        assert_ok(cpt_expression_test_all(u, &c.by_gene, genes, G, c.totals, share, test, &x, &two, &err));
        assert_ok(cpt_expression_test_all(u, &c.by_gene, genes, G, c.totals, share, test, &again, &one, &err));
        assert_memory_equal(x->p, again->p, F * G * sizeof *x->p);
        assert_memory_equal(x->q, again->q, F * G * sizeof *x->q);
        assert_memory_equal(x->logfc, again->logfc, F * G * sizeof *x->logfc);
        for (int f = 0; f < F - 2; f++) {
            double threshold = 0, positive[N], p[G], q[G];
            int n = 0;
            for (int i = 0; i < N; i++)
                if (groups[f * N + i] > 0) positive[n++] = groups[f * N + i];
            qsort(positive, (size_t)n, sizeof *positive, ascending);
            if (share > 0) threshold = cpt_quantile_sorted(n, positive, share);
            for (int g = 0; g < G; g++) {
                cpt_test welch, ranks;
                double logfc, shares[2];
                brute_test(&c, u, groups + f * N, threshold, genes[g], &welch, &ranks, &logfc, shares);
                const cpt_test *want = test == CPT_TEST_WELCH ? &welch : &ranks;
                assert_near(x->score[f * G + g], want->statistic, 1e-6 * (1 + fabs(want->statistic)));
                assert_near(x->p[f * G + g], want->p, 1e-9 * want->p);
                assert_near(x->log10p[f * G + g], want->log10p, 1e-9 * (1 - want->log10p));
                assert_near(x->logfc[f * G + g], logfc, 1e-5);
                assert_near(x->share_in[f * G + g], shares[0], 1e-6);
                assert_near(x->share_out[f * G + g], shares[1], 1e-6);
                p[g] = x->p[f * G + g];
            }
            assert_ok(cpt_bh(G, p, 0, q, &err));
            assert_memory_equal(q, x->q + f * G, sizeof q);
        }
        for (int g = 0; g < G; g++) { /* groups of one cell and of none */
            assert_true(isnan(x->p[(F - 2) * G + g]) && isnan(x->q[(F - 1) * G + g]));
            if (share == 0) assert_false(isnan(x->logfc[(F - 2) * G + g]));
            assert_true(isnan(x->logfc[(F - 1) * G + g]));
            assert_near(x->p[g] > 0, 1, 0);
        }
        cpt_expression_free(x);
        cpt_expression_free(again);
    }
    cpt_activations_free(u);
    fake_cells_free(&c);
}

static void knows_constant_genes(void **state)
{
    (void)state;
    enum { CELLS = 1000 };
    cpt_err err;
    float *dense = calloc(CELLS * 3, sizeof *dense), group[CELLS] = {0};
    int32_t genes[3] = {0, 1, 2};
    for (int i = 0; i < CELLS; i++) {
        group[i] = i % 3 == 0;
        dense[i * 3] = 7;                    /* the same in all cells */
        dense[i * 3 + 1] = 0;                /* nowhere */
        dense[i * 3 + 2] = i % 3 == 0 ? 4 : 1; /* constant in both groups, but different */
    }
    fake_cells c = fake_cells_of(dense, CELLS, 3);
    for (int i = 0; i < CELLS; i++) c.totals[i] = 1234;
    cpt_activations *u = activations_of(group, 1, CELLS);
    cpt_expression *x;
    assert_ok(cpt_expression_test_all(u, &c.by_gene, genes, 3, c.totals, 0, CPT_TEST_WELCH, &x, NULL, &err));
    assert_true(isnan(x->p[0]) && isnan(x->p[1]));
    assert_near(x->logfc[0], 0, 1e-6);
    assert_near(x->logfc[1], 0, 0);
    assert_true(isinf(x->score[2]) && x->p[2] > 0 && x->p[2] < 1e-300);
    cpt_expression_free(x);
    assert_ok(cpt_expression_test_all(u, &c.by_gene, genes, 3, c.totals, 0, CPT_TEST_WILCOXON, &x, NULL,
                                      &err));
    assert_true(isnan(x->p[0]) && isnan(x->p[1]) && x->p[2] < 1e-100);
    cpt_expression_free(x);

    genes[1] = 3;
    assert_int_equal(cpt_expression_test_all(u, &c.by_gene, genes, 3, c.totals, 0, CPT_TEST_WELCH, &x,
                                             NULL, &err), CPT_ERR_USAGE);
    assert_null(x);
    genes[1] = 1;
    assert_int_equal(cpt_expression_test_all(u, &c.by_gene, genes, 3, c.totals, 1, CPT_TEST_WELCH, &x,
                                             NULL, &err), CPT_ERR_USAGE);
    assert_non_null(strstr(err.text, "below 1"));
    cpt_activations_free(u);
    fake_cells_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_scipy),
        cmocka_unit_test(agrees_with_brute_force),
        cmocka_unit_test(knows_constant_genes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Variance of Pearson residuals against a direct, dense computation. */
#include "check.h"

#include "base/random.h"
#include "model/variable_genes.h"

static cpt_err err;

typedef struct matrix {
    cpt_csr csr;
    int64_t indptr[400];
    int32_t indices[400 * 600];
    float values[400 * 600];
} matrix;

/* Negative binomial counts; gene 3 has none, cell 5 has none, totals repeat. */
static matrix *make(int64_t n_genes, int64_t n_cells, double depth, bool whole)
{
    matrix *m = calloc(1, sizeof *m);
    int64_t nnz = 0;
    for (int64_t g = 0; g < n_genes; g++) {
        cpt_stream s;
        cpt_stream_init(&s, 3, CPT_RANDOM_TEST, (uint64_t)g);
        double mean = depth * exp(1.5 * cpt_stream_normal(&s)), shape = 0.2 + 3 * cpt_stream_uniform(&s);
        for (int64_t c = 0; c < n_cells; c++) {
            double x = (double)cpt_stream_poisson(&s, mean / shape * cpt_stream_gamma(&s, shape));
            if (g == 3 || c == 5 || x == 0) continue;
            m->indices[nnz] = (int32_t)c;
            m->values[nnz++] = (float)(whole ? x : x + 0.25);
        }
        m->indptr[g + 1] = nnz;
    }
    m->csr = (cpt_csr){n_genes, n_cells, m->indptr, m->indices, m->values};
    return m;
}

/* As defined, cell by cell, in two passes. */
static void naive(const cpt_csr *m, double theta, double clip, double *variances)
{
    double *x = calloc((size_t)(m->n_rows * m->n_cols), sizeof *x), total = 0;
    double *of_cell = calloc((size_t)m->n_cols, sizeof *of_cell);
    for (int64_t g = 0; g < m->n_rows; g++)
        for (int64_t i = m->indptr[g]; i < m->indptr[g + 1]; i++) {
            x[g * m->n_cols + m->indices[i]] = (double)m->values[i];
            of_cell[m->indices[i]] += (double)m->values[i];
            total += (double)m->values[i];
        }
    double *r = calloc((size_t)m->n_cols, sizeof *r);
    for (int64_t g = 0; g < m->n_rows; g++) {
        double of_gene = 0, mean = 0, variance = 0;
        for (int64_t c = 0; c < m->n_cols; c++) of_gene += x[g * m->n_cols + c];
        for (int64_t c = 0; c < m->n_cols; c++) {
            double mu = of_gene * of_cell[c] / total;
            r[c] = mu > 0 ? (x[g * m->n_cols + c] - mu) / sqrt(mu + mu * mu / theta) : 0;
            r[c] = r[c] > clip ? clip : r[c] < -clip ? -clip : r[c];
            mean += r[c] / (double)m->n_cols;
        }
        for (int64_t c = 0; c < m->n_cols; c++) variance += (r[c] - mean) * (r[c] - mean);
        variances[g] = variance / (double)m->n_cols;
    }
    free(x);
    free(of_cell);
    free(r);
}

static void same_as_naive(int64_t n_genes, int64_t n_cells, double depth, bool whole, double theta, double clip)
{
    matrix *m = make(n_genes, n_cells, depth, whole);
    double got[400], want[400];
    int32_t chosen[400], n_chosen;
    cpt_variable_genes_options o = {.n_top = 20, .theta = theta, .clip = clip};
    assert_ok(cpt_variable_genes(&m->csr, &o, got, chosen, &n_chosen, NULL, &err));
    naive(&m->csr, theta, clip > 0 ? clip : sqrt((double)n_cells), want);
    for (int64_t g = 0; g < n_genes; g++) assert_near(got[g], want[g], 1e-10 * (1 + want[g]));
    assert_near(got[3], 0, 0);

    double lowest = INFINITY; /* of the chosen; nothing better may be left out */
    for (int32_t i = 0; i < n_chosen; i++) {
        if (i) assert_true(chosen[i] > chosen[i - 1]);
        lowest = fmin(lowest, want[chosen[i]]);
    }
    for (int64_t g = 0, i = 0; g < n_genes; g++)
        if (i < n_chosen && chosen[i] == g) i++;
        else assert_true(want[g] <= lowest + 1e-9);
    assert_int_equal(n_chosen, 20);
    free(m);
}

static void dense_agreement(void **state)
{
    same_as_naive(300, 500, 1, true, 100, 0);
    same_as_naive(300, 500, 0.02, true, 100, 0);
    same_as_naive(200, 40, 200, true, 100, 0); /* the cut hits zeros too: sqrt(40) < 10 */
    same_as_naive(200, 300, 3, true, 100, 2);
    same_as_naive(200, 300, 3, true, INFINITY, 0);
    same_as_naive(200, 300, 3, true, 1, 0);
    same_as_naive(200, 300, 3, false, 100, 0); /* all totals different */
}

static void ties_and_few_genes(void **state)
{
    /* Genes 0, 2, 4 alike, 1 and 3 without counts. */
    const int64_t indptr[6] = {0, 2, 2, 4, 4, 6};
    const int32_t indices[6] = {0, 1, 0, 1, 0, 1};
    const float values[6] = {1, 4, 1, 4, 1, 4};
    cpt_csr m = {5, 3, indptr, indices, values};
    double variances[5];
    int32_t chosen[5], n_chosen;
    cpt_variable_genes_options o = {.n_top = 2, .theta = 100};
    /* Proportional genes over two cells: their residuals are all 0 but for rounding. */
    assert_ok(cpt_variable_genes(&m, &o, variances, chosen, &n_chosen, NULL, &err));
    assert_true(variances[0] == variances[2] && variances[2] == variances[4]);

    const float other[6] = {1, 4, 4, 1, 4, 1};
    m.values = other;
    assert_ok(cpt_variable_genes(&m, &o, variances, chosen, &n_chosen, NULL, &err));
    assert_true(variances[2] == variances[4] && variances[0] > variances[2]);
    assert_int_equal(n_chosen, 2);
    assert_int_equal(chosen[0], 0);
    assert_int_equal(chosen[1], 2);
    o.n_top = 5;
    assert_ok(cpt_variable_genes(&m, &o, variances, chosen, &n_chosen, NULL, &err));
    assert_int_equal(n_chosen, 3);
}

static void same_for_any_thread_count(void **state)
{
    matrix *m = make(300, 500, 1, false);
    double v[2][300];
    int32_t chosen[300], n_chosen;
    cpt_variable_genes_options o;
    cpt_variable_genes_options_init(&o);
    assert_int_equal(o.n_top, 4000);
    o.n_top = 300;
    for (int t = 0; t < 2; t++) {
        cpt_context ctx = {.n_threads = 1 + 2 * t};
        assert_ok(cpt_variable_genes(&m->csr, &o, v[t], chosen, &n_chosen, &ctx, &err));
    }
    assert_memory_equal(v[0], v[1], sizeof v[0]);
    free(m);
}

static void wrong_input(void **state)
{
    const int64_t indptr[3] = {0, 1, 2};
    const int32_t indices[2] = {0, 1};
    float values[2] = {1, -2};
    cpt_csr m = {2, 2, indptr, indices, values};
    double v[2];
    int32_t chosen[2], n_chosen;
    cpt_variable_genes_options o = {.n_top = 2, .theta = 100};
    assert_int_equal(cpt_variable_genes(&m, &o, v, chosen, &n_chosen, NULL, &err), CPT_ERR_DATA);
    assert_non_null(strstr(err.text, "gene 1 in cell 1"));
    values[1] = NAN;
    assert_int_equal(cpt_variable_genes(&m, &o, v, chosen, &n_chosen, NULL, &err), CPT_ERR_DATA);
    values[1] = 2;
    o.theta = 0;
    assert_int_equal(cpt_variable_genes(&m, &o, v, chosen, &n_chosen, NULL, &err), CPT_ERR_USAGE);
    o.theta = 1, o.clip = NAN;
    assert_int_equal(cpt_variable_genes(&m, &o, v, chosen, &n_chosen, NULL, &err), CPT_ERR_USAGE);
    o.clip = 0, o.n_top = 0;
    assert_int_equal(cpt_variable_genes(&m, &o, v, chosen, &n_chosen, NULL, &err), CPT_ERR_USAGE);
    m.n_cols = 0, o.n_top = 1;
    assert_int_equal(cpt_variable_genes(&m, &o, v, chosen, &n_chosen, NULL, &err), CPT_ERR_DATA);

    int stop = 1;
    cpt_context ctx = {.n_threads = 1, .stop = &stop};
    m.n_cols = 2;
    assert_int_equal(cpt_variable_genes(&m, &o, v, chosen, &n_chosen, &ctx, &err), CPT_ERR_INTERRUPTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dense_agreement),
        cmocka_unit_test(ties_and_few_genes),
        cmocka_unit_test(same_for_any_thread_count),
        cmocka_unit_test(wrong_input),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

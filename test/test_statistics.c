/* Two-group tests, corrections and scores against SciPy, scikit-learn and R. */
#include "check.h"
#include "golden.h"

#include "base/random.h"
#include "math/order.h"
#include "math/sort.h"
#include "math/statistics.h"

#include <float.h>

enum { CELLS = 40, GENES = 28 };

/* Moments and ranks of one gene of the golden matrix, group 1 against group 0. */
static void compare_gene(const json_t *want, const double *x, const int64_t *group, int gene)
{
    double sum[2] = {0}, square[2] = {0}, count[2] = {0}, values[CELLS], ranks[CELLS], rank_sum = 0;
    int64_t order[CELLS];
    for (int c = 0; c < CELLS; c++) {
        values[c] = x[c * GENES + gene];
        sum[group[c]] += values[c];
        count[group[c]]++;
    }
    for (int c = 0; c < CELLS; c++) {
        double d = values[c] - sum[group[c]] / count[group[c]];
        square[group[c]] += d * d;
    }
    double ties = cpt_midranks(CELLS, values, ranks, order);
    for (int c = 0; c < CELLS; c++) rank_sum += group[c] ? ranks[c] : 0;
    assert_near(ties, golden_get(want, "tie_sum"), 0);
    assert_near(rank_sum - count[1] * (count[1] + 1) / 2, golden_get(want, "U"), 0);

    cpt_test t = cpt_welch(sum[1] / count[1], square[1] / (count[1] - 1), count[1],
                           sum[0] / count[0], square[0] / (count[0] - 1), count[0]);
    double want_t = golden_get(want, "welch_t"), want_p = golden_get(want, "welch_p");
    if (isfinite(want_t) && want_p > 0) {
        assert_near(t.statistic, want_t, 1e-11 * fabs(want_t));
        assert_near(t.df, golden_get(want, "welch_df"), 1e-11 * t.df);
        assert_near(t.p, want_p, 1e-11 * want_p);
        assert_near(t.log10p, log10(want_p), 1e-11 * fabs(log10(want_p)) + 1e-13);
    } else if (want_p == 0) { /* no variance in either group, means differ */
        assert_true(isinf(t.statistic) && t.p == DBL_MIN);
    } else {
        assert_true(isnan(t.p));
    }
    double p_two = golden_get(want, "p_two"), p_corrected = golden_get(want, "p_two_continuity");
    cpt_test plain = cpt_rank_sum(rank_sum, count[1], count[0], ties, false);
    cpt_test corrected = cpt_rank_sum(rank_sum, count[1], count[0], ties, true);
    if (isnan(p_two)) {
        assert_true(isnan(plain.p) && isnan(corrected.p));
        return;
    }
    assert_near(plain.p, p_two, 1e-11 * p_two);
    assert_near(corrected.p, p_corrected, 1e-11 * p_corrected);
    assert_true((plain.statistic < 0) == (golden_get(want, "auc") < 0.5));
}

static void test_two_groups(void **state)
{
    NEED_SHARED(json_path, "golden/stats/two_group.json");
    NEED_SHARED(tensors, "golden/stats/two_group.safetensors");
    json_t *root = golden_json(json_path);
    size_t bytes;
    int64_t *group = golden_tensor(tensors, "group", &bytes);
    assert_int_equal(bytes, CELLS * sizeof *group);
    static const char *const layers[] = {"counts", "log1p_cp10k"};
    for (int l = 0; l < 2; l++) {
        double *x = golden_tensor(tensors, layers[l], &bytes);
        json_t *genes = json_object_get(root, layers[l]);
        assert_int_equal(json_array_size(genes), GENES);
        for (int g = 0; g < GENES; g++) compare_gene(json_array_get(genes, (size_t)g), x, group, g);
        free(x);
    }
    free(group);
    json_decref(root);
}

static void test_two_groups_degenerate(void **state)
{
    cpt_test t = cpt_welch(3, 0, 5, 3, 0, 5);
    assert_true(isnan(t.p) && isnan(t.log10p));
    t = cpt_welch(3, 0, 5, 4, 0, 5);
    assert_true(t.statistic == -INFINITY && t.p == DBL_MIN && isfinite(t.log10p));
    assert_true(isnan(cpt_welch(1, 1, 1, 2, 1, 10).p));   /* one cell has no variance */
    assert_true(isnan(cpt_welch(NAN, 1, 9, 2, 1, 9).p));
    t = cpt_welch(1e3, 1, 1000, 0, 1, 1000);              /* p underflows, its logarithm does not */
    assert_true(t.p == DBL_MIN && t.log10p < -1000 && isfinite(t.log10p));
    assert_true(isnan(cpt_rank_sum(10, 0, 5, 0, true).p));
    t = cpt_rank_sum(27.5, 5, 5, 0, true);                /* U at its mean: not above 1 */
    assert_near(t.p, 1, 0);
}

static void test_bh_golden(void **state)
{
    NEED_SHARED(path, "golden/gsea/bh.json");
    cpt_err err;
    json_t *root = golden_json(path), *entry;
    size_t i;
    json_array_foreach(root, i, entry) {
        int n, n_want;
        double *p = golden_array(json_object_get(entry, "p"), &n);
        double *want = golden_array(json_object_get(entry, "bh"), &n_want);
        double *q = malloc((size_t)(n + 1) * sizeof *q), *lp = malloc((size_t)(n + 1) * sizeof *lp);
        assert_int_equal(n, n_want);
        assert_ok(cpt_bh(n, p, 0, q, &err));
        for (int j = 0; j < n; j++) {
            if (isnan(want[j])) assert_true(isnan(q[j]));
            else assert_near(q[j], want[j], 1e-14 * want[j]);
            lp[j] = log10(p[j]);
        }
        assert_ok(cpt_bh_log10(n, lp, 0, q, &err));
        for (int j = 0; j < n; j++) {
            if (isnan(want[j])) assert_true(isnan(q[j]));
            else assert_near(q[j], log10(want[j]), 1e-12 + 1e-14 * fabs(log10(want[j])));
        }
        free(p);
        free(want);
        free(q);
        free(lp);
    }
    assert_true(i > 3);
    json_decref(root);
}

static void test_bh_rules(void **state)
{
    cpt_err err;
    double p[4] = {0.01, NAN, 0.04, 0.02}, q[4], deep[3] = {-400, -1000, NAN};
    assert_ok(cpt_bh(4, p, 10, q, &err)); /* ten tests by design */
    assert_near(q[0], 0.1, 1e-15);
    assert_near(q[2], 0.4 / 3, 1e-15);
    assert_true(isnan(q[1]));
    assert_ok(cpt_bh_log10(3, deep, 0, q, &err));
    assert_near(q[1], -1000 + log10(2), 1e-12);
    assert_near(q[0], -400, 0);
    assert_ok(cpt_bh(0, p, 0, q, &err));
    assert_int_equal(cpt_bh(4, p, 2, q, &err), CPT_ERR_USAGE);
    assert_non_null(strstr(err.text, "2 tests"));
    p[3] = 1.5;
    assert_int_equal(cpt_bh(4, p, 0, q, &err), CPT_ERR_USAGE);
    assert_non_null(strstr(err.text, "p value 3"));
}

static void test_scores(void **state)
{
    NEED_SHARED(path, "golden/stats/scores.json");
    cpt_err err;
    json_t *root = golden_json(path), *auc = json_object_get(root, "auc"),
           *correlation = json_object_get(root, "correlation");
    int n, m;
    double *s = golden_array(json_object_get(auc, "score"), &n);
    double *label = golden_array(json_object_get(auc, "label"), &m);
    float score[256];
    uint8_t positive[256];
    for (int i = 0; i < n; i++) {
        score[i] = (float)s[i];
        positive[i] = label[i] != 0;
    }
    assert_near(cpt_auroc(n, score, positive), golden_get(auc, "roc_auc"), 1e-15);
    double *x = golden_array(json_object_get(correlation, "x"), &n);
    double *y = golden_array(json_object_get(correlation, "y"), &n);
    assert_near(cpt_pearson(n, x, y),
                json_real_value(json_array_get(json_object_get(correlation, "pearson"), 0)), 1e-14);
    assert_near(cpt_spearman(n, x, y, &err),
                json_real_value(json_array_get(json_object_get(correlation, "spearman"), 0)), 1e-14);
    free(s);
    free(label);
    free(x);
    free(y);
    json_decref(root);
}

static void test_auroc_edges(void **state)
{
    float score[4] = {-1, -0.0f, 0.0f, 2}, with_nan[2] = {NAN, 1};
    uint8_t label[4] = {0, 1, 0, 1}, all[4] = {1, 1, 1, 1};
    assert_near(cpt_auroc(4, score, label), 3.5 / 4, 0); /* -0 ties with 0 */
    assert_true(isnan(cpt_auroc(4, score, all)) && isnan(cpt_auroc(0, score, label)));
    assert_true(isnan(cpt_auroc(2, with_nan, label)));
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorting, medians and quantiles of arrays of many lengths, with ties, against qsort. */
static void test_order(void **state)
{
    cpt_err err;
    uint64_t lcg = 1;
    enum { MOST = 400 };
    double v[MOST], sorted[MOST], scratch[MOST], ranks[MOST];
    int64_t order[MOST];
    for (int n = 1; n < MOST; n += 7)
        for (int levels = 2; levels < 100000; levels *= 40) {
            for (int i = 0; i < n; i++) {
                lcg = lcg * 6364136223846793005u + 1442695040888963407u;
                v[i] = ((double)(lcg >> 33 & 0xffff) - 30000) * (double)(lcg >> 60) / levels;
                if (levels == 2) v[i] = (double)(lcg >> 62) - 1;
                if (levels == 80) v[i] = 1 + (double)(lcg >> 54) * 0x1p-45; /* differ in the lower half of the key */
            }
            memcpy(sorted, v, sizeof v);
            memcpy(scratch, v, sizeof v);
            qsort(sorted, (size_t)n, sizeof *sorted, compare_doubles);
            assert_ok(cpt_argsort(n, v, order, &err));
            for (int i = 0; i < n; i++) {
                assert_true(v[order[i]] == sorted[i]);
                if (i && v[order[i]] == v[order[i - 1]]) assert_true(order[i - 1] < order[i]);
            }
            double median = cpt_median(n, scratch);
            assert_near(median, cpt_quantile_sorted(n, sorted, 0.5), 1e-12 * fabs(median));
            double ties = cpt_midranks(n, v, ranks, order), sum = 0, group = 0;
            for (int i = 0; i < n; i++) sum += ranks[i];
            for (int i = 0, j; i < n; i = j) {
                for (j = i; j < n && sorted[j] == sorted[i]; j++) continue;
                group += pow(j - i, 3) - (j - i);
            }
            assert_near(sum, n * (n + 1.) / 2, 1e-9);
            assert_near(ties, group, 0);
        }
}

static void test_order_special(void **state)
{
    cpt_err err;
    double v[6] = {NAN, INFINITY, -0.0, 0, -INFINITY, -5};
    int64_t order[6];
    static const int64_t want[6] = {4, 5, 2, 3, 1, 0};
    assert_ok(cpt_argsort(6, v, order, &err));
    assert_memory_equal(order, want, sizeof want);
    double one[1] = {7}, none[1];
    assert_true(cpt_median(1, one) == 7 && isnan(cpt_median(0, none)));
    double q[4] = {1, 2, 3, 10};
    assert_near(cpt_quantile_sorted(4, q, 0.9), 3 + 0.7 * 7, 1e-14); /* R: quantile(c(1,2,3,10), .9) */
    assert_near(cpt_quantile_sorted(4, q, 1), 10, 0);
    assert_true(isnan(cpt_pearson(3, q, (double[]){1, 1, 1})));
    assert_int_equal(cpt_argsort(1ll << 40, v, order, &err), CPT_ERR_UNSUPPORTED);
}

/* ---- orders of every kind of numbers, both ways, against qsort ---- */

typedef struct numbered {
    double value;
    int32_t index;
} numbered;

static int rising(const void *a, const void *b)
{
    const numbered *x = a, *y = b;
    if (x->value != y->value) return x->value < y->value ? -1 : 1;
    return x->index - y->index;
}

static int falling(const void *a, const void *b)
{
    const numbered *x = a, *y = b;
    if (x->value != y->value) return x->value > y->value ? -1 : 1;
    return x->index - y->index;
}

static void check_order(int32_t n, const double *values)
{
    uint64_t *scratch = malloc(((size_t)n * CPT_ORDER_SCRATCH + 1) * sizeof *scratch);
    int32_t *order = malloc(((size_t)n + 1) * sizeof *order);
    numbered *want = malloc(((size_t)n + 1) * sizeof *want);
    assert_true(scratch && order && want);
    for (int way = 0; way < 2; way++) {
        cpt_order_facts facts;
        int32_t m = 0, n_tied = 0, n_zero = 0;
        for (int32_t i = 0; i < n; i++) {
            if (!isnan(values[i])) want[m++] = (numbered){values[i], i};
            n_zero += values[i] == 0;
        }
        qsort(want, (size_t)m, sizeof *want, way ? falling : rising);
        for (int32_t i = 0; i < m; i++)
            n_tied += (i && want[i].value == want[i - 1].value) || (i + 1 < m && want[i].value == want[i + 1].value);
        assert_int_equal(cpt_order(n, values, way, order, &facts, scratch), m);
        for (int32_t i = 0; i < m; i++) assert_int_equal(order[i], want[i].index);
        assert_int_equal(facts.n_tied, n_tied);
        assert_int_equal(facts.n_zero, n_zero);
        assert_true(facts.low == (m ? want[way ? m - 1 : 0].value : INFINITY));
        assert_true(facts.high == (m ? want[way ? 0 : m - 1].value : -INFINITY));
    }
    free(scratch);
    free(order);
    free(want);
}

static double made_number(int kind, cpt_stream *s)
{
    double x = cpt_stream_normal(s);
    switch (kind) {
    case 0: return x;
    case 1: return cpt_stream_below(s, 9) == 0 ? NAN : x;
    case 2: return exp(30 * x);                            /* nearly all share few steps of a scale */
    case 3: return x > 0 ? 0 : rint(3 * x) / 3;            /* ties; zeros of either sign */
    case 4: return x * 1e308;                              /* the range overflows; infinite */
    case 5: return x * 5e-324 * 100;                       /* denormal */
    case 6: return 7;
    case 7: return 1 + x * 1e-15;
    case 8: return cpt_stream_below(s, 500) == 0 ? 1e9 * x : x;
    default: return NAN;
    }
}

static void test_order_of_every_kind(void **state)
{
    enum { MOST = 70000 };
    static double values[MOST];
    static const int32_t lengths[] = {0, 1, 2, 47, 48, 49, 300, 5000, 65536, MOST};
    cpt_stream s;
    cpt_stream_init(&s, 14, CPT_RANDOM_TEST, 0);
    for (int kind = 0; kind < 10; kind++)
        for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
            for (int32_t i = 0; i < lengths[l]; i++) values[i] = made_number(kind, &s);
            check_order(lengths[l], values);
        }
}

/* Facts are the same on every instruction set, and no steps turn the order of two numbers round. */
static void test_order_kernels(void **state)
{
    enum { N = 1003, MOST = 4194303 };
    static double values[N];
    static int32_t order[N], steps[N];
    static uint64_t scratch[N * CPT_ORDER_SCRATCH];
    cpt_stream s;
    cpt_stream_init(&s, 15, CPT_RANDOM_TEST, 0);
    for (int32_t i = 0; i < N; i++) values[i] = i % 7 ? made_number(i % 2 ? 0 : 3, &s) : NAN;
    cpt_order_facts facts;
    int32_t n = cpt_order(N, values, false, order, &facts, scratch);
    for (int level = 0; level < 3; level++) {
        const cpt_order_kernels *k = cpt_order_kernels_at(level);
        double low, high;
        int32_t n_zero;
        if (!k) continue;
        k->range(N, values, &low, &high, &n_zero);
        assert_true(low == facts.low && high == facts.high && n_zero == facts.n_zero);
        k->steps(N, values, low / 2, 2 * MOST / (high - low), MOST, steps);
        assert_true(steps[order[0]] == 0 && steps[order[n - 1]] >= MOST - 1);
        for (int32_t i = 0; i < N; i++) assert_true(isnan(values[i]) == (steps[i] == CPT_NO_STEP));
        for (int32_t i = 1; i < n; i++) assert_true(steps[order[i]] >= steps[order[i - 1]]);
        for (int32_t i = 0; i < n; i++) assert_true(steps[order[i]] <= MOST);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_groups),
        cmocka_unit_test(test_two_groups_degenerate),
        cmocka_unit_test(test_bh_golden),
        cmocka_unit_test(test_bh_rules),
        cmocka_unit_test(test_scores),
        cmocka_unit_test(test_auroc_edges),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_order_special),
        cmocka_unit_test(test_order_of_every_kind),
        cmocka_unit_test(test_order_kernels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

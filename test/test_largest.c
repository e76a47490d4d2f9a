#include "check.h"

#include "base/random.h"
#include "dictionary/largest.h"

enum { N = 700, DIM = 6 };
static cpt_err err;
static float cells[N * DIM];
static int64_t rows[N];

static cpt_dictionary *train(const char *kind)
{
    cpt_dictionary_options o;
    cpt_dictionary_report report;
    cpt_dictionary *d;
    cpt_dictionary_options_init(&o);
    o.kind = kind;
    assert_ok(cpt_dictionary_train(&o, cells, DIM, N, rows, 0, NULL, &d, &report, NULL, &err));
    cpt_dictionary_report_free(&report);
    return d;
}

static void make_cells(void)
{
    cpt_stream s;
    cpt_stream_init(&s, 3, CPT_RANDOM_TEST, 0);
    for (int i = 0; i < N; i++) rows[i] = i;
    for (int i = 0; i < N * DIM; i++) cells[i] = (float)(2 + (1 + i % DIM) * cpt_stream_normal(&s));
}

/* Exactly the k largest of what the inner one gives, concepts ascending; all of them when k is
 * large. */
static void check_kind(const char *kind)
{
    cpt_dictionary *d = train(kind);
    const int32_t width = d->max_active;
    int32_t counts[8], kept_counts[8], concepts[8 * 32], kept_concepts[8 * 32];
    float values[8 * 32], kept_values[8 * 32];
    assert_true(width <= 32);
    assert_ok(d->ops->encode(d, 8, cells, counts, concepts, values, &err));
    for (int32_t k = 1; k <= width + 2; k++) {
        cpt_largest l;
        cpt_largest_init(&l, d, k);
        assert_ok(
            l.base.ops->encode(&l.base, 8, cells, kept_counts, kept_concepts, kept_values, &err));
        for (int i = 0; i < 8; i++) {
            int32_t at = 0;
            assert_int_equal(kept_counts[i], counts[i] < k ? counts[i] : k);
            for (int j = 0; j < counts[i]; j++) {
                int before = 0;
                const float v = values[i * width + j];
                for (int m = 0; m < counts[i]; m++)
                    before += values[i * width + m] > v || (values[i * width + m] == v && m < j);
                if (before >= k) continue;
                assert_int_equal(kept_concepts[i * width + at], concepts[i * width + j]);
                assert_true(kept_values[i * width + at++] == v);
            }
            assert_int_equal(at, kept_counts[i]);
        }
    }
    cpt_dictionary_free(d);
}

static void test_selection(void **state)
{
    check_kind("pca");
    check_kind("ica");
    check_kind("nmf");
    check_kind("neurons");
}

/* Of orthonormal components the k largest of each cell are at least as good as any k for all cells,
 * more are better, and all are everything. */
static void test_scores(void **state)
{
    cpt_dictionary *d = train("pca");
    double before = -1;
    for (int32_t k = 1; k <= DIM; k++) {
        cpt_largest l;
        cpt_reconstruction r, rank;
        cpt_dictionary_options o;
        cpt_dictionary_report report;
        cpt_dictionary *of_rank;
        cpt_largest_init(&l, d, k);
        assert_ok(cpt_reconstruction_score(&l.base, cells, N, NULL, NULL, &r, NULL, &err));
        cpt_dictionary_options_init(&o);
        o.kind = "pca";
        o.k = k;
        assert_ok(
            cpt_dictionary_train(&o, cells, DIM, N, rows, 0, NULL, &of_rank, &report, NULL, &err));
        rank = report.train;
        assert_near(r.l0, k, 1e-12);
        assert_true(r.r2_feature >= rank.r2_feature - 1e-6);
        assert_true(r.r2_feature > before);
        before = r.r2_feature;
        cpt_dictionary_free(of_rank);
        cpt_dictionary_report_free(&report);
    }
    assert_near(before, 1, 1e-10);
    cpt_dictionary_free(d);
}

int main(void)
{
    make_cells();
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_selection),
                                       cmocka_unit_test(test_scores)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

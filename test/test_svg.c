#include "check.h"

#include "plot/svg.h"

/* ---- scales ---- */

static void test_scale_ends(void **state)
{
    const cpt_scale linear = {0, 10, 100, 200, false}, logarithmic = {0.001, 1, 0, 300, true};
    assert_near(cpt_scale_at(&linear, 0), 100, 0);
    assert_near(cpt_scale_at(&linear, 5), 150, 1e-12);
    assert_near(cpt_scale_at(&linear, 10), 200, 0);
    assert_near(cpt_scale_at(&linear, -3), 100, 0);
    assert_near(cpt_scale_at(&linear, 1e300), 200, 0);
    assert_near(cpt_scale_at(&linear, NAN), 100, 0);
    assert_near(cpt_scale_at(&logarithmic, 0.01), 100, 1e-9);
    assert_near(cpt_scale_at(&logarithmic, 0), 0, 0);
    assert_near(cpt_scale_at(&logarithmic, INFINITY), 300, 0);
}

/* A scale without extent maps everything to its start instead of dividing by 0. */
static void test_scale_without_extent(void **state)
{
    const cpt_scale s = {3, 3, 10, 20, false};
    double ticks[4];
    assert_near(cpt_scale_at(&s, 3), 10, 0);
    assert_int_equal(cpt_scale_ticks(&s, 4, 4, ticks), 0);
}

static void test_ticks(void **state)
{
    const cpt_scale linear = {0, 4.49, 0, 1, false}, around = {-0.3, 0.3, 0, 1, false},
                    logarithmic = {1e-5, 10, 0, 1, true};
    double ticks[12];
    assert_int_equal(cpt_scale_ticks(&linear, 5, 12, ticks), 5);
    for (int i = 0; i < 5; i++) assert_near(ticks[i], i, 1e-12);
    int n = cpt_scale_ticks(&around, 5, 12, ticks);
    assert_in_range(n, 3, 8);
    for (int i = 0; i < n; i++) assert_false(ticks[i] == 0 && signbit(ticks[i])); /* never "-0" */
    n = cpt_scale_ticks(&logarithmic, 5, 12, ticks);
    assert_in_range(n, 3, 7);
    for (int i = 0; i < n; i++) assert_near(log10(ticks[i]), round(log10(ticks[i])), 1e-9);
    assert_int_equal(cpt_scale_ticks(&linear, 5, 2, ticks), 2); /* capacity holds */
}

/* ---- bins ---- */

static void test_bins(void **state)
{
    const cpt_scale x = {.low = 0, .high = 1}, lg = {.low = 0.01, .high = 1, .log = true};
    assert_int_equal(cpt_svg_bin(&x, 10, 0), 0);
    assert_int_equal(cpt_svg_bin(&x, 10, 0.55), 5);
    assert_int_equal(cpt_svg_bin(&x, 10, 1), 9); /* the upper end belongs to the last bin */
    assert_int_equal(cpt_svg_bin(&x, 10, 1.0001), -1);
    assert_int_equal(cpt_svg_bin(&x, 10, -0.1), -1);
    assert_int_equal(cpt_svg_bin(&x, 10, NAN), -1);
    assert_int_equal(cpt_svg_bin(&lg, 2, 0.05), 0);
    assert_int_equal(cpt_svg_bin(&lg, 2, 0.2), 1);
}

/* ---- drawings ---- */

static int count(const char *text, const char *word)
{
    int n = 0;
    for (const char *p = text; (p = strstr(p, word)); p += strlen(word)) n++;
    return n;
}

static void test_histogram(void **state)
{
    const int64_t counts[4] = {3, 0, 100000, 1};
    const cpt_scale x = {.low = 0, .high = 1};
    const cpt_svg_marker marker = {0.9, "<cut>"};
    const cpt_svg_plot plot = {200, 100, "a & b", "x <units>", "n", &marker, 1};
    cpt_text t = {0};
    cpt_svg_histogram(&t, &plot, &x, 4, counts);
    const char *s = cpt_text_str(&t);
    const char *bars = strstr(s, "class=\"hb\" d=\"");
    assert_non_null(bars);
    bars += strlen("class=\"hb\" d=\"");
    int n = 0;
    for (const char *p = bars; *p != '"'; p++) n += *p == 'M';
    assert_int_equal(n, 3); /* one bar per bin that is not empty */
    assert_non_null(strstr(s, "a &amp; b"));
    assert_non_null(strstr(s, "&lt;cut&gt;"));
    assert_non_null(strstr(s, "x &lt;units&gt;"));
    assert_null(strstr(s, "nan"));
    assert_int_equal(count(s, "<svg"), count(s, "</svg>"));
    cpt_text_free(&t);
}

static void test_empty_histogram(void **state)
{
    const int64_t counts[4] = {0};
    const cpt_scale x = {.low = 0, .high = 0};
    const cpt_svg_plot plot = {200, 100, NULL, NULL, "n", NULL, 0};
    cpt_text t = {0};
    cpt_svg_histogram(&t, &plot, &x, 4, counts);
    assert_null(strstr(cpt_text_str(&t), "nan"));
    assert_null(strstr(cpt_text_str(&t), "inf"));
    cpt_text_free(&t);
}

static void test_scatter_skips_nan(void **state)
{
    const cpt_svg_point points[] = {{0.5, 0.5, "#c1", "\"><script>"}, {NAN, 1, "#c2", ""},
                                    {2, -1, "#c3", ""}};
    const cpt_scale unit = {.low = 0, .high = 1};
    const cpt_svg_plot plot = {200, 100, "t", "x", "y", NULL, 0};
    cpt_text t = {0};
    cpt_svg_scatter(&t, &plot, &unit, &unit, 3, points);
    assert_int_equal(count(cpt_text_str(&t), "<circle"), 2);
    assert_null(strstr(cpt_text_str(&t), "<script>"));
    cpt_text_free(&t);
}

static void test_bars(void **state)
{
    cpt_text t = {0};
    cpt_svg_bar(&t, -0.5, -0.7, -0.2, 1, 0.05);
    assert_non_null(strstr(cpt_text_str(&t), "class=\"n\""));
    assert_non_null(strstr(cpt_text_str(&t), "M30.5 2")); /* from the value ... */
    assert_non_null(strstr(cpt_text_str(&t), "class=\"w\""));
    t.length = 0;
    cpt_svg_bar(&t, 0.5, NAN, NAN, 1, 0);
    assert_non_null(strstr(cpt_text_str(&t), "class=\"p\" d=\"M60.0 2"));
    assert_null(strstr(cpt_text_str(&t), "class=\"w\""));
    assert_null(strstr(cpt_text_str(&t), "class=\"c\""));
    cpt_text_free(&t);
    cpt_text empty = {0};
    cpt_svg_bar(&empty, NAN, 0, 1, 1, 0.05);
    cpt_svg_bar(&empty, 0.1, 0, 1, 0, 0.05);
    assert_int_equal(empty.length, 0);
    cpt_text_free(&empty);
}

static void test_share(void **state)
{
    cpt_text t = {0};
    cpt_svg_share(&t, 0.5, 0.25);
    assert_non_null(strstr(cpt_text_str(&t), "h60.0v8"));
    assert_non_null(strstr(cpt_text_str(&t), "M30.0 0v12"));
    t.length = 0;
    cpt_svg_share(&t, 1.7, NAN);
    assert_non_null(strstr(cpt_text_str(&t), "h120.0v8"));
    assert_null(strstr(cpt_text_str(&t), "class=\"k\""));
    cpt_text_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scale_ends),      cmocka_unit_test(test_scale_without_extent),
        cmocka_unit_test(test_ticks),           cmocka_unit_test(test_bins),
        cmocka_unit_test(test_histogram),       cmocka_unit_test(test_empty_histogram),
        cmocka_unit_test(test_scatter_skips_nan), cmocka_unit_test(test_bars),
        cmocka_unit_test(test_share),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

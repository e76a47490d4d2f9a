/* Base room: text, index, random numbers, files, .npy. */
#include "check.h"

#include "base/crew.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/random.h"
#include "base/sha256_blocks.h"
#include "base/text.h"
#include "io/npy.h"

#include <sys/stat.h>

static void test_philox_vectors(void **state)
{
    /* Random123 kat_vectors, philox4x32 10 rounds. */
    static const struct { uint32_t counter[4], key[2], out[4]; } cases[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t out[4];
        cpt_philox4x32(cases[i].counter, cases[i].key, out);
        assert_memory_equal(out, cases[i].out, sizeof out);
    }
}

static void test_stream_fill(void **state)
{
    enum { N = 1000 };
    uint32_t words[N];
    for (int64_t size = 1; size <= 301; size += 50) { /* pieces of every length against single words */
        cpt_stream one, many;
        cpt_stream_init(&one, 7, CPT_RANDOM_TEST, 3);
        cpt_stream_init(&many, 7, CPT_RANDOM_TEST, 3);
        one.counter[0] = many.counter[0] = UINT32_MAX - 20; /* over the edge of the counter's first word */
        for (int64_t at = 0; at + size <= N; at += size) cpt_stream_fill_u32(&many, size, words + at);
        for (int64_t i = 0; i < N / size * size; i++) assert_int_equal(words[i], cpt_stream_u32(&one));
    }
    for (uint32_t skipped = 0; skipped < 40; skipped++) {
        cpt_stream one, far;
        cpt_stream_init(&one, 7, CPT_RANDOM_TEST, 3);
        one.counter[0] = UINT32_MAX - 20;
        far = one;
        cpt_stream_skip(&far, skipped);
        for (uint32_t i = 0; i < 4 * skipped; i++) cpt_stream_u32(&one);
        assert_int_equal(cpt_stream_u32(&far), cpt_stream_u32(&one));
    }
}

static void test_stream_moments(void **state)
{
    enum { N = 200000 };
    cpt_stream s;
    double sum[4] = {0}, square[4] = {0}, want_mean[4] = {0.5, 0, 3.5, 40}, want_var[4] = {1 / 12., 1, 3.5, 40};
    for (int i = 0; i < N; i++) {
        cpt_stream_init(&s, 7, CPT_RANDOM_TEST, (uint64_t)i);
        double x[4] = {cpt_stream_uniform(&s), cpt_stream_normal(&s), cpt_stream_gamma(&s, 3.5),
                       (double)cpt_stream_poisson(&s, 40)};
        for (int j = 0; j < 4; j++) sum[j] += x[j], square[j] += x[j] * x[j];
    }
    for (int j = 0; j < 4; j++) {
        double mean = sum[j] / N, var = square[j] / N - mean * mean;
        assert_near(mean, want_mean[j], 5 * sqrt(want_var[j] / N)); /* five standard errors */
        assert_near(var / want_var[j], 1, 0.03);
    }
}

static void test_index(void **state)
{
    cpt_err err;
    cpt_strings names = {0};
    char text[32];
    for (int i = 0; i < 5000; i++) {
        int n = snprintf(text, sizeof text, "gene%d", i);
        assert_ok(cpt_strings_add(&names, text, (size_t)n, &err));
    }
    cpt_index *ix = cpt_index_new(4, &err);
    assert_non_null(ix);
    for (int i = 0; i < 5000; i++) assert_ok(cpt_index_add(ix, cpt_strings_get(&names, i), i, NULL, &err));
    int64_t existing;
    assert_ok(cpt_index_add(ix, "gene17", 99, &existing, &err));
    assert_int_equal(existing, 17);
    for (int i = 0; i < 5000; i++) assert_int_equal(cpt_index_get(ix, cpt_strings_get(&names, i)), i);
    assert_int_equal(cpt_index_get(ix, "gene"), -1);
    assert_int_equal(cpt_index_get_n(ix, "gene123456", 7), 123);
    cpt_index_free(ix);
    cpt_strings_free(&names);
}

static void test_sha256(void **state)
{
    cpt_sha256 h;
    char hex[65];
    cpt_sha256_init(&h);
    cpt_sha256_add(&h, "abc", 3);
    cpt_sha256_hex(&h, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    cpt_sha256_init(&h);
    for (int i = 0; i < 1000000; i++) cpt_sha256_add(&h, "a", 1);
    cpt_sha256_hex(&h, hex);
    assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

/* The processor's own instructions against plain C, in pieces of odd lengths. */
static void test_sha256_paths(void **state)
{
    enum { N = 4096 };
    static unsigned char bytes[N];
    cpt_stream s;
    cpt_stream_init(&s, 5, CPT_RANDOM_TEST, 0);
    for (int i = 0; i < N; i++) bytes[i] = (unsigned char)cpt_stream_u32(&s);
    for (size_t n = 0; n <= N / 64; n++) {
        uint32_t fast[8] = {1, 2, 3, 4, 0x80000005, 6, 7, 0xfffffff8}, plain[8];
        memcpy(plain, fast, sizeof plain);
        cpt_sha256_blocks(fast, bytes, n);
        cpt_sha256_blocks_plain(plain, bytes, n);
        assert_memory_equal(fast, plain, sizeof plain);
    }
    cpt_sha256 whole, parts;
    char a[65], b[65];
    cpt_sha256_init(&whole);
    cpt_sha256_init(&parts);
    cpt_sha256_add(&whole, bytes, N);
    for (size_t at = 0, n = 1; at < N; at += n, n = n * 2 + 1) {
        if (n > N - at) n = N - at;
        cpt_sha256_add(&parts, bytes + at, n);
    }
    cpt_sha256_hex(&whole, a);
    cpt_sha256_hex(&parts, b);
    assert_string_equal(a, b);
}

typedef struct tally {
    int done[1000], threads;
} tally;

static void count_item(void *data, int64_t item, int thread)
{
    tally *t = data;
    t->done[item]++;
    assert_in_range(thread, 0, t->threads - 1);
}

/* Every item once. */
static void test_crew(void **state)
{
    static const int threads[] = {1, 2, 7, CPT_CREW_MOST};
    for (size_t k = 0; k < sizeof threads / sizeof *threads; k++)
        for (int n = 0; n <= 1000; n += 250) {
            tally t = {.threads = threads[k]};
            cpt_crew(threads[k], n, count_item, &t);
            for (int i = 0; i < 1000; i++) assert_int_equal(t.done[i], i < n);
        }
}

static void test_html_escape_and_utf8(void **state)
{
    cpt_text t = {0};
    cpt_text_add_html(&t, "<b a='\"'>&\xff\xc3\xa9\x01");
    assert_string_equal(cpt_text_str(&t), "&lt;b a=&#39;&quot;&#39;&gt;&amp;\xef\xbf\xbd\xc3\xa9\xef\xbf\xbd");
    cpt_text_free(&t);
    assert_true(cpt_utf8_valid("\xc3\xa9", 2));
    assert_false(cpt_utf8_valid("\xc0\x80", 2));         /* overlong */
    assert_false(cpt_utf8_valid("\xed\xa0\x80", 3));     /* surrogate */
    assert_false(cpt_utf8_valid("\xf4\x90\x80\x80", 4)); /* above U+10FFFF */
    assert_false(cpt_utf8_valid("\xe2\x82", 2));         /* cut off */
}

static void test_format_number(void **state)
{
    static const struct { double x; const char *text; } cases[] = {
        {0.05, "0.05"}, {0.1, "0.1"}, {1, "1"}, {1e-300, "1e-300"}, {1.0 / 3, "0.3333333333333333"}, {-2.5, "-2.5"}};
    char text[64];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cpt_format_number(cases[i].x, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void test_error_text_is_printable(void **state)
{
    cpt_err err;
    cpt_fail(&err, CPT_ERR_FORMAT, "column '%s'", "\x1b[31mred\n");
    assert_string_equal(err.text, "column '?[31mred?'");
}

static void test_lines_and_npy(void **state)
{
    cpt_err err;
    char folder[] = "/tmp/cpt_base_XXXXXX", path[256];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/lines.txt", folder);
    assert_ok(cpt_write_file(path, "one\r\n\ntwo", 9, &err));
    cpt_lines *in = cpt_lines_open(path, 100, &err);
    assert_non_null(in);
    static const char *const want[] = {"one", "", "two"};
    char *line;
    for (int i = 0; i < 3; i++) {
        assert_ok(cpt_lines_next(in, &line, NULL, &err));
        assert_string_equal(line, want[i]);
    }
    assert_ok(cpt_lines_next(in, &line, NULL, &err));
    assert_null(line);
    cpt_lines_close(in);
    in = cpt_lines_open(path, 2, &err);
    assert_int_equal(cpt_lines_next(in, &line, NULL, &err), CPT_ERR_FORMAT);
    cpt_lines_close(in);

    snprintf(path, sizeof path, "%s/a.npy", folder);
    float values[6] = {1, 2, 3, 4, 5, 6};
    int64_t shape[2] = {-1, 3};
    cpt_npy_writer w;
    assert_ok(cpt_npy_begin(&w, path, CPT_F32, 2, shape, &err));
    assert_ok(cpt_npy_append(&w, values, 6, &err));
    assert_ok(cpt_npy_finish(&w, &err));
    cpt_npy a;
    assert_ok(cpt_npy_open_as(path, CPT_F32, 2, shape, &a, &err));
    assert_int_equal(a.shape[0], 2);
    assert_memory_equal(a.data, values, sizeof values);
    cpt_npy_close(&a);
    assert_int_equal(cpt_npy_open_as(path, CPT_F64, 2, shape, &a, &err), CPT_ERR_FORMAT);
    assert_int_equal(truncate(path, 270), 0);
    assert_int_equal(cpt_npy_open(path, &a, &err), CPT_ERR_FORMAT);
    assert_ok(cpt_remove_tree(folder, &err));
    assert_false(cpt_path_exists(folder));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_philox_vectors), cmocka_unit_test(test_stream_fill), cmocka_unit_test(test_stream_moments),
        cmocka_unit_test(test_index),          cmocka_unit_test(test_sha256),
        cmocka_unit_test(test_sha256_paths),   cmocka_unit_test(test_crew),
        cmocka_unit_test(test_html_escape_and_utf8), cmocka_unit_test(test_error_text_is_printable),
        cmocka_unit_test(test_lines_and_npy), cmocka_unit_test(test_format_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

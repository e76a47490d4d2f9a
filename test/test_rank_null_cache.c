/* test_rank_null_cache.c - the kept null comes back as it was, or not at all: cut off, flipped, half written, no room. */
#include "check.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/file.h"
#include "pipeline/rank_null_cache.h"

enum { GENES = 300, LARGEST = 20, PATH = 256 };

typedef struct bench {
    char folder[64], table[PATH], key[PATH];
    int n_warnings;
    char warning[512];
    cpt_context ctx;
    cpt_study study;
    cpt_gsea_options options;
    int64_t n_rows; /* what a whole table is */
    double *rows;
} bench;

static void listen(void *data, cpt_log_level level, const char *text)
{
    bench *b = data;
    if (level != CPT_LOG_WARN) return;
    b->n_warnings++;
    snprintf(b->warning, sizeof b->warning, "%s", text);
}

static cpt_rank_null *empty(const bench *b)
{
    cpt_err err;
    cpt_rank_null *x;
    assert_ok(cpt_rank_null_make(GENES, LARGEST, &b->options, &x, &err));
    cpt_rank_null_ask(x, 5);
    cpt_rank_null_ask(x, 13);
    return x;
}

static cpt_rank_null *computed(const bench *b)
{
    cpt_err err;
    bool changed;
    cpt_rank_null *x = empty(b);
    assert_ok(cpt_rank_null_grow(x, &changed, NULL, &err));
    assert_true(changed);
    return x;
}

static int set_up(void **state)
{
    cpt_err err;
    bench *b = calloc(1, sizeof *b);
    if (!b) return -1;
    strcpy(b->folder, "/tmp/cpt_rank_null_XXXXXX");
    if (!mkdtemp(b->folder)) return -1;
    snprintf(b->table, sizeof b->table, "%s/cache/rank_null.npy", b->folder);
    snprintf(b->key, sizeof b->key, "%s/cache/rank_null.json", b->folder);
    char cache[PATH];
    snprintf(cache, sizeof cache, "%s/cache", b->folder);
    if (mkdir(cache, 0777)) return -1;
    cpt_context_init(&b->ctx);
    b->ctx.log = listen;
    b->ctx.log_data = b;
    b->study = (cpt_study){.folder = b->folder, .ctx = &b->ctx};
    cpt_gsea_options_init(&b->options);
    b->options.weight = 1.0 / 3;
    b->options.eps = 1e-6;
    cpt_rank_null *x = computed(b);
    cpt_rank_null_save(&b->study, x);
    if (cpt_rank_null_pack(x, &b->n_rows, &b->rows, &err)) return -1;
    cpt_rank_null_free(x);
    *state = b;
    return b->n_warnings;
}

static int tear_down(void **state)
{
    cpt_err err;
    bench *b = *state;
    cpt_status status = cpt_remove_tree(b->folder, &err);
    free(b->rows);
    free(b);
    return status;
}

/* What loading finds: the whole table, or nothing; warnings are counted anew. */
static bool loads(bench *b, const cpt_gsea_options *o)
{
    cpt_err err;
    int64_t n;
    double *rows;
    cpt_rank_null *x;
    b->n_warnings = 0;
    assert_ok(cpt_rank_null_make(GENES, LARGEST, o, &x, &err));
    cpt_rank_null_load(&b->study, x);
    assert_ok(cpt_rank_null_pack(x, &n, &rows, &err));
    assert_true(n == 0 || n == b->n_rows);
    if (n) assert_memory_equal(rows, b->rows, (size_t)n * CPT_RANK_NULL_COLUMNS * sizeof *rows);
    free(rows);
    cpt_rank_null_free(x);
    return n > 0;
}

typedef struct content {
    unsigned char *bytes;
    size_t size;
} content;

static content read_whole(const char *path)
{
    cpt_err err;
    cpt_map map;
    assert_ok(cpt_map_open(path, &map, &err));
    content c = {malloc(map.size), map.size};
    assert_non_null(c.bytes);
    memcpy(c.bytes, map.bytes, map.size);
    cpt_map_close(&map);
    return c;
}

static void test_comes_back(void **state)
{
    bench *b = *state;
    cpt_gsea_options other = b->options;
    assert_true(loads(b, &b->options));
    assert_int_equal(b->n_warnings, 0);
    other.seed = 9; /* made for something else: no damage */
    assert_false(loads(b, &other));
    assert_int_equal(b->n_warnings, 0);
}

/* Any byte of either file changed, or any number of them missing: not taken, and computed again it is the same. */
static void test_damage(void **state)
{
    cpt_err err;
    bench *b = *state;
    const char *paths[2] = {b->table, b->key};
    int n_told = 0;
    for (int f = 0; f < 2; f++) {
        content c = read_whole(paths[f]);
        const size_t step = c.size / 150 + 1;
        for (size_t at = 0; at < c.size; at += step) {
            c.bytes[at] ^= 1 << at % 8;
            assert_ok(cpt_write_file(paths[f], c.bytes, c.size, &err));
            const bool taken = loads(b, &b->options);
            assert_true(!taken || (f == 1 && b->n_warnings == 0)); /* a flip in the key's white space is none */
            if (f == 0) assert_int_equal(b->n_warnings, 1);
            n_told += b->n_warnings;
            c.bytes[at] ^= 1 << at % 8;
            assert_ok(cpt_write_file(paths[f], c.bytes, at, &err));
            assert_false(loads(b, &b->options));
            assert_int_equal(b->n_warnings, 1);
            assert_non_null(strstr(b->warning, "computed again"));
        }
        assert_ok(cpt_write_file(paths[f], c.bytes, c.size, &err));
        free(c.bytes);
        assert_true(loads(b, &b->options));
    }
    assert_true(n_told > 100);
    cpt_rank_null *x = computed(b);
    int64_t n;
    double *rows;
    assert_ok(cpt_rank_null_pack(x, &n, &rows, &err));
    assert_int_equal(n, b->n_rows);
    assert_memory_equal(rows, b->rows, (size_t)n * CPT_RANK_NULL_COLUMNS * sizeof *rows);
    free(rows);
    cpt_rank_null_free(x);
}

/* One of the two files absent: no key is no table; a key without its table is damage. */
static void test_absent(void **state)
{
    cpt_err err;
    bench *b = *state;
    content table = read_whole(b->table);
    assert_int_equal(unlink(b->table), 0);
    assert_false(loads(b, &b->options));
    assert_int_equal(b->n_warnings, 1);
    assert_ok(cpt_write_file(b->table, table.bytes, table.size, &err));
    assert_int_equal(unlink(b->key), 0);
    assert_false(loads(b, &b->options));
    assert_int_equal(b->n_warnings, 0);
    free(table.bytes);
}

/* No room for the table, or for the key alone: a warning, and what is left is not taken for a table. */
static void test_no_room(void **state)
{
    bench *b = *state;
    static const rlim_t rooms[] = {0, 100, 20000};
    struct rlimit before, limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    cpt_rank_null *x = computed(b);
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++) {
        limit = (struct rlimit){rooms[i], before.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        b->n_warnings = 0;
        cpt_rank_null_save(&b->study, x);
        const int told = b->n_warnings;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        assert_int_equal(told, 1);
        assert_non_null(strstr(b->warning, "not kept"));
        assert_false(cpt_path_exists(b->key));
        assert_false(loads(b, &b->options));
        assert_int_equal(b->n_warnings, 0);
    }
    signal(SIGXFSZ, handler);
    cpt_rank_null_save(&b->study, x);
    assert_true(loads(b, &b->options));
    cpt_rank_null_free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_comes_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_damage, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_absent, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_room, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

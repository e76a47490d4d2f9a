/* The store of finished pairs: what was put comes back, and what a kill or a fault leaves is
 * dropped. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "check.h"
#include "concept/pair_store.h"

enum { GENES = 7 };
static const char KEY[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
                  OTHER[] = "1123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

typedef struct values {
    float activation[GENES], pre[GENES];
    bool differs[GENES];
    cpt_pair_attribution a;
} values;

static void clear(values *v, bool both)
{
    *v = (values){
        .a = {.completeness_error = NAN, .hybrid_spearman = NAN, .hybrid_top20_overlap = NAN,
              .hybrid_spearman_pre = NAN, .hybrid_top20_pre = NAN}};
    v->a.activation = both ? v->activation : NULL;
    v->a.pre = v->pre;
    v->a.differs = v->differs;
}

static void fill(values *v, int salt, bool both)
{
    clear(v, both);
    for (int g = salt % 3; g < GENES; g += 2) {
        v->differs[g] = true;
        v->pre[g] = (float)(g + 10 * salt);
        v->activation[g] = (float)-g;
    }
    v->a.hybrid_spearman = 0.5 + salt;
    v->a.hybrid_spearman_pre = 0.25 + salt;
    v->a.hybrid_top20_pre = 0.125 + salt;
}

static cpt_pair_store *reopen(const char *path, const char *key, int32_t genes, int64_t want)
{
    cpt_err err;
    cpt_pair_store *s;
    assert_ok(cpt_pair_store_open(path, key, genes, &s, &err));
    assert_int_equal(cpt_pair_store_size(s), want);
    return s;
}

static void put(cpt_pair_store *s, int salt, bool both, bool usable)
{
    cpt_err err;
    values v;
    const cpt_pair pair = {.prototype = 1000 - salt, .counterfactual = salt};
    fill(&v, salt, both);
    assert_ok(cpt_pair_store_put(s, salt % 2, &pair, &v.a, usable, &err));
}

static void expect(const cpt_pair_store *s, int salt, bool both, bool usable)
{
    values got, want;
    bool found, is_usable;
    const cpt_pair pair = {.prototype = 1000 - salt, .counterfactual = salt};
    clear(&got, both);
    fill(&want, salt, both);
    cpt_pair_store_get(s, salt % 2, &pair, &got.a, &is_usable, &found);
    assert_true(found);
    assert_int_equal(is_usable, usable);
    assert_memory_equal(got.pre, want.pre, sizeof got.pre);
    assert_memory_equal(got.differs, want.differs, sizeof got.differs);
    if (both) assert_memory_equal(got.activation, want.activation, sizeof got.pre);
    assert_true(got.a.hybrid_spearman == want.a.hybrid_spearman);
    assert_true(got.a.hybrid_spearman_pre == want.a.hybrid_spearman_pre);
    assert_true(got.a.hybrid_top20_pre == want.a.hybrid_top20_pre);
    assert_true(isnan(got.a.completeness_error));
}

static void file_name(char path[64])
{
    snprintf(path, 64, "/tmp/cpt-pairs-%d.bin", (int)getpid());
    unlink(path);
}

static void round_trip(void **state)
{
    char path[64];
    file_name(path);
    cpt_pair_store *s = reopen(path, KEY, GENES, 0);
    for (int i = 0; i < 20; i++) put(s, i, i % 4 != 0, i % 5 != 0);
    cpt_pair_store_close(s);
    s = reopen(path, KEY, GENES, 20);
    for (int i = 0; i < 20; i++) expect(s, i, i % 4 != 0, i % 5 != 0);
    values v;
    bool usable, found;
    clear(&v, true);
    cpt_pair_store_get(s, 0, &(cpt_pair){.prototype = 1000, .counterfactual = 1}, &v.a, &usable,
                       &found);
    assert_false(found);
    put(s, 20, true, true); /* appended, not written over the first */
    cpt_pair_store_close(s);
    s = reopen(path, KEY, GENES, 21);
    expect(s, 0, false, false);
    expect(s, 20, true, true);
    cpt_pair_store_close(s);
    cpt_pair_store_close(reopen(path, OTHER, GENES, 0)); /* another key: nothing is kept */
    cpt_pair_store_close(reopen(path, OTHER, GENES + 1, 0));
    unlink(path);
}

/* Cut at every length: the whole records before the cut are there, and new ones can follow. */
static void cut_short(void **state)
{
    cpt_err err;
    char path[64];
    cpt_map map;
    long ends[4];
    file_name(path);
    for (int i = 0; i < 3; i++) {
        cpt_pair_store *s = reopen(path, KEY, GENES, i);
        put(s, i, true, true);
        cpt_pair_store_close(s);
        assert_ok(cpt_map_open(path, &map, &err));
        ends[i] = (long)map.size;
        cpt_map_close(&map);
    }
    assert_ok(cpt_map_open(path, &map, &err));
    for (long size = 0; size <= ends[2]; size++) {
        int64_t whole = 0;
        char cut[80];
        snprintf(cut, sizeof cut, "%s.cut", path);
        assert_ok(cpt_write_file(cut, map.bytes, (size_t)size, &err));
        for (int i = 0; i < 3; i++) whole += size >= ends[i];
        cpt_pair_store *s = reopen(cut, KEY, GENES, whole);
        put(s, 9, true, true);
        cpt_pair_store_close(s);
        s = reopen(cut, KEY, GENES, whole + 1);
        expect(s, 9, true, true);
        cpt_pair_store_close(s);
        unlink(cut);
    }
    cpt_map_close(&map);
    unlink(path);
}

/* Any byte flipped in the last record drops that record only. */
static void damaged(void **state)
{
    cpt_err err;
    char path[64];
    cpt_map map;
    file_name(path);
    cpt_pair_store *s = reopen(path, KEY, GENES, 0);
    put(s, 1, true, true);
    put(s, 2, true, true);
    cpt_pair_store_close(s);
    assert_ok(cpt_map_open(path, &map, &err));
    unsigned char *bytes = malloc(map.size);
    const size_t first = 80 + 72 + 3 * 12 + 4;
    for (size_t i = first; i < map.size; i++) {
        memcpy(bytes, map.bytes, map.size);
        bytes[i] ^= 0x10;
        char bad[80];
        snprintf(bad, sizeof bad, "%s.bad", path);
        assert_ok(cpt_write_file(bad, bytes, map.size, &err));
        s = reopen(bad, KEY, GENES, 1);
        expect(s, 1, true, true);
        cpt_pair_store_close(s);
        unlink(bad);
    }
    free(bytes);
    cpt_map_close(&map);
    unlink(path);
}

/* Two orders of arrival, one file. */
static void settled(void **state)
{
    cpt_err err;
    char path[64], other[80];
    cpt_map a, b;
    file_name(path);
    snprintf(other, sizeof other, "%s.other", path);
    unlink(other);
    cpt_pair_store *s = reopen(path, KEY, GENES, 0), *t = reopen(other, KEY, GENES, 0);
    for (int i = 0; i < 9; i++) put(s, i, true, true), put(t, 8 - i, true, true);
    assert_ok(cpt_pair_store_settle(s, &err));
    assert_ok(cpt_pair_store_settle(t, &err));
    assert_ok(cpt_map_open(path, &a, &err));
    assert_ok(cpt_map_open(other, &b, &err));
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.bytes, b.bytes, a.size);
    cpt_map_close(&a);
    cpt_map_close(&b);
    s = reopen(path, KEY, GENES, 9);
    for (int i = 0; i < 9; i++) expect(s, i, true, true);
    cpt_pair_store_close(s);
    unlink(path);
    unlink(other);
}

static void no_folder(void **state)
{
    cpt_err err;
    cpt_pair_store *s;
    assert_int_equal(cpt_pair_store_open("/tmp/absent-folder/x.bin", KEY, GENES, &s, &err),
                     CPT_ERR_IO);
    assert_non_null(strstr(err.text, "/tmp/absent-folder/x.bin"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(round_trip), cmocka_unit_test(cut_short),
                                       cmocka_unit_test(damaged), cmocka_unit_test(settled),
                                       cmocka_unit_test(no_folder)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

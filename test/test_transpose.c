/* Compressed rows into compressed columns: against the plain definition, in many small blocks. */
#include "check.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/random.h"
#include "io/transpose.h"

enum { ROWS = 300, COLUMNS = 170 };

typedef struct made {
    int64_t indptr[ROWS + 1];
    int32_t indices[ROWS * COLUMNS];
    float values[ROWS * COLUMNS];
} made;

/* Columns of very unlike sizes, some rows empty. */
static void make(made *m)
{
    cpt_stream s;
    cpt_stream_init(&s, 11, CPT_RANDOM_TEST, 0);
    for (int i = 0; i < ROWS; i++) {
        m->indptr[i + 1] = m->indptr[i];
        for (int32_t j = 0; j < COLUMNS && i % 7; j++) {
            if (cpt_stream_uniform(&s) > 1.0 / (1 + j % 20)) continue;
            m->indices[m->indptr[i + 1]] = j;
            m->values[m->indptr[i + 1]++] = (float)(i * 1000 + j);
        }
    }
}

static void begin(cpt_npy_writer w[3], char paths[3][300], int64_t most, int threads)
{
    cpt_err err;
    static const cpt_dtype types[] = {CPT_I64, CPT_I32, CPT_F32};
    for (int i = 0; i < 3; i++) {
        snprintf(paths[i], sizeof paths[i], "/tmp/cpt-test-transpose-%ld.%d.%d.%d.npy", (long)getpid(), i,
                 (int)most, threads);
        assert_ok(cpt_npy_begin(&w[i], paths[i], types[i], 1, &(int64_t){-1}, &err));
    }
}

static void check(const made *m, const cpt_npy a[3])
{
    const int64_t *starts = a[0].data;
    const int32_t *rows = a[1].data;
    const float *values = a[2].data;
    int64_t p = 0;
    assert_int_equal(a[0].n_items, COLUMNS);
    assert_int_equal(a[1].n_items, m->indptr[ROWS]);
    for (int32_t j = 0; j < COLUMNS; j++) {
        for (int32_t i = 0; i < ROWS; i++)
            for (int64_t q = m->indptr[i]; q < m->indptr[i + 1]; q++) {
                if (m->indices[q] != j) continue;
                assert_int_equal(rows[p], i);
                assert_true(values[p] == m->values[q]);
                p++;
            }
        assert_int_equal(starts[j], p);
    }
}

static void test_against_definition(void **state)
{
    static const int64_t most[] = {1, 500, 1 << 20};
    cpt_err err;
    made *m;
    assert_ok(cpt_alloc(&m, 1, sizeof *m, &err));
    make(m);
    const cpt_csr csr = {ROWS, COLUMNS, m->indptr, m->indices, m->values};
    for (int k = 0; k < 3; k++)
        for (int threads = 1; threads <= 4; threads += 3) {
            cpt_npy_writer w[3];
            cpt_npy a[3];
            char paths[3][300];
            begin(w, paths, most[k], threads);
            assert_ok(cpt_transpose(&csr, most[k], threads, &w[0], &w[1], &w[2], &err));
            for (int i = 0; i < 3; i++) {
                assert_ok(cpt_npy_finish(&w[i], &err));
                assert_ok(cpt_npy_open(paths[i], &a[i], &err));
            }
            check(m, a);
            for (int i = 0; i < 3; i++) {
                cpt_npy_close(&a[i]);
                remove(paths[i]);
            }
        }
    free(m);
}

static void test_nothing(void **state)
{
    cpt_err err;
    cpt_npy_writer w[3];
    char paths[3][300];
    const int64_t indptr[] = {0, 0};
    const int32_t no_index = 0;
    const float no_value = 0;
    const cpt_csr csr = {1, 5, indptr, &no_index, &no_value};
    begin(w, paths, 0, 2);
    assert_ok(cpt_transpose(&csr, 100, 2, &w[0], &w[1], &w[2], &err));
    assert_int_equal(w[0].n_written, 5);
    assert_int_equal(w[1].n_written, 0);
    for (int i = 0; i < 3; i++) cpt_npy_abandon(&w[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_definition),
        cmocka_unit_test(test_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

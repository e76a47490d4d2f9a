/* Optimal assignment: golden totals (SciPy), all permutations of small cases, shapes. */
#include "check.h"

#include <jansson.h>

#include "base/random.h"
#include "io/checkpoint.h"
#include "math/assignment.h"

static cpt_err err;

static void golden(void **state)
{
    NEED_SHARED(folder, "golden/stats");
    char path[1100];
    snprintf(path, sizeof path, "%s/assignment.json", folder);
    json_t *cases = json_load_file(path, 0, NULL);
    cpt_checkpoint *file;
    snprintf(path, sizeof path, "%s/assignment.safetensors", folder);
    assert_ok(cpt_checkpoint_open(path, &file, &err));
    int n_seen = 0;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        const cpt_tensor *t = cpt_checkpoint_find(file, json_string_value(json_object_get(c, "name")));
        if (!t) continue; /* the transposed case has no tensor of its own: shapes() below */
        double *cost = malloc((size_t)t->n_items * sizeof *cost), total;
        int32_t *columns = malloc((size_t)t->shape[0] * sizeof *columns);
        assert_ok(cpt_tensor_read_f64(t, cost, &err));
        assert_ok(cpt_assignment(cost, (int32_t)t->shape[0], (int32_t)t->shape[1], columns, &total, &err));
        double want = json_number_value(json_object_get(c, "total"));
        assert_near(total, want, 1e-12 * (1 + fabs(want)));
        if (!json_is_false(json_object_get(c, "optimum_unique")))
            for (size_t r = 0; r < json_array_size(json_object_get(c, "col")); r++)
                assert_int_equal(columns[r], json_integer_value(json_array_get(json_object_get(c, "col"), r)));
        free(cost);
        free(columns);
        n_seen++;
    }
    assert_true(n_seen >= 4);
    cpt_checkpoint_free(file);
    json_decref(cases);
}

/* Least total over all matchings, row by row. */
static double best(const double *cost, int32_t n_rows, int32_t n_cols, int32_t row, unsigned used)
{
    if (row == n_rows) return 0;
    double least = INFINITY;
    for (int32_t j = 0; j < n_cols; j++)
        if (!(used >> j & 1))
            least = fmin(least, cost[row * n_cols + j] + best(cost, n_rows, n_cols, row + 1, used | 1u << j));
    return least;
}

static void shapes(void **state)
{
    for (int32_t n_rows = 1; n_rows <= 5; n_rows++)
        for (int32_t n_cols = n_rows; n_cols <= 6; n_cols++)
            for (uint64_t item = 0; item < 10; item++) {
                double cost[30], turned[30], total;
                int32_t columns[6], seen = 0;
                cpt_stream s;
                cpt_stream_init(&s, 21, CPT_RANDOM_TEST, item);
                for (int i = 0; i < n_rows * n_cols; i++) /* with ties, of both signs */
                    cost[i] = item % 2 ? (double)cpt_stream_below(&s, 4) - 2 : cpt_stream_normal(&s);
                double want = best(cost, n_rows, n_cols, 0, 0);
                assert_ok(cpt_assignment(cost, n_rows, n_cols, columns, &total, &err));
                assert_near(total, want, 1e-12);
                for (int i = 0; i < n_rows; i++) seen |= 1 << columns[i];
                assert_int_equal(__builtin_popcount((unsigned)seen), n_rows);

                for (int i = 0; i < n_rows; i++)
                    for (int j = 0; j < n_cols; j++) turned[j * n_rows + i] = cost[i * n_cols + j];
                assert_ok(cpt_assignment(turned, n_cols, n_rows, columns, &total, &err));
                assert_near(total, want, 1e-12);
                int matched = 0;
                for (int i = 0; i < n_cols; i++) matched += columns[i] >= 0;
                assert_int_equal(matched, n_rows);
            }
}

static void large(void **state)
{
    enum { N = 400 };
    double *cost = malloc(N * N * sizeof *cost), total;
    int32_t columns[N], hidden[N];
    cpt_stream s;
    cpt_stream_init(&s, 22, CPT_RANDOM_TEST, 0);
    for (int32_t i = 0; i < N; i++) hidden[i] = i;
    cpt_stream_shuffle_i32(&s, hidden, N);
    for (int i = 0; i < N * N; i++) cost[i] = -cpt_stream_uniform(&s);
    for (int i = 0; i < N; i++) cost[i * N + hidden[i]] = -1.5; /* no other matching can be as good */
    assert_ok(cpt_assignment(cost, N, N, columns, &total, &err));
    assert_memory_equal(columns, hidden, sizeof columns);
    assert_near(total, -1.5 * N, 1e-9);
    free(cost);
}

static void edge_cases(void **state)
{
    double cost[2] = {1, NAN}, total = 7;
    int32_t columns[2] = {5, 5};
    assert_ok(cpt_assignment(cost, 0, 0, columns, &total, &err));
    assert_near(total, 0, 0);
    assert_ok(cpt_assignment(cost, 2, 0, columns, &total, &err));
    assert_int_equal(columns[1], -1);
    assert_ok(cpt_assignment(cost, 1, 1, columns, NULL, &err));
    assert_int_equal(columns[0], 0);
    assert_int_equal(cpt_assignment(cost, 1, 2, columns, &total, &err), CPT_ERR_DATA);
    assert_non_null(strstr(err.text, "column 1"));
    cost[1] = 1e300;
    assert_int_equal(cpt_assignment(cost, 1, 2, columns, &total, &err), CPT_ERR_DATA);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden),
        cmocka_unit_test(shapes),
        cmocka_unit_test(large),
        cmocka_unit_test(edge_cases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

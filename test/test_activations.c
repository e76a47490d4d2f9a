/* Activations against a plain loop over the fake dictionary; files, damaged files, NaN cells. */
#include "fake_model.h"

#include "concept/activations.h"

enum { N = 2500, DIM = 6, F = 20, K = 4 };

static cpt_context context(int n_threads)
{
    cpt_context ctx;
    cpt_context_init(&ctx);
    ctx.n_threads = n_threads;
    return ctx;
}

static float *random_embedding(int64_t n, int32_t dim, uint64_t seed)
{
    float *a = calloc((size_t)(n * dim) + 1, sizeof *a);
    cpt_stream s;
    cpt_stream_init(&s, seed, CPT_RANDOM_TEST, 0);
    for (int64_t i = 0; i < n * dim; i++) a[i] = (float)cpt_stream_normal(&s);
    return a;
}

static void assert_same_csr(const cpt_csr *x, const cpt_csr *y)
{
    assert_int_equal(x->n_rows, y->n_rows);
    assert_int_equal(x->n_cols, y->n_cols);
    int64_t nnz = x->indptr[x->n_rows];
    assert_memory_equal(x->indptr, y->indptr, (size_t)(x->n_rows + 1) * sizeof *x->indptr);
    if (!nnz) return;
    assert_memory_equal(x->indices, y->indices, (size_t)nnz * sizeof *x->indices);
    assert_memory_equal(x->values, y->values, (size_t)nnz * sizeof *x->values);
}

static void encodes_as_one_by_one(void **state)
{
    (void)state;
    cpt_err err;
    fake_dictionary *d = fake_dictionary_new(F, DIM, K, 1);
    d->offset[7] = -1e6; /* dead */
    d->offset[3] = 1e6;  /* dense */
    float *a = random_embedding(N, DIM, 2), column[N];
    a[5 * DIM + 2] = NAN;
    a[2000 * DIM] = INFINITY;
    cpt_activations *u, *u2;
    cpt_context one = context(1), two = context(2);
    assert_ok(cpt_activations_encode(&d->base, a, N, &u, &one, &err));
    assert_ok(cpt_activations_encode(&d->base, a, N, &u2, &two, &err));
    assert_same_csr(&u->by_cell, &u2->by_cell);
    assert_same_csr(&u->by_concept, &u2->by_concept);
    assert_int_equal(u->n_unusable, 2);
    assert_false(u->usable[5]);
    assert_true(u->usable[6]);
    for (int32_t c = 0; c < F; c++) {
        int64_t active = 0;
        double sum = 0;
        float max = 0, want;
        cpt_activations_column(u, c, column);
        for (int i = 0; i < N; i++) {
            want = 0;
            if (i != 5 && i != 2000)
                assert_ok(d->base.ops->readout(&d->base, c, 1, a + i * DIM, &want, NULL, &err));
            assert_true(want == column[i]);
            active += want > 0;
            sum += want;
            if (want > max) max = want;
        }
        assert_int_equal(u->stats[c].n_active, active);
        assert_near(u->stats[c].frequency, (double)active / (N - 2), 0);
        assert_near(u->stats[c].mean, active ? sum / (double)active : 0, 1e-5 * sum / N);
        assert_true(u->stats[c].max == max);
        assert_int_equal(u->stats[c].dead, active == 0);
        assert_int_equal(u->stats[c].dense, active > (N - 2) / 2);
    }
    assert_true(u->stats[7].dead && !u->stats[7].rare && u->stats[3].dense);
    cpt_activations_free(u);
    cpt_activations_free(u2);
    fake_dictionary_free(&d->base);
    free(a);
}

static void survives_files(void **state)
{
    (void)state;
    cpt_err err;
    char folder[] = "/tmp/test_activations_XXXXXX", path[256];
    assert_non_null(mkdtemp(folder));
    fake_dictionary *d = fake_dictionary_new(F, DIM, K, 1);
    float *a = random_embedding(200, DIM, 2);
    a[5 * DIM + 2] = NAN;
    cpt_activations *u, *back;
    cpt_context ctx = context(1);
    assert_ok(cpt_activations_encode(&d->base, a, 200, &u, &ctx, &err));
    assert_ok(cpt_activations_save(u, folder, &err));
    assert_ok(cpt_activations_open(folder, &back, &err));
    assert_same_csr(&u->by_cell, &back->by_cell);
    assert_same_csr(&u->by_concept, &back->by_concept);
    assert_memory_equal(u->stats, back->stats, F * sizeof *u->stats);
    assert_int_equal(back->n_unusable, 1);
    assert_false(back->usable[5]);
    cpt_activations_free(back);

    /* Damage: a concept out of range, a value that is not positive, offsets that do not fit. */
    int64_t nnz = u->by_cell.indptr[200], n_rows = 201;
    int32_t *indices = malloc((size_t)nnz * sizeof *indices);
    memcpy(indices, u->by_cell.indices, (size_t)nnz * sizeof *indices);
    snprintf(path, sizeof path, "%s/activations_by_cell.indices.npy", folder);
    indices[nnz - 1] = F;
    assert_ok(cpt_npy_write(path, CPT_I32, 1, &nnz, indices, &err));
    assert_int_equal(cpt_activations_open(folder, &back, &err), CPT_ERR_FORMAT);
    assert_null(back);
    assert_non_null(strstr(err.text, "out of range"));
    assert_non_null(strstr(err.text, folder));
    assert_non_null(strstr(err.text, "again"));
    indices[nnz - 1] = u->by_cell.indices[nnz - 1] == F - 1 ? F - 2 : F - 1; /* in range, but moved */
    assert_ok(cpt_npy_write(path, CPT_I32, 1, &nnz, indices, &err));
    assert_int_equal(cpt_activations_open(folder, &back, &err), CPT_ERR_FORMAT);
    assert_ok(cpt_npy_write(path, CPT_I32, 1, &nnz, u->by_cell.indices, &err));

    int64_t *indptr = malloc(201 * sizeof *indptr);
    memcpy(indptr, u->by_cell.indptr, 201 * sizeof *indptr);
    indptr[100] = nnz + 5;
    snprintf(path, sizeof path, "%s/activations_by_cell.indptr.npy", folder);
    assert_ok(cpt_npy_write(path, CPT_I64, 1, &n_rows, indptr, &err));
    assert_int_equal(cpt_activations_open(folder, &back, &err), CPT_ERR_FORMAT);
    assert_non_null(strstr(err.text, "must ascend"));
    indptr[100] = u->by_cell.indptr[100];
    indptr[200] = nnz - 1;
    assert_ok(cpt_npy_write(path, CPT_I64, 1, &n_rows, indptr, &err));
    assert_int_equal(cpt_activations_open(folder, &back, &err), CPT_ERR_FORMAT);
    assert_non_null(strstr(err.text, "does not fit"));

    assert_ok(cpt_remove_tree(folder, &err));
    assert_int_equal(cpt_activations_open(folder, &back, &err), CPT_ERR_IO);
    free(indptr);
    free(indices);
    cpt_activations_free(u);
    fake_dictionary_free(&d->base);
    free(a);
}

static void handles_no_cells_and_only_bad_ones(void **state)
{
    (void)state;
    cpt_err err;
    fake_dictionary *d = fake_dictionary_new(F, DIM, K, 1);
    float bad[2 * DIM];
    for (int i = 0; i < 2 * DIM; i++) bad[i] = NAN;
    cpt_context ctx = context(2);
    cpt_activations *u;
    assert_ok(cpt_activations_encode(&d->base, bad, 0, &u, &ctx, &err));
    assert_int_equal(u->by_concept.indptr[F], 0);
    cpt_activations_free(u);
    assert_ok(cpt_activations_encode(&d->base, bad, 2, &u, &ctx, &err));
    assert_int_equal(u->n_unusable, 2);
    assert_true(u->stats[0].dead);
    assert_near(u->stats[0].frequency, 0, 0);
    cpt_activations_free(u);
    volatile int stop = 1;
    ctx.stop = &stop;
    bad[0] = 0;
    assert_int_equal(cpt_activations_encode(&d->base, bad, 2, &u, &ctx, &err), CPT_ERR_INTERRUPTED);
    assert_null(u);
    fake_dictionary_free(&d->base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encodes_as_one_by_one),
        cmocka_unit_test(survives_files),
        cmocka_unit_test(handles_no_cells_and_only_bad_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

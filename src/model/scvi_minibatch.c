/* Counts of a minibatch: a list per cell, and where in it every unit of genes begins, so that those who work on some
 * genes of all cells find theirs. */
#include "model/scvi_stepper.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

static cpt_status make_room(scvi_minibatch *b, size_t need, cpt_err *e)
{
    cpt_status status = CPT_OK;
    if (need <= b->room) return CPT_OK;
    void **const arrays[] = {(void **)&b->genes, (void **)&b->counts, (void **)&b->inputs};
    b->room = 0;
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        free(*arrays[i]);
        *arrays[i] = NULL;
        if (!status) status = cpt_alloc(arrays[i], need + need / 4, 4, e);
    }
    if (!status) b->room = need + need / 4;
    return status;
}

static cpt_status know_cells(scvi_stepper *s, int64_t n, cpt_err *e)
{
    if (s->n_known == n) return CPT_OK;
    free(s->log_factorial);
    s->log_factorial = NULL;
    cpt_status status = cpt_alloc(&s->log_factorial, (size_t)n, sizeof(double), e);
    s->n_known = status ? 0 : n;
    for (int64_t i = 0; i < s->n_known; i++) s->log_factorial[i] = NAN;
    return status;
}

/* Every gene says that its unit ends behind it, the last one is right; empty units end where the one before does. */
static void find_units(int32_t n_units, int32_t n, const int32_t *genes, int32_t *units)
{
    memset(units, 0, sizeof *units * (size_t)(n_units + 1));
    for (int32_t k = 0; k < n; k++) units[genes[k] / SCVI_UNIT + 1] = k + 1;
    for (int32_t u = 1; u <= n_units; u++) units[u] = units[u] > units[u - 1] ? units[u] : units[u - 1];
}

static void load_cell(scvi_stepper *s, const cpt_counts *counts, int32_t i, int64_t row)
{
    scvi_minibatch *b = &s->batch;
    const int64_t at = b->start[i];
    int32_t n = cpt_counts_row(counts, row, b->genes + at, b->counts + at);
    double sum = 0;
    for (int32_t k = 0; k < n; k++) sum += b->counts[at + k];
    if (isnan(s->log_factorial[row]))
        s->log_factorial[row] = cpt_likelihood_kernels_get()->log_factorials(n, b->counts + at);
    memcpy(b->inputs + at, b->counts + at, sizeof(float) * (size_t)n);
    scvi_inputs(s->model, n, b->inputs + at);
    find_units(s->n_units, n, b->genes + at, b->units + scvi_at(i, s->n_units + 1));
    b->length[i] = n;
    b->library[i] = sum;
    b->log_factorial[i] = s->log_factorial[row];
    b->codes[i] =
        s->model->n_batches > 1 && s->options.batch_codes ? s->options.batch_codes[row] : 0;
}

cpt_status scvi_stepper_load(scvi_stepper *s, const cpt_counts *counts, int32_t n,
                             const int64_t *rows, const cpt_context *ctx, cpt_err *e)
{
    scvi_minibatch *b = &s->batch;
    const int64_t *indptr = counts->csr->indptr;
    const int n_threads = cpt_threads(ctx);
    int64_t total = 0;
    cpt_status status = know_cells(s, counts->csr->n_rows, e);
    if (!status) status = scvi_stepper_hire(s, n_threads, e);
    if (status) return status;
    b->n = n;
    for (int32_t i = 0; i < n; i++) {
        b->start[i] = total;
        total += indptr[rows[i] + 1] - indptr[rows[i]];
    }
    status = make_room(b, (size_t)total, e);
    if (status) return status;
#pragma omp parallel for schedule(dynamic, 8) num_threads(n_threads)
    for (int32_t i = 0; i < n; i++) load_cell(s, counts, i, rows[i]);
    return CPT_OK;
}

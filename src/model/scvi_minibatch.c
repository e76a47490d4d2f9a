/* Counts of a minibatch: by cell as they come, and sorted by gene for the gradient of the first layer. */
#include "model/scvi_stepper.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

static cpt_status make_room(scvi_minibatch *b, size_t need, cpt_err *e)
{
    cpt_status status = CPT_OK;
    if (need <= b->room) return CPT_OK;
    void **const arrays[] = {(void **)&b->genes, (void **)&b->counts, (void **)&b->inputs,
                             (void **)&b->gene_cells, (void **)&b->gene_inputs};
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
    s->length[i] = n;
    b->library[i] = sum;
    b->log_factorial[i] = s->log_factorial[row];
    b->codes[i] =
        s->model->n_batches > 1 && s->options.batch_codes ? s->options.batch_codes[row] : 0;
}

/* The same entries by gene, cells ascending: counting sort. */
void scvi_sort_by_gene(scvi_stepper *s)
{
    scvi_minibatch *b = &s->batch;
    const int32_t genes = s->model->shape.n_genes;
    memset(b->gene_start, 0, sizeof *b->gene_start * ((size_t)genes + 1));
    for (int32_t i = 0; i < b->n; i++)
        for (int32_t k = 0; k < s->length[i]; k++) b->gene_start[b->genes[b->start[i] + k] + 1]++;
    for (int32_t g = 0; g < genes; g++) b->gene_start[g + 1] += b->gene_start[g];
    for (int32_t i = b->n; i-- > 0;) /* from behind, so that gene_start ends up shifted by itself */
        for (int32_t k = s->length[i]; k-- > 0;) {
            int64_t from = b->start[i] + k, to = --b->gene_start[b->genes[from] + 1];
            b->gene_cells[to] = i;
            b->gene_inputs[to] = b->inputs[from];
        }
    /* gene_start[g + 1] now is where gene g starts */
    int64_t total = 0;
    for (int32_t i = 0; i < b->n; i++) total += s->length[i];
    memmove(b->gene_start, b->gene_start + 1, sizeof *b->gene_start * (size_t)genes);
    b->gene_start[genes] = total;
}

cpt_status scvi_stepper_load(scvi_stepper *s, const cpt_counts *counts, int32_t n,
                             const int64_t *rows, const cpt_context *ctx, cpt_err *e)
{
    scvi_minibatch *b = &s->batch;
    const int64_t *indptr = counts->csr->indptr;
    const int n_threads = cpt_threads(ctx);
    cpt_status status = know_cells(s, counts->csr->n_rows, e);
    if (status) return status;
    b->n = n;
    b->start[0] = 0;
    for (int32_t i = 0; i < n; i++)
        b->start[i + 1] = b->start[i] + indptr[rows[i] + 1] - indptr[rows[i]];
    status = make_room(b, (size_t)b->start[n], e);
    if (status) return status;
#pragma omp parallel for schedule(dynamic, 8) num_threads(n_threads)
    for (int32_t i = 0; i < n; i++) load_cell(s, counts, i, rows[i]);
    return CPT_OK;
}

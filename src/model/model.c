/* What all models share: a cell's counts as model genes, profiles, embedding in blocks.
 *
 * Columns of the data are renamed to genes of the model through one table; when the two orders
 * agree (`ascending`) a row comes out sorted by itself, else it is sorted here. */
#include "model/model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* Cells between two looks at the stop flag. */
enum { EMBED_BLOCK = 2048 };

cpt_status cpt_counts_init(cpt_counts *c, const cpt_csr *csr, const int32_t *to_model,
                           int32_t n_genes, cpt_err *e)
{
    int32_t *column_of = NULL, last = -1;
    *c = (cpt_counts){csr, to_model, n_genes, true};
    if (!to_model && csr->n_cols != n_genes)
        return cpt_fail(e, CPT_ERR_USAGE, "the counts have %lld columns, the model has %d genes",
                        (long long)csr->n_cols, n_genes);
    if (!to_model) return CPT_OK;
    cpt_status status = cpt_alloc(&column_of, (size_t)n_genes, sizeof *column_of, e);
    for (int64_t j = 0; !status && j < csr->n_cols; j++) {
        int32_t g = to_model[j];
        if (g < 0) continue;
        if (g >= n_genes)
            status = cpt_fail(e, CPT_ERR_USAGE, "column %lld is mapped to gene %d of %d",
                              (long long)j, g, n_genes);
        else if (column_of[g])
            status = cpt_fail(e, CPT_ERR_DATA,
                              "columns %d and %lld are both gene %d of the model; keep one of them",
                              column_of[g] - 1, (long long)j, g);
        else
            column_of[g] = (int32_t)j + 1;
        c->ascending = c->ascending && g > last;
        last = g;
    }
    free(column_of);
    return status;
}

/* Heap sort: in place, no worst case, no memory. Rows hold some thousands of genes. */
static void sift(int32_t *genes, float *values, int32_t root, int32_t n)
{
    int32_t gene = genes[root];
    float value = values[root];
    for (int32_t child; (child = 2 * root + 1) < n; root = child) {
        if (child + 1 < n && genes[child + 1] > genes[child]) child++;
        if (genes[child] <= gene) break;
        genes[root] = genes[child];
        values[root] = values[child];
    }
    genes[root] = gene;
    values[root] = value;
}

static void sort_row(int32_t *genes, float *values, int32_t n)
{
    for (int32_t i = n / 2; i-- > 0;) sift(genes, values, i, n);
    for (int32_t end = n - 1; end > 0; end--) {
        int32_t gene = genes[0];
        float value = values[0];
        genes[0] = genes[end];
        values[0] = values[end];
        genes[end] = gene;
        values[end] = value;
        sift(genes, values, 0, end);
    }
}

/* Entries first .. end of the matrix that are kept, to genes and values. Whether one is kept is a matter of chance to the
 * processor, so that guessing it would cost more than all else: they are written in any case, to where the next one
 * goes over them. */
static int32_t keep_entries(const cpt_counts *c, int64_t first, int64_t end, int32_t *genes, float *values)
{
    const cpt_csr *csr = c->csr;
    int32_t n = 0;
    for (int64_t k = first; k < end; k++) {
        const int32_t g = c->to_model ? c->to_model[csr->indices[k]] : csr->indices[k];
        genes[n] = g;
        values[n] = csr->values[k];
        n += (g >= 0) & (csr->values[k] != 0);
    }
    return n;
}

int32_t cpt_counts_row(const cpt_counts *c, int64_t row, int32_t *genes, float *values)
{
    enum { FEW = 64 };
    const int64_t end = c->csr->indptr[row + 1];
    int32_t n = 0, some_genes[FEW];
    float some_values[FEW];
    for (int64_t first = c->csr->indptr[row]; first < end; first += FEW) {
        const int32_t kept = keep_entries(c, first, end - first < FEW ? end : first + FEW, some_genes, some_values);
        memcpy(genes + n, some_genes, sizeof *genes * (size_t)kept);
        memcpy(values + n, some_values, sizeof *values * (size_t)kept);
        n += kept;
    }
    if (!c->ascending) sort_row(genes, values, n);
    return n;
}

void cpt_profile_free(cpt_profile *p)
{
    free(p->genes);
    free(p->values);
    *p = (cpt_profile){0};
}

float cpt_profile_value(const cpt_profile *p, int32_t gene)
{
    int32_t low = 0, high = p->n;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (p->genes[middle] < gene) low = middle + 1;
        else high = middle;
    }
    return low < p->n && p->genes[low] == gene ? p->values[low] : 0;
}

void cpt_model_free(cpt_model *m)
{
    if (m) m->ops->free(m);
}

static int64_t count_unusable(const float *rows, int64_t n, int32_t dim)
{
    int64_t unusable = 0;
    for (int64_t i = 0; i < n; i++) {
        bool finite = true;
        for (int32_t j = 0; j < dim; j++) finite = finite && isfinite(rows[i * dim + j]);
        unusable += !finite;
    }
    return unusable;
}

cpt_status cpt_model_embed_range(const cpt_model *m, const cpt_counts *counts, int64_t from,
                                 int64_t to, float *out, const cpt_context *ctx, cpt_err *e)
{
    for (int64_t first = from; first < to; first += EMBED_BLOCK) {
        int64_t n = to - first < EMBED_BLOCK ? to - first : EMBED_BLOCK;
        cpt_status status = cpt_check_stop(ctx, e);
        if (!status)
            status = m->ops->embed(m, counts, first, n, out + (first - from) * m->dim, ctx, e);
        if (status) return status;
        cpt_progress(ctx, "embedding cells", (double)(first + n - from), (double)(to - from), NULL);
    }
    return CPT_OK;
}

cpt_status cpt_model_embed_all(const cpt_model *m, const cpt_counts *counts, float *out,
                               int64_t *n_unusable, const cpt_context *ctx, cpt_err *e)
{
    const int64_t n_cells = counts->csr->n_rows;
    cpt_status status = cpt_model_embed_range(m, counts, 0, n_cells, out, ctx, e);
    if (status == CPT_OK && n_unusable) *n_unusable = count_unusable(out, n_cells, m->dim);
    return status;
}

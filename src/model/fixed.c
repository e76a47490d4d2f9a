/* A precomputed embedding as a model: row i of the matrix belongs to row i of the counts. A row
 * with a value that is not finite becomes all NaN, which is how models say that a cell is
 * unusable. */
#include "model/fixed.h"

#include <math.h>
#include <stdlib.h>

#include "base/memory.h"

typedef struct fixed {
    cpt_model base;
    const float *values;
    int64_t n_cells;
} fixed;

static cpt_status embed(const cpt_model *base, const cpt_counts *counts, int64_t first, int64_t n,
                        float *out, const cpt_context *ctx, cpt_err *e)
{
    const fixed *m = (const fixed *)(const void *)base;
    const int32_t dim = base->dim;
    if (first < 0 || n < 0 || first > m->n_cells || n > m->n_cells - first)
        return cpt_fail(e, CPT_ERR_DATA, "cells %lld to %lld asked for, but %s has %lld rows",
                        (long long)first, (long long)(first + n - 1),
                        cpt_text_str(&base->description), (long long)m->n_cells);
    for (int64_t i = 0; i < n; i++) {
        const float *from = m->values + (first + i) * dim;
        bool finite = true;
        for (int32_t j = 0; j < dim; j++) finite = finite && isfinite(from[j]);
        for (int32_t j = 0; j < dim; j++) out[i * dim + j] = finite ? from[j] : NAN;
    }
    return CPT_OK;
}

static void free_fixed(cpt_model *m)
{
    cpt_text_free(&m->description);
    free(m);
}

static const cpt_model_ops ops = {.kind = "fixed", .embed = embed, .free = free_fixed};

cpt_status cpt_fixed_new(const float *values, int64_t n_cells, int32_t dim, const char *name,
                         cpt_model **out, cpt_err *e)
{
    fixed *m = NULL;
    *out = NULL;
    if (dim < 1 || n_cells < 0)
        return cpt_fail(e, CPT_ERR_DATA, "%s: an embedding of %lld cells x %d values cannot be",
                        name, (long long)n_cells, dim);
    cpt_status status = cpt_alloc(&m, 1, sizeof *m, e);
    if (status) return status;
    m->base.ops = &ops;
    m->base.dim = dim;
    m->values = values;
    m->n_cells = n_cells;
    cpt_text_addf(&m->base.description, "%s, %d values per cell", name, dim);
    status = cpt_text_status(&m->base.description, e);
    if (status) free_fixed(&m->base);
    else *out = &m->base;
    return status;
}

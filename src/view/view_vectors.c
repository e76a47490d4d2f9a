#include "base/memory.h"
#include "view/view.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Vectors as they go over the wire. Sparse ones are read from the file straight into the answer. */

static const double SCALE = 1e4;

static cpt_status vector_make(cpt_vector *out, size_t n, size_t item, const char *type, cpt_err *e)
{
    *out = (cpt_vector){0};
    if (!cpt_size_mul(n, item, &out->size))
        return cpt_fail(e, CPT_ERR_MEMORY, "a vector's size overflows");
    snprintf(out->type, sizeof out->type, "%s", type);
    return cpt_alloc(&out->bytes, n, item, e);
}

static void vector_free(cpt_vector *out)
{
    free(out->bytes);
    *out = (cpt_vector){0};
}

cpt_status cpt_view_umap(const cpt_view *v, cpt_vector *out, cpt_err *e)
{
    int64_t n = v->cells->n_cells;
    if (!v->places)
        return cpt_fail(e, CPT_ERR_DATA, "%s: the stage 'map' has not run yet", v->name);
    cpt_status status = vector_make(out, 2 * (size_t)n, sizeof(uint16_t), "u16", e);
    if (status) return status;
    memcpy(out->bytes, v->places, out->size);
    snprintf(out->shape, sizeof out->shape, "%lldx2", (long long)n);
    snprintf(out->range, sizeof out->range, "%.7g,%.7g,%.7g,%.7g", v->place_low[0],
             v->place_high[0], v->place_low[1], v->place_high[1]);
    return CPT_OK;
}

cpt_status cpt_view_concept_map(const cpt_view *v, cpt_vector *out, cpt_err *e)
{
    cpt_status status = cpt_view_need_index(v, e);
    if (status == CPT_OK)
        status = vector_make(out, 2 * (size_t)v->n_concepts, sizeof(float), "f32", e);
    if (status) return status;
    const float *xy = v->index.concept_map.data;
    double low[2] = {INFINITY, INFINITY}, high[2] = {-INFINITY, -INFINITY};
    memcpy(out->bytes, xy, out->size);
    for (int32_t i = 0; i < 2 * v->n_concepts; i++) {
        low[i % 2] = fmin(low[i % 2], (double)xy[i]);
        high[i % 2] = fmax(high[i % 2], (double)xy[i]);
    }
    snprintf(out->shape, sizeof out->shape, "%dx2", v->n_concepts);
    if (high[0] >= low[0])
        snprintf(out->range, sizeof out->range, "%.7g,%.7g,%.7g,%.7g", low[0], high[0], low[1],
                 high[1]);
    return CPT_OK;
}

/* u32 numbers, then f32 values; range over the values. */
static cpt_status sparse(const cpt_rows *r, int64_t row, cpt_vector *out, cpt_err *e)
{
    int64_t n = r->indptr[row + 1] - r->indptr[row];
    cpt_status status = vector_make(out, 2 * (size_t)n, 4, "sparse", e);
    if (status) return status;
    snprintf(out->shape, sizeof out->shape, "%lld", (long long)n);
    CPT_TRY(cpt_array_read(&r->indices, r->indptr[row], n, out->bytes, e));
    CPT_TRY(cpt_array_read(&r->values, r->indptr[row], n, (float *)out->bytes + n, e));
    const int32_t *numbers = out->bytes;
    for (int64_t k = 0; k < n; k++)
        if (numbers[k] < 0 || numbers[k] >= r->n_cols) {
            status = cpt_fail(e, CPT_ERR_FORMAT, "%s: row %lld is damaged; run the stage again",
                              r->indices.path, (long long)row);
            goto done;
        }
done:
    if (status) vector_free(out);
    return status;
}

static void set_range(cpt_vector *out, int64_t n, const float *values)
{
    double low = INFINITY, high = -INFINITY;
    for (int64_t k = 0; k < n; k++) {
        low = fmin(low, (double)values[k]);
        high = fmax(high, (double)values[k]);
    }
    if (high >= low) snprintf(out->range, sizeof out->range, "%.7g,%.7g", low, high);
}

cpt_status cpt_view_activation(const cpt_view *v, int32_t concept, cpt_vector *out, cpt_err *e)
{
    cpt_status status = cpt_view_need_concept(v, concept, e);
    if (status == CPT_OK) status = sparse(&v->by_concept, concept, out, e);
    if (status == CPT_OK)
        set_range(out, (int64_t)(out->size / 8), (const float *)out->bytes + out->size / 8);
    return status;
}

cpt_status cpt_view_expression(const cpt_view *v, int32_t gene, cpt_vector *out, cpt_err *e)
{
    const double *totals = v->index.totals.data;
    cpt_status status = cpt_view_need_gene(v, gene, e);
    if (status == CPT_OK && (!v->have_counts || !totals))
        status = cpt_fail(e, CPT_ERR_DATA, "%s: the input had no counts", v->name);
    if (status == CPT_OK)
        status =
            sparse(&v->counts_by_gene, ((const int32_t *)v->index.universe.data)[gene], out, e);
    if (status) return status;
    int64_t n = (int64_t)(out->size / 8);
    const uint32_t *cells = out->bytes;
    float *values = (float *)out->bytes + n;
    for (int64_t k = 0; k < n; k++) {
        double total = totals[cells[k]];
        values[k] = total > 0 ? (float)log1p((double)values[k] / total * SCALE) : 0;
    }
    set_range(out, n, values);
    return CPT_OK;
}

cpt_status cpt_view_column(const cpt_view *v, const char *name, cpt_vector *out, cpt_err *e)
{
    const cpt_column *c = cpt_table_find(&v->cells->obs, name);
    int64_t n = v->cells->n_cells;
    if (!c)
        return cpt_fail(e, CPT_ERR_USAGE, "%s: the cells have no column '%.80s'", v->name, name);
    bool category = c->kind == CPT_COLUMN_CATEGORY;
    if (category && c->categories.n > UINT16_MAX)
        return cpt_fail(e, CPT_ERR_DATA,
                        "%s: column '%.80s' has %lld categories; at most %d can be shown", v->name,
                        name, (long long)c->categories.n, UINT16_MAX);
    cpt_status status = vector_make(out, (size_t)n, category ? 2 : 4, category ? "u16" : "f32", e);
    if (status) return status;
    snprintf(out->shape, sizeof out->shape, "%lld", (long long)n);
    uint16_t *codes = out->bytes;
    float *numbers = out->bytes;
    for (int64_t i = 0; i < n; i++) {
        if (category) codes[i] = c->codes[i] < 0 ? UINT16_MAX : (uint16_t)c->codes[i];
        else numbers[i] = (float)c->numbers[i];
    }
    if (category) snprintf(out->range, sizeof out->range, "0,%lld", (long long)c->categories.n - 1);
    else set_range(out, n, numbers);
    return CPT_OK;
}

cpt_status cpt_view_neuron(const cpt_view *v, int32_t neuron, cpt_vector *out, cpt_err *e)
{
    cpt_status status = cpt_view_need_index(v, e);
    if (status) return status;
    if (neuron < 0 || neuron >= v->index.neurons.rows)
        return cpt_fail(e, CPT_ERR_USAGE, "%s: there is no neuron %d; they run from 0 to %lld",
                        v->name, neuron, (long long)v->index.neurons.rows - 1);
    status = vector_make(out, (size_t)v->cells->n_cells, sizeof(float), "f32", e);
    if (status) return status;
    snprintf(out->shape, sizeof out->shape, "%lld", (long long)v->cells->n_cells);
    status = cpt_array_row(&v->index.neurons, neuron, out->bytes, e);
    if (status) vector_free(out);
    else set_range(out, v->cells->n_cells, out->bytes);
    return status;
}

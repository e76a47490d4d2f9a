/* activation_match.c - Pearson correlations of sparse activations, matched one to one.
 *
 * Sums, squares and cross products run over active entries only; the inactive ones enter through
 * the number of cells. All in double, in cell order: the same bytes always. */
#include "evaluate/activation_match.h"

#include "base/memory.h"
#include "math/assignment.h"

#include <math.h>
#include <stdlib.h>

enum { STOP_EVERY = 4096 }; /* cells between two looks at the stop flag */

typedef struct moments {
    double *sum, *root; /* [units] root of the centred sum of squares; 0 = constant */
} moments;

static cpt_status moments_make(const cpt_csr *x, moments *m, cpt_err *e)
{
    cpt_status status;
    CPT_TRY(cpt_alloc(&m->sum, (size_t)x->n_cols, sizeof *m->sum, e));
    CPT_TRY(cpt_alloc(&m->root, (size_t)x->n_cols, sizeof *m->root, e));
    for (int64_t k = 0; k < x->indptr[x->n_rows]; k++) {
        m->sum[x->indices[k]] += (double)x->values[k];
        m->root[x->indices[k]] += (double)x->values[k] * (double)x->values[k];
    }
    for (int64_t c = 0; c < x->n_cols; c++) {
        const double mean_square = m->sum[c] * m->sum[c] / (double)x->n_rows;
        const double rest = m->root[c] - mean_square;
        m->root[c] = rest > 1e-12 * m->root[c] ? sqrt(rest) : 0;
    }
done:
    return status;
}

static void moments_free(moments *m)
{
    free(m->sum);
    free(m->root);
}

static cpt_status cross_products(const cpt_csr *a, const cpt_csr *b, double *products,
                                 const cpt_context *ctx, cpt_err *e)
{
    for (int64_t i = 0; i < a->n_rows; i++) {
        if (i % STOP_EVERY == 0) {
            cpt_status status = cpt_check_stop(ctx, e);
            if (status != CPT_OK) return status;
        }
        for (int64_t k = a->indptr[i]; k < a->indptr[i + 1]; k++) {
            double *row = products + (int64_t)a->indices[k] * b->n_cols;
            for (int64_t l = b->indptr[i]; l < b->indptr[i + 1]; l++)
                row[b->indices[l]] += (double)a->values[k] * (double)b->values[l];
        }
    }
    return CPT_OK;
}

/* products -> minus the correlations, the cost of a match. */
static void to_costs(const cpt_csr *a, const cpt_csr *b, const moments *x, const moments *y,
                     double *products)
{
    for (int64_t c = 0; c < a->n_cols; c++)
        for (int64_t d = 0; d < b->n_cols; d++) {
            double *p = products + c * b->n_cols + d;
            const double scale = x->root[c] * y->root[d];
            *p = scale > 0 ? -(*p - x->sum[c] * y->sum[d] / (double)a->n_rows) / scale : 0;
        }
}

static void read_matches(const cpt_csr *a, const cpt_csr *b, const moments *x, const moments *y,
                         const double *costs, int32_t *partner, double *correlation,
                         cpt_activation_match *out)
{
    for (int64_t c = 0; c < a->n_cols; c++) {
        int32_t d = partner[c];
        if (d >= 0 && !(x->root[c] > 0 && y->root[d] > 0)) d = partner[c] = -1;
        const double r = d < 0 ? NAN : -costs[c * b->n_cols + d];
        if (correlation) correlation[c] = r;
        if (d < 0) continue;
        out->n_matched++;
        out->correlation += r;
        out->above_05 += r > 0.5;
        out->above_07 += r > 0.7;
        out->above_09 += r > 0.9;
    }
    const double n = out->n_matched;
    out->correlation /= n; /* 0 / 0 = NaN */
    out->above_05 /= n;
    out->above_07 /= n;
    out->above_09 /= n;
}

cpt_status cpt_match_activations(const cpt_csr *a, const cpt_csr *b, int32_t *partner,
                                 double *correlation, cpt_activation_match *out,
                                 const cpt_context *ctx, cpt_err *e)
{
    cpt_status status;
    moments x = {0}, y = {0};
    double *products = NULL;
    int32_t *own = NULL;
    *out = (cpt_activation_match){0};
    if (a->n_rows != b->n_rows || a->n_rows < 2 || a->n_cols < 1 || b->n_cols < 1)
        return cpt_fail(
            e, CPT_ERR_DATA,
            "matching activations needs the same cells on both sides, at least 2, and units; "
            "there are %lld and %lld cells, %lld and %lld units",
            (long long)a->n_rows, (long long)b->n_rows, (long long)a->n_cols, (long long)b->n_cols);
    CPT_TRY(moments_make(a, &x, e));
    CPT_TRY(moments_make(b, &y, e));
    CPT_TRY(cpt_alloc(&products, (size_t)a->n_cols * (size_t)b->n_cols, sizeof *products, e));
    CPT_TRY(cpt_alloc(&own, (size_t)a->n_cols, sizeof *own, e));
    CPT_TRY(cross_products(a, b, products, ctx, e));
    to_costs(a, b, &x, &y, products);
    if (!partner) partner = own;
    CPT_TRY(cpt_assignment(products, (int32_t)a->n_cols, (int32_t)b->n_cols, partner, NULL, e));
    read_matches(a, b, &x, &y, products, partner, correlation, out);
done:
    moments_free(&x);
    moments_free(&y);
    free(products);
    free(own);
    return status;
}

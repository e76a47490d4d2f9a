/* nmf.c - a non-negative factorisation of the split coordinates as a dictionary (lowrank.h).
 *
 * Encoding solves non-negative least squares exactly for each cell (nnls.c); what comes out depends
 * on the cell alone, so encoding and reading out one unit agree bit for bit. With P the active
 * units,
 *
 *     c in P:      h_c = u_c                          d h_c / d s = row c of (H_P H_P^T)^-1 H_P
 *     c not in P:  h_c = H_c . (s - u H) / |H_c|^2    d h_c / d s = (H_c - G_cP G_PP^-1 H_P) /
 * |H_c|^2
 *
 * which is continuous in a and <= 0 exactly where u_c = 0. In a, s has slope +1 in the first half
 * where a_j > 0, -1 in the second half where a_j < 0, and the mean of both sides is taken at 0.
 *
 * Cost: O(F dim + F m + m^3) a cell with m active units. Files: DIR/sae_weights.safetensors
 * {components [F][2 dim], f32}, DIR/cfg.json {"architecture": "conceptome-nmf", "d_in": dim,
 * "d_sae": F}. */
#include "dictionary/nmf.h"

#include "dictionary/lowrank.h"
#include "dictionary/nnls.h"

#include "base/file.h"
#include "base/memory.h"
#include "io/checkpoint.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* b = H s(a) and the solution of one cell. */
static void solve(const cpt_nmf *d, const float *a, double *b, cpt_nnls *s)
{
    const int64_t F = d->base.n_concepts, dim = d->base.dim;
    memset(b, 0, (size_t)F * sizeof *b);
    for (int64_t j = 0; j < dim; j++) {
        if (a[j] == 0) continue;
        const double *h = d->by_coordinate + (a[j] > 0 ? j : dim + j) * F, x = fabs((double)a[j]);
        for (int64_t c = 0; c < F; c++) b[c] += x * h[c];
    }
    cpt_nnls_solve(s, d->gram, b);
}

static cpt_status encode(const cpt_dictionary *base, int64_t n, const float *a, int32_t *counts,
                         int32_t *concepts, float *values, cpt_err *e)
{
    const cpt_nmf *d = (const cpt_nmf *)base;
    cpt_nnls s = {0};
    double *b = NULL;
    cpt_status status = CPT_OK;
    CPT_TRY(cpt_alloc(&b, (size_t)base->n_concepts, sizeof *b, e));
    CPT_TRY(cpt_nnls_new(base->n_concepts, &s, e));
    for (int64_t i = 0; i < n; i++) {
        const int64_t at = i * base->max_active;
        solve(d, a + i * base->dim, b, &s);
        counts[i] = 0;
        for (int32_t c = 0; c < base->n_concepts; c++) {
            const float value = (float)s.u[c];
            if (!(value > 0)) continue;
            concepts[at + counts[i]] = c;
            values[at + counts[i]++] = value;
        }
    }
done:
    cpt_nnls_free(&s);
    free(b);
    return status;
}

static void decode(const cpt_dictionary *d, int64_t n, const int32_t *counts,
                   const int32_t *concepts, const float *values, float *out)
{
    memset(out, 0, (size_t)n * (size_t)d->dim * sizeof *out);
    for (int64_t i = 0; i < n; i++)
        for (int32_t c = 0; c < counts[i]; c++) {
            const float *unit = d->decoder + (int64_t)concepts[i * d->max_active + c] * d->dim;
            const float value = values[i * d->max_active + c];
            for (int32_t j = 0; j < d->dim; j++) out[i * d->dim + j] += value * unit[j];
        }
}

static double smooth_value(const cpt_nmf *d, const cpt_nnls *s, int32_t c)
{
    const double norm2 = d->gram[(int64_t)c * d->base.n_concepts + c];
    if (s->u[c] > 0) return s->u[c];
    return norm2 > 0 && s->slack[c] < 0 ? s->slack[c] / norm2 : 0;
}

static cpt_status readout(const cpt_dictionary *base, int32_t concept, int64_t n, const float *a,
                          float *activation, float *pre, cpt_err *e)
{
    const cpt_nmf *d = (const cpt_nmf *)base;
    cpt_nnls s = {0};
    double *b = NULL;
    cpt_status status = CPT_OK;
    CPT_TRY(cpt_alloc(&b, (size_t)base->n_concepts, sizeof *b, e));
    CPT_TRY(cpt_nnls_new(base->n_concepts, &s, e));
    for (int64_t i = 0; i < n; i++) {
        solve(d, a + i * base->dim, b, &s);
        if (activation) activation[i] = (float)s.u[concept];
        if (pre) pre[i] = (float)smooth_value(d, &s, concept);
    }
done:
    cpt_nnls_free(&s);
    free(b);
    return status;
}

/* h_c = sum over units k of weights[k] H_k . s around the present cell, over the active ones and c.
 */
static void weights_of(const cpt_nmf *d, const cpt_nnls *s, int32_t concept, double *weights)
{
    const int64_t F = d->base.n_concepts;
    const double *row = d->gram + concept * F;
    double *x = s->trial; /* scratch of a solution that is done */
    const bool active = s->is_active[concept];
    for (int32_t i = 0; i < s->n_active; i++)
        x[i] = active ? s->active[i] == concept : row[s->active[i]];
    cpt_nnls_back(s, x);
    memset(weights, 0, (size_t)F * sizeof *weights);
    for (int32_t i = 0; i < s->n_active; i++)
        weights[s->active[i]] = active ? x[i] : row[concept] > 0 ? -x[i] / row[concept] : 0;
    if (!active && row[concept] > 0) weights[concept] = 1 / row[concept];
}

/* The interface has no way to fail here: without memory every entry is NaN. */
static void gradient(const cpt_dictionary *base, int32_t concept, const float *a, float *out)
{
    const cpt_nmf *d = (const cpt_nmf *)base;
    const int64_t F = base->n_concepts, dim = base->dim;
    cpt_nnls s = {0};
    double *weights = NULL;
    const bool ok = cpt_alloc(&weights, (size_t)F, sizeof *weights, NULL) == CPT_OK &&
                    cpt_nnls_new(base->n_concepts, &s, NULL) == CPT_OK;
    if (ok) {
        solve(d, a, weights, &s);
        weights_of(d, &s, concept, weights);
    }
    for (int64_t j = 0; j < dim; j++) {
        double up = 0, down = 0;
        for (int64_t c = 0; ok && c < F; c++) {
            up += weights[c] * d->by_coordinate[j * F + c];
            down -= weights[c] * d->by_coordinate[(dim + j) * F + c];
        }
        out[j] = ok ? (float)(a[j] > 0 ? up : a[j] < 0 ? down : (up + down) / 2) : NAN;
    }
    cpt_nnls_free(&s);
    free(weights);
}

void cpt_nmf_free(cpt_dictionary *base)
{
    cpt_nmf *d = (cpt_nmf *)base;
    if (!d) return;
    free(d->components);
    free(d->units);
    free(d->by_coordinate);
    free(d->gram);
    free(d);
}

static cpt_status save(const cpt_dictionary *base, const char *folder, cpt_err *e)
{
    const cpt_nmf *d = (const cpt_nmf *)base;
    const cpt_lowrank_tensor t = {"components", d->components, base->n_concepts,
                                  2 * (int64_t)base->dim};
    return cpt_lowrank_save(folder, CPT_ARCHITECTURE_NMF, base, 1, &t, e);
}

static const cpt_dictionary_ops ops = {"nmf",    encode, decode,      readout,
                                       gradient, save,   cpt_nmf_free, NULL, NULL};

cpt_status cpt_nmf_new(int32_t n_components, int32_t dim, cpt_nmf **out, cpt_err *e)
{
    cpt_status status = CPT_OK;
    const size_t F = (size_t)n_components, size = F * (size_t)dim;
    cpt_nmf *d = NULL;
    CPT_TRY(cpt_alloc(&d, 1, sizeof *d, e));
    CPT_TRY(cpt_alloc(&d->components, 2 * size, sizeof *d->components, e));
    CPT_TRY(cpt_alloc(&d->units, size, sizeof *d->units, e));
    CPT_TRY(cpt_alloc(&d->by_coordinate, 2 * size, sizeof *d->by_coordinate, e));
    CPT_TRY(cpt_alloc(&d->gram, F * F, sizeof *d->gram, e));
    d->base = (cpt_dictionary){.ops = &ops,
                               .n_concepts = n_components,
                               .dim = dim,
                               .max_active = n_components,
                               .k = n_components,
                               .decoder = d->units};
    *out = d;
    d = NULL;
done:
    if (d) cpt_nmf_free(&d->base);
    return status;
}

void cpt_nmf_finish(cpt_nmf *d)
{
    const int64_t F = d->base.n_concepts, dim = d->base.dim;
    for (int64_t c = 0; c < F; c++) {
        float *h = d->components + c * 2 * dim;
        for (int64_t j = 0; j < 2 * dim; j++) d->by_coordinate[j * F + c] = h[j];
        for (int64_t j = 0; j < dim; j++) d->units[c * dim + j] = h[j] - h[dim + j];
        for (int64_t k = 0; k <= c; k++) {
            const float *other = d->components + k * 2 * dim;
            double sum = 0;
            for (int64_t j = 0; j < 2 * dim; j++) sum += (double)h[j] * other[j];
            d->gram[c * F + k] = d->gram[k * F + c] = sum;
        }
    }
}

static cpt_status check_sign(const char *path, const cpt_nmf *d, cpt_err *e)
{
    const int64_t n = 2 * (int64_t)d->base.n_concepts * d->base.dim;
    for (int64_t i = 0; i < n; i++)
        if (d->components[i] < 0)
            return cpt_fail(e, CPT_ERR_FORMAT,
                            "%s: tensor components is negative at element %lld; those of "
                            "a non-negative factorisation are not",
                            path, (long long)i);
    return CPT_OK;
}

cpt_status cpt_load_nmf(const char *folder, const void *cfg, cpt_dictionary **out, cpt_err *e)
{
    int32_t dim = 0, n = 0;
    char path[4096];
    cpt_checkpoint *file = NULL;
    cpt_nmf *d = NULL;
    cpt_status status = CPT_OK;
    CPT_TRY(cpt_config_int(folder, cfg, "d_in", 1, CPT_LOWRANK_MAX_DIM, &dim, e));
    CPT_TRY(cpt_config_int(folder, cfg, "d_sae", 1, 2 * dim, &n, e));
    CPT_TRY(cpt_path_join(path, sizeof path, folder, CPT_WEIGHTS_FILE, e));
    CPT_TRY(cpt_checkpoint_open(path, &file, e));
    cpt_lowrank_tensor tensor = {"components", NULL, n, 2 * (int64_t)dim};
    CPT_TRY(cpt_lowrank_check(file, 1, &tensor, e));
    CPT_TRY(cpt_nmf_new(n, dim, &d, e));
    tensor.data = d->components;
    CPT_TRY(cpt_lowrank_read(file, path, 1, &tensor, e));
    CPT_TRY(check_sign(path, d, e));
    cpt_nmf_finish(d);
    *out = &d->base;
    d = NULL;
done:
    if (d) cpt_nmf_free(&d->base);
    cpt_checkpoint_free(file);
    return status;
}

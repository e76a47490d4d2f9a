/* sae.c - encoding, decoding, read-out and gradient of a sparse autoencoder.
 *
 * Encoding works on blocks of rows: centre, one single-threaded matrix product for all concepts,
 * then exact top-k or the thresholds. The bias is subtracted from the embedding and not folded into
 * b_enc: embeddings with a large common mean would lose digits. O(n F dim).
 *
 * Top-k takes larger values first, then lower concepts; what is <= 0 is not active even inside the
 * k (relu after top-k, Gao et al. 2024).
 *
 * With thresholds a concept does not depend on the others. The product of the block only sorts out
 * what cannot be active by more than its rounding; the rest is summed again in double, in order, as
 * the read-out of one concept does: both give the same bits, and a cell that the encoder calls
 * active has a read-out above 0. */
#include "dictionary/sae.h"

#include "base/memory.h"
#include "math/blas.h"
#include "math/topk.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_ROWS = 64 };

typedef struct workspace {
    float *centred; /* [BLOCK_ROWS][dim] */
    float *pre;     /* [BLOCK_ROWS][n_concepts] */
    void *topk;
    double *norms; /* [n_concepts] of w_enc; with thresholds only */
} workspace;

static void workspace_free(workspace *w)
{
    free(w->centred);
    free(w->pre);
    free(w->topk);
    free(w->norms);
}

static cpt_status workspace_new(const cpt_sae *s, int64_t n, workspace *w, cpt_err *e)
{
    cpt_status status = CPT_OK;
    *w = (workspace){0};
    size_t rows = (size_t)(n < BLOCK_ROWS ? n : BLOCK_ROWS);
    CPT_TRY(cpt_alloc(&w->centred, rows * (size_t)s->base.dim, sizeof *w->centred, e));
    CPT_TRY(cpt_alloc(&w->pre, rows * (size_t)s->base.n_concepts, sizeof *w->pre, e));
    CPT_TRY(cpt_alloc(&w->topk, cpt_topk_scratch(s->base.n_concepts), 1, e));
done:
    if (status != CPT_OK) workspace_free(w);
    return status;
}

/* All pre-activations of n <= BLOCK_ROWS embeddings into w->pre. */
static void pre_activations(const cpt_sae *s, int64_t n, const float *a, workspace *w)
{
    const int32_t dim = s->base.dim, F = s->base.n_concepts;
    const float *x = a;
    if (s->subtract_bias) {
        for (int64_t i = 0; i < n; i++)
            for (int32_t j = 0; j < dim; j++)
                w->centred[i * dim + j] = a[i * dim + j] - s->b_dec[j];
        x = w->centred;
    }
    for (int64_t i = 0; i < n; i++) memcpy(w->pre + i * F, s->b_enc, (size_t)F * sizeof(float));
    cpt_gemm(false, true, n, F, dim, 1, x, dim, s->w_enc, dim, 1, w->pre, F, 1);
}

static cpt_status encode_topk(const cpt_dictionary *d, int64_t n, const float *a, int32_t *counts,
                              int32_t *concepts, float *values, cpt_err *e)
{
    const cpt_sae *s = (const cpt_sae *)d;
    const cpt_topk_kernels *topk = cpt_topk_kernels_get();
    workspace w;
    cpt_status status = workspace_new(s, n, &w, e);
    if (status != CPT_OK) return status;
    for (int64_t start = 0; start < n; start += BLOCK_ROWS) {
        int64_t rows = n - start < BLOCK_ROWS ? n - start : BLOCK_ROWS;
        pre_activations(s, rows, a + start * d->dim, &w);
        for (int64_t i = 0; i < rows; i++) {
            int64_t at = (start + i) * d->max_active;
            counts[start + i] = topk->row(w.pre + i * d->n_concepts, d->n_concepts, d->max_active,
                                          0, concepts + at, values + at, w.topk);
        }
    }
    workspace_free(&w);
    return CPT_OK;
}

static void decode(const cpt_dictionary *d, int64_t n, const int32_t *counts,
                   const int32_t *concepts, const float *values, float *out)
{
    const int32_t dim = d->dim;
    for (int64_t i = 0; i < n; i++) {
        float *row = out + i * dim;
        memcpy(row, d->bias, (size_t)dim * sizeof *row);
        for (int32_t c = 0; c < counts[i]; c++) {
            const float *atom = d->decoder + (int64_t)concepts[i * d->max_active + c] * dim;
            const float value = values[i * d->max_active + c];
            for (int32_t j = 0; j < dim; j++) row[j] += value * atom[j];
        }
    }
}

/* Whether concept c is among the k first of the row: only its rank has to be known. */
static bool has_place(const float *pre, int32_t F, int32_t c, int32_t k)
{
    int32_t before = 0;
    for (int32_t j = 0; j < c; j++) before += pre[j] >= pre[c];
    for (int32_t j = c + 1; j < F; j++) before += pre[j] > pre[c];
    return before < k;
}

static cpt_status all_pre_activations(const cpt_dictionary *d, const float *a, float *h, cpt_err *e)
{
    const cpt_sae *s = (const cpt_sae *)d;
    workspace w;
    cpt_status status = workspace_new(s, 1, &w, e);
    if (status != CPT_OK) return status;
    pre_activations(s, 1, a, &w);
    memcpy(h, w.pre, (size_t)d->n_concepts * sizeof *h);
    workspace_free(&w);
    return CPT_OK;
}

static float activation_topk(const cpt_dictionary *d, int32_t concept, const float *h)
{
    return h[concept] > 0 && has_place(h, d->n_concepts, concept, d->max_active) ? h[concept] : 0;
}

static float one_pre_activation(const cpt_sae *s, int32_t concept, const float *a)
{
    const int32_t dim = s->base.dim;
    const float *w = s->w_enc + (int64_t) concept * dim;
    double sum = s->b_enc[concept];
    for (int32_t j = 0; j < dim; j++)
        sum += (double)w[j] * (s->subtract_bias ? a[j] - s->b_dec[j] : a[j]);
    return (float)sum;
}

static cpt_status readout_topk(const cpt_dictionary *d, int32_t concept, int64_t n, const float *a,
                               float *activation, float *pre, cpt_err *e)
{
    const cpt_sae *s = (const cpt_sae *)d;
    if (!activation) {
        for (int64_t i = 0; pre && i < n; i++)
            pre[i] = one_pre_activation(s, concept, a + i * d->dim);
        return CPT_OK;
    }
    workspace w;
    cpt_status status = workspace_new(s, n, &w, e);
    if (status != CPT_OK) return status;
    for (int64_t start = 0; start < n; start += BLOCK_ROWS) {
        int64_t rows = n - start < BLOCK_ROWS ? n - start : BLOCK_ROWS;
        pre_activations(s, rows, a + start * d->dim, &w);
        for (int64_t i = 0; i < rows; i++) {
            const float *row = w.pre + i * d->n_concepts;
            bool active = row[concept] > 0 && has_place(row, d->n_concepts, concept, d->max_active);
            activation[start + i] = active ? row[concept] : 0;
            if (pre) pre[start + i] = row[concept];
        }
    }
    workspace_free(&w);
    return CPT_OK;
}

/* ---- thresholds ---- */

static float passed(const cpt_sae *s, int32_t c, float h)
{
    return h > 0 && h > s->threshold[c] ? h : 0;
}

static float activation_threshold(const cpt_dictionary *d, int32_t concept, const float *h)
{
    return passed((const cpt_sae *)d, concept, h[concept]);
}

static double norm_of(const float *x, int32_t n)
{
    double sum = 0;
    for (int32_t j = 0; j < n; j++) sum += (double)x[j] * x[j];
    return sqrt(sum);
}

/* The active concepts of one embedding whose rough pre-activations are known. The error of a float
 * sum of dim + 1 products is at most (dim + 1) eps / 2 times the sum of their magnitudes. */
static int32_t encode_row(const cpt_sae *s, const float *a, const float *x, const float *pre,
                          const double *norms, int32_t *concepts, float *values)
{
    const int32_t dim = s->base.dim;
    const double length = norm_of(x, dim), rounding = (dim + 4) * (double)FLT_EPSILON;
    int32_t n = 0;
    for (int32_t c = 0; c < s->base.n_concepts; c++) {
        double margin = rounding * (norms[c] * length + fabsf(s->b_enc[c]));
        if (pre[c] + margin <= 0 || pre[c] + margin <= s->threshold[c]) continue;
        float value = passed(s, c, one_pre_activation(s, c, a));
        if (!(value > 0)) continue;
        concepts[n] = c;
        values[n++] = value;
    }
    return n;
}

static cpt_status encode_threshold(const cpt_dictionary *d, int64_t n, const float *a,
                                   int32_t *counts, int32_t *concepts, float *values, cpt_err *e)
{
    const cpt_sae *s = (const cpt_sae *)d;
    workspace w;
    cpt_status status = workspace_new(s, n, &w, e);
    if (status != CPT_OK) return status;
    CPT_TRY(cpt_alloc(&w.norms, (size_t)d->n_concepts, sizeof *w.norms, e));
    for (int32_t c = 0; c < d->n_concepts; c++)
        w.norms[c] = norm_of(s->w_enc + (int64_t)c * d->dim, d->dim);
    for (int64_t start = 0; start < n; start += BLOCK_ROWS) {
        const int64_t rows = n - start < BLOCK_ROWS ? n - start : BLOCK_ROWS;
        const float *block = a + start * d->dim, *x = s->subtract_bias ? w.centred : block;
        pre_activations(s, rows, block, &w);
        for (int64_t i = 0; i < rows; i++) {
            const int64_t at = (start + i) * d->max_active;
            counts[start + i] =
                encode_row(s, block + i * d->dim, x + i * d->dim, w.pre + i * d->n_concepts,
                           w.norms, concepts + at, values + at);
        }
    }
done:
    workspace_free(&w);
    return status;
}

static cpt_status readout_threshold(const cpt_dictionary *d, int32_t concept, int64_t n,
                                    const float *a, float *activation, float *pre, cpt_err *e)
{
    const cpt_sae *s = (const cpt_sae *)d;
    (void)e;
    for (int64_t i = 0; i < n; i++) {
        const float h = one_pre_activation(s, concept, a + i * d->dim);
        if (activation) activation[i] = passed(s, concept, h);
        if (pre) pre[i] = h;
    }
    return CPT_OK;
}

static void gradient(const cpt_dictionary *d, int32_t concept, const float *a, float *out)
{
    const cpt_sae *s = (const cpt_sae *)d;
    memcpy(out, s->w_enc + (int64_t) concept * d->dim, (size_t)d->dim * sizeof *out);
}

static void sae_free(cpt_dictionary *d)
{
    cpt_sae *s = (cpt_sae *)d;
    if (!s) return;
    free(s->memory);
    free(s);
}

#define TOPK_OPS                                                                                   \
    encode_topk, decode, readout_topk, gradient, cpt_sae_save, sae_free, all_pre_activations,      \
        activation_topk
#define THRESHOLD_OPS                                                                              \
    encode_threshold, decode, readout_threshold, gradient, cpt_sae_save, sae_free,                 \
        all_pre_activations, activation_threshold

static const cpt_dictionary_ops kinds[] = {
    {CPT_SAE_TOPK, TOPK_OPS},
    {CPT_SAE_RANDOM, TOPK_OPS},
    {CPT_SAE_BATCHTOPK, THRESHOLD_OPS},
    {CPT_SAE_MATRYOSHKA, THRESHOLD_OPS},
    {CPT_SAE_JUMPRELU, THRESHOLD_OPS},
};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

static const cpt_dictionary_ops *ops_of(const char *kind)
{
    for (int i = 0; i < N_KINDS; i++)
        if (strcmp(kinds[i].kind, kind) == 0) return &kinds[i];
    return NULL;
}

cpt_status cpt_sae_new(const char *kind, int32_t n_concepts, int32_t dim, int32_t k, cpt_sae **out,
                       cpt_err *e)
{
    cpt_status status = CPT_OK;
    cpt_sae *s = NULL;
    const cpt_dictionary_ops *ops = ops_of(kind);
    *out = NULL;
    if (!ops) return cpt_fail(e, CPT_ERR_USAGE, "'%.40s' is no kind of sparse autoencoder", kind);
    const bool threshold = ops->encode == encode_threshold;
    if (n_concepts < 1 || dim < 1 || k < !threshold || k > n_concepts)
        return cpt_fail(
            e, CPT_ERR_USAGE,
            "a sparse dictionary needs at least one dimension and 1 <= k <= concepts; this "
            "one has %d dimensions, %d concepts and k = %d",
            dim, n_concepts, k);
    size_t F = (size_t)n_concepts, size = 0;
    if (!cpt_size_mul(F, (size_t)dim, &size) || !cpt_size_mul(size, 2, &size))
        return cpt_fail(e, CPT_ERR_MEMORY, "a dictionary of %d x %d is too large", n_concepts, dim);
    CPT_TRY(cpt_alloc(&s, 1, sizeof *s, e));
    CPT_TRY(cpt_alloc(&s->memory, size + 2 * F + (size_t)dim, sizeof *s->memory, e));
    s->w_enc = s->memory;
    s->w_dec = s->w_enc + F * (size_t)dim;
    s->b_enc = s->w_dec + F * (size_t)dim;
    s->threshold = threshold ? s->b_enc + F : NULL;
    s->b_dec = s->b_enc + 2 * F;
    s->subtract_bias = true;
    s->base = (cpt_dictionary){.ops = ops,
                               .n_concepts = n_concepts,
                               .dim = dim,
                               .max_active = threshold ? n_concepts : k,
                               .k = k,
                               .decoder = s->w_dec,
                               .bias = s->b_dec};
    *out = s;
    s = NULL;
done:
    if (s) sae_free(&s->base);
    return status;
}

void cpt_sae_unit_rows(cpt_sae *s)
{
    const int32_t dim = s->base.dim;
    for (int32_t c = 0; c < s->base.n_concepts; c++) {
        float *dec = s->w_dec + (int64_t)c * dim, *enc = s->w_enc + (int64_t)c * dim;
        double sum = 0;
        for (int32_t j = 0; j < dim; j++) sum += (double)dec[j] * dec[j];
        if (!(sum > 0) || !isfinite(sum)) continue;
        double norm = sqrt(sum);
        for (int32_t j = 0; j < dim; j++) {
            dec[j] = (float)(dec[j] / norm);
            enc[j] = (float)(enc[j] * norm);
        }
        s->b_enc[c] = (float)(s->b_enc[c] * norm);
    }
}

/* sae.c - encoding, decoding, read-out and gradient of a Top-K SAE.
 *
 * Encoding works on blocks of rows: centre, one single-threaded matrix product for all concepts, then
 * exact top-k. The bias is subtracted from the embedding and not folded into b_enc: embeddings with a
 * large common mean would lose digits. O(n F dim).
 *
 * Top-k takes larger values first, then lower concepts; what is <= 0 is not active even inside the k
 * (relu after top-k, Gao et al. 2024). */
#include "dictionary/sae.h"

#include "base/memory.h"
#include "math/blas.h"
#include "math/topk.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_ROWS = 64 };

typedef struct workspace {
    float *centred; /* [BLOCK_ROWS][dim] */
    float *pre;     /* [BLOCK_ROWS][n_concepts] */
    void *topk;
} workspace;

static void workspace_free(workspace *w)
{
    free(w->centred);
    free(w->pre);
    free(w->topk);
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
            for (int32_t j = 0; j < dim; j++) w->centred[i * dim + j] = a[i * dim + j] - s->b_dec[j];
        x = w->centred;
    }
    for (int64_t i = 0; i < n; i++) memcpy(w->pre + i * F, s->b_enc, (size_t)F * sizeof(float));
    cpt_gemm(false, true, n, F, dim, 1, x, dim, s->w_enc, dim, 1, w->pre, F, 1);
}

static cpt_status encode(const cpt_dictionary *d, int64_t n, const float *a, int32_t *counts,
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
            counts[start + i] = topk->row(w.pre + i * d->n_concepts, d->n_concepts, d->max_active, 0,
                                          concepts + at, values + at, w.topk);
        }
    }
    workspace_free(&w);
    return CPT_OK;
}

static void decode(const cpt_dictionary *d, int64_t n, const int32_t *counts, const int32_t *concepts,
                   const float *values, float *out)
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

static float one_pre_activation(const cpt_sae *s, int32_t concept, const float *a)
{
    const int32_t dim = s->base.dim;
    const float *w = s->w_enc + (int64_t)concept * dim;
    double sum = s->b_enc[concept];
    for (int32_t j = 0; j < dim; j++)
        sum += (double)w[j] * (s->subtract_bias ? a[j] - s->b_dec[j] : a[j]);
    return (float)sum;
}

static cpt_status readout(const cpt_dictionary *d, int32_t concept, int64_t n, const float *a,
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

static void gradient(const cpt_dictionary *d, int32_t concept, const float *a, float *out)
{
    const cpt_sae *s = (const cpt_sae *)d;
    memcpy(out, s->w_enc + (int64_t)concept * d->dim, (size_t)d->dim * sizeof *out);
}

static void sae_free(cpt_dictionary *d)
{
    cpt_sae *s = (cpt_sae *)d;
    if (!s) return;
    free(s->memory);
    free(s);
}

static const cpt_dictionary_ops topk_ops = {"topk", encode, decode, readout, gradient, cpt_sae_save,
                                            sae_free};
static const cpt_dictionary_ops random_ops = {"random", encode,       decode,  readout,
                                              gradient, cpt_sae_save, sae_free};

cpt_status cpt_sae_new(const char *kind, int32_t n_concepts, int32_t dim, int32_t k, cpt_sae **out,
                       cpt_err *e)
{
    cpt_status status = CPT_OK;
    cpt_sae *s = NULL;
    *out = NULL;
    if (n_concepts < 1 || dim < 1 || k < 1 || k > n_concepts)
        return cpt_fail(e, CPT_ERR_USAGE,
                        "a Top-K dictionary needs at least one dimension and 1 <= k <= concepts; this "
                        "one has %d dimensions, %d concepts and k = %d",
                        dim, n_concepts, k);
    size_t F = (size_t)n_concepts, size = 0;
    if (!cpt_size_mul(F, (size_t)dim, &size) || !cpt_size_mul(size, 2, &size))
        return cpt_fail(e, CPT_ERR_MEMORY, "a dictionary of %d x %d is too large", n_concepts, dim);
    CPT_TRY(cpt_alloc(&s, 1, sizeof *s, e));
    CPT_TRY(cpt_alloc(&s->memory, size + F + (size_t)dim, sizeof *s->memory, e));
    s->w_enc = s->memory;
    s->w_dec = s->w_enc + F * (size_t)dim;
    s->b_enc = s->w_dec + F * (size_t)dim;
    s->b_dec = s->b_enc + F;
    s->subtract_bias = true;
    s->base = (cpt_dictionary){.ops = strcmp(kind, "random") == 0 ? &random_ops : &topk_ops,
                               .n_concepts = n_concepts,
                               .dim = dim,
                               .max_active = k,
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

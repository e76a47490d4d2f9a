#include "math/screen.h"

#include "base/memory.h"
#include "math/rows.h"

#include <math.h>
#include <string.h>

/* Lengths count in units of 2^-9 of a row's for what is rounded off: see row_norm. */
static const float UNIT = 0x1p-9f;
/* Squares below 2^-149 vanish: a length may be short by 2^-74.5 sqrt(n). And sums have some roundings of their own. */
static const float TINY = 0x1p-58f, GENEROUS = 1.0001f;
/* Beyond, an error bound or a product might be infinite. */
static const float TOO_LARGE = 1e30f;

static size_t padded(int32_t n_out)
{
    return ((size_t)n_out + CPT_GEMM_PANEL - 1) / CPT_GEMM_PANEL * CPT_GEMM_PANEL;
}

static size_t rough_bytes(int32_t n_out, int64_t n_in)
{
    return (cpt_packed_bytes(CPT_GEMM_BF16, n_out, n_in) + 63) / 64 * 64;
}

cpt_status cpt_screen_bytes(int32_t n_out, int64_t n_in, size_t *bytes, cpt_err *e)
{
    size_t all;
    if (!cpt_size_mul(padded(n_out), (size_t)cpt_strips(n_in) * CPT_STRIP + 3, &all) ||
        !cpt_size_mul(all, 2 * sizeof(float), &all))
        return cpt_fail(e, CPT_ERR_MEMORY, "a matrix of %d x %lld is too large", n_out, (long long)n_in);
    *bytes = rough_bytes(n_out, n_in) +
             ((size_t)cpt_strips(n_in) * (size_t)n_out * CPT_STRIP + 3 * padded(n_out)) * sizeof(float);
    return CPT_OK;
}

cpt_screen cpt_screen_of(int32_t n_out, int64_t n_in, void *memory)
{
    cpt_screen s = {.n_out = n_out, .n_in = n_in, .kernels = cpt_strip_kernels_get()};
    s.rough = cpt_packed_of(CPT_GEMM_BF16, n_out, n_in, memory);
    s.strips = (float *)((char *)memory + rough_bytes(n_out, n_in));
    s.slack = s.strips + cpt_strips(n_in) * n_out * CPT_STRIP;
    s.low = s.slack + padded(n_out);
    s.high = s.low + padded(n_out);
    return s;
}

/* The error of an output is at most row_norm(x) times this, and what is added to the bias. */
static void set_bounds(cpt_screen *s, int64_t c, const float *row, float bias)
{
    float rest;
    const float length = GENEROUS * sqrtf(cpt_row_kernels_get()->rounding(row, s->n_in, &rest)) + TINY;
    s->slack[c] = UNIT * length + GENEROUS * sqrtf(rest) + TINY;
    s->low[c] = bias - (fabsf(bias) * 0x1p-20f + 1e-30f);
    s->high[c] = bias + (fabsf(bias) * 0x1p-20f + 1e-30f);
}

void cpt_screen_pack(cpt_screen *s, int64_t first, int64_t end, const float *w, const float *bias)
{
    const int64_t n_in = s->n_in;
    cpt_repack(&s->rough, first, end, w + first * n_in, n_in, 1);
    for (int64_t strip = 0; strip < cpt_strips(n_in); strip++)
        s->kernels->copy(end - first, w + first * n_in, n_in, strip * CPT_STRIP,
                         s->strips + (strip * s->n_out + first) * CPT_STRIP);
    for (int64_t c = first; c < end; c++) set_bounds(s, c, w + c * n_in, bias[c]);
}

void cpt_screen_ready(cpt_screen *s, const float *bias)
{
    s->bias = bias;
    s->largest = 0;
    s->bounds = (cpt_topk_bounds){.slack = s->slack, .low = s->low, .high = s->high};
    for (int32_t c = 0; c < s->n_out; c++) {
        const float spread = s->high[c] - s->low[c], size = s->slack[c] / UNIT + fabsf(bias[c]);
        if (!(s->slack[c] <= s->bounds.widest)) s->bounds.widest = s->slack[c];
        if (!(spread <= s->bounds.spread)) s->bounds.spread = spread;
        if (!(size <= s->largest)) s->largest = isfinite(size) ? size : INFINITY;
    }
}

/* What is rounded off x and the errors of sums, in units; but no less than what multiplies the weights' rounding. */
static float row_norm(const cpt_screen *s, const float *x)
{
    float rest;
    const float length = GENEROUS * sqrtf(cpt_row_kernels_get()->rounding(x, s->n_in, &rest)) + TINY;
    const float off = GENEROUS * sqrtf(rest) + TINY, sums = (float)(s->n_in + 64) * 0x1p-23f * length;
    return GENEROUS * fmaxf((off + sums) / UNIT, length + off);
}

typedef struct screening {
    const cpt_screen *s;
    const cpt_topk_kernels *topk;
    int32_t k;
    cpt_topk_run *runs;
    const float *norms;
} screening;

static void take_rough(void *user, int64_t first_row, int64_t rows, int64_t first, int64_t n, const float *block)
{
    const screening *at = user;
    at->topk->more_rough(at->runs + first_row, rows, at->k, (int32_t)first, (int32_t)n, block, at->norms + first_row,
                         &at->s->bounds);
}

void cpt_screen_rows(const cpt_screen *s, int64_t n, const float *x, int32_t k, cpt_topk_run *runs, float *norms,
                     int32_t *counts, int32_t *chosen)
{
    screening at = {s, cpt_topk_kernels_get(), k, runs, norms};
    for (int64_t i = 0; i < n; i++) {
        norms[i] = row_norm(s, x + i * s->n_in);
        runs[i].bound = 0;
        runs[i].n = norms[i] * s->largest < TOO_LARGE ? 0 : CPT_TOPK_TOO_MANY;
    }
    cpt_multiply_into(&s->rough, n, x, s->n_in, NULL, take_rough, &at);
    for (int64_t i = 0; i < n; i++)
        counts[i] = at.topk->end_rough(&runs[i], k, norms[i], &s->bounds, chosen + i * CPT_TOPK_RUN);
}

void cpt_screen_add(const cpt_screen *s, int64_t strip, const float *x, int32_t m, const int32_t *outputs,
                    float *values)
{
    float own[CPT_STRIP] = {0};
    const int64_t first = strip * CPT_STRIP, left = s->n_in - first;
    if (left >= CPT_STRIP) memcpy(own, x + first, sizeof own);
    else memcpy(own, x + first, (size_t)left * sizeof *own);
    if (strip == 0) memset(values, 0, (size_t)m * sizeof *values);
    s->kernels->dots(m, outputs, s->strips + strip * s->n_out * CPT_STRIP, own, values);
    if (left > CPT_STRIP) return;
    for (int32_t i = 0; i < m; i++) values[i] += s->bias[outputs[i]];
}

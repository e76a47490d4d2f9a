/* unit_flags.c - concentration in a donor, and confounded pairs.
 *
 * Cost: one pass over the active entries; pairs and random pairs times dimensions per concept. */
#include "evaluate/unit_flags.h"

#include "base/memory.h"
#include "base/random.h"
#include "math/statistics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double CONCENTRATED = 0.8, CONCENTRATED_OF = 0.4;
enum { LEAST_ACTIVE = 10 };

static void find_concentration(const cpt_activations *u, const cpt_column *column, int32_t concept,
                               const int64_t *all, int64_t *counts, cpt_concentration *out)
{
    const int64_t first = u->by_concept.indptr[concept], last = u->by_concept.indptr[concept + 1];
    const double n_usable = (double)(u->n_cells - u->n_unusable);
    memset(counts, 0, (size_t)column->categories.n * sizeof *counts);
    for (int64_t k = first; k < last; k++) {
        const int32_t code = column->codes[u->by_concept.indices[k]];
        if (code >= 0) counts[code]++;
    }
    *out = (cpt_concentration){-1, NAN, NAN, false};
    for (int32_t k = 0; k < column->categories.n; k++)
        if (counts[k] > 0 && (out->code < 0 || counts[k] > counts[out->code])) out->code = k;
    if (out->code < 0) return;
    out->share = (double)counts[out->code] / (double)(last - first);
    out->background = (double)all[out->code] / n_usable;
    out->flagged = last - first >= LEAST_ACTIVE && out->share > CONCENTRATED &&
                   out->background < CONCENTRATED_OF;
}

cpt_status cpt_concentrations(const cpt_activations *u, const cpt_column *column,
                              cpt_concentration *out, cpt_err *e)
{
    cpt_status status;
    int64_t *all = NULL, *counts = NULL;
    CPT_TRY(cpt_alloc(&all, (size_t)column->categories.n, sizeof *all, e));
    CPT_TRY(cpt_alloc(&counts, (size_t)column->categories.n, sizeof *counts, e));
    for (int64_t i = 0; i < u->n_cells; i++)
        if (u->usable[i] && column->codes[i] >= 0) all[column->codes[i]]++;
    for (int32_t c = 0; c < u->n_concepts; c++)
        find_concentration(u, column, c, all, counts, &out[c]);
done:
    free(all);
    free(counts);
    return status;
}

/* ---- pairs ---- */

/* Length of x - y less its part along the unit row w; *cosine of x - y with w (0 when they are
 * one). */
static double rest_of(const float *x, const float *y, const float *w, double w_norm, int32_t dim,
                      double *cosine)
{
    double square = 0, along = 0;
    for (int32_t j = 0; j < dim; j++) {
        const double d = (double)x[j] - (double)y[j];
        square += d * d;
        along += d * (double)w[j];
    }
    if (w_norm > 0) along /= w_norm;
    *cosine = square > 0 ? along / sqrt(square) : 0;
    const double rest = square - along * along;
    return rest > 0 ? sqrt(rest) : 0;
}

static cpt_status draw_pairs(int64_t n, const bool *usable, int32_t n_random, uint64_t seed,
                             int64_t *cells, cpt_err *e)
{
    int64_t *list, n_usable = 0;
    cpt_stream s;
    cpt_status status = cpt_alloc(&list, (size_t)n, sizeof *list, e);
    if (status != CPT_OK) return status;
    for (int64_t i = 0; i < n; i++)
        if (usable[i]) list[n_usable++] = i;
    cpt_stream_init(&s, seed, CPT_RANDOM_INTERVAL, UINT64_MAX);
    for (int32_t i = 0; i < n_random && n_usable > 1; i++) {
        const uint64_t x = cpt_stream_below(&s, (uint64_t)n_usable);
        const uint64_t y = cpt_stream_below(&s, (uint64_t)n_usable - 1);
        cells[2 * i] = list[x];
        cells[2 * i + 1] = list[y < x ? y : y + 1];
    }
    free(list);
    return n_usable > 1 ? CPT_OK
                        : cpt_fail(e, CPT_ERR_DATA, "fewer than 2 cells have an embedding");
}

static void rest_of_concept(const cpt_pairs *p, int32_t c, const float *a, int32_t dim,
                            const float *w, int32_t n_random, const int64_t *random,
                            double *scratch, double *cosines, double *rest, double *along)
{
    const int64_t first = p->first[c], n = p->first[c + 1] - first;
    double w_norm = 0, nothing;
    int32_t n_below = 0;
    for (int32_t j = 0; j < dim; j++) w_norm += (double)w[j] * (double)w[j];
    w_norm = sqrt(w_norm);
    for (int64_t i = 0; i < n; i++)
        scratch[i] =
            rest_of(a + p->pairs[first + i].prototype * dim,
                    a + p->pairs[first + i].counterfactual * dim, w, w_norm, dim, &cosines[i]);
    const double median = cpt_median(n, scratch);
    *along = cpt_median(n, cosines);
    for (int32_t i = 0; i < n_random && n > 0; i++)
        n_below += rest_of(a + random[2 * i] * dim, a + random[2 * i + 1] * dim, w, w_norm, dim,
                           &nothing) < median;
    *rest = n > 0 ? (double)n_below / n_random : NAN;
}

cpt_status cpt_pair_rests(const cpt_pairs *pairs, const float *a, int64_t n, int32_t dim,
                          const bool *usable, const float *decoder, int32_t n_random, double *rest,
                          double *along, const cpt_context *ctx, cpt_err *e)
{
    cpt_status status;
    int64_t *random = NULL, longest = 1;
    double *scratch = NULL, *cosines = NULL;
    for (int32_t c = 0; c < pairs->n_concepts; c++)
        if (pairs->first[c + 1] - pairs->first[c] > longest)
            longest = pairs->first[c + 1] - pairs->first[c];
    CPT_TRY(cpt_alloc(&random, 2 * (size_t)n_random, sizeof *random, e));
    CPT_TRY(cpt_alloc(&scratch, (size_t)longest, sizeof *scratch, e));
    CPT_TRY(cpt_alloc(&cosines, (size_t)longest, sizeof *cosines, e));
    CPT_TRY(draw_pairs(n, usable, n_random, ctx ? ctx->seed : 0, random, e));
    for (int32_t c = 0; c < pairs->n_concepts; c++) {
        CPT_TRY(cpt_check_stop(ctx, e));
        rest_of_concept(pairs, c, a, dim, decoder + (int64_t)c * dim, n_random, random, scratch,
                        cosines, &rest[c], &along[c]);
    }
done:
    free(random);
    free(scratch);
    free(cosines);
    return status;
}

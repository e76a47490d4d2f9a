/* ranking_areas.c - intervals and paired tests over concepts and their pairs.
 *
 * A concept is the unit of inference: its pairs share prototypes' neighbourhoods and the ranking
 * that is judged. So the bootstrap draws concepts first and pairs within each drawn concept (two
 * stages), and the test flips signs of concepts. Concepts of one dictionary are not independent of
 * each other either: the intervals speak of concepts like these, in this study. */
#include "evaluate/ranking_areas.h"

#include "base/memory.h"
#include "base/random.h"
#include "math/statistics.h"

#include <math.h>
#include <stdlib.h>

static const double LOW = 0.025, HIGH = 0.975;
enum { EXACT_UP_TO = 16 };

static double pair_value(const cpt_pair_values_by_concept *v, int64_t pair, int32_t ranking,
                         int32_t against)
{
    const double *row = v->values + pair * v->n_rankings;
    return against < 0 ? row[ranking] : row[ranking] - row[against];
}

double cpt_concept_mean(const cpt_pair_values_by_concept *v, int32_t concept, int32_t ranking,
                        int32_t against)
{
    double sum = 0;
    int64_t n = 0;
    for (int64_t i = v->first[concept]; i < v->first[concept + 1]; i++) {
        const double x = pair_value(v, i, ranking, against);
        if (isnan(x)) continue;
        sum += x;
        n++;
    }
    return n ? sum / (double)n : NAN;
}

/* Mean of as many draws with replacement as there are values. */
static double resampled_mean(int64_t n, const double *values, cpt_stream *s)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += values[cpt_stream_below(s, (uint64_t)n)];
    return sum / (double)n;
}

static int ascending(const void *x, const void *y)
{
    const double *a = x, *b = y;
    return (*a > *b) - (*a < *b);
}

static void percentiles(int32_t n, double *draws, double *low, double *high)
{
    qsort(draws, (size_t)n, sizeof *draws, ascending);
    *low = n ? cpt_quantile_sorted(n, draws, LOW) : NAN;
    *high = n ? cpt_quantile_sorted(n, draws, HIGH) : NAN;
}

/* Usable values one concept after the other: values, first [n_concepts + 1]; returns how many
 * concepts have any. */
static int32_t gather(const cpt_pair_values_by_concept *v, int32_t ranking, int32_t against,
                      double *values, int64_t *first)
{
    int32_t n_concepts = 0;
    int64_t n = 0;
    first[0] = 0;
    for (int32_t c = 0; c < v->n_concepts; c++) {
        for (int64_t i = v->first[c]; i < v->first[c + 1]; i++) {
            const double x = pair_value(v, i, ranking, against);
            if (!isnan(x)) values[n++] = x;
        }
        if (n > first[n_concepts]) first[++n_concepts] = n;
    }
    return n_concepts;
}

static void describe(int32_t n, const int64_t *first, const double *values, cpt_interval *out)
{
    double square = 0;
    out->n_concepts = n;
    out->n_pairs = first[n];
    for (int pass = 0; pass < 2; pass++)
        for (int32_t c = 0; c < n; c++) {
            double sum = 0;
            for (int64_t i = first[c]; i < first[c + 1]; i++) sum += values[i];
            const double mean = sum / (double)(first[c + 1] - first[c]);
            if (pass == 0) out->mean += mean / n;
            else square += (mean - out->mean) * (mean - out->mean);
        }
    out->sd = n > 1 ? sqrt(square / (n - 1)) : NAN;
}

cpt_status cpt_interval_over_concepts(const cpt_pair_values_by_concept *v, int32_t ranking,
                                      int32_t against, int32_t n_resamples, uint64_t item,
                                      cpt_interval *out, const cpt_context *ctx, cpt_err *e)
{
    cpt_status status;
    double *values = NULL, *draws = NULL;
    int64_t *first = NULL;
    *out = (cpt_interval){.low = NAN, .high = NAN};
    CPT_TRY(cpt_alloc(&values, (size_t)v->first[v->n_concepts], sizeof *values, e));
    CPT_TRY(cpt_alloc(&first, (size_t)v->n_concepts + 1, sizeof *first, e));
    CPT_TRY(cpt_alloc(&draws, (size_t)n_resamples, sizeof *draws, e));
    const int32_t n = gather(v, ranking, against, values, first);
    if (n == 0) {
        out->mean = out->sd = NAN;
        goto done;
    }
    describe(n, first, values, out);
    for (int32_t r = 0; r < n_resamples; r++) {
        cpt_stream s;
        cpt_stream_init(&s, ctx ? ctx->seed : 0, CPT_RANDOM_INTERVAL, item << 32 | (uint64_t)r);
        for (int32_t i = 0; i < n; i++) {
            const uint64_t c = cpt_stream_below(&s, (uint64_t)n);
            draws[r] += resampled_mean(first[c + 1] - first[c], values + first[c], &s) / n;
        }
    }
    percentiles(n_resamples, draws, &out->low, &out->high);
done:
    free(values);
    free(first);
    free(draws);
    return status;
}

cpt_status cpt_concept_interval(const cpt_pair_values_by_concept *v, int32_t concept,
                                int32_t ranking, int32_t against, int32_t n_resamples, double *low,
                                double *high, const cpt_context *ctx, cpt_err *e)
{
    cpt_status status;
    double *values = NULL, *draws = NULL;
    int64_t n = 0;
    cpt_stream s;
    *low = *high = NAN;
    CPT_TRY(
        cpt_alloc(&values, (size_t)(v->first[concept + 1] - v->first[concept]), sizeof *values, e));
    CPT_TRY(cpt_alloc(&draws, (size_t)n_resamples, sizeof *draws, e));
    for (int64_t i = v->first[concept]; i < v->first[concept + 1]; i++) {
        const double x = pair_value(v, i, ranking, against);
        if (!isnan(x)) values[n++] = x;
    }
    if (n < 2) goto done;
    cpt_stream_init(&s, ctx ? ctx->seed : 0, CPT_RANDOM_INTERVAL,
                    (uint64_t) concept << 16 | (uint64_t)(ranking & 0xFF) << 8 |
                        (uint64_t)(against & 0xFF));
    for (int32_t r = 0; r < n_resamples; r++) draws[r] = resampled_mean(n, values, &s);
    percentiles(n_resamples, draws, low, high);
done:
    free(values);
    free(draws);
    return status;
}

double cpt_sign_flip_p(int32_t n, const double *values, int32_t n_flips, uint64_t seed,
                       uint64_t item)
{
    double total = 0;
    if (n < 1) return NAN;
    for (int32_t i = 0; i < n; i++) total += values[i];
    const double limit = fabs(total) * (1 - 1e-12);
    if (n <= EXACT_UP_TO) {
        int64_t reached = 0;
        for (int64_t mask = 0; mask < (int64_t)1 << n; mask++) {
            double sum = 0;
            for (int32_t i = 0; i < n; i++) sum += mask >> i & 1 ? -values[i] : values[i];
            reached += fabs(sum) >= limit;
        }
        return (double)reached / (double)((int64_t)1 << n);
    }
    cpt_stream s;
    int32_t reached = 0;
    cpt_stream_init(&s, seed, CPT_RANDOM_INTERVAL, item << 32 | 0xFFFFFFFF);
    for (int32_t f = 0; f < n_flips; f++) {
        double sum = 0;
        uint32_t bits = 0;
        for (int32_t i = 0; i < n; i++) {
            if (i % 32 == 0) bits = cpt_stream_u32(&s);
            sum += bits & 1 ? -values[i] : values[i];
            bits >>= 1;
        }
        reached += fabs(sum) >= limit;
    }
    return (1.0 + reached) / (1.0 + n_flips);
}

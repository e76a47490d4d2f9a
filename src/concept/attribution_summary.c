/* attribution_summary.c - from the values of a concept's pairs to mean, interval and p per gene.
 *
 * Problem: for each of thousands of genes, is the mean attribution over some tens of pairs other than
 * chance, and how sure is it.
 * Method: percentile bootstrap over pairs (Efron 1979) and a sign-flip permutation test of the mean
 * (Fisher 1935): under the null an attribution is as likely to be positive as negative. Resamples and
 * flips are drawn once per concept and shared by its genes, so that both are products of a chunk of
 * genes with [pairs][resamples]. With at most 20 values that are not 0 all 2^n flips are
 * counted, not drawn: the sums of two halves, each kept sorted by merging, meet in the middle
 * (Horowitz and Sahni 1974), O(2^(n/2)) instead of O(2^n).
 * Complexity: per gene O(pairs * (flips + resamples)) multiply-adds, or O(2^(n/2)).
 * Traps: ties with the observed sum count as extreme, and rounding must not lose them (attributions are
 * often exactly 1 in many pairs, where the concept lost its place), hence the slack in both tests. The
 * drawn p counts the observed arrangement itself (Phipson and Smyth 2010) and is never 0. */
#include "concept/attribution_internal.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "concept/failure.h"
#include "math/resample.h"
#include "math/statistics.h"

enum { GENES = 64, FLIP_TILE = 1024, EXACT_VALUES = 20, HALF_SUMS = 1024 };

/* ---- exact sign flips ---- */

/* All 2^n sums base + sum of +-values, ascending, into out; other is scratch. Both hold 2^n + 1: the
 * last is a guard. Each value merges the list lowered by it with the list raised by it. */
static void sorted_sums(int32_t n, const double *values, double base, double *out, double *other)
{
    int32_t size = 1;
    double *from = n % 2 ? other : out, *to = n % 2 ? out : other; /* the last one is `out` */
    from[0] = base;
    for (int32_t i = 0; i < n; i++) {
        double v = fabs(values[i]);
        from[size] = INFINITY;
        for (int32_t low = 0, high = 0, at = 0; at < 2 * size; at++) { /* without branches */
            double lowered = from[low] - v, raised = from[high] + v;
            bool take_low = lowered <= raised;
            to[at] = take_low ? lowered : raised;
            low += take_low;
            high += !take_low;
        }
        double *swap = from;
        from = to;
        to = swap;
        size *= 2;
    }
}

/* Number of (i, j) with a[i] + b[j] >= limit, both ascending. */
static int64_t count_at_least(const double *a, int32_t n_a, const double *b, int32_t n_b, double limit)
{
    int64_t count = 0;
    for (int32_t i = 0, j = n_b; i < n_a; i++) {
        while (j > 0 && a[i] + b[j - 1] >= limit) j--;
        count += n_b - j;
    }
    return count;
}

static int64_t count_at_most(const double *a, int32_t n_a, const double *b, int32_t n_b, double limit)
{
    int64_t count = 0;
    for (int32_t i = 0, j = n_b; i < n_a; i++) {
        while (j > 0 && a[i] + b[j - 1] > limit) j--;
        count += j;
    }
    return count;
}

double cpt_sign_flip_exact(int32_t n, const double *values, double *scratch)
{
    double sum = 0, size = 0;
    for (int32_t i = 0; i < n; i++) {
        sum += values[i];
        size += fabs(values[i]);
    }
    double limit = fabs(sum) - 1e-12 * size;
    if (n == 0 || limit <= 0) return 1;
    /* All flips come in pairs of opposite sums: the first value keeps its sign, the others split. */
    int32_t n_a = (n - 1) / 2, n_b = n - 1 - n_a;
    double *a = scratch, *b = a + HALF_SUMS + 1, *other = b + HALF_SUMS + 1;
    sorted_sums(n_a, values + 1, values[0], a, other);
    sorted_sums(n_b, values + 1 + n_a, 0, b, other);
    int64_t count = count_at_least(a, 1 << n_a, b, 1 << n_b, limit) +
                    count_at_most(a, 1 << n_a, b, 1 << n_b, -limit);
    return (double)count / (double)((int64_t)1 << (n - 1));
}

/* ---- draws shared by the genes of a concept ---- */

typedef struct draws {
    int32_t n_pairs, n_resamples, n_flips;
    int64_t weight_stride, sign_stride;
    float *weights; /* [n_pairs][weight_stride] share of each pair in each resample */
    float *signs;   /* [n_pairs][sign_stride] +1 or -1 */
} draws;

static void draw_weights(draws *d, uint64_t seed, int32_t concept)
{
    cpt_stream s;
    cpt_stream_init(&s, seed, CPT_RANDOM_BOOTSTRAP, (uint64_t)concept);
    for (int32_t r = 0; r < d->n_resamples; r++)
        for (int32_t i = 0; i < d->n_pairs; i++)
            d->weights[(int64_t)cpt_stream_below(&s, (uint64_t)d->n_pairs) * d->weight_stride + r] +=
                1.0f / (float)d->n_pairs;
}

static void draw_signs(draws *d, uint64_t seed, int32_t concept)
{
    cpt_stream s;
    uint32_t bits = 0;
    cpt_stream_init(&s, seed, CPT_RANDOM_SIGN_FLIP, (uint64_t)concept);
    for (int32_t f = 0; f < d->n_flips; f++)
        for (int32_t i = 0; i < d->n_pairs; i++) {
            if (i % 32 == 0) bits = cpt_stream_u32(&s);
            d->signs[i * d->sign_stride + f] = bits >> (i % 32) & 1 ? 1.0f : -1.0f;
        }
}

static cpt_status draws_make(draws *d, int32_t n_pairs, int32_t concept, const cpt_attribution_options *o,
                             uint64_t seed, cpt_err *e)
{
    cpt_status status;
    *d = (draws){.n_pairs = n_pairs, .n_resamples = o->n_bootstrap};
    if (n_pairs > EXACT_VALUES) d->n_flips = o->n_sign_flips;
    d->weight_stride = cpt_resample_stride(d->n_resamples);
    d->sign_stride = cpt_resample_stride(d->n_flips);
    CPT_TRY(cpt_alloc(&d->weights, (size_t)n_pairs * (size_t)d->weight_stride, sizeof *d->weights, e));
    CPT_TRY(cpt_alloc(&d->signs, (size_t)n_pairs * (size_t)d->sign_stride, sizeof *d->signs, e));
    draw_weights(d, seed, concept);
    draw_signs(d, seed, concept);
done:
    return status;
}

static void draws_free(draws *d)
{
    free(d->weights);
    free(d->signs);
}

/* ---- a chunk of genes ---- */

typedef struct chunk {
    int32_t n;             /* genes packed: those with a value that is not 0 */
    int32_t genes[GENES];
    int32_t n_nonzero[GENES];
    float *values;         /* [GENES][n_pairs] */
    float *means;          /* [GENES][weight_stride] */
    float *tail;           /* [n_resamples] */
    double *scratch;       /* [4 * HALF_SUMS] */
} chunk;

static void chunk_free(chunk *k)
{
    free(k->values);
    free(k->means);
    free(k->tail);
    free(k->scratch);
}

static cpt_status chunk_make(chunk *k, const draws *d, cpt_err *e)
{
    cpt_status status;
    *k = (chunk){0};
    CPT_TRY(cpt_alloc(&k->values, (size_t)GENES * (size_t)d->n_pairs, sizeof *k->values, e));
    CPT_TRY(cpt_alloc(&k->means, (size_t)GENES * (size_t)d->weight_stride, sizeof *k->means, e));
    CPT_TRY(cpt_alloc(&k->tail, (size_t)d->n_resamples, sizeof *k->tail, e));
    status = cpt_alloc(&k->scratch, 4 * HALF_SUMS, sizeof *k->scratch, e);
done:
    return status;
}

/* Moments of one gene over the pairs, straight into the result. */
static void describe_gene(const cpt_pair_values *v, int32_t gene, int64_t at, cpt_attribution *out,
                          int32_t *n_nonzero)
{
    double sum = 0, other = 0, squares = 0;
    int32_t differs = 0, nonzero = 0, same = 0;
    for (int32_t i = 0; i < v->n_pairs; i++) {
        int64_t k = (int64_t)i * v->n_genes + gene;
        sum += v->chosen[k];
        if (v->other) other += v->other[k];
        differs += v->differs[k];
        nonzero += v->chosen[k] != 0;
    }
    double mean = sum / v->n_pairs;
    for (int32_t i = 0; i < v->n_pairs; i++) {
        double x = v->chosen[(int64_t)i * v->n_genes + gene];
        squares += (x - mean) * (x - mean);
        same += x * mean > 0;
    }
    out->mean[at] = (float)mean;
    if (v->other) out->mean_other[at] = (float)(other / v->n_pairs);
    out->sd[at] = v->n_pairs > 1 ? (float)sqrt(squares / (v->n_pairs - 1)) : NAN;
    out->n[at] = differs;
    out->same_sign[at] = nonzero ? (float)same / (float)nonzero : NAN;
    *n_nonzero = nonzero;
}

/* Describes genes [first, first + n); those with values are packed, the others are settled here. */
static void chunk_fill(chunk *k, const cpt_pair_values *v, int32_t first, int32_t n, int64_t row,
                       const cpt_attribution_options *o, cpt_attribution *out)
{
    k->n = 0;
    for (int32_t gene = first; gene < first + n; gene++) {
        int32_t nonzero;
        describe_gene(v, gene, row + gene, out, &nonzero);
        if (o->n_bootstrap) out->low[row + gene] = out->high[row + gene] = 0;
        if (nonzero == 0) {
            if (o->n_sign_flips && out->n[row + gene] > 0) out->p[row + gene] = 1;
            continue;
        }
        for (int32_t i = 0; i < v->n_pairs; i++)
            k->values[(int64_t)k->n * v->n_pairs + i] = v->chosen[(int64_t)i * v->n_genes + gene];
        k->n_nonzero[k->n] = nonzero;
        k->genes[k->n++] = gene;
    }
}

/* Hoare's selection: afterwards x[k] is the k-th smallest, nothing before it is larger, nothing after
 * it is smaller. */
static float select_nth(float *x, int32_t n, int32_t k)
{
    for (int32_t low = 0, high = n - 1; low < high;) {
        float pivot = x[low + (high - low) / 2];
        int32_t i = low, j = high;
        while (i <= j) {
            while (x[i] < pivot) i++;
            while (x[j] > pivot) j--;
            if (i > j) break;
            float swap = x[i];
            x[i++] = x[j];
            x[j--] = swap;
        }
        if (k <= j) high = j;
        else if (k >= i) low = i;
        else break;
    }
    return x[k];
}

/* Copies the values that sign * x puts at or below `guess` to tail, sign applied; all of them when
 * those are fewer than `need`. Returns how many. */
static int32_t cut_tail(const float *x, int32_t n, float sign, float guess, int32_t need, float *tail)
{
    int32_t size = 0;
    for (int32_t i = 0; i < n; i++) {
        tail[size] = sign * x[i];
        size += tail[size] <= guess;
    }
    if (size >= need) return size;
    for (int32_t i = 0; i < n; i++) tail[i] = sign * x[i];
    return n;
}

/* Quantile `share` (below one half) of sign * x by linear interpolation between order statistics
 * (type 7). Only the tail is searched; a bad guess of where it begins costs time, nothing else. */
static float tail_quantile(const float *x, int32_t n, float sign, float guess, double share, float *tail)
{
    double position = share * (n - 1);
    int32_t k = (int32_t)position, next = k + 1 < n ? k + 1 : k;
    int32_t size = cut_tail(x, n, sign, guess, next + 1, tail);
    float low = select_nth(tail, size, k), high = low;
    if (next > k) {
        high = tail[next];
        for (int32_t i = next + 1; i < size; i++)
            if (tail[i] < high) high = tail[i];
    }
    return (float)(low + (position - k) * ((double)high - low));
}

/* The tails are guessed to begin 1.65 standard errors from the mean, where a normal distribution has
 * twice the values that the quantiles need. */
static void chunk_bootstrap(chunk *k, const draws *d, int64_t row, cpt_attribution *out)
{
    int32_t n = d->n_resamples;
    if (n == 0) return;
    cpt_resample_kernels_get()->sums(k->n, d->n_pairs, k->values, d->weight_stride, d->weights, k->means);
    for (int32_t g = 0; g < k->n; g++) {
        const float *means = k->means + g * d->weight_stride;
        int64_t at = row + k->genes[g];
        float mean = out->mean[at], reach = d->n_pairs > 1 ? 1.65f * out->sd[at] / sqrtf((float)d->n_pairs) : 0;
        out->low[at] = tail_quantile(means, n, 1, mean - reach, 0.025, k->tail);
        out->high[at] = -tail_quantile(means, n, -1, -mean - reach, 0.025, k->tail);
    }
}

static double exact_p(const float *values, int32_t n_pairs, double *scratch)
{
    double nonzero[EXACT_VALUES];
    int32_t n = 0;
    for (int32_t i = 0; i < n_pairs; i++)
        if (values[i] != 0) nonzero[n++] = values[i];
    return cpt_sign_flip_exact(n, nonzero, scratch);
}

/* |sum| that counts as at least the observed one; the slack covers the product's rounding. */
static float drawn_limit(const float *values, int32_t n)
{
    double sum = 0, size = 0;
    for (int32_t i = 0; i < n; i++) {
        sum += values[i];
        size += fabs((double)values[i]);
    }
    return (float)(fabs(sum) - (n + 2) * (double)FLT_EPSILON * size);
}

/* Packs the genes with too many values for the exact test to the front; settles the others. */
static void settle_exact(chunk *k, int32_t n_pairs, int64_t row, cpt_attribution *out)
{
    int32_t kept = 0;
    for (int32_t g = 0; g < k->n; g++) {
        float *values = k->values + (int64_t)g * n_pairs;
        if (k->n_nonzero[g] <= EXACT_VALUES) {
            out->p[row + k->genes[g]] = exact_p(values, n_pairs, k->scratch);
            continue;
        }
        if (kept != g) memcpy(k->values + (int64_t)kept * n_pairs, values, (size_t)n_pairs * sizeof *values);
        k->genes[kept++] = k->genes[g];
    }
    k->n = kept;
}

/* Consumes the chunk. */
static void chunk_flip(chunk *k, const draws *d, int64_t row, cpt_attribution *out)
{
    float limits[GENES];
    int64_t counts[GENES], tile_counts[GENES];
    settle_exact(k, d->n_pairs, row, out);
    for (int32_t g = 0; g < k->n; g++) {
        limits[g] = drawn_limit(k->values + (int64_t)g * d->n_pairs, d->n_pairs);
        counts[g] = 0;
    }
    for (int32_t first = 0; first < d->n_flips; first += FLIP_TILE) { /* stays in the cache */
        int32_t n = d->n_flips - first < FLIP_TILE ? d->n_flips - first : FLIP_TILE;
        cpt_resample_kernels_get()->count_extreme(k->n, d->n_pairs, k->values, n, d->sign_stride,
                                                  d->signs + first, limits, tile_counts);
        for (int32_t g = 0; g < k->n; g++) counts[g] += tile_counts[g];
    }
    for (int32_t g = 0; g < k->n; g++)
        out->p[row + k->genes[g]] = (1.0 + (double)counts[g]) / (1.0 + d->n_flips);
}

static cpt_status summarise_chunk(const cpt_pair_values *v, const draws *d, int32_t first, int32_t n,
                                  int64_t row, const cpt_attribution_options *o, cpt_attribution *out,
                                  cpt_err *e)
{
    chunk k;
    cpt_status status = chunk_make(&k, d, e);
    if (status == CPT_OK) {
        chunk_fill(&k, v, first, n, row, o, out);
        if (k.n) {
            chunk_bootstrap(&k, d, row, out);
            if (o->n_sign_flips) chunk_flip(&k, d, row, out);
        }
    }
    chunk_free(&k);
    return status;
}

cpt_status cpt_attribution_summarise(const cpt_pair_values *v, int32_t concept,
                                     const cpt_attribution_options *o, const cpt_context *ctx,
                                     cpt_attribution *out, cpt_err *e)
{
    draws d;
    cpt_failure failure = {.status = CPT_OK};
    int32_t n_chunks = (v->n_genes + GENES - 1) / GENES;
    int64_t row = (int64_t)concept * v->n_genes;
    cpt_status status;

    CPT_TRY(draws_make(&d, v->n_pairs, concept, o, ctx ? ctx->seed : 0, e));
#pragma omp parallel for schedule(dynamic) num_threads(cpt_threads(ctx))
    for (int32_t k = 0; k < n_chunks; k++) {
        cpt_err err;
        int32_t first = k * GENES, n = v->n_genes - first < GENES ? v->n_genes - first : GENES;
        cpt_failure_note(&failure, summarise_chunk(v, &d, first, n, row, o, out, &err), k, &err);
    }
    CPT_TRY(cpt_failure_status(&failure, e));
    if (o->n_sign_flips) status = cpt_bh(v->n_genes, out->p + row, 0, out->q + row, e);
done:
    draws_free(&d);
    return status;
}

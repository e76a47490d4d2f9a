/* agreement.c - agreement of ratings, and ratings of concepts against those of controls.
 *
 * Weighted kappa      1 - sum w o / sum w e, w = (i - j)^2, e from the two margins (Cohen 1968,
 *                     Psychol. Bull. 70:213).
 * Fleiss' kappa       (P - Pe) / (1 - Pe), P = mean over units of the share of agreeing pairs
 * (1971, Psychol. Bull. 76:378). Krippendorff's      1 - (n - 1) sum o d / sum n_c n_k d, o the
 * coincidences (each pair of ratings of a alpha               unit weighs 1 / (m - 1)), d = (n_c /
 * 2 + n_between + n_k / 2)^2 the ordinal metric.
 *
 * Bootstrap and permutation resample UNITS, never single ratings: ratings of one unit by several
 * experts, and repeats, depend on each other. All O(replicates x ratings).
 *
 * Trap: a statistic over raters who rated both kinds can lose a rater in a bootstrap draw; such
 * draws use the raters that are left, and are passed over when none is. */
#include "evaluate/agreement.h"

#include "base/memory.h"
#include "base/random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX = CPT_RATING_CATEGORIES_MAX };

static bool in_range(int32_t rating, int32_t n_categories)
{
    return rating >= 1 && rating <= n_categories;
}

cpt_kappa cpt_kappa_weighted(const int32_t *a, const int32_t *b, int32_t n_units,
                             int32_t n_categories)
{
    double rows[MAX] = {0}, columns[MAX] = {0}, observed = 0, expected = 0;
    cpt_kappa k = {.kappa = NAN, .exact = NAN};
    int32_t equal = 0;
    for (int32_t i = 0; i < n_units; i++) {
        if (!in_range(a[i], n_categories) || !in_range(b[i], n_categories)) continue;
        rows[a[i] - 1]++;
        columns[b[i] - 1]++;
        observed += (double)(a[i] - b[i]) * (a[i] - b[i]);
        equal += a[i] == b[i];
        k.n++;
    }
    if (k.n == 0) return k;
    for (int32_t i = 0; i < n_categories; i++)
        for (int32_t j = 0; j < n_categories; j++)
            expected += (double)(i - j) * (i - j) * rows[i] * columns[j] / k.n;
    k.exact = (double)equal / k.n;
    if (expected > 0) k.kappa = 1 - observed / expected;
    return k;
}

/* How often each category was given to a unit; returns the number of ratings. */
static int32_t tally(const cpt_ratings *r, int32_t unit, double counts[MAX])
{
    int32_t n = 0;
    memset(counts, 0, MAX * sizeof *counts);
    for (int32_t i = 0; i < r->n_raters; i++) {
        int32_t rating = r->ratings[(int64_t)i * r->n_units + unit];
        if (!in_range(rating, r->n_categories)) continue;
        counts[rating - 1]++;
        n++;
    }
    return n;
}

double cpt_kappa_fleiss(const cpt_ratings *r, int32_t *n_units)
{
    double counts[MAX], totals[MAX] = {0}, agreeing = 0, chance = 0;
    const double m = r->n_raters;
    *n_units = 0;
    for (int32_t u = 0; u < r->n_units; u++) {
        if (r->n_raters < 2 || tally(r, u, counts) < r->n_raters) continue;
        (*n_units)++;
        for (int32_t c = 0; c < r->n_categories; c++) {
            totals[c] += counts[c];
            agreeing += counts[c] * (counts[c] - 1) / (m * (m - 1));
        }
    }
    if (*n_units == 0) return NAN;
    agreeing /= *n_units;
    for (int32_t c = 0; c < r->n_categories; c++) chance += pow(totals[c] / (m * *n_units), 2);
    return chance < 1 ? (agreeing - chance) / (1 - chance) : NAN;
}

double cpt_alpha_ordinal(const cpt_ratings *r, int32_t *n_units)
{
    double coincidences[MAX][MAX] = {{0}}, margins[MAX] = {0}, counts[MAX], n = 0;
    *n_units = 0;
    for (int32_t u = 0; u < r->n_units; u++) {
        int32_t m = tally(r, u, counts);
        if (m < 2) continue;
        (*n_units)++;
        for (int32_t c = 0; c < r->n_categories; c++) {
            margins[c] += counts[c];
            n += counts[c];
            for (int32_t k = 0; k < r->n_categories; k++)
                coincidences[c][k] += counts[c] * (counts[k] - (c == k)) / (m - 1);
        }
    }
    double observed = 0, expected = 0;
    for (int32_t c = 0; c < r->n_categories; c++) {
        double between = margins[c] / 2;
        for (int32_t k = c + 1; k < r->n_categories; k++) {
            double d = pow(between + margins[k] / 2, 2);
            between += margins[k];
            observed += coincidences[c][k] * d;
            expected += margins[c] * margins[k] * d;
        }
    }
    return expected > 0 ? 1 - (n - 1) * observed / expected : NAN;
}

/* ---- intervals ---- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* 2.5 and 97.5 % of n values, which are sorted in place. */
static void percentiles(double *values, int64_t n, double *low, double *high)
{
    *low = *high = NAN;
    if (n < 2) return;
    qsort(values, (size_t)n, sizeof *values, by_value);
    *low = values[(int64_t)floor(0.025 * (double)(n - 1))];
    *high = values[(int64_t)ceil(0.975 * (double)(n - 1))];
}

static double unit_mean(const cpt_ratings *r, int32_t unit, int32_t *n)
{
    double sum = 0;
    *n = 0;
    for (int32_t i = 0; i < r->n_raters; i++) {
        int32_t rating = r->ratings[(int64_t)i * r->n_units + unit];
        if (!in_range(rating, r->n_categories)) continue;
        sum += rating;
        (*n)++;
    }
    return *n ? sum / *n : NAN;
}

cpt_status cpt_rating_mean_of(const cpt_ratings *r, const int32_t *kinds, int32_t kind,
                              int32_t n_bootstrap, uint64_t seed, cpt_rating_mean *out, cpt_err *e)
{
    double *means = NULL, *draws = NULL, sum = 0;
    cpt_status status;
    *out = (cpt_rating_mean){.mean = NAN, .low = NAN, .high = NAN};
    CPT_TRY(cpt_alloc(&means, (size_t)r->n_units, sizeof *means, e));
    CPT_TRY(cpt_alloc(&draws, (size_t)n_bootstrap, sizeof *draws, e));
    for (int32_t u = 0; u < r->n_units; u++) {
        int32_t n;
        double mean = kinds[u] == kind ? unit_mean(r, u, &n) : NAN;
        if (isnan(mean)) continue;
        means[out->n_units++] = mean;
        out->n_ratings += n;
        sum += mean;
    }
    if (out->n_units) out->mean = sum / out->n_units;
    if (out->n_units < 2) goto done;
    for (int32_t b = 0; b < n_bootstrap; b++) {
        cpt_stream s;
        cpt_stream_init(&s, seed, CPT_RANDOM_AGREEMENT, (uint64_t)kind << 32 | (uint32_t)b);
        for (int32_t i = 0; i < out->n_units; i++)
            draws[b] += means[cpt_stream_below(&s, (uint64_t)out->n_units)];
        draws[b] /= out->n_units;
    }
    percentiles(draws, n_bootstrap, &out->low, &out->high);
done:
    free(means);
    free(draws);
    return status;
}

/* ---- one kind against another ---- */

/* The units of both kinds, those of kind a first, and what the raters who rated both gave them. */
typedef struct contrast {
    int32_t n_raters, n_units, n_a;
    int32_t *ratings;  /* [n_raters][n_units], 0 = none */
    int32_t *stratum;  /* [n_units] units rated by the same raters have the same number */
    int32_t *members;  /* [n_units] units by stratum */
    int32_t *shuffled; /* [n_units] scratch */
    int32_t *units; /* [n_units] scratch: which unit stands at a place; the first n_a play kind a */
} contrast;

/* Over places 0..n_a-1 against n_a..n_units-1, of the units standing there. */
static double difference_of(const contrast *c)
{
    double sum = 0;
    int32_t n_raters = 0;
    for (int32_t i = 0; i < c->n_raters; i++) {
        const int32_t *row = c->ratings + (int64_t)i * c->n_units;
        int64_t total[2] = {0, 0}, n[2] = {0, 0};
        for (int32_t u = 0; u < c->n_units; u++) {
            int32_t rating = row[c->units[u]];
            total[u >= c->n_a] += rating;
            n[u >= c->n_a] += rating > 0;
        }
        if (n[0] == 0 || n[1] == 0) continue;
        sum += (double)total[0] / (double)n[0] - (double)total[1] / (double)n[1];
        n_raters++;
    }
    return n_raters ? sum / n_raters : NAN;
}

static bool rated_both(const cpt_ratings *r, int32_t rater, const int32_t *kinds, int32_t a,
                       int32_t b)
{
    bool has_a = false, has_b = false;
    for (int32_t u = 0; u < r->n_units; u++) {
        bool rated = in_range(r->ratings[(int64_t)rater * r->n_units + u], r->n_categories);
        has_a |= rated && kinds[u] == a;
        has_b |= rated && kinds[u] == b;
    }
    return has_a && has_b;
}

static bool same_raters(const contrast *c, int32_t u, int32_t v)
{
    for (int32_t i = 0; i < c->n_raters; i++) {
        const int32_t *row = c->ratings + (int64_t)i * c->n_units;
        if ((row[u] > 0) != (row[v] > 0)) return false;
    }
    return true;
}

static void find_strata(contrast *c)
{
    int32_t n = 0;
    for (int32_t u = 0; u < c->n_units; u++) {
        c->stratum[u] = u;
        for (int32_t v = 0; v < u; v++)
            if (c->stratum[v] == v && same_raters(c, u, v)) {
                c->stratum[u] = v;
                break;
            }
    }
    for (int32_t first = 0; first < c->n_units; first++)
        for (int32_t u = first; u < c->n_units && c->stratum[first] == first; u++)
            if (c->stratum[u] == first) c->members[n++] = u;
}

static cpt_status gather(const cpt_ratings *r, const int32_t *kinds, int32_t a, int32_t b,
                         contrast *c, cpt_err *e)
{
    cpt_status status;
    size_t n = (size_t)r->n_units, m = (size_t)r->n_raters;
    int32_t *raters = NULL, kind[2] = {a, b};
    CPT_TRY(cpt_alloc(&raters, m, sizeof *raters, e));
    CPT_TRY(cpt_alloc(&c->units, n, sizeof *c->units, e));
    CPT_TRY(cpt_alloc(&c->stratum, n, sizeof *c->stratum, e));
    CPT_TRY(cpt_alloc(&c->members, n, sizeof *c->members, e));
    CPT_TRY(cpt_alloc(&c->shuffled, n, sizeof *c->shuffled, e));
    for (int32_t i = 0; i < r->n_raters; i++)
        if (rated_both(r, i, kinds, a, b)) raters[c->n_raters++] = i;
    for (int side = 0; side < 2; side++) {
        for (int32_t u = 0; u < r->n_units; u++) {
            bool rated = false;
            for (int32_t i = 0; i < c->n_raters && !rated; i++)
                rated = in_range(r->ratings[(int64_t)raters[i] * r->n_units + u], r->n_categories);
            if (kinds[u] == kind[side] && rated) c->units[c->n_units++] = u;
        }
        if (side == 0) c->n_a = c->n_units;
    }
    CPT_TRY(
        cpt_alloc(&c->ratings, (size_t)c->n_raters * (size_t)c->n_units, sizeof *c->ratings, e));
    for (int32_t i = 0; i < c->n_raters; i++)
        for (int32_t u = 0; u < c->n_units; u++) {
            int32_t rating = r->ratings[(int64_t)raters[i] * r->n_units + c->units[u]];
            c->ratings[(int64_t)i * c->n_units + u] =
                in_range(rating, r->n_categories) ? rating : 0;
        }
    for (int32_t u = 0; u < c->n_units; u++) c->units[u] = u;
    find_strata(c);
done:
    free(raters);
    return status;
}

/* Shuffles the units within strata: who stands on the side of kind a is then chance. */
static void permute(contrast *c, cpt_stream *s)
{
    memcpy(c->shuffled, c->members, (size_t)c->n_units * sizeof *c->shuffled);
    for (int32_t first = 0, end; first < c->n_units; first = end) {
        int32_t stratum = c->stratum[c->members[first]];
        for (end = first; end < c->n_units && c->stratum[c->members[end]] == stratum;) end++;
        cpt_stream_shuffle_i32(s, c->shuffled + first, end - first);
    }
    for (int32_t i = 0; i < c->n_units; i++) c->units[c->members[i]] = c->shuffled[i];
}

static void resample(contrast *c, cpt_stream *s)
{
    for (int32_t u = 0; u < c->n_units; u++) {
        bool is_a = u < c->n_a;
        int32_t first = is_a ? 0 : c->n_a, n = is_a ? c->n_a : c->n_units - c->n_a;
        c->units[u] = first + (int32_t)cpt_stream_below(s, (uint64_t)n);
    }
}

cpt_status cpt_rating_compare(const cpt_ratings *r, const int32_t *kinds, int32_t a, int32_t b,
                              int32_t n_replicates, uint64_t seed, cpt_rating_contrast *out,
                              cpt_err *e)
{
    contrast c = {0};
    double *draws = NULL;
    int64_t n_draws = 0;
    int32_t as_large = 0;
    cpt_status status;
    *out = (cpt_rating_contrast){.difference = NAN, .low = NAN, .high = NAN, .p = NAN};
    CPT_TRY(gather(r, kinds, a, b, &c, e));
    CPT_TRY(cpt_alloc(&draws, (size_t)n_replicates, sizeof *draws, e));
    out->n_raters = c.n_raters;
    out->n_a = c.n_a;
    out->n_b = c.n_units - c.n_a;
    out->difference = difference_of(&c);
    if (isnan(out->difference)) goto done;
    for (int32_t i = 0; i < n_replicates; i++) {
        cpt_stream s;
        uint64_t side = (uint64_t)(a * MAX + b) << 34;
        cpt_stream_init(&s, seed, CPT_RANDOM_AGREEMENT, side | 1ULL << 33 | (uint32_t)i);
        permute(&c, &s);
        /* Equal differences in another order of sums must count as equal. */
        as_large += fabs(difference_of(&c)) >= fabs(out->difference) - 1e-12;
        cpt_stream_init(&s, seed, CPT_RANDOM_AGREEMENT, side | 2ULL << 33 | (uint32_t)i);
        resample(&c, &s);
        double draw = difference_of(&c);
        if (!isnan(draw)) draws[n_draws++] = draw;
    }
    out->n_permutations = n_replicates;
    out->p = (1.0 + as_large) / (1.0 + n_replicates);
    percentiles(draws, n_draws, &out->low, &out->high);
done:
    free(c.ratings);
    free(c.stratum);
    free(c.members);
    free(c.shuffled);
    free(c.units);
    free(draws);
    return status;
}

/* tilted.c - rare enrichment scores met often: subsets drawn with a preference, and weighed back.
 *
 * Problem    P(score >= s) of a random k-subset, for all s at once, down to 1e-50.
 * Method     The likeliest way to a high score that is reached at position t: genes before t come oftener the heavier
 *            they are, genes behind it come the less often the heavier they are. To first order in what one more
 *            gene adds to the score c / R - (t - m) / (n - k), its log odds of being a member become
 *                theta f(x),   f(x) = w(x) (1[x <= t] - c / R) / R + 1[x <= t] / (n - k),
 *            (an exponential tilt; Siegmund 1976; Bucklew, "Introduction to rare event simulation", 2004). Proposals
 *            are such tilts for some twenty t and as many strengths theta: the divergence from a uniform draw is m^2 / 2
 *            nats, m = 1, 2, ..., so that p of every size is somebody's ordinary case. All samples are pooled: a
 *            subset weighs its uniform probability over that of the mixture of all proposals (balance heuristic, Veach
 *            & Guibas 1995), so no weight is larger than the share of the proposal that likes it best allows.
 *            The list is cut into cells, narrow at its head; a tilt is constant within a cell, hence a subset's
 *            probability depends on its counts per cell only, and drawing is exact: the count of a cell given how many
 *            are still to come, from tables of the sums of binomials behind it, then positions within the cell.
 * Complexity (tilts * cells * k) for the tables, then n_samples * (k + cells + tilts): 0.1 s for 16,000 samples.
 * Error      Samples are independent: the variance is that of strata (the proposals). The estimate is unbiased
 *            whatever the proposals are; a poor one makes it noisy, not wrong, as long as no way to a high score
 *            is missed by all. Weights by rank leave no second way: they are bounded, and small where genes do not
 *            matter. (With one gene that outweighs all others there would be one.)
 */
#include "enrich/tilted.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "math/blas.h"
#include "math/sort.h"
#include "math/statistics.h"

enum { MOST_CELLS = 64, CELLS_PER_PLACE = 1, BATCH = 512, FEWEST_SAMPLES = 4, UNIFORM_SHARES = 4 };
static const double NEAR = 0.2;         /* of a strength: exact enough */
static const double MOST_ODDS = 30; /* ln: no gene is certain to be in or out */
static const double WORTHLESS = 12;    /* nats behind the best proposal for the same score: left out */
static const double REACH = 8.5;       /* standard deviations that tables span, */
static const double REACH_COUNT = 20;  /* and counts beside: tails below 1e-20 */

typedef struct grid {
    int32_t n, k, n_cells;
    int32_t edge[MOST_CELLS + 1];
    double width[MOST_CELLS], weight[MOST_CELLS]; /* genes, mean weight */
} grid;

/* A proposal. score: where tilts this strong usually get; divergence in nats. */
typedef struct tilt {
    int32_t place, strength, n_samples;
    double score, divergence, share;  /* share: of the samples of its strength */
    double chance[MOST_CELLS];        /* of a gene to be a member, before the size is fixed */
    double log_norm;                  /* ln probability of a set = sum of the log odds of its members - log_norm */
} tilt;

typedef struct sample {
    double score; /* -1 when the sum falls lower than it rises */
    double weight;
    int32_t tilt;
} sample;

/* Sums of binomials: row b [k + 1] = chances of the number of members in cells b and behind. */
typedef struct tables {
    double *row[MOST_CELLS + 1], *binomial[MOST_CELLS], *memory;
    int32_t low[MOST_CELLS + 1], high[MOST_CELLS + 1], least[MOST_CELLS], most[MOST_CELLS];
} tables;

typedef struct plan {
    grid grid;
    const double *weight;
    const cpt_tilted_options *o;
    tilt *tilts;
    size_t n_tilts, capacity;
    int32_t n_strengths, n_samples;
    tables tables;
    sample *samples;
    float *counts; /* [n_samples][n_cells] */
} plan;

/* ---- the list in cells ---- */

static void make_grid(int32_t n, const double *weight, int32_t k, grid *g)
{
    *g = (grid){.n = n, .k = k};
    for (int32_t j = 1, at = 0; at < n; j++) { /* edges at squares: cells of 1 to 3 % of the list */
        double part = (double)j / MOST_CELLS;
        int32_t edge = (int32_t)rint(n * part * part);
        if (edge <= at) continue;
        g->edge[++g->n_cells] = at = edge;
    }
    for (int32_t b = 0; b < g->n_cells; b++) {
        double sum = 0;
        for (int32_t x = g->edge[b]; x < g->edge[b + 1]; x++) sum += weight[x];
        g->width[b] = g->edge[b + 1] - g->edge[b];
        g->weight[b] = sum / g->width[b];
    }
}

/* ---- tilts ---- */

static double logit(double p) { return log(p / (1 - p)); }

/* Chances with log odds `odds` + *shift, which makes k members the mean; from a neighbour's *shift on. */
static void balance(const grid *g, const double *odds, double *shift, double *chance)
{
    double low = -800, high = 800, z = *shift;
    for (int turn = 0; turn < 100; turn++) {
        double sum = 0, slope = 0;
        for (int32_t b = 0; b < g->n_cells; b++) {
            double against = -odds[b] - z, p;
            against = against > MOST_ODDS ? MOST_ODDS : against < -MOST_ODDS ? -MOST_ODDS : against;
            chance[b] = p = 1 / (1 + exp(against));
            sum += g->width[b] * p;
            slope += g->width[b] * p * (1 - p);
        }
        if (fabs(sum - g->k) < 1e-3 * g->k) break; /* near enough: any chances will do */
        *(sum < g->k ? &low : &high) = z;
        double next = slope > 0 ? z - (sum - g->k) / slope : low;
        z = next > low && next < high ? next : 0.5 * (low + high);
    }
    *shift = z;
}

static double entropy_term(double p, double uniform)
{
    return p > 0 ? p * log(p / uniform) : 0;
}

/* What a mean subset of these chances looks like: c / R, R, the score, the divergence; shift of its odds. */
typedef struct look {
    double part, total, score, divergence, shift;
} look;

static look look_at(const grid *g, int32_t place, const double *chance)
{
    look l = {0};
    double inside = 0, before = 0, uniform = (double)g->k / g->n;
    for (int32_t b = 0; b < g->n_cells; b++) {
        double members = g->width[b] * chance[b], sum = members * g->weight[b];
        l.total += sum;
        if (b < place) inside += sum, before += members;
        l.divergence += g->width[b] * (entropy_term(chance[b], uniform) + entropy_term(1 - chance[b], 1 - uniform));
    }
    l.part = l.total > 0 ? inside / l.total : 0;
    l.score = l.part - (g->edge[place] - before) / (g->n - g->k);
    return l;
}

/* Chances for strength theta at the place. The functional f holds c / R and R of the mean subset, which the tilt
 * itself moves: iterated, from a neighbouring look on. */
static void lean(const grid *g, int32_t place, double theta, look *l, double *chance)
{
    enum { TURNS = 12 };
    double odds[MOST_CELLS], change = 1;
    for (int turn = 0; turn < TURNS && change > 1e-2; turn++) {
        for (int32_t b = 0; b < g->n_cells; b++) {
            double early = b < place, gain = g->weight[b] * (early - l->part) / l->total;
            odds[b] = theta * (gain + early / (g->n - g->k));
        }
        balance(g, odds, &l->shift, chance);
        look now = look_at(g, place, chance);
        change = fabs(now.part - l->part) + fabs(now.total / l->total - 1);
        l->part += 0.7 * (now.part - l->part);
        l->total += 0.7 * (now.total - l->total);
        l->score = now.score;
        l->divergence = now.divergence;
    }
}

/* Leans until the distance sqrt(2 divergence) is m: strength theta is first followed, then bracketed. It need not be
 * exact. false: no strength gets there, or the score leaves (0, 1). */
static bool reach(const grid *g, int32_t place, double m, double *theta, double guess, look *l, double *chance)
{
    enum { TURNS = 24 };
    double low = *theta, high = INFINITY, distance = 0, before = 0;
    *theta = guess;
    for (int turn = 0; turn < TURNS && fabs(distance - m) > NEAR; turn++) {
        if (turn) {
            *(distance < m ? &low : &high) = *theta;
            *theta = isinf(high) ? 1.5 * *theta : 0.5 * (low + high);
        }
        lean(g, place, *theta, l, chance);
        distance = sqrt(fmax(0, 2 * l->divergence));
        if (turn && isinf(high) && distance < m && distance < 1.002 * before) break; /* as far as it goes */
        before = distance;
    }
    return fabs(distance - m) < 0.5 && l->score > 0 && l->score < 1;
}

/* Proposals for one place, ever stronger, until p would be below eps or no subset is left to lean to. */
static cpt_status add_place(plan *x, int32_t place, double deepest, cpt_err *e)
{
    const grid *g = &x->grid;
    double theta = 0, before = 0, chance[MOST_CELLS];
    for (int32_t b = 0; b < g->n_cells; b++) chance[b] = (double)g->k / g->n;
    look l = look_at(g, place, chance);
    l.shift = logit(chance[0]);
    for (int32_t m = 1; 0.5 * m * m < deepest; m++) {
        double guess = m == 1 ? sqrt(g->k) : 2 * theta - before;
        before = theta;
        if (!reach(g, place, m, &theta, guess, &l, chance)) break;
        cpt_status status = cpt_grow(&x->tilts, &x->capacity, x->n_tilts + 1, sizeof *x->tilts, e);
        if (status) return status;
        tilt *t = &x->tilts[x->n_tilts++];
        *t = (tilt){.place = place, .strength = m, .score = l.score, .divergence = l.divergence};
        memcpy(t->chance, chance, sizeof chance);
        if (m > x->n_strengths) x->n_strengths = m;
    }
    return CPT_OK;
}

/* Least divergence with which tilts of another place reach the score; INFINITY when they do not. `from`: its first. */
static double price(const plan *x, size_t from, size_t end, double score)
{
    double last = 0, at = 0;
    for (size_t i = from; i < end; i++) {
        const tilt *t = &x->tilts[i];
        if (t->score >= score) {
            double part = t->score > last ? (score - last) / (t->score - last) : 1;
            double d = sqrt(2 * at) + fmax(0, part) * (sqrt(2 * t->divergence) - sqrt(2 * at));
            return 0.5 * d * d;
        }
        last = t->score;
        at = t->divergence;
    }
    return INFINITY;
}

/* Drops proposals that others better, and gives the rest their samples. */
static cpt_status allot(plan *x, cpt_err *e)
{
    double *sum = NULL;
    size_t kept = 0;
    cpt_status status;
    CPT_TRY(cpt_alloc(&sum, (size_t)x->n_strengths + 1, sizeof *sum, e));
    for (size_t i = 0; i < x->n_tilts; i++) {
        tilt *t = &x->tilts[i];
        double best = t->divergence;
        for (size_t from = 0, end; from < x->n_tilts; from = end) {
            for (end = from; end < x->n_tilts && x->tilts[end].place == x->tilts[from].place; end++) continue;
            best = fmin(best, price(x, from, end, t->score));
        }
        t->share = t->divergence - best > WORTHLESS ? 0 : exp(-(t->divergence - best) / 2);
        sum[t->strength] += t->share;
    }
    int32_t each = x->o->n_samples / (x->n_strengths + UNIFORM_SHARES);
    for (size_t i = 0; i < x->n_tilts; i++) {
        tilt *t = &x->tilts[i];
        t->n_samples = t->place < 0 ? each * UNIFORM_SHARES : (int32_t)(each * t->share / sum[t->strength]);
        if (t->place < 0 && t->n_samples < FEWEST_SAMPLES) t->n_samples = FEWEST_SAMPLES;
        if (t->n_samples < FEWEST_SAMPLES) continue;
        x->n_samples += t->n_samples;
        x->tilts[kept++] = *t;
    }
    x->n_tilts = kept;
done:
    free(sum);
    return status;
}

/* The uniform draw (place -1) first, then the leaning ones. */
static cpt_status make_tilts(plan *x, cpt_err *e)
{
    const grid *g = &x->grid;
    cpt_status status;
    double n = g->n, k = g->k, floor = cpt_lgamma(n + 1) - cpt_lgamma(k + 1) - cpt_lgamma(n - k + 1);
    double deepest = fmin(floor, 1 - x->o->log_eps) + sqrt(2 * fmin(floor, -x->o->log_eps)); /* one step more */
    CPT_TRY(cpt_grow(&x->tilts, &x->capacity, 1, sizeof *x->tilts, e));
    x->tilts[x->n_tilts++] = (tilt){.place = -1};
    for (int32_t b = 0; b < g->n_cells; b++) x->tilts[0].chance[b] = k / n;
    for (int32_t place = 1; place < g->n_cells; place += CELLS_PER_PLACE)
        CPT_TRY(add_place(x, place, deepest, e));
    status = allot(x, e);
done:
    return status;
}

/* ---- drawing ---- */

static void span(double mean, double variance, int32_t most, int32_t *low, int32_t *high)
{
    double reach = REACH * sqrt(variance) + REACH_COUNT;
    *low = (int32_t)fmax(0, floor(mean - reach));
    *high = (int32_t)fmin(most, ceil(mean + reach));
}

/* Chances of low .. high successes of `width` genes. */
static void fill_binomial(double width, double chance, int32_t low, int32_t high, double *to)
{
    double mode = floor((width + 1) * chance);
    int32_t m = (int32_t)fmax(low, fmin(high, mode));
    double odds = chance / (1 - chance);
    to[m - low] = exp(cpt_lgamma(width + 1) - cpt_lgamma(m + 1.0) - cpt_lgamma(width - m + 1) + m * log(chance) +
                      (width - m) * log1p(-chance));
    for (int32_t i = m; i < high; i++) to[i + 1 - low] = to[i - low] * (width - i) / (i + 1) * odds;
    for (int32_t i = m; i > low; i--) to[i - 1 - low] = to[i - low] * i / ((width - i + 1) * odds);
}

static void fill_tables(const grid *g, const tilt *t, tables *s)
{
    double mean = 0, variance = 0;
    s->low[g->n_cells] = s->high[g->n_cells] = 0;
    s->row[g->n_cells][0] = 1;
    for (int32_t b = g->n_cells; b-- > 0;) {
        double p = t->chance[b], w = g->width[b];
        mean += w * p;
        variance += w * p * (1 - p);
        span(w * p, w * p * (1 - p), (int32_t)fmin(w, g->k), &s->least[b], &s->most[b]);
        fill_binomial(w, p, s->least[b], s->most[b], s->binomial[b]);
        int32_t behind = g->n - g->edge[b];
        span(mean, variance, behind < g->k ? behind : g->k, &s->low[b], &s->high[b]);
        memset(s->row[b], 0, ((size_t)g->k + 1) * sizeof **s->row);
        for (int32_t i = s->least[b]; i <= s->most[b]; i++) {
            double q = s->binomial[b][i - s->least[b]];
            int32_t from = s->low[b] - i > s->low[b + 1] ? s->low[b] - i : s->low[b + 1];
            int32_t to = s->high[b] - i < s->high[b + 1] ? s->high[b] - i : s->high[b + 1];
            for (int32_t j = from; j <= to; j++) s->row[b][j + i] += q * s->row[b + 1][j];
        }
    }
}

static double log_norm(const grid *g, const tilt *t, const tables *s)
{
    double sum = log(s->row[0][g->k]);
    for (int32_t b = 0; b < g->n_cells; b++) sum -= g->width[b] * log1p(-t->chance[b]);
    return sum;
}

/* Counts per cell: given how many are still to come, the count of a cell has chance binomial * row behind. */
static void draw_counts(const grid *g, const tables *s, cpt_stream *stream, float *counts)
{
    int32_t left = g->k;
    for (int32_t b = 0; b < g->n_cells; b++) {
        double u = cpt_stream_uniform(stream) * s->row[b][left];
        int32_t from = left - s->high[b + 1] > s->least[b] ? left - s->high[b + 1] : s->least[b];
        int32_t to = left - s->low[b + 1] < s->most[b] ? left - s->low[b + 1] : s->most[b];
        int32_t i = from;
        for (int32_t j = from; j <= to && u >= 0; j++) { /* a count without chance is never taken, whatever u's rounding */
            double chance = s->binomial[b][j - s->least[b]] * s->row[b + 1][left - j];
            if (chance > 0) i = j;
            u -= chance;
        }
        counts[b] = (float)i;
        left -= i;
    }
}

/* Positions of `count` genes of cell b, ascending, by Floyd's sampling into a bitmap. */
static int32_t *draw_positions(const grid *g, int32_t b, int32_t count, cpt_stream *stream, uint64_t *bitmap,
                               int32_t *to)
{
    int32_t width = g->edge[b + 1] - g->edge[b];
    for (int32_t j = width - count; j < width; j++) {
        int32_t x = (int32_t)((uint64_t)cpt_stream_u32(stream) * (uint64_t)(j + 1) >> 32);
        if (bitmap[x >> 6] >> (x & 63) & 1) x = j;
        bitmap[x >> 6] |= 1ull << (x & 63);
    }
    for (int32_t word = 0; count > 0; word++) {
        for (uint64_t bits = bitmap[word]; bits; bits &= bits - 1, count--)
            *to++ = g->edge[b] + word * 64 + __builtin_ctzll(bits);
        bitmap[word] = 0;
    }
    return to;
}

/* The rise of the running sum, exact but for one division; -1 when it falls as low or lower (ES of both is 0). */
static double score_of(const grid *g, const double *weight, const int32_t *position)
{
    double outside = g->n - g->k, total = 0, sum = 0, high = 0, low = 0;
    for (int32_t i = 0; i < g->k; i++) total += weight[position[i]];
    bool equal = total == 0; /* weights of 0 only: every member counts 1 */
    if (equal) total = g->k;
    for (int32_t i = 0; i < g->k; i++) {
        double fall = (position[i] - i) * total, bottom = sum * outside - fall;
        sum += equal ? 1 : weight[position[i]];
        double top = sum * outside - fall;
        if (top > high) high = top;
        if (bottom < low) low = bottom;
    }
    return high > -low ? high / (total * outside) : -1;
}

static cpt_status draw_all(plan *x, const cpt_context *ctx, cpt_err *e)
{
    const grid *g = &x->grid;
    uint64_t *bitmap = NULL;
    int32_t *position = NULL;
    cpt_status status;
    int32_t at = 0;
    CPT_TRY(cpt_alloc(&bitmap, (size_t)g->n / 64 + 2, sizeof *bitmap, e));
    CPT_TRY(cpt_alloc(&position, (size_t)g->k, sizeof *position, e));
    for (size_t c = 0; c < x->n_tilts; c++) {
        cpt_stream stream;
        tilt *t = &x->tilts[c];
        CPT_TRY(cpt_check_stop(ctx, e));
        cpt_stream_init(&stream, x->o->seed, CPT_RANDOM_TILTED, (uint64_t)g->k << 32 | (uint64_t)c);
        fill_tables(g, t, &x->tables);
        if (!(x->tables.row[0][g->k] > 0)) { /* no k members within reach of its tables: left out */
            t->n_samples = 0;
            continue;
        }
        t->log_norm = log_norm(g, t, &x->tables);
        for (int32_t i = 0; i < t->n_samples; i++, at++) {
            float *counts = x->counts + (int64_t)at * g->n_cells;
            int32_t *to = position;
            draw_counts(g, &x->tables, &stream, counts);
            for (int32_t b = 0; b < g->n_cells; b++)
                if (counts[b] > 0) to = draw_positions(g, b, (int32_t)counts[b], &stream, bitmap, to);
            x->samples[at] = (sample){score_of(g, x->weight, position), 0, (int32_t)c};
        }
    }
    x->n_samples = at;
done:
    free(bitmap);
    free(position);
    return status;
}

/* ---- weighing ---- */

/* uniform / mixture. Both are probabilities of the set: differences of logs against the uniform draw, tilt 0. */
static double weigh(const plan *x, const float *log_odds, const double *offset)
{
    double largest = -INFINITY, sum = 0;
    for (size_t c = 0; c < x->n_tilts; c++) largest = fmax(largest, log_odds[c] + offset[c]);
    for (size_t c = 0; c < x->n_tilts; c++) {
        double v = log_odds[c] + offset[c] - largest;
        if (v > -40) sum += exp(v);
    }
    return exp(-largest) / sum;
}

static cpt_status weigh_all(plan *x, cpt_err *e)
{
    const grid *g = &x->grid;
    size_t n_tilts = x->n_tilts, n_cells = (size_t)g->n_cells;
    float *odds = NULL, *out = NULL;
    double *offset = NULL;
    cpt_status status;
    CPT_TRY(cpt_alloc(&odds, n_cells * n_tilts, sizeof *odds, e));
    CPT_TRY(cpt_alloc(&out, BATCH * n_tilts, sizeof *out, e));
    CPT_TRY(cpt_alloc(&offset, n_tilts, sizeof *offset, e));
    const tilt *uniform = &x->tilts[0];
    for (size_t c = 0; c < n_tilts; c++) {
        const tilt *t = &x->tilts[c];
        for (size_t b = 0; b < n_cells; b++)
            odds[b * n_tilts + c] = (float)(logit(t->chance[b]) - logit(uniform->chance[b]));
        offset[c] = uniform->log_norm - t->log_norm + log((double)t->n_samples / x->n_samples);
    }
    for (int32_t at = 0; at < x->n_samples; at += BATCH) {
        int32_t n = x->n_samples - at < BATCH ? x->n_samples - at : BATCH;
        cpt_gemm(false, false, n, (int64_t)n_tilts, (int64_t)n_cells, 1, x->counts + (int64_t)at * g->n_cells,
                 g->n_cells, odds, (int64_t)n_tilts, 0, out, (int64_t)n_tilts, 1);
        for (int32_t i = 0; i < n; i++) x->samples[at + i].weight = weigh(x, out + (size_t)i * n_tilts, offset);
    }
done:
    free(odds);
    free(out);
    free(offset);
    return status;
}

static int by_score(const void *a, const void *b)
{
    const sample *x = a, *y = b;
    if (x->score != y->score) return x->score < y->score ? 1 : -1;
    return x->tilt != y->tilt ? (x->tilt > y->tilt) - (x->tilt < y->tilt) : (x->weight > y->weight) - (x->weight < y->weight);
}

/* Sums from the highest score down; the variance, of strata, is kept up to date. */
static cpt_status read_all(plan *x, int32_t n_steps, double *log_p, double *log2err, cpt_err *e)
{
    double *sum = NULL, *square = NULL, total = 0, variance = 0;
    int32_t at = 0, highest = -1;
    cpt_status status;
    CPT_TRY(cpt_alloc(&sum, x->n_tilts, sizeof *sum, e));
    CPT_TRY(cpt_alloc(&square, x->n_tilts, sizeof *square, e));
    qsort(x->samples, (size_t)x->n_samples, sizeof *x->samples, by_score);
    for (int32_t step = n_steps; step >= 0; step--) {
        for (; at < x->n_samples && x->samples[at].score >= (double)step / n_steps; at++) {
            int32_t c = x->samples[at].tilt;
            double w = x->samples[at].weight, n = x->tilts[c].n_samples, before = square[c] - sum[c] * sum[c] / n;
            sum[c] += w;
            square[c] += w * w;
            variance += (square[c] - sum[c] * sum[c] / n - before) * n / (n - 1);
            total += w;
        }
        if (total > 0 && highest < 0) highest = step;
        log_p[step] = fmin(0, log(total / x->n_samples));
        log2err[step] = sqrt(fmax(0, variance)) / total / M_LN2;
    }
    for (int32_t step = n_steps; step > highest; step--) {
        log_p[step] = highest < 0 ? 0 : log_p[highest];
        log2err[step] = NAN;
    }
done:
    free(sum);
    free(square);
    return status;
}

/* ---- all of it ---- */

static cpt_status tables_make(const grid *g, tables *s, cpt_err *e)
{
    size_t length = (size_t)g->k + 1;
    cpt_status status = cpt_alloc(&s->memory, length * (2 * (size_t)g->n_cells + 1), sizeof *s->memory, e);
    if (status) return status;
    for (int32_t b = 0; b <= g->n_cells; b++) s->row[b] = s->memory + (size_t)b * length;
    for (int32_t b = 0; b < g->n_cells; b++) s->binomial[b] = s->row[g->n_cells] + (size_t)(b + 1) * length;
    return CPT_OK;
}

cpt_status cpt_tilted_null(int32_t n, const double *weight, int32_t k, const cpt_tilted_options *o, int32_t n_steps,
                           double *log_p, double *log2err, const cpt_context *ctx, cpt_err *e)
{
    cpt_status status;
    plan x = {.weight = weight, .o = o};
    make_grid(n, weight, k, &x.grid);
    CPT_TRY(make_tilts(&x, e));
    CPT_TRY(tables_make(&x.grid, &x.tables, e));
    CPT_TRY(cpt_alloc(&x.samples, (size_t)x.n_samples, sizeof *x.samples, e));
    CPT_TRY(cpt_alloc(&x.counts, (size_t)x.n_samples * (size_t)x.grid.n_cells, sizeof *x.counts, e));
    CPT_TRY(draw_all(&x, ctx, e));
    CPT_TRY(weigh_all(&x, e));
    status = read_all(&x, n_steps, log_p, log2err, e);
done:
    free(x.tilts);
    free(x.tables.memory);
    free(x.samples);
    free(x.counts);
    return status;
}

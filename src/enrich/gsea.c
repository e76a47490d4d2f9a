/* gsea.c - preranked gene set enrichment analysis.
 *
 * Problem    Subramanian et al., PNAS 102 (2005): is a set of genes found towards one end of a ranking?
 *            Defaults, tie rules and p values follow fgsea (Korotkevich et al., bioRxiv 060012), see
 *            enrichment.md C.3.2.
 * Method     Walk of all sets at once: genes in order of the ranking are dealt to the sets that hold
 *            them, which gives every set its sorted positions without a sort. Null by random subsets
 *            (gsea_null.c); small p by multilevel splitting (multilevel.c).
 * Complexity O(total size of the sets) per ranking for the scores, plus the null.
 * Traps      Genes without a statistic leave the list, so sets may lose members: sizes are counted per
 *            ranking. Scores of 0 have no sign; they get the p of 1 they deserve, and say so.
 */
#include "base/log.h"
#include "base/memory.h"
#include "enrich/enrich.h"
#include "enrich/gsea_null.h"
#include "enrich/multilevel.h"
#include "enrich/ranking.h"
#include "math/statistics.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FEWEST_SAME_SIGN = 10 };

struct cpt_gsea_engine {
    const cpt_genesets *sets;
    cpt_gsea_options options;
    int64_t *first_set;   /* [n_universe + 1] into set_of */
    int32_t *set_of;      /* sets of each gene */
    int32_t largest;      /* size of the largest set */
    cpt_gsea_null null;   /* for lists of all n_universe genes */
    bool *split;          /* [n_permutations + 1] n beyond: is multilevel splitting more exact? */
};

/* What is worked out about one set on one ranking. The numerator is over total * (n - size). */
typedef struct walk {
    int32_t size, first_leading, n_leading; /* members, as indices into its sorted positions */
    double numerator, total, es;
} walk;

void cpt_gsea_options_init(cpt_gsea_options *o)
{
    *o = (cpt_gsea_options){.weight = 1, .n_permutations = 1000, .sample_size = 101, .eps = 1e-50,
                            .multilevel = true, .score_type = CPT_SCORE_STD, .seed = 0};
}

static cpt_status check_options(const cpt_gsea_options *o, cpt_err *e)
{
    if (o->n_permutations < 1)
        return cpt_fail(e, CPT_ERR_USAGE, "GSEA needs at least 1 permutation, not %d",
                        o->n_permutations);
    if (o->sample_size < 3 || o->sample_size % 2 == 0)
        return cpt_fail(e, CPT_ERR_USAGE, "the multilevel sample size must be odd and at least 3, "
                        "not %d", o->sample_size);
    if (!(o->eps >= 0 && o->eps < 1))
        return cpt_fail(e, CPT_ERR_USAGE, "the smallest p looked for must be in [0, 1), not %g", o->eps);
    if ((unsigned)o->score_type > CPT_SCORE_NEG)
        return cpt_fail(e, CPT_ERR_USAGE, "there is no GSEA score type %d", (int)o->score_type);
    return CPT_OK;
}

/* ---- the statistic ---- */

/* Index of the first member whose point just after (top) or before it has this height. */
static int32_t find_point(const double *weight, const int32_t *positions, const walk *w, bool equal,
                          double outside, bool top, double height)
{
    double sum = 0;
    for (int32_t i = 0; i < w->size; i++) {
        double before = sum, fall = (positions[i] - i) * w->total;
        sum += equal ? 1 : weight[positions[i]];
        if ((top ? sum : before) * outside - fall == height) return i;
    }
    return 0;
}

/* Walk of sorted positions; weights all 0 count as all 1. Integers in doubles, exact (walk.h), so that a
 * second look finds where an extreme was: cheaper than to carry its place along. */
static walk walk_set(const double *weight, int32_t n, const int32_t *positions, int32_t m,
                     cpt_score_type type)
{
    walk w = {.size = m};
    double outside = n - m, total = 0, sum = 0, high = -INFINITY, low = INFINITY;
    if (m == 0 || m == n) return w;
    for (int32_t i = 0; i < m; i++) total += weight[positions[i]];
    bool equal = total == 0;
    w.total = equal ? m : total;
    for (int32_t i = 0; i < m; i++) {
        double fall = (positions[i] - i) * w.total, bottom = sum * outside - fall;
        sum += equal ? 1 : weight[positions[i]];
        double top = sum * outside - fall;
        high = top > high ? top : high;
        low = bottom < low ? bottom : low;
    }
    bool up = type == CPT_SCORE_POS || (type == CPT_SCORE_STD && high > -low);
    bool down = type == CPT_SCORE_NEG || (type == CPT_SCORE_STD && high < -low);
    w.numerator = up ? high : down ? low : 0;
    w.es = w.numerator / (w.total * outside);
    if (w.numerator == 0) return w;
    int32_t at = find_point(weight, positions, &w, equal, outside, up, w.numerator);
    w.first_leading = up ? 0 : at;
    w.n_leading = up ? at + 1 : m - at;
    return w;
}

double cpt_gsea_es(const int64_t *weights, int32_t n, const int32_t *positions, int32_t m,
                   cpt_score_type type)
{
    if (m <= 0 || m >= n) return 0;
    __int128 outside = n - m, total = 0, sum = 0, high = 0, low = 0;
    for (int32_t i = 0; i < m; i++) total += weights[positions[i]];
    bool equal = total == 0;
    if (equal) total = m;
    for (int32_t i = 0; i < m; i++) {
        __int128 bottom = sum * outside - (positions[i] - i) * total;
        sum += equal ? 1 : weights[positions[i]];
        __int128 top = sum * outside - (positions[i] - i) * total;
        if (top > high) high = top;
        if (bottom < low) low = bottom;
    }
    __int128 numerator = type == CPT_SCORE_POS   ? high
                         : type == CPT_SCORE_NEG ? low
                         : high > -low           ? high
                         : high < -low           ? low
                                                 : 0;
    return (double)numerator / ((double)total * (double)outside);
}

/* ---- the engine ---- */

static cpt_status check_sets(const cpt_genesets *sets, cpt_err *e)
{
    for (int32_t s = 0; s < sets->n_sets; s++)
        for (int64_t i = sets->first[s]; i < sets->first[s + 1]; i++) {
            int32_t g = sets->genes[i];
            if (g < 0 || g >= sets->n_universe || (i > sets->first[s] && g <= sets->genes[i - 1]))
                return cpt_fail(e, CPT_ERR_INTERNAL, "gene set %d holds gene number %d out of order or "
                                "outside the universe of %d genes", s, g, sets->n_universe);
        }
    return CPT_OK;
}

/* Turns "genes of a set" into "sets of a gene". */
static cpt_status invert_sets(cpt_gsea_engine *engine, cpt_err *e)
{
    cpt_status status = CPT_OK;
    const cpt_genesets *sets = engine->sets;
    int64_t *next = NULL, total = sets->n_sets ? sets->first[sets->n_sets] : 0;
    CPT_TRY(cpt_alloc(&engine->first_set, (size_t)sets->n_universe + 1, sizeof *engine->first_set, e));
    CPT_TRY(cpt_alloc(&engine->set_of, (size_t)total, sizeof *engine->set_of, e));
    CPT_TRY(cpt_alloc(&next, (size_t)sets->n_universe, sizeof *next, e));
    for (int64_t i = 0; i < total; i++) engine->first_set[sets->genes[i] + 1]++;
    for (int32_t g = 0; g < sets->n_universe; g++) {
        engine->first_set[g + 1] += engine->first_set[g];
        next[g] = engine->first_set[g];
    }
    for (int32_t s = 0; s < sets->n_sets; s++) {
        int64_t size = sets->first[s + 1] - sets->first[s];
        if (size > engine->largest) engine->largest = (int32_t)size;
        for (int64_t i = sets->first[s]; i < sets->first[s + 1]; i++)
            engine->set_of[next[sets->genes[i]]++] = s;
    }
done:
    free(next);
    return status;
}

/* Standard error of log2 p when n of N null scores lie beyond, by fgsea's rule: half the larger arm of
 * the Clopper-Pearson interval. */
static double interval_error(int32_t n, int32_t n_permutations)
{
    double N = n_permutations, crude = log2((n + 1) / (N + 1));
    double left = n == 0 ? INFINITY : crude - log2(cpt_beta_quantile(0.025, n, N - n + 1));
    double right = n == n_permutations ? -crude : log2(cpt_beta_quantile(0.975, n + 1, N - n)) - crude;
    return 0.5 * fmax(left, right);
}

/* Which counts are worth splitting. The interval narrows with n and splitting's error steps down at powers
 * of two; from the first decade without a yes on, the answer stays no. */
static cpt_status compare_errors(cpt_gsea_engine *engine, cpt_err *e)
{
    int32_t n_permutations = engine->options.n_permutations, last = 0;
    cpt_status status = cpt_alloc(&engine->split, (size_t)n_permutations + 1, sizeof *engine->split, e);
    if (status || !engine->options.multilevel) return status;
    for (int32_t n = 0; n <= n_permutations && n <= 10 * (last + 1); n++) {
        double p = (n + 1.0) / (n_permutations + 1.0);
        engine->split[n] = cpt_multilevel_error(p, engine->options.sample_size) <
                           interval_error(n, n_permutations);
        if (engine->split[n]) last = n;
    }
    return CPT_OK;
}

cpt_gsea_engine *cpt_gsea_engine_new(const cpt_genesets *sets, const cpt_gsea_options *o, cpt_err *e)
{
    cpt_status status = CPT_OK;
    cpt_gsea_engine *engine = NULL;
    CPT_TRY(check_options(o, e));
    CPT_TRY(check_sets(sets, e));
    CPT_TRY(cpt_alloc(&engine, 1, sizeof *engine, e));
    engine->sets = sets;
    engine->options = *o;
    CPT_TRY(invert_sets(engine, e));
    CPT_TRY(compare_errors(engine, e));
    CPT_TRY(cpt_gsea_null_make(sets->n_universe, engine->largest, o->n_permutations, o->seed,
                               &engine->null, e));
done:
    if (!status) return engine;
    cpt_gsea_engine_free(engine);
    return NULL;
}

void cpt_gsea_engine_free(cpt_gsea_engine *engine)
{
    if (!engine) return;
    cpt_gsea_null_free(&engine->null);
    free(engine->first_set);
    free(engine->set_of);
    free(engine->split);
    free(engine);
}

/* ---- one ranking ---- */

typedef struct run {
    const cpt_gsea_engine *engine;
    cpt_ranking ranking;
    int32_t *positions;       /* of set s from first[s] on, ascending */
    walk *walks;              /* [n_sets] */
    int32_t n_sizes, *sizes;  /* distinct sizes of the sets that can be tested */
    cpt_gsea_tally *tallies;  /* [n_sizes] */
    cpt_gsea_target *targets; /* [n_sets], size -1 = not testable */
} run;

static void run_free(run *r)
{
    cpt_ranking_free(&r->ranking);
    free(r->positions);
    free(r->walks);
    free(r->sizes);
    free(r->tallies);
    free(r->targets);
}

/* Deals the genes, best first, to their sets: each set's positions come out sorted. */
static cpt_status walk_sets(run *r, cpt_err *e)
{
    cpt_status status = CPT_OK;
    const cpt_gsea_engine *engine = r->engine;
    const cpt_genesets *sets = engine->sets;
    const cpt_ranking *ranking = &r->ranking;
    int64_t *next = NULL;
    CPT_TRY(cpt_alloc(&next, (size_t)sets->n_sets, sizeof *next, e));
    CPT_TRY(cpt_alloc(&r->positions, (size_t)engine->first_set[sets->n_universe],
                      sizeof *r->positions, e));
    int32_t *positions = r->positions;
    CPT_TRY(cpt_alloc(&r->walks, (size_t)sets->n_sets, sizeof *r->walks, e));
    for (int32_t s = 0; s < sets->n_sets; s++) next[s] = sets->first[s];
    for (int32_t at = 0; at < ranking->n; at++) {
        int32_t gene = ranking->gene[at];
        const int32_t *set = engine->set_of + engine->first_set[gene];
        const int32_t *end = engine->set_of + engine->first_set[gene + 1];
        for (; set < end; set++) positions[next[*set]++] = at;
    }
    for (int32_t s = 0; s < sets->n_sets; s++)
        r->walks[s] = walk_set(ranking->weight, ranking->n, r->positions + sets->first[s],
                               (int32_t)(next[s] - sets->first[s]), engine->options.score_type);
done:
    free(next);
    return status;
}

/* Lists the distinct sizes and gives every set its place among them. */
static cpt_status list_sizes(run *r, cpt_err *e)
{
    cpt_status status = CPT_OK;
    int32_t n_sets = r->engine->sets->n_sets, n = r->ranking.n, *index = NULL;
    CPT_TRY(cpt_alloc(&index, (size_t)r->engine->largest + 1, sizeof *index, e));
    CPT_TRY(cpt_alloc(&r->sizes, (size_t)r->engine->largest + 1, sizeof *r->sizes, e));
    CPT_TRY(cpt_alloc(&r->targets, (size_t)n_sets, sizeof *r->targets, e));
    for (int32_t s = 0; s < n_sets; s++) index[r->walks[s].size] = 1;
    for (int32_t k = 1; k <= r->engine->largest && k < n; k++)
        if (index[k]) {
            index[k] = r->n_sizes;
            r->sizes[r->n_sizes++] = k;
        }
    for (int32_t s = 0; s < n_sets; s++) {
        const walk *w = &r->walks[s];
        bool testable = w->size > 0 && w->size < n;
        r->targets[s] = (cpt_gsea_target){.size = testable ? index[w->size] : -1, .es = w->es};
    }
    CPT_TRY(cpt_alloc(&r->tallies, (size_t)r->n_sizes, sizeof *r->tallies, e));
done:
    free(index);
    return status;
}

/* Places the scores in the null, drawn anew when this list is not of the engine's length. */
static cpt_status place_scores(run *r, int n_threads, const cpt_context *ctx, cpt_err *e)
{
    cpt_status status = CPT_OK;
    const cpt_gsea_engine *engine = r->engine;
    const cpt_gsea_null *null = &engine->null;
    cpt_gsea_null own = {0};
    cpt_gsea_target *testable = NULL;
    int32_t n_sets = engine->sets->n_sets, n = 0;
    if (r->ranking.n != null->n_genes && r->n_sizes > 0) {
        CPT_TRY(cpt_gsea_null_make(r->ranking.n, r->sizes[r->n_sizes - 1],
                                   engine->options.n_permutations, engine->options.seed, &own, e));
        null = &own;
    }
    CPT_TRY(cpt_alloc(&testable, (size_t)n_sets, sizeof *testable, e));
    for (int32_t s = 0; s < n_sets; s++)
        if (r->targets[s].size >= 0) testable[n++] = r->targets[s];
    CPT_TRY(cpt_gsea_null_place(null, r->ranking.weight, engine->options.score_type, r->n_sizes,
                                r->sizes, r->tallies, n, testable, n_threads, ctx, e));
    for (int32_t s = n_sets; s-- > 0;)
        if (r->targets[s].size >= 0) r->targets[s] = testable[--n];
done:
    cpt_gsea_null_free(&own);
    free(testable);
    return status;
}

/* Standard error of log2 p when n of n_permutations null scores lie beyond (Beta posterior). */
static double simple_error(int32_t n, int32_t n_permutations)
{
    return sqrt(cpt_trigamma(n + 1.0) - cpt_trigamma(n_permutations + 1.0)) / M_LN2;
}

/* Which side of the null a set is compared with. */
static bool rises(const run *r, int32_t s)
{
    cpt_score_type type = r->engine->options.score_type;
    return type == CPT_SCORE_STD ? r->walks[s].es >= 0 : type == CPT_SCORE_POS;
}

static int32_t n_beyond(const run *r, int32_t s)
{
    return rises(r, s) ? r->targets[s].n_at_least : r->targets[s].n_at_most;
}

static int32_t n_same_sign(const run *r, int32_t s)
{
    const cpt_gsea_tally *tally = &r->tallies[r->targets[s].size];
    return rises(r, s) ? tally->n_positive : tally->n_negative;
}

static void fill_row(const run *r, int32_t s, cpt_gsea_row *row)
{
    const walk *w = &r->walks[s];
    *row = (cpt_gsea_row){.set = s, .size = w->size, .es = w->es, .nes = NAN, .p = NAN, .log10p = NAN,
                          .q = NAN, .log2err = NAN, .n_leading = w->n_leading};
    if (r->targets[s].size < 0) {
        row->reason = CPT_GSEA_ES_ZERO;
        return;
    }
    const cpt_gsea_tally *tally = &r->tallies[r->targets[s].size];
    int32_t beyond = n_beyond(r, s), same = n_same_sign(r, s);
    if (same < FEWEST_SAME_SIGN) {
        row->reason = CPT_GSEA_FEW_SAME_SIGN;
        return;
    }
    double mean = (rises(r, s) ? tally->sum_positive : -tally->sum_negative) / same;
    if (mean > 0) row->nes = w->es / mean;
    row->p = (1.0 + beyond) / (1.0 + same);
    row->log10p = log10(row->p);
    row->log2err = simple_error(beyond, r->engine->options.n_permutations);
    if (w->es == 0 && r->engine->options.score_type == CPT_SCORE_STD) row->reason = CPT_GSEA_ES_ZERO;
}

/* ---- small p ---- */

static void take_multilevel(const run *r, const cpt_multilevel_query *q, cpt_gsea_row *row)
{
    const cpt_gsea_options *o = &r->engine->options;
    row->multilevel = true;
    if (q->stuck) row->reason = CPT_GSEA_NO_CONVERGENCE;
    /* Splitting gives P(score and sign); the p of the test is conditional on the sign. */
    double log_sign = log((n_same_sign(r, row->set) + 1.0) / (o->n_permutations + 1.0));
    double log_p = fmin(0, q->log_p - log_sign), log_eps = o->eps > 0 ? log(o->eps) : -INFINITY;
    row->log2err = q->log2err;
    row->below_eps = q->below_eps || log_p < log_eps;
    if (row->below_eps) {
        log_p = log_eps;
        row->log2err = NAN;
    }
    row->p = fmax(exp(log_p), DBL_MIN);
    row->log10p = log_p / M_LN10;
}

/* Replaces the p of the rows whose count beyond is too small to say more. */
static cpt_status split_rows(const run *r, cpt_gsea *g, int n_threads, const cpt_context *ctx, cpt_err *e)
{
    cpt_status status = CPT_OK;
    cpt_multilevel_query *queries = NULL;
    int32_t *rows = NULL, n = 0;
    const cpt_gsea_engine *engine = r->engine;
    CPT_TRY(cpt_alloc(&queries, (size_t)g->n_rows, sizeof *queries, e));
    CPT_TRY(cpt_alloc(&rows, (size_t)g->n_rows, sizeof *rows, e));
    for (int32_t s = 0; s < g->n_rows; s++) {
        const walk *w = &r->walks[s];
        if (isnan(g->rows[s].p) || w->numerator == 0 || !engine->split[n_beyond(r, s)]) continue;
        queries[n] = (cpt_multilevel_query){.size = w->size, .negative = !rises(r, s),
                                            .numerator = fabs(w->numerator), .total = w->total};
        rows[n++] = s;
    }
    CPT_TRY(cpt_multilevel_run(r->ranking.n, r->ranking.weight, &engine->options, n, queries,
                               n_threads, ctx, e));
    for (int32_t i = 0; i < n; i++) take_multilevel(r, &queries[i], &g->rows[rows[i]]);
done:
    free(queries);
    free(rows);
    return status;
}

static cpt_status fill_leading(const run *r, cpt_gsea *g, cpt_err *e)
{
    int64_t total = 0;
    for (int32_t s = 0; s < g->n_rows; s++) total += g->rows[s].n_leading;
    cpt_status status = cpt_alloc(&g->leading_pool, (size_t)total, sizeof *g->leading_pool, e);
    if (status) return status;
    int32_t *to = g->leading_pool;
    for (int32_t s = 0; s < g->n_rows; s++) {
        const int32_t *from = r->positions + r->engine->sets->first[s] + r->walks[s].first_leading;
        g->rows[s].leading = to;
        for (int32_t i = 0; i < g->rows[s].n_leading; i++) *to++ = r->ranking.gene[from[i]];
    }
    return CPT_OK;
}

static cpt_status correct(cpt_gsea *g, cpt_err *e)
{
    cpt_status status = CPT_OK;
    double *p = NULL, *q = NULL;
    CPT_TRY(cpt_alloc(&p, (size_t)g->n_rows, sizeof *p, e));
    CPT_TRY(cpt_alloc(&q, (size_t)g->n_rows, sizeof *q, e));
    for (int32_t i = 0; i < g->n_rows; i++) p[i] = g->rows[i].p;
    CPT_TRY(cpt_bh(g->n_rows, p, 0, q, e));
    for (int32_t i = 0; i < g->n_rows; i++) g->rows[i].q = q[i];
done:
    free(p);
    free(q);
    return status;
}

static cpt_status run_ranking(const cpt_gsea_engine *engine, const double *statistic, int n_threads,
                              const cpt_context *ctx, cpt_gsea **out, cpt_err *e)
{
    cpt_status status = CPT_OK;
    run r = {.engine = engine};
    cpt_gsea *g = NULL;
    *out = NULL;
    CPT_TRY(cpt_ranking_make(engine->sets->n_universe, statistic, engine->options.weight, &r.ranking, e));
    CPT_TRY(walk_sets(&r, e));
    CPT_TRY(list_sizes(&r, e));
    CPT_TRY(place_scores(&r, n_threads, ctx, e));
    CPT_TRY(cpt_alloc(&g, 1, sizeof *g, e));
    g->n_genes = r.ranking.n;
    g->n_tied = r.ranking.n_tied;
    g->n_zero = r.ranking.n_zero;
    g->n_rows = engine->sets->n_sets;
    CPT_TRY(cpt_alloc(&g->rows, (size_t)g->n_rows, sizeof *g->rows, e));
    for (int32_t s = 0; s < g->n_rows; s++) fill_row(&r, s, &g->rows[s]);
    if (engine->options.multilevel) CPT_TRY(split_rows(&r, g, n_threads, ctx, e));
    CPT_TRY(fill_leading(&r, g, e));
    CPT_TRY(correct(g, e));
    *out = g;
    g = NULL;
done:
    cpt_gsea_free(g);
    run_free(&r);
    return status;
}

cpt_status cpt_gsea_engine_run(const cpt_gsea_engine *engine, const double *statistic,
                               cpt_gsea **out, cpt_err *e)
{
    return run_ranking(engine, statistic, 1, NULL, out, e);
}

cpt_status cpt_gsea_run(const cpt_genesets *sets, const double *statistic, const cpt_gsea_options *o,
                        cpt_gsea **out, const cpt_context *ctx, cpt_err *e)
{
    *out = NULL;
    cpt_gsea_engine *engine = cpt_gsea_engine_new(sets, o, e);
    if (!engine) return e ? e->code : CPT_ERR_MEMORY;
    cpt_status status = run_ranking(engine, statistic, cpt_threads(ctx), ctx, out, e);
    cpt_gsea_engine_free(engine);
    return status;
}

void cpt_gsea_free(cpt_gsea *g)
{
    if (!g) return;
    free(g->rows);
    free(g->leading_pool);
    free(g);
}

/* ---- the curve of one set ---- */

static cpt_status draw_curve(const cpt_ranking *r, const cpt_genesets *sets, int32_t set, int32_t **x,
                             double **y, int32_t *n, cpt_err *e)
{
    cpt_status status = CPT_OK;
    uint8_t *member = NULL;
    double total = 0, sum = 0;
    int32_t m = 0, seen = 0, points = 0;
    CPT_TRY(cpt_alloc(&member, (size_t)r->n, 1, e));
    for (int64_t i = sets->first[set]; i < sets->first[set + 1]; i++) {
        int32_t at = r->position[sets->genes[i]];
        if (at < 0) continue;
        member[at] = 1;
        total += r->weight[at];
        m++;
    }
    CPT_TRY(cpt_alloc(x, 2 * (size_t)m + 2, sizeof **x, e));
    CPT_TRY(cpt_alloc(y, 2 * (size_t)m + 2, sizeof **y, e));
    double outside = r->n - m;
    (*x)[points++] = 0; /* y is 0 */
    for (int32_t at = 0; at < r->n; at++) {
        if (!member[at]) continue;
        double misses = outside > 0 ? (at - seen++) / outside : 0;
        (*x)[points] = at;
        (*y)[points++] = (total > 0 ? sum / total : (double)(seen - 1) / m) - misses;
        sum += r->weight[at];
        (*x)[points] = at + 1;
        (*y)[points++] = (total > 0 ? sum / total : (double)seen / m) - misses;
    }
    (*x)[points++] = r->n;
    *n = points;
done:
    free(member);
    return status;
}

cpt_status cpt_gsea_running_sum(const cpt_genesets *sets, const double *statistic, int32_t set,
                                double weight, int32_t **x, double **y, int32_t *n, cpt_err *e)
{
    cpt_status status = CPT_OK;
    cpt_ranking ranking = {0};
    *x = NULL;
    *y = NULL;
    *n = 0;
    if (set < 0 || set >= sets->n_sets)
        return cpt_fail(e, CPT_ERR_USAGE, "there is no gene set %d of %d", set, sets->n_sets);
    CPT_TRY(cpt_ranking_make(sets->n_universe, statistic, weight, &ranking, e));
    CPT_TRY(draw_curve(&ranking, sets, set, x, y, n, e));
done:
    cpt_ranking_free(&ranking);
    if (status) {
        free(*x);
        free(*y);
        *x = NULL;
        *y = NULL;
    }
    return status;
}

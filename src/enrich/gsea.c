/* gsea.c - preranked gene set enrichment analysis.
 *
 * Problem    Subramanian et al., PNAS 102 (2005): is a set of genes found towards one end of a ranking?
 *            Defaults, tie rules and p values follow fgsea (Korotkevich et al., bioRxiv 060012), see
 *            enrichment.md C.3.2.
 * Method     Scores of all sets at once (set_walks.c). Null by random subsets (gsea_null.c); small p by
 *            multilevel splitting (multilevel.c).
 * Complexity O(total size of the sets) per ranking for the scores, plus the null.
 * Traps      Genes without a statistic leave the list, so sets may lose members: sizes are counted per
 *            ranking. Scores of 0 have no sign; they get the p of 1 they deserve, and say so.
 */
#include "base/log.h"
#include "base/memory.h"
#include "enrich/enrich.h"
#include "enrich/gsea_null.h"
#include "enrich/multilevel.h"
#include "enrich/rank_null.h"
#include "enrich/ranking.h"
#include "enrich/set_walks.h"
#include "math/statistics.h"
#include "math/walk.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FEWEST_SAME_SIGN = 10 };

struct cpt_gsea_engine {
    const cpt_genesets *sets;
    cpt_gsea_options options;
    cpt_set_index index;
    cpt_gsea_null null;   /* for lists of all n_universe genes */
    const cpt_rank_null *shared; /* NULL = weights are statistics */
    bool *split;          /* [n_permutations + 1] n beyond: is multilevel splitting more exact? */
};

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
    CPT_TRY(cpt_alloc(&engine, 1, sizeof *engine, e));
    engine->sets = sets;
    engine->options = *o;
    CPT_TRY(cpt_set_index_make(sets, &engine->index, e));
    CPT_TRY(compare_errors(engine, e));
    CPT_TRY(cpt_gsea_null_make(sets->n_universe, engine->index.largest, o->n_permutations, o->seed,
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
    cpt_set_index_free(&engine->index);
    free(engine->split);
    free(engine);
}

/* ---- one ranking ---- */

typedef struct run {
    const cpt_gsea_engine *engine;
    cpt_ranking ranking;
    cpt_set_walks sets;
    int32_t n_sizes, *sizes;  /* distinct sizes of the sets that can be tested */
    cpt_gsea_tally *tallies;  /* [n_sizes] */
    cpt_gsea_target *targets; /* [n_sets], size -1 = not testable */
} run;

static void run_free(run *r)
{
    cpt_ranking_free(&r->ranking);
    cpt_set_walks_free(&r->sets);
    free(r->sizes);
    free(r->tallies);
    free(r->targets);
}

/* Lists the distinct sizes and gives every set its place among them. */
static cpt_status list_sizes(run *r, cpt_err *e)
{
    cpt_status status = CPT_OK;
    int32_t n_sets = r->engine->sets->n_sets, n = r->ranking.n, *index = NULL;
    CPT_TRY(cpt_alloc(&index, (size_t)r->engine->index.largest + 1, sizeof *index, e));
    CPT_TRY(cpt_alloc(&r->sizes, (size_t)r->engine->index.largest + 1, sizeof *r->sizes, e));
    CPT_TRY(cpt_alloc(&r->targets, (size_t)n_sets, sizeof *r->targets, e));
    for (int32_t s = 0; s < n_sets; s++) index[r->sets.walks[s].size] = 1;
    for (int32_t k = 1; k <= r->engine->index.largest && k < n; k++)
        if (index[k]) {
            index[k] = r->n_sizes;
            r->sizes[r->n_sizes++] = k;
        }
    for (int32_t s = 0; s < n_sets; s++) {
        const cpt_walk *w = &r->sets.walks[s];
        bool testable = w->size > 0 && w->size < n;
        r->targets[s] = (cpt_gsea_target){.size = testable ? index[w->size] : -1, .es = w->es};
    }
    CPT_TRY(cpt_alloc(&r->tallies, (size_t)r->n_sizes, sizeof *r->tallies, e));
done:
    free(index);
    return status;
}

/* Places the scores in the null, drawn anew when this list is not of the engine's length. Without `scores` only
 * the tallies are made. */
static cpt_status place_scores(run *r, bool scores, int n_threads, const cpt_context *ctx, cpt_err *e)
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
    for (int32_t i = 0; i < n_sets && scores; i++) { /* by size: a batch of the null is read while it is near */
        int32_t s = engine->index.order[i];
        if (r->targets[s].size >= 0) testable[n++] = r->targets[s];
    }
    CPT_TRY(cpt_gsea_null_place(null, r->ranking.weight, engine->options.score_type, r->n_sizes,
                                r->sizes, r->tallies, n, testable, n_threads, ctx, e));
    for (int32_t i = n_sets; i-- > 0 && scores;) {
        int32_t s = engine->index.order[i];
        if (r->targets[s].size >= 0) r->targets[s] = testable[--n];
    }
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
    return type == CPT_SCORE_STD ? r->sets.walks[s].es >= 0 : type == CPT_SCORE_POS;
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

static double mean_same_sign(const run *r, int32_t s)
{
    const cpt_gsea_tally *tally = &r->tallies[r->targets[s].size];
    return rises(r, s) ? tally->sum_positive / tally->n_positive : -tally->sum_negative / tally->n_negative;
}

static void fill_row(const run *r, int32_t s, cpt_gsea_row *row)
{
    const cpt_walk *w = &r->sets.walks[s];
    *row = (cpt_gsea_row){.set = s, .size = w->size, .es = w->es, .nes = NAN, .p = NAN, .log10p = NAN,
                          .q = NAN, .log2err = NAN, .n_leading = w->n_leading};
    if (r->targets[s].size < 0) {
        row->reason = CPT_GSEA_ES_ZERO;
        return;
    }
    int32_t beyond = n_beyond(r, s), same = n_same_sign(r, s);
    if (same < FEWEST_SAME_SIGN) {
        row->reason = CPT_GSEA_FEW_SAME_SIGN;
        return;
    }
    double mean = mean_same_sign(r, s);
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
        const cpt_walk *w = &r->sets.walks[s];
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
        int64_t from = r->engine->index.slot[s] + (int64_t)r->sets.walks[s].first_leading * CPT_WALK_LANES;
        g->rows[s].leading = to;
        for (int32_t i = 0; i < g->rows[s].n_leading; i++, from += CPT_WALK_LANES)
            *to++ = r->ranking.gene[cpt_set_walks_position(&r->sets, from)];
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

/* ---- the null that rankings share ---- */

/* Ranks the genes and, where ranks suit, weighs them by rank. */
static cpt_status rank_genes(const cpt_gsea_engine *engine, const double *statistic, bool by_rank,
                             cpt_ranking *r, char *reason, size_t capacity, cpt_err *e)
{
    int32_t n = engine->sets->n_universe;
    double power = engine->options.weight;
    cpt_status status = cpt_ranking_make(n, statistic, power, r, e);
    if (status == CPT_OK && by_rank && cpt_rank_null_fits(r, n, power, reason, capacity))
        status = cpt_ranking_weigh_ranks(r, power, e);
    return status;
}

cpt_status cpt_gsea_engine_ask(const cpt_gsea_engine *engine, const double *statistic, cpt_rank_null *null,
                               char *reason, size_t capacity, cpt_err *e)
{
    cpt_ranking ranking = {0};
    const cpt_genesets *sets = engine->sets;
    reason[0] = '\0';
    cpt_status status = rank_genes(engine, statistic, true, &ranking, reason, capacity, e);
    if (status == CPT_OK && !reason[0]) { /* all genes are ranked: sizes are those of the sets */
#pragma omp critical(cpt_gsea_engine_ask)
        for (int32_t s = 0; s < sets->n_sets; s++)
            cpt_rank_null_ask(null, (int32_t)(sets->first[s + 1] - sets->first[s]));
    }
    cpt_ranking_free(&ranking);
    return status;
}

void cpt_gsea_engine_use(cpt_gsea_engine *engine, const cpt_rank_null *null)
{
    engine->shared = null;
}

static void read_shared(const run *r, int32_t s, cpt_gsea_row *row)
{
    const cpt_walk *w = &r->sets.walks[s];
    *row = (cpt_gsea_row){.set = s, .size = w->size, .es = w->es, .nes = NAN, .p = NAN, .log10p = NAN,
                          .q = NAN, .log2err = NAN, .n_leading = w->n_leading, .shared = true};
    if (w->size == 0 || w->size == r->ranking.n) {
        row->reason = CPT_GSEA_ES_ZERO;
        return;
    }
    cpt_rank_null_answer a = cpt_rank_null_read(r->engine->shared, w->size, w->es);
    row->nes = w->es / a.mean;
    row->p = fmax(exp(a.log_p), DBL_MIN);
    row->log10p = a.log_p / M_LN10;
    row->log2err = a.log2err;
    row->below_eps = a.below_eps;
    if (a.bound) row->reason = CPT_GSEA_NO_CONVERGENCE;
    if (w->es == 0) row->reason = CPT_GSEA_ES_ZERO;
}

/* p and NES of all sets, from permutations of this ranking. */
static cpt_status test_by_permutation(run *r, cpt_gsea *g, int n_threads, const cpt_context *ctx,
                                      cpt_err *e)
{
    cpt_status status;
    CPT_TRY(list_sizes(r, e));
    CPT_TRY(place_scores(r, true, n_threads, ctx, e));
    for (int32_t s = 0; s < g->n_rows; s++) fill_row(r, s, &g->rows[s]);
    if (r->engine->options.multilevel) CPT_TRY(split_rows(r, g, n_threads, ctx, e));
done:
    return status;
}

static cpt_status run_ranking(const cpt_gsea_engine *engine, const double *statistic, int n_threads,
                              const cpt_context *ctx, cpt_gsea **out, cpt_err *e)
{
    cpt_status status = CPT_OK;
    run r = {.engine = engine};
    cpt_gsea *g = NULL;
    *out = NULL;
    char reason[128] = "";
    CPT_TRY(rank_genes(engine, statistic, engine->shared != NULL, &r.ranking, reason, sizeof reason, e));
    CPT_TRY(cpt_set_walks_make(&engine->index, &r.ranking, engine->options.score_type, &r.sets, e));
    CPT_TRY(cpt_alloc(&g, 1, sizeof *g, e));
    g->shared_null = engine->shared && !reason[0];
    g->n_genes = r.ranking.n;
    g->n_tied = r.ranking.n_tied;
    g->n_zero = r.ranking.n_zero;
    g->n_rows = engine->sets->n_sets;
    CPT_TRY(cpt_alloc(&g->rows, (size_t)g->n_rows, sizeof *g->rows, e));
    if (g->shared_null)
        for (int32_t s = 0; s < g->n_rows; s++) read_shared(&r, s, &g->rows[s]);
    else CPT_TRY(test_by_permutation(&r, g, n_threads, ctx, e));
    CPT_TRY(fill_leading(&r, g, e));
    CPT_TRY(correct(g, e));
    *out = g;
    g = NULL;
done:
    cpt_gsea_free(g);
    run_free(&r);
    return status;
}

cpt_status cpt_gsea_engine_nes(const cpt_gsea_engine *engine, const double *statistic, double *nes, cpt_err *e)
{
    cpt_status status;
    run r = {.engine = engine};
    cpt_ranking *ranking = &r.ranking;
    CPT_TRY(cpt_ranking_make(engine->sets->n_universe, statistic, engine->options.weight, ranking, e));
    CPT_TRY(cpt_set_walks_make(&engine->index, ranking, engine->options.score_type, &r.sets, e));
    CPT_TRY(list_sizes(&r, e));
    CPT_TRY(place_scores(&r, false, 1, NULL, e));
    for (int32_t s = 0; s < engine->sets->n_sets; s++) {
        nes[s] = NAN;
        if (r.targets[s].size < 0 || n_same_sign(&r, s) < FEWEST_SAME_SIGN) continue;
        double mean = mean_same_sign(&r, s);
        if (mean > 0) nes[s] = r.sets.walks[s].es / mean;
    }
done:
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

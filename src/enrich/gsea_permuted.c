/* gsea_permuted.c - p and NES of one ranking's scores by random subsets.
 *
 * Method     Counts among the scores of a thousand subsets of each size (gsea_null.c), given the sign; where the count
 *            beyond is so small that splitting (multilevel.c) is more exact, that. The rule is fgsea's, enrichment.md
 *            C.3.2. Ours, without the rule: p has a floor of 1 / (null scores of the sign + 1), which Benjamini-Hochberg
 *            over n sets lets pass 0.05 only when some 20 n floors lie there. A set alone at the floor could never be
 *            found, however strong; those few that are left behind are split.
 * Traps      Scores of 0 have no sign; they get the p of 1 they deserve, and say so.
 */
#include "base/memory.h"
#include "enrich/gsea_work.h"
#include "enrich/multilevel.h"
#include "math/statistics.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

enum { FEWEST_SAME_SIGN = 10 };
/* Of the p of sets that were left at the floor: what is smaller is significant among any number of sets, and costs. */
static const double SMALL_ENOUGH = 1e-10;
static const double SIGNIFICANT = 0.05; /* q, as everywhere in tables and reports */

/* ---- which counts are too small ---- */

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
cpt_status cpt_gsea_compare_errors(cpt_gsea_engine *engine, cpt_err *e)
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

/* ---- counts ---- */

/* Lists the distinct sizes and gives every set its place among them. */
static cpt_status list_sizes(cpt_gsea_work *r, cpt_err *e)
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
static cpt_status place_scores(cpt_gsea_work *r, bool scores, int n_threads, const cpt_context *ctx, cpt_err *e)
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
static bool rises(const cpt_gsea_work *r, int32_t s)
{
    cpt_score_type type = r->engine->options.score_type;
    return type == CPT_SCORE_STD ? r->sets.walks[s].es >= 0 : type == CPT_SCORE_POS;
}

static int32_t n_beyond(const cpt_gsea_work *r, int32_t s)
{
    return rises(r, s) ? r->targets[s].n_at_least : r->targets[s].n_at_most;
}

static int32_t n_same_sign(const cpt_gsea_work *r, int32_t s)
{
    const cpt_gsea_tally *tally = &r->tallies[r->targets[s].size];
    return rises(r, s) ? tally->n_positive : tally->n_negative;
}

static double mean_same_sign(const cpt_gsea_work *r, int32_t s)
{
    const cpt_gsea_tally *tally = &r->tallies[r->targets[s].size];
    return rises(r, s) ? tally->sum_positive / tally->n_positive : -tally->sum_negative / tally->n_negative;
}

static void fill_row(const cpt_gsea_work *r, int32_t s, cpt_gsea_row *row)
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

static void take_multilevel(const cpt_gsea_work *r, double eps, const cpt_multilevel_query *q, cpt_gsea_row *row)
{
    const cpt_gsea_options *o = &r->engine->options;
    /* Splitting gives P(score and sign); the p of the test is conditional on the sign. */
    double log_sign = log((n_same_sign(r, row->set) + 1.0) / (o->n_permutations + 1.0));
    double log_p = fmin(0, q->log_p - log_sign), log_eps = eps > 0 ? log(eps) : -INFINITY;
    if (q->stuck && log_p >= log(row->p)) return; /* a bound, and no better than the count's */
    row->multilevel = true;
    if (q->stuck) row->reason = CPT_GSEA_NO_CONVERGENCE;
    row->log2err = q->log2err;
    row->below_eps = q->below_eps || log_p < log_eps;
    if (row->below_eps) { /* with the eps of options as fgsea has it; a larger one is a bound of P(score and sign) */
        log_p = eps > o->eps && q->below_eps ? fmin(0, log_eps - log_sign) : log_eps;
        row->log2err = NAN;
    }
    row->p = fmax(exp(log_p), DBL_MIN);
    row->log10p = log_p / M_LN10;
}

/* Is the count beyond too small to say more? */
static bool few_beyond(const cpt_gsea_work *r, const cpt_gsea_row *row)
{
    return r->engine->split[n_beyond(r, row->set)];
}

/* At the floor of p, and not significant there. */
static bool left_at_floor(const cpt_gsea_work *r, const cpt_gsea_row *row)
{
    return n_beyond(r, row->set) == 0 && row->q >= SIGNIFICANT;
}

/* Replaces the p of the rows that are `wanted`, down to eps. Each depends on its ruler alone: none on which others
 * are. */
static cpt_status split_rows(const cpt_gsea_work *r, bool (*wanted)(const cpt_gsea_work *, const cpt_gsea_row *),
                             double eps, cpt_gsea_row *rows, int n_threads, const cpt_context *ctx, cpt_err *e)
{
    cpt_gsea_options options = r->engine->options;
    cpt_status status = CPT_OK;
    cpt_multilevel_query *queries = NULL;
    int32_t *of_row = NULL, n = 0, n_rows = r->engine->sets->n_sets;
    CPT_TRY(cpt_alloc(&queries, (size_t)n_rows, sizeof *queries, e));
    CPT_TRY(cpt_alloc(&of_row, (size_t)n_rows, sizeof *of_row, e));
    for (int32_t s = 0; s < n_rows; s++) {
        const cpt_walk *w = &r->sets.walks[s];
        if (isnan(rows[s].p) || w->numerator == 0 || !wanted(r, &rows[s])) continue;
        queries[n] = (cpt_multilevel_query){.size = w->size, .negative = !rises(r, s),
                                            .numerator = fabs(w->numerator), .total = w->total};
        of_row[n++] = s;
    }
    options.eps = eps;
    CPT_TRY(cpt_multilevel_run(r->ranking.n, r->ranking.weight, &options, n, queries, n_threads, ctx, e));
    for (int32_t i = 0; i < n; i++) take_multilevel(r, eps, &queries[i], &rows[of_row[i]]);
done:
    free(queries);
    free(of_row);
    return status;
}

cpt_status cpt_gsea_split_floor(const cpt_gsea_work *r, cpt_gsea_row *rows, int n_threads, const cpt_context *ctx,
                                bool *any, cpt_err *e)
{
    *any = false;
    for (int32_t s = 0; s < r->engine->sets->n_sets && !*any; s++)
        *any = !isnan(rows[s].p) && left_at_floor(r, &rows[s]);
    const double eps = fmax(r->engine->options.eps, SMALL_ENOUGH);
    return *any ? split_rows(r, left_at_floor, eps, rows, n_threads, ctx, e) : CPT_OK;
}

cpt_status cpt_gsea_by_permutation(cpt_gsea_work *r, cpt_gsea_row *rows, int n_threads, const cpt_context *ctx,
                                   cpt_err *e)
{
    cpt_status status;
    CPT_TRY(list_sizes(r, e));
    CPT_TRY(place_scores(r, true, n_threads, ctx, e));
    for (int32_t s = 0; s < r->engine->sets->n_sets; s++) fill_row(r, s, &rows[s]);
    if (r->engine->options.multilevel)
        CPT_TRY(split_rows(r, few_beyond, r->engine->options.eps, rows, n_threads, ctx, e));
done:
    return status;
}

cpt_status cpt_gsea_nes_by_permutation(cpt_gsea_work *r, double *nes, cpt_err *e)
{
    cpt_status status;
    CPT_TRY(list_sizes(r, e));
    CPT_TRY(place_scores(r, false, 1, NULL, e));
    for (int32_t s = 0; s < r->engine->sets->n_sets; s++) {
        nes[s] = NAN;
        if (r->targets[s].size < 0 || n_same_sign(r, s) < FEWEST_SAME_SIGN) continue;
        double mean = mean_same_sign(r, s);
        if (mean > 0) nes[s] = r->sets.walks[s].es / mean;
    }
done:
    return status;
}

/* gsea.c - preranked gene set enrichment analysis.
 *
 * Problem    Subramanian et al., PNAS 102 (2005): is a set of genes found towards one end of a ranking?
 *            Defaults, tie rules and p values follow fgsea (Korotkevich et al., bioRxiv 060012), see
 *            enrichment.md C.3.2.
 * Method     Scores of all sets at once (set_walks.c). p from random subsets of this ranking (gsea_permuted.c), or
 *            from a table that rankings share (rank_null.c).
 * Complexity O(total size of the sets) per ranking for the scores, plus the null.
 * Traps      Genes without a statistic leave the list, so sets may lose members: sizes are counted per ranking.
 */
#include "base/memory.h"
#include "enrich/corrections.h"
#include "enrich/gsea_work.h"
#include "enrich/rank_null.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

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

cpt_gsea_engine *cpt_gsea_engine_new(const cpt_genesets *sets, const cpt_gsea_options *o, cpt_err *e)
{
    cpt_status status = CPT_OK;
    cpt_gsea_engine *engine = NULL;
    CPT_TRY(check_options(o, e));
    CPT_TRY(cpt_alloc(&engine, 1, sizeof *engine, e));
    engine->sets = sets;
    engine->options = *o;
    CPT_TRY(cpt_alloc(&engine->idle, 1, sizeof(cpt_gsea_work *), e));
    CPT_TRY(cpt_set_index_make(sets, &engine->index, e));
    CPT_TRY(cpt_gsea_compare_errors(engine, e));
    CPT_TRY(cpt_gsea_null_make(sets->n_universe, engine->index.largest, o->n_permutations, o->seed,
                               &engine->null, e));
done:
    if (!status) return engine;
    cpt_gsea_engine_free(engine);
    return NULL;
}

/* ---- one ranking ---- */

/* What the permutations of one ranking needed. */
static void forget_permutations(cpt_gsea_work *r)
{
    free(r->sizes);
    free(r->tallies);
    free(r->targets);
    r->n_sizes = 0;
    r->sizes = NULL;
    r->tallies = NULL;
    r->targets = NULL;
}

static void work_free(cpt_gsea_work *r)
{
    forget_permutations(r);
    cpt_ranking_free(&r->ranking);
    cpt_set_walks_free(&r->sets);
    free(r);
}

static cpt_status take_work(const cpt_gsea_engine *engine, cpt_gsea_work **out, cpt_err *e)
{
    cpt_gsea_work *r;
#pragma omp critical(cpt_gsea_idle)
    {
        r = *engine->idle;
        if (r) *engine->idle = r->next;
    }
    cpt_status status = r ? CPT_OK : cpt_alloc(&r, 1, sizeof *r, e);
    if (status == CPT_OK) r->engine = engine;
    *out = r;
    return status;
}

static void give_back(cpt_gsea_work *r)
{
    if (!r) return;
    forget_permutations(r);
#pragma omp critical(cpt_gsea_idle)
    {
        r->next = *r->engine->idle;
        *r->engine->idle = r;
    }
}

void cpt_gsea_engine_free(cpt_gsea_engine *engine)
{
    if (!engine) return;
    for (cpt_gsea_work *r = engine->idle ? *engine->idle : NULL, *next; r; r = next) {
        next = r->next;
        work_free(r);
    }
    cpt_gsea_null_free(&engine->null);
    cpt_set_index_free(&engine->index);
    free(engine->idle);
    free(engine->split);
    free(engine);
}

/* The result takes the leading edges over. */
static void fill_leading(cpt_gsea_work *r, cpt_gsea *g)
{
    g->leading_pool = r->sets.leading;
    r->sets.leading = NULL;
    for (int32_t s = 0; s < g->n_rows; s++) g->rows[s].leading = g->leading_pool + r->sets.walks[s].leading;
}

/* ---- the null that rankings share ---- */

cpt_status cpt_gsea_engine_ask(const cpt_gsea_engine *engine, const double *statistic, cpt_rank_null *null,
                               char *reason, size_t capacity, cpt_err *e)
{
    cpt_gsea_work *r;
    const cpt_genesets *sets = engine->sets;
    int32_t n = sets->n_universe;
    cpt_status status;
    reason[0] = '\0';
    CPT_TRY(take_work(engine, &r, e));
    CPT_TRY(cpt_ranking_order(n, statistic, &r->ranking, e));
    if (cpt_rank_null_fits(&r->ranking, n, engine->options.weight, reason, capacity)) {
        /* all genes are ranked: sizes are those of the sets */
#pragma omp critical(cpt_gsea_engine_ask)
        for (int32_t s = 0; s < sets->n_sets; s++)
            cpt_rank_null_ask(null, (int32_t)(sets->first[s + 1] - sets->first[s]));
    }
done:
    give_back(r);
    return status;
}

void cpt_gsea_engine_use(cpt_gsea_engine *engine, const cpt_rank_null *null)
{
    engine->shared = null;
}

/* Ranks the genes and weighs them: by rank where engine and ranking allow it, else by their statistic. */
static cpt_status rank_genes(const cpt_gsea_engine *engine, const double *statistic, cpt_ranking *r, bool *by_rank,
                             cpt_err *e)
{
    int32_t n = engine->sets->n_universe;
    char reason[128];
    double power = engine->options.weight;
    cpt_status status = cpt_ranking_order(n, statistic, r, e);
    if (status) return status;
    *by_rank = engine->shared && cpt_rank_null_fits(r, n, power, reason, sizeof reason);
    if (!*by_rank) return cpt_ranking_weigh(r, statistic, power, e);
    r->weight = engine->shared->weight;
    r->unit = engine->shared->unit;
    return CPT_OK;
}

static void read_shared(const cpt_gsea_work *r, int32_t s, cpt_gsea_row *row)
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
    row->p = exp(a.log_p);
    if (row->p < DBL_MIN) row->p = DBL_MIN;
    row->log10p = a.log_p / M_LN10;
    row->log2err = a.log2err;
    row->below_eps = a.below_eps;
    if (a.bound) row->reason = CPT_GSEA_NO_CONVERGENCE;
    if (w->es == 0) row->reason = CPT_GSEA_ES_ZERO;
}

static cpt_status correct(cpt_gsea *g, cpt_err *e)
{
    return cpt_bh_rows(g->n_rows, g->rows, sizeof *g->rows, offsetof(cpt_gsea_row, p), offsetof(cpt_gsea_row, q), e);
}

static cpt_status run_ranking(const cpt_gsea_engine *engine, const double *statistic, int n_threads,
                              const cpt_context *ctx, cpt_gsea **out, cpt_err *e)
{
    cpt_status status = CPT_OK;
    cpt_gsea_work *r = NULL;
    cpt_gsea *g = NULL;
    *out = NULL;
    bool by_rank, split;
    CPT_TRY(take_work(engine, &r, e));
    CPT_TRY(rank_genes(engine, statistic, &r->ranking, &by_rank, e));
    CPT_TRY(cpt_set_walks_make(&engine->index, &r->ranking, engine->options.score_type, &r->sets, e));
    CPT_TRY(cpt_alloc(&g, 1, sizeof *g, e));
    g->shared_null = by_rank;
    g->n_genes = r->ranking.n;
    g->n_tied = r->ranking.n_tied;
    g->n_zero = r->ranking.n_zero;
    g->n_rows = engine->sets->n_sets;
    CPT_TRY(cpt_alloc(&g->rows, (size_t)g->n_rows, sizeof *g->rows, e));
    if (g->shared_null)
        for (int32_t s = 0; s < g->n_rows; s++) read_shared(r, s, &g->rows[s]);
    else CPT_TRY(cpt_gsea_by_permutation(r, g->rows, n_threads, ctx, e));
    fill_leading(r, g);
    CPT_TRY(correct(g, e));
    if (engine->options.split_floor && !engine->options.multilevel && !g->shared_null) {
        CPT_TRY(cpt_gsea_split_floor(r, g->rows, n_threads, ctx, &split, e));
        if (split) CPT_TRY(correct(g, e));
    }
    *out = g;
    g = NULL;
done:
    cpt_gsea_free(g);
    give_back(r);
    return status;
}

cpt_status cpt_gsea_engine_nes(const cpt_gsea_engine *engine, const double *statistic, double *nes, cpt_err *e)
{
    cpt_status status;
    cpt_gsea_work *r;
    CPT_TRY(take_work(engine, &r, e));
    CPT_TRY(cpt_ranking_make(engine->sets->n_universe, statistic, engine->options.weight, &r->ranking, e));
    CPT_TRY(cpt_set_walks_make(&engine->index, &r->ranking, engine->options.score_type, &r->sets, e));
    status = cpt_gsea_nes_by_permutation(r, nes, e);
done:
    give_back(r);
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

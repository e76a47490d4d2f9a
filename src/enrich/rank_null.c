/* rank_null.c - a table of p by set size and score, for weights that are ranks.
 *
 * Method     Importance sampling (tilted.c), one run per set size: its error is common to all rankings, so it must be
 *            small. Tables hold multiples of 1/1024 of the score, down to eps; between entries ln p is interpolated (its
 *            second derivative is at most a few thousand: this costs less than 1e-3). Tables stand at set sizes a
 *            quarter apart; between them ln p at the same score is linear in the size but for terms of the order of
 *            ln(size) (large deviations: ln p is about -size I(score)); what that costs is BETWEEN_SIZES, measured
 *            against tables of those sizes, and part of the stated error. Weights are symmetric about the middle of
 *            the list: one side serves both signs. Means, for NES, from permutations; mean * sqrt(size) is as good as
 *            constant, so they too are interpolated.
 * Complexity about twenty tables once; a few operations per score afterwards.
 * Traps      Lists of few genes have few different scores: there interpolation would lie, and they are refused.
 */
#include "enrich/rank_null.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "enrich/gsea_null.h"
#include "enrich/tilted.h"

enum { STEPS = CPT_RANK_NULL_STEPS };
static const double MOST_TIED = 0.2, MOST_POWER = 2, BETWEEN_SIZES = 0.05, LEAST_LOG_EPS = -230; /* 1e-100 */

void cpt_rank_null_anchors(int32_t n_genes, int32_t size, int32_t *below, int32_t *above)
{
    int32_t next = 1;
    do {
        *below = next;
        next = next < 10 ? next + 1 : next + next / 4;
    } while (next <= size);
    *above = size == *below ? size : next < n_genes ? next : n_genes - 1;
}

cpt_status cpt_rank_null_make(int32_t n_genes, int32_t largest, const cpt_gsea_options *o, cpt_rank_null **out,
                              cpt_err *e)
{
    cpt_rank_null *x;
    int32_t below;
    cpt_status status = cpt_alloc(&x, 1, sizeof *x, e);
    *out = NULL;
    if (status) return status;
    if (largest < n_genes) cpt_rank_null_anchors(n_genes, largest, &below, &largest);
    *x = (cpt_rank_null){.n_genes = n_genes, .largest = largest, .power = o->weight, .eps = o->eps,
                         .log_eps = o->eps > 0 ? log(o->eps) : -INFINITY, .seed = o->seed,
                         .n_permutations = o->n_permutations};
    status = cpt_alloc(&x->sizes, (size_t)largest + 1, sizeof *x->sizes, e);
    if (status == CPT_OK) status = cpt_alloc(&x->weight, (size_t)n_genes + 1, sizeof *x->weight, e);
    if (status == CPT_OK) status = cpt_rank_weights(n_genes, x->power, x->weight, &x->unit, e);
    for (int32_t k = 1; k <= largest && k < n_genes && status == CPT_OK; k++)
        cpt_rank_null_anchors(n_genes, k, &x->sizes[k].below, &x->sizes[k].above);
    if (status) cpt_rank_null_free(x);
    else *out = x;
    return status;
}

void cpt_rank_null_free(cpt_rank_null *x)
{
    if (!x) return;
    for (int32_t k = 0; x->sizes && k <= x->largest; k++) free(x->sizes[k].log_p);
    free(x->sizes);
    free(x->weight);
    free(x);
}

bool cpt_rank_null_fits(const cpt_ranking *r, int32_t n_universe, double power, char *reason, size_t capacity)
{
    double n = r->n;
    if (power > MOST_POWER)
        snprintf(reason, capacity, "the GSEA weight is %g, and the shared null knows 0 to %g", power, MOST_POWER);
    else if (r->n < n_universe)
        snprintf(reason, capacity, "only %d of %d genes are ranked", r->n, n_universe);
    else if (r->n < CPT_RANK_NULL_FEWEST_GENES)
        snprintf(reason, capacity, "only %d genes are ranked", r->n);
    else if (r->n_zero > MOST_TIED * n)
        snprintf(reason, capacity, "%.0f %% of the genes have the statistic 0", 100 * r->n_zero / n);
    else if (r->n_tied > MOST_TIED * n)
        snprintf(reason, capacity, "%.0f %% of the genes share their statistic with others", 100 * r->n_tied / n);
    else
        return true;
    return false;
}

void cpt_rank_null_ask(cpt_rank_null *x, int32_t size)
{
    if (size < 1 || size > x->largest || size >= x->n_genes) return;
    x->sizes[x->sizes[size].below].asked = x->sizes[x->sizes[size].above].asked = true;
}

/* ---- growing ---- */

/* Sizes asked for and not known, ascending. */
static cpt_status list_missing(const cpt_rank_null *x, int32_t **sizes, int32_t *n, cpt_err *e)
{
    *n = 0;
    cpt_status status = cpt_alloc(sizes, (size_t)x->largest + 1, sizeof **sizes, e);
    for (int32_t k = 1; k <= x->largest && status == CPT_OK; k++)
        if (x->sizes[k].asked && !x->sizes[k].log_p) (*sizes)[(*n)++] = k;
    return status;
}

static cpt_status find_means(cpt_rank_null *x, int32_t n, const int32_t *sizes, const cpt_context *ctx, cpt_err *e)
{
    cpt_gsea_null null = {0};
    cpt_gsea_tally *tallies = NULL;
    cpt_status status;
    CPT_TRY(cpt_alloc(&tallies, (size_t)n, sizeof *tallies, e));
    CPT_TRY(cpt_gsea_null_make(x->n_genes, sizes[n - 1], x->n_permutations, x->seed, &null, e));
    CPT_TRY(cpt_gsea_null_place(&null, x->weight, CPT_SCORE_STD, n, sizes, tallies, 0, NULL, cpt_threads(ctx), ctx,
                                e));
    for (int32_t i = 0; i < n; i++)
        x->sizes[sizes[i]].mean = (tallies[i].sum_positive - tallies[i].sum_negative) /
                                  ((double)tallies[i].n_positive + tallies[i].n_negative);
done:
    cpt_gsea_null_free(&null);
    free(tallies);
    return status;
}

static cpt_status size_alloc(cpt_rank_null_size *s, cpt_err *e)
{
    cpt_status status = cpt_alloc(&s->log_p, 2 * (STEPS + 1), sizeof *s->log_p, e);
    if (status == CPT_OK) s->log2err = s->log_p + STEPS + 1;
    return status;
}

/* One table, conditional on the sign: by the symmetry of the weights half of the scores rise higher than they fall. */
static cpt_status find_table(cpt_rank_null *x, int32_t size, const cpt_context *ctx, cpt_err *e)
{
    cpt_rank_null_size *s = &x->sizes[size];
    cpt_tilted_options o = {CPT_RANK_NULL_SAMPLE, x->eps > 0 ? log(x->eps) : LEAST_LOG_EPS, x->seed};
    cpt_status status = size_alloc(s, e);
    if (status == CPT_OK)
        status = cpt_tilted_null(x->n_genes, x->weight, size, &o, STEPS, s->log_p, s->log2err, ctx, e);
    for (int32_t i = 0; i <= STEPS && status == CPT_OK; i++) s->log_p[i] = fmin(0, s->log_p[i] + M_LN2);
    if (status) {
        free(s->log_p);
        s->log_p = NULL;
    }
    return status;
}

/* Of the sizes between two tables. */
static void interpolate_means(cpt_rank_null *x)
{
    for (int32_t k = 1; k <= x->largest && k < x->n_genes; k++) {
        int32_t low = x->sizes[k].below, high = x->sizes[k].above;
        const cpt_rank_null_size *below = &x->sizes[low], *above = &x->sizes[high];
        if (high == low || !below->log_p || !above->log_p) continue;
        double part = (double)(k - low) / (high - low);
        x->sizes[k].mean =
            (sqrt(low) * below->mean + part * (sqrt(high) * above->mean - sqrt(low) * below->mean)) / sqrt(k);
    }
}

cpt_status cpt_rank_null_grow(cpt_rank_null *x, bool *changed, const cpt_context *ctx, cpt_err *e)
{
    int32_t n = 0, n_done = 0, *sizes = NULL;
    cpt_status status;
    *changed = false;
    CPT_TRY(list_missing(x, &sizes, &n, e));
    if (n > 0) CPT_TRY(find_means(x, n, sizes, ctx, e));
#pragma omp parallel for schedule(dynamic, 1) num_threads(cpt_threads(ctx)) if (cpt_threads(ctx) > 1)
    for (int32_t i = n - 1; i >= 0; i--) { /* large sets take longest: first */
        cpt_err own;
        cpt_status failed = find_table(x, sizes[i], ctx, &own);
#pragma omp critical(cpt_rank_null_grow)
        {
            cpt_progress(ctx, "shared null", ++n_done, n, NULL);
            if (failed) {
                status = failed;
                if (e) *e = own;
            }
        }
    }
    *changed = n > 0;
    interpolate_means(x);
done:
    free(sizes);
    return status;
}

/* ---- reading ---- */

/* ln p at one size that has a table. */
static double read_table(const cpt_rank_null_size *s, double es, double *log2err)
{
    double at = fabs(es) * STEPS;
    int32_t i = (int32_t)at < STEPS ? (int32_t)at : STEPS - 1;
    *log2err = isnan(s->log2err[i + 1]) ? NAN : s->log2err[i] > s->log2err[i + 1] ? s->log2err[i] : s->log2err[i + 1];
    return s->log_p[i] + (at - i) * (s->log_p[i + 1] - s->log_p[i]);
}

cpt_rank_null_answer cpt_rank_null_read(const cpt_rank_null *x, int32_t size, double es)
{
    int32_t low = x->sizes[size].below, high = x->sizes[size].above;
    double log_eps = x->log_eps;
    cpt_rank_null_answer a = {.mean = x->sizes[size].mean};
    a.log_p = read_table(&x->sizes[low], es, &a.log2err);
    if (high > low) {
        double part = (double)(size - low) / (high - low), error = 0, other = read_table(&x->sizes[high], es, &error);
        double worst = isnan(error) || error > a.log2err ? error : a.log2err;
        a.log2err = sqrt(worst * worst + BETWEEN_SIZES * BETWEEN_SIZES);
        a.log_p += part * (other - a.log_p);
    }
    if (es == 0) a.log_p = 0;
    a.below_eps = a.log_p <= log_eps;
    if (a.below_eps) a.log_p = log_eps;
    a.bound = !a.below_eps && isnan(a.log2err);
    if (a.below_eps) a.log2err = NAN;
    return a;
}

/* ---- keeping ---- */

cpt_status cpt_rank_null_pack(const cpt_rank_null *x, int64_t *n_rows, double **rows, cpt_err *e)
{
    int64_t n = 0;
    for (int32_t k = 1; k <= x->largest; k++) n += x->sizes[k].log_p != NULL;
    cpt_status status = cpt_alloc(rows, (size_t)n * CPT_RANK_NULL_COLUMNS, sizeof **rows, e);
    if (status) return status;
    *n_rows = n;
    double *row = *rows;
    for (int32_t k = 1; k <= x->largest; k++) {
        const cpt_rank_null_size *s = &x->sizes[k];
        if (!s->log_p) continue;
        row[0] = k;
        row[1] = s->mean;
        memcpy(row + 2, s->log_p, 2 * (STEPS + 1) * sizeof *row);
        row += CPT_RANK_NULL_COLUMNS;
    }
    return CPT_OK;
}

static bool row_is_sound(const cpt_rank_null *x, const double *row)
{
    bool sound = row[0] >= 1 && row[0] <= x->largest && row[0] == floor(row[0]) && row[1] > 0 && row[1] <= 1;
    for (int32_t i = 0; sound && i <= STEPS; i++) {
        double log_p = row[2 + i], error = row[2 + STEPS + 1 + i];
        sound = log_p <= 0 && isfinite(log_p) && (i == 0 || log_p <= row[1 + i]) && (isnan(error) || error >= 0);
    }
    return sound;
}

cpt_status cpt_rank_null_unpack(cpt_rank_null *x, int64_t n_rows, const double *rows, cpt_err *e)
{
    for (int64_t r = 0; r < n_rows; r++)
        if (!row_is_sound(x, rows + r * CPT_RANK_NULL_COLUMNS))
            return cpt_fail(e, CPT_ERR_FORMAT, "line %lld is not part of a null", (long long)r);
    for (int64_t r = 0; r < n_rows; r++, rows += CPT_RANK_NULL_COLUMNS) {
        cpt_rank_null_size *s = &x->sizes[(int32_t)rows[0]];
        if (s->log_p) continue;
        cpt_status status = size_alloc(s, e);
        if (status) return status;
        s->mean = rows[1];
        memcpy(s->log_p, rows + 2, 2 * (STEPS + 1) * sizeof *s->log_p);
    }
    interpolate_means(x);
    return CPT_OK;
}

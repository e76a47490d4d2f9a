/* rank_null.c - a table of p by set size and score, for weights that are ranks.
 *
 * Method     Rulers of multilevel splitting (multilevel.c) with a sample of 1,001: their error is common to all
 *            rankings, so it must be small. A ruler is read at multiples of 1/1024 of the score, as deep as scores were
 *            met; between entries ln p is interpolated (its second derivative is at most a few thousand: this costs less
 *            than 1e-3). Rulers stand at set sizes a quarter apart; between them ln p at the same score is linear in the
 *            size but for terms of the order of ln(size) (large deviations: ln p is about -size I(score)), so that
 *            interpolation costs about 0.01. Weights are symmetric about the middle of the list: one side serves both
 *            signs. Means, for NES, from permutations for every size (gsea_null.c).
 * Complexity some twenty rulers once; a few operations per score afterwards.
 * Traps      A ruler that is grown further has the same first levels: entries do not change when the table is made
 *            deeper. Lists of few genes have few different scores: there interpolation would lie, and they are refused.
 */
#include "enrich/rank_null.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "enrich/gsea_null.h"
#include "enrich/multilevel.h"

enum { STEPS = CPT_RANK_NULL_STEPS, BLOCK = 16 };
static const double MOST_TIED = 0.2;

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
    *x = (cpt_rank_null){.n_genes = n_genes, .largest = largest, .power = o->weight, .eps = o->eps, .seed = o->seed,
                         .n_permutations = o->n_permutations};
    status = cpt_alloc(&x->sizes, (size_t)largest + 1, sizeof *x->sizes, e);
    if (status) free(x);
    else *out = x;
    return status;
}

void cpt_rank_null_free(cpt_rank_null *x)
{
    if (!x) return;
    for (int32_t k = 0; k <= x->largest; k++) {
        free(x->sizes[k].log_p);
        free(x->sizes[k].log2err);
    }
    free(x->sizes);
    free(x);
}

bool cpt_rank_null_fits(const cpt_ranking *r, int32_t n_universe, char *reason, size_t capacity)
{
    double n = r->n;
    if (r->n < n_universe)
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

void cpt_rank_null_ask(cpt_rank_null *x, int32_t size, double es)
{
    if (size < 1 || size > x->largest || size >= x->n_genes) return;
    int32_t need = ((int32_t)ceil(fabs(es) * STEPS) / BLOCK + 1) * BLOCK + 1;
    if (need > STEPS + 1) need = STEPS + 1;
    int32_t at[2];
    cpt_rank_null_anchors(x->n_genes, size, &at[0], &at[1]);
    x->sizes[size].asked = true;
    for (int i = 0; i < 2; i++)
        if (need > x->sizes[at[i]].needed) x->sizes[at[i]].needed = need;
}

/* ---- growing ---- */

/* Weights by position, as cpt_ranking_weigh_ranks sets them. */
static cpt_status rank_weights(const cpt_rank_null *x, cpt_ranking *r, cpt_err *e)
{
    *r = (cpt_ranking){.n = x->n_genes};
    cpt_status status = cpt_alloc(&r->weight, (size_t)x->n_genes, sizeof *r->weight, e);
    return status ? status : cpt_ranking_weigh_ranks(r, x->power, e);
}

static cpt_status find_means(cpt_rank_null *x, const double *weight, bool *changed, const cpt_context *ctx,
                             cpt_err *e)
{
    cpt_gsea_null null = {0};
    int32_t n = 0, *sizes = NULL;
    cpt_gsea_tally *tallies = NULL;
    cpt_status status;
    CPT_TRY(cpt_alloc(&sizes, (size_t)x->largest + 1, sizeof *sizes, e));
    for (int32_t k = 1; k <= x->largest; k++)
        if (x->sizes[k].asked && x->sizes[k].mean == 0) sizes[n++] = k;
    if (n == 0) goto done;
    CPT_TRY(cpt_alloc(&tallies, (size_t)n, sizeof *tallies, e));
    CPT_TRY(cpt_gsea_null_make(x->n_genes, sizes[n - 1], x->n_permutations, x->seed, &null, e));
    CPT_TRY(cpt_gsea_null_place(&null, weight, CPT_SCORE_STD, n, sizes, tallies, 0, NULL, cpt_threads(ctx), ctx, e));
    for (int32_t i = 0; i < n; i++)
        x->sizes[sizes[i]].mean = (tallies[i].sum_positive - tallies[i].sum_negative) /
                                  ((double)tallies[i].n_positive + tallies[i].n_negative);
    *changed = true;
done:
    cpt_gsea_null_free(&null);
    free(sizes);
    free(tallies);
    return status;
}

/* Queries at all steps of all sizes that must grow, by size. */
static cpt_status list_queries(const cpt_rank_null *x, cpt_multilevel_query **out, int32_t *n, cpt_err *e)
{
    const double total = 1 << 30; /* any; the numerators below are integers under 2^53 */
    int64_t n_all = 0;
    for (int32_t k = 1; k <= x->largest; k++)
        if (x->sizes[k].needed > x->sizes[k].n_steps) n_all += x->sizes[k].needed;
    *n = (int32_t)n_all;
    if (n_all > INT32_MAX) return cpt_fail(e, CPT_ERR_UNSUPPORTED, "too many set sizes for one null");
    cpt_status status = cpt_alloc(out, (size_t)n_all, sizeof **out, e);
    cpt_multilevel_query *q = *out;
    for (int32_t k = 1; k <= x->largest && status == CPT_OK; k++)
        if (x->sizes[k].needed > x->sizes[k].n_steps)
            for (int32_t i = 0; i < x->sizes[k].needed; i++)
                *q++ = (cpt_multilevel_query){
                    .size = k, .numerator = i * (total / STEPS) * (x->n_genes - k), .total = total};
    return status;
}

static cpt_status take_answers(cpt_rank_null *x, const cpt_multilevel_query *q, cpt_err *e)
{
    double log_eps = x->eps > 0 ? log(x->eps) : -INFINITY;
    cpt_status status = CPT_OK;
    for (int32_t k = 1; k <= x->largest; k++) {
        cpt_rank_null_size *s = &x->sizes[k];
        if (s->needed <= s->n_steps) continue;
        free(s->log_p);
        free(s->log2err);
        s->log_p = s->log2err = NULL;
        s->n_steps = 0;
        CPT_TRY(cpt_alloc(&s->log_p, (size_t)s->needed, sizeof *s->log_p, e));
        CPT_TRY(cpt_alloc(&s->log2err, (size_t)s->needed, sizeof *s->log2err, e));
        for (int32_t i = 0; i < s->needed; i++, q++) {
            s->log_p[i] = q->below_eps ? fmin(q->log_p, log_eps) : q->log_p;
            s->log2err[i] = q->below_eps || q->stuck ? NAN : q->log2err;
        }
        s->n_steps = s->needed;
    }
done:
    return status;
}

cpt_status cpt_rank_null_grow(cpt_rank_null *x, bool *changed, const cpt_context *ctx, cpt_err *e)
{
    cpt_multilevel_query *queries = NULL;
    cpt_ranking r = {0};
    int32_t n = 0;
    cpt_gsea_options o;
    cpt_status status;
    cpt_gsea_options_init(&o);
    o.sample_size = CPT_RANK_NULL_SAMPLE;
    o.eps = x->eps;
    o.seed = x->seed;
    *changed = false;
    CPT_TRY(rank_weights(x, &r, e));
    CPT_TRY(find_means(x, r.weight, changed, ctx, e));
    CPT_TRY(list_queries(x, &queries, &n, e));
    if (n == 0) goto done;
    CPT_TRY(cpt_multilevel_run(x->n_genes, r.weight, &o, n, queries, cpt_threads(ctx), ctx, e));
    CPT_TRY(take_answers(x, queries, e));
    *changed = true;
done:
    free(queries);
    cpt_ranking_free(&r);
    return status;
}

/* ---- reading ---- */

/* ln p given the sign at one size that has a table. */
static double read_table(const cpt_rank_null_size *s, double es, double *log2err, bool *bound)
{
    double at = fabs(es) * STEPS;
    int32_t i = (int32_t)at;
    if (i > s->n_steps - 2) i = s->n_steps - 2;
    double part = fmin(at - i, 1);
    *bound |= isnan(s->log2err[i]) || isnan(s->log2err[i + 1]);
    *log2err = fmax(*log2err, fmax(s->log2err[i], s->log2err[i + 1]));
    return fmin(s->log_p[i] + part * (s->log_p[i + 1] - s->log_p[i]) - s->log_p[0], 0);
}

cpt_rank_null_answer cpt_rank_null_read(const cpt_rank_null *x, int32_t size, double es)
{
    int32_t below, above;
    double log_eps = x->eps > 0 ? log(x->eps) : -INFINITY;
    cpt_rank_null_answer a = {0};
    cpt_rank_null_anchors(x->n_genes, size, &below, &above);
    a.log_p = read_table(&x->sizes[below], es, &a.log2err, &a.bound);
    if (above > below) {
        double other = read_table(&x->sizes[above], es, &a.log2err, &a.bound);
        a.log_p += (double)(size - below) / (above - below) * (other - a.log_p);
    }
    a.below_eps = a.log_p <= log_eps;
    if (a.below_eps) a.log_p = log_eps;
    if (a.bound || a.below_eps) a.log2err = NAN;
    return a;
}

/* ---- keeping ---- */

cpt_status cpt_rank_null_pack(const cpt_rank_null *x, int64_t *n_rows, double **rows, cpt_err *e)
{
    int64_t n = 0;
    for (int32_t k = 1; k <= x->largest; k++) n += x->sizes[k].mean > 0 || x->sizes[k].n_steps > 0;
    cpt_status status = cpt_alloc(rows, (size_t)n * CPT_RANK_NULL_COLUMNS, sizeof **rows, e);
    if (status) return status;
    *n_rows = n;
    double *row = *rows;
    for (int32_t k = 1; k <= x->largest; k++) {
        const cpt_rank_null_size *s = &x->sizes[k];
        if (s->mean == 0 && s->n_steps == 0) continue;
        row[0] = k;
        row[1] = s->mean;
        row[2] = s->n_steps;
        for (int32_t i = 0; i <= STEPS; i++) {
            row[3 + i] = i < s->n_steps ? s->log_p[i] : NAN;
            row[3 + STEPS + 1 + i] = i < s->n_steps ? s->log2err[i] : NAN;
        }
        row += CPT_RANK_NULL_COLUMNS;
    }
    return CPT_OK;
}

static bool row_is_sound(const cpt_rank_null *x, const double *row)
{
    bool sound = row[0] >= 1 && row[0] <= x->largest && row[0] == floor(row[0]) && row[1] >= 0 && row[1] <= 1 &&
                 (row[2] >= 2 || row[2] == 0) && row[2] <= STEPS + 1 && row[2] == floor(row[2]);
    for (int32_t i = 0; sound && i < (int32_t)row[2]; i++) sound = row[3 + i] <= 0 && isfinite(row[3 + i]);
    return sound;
}

cpt_status cpt_rank_null_unpack(cpt_rank_null *x, int64_t n_rows, const double *rows, cpt_err *e)
{
    cpt_status status = CPT_OK;
    for (int64_t r = 0; r < n_rows; r++, rows += CPT_RANK_NULL_COLUMNS) {
        if (!row_is_sound(x, rows)) return cpt_fail(e, CPT_ERR_FORMAT, "line %lld is not part of a null", (long long)r);
        cpt_rank_null_size *s = &x->sizes[(int32_t)rows[0]];
        int32_t n = (int32_t)rows[2];
        if (s->mean == 0) s->mean = rows[1];
        if (n <= s->n_steps) continue;
        free(s->log_p);
        free(s->log2err);
        s->log2err = NULL;
        s->n_steps = 0;
        CPT_TRY(cpt_alloc(&s->log_p, (size_t)n, sizeof *s->log_p, e));
        CPT_TRY(cpt_alloc(&s->log2err, (size_t)n, sizeof *s->log2err, e));
        memcpy(s->log_p, rows + 3, (size_t)n * sizeof *s->log_p);
        memcpy(s->log2err, rows + 3 + STEPS + 1, (size_t)n * sizeof *s->log2err);
        s->n_steps = n;
    }
done:
    return status;
}

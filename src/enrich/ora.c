/* ora.c - over-representation of gene sets in a list of study genes.
 *
 * Method     P(X >= q) of the hypergeometric distribution (one-sided Fisher), X ~ Hyper(universe N, set m,
 *            study k). Sample odds ratio with Woolf's 95 % interval (Woolf 1955), all cells raised by
 *            1/2 (Haldane 1956) when one is 0. Benjamini-Hochberg over all sets.
 * Complexity O(total size of the sets) for the overlaps.
 * Trap       Sets without a hit have p = 1 and stay in the correction: leaving them out, as some tools
 *            do, lets the study list decide how many tests were made.
 */
#include "base/memory.h"
#include "enrich/enrich.h"
#include "math/statistics.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

static const double Z_975 = 1.959963984540054;

static cpt_status check_study(const cpt_genesets *sets, int32_t n, const int32_t *study, cpt_err *e)
{
    for (int32_t i = 0; i < n; i++) {
        if (study[i] < 0 || study[i] >= sets->n_universe)
            return cpt_fail(e, CPT_ERR_USAGE, "study gene %d is number %d, but the universe has %d genes",
                            i, study[i], sets->n_universe);
        if (i && study[i] <= study[i - 1])
            return cpt_fail(e, CPT_ERR_USAGE, "study genes must ascend without repeats; number %d "
                            "follows %d", study[i], study[i - 1]);
    }
    return CPT_OK;
}

static void odds(cpt_ora_row *row, double N, double k)
{
    double a = row->overlap, b = row->size - a, c = k - a, d = N - row->size - c;
    row->haldane = a == 0 || b == 0 || c == 0 || d == 0;
    if (row->haldane) {
        a += 0.5;
        b += 0.5;
        c += 0.5;
        d += 0.5;
    }
    row->odds_ratio = a * d / (b * c);
    double half_width = Z_975 * sqrt(1 / a + 1 / b + 1 / c + 1 / d);
    row->odds_low = row->odds_ratio * exp(-half_width);
    row->odds_high = row->odds_ratio * exp(half_width);
    row->fold = k > 0 && row->size > 0 ? row->overlap / k / (row->size / N) : NAN;
}

static cpt_status correct(cpt_ora *r, cpt_err *e)
{
    cpt_status status = CPT_OK;
    double *p = NULL, *q = NULL;
    CPT_TRY(cpt_alloc(&p, (size_t)r->n_rows, sizeof *p, e));
    CPT_TRY(cpt_alloc(&q, (size_t)r->n_rows, sizeof *q, e));
    for (int32_t i = 0; i < r->n_rows; i++) p[i] = r->rows[i].p;
    CPT_TRY(cpt_bh(r->n_rows, p, 0, q, e));
    for (int32_t i = 0; i < r->n_rows; i++) r->rows[i].q = q[i];
done:
    free(p);
    free(q);
    return status;
}

cpt_status cpt_ora_run(const cpt_genesets *sets, int32_t n_study, const int32_t *study, cpt_ora **out,
                       cpt_err *e)
{
    cpt_status status = CPT_OK;
    cpt_ora *r = NULL;
    uint8_t *in_study = NULL;
    *out = NULL;
    CPT_TRY(check_study(sets, n_study, study, e));
    CPT_TRY(cpt_alloc(&r, 1, sizeof *r, e));
    r->n_rows = sets->n_sets;
    r->n_study = n_study;
    r->n_universe = sets->n_universe;
    CPT_TRY(cpt_alloc(&r->rows, (size_t)sets->n_sets, sizeof *r->rows, e));
    CPT_TRY(cpt_alloc(&in_study, (size_t)sets->n_universe, 1, e));
    for (int32_t i = 0; i < n_study; i++) in_study[study[i]] = 1;

    int64_t total = 0;
    for (int32_t s = 0; s < sets->n_sets; s++) {
        cpt_ora_row *row = &r->rows[s];
        row->set = s;
        row->size = (int32_t)(sets->first[s + 1] - sets->first[s]);
        for (int64_t i = sets->first[s]; i < sets->first[s + 1]; i++)
            row->overlap += in_study[sets->genes[i]];
        row->n_genes = row->overlap;
        total += row->overlap;
        double log_p = cpt_hyper_log_upper(sets->n_universe, row->size, n_study, row->overlap);
        row->p = fmax(exp(log_p), DBL_MIN);
        row->log10p = log_p / M_LN10;
        odds(row, sets->n_universe, n_study);
    }
    CPT_TRY(cpt_alloc(&r->gene_pool, (size_t)total, sizeof *r->gene_pool, e));
    int32_t *next = r->gene_pool;
    for (int32_t s = 0; s < sets->n_sets; s++) {
        r->rows[s].genes = next;
        for (int64_t i = sets->first[s]; i < sets->first[s + 1]; i++)
            if (in_study[sets->genes[i]]) *next++ = sets->genes[i];
    }
    CPT_TRY(correct(r, e));
    *out = r;
    r = NULL;
done:
    free(in_study);
    cpt_ora_free(r);
    return status;
}

void cpt_ora_free(cpt_ora *r)
{
    if (!r) return;
    free(r->rows);
    free(r->gene_pool);
    free(r);
}

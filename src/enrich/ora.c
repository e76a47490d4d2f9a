/* ora.c - over-representation of gene sets in a list of study genes.
 *
 * Method     P(X >= q) of the hypergeometric distribution (one-sided Fisher), X ~ Hyper(universe N, set m,
 *            study k). Sample odds ratio with Woolf's 95 % interval (Woolf 1955), all cells raised by
 *            1/2 (Haldane 1956) when one is 0. Benjamini-Hochberg over all sets.
 * Complexity O(total size of the sets) for the overlaps; one tail per size and overlap that occur.
 * Trap       Sets without a hit have p = 1 and stay in the correction: leaving them out, as some tools
 *            do, lets the study list decide how many tests were made.
 */
#include "base/memory.h"
#include "enrich/corrections.h"
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

/* ---- the tests ---- */

/* Rows of one size and overlap say the same: a row that has been tested answers for those after it. */
enum { N_SEEN = 4096 };
typedef struct tested {
    int32_t row[N_SEEN]; /* + 1; 0 = none; a later one of the same place takes it over */
} tested;

static void test_row(const cpt_ora *r, tested *seen, int32_t s)
{
    cpt_ora_row *row = &r->rows[s];
    int32_t *place = &seen->row[((uint32_t)row->size * 61 + (uint32_t)row->overlap) % N_SEEN];
    const cpt_ora_row *like = *place ? &r->rows[*place - 1] : NULL;
    *place = s + 1;
    if (like && like->size == row->size && like->overlap == row->overlap) {
        *row = *like;
        row->set = s;
        return;
    }
    double log_p = cpt_hyper_log_upper(r->n_universe, row->size, r->n_study, row->overlap);
    row->p = fmax(exp(log_p), DBL_MIN);
    row->log10p = log_p / M_LN10;
    odds(row, r->n_universe, r->n_study);
}

static cpt_status test_rows(const cpt_ora *r, cpt_err *e)
{
    tested *seen;
    cpt_status status = cpt_alloc(&seen, 1, sizeof *seen, e);
    for (int32_t s = 0; s < r->n_rows && status == CPT_OK; s++) test_row(r, seen, s);
    free(seen);
    return status;
}

static void count_overlaps(cpt_ora *r, const cpt_genesets *sets, const uint8_t *in_study)
{
    for (int32_t s = 0; s < sets->n_sets; s++) {
        cpt_ora_row *row = &r->rows[s];
        row->set = s;
        row->size = (int32_t)(sets->first[s + 1] - sets->first[s]);
        for (int64_t i = sets->first[s]; i < sets->first[s + 1]; i++)
            row->overlap += in_study[sets->genes[i]];
        row->n_genes = row->overlap;
    }
}

static cpt_status list_genes(cpt_ora *r, const cpt_genesets *sets, const uint8_t *in_study, cpt_err *e)
{
    int64_t total = 0;
    for (int32_t s = 0; s < r->n_rows; s++) total += r->rows[s].overlap;
    cpt_status status = cpt_alloc(&r->gene_pool, (size_t)total, sizeof *r->gene_pool, e);
    if (status) return status;
    int32_t *next = r->gene_pool;
    for (int32_t s = 0; s < r->n_rows; s++) {
        r->rows[s].genes = next;
        for (int64_t i = sets->first[s]; next < r->rows[s].genes + r->rows[s].overlap; i++)
            if (in_study[sets->genes[i]]) *next++ = sets->genes[i];
    }
    return CPT_OK;
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
    count_overlaps(r, sets, in_study);
    CPT_TRY(test_rows(r, e));
    CPT_TRY(list_genes(r, sets, in_study, e));
    CPT_TRY(cpt_bh_rows(r->n_rows, r->rows, sizeof *r->rows, offsetof(cpt_ora_row, p), offsetof(cpt_ora_row, q), e));
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

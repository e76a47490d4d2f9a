/* corrections.c - false discoveries over thousands of concepts.
 *
 * Benjamini-Hochberg within each concept says nothing about a page of findings from all of them. Two ways
 * to say something: BH over all tests of all concepts at once, or hierarchically (Benjamini and Bogomolov,
 * JRSS B 76, 2014): a p value for every concept that anything is in it (Simes, Biometrika 73, 1986:
 * min over j of m p_(j) / j), BH over these, and BH within the R selected of F concepts at level
 * alpha R / F, which is to say q F / R against alpha.
 *
 * Only small p are kept of the millions. Step-up at any level up to the limit depends on p up to that
 * level only: what lies above the limit comes out as an upper bound, never too small. O(n log n).
 */
#include "enrich/corrections.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "math/statistics.h"

static double power10(double x)
{
    return fmin(1, fmax(pow(10, x), DBL_MIN));
}

/* The smallest q of the family is its Simes p. */
static double smallest(int64_t n, const double *log10q)
{
    double low = 0;
    for (int64_t i = 0; i < n; i++) low = fmin(low, log10q[i]);
    return low;
}

static cpt_status check(const cpt_test_families *f, cpt_err *e)
{
    for (int32_t i = 0; i < f->n; i++)
        if (f->n_tests[i] < f->first[i + 1] - f->first[i])
            return cpt_fail(e, CPT_ERR_INTERNAL, "family %d lists more p values than it has tests", i);
    return CPT_OK;
}

cpt_status cpt_corrections_make(const cpt_test_families *f, double alpha, cpt_corrections *out, cpt_err *e)
{
    int64_t total = f->n ? f->first[f->n] : 0, n_tests = 0;
    double *within = NULL;
    cpt_status status;
    *out = (cpt_corrections){0};
    CPT_TRY(check(f, e));
    CPT_TRY(cpt_alloc(&out->q_all, (size_t)total, sizeof *out->q_all, e));
    CPT_TRY(cpt_alloc(&out->q_hierarchical, (size_t)total, sizeof *out->q_hierarchical, e));
    CPT_TRY(cpt_alloc(&out->p_simes, (size_t)f->n, sizeof *out->p_simes, e));
    CPT_TRY(cpt_alloc(&out->q_simes, (size_t)f->n, sizeof *out->q_simes, e));
    CPT_TRY(cpt_alloc(&within, (size_t)total, sizeof *within, e));
    for (int32_t i = 0; i < f->n; i++) {
        int64_t at = f->first[i], n = f->first[i + 1] - at;
        n_tests += f->n_tests[i];
        if (n) CPT_TRY(cpt_bh_log10(n, f->log10p + at, f->n_tests[i], within + at, e));
        out->p_simes[i] = power10(smallest(n, within + at));
    }
    if (f->n) CPT_TRY(cpt_bh(f->n, out->p_simes, 0, out->q_simes, e));
    if (total) CPT_TRY(cpt_bh_log10(total, f->log10p, n_tests, out->q_all, e));
    for (int32_t i = 0; i < f->n; i++) out->n_selected += out->q_simes[i] < alpha;
    for (int32_t i = 0; i < f->n; i++)
        for (int64_t k = f->first[i]; k < f->first[i + 1]; k++) {
            bool selected = out->q_simes[i] < alpha;
            out->q_all[k] = power10(out->q_all[k]);
            out->q_hierarchical[k] = selected ? fmin(1, power10(within[k]) * f->n / out->n_selected) : NAN;
        }
done:
    free(within);
    if (status) cpt_corrections_free(out);
    return status;
}

void cpt_corrections_free(cpt_corrections *c)
{
    free(c->q_all);
    free(c->p_simes);
    free(c->q_simes);
    free(c->q_hierarchical);
    *c = (cpt_corrections){0};
}

cpt_status cpt_bh_rows(int32_t n, void *rows, size_t size, size_t p_at, size_t q_at, cpt_err *e)
{
    cpt_status status = CPT_OK;
    double *p = NULL, *q = NULL;
    char *row = rows;
    CPT_TRY(cpt_alloc(&p, (size_t)n, sizeof *p, e));
    CPT_TRY(cpt_alloc(&q, (size_t)n, sizeof *q, e));
    for (int32_t i = 0; i < n; i++) memcpy(p + i, row + (size_t)i * size + p_at, sizeof *p);
    CPT_TRY(cpt_bh(n, p, 0, q, e));
    for (int32_t i = 0; i < n; i++) memcpy(row + (size_t)i * size + q_at, q + i, sizeof *q);
done:
    free(p);
    free(q);
    return status;
}

/* nnls.c - exact non-negative least squares on the normal equations.
 *
 * Method: active set (Lawson and Hanson 1974, chapter 23; Bro and de Jong 1997 for the form with G
 * and b alone). Start with no coefficient; let the one with the largest slack in; solve without
 * bounds over those that are in; where one would become negative go only as far as it reaches 0 and
 * put it out; stop when no slack is positive. The objective falls at each change, so it ends; a
 * limit guards rounding.
 *
 * Cost: the factor grows by one row per entry, O(m^2); an exit factors anew, O(m^3). Typically
 * O(m^3) in all, m = number of positive coefficients.
 *
 * Trap: a column that depends on those inside has no pivot; it is refused until one of them leaves.
 */
#include "dictionary/nnls.h"

#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double SMALLEST_PIVOT = 1e-12; /* of the diagonal */
static const double SLACK_TOLERANCE = 1e-12; /* of |b|_max */

cpt_status cpt_nnls_new(int32_t n, cpt_nnls *s, cpt_err *e)
{
    *s = (cpt_nnls){.n = n};
    const size_t size = (size_t)n;
    char *at = NULL;
    cpt_status status = cpt_alloc(&at, (size * size + 3 * size) * sizeof(double) +
                                  size * (sizeof(int32_t) + 2 * sizeof(bool)), 1, e);
    if (status != CPT_OK) return status;
    s->memory = at;
    s->factor = (double *)at;
    s->u = s->factor + size * size;
    s->slack = s->u + size;
    s->trial = s->slack + size;
    s->active = (int32_t *)(s->trial + size);
    s->is_active = (bool *)(s->active + size);
    s->refused = s->is_active + size;
    return CPT_OK;
}

void cpt_nnls_free(cpt_nnls *s)
{
    free(s->memory);
    *s = (cpt_nnls){0};
}

/* Row `m` of the factor, for coefficient c after the m that are in. */
static bool factor_row(cpt_nnls *s, const double *gram, int32_t m, int32_t c)
{
    const int64_t n = s->n;
    double *row = s->factor + m * n, pivot = gram[c * n + c];
    for (int64_t i = 0; i < m; i++) {
        const double *other = s->factor + i * n;
        double sum = gram[c * n + s->active[i]];
        for (int64_t j = 0; j < i; j++) sum -= row[j] * other[j];
        row[i] = sum / other[i];
        pivot -= row[i] * row[i];
    }
    if (!(pivot > SMALLEST_PIVOT * gram[c * n + c])) return false;
    row[m] = sqrt(pivot);
    return true;
}

void cpt_nnls_back(const cpt_nnls *s, double *x)
{
    const int64_t n = s->n;
    for (int64_t i = 0; i < s->n_active; i++) {
        for (int64_t j = 0; j < i; j++) x[i] -= s->factor[i * n + j] * x[j];
        x[i] /= s->factor[i * n + i];
    }
    for (int64_t i = s->n_active - 1; i >= 0; i--) {
        for (int64_t j = i + 1; j < s->n_active; j++) x[i] -= s->factor[j * n + i] * x[j];
        x[i] /= s->factor[i * n + i];
    }
}

static void update_slack(cpt_nnls *s, const double *gram, const double *b)
{
    memcpy(s->slack, b, (size_t)s->n * sizeof *b);
    for (int32_t i = 0; i < s->n_active; i++) {
        const double *row = gram + (int64_t)s->active[i] * s->n, u = s->u[s->active[i]];
        for (int32_t c = 0; c < s->n; c++) s->slack[c] -= u * row[c];
    }
}

/* Drops the coefficients that are 0 and factors the rest again. */
static void drop_zeros(cpt_nnls *s, const double *gram)
{
    int32_t kept = 0;
    for (int32_t i = 0; i < s->n_active; i++) {
        const int32_t c = s->active[i];
        if (s->u[c] > 0 && factor_row(s, gram, kept, c)) {
            s->active[kept++] = c;
            continue;
        }
        s->u[c] = 0;
        s->is_active[c] = false;
    }
    s->n_active = kept;
    memset(s->refused, 0, (size_t)s->n * sizeof *s->refused);
}

/* Moves u to the unbounded optimum over the active ones, leaving out what turns negative. */
static void descend(cpt_nnls *s, const double *gram, const double *b)
{
    for (;;) {
        double step = 1;
        int32_t first = -1;
        for (int32_t i = 0; i < s->n_active; i++) s->trial[i] = b[s->active[i]];
        cpt_nnls_back(s, s->trial);
        for (int32_t i = 0; i < s->n_active; i++) {
            const double u = s->u[s->active[i]];
            if (s->trial[i] > 0) continue;
            const double reach = u > 0 ? u / (u - s->trial[i]) : 0;
            if (first < 0 || reach < step) {
                step = reach;
                first = s->active[i];
            }
        }
        for (int32_t i = 0; i < s->n_active; i++) {
            double *u = &s->u[s->active[i]];
            *u = first < 0 ? s->trial[i] : *u + step * (s->trial[i] - *u);
        }
        if (first < 0) return;
        s->u[first] = 0;
        drop_zeros(s, gram);
    }
}

void cpt_nnls_solve(cpt_nnls *s, const double *gram, const double *b)
{
    double largest = 0;
    s->n_active = 0;
    memset(s->u, 0, (size_t)s->n * sizeof *s->u);
    memset(s->is_active, 0, (size_t)s->n * sizeof *s->is_active);
    memset(s->refused, 0, (size_t)s->n * sizeof *s->refused);
    memcpy(s->slack, b, (size_t)s->n * sizeof *b);
    for (int32_t c = 0; c < s->n; c++) largest = fabs(b[c]) > largest ? fabs(b[c]) : largest;
    for (int64_t entry = 0; entry < 3 * (int64_t)s->n + 10; entry++) {
        int32_t best = -1;
        for (int32_t c = 0; c < s->n; c++)
            if (!s->is_active[c] && !s->refused[c] && s->slack[c] > SLACK_TOLERANCE * largest &&
                (best < 0 || s->slack[c] > s->slack[best]))
                best = c;
        if (best < 0) return;
        if (!factor_row(s, gram, s->n_active, best)) {
            s->refused[best] = true;
            continue;
        }
        s->active[s->n_active++] = best;
        s->is_active[best] = true;
        descend(s, gram, b);
        if (!s->is_active[best]) s->refused[best] = true; /* its slack was rounding */
        update_slack(s, gram, b);
    }
}

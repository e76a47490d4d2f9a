/* exact_null.h - the null of the enrichment score by listing all subsets of a short list.
 *
 * golden/gsea/exact_small.json did the same in floating point, where P = -Q is often missed by a rounding
 * error: of 15,504 subsets of its first list 99 have a score of exactly 0, it counted 6. Conditional
 * probabilities differ by up to 13 % on its shortest lists. Here the arithmetic is exact. */
#ifndef CPT_TEST_EXACT_NULL_H
#define CPT_TEST_EXACT_NULL_H

#include "check.h"
#include "enrich/enrich.h"

enum { EXACT_MOST = 16000 };

typedef struct exact_null {
    int n;
    double es[EXACT_MOST];
} exact_null;

static inline void exact_list(exact_null *null, const int64_t *weights, int n, int k, cpt_score_type type)
{
    int32_t at[8];
    null->n = 0;
    for (int i = 0; i < k; i++) at[i] = i;
    for (;;) {
        assert_true(null->n < EXACT_MOST);
        null->es[null->n++] = cpt_gsea_es(weights, n, at, k, type);
        int i = k - 1;
        while (i >= 0 && at[i] == n - k + i) i--;
        if (i < 0) return;
        at[i]++;
        for (i++; i < k; i++) at[i] = at[i - 1] + 1;
    }
}

/* Probability of a score as extreme among those of the same sign (0 counts on both sides). */
static inline double exact_p(const exact_null *null, double es, int *n_same, double *mean)
{
    int beyond = 0, same = 0;
    double sum = 0;
    for (int i = 0; i < null->n; i++) {
        if (es >= 0 ? null->es[i] < 0 : null->es[i] > 0) continue;
        same++;
        sum += null->es[i];
        beyond += es >= 0 ? null->es[i] >= es : null->es[i] <= es;
    }
    if (n_same) *n_same = same;
    if (mean) *mean = sum / same;
    return (double)beyond / same;
}

#endif

/* corrections.h - multiple tests over many concepts: all at once, or concepts first and terms within them. */
#ifndef CPT_ENRICH_CORRECTIONS_H
#define CPT_ENRICH_CORRECTIONS_H

#include "base/error.h"

#include <stddef.h>

/* BH over rows of `size` bytes: p at byte p_at of each, NaN = not tested; q goes to byte q_at (offsetof). */
cpt_status cpt_bh_rows(int32_t n, void *rows, size_t size, size_t p_at, size_t q_at, cpt_err *e);

/* One family per concept: the tests of one collection on one of its rankings. Only the p up to some limit need
 * be listed: results are exact wherever they are not above it. */
typedef struct cpt_test_families {
    int32_t n;
    const int64_t *first;   /* [n + 1] family f: log10p[first[f]] .. [first[f + 1]), any order */
    const int64_t *n_tests; /* [n] tests by design, listed or not */
    const double *log10p;
} cpt_test_families;

typedef struct cpt_corrections {
    double *q_all;          /* [first[n]] BH over the tests of all families */
    double *p_simes;        /* [n] Simes: that the family holds anything; 1 when nothing is listed */
    double *q_simes;        /* [n] BH over the families */
    double *q_hierarchical; /* [first[n]] BH within a family that was selected at `alpha`, times families over
                               selected ones; NaN in the others */
    int32_t n_selected;
} cpt_corrections;

/* Benjamini and Bogomolov (2014): with q_hierarchical < alpha the expected share of false findings, averaged
 * over the selected families, is below alpha. */
cpt_status cpt_corrections_make(const cpt_test_families *f, double alpha, cpt_corrections *out, cpt_err *e);
void cpt_corrections_free(cpt_corrections *c);

#endif

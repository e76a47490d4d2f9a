/* stability.h - whether another training finds the same concepts: matched rows of decoders.
 *
 * Two dictionaries of one embedding are matched one to one so that the sum of cosines of their
 * decoder rows is largest (math/assignment.h). In a space of few dimensions many random rows find
 * good partners by chance alone: every number stands beside its value for random unit rows of the
 * same sizes.
 *
 * PW-MCC (pairwise dictionary mean correlation coefficient; Song et al. 2025, arXiv 2505.20254):
 * the same with |cosine|, matched and averaged, so that a row and its negative are one feature. */
#ifndef CPT_EVALUATE_STABILITY_H
#define CPT_EVALUATE_STABILITY_H

#include "base/log.h"

typedef struct cpt_rows {
    const float *rows; /* [n][dim]; need not have unit norm, a row of zeros has cosine 0 with all */
    int32_t n;
} cpt_rows;

typedef struct cpt_match {
    int32_t n_matched;         /* min(a.n, b.n) */
    double cosine;             /* mean over the matched pairs */
    double above_07, above_09; /* share of matched pairs with cosine > 0.7, > 0.9 */
    double pw_mcc;
} cpt_match;

/* partner [a.n] (-1 = none) and cosine [a.n] (NaN = none) may be NULL. O(n^3) for n concepts. */
cpt_status cpt_match_rows(const cpt_rows *a, const cpt_rows *b, int32_t dim, int32_t *partner,
                          double *cosine, cpt_match *out, const cpt_context *ctx, cpt_err *e);

typedef struct cpt_spread {
    double mean, sd; /* sd with n - 1; NaN for one value */
} cpt_spread;

/* Of one field over n matches: offsetof(cpt_match, field). */
cpt_spread cpt_spread_of(int32_t n, const cpt_match *matches, size_t field);

typedef struct cpt_stability {
    int32_t n_dictionaries, n_pairs, n_null;
    cpt_spread cosine, above_07, above_09, pw_mcc; /* over the pairs, which share dictionaries: the
                                                    * sd is a description, no standard error */
    cpt_spread null_cosine, null_above_07, null_above_09, null_pw_mcc; /* over n_null draws */
    double p; /* (1 + draws whose cosine reaches the mean over the pairs) / (1 + n_null); NaN
                 without */
} cpt_stability;

/* At least two dictionaries. The null draws pairs of random dictionaries with the sizes of the
 * first two. Same bytes for any number of threads. */
cpt_status cpt_stability_of(const cpt_rows *dictionaries, int32_t n, int32_t dim, int32_t n_null,
                            cpt_stability *out, const cpt_context *ctx, cpt_err *e);

/* ---- what other nulls give ---- */
typedef enum cpt_null_rows {
    CPT_NULL_SPHERE,     /* uniform on the sphere: knows only the numbers of rows and dimensions */
    CPT_NULL_COVARIANCE, /* normal with the covariance of the embedding: directions in which cells
                            differ more come up more often */
    CPT_NULL_CELLS,      /* cells drawn at random, less the mean: a dictionary without training */
    CPT_N_NULL_ROWS
} cpt_null_rows;

typedef struct cpt_stability_null {
    int32_t n_draws;
    cpt_spread cosine, above_07, above_09, pw_mcc; /* over draws, each a pair of dictionaries */
    double row_quantiles[3]; /* 5, 50, 95 % of the matched cosines of single rows */
} cpt_stability_null;

/* a [n][dim] finite rows of the embedding; pairs of dictionaries with n_rows[0] and n_rows[1] rows. CELLS
 * draws without replacement where there are cells enough. Same bytes for any number of threads. */
cpt_status cpt_stability_null_of(cpt_null_rows kind, const float *a, int64_t n, int32_t dim,
                                 const int32_t n_rows[2], int32_t n_draws, cpt_stability_null *out,
                                 const cpt_context *ctx, cpt_err *e);

#endif

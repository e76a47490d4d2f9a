/* agreement.h - how far ratings can be trusted: with oneself, with others, and against controls.
 *
 * Ratings are whole numbers 1..n_categories on an ordinal scale; 0 = not rated. NaN = not defined
 * (no ratings in common, or no variation that could be agreed on). Every figure stands beside its
 * n. */
#ifndef CPT_EVALUATE_AGREEMENT_H
#define CPT_EVALUATE_AGREEMENT_H

#include "base/error.h"

enum { CPT_RATING_CATEGORIES_MAX = 32 };

/* What n raters said of m units: ratings [n_raters][n_units]. Borrowed. */
typedef struct cpt_ratings {
    int32_t n_raters, n_units, n_categories;
    const int32_t *ratings;
} cpt_ratings;

/* Two ratings of the same units: Cohen's kappa with quadratic weights (i - j)^2 (Cohen 1968), and
 * the share of equal ones. Units with a 0 on either side are left out. */
typedef struct cpt_kappa {
    int32_t n;    /* units rated on both sides */
    double kappa; /* 1 = always equal, 0 = as by chance */
    double exact;
} cpt_kappa;
cpt_kappa cpt_kappa_weighted(const int32_t *a, const int32_t *b, int32_t n_units,
                             int32_t n_categories);

/* Fleiss' kappa (1971), nominal, over the units that all raters rated: *n_units of them. */
double cpt_kappa_fleiss(const cpt_ratings *r, int32_t *n_units);

/* Krippendorff's alpha with the ordinal metric; missing ratings are allowed. *n_units: units with
 * two ratings or more (2011, "Computing Krippendorff's Alpha-Reliability"). */
double cpt_alpha_ordinal(const cpt_ratings *r, int32_t *n_units);

/* Mean rating of the units of one kind; each unit counts once, with the mean of its ratings. */
typedef struct cpt_rating_mean {
    int32_t n_units, n_ratings;
    double mean, low, high; /* 95 %, percentile bootstrap over units; NaN below two units */
} cpt_rating_mean;
/* kinds [n_units]. */
cpt_status cpt_rating_mean_of(const cpt_ratings *r, const int32_t *kinds, int32_t kind,
                              int32_t n_bootstrap, uint64_t seed, cpt_rating_mean *out, cpt_err *e);

/* Kind a against kind b within experts: mean over the raters that rated both of (their mean rating
 * of a minus that of b), so that a strict and a lenient expert weigh the same. */
typedef struct cpt_rating_contrast {
    int32_t n_raters, n_a, n_b; /* raters that rated both; units of either kind that they rated */
    double difference;          /* NaN when nobody rated both kinds */
    double low, high;           /* 95 %, percentile bootstrap over units within kind */
    double p;                   /* two-sided, (1 + as large) / (1 + n_permutations): never 0 */
    int32_t n_permutations;
} cpt_rating_contrast;
/* The permutation moves kinds between units that the same raters rated: all ratings of a unit stay
 * together, since two experts who look at one unit are not two independent observations. */
cpt_status cpt_rating_compare(const cpt_ratings *r, const int32_t *kinds, int32_t a, int32_t b,
                              int32_t n_replicates, uint64_t seed, cpt_rating_contrast *out,
                              cpt_err *e);

#endif

/* ranking_areas.h - which ranking of genes is the most faithful: areas under curves of joint
 * substitution, with intervals and paired comparisons (method.md 4). */
#ifndef CPT_EVALUATE_RANKING_AREAS_H
#define CPT_EVALUATE_RANKING_AREAS_H

#include "base/log.h"

/* One value per pair and ranking, grouped by concept. */
typedef struct cpt_pair_values_by_concept {
    int32_t n_concepts, n_rankings;
    const int64_t *first; /* [n_concepts + 1] pairs of each concept */
    const double *values; /* [pairs][n_rankings]; NaN = unusable (then of all rankings) */
} cpt_pair_values_by_concept;

typedef struct cpt_interval {
    double mean, sd;  /* sd over concepts, n - 1 */
    double low, high; /* 95 %: concepts drawn with replacement, then pairs within them */
    int32_t n_concepts;
    int64_t n_pairs;
} cpt_interval;

/* Mean over concepts of their means over pairs, of one ranking, or of the difference of two
 * (against
 * >= 0). n_resamples draws; percentiles. item: tells one call's random numbers from another's. */
cpt_status cpt_interval_over_concepts(const cpt_pair_values_by_concept *v, int32_t ranking,
                                      int32_t against, int32_t n_resamples, uint64_t item,
                                      cpt_interval *out, const cpt_context *ctx, cpt_err *e);

/* Two-sided p that the mean of n values is 0, by sign flips: all of them for n <= 16, else n_flips
 * at random. Concepts are the units: pairs of one concept are no independent witnesses. NaN for n
 * < 1. */
double cpt_sign_flip_p(int32_t n, const double *values, int32_t n_flips, uint64_t seed,
                       uint64_t item);

/* Mean over its usable pairs; NaN without. */
double cpt_concept_mean(const cpt_pair_values_by_concept *v, int32_t concept, int32_t ranking,
                        int32_t against);
/* 95 % percentile bootstrap interval over the pairs of one concept; NaN with fewer than 2. */
cpt_status cpt_concept_interval(const cpt_pair_values_by_concept *v, int32_t concept,
                                int32_t ranking, int32_t against, int32_t n_resamples, double *low,
                                double *high, const cpt_context *ctx, cpt_err *e);

#endif

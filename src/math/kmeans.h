/* kmeans.h - a rough partition of many points into compact parts: k-means (Lloyd 1982) on a sample, seeded by
 * k-means++ (Arthur and Vassilvitskii 2007), then all points to the nearest centre.
 *
 * For orders and searches that work with any partition, faster with a good one: distances are those of f32 products. */
#ifndef CPT_MATH_KMEANS_H
#define CPT_MATH_KMEANS_H

#include "base/error.h"

/* Points x [n][dim], finite; they are measured as (x - mean) * scale, which should be about 1 at most. mean [dim]. */
typedef struct cpt_points {
    const float *x;
    int64_t n;
    int32_t dim;
    const double *mean;
    double scale;
} cpt_points;

/* part_of [n]: 0 .. n_parts - 1, 1 <= n_parts <= n; parts may be empty. Always the same on one processor, for any number of
 * threads. */
cpt_status cpt_kmeans_parts(const cpt_points *p, int32_t n_parts, int n_threads, int32_t *part_of, cpt_err *e);

#endif

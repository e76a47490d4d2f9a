/* neighbours.h - exact nearest neighbours: leaves that are out of reach left out, the others by matrix products. */
#ifndef CPT_MATH_NEIGHBOURS_H
#define CPT_MATH_NEIGHBOURS_H

#include "base/log.h"

/* The k nearest of n points x [n][dim] to each point, itself left out, by Euclidean distance; ties
 * by lower number. neighbours [n][k] (-1 when there are fewer), distances [n][k] ascending.
 * Distances are recomputed from differences in double, so they are exact also for close points far
 * from 0. */
cpt_status cpt_neighbours(const float *x, int64_t n, int32_t dim, int32_t k, int32_t *neighbours,
                          float *distances, const cpt_context *ctx, cpt_err *e);

/* Median over a sample of at most `sample` points (evenly spaced) of the distance to the nearest
 * other point. */
cpt_status cpt_median_neighbour_distance(const float *x, int64_t n, int32_t dim, int64_t sample,
                                         double *out, const cpt_context *ctx, cpt_err *e);

#endif

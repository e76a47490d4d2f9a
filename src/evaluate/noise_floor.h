/* noise_floor.h - sizes of attributions beside those of units that mean nothing, and the cut-off
 * that the null supports (method.md 4). */
#ifndef CPT_EVALUATE_NOISE_FLOOR_H
#define CPT_EVALUATE_NOISE_FLOOR_H

#include "base/error.h"

/* |mean attribution| of the genes of many units, over those that differed in a pair at all. */
typedef struct cpt_sizes {
    int64_t n;
    double *sorted; /* ascending */
    int32_t n_units;
} cpt_sizes;

/* mean, n_differed [n_units][n_genes]; values that are not finite and genes with n_differed outside
 * [least, most] are left out. */
cpt_status cpt_sizes_make(const float *mean, const int32_t *n_differed, int32_t n_units,
                          int32_t n_genes, int32_t least, int32_t most, cpt_sizes *out, cpt_err *e);
void cpt_sizes_free(cpt_sizes *s);

double cpt_sizes_quantile(const cpt_sizes *s, double q); /* NaN when empty */
double cpt_sizes_share_below(const cpt_sizes *s,
                             double cutoff); /* share < cutoff; NaN when empty */

/* The smallest cut-off t at which the share of the null at or above t is at most `rate` of the
 * share of the concepts at or above t: of the genes called, that part is expected to be false. NaN
 * when no t of the concepts does. */
double cpt_cutoff_by_rate(const cpt_sizes *concepts, const cpt_sizes *null, double rate);

#endif

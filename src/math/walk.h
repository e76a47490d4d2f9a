/* walk.h - extremes of the running sum of GSEA, many random subsets or many members at a time.
 *
 * All numbers are integers held in doubles below 2^53, so results are exact and the same for every
 * instruction set. With A = genes outside the subset, R = sum of its weights and, at member i (from 0,
 * position S_i from 0), c_i the weights up to and including it, the sum times A R is
 *     top_i = c_i A - (S_i - i) R        bottom_i = top_i - w_i A. */
#ifndef CPT_MATH_WALK_H
#define CPT_MATH_WALK_H

#include "math/columns.h"

#include <stdint.h>

enum { CPT_WALK_LANES = 8 }; /* subsets side by side */

typedef struct cpt_walk_kernels {
    /* Eight growing subsets, in order of position: entry t of lane l at [t * 8 + l] has a position, a
     * weight and an arrival number. For each size k: the members are the entries with arrival < k;
     * totals [size][8] are their weight sums. Writes max top and min bottom, [size][8]. */
    void (*prefixes)(int64_t n, const double *position, const double *weight, const double *arrival,
                     int32_t n_genes, int32_t n_sizes, const double *sizes, const double *totals,
                     double *top, double *bottom);
    /* Eight sorted subsets out of CPT_COLUMNS (columns.h): member t of lane l at position[t * CPT_COLUMNS + l]. Behind
     * the last of sizes[l] members stand entries n_genes, where the weight is 0: weight [n_genes + 1]. Writes the sums
     * of the weights, the extremes and the members (from 0) where these are met first; they mean nothing where the sum
     * is 0. found [n_steps * 8] is scratch. Everything is aligned to a vector. */
    void (*subsets16)(int32_t n_steps, const uint16_t *position, const double *weight, int32_t n_genes,
                      const double *sizes, double *found, double *totals, double *top, double *bottom,
                      double *top_at, double *bottom_at);
    void (*subsets32)(int32_t n_steps, const int32_t *position, const double *weight, int32_t n_genes,
                      const double *sizes, double *found, double *totals, double *top, double *bottom,
                      double *top_at, double *bottom_at);
    /* The same where the weight at position s is |2 s + 1 - n_genes|, sums given; and these sums, of the CPT_COLUMNS
     * subsets of a group, in any order of their members. */
    void (*ranked16)(int32_t n_steps, const uint16_t *position, int32_t n_genes, const double *sizes,
                     const double *totals, double *top, double *bottom, double *top_at, double *bottom_at);
    void (*ranked32)(int32_t n_steps, const int32_t *position, int32_t n_genes, const double *sizes,
                     const double *totals, double *top, double *bottom, double *top_at, double *bottom_at);
    void (*rank_sums16)(int32_t n_steps, const uint16_t *position, int32_t n_genes, const double *sizes,
                        double *totals);
    void (*rank_sums32)(int32_t n_steps, const int32_t *position, int32_t n_genes, const double *sizes,
                        double *totals);
    /* One sorted subset: sum[i] = weights up to and including member i. */
    /* max over members first <= i < last of sum[i] * a - (position[i] - i) * r; -inf when there are none. */
    double (*highest)(int32_t first, int32_t last, const double *sum, const int32_t *position, double a,
                      double r);
    /* Number of members before `target`. */
    int32_t (*find)(int32_t k, const int32_t *position, int32_t target);
    /* Member `from` of weight `loss` leaves, `newcomer` of weight `gain` enters before member `to`. */
    void (*swap)(int32_t k, int32_t from, int32_t to, int32_t newcomer, double loss, double gain,
                 int32_t *position, double *sum);
} cpt_walk_kernels;

const cpt_walk_kernels *cpt_walk_kernels_get(void);
const cpt_walk_kernels *cpt_walk_kernels_at(int level);

#endif

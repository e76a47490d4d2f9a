/* strips.h - sums of a few rows out of many (a sparse code times a dictionary), a strip of columns at a time.
 *
 * All rows of a dictionary are too large for the second-level cache, a strip of 64 of their columns is not: what is read
 * at random then comes from there. Strips are copies, [strip][row][columns], the last one padded with 0. */
#ifndef CPT_MATH_STRIPS_H
#define CPT_MATH_STRIPS_H

#include <stdint.h>

enum { CPT_STRIP = 64, CPT_PAIR_STRIP = 32 };

static inline int64_t cpt_strips(int64_t n) /* of CPT_STRIP columns */
{
    return (n + CPT_STRIP - 1) / CPT_STRIP;
}

/* One entry of a sparse matrix by columns: the row it is in, its value and its gradient. */
typedef struct cpt_strip_entry {
    int32_t row;
    float value, gradient;
} cpt_strip_entry;

typedef struct cpt_strip_kernels {
    /* strip [n][CPT_STRIP] = columns first .. first + CPT_STRIP of rows [n], 0 beyond stride. */
    void (*copy)(int64_t n, const float *rows, int64_t stride, int64_t first, float *strip);
    /* error [CPT_STRIP] = sum over m of values * their rows of the strip, less centred; dots [m] += error . row;
     * returns error . error */
    float (*decode)(int32_t m, const int32_t *rows, const float *values, const float *strip, const float *centred,
                    float *error, float *dots);
    /* dots [m] += x [CPT_STRIP] . rows of the strip */
    void (*dots)(int32_t m, const int32_t *rows, const float *strip, const float *x, float *dots);
    /* Over the n entries, whose row r is [2][CPT_PAIR_STRIP] at pairs: left [CPT_PAIR_STRIP] = sum of gradient *
     * first half, right = factor * sum of value * second half. */
    void (*gather)(int64_t n, const cpt_strip_entry *entries, const float *pairs, float factor, float *left,
                   float *right);
    /* sum [n] += row, in double */
    void (*add)(int64_t n, const float *row, double *sum);
} cpt_strip_kernels;

const cpt_strip_kernels *cpt_strip_kernels_get(void);
const cpt_strip_kernels *cpt_strip_kernels_at(int level); /* tests; NULL when the CPU lacks it */

#endif

/* assignment.h - the cheapest one-to-one matching of rows and columns. */
#ifndef CPT_MATH_ASSIGNMENT_H
#define CPT_MATH_ASSIGNMENT_H

#include "base/error.h"

/* cost [n_rows][n_cols], finite. Matches min(n_rows, n_cols) pairs with the least total cost:
 * column_of [n_rows], -1 for rows left over; *total (may be NULL) = sum of the matched costs in row
 * order. For the most similar pairs, pass -similarity. */
cpt_status cpt_assignment(const double *cost, int32_t n_rows, int32_t n_cols, int32_t *column_of,
                          double *total, cpt_err *e);

#endif

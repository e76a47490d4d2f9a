/* logistic.h - multinomial logistic regression with an L2 penalty, to the optimum; private to this
 * folder. */
#ifndef CPT_EVALUATE_LOGISTIC_H
#define CPT_EVALUATE_LOGISTIC_H

#include "base/log.h"

/* Minimises over theta [n_classes][width]
 *
 *     0.5 * sum of theta^2 over the penalised columns
 *         + strength * sum_i weight_i * (ln sum_k exp(theta_k . x_i) - theta_{y_i} . x_i)
 *
 * which is scikit-learn's C. Every class needs a cell, or its intercept has no optimum. For two
 * classes scikit-learn's coefficient w is theta_1 - theta_0 at half its C. */
typedef struct cpt_logistic {
    int64_t n;
    int32_t width;          /* columns of x */
    int32_t n_free; /* the last columns carry no penalty: 1 for an intercept, whose column is 1 */
    int32_t n_classes;
    const double *x;        /* [n][width] finite */
    const int32_t *y;       /* [n] 0 .. n_classes - 1 */
    const double *weights;  /* [n], NULL = 1 */
    double strength;
    double tolerance;       /* of the largest gradient entry, as a share of strength * n + 1 */
} cpt_logistic;

/* theta is the start (zeros, or the solution at another strength) and the result. Same bytes for
 * any number of threads. */
cpt_status cpt_logistic_fit(const cpt_logistic *problem, double *theta, const cpt_context *ctx,
                            cpt_err *e);

#endif

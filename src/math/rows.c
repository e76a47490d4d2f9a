#include "math/rows.h"

#include <math.h>

cpt_adam cpt_adam_at(double learning_rate, double beta1, double beta2, double eps, int64_t t,
                     double scale)
{
    double correction1 = 1 - pow(beta1, (double)t), correction2 = 1 - pow(beta2, (double)t);
    return (cpt_adam){.beta1 = (float)beta1,
                      .beta2 = (float)beta2,
                      .rest1 = (float)(1 - beta1),
                      .rest2 = (float)(1 - beta2),
                      .eps = (float)eps,
                      .step = (float)(learning_rate / correction1),
                      .inverse_root = (float)(1 / sqrt(correction2)),
                      .scale = (float)scale};
}

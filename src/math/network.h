/* network.h - the few products that a small network over sparse counts needs, and Adam.
 *
 * Weights are stored [n_in][n_out], so that the weights of one input (a gene) lie side by side.
 * Each output is summed over the inputs in ascending order by one chain of multiply-adds,
 * whatever the number of rows in the call: a cell's result does not depend on which cells it is
 * computed with. */
#ifndef CPT_MATH_NETWORK_H
#define CPT_MATH_NETWORK_H

#include <stdint.h>

/* One step of Adam with L2 decay added to the gradient (torch.optim.Adam). */
typedef struct cpt_adam_step {
    float rate;   /* lr / (1 - beta1^t) */
    float root;   /* 1 / sqrt(1 - beta2^t) */
    float beta1, rest1;   /* beta1, 1 - beta1 (which float arithmetic on beta1 would get wrong) */
    float beta2, rest2;
    float eps, decay;
} cpt_adam_step;

typedef struct cpt_network_kernels {
    void (*log1p)(int64_t n, const float *x, float *out); /* x >= 0 */
    /* out[width] += sum_i factors[i] * matrix[rows[i]][:], row length `width` */
    void (*accumulate)(int32_t n, const int32_t *rows, const float *factors, const float *matrix,
                       int32_t width, float *out);
    /* matrix[rows[i] - first][:] += factors[i] * vector[width] for all i */
    void (*scatter)(int32_t n, const int32_t *rows, int32_t first, const float *factors, const float *vector,
                    int32_t width, float *matrix);
    /* out [n][n_out] = bias + in [n][n_in] weight [n_in][n_out] */
    void (*dense)(int32_t n, int32_t n_in, int32_t n_out, const float *in, const float *weight,
                  const float *bias, float *out);
    /* out = max(0, scale * (base + delta * row) + shift) */
    void (*perturb)(int32_t n, const float *base, float delta, const float *row, const float *scale,
                    const float *shift, float *out);
    /* rows [n][width] = max(0, scale * rows + shift): the bits of perturb with delta 0 */
    void (*activate)(int32_t n, int32_t width, const float *scale, const float *shift, float *rows);
    void (*adam)(int64_t n, const cpt_adam_step *step, float *p, const float *gradient, float *m,
                 float *v);
    /* out [columns][rows] = in [rows][columns] turned; strides between rows of each */
    void (*turn)(int32_t rows, int32_t columns, const float *in, int64_t in_stride, float *out,
                 int64_t out_stride);
} cpt_network_kernels;

const cpt_network_kernels *cpt_network_kernels_get(void);
const cpt_network_kernels *cpt_network_kernels_at(int level);

#endif

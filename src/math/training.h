/* training.h - what training a transformer needs beyond attention.h: gradients of the parameters
 * between the products, leaky ReLU, dropout.
 *
 * Rows of `width` floats, as in attention.h. Sums over rows are added to what is there, row after
 * row. */
#ifndef CPT_MATH_TRAINING_H
#define CPT_MATH_TRAINING_H

#include <stdint.h>

/* Dropout without stored masks: whether element i of a block stays is a function of the block's key
 * and i alone, so that going back asks again, and a block gives the same whatever it is computed
 * with. The mixer is a 32-bit finaliser, not a generator of the library's quality: masks need
 * independence, not cryptography. Keys come from streams. */
typedef struct cpt_dropout {
    uint32_t key[2];
    uint32_t below; /* 2^32 * probability: a hash below it drops the element */
    float scale;    /* 1 / (1 - probability) */
} cpt_dropout;

typedef struct cpt_training_kernels {
    /* sum [width] += sum over rows */
    void (*add_rows)(int64_t n, int64_t width, const float *rows, float *sum);
    /* Gradient of layer_norm at `in` (attention.h): grad [n][width] is replaced, those of gain and
     * shift [width] are added to. */
    void (*norm_back)(int64_t n, int64_t width, const float *in, const float *gain, float *grad,
                      float *gain_grad, float *shift_grad);
    /* rows += bias, then x < 0 becomes 0.01 x (torch.nn.LeakyReLU) */
    void (*add_bias_leaky)(int64_t n, int64_t width, const float *bias, float *rows);
    /* grad *= 0.01 where the output is < 0, as at 0 itself */
    void (*leaky_back)(int64_t n, const float *output, float *grad);
    /* out = 1 / (1 + exp(-x)); out may be x */
    void (*sigmoid)(int64_t n, const float *x, float *out);
    /* Elements first .. first + n of the block: kept ones times scale, the others 0. The gradient
     * of it is itself. */
    void (*dropout)(int64_t n, uint32_t first, const cpt_dropout *d, float *x);
} cpt_training_kernels;

const cpt_training_kernels *cpt_training_kernels_get(void);
const cpt_training_kernels *cpt_training_kernels_at(int level); /* NULL when the CPU lacks it */

#endif

/* attention.h - what a transformer does between its products: normalisation, softmax, biases.
 *
 * All work on rows of `width` floats. A row's result depends on that row alone, never on how many
 * rows the call has: a cell can be cut into blocks in any way. Sums run over 16 lanes that are
 * added up in double precision, in an order that is written in the code. */
#ifndef CPT_MATH_ATTENTION_H
#define CPT_MATH_ATTENTION_H

#include <stdint.h>

#define CPT_LAYER_NORM_EPS 1e-5 /* torch.nn.LayerNorm */

typedef struct cpt_attention_kernels {
    /* rows [n][width] += bias [width]; the second then takes max(0, .) */
    void (*add_bias)(int64_t n, int64_t width, const float *bias, float *rows);
    void (*add_bias_relu)(int64_t n, int64_t width, const float *bias, float *rows);
    /* out = (in - mean) / sqrt(variance + eps) * gain + shift, with the biased variance of the row;
     * out may be in */
    void (*layer_norm)(int64_t n, int64_t width, const float *in, const float *gain,
                       const float *shift, float *out);
    /* sum = x + add + bias; x = layer_norm(sum). sum [n][width] may be add. */
    void (*add_norm)(int64_t n, int64_t width, const float *add, const float *bias,
                     const float *gain, const float *shift, float *x, float *sum);
    /* Gradient of layer_norm at `in`: grad [n][width] is replaced. */
    void (*layer_norm_back)(int64_t n, int64_t width, const float *in, const float *gain,
                            float *grad);
    /* scores [n][width], row stride `stride`: each becomes exp(scale * (score - row maximum));
     * maxima [n] get scale * maximum (may be NULL), sums [n] what the row sums to: at least 1 */
    void (*softmax)(int64_t n, int64_t width, int64_t stride, float scale, float *scores,
                    float *maxima, float *sums);
    /* The same for a block of columns while it is in the first-level cache, with bounds [n] that no
     * scale * score of the row exceeds instead of the maxima: block [n][width], row stride
     * block_stride, width a multiple of 16 but for the last block; exp(scale * score - bound) goes
     * to out, row stride `stride`, and is added to lanes [n][16]. lane_sums: what the lanes of each
     * row sum to. */
    void (*softmax_block)(int64_t n, int64_t width, int64_t block_stride, float scale,
                          const float *bounds, const float *block, int64_t stride, float *out,
                          float *lanes);
    void (*lane_sums)(int64_t n, const float *lanes, float *sums);
    /* lengths [n] of rows [n][width], row stride `stride`, as the compiler adds up */
    void (*lengths)(int64_t n, int64_t width, int64_t stride, const float *rows, float *lengths);
    /* rows [n][width], row stride `stride`, divided by divisors [n] */
    void (*divide)(int64_t n, int64_t width, int64_t stride, const float *divisors, float *rows);
    /* Gradient of softmax: p are the normalised weights, grad [n][width] that of them;
     * grad = scale * p * (grad - sum p grad). Both with row stride `stride`. */
    void (*softmax_back)(int64_t n, int64_t width, int64_t stride, float scale, const float *p,
                         float *grad);
    /* grad = 0 where active is not > 0 */
    void (*relu_back)(int64_t n, const float *active, float *grad);
    /* The same in two steps: marks are 1 where x > 0, else 0; grad = 0 where the mark is */
    void (*mark)(int64_t n, const float *x, uint8_t *marks);
    void (*keep_marked)(int64_t n, const uint8_t *marks, float *grad);
    /* Keys that were not in the softmax of these rows: scores [n][width], row stride `stride`,
     * become exp(scale * score - maxima[i]) / sums[i], at most 1e30: the weight of such a key on
     * the scale where those that were there sum to 1. */
    void (*weigh)(int64_t n, int64_t width, int64_t stride, float scale, const float *maxima,
                  const float *sums, float *scores);
    /* One row of attention and n changes of its keys, each by itself: a key of weight p leaves (0 =
     * none does) and one of weight q comes (on the same scale; 0 = none). With the row's context c
     * and any gradient with respect to it, `along` = grad . c, leaving = grad . v of the old value
     * row, coming = grad . v of the new one; sums[t] += grad . (c' - c). */
    void (*swap)(int64_t n, float along, const float *p, const float *leaving, const float *q,
                 const float *coming, float *sums);
} cpt_attention_kernels;

const cpt_attention_kernels *cpt_attention_kernels_get(void);
const cpt_attention_kernels *cpt_attention_kernels_at(int level); /* NULL when the CPU lacks it */

#endif

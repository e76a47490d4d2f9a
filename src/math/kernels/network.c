/* Products of a small network (math/network.h).
 *
 * Both products keep a strip of outputs in registers while they walk over the inputs. `dense`
 * does ROWS rows at once, so that ROWS independent chains hide the latency of the multiply-add; a
 * row left over takes the same chain alone, hence the same bits. The vector type is as wide as
 * the level's registers; outputs that do not fill a vector are done one by one. */
#include "math/network.h"

#include <math.h>
#include <string.h>

#include "base/cpu.h"
#include "math/kernels/parts.h"
#include "math/kernels/vector_math.h"

#if CPT_LEVEL == 2
typedef float vec __attribute__((vector_size(64)));
#elif CPT_LEVEL == 1
typedef float vec __attribute__((vector_size(32)));
#else
typedef float vec __attribute__((vector_size(16)));
#endif
enum { LANES = sizeof(vec) / sizeof(float), STRIP = 4, ROWS = 8 };

static inline vec load(const float *p)
{
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void store(float *p, vec v)
{
    memcpy(p, &v, sizeof v);
}

static void many_log1p(int64_t n, const float *x, float *out)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) out[i] = vector_log1p(x[i]);
}

static void accumulate(int32_t n, const int32_t *rows, const float *factors, const float *matrix,
                       int32_t width, float *out)
{
    int32_t j = 0;
    for (; j + STRIP * LANES <= width; j += STRIP * LANES) {
        vec s0 = load(out + j), s1 = load(out + j + LANES), s2 = load(out + j + 2 * LANES),
            s3 = load(out + j + 3 * LANES);
        for (int32_t i = 0; i < n; i++) {
            const float *row = matrix + (int64_t)rows[i] * width + j;
            s0 += factors[i] * load(row);
            s1 += factors[i] * load(row + LANES);
            s2 += factors[i] * load(row + 2 * LANES);
            s3 += factors[i] * load(row + 3 * LANES);
        }
        store(out + j, s0);
        store(out + j + LANES, s1);
        store(out + j + 2 * LANES, s2);
        store(out + j + 3 * LANES, s3);
    }
    for (; j + LANES <= width; j += LANES) {
        vec s = load(out + j);
        for (int32_t i = 0; i < n; i++)
            s += factors[i] * load(matrix + (int64_t)rows[i] * width + j);
        store(out + j, s);
    }
    for (; j < width; j++) {
        float s = out[j];
        for (int32_t i = 0; i < n; i++) s += factors[i] * matrix[(int64_t)rows[i] * width + j];
        out[j] = s;
    }
}

/* `strip` vectors of columns; a constant at every call, so that the vector lives in registers. */
static inline __attribute__((always_inline)) void scatter_strip(int strip, int32_t n, const int32_t *rows,
                                                                int32_t first, const float *factors,
                                                                const float *vector, int32_t width, float *matrix)
{
    vec v[STRIP];
    for (int k = 0; k < strip; k++) v[k] = load(vector + k * LANES);
    for (int32_t i = 0; i < n; i++) {
        float *row = matrix + (int64_t)(rows[i] - first) * width;
        for (int k = 0; k < strip; k++) store(row + k * LANES, load(row + k * LANES) + factors[i] * v[k]);
    }
}

static void scatter(int32_t n, const int32_t *rows, int32_t first, const float *factors, const float *vector,
                    int32_t width, float *matrix)
{
    int32_t j = 0;
    for (; j + STRIP * LANES <= width; j += STRIP * LANES)
        scatter_strip(STRIP, n, rows, first, factors, vector + j, width, matrix + j);
    for (; j + LANES <= width; j += LANES) scatter_strip(1, n, rows, first, factors, vector + j, width, matrix + j);
    for (; j < width; j++)
        for (int32_t i = 0; i < n; i++) matrix[(int64_t)(rows[i] - first) * width + j] += factors[i] * vector[j];
}

/* One strip of LANES outputs for ROWS rows. */
static void dense_strip(int32_t n_in, int32_t n_out, const float *in, const float *weight,
                        const float *bias, float *out)
{
    vec s[ROWS];
    for (int r = 0; r < ROWS; r++) s[r] = load(bias);
    for (int32_t i = 0; i < n_in; i++) {
        vec w = load(weight + (int64_t)i * n_out);
        for (int r = 0; r < ROWS; r++) s[r] += in[(int64_t)r * n_in + i] * w;
    }
    for (int r = 0; r < ROWS; r++) store(out + (int64_t)r * n_out, s[r]);
}

/* One row; `inputs` and `weight` as in dense. */
static void dense_row(int32_t n_in, int32_t n_out, const float *in, const float *weight,
                      const float *bias, float *out)
{
    int32_t j = 0;
    for (; j + LANES <= n_out; j += LANES) {
        vec s = load(bias + j);
        for (int32_t i = 0; i < n_in; i++) s += in[i] * load(weight + (int64_t)i * n_out + j);
        store(out + j, s);
    }
    for (; j < n_out; j++) {
        float s = bias[j];
        for (int32_t i = 0; i < n_in; i++) s += in[i] * weight[(int64_t)i * n_out + j];
        out[j] = s;
    }
}

static void dense(int32_t n, int32_t n_in, int32_t n_out, const float *in, const float *weight,
                  const float *bias, float *out)
{
    int32_t row = 0, whole = n_out - n_out % LANES;
    for (; whole == n_out && row + ROWS <= n; row += ROWS)
        for (int32_t j = 0; j < whole; j += LANES)
            dense_strip(n_in, n_out, in + (int64_t)row * n_in, weight + j, bias + j,
                        out + (int64_t)row * n_out + j);
    for (; row < n; row++)
        dense_row(n_in, n_out, in + (int64_t)row * n_in, weight, bias, out + (int64_t)row * n_out);
}

static void perturb(int32_t n, const float *base, float delta, const float *row, const float *scale,
                    const float *shift, float *out)
{
#pragma omp simd
    for (int32_t j = 0; j < n; j++) {
        float y = scale[j] * (base[j] + delta * row[j]) + shift[j];
        out[j] = y > 0 ? y : 0;
    }
}

static void activate(int32_t n, int32_t width, const float *scale, const float *shift, float *rows)
{
    for (int32_t i = 0; i < n; i++) {
        float *row = rows + (int64_t)i * width;
#pragma omp simd
        for (int32_t j = 0; j < width; j++) {
            float y = scale[j] * row[j] + shift[j];
            row[j] = y > 0 ? y : 0;
        }
    }
}

static void adam(int64_t n, const cpt_adam_step *step, float *restrict p,
                 const float *restrict gradient, float *restrict m, float *restrict v)
{
    const float b1 = step->beta1, b2 = step->beta2, decay = step->decay, rate = step->rate;
    const float rest1 = step->rest1, rest2 = step->rest2, root = step->root, eps = step->eps;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float g = gradient[i] + decay * p[i];
        m[i] = b1 * m[i] + rest1 * g;
        v[i] = b2 * v[i] + rest2 * g * g;
        p[i] -= rate * m[i] / (sqrtf(v[i]) * root + eps);
    }
}

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define HAVE_SHUFFLE
#endif
#endif

/* 4 x 4: in with row stride in_stride, out with out_stride. */
static inline void turn_four(const float *in, int64_t in_stride, float *out, int64_t out_stride)
{
#ifdef HAVE_SHUFFLE
    typedef float four __attribute__((vector_size(16)));
    four r[4];
    for (int i = 0; i < 4; i++) memcpy(&r[i], in + i * in_stride, sizeof r[i]);
    const four a = __builtin_shufflevector(r[0], r[1], 0, 4, 1, 5), b = __builtin_shufflevector(r[2], r[3], 0, 4, 1, 5);
    const four c = __builtin_shufflevector(r[0], r[1], 2, 6, 3, 7), d = __builtin_shufflevector(r[2], r[3], 2, 6, 3, 7);
    r[0] = __builtin_shufflevector(a, b, 0, 1, 4, 5);
    r[1] = __builtin_shufflevector(a, b, 2, 3, 6, 7);
    r[2] = __builtin_shufflevector(c, d, 0, 1, 4, 5);
    r[3] = __builtin_shufflevector(c, d, 2, 3, 6, 7);
    for (int i = 0; i < 4; i++) memcpy(out + i * out_stride, &r[i], sizeof r[i]);
#else
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) out[j * out_stride + i] = in[i * in_stride + j];
#endif
}

enum { TURN = 16 };

/* By squares of TURN, so that the lines of both sides stay in the first-level cache: in registers where these are long
 * enough, else by fours. */
static void turn_square(const float *in, int64_t in_stride, float *out, int64_t out_stride)
{
#ifdef HAVE_AVX512
    transpose((const dword *)in, in_stride, (dword *)out, out_stride);
#else
    for (int c = 0; c < TURN; c += 4)
        for (int r = 0; r < TURN; r += 4)
            turn_four(in + r * in_stride + c, in_stride, out + c * out_stride + r, out_stride);
#endif
}

static void turn(int32_t rows, int32_t columns, const float *in, int64_t in_stride, float *out, int64_t out_stride)
{
    const int32_t whole_rows = rows / TURN * TURN, whole_columns = columns / TURN * TURN;
    for (int32_t i = 0; i < whole_rows; i += TURN)
        for (int32_t j = 0; j < whole_columns; j += TURN)
            turn_square(in + i * in_stride + j, in_stride, out + j * out_stride + i, out_stride);
    for (int32_t r = 0; r < rows; r++)
        for (int32_t c = r < whole_rows ? whole_columns : 0; c < columns; c++)
            out[c * out_stride + r] = in[r * in_stride + c];
}

const cpt_network_kernels CPT_LEVEL_NAME(cpt_network_kernels) = {
    .log1p = many_log1p,
    .accumulate = accumulate,
    .scatter = scatter,
    .dense = dense,
    .perturb = perturb,
    .activate = activate,
    .adam = adam,
    .turn = turn,
};
CPT_KERNEL_DISPATCH(cpt_network_kernels)

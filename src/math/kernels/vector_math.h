/* vector_math.h - exp, log, log1p, sigmoid, lgamma and digamma that compilers turn into vector
 * code.
 *
 * Branch-free scalar functions, to be called inside `#pragma omp simd` loops of a kernel file:
 * the compiler widens them to whatever the file's instruction set has. All are series about a
 * reduced argument; the one fitted polynomial is that of the float logarithm:
 *   exp     x = n ln2 + r, |r| <= ln2/2; Taylor in r; 2^n put into the exponent bits
 *   log     x = 2^e m, sqrt(1/2) <= m < sqrt(2); double: s = (m-1)/(m+1), log m = 2 atanh s;
 *           float: log(1+f) = f - f^2/2 + f^3 P(f), P of degree 7 fitted to the least relative error
 *           on the interval (6e-9)
 *   lgamma  Stirling at x >= 8, below that Gamma(x) = Gamma(x+8) / (x (x+1) ... (x+7))
 *   digamma the derivative of the same, the product's by the product rule: one division
 * Errors (test_likelihood.c): float within 3 ulp, double lgamma and digamma within 1e-13.
 *
 * Rounding to an integer is done by adding and taking away 1.5 * 2^23 (2^52 for double): its low
 * bits then are the integer. This needs IEEE arithmetic as written: never -ffast-math here. */
#ifndef CPT_MATH_KERNELS_VECTOR_MATH_H
#define CPT_MATH_KERNELS_VECTOR_MATH_H

#include <stdint.h>
#include <string.h>

static inline uint32_t bits_of_float(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static inline float float_of_bits(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

static inline uint64_t bits_of_double(double x)
{
    uint64_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static inline double double_of_bits(uint64_t u)
{
    double x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* x <= 88; below -87 the result is 0 (no subnormals). */
static inline float vector_exp(float x)
{
    const float round = 12582912.0f, kept = x < -87.0f ? -87.0f : x;
    float t = kept * 1.44269504f + round, n = t - round;
    float r =
        (kept - n * 0.693359375f) - n * -2.12194440e-4f; /* ln2 in two parts, n * first exact */
    float p = 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = (p * r) * r + r;
    float scale = float_of_bits((bits_of_float(t) + 127u) << 23);
    float y = p * scale + scale;
    return x < -87.0f ? 0.0f : y;
}

/* log of a positive normal number. No division: it takes as long as ten multiply-adds. */
static inline float vector_log(float x)
{
    uint32_t u = bits_of_float(x) + (0x3f800000u - 0x3f3504f3u);
    float e = (float)((int32_t)(u >> 23) - 127);
    float f = float_of_bits((u & 0x007fffffu) + 0x3f3504f3u) - 1.0f;
    float p = -0x1.38b58p-4f;
    p = p * f + 0x1.055b6ap-3f;
    p = p * f - 0x1.0d8542p-3f;
    p = p * f + 0x1.22da1cp-3f;
    p = p * f - 0x1.547244p-3f;
    p = p * f + 0x1.99a008p-3f;
    p = p * f - 0x1.000226p-2f;
    p = p * f + 0x1.555554p-2f;
    float square = f * f, y = f + (square * f * p - 0.5f * square);
    return y + e * -2.12194440e-4f + e * 0.693359375f;
}

/* x >= -1/2; `inverse` = 1 / (1 + x). The second summand mends what 1 + x rounds away. */
static inline float vector_log1p_with(float x, float inverse)
{
    float w = 1.0f + x;
    return vector_log(w) + (x - (w - 1.0f)) * inverse;
}

static inline float vector_log1p(float x)
{
    return vector_log1p_with(x, 1.0f / (1.0f + x));
}

/* log(1 + exp(x)) and its derivative. */
static inline float vector_softplus(float x, float *sigmoid)
{
    float e = vector_exp(x < 0 ? x : -x), inverse = 1.0f / (1.0f + e);
    *sigmoid = x < 0 ? e * inverse : inverse;
    return (x < 0 ? 0.0f : x) + vector_log1p_with(e, inverse);
}

/* log(1 + exp(x)) - log(1 + exp(y)), and the derivatives of both: one division, one logarithm. */
static inline float vector_softplus_difference(float x, float y, float *sigmoid_x, float *sigmoid_y)
{
    float a = vector_exp(x < 0 ? x : -x), b = vector_exp(y < 0 ? y : -y), p = 1.0f + a, q = 1.0f + b;
    float both = 1.0f / (p * q), inverse_p = both * q, inverse_q = both * p;
    *sigmoid_x = x < 0 ? a * inverse_p : inverse_p;
    *sigmoid_y = y < 0 ? b * inverse_q : inverse_q;
    return (x < 0 ? 0.0f : x) - (y < 0 ? 0.0f : y) +
           vector_log1p_with((a - b) * inverse_q, q * inverse_p); /* p / q = 1 + (a - b) / q */
}

/* |x| <= 700 */
static inline double vector_exp_double(double x)
{
    const double round = 6755399441055744.0;
    double t = x * 1.4426950408889634 + round, n = t - round;
    double r = (x - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10;
    double p = 1.0 / 6227020800.0;
    p = p * r + 1.0 / 479001600;
    p = p * r + 1.0 / 39916800;
    p = p * r + 1.0 / 3628800;
    p = p * r + 1.0 / 362880;
    p = p * r + 1.0 / 40320;
    p = p * r + 1.0 / 5040;
    p = p * r + 1.0 / 720;
    p = p * r + 1.0 / 120;
    p = p * r + 1.0 / 24;
    p = p * r + 1.0 / 6;
    p = p * r + 0.5;
    p = (p * r) * r + r;
    double scale = double_of_bits((bits_of_double(t) + 1023u) << 52);
    return p * scale + scale;
}

/* log of a positive normal number. The exponent becomes a double by way of 2^52 + e. */
static inline double vector_log_double(double x)
{
    const uint64_t half = 0x3fe6a09e667f3bcdu;
    uint64_t u = bits_of_double(x) + (0x3ff0000000000000u - half);
    double e = double_of_bits((u >> 52) | 0x4330000000000000u) - (4503599627370496.0 + 1023.0);
    double f = double_of_bits((u & 0x000fffffffffffffu) + half) - 1.0;
    double s = f / (2.0 + f), z = s * s;
    double p = 2.0 / 23;
    p = p * z + 2.0 / 21;
    p = p * z + 2.0 / 19;
    p = p * z + 2.0 / 17;
    p = p * z + 2.0 / 15;
    p = p * z + 2.0 / 13;
    p = p * z + 2.0 / 11;
    p = p * z + 2.0 / 9;
    p = p * z + 2.0 / 7;
    p = p * z + 2.0 / 5;
    p = p * z + 2.0 / 3;
    double y = f - s * (f - z * p);
    return y + e * 1.90821492927058770002e-10 + e * 6.93147180369123816490e-01;
}

/* lgamma and digamma of x in [1e-30, 1e15]. */
static inline double vector_lgamma(double x, double *digamma)
{
    double product = x, slope = 1.0; /* of x (x+1) ... (x+7) and its derivative */
    for (int k = 1; k < 8; k++) {
        slope = slope * (x + k) + product;
        product *= x + k;
    }
    double below = x < 8 ? 1.0 : 0.0;
    product = x < 8 ? product : 1.0;
    double y = x + 8 * below, i = 1 / y, z = i * i, log_y = vector_log_double(y);
    double stirling =
        i * (1. / 12 -
             z * (1. / 360 -
                  z * (1. / 1260 -
                       z * (1. / 1680 -
                            z * (1. / 1188 -
                                 z * (691. / 360360 - z * (1. / 156 - z * (3617. / 122400))))))));
    double tail = z * (1. / 12 - z * (1. / 120 - z * (1. / 252 - z * (1. / 240 - z * (1. / 132 -
                  z * (691. / 32760 - z * (1. / 12 - z * (3617. / 8160))))))));
    *digamma = log_y - 0.5 * i - tail - below * slope / product;
    return (y - 0.5) * log_y - y + 0.91893853320467274178 + stirling - vector_log_double(product);
}

#endif

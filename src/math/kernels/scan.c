/* The scan of nearest neighbours (math/scan.h): two vector comparisons per 32 pairs, where the product before it takes
 * some hundred cycles.
 *
 * Trap: the file must be compiled without contraction to FMA (Makefile), or exact distances would differ. */
#include "math/scan.h"

#include <string.h>

#include "base/cpu.h"
#include "math/rows.h"

#if CPT_LEVEL == 2
#include <immintrin.h>
#endif

enum { WIDTH = 32, SUM_LANES = 8 };

static inline uint32_t small_row(int64_t outs, const float *products, const float *add, float limit)
{
    uint32_t hits = 0;
    for (int64_t o = 0; o < outs; o++) hits |= (uint32_t)(add[o] - 2 * products[o] <= limit) << o;
    return hits;
}

static uint32_t small(int64_t rows, int64_t outs, const float *products, const float *add, const float *limits,
                      uint32_t *hits)
{
    uint32_t any = 0;
    if (outs < WIDTH) {
        for (int64_t r = 0; r < rows; r++) any |= hits[r] = small_row(outs, products + r * WIDTH, add, limits[r]);
        return any;
    }
#if CPT_LEVEL == 2
    const __m512 low = _mm512_loadu_ps(add), high = _mm512_loadu_ps(add + 16), two = _mm512_set1_ps(-2);
    for (int64_t r = 0; r < rows; r++, products += WIDTH) {
        const __m512 limit = _mm512_set1_ps(limits[r]);
        const __mmask16 a =
            _mm512_cmp_ps_mask(_mm512_fmadd_ps(two, _mm512_loadu_ps(products), low), limit, _CMP_LE_OQ);
        const __mmask16 b =
            _mm512_cmp_ps_mask(_mm512_fmadd_ps(two, _mm512_loadu_ps(products + 16), high), limit, _CMP_LE_OQ);
        any |= hits[r] = (uint32_t)a | (uint32_t)b << 16;
    }
#else
    for (int64_t r = 0; r < rows; r++, products += WIDTH) {
        int near = 0; /* nearly always none: one vectorised test */
        for (int o = 0; o < WIDTH; o++) near |= add[o] - 2 * products[o] <= limits[r];
        any |= hits[r] = near ? small_row(WIDTH, products, add, limits[r]) : 0;
    }
#endif
    return any;
}

static inline float rounded_off(float x)
{
    uint32_t bits;
    float rounded;
    memcpy(&bits, &x, sizeof bits);
    bits = (bits + 0x7fffu + (bits >> 16 & 1)) & 0xffff0000u;
    memcpy(&rounded, &bits, sizeof bits);
    return x - rounded;
}

static float about(const float *restrict x, const float *restrict centre, int64_t n, float *restrict out,
                   float *rest)
{
    float squares[CPT_ROW_ALIGN] = {0}, rests[CPT_ROW_ALIGN] = {0}, sum = 0;
    *rest = 0;
    for (int64_t i = 0; i < n; i += CPT_ROW_ALIGN)
        for (int j = 0; j < CPT_ROW_ALIGN; j++) {
            const float v = x[i + j] - centre[i + j], off = rounded_off(v);
            out[i + j] = v;
            squares[j] += v * v;
            rests[j] += off * off;
        }
    for (int j = 0; j < CPT_ROW_ALIGN; j++) {
        sum += squares[j];
        *rest += rests[j];
    }
    return sum;
}

/* Lanes in a fixed order: whatever vectors the compiler uses, the sum stays the same. */
static double exact(const float *a, const float *b, int32_t n)
{
    double lane[SUM_LANES] = {0};
    int32_t d = 0;
    for (; d + SUM_LANES <= n; d += SUM_LANES)
        for (int l = 0; l < SUM_LANES; l++) {
            const double difference = (double)a[d + l] - (double)b[d + l];
            lane[l] += difference * difference;
        }
    for (int l = 0; d < n; d++, l++) {
        const double difference = (double)a[d] - (double)b[d];
        lane[l] += difference * difference;
    }
    return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

static int32_t within(int64_t n, const float *products, const float *lows, const float *reach, float low, float radius,
                      int32_t *chosen)
{
    int32_t count = 0;
    int64_t q = 0;
#if CPT_LEVEL == 2
    const __m512 two = _mm512_set1_ps(-2), own = _mm512_set1_ps(low), r = _mm512_set1_ps(radius);
    __m512i number = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    for (; q + 16 <= n; q += 16) {
        const __m512 far = _mm512_add_ps(_mm512_loadu_ps(reach + q), r);
        const __m512 sum = _mm512_add_ps(own, _mm512_loadu_ps(lows + q));
        const __m512 left = _mm512_fmadd_ps(two, _mm512_loadu_ps(products + q), sum);
        const __mmask16 near = _mm512_cmp_ps_mask(left, _mm512_mul_ps(far, far), _CMP_LE_OQ);
        _mm512_mask_compressstoreu_epi32(chosen + count, near, number);
        count += __builtin_popcount(near);
        number = _mm512_add_epi32(number, _mm512_set1_epi32(16));
    }
#endif
    for (; q < n; q++) {
        const float far = reach[q] + radius;
        chosen[count] = (int32_t)q;
        count += low + lows[q] - 2 * products[q] <= far * far;
    }
    return count;
}

const cpt_scan_kernels CPT_LEVEL_NAME(cpt_scan_kernels) = {about, exact, within, small};
CPT_KERNEL_DISPATCH(cpt_scan_kernels)

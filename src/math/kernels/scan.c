/* The scan of nearest neighbours (math/scan.h): two vector comparisons per 32 pairs, where the product before it takes
 * some hundred cycles. */
#include "math/scan.h"

#include "base/cpu.h"

#if CPT_LEVEL == 2
#include <immintrin.h>
#endif

enum { WIDTH = 32 };

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

const cpt_scan_kernels CPT_LEVEL_NAME(cpt_scan_kernels) = {small};
CPT_KERNEL_DISPATCH(cpt_scan_kernels)

/* topk.c - exact selection of the k largest values of a row.
 *
 * 1. A lower bound of the k-th largest: the row is dealt out to L >= 2k lanes; the k-th largest of the
 *    lane maxima is such a bound, because the k lanes above it hold at least k values.
 * 2. One pass collects what is not below the bound: for random rows hardly more than k values.
 * 3. Selection trims the candidates to k: by rank when they are few, else by quickselect. Ties are broken by position, so the result does not
 *    depend on the instruction set, the lanes or the pivots.
 * O(n) for the two passes, both bound by memory or L1; the rest is O(k) on average.
 *
 * Trap: a comparison with NaN is false, so `v > m ? v : m` and `v >= bound` both drop NaN. */
#include "base/cpu.h"
#include "math/topk.h"

#include <math.h>
#include <stdbool.h>
#if CPT_LEVEL > 0
#include <immintrin.h>
#endif

enum { LANES_MAX = 1024, LANES_MIN = 16 };

static void swap(float *a, float *b)
{
    float t = *a;
    *a = *b;
    *b = t;
}

/* The k-th largest (k from 1) of v[n] without NaN; reorders v. Three-way partition: equal values cost
 * nothing. */
static float kth_largest(float *v, int32_t n, int32_t k)
{
    int32_t low = 0, high = n - 1, want = k - 1;
    for (;;) {
        if (low >= high) return v[want];
        float a = v[low], b = v[low + (high - low) / 2], c = v[high];
        float pivot = a > b ? (b > c ? b : a > c ? c : a) : (a > c ? a : b > c ? c : b);
        int32_t greater = low, i = low, less = high;
        while (i <= less) {
            if (v[i] > pivot) swap(&v[i++], &v[greater++]);
            else if (v[i] < pivot) swap(&v[i], &v[less--]);
            else i++;
        }
        if (want < greater) high = greater - 1;
        else if (want > less) low = less + 1;
        else return pivot;
    }
}

enum { SMALL = 64 };

/* Below: v padded with -INFINITY to `width`. greater[j] counts the values above v[j]; the k-th largest is
 * the least value with fewer than k above it. No branch depends on the data, where a quickselect of so
 * few values would mispredict most of its branches. */
static inline float kth_by_rank(const float *v, int32_t width, int32_t n, int32_t k)
{
    int32_t greater[SMALL];
    for (int32_t j = 0; j < width; j++) greater[j] = 0;
    for (int32_t i = 0; i < n; i++)
        for (int32_t j = 0; j < width; j++) greater[j] += v[i] > v[j];
    float least = INFINITY;
    for (int32_t j = 0; j < width; j++) {
        float own = greater[j] < k ? v[j] : INFINITY;
        least = own < least ? own : least;
    }
    return least;
}

/* As kth_largest, for 1 <= k <= n; v is not changed when n <= SMALL. */
static float kth(float *v, int32_t n, int32_t k)
{
    float padded[SMALL];
    if (n > SMALL) return kth_largest(v, n, k);
    for (int32_t i = 0; i < n; i++) padded[i] = v[i];
    for (int32_t i = n; i < SMALL; i++) padded[i] = -INFINITY;
    if (n <= 16) return kth_by_rank(padded, 16, n, k);
    if (n <= 32) return kth_by_rank(padded, 32, n, k);
    return kth_by_rank(padded, SMALL, n, k);
}

/* lanes[j] = max of row[j], row[j + L], ...; inlined with a constant L it stays in registers. */
static inline void lane_maxima(const float *row, int32_t n, int32_t L, float floor, float *lanes)
{
    for (int32_t j = 0; j < L; j++) lanes[j] = floor;
    int32_t i = 0;
    for (; i + L <= n; i += L)
        for (int32_t j = 0; j < L; j++) lanes[j] = row[i + j] > lanes[j] ? row[i + j] : lanes[j];
    for (int32_t j = 0; i + j < n; j++) lanes[j] = row[i + j] > lanes[j] ? row[i + j] : lanes[j];
}

/* At least k values of the row are >= the result, or the result is `floor`. */
static float lower_bound(const float *row, int32_t n, int32_t k, float floor)
{
    float lanes[LANES_MAX];
    int32_t L = LANES_MIN;
    while (L < 2 * k && L < LANES_MAX) L *= 2;
    if (k > L || n < 2 * L) return floor;
    if (L == 16) lane_maxima(row, n, 16, floor, lanes);
    else if (L == 32) lane_maxima(row, n, 32, floor, lanes);
    else if (L == 64) lane_maxima(row, n, 64, floor, lanes);
    else lane_maxima(row, n, L, floor, lanes);
    return kth(lanes, L, k);
}

/* Positions and values of everything >= bound and > floor, in order; returns the number. Writes whole
 * vectors, so up to 15 items behind the end of what counts. */
static int32_t collect(const float *row, int32_t n, float bound, float floor, int32_t *index,
                       float *value)
{
    int32_t m = 0, i = 0;
#if CPT_LEVEL == 2
    __m512 vb = _mm512_set1_ps(bound), vf = _mm512_set1_ps(floor);
    __m512i at = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    for (; i + 16 <= n; i += 16, at = _mm512_add_epi32(at, _mm512_set1_epi32(16))) {
        __m512 v = _mm512_loadu_ps(row + i);
        __mmask16 hit = _mm512_cmp_ps_mask(v, vb, _CMP_GE_OQ) & _mm512_cmp_ps_mask(v, vf, _CMP_GT_OQ);
        if (!hit) continue;
        _mm512_storeu_ps(value + m, _mm512_maskz_compress_ps(hit, v));
        _mm512_storeu_si512(index + m, _mm512_maskz_compress_epi32(hit, at));
        m += __builtin_popcount(hit);
    }
#elif CPT_LEVEL == 1
    __m256 vb = _mm256_set1_ps(bound), vf = _mm256_set1_ps(floor);
    for (; i + 8 <= n; i += 8) {
        __m256 v = _mm256_loadu_ps(row + i);
        __m256 hit = _mm256_and_ps(_mm256_cmp_ps(v, vb, _CMP_GE_OQ), _mm256_cmp_ps(v, vf, _CMP_GT_OQ));
        for (unsigned bits = (unsigned)_mm256_movemask_ps(hit); bits; bits &= bits - 1) {
            int32_t at = i + __builtin_ctz(bits);
            index[m] = at;
            value[m++] = row[at];
        }
    }
#endif
    for (; i < n; i++) {
        index[m] = i;
        value[m] = row[i];
        m += row[i] >= bound && row[i] > floor;
    }
    return m;
}

/* Of m candidates in order of position the k largest, of equal ones the first. `copy` has room for m. */
static int32_t trim(int32_t m, const int32_t *positions, const float *values, int32_t k, float *copy,
                    int32_t *index, float *value)
{
    float limit = -INFINITY;
    int32_t ties = 0; /* how many values equal to the limit still have a place */
    if (m > k) {
        for (int32_t i = 0; i < m; i++) copy[i] = values[i];
        limit = kth(copy, m, k);
        ties = k;
        for (int32_t i = 0; i < m; i++) ties -= values[i] > limit;
    }
    int32_t n_kept = 0;
    for (int32_t i = 0; i < m; i++) {
        bool above = m <= k || values[i] > limit;
        if (!above && !(values[i] == limit && ties-- > 0)) continue;
        index[n_kept] = positions[i];
        value[n_kept++] = values[i];
    }
    return n_kept;
}

static int32_t topk_row(const float *row, int32_t n, int32_t k, float floor, int32_t *index,
                        float *value, void *scratch)
{
    if (n <= 0 || k <= 0) return 0;
    float *values = scratch, *copy = values + n + 64;
    int32_t *positions = (int32_t *)(copy + n + 64);
    float bound = k < n ? lower_bound(row, n, k, floor) : floor;
    int32_t m = collect(row, n, bound, floor, positions, values);
    return trim(m, positions, values, k, copy, index, value);
}

/* ---- row by piece ---- */

/* Leaves what is >= bound, which at least k are: what comes later has to be above it, for of equal values the first
 * win. Writes whole vectors, never ahead of what it reads. */
static int32_t keep_from(float bound, int32_t n, int32_t *index, float *value)
{
    int32_t m = 0, i = 0;
#if CPT_LEVEL == 2
    const __m512 least = _mm512_set1_ps(bound);
    for (; i + 16 <= n; i += 16) {
        const __m512 v = _mm512_loadu_ps(value + i);
        const __m512i at = _mm512_loadu_si512(index + i);
        const __mmask16 hit = _mm512_cmp_ps_mask(v, least, _CMP_GE_OQ);
        _mm512_storeu_ps(value + m, _mm512_maskz_compress_ps(hit, v));
        _mm512_storeu_si512(index + m, _mm512_maskz_compress_epi32(hit, at));
        m += __builtin_popcount(hit);
    }
#endif
    for (; i < n; i++) {
        if (!(value[i] >= bound)) continue;
        value[m] = value[i];
        index[m++] = index[i];
    }
    return m;
}

enum { FULL = CPT_TOPK_RUN - CPT_TOPK_PIECE };

static void shrink(cpt_topk_run *run, int32_t k)
{
    const float bound = lower_bound(run->value, run->n, k, run->bound);
    if (bound > run->bound) {
        run->n = keep_from(bound, run->n, run->index, run->value);
        run->bound = bound;
    }
    if (run->n <= FULL) return;
    float copy[CPT_TOPK_RUN];
    run->n = trim(run->n, run->index, run->value, k, copy, run->index, run->value);
    for (int32_t i = 0; i < run->n; i++) copy[i] = run->value[i];
    run->bound = kth(copy, run->n, k);
}

static void more(cpt_topk_run *run, int32_t k, int32_t first, int32_t n, const float *values)
{
    if (run->n > FULL) shrink(run, k);
#if CPT_LEVEL == 2
    if (n == CPT_TOPK_PIECE) {
        const __m512 a = _mm512_loadu_ps(values), b = _mm512_loadu_ps(values + 16), bound = _mm512_set1_ps(run->bound);
        const __mmask16 in_a = _mm512_cmp_ps_mask(a, bound, _CMP_GT_OQ), in_b = _mm512_cmp_ps_mask(b, bound, _CMP_GT_OQ);
        if (!(in_a | in_b)) return;
        const __m512i at = _mm512_add_epi32(_mm512_set1_epi32(first),
                                            _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
        _mm512_storeu_ps(run->value + run->n, _mm512_maskz_compress_ps(in_a, a));
        _mm512_storeu_si512(run->index + run->n, _mm512_maskz_compress_epi32(in_a, at));
        run->n += __builtin_popcount(in_a);
        _mm512_storeu_ps(run->value + run->n, _mm512_maskz_compress_ps(in_b, b));
        _mm512_storeu_si512(run->index + run->n,
                            _mm512_maskz_compress_epi32(in_b, _mm512_add_epi32(at, _mm512_set1_epi32(16))));
        run->n += __builtin_popcount(in_b);
        return;
    }
#endif
    for (int32_t i = 0; i < n; i++) {
        if (!(values[i] > run->bound)) continue;
        run->value[run->n] = values[i];
        run->index[run->n++] = first + i;
    }
}

static int32_t end_run(cpt_topk_run *run, int32_t k, int32_t *index, float *value)
{
    float copy[CPT_TOPK_RUN];
    if (k <= 0) return 0;
    if (run->n > 2 * SMALL) shrink(run, k);
    return trim(run->n, run->index, run->value, k, copy, index, value);
}

const cpt_topk_kernels CPT_LEVEL_NAME(cpt_topk_kernels) = {topk_row, more, end_run};
CPT_KERNEL_DISPATCH(cpt_topk_kernels)

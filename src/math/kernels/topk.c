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

/* ---- rough values ---- */

/* More than any upper bound lies above the lower bound of the same value. */
static float width(float norm, const cpt_topk_bounds *b)
{
    return 1.001f * (2 * norm * b->widest + b->spread);
}

static inline int32_t count_from(float bound, int32_t n, const float *value)
{
    int32_t count = 0, i = 0;
#if CPT_LEVEL == 2
    const __m512 least = _mm512_set1_ps(bound);
    for (; i + 16 <= n; i += 16)
        count += __builtin_popcount(_mm512_cmp_ps_mask(_mm512_loadu_ps(value + i), least, _CMP_GE_OQ));
    if (i < n) {
        const __mmask16 rest = (__mmask16)((1u << (n - i)) - 1);
        const __m512 v = _mm512_maskz_loadu_ps(rest, value + i);
        count += __builtin_popcount(_mm512_mask_cmp_ps_mask(rest, v, least, _CMP_GE_OQ));
    }
#else
    for (; i < n; i++) count += value[i] >= bound;
#endif
    return count;
}

/* A bound that at least k of the least values reach, close to the k-th largest: by halving intervals, where hardly a
 * branch is hard to foretell; as good as exact where it only has to sort out. */
static float reached_by_k(const cpt_topk_run *run, int32_t k)
{
    enum { HALVINGS = 10 };
    float low = run->bound, high = low;
    if (run->n < k || count_from(low, run->n, run->value) < k) return low;
    for (int32_t i = 0; i < run->n; i++) high = run->value[i] > high ? run->value[i] : high;
    for (int i = 0; i < HALVINGS; i++) {
        const float middle = low + (high - low) / 2;
        const bool reached = count_from(middle, run->n, run->value) >= k;
        low = reached ? middle : low;
        high = reached ? high : middle;
    }
    return low;
}

/* Leaves what may reach the bound. */
static void shrink_rough(cpt_topk_run *run, int32_t k, float wide)
{
    run->bound = reached_by_k(run, k);
    run->n = keep_from(run->bound - wide, run->n, run->index, run->value);
}

static inline void more_rough_row(cpt_topk_run *run, int32_t first, int32_t n, const float *values, float norm,
                                  const cpt_topk_bounds *b)
{
    for (int32_t i = 0; i < n; i++) {
        const float most = values[i] + b->high[first + i] + norm * b->slack[first + i];
        if (!(most >= run->bound)) continue;
        run->value[run->n] = values[i] + b->low[first + i] - norm * b->slack[first + i];
        run->index[run->n++] = first + i;
    }
}

#if CPT_LEVEL == 2
/* Half a piece: 16 columns. */
static inline __attribute__((always_inline)) void append_rough(cpt_topk_run *run, __mmask16 in, __m512 least,
                                                               __m512i at)
{
    _mm512_storeu_ps(run->value + run->n, _mm512_maskz_compress_ps(in, least));
    _mm512_storeu_si512(run->index + run->n, _mm512_maskz_compress_epi32(in, at));
    run->n += __builtin_popcount(in);
}
#endif

static void more_rough(cpt_topk_run *runs, int64_t rows, int32_t k, int32_t first, int32_t n, const float *block,
                       const float *norms, const cpt_topk_bounds *b)
{
#if CPT_LEVEL == 2
    const bool whole = n == CPT_TOPK_PIECE;
    const __m512 slack_a = whole ? _mm512_loadu_ps(b->slack + first) : _mm512_setzero_ps();
    const __m512 slack_b = whole ? _mm512_loadu_ps(b->slack + first + 16) : slack_a;
    const __m512 high_a = whole ? _mm512_loadu_ps(b->high + first) : slack_a;
    const __m512 high_b = whole ? _mm512_loadu_ps(b->high + first + 16) : slack_a;
    const __m512 low_a = whole ? _mm512_loadu_ps(b->low + first) : slack_a;
    const __m512 low_b = whole ? _mm512_loadu_ps(b->low + first + 16) : slack_a;
    const __m512i at_a = _mm512_add_epi32(_mm512_set1_epi32(first),
                                          _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
    const __m512i at_b = _mm512_add_epi32(at_a, _mm512_set1_epi32(16));
#endif
    for (int64_t r = 0; r < rows; r++, runs++, block += CPT_TOPK_PIECE) {
        if (runs->n == CPT_TOPK_TOO_MANY) continue;
        if (runs->n > FULL) shrink_rough(runs, k, width(norms[r], b));
        if (runs->n > FULL) {
            runs->n = CPT_TOPK_TOO_MANY;
            continue;
        }
#if CPT_LEVEL == 2
        if (whole) {
            const __m512 norm = _mm512_set1_ps(norms[r]), bound = _mm512_set1_ps(runs->bound);
            const __m512 x = _mm512_loadu_ps(block), y = _mm512_loadu_ps(block + 16);
            const __m512 most_a = _mm512_fmadd_ps(norm, slack_a, _mm512_add_ps(x, high_a));
            const __m512 most_b = _mm512_fmadd_ps(norm, slack_b, _mm512_add_ps(y, high_b));
            const __mmask16 in_a = _mm512_cmp_ps_mask(most_a, bound, _CMP_GE_OQ);
            const __mmask16 in_b = _mm512_cmp_ps_mask(most_b, bound, _CMP_GE_OQ);
            if (!(in_a | in_b)) continue;
            append_rough(runs, in_a, _mm512_fnmadd_ps(norm, slack_a, _mm512_add_ps(x, low_a)), at_a);
            append_rough(runs, in_b, _mm512_fnmadd_ps(norm, slack_b, _mm512_add_ps(y, low_b)), at_b);
            continue;
        }
#endif
        more_rough_row(runs, first, n, block, norms[r], b);
    }
}

static int32_t end_rough(cpt_topk_run *run, int32_t k, float norm, const cpt_topk_bounds *b, int32_t *index)
{
    if (run->n == CPT_TOPK_TOO_MANY) return CPT_TOPK_TOO_MANY;
    if (run->n > SMALL) shrink_rough(run, k, width(norm, b));
    const float bound = reached_by_k(run, k);
    int32_t m = 0;
    for (int32_t i = 0; i < run->n; i++) {
        const int32_t c = run->index[i];
        const float most = run->value[i] + 1.001f * (2 * norm * b->slack[c] + (b->high[c] - b->low[c]));
        index[m] = c;
        m += most >= bound;
    }
    return m;
}

static int32_t few(int32_t m, const int32_t *positions, const float *values, int32_t k, int32_t *index, float *value)
{
    float copy[CPT_TOPK_RUN], above[CPT_TOPK_RUN];
    int32_t at[CPT_TOPK_RUN], n = 0;
    if (k <= 0) return 0;
    for (int32_t i = 0; i < m; i++) {
        above[n] = values[i];
        at[n] = positions[i];
        n += values[i] > 0;
    }
    return trim(n, at, above, k, copy, index, value);
}

const cpt_topk_kernels CPT_LEVEL_NAME(cpt_topk_kernels) = {topk_row, more, end_run, more_rough, end_rough, few};
CPT_KERNEL_DISPATCH(cpt_topk_kernels)

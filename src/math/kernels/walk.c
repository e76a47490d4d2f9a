/* walk.c - running sums with SIMD lanes that are subsets (prefixes) or members (highest, swap).
 *
 * Trap: an entry that is no member (it arrives later) still takes part in the extremes, as the
 * value of the sum just before its position. That value lies between a bottom and a top of true
 * members, or between 0 and one of them, so it changes neither extreme, and no blend is needed. */
#include "math/walk.h"
#include "base/cpu.h"

#include <math.h>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
enum { WIDTH = 8 };
#define MAX_OF(a, b) ((lanes)_mm512_max_pd((__m512d)(a), (__m512d)(b)))
#define MIN_OF(a, b) ((lanes)_mm512_min_pd((__m512d)(a), (__m512d)(b)))
#elif defined(__AVX__)
enum { WIDTH = 4 };
#define MAX_OF(a, b) ((lanes)_mm256_max_pd((__m256d)(a), (__m256d)(b)))
#define MIN_OF(a, b) ((lanes)_mm256_min_pd((__m256d)(a), (__m256d)(b)))
#elif defined(__SSE2__)
enum { WIDTH = 2 };
#define MAX_OF(a, b) ((lanes)_mm_max_pd((__m128d)(a), (__m128d)(b)))
#define MIN_OF(a, b) ((lanes)_mm_min_pd((__m128d)(a), (__m128d)(b)))
#else
enum { WIDTH = 2 };
#define SELECT(mask, a, b) ((lanes)(((masks)(a) & (mask)) | ((masks)(b) & ~(mask))))
#define MAX_OF(a, b) SELECT((a) > (b), a, b)
#define MIN_OF(a, b) SELECT((a) < (b), a, b)
#endif

typedef double lanes __attribute__((vector_size(8 * WIDTH), may_alias));
typedef int64_t masks __attribute__((vector_size(8 * WIDTH), may_alias));

#define LOAD(p) (*(const lanes *)(p))

/* x in the lanes where a < b, y in the others. */
#if defined(__AVX512F__)
#define WHERE_LESS(a, b, x, y)                                                                     \
    ((lanes)_mm512_mask_blend_pd(_mm512_cmp_pd_mask((__m512d)(a), (__m512d)(b), _CMP_LT_OQ),       \
                                 (__m512d)(y), (__m512d)(x)))
#elif defined(__AVX__)
#define WHERE_LESS(a, b, x, y)                                                                     \
    ((lanes)_mm256_blendv_pd((__m256d)(y), (__m256d)(x), (__m256d)((a) < (b))))
#else
#define WHERE_LESS(a, b, x, y) ((lanes)(((masks)(x) & ((a) < (b))) | ((masks)(y) & ~((a) < (b)))))
#endif

#define ADVANCE(j)                                                                                 \
    do {                                                                                           \
        masks in = a < k##j;                                                                       \
        lanes u = (lanes)((masks)w & in);                                                          \
        lanes before = sum##j * outside##j - (s - count##j) * total##j;                            \
        low##j = MIN_OF(before, low##j);                                                           \
        sum##j += u;                                                                               \
        lanes after = before + u * outside##j;                                                     \
        high##j = MAX_OF(after, high##j);                                                          \
        count##j += (lanes)((masks)one & in);                                                      \
    } while (0)

/* Two sizes per pass: they share the loads and hide each other's latency. The arrays start at the
 * first of WIDTH lanes. */
static void prefixes_of_lanes(int64_t n, const double *position, const double *weight,
                              const double *arrival, int32_t n_genes, int32_t n_sizes,
                              const double *sizes, const double *totals, double *top,
                              double *bottom)
{
    const lanes zero = {0}, one = zero + 1;
    for (int32_t i = 0; i < n_sizes; i += 2) {
        int32_t next = i + 1 < n_sizes ? i + 1 : i;
        lanes k0 = zero + sizes[i], k1 = zero + sizes[next];
        lanes outside0 = n_genes - k0, outside1 = n_genes - k1;
        lanes total0 = LOAD(totals + i * CPT_WALK_LANES),
              total1 = LOAD(totals + next * CPT_WALK_LANES);
        lanes sum0 = zero, sum1 = zero, count0 = zero, count1 = zero;
        lanes high0 = zero, high1 = zero, low0 = zero, low1 = zero;
        for (int64_t t = 0; t < n; t++) {
            lanes s = LOAD(position + t * CPT_WALK_LANES), w = LOAD(weight + t * CPT_WALK_LANES);
            lanes a = LOAD(arrival + t * CPT_WALK_LANES);
            ADVANCE(0);
            ADVANCE(1);
        }
        *(lanes *)(top + i * CPT_WALK_LANES) = high0;
        *(lanes *)(bottom + i * CPT_WALK_LANES) = low0;
        *(lanes *)(top + next * CPT_WALK_LANES) = high1;
        *(lanes *)(bottom + next * CPT_WALK_LANES) = low1;
    }
}

static void prefixes(int64_t n, const double *position, const double *weight, const double *arrival,
                     int32_t n_genes, int32_t n_sizes, const double *sizes, const double *totals,
                     double *top, double *bottom)
{
    for (int l = 0; l < CPT_WALK_LANES; l += WIDTH)
        prefixes_of_lanes(n, position + l, weight + l, arrival + l, n_genes, n_sizes, sizes,
                          totals + l, top + l, bottom + l);
}

/* WIDTH positions of either type as `places`; entries of a list at them; the same as doubles. */
#if defined(__AVX512F__)
typedef __m256i places;
#define PLACES_int32_t(p) _mm256_load_si256((const __m256i *)(p))
#define PLACES_uint16_t(p) _mm256_cvtepu16_epi32(_mm_load_si128((const __m128i *)(p)))
#define GATHER(from, at) ((lanes)_mm512_i32gather_pd(at, from, 8))
#define AS_LANES(at) ((lanes)_mm512_cvtepi32_pd(at))
#elif defined(__AVX2__)
typedef __m128i places;
#define PLACES_int32_t(p) _mm_load_si128((const __m128i *)(p))
#define PLACES_uint16_t(p) _mm_cvtepu16_epi32(_mm_loadl_epi64((const __m128i *)(p)))
#define GATHER(from, at) ((lanes)_mm256_i32gather_pd(from, at, 8))
#define AS_LANES(at) ((lanes)_mm256_cvtepi32_pd(at))
#else
typedef struct places {
    int32_t at[WIDTH];
} places;
#define PLACES_int32_t(p) ((places){{(p)[0], (p)[1]}})
#define PLACES_uint16_t(p) ((places){{(p)[0], (p)[1]}})
#define GATHER(from, places) ((lanes){(from)[(places).at[0]], (from)[(places).at[1]]})
#define AS_LANES(places) ((lanes){(places).at[0], (places).at[1]})
#endif

/* Lanes are subsets here too. One member of each: at step t positions s, weights w. Behind a subset's last member, where
 * w is 0, the index stands still: there bottom and top are 0, which is no extreme. Up to the end of the smallest
 * subset there is no such behind. */
#define BEGIN_WALK                                                                                 \
    const lanes zero = {0}, one = zero + 1, size = LOAD(sizes), outside = n_genes - size;          \
    const int32_t n_full = smallest(sizes);                                                        \
    lanes sum = zero, step = zero, high = zero, low = zero, high_at = zero, low_at = zero

#define WALK_ON(s, w, index)                                                                       \
    do {                                                                                           \
        lanes before = sum * outside - ((s) - (index)) * total;                                    \
        lanes after = before + (w) * outside;                                                      \
        sum += (w);                                                                                \
        low_at = WHERE_LESS(before, low, step, low_at);                                            \
        high_at = WHERE_LESS(high, after, step, high_at);                                          \
        low = MIN_OF(before, low);                                                                 \
        high = MAX_OF(after, high);                                                                \
        step += one;                                                                               \
    } while (0)

#define END_WALK                                                                                   \
    do {                                                                                           \
        *(lanes *)top = high;                                                                      \
        *(lanes *)bottom = low;                                                                    \
        *(lanes *)top_at = high_at;                                                                \
        *(lanes *)bottom_at = low_at;                                                              \
    } while (0)

static int32_t smallest(const double *sizes)
{
    double least = sizes[0];
    for (int l = 1; l < WIDTH; l++) least = sizes[l] < least ? sizes[l] : least;
    return (int32_t)least;
}

#define PLACES_AT(type, t) PLACES_##type(position + (int64_t)(t) * CPT_COLUMNS)

/* Weights are gathered from the list, once. For either type of position. */
#define DEFINE_SUBSETS(name, type)                                                                 \
    static void name##_of_lanes(int32_t n_steps, const type *position, const double *weight,       \
                                int32_t n_genes, const double *sizes, double *found,               \
                                double *totals, double *top, double *bottom, double *top_at,       \
                                double *bottom_at)                                                 \
    {                                                                                              \
        BEGIN_WALK;                                                                                \
        lanes total = zero;                                                                        \
        int32_t t = 0;                                                                             \
        for (int32_t i = 0; i < n_steps; i++) {                                                    \
            places at = PLACES_AT(type, i);                                                        \
            lanes w = GATHER(weight, at);                                                          \
            total += w;                                                                            \
            *(lanes *)(found + (int64_t)i * WIDTH) = w;                                            \
        }                                                                                          \
        *(lanes *)totals = total;                                                                  \
        for (; t < n_full; t++)                                                                    \
            WALK_ON(AS_LANES(PLACES_AT(type, t)), LOAD(found + (int64_t)t * WIDTH), step);         \
        for (; t < n_steps; t++)                                                                   \
            WALK_ON(AS_LANES(PLACES_AT(type, t)), LOAD(found + (int64_t)t * WIDTH),                \
                    MIN_OF(step, size));                                                           \
        END_WALK;                                                                                  \
    }                                                                                              \
    static void name(int32_t n_steps, const type *position, const double *weight, int32_t n_genes, \
                     const double *sizes, double *found, double *totals, double *top,              \
                     double *bottom, double *top_at, double *bottom_at)                            \
    {                                                                                              \
        for (int l = 0; l < CPT_WALK_LANES; l += WIDTH)                                            \
            name##_of_lanes(n_steps, position + l, weight, n_genes, sizes + l, found, totals + l,  \
                            top + l, bottom + l, top_at + l, bottom_at + l);                       \
    }

DEFINE_SUBSETS(subsets32, int32_t)
DEFINE_SUBSETS(subsets16, uint16_t)

/* |2 s + 1 - n|. */
#define RANK_WEIGHT(s) ABSOLUTE((s) * two + last)
#define ABSOLUTE(x) ((lanes)((masks)(x) & INT64_MAX))

/* Weights by rank need no list. */
#define DEFINE_RANKED(name, type)                                                                  \
    static void name##_of_lanes(int32_t n_steps, const type *position, int32_t n_genes,            \
                                const double *sizes, const double *totals, double *top,            \
                                double *bottom, double *top_at, double *bottom_at)                 \
    {                                                                                              \
        BEGIN_WALK;                                                                                \
        const lanes two = zero + 2, last = zero + (1 - n_genes), total = LOAD(totals);             \
        int32_t t = 0;                                                                             \
        for (; t < n_full; t++) {                                                                  \
            lanes s = AS_LANES(PLACES_AT(type, t)), w = RANK_WEIGHT(s);                            \
            WALK_ON(s, w, step);                                                                   \
        }                                                                                          \
        for (; t < n_steps; t++) {                                                                 \
            lanes s = AS_LANES(PLACES_AT(type, t)), w = WHERE_LESS(step, size, RANK_WEIGHT(s), zero); \
            WALK_ON(s, w, MIN_OF(step, size));                                                     \
        }                                                                                          \
        END_WALK;                                                                                  \
    }                                                                                              \
    static void name(int32_t n_steps, const type *position, int32_t n_genes, const double *sizes,  \
                     const double *totals, double *top, double *bottom, double *top_at,            \
                     double *bottom_at)                                                            \
    {                                                                                              \
        for (int l = 0; l < CPT_WALK_LANES; l += WIDTH)                                            \
            name##_of_lanes(n_steps, position + l, n_genes, sizes + l, totals + l, top + l,        \
                            bottom + l, top_at + l, bottom_at + l);                                \
    }

DEFINE_RANKED(ranked32, int32_t)
DEFINE_RANKED(ranked16, uint16_t)

typedef uint16_t row __attribute__((vector_size(2 * CPT_COLUMNS / 2), may_alias));
typedef uint32_t wide __attribute__((vector_size(4 * CPT_COLUMNS / 2)));
#if defined(__AVX512F__)
#define WIDENED(p) ((wide)_mm512_cvtepu16_epi32(*(const __m256i *)(const void *)(p)))
#define WIDE_ABSOLUTE(x) ((wide)_mm512_abs_epi32((__m512i)(x)))
#else
#define WIDENED(p) __builtin_convertvector(*(const row *)(p), wide)
#define WIDE_ABSOLUTE(x) (((x) ^ (0 - ((x) >> 31))) - (0 - ((x) >> 31)))
#endif

/* Entries behind the last member, n_genes of weight n_genes + 1, are taken along and off again. 32 bits hold sums over
 * members, at most n^2 / 2; what passes them on the way comes back. */
static void rank_sums16(int32_t n_steps, const uint16_t *position, int32_t n_genes, const double *sizes, double *totals)
{
    wide sums[2] = {{0}, {0}};
    for (int32_t t = 0; t < n_steps; t++, position += CPT_COLUMNS)
        for (int half = 0; half < 2; half++) {
            wide s = WIDENED(position + half * CPT_COLUMNS / 2);
            sums[half] += WIDE_ABSOLUTE(s + s + (uint32_t)(1 - n_genes));
        }
    for (int c = 0; c < CPT_COLUMNS; c++)
        totals[c] = (uint32_t)(sums[c / (CPT_COLUMNS / 2)][c % (CPT_COLUMNS / 2)] -
                               (uint32_t)(n_steps - (int32_t)sizes[c]) * (uint32_t)(n_genes + 1));
}

static void rank_sums32(int32_t n_steps, const int32_t *position, int32_t n_genes, const double *sizes, double *totals)
{
    for (int c = 0; c < CPT_COLUMNS; c++) {
        int64_t sum = 0;
        for (int32_t t = 0; t < (int32_t)sizes[c]; t++) {
            int64_t w = 2 * (int64_t)position[(int64_t)t * CPT_COLUMNS + c] + 1 - n_genes;
            sum += w < 0 ? -w : w;
        }
        totals[c] = (double)sum;
    }
}

/* ---- one subset ---- */

typedef double loose_lanes __attribute__((vector_size(8 * WIDTH), may_alias, aligned(8)));
typedef int32_t loose_ints __attribute__((vector_size(4 * WIDTH), may_alias, aligned(4)));
#define LOAD_LOOSE(p) (*(const loose_lanes *)(p))
#define STORE_LOOSE(p, v) (*(loose_lanes *)(p) = (loose_lanes)(v))
#define LOAD_INTS(p) (*(const loose_ints *)(p))
#define STORE_INTS(p, v) (*(loose_ints *)(p) = (v))

static double highest(int32_t first, int32_t last, const double *sum, const int32_t *position,
                      double a, double r)
{
    double best = -INFINITY;
    int32_t i = first;
    if (last - first >= WIDTH) {
        const lanes zero = {0}, slope = zero + a, fall = zero + r;
        lanes index, high = zero - INFINITY;
        for (int l = 0; l < WIDTH; l++) index[l] = first + l;
        for (; i + WIDTH <= last; i += WIDTH) {
            lanes at = __builtin_convertvector(LOAD_INTS(position + i), lanes);
            lanes v = LOAD_LOOSE(sum + i) * slope - (at - index) * fall;
            high = MAX_OF(v, high);
            index += WIDTH;
        }
        for (int l = 0; l < WIDTH; l++) best = high[l] > best ? high[l] : best;
    }
    for (; i < last; i++) {
        double v = sum[i] * a - (position[i] - i) * r;
        best = v > best ? v : best;
    }
    return best;
}

/* Halving, without branches since the answer is random, down to what counting does faster. */
static int32_t find(int32_t k, const int32_t *position, int32_t target)
{
    enum { SPAN = 8 * WIDTH };
    const int32_t *base = position;
    int32_t count = 0, i = 0;
    while (k > 4 * SPAN) {
        int32_t half = k / 2;
        base += base[half - 1] < target ? half : 0;
        k -= half;
    }
    for (; i + SPAN <= k; i += SPAN)
        for (int l = 0; l < SPAN; l++) count += base[i + l] < target;
    for (; i < k; i++) count += base[i] < target;
    return (int32_t)(base - position) + count;
}

static void swap(int32_t k, int32_t from, int32_t to, int32_t newcomer, double loss, double gain,
                 int32_t *position, double *sum)
{
    const lanes zero = {0};
    double change = gain - loss;
    int32_t place = from < to ? to - 1 : to, i = from;
    if (from < to) {
        for (; i + WIDTH <= place; i += WIDTH) {
            STORE_LOOSE(sum + i, LOAD_LOOSE(sum + i + 1) - (zero + loss));
            STORE_INTS(position + i, LOAD_INTS(position + i + 1));
        }
        for (; i < place; i++) {
            sum[i] = sum[i + 1] - loss;
            position[i] = position[i + 1];
        }
        i = to;
    } else {
        for (; i - WIDTH >= place; i -= WIDTH) {
            STORE_LOOSE(sum + i - WIDTH + 1, LOAD_LOOSE(sum + i - WIDTH) + (zero + gain));
            STORE_INTS(position + i - WIDTH + 1, LOAD_INTS(position + i - WIDTH));
        }
        for (; i > place; i--) {
            sum[i] = sum[i - 1] + gain;
            position[i] = position[i - 1];
        }
        i = from + 1;
    }
    position[place] = newcomer;
    sum[place] = (place ? sum[place - 1] : 0) + gain;
    for (; i + WIDTH <= k; i += WIDTH) STORE_LOOSE(sum + i, LOAD_LOOSE(sum + i) + (zero + change));
    for (; i < k; i++) sum[i] += change;
}

const cpt_walk_kernels CPT_LEVEL_NAME(cpt_walk_kernels) = {
    prefixes, subsets16, subsets32, ranked16, ranked32, rank_sums16, rank_sums32, highest, find, swap};
CPT_KERNEL_DISPATCH(cpt_walk_kernels)

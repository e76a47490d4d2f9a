/* columns.c - a sorting network whose wires are rows: every lane sorts a list of its own, without a branch.
 *
 * Method     Bitonic merging (Batcher 1968) in the form where all comparators point the same way: two sorted runs are
 *            compared crosswise, the first of one with the last of the other, then each half within itself at
 *            distances that halve. Rows that are not there count as larger than all others, so a comparator that
 *            would touch one does nothing and is left out: any number of rows goes.
 *            Blocks of eight rows stay in registers, for the first runs and for the last three distances of a merge;
 *            longer distances are taken two at a time.
 * Complexity O(n log^2 n) comparators of a whole row each. For lists of a few hundred, where the logarithm is small
 *            and a branch guessed wrong costs twenty comparators, about a cycle per number. */
#include "math/columns.h"
#include "base/cpu.h"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#if defined(__AVX512BW__)
typedef __m512i vector;
#define MIN_uint16_t(a, b) _mm512_min_epu16(a, b)
#define MAX_uint16_t(a, b) _mm512_max_epu16(a, b)
#define MIN_int32_t(a, b) _mm512_min_epi32(a, b)
#define MAX_int32_t(a, b) _mm512_max_epi32(a, b)
#elif defined(__AVX2__)
typedef __m256i vector;
#define MIN_uint16_t(a, b) _mm256_min_epu16(a, b)
#define MAX_uint16_t(a, b) _mm256_max_epu16(a, b)
#define MIN_int32_t(a, b) _mm256_min_epi32(a, b)
#define MAX_int32_t(a, b) _mm256_max_epi32(a, b)
#else
/* 16 bytes of either type. Without an instruction for the smaller one of two: by masks. */
typedef int32_t vector __attribute__((vector_size(16), may_alias));
typedef uint16_t uint16_t_lanes __attribute__((vector_size(16), may_alias));
typedef vector int32_t_lanes;
#define LESS(type, a, b) ((vector)((type##_lanes)(a) < (type##_lanes)(b)))
#define SELECT(mask, a, b) (((a) & (mask)) | ((b) & ~(mask)))
#define MIN_uint16_t(a, b) SELECT(LESS(uint16_t, a, b), a, b)
#define MAX_uint16_t(a, b) SELECT(LESS(uint16_t, a, b), b, a)
#define MIN_int32_t(a, b) SELECT(LESS(int32_t, a, b), a, b)
#define MAX_int32_t(a, b) SELECT(LESS(int32_t, a, b), b, a)
#endif

enum { BLOCK = CPT_COLUMN_BLOCK };

/* Everything for one type of number. A strip is as many lists as a vector holds; `stride` numbers lie between rows. */
#define ROW(r) (*(vector *)(void *)(rows + (int64_t)(r) * CPT_COLUMNS))

#define SWAP(type, a, b)                                                                           \
    do {                                                                                           \
        const vector smaller = MIN_##type(a, b);                                                   \
        b = MAX_##type(a, b);                                                                      \
        a = smaller;                                                                               \
    } while (0)

#define SWAP_ROWS(type, r, s)                                                                      \
    do {                                                                                           \
        const vector one = ROW(r), other = ROW(s);                                                 \
        ROW(r) = MIN_##type(one, other);                                                           \
        ROW(s) = MAX_##type(one, other);                                                           \
    } while (0)

#define LOAD_BLOCK(r)                                                                              \
    vector x0 = ROW(r), x1 = ROW((r) + 1), x2 = ROW((r) + 2), x3 = ROW((r) + 3);                   \
    vector x4 = ROW((r) + 4), x5 = ROW((r) + 5), x6 = ROW((r) + 6), x7 = ROW((r) + 7)

#define STORE_BLOCK(r)                                                                             \
    ROW(r) = x0, ROW((r) + 1) = x1, ROW((r) + 2) = x2, ROW((r) + 3) = x3, ROW((r) + 4) = x4,       \
    ROW((r) + 5) = x5, ROW((r) + 6) = x6, ROW((r) + 7) = x7

#define SWAP4(type, a, b, c, d, e, f, g, h)                                                        \
    SWAP(type, x##a, x##b);                                                                        \
    SWAP(type, x##c, x##d);                                                                        \
    SWAP(type, x##e, x##f);                                                                        \
    SWAP(type, x##g, x##h)

#define DEFINE_SORT(name, type)                                                                    \
    /* Nineteen comparators, the fewest for eight numbers. */                                      \
    static void name##_block(type *rows)                                                           \
    {                                                                                              \
        LOAD_BLOCK(0);                                                                             \
        SWAP4(type, 0, 2, 1, 3, 4, 6, 5, 7);                                                       \
        SWAP4(type, 0, 4, 1, 5, 2, 6, 3, 7);                                                       \
        SWAP4(type, 0, 1, 2, 3, 4, 5, 6, 7);                                                       \
        SWAP4(type, 2, 4, 3, 5, 1, 4, 3, 6);                                                       \
        SWAP(type, x1, x2);                                                                        \
        SWAP(type, x3, x4);                                                                        \
        SWAP(type, x5, x6);                                                                        \
        STORE_BLOCK(0);                                                                            \
    }                                                                                              \
    /* Distances 4, 2, 1. */                                                                       \
    static void name##_finish(int32_t n, type *rows)                                               \
    {                                                                                              \
        for (int32_t r = 0; r < n; r += BLOCK) {                                                   \
            LOAD_BLOCK(r);                                                                         \
            SWAP4(type, 0, 4, 1, 5, 2, 6, 3, 7);                                                   \
            SWAP4(type, 0, 2, 1, 3, 4, 6, 5, 7);                                                   \
            SWAP4(type, 0, 1, 2, 3, 4, 5, 6, 7);                                                   \
            STORE_BLOCK(r);                                                                        \
        }                                                                                          \
    }                                                                                              \
    /* Runs of `run` rows become runs of twice as many, but for the distances below 2 run. */      \
    static void name##_cross(int32_t n, int32_t run, type *rows)                                   \
    {                                                                                              \
        for (int32_t from = 0; from + run < n; from += 2 * run) {                                  \
            int32_t middle = from + run, m = n - middle < run ? n - middle : run;                  \
            for (int32_t i = 0; i < m; i++) SWAP_ROWS(type, middle - 1 - i, middle + i);           \
        }                                                                                          \
    }                                                                                              \
    static void name##_apart(int32_t n, int32_t distance, type *rows)                              \
    {                                                                                              \
        for (int32_t from = 0; from + distance < n; from += 2 * distance) {                        \
            int32_t m = n - from - distance < distance ? n - from - distance : distance;           \
            for (int32_t i = from; i < from + m; i++) SWAP_ROWS(type, i, i + distance);            \
        }                                                                                          \
    }                                                                                              \
    /* Distances 2 d and d. */                                                                     \
    static void name##_apart_twice(int32_t n, int32_t d, type *rows)                               \
    {                                                                                              \
        int32_t from = 0;                                                                          \
        for (; from + 4 * d <= n; from += 4 * d)                                                   \
            for (int32_t i = from; i < from + d; i++) {                                            \
                vector x0 = ROW(i), x1 = ROW(i + d), x2 = ROW(i + 2 * d), x3 = ROW(i + 3 * d);     \
                SWAP(type, x0, x2);                                                                \
                SWAP(type, x1, x3);                                                                \
                SWAP(type, x0, x1);                                                                \
                SWAP(type, x2, x3);                                                                \
                ROW(i) = x0, ROW(i + d) = x1, ROW(i + 2 * d) = x2, ROW(i + 3 * d) = x3;            \
            }                                                                                      \
        if (from < n) {                                                                            \
            name##_apart(n - from, 2 * d, rows + (int64_t)from * CPT_COLUMNS);                     \
            name##_apart(n - from, d, rows + (int64_t)from * CPT_COLUMNS);                         \
        }                                                                                          \
    }                                                                                              \
    static void name##_strip(int32_t n, type *rows)                                                \
    {                                                                                              \
        for (int32_t r = 0; r < n; r += BLOCK) name##_block(rows + (int64_t)r * CPT_COLUMNS);      \
        for (int32_t run = BLOCK; run < n; run *= 2) {                                             \
            int32_t distance = run / 2;                                                            \
            name##_cross(n, run, rows);                                                            \
            for (; distance >= 2 * BLOCK; distance /= 4) name##_apart_twice(n, distance / 2, rows); \
            if (distance == BLOCK) name##_apart(n, BLOCK, rows);                                   \
            name##_finish(n, rows);                                                                \
        }                                                                                          \
    }                                                                                              \
    static void name(int32_t n, type *rows)                                                        \
    {                                                                                              \
        const int32_t lanes = (int32_t)(sizeof(vector) / sizeof *rows);                            \
        for (int32_t c = 0; c < CPT_COLUMNS; c += lanes) name##_strip(n, rows + c);                \
    }

DEFINE_SORT(sort16, uint16_t)
DEFINE_SORT(sort32, int32_t)

/* Gathers of 32 bits, the upper 16 of which belong to a neighbour: half the time of one after the other. */
static void look_up16(int32_t n_rows, const uint16_t *from, const uint16_t *of, uint16_t *to)
{
    const int64_t n = (int64_t)n_rows * CPT_COLUMNS;
#if defined(__AVX512BW__)
    for (int64_t i = 0; i < n; i += 16) {
        const __m512i at = _mm512_cvtepu16_epi32(_mm256_load_si256((const __m256i *)(from + i)));
        const __m512i found = _mm512_i32gather_epi32(at, of, sizeof *of);
        _mm256_store_si256((__m256i *)(to + i), _mm512_cvtepi32_epi16(found));
    }
#else
    for (int64_t i = 0; i < n; i++) to[i] = of[from[i]];
#endif
}

const cpt_column_kernels CPT_LEVEL_NAME(cpt_column_kernels) = {look_up16, sort16, sort32};
CPT_KERNEL_DISPATCH(cpt_column_kernels)

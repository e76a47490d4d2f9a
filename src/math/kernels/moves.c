/* moves.c - UMAP's moves in lanes of CPT_MOVES_LANES vertices.
 *
 * One vertex alone is a chain of dependent loads and additions and spends its time waiting. Lanes
 * make the loops below, which the compiler turns into gathers and vector arithmetic. Lanes whose
 * events are done go on with a rate of 0, which leaves them where they are. Random words are those
 * that cpt_stream_u32 gives each vertex; as lanes keep step, all need their next block at once.
 *
 * Trap: the file must be compiled without contraction to FMA (Makefile), or levels would differ. */
#include "math/moves.h"
#include "base/cpu.h"

#include <string.h>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

enum { LANES = CPT_MOVES_LANES };

typedef struct randoms {
    uint32_t word[4][LANES];
    uint32_t block; /* number of the next one */
    int used;       /* words of `word` already given out */
} randoms;

/* Both halves of the products of 32-bit numbers with a constant. */
static inline void multiply(const uint32_t *restrict w, uint32_t by, uint32_t *restrict low,
                            uint32_t *restrict high)
{
#if defined(__AVX512F__)
    const __m512i x = _mm512_loadu_si512(w), y = _mm512_set1_epi32((int)by);
    const __m512i even = _mm512_mul_epu32(x, y), odd = _mm512_mul_epu32(_mm512_srli_epi64(x, 32), y);
    _mm512_storeu_si512(low, _mm512_mask_blend_epi32(0xAAAA, even, _mm512_slli_epi64(odd, 32)));
    _mm512_storeu_si512(high, _mm512_mask_blend_epi32(0xAAAA, _mm512_srli_epi64(even, 32), odd));
#else
#pragma omp simd
    for (int l = 0; l < LANES; l++) {
        uint64_t p = (uint64_t)w[l] * by;
        low[l] = (uint32_t)p;
        high[l] = (uint32_t)(p >> 32);
    }
#endif
}

static void next_block(const cpt_moves *m, const uint32_t *restrict vertices, randoms *restrict r)
{
    uint32_t w0[LANES], w1[LANES], w2[LANES], w3[LANES];
    uint32_t k0 = m->key[0], k1 = m->key[1];
#pragma omp simd
    for (int l = 0; l < LANES; l++) {
        w0[l] = r->block;
        w1[l] = m->purpose;
        w2[l] = vertices[l];
        w3[l] = m->epoch;
    }
    for (int round = 0; round < 10; round++) {
        uint32_t low0[LANES], high0[LANES], low2[LANES], high2[LANES];
        multiply(w0, 0xD2511F53u, low0, high0);
        multiply(w2, 0xCD9E8D57u, low2, high2);
#pragma omp simd
        for (int l = 0; l < LANES; l++) {
            w0[l] = high2[l] ^ w1[l] ^ k0;
            w1[l] = low2[l];
            w2[l] = high0[l] ^ w3[l] ^ k1;
            w3[l] = low0[l];
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    memcpy(r->word[0], w0, sizeof w0);
    memcpy(r->word[1], w1, sizeof w1);
    memcpy(r->word[2], w2, sizeof w2);
    memcpy(r->word[3], w3, sizeof w3);
    r->block++;
    r->used = 0;
}

static inline float clip(float v)
{
    v = v > 4 ? 4 : v;
    return v < -4 ? -4 : v;
}

static inline int32_t cell_of(float d2, float *rest)
{
    int32_t bits;
    memcpy(&bits, &d2, sizeof bits);
    int32_t cell = (bits >> (23 - CPT_TABLE_BITS)) - (CPT_TABLE_FIRST << CPT_TABLE_BITS);
    cell = cell < 0 ? 0 : cell;
    *rest = (float)(bits & ((1 << (23 - CPT_TABLE_BITS)) - 1));
    return cell > CPT_TABLE_SIZE ? CPT_TABLE_SIZE : cell;
}

/* Adds the clipped displacements times `factor` (NULL = 1) to dx and dy. */
static inline void displace(const float *restrict at, const cpt_table_cell *restrict table,
                            const int32_t *restrict places, const float *restrict x,
                            const float *restrict y, float *restrict dx, float *restrict dy)
{
#pragma omp simd
    for (int l = 0; l < LANES; l++) {
        float away_x = x[l] - at[2 * places[l]], away_y = y[l] - at[2 * places[l] + 1], rest;
        int32_t cell = cell_of(away_x * away_x + away_y * away_y, &rest);
        float g = table[cell].value + table[cell].slope * rest;
        dx[l] += clip(g * away_x);
        dy[l] += clip(g * away_y);
    }
}

static inline void step(const float *restrict rate, const float *restrict dx,
                        const float *restrict dy, float *restrict x, float *restrict y)
{
#pragma omp simd
    for (int l = 0; l < LANES; l++) {
        x[l] += rate[l] * dx[l];
        y[l] += rate[l] * dy[l];
    }
}

static void move(const cpt_moves *m, const uint32_t *vertices, const int32_t *n_events,
                 const int32_t *ends, float *x, float *y)
{
    const float *at = &m->at->x;
    randoms r = {.used = 4};
    int32_t most = 0;
    for (int l = 0; l < LANES; l++) most = n_events[l] > most ? n_events[l] : most;
    for (int32_t event = 0; event < most; event++, ends += LANES) {
        float rate[LANES];
        for (int l = 0; l < LANES; l++) rate[l] = event < n_events[l] ? m->rate : 0;
        float dx[LANES] = {0}, dy[LANES] = {0};
        displace(at, m->pull, ends, x, y, dx, dy);
        step(rate, dx, dy, x, y);

        memset(dx, 0, sizeof dx);
        memset(dy, 0, sizeof dy);
        for (int32_t i = 0; i < m->negatives; i++) {
            int32_t places[LANES];
            if (r.used == 4) next_block(m, vertices, &r);
            const uint32_t *words = r.word[r.used++];
#pragma omp simd
            for (int l = 0; l < LANES; l++) {
                uint32_t other = (uint32_t)(((uint64_t)words[l] * m->n) >> 32);
                places[l] = (int32_t)(other + (other % CPT_MOVES_GROUPS < m->group ? m->after : m->before));
            }
            displace(at, m->push, places, x, y, dx, dy);
        }
        step(rate, dx, dy, x, y);

        memset(dx, 0, sizeof dx);
        memset(dy, 0, sizeof dy);
        displace(at, m->pull, ends, x, y, dx, dy);
        step(rate, dx, dy, x, y);
    }
}

const cpt_moves_kernels CPT_LEVEL_NAME(cpt_moves_kernels) = {move};
CPT_KERNEL_DISPATCH(cpt_moves_kernels)

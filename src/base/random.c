#include "base/random.h"

#include <math.h>

void cpt_philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

/* Key = seed. Counter = position (32 bits, carried into the next word's upper half), purpose, item. */
void cpt_stream_init(cpt_stream *s, uint64_t seed, cpt_random_purpose purpose, uint64_t item)
{
    *s = (cpt_stream){.key = {(uint32_t)seed, (uint32_t)(seed >> 32)}, .used = 4};
    s->counter[1] = (uint32_t)purpose << 16;
    s->counter[2] = (uint32_t)item;
    s->counter[3] = (uint32_t)(item >> 32);
}

uint32_t cpt_stream_u32(cpt_stream *s)
{
    if (s->used == 4) {
        cpt_philox4x32(s->counter, s->key, s->block);
        if (++s->counter[0] == 0) s->counter[1]++; /* 2^48 blocks before purposes could meet */
        s->used = 0;
    }
    return s->block[s->used++];
}

enum { LANES = 16 };

/* LANES blocks from `first` on, side by side, in loops that compilers make vector code of. */
static void many_blocks(const cpt_stream *s, uint32_t first, uint32_t out[4 * LANES])
{
    uint32_t c0[LANES], c1[LANES], c2[LANES], c3[LANES], k0 = s->key[0], k1 = s->key[1];
    for (uint32_t l = 0; l < LANES; l++) {
        c0[l] = first + l;
        c1[l] = s->counter[1];
        c2[l] = s->counter[2];
        c3[l] = s->counter[3];
    }
    for (int round = 0; round < 10; round++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u)
        for (int l = 0; l < LANES; l++) {
            uint64_t p0 = (uint64_t)0xD2511F53u * c0[l], p1 = (uint64_t)0xCD9E8D57u * c2[l];
            c0[l] = (uint32_t)(p1 >> 32) ^ c1[l] ^ k0;
            c2[l] = (uint32_t)(p0 >> 32) ^ c3[l] ^ k1;
            c1[l] = (uint32_t)p1;
            c3[l] = (uint32_t)p0;
        }
    for (int l = 0; l < LANES; l++) {
        out[4 * l] = c0[l];
        out[4 * l + 1] = c1[l];
        out[4 * l + 2] = c2[l];
        out[4 * l + 3] = c3[l];
    }
}

void cpt_stream_fill_u32(cpt_stream *s, int64_t n, uint32_t *out)
{
    int64_t i = 0;
    while (i < n && s->used < 4) out[i++] = cpt_stream_u32(s);
    for (; i + 4 * LANES <= n && s->counter[0] <= UINT32_MAX - LANES; i += 4 * LANES) {
        many_blocks(s, s->counter[0], out + i);
        s->counter[0] += LANES;
    }
    while (i < n) out[i++] = cpt_stream_u32(s);
}

void cpt_stream_skip(cpt_stream *s, uint32_t n)
{
    s->counter[0] += n;
    s->counter[1] += s->counter[0] < n;
}

uint64_t cpt_stream_u64(cpt_stream *s)
{
    uint64_t low = cpt_stream_u32(s);
    return low | (uint64_t)cpt_stream_u32(s) << 32;
}

double cpt_stream_uniform(cpt_stream *s)
{
    return (double)(cpt_stream_u64(s) >> 11) * 0x1p-53;
}

uint64_t cpt_stream_below(cpt_stream *s, uint64_t n)
{
    /* Lemire 2019: multiply, reject the biased low part. */
    unsigned __int128 m = (unsigned __int128)cpt_stream_u64(s) * n;
    if ((uint64_t)m < n)
        for (uint64_t floor = -n % n; (uint64_t)m < floor;)
            m = (unsigned __int128)cpt_stream_u64(s) * n;
    return (uint64_t)(m >> 64);
}

double cpt_stream_normal(cpt_stream *s)
{
    if (s->has_spare) {
        s->has_spare = 0;
        return s->spare_normal;
    }
    double u = 1.0 - cpt_stream_uniform(s), angle = 6.283185307179586 * cpt_stream_uniform(s);
    double radius = sqrt(-2.0 * log(u));
    s->spare_normal = radius * sin(angle);
    s->has_spare = 1;
    return radius * cos(angle);
}

double cpt_stream_gamma(cpt_stream *s, double shape)
{
    if (shape < 1.0) { /* boost: Gamma(a) = Gamma(a + 1) * U^(1/a) */
        double u = 1.0 - cpt_stream_uniform(s);
        return cpt_stream_gamma(s, shape + 1.0) * pow(u, 1.0 / shape);
    }
    double d = shape - 1.0 / 3.0, c = 1.0 / sqrt(9.0 * d);
    for (;;) {
        double x = cpt_stream_normal(s), v = 1.0 + c * x;
        if (v <= 0.0) continue;
        v = v * v * v;
        double u = 1.0 - cpt_stream_uniform(s);
        if (log(u) < 0.5 * x * x + d - d * v + d * log(v)) return d * v;
    }
}

uint64_t cpt_stream_poisson(cpt_stream *s, double mean)
{
    uint64_t total = 0;
    while (mean > 16.0) { /* split off whole gamma waiting times (Ahrens and Dieter 1974) */
        double m = floor(mean * 0.875), x = cpt_stream_gamma(s, m);
        if (x > mean) { /* binomial(m - 1, mean / x) by counting uniforms */
            for (double i = 0; i < m - 1; i++) total += cpt_stream_uniform(s) * x < mean;
            return total;
        }
        total += (uint64_t)m;
        mean -= x;
    }
    double limit = exp(-mean), product = cpt_stream_uniform(s);
    while (product > limit) {
        total++;
        product *= cpt_stream_uniform(s);
    }
    return total;
}

void cpt_stream_shuffle_i64(cpt_stream *s, int64_t *items, int64_t n)
{
    for (int64_t i = n - 1; i > 0; i--) {
        int64_t j = (int64_t)cpt_stream_below(s, (uint64_t)i + 1), t = items[i];
        items[i] = items[j];
        items[j] = t;
    }
}

void cpt_stream_shuffle_i32(cpt_stream *s, int32_t *items, int64_t n)
{
    for (int64_t i = n - 1; i > 0; i--) {
        int64_t j = (int64_t)cpt_stream_below(s, (uint64_t)i + 1);
        int32_t t = items[i];
        items[i] = items[j];
        items[j] = t;
    }
}

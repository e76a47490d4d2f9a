/* MT19937 as NumPy's legacy generator and PyTorch's CPU generator use it (models.md 3).
 *
 * Both fill the state from one 32-bit seed by the same recurrence. NumPy makes a double of 27 + 26
 * bits of two outputs; torch.randperm is Fisher-Yates from the front with a plain remainder (its
 * bias, n / 2^32, is part of what is repeated). */
#include "model/mersenne.h"

enum { WORDS = 624, SHIFT = 397 };

void cpt_mersenne_seed(cpt_mersenne *g, uint32_t seed)
{
    g->state[0] = seed;
    for (uint32_t i = 1; i < WORDS; i++)
        g->state[i] = 1812433253u * (g->state[i - 1] ^ g->state[i - 1] >> 30) + i;
    g->used = WORDS;
}

static void refill(cpt_mersenne *g)
{
    uint32_t *s = g->state;
    for (int i = 0; i < WORDS; i++) {
        uint32_t y = (s[i] & 0x80000000u) | (s[(i + 1) % WORDS] & 0x7fffffffu);
        s[i] = s[(i + SHIFT) % WORDS] ^ y >> 1 ^ (y & 1 ? 0x9908b0dfu : 0);
    }
    g->used = 0;
}

uint32_t cpt_mersenne_u32(cpt_mersenne *g)
{
    if (g->used == WORDS) refill(g);
    uint32_t y = g->state[g->used++];
    y ^= y >> 11;
    y ^= y << 7 & 0x9d2c5680u;
    y ^= y << 15 & 0xefc60000u;
    return y ^ y >> 18;
}

double cpt_mersenne_uniform(cpt_mersenne *g)
{
    uint32_t high = cpt_mersenne_u32(g) >> 5, low = cpt_mersenne_u32(g) >> 6;
    return (high * 67108864.0 + low) / 9007199254740992.0;
}

void cpt_mersenne_torch_permutation(cpt_mersenne *g, int32_t n, int32_t *out)
{
    for (int32_t i = 0; i < n; i++) out[i] = i;
    for (int32_t i = 0; i < n - 1; i++) {
        int32_t j = i + (int32_t)(cpt_mersenne_u32(g) % (uint32_t)(n - i)), kept = out[i];
        out[i] = out[j];
        out[j] = kept;
    }
}

/* mersenne.h - the generator behind np.random.seed and torch.manual_seed, to repeat what they draw.
 *
 * MT19937 (Matsumoto and Nishimura 1998). Only for emulation: everything of our own draws from
 * base/random.h. */
#ifndef CPT_MODEL_MERSENNE_H
#define CPT_MODEL_MERSENNE_H

#include <stdint.h>

typedef struct cpt_mersenne {
    uint32_t state[624];
    int used;
} cpt_mersenne;

void cpt_mersenne_seed(cpt_mersenne *g, uint32_t seed);
uint32_t cpt_mersenne_u32(cpt_mersenne *g);
double cpt_mersenne_uniform(cpt_mersenne *g); /* np.random.rand: [0, 1), 53 bits */
/* torch.randperm(n) on the CPU, n < 2^32 / 20. */
void cpt_mersenne_torch_permutation(cpt_mersenne *g, int32_t n, int32_t *out);

#endif

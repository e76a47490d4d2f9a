/* sha256_blocks.h - the inner function of SHA-256 (FIPS 180-4), for file.c. */
#ifndef CPT_BASE_SHA256_BLOCKS_H
#define CPT_BASE_SHA256_BLOCKS_H

#include <stddef.h>
#include <stdint.h>

/* Takes n blocks of 64 bytes into the state; by the processor's own instructions where it has them
 * (1.5 GB/s and more instead of 0.3). */
void cpt_sha256_blocks(uint32_t state[8], const unsigned char *p, size_t n);
/* The same in plain C: the reference. */
void cpt_sha256_blocks_plain(uint32_t state[8], const unsigned char *p, size_t n);

#endif

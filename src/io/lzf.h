/* lzf.h - the LZF filter of h5py (HDF5 filter 32000), reading only.
 *
 * The stream is a sequence of
 *   000LLLLL                      a run of L + 1 literal bytes follows
 *   LLLooooo oooooooo             copy L + 2 bytes (L = 1..6) from o + 1 bytes back
 *   111ooooo LLLLLLLL oooooooo    copy L + 9 bytes from o + 1 bytes back
 */
#ifndef CPT_IO_LZF_H
#define CPT_IO_LZF_H

#include <stddef.h>

enum { CPT_LZF_FILTER = 32000 };

/* Bytes written to `out`; 0 when the stream is damaged, *full when `capacity` was too small. */
size_t cpt_lzf_expand(const unsigned char *in, size_t n, unsigned char *out, size_t capacity,
                      int *full);

int cpt_lzf_register(void); /* with HDF5; < 0 on failure */

#endif

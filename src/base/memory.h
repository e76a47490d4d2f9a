/* memory.h - checked allocation. Sizes that come from files or users go through here. */
#ifndef CPT_BASE_MEMORY_H
#define CPT_BASE_MEMORY_H

#include "base/error.h"

/* *product = a * b; false on overflow of size_t. */
bool cpt_size_mul(size_t a, size_t b, size_t *product);

/* Zeroed array of n elements of `size` bytes, aligned to 64 bytes. Never NULL on CPT_OK, also for
 * n == 0. `*out` (any pointer type, hence void *) is freed with free(). */
cpt_status cpt_alloc(void *out, size_t n, size_t size, cpt_err *e);

/* Grows *array so that `need` elements fit; *capacity doubles. New elements are not zeroed. */
cpt_status cpt_grow(void *array, size_t *capacity, size_t need, size_t size, cpt_err *e);

char *cpt_strdup(const char *s); /* NULL when out of memory or s is NULL */

#endif

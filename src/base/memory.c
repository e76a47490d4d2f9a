#include "base/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

/* Large arrays lie in large pages where the system grants them: what is read at random then waits less for the tables
 * of pages, above all on virtual machines, whose tables are walked twice. */
#define LARGE_PAGE ((size_t)2 << 20)
#define LARGE_FROM (2 * LARGE_PAGE)

static void in_large_pages(void *p, size_t bytes)
{
#if defined(MADV_HUGEPAGE)
    const uintptr_t start = ((uintptr_t)p + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE;
    const uintptr_t end = ((uintptr_t)p + bytes) / LARGE_PAGE * LARGE_PAGE;
    if (bytes >= LARGE_FROM && end > start) madvise((char *)p + (start - (uintptr_t)p), end - start, MADV_HUGEPAGE);
#else
    (void)p, (void)bytes;
#endif
}

bool cpt_size_mul(size_t a, size_t b, size_t *product)
{
    return !__builtin_mul_overflow(a, b, product);
}

cpt_status cpt_alloc(void *out, size_t n, size_t size, cpt_err *e)
{
    void *p = NULL;
    size_t bytes;
    memcpy(out, &p, sizeof p);
    if (!cpt_size_mul(n, size, &bytes) || bytes > SIZE_MAX / 4)
        return cpt_fail(e, CPT_ERR_MEMORY, "%zu elements of %zu bytes do not fit in memory", n, size);
    bytes = (bytes + 64) & ~(size_t)63; /* room for whole vectors, and never zero */

    if (posix_memalign(&p, bytes >= LARGE_FROM ? LARGE_PAGE : 64, bytes) != 0)
        return cpt_fail(e, CPT_ERR_MEMORY, "out of memory (%zu MiB asked for)", bytes >> 20);
    in_large_pages(p, bytes);
    memset(p, 0, bytes);
    memcpy(out, &p, sizeof p);
    return CPT_OK;
}

cpt_status cpt_grow(void *array, size_t *capacity, size_t need, size_t size, cpt_err *e)
{
    if (need <= *capacity) return CPT_OK;
    size_t want = *capacity < 16 ? 16 : *capacity, bytes;
    while (want < need)
        if (!cpt_size_mul(want, 2, &want)) want = need;
    void *p;
    memcpy(&p, array, sizeof p);
    if (!cpt_size_mul(want, size, &bytes) || !(p = realloc(p, bytes)))
        return cpt_fail(e, CPT_ERR_MEMORY, "out of memory (%zu elements of %zu bytes)", want, size);
    in_large_pages(p, bytes);
    memcpy(array, &p, sizeof p);
    *capacity = want;
    return CPT_OK;
}

char *cpt_strdup(const char *s)
{
    if (!s) return NULL;
    size_t n = strlen(s) + 1;
    char *copy = malloc(n);
    return copy ? memcpy(copy, s, n) : NULL;
}

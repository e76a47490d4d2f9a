/* Chunks of geometrically growing size in a list; taking is a bump of a pointer, O(1). A request
 * over half a chunk gets a chunk of its own so that little is wasted. */
#include "io/arena.h"

#include <stdlib.h>
#include <string.h>

typedef struct arena_chunk {
    struct arena_chunk *next;
    size_t size;
} arena_chunk;

enum { HEADER = 64, FIRST_CHUNK = 1 << 14, LARGEST_CHUNK = 1 << 22 };

static bool add_chunk(cpt_arena *a, size_t need)
{
    size_t size = a->total < FIRST_CHUNK ? FIRST_CHUNK : a->total;
    if (size > LARGEST_CHUNK) size = LARGEST_CHUNK;
    if (size < need) size = need;
    arena_chunk *c = calloc(1, HEADER + size + CPT_ARENA_SLACK);
    if (!c) return false;
    *c = (arena_chunk){a->chunks, size};
    a->chunks = c;
    a->used = 0;
    a->room = size;
    return true;
}

void *cpt_arena_take(cpt_arena *a, size_t bytes)
{
    if (bytes > SIZE_MAX / 4) return NULL;
    bytes = (bytes + 15) & ~(size_t)15;
    if (a->limit && bytes > a->limit - a->total) return NULL;
    if (bytes > a->room - a->used && !add_chunk(a, bytes)) return NULL;
    void *p = (char *)a->chunks + HEADER + a->used;
    a->used += bytes;
    a->total += bytes;
    return p;
}

char *cpt_arena_copy(cpt_arena *a, const void *bytes, size_t n)
{
    char *copy = n < SIZE_MAX / 4 ? cpt_arena_take(a, n + 1) : NULL;
    if (copy && n) memcpy(copy, bytes, n);
    return copy;
}

void cpt_arena_free(cpt_arena *a)
{
    for (arena_chunk *c = a->chunks, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    *a = (cpt_arena){0};
}

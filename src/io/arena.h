/* arena.h - memory handed out piecewise and given back at once, with a limit on the total.
 *
 * For trees read from files: what a hostile file can make us allocate is bounded by `limit`,
 * whatever the order in which it asks. Zero-initialise, set limit (0 = none), free once.
 */
#ifndef CPT_IO_ARENA_H
#define CPT_IO_ARENA_H

#include "base/error.h"

typedef struct cpt_arena {
    struct arena_chunk *chunks; /* the newest first */
    size_t used, room;          /* bytes of the newest chunk */
    size_t total, limit;        /* bytes handed out; 0 = no limit */
} cpt_arena;

/* Zeroed, aligned to 16 bytes, followed by at least `CPT_ARENA_SLACK` readable bytes of the same
 * allocation. NULL when out of memory or over the limit. */
enum { CPT_ARENA_SLACK = 256 };
void *cpt_arena_take(cpt_arena *a, size_t bytes);
/* NUL-terminated copy. */
char *cpt_arena_copy(cpt_arena *a, const void *bytes, size_t n);
void cpt_arena_free(cpt_arena *a);

#endif

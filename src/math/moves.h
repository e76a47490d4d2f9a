/* moves.h - the moves of UMAP's descent, many vertices side by side (private to umap_optimise.c).
 *
 * A lane is one vertex with its events of this epoch, done one after the other: a pull towards the
 * event's end, pushes away from `negatives` random vertices, a second pull. Lanes do not see each
 * other. Every level gives the same bytes: nothing is fused or reordered. */
#ifndef CPT_MATH_MOVES_H
#define CPT_MATH_MOVES_H

#include <stdint.h>

enum { CPT_MOVES_LANES = 16, CPT_MOVES_GROUPS = 8 };

typedef struct cpt_plane {
    float x, y;
} cpt_plane;

/* A function of d^2 from 2^-40 to 2^24, constant beyond: exponent and leading mantissa bits are the
 * cell, the others interpolate (relative error below 1e-4). Value at the start of each cell, and
 * slope per unit of the remaining bits. */
enum { CPT_TABLE_BITS = 6, CPT_TABLE_FIRST = 127 - 40, CPT_TABLE_SIZE = 64 << CPT_TABLE_BITS };
typedef struct cpt_table_cell {
    float value, slope;
} cpt_table_cell;

typedef struct cpt_moves {
    const cpt_plane *at;       /* [2 n] two copies of all positions */
    uint32_t n;
    uint32_t before, after;    /* where the copies begin for vertices that wait for their turn in this
                                  epoch, and for those that had it: 0 or n */
    uint32_t group;            /* whose turn it is: of vertex v, v % CPT_MOVES_GROUPS */
    cpt_table_cell pull[CPT_TABLE_SIZE + 1], push[CPT_TABLE_SIZE + 1];
    float rate;
    int32_t negatives;
    uint32_t key[2], purpose, epoch; /* of the random numbers: words 1 and 3 of the counter */
} cpt_moves;

/* The place of a vertex in `at` as it stands now. */
static inline int32_t cpt_moves_place(const cpt_moves *m, uint32_t vertex)
{
    return (int32_t)(vertex + (vertex % CPT_MOVES_GROUPS < m->group ? m->after : m->before));
}

typedef struct cpt_moves_kernels {
    /* n_events [CPT_MOVES_LANES]; ends [largest n_events][CPT_MOVES_LANES] are places in `at` (any
     * valid one beyond a lane's events); x, y [CPT_MOVES_LANES] are moved. */
    void (*move)(const cpt_moves *m, const uint32_t *vertices, const int32_t *n_events,
                 const int32_t *ends, float *x, float *y);
} cpt_moves_kernels;
const cpt_moves_kernels *cpt_moves_kernels_get(void);
const cpt_moves_kernels *cpt_moves_kernels_at(int level); /* NULL where the processor lacks it */

/* The same one vertex after the other, written plainly: the reference. */
void cpt_moves_plain(const cpt_moves *m, const uint32_t *vertices, const int32_t *n_events,
                     const int32_t *ends, float *x, float *y);

#endif

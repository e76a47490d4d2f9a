/* walker.h - a random subset of k genes that moves by swapping one member, as long as its score stays
 * above a bound: the Markov chain inside multilevel splitting. */
#ifndef CPT_ENRICH_WALKER_H
#define CPT_ENRICH_WALKER_H

#include "base/random.h"
#include "base/error.h"
#include "math/walk.h"

/* Score of a subset: the highest point of its running sum, numerator / total (times 1 / (n - k), the same
 * for all subsets of a ruler). Equal scores are told apart by a hash of the members. */
typedef struct cpt_element {
    double numerator, total; /* integers */
    uint64_t hash;
    bool positive;           /* the sum rises at least as high as it falls */
} cpt_element;

/* Exact: -1, 0, 1. */
int cpt_score_compare(double numerator1, double total1, double numerator2, double total2);
int cpt_element_compare(const cpt_element *a, const cpt_element *b);

/* The list of genes and the size that walkers of one ruler share. */
typedef struct cpt_field {
    int32_t n, k;
    const double *weight;  /* [n] integers, by position */
    const uint64_t *hash;  /* [n] */
    const cpt_walk_kernels *kernels;
} cpt_field;

typedef struct cpt_walker {
    int32_t *position; /* [k] ascending */
    double *sum;       /* [k] weights up to and including member i */
    double total;
    uint64_t hash;
    int32_t peak;      /* a member whose point of the sum was above the bound when last seen */
} cpt_walker;

/* Bytes that hold the arrays of one walker, a multiple of 64; cpt_walker_place lays them out. */
size_t cpt_walker_bytes(int32_t k);
void cpt_walker_place(cpt_walker *w, int32_t k, void *bytes);
/* A uniform subset; `bitmap` [n / 64 + 1] is clear before and after. */
void cpt_walker_draw(cpt_walker *w, const cpt_field *field, cpt_stream *stream, uint64_t *bitmap);
void cpt_walker_copy(cpt_walker *to, const cpt_walker *from, int32_t k);
cpt_element cpt_walker_score(cpt_walker *w, const cpt_field *field); /* sets peak */
/* Tries `tries` random swaps; returns how many were accepted, i.e. left the element above the bound. */
int32_t cpt_walker_move(cpt_walker *w, const cpt_field *field, const cpt_element *bound,
                        int32_t tries, cpt_stream *stream);

#endif

/* pairs_search.h - exact nearest cells under exclusions. Private to this room. */
#ifndef CPT_CONCEPT_PAIRS_SEARCH_H
#define CPT_CONCEPT_PAIRS_SEARCH_H

#include "concept/pairs.h"

typedef struct cpt_near {
    int64_t cell;
    double distance2; /* squared, from differences in double */
} cpt_near;

/* The m nearest found so far, nearest first, ties by lower cell. */
typedef struct cpt_near_list {
    int32_t n, m;
    cpt_near *items; /* [m] */
} cpt_near_list;
bool cpt_near_closer(cpt_near x, cpt_near y);
void cpt_near_insert(cpt_near_list *list, cpt_near found);
double cpt_distance2(const float *x, const float *y, int32_t dim);

/* For each query (a prototype of one concept, queries ordered by concept): the m nearest usable cells
 * that do not activate the concept and, with `match`, share the query's category (a query without
 * category finds none). lists [n_queries] have room for m. */
cpt_status cpt_pairs_search(const cpt_activations *u, const float *a, int32_t dim,
                            const cpt_column *match, int64_t n_queries, const int64_t *cells,
                            const int32_t *concepts, cpt_near_list *lists, const cpt_context *ctx,
                            cpt_err *e);

#endif

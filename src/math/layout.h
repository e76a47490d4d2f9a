/* layout.h - UMAP (McInnes, Healy, Melville 2018): a map of cells in two dimensions. */
#ifndef CPT_MATH_LAYOUT_H
#define CPT_MATH_LAYOUT_H

#include "base/log.h"

typedef struct cpt_umap_options {
    int32_t n_neighbours; /* 15 */
    double min_dist;      /* 0.3 (ours; umap-learn's default is 0.1, scanpy's 0.5) */
    double spread;        /* 1 */
    int32_t n_epochs;     /* 0 = 500 below 10,000 points, else 200 */
    int32_t negatives;    /* 5 */
} cpt_umap_options;
void cpt_umap_options_init(cpt_umap_options *o);

/* x [n][dim] finite -> out [n][2]. Same bytes for any number of threads. Initialised with the first two
 * principal components (scaled), refined by the usual stochastic gradient. Small n (< 4) gives a line. */
cpt_status cpt_umap(const float *x, int64_t n, int32_t dim, const cpt_umap_options *o, float *out,
                    const cpt_context *ctx, cpt_err *e);

/* The same layout of a graph that is given: k nearest others of each point and their distances, ascending.
 * x only says where to start; n < 4 as above. */
cpt_status cpt_umap_of_graph(const float *x, int64_t n, int32_t dim, const int32_t *neighbours,
                             const float *distances, int32_t k, const cpt_umap_options *o, float *out,
                             const cpt_context *ctx, cpt_err *e);

/* Trustworthiness (Venna and Kaski 2001) of an embedding, k neighbours; for tests. */
cpt_status cpt_trustworthiness(const float *x, int64_t n, int32_t dim, const float *y, int32_t k,
                               double *out, const cpt_context *ctx, cpt_err *e);

#endif

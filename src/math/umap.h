/* umap.h - the parts of cpt_umap, private to src/math: graph and optimiser. */
#ifndef CPT_MATH_UMAP_H
#define CPT_MATH_UMAP_H

#include "base/log.h"

/* Symmetric weighted graph; both directions of an edge are stored, ends ascending per vertex. */
typedef struct cpt_umap_graph {
    int64_t n;
    int64_t *starts; /* [n + 1] */
    int32_t *ends;   /* [starts[n]] */
    float *weights;  /* [starts[n]] in (0, 1] */
} cpt_umap_graph;

/* From the k nearest others of each point (all of them, no -1) and their distances, ascending. */
cpt_status cpt_umap_graph_build(const int32_t *neighbours, const float *distances, int64_t n, int32_t k,
                                cpt_umap_graph *graph, const cpt_context *ctx, cpt_err *e);
void cpt_umap_graph_free(cpt_umap_graph *graph); /* accepts a zeroed one */

/* Similarity at distance d in the plane is 1 / (1 + a d^2b), fitted to 1 for d <= min_dist and
 * exp(-(d - min_dist) / spread) beyond. */
void cpt_umap_curve(double min_dist, double spread, double *a, double *b);

typedef struct cpt_umap_descent {
    double a, b;
    int32_t n_epochs, negatives;
} cpt_umap_descent;

/* Moves y [n][2] for n_epochs epochs. */
cpt_status cpt_umap_optimise(const cpt_umap_graph *graph, const cpt_umap_descent *descent, float *y,
                             const cpt_context *ctx, cpt_err *e);

#endif

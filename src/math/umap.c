/* Problem: a map of cells in two dimensions that keeps neighbours together (UMAP; McInnes, Healy
 * and Melville 2018). No C library exists.
 *
 * Method: exact nearest neighbours, their fuzzy graph (umap_graph.c), the first two principal
 * components as a start, stochastic gradient descent (umap_optimise.c). Starting from principal
 * components keeps the large-scale arrangement about as well as the spectral start (Kobak and
 * Linderman 2021) and needs no iterative eigensolver.
 *
 * Trap: exact duplicates would start, and stay, in one place; the start carries a little noise. */
#include "math/umap.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "math/layout.h"
#include "math/linalg.h"
#include "math/neighbours.h"

enum { CURVE_POINTS = 300, CURVE_STEPS = 200, MANY_POINTS = 10000 };
static const double START_WIDTH = 10, START_NOISE = 1e-4; /* as umap-learn */

void cpt_umap_options_init(cpt_umap_options *o)
{
    *o = (cpt_umap_options){.n_neighbours = 15, .min_dist = 0.3, .spread = 1, .negatives = 5};
}

/* ---- the curve of similarity in the plane ---- */

/* Sum of squared residuals at (log a, log b), and the normal equations of a Gauss-Newton step. */
static double curve_loss(double log_a, double log_b, double min_dist, double spread, double normal[5])
{
    double a = exp(log_a), b = exp(log_b), loss = 0;
    memset(normal, 0, 5 * sizeof *normal);
    for (int i = 0; i < CURVE_POINTS; i++) {
        double x = 3 * spread * i / (CURVE_POINTS - 1);
        double want = x < min_dist ? 1 : exp(-(x - min_dist) / spread);
        double power = x > 0 ? a * pow(x, 2 * b) : 0, value = 1 / (1 + power), r = want - value;
        double by_a = -value * value * power, by_b = x > 0 ? by_a * 2 * b * log(x) : 0;
        loss += r * r;
        normal[0] += by_a * by_a, normal[1] += by_a * by_b, normal[2] += by_b * by_b;
        normal[3] += by_a * r, normal[4] += by_b * r;
    }
    return loss;
}

/* Levenberg-Marquardt in log a and log b, which keeps both positive. */
void cpt_umap_curve(double min_dist, double spread, double *a, double *b)
{
    double at[2] = {0, 0}, damping = 1e-3, normal[5];
    double loss = curve_loss(at[0], at[1], min_dist, spread, normal);
    for (int step = 0; step < CURVE_STEPS; step++) {
        double aa = normal[0] * (1 + damping), bb = normal[2] * (1 + damping), ab = normal[1];
        double determinant = aa * bb - ab * ab, trial_normal[5];
        if (!(determinant > 0)) break;
        double da = (bb * normal[3] - ab * normal[4]) / determinant;
        double db = (aa * normal[4] - ab * normal[3]) / determinant;
        double trial = curve_loss(at[0] + da, at[1] + db, min_dist, spread, trial_normal);
        if (!(trial <= loss)) {
            damping *= 10;
            if (damping > 1e12) break;
            continue;
        }
        bool settled = fabs(da) + fabs(db) < 1e-12;
        at[0] += da, at[1] += db, loss = trial, damping *= 0.1;
        memcpy(normal, trial_normal, sizeof normal);
        if (settled) break;
    }
    *a = exp(at[0]);
    *b = exp(at[1]);
}

/* ---- the start ---- */

/* Each axis to [0, START_WIDTH], after noise in proportion to the whole picture. */
static void scale_start(float *y, int64_t n, uint64_t seed)
{
    double largest = 0;
    for (int64_t i = 0; i < 2 * n; i++) largest = fmax(largest, fabs((double)y[i]));
    double scale = largest > 0 ? START_WIDTH / largest : 0;
    for (int64_t i = 0; i < n; i++) {
        cpt_stream s;
        cpt_stream_init(&s, seed, CPT_RANDOM_UMAP, (uint64_t)i); /* epochs have the upper half */
        for (int64_t d = 0; d < 2; d++)
            y[2 * i + d] = (float)((double)y[2 * i + d] * scale + START_NOISE * cpt_stream_normal(&s));
    }
    for (int64_t d = 0; d < 2; d++) {
        float low = y[d], high = y[d];
        for (int64_t i = 0; i < n; i++) {
            low = fminf(low, y[2 * i + d]);
            high = fmaxf(high, y[2 * i + d]);
        }
        double stretch = high > low ? START_WIDTH / ((double)high - (double)low) : 0;
        for (int64_t i = 0; i < n; i++) y[2 * i + d] = (float)(((double)y[2 * i + d] - (double)low) * stretch);
    }
}

/* First two principal components; one, and zeros, when there is one column. */
static cpt_status principal_plane(const float *x, int64_t n, int32_t dim, float *y, const cpt_context *ctx,
                                  cpt_err *e)
{
    cpt_status status;
    double *mean = NULL, *components = NULL, singular[2];
    int32_t k = dim < 2 ? 1 : 2;
    CPT_TRY(cpt_alloc(&mean, (size_t)dim, sizeof *mean, e));
    CPT_TRY(cpt_alloc(&components, 2 * (size_t)dim, sizeof *components, e));
    CPT_TRY(cpt_pca(x, n, dim, k, mean, components, singular, ctx, e));
    cpt_pca_scores(x, n, dim, k, mean, components, y, ctx);
    if (k == 1)
        for (int64_t i = n - 1; i >= 0; i--) y[2 * i] = y[i], y[2 * i + 1] = 0;
done:
    free(mean);
    free(components);
    return status;
}

/* ---- the whole ---- */

static cpt_status check_options(const cpt_umap_options *o, cpt_err *e)
{
    if (o->n_neighbours < 2 || o->n_neighbours > 10000)
        return cpt_fail(e, CPT_ERR_USAGE, "UMAP: %d neighbours, must be 2 to 10000", o->n_neighbours);
    if (!(o->spread > 0 && isfinite(o->spread)) || !(o->min_dist >= 0 && o->min_dist <= 3 * o->spread))
        return cpt_fail(e, CPT_ERR_USAGE, "UMAP: min_dist is %g and spread %g; spread must be above 0 and "
                        "min_dist between 0 and three times spread", o->min_dist, o->spread);
    if (o->n_epochs < 0 || o->n_epochs > 100000 || o->negatives < 0 || o->negatives > 1000)
        return cpt_fail(e, CPT_ERR_USAGE, "UMAP: %d epochs with %d negative samples; epochs must be 0 (choose) "
                        "to 100000, negative samples 0 to 1000", o->n_epochs, o->negatives);
    return CPT_OK;
}

static cpt_status neighbour_graph(const float *x, int64_t n, int32_t dim, int32_t k, cpt_umap_graph *graph,
                                  const cpt_context *ctx, cpt_err *e)
{
    cpt_status status;
    int32_t *neighbours = NULL;
    float *distances = NULL;
    CPT_TRY(cpt_alloc(&neighbours, (size_t)n * (size_t)k, sizeof *neighbours, e));
    CPT_TRY(cpt_alloc(&distances, (size_t)n * (size_t)k, sizeof *distances, e));
    CPT_TRY(cpt_neighbours(x, n, dim, k, neighbours, distances, ctx, e));
    CPT_TRY(cpt_umap_graph_build(neighbours, distances, n, k, graph, ctx, e));
done:
    free(neighbours);
    free(distances);
    return status;
}

/* neighbours NULL = found here. */
static cpt_status lay_out(const float *x, int64_t n, int32_t dim, const int32_t *neighbours,
                          const float *distances, int32_t k, const cpt_umap_options *o, float *out,
                          const cpt_context *ctx, cpt_err *e)
{
    cpt_status status;
    cpt_umap_graph graph = {0};
    CPT_TRY(check_options(o, e));
    if (n == 0) return CPT_OK;
    CPT_TRY(principal_plane(x, n, dim, out, ctx, e));
    if (n < 4) { /* too few to have neighbourhoods: their order along the first component */
        for (int64_t i = 0; i < n; i++) out[2 * i + 1] = 0;
        goto done;
    }
    scale_start(out, n, ctx ? ctx->seed : 0);
    if (neighbours) CPT_TRY(cpt_umap_graph_build(neighbours, distances, n, k, &graph, ctx, e));
    else CPT_TRY(neighbour_graph(x, n, dim, k, &graph, ctx, e));
    cpt_umap_descent descent = {.n_epochs = o->n_epochs, .negatives = o->negatives};
    if (descent.n_epochs == 0) descent.n_epochs = n < MANY_POINTS ? 500 : 200;
    cpt_umap_curve(o->min_dist, o->spread, &descent.a, &descent.b);
    CPT_TRY(cpt_umap_optimise(&graph, &descent, out, ctx, e));
done:
    cpt_umap_graph_free(&graph);
    return status;
}

cpt_status cpt_umap(const float *x, int64_t n, int32_t dim, const cpt_umap_options *o, float *out,
                    const cpt_context *ctx, cpt_err *e)
{
    int32_t k = n < o->n_neighbours ? (int32_t)n - 1 : o->n_neighbours - 1;
    return lay_out(x, n, dim, NULL, NULL, k, o, out, ctx, e);
}

cpt_status cpt_umap_of_graph(const float *x, int64_t n, int32_t dim, const int32_t *neighbours,
                             const float *distances, int32_t k, const cpt_umap_options *o, float *out,
                             const cpt_context *ctx, cpt_err *e)
{
    return lay_out(x, n, dim, neighbours, distances, k, o, out, ctx, e);
}

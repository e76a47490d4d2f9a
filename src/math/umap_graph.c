/* Problem: the fuzzy neighbourhood graph of UMAP (McInnes, Healy, Melville 2018, algorithms 2 and
 * 3).
 *
 * Method. Point i sees its neighbour j with strength exp(-(d_ij - rho_i) / sigma_i), where rho_i is
 * the distance to its nearest other point that is not in the same place, and sigma_i is found by
 * bisection such that the strengths of its k neighbours sum to log2(k + 1) (the point itself counts
 * in the published k). The two directions are joined as w = p + q - p q.
 *
 * Cost: O(n k log k). The k + 1 and the floor of sigma follow umap-learn, so that n_neighbours
 * means the same there and here. Trap: points with many duplicates have rho = 0 and no bisection
 * would end; the floor, 1e-3 of a mean distance, keeps sigma above 0. */
#include "math/umap.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

enum { BISECTIONS = 64 };
static const double SIGMA_TOLERANCE = 1e-5, SIGMA_FLOOR = 1e-3;

/* ---- strengths ---- */

static double sum_of_strengths(const float *distances, int32_t k, double rho, double sigma)
{
    double sum = 0;
    for (int32_t j = 0; j < k; j++) {
        double beyond = (double)distances[j] - rho;
        sum += beyond > 0 ? exp(-beyond / sigma) : 1;
    }
    return sum;
}

static double find_sigma(const float *distances, int32_t k, double rho)
{
    double low = 0, high = INFINITY, sigma = 1, target = log2((double)k + 1);
    for (int i = 0; i < BISECTIONS; i++) {
        double sum = sum_of_strengths(distances, k, rho, sigma);
        if (fabs(sum - target) < SIGMA_TOLERANCE) break;
        if (sum > target) {
            high = sigma;
            sigma = 0.5 * (low + high);
        } else {
            low = sigma;
            sigma = isinf(high) ? 2 * sigma : 0.5 * (low + high);
        }
    }
    return sigma;
}

static double mean_distance(const float *distances, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)distances[i];
    return n ? sum / (double)n : 0;
}

static void set_strengths(const float *distances, int32_t k, double overall_mean, float *strengths)
{
    double rho = 0;
    for (int32_t j = 0; j < k && rho == 0; j++) rho = (double)distances[j];
    double sigma = find_sigma(distances, k, rho);
    double floor = SIGMA_FLOOR * (rho > 0 ? mean_distance(distances, k) : overall_mean);
    if (sigma < floor) sigma = floor;
    for (int32_t j = 0; j < k; j++) {
        double beyond = (double)distances[j] - rho;
        strengths[j] = beyond > 0 && sigma > 0 ? (float)exp(-beyond / sigma) : 1;
    }
}

/* ---- union of the two directions ---- */

typedef struct arc {
    int32_t end;
    float strength;
} arc;

static int compare_arcs(const void *pa, const void *pb)
{
    const arc *a = pa, *b = pb;
    return (a->end > b->end) - (a->end < b->end);
}

/* Arcs seen from their ends; because starts are visited in order, each list ascends. */
static void transpose(const arc *out, int64_t n, int32_t k, int64_t *in_starts, arc *in)
{
    memset(in_starts, 0, (size_t)(n + 1) * sizeof *in_starts);
    for (int64_t i = 0; i < n * k; i++) in_starts[out[i].end + 1]++;
    for (int64_t i = 0; i < n; i++) in_starts[i + 1] += in_starts[i];
    for (int64_t i = 0; i < n; i++)
        for (int32_t j = 0; j < k; j++) {
            const arc *a = &out[i * k + j];
            in[in_starts[a->end]++] = (arc){(int32_t)i, a->strength};
        }
    memmove(in_starts + 1, in_starts, (size_t)n * sizeof *in_starts);
    in_starts[0] = 0;
}

/* Merges two ascending lists; returns the number of edges. ends may be NULL: then only counts. */
static int64_t merge(const arc *out, int64_t n_out, const arc *in, int64_t n_in, int32_t *ends, float *weights)
{
    int64_t n = 0;
    for (int64_t o = 0, i = 0; o < n_out || i < n_in; n++) {
        bool from_out = i == n_in || (o < n_out && out[o].end <= in[i].end);
        bool from_in = o == n_out || (i < n_in && in[i].end <= out[o].end);
        float p = from_out ? out[o].strength : 0, q = from_in ? in[i].strength : 0;
        if (ends) {
            ends[n] = from_out ? out[o].end : in[i].end;
            weights[n] = p + q - p * q;
        }
        o += from_out;
        i += from_in;
    }
    return n;
}

cpt_status cpt_umap_graph_build(const int32_t *neighbours, const float *distances, int64_t n, int32_t k,
                                cpt_umap_graph *graph, const cpt_context *ctx, cpt_err *e)
{
    cpt_status status;
    float *strengths = NULL;
    arc *out = NULL, *in = NULL;
    int64_t *in_starts = NULL;
    double overall_mean = mean_distance(distances, n * k);
    int n_threads = cpt_threads(ctx);
    *graph = (cpt_umap_graph){.n = n};
    CPT_TRY(cpt_alloc(&strengths, (size_t)n * (size_t)k, sizeof *strengths, e));
    CPT_TRY(cpt_alloc(&out, (size_t)n * (size_t)k, sizeof *out, e));
    CPT_TRY(cpt_alloc(&in, (size_t)n * (size_t)k, sizeof *in, e));
    CPT_TRY(cpt_alloc(&in_starts, (size_t)n + 1, sizeof *in_starts, e));
    CPT_TRY(cpt_alloc(&graph->starts, (size_t)n + 1, sizeof *graph->starts, e));
#pragma omp parallel for schedule(static) num_threads(n_threads)
    for (int64_t i = 0; i < n; i++) {
        set_strengths(distances + i * k, k, overall_mean, strengths + i * k);
        for (int32_t j = 0; j < k; j++) out[i * k + j] = (arc){neighbours[i * k + j], strengths[i * k + j]};
        qsort(out + i * k, (size_t)k, sizeof *out, compare_arcs);
    }
    transpose(out, n, k, in_starts, in);

    for (int64_t i = 0; i < n; i++)
        graph->starts[i + 1] = graph->starts[i] + merge(out + i * k, k, in + in_starts[i],
                                                        in_starts[i + 1] - in_starts[i], NULL, NULL);
    CPT_TRY(cpt_alloc(&graph->ends, (size_t)graph->starts[n], sizeof *graph->ends, e));
    CPT_TRY(cpt_alloc(&graph->weights, (size_t)graph->starts[n], sizeof *graph->weights, e));
#pragma omp parallel for schedule(static) num_threads(n_threads)
    for (int64_t i = 0; i < n; i++)
        merge(out + i * k, k, in + in_starts[i], in_starts[i + 1] - in_starts[i],
              graph->ends + graph->starts[i], graph->weights + graph->starts[i]);
done:
    free(strengths);
    free(out);
    free(in);
    free(in_starts);
    if (status != CPT_OK) cpt_umap_graph_free(graph);
    return status;
}

void cpt_umap_graph_free(cpt_umap_graph *graph)
{
    free(graph->starts);
    free(graph->ends);
    free(graph->weights);
    *graph = (cpt_umap_graph){0};
}

#include "base/memory.h"
#include "math/layout.h"
#include "math/linalg.h"
#include "math/neighbours.h"
#include "base/each.h"
#include "view/index_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Neighbours of concepts, three ways, and their map.
 *
 * Co-active: Jaccard index of the sets of active cells, with Pearson's correlation of the
 * activations over all usable cells. Counted by walking the cells of a concept and, in each, the
 * other concepts: K per cell and concept, so O(nnz K) for all. Alike by genes and by direction:
 * cosine of the rows of the attribution and of the decoder; neighbours of unit vectors by distance
 * are those by cosine, 1 - d^2 / 2.
 *
 * Profiles of large studies (more than 64 million entries) are not compared as they are: each is
 * sketched in 512 numbers (every gene goes, with a random sign, into 4 of them: Charikar, Chen,
 * Farach-Colton 2002), 40 candidates are taken by their sketches, and the exact cosine chooses
 * among these. What is listed is exact; a neighbour of rank 20 may be missed for one nearly as
 * close.
 *
 * Map: UMAP's layout of the graph of the 15 most co-active neighbours at distance 1 - Jaccard. A
 * concept with fewer is tied to those of nearest direction, further away than any co-active one.
 * Starts from the decoder's first two principal components. This map is ours, not the paper's. */

enum { MAP_NEIGHBOURS = 15, SKETCH = 512, SKETCH_SPREAD = 4, CANDIDATES = 40 };
static const int64_t EXACT_ENTRIES = 1 << 26; /* of a matrix whose rows are compared as they are */

/* ---- co-activation ---- */

typedef struct near {
    double likeness;
    int32_t concept;
} near;

typedef struct coactive_job {
    const cpt_activations *u;
    double n_usable;
    double *mean, *deviation; /* [F] sum / n, sqrt(sum x^2 - n mean^2) */
    int32_t *concepts;        /* [F][CPT_SIMILAR] */
    double *numbers;          /* [F][3 CPT_SIMILAR] */
} coactive_job;

static bool closer(const near *a, const near *b)
{
    return a->likeness != b->likeness ? a->likeness > b->likeness : a->concept < b->concept;
}

static int insert(near *list, int n, near item)
{
    if (n == CPT_SIMILAR && !closer(&item, &list[n - 1])) return n;
    int at = n < CPT_SIMILAR ? n++ : n - 1;
    for (; at > 0 && closer(&item, &list[at - 1]); at--) list[at] = list[at - 1];
    list[at] = item;
    return n;
}

/* counts and products [F] are 0; touched [F]. */
static void coactive_of(const coactive_job *j, int32_t c, int32_t *counts, double *products,
                        int32_t *touched)
{
    const cpt_csr *by_concept = &j->u->by_concept, *by_cell = &j->u->by_cell;
    near best[CPT_SIMILAR];
    int n = 0;
    int32_t n_touched = 0;
    for (int64_t k = by_concept->indptr[c]; k < by_concept->indptr[c + 1]; k++) {
        int64_t cell = by_concept->indices[k];
        double x = by_concept->values[k];
        for (int64_t m = by_cell->indptr[cell]; m < by_cell->indptr[cell + 1]; m++) {
            int32_t other = by_cell->indices[m];
            if (counts[other]++ == 0) touched[n_touched++] = other;
            products[other] += x * (double)by_cell->values[m];
        }
    }
    int64_t own = j->u->stats[c].n_active;
    for (int32_t i = 0; i < n_touched; i++) {
        int32_t other = touched[i];
        if (other == c) continue;
        double both = counts[other];
        n = insert(best, n,
                   (near){both / ((double)(own + j->u->stats[other].n_active) - both), other});
    }
    for (int i = 0; i < CPT_SIMILAR; i++) {
        double *numbers = j->numbers + ((int64_t)c * CPT_SIMILAR + i) * 3;
        int32_t other = i < n ? best[i].concept : -1;
        j->concepts[(int64_t)c * CPT_SIMILAR + i] = other;
        numbers[0] = numbers[1] = numbers[2] = NAN;
        if (other < 0) continue;
        double spread = j->deviation[c] * j->deviation[other];
        numbers[0] = best[i].likeness;
        numbers[1] = spread > 0
                         ? (products[other] - j->n_usable * j->mean[c] * j->mean[other]) / spread
                         : NAN;
        numbers[2] = counts[other];
    }
}

static cpt_status coactive_work(void *data, int32_t c, cpt_err *e)
{
    const coactive_job *j = data;
    size_t n = (size_t)j->u->n_concepts;
    int32_t *counts = NULL, *touched = NULL;
    double *products = NULL;
    cpt_status status;
    CPT_TRY(cpt_alloc(&counts, n, sizeof *counts, e));
    CPT_TRY(cpt_alloc(&touched, n, sizeof *touched, e));
    CPT_TRY(cpt_alloc(&products, n, sizeof *products, e));
    coactive_of(j, c, counts, products, touched);
done:
    free(counts);
    free(touched);
    free(products);
    return status;
}

static cpt_status put_coactive(cpt_index_job *job, coactive_job *j, cpt_err *e)
{
    const cpt_activations *u = job->u;
    size_t n = (size_t)u->n_concepts;
    cpt_status status;
    j->u = u;
    j->n_usable = (double)(u->n_cells - u->n_unusable);
    CPT_TRY(cpt_alloc(&j->mean, n, sizeof *j->mean, e));
    CPT_TRY(cpt_alloc(&j->deviation, n, sizeof *j->deviation, e));
    CPT_TRY(cpt_alloc(&j->concepts, n * CPT_SIMILAR, sizeof *j->concepts, e));
    CPT_TRY(cpt_alloc(&j->numbers, 3 * n * CPT_SIMILAR, sizeof *j->numbers, e));
    for (int32_t c = 0; c < u->n_concepts; c++) {
        double sum = 0, squares = 0;
        for (int64_t k = u->by_concept.indptr[c]; k < u->by_concept.indptr[c + 1]; k++) {
            sum += (double)u->by_concept.values[k];
            squares += (double)u->by_concept.values[k] * (double)u->by_concept.values[k];
        }
        j->mean[c] = j->n_usable > 0 ? sum / j->n_usable : 0;
        j->deviation[c] = sqrt(fmax(squares - sum * j->mean[c], 0));
    }
    CPT_TRY(
        cpt_each(u->n_concepts, "co-active concepts", coactive_work, j, cpt_threads(job->s->ctx), job->s->ctx, e));
    CPT_TRY(cpt_index_put(job, "coactive.concepts", CPT_I32, u->n_concepts, CPT_SIMILAR,
                          j->concepts, e));
    CPT_TRY(cpt_index_put(job, "coactive.numbers", CPT_F64, u->n_concepts, 3 * CPT_SIMILAR,
                          j->numbers, e));
    json_array_append_new(job->have, json_string("coactive"));
done:
    return status;
}

/* ---- cosine ---- */

/* Rows of length 1; rows that are 0 or not finite are left out. alive[i] = row of x for i < *n. */
static int32_t unit_rows(float *x, int32_t n, int32_t dim, int32_t *alive)
{
    int32_t kept = 0;
    for (int32_t i = 0; i < n; i++) {
        float *row = x + (int64_t)i * dim, *to = x + (int64_t)kept * dim;
        double length = 0;
        for (int32_t k = 0; k < dim; k++) length += (double)row[k] * (double)row[k];
        if (!(length > 0 && isfinite(length))) continue;
        for (int32_t k = 0; k < dim; k++) to[k] = (float)((double)row[k] / sqrt(length));
        alive[kept++] = i;
    }
    return kept;
}

/* x [n][dim] is overwritten. concepts, cosine [n][CPT_SIMILAR]. */
static cpt_status nearest_rows(cpt_index_job *job, float *x, int32_t n, int32_t dim,
                               int32_t *concepts, float *cosine, cpt_err *e)
{
    int32_t *alive = NULL, *found = NULL;
    float *distances = NULL;
    cpt_status status;
    CPT_TRY(cpt_alloc(&alive, (size_t)n, sizeof *alive, e));
    CPT_TRY(cpt_alloc(&found, (size_t)n * CPT_SIMILAR, sizeof *found, e));
    CPT_TRY(cpt_alloc(&distances, (size_t)n * CPT_SIMILAR, sizeof *distances, e));
    for (int64_t i = 0; i < (int64_t)n * CPT_SIMILAR; i++) concepts[i] = -1, cosine[i] = NAN;
    int32_t kept = unit_rows(x, n, dim, alive);
    if (kept < 2) goto done;
    CPT_TRY(cpt_neighbours(x, kept, dim, CPT_SIMILAR, found, distances, job->s->ctx, e));
    for (int32_t i = 0; i < kept; i++)
        for (int32_t k = 0; k < CPT_SIMILAR; k++) {
            int64_t from = (int64_t)i * CPT_SIMILAR + k, to = (int64_t)alive[i] * CPT_SIMILAR + k;
            if (found[from] < 0) continue;
            concepts[to] = alive[found[from]];
            cosine[to] = 1 - 0.5f * distances[from] * distances[from];
        }
done:
    free(alive);
    free(found);
    free(distances);
    return status;
}

static cpt_status put_alike(cpt_index_job *job, const char *name, const int32_t *concepts,
                            const float *cosine, cpt_err *e)
{
    char part[64];
    int32_t n = job->u->n_concepts;
    snprintf(part, sizeof part, "%s.concepts", name);
    cpt_status status = cpt_index_put(job, part, CPT_I32, n, CPT_SIMILAR, concepts, e);
    snprintf(part, sizeof part, "%s.cosine", name);
    if (status == CPT_OK) status = cpt_index_put(job, part, CPT_F32, n, CPT_SIMILAR, cosine, e);
    json_array_append_new(job->have, json_string(name));
    return status;
}

/* Where gene g goes for the t-th time, and with which sign: bits of a mixed number (splitmix64). */
static uint64_t mixed(int64_t g, int t)
{
    uint64_t x = (uint64_t)(g * SKETCH_SPREAD + t + 1) * 0x9E3779B97F4A7C15u;
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return x ^ x >> 31;
}

static cpt_status sketch_rows(const cpt_array *rows, float *sketch, cpt_err *e)
{
    float *row;
    cpt_status status = cpt_alloc(&row, (size_t)rows->cols, sizeof *row, e);
    for (int64_t i = 0; i < rows->rows && status == CPT_OK; i++) {
        status = cpt_array_row(rows, i, row, e);
        for (int64_t g = 0; g < rows->cols && status == CPT_OK; g++)
            for (int t = 0; row[g] != 0 && isfinite(row[g]) && t < SKETCH_SPREAD; t++) {
                uint64_t h = mixed(g, t);
                sketch[i * SKETCH + (int64_t)(h % SKETCH)] += h >> 63 ? row[g] : -row[g];
            }
    }
    free(row);
    return status;
}

typedef struct exact_job {
    const cpt_array *rows;
    const int32_t *candidates; /* [n][CANDIDATES] */
    int32_t *concepts;         /* [n][CPT_SIMILAR] */
    float *cosine;
} exact_job;

static double cosine_of(const float *x, const float *y, int64_t n)
{
    double xy = 0, xx = 0, yy = 0;
    for (int64_t g = 0; g < n; g++) {
        xy += (double)x[g] * (double)y[g];
        xx += (double)x[g] * (double)x[g];
        yy += (double)y[g] * (double)y[g];
    }
    return xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : NAN;
}

static cpt_status exact_work(void *data, int32_t c, cpt_err *e)
{
    const exact_job *j = data;
    const int32_t *candidates = j->candidates + (int64_t)c * CANDIDATES;
    int32_t *concepts = j->concepts + (int64_t)c * CPT_SIMILAR;
    near best[CPT_SIMILAR];
    float *own = NULL, *other = NULL;
    int n = 0;
    cpt_status status;
    CPT_TRY(cpt_alloc(&own, (size_t)j->rows->cols, sizeof *own, e));
    CPT_TRY(cpt_alloc(&other, (size_t)j->rows->cols, sizeof *other, e));
    CPT_TRY(cpt_array_row(j->rows, c, own, e));
    for (int k = 0; k < CANDIDATES && candidates[k] >= 0; k++) {
        CPT_TRY(cpt_array_row(j->rows, candidates[k], other, e));
        double cosine = cosine_of(own, other, j->rows->cols);
        if (!isnan(cosine)) n = insert(best, n, (near){cosine, candidates[k]});
    }
    for (int k = 0; k < CPT_SIMILAR; k++) {
        concepts[k] = k < n ? best[k].concept : -1;
        j->cosine[(int64_t)c * CPT_SIMILAR + k] = k < n ? (float)best[k].likeness : NAN;
    }
done:
    free(own);
    free(other);
    return status;
}

static cpt_status nearest_by_sketch(cpt_index_job *job, const cpt_array *rows, int32_t *concepts,
                                    float *cosine, cpt_err *e)
{
    float *sketch = NULL, *distances = NULL;
    int32_t *alive = NULL, *found = NULL, *candidates = NULL;
    int32_t n = (int32_t)rows->rows;
    cpt_status status;
    CPT_TRY(cpt_alloc(&sketch, (size_t)n * SKETCH, sizeof *sketch, e));
    CPT_TRY(cpt_alloc(&alive, (size_t)n, sizeof *alive, e));
    CPT_TRY(cpt_alloc(&found, (size_t)n * CANDIDATES, sizeof *found, e));
    CPT_TRY(cpt_alloc(&distances, (size_t)n * CANDIDATES, sizeof *distances, e));
    CPT_TRY(cpt_alloc(&candidates, (size_t)n * CANDIDATES, sizeof *candidates, e));
    CPT_TRY(sketch_rows(rows, sketch, e));
    for (int64_t i = 0; i < (int64_t)n * CANDIDATES; i++) candidates[i] = -1;
    int32_t kept = unit_rows(sketch, n, SKETCH, alive);
    if (kept >= 2)
        CPT_TRY(cpt_neighbours(sketch, kept, SKETCH, CANDIDATES, found, distances, job->s->ctx, e));
    for (int64_t i = 0; i < (int64_t)(kept >= 2 ? kept : 0) * CANDIDATES; i++)
        if (found[i] >= 0)
            candidates[(int64_t)alive[i / CANDIDATES] * CANDIDATES + i % CANDIDATES] =
                alive[found[i]];
    exact_job j = {rows, candidates, concepts, cosine};
    status = cpt_each(n, "likeness of profiles", exact_work, &j, cpt_threads(job->s->ctx), job->s->ctx, e);
done:
    free(sketch);
    free(alive);
    free(found);
    free(distances);
    free(candidates);
    return status;
}

static cpt_status put_genes_like(cpt_index_job *job, cpt_err *e)
{
    char path[4096];
    cpt_array mean = {0};
    float *x = NULL, *cosine = NULL;
    int32_t *concepts = NULL;
    int64_t n = job->u->n_concepts, dim = job->universe->n;
    cpt_status status;
    CPT_TRY(cpt_study_path(job->s, "cache/attribution/mean.npy", path, sizeof path, e));
    if (!cpt_path_exists(path)) goto done;
    CPT_TRY(cpt_array_open(path, CPT_F32, n, dim, &mean, e));
    CPT_TRY(cpt_alloc(&concepts, (size_t)n * CPT_SIMILAR, sizeof *concepts, e));
    CPT_TRY(cpt_alloc(&cosine, (size_t)n * CPT_SIMILAR, sizeof *cosine, e));
    if (n * dim <= EXACT_ENTRIES) {
        CPT_TRY(cpt_alloc(&x, (size_t)n * (size_t)dim, sizeof *x, e));
        CPT_TRY(cpt_array_read(&mean, 0, n * dim, x, e));
        CPT_TRY(nearest_rows(job, x, (int32_t)n, (int32_t)dim, concepts, cosine, e));
    } else {
        CPT_TRY(nearest_by_sketch(job, &mean, concepts, cosine, e));
    }
    status = put_alike(job, "genes_like", concepts, cosine, e);
done:
    cpt_array_close(&mean);
    free(x);
    free(concepts);
    free(cosine);
    return status;
}

/* ---- map ---- */

static bool holds(const int32_t *list, int32_t n, int32_t item)
{
    for (int32_t i = 0; i < n; i++)
        if (list[i] == item) return true;
    return false;
}

/* k neighbours of concept c (numbers of `place`), nearest first: co-active ones, then those of
 * nearest direction, then whatever comes first. */
static void map_neighbours(const coactive_job *j, const int32_t *alike, const int32_t *place,
                           const int32_t *alive, int32_t c, int32_t k, int32_t n_alive,
                           int32_t *neighbours, float *distances)
{
    int32_t n = 0;
    for (int i = 0; i < CPT_SIMILAR && n < k; i++) {
        int32_t other = j->concepts[(int64_t)c * CPT_SIMILAR + i];
        if (other < 0 || place[other] < 0) continue;
        neighbours[n] = place[other];
        distances[n++] = (float)(1 - j->numbers[((int64_t)c * CPT_SIMILAR + i) * 3]);
    }
    for (int i = 0; i < CPT_SIMILAR && n < k; i++) {
        int32_t other = alike[(int64_t)c * CPT_SIMILAR + i];
        if (other < 0 || place[other] < 0 || holds(neighbours, n, place[other])) continue;
        neighbours[n] = place[other];
        distances[n++] = 1.0f + 0.01f * (float)(i + 1);
    }
    for (int32_t i = 0; i < n_alive && n < k; i++) {
        if (alive[i] == c || holds(neighbours, n, i)) continue;
        neighbours[n] = i;
        distances[n++] = 2;
    }
}

/* decoder [F][dim]; alike: neighbours by direction. */
static cpt_status put_map(cpt_index_job *job, const coactive_job *j, const float *decoder,
                          int32_t dim, const int32_t *alike, cpt_err *e)
{
    int32_t n = job->u->n_concepts, n_alive = 0, *alive = NULL, *place = NULL, *neighbours = NULL;
    float *rows = NULL, *distances = NULL, *map = NULL, *y = NULL;
    cpt_umap_options o;
    cpt_status status;
    CPT_TRY(cpt_alloc(&alive, (size_t)n, sizeof *alive, e));
    CPT_TRY(cpt_alloc(&place, (size_t)n, sizeof *place, e));
    CPT_TRY(cpt_alloc(&map, 2 * (size_t)n, sizeof *map, e));
    for (int32_t c = 0; c < n; c++) {
        place[c] = job->u->stats[c].dead ? -1 : n_alive;
        if (place[c] >= 0) alive[n_alive++] = c;
        map[2 * c] = map[2 * c + 1] = NAN;
    }
    int32_t k = n_alive - 1 < MAP_NEIGHBOURS ? n_alive - 1 : MAP_NEIGHBOURS;
    if (k < 1) k = 1;
    CPT_TRY(cpt_alloc(&rows, (size_t)n_alive * (size_t)dim, sizeof *rows, e));
    CPT_TRY(cpt_alloc(&y, 2 * (size_t)n_alive, sizeof *y, e));
    CPT_TRY(cpt_alloc(&neighbours, (size_t)n_alive * (size_t)k, sizeof *neighbours, e));
    CPT_TRY(cpt_alloc(&distances, (size_t)n_alive * (size_t)k, sizeof *distances, e));
    for (int32_t i = 0; i < n_alive; i++) {
        memcpy(rows + (int64_t)i * dim, decoder + (int64_t)alive[i] * dim,
               (size_t)dim * sizeof *rows);
        map_neighbours(j, alike, place, alive, alive[i], k, n_alive, neighbours + (int64_t)i * k,
                       distances + (int64_t)i * k);
    }
    cpt_umap_options_init(&o);
    CPT_TRY(cpt_umap_of_graph(rows, n_alive, dim, neighbours, distances, k, &o, y, job->s->ctx, e));
    for (int32_t i = 0; i < n_alive; i++)
        memcpy(map + 2 * (int64_t)alive[i], y + 2 * (int64_t)i, 2 * sizeof *map);
    status = cpt_index_put(job, "conceptmap", CPT_F32, n, 2, map, e);
done:
    free(alive);
    free(place);
    free(neighbours);
    free(rows);
    free(distances);
    free(map);
    free(y);
    return status;
}

cpt_status cpt_index_similar(cpt_index_job *job, cpt_err *e)
{
    coactive_job j = {0};
    cpt_dictionary *d;
    float *decoder = NULL, *cosine = NULL;
    int32_t *alike = NULL;
    size_t n = (size_t)job->u->n_concepts;
    cpt_status status;
    CPT_TRY(put_coactive(job, &j, e));
    CPT_TRY(cpt_study_dictionary(job->s, &d, e));
    CPT_TRY(cpt_alloc(&decoder, n * (size_t)d->dim, sizeof *decoder, e));
    CPT_TRY(cpt_alloc(&alike, n * CPT_SIMILAR, sizeof *alike, e));
    memcpy(decoder, d->decoder, n * (size_t)d->dim * sizeof *decoder);
    CPT_TRY(cpt_alloc(&cosine, n * CPT_SIMILAR, sizeof *cosine, e));
    CPT_TRY(nearest_rows(job, decoder, (int32_t)n, d->dim, alike, cosine, e));
    CPT_TRY(put_alike(job, "decoder_like", alike, cosine, e));
    CPT_TRY(put_map(job, &j, d->decoder, d->dim, alike, e));
    status = put_genes_like(job, e);
done:
    free(j.mean);
    free(j.deviation);
    free(j.concepts);
    free(j.numbers);
    free(decoder);
    free(cosine);
    free(alike);
    return status;
}

#include "base/memory.h"
#include "math/statistics.h"
#include "view/index_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Genes: the top ones of every concept, and for every gene the concepts in which it stands out.
 *
 * The matrices are read row by row: one concept's genes at a time, never a whole matrix. A gene
 * keeps at most 100 concepts by |mean attribution| and 100 by expression score, in two heaps whose
 * root is the weakest. */

enum { PATH_LIMIT = 4096, KEPT = CPT_GENE_CONCEPTS / 2, PAIR_COLUMNS = 7, PAIR_RELATIVE = 4 };

typedef struct kept {
    float strength;
    int32_t concept;
} kept;

typedef struct gene_job {
    cpt_index_job *index;
    int32_t n_concepts, n_genes;
    bool attributed; /* there is an attribution */
    cpt_array mean, attribution_q, logfc, score, expression_q;
    float *means, *logfcs, *scores; /* [n_genes] rows of the concept at hand */
    double *a_q, *x_q;
    kept *heaps;      /* [2][n_genes][KEPT] */
    uint8_t *lengths; /* [2][n_genes] */
    int32_t *top;     /* [n_concepts][CPT_TOP_GENES] */
} gene_job;

static cpt_status open_matrix(const cpt_index_job *job, const char *name, cpt_dtype dtype,
                              cpt_array *a, cpt_err *e)
{
    char path[PATH_LIMIT], file[96];
    snprintf(file, sizeof file, "cache/%s.npy", name);
    cpt_status status = cpt_study_path(job->s, file, path, sizeof path, e);
    return status ? status
                  : cpt_array_open(path, dtype, job->u->n_concepts, job->universe->n, a, e);
}

/* ---- heaps: weakest at the root; equal strength: the later concept is weaker ---- */

static bool weaker(kept a, kept b)
{
    return a.strength != b.strength ? a.strength < b.strength : a.concept > b.concept;
}

static void sift_down(kept *heap, int n, int at)
{
    for (int child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && weaker(heap[child + 1], heap[child])) child++;
        if (!weaker(heap[child], heap[at])) return;
        kept swap = heap[at];
        heap[at] = heap[child];
        heap[child] = swap;
    }
}

static void keep(gene_job *j, int list, int32_t gene, float strength, int32_t concept)
{
    size_t slot = (size_t)list * (size_t)j->n_genes + (size_t)gene;
    kept *heap = j->heaps + slot * KEPT, entry = {strength, concept};
    int n = j->lengths[slot];
    if (n == KEPT) {
        if (!weaker(heap[0], entry)) return;
        heap[0] = entry;
        sift_down(heap, n, 0);
        return;
    }
    heap[n] = entry;
    j->lengths[slot]++;
    for (int at = n; at > 0 && weaker(heap[at], heap[(at - 1) / 2]); at = (at - 1) / 2) {
        kept swap = heap[at];
        heap[at] = heap[(at - 1) / 2];
        heap[(at - 1) / 2] = swap;
    }
}

/* ---- one concept ---- */

/* As cpt_study_top_genes (findings.c): significant ones first, then by |mean|. */
static double gene_strength(const gene_job *j, int32_t g)
{
    static const double SIGNIFICANT_FIRST = 1e6;
    if (j->attributed)
        return fabs((double)j->means[g]) + (j->a_q[g] < 0.05 ? SIGNIFICANT_FIRST : 0);
    return j->x_q[g] < 0.05 && j->logfcs[g] > 0 ? (double)j->scores[g] : 0;
}

static void top_genes(const gene_job *j, int32_t *top)
{
    double best[CPT_TOP_GENES];
    int n = 0;
    for (int32_t g = 0; g < j->n_genes; g++) {
        double v = gene_strength(j, g);
        if (!(v > 0) || (n == CPT_TOP_GENES && v <= best[n - 1])) continue;
        int at = n < CPT_TOP_GENES ? n++ : n - 1;
        for (; at > 0 && best[at - 1] < v; at--) best[at] = best[at - 1], top[at] = top[at - 1];
        best[at] = v;
        top[at] = g;
    }
    for (; n < CPT_TOP_GENES; n++) top[n] = -1;
}

static cpt_status concept_genes(gene_job *j, int32_t c, double cutoff, cpt_err *e)
{
    cpt_status status;
    int64_t attributed = 0;
    if (j->attributed) {
        CPT_TRY(cpt_array_row(&j->mean, c, j->means, e));
        CPT_TRY(cpt_array_row(&j->attribution_q, c, j->a_q, e));
    }
    CPT_TRY(cpt_array_row(&j->logfc, c, j->logfcs, e));
    CPT_TRY(cpt_array_row(&j->score, c, j->scores, e));
    CPT_TRY(cpt_array_row(&j->expression_q, c, j->x_q, e));
    for (int32_t g = 0; g < j->n_genes; g++) {
        float m = j->attributed ? fabsf(j->means[g]) : 0;
        if (m > 0) keep(j, 0, g, m, c);
        attributed += m >= cutoff && j->a_q[g] < 0.05;
        if (j->x_q[g] < 0.05 && j->logfcs[g] > 0) keep(j, 1, g, j->scores[g], c);
    }
    if (j->attributed)
        j->index->facts[(int64_t)c * CPT_N_FACTS + CPT_FACT_ATTRIBUTED] = (double)attributed;
    top_genes(j, j->top + (int64_t)c * CPT_TOP_GENES);
done:
    return status;
}

/* ---- writing ---- */

static int strongest_first(const void *a, const void *b)
{
    const kept *x = a, *y = b;
    return weaker(*y, *x) ? -1 : 1;
}

static cpt_status put_gene_concepts(gene_job *j, cpt_err *e)
{
    int64_t *first = NULL, n = 0;
    int32_t *concepts = NULL;
    size_t capacity = 0;
    cpt_status status;
    CPT_TRY(cpt_alloc(&first, (size_t)j->n_genes + 1, sizeof *first, e));
    for (int32_t g = 0; g < j->n_genes; g++) {
        CPT_TRY(cpt_grow(&concepts, &capacity, (size_t)n + CPT_GENE_CONCEPTS, sizeof *concepts, e));
        for (int list = 0; list < 2; list++) {
            size_t slot = (size_t)list * (size_t)j->n_genes + (size_t)g;
            kept *heap = j->heaps + slot * KEPT;
            qsort(heap, j->lengths[slot], sizeof *heap, strongest_first);
            for (int i = 0; i < j->lengths[slot]; i++) {
                bool known = false;
                for (int64_t k = first[g]; k < n && list; k++)
                known |= concepts[k] == heap[i].concept;
                if (!known) concepts[n++] = heap[i].concept;
            }
        }
        first[g + 1] = n;
    }
    CPT_TRY(cpt_index_put(j->index, "gene_concepts.first", CPT_I64, j->n_genes + 1, 0, first, e));
    CPT_TRY(cpt_index_put(j->index, "gene_concepts.items", CPT_I32, n, 0,
                          concepts ? (void *)concepts : "", e));
    json_array_append_new(j->index->have, json_string("gene_concepts"));
done:
    free(first);
    free(concepts);
    return status;
}

/* Median distance of the pairs of a concept, relative to the median neighbour distance. */
static cpt_status pair_distances(cpt_index_job *job, cpt_err *e)
{
    char path[PATH_LIMIT];
    cpt_npy first = {0}, pairs = {0};
    double *scratch = NULL;
    cpt_status status;
    CPT_TRY(cpt_study_path(job->s, "cache/pairs/first.npy", path, sizeof path, e));
    CPT_TRY(cpt_npy_open_as(path, CPT_I64, 1, (int64_t[]){job->u->n_concepts + 1}, &first, e));
    CPT_TRY(cpt_study_path(job->s, "cache/pairs/pairs.npy", path, sizeof path, e));
    CPT_TRY(cpt_npy_open_as(path, CPT_F64, 2, (int64_t[]){-1, PAIR_COLUMNS}, &pairs, e));
    CPT_TRY(cpt_alloc(&scratch, (size_t)pairs.shape[0], sizeof *scratch, e));
    const int64_t *starts = first.data;
    const double *table = pairs.data;
    for (int32_t c = 0; c < job->u->n_concepts; c++) {
        int64_t n = starts[c + 1] - starts[c];
        if (starts[c] < 0 || n < 0 || starts[c + 1] > pairs.shape[0]) {
            status =
                cpt_fail(e, CPT_ERR_FORMAT, "%s: damaged; run the stage 'attribution' again", path);
            goto done;
        }
        for (int64_t i = 0; i < n; i++)
            scratch[i] = table[(starts[c] + i) * PAIR_COLUMNS + PAIR_RELATIVE];
        job->facts[(int64_t)c * CPT_N_FACTS + CPT_FACT_DISTANCE] = cpt_median(n, scratch);
    }
done:
    cpt_npy_close(&first);
    cpt_npy_close(&pairs);
    free(scratch);
    return status;
}

static cpt_status open_job(gene_job *j, cpt_err *e)
{
    size_t n = (size_t)j->n_genes;
    char path[PATH_LIMIT];
    cpt_status status;
    CPT_TRY(cpt_study_path(j->index->s, "cache/attribution/mean.npy", path, sizeof path, e));
    j->attributed = cpt_path_exists(path);
    if (j->attributed) {
        CPT_TRY(open_matrix(j->index, "attribution/mean", CPT_F32, &j->mean, e));
        CPT_TRY(open_matrix(j->index, "attribution/q", CPT_F64, &j->attribution_q, e));
    }
    CPT_TRY(open_matrix(j->index, "expression/logfc", CPT_F32, &j->logfc, e));
    CPT_TRY(open_matrix(j->index, "expression/score", CPT_F32, &j->score, e));
    CPT_TRY(open_matrix(j->index, "expression/q", CPT_F64, &j->expression_q, e));
    CPT_TRY(cpt_alloc(&j->means, n, sizeof *j->means, e));
    CPT_TRY(cpt_alloc(&j->logfcs, n, sizeof *j->logfcs, e));
    CPT_TRY(cpt_alloc(&j->scores, n, sizeof *j->scores, e));
    CPT_TRY(cpt_alloc(&j->a_q, n, sizeof *j->a_q, e));
    CPT_TRY(cpt_alloc(&j->x_q, n, sizeof *j->x_q, e));
    CPT_TRY(cpt_alloc(&j->heaps, 2 * n * KEPT, sizeof *j->heaps, e));
    CPT_TRY(cpt_alloc(&j->lengths, 2 * n, 1, e));
    status = cpt_alloc(&j->top, (size_t)j->n_concepts * CPT_TOP_GENES, sizeof *j->top, e);
done:
    return status;
}

static void close_job(gene_job *j)
{
    cpt_array_close(&j->mean);
    cpt_array_close(&j->attribution_q);
    cpt_array_close(&j->logfc);
    cpt_array_close(&j->score);
    cpt_array_close(&j->expression_q);
    free(j->means);
    free(j->logfcs);
    free(j->scores);
    free(j->a_q);
    free(j->x_q);
    free(j->heaps);
    free(j->lengths);
    free(j->top);
}

static cpt_status nothing_yet(cpt_index_job *job, bool *absent, cpt_err *e)
{
    char path[PATH_LIMIT];
    cpt_status status = cpt_study_path(job->s, "cache/expression/q.npy", path, sizeof path, e);
    *absent = status == CPT_OK && !cpt_path_exists(path);
    return status;
}

cpt_status cpt_index_genes(cpt_index_job *job, cpt_err *e)
{
    gene_job j = {.index = job, .n_concepts = job->u->n_concepts, .n_genes = job->universe->n};
    double cutoff = cpt_options_number(job->s->options, "cutoff");
    bool absent;
    cpt_status status = nothing_yet(job, &absent, e);
    if (status || absent) return status;
    CPT_TRY(open_job(&j, e));
    for (int32_t c = 0; c < j.n_concepts; c++) {
        CPT_TRY(concept_genes(&j, c, cutoff, e));
        CPT_TRY(cpt_check_stop(job->s->ctx, e));
        cpt_progress(job->s->ctx, "index of genes", c + 1, j.n_concepts, NULL);
    }
    CPT_TRY(cpt_index_put(job, "top_genes", CPT_I32, j.n_concepts, CPT_TOP_GENES, j.top, e));
    CPT_TRY(put_gene_concepts(&j, e));
    if (j.attributed) status = pair_distances(job, e);
done:
    close_job(&j);
    return status;
}

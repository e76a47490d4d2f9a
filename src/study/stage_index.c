#include "base/memory.h"
#include "math/sort.h"
#include "math/statistics.h"
#include "study/index_parts.h"
#include "study/ranked_cells.h"
#include "study/store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The stage "index": reorders what earlier stages found so that the server answers a click by
 * reading a few pages of a file. Nothing is decided here: every number is another stage's, or a
 * count of them, except the neighbours and the map of concepts (index_similar.c).
 *
 * Cells of a concept by falling activation serve three questions: which cells to show, the best
 * label, and the comparison of two selections, for which everything else would have to be sorted
 * while somebody waits. */

enum { PATH_LIMIT = 4096 };

cpt_status cpt_index_put(const cpt_index_job *job, const char *name, cpt_dtype dtype, int64_t rows,
                         int64_t cols, const void *values, cpt_err *e)
{
    char path[128];
    snprintf(path, sizeof path, "index/%s", name);
    return cpt_store_write(job->s, path, dtype, rows, cols, values, e);
}

cpt_status cpt_index_put_strings(const cpt_index_job *job, const char *name, const cpt_strings *s,
                                 cpt_err *e)
{
    char part[96];
    int64_t *offsets;
    cpt_status status = cpt_alloc(&offsets, (size_t)s->n + 1, sizeof *offsets, e);
    if (status) return status;
    for (int64_t i = 0; i < s->n; i++) offsets[i] = s->offsets[i];
    offsets[s->n] = (int64_t)s->blob_length;
    snprintf(part, sizeof part, "%s.offsets", name);
    status = cpt_index_put(job, part, CPT_I64, s->n + 1, 0, offsets, e);
    snprintf(part, sizeof part, "%s.bytes", name);
    if (status == CPT_OK)
        status =
            cpt_index_put(job, part, CPT_U8, (int64_t)s->blob_length, 0, s->blob ? s->blob : "", e);
    free(offsets);
    return status;
}

/* ---- cells ---- */

/* What "this selection against all others" takes of the others. */
static cpt_status put_gene_sums(const cpt_index_job *job, const cpt_csr *by_gene,
                                const double *totals, cpt_err *e)
{
    static const double SCALE = 1e4;
    double *sums;
    cpt_status status = cpt_alloc(&sums, 3 * (size_t)job->universe->n, sizeof *sums, e);
    for (int32_t g = 0; g < job->universe->n && status == CPT_OK; g++) {
        int32_t column = job->universe->columns[g];
        for (int64_t k = by_gene->indptr[column]; k < by_gene->indptr[column + 1]; k++) {
            int32_t cell = by_gene->indices[k];
            if (!job->u->usable[cell] || !(by_gene->values[k] > 0) || !(totals[cell] > 0)) continue;
            double x = log1p((double)by_gene->values[k] / totals[cell] * SCALE);
            sums[3 * g] += x;
            sums[3 * g + 1] += x * x;
            sums[3 * g + 2]++;
        }
        status = cpt_check_stop(job->s->ctx, e);
    }
    if (status == CPT_OK)
        status = cpt_index_put(job, "gene_sums", CPT_F64, job->universe->n, 3, sums, e);
    free(sums);
    return status;
}

static cpt_status put_totals(const cpt_index_job *job, cpt_err *e)
{
    const cpt_cells *cells;
    double *totals = NULL;
    cpt_status status;
    CPT_TRY(cpt_study_cells(job->s, &cells, e));
    if (!cells->has_counts) goto done;
    CPT_TRY(cpt_alloc(&totals, (size_t)cells->n_cells, sizeof *totals, e));
    for (int64_t i = 0; i < cells->n_cells; i++)
        for (int64_t k = cells->by_cell.indptr[i]; k < cells->by_cell.indptr[i + 1]; k++)
            totals[i] += cells->by_cell.values[k];
    CPT_TRY(cpt_index_put(job, "totals", CPT_F64, cells->n_cells, 0, totals, e));
    status = put_gene_sums(job, &cells->by_gene, totals, e);
done:
    free(totals);
    return status;
}

enum { BLOCK = 256 };

static cpt_status put_neurons(const cpt_index_job *job, cpt_err *e)
{
    const float *x;
    int64_t n;
    int32_t dim;
    float *transposed = NULL;
    cpt_status status;
    CPT_TRY(cpt_study_embedding(job->s, &x, &n, &dim, e));
    CPT_TRY(cpt_alloc(&transposed, (size_t)n * (size_t)dim, sizeof *transposed, e));
    for (int64_t b = 0; b < n; b += BLOCK) /* in blocks: whole columns would miss the cache */
        for (int64_t j = 0; j < dim; j++)
            for (int64_t i = b; i < n && i < b + BLOCK; i++) transposed[j * n + i] = x[i * dim + j];
    status = cpt_index_put(job, "neurons", CPT_F32, dim, n, transposed, e);
done:
    free(transposed);
    return status;
}

/* ---- cells of a concept in order of activation ---- */

typedef struct ranking {
    uint64_t *keys;
    int32_t *scratch;
    int32_t *cells; /* [nnz] */
    float *values;
} ranking;

static void rank_concept(const cpt_csr *m, int64_t c, ranking *r)
{
    int64_t first = m->indptr[c], n = m->indptr[c + 1] - first;
    int32_t *items = r->cells + first;
    for (int64_t k = 0; k < n; k++) {
        r->keys[k] =
            ~cpt_order_key(m->values[first + k]); /* complement: falling; stable: by cell */
        items[k] = (int32_t)k;
    }
    cpt_radix_sort(n, r->keys, items, r->keys + m->n_cols, r->scratch);
    for (int64_t k = 0; k < n; k++) {
        r->values[first + k] = m->values[first + items[k]];
        items[k] = m->indices[first + items[k]];
    }
}

/* ---- the label that fits best (by F1, as everywhere) ---- */

static void fit_labels(const cpt_index_job *job, const cpt_column *label, int64_t *inside,
                       const int64_t *total)
{
    const cpt_csr *m = &job->u->by_concept;
    for (int32_t c = 0; c < job->u->n_concepts; c++) {
        double *facts = job->facts + (int64_t)c * CPT_N_FACTS, best = 0;
        int64_t n = m->indptr[c + 1] - m->indptr[c];
        memset(inside, 0, (size_t)label->categories.n * sizeof *inside);
        for (int64_t k = m->indptr[c]; k < m->indptr[c + 1]; k++)
            if (label->codes[m->indices[k]] >= 0) inside[label->codes[m->indices[k]]]++;
        for (int64_t l = 0; l < label->categories.n && n > 0; l++) {
            double f1 = 2.0 * (double)inside[l] / (double)(total[l] + n);
            if (!(f1 > best)) continue;
            best = f1;
            facts[CPT_FACT_LABEL] = (double)l;
            facts[CPT_FACT_F1] = f1;
            facts[CPT_FACT_SHARE] = (double)inside[l] / (double)n;
        }
    }
}

/* AUROC of each concept for its label against the other labelled cells. */
static cpt_status label_auroc(const cpt_index_job *job, const cpt_column *label, const ranking *r,
                              cpt_err *e)
{
    uint8_t *group;
    int64_t n_cells = job->u->n_cells;
    const int64_t *indptr = job->u->by_concept.indptr;
    cpt_status status = cpt_alloc(&group, (size_t)n_cells, 1, e);
    for (int64_t l = 0; l < label->categories.n && status == CPT_OK; l++) {
        int64_t n_a = 0, n_b = 0;
        for (int64_t i = 0; i < n_cells; i++) {
            group[i] = label->codes[i] < 0 || !job->u->usable[i] ? 0 : label->codes[i] == l ? 1 : 2;
            n_a += group[i] == 1;
            n_b += group[i] == 2;
        }
        for (int32_t c = 0; c < job->u->n_concepts; c++) {
            double *facts = job->facts + (int64_t)c * CPT_N_FACTS;
            if (facts[CPT_FACT_LABEL] != (double)l) continue;
            facts[CPT_FACT_AUROC] =
                cpt_ranked_compare(indptr[c + 1] - indptr[c], r->cells + indptr[c],
                                   r->values + indptr[c], group, n_a, n_b)
                    .auroc;
        }
        status = cpt_check_stop(job->s->ctx, e);
    }
    free(group);
    return status;
}

static cpt_status add_labels(const cpt_index_job *job, const ranking *r, cpt_err *e)
{
    const cpt_column *label;
    int64_t *inside = NULL, *total = NULL;
    cpt_status status;
    CPT_TRY(cpt_study_column(job->s, "label", &label, e));
    if (!label) goto done;
    CPT_TRY(cpt_alloc(&inside, (size_t)label->categories.n, sizeof *inside, e));
    CPT_TRY(cpt_alloc(&total, (size_t)label->categories.n, sizeof *total, e));
    for (int64_t i = 0; i < job->u->n_cells; i++)
        if (label->codes[i] >= 0) total[label->codes[i]]++;
    fit_labels(job, label, inside, total);
    status = label_auroc(job, label, r, e);
done:
    free(inside);
    free(total);
    return status;
}

static cpt_status put_ranked(const cpt_index_job *job, cpt_err *e)
{
    const cpt_csr *m = &job->u->by_concept;
    int64_t nnz = m->indptr[m->n_rows];
    ranking r = {0};
    cpt_status status;
    CPT_TRY(cpt_alloc(&r.keys, 2 * (size_t)m->n_cols, sizeof *r.keys, e));
    CPT_TRY(cpt_alloc(&r.scratch, (size_t)m->n_cols, sizeof *r.scratch, e));
    CPT_TRY(cpt_alloc(&r.cells, (size_t)nnz, sizeof *r.cells, e));
    CPT_TRY(cpt_alloc(&r.values, (size_t)nnz, sizeof *r.values, e));
    for (int32_t c = 0; c < job->u->n_concepts; c++) {
        rank_concept(m, c, &r);
        job->facts[(int64_t)c * CPT_N_FACTS + CPT_FACT_MAX] = job->u->stats[c].max;
        job->facts[(int64_t)c * CPT_N_FACTS + CPT_FACT_MEAN] = job->u->stats[c].mean;
    }
    CPT_TRY(cpt_index_put(job, "ranked.cells", CPT_I32, nnz, 0, r.cells, e));
    CPT_TRY(cpt_index_put(job, "ranked.values", CPT_F32, nnz, 0, r.values, e));
    status = add_labels(job, &r, e);
done:
    free(r.keys);
    free(r.scratch);
    free(r.cells);
    free(r.values);
    return status;
}

/* ---- all ---- */

static cpt_status prepare(cpt_index_job *job, cpt_err *e)
{
    char folder[PATH_LIMIT];
    cpt_status status;
    CPT_TRY(cpt_study_path(job->s, "cache/index", folder, sizeof folder, e));
    CPT_TRY(cpt_remove_tree(folder, e));
    CPT_TRY(cpt_make_folder(folder, e));
    CPT_TRY(cpt_study_universe(job->s, &job->universe, e));
    CPT_TRY(cpt_study_activations(job->s, &job->u, e));
    size_t n = (size_t)job->u->n_concepts;
    CPT_TRY(cpt_alloc(&job->facts, n * CPT_N_FACTS, sizeof *job->facts, e));
    CPT_TRY(cpt_alloc(&job->best_row, n, sizeof *job->best_row, e));
    for (size_t i = 0; i < n * CPT_N_FACTS; i++) job->facts[i] = NAN;
    for (size_t i = 0; i < n; i++) job->best_row[i] = -1;
done:
    return status;
}

cpt_status cpt_stage_index(cpt_study *s, cpt_err *e)
{
    cpt_index_job job = {.s = s, .head = json_object(), .have = json_array()};
    cpt_status status;
    CPT_TRY(prepare(&job, e));
    CPT_TRY(cpt_index_put(&job, "universe", CPT_I32, job.universe->n, 0, job.universe->columns, e));
    CPT_TRY(put_totals(&job, e));
    CPT_TRY(put_neurons(&job, e));
    CPT_TRY(put_ranked(&job, e));
    CPT_TRY(cpt_index_genes(&job, e));
    CPT_TRY(cpt_index_terms(&job, e));
    CPT_TRY(cpt_index_similar(&job, e));
    CPT_TRY(cpt_index_put(&job, "facts", CPT_F64, job.u->n_concepts, CPT_N_FACTS, job.facts, e));
    CPT_TRY(cpt_index_put(&job, "best_row", CPT_I64, job.u->n_concepts, 0, job.best_row, e));
    json_object_set_new(job.head, "version", json_integer(CPT_INDEX_VERSION));
    json_object_set(job.head, "have", job.have);
    status = cpt_store_write_json(s, "cache/index/index.json", job.head, e);
done:
    free(job.facts);
    free(job.best_row);
    json_decref(job.head);
    json_decref(job.have);
    return status;
}

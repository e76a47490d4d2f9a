#include "base/memory.h"
#include "math/sort.h"
#include "math/statistics.h"
#include "view/index_parts.h"
#include "view/ranked_cells.h"
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
 * while somebody waits.
 *
 * It may run beside a server that answers meanwhile: counts, embedding and attribution are read
 * piece by piece, only the activations are held (mapped). */

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

static cpt_status open_array(const cpt_index_job *job, const char *name, cpt_dtype dtype,
                             int64_t rows, int64_t cols, cpt_array *a, cpt_err *e)
{
    char path[PATH_LIMIT];
    cpt_status status = cpt_study_path(job->s, name, path, sizeof path, e);
    return status ? status : cpt_array_open(path, dtype, rows, cols, a, e);
}

/* Counts of a row (one cell, or one gene) at a time: all of them together may be larger than memory. */
typedef struct counts {
    const int64_t *indptr;
    cpt_array indices, values;
    int64_t room; /* of: */
    int32_t *at;
    float *value;
} counts;

static cpt_status open_counts(const cpt_index_job *job, const char *side, const cpt_csr *m,
                              counts *c, cpt_err *e)
{
    char name[96];
    cpt_status status;
    c->indptr = m->indptr;
    for (int64_t i = 0; i < m->n_rows; i++)
        if (m->indptr[i + 1] - m->indptr[i] > c->room) c->room = m->indptr[i + 1] - m->indptr[i];
    snprintf(name, sizeof name, "cache/cells/counts_%s.indices.npy", side);
    CPT_TRY(open_array(job, name, CPT_I32, m->indptr[m->n_rows], 0, &c->indices, e));
    snprintf(name, sizeof name, "cache/cells/counts_%s.values.npy", side);
    CPT_TRY(open_array(job, name, CPT_F32, m->indptr[m->n_rows], 0, &c->values, e));
    CPT_TRY(cpt_alloc(&c->at, (size_t)c->room, sizeof *c->at, e));
    status = cpt_alloc(&c->value, (size_t)c->room, sizeof *c->value, e);
done:
    return status;
}

static void close_counts(counts *c)
{
    cpt_array_close(&c->indices);
    cpt_array_close(&c->values);
    free(c->at);
    free(c->value);
}

/* What "this selection against all others" takes of the others. */
static cpt_status add_gene(const cpt_index_job *job, const counts *c, int32_t column,
                           const double *totals, double sums[3], cpt_err *e)
{
    static const double SCALE = 1e4;
    int64_t first = c->indptr[column], n = c->indptr[column + 1] - first;
    cpt_status status = cpt_array_read(&c->indices, first, n, c->at, e);
    if (status == CPT_OK) status = cpt_array_read(&c->values, first, n, c->value, e);
    for (int64_t k = 0; k < n && status == CPT_OK; k++) {
        int32_t cell = c->at[k];
        if (cell < 0 || cell >= job->u->n_cells)
            return cpt_fail(e, CPT_ERR_FORMAT, "%s: damaged; run the stage cells again",
                            c->indices.path);
        if (!job->u->usable[cell] || !(c->value[k] > 0) || !(totals[cell] > 0)) continue;
        double x = log1p((double)c->value[k] / totals[cell] * SCALE);
        sums[0] += x;
        sums[1] += x * x;
        sums[2]++;
    }
    return status ? status : cpt_check_stop(job->s->ctx, e);
}

static cpt_status put_gene_sums(const cpt_index_job *job, const cpt_csr *by_gene,
                                const double *totals, cpt_err *e)
{
    double *sums = NULL;
    counts c = {0};
    cpt_status status;
    CPT_TRY(open_counts(job, "by_gene", by_gene, &c, e));
    CPT_TRY(cpt_alloc(&sums, 3 * (size_t)job->universe->n, sizeof *sums, e));
    for (int32_t g = 0; g < job->universe->n; g++) {
        CPT_TRY(add_gene(job, &c, job->universe->columns[g], totals, sums + 3 * g, e));
        cpt_progress(job->s->ctx, "index of counts", g + 1, job->universe->n, NULL);
    }
    status = cpt_index_put(job, "gene_sums", CPT_F64, job->universe->n, 3, sums, e);
done:
    close_counts(&c);
    free(sums);
    return status;
}

static cpt_status put_totals(const cpt_index_job *job, cpt_err *e)
{
    const cpt_cells *cells;
    double *totals = NULL;
    counts c = {0};
    cpt_status status;
    CPT_TRY(cpt_study_cells(job->s, &cells, e));
    if (!cells->has_counts) goto done;
    CPT_TRY(open_counts(job, "by_cell", &cells->by_cell, &c, e));
    CPT_TRY(cpt_alloc(&totals, (size_t)cells->n_cells, sizeof *totals, e));
    for (int64_t i = 0; i < cells->n_cells; i++) {
        int64_t first = c.indptr[i], n = c.indptr[i + 1] - first;
        CPT_TRY(cpt_array_read(&c.values, first, n, c.value, e));
        for (int64_t k = 0; k < n; k++) totals[i] += c.value[k];
        if (i % 4096 == 0) CPT_TRY(cpt_check_stop(job->s->ctx, e));
    }
    CPT_TRY(cpt_index_put(job, "totals", CPT_F64, cells->n_cells, 0, totals, e));
    status = put_gene_sums(job, &cells->by_gene, totals, e);
done:
    close_counts(&c);
    free(totals);
    return status;
}

/* ---- the embedding, transposed: as many columns at a time as fit into TRANSPOSED_BYTES ---- */

enum { BLOCK = 256, TRANSPOSED_BYTES = 64 << 20 };

/* Columns j to j + width of x into out [width][n], by way of `rows` [BLOCK][dim]. */
static cpt_status transpose(const cpt_array *x, int64_t j, int64_t width, float *rows, float *out,
                            cpt_err *e)
{
    cpt_status status = CPT_OK;
    int64_t n = x->rows, dim = x->cols;
    for (int64_t b = 0; b < n && status == CPT_OK; b += BLOCK) {
        int64_t m = n - b < BLOCK ? n - b : BLOCK;
        status = cpt_array_read(x, b * dim, m * dim, rows, e);
        for (int64_t k = 0; k < width && status == CPT_OK; k++)
            for (int64_t i = 0; i < m; i++) out[k * n + b + i] = rows[i * dim + j + k];
    }
    return status;
}

static cpt_status put_neurons(const cpt_index_job *job, cpt_err *e)
{
    cpt_array x = {0};
    cpt_npy_writer w = {0};
    char path[PATH_LIMIT];
    float *rows = NULL, *out = NULL;
    cpt_status status;
    CPT_TRY(open_array(job, "cache/embedding.npy", CPT_F32, -1, -1, &x, e));
    int64_t dim = x.cols, width = TRANSPOSED_BYTES / ((int64_t)sizeof *out * (x.rows + 1));
    if (width < 1) width = 1;
    CPT_TRY(cpt_study_path(job->s, "cache/index/neurons.npy", path, sizeof path, e));
    CPT_TRY(cpt_npy_begin(&w, path, CPT_F32, 2, (int64_t[]){dim, x.rows}, e));
    CPT_TRY(cpt_alloc(&rows, (size_t)dim * BLOCK, sizeof *rows, e));
    CPT_TRY(cpt_alloc(&out, (size_t)width * (size_t)x.rows, sizeof *out, e));
    for (int64_t j = 0; j < dim; j += width) {
        int64_t m = dim - j < width ? dim - j : width;
        CPT_TRY(transpose(&x, j, m, rows, out, e));
        CPT_TRY(cpt_npy_append(&w, out, m * x.rows, e));
        CPT_TRY(cpt_check_stop(job->s->ctx, e));
    }
    status = cpt_npy_finish(&w, e);
done:
    cpt_npy_abandon(&w);
    cpt_array_close(&x);
    free(rows);
    free(out);
    return status;
}

/* ---- cells of a concept in order of activation ---- */

typedef struct ranking {
    uint64_t *keys;              /* [2 n_cells] */
    int32_t *scratch, *cells;    /* [n_cells] */
    float *values;               /* [n_cells] */
    cpt_npy_writer cells_out, values_out;
} ranking;

/* Into r->cells and r->values; how many. */
static int64_t rank_concept(const cpt_csr *m, int64_t c, ranking *r)
{
    int64_t first = m->indptr[c], n = m->indptr[c + 1] - first;
    for (int64_t k = 0; k < n; k++) {
        r->keys[k] =
            ~cpt_order_key(m->values[first + k]); /* complement: falling; stable: by cell */
        r->cells[k] = (int32_t)k;
    }
    cpt_radix_sort(n, r->keys, r->cells, r->keys + m->n_cols, r->scratch);
    for (int64_t k = 0; k < n; k++) {
        r->values[k] = m->values[first + r->cells[k]];
        r->cells[k] = m->indices[first + r->cells[k]];
    }
    return n;
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

/* The cells of each concept as put_ranked wrote them. */
typedef struct ranked_files {
    cpt_array cells, values;
    int32_t *cell; /* [n_cells] room for one concept */
    float *value;
} ranked_files;

static cpt_status open_ranked(const cpt_index_job *job, ranked_files *r, cpt_err *e)
{
    int64_t nnz = job->u->by_concept.indptr[job->u->n_concepts];
    cpt_status status;
    CPT_TRY(open_array(job, "cache/index/ranked.cells.npy", CPT_I32, nnz, 0, &r->cells, e));
    CPT_TRY(open_array(job, "cache/index/ranked.values.npy", CPT_F32, nnz, 0, &r->values, e));
    CPT_TRY(cpt_alloc(&r->cell, (size_t)job->u->n_cells, sizeof *r->cell, e));
    status = cpt_alloc(&r->value, (size_t)job->u->n_cells, sizeof *r->value, e);
done:
    return status;
}

static void close_ranked(ranked_files *r)
{
    cpt_array_close(&r->cells);
    cpt_array_close(&r->values);
    free(r->cell);
    free(r->value);
}

/* AUROC of concept c for the cells of group 1 against those of group 2. */
static cpt_status concept_auroc(const cpt_index_job *job, const ranked_files *r, int32_t c,
                                const uint8_t *group, const int64_t sizes[2], cpt_err *e)
{
    int64_t first = job->u->by_concept.indptr[c], n = job->u->by_concept.indptr[c + 1] - first;
    cpt_status status = cpt_array_read(&r->cells, first, n, r->cell, e);
    if (status == CPT_OK) status = cpt_array_read(&r->values, first, n, r->value, e);
    if (status == CPT_OK)
        job->facts[(int64_t)c * CPT_N_FACTS + CPT_FACT_AUROC] =
            cpt_ranked_compare(n, r->cell, r->value, group, sizes[0], sizes[1]).auroc;
    return status;
}

/* AUROC of each concept for its label against the other labelled cells. */
static cpt_status label_auroc(const cpt_index_job *job, const cpt_column *label, cpt_err *e)
{
    ranked_files r = {0};
    uint8_t *group = NULL;
    int64_t n_cells = job->u->n_cells;
    cpt_status status;
    CPT_TRY(open_ranked(job, &r, e));
    CPT_TRY(cpt_alloc(&group, (size_t)n_cells, 1, e));
    for (int64_t l = 0; l < label->categories.n; l++) {
        int64_t sizes[2] = {0, 0};
        for (int64_t i = 0; i < n_cells; i++) {
            group[i] = label->codes[i] < 0 || !job->u->usable[i] ? 0 : label->codes[i] == l ? 1 : 2;
            if (group[i]) sizes[group[i] - 1]++;
        }
        for (int32_t c = 0; c < job->u->n_concepts; c++)
            if (job->facts[(int64_t)c * CPT_N_FACTS + CPT_FACT_LABEL] == (double)l)
                CPT_TRY(concept_auroc(job, &r, c, group, sizes, e));
        CPT_TRY(cpt_check_stop(job->s->ctx, e));
    }
done:
    close_ranked(&r);
    free(group);
    return status;
}

static cpt_status add_labels(const cpt_index_job *job, cpt_err *e)
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
    status = label_auroc(job, label, e);
done:
    free(inside);
    free(total);
    return status;
}

/* ---- the donor, and the batch, that most active cells are of ---- */

static void largest_category(const cpt_index_job *job, const cpt_column *column, int64_t *inside,
                             int fact)
{
    const cpt_csr *m = &job->u->by_concept;
    for (int32_t c = 0; c < job->u->n_concepts; c++) {
        double *facts = job->facts + (int64_t)c * CPT_N_FACTS + fact;
        int64_t most = 0, n = 0;
        memset(inside, 0, (size_t)column->categories.n * sizeof *inside);
        for (int64_t k = m->indptr[c]; k < m->indptr[c + 1]; k++)
            if (column->codes[m->indices[k]] >= 0) inside[column->codes[m->indices[k]]]++, n++;
        for (int64_t l = 0; l < column->categories.n; l++) {
            if (inside[l] <= most) continue;
            most = inside[l];
            facts[0] = (double)l;
            facts[1] = (double)most / (double)n;
        }
    }
}

static cpt_status add_origin(const cpt_index_job *job, const char *role, int fact, cpt_err *e)
{
    const cpt_column *column;
    int64_t *inside;
    cpt_status status = cpt_study_column(job->s, role, &column, e);
    if (status || !column) return status;
    status = cpt_alloc(&inside, (size_t)column->categories.n, sizeof *inside, e);
    if (status) return status;
    largest_category(job, column, inside, fact);
    free(inside);
    return CPT_OK;
}

static cpt_status begin_ranked(const cpt_index_job *job, ranking *r, cpt_err *e)
{
    const cpt_csr *m = &job->u->by_concept;
    const int64_t nnz = m->indptr[m->n_rows];
    size_t n = (size_t)m->n_cols;
    char path[PATH_LIMIT];
    cpt_status status;
    CPT_TRY(cpt_study_path(job->s, "cache/index/ranked.cells.npy", path, sizeof path, e));
    CPT_TRY(cpt_npy_begin(&r->cells_out, path, CPT_I32, 1, &nnz, e));
    CPT_TRY(cpt_study_path(job->s, "cache/index/ranked.values.npy", path, sizeof path, e));
    CPT_TRY(cpt_npy_begin(&r->values_out, path, CPT_F32, 1, &nnz, e));
    CPT_TRY(cpt_alloc(&r->keys, 2 * n, sizeof *r->keys, e));
    CPT_TRY(cpt_alloc(&r->scratch, n, sizeof *r->scratch, e));
    CPT_TRY(cpt_alloc(&r->cells, n, sizeof *r->cells, e));
    status = cpt_alloc(&r->values, n, sizeof *r->values, e);
done:
    return status;
}

static cpt_status put_ranked(const cpt_index_job *job, cpt_err *e)
{
    const cpt_csr *m = &job->u->by_concept;
    ranking r = {0};
    cpt_status status;
    CPT_TRY(begin_ranked(job, &r, e));
    for (int32_t c = 0; c < job->u->n_concepts; c++) {
        int64_t n = rank_concept(m, c, &r);
        CPT_TRY(cpt_npy_append(&r.cells_out, r.cells, n, e));
        CPT_TRY(cpt_npy_append(&r.values_out, r.values, n, e));
        job->facts[(int64_t)c * CPT_N_FACTS + CPT_FACT_MAX] = job->u->stats[c].max;
        job->facts[(int64_t)c * CPT_N_FACTS + CPT_FACT_MEAN] = job->u->stats[c].mean;
        CPT_TRY(cpt_check_stop(job->s->ctx, e));
    }
    CPT_TRY(cpt_npy_finish(&r.cells_out, e));
    status = cpt_npy_finish(&r.values_out, e);
done:
    cpt_npy_abandon(&r.cells_out);
    cpt_npy_abandon(&r.values_out);
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
    CPT_TRY(add_labels(&job, e));
    CPT_TRY(add_origin(&job, "donor", CPT_FACT_DONOR, e));
    CPT_TRY(add_origin(&job, "batch", CPT_FACT_BATCH, e));
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

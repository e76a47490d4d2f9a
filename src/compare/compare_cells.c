#include "compare/compare_cells.h"

#include "base/memory.h"
#include "base/random.h"
#include "study/store.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* Finding common cells costs one hash of the names; encoding, one pass of the models over the
 * sample.
 *
 * Trap: cells of two 10x runs share barcodes by chance, and "0", "1", ... are names of any file's
 * cells. Cells of one name are the same only if their counts over the common genes add up to the
 * same. */

enum { PATH_LIMIT = 4096, LEAST_CELLS = 10 };
static const double SAME_SHARE = 0.95; /* of the cells of one name must have one sum of counts */

/* ---- one side ---- */

cpt_status cpt_compared_open(cpt_study *s, const char *name, cpt_compared *out, cpt_err *e)
{
    int64_t n;
    int32_t dim;
    cpt_status status;
    *out = (cpt_compared){.study = s, .name = name};
    CPT_TRY(cpt_study_cells(s, &out->cells, e));
    CPT_TRY(cpt_study_symbols(s, &out->symbols, e));
    CPT_TRY(cpt_study_activations(s, &out->u, e));
    CPT_TRY(cpt_study_dictionary(s, &out->dictionary, e));
    CPT_TRY(cpt_study_model(s, &out->model, e));
    CPT_TRY(cpt_study_embedding(s, &out->embedding, &n, &dim, e));
    CPT_TRY(cpt_study_column(s, "label", &out->label, e));
    const int32_t n_concepts = out->u->n_concepts;
    if (n != out->cells->n_cells || out->u->n_cells != n || out->dictionary->dim != dim ||
        out->dictionary->n_concepts != n_concepts || out->model->dim != dim)
        CPT_TRY(cpt_fail(e, CPT_ERR_FORMAT,
                         "%s: cells, embedding and dictionary do not fit together; run it again",
                         s->folder));
    CPT_TRY(cpt_alloc(&out->units, (size_t)n_concepts, sizeof *out->units, e));
    CPT_TRY(cpt_alloc(&out->unit_of, (size_t)n_concepts, sizeof *out->unit_of, e));
    for (int32_t c = 0; c < n_concepts; c++) {
        out->unit_of[c] = out->u->stats[c].dead ? -1 : out->n_units;
        if (!out->u->stats[c].dead) out->units[out->n_units++] = c;
    }
    if (out->n_units == 0)
        status =
            cpt_fail(e, CPT_ERR_DATA, "%s: none of its concepts is active in any cell", s->folder);
done:
    return status;
}

void cpt_compared_close(cpt_compared *c)
{
    free(c->units);
    free(c->unit_of);
    c->units = c->unit_of = NULL;
}

static void note(cpt_common *c, const char *fmt, ...) CPT_PRINTF(2, 3);
static void note(cpt_common *c, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    json_array_append_new(c->notes, json_vsprintf(fmt, args));
    va_end(args);
}

/* ---- rows out of matrices ---- */

static void csr_free(cpt_csr *m)
{
    free((void *)m->indptr);
    free((void *)m->indices);
    free((void *)m->values);
    *m = (cpt_csr){0};
}

/* The listed rows; columns renamed by column_of (NULL = as they are; -1 = left out), which must
 * keep their order. */
static cpt_status take_rows(const cpt_csr *from, int64_t n, const int64_t *rows,
                            const int32_t *column_of, int64_t n_cols, cpt_csr *out, cpt_err *e)
{
    int64_t nnz = 0, at = 0, *indptr = NULL;
    int32_t *indices = NULL;
    float *values = NULL;
    cpt_status status;
    for (int64_t i = 0; i < n; i++) nnz += from->indptr[rows[i] + 1] - from->indptr[rows[i]];
    *out = (cpt_csr){.n_rows = n, .n_cols = n_cols};
    CPT_TRY(cpt_alloc(&indptr, (size_t)n + 1, sizeof *indptr, e));
    out->indptr = indptr;
    CPT_TRY(cpt_alloc(&indices, (size_t)nnz, sizeof *indices, e));
    out->indices = indices;
    CPT_TRY(cpt_alloc(&values, (size_t)nnz, sizeof *values, e));
    out->values = values;
    for (int64_t i = 0; i < n; i++) {
        for (int64_t k = from->indptr[rows[i]]; k < from->indptr[rows[i] + 1]; k++) {
            const int32_t column = column_of ? column_of[from->indices[k]] : from->indices[k];
            if (column < 0) continue;
            indices[at] = column;
            values[at++] = from->values[k];
        }
        indptr[i + 1] = at;
    }
done:
    return status;
}

/* Activations of rows_a of `u_a` and rows_b of `u_b`, one set. */
static cpt_status take_set(const cpt_compared *a, const cpt_activations *u_a, const int64_t *rows_a,
                           const cpt_compared *b, const cpt_activations *u_b, const int64_t *rows_b,
                           int64_t n, cpt_common_set *set, cpt_err *e)
{
    cpt_status status = take_rows(&u_a->by_cell, n, rows_a, a->unit_of, a->n_units, &set->a, e);
    set->n = n;
    return status ? status
                  : take_rows(&u_b->by_cell, n, rows_b, b->unit_of, b->n_units, &set->b, e);
}

static cpt_status take_labels(const cpt_compared *c, int64_t n, const int64_t *rows,
                              cpt_common_set *set, cpt_err *e)
{
    if (!c->label) return CPT_OK;
    cpt_status status = cpt_alloc(&set->strata, (size_t)n, sizeof *set->strata, e);
    for (int64_t i = 0; i < n && status == CPT_OK; i++) set->strata[i] = c->label->codes[rows[i]];
    return status;
}

/* ---- the same cells? ---- */

typedef struct name_pairs {
    int64_t n;
    int64_t *a, *b; /* cells of one name, a ascending */
} name_pairs;

static cpt_status pair_names(const cpt_cells *a, const cpt_cells *b, name_pairs *out, cpt_err *e)
{
    cpt_index *index = NULL;
    cpt_status status;
    CPT_TRY(cpt_alloc(&out->a, (size_t)a->n_cells, sizeof *out->a, e));
    CPT_TRY(cpt_alloc(&out->b, (size_t)a->n_cells, sizeof *out->b, e));
    index = cpt_index_new((size_t)b->n_cells, e);
    if (!index) return CPT_ERR_MEMORY;
    for (int64_t i = 0; i < b->n_cells; i++)
        CPT_TRY(cpt_index_add(index, cpt_strings_get(&b->cell_ids, i), i, NULL, e));
    for (int64_t i = 0; i < a->n_cells; i++) {
        const int64_t at = cpt_index_get(index, cpt_strings_get(&a->cell_ids, i));
        if (at < 0) continue;
        out->a[out->n] = i;
        out->b[out->n++] = at;
    }
done:
    cpt_index_free(index);
    return status;
}

static double row_sum(const cpt_csr *m, int64_t row, const int32_t *wanted)
{
    double sum = 0;
    for (int64_t k = m->indptr[row]; k < m->indptr[row + 1]; k++)
        if (wanted[m->indices[k]] >= 0) sum += m->values[k];
    return sum;
}

/* Share of the pairs whose counts over the genes of both sum up to the same. */
static cpt_status share_of_equal_sums(const cpt_compared *a, const cpt_compared *b,
                                      const cpt_gene_table *table, const name_pairs *pairs,
                                      double *share, cpt_err *e)
{
    cpt_alignment genes = {0};
    int32_t *of_b = NULL;
    int64_t n_equal = 0;
    cpt_status status;
    CPT_TRY(cpt_align_genes(&b->cells->gene_ids, &a->cells->gene_ids, a->symbols, table,
                            table != NULL, &genes, e));
    CPT_TRY(cpt_alloc(&of_b, (size_t)b->cells->n_genes, sizeof *of_b, e));
    for (int32_t g = 0; g < b->cells->n_genes; g++) of_b[g] = -1;
    for (int32_t g = 0; g < a->cells->n_genes; g++)
        if (genes.to_model[g] >= 0) of_b[genes.to_model[g]] = g;
    for (int64_t i = 0; i < pairs->n; i++) {
        const double x = row_sum(&a->cells->by_cell, pairs->a[i], genes.to_model),
                     y = row_sum(&b->cells->by_cell, pairs->b[i], of_b);
        n_equal += fabs(x - y) <= 1e-6 * fmax(fabs(x), fabs(y));
    }
    *share = genes.n_found ? (double)n_equal / (double)pairs->n : 0;
done:
    cpt_alignment_free(&genes);
    free(of_b);
    return status;
}

static cpt_status are_same_cells(const cpt_compared *a, const cpt_compared *b,
                                 const cpt_gene_table *table, const name_pairs *pairs,
                                 cpt_common *out, cpt_err *e)
{
    double share = 0;
    const int64_t fewer =
        a->cells->n_cells < b->cells->n_cells ? a->cells->n_cells : b->cells->n_cells;
    out->n_names = pairs->n;
    if (pairs->n < LEAST_CELLS) return CPT_OK;
    if (!a->cells->has_counts || !b->cells->has_counts) {
        out->same_cells = 2 * pairs->n >= fewer;
        if (out->same_cells)
            note(out, "cells are the same by name; there are no counts to prove it");
        return CPT_OK;
    }
    cpt_status status = share_of_equal_sums(a, b, table, pairs, &share, e);
    if (status) return status;
    out->same_cells = share >= SAME_SHARE;
    if (!out->same_cells)
        note(out,
             "%lld cells have a name in both studies, but only %.0f %% of them the same counts: "
             "they "
             "are taken for different cells",
             (long long)pairs->n, 100 * share);
    return CPT_OK;
}

static cpt_status take_shared(const cpt_compared *a, const cpt_compared *b, const name_pairs *pairs,
                              cpt_common *out, cpt_err *e)
{
    int64_t n = 0;
    for (int64_t i = 0; i < pairs->n; i++)
        if (a->u->usable[pairs->a[i]] && b->u->usable[pairs->b[i]]) {
            pairs->a[n] = pairs->a[i];
            pairs->b[n++] = pairs->b[i];
        }
    if (n < LEAST_CELLS) {
        note(out, "only %lld common cells have an embedding in both studies", (long long)n);
        return CPT_OK;
    }
    cpt_common_set *set = &out->sets[out->n_sets++];
    set->of = 's';
    set->n_cells = pairs->n;
    cpt_status status = take_labels(a->label ? a : b, n, a->label ? pairs->a : pairs->b, set, e);
    return status ? status : take_set(a, a->u, pairs->a, b, b->u, pairs->b, n, set, e);
}

/* ---- encoding the other's cells ---- */

static int by_number(const void *x, const void *y)
{
    const int64_t a = *(const int64_t *)x, b = *(const int64_t *)y;
    return (a > b) - (a < b);
}

/* Usable cells of a study, at most max_cells (0 = all) at random; malloc'ed. */
static cpt_status sample_cells(const cpt_compared *c, char of, int64_t max_cells, int64_t **out,
                               int64_t *n, const cpt_context *ctx, cpt_err *e)
{
    cpt_status status = cpt_alloc(out, (size_t)c->cells->n_cells, sizeof **out, e);
    if (status) return status;
    *n = 0;
    for (int64_t i = 0; i < c->cells->n_cells; i++)
        if (c->u->usable[i]) (*out)[(*n)++] = i;
    if (max_cells > 0 && *n > max_cells) {
        cpt_stream s;
        cpt_stream_init(&s, ctx->seed, CPT_RANDOM_ALIGN, (uint64_t)1 << 48 | (uint64_t)of);
        cpt_stream_shuffle_i64(&s, *out, *n);
        *n = max_cells;
        qsort(*out, (size_t)*n, sizeof **out, by_number);
    }
    return CPT_OK;
}

/* Encodes rows of the owner's cells by the reader's model and dictionary. */
static cpt_status encode_by(const cpt_compared *reader, const cpt_compared *owner,
                            const cpt_gene_table *table, int64_t n, const int64_t *rows,
                            cpt_common_set *set, cpt_activations **out, const cpt_context *ctx,
                            cpt_err *e)
{
    cpt_alignment genes = {0};
    cpt_counts counts;
    cpt_csr taken = {0};
    float *a = NULL;
    cpt_status status;
    CPT_TRY(cpt_align_genes(&reader->model->gene_names, &owner->cells->gene_ids, owner->symbols,
                            table, table != NULL, &genes, e));
    set->n_model = genes.n_model;
    set->n_found = genes.n_found;
    if (genes.n_found == 0) goto done;
    CPT_TRY(take_rows(&owner->cells->by_cell, n, rows, NULL, owner->cells->n_genes, &taken, e));
    CPT_TRY(cpt_counts_init(&counts, &taken, genes.to_model, reader->model->n_genes, e));
    CPT_TRY(cpt_alloc(&a, (size_t)n * (size_t)reader->model->dim, sizeof *a, e));
    CPT_TRY(cpt_model_embed_all(reader->model, &counts, a, NULL, ctx, e));
    status = cpt_activations_encode(reader->dictionary, a, n, out, ctx, e);
done:
    free(a);
    csr_free(&taken);
    cpt_alignment_free(&genes);
    return status;
}

/* `of` 'a': cells of a, encoded by b. */
static cpt_status take_encoded(const cpt_compared *a, const cpt_compared *b,
                               const cpt_gene_table *table, char of, int64_t max_cells,
                               cpt_common *out, const cpt_context *ctx, cpt_err *e)
{
    const cpt_compared *owner = of == 'a' ? a : b, *reader = of == 'a' ? b : a;
    int64_t *rows = NULL, *encoded_rows = NULL, n, kept = 0;
    cpt_activations *encoded = NULL;
    cpt_common_set *set = &out->sets[out->n_sets];
    cpt_status status;
    if (!cpt_model_has_counterfactuals(reader->model)) {
        note(out, "%s has a fixed embedding: it cannot encode the cells of %s", reader->name,
             owner->name);
        return CPT_OK;
    }
    if (!owner->cells->has_counts) {
        note(out, "%s has no counts that %s could encode", owner->name, reader->name);
        return CPT_OK;
    }
    *set = (cpt_common_set){.of = of, .n_cells = owner->cells->n_cells};
    CPT_TRY(sample_cells(owner, of, max_cells, &rows, &n, ctx, e));
    CPT_TRY(encode_by(reader, owner, table, n, rows, set, &encoded, ctx, e));
    if (!encoded) {
        note(out, "none of the genes of %s's model is among those of %s: are the ids of one kind?",
             reader->name, owner->name);
        goto done;
    }
    CPT_TRY(cpt_alloc(&encoded_rows, (size_t)n, sizeof *encoded_rows, e));
    for (int64_t i = 0; i < n; i++)
        if (encoded->usable[i]) {
            rows[kept] = rows[i];
            encoded_rows[kept++] = i;
        }
    if (kept < LEAST_CELLS) {
        note(out, "only %lld cells of %s can be encoded by %s", (long long)kept, owner->name,
             reader->name);
        goto done;
    }
    out->n_sets++; /* before anything of it is owned */
    CPT_TRY(take_labels(owner, kept, rows, set, e));
    if (of == 'a') status = take_set(a, a->u, rows, b, encoded, encoded_rows, kept, set, e);
    else status = take_set(a, encoded, encoded_rows, b, b->u, rows, kept, set, e);
    if (2 * set->n_found < set->n_model)
        note(out,
             "%s has only %d of the %d genes of %s's model; the others count as 0, which may "
             "distort "
             "what it sees",
             owner->name, set->n_found, set->n_model, reader->name);
done:
    cpt_activations_free(encoded);
    free(rows);
    free(encoded_rows);
    return status;
}

/* ---- the same latent space? ---- */

static cpt_status model_checksum(const cpt_compared *c, char hex[65], cpt_err *e)
{
    json_t *record = NULL;
    char path[PATH_LIMIT];
    cpt_status status = cpt_store_read_json(c->study, "cache/model.json", "model", &record, e);
    if (status) return status;
    const char *where = json_string_value(json_object_get(record, "path"));
    hex[0] = '\0';
    if (!where) status = CPT_OK;
    else if (where[0] == '/') status = cpt_sha256_path(where, hex, e);
    else {
        status = cpt_study_path(c->study, where, path, sizeof path, e);
        if (status == CPT_OK) status = cpt_sha256_path(path, hex, e);
    }
    json_decref(record);
    return status;
}

/* Whether all common cells have the same embedding in both, to rounding. */
static bool embeddings_agree(const cpt_compared *a, const cpt_compared *b, const name_pairs *pairs)
{
    const int32_t dim = a->model->dim;
    double worst = 0, square = 0;
    int64_t n = 0;
    for (int64_t i = 0; i < pairs->n; i++) {
        const float *x = a->embedding + pairs->a[i] * dim, *y = b->embedding + pairs->b[i] * dim;
        for (int32_t j = 0; j < dim; j++) {
            if (!isfinite(x[j]) || !isfinite(y[j])) continue;
            worst = fmax(worst, fabs((double)x[j] - y[j]));
            square += (double)x[j] * x[j];
            n++;
        }
    }
    return n > 0 && worst <= 1e-4 * sqrt(square / (double)n);
}

static cpt_status is_same_space(const cpt_compared *a, const cpt_compared *b,
                                const name_pairs *pairs, cpt_common *out, cpt_err *e)
{
    char one[65], two[65];
    if (a->model->dim != b->model->dim || strcmp(a->model->ops->kind, b->model->ops->kind) != 0)
        return CPT_OK;
    if (strcmp(a->model->ops->kind, "fixed") != 0) {
        cpt_status status = model_checksum(a, one, e);
        if (status == CPT_OK) status = model_checksum(b, two, e);
        if (status) return status;
        out->same_space = one[0] && strcmp(one, two) == 0;
        out->same_space_why = "same model file";
    }
    if (!out->same_space && out->same_cells && embeddings_agree(a, b, pairs)) {
        out->same_space = true;
        out->same_space_why = "same embedding of the same cells";
    }
    return CPT_OK;
}

cpt_status cpt_common_find(const cpt_compared *a, const cpt_compared *b,
                           const cpt_gene_table *table, int64_t max_cells, cpt_common *out,
                           const cpt_context *ctx, cpt_err *e)
{
    name_pairs pairs = {0};
    cpt_status status;
    *out = (cpt_common){.notes = json_array()};
    CPT_TRY(pair_names(a->cells, b->cells, &pairs, e));
    CPT_TRY(are_same_cells(a, b, table, &pairs, out, e));
    CPT_TRY(is_same_space(a, b, &pairs, out, e));
    if (out->same_cells) {
        CPT_TRY(take_shared(a, b, &pairs, out, e));
    } else {
        CPT_TRY(take_encoded(a, b, table, 'a', max_cells, out, ctx, e));
        CPT_TRY(take_encoded(a, b, table, 'b', max_cells, out, ctx, e));
    }
done:
    free(pairs.a);
    free(pairs.b);
    if (status) cpt_common_free(out);
    return status;
}

void cpt_common_free(cpt_common *c)
{
    for (int32_t i = 0; i < c->n_sets; i++) {
        csr_free(&c->sets[i].a);
        csr_free(&c->sets[i].b);
        free(c->sets[i].strata);
    }
    json_decref(c->notes);
    *c = (cpt_common){0};
}

/* The flat cache of a study, opened for reading: see cells.h for the files.
 *
 * Problem: every stage and the server trust the arrays they map, and the folder may have been
 * damaged or made by someone else.
 * Method: all sizes, every index and every code are checked here, in one linear pass over the
 * mapped files, before anybody sees a pointer.
 * Traps: `file` names in cells.json must not lead out of the folder; names are borrowed from the
 * parsed JSON, which therefore lives as long as the cells. */
#include "io/cells.h"
#include "base/memory.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_LIMIT = 4096, MANY = 1 << 20, MANY_ROWS = 4096 };

struct cells_maps {
    json_t *root;
    cpt_npy *arrays;
    size_t n_arrays, capacity;
};

typedef struct opening {
    const char *folder;
    char json_path[PATH_LIMIT];
    cpt_cells *cells;
    bool shallow;
} opening;

const cpt_column *cpt_table_find(const cpt_table *t, const char *name)
{
    for (int32_t i = 0; i < t->n_columns; i++)
        if (strcmp(t->columns[i].name, name) == 0) return &t->columns[i];
    return NULL;
}

const cpt_obsm *cpt_cells_obsm(const cpt_cells *cells, const char *name)
{
    for (int32_t i = 0; i < cells->n_obsm; i++)
        if (strcmp(cells->obsm[i].name, name) == 0) return &cells->obsm[i];
    return NULL;
}

static void free_table(cpt_table *t)
{
    for (int32_t i = 0; i < t->n_columns; i++) cpt_strings_free(&t->columns[i].categories);
    free(t->columns);
}

void cpt_cells_free(cpt_cells *cells)
{
    if (!cells) return;
    free_table(&cells->obs);
    free_table(&cells->var);
    free(cells->obsm);
    cpt_strings_free(&cells->notes);
    if (cells->owned) {
        for (size_t i = 0; i < cells->owned->n_arrays; i++) cpt_npy_close(&cells->owned->arrays[i]);
        free(cells->owned->arrays);
        json_decref(cells->owned->root);
        free(cells->owned);
    }
    free(cells);
}

void cpt_cells_forget(const cpt_cells *cells)
{
    for (size_t i = 0; cells->owned && i < cells->owned->n_arrays; i++)
        cpt_map_forget(&cells->owned->arrays[i].map);
}

void cpt_cells_totals(const cpt_cells *cells, double *totals)
{
    const cpt_csr *m = &cells->by_cell;
#pragma omp parallel for schedule(dynamic, 1024) if (cells->n_cells > MANY_ROWS)
    for (int64_t i = 0; i < cells->n_cells; i++) {
        totals[i] = 0;
        for (int64_t k = m->indptr[i]; k < m->indptr[i + 1]; k++) totals[i] += (double)m->values[k];
    }
    cpt_cells_forget(cells);
}

static cpt_status damaged(const char *file, cpt_err *e, const char *what)
{
    return cpt_fail(e, CPT_ERR_FORMAT,
                    "%s: %s; the cache is damaged, delete its folder and import again", file, what);
}

/* Maps folder/name and stores its elements in *data (any pointer type); lives until cpt_cells_free.
 */
static cpt_status map_array(opening *o, const char *name, cpt_dtype dtype, int n_dims,
                            const int64_t *shape, void *data, cpt_err *e)
{
    char path[PATH_LIMIT];
    struct cells_maps *m = o->cells->owned;
    if (strchr(name, '/') || name[0] == '.')
        return damaged(o->json_path, e, "a file name leads elsewhere");
    cpt_status status = cpt_path_join(path, sizeof path, o->folder, name, e);
    if (status == CPT_OK)
        status = cpt_grow(&m->arrays, &m->capacity, m->n_arrays + 1, sizeof *m->arrays, e);
    if (status == CPT_OK)
        status = cpt_npy_open_as(path, dtype, n_dims, shape, &m->arrays[m->n_arrays], e);
    if (status == CPT_OK) memcpy(data, &m->arrays[m->n_arrays++].data, sizeof(void *));
    return status;
}

/* ---- counts ---- */

static cpt_status check_rows(const cpt_csr *m, int64_t nnz, const char *file, cpt_err *e)
{
    if (m->indptr[0] != 0 || m->indptr[m->n_rows] != nnz)
        return damaged(file, e, "the row pointers do not span the entries");
    for (int64_t i = 0; i < m->n_rows; i++)
        if (m->indptr[i + 1] < m->indptr[i]) return damaged(file, e, "the row pointers decrease");
    bool all_ordered = true;
#pragma omp parallel for schedule(dynamic, 1024) reduction(&& : all_ordered) if (nnz > MANY)
    for (int64_t i = 0; i < m->n_rows; i++) {
        int64_t first = m->indptr[i], last = m->indptr[i + 1];
        if (first == last) continue;
        int ordered = m->indices[first] >= 0 && m->indices[last - 1] < m->n_cols;
        for (int64_t p = first + 1; p < last; p++) ordered &= m->indices[p - 1] < m->indices[p];
        all_ordered = all_ordered && ordered;
    }
    return all_ordered ? CPT_OK
                       : damaged(file, e, "column indices are out of range or out of order");
}

static cpt_status open_side(opening *o, const char *stem, int64_t n_rows, int64_t n_cols,
                            int64_t nnz, cpt_csr *m, cpt_err *e)
{
    cpt_status status;
    char name[64];
    *m = (cpt_csr){.n_rows = n_rows, .n_cols = n_cols};
    snprintf(name, sizeof name, "%s.indptr.npy", stem);
    CPT_TRY(map_array(o, name, CPT_I64, 1, &(int64_t){n_rows + 1}, &m->indptr, e));
    snprintf(name, sizeof name, "%s.values.npy", stem);
    CPT_TRY(map_array(o, name, CPT_F32, 1, &nnz, &m->values, e));
    snprintf(name, sizeof name, "%s.indices.npy", stem);
    CPT_TRY(map_array(o, name, CPT_I32, 1, &nnz, &m->indices, e));
    char path[PATH_LIMIT];
    CPT_TRY(cpt_path_join(path, sizeof path, o->folder, name, e));
    if (!o->shallow) CPT_TRY(check_rows(m, nnz, path, e));
    cpt_cells_forget(o->cells);
done:
    return status;
}

/* ---- names, columns, obsm ---- */

static cpt_status open_strings(opening *o, const char *stem, int64_t n, cpt_strings *s, cpt_err *e)
{
    cpt_status status;
    char name[64];
    const int64_t *offsets;
    const char *bytes;
    snprintf(name, sizeof name, "%s.offsets.npy", stem);
    CPT_TRY(map_array(o, name, CPT_I64, 1, &(int64_t){n + 1}, &offsets, e));
    snprintf(name, sizeof name, "%s.bytes.npy", stem);
    CPT_TRY(map_array(o, name, CPT_U8, 1, &(int64_t){-1}, &bytes, e));
    struct cells_maps *m = o->cells->owned;
    int64_t length = m->arrays[m->n_arrays - 1].n_items;
    bool good = offsets[0] == 0 && offsets[n] == length;
    for (int64_t i = 0; good && i < n; i++)
        good = offsets[i + 1] > offsets[i] && offsets[i + 1] <= length &&
               bytes[offsets[i + 1] - 1] == '\0';
    if (!good) return damaged(o->folder, e, "the list of names is inconsistent");
    *s = (cpt_strings){.blob = (char *)(uintptr_t)bytes,
                       .offsets = (int64_t *)(uintptr_t)offsets,
                       .n = n,
                       .blob_length = (size_t)length};
done:
    return status;
}

static cpt_status copy_texts(const json_t *list, cpt_strings *out, const char *file, cpt_err *e)
{
    size_t i;
    json_t *item;
    if (!json_is_array(list)) return damaged(file, e, "a list of texts is missing");
    json_array_foreach(list, i, item) {
        if (!json_is_string(item)) return damaged(file, e, "a text is not a text");
        cpt_status status =
            cpt_strings_add(out, json_string_value(item), json_string_length(item), e);
        if (status) return status;
    }
    return CPT_OK;
}

static cpt_status open_column(opening *o, const json_t *item, int64_t n, cpt_column *c, cpt_err *e)
{
    cpt_status status;
    const char *file = json_string_value(json_object_get(item, "file"));
    const char *kind = json_string_value(json_object_get(item, "kind"));
    c->name = json_string_value(json_object_get(item, "name"));
    if (!file || !kind || !c->name) return damaged(o->json_path, e, "a column is not described");
    c->kind = strcmp(kind, "category") == 0 ? CPT_COLUMN_CATEGORY : CPT_COLUMN_NUMBER;
    if (c->kind == CPT_COLUMN_NUMBER) return map_array(o, file, CPT_F64, 1, &n, &c->numbers, e);
    CPT_TRY(map_array(o, file, CPT_I32, 1, &n, &c->codes, e));
    CPT_TRY(copy_texts(json_object_get(item, "categories"), &c->categories, o->json_path, e));
    for (int64_t i = 0; i < n; i++)
        if (c->codes[i] < -1 || c->codes[i] >= c->categories.n)
            return damaged(o->json_path, e, "a category code is out of range");
done:
    return status;
}

static cpt_status open_table(opening *o, const char *key, int64_t n, cpt_table *t, cpt_err *e)
{
    const json_t *list = json_object_get(o->cells->owned->root, key);
    if (!json_is_array(list)) return damaged(o->json_path, e, "obs or var is missing");
    size_t n_columns = json_array_size(list);
    cpt_status status = cpt_alloc(&t->columns, n_columns, sizeof *t->columns, e);
    if (status) return status;
    t->n_rows = n;
    t->n_columns = (int32_t)n_columns;
    for (size_t i = 0; i < n_columns && status == CPT_OK; i++)
        status = open_column(o, json_array_get(list, i), n, &t->columns[i], e);
    return status;
}

static cpt_status open_obsm(opening *o, cpt_err *e)
{
    cpt_cells *c = o->cells;
    const json_t *list = json_object_get(c->owned->root, "obsm");
    if (!json_is_array(list)) return damaged(o->json_path, e, "obsm is missing");
    size_t n = json_array_size(list);
    cpt_status status = cpt_alloc(&c->obsm, n, sizeof *c->obsm, e);
    c->n_obsm = status ? 0 : (int32_t)n;
    for (size_t i = 0; i < n && status == CPT_OK; i++) {
        const json_t *item = json_array_get(list, i);
        const char *file = json_string_value(json_object_get(item, "file"));
        cpt_obsm *m = &c->obsm[i];
        m->name = json_string_value(json_object_get(item, "name"));
        m->width = json_integer_value(json_object_get(item, "width"));
        if (!file || !m->name || m->width < 0)
            return damaged(o->json_path, e, "obsm is not described");
        status = map_array(o, file, CPT_F32, 2, (int64_t[]){c->n_cells, m->width}, &m->values, e);
    }
    return status;
}

/* ---- cells.json ---- */

static cpt_status read_sizes(opening *o, int64_t *nnz, cpt_err *e)
{
    cpt_cells *c = o->cells;
    const json_t *root = c->owned->root;
    int64_t n_cells = json_integer_value(json_object_get(root, "n_cells"));
    int64_t n_genes = json_integer_value(json_object_get(root, "n_genes"));
    *nnz = json_integer_value(json_object_get(root, "nnz"));
    if (json_integer_value(json_object_get(root, "version")) != 1)
        return cpt_fail(
            e, CPT_ERR_UNSUPPORTED,
            "%s: made by another version of this program; delete the folder and import again",
            o->json_path);
    if (n_cells < 0 || n_genes < 0 || *nnz < 0 || n_cells >= INT32_MAX || n_genes >= INT32_MAX)
        return damaged(o->json_path, e, "the sizes are out of range");
    c->n_cells = n_cells;
    c->n_genes = (int32_t)n_genes;
    c->counts_from = json_string_value(json_object_get(root, "counts_from"));
    c->has_counts = c->counts_from != NULL;
    c->integer = json_is_true(json_object_get(root, "integer"));
    return CPT_OK;
}

static cpt_status load_json(opening *o, cpt_err *e)
{
    json_error_t error;
    cpt_status status =
        cpt_path_join(o->json_path, sizeof o->json_path, o->folder, "cells.json", e);
    if (status) return status;
    if (!cpt_path_exists(o->json_path))
        return cpt_fail(e, CPT_ERR_IO,
                        "%s: not a cache of cells (no cells.json); import the cells again",
                        o->folder);
    o->cells->owned->root = json_load_file(o->json_path, JSON_REJECT_DUPLICATES, &error);
    if (json_is_object(o->cells->owned->root)) return CPT_OK;
    return damaged(o->json_path, e, "not a JSON object");
}

static cpt_status open_cells(const char *folder, bool shallow, cpt_cells **cells, cpt_err *e)
{
    cpt_status status;
    int64_t nnz;
    opening o = {.folder = folder, .shallow = shallow};
    *cells = NULL;
    CPT_TRY(cpt_alloc(&o.cells, 1, sizeof *o.cells, e));
    cpt_cells *c = o.cells;
    CPT_TRY(cpt_alloc(&c->owned, 1, sizeof *c->owned, e));
    CPT_TRY(load_json(&o, e));
    CPT_TRY(read_sizes(&o, &nnz, e));
    CPT_TRY(open_strings(&o, "cell_ids", c->n_cells, &c->cell_ids, e));
    CPT_TRY(open_strings(&o, "gene_ids", c->n_genes, &c->gene_ids, e));
    CPT_TRY(open_table(&o, "obs", c->n_cells, &c->obs, e));
    CPT_TRY(open_table(&o, "var", c->n_genes, &c->var, e));
    CPT_TRY(open_obsm(&o, e));
    CPT_TRY(copy_texts(json_object_get(c->owned->root, "notes"), &c->notes, o.json_path, e));
    if (c->has_counts) {
        CPT_TRY(open_side(&o, "counts_by_cell", c->n_cells, c->n_genes, nnz, &c->by_cell, e));
        CPT_TRY(open_side(&o, "counts_by_gene", c->n_genes, c->n_cells, nnz, &c->by_gene, e));
    }
    *cells = c;
    return CPT_OK;
done:
    cpt_cells_free(o.cells);
    return status;
}

cpt_status cpt_cells_open(const char *folder, cpt_cells **cells, cpt_err *e)
{
    return open_cells(folder, false, cells, e);
}

cpt_status cpt_cells_open_shallow(const char *folder, cpt_cells **cells, cpt_err *e)
{
    return open_cells(folder, true, cells, e);
}

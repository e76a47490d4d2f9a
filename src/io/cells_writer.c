/* The flat cache of a study, written once by whichever reader brings the cells in.
 *
 * Problem: rows arrive one after the other and may be more than memory holds; the stages want them
 * by cell and by gene.
 * Method: the side that arrives is streamed to .npy files. Blocks of rows that are as the cache wants
 * them (nearly all are) are only looked through, by all threads, and appended as they are; the
 * others go row by row. The other side is its transpose (transpose.c). O(nnz).
 * Traps: explicit zeros must vanish (a stored zero is not an expressed gene); equal entries must
 * not be added up silently; cells.json is written last, so that a killed writer leaves no cache
 * behind. The counts are not waited for on the disk: after a power cut they may be cut off, which
 * shows when they are opened. Bytes depend on the input only, not on threads. */
#include "io/cells.h"
#include "base/crew.h"
#include "base/memory.h"
#include "io/transpose.h"

#include <float.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_LIMIT = 4096, SLICES_PER_THREAD = 4 };

typedef struct entry {
    int32_t index;
    float value;
} entry;

struct cpt_cells_writer {
    char *folder;
    json_t *root, *obs, *var, *obsm, *notes;
    bool begun, rows_are_genes, integer;
    cpt_npy_writer indptr, indices, values;
    int64_t n_rows, nnz;
    int32_t largest_index; /* -1 before the first entry */
    entry *row;            /* scratch: one row */
    size_t row_capacity;
    int32_t *row_indices;
    float *row_values;
    size_t indices_capacity, values_capacity;
    int64_t n_cells, n_genes; /* -1 until _ids */
    int n_threads;
};

static cpt_status no_memory(cpt_err *e)
{
    return cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
}

cpt_cells_writer *cpt_cells_writer_new(const char *folder, cpt_err *e)
{
    if (cpt_remove_tree(folder, e) || cpt_make_folder(folder, e)) return NULL;
    cpt_cells_writer *w = calloc(1, sizeof *w);
    if (!w) {
        no_memory(e);
        return NULL;
    }
    w->folder = cpt_strdup(folder);
    w->root = json_object();
    w->obs = json_array();
    w->var = json_array();
    w->obsm = json_array();
    w->notes = json_array();
    w->integer = true;
    w->largest_index = -1;
    w->n_cells = w->n_genes = -1;
    w->n_threads = 1;
    if (w->folder && w->root && w->obs && w->var && w->obsm && w->notes) return w;
    cpt_cells_writer_abandon(w);
    no_memory(e);
    return NULL;
}

void cpt_cells_writer_abandon(cpt_cells_writer *w)
{
    if (!w) return;
    cpt_npy_abandon(&w->indptr);
    cpt_npy_abandon(&w->indices);
    cpt_npy_abandon(&w->values);
    json_decref(w->root);
    json_decref(w->obs);
    json_decref(w->var);
    json_decref(w->obsm);
    json_decref(w->notes);
    free(w->row);
    free(w->row_indices);
    free(w->row_values);
    free(w->folder);
    free(w);
}

/* ---- the three files of one side ---- */

static const char *side_name(bool by_gene)
{
    return by_gene ? "counts_by_gene" : "counts_by_cell";
}

static cpt_status side_path(const cpt_cells_writer *w, bool by_gene, const char *part,
                            char path[PATH_LIMIT], cpt_err *e)
{
    char name[64];
    snprintf(name, sizeof name, "%s.%s.npy", side_name(by_gene), part);
    return cpt_path_join(path, PATH_LIMIT, w->folder, name, e);
}

static cpt_status begin_side(const cpt_cells_writer *w, bool by_gene, cpt_npy_writer *indptr,
                             cpt_npy_writer *indices, cpt_npy_writer *values, cpt_err *e)
{
    cpt_status status;
    char path[PATH_LIMIT];
    const int64_t open_length = -1, zero = 0;
    CPT_TRY(side_path(w, by_gene, "indptr", path, e));
    CPT_TRY(cpt_npy_begin(indptr, path, CPT_I64, 1, &open_length, e));
    CPT_TRY(side_path(w, by_gene, "indices", path, e));
    CPT_TRY(cpt_npy_begin(indices, path, CPT_I32, 1, &open_length, e));
    CPT_TRY(side_path(w, by_gene, "values", path, e));
    CPT_TRY(cpt_npy_begin(values, path, CPT_F32, 1, &open_length, e));
    indptr->out.relaxed = indices->out.relaxed = values->out.relaxed = true;
    CPT_TRY(cpt_npy_append(indptr, &zero, 1, e));
done:
    return status;
}

static cpt_status finish_side(cpt_npy_writer *indptr, cpt_npy_writer *indices,
                              cpt_npy_writer *values, cpt_err *e)
{
    cpt_status status;
    CPT_TRY(cpt_npy_finish(indptr, e));
    CPT_TRY(cpt_npy_finish(indices, e));
    CPT_TRY(cpt_npy_finish(values, e));
done:
    return status;
}

cpt_status cpt_cells_writer_begin(cpt_cells_writer *w, bool rows_are_genes, cpt_err *e)
{
    cpt_npy_abandon(&w->indptr);
    cpt_npy_abandon(&w->indices);
    cpt_npy_abandon(&w->values);
    w->rows_are_genes = rows_are_genes;
    w->integer = true;
    w->n_rows = w->nnz = 0;
    w->largest_index = -1;
    w->begun = true;
    return begin_side(w, rows_are_genes, &w->indptr, &w->indices, &w->values, e);
}

void cpt_cells_writer_threads(cpt_cells_writer *w, int n_threads)
{
    w->n_threads = n_threads < 1 ? 1 : n_threads > CPT_CREW_MOST ? CPT_CREW_MOST : n_threads;
}

bool cpt_cells_writer_integer(const cpt_cells_writer *w)
{
    return w->integer;
}

int64_t cpt_cells_writer_nnz(const cpt_cells_writer *w)
{
    return w->nnz;
}

/* ---- one row ---- */

static int compare_entries(const void *a, const void *b)
{
    int32_t x = ((const entry *)a)->index, y = ((const entry *)b)->index;
    return (x > y) - (x < y);
}

static cpt_status bad_entry(const cpt_cells_writer *w, cpt_err *e, int32_t column, const char *what)
{
    return cpt_fail(e, CPT_ERR_DATA, "row %lld, column %d: %s", (long long)w->n_rows, (int)column,
                    what);
}

static cpt_status check_values(cpt_cells_writer *w, int32_t n, const int32_t *indices,
                               const float *values, cpt_err *e)
{
    bool whole = true;
    for (int32_t i = 0; i < n; i++) {
        float v = values[i];
        if (isnan(v)) return bad_entry(w, e, indices[i], "the count is not a number (NaN)");
        if (v < 0) return bad_entry(w, e, indices[i], "the count is negative");
        if (isinf(v)) return bad_entry(w, e, indices[i], "the count is infinite");
        whole &= v == truncf(v);
    }
    w->integer &= whole;
    return CPT_OK;
}

/* Copies the row without zeros and in ascending order into row_indices and row_values. */
static cpt_status order_row(cpt_cells_writer *w, int32_t n, const int32_t *indices,
                            const float *values, int32_t *n_kept, cpt_err *e)
{
    cpt_status status;
    int32_t kept = 0;
    CPT_TRY(cpt_grow(&w->row, &w->row_capacity, (size_t)n, sizeof *w->row, e));
    for (int32_t i = 0; i < n; i++) w->row[i] = (entry){indices[i], values[i]};
    qsort(w->row, (size_t)n, sizeof *w->row, compare_entries);
    for (int32_t i = 0; i < n; i++) {
        if (i && w->row[i].index == w->row[i - 1].index)
            return cpt_fail(e, CPT_ERR_FORMAT,
                            "row %lld, column %d: the entry occurs twice; add such entries "
                            "up (sum_duplicates) and write the file again",
                            (long long)w->n_rows, (int)w->row[i].index);
        if (w->row[i].value == 0) continue;
        w->row_indices[kept] = w->row[i].index;
        w->row_values[kept++] = w->row[i].value;
    }
    *n_kept = kept;
done:
    return status;
}

/* The common case: ascending already. False when it is not. */
static bool copy_row(cpt_cells_writer *w, int32_t n, const int32_t *indices, const float *values,
                     int32_t *n_kept)
{
    int32_t kept = 0, last = -1;
    for (int32_t i = 0; i < n; i++) {
        if (indices[i] <= last) return false;
        last = indices[i];
        w->row_indices[kept] = indices[i];
        w->row_values[kept] = values[i];
        kept += values[i] != 0;
    }
    *n_kept = kept;
    return true;
}

cpt_status cpt_cells_writer_row(cpt_cells_writer *w, int32_t n, const int32_t *indices,
                                const float *values, cpt_err *e)
{
    cpt_status status = CPT_OK;
    int32_t kept = 0;
    if (!w->begun) CPT_TRY(cpt_cells_writer_begin(w, false, e));
    for (int32_t i = 0; i < n; i++)
        if (indices[i] < 0)
            return cpt_fail(e, CPT_ERR_FORMAT, "row %lld: column index %d is negative",
                            (long long)w->n_rows, (int)indices[i]);
    CPT_TRY(check_values(w, n, indices, values, e));
    CPT_TRY(
        cpt_grow(&w->row_indices, &w->indices_capacity, (size_t)n + 1, sizeof *w->row_indices, e));
    CPT_TRY(cpt_grow(&w->row_values, &w->values_capacity, (size_t)n + 1, sizeof *w->row_values, e));
    if (!copy_row(w, n, indices, values, &kept))
        CPT_TRY(order_row(w, n, indices, values, &kept, e));
    CPT_TRY(cpt_npy_append(&w->indices, w->row_indices, kept, e));
    CPT_TRY(cpt_npy_append(&w->values, w->row_values, kept, e));
    w->nnz += kept;
    w->n_rows++;
    if (kept && w->row_indices[kept - 1] > w->largest_index)
        w->largest_index = w->row_indices[kept - 1];
    CPT_TRY(cpt_npy_append(&w->indptr, &w->nnz, 1, e));
done:
    return status;
}

/* ---- many rows ---- */

typedef struct slice {
    bool clean, integer;
    int32_t largest_index; /* -1 = no entry */
} slice;

typedef struct many_rows {
    cpt_cells_writer *w;
    int64_t n, n_slices;
    const int64_t *indptr; /* [n + 1] */
    const int32_t *indices; /* of the first row, and on */
    const float *values;
    slice *slices; /* [n_slices] */
    cpt_err errors[2];
} many_rows;

/* Finite, above zero; *integer: all whole numbers. Without branches, for the vectoriser; beyond 2^23
 * every float is whole. */
static bool are_counts(const float *values, int64_t n, bool *integer)
{
    int good = 1, whole = 1;
    for (int64_t i = 0; i < n; i++) {
        float v = values[i], small = v < 8388608.0f ? v : 0.0f;
        good &= (v > 0) & (v <= FLT_MAX);
        small = small > 0 ? small : 0.0f; /* NaN and negative ones are no good anyway */
        whole &= (float)(int32_t)small == small;
    }
    *integer &= whole;
    return good;
}

static bool ascend(const int32_t *indices, int64_t n)
{
    int good = n == 0 || indices[0] >= 0;
    for (int64_t i = 1; i < n; i++) good &= indices[i - 1] < indices[i];
    return good;
}

static void look_through(void *data, int64_t item, int thread)
{
    (void)thread;
    many_rows *r = data;
    int64_t first = r->n * item / r->n_slices, last = r->n * (item + 1) / r->n_slices;
    slice s = {.clean = true, .integer = true, .largest_index = -1};
    int64_t base = r->indptr[0], p = r->indptr[first];
    s.clean = are_counts(r->values + (p - base), r->indptr[last] - p, &s.integer);
    for (int64_t i = first; i < last && s.clean; i++) {
        int64_t n = r->indptr[i + 1] - r->indptr[i];
        const int32_t *indices = r->indices + (r->indptr[i] - base);
        s.clean = ascend(indices, n);
        if (n && indices[n - 1] > s.largest_index) s.largest_index = indices[n - 1];
    }
    r->slices[item] = s;
}

static void append_part(void *data, int64_t part, int thread)
{
    (void)thread;
    many_rows *r = data;
    int64_t n = r->indptr[r->n] - r->indptr[0];
    cpt_err *e = &r->errors[part];
    e->code = part ? cpt_npy_append(&r->w->values, r->values, n, e)
                   : cpt_npy_append(&r->w->indices, r->indices, n, e);
}

static cpt_status append_rows(many_rows *r, cpt_err *e)
{
    cpt_cells_writer *w = r->w;
    cpt_status status;
    cpt_crew(w->n_threads, 2, append_part, r);
    for (int i = 0; i < 2; i++)
        if (r->errors[i].code) {
            if (e) *e = r->errors[i];
            return r->errors[i].code;
        }
    for (int64_t i = 0; i < r->n; i++) {
        w->nnz += r->indptr[i + 1] - r->indptr[i];
        CPT_TRY(cpt_npy_append(&w->indptr, &w->nnz, 1, e));
    }
    for (int64_t i = 0; i < r->n_slices; i++) {
        w->integer &= r->slices[i].integer;
        if (r->slices[i].largest_index > w->largest_index)
            w->largest_index = r->slices[i].largest_index;
    }
    w->n_rows += r->n;
    status = CPT_OK;
done:
    return status;
}

cpt_status cpt_cells_writer_rows(cpt_cells_writer *w, int64_t n, const int64_t *indptr,
                                 const int32_t *indices, const float *values, cpt_err *e)
{
    cpt_status status = CPT_OK;
    bool clean = true;
    many_rows r = {.w = w, .n = n, .indptr = indptr, .indices = indices, .values = values};
    r.n_slices = (int64_t)w->n_threads * SLICES_PER_THREAD;
    if (!w->begun) CPT_TRY(cpt_cells_writer_begin(w, false, e));
    CPT_TRY(cpt_alloc(&r.slices, (size_t)r.n_slices, sizeof *r.slices, e));
    cpt_crew(w->n_threads, r.n_slices, look_through, &r);
    for (int64_t i = 0; i < r.n_slices; i++) clean &= r.slices[i].clean;
    if (clean) {
        CPT_TRY(append_rows(&r, e));
        goto done;
    }
    for (int64_t i = 0; i < n; i++)
        CPT_TRY(cpt_cells_writer_row(w, (int32_t)(indptr[i + 1] - indptr[i]),
                                     indices + (indptr[i] - indptr[0]),
                                     values + (indptr[i] - indptr[0]), e));
done:
    free(r.slices);
    return status;
}

/* ---- names ---- */

static cpt_status write_strings(const cpt_cells_writer *w, const char *stem, const cpt_strings *s,
                                cpt_err *e)
{
    cpt_status status;
    char path[PATH_LIMIT], name[64];
    int64_t *offsets = NULL;
    CPT_TRY(cpt_alloc(&offsets, (size_t)s->n + 1, sizeof *offsets, e));
    if (s->n) memcpy(offsets, s->offsets, (size_t)s->n * sizeof *offsets);
    offsets[s->n] = (int64_t)s->blob_length;
    snprintf(name, sizeof name, "%s.offsets.npy", stem);
    CPT_TRY(cpt_path_join(path, sizeof path, w->folder, name, e));
    CPT_TRY(cpt_npy_write(path, CPT_I64, 1, &(int64_t){s->n + 1}, offsets, e));
    snprintf(name, sizeof name, "%s.bytes.npy", stem);
    CPT_TRY(cpt_path_join(path, sizeof path, w->folder, name, e));
    CPT_TRY(cpt_npy_write(path, CPT_U8, 1, &offsets[s->n], s->blob, e));
done:
    free(offsets);
    return status;
}

/* The first free "NAME-k"; `next` remembers where the search for this name stopped. */
static cpt_status unique_name(const cpt_strings *s, const cpt_index *names, cpt_index *given,
                              int64_t row, int64_t *next, cpt_text *name, cpt_err *e)
{
    const char *base = cpt_strings_get(s, row);
    int64_t first = cpt_index_get(names, base);
    do {
        name->length = 0;
        cpt_text_addf(name, "%s-%lld", base, (long long)++next[first]);
        cpt_status status = cpt_text_status(name, e);
        if (status) return status;
    } while (cpt_index_get(names, name->bytes) >= 0 || cpt_index_get(given, name->bytes) >= 0);
    return CPT_OK;
}

/* Fills `out` with the names of `s`, later ones of equal names renamed; counts those in *n_renamed.
 */
static cpt_status make_unique(const cpt_strings *s, cpt_strings *out, int64_t *n_renamed,
                              cpt_err *e)
{
    cpt_status status = CPT_OK;
    cpt_text name = {0};
    int64_t *next = NULL, first;
    char **made = NULL;
    cpt_index *names = cpt_index_new((size_t)s->n, e), *given = cpt_index_new(16, e);
    *n_renamed = 0;
    if (!names || !given) {
        status = CPT_ERR_MEMORY;
        goto done;
    }
    CPT_TRY(cpt_alloc(&next, (size_t)s->n, sizeof *next, e));
    CPT_TRY(cpt_alloc(&made, (size_t)s->n, sizeof *made, e));
    for (int64_t i = 0; i < s->n; i++)
        CPT_TRY(cpt_index_add(names, cpt_strings_get(s, i), i, NULL, e));
    for (int64_t i = 0; i < s->n; i++) {
        const char *text = cpt_strings_get(s, i);
        first = cpt_index_get(names, text);
        if (first != i) {
            CPT_TRY(unique_name(s, names, given, i, next, &name, e));
            if (!(made[i] = cpt_strdup(name.bytes))) CPT_TRY(no_memory(e));
            CPT_TRY(cpt_index_add(given, made[i], i, NULL, e));
            text = made[i];
            ++*n_renamed;
        }
        CPT_TRY(cpt_strings_add(out, text, strlen(text), e));
    }
done:
    for (int64_t i = 0; made && i < s->n; i++) free(made[i]);
    free(made);
    free(next);
    cpt_text_free(&name);
    cpt_index_free(names);
    cpt_index_free(given);
    return status;
}

static cpt_status write_ids(cpt_cells_writer *w, const char *stem, const char *what,
                            const cpt_strings *ids, cpt_err *e)
{
    cpt_status status;
    cpt_strings unique = {0};
    char note[160];
    int64_t n_renamed;
    for (int64_t i = 0; i < ids->n; i++)
        if (*cpt_strings_get(ids, i) == '\0')
            return cpt_fail(e, CPT_ERR_DATA, "the name of %s %lld (from 0) is empty; name every %s",
                            what, (long long)i, what);
    CPT_TRY(make_unique(ids, &unique, &n_renamed, e));
    CPT_TRY(write_strings(w, stem, &unique, e));
    if (n_renamed) {
        snprintf(note, sizeof note,
                 "%lld %s name%s occurred before and got a suffix (-1, -2, ...).",
                 (long long)n_renamed, what, n_renamed == 1 ? "" : "s");
        CPT_TRY(cpt_cells_writer_note(w, note, e));
    }
done:
    cpt_strings_free(&unique);
    return status;
}

cpt_status cpt_cells_writer_ids(cpt_cells_writer *w, const cpt_strings *cell_ids,
                                const cpt_strings *gene_ids, cpt_err *e)
{
    cpt_status status;
    w->n_cells = cell_ids->n;
    w->n_genes = gene_ids->n;
    CPT_TRY(write_ids(w, "cell_ids", "cell", cell_ids, e));
    CPT_TRY(write_ids(w, "gene_ids", "gene", gene_ids, e));
done:
    return status;
}

/* ---- columns, obsm, notes ---- */

static json_t *texts_as_json(const cpt_strings *s)
{
    json_t *list = json_array();
    for (int64_t i = 0; list && i < s->n; i++)
        if (json_array_append_new(list, json_string(cpt_strings_get(s, i)))) {
            json_decref(list);
            return NULL;
        }
    return list;
}

cpt_status cpt_cells_writer_column(cpt_cells_writer *w, char axis, const cpt_column *column,
                                   int64_t n, cpt_err *e)
{
    char file[64], path[PATH_LIMIT];
    bool number = column->kind == CPT_COLUMN_NUMBER;
    json_t *list = axis == 'o' ? w->obs : w->var;
    snprintf(file, sizeof file, "%s.%zu.npy", axis == 'o' ? "obs" : "var", json_array_size(list));
    cpt_status status = cpt_path_join(path, sizeof path, w->folder, file, e);
    if (status) return status;
    status = number ? cpt_npy_write(path, CPT_F64, 1, &n, column->numbers, e)
                    : cpt_npy_write(path, CPT_I32, 1, &n, column->codes, e);
    if (status) return status;
    json_t *item = json_pack("{s:s, s:s, s:s}", "name", column->name, "file", file, "kind",
                              number ? "number" : "category");
    if (item && !number &&
        json_object_set_new(item, "categories", texts_as_json(&column->categories))) {
        json_decref(item);
        item = NULL;
    }
    if (json_array_append_new(list, item))
        return cpt_fail(e, CPT_ERR_FORMAT, "column %s: a name or category is not valid UTF-8",
                        column->name);
    return CPT_OK;
}

cpt_status cpt_cells_writer_obsm(cpt_cells_writer *w, const char *name, int64_t n, int64_t width,
                                 const float *values, cpt_err *e)
{
    char file[64], path[PATH_LIMIT];
    snprintf(file, sizeof file, "obsm.%zu.npy", json_array_size(w->obsm));
    cpt_status status = cpt_path_join(path, sizeof path, w->folder, file, e);
    if (status == CPT_OK)
        status = cpt_npy_write(path, CPT_F32, 2, (int64_t[]){n, width}, values, e);
    if (status) return status;
    if (json_array_append_new(w->obsm, json_pack("{s:s, s:s, s:I}", "name", name, "file", file,
                                                 "width", (json_int_t)width)))
        return cpt_fail(e, CPT_ERR_FORMAT, "obsm/%s: the name is not valid UTF-8", name);
    return CPT_OK;
}

cpt_status cpt_cells_writer_note(cpt_cells_writer *w, const char *text, cpt_err *e)
{
    return json_array_append_new(w->notes, json_string(text)) ? no_memory(e) : CPT_OK;
}

/* ---- the other side ---- */

static cpt_status derive_other_side(const cpt_cells_writer *w, cpt_err *e)
{
    cpt_status status;
    char path[PATH_LIMIT];
    cpt_npy source[3];
    cpt_npy_writer indptr = {0}, indices = {0}, values = {0};
    memset(source, 0, sizeof source);
    CPT_TRY(side_path(w, w->rows_are_genes, "indptr", path, e));
    CPT_TRY(cpt_npy_open_as(path, CPT_I64, 1, &(int64_t){w->n_rows + 1}, &source[0], e));
    CPT_TRY(side_path(w, w->rows_are_genes, "indices", path, e));
    CPT_TRY(cpt_npy_open_as(path, CPT_I32, 1, &w->nnz, &source[1], e));
    CPT_TRY(side_path(w, w->rows_are_genes, "values", path, e));
    CPT_TRY(cpt_npy_open_as(path, CPT_F32, 1, &w->nnz, &source[2], e));
    const cpt_csr m = {w->n_rows, w->rows_are_genes ? w->n_cells : w->n_genes, source[0].data,
                       source[1].data, source[2].data};
    CPT_TRY(begin_side(w, !w->rows_are_genes, &indptr, &indices, &values, e));
    CPT_TRY(cpt_transpose(&m, CPT_TRANSPOSE_ENTRIES, w->n_threads, &indptr, &indices, &values, e));
    CPT_TRY(finish_side(&indptr, &indices, &values, e));
done:
    cpt_npy_abandon(&indptr);
    cpt_npy_abandon(&indices);
    cpt_npy_abandon(&values);
    for (int i = 0; i < 3; i++) cpt_npy_close(&source[i]);
    return status;
}

static cpt_status finish_counts(cpt_cells_writer *w, cpt_err *e)
{
    cpt_status status = CPT_OK;
    if (!w->begun) CPT_TRY(cpt_cells_writer_begin(w, false, e));
    int64_t rows = w->rows_are_genes ? w->n_genes : w->n_cells;
    int64_t columns = w->rows_are_genes ? w->n_cells : w->n_genes;
    if (w->n_rows != rows || w->largest_index >= columns)
        CPT_TRY(cpt_fail(e, CPT_ERR_FORMAT,
                         "counts of %lld rows, largest column index %d, do not fit "
                         "%lld names of rows and %lld of columns",
                         (long long)w->n_rows, (int)w->largest_index, (long long)rows,
                         (long long)columns));
    CPT_TRY(finish_side(&w->indptr, &w->indices, &w->values, e));
    CPT_TRY(derive_other_side(w, e));
done:
    return status;
}

/* ---- cells.json ---- */

static cpt_status write_json(cpt_cells_writer *w, const char *counts_from, cpt_err *e)
{
    char path[PATH_LIMIT];
    cpt_status status = cpt_path_join(path, sizeof path, w->folder, "cells.json", e);
    if (status) return status;
    int failed = json_object_set_new(w->root, "version", json_integer(1)) |
                 json_object_set_new(w->root, "n_cells", json_integer(w->n_cells)) |
                 json_object_set_new(w->root, "n_genes", json_integer(w->n_genes)) |
                 json_object_set_new(w->root, "nnz", json_integer(counts_from ? w->nnz : 0)) |
                 json_object_set_new(w->root, "counts_from",
                                     counts_from ? json_string(counts_from) : json_null()) |
                 json_object_set_new(w->root, "integer", json_boolean(counts_from && w->integer)) |
                 json_object_set(w->root, "obs", w->obs) | json_object_set(w->root, "var", w->var) |
                 json_object_set(w->root, "obsm", w->obsm) |
                 json_object_set(w->root, "notes", w->notes);
    char *text = failed ? NULL : json_dumps(w->root, JSON_INDENT(1) | JSON_ENSURE_ASCII);
    if (!text) return no_memory(e);
    status = cpt_write_file(path, text, strlen(text), e);
    free(text);
    return status;
}

cpt_status cpt_cells_writer_finish(cpt_cells_writer *w, const char *counts_from, cpt_err *e)
{
    cpt_status status = CPT_OK;
    if (w->n_cells < 0)
        CPT_TRY(cpt_fail(e, CPT_ERR_INTERNAL, "%s: cells without names", w->folder));
    if (w->n_cells > INT32_MAX - 1 || w->n_genes > INT32_MAX - 1)
        CPT_TRY(cpt_fail(e, CPT_ERR_UNSUPPORTED, "more than 2^31 - 2 cells or genes"));
    if (counts_from) CPT_TRY(finish_counts(w, e));
    CPT_TRY(write_json(w, counts_from, e));
done:
    cpt_cells_writer_abandon(w);
    return status;
}

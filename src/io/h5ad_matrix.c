/* Count matrices in HDF5, streamed into the cache: CSR, CSC or dense, of any number type.
 *
 * Problem: a matrix of 10^8 to 10^9 entries, written by anyone, in bounded memory.
 * Method: the row pointers are read whole and checked; entries are read in blocks of whole rows, at
 * most BLOCK entries, and handed to the cache's writer row by row, which checks values and order.
 * A CSC matrix is written by gene first; the writer derives the other side. O(nnz).
 * Traps: 32-bit floats cannot hold every whole number beyond 2^24, so wider types are read as
 * doubles and rounding is noted; a row can be longer than a block only if it is shorter than the
 * number of columns, which is checked before anything is allocated. */
#include "io/reader.h"
#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 1 << 22 };

/* A data set of values, converted to float in blocks. */
typedef struct value_source {
    h5_array array;
    double *wide; /* NULL when the type fits a float */
    size_t capacity;
    bool rounded;
} value_source;

static cpt_status open_values(const h5_file *f, const char *place, int n_dims, value_source *v,
                              cpt_err *e)
{
    *v = (value_source){0};
    cpt_status status = h5_array_open(f, place, &v->array, e);
    if (status) return status;
    h5_class c = v->array.class;
    if (c != H5_IS_INTEGER && c != H5_IS_FLOAT && c != H5_IS_BOOL)
        return h5_fail(f, e, CPT_ERR_FORMAT, place, "its values are not numbers");
    if (v->array.n_dims != n_dims)
        return h5_fail(f, e, CPT_ERR_FORMAT, place,
                       "has %d dimension(s), %d expected; write the file again", v->array.n_dims,
                       n_dims);
    return CPT_OK;
}

static void close_values(value_source *v)
{
    h5_array_close(&v->array);
    free(v->wide);
    v->wide = NULL;
}

/* Rows [first, first + n), `per_row` values each. */
static cpt_status read_values(value_source *v, int64_t first, int64_t n, int64_t per_row,
                              float *out, cpt_err *e)
{
    if (h5_fits_float(&v->array))
        return h5_array_read(&v->array, first, n, H5T_NATIVE_FLOAT, out, e);
    size_t total = (size_t)(n * per_row);
    cpt_status status = cpt_grow(&v->wide, &v->capacity, total, sizeof *v->wide, e);
    if (status == CPT_OK)
        status = h5_array_read(&v->array, first, n, H5T_NATIVE_DOUBLE, v->wide, e);
    if (status) return status;
    for (size_t i = 0; i < total; i++) {
        out[i] = (float)v->wide[i];
        v->rounded |= (double)out[i] != v->wide[i] && v->wide[i] == trunc(v->wide[i]);
    }
    return CPT_OK;
}

/* After rows were written: the reason not to go on, if any. */
static cpt_status check_block(cpt_reader *r, const h5_file *f, const h5_counts *c, int64_t done,
                              int64_t total, cpt_err *e)
{
    if (c->whole_only && !cpt_cells_writer_integer(r->writer))
        return h5_fail(f, e, CPT_ERR_DATA, c->place,
                       "its values are not whole numbers, so they are not counts");
    cpt_progress(r->ctx, c->place, (double)done, (double)total, NULL);
    return cpt_check_stop(r->ctx, e);
}

static cpt_status add_row(cpt_reader *r, const h5_file *f, const h5_counts *c, int64_t n,
                          const int32_t *indices, const float *values, cpt_err *e)
{
    cpt_status status = cpt_cells_writer_row(r->writer, (int32_t)n, indices, values, e);
    return status ? cpt_fail_in(e, "%s: %s", f->path, c->place) : CPT_OK;
}

static cpt_status note_rounding(cpt_reader *r, const h5_counts *c, bool rounded, cpt_err *e)
{
    if (!rounded) return CPT_OK;
    return cpt_reader_note(r, e, "%s holds counts above 16,777,216; they were rounded to 24 bits.",
                           c->place);
}

/* ---- compressed rows ---- */

typedef struct sparse {
    int64_t n_rows, n_cols, nnz, *indptr;
    h5_array indices;
    value_source values;
    int32_t *index_block;
    float *value_block;
    size_t index_capacity, value_capacity;
} sparse;

static cpt_status read_indptr(const h5_file *f, const h5_counts *c, sparse *s, cpt_err *e)
{
    cpt_status status;
    char place[H5_PLACE_LIMIT];
    h5_array a = {0};
    if (!h5_join(place, c->place, "indptr"))
        return h5_fail(f, e, CPT_ERR_FORMAT, c->place, "name too long");
    CPT_TRY(h5_array_open(f, place, &a, e));
    if (a.class != H5_IS_INTEGER || a.n_dims != 1)
        CPT_TRY(h5_fail(f, e, CPT_ERR_FORMAT, place,
                        "is not a list of integers; write the file again"));
    if (a.shape[0] != s->n_rows + 1)
        CPT_TRY(h5_fail(f, e, CPT_ERR_FORMAT, place,
                        "has %lld entries, %lld rows need %lld; write the file again",
                        (long long)a.shape[0], (long long)s->n_rows, (long long)s->n_rows + 1));
    CPT_TRY(cpt_alloc(&s->indptr, (size_t)a.shape[0], sizeof *s->indptr, e));
    CPT_TRY(h5_array_read(&a, 0, a.shape[0], H5T_NATIVE_INT64, s->indptr, e));
    if (s->indptr[0] != 0)
        CPT_TRY(
            h5_fail(f, e, CPT_ERR_FORMAT, place, "does not begin with 0; write the file again"));
    for (int64_t i = 0; i < s->n_rows; i++)
        if (s->indptr[i + 1] < s->indptr[i] || s->indptr[i + 1] - s->indptr[i] > s->n_cols)
            CPT_TRY(h5_fail(f, e, CPT_ERR_FORMAT, place,
                            "row %lld goes from entry %lld to %lld of %lld columns; "
                            "write the file again",
                            (long long)i, (long long)s->indptr[i], (long long)s->indptr[i + 1],
                            (long long)s->n_cols));
    s->nnz = s->indptr[s->n_rows];
done:
    h5_array_close(&a);
    return status;
}

static cpt_status open_entries(const h5_file *f, const h5_counts *c, sparse *s, cpt_err *e)
{
    cpt_status status;
    char place[H5_PLACE_LIMIT];
    if (!h5_join(place, c->place, "indices"))
        return h5_fail(f, e, CPT_ERR_FORMAT, c->place, "name too long");
    CPT_TRY(h5_array_open(f, place, &s->indices, e));
    if (s->indices.class != H5_IS_INTEGER || s->indices.n_dims != 1)
        CPT_TRY(h5_fail(f, e, CPT_ERR_FORMAT, place,
                        "is not a list of integers; write the file again"));
    h5_join(place, c->place, "data");
    CPT_TRY(open_values(f, place, 1, &s->values, e));
    int64_t n_indices = s->indices.shape[0], n_values = s->values.array.shape[0];
    if (n_indices != n_values || n_indices != s->nnz)
        CPT_TRY(h5_fail(f, e, CPT_ERR_FORMAT, c->place,
                        "%lld indices, %lld values, but indptr ends at %lld; "
                        "the file is damaged, write it again",
                        (long long)n_indices, (long long)n_values, (long long)s->nnz));
done:
    return status;
}

static cpt_status check_indices(const h5_file *f, const h5_counts *c, const sparse *s, int64_t row,
                                const int32_t *indices, int64_t n, cpt_err *e)
{
    bool good = true;
    for (int64_t i = 0; i < n; i++) good &= (uint64_t)(uint32_t)indices[i] < (uint64_t)s->n_cols;
    for (int64_t i = 0; !good && i < n; i++)
        if (indices[i] < 0 || indices[i] >= s->n_cols)
            return h5_fail(f, e, CPT_ERR_FORMAT, c->place,
                           "row %lld: index %d is outside 0..%lld; the file is "
                           "damaged, write it again",
                           (long long)row, (int)indices[i], (long long)s->n_cols - 1);
    return CPT_OK;
}

/* Renumbers the entries of one cell and drops those of genes that are left out. */
static int64_t keep_genes(const int32_t *keep, int32_t *indices, float *values, int64_t n)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < n; i++) {
        int32_t gene = keep[indices[i]];
        if (gene < 0) continue;
        indices[kept] = gene;
        values[kept++] = values[i];
    }
    return kept;
}

static int64_t last_row_of_block(const sparse *s, int64_t first)
{
    int64_t last = first + 1;
    while (last < s->n_rows && s->indptr[last + 1] - s->indptr[first] <= BLOCK) last++;
    return last;
}

static cpt_status stream_block(cpt_reader *r, const h5_file *f, const h5_counts *c, sparse *s,
                               int64_t first, int64_t last, cpt_err *e)
{
    cpt_status status;
    int64_t start = s->indptr[first], n = s->indptr[last] - start;
    CPT_TRY(
        cpt_grow(&s->index_block, &s->index_capacity, (size_t)n + 1, sizeof *s->index_block, e));
    CPT_TRY(
        cpt_grow(&s->value_block, &s->value_capacity, (size_t)n + 1, sizeof *s->value_block, e));
    CPT_TRY(h5_array_read(&s->indices, start, n, H5T_NATIVE_INT32, s->index_block, e));
    CPT_TRY(read_values(&s->values, start, n, 1, s->value_block, e));
    for (int64_t i = first; i < last; i++) {
        int64_t p = s->indptr[i] - start, length = s->indptr[i + 1] - s->indptr[i];
        CPT_TRY(check_indices(f, c, s, i, s->index_block + p, length, e));
        if (!c->keep) continue;
        length = keep_genes(c->keep, s->index_block + p, s->value_block + p, length);
        CPT_TRY(add_row(r, f, c, length, s->index_block + p, s->value_block + p, e));
    }
    if (c->keep) goto done;
    status = cpt_cells_writer_rows(r->writer, last - first, s->indptr + first, s->index_block,
                                   s->value_block, e);
    if (status) status = cpt_fail_in(e, "%s: %s", f->path, c->place);
done:
    return status;
}

cpt_status h5_sparse_counts(cpt_reader *r, const h5_file *f, const h5_counts *c,
                            bool rows_are_genes, cpt_err *e)
{
    cpt_status status;
    sparse s = {.n_rows = rows_are_genes ? c->n_genes : c->n_cells,
                .n_cols = rows_are_genes ? c->n_cells : c->n_genes};
    CPT_TRY(read_indptr(f, c, &s, e));
    CPT_TRY(open_entries(f, c, &s, e));
    CPT_TRY(cpt_cells_writer_begin(r->writer, rows_are_genes, e));
    for (int64_t first = 0, last; first < s.n_rows; first = last) {
        last = last_row_of_block(&s, first);
        CPT_TRY(stream_block(r, f, c, &s, first, last, e));
        CPT_TRY(check_block(r, f, c, last, s.n_rows, e));
    }
    CPT_TRY(note_rounding(r, c, s.values.rounded, e));
done:
    h5_array_close(&s.indices);
    close_values(&s.values);
    free(s.indptr);
    free(s.index_block);
    free(s.value_block);
    return status;
}

/* ---- dense ---- */

static int64_t rows_per_block(const value_source *v, int64_t n_genes)
{
    int64_t rows = BLOCK / n_genes > 1 ? BLOCK / n_genes : 1;
    int64_t chunk = v->array.chunk[0];
    if (chunk > 1 && chunk < rows) rows -= rows % chunk;
    return rows;
}

static cpt_status stream_dense(cpt_reader *r, const h5_file *f, const h5_counts *c, value_source *v,
                               cpt_err *e)
{
    cpt_status status;
    float *block = NULL, *kept = NULL;
    int32_t *indices = NULL;
    int64_t n_genes = c->n_genes, rows = rows_per_block(v, n_genes);
    CPT_TRY(cpt_alloc(&block, (size_t)(rows * n_genes), sizeof *block, e));
    CPT_TRY(cpt_alloc(&kept, (size_t)n_genes, sizeof *kept, e));
    CPT_TRY(cpt_alloc(&indices, (size_t)n_genes, sizeof *indices, e));
    CPT_TRY(cpt_cells_writer_begin(r->writer, false, e));
    for (int64_t first = 0; first < c->n_cells; first += rows) {
        int64_t n = c->n_cells - first < rows ? c->n_cells - first : rows;
        CPT_TRY(read_values(v, first, n, n_genes, block, e));
        for (int64_t i = 0; i < n; i++) {
            const float *row = block + i * n_genes;
            int32_t m = 0;
            for (int32_t j = 0; j < n_genes; j++) {
                indices[m] = j;
                kept[m] = row[j];
                m += row[j] != 0; /* NaN too, for the writer to refuse */
            }
            CPT_TRY(add_row(r, f, c, m, indices, kept, e));
        }
        CPT_TRY(check_block(r, f, c, first + n, c->n_cells, e));
    }
    CPT_TRY(note_rounding(r, c, v->rounded, e));
done:
    free(block);
    free(kept);
    free(indices);
    return status;
}

static cpt_status read_dense(cpt_reader *r, const h5_file *f, const h5_counts *c, cpt_err *e)
{
    value_source v;
    char encoding[64];
    cpt_status status =
        h5_attribute_text(f, c->place, "encoding-type", encoding, sizeof encoding, e);
    if (status) return status;
    if (*encoding && strcmp(encoding, "array") != 0)
        return h5_fail(f, e, CPT_ERR_UNSUPPORTED, c->place,
                       "encoding %s is not known; store it as a CSR matrix or a plain array",
                       encoding);
    status = open_values(f, c->place, 2, &v, e);
    const int64_t *shape = v.array.shape;
    if (status == CPT_OK && (shape[0] != c->n_cells || shape[1] != c->n_genes))
        status = h5_fail(f, e, CPT_ERR_FORMAT, c->place,
                         "is %lld x %lld, but there are %lld cells and %lld genes; "
                         "write the file again",
                         (long long)shape[0], (long long)shape[1], (long long)c->n_cells,
                         (long long)c->n_genes);
    if (status == CPT_OK) status = stream_dense(r, f, c, &v, e);
    close_values(&v);
    return status;
}

/* ---- either ---- */

static cpt_status check_sparse_shape(const h5_file *f, const h5_counts *c, cpt_err *e)
{
    int64_t shape[2];
    int n;
    cpt_status status = h5_attribute_integers(f, c->place, "shape", shape, 2, &n, e);
    if (status == CPT_OK && n == 0)
        status = h5_attribute_integers(f, c->place, "h5sparse_shape", shape, 2, &n, e);
    if (status) return status;
    if (n != 2)
        return h5_fail(f, e, CPT_ERR_FORMAT, c->place,
                       "has no attribute shape; write the file again");
    if (shape[0] != c->n_cells || shape[1] != c->n_genes)
        return h5_fail(f, e, CPT_ERR_FORMAT, c->place,
                       "is %lld x %lld, but there are %lld cells and %lld genes; "
                       "write the file again",
                       (long long)shape[0], (long long)shape[1], (long long)c->n_cells,
                       (long long)c->n_genes);
    return CPT_OK;
}

static cpt_status read_sparse(cpt_reader *r, const h5_file *f, const h5_counts *c, cpt_err *e)
{
    char encoding[64];
    cpt_status status =
        h5_attribute_text(f, c->place, "encoding-type", encoding, sizeof encoding, e);
    if (status == CPT_OK && !*encoding)
        status = h5_attribute_text(f, c->place, "h5sparse_format", encoding, sizeof encoding, e);
    if (status) return status;
    bool by_cell = strcmp(encoding, "csr_matrix") == 0 || strcmp(encoding, "csr") == 0;
    bool by_gene = strcmp(encoding, "csc_matrix") == 0 || strcmp(encoding, "csc") == 0;
    if (!by_cell && !by_gene)
        return h5_fail(f, e, CPT_ERR_UNSUPPORTED, c->place,
                       "encoding %s is not known; store it as a CSR matrix or a plain array",
                       *encoding ? encoding : "(none)");
    status = check_sparse_shape(f, c, e);
    return status ? status : h5_sparse_counts(r, f, c, by_gene, e);
}

cpt_status h5ad_matrix(cpt_reader *r, const h5_file *f, const h5_counts *c, cpt_err *e)
{
    switch (h5_kind_of(f, c->place)) {
    case H5_GROUP: return read_sparse(r, f, c, e);
    case H5_DATA: return read_dense(r, f, c, e);
    case H5_LINK:
        return h5_fail(f, e, CPT_ERR_UNSUPPORTED, c->place,
                       "is a link, which is not followed; store the matrix in the file itself");
    default:
        return h5_fail(f, e, CPT_ERR_DATA, c->place, "is missing; there are no counts to work on");
    }
}

/* cells.h - cells by genes as every stage sees them: the flat cache of a study, memory-mapped.
 *
 * The reader of each input format (h5ad, 10x) writes this cache once, checked; everything else,
 * the server included, only maps it. A folder holds
 *   1. cells.json            {"version": 1, "n_cells", "n_genes", "nnz", "counts_from": "X",
 *                             "integer": true, "obs": [column...], "var": [column...],
 *                             "obsm": [{"name", "file", "width"}...], "notes": [text...]}
 *                            column = {"name", "file", "kind": "number"|"category",
 *                                      "categories": [text...]}
 *   2. counts_by_cell.{indptr,indices,values}.npy   i64 [n_cells+1], i32 [nnz], f32 [nnz]
 *   3. counts_by_gene.{indptr,indices,values}.npy   i64 [n_genes+1], i32 [nnz], f32 [nnz]
 *   4. cell_ids.{offsets,bytes}.npy, gene_ids.{offsets,bytes}.npy   i64 [n+1], u8 [offsets[n]]:
 *      UTF-8, each string followed by one NUL byte
 *   5. obs.<i>.npy, var.<i>.npy   number: f64 [n], NaN = missing; category: i32 [n], -1 = missing
 *   6. obsm.<i>.npy               f32 [n_cells][width]
 * Within a row, indices ascend strictly; values are finite, > 0 is not demanded here (counts are
 * judged by the reader), explicit zeros are dropped. A cache without counts has nnz 0 and no files
 * of 2 and 3. cells.json is written last: a cache without it is not a cache.
 */
#ifndef CPT_IO_CELLS_H
#define CPT_IO_CELLS_H

#include "base/text.h"
#include "io/npy.h"

/* Compressed rows. Borrowed from a map or from whoever built it. */
typedef struct cpt_csr {
    int64_t n_rows, n_cols;
    const int64_t *indptr;  /* [n_rows + 1] */
    const int32_t *indices; /* [indptr[n_rows]], strictly ascending within a row */
    const float *values;    /* [indptr[n_rows]] */
} cpt_csr;

typedef enum cpt_column_kind { CPT_COLUMN_NUMBER, CPT_COLUMN_CATEGORY } cpt_column_kind;

typedef struct cpt_column {
    const char *name;
    cpt_column_kind kind;
    const double *numbers; /* [n] NUMBER; NaN = missing */
    const int32_t *codes;  /* [n] CATEGORY; -1 = missing */
    cpt_strings categories;
} cpt_column;

typedef struct cpt_table {
    int64_t n_rows;
    int32_t n_columns;
    cpt_column *columns;
} cpt_table;
const cpt_column *cpt_table_find(const cpt_table *t, const char *name); /* NULL when absent */

typedef struct cpt_obsm {
    const char *name; /* "X_pca" */
    int64_t width;
    const float *values; /* [n_cells][width] */
} cpt_obsm;

typedef struct cpt_cells {
    int64_t n_cells;
    int32_t n_genes;
    bool has_counts;
    bool integer;             /* all counts are whole numbers */
    const char *counts_from;  /* "X", "layers/counts", "raw/X", "matrix.mtx" */
    cpt_csr by_cell, by_gene; /* by_gene has one row per gene, columns are cells */
    cpt_strings cell_ids, gene_ids; /* as in the input, in input order (unique; see reader) */
    cpt_table obs, var;
    cpt_obsm *obsm;
    int32_t n_obsm;
    cpt_strings notes;         /* what the reader decided or found odd, in sentences */
    struct cells_maps *owned;  /* private */
} cpt_cells;

cpt_status cpt_cells_open(const char *folder, cpt_cells **cells, cpt_err *e);
/* The same without looking at every count: whoever reads rows of by_cell and by_gene checks them. */
cpt_status cpt_cells_open_shallow(const char *folder, cpt_cells **cells, cpt_err *e);
void cpt_cells_free(cpt_cells *cells);
/* Sum of the counts of each cell into totals [n_cells]. Reads all counts and forgets them again. */
void cpt_cells_totals(const cpt_cells *cells, double *totals);
/* After a pass over many counts: the pages read so far stop counting as memory (cpt_map_forget).
 * Nothing changes for readers. */
void cpt_cells_forget(const cpt_cells *cells);
const cpt_obsm *cpt_cells_obsm(const cpt_cells *cells, const char *name); /* NULL when absent */

/* ---- writing the cache: what readers use ---- */
typedef struct cpt_cells_writer cpt_cells_writer;
/* Creates the folder (emptied first when it exists). */
cpt_cells_writer *cpt_cells_writer_new(const char *folder, cpt_err *e);
/* Makes names that occur more than once unique as anndata does ("-1", "-2", ... appended), with a
 * note; an empty name is an error. */
cpt_status cpt_cells_writer_ids(cpt_cells_writer *w, const cpt_strings *cell_ids,
                                const cpt_strings *gene_ids, cpt_err *e);
/* Rows in order; indices need not be sorted (they are sorted here), duplicates are an error,
 * zeros are dropped; NaN, infinite or negative values are an error naming row and column. */
cpt_status cpt_cells_writer_row(cpt_cells_writer *w, int32_t n, const int32_t *indices,
                                const float *values, cpt_err *e);
/* Many such rows at once, faster where they are sorted and free of zeros: row i has
 * indptr[i + 1] - indptr[i] entries, those of row 0 stand first. On an error some of them may have been taken. */
cpt_status cpt_cells_writer_rows(cpt_cells_writer *w, int64_t n, const int64_t *indptr,
                                 const int32_t *indices, const float *values, cpt_err *e);
/* Threads for _rows and _finish; 1 unless said. They are made and ended inside (see crew.h). */
void cpt_cells_writer_threads(cpt_cells_writer *w, int n_threads);
/* Optional: says, before the first row, whether the rows that follow are cells (the default) or
 * genes (column-compressed input: then by-cell is what _finish derives). Drops rows given before.
 */
cpt_status cpt_cells_writer_begin(cpt_cells_writer *w, bool rows_are_genes, cpt_err *e);
bool cpt_cells_writer_integer(const cpt_cells_writer *w); /* all rows so far: whole numbers */
int64_t cpt_cells_writer_nnz(const cpt_cells_writer *w);
/* `axis` 'o' = obs, 'v' = var. The column is copied. */
cpt_status cpt_cells_writer_column(cpt_cells_writer *w, char axis, const cpt_column *column,
                                   int64_t n, cpt_err *e);
cpt_status cpt_cells_writer_obsm(cpt_cells_writer *w, const char *name, int64_t n, int64_t width,
                                 const float *values, cpt_err *e);
cpt_status cpt_cells_writer_note(cpt_cells_writer *w, const char *text, cpt_err *e);
/* Derives the other side in bounded memory (blocks over the mapped first side), writes cells.json
 * last. `counts_from` NULL = no counts. Frees the writer, also on failure. */
cpt_status cpt_cells_writer_finish(cpt_cells_writer *w, const char *counts_from, cpt_err *e);
void cpt_cells_writer_abandon(cpt_cells_writer *w); /* frees; accepts NULL */

#endif

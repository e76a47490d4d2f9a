/* reader.h - what the readers of the input formats share (private to the io room). */
#ifndef CPT_IO_READER_H
#define CPT_IO_READER_H

#include "base/log.h"
#include "io/h5_util.h"
#include "io/import.h"

#include <jansson.h>

typedef struct cpt_reader {
    const char *path;
    const char *folder; /* of the cache to write */
    const cpt_import_options *options;
    const cpt_context *ctx; /* of one thread: OpenMP is out of reach in a child */
    int n_threads;          /* for what can do without it (crew.h) */
    cpt_cells_writer *writer;
} cpt_reader;

/* Each opens r->writer and writes the whole cache. The first two use HDF5: child process only. */
cpt_status cpt_read_h5(cpt_reader *r, cpt_err *e); /* h5ad or 10x .h5 */
cpt_status cpt_inspect_h5(const char *path, char **json, cpt_err *e);
cpt_status cpt_read_tenx_folder(cpt_reader *r, cpt_err *e);
cpt_status cpt_inspect_tenx_folder(const char *path, char **json, cpt_err *e);

cpt_status cpt_reader_note(cpt_reader *r, cpt_err *e, const char *fmt, ...) CPT_PRINTF(3, 4);

/* ---- pieces of the HDF5 readers ---- */

cpt_status cpt_read_h5ad(cpt_reader *r, const h5_file *f, cpt_err *e);
bool cpt_is_tenx_h5(const h5_file *f);
cpt_status cpt_inspect_tenx_h5(const h5_file *f, json_t *root, cpt_err *e);
cpt_status cpt_read_tenx_h5(cpt_reader *r, const h5_file *f, cpt_err *e);

/* Names of the rows of obs or var at `place` (group, or records of anndata 0.6). */
cpt_status h5ad_index(const h5_file *f, const char *place, cpt_strings *ids, cpt_err *e);
/* All its columns into the writer; axis 'o' or 'v'. */
cpt_status h5ad_columns(cpt_reader *r, const h5_file *f, const char *place, char axis, int64_t n,
                        cpt_err *e);
cpt_status h5ad_all_obsm(cpt_reader *r, const h5_file *f, int64_t n_cells, cpt_err *e);
/* Any one-dimensional array as texts; numbers as Python prints them. */
cpt_status h5_array_as_texts(const h5_array *a, cpt_strings *out, cpt_err *e);
/* A list of texts as a category column: categories sorted; missing[i] (may be NULL) gives code -1.
 * The caller frees codes and categories. */
cpt_status cpt_texts_to_category(const cpt_strings *texts, const bool *missing, cpt_column *column,
                                 cpt_err *e);

typedef struct h5_counts {
    const char *place; /* "X": data set, or group with indptr, indices, data */
    int64_t n_cells, n_genes;
    bool whole_only;   /* stop at the first value that is no whole number: CPT_ERR_DATA */
    const int32_t *keep; /* NULL, or [n_genes]: number of each gene in the cache, -1 = left out */
} h5_counts;
/* An AnnData matrix of any encoding into the writer. CPT_ERR_DATA: readable, but not counts. */
cpt_status h5ad_matrix(cpt_reader *r, const h5_file *f, const h5_counts *c, cpt_err *e);
/* indptr, indices and data in the group at c->place; rows are cells or genes. */
cpt_status h5_sparse_counts(cpt_reader *r, const h5_file *f, const h5_counts *c,
                            bool rows_are_genes, cpt_err *e);

#endif

/* h5ad_write.h - AnnData files as anndata >= 0.8 writes them (encoding-version 0.1.0 / 0.2.0).
 *
 * Opens in anndata.read_h5ad of 0.8 to 0.12. Same input, same bytes: no time stamps are stored.
 * The HDF5 library is not thread-safe: one thread of a process at a time may be in these functions.
 * Written to a temporary name, moved into place by _finish.
 */
#ifndef CPT_IO_H5AD_WRITE_H
#define CPT_IO_H5AD_WRITE_H

#include "io/cells.h"

typedef struct cpt_h5ad cpt_h5ad;

cpt_h5ad *cpt_h5ad_create(const char *path, const cpt_strings *obs_names,
                          const cpt_strings *var_names, cpt_err *e);

/* `where` is "X" or "layers/NAME". Dense f32 or f64 [n_obs][n_var] (gzip, chunked by rows). */
cpt_status cpt_h5ad_dense(cpt_h5ad *f, const char *where, cpt_dtype dtype, const void *values,
                          cpt_err *e);
cpt_status cpt_h5ad_csr(cpt_h5ad *f, const char *where, const cpt_csr *m, cpt_err *e);
/* axis 'o' or 'v'. Numbers are f64; _integers i64; _flags bool; _texts strings; a CATEGORY column
 * is written as a pandas categorical. */
cpt_status cpt_h5ad_column(cpt_h5ad *f, char axis, const cpt_column *column, cpt_err *e);
cpt_status cpt_h5ad_numbers(cpt_h5ad *f, char axis, const char *name, const double *values,
                            cpt_err *e);
cpt_status cpt_h5ad_integers(cpt_h5ad *f, char axis, const char *name, const int64_t *values,
                             cpt_err *e);
cpt_status cpt_h5ad_flags(cpt_h5ad *f, char axis, const char *name, const bool *values, cpt_err *e);
cpt_status cpt_h5ad_texts(cpt_h5ad *f, char axis, const char *name, const cpt_strings *values,
                          cpt_err *e);
/* `where` is "obsm/NAME" or "varm/NAME": f32 [n_obs or n_var][width]. */
cpt_status cpt_h5ad_matrix(cpt_h5ad *f, const char *where, int64_t width, const float *values,
                           cpt_err *e);
/* uns/NAME: a string, a number, or a nested dictionary given as a JSON object text. */
cpt_status cpt_h5ad_uns_json(cpt_h5ad *f, const char *name, const char *json_object, cpt_err *e);

cpt_status cpt_h5ad_finish(cpt_h5ad *f, cpt_err *e); /* frees, also on failure */
void cpt_h5ad_abandon(cpt_h5ad *f);                  /* frees and removes; accepts NULL */

#endif

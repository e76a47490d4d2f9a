/* import.h - any input of cells into a flat cache: .h5ad, 10x folder, 10x .h5.
 *
 * HDF5's C library reads out of bounds on damaged files (measured: one in ten mutants crashes), so
 * it runs in a child process with limits and a watchdog: whatever happens there ends here as one
 * error text. The parent then opens the cache with its own checks.
 */
#ifndef CPT_IO_IMPORT_H
#define CPT_IO_IMPORT_H

#include "io/cells.h"

typedef enum cpt_input_kind {
    CPT_INPUT_UNKNOWN, CPT_INPUT_H5AD, CPT_INPUT_TENX_H5, CPT_INPUT_TENX_FOLDER
} cpt_input_kind;

typedef struct cpt_import_options {
    bool need_counts;    /* false: obsm is enough (train, encode); counts come along when there are
                            any,    otherwise a note says why not */
    const char *layer;   /* NULL = find counts: X if it holds counts, else layers/counts, else
                            raw/X; a name forces layers/NAME; "X" and "raw" force these;
                            "none" reads no counts */
    const char *obsm;    /* NULL = all two-dimensional numeric obsm; else this one is required */
    bool allow_non_counts; /* accept fractional values (said in notes) */
    int32_t silence_limit_s; /* child killed after this long without progress; 0 = 120 */
} cpt_import_options;

/* What a path is, by its content, not by its name. Never opens HDF5 in this process beyond the
 * signature; telling h5ad from 10x .h5 happens in the child and is refined there. */
cpt_status cpt_input_detect(const char *path, cpt_input_kind *kind, cpt_err *e);

/* Writes the cache `folder` from `path`. Errors name file, place (h5 path, line) and next step. */
cpt_status cpt_import(const char *path, const char *folder, const cpt_import_options *options,
                      const cpt_context *ctx, cpt_err *e);

/* One screenful for `inspect`: JSON object {"kind", "n_cells", "n_genes", "X": {...}, "layers",
 * "obs", "obsm", ...} made in a child likewise. *json is malloc'ed text; caller frees. */
cpt_status cpt_import_inspect(const char *path, char **json, cpt_err *e);

#endif

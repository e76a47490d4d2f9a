/* conceptome.h - the public interface of libconceptome, and its manual.
 *
 * Conceptome finds the concepts that a single-cell embedding model has learned, says which genes
 * cause each of them and which biology they stand for (method: arXiv 2510.25807 and doc/methods.md).
 *
 * A complete program:
 *
 *     #include <conceptome.h>
 *     #include <stdio.h>
 *
 *     int main(void)
 *     {
 *         cpt_err err;
 *         cpt_context ctx;
 *         cpt_context_init(&ctx);
 *         cpt_options *options = cpt_options_new(&err);
 *         if (!options || cpt_options_set(options, "label", "cell_type", &err) ||
 *             cpt_study_run("cells.h5ad", "study", options, NULL, &ctx, &err))
 *             fprintf(stderr, "%s\n", err.text);
 *         cpt_options_free(options);
 *         return err.code != CPT_OK;
 *     }
 *
 * Threads    The library has no global mutable state. Different objects may be used by different
 *            threads at once; one object by one thread at a time unless its functions say otherwise.
 * Ownership  What a function returns by `T **out` or as a pointer to a non-const object is the
 *            caller's and is given back with cpt_T_free (which accepts NULL). `const T *` results
 *            are borrowed from the object they were asked of and live as long as it does.
 * Errors     Functions that can fail return cpt_status (CPT_OK is 0) and take a cpt_err as last
 *            argument, which then holds one sentence with what failed, where, and what to do next.
 *            The library never prints, never exits and sets no signal handlers.
 */
#ifndef CONCEPTOME_H
#define CONCEPTOME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CPT_VERSION "0.1.0"

/* ---- errors ----------------------------------------------------------------------------- */

typedef enum cpt_status {
    CPT_OK = 0,
    CPT_ERR_USAGE,       /* the caller asked for something that cannot be: an option out of range */
    CPT_ERR_IO,          /* a file cannot be opened, read or written */
    CPT_ERR_FORMAT,      /* a file is damaged, hostile or not what its name says */
    CPT_ERR_DATA,        /* the data are readable but unfit: no counts, too few cells, NaN */
    CPT_ERR_MEMORY,      /* allocation failed or a size overflows */
    CPT_ERR_UNSUPPORTED, /* a valid file that uses something that is not implemented */
    CPT_ERR_INTERRUPTED, /* the context's stop flag was raised (Ctrl-C) */
    CPT_ERR_LOCKED,      /* another process works on the same study */
    CPT_ERR_INTERNAL     /* a bug */
} cpt_status;

/* Lives on the caller's stack. After CPT_OK its content is unspecified unless said otherwise. */
typedef struct cpt_err {
    cpt_status code;
    char text[768]; /* UTF-8, one sentence, no newline: "FILE: PLACE: what; next step" */
} cpt_err;

/* ---- context: threads, seed, log, progress, stop ------------------------------------------- */

typedef enum cpt_log_level { CPT_LOG_ERROR, CPT_LOG_WARN, CPT_LOG_INFO, CPT_LOG_DEBUG } cpt_log_level;

/* Called from the thread that runs the library function. `text` has no newline. */
typedef void cpt_log_fn(void *data, cpt_log_level level, const char *text);

/* `done` of `total` units (total 0 = unknown) of the named piece of work; done == total ends it.
 * `note` may be NULL or a short text such as the current loss. */
typedef void cpt_progress_fn(void *data, const char *what, double done, double total,
                             const char *note);

/* Passed to everything that takes time. Plain struct; borrowed for the duration of a call. */
typedef struct cpt_context {
    int32_t n_threads; /* >= 1. Results do not depend on it, bit for bit. */
    uint64_t seed;     /* every random number derives from it */
    cpt_log_fn *log;   /* NULL = silent */
    void *log_data;
    cpt_progress_fn *progress; /* NULL = none */
    void *progress_data;
    const volatile int *stop; /* NULL, or a flag that a signal handler may set: work ends at the
                                 next safe point with CPT_ERR_INTERRUPTED and no half-written file */
} cpt_context;

/* All cores, seed 0, silent. */
void cpt_context_init(cpt_context *ctx);

/* ---- options: every choice of every stage, by name ------------------------------------------- */

/* One table drives the command line, --config files, help, and what study.json records. */
typedef enum cpt_option_kind {
    CPT_OPTION_TEXT, CPT_OPTION_INTEGER, CPT_OPTION_NUMBER, CPT_OPTION_FLAG, CPT_OPTION_CHOICE,
    CPT_OPTION_LIST /* texts; each set adds one */
} cpt_option_kind;

typedef struct cpt_option_info {
    const char *name;     /* "expansion": --expansion on the command line */
    const char *group;    /* "cells" "model" "dictionary" "attribution" "expression" "enrichment" "output" */
    cpt_option_kind kind;
    const char *fallback; /* the default, as text; "" = none or chosen from the data */
    const char *argument; /* placeholder in help, "N", "COL", or the choices "nb|zinb" */
    double low, high;     /* accepted range of numbers, inclusive */
    const char *help;     /* one line */
} cpt_option_info;
const cpt_option_info *cpt_option_list(size_t *n); /* static */

typedef struct cpt_options cpt_options;
cpt_options *cpt_options_new(cpt_err *e);
cpt_options *cpt_options_copy(const cpt_options *o, cpt_err *e);
void cpt_options_free(cpt_options *o);
/* Checks name, type and range; an unknown name is answered with the nearest one. */
cpt_status cpt_options_set(cpt_options *o, const char *name, const char *value, cpt_err *e);
/* JSON object of names and values; does not touch what was set before: the command line wins. */
cpt_status cpt_options_read(cpt_options *o, const char *json_file, cpt_err *e);
bool cpt_options_given(const cpt_options *o, const char *name); /* set by someone, not defaulted */
/* Values; the name must exist and have the kind (a programmer's error otherwise). */
const char *cpt_options_text(const cpt_options *o, const char *name); /* "" when empty */
int64_t cpt_options_integer(const cpt_options *o, const char *name);
double cpt_options_number(const cpt_options *o, const char *name);
bool cpt_options_flag(const cpt_options *o, const char *name);
size_t cpt_options_list(const cpt_options *o, const char *name, const char *const **items);

/* ---- studies ---------------------------------------------------------------------------------- */

/* Cells in, interpreted concepts out: all stages of doc/formats.md, in the folder `study`. What is
 * there and still valid (same inputs, same options) is not computed again; a run that was killed goes
 * on. CPT_ERR_LOCKED when another process works on the study (the text names its pid).
 * `command` is recorded in study.json (NULL = not said). */
cpt_status cpt_study_run(const char *cells, const char *study, const cpt_options *options,
                         const char *command, const cpt_context *ctx, cpt_err *e);

/* One stage of an existing study and whatever it needs: "attribution", "enrichment", "evaluation",
 * "report" ... Options given here replace the study's, the others stay as recorded. `force` runs the
 * named stage even when nothing changed. */
cpt_status cpt_study_stage(const char *study, const char *stage, const cpt_options *options, bool force,
                           const char *command, const cpt_context *ctx, cpt_err *e);

/* What a newcomer wants to know at the end of a run, as JSON text (malloc'ed; free it): sizes, scores,
 * the most frequent concepts with genes and terms, files, seconds per stage. */
cpt_status cpt_study_summary(const char *study, char **json, cpt_err *e);

/* `what` = concepts | genes | terms | notes; `format` = tsv | json; into an open stream. */
struct _IO_FILE;
cpt_status cpt_study_export(const char *study, const char *what, const char *format,
                            struct _IO_FILE *out, cpt_err *e);

/* ---- single steps on files ---------------------------------------------------------------------- */

/* Trains a model on cells (options of group "model") and saves it in its own ecosystem's format. */
cpt_status cpt_fit(const char *cells, const char *model_folder, const cpt_options *options,
                   const cpt_context *ctx, cpt_err *e);
/* Embeds cells with the model named by option "model" into an AnnData file, obsm X_embedding. */
cpt_status cpt_embed(const char *cells, const char *out_h5ad, const cpt_options *options,
                     const cpt_context *ctx, cpt_err *e);
/* Trains a dictionary on an embedding: obsm `key` of an h5ad (NULL: X_embedding, else the only one) or
 * a .npy file. *report (may be NULL) gets the scores as malloc'ed JSON text. */
cpt_status cpt_train(const char *embedding, const char *key, const char *dictionary_folder,
                     const cpt_options *options, char **report, const cpt_context *ctx, cpt_err *e);
/* Embedding + dictionary -> concepts.h5ad. */
cpt_status cpt_encode(const char *embedding, const char *key, const char *dictionary_folder,
                      const char *out_h5ad, const cpt_context *ctx, cpt_err *e);
/* Exactly one of ranking, genes; the other paths may be NULL. */
typedef struct cpt_enrich_request {
    const char *ranking;    /* gene TAB statistic per line: preranked GSEA */
    const char *genes;      /* one gene per line: over-representation */
    const char *background; /* universe for genes; NULL = every gene with an annotation */
    const char *plots;      /* folder for running sums (SVG) of the significant sets of a ranking */
    int32_t n_plots;        /* at most so many per collection */
} cpt_enrich_request;
/* Against the gene sets of the options; TSV or JSON into `out`. */
cpt_status cpt_enrich_list(const cpt_enrich_request *what, const cpt_options *options, bool json,
                           struct _IO_FILE *out, const cpt_context *ctx, cpt_err *e);
/* What a file is and holds, as JSON text (malloc'ed): h5ad, 10x, .pt, .safetensors, .npy, obo, gaf,
 * gmt, dictionary folders, studies. */
cpt_status cpt_inspect(const char *path, char **json, cpt_err *e);

typedef struct cpt_simulation {
    int64_t n_cells;
    int32_t n_genes, n_programs;
} cpt_simulation;
cpt_status cpt_simulate(const char *out_h5ad, const cpt_simulation *what, const cpt_context *ctx, cpt_err *e);

/* Downloads a public demo data set into the cache folder, checks its SHA-256 and writes its path. */
cpt_status cpt_fetch(const char *name, char *path, size_t capacity, const cpt_context *ctx, cpt_err *e);

/* Version, compiler, instruction set, BLAS: the text behind --version. */
void cpt_version_text(char *text, size_t capacity);

#ifdef __cplusplus
}
#endif
#endif

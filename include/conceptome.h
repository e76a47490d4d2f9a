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
 *             cpt_study_run("cells.h5ad", "study", options, &ctx, &err))
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

#ifdef __cplusplus
}
#endif
#endif

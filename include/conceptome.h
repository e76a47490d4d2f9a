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
 *             cpt_study_run("cells.h5ad", "study", NULL, options, NULL, &ctx, &err))
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
 * `until` (NULL = the end): the stage after which to stop. `command` is recorded in study.json (NULL = not said). */
cpt_status cpt_study_run(const char *cells, const char *study, const char *until,
                         const cpt_options *options, const char *command, const cpt_context *ctx,
                         cpt_err *e);

/* One stage of an existing study and whatever it needs: "attribution", "enrichment", "evaluation",
 * "report" ... Options given here replace the study's, the others stay as recorded. `force` runs the
 * named stage even when nothing changed. */
cpt_status cpt_study_stage(const char *study, const char *stage, const cpt_options *options, bool force,
                           const char *command, const cpt_context *ctx, cpt_err *e);

/* Piece i of n (from 1) of the stage "embedding", "attribution" or "enrichment", for several machines that
 * share the folder: reads the study, whose earlier stages must be done, and writes STUDY/shards only; takes
 * no lock. A piece that is there is kept. */
cpt_status cpt_study_piece(const char *study, const char *stage, int32_t i, int32_t n,
                           const cpt_options *options, const cpt_context *ctx, cpt_err *e);
/* Joins all stages that lie there in pieces, to the bytes that the stage itself writes, and removes the
 * pieces. CPT_ERR_DATA names the first piece that is missing. */
cpt_status cpt_study_merge(const char *study, const cpt_options *options, const char *command,
                           const cpt_context *ctx, cpt_err *e);

/* What a newcomer wants to know at the end of a run, as JSON text (malloc'ed; free it): sizes, scores,
 * the most frequent concepts with genes and terms, files, seconds per stage. */
cpt_status cpt_study_summary(const char *study, char **json, cpt_err *e);

/* `what` = concepts | genes | terms | notes; `format` = tsv | json; into an open stream. */
struct _IO_FILE;
cpt_status cpt_study_export(const char *study, const char *what, const char *format,
                            struct _IO_FILE *out, cpt_err *e);

/* ---- beyond one study ---------------------------------------------------------------------------- */

/* Which concepts of one study are which of another, for all pairs of the studies. */
typedef struct cpt_comparison {
    int32_t n_null;    /* draws of each null, 200 */
    int64_t max_cells; /* cells of each study that are encoded by another's model, 5000; 0 = all */
    bool save;         /* also into STUDY/comparisons/NAME.json of both sides (doc/formats.md) */
    const char *folder; /* NULL, or where comparison.json and matches.tsv are written */
} cpt_comparison;
void cpt_comparison_init(cpt_comparison *c);
/* Measures: decoder cosine (same model), correlation of activations on the same cells (the studies' own,
 * or cells of each encoded by the other's model), attribution and expression over shared genes; each
 * with matching and nulls. *json and *tsv (either may be NULL) get malloc'ed texts: comparison.json and
 * matches.tsv of doc/formats.md. */
cpt_status cpt_study_compare(const char *const *studies, int32_t n, const cpt_comparison *how,
                             char **json, char **tsv, const cpt_context *ctx, cpt_err *e);

/* A concept turned up, down or off in cells; what the model then expects. */
typedef struct cpt_steer {
    const char *concept; /* "c12" */
    const char *scale;   /* a number: its activation times this; NULL = not asked. Exactly one of ... */
    const char *clamp;   /* ... these: a number, "mean" or "max" (over the cells that activate it) */
    bool ablate;         /* ... three: 0 */
    const char *cells;   /* which cells (doc/conceptome.1, CELLS); NULL = those that activate it, all
                            for clamp */
    int64_t max_cells;    /* drawn at random among these, 1000; 0 = all */
    int32_t n_directions; /* random directions of the same length: the null, 200; 0 = none */
    const char *folder;   /* NULL, or where steering.json and changes.tsv are written */
} cpt_steer;
void cpt_steer_init(cpt_steer *s);
/* Options "label" and "donor" replace the study's when given. *json, *tsv as for cpt_study_compare:
 * steering.json and its table. */
cpt_status cpt_study_steer(const char *study, const cpt_steer *how, const cpt_options *options,
                           char **json, char **tsv, const cpt_context *ctx, cpt_err *e);

/* ---- views: a finished study, looked into ------------------------------------------------------- */

/* What a page or a script asks of a study, answered without loading it: vectors are read piece by
 * piece, memory stays bounded whatever the study's size. No lock is taken; a view keeps showing the
 * results it was opened on. All functions may be called by many threads at once on the same view.
 *
 * JSON texts (malloc'ed; free them) have the shapes of ui/src/api.ts, where every field is described;
 * numbers are finite or null. A concept, cell, gene or name that does not exist is CPT_ERR_USAGE;
 * results that a stage has not made yet are CPT_ERR_DATA, and the text names the stage. */
typedef struct cpt_view cpt_view;

/* Brings the index of a study up to date (stage "index": what a click needs and cannot be computed
 * while one waits). Runs no other stage. CPT_ERR_LOCKED when another process works on the study. */
cpt_status cpt_study_index(const char *study, const cpt_context *ctx, cpt_err *e);

cpt_status cpt_view_open(const char *study, const cpt_context *ctx, cpt_view **out, cpt_err *e);
void cpt_view_close(cpt_view *v);
/* A text that changes when any result does; also without opening: 33 bytes. While a stage is being
 * computed *running is its name (at most 31 bytes), else "". Reads study.json only. */
const char *cpt_view_generation(const cpt_view *v);
cpt_status cpt_study_generation(const char *study, char generation[33], char running[32], cpt_err *e);

/* False when cpt_study_index has something to do: genes, terms and neighbours are missing until then. */
bool cpt_view_indexed(const cpt_view *v);
int64_t cpt_view_n_cells(const cpt_view *v);
int32_t cpt_view_n_concepts(const cpt_view *v); /* 0 before the stage "concepts" */
int32_t cpt_view_n_genes(const cpt_view *v);    /* of the universe */
int32_t cpt_view_n_neurons(const cpt_view *v);  /* dimensions of the embedding */

cpt_status cpt_view_study(const cpt_view *v, char **json, cpt_err *e);    /* without `id` */
cpt_status cpt_view_concepts(const cpt_view *v, char **json, cpt_err *e); /* the landscape */
cpt_status cpt_view_concept(const cpt_view *v, int32_t concept, char **json, cpt_err *e);

typedef struct cpt_gene_query {
    const char *order;     /* "attribution" (falling |mean|) or "expression" (falling score); NULL = first that is there */
    const char *text;      /* part of a symbol or name; NULL or "" = all */
    int64_t limit, offset; /* limit <= 0 = all */
} cpt_gene_query;
cpt_status cpt_view_genes(const cpt_view *v, int32_t concept, const cpt_gene_query *q, char **json, cpt_err *e);

typedef struct cpt_term_query {
    const char *ranking, *method, *collection; /* NULL or "" = all */
    bool all;                                  /* with terms that another one stands for */
} cpt_term_query;
cpt_status cpt_view_terms(const cpt_view *v, int32_t concept, const cpt_term_query *q, char **json, cpt_err *e);
cpt_status cpt_view_running(const cpt_view *v, int32_t concept, const char *term, const char *ranking,
                            char **json, cpt_err *e);
/* band: "prototypes", "high", "middle", "low" */
cpt_status cpt_view_cells(const cpt_view *v, int32_t concept, const char *band, int64_t limit, char **json,
                          cpt_err *e);
cpt_status cpt_view_composition(const cpt_view *v, int32_t concept, const char *column, char **json, cpt_err *e);
cpt_status cpt_view_similar(const cpt_view *v, int32_t concept, char **json, cpt_err *e);
cpt_status cpt_view_trust(const cpt_view *v, int32_t concept, char **json, cpt_err *e);
cpt_status cpt_view_cell(const cpt_view *v, int64_t cell, char **json, cpt_err *e);
cpt_status cpt_view_gene(const cpt_view *v, int32_t gene, char **json, cpt_err *e);
cpt_status cpt_view_term(const cpt_view *v, const char *term, char **json, cpt_err *e);
cpt_status cpt_view_search(const cpt_view *v, const char *text, int64_t limit, char **json, cpt_err *e);
cpt_status cpt_view_comparison(const cpt_view *v, const char *id, char **json, cpt_err *e);
/* Two concepts, of one study or of two (va == vb is fine). */
cpt_status cpt_view_pair(const cpt_view *va, int32_t a, const cpt_view *vb, int32_t b, char **json, cpt_err *e);

/* Cells a against cells b, or against all others when n_b is 0; numbers in any order, doubles count
 * once, a cell in both is an error. Can take seconds: the context's stop flag and progress are obeyed. */
typedef struct cpt_selection {
    const uint32_t *a, *b;
    size_t n_a, n_b;
} cpt_selection;
cpt_status cpt_view_selection_concepts(const cpt_view *v, const cpt_selection *s, const cpt_context *ctx,
                                       char **json, cpt_err *e);
cpt_status cpt_view_selection_genes(const cpt_view *v, const cpt_selection *s, const cpt_context *ctx,
                                    char **json, cpt_err *e);

/* A vector as it goes over the wire, little-endian. */
typedef struct cpt_vector {
    void *bytes; /* free() it */
    size_t size;
    char type[8];    /* "u8" "u16" "u32" "f32" "sparse" (u32 cells[n], then f32 values[n]) */
    char shape[32];  /* "9142x2" "1920" */
    char range[128]; /* "low,high" per axis; "" = none */
} cpt_vector;
cpt_status cpt_view_umap(const cpt_view *v, cpt_vector *out, cpt_err *e);       /* u16 [cells][2], 65535 = not placed */
cpt_status cpt_view_concept_map(const cpt_view *v, cpt_vector *out, cpt_err *e); /* f32 [concepts][2], NaN = dead */
/* A concept of v on the cells of another study, by their ids: f32 [its cells], NaN = v does not have the cell. */
cpt_status cpt_view_activation_on(const cpt_view *cells, const cpt_view *v, int32_t concept,
                                  cpt_vector *out, cpt_err *e);
cpt_status cpt_view_activation(const cpt_view *v, int32_t concept, cpt_vector *out, cpt_err *e);
cpt_status cpt_view_expression(const cpt_view *v, int32_t gene, cpt_vector *out, cpt_err *e); /* log1p CP10k */
cpt_status cpt_view_column(const cpt_view *v, const char *name, cpt_vector *out, cpt_err *e);
cpt_status cpt_view_neuron(const cpt_view *v, int32_t neuron, cpt_vector *out, cpt_err *e);

/* ---- serving ------------------------------------------------------------------------------------ */

typedef struct cpt_server_options {
    const char *const *studies; /* folders */
    size_t n_studies;
    int port;             /* 0 = any free one */
    const char *listen;   /* NULL = 127.0.0.1 and ::1; else one address to bind instead */
    const char *ui_folder; /* NULL = the pages that are built in */
} cpt_server_options;
typedef struct cpt_server cpt_server;

/* Starts serving in threads of its own and returns. *out is stopped and freed by cpt_server_stop, which
 * lets answers that are under way finish. */
cpt_status cpt_server_start(const cpt_server_options *o, const cpt_context *ctx, cpt_server **out, cpt_err *e);
int cpt_server_port(const cpt_server *s);
const char *cpt_server_address(const cpt_server *s); /* "http://127.0.0.1:8765/" */
void cpt_server_stop(cpt_server *s);
/* ---- notes: what experts said ------------------------------------------------------------------- */

/* notes.sqlite of a study: the one file that cannot be computed again. Every change is a row that stays:
 * author, time, undo. JSON texts (malloc'ed; free them) have the shapes of ui/src/api.ts. All functions may
 * be called by many threads at once; several processes may have the notes of one study open. A call that
 * writes returns CPT_OK only after the commit. */
typedef struct cpt_notes cpt_notes;

/* Needs no lock. A study without notes has none until something is said; a folder that cannot be written can
 * be read. Rows belong to concepts by key, never by number: after a run that changed the dictionary old
 * rows are listed as "earlier". */
cpt_status cpt_notes_open(const char *study, const cpt_context *ctx, cpt_notes **out, cpt_err *e);
void cpt_notes_close(cpt_notes *n); /* accepts NULL */
/* After the study's generation has changed: learns which concepts there are now. */
cpt_status cpt_notes_refresh(cpt_notes *n, cpt_err *e);
/* Grows with everything written, by whatever process. */
cpt_status cpt_notes_revision(cpt_notes *n, int64_t *revision, cpt_err *e);

/* {"generation", "dictionary", "keys": [one per concept]}: what a change has to carry. The keys belong to the
 * results of that generation. */
cpt_status cpt_notes_keys(cpt_notes *n, char **json, cpt_err *e);
cpt_status cpt_notes_list(cpt_notes *n, const char *author, char **json, cpt_err *e); /* author NULL = all */
cpt_status cpt_notes_history(cpt_notes *n, const char *key, char **json, cpt_err *e); /* key NULL = all */

typedef struct cpt_note_change {
    const char *author;
    const char *key;   /* of the concept, as the author saw it */
    const char *field; /* name, label, note, confidence (1-3), rating (1-5), done (1) */
    const char *value; /* "" clears */
    int64_t base;      /* revision of the row that the author saw, 0 = none; -1 = write in any case */
} cpt_note_change;
/* *conflict: another window of the author was faster; nothing is written and the JSON says what stands there. */
cpt_status cpt_notes_save(cpt_notes *n, const cpt_note_change *c, bool *conflict, char **json, cpt_err *e);
cpt_status cpt_notes_undo(cpt_notes *n, const char *author, char **json, cpt_err *e);
cpt_status cpt_notes_redo(cpt_notes *n, const char *author, char **json, cpt_err *e);

/* Everything, as JSON that cpt_notes_merge reads. */
cpt_status cpt_notes_export(cpt_notes *n, char **json, cpt_err *e);
/* Adds another expert's exported JSON or notes.sqlite, out of memory or from a file: a union, all or nothing;
 * the same file again adds nothing. The file may be a stranger's. */
cpt_status cpt_notes_merge(cpt_notes *n, const char *name, const void *bytes, size_t size, char **json,
                           cpt_err *e);
cpt_status cpt_notes_merge_file(cpt_notes *n, const char *path, char **json, cpt_err *e);

/* ---- blind review (doc/methods.md) ---- */

/* Computes what the review shows of neurons and random directions: the study's own pipeline on these
 * dictionaries, under cache/controls. Nothing is done twice. */
cpt_status cpt_review_prepare(const char *study, const cpt_options *options, const char *command,
                              const cpt_context *ctx, cpt_err *e);
/* A session of `items` items and a tenth of them again. CPT_ERR_DATA before cpt_review_prepare. */
cpt_status cpt_review_start(cpt_notes *n, const char *author, int32_t items, uint64_t seed, char **json,
                            cpt_err *e);
cpt_status cpt_review_sessions(cpt_notes *n, char **json, cpt_err *e);
/* {"item", "position", "of"} of the next item beyond position `after` (-1: from the beginning), then of
 * those passed over, or {"done": true} */
cpt_status cpt_review_next(cpt_notes *n, const char *session, int64_t after, char **json, cpt_err *e);
/* Where the evidence of an item lies: a study folder to open as a view, and the number there. For the
 * server's eyes only. CPT_ERR_DATA when the dictionary is not that of the session any more. */
cpt_status cpt_review_evidence(cpt_notes *n, const char *session, const char *item, char *folder,
                               size_t capacity, int32_t *unit, cpt_err *e);
typedef struct cpt_review_answer {
    int32_t rating, confidence; /* 1-5, 1-3 */
    const char *label, *note;   /* may be "" */
    double seconds;
} cpt_review_answer;
cpt_status cpt_review_reply(cpt_notes *n, const char *session, const char *item, const cpt_review_answer *a,
                            char **json, cpt_err *e);
cpt_status cpt_review_agreement(cpt_notes *n, char **json, cpt_err *e);

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

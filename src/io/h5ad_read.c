/* An .h5ad file into the cache: which matrix holds the counts, and in what order things are read.
 *
 * Problem: X holds counts in one file, log-normalised or scaled values in the next, and the counts
 * are then in layers/counts or in raw, the latter with genes of its own.
 * Method: the candidates are streamed in that order until one consists of whole, non-negative
 * numbers; a candidate is given up at its first value that says otherwise, usually in its first
 * block. What was chosen is noted for the user.
 * Traps: damage is never a reason to try the next candidate: only values are (CPT_ERR_DATA). */
#include "io/reader.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

cpt_status cpt_reader_note(cpt_reader *r, cpt_err *e, const char *fmt, ...)
{
    char text[768];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return cpt_cells_writer_note(r->writer, text, e);
}

typedef struct candidate {
    char matrix[H5_PLACE_LIMIT];
    const char *var; /* where its genes are */
    bool found;      /* these are the counts */
} candidate;

static const char *name_of(const candidate *c)
{
    return strcmp(c->matrix, "raw.X") == 0 ? "raw/X" : c->matrix;
}

static void add_candidate(const h5_file *f, candidate *list, int *n, const char *matrix,
                          const char *var)
{
    candidate *c = &list[*n];
    snprintf(c->matrix, sizeof c->matrix, "%s", matrix);
    c->var = var;
    c->found = false;
    if (h5_kind_of(f, matrix) != H5_ABSENT) ++*n;
}

static void add_raw(const h5_file *f, candidate *list, int *n)
{
    int before = *n;
    add_candidate(f, list, n, "raw/X", "raw/var");
    if (*n == before) add_candidate(f, list, n, "raw.X", "raw.var");
}

enum { MAX_CANDIDATES = 4 };

/* The places to look at, by the user's choice. */
static cpt_status list_candidates(const cpt_reader *r, const h5_file *f, candidate *list, int *n,
                                  cpt_err *e)
{
    const char *layer = r->options->layer;
    char place[H5_PLACE_LIMIT];
    *n = 0;
    if (!layer) {
        add_candidate(f, list, n, "X", "var");
        add_candidate(f, list, n, "layers/counts", "var");
        add_raw(f, list, n);
    } else if (strcmp(layer, "X") == 0) {
        add_candidate(f, list, n, "X", "var");
    } else if (strcmp(layer, "raw") == 0) {
        add_raw(f, list, n);
    } else if (strcmp(layer, "none") != 0 && h5_join(place, "layers", layer)) {
        add_candidate(f, list, n, place, "var");
    }
    if (*n || (layer && strcmp(layer, "none") == 0)) return CPT_OK;
    if (layer)
        return h5_fail(f, e, CPT_ERR_DATA, "layers", "has no %s; see `inspect` for what there is",
                       layer);
    if (!r->options->need_counts) return CPT_OK;
    return h5_fail(f, e, CPT_ERR_DATA, "X", "is missing, and so are layers/counts and raw/X; "
                   "save the counts in X");
}

static cpt_status try_candidate(cpt_reader *r, const h5_file *f, const candidate *c,
                                int64_t n_cells, bool whole_only, cpt_err *e)
{
    cpt_strings genes = {0};
    cpt_status status = h5ad_index(f, c->var, &genes, e);
    h5_counts counts = {
        .place = c->matrix, .n_cells = n_cells, .n_genes = genes.n, .whole_only = whole_only};
    if (status == CPT_OK && (genes.n == 0 || n_cells == 0))
        status = h5_fail(f, e, CPT_ERR_FORMAT, c->matrix,
                         "%lld cells and %lld genes; there is nothing to work on",
                         (long long)n_cells, (long long)genes.n);
    if (status == CPT_OK && (genes.n >= INT32_MAX || n_cells >= INT32_MAX))
        status = h5_fail(f, e, CPT_ERR_UNSUPPORTED, c->matrix, "more than 2^31 cells or genes");
    if (status == CPT_OK) status = h5ad_matrix(r, f, &counts, e);
    if (status == CPT_OK && cpt_cells_writer_nnz(r->writer) == 0)
        status = h5_fail(f, e, CPT_ERR_DATA, c->matrix, "all counts are zero");
    cpt_strings_free(&genes);
    return status;
}

/* The text without the file's name: notes are part of the cache, which must not depend on paths. */
static const char *without_path(const cpt_reader *r, const cpt_err *err)
{
    size_t n = strlen(r->path);
    bool leads = strncmp(err->text, r->path, n) == 0 && strncmp(err->text + n, ": ", 2) == 0;
    return err->text + (leads ? n + 2 : 0);
}

static cpt_status note_choice(cpt_reader *r, const candidate *c, const cpt_err *why_not_first,
                              cpt_err *e)
{
    cpt_status status = CPT_OK;
    if (why_not_first->code)
        status =
            cpt_reader_note(r, e, "Counts were taken from %s, because X does not hold counts (%s).",
                            name_of(c), without_path(r, why_not_first));
    else if (strcmp(c->matrix, "X") != 0 && !r->options->layer)
        status = cpt_reader_note(r, e, "Counts were taken from %s; there is no X.", name_of(c));
    if (status == CPT_OK && !cpt_cells_writer_integer(r->writer))
        status = cpt_reader_note(
            r, e, "%s holds values that are not whole numbers; they were taken as counts.",
            name_of(c));
    return status;
}

/* No candidate holds counts: an error, or a note where counts can be done without. */
static cpt_status without_counts(cpt_reader *r, const cpt_err *first, int n, cpt_err *e)
{
    if (!r->options->need_counts)
        return cpt_reader_note(r, e, "No counts were taken: %s.",
                               n ? without_path(r, first) : "there is no X");
    cpt_err cut = *first;
    cut.text[sizeof cut.text - 160] = '\0';
    return cpt_fail(
        e, first->code, "%s; %s", cut.text,
        n > 1
            ? "the other matrices (layers/counts, raw) hold no counts either; name the layer with "
              "raw counts"
            : "save raw counts in X or layers/counts, or name the layer that holds them (--layer)");
}

static cpt_status find_counts(cpt_reader *r, const h5_file *f, int64_t n_cells, candidate *chosen,
                              cpt_err *e)
{
    cpt_err first = {0}, here = {0};
    candidate list[MAX_CANDIDATES];
    int n, n_tries;
    cpt_status status = list_candidates(r, f, list, &n, e);
    if (status) return status;
    /* Where fractions are allowed, the first matrix gets a second chance with them. */
    n_tries = n && r->options->allow_non_counts ? n + 1 : n;
    for (int i = 0; i < n_tries; i++) {
        const candidate *c = &list[i < n ? i : 0];
        status = try_candidate(r, f, c, n_cells, i < n, &here);
        if (status == CPT_OK) {
            *chosen = *c;
            chosen->found = true;
            return note_choice(r, chosen, i < n ? &first : &(cpt_err){0}, e);
        }
        if (status != CPT_ERR_DATA) {
            if (e) *e = here;
            return status;
        }
        if (i == 0) first = here;
    }
    return without_counts(r, &first, n, e);
}

cpt_status cpt_read_h5ad(cpt_reader *r, const h5_file *f, cpt_err *e)
{
    cpt_status status;
    cpt_strings cells = {0}, genes = {0};
    candidate chosen = {.var = "var"};
    CPT_TRY(h5ad_index(f, "obs", &cells, e));
    CPT_TRY(h5ad_index(f, "var", &genes, e));
    CPT_TRY(find_counts(r, f, cells.n, &chosen, e));
    if (strcmp(chosen.var, "var") != 0) {
        cpt_strings_free(&genes);
        CPT_TRY(h5ad_index(f, chosen.var, &genes, e));
    }
    status = cpt_cells_writer_ids(r->writer, &cells, &genes, e);
    if (status) {
        status = cpt_fail_in(e, "%s: obs or %s", f->path, chosen.var);
        goto done;
    }
    CPT_TRY(h5ad_columns(r, f, "obs", 'o', cells.n, e));
    CPT_TRY(h5ad_columns(r, f, chosen.var, 'v', genes.n, e));
    CPT_TRY(h5ad_all_obsm(r, f, cells.n, e));
    cpt_progress(r->ctx, "by gene", 0, 0, NULL);
    status = cpt_cells_writer_finish(r->writer, chosen.found ? name_of(&chosen) : NULL, e);
    r->writer = NULL;
done:
    cpt_strings_free(&cells);
    cpt_strings_free(&genes);
    return status;
}

cpt_status cpt_read_h5(cpt_reader *r, cpt_err *e)
{
    cpt_status status;
    h5_file f = {0};
    CPT_TRY(h5_open(r->path, &f, e));
    f.n_threads = r->n_threads;
    if (!(r->writer = cpt_cells_writer_new(r->folder, e))) {
        status = CPT_ERR_IO;
        goto done;
    }
    cpt_cells_writer_threads(r->writer, r->n_threads);
    if (cpt_is_tenx_h5(&f)) status = cpt_read_tenx_h5(r, &f, e);
    else if (h5_kind_of(&f, "obs") == H5_ABSENT && h5_kind_of(&f, "row_attrs") == H5_GROUP)
        status = cpt_fail(e, CPT_ERR_UNSUPPORTED,
                          "%s: a loom file; convert it with anndata.read_loom() and "
                          "write_h5ad()",
                          r->path);
    else status = cpt_read_h5ad(r, &f, e);
done:
    cpt_cells_writer_abandon(r->writer);
    r->writer = NULL;
    h5_close(&f);
    return status;
}

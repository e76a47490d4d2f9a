/* 10x Genomics output: folders of matrix.mtx, barcodes.tsv, features.tsv, and .h5 files.
 *
 * Problem: the text matrix may have 10^9 lines, is genes x cells, and is sorted by cell when it
 * comes from Cell Ranger but not when other programs wrote it.
 * Method: entries are streamed cell by cell as long as the order holds. At the first entry out of
 * order the reading starts over in blocks: a pass counts the entries per cell, and then each pass
 * gathers the cells whose entries fit BLOCK. O(nnz) per pass, O(BLOCK + cells) memory.
 * Traps: indices are 1-based; only rows of type "Gene Expression" are genes; versions before 3 call
 * the file genes.tsv and have two columns; some programs write cells x genes, told by the sizes. */
#include "io/reader.h"
#include "base/memory.h"

#include <ctype.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_LIMIT = 4096, MAX_LINE = 1 << 16, BLOCK = 1 << 25, CHECK_EVERY = 1 << 20 };

/* ---- features, whatever they come from ---- */

typedef struct features {
    cpt_strings ids, symbols, types; /* types empty: all are genes */
    int32_t *place;                  /* [n in the file] number among those kept, -1 = left out */
    int64_t n_kept;
} features;

static void free_features(features *x)
{
    cpt_strings_free(&x->ids);
    cpt_strings_free(&x->symbols);
    cpt_strings_free(&x->types);
    free(x->place);
}

static cpt_status number_features(cpt_reader *r, features *x, cpt_err *e)
{
    cpt_status status = cpt_alloc(&x->place, (size_t)x->ids.n, sizeof *x->place, e);
    if (status) return status;
    for (int64_t i = 0; i < x->ids.n; i++) {
        bool keep = !x->types.n || strcmp(cpt_strings_get(&x->types, i), "Gene Expression") == 0;
        x->place[i] = keep ? (int32_t)x->n_kept++ : -1;
    }
    if (x->n_kept < x->ids.n)
        return cpt_reader_note(r, e,
                               "%lld features that are not of type Gene Expression were left out.",
                               (long long)(x->ids.n - x->n_kept));
    return CPT_OK;
}

static cpt_status kept_texts(const features *x, const cpt_strings *all, cpt_strings *out,
                             cpt_err *e)
{
    for (int64_t i = 0; i < all->n; i++) {
        const char *text = cpt_strings_get(all, i);
        cpt_status status = x->place[i] < 0 ? CPT_OK : cpt_strings_add(out, text, strlen(text), e);
        if (status) return status;
    }
    return CPT_OK;
}

/* Names, and gene symbols as a column of var. */
static cpt_status write_names(cpt_reader *r, const features *x, const cpt_strings *cells,
                              cpt_err *e)
{
    cpt_status status;
    cpt_strings ids = {0}, symbols = {0};
    cpt_column column = {.name = "gene_symbol"};
    CPT_TRY(kept_texts(x, &x->ids, &ids, e));
    CPT_TRY(kept_texts(x, &x->symbols, &symbols, e));
    status = cpt_cells_writer_ids(r->writer, cells, &ids, e);
    if (status) {
        status = cpt_fail_in(e, "%s", r->path);
        goto done;
    }
    if (symbols.n) {
        CPT_TRY(cpt_texts_to_category(&symbols, NULL, &column, e));
        CPT_TRY(cpt_cells_writer_column(r->writer, 'v', &column, symbols.n, e));
    }
done:
    cpt_strings_free(&ids);
    cpt_strings_free(&symbols);
    cpt_strings_free(&column.categories);
    free((void *)(uintptr_t)column.codes);
    return status;
}

static cpt_status finish(cpt_reader *r, const char *counts_from, cpt_err *e)
{
    if (cpt_cells_writer_nnz(r->writer) == 0)
        return cpt_fail(e, CPT_ERR_DATA, "%s: all counts are zero", r->path);
    if (!cpt_cells_writer_integer(r->writer)) {
        if (r->options->need_counts && !r->options->allow_non_counts)
            return cpt_fail(e, CPT_ERR_DATA,
                            "%s: the values are not whole numbers, so they are not counts; "
                            "give the raw counts",
                            r->path);
        cpt_status status =
            cpt_reader_note(r, e,
                            "%s holds values that are not whole numbers; they were taken "
                            "as counts.",
                            counts_from);
        if (status) return status;
    }
    cpt_progress(r->ctx, "by gene", 0, 0, NULL);
    cpt_status status = cpt_cells_writer_finish(r->writer, counts_from, e);
    r->writer = NULL;
    return status;
}

/* ---- the three files of a folder ---- */

static bool find_file(const char *folder, const char *name, char path[PATH_LIMIT])
{
    char zipped[64];
    snprintf(zipped, sizeof zipped, "%s.gz", name);
    return (cpt_path_join(path, PATH_LIMIT, folder, name, NULL) == CPT_OK &&
            cpt_path_exists(path)) ||
           (cpt_path_join(path, PATH_LIMIT, folder, zipped, NULL) == CPT_OK &&
            cpt_path_exists(path));
}

static cpt_status missing_file(const char *folder, const char *name, cpt_err *e)
{
    return cpt_fail(e, CPT_ERR_IO, "%s: has no %s or %s.gz; copy the whole 10x folder", folder,
                    name, name);
}

static cpt_status add_valid(const cpt_lines *in, cpt_strings *out, const char *text, cpt_err *e)
{
    if (!cpt_utf8_valid(text, strlen(text))) return cpt_lines_fail(in, e, "is not valid UTF-8");
    return cpt_strings_add(out, text, strlen(text), e);
}

static cpt_status read_barcodes(const char *folder, cpt_strings *cells, cpt_err *e)
{
    char path[PATH_LIMIT], *line;
    if (!find_file(folder, "barcodes.tsv", path)) return missing_file(folder, "barcodes.tsv", e);
    cpt_lines *in = cpt_lines_open(path, MAX_LINE, e);
    if (!in) return CPT_ERR_IO;
    cpt_status status;
    while ((status = cpt_lines_next(in, &line, NULL, e)) == CPT_OK && line) {
        line[strcspn(line, "\t")] = '\0';
        if ((status = add_valid(in, cells, line, e))) break;
    }
    cpt_lines_close(in);
    return status;
}

static cpt_status read_features(const char *folder, features *x, cpt_err *e)
{
    char path[PATH_LIMIT], *line;
    if (!find_file(folder, "features.tsv", path) && !find_file(folder, "genes.tsv", path))
        return missing_file(folder, "features.tsv", e);
    cpt_lines *in = cpt_lines_open(path, MAX_LINE, e);
    if (!in) return CPT_ERR_IO;
    cpt_status status;
    while ((status = cpt_lines_next(in, &line, NULL, e)) == CPT_OK && line) {
        char *symbol = strchr(line, '\t'), *type = NULL;
        if (symbol) *symbol++ = '\0';
        if (symbol && (type = strchr(symbol, '\t'))) *type++ = '\0';
        if (type) type[strcspn(type, "\t")] = '\0';
        if (!symbol) symbol = line;
        bool typed = x->types.n > 0;
        if (x->ids.n && typed != (type != NULL)) {
            status = cpt_lines_fail(in, e, "has another number of columns than the lines before");
            break;
        }
        if ((status = add_valid(in, &x->ids, line, e)) ||
            (status = add_valid(in, &x->symbols, symbol, e)) ||
            (type && (status = add_valid(in, &x->types, type, e))))
            break;
    }
    cpt_lines_close(in);
    return status;
}

/* ---- matrix.mtx ---- */

typedef struct mtx {
    char path[PATH_LIMIT];
    cpt_lines *in;
    bool swapped; /* cells x genes */
    int64_t n_cells, n_features, n_entries, n_read;
} mtx;

static void mtx_close(mtx *m)
{
    cpt_lines_close(m->in);
    m->in = NULL;
}

static cpt_status mtx_banner(mtx *m, char *line, cpt_err *e)
{
    for (char *p = line; *p; p++) *p = (char)tolower((unsigned char)*p);
    if (strncmp(line, "%%matrixmarket matrix coordinate ", 33) != 0)
        return cpt_lines_fail(m->in, e, "is not a MatrixMarket header of a coordinate matrix");
    if (!strstr(line, " general"))
        return cpt_lines_fail(m->in, e, "only general matrices hold counts");
    if (!strstr(line, " integer") && !strstr(line, " real"))
        return cpt_lines_fail(m->in, e, "only integer and real matrices hold counts");
    return CPT_OK;
}

/* One decimal integer and the blanks after it. */
static bool take_integer(char **p, int64_t *out)
{
    int64_t x = 0;
    char *s = *p;
    while (*s == ' ' || *s == '\t') s++;
    char *first = s;
    for (; *s >= '0' && *s <= '9'; s++)
        if (__builtin_mul_overflow(x, 10, &x) || __builtin_add_overflow(x, *s - '0', &x))
            return false;
    *p = s;
    *out = x;
    return s > first;
}

static cpt_status mtx_open(mtx *m, cpt_err *e)
{
    cpt_status status;
    char *line;
    int64_t rows, columns;
    m->n_read = 0;
    if (!(m->in = cpt_lines_open(m->path, MAX_LINE, e))) return CPT_ERR_IO;
    CPT_TRY(cpt_lines_next(m->in, &line, NULL, e));
    if (!line) return cpt_fail(e, CPT_ERR_FORMAT, "%s: is empty; copy it again", m->path);
    CPT_TRY(mtx_banner(m, line, e));
    do {
        CPT_TRY(cpt_lines_next(m->in, &line, NULL, e));
        if (!line)
            return cpt_fail(e, CPT_ERR_FORMAT, "%s: ends before its sizes; copy it again", m->path);
    } while (*line == '%' || *line == '\0');
    if (!take_integer(&line, &rows) || !take_integer(&line, &columns) ||
        !take_integer(&line, &m->n_entries))
        return cpt_lines_fail(m->in, e, "three sizes are expected: rows, columns, entries");
    m->swapped = rows != m->n_features && rows == m->n_cells && columns == m->n_features;
    if (!m->swapped && (rows != m->n_features || columns != m->n_cells))
        return cpt_lines_fail(
            m->in, e,
            "%lld x %lld, but there are %lld features and %lld barcodes; the three "
            "files do not belong together",
            (long long)rows, (long long)columns, (long long)m->n_features, (long long)m->n_cells);
done:
    return status;
}

typedef struct mtx_entry {
    int64_t cell, feature; /* from 0 */
    float value;
} mtx_entry;

static bool take_value(char *p, float *value)
{
    int64_t whole;
    char *q = p;
    while (*p == ' ' || *p == '\t') p++;
    if (take_integer(&q, &whole) && (*q == '\0' || *q == ' ')) {
        *value = (float)whole;
        return true;
    }
    double x;
    for (size_t n = strlen(p); n && (p[n - 1] == ' ' || p[n - 1] == '\t'); n--) p[n - 1] = '\0';
    if (!cpt_parse_double(p, &x)) return false;
    *value = (float)x;
    return true;
}

/* The next entry; *end at the end of the file, where the number of entries is checked. */
static cpt_status mtx_next(mtx *m, mtx_entry *x, bool *end, cpt_err *e)
{
    char *line;
    int64_t a, b;
    *end = false;
    do {
        cpt_status status = cpt_lines_next(m->in, &line, NULL, e);
        if (status) return status;
    } while (line && !*line);
    if (!line) {
        *end = true;
        if (m->n_read == m->n_entries) return CPT_OK;
        return cpt_fail(e, CPT_ERR_FORMAT,
                        "%s: %lld entries, but the header says %lld; the file is cut off, "
                        "copy it again",
                        m->path, (long long)m->n_read, (long long)m->n_entries);
    }
    if (m->n_read++ == m->n_entries)
        return cpt_lines_fail(m->in, e, "more entries than the header says (%lld)",
                              (long long)m->n_entries);
    if (!take_integer(&line, &a) || !take_integer(&line, &b) || !take_value(line, &x->value))
        return cpt_lines_fail(m->in, e, "a row, a column and a count are expected");
    x->feature = (m->swapped ? b : a) - 1;
    x->cell = (m->swapped ? a : b) - 1;
    if (x->feature < 0 || x->feature >= m->n_features || x->cell < 0 || x->cell >= m->n_cells)
        return cpt_lines_fail(m->in, e, "entry (%lld, %lld) is outside the matrix", (long long)a,
                              (long long)b);
    if (!(x->value >= 0) || isinf(x->value))
        return cpt_lines_fail(m->in, e, "a count is negative or not a number; give raw counts");
    return CPT_OK;
}

static cpt_status keep_going(cpt_reader *r, const mtx *m, cpt_err *e)
{
    if (m->n_read % CHECK_EVERY) return CPT_OK;
    cpt_progress(r->ctx, "matrix.mtx", (double)m->n_read, (double)m->n_entries, NULL);
    return cpt_check_stop(r->ctx, e);
}

/* ---- streaming: entries sorted by cell ---- */

typedef struct row_buffer {
    int32_t *indices;
    float *values;
    size_t n, index_capacity, value_capacity;
} row_buffer;

static cpt_status push(row_buffer *b, int32_t index, float value, cpt_err *e)
{
    cpt_status status;
    CPT_TRY(cpt_grow(&b->indices, &b->index_capacity, b->n + 1, sizeof *b->indices, e));
    CPT_TRY(cpt_grow(&b->values, &b->value_capacity, b->n + 1, sizeof *b->values, e));
    b->indices[b->n] = index;
    b->values[b->n++] = value;
done:
    return status;
}

static cpt_status flush_row(cpt_reader *r, const mtx *m, row_buffer *b, cpt_err *e)
{
    cpt_status status = cpt_cells_writer_row(r->writer, (int32_t)b->n, b->indices, b->values, e);
    b->n = 0;
    return status ? cpt_fail_in(e, "%s", m->path) : CPT_OK;
}

static cpt_status stream_sorted(cpt_reader *r, mtx *m, const features *x, bool *sorted, cpt_err *e)
{
    cpt_status status;
    row_buffer row = {0};
    int64_t cell = 0;
    bool end;
    *sorted = true;
    CPT_TRY(mtx_open(m, e));
    CPT_TRY(cpt_cells_writer_begin(r->writer, false, e));
    for (;;) {
        mtx_entry entry;
        CPT_TRY(mtx_next(m, &entry, &end, e));
        if (end) entry.cell = m->n_cells;
        else if (entry.cell < cell) {
            *sorted = false;
            goto done;
        }
        for (; cell < entry.cell; cell++) CPT_TRY(flush_row(r, m, &row, e));
        if (end) break;
        if (x->place[entry.feature] >= 0)
            CPT_TRY(push(&row, x->place[entry.feature], entry.value, e));
        if (row.n > (size_t)x->n_kept)
            CPT_TRY(cpt_lines_fail(m->in, e, "more entries for one cell than there are genes"));
        CPT_TRY(keep_going(r, m, e));
    }
done:
    mtx_close(m);
    free(row.indices);
    free(row.values);
    return status;
}

/* ---- blocks: entries in any order ---- */

typedef struct gather {
    int64_t *starts; /* [n_cells + 1] */
    int64_t *fill;   /* [n_cells] */
    int32_t *indices;
    float *values;
} gather;

static cpt_status count_entries(cpt_reader *r, mtx *m, const features *x, gather *g, cpt_err *e)
{
    cpt_status status;
    bool end = false;
    mtx_entry entry;
    CPT_TRY(mtx_open(m, e));
    for (;;) {
        CPT_TRY(mtx_next(m, &entry, &end, e));
        if (end) break;
        if (x->place[entry.feature] >= 0) g->starts[entry.cell + 1]++;
        CPT_TRY(keep_going(r, m, e));
    }
    for (int64_t i = 0; i < m->n_cells; i++) {
        if (g->starts[i + 1] > x->n_kept)
            CPT_TRY(cpt_fail(e, CPT_ERR_FORMAT,
                             "%s: cell %lld has more entries than there are genes", m->path,
                             (long long)i + 1));
        g->starts[i + 1] += g->starts[i];
    }
done:
    mtx_close(m);
    return status;
}

static cpt_status gather_block(cpt_reader *r, mtx *m, const features *x, gather *g, int64_t first,
                               int64_t last, cpt_err *e)
{
    cpt_status status;
    bool end = false;
    mtx_entry entry;
    CPT_TRY(mtx_open(m, e));
    for (int64_t i = first; i < last; i++) g->fill[i] = g->starts[i] - g->starts[first];
    for (;;) {
        CPT_TRY(mtx_next(m, &entry, &end, e));
        if (end) break;
        CPT_TRY(keep_going(r, m, e));
        if (entry.cell < first || entry.cell >= last || x->place[entry.feature] < 0) continue;
        int64_t at = g->fill[entry.cell]++;
        if (at >= g->starts[entry.cell + 1] - g->starts[first])
            CPT_TRY(cpt_fail(e, CPT_ERR_IO, "%s: changed while it was read", m->path));
        g->indices[at] = x->place[entry.feature];
        g->values[at] = entry.value;
    }
    for (int64_t i = first; i < last; i++) {
        int64_t at = g->starts[i] - g->starts[first];
        status = cpt_cells_writer_row(r->writer, (int32_t)(g->starts[i + 1] - g->starts[i]),
                                      g->indices + at, g->values + at, e);
        if (status) {
            status = cpt_fail_in(e, "%s", m->path);
            break;
        }
    }
done:
    mtx_close(m);
    return status;
}

static cpt_status stream_unsorted(cpt_reader *r, mtx *m, const features *x, cpt_err *e)
{
    cpt_status status;
    gather g = {0};
    CPT_TRY(cpt_alloc(&g.starts, (size_t)m->n_cells + 1, sizeof *g.starts, e));
    CPT_TRY(cpt_alloc(&g.fill, (size_t)m->n_cells, sizeof *g.fill, e));
    CPT_TRY(count_entries(r, m, x, &g, e));
    int64_t total = g.starts[m->n_cells], most = BLOCK > x->n_kept ? BLOCK : x->n_kept;
    CPT_TRY(cpt_alloc(&g.indices, (size_t)(total < most ? total : most), sizeof *g.indices, e));
    CPT_TRY(cpt_alloc(&g.values, (size_t)(total < most ? total : most), sizeof *g.values, e));
    CPT_TRY(cpt_cells_writer_begin(r->writer, false, e));
    for (int64_t first = 0, last; first < m->n_cells; first = last) {
        for (last = first + 1; last < m->n_cells && g.starts[last + 1] - g.starts[first] <= most;)
            last++;
        CPT_TRY(gather_block(r, m, x, &g, first, last, e));
    }
done:
    free(g.starts);
    free(g.fill);
    free(g.indices);
    free(g.values);
    return status;
}

/* ---- the folder ---- */

static cpt_status read_folder(cpt_reader *r, features *x, cpt_strings *cells, cpt_err *e)
{
    cpt_status status;
    bool sorted;
    mtx m = {0};
    CPT_TRY(read_barcodes(r->path, cells, e));
    CPT_TRY(read_features(r->path, x, e));
    CPT_TRY(number_features(r, x, e));
    if (!cells->n || !x->n_kept || cells->n >= INT32_MAX || x->ids.n >= INT32_MAX)
        return cpt_fail(e, CPT_ERR_FORMAT,
                        "%s: %lld barcodes and %lld genes; there is nothing to work on", r->path,
                        (long long)cells->n, (long long)x->n_kept);
    m.n_cells = cells->n;
    m.n_features = x->ids.n;
    if (!find_file(r->path, "matrix.mtx", m.path)) return missing_file(r->path, "matrix.mtx", e);
    CPT_TRY(stream_sorted(r, &m, x, &sorted, e));
    if (!sorted) CPT_TRY(stream_unsorted(r, &m, x, e));
    CPT_TRY(write_names(r, x, cells, e));
    CPT_TRY(finish(r, "matrix.mtx", e));
done:
    mtx_close(&m);
    return status;
}

cpt_status cpt_read_tenx_folder(cpt_reader *r, cpt_err *e)
{
    features x = {0};
    cpt_strings cells = {0};
    if (!(r->writer = cpt_cells_writer_new(r->folder, e))) return CPT_ERR_IO;
    cpt_status status = read_folder(r, &x, &cells, e);
    cpt_cells_writer_abandon(r->writer);
    r->writer = NULL;
    free_features(&x);
    cpt_strings_free(&cells);
    return status;
}

cpt_status cpt_inspect_tenx_folder(const char *path, char **json, cpt_err *e)
{
    cpt_status status;
    features x = {0};
    cpt_strings cells = {0};
    mtx m = {0};
    CPT_TRY(read_barcodes(path, &cells, e));
    CPT_TRY(read_features(path, &x, e));
    if (!find_file(path, "matrix.mtx", m.path)) CPT_TRY(missing_file(path, "matrix.mtx", e));
    m.n_cells = cells.n;
    m.n_features = x.ids.n;
    CPT_TRY(mtx_open(&m, e));
    json_t *root = json_pack("{s:s, s:I, s:I, s:{s:s, s:I}}", "kind", "10x folder", "n_cells",
                             (json_int_t)cells.n, "n_genes", (json_int_t)x.ids.n, "X", "encoding",
                             "MatrixMarket", "n_entries", (json_int_t)m.n_entries);
    *json = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
    json_decref(root);
    if (!*json) status = cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
done:
    mtx_close(&m);
    free_features(&x);
    cpt_strings_free(&cells);
    return status;
}

/* ---- .h5 ---- */

/* The group that holds barcodes and indptr: "matrix" (version 3), or the genome (version 2). */
static cpt_status tenx_group(const h5_file *f, char group[H5_PLACE_LIMIT], int *n_found, cpt_err *e)
{
    char place[H5_PLACE_LIMIT];
    cpt_strings names = {0};
    *n_found = 0;
    cpt_status status = h5_members(f, "", &names, e);
    for (int64_t i = 0; i < names.n && status == CPT_OK; i++) {
        const char *name = cpt_strings_get(&names, i);
        if (!h5_join(place, name, "barcodes") || h5_kind_of(f, place) != H5_DATA) continue;
        if (!h5_join(place, name, "indptr") || h5_kind_of(f, place) != H5_DATA) continue;
        if (++*n_found == 1) snprintf(group, H5_PLACE_LIMIT, "%s", name);
    }
    cpt_strings_free(&names);
    return status;
}

bool cpt_is_tenx_h5(const h5_file *f)
{
    char group[H5_PLACE_LIMIT];
    int n;
    return h5_kind_of(f, "obs") == H5_ABSENT && tenx_group(f, group, &n, NULL) == CPT_OK && n > 0;
}

static cpt_status texts_at(const h5_file *f, const char *group, const char *name, cpt_strings *out,
                           cpt_err *e)
{
    char place[H5_PLACE_LIMIT];
    h5_array a = {0};
    if (!h5_join(place, group, name)) return h5_fail(f, e, CPT_ERR_FORMAT, group, "name too long");
    cpt_status status = h5_array_open(f, place, &a, e);
    if (status == CPT_OK) status = h5_array_texts(&a, out, e);
    h5_array_close(&a);
    return status;
}

static cpt_status h5_features(const h5_file *f, const char *group, features *x, cpt_err *e)
{
    cpt_status status;
    char place[H5_PLACE_LIMIT];
    if (!h5_join(place, group, "features"))
        return h5_fail(f, e, CPT_ERR_FORMAT, group, "name too long");
    if (h5_kind_of(f, place) == H5_GROUP) {
        CPT_TRY(texts_at(f, place, "id", &x->ids, e));
        CPT_TRY(texts_at(f, place, "name", &x->symbols, e));
        CPT_TRY(texts_at(f, place, "feature_type", &x->types, e));
    } else {
        CPT_TRY(texts_at(f, group, "genes", &x->ids, e));
        CPT_TRY(texts_at(f, group, "gene_names", &x->symbols, e));
    }
    if (x->symbols.n != x->ids.n || (x->types.n && x->types.n != x->ids.n))
        return h5_fail(f, e, CPT_ERR_FORMAT, group,
                       "features have %lld ids, %lld names and %lld types; the file "
                       "is damaged",
                       (long long)x->ids.n, (long long)x->symbols.n, (long long)x->types.n);
done:
    return status;
}

static cpt_status check_h5_shape(const h5_file *f, const char *group, int64_t n_features,
                                 int64_t n_cells, cpt_err *e)
{
    char place[H5_PLACE_LIMIT];
    int64_t shape[2] = {-1, -1};
    h5_array a = {0};
    if (!h5_join(place, group, "shape"))
        return h5_fail(f, e, CPT_ERR_FORMAT, group, "name too long");
    cpt_status status = h5_array_open(f, place, &a, e);
    if (status == CPT_OK && a.class == H5_IS_INTEGER && a.n_dims == 1 && a.shape[0] == 2)
        status = h5_array_read(&a, 0, 2, H5T_NATIVE_INT64, shape, e);
    h5_array_close(&a);
    if (status == CPT_OK && (shape[0] != n_features || shape[1] != n_cells))
        status = h5_fail(f, e, CPT_ERR_FORMAT, place,
                         "says %lld x %lld, but there are %lld features and %lld "
                         "barcodes; the file is damaged",
                         (long long)shape[0], (long long)shape[1], (long long)n_features,
                         (long long)n_cells);
    return status;
}

static cpt_status read_tenx_h5(cpt_reader *r, const h5_file *f, features *x, cpt_strings *cells,
                               cpt_err *e)
{
    cpt_status status;
    char group[H5_PLACE_LIMIT];
    int n_groups;
    CPT_TRY(tenx_group(f, group, &n_groups, e));
    if (n_groups > 1)
        return h5_fail(f, e, CPT_ERR_UNSUPPORTED, "", "holds %d genomes; convert one of them with "
                       "scanpy.read_10x_h5(..., genome=...)", n_groups);
    CPT_TRY(texts_at(f, group, "barcodes", cells, e));
    CPT_TRY(h5_features(f, group, x, e));
    CPT_TRY(check_h5_shape(f, group, x->ids.n, cells->n, e));
    CPT_TRY(number_features(r, x, e));
    if (!cells->n || !x->n_kept || cells->n >= INT32_MAX || x->ids.n >= INT32_MAX)
        return h5_fail(f, e, CPT_ERR_FORMAT, group,
                       "%lld barcodes and %lld genes; there is nothing to work on",
                       (long long)cells->n, (long long)x->n_kept);
    h5_counts counts = {.place = group, .n_cells = cells->n, .n_genes = x->ids.n, .keep = x->place};
    CPT_TRY(h5_sparse_counts(r, f, &counts, false, e));
    CPT_TRY(write_names(r, x, cells, e));
    CPT_TRY(finish(r, group, e));
done:
    return status;
}

cpt_status cpt_read_tenx_h5(cpt_reader *r, const h5_file *f, cpt_err *e)
{
    features x = {0};
    cpt_strings cells = {0};
    cpt_status status = read_tenx_h5(r, f, &x, &cells, e);
    free_features(&x);
    cpt_strings_free(&cells);
    return status;
}

cpt_status cpt_inspect_tenx_h5(const h5_file *f, json_t *root, cpt_err *e)
{
    cpt_status status;
    char group[H5_PLACE_LIMIT];
    features x = {0};
    cpt_strings cells = {0};
    int n_groups;
    CPT_TRY(tenx_group(f, group, &n_groups, e));
    CPT_TRY(texts_at(f, group, "barcodes", &cells, e));
    CPT_TRY(h5_features(f, group, &x, e));
    json_object_set_new(root, "n_cells", json_integer(cells.n));
    json_object_set_new(root, "n_genes", json_integer(x.ids.n));
    json_object_set_new(root, "group", json_string(group));
done:
    free_features(&x);
    cpt_strings_free(&cells);
    return status;
}

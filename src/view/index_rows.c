#include "base/memory.h"
#include "io/tsv.h"
#include "study/naming.h"
#include "view/pair_counts.h"
#include "view/term_list.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The enrichment, by concept, by term and by gene.
 *
 * enrichment.tsv.gz is read once, line by line; lines with p <= 0.05 become rows of numbers, with
 * terms and genes numbered. Memory: the rows with q < 0.05 and one counter per (gene, term) that
 * occurs in them. */

enum { PATH_LIMIT = 4096, MAX_COLUMNS = 64, MAX_LINE = 1 << 24 };

/* ---- rows ---- */

enum {
    C_CONCEPT,
    C_RANKING,
    C_METHOD,
    C_COLLECTION,
    C_TERM,
    C_NAME,
    C_SIZE,
    C_OVERLAP,
    C_ES,
    C_NES,
    C_P,
    C_LOG10P,
    C_Q,
    C_LOG2ERR,
    C_EDGE,
    C_REPRESENTED,
    N_WANTED
};
static const char *const wanted[N_WANTED] = {
    "concept", "ranking", "method",       "collection",    "term", "name",
    "size",    "overlap", "es",           "nes",           "p",    "log10p",
    "q",       "log2err", "leading_edge", "represented_by"};

typedef struct significant {
    int32_t term, concept;
    float strength; /* -log10 p */
    int64_t row;
} significant;

typedef struct table {
    cpt_index_job *job;
    cpt_term_list *terms;
    cpt_strings rankings, methods;
    cpt_index *genes; /* symbol -> universe number */
    cpt_npy_writer codes, values, edges;
    int64_t *row_first, *edge_first; /* [F + 1], [n_rows + 1] */
    size_t edge_capacity;
    int64_t n_rows, n_edges;
    significant *found;
    size_t n_found, found_capacity;
    cpt_pair_counts pairs;
    json_t *markers;    /* names of their collections */
    cpt_naming best;    /* of the concept's rows so far */
    char *field[N_WANTED];
} table;

static double number_or_nan(const char *s)
{
    double x;
    return cpt_parse_double(s, &x) ? x : NAN;
}

/* Which row names a concept: as cpt_study_top_term. */
static void consider(table *t, const cpt_index_row *r)
{
    int64_t *best_row = &t->job->best_row[r->codes[CPT_ROW_CONCEPT]];
    cpt_naming here;
    bool marker = cpt_is_marker_collection(t->markers, t->field[C_COLLECTION]);
    if (!cpt_naming_of(t->field[C_RANKING], t->field[C_METHOD], marker, r->values[CPT_ROW_Q],
                       r->values[CPT_ROW_LOG10P], r->values[CPT_ROW_NES], r->values[CPT_ROW_LOG2ERR], &here) ||
        (*best_row >= 0 && !cpt_naming_beats(&here, &t->best)))
        return;
    *best_row = t->n_rows;
    t->best = here;
}

/* Representative terms of GSEA with q < 0.05: what the landscape counts. */
static void count_terms(table *t, const cpt_index_row *r)
{
    double *facts = t->job->facts + (int64_t)r->codes[CPT_ROW_CONCEPT] * CPT_N_FACTS;
    if (strcmp(t->field[C_METHOD], "gsea") || r->codes[CPT_ROW_REPRESENTED] >= 0 ||
        !(r->values[CPT_ROW_Q] < 0.05))
        return;
    if (strcmp(t->field[C_RANKING], "attribution") == 0) facts[CPT_FACT_TERMS_ATTRIBUTION]++;
    else if (strcmp(t->field[C_RANKING], "expression") == 0) facts[CPT_FACT_TERMS_EXPRESSION]++;
}

static cpt_status add_edges(table *t, const cpt_index_row *r, cpt_err *e)
{
    cpt_status status = CPT_OK;
    bool counts = r->values[CPT_ROW_Q] < 0.05;
    for (char *p = t->field[C_EDGE], *next; *p && status == CPT_OK; p = next) {
        size_t n = strcspn(p, ",");
        next = p + n + (p[n] == ',');
        int64_t gene = cpt_index_get_n(t->genes, p, n);
        if (gene < 0) continue;
        int32_t number = (int32_t)gene;
        status = cpt_npy_append(&t->edges, &number, 1, e);
        t->n_edges++;
        if (status == CPT_OK && counts)
            status =
                cpt_pair_counts_add(&t->pairs, number, r->codes[CPT_ROW_TERM], r->codes[CPT_ROW_CONCEPT], e);
    }
    return status;
}

static cpt_status read_row(table *t, const cpt_lines *in, cpt_index_row *r, cpt_err *e)
{
    static const int value_columns[CPT_N_VALUES] = {C_ES, C_NES, C_P, C_LOG10P, C_Q, C_LOG2ERR};
    int64_t concept, size, overlap;
    if (t->field[C_CONCEPT][0] != 'c' || !cpt_parse_i64(t->field[C_CONCEPT] + 1, &concept) ||
        !cpt_parse_i64(t->field[C_SIZE], &size) || !cpt_parse_i64(t->field[C_OVERLAP], &overlap) ||
        concept < 0 || concept >= t->job->u->n_concepts)
        return cpt_lines_fail(in, e, "not a line of an enrichment table");
    for (int i = 0; i < CPT_N_VALUES; i++) r->values[i] = number_or_nan(t->field[value_columns[i]]);
    if (!(r->values[CPT_ROW_P] <= CPT_ENRICHMENT_P)) return CPT_OK;
    cpt_status status;
    const char *collection = t->field[C_COLLECTION];
    r->codes[CPT_ROW_CONCEPT] = (int32_t) concept;
    r->codes[CPT_ROW_SIZE] = (int32_t)size;
    r->codes[CPT_ROW_OVERLAP] = (int32_t)overlap;
    CPT_TRY(cpt_name_number(&t->rankings, t->field[C_RANKING], &r->codes[CPT_ROW_RANKING], e));
    CPT_TRY(cpt_name_number(&t->methods, t->field[C_METHOD], &r->codes[CPT_ROW_METHOD], e));
    CPT_TRY(cpt_name_number(&t->terms->collections, collection, &r->codes[CPT_ROW_COLLECTION], e));
    CPT_TRY(cpt_term_list_number(t->terms, collection, t->field[C_TERM], t->field[C_NAME], "",
                        &r->codes[CPT_ROW_TERM], e));
    r->codes[CPT_ROW_REPRESENTED] = -1;
    if (*t->field[C_REPRESENTED])
        CPT_TRY(cpt_term_list_number(t->terms, collection, t->field[C_REPRESENTED], t->field[C_REPRESENTED],
                            "", &r->codes[CPT_ROW_REPRESENTED], e));
done:
    return status;
}

static cpt_status keep_row(table *t, const cpt_lines *in, const cpt_index_row *r, cpt_err *e)
{
    int32_t concept = r->codes[CPT_ROW_CONCEPT];
    cpt_status status;
    if (t->n_found && t->found[t->n_found - 1].concept > concept)
        return cpt_lines_fail(in, e, "concepts are out of order; run the stage enrichment again");
    consider(t, r);
    count_terms(t, r);
    CPT_TRY(add_edges(t, r, e));
    CPT_TRY(cpt_npy_append(&t->codes, r->codes, CPT_N_CODES, e));
    CPT_TRY(cpt_npy_append(&t->values, r->values, CPT_N_VALUES, e));
    if (r->values[CPT_ROW_Q] < 0.05) {
        CPT_TRY(cpt_grow(&t->found, &t->found_capacity, t->n_found + 1, sizeof *t->found, e));
        t->found[t->n_found++] = (significant){r->codes[CPT_ROW_TERM], concept,
                                               (float)-r->values[CPT_ROW_LOG10P], t->n_rows};
    }
    CPT_TRY(cpt_grow(&t->edge_first, &t->edge_capacity, (size_t)t->n_rows + 2,
                     sizeof *t->edge_first, e));
    t->edge_first[++t->n_rows] = t->n_edges;
    t->row_first[concept + 1] = t->n_rows;
done:
    return status;
}

static cpt_status read_header(cpt_lines *in, int column[N_WANTED], cpt_err *e)
{
    char *line = NULL, *fields[MAX_COLUMNS];
    cpt_status status;
    do status = cpt_lines_next(in, &line, NULL, e);
    while (status == CPT_OK && line && line[0] == '#');
    if (status) return status;
    size_t n = line ? cpt_tsv_split(line, '\t', fields, MAX_COLUMNS) : 0;
    for (int i = 0; i < N_WANTED; i++) {
        column[i] = cpt_tsv_column(fields, n < MAX_COLUMNS ? n : MAX_COLUMNS, wanted[i]);
        if (column[i] < 0) return cpt_lines_fail(in, e, "there is no column '%s'", wanted[i]);
    }
    return CPT_OK;
}

static cpt_status read_table(table *t, const char *path, cpt_err *e)
{
    int column[N_WANTED];
    char *line, *fields[MAX_COLUMNS];
    cpt_lines *in = cpt_lines_open(path, MAX_LINE, e);
    if (!in) return e ? e->code : CPT_ERR_IO;
    cpt_status status = read_header(in, column, e);
    while (status == CPT_OK && (status = cpt_lines_next(in, &line, NULL, e)) == CPT_OK && line) {
        cpt_index_row row = {.values = {NAN, NAN, NAN, NAN, NAN, NAN}};
        size_t n = cpt_tsv_split(line, '\t', fields, MAX_COLUMNS);
        for (int i = 0; i < N_WANTED; i++) {
            if ((size_t)column[i] >= n) status = cpt_lines_fail(in, e, "too few columns");
            else t->field[i] = fields[column[i]];
        }
        if (status == CPT_OK) status = read_row(t, in, &row, e);
        if (status == CPT_OK && row.values[CPT_ROW_P] <= CPT_ENRICHMENT_P)
            status = keep_row(t, in, &row, e);
        if (status == CPT_OK && cpt_lines_number(in) % 65536 == 0)
            status = cpt_check_stop(t->job->s->ctx, e);
    }
    cpt_lines_close(in);
    return status;
}

/* ---- inverses ---- */

static int by_term(const void *a, const void *b)
{
    const significant *x = a, *y = b;
    if (x->term != y->term) return x->term < y->term ? -1 : 1;
    if (x->strength != y->strength) return x->strength > y->strength ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

static cpt_status put_rows_by_term(table *t, cpt_err *e)
{
    int64_t n = t->terms->ids.n, *first = NULL, *rows = NULL;
    cpt_status status;
    CPT_TRY(cpt_alloc(&first, (size_t)n + 1, sizeof *first, e));
    CPT_TRY(cpt_alloc(&rows, t->n_found, sizeof *rows, e));
    if (t->n_found) qsort(t->found, t->n_found, sizeof *t->found, by_term);
    for (size_t i = 0; i < t->n_found; i++) {
        rows[i] = t->found[i].row;
        first[t->found[i].term + 1]++;
    }
    for (int64_t i = 0; i < n; i++) first[i + 1] += first[i];
    CPT_TRY(cpt_index_put(t->job, "term_rows.first", CPT_I64, n + 1, 0, first, e));
    status = cpt_index_put(t->job, "term_rows.items", CPT_I64, (int64_t)t->n_found, 0, rows, e);
done:
    free(first);
    free(rows);
    return status;
}

static cpt_status put_gene_terms(table *t, cpt_err *e)
{
    int64_t n_genes = t->job->universe->n, *first = NULL;
    int32_t *items = NULL;
    size_t n = cpt_pair_counts_sort(&t->pairs);
    cpt_status status;
    CPT_TRY(cpt_alloc(&first, (size_t)n_genes + 1, sizeof *first, e));
    CPT_TRY(cpt_alloc(&items, 2 * n, sizeof *items, e));
    for (size_t i = 0; i < n; i++) {
        items[2 * i] = t->pairs.slots[i].term;
        items[2 * i + 1] = t->pairs.slots[i].concepts;
        first[t->pairs.slots[i].gene + 1] += 2;
    }
    for (int64_t g = 0; g < n_genes; g++) first[g + 1] += first[g];
    CPT_TRY(cpt_index_put(t->job, "gene_terms.first", CPT_I64, n_genes + 1, 0, first, e));
    status = cpt_index_put(t->job, "gene_terms.items", CPT_I32, 2 * (int64_t)n, 0, items, e);
done:
    free(first);
    free(items);
    return status;
}

/* ---- all ---- */

static cpt_status begin(const table *t, const char *name, cpt_dtype type, int64_t width,
                        cpt_npy_writer *w, cpt_err *e)
{
    char file[64], path[PATH_LIMIT];
    int64_t shape[2] = {-1, width};
    snprintf(file, sizeof file, "cache/index/%s.npy", name);
    cpt_status status = cpt_study_path(t->job->s, file, path, sizeof path, e);
    return status ? status : cpt_npy_begin(w, path, type, width ? 2 : 1, shape, e);
}

static cpt_status open_table(table *t, cpt_err *e)
{
    cpt_status status;
    int64_t n_genes = t->job->universe->n;
    if (!(t->genes = cpt_index_new((size_t)n_genes, e))) return CPT_ERR_MEMORY;
    CPT_TRY(cpt_marker_collections(t->job->s, &t->markers, e));
    CPT_TRY(begin(t, "rows.codes", CPT_I32, CPT_N_CODES, &t->codes, e));
    CPT_TRY(begin(t, "rows.values", CPT_F64, CPT_N_VALUES, &t->values, e));
    CPT_TRY(begin(t, "edges.items", CPT_I32, 0, &t->edges, e));
    for (int64_t g = 0; g < n_genes; g++)
        CPT_TRY(
            cpt_index_add(t->genes, cpt_strings_get(&t->job->universe->symbols, g), g, NULL, e));
    CPT_TRY(cpt_alloc(&t->row_first, (size_t)t->job->u->n_concepts + 1, sizeof *t->row_first, e));
    CPT_TRY(cpt_grow(&t->edge_first, &t->edge_capacity, 1, sizeof *t->edge_first, e));
    t->edge_first[0] = 0;
    for (int32_t c = 0; c < t->job->u->n_concepts; c++) {
        t->job->facts[(int64_t)c * CPT_N_FACTS + CPT_FACT_TERMS_ATTRIBUTION] = 0;
        t->job->facts[(int64_t)c * CPT_N_FACTS + CPT_FACT_TERMS_EXPRESSION] = 0;
    }
done:
    return status;
}

static cpt_status put_rows(table *t, cpt_err *e)
{
    int32_t n_concepts = t->job->u->n_concepts;
    cpt_status status;
    for (int32_t c = 0; c < n_concepts; c++)
        if (t->row_first[c + 1] < t->row_first[c]) t->row_first[c + 1] = t->row_first[c];
    CPT_TRY(cpt_npy_finish(&t->codes, e));
    CPT_TRY(cpt_npy_finish(&t->values, e));
    CPT_TRY(cpt_npy_finish(&t->edges, e));
    CPT_TRY(cpt_index_put(t->job, "rows.first", CPT_I64, n_concepts + 1, 0, t->row_first, e));
    CPT_TRY(cpt_index_put(t->job, "edges.first", CPT_I64, t->n_rows + 1, 0, t->edge_first, e));
    CPT_TRY(put_rows_by_term(t, e));
    CPT_TRY(put_gene_terms(t, e));
    json_array_append_new(t->job->have, json_string("rows"));
done:
    return status;
}

static void close_table(table *t)
{
    cpt_npy_abandon(&t->codes);
    cpt_npy_abandon(&t->values);
    cpt_npy_abandon(&t->edges);
    cpt_strings_free(&t->rankings);
    cpt_strings_free(&t->methods);
    cpt_index_free(t->genes);
    json_decref(t->markers);
    free(t->row_first);
    free(t->edge_first);
    free(t->found);
    free(t->pairs.slots);
}

cpt_status cpt_index_rows(cpt_index_job *job, cpt_term_list *terms, const char *path, cpt_err *e)
{
    table t = {.job = job, .terms = terms};
    cpt_status status;
    CPT_TRY(open_table(&t, e));
    CPT_TRY(read_table(&t, path, e));
    status = put_rows(&t, e);
done:
    json_object_set_new(job->head, "rankings", cpt_names_json(&t.rankings));
    json_object_set_new(job->head, "methods", cpt_names_json(&t.methods));
    close_table(&t);
    return status;
}

/* gaf.c - which gene has which term: reader of the Gene Association File 2.x.
 *
 * Fifteen to seventeen TAB-separated columns; we use symbol (3), qualifier (4), GO id (5), evidence (7),
 * aspect (9) and synonyms (11). Rows whose qualifier contains NOT say that a gene does *not* have a
 * term and are dropped; taking them as annotations is the classical mistake of home-made readers
 * (Gaudet and Dessimoz 2017). A NOT row takes nothing away from what other rows say.
 *
 * Genes meet the universe in two steps, after the whole file is known: by symbol, or else by synonym
 * when exactly one gene of the file has the synonym, it is no gene's own symbol, and exactly one of
 * the gene's synonyms is in the universe. A symbol that several columns share annotates all of them.
 *
 * Then the true-path rule (true_path.c). Linear in rows; genes and terms of consecutive rows are mostly the
 * same, so the last gene is remembered.
 */
#include "ontology/go.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "base/memory.h"
#include "io/tsv.h"
#include "ontology/true_path.h"

enum {
    MAX_LINE = 1 << 20, MAX_HEADER = 8192, MIN_COLUMNS = 15, MAX_COLUMNS = 17,
    SYMBOL = 2, QUALIFIER = 3, TERM = 4, EVIDENCE = 6, ASPECT = 8, SYNONYMS = 10,
    MAX_EXCLUDED = 32, NONE = -1
};

typedef struct direct {
    int32_t gene, term; /* gene of the file, not of the universe */
} direct;

typedef struct reader {
    cpt_lines *in;
    const cpt_go *go;
    cpt_annotation *a;
    char excluded[MAX_EXCLUDED][4];
    int n_excluded;
    cpt_strings symbols, synonyms; /* of the genes of the file, in order of appearance */
    int64_t *synonym_first;        /* [symbols.n + 1] synonyms of gene g: [synonym_first[g]] .. */
    size_t synonym_capacity;
    cpt_text last_symbol;
    int32_t last_gene;
    direct *rows;
    int64_t n_rows;
    size_t row_capacity;
} reader;

/* ---- options ---- */

static const char *const evidence_codes[] = {
    "EXP", "IDA", "IPI", "IMP", "IGI", "IEP", "HTP", "HDA", "HMP", "HGI", "HEP", "IBA", "IBD", "IKR",
    "IRD", "ISS", "ISO", "ISA", "ISM", "IGC", "RCA", "TAS", "NAS", "IC", "ND", "IEA"};
enum { N_EVIDENCE_CODES = sizeof evidence_codes / sizeof *evidence_codes };

static cpt_status exclude_code(reader *r, const char *code, cpt_err *e)
{
    for (int i = 0; i < N_EVIDENCE_CODES; i++) {
        if (strcmp(code, evidence_codes[i]) != 0) continue;
        if (r->n_excluded < MAX_EXCLUDED) strcpy(r->excluded[r->n_excluded++], code);
        return CPT_OK;
    }
    const char *near = cpt_nearest_word(code, evidence_codes, N_EVIDENCE_CODES);
    return cpt_fail(e, CPT_ERR_USAGE, "'%s' is not an evidence code of the Gene Ontology%s%s%s; codes "
                    "are separated by commas, such as IEA,ND", code, near ? " (did you mean " : "",
                    near ? near : "", near ? "?)" : "");
}

static cpt_status parse_excluded(reader *r, const char *list, cpt_err *e)
{
    if (!list || !*list) return CPT_OK;
    char *copy = cpt_strdup(list);
    if (!copy) return cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
    cpt_status status = CPT_OK;
    for (char *rest = copy, *code; status == CPT_OK && (code = strsep(&rest, ","));)
        if (*code) status = exclude_code(r, code, e);
    free(copy);
    return status;
}

static bool is_excluded(const reader *r, const char *evidence)
{
    for (int i = 0; i < r->n_excluded; i++)
        if (strcmp(r->excluded[i], evidence) == 0) return true;
    return false;
}

/* ---- rows ---- */

static bool says_not(char *qualifier)
{
    for (char *word; (word = strsep(&qualifier, "|"));)
        if (strcasecmp(word, "NOT") == 0) return true;
    return false;
}

static cpt_status add_gene(reader *r, const char *symbol, char *synonyms, cpt_err *e)
{
    if (r->symbols.n >= INT32_MAX - 1) return cpt_lines_fail(r->in, e, "too many genes");
    cpt_status status;
    r->last_gene = (int32_t)r->symbols.n;
    CPT_TRY(cpt_strings_add(&r->symbols, symbol, strlen(symbol), e));
    for (char *word; (word = strsep(&synonyms, "|"));)
        if (*word) CPT_TRY(cpt_strings_add(&r->synonyms, word, strlen(word), e));
    CPT_TRY(cpt_grow(&r->synonym_first, &r->synonym_capacity, (size_t)r->symbols.n + 1,
                     sizeof *r->synonym_first, e));
    r->synonym_first[0] = 0;
    r->synonym_first[r->symbols.n] = r->synonyms.n;
    r->last_symbol.length = 0;
    cpt_text_add(&r->last_symbol, symbol);
    status = cpt_text_status(&r->last_symbol, e);
done:
    return status;
}

/* Rows of one gene usually stand together; a gene that comes again later is a new entry of the same
 * symbol, joined to the first one when the genes are matched. */
static cpt_status gene_of_row(reader *r, char *const *fields, cpt_err *e)
{
    if (r->symbols.n && strcmp(cpt_text_str(&r->last_symbol), fields[SYMBOL]) == 0) return CPT_OK;
    return add_gene(r, fields[SYMBOL], fields[SYNONYMS], e);
}

static int aspect_of(const char *letter)
{
    static const char letters[] = "PFC"; /* in order of cpt_go_aspect */
    const char *at = *letter && !letter[1] ? strchr(letters, *letter) : NULL;
    return at ? (int)(at - letters) : NONE;
}

static cpt_status read_row(reader *r, char *line, cpt_err *e)
{
    char *f[MAX_COLUMNS];
    size_t n = cpt_tsv_split(line, '\t', f, MAX_COLUMNS);
    if (n < MIN_COLUMNS)
        return cpt_lines_fail(r->in, e, "has %zu columns, GAF 2 has 15 to 17 separated by TAB; is this a "
                              "gene association file?", n);
    if (!*f[SYMBOL]) return cpt_lines_fail(r->in, e, "column 3 (symbol) is empty");
    if (!*f[TERM]) return cpt_lines_fail(r->in, e, "column 5 (GO id) is empty");
    int aspect = aspect_of(f[ASPECT]);
    if (aspect == NONE)
        return cpt_lines_fail(r->in, e, "column 9 (aspect) is '%.16s', not P, F or C", f[ASPECT]);
    r->a->n_rows++;
    cpt_status status = gene_of_row(r, f, e); /* rows to be dropped too: they say whose a synonym is */
    if (status) return status;
    bool excluded = is_excluded(r, f[EVIDENCE]);
    if (says_not(f[QUALIFIER])) {
        r->a->n_not++;
        return CPT_OK;
    }
    r->a->n_excluded += excluded;
    if (excluded) return CPT_OK;
    r->a->n_iea += strcmp(f[EVIDENCE], "IEA") == 0;
    int64_t term = cpt_index_get(r->go->by_id, f[TERM]);
    if (term < 0) {
        r->a->n_unknown_term++;
        return CPT_OK;
    }
    r->a->n_wrong_aspect += r->go->aspect[term] != aspect;
    status = cpt_grow(&r->rows, &r->row_capacity, (size_t)r->n_rows + 1, sizeof *r->rows, e);
    if (status) return status;
    r->rows[r->n_rows++] = (direct){r->last_gene, (int32_t)term};
    return CPT_OK;
}

static cpt_status read_file(reader *r, cpt_err *e)
{
    for (;;) {
        char *line;
        size_t length;
        cpt_status status = cpt_lines_next(r->in, &line, &length, e);
        if (status || !line) return status;
        if (*line == '!') {
            if (r->a->n_rows == 0 && r->a->header.length + length < MAX_HEADER) {
                cpt_text_add_bytes(&r->a->header, line, length);
                cpt_text_add(&r->a->header, "\n");
            }
        } else if (*line) {
            status = read_row(r, line, e);
            if (status) return status;
        }
    }
}

/* ---- genes of the file -> columns of the universe ---- */

typedef struct matcher {
    const cpt_strings *universe;
    cpt_index *columns;   /* symbol -> first column with it */
    int32_t *next_column; /* [n_universe] next column with the same symbol, or NONE */
    cpt_index *genes;     /* symbol -> first entry of the file */
    cpt_index *synonyms;  /* synonym -> its first place in reader.synonyms */
    int32_t *owner;       /* [synonyms.n] at the first place: the one gene that has it, or NONE */
} matcher;

static cpt_status index_universe(matcher *m, cpt_err *e)
{
    int64_t n = m->universe->n;
    m->columns = cpt_index_new((size_t)n, e);
    if (!m->columns) return CPT_ERR_MEMORY;
    cpt_status status = cpt_alloc(&m->next_column, (size_t)n, sizeof *m->next_column, e);
    if (status) return status;
    for (int64_t i = 0; i < n; i++) {
        int64_t first;
        status = cpt_index_add(m->columns, cpt_strings_get(m->universe, i), i, &first, e);
        if (status) return status;
        m->next_column[i] = first == i ? NONE : m->next_column[first];
        if (first != i) m->next_column[first] = (int32_t)i;
    }
    return CPT_OK;
}

static cpt_status index_file(matcher *m, const reader *r, cpt_err *e)
{
    cpt_status status = CPT_OK;
    m->genes = cpt_index_new((size_t)r->symbols.n, e);
    m->synonyms = m->genes ? cpt_index_new((size_t)r->synonyms.n, e) : NULL;
    if (!m->synonyms) return CPT_ERR_MEMORY;
    CPT_TRY(cpt_alloc(&m->owner, (size_t)r->synonyms.n, sizeof *m->owner, e));
    for (int64_t g = 0; g < r->symbols.n; g++) {
        int64_t gene, place;
        CPT_TRY(cpt_index_add(m->genes, cpt_strings_get(&r->symbols, g), g, &gene, e));
        for (int64_t i = r->synonym_first[g]; i < r->synonym_first[g + 1]; i++) {
            CPT_TRY(cpt_index_add(m->synonyms, cpt_strings_get(&r->synonyms, i), i, &place, e));
            if (place == i) m->owner[place] = (int32_t)gene;
            else if (m->owner[place] != gene) m->owner[place] = NONE;
        }
    }
done:
    return status;
}

/* First column of a gene of the file, NONE when it is not in the universe. */
static int32_t match_gene(const matcher *m, const reader *r, int64_t g)
{
    const char *symbol = cpt_strings_get(&r->symbols, g);
    int64_t column = cpt_index_get(m->columns, symbol);
    if (column >= 0) return (int32_t)column;
    int64_t gene = cpt_index_get(m->genes, symbol), found = NONE;
    for (int64_t i = r->synonym_first[g]; i < r->synonym_first[g + 1]; i++) {
        const char *synonym = cpt_strings_get(&r->synonyms, i);
        column = cpt_index_get(m->columns, synonym);
        if (column < 0 || column == found) continue;
        if (cpt_index_get(m->genes, synonym) >= 0) continue; /* another gene's own symbol */
        if (m->owner[cpt_index_get(m->synonyms, synonym)] != gene) continue;
        if (found != NONE) return NONE; /* two columns claim to be this gene */
        found = column;
    }
    return (int32_t)found;
}

static cpt_status match_genes(const reader *r, matcher *m, int32_t **column_of, cpt_err *e)
{
    cpt_status status;
    CPT_TRY(index_universe(m, e));
    CPT_TRY(index_file(m, r, e));
    CPT_TRY(cpt_alloc(column_of, (size_t)r->symbols.n, sizeof **column_of, e));
    for (int64_t g = 0; g < r->symbols.n; g++) (*column_of)[g] = match_gene(m, r, g);
done:
    return status;
}

/* ---- direct annotations by column, then up the graph ---- */

/* terms of column c: terms[first[c]] .. ; counted, summed, written. */
static cpt_status rows_by_column(const reader *r, const matcher *m, const int32_t *column_of,
                                 int64_t **first, int32_t **terms, cpt_err *e)
{
    int32_t n = r->a->n_universe;
    cpt_status status = cpt_alloc(first, (size_t)n + 2, sizeof **first, e);
    if (status) return status;
    int64_t *at = *first + 1; /* at[c] is first the start of column c, in the end the start of c + 1 */
    for (int64_t i = 0; i < r->n_rows; i++) {
        int32_t c = column_of[r->rows[i].gene];
        r->a->n_unknown_gene += c == NONE;
        for (; c != NONE; c = m->next_column[c]) at[c + 1]++;
    }
    for (int32_t c = 0; c < n; c++) {
        r->a->n_annotated_genes += at[c + 1] > 0;
        at[c + 1] += at[c];
    }
    status = cpt_alloc(terms, (size_t)at[n], sizeof **terms, e);
    if (status) return status;
    for (int64_t i = 0; i < r->n_rows; i++)
        for (int32_t c = column_of[r->rows[i].gene]; c != NONE; c = m->next_column[c])
            (*terms)[at[c]++] = r->rows[i].term;
    return CPT_OK;
}

static int ascending(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* A pair of gene and term that several rows support, by different evidence, is one annotation. */
static void remove_repeats(cpt_annotation *a)
{
    int64_t n = 0;
    for (int32_t g = 0; g < a->n_universe; g++) {
        int64_t begin = a->direct_first[g], end = a->direct_first[g + 1];
        if (end > begin) qsort(a->direct + begin, (size_t)(end - begin), sizeof *a->direct, ascending);
        a->direct_first[g] = n;
        for (int64_t i = begin; i < end; i++)
            if (i == begin || a->direct[i] != a->direct[i - 1]) a->direct[n++] = a->direct[i];
    }
    a->direct_first[a->n_universe] = n;
}

static cpt_status annotate(const reader *r, const cpt_strings *symbols, cpt_err *e)
{
    cpt_status status;
    matcher m = {.universe = symbols};
    int32_t *column_of = NULL;
    cpt_annotation *a = r->a;
    CPT_TRY(match_genes(r, &m, &column_of, e));
    CPT_TRY(rows_by_column(r, &m, column_of, &a->direct_first, &a->direct, e));
    remove_repeats(a);
    CPT_TRY(cpt_true_path(r->go, a->n_universe, a->direct_first, a->direct, &a->first, &a->genes, e));
done:
    cpt_index_free(m.columns);
    cpt_index_free(m.genes);
    cpt_index_free(m.synonyms);
    free(m.next_column);
    free(m.owner);
    free(column_of);
    return status;
}

cpt_status cpt_annotation_open(const char *gaf, const cpt_go *go, const cpt_strings *symbols,
                               const cpt_annotation_options *o, cpt_annotation **out, cpt_err *e)
{
    *out = NULL;
    cpt_status status;
    reader r = {.go = go, .a = calloc(1, sizeof *r.a)};
    if (!r.a) return cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
    if (symbols->n > INT32_MAX) {
        status = cpt_fail(e, CPT_ERR_DATA, "too many genes in the universe");
        goto done;
    }
    r.a->n_terms = go->n_terms;
    r.a->n_universe = (int32_t)symbols->n;
    CPT_TRY(parse_excluded(&r, o ? o->exclude_evidence : NULL, e));
    if (!(r.in = cpt_lines_open(gaf, MAX_LINE, e))) {
        status = e ? e->code : CPT_ERR_IO;
        goto done;
    }
    CPT_TRY(read_file(&r, e));
    if (r.a->n_rows == 0) {
        status = cpt_lines_fail(r.in, e, "the file has no annotation");
        goto done;
    }
    CPT_TRY(annotate(&r, symbols, e));
    CPT_TRY(cpt_text_status(&r.a->header, e));
    *out = r.a;
    r.a = NULL;
done:
    cpt_lines_close(r.in);
    cpt_annotation_free(r.a);
    cpt_strings_free(&r.symbols);
    cpt_strings_free(&r.synonyms);
    cpt_text_free(&r.last_symbol);
    free(r.synonym_first);
    free(r.rows);
    return status;
}

void cpt_annotation_free(cpt_annotation *a)
{
    if (!a) return;
    free(a->first);
    free(a->genes);
    free(a->direct_first);
    free(a->direct);
    cpt_text_free(&a->header);
    free(a);
}

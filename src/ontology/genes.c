/* genes.c - gene names of any age mapped onto current symbols.
 *
 * Problem: inputs name genes by Ensembl id (with or without version), by current symbols, or by
 * symbols of ten years ago (MLF1IP is CENPU today), while annotations use current symbols.
 *
 * Method: three hash indices, one per kind of name, in falling order of trust:
 *   1. the current symbol, exactly;
 *   2. the Ensembl id. Some 2 % of the ids are shared by several gene records (a gene and its
 *      antisense or read-through neighbour). Then the only protein-coding one is taken, and of several
 *      the only one that is not a read-through of another (EFNA3 rather than EFNA4-EFNA3); where that
 *      leaves none or several, the id is ambiguous and counts as unknown;
 *   3. an alias, only when it belongs to one gene and is not a current symbol.
 * With symbols and Ensembl ids side by side a current symbol wins over the id: the ids behind wrong
 * pairs are nearly always the shared ones above.
 *
 * Traps: dates made by spreadsheets (1-Mar, 2023-03-01) cannot be undone - MARCHF1 and MTARC1 both
 * give 1-Mar - and stay unknown. Matching is case-sensitive: mouse symbols are not human genes.
 */
#include "ontology/genes.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "io/tsv.h"

enum { MAX_LINE = 1 << 20, MAX_COLUMNS = 64, AMBIGUOUS = -1 };

/* Names of one kind, each with the gene it stands for. */
typedef struct name_list {
    cpt_strings names;
    int32_t *gene; /* [names.n], AMBIGUOUS when several genes have the name */
    size_t gene_capacity;
    cpt_index *index; /* name -> number of its first entry */
} name_list;

struct cpt_gene_table {
    cpt_strings symbols;
    cpt_index *by_symbol;
    bool *coding; /* [symbols.n] protein-coding */
    size_t coding_capacity;
    name_list ensembl, aliases;
};

typedef struct columns {
    int symbol, ensembl, type, aliases;
} columns;

/* ---- reading ---- */

static cpt_status list_add(name_list *list, const char *name, int32_t gene, cpt_err *e)
{
    cpt_status status = cpt_grow(&list->gene, &list->gene_capacity, (size_t)list->names.n + 1,
                                 sizeof *list->gene, e);
    if (status) return status;
    list->gene[list->names.n] = gene;
    return cpt_strings_add(&list->names, name, strlen(name), e);
}

static cpt_status add_names(name_list *list, char *joined, int32_t gene, cpt_err *e)
{
    for (char *rest = joined, *name; (name = strsep(&rest, "|"));) {
        if (!*name) continue;
        cpt_status status = list_add(list, name, gene, e);
        if (status) return status;
    }
    return CPT_OK;
}

static cpt_status read_header(cpt_lines *in, columns *c, cpt_err *e)
{
    char *line, *fields[MAX_COLUMNS];
    cpt_status status = cpt_lines_next(in, &line, NULL, e);
    if (status) return status;
    if (!line) return cpt_lines_fail(in, e, "the file is empty; a gene table is needed");
    size_t n = cpt_tsv_split(line, '\t', fields, MAX_COLUMNS);
    if (n > MAX_COLUMNS) n = MAX_COLUMNS;
    c->symbol = cpt_tsv_column(fields, n, "symbol");
    c->ensembl = cpt_tsv_column(fields, n, "ensembl_ids");
    c->type = cpt_tsv_column(fields, n, "gene_type");
    c->aliases = cpt_tsv_column(fields, n, "aliases");
    if (c->symbol < 0)
        return cpt_lines_fail(in, e, "has no column 'symbol'; a gene table begins with the line "
                                     "symbol TAB ensembl_ids TAB ... TAB aliases");
    return CPT_OK;
}

static cpt_status read_gene(cpt_gene_table *t, const cpt_lines *in, const columns *c, char *line,
                            cpt_err *e)
{
    char *fields[MAX_COLUMNS];
    size_t n = cpt_tsv_split(line, '\t', fields, MAX_COLUMNS);
    if (n > MAX_COLUMNS) n = MAX_COLUMNS;
    if ((size_t)c->symbol >= n || !*fields[c->symbol])
        return cpt_lines_fail(in, e, "has no symbol; every line of a gene table names a gene");
    if (t->symbols.n >= INT32_MAX) return cpt_lines_fail(in, e, "too many genes");
    int32_t gene = (int32_t)t->symbols.n;
    cpt_status status = cpt_grow(&t->coding, &t->coding_capacity, (size_t)gene + 1,
                                 sizeof *t->coding, e);
    if (status) return status;
    t->coding[gene] = c->type >= 0 && (size_t)c->type < n &&
                      strcmp(fields[c->type], "protein-coding") == 0;
    CPT_TRY(cpt_strings_add(&t->symbols, fields[c->symbol], strlen(fields[c->symbol]), e));
    if (c->ensembl >= 0 && (size_t)c->ensembl < n)
        CPT_TRY(add_names(&t->ensembl, fields[c->ensembl], gene, e));
    if (c->aliases >= 0 && (size_t)c->aliases < n)
        CPT_TRY(add_names(&t->aliases, fields[c->aliases], gene, e));
done:
    return status;
}

static cpt_status read_table(cpt_gene_table *t, cpt_lines *in, cpt_err *e)
{
    columns c;
    cpt_status status = read_header(in, &c, e);
    while (status == CPT_OK) {
        char *line;
        status = cpt_lines_next(in, &line, NULL, e);
        if (status || !line) break;
        if (*line) status = read_gene(t, in, &c, line, e);
    }
    if (status == CPT_OK && t->symbols.n == 0)
        return cpt_lines_fail(in, e, "the file names no gene");
    return status;
}

/* ---- indices ---- */

static cpt_status index_symbols(cpt_gene_table *t, const char *path, cpt_err *e)
{
    t->by_symbol = cpt_index_new((size_t)t->symbols.n, e);
    if (!t->by_symbol) return CPT_ERR_MEMORY;
    for (int64_t i = 0; i < t->symbols.n; i++) {
        int64_t first;
        cpt_status status = cpt_index_add(t->by_symbol, cpt_strings_get(&t->symbols, i), i, &first, e);
        if (status) return status;
        if (first != i)
            return cpt_fail(e, CPT_ERR_FORMAT, "%s: symbol %s stands there twice; the symbols of a "
                            "gene table must be unique", path, cpt_strings_get(&t->symbols, i));
    }
    return CPT_OK;
}

/* EFNA4-EFNA3 is a read-through of EFNA3. */
static bool is_read_through_of(const char *joined, const char *part)
{
    size_t n = strlen(part), m = strlen(joined);
    if (m <= n + 1) return false;
    return (strncmp(joined, part, n) == 0 && joined[n] == '-') ||
           (strcmp(joined + m - n, part) == 0 && joined[m - n - 1] == '-');
}

/* Which of two genes with the same Ensembl id it stands for. */
static int32_t prefer(const cpt_gene_table *t, int32_t a, int32_t b)
{
    if (a == b || a == AMBIGUOUS) return a;
    if (t->coding[a] != t->coding[b]) return t->coding[a] ? a : b;
    const char *name_a = cpt_strings_get(&t->symbols, a), *name_b = cpt_strings_get(&t->symbols, b);
    if (is_read_through_of(name_b, name_a)) return a;
    return is_read_through_of(name_a, name_b) ? b : AMBIGUOUS;
}

static int32_t same_or_ambiguous(const cpt_gene_table *t, int32_t a, int32_t b)
{
    return a == b ? a : AMBIGUOUS;
}

typedef int32_t choose_fn(const cpt_gene_table *t, int32_t a, int32_t b);

static cpt_status index_names(const cpt_gene_table *t, name_list *list, choose_fn *choose, cpt_err *e)
{
    list->index = cpt_index_new((size_t)list->names.n, e);
    if (!list->index) return CPT_ERR_MEMORY;
    for (int64_t i = 0; i < list->names.n; i++) {
        int64_t first;
        cpt_status status = cpt_index_add(list->index, cpt_strings_get(&list->names, i), i, &first, e);
        if (status) return status;
        list->gene[first] = choose(t, list->gene[first], list->gene[i]);
    }
    return CPT_OK;
}

cpt_status cpt_gene_table_open(const char *path, cpt_gene_table **out, cpt_err *e)
{
    *out = NULL;
    cpt_status status;
    cpt_gene_table *t = calloc(1, sizeof *t);
    cpt_lines *in = cpt_lines_open(path, MAX_LINE, e);
    if (!t || !in) {
        status = in ? cpt_fail(e, CPT_ERR_MEMORY, "out of memory") : e ? e->code : CPT_ERR_IO;
        goto done;
    }
    CPT_TRY(read_table(t, in, e));
    CPT_TRY(index_symbols(t, path, e));
    CPT_TRY(index_names(t, &t->ensembl, prefer, e));
    CPT_TRY(index_names(t, &t->aliases, same_or_ambiguous, e));
    *out = t;
    t = NULL;
done:
    cpt_lines_close(in);
    cpt_gene_table_free(t);
    return status;
}

static void list_free(name_list *list)
{
    cpt_strings_free(&list->names);
    free(list->gene);
    cpt_index_free(list->index);
}

void cpt_gene_table_free(cpt_gene_table *t)
{
    if (!t) return;
    cpt_strings_free(&t->symbols);
    cpt_index_free(t->by_symbol);
    free(t->coding);
    list_free(&t->ensembl);
    list_free(&t->aliases);
    free(t);
}

/* ---- looking up ---- */

static int32_t find_symbol(const cpt_gene_table *t, const char *name)
{
    return (int32_t)cpt_index_get(t->by_symbol, name);
}

static int32_t find_in_list(const name_list *list, const char *name, size_t length)
{
    int64_t entry = cpt_index_get_n(list->index, name, length);
    return entry < 0 ? AMBIGUOUS : list->gene[entry];
}

static int32_t find_ensembl(const cpt_gene_table *t, const char *name)
{
    if (strncmp(name, "ENSG", 4) != 0) return AMBIGUOUS;
    return find_in_list(&t->ensembl, name, strcspn(name, "."));
}

static int32_t find_alias(const cpt_gene_table *t, const char *name)
{
    return find_in_list(&t->aliases, name, strlen(name));
}

const char *cpt_gene_table_symbol(const cpt_gene_table *t, const char *name, cpt_gene_match *how)
{
    cpt_gene_match match = CPT_GENE_SYMBOL;
    int32_t gene = find_symbol(t, name);
    if (gene < 0) {
        match = CPT_GENE_ENSEMBL;
        gene = find_ensembl(t, name);
    }
    if (gene < 0) {
        match = CPT_GENE_ALIAS;
        gene = find_alias(t, name);
    }
    if (how) *how = gene < 0 ? CPT_GENE_UNKNOWN : match;
    return gene < 0 ? NULL : cpt_strings_get(&t->symbols, gene);
}

/* ---- all genes of an input ---- */

static const cpt_column *symbol_column(const cpt_table *var)
{
    static const char *const names[] = {"gene_symbol", "feature_name", "gene_name", "gene_symbols"};
    for (size_t k = 0; var && k < sizeof names / sizeof *names; k++)
        for (int32_t i = 0; i < var->n_columns; i++)
            if (var->columns[i].kind == CPT_COLUMN_CATEGORY &&
                strcmp(var->columns[i].name, names[k]) == 0)
                return &var->columns[i];
    return NULL;
}

/* The name given in the column, or the id where the column has none. */
static const char *given_name(const cpt_column *column, const cpt_strings *ids, int64_t gene)
{
    int32_t code = column ? column->codes[gene] : -1;
    const char *name = code >= 0 && code < column->categories.n
                           ? cpt_strings_get(&column->categories, code) : "";
    return *name ? name : cpt_strings_get(ids, gene);
}

static const char *current_name(const cpt_gene_table *t, const char *name, const char *id,
                                uint8_t *how)
{
    cpt_gene_match by_name = CPT_GENE_UNKNOWN, by_id = CPT_GENE_UNKNOWN;
    *how = CPT_GENE_UNKNOWN;
    if (!t) return name;
    const char *symbol = cpt_gene_table_symbol(t, name, &by_name);
    if (by_name != CPT_GENE_SYMBOL && strcmp(name, id) != 0) {
        const char *other = cpt_gene_table_symbol(t, id, &by_id);
        if (other && (!symbol || by_id < by_name)) {
            symbol = other;
            by_name = by_id;
        }
    }
    *how = (uint8_t)by_name;
    return symbol ? symbol : name;
}

static cpt_status count_matches(cpt_gene_map *m, cpt_err *e)
{
    cpt_index *seen = cpt_index_new((size_t)m->symbols.n, e);
    cpt_status status = seen ? CPT_OK : CPT_ERR_MEMORY;
    for (int64_t i = 0; i < m->symbols.n && status == CPT_OK; i++) {
        int64_t first;
        status = cpt_index_add(seen, cpt_strings_get(&m->symbols, i), i, &first, e);
        if (status) break;
        m->n_duplicate += first != i;
        m->n_symbol += m->how[i] == CPT_GENE_SYMBOL;
        m->n_ensembl += m->how[i] == CPT_GENE_ENSEMBL;
        m->n_alias += m->how[i] == CPT_GENE_ALIAS;
        m->n_unknown += m->how[i] == CPT_GENE_UNKNOWN;
    }
    cpt_index_free(seen);
    return status;
}

cpt_status cpt_gene_map_make(const cpt_gene_table *table, const cpt_strings *gene_ids,
                             const cpt_table *var, cpt_gene_map *out, cpt_err *e)
{
    *out = (cpt_gene_map){0};
    cpt_status status;
    const cpt_column *column = symbol_column(var);
    if (gene_ids->n > INT32_MAX || (column && var->n_rows != gene_ids->n))
        return cpt_fail(e, CPT_ERR_DATA, "the input has %lld genes but %lld rows in var",
                        (long long)gene_ids->n, column ? (long long)var->n_rows : 0LL);
    CPT_TRY(cpt_alloc(&out->how, (size_t)gene_ids->n, sizeof *out->how, e));
    for (int64_t i = 0; i < gene_ids->n; i++) {
        const char *name = current_name(table, given_name(column, gene_ids, i),
                                        cpt_strings_get(gene_ids, i), &out->how[i]);
        CPT_TRY(cpt_strings_add(&out->symbols, name, strlen(name), e));
    }
    status = count_matches(out, e);
done:
    if (status) cpt_gene_map_free(out);
    return status;
}

void cpt_gene_map_free(cpt_gene_map *m)
{
    if (!m) return;
    cpt_strings_free(&m->symbols);
    free(m->how);
    *m = (cpt_gene_map){0};
}

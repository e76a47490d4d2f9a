/* gmt.c - gene sets out of GMT files: NAME TAB DESCRIPTION TAB gene TAB gene ... per line.
 *
 * A gene of a set is looked up among the symbols of the universe as it stands, then by its current
 * symbol when a gene table is given (sets of 2010 name SEPT9). A symbol that several columns share brings
 * all of them; a gene twice in a line counts once. Sets are sorted by name, so that the result
 * does not depend on the order of the file. Linear, apart from the sorts.
 *
 * Traps: MSigDB puts a web address where others put a description, and others a placeholder, so a
 * name has at least two words; some exports end every line in TABs; two sets of one name would be one row in every table, so
 * the second is refused.
 */
#include "ontology/genesets.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "base/memory.h"
#include "ontology/genes.h"
#include "ontology/set_family.h"

enum { MAX_LINE = 1 << 24, NONE = -1 };

typedef struct raw_set {
    const char *id;        /* set after reading: strings move while they grow */
    int64_t string, line;  /* id is strings[string], name the next one */
    int64_t first, n_genes;
    int32_t full_size;
} raw_set;

typedef struct reader {
    cpt_lines *in;
    const cpt_strings *universe;
    const cpt_gene_table *table;
    cpt_index *columns;   /* symbol -> first column */
    int32_t *next_column; /* [n_universe] next column with the same symbol, or NONE */
    cpt_strings strings;
    raw_set *sets;
    int64_t n_sets;
    int32_t *genes; /* of all sets; ascending and distinct within one */
    int64_t n_genes;
    size_t set_capacity, gene_capacity, field_capacity;
    char **fields; /* genes of the line at hand */
} reader;

static cpt_status index_columns(reader *r, cpt_err *e)
{
    int64_t n = r->universe->n;
    r->columns = cpt_index_new((size_t)n, e);
    if (!r->columns) return CPT_ERR_MEMORY;
    cpt_status status = cpt_alloc(&r->next_column, (size_t)n, sizeof *r->next_column, e);
    for (int64_t i = 0; i < n && status == CPT_OK; i++) {
        int64_t first;
        status = cpt_index_add(r->columns, cpt_strings_get(r->universe, i), i, &first, e);
        if (status) break;
        r->next_column[i] = first == i ? NONE : r->next_column[first];
        if (first != i) r->next_column[first] = (int32_t)i;
    }
    return status;
}

static int32_t find_column(const reader *r, const char *gene)
{
    int64_t column = cpt_index_get(r->columns, gene);
    if (column >= 0 || !r->table) return (int32_t)column;
    const char *current = cpt_gene_table_symbol(r->table, gene, NULL);
    return current ? (int32_t)cpt_index_get(r->columns, current) : NONE;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int by_number(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static cpt_status add_columns(reader *r, const char *gene, cpt_err *e)
{
    for (int32_t c = find_column(r, gene); c != NONE; c = r->next_column[c]) {
        cpt_status status = cpt_grow(&r->genes, &r->gene_capacity, (size_t)r->n_genes + 1,
                                     sizeof *r->genes, e);
        if (status) return status;
        r->genes[r->n_genes++] = c;
    }
    return CPT_OK;
}

/* Distinct names of the line, sorted, in r->fields; their number in *n. */
static cpt_status split_genes(reader *r, char *text, int64_t *n, cpt_err *e)
{
    size_t count = 0;
    for (char *gene; (gene = strsep(&text, "\t"));) {
        while (*gene == ' ') gene++;
        size_t length = strlen(gene);
        while (length && gene[length - 1] == ' ') gene[--length] = '\0';
        if (!length) continue;
        cpt_status status = cpt_grow(&r->fields, &r->field_capacity, count + 1, sizeof *r->fields, e);
        if (status) return status;
        r->fields[count++] = gene;
    }
    *n = 0;
    if (count) qsort(r->fields, count, sizeof *r->fields, by_text);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || strcmp(r->fields[i], r->fields[*n - 1]) != 0) r->fields[(*n)++] = r->fields[i];
    return CPT_OK;
}

static cpt_status read_genes(reader *r, char *text, raw_set *set, cpt_err *e)
{
    int64_t n;
    cpt_status status = split_genes(r, text, &n, e);
    set->first = r->n_genes;
    set->full_size = (int32_t)n;
    for (int64_t i = 0; i < n && status == CPT_OK; i++) status = add_columns(r, r->fields[i], e);
    if (status || r->n_genes == set->first) return status;
    qsort(r->genes + set->first, (size_t)(r->n_genes - set->first), sizeof *r->genes, by_number);
    int64_t kept = set->first; /* two old names of one gene meet here */
    for (int64_t i = set->first; i < r->n_genes; i++)
        if (i == set->first || r->genes[i] != r->genes[kept - 1]) r->genes[kept++] = r->genes[i];
    r->n_genes = kept;
    set->n_genes = kept - set->first;
    return CPT_OK;
}

/* A description of one word ("na", "x", an address, the id again) says less than the id. */
static bool describes(const char *text)
{
    return strchr(text, ' ') != NULL && !strstr(text, "://");
}

static cpt_status read_set(reader *r, char *line, cpt_err *e)
{
    char *id = strsep(&line, "\t"), *description = strsep(&line, "\t");
    if (!description)
        return cpt_lines_fail(r->in, e, "has no TAB; a GMT line is NAME TAB DESCRIPTION TAB gene TAB gene");
    if (!*id) return cpt_lines_fail(r->in, e, "has no set name before the first TAB");
    if (!cpt_utf8_valid(id, strlen(id)) || !cpt_utf8_valid(description, strlen(description)))
        return cpt_lines_fail(r->in, e, "is not valid UTF-8; convert the file to UTF-8");
    raw_set set = {.string = r->strings.n, .line = cpt_lines_number(r->in)};
    const char *name = describes(description) ? description : id;
    cpt_status status;
    CPT_TRY(cpt_strings_add(&r->strings, id, strlen(id), e));
    CPT_TRY(cpt_strings_add(&r->strings, name, strlen(name), e));
    CPT_TRY(read_genes(r, line, &set, e));
    CPT_TRY(cpt_grow(&r->sets, &r->set_capacity, (size_t)r->n_sets + 1, sizeof *r->sets, e));
    r->sets[r->n_sets++] = set;
done:
    return status;
}

static cpt_status read_file(reader *r, const char *path, cpt_err *e)
{
    for (;;) {
        char *line;
        cpt_status status = cpt_lines_next(r->in, &line, NULL, e);
        if (status) return status;
        if (!line) break;
        if (*line) status = read_set(r, line, e);
        if (status) return status;
    }
    return r->n_sets ? CPT_OK : cpt_fail(e, CPT_ERR_FORMAT, "%s: there is no gene set in it", path);
}

static int by_id(const void *x, const void *y)
{
    const raw_set *a = x, *b = y;
    int order = strcmp(a->id, b->id);
    return order ? order : (a->line > b->line) - (a->line < b->line);
}

static cpt_status sort_sets(reader *r, const char *path, cpt_err *e)
{
    for (int64_t i = 0; i < r->n_sets; i++)
        r->sets[i].id = cpt_strings_get(&r->strings, r->sets[i].string);
    qsort(r->sets, (size_t)r->n_sets, sizeof *r->sets, by_id);
    for (int64_t i = 1; i < r->n_sets; i++)
        if (strcmp(r->sets[i - 1].id, r->sets[i].id) == 0)
            return cpt_fail(e, CPT_ERR_FORMAT, "%s: line %lld: set '%.100s' is already on line %lld; give "
                            "the sets different names", path, (long long)r->sets[i].line,
                            r->sets[i].id, (long long)r->sets[i - 1].line);
    return CPT_OK;
}

/* "dir/hallmark.gmt.gz" -> "hallmark" */
static void name_of_file(const char *path, char *name, size_t capacity)
{
    const char *slash = strrchr(path, '/');
    size_t n = strlen(strncpy(name, slash ? slash + 1 : path, capacity - 1));
    static const char *const endings[] = {".gz", ".gmt"};
    for (int i = 0; i < 2; i++) {
        size_t m = strlen(endings[i]);
        if (n > m && strcasecmp(name + n - m, endings[i]) == 0) name[n -= m] = '\0';
    }
}

static cpt_status read_all(reader *r, const char *path, cpt_set_family *f, cpt_genesets **out, cpt_err *e)
{
    cpt_status status;
    CPT_TRY(index_columns(r, e));
    CPT_TRY(read_file(r, path, e));
    CPT_TRY(sort_sets(r, path, e));
    for (int64_t i = 0; i < r->n_sets; i++) {
        const raw_set *s = &r->sets[i];
        cpt_set_member member = {.id = s->id, .name = cpt_strings_get(&r->strings, s->string + 1),
                             .genes = s->n_genes ? r->genes + s->first : NULL,
                             .size = (int32_t)s->n_genes,
                             .full_size = s->full_size, .term = -1, .ic = NAN};
        CPT_TRY(cpt_set_family_add(f, &member, e));
    }
    status = cpt_set_family_finish(f, out, e);
done:
    return status;
}

cpt_status cpt_genesets_from_gmt(const char *path, const cpt_strings *symbols,
                                 const struct cpt_gene_table *table, int32_t min_size,
                                 int32_t max_size, cpt_genesets **out, cpt_err *e)
{
    *out = NULL;
    char name[256] = "";
    cpt_set_family f = {0};
    reader r = {.universe = symbols, .table = table};
    if (symbols->n > INT32_MAX) return cpt_fail(e, CPT_ERR_DATA, "too many genes in the universe");
    name_of_file(path, name, sizeof name);
    cpt_status status = cpt_set_family_begin(&f, name, (int32_t)symbols->n, min_size, max_size, e);
    if (status) return status;
    r.in = cpt_lines_open(path, MAX_LINE, e);
    status = r.in ? read_all(&r, path, &f, out, e) : e ? e->code : CPT_ERR_IO;
    cpt_set_family_free(&f);
    cpt_lines_close(r.in);
    cpt_index_free(r.columns);
    free(r.next_column);
    cpt_strings_free(&r.strings);
    free(r.sets);
    free(r.genes);
    free(r.fields);
    return status;
}

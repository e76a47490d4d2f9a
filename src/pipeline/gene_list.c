#include "pipeline/gene_list.h"
#include "base/file.h"
#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Names are taken as symbols; Ensembl ids and unique aliases are brought to current symbols, which is
 * why a gene can stand twice in a list whose lines all differ. */

void cpt_gene_list_free(cpt_gene_list *g)
{
    cpt_strings_free(&g->symbols);
    free(g->values);
}

cpt_status cpt_gene_list_add(cpt_gene_list *g, const cpt_gene_table *table, const char *name,
                           double value, cpt_err *e)
{
    cpt_gene_match how;
    const char *symbol = cpt_gene_table_symbol(table, name, &how);
    if (!symbol) g->n_unknown++;
    if (!symbol) symbol = name;
    cpt_status status =
        cpt_grow(&g->values, &g->capacity, (size_t)g->symbols.n + 1, sizeof *g->values, e);
    if (status) return status;
    g->values[g->symbols.n] = value;
    return cpt_strings_add(&g->symbols, symbol, strlen(symbol), e);
}

/* A first line whose second column is no number at all is a header. */
static cpt_status parse_gene(cpt_lines *in, char *line, bool ranked, bool first, const cpt_gene_table *table,
                             cpt_gene_list *g, cpt_err *e)
{
    char *tab = strpbrk(line, "\t ,");
    double value = NAN;
    if (tab) *tab++ = '\0';
    if (!*line) return cpt_lines_fail(in, e, "there is no gene before the first separator");
    if (!cpt_utf8_valid(line, strlen(line)))
        return cpt_lines_fail(in, e, "is not valid UTF-8; convert the file to UTF-8");
    if (ranked) {
        if (tab) tab[strcspn(tab, "\t ,")] = '\0';
        bool number = tab && cpt_parse_double(tab, &value);
        if (!number && tab && first) return CPT_OK;
        if (!number || !isfinite(value))
            return cpt_lines_fail(in, e, "'%.40s': a gene, a tab and a finite number are expected",
                                  line);
    }
    return cpt_gene_list_add(g, table, line, value, e);
}

cpt_status cpt_gene_list_read(const char *path, bool ranked, const cpt_gene_table *table,
                             cpt_gene_list *g, cpt_err *e)
{
    char *line;
    bool first_line = true;
    cpt_index *seen = NULL;
    cpt_lines *in = cpt_lines_open(path, 1 << 16, e);
    if (!in) return e ? e->code : CPT_ERR_IO;
    cpt_status status;
    while ((status = cpt_lines_next(in, &line, NULL, e)) == CPT_OK && line) {
        if (line[0] == '#' || line[0] == '\0') continue;
        CPT_TRY(parse_gene(in, line, ranked, first_line, table, g, e));
        first_line = false;
    }
    if (status) goto done;
    if (g->symbols.n == 0) {
        status = cpt_fail(e, CPT_ERR_DATA, "%s: no gene in it", path);
        goto done;
    }
    if (!(seen = cpt_index_new((size_t)g->symbols.n, e))) {
        status = CPT_ERR_MEMORY;
        goto done;
    }
    for (int64_t i = 0; i < g->symbols.n && ranked; i++) {
        int64_t first;
        const char *name = cpt_strings_get(&g->symbols, i);
        CPT_TRY(cpt_index_add(seen, name, i, &first, e));
        if (first != i) {
            status = cpt_fail(e, CPT_ERR_DATA,
                              "%s: gene %s is ranked twice (also under an alias?); keep one line",
                              path, name);
            goto done;
        }
    }
done:
    cpt_index_free(seen);
    cpt_lines_close(in);
    return status;
}

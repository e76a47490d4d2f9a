/* gene_list.h - a list of genes out of a text file, with or without a statistic. */
#ifndef CPT_PIPELINE_GENE_LIST_H
#define CPT_PIPELINE_GENE_LIST_H

#include "base/text.h"
#include "ontology/genes.h"

typedef struct cpt_gene_list {
    cpt_strings symbols; /* current symbols, or the name where unknown */
    double *values;      /* NaN without a second column */
    size_t capacity;
    int32_t n_unknown;
} cpt_gene_list;

/* One gene per line, plain or gzip; separators are tab, blank and comma; empty lines and lines that begin with # are
 * passed over. ranked: a finite statistic follows, every gene stands once, and a first line without a number is a
 * header. *out zeroed before; free it also after a failure. Errors name the line. */
cpt_status cpt_gene_list_read(const char *path, bool ranked, const cpt_gene_table *table, cpt_gene_list *out,
                              cpt_err *e);
cpt_status cpt_gene_list_add(cpt_gene_list *g, const cpt_gene_table *table, const char *name, double value,
                             cpt_err *e);
void cpt_gene_list_free(cpt_gene_list *g);

#endif

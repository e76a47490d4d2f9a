/* fuzz_genes.c - any bytes as a gene table: refused with a reason, or every lookup ends in a symbol. */
#include "fuzz_file.h"

#include "ontology/genes.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const char *const names[] = {"A", "B", "ENSG1", "ENSG1.2", "ENSG2", "old", "b", ""};
    cpt_err err = {0};
    cpt_gene_table *t;
    if (cpt_gene_table_open(fuzz_file(bytes, size), &t, &err) != CPT_OK) {
        fuzz_check_refusal(&err);
        return 0;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        cpt_gene_match how, again;
        const char *symbol = cpt_gene_table_symbol(t, names[i], &how);
        if ((symbol == NULL) != (how == CPT_GENE_UNKNOWN)) abort();
        if (symbol && cpt_gene_table_symbol(t, symbol, &again) != symbol) abort();
    }
    cpt_gene_table_free(t);
    return 0;
}

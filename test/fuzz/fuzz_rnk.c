/* fuzz_rnk.c - any bytes as a ranked list, and as a plain list of genes. */
#include "fuzz_file.h"

#include "pipeline/gene_list.h"

#include <math.h>

static const char genes[] = "symbol\tensembl_ids\taliases\nA\tENSG1\told|a\nB\tENSG2\tb\nC\tENSG3\tb\n";

static void check_list(const cpt_gene_list *g, bool ranked)
{
    if (g->symbols.n < 1 || g->n_unknown > g->symbols.n) abort();
    for (int64_t i = 0; i < g->symbols.n; i++) {
        if (!*cpt_strings_get(&g->symbols, i)) abort();
        if (ranked != isfinite(g->values[i])) abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    cpt_err err = {0};
    cpt_gene_table *table;
    if (cpt_gene_table_open(fuzz_file(genes, sizeof genes - 1), &table, &err) != CPT_OK) abort();
    for (int ranked = 0; ranked < 2; ranked++) {
        cpt_gene_list g = {0};
        if (cpt_gene_list_read(fuzz_file(bytes, size), ranked, table, &g, &err) == CPT_OK) check_list(&g, ranked);
        else fuzz_check_refusal(&err);
        cpt_gene_list_free(&g);
    }
    cpt_gene_table_free(table);
    return 0;
}

/* fuzz_gmt.c - any bytes as gene sets, over a small universe with a repeated symbol. */
#include "fuzz_file.h"

#include "ontology/genes.h"
#include "ontology/genesets.h"

static const char genes[] = "symbol\tensembl_ids\taliases\nA\tENSG1\told|a\nB\tENSG2\tb\nC\tENSG3\tb\n";
static cpt_gene_table *table;
static cpt_strings universe;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const char *const symbols[] = {"A", "B", "C", "B", "D"};
    cpt_err err;
    (void)argc, (void)argv;
    if (cpt_gene_table_open(fuzz_file(genes, sizeof genes - 1), &table, &err) != CPT_OK) abort();
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++)
        if (cpt_strings_add(&universe, symbols[i], strlen(symbols[i]), &err) != CPT_OK) abort();
    return 0;
}

static void check(const cpt_genesets *s)
{
    for (int32_t i = 0; i < s->n_sets; i++) {
        if (s->first[i + 1] <= s->first[i] || !*cpt_strings_get(&s->names, i)) abort();
        if (i && strcmp(cpt_strings_get(&s->ids, i - 1), cpt_strings_get(&s->ids, i)) >= 0) abort();
        for (int64_t k = s->first[i]; k < s->first[i + 1]; k++) {
            if (s->genes[k] < 0 || s->genes[k] >= s->n_universe) abort();
            if (k > s->first[i] && s->genes[k] <= s->genes[k - 1]) abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    cpt_err err = {0};
    cpt_genesets *s;
    if (cpt_genesets_from_gmt(fuzz_file(bytes, size), &universe, table, 1, 4, &s, &err) != CPT_OK) {
        fuzz_check_refusal(&err);
        return 0;
    }
    check(s);
    cpt_genesets_free(s);
    return 0;
}

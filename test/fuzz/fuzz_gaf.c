/* fuzz_gaf.c - any bytes as an association file over a small ontology and universe. */
#include "fuzz_file.h"

#include "ontology/go.h"

static const char ontology[] =
    "[Term]\nid: GO:1\nname: a\nnamespace: biological_process\nalt_id: GO:9\n"
    "[Term]\nid: GO:2\nname: b\nnamespace: biological_process\nis_a: GO:1\n"
    "[Term]\nid: GO:3\nname: c\nnamespace: biological_process\nis_a: GO:2\nrelationship: part_of GO:1\n"
    "[Term]\nid: GO:4\nname: d\nnamespace: molecular_function\n"
    "[Term]\nid: GO:5\nname: e\nnamespace: cellular_component\n";

static cpt_go *go;
static cpt_strings universe;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const char *const symbols[] = {"A", "B", "C", "B", "D", "OLD"};
    cpt_err err;
    (void)argc, (void)argv;
    if (cpt_go_open(fuzz_file(ontology, sizeof ontology - 1), NULL, &go, &err) != CPT_OK) abort();
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++)
        if (cpt_strings_add(&universe, symbols[i], strlen(symbols[i]), &err) != CPT_OK) abort();
    return 0;
}

static void check(const cpt_annotation *a)
{
    if (a->n_not + a->n_excluded + a->n_unknown_term + a->n_unknown_gene > a->n_rows) abort();
    for (int32_t t = 0; t < a->n_terms; t++) {
        if (a->first[t + 1] < a->first[t]) abort();
        for (int64_t i = a->first[t]; i < a->first[t + 1]; i++) {
            if (a->genes[i] < 0 || a->genes[i] >= a->n_universe) abort();
            if (i > a->first[t] && a->genes[i] <= a->genes[i - 1]) abort();
        }
    }
    if (a->first[1] - a->first[0] < a->first[3] - a->first[2]) abort(); /* GO:1 holds GO:3 */
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    cpt_err err = {0};
    cpt_annotation *a;
    const cpt_annotation_options options = {.exclude_evidence = size % 2 ? "IEA" : NULL};
    if (cpt_annotation_open(fuzz_file(bytes, size), go, &universe, &options, &a, &err) != CPT_OK) {
        fuzz_check_refusal(&err);
        return 0;
    }
    check(a);
    cpt_annotation_free(a);
    return 0;
}

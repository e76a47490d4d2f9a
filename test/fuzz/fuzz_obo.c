/* fuzz_obo.c - any bytes as an OBO file: refused with a reason, or a graph whose invariants hold. */
#include "fuzz_file.h"

#include "ontology/go.h"

static void check_term(const cpt_go *go, const int32_t *position, int32_t t)
{
    for (int32_t i = go->parent_first[t]; i < go->parent_first[t + 1]; i++) {
        int32_t p = go->parents[i];
        if (p < 0 || p >= go->n_terms || position[p] >= position[t]) abort();
        if (go->level[p] >= go->level[t] || go->aspect[p] != go->aspect[t]) abort();
    }
    if (cpt_index_get(go->by_id, cpt_strings_get(&go->ids, t)) != t) abort();
    if (!*cpt_strings_get(&go->names, t) || go->aspect[t] > CPT_GO_CC) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    cpt_err err = {0};
    cpt_go *go;
    const cpt_go_options options = {.part_of = size % 2 == 0};
    if (cpt_go_open(fuzz_file(bytes, size), &options, &go, &err) != CPT_OK) {
        fuzz_check_refusal(&err);
        return 0;
    }
    int32_t *position = malloc((size_t)go->n_terms * sizeof *position);
    if (!position) abort();
    for (int32_t i = 0; i < go->n_terms; i++) position[go->order[i]] = i;
    for (int32_t t = 0; t < go->n_terms; t++) check_term(go, position, t);
    free(position);
    cpt_go_free(go);
    return 0;
}

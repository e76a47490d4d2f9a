/* genesets.c - families of gene sets out of the Gene Ontology.
 *
 * One family per aspect: every term whose genes, after the true-path rule and cut to the universe, number
 * min_size to max_size. The size filter looks at nothing else, in particular not at any study list, so
 * that the number of tests is fixed by design (enrichment.md C.3.4).
 *
 * Information content of a term: -ln(size / n), n = genes of the universe annotated anywhere in the aspect
 * (the size of its root). Terms with the very same genes stay, and are counted: they are one result
 * under several names, and folding them is the business of the redundancy reduction.
 */
#include "ontology/genesets.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "ontology/set_family.h"

/* Genes annotated to any term of the aspect. */
static cpt_status count_annotated(const cpt_go *go, const cpt_annotation *a, cpt_go_aspect aspect,
                                  int32_t *count, cpt_err *e)
{
    uint8_t *seen;
    cpt_status status = cpt_alloc(&seen, (size_t)a->n_universe, 1, e);
    if (status) return status;
    for (int32_t t = 0; t < go->n_terms; t++)
        for (int64_t i = a->first[t]; go->aspect[t] == aspect && i < a->first[t + 1]; i++)
            seen[a->genes[i]] = 1;
    *count = 0;
    for (int32_t g = 0; g < a->n_universe; g++) *count += seen[g];
    free(seen);
    return CPT_OK;
}

static cpt_status add_term(cpt_set_family *f, const cpt_go *go, const cpt_annotation *a, int32_t t,
                           int32_t n_root, cpt_err *e)
{
    int64_t size = a->first[t + 1] - a->first[t];
    cpt_set_member s = {.id = cpt_strings_get(&go->ids, t), .name = cpt_strings_get(&go->names, t),
                    .genes = a->genes + a->first[t], .size = (int32_t)size, .full_size = (int32_t)size,
                    .term = t, .ic = size ? log((double)n_root / (double)size) : NAN};
    return cpt_set_family_add(f, &s, e);
}

cpt_status cpt_genesets_from_go(const cpt_go *go, const cpt_annotation *a, cpt_go_aspect aspect,
                                int32_t min_size, int32_t max_size, cpt_genesets **out, cpt_err *e)
{
    static const char *const names[] = {"GO_BP", "GO_MF", "GO_CC"};
    *out = NULL;
    int32_t n_root;
    cpt_set_family f = {0};
    cpt_status status = cpt_set_family_begin(&f, names[aspect], a->n_universe, min_size, max_size, e);
    if (status) return status;
    if (a->n_terms != go->n_terms) {
        status = cpt_fail(e, CPT_ERR_INTERNAL, "annotation of another ontology");
        goto done;
    }
    CPT_TRY(count_annotated(go, a, aspect, &n_root, e));
    for (int32_t t = 0; t < go->n_terms; t++)
        if (go->aspect[t] == aspect) CPT_TRY(add_term(&f, go, a, t, n_root, e));
    status = cpt_set_family_finish(&f, out, e);
done:
    cpt_set_family_free(&f);
    return status;
}

void cpt_genesets_free(cpt_genesets *s)
{
    if (!s) return;
    free(s->collection);
    cpt_strings_free(&s->ids);
    cpt_strings_free(&s->names);
    free(s->first);
    free(s->genes);
    free(s->full_size);
    free(s->ic);
    free(s->term);
    free(s);
}

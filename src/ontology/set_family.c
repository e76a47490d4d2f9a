/* set_family.c - building a family of gene sets: size filter, compressed rows, identical lists.
 *
 * Shared by the GO and the GMT source. Identical lists are found by sorting the sets by (size, genes) in
 * lexical order: O(sets log sets) comparisons, nearly all of which end at the size or the first gene.
 */
#include "ontology/set_family.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

cpt_status cpt_set_family_begin(cpt_set_family *f, const char *collection, int32_t n_universe,
                            int32_t min_size, int32_t max_size, cpt_err *e)
{
    *f = (cpt_set_family){.min_size = min_size, .max_size = max_size};
    if (min_size < 1 || max_size < min_size)
        return cpt_fail(e, CPT_ERR_USAGE, "gene set sizes from %d to %d: the smallest must be at least 1 "
                        "and not above the largest", min_size, max_size);
    cpt_status status = CPT_OK;
    f->sets = calloc(1, sizeof *f->sets);
    if (!f->sets || !(f->sets->collection = cpt_strdup(collection)))
        status = cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
    else
        status = cpt_grow(&f->sets->first, &f->first_capacity, 1, sizeof *f->sets->first, e);
    if (status) {
        cpt_set_family_free(f);
        return status;
    }
    f->sets->first[0] = 0;
    f->sets->n_universe = n_universe;
    return CPT_OK;
}

static cpt_status reserve(cpt_set_family *f, int32_t more_genes, cpt_err *e)
{
    cpt_genesets *s = f->sets;
    size_t n = (size_t)s->n_sets + 1, n_genes = (size_t)(s->first[s->n_sets] + more_genes);
    cpt_status status;
    CPT_TRY(cpt_grow(&s->first, &f->first_capacity, n + 1, sizeof *s->first, e));
    CPT_TRY(cpt_grow(&s->genes, &f->gene_capacity, n_genes, sizeof *s->genes, e));
    CPT_TRY(cpt_grow(&s->full_size, &f->full_capacity, n, sizeof *s->full_size, e));
    CPT_TRY(cpt_grow(&s->ic, &f->ic_capacity, n, sizeof *s->ic, e));
    CPT_TRY(cpt_grow(&s->term, &f->term_capacity, n, sizeof *s->term, e));
done:
    return status;
}

cpt_status cpt_set_family_add(cpt_set_family *f, const cpt_set_member *m, cpt_err *e)
{
    cpt_genesets *s = f->sets;
    if (m->size < f->min_size || m->size > f->max_size) {
        s->n_too_small += m->size < f->min_size;
        s->n_too_large += m->size > f->max_size;
        return CPT_OK;
    }
    cpt_status status;
    if (s->n_sets >= INT32_MAX - 1) return cpt_fail(e, CPT_ERR_DATA, "too many gene sets");
    CPT_TRY(reserve(f, m->size, e));
    CPT_TRY(cpt_strings_add(&s->ids, m->id, strlen(m->id), e));
    CPT_TRY(cpt_strings_add(&s->names, m->name, strlen(m->name), e));
    memcpy(s->genes + s->first[s->n_sets], m->genes, (size_t)m->size * sizeof *m->genes);
    s->full_size[s->n_sets] = m->full_size;
    s->ic[s->n_sets] = m->ic;
    s->term[s->n_sets] = m->term;
    s->first[s->n_sets + 1] = s->first[s->n_sets] + m->size;
    s->n_sets++;
done:
    return status;
}

/* ---- identical lists ---- */

typedef struct gene_list {
    const int32_t *genes;
    int64_t n;
} gene_list;

static int by_genes(const void *x, const void *y)
{
    const gene_list *a = x, *b = y;
    if (a->n != b->n) return a->n < b->n ? -1 : 1;
    for (int64_t i = 0; i < a->n; i++)
        if (a->genes[i] != b->genes[i]) return a->genes[i] < b->genes[i] ? -1 : 1;
    return 0;
}

static cpt_status count_duplicates(cpt_genesets *s, cpt_err *e)
{
    gene_list *lists;
    cpt_status status = cpt_alloc(&lists, (size_t)s->n_sets, sizeof *lists, e);
    if (status) return status;
    for (int32_t i = 0; i < s->n_sets; i++)
        lists[i] = (gene_list){s->genes + s->first[i], s->first[i + 1] - s->first[i]};
    qsort(lists, (size_t)s->n_sets, sizeof *lists, by_genes);
    for (int32_t i = 1; i < s->n_sets; i++)
        s->n_duplicate += by_genes(&lists[i - 1], &lists[i]) == 0;
    free(lists);
    return CPT_OK;
}

cpt_status cpt_set_family_finish(cpt_set_family *f, cpt_genesets **out, cpt_err *e)
{
    cpt_status status = reserve(f, 0, e); /* arrays exist also in an empty family */
    if (status == CPT_OK) status = count_duplicates(f->sets, e);
    if (status) return status;
    *out = f->sets;
    f->sets = NULL;
    return CPT_OK;
}

void cpt_set_family_free(cpt_set_family *f)
{
    cpt_genesets_free(f->sets);
    f->sets = NULL;
}

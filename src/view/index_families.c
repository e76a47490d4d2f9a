#include "base/memory.h"
#include "study/genesets_open.h"
#include "view/term_list.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What the families of gene sets and the ontology know about terms: sizes, genes, parents and children. */

/* ---- lists of numbers per item, built in order ---- */

typedef struct lists {
    int64_t *first; /* [n + 1] */
    int32_t *items;
    size_t capacity;
} lists;

static void free_lists(lists *l)
{
    free(l->first);
    free(l->items);
}

static cpt_status put_lists(const cpt_index_job *job, const char *name, const lists *l, int64_t n,
                            cpt_err *e)
{
    char part[96];
    snprintf(part, sizeof part, "%s.first", name);
    cpt_status status = cpt_index_put(job, part, CPT_I64, n + 1, 0, l->first, e);
    snprintf(part, sizeof part, "%s.items", name);
    if (status == CPT_OK)
        status = cpt_index_put(job, part, CPT_I32, l->first[n], 0,
                               l->items ? (const void *)l->items : "", e);
    return status;
}

static cpt_status add_item(lists *l, int64_t list, int32_t item, cpt_err *e)
{
    cpt_status status =
        cpt_grow(&l->items, &l->capacity, (size_t)l->first[list + 1] + 1, sizeof *l->items, e);
    if (status == CPT_OK) l->items[l->first[list + 1]++] = item;
    return status;
}

/* to[item] lists the lists of `from` that hold it. */
static cpt_status invert(const lists *from, int64_t n, lists *to, cpt_err *e)
{
    int64_t total = from->first[n], *next = NULL;
    cpt_status status;
    CPT_TRY(cpt_alloc(&to->first, (size_t)n + 1, sizeof *to->first, e));
    CPT_TRY(cpt_alloc(&to->items, (size_t)total, sizeof *to->items, e));
    CPT_TRY(cpt_alloc(&next, (size_t)n, sizeof *next, e));
    for (int64_t k = 0; k < total; k++) to->first[from->items[k] + 1]++;
    for (int64_t i = 0; i < n; i++) to->first[i + 1] += to->first[i], next[i] = to->first[i];
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = from->first[i]; k < from->first[i + 1]; k++)
            to->items[next[from->items[k]]++] = (int32_t)i;
done:
    free(next);
    return status;
}

/* ---- what the families know ---- */

static cpt_status add_ontology(cpt_term_list *t, const cpt_families *f, int32_t *of_go, cpt_err *e)
{
    static const char *const collection[] = {"GO_BP", "GO_MF", "GO_CC"};
    bool tested[3] = {false};
    cpt_status status = CPT_OK;
    for (int32_t i = 0; i < f->n; i++)
        if (f->aspect[i] >= 0) tested[f->aspect[i]] = true;
    for (int32_t g = 0; f->go && g < f->go->n_terms && status == CPT_OK; g++) {
        of_go[g] = -1;
        if (!tested[f->go->aspect[g]]) continue;
        status = cpt_term_list_number(t, collection[f->go->aspect[g]], cpt_strings_get(&f->go->ids, g),
                             cpt_strings_get(&f->go->names, g),
                             cpt_strings_get(&f->go->definitions, g), &of_go[g], e);
        if (status == CPT_OK) t->facts[CPT_N_TERM_FACTS * of_go[g] + CPT_TERM_IC] = f->ic[g];
    }
    return status;
}

static cpt_status add_parents(const cpt_term_list *t, const cpt_families *f, const int32_t *of_go,
                              lists *parents, cpt_err *e)
{
    cpt_status status = cpt_alloc(&parents->first, (size_t)t->ids.n + 1, sizeof *parents->first, e);
    int64_t next = 0;
    for (int32_t g = 0; f->go && g < f->go->n_terms && status == CPT_OK; g++) {
        if (of_go[g] < 0) continue;
        for (; next <= of_go[g]; next++) parents->first[next + 1] = parents->first[next];
        for (int32_t k = f->go->parent_first[g]; k < f->go->parent_first[g + 1] && status == CPT_OK;
             k++)
            if (of_go[f->go->parents[k]] >= 0)
                status = add_item(parents, of_go[g], of_go[f->go->parents[k]], e);
    }
    for (; status == CPT_OK && next < t->ids.n; next++)
        parents->first[next + 1] = parents->first[next];
    return status;
}

/* Sets of all families: numbers, sizes and genes. `genes` is indexed by term in the end, but
 * families come one after the other: they are gathered by term number through `set_of`. */
static cpt_status add_sets(cpt_term_list *t, const cpt_families *f, lists *genes, cpt_err *e)
{
    int64_t *set_of = NULL; /* family << 32 | set */
    cpt_status status = CPT_OK;
    size_t n_sets = 0;
    for (int32_t i = 0; i < f->n; i++) n_sets += (size_t)f->sets[i]->n_sets;
    size_t capacity = n_sets + (size_t)t->ids.n;
    CPT_TRY(cpt_alloc(&set_of, capacity, sizeof *set_of, e));
    memset(set_of, 0xFF, capacity * sizeof *set_of);
    for (int32_t i = 0; i < f->n; i++) {
        const cpt_genesets *sets = f->sets[i];
        for (int32_t k = 0; k < sets->n_sets; k++) {
            int32_t number;
            CPT_TRY(cpt_term_list_number(t, sets->collection, cpt_strings_get(&sets->ids, k),
                                cpt_strings_get(&sets->names, k), "", &number, e));
            set_of[number] = (int64_t)i << 32 | k;
            t->facts[CPT_N_TERM_FACTS * number + CPT_TERM_SIZE] = (double)(sets->first[k + 1] - sets->first[k]);
            if (!isnan(sets->ic[k])) t->facts[CPT_N_TERM_FACTS * number + CPT_TERM_IC] = sets->ic[k];
        }
    }
    CPT_TRY(cpt_alloc(&genes->first, (size_t)t->ids.n + 1, sizeof *genes->first, e));
    for (int64_t i = 0; i < t->ids.n; i++) {
        genes->first[i + 1] = genes->first[i];
        if (set_of[i] < 0) continue;
        const cpt_genesets *sets = f->sets[set_of[i] >> 32];
        int64_t k = set_of[i] & INT32_MAX;
        for (int64_t m = sets->first[k]; m < sets->first[k + 1]; m++)
            CPT_TRY(add_item(genes, i, sets->genes[m], e));
    }
done:
    free(set_of);
    return status;
}

cpt_status cpt_index_families(cpt_index_job *job, cpt_term_list *t, cpt_err *e)
{
    cpt_families f = {0};
    lists parents = {0}, children = {0}, genes = {0};
    int32_t *of_go = NULL;
    cpt_err why;
    cpt_context silent = *job->s->ctx; /* the stage enrichment has said all that already */
    cpt_status status;
    silent.log = NULL;
    if (cpt_families_open(job->s->options, &job->universe->symbols, &f, &silent, &why) != CPT_OK) {
        cpt_warn(job->s->ctx, "index without gene sets: %s",
                 why.text); /* names are in the table all the same */
        return CPT_OK;
    }
    CPT_TRY(cpt_alloc(&of_go, f.go ? (size_t)f.go->n_terms : 0, sizeof *of_go, e));
    CPT_TRY(add_ontology(t, &f, of_go, e));
    CPT_TRY(add_sets(t, &f, &genes, e));
    CPT_TRY(add_parents(t, &f, of_go, &parents, e));
    CPT_TRY(invert(&parents, t->ids.n, &children, e));
    CPT_TRY(put_lists(job, "terms.parents", &parents, t->ids.n, e));
    CPT_TRY(put_lists(job, "terms.children", &children, t->ids.n, e));
    CPT_TRY(put_lists(job, "terms.genes", &genes, t->ids.n, e));
    json_array_append_new(job->have, json_string("terms"));
done:
    free(of_go);
    free_lists(&parents);
    free_lists(&children);
    free_lists(&genes);
    cpt_families_free(&f);
    return status;
}

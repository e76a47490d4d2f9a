/* go.c - the Gene Ontology as a checked, numbered graph.
 *
 * From the stanzas of an OBO file (obo.c) to arrays: live terms sorted by id, parents in compressed
 * rows, an order with parents before children (Kahn 1962; ties by term number), and levels = longest
 * path from a root. O(terms log terms + edges).
 *
 * What is refused, with the line: an id defined twice, an edge to a term that is missing or obsolete, a
 * cycle (its terms are named). What is repaired: a parent named twice counts once, as is_a when it
 * is both; an edge to an alternative id leads to its term; edges between aspects are left out and
 * counted, so that the aspects stay three separate families of tests.
 *
 * Trap: an obsolete id leads to its replacement only when there is exactly one. "consider" is advice
 * to a curator, never followed.
 */
#include "ontology/go.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "ontology/obo.h"

typedef struct edge {
    int32_t child, parent;
    uint8_t kind;
} edge;

typedef struct builder {
    const char *path;
    cpt_obo obo;
    int32_t *number; /* [obo.n_terms] term number of a stanza; -1 = obsolete */
    cpt_index *defined; /* id -> stanza */
    edge *edges;
    int64_t n_edges;
} builder;

/* ---- numbering ---- */

static cpt_status index_stanzas(builder *b, cpt_err *e)
{
    const cpt_obo *o = &b->obo;
    b->defined = cpt_index_new((size_t)o->n_terms, e);
    if (!b->defined) return CPT_ERR_MEMORY;
    for (int64_t i = 0; i < o->n_terms; i++) {
        int64_t first;
        const char *id = cpt_obo_text(o, o->terms[i].id);
        cpt_status status = cpt_index_add(b->defined, id, i, &first, e);
        if (status) return status;
        if (first != i)
            return cpt_fail(e, CPT_ERR_FORMAT, "%s: line %lld: term %s is defined a second time (first on "
                            "line %lld); download the file again", b->path,
                            (long long)o->terms[i].line, id, (long long)o->terms[first].line);
    }
    return CPT_OK;
}

typedef struct named {
    const char *id;
    int64_t stanza;
} named;

static int by_id(const void *a, const void *b)
{
    return strcmp(((const named *)a)->id, ((const named *)b)->id);
}

static cpt_status add_term(cpt_go *go, const cpt_obo *o, const cpt_obo_term *t, cpt_err *e)
{
    const char *id = cpt_obo_text(o, t->id), *name = cpt_obo_text(o, t->name);
    const char *definition = cpt_obo_text(o, t->definition);
    cpt_status status;
    CPT_TRY(cpt_strings_add(&go->ids, id, strlen(id), e));
    CPT_TRY(cpt_strings_add(&go->names, name, strlen(name), e));
    CPT_TRY(cpt_strings_add(&go->definitions, definition, strlen(definition), e));
    go->aspect[go->n_terms++] = t->aspect;
done:
    return status;
}

/* Live terms in order of their ids. */
static cpt_status number_terms(builder *b, cpt_go *go, cpt_err *e)
{
    const cpt_obo *o = &b->obo;
    cpt_status status;
    named *live = NULL;
    size_t n = 0;
    CPT_TRY(cpt_alloc(&live, (size_t)o->n_terms, sizeof *live, e));
    CPT_TRY(cpt_alloc(&b->number, (size_t)o->n_terms, sizeof *b->number, e));
    for (int64_t i = 0; i < o->n_terms; i++) {
        b->number[i] = -1;
        if (o->terms[i].obsolete) go->n_obsolete++;
        else live[n++] = (named){cpt_obo_text(o, o->terms[i].id), i};
    }
    if (n == 0) {
        status = cpt_fail(e, CPT_ERR_FORMAT, "%s: every term is obsolete", b->path);
        goto done;
    }
    qsort(live, n, sizeof *live, by_id);
    CPT_TRY(cpt_alloc(&go->aspect, n, sizeof *go->aspect, e));
    for (size_t i = 0; i < n; i++) {
        b->number[live[i].stanza] = (int32_t)i;
        CPT_TRY(add_term(go, o, &o->terms[live[i].stanza], e));
    }
done:
    free(live);
    return status;
}

/* ---- ids that lead to a term ---- */

typedef struct alias {
    int64_t offset; /* in go->alias_ids */
    int32_t term;
} alias;

static cpt_status add_alias(cpt_go *go, const char *id, int32_t term, alias *aliases, cpt_err *e)
{
    aliases[go->alias_ids.n] = (alias){go->alias_ids.n, term};
    return cpt_strings_add(&go->alias_ids, id, strlen(id), e);
}

/* The live term at the end of a chain of replacements; -1 when it ends nowhere or runs in a ring. */
static int32_t replacement(const builder *b, int64_t stanza)
{
    for (int step = 0; step < 16; step++) {
        const cpt_obo_term *t = &b->obo.terms[stanza];
        if (b->number[stanza] >= 0) return b->number[stanza];
        if (t->replaced_by == CPT_OBO_NONE) return -1;
        stanza = cpt_index_get(b->defined, cpt_obo_text(&b->obo, t->replaced_by));
        if (stanza < 0) return -1;
    }
    return -1;
}

static cpt_status collect_aliases(const builder *b, cpt_go *go, alias *aliases, cpt_err *e)
{
    const cpt_obo *o = &b->obo;
    cpt_status status;
    for (int64_t i = 0; i < o->n_alt_ids; i++) {
        int32_t term = b->number[o->alt_ids[i].term];
        if (term < 0) continue;
        CPT_TRY(add_alias(go, cpt_obo_text(o, o->alt_ids[i].name), term, aliases, e));
        go->n_alt_ids++;
    }
    for (int64_t i = 0; i < o->n_terms; i++) {
        int32_t term = o->terms[i].obsolete ? replacement(b, i) : -1;
        if (term >= 0) CPT_TRY(add_alias(go, cpt_obo_text(o, o->terms[i].id), term, aliases, e));
    }
    status = CPT_OK;
done:
    return status;
}

/* A live id wins over an alternative one, an alternative id over an obsolete one. */
static cpt_status index_ids(const builder *b, cpt_go *go, cpt_err *e)
{
    cpt_status status;
    alias *aliases = NULL;
    size_t most = (size_t)b->obo.n_alt_ids + (size_t)b->obo.n_terms;
    CPT_TRY(cpt_alloc(&aliases, most, sizeof *aliases, e));
    CPT_TRY(collect_aliases(b, go, aliases, e));
    go->by_id = cpt_index_new((size_t)go->n_terms + (size_t)go->alias_ids.n, e);
    if (!go->by_id) {
        status = CPT_ERR_MEMORY;
        goto done;
    }
    for (int32_t i = 0; i < go->n_terms; i++)
        CPT_TRY(cpt_index_add(go->by_id, cpt_strings_get(&go->ids, i), i, NULL, e));
    for (int64_t i = 0; i < go->alias_ids.n; i++)
        CPT_TRY(cpt_index_add(go->by_id, cpt_strings_get(&go->alias_ids, i), aliases[i].term, NULL, e));
done:
    free(aliases);
    return status;
}

/* ---- edges ---- */

static cpt_status no_parent(const builder *b, const cpt_obo_link *link, cpt_err *e)
{
    const char *id = cpt_obo_text(&b->obo, link->name);
    bool obsolete = cpt_index_get(b->defined, id) >= 0;
    return cpt_fail(e, CPT_ERR_FORMAT, "%s: line %lld: parent %s of %s is %s; the file is incomplete, "
                    "download go-basic.obo again", b->path, (long long)link->line, id,
                    cpt_obo_text(&b->obo, b->obo.terms[link->term].id),
                    obsolete ? "obsolete" : "not in the file");
}

/* The parent's number, also by an alternative id; an obsolete parent has none. */
static int32_t find_parent(const builder *b, const cpt_go *go, const char *id)
{
    int64_t stanza = cpt_index_get(b->defined, id);
    return stanza >= 0 ? b->number[stanza] : (int32_t)cpt_index_get(go->by_id, id);
}

static cpt_status collect_edges(builder *b, cpt_go *go, bool part_of, cpt_err *e)
{
    const cpt_obo *o = &b->obo;
    cpt_status status = cpt_alloc(&b->edges, (size_t)o->n_parents, sizeof *b->edges, e);
    if (status) return status;
    for (int64_t i = 0; i < o->n_parents; i++) {
        const cpt_obo_link *link = &o->parents[i];
        int32_t child = b->number[link->term];
        if (child < 0) continue; /* what an obsolete term was no longer matters */
        int32_t parent = find_parent(b, go, cpt_obo_text(o, link->name));
        if (parent < 0) return no_parent(b, link, e);
        if (link->kind == 1 && !part_of) continue;
        if (go->aspect[child] != go->aspect[parent]) go->n_cross_aspect++;
        else b->edges[b->n_edges++] = (edge){child, parent, link->kind};
    }
    return CPT_OK;
}

static int by_child(const void *x, const void *y)
{
    const edge *a = x, *b = y;
    if (a->child != b->child) return a->child < b->child ? -1 : 1;
    if (a->parent != b->parent) return a->parent < b->parent ? -1 : 1;
    return (int)a->kind - (int)b->kind;
}

/* Compressed rows; of two edges between the same terms the first one, is_a, stays. */
static cpt_status store_parents(builder *b, cpt_go *go, cpt_err *e)
{
    cpt_status status;
    if (b->n_edges > INT32_MAX) return cpt_fail(e, CPT_ERR_FORMAT, "%s: too many edges", b->path);
    CPT_TRY(cpt_alloc(&go->parent_first, (size_t)go->n_terms + 1, sizeof *go->parent_first, e));
    CPT_TRY(cpt_alloc(&go->parents, (size_t)b->n_edges, sizeof *go->parents, e));
    CPT_TRY(cpt_alloc(&go->parent_kind, (size_t)b->n_edges, sizeof *go->parent_kind, e));
    qsort(b->edges, (size_t)b->n_edges, sizeof *b->edges, by_child);
    int32_t n = 0;
    for (int64_t i = 0; i < b->n_edges; i++) {
        const edge *x = &b->edges[i];
        if (i && x->child == x[-1].child && x->parent == x[-1].parent) continue;
        go->parents[n] = x->parent;
        go->parent_kind[n++] = x->kind;
        go->parent_first[x->child + 1] = n;
    }
    for (int32_t t = 0; t < go->n_terms; t++)
        if (go->parent_first[t + 1] < go->parent_first[t])
            go->parent_first[t + 1] = go->parent_first[t];
done:
    return status;
}

/* ---- order ---- */

/* Children in compressed rows, the transpose of the parents. */
static cpt_status make_children(const cpt_go *go, int32_t **first, int32_t **children, cpt_err *e)
{
    int32_t n = go->n_terms, n_edges = go->parent_first[n];
    cpt_status status = cpt_alloc(first, (size_t)n + 2, sizeof **first, e);
    if (status == CPT_OK) status = cpt_alloc(children, (size_t)n_edges, sizeof **children, e);
    if (status) return status;
    int32_t *at = *first + 1; /* at[t] ends as the end of row t, i.e. first[t + 1] */
    for (int32_t i = 0; i < n_edges; i++) at[go->parents[i] + 1]++;
    for (int32_t t = 0; t < n; t++) at[t + 1] += at[t];
    for (int32_t t = 0; t < n; t++)
        for (int32_t i = go->parent_first[t]; i < go->parent_first[t + 1]; i++)
            (*children)[at[go->parents[i]]++] = t;
    return CPT_OK;
}

/* An unordered parent of an unordered term: there is one, or the term would have been ordered. */
static int32_t waiting_parent(const cpt_go *go, const int32_t *waiting, int32_t t)
{
    int32_t i = go->parent_first[t];
    while (waiting[go->parents[i]] == 0) i++;
    return go->parents[i];
}

/* Walks up unordered terms until certainly on a ring, and names it from its smallest id on. */
static cpt_status name_cycle(const builder *b, const cpt_go *go, const int32_t *waiting, cpt_err *e)
{
    int32_t at = 0, length = 0;
    while (waiting[at] == 0) at++;
    for (int32_t step = 0; step < go->n_terms; step++) at = waiting_parent(go, waiting, at);
    int32_t start = at;
    for (int32_t t = waiting_parent(go, waiting, at); t != at; t = waiting_parent(go, waiting, t))
        if (t < start) start = t;
    cpt_text ring = {0};
    at = start;
    do {
        if (length++ < 8) cpt_text_addf(&ring, "%s -> ", cpt_strings_get(&go->ids, at));
        at = waiting_parent(go, waiting, at);
    } while (at != start);
    cpt_status status = cpt_fail(e, CPT_ERR_FORMAT, "%s: the terms %s%s%s form a cycle of %d; use "
                                 "go-basic.obo, which has none", b->path, cpt_text_str(&ring),
                                 length > 8 ? "... -> " : "", cpt_strings_get(&go->ids, start), length);
    cpt_text_free(&ring);
    return status;
}

static cpt_status make_order(const builder *b, cpt_go *go, cpt_err *e)
{
    cpt_status status;
    int32_t *first = NULL, *children = NULL, *waiting = NULL, n_done = 0;
    CPT_TRY(make_children(go, &first, &children, e));
    CPT_TRY(cpt_alloc(&waiting, (size_t)go->n_terms, sizeof *waiting, e));
    CPT_TRY(cpt_alloc(&go->order, (size_t)go->n_terms, sizeof *go->order, e));
    CPT_TRY(cpt_alloc(&go->level, (size_t)go->n_terms, sizeof *go->level, e));
    for (int32_t t = 0; t < go->n_terms; t++) {
        waiting[t] = go->parent_first[t + 1] - go->parent_first[t];
        if (waiting[t] == 0) go->order[n_done++] = t;
    }
    for (int32_t i = 0; i < n_done; i++) {
        int32_t t = go->order[i];
        for (int32_t j = first[t]; j < first[t + 1]; j++) {
            int32_t child = children[j];
            if (go->level[child] <= go->level[t]) go->level[child] = go->level[t] + 1;
            if (--waiting[child] == 0) go->order[n_done++] = child;
        }
    }
    if (n_done < go->n_terms) status = name_cycle(b, go, waiting, e);
done:
    free(first);
    free(children);
    free(waiting);
    return status;
}

/* ---- all of it ---- */

static cpt_status build(builder *b, cpt_go *go, bool part_of, cpt_err *e)
{
    cpt_status status;
    CPT_TRY(index_stanzas(b, e));
    CPT_TRY(number_terms(b, go, e));
    CPT_TRY(index_ids(b, go, e));
    CPT_TRY(collect_edges(b, go, part_of, e));
    CPT_TRY(store_parents(b, go, e));
    CPT_TRY(make_order(b, go, e));
    go->data_version = cpt_strdup(cpt_obo_text(&b->obo, b->obo.data_version));
    if (!go->data_version) status = cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
done:
    return status;
}

cpt_status cpt_go_open(const char *obo, const cpt_go_options *o, cpt_go **out, cpt_err *e)
{
    *out = NULL;
    builder b = {.path = obo};
    cpt_status status = cpt_obo_read(obo, &b.obo, e);
    if (status) return status;
    cpt_go *go = calloc(1, sizeof *go);
    status = go ? build(&b, go, !o || o->part_of, e) : cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
    if (status) cpt_go_free(go);
    else *out = go;
    cpt_obo_free(&b.obo);
    free(b.number);
    cpt_index_free(b.defined);
    free(b.edges);
    return status;
}

void cpt_go_free(cpt_go *go)
{
    if (!go) return;
    cpt_strings_free(&go->ids);
    cpt_strings_free(&go->names);
    cpt_strings_free(&go->definitions);
    cpt_strings_free(&go->alias_ids);
    free(go->aspect);
    free(go->parent_first);
    free(go->parents);
    free(go->parent_kind);
    free(go->order);
    free(go->level);
    free(go->data_version);
    cpt_index_free(go->by_id);
    free(go);
}

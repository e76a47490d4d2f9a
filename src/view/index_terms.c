#include "base/memory.h"
#include "io/tsv.h"
#include "study/genesets_open.h"
#include "view/index_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The enrichment, by concept, by term and by gene.
 *
 * enrichment.tsv.gz is read once, line by line; lines with p <= 0.05 become rows of numbers, with
 * terms and genes numbered. Terms are those of the families that were tested, with what the
 * ontology knows of them; a term that the table has and the families do not (another release since)
 * is added by name. Memory: the rows with q < 0.05 and one counter per (gene, term) that occurs in
 * them. */

enum { PATH_LIMIT = 4096, MAX_COLUMNS = 64, MAX_LINE = 1 << 24 };

/* ---- terms ---- */

typedef struct terms {
    cpt_strings ids, names, definitions, collections;
    char **keys; /* [ids.n] "GO_BP\tGO:0006955": what `numbers` borrows */
    char **titles; /* [ids.n] a name learned after the id alone had been met; NULL = as in names */
    size_t key_capacity, title_capacity, number_capacity;
    cpt_index *numbers;
    double *facts; /* [ids.n][3] collection, size, information content */
} terms;

static void free_terms(terms *t)
{
    for (int64_t i = 0; i < t->ids.n; i++) {
        free(t->keys[i]);
        free(t->titles[i]);
    }
    free(t->keys);
    free(t->titles);
    free(t->facts);
    cpt_index_free(t->numbers);
    cpt_strings_free(&t->ids);
    cpt_strings_free(&t->names);
    cpt_strings_free(&t->definitions);
    cpt_strings_free(&t->collections);
}

static cpt_status name_number(cpt_strings *list, const char *name, int32_t *number, cpt_err *e)
{
    for (*number = 0; *number < list->n; ++*number)
        if (strcmp(cpt_strings_get(list, *number), name) == 0) return CPT_OK;
    return cpt_strings_add(list, name, strlen(name), e);
}

static cpt_status term_key(const char *collection, const char *id, cpt_text *key, cpt_err *e)
{
    key->length = 0;
    cpt_text_addf(key, "%s\t%s", collection, id);
    return cpt_text_status(key, e);
}

/* A row may name the term that stands for it before that term's own row has come. */
static cpt_status learn_title(terms *t, int64_t n, const char *name, cpt_err *e)
{
    const char *id = cpt_strings_get(&t->ids, n);
    if (t->titles[n] || strcmp(cpt_strings_get(&t->names, n), id) != 0 || strcmp(name, id) == 0)
        return CPT_OK;
    t->titles[n] = cpt_strdup(name);
    return t->titles[n] ? CPT_OK : cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
}

/* Number of a term; added when it is new. */
static cpt_status term_number(terms *t, const char *collection, const char *id, const char *name,
                              const char *definition, int32_t *number, cpt_err *e)
{
    cpt_text key = {0};
    cpt_status status;
    int32_t family;
    CPT_TRY(term_key(collection, id, &key, e));
    int64_t known = cpt_index_get(t->numbers, cpt_text_str(&key));
    if (known >= 0) {
        *number = (int32_t)known;
        status = learn_title(t, known, name, e);
        goto done;
    }
    int64_t n = t->ids.n;
    CPT_TRY(name_number(&t->collections, collection, &family, e));
    CPT_TRY(cpt_grow(&t->keys, &t->key_capacity, (size_t)n + 1, sizeof *t->keys, e));
    CPT_TRY(cpt_grow(&t->titles, &t->title_capacity, (size_t)n + 1, sizeof *t->titles, e));
    CPT_TRY(cpt_grow(&t->facts, &t->number_capacity, 3 * (size_t)n + 3, sizeof *t->facts, e));
    CPT_TRY(cpt_strings_add(&t->names, name, strlen(name), e));
    CPT_TRY(cpt_strings_add(&t->definitions, definition, strlen(definition), e));
    t->keys[n] = t->titles[n] = NULL;
    CPT_TRY(cpt_strings_add(&t->ids, id, strlen(id), e));
    t->facts[3 * n] = family;
    t->facts[3 * n + 1] = 0;
    t->facts[3 * n + 2] = NAN;
    t->keys[n] = key.bytes;
    key = (cpt_text){0};
    CPT_TRY(cpt_index_add(t->numbers, t->keys[n], n, NULL, e));
    *number = (int32_t)n;
done:
    cpt_text_free(&key);
    return status;
}

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

static cpt_status add_ontology(terms *t, const cpt_families *f, int32_t *of_go, cpt_err *e)
{
    static const char *const collection[] = {"GO_BP", "GO_MF", "GO_CC"};
    bool tested[3] = {false};
    cpt_status status = CPT_OK;
    for (int32_t i = 0; i < f->n; i++)
        if (f->aspect[i] >= 0) tested[f->aspect[i]] = true;
    for (int32_t g = 0; f->go && g < f->go->n_terms && status == CPT_OK; g++) {
        of_go[g] = -1;
        if (!tested[f->go->aspect[g]]) continue;
        status = term_number(t, collection[f->go->aspect[g]], cpt_strings_get(&f->go->ids, g),
                             cpt_strings_get(&f->go->names, g),
                             cpt_strings_get(&f->go->definitions, g), &of_go[g], e);
        if (status == CPT_OK) t->facts[3 * of_go[g] + 2] = f->ic[g];
    }
    return status;
}

static cpt_status add_parents(const terms *t, const cpt_families *f, const int32_t *of_go,
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
static cpt_status add_sets(terms *t, const cpt_families *f, lists *genes, cpt_err *e)
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
            CPT_TRY(term_number(t, sets->collection, cpt_strings_get(&sets->ids, k),
                                cpt_strings_get(&sets->names, k), "", &number, e));
            set_of[number] = (int64_t)i << 32 | k;
            t->facts[3 * number + 1] = (double)(sets->first[k + 1] - sets->first[k]);
            if (!isnan(sets->ic[k])) t->facts[3 * number + 2] = sets->ic[k];
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

static cpt_status put_families(cpt_index_job *job, terms *t, cpt_err *e)
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

/* ---- counters of (gene, term): open addressing ---- */

typedef struct pair_count {
    int32_t gene, term; /* gene -1 = free */
    int32_t concepts, last;
} pair_count;

typedef struct pair_counts {
    pair_count *slots;
    size_t capacity, used; /* capacity is a power of two */
} pair_counts;

static pair_count *find_slot(const pair_counts *p, int32_t gene, int32_t term)
{
    uint64_t h = ((uint64_t)(uint32_t)gene << 32 | (uint32_t)term) * 0x9E3779B97F4A7C15u;
    size_t at = (size_t)(h >> 20) & (p->capacity - 1);
    while (p->slots[at].gene >= 0 && (p->slots[at].gene != gene || p->slots[at].term != term))
        at = (at + 1) & (p->capacity - 1);
    return &p->slots[at];
}

static cpt_status grow_counts(pair_counts *p, cpt_err *e)
{
    pair_counts bigger = {.capacity = p->capacity ? 2 * p->capacity : 4096, .used = p->used};
    cpt_status status = cpt_alloc(&bigger.slots, bigger.capacity, sizeof *bigger.slots, e);
    if (status) return status;
    for (size_t i = 0; i < bigger.capacity; i++) bigger.slots[i].gene = -1;
    for (size_t i = 0; i < p->capacity; i++)
        if (p->slots[i].gene >= 0)
            *find_slot(&bigger, p->slots[i].gene, p->slots[i].term) = p->slots[i];
    free(p->slots);
    *p = bigger;
    return CPT_OK;
}

static cpt_status count_pair(pair_counts *p, int32_t gene, int32_t term, int32_t concept,
                             cpt_err *e)
{
    if (2 * p->used >= p->capacity) {
        cpt_status status = grow_counts(p, e);
        if (status) return status;
    }
    pair_count *slot = find_slot(p, gene, term);
    if (slot->gene < 0) {
        *slot = (pair_count){gene, term, 0, -1};
        p->used++;
    }
    slot->concepts += slot->last != concept;
    slot->last = concept;
    return CPT_OK;
}

/* ---- rows ---- */

enum {
    C_CONCEPT,
    C_RANKING,
    C_METHOD,
    C_COLLECTION,
    C_TERM,
    C_NAME,
    C_SIZE,
    C_OVERLAP,
    C_ES,
    C_NES,
    C_P,
    C_LOG10P,
    C_Q,
    C_LOG2ERR,
    C_EDGE,
    C_REPRESENTED,
    N_WANTED
};
static const char *const wanted[N_WANTED] = {
    "concept", "ranking", "method",       "collection",    "term", "name",
    "size",    "overlap", "es",           "nes",           "p",    "log10p",
    "q",       "log2err", "leading_edge", "represented_by"};

typedef struct significant {
    int32_t term, concept;
    float strength; /* -log10 p */
    int64_t row;
} significant;

typedef struct table {
    cpt_index_job *job;
    terms *terms;
    cpt_strings rankings, methods;
    cpt_index *genes; /* symbol -> universe number */
    cpt_npy_writer codes, values, edges;
    int64_t *row_first, *edge_first; /* [F + 1], [n_rows + 1] */
    size_t edge_capacity;
    int64_t n_rows, n_edges;
    significant *found;
    size_t n_found, found_capacity;
    pair_counts pairs;
    int best_rank; /* of the concept's best row so far: which ranking and method */
    double best_log10p, best_nes;
    char *field[N_WANTED];
} table;

static double number_or_nan(const char *s)
{
    double x;
    return cpt_parse_double(s, &x) ? x : NAN;
}

/* Which row names a concept: as cpt_study_top_term (findings.c). */
static void consider(table *t, const cpt_index_row *r)
{
    static const char *const order[][2] = {{"attribution", "gsea"},
                                           {"attribution", "ora"},
                                           {"expression", "gsea"},
                                           {"expression", "ora"}};
    int32_t c = r->codes[CPT_ROW_CONCEPT];
    int rank = 0;
    if (!(r->values[CPT_ROW_Q] < 0.05) || r->values[CPT_ROW_NES] < 0) return;
    while (rank < 4 && (strcmp(t->field[C_RANKING], order[rank][0]) ||
                        strcmp(t->field[C_METHOD], order[rank][1])))
        rank++;
    if (rank == 4) return;
    double log10p = r->values[CPT_ROW_LOG10P], nes = fabs(r->values[CPT_ROW_NES]);
    bool first = t->job->best_row[c] < 0;
    bool better = first || rank < t->best_rank ||
                  (rank == t->best_rank &&
                   (log10p < t->best_log10p || (log10p == t->best_log10p && nes > t->best_nes)));
    if (!better) return;
    t->job->best_row[c] = t->n_rows;
    t->best_rank = rank;
    t->best_log10p = log10p;
    t->best_nes = nes;
}

/* Representative terms of GSEA with q < 0.05: what the landscape counts. */
static void count_terms(table *t, const cpt_index_row *r)
{
    double *facts = t->job->facts + (int64_t)r->codes[CPT_ROW_CONCEPT] * CPT_N_FACTS;
    if (strcmp(t->field[C_METHOD], "gsea") || r->codes[CPT_ROW_REPRESENTED] >= 0 ||
        !(r->values[CPT_ROW_Q] < 0.05))
        return;
    if (strcmp(t->field[C_RANKING], "attribution") == 0) facts[CPT_FACT_TERMS_ATTRIBUTION]++;
    else if (strcmp(t->field[C_RANKING], "expression") == 0) facts[CPT_FACT_TERMS_EXPRESSION]++;
}

static cpt_status add_edges(table *t, const cpt_index_row *r, cpt_err *e)
{
    cpt_status status = CPT_OK;
    bool counts = r->values[CPT_ROW_Q] < 0.05;
    for (char *p = t->field[C_EDGE], *next; *p && status == CPT_OK; p = next) {
        size_t n = strcspn(p, ",");
        next = p + n + (p[n] == ',');
        int64_t gene = cpt_index_get_n(t->genes, p, n);
        if (gene < 0) continue;
        int32_t number = (int32_t)gene;
        status = cpt_npy_append(&t->edges, &number, 1, e);
        t->n_edges++;
        if (status == CPT_OK && counts)
            status =
                count_pair(&t->pairs, number, r->codes[CPT_ROW_TERM], r->codes[CPT_ROW_CONCEPT], e);
    }
    return status;
}

static cpt_status read_row(table *t, const cpt_lines *in, cpt_index_row *r, cpt_err *e)
{
    static const int value_columns[CPT_N_VALUES] = {C_ES, C_NES, C_P, C_LOG10P, C_Q, C_LOG2ERR};
    int64_t concept, size, overlap;
    if (t->field[C_CONCEPT][0] != 'c' || !cpt_parse_i64(t->field[C_CONCEPT] + 1, &concept) ||
        !cpt_parse_i64(t->field[C_SIZE], &size) || !cpt_parse_i64(t->field[C_OVERLAP], &overlap) ||
        concept < 0 || concept >= t->job->u->n_concepts)
        return cpt_lines_fail(in, e, "not a line of an enrichment table");
    for (int i = 0; i < CPT_N_VALUES; i++) r->values[i] = number_or_nan(t->field[value_columns[i]]);
    if (!(r->values[CPT_ROW_P] <= CPT_ENRICHMENT_P)) return CPT_OK;
    cpt_status status;
    const char *collection = t->field[C_COLLECTION];
    r->codes[CPT_ROW_CONCEPT] = (int32_t) concept;
    r->codes[CPT_ROW_SIZE] = (int32_t)size;
    r->codes[CPT_ROW_OVERLAP] = (int32_t)overlap;
    CPT_TRY(name_number(&t->rankings, t->field[C_RANKING], &r->codes[CPT_ROW_RANKING], e));
    CPT_TRY(name_number(&t->methods, t->field[C_METHOD], &r->codes[CPT_ROW_METHOD], e));
    CPT_TRY(name_number(&t->terms->collections, collection, &r->codes[CPT_ROW_COLLECTION], e));
    CPT_TRY(term_number(t->terms, collection, t->field[C_TERM], t->field[C_NAME], "",
                        &r->codes[CPT_ROW_TERM], e));
    r->codes[CPT_ROW_REPRESENTED] = -1;
    if (*t->field[C_REPRESENTED])
        CPT_TRY(term_number(t->terms, collection, t->field[C_REPRESENTED], t->field[C_REPRESENTED],
                            "", &r->codes[CPT_ROW_REPRESENTED], e));
done:
    return status;
}

static cpt_status keep_row(table *t, const cpt_lines *in, const cpt_index_row *r, cpt_err *e)
{
    int32_t concept = r->codes[CPT_ROW_CONCEPT];
    cpt_status status;
    if (t->n_found && t->found[t->n_found - 1].concept > concept)
        return cpt_lines_fail(in, e, "concepts are out of order; run the stage enrichment again");
    consider(t, r);
    count_terms(t, r);
    CPT_TRY(add_edges(t, r, e));
    CPT_TRY(cpt_npy_append(&t->codes, r->codes, CPT_N_CODES, e));
    CPT_TRY(cpt_npy_append(&t->values, r->values, CPT_N_VALUES, e));
    if (r->values[CPT_ROW_Q] < 0.05) {
        CPT_TRY(cpt_grow(&t->found, &t->found_capacity, t->n_found + 1, sizeof *t->found, e));
        t->found[t->n_found++] = (significant){r->codes[CPT_ROW_TERM], concept,
                                               (float)-r->values[CPT_ROW_LOG10P], t->n_rows};
    }
    CPT_TRY(cpt_grow(&t->edge_first, &t->edge_capacity, (size_t)t->n_rows + 2,
                     sizeof *t->edge_first, e));
    t->edge_first[++t->n_rows] = t->n_edges;
    t->row_first[concept + 1] = t->n_rows;
done:
    return status;
}

static cpt_status read_header(cpt_lines *in, int column[N_WANTED], cpt_err *e)
{
    char *line = NULL, *fields[MAX_COLUMNS];
    cpt_status status;
    do status = cpt_lines_next(in, &line, NULL, e);
    while (status == CPT_OK && line && line[0] == '#');
    if (status) return status;
    size_t n = line ? cpt_tsv_split(line, '\t', fields, MAX_COLUMNS) : 0;
    for (int i = 0; i < N_WANTED; i++) {
        column[i] = cpt_tsv_column(fields, n < MAX_COLUMNS ? n : MAX_COLUMNS, wanted[i]);
        if (column[i] < 0) return cpt_lines_fail(in, e, "there is no column '%s'", wanted[i]);
    }
    return CPT_OK;
}

static cpt_status read_table(table *t, const char *path, cpt_err *e)
{
    int column[N_WANTED];
    char *line, *fields[MAX_COLUMNS];
    cpt_lines *in = cpt_lines_open(path, MAX_LINE, e);
    if (!in) return e ? e->code : CPT_ERR_IO;
    cpt_status status = read_header(in, column, e);
    while (status == CPT_OK && (status = cpt_lines_next(in, &line, NULL, e)) == CPT_OK && line) {
        cpt_index_row row = {.values = {NAN, NAN, NAN, NAN, NAN, NAN}};
        size_t n = cpt_tsv_split(line, '\t', fields, MAX_COLUMNS);
        for (int i = 0; i < N_WANTED; i++) {
            if ((size_t)column[i] >= n) status = cpt_lines_fail(in, e, "too few columns");
            else t->field[i] = fields[column[i]];
        }
        if (status == CPT_OK) status = read_row(t, in, &row, e);
        if (status == CPT_OK && row.values[CPT_ROW_P] <= CPT_ENRICHMENT_P)
            status = keep_row(t, in, &row, e);
        if (status == CPT_OK && cpt_lines_number(in) % 65536 == 0)
            status = cpt_check_stop(t->job->s->ctx, e);
    }
    cpt_lines_close(in);
    return status;
}

/* ---- inverses ---- */

static int by_term(const void *a, const void *b)
{
    const significant *x = a, *y = b;
    if (x->term != y->term) return x->term < y->term ? -1 : 1;
    if (x->strength != y->strength) return x->strength > y->strength ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

static cpt_status put_rows_by_term(table *t, cpt_err *e)
{
    int64_t n = t->terms->ids.n, *first = NULL, *rows = NULL;
    cpt_status status;
    CPT_TRY(cpt_alloc(&first, (size_t)n + 1, sizeof *first, e));
    CPT_TRY(cpt_alloc(&rows, t->n_found, sizeof *rows, e));
    if (t->n_found) qsort(t->found, t->n_found, sizeof *t->found, by_term);
    for (size_t i = 0; i < t->n_found; i++) {
        rows[i] = t->found[i].row;
        first[t->found[i].term + 1]++;
    }
    for (int64_t i = 0; i < n; i++) first[i + 1] += first[i];
    CPT_TRY(cpt_index_put(t->job, "term_rows.first", CPT_I64, n + 1, 0, first, e));
    status = cpt_index_put(t->job, "term_rows.items", CPT_I64, (int64_t)t->n_found, 0, rows, e);
done:
    free(first);
    free(rows);
    return status;
}

static int by_gene(const void *a, const void *b)
{
    const pair_count *x = a, *y = b;
    if (x->gene != y->gene) return x->gene < y->gene ? -1 : 1;
    if (x->concepts != y->concepts) return x->concepts > y->concepts ? -1 : 1;
    return (x->term > y->term) - (x->term < y->term);
}

static cpt_status put_gene_terms(table *t, cpt_err *e)
{
    int64_t n_genes = t->job->universe->n, *first = NULL;
    int32_t *items = NULL;
    size_t n = 0;
    cpt_status status;
    for (size_t i = 0; i < t->pairs.capacity; i++)
        if (t->pairs.slots[i].gene >= 0) t->pairs.slots[n++] = t->pairs.slots[i];
    if (n) qsort(t->pairs.slots, n, sizeof *t->pairs.slots, by_gene);
    CPT_TRY(cpt_alloc(&first, (size_t)n_genes + 1, sizeof *first, e));
    CPT_TRY(cpt_alloc(&items, 2 * n, sizeof *items, e));
    for (size_t i = 0; i < n; i++) {
        items[2 * i] = t->pairs.slots[i].term;
        items[2 * i + 1] = t->pairs.slots[i].concepts;
        first[t->pairs.slots[i].gene + 1] += 2;
    }
    for (int64_t g = 0; g < n_genes; g++) first[g + 1] += first[g];
    CPT_TRY(cpt_index_put(t->job, "gene_terms.first", CPT_I64, n_genes + 1, 0, first, e));
    status = cpt_index_put(t->job, "gene_terms.items", CPT_I32, 2 * (int64_t)n, 0, items, e);
done:
    free(first);
    free(items);
    return status;
}

/* ---- all ---- */

static cpt_status begin(const table *t, const char *name, cpt_dtype type, int64_t width,
                        cpt_npy_writer *w, cpt_err *e)
{
    char file[64], path[PATH_LIMIT];
    int64_t shape[2] = {-1, width};
    snprintf(file, sizeof file, "cache/index/%s.npy", name);
    cpt_status status = cpt_study_path(t->job->s, file, path, sizeof path, e);
    return status ? status : cpt_npy_begin(w, path, type, width ? 2 : 1, shape, e);
}

static cpt_status open_table(table *t, cpt_err *e)
{
    cpt_status status;
    int64_t n_genes = t->job->universe->n;
    if (!(t->genes = cpt_index_new((size_t)n_genes, e))) return CPT_ERR_MEMORY;
    CPT_TRY(begin(t, "rows.codes", CPT_I32, CPT_N_CODES, &t->codes, e));
    CPT_TRY(begin(t, "rows.values", CPT_F64, CPT_N_VALUES, &t->values, e));
    CPT_TRY(begin(t, "edges.items", CPT_I32, 0, &t->edges, e));
    for (int64_t g = 0; g < n_genes; g++)
        CPT_TRY(
            cpt_index_add(t->genes, cpt_strings_get(&t->job->universe->symbols, g), g, NULL, e));
    CPT_TRY(cpt_alloc(&t->row_first, (size_t)t->job->u->n_concepts + 1, sizeof *t->row_first, e));
    CPT_TRY(cpt_grow(&t->edge_first, &t->edge_capacity, 1, sizeof *t->edge_first, e));
    t->edge_first[0] = 0;
    for (int32_t c = 0; c < t->job->u->n_concepts; c++) {
        t->job->facts[(int64_t)c * CPT_N_FACTS + CPT_FACT_TERMS_ATTRIBUTION] = 0;
        t->job->facts[(int64_t)c * CPT_N_FACTS + CPT_FACT_TERMS_EXPRESSION] = 0;
    }
done:
    return status;
}

static cpt_status put_rows(table *t, cpt_err *e)
{
    int32_t n_concepts = t->job->u->n_concepts;
    cpt_status status;
    for (int32_t c = 0; c < n_concepts; c++)
        if (t->row_first[c + 1] < t->row_first[c]) t->row_first[c + 1] = t->row_first[c];
    CPT_TRY(cpt_npy_finish(&t->codes, e));
    CPT_TRY(cpt_npy_finish(&t->values, e));
    CPT_TRY(cpt_npy_finish(&t->edges, e));
    CPT_TRY(cpt_index_put(t->job, "rows.first", CPT_I64, n_concepts + 1, 0, t->row_first, e));
    CPT_TRY(cpt_index_put(t->job, "edges.first", CPT_I64, t->n_rows + 1, 0, t->edge_first, e));
    CPT_TRY(put_rows_by_term(t, e));
    CPT_TRY(put_gene_terms(t, e));
    json_array_append_new(t->job->have, json_string("rows"));
done:
    return status;
}

static void close_table(table *t)
{
    cpt_npy_abandon(&t->codes);
    cpt_npy_abandon(&t->values);
    cpt_npy_abandon(&t->edges);
    cpt_strings_free(&t->rankings);
    cpt_strings_free(&t->methods);
    cpt_index_free(t->genes);
    free(t->row_first);
    free(t->edge_first);
    free(t->found);
    free(t->pairs.slots);
}

static json_t *names_json(const cpt_strings *s)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < s->n; i++)
        json_array_append_new(list, json_string(cpt_strings_get(s, i)));
    return list;
}

static cpt_status put_names(cpt_index_job *job, const terms *t, cpt_err *e)
{
    cpt_strings names = {0};
    cpt_status status = CPT_OK;
    for (int64_t i = 0; i < t->ids.n && status == CPT_OK; i++) {
        const char *name = t->titles[i] ? t->titles[i] : cpt_strings_get(&t->names, i);
        status = cpt_strings_add(&names, name, strlen(name), e);
    }
    if (status == CPT_OK) status = cpt_index_put_strings(job, "terms.names", &names, e);
    cpt_strings_free(&names);
    return status;
}

static cpt_status put_terms(cpt_index_job *job, const terms *t, cpt_err *e)
{
    cpt_status status;
    CPT_TRY(cpt_index_put_strings(job, "terms.ids", &t->ids, e));
    CPT_TRY(put_names(job, t, e));
    CPT_TRY(cpt_index_put_strings(job, "terms.definitions", &t->definitions, e));
    status = cpt_index_put(job, "terms.numbers", CPT_F64, t->ids.n, 3,
                           t->facts ? (const void *)t->facts : "", e);
done:
    return status;
}

cpt_status cpt_index_terms(cpt_index_job *job, cpt_err *e)
{
    char path[PATH_LIMIT];
    terms all = {.numbers = cpt_index_new(1 << 16, e)};
    table t = {.job = job, .terms = &all};
    cpt_status status = all.numbers ? CPT_OK : CPT_ERR_MEMORY;
    if (status) return status;
    CPT_TRY(put_families(job, &all, e));
    CPT_TRY(cpt_study_path(job->s, "enrichment.tsv.gz", path, sizeof path, e));
    if (cpt_path_exists(path)) {
        CPT_TRY(open_table(&t, e));
        CPT_TRY(read_table(&t, path, e));
        CPT_TRY(put_rows(&t, e));
    }
    CPT_TRY(put_terms(job, &all, e));
    json_object_set_new(job->head, "collections", names_json(&all.collections));
    json_object_set_new(job->head, "rankings", names_json(&t.rankings));
    json_object_set_new(job->head, "methods", names_json(&t.methods));
done:
    close_table(&t);
    free_terms(&all);
    return status;
}

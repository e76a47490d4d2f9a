#include "view/index.h"
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

/* Opening the index. Sizes are checked here, numbers where they are read: a click must not cost a
 * pass over the files. */

enum { PATH_LIMIT = 4096 };

typedef struct opening {
    const char *study;
    cpt_index_files *f;
} opening;

static cpt_status file_path(const opening *o, const char *name, char path[PATH_LIMIT], cpt_err *e)
{
    char file[128];
    snprintf(file, sizeof file, "cache/index/%s", name);
    return cpt_path_join(path, PATH_LIMIT, o->study, file, e);
}

static cpt_status map(const opening *o, const char *name, cpt_dtype dtype, int64_t rows,
                      int64_t cols, cpt_npy *a, cpt_err *e)
{
    char path[PATH_LIMIT];
    cpt_status status = file_path(o, name, path, e);
    return status ? status
                  : cpt_npy_open_as(path, dtype, cols ? 2 : 1, (int64_t[]){rows, cols}, a, e);
}

static cpt_status file(const opening *o, const char *name, cpt_dtype dtype, int64_t rows,
                       int64_t cols, cpt_array *a, cpt_err *e)
{
    char path[PATH_LIMIT];
    cpt_status status = file_path(o, name, path, e);
    return status ? status : cpt_array_open(path, dtype, rows, cols, a, e);
}

/* n lists; -2 = any number. */
static cpt_status lists(const opening *o, const char *name, cpt_dtype dtype, int64_t n,
                        cpt_lists *l, cpt_err *e)
{
    char part[96];
    snprintf(part, sizeof part, "%s.first.npy", name);
    cpt_status status = map(o, part, CPT_I64, n + 1, 0, &l->first, e);
    snprintf(part, sizeof part, "%s.items.npy", name);
    if (status == CPT_OK) status = file(o, part, dtype, -1, 0, &l->items, e);
    if (status) return status;
    l->indptr = l->first.data;
    l->n = l->first.n_items - 1;
    return CPT_OK;
}

static cpt_status strings(const opening *o, const char *name, int64_t n, cpt_npy maps[2],
                          cpt_strings *s, cpt_err *e)
{
    char part[96];
    snprintf(part, sizeof part, "%s.offsets.npy", name);
    cpt_status status = map(o, part, CPT_I64, n < 0 ? -1 : n + 1, 0, &maps[0], e);
    snprintf(part, sizeof part, "%s.bytes.npy", name);
    if (status == CPT_OK) status = map(o, part, CPT_U8, -1, 0, &maps[1], e);
    if (status) return status;
    const int64_t *offsets = maps[0].data;
    const char *bytes = maps[1].data;
    n = maps[0].n_items - 1;
    bool good = n >= 0 && n <= INT32_MAX && offsets[0] == 0 && offsets[n] == maps[1].n_items;
    for (int64_t i = 0; good && i < n; i++)
        good = offsets[i + 1] > offsets[i] && offsets[i + 1] <= maps[1].n_items &&
               bytes[offsets[i + 1] - 1] == '\0';
    if (!good)
        return cpt_fail(e, CPT_ERR_FORMAT, "%s/cache/index/%s: damaged; delete cache/index",
                        o->study, name);
    *s = (cpt_strings){.blob = (char *)(uintptr_t)bytes,
                       .offsets = (int64_t *)(uintptr_t)offsets,
                       .n = n,
                       .blob_length = (size_t)maps[1].n_items};
    return CPT_OK;
}

static bool has(const cpt_index_files *f, const char *part)
{
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(f->head, "have"), i,
                       item) if (json_is_string(item) &&
                                 strcmp(json_string_value(item), part) == 0) return true;
    return false;
}

static cpt_status read_head(const opening *o, cpt_err *e)
{
    char path[PATH_LIMIT];
    json_error_t reason;
    cpt_index_files *f = o->f;
    cpt_status status = file_path(o, "index.json", path, e);
    if (status) return status;
    f->head = json_load_file(path, JSON_REJECT_DUPLICATES, &reason);
    if (!f->head)
        return cpt_fail(e, CPT_ERR_FORMAT, "%s: line %d: %s", path, reason.line, reason.text);
    if (json_integer_value(json_object_get(f->head, "version")) != CPT_INDEX_VERSION)
        return cpt_fail(e, CPT_ERR_UNSUPPORTED,
                        "%s: made by another version of this program; run again", path);
    f->have_terms = has(f, "terms");
    f->have_rows = has(f, "rows");
    f->have_coactive = has(f, "coactive");
    f->have_genes_like = has(f, "genes_like");
    f->have_decoder_like = has(f, "decoder_like");
    f->have_gene_concepts = has(f, "gene_concepts");
    return CPT_OK;
}

static cpt_status open_concepts(const opening *o, int64_t n_cells, int32_t n, cpt_err *e)
{
    cpt_index_files *f = o->f;
    char path[PATH_LIMIT];
    cpt_status status;
    CPT_TRY(map(o, "universe.npy", CPT_I32, -1, 0, &f->universe, e));
    CPT_TRY(file_path(o, "totals.npy", path, e));
    if (cpt_path_exists(path)) {
        CPT_TRY(map(o, "totals.npy", CPT_F64, n_cells, 0, &f->totals, e));
        CPT_TRY(map(o, "gene_sums.npy", CPT_F64, f->universe.n_items, 3, &f->gene_sums, e));
    }
    CPT_TRY(map(o, "facts.npy", CPT_F64, n, CPT_N_FACTS, &f->facts, e));
    CPT_TRY(map(o, "best_row.npy", CPT_I64, n, 0, &f->best_row, e));
    CPT_TRY(map(o, "conceptmap.npy", CPT_F32, n, 2, &f->concept_map, e));
    CPT_TRY(file(o, "ranked.cells.npy", CPT_I32, -1, 0, &f->ranked_cells, e));
    CPT_TRY(file(o, "ranked.values.npy", CPT_F32, f->ranked_cells.rows, 0, &f->ranked_values, e));
    CPT_TRY(file(o, "neurons.npy", CPT_F32, -1, n_cells, &f->neurons, e));
    if (f->have_coactive) {
        CPT_TRY(file(o, "coactive.concepts.npy", CPT_I32, n, CPT_SIMILAR, &f->coactive, e));
        CPT_TRY(
            file(o, "coactive.numbers.npy", CPT_F64, n, 3 * CPT_SIMILAR, &f->coactive_numbers, e));
    }
    if (f->have_genes_like) {
        CPT_TRY(file(o, "genes_like.concepts.npy", CPT_I32, n, CPT_SIMILAR, &f->genes_like, e));
        CPT_TRY(file(o, "genes_like.cosine.npy", CPT_F32, n, CPT_SIMILAR, &f->genes_cosine, e));
    }
    if (f->have_decoder_like) {
        CPT_TRY(file(o, "decoder_like.concepts.npy", CPT_I32, n, CPT_SIMILAR, &f->decoder_like, e));
        CPT_TRY(file(o, "decoder_like.cosine.npy", CPT_F32, n, CPT_SIMILAR, &f->decoder_cosine, e));
    }
    if (f->have_gene_concepts) {
        CPT_TRY(map(o, "top_genes.npy", CPT_I32, n, CPT_TOP_GENES, &f->top_genes, e));
        CPT_TRY(lists(o, "gene_concepts", CPT_I32, f->universe.n_items, &f->gene_concepts, e));
    }
done:
    return status;
}

static cpt_status open_terms(const opening *o, int32_t n_concepts, cpt_err *e)
{
    cpt_index_files *f = o->f;
    cpt_status status;
    CPT_TRY(strings(o, "terms.ids", -1, f->strings, &f->term_ids, e));
    f->n_terms = (int32_t)f->term_ids.n;
    CPT_TRY(strings(o, "terms.names", f->n_terms, f->strings + 2, &f->term_names, e));
    CPT_TRY(strings(o, "terms.definitions", f->n_terms, f->strings + 4, &f->term_definitions, e));
    CPT_TRY(map(o, "terms.numbers.npy", CPT_F64, f->n_terms, 3, &f->term_numbers, e));
    if (f->have_terms) { /* terms that only the table has come after those of the families */
        CPT_TRY(lists(o, "terms.parents", CPT_I32, -2, &f->term_parents, e));
        CPT_TRY(lists(o, "terms.children", CPT_I32, f->term_parents.n, &f->term_children, e));
        CPT_TRY(lists(o, "terms.genes", CPT_I32, f->term_parents.n, &f->term_genes, e));
    }
    if (f->have_rows) {
        CPT_TRY(map(o, "rows.first.npy", CPT_I64, n_concepts + 1, 0, &f->rows_first, e));
        f->row_first = f->rows_first.data;
        f->n_rows = f->row_first[n_concepts];
        CPT_TRY(file(o, "rows.codes.npy", CPT_I32, f->n_rows, CPT_N_CODES, &f->row_codes, e));
        CPT_TRY(file(o, "rows.values.npy", CPT_F64, f->n_rows, CPT_N_VALUES, &f->row_values, e));
        CPT_TRY(lists(o, "edges", CPT_I32, f->n_rows, &f->edges, e));
        CPT_TRY(lists(o, "term_rows", CPT_I64, f->n_terms, &f->term_rows, e));
        CPT_TRY(lists(o, "gene_terms", CPT_I32, f->universe.n_items, &f->gene_terms, e));
    }
done:
    return status;
}

cpt_status cpt_index_open(const char *study, int64_t n_cells, int32_t n_concepts,
                          cpt_index_files *f, cpt_err *e)
{
    opening o = {study, f};
    *f = (cpt_index_files){0};
    cpt_status status;
    CPT_TRY(read_head(&o, e));
    CPT_TRY(open_concepts(&o, n_cells, n_concepts, e));
    status = open_terms(&o, n_concepts, e);
done:
    if (status) cpt_index_close(f);
    return status;
}

static void close_lists(cpt_lists *l)
{
    cpt_npy_close(&l->first);
    cpt_array_close(&l->items);
}

void cpt_index_close(cpt_index_files *f)
{
    cpt_npy *const maps[] = {&f->universe,    &f->totals,       &f->gene_sums,
                             &f->facts,       &f->top_genes,    &f->best_row,
                             &f->concept_map, &f->term_numbers, &f->rows_first};
    cpt_array *const arrays[] = {&f->ranked_cells, &f->ranked_values,    &f->neurons,
                                 &f->coactive,     &f->coactive_numbers, &f->genes_like,
                                 &f->genes_cosine, &f->decoder_like,     &f->decoder_cosine,
                                 &f->row_codes,    &f->row_values};
    cpt_lists *const all[] = {&f->gene_concepts, &f->gene_terms, &f->term_parents,
                              &f->term_children, &f->term_genes, &f->edges,
                              &f->term_rows};
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++) cpt_npy_close(maps[i]);
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) cpt_array_close(arrays[i]);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) close_lists(all[i]);
    for (int i = 0; i < 6; i++) cpt_npy_close(&f->strings[i]);
    json_decref(f->head);
    *f = (cpt_index_files){0};
}

static bool between(int64_t x, int64_t low, int64_t high)
{
    return x >= low && x < high;
}

cpt_status cpt_index_row_read(const cpt_index_files *f, int64_t row, cpt_index_row *out, cpt_err *e)
{
    cpt_status status = cpt_array_row(&f->row_codes, row, out->codes, e);
    if (status == CPT_OK) status = cpt_array_row(&f->row_values, row, out->values, e);
    if (status == CPT_OK && (!between(out->codes[CPT_ROW_TERM], 0, f->n_terms) ||
                             !between(out->codes[CPT_ROW_REPRESENTED], -1, f->n_terms)))
        status =
            cpt_fail(e, CPT_ERR_FORMAT, "%s: row %lld is damaged; delete the folder cache/index",
                     f->row_codes.path, (long long)row);
    return status;
}

cpt_status cpt_list_read(const cpt_lists *l, int64_t i, int32_t limit, int32_t **items, int64_t *n,
                         cpt_err *e)
{
    *items = NULL;
    *n = 0;
    if (!l->indptr || i >= l->n) return cpt_alloc(items, 0, sizeof **items, e);
    int64_t count = l->indptr[i + 1] - l->indptr[i];
    if (count < 0 || count > l->items.rows)
        return cpt_fail(e, CPT_ERR_FORMAT, "%s: damaged; delete the folder cache/index",
                        l->items.path);
    cpt_status status = cpt_alloc(items, (size_t)count, sizeof **items, e);
    if (status == CPT_OK) status = cpt_array_read(&l->items, l->indptr[i], count, *items, e);
    for (int64_t k = 0; k < count && status == CPT_OK; k++)
        if (!between((*items)[k], 0, limit))
            status = cpt_fail(e, CPT_ERR_FORMAT, "%s: damaged; delete the folder cache/index",
                              l->items.path);
    if (status) {
        free(*items);
        *items = NULL;
        return status;
    }
    *n = count;
    return CPT_OK;
}

const char *cpt_index_name(const cpt_index_files *f, const char *list, int64_t i)
{
    const char *name = json_string_value(json_array_get(json_object_get(f->head, list), (size_t)i));
    return name ? name : "";
}

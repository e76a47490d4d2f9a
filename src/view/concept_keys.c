/* concept_keys.c - fingerprints of concepts.
 *
 * key = first 64 bits of SHA-256 over: sizes and 1,024 evenly spaced rows of the embedding; the
 * concept's decoder row; the number of its active cells and the first 64 of them with their
 * activations. A concept that keeps its direction but fires elsewhere (another encoder, model or
 * set of cells) is another concept. Of concepts that agree in all that (dead ones with equal rows)
 * the later ones also hash how many came before. */
#include "view/concept_keys.h"
#include "base/file.h"
#include "base/memory.h"
#include "study/store.h"
#include "view/view_array.h"

#include <stdlib.h>
#include <string.h>

enum { SAMPLED_ROWS = 1024, SAMPLED_CELLS = 64 };

/* Read by position, not mapped: little of them is wanted, and a server should not keep the rest. */
typedef struct sources {
    cpt_npy indptr;
    cpt_array indices, values, embedding;
    float *row; /* [dim] */
} sources;

static cpt_status open_array(const cpt_study *s, const char *name, cpt_dtype dtype, int64_t rows,
                             int64_t cols, cpt_array *a, cpt_err *e)
{
    char path[4096];
    cpt_status status = cpt_study_path(s, name, path, sizeof path, e);
    return status ? status : cpt_array_open(path, dtype, rows, cols, a, e);
}

static cpt_status open_sources(cpt_study *s, const cpt_dictionary *d, sources *a, cpt_err *e)
{
    int32_t n = d->n_concepts;
    cpt_status status;
    CPT_TRY(cpt_store_open(s, "activations_by_concept.indptr", "concepts", CPT_I64, (int64_t)n + 1,
                           0, &a->indptr, e));
    const int64_t *first = a->indptr.data;
    CPT_TRY(open_array(s, "cache/activations_by_concept.indices.npy", CPT_I32, -1, 0, &a->indices,
                       e));
    CPT_TRY(open_array(s, "cache/activations_by_concept.values.npy", CPT_F32, a->indices.rows, 0,
                       &a->values, e));
    bool good = first[0] == 0 && first[n] == a->indices.rows;
    for (int32_t c = 0; good && c < n; c++) good = first[c + 1] >= first[c];
    if (!good) {
        status =
            cpt_fail(e, CPT_ERR_FORMAT,
                     "%s/cache/activations_by_concept: damaged; run the study again", s->folder);
        goto done;
    }
    CPT_TRY(open_array(s, "cache/embedding.npy", CPT_F32, -1, -1, &a->embedding, e));
    if (a->embedding.cols != d->dim)
        status = cpt_fail(e, CPT_ERR_DATA,
                          "%s: the dictionary is of another embedding; run the study again",
                          s->folder);
    else status = cpt_alloc(&a->row, (size_t)d->dim, sizeof *a->row, e);
done:
    return status;
}

static void close_sources(sources *a)
{
    cpt_npy_close(&a->indptr);
    cpt_array_close(&a->indices);
    cpt_array_close(&a->values);
    cpt_array_close(&a->embedding);
    free(a->row);
}

static cpt_status hash_embedding(const sources *a, cpt_sha256 *h, cpt_err *e)
{
    const int64_t shape[2] = {a->embedding.rows, a->embedding.cols};
    cpt_status status = CPT_OK;
    cpt_sha256_add(h, shape, sizeof shape);
    int64_t n = shape[0] < SAMPLED_ROWS ? shape[0] : SAMPLED_ROWS;
    for (int64_t i = 0; i < n && status == CPT_OK; i++) {
        status = cpt_array_row(&a->embedding, i * shape[0] / n, a->row, e);
        cpt_sha256_add(h, a->row, (size_t)shape[1] * sizeof *a->row);
    }
    return status;
}

static cpt_status hash_concept(const cpt_dictionary *d, const sources *a, int32_t c, cpt_sha256 *h,
                               cpt_err *e)
{
    const int64_t *first = a->indptr.data;
    int32_t cells[SAMPLED_CELLS];
    float values[SAMPLED_CELLS];
    int64_t n = first[c + 1] - first[c], m = n < SAMPLED_CELLS ? n : SAMPLED_CELLS;
    cpt_status status = cpt_array_read(&a->indices, first[c], m, cells, e);
    if (status == CPT_OK) status = cpt_array_read(&a->values, first[c], m, values, e);
    if (status) return status;
    cpt_sha256_add(h, d->decoder + (int64_t)c * d->dim, (size_t)d->dim * sizeof *d->decoder);
    cpt_sha256_add(h, &n, sizeof n);
    cpt_sha256_add(h, cells, (size_t)m * sizeof *cells);
    cpt_sha256_add(h, values, (size_t)m * sizeof *values);
    return CPT_OK;
}

static void take(cpt_sha256 *h, char key[CPT_NOTES_KEY + 1])
{
    char hex[65];
    cpt_sha256_hex(h, hex);
    snprintf(key, CPT_NOTES_KEY + 1, "%.*s", CPT_NOTES_KEY, hex);
}

/* Copies of a concept get keys of their own; *known finds the ones before. */
static cpt_status make_unique(char (*keys)[CPT_NOTES_KEY + 1], int32_t c, cpt_index *known,
                              cpt_err *e)
{
    int64_t existing;
    cpt_status status = cpt_index_add(known, keys[c], c, &existing, e);
    for (int32_t copy = 1; status == CPT_OK && existing != c; copy++) {
        cpt_sha256 h;
        cpt_sha256_init(&h);
        cpt_sha256_add(&h, keys[c], CPT_NOTES_KEY);
        cpt_sha256_add(&h, &copy, sizeof copy);
        take(&h, keys[c]);
        status = cpt_index_add(known, keys[c], c, &existing, e);
    }
    return status;
}

cpt_status cpt_study_concept_keys(cpt_study *s, int32_t *n, char (**keys)[CPT_NOTES_KEY + 1],
                                  cpt_err *e)
{
    sources a = {0};
    cpt_dictionary *d;
    cpt_index *known = NULL;
    cpt_sha256 base;
    cpt_status status;
    *keys = NULL;
    *n = 0;
    CPT_TRY(cpt_study_dictionary(s, &d, e));
    CPT_TRY(open_sources(s, d, &a, e));
    CPT_TRY(cpt_alloc(keys, (size_t)d->n_concepts, sizeof **keys, e));
    cpt_sha256_init(&base);
    cpt_sha256_add(&base, "concept 1", 9);
    CPT_TRY(hash_embedding(&a, &base, e));
    known = cpt_index_new((size_t)d->n_concepts, e);
    if (!known) {
        status = CPT_ERR_MEMORY;
        goto done;
    }
    for (int32_t c = 0; c < d->n_concepts; c++) {
        cpt_sha256 h = base;
        CPT_TRY(hash_concept(d, &a, c, &h, e));
        take(&h, (*keys)[c]);
        CPT_TRY(make_unique(*keys, c, known, e));
    }
    *n = d->n_concepts;
done:
    cpt_index_free(known);
    close_sources(&a);
    if (status) {
        free(*keys);
        *keys = NULL;
    }
    return status;
}

/* concept_keys.c - fingerprints of concepts.
 *
 * key = first 64 bits of SHA-256 over: sizes and 1,024 evenly spaced rows of the embedding; the
 * concept's decoder row; the number of its active cells and the first 64 of them with their
 * activations. A concept that keeps its direction but fires elsewhere (another encoder, model or
 * set of cells) is another concept. Of concepts that agree in all that (dead ones with equal rows)
 * the later ones also hash how many came before. */
#include "study/concept_keys.h"
#include "base/file.h"
#include "base/memory.h"
#include "study/store.h"

#include <stdlib.h>
#include <string.h>

enum { SAMPLED_ROWS = 1024, SAMPLED_CELLS = 64 };

typedef struct activations_by_concept {
    cpt_npy indptr, indices, values;
} activations_by_concept;

static cpt_status open_activations(cpt_study *s, int32_t n_concepts, activations_by_concept *a,
                                   cpt_err *e)
{
    cpt_status status;
    CPT_TRY(cpt_store_open(s, "activations_by_concept.indptr", "concepts", CPT_I64,
                           (int64_t)n_concepts + 1, 0, &a->indptr, e));
    CPT_TRY(cpt_store_open(s, "activations_by_concept.indices", "concepts", CPT_I32, -1, 0,
                           &a->indices, e));
    CPT_TRY(cpt_store_open(s, "activations_by_concept.values", "concepts", CPT_F32,
                           a->indices.n_items, 0, &a->values, e));
    const int64_t *first = a->indptr.data;
    bool good = first[0] == 0 && first[n_concepts] == a->indices.n_items;
    for (int32_t c = 0; good && c < n_concepts; c++) good = first[c + 1] >= first[c];
    if (!good)
        status =
            cpt_fail(e, CPT_ERR_FORMAT,
                     "%s/cache/activations_by_concept: damaged; run the study again", s->folder);
done:
    return status;
}

static void close_activations(activations_by_concept *a)
{
    cpt_npy_close(&a->indptr);
    cpt_npy_close(&a->indices);
    cpt_npy_close(&a->values);
}

static cpt_status hash_embedding(cpt_study *s, int32_t dim, cpt_sha256 *h, cpt_err *e)
{
    const float *a;
    int64_t shape[2];
    int32_t width;
    cpt_status status = cpt_study_embedding(s, &a, &shape[0], &width, e);
    if (status) return status;
    if (width != dim)
        return cpt_fail(e, CPT_ERR_DATA,
                        "%s: the dictionary is of another embedding; run the study again",
                        s->folder);
    shape[1] = dim;
    cpt_sha256_add(h, shape, sizeof shape);
    int64_t n = shape[0] < SAMPLED_ROWS ? shape[0] : SAMPLED_ROWS;
    for (int64_t i = 0; i < n; i++)
        cpt_sha256_add(h, a + i * shape[0] / n * dim, (size_t)dim * sizeof *a);
    return CPT_OK;
}

static void hash_concept(const cpt_dictionary *d, const activations_by_concept *a, int32_t c,
                         cpt_sha256 *h)
{
    const int64_t *first = a->indptr.data;
    const int32_t *cells = a->indices.data;
    const float *values = a->values.data;
    int64_t n = first[c + 1] - first[c];
    size_t m = n < SAMPLED_CELLS ? (size_t)n : SAMPLED_CELLS;
    cpt_sha256_add(h, d->decoder + (int64_t)c * d->dim, (size_t)d->dim * sizeof *d->decoder);
    cpt_sha256_add(h, &n, sizeof n);
    cpt_sha256_add(h, cells + first[c], m * sizeof *cells);
    cpt_sha256_add(h, values + first[c], m * sizeof *values);
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
    activations_by_concept a = {0};
    cpt_dictionary *d;
    cpt_index *known = NULL;
    cpt_sha256 base;
    cpt_status status;
    *keys = NULL;
    *n = 0;
    CPT_TRY(cpt_study_dictionary(s, &d, e));
    CPT_TRY(open_activations(s, d->n_concepts, &a, e));
    CPT_TRY(cpt_alloc(keys, (size_t)d->n_concepts, sizeof **keys, e));
    cpt_sha256_init(&base);
    cpt_sha256_add(&base, "concept 1", 9);
    CPT_TRY(hash_embedding(s, d->dim, &base, e));
    known = cpt_index_new((size_t)d->n_concepts, e);
    if (!known) {
        status = CPT_ERR_MEMORY;
        goto done;
    }
    for (int32_t c = 0; c < d->n_concepts; c++) {
        cpt_sha256 h = base;
        hash_concept(d, &a, c, &h);
        take(&h, (*keys)[c]);
        CPT_TRY(make_unique(*keys, c, known, e));
    }
    *n = d->n_concepts;
done:
    cpt_index_free(known);
    close_activations(&a);
    if (status) {
        free(*keys);
        *keys = NULL;
    }
    return status;
}

/* genesets_by_hand.h - gene sets for tests, without an ontology. */
#ifndef CPT_TEST_GENESETS_BY_HAND_H
#define CPT_TEST_GENESETS_BY_HAND_H

#include "base/random.h"
#include "check.h"
#include "ontology/genesets.h"

static inline int by_hand_ascending(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static inline cpt_genesets by_hand_new(int32_t n_universe)
{
    cpt_genesets s = {.n_universe = n_universe};
    s.first = calloc(1, sizeof *s.first);
    assert_non_null(s.first);
    return s;
}

static inline void by_hand_add(cpt_genesets *s, int32_t n, const int32_t *genes)
{
    int64_t at = s->first[s->n_sets];
    s->n_sets++;
    s->first = realloc(s->first, ((size_t)s->n_sets + 1) * sizeof *s->first);
    s->genes = realloc(s->genes, ((size_t)at + (size_t)n + 1) * sizeof *s->genes);
    assert_true(s->first && s->genes);
    memcpy(s->genes + at, genes, (size_t)n * sizeof *genes);
    qsort(s->genes + at, (size_t)n, sizeof *genes, by_hand_ascending);
    s->first[s->n_sets] = at + n;
}

/* A random set of n genes below `below`. */
static inline void by_hand_add_random(cpt_genesets *s, int32_t n, int32_t below, cpt_stream *stream)
{
    int32_t *items = malloc((size_t)below * sizeof *items);
    assert_non_null(items);
    for (int32_t i = 0; i < below; i++) items[i] = i;
    for (int32_t i = 0; i < n; i++) {
        int32_t j = i + (int32_t)cpt_stream_below(stream, (uint64_t)(below - i)), t = items[i];
        items[i] = items[j];
        items[j] = t;
    }
    by_hand_add(s, n, items);
    free(items);
}

static inline void by_hand_free(cpt_genesets *s)
{
    free(s->first);
    free(s->genes);
}

#endif

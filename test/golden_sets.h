/* golden_sets.h - the golden ranking of genes and the sets on it. */
#ifndef CPT_TEST_GOLDEN_SETS_H
#define CPT_TEST_GOLDEN_SETS_H

#include "genesets_by_hand.h"
#include "golden.h"

enum { GOLDEN_GENES = 4131 };

/* The array `key` of each object in `list` as a set of n_universe genes; positions begin with 1. */
static inline cpt_genesets golden_sets(json_t *list, const char *key, int n_universe)
{
    cpt_genesets sets = by_hand_new(n_universe);
    json_t *entry;
    size_t i;
    json_array_foreach(list, i, entry) {
        int m;
        double *positions = golden_array(json_object_get(entry, key), &m);
        int32_t *genes = malloc((size_t)n_universe * sizeof *genes);
        assert_non_null(genes);
        for (int j = 0; j < m; j++) genes[j] = (int32_t)positions[j] - 1;
        by_hand_add(&sets, m, genes);
        free(genes);
        free(positions);
    }
    return sets;
}

/* statistic [GOLDEN_GENES]: column stat of ranking.tsv. */
static inline void golden_ranking(const char *path, double *statistic)
{
    golden_tsv t;
    golden_tsv_open(&t, path);
    for (int i = 0; golden_tsv_next(&t); i++) statistic[i] = golden_number(&t, "stat");
}

#endif

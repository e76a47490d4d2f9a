/* gsea_work.h - an engine and one ranking in it: what gsea.c and gsea_permuted.c share. */
#ifndef CPT_ENRICH_GSEA_WORK_H
#define CPT_ENRICH_GSEA_WORK_H

#include "base/log.h"
#include "enrich/enrich.h"
#include "enrich/gsea_null.h"
#include "enrich/ranking.h"
#include "enrich/set_walks.h"

/* One ranking at work. Memory stays for the next one, but for what the permutations of one need. */
typedef struct cpt_gsea_work {
    const cpt_gsea_engine *engine;
    cpt_ranking ranking;
    cpt_set_walks sets;
    int32_t n_sizes, *sizes;  /* distinct sizes of the sets that can be tested */
    cpt_gsea_tally *tallies;  /* [n_sizes] */
    cpt_gsea_target *targets; /* [n_sets], size -1 = not testable */
    struct cpt_gsea_work *next;
} cpt_gsea_work;

struct cpt_gsea_engine {
    const cpt_genesets *sets;
    cpt_gsea_options options;
    cpt_set_index index;
    cpt_gsea_null null;   /* for lists of all n_universe genes */
    const cpt_rank_null *shared; /* NULL = weights are statistics */
    bool *split;          /* [n_permutations + 1] n beyond: is multilevel splitting more exact? */
    cpt_gsea_work **idle; /* those that wait for a ranking: as many as ever worked at a time */
};

/* Fills engine->split. */
cpt_status cpt_gsea_compare_errors(cpt_gsea_engine *engine, cpt_err *e);
/* p and NES of all sets from permutations of this ranking, small p by splitting. rows: [n_sets]; leading edges
 * and q are the caller's. */
cpt_status cpt_gsea_by_permutation(cpt_gsea_work *r, cpt_gsea_row *rows, int n_threads, const cpt_context *ctx,
                                   cpt_err *e);
/* Once the rows have their q: splits the sets at the floor of p that BH does not let below 0.05 there. *any: p
 * changed, so q must be made anew. */
cpt_status cpt_gsea_split_floor(const cpt_gsea_work *r, cpt_gsea_row *rows, int n_threads, const cpt_context *ctx,
                                bool *any, cpt_err *e);
/* NES alone; NaN where not defined. */
cpt_status cpt_gsea_nes_by_permutation(cpt_gsea_work *r, double *nes, cpt_err *e);

#endif

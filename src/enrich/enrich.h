/* enrich.h - from a ranking or a gene list to terms: preranked GSEA and over-representation. */
#ifndef CPT_ENRICH_ENRICH_H
#define CPT_ENRICH_ENRICH_H

#include "ontology/genesets.h"

/* ---- preranked GSEA (enrichment.md C.3.2) ---- */

typedef enum cpt_score_type { CPT_SCORE_STD, CPT_SCORE_POS, CPT_SCORE_NEG } cpt_score_type;

/* The extreme that counts: top >= 0 >= bottom of the running sum; 0 when both are as far. */
static inline double cpt_score_extreme(cpt_score_type type, double top, double bottom)
{
    return type == CPT_SCORE_POS   ? top
           : type == CPT_SCORE_NEG ? bottom
           : top > -bottom         ? top
           : top < -bottom         ? bottom
                                   : 0;
}

typedef struct cpt_gsea_options {
    double weight;           /* exponent p of |s|, 1 */
    int32_t n_permutations;  /* 1,000 */
    int32_t sample_size;     /* multilevel, 101, odd */
    double eps;              /* 1e-50: smallest p looked for */
    bool multilevel;         /* false: simple permutations, but for */
    bool split_floor;        /* false. Sets that no null score reaches, too few for BH over this ranking's sets to give
                                them q < 0.05 there, get the p of multilevel splitting, down to 1e-10: a strong set may
                                stand alone */
    cpt_score_type score_type;
    uint64_t seed;
} cpt_gsea_options;
void cpt_gsea_options_init(cpt_gsea_options *o);

/* Why a set has no p, or not its own. ES_ZERO: the score is exactly 0 (p = 1), or no walk is possible
 * because none or all of the ranked genes are members (p = NaN). FEW_SAME_SIGN: fewer than 10 null scores
 * of its sign (p = NaN). NO_CONVERGENCE: the multilevel chain could not reach the score; p is an upper
 * bound, log2err NaN. */
typedef enum cpt_gsea_reason {
    CPT_GSEA_TESTED, CPT_GSEA_FEW_SAME_SIGN, CPT_GSEA_ES_ZERO, CPT_GSEA_NO_CONVERGENCE
} cpt_gsea_reason;

typedef struct cpt_gsea_row {
    int32_t set, size;
    double es, nes, p, log10p, q; /* q: BH over the rows of this result with a p; NaN when not tested */
    double log2err;               /* standard error of log2 p; NaN when not estimable */
    bool multilevel, below_eps;
    bool shared;                  /* p and NES from the null that rankings share */
    uint8_t reason;               /* cpt_gsea_reason */
    int32_t n_leading;
    const int32_t *leading;       /* universe genes, from their end of the ranking inwards; borrowed from the result */
} cpt_gsea_row;

typedef struct cpt_gsea {
    int32_t n_rows;
    cpt_gsea_row *rows;  /* in the order of the sets */
    bool shared_null;    /* weights are ranks; else statistics */
    int32_t n_genes, n_tied, n_zero; /* genes ranked, genes sharing a statistic, statistic exactly 0 */
    int32_t *leading_pool;
} cpt_gsea;

/* statistic [n_universe], NaN = not ranked (left out of the list). Higher = top. */
cpt_status cpt_gsea_run(const cpt_genesets *sets, const double *statistic, const cpt_gsea_options *o,
                        cpt_gsea **out, const cpt_context *ctx, cpt_err *e);
void cpt_gsea_free(cpt_gsea *g);

/* The null of many rankings over the same universe and sets differs only by their weights; an engine
 * keeps the drawn subsets, and the memory that a ranking is worked on in. One engine per run; cpt_gsea_run is this with a temporary engine. */
typedef struct cpt_gsea_engine cpt_gsea_engine;
cpt_gsea_engine *cpt_gsea_engine_new(const cpt_genesets *sets, const cpt_gsea_options *o, cpt_err *e);
/* Single-threaded and const: call it from many threads, one ranking each. */
cpt_status cpt_gsea_engine_run(const cpt_gsea_engine *engine, const double *statistic,
                               cpt_gsea **out, cpt_err *e);
/* Normalised scores [n_sets] only (NaN where not defined): the price of p grows with sets times permutations. */
cpt_status cpt_gsea_engine_nes(const cpt_gsea_engine *engine, const double *statistic, double *nes, cpt_err *e);
void cpt_gsea_engine_free(cpt_gsea_engine *engine);

/* Weights by rank (rank_null.h). First every ranking is asked about: the set sizes are noted in the null, unless ranks
 * do not suit it, which `reason` then says ("" = suits). The null is grown, and given to the engine, which uses it
 * for the rankings that it suits and treats the others by their statistic. Thread-safe but for _use. */
typedef struct cpt_rank_null cpt_rank_null;
cpt_status cpt_gsea_engine_ask(const cpt_gsea_engine *engine, const double *statistic, cpt_rank_null *null,
                               char *reason, size_t capacity, cpt_err *e);
void cpt_gsea_engine_use(cpt_gsea_engine *engine, const cpt_rank_null *null); /* borrowed; NULL = none */

/* Running sum of one set for a plot: *x (rank, from 0) and *y, n breakpoints, malloc'ed. */
cpt_status cpt_gsea_running_sum(const cpt_genesets *sets, const double *statistic, int32_t set,
                                double weight, int32_t **x, double **y, int32_t *n, cpt_err *e);

/* Bare statistic, for tests: positions [m] ascending from 0 in a list of n; weights integer. */
double cpt_gsea_es(const int64_t *weights, int32_t n, const int32_t *positions, int32_t m,
                   cpt_score_type type);

/* ---- over-representation (C.3.3) ---- */

typedef struct cpt_ora_row {
    int32_t set, size, overlap;
    double p, log10p, q;
    double odds_ratio, odds_low, odds_high, fold; /* sample odds ratio; Haldane 1/2 when a cell is 0 */
    bool haldane;
    int32_t n_genes;
    const int32_t *genes; /* the overlap, universe numbers ascending; borrowed */
} cpt_ora_row;

typedef struct cpt_ora {
    int32_t n_rows, n_study, n_universe;
    cpt_ora_row *rows; /* in the order of the sets; every set is tested, also with overlap 0 */
    int32_t *gene_pool;
} cpt_ora;

/* study: universe numbers, ascending, distinct. */
cpt_status cpt_ora_run(const cpt_genesets *sets, int32_t n_study, const int32_t *study, cpt_ora **out,
                       cpt_err *e);
void cpt_ora_free(cpt_ora *r);

#endif

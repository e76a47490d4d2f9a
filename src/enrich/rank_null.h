/* rank_null.h - one null of the enrichment score for all rankings of the same genes.
 *
 * When a gene weighs |2 rank - n - 1|^power, whatever its statistic, the null of a score depends on n and the size of
 * the set alone: thousands of rankings read their p from one table. The price: how large statistics are is forgotten. */
#ifndef CPT_ENRICH_RANK_NULL_H
#define CPT_ENRICH_RANK_NULL_H

#include "base/log.h"
#include "enrich/enrich.h"
#include "enrich/ranking.h"

/* Scores of the table: multiples of 1 / CPT_RANK_NULL_STEPS. SAMPLE: subsets drawn per size, about. */
enum { CPT_RANK_NULL_STEPS = 1024, CPT_RANK_NULL_SAMPLE = 16000, CPT_RANK_NULL_FEWEST_GENES = 200 };

/* log_p = NULL but at sizes that have a table: those that others which were asked for are interpolated from. */
typedef struct cpt_rank_null_size {
    bool asked;
    double mean;      /* of the |scores| by chance, both signs; between tables interpolated */
    int32_t below, above; /* the sizes whose tables answer for this one */
    double *log_p;    /* [STEPS + 1] ln P(|score| >= step / STEPS given its sign); falls */
    double *log2err;  /* [STEPS + 1] standard error of log2; NaN = no subset that high was met, log_p is a bound */
} cpt_rank_null_size;

struct cpt_rank_null {
    int32_t n_genes, largest; /* largest: of the table, not below the largest set */
    double power, eps, log_eps; /* log_eps: -inf where eps is 0 */
    uint64_t seed;
    int32_t n_permutations; /* behind the means */
    double *weight, unit; /* [n_genes + 1] by position, as in cpt_ranking */
    cpt_rank_null_size *sizes; /* [largest + 1] */
};

/* Empty. largest: the largest set. Takes weight (power), n_permutations, eps and seed of the options. */
cpt_status cpt_rank_null_make(int32_t n_genes, int32_t largest, const cpt_gsea_options *o, cpt_rank_null **out,
                              cpt_err *e);
void cpt_rank_null_free(cpt_rank_null *x);

/* Whether ranks say what the statistic says: not when many genes share one or have 0 (their order is an accident), when
 * some have none, or when genes are few; nor may power be above 2. If false, `reason` (at most `capacity` bytes) is a
 * phrase. */
bool cpt_rank_null_fits(const cpt_ranking *r, int32_t n_universe, double power, char *reason, size_t capacity);

/* Notes that a set size is needed. By one thread at a time. */
void cpt_rank_null_ask(cpt_rank_null *x, int32_t size);
/* Computes what was asked for and is not there. The entries do not depend on what else was asked for, when, or on
 * threads. *changed: something was computed. */
cpt_status cpt_rank_null_grow(cpt_rank_null *x, bool *changed, const cpt_context *ctx, cpt_err *e);

typedef struct cpt_rank_null_answer {
    double log_p, log2err; /* given the sign of the score; the error holds that of interpolation */
    double mean;           /* of |scores| by chance at this size */
    bool below_eps, bound;
} cpt_rank_null_answer;
/* The size must have been asked for, and the table grown. Thread-safe. */
cpt_rank_null_answer cpt_rank_null_read(const cpt_rank_null *x, int32_t size, double es);

/* The sizes around `size` that have tables: every size up to 10, above it steps by a quarter. */
void cpt_rank_null_anchors(int32_t n_genes, int32_t size, int32_t *below, int32_t *above);

/* The whole table as rows of CPT_RANK_NULL_COLUMNS numbers (size, mean, log_p, log2err), to be kept in a file;
 * malloc'ed. _unpack adds rows to a table of the same n_genes, options; none when one of them is unsound. */
enum { CPT_RANK_NULL_COLUMNS = 2 + 2 * (CPT_RANK_NULL_STEPS + 1) };
cpt_status cpt_rank_null_pack(const cpt_rank_null *x, int64_t *n_rows, double **rows, cpt_err *e);
cpt_status cpt_rank_null_unpack(cpt_rank_null *x, int64_t n_rows, const double *rows, cpt_err *e);

#endif

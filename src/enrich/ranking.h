/* ranking.h - genes in order of a statistic, with the integer weights of the running sum. */
#ifndef CPT_ENRICH_RANKING_H
#define CPT_ENRICH_RANKING_H

#include "base/error.h"

/* All sums of weights stay near 2^30, so that numerators of the running sum, up to 2^30 n, are exact
 * in a double for every list of at most this many genes. */
enum { CPT_RANKING_MAX_GENES = 1 << 22 };

/* Zeroed at first. One that was used takes the next ranking of the same universe into the same memory. */
typedef struct cpt_ranking {
    int32_t n;            /* genes ranked */
    int32_t n_tied, n_zero;
    int32_t *gene;        /* [n] universe number at each position, best first */
    int32_t *position;    /* [n_universe] position of a gene; -1 = not ranked */
    const double *weight; /* [n + 1] integers, by position; the last is 0. NULL until weighed */
    double unit;          /* > 0: weights are unit * |2 rank - n - 1| */
    int32_t room;         /* n_universe */
    double *own;          /* [room + 1] behind weight, unless that is another's */
    uint64_t *scratch;
} cpt_ranking;

/* Order: statistic descending, then gene number. Weights: |s|^power scaled to integers (C.3.2). */
cpt_status cpt_ranking_make(int32_t n_universe, const double *statistic, double power,
                            cpt_ranking *r, cpt_err *e);
/* The same in two steps. */
cpt_status cpt_ranking_order(int32_t n_universe, const double *statistic, cpt_ranking *r, cpt_err *e);
cpt_status cpt_ranking_weigh(cpt_ranking *r, const double *statistic, double power, cpt_err *e);
void cpt_ranking_free(cpt_ranking *r);

/* Weights |2 rank - n - 1|^power, ranks from 1 to n, scaled alike: weight [n]. *unit as above. */
cpt_status cpt_rank_weights(int32_t n, double power, double *weight, double *unit, cpt_err *e);

#endif

/* label_change.h - how a probe's label probabilities change when embeddings are edited.
 *
 * A multinomial logistic regression (logistic.h) reads the label off the embedding. It is fitted
 * once per fold on the other folds' cells, and a cell is only ever judged by the fit that has not
 * seen it (nor, with groups, any cell of its donor). */
#ifndef CPT_EVALUATE_LABEL_CHANGE_H
#define CPT_EVALUATE_LABEL_CHANGE_H

#include "base/log.h"

typedef struct cpt_crossfit cpt_crossfit;

typedef struct cpt_crossfit_options {
    int32_t n_folds;   /* 5 */
    double strength;   /* 1: scikit-learn's C on standardised columns */
    int64_t max_cells; /* 20000 training cells in all, drawn at random; 0 = no limit */
} cpt_crossfit_options;
void cpt_crossfit_options_init(cpt_crossfit_options *o);

/* a [n][dim], rows that are not finite take no part; labels [n] -1 = none; groups [n] >= 0 or NULL.
 * At least two labels and as many labelled cells as folds are needed. */
cpt_status cpt_crossfit_new(const cpt_crossfit_options *o, const float *a, int64_t n, int32_t dim,
                            const int32_t *labels, int32_t n_labels, const int32_t *groups,
                            cpt_crossfit **out, const cpt_context *ctx, cpt_err *e);
void cpt_crossfit_free(cpt_crossfit *c);
/* Of the cells held out: how many have the label that the probe names, and how many would if it
 * always named the commonest. */
void cpt_crossfit_accuracy(const cpt_crossfit *c, int64_t *n, double *accuracy, double *majority);

/* Probabilities [n_labels] that the fit which has not seen `cell` gives to an embedding [dim] (the
 * cell's own, or edited). Labels without training cells get 0. */
void cpt_crossfit_probabilities(const cpt_crossfit *c, int64_t cell, const float *embedding,
                                double *probabilities);

typedef struct cpt_label_change {
    int32_t label;
    double before, after;             /* mean probability over the cells */
    double change, sd;                /* mean and sd (n - 1) over cells of after - before */
    double named_before, named_after; /* share of cells for which the label is the most probable */
    double null_mean, null_sd;        /* of change, over the random directions */
    double p, q;                      /* cpt_rank_p among them, BH over labels; NaN without */
} cpt_label_change;

/* cells [n]: numbers of cells of a, which is what _new was given; their activations before and
 * after [n]; the edit is that of concept/steering.h along `direction` [dim], and again along each
 * of n_null others [n_null][dim]. out [n_labels] in label order. Same bytes for any number of
 * threads. */
cpt_status cpt_label_changes(const cpt_crossfit *c, const float *a, int64_t n, const int64_t *cells,
                             const float *before, const float *after, const float *direction,
                             int32_t n_null, const float *directions, cpt_label_change *out,
                             const cpt_context *ctx, cpt_err *e);

#endif

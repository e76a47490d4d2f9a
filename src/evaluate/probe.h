/* probe.h - how well a label can be read off an embedding or off concepts: a linear probe.
 *
 * Multinomial logistic regression (logistic.h) on columns that are standardised by the training
 * cells, in nested cross-validation: the strength is chosen by inner folds of the training cells
 * alone, the accuracy taken on the outer fold that took no part. With groups (donors), no group is
 * on both sides, outside or inside: the number then says how well the label is read off a person
 * never seen. */
#ifndef CPT_EVALUATE_PROBE_H
#define CPT_EVALUATE_PROBE_H

#include "base/log.h"

enum { CPT_PROBE_MAX_FOLDS = 20, CPT_PROBE_MAX_STRENGTHS = 16 };

typedef struct cpt_probe_options {
    int32_t n_folds;     /* 5 outer folds; as many as there are groups when those are fewer */
    int32_t n_inner;     /* 3 */
    int32_t n_best;      /* 0 = all columns; else those with the largest analysis-of-variance F on
                          * the outer training cells (1, 5, 10, 20 concepts) */
    int64_t max_cells;   /* 20000: more are thinned to as many at random; 0 = no limit */
    int32_t n_strengths; /* candidates, ascending; of equally good ones the smallest */
    double strengths[CPT_PROBE_MAX_STRENGTHS]; /* scikit-learn's C: 0.001 0.01 0.1 1 10 100 */
} cpt_probe_options;
void cpt_probe_options_init(cpt_probe_options *o);

typedef struct cpt_probe_fold {
    int64_t n_train, n_test;
    double accuracy;
    double macro_f1; /* F1 averaged over the labels that occur or are predicted in the fold */
    double majority; /* accuracy of always naming the commonest training label */
    double strength;
} cpt_probe_fold;

typedef struct cpt_probe_result {
    int64_t n_cells;           /* with a label, after thinning */
    int32_t n_labels;          /* that occur among them */
    int32_t n_folds;
    bool grouped;
    double accuracy, accuracy_sd, macro_f1, macro_f1_sd, majority; /* over folds, sd with n - 1 */
    cpt_probe_fold folds[CPT_PROBE_MAX_FOLDS];
} cpt_probe_result;

/* x [n][dim]; labels [n] 0 .. n_labels - 1, or -1 = left out; groups [n] >= 0, or NULL. A cell
 * whose label does not occur in its training folds counts as an error. Fewer than two labels, two
 * groups or two cells for each fold are CPT_ERR_DATA. Same bytes for any number of threads. */
cpt_status cpt_probe(const cpt_probe_options *o, const float *x, int64_t n, int32_t dim,
                     const int32_t *labels, int32_t n_labels, const int32_t *groups,
                     cpt_probe_result *out, const cpt_context *ctx, cpt_err *e);

/* The folds that it uses: fold [n] of 0 .. *n_folds - 1. Without groups every label is dealt
 * evenly; with groups, larger ones first, each to the fold with the fewest cells, and *n_folds
 * falls to their number. `turn` tells one deal from another. */
cpt_status cpt_probe_deal(int64_t n, const int32_t *labels, const int32_t *groups, uint64_t seed,
                          uint64_t turn, int32_t *n_folds, int32_t *fold, cpt_err *e);

#endif

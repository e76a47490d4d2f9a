/* sweep.h - how well each kind of dictionary reconstructs the embedding, over k and expansion.
 *
 * What is "equal L0": for topk exactly k units per cell; for batchtopk and matryoshka k on average, by the
 * threshold; for pca, ica and nmf two answers stand side by side, "rank" (k components, all used in every
 * cell: pca's is the best linear reconstruction of rank k) and "largest" (all components, of which each
 * cell keeps its k largest); neurons: "largest"; random: Top-K. The measured L0 stands beside each. */
#ifndef CPT_TRUST_SWEEP_H
#define CPT_TRUST_SWEEP_H

#include "study/study.h"

/* `sweep` of evaluation.json, and STUDY/sweep.tsv. Every setting is trained with several seeds, which
 * also split the cells anew (seed 0 = as the study's own dictionary). Finished settings are kept in
 * cache/sweep.json, so that a run that was stopped goes on. */
cpt_status cpt_sweep_json(cpt_study *s, json_t **out, cpt_err *e);

#endif

/* evaluate.h - the parts of evaluation.json. Each is a stage of its own with a file in
 * cache/evaluation/, so that a stopped evaluation goes on where it was and an option runs only its
 * part again.
 *
 * Effort. `run` does every part in brief, `evaluate` in full (option "evaluation"); what is cut
 * stands in the part itself under "effort". A part that the data do not allow holds {"skipped":
 * why}. */
#ifndef CPT_TRUST_EVALUATE_H
#define CPT_TRUST_EVALUATE_H

#include "study/study.h"

/* ---- for the stage evaluation ---- */
/* Adds "probing", "purity", "stability", "faithfulness", "noise_floor", then "flags" and "summary",
 * which are made of them and of what `root` holds already. */
cpt_status cpt_evaluation_add_parts(cpt_study *s, json_t *root, cpt_err *e);
/* `flags`: per concept what speaks against it, with the rules (evaluate_flags.c). */
cpt_status cpt_flags_json(cpt_study *s, const json_t *evaluation, json_t **out, cpt_err *e);
/* `summary`: the findings as sentences (evaluate_words.c). */
cpt_status cpt_words_json(const cpt_study *s, const json_t *evaluation, json_t **out, cpt_err *e);

/* ---- shared by the parts ---- */
bool cpt_evaluation_in_full(const cpt_study *s);
json_t *cpt_json_mean_sd(double mean, double sd);
json_t *cpt_json_numbers(int64_t n, const double *values);
/* {"skipped": text} for CPT_ERR_DATA, which is cleared: the data do not allow this part. Other
 * errors pass. */
cpt_status cpt_json_skipped(cpt_status status, const cpt_err *e, json_t **out);
cpt_status cpt_evaluation_write(const cpt_study *s, const char *part, json_t *value, cpt_err *e);
/* A whole stage: what `compute` gives, or why it was skipped, written as this part. */
typedef cpt_status cpt_evaluation_compute(cpt_study *s, json_t **out, cpt_err *e);
cpt_status cpt_evaluation_part(cpt_study *s, const char *part, cpt_evaluation_compute *compute,
                               cpt_err *e);
/* Labels that say there is none: "Unassigned", "unknown", "NA", ... */
bool cpt_label_is_none(const char *label);
/* codes [n] of the column with such labels and unusable cells as -1; *left_out a new JSON list of
 * the labels left out. Caller frees. */
cpt_status cpt_evaluation_codes(const cpt_column *column, int64_t n, const bool *usable,
                                int32_t **codes, json_t **left_out, cpt_err *e);

#endif

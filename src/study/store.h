/* store.h - numeric results between stages: .npy files under cache/, by name. */
#ifndef CPT_STUDY_STORE_H
#define CPT_STUDY_STORE_H

#include "study/study.h"

/* cache/NAME.npy, [rows] or [rows][cols] (cols 0 = one-dimensional). */
cpt_status cpt_store_write(const cpt_study *s, const char *name, cpt_dtype dtype, int64_t rows,
                           int64_t cols, const void *values, cpt_err *e);
/* Maps it, demanding dtype and shape (-1 = any); names the stage to run when it is absent. */
cpt_status cpt_store_open(const cpt_study *s, const char *name, const char *stage, cpt_dtype dtype,
                          int64_t rows, int64_t cols, cpt_npy *a, cpt_err *e);
/* Copies it into fresh memory (free() it). */
cpt_status cpt_store_read(const cpt_study *s, const char *name, const char *stage, cpt_dtype dtype,
                          int64_t rows, int64_t cols, void *out, cpt_err *e);
/* cache/NAME or NAME: a JSON file of ours, written sorted and indented. */
cpt_status cpt_store_write_json(const cpt_study *s, const char *file, const json_t *value, cpt_err *e);
cpt_status cpt_store_read_json(const cpt_study *s, const char *file, const char *stage, json_t **out, cpt_err *e);

/* pairs, attribution, expression in their folders; see doc/formats.md */
cpt_status cpt_store_attribution(const cpt_study *s, const cpt_pairs *p, const cpt_attribution *a, cpt_err *e);
cpt_status cpt_load_attribution(const cpt_study *s, cpt_pairs **p, cpt_attribution **a, cpt_err *e);
/* Rows [from, to) of the arrays, as FOLDER/mean.npy ...; see shards.h */
cpt_status cpt_store_attribution_rows(const char *folder, const cpt_attribution *a, int64_t from,
                                      int64_t to, cpt_err *e);
cpt_status cpt_load_attribution_rows(const char *folder, cpt_attribution *a, int64_t from, int64_t to,
                                     cpt_err *e);
cpt_status cpt_store_expression(const cpt_study *s, const cpt_expression *x, cpt_err *e);
cpt_status cpt_load_expression(const cpt_study *s, cpt_expression **x, cpt_err *e);

/* A number for JSON: null when not finite. */
json_t *cpt_json_number(double x);

#endif

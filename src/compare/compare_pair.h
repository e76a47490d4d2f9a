/* compare_pair.h - everything that is told of one pair of studies, as JSON (doc/formats.md). */
#ifndef CPT_COMPARE_COMPARE_PAIR_H
#define CPT_COMPARE_COMPARE_PAIR_H

#include "compare/compare_cells.h"

/* *out: a new object. */
cpt_status cpt_compare_pair(const cpt_compared *a, const cpt_compared *b,
                            const cpt_gene_table *table, const cpt_comparison *how, json_t **out,
                            const cpt_context *ctx, cpt_err *e);

/* The columns of matches.tsv: keys of the objects in "matches"; ends with NULL. */
extern const char *const cpt_match_columns[];

#endif

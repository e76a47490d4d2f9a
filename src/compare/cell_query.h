/* cell_query.h - cells chosen by a short text over the columns of obs.
 *
 *     query     = condition { "&" condition }
 *     condition = "active" | "inactive"              of the concept at hand
 *               | name ("==" | "=" | "!=" | ">" | ">=" | "<" | "<=") value
 *     name      = a column of obs; n_counts or n_genes where obs has none of that name (taken from
 * the counts); c0, c1, ... where obs has none of that name: the activation of that concept value =
 * text up to the next "&", blanks around it left out; or "in quotation marks"
 *
 * Texts are compared exactly, numbers by size. A cell whose value is missing fulfils no condition
 * on it. "cell_type==B cell & n_genes>500 & inactive" */
#ifndef CPT_COMPARE_CELL_QUERY_H
#define CPT_COMPARE_CELL_QUERY_H

#include "concept/activations.h"
#include "io/cells.h"

/* keep [n_cells] gets 1 for the cells that fulfil all conditions, *n their number. An empty query
 * keeps all. `concept`: whom active and inactive ask about. Errors (CPT_ERR_USAGE) name the column
 * or value and what is near it. */
cpt_status cpt_cell_query(const char *query, const cpt_cells *cells, const cpt_activations *u,
                          int32_t concept, uint8_t *keep, int64_t *n, cpt_err *e);

#endif

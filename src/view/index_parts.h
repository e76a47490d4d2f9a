/* index_parts.h - the parts of the stage "index", each writing its own files (index.h lists them).
 */
#ifndef CPT_VIEW_INDEX_PARTS_H
#define CPT_VIEW_INDEX_PARTS_H

#include "view/index.h"

/* facts[concept * CPT_N_FACTS + CPT_FACT_*] is shared by the parts and written last. `have` is the
 * list of parts in index.json. */
typedef struct cpt_index_job {
    cpt_study *s;
    const cpt_universe *universe;
    const cpt_activations *u;
    double *facts;     /* [F][CPT_N_FACTS], NaN = not defined */
    int64_t *best_row; /* [F] */
    json_t *head, *have;
} cpt_index_job;

cpt_status cpt_index_genes(cpt_index_job *job, cpt_err *e); /* attribution and expression by gene */
cpt_status cpt_index_terms(cpt_index_job *job,
                           cpt_err *e); /* the enrichment by concept, term and gene */
cpt_status cpt_index_similar(cpt_index_job *job,
                             cpt_err *e); /* neighbours of concepts, their map */

/* cache/index/NAME.npy */
cpt_status cpt_index_put(const cpt_index_job *job, const char *name, cpt_dtype dtype, int64_t rows,
                         int64_t cols, const void *values, cpt_err *e);
/* NAME.first and NAME.ITEMS out of lists that lie one after the other. */
cpt_status cpt_index_put_strings(const cpt_index_job *job, const char *name, const cpt_strings *s,
                                 cpt_err *e);

#endif

#include "study/each_concept.h"

/* After a first error or a stop the remaining concepts are passed over: an OpenMP loop cannot be
 * left. */

cpt_status cpt_each_concept(int32_t n_concepts, const char *what, cpt_concept_fn *work, void *data,
                            const cpt_context *ctx, cpt_err *e)
{
    cpt_status first = CPT_OK;
    int32_t done = 0;
#pragma omp parallel for schedule(dynamic) num_threads(cpt_threads(ctx))
    for (int32_t c = 0; c < n_concepts; c++) {
        cpt_err inner;
        cpt_status status;
#pragma omp atomic read
        status = first;
        if (status == CPT_OK) status = cpt_check_stop(ctx, &inner);
        if (status == CPT_OK) status = work(data, c, &inner);
        else continue;
#pragma omp critical(cpt_each_concept_result)
        {
            if (status && first == CPT_OK) {
                first = status;
                if (e) *e = inner;
            }
            cpt_progress(ctx, what, ++done, n_concepts, NULL);
        }
    }
    return first ? first : cpt_check_stop(ctx, e);
}

#include "base/each.h"

/* An OpenMP loop cannot be left: what remains is passed over. */

cpt_status cpt_each(int32_t n, const char *what, cpt_each_fn *work, void *data, int n_threads, const cpt_context *ctx,
                    cpt_err *e)
{
    cpt_status first = CPT_OK;
    int32_t done = 0;
#pragma omp parallel for schedule(dynamic) num_threads(n_threads) if (n_threads > 1)
    for (int32_t i = 0; i < n; i++) {
        cpt_err inner;
        cpt_status status;
#pragma omp atomic read
        status = first;
        if (status == CPT_OK) status = cpt_check_stop(ctx, &inner);
        if (status == CPT_OK) status = work(data, i, &inner);
        else continue;
#pragma omp critical(cpt_each_result)
        {
            if (status && first == CPT_OK) {
                first = status;
                if (e) *e = inner;
            }
            cpt_progress(ctx, what, ++done, n, NULL);
        }
    }
    return first ? first : cpt_check_stop(ctx, e);
}

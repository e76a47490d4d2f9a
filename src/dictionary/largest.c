/* largest.c - the k largest activations of each cell; of equal ones the first concepts.
 *
 * The inner encoder writes whole rows; the k-th largest value of a row is found by selection and
 * the rest closed up in place, so that concepts still ascend. O(active) per cell on average. */
#include "dictionary/largest.h"

#include "base/memory.h"
#include "math/topk.h"

#include <stdlib.h>

static cpt_status encode(const cpt_dictionary *base, int64_t n, const float *a, int32_t *counts,
                         int32_t *concepts, float *values, cpt_err *e)
{
    const cpt_largest *d = (const cpt_largest *)base;
    const cpt_topk_kernels *topk = cpt_topk_kernels_get();
    const int32_t width = base->max_active, k = base->k;
    int32_t *places = NULL;
    float *kept = NULL;
    void *scratch = NULL;
    cpt_status status = CPT_OK;
    CPT_TRY(cpt_alloc(&places, (size_t)k, sizeof *places, e));
    CPT_TRY(cpt_alloc(&kept, (size_t)k, sizeof *kept, e));
    CPT_TRY(cpt_alloc(&scratch, cpt_topk_scratch(width), 1, e));
    CPT_TRY(d->inner->ops->encode(d->inner, n, a, counts, concepts, values, e));
    for (int64_t i = 0; i < n; i++) {
        int32_t *row = concepts + i * width;
        if (counts[i] <= k) continue;
        counts[i] = topk->row(values + i * width, counts[i], k, 0, places, kept, scratch);
        for (int32_t j = 0; j < counts[i]; j++) {
            row[j] = row[places[j]];
            values[i * width + j] = kept[j];
        }
    }
done:
    free(places);
    free(kept);
    free(scratch);
    return status;
}

static void decode(const cpt_dictionary *base, int64_t n, const int32_t *counts,
                   const int32_t *concepts, const float *values, float *out)
{
    const cpt_largest *d = (const cpt_largest *)base;
    d->inner->ops->decode(d->inner, n, counts, concepts, values, out);
}

static const cpt_dictionary_ops largest_ops = {
    .kind = "largest", .encode = encode, .decode = decode};

void cpt_largest_init(cpt_largest *d, const cpt_dictionary *inner, int32_t k)
{
    *d = (cpt_largest){.base = *inner, .inner = inner};
    d->base.ops = &largest_ops;
    d->base.k = k < inner->max_active ? k : inner->max_active;
}

/* each.h - a loop over pieces of work by several threads, with progress, stop and the first error. */
#ifndef CPT_BASE_EACH_H
#define CPT_BASE_EACH_H

#include "base/log.h"

/* Does one piece of work; called by several threads at once, once per item. */
typedef cpt_status cpt_each_fn(void *data, int32_t item, cpt_err *e);

/* Items 0 .. n - 1, in no order. After an error or a stop the remaining ones are passed over; the first error that was
 * met is the result. `what` names the work to the one who waits. n_threads <= cpt_threads(ctx). */
cpt_status cpt_each(int32_t n, const char *what, cpt_each_fn *work, void *data, int n_threads, const cpt_context *ctx,
                    cpt_err *e);

#endif

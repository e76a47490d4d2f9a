/* leaves.h - points put in an order in which points that lie together stand together: leaves of at most so many, so that
 * a search can leave out whole leaves. */
#ifndef CPT_MATH_LEAVES_H
#define CPT_MATH_LEAVES_H

#include "math/kmeans.h"

typedef struct cpt_leaves {
    int64_t n_leaves;
    int64_t *starts;  /* [n_leaves + 1] positions: leaf l has starts[l] .. starts[l + 1] */
    int32_t *numbers; /* [n] of the points, by position */
} cpt_leaves;

/* 0 < p->n <= INT32_MAX; no leaf is empty or has more than `size` points. Sums are rounded as the compiler likes: what
 * is computed by leaves must not depend on which leaf a point is in. On an error nothing is left to free. */
cpt_status cpt_leaves_new(const cpt_points *p, int64_t size, int n_threads, cpt_leaves *out, cpt_err *e);
void cpt_leaves_free(cpt_leaves *l); /* leaves zeros */

#endif

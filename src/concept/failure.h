/* failure.h - the first failure of a parallel loop, chosen by item and not by who came first, so
 * that the error text is the same for any number of threads. Private to this room. */
#ifndef CPT_CONCEPT_FAILURE_H
#define CPT_CONCEPT_FAILURE_H

#include "base/error.h"

typedef struct cpt_failure {
    int status; /* a cpt_status; int for the atomic */
    int64_t item;
    cpt_err err;
} cpt_failure;

static inline bool cpt_failed(cpt_failure *f)
{
    int status;
#pragma omp atomic read
    status = f->status;
    return status != CPT_OK;
}

/* No-op for CPT_OK. */
static inline void cpt_failure_note(cpt_failure *f, cpt_status status, int64_t item, const cpt_err *err)
{
    if (status == CPT_OK) return;
#pragma omp critical(cpt_concept_failure)
    {
        if (!cpt_failed(f) || item < f->item) {
            f->item = item;
            f->err = *err;
            f->err.code = status;
        }
#pragma omp atomic write
        f->status = status;
    }
}

/* After the loop: hands the error to the caller. */
static inline cpt_status cpt_failure_status(const cpt_failure *f, cpt_err *e)
{
    if (f->status == CPT_OK) return CPT_OK;
    if (e) *e = f->err;
    return f->err.code;
}

#endif

/* nnls.h - least squares with non-negative coefficients on few columns; private to this folder. */
#ifndef CPT_DICTIONARY_NNLS_H
#define CPT_DICTIONARY_NNLS_H

#include "base/error.h"

/* min over u >= 0 of u^T G u / 2 - b^T u, with G = H H^T [n][n] and b = H s. */
typedef struct cpt_nnls {
    int32_t n, n_active;
    int32_t *active;  /* [n] in order of entry; n_active of them */
    double *u;        /* [n] the solution; exactly 0 outside of the active ones */
    double *slack;    /* [n] b - G u: <= 0 (to rounding) outside of the active ones, 0 inside */
    double *factor;   /* [n][n] lower Cholesky factor of G over `active`, row stride n */
    double *trial;    /* [n] scratch */
    bool *is_active;  /* [n] */
    bool *refused;    /* [n] linearly dependent on the active ones */
    void *memory;
} cpt_nnls;

cpt_status cpt_nnls_new(int32_t n, cpt_nnls *s, cpt_err *e);
void cpt_nnls_free(cpt_nnls *s); /* accepts a zeroed one */

void cpt_nnls_solve(cpt_nnls *s, const double *gram, const double *b);

/* x [n_active] = (G over the active ones)^-1 x, in place. */
void cpt_nnls_back(const cpt_nnls *s, double *x);

#endif

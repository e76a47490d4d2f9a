/* nmf.h - the object that nmf_train.c learns and nmf.c uses; private to this folder. */
#ifndef CPT_DICTIONARY_NMF_H
#define CPT_DICTIONARY_NMF_H

#include "dictionary/dictionary.h"

typedef struct cpt_nmf {
    cpt_dictionary base;  /* decoder [F][dim] = H_c+ - H_c-; no bias */
    float *components;    /* [F][2 dim] H >= 0: what is stored */
    float *units;         /* base.decoder */
    double *by_coordinate; /* [2 dim][F] H^T */
    double *gram;         /* [F][F] H H^T */
} cpt_nmf;

/* Fill components (unit rows), then call _finish, which derives the rest. */
cpt_status cpt_nmf_new(int32_t n_components, int32_t dim, cpt_nmf **out, cpt_err *e);
void cpt_nmf_finish(cpt_nmf *d);
void cpt_nmf_free(cpt_dictionary *d);

#endif

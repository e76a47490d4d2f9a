/* attribution_internal.h - what the attribution files share. Private to this room. */
#ifndef CPT_CONCEPT_ATTRIBUTION_INTERNAL_H
#define CPT_CONCEPT_ATTRIBUTION_INTERNAL_H

#include "concept/attribution.h"

/* One pair to attribute. */
typedef struct cpt_pair_job {
    const cpt_model *model;
    const cpt_dictionary *dictionary;
    const cpt_counts *counts;
    const cpt_attribution_options *options;
    int32_t concept;
    int64_t prototype, counterfactual;
    uint64_t seed;
} cpt_pair_job;

/* One cell as opened for a pair. */
typedef struct cpt_opened {
    cpt_profile profile;
    cpt_session *session;
    float activation, pre;
} cpt_opened;
/* Opens the session of o->profile and reads the concept out. */
cpt_status cpt_opened_open(const cpt_pair_job *job, cpt_opened *o, cpt_err *e);
void cpt_opened_free(const cpt_model *m, cpt_opened *o);

typedef struct cpt_pair_work {
    const cpt_pair_job *job;
    cpt_opened p, cf;    /* cf: session only where the method needs it */
    int32_t n;           /* genes that are not 0 in both */
    int32_t *genes;      /* [n] ascending */
    float *at_p, *at_cf; /* [n] inputs */
    int32_t n_differ;
    int32_t *differ;     /* [n_differ] positions in genes */
    /* [n] what a screen says, in units of the prototype's activation: */
    double *screen;      /* attribution of the pre-activation */
    double *foretold;    /* of the activation after sparsification */
    double *priority;    /* larger = sooner evaluated exactly */
} cpt_pair_work;
/* The change that the mode makes to gene k of the merged list. */
cpt_change cpt_change_of(const cpt_pair_work *w, int32_t k);
/* Fills screen, foretold and priority of the genes that differ (attribution_screen.c). */
cpt_status cpt_screen_run(cpt_pair_work *w, cpt_screen screen, cpt_err *e);

/* Fills the arrays of `out`, allocated and zeroed by the caller. *usable = false, and nothing filled,
 * when the prototype does not activate the concept. */
cpt_status cpt_attribution_run(const cpt_pair_job *job, cpt_pair_attribution *out, bool *usable,
                               cpt_err *e);
/* The method gives both read-outs. */
static inline bool cpt_attribution_has_both(const cpt_attribution_options *o)
{
    return o->method == CPT_METHOD_EXACT || o->method == CPT_METHOD_HYBRID;
}
/* Nodes and weights of Gauss-Legendre quadrature on [0, 1]. */
void cpt_gauss_legendre(int32_t n, double *nodes, double *weights);

/* The values of all pairs of one concept. */
typedef struct cpt_pair_values {
    int32_t n_pairs, n_genes;
    const float *chosen; /* [n_pairs][n_genes] the read-out that counts */
    const float *other;  /* the other one, or NULL */
    const bool *differs; /* [n_pairs][n_genes] */
} cpt_pair_values;
/* Fills row `concept` of `out`. */
cpt_status cpt_attribution_summarise(const cpt_pair_values *v, int32_t concept,
                                     const cpt_attribution_options *o, const cpt_context *ctx,
                                     cpt_attribution *out, cpt_err *e);
/* Two-sided p of the sum of n <= 20 values under all 2^n sign flips. scratch [4096]. */
double cpt_sign_flip_exact(int32_t n, const double *values, double *scratch);

#endif

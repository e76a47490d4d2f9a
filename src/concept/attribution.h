/* attribution.h - which genes cause a concept: counterfactual perturbation (method.md 4). */
#ifndef CPT_CONCEPT_ATTRIBUTION_H
#define CPT_CONCEPT_ATTRIBUTION_H

#include "concept/pairs.h"
#include "model/model.h"

typedef enum cpt_attribution_method {
    CPT_METHOD_EXACT, CPT_METHOD_GRADIENT, CPT_METHOD_IG, CPT_METHOD_HYBRID
} cpt_attribution_method;
typedef enum cpt_attribution_mode { CPT_MODE_SUBSTITUTE, CPT_MODE_INSERT, CPT_MODE_MASK } cpt_attribution_mode;
typedef enum cpt_readout { CPT_READOUT_ACTIVATION, CPT_READOUT_PRE } cpt_readout;

/* What hybrid looks at all genes with. SWAP: session_screen of the model (model.h), which estimates what
 * exact substitution gives; models without it are screened by IG. */
typedef enum cpt_screen { CPT_SCREEN_SWAP, CPT_SCREEN_IG, CPT_SCREEN_GRADIENT } cpt_screen;

typedef struct cpt_pair_store cpt_pair_store; /* pair_store.h */

typedef struct cpt_attribution_options {
    cpt_attribution_method method;
    cpt_attribution_mode mode;  /* exact and hybrid */
    cpt_readout readout;        /* what goes into X; exact modes store both */
    cpt_screen screen;          /* SWAP; hybrid only */
    int32_t ig_steps;           /* Gauss-Legendre nodes, 64; 0 only where there is no path */
    int32_t hybrid_top;         /* exact for this many genes after the screen, 200 */
    int32_t hybrid_check;       /* random genes on which the screen is checked, 50 */
    int32_t n_bootstrap;        /* 1,000; 0 = none (low and high stay NaN) */
    int32_t n_sign_flips;       /* 9,999, for genes with more than 20 values that are not 0; exact
                                   enumeration up to 20; 0 = no test (p and q stay NaN) */
    double cutoff;              /* 0.05: the paper's */
    double q_cutoff;            /* 0.05 */
    cpt_pair_store *store, *noise_store; /* NULL; else finished pairs are taken from here and new
                                   ones added: by cpt_attribute_all, by cpt_attribution_noise. Borrowed */
} cpt_attribution_options;
void cpt_attribution_options_init(cpt_attribution_options *o);

/* Attribution of all model genes by one pair, in units of u_c(prototype). Only genes that differ are
 * evaluated, in every mode; the others are 0. Gradient and ig follow the pre-activation. Hybrid holds
 * the exact value where it was computed and the screen's elsewhere. */
typedef struct cpt_pair_attribution {
    float *activation; /* [n_genes] read-out after sparsification; NULL for gradient and ig */
    float *pre;        /* [n_genes] read-out of the pre-activation */
    bool *differs;     /* [n_genes] the gene's input differs between the two cells */
    double completeness_error; /* ig: |sum - (u_p - u_cf)| / u_p of the chosen read-out; else NaN */
    /* Hybrid, else NaN: fidelity of the screen to the exact values of the chosen read-out, and to those
     * of the pre-activation. Spearman over the random sample; share of the screen's 20 largest whose
     * exact value is at least the 20th largest, among the genes evaluated exactly. */
    double hybrid_spearman, hybrid_top20_overlap, hybrid_spearman_pre, hybrid_top20_pre;
} cpt_pair_attribution;
/* CPT_ERR_DATA when the prototype does not activate the concept. */
cpt_status cpt_attribute_pair(const cpt_model *m, const cpt_dictionary *d, const cpt_counts *counts,
                              int32_t concept, int64_t prototype, int64_t counterfactual,
                              const cpt_attribution_options *o, uint64_t seed,
                              cpt_pair_attribution *out, cpt_err *e);
void cpt_pair_attribution_free(cpt_pair_attribution *a);

/* Over all pairs of every concept. All arrays [n_concepts][n_genes] unless said; NaN where a concept
 * has no pairs. */
typedef struct cpt_attribution {
    int32_t n_concepts, n_genes;
    float *mean;       /* of the chosen read-out; a gene that does not differ in a pair counts as 0 */
    float *mean_other; /* of the other read-out (exact modes); NULL otherwise */
    float *sd;         /* over pairs, n - 1 */
    int32_t *n;        /* pairs in which the gene differed */
    float *same_sign;  /* share of the pairs with a nonzero value that have the mean's sign */
    float *low, *high; /* 95 % percentile bootstrap interval of the mean */
    double *p;         /* sign-flip permutation, two-sided, never 0 */
    double *q;         /* BH over the genes of a concept that differed in at least one pair */
    int32_t *n_pairs;  /* [n_concepts] pairs used: those whose prototype activates the concept */
    double *completeness_error; /* [n_concepts] median over pairs, ig; else NaN */
    double *hybrid_spearman, *hybrid_top20; /* [n_concepts] mean over pairs; else NaN */
    double *hybrid_spearman_pre, *hybrid_top20_pre;
    /* the noise floor (method.md 4): |attribution| of random directions through the same pipeline */
    double noise_quantiles[5];  /* 50, 90, 95, 99, 99.9 % of |mean attribution| */
    double cutoff_percentile;   /* share of the noise below the cut-off */
    int32_t n_noise_directions;
    float *noise_mean; /* [n_noise_directions][n_genes] what the quantiles are of; NULL without */
    int32_t *noise_n;  /* the same for n: 0 = the gene differed in no pair and is no noise */
} cpt_attribution;

cpt_status cpt_attribute_all(const cpt_model *m, const cpt_dictionary *d, const cpt_counts *counts,
                             const cpt_pairs *pairs, const cpt_attribution_options *o,
                             cpt_attribution **out, const cpt_context *ctx, cpt_err *e);
/* Fills noise_* of `a`: n random unit directions used as one-concept dictionaries, prototypes and
 * counterfactuals chosen as for concepts. */
cpt_status cpt_attribution_noise(const cpt_model *m, const cpt_dictionary *d, const cpt_counts *counts,
                                 const float *embedding, int64_t n_cells, int32_t n_directions,
                                 const cpt_pair_options *po, const cpt_attribution_options *o,
                                 cpt_attribution *a, const cpt_context *ctx, cpt_err *e);
void cpt_attribution_free(cpt_attribution *a);

#endif

/* alignment.h - which units of one dictionary are which of another: likeness, matching, chance.
 *
 * A likeness is a matrix [n_a][n_b] of numbers, larger = more alike. Its units are matched one to
 * one so that their sum is largest (math/assignment.h), and the same is done with draws of a null
 * in which both sides are as they were but their relation is broken:
 *
 *     decoder rows       b is turned by a random rotation of the latent space
 *     activations        the cells of b are permuted (within each set of cells; with strata, within
 *                        each stratum: what is left beyond a likeness of cell types)
 *     profiles           the genes of b are permuted
 *
 * Matching the best of many always finds something: every number stands beside what these draws
 * give, and beside random partners under the unbroken relation, which is what is shared by all
 * concepts alike. */
#ifndef CPT_EVALUATE_ALIGNMENT_H
#define CPT_EVALUATE_ALIGNMENT_H

#include "base/log.h"
#include "io/cells.h"

/* ---- likenesses: opaque; each copies what it needs ---- */

typedef struct cpt_likeness cpt_likeness;

/* Cosine of decoder rows a [n_a][dim], b [n_b][dim]. `absolute`: |cosine|, of which PW-MCC (Song et
 * al. 2025, arXiv 2505.20254) is the matched mean. A row of zeros is like nothing (0). */
cpt_status cpt_likeness_decoders(const float *a, int32_t n_a, const float *b, int32_t n_b,
                                 int32_t dim, bool absolute, cpt_likeness **out,
                                 const cpt_context *ctx, cpt_err *e);

/* The same cells seen by both: row i of a and of b is one cell, columns are units. */
typedef struct cpt_cell_set {
    const cpt_csr *a, *b;
    const int32_t *strata; /* [rows] any codes, or NULL; only the null looks at them */
} cpt_cell_set;
/* Pearson correlation of activations over the cells, averaged over the sets (all with the same
 * units); a unit that is constant over a set has 0 there. The matrices are borrowed until _free. */
cpt_status cpt_likeness_activations(const cpt_cell_set *sets, int32_t n_sets, cpt_likeness **out,
                                    const cpt_context *ctx, cpt_err *e);

/* Pearson correlation (centred) or cosine of profiles a [n_a][n_genes], b [n_b][n_genes] over the
 * same genes in the same order. Entries that are not finite count as 0. */
cpt_status cpt_likeness_profiles(const float *a, int32_t n_a, const float *b, int32_t n_b,
                                 int64_t n_genes, bool centred, cpt_likeness **out,
                                 const cpt_context *ctx, cpt_err *e);

void cpt_likeness_free(cpt_likeness *l);
int32_t cpt_likeness_rows(const cpt_likeness *l);
int32_t cpt_likeness_columns(const cpt_likeness *l);
const double *cpt_likeness_values(const cpt_likeness *l); /* [n_a][n_b] */

/* Cells active in both over cells active in either, all sets together, into out [n_a][n_b]; 0 where
 * no cell is active. */
cpt_status cpt_jaccard(const cpt_cell_set *sets, int32_t n_sets, double *out, cpt_err *e);

/* ---- matching ---- */

typedef struct cpt_matched_pair {
    int32_t a, b;
    double value;
    double runner_up; /* the best likeness that either of the two has with any other unit; NaN when
                         there is none */
    double p; /* (1 + draws in which a or b finds any partner at least so alike) / (1 + draws) */
    double q; /* BH over the pairs */
} cpt_matched_pair;

typedef struct cpt_matching {
    int32_t n;                           /* min(n_a, n_b) */
    cpt_matched_pair *pairs;             /* [n] by falling value, then a */
    double mean, sd;                     /* over the pairs; sd with n - 1, NaN for one */
    double above_05, above_07, above_09; /* share of the pairs with value > 0.5, ... */
    int32_t n_null;
    double null_mean, null_sd; /* of the matched mean, over the draws */
    double p;                  /* (1 + draws whose matched mean reaches `mean`) / (1 + n_null) */
    double partners_mean, partners_sd; /* mean likeness of random one-to-one partners, over n_null
                                          draws */
    int32_t n_significant;             /* pairs with q < 0.05 */
} cpt_matching;

/* n_null >= 1 draws. O(n_null * n^3) for n units, less in practice. Same bytes for any number of
 * threads; free the result with cpt_matching_free. */
cpt_status cpt_likeness_match(const cpt_likeness *l, int32_t n_null, cpt_matching *out,
                              const cpt_context *ctx, cpt_err *e);
void cpt_matching_free(cpt_matching *m);

#endif

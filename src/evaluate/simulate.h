/* simulate.h - cells with planted gene programs: data of which the truth is known.
 *
 * Cell c of type t, donor d, has activities a_cp >= 0 of programs p; gene g has loadings w_gp. Then
 *     share_cg ~ base_g exp(donor_dg + sum_p w_gp a_cp),   shares of a cell sum to 1
 *     count_cg ~ NB(mean = depth_c share_cg, size = size_g)
 * with log-normal base_g, depth_c and size_g. Three in four programs belong to cell types (each
 * type is a combination of a few); the others are states that run in some cells of any type.
 *
 * The file: X counts (CSR); obs cell_type, donor, depth; varm["program_genes"] = w
 * [genes][programs], obsm["program_activity"] = a [cells][programs], both f32; uns["simulation"]
 * the settings. */
#ifndef CPT_EVALUATE_SIMULATE_H
#define CPT_EVALUATE_SIMULATE_H

#include "base/log.h"
#include "io/cells.h"

typedef struct cpt_simulate_options {
    int64_t n_cells;        /* 3000 */
    int32_t n_genes;        /* 4000 */
    int32_t n_programs;     /* 20 */
    int32_t n_types;        /* 8 */
    int32_t n_donors;       /* 4 */
    int32_t genes_per_program; /* 0 = n_genes / 50, at least 5 and at most 60 */
    double depth;           /* 4000: median count per cell */
    double donor_effect;    /* 0.1: standard deviation of log base_g between donors */
    const char *gene_table; /* human_genes.tsv.gz: gene names are symbols out of it; NULL = GENE1 .. */
} cpt_simulate_options;
void cpt_simulate_options_init(cpt_simulate_options *o);

/* The truth that all cells share. Zero-initialise. */
typedef struct cpt_simulated_truth {
    int32_t n_genes, n_programs, n_types, n_donors;
    cpt_strings genes;       /* [n_genes] distinct names */
    double *base;            /* [n_genes] sums to 1 */
    double *size;            /* [n_genes] of the negative binomial: variance = mean + mean^2 / size */
    float *loadings;         /* [n_genes][n_programs] */
    int64_t *first;          /* [n_programs + 1] members of program p: members[first[p]] .. */
    int32_t *members;        /* ascending within a program */
    double *type_activity;   /* [n_types][n_programs] mean activity; 0 = not of this type */
    bool *is_state;          /* [n_programs] runs in cells of any type */
    double *type_share;      /* [n_types] sums to 1 */
    double *donor_factor;    /* [n_donors][n_genes] */
    double *donor_depth;     /* [n_donors] */
} cpt_simulated_truth;
cpt_status cpt_simulated_truth_make(const cpt_simulate_options *o, uint64_t seed, cpt_simulated_truth *t,
                                    cpt_err *e);
void cpt_simulated_truth_free(cpt_simulated_truth *t);

/* One cell. Counts are drawn from the cell's own stream. */
typedef struct cpt_simulated_cell {
    int32_t type, donor;
    double depth;
    float *activity; /* [n_programs] the caller's */
} cpt_simulated_cell;
void cpt_simulate_cell(const cpt_simulated_truth *t, double depth, uint64_t seed, int64_t number,
                       cpt_simulated_cell *cell);
/* genes and counts (room for n_genes) ascending, zeros left out; rates [n_genes] is scratch,
 * holding the expected counts afterwards. Returns how many. */
int32_t cpt_simulate_counts(const cpt_simulated_truth *t, const cpt_simulated_cell *cell, uint64_t seed,
                            int64_t number, int32_t *genes, float *counts, double *rates);

/* Writes the .h5ad. Same options and seed, same bytes; the counts of a cell depend on the seed and
 * its number, not on how many cells there are. Memory does not grow with the counts: they are
 * spooled beside the file (8 bytes per count, removed at the end) and mapped. */
cpt_status cpt_simulate_h5ad(const char *path, const cpt_simulate_options *o, const cpt_context *ctx,
                             cpt_err *e);

#endif

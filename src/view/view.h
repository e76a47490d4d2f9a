/* view.h - the inside of a cpt_view: what view_*.c share.
 *
 * Everything here is set by cpt_view_open and constant afterwards, except the memory of the
 * landscape, which has a lock of its own. */
#ifndef CPT_VIEW_VIEW_H
#define CPT_VIEW_VIEW_H

#include "base/json_text.h"
#include "view/index.h"
#include "study/study.h"
#include "view/view_array.h"

#include <pthread.h>

/* One cell or concept after the other: where row i starts and what it holds. */
typedef struct cpt_rows {
    cpt_npy first; /* [n + 1], mapped */
    const int64_t *indptr;
    int64_t n_rows, n_cols;
    cpt_array indices, values;
} cpt_rows;

enum { CPT_VIEW_ATTRIBUTION = 8, CPT_VIEW_EXPRESSION = 7 };
/* Order of attribution[]: mean, low, high, sd, n, same_sign, p, q. */
enum { A_MEAN, A_LOW, A_HIGH, A_SD, A_N, A_SAME_SIGN, A_P, A_Q };
/* Order of expression[]: logfc, score, p, q, share_in, share_out, log10p. */
enum { X_LOGFC, X_SCORE, X_P, X_Q, X_SHARE_IN, X_SHARE_OUT, X_LOG10P };

struct cpt_view {
    char *folder, *name;
    char generation[33];
    cpt_study *study; /* options, manifest, cells and columns; accessors are not called later */
    const cpt_cells *cells;     /* opened shallow: counts only through counts_by_* below */
    const cpt_strings *symbols; /* [n_genes of the input] */
    const cpt_column *label, *donor, *batch;
    json_t *model, *dictionary, *enrichment, *evaluation,
        *attribution_summary; /* NULL when absent */

    int32_t n_concepts, n_genes, dim;
    int64_t n_usable;
    int64_t *donor_cells, *batch_cells; /* usable cells per category; NULL without the column */
    cpt_rows by_cell, by_concept, counts_by_cell, counts_by_gene;
    cpt_npy usable, umap;
    cpt_array embedding;
    bool have_activations, have_counts, have_attribution, have_expression, have_index, have_pairs;
    cpt_array attribution[CPT_VIEW_ATTRIBUTION], expression[CPT_VIEW_EXPRESSION];
    cpt_npy n_pairs, pairs, pairs_first;

    cpt_index_files index;
    int32_t *gene_of_column; /* [n_genes of the input] universe number, -1 = not in it */
    cpt_index *term_numbers; /* id -> term of the index; of several collections the first */
    uint16_t *places;        /* [n_cells][2] the map of cells, 65535 = not placed */
    double place_low[2], place_high[2];
    int64_t n_placed;

    json_t *comparisons; /* comparisons/ID.json by id */
    const json_t *
        *faithful; /* [n_concepts] of evaluation.json's faithfulness, NULL = not examined */

    pthread_mutex_t lock; /* of landscape */
    char *landscape;      /* JSON of the table of concepts, made once */
};

/* ---- checks: CPT_ERR_USAGE or CPT_ERR_DATA with a sentence ---- */
cpt_status cpt_view_need_concept(const cpt_view *v, int32_t concept,
                                 cpt_err *e);                               /* and activations */
cpt_status cpt_view_need_gene(const cpt_view *v, int32_t gene, cpt_err *e); /* and the index */
cpt_status cpt_view_need_index(const cpt_view *v, cpt_err *e);

/* Row i of compressed rows into fresh arrays (free both), numbers checked against n_cols. */
cpt_status cpt_rows_read(const cpt_rows *r, int64_t row, int32_t **indices, float **values,
                         int64_t *n, cpt_err *e);
/* The same of a concept, in order of falling activation (index). */
cpt_status cpt_view_ranked_cells(const cpt_view *v, int32_t concept, int32_t **cells,
                                 float **values, int64_t *n, cpt_err *e);

const char *cpt_view_symbol(const cpt_view *v, int32_t gene); /* of the universe */
const char *cpt_view_gene_name(const cpt_view *v, int32_t gene);
bool cpt_view_is_usable(const cpt_view *v, int64_t cell);

/* {"cell_type": "B cell", ...}: label, donor and batch of a cell; `all` = every column. */
void cpt_view_put_columns(const cpt_view *v, cpt_jot *j, int64_t cell, bool all);
void cpt_view_put_term(const cpt_view *v, cpt_jot *j,
                       int64_t row); /* TermShort of an enrichment row; -1 = null */

/* ---- view_compare.c ---- */
cpt_status cpt_view_open_comparisons(cpt_view *v, cpt_err *e);
void cpt_view_put_comparisons(const cpt_view *v, cpt_jot *j);              /* Comparison[] */
void cpt_view_put_matched(const cpt_view *v, cpt_jot *j, int32_t concept); /* Similar.matched */

/* ---- what was measured about one concept: landscape, header and trust say the same ---- */
enum { CPT_MAX_FLAGS = 12 };
typedef struct cpt_flag {
    const char *name;
    char text[384];
} cpt_flag;
typedef struct cpt_concept_facts {
    double frequency, max, mean, label_share, label_f1, label_auroc, distance, stability,
        faithfulness, quality;
    int64_t active;
    int32_t label, attributed, n_pairs; /* label: category, -1 = none */
    int n_flags;
    cpt_flag flags[CPT_MAX_FLAGS];
} cpt_concept_facts;
void cpt_view_facts(const cpt_view *v, int32_t concept, cpt_concept_facts *f);
void cpt_view_put_flags(cpt_jot *j, const cpt_concept_facts *f);
void cpt_view_put_histogram(cpt_jot *j, int64_t n, const float *values, double max);

#endif

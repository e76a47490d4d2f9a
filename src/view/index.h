/* index.h - the stage "index": what a click needs and cannot be computed while one waits.
 *
 * Files under cache/index (arrays .npy; F concepts, G genes of the universe, T terms, R rows of the
 * enrichment with p <= 0.05, E genes of their leading edges):
 *   universe            i32 [G]      column of the input
 *   totals              f64 [cells]  counts of a cell over all genes of the input
 *   gene_sums           f64 [G][3]   over usable cells: sum and sum of squares of log1p(count /
 * total * 1e4), cells with a count ranked.{cells,values}  i32, f32 [nnz]  cells of a concept by
 * falling activation, equal ones by number; rows start where those of activations_by_concept do
 *   facts               f64 [F][14]  see CPT_FACT_*
 *   top_genes           i32 [F][10]  -1 = none
 *   best_row            i64 [F]      row of the enrichment that names the concept, -1 = none
 *   coactive.concepts   i32 [F][20], coactive.numbers f64 [F][60] (Jaccard index, correlation,
 * both) x 20 genes_like.concepts i32 [F][20], genes_like.cosine f32 [F][20]   attribution profiles
 *   decoder_like.concepts, decoder_like.cosine   the same of decoder rows
 *   conceptmap          f32 [F][2]
 *   neurons             f32 [dim][cells]  the embedding, transposed
 *   gene_concepts.{first,concepts}  i64 [G + 1], i32   concepts in which a gene stands out,
 * strongest first gene_terms.{first,pairs}        i64 [G + 1], i32 [][2]   (term, concepts)
 *   terms.{ids,names,definitions}.{offsets,bytes}   strings as in the cache of cells
 *   terms.numbers       f64 [T][3]   collection, size (0 = not tested), information content
 *   terms.{parents,children,genes}.first i64 [T + 1], .items i32   genes: of the universe
 *   rows.first          i64 [F + 1]
 *   rows.codes          i32 [R][8]   CPT_ROW_*
 *   rows.values         f64 [R][6]   es, nes, p, log10p, q, log2err
 *   edges.first         i64 [R + 1], edges.genes i32 [E]
 *   term_rows.first     i64 [T + 1], term_rows.rows i64   rows with q < 0.05, by falling strength
 *   index.json          {"version", "collections", "rankings", "methods", "have": [...]}
 * Parts whose sources are absent are left out; "have" lists the others. */
#ifndef CPT_VIEW_INDEX_H
#define CPT_VIEW_INDEX_H

#include "study/study.h"
#include "view/view_array.h"

enum { CPT_TOP_GENES = 10, CPT_SIMILAR = 20, CPT_GENE_CONCEPTS = 200 };
enum {
    CPT_FACT_MAX,
    CPT_FACT_MEAN,
    CPT_FACT_ATTRIBUTED,
    CPT_FACT_LABEL,
    CPT_FACT_SHARE,
    CPT_FACT_F1,
    CPT_FACT_AUROC,
    CPT_FACT_DISTANCE,
    CPT_FACT_TERMS_ATTRIBUTION,
    CPT_FACT_TERMS_EXPRESSION,
    CPT_FACT_DONOR, /* the category with the most active cells ... */
    CPT_FACT_DONOR_SHARE, /* ... and its share of those that have one */
    CPT_FACT_BATCH,
    CPT_FACT_BATCH_SHARE,
    CPT_N_FACTS
};
enum {
    CPT_ROW_CONCEPT,
    CPT_ROW_RANKING,
    CPT_ROW_METHOD,
    CPT_ROW_COLLECTION,
    CPT_ROW_TERM,
    CPT_ROW_SIZE,
    CPT_ROW_OVERLAP,
    CPT_ROW_REPRESENTED,
    CPT_N_CODES
};
enum {
    CPT_ROW_ES,
    CPT_ROW_NES,
    CPT_ROW_P,
    CPT_ROW_LOG10P,
    CPT_ROW_Q,
    CPT_ROW_LOG2ERR,
    CPT_N_VALUES
};

/* Lists of numbers per item. */
typedef struct cpt_lists {
    cpt_npy first;
    const int64_t *indptr; /* NULL = absent */
    int64_t n;
    cpt_array items;
} cpt_lists;

/* The index opened: small parts mapped, long ones read piece by piece. */
typedef struct cpt_index_files {
    json_t *head;
    bool have_terms, have_rows, have_coactive, have_genes_like, have_decoder_like,
        have_gene_concepts;
    cpt_npy universe, totals, gene_sums, facts, top_genes, best_row, concept_map;
    cpt_array ranked_cells, ranked_values, neurons;
    cpt_array coactive, coactive_numbers, genes_like, genes_cosine, decoder_like, decoder_cosine;
    cpt_lists gene_concepts, gene_terms, term_parents, term_children, term_genes, edges, term_rows;
    cpt_npy strings[6];
    cpt_strings term_ids, term_names, term_definitions;
    cpt_npy term_numbers, rows_first;
    const int64_t *row_first; /* [F + 1] */
    cpt_array row_codes, row_values;
    int32_t n_terms;
    int64_t n_rows;
} cpt_index_files;

cpt_status cpt_index_open(const char *study, int64_t n_cells, int32_t n_concepts,
                          cpt_index_files *f, cpt_err *e);
void cpt_index_close(cpt_index_files *f);

/* One enrichment row; edge NULL or room for codes... see cpt_index_edge. */
typedef struct cpt_index_row {
    int32_t codes[CPT_N_CODES];
    double values[CPT_N_VALUES];
} cpt_index_row;
cpt_status cpt_index_row_read(const cpt_index_files *f, int64_t row, cpt_index_row *out,
                              cpt_err *e);
/* Items of a list into fresh memory (free() it); checked to lie in [0, limit). */
cpt_status cpt_list_read(const cpt_lists *l, int64_t i, int32_t limit, int32_t **items, int64_t *n,
                         cpt_err *e);
/* Name number i of "collections", "rankings" or "methods"; "" when there is none. */
const char *cpt_index_name(const cpt_index_files *f, const char *list, int64_t i);

#endif

/* true_path.c - the true-path rule: a gene annotated to a term has all ancestors of the term.
 *
 * Method: one bit per (term, gene). Terms are visited children before parents, and each row is OR-ed into
 * its parents' rows: O(edges * genes / 64), 64 genes per operation. The matrix of the human
 * annotation would take 80 to 160 MB, so it is done in blocks of 4,096 genes (20 MB, stays in
 * cache), twice: once to count, once to write the compressed rows. Block after block genes ascend by
 * themselves.
 */
#include "ontology/true_path.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

enum { BLOCK = 4096, WORDS = BLOCK / 64 };

typedef struct block {
    uint64_t (*rows)[WORDS]; /* [n_terms] bit g of a row: gene first_gene + g */
    int32_t first_gene, n_genes;
} block;

static void fill_block(const cpt_go *go, block *b, const int64_t *gene_first, const int32_t *terms)
{
    memset(b->rows, 0, (size_t)go->n_terms * sizeof *b->rows);
    for (int32_t g = 0; g < b->n_genes; g++) {
        int32_t gene = b->first_gene + g;
        for (int64_t i = gene_first[gene]; i < gene_first[gene + 1]; i++)
            b->rows[terms[i]][g / 64] |= (uint64_t)1 << g % 64;
    }
    for (int32_t k = go->n_terms - 1; k >= 0; k--) {
        int32_t t = go->order[k];
        for (int32_t i = go->parent_first[t]; i < go->parent_first[t + 1]; i++) {
            uint64_t *parent = b->rows[go->parents[i]];
            for (int w = 0; w < WORDS; w++) parent[w] |= b->rows[t][w];
        }
    }
}

static void count_block(const cpt_go *go, const block *b, int64_t *count)
{
    for (int32_t t = 0; t < go->n_terms; t++)
        for (int w = 0; w < WORDS; w++) count[t] += __builtin_popcountll(b->rows[t][w]);
}

/* next[t]: where the next gene of term t goes. */
static void write_block(const cpt_go *go, const block *b, int64_t *next, int32_t *genes)
{
    for (int32_t t = 0; t < go->n_terms; t++)
        for (int w = 0; w < WORDS; w++)
            for (uint64_t bits = b->rows[t][w]; bits; bits &= bits - 1)
                genes[next[t]++] = b->first_gene + 64 * w + __builtin_ctzll(bits);
}

cpt_status cpt_true_path(const cpt_go *go, int32_t n_genes, const int64_t *gene_first,
                         const int32_t *terms, int64_t **first, int32_t **genes, cpt_err *e)
{
    cpt_status status;
    block b = {0};
    int64_t *next = NULL;
    *first = NULL;
    *genes = NULL;
    CPT_TRY(cpt_alloc(&b.rows, (size_t)go->n_terms, sizeof *b.rows, e));
    CPT_TRY(cpt_alloc(first, (size_t)go->n_terms + 1, sizeof **first, e));
    CPT_TRY(cpt_alloc(&next, (size_t)go->n_terms, sizeof *next, e));
    for (int pass = 0; pass < 2; pass++) {
        for (int32_t at = 0; at < n_genes; at += b.n_genes) {
            b.first_gene = at;
            b.n_genes = n_genes - at < BLOCK ? n_genes - at : BLOCK;
            fill_block(go, &b, gene_first, terms);
            if (pass == 0) count_block(go, &b, *first + 1);
            else write_block(go, &b, next, *genes);
        }
        if (pass == 1) break;
        for (int32_t t = 0; t < go->n_terms; t++) {
            (*first)[t + 1] += (*first)[t];
            next[t] = (*first)[t];
        }
        CPT_TRY(cpt_alloc(genes, (size_t)(*first)[go->n_terms], sizeof **genes, e));
    }
done:
    free(b.rows);
    free(next);
    if (status) {
        free(*first);
        free(*genes);
        *first = NULL;
        *genes = NULL;
    }
    return status;
}

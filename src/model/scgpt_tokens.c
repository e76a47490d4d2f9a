/* Counts of a cell -> tokens and bins, digit for digit as scGPT's preprocessing (models.md 2).
 *
 * The 50 edges are numpy's linearly interpolated quantiles of the cell's non-zero counts, computed
 * in numpy's own mixture of precisions: neighbours are subtracted in f32, the rest is double. This
 * file must be compiled without contraction to fused multiply-adds (the Makefile's default outside
 * src/math/kernels): a last bit decides on which side of an edge a count lies.
 *
 * A count that equals several edges may fall into any of the bins between them. Which one, and
 * which genes a cell with too many of them keeps, is drawn from a stream keyed by (seed, identity
 * of the cell, gene), where the identity is a sum over the cell's (gene, count) pairs: shuffling
 * cells or columns, or taking a subset of cells, changes nothing. Sorting dominates: O(n log n) at
 * worst, radix in fact. */
#include "model/scgpt_network.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "math/sort.h"
#include "model/mersenne.h"

/* ---- binning ---- */

/* numpy.linspace(0, 1, 50)[j] */
static double level_of(int j)
{
    const double step = 1.0 / (SCGPT_EDGES - 1);
    return j == SCGPT_EDGES - 1 ? 1.0 : j * step;
}

void scgpt_bin_edges(int32_t n, const float *sorted, double edges[SCGPT_EDGES])
{
    for (int j = 0; j < SCGPT_EDGES; j++) {
        const double place = (double)(n - 1) * level_of(j);
        if (place >= n - 1) {
            edges[j] = sorted[n - 1];
            continue;
        }
        const int32_t low = (int32_t)floor(place);
        const double share = place - low;
        const float a = sorted[low], b = sorted[low + 1], step = b - a;
        edges[j] = share < 0.5 ? (double)a + (double)step * share
                               : (double)b - (double)step * (1 - share);
    }
}

/* First edge not below x (strict) or above x. */
static int32_t search(const double edges[SCGPT_EDGES], double x, bool strict)
{
    int32_t low = 0, high = SCGPT_EDGES;
    while (low < high) {
        int32_t middle = (low + high) / 2;
        if (edges[middle] < x || (!strict && edges[middle] == x)) low = middle + 1;
        else high = middle;
    }
    return low;
}

void scgpt_bin_range(const double edges[SCGPT_EDGES], float x, int32_t *left, int32_t *right)
{
    *left = search(edges, x, false);
    *right = search(edges, x, true);
}

int32_t scgpt_bin_choose(int32_t left, int32_t right, double u)
{
    const double product = u * (double)(right - left);
    return (int32_t)ceil(product + (double)left);
}

/* The values that are not 0, ascending, in t->sorted. Returns how many. */
static int32_t sort_values(scgpt_tokenizer *t, int32_t n, const float *values)
{
    int32_t kept = 0;
    for (int32_t i = 0; i < n; i++) {
        if (values[i] == 0) continue;
        t->keys[kept] = cpt_order_key(values[i]);
        t->items[kept++] = i;
    }
    cpt_radix_sort(kept, t->keys, t->items, t->key_scratch, t->item_scratch);
    for (int32_t i = 0; i < kept; i++) t->sorted[i] = values[t->items[i]];
    return kept;
}

void scgpt_bin(scgpt_tokenizer *t, int32_t n, const float *values, const double *u, float *bins)
{
    double edges[SCGPT_EDGES];
    const int32_t kept = sort_values(t, n, values);
    if (kept) scgpt_bin_edges(kept, t->sorted, edges);
    for (int32_t i = 0, drawn = 0; i < n; i++) {
        int32_t left, right;
        bins[i] = 0;
        if (values[i] == 0) continue;
        scgpt_bin_range(edges, values[i], &left, &right);
        bins[i] = (float)(u ? scgpt_bin_choose(left, right, u[drawn++]) : left);
    }
}

/* ---- random numbers by content ---- */

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

uint64_t scgpt_identity(int32_t n, const int32_t *genes, const float *counts)
{
    uint64_t sum = (uint64_t)n;
    for (int32_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &counts[i], sizeof bits);
        sum += mix(((uint64_t)(uint32_t)genes[i] << 32 | bits) + 0x9e3779b97f4a7c15u);
    }
    return sum;
}

/* The stream of one gene in one cell. */
static cpt_stream stream_of(const cpt_scgpt *m, cpt_random_purpose purpose, uint64_t identity,
                            int32_t gene)
{
    cpt_stream s;
    cpt_stream_init(&s, m->options.seed, purpose,
                    mix(identity + mix((uint64_t)(uint32_t)gene + 1)));
    return s;
}

/* ---- one row ---- */

cpt_status scgpt_tokenizer_init(scgpt_tokenizer *t, const cpt_scgpt *m, cpt_err *e)
{
    const size_t n = ((size_t)m->base.n_genes + 1 + 15) / 16 * 16;
    char *p = NULL;
    *t = (scgpt_tokenizer){0};
    cpt_status status = cpt_alloc(&p, n, 3 * sizeof(uint64_t) + 9 * sizeof(float), e);
    if (status) return status;
    t->block = p;
    t->keys = (uint64_t *)(void *)p;
    t->key_scratch = t->keys + n;
    t->uniform = (double *)(void *)(t->key_scratch + n);
    t->items = (int32_t *)(void *)(t->uniform + n);
    t->item_scratch = t->items + n;
    t->raw_genes = t->item_scratch + n;
    t->cell.ids = t->raw_genes + n;
    t->cell.genes = t->cell.ids + n;
    t->cell.values = (float *)(void *)(t->cell.genes + n);
    t->raw_counts = t->cell.values + n;
    t->raw_bins = t->raw_counts + n;
    t->sorted = t->raw_bins + n;
    return CPT_OK;
}

void scgpt_tokenizer_free(scgpt_tokenizer *t)
{
    free(t->block);
    *t = (scgpt_tokenizer){0};
}

/* The row in column order, as the reference reads it. */
static void read_row(scgpt_tokenizer *t, const cpt_counts *c, int64_t row)
{
    const cpt_csr *csr = c->csr;
    t->n_raw = 0;
    for (int64_t k = csr->indptr[row]; k < csr->indptr[row + 1]; k++) {
        int32_t gene = c->to_model ? c->to_model[csr->indices[k]] : csr->indices[k];
        if (gene < 0 || csr->values[k] == 0) continue;
        t->raw_genes[t->n_raw] = gene;
        t->raw_counts[t->n_raw++] = csr->values[k];
    }
}

static bool all_finite(int32_t n, const float *values)
{
    bool finite = true;
    for (int32_t i = 0; i < n; i++) finite = finite && isfinite(values[i]);
    return finite;
}

/* One uniform number per gene of the row; NULL when none are wanted. */
static const double *draw_ties(scgpt_tokenizer *t, const cpt_scgpt *m, int64_t row,
                               uint64_t identity, cpt_scgpt_ties ties)
{
    const uint64_t drawn = t->draw ? mix((uint64_t)(uint32_t)t->draw) : 0;
    cpt_mersenne numpy;
    if (ties == CPT_SCGPT_TIES_LEFT) return NULL;
    if (ties == CPT_SCGPT_TIES_NUMPY)
        cpt_mersenne_seed(&numpy, (uint32_t)(m->options.seed + (uint64_t)row));
    for (int32_t i = 0; i < t->n_raw; i++) {
        if (ties == CPT_SCGPT_TIES_NUMPY) {
            t->uniform[i] = cpt_mersenne_uniform(&numpy);
            continue;
        }
        cpt_stream s = stream_of(m, CPT_RANDOM_TIES, identity + drawn, t->raw_genes[i]);
        t->uniform[i] = cpt_stream_uniform(&s);
    }
    return t->uniform;
}

/* A sort key whose smallest max_tokens - 1 genes stay. */
static uint64_t rank_key(const scgpt_tokenizer *t, const cpt_scgpt *m, int32_t i, uint64_t identity)
{
    if (m->options.overflow == CPT_SCGPT_OVERFLOW_FIRST) return (uint64_t)i;
    cpt_stream s = stream_of(m, CPT_RANDOM_OVERFLOW, identity, t->raw_genes[i]);
    const uint64_t random = cpt_stream_u64(&s);
    if (m->options.overflow == CPT_SCGPT_OVERFLOW_RANDOM) return random;
    uint32_t bits; /* of a float, ordered as the float */
    memcpy(&bits, &t->raw_counts[i], sizeof bits);
    bits = bits >> 31 ? ~bits : bits | 0x80000000u;
    return (uint64_t)~bits << 32 | random >> 32;
}

/* items[0..result) = the positions of the row that stay. */
static int32_t choose(scgpt_tokenizer *t, const cpt_scgpt *m, int64_t row, uint64_t identity)
{
    const int32_t room = m->options.max_tokens - 1;
    for (int32_t i = 0; i < t->n_raw; i++) t->items[i] = i;
    if (t->n_raw <= room) return t->n_raw;
    if (m->options.overflow == CPT_SCGPT_OVERFLOW_TORCH) {
        cpt_mersenne torch;
        cpt_mersenne_seed(&torch, (uint32_t)(m->options.seed + (uint64_t)row));
        cpt_mersenne_torch_permutation(&torch, t->n_raw, t->items);
        return room;
    }
    for (int32_t i = 0; i < t->n_raw; i++) t->keys[i] = rank_key(t, m, i, identity);
    cpt_radix_sort(t->n_raw, t->keys, t->items, t->key_scratch, t->item_scratch);
    return room;
}

/* Bins, cuts, and sorts by gene: the same cell gives the same sums in the same order whatever the
 * columns of the file. */
static void make_cell(scgpt_tokenizer *t, const cpt_scgpt *m, int64_t row, uint64_t identity,
                      const double *u)
{
    scgpt_cell *c = &t->cell;
    c->n = 1;
    c->ids[0] = m->cls;
    c->genes[0] = -1;
    c->values[0] = m->shape.pad_value;
    c->broken = !all_finite(t->n_raw, t->raw_counts);
    if (c->broken || t->n_raw == 0) return;
    scgpt_bin(t, t->n_raw, t->raw_counts, u, t->raw_bins);
    const int32_t n = choose(t, m, row, identity);
    for (int32_t i = 0; i < n; i++) t->keys[i] = (uint64_t)t->raw_genes[t->items[i]];
    cpt_radix_sort(n, t->keys, t->items, t->key_scratch, t->item_scratch);
    for (int32_t i = 0; i < n; i++) {
        const int32_t gene = t->raw_genes[t->items[i]];
        c->genes[i + 1] = gene;
        c->ids[i + 1] = m->token_of[gene];
        c->values[i + 1] = t->raw_bins[t->items[i]];
    }
    c->n = n + 1;
}

void scgpt_tokenize(scgpt_tokenizer *t, const cpt_scgpt *m, const cpt_counts *counts, int64_t row,
                    cpt_scgpt_ties ties)
{
    read_row(t, counts, row);
    const uint64_t identity = scgpt_identity(t->n_raw, t->raw_genes, t->raw_counts);
    make_cell(t, m, row, identity, draw_ties(t, m, row, identity, ties));
}

void scgpt_tokenize_counts(scgpt_tokenizer *t, const cpt_scgpt *m, int32_t n, const int32_t *genes,
                           const float *counts, uint64_t identity)
{
    t->n_raw = n;
    memcpy(t->raw_genes, genes, sizeof *genes * (size_t)n);
    memcpy(t->raw_counts, counts, sizeof *counts * (size_t)n);
    make_cell(t, m, 0, identity, NULL);
}

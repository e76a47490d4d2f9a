/* steering.c - edits of one concept in the embedding, and the decoded expression.
 *
 * Cells go in blocks; a block is decoded once as it is and once per direction. Logarithms are taken
 * in single precision (a change of 1e-6 says nothing), sums over cells in double and in the order
 * of the cells, each gene by one thread. O((1 + n_null) n_cells n_genes).
 *
 * Traps. (1) A gene that nobody expresses has a fold change too: the shares stand beside it, and
 * eps keeps it from being large. (2) Any push along any direction changes many genes: only the
 * comparison with random directions of the same length tells what is this concept's. (3) An edit
 * can carry cells to where the model has seen none; the caller reports its length against the
 * spread of the cells. */
#include "concept/steering.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "math/statistics.h"

enum { BLOCK = 256 };

cpt_status cpt_steering_activations(const cpt_dictionary *d, const cpt_steering *what, int64_t n,
                                    const float *a, float *before, float *after, cpt_err *e)
{
    if (what->concept < 0 || what->concept >= d->n_concepts)
        return cpt_fail(e, CPT_ERR_USAGE, "there is no concept c%d: the dictionary has c0 to c%d",
                        what->concept, d->n_concepts - 1);
    if (!isfinite(what->value) || what->value < 0)
        return cpt_fail(e, CPT_ERR_USAGE,
                        "activations are 0 or more: %g cannot be scaled by or clamped to",
                        what->value);
    cpt_status status = d->ops->readout(d, what->concept, n, a, before, NULL, e);
    if (status) return status;
    for (int64_t i = 0; i < n; i++)
        after[i] = (float)(what->kind == CPT_STEER_SCALE ? what->value * before[i] : what->value);
    return CPT_OK;
}

void cpt_steering_edit(int64_t n, int32_t dim, const float *a, const float *before,
                       const float *after, const float *direction, float *out)
{
    for (int64_t i = 0; i < n; i++) {
        const float step = after[i] - before[i];
        for (int32_t j = 0; j < dim; j++) out[i * dim + j] = a[i * dim + j] + step * direction[j];
    }
}

void cpt_steering_random(uint64_t seed, int32_t n, int32_t dim, const float *like, float *out)
{
    double length = 0;
    for (int32_t j = 0; j < dim; j++) length += (double)like[j] * like[j];
    length = sqrt(length);
    for (int32_t i = 0; i < n; i++) {
        float *row = out + (int64_t)i * dim;
        double square = 0;
        cpt_stream s;
        cpt_stream_init(&s, seed, CPT_RANDOM_STEER, (uint64_t)i);
        for (int32_t j = 0; j < dim; j++) {
            row[j] = (float)cpt_stream_normal(&s);
            square += (double)row[j] * row[j];
        }
        for (int32_t j = 0; j < dim; j++) row[j] = (float)(row[j] * length / sqrt(square));
    }
}

double cpt_rank_p(int32_t n_at_least, int32_t n_at_most, int32_t n)
{
    const double p = 2.0 * (1.0 + (n_at_least < n_at_most ? n_at_least : n_at_most)) / (1.0 + n);
    return p < 1 ? p : 1;
}

/* ---- genes ---- */

typedef struct gene_sums {
    double *before, *after, *change, *square; /* [n_genes] sums over cells */
    int64_t *up, *down;                       /* [n_genes] cells whose change is > 0, < 0 */
    double *null;                             /* [n_null][n_genes] sums of changes */
    float *base, *logs, *moved; /* [BLOCK][n_genes] shares, their log2, shares after */
    float *edited;              /* [BLOCK][dim] */
} gene_sums;

static void sums_free(gene_sums *s)
{
    free(s->before);
    free(s->after);
    free(s->change);
    free(s->square);
    free(s->up);
    free(s->down);
    free(s->null);
    free(s->base);
    free(s->logs);
    free(s->moved);
    free(s->edited);
}

static cpt_status sums_new(const cpt_model *m, int32_t n_null, gene_sums *s, cpt_err *e)
{
    const size_t genes = (size_t)m->n_genes;
    size_t null_size;
    cpt_status status;
    if (!cpt_size_mul(genes, (size_t)n_null, &null_size))
        return cpt_fail(e, CPT_ERR_MEMORY, "%d directions for %zu genes do not fit in memory",
                        n_null, genes);
    CPT_TRY(cpt_alloc(&s->before, genes, sizeof *s->before, e));
    CPT_TRY(cpt_alloc(&s->after, genes, sizeof *s->after, e));
    CPT_TRY(cpt_alloc(&s->change, genes, sizeof *s->change, e));
    CPT_TRY(cpt_alloc(&s->square, genes, sizeof *s->square, e));
    CPT_TRY(cpt_alloc(&s->up, genes, sizeof *s->up, e));
    CPT_TRY(cpt_alloc(&s->down, genes, sizeof *s->down, e));
    CPT_TRY(cpt_alloc(&s->null, null_size, sizeof *s->null, e));
    CPT_TRY(cpt_alloc(&s->base, BLOCK * genes, sizeof *s->base, e));
    CPT_TRY(cpt_alloc(&s->logs, BLOCK * genes, sizeof *s->logs, e));
    CPT_TRY(cpt_alloc(&s->moved, BLOCK * genes, sizeof *s->moved, e));
    CPT_TRY(cpt_alloc(&s->edited, BLOCK * (size_t)m->dim, sizeof *s->edited, e));
done:
    return status;
}

static float log2_share(float share)
{
    return log2f(share + (float)CPT_STEERING_EPS);
}

/* The edit itself: all moments. */
static void add_change(gene_sums *s, int64_t n, int64_t genes, int n_threads)
{
#pragma omp parallel for num_threads(n_threads)
    for (int64_t g = 0; g < genes; g++)
        for (int64_t i = 0; i < n; i++) {
            const double change =
                (double)log2_share(s->moved[i * genes + g]) - s->logs[i * genes + g];
            s->before[g] += s->base[i * genes + g];
            s->after[g] += s->moved[i * genes + g];
            s->change[g] += change;
            s->square[g] += change * change;
            s->up[g] += change > 0;
            s->down[g] += change < 0;
        }
}

/* A random direction: only the mean is needed. Chunks of genes keep rows of the block contiguous.
 */
static void add_null(gene_sums *s, int64_t n, int64_t genes, double *sum, int n_threads)
{
    enum { CHUNK = 512 };
#pragma omp parallel for num_threads(n_threads)
    for (int64_t from = 0; from < genes; from += CHUNK) {
        const int64_t to = from + CHUNK < genes ? from + CHUNK : genes;
        for (int64_t i = 0; i < n; i++)
            for (int64_t g = from; g < to; g++)
                sum[g] += (double)log2_share(s->moved[i * genes + g]) - s->logs[i * genes + g];
    }
}

static cpt_status add_block(const cpt_model *m, int64_t n, const float *a, const float *before,
                            const float *after, const float *direction, int32_t n_null,
                            const float *directions, gene_sums *s, const cpt_context *ctx,
                            cpt_err *e)
{
    const int64_t genes = m->n_genes;
    const int n_threads = cpt_threads(ctx);
    cpt_status status = m->ops->decode(m, n, a, -1, s->base, ctx, e);
    if (status) return status;
#pragma omp parallel for num_threads(n_threads)
    for (int64_t i = 0; i < n * genes; i++) s->logs[i] = log2_share(s->base[i]);
    for (int32_t k = -1; k < n_null; k++) {
        const float *along = k < 0 ? direction : directions + (int64_t)k * m->dim;
        status = cpt_check_stop(ctx, e);
        cpt_steering_edit(n, m->dim, a, before, after, along, s->edited);
        if (!status) status = m->ops->decode(m, n, s->edited, -1, s->moved, ctx, e);
        if (status) return status;
        if (k < 0) add_change(s, n, genes, n_threads);
        else add_null(s, n, genes, s->null + k * genes, n_threads);
    }
    return CPT_OK;
}

static int by_size_of_change(const void *x, const void *y)
{
    const cpt_gene_change *a = x, *b = y;
    const double one = fabs(a->log2fc), two = fabs(b->log2fc);
    if (one != two) return one > two ? -1 : 1;
    return (a->gene > b->gene) - (a->gene < b->gene);
}

static cpt_gene_change summarise(const gene_sums *s, int64_t n, int32_t gene, int64_t genes,
                                 int32_t n_null)
{
    const double cells = (double)n, sum = s->change[gene];
    cpt_gene_change c = {.gene = gene, .log2fc = sum / cells, .sd = NAN, .p = NAN, .q = NAN};
    int32_t at_least = 0, at_most = 0;
    double square = 0;
    if (n > 1) c.sd = sqrt(fmax(0, s->square[gene] - sum * c.log2fc) / (cells - 1));
    c.same_sign = (double)(c.log2fc < 0 ? s->down[gene] : s->up[gene]) / cells;
    c.before = s->before[gene] / cells;
    c.after = s->after[gene] / cells;
    for (int32_t k = 0; k < n_null; k++) c.null_mean += s->null[k * genes + gene] / cells / n_null;
    for (int32_t k = 0; k < n_null; k++) {
        const double x = s->null[k * genes + gene] / cells;
        square += (x - c.null_mean) * (x - c.null_mean);
        at_least += x >= c.log2fc;
        at_most += x <= c.log2fc;
    }
    c.null_sd = n_null > 1 ? sqrt(square / (n_null - 1)) : NAN;
    if (n_null == 0) c.null_mean = NAN;
    else c.p = cpt_rank_p(at_least, at_most, n_null);
    return c;
}

static cpt_status rank_genes(const gene_sums *s, int64_t n, int32_t n_genes, int32_t n_null,
                             cpt_gene_change *out, cpt_err *e)
{
    double *p = NULL, *q = NULL;
    cpt_status status;
    CPT_TRY(cpt_alloc(&p, (size_t)n_genes, sizeof *p, e));
    CPT_TRY(cpt_alloc(&q, (size_t)n_genes, sizeof *q, e));
    for (int32_t g = 0; g < n_genes; g++) {
        out[g] = summarise(s, n, g, n_genes, n_null);
        p[g] = out[g].p;
    }
    CPT_TRY(cpt_bh(n_genes, p, 0, q, e));
    for (int32_t g = 0; g < n_genes; g++) out[g].q = q[g];
    qsort(out, (size_t)n_genes, sizeof *out, by_size_of_change);
done:
    free(p);
    free(q);
    return status;
}

cpt_status cpt_steering_genes(const cpt_model *m, int64_t n, const float *a, const float *before,
                              const float *after, const float *direction, int32_t n_null,
                              const float *directions, cpt_gene_change *out, const cpt_context *ctx,
                              cpt_err *e)
{
    gene_sums s = {0};
    cpt_status status;
    if (!m->ops->decode)
        return cpt_fail(e, CPT_ERR_UNSUPPORTED, "%s: this model has no decoder of expression",
                        cpt_text_str(&m->description));
    if (n < 1 || n_null < 0)
        return cpt_fail(e, CPT_ERR_DATA, "%lld cells and %d directions cannot be steered",
                        (long long)n, n_null);
    CPT_TRY(sums_new(m, n_null, &s, e));
    for (int64_t from = 0; from < n; from += BLOCK) {
        const int64_t size = n - from < BLOCK ? n - from : BLOCK;
        CPT_TRY(add_block(m, size, a + from * m->dim, before + from, after + from, direction,
                          n_null, directions, &s, ctx, e));
        cpt_progress(ctx, "decoding", (double)(from + size), (double)n, NULL);
    }
    status = rank_genes(&s, n, m->n_genes, n_null, out, e);
done:
    sums_free(&s);
    return status;
}

/* pooled.c - variants of a family of gene sets, tested together.
 *
 * Questions such as "would this be found with 40 % of the annotations?" or "how large a score does a shuffled
 * ranking reach?" need tens to hundreds of runs of GSEA per ranking. Permuting the genes of a ranking is the
 * same as permuting the genes of the sets, and all variants of the sets have the ranking's null in
 * common, by far the larger part of the work. So the variants are laid side by side as one large family
 * and go through the engine once.
 *
 * Trap: q of such a run is over all variants; cpt_pool_correct makes it anew within each.
 */
#include "enrich/pooled.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "math/statistics.h"

static cpt_status pool_alloc(int32_t n_universe, int32_t n_variants, int64_t n_sets, int64_t n_genes, cpt_pool *p,
                             cpt_err *e)
{
    cpt_status status;
    *p = (cpt_pool){.n_variants = n_variants};
    if (n_sets > INT32_MAX - 1)
        return cpt_fail(e, CPT_ERR_UNSUPPORTED, "%lld gene sets in all variants are too many; test fewer at a time",
                        (long long)n_sets);
    CPT_TRY(cpt_alloc(&p->first_set, (size_t)n_variants + 1, sizeof *p->first_set, e));
    CPT_TRY(cpt_alloc(&p->term, (size_t)n_sets, sizeof *p->term, e));
    CPT_TRY(cpt_alloc(&p->sets, 1, sizeof *p->sets, e));
    p->sets->n_universe = n_universe;
    p->sets->n_sets = (int32_t)n_sets;
    CPT_TRY(cpt_alloc(&p->sets->first, (size_t)n_sets + 1, sizeof *p->sets->first, e));
    CPT_TRY(cpt_alloc(&p->sets->genes, (size_t)n_genes, sizeof *p->sets->genes, e));
done:
    return status;
}

/* Appends a variant; `label` NULL = genes as they are, else gene g becomes label[g], in any order. */
static void append(cpt_pool *p, int32_t v, const cpt_genesets *sets, const int32_t *label)
{
    cpt_genesets *all = p->sets;
    int32_t at = p->first_set[v];
    for (int32_t s = 0; s < sets->n_sets; s++, at++) {
        int64_t begin = all->first[at], n = sets->first[s + 1] - sets->first[s];
        p->term[at] = sets->term ? sets->term[s] : -1;
        for (int64_t i = 0; i < n; i++) {
            int32_t g = sets->genes[sets->first[s] + i];
            all->genes[begin + i] = label ? label[g] : g;
        }
        all->first[at + 1] = begin + n;
    }
    p->first_set[v + 1] = at;
}

cpt_status cpt_pool_make(int32_t n_variants, const cpt_genesets *const *variants, cpt_pool *out, cpt_err *e)
{
    int64_t n_sets = 0, n_genes = 0;
    for (int32_t v = 0; v < n_variants; v++) {
        n_sets += variants[v]->n_sets;
        n_genes += variants[v]->first[variants[v]->n_sets];
    }
    cpt_status status = pool_alloc(n_variants ? variants[0]->n_universe : 0, n_variants, n_sets, n_genes, out, e);
    for (int32_t v = 0; v < n_variants && status == CPT_OK; v++) append(out, v, variants[v], NULL);
    if (status) cpt_pool_free(out);
    return status;
}

static int ascending(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

cpt_status cpt_pool_relabelled(const cpt_genesets *sets, int32_t n_copies, uint64_t seed, cpt_pool *out, cpt_err *e)
{
    int32_t *label = NULL;
    int64_t copies = (int64_t)n_copies + 1;
    cpt_status status;
    CPT_TRY(pool_alloc(sets->n_universe, n_copies + 1, copies * sets->n_sets, copies * sets->first[sets->n_sets], out,
                       e));
    CPT_TRY(cpt_alloc(&label, (size_t)sets->n_universe, sizeof *label, e));
    append(out, 0, sets, NULL);
    for (int32_t v = 1; v <= n_copies; v++) {
        cpt_stream stream;
        for (int32_t g = 0; g < sets->n_universe; g++) label[g] = g;
        cpt_stream_init(&stream, seed, CPT_RANDOM_RELABEL, (uint64_t)v);
        cpt_stream_shuffle_i32(&stream, label, sets->n_universe);
        append(out, v, sets, label);
        for (int32_t s = out->first_set[v]; s < out->first_set[v + 1]; s++) {
            int64_t begin = out->sets->first[s], n = out->sets->first[s + 1] - begin;
            if (n) qsort(out->sets->genes + begin, (size_t)n, sizeof *label, ascending);
        }
    }
done:
    free(label);
    if (status) cpt_pool_free(out);
    return status;
}

void cpt_pool_free(cpt_pool *p)
{
    if (p->sets) {
        free(p->sets->first);
        free(p->sets->genes);
    }
    free(p->sets);
    free(p->first_set);
    free(p->term);
    *p = (cpt_pool){0};
}

/* ---- what a run says ---- */

cpt_status cpt_pool_correct(const cpt_pool *p, cpt_gsea_row *rows, cpt_err *e)
{
    double *log10p = NULL, *log10q = NULL;
    size_t n = (size_t)p->sets->n_sets;
    cpt_status status;
    CPT_TRY(cpt_alloc(&log10p, n, sizeof *log10p, e));
    CPT_TRY(cpt_alloc(&log10q, n, sizeof *log10q, e));
    for (size_t s = 0; s < n; s++) log10p[s] = rows[s].log10p;
    for (int32_t v = 0; v < p->n_variants; v++) {
        int32_t at = p->first_set[v], m = p->first_set[v + 1] - at;
        if (m) CPT_TRY(cpt_bh_log10(m, log10p + at, 0, log10q + at, e));
    }
    for (size_t s = 0; s < n; s++) rows[s].q = pow(10, log10q[s]);
done:
    free(log10p);
    free(log10q);
    return status;
}

double cpt_pool_best_nes(const cpt_pool *p, const double *nes, int32_t v)
{
    double best = 0;
    for (int32_t s = p->first_set[v]; s < p->first_set[v + 1]; s++)
        if (fabs(nes[s]) > best) best = fabs(nes[s]);
    return best;
}

/* Smallest p of variant 0 among its significant rows; -1 when it has none. */
static int32_t best_row(const cpt_pool *p, const cpt_gsea_row *rows, double alpha)
{
    int32_t best = -1;
    for (int32_t s = 0; s < p->first_set[1]; s++)
        if (rows[s].q < alpha &&
            (best < 0 || rows[s].log10p < rows[best].log10p ||
             (rows[s].log10p == rows[best].log10p && fabs(rows[s].nes) > fabs(rows[best].nes))))
            best = s;
    return best;
}

cpt_status cpt_pool_agreement(const cpt_pool *p, const cpt_gsea_row *rows, int32_t v, double alpha,
                              cpt_agreement *out, cpt_err *e)
{
    double *nes = NULL, *nes_here = NULL;
    int32_t n = 0, best = best_row(p, rows, alpha), a = 0, b = p->first_set[v];
    cpt_agreement g = {.recall = NAN, .jaccard = NAN, .spearman = NAN};
    cpt_status status;
    CPT_TRY(cpt_alloc(&nes, (size_t)p->first_set[1], sizeof *nes, e));
    CPT_TRY(cpt_alloc(&nes_here, (size_t)p->first_set[1], sizeof *nes_here, e));
    for (int32_t s = 0; s < p->first_set[1]; s++) g.n_significant += rows[s].q < alpha;
    for (int32_t s = b; s < p->first_set[v + 1]; s++) g.n_significant_here += rows[s].q < alpha;
    while (a < p->first_set[1] && b < p->first_set[v + 1]) {
        int32_t x = p->term[a], y = p->term[b];
        if (x == y) {
            bool here = rows[b].q < alpha;
            g.n_both += here && rows[a].q < alpha;
            g.best_significant |= here && a == best;
            if (isfinite(rows[a].nes) && isfinite(rows[b].nes)) {
                nes[n] = rows[a].nes;
                nes_here[n++] = rows[b].nes;
            }
        }
        a += x <= y;
        b += y <= x;
    }
    int32_t either = g.n_significant + g.n_significant_here - g.n_both;
    if (g.n_significant) g.recall = (double)g.n_both / g.n_significant;
    if (either) g.jaccard = (double)g.n_both / either;
    if (n >= 3) g.spearman = cpt_spearman(n, nes, nes_here, e);
    *out = g;
done:
    free(nes);
    free(nes_here);
    return status;
}

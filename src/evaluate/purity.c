/* purity.c - AUROC and F1 of units against labels, with permutations.
 *
 * Each unit's cells are sorted once by falling value. One walk along that order gives the AUROC of
 * all labels (sums of midranks) and their best F1 (it can only rise where a cell of the label is
 * taken in): O(cells) for all labels together. The last group of ties - for a sparse unit all
 * inactive cells - is never walked: what it holds of each label is the rest. A permutation of the
 * labels is another walk.
 *
 * Traps. Rare labels have wild AUROCs: a label needs `least_cells` cells. The best over labels is
 * chosen on the same cells, so its null is the best over labels of the permuted ones (Westfall and
 * Young 1993), not 0.5. Permutations are shared by all units: their p are not independent of each
 * other. */
#include "evaluate/purity.h"

#include "base/memory.h"
#include "base/random.h"
#include "math/sort.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Cells that count, and their labels in all permutations. */
typedef struct labelled {
    int64_t n;
    int64_t *cells;  /* [n] */
    int32_t *codes;  /* [1 + n_permutations][n]; row 0 = as they are */
    int64_t *counts; /* [n_labels] 0 = left out */
    int32_t n_labels, n_permutations;
} labelled;

/* What one thread needs. */
typedef struct walk {
    float *values;          /* [cells of the caller] */
    double *keys;           /* [n] */
    int64_t *order, *first; /* [n] positions; [n + 1] start of each group of ties */
    int64_t n_groups;
    int64_t *taken;     /* [n_labels] */
    double *ranks, *f1; /* [n_labels] */
} walk;

static void walk_free(walk *w)
{
    free(w->values);
    free(w->keys);
    free(w->order);
    free(w->first);
    free(w->taken);
    free(w->ranks);
    free(w->f1);
}

static cpt_status walk_make(int64_t n_all, const labelled *l, walk *w, cpt_err *e)
{
    size_t n = (size_t)l->n, m = (size_t)l->n_labels;
    cpt_status status;
    CPT_TRY(cpt_alloc(&w->values, (size_t)n_all, sizeof *w->values, e));
    CPT_TRY(cpt_alloc(&w->keys, n, sizeof *w->keys, e));
    CPT_TRY(cpt_alloc(&w->order, n, sizeof *w->order, e));
    CPT_TRY(cpt_alloc(&w->first, n + 1, sizeof *w->first, e));
    CPT_TRY(cpt_alloc(&w->taken, m, sizeof *w->taken, e));
    CPT_TRY(cpt_alloc(&w->ranks, m, sizeof *w->ranks, e));
    status = cpt_alloc(&w->f1, m, sizeof *w->f1, e);
done:
    return status;
}

static cpt_status sort_unit(const labelled *l, walk *w, cpt_err *e)
{
    for (int64_t i = 0; i < l->n; i++) w->keys[i] = -(double)w->values[l->cells[i]];
    cpt_status status = cpt_argsort(l->n, w->keys, w->order, e);
    w->n_groups = 0;
    for (int64_t i = 0; i < l->n; i++)
        if (i == 0 || w->keys[w->order[i]] != w->keys[w->order[i - 1]]) w->first[w->n_groups++] = i;
    w->first[w->n_groups] = l->n;
    return status;
}

/* Walks all groups but the last; leaves w->ranks (sum of ascending midranks) and w->f1 of each
 * label. */
static void walk_labels(const labelled *l, const int32_t *codes, walk *w)
{
    const int64_t n = l->n, last = w->first[w->n_groups - 1];
    memset(w->taken, 0, (size_t)l->n_labels * sizeof *w->taken);
    memset(w->ranks, 0, (size_t)l->n_labels * sizeof *w->ranks);
    for (int32_t k = 0; k < l->n_labels; k++) /* a threshold below all values */
        w->f1[k] = 2.0 * (double)l->counts[k] / (double)(l->counts[k] + n);
    for (int64_t g = 0; g + 1 < w->n_groups; g++) {
        const int64_t from = w->first[g], to = w->first[g + 1];
        const double rank = (double)n - (double)from - 0.5 * (double)(to - from - 1);
        for (int64_t i = from; i < to; i++) {
            const int32_t k = codes[w->order[i]];
            w->taken[k]++;
            w->ranks[k] += rank;
        }
        for (int64_t i = from; i < to; i++) {
            const int32_t k = codes[w->order[i]];
            const double f1 = 2.0 * (double)w->taken[k] / (double)(l->counts[k] + to);
            if (f1 > w->f1[k]) w->f1[k] = f1;
        }
    }
    for (int32_t k = 0; k < l->n_labels; k++)
        w->ranks[k] += 0.5 * (double)(n - last + 1) * (double)(l->counts[k] - w->taken[k]);
}

static double auroc_of(const labelled *l, const walk *w, int32_t k)
{
    const double n = (double)l->counts[k], rest = (double)l->n - n;
    return (w->ranks[k] - 0.5 * n * (n + 1)) / (n * rest);
}

static void best_of(const labelled *l, const walk *w, double *auroc, double *f1,
                    int32_t *auroc_label, int32_t *f1_label)
{
    *auroc = *f1 = -1;
    *auroc_label = *f1_label = -1;
    for (int32_t k = 0; k < l->n_labels; k++) {
        if (l->counts[k] == 0) continue;
        const double a = auroc_of(l, w, k);
        if (a > *auroc) {
            *auroc = a;
            *auroc_label = k;
        }
        if (w->f1[k] > *f1) {
            *f1 = w->f1[k];
            *f1_label = k;
        }
    }
}

static cpt_status run_unit(const labelled *l, int32_t unit, walk *w, cpt_purity *out, cpt_err *e)
{
    cpt_status status = sort_unit(l, w, e);
    if (status != CPT_OK) return status;
    walk_labels(l, l->codes, w);
    best_of(l, w, &out->best_auroc[unit], &out->best_f1[unit], &out->auroc_label[unit],
            &out->f1_label[unit]);
    for (int32_t k = 0; k < l->n_labels; k++) {
        const int64_t at = (int64_t)unit * l->n_labels + k;
        out->auroc[at] = l->counts[k] ? (float)auroc_of(l, w, k) : NAN;
        out->f1[at] = l->counts[k] ? (float)w->f1[k] : NAN;
    }
    int32_t n_auroc = 0, n_f1 = 0, nowhere[2];
    double sum_auroc = 0, sum_f1 = 0;
    for (int32_t p = 1; p <= l->n_permutations; p++) {
        double auroc, f1;
        walk_labels(l, l->codes + p * l->n, w);
        best_of(l, w, &auroc, &f1, &nowhere[0], &nowhere[1]);
        n_auroc += auroc >= out->best_auroc[unit];
        n_f1 += f1 >= out->best_f1[unit];
        sum_auroc += auroc;
        sum_f1 += f1;
    }
    out->auroc_null[unit] = sum_auroc / l->n_permutations; /* 0 / 0 = NaN */
    out->f1_null[unit] = sum_f1 / l->n_permutations;
    out->auroc_p[unit] = (1.0 + n_auroc) / (1.0 + l->n_permutations);
    out->f1_p[unit] = (1.0 + n_f1) / (1.0 + l->n_permutations);
    return CPT_OK;
}

/* ---- cells and permutations ---- */

static void labelled_free(labelled *l)
{
    free(l->cells);
    free(l->codes);
    free(l->counts);
}

static cpt_status labelled_make(const cpt_purity_options *o, int64_t n, const int32_t *codes,
                                int32_t n_labels, uint64_t seed, labelled *l, cpt_err *e)
{
    cpt_status status;
    int32_t n_used = 0;
    *l = (labelled){.n_labels = n_labels, .n_permutations = o->n_permutations};
    CPT_TRY(cpt_alloc(&l->counts, (size_t)n_labels, sizeof *l->counts, e));
    CPT_TRY(cpt_alloc(&l->cells, (size_t)n, sizeof *l->cells, e));
    for (int64_t i = 0; i < n; i++)
        if (codes[i] >= 0) l->counts[codes[i]]++;
    for (int32_t k = 0; k < n_labels; k++) {
        if (l->counts[k] < o->least_cells) l->counts[k] = 0;
        n_used += l->counts[k] > 0;
    }
    for (int64_t i = 0; i < n; i++)
        if (codes[i] >= 0 && l->counts[codes[i]] > 0) l->cells[l->n++] = i;
    if (n_used < 2) {
        status = cpt_fail(e, CPT_ERR_DATA,
                          "purity needs two labels with at least %d cells, there are %d",
                          o->least_cells, n_used);
        goto done;
    }
    CPT_TRY(
        cpt_alloc(&l->codes, (size_t)l->n * (size_t)(1 + o->n_permutations), sizeof *l->codes, e));
    for (int64_t i = 0; i < l->n; i++) l->codes[i] = codes[l->cells[i]];
    for (int32_t p = 1; p <= o->n_permutations; p++) {
        cpt_stream s;
        cpt_stream_init(&s, seed, CPT_RANDOM_PURITY, (uint64_t)p);
        memcpy(l->codes + p * l->n, l->codes, (size_t)l->n * sizeof *l->codes);
        cpt_stream_shuffle_i32(&s, l->codes + p * l->n, l->n);
    }
done:
    return status;
}

static cpt_status purity_make(int32_t n_units, int32_t n_labels, cpt_purity **out, cpt_err *e)
{
    cpt_purity *p;
    size_t n = (size_t)n_units, all = n * (size_t)n_labels;
    cpt_status status = cpt_alloc(&p, 1, sizeof *p, e);
    if (status != CPT_OK) return status;
    *out = p;
    p->n_units = n_units;
    p->n_labels = n_labels;
    CPT_TRY(cpt_alloc(&p->auroc, all, sizeof *p->auroc, e));
    CPT_TRY(cpt_alloc(&p->f1, all, sizeof *p->f1, e));
    CPT_TRY(cpt_alloc(&p->best_auroc, n, sizeof *p->best_auroc, e));
    CPT_TRY(cpt_alloc(&p->best_f1, n, sizeof *p->best_f1, e));
    CPT_TRY(cpt_alloc(&p->auroc_label, n, sizeof *p->auroc_label, e));
    CPT_TRY(cpt_alloc(&p->f1_label, n, sizeof *p->f1_label, e));
    CPT_TRY(cpt_alloc(&p->auroc_p, n, sizeof *p->auroc_p, e));
    CPT_TRY(cpt_alloc(&p->f1_p, n, sizeof *p->f1_p, e));
    CPT_TRY(cpt_alloc(&p->auroc_null, n, sizeof *p->auroc_null, e));
    status = cpt_alloc(&p->f1_null, n, sizeof *p->f1_null, e);
done:
    return status;
}

/* Units in parallel; after an error or a stop the rest is passed over. */
static cpt_status run_units(const labelled *l, cpt_unit_values *values, const void *data,
                            int64_t n_all, cpt_purity *out, const cpt_context *ctx, cpt_err *e)
{
    cpt_status first = CPT_OK;
    int32_t n_done = 0;
#pragma omp parallel num_threads(cpt_threads(ctx))
    {
        walk w = {0};
        cpt_err inner;
        cpt_status status = walk_make(n_all, l, &w, &inner);
#pragma omp for schedule(dynamic)
        for (int32_t u = 0; u < out->n_units; u++) {
            if (status == CPT_OK) status = cpt_check_stop(ctx, &inner);
            if (status == CPT_OK) {
                values(data, u, w.values);
                status = run_unit(l, u, &w, out, &inner);
            }
#pragma omp critical(cpt_purity_result)
            {
                if (status != CPT_OK && first == CPT_OK) {
                    first = status;
                    if (e) *e = inner;
                }
                cpt_progress(ctx, "purity", ++n_done, out->n_units, NULL);
            }
        }
        walk_free(&w);
    }
    return first;
}

cpt_status cpt_purity_find(const cpt_purity_options *o, int32_t n_units, cpt_unit_values *values,
                           const void *data, int64_t n, const int32_t *codes, int32_t n_labels,
                           cpt_purity **out, const cpt_context *ctx, cpt_err *e)
{
    labelled l = {0};
    cpt_purity *p = NULL;
    cpt_status status;
    *out = NULL;
    if (n_units < 1 || n_labels < 1 || o->n_permutations < 0 || o->least_cells < 1)
        return cpt_fail(
            e, CPT_ERR_USAGE,
            "purity of %d units against %d labels with %d permutations and at least %d cells "
            "makes no sense",
            n_units, n_labels, o->n_permutations, o->least_cells);
    CPT_TRY(labelled_make(o, n, codes, n_labels, ctx ? ctx->seed : 0, &l, e));
    CPT_TRY(purity_make(n_units, n_labels, &p, e));
    p->n_cells = l.n;
    p->n_permutations = o->n_permutations;
    for (int32_t k = 0; k < n_labels; k++) p->n_labels_used += l.counts[k] > 0;
    status = run_units(&l, values, data, n, p, ctx, e);
done:
    labelled_free(&l);
    if (status == CPT_OK) *out = p;
    else cpt_purity_free(p);
    return status;
}

void cpt_purity_free(cpt_purity *p)
{
    if (!p) return;
    free(p->auroc);
    free(p->f1);
    free(p->best_auroc);
    free(p->best_f1);
    free(p->auroc_label);
    free(p->f1_label);
    free(p->auroc_p);
    free(p->f1_p);
    free(p->auroc_null);
    free(p->f1_null);
    free(p);
}

/* ---- two kinds of units ---- */

static int64_t keep_finite(int32_t n, const double *from, double *to)
{
    int64_t kept = 0;
    for (int32_t i = 0; i < n; i++)
        if (isfinite(from[i])) to[kept++] = from[i];
    return kept;
}

static double mean_of(int64_t n, const double *x)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i];
    return n ? sum / (double)n : NAN;
}

cpt_status cpt_kinds_differ(int32_t n_a, const double *a, int32_t n_b, const double *b,
                            int32_t n_permutations, uint64_t item, cpt_kind_test *out,
                            const cpt_context *ctx, cpt_err *e)
{
    cpt_status status;
    double *all = NULL;
    int32_t n_reached = 0;
    cpt_stream s;
    CPT_TRY(cpt_alloc(&all, (size_t)n_a + (size_t)n_b, sizeof *all, e));
    const int64_t m_a = keep_finite(n_a, a, all), m_b = keep_finite(n_b, b, all + m_a),
                  m = m_a + m_b;
    *out = (cpt_kind_test){
        (int32_t)m_a, (int32_t)m_b, n_permutations, mean_of(m_a, all), mean_of(m_b, all + m_a),
        NAN,          NAN};
    if (m_a == 0 || m_b == 0) goto done;
    out->difference = out->mean_a - out->mean_b;
    const double total = mean_of(m, all) * (double)m, limit = fabs(out->difference) * (1 - 1e-12);
    cpt_stream_init(&s, ctx ? ctx->seed : 0, CPT_RANDOM_PURITY, item << 32 | 0xFFFFFFFF);
    for (int32_t p = 0; p < n_permutations; p++) {
        double sum = 0; /* of the first m_a after a partial shuffle */
        for (int64_t i = 0; i < m_a; i++) {
            const int64_t j = i + (int64_t)cpt_stream_below(&s, (uint64_t)(m - i));
            const double x = all[j];
            all[j] = all[i];
            all[i] = x;
            sum += x;
        }
        n_reached += fabs(sum / (double)m_a - (total - sum) / (double)m_b) >= limit;
    }
    out->p = (1.0 + n_reached) / (1.0 + n_permutations);
done:
    free(all);
    return status;
}

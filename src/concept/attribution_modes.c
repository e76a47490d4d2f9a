/* attribution_modes.c - the attribution of every gene by one pair of cells (method.md 4).
 *
 * Problem: how much of a concept's activation in a prototype hangs on each gene in which it differs
 * from its counterfactual.
 * Method: exact modes change one input at a time in an open session and read the concept out again;
 * hybrid screens all genes (attribution_screen.c), evaluates the best exactly and measures on a random
 * sample what the screen is worth.
 * Complexity: one session and one changed copy per differing gene (exact), or per gene of the top and
 * the sample (hybrid).
 * Traps: everything is measured against the session's own embedding of the cell, never against a stored
 * activation, or rounding between the two code paths would look like attribution. */
#include "concept/attribution_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "math/statistics.h"

enum { CHUNK = 256, TOP_OVERLAP = 20 };

void cpt_opened_free(const cpt_model *m, cpt_opened *o)
{
    if (o->session) m->ops->session_free(o->session);
    cpt_profile_free(&o->profile);
}

static void work_free(cpt_pair_work *w)
{
    cpt_opened_free(w->job->model, &w->p);
    cpt_opened_free(w->job->model, &w->cf);
    free(w->genes);
    free(w->at_p);
    free(w->at_cf);
    free(w->differ);
    free(w->screen);
    free(w->foretold);
    free(w->priority);
}

static cpt_status read_out(const cpt_pair_job *job, int32_t n, const float *embeddings,
                           float *activation, float *pre, cpt_err *e)
{
    const cpt_dictionary *d = job->dictionary;
    return d->ops->readout(d, job->concept, n, embeddings, activation, pre, e);
}

cpt_status cpt_opened_open(const cpt_pair_job *job, cpt_opened *o, cpt_err *e)
{
    const cpt_model_ops *ops = job->model->ops;
    cpt_status status = ops->session_open(job->model, &o->profile, &o->session, e);
    if (status != CPT_OK) return status;
    return read_out(job, 1, ops->session_embedding(o->session), &o->activation, &o->pre, e);
}

/* Merges the two profiles into genes, at_p, at_cf and lists the positions that differ. */
static cpt_status merge_profiles(cpt_pair_work *w, cpt_err *e)
{
    const cpt_profile *p = &w->p.profile, *cf = &w->cf.profile;
    size_t most = (size_t)p->n + (size_t)cf->n;
    cpt_status status;
    CPT_TRY(cpt_alloc(&w->genes, most, sizeof *w->genes, e));
    CPT_TRY(cpt_alloc(&w->at_p, most, sizeof *w->at_p, e));
    CPT_TRY(cpt_alloc(&w->at_cf, most, sizeof *w->at_cf, e));
    CPT_TRY(cpt_alloc(&w->differ, most, sizeof *w->differ, e));
    CPT_TRY(cpt_alloc(&w->screen, most, sizeof *w->screen, e));
    CPT_TRY(cpt_alloc(&w->foretold, most, sizeof *w->foretold, e));
    CPT_TRY(cpt_alloc(&w->priority, most, sizeof *w->priority, e));
    for (int32_t i = 0, j = 0; i < p->n || j < cf->n;) {
        bool take_p = j == cf->n || (i < p->n && p->genes[i] <= cf->genes[j]);
        bool take_cf = i == p->n || (j < cf->n && cf->genes[j] <= p->genes[i]);
        int32_t k = w->n++;
        w->genes[k] = take_p ? p->genes[i] : cf->genes[j];
        w->at_p[k] = take_p ? p->values[i++] : 0;
        w->at_cf[k] = take_cf ? cf->values[j++] : 0;
        if (w->at_p[k] != w->at_cf[k]) w->differ[w->n_differ++] = k;
    }
done:
    return status;
}

/* ---- exact: one changed copy per gene ---- */

/* The change that a mode makes to gene k of the merged list. */
cpt_change cpt_change_of(const cpt_pair_work *w, int32_t k)
{
    switch (w->job->options->mode) {
    case CPT_MODE_INSERT: return (cpt_change){w->genes[k], w->at_p[k]};
    case CPT_MODE_MASK: return (cpt_change){w->genes[k], 0};
    default: return (cpt_change){w->genes[k], w->at_cf[k]};
    }
}

/* A copy that the model cannot embed (its last gene taken away) says nothing about the gene. */
static float finite_or_0(double x)
{
    return isfinite(x) ? (float)x : 0;
}

/* Evaluates n genes (positions in the merged list) and writes both read-outs. */
static cpt_status exact_genes(cpt_pair_work *w, int32_t n, const int32_t *which, cpt_pair_attribution *out,
                              cpt_err *e)
{
    const cpt_model *m = w->job->model;
    bool insert = w->job->options->mode == CPT_MODE_INSERT;
    const cpt_opened *base = insert ? &w->cf : &w->p;
    double unit = insert ? -1.0 / w->p.activation : 1.0 / w->p.activation;
    cpt_change changes[CHUNK];
    float activation[CHUNK], pre[CHUNK], *embeddings;
    cpt_status status = cpt_alloc(&embeddings, (size_t)CHUNK * (size_t)m->dim, sizeof *embeddings, e);
    if (status != CPT_OK) return status;

    for (int32_t first = 0; first < n; first += CHUNK) {
        int32_t size = n - first < CHUNK ? n - first : CHUNK;
        for (int32_t i = 0; i < size; i++) changes[i] = cpt_change_of(w, which[first + i]);
        CPT_TRY(m->ops->session_singles(base->session, size, changes, embeddings, e));
        CPT_TRY(read_out(w->job, size, embeddings, activation, pre, e));
        for (int32_t i = 0; i < size; i++) {
            out->activation[changes[i].gene] = finite_or_0(((double)base->activation - activation[i]) * unit);
            out->pre[changes[i].gene] = finite_or_0(((double)base->pre - pre[i]) * unit);
        }
    }
done:
    free(embeddings);
    return status;
}

/* Takes genes out of the list that the mode leaves as they are; returns how many stay. */
static int32_t keep_changing(const cpt_pair_work *w, int32_t n, int32_t *which)
{
    int32_t kept = 0;
    bool mask = w->job->options->mode == CPT_MODE_MASK;
    for (int32_t i = 0; i < n; i++)
        if (!mask || w->at_p[which[i]] != 0) which[kept++] = which[i];
    return kept;
}

static cpt_status run_exact(cpt_pair_work *w, cpt_pair_attribution *out, cpt_err *e)
{
    return exact_genes(w, keep_changing(w, w->n_differ, w->differ), w->differ, out, e);
}

/* ---- screens ---- */

static void store(const cpt_pair_work *w, const double *values, float *out)
{
    for (int32_t i = 0; i < w->n_differ; i++)
        out[w->genes[w->differ[i]]] = finite_or_0(values[w->differ[i]]);
}

/* |sum - (u_p - u_cf)| / u_p in the chosen read-out. */
static double completeness_error(const cpt_pair_work *w)
{
    bool pre = w->job->options->readout == CPT_READOUT_PRE;
    double drop = pre ? (double)w->p.pre - w->cf.pre : (double)w->p.activation - w->cf.activation;
    double sum = 0;
    for (int32_t i = 0; i < w->n_differ; i++) sum += w->screen[w->differ[i]];
    return fabs(sum - drop / w->p.activation);
}

/* ---- hybrid ---- */

typedef struct ranked {
    double size, then; /* larger first; then larger `then`; then lower position */
    int32_t position;
} ranked;

static int by_size(const void *x, const void *y)
{
    const ranked *a = x, *b = y;
    if (a->size != b->size) return a->size > b->size ? -1 : 1;
    if (a->then != b->then) return a->then > b->then ? -1 : 1;
    return (a->position > b->position) - (a->position < b->position);
}

/* Random sample of n of the differing genes, by the first steps of a shuffle. */
static void draw_sample(const cpt_pair_work *w, int32_t n, int32_t *pool, int32_t *sample)
{
    cpt_stream stream;
    cpt_stream_init(&stream, w->job->seed, CPT_RANDOM_EVALUATE,
                    (uint64_t)w->job->concept << 40 ^ (uint64_t)w->job->prototype);
    memcpy(pool, w->differ, (size_t)w->n_differ * sizeof *pool);
    for (int32_t i = 0; i < n; i++) {
        int32_t j = i + (int32_t)cpt_stream_below(&stream, (uint64_t)(w->n_differ - i));
        sample[i] = pool[j];
        pool[j] = pool[i];
    }
}

/* Rank correlation of a screen and the exact values over the random sample. */
static cpt_status sample_spearman(const cpt_pair_work *w, int32_t n, const int32_t *sample,
                                  const double *screen, const float *exact, double *out, cpt_err *e)
{
    double *x;
    *out = NAN;
    if (n < 3) return CPT_OK;
    cpt_status status = cpt_alloc(&x, 2 * (size_t)n, sizeof *x, e);
    if (status != CPT_OK) return status;
    for (int32_t i = 0; i < n; i++) {
        x[i] = screen[sample[i]];
        x[n + i] = exact[w->genes[sample[i]]];
    }
    *out = cpt_spearman(n, x, x + n, e);
    free(x);
    return CPT_OK;
}

/* Share of the 20 largest by the screen whose exact value is as large as the 20th largest exact one,
 * over the n genes evaluated exactly: where many are equal (a lost place is 1), any of them counts.
 * `list` is scratch [n]. */
static double top_overlap(const cpt_pair_work *w, int32_t n, const int32_t *which,
                          const double *screen, const float *exact, ranked *list)
{
    const int32_t top = n < TOP_OVERLAP ? n : TOP_OVERLAP;
    int32_t shared = 0;
    if (!top) return NAN;
    for (int32_t i = 0; i < n; i++)
        list[i] = (ranked){fabs((double)exact[w->genes[which[i]]]), 0, which[i]};
    qsort(list, (size_t)n, sizeof *list, by_size);
    const double least = list[top - 1].size;
    for (int32_t i = 0; i < n; i++)
        list[i] = (ranked){fabs(screen[which[i]]), fabs(w->screen[which[i]]), which[i]};
    qsort(list, (size_t)n, sizeof *list, by_size);
    for (int32_t i = 0; i < top; i++)
        shared += fabs((double)exact[w->genes[list[i].position]]) >= least;
    return (double)shared / top;
}

/* The genes to evaluate exactly: the top of the screen and the sample, each once. */
static int32_t choose_exact(const cpt_pair_work *w, int32_t n_sample, const int32_t *sample, ranked *list,
                            bool *taken, int32_t *which)
{
    int32_t n = 0;
    for (int32_t i = 0; i < w->n_differ; i++)
        list[i] = (ranked){w->priority[w->differ[i]], fabs(w->screen[w->differ[i]]), w->differ[i]};
    qsort(list, (size_t)w->n_differ, sizeof *list, by_size);
    for (int32_t i = 0; i < w->n_differ && i < w->job->options->hybrid_top; i++) {
        taken[list[i].position] = true;
        which[n++] = list[i].position;
    }
    for (int32_t i = 0; i < n_sample; i++)
        if (!taken[sample[i]]) which[n++] = sample[i];
    return n;
}

/* How well the screen foretold both read-outs. */
static cpt_status judge_screen(const cpt_pair_work *w, int32_t n_sample, const int32_t *sample,
                               int32_t n, const int32_t *which, ranked *list,
                               cpt_pair_attribution *out, cpt_err *e)
{
    const bool pre = w->job->options->readout == CPT_READOUT_PRE;
    const double *screen = pre ? w->screen : w->foretold;
    const float *exact = pre ? out->pre : out->activation;
    cpt_status status;
    CPT_TRY(sample_spearman(w, n_sample, sample, screen, exact, &out->hybrid_spearman, e));
    CPT_TRY(sample_spearman(w, n_sample, sample, w->screen, out->pre, &out->hybrid_spearman_pre,
                            e));
    out->hybrid_top20_overlap = top_overlap(w, n, which, screen, exact, list);
    out->hybrid_top20_pre = top_overlap(w, n, which, w->screen, out->pre, list);
done:
    return status;
}

static cpt_status run_hybrid(cpt_pair_work *w, cpt_pair_attribution *out, cpt_err *e)
{
    int32_t *pool = NULL, *sample = NULL, *which = NULL;
    ranked *list = NULL;
    bool *taken = NULL;
    const cpt_attribution_options *o = w->job->options;
    int32_t n_sample = w->n_differ < o->hybrid_check ? w->n_differ : o->hybrid_check;
    cpt_status status;

    CPT_TRY(cpt_alloc(&pool, (size_t)w->n, sizeof *pool, e));
    CPT_TRY(cpt_alloc(&sample, (size_t)n_sample, sizeof *sample, e));
    CPT_TRY(cpt_alloc(&which, (size_t)w->n, sizeof *which, e));
    CPT_TRY(cpt_alloc(&list, (size_t)w->n, sizeof *list, e));
    CPT_TRY(cpt_alloc(&taken, (size_t)w->n, sizeof *taken, e));
    CPT_TRY(cpt_screen_run(w, o->screen, e));
    store(w, w->screen, out->pre);
    store(w, w->foretold, out->activation);
    draw_sample(w, n_sample, pool, sample);
    int32_t n = choose_exact(w, n_sample, sample, list, taken, which);
    for (int32_t i = 0; i < n; i++) /* masked genes that are 0 already have the exact value 0 */
        out->activation[w->genes[which[i]]] = out->pre[w->genes[which[i]]] = 0;
    memcpy(pool, which, (size_t)n * sizeof *pool);
    CPT_TRY(exact_genes(w, keep_changing(w, n, pool), pool, out, e));
    status = judge_screen(w, n_sample, sample, n, which, list, out, e);
done:
    free(pool);
    free(sample);
    free(which);
    free(list);
    free(taken);
    return status;
}

/* ---- one pair ---- */

static bool needs_counterfactual(const cpt_attribution_options *o)
{
    return o->method == CPT_METHOD_IG ||
           (cpt_attribution_has_both(o) && o->mode == CPT_MODE_INSERT);
}

static cpt_status run_method(cpt_pair_work *w, cpt_pair_attribution *out, cpt_err *e)
{
    const cpt_attribution_options *o = w->job->options;
    for (int32_t i = 0; i < w->n_differ; i++) out->differs[w->genes[w->differ[i]]] = true;
    if (o->method == CPT_METHOD_EXACT) return run_exact(w, out, e);
    if (o->method == CPT_METHOD_HYBRID) return run_hybrid(w, out, e);
    const cpt_screen screen = o->method == CPT_METHOD_IG ? CPT_SCREEN_IG : CPT_SCREEN_GRADIENT;
    cpt_status status = cpt_screen_run(w, screen, e);
    if (status != CPT_OK) return status;
    store(w, w->screen, out->pre);
    if (o->method == CPT_METHOD_IG) out->completeness_error = completeness_error(w);
    return CPT_OK;
}

cpt_status cpt_attribution_run(const cpt_pair_job *job, cpt_pair_attribution *out, bool *usable,
                               cpt_err *e)
{
    cpt_pair_work w = {.job = job};
    const cpt_model *m = job->model;
    cpt_status status;
    *usable = false;
    out->completeness_error = out->hybrid_spearman = out->hybrid_top20_overlap = NAN;
    out->hybrid_spearman_pre = out->hybrid_top20_pre = NAN;
    CPT_TRY(m->ops->profile(m, job->counts, job->prototype, &w.p.profile, e));
    CPT_TRY(cpt_opened_open(job, &w.p, e));
    *usable = w.p.activation > 0 && isfinite(w.p.activation);
    if (!*usable) goto done;
    CPT_TRY(m->ops->profile(m, job->counts, job->counterfactual, &w.cf.profile, e));
    if (needs_counterfactual(job->options)) CPT_TRY(cpt_opened_open(job, &w.cf, e));
    CPT_TRY(merge_profiles(&w, e));
    status = run_method(&w, out, e);
done:
    work_free(&w);
    return status;
}

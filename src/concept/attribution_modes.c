/* attribution_modes.c - the attribution of every gene by one pair of cells (method.md 4).
 *
 * Problem: how much of a concept's activation in a prototype hangs on each gene in which it differs
 * from its counterfactual.
 * Method: exact modes change one input at a time in an open session and read the concept out again;
 * gradient is the first-order term at the prototype; ig integrates it along the straight path between
 * the cells (Sundararajan et al. 2017) with Gauss-Legendre nodes; hybrid screens with one of these and
 * evaluates the best genes exactly.
 * Complexity: one session and one changed copy per differing gene (exact), one backward pass
 * (gradient), n nodes of one session and one backward pass each (ig).
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

/* One cell as opened for a pair. */
typedef struct opened {
    cpt_profile profile;
    cpt_session *session;
    float activation, pre;
} opened;

typedef struct pair_work {
    const cpt_pair_job *job;
    opened p, cf;       /* cf: session only where the method needs it */
    int32_t n;          /* genes that are not 0 in both */
    int32_t *genes;     /* [n] ascending */
    float *at_p, *at_cf; /* [n] inputs */
    int32_t n_differ;
    int32_t *differ;    /* [n_differ] positions in genes */
    double *screen;     /* [n] gradient, ig or the hybrid's screen */
} pair_work;

static void opened_free(const cpt_model *m, opened *o)
{
    if (o->session) m->ops->session_free(o->session);
    cpt_profile_free(&o->profile);
}

static void work_free(pair_work *w)
{
    opened_free(w->job->model, &w->p);
    opened_free(w->job->model, &w->cf);
    free(w->genes);
    free(w->at_p);
    free(w->at_cf);
    free(w->differ);
    free(w->screen);
}

static cpt_status read_out(const cpt_pair_job *job, int32_t n, const float *embeddings,
                           float *activation, float *pre, cpt_err *e)
{
    const cpt_dictionary *d = job->dictionary;
    return d->ops->readout(d, job->concept, n, embeddings, activation, pre, e);
}

static cpt_status open_cell(const cpt_pair_job *job, opened *o, cpt_err *e)
{
    const cpt_model_ops *ops = job->model->ops;
    cpt_status status = ops->session_open(job->model, &o->profile, &o->session, e);
    if (status != CPT_OK) return status;
    return read_out(job, 1, ops->session_embedding(o->session), &o->activation, &o->pre, e);
}

/* Merges the two profiles into genes, at_p, at_cf and lists the positions that differ. */
static cpt_status merge_profiles(pair_work *w, cpt_err *e)
{
    const cpt_profile *p = &w->p.profile, *cf = &w->cf.profile;
    size_t most = (size_t)p->n + (size_t)cf->n;
    cpt_status status;
    CPT_TRY(cpt_alloc(&w->genes, most, sizeof *w->genes, e));
    CPT_TRY(cpt_alloc(&w->at_p, most, sizeof *w->at_p, e));
    CPT_TRY(cpt_alloc(&w->at_cf, most, sizeof *w->at_cf, e));
    CPT_TRY(cpt_alloc(&w->differ, most, sizeof *w->differ, e));
    CPT_TRY(cpt_alloc(&w->screen, most, sizeof *w->screen, e));
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
static cpt_change change_of(const pair_work *w, int32_t k)
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
static cpt_status exact_genes(pair_work *w, int32_t n, const int32_t *which, cpt_pair_attribution *out,
                              cpt_err *e)
{
    const cpt_model *m = w->job->model;
    bool insert = w->job->options->mode == CPT_MODE_INSERT;
    const opened *base = insert ? &w->cf : &w->p;
    double unit = insert ? -1.0 / w->p.activation : 1.0 / w->p.activation;
    cpt_change changes[CHUNK];
    float activation[CHUNK], pre[CHUNK], *embeddings;
    cpt_status status = cpt_alloc(&embeddings, (size_t)CHUNK * (size_t)m->dim, sizeof *embeddings, e);
    if (status != CPT_OK) return status;

    for (int32_t first = 0; first < n; first += CHUNK) {
        int32_t size = n - first < CHUNK ? n - first : CHUNK;
        for (int32_t i = 0; i < size; i++) changes[i] = change_of(w, which[first + i]);
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
static int32_t keep_changing(const pair_work *w, int32_t n, int32_t *which)
{
    int32_t kept = 0;
    bool mask = w->job->options->mode == CPT_MODE_MASK;
    for (int32_t i = 0; i < n; i++)
        if (!mask || w->at_p[which[i]] != 0) which[kept++] = which[i];
    return kept;
}

static cpt_status run_exact(pair_work *w, cpt_pair_attribution *out, cpt_err *e)
{
    return exact_genes(w, keep_changing(w, w->n_differ, w->differ), w->differ, out, e);
}

/* ---- gradients ---- */

/* Adds weight * d h_c / d x to screen at the cell that `o` has open. */
static cpt_status add_gradient(pair_work *w, const opened *o, double weight, float *direction,
                               float *gradient, cpt_err *e)
{
    const cpt_model_ops *ops = w->job->model->ops;
    const cpt_dictionary *d = w->job->dictionary;
    d->ops->gradient(d, w->job->concept, ops->session_embedding(o->session), direction);
    cpt_status status = ops->session_gradient(o->session, 1, direction, gradient, e);
    if (status != CPT_OK) return status;
    for (int32_t k = 0; k < w->n; k++) w->screen[k] += weight * gradient[w->genes[k]];
    return CPT_OK;
}

/* The cell at share t of the way from the counterfactual to the prototype. */
static void profile_between(const pair_work *w, double t, cpt_profile *out)
{
    out->n = 0;
    for (int32_t k = 0; k < w->n; k++) {
        float x = (float)(w->at_cf[k] + t * ((double)w->at_p[k] - w->at_cf[k]));
        if (x == 0) continue;
        out->genes[out->n] = w->genes[k];
        out->values[out->n++] = x;
    }
}

static cpt_status add_path(pair_work *w, float *direction, float *gradient, cpt_err *e)
{
    int32_t n = w->job->options->ig_steps;
    double *nodes = NULL, *weights;
    opened between = {0};
    cpt_status status;
    CPT_TRY(cpt_alloc(&nodes, 2 * (size_t)n, sizeof *nodes, e));
    CPT_TRY(cpt_alloc(&between.profile.genes, (size_t)w->n, sizeof(int32_t), e));
    CPT_TRY(cpt_alloc(&between.profile.values, (size_t)w->n, sizeof(float), e));
    weights = nodes + n;
    cpt_gauss_legendre(n, nodes, weights);
    for (int32_t i = 0; i < n; i++) {
        profile_between(w, nodes[i], &between.profile);
        CPT_TRY(open_cell(w->job, &between, e));
        CPT_TRY(add_gradient(w, &between, weights[i], direction, gradient, e));
        w->job->model->ops->session_free(between.session);
        between.session = NULL;
    }
done:
    opened_free(w->job->model, &between);
    free(nodes);
    return status;
}

/* Fills `screen` with the gradient or ig attribution, in units of the prototype's activation. */
static cpt_status run_screen(pair_work *w, bool path, cpt_err *e)
{
    float *direction = NULL, *gradient = NULL;
    cpt_status status;
    CPT_TRY(cpt_alloc(&direction, (size_t)w->job->model->dim, sizeof *direction, e));
    CPT_TRY(cpt_alloc(&gradient, (size_t)w->job->model->n_genes, sizeof *gradient, e));
    if (path) CPT_TRY(add_path(w, direction, gradient, e));
    else CPT_TRY(add_gradient(w, &w->p, 1, direction, gradient, e));
    for (int32_t k = 0; k < w->n; k++)
        w->screen[k] *= ((double)w->at_p[k] - w->at_cf[k]) / w->p.activation;
done:
    free(direction);
    free(gradient);
    return status;
}

static void store_screen(const pair_work *w, float *out)
{
    for (int32_t i = 0; i < w->n_differ; i++)
        out[w->genes[w->differ[i]]] = finite_or_0(w->screen[w->differ[i]]);
}

/* |sum - (u_p - u_cf)| / u_p in the chosen read-out. */
static double completeness_error(const pair_work *w)
{
    bool pre = w->job->options->readout == CPT_READOUT_PRE;
    double drop = pre ? (double)w->p.pre - w->cf.pre : (double)w->p.activation - w->cf.activation;
    double sum = 0;
    for (int32_t i = 0; i < w->n_differ; i++) sum += w->screen[w->differ[i]];
    return fabs(sum - drop / w->p.activation);
}

/* ---- hybrid ---- */

typedef struct ranked {
    double size;
    int32_t position;
} ranked;

static int by_size(const void *x, const void *y)
{
    const ranked *a = x, *b = y;
    if (a->size != b->size) return a->size > b->size ? -1 : 1;
    return (a->position > b->position) - (a->position < b->position);
}

/* Random sample of n of the differing genes, by the first steps of a shuffle. */
static void draw_sample(const pair_work *w, int32_t n, int32_t *pool, int32_t *sample)
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

/* Rank correlation of screen and exact value over the random sample. */
static cpt_status sample_spearman(const pair_work *w, int32_t n, const int32_t *sample,
                                  const float *exact, double *out, cpt_err *e)
{
    double *x;
    *out = NAN;
    if (n < 3) return CPT_OK;
    cpt_status status = cpt_alloc(&x, 2 * (size_t)n, sizeof *x, e);
    if (status != CPT_OK) return status;
    for (int32_t i = 0; i < n; i++) {
        x[i] = w->screen[sample[i]];
        x[n + i] = exact[w->genes[sample[i]]];
    }
    *out = cpt_spearman(n, x, x + n, e);
    free(x);
    return CPT_OK;
}

/* Share of the 20 largest by the screen that are among the 20 largest by exact value, over the n genes
 * evaluated exactly. `list` is scratch [2 n]. */
static double top_overlap(const pair_work *w, int32_t n, const int32_t *which, const float *exact,
                          ranked *list)
{
    int32_t top = n < TOP_OVERLAP ? n : TOP_OVERLAP, shared = 0;
    for (int32_t i = 0; i < n; i++) {
        list[i] = (ranked){fabs(w->screen[which[i]]), which[i]};
        list[n + i] = (ranked){fabs((double)exact[w->genes[which[i]]]), which[i]};
    }
    qsort(list, (size_t)n, sizeof *list, by_size);
    qsort(list + n, (size_t)n, sizeof *list, by_size);
    for (int32_t i = 0; i < top; i++)
        for (int32_t j = 0; j < top; j++) shared += list[i].position == list[n + j].position;
    return top ? (double)shared / top : NAN;
}

/* The genes to evaluate exactly: the top of the screen and the sample, each once. */
static int32_t choose_exact(const pair_work *w, int32_t n_sample, const int32_t *sample, ranked *list,
                            bool *taken, int32_t *which)
{
    int32_t n = 0;
    for (int32_t i = 0; i < w->n_differ; i++)
        list[i] = (ranked){fabs(w->screen[w->differ[i]]), w->differ[i]};
    qsort(list, (size_t)w->n_differ, sizeof *list, by_size);
    for (int32_t i = 0; i < w->n_differ && i < w->job->options->hybrid_top; i++) {
        taken[list[i].position] = true;
        which[n++] = list[i].position;
    }
    for (int32_t i = 0; i < n_sample; i++)
        if (!taken[sample[i]]) which[n++] = sample[i];
    return n;
}

static cpt_status run_hybrid(pair_work *w, cpt_pair_attribution *out, cpt_err *e)
{
    int32_t *pool = NULL, *sample = NULL, *which = NULL;
    ranked *list = NULL;
    bool *taken = NULL;
    const cpt_attribution_options *o = w->job->options;
    int32_t n_sample = w->n_differ < o->hybrid_check ? w->n_differ : o->hybrid_check;
    const float *exact = o->readout == CPT_READOUT_PRE ? out->pre : out->activation;
    cpt_status status;

    CPT_TRY(cpt_alloc(&pool, (size_t)w->n, sizeof *pool, e));
    CPT_TRY(cpt_alloc(&sample, (size_t)n_sample, sizeof *sample, e));
    CPT_TRY(cpt_alloc(&which, (size_t)w->n, sizeof *which, e));
    CPT_TRY(cpt_alloc(&list, 2 * (size_t)w->n, sizeof *list, e));
    CPT_TRY(cpt_alloc(&taken, (size_t)w->n, sizeof *taken, e));
    CPT_TRY(run_screen(w, o->ig_steps > 0, e));
    store_screen(w, out->pre);
    store_screen(w, out->activation);
    draw_sample(w, n_sample, pool, sample);
    int32_t n = choose_exact(w, n_sample, sample, list, taken, which);
    for (int32_t i = 0; i < n; i++) /* masked genes that are 0 already have the exact value 0 */
        out->activation[w->genes[which[i]]] = out->pre[w->genes[which[i]]] = 0;
    memcpy(pool, which, (size_t)n * sizeof *pool);
    CPT_TRY(exact_genes(w, keep_changing(w, n, pool), pool, out, e));
    CPT_TRY(sample_spearman(w, n_sample, sample, exact, &out->hybrid_spearman, e));
    out->hybrid_top20_overlap = top_overlap(w, n, which, exact, list);
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

static cpt_status run_method(pair_work *w, cpt_pair_attribution *out, cpt_err *e)
{
    const cpt_attribution_options *o = w->job->options;
    for (int32_t i = 0; i < w->n_differ; i++) out->differs[w->genes[w->differ[i]]] = true;
    if (o->method == CPT_METHOD_EXACT) return run_exact(w, out, e);
    if (o->method == CPT_METHOD_HYBRID) return run_hybrid(w, out, e);
    cpt_status status = run_screen(w, o->method == CPT_METHOD_IG, e);
    if (status != CPT_OK) return status;
    store_screen(w, out->pre);
    if (o->method == CPT_METHOD_IG) out->completeness_error = completeness_error(w);
    return CPT_OK;
}

cpt_status cpt_attribution_run(const cpt_pair_job *job, cpt_pair_attribution *out, bool *usable,
                               cpt_err *e)
{
    pair_work w = {.job = job};
    const cpt_model *m = job->model;
    cpt_status status;
    *usable = false;
    out->completeness_error = out->hybrid_spearman = out->hybrid_top20_overlap = NAN;
    CPT_TRY(m->ops->profile(m, job->counts, job->prototype, &w.p.profile, e));
    CPT_TRY(open_cell(job, &w.p, e));
    *usable = w.p.activation > 0 && isfinite(w.p.activation);
    if (!*usable) goto done;
    CPT_TRY(m->ops->profile(m, job->counts, job->counterfactual, &w.cf.profile, e));
    if (needs_counterfactual(job->options)) CPT_TRY(open_cell(job, &w.cf, e));
    CPT_TRY(merge_profiles(&w, e));
    status = run_method(&w, out, e);
done:
    work_free(&w);
    return status;
}

/* Newton's iteration on the Legendre polynomial from the usual cosine start (Abramowitz and Stegun
 * 25.4.29); nodes ascend. */
void cpt_gauss_legendre(int32_t n, double *nodes, double *weights)
{
    for (int32_t i = 0; i < n; i++) {
        double x = -cos(3.14159265358979323846 * (i + 0.75) / (n + 0.5)), slope = 0;
        for (int iteration = 0; iteration < 100; iteration++) {
            double p0 = 1, p1 = x;
            for (int32_t k = 2; k <= n; k++) {
                double p2 = ((2 * k - 1) * x * p1 - (k - 1) * p0) / k;
                p0 = p1;
                p1 = p2;
            }
            slope = n * (x * p1 - p0) / (x * x - 1);
            double step = p1 / slope;
            x -= step;
            if (fabs(step) < 1e-15) break;
        }
        nodes[i] = 0.5 * (1 + x);
        weights[i] = 1 / ((1 - x * x) * slope * slope);
    }
}

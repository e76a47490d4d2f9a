/* attribution_screen.c - attributions of all genes of a pair without an exact copy for each.
 *
 * Problem: where one changed copy costs a forward pass of a transformer, a pair has hundreds of genes.
 * Method: three screens of the pre-activation h_c.
 *   swap      session_screen: each step is taken in full, the rest of the model answers linearly; all
 *             genes together cost a few forward passes. What it estimates is the exact mode's quantity.
 *   ig        integrated gradients on the straight path between the cells (Sundararajan et al. 2017)
 *             with Gauss-Legendre nodes: shares of the whole way, not effects of single steps. In scGPT
 *             a gene that only one of the cells has is a token on the whole path: its coming or going,
 *             most of what single substitutions do, is in no gradient.
 *   gradient  the first-order term at the prototype in the inputs' own values.
 * A concept can lose its place among the k active ones although its h_c hardly moves: swap therefore
 * also estimates the pre-activations of those that compete for the last place, and foretells the
 * activation from all of them.
 * Complexity: swap a few, gradient three, ig three times its steps forward passes.
 * Traps: a gene at the edge of losing its place is worth an exact look whichever side the estimate falls
 * on: its priority is the mean over several lengths of the step. */
#include "concept/attribution_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

enum { RIVALS = 7 };

/* ---- gradients ---- */

/* Adds weight * d h_c / d x to screen at the cell that `o` has open. */
static cpt_status add_gradient(cpt_pair_work *w, const cpt_opened *o, double weight, float *direction,
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
static void profile_between(const cpt_pair_work *w, double t, cpt_profile *out)
{
    out->n = 0;
    for (int32_t k = 0; k < w->n; k++) {
        float x = (float)(w->at_cf[k] + t * ((double)w->at_p[k] - w->at_cf[k]));
        if (x == 0) continue;
        out->genes[out->n] = w->genes[k];
        out->values[out->n++] = x;
    }
}

static cpt_status add_path(cpt_pair_work *w, float *direction, float *gradient, cpt_err *e)
{
    int32_t n = w->job->options->ig_steps;
    double *nodes = NULL, *weights;
    cpt_opened between = {0};
    cpt_status status;
    CPT_TRY(cpt_alloc(&nodes, 2 * (size_t)n, sizeof *nodes, e));
    CPT_TRY(cpt_alloc(&between.profile.genes, (size_t)w->n, sizeof(int32_t), e));
    CPT_TRY(cpt_alloc(&between.profile.values, (size_t)w->n, sizeof(float), e));
    weights = nodes + n;
    cpt_gauss_legendre(n, nodes, weights);
    for (int32_t i = 0; i < n; i++) {
        profile_between(w, nodes[i], &between.profile);
        CPT_TRY(cpt_opened_open(w->job, &between, e));
        CPT_TRY(add_gradient(w, &between, weights[i], direction, gradient, e));
        w->job->model->ops->session_free(between.session);
        between.session = NULL;
    }
done:
    cpt_opened_free(w->job->model, &between);
    free(nodes);
    return status;
}

static cpt_status run_gradients(cpt_pair_work *w, bool path, cpt_err *e)
{
    float *direction = NULL, *gradient = NULL;
    cpt_status status;
    CPT_TRY(cpt_alloc(&direction, (size_t)w->job->model->dim, sizeof *direction, e));
    CPT_TRY(cpt_alloc(&gradient, (size_t)w->job->model->n_genes, sizeof *gradient, e));
    if (path) CPT_TRY(add_path(w, direction, gradient, e));
    else CPT_TRY(add_gradient(w, &w->p, 1, direction, gradient, e));
    for (int32_t k = 0; k < w->n; k++) {
        w->screen[k] *= ((double)w->at_p[k] - w->at_cf[k]) / w->p.activation;
        w->foretold[k] = w->screen[k];
        w->priority[k] = fabs(w->screen[k]);
    }
done:
    free(direction);
    free(gradient);
    return status;
}

/* ---- swap ---- */

/* The concepts that are watched beside the one in question, and how all changes move them. */
typedef struct competition {
    const cpt_opened *base; /* the cell that is changed */
    int32_t n_watched;      /* the concept itself and its rivals */
    int32_t watched[1 + RIVALS];
    float *h;               /* [n_concepts] pre-activations in the base cell; NULL = not told */
    float *directions;      /* [1 + RIVALS][dim] */
    float *moves;           /* [1 + RIVALS][n_differ] estimated changes of the watched ones */
    cpt_change *changes;    /* [n_differ] */
} competition;

static void competition_free(competition *c)
{
    free(c->h);
    free(c->directions);
    free(c->moves);
    free(c->changes);
}

static cpt_status competition_make(const cpt_pair_work *w, competition *c, cpt_err *e)
{
    const cpt_dictionary *d = w->job->dictionary;
    const cpt_model *m = w->job->model;
    const size_t n = (size_t)w->n_differ;
    const float *a;
    cpt_status status;
    *c = (competition){.n_watched = 1, .watched = {w->job->concept}};
    c->base = w->job->options->mode == CPT_MODE_INSERT ? &w->cf : &w->p;
    CPT_TRY(cpt_alloc(&c->directions, (1 + RIVALS) * (size_t)d->dim, sizeof *c->directions, e));
    CPT_TRY(cpt_alloc(&c->moves, (1 + RIVALS) * n, sizeof *c->moves, e));
    CPT_TRY(cpt_alloc(&c->changes, n, sizeof *c->changes, e));
    for (int32_t i = 0; i < w->n_differ; i++) c->changes[i] = cpt_change_of(w, w->differ[i]);
    if (!d->ops->pre_activations) goto done;
    a = m->ops->session_embedding(c->base->session);
    CPT_TRY(cpt_alloc(&c->h, (size_t)d->n_concepts, sizeof *c->h, e));
    status = d->ops->pre_activations(d, a, c->h, e);
done:
    return status;
}

static cpt_status estimate_moves(const cpt_pair_work *w, competition *c, cpt_err *e)
{
    const cpt_dictionary *d = w->job->dictionary;
    const cpt_model_ops *ops = w->job->model->ops;
    const float *a = ops->session_embedding(c->base->session);
    for (int32_t r = 0; r < c->n_watched; r++)
        d->ops->gradient(d, c->watched[r], a, c->directions + (size_t)r * (size_t)d->dim);
    return ops->session_screen(c->base->session, c->n_watched, c->directions, w->n_differ,
                               c->changes, c->moves, e);
}

static int descending(const void *x, const void *y)
{
    const float a = *(const float *)x, b = *(const float *)y;
    return (a < b) - (a > b);
}

/* Adds the others whose pre-activations are nearest to that of the last of k places. */
static cpt_status choose_rivals(const cpt_pair_work *w, competition *c, cpt_err *e)
{
    const cpt_dictionary *d = w->job->dictionary;
    const int32_t n = d->n_concepts;
    float *sorted, last;
    if (d->max_active >= n) return CPT_OK; /* each concept for itself */
    cpt_status status = cpt_alloc(&sorted, (size_t)n, sizeof *sorted, e);
    if (status != CPT_OK) return status;
    memcpy(sorted, c->h, (size_t)n * sizeof *sorted);
    qsort(sorted, (size_t)n, sizeof *sorted, descending);
    last = sorted[d->max_active - 1];
    free(sorted);
    while (c->n_watched < 1 + RIVALS && c->n_watched < n) {
        int32_t nearest = -1;
        for (int32_t j = 0; j < n; j++) {
            bool known = false;
            for (int32_t r = 0; r < c->n_watched; r++) known = known || c->watched[r] == j;
            if (!known && (nearest < 0 || fabsf(c->h[j] - last) < fabsf(c->h[nearest] - last)))
                nearest = j;
        }
        c->watched[c->n_watched++] = nearest;
    }
    return CPT_OK;
}

/* Activation of the concept when change i moves the watched ones `length` times as far as estimated. */
static double activation_at(const cpt_pair_work *w, const competition *c, int32_t i, float length)
{
    const cpt_dictionary *d = w->job->dictionary;
    float kept[1 + RIVALS];
    for (int32_t r = 0; r < c->n_watched; r++) {
        kept[r] = c->h[c->watched[r]];
        c->h[c->watched[r]] += length * c->moves[(size_t)r * (size_t)w->n_differ + (size_t)i];
    }
    const double u = (double)d->ops->activation(d, w->job->concept, c->h);
    for (int32_t r = 0; r < c->n_watched; r++) c->h[c->watched[r]] = kept[r];
    return u;
}

/* Screen, foretold activation and priority of change i. */
static void foretell(cpt_pair_work *w, const competition *c, int32_t i)
{
    static const float lengths[] = {0.6f, 0.8f, 1, 1.25f, 1.6f};
    enum { LENGTHS = sizeof lengths / sizeof *lengths };
    const int32_t k = w->differ[i];
    const double unit = (w->job->options->mode == CPT_MODE_INSERT ? -1.0 : 1.0) / w->p.activation;
    w->screen[k] = -(double)c->moves[i] * unit;
    w->foretold[k] = w->screen[k];
    w->priority[k] = fabs(w->screen[k]);
    if (!c->h) return;
    w->priority[k] = 0;
    for (int l = 0; l < LENGTHS; l++) {
        const double drop = ((double)c->base->activation - activation_at(w, c, i, lengths[l])) * unit;
        if (lengths[l] == 1) w->foretold[k] = drop;
        w->priority[k] += fabs(drop) / LENGTHS;
    }
}

static cpt_status run_swap(cpt_pair_work *w, cpt_err *e)
{
    competition c;
    cpt_status status;
    CPT_TRY(competition_make(w, &c, e));
    if (c.h) CPT_TRY(choose_rivals(w, &c, e));
    CPT_TRY(estimate_moves(w, &c, e));
    for (int32_t i = 0; i < w->n_differ; i++) foretell(w, &c, i);
    if (w->job->options->readout == CPT_READOUT_PRE)
        for (int32_t i = 0; i < w->n_differ; i++)
            w->priority[w->differ[i]] = fabs(w->screen[w->differ[i]]);
done:
    competition_free(&c);
    return status;
}

cpt_status cpt_screen_run(cpt_pair_work *w, cpt_screen screen, cpt_err *e)
{
    if (screen == CPT_SCREEN_SWAP && w->job->model->ops->session_screen) return run_swap(w, e);
    return run_gradients(w, screen != CPT_SCREEN_GRADIENT, e);
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

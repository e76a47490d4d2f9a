/* label_change.c - cross-fitted probabilities of labels, before and after an edit.
 *
 * One fit per fold, on standardised columns with an intercept. Probabilities are the softmax of
 * linear scores; that of an edited cell is taken by the fit whose training cells it was not among.
 * Directions are spread over threads, each summing its cells in order. O(n (1 + n_null) n_labels
 * dim).
 *
 * Trap: standardisation is part of the fit: an edited cell goes through the mean and spread of that
 * fold's training cells. */
#include "evaluate/label_change.h"

#include "base/memory.h"
#include "base/random.h"
#include "concept/steering.h"
#include "evaluate/logistic.h"
#include "evaluate/probe.h"
#include "math/statistics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double TOLERANCE = 1e-5; /* of the gradient: far below what moves a probability */

typedef struct fold_fit {
    int32_t n_classes;
    int32_t *label_of;     /* [n_classes] */
    double *mean, *spread; /* [dim] */
    double *theta;         /* [n_classes][dim + 1] */
} fold_fit;

struct cpt_crossfit {
    int32_t n_folds, n_labels, dim;
    int32_t *fold; /* [n] of every cell, labelled or not */
    fold_fit fits[CPT_PROBE_MAX_FOLDS];
    int64_t n_judged;
    double accuracy, majority;
};

void cpt_crossfit_options_init(cpt_crossfit_options *o)
{
    *o = (cpt_crossfit_options){.n_folds = 5, .strength = 1, .max_cells = 20000};
}

void cpt_crossfit_free(cpt_crossfit *c)
{
    if (!c) return;
    for (int32_t f = 0; f < c->n_folds; f++) {
        free(c->fits[f].label_of);
        free(c->fits[f].mean);
        free(c->fits[f].spread);
        free(c->fits[f].theta);
    }
    free(c->fold);
    free(c);
}

/* ---- which cells take part ---- */

static bool row_finite(const float *row, int32_t dim)
{
    for (int32_t j = 0; j < dim; j++)
        if (!isfinite(row[j])) return false;
    return true;
}

static int by_number(const void *x, const void *y)
{
    const int64_t a = *(const int64_t *)x, b = *(const int64_t *)y;
    return (a > b) - (a < b);
}

/* Labelled cells with an embedding, thinned. */
static int64_t list_labelled(const cpt_crossfit_options *o, const float *a, int64_t n, int32_t dim,
                             const int32_t *labels, uint64_t seed, int64_t *cells)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < n; i++)
        if (labels[i] >= 0 && row_finite(a + i * dim, dim)) cells[kept++] = i;
    if (o->max_cells > 0 && kept > o->max_cells) {
        cpt_stream s;
        cpt_stream_init(&s, seed, CPT_RANDOM_STEER, (uint64_t)1 << 40);
        cpt_stream_shuffle_i64(&s, cells, kept);
        kept = o->max_cells;
        qsort(cells, (size_t)kept, sizeof *cells, by_number);
    }
    return kept;
}

/* Folds of the listed cells, then of all others: those of a donor follow the donor. */
static cpt_status deal(cpt_crossfit *c, int64_t n, int64_t n_listed, const int64_t *cells,
                       const int32_t *labels, const int32_t *groups, uint64_t seed, cpt_err *e)
{
    int32_t *values = NULL, *fold = NULL, *of_group = NULL, top = -1;
    cpt_status status;
    CPT_TRY(cpt_alloc(&values, (size_t)n_listed, sizeof *values, e));
    CPT_TRY(cpt_alloc(&fold, (size_t)n_listed, sizeof *fold, e));
    for (int64_t i = 0; i < n_listed; i++) values[i] = (groups ? groups : labels)[cells[i]];
    CPT_TRY(cpt_probe_deal(n_listed, groups ? NULL : values, groups ? values : NULL, seed, 0x57EE,
                           &c->n_folds, fold, e));
    for (int64_t i = 0; i < n; i++) {
        c->fold[i] = (int32_t)(i % c->n_folds);
        if (groups && groups[i] > top) top = groups[i];
    }
    CPT_TRY(cpt_alloc(&of_group, (size_t)top + 1, sizeof *of_group, e));
    for (int64_t i = 0; groups && i < n_listed; i++) of_group[values[i]] = fold[i] + 1;
    for (int64_t i = 0; groups && i < n; i++)
        if (groups[i] >= 0 && of_group[groups[i]]) c->fold[i] = of_group[groups[i]] - 1;
    for (int64_t i = 0; i < n_listed; i++) c->fold[cells[i]] = fold[i];
done:
    free(values);
    free(fold);
    free(of_group);
    return status;
}

/* ---- fits ---- */

static void standardise(fold_fit *f, const float *a, int32_t dim, int64_t n, const int64_t *cells)
{
    for (int32_t j = 0; j < dim; j++) {
        double sum = 0, square = 0;
        for (int64_t i = 0; i < n; i++) sum += a[cells[i] * dim + j];
        f->mean[j] = sum / (double)n;
        for (int64_t i = 0; i < n; i++) {
            const double d = a[cells[i] * dim + j] - f->mean[j];
            square += d * d;
        }
        f->spread[j] = square > 0 ? sqrt(square / (double)n) : 1;
    }
}

static void standard_row(const fold_fit *f, const float *from, int32_t dim, double *row)
{
    for (int32_t j = 0; j < dim; j++) row[j] = (from[j] - f->mean[j]) / f->spread[j];
    row[dim] = 1;
}

/* Labels of the cells numbered without gaps: y [n]; fills label_of and n_classes. */
static cpt_status number_classes(fold_fit *f, int64_t n, const int64_t *cells,
                                 const int32_t *labels, int32_t n_labels, int32_t *y, cpt_err *e)
{
    int32_t *class_of;
    cpt_status status = cpt_alloc(&class_of, (size_t)n_labels, sizeof *class_of, e);
    if (status) return status;
    for (int64_t i = 0; i < n; i++) class_of[labels[cells[i]]] = 1;
    for (int32_t k = 0; k < n_labels; k++)
        if (class_of[k]) {
            f->label_of[f->n_classes] = k;
            class_of[k] = f->n_classes++;
        }
    for (int64_t i = 0; i < n; i++) y[i] = class_of[labels[cells[i]]];
    free(class_of);
    return CPT_OK;
}

static cpt_status fit_fold(cpt_crossfit *c, fold_fit *f, const cpt_crossfit_options *o,
                           const float *a, int64_t n, const int64_t *cells, const int32_t *labels,
                           const cpt_context *ctx, cpt_err *e)
{
    const int32_t width = c->dim + 1;
    double *x = NULL;
    int32_t *y = NULL;
    cpt_status status;
    CPT_TRY(cpt_alloc(&f->label_of, (size_t)c->n_labels, sizeof *f->label_of, e));
    CPT_TRY(cpt_alloc(&f->mean, (size_t)c->dim, sizeof *f->mean, e));
    CPT_TRY(cpt_alloc(&f->spread, (size_t)c->dim, sizeof *f->spread, e));
    CPT_TRY(cpt_alloc(&x, (size_t)n * (size_t)width, sizeof *x, e));
    CPT_TRY(cpt_alloc(&y, (size_t)n, sizeof *y, e));
    standardise(f, a, c->dim, n, cells);
    for (int64_t i = 0; i < n; i++) standard_row(f, a + cells[i] * c->dim, c->dim, x + i * width);
    CPT_TRY(number_classes(f, n, cells, labels, c->n_labels, y, e));
    CPT_TRY(cpt_alloc(&f->theta, (size_t)f->n_classes * (size_t)width, sizeof *f->theta, e));
    const cpt_logistic problem = {.n = n,
                                  .width = width,
                                  .n_free = 1,
                                  .n_classes = f->n_classes,
                                  .x = x,
                                  .y = y,
                                  .strength = o->strength,
                                  .tolerance = TOLERANCE};
    if (f->n_classes > 1) status = cpt_logistic_fit(&problem, f->theta, ctx, e);
done:
    free(x);
    free(y);
    return status;
}

static cpt_status fit_all(cpt_crossfit *c, const cpt_crossfit_options *o, const float *a,
                          int64_t n_listed, const int64_t *cells, const int32_t *labels,
                          const cpt_context *ctx, cpt_err *e)
{
    int64_t *train;
    cpt_status status = cpt_alloc(&train, (size_t)n_listed, sizeof *train, e);
    for (int32_t f = 0; f < c->n_folds && status == CPT_OK; f++) {
        int64_t n = 0;
        for (int64_t i = 0; i < n_listed; i++)
            if (c->fold[cells[i]] != f) train[n++] = cells[i];
        status = fit_fold(c, &c->fits[f], o, a, n, train, labels, ctx, e);
        cpt_progress(ctx, "label probe", f + 1, c->n_folds, NULL);
    }
    free(train);
    return status;
}

static int32_t most_probable(const double *p, int32_t n)
{
    int32_t best = 0;
    for (int32_t k = 1; k < n; k++)
        if (p[k] > p[best]) best = k;
    return best;
}

static cpt_status judge(cpt_crossfit *c, const float *a, int64_t n_listed, const int64_t *cells,
                        const int32_t *labels, cpt_err *e)
{
    double *p = NULL;
    int64_t *sizes = NULL, right = 0, commonest = 0;
    cpt_status status;
    CPT_TRY(cpt_alloc(&p, (size_t)c->n_labels, sizeof *p, e));
    CPT_TRY(cpt_alloc(&sizes, (size_t)c->n_labels, sizeof *sizes, e));
    for (int64_t i = 0; i < n_listed; i++) {
        const int32_t label = labels[cells[i]];
        cpt_crossfit_probabilities(c, cells[i], a + cells[i] * c->dim, p);
        right += most_probable(p, c->n_labels) == label;
        if (++sizes[label] > commonest) commonest = sizes[label];
    }
    c->n_judged = n_listed;
    c->accuracy = (double)right / (double)n_listed;
    c->majority = (double)commonest / (double)n_listed;
done:
    free(p);
    free(sizes);
    return status;
}

static int32_t n_distinct_up_to_2(int64_t n, const int64_t *cells, const int32_t *values)
{
    for (int64_t i = 1; i < n; i++)
        if (values[cells[i]] != values[cells[0]]) return 2;
    return n > 0;
}

static cpt_status check_cells(const cpt_crossfit_options *o, int64_t n, const int64_t *cells,
                              const int32_t *labels, const int32_t *groups, cpt_err *e)
{
    if (o->n_folds < 2 || o->n_folds > CPT_PROBE_MAX_FOLDS || !(o->strength > 0))
        return cpt_fail(e, CPT_ERR_USAGE, "a cross-fitted probe has 2 to %d folds; %d were given",
                        CPT_PROBE_MAX_FOLDS, o->n_folds);
    if (n_distinct_up_to_2(n, cells, labels) < 2 || n < 2 * (int64_t)o->n_folds)
        return cpt_fail(e, CPT_ERR_DATA,
                        "%lld cells with a label, of %s: too few for a probe with %d folds",
                        (long long)n, n_distinct_up_to_2(n, cells, labels) < 2 ? "one kind" : "two",
                        o->n_folds);
    if (groups && n_distinct_up_to_2(n, cells, groups) < 2)
        return cpt_fail(e, CPT_ERR_DATA,
                        "all labelled cells are of one donor: a probe that is "
                        "tested on other donors needs two");
    return CPT_OK;
}

cpt_status cpt_crossfit_new(const cpt_crossfit_options *o, const float *a, int64_t n, int32_t dim,
                            const int32_t *labels, int32_t n_labels, const int32_t *groups,
                            cpt_crossfit **out, const cpt_context *ctx, cpt_err *e)
{
    const uint64_t seed = ctx ? ctx->seed : 0;
    cpt_crossfit *c = NULL;
    int64_t *cells = NULL;
    cpt_status status;
    *out = NULL;
    CPT_TRY(cpt_alloc(&cells, (size_t)n, sizeof *cells, e));
    const int64_t n_listed = list_labelled(o, a, n, dim, labels, seed, cells);
    CPT_TRY(check_cells(o, n_listed, cells, labels, groups, e));
    CPT_TRY(cpt_alloc(&c, 1, sizeof *c, e));
    c->n_folds = o->n_folds;
    c->n_labels = n_labels;
    c->dim = dim;
    CPT_TRY(cpt_alloc(&c->fold, (size_t)n, sizeof *c->fold, e));
    CPT_TRY(deal(c, n, n_listed, cells, labels, groups, seed, e));
    CPT_TRY(fit_all(c, o, a, n_listed, cells, labels, ctx, e));
    status = judge(c, a, n_listed, cells, labels, e);
done:
    free(cells);
    if (status == CPT_OK) *out = c;
    else cpt_crossfit_free(c);
    return status;
}

void cpt_crossfit_accuracy(const cpt_crossfit *c, int64_t *n, double *accuracy, double *majority)
{
    *n = c->n_judged;
    *accuracy = c->accuracy;
    *majority = c->majority;
}

/* ---- probabilities ---- */

void cpt_crossfit_probabilities(const cpt_crossfit *c, int64_t cell, const float *embedding,
                                double *probabilities)
{
    const fold_fit *f = &c->fits[c->fold[cell]];
    double top = -INFINITY, sum = 0;
    memset(probabilities, 0, (size_t)c->n_labels * sizeof *probabilities);
    for (int32_t k = 0; k < f->n_classes; k++) {
        const double *theta = f->theta + (int64_t)k * (c->dim + 1);
        double score = theta[c->dim];
        for (int32_t j = 0; j < c->dim; j++)
            score += theta[j] * ((embedding[j] - f->mean[j]) / f->spread[j]);
        probabilities[f->label_of[k]] = score;
        top = score > top ? score : top;
    }
    for (int32_t k = 0; k < f->n_classes; k++)
        sum += probabilities[f->label_of[k]] = exp(probabilities[f->label_of[k]] - top);
    for (int32_t k = 0; k < f->n_classes; k++) probabilities[f->label_of[k]] /= sum;
}

/* ---- changes ---- */

typedef struct edit {
    const cpt_crossfit *c;
    const float *a;
    int64_t n;
    const int64_t *cells;
    const float *before, *after;
} edit;

/* The truth: all moments. */
static cpt_status change_labels(const edit *x, const float *direction, cpt_label_change *out,
                                cpt_err *e)
{
    const int32_t labels = x->c->n_labels, dim = x->c->dim;
    const double n = (double)x->n;
    double *p = NULL, *q;
    float *edited = NULL;
    cpt_status status;
    CPT_TRY(cpt_alloc(&p, 2 * (size_t)labels, sizeof *p, e));
    CPT_TRY(cpt_alloc(&edited, (size_t)dim, sizeof *edited, e));
    q = p + labels;
    for (int64_t i = 0; i < x->n; i++) {
        const float *own = x->a + x->cells[i] * dim;
        cpt_steering_edit(1, dim, own, &x->before[i], &x->after[i], direction, edited);
        cpt_crossfit_probabilities(x->c, x->cells[i], own, p);
        cpt_crossfit_probabilities(x->c, x->cells[i], edited, q);
        for (int32_t k = 0; k < labels; k++) {
            out[k].before += p[k] / n;
            out[k].after += q[k] / n;
            out[k].change += (q[k] - p[k]) / n;
            out[k].sd += (q[k] - p[k]) * (q[k] - p[k]);
        }
        out[most_probable(p, labels)].named_before += 1 / n;
        out[most_probable(q, labels)].named_after += 1 / n;
    }
    for (int32_t k = 0; k < labels; k++)
        out[k].sd =
            x->n > 1 ? sqrt(fmax(0, out[k].sd - n * out[k].change * out[k].change) / (n - 1)) : NAN;
done:
    free(p);
    free(edited);
    return status;
}

/* Mean changes [n_labels] along one direction. */
static cpt_status null_changes(const edit *x, const float *base, const float *direction,
                               double *mean, cpt_err *e)
{
    const int32_t labels = x->c->n_labels, dim = x->c->dim;
    double *q = NULL;
    float *edited = NULL;
    cpt_status status;
    CPT_TRY(cpt_alloc(&q, (size_t)labels, sizeof *q, e));
    CPT_TRY(cpt_alloc(&edited, (size_t)dim, sizeof *edited, e));
    for (int64_t i = 0; i < x->n; i++) {
        cpt_steering_edit(1, dim, x->a + x->cells[i] * dim, &x->before[i], &x->after[i], direction,
                          edited);
        cpt_crossfit_probabilities(x->c, x->cells[i], edited, q);
        for (int32_t k = 0; k < labels; k++)
            mean[k] += (q[k] - (double)base[i * labels + k]) / (double)x->n;
    }
done:
    free(q);
    free(edited);
    return status;
}

/* Probabilities of the cells as they are, [n][n_labels]; single precision halves the memory. */
static cpt_status base_probabilities(const edit *x, float **out, cpt_err *e)
{
    const int32_t labels = x->c->n_labels;
    double *p = NULL;
    cpt_status status;
    CPT_TRY(cpt_alloc(out, (size_t)x->n * (size_t)labels, sizeof **out, e));
    CPT_TRY(cpt_alloc(&p, (size_t)labels, sizeof *p, e));
    for (int64_t i = 0; i < x->n; i++) {
        cpt_crossfit_probabilities(x->c, x->cells[i], x->a + x->cells[i] * x->c->dim, p);
        for (int32_t k = 0; k < labels; k++) (*out)[i * labels + k] = (float)p[k];
    }
done:
    free(p);
    return status;
}

static cpt_status compare_with_null(int32_t n_labels, int32_t n_null, const double *null,
                                    cpt_label_change *out, cpt_err *e)
{
    double *p = NULL, *q = NULL;
    cpt_status status;
    CPT_TRY(cpt_alloc(&p, (size_t)n_labels, sizeof *p, e));
    CPT_TRY(cpt_alloc(&q, (size_t)n_labels, sizeof *q, e));
    for (int32_t k = 0; k < n_labels; k++) {
        double square = 0;
        int32_t at_least = 0, at_most = 0;
        out[k].null_mean = n_null ? 0 : NAN;
        for (int32_t d = 0; d < n_null; d++) {
            const double x = null[(int64_t)d * n_labels + k];
            out[k].null_mean += x / n_null;
            at_least += x >= out[k].change;
            at_most += x <= out[k].change;
        }
        for (int32_t d = 0; d < n_null; d++) {
            const double x = null[(int64_t)d * n_labels + k] - out[k].null_mean;
            square += x * x;
        }
        out[k].null_sd = n_null > 1 ? sqrt(square / (n_null - 1)) : NAN;
        p[k] = n_null ? cpt_rank_p(at_least, at_most, n_null) : NAN;
    }
    CPT_TRY(cpt_bh(n_labels, p, 0, q, e));
    for (int32_t k = 0; k < n_labels; k++) {
        out[k].label = k;
        out[k].p = p[k];
        out[k].q = q[k];
    }
done:
    free(p);
    free(q);
    return status;
}

cpt_status cpt_label_changes(const cpt_crossfit *c, const float *a, int64_t n, const int64_t *cells,
                             const float *before, const float *after, const float *direction,
                             int32_t n_null, const float *directions, cpt_label_change *out,
                             const cpt_context *ctx, cpt_err *e)
{
    const edit x = {c, a, n, cells, before, after};
    float *base = NULL;
    double *null = NULL;
    cpt_status status;
    if (n < 1) return cpt_fail(e, CPT_ERR_DATA, "no cell to judge");
    for (int32_t k = 0; k < c->n_labels; k++) out[k] = (cpt_label_change){0};
    CPT_TRY(change_labels(&x, direction, out, e));
    CPT_TRY(base_probabilities(&x, &base, e));
    CPT_TRY(cpt_alloc(&null, (size_t)n_null * (size_t)c->n_labels, sizeof *null, e));
#pragma omp parallel for schedule(dynamic) num_threads(cpt_threads(ctx))
    for (int32_t d = 0; d < n_null; d++) {
        cpt_err err;
        cpt_status mine = cpt_check_stop(ctx, &err);
        if (mine == CPT_OK)
            mine = null_changes(&x, base, directions + (int64_t)d * c->dim,
                                null + (int64_t)d * c->n_labels, &err);
        if (mine != CPT_OK) {
#pragma omp critical(cpt_label_change_status)
            {
                status = mine;
                if (e) *e = err;
            }
        }
    }
    if (status == CPT_OK) status = compare_with_null(c->n_labels, n_null, null, out, e);
done:
    free(base);
    free(null);
    return status;
}

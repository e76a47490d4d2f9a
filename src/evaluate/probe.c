/* probe.c - nested cross-validation of a linear probe.
 *
 * For each outer fold: the columns are chosen on the training cells; each inner fold fits all
 * strengths on its own training part, each starting from the last; the strength with the most cells
 * right over all inner folds is fitted on all training cells; the outer fold is predicted once.
 * Columns are standardised by the cells of each fit. n_folds * (n_inner * n_strengths + 1) fits.
 *
 * Traps. Labels that do not occur in a training part have no finite intercept: classes are numbered
 * anew for each fit. The inner folds choose only the strength: that they share the choice of
 * columns with their test part favours no outer fold. */
#include "evaluate/probe.h"

#include "base/each.h"
#include "base/memory.h"
#include "base/random.h"
#include "evaluate/logistic.h"
#include "math/blas.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double TOLERANCE = 1e-5; /* of the gradient: far below what moves a prediction */

void cpt_probe_options_init(cpt_probe_options *o)
{
    *o = (cpt_probe_options){.n_folds = 5,
                             .n_inner = 3,
                             .max_cells = 20000,
                             .n_strengths = 6,
                             .strengths = {0.001, 0.01, 0.1, 1, 10, 100}};
}

/* ---- folds ---- */

typedef struct sized {
    int64_t size;
    int32_t id;
} sized;

static int by_size(const void *x, const void *y)
{
    const sized *a = x, *b = y;
    if (a->size != b->size) return a->size > b->size ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

static int32_t largest_of(int64_t n, const int32_t *values)
{
    int32_t top = -1;
    for (int64_t i = 0; i < n; i++) top = values[i] > top ? values[i] : top;
    return top;
}

static cpt_status deal_groups(int64_t n, const int32_t *groups, int32_t *n_folds, int32_t *fold,
                              cpt_err *e)
{
    cpt_status status = CPT_OK;
    const int32_t n_ids = largest_of(n, groups) + 1;
    int64_t held[CPT_PROBE_MAX_FOLDS] = {0};
    int32_t n_groups = 0, *fold_of = NULL;
    sized *order = NULL;
    CPT_TRY(cpt_alloc(&order, (size_t)n_ids, sizeof *order, e));
    CPT_TRY(cpt_alloc(&fold_of, (size_t)n_ids, sizeof *fold_of, e));
    for (int32_t g = 0; g < n_ids; g++) order[g].id = g;
    for (int64_t i = 0; i < n; i++) order[groups[i]].size++;
    qsort(order, (size_t)n_ids, sizeof *order, by_size);
    while (n_groups < n_ids && order[n_groups].size > 0) n_groups++;
    if (*n_folds > n_groups) *n_folds = n_groups;
    for (int32_t g = 0; g < n_groups; g++) {
        int32_t least = 0;
        for (int32_t f = 1; f < *n_folds; f++)
            if (held[f] < held[least]) least = f;
        held[least] += order[g].size;
        fold_of[order[g].id] = least;
    }
    for (int64_t i = 0; i < n; i++) fold[i] = fold_of[groups[i]];
done:
    free(order);
    free(fold_of);
    return status;
}

cpt_status cpt_probe_deal(int64_t n, const int32_t *labels, const int32_t *groups, uint64_t seed,
                          uint64_t turn, int32_t *n_folds, int32_t *fold, cpt_err *e)
{
    if (groups) return deal_groups(n, groups, n_folds, fold, e);
    cpt_status status = CPT_OK;
    const int32_t n_labels = largest_of(n, labels) + 1;
    int64_t *order = NULL, *dealt = NULL, n_before = 0;
    cpt_stream s;
    CPT_TRY(cpt_alloc(&order, (size_t)n, sizeof *order, e));
    CPT_TRY(cpt_alloc(&dealt, (size_t)n_labels + 1, sizeof *dealt, e));
    for (int64_t i = 0; i < n; i++) order[i] = i;
    cpt_stream_init(&s, seed, CPT_RANDOM_FOLDS, turn);
    cpt_stream_shuffle_i64(&s, order, n);
    for (int64_t i = 0; i < n; i++) dealt[labels[i]]++;
    for (int32_t k = 0; k < n_labels; k++) { /* each label goes on where the one before ended */
        const int64_t size = dealt[k];
        dealt[k] = n_before;
        n_before += size;
    }
    for (int64_t i = 0; i < n; i++)
        fold[order[i]] = (int32_t)(dealt[labels[order[i]]]++ % *n_folds);
done:
    free(order);
    free(dealt);
    return status;
}

/* ---- one fit and its test cells ---- */

typedef struct probe {
    const cpt_probe_options *o;
    const float *x;
    int32_t dim, n_labels;
    const int32_t *labels, *groups; /* of all cells */
    const cpt_context *ctx;
} probe;

typedef struct part {
    int64_t n;
    int64_t *cells;
} part;

typedef struct columns {
    int32_t n;
    int32_t *list;         /* [n] columns of x */
    double *mean, *spread; /* [n] of the training cells; spread 1 where there is none */
} columns;

static void standardise(const probe *p, const part *train, columns *c)
{
    for (int32_t j = 0; j < c->n; j++) {
        double sum = 0, square = 0;
        for (int64_t i = 0; i < train->n; i++) sum += p->x[train->cells[i] * p->dim + c->list[j]];
        c->mean[j] = sum / (double)train->n;
        for (int64_t i = 0; i < train->n; i++) {
            const double d = p->x[train->cells[i] * p->dim + c->list[j]] - c->mean[j];
            square += d * d;
        }
        c->spread[j] = square > 0 ? sqrt(square / (double)train->n) : 1;
    }
}

static void standard_row(const probe *p, const columns *c, int64_t cell, double *row)
{
    for (int32_t j = 0; j < c->n; j++)
        row[j] = (p->x[cell * p->dim + c->list[j]] - c->mean[j]) / c->spread[j];
    row[c->n] = 1;
}

/* Labels of the training cells as classes 0 .. without gaps; label_of [n_labels]. Returns how many.
 */
static int32_t number_classes(const probe *p, const part *train, int32_t *y, int32_t *class_of,
                              int32_t *label_of)
{
    int32_t n = 0;
    memset(class_of, 0, (size_t)p->n_labels * sizeof *class_of);
    for (int64_t i = 0; i < train->n; i++) class_of[p->labels[train->cells[i]]] = 1;
    for (int32_t k = 0; k < p->n_labels; k++)
        if (class_of[k]) {
            label_of[n] = k;
            class_of[k] = n++;
        }
    for (int64_t i = 0; i < train->n; i++) y[i] = class_of[p->labels[train->cells[i]]];
    return n;
}

/* Adds the test cells to confusion [n_labels][n_labels] (true, predicted). */
static void predict(const probe *p, const columns *c, int32_t n_classes, const int32_t *label_of,
                    const double *theta, const part *test, double *row, int64_t *confusion)
{
    for (int64_t i = 0; i < test->n; i++) {
        int32_t best = 0;
        double top = -INFINITY;
        standard_row(p, c, test->cells[i], row);
        for (int32_t k = 0; k < n_classes; k++) {
            double score = 0;
            for (int32_t j = 0; j <= c->n; j++)
                score += theta[(int64_t)k * (c->n + 1) + j] * row[j];
            if (score > top) {
                top = score;
                best = k;
            }
        }
        confusion[(int64_t)p->labels[test->cells[i]] * p->n_labels + label_of[best]]++;
    }
}

/* Fits each strength on `train`, each from the last, and predicts `test`: confusions [n_strengths]
 * [n_labels^2], added to. */
static cpt_status fit_and_predict(const probe *p, columns *c, const part *train, const part *test,
                                  int32_t n_strengths, const double *strengths, int64_t *confusions,
                                  cpt_err *e)
{
    cpt_status status = CPT_OK;
    const int32_t width = c->n + 1;
    double *x = NULL, *theta = NULL, *row = NULL;
    int32_t *y = NULL, *class_of = NULL, *label_of = NULL;
    CPT_TRY(cpt_alloc(&x, (size_t)train->n * (size_t)width, sizeof *x, e));
    CPT_TRY(cpt_alloc(&theta, (size_t)p->n_labels * (size_t)width, sizeof *theta, e));
    CPT_TRY(cpt_alloc(&row, (size_t)width, sizeof *row, e));
    CPT_TRY(cpt_alloc(&y, (size_t)train->n, sizeof *y, e));
    CPT_TRY(cpt_alloc(&class_of, (size_t)p->n_labels, sizeof *class_of, e));
    CPT_TRY(cpt_alloc(&label_of, (size_t)p->n_labels, sizeof *label_of, e));
    standardise(p, train, c);
    for (int64_t i = 0; i < train->n; i++) standard_row(p, c, train->cells[i], x + i * width);
    cpt_logistic problem = {
        .n = train->n, .width = width, .n_free = 1, .x = x, .y = y, .tolerance = TOLERANCE};
    problem.n_classes = number_classes(p, train, y, class_of, label_of);
    for (int32_t s = 0; s < n_strengths; s++) {
        problem.strength = strengths[s];
        if (problem.n_classes > 1) CPT_TRY(cpt_logistic_fit(&problem, theta, p->ctx, e));
        predict(p, c, problem.n_classes, label_of, theta, test, row,
                confusions + (int64_t)s * p->n_labels * p->n_labels);
    }
done:
    free(x);
    free(theta);
    free(row);
    free(y);
    free(class_of);
    free(label_of);
    return status;
}

/* ---- choices on the training cells ---- */

static void split_by_fold(int64_t n, const int64_t *cells, const int32_t *fold, int32_t test_fold,
                          part *train, part *test)
{
    train->n = test->n = 0;
    for (int64_t i = 0; i < n; i++) {
        part *to = fold[i] == test_fold ? test : train;
        to->cells[to->n++] = cells[i];
    }
}

static int64_t n_correct(const probe *p, const int64_t *confusion)
{
    int64_t sum = 0;
    for (int64_t k = 0; k < p->n_labels; k++) sum += confusion[k * p->n_labels + k];
    return sum;
}

/* The labels, or groups, of a part, in its order. */
static void gather(const part *of, const int32_t *values, int32_t *to)
{
    for (int64_t i = 0; i < of->n; i++) to[i] = values[of->cells[i]];
}

static int32_t n_distinct_up_to_2(int64_t n, const int32_t *values)
{
    for (int64_t i = 1; i < n; i++)
        if (values[i] != values[0]) return 2;
    return n > 0;
}

static cpt_status inner_folds(const probe *p, const part *train, uint64_t turn, int32_t *n_folds,
                              int32_t *fold, int32_t *scratch, cpt_err *e)
{
    *n_folds = p->o->n_inner;
    if (p->groups) {
        gather(train, p->groups, scratch);
        if (n_distinct_up_to_2(train->n, scratch) == 2)
            return cpt_probe_deal(train->n, NULL, scratch, 0, turn, n_folds, fold, e);
    }
    gather(train, p->labels, scratch); /* one group is left: by cells */
    return cpt_probe_deal(train->n, scratch, NULL, p->ctx ? p->ctx->seed : 0, turn, n_folds, fold,
                          e);
}

static cpt_status choose_strength(const probe *p, columns *c, const part *train, uint64_t turn,
                                  double *out, cpt_err *e)
{
    cpt_status status = CPT_OK;
    const int64_t size = (int64_t)p->n_labels * p->n_labels;
    int32_t n_folds, *fold = NULL, *scratch = NULL, best = 0;
    int64_t *confusions = NULL;
    part inner = {0}, held = {0};
    *out = p->o->strengths[0];
    if (p->o->n_strengths == 1) return CPT_OK;
    CPT_TRY(cpt_alloc(&fold, (size_t)train->n, sizeof *fold, e));
    CPT_TRY(cpt_alloc(&scratch, (size_t)train->n, sizeof *scratch, e));
    CPT_TRY(cpt_alloc(&confusions, (size_t)(p->o->n_strengths * size), sizeof *confusions, e));
    CPT_TRY(cpt_alloc(&inner.cells, (size_t)train->n, sizeof *inner.cells, e));
    CPT_TRY(cpt_alloc(&held.cells, (size_t)train->n, sizeof *held.cells, e));
    CPT_TRY(inner_folds(p, train, turn, &n_folds, fold, scratch, e));
    for (int32_t f = 0; f < n_folds; f++) {
        split_by_fold(train->n, train->cells, fold, f, &inner, &held);
        if (inner.n == 0) continue;
        CPT_TRY(fit_and_predict(p, c, &inner, &held, p->o->n_strengths, p->o->strengths, confusions,
                                e));
    }
    for (int32_t s = 1; s < p->o->n_strengths; s++)
        if (n_correct(p, confusions + s * size) > n_correct(p, confusions + best * size)) best = s;
    *out = p->o->strengths[best];
done:
    free(fold);
    free(scratch);
    free(confusions);
    free(inner.cells);
    free(held.cells);
    return status;
}

typedef struct scored {
    double score;
    int32_t column;
} scored;

static int by_score(const void *x, const void *y)
{
    const scored *a = x, *b = y;
    if (a->score != b->score) return a->score > b->score ? -1 : 1;
    return a->column < b->column ? -1 : a->column > b->column;
}

/* Spread between labels over spread within: orders columns as F does. */
static double between_within(const probe *p, const part *train, int32_t column, double *sums,
                             int64_t *sizes)
{
    double mean = 0, between = 0, total = 0;
    memset(sums, 0, (size_t)p->n_labels * sizeof *sums);
    memset(sizes, 0, (size_t)p->n_labels * sizeof *sizes);
    for (int64_t i = 0; i < train->n; i++) mean += p->x[train->cells[i] * p->dim + column];
    mean /= (double)train->n;
    for (int64_t i = 0; i < train->n; i++) {
        const double d = p->x[train->cells[i] * p->dim + column] - mean;
        sums[p->labels[train->cells[i]]] += d;
        sizes[p->labels[train->cells[i]]]++;
        total += d * d;
    }
    for (int32_t k = 0; k < p->n_labels; k++)
        if (sizes[k]) between += sums[k] * sums[k] / (double)sizes[k];
    return !(total > 0) ? 0 : between >= total ? INFINITY : between / (total - between);
}

static cpt_status choose_columns(const probe *p, const part *train, columns *c, cpt_err *e)
{
    cpt_status status = CPT_OK;
    scored *all = NULL;
    double *sums = NULL;
    int64_t *sizes = NULL;
    for (int32_t j = 0; j < c->n; j++) c->list[j] = j;
    if (c->n == p->dim) return CPT_OK;
    CPT_TRY(cpt_alloc(&all, (size_t)p->dim, sizeof *all, e));
    CPT_TRY(cpt_alloc(&sums, (size_t)p->n_labels, sizeof *sums, e));
    CPT_TRY(cpt_alloc(&sizes, (size_t)p->n_labels, sizeof *sizes, e));
    for (int32_t j = 0; j < p->dim; j++)
        all[j] = (scored){between_within(p, train, j, sums, sizes), j};
    qsort(all, (size_t)p->dim, sizeof *all, by_score);
    for (int32_t j = 0; j < c->n; j++) c->list[j] = all[j].column;
done:
    free(all);
    free(sums);
    free(sizes);
    return status;
}

/* ---- scores ---- */

static void score_fold(const probe *p, const int64_t *confusion, const part *train,
                       const part *test, cpt_probe_fold *out, int64_t *sizes)
{
    const int64_t k = p->n_labels;
    int32_t n_present = 0;
    int64_t commonest = 0, n_named = 0;
    double f1 = 0;
    memset(sizes, 0, (size_t)k * sizeof *sizes);
    for (int64_t i = 0; i < train->n; i++) sizes[p->labels[train->cells[i]]]++;
    for (int64_t c = 1; c < k; c++) commonest = sizes[c] > sizes[commonest] ? c : commonest;
    for (int64_t c = 0; c < k; c++) {
        int64_t truth = 0, named = 0;
        for (int64_t other = 0; other < k; other++) {
            truth += confusion[c * k + other];
            named += confusion[other * k + c];
        }
        if (c == commonest) n_named = truth;
        if (truth + named == 0) continue;
        f1 += 2.0 * (double)confusion[c * k + c] / (double)(truth + named);
        n_present++;
    }
    out->n_train = train->n;
    out->n_test = test->n;
    out->accuracy = (double)n_correct(p, confusion) / (double)test->n;
    out->macro_f1 = f1 / n_present;
    out->majority = (double)n_named / (double)test->n;
}

static void summarise(cpt_probe_result *r)
{
    double accuracy2 = 0, f1_2 = 0;
    for (int32_t f = 0; f < r->n_folds; f++) {
        r->accuracy += r->folds[f].accuracy / r->n_folds;
        r->macro_f1 += r->folds[f].macro_f1 / r->n_folds;
        r->majority += r->folds[f].majority / r->n_folds;
    }
    for (int32_t f = 0; f < r->n_folds; f++) {
        accuracy2 += (r->folds[f].accuracy - r->accuracy) * (r->folds[f].accuracy - r->accuracy);
        f1_2 += (r->folds[f].macro_f1 - r->macro_f1) * (r->folds[f].macro_f1 - r->macro_f1);
    }
    r->accuracy_sd = sqrt(accuracy2 / (r->n_folds - 1));
    r->macro_f1_sd = sqrt(f1_2 / (r->n_folds - 1));
}

/* What outer folds are made of. */
typedef struct folds {
    const probe *p;
    const part *all;
    const int32_t *fold; /* [all->n] */
    cpt_probe_result *out;
} folds;

/* Outer fold f, with memory of its own. */
static cpt_status probe_fold(void *data, int32_t f, cpt_err *e)
{
    const folds *of = data;
    const probe *p = of->p;
    const part *all = of->all;
    cpt_probe_fold *result = &of->out->folds[f];
    cpt_status status = CPT_OK;
    columns c = {.n = p->o->n_best > 0 && p->o->n_best < p->dim ? p->o->n_best : p->dim};
    part train = {0}, test = {0};
    int64_t *confusion = NULL, *sizes = NULL;
    CPT_TRY(cpt_alloc(&c.list, (size_t)c.n, sizeof *c.list, e));
    CPT_TRY(cpt_alloc(&c.mean, (size_t)c.n, sizeof *c.mean, e));
    CPT_TRY(cpt_alloc(&c.spread, (size_t)c.n, sizeof *c.spread, e));
    CPT_TRY(cpt_alloc(&train.cells, (size_t)all->n, sizeof *train.cells, e));
    CPT_TRY(cpt_alloc(&test.cells, (size_t)all->n, sizeof *test.cells, e));
    CPT_TRY(cpt_alloc(&confusion, (size_t)p->n_labels * (size_t)p->n_labels, sizeof *confusion, e));
    CPT_TRY(cpt_alloc(&sizes, (size_t)p->n_labels, sizeof *sizes, e));
    split_by_fold(all->n, all->cells, of->fold, f, &train, &test);
    CPT_TRY(choose_columns(p, &train, &c, e));
    CPT_TRY(choose_strength(p, &c, &train, (uint64_t)f + 1, &result->strength, e));
    CPT_TRY(fit_and_predict(p, &c, &train, &test, 1, &result->strength, confusion, e));
    score_fold(p, confusion, &train, &test, result, sizes);
done:
    free(c.list);
    free(c.mean);
    free(c.spread);
    free(train.cells);
    free(test.cells);
    free(confusion);
    free(sizes);
    return status;
}

/* Small fits run in one thread each (evaluate/logistic.c), and several folds at once. */
static bool is_small(const probe *p, const part *all)
{
    static const double SMALL = 1e7;
    return (double)all->n * p->dim * p->n_labels < SMALL;
}

static cpt_status outer_folds(const probe *p, const part *all, const int32_t *fold, cpt_probe_result *out, cpt_err *e)
{
    folds of = {p, all, fold, out};
    const int n_threads = is_small(p, all) ? cpt_threads(p->ctx) : 1;
    cpt_blas_single_thread();
    const cpt_status status = cpt_each(out->n_folds, "probing", probe_fold, &of, n_threads, p->ctx, e);
    if (status == CPT_OK) summarise(out);
    return status;
}

/* ---- what is asked, and which cells ---- */

static cpt_status check_options(const cpt_probe_options *o, cpt_err *e)
{
    if (o->n_folds < 2 || o->n_folds > CPT_PROBE_MAX_FOLDS || o->n_inner < 2 ||
        o->n_inner > CPT_PROBE_MAX_FOLDS)
        return cpt_fail(e, CPT_ERR_USAGE,
                        "a probe takes 2 to %d folds; %d outer and %d inner ones were asked "
                        "for",
                        CPT_PROBE_MAX_FOLDS, o->n_folds, o->n_inner);
    if (o->n_strengths < 1 || o->n_strengths > CPT_PROBE_MAX_STRENGTHS || o->n_best < 0 ||
        o->max_cells < 0)
        return cpt_fail(e, CPT_ERR_USAGE,
                        "a probe takes 1 to %d strengths, and no negative number of columns or "
                        "cells; %d, %d and %lld were asked for",
                        CPT_PROBE_MAX_STRENGTHS, o->n_strengths, o->n_best,
                        (long long)o->max_cells);
    for (int32_t s = 0; s < o->n_strengths; s++)
        if (!(o->strengths[s] > (s ? o->strengths[s - 1] : 0)) || isinf(o->strengths[s]))
            return cpt_fail(e, CPT_ERR_USAGE,
                            "strengths of a probe must be above 0 and ascending; number %d is "
                            "%g",
                            s + 1, o->strengths[s]);
    return CPT_OK;
}

static int by_number(const void *x, const void *y)
{
    const int64_t *a = x, *b = y;
    return *a < *b ? -1 : *a > *b;
}

/* Labelled cells, thinned at random to max_cells. */
static cpt_status list_cells(const probe *p, int64_t n, part *all, cpt_err *e)
{
    cpt_status status = cpt_alloc(&all->cells, (size_t)n, sizeof *all->cells, e);
    if (status != CPT_OK) return status;
    for (int64_t i = 0; i < n; i++) {
        if (p->labels[i] < -1 || p->labels[i] >= p->n_labels)
            return cpt_fail(e, CPT_ERR_USAGE,
                            "label %d of cell %lld (counted from 0) is not one of %d", p->labels[i],
                            (long long)i, p->n_labels);
        if (p->labels[i] < 0) continue;
        if (p->groups && (p->groups[i] < 0 || p->groups[i] >= n))
            return cpt_fail(e, CPT_ERR_USAGE,
                            "group %d of cell %lld (counted from 0) is not a number from 0 to "
                            "the number of cells",
                            p->groups[i], (long long)i);
        for (int32_t j = 0; j < p->dim; j++)
            if (!isfinite(p->x[i * p->dim + j]))
                return cpt_fail(e, CPT_ERR_DATA,
                                "column %d of cell %lld (both counted from 0) is not finite; "
                                "leave the cell out of the probe",
                                j, (long long)i);
        all->cells[all->n++] = i;
    }
    if (p->o->max_cells > 0 && all->n > p->o->max_cells) {
        cpt_stream s;
        cpt_stream_init(&s, p->ctx ? p->ctx->seed : 0, CPT_RANDOM_FOLDS, 0);
        cpt_stream_shuffle_i64(&s, all->cells, all->n);
        all->n = p->o->max_cells;
        qsort(all->cells, (size_t)all->n, sizeof *all->cells, by_number);
    }
    return CPT_OK;
}

static cpt_status check_cells(const probe *p, const part *all, cpt_probe_result *out,
                              int32_t *scratch, cpt_err *e)
{
    gather(all, p->labels, scratch);
    if (n_distinct_up_to_2(all->n, scratch) < 2)
        return cpt_fail(e, CPT_ERR_DATA,
                        "a probe needs cells of at least two labels; the %lld labelled cells have "
                        "%d",
                        (long long)all->n, n_distinct_up_to_2(all->n, scratch));
    if (all->n < 2 * (int64_t)p->o->n_folds)
        return cpt_fail(e, CPT_ERR_DATA, "%lld labelled cells are too few for %d folds",
                        (long long)all->n, p->o->n_folds);
    for (int32_t k = 0; k < p->n_labels; k++) {
        int64_t i = 0;
        while (i < all->n && scratch[i] != k) i++;
        out->n_labels += i < all->n;
    }
    if (!p->groups) return CPT_OK;
    gather(all, p->groups, scratch);
    if (n_distinct_up_to_2(all->n, scratch) < 2)
        return cpt_fail(e, CPT_ERR_DATA,
                        "all labelled cells are of one group (donor); a grouped probe needs two: "
                        "probe without groups");
    return CPT_OK;
}

cpt_status cpt_probe(const cpt_probe_options *o, const float *x, int64_t n, int32_t dim,
                     const int32_t *labels, int32_t n_labels, const int32_t *groups,
                     cpt_probe_result *out, const cpt_context *ctx, cpt_err *e)
{
    cpt_status status = CPT_OK;
    const probe p = {o, x, dim, n_labels, labels, groups, ctx};
    part all = {0};
    int32_t *fold = NULL, *scratch = NULL;
    *out = (cpt_probe_result){.n_folds = o->n_folds, .grouped = groups != NULL};
    CPT_TRY(check_options(o, e));
    if (n < 1 || dim < 1) {
        status = cpt_fail(e, CPT_ERR_DATA,
                          "a probe of %lld cells and %d columns: both must be at least 1",
                          (long long)n, dim);
        goto done;
    }
    CPT_TRY(list_cells(&p, n, &all, e));
    CPT_TRY(cpt_alloc(&fold, (size_t)all.n, sizeof *fold, e));
    CPT_TRY(cpt_alloc(&scratch, (size_t)all.n, sizeof *scratch, e));
    CPT_TRY(check_cells(&p, &all, out, scratch, e));
    out->n_cells = all.n;
    gather(&all, groups ? groups : labels, scratch);
    CPT_TRY(cpt_probe_deal(all.n, groups ? NULL : scratch, groups ? scratch : NULL,
                           ctx ? ctx->seed : 0, 0xF01D, &out->n_folds, fold, e));
    CPT_TRY(outer_folds(&p, &all, fold, out, e));
done:
    if (status != CPT_OK) *out = (cpt_probe_result){0};
    free(all.cells);
    free(fold);
    free(scratch);
    return status;
}

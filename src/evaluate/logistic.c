/* logistic.c - multinomial logistic regression by Newton's method with conjugate gradients.
 *
 * The Hessian, (classes * columns)^2, is never formed: with P = softmax(X theta^T) and S = X V^T,
 *
 *     H V = V (penalised columns) + strength * R^T X,   R_ik = w_i P_ik (S_ik - sum_j P_ij S_ij)
 *
 * Each Newton step is solved only as far as it pays (forcing term min(0.5, sqrt |g|), Dembo and
 * Steihaug 1983) and halved until the objective falls enough (Armijo). The objective is convex: the
 * optimum is the optimum.
 *
 * Cost: 4 n classes columns flops per product with H. Memory: 2 n classes doubles.
 * Traps. A constant added to all intercepts changes nothing: H is singular there, but gradients,
 * and so all steps from a start of zeros, have no part in it. Sums over cells run in GROUPS parts
 * of fixed bounds. */
#include "evaluate/logistic.h"

#include "base/memory.h"
#include "math/blas.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { GROUPS = 16, MAX_STEPS = 100, MAX_HALVINGS = 40, MAX_CONJUGATE = 500 };
static const double SMALL_PRODUCT = 4e6; /* operations that are not worth a team of threads */

typedef struct solver {
    const cpt_logistic *p;
    size_t size; /* of theta */
    int n_threads;
    double *share, *score; /* [n][classes] P, and scratch */
    double *gradient, *step, *residual, *direction, *product, *trial; /* [size] */
    double *parts;                                                    /* [GROUPS][size] */
    double losses[GROUPS];
    double *memory;
} solver;

static cpt_status solver_new(const cpt_logistic *p, solver *s, const cpt_context *ctx, cpt_err *e)
{
    const size_t cells = (size_t)p->n * (size_t)p->n_classes;
    *s = (solver){.p = p, .size = (size_t)p->n_classes * (size_t)p->width};
    s->n_threads = 4 * (double)cells * p->width < SMALL_PRODUCT ? 1 : cpt_threads(ctx);
    cpt_status status =
        cpt_alloc(&s->memory, 2 * cells + (6 + GROUPS) * s->size, sizeof *s->memory, e);
    if (status != CPT_OK) return status;
    s->share = s->memory;
    s->score = s->share + cells;
    double *at = s->score + cells;
    double **const vectors[] = {&s->gradient,  &s->step,    &s->residual,
                                &s->direction, &s->product, &s->trial};
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++, at += s->size) *vectors[i] = at;
    s->parts = at;
    return CPT_OK;
}

static double inner(size_t n, const double *x, const double *y)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += x[i] * y[i];
    return sum;
}

static double weight_of(const cpt_logistic *p, int64_t i)
{
    return p->weights ? p->weights[i] : 1;
}

static int64_t bound(const solver *s, int g)
{
    return s->p->n * g / GROUPS;
}

/* score = X v^T for the cells of one group. */
static void group_scores(const solver *s, int g, const double *v)
{
    const int k = s->p->n_classes, width = s->p->width;
    const int64_t first = bound(s, g), rows = bound(s, g + 1) - first;
    if (rows > 0)
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, k, width, 1,
                    s->p->x + first * width, width, v, width, 0, s->score + first * k, k);
}

/* parts[g] = score^T X over the cells of one group. */
static void group_sums(const solver *s, int g)
{
    const int k = s->p->n_classes, width = s->p->width;
    const int64_t first = bound(s, g), rows = bound(s, g + 1) - first;
    double *to = s->parts + (size_t)g * s->size;
    memset(to, 0, s->size * sizeof *to);
    if (rows > 0)
        cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, k, width, (int)rows, 1,
                    s->score + first * k, k, s->p->x + first * width, width, 0, to, width);
}

/* to = strength * sum of the parts + v in the penalised columns */
static void add_parts(const solver *s, const double *v, double *to)
{
    const int32_t width = s->p->width, penalised = width - s->p->n_free;
    for (size_t i = 0; i < s->size; i++) {
        double sum = 0;
        for (int g = 0; g < GROUPS; g++) sum += s->parts[(size_t)g * s->size + i];
        to[i] = s->p->strength * sum + ((int32_t)(i % (size_t)width) < penalised ? v[i] : 0);
    }
}

/* Scores of one cell become shares; returns -ln of the share of its class. */
static double to_shares(const cpt_logistic *p, int64_t i, const double *score, double *share)
{
    const int32_t k = p->n_classes;
    double top = score[0], sum = 0;
    for (int32_t c = 1; c < k; c++) top = score[c] > top ? score[c] : top;
    for (int32_t c = 0; c < k; c++) sum += share[c] = exp(score[c] - top);
    for (int32_t c = 0; c < k; c++) share[c] /= sum;
    return log(sum) + top - score[p->y[i]];
}

/* The objective at theta; leaves the shares. */
static double objective(solver *s, const double *theta)
{
    const cpt_logistic *p = s->p;
    const int32_t k = p->n_classes;
#pragma omp parallel for schedule(dynamic) num_threads(s->n_threads)
    for (int g = 0; g < GROUPS; g++) {
        group_scores(s, g, theta);
        s->losses[g] = 0;
        for (int64_t i = bound(s, g); i < bound(s, g + 1); i++)
            s->losses[g] += weight_of(p, i) * to_shares(p, i, s->score + i * k, s->share + i * k);
    }
    double loss = 0, norm2 = 0;
    for (int g = 0; g < GROUPS; g++) loss += s->losses[g];
    for (int32_t c = 0; c < k; c++)
        for (int32_t j = 0; j < p->width - p->n_free; j++) {
            const double t = theta[(int64_t)c * p->width + j];
            norm2 += t * t;
        }
    return norm2 / 2 + p->strength * loss;
}

static void find_gradient(solver *s, const double *theta)
{
    const cpt_logistic *p = s->p;
    const int32_t k = p->n_classes;
#pragma omp parallel for schedule(dynamic) num_threads(s->n_threads)
    for (int g = 0; g < GROUPS; g++) {
        for (int64_t i = bound(s, g); i < bound(s, g + 1); i++)
            for (int32_t c = 0; c < k; c++)
                s->score[i * k + c] = weight_of(p, i) * (s->share[i * k + c] - (p->y[i] == c));
        group_sums(s, g);
    }
    add_parts(s, theta, s->gradient);
}

static void hessian_product(solver *s, const double *v, double *to)
{
    const cpt_logistic *p = s->p;
    const int32_t k = p->n_classes;
#pragma omp parallel for schedule(dynamic) num_threads(s->n_threads)
    for (int g = 0; g < GROUPS; g++) {
        group_scores(s, g, v);
        for (int64_t i = bound(s, g); i < bound(s, g + 1); i++) {
            double *score = s->score + i * k;
            const double *share = s->share + i * k, w = weight_of(p, i);
            double mean = 0;
            for (int32_t c = 0; c < k; c++) mean += share[c] * score[c];
            for (int32_t c = 0; c < k; c++) score[c] = w * share[c] * (score[c] - mean);
        }
        group_sums(s, g);
    }
    add_parts(s, v, to);
}

/* step ~ -H^-1 gradient */
static cpt_status find_step(solver *s, const cpt_context *ctx, cpt_err *e)
{
    const size_t n = s->size;
    double norm2 = inner(n, s->gradient, s->gradient);
    const double norm = sqrt(norm2), enough = norm * (norm < 0.25 ? sqrt(norm) : 0.5);
    memset(s->step, 0, n * sizeof *s->step);
    for (size_t i = 0; i < n; i++) s->direction[i] = s->residual[i] = -s->gradient[i];
    for (int round = 0; round < MAX_CONJUGATE && sqrt(norm2) > enough; round++) {
        cpt_status status = cpt_check_stop(ctx, e);
        if (status != CPT_OK) return status;
        hessian_product(s, s->direction, s->product);
        const double curvature = inner(n, s->direction, s->product);
        if (!(curvature > 0)) break; /* rounding: H is positive semidefinite */
        const double length = norm2 / curvature;
        for (size_t i = 0; i < n; i++) {
            s->step[i] += length * s->direction[i];
            s->residual[i] -= length * s->product[i];
        }
        const double before = norm2;
        norm2 = inner(n, s->residual, s->residual);
        for (size_t i = 0; i < n; i++)
            s->direction[i] = s->residual[i] + norm2 / before * s->direction[i];
    }
    return CPT_OK;
}

/* Goes along the step, halved until the objective falls enough; false when it does not any more. */
static bool go(solver *s, double *theta, double *value)
{
    const double slope = inner(s->size, s->gradient, s->step);
    double length = 1;
    if (!(slope < 0)) return false;
    for (int halving = 0; halving < MAX_HALVINGS; halving++, length /= 2) {
        for (size_t i = 0; i < s->size; i++) s->trial[i] = theta[i] + length * s->step[i];
        const double next = objective(s, s->trial);
        /* The last steps change less than the objective's own rounding. */
        if (!(next <= *value + 1e-4 * length * slope + 1e-14 * fabs(*value))) continue;
        *value = next;
        memcpy(theta, s->trial, s->size * sizeof *theta);
        return true;
    }
    return false;
}

static double largest(size_t n, const double *x)
{
    double top = 0;
    for (size_t i = 0; i < n; i++) top = fabs(x[i]) > top ? fabs(x[i]) : top;
    return top;
}

cpt_status cpt_logistic_fit(const cpt_logistic *problem, double *theta, const cpt_context *ctx,
                            cpt_err *e)
{
    cpt_status status = CPT_OK;
    solver s = {0};
    if (problem->n < 1 || problem->width < 1 || problem->n_classes < 2 || !(problem->strength > 0))
        return cpt_fail(e, CPT_ERR_USAGE,
                        "logistic regression needs cells, columns, at least 2 classes and a "
                        "strength above 0; these are %lld, %d, %d, %g",
                        (long long)problem->n, problem->width, problem->n_classes,
                        problem->strength);
    cpt_blas_single_thread();
    CPT_TRY(solver_new(problem, &s, ctx, e));
    const double enough = problem->tolerance * (problem->strength * (double)problem->n + 1);
    double value = objective(&s, theta);
    for (int step = 0; step < MAX_STEPS; step++) {
        find_gradient(&s, theta);
        if (largest(s.size, s.gradient) <= enough) break;
        CPT_TRY(find_step(&s, ctx, e));
        if (!go(&s, theta, &value)) break; /* at the optimum to rounding */
    }
done:
    free(s.memory);
    return status;
}

/* ica.c - independent components as a dictionary: FastICA, symmetric, contrast log cosh.
 *
 * Problem: axes along which the embedding is as far from Gaussian as can be: if the cells mix
 * independent sources linearly, these are the sources, up to sign, scale and order.
 *
 * Method (Hyvarinen 1999): whiten to z by the principal axes; W orthogonal at random from the seed;
 * then, for all rows at once until they stop turning,
 *
 *     W <- E[tanh(W z) z^T] - diag(E[1 - tanh^2(W z)]) W;   W <- (W W^T)^(-1/2) W
 *
 * Sources are put in descending order of the variance that they explain, with positive skewness, so
 * that the long tail of a source is its unit 2j; decoder rows have unit norm and carry no scale.
 *
 * Cost: O(n r^2) per round, r^3 for the root. Memory n r doubles.
 * Traps. A start near a saddle leaves it slowly: hundreds of rounds of growing turns are no fault.
 * Sums over cells run in GROUPS parts of fixed bounds, added in order: the same bits for any number
 * of threads. Gaussian directions have no optimum: rows there may never settle, which is said, not
 * failed; any W is an exact dictionary. */
#include "dictionary/lowrank.h"

#include "base/memory.h"
#include "base/random.h"
#include "math/blas.h"
#include "math/linalg.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { GROUPS = 16, BLOCK_ROWS = 256, MAX_ROUNDS = 1000 };
static const double SMALL_ROUND = 4e6; /* operations that are not worth a team of threads */
static const double TOLERANCE = 1e-7; /* of 1 - |cos| between a row and itself one round before */

typedef struct group {
    double *y;     /* [BLOCK_ROWS][r] */
    double *sum;   /* [r][r] of tanh(y) z^T */
    double *slope; /* [r] of 1 - tanh^2(y) */
    double *skew;  /* [r] of y^3 */
} group;

typedef struct unmixing {
    int64_t n;
    int32_t r;
    double *z;                   /* [n][r] white */
    double *w, *next;            /* [r][r] rows orthonormal */
    double *square, *root, *values; /* [r][r], [r][r], [r] scratch of the root */
    double *memory;
    group groups[GROUPS];
    int n_threads;
} unmixing;

static cpt_status unmixing_new(const cpt_axes *axes, unmixing *u, const cpt_context *ctx,
                               cpt_err *e)
{
    cpt_status status = CPT_OK;
    const size_t r = (size_t)axes->rank, per_group = BLOCK_ROWS * r + r * r + 2 * r;
    const double work = (double)axes->n * (double)r * (4 * (double)r + 20); /* tanh: some 20 */
    *u = (unmixing){
        .n = axes->n, .r = axes->rank, .n_threads = work < SMALL_ROUND ? 1 : cpt_threads(ctx)};
    CPT_TRY(cpt_alloc(&u->z, (size_t)u->n * r, sizeof *u->z, e));
    CPT_TRY(cpt_alloc(&u->memory, 4 * r * r + r + GROUPS * per_group, sizeof *u->memory, e));
    u->w = u->memory;
    u->next = u->w + r * r;
    u->square = u->next + r * r;
    u->root = u->square + r * r;
    u->values = u->root + r * r;
    for (int g = 0; g < GROUPS; g++) {
        double *at = u->values + r + (size_t)g * per_group;
        u->groups[g] = (group){at, at + BLOCK_ROWS * r, at + BLOCK_ROWS * r + r * r,
                               at + BLOCK_ROWS * r + r * r + r};
    }
done:
    return status;
}

static void unmixing_free(unmixing *u)
{
    free(u->z);
    free(u->memory);
}

/* z = (x - mean) V^T / s sqrt(n): variance 1 in every direction. */
static void whiten(const cpt_axes *axes, unmixing *u)
{
    const int32_t dim = axes->dim, r = u->r;
#pragma omp parallel for schedule(static) num_threads(u->n_threads)
    for (int64_t i = 0; i < u->n; i++)
        for (int32_t c = 0; c < r; c++) {
            const double *v = axes->components + (int64_t)c * dim;
            double sum = 0;
            for (int32_t j = 0; j < dim; j++)
                sum += ((double)axes->x[i * dim + j] - axes->mean[j]) * v[j];
            u->z[i * r + c] = sum * sqrt((double)u->n) / axes->singular[c];
        }
}

/* to = (from from^T)^(-1/2) from. */
static cpt_status orthonormal_rows(unmixing *u, double *from, double *to, cpt_err *e)
{
    const int32_t r = u->r;
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, r, r, r, 1, from, r, from, r, 0, u->square,
                r);
    cpt_status status = cpt_eigen_symmetric(u->square, r, r, u->values, u->root, e);
    if (status != CPT_OK) return status;
    /* root = rows q_i; the result is sum_i q_i (q_i^T from) / sqrt(value_i) */
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, r, r, r, 1, u->root, r, from, r, 0,
                u->square, r);
    for (int32_t i = 0; i < r; i++) {
        const double floor = 1e-12 * u->values[0],
                     value = u->values[i] > floor ? u->values[i] : floor;
        for (int32_t j = 0; j < r; j++) u->square[(int64_t)i * r + j] /= sqrt(value);
    }
    cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, r, r, r, 1, u->root, r, u->square, r, 0,
                to, r);
    return CPT_OK;
}

static cpt_status start(unmixing *u, uint64_t seed, cpt_err *e)
{
    for (int64_t c = 0; c < u->r; c++) {
        cpt_stream s;
        cpt_stream_init(&s, seed, CPT_RANDOM_DICTIONARY, (uint64_t)c);
        for (int64_t j = 0; j < u->r; j++) u->next[c * u->r + j] = cpt_stream_normal(&s);
    }
    return orthonormal_rows(u, u->next, u->w, e);
}

/* The sums of one group over its cells, at the present w. */
static void sum_group(const unmixing *u, int g)
{
    const group *at = &u->groups[g];
    const int64_t r = u->r, first = u->n * g / GROUPS, end = u->n * (g + 1) / GROUPS;
    memset(at->sum, 0,
           (size_t)(r * r + 2 * r) * sizeof *at->sum); /* sum, slope, skew lie in a row */
    for (int64_t row = first; row < end; row += BLOCK_ROWS) {
        const int rows = (int)(end - row < BLOCK_ROWS ? end - row : BLOCK_ROWS);
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, u->r, u->r, 1, u->z + row * r,
                    u->r, u->w, u->r, 0, at->y, u->r);
        for (int64_t i = 0; i < rows; i++)
            for (int64_t c = 0; c < r; c++) {
                const double y = at->y[i * r + c], t = tanh(y);
                at->skew[c] += y * y * y;
                at->slope[c] += 1 - t * t;
                at->y[i * r + c] = t;
            }
        cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, u->r, u->r, rows, 1, at->y, u->r,
                    u->z + row * r, u->r, 1, at->sum, u->r);
    }
}

/* All sums end up in the first group. */
static void sum_cells(unmixing *u)
{
#pragma omp parallel for schedule(dynamic) num_threads(u->n_threads)
    for (int g = 0; g < GROUPS; g++) sum_group(u, g);
    const int64_t n_sums = (int64_t)u->r * u->r + 2 * (int64_t)u->r;
    for (int g = 1; g < GROUPS; g++)
        for (int64_t i = 0; i < n_sums; i++) u->groups[0].sum[i] += u->groups[g].sum[i];
}

/* One round; *change = the largest turn of a row, 1 - |cos|. */
static cpt_status turn(unmixing *u, double *change, cpt_err *e)
{
    const int64_t r = u->r;
    sum_cells(u);
    const group *s = &u->groups[0];
    for (int64_t c = 0; c < r; c++)
        for (int64_t j = 0; j < r; j++)
            s->sum[c * r + j] = (s->sum[c * r + j] - s->slope[c] * u->w[c * r + j]) / (double)u->n;
    cpt_status status = orthonormal_rows(u, s->sum, u->next, e);
    if (status != CPT_OK) return status;
    *change = 0;
    for (int64_t c = 0; c < r; c++) {
        double dot = 0;
        for (int64_t j = 0; j < r; j++) dot += u->next[c * r + j] * u->w[c * r + j];
        if (fabs(1 - fabs(dot)) > *change) *change = fabs(1 - fabs(dot));
    }
    double *old = u->w;
    u->w = u->next;
    u->next = old;
    return CPT_OK;
}

static cpt_status find_sources(unmixing *u, cpt_dictionary_report *report, const cpt_context *ctx,
                               cpt_err *e)
{
    cpt_status status = CPT_OK;
    double change = 1;
    int32_t round = 0;
    CPT_TRY(start(u, ctx ? ctx->seed : 0, e));
    cpt_text_add(&report->log, "step\tchange\n");
    while (change > TOLERANCE && round < MAX_ROUNDS) {
        CPT_TRY(cpt_check_stop(ctx, e));
        CPT_TRY(turn(u, &change, e));
        cpt_text_addf(&report->log, "%d\t%.6g\n", ++round, change);
        cpt_progress(ctx, "independent components", round, MAX_ROUNDS, NULL);
    }
    report->n_steps = round;
    if (change > TOLERANCE)
        cpt_warn(
            ctx,
            "independent components still turn by %.2g (1 - cos) after %d rounds; some directions "
            "of the embedding are close to Gaussian",
            change, round);
    sum_cells(u); /* the skewness at the end */
done:
    return status;
}

/* ---- from sources to units ---- */

typedef struct source {
    double spread; /* norm of the mixing row: standard deviation of the source in units of a */
    int32_t row;
} source;

static int by_spread(const void *x, const void *y)
{
    const source *a = x, *b = y;
    if (a->spread != b->spread) return a->spread > b->spread ? -1 : 1;
    return a->row < b->row ? -1 : a->row > b->row;
}

/* x - mean = sum_i z_i s_i / sqrt(n) v_i and z = W^T y. */
static void unit_of_source(const cpt_axes *axes, const unmixing *u, const source *s, int64_t c,
                           cpt_lowrank *d)
{
    const double root_n = sqrt((double)u->n), sign = u->groups[0].skew[s->row] < 0 ? -1 : 1;
    const double *w = u->w + (int64_t)s->row * u->r;
    for (int32_t j = 0; j < axes->dim; j++) {
        double mix = 0, unmix = 0;
        for (int32_t i = 0; i < u->r; i++) {
            const double v = axes->components[(int64_t)i * axes->dim + j];
            mix += w[i] * axes->singular[i] / root_n * v;
            unmix += w[i] * root_n / axes->singular[i] * v;
        }
        d->components[c * axes->dim + j] = (float)(sign * mix / s->spread);
        d->encoder[c * axes->dim + j] = (float)(sign * unmix * s->spread);
    }
}

static cpt_status make_units(const cpt_axes *axes, const unmixing *u, cpt_lowrank **out, cpt_err *e)
{
    cpt_status status = CPT_OK;
    source *sources = NULL;
    cpt_lowrank *d = NULL;
    CPT_TRY(cpt_alloc(&sources, (size_t)u->r, sizeof *sources, e));
    for (int32_t c = 0; c < u->r; c++) {
        double sum = 0;
        for (int32_t i = 0; i < u->r; i++) {
            const double share = u->w[(int64_t)c * u->r + i] * axes->singular[i];
            sum += share * share / (double)u->n;
        }
        sources[c] = (source){sqrt(sum), c};
    }
    qsort(sources, (size_t)u->r, sizeof *sources, by_spread);
    CPT_TRY(cpt_lowrank_new("ica", u->r, axes->dim, &d, e));
    for (int32_t j = 0; j < axes->dim; j++) d->mean[j] = (float)axes->mean[j];
    for (int32_t c = 0; c < u->r; c++) unit_of_source(axes, u, &sources[c], c, d);
    cpt_lowrank_finish(d);
    *out = d;
done:
    free(sources);
    return status;
}

cpt_status cpt_train_ica(const cpt_dictionary_options *o, const cpt_training_rows *t,
                         cpt_dictionary **out, cpt_dictionary_report *report,
                         const cpt_context *ctx, cpt_err *e)
{
    cpt_status status = CPT_OK;
    cpt_axes axes = {0};
    unmixing u = {0};
    cpt_lowrank *d = NULL;
    cpt_blas_single_thread();
    CPT_TRY(cpt_axes_make("ica", o->k, t, &axes, ctx, e));
    CPT_TRY(unmixing_new(&axes, &u, ctx, e));
    whiten(&axes, &u);
    CPT_TRY(find_sources(&u, report, ctx, e));
    CPT_TRY(make_units(&axes, &u, &d, e));
    *out = &d->base;
done:
    unmixing_free(&u);
    cpt_axes_free(&axes);
    return status;
}

/* nmf_train.c - learns non-negative components of the split coordinates s(a) = [max(a,0),
 * max(-a,0)].
 *
 * Problem: min |S - W H|^2 over W, H >= 0, S [n][2 dim] the split embeddings of the training cells.
 *
 * Method: HALS (Cichocki and Phan 2009): each column of W and each row of H in turn is set to its
 * optimum with all others held, so the loss never rises. H starts as means of a few random cells;
 * in the first rounds a component that no cell uses is put on a random cell, which leaves the loss
 * as it is. Afterwards only H is kept, rows of unit norm, by descending share of the
 * reconstruction.
 *
 * Cost a round: O(n F (dim + F)). Memory: n (dim floats + F doubles).
 * Traps. The loss is |S|^2 - 2 tr(H A^T) + tr(B H H^T) out of sums that are there anyway; near a
 * perfect fit it is a difference of large numbers and only good to 1e-13 |S|^2. Sums over cells run
 * in parts of fixed bounds: the same bits for any number of threads. The optimum is local: other
 * seeds find others. */
#include "dictionary/nmf.h"

#include "dictionary/lowrank.h"

#include "base/memory.h"
#include "base/random.h"
#include "math/blas.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    GROUPS = 16,
    BLOCK_ROWS = 128,
    SWEEPS = 2,
    START_CELLS = 5,
    MAX_ROUNDS = 1000,
    LAST_DRAW = 50
};
static const double SMALL_ROUND = 4e6; /* operations that are not worth a team of threads */
static const double TOLERANCE = 1e-8; /* fall of the loss in a round, as a share of |S|^2 */

typedef struct group {
    double *split; /* [BLOCK_ROWS][2 dim] */
    double *b;     /* [BLOCK_ROWS][F] S H^T */
    double *ws;    /* [F][2 dim] A = W^T S */
    double *ww;    /* [F][F] B = W^T W, behind ws */
} group;

typedef struct factors {
    const cpt_training_rows *rows;
    int32_t F, dim;
    double *w;    /* [n][F] */
    double *h;    /* [F][2 dim] */
    double *gram; /* [F][F] H H^T */
    double total; /* |S|^2 */
    double *memory;
    group groups[GROUPS];
    uint64_t seed;
    int n_threads;
} factors;

static cpt_status factors_new(int32_t F, const cpt_training_rows *t, factors *f,
                              const cpt_context *ctx, cpt_err *e)
{
    cpt_status status = CPT_OK;
    const size_t k = (size_t)F, m = 2 * (size_t)t->dim;
    const size_t per_group = BLOCK_ROWS * (m + k) + k * m + k * k;
    const double work = 4 * (double)t->n * (double)k * (double)(m + k);
    *f = (factors){.rows = t, .F = F, .dim = t->dim, .seed = ctx ? ctx->seed : 0,
                   .n_threads = work < SMALL_ROUND ? 1 : cpt_threads(ctx)};
    CPT_TRY(cpt_alloc(&f->w, (size_t)t->n * k, sizeof *f->w, e));
    CPT_TRY(cpt_alloc(&f->memory, k * m + k * k + GROUPS * per_group, sizeof *f->memory, e));
    f->h = f->memory;
    f->gram = f->h + k * m;
    for (int g = 0; g < GROUPS; g++) {
        double *at = f->gram + k * k + (size_t)g * per_group;
        f->groups[g] = (group){at, at + BLOCK_ROWS * m, at + BLOCK_ROWS * (m + k),
                               at + BLOCK_ROWS * (m + k) + k * m};
    }
done:
    return status;
}

static void factors_free(factors *f)
{
    free(f->w);
    free(f->memory);
}

static void add_split(const float *a, int32_t dim, double weight, double *s)
{
    for (int32_t j = 0; j < dim; j++) {
        if (a[j] > 0) s[j] += weight * (double)a[j];
        if (a[j] < 0) s[dim + j] -= weight * (double)a[j];
    }
}

/* Row c of H = the mean of n random cells; `turn` tells one draw for c from the next. */
static void draw_component(factors *f, int32_t c, int32_t turn, int32_t n)
{
    cpt_stream s;
    double *h = f->h + (int64_t)c * 2 * f->dim;
    cpt_stream_init(&s, f->seed, CPT_RANDOM_DICTIONARY,
                    (uint64_t)turn * (uint64_t)f->F + (uint64_t)c);
    memset(h, 0, 2 * (size_t)f->dim * sizeof *h);
    for (int32_t i = 0; i < n; i++) {
        const int64_t cell = (int64_t)cpt_stream_below(&s, (uint64_t)f->rows->n);
        add_split(cpt_training_row(f->rows, cell), f->dim, 1.0 / n, h);
    }
}

static void update_gram(factors *f)
{
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, f->F, f->F, 2 * f->dim, 1, f->h,
                2 * f->dim, f->h, 2 * f->dim, 0, f->gram, f->F);
}

/* The coefficients of one cell, each in turn to its optimum. */
static void sweep_cell(const factors *f, const double *b, double *w)
{
    const int64_t F = f->F;
    for (int sweep = 0; sweep < SWEEPS; sweep++)
        for (int64_t c = 0; c < F; c++) {
            const double *g = f->gram + c * F;
            double slope = b[c];
            if (!(g[c] > 0)) {
                w[c] = 0;
                continue;
            }
            for (int64_t k = 0; k < F; k++) slope -= w[k] * g[k];
            const double value = w[c] + slope / g[c];
            w[c] = value > 0 ? value : 0;
        }
}

static void update_group(factors *f, int number)
{
    const group *g = &f->groups[number];
    const int F = f->F, m = 2 * f->dim;
    const int64_t n = f->rows->n, first = n * number / GROUPS, end = n * (number + 1) / GROUPS;
    memset(g->ws, 0, ((size_t)F * (size_t)m + (size_t)F * (size_t)F) * sizeof *g->ws);
    for (int64_t row = first; row < end; row += BLOCK_ROWS) {
        const int rows = (int)(end - row < BLOCK_ROWS ? end - row : BLOCK_ROWS);
        double *w = f->w + row * F;
        memset(g->split, 0, (size_t)rows * (size_t)m * sizeof *g->split);
        for (int64_t i = 0; i < rows; i++)
            add_split(cpt_training_row(f->rows, row + i), f->dim, 1, g->split + i * m);
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, F, m, 1, g->split, m, f->h, m, 0,
                    g->b, F);
        for (int64_t i = 0; i < rows; i++) sweep_cell(f, g->b + i * F, w + i * F);
        cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, F, m, rows, 1, w, F, g->split, m, 1,
                    g->ws, m);
        cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, F, F, rows, 1, w, F, w, F, 1, g->ww,
                    F);
    }
}

/* W, and with it the sums A and B, which end up in the first group. */
static void update_cells(factors *f)
{
#pragma omp parallel for schedule(dynamic) num_threads(f->n_threads)
    for (int g = 0; g < GROUPS; g++) update_group(f, g);
    const int64_t n_sums = (int64_t)f->F * (2 * (int64_t)f->dim + f->F);
    for (int g = 1; g < GROUPS; g++)
        for (int64_t i = 0; i < n_sums; i++) f->groups[0].ws[i] += f->groups[g].ws[i];
}

/* Returns how many components were put on another cell. */
static int64_t update_components(factors *f, int32_t round)
{
    const double *a = f->groups[0].ws, *b = f->groups[0].ww;
    const int64_t F = f->F, m = 2 * (int64_t)f->dim;
    int64_t n_drawn = 0;
    for (int64_t c = 0; c < F && round <= LAST_DRAW; c++)
        if (!(b[c * F + c] > 0)) {
            draw_component(f, (int32_t)c, round, 1);
            n_drawn++;
        }
    for (int sweep = 0; sweep < SWEEPS; sweep++)
        for (int64_t c = 0; c < F; c++) {
            double *h = f->h + c * m;
            const double *weight = b + c * F, own = weight[c];
            if (!(own > 0)) continue;
            for (int64_t j = 0; j < m; j++) {
                double slope = a[c * m + j];
                for (int64_t k = 0; k < F; k++) slope -= weight[k] * f->h[k * m + j];
                const double value = h[j] + slope / own;
                h[j] = value > 0 ? value : 0;
            }
        }
    update_gram(f);
    return n_drawn;
}

static double loss(const factors *f)
{
    const double *a = f->groups[0].ws, *b = f->groups[0].ww;
    const int64_t F = f->F, size = F * 2 * f->dim;
    double cross = 0, square = 0;
    for (int64_t i = 0; i < size; i++) cross += a[i] * f->h[i];
    for (int64_t i = 0; i < F * F; i++) square += b[i] * f->gram[i];
    return f->total - 2 * cross + square;
}

static cpt_status learn(factors *f, cpt_dictionary_report *report, const cpt_context *ctx,
                        cpt_err *e)
{
    cpt_status status = CPT_OK;
    double before = INFINITY, now = f->total;
    int32_t round = 0;
    int64_t n_drawn = 0;
    for (int32_t c = 0; c < f->F; c++) draw_component(f, c, 0, START_CELLS);
    update_gram(f);
    cpt_text_add(&report->log, "step\tloss\n");
    while (round < MAX_ROUNDS && (n_drawn > 0 || before - now > TOLERANCE * f->total)) {
        CPT_TRY(cpt_check_stop(ctx, e));
        before = now;
        update_cells(f);
        n_drawn = update_components(f, ++round);
        report->n_resampled += n_drawn;
        now = loss(f);
        cpt_text_addf(&report->log, "%d\t%.10g\n", round, now / (double)f->rows->n);
        cpt_progress(ctx, "non-negative components", round, MAX_ROUNDS, NULL);
    }
    report->n_steps = round;
    report->final_loss = now / (double)f->rows->n;
done:
    return status;
}

/* ---- from factors to units ---- */

typedef struct component {
    double energy; /* sum over cells of the squared norm of its share */
    int32_t row;
} component;

static int by_energy(const void *x, const void *y)
{
    const component *a = x, *b = y;
    if (a->energy != b->energy) return a->energy > b->energy ? -1 : 1;
    return a->row < b->row ? -1 : a->row > b->row;
}

static cpt_status make_units(const factors *f, cpt_nmf **out, cpt_err *e)
{
    cpt_status status = CPT_OK;
    const int64_t F = f->F, m = 2 * (int64_t)f->dim;
    component *order = NULL;
    cpt_nmf *d = NULL;
    CPT_TRY(cpt_alloc(&order, (size_t)F, sizeof *order, e));
    for (int64_t c = 0; c < F; c++)
        order[c] = (component){f->groups[0].ww[c * F + c] * f->gram[c * F + c], (int32_t)c};
    qsort(order, (size_t)F, sizeof *order, by_energy);
    CPT_TRY(cpt_nmf_new(f->F, f->dim, &d, e));
    for (int64_t c = 0; c < F; c++) {
        const int64_t row = order[c].row;
        const double norm = sqrt(f->gram[row * F + row]);
        for (int64_t j = 0; j < m && norm > 0; j++)
            d->components[c * m + j] = (float)(f->h[row * m + j] / norm);
    }
    cpt_nmf_finish(d);
    *out = d;
done:
    free(order);
    return status;
}

cpt_status cpt_train_nmf(const cpt_dictionary_options *o, const cpt_training_rows *t,
                         cpt_dictionary **out, cpt_dictionary_report *report,
                         const cpt_context *ctx, cpt_err *e)
{
    cpt_status status = CPT_OK;
    factors f = {0};
    cpt_nmf *d = NULL;
    cpt_blas_single_thread();
    CPT_TRY(factors_new(o->k, t, &f, ctx, e));
    for (int64_t i = 0; i < t->n; i++)
        for (int32_t j = 0; j < t->dim; j++) {
            const double x = cpt_training_row(t, i)[j];
            f.total += x * x;
        }
    if (!(f.total > 0)) {
        status = cpt_fail(e, CPT_ERR_DATA, "nmf: the embedding of all %lld training cells is 0",
                          (long long)t->n);
        goto done;
    }
    CPT_TRY(learn(&f, report, ctx, e));
    CPT_TRY(make_units(&f, &d, e));
    *out = &d->base;
done:
    factors_free(&f);
    return status;
}

/* sae_init.c - where training starts: decoder bias by geometric median, rows by the recipe.
 *
 * The median (Weiszfeld 1937) is taken over up to 32,768 cells, evenly spaced in the list, as Gao et al.
 * (2024) do. A point that coincides with a cell would get infinite weight: distances are held above a
 * tiny fraction of the spread. */
#include "dictionary/sae_step.h"

#include "base/memory.h"
#include "base/random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MEDIAN_CELLS = 32768, MEDIAN_ROUNDS = 100, BLOCK_ROWS = 512 };

static const double MEDIAN_TOLERANCE = 1e-5;

/* Weighted sum of the rows into sum [dim] and of the weights (1 / distance to guess; 1 when guess is
 * NULL) into sum[dim]. Blocks are added in order: the same for any number of threads. */
static void weighted_sum(const cpt_training_rows *data, int64_t n, float scale, const double *guess,
                         double *partial, double *sum, int n_threads)
{
    const int32_t dim = data->dim;
    const int64_t n_blocks = (n + BLOCK_ROWS - 1) / BLOCK_ROWS, width = dim + 1;
#pragma omp parallel for schedule(static) num_threads(n_threads) if (n * dim > 100000)
    for (int64_t b = 0; b < n_blocks; b++) {
        double *own = partial + b * width;
        memset(own, 0, (size_t)width * sizeof *own);
        for (int64_t i = b * BLOCK_ROWS; i < n && i < (b + 1) * BLOCK_ROWS; i++) {
            const float *x = cpt_training_row(data, i * data->n / n);
            double square = 0;
            for (int32_t j = 0; j < dim && guess; j++)
                square += (x[j] * scale - guess[j]) * (x[j] * scale - guess[j]);
            double weight = guess ? 1 / fmax(sqrt(square), 1e-12) : 1;
            for (int32_t j = 0; j < dim; j++) own[j] += weight * (x[j] * scale);
            own[dim] += weight;
        }
    }
    memset(sum, 0, (size_t)width * sizeof *sum);
    for (int64_t b = 0; b < n_blocks; b++)
        for (int64_t j = 0; j < width; j++) sum[j] += partial[b * width + j];
}

cpt_status cpt_geometric_median(const cpt_training_rows *data, float scale, int n_threads, float *out,
                                cpt_err *e)
{
    cpt_status status = CPT_OK;
    const int32_t dim = data->dim;
    const int64_t n = data->n < MEDIAN_CELLS ? data->n : MEDIAN_CELLS;
    const size_t n_blocks = (size_t)((n + BLOCK_ROWS - 1) / BLOCK_ROWS), width = (size_t)dim + 1;
    double *partial = NULL, *sum = NULL, *guess = NULL;
    CPT_TRY(cpt_alloc(&partial, n_blocks * width, sizeof *partial, e));
    CPT_TRY(cpt_alloc(&sum, width, sizeof *sum, e));
    CPT_TRY(cpt_alloc(&guess, width, sizeof *guess, e));
    for (int round = 0; round <= MEDIAN_ROUNDS; round++) { /* round 0 gives the mean */
        weighted_sum(data, n, scale, round ? guess : NULL, partial, sum, n_threads);
        double moved = 0;
        for (int32_t j = 0; j < dim; j++) {
            double next = sum[j] / sum[dim];
            moved += (next - guess[j]) * (next - guess[j]);
            guess[j] = next;
        }
        if (round && sqrt(moved) < MEDIAN_TOLERANCE) break;
    }
    for (int32_t j = 0; j < dim; j++) out[j] = (float)guess[j];
done:
    free(partial);
    free(sum);
    free(guess);
    return status;
}

/* Sets the row to length `norm`; false when it has none. */
static bool set_length(float *row, int32_t dim, double norm)
{
    double sum = 0;
    for (int32_t j = 0; j < dim; j++) sum += (double)row[j] * row[j];
    if (!(sum > 0) || !isfinite(sum)) return false;
    double factor = norm / sqrt(sum);
    for (int32_t j = 0; j < dim; j++) row[j] = (float)(row[j] * factor);
    return true;
}

static void sphere_row(cpt_stream *s, int32_t dim, double norm, float *row)
{
    do {
        for (int32_t j = 0; j < dim; j++) row[j] = (float)cpt_stream_normal(s);
    } while (!set_length(row, dim, norm));
}

static void noise_row(cpt_stream *s, int32_t dim, float *row)
{
    const double bound = 1 / sqrt((double)dim);
    for (int32_t j = 0; j < dim; j++) row[j] = (float)((2 * cpt_stream_uniform(s) - 1) * bound);
}

/* Direction of a random cell from the bias; a cell that lies on the bias gives a sphere row. */
static void cell_row(const cpt_sae_trainer *t, const cpt_training_rows *data, float scale, cpt_stream *s,
                     float *row)
{
    const float *x = cpt_training_row(data, (int64_t)cpt_stream_below(s, (uint64_t)data->n));
    for (int32_t j = 0; j < t->dim; j++) row[j] = x[j] * scale - t->b_dec[j];
    if (!set_length(row, t->dim, t->recipe.decoder_norm))
        sphere_row(s, t->dim, t->recipe.decoder_norm, row);
}

cpt_status cpt_sae_initialise(cpt_sae_trainer *t, const cpt_training_rows *data, float scale,
                              uint64_t seed, cpt_err *e)
{
    const cpt_sae_recipe *r = &t->recipe;
    if (r->bias == CPT_SAE_BIAS_MEDIAN) {
        cpt_status status = cpt_geometric_median(data, scale, t->n_threads, t->b_dec, e);
        if (status != CPT_OK) return status;
    }
    for (int64_t c = 0; c < t->n_concepts; c++) {
        float *dec = t->w_dec + c * t->stride, *enc = t->w_enc + c * t->stride;
        cpt_stream s;
        cpt_stream_init(&s, seed, CPT_RANDOM_SAE_INIT, (uint64_t)c);
        if (r->init == CPT_SAE_INIT_NOISE) {
            noise_row(&s, t->dim, dec);
            noise_row(&s, t->dim, enc);
            continue;
        }
        if (r->init == CPT_SAE_INIT_SPHERE) sphere_row(&s, t->dim, r->decoder_norm, dec);
        else cell_row(t, data, scale, &s, dec);
        memcpy(enc, dec, (size_t)t->dim * sizeof *enc);
    }
    cpt_sae_refresh_atoms(t);
    return CPT_OK;
}

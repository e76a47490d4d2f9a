/* sae_step.c - one training step of a sparse autoencoder: dense encoder forward, the rest sparse.
 *
 *   1. encode     sae_encode.c: blocks of rows: centre, one matrix product for all latents, exact top-k of the
 *                 sample while the product is computed, or of the batch (sae_select.c)
 *   2. lists      active pairs by latent (counting sort); who fired; who is dead
 *   3. residual   error = sum u_c atom_c + b - x over the active rows only; with prefixes (Matryoshka)
 *                 the error of each on the way
 *   4. auxiliary  the dead latents with the largest pre-activations decode the detached residual
 *   5. latents    per latent: gradients of its encoder and decoder rows over its list of samples
 *   6. update     bias gradient, global clip, Adam, unit rows, moving average
 *
 * With B samples, F latents, k active, d dimensions: 2 B F d operations for the product and O(B k d) for
 * the rest, where a dense implementation has five products of that size. A latent's list holds its
 * samples in ascending order and belongs to one thread, so there are no atomics and the bytes do not
 * depend on the number of threads. Sums over samples run over blocks of fixed size.
 *
 * The sparse part reads rows at random: k atoms per sample in 3, k samples per latent in 5, of matrices that are larger
 * than the second-level cache. So wide ones go by strips of columns (math/strips.h), whose copies fit: a
 * sample's error and the inner products with its atoms in one visit, then the gradients of both rows of a latent. The
 * gradients are kept (2 F d numbers) because clipping wants the norm of all of them before any of them is applied.
 * Narrow dictionaries, Matryoshka and the auxiliary loss go row by row, which is also the reference that tests compare
 * with.
 *
 * Traps: (1) the AuxK target is detached, and its decode has no bias; OpenAI's has a gradient to the bias
 * all the same (recipe: aux_bias_gradient). (2) Order of projection, normalisation and step differs
 * between implementations (recipe: decoder). (3) Dead latents are counted after this batch's firing. (4) With prefixes a
 * latent is in the reconstructions of its own prefix and all longer ones: its gradient is that of the sum
 * of their errors (`pull`), not of the full error. */
#include "dictionary/sae_step_parts.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

/* A step with fewer multiply-adds than this runs in one thread: waking another costs as much. */
static const double SERIAL_WORK = 5e5;

typedef cpt_sae_pass step;

/* ---- sums over blocks ---- */

/* Sum of squares of all rows around their mean, from sums and squares of the blocks. The rows are near 0
 * compared with their spread (centred on the bias, or residuals), so the formula is safe in double. */
static double around_mean(const step *s, int vector, int scalar)
{
    double total = 0;
    for (int64_t b = 0; b < s->n_blocks; b++) total += *cpt_sae_block_scalar(s, b, scalar);
    for (int32_t j = 0; j < s->t->dim; j++) {
        double sum = 0;
        for (int64_t b = 0; b < s->n_blocks; b++) sum += cpt_sae_block_vector(s, b, vector)[j];
        total -= sum * sum / (double)s->n;
    }
    return total > 0 ? total : 0;
}

static double sum_of_scalars(const step *s, int scalar)
{
    double total = 0;
    for (int64_t b = 0; b < s->n_blocks; b++) total += *cpt_sae_block_scalar(s, b, scalar);
    return total;
}

/* The threshold of inference follows the smallest active value of the batches. */
static void select_batch(step *s)
{
    cpt_sae_trainer *t = s->t;
    const cpt_sae_recipe *r = &t->recipe;
    t->smallest = cpt_sae_select_batch(t->pre, s->n, t->n_concepts, (int64_t)s->k * s->n, &t->active,
                                       t->equal, t->histograms, s->n_threads);
    if (t->n_steps < r->threshold_start || !(t->smallest > 0)) return;
    t->threshold = t->threshold < 0 ? t->smallest
                                    : r->threshold_keep * t->threshold +
                                          (1 - r->threshold_keep) * t->smallest;
}

/* ---- 2. lists ---- */

/* Counting sort. Each thread counts and places the pairs of its own samples, whose places lie behind those of all
 * samples before: the list does not depend on the number of threads. */
static void list_by_latent(const step *s, cpt_sae_active *a)
{
    cpt_sae_trainer *t = s->t;
    const int32_t F = t->n_concepts;
#pragma omp parallel num_threads(s->n_threads) if (s->n_threads > 1)
    {
        const int n_threads = omp_get_num_threads(), own = omp_get_thread_num();
        const int64_t from = s->n * own / n_threads, end = s->n * (own + 1) / n_threads;
        int64_t *next = t->list_places + (int64_t)own * F;
        memset(next, 0, (size_t)F * sizeof *next);
        for (int64_t i = from; i < end; i++)
            for (int64_t p = a->first[i]; p < a->first[i] + a->counts[i]; p++) next[a->latents[p]]++;
#pragma omp barrier
#pragma omp single
        {
            int64_t place = 0;
            for (int32_t c = 0; c < F; c++) {
                a->starts[c] = place;
                for (int j = 0; j < n_threads; j++) {
                    const int64_t count = t->list_places[(int64_t)j * F + c];
                    t->list_places[(int64_t)j * F + c] = place;
                    place += count;
                }
            }
            a->starts[F] = place;
        }
        for (int64_t i = from; i < end; i++)
            for (int64_t p = a->first[i]; p < a->first[i] + a->counts[i]; p++) a->entries[next[a->latents[p]]++] = p;
    }
}

static bool fired(const step *s, int32_t c)
{
    const cpt_sae_active *a = &s->t->active;
    if (s->t->recipe.fire_above <= 0) return a->starts[c + 1] > a->starts[c];
    for (int64_t i = a->starts[c]; i < a->starts[c + 1]; i++)
        if (a->values[a->entries[i]] > s->t->recipe.fire_above) return true;
    return false;
}

static void count_dead(const step *s)
{
    cpt_sae_trainer *t = s->t;
    int64_t after_firing = t->recipe.fired_step_counts ? s->n : 0;
    int32_t n_dead = 0;
    for (int32_t c = 0; c < t->n_concepts; c++) {
        t->since[c] = fired(s, c) ? after_firing : t->since[c] + s->n;
        n_dead += t->since[c] >= t->dead_after;
    }
    t->n_dead = 0;
    for (int32_t i = 0; i < t->n_candidates; i++)
        if (t->since[t->candidates[i]] >= t->dead_after) t->dead[t->n_dead++] = i;
    if (t->recipe.aux == CPT_SAE_AUX_NONE) t->n_dead = n_dead;
}

/* ---- 3. residual ---- */

static float *pull_row(const cpt_sae_trainer *t, int32_t prefix, int64_t i)
{
    return t->pull + (prefix * t->batch_max + i) * t->stride;
}

/* The first prefix that a latent belongs to. */
static int32_t prefix_of(const cpt_sae_trainer *t, int32_t latent)
{
    int32_t m = 0;
    while (m + 1 < t->recipe.n_prefixes && latent >= t->recipe.prefix_end[m]) m++;
    return m;
}

/* Adds the active rows of latents below `end` to error, from place p on; returns the next place. */
static int64_t decode_until(const step *s, int64_t p, int64_t last, int32_t end, float *error)
{
    const cpt_sae_trainer *t = s->t;
    const cpt_sae_active *a = &t->active;
    for (; p < last && a->latents[p] < end; p++)
        s->rows->axpy(a->values[p], t->atoms + a->latents[p] * t->stride, error, t->stride);
    return p;
}

/* The errors of all prefixes of sample i, summed up from the longest to each; returns the sum of their
 * squared norms. `error` ends as that of the longest. */
static double residual_prefixes(const step *s, int64_t i, float *error)
{
    const cpt_sae_trainer *t = s->t;
    const int32_t n = t->recipe.n_prefixes;
    int64_t p = t->active.first[i], last = p + t->active.counts[i];
    double squares = 0;
    for (int32_t m = 0; m < n; m++) {
        p = decode_until(s, p, last, t->recipe.prefix_end[m], error);
        memcpy(pull_row(t, m, i), error, (size_t)t->stride * sizeof *error);
        squares += s->rows->dot(error, error, t->stride);
    }
    for (int32_t m = n - 2; m >= 0; m--)
        s->rows->axpy(1, pull_row(t, m + 1, i), pull_row(t, m, i), t->stride);
    return squares;
}

static void residual_block(const step *s, int64_t block)
{
    cpt_sae_trainer *t = s->t;
    const cpt_sae_active *a = &t->active;
    const bool prefixes = cpt_sae_prefixed(t);
    double *sum = cpt_sae_block_vector(s, block, SUM_ERROR), *pull = cpt_sae_block_vector(s, block, SUM_PULL);
    double *square = cpt_sae_block_scalar(s, block, SQUARE_ERROR);
    double *all = cpt_sae_block_scalar(s, block, SQUARE_PREFIXES);
    memset(sum, 0, (size_t)t->stride * sizeof *sum);
    memset(pull, 0, (size_t)t->stride * sizeof *pull);
    *square = *all = 0;
    for (int64_t i = block * CPT_SAE_BLOCK; i < cpt_sae_block_end(s, block); i++) {
        const float *centred = t->centred + i * t->stride;
        float *error = t->error + i * t->stride;
        for (int64_t j = 0; j < t->stride; j++) error[j] = -centred[j];
        if (prefixes) *all += residual_prefixes(s, i, error);
        else decode_until(s, a->first[i], a->first[i] + a->counts[i], t->n_concepts, error);
        double own = s->rows->dot(error, error, t->stride);
        if (s->row_error) s->row_error[i] = (float)own;
        *square += own;
        s->strips->add(t->dim, error, sum);
        if (prefixes) s->strips->add(t->dim, pull_row(t, 0, i), pull);
    }
}

/* ---- 3 and 5 by strips ---- */

static float *pair_strip(const cpt_sae_trainer *t, int64_t strip, int64_t i)
{
    return t->pair_strips + (strip * t->batch_max + i) * 2 * CPT_PAIR_STRIP;
}

/* A whole strip as a rule, which the compiler then does without a call. */
static void copy_columns(int64_t n, const float *from, float *to)
{
    if (n == CPT_STRIP) memcpy(to, from, CPT_STRIP * sizeof *to);
    else memcpy(to, from, (size_t)n * sizeof *to);
}

/* Error of one block of rows in one strip, and its inner products with the active atoms so far into gradients. */
static void residual_strip(const step *s, int64_t block, int64_t first)
{
    enum { PAIRS = CPT_STRIP / CPT_PAIR_STRIP };
    cpt_sae_trainer *t = s->t;
    cpt_sae_active *a = &t->active;
    const int64_t left = t->stride - first, here = left < CPT_STRIP ? left : CPT_STRIP;
    double sum[CPT_STRIP] = {0}, *square = cpt_sae_block_scalar(s, block, SQUARE_ERROR);
    if (first == 0) *square = 0;
    for (int64_t i = block * CPT_SAE_BLOCK; i < cpt_sae_block_end(s, block); i++) {
        float error[CPT_STRIP], centred[CPT_STRIP] = {0};
        const int64_t at = a->first[i];
        if (first == 0) memset(a->gradients + at, 0, (size_t)a->counts[i] * sizeof *a->gradients);
        copy_columns(here, t->centred + i * t->stride + first, centred);
        const float own = s->strips->decode(a->counts[i], a->latents + at, a->values + at, t->atom_strip, centred, error,
                                            a->gradients + at);
        *square += (double)own;
        if (s->row_error) s->row_error[i] = first == 0 ? own : s->row_error[i] + own;
        s->strips->add(CPT_STRIP, error, sum);
        if (t->recipe.aux != CPT_SAE_AUX_NONE) copy_columns(here, error, t->error + i * t->stride + first);
        for (int p = 0; p < PAIRS; p++) {
            float *to = pair_strip(t, first / CPT_PAIR_STRIP + p, i);
            memcpy(to, centred + p * CPT_PAIR_STRIP, CPT_PAIR_STRIP * sizeof *to);
            memcpy(to + CPT_PAIR_STRIP, error + p * CPT_PAIR_STRIP, CPT_PAIR_STRIP * sizeof *to);
        }
    }
    memcpy(cpt_sae_block_vector(s, block, SUM_ERROR) + first, sum, (size_t)here * sizeof *sum);
}

static void residual_by_strips(const step *s)
{
    cpt_sae_trainer *t = s->t;
    const int64_t chunks = (t->n_concepts + CPT_SAE_CHUNK - 1) / CPT_SAE_CHUNK;
#pragma omp parallel num_threads(s->n_threads) if (s->n_threads > 1)
    for (int64_t first = 0; first < t->stride; first += CPT_STRIP) {
#pragma omp for schedule(static)
        for (int64_t c = 0; c < chunks; c++) {
            const int64_t from = c * CPT_SAE_CHUNK, left = t->n_concepts - from;
            s->strips->copy(left < CPT_SAE_CHUNK ? left : CPT_SAE_CHUNK, t->atoms + from * t->stride, t->stride, first,
                            t->atom_strip + from * CPT_STRIP);
        }
#pragma omp for schedule(static, 1)
        for (int64_t b = 0; b < s->n_blocks; b++) residual_strip(s, b, first);
    }
}

/* The gradients of all values, and the lists by latent with what they stand for. */
static void fill_list(const step *s, int32_t c)
{
    cpt_sae_trainer *t = s->t;
    cpt_sae_active *a = &t->active;
    const float twice = (float)(2 * s->weight);
    for (int64_t at = a->starts[c]; at < a->starts[c + 1]; at++) {
        const int64_t entry = a->entries[at];
        a->gradients[entry] *= twice;
        t->list[at] = (cpt_strip_entry){a->samples[entry], a->values[entry], a->gradients[entry]};
    }
}

static void gradient_strip(const step *s, int64_t strip, int32_t c)
{
    cpt_sae_trainer *t = s->t;
    const int64_t *starts = t->active.starts, first = strip * CPT_PAIR_STRIP, at = c * t->stride + first;
    const int64_t n = starts[c + 1] - starts[c], left = t->stride - first;
    if (n == 0) return;
    const float factor = (float)(2 * s->weight), *pairs = pair_strip(t, strip, 0);
    if (left >= CPT_PAIR_STRIP) {
        s->strips->gather(n, t->list + starts[c], pairs, factor, t->g_w_enc + at, t->g_w_dec + at);
        return;
    }
    float enc[CPT_PAIR_STRIP], dec[CPT_PAIR_STRIP]; /* the last strip may be wider than the rows */
    s->strips->gather(n, t->list + starts[c], pairs, factor, enc, dec);
    memcpy(t->g_w_enc + at, enc, (size_t)left * sizeof *enc);
    memcpy(t->g_w_dec + at, dec, (size_t)left * sizeof *dec);
}

/* Of the main loss; a strip of samples is read by one thread as long as there are more strips than threads. */
static void gradients_by_strips(const step *s)
{
    cpt_sae_trainer *t = s->t;
    const int64_t strips = (t->stride + CPT_PAIR_STRIP - 1) / CPT_PAIR_STRIP;
    const int64_t chunks = (t->n_concepts + CPT_SAE_CHUNK - 1) / CPT_SAE_CHUNK;
#pragma omp parallel num_threads(s->n_threads) if (s->n_threads > 1)
    {
#pragma omp for schedule(static)
        for (int32_t c = 0; c < t->n_concepts; c++) fill_list(s, c);
#pragma omp for schedule(static)
        for (int64_t unit = 0; unit < strips * chunks; unit++) {
            const int64_t from = unit % chunks * CPT_SAE_CHUNK, end = from + CPT_SAE_CHUNK;
            for (int64_t c = from; c < t->n_concepts && c < end; c++) gradient_strip(s, unit / chunks, (int32_t)c);
        }
    }
}

/* Of one reconstruction. */
static double loss_weight(const step *s, double total_squares)
{
    double n = (double)s->n, d = s->t->dim;
    switch (s->t->recipe.loss) {
    case CPT_SAE_LOSS_FVU: return total_squares > 0 ? 1 / total_squares : 0;
    case CPT_SAE_LOSS_SUM: return 1 / n;
    case CPT_SAE_LOSS_MEAN: return 1 / (n * d);
    default: return s->t->recipe.loss_scale / (n * d);
    }
}

/* Of each prefix among all. */
static double prefix_weight(const cpt_sae_recipe *r)
{
    if (r->n_prefixes <= 1) return 1;
    return r->prefix_weight > 0 ? r->prefix_weight : 1.0 / r->n_prefixes;
}

static void value_gradients(const step *s, int64_t block)
{
    cpt_sae_trainer *t = s->t;
    cpt_sae_active *a = &t->active;
    const float twice = (float)(2 * s->weight);
    for (int64_t i = block * CPT_SAE_BLOCK; i < cpt_sae_block_end(s, block); i++)
        for (int64_t p = a->first[i]; p < a->first[i] + a->counts[i]; p++)
            a->gradients[p] = twice * s->rows->dot(pull_row(t, prefix_of(t, a->latents[p]), i),
                                                   t->atoms + a->latents[p] * t->stride, t->stride);
}

/* ---- 4. auxiliary loss ---- */

/* The k_aux largest dead latents of one sample, as latents. */
static void select_aux(const step *s, int64_t i, int thread)
{
    cpt_sae_trainer *t = s->t;
    cpt_sae_active *a = &t->aux;
    const float *kept = t->candidate_values + i * t->n_candidates;
    float *values = t->gather + (int64_t)thread * t->n_concepts;
    for (int32_t j = 0; j < t->n_dead; j++) values[j] = kept[t->dead[j]];
    int32_t *latents = a->latents + a->first[i];
    a->counts[i] = s->topk->row(values, t->n_dead, s->k_aux, t->recipe.aux_negative ? -INFINITY : 0,
                                latents, a->values + a->first[i],
                                t->topk + (size_t)thread * t->topk_size);
    for (int32_t j = 0; j < a->counts[i]; j++) latents[j] = t->candidates[t->dead[latents[j]]];
}

static void aux_block(const step *s, int64_t block, int thread)
{
    cpt_sae_trainer *t = s->t;
    cpt_sae_active *a = &t->aux;
    const float twice = (float)(2 * s->aux_weight);
    double *sum = cpt_sae_block_vector(s, block, SUM_AUX), *square = cpt_sae_block_scalar(s, block, SQUARE_AUX);
    memset(sum, 0, (size_t)t->stride * sizeof *sum);
    *square = 0;
    for (int64_t i = block * CPT_SAE_BLOCK; i < cpt_sae_block_end(s, block); i++) {
        float *g = t->aux_gradient + i * t->stride;
        select_aux(s, i, thread);
        memcpy(g, t->error + i * t->stride, (size_t)t->stride * sizeof *g); /* minus the residual */
        for (int64_t p = a->first[i]; p < a->first[i] + a->counts[i]; p++)
            s->rows->axpy(a->values[p], t->atoms + a->latents[p] * t->stride, g, t->stride);
        *square += s->rows->dot(g, g, t->stride);
        for (int64_t j = 0; j < t->stride; j++) g[j] *= twice;
        s->strips->add(t->dim, g, sum);
        for (int64_t p = a->first[i]; p < a->first[i] + a->counts[i]; p++)
            a->gradients[p] = s->rows->dot(g, t->atoms + a->latents[p] * t->stride, t->stride);
    }
}

/* Sets aux_weight and k_aux; false when there is no auxiliary loss in this step. */
static bool prepare_aux(step *s)
{
    const cpt_sae_recipe *r = &s->t->recipe;
    const int32_t n_dead = s->t->n_dead;
    if (r->aux == CPT_SAE_AUX_NONE || n_dead == 0) return false;
    s->k_aux = n_dead < r->k_aux ? n_dead : r->k_aux;
    if (r->aux == CPT_SAE_AUX_SUM) {
        double share = (double)n_dead / r->k_aux;
        s->aux_weight = r->aux_weight * (share < 1 ? share : 1) / (double)s->n;
        return true;
    }
    double total = around_mean(s, SUM_ERROR, SQUARE_ERROR);
    if (!(total > 0)) return false; /* NaN -> 0 */
    s->aux_weight = r->aux_weight / total;
    return true;
}

/* ---- 5. gradients of a latent ---- */

static void add_list(const step *s, const cpt_sae_active *a, int32_t c, const float *target, float factor,
                     float *g_dec, float *g_enc, double *g_bias)
{
    const cpt_sae_trainer *t = s->t;
    for (int64_t at = a->starts[c]; at < a->starts[c + 1]; at++) {
        const int64_t entry = a->entries[at], i = a->samples[entry];
        s->rows->axpy(factor * a->values[entry], target + i * t->stride, g_dec, t->stride);
        s->rows->axpy(a->gradients[entry], t->centred + i * t->stride, g_enc, t->stride);
        *g_bias += a->gradients[entry];
    }
}

/* g -= (g . w) w / norm^2, where eps is added to the norm as the established code does. */
static void remove_parallel(const step *s, const float *w, double eps, float *g)
{
    const int64_t n = s->t->stride;
    double norm = sqrt(s->rows->dot(w, w, n)) + eps;
    if (!(norm > 0)) return;
    s->rows->axpy((float)(-s->rows->dot(g, w, n) / (norm * norm)), w, g, n);
}

static void set_unit(float *w, double norm, double eps, int64_t n)
{
    if (!(norm > 0)) return;
    const float inverse = (float)(1 / (norm + eps));
    for (int64_t j = 0; j < n; j++) w[j] *= inverse;
}

/* Gradient of the latent's row v where atom = v / |v|, and where with RESCALED u = |v| h as well:
 * dv = (I - a a^T) da / |v| + (sum of du u / |v|) a. */
static void through_norm(const step *s, int32_t c, const cpt_sae_active *a, const cpt_sae_active *aux,
                         float *g_dec, float *g_enc, double *g_bias)
{
    const cpt_sae_trainer *t = s->t;
    const float *atom = t->atoms + c * t->stride;
    const float norm = t->norms[c];
    if (!(norm > 0)) return;
    remove_parallel(s, atom, 0, g_dec);
    for (int64_t j = 0; j < t->stride; j++) g_dec[j] /= norm;
    if (t->recipe.decoder != CPT_SAE_DECODER_RESCALED) return;
    double sum = 0;
    for (int64_t at = a->starts[c]; at < a->starts[c + 1]; at++)
        sum += (double)a->gradients[a->entries[at]] * a->values[a->entries[at]];
    for (int64_t at = aux ? aux->starts[c] : 0; aux && at < aux->starts[c + 1]; at++)
        sum += (double)aux->gradients[aux->entries[at]] * aux->values[aux->entries[at]];
    s->rows->axpy((float)(sum / norm), atom, g_dec, t->stride);
    for (int64_t j = 0; j < t->stride; j++) g_enc[j] *= norm;
    *g_bias *= norm;
}

static void latent_gradient(const step *s, int32_t c, bool with_aux)
{
    cpt_sae_trainer *t = s->t;
    const cpt_sae_active *a = &t->active, *aux = with_aux ? &t->aux : NULL;
    float *g_dec = t->g_w_dec + c * t->stride, *g_enc = t->g_w_enc + c * t->stride;
    float *w = t->w_dec + c * t->stride;
    bool any = a->starts[c + 1] > a->starts[c] || (aux && aux->starts[c + 1] > aux->starts[c]);
    t->has_gradient[c] = any;
    t->squares[c] = 0;
    t->g_b_enc[c] = 0;
    if (t->recipe.decoder == CPT_SAE_DECODER_UNIT_FIRST)
        set_unit(w, sqrt(s->rows->dot(w, w, t->stride)), t->recipe.unit_eps, t->stride);
    if (!any) return;
    double g_bias = 0;
    if (!t->strips || a->starts[c + 1] == a->starts[c]) {
        memset(g_dec, 0, (size_t)t->stride * sizeof *g_dec);
        memset(g_enc, 0, (size_t)t->stride * sizeof *g_enc);
    }
    if (t->strips)
        for (int64_t at = a->starts[c]; at < a->starts[c + 1]; at++) g_bias += (double)t->list[at].gradient;
    else
        add_list(s, a, c, pull_row(t, prefix_of(t, c), 0), (float)(2 * s->weight), g_dec, g_enc, &g_bias);
    if (aux) add_list(s, aux, c, t->aux_gradient, 1, g_dec, g_enc, &g_bias);
    if (cpt_sae_own_atoms(t)) through_norm(s, c, a, aux, g_dec, g_enc, &g_bias);
    else if (t->recipe.decoder == CPT_SAE_DECODER_UNIT)
        remove_parallel(s, w, t->recipe.projection_eps, g_dec);
    else if (t->recipe.decoder == CPT_SAE_DECODER_UNIT_FIRST)
        remove_parallel(s, w, 0, g_dec);
    t->g_b_enc[c] = (float)g_bias;
    t->squares[c] = (double)s->rows->dot(g_dec, g_dec, t->stride) +
                    s->rows->dot(g_enc, g_enc, t->stride) + g_bias * g_bias;
}

/* d/db of sum |x_hat - x|^2 directly, and through the centred input of the encoder. */
static double bias_gradient(const step *s, bool with_aux)
{
    cpt_sae_trainer *t = s->t;
    memset(t->g_b_dec, 0, (size_t)t->stride * sizeof *t->g_b_dec);
    if (t->recipe.bias == CPT_SAE_BIAS_ABSENT) return 0;
    const int32_t n_chunks = (t->n_concepts + CPT_SAE_CHUNK - 1) / CPT_SAE_CHUNK;
#pragma omp parallel for schedule(static) num_threads(s->n_threads) if (s->n_threads > 1)
    for (int32_t chunk = 0; chunk < n_chunks; chunk++) {
        double *sum = t->bias_partial + chunk * t->stride;
        memset(sum, 0, (size_t)t->stride * sizeof *sum);
        for (int32_t c = chunk * CPT_SAE_CHUNK; c < t->n_concepts && c < (chunk + 1) * CPT_SAE_CHUNK; c++) {
            if (!t->has_gradient[c]) continue;
            const float *w = t->w_enc + c * t->stride;
            const double g = t->g_b_enc[c];
            for (int32_t j = 0; j < t->dim; j++) sum[j] += g * w[j];
        }
    }
    double square = 0;
    const int errors = cpt_sae_prefixed(t) ? SUM_PULL : SUM_ERROR;
    for (int32_t j = 0; j < t->dim; j++) {
        double g = 0, direct = 0, aux = 0;
        for (int32_t chunk = 0; chunk < n_chunks; chunk++) g -= t->bias_partial[chunk * t->stride + j];
        for (int64_t b = 0; b < s->n_blocks; b++) {
            direct += cpt_sae_block_vector(s, b, errors)[j];
            if (with_aux && t->recipe.aux_bias_gradient) aux += cpt_sae_block_vector(s, b, SUM_AUX)[j];
        }
        g += 2 * s->weight * direct + aux;
        t->g_b_dec[j] = (float)g;
        square += g * g;
    }
    return square;
}

/* ---- 6. update ---- */

static void refresh_atom(const cpt_sae_trainer *t, int32_t c)
{
    const float *w = t->w_dec + c * t->stride;
    float *atom = t->atoms + c * t->stride;
    double sum = 0;
    for (int32_t j = 0; j < t->dim; j++) sum += (double)w[j] * w[j];
    t->norms[c] = (float)sqrt(sum);
    for (int64_t j = 0; j < t->stride; j++) atom[j] = sum > 0 ? (float)(w[j] / sqrt(sum)) : 0;
}

void cpt_sae_refresh_atoms(cpt_sae_trainer *t)
{
    for (int32_t c = 0; c < t->n_concepts && cpt_sae_own_atoms(t); c++) refresh_atom(t, c);
}

static void average(float *mean, const float *w, double rate, int64_t n)
{
    const float keep = (float)rate, add = (float)(1 - rate);
    for (int64_t j = 0; j < n; j++) mean[j] = keep * mean[j] + add * w[j];
}

static void update_latent(const step *s, const cpt_adam *adam, int32_t c)
{
    cpt_sae_trainer *t = s->t;
    const int64_t at = c * t->stride;
    const bool any = t->has_gradient[c];
    float *w = t->w_dec + at;
    s->rows->adam(adam, any ? t->g_w_enc + at : NULL, t->m_w_enc.mean + at, t->m_w_enc.square + at,
                  t->w_enc + at, t->stride);
    s->rows->adam(adam, any ? t->g_w_dec + at : NULL, t->m_w_dec.mean + at, t->m_w_dec.square + at, w,
                  t->stride);
    if (t->recipe.decoder == CPT_SAE_DECODER_UNIT)
        set_unit(w, sqrt(s->rows->dot(w, w, t->stride)), t->recipe.unit_eps, t->stride);
    if (cpt_sae_own_atoms(t)) refresh_atom(t, c);
    if (t->recipe.ema > 0) {
        average(t->e_w_enc + at, t->w_enc + at, t->recipe.ema, t->stride);
        average(t->e_w_dec + at, t->w_dec + at, t->recipe.ema, t->stride);
    }
}

static void update(const step *s, double learning_rate, double gradient_norm)
{
    cpt_sae_trainer *t = s->t;
    const cpt_sae_recipe *r = &t->recipe;
    double factor = 1;
    if (r->clip > 0 && r->clip / (gradient_norm + 1e-6) < 1) factor = r->clip / (gradient_norm + 1e-6);
    const cpt_adam adam = cpt_adam_at(learning_rate, r->beta1, r->beta2, r->adam_eps, t->n_steps + 1,
                                      factor);
#pragma omp parallel for schedule(static) num_threads(s->n_threads) if (s->n_threads > 1)
    for (int32_t c = 0; c < t->n_concepts; c++) update_latent(s, &adam, c);
    const int64_t F = cpt_row_stride(t->n_concepts);
    s->rows->adam(&adam, t->g_b_enc, t->m_b_enc.mean, t->m_b_enc.square, t->b_enc, F);
    if (r->bias != CPT_SAE_BIAS_ABSENT)
        s->rows->adam(&adam, t->g_b_dec, t->m_b_dec.mean, t->m_b_dec.square, t->b_dec, t->stride);
    if (r->ema > 0) {
        average(t->e_b_enc, t->b_enc, r->ema, F);
        average(t->e_b_dec, t->b_dec, r->ema, t->stride);
    }
    t->n_steps++;
}

/* ---- the step ---- */

static bool forward(step *s)
{
    cpt_sae_trainer *t = s->t;
    cpt_sae_encode(s);
    if (cpt_sae_selects_batch(t)) select_batch(s);
    list_by_latent(s, &t->active);
    count_dead(s);
    if (t->strips) residual_by_strips(s);
    else {
#pragma omp parallel for schedule(static, 1) num_threads(s->n_threads) if (s->n_threads > 1)
        for (int64_t b = 0; b < s->n_blocks; b++) residual_block(s, b);
    }
    return prepare_aux(s);
}

static void backward(step *s, bool with_aux)
{
    cpt_sae_trainer *t = s->t;
#pragma omp parallel for schedule(static, 1) num_threads(s->n_threads) if (s->n_threads > 1)
    for (int64_t b = 0; b < s->n_blocks; b++) {
        if (!t->strips) value_gradients(s, b);
        if (with_aux) aux_block(s, b, omp_get_thread_num());
    }
    if (with_aux) list_by_latent(s, &t->aux);
    if (t->strips) gradients_by_strips(s);
#pragma omp parallel for schedule(dynamic, CPT_SAE_CHUNK) num_threads(s->n_threads) if (s->n_threads > 1)
    for (int32_t c = 0; c < t->n_concepts; c++) latent_gradient(s, c, with_aux);
}

cpt_status cpt_sae_step(cpt_sae_trainer *t, const cpt_training_rows *data, const int64_t *order,
                        int64_t n, float scale, int32_t k, double learning_rate, float *row_error,
                        cpt_sae_step_report *report, cpt_err *e)
{
    step s = {.t = t,
              .rows = cpt_row_kernels_get(),
              .topk = cpt_topk_kernels_get(),
              .strips = cpt_strip_kernels_get(),
              .data = data,
              .order = order,
              .n = n,
              .n_blocks = (n + CPT_SAE_BLOCK - 1) / CPT_SAE_BLOCK,
              .scale = scale,
              .k = k,
              .row_error = row_error};
    double work = (double)n * t->n_concepts * t->dim;
    s.n_threads = work > SERIAL_WORK ? t->n_threads : 1;
    cpt_status status = cpt_sae_list_candidates(&s, e);
    if (status != CPT_OK) return status;

    bool with_aux = forward(&s);
    double total = around_mean(&s, SUM_CENTRED, SQUARE_CENTRED);
    double error = sum_of_scalars(&s, SQUARE_ERROR);
    s.weight = loss_weight(&s, total) * prefix_weight(&t->recipe);
    backward(&s, with_aux);
    double squares = bias_gradient(&s, with_aux);
    for (int32_t c = 0; c < t->n_concepts; c++) squares += t->squares[c];

    double losses = cpt_sae_prefixed(t) ? sum_of_scalars(&s, SQUARE_PREFIXES) : error;
    *report = (cpt_sae_step_report){.main_loss = s.weight * losses,
                                    .squared_error = error / (double)n,
                                    .fvu = total > 0 ? error / total : 0,
                                    .gradient_norm = sqrt(squares),
                                    .n_dead = t->n_dead};
    double aux = with_aux ? s.aux_weight * sum_of_scalars(&s, SQUARE_AUX) : 0;
    report->loss = report->main_loss + aux;
    report->aux = t->recipe.aux_weight > 0 ? aux / t->recipe.aux_weight : 0;
    update(&s, learning_rate, report->gradient_norm);
    return CPT_OK;
}

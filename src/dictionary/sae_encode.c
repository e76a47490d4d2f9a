/* sae_encode.c - the encoder of a training step: which latents are active, and their values.
 *
 * Blocks of rows are centred and multiplied with the encoder. Of a wide dictionary in f32 the products are screened in
 * bfloat16 and those that matter computed again (math/screen.h): the choice and the values are f32's. Else the k
 * largest are chosen while the product is computed, or, of a batch, narrow dictionaries and in tests, from all of it.
 *
 * Latents that are about to be dead ("candidates") have their values kept for the auxiliary loss. */
#include "dictionary/sae_step_parts.h"

#include "base/memory.h"

#include <omp.h>
#include <string.h>

typedef cpt_sae_pass step;

enum { GIVE_UP = 8 }; /* no more screening when one row in so many was too many for it */

static void gather_row(const step *s, int64_t i)
{
    const cpt_sae_trainer *t = s->t;
    const float *a = cpt_training_row(s->data, s->order ? s->order[i] : i);
    float *centred = t->centred + i * t->stride;
    for (int32_t j = 0; j < t->dim; j++) centred[j] = a[j] * s->scale - t->b_dec[j];
}

static void centre_block(const step *s, int64_t block)
{
    cpt_sae_trainer *t = s->t;
    double *sum = cpt_sae_block_vector(s, block, SUM_CENTRED), *square = cpt_sae_block_scalar(s, block, SQUARE_CENTRED);
    memset(sum, 0, (size_t)t->stride * sizeof *sum);
    *square = 0;
    for (int64_t i = block * CPT_SAE_BLOCK; i < cpt_sae_block_end(s, block); i++) {
        gather_row(s, i);
        const float *centred = t->centred + i * t->stride;
        s->strips->add(t->dim, centred, sum);
        *square += s->rows->dot(centred, centred, t->stride);
    }
}

/* What is done with pre-activations as they come: see cpt_gemm_sink. */
typedef struct encoding {
    const step *s;
    int64_t start; /* of the rows */
    cpt_topk_run *runs;
} encoding;

static int32_t first_candidate(const cpt_sae_trainer *t, int64_t latent)
{
    int32_t low = 0, high = t->n_candidates;
    while (low < high) {
        const int32_t middle = low + (high - low) / 2;
        if (t->candidates[middle] < latent) low = middle + 1;
        else high = middle;
    }
    return low;
}

static void take_pre_activations(void *user, int64_t first_row, int64_t rows, int64_t first, int64_t n,
                                 const float *block)
{
    const encoding *at = user;
    const cpt_sae_trainer *t = at->s->t;
    const bool rescaled = t->recipe.decoder == CPT_SAE_DECODER_RESCALED;
    const int32_t from = first_candidate(t, first), end = first_candidate(t, first + n);
    for (int64_t i = 0; i < rows; i++, block += CPT_GEMM_PANEL) {
        float scaled[CPT_GEMM_PANEL];
        const float *values = rescaled ? scaled : block;
        for (int64_t c = 0; c < n && rescaled; c++) scaled[c] = block[c] * t->norms[first + c];
        at->s->topk->more(&at->runs[first_row + i], at->s->k, (int32_t)first, (int32_t)n, values);
        float *kept = t->candidate_values + (at->start + first_row + i) * t->n_candidates;
        for (int32_t c = from; c < end; c++) kept[c] = values[t->candidates[c] - first];
    }
}

static void encode_fused(const step *s, int64_t start, int64_t end, int thread)
{
    cpt_sae_trainer *t = s->t;
    encoding at = {s, start, t->runs + (int64_t)thread * CPT_SAE_TURN * CPT_SAE_BLOCK};
    for (int64_t i = start; i < end; i++) {
        at.runs[i - start].bound = 0;
        at.runs[i - start].n = 0;
    }
    cpt_multiply_into(&t->packed, end - start, t->centred + start * t->stride, t->stride,
                      &(cpt_epilogue){.bias = t->b_enc}, take_pre_activations, &at);
    for (int64_t i = start; i < end; i++)
        t->active.counts[i] = s->topk->end(&at.runs[i - start], s->k, t->active.latents + t->active.first[i],
                                           t->active.values + t->active.first[i]);
}

/* All pre-activations first; of a batch they are kept for the selection. */
static void encode_whole(const step *s, int64_t block, int thread)
{
    cpt_sae_trainer *t = s->t;
    const int32_t F = t->n_concepts;
    const int64_t start = block * CPT_SAE_BLOCK, end = cpt_sae_block_end(s, block);
    const bool batch = cpt_sae_selects_batch(t);
    float *pre = t->pre + (batch ? block : thread) * CPT_SAE_BLOCK * F;
    cpt_multiply(&t->packed, end - start, t->centred + start * t->stride, t->stride, pre, F,
                 &(cpt_epilogue){.bias = t->b_enc});
    for (int64_t i = start; i < end; i++) {
        float *row = pre + (i - start) * F;
        if (t->recipe.decoder == CPT_SAE_DECODER_RESCALED)
            for (int32_t c = 0; c < F; c++) row[c] *= t->norms[c];
        const int64_t at = t->active.first[i];
        if (!batch)
            t->active.counts[i] = s->topk->row(row, F, s->k, 0, t->active.latents + at,
                                               t->active.values + at,
                                               t->topk + (size_t)thread * t->topk_size);
        float *kept = t->candidate_values + i * t->n_candidates;
        for (int32_t c = 0; c < t->n_candidates; c++) kept[c] = row[t->candidates[c]];
    }
}

/* ---- screened ---- */

/* The candidates' values in f32, for which the screen is too rough. */
static void keep_candidates(const step *s, int64_t start, int64_t end)
{
    cpt_sae_trainer *t = s->t;
    if (t->n_candidates == 0) return;
    cpt_multiply(&t->candidate_packed, end - start, t->centred + start * t->stride, t->stride,
                 t->candidate_values + start * t->n_candidates, t->n_candidates,
                 &(cpt_epilogue){.bias = t->candidate_bias});
}

static void screen_turn(const step *s, int64_t start, int64_t end, int thread)
{
    cpt_sae_trainer *t = s->t;
    const int64_t own = (int64_t)thread * CPT_SAE_TURN * CPT_SAE_BLOCK;
    cpt_screen_rows(&t->screen, end - start, t->centred + start * t->stride, s->k, t->runs + own, t->row_norms + own,
                    t->n_chosen + start, t->chosen + start * CPT_TOPK_RUN);
    keep_candidates(s, start, end);
}

/* A row that the screen has given up: all of its products. */
static void choose_from_all(const step *s, int64_t i, int thread)
{
    cpt_sae_trainer *t = s->t;
    float *values = t->gather + (int64_t)thread * t->n_concepts;
    for (int64_t strip = 0; strip < cpt_strips(t->stride); strip++)
        cpt_screen_add(&t->screen, strip, t->centred + i * t->stride, t->n_concepts, t->every, values);
    const int64_t at = t->active.first[i];
    t->active.counts[i] = s->topk->row(values, t->n_concepts, s->k, 0, t->active.latents + at, t->active.values + at,
                                       t->topk + (size_t)thread * t->topk_size);
}

/* One strip's part of the f32 products; after the last strip the k largest. */
static void choose_turn(const step *s, int64_t start, int64_t end, int64_t strip, int thread)
{
    cpt_sae_trainer *t = s->t;
    const bool last = strip + 1 == cpt_strips(t->stride);
    for (int64_t i = start; i < end; i++) {
        const int32_t m = t->n_chosen[i], *chosen = t->chosen + i * CPT_TOPK_RUN;
        float *values = t->chosen_values + i * CPT_TOPK_RUN;
        if (m != CPT_TOPK_TOO_MANY) cpt_screen_add(&t->screen, strip, t->centred + i * t->stride, m, chosen, values);
        if (!last) continue;
        const int64_t at = t->active.first[i];
        if (m == CPT_TOPK_TOO_MANY) choose_from_all(s, i, thread);
        else
            t->active.counts[i] =
                s->topk->few(m, chosen, values, s->k, t->active.latents + at, t->active.values + at);
    }
}

/* ---- all turns ---- */

static int64_t turn_end(const step *s, int64_t first_block)
{
    const int64_t last = first_block + CPT_SAE_TURN < s->n_blocks ? first_block + CPT_SAE_TURN : s->n_blocks;
    return cpt_sae_block_end(s, last - 1);
}

static void encode_turn(const step *s, int64_t first_block, int thread)
{
    const int64_t start = first_block * CPT_SAE_BLOCK, end = turn_end(s, first_block);
    const int64_t last = (end + CPT_SAE_BLOCK - 1) / CPT_SAE_BLOCK;
    for (int64_t b = first_block; b < last; b++) centre_block(s, b);
    if (s->screened) screen_turn(s, start, end, thread);
    else if (s->t->fused && s->k <= CPT_TOPK_RUN_K) encode_fused(s, start, end, thread);
    else
        for (int64_t b = first_block; b < last; b++) encode_whole(s, b, thread);
}

/* Latents first .. end of the encoder as this step uses them. */
static void pack_latents(const step *s, int64_t first, int64_t end)
{
    cpt_sae_trainer *t = s->t;
    if (s->screened) cpt_screen_pack(&t->screen, first, end, t->w_enc, t->b_enc);
    else cpt_repack(&t->packed, first, end, t->w_enc + first * t->stride, t->stride, 1);
}

static void pack_candidates(const step *s)
{
    cpt_sae_trainer *t = s->t;
    if (!s->screened || t->n_candidates == 0) return;
    for (int32_t i = 0; i < t->n_candidates; i++) {
        const int64_t c = t->candidates[i];
        memcpy(t->candidate_rows + i * t->stride, t->w_enc + c * t->stride, (size_t)t->stride * sizeof(float));
        t->candidate_bias[i] = t->b_enc[c];
    }
    cpt_pack(CPT_GEMM_F32, t->n_candidates, t->stride, t->candidate_rows, t->stride, 1, t->candidate_memory,
             &t->candidate_packed);
}

/* Where more than a few rows have too many latents that are as good as equal, all products in f32 are faster. */
static void count_given_up(const step *s)
{
    int64_t n = 0;
    for (int64_t i = 0; i < s->n; i++) n += s->t->n_chosen[i] == CPT_TOPK_TOO_MANY;
    if (n * GIVE_UP > s->n) s->t->screened = false;
}

void cpt_sae_encode(cpt_sae_pass *s)
{
    cpt_sae_trainer *t = s->t;
    const int64_t panel = CPT_GEMM_PANEL, n_panels = (t->n_concepts + panel - 1) / panel;
    const int64_t n_strips = s->screened ? cpt_strips(t->stride) : 0;
    if (s->screened) t->screen = cpt_screen_of(t->n_concepts, t->stride, t->screen_memory);
    else t->packed = cpt_packed_of((cpt_precision)t->recipe.encoder, t->n_concepts, t->dim, t->packed_memory);
    pack_candidates(s);
#pragma omp parallel num_threads(s->n_threads) if (s->n_threads > 1)
    {
#pragma omp for schedule(static)
        for (int64_t p = 0; p < n_panels; p++) {
            const int64_t end = (p + 1) * panel;
            pack_latents(s, p * panel, end < t->n_concepts ? end : t->n_concepts);
        }
#pragma omp single
        if (s->screened) cpt_screen_ready(&t->screen, t->b_enc);
#pragma omp for schedule(static, 1)
        for (int64_t b = 0; b < s->n_blocks; b += CPT_SAE_TURN) encode_turn(s, b, omp_get_thread_num());
        /* every thread goes on with its own rows; a strip of all latents stays in its second-level cache */
        for (int64_t strip = 0; strip < n_strips; strip++) {
#pragma omp for schedule(static, 1) nowait
            for (int64_t b = 0; b < s->n_blocks; b += CPT_SAE_TURN)
                choose_turn(s, b * CPT_SAE_BLOCK, turn_end(s, b), strip, omp_get_thread_num());
        }
    }
    if (s->screened) count_given_up(s);
}

/* Latents that will be dead after this batch unless they fire in it. */
cpt_status cpt_sae_list_candidates(cpt_sae_pass *s, cpt_err *e)
{
    cpt_sae_trainer *t = s->t;
    t->n_candidates = 0;
    s->screened = t->screened && s->k <= CPT_TOPK_RUN_K;
    if (t->recipe.aux == CPT_SAE_AUX_NONE) return CPT_OK;
    for (int32_t c = 0; c < t->n_concepts; c++)
        if (t->since[c] + s->n >= t->dead_after) t->candidates[t->n_candidates++] = c;
    if (t->n_candidates > t->n_concepts / 2) s->screened = false; /* most have to be known in f32 anyway */
    size_t need = 0;
    if (!cpt_size_mul((size_t)t->n_candidates, (size_t)t->batch_max, &need))
        return cpt_fail(e, CPT_ERR_MEMORY, "batch too large");
    return cpt_grow(&t->candidate_values, &t->candidate_capacity, need, sizeof(float), e);
}

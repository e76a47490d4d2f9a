/* sae_trainer.c - the memory of a sparse autoencoder in training. */
#include "dictionary/sae_step_parts.h"

#include "base/cpu.h"
#include "base/memory.h"
#include "math/blas.h"
#include "math/gemm.h"

#include <stdlib.h>
#include <string.h>

enum { STRIPS_FROM = 128 };      /* columns: narrower ones are in the caches anyway */
enum { FUSED_FROM = 256 };       /* latents */

/* An array that lives as long as the trainer, into *out (any pointer type). */
static cpt_status take(cpt_sae_trainer *t, void *out, size_t n, size_t size, cpt_err *e)
{
    void *p = NULL;
    cpt_status status =
        cpt_grow(&t->memory, &t->memory_capacity, t->n_memory + 1, sizeof *t->memory, e);
    if (status == CPT_OK) status = cpt_alloc(&p, n, size, e);
    if (status != CPT_OK) return status;
    t->memory[t->n_memory++] = p;
    memcpy(out, &p, sizeof p);
    return CPT_OK;
}

/* Room for `width` pairs per sample; they start there until the selection of a batch says otherwise. */
static cpt_status take_active(cpt_sae_trainer *t, cpt_sae_active *a, int32_t width, cpt_err *e)
{
    cpt_status status = CPT_OK;
    size_t pairs = (size_t)t->batch_max * (size_t)width;
    CPT_TRY(take(t, &a->first, (size_t)t->batch_max, sizeof *a->first, e));
    CPT_TRY(take(t, &a->counts, (size_t)t->batch_max, sizeof *a->counts, e));
    CPT_TRY(take(t, &a->samples, pairs, sizeof *a->samples, e));
    CPT_TRY(take(t, &a->latents, pairs, sizeof *a->latents, e));
    CPT_TRY(take(t, &a->values, pairs, sizeof *a->values, e));
    CPT_TRY(take(t, &a->gradients, pairs, sizeof *a->gradients, e));
    CPT_TRY(take(t, &a->starts, (size_t)t->n_concepts + 1, sizeof *a->starts, e));
    CPT_TRY(take(t, &a->entries, pairs, sizeof *a->entries, e));
    for (int64_t i = 0; i < t->batch_max; i++) {
        a->first[i] = i * width;
        for (int32_t j = 0; j < width; j++) a->samples[i * width + j] = (int32_t)i;
    }
done:
    return status;
}

static cpt_status take_moments(cpt_sae_trainer *t, cpt_sae_moments *m, size_t n, cpt_err *e)
{
    cpt_status status = take(t, &m->mean, n, sizeof *m->mean, e);
    return status != CPT_OK ? status : take(t, &m->square, n, sizeof *m->square, e);
}

static cpt_status take_weights(cpt_sae_trainer *t, cpt_err *e)
{
    cpt_status status = CPT_OK;
    size_t F = (size_t)t->n_concepts, Fp = (size_t)cpt_row_stride(t->n_concepts);
    size_t d = (size_t)t->stride, all = 0;
    if (!cpt_size_mul(F, d, &all)) return cpt_fail(e, CPT_ERR_MEMORY, "dictionary too large");
    CPT_TRY(take(t, &t->w_enc, all, sizeof(float), e));
    CPT_TRY(take(t, &t->w_dec, all, sizeof(float), e));
    CPT_TRY(take(t, &t->b_enc, Fp, sizeof(float), e));
    CPT_TRY(take(t, &t->b_dec, d, sizeof(float), e));
    CPT_TRY(take(t, &t->g_w_enc, all, sizeof(float), e));
    CPT_TRY(take(t, &t->g_w_dec, all, sizeof(float), e));
    CPT_TRY(take(t, &t->g_b_enc, Fp, sizeof(float), e));
    CPT_TRY(take(t, &t->g_b_dec, d, sizeof(float), e));
    CPT_TRY(take_moments(t, &t->m_w_enc, all, e));
    CPT_TRY(take_moments(t, &t->m_w_dec, all, e));
    CPT_TRY(take_moments(t, &t->m_b_enc, Fp, e));
    CPT_TRY(take_moments(t, &t->m_b_dec, d, e));
    t->atoms = t->w_dec;
    if (cpt_sae_own_atoms(t)) CPT_TRY(take(t, &t->atoms, all, sizeof(float), e));
    CPT_TRY(take(t, &t->norms, F, sizeof(float), e));
    if (t->recipe.ema > 0) {
        CPT_TRY(take(t, &t->e_w_enc, all, sizeof(float), e));
        CPT_TRY(take(t, &t->e_w_dec, all, sizeof(float), e));
        CPT_TRY(take(t, &t->e_b_enc, Fp, sizeof(float), e));
        CPT_TRY(take(t, &t->e_b_dec, d, sizeof(float), e));
    }
    CPT_TRY(take(t, &t->since, F, sizeof *t->since, e));
done:
    return status;
}

/* What screening needs; the encoder's product in f32 stays, for steps in which it does not pay. */
static cpt_status take_screen(cpt_sae_trainer *t, cpt_err *e)
{
    cpt_status status = CPT_OK;
    const size_t F = (size_t)t->n_concepts, B = (size_t)t->batch_max, half = F / 2 + 1;
    size_t bytes;
    t->may_screen = t->fused && t->dim >= STRIPS_FROM && t->recipe.encoder == CPT_GEMM_F32 &&
                    t->recipe.decoder != CPT_SAE_DECODER_RESCALED;
    t->screened = t->may_screen && cpt_cpu_level() >= CPT_CPU_AMX;
    if (!t->may_screen) return CPT_OK;
    CPT_TRY(cpt_screen_bytes(t->n_concepts, t->stride, &bytes, e));
    CPT_TRY(take(t, &t->screen_memory, bytes, 1, e));
    CPT_TRY(take(t, &t->row_norms, (size_t)t->n_threads * CPT_SAE_TURN * CPT_SAE_BLOCK, sizeof(float), e));
    CPT_TRY(take(t, &t->chosen, B * CPT_TOPK_RUN, sizeof *t->chosen, e));
    CPT_TRY(take(t, &t->chosen_values, B * CPT_TOPK_RUN, sizeof(float), e));
    CPT_TRY(take(t, &t->n_chosen, B, sizeof *t->n_chosen, e));
    CPT_TRY(take(t, &t->every, F, sizeof *t->every, e));
    for (int32_t c = 0; c < t->n_concepts; c++) t->every[c] = c;
    if (t->recipe.aux == CPT_SAE_AUX_NONE) return CPT_OK;
    CPT_TRY(take(t, &t->candidate_rows, half * (size_t)t->stride, sizeof(float), e));
    CPT_TRY(take(t, &t->candidate_bias, half, sizeof(float), e));
    CPT_TRY(take(t, &t->candidate_memory, cpt_packed_bytes(CPT_GEMM_F32, (int64_t)half, t->stride), 1, e));
done:
    return status;
}

static cpt_status take_buffers(cpt_sae_trainer *t, cpt_err *e)
{
    cpt_status status = CPT_OK;
    size_t F = (size_t)t->n_concepts, d = (size_t)t->stride, B = (size_t)t->batch_max;
    size_t n_blocks = (B + CPT_SAE_BLOCK - 1) / CPT_SAE_BLOCK, threads = (size_t)t->n_threads;
    int32_t k = t->recipe.k_start > t->recipe.k ? t->recipe.k_start : t->recipe.k;
    CPT_TRY(take(t, &t->centred, B * d, sizeof(float), e));
    CPT_TRY(take(t, &t->error, B * d, sizeof(float), e));
    t->pull = t->error;
    if (cpt_sae_prefixed(t)) CPT_TRY(take(t, &t->pull, (size_t)t->recipe.n_prefixes * B * d, sizeof(float), e));
    CPT_TRY(take_active(t, &t->active, k, e));
    if (t->recipe.aux != CPT_SAE_AUX_NONE) {
        CPT_TRY(take(t, &t->aux_gradient, B * d, sizeof(float), e));
        CPT_TRY(take_active(t, &t->aux, t->recipe.k_aux, e));
    }
    CPT_TRY(take(t, &t->list_places, threads * F, sizeof *t->list_places, e));
    CPT_TRY(take(t, &t->candidates, F, sizeof *t->candidates, e));
    CPT_TRY(take(t, &t->dead, F, sizeof *t->dead, e));
    CPT_TRY(take(t, &t->block_sums, n_blocks * (N_VECTORS * d + N_SCALARS), sizeof(double), e));
    CPT_TRY(take(t, &t->squares, F, sizeof(double), e));
    CPT_TRY(take(t, &t->has_gradient, F, 1, e));
    CPT_TRY(take(t, &t->bias_partial, (F / CPT_SAE_CHUNK + 1) * d, sizeof(double), e));
    const size_t packed = cpt_packed_bytes((cpt_precision)t->recipe.encoder, t->n_concepts, t->dim);
    CPT_TRY(take(t, &t->packed_memory, packed, 1, e));
    CPT_TRY(take(t, &t->pre, (cpt_sae_selects_batch(t) ? n_blocks : threads) * CPT_SAE_BLOCK * F, sizeof(float), e));
    t->fused = !cpt_sae_selects_batch(t) && k <= CPT_TOPK_RUN_K && t->n_concepts >= FUSED_FROM;
    if (t->fused) CPT_TRY(take(t, &t->runs, threads * CPT_SAE_TURN * CPT_SAE_BLOCK, sizeof *t->runs, e));
    CPT_TRY(take_screen(t, e));
    t->strips = !cpt_sae_prefixed(t) && t->dim >= STRIPS_FROM;
    if (t->strips) {
        const size_t pairs = (size_t)cpt_strips(t->stride) * (CPT_STRIP / CPT_PAIR_STRIP) * 2 * CPT_PAIR_STRIP;
        CPT_TRY(take(t, &t->atom_strip, F * CPT_STRIP, sizeof(float), e));
        CPT_TRY(take(t, &t->pair_strips, B * pairs, sizeof(float), e));
        CPT_TRY(take(t, &t->list, B * (size_t)k, sizeof *t->list, e));
    }
    if (cpt_sae_selects_batch(t)) {
        CPT_TRY(take(t, &t->histograms, cpt_sae_select_scratch(t->n_threads), sizeof(int64_t), e));
        CPT_TRY(take(t, &t->equal, B, sizeof *t->equal, e));
    }
    t->topk_size = (cpt_topk_scratch(t->n_concepts) + 63) / 64 * 64;
    CPT_TRY(take(t, &t->topk, threads * t->topk_size, 1, e));
    CPT_TRY(take(t, &t->gather, threads * F, sizeof(float), e));
done:
    return status;
}

cpt_status cpt_sae_trainer_new(const cpt_sae_recipe *r, int32_t dim, int64_t batch_max, int n_threads,
                               cpt_sae_trainer **out, cpt_err *e)
{
    cpt_status status = CPT_OK;
    cpt_sae_trainer *t = NULL;
    *out = NULL;
    cpt_blas_single_thread(); /* outside of any parallel region, where it would be forgotten */
    CPT_TRY(cpt_alloc(&t, 1, sizeof *t, e));
    t->recipe = *r;
    if (t->recipe.k_aux == 0) t->recipe.k_aux = dim / 2 > 1 ? dim / 2 : 1;
    if (t->recipe.k_aux > r->n_concepts) t->recipe.k_aux = r->n_concepts;
    if (t->recipe.k_start > r->n_concepts) t->recipe.k_start = r->n_concepts;
    t->dim = dim;
    t->n_concepts = r->n_concepts;
    t->stride = cpt_row_stride(dim);
    t->batch_max = batch_max;
    t->n_threads = n_threads;
    t->dead_after = r->dead_after;
    t->threshold = r->threshold_from_zero ? 0 : -1;
    CPT_TRY(take_weights(t, e));
    CPT_TRY(take_buffers(t, e));
    *out = t;
    t = NULL;
done:
    cpt_sae_trainer_free(t);
    return status;
}

void cpt_sae_trainer_free(cpt_sae_trainer *t)
{
    if (!t) return;
    for (size_t i = 0; i < t->n_memory; i++) free(t->memory[i]);
    free(t->memory);
    free(t->candidate_values);
    free(t);
}


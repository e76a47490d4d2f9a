/* sae_train.c - training a sparse autoencoder: epochs, schedule, revival of dead latents, and the way back to the
 * units of the embedding.
 *
 * The data are multiplied by one scalar s so that the mean squared distance from the mean is dim. With
 * x = s a the trained weights satisfy  s a_hat = W_dec^T relu(topk(W_enc (s a - b) + b_enc)) + b, hence
 * a_hat = W_dec^T u + b / s with u = relu(topk(W_enc (a - b / s) + b_enc / s)): only the two biases (and
 * the threshold of Batch-Top-K) change, and activations are in the units of the embedding.
 *
 * Epochs are cut into batches of nearly equal size (they differ by one row), so nothing is left over. */
#include "dictionary/sae.h"
#include "dictionary/sae_train.h"

#include "base/memory.h"
#include "base/random.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOG_LINES = 100 };

/* 1 when the rows are all the same. */
static cpt_status input_scale(const cpt_training_rows *t, bool wanted, float *scale, cpt_err *e)
{
    cpt_status status = CPT_OK;
    double *means = NULL, sum = 0;
    *scale = 1;
    if (!wanted) return CPT_OK;
    CPT_TRY(cpt_alloc(&means, (size_t)t->dim, sizeof *means, e));
    CPT_TRY(cpt_training_means(t, means, e));
    for (int64_t i = 0; i < t->n; i++) {
        const float *x = cpt_training_row(t, i);
        for (int32_t j = 0; j < t->dim; j++) sum += (x[j] - means[j]) * (x[j] - means[j]);
    }
    double factor = sqrt(t->dim / (sum / (double)t->n));
    if (sum > 0 && factor > 1e-30 && factor < 1e30) *scale = (float)factor;
done:
    free(means);
    return status;
}

/* OpenAI's factor: 1 / mean((x - mean)^2) over the training rows. */
static cpt_status fixed_loss_scale(const cpt_training_rows *t, cpt_sae_recipe *r, cpt_err *e)
{
    if (r->loss != CPT_SAE_LOSS_FIXED || r->loss_scale > 0) return CPT_OK;
    float scale;
    cpt_status status = input_scale(t, true, &scale, e);
    r->loss_scale = (double)scale * scale;
    return status;
}

typedef struct run {
    cpt_sae_trainer *t;
    const cpt_training_rows *data;
    cpt_dictionary_report *report;
    const cpt_context *ctx;
    uint64_t seed;
    float scale;
    int64_t *order;      /* [n] this epoch's order */
    float *order_error;  /* [n] by place in the order */
    float *row_error;    /* [n] by row */
    int64_t per_epoch, n_steps;
} run;

static void write_log(run *r, const cpt_sae_step_report *s)
{
    int64_t step = r->t->n_steps, every = r->n_steps / LOG_LINES > 1 ? r->n_steps / LOG_LINES : 1;
    r->report->final_loss = s->loss;
    if (step % every != 0 && step != 1 && step != r->n_steps) return;
    cpt_text_addf(&r->report->log, "%lld\t%.6g\t%.6g\t%.6g\t%d\n", (long long)step, s->loss, s->fvu,
                  s->aux, s->n_dead);
    char note[64];
    snprintf(note, sizeof note, "FVU %.4f, %d dead", s->fvu, s->n_dead);
    cpt_progress(r->ctx, "train dictionary", (double)step, (double)r->n_steps, note);
}

static cpt_status one_epoch(run *r, int64_t epoch, cpt_err *e)
{
    const cpt_sae_recipe *recipe = &r->t->recipe;
    const int64_t n = r->data->n;
    for (int64_t i = 0; i < n; i++) r->order[i] = i;
    cpt_stream s;
    cpt_stream_init(&s, r->seed, CPT_RANDOM_SAE_SHUFFLE, (uint64_t)epoch);
    cpt_stream_shuffle_i64(&s, r->order, n);
    for (int64_t b = 0; b < r->per_epoch; b++) {
        int64_t start = b * n / r->per_epoch, end = (b + 1) * n / r->per_epoch;
        int64_t step = r->t->n_steps;
        double rate = recipe->learning_rate * cpt_sae_schedule(recipe, step, r->n_steps);
        cpt_sae_step_report report;
        cpt_status status = cpt_check_stop(r->ctx, e);
        if (status == CPT_OK)
            status = cpt_sae_step(r->t, r->data, r->order + start, end - start, r->scale,
                                  cpt_sae_k_at(recipe, step, r->n_steps), rate, r->order_error + start,
                                  &report, e);
        if (status != CPT_OK) return status;
        if (!isfinite(report.loss))
            return cpt_fail(e, CPT_ERR_DATA,
                            "dictionary training diverged in step %lld (loss is not finite); lower the "
                            "learning rate (%g) or check the embedding for extreme values",
                            (long long)step + 1, recipe->learning_rate);
        write_log(r, &report);
    }
    for (int64_t i = 0; i < n; i++) r->row_error[r->order[i]] = r->order_error[i];
    return CPT_OK;
}

static cpt_status all_epochs(run *r, int64_t n_epochs, cpt_err *e)
{
    const cpt_sae_recipe *recipe = &r->t->recipe;
    const int64_t pause = recipe->revive_rounds > 0 ? r->n_steps / recipe->revive_rounds : 0;
    int64_t last = 0;
    for (int64_t epoch = 0; epoch < n_epochs; epoch++) {
        cpt_status status = one_epoch(r, epoch, e);
        if (status != CPT_OK) return status;
        bool early = (double)r->t->n_steps < recipe->revive_until * (double)r->n_steps;
        if (recipe->revive == CPT_SAE_REVIVE_NONE || !early || r->t->n_steps < last + pause) continue;
        int64_t n_revived;
        last = r->t->n_steps;
        status = cpt_sae_revive_dead(r->t, r->data, r->scale, r->row_error, r->seed, &n_revived, e);
        if (status != CPT_OK) return status;
        r->report->n_resampled += n_revived;
    }
    return CPT_OK;
}

/* The trained weights (their moving average where there is one) in units of the embedding. */
static cpt_status export_weights(const cpt_sae_trainer *t, float scale, cpt_sae **out, cpt_err *e)
{
    cpt_status status = cpt_sae_new(cpt_sae_recipe_kind(&t->recipe), t->n_concepts, t->dim, t->recipe.k,
                                    out, e);
    if (status != CPT_OK) return status;
    cpt_sae *s = *out;
    const bool averaged = t->recipe.ema > 0;
    const double correction = averaged ? 1 / (1 - pow(t->recipe.ema, (double)t->n_steps)) : 1;
    const float *w_enc = averaged ? t->e_w_enc : t->w_enc, *w_dec = averaged ? t->e_w_dec : t->w_dec;
    const float *b_enc = averaged ? t->e_b_enc : t->b_enc, *b_dec = averaged ? t->e_b_dec : t->b_dec;
    const bool by_norm = t->recipe.decoder == CPT_SAE_DECODER_RESCALED;
    for (int64_t c = 0; c < t->n_concepts; c++) {
        double norm2 = 0;
        for (int32_t j = 0; j < t->dim; j++) {
            double v = w_dec[c * t->stride + j] * correction;
            norm2 += v * v;
        }
        double norm = sqrt(norm2), gain = by_norm ? norm : 1;
        for (int32_t j = 0; j < t->dim; j++) {
            double v = w_dec[c * t->stride + j] * correction;
            s->w_dec[c * t->dim + j] = (float)(norm > 0 ? v / norm : v);
            s->w_enc[c * t->dim + j] = (float)(w_enc[c * t->stride + j] * correction * gain);
        }
        s->b_enc[c] = (float)(b_enc[c] * correction * gain / scale);
        if (s->threshold) s->threshold[c] = (float)(fmax(t->threshold, 0) / scale);
    }
    for (int32_t j = 0; j < t->dim; j++) s->b_dec[j] = (float)(b_dec[j] * correction / scale);
    s->subtract_bias = t->recipe.bias != CPT_SAE_BIAS_ABSENT;
    return CPT_OK;
}

/* In a short training the average must not remember how it began. */
static void set_threshold_pace(cpt_sae_recipe *r, int64_t n_steps)
{
    if (r->threshold_start >= 0) return;
    const int64_t fifth = n_steps / 5 < 1000 ? n_steps / 5 : 1000;
    r->threshold_start = fifth;
    r->threshold_keep = 1 - 1.0 / (double)(fifth > 1 ? fifth : 1);
}

static cpt_status run_new(const cpt_sae_recipe *recipe, run *r, cpt_err *e)
{
    cpt_status status = CPT_OK;
    const int64_t n = r->data->n;
    cpt_sae_recipe own = *recipe;
    if (own.dead_after == 0) own.dead_after = n;
    if (own.batch > n) own.batch = (int32_t)n;
    r->per_epoch = n / own.batch;
    r->n_steps = r->per_epoch * own.epochs;
    set_threshold_pace(&own, r->n_steps);
    CPT_TRY(fixed_loss_scale(r->data, &own, e));
    CPT_TRY(input_scale(r->data, own.scale_input, &r->scale, e));
    CPT_TRY(cpt_alloc(&r->order, (size_t)n, sizeof *r->order, e));
    CPT_TRY(cpt_alloc(&r->order_error, (size_t)n, sizeof *r->order_error, e));
    CPT_TRY(cpt_alloc(&r->row_error, (size_t)n, sizeof *r->row_error, e));
    CPT_TRY(cpt_sae_trainer_new(&own, r->data->dim, n / r->per_epoch + 1, cpt_threads(r->ctx), &r->t, e));
    CPT_TRY(cpt_sae_initialise(r->t, r->data, r->scale, r->seed, e));
done:
    return status;
}

cpt_status cpt_sae_train_recipe(const cpt_sae_recipe *recipe, const cpt_training_rows *data,
                                cpt_dictionary **out, cpt_dictionary_report *report,
                                const cpt_context *ctx, cpt_err *e)
{
    cpt_status status = CPT_OK;
    cpt_sae *s = NULL;
    run r = {.data = data, .report = report, .ctx = ctx, .seed = ctx ? ctx->seed : 0};
    CPT_TRY(run_new(recipe, &r, e));
    cpt_text_add(&report->log, "step\tloss\tfvu\taux\tdead\n");
    CPT_TRY(all_epochs(&r, recipe->epochs, e));
    report->n_steps = r.t->n_steps;
    CPT_TRY(export_weights(r.t, r.scale, &s, e));
    *out = &s->base;
done:
    cpt_sae_trainer_free(r.t);
    free(r.order);
    free(r.order_error);
    free(r.row_error);
    return status;
}

cpt_status cpt_train_sae(const cpt_dictionary_options *o, const cpt_training_rows *t,
                         cpt_dictionary **out, cpt_dictionary_report *report, const cpt_context *ctx,
                         cpt_err *e)
{
    cpt_sae_recipe recipe;
    cpt_status status = cpt_sae_recipe_init(o, t->dim, &recipe, e);
    if (status != CPT_OK) return status;
    cpt_info(ctx, "training %d concepts, %d active%s, on %lld cells of %d dimensions: %d epochs of batches "
             "of %d, learning rate %.3g",
             recipe.n_concepts, recipe.k,
             recipe.select == CPT_SAE_SELECT_BATCH ? " on average" : "", (long long)t->n, t->dim, recipe.epochs, recipe.batch,
             recipe.learning_rate);
    return cpt_sae_train_recipe(&recipe, t, out, report, ctx, e);
}

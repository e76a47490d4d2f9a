/* One epoch of a Top-K sparse autoencoder: 98,304 rows of 512 values, 4,096 latents, k = 32, batches of 4,096 in
 * order. bench/peers/sae_peer.py trains the same from the same weights; the losses of both are printed.
 *
 *     build/bench/bench_sae [threads [f32 | split | bf16]]       one precision of the encoder instead of all
 *
 * Objective and constraints as in dictionary_learning's top_k trainer: squared error summed over dimensions,
 * decoder rows of unit norm with the gradient along them removed, clipped at 1, Adam; no auxiliary loss (there
 * nothing is dead before ten million samples). */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "bench.h"
#include "dictionary/sae_step.h"
#include "math/gemm.h"

enum { ROWS = 98304, DIM = 512, LATENTS = 4096, K = 32, BATCH = 4096, ATOMS = 1024, PER_ROW = 16 };
enum { STEPS = ROWS / BATCH, EPOCHS = 4 };
enum { KEY_ATOM = 1, KEY_CHOICE, KEY_FACTOR, KEY_NOISE, KEY_WEIGHT };
static const double RATE = 5e-4;

static void need(cpt_status status, const cpt_err *e)
{
    if (status == CPT_OK) return;
    fprintf(stderr, "%s\n", e->text);
    exit(1);
}

/* [rows][DIM] of unit norm, uniform in a cube before that. */
static void unit_rows(uint32_t key, int32_t rows, int64_t stride, float *out)
{
#pragma omp parallel for
    for (int32_t r = 0; r < rows; r++) {
        float *row = out + r * stride;
        double squares = 0;
        for (int32_t j = 0; j < DIM; j++) {
            row[j] = 2 * bench_uniform(key, (uint32_t)(r * DIM + j)) - 1;
            squares += (double)row[j] * (double)row[j];
        }
        for (int32_t j = 0; j < DIM; j++) row[j] = (float)(row[j] / sqrt(squares));
    }
}

/* Each row: PER_ROW of ATOMS directions with factors of 1 to 3, and noise. */
static float *make_rows(void)
{
    float *x = malloc(sizeof *x * ROWS * DIM), *atoms = malloc(sizeof *atoms * ATOMS * DIM);
    if (!x || !atoms) exit(1);
    unit_rows(KEY_ATOM, ATOMS, DIM, atoms);
#pragma omp parallel for
    for (int32_t r = 0; r < ROWS; r++) {
        float *row = x + (int64_t)r * DIM;
        for (int32_t j = 0; j < DIM; j++)
            row[j] = 0.1f * (2 * bench_uniform(KEY_NOISE, (uint32_t)r * DIM + (uint32_t)j) - 1);
        for (uint32_t a = 0; a < PER_ROW; a++) {
            const uint32_t i = (uint32_t)r * PER_ROW + a;
            const float *atom = atoms + (int64_t)(bench_hash(KEY_CHOICE, i) % ATOMS) * DIM;
            const float factor = 1 + 2 * bench_uniform(KEY_FACTOR, i);
            for (int32_t j = 0; j < DIM; j++) row[j] += factor * atom[j];
        }
    }
    free(atoms);
    return x;
}

static cpt_sae_recipe recipe(void)
{
    cpt_err e;
    cpt_dictionary_options o;
    cpt_sae_recipe r;
    cpt_dictionary_options_init(&o);
    o.n_concepts = LATENTS;
    o.k = K;
    o.batch = BATCH;
    o.epochs = 1;
    need(cpt_sae_recipe_init(&o, DIM, &r, &e), &e);
    r.scale_input = false;
    r.bias = CPT_SAE_BIAS_ZERO;
    r.decoder = CPT_SAE_DECODER_UNIT;
    r.projection_eps = 0;
    r.loss = CPT_SAE_LOSS_SUM;
    r.aux = CPT_SAE_AUX_NONE;
    r.clip = 1;
    r.beta1 = 0.9;
    r.beta2 = 0.999;
    r.adam_eps = 1e-8;
    r.warm_up = r.decay = 0;
    r.ema = 0;
    r.k_start = 0;
    r.revive = CPT_SAE_REVIVE_NONE;
    r.dead_after = INT64_MAX;
    return r;
}

static void train(const float *x, const cpt_sae_recipe *r, const char *precision, int threads)
{
    cpt_err e;
    cpt_sae_trainer *t;
    cpt_sae_step_report report;
    const cpt_training_rows data = {x, DIM, ROWS, NULL};
    double losses[STEPS], epochs[EPOCHS];
    int64_t *order = malloc(sizeof *order * ROWS);
    char what[64];
    if (!order) exit(1);
    for (int64_t i = 0; i < ROWS; i++) order[i] = i;
    need(cpt_sae_trainer_new(r, DIM, BATCH, threads, &t, &e), &e);
    unit_rows(KEY_WEIGHT, LATENTS, t->stride, t->w_enc);
    unit_rows(KEY_WEIGHT, LATENTS, t->stride, t->w_dec);
    cpt_sae_refresh_atoms(t);
    for (int epoch = 0; epoch < EPOCHS; epoch++) {
        const double from = bench_now();
        for (int step = 0; step < STEPS; step++) {
            need(cpt_sae_step(t, &data, order + (int64_t)step * BATCH, BATCH, 1, K, RATE, NULL, &report, &e), &e);
            if (epoch == 0) losses[step] = report.main_loss;
        }
        epochs[epoch] = bench_now() - from;
    }
    snprintf(what, sizeof what, "epoch %s", precision);
    bench_line("sae", what, bench_median(epochs + 1, EPOCHS - 1), "s"); /* the first one warms up */
    bench_work("sae", what, 2e-9 * ROWS * DIM * LATENTS, "GFLOP", r->encoder ? "bf16" : "f32");
    for (int step = 0; step < STEPS; step += step ? STEPS - 12 : 11) {
        snprintf(what, sizeof what, "loss at step %d, %s", step + 1, precision);
        bench_line("sae", what, losses[step], "");
    }
    cpt_sae_trainer_free(t);
    free(order);
}

int main(int argc, char **argv)
{
    static const char *const names[] = {"f32", "split", "bf16"}; /* cpt_precision; all else is f32 always */
    const int threads = argc > 1 ? atoi(argv[1]) : omp_get_max_threads();
    float *x = make_rows();
    cpt_sae_recipe r = recipe();
    for (int i = 0; i < 3; i++) {
        if (argc > 2 && strcmp(argv[2], names[i]) != 0) continue;
        r.encoder = i;
        train(x, &r, names[i], threads);
    }
    free(x);
    return 0;
}

/* Times of scVI: one training step, and exact substitution of every gene of a cell by sessions (all threads, one
 * pair each) beside embedding every perturbed cell anew by our own code. bench/peers/scvi_peer.py does the same.
 *
 *     build/bench/bench_scvi [threads] */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/random.h"
#include "bench.h"
#include "model/scvi_network.h"

static void need(cpt_status status, const cpt_err *e)
{
    if (status == CPT_OK) return;
    fprintf(stderr, "%s\n", e->text);
    exit(1);
}

enum { BATCH = 128, HIDDEN = 128, LATENT = 10, STEPS = 60, WARM = 10, PAIRS = 64, REPEATS = 5 };

/* Cells with counts in `density` of the genes. */
static cpt_csr simulate(int32_t n_cells, int32_t n_genes, double density)
{
    int64_t *indptr = calloc((size_t)n_cells + 1, sizeof *indptr), n = 0;
    int32_t *indices = malloc(sizeof *indices * (size_t)n_cells * (size_t)n_genes);
    float *values = malloc(sizeof *values * (size_t)n_cells * (size_t)n_genes);
    if (!indptr || !indices || !values) exit(1);
    for (int32_t i = 0; i < n_cells; i++) {
        cpt_stream s;
        cpt_stream_init(&s, 1, CPT_RANDOM_SIMULATE, (uint64_t)i);
        for (int32_t g = 0; g < n_genes; g++)
            if (cpt_stream_uniform(&s) < density) {
                indices[n] = g;
                values[n++] = (float)(1 + cpt_stream_poisson(&s, 1));
            }
        indptr[i + 1] = n;
    }
    return (cpt_csr){n_cells, n_genes, indptr, indices, values};
}

static void release(cpt_csr *c)
{
    free((void *)(uintptr_t)c->indptr);
    free((void *)(uintptr_t)c->indices);
    free((void *)(uintptr_t)c->values);
}

static cpt_scvi *new_model(int32_t n_genes, bool zero_inflated)
{
    cpt_err err;
    const scvi_shape shape = {.n_genes = n_genes, .n_hidden = HIDDEN, .n_latent = LATENT, .n_layers = 1,
                              .encoder_norm = true, .decoder_norm = true, .has_px_r = true,
                              .log_input = true, .zero_inflated = zero_inflated};
    cpt_scvi *m;
    need(scvi_new(&shape, &m, &err), &err);
    scvi_initialise(m, 1);
    need(scvi_finish(m, &err), &err);
    return m;
}

/* Multiply-adds of the products of a step, in GFLOP: heads three times over all genes, the first layer twice
 * over the genes a cell has. */
static double step_gflop(int32_t n_genes, bool zero_inflated, double present)
{
    const double heads = zero_inflated ? 2 : 1, rest = 2 * 2 * 3. * LATENT;
    return 2e-9 * BATCH * HIDDEN * (3 * heads * n_genes + 2 * present + rest);
}

static void bench_step(int32_t n_genes, bool zero_inflated, int n_threads)
{
    cpt_err err;
    cpt_scvi_options o;
    cpt_counts counts;
    scvi_stepper *s;
    scvi_losses losses;
    static float latent[BATCH * LATENT], keep[BATCH * HIDDEN];
    int64_t rows[BATCH];
    double parts[4][STEPS];
    const cpt_context ctx = {.n_threads = n_threads};
    cpt_csr csr = simulate(1024, n_genes, 0.1);
    cpt_scvi *m = new_model(n_genes, zero_inflated);
    need(cpt_counts_init(&counts, &csr, NULL, n_genes, &err), &err);
    cpt_scvi_options_init(&o);
    need(scvi_stepper_new(m, &o, &s, &err), &err);
    for (int step = -WARM; step < STEPS; step++) {
        double t0 = bench_now();
        for (int i = 0; i < BATCH; i++) rows[i] = ((step + WARM) * BATCH + i) % 1024;
        need(scvi_stepper_load(s, &counts, BATCH, rows, &ctx, &err), &err);
        double t1 = bench_now();
        scvi_noise_draw(&o, BATCH, (uint64_t)(step + WARM), latent, keep, n_threads);
        double t2 = bench_now();
        scvi_stepper_step(s, &(scvi_noise){latent, keep}, 0.5, &losses, n_threads);
        double t3 = bench_now();
        if (step < 0) continue;
        parts[0][step] = t1 - t0;
        parts[1][step] = t2 - t1;
        parts[2][step] = t3 - t2;
        parts[3][step] = t3 - t0;
    }
    for (int i = 0; i < 4; i++) parts[i][0] = bench_median(parts[i], STEPS);
    const char *what = zero_inflated ? "step ZINB" : "step NB";
    bench_line("scvi", what, 1e3 * parts[3][0], "ms");
    bench_work("scvi", what, step_gflop(n_genes, zero_inflated, (double)csr.indptr[1024] / 1024), "GFLOP", "f32");
    printf("load %.2f, noise %.2f, gradient and Adam %.2f ms\n", 1e3 * parts[0][0], 1e3 * parts[1][0],
           1e3 * parts[2][0]);
    scvi_stepper_free(s);
    cpt_model_free(&m->base);
    release(&csr);
}

/* Seconds per pair: session on `cell`, all changes, PAIRS times over all threads. */
static double sessions(cpt_scvi *m, const cpt_profile *cell, int32_t n, const cpt_change *changes, int n_threads)
{
    double times[REPEATS];
    float *out = malloc(sizeof *out * (size_t)n_threads * (size_t)n * LATENT);
    if (!out) exit(1);
    for (int repeat = -1; repeat < REPEATS; repeat++) {
        double from = bench_now();
#pragma omp parallel for schedule(dynamic) num_threads(n_threads)
        for (int pair = 0; pair < PAIRS; pair++) {
            cpt_err err;
            cpt_session *s;
            need(scvi_session_open(&m->base, cell, &s, &err), &err);
            need(scvi_session_singles(s, n, changes, out + (size_t)omp_get_thread_num() * (size_t)n * LATENT, &err),
                 &err);
            scvi_session_free(s);
        }
        if (repeat >= 0) times[repeat] = (bench_now() - from) / PAIRS;
    }
    free(out);
    return bench_median(times, REPEATS);
}

/* The perturbed cells as sparse rows. */
static cpt_csr perturbed(int32_t n_genes, const cpt_profile *cell, const cpt_change *changes)
{
    int64_t *indptr = calloc((size_t)n_genes + 1, sizeof *indptr), n = 0, room = (int64_t)n_genes * (cell->n + 1);
    int32_t *indices = malloc(sizeof *indices * (size_t)room);
    float *values = malloc(sizeof *values * (size_t)room);
    if (!indptr || !indices || !values) exit(1);
    for (int32_t g = 0; g < n_genes; g++) {
        for (int32_t i = 0, done = 0; i <= cell->n; i++) {
            if (!done && (i == cell->n || cell->genes[i] >= g)) {
                if (changes[g].value != 0) indices[n] = g, values[n++] = changes[g].value;
                done = 1;
                if (i < cell->n && cell->genes[i] == g) continue;
            }
            if (i < cell->n) indices[n] = cell->genes[i], values[n++] = cell->values[i];
        }
        indptr[g + 1] = n;
    }
    return (cpt_csr){n_genes, n_genes, indptr, indices, values};
}

/* Seconds for embedding every row. */
static double re_encoding(cpt_scvi *m, const cpt_csr *rows, int n_threads)
{
    const cpt_context ctx = {.n_threads = n_threads};
    double times[REPEATS];
    cpt_err err;
    cpt_counts counts;
    float *out = malloc(sizeof *out * (size_t)rows->n_rows * LATENT);
    if (!out) exit(1);
    need(cpt_counts_init(&counts, rows, NULL, m->shape.n_genes, &err), &err);
    for (int repeat = 0; repeat < REPEATS; repeat++) {
        double from = bench_now();
        need(scvi_embed(&m->base, &counts, 0, rows->n_rows, out, &ctx, &err), &err);
        times[repeat] = bench_now() - from;
    }
    free(out);
    return bench_median(times, REPEATS);
}

/* Every gene of one cell set to another count. */
static void bench_attribution(int32_t n_genes, double density, int n_threads)
{
    cpt_err err;
    cpt_counts counts;
    cpt_profile cell;
    cpt_scvi *m = new_model(n_genes, false);
    cpt_csr one = simulate(1, n_genes, density), many;
    float *dense = calloc((size_t)n_genes, sizeof *dense);
    cpt_change *changes = malloc(sizeof *changes * (size_t)n_genes);
    char what[64];
    if (!dense || !changes) exit(1);
    need(cpt_counts_init(&counts, &one, NULL, n_genes, &err), &err);
    need(scvi_profile(&m->base, &counts, 0, &cell, &err), &err);
    for (int32_t i = 0; i < cell.n; i++) dense[cell.genes[i]] = cell.values[i];
    for (int32_t g = 0; g < n_genes; g++) changes[g] = (cpt_change){g, dense[g] > 0 ? 0 : 3.0f};
    many = perturbed(n_genes, &cell, changes);
    snprintf(what, sizeof what, "attribution of a pair, %.0f%% present", 100 * density);
    bench_line("scvi", what, 1e3 * sessions(m, &cell, n_genes, changes, n_threads), "ms");
    bench_work("scvi", what, 2e-9 * n_genes * HIDDEN * (LATENT + 1.0), "GFLOP", "f32");
    printf("our own re-encoding %.2f ms\n", 1e3 * re_encoding(m, &many, n_threads));
    free(dense);
    free(changes);
    cpt_profile_free(&cell);
    release(&one);
    release(&many);
    cpt_model_free(&m->base);
}

int main(int argc, char **argv)
{
    const int n_threads = argc > 1 ? atoi(argv[1]) : omp_get_max_threads();
    printf("instruction set\t%s\n", cpt_cpu_level_name(cpt_cpu_level()));
    for (int zero_inflated = 0; zero_inflated < 2; zero_inflated++) bench_step(4000, zero_inflated, n_threads);
    bench_attribution(4000, 0.1, n_threads);
    bench_attribution(4000, 0.3, n_threads);
    return 0;
}

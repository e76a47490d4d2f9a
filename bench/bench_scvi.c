/* Times of scVI: one training step, and exact substitution of every gene of a cell by a session beside
 * embedding every perturbed cell anew. Prints a table to stdout.
 *
 *     build/bench/bench_scvi [threads] */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cpu.h"
#include "base/random.h"
#include "model/scvi_network.h"

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void need(cpt_status status, const cpt_err *e)
{
    if (status == CPT_OK) return;
    fprintf(stderr, "%s\n", e->text);
    exit(1);
}

enum { BATCH = 128, HIDDEN = 128, LATENT = 10, STEPS = 60, WARM = 10 };

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

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
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
        double t0 = now();
        for (int i = 0; i < BATCH; i++) rows[i] = ((step + WARM) * BATCH + i) % 1024;
        need(scvi_stepper_load(s, &counts, BATCH, rows, &ctx, &err), &err);
        double t1 = now();
        cpt_stream stream;
        cpt_stream_init(&stream, 1, CPT_RANDOM_TEST, (uint64_t)(step + WARM));
        for (int i = 0; i < BATCH * LATENT; i++) latent[i] = (float)cpt_stream_normal(&stream);
        for (int i = 0; i < BATCH * HIDDEN; i++) keep[i] = cpt_stream_u32(&stream) < 429496729u ? 0 : 1.1111111f;
        double t2 = now();
        scvi_stepper_gradient(s, &(scvi_noise){latent, keep}, 0.5, &losses, n_threads);
        double t3 = now();
        scvi_stepper_update(s, n_threads);
        double t4 = now();
        if (step < 0) continue;
        parts[0][step] = t1 - t0 + (t2 - t1);
        parts[1][step] = t3 - t2;
        parts[2][step] = t4 - t3;
        parts[3][step] = t4 - t0;
    }
    for (int i = 0; i < 4; i++) qsort(parts[i], STEPS, sizeof(double), by_value);
    printf("step\t%d genes\t%s\t%d threads\t%.2f ms (load and noise %.2f, gradient %.2f, Adam %.2f)\tbest %.2f\n",
           n_genes, zero_inflated ? "ZINB" : "NB", n_threads, 1e3 * parts[3][STEPS / 2], 1e3 * parts[0][STEPS / 2],
           1e3 * parts[1][STEPS / 2], 1e3 * parts[2][STEPS / 2], 1e3 * parts[3][0]);
    scvi_stepper_free(s);
    cpt_model_free(&m->base);
    release(&csr);
}

/* Every gene of one cell set to another count: by a session, and as whole cells. Single-threaded. */
static void bench_session(int32_t n_genes, double density)
{
    cpt_err err;
    cpt_counts counts;
    cpt_profile cell;
    cpt_session *s;
    cpt_scvi *m = new_model(n_genes, false);
    cpt_csr one = simulate(1, n_genes, density);
    float *out = malloc(sizeof *out * (size_t)n_genes * LATENT), *dense = calloc((size_t)n_genes, sizeof *dense);
    cpt_change *changes = malloc(sizeof *changes * (size_t)n_genes);
    double best_session = 1e9, best_embed = 1e9;
    if (!out || !dense || !changes) exit(1);
    need(cpt_counts_init(&counts, &one, NULL, n_genes, &err), &err);
    need(scvi_profile(&m->base, &counts, 0, &cell, &err), &err);
    for (int32_t i = 0; i < cell.n; i++) dense[cell.genes[i]] = cell.values[i];
    for (int32_t g = 0; g < n_genes; g++) changes[g] = (cpt_change){g, dense[g] > 0 ? 0 : 3.0f};
    for (int repeat = 0; repeat < 20; repeat++) {
        double t0 = now();
        need(scvi_session_open(&m->base, &cell, &s, &err), &err);
        need(scvi_session_singles(s, n_genes, changes, out, &err), &err);
        scvi_session_free(s);
        double t = now() - t0;
        if (t < best_session) best_session = t;
    }
    /* the perturbed cells as sparse rows */
    int64_t *indptr = calloc((size_t)n_genes + 1, sizeof *indptr), n = 0, room = (int64_t)n_genes * (cell.n + 1);
    int32_t *indices = malloc(sizeof *indices * (size_t)room);
    float *values = malloc(sizeof *values * (size_t)room);
    if (!indptr || !indices || !values) exit(1);
    for (int32_t g = 0; g < n_genes; g++) {
        for (int32_t i = 0, done = 0; i <= cell.n; i++) {
            if (!done && (i == cell.n || cell.genes[i] >= g)) {
                if (changes[g].value != 0) indices[n] = g, values[n++] = changes[g].value;
                done = 1;
                if (i < cell.n && cell.genes[i] == g) continue;
            }
            if (i < cell.n) indices[n] = cell.genes[i], values[n++] = cell.values[i];
        }
        indptr[g + 1] = n;
    }
    const cpt_csr many = {n_genes, n_genes, indptr, indices, values};
    const cpt_context ctx = {.n_threads = 1};
    need(cpt_counts_init(&counts, &many, NULL, n_genes, &err), &err);
    for (int repeat = 0; repeat < 5; repeat++) {
        double t0 = now();
        need(scvi_embed(&m->base, &counts, 0, n_genes, out, &ctx, &err), &err);
        double t = now() - t0;
        if (t < best_embed) best_embed = t;
    }
    printf("session\t%d genes\t%.0f%% present\tall genes %.3f ms, %.0f ns each; re-encoding %.2f ms (%.2f us per cell); %.0f x\n",
           n_genes, 100 * density, 1e3 * best_session, 1e9 * best_session / n_genes, 1e3 * best_embed,
           1e6 * best_embed / n_genes, best_embed / best_session);
    free(out), free(dense), free(changes), free(indptr), free(indices), free(values);
    cpt_profile_free(&cell);
    release(&one);
    cpt_model_free(&m->base);
}

int main(int argc, char **argv)
{
    const int n_threads = argc > 1 ? atoi(argv[1]) : omp_get_max_threads();
    printf("instruction set\t%s\n", cpt_cpu_level_name(cpt_cpu_level()));
    for (int threads = 1; threads <= n_threads; threads += n_threads > 1 ? n_threads - 1 : 1)
        for (int zero_inflated = 0; zero_inflated < 2; zero_inflated++)
            bench_step(4000, zero_inflated, threads);
    bench_session(4000, 0.1);
    bench_session(4000, 0.3);
    return 0;
}

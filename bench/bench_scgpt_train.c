/* Speed of scGPT's training: tokens per second of processor time, and the share of the rate of one
 * large f32 product. Prints a table to stdout.
 *
 *     build/bench/bench_scgpt_train [threads] [cells a step] [tokens a cell] [steps]
 *
 * Cells are made up; every number that the size of the work depends on (width 128, 4 layers, 4
 * heads, 1,200 genes, 8 cells a step, 129 tokens, 40 % masked) is that of the defaults. Operations are those
 * of the products: forward, twice as many back, the scores of the attention once more. */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/memory.h"
#include "base/random.h"
#include "math/blas.h"
#include "model/scgpt_step.h"

enum { GENES = 1200 };

static double cpu(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

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

/* Operations per second of processor time of a product of 1,024^3. */
static double product_rate(void)
{
    enum { SIZE = 1024, TIMES = 5 };
    float *a, *b, *c;
    cpt_err err;
    need(cpt_alloc(&a, SIZE * SIZE, sizeof *a, &err), &err);
    need(cpt_alloc(&b, SIZE * SIZE, sizeof *b, &err), &err);
    need(cpt_alloc(&c, SIZE * SIZE, sizeof *c, &err), &err);
    cpt_gemm(false, true, SIZE, SIZE, SIZE, 1, a, SIZE, b, SIZE, 0, c, SIZE, 1);
    const double from = cpu();
    for (int i = 0; i < TIMES; i++)
        cpt_gemm(false, true, SIZE, SIZE, SIZE, 1, a, SIZE, b, SIZE, 0, c, SIZE, 1);
    const double rate = TIMES * 2.0 * SIZE * SIZE * SIZE / (cpu() - from);
    free(a), free(b), free(c);
    return rate;
}

static void make_batch(scgpt_batch *b, int32_t n_cells, int32_t tokens, int32_t n_masked)
{
    cpt_err err;
    int32_t genes[GENES];
    cpt_stream s;
    need(scgpt_batch_init(b, n_cells, tokens, GENES, &err), &err);
    b->n_cells = n_cells;
    for (int32_t i = 0; i < GENES; i++) genes[i] = i;
    for (int32_t c = 0; c < n_cells; c++) {
        cpt_stream_init(&s, 1, CPT_RANDOM_TEST, (uint64_t)c);
        cpt_stream_shuffle_i32(&s, genes, GENES);
        b->length[c] = tokens;
        b->ids[c * tokens] = GENES + 1;
        for (int32_t i = 1; i < tokens; i++) {
            b->ids[c * tokens + i] = genes[i - 1];
            b->bins[c * tokens + i] = (uint8_t)(1 + cpt_stream_below(&s, 50));
            b->masked[c * tokens + i] = i <= n_masked;
            b->targets[c * GENES + genes[i - 1]] = b->bins[c * tokens + i];
        }
    }
}

/* Multiply-adds of one cell forward times two. */
static double operations(const scgpt_shape *s, double n, double m)
{
    const double d = s->width, f = s->hidden;
    const double full = n * (8 * d * d + 4 * d * f) + 4 * n * n * d;
    const double last = m * (4 * d * d + 4 * d * f) + n * 4 * d * d + 4 * m * n * d;
    const double scores = 2 * n * n * d * (s->n_layers - 1) + 2 * m * n * d;
    return 3 * ((s->n_layers - 1) * full + last + m * 4 * d * d + 2 * GENES * d) + scores;
}

int main(int argc, char **argv)
{
    const int threads = argc > 1 ? atoi(argv[1]) : 1;
    const int32_t n_cells = argc > 2 ? atoi(argv[2]) : 8;
    const int32_t tokens = argc > 3 ? atoi(argv[3]) : 129, n_masked = tokens * 2 / 5;
    const int steps = argc > 4 ? atoi(argv[4]) : 20;
    const scgpt_shape shape = {.n_tokens = GENES + SCGPT_SPECIAL,
                               .width = 128,
                               .hidden = 128,
                               .n_heads = 4,
                               .n_layers = 4,
                               .pad_value = -2};
    cpt_scgpt_train_options o;
    scgpt_weights *w;
    scgpt_stepper *s;
    scgpt_batch batch;
    scgpt_losses losses;
    cpt_err err;
    cpt_scgpt_train_options_init(&o);
    o.max_tokens = tokens;
    need(scgpt_weights_new(&shape, 1, &w, &err), &err);
    need(scgpt_stepper_new(w, &o, threads, &s, &err), &err);
    make_batch(&batch, n_cells, tokens, n_masked);
    const double rate = product_rate();
    scgpt_stepper_gradient(s, &batch, 0, &losses);
    const double from = cpu(), from_clock = now();
    for (int i = 0; i < steps; i++) {
        scgpt_stepper_gradient(s, &batch, 0, &losses);
        scgpt_stepper_update(s, 1e-3);
    }
    const double time = (cpu() - from) / steps, clock = (now() - from_clock) / steps;
    const double work = n_cells * operations(&shape, tokens, n_masked + 1);
    printf("one product: %.0f GFLOP/s of processor time (%s)\n", 1e-9 * rate, cpt_blas_core_name());
    printf(
        "a step of %d cells of %d tokens: CPU %.0f ms, clock %.0f ms; %.0f tokens per CPU second; "
        "%.0f GFLOP/s = %.0f %% of the product\n",
        n_cells, tokens, 1e3 * time, 1e3 * clock, n_cells * tokens / time, 1e-9 * work / time,
        100 * work / time / rate);
    scgpt_batch_free(&batch);
    scgpt_stepper_free(s);
    scgpt_weights_free(w);
    return 0;
}

/* Times of scGPT at the size of the published whole-human checkpoint: 163 tensors, 51,330,049
 * numbers, generated here and written in the published container. Prints a table to stdout.
 *
 *     build/bench/bench_scgpt [threads] [tokens] [FOLDER]
 *
 * What the folder lacks is made (205 MB, default /dev/shm/conceptome-bench-scgpt): a folder with the
 * published vocab.json and args.json gets weights of their size. It can be given to the peer:
 * bench/peers/scgpt_peer.py FOLDER. The floor is the time of the
 * multiply-adds that the full network has, at the rate of one large f32 product on the same
 * threads. Everything is given twice, as time on the clock and as processor time; on a busy machine
 * only the second means anything, and that with one thread (waiting threads spin). */
#include <jansson.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cpu.h"
#include "base/memory.h"
#include "base/random.h"
#include "math/blas.h"
#include "math/gemm.h"
#include "model/scgpt_network.h"

enum { WIDTH = 512, LAYERS = 12, HEADS = 8, VOCABULARY = 60697, GENES = 60694 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Processor time of the whole process: what is left of a measurement on a busy machine. */
static double cpu(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void need(cpt_status status, const cpt_err *e)
{
    if (status == CPT_OK) return;
    fprintf(stderr, "%s\n", e->text);
    exit(1);
}

/* ---- a checkpoint of full size ---- */

typedef struct writer {
    cpt_tree *tree;
    cpt_value *root;
    cpt_stream stream;
    int64_t n_numbers;
    int32_t n_tensors;
} writer;

/* Cheap noise of the given spread about `mean`; the tree borrows it until the file is written. */
static void add(writer *w, const char *name, int64_t rows, int64_t cols, double mean, double spread)
{
    cpt_err err;
    const int64_t shape[2] = {rows, cols}, n = rows * (cols ? cols : 1);
    float *v;
    need(cpt_alloc(&v, (size_t)n, sizeof *v, &err), &err);
    for (int64_t i = 0; i < n; i++) {
        uint32_t u = cpt_stream_u32(&w->stream);
        v[i] = (float)(mean + spread * 3.4641 * (u * 0x1p-32 - 0.5));
    }
    cpt_value *t = cpt_tree_tensor(w->tree, CPT_F32, cols ? 2 : 1, shape, v);
    if (!t || !cpt_tree_set(w->tree, w->root, name, t)) exit(1);
    w->n_numbers += n;
    w->n_tensors++;
}

static void add_linear(writer *w, const char *stem, int64_t n_out, int64_t n_in)
{
    char name[128];
    snprintf(name, sizeof name, "%s.weight", stem);
    add(w, name, n_out, n_in, 0, 1 / sqrt((double)n_in));
    snprintf(name, sizeof name, "%s.bias", stem);
    add(w, name, n_out, 0, 0, 0.02);
}

static void add_norm(writer *w, const char *stem)
{
    char name[128];
    snprintf(name, sizeof name, "%s.weight", stem);
    add(w, name, WIDTH, 0, 1, 0.1);
    snprintf(name, sizeof name, "%s.bias", stem);
    add(w, name, WIDTH, 0, 0, 0.05);
}

static void add_layer(writer *w, int layer)
{
    static const char *const linear[] = {"self_attn.Wqkv", "self_attn.out_proj", "linear1",
                                         "linear2"};
    char stem[96];
    for (size_t i = 0; i < sizeof linear / sizeof *linear; i++) {
        snprintf(stem, sizeof stem, "transformer_encoder.layers.%d.%s", layer, linear[i]);
        add_linear(w, stem, i == 0 ? 3 * WIDTH : WIDTH, WIDTH);
    }
    for (int i = 1; i <= 2; i++) {
        snprintf(stem, sizeof stem, "transformer_encoder.layers.%d.norm%d", layer, i);
        add_norm(w, stem);
    }
}

static void write_checkpoint(const char *folder)
{
    cpt_err err;
    char path[1200];
    writer w = {.tree = cpt_tree_new()};
    if (!w.tree || !(w.root = cpt_tree_dict(w.tree, true))) exit(1);
    cpt_stream_init(&w.stream, 1, CPT_RANDOM_SIMULATE, 0);
    add(&w, "encoder.embedding.weight", VOCABULARY, WIDTH, 0, 0.1);
    add_norm(&w, "encoder.enc_norm");
    add(&w, "flag_encoder.weight", 2, WIDTH, 0, 1);
    add_linear(&w, "value_encoder.linear1", WIDTH, 1);
    add_linear(&w, "value_encoder.linear2", WIDTH, WIDTH);
    add_norm(&w, "value_encoder.norm");
    for (int i = 0; i < LAYERS; i++) add_layer(&w, i);
    add_linear(&w, "decoder.fc.0", WIDTH, WIDTH);
    add_linear(&w, "decoder.fc.2", WIDTH, WIDTH);
    add_linear(&w, "decoder.fc.4", 1, WIDTH);
    add_linear(&w, "mvc_decoder.gene2query", WIDTH, WIDTH);
    add(&w, "mvc_decoder.W.weight", WIDTH, WIDTH, 0, 0.05);
    printf("%d tensors, %lld numbers\n", w.n_tensors, (long long)w.n_numbers);
    snprintf(path, sizeof path, "%s/best_model.pt", folder);
    need(cpt_torch_write(path, w.root, &err), &err);
    for (int64_t i = 0; i < w.root->as.list.n; i++)
        free((void *)(uintptr_t)w.root->as.list.items[2 * i + 1]->as.tensor->data);
    cpt_tree_free(w.tree);
}

static void write_settings(const char *folder)
{
    cpt_err err;
    char path[1200], token[32];
    cpt_text t = {0};
    snprintf(path, sizeof path, "%s/args.json", folder);
    cpt_text_addf(&t,
                  "{\"embsize\": %d, \"nheads\": %d, \"d_hid\": %d, \"nlayers\": %d, "
                  "\"pad_token\": \"<pad>\", \"pad_value\": -2}\n",
                  WIDTH, HEADS, WIDTH, LAYERS);
    need(cpt_write_file(path, t.bytes, t.length, &err), &err);
    cpt_text_free(&t);
    cpt_text_add(&t, "{");
    for (int i = 0; i < GENES; i++) {
        snprintf(token, sizeof token, "\"GENE%d\": %d, ", i, i);
        cpt_text_add(&t, token);
    }
    cpt_text_addf(&t, "\"<pad>\": %d, \"<cls>\": %d, \"<eoc>\": %d}\n", GENES, GENES + 1,
                  GENES + 2);
    snprintf(path, sizeof path, "%s/vocab.json", folder);
    need(cpt_write_file(path, t.bytes, t.length, &err), &err);
    cpt_text_free(&t);
}

/* ---- times ---- */

static double resident_mb(void)
{
    long pages = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f && fscanf(f, "%ld %ld", &pages, &resident) != 2) resident = 0;
    long shared = 0;
    if (f) {
        rewind(f);
        if (fscanf(f, "%ld %ld %ld", &pages, &resident, &shared) != 3) shared = 0;
        fclose(f);
    }
    return (double)(resident - shared) * 4096e-6; /* what is not mapped from a file */
}

enum { N = 1536 };

/* Seconds of the fastest of a few runs of what `run` does. */
static double fastest(void (*run)(void *), void *what)
{
    double best = INFINITY;
    for (int i = 0; i < 7; i++) {
        const double from = now();
        run(what);
        best = fmin(best, now() - from);
    }
    return best;
}

typedef struct large {
    int threads;
    const float *a, *b;
    float *c;
    cpt_packed packed;
} large;

static void blas_product(void *what)
{
    large *l = what;
    cpt_gemm(false, true, N, N, N, 1, l->a, N, l->b, N, 0, l->c, N, l->threads);
}

static void packed_product(void *what)
{
    large *l = what;
#pragma omp parallel for num_threads(l->threads)
    for (int i = 0; i < N; i += CPT_GEMM_ROWS)
        cpt_multiply(&l->packed, CPT_GEMM_ROWS, l->a + i * N, N, l->c + i * N, N, NULL);
}

/* Rates of one large product, GFLOP/s: of the BLAS in f32, and of packed weights in three
 * precisions. */
static void product_rates(int threads, double out[4])
{
    cpt_err err;
    float *a;
    large l = {.threads = threads};
    const double work = 2e-9 * N * N * N;
    need(cpt_alloc(&a, 3 * N * N, sizeof *a, &err), &err);
    for (int i = 0; i < 2 * N * N; i++) a[i] = (float)(i % 7) - 3;
    l.a = a;
    l.b = a + N * N;
    l.c = a + 2 * N * N;
    out[0] = work / fastest(blas_product, &l);
    for (int p = CPT_GEMM_F32; p <= CPT_GEMM_BF16; p++) {
        need(cpt_packed_new((cpt_precision)p, N, N, l.b, N, 1, &l.packed, &err), &err);
        out[1 + p] = work / fastest(packed_product, &l);
        cpt_packed_free(&l.packed);
    }
    free(a);
}

static double layer_gflop(double s)
{
    return 1e-9 * (2 * s * WIDTH * (4 * WIDTH + 2 * WIDTH) + 4 * s * s * WIDTH);
}

/* A cell of `tokens` - 1 genes as one row of counts; the peer makes the same. */
static cpt_csr make_cell(int32_t tokens)
{
    int64_t *indptr = calloc(2, sizeof *indptr);
    int32_t *indices = calloc((size_t)tokens, sizeof *indices);
    float *values = calloc((size_t)tokens, sizeof *values);
    if (!indptr || !indices || !values) exit(1);
    for (int32_t i = 0; i < tokens - 1; i++) {
        indices[i] = i * (GENES / tokens);
        values[i] = (float)(1 + i % 37);
    }
    indptr[1] = tokens - 1;
    return (cpt_csr){1, GENES, indptr, indices, values};
}

static double median(double *x, int n)
{
    for (int i = 1; i < n; i++)
        for (int j = i; j > 0 && x[j] < x[j - 1]; j--) {
            double kept = x[j];
            x[j] = x[j - 1];
            x[j - 1] = kept;
        }
    return x[n / 2];
}

/* Also into out [WIDTH]. */
static void time_forward(cpt_model *m, const cpt_counts *counts, int threads, const double *rates,
                         int32_t tokens, cpt_scgpt_precision precision, float *out)
{
    enum { RUNS = 7 };
    cpt_err err;
    cpt_context ctx;
    cpt_scgpt_options options;
    double times[RUNS], work[RUNS];
    cpt_context_init(&ctx);
    ctx.n_threads = threads;
    cpt_scgpt_options_init(&options);
    options.max_tokens = tokens;
    options.precision = precision;
    need(cpt_scgpt_set_options(m, &options, &err), &err);
    for (int i = 0; i < RUNS; i++) {
        double from = now(), from_cpu = cpu();
        need(m->ops->embed(m, counts, 0, 1, out, &ctx, &err), &err);
        times[i] = now() - from;
        work[i] = cpu() - from_cpu;
    }
    const bool half = precision == CPT_SCGPT_BF16;
    const double work_all = LAYERS * layer_gflop(tokens), clock = median(times, RUNS);
    const double of_blas = work_all / rates[0], of_packed = work_all / rates[half ? 3 : 1];
    printf("forward %s, %d tokens, %d threads: clock %.1f ms, CPU %.1f ms per thread; floor of the "
           "full network by OpenBLAS %.1f ms: %.2f x; by packed products %.1f ms: %.2f x\n",
           half ? "bf16" : "f32", tokens, threads, 1e3 * clock, 1e3 * median(work, RUNS) / threads,
           1e3 * of_blas, clock / of_blas, 1e3 * of_packed, clock / of_packed);
    printf("embedding starts %.6f %.6f %.6f %.6f\n", (double)out[0], (double)out[1], (double)out[2],
           (double)out[3]);
}

static void compare(const float *exact, const float *rounded)
{
    double dot = 0, squares = 0;
    for (int j = 0; j < WIDTH; j++) {
        dot += (double)exact[j] * (double)rounded[j];
        squares += pow((double)exact[j] - (double)rounded[j], 2);
    }
    printf("bf16 against f32: cosine %.7f, relative error of the embedding %.2g\n", dot,
           sqrt(squares));
}

/* One session, one thread; clock. */
static void time_session(const cpt_model *m, const cpt_counts *counts)
{
    enum { SINGLES = 6, SCREENED = 1000 };
    cpt_err err;
    cpt_profile p;
    cpt_session *s;
    cpt_change changes[SCREENED];
    float *w, *slopes, *estimates, out[SINGLES * WIDTH];
    need(cpt_alloc(&w, 8 * WIDTH, sizeof *w, &err), &err);
    need(cpt_alloc(&slopes, (size_t)m->n_genes, sizeof *slopes, &err), &err);
    need(cpt_alloc(&estimates, 8 * SCREENED, sizeof *estimates, &err), &err);
    for (int i = 0; i < 8; i++) w[i * WIDTH + i] = 1;
    need(m->ops->profile(m, counts, 0, &p, &err), &err);
    double from = now();
    need(m->ops->session_open(m, &p, &s, &err), &err);
    const double open_time = now() - from;
    const int n = p.n < SCREENED ? p.n : SCREENED;
    for (int i = 0; i < n; i++) changes[i] = (cpt_change){p.genes[i] + i % 2, i % 4 ? 7 : 0};
    need(m->ops->session_singles(s, 1, changes, out, &err), &err);
    from = now();
    need(m->ops->session_singles(s, SINGLES, changes, out, &err), &err);
    const double single = (now() - from) / SINGLES;
    from = now();
    for (int i = 0; i < 3; i++) need(m->ops->session_joint(s, 1, changes, out, &err), &err);
    const double joint = (now() - from) / 3;
    need(m->ops->session_gradient(s, 1, w, slopes, &err), &err);
    from = now();
    need(m->ops->session_gradient(s, 1, w, slopes, &err), &err);
    const double gradient = now() - from;
    printf("session, 1 thread: open %.0f ms, exact single %.0f ms, whole forward %.0f ms = %.2f "
           "singles; gradient %.0f ms = %.2f forwards\n",
           1e3 * open_time, 1e3 * single, 1e3 * joint, joint / single, 1e3 * gradient,
           gradient / joint);
    for (int n_w = 1; n_w <= 8; n_w += 7) {
        need(m->ops->session_screen(s, n_w, w, n, changes, estimates, &err), &err);
        from = now();
        need(m->ops->session_screen(s, n_w, w, n, changes, estimates, &err), &err);
        const double screen = now() - from;
        printf("screen of %d changes, %d directions: %.0f ms = %.2f forwards\n", n, n_w,
               1e3 * screen, screen / joint);
    }
    printf("memory %.0f MB beside the map\n", resident_mb());
    m->ops->session_free(s);
    cpt_profile_free(&p);
    free(w);
    free(slopes);
    free(estimates);
}

int main(int argc, char **argv)
{
    const int threads = argc > 1 ? atoi(argv[1]) : omp_get_max_threads();
    const int32_t tokens = argc > 2 ? atoi(argv[2]) : 1200;
    const char *folder = argc > 3 ? argv[3] : "/dev/shm/conceptome-bench-scgpt";
    char path[1200];
    cpt_err err;
    cpt_model *m;
    cpt_counts counts;
    need(cpt_make_folder(folder, &err), &err);
    snprintf(path, sizeof path, "%s/best_model.pt", folder);
    if (!cpt_path_exists(path)) write_checkpoint(folder);
    snprintf(path, sizeof path, "%s/vocab.json", folder);
    if (!cpt_path_exists(path)) write_settings(folder);
    const double before = resident_mb(), from = now(), from_cpu = cpu();
    need(cpt_model_open(folder, &m, NULL, &err), &err);
    printf("open: clock %.2f s, CPU %.2f s, %.1f MB beside the map\n", now() - from,
           cpu() - from_cpu, resident_mb() - before);
    double rates[4];
    product_rates(threads, rates);
    printf("one product of 1,536^3 on %d threads, GFLOP/s: OpenBLAS (%s) %.0f; packed (%s) f32 %.0f, "
           "split %.0f, bf16 %.0f\n",
           threads, cpt_blas_core_name(), rates[0], cpt_cpu_level_name(cpt_cpu_level()), rates[1],
           rates[2], rates[3]);
    cpt_csr csr = make_cell(tokens);
    need(cpt_counts_init(&counts, &csr, NULL, m->n_genes, &err), &err);
    float exact[WIDTH], rounded[WIDTH];
    time_forward(m, &counts, threads, rates, tokens, CPT_SCGPT_F32, exact);
    time_forward(m, &counts, threads, rates, tokens, CPT_SCGPT_BF16, rounded);
    compare(exact, rounded);
    time_session(m, &counts);
    cpt_model_free(m);
    free((void *)(uintptr_t)csr.indptr);
    free((void *)(uintptr_t)csr.indices);
    free((void *)(uintptr_t)csr.values);
    return 0;
}

/* Times of scGPT at the size of the published whole-human checkpoint: 163 tensors, 51,330,049
 * numbers, generated here and written in the published container. Lines of bench.h to stdout.
 *
 *     build/bench/bench_scgpt [threads] [tokens] [FOLDER]
 *     build/bench/bench_scgpt --make FOLDER
 *
 * What the folder lacks is made (205 MB, default /dev/shm/conceptome-bench-scgpt): a folder with the
 * published vocab.json and args.json gets weights of their size. It can be given to the peer:
 * bench/peers/scgpt_peer.py FOLDER. The work of a forward pass is that of the full network, all rows
 * of all layers. Sessions run on one thread. */
#include <jansson.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

#include "base/cpu.h"
#include "base/memory.h"
#include "base/random.h"
#include "model/scgpt_network.h"

enum { WIDTH = 512, LAYERS = 12, HEADS = 8, VOCABULARY = 60697, GENES = 60694 };

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

/* Also into out [WIDTH]. */
static void time_forward(cpt_model *m, const cpt_counts *counts, int threads, int32_t tokens,
                         cpt_scgpt_precision precision, float *out)
{
    enum { RUNS = 7 };
    const bool half = precision == CPT_SCGPT_BF16;
    const char *what = half ? "forward bf16" : "forward f32";
    cpt_err err;
    cpt_context ctx;
    cpt_scgpt_options options;
    double times[RUNS];
    cpt_context_init(&ctx);
    ctx.n_threads = threads;
    cpt_scgpt_options_init(&options);
    options.max_tokens = tokens;
    options.precision = precision;
    need(cpt_scgpt_set_options(m, &options, &err), &err);
    need(m->ops->embed(m, counts, 0, 1, out, &ctx, &err), &err);
    for (int i = 0; i < RUNS; i++) {
        const double from = bench_now();
        need(m->ops->embed(m, counts, 0, 1, out, &ctx, &err), &err);
        times[i] = bench_now() - from;
    }
    bench_work("scgpt", what, LAYERS * layer_gflop(tokens), "GFLOP", half ? "bf16" : "f32");
    bench_line("scgpt", what, 1e3 * bench_median(times, RUNS), "ms");
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

typedef struct session_bench {
    const cpt_model *m;
    cpt_session *s;
    int32_t n; /* changes */
    cpt_change *changes;
    float *w, *out; /* [8][WIDTH]; [8][genes] */
} session_bench;

static void one_single(session_bench *b, int i)
{
    cpt_err err;
    need(b->m->ops->session_singles(b->s, 1, &b->changes[i], b->out, &err), &err);
}

static void one_forward(session_bench *b, int i)
{
    cpt_err err;
    need(b->m->ops->session_joint(b->s, 1, &b->changes[i], b->out, &err), &err);
}

static void one_gradient(session_bench *b, int i)
{
    cpt_err err;
    need(b->m->ops->session_gradient(b->s, 1, b->w, b->out, &err), &err);
}

static void one_screen(session_bench *b, int i)
{
    cpt_err err;
    need(b->m->ops->session_screen(b->s, 1, b->w, b->n, b->changes, b->out, &err), &err);
}

static void eight_screens(session_bench *b, int i)
{
    cpt_err err;
    need(b->m->ops->session_screen(b->s, 8, b->w, b->n, b->changes, b->out, &err), &err);
}

enum { N_RUNS = 5, N_KINDS = 3 };

static double one_time(session_bench *b, void (*run)(session_bench *, int), int i)
{
    const double from = bench_now();
    run(b, i);
    return 1e3 * (bench_now() - from);
}

static double time_of(session_bench *b, void (*run)(session_bench *, int))
{
    double times[3];
    run(b, 0);
    for (int i = 0; i < 3; i++) times[i] = one_time(b, run, i + 1);
    return bench_median(times, 3);
}

/* Forward, single and gradient in turn: a virtual machine's clock differs by a factor of two from minute to
 * minute, their ratios hardly. */
static double time_kinds(session_bench *b)
{
    static void (*const kinds[N_KINDS])(session_bench *, int) = {one_forward, one_single, one_gradient};
    double times[N_KINDS][N_RUNS], naive[N_RUNS], back[N_RUNS];
    for (int k = 0; k < N_KINDS; k++) kinds[k](b, 0);
    for (int i = 0; i < N_RUNS; i++) {
        for (int k = 0; k < N_KINDS; k++) times[k][i] = one_time(b, kinds[k], i + 1);
        naive[i] = times[0][i] / times[1][i];
        back[i] = times[2][i] / times[0][i];
    }
    const double forward = bench_median(times[0], N_RUNS);
    bench_line("scgpt", "forward f32, 1 thread", forward, "ms");
    bench_line("scgpt", "exact single, 1 thread", bench_median(times[1], N_RUNS), "ms");
    bench_line("scgpt", "naive / exact attribution", bench_median(naive, N_RUNS), "x");
    bench_line("scgpt", "backward / forward", bench_median(back, N_RUNS), "x");
    return forward;
}

/* One session, one thread. Changes: values, tokens that go, tokens that come. */
static void time_session(const cpt_model *m, const cpt_counts *counts)
{
    cpt_err err;
    cpt_profile p;
    session_bench b = {.m = m};
    need(m->ops->profile(m, counts, 0, &p, &err), &err);
    need(cpt_alloc(&b.changes, (size_t)p.n, sizeof *b.changes, &err), &err);
    need(cpt_alloc(&b.w, 8 * WIDTH, sizeof *b.w, &err), &err);
    need(cpt_alloc(&b.out, 8 * (size_t)m->n_genes, sizeof *b.out, &err), &err);
    for (int i = 0; i < 8; i++) b.w[i * WIDTH + i] = 1;
    b.n = p.n < 1000 ? p.n : 1000;
    for (int i = 0; i < b.n; i++)
        b.changes[i] = (cpt_change){p.genes[i] + i % 2, i % 4 ? 7 : 0};
    need(m->ops->session_open(m, &p, &b.s, &err), &err);
    const double forward = time_kinds(&b), screen = time_of(&b, one_screen),
                 screens = time_of(&b, eight_screens);
    printf("screen of %d changes, 1 direction: %.0f ms = %.2f forwards; 8 directions: %.0f ms = %.2f "
           "forwards\n",
           b.n, screen, screen / forward, screens, screens / forward);
    printf("memory %.0f MB beside the map\n", resident_mb());
    m->ops->session_free(b.s);
    cpt_profile_free(&p);
    free(b.changes), free(b.w), free(b.out);
}

/* What the folder lacks. */
static void make_folder(const char *folder)
{
    char path[1200];
    cpt_err err;
    need(cpt_make_folder(folder, &err), &err);
    snprintf(path, sizeof path, "%s/best_model.pt", folder);
    if (!cpt_path_exists(path)) write_checkpoint(folder);
    snprintf(path, sizeof path, "%s/vocab.json", folder);
    if (!cpt_path_exists(path)) write_settings(folder);
}

int main(int argc, char **argv)
{
    if (argc > 2 && strcmp(argv[1], "--make") == 0) {
        make_folder(argv[2]);
        return 0;
    }
    const int threads = argc > 1 ? atoi(argv[1]) : omp_get_max_threads();
    const int32_t tokens = argc > 2 ? atoi(argv[2]) : 1200;
    const char *folder = argc > 3 ? argv[3] : "/dev/shm/conceptome-bench-scgpt";
    cpt_err err;
    cpt_model *m;
    cpt_counts counts;
    float exact[WIDTH], rounded[WIDTH];
    make_folder(folder);
    const double before = resident_mb(), from = bench_now();
    need(cpt_model_open(folder, &m, NULL, &err), &err);
    bench_line("scgpt", "open 205 MB", 1e3 * (bench_now() - from), "ms");
    printf("%.1f MB beside the map; %s\n", resident_mb() - before,
           cpt_cpu_level_name(cpt_cpu_level()));
    cpt_csr csr = make_cell(tokens);
    need(cpt_counts_init(&counts, &csr, NULL, m->n_genes, &err), &err);
    time_forward(m, &counts, threads, tokens, CPT_SCGPT_F32, exact);
    printf("memory %.0f MB beside the map\n", resident_mb());
    time_forward(m, &counts, threads, tokens, CPT_SCGPT_BF16, rounded);
    compare(exact, rounded);
    time_session(m, &counts);
    cpt_model_free(m);
    free((void *)(uintptr_t)csr.indptr);
    free((void *)(uintptr_t)csr.indices);
    free((void *)(uintptr_t)csr.values);
    return 0;
}

/* bench_sae_calibration.c - compares remedies against dead latents of the Top-K SAE on an embedding.
 *
 *     build/bench/bench_sae_calibration EMBEDDING.npy K SEEDS [VARIANT ...]
 *
 * Prints one TSV line per variant: validation R2 per feature, share of latents that fire in no training
 * cell / no validation cell, L0, and the stability of the decoder: cosines of the rows of two seeds after
 * optimal assignment, mean over pairs of seeds (PW-MCC, Song et al. 2025) and share above 0.7. Seeds differ
 * in initialisation, order and split. Mean and standard deviation (over seeds; over pairs for stability).
 * doc/dictionary-calibration.md holds the results that made the default. */
#include "base/memory.h"
#include "base/random.h"
#include "dictionary/sae_recipe.h"
#include "dictionary/sae_train.h"
#include "io/npy.h"
#include "math/blas.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void base(cpt_sae_recipe *r, int32_t dim)
{
    r->k_start = 0;
    r->revive = CPT_SAE_REVIVE_NONE;
    r->revive_rounds = 0;
    r->init = CPT_SAE_INIT_SPHERE;
    r->aux = CPT_SAE_AUX_NORMALISED;
    r->aux_weight = 1.0 / 32;
    r->k_aux = 0;
}

static void anneal_from(cpt_sae_recipe *r, int32_t k, double share)
{
    r->k_start = k;
    r->k_anneal = share;
}

static void revive(cpt_sae_recipe *r, cpt_sae_revive kind, double encoder, double until)
{
    r->revive = kind;
    r->revive_encoder = encoder;
    r->revive_until = until;
}

static void plain(cpt_sae_recipe *r, int32_t dim) { base(r, dim); }
static void no_aux(cpt_sae_recipe *r, int32_t dim)
{
    base(r, dim);
    r->aux = CPT_SAE_AUX_NONE;
}
static void aux_strong(cpt_sae_recipe *r, int32_t dim)
{
    base(r, dim);
    r->aux_weight = 0.25;
}
static void aux_one(cpt_sae_recipe *r, int32_t dim)
{
    base(r, dim);
    r->aux_weight = 1;
}
static void aux_k(cpt_sae_recipe *r, int32_t dim)
{
    base(r, dim);
    r->k_aux = r->k;
}
static void cells(cpt_sae_recipe *r, int32_t dim)
{
    base(r, dim);
    r->init = CPT_SAE_INIT_CELLS;
}
static void anneal_d(cpt_sae_recipe *r, int32_t dim)
{
    base(r, dim);
    anneal_from(r, dim, 0.3);
}
static void anneal_4k(cpt_sae_recipe *r, int32_t dim)
{
    base(r, dim);
    anneal_from(r, 4 * r->k, 0.3);
}
static void anneal_long(cpt_sae_recipe *r, int32_t dim)
{
    base(r, dim);
    anneal_from(r, dim, 0.6);
}
static void revive_input(cpt_sae_recipe *r, int32_t dim)
{
    base(r, dim);
    revive(r, CPT_SAE_REVIVE_INPUT, 1, 0.8);
}
static void revive_residual(cpt_sae_recipe *r, int32_t dim)
{
    base(r, dim);
    revive(r, CPT_SAE_REVIVE_RESIDUAL, 1, 0.8);
}
static void revive_residual_high(cpt_sae_recipe *r, int32_t dim)
{
    base(r, dim);
    revive(r, CPT_SAE_REVIVE_RESIDUAL, 3, 0.8);
}
static void cells_revive(cpt_sae_recipe *r, int32_t dim)
{
    cells(r, dim);
    revive(r, CPT_SAE_REVIVE_INPUT, 1, 0.8);
}
static void cells_anneal(cpt_sae_recipe *r, int32_t dim)
{
    cells(r, dim);
    anneal_from(r, dim, 0.3);
}
static void anneal_revive(cpt_sae_recipe *r, int32_t dim)
{
    anneal_d(r, dim);
    revive(r, CPT_SAE_REVIVE_INPUT, 1, 0.8);
}
static void anneal_revive_residual(cpt_sae_recipe *r, int32_t dim)
{
    anneal_d(r, dim);
    revive(r, CPT_SAE_REVIVE_RESIDUAL, 1, 0.8);
}
static void cells_anneal_revive(cpt_sae_recipe *r, int32_t dim)
{
    cells_anneal(r, dim);
    revive(r, CPT_SAE_REVIVE_INPUT, 1, 0.8);
}
static void no_aux_revive(cpt_sae_recipe *r, int32_t dim)
{
    no_aux(r, dim);
    revive(r, CPT_SAE_REVIVE_INPUT, 1, 0.8);
}
static void no_aux_revive_late(cpt_sae_recipe *r, int32_t dim)
{
    no_aux(r, dim);
    revive(r, CPT_SAE_REVIVE_INPUT, 1, 0.95);
}
static void no_aux_revive_half(cpt_sae_recipe *r, int32_t dim)
{
    no_aux(r, dim);
    revive(r, CPT_SAE_REVIVE_INPUT, 1, 0.5);
}
static void no_aux_revive_residual(cpt_sae_recipe *r, int32_t dim)
{
    no_aux(r, dim);
    revive(r, CPT_SAE_REVIVE_RESIDUAL, 1, 0.8);
}
static void cells_no_aux_revive(cpt_sae_recipe *r, int32_t dim)
{
    no_aux_revive(r, dim);
    r->init = CPT_SAE_INIT_CELLS;
}
static void cells_no_aux_revive_late(cpt_sae_recipe *r, int32_t dim)
{
    no_aux_revive_late(r, dim);
    r->init = CPT_SAE_INIT_CELLS;
}
static void no_aux_anneal_revive(cpt_sae_recipe *r, int32_t dim)
{
    no_aux_revive(r, dim);
    anneal_from(r, dim, 0.3);
}
static void rounds_input(cpt_sae_recipe *r, int32_t dim)
{
    no_aux_revive(r, dim);
    r->revive_rounds = 40;
}
static void rounds_residual(cpt_sae_recipe *r, int32_t dim)
{
    no_aux_revive_residual(r, dim);
    r->revive_rounds = 40;
}
static void cells_rounds_input(cpt_sae_recipe *r, int32_t dim)
{
    cells_no_aux_revive(r, dim);
    r->revive_rounds = 40;
}
static void cells_rounds_residual(cpt_sae_recipe *r, int32_t dim)
{
    rounds_residual(r, dim);
    r->init = CPT_SAE_INIT_CELLS;
}
static void cells_rounds_rate_2(cpt_sae_recipe *r, int32_t dim)
{
    cells_rounds_input(r, dim);
    r->learning_rate *= 2;
}
static void residual_late(cpt_sae_recipe *r, int32_t dim)
{
    no_aux_revive_residual(r, dim);
    r->revive_until = 0.95;
}
static void rate_3(cpt_sae_recipe *r, int32_t dim)
{
    base(r, dim);
    r->learning_rate *= 3;
}

static const struct {
    const char *name;
    void (*apply)(cpt_sae_recipe *r, int32_t dim);
} variants[] = {
    {"default", NULL},
    {"plain", plain},
    {"no-aux", no_aux},
    {"aux-0.25", aux_strong},
    {"aux-1", aux_one},
    {"aux-k", aux_k},
    {"rate-x3", rate_3},
    {"cells", cells},
    {"anneal-d", anneal_d},
    {"anneal-4k", anneal_4k},
    {"anneal-d-60%", anneal_long},
    {"revive-input", revive_input},
    {"revive-residual", revive_residual},
    {"revive-residual-x3", revive_residual_high},
    {"cells+revive", cells_revive},
    {"cells+anneal", cells_anneal},
    {"anneal+revive", anneal_revive},
    {"anneal+revive-residual", anneal_revive_residual},
    {"cells+anneal+revive", cells_anneal_revive},
    {"no-aux+revive", no_aux_revive},
    {"no-aux+revive-95%", no_aux_revive_late},
    {"no-aux+revive-50%", no_aux_revive_half},
    {"no-aux+revive-residual", no_aux_revive_residual},
    {"no-aux+anneal+revive", no_aux_anneal_revive},
    {"cells+no-aux+revive", cells_no_aux_revive},
    {"cells+no-aux+revive-95%", cells_no_aux_revive_late},
    {"no-aux+revive-residual-95%", residual_late},
    {"no-aux+revive/40", rounds_input},
    {"no-aux+revive-residual/40", rounds_residual},
    {"cells+no-aux+revive/40", cells_rounds_input},
    {"cells+no-aux+revive-residual/40", cells_rounds_residual},
    {"cells+no-aux+revive/40+rate-x2", cells_rounds_rate_2},
};
enum { N_VARIANTS = sizeof variants / sizeof *variants, MAX_SEEDS = 10 };

static void die(const char *text)
{
    fprintf(stderr, "bench_sae_calibration: %s\n", text);
    exit(1);
}

static void *need(size_t n, size_t size)
{
    void *p;
    cpt_err e;
    if (cpt_alloc(&p, n, size, &e) != CPT_OK) die(e.text);
    return p;
}

static void mean_sd(const double *x, int n, double *mean, double *sd)
{
    *mean = *sd = 0;
    for (int i = 0; i < n; i++) *mean += x[i] / n;
    for (int i = 0; i < n; i++) *sd += (x[i] - *mean) * (x[i] - *mean);
    *sd = n > 1 ? sqrt(*sd / (n - 1)) : 0;
}

/* Assignment of n rows to n columns with the largest sum of gain [n][n]: shortest augmenting paths with
 * potentials (Kuhn 1955; Jonker and Volgenant 1987), O(n^3). match[row] = column. */
static void assign(const float *gain, int n, int *match)
{
    double *u = need((size_t)n + 1, sizeof *u), *v = need((size_t)n + 1, sizeof *v);
    double *best = need((size_t)n + 1, sizeof *best);
    int *row = need((size_t)n + 1, sizeof *row), *from = need((size_t)n + 1, sizeof *from);
    char *done = need((size_t)n + 1, 1);
    for (int i = 1; i <= n; i++) {
        int column = 0;
        row[0] = i;
        for (int j = 0; j <= n; j++) {
            best[j] = INFINITY;
            done[j] = 0;
        }
        do {
            done[column] = 1;
            int next = 0;
            double least = INFINITY;
            for (int j = 1; j <= n; j++) {
                if (done[j]) continue;
                double cost = -gain[(row[column] - 1) * n + j - 1] - u[row[column]] - v[j];
                if (cost < best[j]) {
                    best[j] = cost;
                    from[j] = column;
                }
                if (best[j] < least) {
                    least = best[j];
                    next = j;
                }
            }
            for (int j = 0; j <= n; j++) {
                if (done[j]) {
                    u[row[j]] += least;
                    v[j] -= least;
                } else {
                    best[j] -= least;
                }
            }
            column = next;
        } while (row[column]);
        for (; column; column = from[column]) row[column] = row[from[column]];
    }
    for (int j = 1; j <= n; j++) match[row[j] - 1] = j - 1;
    free(u);
    free(v);
    free(best);
    free(row);
    free(from);
    free(done);
}

static void stability(const cpt_dictionary *a, const cpt_dictionary *b, double *mean, double *above)
{
    const int n = a->n_concepts;
    float *cosine = need((size_t)n * (size_t)n, sizeof *cosine);
    int *match = need((size_t)n, sizeof *match);
    cpt_gemm(false, true, n, n, a->dim, 1, a->decoder, a->dim, b->decoder, a->dim, 0, cosine, n, 1);
    assign(cosine, n, match);
    *mean = *above = 0;
    for (int i = 0; i < n; i++) {
        *mean += cosine[i * n + match[i]] / n;
        *above += (cosine[i * n + match[i]] > 0.7f) / (double)n;
    }
    free(cosine);
    free(match);
}

typedef struct set {
    const float *a;
    int32_t dim;
    int64_t n;
    int32_t k;
    int n_seeds;
} set;

typedef struct scores {
    double r2[MAX_SEEDS], r2_train[MAX_SEEDS], dead[MAX_SEEDS], dead_validation[MAX_SEEDS];
    double l0[MAX_SEEDS], seconds[MAX_SEEDS];
    cpt_dictionary *d[MAX_SEEDS];
} scores;

static void run(const set *s, int variant, int seed, int64_t *rows, scores *out)
{
    cpt_err e;
    cpt_context ctx;
    cpt_context_init(&ctx);
    ctx.seed = (uint64_t)seed + 1;
    ctx.n_threads = 1;
    cpt_stream stream;
    cpt_stream_init(&stream, ctx.seed, CPT_RANDOM_SPLIT, 0);
    for (int64_t i = 0; i < s->n; i++) rows[i] = i;
    cpt_stream_shuffle_i64(&stream, rows, s->n);
    int64_t n_validation = s->n / 10, n_train = s->n - n_validation;

    cpt_dictionary_options o, resolved;
    cpt_dictionary_options_init(&o);
    o.k = s->k;
    cpt_sae_recipe r;
    cpt_dictionary_report report = {0};
    cpt_training_rows train = {s->a, s->dim, n_train, rows};
    if (cpt_dictionary_resolve(&o, s->dim, n_train, &resolved, &e) != CPT_OK ||
        cpt_sae_recipe_init(&resolved, s->dim, &r, &e) != CPT_OK)
        die(e.text);
    if (variants[variant].apply) variants[variant].apply(&r, s->dim);
    struct timespec t0, t1;
    clock_gettime(CLOCK_MONOTONIC, &t0);
    if (cpt_sae_train_recipe(&r, &train, &out->d[seed], &report, &ctx, &e) != CPT_OK) die(e.text);
    clock_gettime(CLOCK_MONOTONIC, &t1);
    cpt_reconstruction on_train, on_validation;
    if (cpt_reconstruction_score(out->d[seed], s->a, n_train, rows, NULL, &on_train, &ctx, &e) ||
        cpt_reconstruction_score(out->d[seed], s->a, n_validation, rows + n_train, NULL, &on_validation,
                                 &ctx, &e))
        die(e.text);
    cpt_dictionary_report_free(&report);
    out->r2[seed] = on_validation.r2_feature;
    out->r2_train[seed] = on_train.r2_feature;
    out->dead[seed] = on_train.dead_fraction;
    out->dead_validation[seed] = on_validation.dead_fraction;
    out->l0[seed] = on_validation.l0;
    out->seconds[seed] = (double)(t1.tv_sec - t0.tv_sec) + (double)(t1.tv_nsec - t0.tv_nsec) * 1e-9;
}

static void line(const set *s, int variant, const char *file)
{
    scores all = {0};
    int64_t *rows = need((size_t)s->n, sizeof *rows);
    double cosine[MAX_SEEDS * MAX_SEEDS], above[MAX_SEEDS * MAX_SEEDS], mean, sd;
    int n_pairs = 0;
    for (int seed = 0; seed < s->n_seeds; seed++) run(s, variant, seed, rows, &all);
    for (int i = 0; i < s->n_seeds; i++)
        for (int j = 0; j < i; j++, n_pairs++)
            stability(all.d[i], all.d[j], &cosine[n_pairs], &above[n_pairs]);
    const char *name = strrchr(file, '/') ? strrchr(file, '/') + 1 : file;
    printf("%.*s\t%d\t%s", (int)(strlen(name) - 4), name, s->k, variants[variant].name);
    const double *columns[] = {all.r2, all.r2_train, all.dead, all.dead_validation, all.l0};
    for (size_t c = 0; c < sizeof columns / sizeof *columns; c++) {
        mean_sd(columns[c], s->n_seeds, &mean, &sd);
        printf("\t%.4f\t%.4f", mean, sd);
    }
    mean_sd(cosine, n_pairs, &mean, &sd);
    printf("\t%.3f\t%.3f", mean, sd);
    mean_sd(above, n_pairs, &mean, &sd);
    printf("\t%.3f", mean);
    mean_sd(all.seconds, s->n_seeds, &mean, &sd);
    printf("\t%.2f\n", mean);
    fflush(stdout);
    for (int i = 0; i < s->n_seeds; i++) cpt_dictionary_free(all.d[i]);
    free(rows);
}

int main(int argc, char **argv)
{
    if (argc < 4) die("usage: bench_sae_calibration EMBEDDING.npy K SEEDS [VARIANT ...]");
    cpt_err e;
    cpt_npy npy;
    if (cpt_npy_open_as(argv[1], CPT_F32, 2, (int64_t[]){-1, -1}, &npy, &e) != CPT_OK) die(e.text);
    set s = {npy.data, (int32_t)npy.shape[1], npy.shape[0], atoi(argv[2]), atoi(argv[3])};
    if (s.k < 1 || s.n_seeds < 2 || s.n_seeds > MAX_SEEDS || s.n < 20) die("k >= 1, 2 to 10 seeds");
    printf("set\tk\tvariant\tr2\tsd\tr2_train\tsd\tdead\tsd\tdead_validation\tsd\tl0\tsd\tcosine\tsd\t"
           "above_0.7\tseconds\n");
    for (int v = 0; v < N_VARIANTS; v++) {
        bool wanted = argc == 4;
        for (int i = 4; i < argc; i++) wanted |= strcmp(argv[i], variants[v].name) == 0;
        if (wanted) line(&s, v, argv[1]);
    }
    cpt_npy_close(&npy);
    return 0;
}

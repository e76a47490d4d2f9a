/* bench_stability.c - which kind of dictionary finds the same concepts again with another seed?
 *
 *     build/bench/bench_stability EMBEDDING.npy SEEDS [KIND:K:CONCEPTS ...]
 *
 * For each setting: dictionaries trained with SEEDS seeds on the same cells (all of them, so that
 * only initialisation and order differ), default length of training; cosine of matched decoder
 * rows, share above 0.7 and PW-MCC over the pairs, each beside 20 pairs of random rows of the same
 * sizes (src/evaluate/stability.h). "alive": the same among the concepts that are active in some
 * cell. Prints Markdown. */
#include "base/memory.h"
#include "dictionary/dictionary.h"
#include "evaluate/stability.h"
#include "study/prepare.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SEEDS = 20, N_NULL = 20 };
static cpt_err err;

static void stop_on(cpt_status status)
{
    if (status == CPT_OK) return;
    fprintf(stderr, "bench_stability: %s\n", err.text);
    exit(1);
}

/* Rows of the concepts that are active in at least one cell, in memory of their own. */
static cpt_rows living_rows(const cpt_dictionary *d, const float *a, int64_t n)
{
    const size_t width = (size_t)d->max_active;
    int32_t *counts = calloc((size_t)n, sizeof *counts),
            *concepts = calloc((size_t)n * width, sizeof *concepts);
    float *values = calloc((size_t)n * width, sizeof *values);
    float *rows = calloc((size_t)d->n_concepts * (size_t)d->dim, sizeof *rows);
    char *alive = calloc((size_t)d->n_concepts, 1);
    cpt_rows out = {rows, 0};
    stop_on(d->ops->encode(d, n, a, counts, concepts, values, &err));
    for (int64_t i = 0; i < n; i++)
        for (int32_t j = 0; j < counts[i]; j++) alive[concepts[i * d->max_active + j]] = 1;
    for (int32_t c = 0; c < d->n_concepts; c++)
        if (alive[c])
            memcpy(rows + (int64_t)out.n++ * d->dim, d->decoder + (int64_t)c * d->dim,
                   (size_t)d->dim * sizeof *rows);
    free(counts), free(concepts), free(values), free(alive);
    return out;
}

static void print_spread(cpt_spread x, cpt_spread null)
{
    printf(" %.3f (%.3f) / %.3f |", x.mean, x.sd, null.mean);
}

static void one_setting(const char *text, const float *a, int64_t n, int32_t dim, int n_seeds)
{
    cpt_rows rows[MAX_SEEDS];
    cpt_stability s;
    char kind[32];
    int k = 0, n_concepts = 0;
    double r2 = 0, l0 = 0, living = 0;
    sscanf(text, "%31[^:]:%d:%d", kind, &k, &n_concepts);
    int64_t *all = calloc((size_t)n, sizeof *all);
    for (int64_t i = 0; i < n; i++) all[i] = i;
    cpt_context ctx;
    cpt_context_init(&ctx);
    for (int i = 0; i < n_seeds; i++) {
        cpt_dictionary_options o;
        cpt_dictionary_report report;
        cpt_dictionary *d;
        cpt_dictionary_options_init(&o);
        o.kind = kind;
        o.k = k;
        o.n_concepts = n_concepts;
        ctx.seed = (uint64_t)i;
        stop_on(cpt_dictionary_train(&o, a, dim, n, all, 0, NULL, &d, &report, &ctx, &err));
        rows[i] = living_rows(d, a, n);
        r2 += report.train.r2_feature / n_seeds;
        l0 += report.train.l0 / n_seeds;
        living += (double)rows[i].n / n_seeds;
        cpt_dictionary_free(d);
        cpt_dictionary_report_free(&report);
    }
    ctx.seed = 0;
    stop_on(cpt_stability_of(rows, n_seeds, dim, N_NULL, &s, &ctx, &err));
    printf("| %s | %.3f | %.2f | %.1f |", text, r2, l0, living);
    print_spread(s.cosine, s.null_cosine);
    print_spread(s.above_07, s.null_above_07);
    print_spread(s.above_09, s.null_above_09);
    print_spread(s.pw_mcc, s.null_pw_mcc);
    printf("\n");
    fflush(stdout);
    for (int i = 0; i < n_seeds; i++) free((void *)(uintptr_t)rows[i].rows);
    free(all);
}

int main(int argc, char **argv)
{
    static const char *const usual[] = {"topk:5:20",       "topk:5:40",       "topk:5:160",
                                        "topk:2:20",       "topk:2:40",       "batchtopk:5:20",
                                        "batchtopk:5:40",  "batchtopk:2:20",  "batchtopk:2:40",
                                        "matryoshka:5:20", "matryoshka:5:40", "matryoshka:2:20",
                                        "matryoshka:2:40", "ica:0:0"};
    float *a;
    int64_t n;
    int32_t dim;
    if (argc < 3) {
        fprintf(stderr, "bench_stability EMBEDDING.npy SEEDS [KIND:K:CONCEPTS ...]\n");
        return 1;
    }
    const int n_seeds = atoi(argv[2]) < MAX_SEEDS ? atoi(argv[2]) : MAX_SEEDS;
    stop_on(cpt_prepare_npy(argv[1], &a, &n, &dim, &err));
    printf(
        "| kind:k:concepts | R2 | L0 | alive | cosine / random | above 0.7 | above 0.9 | PW-MCC |\n"
        "|---|---|---|---|---|---|---|---|\n");
    const int n_settings = argc > 3 ? argc - 3 : (int)(sizeof usual / sizeof *usual);
    for (int i = 0; i < n_settings; i++)
        one_setting(argc > 3 ? argv[3 + i] : usual[i], a, n, dim, n_seeds);
    free(a);
    return 0;
}

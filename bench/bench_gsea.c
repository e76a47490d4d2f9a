/* bench_gsea.c - GSEA of one synthetic ranking: 14,700 genes x 2,467 sets of 15 to 500 genes.
 *
 * usage: bench_gsea [problem.tsv]    writes the problem for bench/peers/gsea_peer.py when a path is given:
 * one line "gene <TAB> statistic" per gene, then one line "SET <TAB> genes ..." per set. */
#include "bench.h"

#include "base/random.h"
#include "enrich/enrich.h"
#include "enrich/rank_null.h"
#include "enrich/set_walks.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { N_GENES = 14700, N_SETS = 2467, SMALLEST = 15, LARGEST = 500, SHIFTED = 5 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t); /* one thread: not disturbed by other work */
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
    return *(const int32_t *)a - *(const int32_t *)b;
}

/* Sizes fall off as 1/size, as in GO. Every fifth set draws half of its genes from the top 3,000 numbers, whose
 * statistics are shifted, so that small p values occur. */
static cpt_genesets *make_sets(void)
{
    cpt_genesets *s = calloc(1, sizeof *s);
    if (!s) exit(1);
    s->n_universe = N_GENES;
    s->n_sets = N_SETS;
    s->first = calloc(N_SETS + 1, sizeof *s->first);
    s->genes = calloc((size_t)N_SETS * LARGEST, sizeof *s->genes);
    char *taken = malloc(N_GENES);
    if (!s->first || !s->genes || !taken) exit(1);
    for (int i = 0; i < N_SETS; i++) {
        cpt_stream r;
        cpt_stream_init(&r, 1, CPT_RANDOM_SIMULATE, (uint64_t)i);
        int size = (int)(SMALLEST * pow((double)LARGEST / SMALLEST, cpt_stream_uniform(&r)));
        int32_t *genes = s->genes + s->first[i];
        memset(taken, 0, N_GENES);
        for (int n = 0; n < size;) {
            bool near = i % SHIFTED == 0 && n % 2 == 0;
            int32_t g = (int32_t)cpt_stream_below(&r, near ? 3000 : N_GENES);
            if (!taken[g]) {
                taken[g] = 1;
                genes[n++] = g;
            }
        }
        qsort(genes, (size_t)size, sizeof *genes, ascending);
        s->first[i + 1] = s->first[i] + size;
    }
    free(taken);
    return s;
}

static void write_problem(const char *path, const cpt_genesets *s, const double *statistic)
{
    FILE *f = fopen(path, "w");
    if (!f) {
        perror(path);
        exit(1);
    }
    for (int g = 0; g < N_GENES; g++) fprintf(f, "g%d\t%.17g\n", g, statistic[g]);
    for (int i = 0; i < N_SETS; i++) {
        fprintf(f, "SET");
        for (int64_t k = s->first[i]; k < s->first[i + 1]; k++) fprintf(f, "\tg%d", s->genes[k]);
        fprintf(f, "\n");
    }
    if (fclose(f)) exit(1);
}

static void report(const char *what, double seconds, const cpt_gsea *g)
{
    int multilevel = 0, significant = 0;
    for (int i = 0; i < g->n_rows; i++) {
        multilevel += g->rows[i].multilevel;
        significant += g->rows[i].q < 0.05;
    }
    bench_line("gsea", what, seconds, "s");
    printf("%.0f sets/s, multilevel %d, q < 0.05: %d\n", g->n_rows / seconds, multilevel, significant);
}

/* Order of the genes apart from the scores of the sets. */
static void time_scores(const cpt_genesets *sets, const double *statistic)
{
    enum { REPEATS = 100 };
    cpt_err err;
    cpt_set_index index;
    cpt_ranking ranking;
    cpt_set_walks walks;
    if (cpt_set_index_make(sets, &index, &err)) exit(1);
    double start = now();
    for (int i = 0; i < REPEATS; i++) {
        if (cpt_ranking_make(N_GENES, statistic, 1, &ranking, &err)) exit(1);
        if (i + 1 < REPEATS) cpt_ranking_free(&ranking);
    }
    printf("%-42s %9.3f ms\n", "order of the genes", 1e3 * (now() - start) / REPEATS);
    start = now();
    for (int i = 0; i < REPEATS; i++) {
        if (cpt_set_walks_make(&index, &ranking, CPT_SCORE_STD, &walks, &err)) exit(1);
        cpt_set_walks_free(&walks);
    }
    bench_line("gsea", "scores of all sets", 1e3 * (now() - start) / REPEATS, "ms");
    cpt_ranking_free(&ranking);
    cpt_set_index_free(&index);
}

/* Weights by rank: the null of all set sizes once, then what one more ranking costs. */
static void time_shared_null(const cpt_genesets *sets, const cpt_context *ctx)
{
    enum { RANKINGS = 40 };
    static double statistic[RANKINGS][N_GENES];
    cpt_err err;
    cpt_gsea_options o;
    cpt_rank_null *null;
    char reason[96];
    bool changed;
    cpt_gsea_options_init(&o);
    cpt_gsea_engine *engine = cpt_gsea_engine_new(sets, &o, &err);
    for (int i = 0; i < RANKINGS; i++) {
        cpt_stream r;
        cpt_stream_init(&r, 3, CPT_RANDOM_SIMULATE, (uint64_t)i);
        for (int g = 0; g < N_GENES; g++) statistic[i][g] = cpt_stream_normal(&r) + (g < 3000 ? 0.1 * (i % 10) : 0);
    }
    double start = now();
    if (!engine || cpt_rank_null_make(N_GENES, LARGEST, &o, &null, &err) ||
        cpt_gsea_engine_ask(engine, statistic[0], null, reason, sizeof reason, &err) ||
        cpt_rank_null_grow(null, &changed, ctx, &err))
        exit(1);
    bench_line("gsea", "shared null to 1e-50", now() - start, "s");
    cpt_gsea_engine_use(engine, null);
    start = now();
    for (int i = 0; i < RANKINGS; i++) {
        cpt_gsea *g;
        if (cpt_gsea_engine_run(engine, statistic[i], &g, &err)) exit(1);
        cpt_gsea_free(g);
    }
    bench_line("gsea", "further concept, shared null", 1e3 * (now() - start) / RANKINGS, "ms");
    cpt_gsea_engine_free(engine);
    cpt_rank_null_free(null);
}

int main(int argc, char **argv)
{
    cpt_err err;
    cpt_genesets *sets = make_sets();
    static double statistic[N_GENES];
    cpt_stream r;
    cpt_stream_init(&r, 2, CPT_RANDOM_SIMULATE, 0);
    for (int g = 0; g < N_GENES; g++) statistic[g] = cpt_stream_normal(&r) + (g < 3000 ? 0.5 : 0);
    if (argc > 1) write_problem(argv[1], sets, statistic);

    time_scores(sets, statistic);
    cpt_gsea_options o;
    cpt_gsea_options_init(&o);
    cpt_context ctx;
    cpt_context_init(&ctx);
    ctx.n_threads = 1;
    time_shared_null(sets, &ctx);
    static const struct {
        const char *what;
        int permutations;
        bool multilevel;
    } runs[] = {{"1,000 permutations", 1000, false}, {"10,000 permutations", 10000, false}, {"multilevel", 1000, true}};
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        cpt_gsea *g;
        o.multilevel = runs[i].multilevel;
        o.n_permutations = runs[i].permutations;
        double start = now();
        if (cpt_gsea_run(sets, statistic, &o, &g, &ctx, &err)) {
            fprintf(stderr, "%s\n", err.text);
            return 1;
        }
        report(runs[i].what, now() - start, g);
        cpt_gsea_free(g);
    }

    enum { RANKINGS = 10 };
    o.multilevel = false;
    o.n_permutations = 1000;
    cpt_gsea_engine *engine = cpt_gsea_engine_new(sets, &o, &err);
    double start = now();
    for (int i = 0; engine && i < RANKINGS; i++) {
        cpt_gsea *g;
        statistic[i] = -statistic[i];
        if (cpt_gsea_engine_run(engine, statistic, &g, &err)) return 1;
        cpt_gsea_free(g);
    }
    bench_line("gsea", "1,000 permutations, further ranking", 1e3 * (now() - start) / RANKINGS, "ms");
    cpt_gsea_engine_free(engine);
    free(sets->first);
    free(sets->genes);
    free(sets);
    return 0;
}

/* bench_gsea.c - GSEA of one synthetic ranking: 14,700 genes x 2,467 sets of 15 to 500 genes, on one thread but for the
 * figure that says otherwise.
 *
 * usage: bench_gsea threads [problem.tsv]    with a path only writes the problem for bench/peers/gsea_peer.py: one line
 * "gene <TAB> statistic" per gene, then one line "SET <TAB> genes ..." per set.
 *
 * Permutations are timed on every eleventh set as well: on all of them the peer would take minutes. */
#include "bench.h"

#include "base/random.h"
#include "enrich/enrich.h"
#include "enrich/rank_null.h"
#include "enrich/set_walks.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_GENES = 14700, N_SETS = 2467, SMALLEST = 15, LARGEST = 500, SHIFTED = 5, EVERY = 11, REPEATS = 100 };

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

/* Sets 0, EVERY, 2 EVERY ... */
static cpt_genesets *some_of(const cpt_genesets *all)
{
    cpt_genesets *s = calloc(1, sizeof *s);
    if (!s) exit(1);
    s->n_universe = all->n_universe;
    s->first = calloc((size_t)all->n_sets + 1, sizeof *s->first);
    s->genes = calloc((size_t)all->first[all->n_sets], sizeof *s->genes);
    if (!s->first || !s->genes) exit(1);
    for (int i = 0; i < all->n_sets; i += EVERY) {
        int64_t size = all->first[i + 1] - all->first[i], at = s->first[s->n_sets];
        memcpy(s->genes + at, all->genes + all->first[i], (size_t)size * sizeof *s->genes);
        s->first[++s->n_sets] = at + size;
    }
    return s;
}

static void free_sets(cpt_genesets *s)
{
    free(s->first);
    free(s->genes);
    free(s);
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
    static double seconds[2][REPEATS];
    cpt_err err;
    cpt_set_index index;
    cpt_ranking ranking = {0};
    cpt_set_walks walks = {0};
    if (cpt_set_index_make(sets, &index, &err)) exit(1);
    for (int i = 0; i < REPEATS; i++) {
        double start = bench_now();
        if (cpt_ranking_make(N_GENES, statistic, 1, &ranking, &err)) exit(1);
        seconds[0][i] = bench_now() - start;
        start = bench_now();
        if (cpt_set_walks_make(&index, &ranking, CPT_SCORE_STD, &walks, &err)) exit(1);
        seconds[1][i] = bench_now() - start;
    }
    cpt_set_walks_free(&walks);
    cpt_ranking_free(&ranking);
    bench_line("gsea", "order of the genes", 1e3 * bench_median(seconds[0], REPEATS), "ms");
    bench_line("gsea", "scores of all sets", 1e3 * bench_median(seconds[1], REPEATS), "ms");
    cpt_set_index_free(&index);
}

/* One more ranking with the null that all share, among `RANKINGS` different ones. */
enum { RANKINGS = 40 };

static void time_further(const cpt_gsea_engine *engine, double (*statistic)[N_GENES], int n_threads)
{
    static double seconds[REPEATS];
    for (int i = 0; i < REPEATS; i++) {
        cpt_err err;
        cpt_gsea *g;
        double start = bench_now();
        if (cpt_gsea_engine_run(engine, statistic[i % RANKINGS], &g, &err)) exit(1);
        cpt_gsea_free(g);
        seconds[i] = bench_now() - start;
    }
    bench_line("gsea", "further concept, shared null", 1e3 * bench_median(seconds, REPEATS), "ms");
    if (n_threads < 2) return;
    double start = bench_now();
#pragma omp parallel for num_threads(n_threads) schedule(dynamic)
    for (int i = 0; i < 5 * REPEATS; i++) {
        cpt_err err;
        cpt_gsea *g;
        if (cpt_gsea_engine_run(engine, statistic[i % RANKINGS], &g, &err)) exit(1);
        cpt_gsea_free(g);
    }
    char what[64];
    snprintf(what, sizeof what, "the same, %d at a time", n_threads);
    bench_line("gsea", what, 1e3 * (bench_now() - start) / (5 * REPEATS), "ms");
}

/* Weights by rank: the null of all set sizes once, then what one more ranking costs. */
static void time_shared_null(const cpt_genesets *sets, int n_threads, const cpt_context *ctx)
{
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
    double start = bench_now();
    if (!engine || cpt_rank_null_make(N_GENES, LARGEST, &o, &null, &err) ||
        cpt_gsea_engine_ask(engine, statistic[0], null, reason, sizeof reason, &err) ||
        cpt_rank_null_grow(null, &changed, ctx, &err))
        exit(1);
    bench_line("gsea", "shared null to 1e-50", bench_now() - start, "s");
    cpt_gsea_engine_use(engine, null);
    time_further(engine, statistic, n_threads);
    cpt_gsea_engine_free(engine);
    cpt_rank_null_free(null);
}

/* Over-representation in the first STUDY genes of another order for each repeat. */
static void time_ora(const cpt_genesets *sets)
{
    enum { STUDY = 50 };
    static double seconds[REPEATS];
    for (int i = 0; i < REPEATS; i++) {
        cpt_err err;
        cpt_ora *r;
        cpt_stream stream;
        int32_t study[STUDY];
        cpt_stream_init(&stream, 4, CPT_RANDOM_SIMULATE, (uint64_t)i);
        for (int k = 0; k < STUDY; k++) /* ascending, one in each part of the universe */
            study[k] = k * (N_GENES / STUDY) + (int32_t)cpt_stream_below(&stream, N_GENES / STUDY);
        double start = bench_now();
        if (cpt_ora_run(sets, STUDY, study, &r, &err)) exit(1);
        cpt_ora_free(r);
        seconds[i] = bench_now() - start;
    }
    bench_line("gsea", "over-representation, 50 genes", 1e3 * bench_median(seconds, REPEATS), "ms");
}

static void time_permutations(const cpt_genesets *sets, const double *statistic, const char *what, int permutations,
                              bool multilevel, const cpt_context *ctx)
{
    cpt_gsea *g;
    cpt_err err;
    cpt_gsea_options o;
    cpt_gsea_options_init(&o);
    o.multilevel = multilevel;
    o.n_permutations = permutations;
    double start = bench_now();
    if (cpt_gsea_run(sets, statistic, &o, &g, ctx, &err)) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    report(what, bench_now() - start, g);
    cpt_gsea_free(g);
}

/* Rankings that share the drawn subsets, but not their weights. */
static void time_engine(const cpt_genesets *sets, double *statistic)
{
    enum { TURNED = 10 };
    cpt_err err;
    cpt_gsea_options o;
    cpt_gsea_options_init(&o);
    o.multilevel = false;
    cpt_gsea_engine *engine = cpt_gsea_engine_new(sets, &o, &err);
    double start = bench_now();
    for (int i = 0; engine && i < TURNED; i++) {
        cpt_gsea *g;
        statistic[i] = -statistic[i];
        if (cpt_gsea_engine_run(engine, statistic, &g, &err)) exit(1);
        cpt_gsea_free(g);
    }
    bench_line("gsea", "1,000 permutations, further ranking", 1e3 * (bench_now() - start) / TURNED, "ms");
    cpt_gsea_engine_free(engine);
}

int main(int argc, char **argv)
{
    static double statistic[N_GENES];
    int n_threads = argc > 1 ? atoi(argv[1]) : 1;
    cpt_genesets *sets = make_sets(), *some = some_of(sets);
    cpt_stream r;
    cpt_context ctx;
    cpt_stream_init(&r, 2, CPT_RANDOM_SIMULATE, 0);
    for (int g = 0; g < N_GENES; g++) statistic[g] = cpt_stream_normal(&r) + (g < 3000 ? 0.5 : 0);
    if (argc > 2) {
        write_problem(argv[2], sets, statistic);
        return 0;
    }
    cpt_context_init(&ctx);
    ctx.n_threads = 1;
    time_scores(sets, statistic);
    time_shared_null(sets, n_threads, &ctx);
    time_ora(sets);
    time_permutations(some, statistic, "1,000 permutations, 225 sets", 1000, false, &ctx);
    time_permutations(sets, statistic, "1,000 permutations", 1000, false, &ctx);
    time_permutations(sets, statistic, "10,000 permutations", 10000, false, &ctx);
    time_permutations(sets, statistic, "multilevel", 1000, true, &ctx);
    time_engine(sets, statistic);
    free_sets(some);
    free_sets(sets);
    return 0;
}

/* Differential expression of one concept, and of 40, against all other cells: 20,000 cells x 4,000 genes, a count in 10 %.
 *
 *     build/bench/bench_de [threads]
 *
 * bench/peers/de_peer.py: scanpy on the same counts, which it gets normalised and as logarithms. */
#include <omp.h>
#include <stdint.h>

#include "bench.h"
#include "concept/expression.h"

enum { CELLS = 20000, GENES = 4000, KEY_PRESENT = 21, KEY_COUNT, REPEATS = 3 };

static int32_t count_of(int32_t cell, int32_t gene)
{
    const uint32_t i = (uint32_t)cell * GENES + (uint32_t)gene;
    if (bench_uniform(KEY_PRESENT, i) >= 0.1f) return 0;
    return 1 + (int32_t)(3 * bench_uniform(KEY_COUNT, i) + (cell % 7 == 0 && gene % 11 == 0 ? 2 : 0));
}

/* By gene, with the cells' sums. */
static cpt_csr make_counts(double *totals)
{
    int64_t *indptr = calloc(GENES + 1, sizeof *indptr), n = 0, room = (int64_t)CELLS * GENES / 8;
    int32_t *indices = malloc(sizeof *indices * (size_t)room);
    float *values = malloc(sizeof *values * (size_t)room);
    if (!indptr || !indices || !values) exit(1);
    for (int32_t g = 0; g < GENES; g++) {
        for (int32_t i = 0; i < CELLS && n < room; i++) {
            const int32_t count = count_of(i, g);
            if (!count) continue;
            indices[n] = i;
            values[n++] = (float)count;
            totals[i] += count;
        }
        indptr[g + 1] = n;
    }
    return (cpt_csr){GENES, CELLS, indptr, indices, values};
}

static bool active(int32_t cell, int32_t concept)
{
    return cell % (7 + concept) == concept % 7;
}

/* Activations of 1 where active; rows are cells, or concepts. */
static cpt_csr make_concepts(int32_t n, bool by_cell)
{
    const int32_t rows = by_cell ? CELLS : n, columns = by_cell ? n : CELLS;
    int64_t *indptr = calloc((size_t)rows + 1, sizeof *indptr), filled = 0;
    int32_t *indices = malloc(sizeof *indices * CELLS * (size_t)n);
    float *values = malloc(sizeof *values * CELLS * (size_t)n);
    if (!indptr || !indices || !values) exit(1);
    for (int32_t r = 0; r < rows; r++) {
        for (int32_t c = 0; c < columns; c++)
            if (by_cell ? active(r, c) : active(c, r)) {
                indices[filled] = c;
                values[filled++] = 1;
            }
        indptr[r + 1] = filled;
    }
    return (cpt_csr){rows, columns, indptr, indices, values};
}

/* Milliseconds; the score of gene 11 for the first concept. */
static double test_concepts(int32_t n, cpt_expression_test test, const cpt_csr *counts, const double *totals,
                            int threads, double *score)
{
    static bool usable[CELLS];
    static int32_t genes[GENES];
    const cpt_context ctx = {.n_threads = threads};
    cpt_concept_stats *stats = calloc((size_t)n, sizeof *stats);
    const cpt_activations u = {.n_cells = CELLS,
                               .n_concepts = n,
                               .by_cell = make_concepts(n, true),
                               .by_concept = make_concepts(n, false),
                               .stats = stats,
                               .usable = usable};
    double times[REPEATS];
    for (int32_t i = 0; i < CELLS; i++) usable[i] = true;
    for (int32_t g = 0; g < GENES; g++) genes[g] = g;
    for (int i = 0; i < REPEATS; i++) {
        cpt_err e;
        cpt_expression *x;
        const double from = bench_now();
        if (cpt_expression_test_all(&u, counts, genes, GENES, totals, 0, test, &x, &ctx, &e)) {
            fprintf(stderr, "%s\n", e.text);
            exit(1);
        }
        times[i] = bench_now() - from;
        *score = (double)x->score[11];
        cpt_expression_free(x);
    }
    free(stats);
    return 1e3 * bench_median(times, REPEATS);
}

int main(int argc, char **argv)
{
    static double totals[CELLS];
    const int threads = argc > 1 ? atoi(argv[1]) : omp_get_max_threads();
    const cpt_csr counts = make_counts(totals);
    double score;
    bench_line("de", "Welch, one concept", test_concepts(1, CPT_TEST_WELCH, &counts, totals, threads, &score), "ms");
    bench_line("de", "Welch t of gene 11", score, "");
    bench_line("de", "rank sum, one concept", test_concepts(1, CPT_TEST_WILCOXON, &counts, totals, threads, &score),
               "ms");
    bench_line("de", "rank sum z of gene 11", score, "");
    bench_line("de", "Welch, 40 concepts", test_concepts(40, CPT_TEST_WELCH, &counts, totals, threads, &score), "ms");
    return 0;
}

/* How well do cheap screens foretell exact attributions of a transformer?
 *
 *     build/bench/bench_scgpt_screen STUDY [concepts] [pairs of each] [ig steps]
 *
 * STUDY is one of scGPT cells whose concepts are found (`conceptome concepts STUDY` will do). For
 * every pair all differing genes are substituted exactly, and once with each screen: gradient at the
 * prototype, integrated gradients, and the estimates of session_screen (swap). Printed, as means over
 * pairs: Spearman and the overlap of the 20 largest by size, of each screen against the exact
 * pre-activation and against the exact activation after sparsification; and the time per pair. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "concept/attribution.h"
#include "math/blas.h"
#include "math/statistics.h"
#include "study/study.h"

enum { SCREENS = 3, TOP = 20 };
static cpt_err err;

static void need(cpt_status status)
{
    if (status == CPT_OK) return;
    fprintf(stderr, "bench_scgpt_screen: %s\n", err.text);
    exit(1);
}

static double cpu(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static const double *sort_key;
static int by_key(const void *a, const void *b)
{
    const double x = fabs(sort_key[*(const int *)a]), y = fabs(sort_key[*(const int *)b]);
    return x < y ? 1 : x > y ? -1 : *(const int *)a - *(const int *)b;
}

/* Share of the TOP largest of `screen` whose exact value is as large as the TOP-th largest. */
static double overlap(int n, const double *screen, const double *exact)
{
    int *order = malloc((size_t)n * sizeof *order), top = n < TOP ? n : TOP, shared = 0;
    for (int i = 0; i < n; i++) order[i] = i;
    sort_key = exact;
    qsort(order, (size_t)n, sizeof *order, by_key);
    const double least = fabs(exact[order[top - 1]]);
    sort_key = screen;
    qsort(order, (size_t)n, sizeof *order, by_key);
    for (int i = 0; i < top; i++) shared += fabs(exact[order[i]]) >= least;
    free(order);
    return (double)shared / top;
}

typedef struct pair_result {
    int n, jumps;
    double *pre, *activation;                  /* [n] exact */
    double *screen[SCREENS], *then[SCREENS];  /* [n] for either */
    double seconds[SCREENS + 1];
} pair_result;

static void run_pair(const cpt_model *m, const cpt_dictionary *d, const cpt_counts *counts,
                     int32_t concept, const cpt_pair *pair, int steps, pair_result *r)
{
    const cpt_screen screens[] = {CPT_SCREEN_GRADIENT, CPT_SCREEN_IG, CPT_SCREEN_SWAP};
    cpt_attribution_options o;
    cpt_pair_attribution exact, a;
    double from = cpu();
    cpt_attribution_options_init(&o);
    o.ig_steps = steps;
    need(cpt_attribute_pair(m, d, counts, concept, pair->prototype, pair->counterfactual, &o, 1,
                            &exact, &err));
    r->seconds[SCREENS] = cpu() - from;
    double **const arrays[] = {&r->pre,       &r->activation, &r->screen[0], &r->screen[1],
                               &r->screen[2], &r->then[0],    &r->then[1],   &r->then[2]};
    for (int i = 0; i < 8; i++) *arrays[i] = malloc((size_t)m->n_genes * sizeof(double));
    r->n = r->jumps = 0;
    for (int32_t g = 0; g < m->n_genes; g++) {
        if (!exact.differs[g]) continue;
        r->pre[r->n] = (double)exact.pre[g];
        r->activation[r->n] = (double)exact.activation[g];
        r->jumps += fabs((double)exact.pre[g] - (double)exact.activation[g]) > 1e-5;
        r->n++;
    }
    for (int k = 0; k < SCREENS; k++) {
        int at = 0;
        from = cpu();
        o.method = CPT_METHOD_HYBRID;
        o.screen = screens[k];
        o.hybrid_top = o.hybrid_check = 0;
        need(cpt_attribute_pair(m, d, counts, concept, pair->prototype, pair->counterfactual, &o, 1,
                                &a, &err));
        r->seconds[k] = cpu() - from;
        for (int32_t g = 0; g < m->n_genes; g++) {
            if (!exact.differs[g]) continue;
            r->screen[k][at] = (double)a.pre[g];
            r->then[k][at++] = (double)a.activation[g];
        }
        cpt_pair_attribution_free(&a);
    }
    cpt_pair_attribution_free(&exact);
}

int main(int argc, char **argv)
{
    static const char *const names[] = {"gradient", "ig", "swap"};
    const int n_concepts = argc > 2 ? atoi(argv[2]) : 20, each = argc > 3 ? atoi(argv[3]) : 1;
    const int steps = argc > 4 ? atoi(argv[4]) : 16;
    cpt_context ctx;
    cpt_study *s;
    cpt_model *m;
    cpt_dictionary *d;
    const cpt_counts *counts;
    const cpt_pairs *pairs;
    cpt_context_init(&ctx);
    need(cpt_study_look(argv[1], NULL, &ctx, &s, &err));
    need(cpt_study_model(s, &m, &err));
    need(cpt_study_dictionary(s, &d, &err));
    need(cpt_study_counts(s, &counts, &err));
    need(cpt_study_pairs(s, &pairs, &err));
    double scores[SCREENS][4] = {{0}}, seconds[SCREENS + 1] = {0}, jumps = 0, genes = 0, size = 0;
    int used = 0, done = 0;
    for (int32_t c = 0; c < pairs->n_concepts && done < n_concepts; c++) {
        done += pairs->first[c + 1] > pairs->first[c];
        for (int64_t i = pairs->first[c]; i < pairs->first[c + 1] && i < pairs->first[c] + each;
             i++) {
            pair_result r;
            run_pair(m, d, counts, c, &pairs->pairs[i], steps, &r);
            printf("c%d: %d genes, %d jumps;", c, r.n, r.jumps);
            for (int k = 0; k < SCREENS; k++) {
                const double one[4] = {cpt_spearman(r.n, r.screen[k], r.pre, &err),
                                       overlap(r.n, r.screen[k], r.pre),
                                       cpt_spearman(r.n, r.then[k], r.activation, &err),
                                       overlap(r.n, r.then[k], r.activation)};
                for (int j = 0; j < 4; j++) scores[k][j] += one[j];
                printf(" %s %.2f %.2f %.2f %.2f", names[k], one[0], one[1], one[2], one[3]);
                free(r.screen[k]), free(r.then[k]);
            }
            printf("\n");
            for (int k = 0; k <= SCREENS; k++) seconds[k] += r.seconds[k];
            for (int k = 0; k < r.n; k++) size += fabs(r.pre[k]) / r.n;
            jumps += (double)r.jumps / r.n;
            genes += r.n;
            used++;
            free(r.pre), free(r.activation);
        }
    }
    printf("%d pairs, %.0f genes each, mean |attribution| %.4f, %.4f of the genes lose or gain the "
           "place; exact %.0f ms a pair\n", used, genes / used, size / used, jumps / used,
           1e3 * seconds[SCREENS] / used);
    printf("| screen | pre: Spearman | top 20 | activation: Spearman | top 20 | ms a pair |\n");
    for (int k = 0; k < SCREENS; k++)
        printf("| %s | %.3f | %.3f | %.3f | %.3f | %.0f |\n", names[k], scores[k][0] / used,
               scores[k][1] / used, scores[k][2] / used, scores[k][3] / used,
               1e3 * seconds[k] / used);
    cpt_study_close(s);
    return 0;
}

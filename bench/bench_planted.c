/* bench_planted.c - do concepts find programs that were planted, and attribution their genes?
 *
 *     build/bench/bench_planted FOLDER SEEDS PROGRAMS LATENT [KIND:K:EXPANSION ...]
 *
 * For each seed: 3,000 simulated cells x 4,000 genes with PROGRAMS programs
 * (src/evaluate/simulate.h), a study with scVI of LATENT dimensions on them, and for each
 * dictionary its concepts, attributions and differential expression, as `conceptome run` makes them
 * (K and EXPANSION 0 = default; for pca, ica and nmf K is the rank). A program's concept is the one
 * whose activation correlates most with its activity, in absolute value. Prints Markdown, mean (sd)
 * over seeds:
 *
 *   recovered   share of programs with |correlation| > 0.8; mean |correlation| beside it
 *   attributed  genes at the cut-off (|mean| >= 0.05, q < 0.05) of the program's concept: number,
 * share of them in the program (precision), share of the program among them (recall); DGE: the same
 *               number of genes by |t|. Over the recovered programs, and over all
 *   top genes   precision of as many genes as the program has, by |attribution| and by |t|
 *
 * The line "any direction" is what no linear unit can pass: the correlation of each program with
 * its best linear prediction from the embedding. Chance = size of a program over all genes. */
#include "base/file.h"
#include "base/memory.h"
#include "evaluate/simulate.h"
#include "math/linalg.h"
#include "math/statistics.h"
#include "study/study.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_SEEDS = 20, MAX_SETTINGS = 32, PATH = 1024 };
static const double RECOVERED = 0.8, CUTOFF = 0.05;
static cpt_err err;

static void stop_on(cpt_status status)
{
    if (status == CPT_OK) return;
    fprintf(stderr, "bench_planted: %s\n", err.text);
    exit(1);
}

/* ---- one seed: the truth ---- */

typedef struct planted {
    cpt_simulate_options options;
    cpt_simulated_truth truth;
    double *activity; /* [programs][cells] */
    uint64_t seed;
} planted;

static void plant(planted *p, int32_t n_programs, uint64_t seed)
{
    cpt_simulated_cell cell = {.activity = calloc((size_t)n_programs, sizeof(float))};
    cpt_simulate_options_init(&p->options);
    p->options.n_programs = n_programs;
    p->seed = seed;
    stop_on(cpt_simulated_truth_make(&p->options, seed, &p->truth, &err));
    const int64_t n = p->options.n_cells;
    stop_on(cpt_alloc(&p->activity, (size_t)n * (size_t)n_programs, sizeof *p->activity, &err));
    for (int64_t i = 0; i < n; i++) {
        cpt_simulate_cell(&p->truth, p->options.depth, seed, i, &cell);
        for (int32_t k = 0; k < n_programs; k++) p->activity[k * n + i] = cell.activity[k];
    }
    free(cell.activity);
}

static void uproot(planted *p)
{
    cpt_simulated_truth_free(&p->truth);
    free(p->activity);
}

/* ---- scores ---- */

enum {
    RECOVERED_SHARE,
    CORRELATION,
    N_GENES,
    PRECISION,
    RECALL,
    DGE_PRECISION,
    PRECISION_ALL,
    DGE_PRECISION_ALL,
    TOP,
    TOP_DGE,
    R2,
    N_SCORES
};
static const char *const score_names[N_SCORES] = {
    "recovered",      "correlation", "genes at the cut-off",
    "precision",      "recall",      "DGE precision",
    "precision, all", "DGE, all",    "top genes",
    "DGE top genes",  "R2"};

typedef struct gene {
    double size;
    int32_t number;
} gene;

static int by_size(const void *x, const void *y)
{
    const gene *a = x, *b = y;
    if (a->size != b->size) return a->size > b->size ? -1 : 1;
    return a->number - b->number;
}

/* Members of program p by number of the universe, which counts genes of the input that are
 * expressed. */
static int32_t mark_members(const planted *p, const cpt_universe *u, int32_t program,
                            uint8_t *member)
{
    int32_t n = 0;
    for (int32_t j = 0; j < u->n; j++) {
        member[j] = 0;
        for (int64_t m = p->truth.first[program]; m < p->truth.first[program + 1]; m++)
            member[j] |= p->truth.members[m] == u->columns[j];
        n += member[j];
    }
    return n;
}

static double precision_of(const float *values, int32_t n_genes, int32_t wanted,
                           const uint8_t *member, gene *order)
{
    int32_t hits = 0;
    for (int32_t j = 0; j < n_genes; j++)
        order[j] = (gene){isfinite(values[j]) ? fabs(values[j]) : 0, j};
    qsort(order, (size_t)n_genes, sizeof *order, by_size);
    for (int32_t i = 0; i < wanted; i++) hits += member[order[i].number];
    return wanted ? (double)hits / wanted : NAN;
}

typedef struct means {
    double sum[N_SCORES];
    int n[N_SCORES];
} means;

static void add(means *m, int which, double value)
{
    if (!isfinite(value)) return;
    m->sum[which] += value;
    m->n[which]++;
}

static void score_genes(const planted *p, const cpt_universe *u, const cpt_attribution *a,
                        const cpt_expression *x, int32_t program, int32_t concept, bool recovered,
                        means *m)
{
    uint8_t *member = calloc((size_t)u->n, 1);
    gene *order = calloc((size_t)u->n, sizeof *order);
    const int64_t at = (int64_t) concept * u->n;
    const int32_t size = mark_members(p, u, program, member);
    int32_t n = 0, hits = 0;
    for (int32_t j = 0; j < u->n; j++) {
        if (!(fabs(a->mean[at + j]) >= CUTOFF) || !(a->q[at + j] < 0.05)) continue;
        n++;
        hits += member[j];
    }
    const double precision = n ? (double)hits / n : NAN;
    const double dge = precision_of(x->score + at, u->n, n, member, order);
    add(m, PRECISION_ALL, precision);
    add(m, DGE_PRECISION_ALL, dge);
    add(m, TOP, precision_of(a->mean + at, u->n, size, member, order));
    add(m, TOP_DGE, precision_of(x->score + at, u->n, size, member, order));
    if (recovered) {
        add(m, N_GENES, n);
        add(m, PRECISION, precision);
        add(m, RECALL, (double)hits / size);
        add(m, DGE_PRECISION, dge);
    }
    free(member);
    free(order);
}

static void score_study(const planted *p, cpt_study *s, double *scores)
{
    const cpt_activations *u;
    const cpt_attribution *a;
    const cpt_expression *x;
    const cpt_universe *universe;
    const json_t *report;
    means m = {{0}, {0}};
    stop_on(cpt_study_activations(s, &u, &err));
    stop_on(cpt_study_attribution(s, &a, &err));
    stop_on(cpt_study_expression(s, &x, &err));
    stop_on(cpt_study_universe(s, &universe, &err));
    stop_on(cpt_study_dictionary_report(s, &report, &err));
    const int64_t n = u->n_cells;
    float *column = calloc((size_t)n, sizeof *column);
    double *columns = calloc((size_t)n * (size_t)u->n_concepts, sizeof *columns);
    for (int32_t c = 0; c < u->n_concepts; c++) {
        cpt_activations_column(u, c, column);
        for (int64_t i = 0; i < n; i++) columns[c * n + i] = column[i];
    }
    for (int32_t k = 0; k < p->truth.n_programs; k++) {
        double best = 0;
        int32_t concept = 0;
        for (int32_t c = 0; c < u->n_concepts; c++) {
            double r = fabs(cpt_pearson(n, columns + c * n, p->activity + k * n));
            if (r > best) best = r, concept = c;
        }
        add(&m, RECOVERED_SHARE, best > RECOVERED);
        add(&m, CORRELATION, best);
        score_genes(p, universe, a, x, k, concept, best > RECOVERED, &m);
    }
    for (int i = 0; i < N_SCORES; i++) scores[i] = m.n[i] ? m.sum[i] / m.n[i] : NAN;
    scores[R2] =
        json_number_value(json_object_get(json_object_get(report, "validation"), "r2_feature"));
    free(column);
    free(columns);
}

/* Multiple correlation of each program with the embedding: its principal scores are orthogonal. */
static void score_directions(const planted *p, cpt_study *s, double *recovered, double *correlation)
{
    const float *a;
    int64_t n;
    int32_t dim;
    stop_on(cpt_study_embedding(s, &a, &n, &dim, &err));
    double *mean = calloc((size_t)dim, sizeof *mean),
           *singular = calloc((size_t)dim, sizeof *singular);
    double *components = calloc((size_t)dim * (size_t)dim, sizeof *components);
    float *scores = calloc((size_t)n * (size_t)dim, sizeof *scores);
    double *column = calloc((size_t)n, sizeof *column);
    stop_on(cpt_pca(a, n, dim, dim, mean, components, singular, s->ctx, &err));
    cpt_pca_scores(a, n, dim, dim, mean, components, scores, s->ctx);
    *recovered = *correlation = 0;
    for (int32_t k = 0; k < p->truth.n_programs; k++) {
        double r2 = 0;
        for (int32_t c = 0; c < dim; c++) {
            for (int64_t i = 0; i < n; i++) column[i] = scores[i * dim + c];
            double r = cpt_pearson(n, column, p->activity + k * n);
            if (isfinite(r)) r2 += r * r;
        }
        *recovered += sqrt(r2) > RECOVERED;
        *correlation += sqrt(r2);
    }
    *recovered /= p->truth.n_programs;
    *correlation /= p->truth.n_programs;
    free(mean), free(singular), free(components), free(scores), free(column);
}

/* ---- studies ---- */

typedef struct setting {
    char kind[32];
    const char *text;
    int k, expansion;
} setting;

static void set_int(cpt_options *o, const char *name, int value)
{
    char text[32];
    snprintf(text, sizeof text, "%d", value);
    stop_on(cpt_options_set(o, name, text, &err));
}

static cpt_study *make_study(const planted *p, const char *folder, int latent, const setting *s)
{
    char input[PATH], study[PATH];
    cpt_context ctx;
    cpt_study *out;
    cpt_options *o = cpt_options_new(&err);
    cpt_context_init(&ctx);
    ctx.seed = p->seed;
    snprintf(input, sizeof input, "%s/cells_%d.h5ad", folder, (int)p->seed);
    snprintf(study, sizeof study, "%s/study_%d", folder, (int)p->seed);
    if (access(input, R_OK) != 0) stop_on(cpt_simulate_h5ad(input, &p->options, &ctx, &err));
    set_int(o, "latent", latent);
    set_int(o, "seed", (int)p->seed);
    stop_on(cpt_options_set(o, "dictionary", s->kind, &err));
    set_int(o, "k", s->k);
    set_int(o, "noise-directions", 0);
    set_int(o, "expansion", s->expansion);
    stop_on(cpt_study_begin(study, input, o, "bench_planted", &ctx, &out, &err));
    stop_on(cpt_study_advance(out, "attribution", false, &err));
    stop_on(cpt_study_advance(out, "expression", false, &err));
    cpt_options_free(o);
    return out;
}

/* ---- tables ---- */

static void print_cell(const double *values, int n)
{
    double sum = 0, squares = 0;
    int m = 0;
    for (int i = 0; i < n; i++)
        if (isfinite(values[i])) sum += values[i], m++;
    for (int i = 0; i < n; i++)
        if (isfinite(values[i])) squares += (values[i] - sum / m) * (values[i] - sum / m);
    if (m == 0) printf(" - |");
    else if (m == 1) printf(" %.2f |", sum);
    else printf(" %.2f (%.2f) |", sum / m, sqrt(squares / (m - 1)));
}

int main(int argc, char **argv)
{
    static const char *const usual[] = {
        "topk:0:0", "batchtopk:0:0", "matryoshka:0:0", "topk:2:4",    "topk:1:2",
        "pca:0:0",  "ica:0:0",       "nmf:0:0",        "neurons:0:0", "random:0:0"};
    static double scores[MAX_SETTINGS][N_SCORES][MAX_SEEDS], any[2][MAX_SEEDS];
    setting settings[MAX_SETTINGS];
    if (argc < 5) {
        fprintf(stderr, "bench_planted FOLDER SEEDS PROGRAMS LATENT [KIND:K:EXPANSION ...]\n");
        return 1;
    }
    const int n_seeds = atoi(argv[2]) < MAX_SEEDS ? atoi(argv[2]) : MAX_SEEDS;
    const int n_programs = atoi(argv[3]), latent = atoi(argv[4]);
    int n = argc > 5 ? argc - 5 : (int)(sizeof usual / sizeof *usual);
    if (n > MAX_SETTINGS) n = MAX_SETTINGS;
    for (int i = 0; i < n; i++) {
        settings[i] = (setting){.text = argc > 5 ? argv[5 + i] : usual[i]};
        sscanf(settings[i].text, "%31[^:]:%d:%d", settings[i].kind, &settings[i].k,
               &settings[i].expansion);
    }
    stop_on(cpt_make_folder(argv[1], &err));
    double chance = 0;
    for (int seed = 0; seed < n_seeds; seed++) {
        planted p;
        plant(&p, n_programs, (uint64_t)seed);
        chance = (double)p.truth.first[n_programs] / n_programs / p.truth.n_genes;
        for (int i = 0; i < n; i++) {
            double own[N_SCORES];
            cpt_study *s = make_study(&p, argv[1], latent, &settings[i]);
            score_study(&p, s, own);
            for (int k = 0; k < N_SCORES; k++) scores[i][k][seed] = own[k];
            if (i == 0) score_directions(&p, s, &any[0][seed], &any[1][seed]);
            cpt_study_close(s);
            fprintf(stderr, "seed %d, %s: recovered %.2f, |r| %.2f\n", seed, settings[i].text,
                    own[RECOVERED_SHARE], own[CORRELATION]);
        }
        uproot(&p);
    }
    printf("%d programs, %d dimensions, %d seeds; chance precision %.3f\n\n| dictionary |",
           n_programs, latent, n_seeds, chance);
    for (int k = 0; k < N_SCORES; k++) printf(" %s |", score_names[k]);
    printf("\n|---|");
    for (int k = 0; k < N_SCORES; k++) printf("---|");
    for (int i = 0; i < n; i++) {
        printf("\n| %s |", settings[i].text);
        for (int k = 0; k < N_SCORES; k++) print_cell(scores[i][k], n_seeds);
    }
    printf("\n| any direction |");
    print_cell(any[0], n_seeds);
    print_cell(any[1], n_seeds);
    printf("\n");
    return 0;
}

/* Problem: a plausible population to simulate: genes, programs, cell types, donors.
 *
 * The figures are those of 10x data of blood: log mean expression of genes with standard deviation
 * near 2, sizes of the negative binomial around 3, donors that differ by a tenth in most genes.
 * Every gene, program, type and donor draws from a stream of its own, so that asking for more
 * programs or donors leaves the first ones as they were.
 *
 * Trap: programs of genes that are never expressed cannot be found by anyone; members are drawn in
 * proportion to the square root of their base expression. */
#include "evaluate/simulate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/random.h"

static const double LOG_BASE_SD = 2, LOG_SIZE_MEAN = 1.1, LOG_SIZE_SD = 0.5, LARGEST_SIZE = 50;
static const double LOADING_MEAN = 1, LOADING_SD = 0.4; /* of log2 expression at activity 1 */
static const double DOWN_SHARE = 0.15;                  /* of members that the program represses */
static const double LOG_DONOR_DEPTH_SD = 0.15;
enum { PROGRAMS_PER_TYPE = 3, STATE_EVERY = 4, MAX_LINE = 1 << 20 };

/* Kinds of streams, in the upper byte of the item; simulate.c goes on from 16. */
enum { STREAM_GENE = 1, STREAM_PROGRAM, STREAM_TYPE, STREAM_DONOR, STREAM_NAMES };

static cpt_stream stream(uint64_t seed, int kind, int64_t number)
{
    cpt_stream s;
    cpt_stream_init(&s, seed, CPT_RANDOM_SIMULATE, (uint64_t)kind << 56 | (uint64_t)number);
    return s;
}

void cpt_simulate_options_init(cpt_simulate_options *o)
{
    *o = (cpt_simulate_options){.n_cells = 3000,
                                .n_genes = 4000,
                                .n_programs = 20,
                                .n_types = 8,
                                .n_donors = 4,
                                .depth = 4000,
                                .donor_effect = 0.1};
}

void cpt_simulated_truth_free(cpt_simulated_truth *t)
{
    cpt_strings_free(&t->genes);
    free(t->base);
    free(t->size);
    free(t->loadings);
    free(t->first);
    free(t->members);
    free(t->type_activity);
    free(t->is_state);
    free(t->type_share);
    free(t->donor_factor);
    free(t->donor_depth);
    *t = (cpt_simulated_truth){0};
}

/* ---- gene names ---- */

/* Symbols of protein-coding genes (columns symbol, ensembl_ids, entrez_id, gene_type, ...). */
static cpt_status read_symbols(const char *path, cpt_strings *symbols, cpt_err *e)
{
    cpt_lines *in = cpt_lines_open(path, MAX_LINE, e);
    if (!in) return e ? e->code : CPT_ERR_IO;
    char *line, *rest;
    size_t length;
    cpt_status status;
    CPT_TRY(cpt_lines_next(in, &line, &length, e)); /* the header */
    if (!line || strncmp(line, "symbol\t", 7) != 0) {
        status = cpt_lines_fail(in, e,
                                "is not a table of genes: its first column must be called symbol");
        goto done;
    }
    for (;;) {
        CPT_TRY(cpt_lines_next(in, &line, &length, e));
        if (!line) break;
        const char *symbol = strtok_r(line, "\t", &rest);
        if (!symbol || !strstr(rest, "protein-coding")) continue;
        CPT_TRY(cpt_strings_add(symbols, symbol, strlen(symbol), e));
    }
done:
    cpt_lines_close(in);
    return status;
}

/* A random choice of symbols in random order; numbered names where there are too few. */
static cpt_status name_genes(const cpt_simulate_options *o, uint64_t seed, cpt_strings *genes,
                             cpt_err *e)
{
    cpt_strings symbols = {0};
    int64_t *order = NULL;
    cpt_status status = CPT_OK;
    char name[32];
    if (o->gene_table) CPT_TRY(read_symbols(o->gene_table, &symbols, e));
    CPT_TRY(cpt_alloc(&order, (size_t)symbols.n, sizeof *order, e));
    for (int64_t i = 0; i < symbols.n; i++) order[i] = i;
    cpt_stream s = stream(seed, STREAM_NAMES, 0);
    cpt_stream_shuffle_i64(&s, order, symbols.n);
    for (int64_t g = 0; g < o->n_genes; g++) {
        if (g < symbols.n) {
            const char *symbol = cpt_strings_get(&symbols, order[g]);
            CPT_TRY(cpt_strings_add(genes, symbol, strlen(symbol), e));
            continue;
        }
        int length = snprintf(name, sizeof name, "GENE%lld", (long long)g + 1);
        CPT_TRY(cpt_strings_add(genes, name, (size_t)length, e));
    }
done:
    cpt_strings_free(&symbols);
    free(order);
    return status;
}

/* ---- genes, programs, types, donors ---- */

static void make_genes(uint64_t seed, cpt_simulated_truth *t)
{
    double sum = 0;
    for (int32_t g = 0; g < t->n_genes; g++) {
        cpt_stream s = stream(seed, STREAM_GENE, g);
        t->base[g] = exp(LOG_BASE_SD * cpt_stream_normal(&s));
        t->size[g] = fmin(LARGEST_SIZE, exp(LOG_SIZE_MEAN + LOG_SIZE_SD * cpt_stream_normal(&s)));
        sum += t->base[g];
    }
    for (int32_t g = 0; g < t->n_genes; g++) t->base[g] /= sum;
}

/* Sampling without replacement in proportion to weights: the genes with the smallest -log(u) /
 * weight (Efraimidis and Spirakis 2006). */
typedef struct draw {
    double key;
    int32_t gene;
} draw;

static int compare_draws(const void *pa, const void *pb)
{
    const draw *a = pa, *b = pb;
    if (a->key != b->key) return a->key < b->key ? -1 : 1;
    return (a->gene > b->gene) - (a->gene < b->gene);
}

static int compare_numbers(const void *pa, const void *pb)
{
    int32_t a = *(const int32_t *)pa, b = *(const int32_t *)pb;
    return (a > b) - (a < b);
}

static cpt_status make_programs(uint64_t seed, int32_t n_members, cpt_simulated_truth *t,
                                cpt_err *e)
{
    draw *draws;
    cpt_status status = cpt_alloc(&draws, (size_t)t->n_genes, sizeof *draws, e);
    for (int32_t p = 0; p < t->n_programs && status == CPT_OK; p++) {
        cpt_stream s = stream(seed, STREAM_PROGRAM, p);
        for (int32_t g = 0; g < t->n_genes; g++)
            draws[g] = (draw){-log(1 - cpt_stream_uniform(&s)) / sqrt(t->base[g]), g};
        qsort(draws, (size_t)t->n_genes, sizeof *draws, compare_draws);
        t->first[p + 1] = t->first[p] + n_members;
        int32_t *members = t->members + t->first[p];
        for (int32_t i = 0; i < n_members; i++) members[i] = draws[i].gene;
        qsort(members, (size_t)n_members, sizeof *members, compare_numbers);
        for (int32_t i = 0; i < n_members; i++) {
            double w = log(2) * fmax(0.25, LOADING_MEAN + LOADING_SD * cpt_stream_normal(&s));
            bool down = cpt_stream_uniform(&s) < DOWN_SHARE;
            t->loadings[(int64_t)members[i] * t->n_programs + p] = (float)(down ? -w : w);
        }
        t->is_state[p] = p % STATE_EVERY == STATE_EVERY - 1;
    }
    free(draws);
    return status;
}

/* Number of the w-th program that is not a state. */
static int32_t type_program(int32_t w)
{
    return w / (STATE_EVERY - 1) * STATE_EVERY + w % (STATE_EVERY - 1);
}

/* Programs are dealt out to the types in turn, so that none is idle; types share some. */
static void make_types(uint64_t seed, cpt_simulated_truth *t)
{
    int32_t n_type_programs = 0;
    for (int32_t p = 0; p < t->n_programs; p++) n_type_programs += !t->is_state[p];
    double sum = 0;
    for (int32_t k = 0; k < t->n_types; k++) {
        cpt_stream s = stream(seed, STREAM_TYPE, k);
        double *activity = t->type_activity + (int64_t)k * t->n_programs;
        int32_t n = 0;
        for (int32_t w = k % n_type_programs; w < n_type_programs; w += t->n_types, n++)
            activity[type_program(w)] = 1 + cpt_stream_uniform(&s);
        for (; n < PROGRAMS_PER_TYPE; n++)
            activity[type_program((int32_t)cpt_stream_below(&s, (uint64_t)n_type_programs))] =
                1 + cpt_stream_uniform(&s);
        sum += t->type_share[k] = 0.3 + cpt_stream_gamma(&s, 2);
    }
    for (int32_t k = 0; k < t->n_types; k++) t->type_share[k] /= sum;
}

static void make_donors(uint64_t seed, double effect, cpt_simulated_truth *t)
{
    for (int32_t d = 0; d < t->n_donors; d++) {
        cpt_stream s = stream(seed, STREAM_DONOR, d);
        t->donor_depth[d] = exp(LOG_DONOR_DEPTH_SD * cpt_stream_normal(&s));
        for (int32_t g = 0; g < t->n_genes; g++)
            t->donor_factor[(int64_t)d * t->n_genes + g] = exp(effect * cpt_stream_normal(&s));
    }
}

/* ---- the whole ---- */

static cpt_status check_options(const cpt_simulate_options *o, cpt_err *e)
{
    const struct {
        const char *name;
        int64_t value, low, high;
    } checks[] = {
        {"cells", o->n_cells, 1, INT32_MAX},
        {"genes", o->n_genes, 10, 1000000},
        {"programs", o->n_programs, 1, 10000},
        {"cell types", o->n_types, 1, 10000},
        {"donors", o->n_donors, 1, 1000},
        {"genes per program", o->genes_per_program, 0, o->n_genes},
    };
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++)
        if (checks[i].value < checks[i].low || checks[i].value > checks[i].high)
            return cpt_fail(e, CPT_ERR_USAGE,
                            "simulation: the number of %s is %lld, must be %lld to %lld",
                            checks[i].name, (long long)checks[i].value, (long long)checks[i].low,
                            (long long)checks[i].high);
    if (!(o->depth >= 1 && o->depth <= 1e7))
        return cpt_fail(e, CPT_ERR_USAGE, "simulation: depth is %g, must be 1 to 10000000",
                        o->depth);
    if (!(o->donor_effect >= 0 && o->donor_effect <= 5))
        return cpt_fail(e, CPT_ERR_USAGE, "simulation: donor effect is %g, must be 0 to 5",
                        o->donor_effect);
    return CPT_OK;
}

static int32_t members_per_program(const cpt_simulate_options *o)
{
    if (o->genes_per_program > 0) return o->genes_per_program;
    int32_t n = o->n_genes / 50;
    return n < 5 ? 5 : n > 60 ? 60 : n;
}

cpt_status cpt_simulated_truth_make(const cpt_simulate_options *o, uint64_t seed,
                                    cpt_simulated_truth *t, cpt_err *e)
{
    cpt_status status;
    size_t genes = (size_t)o->n_genes, programs = (size_t)o->n_programs, types = (size_t)o->n_types,
           donors = (size_t)o->n_donors;
    *t = (cpt_simulated_truth){.n_genes = o->n_genes,
                               .n_programs = o->n_programs,
                               .n_types = o->n_types,
                               .n_donors = o->n_donors};
    CPT_TRY(check_options(o, e));
    int32_t n_members = members_per_program(o);
    CPT_TRY(cpt_alloc(&t->base, genes, sizeof *t->base, e));
    CPT_TRY(cpt_alloc(&t->size, genes, sizeof *t->size, e));
    CPT_TRY(cpt_alloc(&t->loadings, genes * programs, sizeof *t->loadings, e));
    CPT_TRY(cpt_alloc(&t->first, programs + 1, sizeof *t->first, e));
    CPT_TRY(cpt_alloc(&t->members, programs * (size_t)n_members, sizeof *t->members, e));
    CPT_TRY(cpt_alloc(&t->is_state, programs, sizeof *t->is_state, e));
    CPT_TRY(cpt_alloc(&t->type_activity, types * programs, sizeof *t->type_activity, e));
    CPT_TRY(cpt_alloc(&t->type_share, types, sizeof *t->type_share, e));
    CPT_TRY(cpt_alloc(&t->donor_factor, donors * genes, sizeof *t->donor_factor, e));
    CPT_TRY(cpt_alloc(&t->donor_depth, donors, sizeof *t->donor_depth, e));
    CPT_TRY(name_genes(o, seed, &t->genes, e));
    make_genes(seed, t);
    CPT_TRY(make_programs(seed, n_members, t, e));
    make_types(seed, t);
    make_donors(seed, o->donor_effect, t);
done:
    if (status != CPT_OK) cpt_simulated_truth_free(t);
    return status;
}

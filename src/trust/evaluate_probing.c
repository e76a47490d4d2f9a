#include "base/memory.h"
#include "base/random.h"
#include "evaluate/cell_cycle.h"
#include "evaluate/probe.h"
#include "math/linalg.h"
#include "trust/evaluate.h"
#include "study/share.h"
#include "study/store.h"

#include "base/file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* `probing`: how well cell labels and cell cycle phases are read off the embedding, off all
 * concepts, off the best few, off neurons and principal components.
 *
 * All inputs see the same cells in the same folds, so that they can be compared fold by fold. The
 * best columns are chosen anew in every outer fold, on its training cells. "neurons" are the
 * columns of the embedding: all of them are the embedding. Components are found on all cells
 * (without labels). */

typedef enum input_kind { EMBEDDING, CONCEPTS, COMPONENTS, N_KINDS } input_kind;
typedef struct input {
    const char *name;
    input_kind kind;
    int32_t n_best; /* 0 = all */
    bool brief;     /* also when in brief */
} input;
static const input inputs[] = {
    {"embedding", EMBEDDING, 0, true},    {"concepts", CONCEPTS, 0, true},
    {"concepts_1", CONCEPTS, 1, true},    {"concepts_5", CONCEPTS, 5, true},
    {"concepts_10", CONCEPTS, 10, true},  {"concepts_20", CONCEPTS, 20, true},
    {"neurons_1", EMBEDDING, 1, true},    {"neurons_5", EMBEDDING, 5, true},
    {"neurons_10", EMBEDDING, 10, false}, {"neurons_20", EMBEDDING, 20, false},
    {"pca", COMPONENTS, 0, false},        {"pca_1", COMPONENTS, 1, false},
    {"pca_5", COMPONENTS, 5, false},      {"pca_10", COMPONENTS, 10, false},
    {"pca_20", COMPONENTS, 20, false}};
enum { N_INPUTS = sizeof inputs / sizeof *inputs, LEAST_CELLS = 10, MOST_COMPONENTS = 50 };

/* Most cells, and most cells x concepts x classes: a fit costs in proportion. */
static const int64_t cells_full = 20000, cells_brief = 2000;
static const double size_full = 2e8, size_brief = 1e6;

/* The cells of one target, and what is read off them. */
typedef struct target {
    int64_t n;
    int64_t *cells;           /* [n] */
    int32_t *labels, *groups; /* [n]; groups NULL = none */
    int32_t n_labels;
    float *x[N_KINDS]; /* [n][width] */
    int32_t width[N_KINDS];
} target;

static void target_free(target *t)
{
    free(t->cells);
    free(t->labels);
    free(t->groups);
    for (int k = 0; k < N_KINDS; k++) free(t->x[k]);
}

/* ---- cells ---- */

/* Classes with fewer than LEAST_CELLS cells, or of one donor only, are left out: codes become -1.
 */
static cpt_status drop_classes(int64_t n, int32_t n_labels, int32_t *codes, const cpt_column *donor,
                               const cpt_strings *names, json_t *left_out, cpt_err *e)
{
    int64_t *count = NULL;
    int32_t *first = NULL; /* donor of the first cell of a class; -2 = several */
    cpt_status status;
    CPT_TRY(cpt_alloc(&count, (size_t)n_labels, sizeof *count, e));
    CPT_TRY(cpt_alloc(&first, (size_t)n_labels, sizeof *first, e));
    for (int32_t k = 0; k < n_labels; k++) first[k] = -1;
    for (int64_t i = 0; i < n; i++) {
        if (codes[i] >= 0 && donor && donor->codes[i] < 0) codes[i] = -1;
        if (codes[i] < 0) continue;
        count[codes[i]]++;
        if (!donor) continue;
        int32_t *d = &first[codes[i]];
        if (*d == -1) *d = donor->codes[i];
        else if (*d != donor->codes[i]) *d = -2;
    }
    for (int32_t k = 0; k < n_labels; k++) {
        const bool dropped = count[k] > 0 && (count[k] < LEAST_CELLS || (donor && first[k] != -2));
        if (!dropped) continue;
        json_array_append_new(left_out, json_string(cpt_strings_get(names, k)));
        count[k] = 0;
    }
    for (int64_t i = 0; i < n; i++)
        if (codes[i] >= 0 && count[codes[i]] == 0) codes[i] = -1;
done:
    free(count);
    free(first);
    return status;
}

static int by_number(const void *x, const void *y)
{
    const int64_t *a = x, *b = y;
    return (*a > *b) - (*a < *b);
}

static cpt_status list_cells(const cpt_study *s, int64_t n, const int32_t *codes, int32_t n_labels,
                             const cpt_column *donor, int64_t most, target *t, cpt_err *e)
{
    cpt_stream stream;
    cpt_status status;
    t->n_labels = n_labels;
    CPT_TRY(cpt_alloc(&t->cells, (size_t)n, sizeof *t->cells, e));
    for (int64_t i = 0; i < n; i++)
        if (codes[i] >= 0) t->cells[t->n++] = i;
    if (t->n > most) {
        cpt_stream_init(&stream, s->ctx->seed, CPT_RANDOM_FOLDS, 1);
        cpt_stream_shuffle_i64(&stream, t->cells, t->n);
        t->n = most;
        qsort(t->cells, (size_t)t->n, sizeof *t->cells, by_number);
    }
    CPT_TRY(cpt_alloc(&t->labels, (size_t)t->n, sizeof *t->labels, e));
    for (int64_t i = 0; i < t->n; i++) t->labels[i] = codes[t->cells[i]];
    if (!donor) goto done;
    CPT_TRY(cpt_alloc(&t->groups, (size_t)t->n, sizeof *t->groups, e));
    for (int64_t i = 0; i < t->n; i++) t->groups[i] = donor->codes[t->cells[i]];
done:
    return status;
}

/* ---- columns ---- */

static cpt_status fill_columns(cpt_study *s, target *t, cpt_err *e)
{
    const float *a;
    const cpt_activations *u;
    int64_t n;
    int32_t dim;
    double *mean = NULL, *components = NULL, *singular = NULL;
    cpt_status status;
    CPT_TRY(cpt_study_embedding(s, &a, &n, &dim, e));
    CPT_TRY(cpt_study_activations(s, &u, e));
    t->width[EMBEDDING] = dim;
    t->width[CONCEPTS] = u->n_concepts;
    t->width[COMPONENTS] = dim < MOST_COMPONENTS ? dim : MOST_COMPONENTS;
    for (int k = 0; k < N_KINDS; k++)
        CPT_TRY(cpt_alloc(&t->x[k], (size_t)t->n * (size_t)t->width[k], sizeof **t->x, e));
    for (int64_t i = 0; i < t->n; i++) {
        const int64_t cell = t->cells[i];
        memcpy(t->x[EMBEDDING] + i * dim, a + cell * dim, (size_t)dim * sizeof *a);
        for (int64_t k = u->by_cell.indptr[cell]; k < u->by_cell.indptr[cell + 1]; k++)
            t->x[CONCEPTS][i * u->n_concepts + u->by_cell.indices[k]] = u->by_cell.values[k];
    }
    const int32_t width = t->width[COMPONENTS];
    CPT_TRY(cpt_alloc(&mean, (size_t)dim, sizeof *mean, e));
    CPT_TRY(cpt_alloc(&components, (size_t)width * (size_t)dim, sizeof *components, e));
    CPT_TRY(cpt_alloc(&singular, (size_t)width, sizeof *singular, e));
    CPT_TRY(cpt_pca(t->x[EMBEDDING], t->n, dim, width, mean, components, singular, s->ctx, e));
    cpt_pca_scores(t->x[EMBEDDING], t->n, dim, width, mean, components, t->x[COMPONENTS], s->ctx);
done:
    free(mean);
    free(components);
    free(singular);
    return status;
}

/* ---- probing ---- */

static void probe_options(const cpt_study *s, cpt_probe_options *o)
{
    cpt_probe_options_init(o);
    o->max_cells = 0; /* thinned before */
    if (cpt_evaluation_in_full(s)) return;
    o->n_strengths = 3;
    o->strengths[0] = 0.01;
    o->strengths[1] = 1;
    o->strengths[2] = 100;
}

static json_t *scores_json(const cpt_probe_result *r, const cpt_probe_result *embedding,
                           int32_t n_columns)
{
    json_t *folds = json_array();
    double mean = 0, square = 0;
    for (int32_t f = 0; f < r->n_folds; f++) {
        json_array_append_new(folds, cpt_json_number(r->folds[f].accuracy));
        mean += (r->folds[f].accuracy - embedding->folds[f].accuracy) / r->n_folds;
    }
    for (int32_t f = 0; f < r->n_folds; f++) {
        const double d = r->folds[f].accuracy - embedding->folds[f].accuracy - mean;
        square += d * d;
    }
    return json_pack("{s:o, s:o, s:i, s:o, s:o}", "accuracy",
                     cpt_json_mean_sd(r->accuracy, r->accuracy_sd), "macro_f1",
                     cpt_json_mean_sd(r->macro_f1, r->macro_f1_sd), "n_columns", n_columns,
                     "accuracy_by_fold", folds, "accuracy_less_embedding",
                     cpt_json_mean_sd(mean, sqrt(square / (r->n_folds - 1))));
}

/* Always the commonest label: F1 of that label is 2 p / (1 + p), of the others 0. */
static json_t *majority_json(const cpt_probe_result *r)
{
    double f1 = 0;
    for (int32_t f = 0; f < r->n_folds; f++)
        f1 += 2 * r->folds[f].majority / (1 + r->folds[f].majority) / r->n_labels / r->n_folds;
    return json_pack("{s:o, s:o}", "accuracy", cpt_json_number(r->majority), "macro_f1",
                     cpt_json_number(f1));
}

/* The same labels dealt anew over the cells (within donors): what this design gives without a link.
 */
static cpt_status permuted_json(cpt_study *s, const cpt_probe_options *o, const target *t,
                                json_t **out, cpt_err *e)
{
    int32_t *labels = NULL;
    cpt_probe_result r;
    cpt_stream stream;
    cpt_status status;
    CPT_TRY(cpt_alloc(&labels, (size_t)t->n, sizeof *labels, e));
    memcpy(labels, t->labels, (size_t)t->n * sizeof *labels);
    cpt_stream_init(&stream, s->ctx->seed, CPT_RANDOM_FOLDS, 2);
    cpt_stream_shuffle_i32(&stream, labels, t->n);
    CPT_TRY(cpt_probe(o, t->x[CONCEPTS], t->n, t->width[CONCEPTS], labels, t->n_labels, t->groups,
                      &r, s->ctx, e));
    *out = json_pack("{s:s, s:o, s:o}", "input", "concepts", "accuracy",
                     cpt_json_mean_sd(r.accuracy, r.accuracy_sd), "macro_f1",
                     cpt_json_mean_sd(r.macro_f1, r.macro_f1_sd));
done:
    free(labels);
    return status;
}

static cpt_status probe_inputs(cpt_study *s, const target *t, json_t *to, cpt_err *e)
{
    const bool full = cpt_evaluation_in_full(s);
    cpt_probe_options o;
    cpt_probe_result embedding = {0}, r;
    json_t *permuted;
    cpt_status status = CPT_OK;
    probe_options(s, &o);
    for (int i = 0; i < N_INPUTS; i++) {
        const input *in = &inputs[i];
        if (in->n_best >= t->width[in->kind] || (!full && !in->brief)) continue;
        o.n_best = in->n_best;
        CPT_TRY(cpt_probe(&o, t->x[in->kind], t->n, t->width[in->kind], t->labels, t->n_labels,
                          t->groups, &r, s->ctx, e));
        if (i == 0) embedding = r;
        json_object_set_new(
            to, in->name,
            scores_json(&r, &embedding, in->n_best ? in->n_best : t->width[in->kind]));
    }
    json_t *neurons = json_copy(json_object_get(to, "embedding"));
    json_object_set_new(neurons, "same_as", json_string("embedding"));
    json_object_set_new(to, "neurons", neurons);
    json_object_set_new(to, "n", json_integer((json_int_t)embedding.n_cells));
    json_object_set_new(to, "classes", json_integer(embedding.n_labels));
    json_object_set_new(to, "folds", json_integer(embedding.n_folds));
    json_object_set_new(to, "grouped_by_donor", json_boolean(embedding.grouped));
    json_object_set_new(to, "majority", majority_json(&embedding));
    o.n_best = 0;
    if (full) {
        CPT_TRY(permuted_json(s, &o, t, &permuted, e));
        json_object_set_new(to, "permuted_labels", permuted);
    }
done:
    return status;
}

static int64_t most_cells(const cpt_study *s, int32_t n_concepts, int32_t n_labels)
{
    const bool full = cpt_evaluation_in_full(s);
    const double by_size = (full ? size_full : size_brief) / ((double)n_concepts * n_labels);
    const int64_t most = full ? cells_full : cells_brief;
    return by_size < (double)most ? (by_size < 500 ? 500 : (int64_t)by_size) : most;
}

/* One target: codes [n_cells] (consumed: classes are dropped in place). */
static cpt_status probe_target(cpt_study *s, int32_t *codes, const cpt_strings *names,
                               json_t *left_out, json_t *to, cpt_err *e)
{
    const cpt_activations *u;
    const cpt_column *donor;
    target t = {0};
    cpt_status status;
    CPT_TRY(cpt_study_activations(s, &u, e));
    CPT_TRY(cpt_study_column(s, "donor", &donor, e));
    CPT_TRY(drop_classes(u->n_cells, (int32_t)names->n, codes, donor, names, left_out, e));
    CPT_TRY(list_cells(s, u->n_cells, codes, (int32_t)names->n, donor,
                       most_cells(s, u->n_concepts, (int32_t)names->n), &t, e));
    json_object_set(to, "left_out", left_out);
    if (t.n < 2 * LEAST_CELLS) {
        status = cpt_fail(e, CPT_ERR_DATA,
                          "%lld cells have a label of which there are %d cells or more%s",
                          (long long)t.n, LEAST_CELLS, donor ? " in at least two donors" : "");
        goto done;
    }
    CPT_TRY(fill_columns(s, &t, e));
    status = probe_inputs(s, &t, to, e);
done:
    target_free(&t);
    return status;
}

/* ---- the targets ---- */

static cpt_status probe_label(cpt_study *s, json_t **out, cpt_err *e)
{
    const cpt_column *label;
    const cpt_activations *u;
    int32_t *codes = NULL;
    json_t *left_out = NULL, *to = json_object();
    cpt_status status;
    CPT_TRY(cpt_study_column(s, "label", &label, e));
    CPT_TRY(cpt_study_activations(s, &u, e));
    if (!label) {
        status = cpt_fail(e, CPT_ERR_DATA, "no column with labels was given (--label)");
        goto done;
    }
    json_object_set_new(to, "column", json_string(label->name));
    CPT_TRY(cpt_evaluation_codes(label, u->n_cells, u->usable, &codes, &left_out, e));
    CPT_TRY(probe_target(s, codes, &label->categories, left_out, to, e));
    *out = json_incref(to);
done:
    json_decref(to);
    json_decref(left_out);
    free(codes);
    return status;
}

/* Rows of the two gene lists; names are brought to current symbols (MLF1IP is CENPU). */
static cpt_status find_phase_genes(cpt_study *s, int32_t *lists[2], int32_t n_listed[2], cpt_err *e)
{
    const cpt_strings *symbols;
    char path[4096], *line;
    cpt_index *index = NULL;
    cpt_gene_table *table = NULL;
    cpt_lines *in = NULL;
    cpt_status status;
    CPT_TRY(cpt_study_symbols(s, &symbols, e));
    CPT_TRY(cpt_share_path("human_genes.tsv.gz", path, sizeof path, e));
    CPT_TRY(cpt_gene_table_open(path, &table, e));
    CPT_TRY(cpt_share_path("cell_cycle_genes.tsv", path, sizeof path, e));
    if (!(index = cpt_index_new((size_t)symbols->n, e)) || !(in = cpt_lines_open(path, 4096, e))) {
        status = e ? e->code : CPT_ERR_MEMORY;
        goto done;
    }
    for (int i = 0; i < 2; i++)
        CPT_TRY(cpt_alloc(&lists[i], (size_t)symbols->n, sizeof **lists, e));
    for (int64_t i = 0; i < symbols->n; i++)
        CPT_TRY(cpt_index_add(index, cpt_strings_get(symbols, i), i, NULL, e));
    for (bool header = true;; header = false) {
        CPT_TRY(cpt_lines_next(in, &line, NULL, e));
        if (!line) break;
        char *phase = strchr(line, '\t');
        if (header || !phase) continue;
        *phase++ = '\0';
        const char *current = cpt_gene_table_symbol(table, line, NULL);
        int64_t row = cpt_index_get(index, current ? current : line);
        if (row < 0) row = cpt_index_get(index, line);
        const int which = strcmp(phase, "G2M") == 0;
        if (row >= 0 && n_listed[which] < symbols->n)
            lists[which][n_listed[which]++] = (int32_t)row;
    }
done:
    cpt_lines_close(in);
    cpt_index_free(index);
    cpt_gene_table_free(table);
    return status;
}

static json_t *phase_counts(const cpt_cell_cycle *c)
{
    json_t *counts = json_object();
    for (int p = 0; p < CPT_N_PHASES; p++) {
        int64_t n = 0;
        for (int64_t i = 0; i < c->n_cells; i++) n += c->phase[i] == p;
        json_object_set_new(counts, cpt_phase_names[p], json_integer((json_int_t)n));
    }
    return counts;
}

static cpt_status probe_phases(cpt_study *s, const cpt_cell_cycle *c, json_t *to, cpt_err *e)
{
    const cpt_activations *u;
    cpt_strings names = {0};
    int32_t *codes = NULL;
    json_t *left_out = json_array();
    cpt_status status;
    CPT_TRY(cpt_study_activations(s, &u, e));
    CPT_TRY(cpt_alloc(&codes, (size_t)u->n_cells, sizeof *codes, e));
    for (int64_t i = 0; i < u->n_cells; i++) codes[i] = u->usable[i] ? c->phase[i] : -1;
    for (int p = 0; p < CPT_N_PHASES; p++)
        CPT_TRY(cpt_strings_add(&names, cpt_phase_names[p], strlen(cpt_phase_names[p]), e));
    status = probe_target(s, codes, &names, left_out, to, e);
done:
    cpt_strings_free(&names);
    json_decref(left_out);
    free(codes);
    return status;
}

static cpt_status score_phases(cpt_study *s, const cpt_cells *cells, cpt_cell_cycle *out,
                               cpt_err *e)
{
    double *totals = NULL;
    int32_t *lists[2] = {NULL, NULL}, n_listed[2] = {0, 0};
    cpt_status status;
    CPT_TRY(cpt_alloc(&totals, (size_t)cells->n_cells, sizeof *totals, e));
    cpt_cells_totals(cells, totals);
    CPT_TRY(find_phase_genes(s, lists, n_listed, e));
    const int32_t *const both[2] = {lists[0], lists[1]};
    CPT_TRY(cpt_cell_cycle_score(&cells->by_gene, totals, both, n_listed, out, s->ctx, e));
    cpt_cells_forget(cells);
done:
    free(totals);
    free(lists[0]);
    free(lists[1]);
    return status;
}

static cpt_status probe_cell_cycle(cpt_study *s, json_t **out, cpt_err *e)
{
    const cpt_cells *cells;
    cpt_cell_cycle cycle = {0};
    json_t *to = json_object();
    cpt_status status;
    CPT_TRY(cpt_study_cells(s, &cells, e));
    if (!cells->has_counts) {
        status = cpt_fail(e, CPT_ERR_DATA, "the input has no counts, so no cell cycle scores");
        goto done;
    }
    CPT_TRY(score_phases(s, cells, &cycle, e));
    json_object_set_new(to, "phases", phase_counts(&cycle));
    json_object_set_new(to, "genes",
                        json_pack("{s:i, s:i, s:i, s:i}", "S", cycle.n_genes[0], "G2M",
                                  cycle.n_genes[1], "control_S", cycle.n_control[0], "control_G2M",
                                  cycle.n_control[1]));
    CPT_TRY(probe_phases(s, &cycle, to, e));
    *out = json_incref(to);
done:
    json_decref(to);
    cpt_cell_cycle_free(&cycle);
    return status;
}

cpt_status cpt_stage_probing(cpt_study *s, cpt_err *e)
{
    json_t *root = json_object(), *part = NULL;
    cpt_err why;
    cpt_status status = probe_label(s, &part, &why);
    status = cpt_json_skipped(status, &why, &part);
    if (status == CPT_OK) {
        json_object_set_new(root, "label", part);
        status = probe_cell_cycle(s, &part, &why);
        status = cpt_json_skipped(status, &why, &part);
    }
    if (status != CPT_OK) {
        if (e) *e = why;
        goto done;
    }
    json_object_set_new(root, "cell_cycle", part);
    const bool full = cpt_evaluation_in_full(s);
    json_object_set_new(root, "effort",
                        json_pack("{s:s, s:I, s:f, s:i, s:b, s:b}", "level",
                                  full ? "full" : "quick", "most_cells",
                                  (json_int_t)(full ? cells_full : cells_brief),
                                  "most_cells_x_concepts_x_classes", full ? size_full : size_brief,
                                  "strengths", full ? 6 : 3, "pca", full, "permuted_labels", full));
    json_object_set_new(
        root, "rule",
        json_string(
            "multinomial logistic regression on standardised columns, nested cross-validation: 5 "
            "outer folds (whole donors when a donor column is given), strength of the penalty by 3 "
            "inner folds; NAME_k: the k columns with the largest F of an analysis of variance on "
            "the training cells of each fold; sd over folds; phases: G2M when its score exceeds "
            "that of S, G1 when both are negative"));
    status = cpt_evaluation_write(s, "probing", root, e);
done:
    json_decref(root);
    return status;
}

#include "base/memory.h"
#include "base/random.h"
#include "concept/steering.h"
#include "evaluate/label_change.h"
#include "compare/cell_query.h"
#include "study/json_table.h"
#include "study/store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* `steer`: the cells are chosen and edited, the model decodes them, a probe reads their labels.
 *
 * Only cells whose activation changes are counted: a cell without the concept stays as it is when
 * the concept is scaled, and would water every mean down. */

enum { FORMAT = 1, MAX_DIRECTIONS = 100000 };

typedef struct steered {
    cpt_study *s;
    const cpt_steer *how;
    const cpt_cells *cells;
    const cpt_activations *u;
    cpt_dictionary *dictionary;
    cpt_model *model;
    const float *embedding; /* [n_cells][dim] */
    int32_t dim;
    cpt_steering what;
    char *query;
    int64_t n_selected,
        n_changed; /* usable cells that the query chooses; whose activation changes */
    int64_t n;
    int64_t *list;        /* [n] cells that were steered, ascending */
    float *rows, *edited; /* [n][dim] */
    float *before, *after,
        *again;             /* [n] activations; the last after encoding the edited cell anew */
    const float *direction; /* [dim] the concept's decoder row */
    float *directions;      /* [n_directions][dim] */
    cpt_gene_change *genes; /* [model->n_genes] or NULL */
    const cpt_column *label, *donor;
    cpt_label_change *labels; /* [categories] or NULL */
    int64_t n_probe;
    double accuracy, majority;
    json_t *notes;
} steered;

static void steered_free(steered *x)
{
    free(x->query);
    free(x->list);
    free(x->rows);
    free(x->edited);
    free(x->before);
    free(x->after);
    free(x->again);
    free(x->directions);
    free(x->genes);
    free(x->labels);
    json_decref(x->notes);
    cpt_study_close(x->s);
}

void cpt_steer_init(cpt_steer *s)
{
    *s = (cpt_steer){.max_cells = 1000, .n_directions = 200};
}

static void note(steered *x, const char *fmt, ...) CPT_PRINTF(2, 3);
static void note(steered *x, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    json_array_append_new(x->notes, json_vsprintf(fmt, args));
    va_end(args);
}

/* ---- what is asked ---- */

static cpt_status parse_concept(steered *x, cpt_err *e)
{
    const char *name = x->how->concept;
    int64_t number = -1;
    if (!name) return cpt_fail(e, CPT_ERR_USAGE, "--concept is missing");
    if (name[0] == 'c' && name[1] >= '0' && name[1] <= '9') cpt_parse_i64(name + 1, &number);
    if (number < 0 || number >= x->u->n_concepts)
        return cpt_fail(e, CPT_ERR_USAGE,
                        "--concept: '%s' is none of this study's concepts, c0 to c%d", name,
                        x->u->n_concepts - 1);
    x->what.concept = (int32_t)number;
    return CPT_OK;
}

static cpt_status parse_number(const char *option, const char *text, double *out, cpt_err *e)
{
    if (cpt_parse_double(text, out) && isfinite(*out) && *out >= 0 && *out <= 1e6) return CPT_OK;
    return cpt_fail(e, CPT_ERR_USAGE, "--%s: '%s' is no number from 0 to 1e6", option, text);
}

static cpt_status parse_edit(steered *x, cpt_err *e)
{
    const cpt_steer *how = x->how;
    const cpt_concept_stats *stats = &x->u->stats[x->what.concept];
    if ((how->scale != NULL) + (how->clamp != NULL) + how->ablate != 1)
        return cpt_fail(e, CPT_ERR_USAGE, "give one of --scale X, --clamp V, --ablate");
    if (how->ablate) {
        x->what.kind = CPT_STEER_CLAMP;
        x->what.value = 0;
        return CPT_OK;
    }
    x->what.kind = how->scale ? CPT_STEER_SCALE : CPT_STEER_CLAMP;
    if (how->scale) return parse_number("scale", how->scale, &x->what.value, e);
    const bool mean = strcmp(how->clamp, "mean") == 0, max = strcmp(how->clamp, "max") == 0;
    if ((mean || max) && stats->dead)
        return cpt_fail(e, CPT_ERR_DATA, "--clamp %s: no cell activates c%d; give a number instead",
                        how->clamp, x->what.concept);
    x->what.value = mean ? stats->mean : stats->max;
    return mean || max ? CPT_OK : parse_number("clamp", how->clamp, &x->what.value, e);
}

/* ---- which cells ---- */

static int by_number(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static cpt_status nothing_changes(const steered *x, cpt_err *e)
{
    if (x->n_selected == 0 && x->u->stats[x->what.concept].dead)
        return cpt_fail(e, CPT_ERR_DATA, "%s: c%d is active in no cell; use --clamp with a number",
                        x->s->folder, x->what.concept);
    if (x->n_selected == 0)
        return cpt_fail(e, CPT_ERR_DATA, "%s: no usable cell fulfils '%s'", x->s->folder, x->query);
    return cpt_fail(e, CPT_ERR_DATA,
                    "%s: the activation of c%d changes in none of the %lld cells ('%s'): %s",
                    x->s->folder, x->what.concept, (long long)x->n_selected, x->query,
                    x->what.kind == CPT_STEER_SCALE
                        ? "scaling leaves a concept that is not active at 0; use --clamp mean"
                        : "they have that value already; choose others with --cells");
}

/* Usable cells of the query whose activation will change, thinned. */
static cpt_status choose_cells(steered *x, cpt_err *e)
{
    uint8_t *keep = NULL;
    float *column = NULL;
    cpt_status status;
    const bool clamp = x->what.kind == CPT_STEER_CLAMP && !x->how->ablate;
    x->query = cpt_strdup(x->how->cells ? x->how->cells : clamp ? "" : "active");
    if (!x->query) return cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
    CPT_TRY(cpt_alloc(&keep, (size_t)x->cells->n_cells, 1, e));
    CPT_TRY(cpt_alloc(&column, (size_t)x->cells->n_cells, sizeof *column, e));
    CPT_TRY(cpt_alloc(&x->list, (size_t)x->cells->n_cells, sizeof *x->list, e));
    CPT_TRY(cpt_cell_query(x->query, x->cells, x->u, x->what.concept, keep, &x->n_selected, e));
    cpt_activations_column(x->u, x->what.concept, column);
    x->n_selected = 0;
    for (int64_t i = 0; i < x->cells->n_cells; i++) {
        if (!keep[i] || !x->u->usable[i]) continue;
        x->n_selected++;
        const double after =
            x->what.kind == CPT_STEER_SCALE ? x->what.value * column[i] : x->what.value;
        if (after != (double)column[i]) x->list[x->n_changed++] = i;
    }
    x->n = x->n_changed;
    if (x->n == 0) CPT_TRY(nothing_changes(x, e));
    if (x->how->max_cells > 0 && x->n > x->how->max_cells) {
        cpt_stream random;
        cpt_stream_init(&random, x->s->ctx->seed, CPT_RANDOM_STEER, (uint64_t)2 << 40);
        cpt_stream_shuffle_i64(&random, x->list, x->n);
        x->n = x->how->max_cells;
        qsort(x->list, (size_t)x->n, sizeof *x->list, by_number);
    }
done:
    free(keep);
    free(column);
    return status;
}

static cpt_status edit_cells(steered *x, cpt_err *e)
{
    const size_t size = (size_t)x->n * (size_t)x->dim;
    cpt_status status;
    CPT_TRY(cpt_alloc(&x->rows, size, sizeof *x->rows, e));
    CPT_TRY(cpt_alloc(&x->edited, size, sizeof *x->edited, e));
    CPT_TRY(cpt_alloc(&x->before, (size_t)x->n, sizeof *x->before, e));
    CPT_TRY(cpt_alloc(&x->after, (size_t)x->n, sizeof *x->after, e));
    CPT_TRY(cpt_alloc(&x->again, (size_t)x->n, sizeof *x->again, e));
    CPT_TRY(cpt_alloc(&x->directions, (size_t)x->how->n_directions * (size_t)x->dim,
                      sizeof *x->directions, e));
    for (int64_t i = 0; i < x->n; i++)
        memcpy(x->rows + i * x->dim, x->embedding + x->list[i] * x->dim,
               (size_t)x->dim * sizeof *x->rows);
    x->direction = x->dictionary->decoder + (int64_t)x->what.concept * x->dim;
    CPT_TRY(
        cpt_steering_activations(x->dictionary, &x->what, x->n, x->rows, x->before, x->after, e));
    cpt_steering_edit(x->n, x->dim, x->rows, x->before, x->after, x->direction, x->edited);
    CPT_TRY(x->dictionary->ops->readout(x->dictionary, x->what.concept, x->n, x->edited, x->again,
                                        NULL, e));
    cpt_steering_random(x->s->ctx->seed, x->how->n_directions, x->dim, x->direction, x->directions);
done:
    return status;
}

/* ---- what changes ---- */

static cpt_status change_genes(steered *x, cpt_err *e)
{
    cpt_err reason;
    if (!x->model->ops->decode) {
        note(x, "%s has no decoder: there is no expected expression, only probabilities of labels",
             strcmp(x->model->ops->kind, "fixed") == 0   ? "a fixed embedding"
             : strcmp(x->model->ops->kind, "scgpt") == 0 ? "scGPT as it is used here"
                                                         : x->model->ops->kind);
        return CPT_OK;
    }
    cpt_status status = cpt_alloc(&x->genes, (size_t)x->model->n_genes, sizeof *x->genes, e);
    if (status) return status;
    status = cpt_steering_genes(x->model, x->n, x->rows, x->before, x->after, x->direction,
                                x->how->n_directions, x->directions, x->genes, x->s->ctx, &reason);
    if (status == CPT_ERR_UNSUPPORTED) {
        note(x, "no expected expression: %s", reason.text);
        free(x->genes);
        x->genes = NULL;
        return CPT_OK;
    }
    if (status && e) *e = reason;
    return status;
}

static cpt_status change_labels(steered *x, cpt_err *e)
{
    cpt_crossfit_options o;
    cpt_crossfit *probe = NULL;
    cpt_err reason;
    cpt_status status;
    CPT_TRY(cpt_study_column(x->s, "label", &x->label, e));
    CPT_TRY(cpt_study_column(x->s, "donor", &x->donor, e));
    if (!x->label) {
        note(x, "no column of labels: name one with --label COL for their probabilities");
        return CPT_OK;
    }
    cpt_crossfit_options_init(&o);
    const int32_t n_labels = (int32_t)x->label->categories.n;
    status =
        cpt_crossfit_new(&o, x->embedding, x->cells->n_cells, x->dim, x->label->codes, n_labels,
                         x->donor ? x->donor->codes : NULL, &probe, x->s->ctx, &reason);
    if (status == CPT_ERR_DATA) {
        note(x, "no probabilities of labels: %s", reason.text);
        return CPT_OK;
    }
    if (status) {
        if (e) *e = reason;
        goto done;
    }
    cpt_crossfit_accuracy(probe, &x->n_probe, &x->accuracy, &x->majority);
    CPT_TRY(cpt_alloc(&x->labels, (size_t)n_labels, sizeof *x->labels, e));
    status =
        cpt_label_changes(probe, x->embedding, x->n, x->list, x->before, x->after, x->direction,
                          x->how->n_directions, x->directions, x->labels, x->s->ctx, e);
done:
    cpt_crossfit_free(probe);
    return status;
}

/* ---- results ---- */

static double mean_of(int64_t n, const float *values)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += values[i];
    return sum / (double)n;
}

/* Root mean square distance of the usable cells from their mean. */
static double spread_of_cells(const steered *x)
{
    double *mean = calloc((size_t)x->dim, sizeof *mean), square = 0, n = 0;
    if (!mean) return NAN;
    for (int64_t i = 0; i < x->cells->n_cells; i++)
        if (x->u->usable[i]) {
            n++;
            for (int32_t j = 0; j < x->dim; j++) mean[j] += x->embedding[i * x->dim + j];
        }
    for (int64_t i = 0; i < x->cells->n_cells; i++)
        for (int32_t j = 0; x->u->usable[i] && j < x->dim; j++) {
            const double d = x->embedding[i * x->dim + j] - mean[j] / n;
            square += d * d;
        }
    free(mean);
    return sqrt(square / n);
}

static double mean_edit_length(const steered *x)
{
    double length = 0, sum = 0;
    for (int32_t j = 0; j < x->dim; j++) length += (double)x->direction[j] * x->direction[j];
    for (int64_t i = 0; i < x->n; i++) sum += fabs((double)x->after[i] - x->before[i]);
    return sqrt(length) * sum / (double)x->n;
}

/* The symbol of a gene of the model: that of the input's gene it is mapped to, else its own name.
 */
static cpt_status gene_symbols(steered *x, const char ***out, cpt_err *e)
{
    const cpt_universe *u;
    const char **symbols;
    cpt_status status;
    CPT_TRY(cpt_study_universe(x->s, &u, e));
    CPT_TRY(cpt_alloc(&symbols, (size_t)x->model->n_genes, sizeof *symbols, e));
    for (int32_t g = 0; g < x->model->n_genes; g++)
        symbols[g] = cpt_strings_get(&x->model->gene_names, g);
    for (int32_t i = 0; i < u->n; i++)
        if (u->model_genes[i] >= 0) symbols[u->model_genes[i]] = cpt_strings_get(&u->symbols, i);
    *out = symbols;
done:
    return status;
}

/* One row of either kind; the keys' order makes the header of the table. */
static json_t *row_json(const char *kind, const char *name, const char *symbol, double before,
                        double after, double change, double sd, double same_sign, int64_t n,
                        double null_mean, double null_sd, double p, double q)
{
    return json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:I, s:o, s:o, s:o, s:o}", "kind",
                     kind, "name", name, "symbol", symbol, "before", cpt_json_number(before),
                     "after", cpt_json_number(after), "change", cpt_json_number(change), "sd",
                     cpt_json_number(sd), "same_sign", cpt_json_number(same_sign), "n",
                     (json_int_t)n, "null_mean", cpt_json_number(null_mean), "null_sd",
                     cpt_json_number(null_sd), "p", cpt_json_number(p), "q", cpt_json_number(q));
}

static int by_label_change(const void *a, const void *b)
{
    const cpt_label_change *x = a, *y = b;
    const double one = fabs(x->change), two = fabs(y->change);
    if (one != two) return one > two ? -1 : 1;
    return (x->label > y->label) - (x->label < y->label);
}

static json_t *labels_json(const steered *x)
{
    json_t *list = json_array();
    qsort(x->labels, (size_t)x->label->categories.n, sizeof *x->labels, by_label_change);
    for (int64_t k = 0; k < x->label->categories.n; k++) {
        const cpt_label_change *c = &x->labels[k];
        const char *name = cpt_strings_get(&x->label->categories, c->label);
        json_t *row = row_json("label", name, name, c->before, c->after, c->change, c->sd, NAN,
                               x->n, c->null_mean, c->null_sd, c->p, c->q);
        json_object_set_new(row, "named_before", cpt_json_number(c->named_before));
        json_object_set_new(row, "named_after", cpt_json_number(c->named_after));
        json_array_append_new(list, row);
    }
    return list;
}

static cpt_status genes_json(steered *x, json_t **out, cpt_err *e)
{
    const char **symbols = NULL;
    cpt_status status = gene_symbols(x, &symbols, e);
    if (status) return status;
    *out = json_array();
    for (int32_t i = 0; i < x->model->n_genes; i++) {
        const cpt_gene_change *c = &x->genes[i];
        json_array_append_new(
            *out, row_json("gene", cpt_strings_get(&x->model->gene_names, c->gene),
                           symbols[c->gene], 1e4 * c->before, 1e4 * c->after, c->log2fc, c->sd,
                           c->same_sign, x->n, c->null_mean, c->null_sd, c->p, c->q));
    }
    free(symbols);
    return CPT_OK;
}

static cpt_status result_json(steered *x, json_t **out, cpt_err *e)
{
    cpt_text label = {0};
    const double length = mean_edit_length(x);
    json_t *genes = NULL;
    cpt_status status = cpt_study_concept_label(x->s, x->what.concept, &label, e);
    if (status == CPT_OK && x->genes) status = genes_json(x, &genes, e);
    if (status) goto done;
    *out = json_pack(
        "{s:i, s:s, s:o, s:s, s:s, s:f, s:s, s:{s:I, s:I, s:I}, s:{s:o, s:o, s:o}, s:{s:o, s:o}, "
        "s:i}",
        "format", FORMAT, "study", x->s->folder, "concept", json_sprintf("c%d", x->what.concept),
        "concept_label", cpt_text_str(&label), "edit",
        x->how->ablate                    ? "ablate"
        : x->what.kind == CPT_STEER_SCALE ? "scale"
                                          : "clamp",
        "value", x->what.value, "query", x->query, "cells", "selected", (json_int_t)x->n_selected,
        "changed", (json_int_t)x->n_changed, "n", (json_int_t)x->n, "activation", "before",
        cpt_json_number(mean_of(x->n, x->before)), "after",
        cpt_json_number(mean_of(x->n, x->after)), "encoded_again",
        cpt_json_number(mean_of(x->n, x->again)), "step", "length", cpt_json_number(length),
        "relative", cpt_json_number(length / spread_of_cells(x)), "directions",
        x->how->n_directions);
    if (!*out) {
        status = cpt_fail(e, CPT_ERR_MEMORY, "out of memory, or a name that is not UTF-8");
        goto done;
    }
    if (x->labels) {
        json_object_set_new(*out, "probe",
                            json_pack("{s:s, s:I, s:f, s:f, s:o}", "column", x->label->name, "n",
                                      (json_int_t)x->n_probe, "accuracy", x->accuracy, "majority",
                                      x->majority, "donor",
                                      x->donor ? json_string(x->donor->name) : json_null()));
        json_object_set_new(*out, "labels", labels_json(x));
    }
    if (genes) json_object_set(*out, "genes", genes);
    json_object_set(*out, "notes", x->notes);
done:
    json_decref(genes);
    cpt_text_free(&label);
    return status;
}

static const char *const table_columns[] = {"kind",    "name", "symbol",    "before", "after",
                                            "change",  "sd",   "same_sign", "n",      "null_mean",
                                            "null_sd", "p",    "q",         NULL};

static char *table_text(const json_t *root)
{
    cpt_text t = {0};
    cpt_json_table_header(table_columns, &t);
    cpt_json_table_rows(table_columns, json_object_get(root, "labels"), &t);
    cpt_json_table_rows(table_columns, json_object_get(root, "genes"), &t);
    if (!t.failed) return t.bytes;
    cpt_text_free(&t);
    return NULL;
}

static cpt_status write_files(const char *folder, const json_t *root, const char *table, cpt_err *e)
{
    char path[4096];
    cpt_status status;
    char *text = json_dumps(root, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
    if (!text) return cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
    CPT_TRY(cpt_make_folder(folder, e));
    CPT_TRY(cpt_path_join(path, sizeof path, folder, "steering.json", e));
    CPT_TRY(cpt_write_file(path, text, strlen(text), e));
    CPT_TRY(cpt_path_join(path, sizeof path, folder, "changes.tsv", e));
    status = cpt_write_file(path, table, strlen(table), e);
done:
    free(text);
    return status;
}

static cpt_status open_parts(steered *x, cpt_err *e)
{
    int64_t n;
    cpt_status status;
    CPT_TRY(cpt_study_cells(x->s, &x->cells, e));
    CPT_TRY(cpt_study_activations(x->s, &x->u, e));
    CPT_TRY(cpt_study_dictionary(x->s, &x->dictionary, e));
    CPT_TRY(cpt_study_model(x->s, &x->model, e));
    CPT_TRY(cpt_study_embedding(x->s, &x->embedding, &n, &x->dim, e));
    if (n != x->cells->n_cells || x->u->n_cells != n || x->dictionary->dim != x->dim ||
        x->model->dim != x->dim || x->u->n_concepts != x->dictionary->n_concepts)
        status = cpt_fail(e, CPT_ERR_FORMAT,
                          "%s: cells, embedding and dictionary do not fit together; run it again",
                          x->s->folder);
done:
    return status;
}

static cpt_status set_columns(cpt_study *s, const cpt_options *given, cpt_err *e)
{
    static const char *const names[] = {"label", "donor"};
    cpt_status status = CPT_OK;
    for (size_t i = 0; i < sizeof names / sizeof *names && status == CPT_OK; i++)
        if (given && cpt_options_given(given, names[i]))
            status = cpt_options_set(s->options, names[i], cpt_options_text(given, names[i]), e);
    return status;
}

cpt_status cpt_study_steer(const char *folder, const cpt_steer *how, const cpt_options *options,
                           char **json, char **tsv, const cpt_context *ctx, cpt_err *e)
{
    steered x = {.how = how, .notes = json_array()};
    json_t *root = NULL;
    char *table = NULL;
    cpt_status status;
    if (json) *json = NULL;
    if (tsv) *tsv = NULL;
    if (how->n_directions < 0 || how->n_directions > MAX_DIRECTIONS || how->max_cells < 0) {
        json_decref(x.notes);
        return cpt_fail(e, CPT_ERR_USAGE, "--directions: %d is outside 0 to %d", how->n_directions,
                        MAX_DIRECTIONS);
    }
    CPT_TRY(cpt_study_open(folder, ctx, &x.s, e));
    x.s->own.seed = ctx->seed;
    CPT_TRY(set_columns(x.s, options, e));
    CPT_TRY(open_parts(&x, e));
    CPT_TRY(parse_concept(&x, e));
    CPT_TRY(parse_edit(&x, e));
    CPT_TRY(choose_cells(&x, e));
    CPT_TRY(edit_cells(&x, e));
    CPT_TRY(change_genes(&x, e));
    CPT_TRY(change_labels(&x, e));
    if (!x.genes && !x.labels)
        CPT_TRY(cpt_fail(e, CPT_ERR_DATA, "%s: neither expression nor labels can be told: %s",
                         folder,
                         json_string_value(json_array_get(x.notes, json_array_size(x.notes) - 1))));
    CPT_TRY(result_json(&x, &root, e));
    table = table_text(root);
    if (!table || (json && !(*json = json_dumps(root, JSON_INDENT(1) | JSON_REAL_PRECISION(9)))))
        CPT_TRY(cpt_fail(e, CPT_ERR_MEMORY, "out of memory"));
    if (how->folder) CPT_TRY(write_files(how->folder, root, table, e));
    if (tsv) {
        *tsv = table;
        table = NULL;
    }
done:
    free(table);
    json_decref(root);
    steered_free(&x);
    return status;
}

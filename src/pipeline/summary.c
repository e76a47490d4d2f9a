#include "base/memory.h"
#include "study/notes_study.h"
#include "study/store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What is read out of a finished study: the summary of a run, and tables on a stream. */

enum { SUMMARY_CONCEPTS = 12, SUMMARY_GENES = 6, EXPORT_GENES = 64 };

/* ---- one concept as JSON ---- */

static cpt_status concept_json(cpt_study *s, int32_t concept, int32_t n_genes, json_t **out,
                               cpt_err *e)
{
    const cpt_universe *universe;
    const cpt_activations *u;
    int32_t genes[EXPORT_GENES];
    cpt_text label = {0}, text = {0};
    char name[32];
    cpt_status status;
    CPT_TRY(cpt_study_universe(s, &universe, e));
    CPT_TRY(cpt_study_activations(s, &u, e));
    int32_t n = cpt_study_top_genes(s, concept, n_genes, genes);
    for (int32_t i = 0; i < n; i++)
        cpt_text_addf(&text, "%s%s", i ? "," : "", cpt_strings_get(&universe->symbols, genes[i]));
    CPT_TRY(cpt_study_concept_label(s, concept, &label, e));
    const cpt_enrichment_row *term = cpt_study_top_term(s, concept);
    snprintf(name, sizeof name, "c%d", concept);
    const cpt_concept_stats *stats = &u->stats[concept];
    *out = json_pack("{s:s, s:f, s:I, s:f, s:f, s:b, s:b, s:b, s:s, s:s, s:s, s:o}", "concept",
                     name, "frequency", stats->frequency, "n_active", (json_int_t)stats->n_active,
                     "max_activation", (double)stats->max, "mean_activation", (double)stats->mean,
                     "dead", stats->dead, "dense", stats->dense, "rare", stats->rare, "label",
                     cpt_text_str(&label), "genes", cpt_text_str(&text), "term",
                     term ? term->name : "", "term_q", cpt_json_number(term ? term->q : NAN));
    if (!*out) status = cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
done:
    cpt_text_free(&label);
    cpt_text_free(&text);
    return status;
}

/* ---- summary ---- */

typedef struct ordered {
    double frequency;
    int32_t concept;
} ordered;

static int by_frequency(const void *a, const void *b)
{
    const ordered *x = a, *y = b;
    if (x->frequency != y->frequency) return x->frequency > y->frequency ? -1 : 1;
    return (x->concept > y->concept) - (x->concept < y->concept);
}

static cpt_status summary_concepts(cpt_study *s, const cpt_activations *u, json_t *list, cpt_err *e)
{
    ordered *order;
    cpt_status status = cpt_alloc(&order, (size_t)u->n_concepts, sizeof *order, e);
    if (status) return status;
    for (int32_t c = 0; c < u->n_concepts; c++) order[c] = (ordered){u->stats[c].frequency, c};
    qsort(order, (size_t)u->n_concepts, sizeof *order, by_frequency);
    for (int32_t i = 0; i < u->n_concepts && i < SUMMARY_CONCEPTS && status == CPT_OK; i++) {
        json_t *c;
        if (u->stats[order[i].concept].dead) break;
        status = concept_json(s, order[i].concept, SUMMARY_GENES, &c, e);
        if (status == CPT_OK) json_array_append_new(list, c);
    }
    free(order);
    return status;
}

static json_t *stage_seconds(const cpt_study *s)
{
    json_t *seconds = json_object(), *stage;
    const char *name;
    json_object_foreach(json_object_get(s->manifest, "stages"), name, stage)
    {
        const json_t *value = json_object_get(stage, "seconds");
        if (value) json_object_set_new(seconds, name, json_real(json_number_value(value)));
    }
    return seconds;
}

static cpt_status make_summary(cpt_study *s, json_t *root, cpt_err *e)
{
    const cpt_cells *cells;
    const cpt_activations *u;
    const json_t *report;
    json_t *model = NULL, *list = json_array();
    char path[4096];
    cpt_status status;
    int64_t n_dead = 0;
    CPT_TRY(cpt_study_cells(s, &cells, e));
    CPT_TRY(cpt_study_activations(s, &u, e));
    CPT_TRY(cpt_study_dictionary_report(s, &report, e));
    CPT_TRY(cpt_store_read_json(s, "cache/model.json", "model", &model, e));
    for (int32_t c = 0; c < u->n_concepts; c++) n_dead += u->stats[c].dead;
    const json_t *validation = json_object_get(report, "validation");
    json_object_set_new(
        root, "cells",
        json_pack("{s:I, s:i}", "n", (json_int_t)cells->n_cells, "genes", cells->n_genes));
    json_object_set(root, "model", model);
    json_object_set_new(
        root, "dictionary",
        json_pack("{s:i, s:I, s:O, s:O, s:O}", "n_concepts", u->n_concepts, "n_dead",
                  (json_int_t)n_dead, "r2_feature_validation",
                  json_object_get(validation, "r2_feature"), "mean_baseline",
                  json_object_get(json_object_get(report, "mean_baseline"), "r2_feature"), "l0",
                  json_object_get(validation, "l0")));
    CPT_TRY(summary_concepts(s, u, list, e));
    json_object_set(root, "concepts", list);
    json_object_set_new(root, "seconds", stage_seconds(s));
    CPT_TRY(cpt_study_path(s, "report.html", path, sizeof path, e));
    json_object_set_new(root, "report", json_string(path));
done:
    json_decref(list);
    json_decref(model);
    return status;
}

cpt_status cpt_study_summary(const char *folder, char **text, cpt_err *e)
{
    cpt_context ctx;
    cpt_study *s;
    cpt_context_init(&ctx);
    *text = NULL;
    cpt_status status = cpt_study_open(folder, &ctx, &s, e);
    if (status) return status;
    json_t *root = json_object();
    status = make_summary(s, root, e);
    if (status == CPT_OK && !(*text = json_dumps(root, JSON_INDENT(1) | JSON_REAL_PRECISION(9))))
        status = cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
    json_decref(root);
    cpt_study_close(s);
    return status;
}

/* ---- export ---- */

/* Texts of experts have tabs and newlines: written as \\t and \\n, a backslash as two. */
static void write_tsv_text(const char *text, FILE *out)
{
    for (; *text; text++) {
        const char *at = strchr("\t\n\r\\", *text);
        if (at) fprintf(out, "\\%c", "tnr\\"[at - "\t\n\r\\"]);
        else fputc(*text, out);
    }
}

/* Rows are JSON objects with the same keys; the first one's order makes the TSV header. */
static void write_tsv_row(const json_t *row, bool header, FILE *out)
{
    const char *key, *separator = "";
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)row, key, value)
    {
        fputs(separator, out);
        separator = "\t";
        if (header) fputs(key, out);
        else if (json_is_string(value)) write_tsv_text(json_string_value(value), out);
        else if (json_is_integer(value)) fprintf(out, "%lld", (long long)json_integer_value(value));
        else if (json_is_real(value)) fprintf(out, "%.6g", json_real_value(value));
        else if (json_is_boolean(value)) fputs(json_is_true(value) ? "True" : "False", out);
        else fputs("NA", out);
    }
    fputc('\n', out);
}

typedef struct sink {
    FILE *out;
    bool json, whole; /* whole: written as one value, not as a list of rows */
    int64_t n;
} sink;

static void put_row(sink *k, json_t *row)
{
    if (k->json) {
        fputs(k->n ? ",\n" : "[\n", k->out);
        json_dumpf(row, k->out, JSON_COMPACT | JSON_REAL_PRECISION(9));
    } else {
        if (k->n == 0) write_tsv_row(row, true, k->out);
        write_tsv_row(row, false, k->out);
    }
    k->n++;
    json_decref(row);
}

/* With notes, what experts said stands in columns of its own; r may be NULL. */
static void add_opinion(json_t *row, const cpt_notes_opinion *r)
{
    json_object_set_new(row, "expert_name", json_string(r ? r->name : ""));
    json_object_set_new(row, "expert_label", json_string(r ? r->label : ""));
    json_object_set_new(row, "expert_rating", cpt_json_number(r ? r->rating : NAN));
    json_object_set_new(row, "expert_ratings", json_integer(r ? r->n_ratings : 0));
    json_object_set_new(row, "expert_names", json_integer(r ? r->n_names : 0));
    json_object_set_new(row, "experts", json_integer(r ? r->n_experts : 0));
    json_object_set_new(row, "expert_notes", json_string(r ? r->notes : ""));
}

static cpt_status export_concepts(cpt_study *s, sink *k, cpt_err *e)
{
    const cpt_activations *u;
    cpt_notes_opinions o = {0};
    cpt_status status = cpt_study_activations(s, &u, e);
    if (status == CPT_OK) status = cpt_study_opinions(s, &o, e);
    for (int32_t c = 0; status == CPT_OK && c < u->n_concepts; c++) {
        json_t *row;
        status = concept_json(s, c, 20, &row, e);
        if (status == CPT_OK && o.n) add_opinion(row, cpt_notes_opinion_of(&o, c));
        if (status == CPT_OK) put_row(k, row);
    }
    cpt_notes_opinions_free(&o);
    return status;
}

static json_t *gene_row(const cpt_universe *u, const cpt_attribution *a, const cpt_expression *x,
                        int32_t c, int32_t g)
{
    char name[32];
    size_t at = (size_t)c * (size_t)u->n + (size_t)g;
    snprintf(name, sizeof name, "c%d", c);
    json_t *row =
        json_pack("{s:s, s:s, s:s}", "concept", name, "gene", cpt_strings_get(&u->names, g),
                  "symbol", cpt_strings_get(&u->symbols, g));
    json_object_set_new(row, "attribution", cpt_json_number(a ? (double)a->mean[at] : NAN));
    json_object_set_new(row, "low", cpt_json_number(a ? (double)a->low[at] : NAN));
    json_object_set_new(row, "high", cpt_json_number(a ? (double)a->high[at] : NAN));
    json_object_set_new(row, "n", json_integer(a ? a->n[at] : 0));
    json_object_set_new(row, "p", cpt_json_number(a ? a->p[at] : NAN));
    json_object_set_new(row, "q", cpt_json_number(a ? a->q[at] : NAN));
    json_object_set_new(row, "dge_logfc", cpt_json_number(x->logfc[at]));
    json_object_set_new(row, "dge_p", cpt_json_number(x->p[at]));
    json_object_set_new(row, "dge_q", cpt_json_number(x->q[at]));
    return row;
}

/* All genes with something to say: an attribution other than 0, or a significant fold change. */
static cpt_status export_genes(cpt_study *s, sink *k, cpt_err *e)
{
    const cpt_universe *u;
    const cpt_attribution *a;
    const cpt_expression *x;
    cpt_status status;
    CPT_TRY(cpt_study_universe(s, &u, e));
    CPT_TRY(cpt_study_attribution(s, &a, e));
    CPT_TRY(cpt_study_expression(s, &x, e));
    for (int32_t c = 0; c < x->n_units; c++)
        for (int32_t g = 0; g < u->n; g++) {
            size_t at = (size_t)c * (size_t)u->n + (size_t)g;
            if ((a && a->mean[at] != 0 && !isnan(a->mean[at])) || x->q[at] < 0.05)
                put_row(k, gene_row(u, a, x, c, g));
        }
done:
    return status;
}

static cpt_status export_terms(cpt_study *s, sink *k, cpt_err *e)
{
    const cpt_enrichment *r;
    cpt_status status = cpt_study_enrichment(s, &r, e);
    for (int64_t i = 0; status == CPT_OK && i < r->n; i++) {
        const cpt_enrichment_row *w = &r->rows[i];
        char name[32];
        snprintf(name, sizeof name, "c%d", w->concept);
        put_row(k, json_pack(
                       "{s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:o, s:o, s:o, s:o, s:o, s:s}",
                       "concept", name, "ranking", w->ranking, "method", w->method, "collection",
                       w->collection, "term", w->term, "name", w->name, "size", w->size, "overlap",
                       w->overlap, "es", cpt_json_number(w->es), "nes", cpt_json_number(w->nes),
                       "p", cpt_json_number(w->p), "log10p", cpt_json_number(w->log10p), "q",
                       cpt_json_number(w->q), "leading_edge", w->leading_edge));
    }
    return status;
}

static json_t *note_row(const json_t *note, bool earlier)
{
    static const char *const names[] = {"author", "field", "value", "time", "key", "genes", "label"};
    const json_t *number = json_object_get(note, earlier ? "was" : "concept");
    json_t *row = json_pack("{s:o, s:b}", "concept",
                            json_is_integer(number) ? json_sprintf("c%d", (int)json_integer_value(number)) : json_null(),
                            "earlier", earlier);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        json_t *value = json_object_get(note, names[i]);
        json_object_set(row, names[i], value ? value : json_null());
    }
    return row;
}

/* What holds now; with JSON everything that was ever said, as import reads it. */
static cpt_status export_notes(cpt_study *s, sink *k, cpt_err *e)
{
    json_t *list = NULL, *row;
    cpt_notes *n;
    size_t i;
    cpt_status status = cpt_notes_of_study(s, &n, e);
    if (status) return status;
    status = k->json ? cpt_notes_dump(n, &list, e) : cpt_notes_rows(n, NULL, &list, e);
    for (int earlier = 0; status == CPT_OK && !k->json && earlier < 2; earlier++)
        json_array_foreach(json_object_get(list, earlier ? "earlier" : "rows"), i, row)
            put_row(k, note_row(row, earlier));
    if (status == CPT_OK && k->json) {
        json_dumpf(list, k->out, JSON_INDENT(1) | JSON_REAL_PRECISION(17));
        fputc('\n', k->out);
        k->whole = true;
    }
    json_decref(list);
    cpt_notes_close(n);
    return status;
}

cpt_status cpt_study_export(const char *folder, const char *what, const char *format, FILE *out,
                            cpt_err *e)
{
    cpt_context ctx;
    cpt_study *s;
    sink k = {.out = out, .json = strcmp(format, "json") == 0};
    if (!k.json && strcmp(format, "tsv") != 0)
        return cpt_fail(e, CPT_ERR_USAGE, "--format: '%s' is neither tsv nor json", format);
    cpt_status (*write)(cpt_study *, sink *, cpt_err *) =
        strcmp(what, "concepts") == 0 ? export_concepts
        : strcmp(what, "genes") == 0  ? export_genes
        : strcmp(what, "terms") == 0  ? export_terms
        : strcmp(what, "notes") == 0  ? export_notes
                                      : NULL;
    if (!write)
        return cpt_fail(e, CPT_ERR_USAGE, "--what: '%s' is not one of concepts, genes, terms, notes",
                        what);
    cpt_context_init(&ctx);
    cpt_status status = cpt_study_open(folder, &ctx, &s, e);
    if (status) return status;
    status = write(s, &k, e);
    if (status == CPT_OK && k.json && !k.whole) fputs(k.n ? "\n]\n" : "[]\n", out);
    cpt_study_close(s);
    return status;
}

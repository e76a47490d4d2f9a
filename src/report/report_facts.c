#include "base/memory.h"
#include "io/json_value.h"
#include "report/report.h"
#include "study/notes_study.h"
#include "study/store.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What the report says about a concept beyond what earlier stages wrote: the label it fits (best
 * F1 of its active cells), the distance of its counterfactuals, its concentration in a donor or
 * batch, its rank by frequency. One pass over the activations: O(active entries + concepts x
 * labels). */

/* ---- numbers as text ---- */

void cpt_report_number(cpt_text *t, double x, int digits)
{
    char text[64];
    if (!isfinite(x)) {
        cpt_text_add(t, "–");
        return;
    }
    if (fabs(x) < 1e-300) x = 0;
    snprintf(text, sizeof text, "%.*g", digits, x);
    bool minus = text[0] == '-';
    cpt_text_addf(t, "%s%s", minus ? "−" : "", text + minus);
}

void cpt_report_p(cpt_text *t, double p)
{
    if (isnan(p)) cpt_text_add(t, "–");
    else if (p < 1e-300) cpt_text_add(t, "&lt;1e-300");
    else cpt_text_addf(t, p < 0.001 ? "%.0e" : "%.2g", p);
}

void cpt_report_p_cell(cpt_text *t, double p)
{
    cpt_text_add(t, p < 0.05 ? "<td class=\"r\">" : "<td class=\"r m\">");
    cpt_report_p(t, p);
    cpt_text_add(t, "</td>");
}

void cpt_report_percent(cpt_text *t, double share)
{
    if (isnan(share)) cpt_text_add(t, "–");
    else if (share > 0 && share < 0.001) cpt_text_add(t, "&lt;0.1 %");
    else if (share > 0.9995 && share < 1) cpt_text_add(t, "&gt;99.9 %");
    else cpt_text_addf(t, share < 0.0995 || (share > 0.9905 && share < 1) ? "%.1f %%" : "%.0f %%",
                       100 * share);
}

void cpt_report_count(cpt_text *t, int64_t n)
{
    char digits[32];
    int length = snprintf(digits, sizeof digits, "%lld", (long long)(n < 0 ? 0 : n));
    for (int i = 0; i < length; i++) {
        if (i && (length - i) % 3 == 0) cpt_text_add(t, ",");
        cpt_text_add_bytes(t, digits + i, 1);
    }
}

double cpt_report_json(const json_t *root, const char *a, const char *b, const char *c)
{
    const char *const path[] = {a, b, c};
    for (int i = 0; i < 3 && path[i]; i++) root = json_object_get(root, path[i]);
    return cpt_json_double(root);
}

const char *cpt_report_label(const cpt_report *r, int64_t cell)
{
    if (!r->label || r->label->codes[cell] < 0) return "";
    return cpt_strings_get(&r->label->categories, r->label->codes[cell]);
}

/* ---- genes ---- */

static double gene_strength(const cpt_report *r, bool attribution, size_t at)
{
    if (attribution) return r->attribution ? fabs((double)r->attribution->mean[at]) : 0;
    return r->expression->score[at];
}

int32_t cpt_report_genes(const cpt_report *r, int32_t concept, bool attribution, int32_t capacity,
                         int32_t *genes)
{
    size_t row = (size_t)concept * (size_t)r->universe->n;
    double best[CPT_REPORT_GENES];
    int32_t n = 0;
    if (capacity > CPT_REPORT_GENES) capacity = CPT_REPORT_GENES;
    for (int32_t g = 0; g < r->universe->n; g++) { /* insertion into a short sorted list */
        double v = gene_strength(r, attribution, row + (size_t)g);
        if (!(v > 0) || (n == capacity && v <= best[n - 1])) continue;
        int32_t at = n < capacity ? n++ : n - 1;
        for (; at > 0 && best[at - 1] < v; at--) best[at] = best[at - 1], genes[at] = genes[at - 1];
        best[at] = v;
        genes[at] = g;
    }
    return n;
}

bool cpt_report_attributed(const cpt_report *r, size_t at)
{
    return r->attribution && fabs((double)r->attribution->mean[at]) >= r->cutoff &&
        r->attribution->q[at] < 0.05;
}

int32_t cpt_report_count_attributed(const cpt_report *r, int32_t concept)
{
    size_t row = (size_t)concept * (size_t)r->universe->n;
    int32_t n = 0;
    for (int32_t g = 0; g < r->universe->n; g++) n += cpt_report_attributed(r, row + (size_t)g);
    return n;
}

/* ---- concepts ---- */

/* counts[code] of the cells of one concept; returns how many cells it has. */
static int64_t count_codes(const cpt_report *r, int32_t concept, const cpt_column *column,
                           int64_t *counts)
{
    const cpt_csr *m = &r->u->by_concept;
    memset(counts, 0, (size_t)column->categories.n * sizeof *counts);
    for (int64_t k = m->indptr[concept]; k < m->indptr[concept + 1]; k++) {
        int32_t code = column->codes[m->indices[k]];
        if (code >= 0) counts[code]++;
    }
    return m->indptr[concept + 1] - m->indptr[concept];
}

static void count_all(const cpt_report *r, const cpt_column *column, int64_t *counts)
{
    for (int64_t i = 0; i < r->cells->n_cells; i++)
        if (column->codes[i] >= 0) counts[column->codes[i]]++;
}

static void find_label(cpt_report *r, int32_t concept, int64_t *counts)
{
    cpt_report_concept *c = &r->concepts[concept];
    int64_t n = count_codes(r, concept, r->label, counts);
    for (int64_t l = 0; l < r->label->categories.n && n > 0; l++) {
        double f1 = 2.0 * (double)counts[l] / (double)(r->label_counts[l] + n);
        if (!(f1 > c->f1)) continue;
        c->f1 = f1;
        c->label = (int32_t)l;
        c->share = (double)counts[l] / (double)n;
    }
}

static void find_concentration(const cpt_report *r, int32_t concept, const cpt_column *column,
                               const int64_t *all,
                               int64_t *counts, cpt_report_concentration *out)
{
    int64_t n = count_codes(r, concept, column, counts);
    for (int64_t l = 0; l < column->categories.n && n >= 10; l++) {
        double share = (double)counts[l] / (double)n, background =
            (double)all[l] / (double)r->cells->n_cells;
        if (share > CPT_REPORT_CONCENTRATED && background < CPT_REPORT_CONCENTRATED_OF)
            *out = (cpt_report_concentration){(int32_t)l, share, background};
    }
}

static cpt_status find_concentrations(cpt_report *r, const cpt_column *column, bool donor,
                                      cpt_err *e)
{
    int64_t *all = NULL, *counts = NULL;
    cpt_status status;
    CPT_TRY(cpt_alloc(&all, (size_t)column->categories.n, sizeof *all, e));
    CPT_TRY(cpt_alloc(&counts, (size_t)column->categories.n, sizeof *counts, e));
    count_all(r, column, all);
    for (int32_t c = 0; c < r->u->n_concepts; c++)
        find_concentration(r, c, column, all, counts, donor ? &r->concepts[c].donor :
                           &r->concepts[c].batch);
done:
    free(all);
    free(counts);
    return status;
}

static cpt_status find_labels(cpt_report *r, cpt_err *e)
{
    int64_t *counts = NULL;
    cpt_status status;
    CPT_TRY(cpt_alloc(&r->label_counts, (size_t)r->label->categories.n, sizeof *r->label_counts,
                      e));
    CPT_TRY(cpt_alloc(&counts, (size_t)r->label->categories.n, sizeof *counts, e));
    count_all(r, r->label, r->label_counts);
    for (int32_t c = 0; c < r->u->n_concepts; c++) find_label(r, c, counts);
done:
    free(counts);
    return status;
}

static int ascending(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static cpt_status find_distances(cpt_report *r, cpt_err *e)
{
    float *values;
    int64_t n_all = r->pairs->first[r->pairs->n_concepts];
    cpt_status status = cpt_alloc(&values, (size_t)n_all, sizeof *values, e);
    if (status) return status;
    for (int32_t c = 0; c < r->pairs->n_concepts && c < r->u->n_concepts; c++) {
        int64_t first = r->pairs->first[c], n = r->pairs->first[c + 1] - first;
        for (int64_t i = 0; i < n; i++) values[i] = r->pairs->pairs[first + i].relative_distance;
        if (n == 0) continue;
        qsort(values, (size_t)n, sizeof *values, ascending);
        r->concepts[c].distance = 0.5 * ((double)values[(n - 1) / 2] + (double)values[n / 2]);
    }
    free(values);
    return CPT_OK;
}

/* Falling frequency, then number. */
typedef struct ordered {
    int64_t n_active;
    int32_t concept;
} ordered;

static int by_frequency(const void *a, const void *b)
{
    const ordered *x = a, *y = b;
    if (x->n_active != y->n_active) return x->n_active > y->n_active ? -1 : 1;
    return (x->concept > y->concept) - (x->concept < y->concept);
}

static cpt_status order_concepts(cpt_report *r, cpt_err *e)
{
    ordered *list;
    cpt_status status = cpt_alloc(&r->order, (size_t)r->u->n_concepts, sizeof *r->order, e);
    if (status == CPT_OK) status = cpt_alloc(&list, (size_t)r->u->n_concepts, sizeof *list, e);
    if (status) return status;
    for (int32_t c = 0; c < r->u->n_concepts; c++) {
        list[c] = (ordered){r->u->stats[c].n_active, c};
        r->n_alive += !r->u->stats[c].dead;
    }
    qsort(list, (size_t)r->u->n_concepts, sizeof *list, by_frequency);
    for (int32_t i = 0; i < r->u->n_concepts; i++) r->order[i] = list[i].concept;
    r->n_cards = r->n_alive < CPT_REPORT_CARDS ? r->n_alive : CPT_REPORT_CARDS;
    for (int32_t i = 0; i < r->n_cards; i++) r->concepts[r->order[i]].card = true;
    free(list);
    return CPT_OK;
}

/* ---- opening ---- */

static cpt_status open_results(cpt_study *s, cpt_report *r, cpt_err *e)
{
    cpt_status status;
    CPT_TRY(cpt_study_cells(s, &r->cells, e));
    CPT_TRY(cpt_study_universe(s, &r->universe, e));
    CPT_TRY(cpt_study_activations(s, &r->u, e));
    CPT_TRY(cpt_study_pairs(s, &r->pairs, e));
    CPT_TRY(cpt_study_attribution(s, &r->attribution, e));
    CPT_TRY(cpt_study_expression(s, &r->expression, e));
    CPT_TRY(cpt_study_enrichment(s, &r->enrichment, e));
    CPT_TRY(cpt_study_evaluation(s, &r->evaluation, e));
    CPT_TRY(cpt_study_dictionary_report(s, &r->dictionary, e));
    CPT_TRY(cpt_study_umap(s, &r->umap, e));
    CPT_TRY(cpt_study_column(s, "label", &r->label, e));
    CPT_TRY(cpt_study_column(s, "donor", &r->donor, e));
    CPT_TRY(cpt_study_column(s, "batch", &r->batch, e));
    CPT_TRY(cpt_store_read_json(s, "cache/model.json", "model", &r->model, e));
    CPT_TRY(cpt_store_read_json(s, "cache/enrichment.json", "enrichment", &r->sets, e));
done:
    return status;
}

/* The results must be of one study: sizes that do not fit mean a damaged cache, never a wild
 * index. */
static cpt_status check_sizes(const cpt_report *r, cpt_err *e)
{
    int32_t f = r->u->n_concepts, g = r->universe->n;
    bool fits = r->u->n_cells == r->cells->n_cells && r->expression->n_units == f &&
        r->expression->n_genes == g &&
                r->enrichment->n_concepts == f && r->s->umap.shape[0] == r->cells->n_cells;
    if (r->attribution)
        fits = fits && r->pairs && r->attribution->n_concepts == f && r->attribution->n_genes ==
            g &&
               r->pairs->n_concepts == f;
    return fits ? CPT_OK
                : cpt_fail(e, CPT_ERR_FORMAT, "%s: the results in cache do not belong together; "
                                              "delete the folder cache "
                           "and run again", r->s->folder);
}

cpt_status cpt_report_open(cpt_study *s, cpt_report *r, cpt_err *e)
{
    cpt_status status;
    r->s = s;
    r->cutoff = cpt_options_number(s->options, "cutoff");
    CPT_TRY(open_results(s, r, e));
    CPT_TRY(check_sizes(r, e));
    CPT_TRY(cpt_study_opinions(s, &r->opinions, e));
    CPT_TRY(cpt_alloc(&r->concepts, (size_t)r->u->n_concepts, sizeof *r->concepts, e));
    for (int32_t c = 0; c < r->u->n_concepts; c++)
        r->concepts[c] = (cpt_report_concept){.label = -1, .share = NAN, .distance = NAN, .donor =
                                              {-1, 0, 0}, .batch = {-1, 0, 0}};
    CPT_TRY(order_concepts(r, e));
    if (r->label) CPT_TRY(find_labels(r, e));
    if (r->pairs) CPT_TRY(find_distances(r, e));
    if (r->donor) CPT_TRY(find_concentrations(r, r->donor, true, e));
    if (r->batch) CPT_TRY(find_concentrations(r, r->batch, false, e));
    for (int64_t i = 1; i < r->enrichment->n && !r->several_collections; i++)
        r->several_collections = strcmp(r->enrichment->rows[i].collection,
                                        r->enrichment->rows[0].collection) != 0;
done:
    return status;
}

void cpt_report_close(cpt_report *r)
{
    json_decref(r->model);
    json_decref(r->sets);
    cpt_notes_opinions_free(&r->opinions);
    free(r->concepts);
    free(r->label_counts);
    free(r->order);
    cpt_text_free(&r->html);
}

/* ---- experts ---- */

void cpt_report_expert(cpt_report *r, int32_t concept)
{
    const cpt_notes_opinion *o = cpt_notes_opinion_of(&r->opinions, concept);
    cpt_text *t = &r->html;
    if (!o || (!*o->name && !*o->label && !o->n_ratings)) return;
    cpt_text_add(t, "<span class=\"expert\" title=\"Said by experts; the latest name.");
    if (o->n_names > 1) cpt_text_addf(t, " %d different names were given.", o->n_names);
    cpt_text_add(t, "\"><b>");
    cpt_text_add_html(t, o->name);
    cpt_text_add(t, "</b>");
    if (*o->label) {
        cpt_text_add(t, " <small>");
        cpt_text_add_html(t, o->label);
        cpt_text_add(t, "</small>");
    }
    if (o->n_ratings)
        cpt_text_addf(t, " <small>interpretability %.1f of 5, %d expert%s</small>", o->rating,
                      o->n_ratings, o->n_ratings > 1 ? "s" : "");
    cpt_text_add(t, "</span> ");
}

/* ---- flags ---- */

static void add_flag(cpt_text *t, const char *name, const char *why)
{
    cpt_text_addf(t, "<span class=\"f\" title=\"%s\">%s</span> ", why, name);
}

static void add_concentration(cpt_text *t, const cpt_column *column,
                              const cpt_report_concentration *where,
                              const char *what)
{
    if (where->code < 0) return;
    const char *name = cpt_strings_get(&column->categories, where->code);
    cpt_text_addf(t, "<span class=\"f\" title=\"%.0f %% of its active cells come from %s ",
                  100 * where->share, what);
    cpt_text_add_html(t, name);
    cpt_text_addf(t, ", which holds %.0f %% of all cells\">%s ", 100 * where->background, what);
    cpt_text_add_html(t, name);
    cpt_text_add(t, "</span> ");
}

/* Flags that the evaluation found; texts out of a file are escaped. */
static void add_evaluated(cpt_report *r, int32_t concept)
{
    static const char *const shown[] = {"confounded", "fragile", "unstable"};
    const json_t *flags = json_object_get(r->evaluation, "flags"),
                 *one = json_array_get(json_object_get(flags, "concepts"), (size_t)concept),
                 *list = json_object_get(one, "flags");
    cpt_text *t = &r->html;
    for (size_t k = 0; k < json_array_size(list); k++)
        for (size_t i = 0; i < sizeof shown / sizeof *shown; i++) {
            const char *name = json_string_value(json_array_get(list, k));
            const char *why = json_string_value(json_object_get(json_object_get(flags, "rules"), shown[i]));
            if (!name || strcmp(name, shown[i]) != 0) continue;
            cpt_text_add(t, "<span class=\"f\" title=\"");
            cpt_text_add_html(t, why ? why : "");
            cpt_text_addf(t, "\">%s</span> ", shown[i]);
        }
}

void cpt_report_flags(cpt_report *r, int32_t concept)
{
    const cpt_concept_stats *st = &r->u->stats[concept];
    const cpt_report_concept *c = &r->concepts[concept];
    cpt_text *t = &r->html;
    if (st->dead) add_flag(t, "dead", "active in no cell");
    if (st->dense)
        add_flag(t, "dense", "active in more than half of the cells (our default threshold): "
                             "rather a common direction "
                 "than a concept");
    if (st->rare) add_flag(t, "rare", "active in fewer than 10 cells (our default threshold): "
                                      "statistics are weak");
    if (r->pairs && r->pairs->substitute_low[concept])
        add_flag(t, "no inactive cell", "every cell activates it: the least active cells served "
                                        "as counterfactuals");
    add_evaluated(r, concept);
    if (r->donor) add_concentration(t, r->donor, &c->donor, "donor");
    if (r->batch) add_concentration(t, r->batch, &c->batch, "batch");
}

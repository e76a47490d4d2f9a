#include "base/memory.h"
#include "io/json_value.h"
#include "view/view.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One concept's measurements, and all of them as the landscape.
 *
 * Flags say what was measured against which limit; limits are ours: dense above half of the cells,
 * rare below 10 cells, concentrated when more than 80 % of the active cells are of one donor (or
 * batch) that has less than 40 % of all cells. Quality, which the review queue sorts by, is the
 * mean of what is known of: neither dead, rare nor dense (0 or 1); a term (0 or 1); attributed
 * genes, 10 counting as full; label F1; stability; faithfulness (cut to 0..1); and not concentrated
 * (0 or 1). It orders; it is not a test. */

static const double DENSE = 0.5, CONCENTRATED = 0.8, CONCENTRATED_BACKGROUND = 0.4;
enum { RARE = 10, BINS = 40, FULL_GENES = 10, LANDSCAPE_GENES = 5 };

/* ---- numbers of evaluation.json, by concept ---- */

/* Mean cosine with the matched decoder rows of other seeds. */
static double stability(const cpt_view *v, int32_t concept)
{
    const json_t *decoder = json_object_get(json_object_get(v->evaluation, "stability"), "decoder");
    const json_t *x = json_array_get(json_object_get(decoder, "by_concept"), (size_t) concept);
    return cpt_json_double(x);
}

/* Area under the drop when genes are replaced in order of attribution. */
static double faithfulness(const cpt_view *v, int32_t concept)
{
    const json_t *own = v->faithful ? v->faithful[concept] : NULL;
    const json_t *x = json_object_get(json_object_get(own, "area"), "attribution");
    return cpt_json_double(x);
}

/* What the index holds of a concept; it must be there. */
static const double *indexed(const cpt_view *v, int32_t concept)
{
    return (const double *)v->index.facts.data + (int64_t) concept * CPT_N_FACTS;
}

/* ---- flags ---- */

static cpt_flag *new_flag(cpt_concept_facts *f, const char *name)
{
    if (f->n_flags == CPT_MAX_FLAGS) return NULL;
    cpt_flag *flag = &f->flags[f->n_flags++];
    flag->name = name;
    return flag;
}

#define ADD_FLAG(f, name, ...)                                                                     \
    do {                                                                                           \
        cpt_flag *flag_ = new_flag(f, name);                                                       \
        if (flag_) snprintf(flag_->text, sizeof flag_->text, __VA_ARGS__);                         \
    } while (0)

/* Does one category of a column hold most active cells without holding as many of all? total:
 * usable cells per category. */
static void flag_concentrated(const cpt_column *c, const int64_t *total, const double fact[2],
                              cpt_concept_facts *f)
{
    int64_t n_all = 0;
    if (!c || !total || !(fact[0] >= 0 && fact[0] < (double)c->categories.n)) return;
    for (int64_t k = 0; k < c->categories.n; k++) n_all += total[k];
    double share = fact[1], background = (double)total[(int64_t)fact[0]] / (double)n_all;
    if (share > CONCENTRATED && background < CONCENTRATED_BACKGROUND)
        ADD_FLAG(f, "concentrated",
                 "%.0f %% of the active cells are of %s %s, which has %.0f %% of all cells",
                 100 * share, c->name, cpt_strings_get(&c->categories, (int64_t)fact[0]),
                 100 * background);
}

/* What takes an evaluation to know; what this file measures itself is passed over. */
static void flag_evaluated(const cpt_view *v, int32_t concept, cpt_concept_facts *f)
{
    static const struct {
        const char *name, *number; /* of the concept's entry */
    } known[] = {{"confounded", "pair_rest"}, {"fragile", NULL}, {"unstable", "stability"}};
    const json_t *flags = json_object_get(v->evaluation, "flags");
    const json_t *own = json_array_get(json_object_get(flags, "concepts"), (size_t) concept);
    size_t i;
    json_t *flag;
    json_array_foreach(json_object_get(own, "flags"), i,
                       flag) for (size_t k = 0; k < sizeof known / sizeof *known; k++)
    {
        const char *name = json_string_value(flag), *rule;
        if (!name || strcmp(name, known[k].name) != 0) continue;
        rule = json_string_value(json_object_get(json_object_get(flags, "rules"), name));
        const json_t *x = known[k].number ? json_object_get(own, known[k].number) : NULL;
        if (json_is_number(x))
            ADD_FLAG(f, known[k].name, "%s; here %.3g", rule ? rule : "", json_number_value(x));
        else ADD_FLAG(f, known[k].name, "%s", rule ? rule : "");
    }
}

static void add_flags(const cpt_view *v, int32_t concept, cpt_concept_facts *f)
{
    if (f->active == 0) ADD_FLAG(f, "dead", "no cell activates it");
    else if (f->frequency > DENSE)
        ADD_FLAG(f, "dense", "active in %.0f %% of the cells (limit %.0f %%)", 100 * f->frequency,
                 100 * DENSE);
    else if (f->active < RARE)
        ADD_FLAG(f, "rare", "active in %lld cells (limit %d)", (long long)f->active, RARE);
    flag_evaluated(v, concept, f);
    if (f->active < RARE || !v->have_index) return;
    const double *x = indexed(v, concept);
    flag_concentrated(v->donor, v->donor_cells, x + CPT_FACT_DONOR, f);
    flag_concentrated(v->batch, v->batch_cells, x + CPT_FACT_BATCH, f);
}

static bool flagged(const cpt_concept_facts *f, const char *name)
{
    for (int i = 0; i < f->n_flags; i++)
        if (strcmp(f->flags[i].name, name) == 0) return true;
    return false;
}

static double quality(const cpt_view *v, int32_t concept, const cpt_concept_facts *f)
{
    double sum = 0;
    int n = 0;
    if (f->active == 0) return 0;
    const double parts[] = {
        !flagged(f, "dense") && !flagged(f, "rare"),
        v->index.have_rows ? ((const int64_t *)v->index.best_row.data)[concept] >= 0 : NAN,
        f->attributed >= 0 ? fmin(1, (double)f->attributed / FULL_GENES) : NAN,
        f->label_f1,
        fmax(0, f->stability),
        isnan(f->faithfulness) ? NAN : fmin(1, fmax(0, f->faithfulness)),
        v->donor || v->batch ? !flagged(f, "concentrated") : NAN};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!isnan(parts[i])) sum += parts[i], n++;
    return n ? sum / n : 0;
}

void cpt_view_facts(const cpt_view *v, int32_t concept, cpt_concept_facts *f)
{
    *f = (cpt_concept_facts){.label = -1,
                             .attributed = -1,
                             .max = NAN,
                             .mean = NAN,
                             .label_share = NAN,
                             .label_f1 = NAN,
                             .label_auroc = NAN,
                             .distance = NAN};
    f->active = v->by_concept.indptr[concept + 1] - v->by_concept.indptr[concept];
    f->frequency = v->n_usable ? (double)f->active / (double)v->n_usable : 0;
    f->stability = stability(v, concept);
    f->faithfulness = faithfulness(v, concept);
    if (v->have_pairs) f->n_pairs = ((const int32_t *)v->n_pairs.data)[concept];
    if (v->have_index) {
        const double *x = indexed(v, concept);
        f->max = x[CPT_FACT_MAX];
        f->mean = x[CPT_FACT_MEAN];
        f->attributed = isnan(x[CPT_FACT_ATTRIBUTED]) ? -1 : (int32_t)x[CPT_FACT_ATTRIBUTED];
        f->distance = x[CPT_FACT_DISTANCE];
        if (v->label && x[CPT_FACT_LABEL] >= 0 &&
            x[CPT_FACT_LABEL] < (double)v->label->categories.n) {
            f->label = (int32_t)x[CPT_FACT_LABEL];
            f->label_share = x[CPT_FACT_SHARE];
            f->label_f1 = x[CPT_FACT_F1];
            f->label_auroc = x[CPT_FACT_AUROC];
        }
    }
    add_flags(v, concept, f);
    f->quality = quality(v, concept, f);
}

void cpt_view_put_flags(cpt_jot *j, const cpt_concept_facts *f)
{
    cpt_jot_open(j, '[');
    for (int i = 0; i < f->n_flags; i++) {
        cpt_jot_open(j, '{');
        cpt_jot_put_text(j, "name", f->flags[i].name);
        cpt_jot_put_text(j, "text", f->flags[i].text);
        cpt_jot_close(j, '}');
    }
    cpt_jot_close(j, ']');
}

static const char *label_name(const cpt_view *v, const cpt_concept_facts *f)
{
    return f->label < 0 ? "" : cpt_strings_get(&v->label->categories, f->label);
}

/* ---- one concept ---- */

void cpt_view_put_histogram(cpt_jot *j, int64_t n, const float *values, double max)
{
    int64_t counts[BINS] = {0};
    for (int64_t i = 0; i < n && max > 0; i++) {
        int bin = (int)((double)values[i] / max * BINS);
        counts[bin < 0 ? 0 : bin >= BINS ? BINS - 1 : bin]++;
    }
    cpt_jot_open(j, '{');
    cpt_jot_put_number(j, "low", 0);
    cpt_jot_put_number(j, "high", max > 0 ? max : 0);
    cpt_jot_key(j, "counts");
    cpt_jot_open(j, '[');
    for (int i = 0; i < BINS; i++) cpt_jot_integer(j, counts[i]);
    cpt_jot_close(j, ']');
    cpt_jot_close(j, '}');
}

static int64_t best_row(const cpt_view *v, int32_t concept)
{
    return v->have_index && v->index.have_rows ? ((const int64_t *)v->index.best_row.data)[concept]
                                               : -1;
}

cpt_status cpt_view_concept(const cpt_view *v, int32_t concept, char **json, cpt_err *e)
{
    cpt_concept_facts f;
    int32_t *cells = NULL;
    float *values = NULL;
    int64_t n;
    cpt_jot j = {0};
    cpt_status status;
    CPT_TRY(cpt_view_need_concept(v, concept, e));
    cpt_view_facts(v, concept, &f);
    CPT_TRY(cpt_rows_read(&v->by_concept, concept, &cells, &values, &n, e));
    double max = 0;
    for (int64_t i = 0; i < n; i++) max = fmax(max, (double)values[i]);
    cpt_jot_open(&j, '{');
    cpt_jot_put_integer(&j, "concept", concept);
    cpt_jot_put_number(&j, "frequency", f.frequency);
    cpt_jot_put_integer(&j, "active", f.active);
    cpt_jot_put_integer(&j, "usable", v->n_usable);
    cpt_jot_put_number(&j, "max", f.max);
    cpt_jot_put_number(&j, "mean", f.mean);
    cpt_jot_put_text(&j, "label", label_name(v, &f));
    cpt_jot_put_number(&j, "label_share", f.label_share);
    cpt_jot_put_number(&j, "label_f1", f.label_f1);
    cpt_jot_put_number(&j, "label_auroc", f.label_auroc);
    cpt_jot_key(&j, "term");
    cpt_view_put_term(v, &j, best_row(v, concept));
    cpt_jot_key(&j, "flags");
    cpt_view_put_flags(&j, &f);
    cpt_jot_put_integer(&j, "pairs", f.n_pairs);
    cpt_jot_put_number(&j, "distance", f.distance);
    cpt_jot_put_number(&j, "quality", f.quality);
    cpt_jot_key(&j, "histogram");
    cpt_view_put_histogram(&j, n, values, max);
    cpt_jot_close(&j, '}');
done:
    free(cells);
    free(values);
    return status ? status : cpt_jot_take(&j, json, e);
}

/* ---- the landscape ---- */

typedef void field_fn(const cpt_view *v, cpt_jot *j, int32_t concept, const cpt_concept_facts *f);

static void put_frequency(const cpt_view *v, cpt_jot *j, int32_t c, const cpt_concept_facts *f)
{
    (void)v, (void)c;
    cpt_jot_number(j, f->frequency);
}
static void put_active(const cpt_view *v, cpt_jot *j, int32_t c, const cpt_concept_facts *f)
{
    (void)v, (void)c;
    cpt_jot_integer(j, f->active);
}
static void put_max(const cpt_view *v, cpt_jot *j, int32_t c, const cpt_concept_facts *f)
{
    (void)v, (void)c;
    cpt_jot_number(j, f->max);
}
static void put_mean(const cpt_view *v, cpt_jot *j, int32_t c, const cpt_concept_facts *f)
{
    (void)v, (void)c;
    cpt_jot_number(j, f->mean);
}
static void put_label(const cpt_view *v, cpt_jot *j, int32_t c, const cpt_concept_facts *f)
{
    (void)c;
    cpt_jot_text(j, label_name(v, f));
}
static void put_label_share(const cpt_view *v, cpt_jot *j, int32_t c, const cpt_concept_facts *f)
{
    (void)v, (void)c;
    cpt_jot_number(j, f->label_share);
}
static void put_label_f1(const cpt_view *v, cpt_jot *j, int32_t c, const cpt_concept_facts *f)
{
    (void)v, (void)c;
    cpt_jot_number(j, f->label_f1);
}
static void put_genes(const cpt_view *v, cpt_jot *j, int32_t c, const cpt_concept_facts *f)
{
    (void)f;
    cpt_jot_open(j, '[');
    const int32_t *top = v->index.top_genes.data;
    for (int i = 0; top && i < LANDSCAPE_GENES; i++) {
        int32_t g = top[(int64_t)c * CPT_TOP_GENES + i];
        if (g >= 0 && g < v->n_genes) cpt_jot_text(j, cpt_view_symbol(v, g));
    }
    cpt_jot_close(j, ']');
}
static void put_term(const cpt_view *v, cpt_jot *j, int32_t c, const cpt_concept_facts *f)
{
    (void)f;
    cpt_view_put_term(v, j, best_row(v, c));
}
static void put_fact(const cpt_view *v, cpt_jot *j, int32_t c, int fact)
{
    double x = v->have_index ? indexed(v, c)[fact] : NAN;
    cpt_jot_integer(j, isnan(x) ? 0 : (int64_t)x);
}
static void put_terms_attribution(const cpt_view *v, cpt_jot *j, int32_t c,
                                  const cpt_concept_facts *f)
{
    (void)f;
    put_fact(v, j, c, CPT_FACT_TERMS_ATTRIBUTION);
}
static void put_terms_expression(const cpt_view *v, cpt_jot *j, int32_t c,
                                 const cpt_concept_facts *f)
{
    (void)f;
    put_fact(v, j, c, CPT_FACT_TERMS_EXPRESSION);
}
static void put_attributed(const cpt_view *v, cpt_jot *j, int32_t c, const cpt_concept_facts *f)
{
    (void)f;
    put_fact(v, j, c, CPT_FACT_ATTRIBUTED);
}
static void put_distance(const cpt_view *v, cpt_jot *j, int32_t c, const cpt_concept_facts *f)
{
    (void)v, (void)c;
    cpt_jot_number(j, f->distance);
}
static void put_stability(const cpt_view *v, cpt_jot *j, int32_t c, const cpt_concept_facts *f)
{
    (void)v, (void)c;
    cpt_jot_number(j, f->stability);
}
static void put_faithfulness(const cpt_view *v, cpt_jot *j, int32_t c, const cpt_concept_facts *f)
{
    (void)v, (void)c;
    cpt_jot_number(j, f->faithfulness);
}
static void put_flag_names(const cpt_view *v, cpt_jot *j, int32_t c, const cpt_concept_facts *f)
{
    (void)v, (void)c;
    cpt_jot_open(j, '[');
    for (int i = 0; i < f->n_flags; i++) cpt_jot_text(j, f->flags[i].name);
    cpt_jot_close(j, ']');
}
static void put_quality(const cpt_view *v, cpt_jot *j, int32_t c, const cpt_concept_facts *f)
{
    (void)v, (void)c;
    cpt_jot_number(j, f->quality);
}

static const struct {
    const char *name;
    field_fn *put;
} fields[] = {{"frequency", put_frequency},
              {"active", put_active},
              {"max", put_max},
              {"mean", put_mean},
              {"label", put_label},
              {"label_share", put_label_share},
              {"label_f1", put_label_f1},
              {"genes", put_genes},
              {"term", put_term},
              {"terms_attribution", put_terms_attribution},
              {"terms_expression", put_terms_expression},
              {"attributed", put_attributed},
              {"distance", put_distance},
              {"stability", put_stability},
              {"faithfulness", put_faithfulness},
              {"flags", put_flag_names},
              {"quality", put_quality}};

enum { N_FIELDS = sizeof fields / sizeof *fields };

/* Concept by concept, so that the facts of one are held at a time; each field into a text of its own. */
static cpt_status make_landscape(const cpt_view *v, char **json, cpt_err *e)
{
    cpt_jot parts[N_FIELDS] = {0}, all = {0};
    cpt_concept_facts facts;
    for (size_t i = 0; i < N_FIELDS; i++) cpt_jot_open(&parts[i], '[');
    for (int32_t c = 0; c < v->n_concepts; c++) {
        cpt_view_facts(v, c, &facts);
        for (size_t i = 0; i < N_FIELDS; i++) fields[i].put(v, &parts[i], c, &facts);
    }
    cpt_status status = CPT_OK;
    cpt_jot_open(&all, '{');
    cpt_jot_put_integer(&all, "n", v->n_concepts);
    for (size_t i = 0; i < N_FIELDS; i++) {
        char *part = NULL;
        cpt_jot_close(&parts[i], ']');
        cpt_status taken = cpt_jot_take(&parts[i], &part, e);
        if (status == CPT_OK) status = taken;
        if (taken) continue;
        cpt_jot_key(&all, fields[i].name);
        cpt_jot_raw(&all, part);
        free(part);
    }
    cpt_jot_close(&all, '}');
    if (status == CPT_OK) return cpt_jot_take(&all, json, e);
    cpt_jot_drop(&all);
    return status;
}

cpt_status cpt_view_concepts(const cpt_view *v, char **json, cpt_err *e)
{
    cpt_view *own = (cpt_view *)(uintptr_t)v; /* the landscape is made once, under its lock */
    cpt_status status = v->have_activations ? CPT_OK : cpt_view_need_index(v, e);
    if (status) return status;
    pthread_mutex_lock(&own->lock);
    if (!own->landscape) status = make_landscape(v, &own->landscape, e);
    *json = status ? NULL : cpt_strdup(own->landscape);
    pthread_mutex_unlock(&own->lock);
    return status || *json ? status : cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
}

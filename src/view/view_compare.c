#include "base/memory.h"
#include "io/json_value.h"
#include "view/view.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Concepts of two studies: what `conceptome compare` has saved (comparisons/OTHER.json), and any
 * two side by side. Cells are the same when their ids are; genes when their symbols are. */

enum { PATH_LIMIT = 4096, MOST_FILES = 64, PAIR_GENES = 60, PAIR_TERMS = 200 };

/* ---- saved comparisons ---- */

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

cpt_status cpt_view_open_comparisons(cpt_view *v, cpt_err *e)
{
    char folder[PATH_LIMIT], path[PATH_LIMIT];
    struct dirent **list = NULL;
    cpt_status status = cpt_path_join(folder, sizeof folder, v->folder, "comparisons", e);
    if (status) return status;
    int n = scandir(folder, &list, NULL, by_name);
    v->comparisons = json_object();
    for (int i = 0; i < n; i++) {
        char *dot = strrchr(list[i]->d_name, '.');
        if (i < MOST_FILES && list[i]->d_name[0] != '.' && dot && strcmp(dot, ".json") == 0 &&
            cpt_path_join(path, sizeof path, folder, list[i]->d_name, NULL) == CPT_OK) {
            json_t *root = json_load_file(path, 0, NULL);
            *dot = '\0';
            if (root) json_object_set_new(v->comparisons, list[i]->d_name, root);
        }
        free(list[i]);
    }
    free(list);
    return CPT_OK;
}

/* Key of a match's field on our side or the other's: "concept_a". */
static const char *field(char key[32], const char *name, bool side_a)
{
    snprintf(key, 32, "%s_%c", name, side_a ? 'a' : 'b');
    return key;
}

static bool self_is_a(const json_t *comparison)
{
    return strcmp(cpt_json_text(comparison, "self"), "b") != 0;
}

static const json_t *matches_of(const json_t *comparison)
{
    return json_object_get(json_object_get(comparison, "pair"), "matches");
}

static const char *other_folder(const json_t *comparison)
{
    const json_t *side =
        json_object_get(json_object_get(comparison, "pair"), self_is_a(comparison) ? "b" : "a");
    const char *folder = cpt_json_text(side, "folder"), *slash = strrchr(folder, '/');
    return slash ? slash + 1 : folder;
}

void cpt_view_put_comparisons(const cpt_view *v, cpt_jot *j)
{
    const char *id;
    json_t *c;
    cpt_jot_open(j, '[');
    json_object_foreach(v->comparisons, id, c)
    {
        const json_t *decoder =
            json_object_get(json_object_get(json_object_get(c, "pair"), "measures"), "decoder");
        cpt_jot_open(j, '{');
        cpt_jot_put_text(j, "id", id);
        cpt_jot_put_text(j, "name", cpt_json_text(c, "other"));
        cpt_jot_put_text(j, "study", other_folder(c));
        cpt_jot_put_integer(j, "matched", (int64_t)json_array_size(matches_of(c)));
        cpt_jot_put_number(
            j, "pw_mcc",
            cpt_json_double(json_object_get(json_object_get(decoder, "pw_mcc"), "mean")));
        cpt_jot_close(j, '}');
    }
    cpt_jot_close(j, ']');
}

/* "CD3E,CD3D" as a list. */
static void put_split(cpt_jot *j, const char *list)
{
    cpt_text one = {0};
    cpt_jot_open(j, '[');
    for (; *list; list += strcspn(list, ","), list += *list == ',') {
        one.length = 0;
        cpt_text_add_bytes(&one, list, strcspn(list, ","));
        cpt_jot_text(j, cpt_text_str(&one));
    }
    cpt_jot_close(j, ']');
    cpt_text_free(&one);
}

void cpt_view_put_matched(const cpt_view *v, cpt_jot *j, int32_t concept)
{
    const char *id;
    char own[24], key[32];
    json_t *c, *m;
    size_t i;
    snprintf(own, sizeof own, "c%d", concept);
    cpt_jot_open(j, '[');
    json_object_foreach(v->comparisons, id, c)
    {
        bool a = self_is_a(c);
        json_array_foreach((json_t *)(uintptr_t)matches_of(c), i, m)
        {
            if (strcmp(cpt_json_text(m, field(key, "concept", a)), own) != 0) continue;
            cpt_jot_open(j, '{');
            cpt_jot_put_text(j, "comparison", id);
            cpt_jot_put_text(j, "study", other_folder(c));
            cpt_jot_put_text(j, "concept", cpt_json_text(m, field(key, "concept", !a)));
            cpt_jot_put_number(j, "correlation",
                               cpt_json_double(json_object_get(m, "activation_r")));
            cpt_jot_put_number(j, "cosine", cpt_json_double(json_object_get(m, "decoder_cosine")));
            cpt_jot_key(j, "genes");
            put_split(j, cpt_json_text(m, field(key, "genes", !a)));
            cpt_jot_put_text(j, "term", cpt_json_text(m, field(key, "term", !a)));
            cpt_jot_close(j, '}');
        }
    }
    cpt_jot_close(j, ']');
}

static int64_t n_listed(const char *list)
{
    int64_t n = *list != '\0';
    for (; *list; list++) n += *list == ',';
    return n;
}

static void put_match(cpt_jot *j, const json_t *m, bool a)
{
    char key[32];
    int64_t own = 0;
    const char *name = cpt_json_text(m, field(key, "concept", a));
    if (name[0] != 'c' || !cpt_parse_i64(name + 1, &own)) return;
    cpt_jot_open(j, '{');
    cpt_jot_put_integer(j, "a", own);
    cpt_jot_put_text(j, "b", cpt_json_text(m, field(key, "concept", !a)));
    cpt_jot_put_number(j, "cosine", cpt_json_double(json_object_get(m, "decoder_cosine")));
    cpt_jot_put_number(j, "correlation", cpt_json_double(json_object_get(m, "activation_r")));
    cpt_jot_put_number(j, "jaccard", cpt_json_double(json_object_get(m, "jaccard")));
    cpt_jot_put_number(j, "attribution", cpt_json_double(json_object_get(m, "attribution_r")));
    cpt_jot_put_number(j, "expression", cpt_json_double(json_object_get(m, "expression_r")));
    cpt_jot_put_number(j, "likeness", cpt_json_double(json_object_get(m, "likeness")));
    cpt_jot_put_number(j, "q", cpt_json_double(json_object_get(m, "q")));
    cpt_jot_put_number(j, "q_within_labels",
                       cpt_json_double(json_object_get(m, "q_within_labels")));
    cpt_jot_key(j, "mutual");
    cpt_jot_bool(j, json_is_true(json_object_get(m, "mutual_best")));
    cpt_jot_put_integer(j, "shared", n_listed(cpt_json_text(m, "shared_genes")));
    cpt_jot_put_text(j, "b_label", cpt_json_text(m, field(key, "label", !a)));
    cpt_jot_key(j, "b_genes");
    put_split(j, cpt_json_text(m, field(key, "genes", !a)));
    cpt_jot_put_text(j, "b_term", cpt_json_text(m, field(key, "term", !a)));
    cpt_jot_close(j, '}');
}

/* What each way of matching found over all pairs, and what chance finds. */
static void put_measures(cpt_jot *j, const json_t *pair)
{
    static const char *const numbers[] = {"n", "mean", "sd", "above_07", "n_significant", "p"};
    const char *name;
    json_t *m;
    cpt_jot_key(j, "measures");
    cpt_jot_open(j, '[');
    json_object_foreach(json_object_get(pair, "measures"), name, m)
    {
        const json_t *chance = json_object_get(m, "null");
        cpt_jot_open(j, '{');
        cpt_jot_put_text(j, "name", name);
        cpt_jot_put_text(j, "absent", json_string_value(json_object_get(m, "absent")));
        for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
            cpt_jot_put_number(j, numbers[i], cpt_json_double(json_object_get(m, numbers[i])));
        cpt_jot_put_number(j, "null_mean", cpt_json_double(json_object_get(chance, "mean")));
        cpt_jot_put_number(j, "null_sd", cpt_json_double(json_object_get(chance, "sd")));
        cpt_jot_put_number(j, "draws", cpt_json_double(json_object_get(chance, "n")));
        cpt_jot_close(j, '}');
    }
    cpt_jot_close(j, ']');
}

/* Names of the concepts that found no partner. */
static void put_unmatched(cpt_jot *j, const char *key, const json_t *list)
{
    size_t i;
    json_t *name;
    cpt_jot_key(j, key);
    cpt_jot_open(j, '[');
    json_array_foreach((json_t *)(uintptr_t)list, i, name)
        cpt_jot_text(j, json_string_value(name));
    cpt_jot_close(j, ']');
}

cpt_status cpt_view_comparison(const cpt_view *v, const char *id, char **json, cpt_err *e)
{
    const json_t *c = json_object_get(v->comparisons, id), *pair = json_object_get(c, "pair"),
                 *cells;
    cpt_jot j = {0};
    size_t i;
    json_t *m;
    if (!c)
        return cpt_fail(e, CPT_ERR_USAGE,
                        "%s: there is no comparison '%.80s'; make one with `conceptome compare`",
                        v->name, id);
    cells = json_array_get(json_object_get(pair, "cells"), 0);
    cpt_jot_open(&j, '{');
    cpt_jot_put_text(&j, "name", cpt_json_text(c, "other"));
    cpt_jot_put_text(&j, "other", other_folder(c));
    cpt_jot_put_number(&j, "cells", cpt_json_double(json_object_get(cells, "n")));
    cpt_jot_put_text(&j, "matched_by", cpt_json_text(pair, "matched_by"));
    cpt_jot_put_text(&j, "model",
                     cpt_json_text(json_object_get(pair, self_is_a(c) ? "a" : "b"), "model"));
    cpt_jot_put_text(&j, "other_model",
                     cpt_json_text(json_object_get(pair, self_is_a(c) ? "b" : "a"), "model"));
    put_measures(&j, pair);
    put_unmatched(&j, "unmatched", json_object_get(pair, self_is_a(c) ? "unmatched_a" : "unmatched_b"));
    put_unmatched(&j, "other_unmatched",
                  json_object_get(pair, self_is_a(c) ? "unmatched_b" : "unmatched_a"));
    cpt_jot_key(&j, "rows");
    cpt_jot_open(&j, '[');
    json_array_foreach((json_t *)(uintptr_t)matches_of(c), i, m) put_match(&j, m, self_is_a(c));
    cpt_jot_close(&j, ']');
    cpt_jot_close(&j, '}');
    return cpt_jot_take(&j, json, e);
}

/* ---- any two ---- */

typedef struct pair {
    const cpt_view *v[2];
    int32_t concept[2];
    bool same; /* one study */
    int64_t common, active[2], both;
    double sum[2], squares[2], product;
} pair;

/* Activations of b by the cell's number in b, dense. */
static cpt_status dense(const cpt_view *v, int32_t concept, float **out, cpt_err *e)
{
    int32_t *cells = NULL;
    float *values = NULL;
    int64_t n;
    cpt_status status = cpt_alloc(out, (size_t)v->cells->n_cells, sizeof **out, e);
    if (status == CPT_OK) status = cpt_rows_read(&v->by_concept, concept, &cells, &values, &n, e);
    for (int64_t k = 0; status == CPT_OK && k < n; k++) (*out)[cells[k]] = values[k];
    free(cells);
    free(values);
    return status;
}

static void count_cell(pair *p, double x, double y)
{
    const double values[2] = {x, y};
    p->common++;
    p->both += x > 0 && y > 0;
    p->product += x * y;
    for (int s = 0; s < 2; s++) {
        p->active[s] += values[s] > 0;
        p->sum[s] += values[s];
        p->squares[s] += values[s] * values[s];
    }
}

/* For each cell of a the cell of b with its id, -1 when b does not have it or either is unusable. */
static cpt_status match_cells(const cpt_view *a, const cpt_view *b, int64_t **out, cpt_err *e)
{
    int64_t n_a = a->cells->n_cells, n_b = b->cells->n_cells;
    cpt_index *ids = NULL;
    cpt_status status;
    *out = NULL;
    CPT_TRY(cpt_alloc(out, (size_t)n_a, sizeof **out, e));
    if (a != b) {
        ids = cpt_index_new((size_t)n_b, e);
        status = ids ? CPT_OK : CPT_ERR_MEMORY;
        for (int64_t i = 0; i < n_b && status == CPT_OK; i++)
            status = cpt_index_add(ids, cpt_strings_get(&b->cells->cell_ids, i), i, NULL, e);
        if (status) goto done;
    }
    for (int64_t i = 0; i < n_a; i++) {
        int64_t k = ids ? cpt_index_get(ids, cpt_strings_get(&a->cells->cell_ids, i)) : i;
        bool good = k >= 0 && cpt_view_is_usable(a, i) && cpt_view_is_usable(b, k);
        (*out)[i] = good ? k : -1;
    }
done:
    cpt_index_free(ids);
    if (status) {
        free(*out);
        *out = NULL;
    }
    return status;
}

static cpt_status compare_cells(pair *p, cpt_err *e)
{
    float *x = NULL, *y = NULL;
    int64_t *partner = NULL;
    cpt_status status;
    CPT_TRY(dense(p->v[0], p->concept[0], &x, e));
    CPT_TRY(dense(p->v[1], p->concept[1], &y, e));
    CPT_TRY(match_cells(p->v[0], p->same ? p->v[0] : p->v[1], &partner, e));
    for (int64_t i = 0; i < p->v[0]->cells->n_cells; i++)
        if (partner[i] >= 0) count_cell(p, (double)x[i], (double)y[partner[i]]);
done:
    free(x);
    free(y);
    free(partner);
    return status;
}

cpt_status cpt_view_activation_on(const cpt_view *cells, const cpt_view *v, int32_t concept,
                                  cpt_vector *out, cpt_err *e)
{
    float *y = NULL;
    int64_t *partner = NULL, n = cells->cells->n_cells;
    double high = 0;
    cpt_status status;
    *out = (cpt_vector){0};
    CPT_TRY(cpt_view_need_concept(v, concept, e));
    if (!cells->have_activations) CPT_TRY(cpt_view_need_index(cells, e));
    CPT_TRY(dense(v, concept, &y, e));
    CPT_TRY(match_cells(cells, v, &partner, e));
    CPT_TRY(cpt_alloc(&out->bytes, (size_t)n, sizeof(float), e));
    float *values = out->bytes;
    for (int64_t i = 0; i < n; i++) {
        values[i] = partner[i] < 0 ? NAN : y[partner[i]];
        high = fmax(high, (double)values[i]); /* passes NaN over */
    }
    out->size = (size_t)n * sizeof(float);
    snprintf(out->type, sizeof out->type, "f32");
    snprintf(out->shape, sizeof out->shape, "%lld", (long long)n);
    snprintf(out->range, sizeof out->range, "0,%.7g", high);
done:
    free(y);
    free(partner);
    return status;
}

static double correlation(const pair *p)
{
    double n = (double)p->common, spread = 1;
    if (n < 2) return NAN;
    for (int s = 0; s < 2; s++) spread *= p->squares[s] - p->sum[s] * p->sum[s] / n;
    return spread > 0 ? (p->product - p->sum[0] * p->sum[1] / n) / sqrt(spread) : NAN;
}

typedef struct shared_gene {
    const char *symbol;
    float mean[2];
} shared_gene;

static int by_either(const void *a, const void *b)
{
    const shared_gene *x = a, *y = b;
    float p = fmaxf(fabsf(x->mean[0]), fabsf(x->mean[1])),
          q = fmaxf(fabsf(y->mean[0]), fabsf(y->mean[1]));
    if (p != q) return p > q ? -1 : 1;
    return strcmp(x->symbol, y->symbol);
}

static cpt_status mean_row(const cpt_view *v, int32_t concept, float **out, cpt_err *e)
{
    cpt_status status = cpt_alloc(out, (size_t)v->n_genes, sizeof **out, e);
    return status || !v->have_attribution
               ? status
               : cpt_array_row(&v->attribution[A_MEAN], concept, *out, e);
}

/* Genes of a, then those of b alone; NaN where a study does not have the gene. */
static cpt_status gather_genes(const pair *p, shared_gene **out, int32_t *n, double *cosine,
                               int32_t *shared, cpt_err *e)
{
    float *mean[2] = {NULL, NULL};
    bool *met = NULL;
    cpt_index *symbols = NULL;
    double product = 0, squares[2] = {0, 0};
    cpt_status status;
    const cpt_view *a = p->v[0], *b = p->v[1];
    *out = NULL;
    *n = *shared = 0;
    for (int s = 0; s < 2; s++) CPT_TRY(mean_row(p->v[s], p->concept[s], &mean[s], e));
    CPT_TRY(cpt_alloc(out, (size_t)a->n_genes + (size_t)b->n_genes, sizeof **out, e));
    CPT_TRY(cpt_alloc(&met, (size_t)b->n_genes, sizeof *met, e));
    symbols = cpt_index_new((size_t)b->n_genes, e);
    status = symbols ? CPT_OK : CPT_ERR_MEMORY;
    for (int32_t g = 0; g < b->n_genes && status == CPT_OK; g++)
        status = cpt_index_add(symbols, cpt_view_symbol(b, g), g, NULL, e);
    if (status) goto done;
    for (int32_t g = 0; g < a->n_genes; g++) {
        int64_t k = cpt_index_get(symbols, cpt_view_symbol(a, g));
        float x = mean[0][g], y = k >= 0 ? mean[1][k] : NAN;
        if (k >= 0) met[k] = true;
        (*out)[(*n)++] = (shared_gene){cpt_view_symbol(a, g), {x, y}};
        if (!isfinite(x) || !isfinite(y)) continue;
        ++*shared;
        product += (double)x * (double)y;
        squares[0] += (double)x * (double)x;
        squares[1] += (double)y * (double)y;
    }
    for (int32_t g = 0; g < b->n_genes; g++)
        if (!met[g]) (*out)[(*n)++] = (shared_gene){cpt_view_symbol(b, g), {NAN, mean[1][g]}};
    *cosine = squares[0] > 0 && squares[1] > 0 ? product / sqrt(squares[0] * squares[1]) : NAN;
done:
    free(mean[0]);
    free(mean[1]);
    free(met);
    cpt_index_free(symbols);
    return status;
}

static cpt_status put_genes(const pair *p, cpt_jot *j, cpt_err *e)
{
    shared_gene *genes;
    int32_t n, shared, kept = 0;
    double cosine = NAN;
    cpt_status status = gather_genes(p, &genes, &n, &cosine, &shared, e);
    for (int32_t i = 0; status == CPT_OK && i < n; i++)
        if (fmaxf(fabsf(genes[i].mean[0]), fabsf(genes[i].mean[1])) > 0) genes[kept++] = genes[i];
    if (status == CPT_OK) qsort(genes, (size_t)kept, sizeof *genes, by_either);
    cpt_jot_put_number(j, "cosine_genes", cosine);
    cpt_jot_put_integer(j, "shared_genes", shared);
    cpt_jot_key(j, "genes");
    cpt_jot_open(j, '[');
    for (int32_t i = 0; status == CPT_OK && i < kept && i < PAIR_GENES; i++) {
        cpt_jot_open(j, '{');
        cpt_jot_put_text(j, "symbol", genes[i].symbol);
        cpt_jot_put_number(j, "a", (double)genes[i].mean[0]);
        cpt_jot_put_number(j, "b", (double)genes[i].mean[1]);
        cpt_jot_close(j, '}');
    }
    cpt_jot_close(j, ']');
    free(genes);
    return status;
}

typedef struct shared_term {
    const char *term, *name, *ranking;
    double q[2];
} shared_term;

static int by_term(const void *a, const void *b)
{
    const shared_term *x = a, *y = b;
    int c = strcmp(x->term, y->term);
    return c ? c : strcmp(x->ranking, y->ranking);
}

static int by_q(const void *a, const void *b)
{
    const shared_term *x = a, *y = b;
    bool p = !isnan(x->q[0]) && !isnan(x->q[1]), q = !isnan(y->q[0]) && !isnan(y->q[1]);
    if (p != q) return p ? -1 : 1; /* those of both first */
    double r = fmin(x->q[0], x->q[1]), s = fmin(y->q[0], y->q[1]);
    return r != s ? (r < s ? -1 : 1) : by_term(a, b);
}

/* GSEA findings with q < 0.05 that stand for themselves. */
static cpt_status gather_terms(const pair *p, int side, shared_term **list, size_t *n,
                               size_t *capacity, cpt_err *e)
{
    const cpt_view *v = p->v[side];
    cpt_status status = CPT_OK;
    if (!v->index.have_rows) return CPT_OK;
    for (int64_t row = v->index.row_first[p->concept[side]];
         row < v->index.row_first[p->concept[side] + 1]; row++) {
        cpt_index_row r;
        CPT_TRY(cpt_index_row_read(&v->index, row, &r, e));
        const char *method = cpt_index_name(&v->index, "methods", r.codes[CPT_ROW_METHOD]);
        if (strcmp(method, "gsea") || !(r.values[CPT_ROW_Q] < 0.05) ||
            r.codes[CPT_ROW_REPRESENTED] >= 0)
            continue;
        CPT_TRY(cpt_grow(list, capacity, *n + 1, sizeof **list, e));
        shared_term *t = &(*list)[(*n)++];
        *t = (shared_term){cpt_strings_get(&v->index.term_ids, r.codes[CPT_ROW_TERM]),
                           cpt_strings_get(&v->index.term_names, r.codes[CPT_ROW_TERM]),
                           cpt_index_name(&v->index, "rankings", r.codes[CPT_ROW_RANKING]),
                           {NAN, NAN}};
        t->q[side] = r.values[CPT_ROW_Q];
    }
done:
    return status;
}

static cpt_status put_terms(const pair *p, cpt_jot *j, cpt_err *e)
{
    shared_term *list = NULL;
    size_t n = 0, capacity = 0, kept = 0;
    cpt_status status = gather_terms(p, 0, &list, &n, &capacity, e);
    if (status == CPT_OK) status = gather_terms(p, 1, &list, &n, &capacity, e);
    if (n) qsort(list, n, sizeof *list, by_term);
    for (size_t i = 0; i < n; i++) {
        if (kept && by_term(&list[kept - 1], &list[i]) == 0) {
            for (int s = 0; s < 2; s++)
                if (!isnan(list[i].q[s])) list[kept - 1].q[s] = list[i].q[s];
        } else {
            list[kept++] = list[i];
        }
    }
    if (kept) qsort(list, kept, sizeof *list, by_q);
    cpt_jot_key(j, "terms");
    cpt_jot_open(j, '[');
    for (size_t i = 0; status == CPT_OK && i < kept && i < PAIR_TERMS; i++) {
        cpt_jot_open(j, '{');
        cpt_jot_put_text(j, "term", list[i].term);
        cpt_jot_put_text(j, "name", list[i].name);
        cpt_jot_put_number(j, "a_q", list[i].q[0]);
        cpt_jot_put_number(j, "b_q", list[i].q[1]);
        cpt_jot_put_text(j, "ranking", list[i].ranking);
        cpt_jot_close(j, '}');
    }
    cpt_jot_close(j, ']');
    free(list);
    return status;
}

cpt_status cpt_view_pair(const cpt_view *va, int32_t a, const cpt_view *vb, int32_t b, char **json,
                         cpt_err *e)
{
    pair p = {
        .v = {va, vb}, .concept = {a, b}, .same = va == vb || strcmp(va->folder, vb->folder) == 0};
    cpt_jot j = {0};
    cpt_status status;
    for (int s = 0; s < 2; s++) {
        CPT_TRY(cpt_view_need_concept(p.v[s], p.concept[s], e));
        CPT_TRY(cpt_view_need_index(p.v[s], e));
    }
    CPT_TRY(compare_cells(&p, e));
    int64_t either = p.active[0] + p.active[1] - p.both;
    cpt_jot_open(&j, '{');
    cpt_jot_put_integer(&j, "same_cells", p.common);
    cpt_jot_put_integer(&j, "a_active", p.active[0]);
    cpt_jot_put_integer(&j, "b_active", p.active[1]);
    cpt_jot_put_integer(&j, "both", p.both);
    cpt_jot_put_number(&j, "jaccard", either ? (double)p.both / (double)either : NAN);
    cpt_jot_put_number(&j, "correlation", correlation(&p));
    CPT_TRY(put_genes(&p, &j, e));
    CPT_TRY(put_terms(&p, &j, e));
    cpt_jot_close(&j, '}');
done:
    if (status == CPT_OK) return cpt_jot_take(&j, json, e);
    cpt_jot_drop(&j);
    return status;
}

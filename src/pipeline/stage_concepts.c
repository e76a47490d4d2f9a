#include "base/file.h"
#include "base/memory.h"
#include "concept/pair_store.h"
#include "study/pair_options.h"
#include "study/prepare.h"
#include "study/shards.h"
#include "study/store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The stages from the embedding to concepts, their genes by attribution and by expression. */

enum { PATH_LIMIT = 4096 };

/* ---- dictionary ---- */

static cpt_status write_split(cpt_study *s, int64_t n, const cpt_split *split, cpt_err *e)
{
    uint8_t *mark;
    cpt_status status = cpt_alloc(&mark, (size_t)n, 1, e);
    if (status) return status;
    for (int64_t i = 0; i < split->n_validation; i++) mark[split->validation[i]] = 1;
    status = cpt_store_write(s, "split", CPT_U8, n, 0, mark, e);
    free(mark);
    return status;
}

/* A trained dictionary given by its folder is scored like a new one; all cells are then validation.
 */
static cpt_status open_given(const char *folder, const float *a, int32_t dim,
                             const cpt_split *split, cpt_dictionary **out,
                             cpt_dictionary_report *report, const cpt_context *ctx, cpt_err *e)
{
    cpt_status status = cpt_dictionary_open(folder, out, e);
    if (status) return status;
    if ((*out)->dim != dim)
        return cpt_fail(e, CPT_ERR_DATA, "%s: a dictionary for %d dimensions, the embedding has %d",
                        folder, (*out)->dim, dim);
    status = cpt_reconstruction_score(*out, a, split->n_train, split->train, NULL, &report->train,
                                      ctx, e);
    if (status) return status;
    report->mean_baseline_feature = report->mean_baseline_scalar = report->gamma =
        report->final_loss = NAN;
    return cpt_reconstruction_score(*out, a, split->n_validation, split->validation, NULL,
                                    &report->validation, ctx, e);
}

static void log_scores(const cpt_context *ctx, const cpt_dictionary *d,
                       const cpt_dictionary_report *r)
{
    cpt_info(ctx, "dictionary: %s, %d concepts of %d dimensions, %s %d active; gamma %.3f",
             d->ops->kind, d->n_concepts, d->dim, d->k < d->max_active ? "on average" : "at most", d->k,
             r->gamma);
    cpt_info(ctx, "  R2_feature %.4f train, %.4f validation (predicting the mean: %.4f)",
             r->train.r2_feature, r->validation.r2_feature, r->mean_baseline_feature);
    cpt_info(ctx, "  R2_scalar  %.4f train, %.4f validation (predicting the mean: %.4f)",
             r->train.r2_scalar, r->validation.r2_scalar, r->mean_baseline_scalar);
    cpt_info(ctx, "  dead concepts %.2f %%, L0 %.2f", 100 * r->train.dead_fraction, r->train.l0);
}

cpt_status cpt_stage_dictionary(cpt_study *s, cpt_err *e)
{
    const float *a;
    int64_t n;
    int32_t dim;
    const cpt_column *donor;
    char path[PATH_LIMIT];
    cpt_split split = {0};
    cpt_dictionary *d = NULL;
    cpt_dictionary_report report = {0};
    json_t *json = NULL;
    const char *kind = cpt_options_text(s->options, "dictionary");
    cpt_status status;
    CPT_TRY(cpt_study_embedding(s, &a, &n, &dim, e));
    CPT_TRY(cpt_study_column(s, "donor", &donor, e));
    CPT_TRY(cpt_split_make(a, n, dim, donor, cpt_options_number(s->options, "validation"),
                           s->ctx->seed, &split, e));
    char config[PATH_LIMIT]; /* a folder that happens to be called "neurons" is no dictionary */
    CPT_TRY(cpt_path_join(config, sizeof config, kind, "cfg.json", e));
    if (cpt_path_exists(config)) {
        CPT_TRY(open_given(kind, a, dim, &split, &d, &report, s->ctx, e));
    } else {
        cpt_dictionary_options o;
        cpt_prepare_dictionary_options(s->options, &o);
        CPT_TRY(cpt_dictionary_train(&o, a, dim, split.n_train, split.train, split.n_validation,
                                     split.validation, &d, &report, s->ctx, e));
    }
    log_scores(s->ctx, d, &report);
    CPT_TRY(cpt_study_path(s, "dictionary", path, sizeof path, e));
    CPT_TRY(cpt_make_folder(path, e));
    CPT_TRY(d->ops->save(d, path, e));
    CPT_TRY(write_split(s, n, &split, e));
    json = cpt_dictionary_report_json(d, &report);
    json_object_set_new(json, "split_by_donor", json_boolean(split.by_donor));
    CPT_TRY(cpt_store_write_json(s, "cache/dictionary.json", json, e));
done:
    json_decref(json);
    cpt_split_free(&split);
    cpt_dictionary_free(d);
    cpt_dictionary_report_free(&report);
    return status;
}

cpt_status cpt_stage_concepts(cpt_study *s, cpt_err *e)
{
    const float *a;
    int64_t n;
    int32_t dim;
    char path[PATH_LIMIT];
    cpt_dictionary *d;
    cpt_activations *u = NULL;
    cpt_status status;
    CPT_TRY(cpt_study_embedding(s, &a, &n, &dim, e));
    CPT_TRY(cpt_study_dictionary(s, &d, e));
    CPT_TRY(cpt_activations_encode(d, a, n, &u, s->ctx, e));
    CPT_TRY(cpt_study_path(s, "cache", path, sizeof path, e));
    status = cpt_activations_save(u, path, e);
done:
    cpt_activations_free(u);
    return status;
}

/* ---- attribution ---- */

cpt_status cpt_study_pair_options(cpt_study *s, cpt_pair_options *o, cpt_err *e)
{
    const cpt_column *donor = NULL;
    const char *choice = cpt_options_text(s->options, "prototype-choice");
    cpt_pair_options_init(o);
    o->n_prototypes = (int32_t)cpt_options_integer(s->options, "prototypes");
    o->n_counterfactuals = (int32_t)cpt_options_integer(s->options, "counterfactuals");
    if (strcmp(choice, "quantiles") == 0) o->choice = CPT_PROTOTYPES_QUANTILES;
    if (strcmp(choice, "donors") == 0) {
        cpt_status status = cpt_study_column(s, "donor", &donor, e);
        if (status) return status;
        if (!donor)
            return cpt_fail(e, CPT_ERR_USAGE, "--prototype-choice donors needs --donor COLUMN");
        o->choice = CPT_PROTOTYPES_SPREAD;
        o->spread = donor;
    }
    return cpt_study_column(s, "match", &o->match, e);
}

cpt_status cpt_study_attribution_options(cpt_study *s, const cpt_model *model,
                                         cpt_attribution_options *o, cpt_err *e)
{
    const char *method = cpt_options_text(s->options, "method"),
               *mode = cpt_options_text(s->options, "mode");
    cpt_attribution_options_init(o);
    /* The screen of hybrid is a gradient, which counts that are binned again do not have. */
    bool counts = strcmp(cpt_options_text(s->options, "space"), "counts") == 0;
    if (!*method) method = strcmp(model->ops->kind, "scgpt") == 0 && !counts ? "hybrid" : "exact";
    o->method = strcmp(method, "gradient") == 0 ? CPT_METHOD_GRADIENT
                : strcmp(method, "ig") == 0     ? CPT_METHOD_IG
                : strcmp(method, "hybrid") == 0 ? CPT_METHOD_HYBRID
                                                : CPT_METHOD_EXACT;
    o->mode = strcmp(mode, "insert") == 0 ? CPT_MODE_INSERT
              : strcmp(mode, "mask") == 0 ? CPT_MODE_MASK
                                          : CPT_MODE_SUBSTITUTE;
    o->readout = strcmp(cpt_options_text(s->options, "readout"), "pre") == 0
                     ? CPT_READOUT_PRE
                     : CPT_READOUT_ACTIVATION;
    const char *screen = cpt_options_text(s->options, "screen");
    o->screen = strcmp(screen, "ig") == 0         ? CPT_SCREEN_IG
                : strcmp(screen, "gradient") == 0 ? CPT_SCREEN_GRADIENT
                                                  : CPT_SCREEN_SWAP;
    o->ig_steps = (int32_t)cpt_options_integer(s->options, "ig-steps");
    o->hybrid_top = (int32_t)cpt_options_integer(s->options, "hybrid-top");
    o->hybrid_check = (int32_t)cpt_options_integer(s->options, "hybrid-check");
    o->cutoff = cpt_options_number(s->options, "cutoff");
    if (strcmp(cpt_options_text(s->options, "space"), "counts") == 0 &&
        strcmp(model->ops->kind, "scgpt") != 0)
        cpt_info(s->ctx, "--space counts concerns scGPT only; %s works on counts anyway",
                 model->ops->kind);
    return CPT_OK;
}

/* ---- finished pairs of a costly model are kept, so that a run that was stopped goes on ---- */

/* What the result of one pair depends on, prototypes' number and choice left out. */
static cpt_status open_store(cpt_study *s, const char *name, const cpt_model *model,
                             const cpt_attribution_options *o, cpt_pair_store **out, cpt_err *e)
{
    const json_t *stages = json_object_get(s->manifest, "stages");
    const char *parent =
        json_string_value(json_object_get(json_object_get(stages, "concepts"), "key"));
    char text[256], key[65], path[PATH_LIMIT];
    cpt_sha256 h;
    cpt_status status = cpt_study_path(s, name, path, sizeof path, e);
    if (status) return status;
    int n = snprintf(text, sizeof text, "%s %s %d %d %d %d %d %d %d %llu %s", parent ? parent : "",
                     name, (int)o->method, (int)o->mode, (int)o->readout, (int)o->screen,
                     (int)o->ig_steps,
                     (int)o->hybrid_top, (int)o->hybrid_check, (unsigned long long)s->ctx->seed,
                     cpt_options_text(s->options, "space"));
    cpt_sha256_init(&h);
    cpt_sha256_add(&h, text, (size_t)n);
    cpt_sha256_hex(&h, key);
    status = cpt_pair_store_open(path, key, model->n_genes, out, e);
    if (status == CPT_OK && cpt_pair_store_size(*out))
        cpt_info(s->ctx, "%lld pairs are in %s and are not computed again",
                 (long long)cpt_pair_store_size(*out), name);
    return status;
}

static cpt_status open_stores(cpt_study *s, const cpt_model *model, cpt_attribution_options *o,
                              cpt_err *e)
{
    if (!model->ops->costly) return CPT_OK;
    cpt_status status = open_store(s, "cache/pairs_done.bin", model, o, &o->store, e);
    if (status) return status;
    return open_store(s, "cache/pairs_done_noise.bin", model, o, &o->noise_store, e);
}

static cpt_status settle(cpt_pair_store **store, cpt_err *e)
{
    cpt_pair_store *s = *store;
    *store = NULL;
    return cpt_pair_store_settle(s, e);
}

/* A results array over the model's genes -> the same over the universe, in place of the old one. */
static cpt_status to_universe(void *array, size_t size, int32_t n_concepts, int32_t n_model,
                              const cpt_universe *u, cpt_err *e)
{
    char *from, *to;
    memcpy(&from, array, sizeof from);
    if (!from) return CPT_OK;
    cpt_status status = cpt_alloc(&to, (size_t)n_concepts * (size_t)u->n, size, e);
    if (status) return status;
    for (int32_t c = 0; c < n_concepts; c++)
        for (int32_t j = 0; j < u->n; j++)
            memcpy(to + ((size_t)c * (size_t)u->n + (size_t)j) * size,
                   from + ((size_t)c * (size_t)n_model + (size_t)u->model_genes[j]) * size, size);
    free(from);
    memcpy(array, &to, sizeof to);
    return CPT_OK;
}

static cpt_status reduce_to_universe(cpt_attribution *a, const cpt_universe *u, cpt_err *e)
{
    int32_t f = a->n_concepts, g = a->n_genes;
    cpt_status status;
    CPT_TRY(to_universe(&a->mean, sizeof *a->mean, f, g, u, e));
    CPT_TRY(to_universe(&a->mean_other, sizeof *a->mean_other, f, g, u, e));
    CPT_TRY(to_universe(&a->sd, sizeof *a->sd, f, g, u, e));
    CPT_TRY(to_universe(&a->n, sizeof *a->n, f, g, u, e));
    CPT_TRY(to_universe(&a->same_sign, sizeof *a->same_sign, f, g, u, e));
    CPT_TRY(to_universe(&a->low, sizeof *a->low, f, g, u, e));
    CPT_TRY(to_universe(&a->high, sizeof *a->high, f, g, u, e));
    CPT_TRY(to_universe(&a->p, sizeof *a->p, f, g, u, e));
    CPT_TRY(to_universe(&a->q, sizeof *a->q, f, g, u, e));
    CPT_TRY(to_universe(&a->noise_mean, sizeof *a->noise_mean, a->n_noise_directions, g, u, e));
    CPT_TRY(to_universe(&a->noise_n, sizeof *a->noise_n, a->n_noise_directions, g, u, e));
    a->n_genes = u->n;
done:
    return status;
}

static cpt_status no_attribution(cpt_study *s, cpt_err *e)
{
    char path[PATH_LIMIT];
    cpt_status status = cpt_study_path(s, "cache/attribution", path, sizeof path, e);
    if (status == CPT_OK) status = cpt_remove_tree(path, e);
    if (status == CPT_OK) status = cpt_make_folder(path, e);
    if (status) return status;
    json_t *summary = json_pack("{s:b}", "present", 0);
    status = cpt_store_write_json(s, "cache/attribution/summary.json", summary, e);
    json_decref(summary);
    return status;
}

/* What the stage works on, whole or in pieces. */
typedef struct attribution_work {
    cpt_model *model;
    cpt_dictionary *dictionary;
    const cpt_counts *counts;
    const cpt_universe *universe;
    const float *embedding;
    int64_t n_cells;
    int32_t dim;
    cpt_pair_options pair_options;
    cpt_attribution_options options;
    cpt_pairs *pairs;
} attribution_work;

static void work_free(attribution_work *w)
{
    cpt_pair_store_close(w->options.store);
    cpt_pair_store_close(w->options.noise_store);
    cpt_pairs_free(w->pairs);
}

static cpt_status work_open(cpt_study *s, cpt_model *model, attribution_work *w, cpt_err *e)
{
    const cpt_activations *u;
    cpt_status status;
    w->model = model;
    CPT_TRY(cpt_study_activations(s, &u, e));
    CPT_TRY(cpt_study_embedding(s, &w->embedding, &w->n_cells, &w->dim, e));
    CPT_TRY(cpt_study_dictionary(s, &w->dictionary, e));
    CPT_TRY(cpt_study_counts(s, &w->counts, e));
    CPT_TRY(cpt_study_universe(s, &w->universe, e));
    CPT_TRY(cpt_study_pair_options(s, &w->pair_options, e));
    CPT_TRY(cpt_study_attribution_options(s, model, &w->options, e));
    status = cpt_pairs_find(u, w->embedding, w->dim, &w->pair_options, &w->pairs, s->ctx, e);
done:
    return status;
}

/* All pairs of `pairs`; genes of the universe. */
static cpt_status work_attribute(cpt_study *s, const attribution_work *w, const cpt_pairs *pairs,
                                 cpt_attribution **out, cpt_err *e)
{
    cpt_status status = cpt_attribute_all(w->model, w->dictionary, w->counts, pairs, &w->options,
                                          out, s->ctx, e);
    return status ? status : reduce_to_universe(*out, w->universe, e);
}

/* The noise floor, and everything to disk. */
static cpt_status work_finish(cpt_study *s, attribution_work *w, cpt_attribution *a, cpt_err *e)
{
    const int32_t n_directions = (int32_t)cpt_options_integer(s->options, "noise-directions");
    cpt_status status;
    if (n_directions > 0)
        CPT_TRY(cpt_attribution_noise(w->model, w->dictionary, w->counts, w->embedding, w->n_cells,
                                      n_directions, &w->pair_options, &w->options, a, s->ctx, e));
    CPT_TRY(cpt_store_attribution(s, w->pairs, a, e));
    CPT_TRY(settle(&w->options.store, e));
    status = settle(&w->options.noise_store, e);
done:
    return status;
}

cpt_status cpt_stage_attribution(cpt_study *s, cpt_err *e)
{
    attribution_work w = {NULL};
    cpt_model *model;
    cpt_attribution *a = NULL;
    cpt_status status = cpt_study_model(s, &model, e);
    if (status) return status;
    if (!cpt_model_has_counterfactuals(model)) return no_attribution(s, e);
    CPT_TRY(work_open(s, model, &w, e));
    CPT_TRY(open_stores(s, model, &w.options, e));
    CPT_TRY(work_attribute(s, &w, w.pairs, &a, e));
    status = work_finish(s, &w, a, e);
done:
    work_free(&w);
    cpt_attribution_free(a);
    return status;
}

/* ---- the same in pieces: a range of concepts each ---- */

/* A copy with the pairs of concepts [from, to) only; from == to: none. */
static cpt_status some_pairs(const cpt_pairs *all, int64_t from, int64_t to, cpt_pairs **out,
                             cpt_err *e)
{
    const size_t n_concepts = (size_t)all->n_concepts;
    cpt_pairs *p = NULL;
    cpt_status status;
    *out = NULL;
    CPT_TRY(cpt_alloc(&p, 1, sizeof *p, e));
    p->n_concepts = all->n_concepts;
    p->median_neighbour_distance = all->median_neighbour_distance;
    CPT_TRY(cpt_alloc(&p->first, n_concepts + 1, sizeof *p->first, e));
    CPT_TRY(cpt_alloc(&p->n_unmatched, n_concepts, sizeof *p->n_unmatched, e));
    CPT_TRY(cpt_alloc(&p->substitute_low, n_concepts, sizeof *p->substitute_low, e));
    const int64_t n = all->first[to] - all->first[from];
    CPT_TRY(cpt_alloc(&p->pairs, (size_t)n, sizeof *p->pairs, e));
    memcpy(p->pairs, all->pairs + all->first[from], (size_t)n * sizeof *p->pairs);
    for (int64_t c = 0; c < all->n_concepts; c++)
        p->first[c + 1] = p->first[c] + (c >= from && c < to ? all->first[c + 1] - all->first[c] : 0);
    *out = p;
done:
    if (status) cpt_pairs_free(p);
    return status;
}

cpt_status cpt_piece_attribution(cpt_study *s, cpt_shard shard, const char *folder, cpt_err *e)
{
    attribution_work w = {NULL};
    cpt_model *model;
    cpt_pairs *pairs = NULL;
    cpt_attribution *a = NULL;
    int64_t from, to;
    cpt_status status = cpt_study_model(s, &model, e);
    if (status) return status;
    if (!cpt_model_has_counterfactuals(model)) return CPT_OK; /* a piece of nothing */
    CPT_TRY(work_open(s, model, &w, e));
    cpt_shard_range(shard, w.pairs->n_concepts, &from, &to);
    CPT_TRY(some_pairs(w.pairs, from, to, &pairs, e));
    CPT_TRY(work_attribute(s, &w, pairs, &a, e));
    status = cpt_store_attribution_rows(folder, a, from, to, e);
done:
    cpt_pairs_free(pairs);
    cpt_attribution_free(a);
    work_free(&w);
    return status;
}

cpt_status cpt_join_attribution(cpt_study *s, const char *pieces, int32_t n, cpt_err *e)
{
    attribution_work w = {NULL};
    cpt_model *model;
    cpt_pairs *none = NULL;
    cpt_attribution *a = NULL;
    char folder[PATH_LIMIT];
    cpt_status status = cpt_study_model(s, &model, e);
    if (status) return status;
    if (!cpt_model_has_counterfactuals(model)) return no_attribution(s, e);
    CPT_TRY(work_open(s, model, &w, e));
    CPT_TRY(some_pairs(w.pairs, 0, 0, &none, e));
    CPT_TRY(work_attribute(s, &w, none, &a, e)); /* the arrays, not defined anywhere yet */
    for (int32_t i = 1; i <= n; i++) {
        int64_t from, to;
        cpt_shard_range((cpt_shard){i, n}, a->n_concepts, &from, &to);
        CPT_TRY(cpt_shard_folder(pieces, (cpt_shard){i, n}, folder, sizeof folder, e));
        CPT_TRY(cpt_load_attribution_rows(folder, a, from, to, e));
    }
    CPT_TRY(open_stores(s, model, &w.options, e));
    status = work_finish(s, &w, a, e);
done:
    cpt_pairs_free(none);
    cpt_attribution_free(a);
    work_free(&w);
    return status;
}

/* ---- expression ---- */

cpt_status cpt_stage_expression(cpt_study *s, cpt_err *e)
{
    const cpt_cells *cells;
    const cpt_activations *u;
    const cpt_universe *universe;
    double *totals = NULL;
    cpt_expression *x = NULL;
    cpt_status status;
    CPT_TRY(cpt_study_cells(s, &cells, e));
    CPT_TRY(cpt_study_activations(s, &u, e));
    CPT_TRY(cpt_study_universe(s, &universe, e));
    CPT_TRY(cpt_alloc(&totals, (size_t)cells->n_cells, sizeof *totals, e));
    cpt_cells_totals(cells, totals);
    bool wilcoxon = strcmp(cpt_options_text(s->options, "test"), "wilcoxon") == 0;
    CPT_TRY(cpt_expression_test_all(u, &cells->by_gene, universe->columns, universe->n, totals,
                                    cpt_options_number(s->options, "active-quantile"),
                                    wilcoxon ? CPT_TEST_WILCOXON : CPT_TEST_WELCH, &x, s->ctx, e));
    status = cpt_store_expression(s, x, e);
done:
    free(totals);
    cpt_expression_free(x);
    return status;
}

#include "base/each.h"
#include "base/memory.h"
#include "evaluate/activation_match.h"
#include "evaluate/stability.h"
#include "math/blas.h"
#include "trust/evaluate.h"
#include "study/prepare.h"
#include "study/store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* `stability`: would another seed have found the same concepts? Dictionaries are trained by the
 * study's own recipe on the same cells with other seeds, and matched with the study's and with each
 * other: by decoder rows and by activations. Nulls: random rows, rows with the embedding's
 * covariance, cells at random; for activations random dictionaries with the same k. */

enum { QUICK_SEEDS = 3, QUICK_CONCEPTS = 1024, MOST_DRAWS = 20 };
/* Cells that are encoded for the match of activations. */
enum { MOST_CELLS = 50000 };

typedef struct trained {
    int32_t n;
    cpt_dictionary **dictionaries; /* [n] 0 = the study's own, borrowed */
    cpt_activations **activations; /* [n] */
} trained;

static void trained_free(trained *t, bool with_first)
{
    for (int32_t i = 0; i < t->n; i++) {
        if (t->dictionaries && (i > 0 || with_first)) cpt_dictionary_free(t->dictionaries[i]);
        if (t->activations) cpt_activations_free(t->activations[i]);
    }
    free(t->dictionaries);
    free(t->activations);
}

static cpt_status trained_make(int32_t n, trained *t, cpt_err *e)
{
    cpt_status status;
    *t = (trained){.n = n};
    CPT_TRY(cpt_alloc(&t->dictionaries, (size_t)n, sizeof *t->dictionaries, e));
    status = cpt_alloc(&t->activations, (size_t)n, sizeof *t->activations, e);
done:
    return status;
}

/* What dictionaries are trained from, and those: first, first + 1 ... */
typedef struct source {
    const cpt_study *s;
    const cpt_dictionary_options *options;
    const float *a;
    int32_t dim;
    const cpt_split *split;
    int32_t first;
    trained *to;
    bool at_once;
} source;

/* The same options and cells, seed + i. */
static cpt_status train_one(void *data, int32_t item, cpt_err *e)
{
    const source *from = data;
    const int32_t i = from->first + item;
    cpt_dictionary_report report = {0};
    cpt_context ctx = *from->s->ctx;
    ctx.seed += (uint64_t)i;
    ctx.log = NULL; /* the study's own has said it all */
    if (from->at_once) {
        ctx.n_threads = 1;
        ctx.progress = NULL;
    }
    const cpt_split *split = from->split;
    const cpt_status status =
        cpt_dictionary_train(from->options, from->a, from->dim, split->n_train, split->train, split->n_validation,
                             split->validation, &from->to->dictionaries[i], &report, &ctx, e);
    cpt_dictionary_report_free(&report);
    return status;
}

/* The same bytes at once or one after the other. Steps on few inputs are too short to be shared among threads
 * (dictionary/sae_step.c); and of many dictionaries every thread can have its own. */
static cpt_status train_all(source *from, cpt_err *e)
{
    enum { FEW_INPUTS = 64 };
    const cpt_context *ctx = from->s->ctx;
    const int32_t n = from->to->n - from->first;
    const int n_threads = cpt_threads(ctx);
    from->at_once = n_threads > 1 && (from->dim <= FEW_INPUTS || n >= n_threads);
    cpt_blas_single_thread();
    return cpt_each(n, "dictionaries with other seeds", train_one, from, from->at_once ? n_threads : 1, ctx, e);
}

static cpt_status encode_all(cpt_study *s, const float *a, int64_t n, trained *t, cpt_err *e)
{
    cpt_status status = CPT_OK;
    for (int32_t i = 0; i < t->n && status == CPT_OK; i++)
        status = cpt_activations_encode(t->dictionaries[i], a, n, &t->activations[i], s->ctx, e);
    return status;
}

/* Every so-manieth cell: at most MOST_CELLS, from the whole data set. */
static cpt_status sample_cells(const float *a, int64_t n, int32_t dim, float **out, int64_t *n_out,
                               cpt_err *e)
{
    *n_out = n < MOST_CELLS ? n : MOST_CELLS;
    cpt_status status = cpt_alloc(out, (size_t)*n_out * (size_t)dim, sizeof **out, e);
    if (status) return status;
    for (int64_t i = 0; i < *n_out; i++)
        memcpy(*out + i * dim, a + i * n / *n_out * dim, (size_t)dim * sizeof **out);
    return CPT_OK;
}

/* ---- spreads over pairs ---- */

static json_t *spread_json(int32_t n, const double *values)
{
    double mean = 0, square = 0;
    for (int32_t i = 0; i < n; i++) mean += values[i] / n;
    for (int32_t i = 0; i < n; i++) square += (values[i] - mean) * (values[i] - mean);
    return cpt_json_mean_sd(n ? mean : NAN, n > 1 ? sqrt(square / (n - 1)) : NAN);
}

/* Four numbers of every pair, and per concept of the study the mean over its partners. */
typedef struct pairwise {
    int32_t n_pairs, n_concepts, n_partners;
    double *values[4]; /* [n_pairs] */
    double *
        by_concept; /* [n_concepts] mean over the pairs with the study's own; NaN = never matched */
} pairwise;

static void pairwise_free(pairwise *p)
{
    for (int k = 0; k < 4; k++) free(p->values[k]);
    free(p->by_concept);
}

static cpt_status pairwise_make(int32_t n, int32_t n_concepts, pairwise *p, cpt_err *e)
{
    cpt_status status;
    *p = (pairwise){.n_concepts = n_concepts, .n_partners = n - 1};
    for (int k = 0; k < 4; k++)
        CPT_TRY(cpt_alloc(&p->values[k], (size_t)n * (size_t)(n - 1) / 2, sizeof **p->values, e));
    status = cpt_alloc(&p->by_concept, (size_t)n_concepts, sizeof *p->by_concept, e);
done:
    return status;
}

static void add_pair(pairwise *p, double a, double b, double c, double d)
{
    const double values[4] = {a, b, c, d};
    for (int k = 0; k < 4; k++) p->values[k][p->n_pairs] = values[k];
    p->n_pairs++;
}

static void add_by_concept(pairwise *p, const double *scores)
{
    for (int32_t c = 0; c < p->n_concepts; c++)
        p->by_concept[c] += (isnan(scores[c]) ? 0 : scores[c]) / p->n_partners;
}

static json_t *pairwise_json(const pairwise *p, const char *const names[4])
{
    json_t *o = json_object();
    for (int k = 0; k < 4; k++)
        json_object_set_new(o, names[k], spread_json(p->n_pairs, p->values[k]));
    json_object_set_new(o, "n_pairs", json_integer(p->n_pairs));
    return o;
}

/* ---- decoders ---- */

static const char *const decoder_names[4] = {"cosine", "above_0.7", "above_0.9", "pw_mcc"};
static const char *const activation_names[4] = {"correlation", "above_0.5", "above_0.7",
                                                "above_0.9"};

static cpt_status match_decoders(cpt_study *s, const trained *t, pairwise *p, cpt_err *e)
{
    double *cosines;
    cpt_status status = cpt_alloc(&cosines, (size_t)p->n_concepts, sizeof *cosines, e);
    for (int32_t i = 0; i < t->n && status == CPT_OK; i++)
        for (int32_t j = i + 1; j < t->n && status == CPT_OK; j++) {
            const cpt_dictionary *x = t->dictionaries[i], *y = t->dictionaries[j];
            const cpt_rows a = {x->decoder, x->n_concepts}, b = {y->decoder, y->n_concepts};
            cpt_match m;
            status = cpt_match_rows(&a, &b, x->dim, NULL, i == 0 ? cosines : NULL, &m, s->ctx, e);
            if (status) break;
            add_pair(p, m.cosine, m.above_07, m.above_09, m.pw_mcc);
            if (i == 0) add_by_concept(p, cosines);
            cpt_progress(s->ctx, "stability: decoders", p->n_pairs, t->n * (t->n - 1) / 2.0, NULL);
        }
    free(cosines);
    return status;
}

static json_t *cpt_spread_json(cpt_spread s)
{
    return cpt_json_mean_sd(s.mean, s.sd);
}

static cpt_status decoder_nulls(cpt_study *s, const float *a, int32_t dim, const cpt_split *split,
                                const trained *t, double mean_cosine, json_t *to, cpt_err *e)
{
    static const char *const names[CPT_N_NULL_ROWS] = {"random_rows", "random_covariance",
                                                       "random_cells"};
    const int32_t f = t->dictionaries[0]->n_concepts, n_rows[2] = {f, f};
    const double cube = (double)f * f * f;
    float *rows = NULL;
    cpt_status status;
    int32_t n_draws = (int32_t)(2e8 / cube);
    n_draws = n_draws < 2 ? 2 : n_draws > MOST_DRAWS ? MOST_DRAWS : n_draws;
    CPT_TRY(cpt_alloc(&rows, (size_t)split->n_train * (size_t)dim, sizeof *rows, e));
    for (int64_t i = 0; i < split->n_train; i++)
        memcpy(rows + i * dim, a + split->train[i] * dim, (size_t)dim * sizeof *rows);
    for (int k = 0; k < CPT_N_NULL_ROWS; k++) {
        cpt_stability_null n;
        CPT_TRY(cpt_stability_null_of((cpt_null_rows)k, rows, split->n_train, dim, n_rows, n_draws,
                                      &n, s->ctx, e));
        const double z = n.cosine.sd > 0 ? (mean_cosine - n.cosine.mean) / n.cosine.sd : NAN;
        json_object_set_new(
            to, names[k],
            json_pack("{s:o, s:o, s:o, s:o, s:i, s:o, s:{s:o, s:o, s:o}}", "cosine",
                      cpt_spread_json(n.cosine), "above_0.7", cpt_spread_json(n.above_07),
                      "above_0.9", cpt_spread_json(n.above_09), "pw_mcc", cpt_spread_json(n.pw_mcc),
                      "n_draws", n_draws, "z", cpt_json_number(z), "row_cosine", "q5",
                      cpt_json_number(n.row_quantiles[0]), "q50",
                      cpt_json_number(n.row_quantiles[1]), "q95",
                      cpt_json_number(n.row_quantiles[2])));
    }
done:
    free(rows);
    return status;
}

static cpt_status decoders(cpt_study *s, const float *a, int32_t dim, const cpt_split *split,
                           const trained *t, json_t *to, cpt_err *e)
{
    pairwise p = {0};
    json_t *part, *nulls = json_object();
    cpt_status status;
    double mean = 0;
    CPT_TRY(pairwise_make(t->n, t->dictionaries[0]->n_concepts, &p, e));
    CPT_TRY(match_decoders(s, t, &p, e));
    for (int32_t i = 0; i < p.n_pairs; i++) mean += p.values[0][i] / p.n_pairs;
    CPT_TRY(decoder_nulls(s, a, dim, split, t, mean, nulls, e));
    part = pairwise_json(&p, decoder_names);
    json_object_set(part, "null", nulls);
    json_object_set_new(part, "by_concept", cpt_json_numbers(p.n_concepts, p.by_concept));
    json_object_set_new(to, "decoder", part);
done:
    json_decref(nulls);
    pairwise_free(&p);
    return status;
}

/* ---- activations ---- */

static cpt_status match_activations(cpt_study *s, const trained *t, pairwise *p, cpt_err *e)
{
    double *scores;
    cpt_status status = cpt_alloc(&scores, (size_t)p->n_concepts, sizeof *scores, e);
    for (int32_t i = 0; i < t->n && status == CPT_OK; i++)
        for (int32_t j = i + 1; j < t->n && status == CPT_OK; j++) {
            cpt_activation_match m;
            status = cpt_match_activations(&t->activations[i]->by_cell, &t->activations[j]->by_cell,
                                           NULL, i == 0 ? scores : NULL, &m, s->ctx, e);
            if (status) break;
            add_pair(p, m.correlation, m.above_05, m.above_07, m.above_09);
            if (i == 0) add_by_concept(p, scores);
            cpt_progress(s->ctx, "stability: activations", p->n_pairs, t->n * (t->n - 1) / 2.0,
                         NULL);
        }
    free(scores);
    return status;
}

/* Random dictionaries of the same size, k and cells: what competition for the k places gives alone.
 */
static cpt_status activation_null(cpt_study *s, const cpt_dictionary *like, const float *a,
                                  const float *sample, int64_t n, const cpt_split *split,
                                  int32_t n_dictionaries, json_t **out, cpt_err *e)
{
    trained t = {0};
    pairwise p = {0};
    cpt_dictionary_options o;
    cpt_status status;
    cpt_dictionary_options_init(&o);
    o.kind = "random";
    o.n_concepts = like->n_concepts;
    o.k = like->max_active < like->n_concepts ? like->max_active : like->n_concepts;
    CPT_TRY(trained_make(n_dictionaries, &t, e));
    CPT_TRY(train_all(&(source){s, &o, a, like->dim, split, 0, &t, false}, e));
    CPT_TRY(encode_all(s, sample, n, &t, e));
    CPT_TRY(pairwise_make(t.n, like->n_concepts, &p, e));
    CPT_TRY(match_activations(s, &t, &p, e));
    *out = pairwise_json(&p, activation_names);
    json_object_set_new(*out, "what", json_string("random dictionaries of the same size and k"));
done:
    pairwise_free(&p);
    trained_free(&t, true);
    return status;
}

static cpt_status activations(cpt_study *s, const float *a, int64_t n, const cpt_split *split,
                              trained *t, json_t *to, cpt_err *e)
{
    pairwise p = {0};
    float *sample = NULL;
    json_t *part, *null = NULL;
    cpt_status status;
    CPT_TRY(sample_cells(a, n, t->dictionaries[0]->dim, &sample, &n, e));
    CPT_TRY(encode_all(s, sample, n, t, e));
    CPT_TRY(pairwise_make(t->n, t->dictionaries[0]->n_concepts, &p, e));
    CPT_TRY(match_activations(s, t, &p, e));
    CPT_TRY(activation_null(s, t->dictionaries[0], a, sample, n, split, t->n, &null, e));
    part = pairwise_json(&p, activation_names);
    json_object_set_new(part, "null", null);
    json_object_set_new(part, "n_cells", json_integer((json_int_t)t->activations[0]->n_cells));
    json_object_set_new(part, "by_concept", cpt_json_numbers(p.n_concepts, p.by_concept));
    json_object_set_new(to, "activation", part);
done:
    free(sample);
    pairwise_free(&p);
    return status;
}

/* ---- all ---- */

/* Kinds that a seed does not change, or that cannot be trained again, with the reason. */
static const char *not_trainable(const cpt_study *s, const cpt_dictionary *d)
{
    static const char *const kinds[] = {"topk", "batchtopk", "matryoshka", "ica", "nmf", "random"};
    const char *kind = cpt_options_text(s->options, "dictionary");
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kind, kinds[i]) == 0) return NULL;
    if (strcmp(d->ops->kind, "pca") == 0 || strcmp(d->ops->kind, "neurons") == 0)
        return "this kind of dictionary does not depend on a seed";
    return "the dictionary was given as a folder: how it was trained is not known";
}

static cpt_status stability(cpt_study *s, json_t **out, cpt_err *e)
{
    const float *a;
    int64_t n;
    int32_t dim;
    const cpt_column *donor;
    const bool full = cpt_evaluation_in_full(s);
    cpt_split split = {0};
    trained t = {0};
    cpt_dictionary *own;
    cpt_dictionary_options o;
    json_t *to = json_object();
    cpt_status status;
    int32_t n_seeds = (int32_t)cpt_options_integer(s->options, "seeds");
    CPT_TRY(cpt_study_embedding(s, &a, &n, &dim, e));
    CPT_TRY(cpt_study_dictionary(s, &own, e));
    CPT_TRY(cpt_study_column(s, "donor", &donor, e));
    const char *why = n_seeds < 2 ? "one seed (--seeds 1)" : not_trainable(s, own);
    if (!why && !full && own->n_concepts > QUICK_CONCEPTS)
        why = "more than 1,024 concepts: `conceptome evaluate STUDY` computes it";
    if (why) {
        status = cpt_fail(e, CPT_ERR_DATA, "%s", why);
        goto done;
    }
    if (!full && n_seeds > QUICK_SEEDS) n_seeds = QUICK_SEEDS;
    CPT_TRY(cpt_split_make(a, n, dim, donor, cpt_options_number(s->options, "validation"),
                           s->ctx->seed, &split, e));
    cpt_prepare_dictionary_options(s->options, &o);
    CPT_TRY(trained_make(n_seeds, &t, e));
    t.dictionaries[0] = own;
    CPT_TRY(train_all(&(source){s, &o, a, dim, &split, 1, &t, false}, e));
    CPT_TRY(decoders(s, a, dim, &split, &t, to, e));
    CPT_TRY(activations(s, a, n, &split, &t, to, e));
    json_object_set_new(to, "n_seeds", json_integer(n_seeds));
    json_object_set_new(to, "n_concepts", json_integer(own->n_concepts));
    json_object_set_new(
        to, "effort", json_pack("{s:s, s:i}", "level", full ? "full" : "quick", "seeds", n_seeds));
    json_object_set_new(
        to, "rule",
        json_string(
            "dictionaries trained with seed, seed + 1, ... by the same recipe on the same cells, "
            "matched one to one in all pairs by the cosine of decoder rows (pw_mcc: |cosine|) and "
            "by "
            "the correlation of activations; mean and sd over pairs, which share dictionaries; "
            "by_concept: mean over the pairs with the study's own dictionary; null: pairs of "
            "dictionaries of random unit rows, of rows with the embedding's covariance, of cells "
            "at "
            "random; z: (mean - null mean) / null sd"));
    *out = json_incref(to);
done:
    json_decref(to);
    cpt_split_free(&split);
    trained_free(&t, false);
    return status;
}

cpt_status cpt_stage_stability(cpt_study *s, cpt_err *e)
{
    return cpt_evaluation_part(s, "stability", stability, e);
}

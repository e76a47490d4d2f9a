/* train.c - from options to a trained dictionary and its report, for every kind.
 *
 * To add a kind: a line in the table below. Scores are taken here, the same way for all. */
#include "dictionary/lowrank.h"
#include "dictionary/sae.h"
#include "dictionary/train.h"

#include "base/memory.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *kind;
    cpt_trainer_fn *train;
} trainers[] = {
    {CPT_SAE_TOPK, cpt_train_sae},
    {CPT_SAE_BATCHTOPK, cpt_train_sae},
    {CPT_SAE_MATRYOSHKA, cpt_train_sae},
    {"pca", cpt_train_pca},
    {"ica", cpt_train_ica},
    {"nmf", cpt_train_nmf},
    {"neurons", cpt_train_neurons},
    {CPT_SAE_RANDOM, cpt_train_random},
};
enum { N_TRAINERS = sizeof trainers / sizeof *trainers };

/* Above this many concepts the weights alone pass a gigabyte at 128 dimensions. */
enum { MAX_CONCEPTS = 1 << 20, MIN_STEPS = 5000, MIN_EPOCHS = 20, MIN_BATCH = 32 };

const char *cpt_dictionary_kind(int i)
{
    return i >= 0 && i < N_TRAINERS ? trainers[i].kind : NULL;
}

static cpt_trainer_fn *trainer_of(const char *kind)
{
    for (int i = 0; i < N_TRAINERS; i++)
        if (strcmp(trainers[i].kind, kind) == 0) return trainers[i].train;
    return NULL;
}

bool cpt_dictionary_is_kind(const char *name)
{
    return trainer_of(name) != NULL;
}

void cpt_dictionary_kinds_text(char *out, size_t capacity)
{
    size_t length = 0;
    if (capacity) *out = '\0';
    for (int i = 0; i < N_TRAINERS && length < capacity; i++)
        length += (size_t)snprintf(out + length, capacity - length, "%s%s", i ? ", " : "",
                                   trainers[i].kind);
}

static cpt_trainer_fn *find_trainer(const char *kind, cpt_err *e)
{
    cpt_trainer_fn *trainer = trainer_of(kind);
    const char *names[N_TRAINERS];
    char all[128];
    if (trainer) return trainer;
    for (int i = 0; i < N_TRAINERS; i++) names[i] = trainers[i].kind;
    const char *near = cpt_nearest_word(kind, names, N_TRAINERS);
    cpt_dictionary_kinds_text(all, sizeof all);
    cpt_fail(e, CPT_ERR_USAGE, "dictionary kind '%s' is not known%s%s; kinds: %s", kind,
             near ? "; did you mean " : "", near ? near : "", all);
    return NULL;
}

static int32_t default_k(int32_t dim)
{
    int32_t k = dim >= 256 ? 32 : dim <= 64 ? 8 : 16;
    int32_t half = dim / 2 > 1 ? dim / 2 : 1;
    return k < half ? k : half;
}

static cpt_status resolve_sizes(cpt_dictionary_options *o, int32_t dim, cpt_err *e)
{
    /* Small embeddings: 4, measured (doc/dictionary-calibration.md, bench/RESULTS.md). */
    if (o->expansion == 0) o->expansion = dim >= 256 ? 8 : dim > 64 ? 16 : 4;
    if (o->n_concepts == 0) {
        if ((int64_t)o->expansion * dim > MAX_CONCEPTS)
            return cpt_fail(e, CPT_ERR_USAGE,
                            "expansion %d times %d dimensions is more than the limit of %d concepts; "
                            "lower --expansion",
                            o->expansion, dim, MAX_CONCEPTS);
        o->n_concepts = o->expansion * dim;
    }
    if (o->n_concepts > MAX_CONCEPTS)
        return cpt_fail(e, CPT_ERR_USAGE, "%d concepts are more than the limit of %d; lower --concepts",
                        o->n_concepts, MAX_CONCEPTS);
    if (o->k == 0) {
        o->k = default_k(dim);
        if (o->k > o->n_concepts) o->k = o->n_concepts;
    }
    if (o->k > o->n_concepts)
        return cpt_fail(e, CPT_ERR_USAGE, "k = %d active concepts of only %d; lower --k or raise "
                        "--concepts", o->k, o->n_concepts);
    return CPT_OK;
}

cpt_status cpt_dictionary_resolve(const cpt_dictionary_options *o, int32_t dim, int64_t n_train,
                                  cpt_dictionary_options *out, cpt_err *e)
{
    *out = *o;
    if (!out->kind) out->kind = "topk";
    if (dim < 1) return cpt_fail(e, CPT_ERR_DATA, "the embedding has no dimensions");
    if (n_train < 1) return cpt_fail(e, CPT_ERR_DATA, "there are no cells to train a dictionary on");
    if (o->expansion < 0 || o->n_concepts < 0 || o->k < 0 || o->epochs < 0 || o->batch < 0 ||
        !(o->learning_rate >= 0) || isinf(o->learning_rate))
        return cpt_fail(e, CPT_ERR_USAGE,
                        "dictionary options must not be negative (0 = default): expansion %d, concepts "
                        "%d, k %d, epochs %d, batch %d, learning rate %g",
                        o->expansion, o->n_concepts, o->k, o->epochs, o->batch, o->learning_rate);
    if (out->groups && *out->groups && strcmp(out->kind, CPT_SAE_MATRYOSHKA) != 0)
        return cpt_fail(e, CPT_ERR_USAGE,
                        "--groups is for dictionary matryoshka; %s has no groups of concepts", out->kind);
    if (cpt_lowrank_is(out->kind)) return cpt_lowrank_resolve(out, dim, n_train, e);
    cpt_status status = resolve_sizes(out, dim, e);
    if (status != CPT_OK) return status;
    if (out->batch == 0) {
        int64_t eighth = n_train / 8 > MIN_BATCH ? n_train / 8 : MIN_BATCH;
        out->batch = (int32_t)(eighth < 4096 ? eighth : 4096);
    }
    if (out->batch > n_train) out->batch = (int32_t)n_train;
    if (out->epochs == 0) {
        int64_t per_epoch = n_train / out->batch;
        int64_t epochs = (MIN_STEPS + per_epoch - 1) / per_epoch;
        out->epochs = (int32_t)(epochs > MIN_EPOCHS ? epochs : MIN_EPOCHS);
    }
    return CPT_OK;
}

cpt_status cpt_training_means(const cpt_training_rows *t, double *means, cpt_err *e)
{
    for (int32_t j = 0; j < t->dim; j++) means[j] = 0;
    for (int64_t i = 0; i < t->n; i++) {
        const float *x = cpt_training_row(t, i);
        for (int32_t j = 0; j < t->dim; j++) means[j] += x[j];
    }
    for (int32_t j = 0; j < t->dim; j++) means[j] /= (double)t->n;
    return CPT_OK;
}

static cpt_status check_finite(const cpt_training_rows *t, const char *what, cpt_err *e)
{
    for (int64_t i = 0; i < t->n; i++) {
        const float *x = cpt_training_row(t, i);
        for (int32_t j = 0; j < t->dim; j++)
            if (!isfinite(x[j]))
                return cpt_fail(e, CPT_ERR_DATA,
                                "the embedding of %s cell %lld (row %lld, counted from 0) is not finite "
                                "at coordinate %d; remove the cell or embed it again",
                                what, (long long)i, (long long)(t->rows ? t->rows[i] : i), j);
    }
    return CPT_OK;
}

/* R2 on `rows` of predicting `means` for everyone, and gamma of the training rows. */
static void baselines(const cpt_training_rows *train, const cpt_training_rows *validation,
                      const double *means, double *own, cpt_dictionary_report *r, cpt_err *e)
{
    const int32_t dim = train->dim;
    double mean2 = 0, var = 0;
    for (int64_t i = 0; i < train->n; i++) {
        const float *x = cpt_training_row(train, i);
        for (int32_t j = 0; j < dim; j++) var += (x[j] - means[j]) * (x[j] - means[j]);
    }
    for (int32_t j = 0; j < dim; j++) mean2 += means[j] * means[j];
    r->gamma = var > 0 ? sqrt(mean2 / (var / (double)train->n)) : INFINITY;

    r->mean_baseline_feature = r->mean_baseline_scalar = NAN;
    if (validation->n == 0) return;
    cpt_training_means(validation, own, e);
    double scalar = 0, error = 0, around_feature = 0, around_scalar = 0;
    for (int32_t j = 0; j < dim; j++) scalar += own[j] / dim;
    for (int64_t i = 0; i < validation->n; i++) {
        const float *x = cpt_training_row(validation, i);
        for (int32_t j = 0; j < dim; j++) {
            error += (x[j] - means[j]) * (x[j] - means[j]);
            around_feature += (x[j] - own[j]) * (x[j] - own[j]);
            around_scalar += (x[j] - scalar) * (x[j] - scalar);
        }
    }
    if (around_feature > 0) r->mean_baseline_feature = 1 - error / around_feature;
    if (around_scalar > 0) r->mean_baseline_scalar = 1 - error / around_scalar;
}

static cpt_status fill_baselines(const cpt_training_rows *train, const cpt_training_rows *validation,
                                 cpt_dictionary_report *report, const cpt_context *ctx, cpt_err *e)
{
    cpt_status status = CPT_OK;
    double *means = NULL;
    CPT_TRY(cpt_alloc(&means, 2 * (size_t)train->dim, sizeof *means, e));
    CPT_TRY(cpt_training_means(train, means, e));
    baselines(train, validation, means, means + train->dim, report, e);
    cpt_info(ctx, "gamma (norm of the mean over norm of the spread) %.3g; predicting the mean scores "
             "R2 %.4f per feature, %.4f around one scalar mean",
             report->gamma, report->mean_baseline_feature, report->mean_baseline_scalar);
done:
    free(means);
    return status;
}

cpt_status cpt_dictionary_train(const cpt_dictionary_options *o, const float *a, int32_t dim,
                                int64_t n_train, const int64_t *train, int64_t n_validation,
                                const int64_t *validation, cpt_dictionary **out,
                                cpt_dictionary_report *report, const cpt_context *ctx, cpt_err *e)
{
    cpt_status status = CPT_OK;
    cpt_dictionary_options resolved;
    *out = NULL;
    *report = (cpt_dictionary_report){0};
    cpt_training_rows train_rows = {a, dim, n_train, train};
    cpt_training_rows validation_rows = {a, dim, n_validation, validation};
    CPT_TRY(cpt_dictionary_resolve(o, dim, n_train, &resolved, e));
    cpt_trainer_fn *trainer = find_trainer(resolved.kind, e);
    if (!trainer) {
        status = CPT_ERR_USAGE;
        goto done;
    }
    CPT_TRY(check_finite(&train_rows, "training", e));
    CPT_TRY(check_finite(&validation_rows, "validation", e));
    CPT_TRY(fill_baselines(&train_rows, &validation_rows, report, ctx, e));
    CPT_TRY(trainer(&resolved, &train_rows, out, report, ctx, e));
    CPT_TRY(cpt_text_status(&report->log, e));
    CPT_TRY(cpt_reconstruction_score(*out, a, n_train, train, NULL, &report->train, ctx, e));
    CPT_TRY(cpt_reconstruction_score(*out, a, n_validation, validation, NULL, &report->validation, ctx,
                                     e));
done:
    if (status != CPT_OK) {
        cpt_dictionary_free(*out);
        *out = NULL;
        cpt_dictionary_report_free(report);
        *report = (cpt_dictionary_report){0};
    }
    return status;
}

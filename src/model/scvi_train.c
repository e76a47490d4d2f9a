/* Training of scVI: split, epochs, KL warm-up, early stopping (models.md 6.1-6.4).
 *
 * Everything random is drawn from streams keyed by the seed and by what it is for: the split, the
 * order of an epoch (item = epoch), the latent noise and the dropout of a step (item = step).
 * Hence the same seed gives the same model for any number of threads; scvi-tools' own random
 * numbers are not reproduced. Cells without any count have no likelihood and take no part.
 *
 * Time per epoch is that of the steps (scvi_stepper.h): about n_cells / 128 of them. */
#include "model/scvi_network.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"

void cpt_scvi_options_init(cpt_scvi_options *o)
{
    *o = (cpt_scvi_options){.n_hidden = 128,
                            .n_latent = 10,
                            .n_layers = 1,
                            .dropout = 0.1,
                            .likelihood = CPT_SCVI_ZINB,
                            .kl_warmup = 400,
                            .batch_size = 128,
                            .learning_rate = 1e-3,
                            .weight_decay = 1e-6,
                            .adam_eps = 0.01,
                            .patience = 45,
                            .train_size = 0.9};
}

void cpt_scvi_history_free(cpt_scvi_history *h)
{
    free(h->epochs);
    *h = (cpt_scvi_history){0};
}

int32_t cpt_scvi_default_epochs(int64_t n_cells)
{
    double epochs = n_cells > 0 ? rint(20000.0 / (double)n_cells * 400) : 400; /* halves to even */
    return (int32_t)fmax(1, fmin(epochs, 400));
}

void cpt_scvi_split_sizes(int64_t n_cells, double train_size, int32_t batch_size, int64_t *n_train,
                          int64_t *n_validation)
{
    int64_t n = (int64_t)ceil(train_size * (double)n_cells);
    if (n > n_cells) n = n_cells;
    if (n % batch_size == 1 || n % batch_size == 2) n -= n % batch_size;
    *n_train = n;
    *n_validation = n_cells - n;
}

/* ---- options ---- */

static cpt_status check_numbers(const cpt_scvi_options *o, cpt_err *e)
{
    if (o->n_hidden < 1 || o->n_latent < 1 || o->n_layers < 1 || o->n_layers > SCVI_MAX_LAYERS)
        return cpt_fail(
            e, CPT_ERR_USAGE,
            "scVI needs at least one hidden unit, latent dimension and layer (at most %d "
            "layers); got %d, %d, %d",
            SCVI_MAX_LAYERS, o->n_hidden, o->n_latent, o->n_layers);
    if (!(o->dropout >= 0 && o->dropout < 1))
        return cpt_fail(e, CPT_ERR_USAGE, "dropout %g is not in [0, 1)", o->dropout);
    if (o->batch_size < 3)
        return cpt_fail(e, CPT_ERR_USAGE,
                        "batch size %d: batch normalisation needs at least 3 cells", o->batch_size);
    if (!(o->learning_rate > 0) || !(o->weight_decay >= 0) || !(o->adam_eps > 0))
        return cpt_fail(e, CPT_ERR_USAGE,
                        "learning rate %g, weight decay %g, eps %g: must be > 0, >= 0, > 0",
                        o->learning_rate, o->weight_decay, o->adam_eps);
    if (!(o->train_size > 0 && o->train_size <= 1))
        return cpt_fail(e, CPT_ERR_USAGE, "train size %g is not in (0, 1]", o->train_size);
    if (o->n_epochs < 0 || o->kl_warmup < -1 || o->patience < 1)
        return cpt_fail(e, CPT_ERR_USAGE, "%d epochs, warm-up %d, patience %d cannot be",
                        o->n_epochs, o->kl_warmup, o->patience);
    return CPT_OK;
}

static cpt_status check_options(const cpt_counts *counts, const cpt_strings *genes,
                                const cpt_scvi_options *o, cpt_err *e)
{
    cpt_status status = check_numbers(o, e);
    if (status) return status;
    if (genes->n != counts->n_genes)
        return cpt_fail(e, CPT_ERR_USAGE, "%lld gene names for %d genes", (long long)genes->n,
                        counts->n_genes);
    if (o->n_batches <= 1) return CPT_OK;
    if (!o->batch_codes) return cpt_fail(e, CPT_ERR_USAGE, "%d batches but no codes", o->n_batches);
    if (o->batch_names && o->batch_names->n != o->n_batches)
        return cpt_fail(e, CPT_ERR_USAGE, "%lld batch names for %d batches",
                        (long long)o->batch_names->n, o->n_batches);
    for (int64_t i = 0; i < counts->csr->n_rows; i++)
        if (o->batch_codes[i] < 0 || o->batch_codes[i] >= o->n_batches)
            return cpt_fail(e, CPT_ERR_DATA,
                            "cell %lld has no batch (code %d of %d); fill in the column or leave "
                            "the cell out", (long long)i, o->batch_codes[i], o->n_batches);
    return CPT_OK;
}

/* ---- one run ---- */

typedef struct trainer {
    const cpt_counts *counts;
    const cpt_scvi_options *options;
    const cpt_context *ctx;
    cpt_scvi *model;
    scvi_stepper *stepper;
    cpt_scvi_history *history;
    int64_t *cells; /* validation first, then training */
    int64_t *order; /* [n_train] of the epoch */
    float *latent, *dropout; /* noise of a step */
    int64_t n_steps;
    int32_t n_epochs, warmup;
} trainer;

static bool is_empty(const cpt_counts *c, int64_t row, int32_t *genes, float *values)
{
    int32_t n = cpt_counts_row(c, row, genes, values);
    double sum = 0;
    for (int32_t i = 0; i < n; i++) sum += values[i];
    return !(sum > 0);
}

/* Lists the cells that have counts, shuffles, and cuts the list in two. */
static cpt_status split(trainer *t, cpt_err *e)
{
    const int64_t n_cells = t->counts->csr->n_rows;
    int32_t *genes = NULL;
    float *values = NULL;
    int64_t n = 0;
    cpt_stream s;
    cpt_status status;
    CPT_TRY(cpt_alloc(&genes, (size_t)t->counts->n_genes, sizeof *genes, e));
    CPT_TRY(cpt_alloc(&values, (size_t)t->counts->n_genes, sizeof *values, e));
    CPT_TRY(cpt_alloc(&t->cells, (size_t)n_cells, sizeof *t->cells, e));
    CPT_TRY(cpt_alloc(&t->order, (size_t)n_cells, sizeof *t->order, e));
    for (int64_t i = 0; i < n_cells; i++)
        if (!is_empty(t->counts, i, genes, values)) t->cells[n++] = i;
    cpt_scvi_split_sizes(n, t->options->train_size, t->options->batch_size, &t->history->n_train,
                         &t->history->n_validation);
    t->history->n_empty = n_cells - n;
    if (t->history->n_train < 3)
        CPT_TRY(cpt_fail(e, CPT_ERR_DATA,
                         "%lld cells with counts are too few to train scVI; at least "
                         "4 are needed",
                         (long long)n));
    if (t->options->early_stopping && t->history->n_validation < 1)
        CPT_TRY(cpt_fail(e, CPT_ERR_USAGE, "early stopping needs validation cells; lower the train "
                         "size below %g", t->options->train_size));
    cpt_stream_init(&s, t->options->seed, CPT_RANDOM_SPLIT, 0);
    cpt_stream_shuffle_i64(&s, t->cells, n);
done:
    free(genes);
    free(values);
    return status;
}

static double kl_weight(const trainer *t, int32_t epoch)
{
    return t->warmup > 0 && epoch < t->warmup ? (double)epoch / t->warmup : 1;
}

static cpt_status train_epoch(trainer *t, cpt_scvi_epoch *epoch, cpt_err *e)
{
    const int64_t n_train = t->history->n_train;
    const int32_t size = t->options->batch_size;
    const int n_threads = cpt_threads(t->ctx);
    scvi_losses sum = {0, 0}, losses;
    cpt_stream s;
    memcpy(t->order, t->cells + t->history->n_validation, sizeof *t->order * (size_t)n_train);
    cpt_stream_init(&s, t->options->seed, CPT_RANDOM_SCVI_SHUFFLE, (uint64_t)epoch->epoch);
    cpt_stream_shuffle_i64(&s, t->order, n_train);
    for (int64_t first = 0; first < n_train; first += size, t->n_steps++) {
        int32_t n = (int32_t)(n_train - first < size ? n_train - first : size);
        scvi_noise noise = {t->latent, t->options->dropout > 0 ? t->dropout : NULL};
        cpt_status status = cpt_check_stop(t->ctx, e);
        if (!status)
            status = scvi_stepper_load(t->stepper, t->counts, n, t->order + first, t->ctx, e);
        if (status) return status;
        scvi_noise_draw(t->options, n, (uint64_t)t->n_steps, t->latent, noise.dropout ? t->dropout : NULL, n_threads);
        scvi_stepper_step(t->stepper, &noise, epoch->kl_weight, &losses, n_threads);
        sum.reconstruction += losses.reconstruction;
        sum.kl += losses.kl;
    }
    epoch->reconstruction_train = sum.reconstruction / (double)n_train;
    epoch->kl_train = sum.kl / (double)n_train;
    epoch->elbo_train = epoch->reconstruction_train + epoch->kl_train;
    epoch->loss = epoch->reconstruction_train + epoch->kl_weight * epoch->kl_train;
    if (!isfinite(epoch->loss))
        return cpt_fail(e, CPT_ERR_DATA,
                        "scVI's loss is not finite in epoch %d; lower the learning "
                        "rate (%g)",
                        epoch->epoch, t->options->learning_rate);
    return CPT_OK;
}

/* Noise of validation must not meet that of a step: its items count down from the top. */
static cpt_status validate_epoch(trainer *t, cpt_scvi_epoch *epoch, cpt_err *e)
{
    const int64_t n_validation = t->history->n_validation;
    const int32_t size = t->options->batch_size;
    const scvi_noise noise = {t->latent, NULL};
    scvi_losses sum = {0, 0}, losses;
    scvi_derive(t->model);
    for (int64_t first = 0, block = 0; first < n_validation; first += size, block++) {
        int32_t n = (int32_t)(n_validation - first < size ? n_validation - first : size);
        cpt_status status = cpt_check_stop(t->ctx, e);
        if (!status)
            status = scvi_stepper_load(t->stepper, t->counts, n, t->cells + first, t->ctx, e);
        if (status) return status;
        scvi_noise_draw(t->options, n, ~(((uint64_t)epoch->epoch << 32) + (uint64_t)block), t->latent, NULL, 1);
        scvi_stepper_evaluate(t->stepper, &noise, &losses, NULL, NULL, cpt_threads(t->ctx));
        sum.reconstruction += losses.reconstruction;
        sum.kl += losses.kl;
    }
    epoch->reconstruction_validation = sum.reconstruction / (double)n_validation;
    epoch->kl_validation = sum.kl / (double)n_validation;
    epoch->elbo_validation = epoch->reconstruction_validation + epoch->kl_validation;
    return CPT_OK;
}

static void report(const trainer *t, const cpt_scvi_epoch *epoch)
{
    char note[96];
    if (isnan(epoch->elbo_validation))
        snprintf(note, sizeof note, "loss %.2f", epoch->loss);
    else
        snprintf(note, sizeof note, "loss %.2f, validation ELBO %.2f", epoch->loss,
                 epoch->elbo_validation);
    cpt_progress(t->ctx, "training scVI", epoch->epoch + 1, t->n_epochs, note);
}

static cpt_status run_epochs(trainer *t, cpt_err *e)
{
    cpt_scvi_history *h = t->history;
    const bool validate =
        (t->options->validate || t->options->early_stopping) && h->n_validation > 0;
    double best = INFINITY;
    int32_t waited = 0;
    for (int32_t i = 0; i < t->n_epochs; i++) {
        cpt_scvi_epoch epoch = {.epoch = i, .kl_weight = kl_weight(t, i), .elbo_validation = NAN,
                                .reconstruction_validation = NAN, .kl_validation = NAN};
        cpt_status status =
            cpt_grow(&h->epochs, &h->capacity, (size_t)h->n + 1, sizeof *h->epochs, e);
        if (!status) status = train_epoch(t, &epoch, e);
        if (!status && validate) status = validate_epoch(t, &epoch, e);
        if (status) return status;
        h->epochs[h->n++] = epoch;
        report(t, &epoch);
        waited = epoch.elbo_validation < best ? 0 : waited + 1;
        best = fmin(best, epoch.elbo_validation);
        h->stopped_early = t->options->early_stopping && waited >= t->options->patience;
        if (h->stopped_early) break;
    }
    return CPT_OK;
}

static cpt_status copy_strings(cpt_strings *to, const cpt_strings *from, cpt_err *e)
{
    cpt_status status = CPT_OK;
    for (int64_t i = 0; !status && i < from->n; i++) {
        const char *text = cpt_strings_get(from, i);
        status = cpt_strings_add(to, text, strlen(text), e);
    }
    return status;
}

static cpt_status name_batches(cpt_scvi *m, const cpt_scvi_options *o, cpt_err *e)
{
    char text[16];
    if (m->n_batches < 2) return CPT_OK;
    cpt_text_add(&m->batch_key, o->batch_key ? o->batch_key : "batch");
    cpt_status status = cpt_text_status(&m->batch_key, e);
    if (o->batch_names) return status ? status : copy_strings(&m->batch_names, o->batch_names, e);
    for (int32_t i = 0; !status && i < o->n_batches; i++) {
        int n = snprintf(text, sizeof text, "%d", i);
        status = cpt_strings_add(&m->batch_names, text, (size_t)n, e);
    }
    return status;
}

static cpt_status new_model(trainer *t, const cpt_strings *gene_names, cpt_err *e)
{
    const cpt_scvi_options *o = t->options;
    const int32_t n_batches = o->n_batches > 1 ? o->n_batches : 0;
    const scvi_shape shape = {.n_genes = t->counts->n_genes, .n_hidden = o->n_hidden,
                              .n_latent = o->n_latent, .n_layers = o->n_layers,
                              .n_covariates = n_batches, .deep = true, .encoder_norm = true,
                              .decoder_norm = true, .has_px_r = true, .log_input = true,
                              .zero_inflated = o->likelihood == CPT_SCVI_ZINB};
    cpt_status status = scvi_new(&shape, &t->model, e);
    if (status) return status;
    t->model->n_batches = n_batches;
    t->model->dropout = o->dropout;
    status = copy_strings(&t->model->base.gene_names, gene_names, e);
    if (!status) status = name_batches(t->model, o, e);
    scvi_initialise(t->model, o->seed);
    return status;
}

static void say_plan(const trainer *t)
{
    const double last = kl_weight(t, t->n_epochs - 1);
    cpt_info(t->ctx, "scVI: %lld cells to train on, %lld for validation, %d genes, %d epochs",
             (long long)t->history->n_train, (long long)t->history->n_validation,
             t->counts->n_genes, t->n_epochs);
    if (t->history->n_empty > 0)
        cpt_warn(t->ctx, "scVI: %lld cells have no counts in the model's genes and take no part in "
                 "training", (long long)t->history->n_empty);
    if (last < 0.95)
        cpt_info(t->ctx,
                 "scVI: the weight of the KL term ends at %.2g, because it rises over %d epochs "
                 "(scvi-tools' rule) and there are %d; --kl-warmup 0 lets it rise within the run",
                 last, t->warmup, t->n_epochs);
}

cpt_status cpt_scvi_train(const cpt_counts *counts, const cpt_strings *gene_names,
                          const cpt_scvi_options *options, cpt_model **out,
                          cpt_scvi_history *history, const cpt_context *ctx, cpt_err *e)
{
    cpt_scvi_history own = {0};
    trainer t = {
        .counts = counts, .options = options, .ctx = ctx, .history = history ? history : &own};
    const size_t batch = (size_t)options->batch_size;
    cpt_status status;
    *out = NULL;
    *t.history = (cpt_scvi_history){0};
    CPT_TRY(check_options(counts, gene_names, options, e));
    CPT_TRY(split(&t, e));
    t.n_epochs =
        options->n_epochs ? options->n_epochs : cpt_scvi_default_epochs(counts->csr->n_rows);
    t.warmup = options->kl_warmup ? options->kl_warmup : t.n_epochs;
    say_plan(&t);
    CPT_TRY(new_model(&t, gene_names, e));
    CPT_TRY(scvi_stepper_new(t.model, options, &t.stepper, e));
    CPT_TRY(cpt_alloc(&t.latent, batch * (size_t)options->n_latent, sizeof(float), e));
    CPT_TRY(cpt_alloc(&t.dropout, batch * (size_t)options->n_hidden * (size_t)options->n_layers,
                      sizeof(float), e));
    CPT_TRY(run_epochs(&t, e));
    CPT_TRY(scvi_finish(t.model, e));
    *out = &t.model->base;
    t.model = NULL;
done:
    if (t.model) cpt_model_free(&t.model->base);
    scvi_stepper_free(t.stepper);
    cpt_scvi_history_free(&own);
    free(t.cells);
    free(t.order);
    free(t.latent);
    free(t.dropout);
    return status;
}

cpt_status cpt_scvi_evaluate(const cpt_model *base, const cpt_counts *counts, int64_t first,
                             int64_t n, const int32_t *batch_codes, double *reconstruction,
                             double *kl, const cpt_context *ctx, cpt_err *e)
{
    enum { BATCH = 128 };
    cpt_scvi_options options;
    scvi_stepper *stepper = NULL;
    int64_t rows[BATCH];
    cpt_status status;
    cpt_scvi_options_init(&options);
    options.batch_codes = batch_codes;
    if (!cpt_model_is_scvi(base) || !scvi_of(base)->px_r)
        return cpt_fail(e, CPT_ERR_UNSUPPORTED, "the likelihood needs an scVI model with one "
                        "dispersion per gene");
    /* the stepper is not asked for anything that changes the model */
    CPT_TRY(scvi_stepper_new((cpt_scvi *)(void *)(uintptr_t)base, &options, &stepper, e));
    for (int64_t from = 0; from < n; from += BATCH) {
        int32_t size = (int32_t)(n - from < BATCH ? n - from : BATCH);
        scvi_losses losses;
        for (int32_t i = 0; i < size; i++) rows[i] = first + from + i;
        CPT_TRY(cpt_check_stop(ctx, e));
        CPT_TRY(scvi_stepper_load(stepper, counts, size, rows, ctx, e));
        scvi_stepper_evaluate(stepper, &(scvi_noise){NULL, NULL}, &losses,
                              reconstruction ? reconstruction + from : NULL, kl ? kl + from : NULL,
                              cpt_threads(ctx));
    }
done:
    scvi_stepper_free(stepper);
    return status;
}

/* Training of a small scGPT: options, cells, masks, epochs, the learning rate.
 *
 * What is random - the split, the order of an epoch, which genes a long cell shows and which of
 * them are masked (per epoch and cell), dropout (per step and cell) - is drawn from streams keyed
 * by just that. Validation cells are masked alike in every epoch.
 *
 * A cell is binned anew each time it is shown: sorting 200 counts is nothing beside taking them
 * through the network. Bins are those of the embedding (ties to the left), over all genes of the
 * model that the cell has, before any are cut. */
#include "model/scgpt_train.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "base/random.h"
#include "math/blas.h"
#include "model/scgpt_step.h"

void cpt_scgpt_train_options_init(cpt_scgpt_train_options *o)
{
    *o = (cpt_scgpt_train_options){.width = 128,
                                   .n_layers = 4,
                                   .n_heads = 4,
                                   .max_tokens = 129,
                                   .n_epochs = 8,
                                   .batch_size = 8,
                                   .mask_ratio = 0.4,
                                   .mask_value = -1,
                                   .learning_rate = 1e-3,
                                   .adam_eps = 1e-8,
                                   .warmup = 0.05,
                                   .clip = 1,
                                   .gep_weight = 1,
                                   .mvc_weight = 1,
                                   .mvc_targets = CPT_SCGPT_TARGETS_ALL,
                                   .validation = 0.05};
}

void cpt_scgpt_history_free(cpt_scgpt_history *h)
{
    free(h->epochs);
    *h = (cpt_scgpt_history){0};
}

/* ---- options ---- */

static cpt_status check_sizes(const cpt_scgpt_train_options *o, cpt_err *e)
{
    if (o->width < 1 || o->width > 1 << 13 || o->n_heads < 1 || o->width % o->n_heads)
        return cpt_fail(e, CPT_ERR_USAGE,
                        "scGPT: the embedding's size %d must be a multiple of the number of heads "
                        "%d, and at most 8192",
                        o->width, o->n_heads);
    if (o->hidden < 0 || o->hidden > 1 << 15 || o->n_layers < 1 || o->n_layers > SCGPT_MAX_LAYERS)
        return cpt_fail(e, CPT_ERR_USAGE, "scGPT: %d layers, %d hidden units cannot be",
                        o->n_layers, o->hidden);
    if (o->max_tokens < 3 || o->max_tokens > 1 << 16)
        return cpt_fail(e, CPT_ERR_USAGE,
                        "scGPT: at most %d tokens per cell: 3 to 65536 are "
                        "possible",
                        o->max_tokens);
    if (o->n_epochs < 0 || o->n_epochs >= 1 << 20 || o->batch_size < 1 || o->batch_size > 1 << 20)
        return cpt_fail(e, CPT_ERR_USAGE, "scGPT: %d epochs, %d cells per batch cannot be",
                        o->n_epochs, o->batch_size);
    return CPT_OK;
}

static cpt_status check_options(const cpt_counts *counts, const cpt_strings *genes,
                                const cpt_scgpt_train_options *o, cpt_err *e)
{
    cpt_status status = check_sizes(o, e);
    if (status) return status;
    if (!(o->mask_ratio > 0 && o->mask_ratio < 1) || !(o->dropout >= 0 && o->dropout < 1))
        return cpt_fail(e, CPT_ERR_USAGE,
                        "scGPT: mask ratio %g must be above 0 and below 1, dropout %g from 0 to "
                        "below 1",
                        o->mask_ratio, o->dropout);
    if (!(o->learning_rate > 0) || !(o->adam_eps > 0) || !(o->warmup >= 0 && o->warmup < 1) ||
        !(o->clip >= 0) || !(o->gep_weight >= 0) || !(o->mvc_weight >= 0) ||
        !(o->validation >= 0 && o->validation <= 0.5))
        return cpt_fail(e, CPT_ERR_USAGE,
                        "scGPT: learning rate %g, warm-up %g, clip %g, weights %g and %g, "
                        "validation %g: one of them is out of range",
                        o->learning_rate, o->warmup, o->clip, o->gep_weight, o->mvc_weight,
                        o->validation);
    if (counts->n_genes < 1 || genes->n != counts->n_genes)
        return cpt_fail(e, CPT_ERR_USAGE, "scGPT: %lld gene names for %d genes",
                        (long long)genes->n, counts->n_genes);
    return CPT_OK;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Names become keys of vocab.json. */
static cpt_status check_names(const cpt_strings *genes, cpt_err *e)
{
    const char **sorted = NULL;
    cpt_status status;
    CPT_TRY(cpt_alloc(&sorted, (size_t)genes->n, sizeof *sorted, e));
    for (int64_t i = 0; i < genes->n; i++) sorted[i] = cpt_strings_get(genes, i);
    qsort(sorted, (size_t)genes->n, sizeof *sorted, by_text);
    for (int64_t i = 0; i < genes->n; i++) {
        const size_t n = strlen(sorted[i]);
        if (i > 0 && strcmp(sorted[i], sorted[i - 1]) == 0)
            CPT_TRY(cpt_fail(e, CPT_ERR_DATA,
                             "two genes are called '%s'; scGPT needs a name for "
                             "each: make them unique",
                             sorted[i]));
        if (n >= 2 && sorted[i][0] == '<' && sorted[i][n - 1] == '>')
            CPT_TRY(cpt_fail(e, CPT_ERR_DATA,
                             "a gene is called '%s', like a special token of "
                             "scGPT; rename it",
                             sorted[i]));
    }
done:
    free(sorted);
    return status;
}

/* ---- one run ---- */

/* What one thread fills a minibatch with. */
typedef struct sampler {
    scgpt_tokenizer tokenizer;
    int32_t *order;  /* [n_genes] */
    uint8_t *chosen; /* [n_genes] 0, 1 = shown, 2 = masked */
} sampler;

typedef struct trainer {
    const cpt_counts *counts;
    const cpt_scgpt_train_options *options;
    const cpt_context *ctx;
    cpt_scgpt *model;
    scgpt_stepper *stepper;
    cpt_scgpt_history *history;
    int64_t *cells;    /* validation first, then training */
    int64_t *order;    /* [n_train] of the epoch */
    sampler *samplers; /* [n_threads] */
    int n_threads;
    scgpt_batch batch;
    int64_t n_steps, n_done;
} trainer;

static cpt_stream stream_of(const trainer *t, uint64_t kind, uint64_t epoch, uint64_t item)
{
    cpt_stream s;
    cpt_stream_init(&s, t->options->seed, CPT_RANDOM_SCGPT_TRAIN, kind << 62 | epoch << 40 | item);
    return s;
}

static int32_t count_genes(const cpt_counts *c, int64_t row)
{
    int32_t n = 0;
    for (int64_t k = c->csr->indptr[row]; k < c->csr->indptr[row + 1]; k++) {
        const int32_t gene = c->to_model ? c->to_model[c->csr->indices[k]] : c->csr->indices[k];
        n += gene >= 0 && c->csr->values[k] != 0;
    }
    return n;
}

/* Lists the cells that have genes, shuffles, and cuts the list in two. */
static cpt_status split(trainer *t, cpt_err *e)
{
    enum { MOST_VALIDATION = 500 };
    const int64_t n_cells = t->counts->csr->n_rows;
    cpt_scgpt_history *h = t->history;
    int64_t n = 0, n_tokens = 0;
    cpt_status status;
    CPT_TRY(cpt_alloc(&t->cells, (size_t)n_cells, sizeof *t->cells, e));
    CPT_TRY(cpt_alloc(&t->order, (size_t)n_cells, sizeof *t->order, e));
    for (int64_t i = 0; i < n_cells; i++) {
        const int32_t genes = count_genes(t->counts, i);
        if (!genes) continue;
        t->cells[n++] = i;
        n_tokens += genes + 1 < t->options->max_tokens ? genes + 1 : t->options->max_tokens;
    }
    h->n_validation = (int64_t)fmin(floor(t->options->validation * (double)n), MOST_VALIDATION);
    h->n_train = n - h->n_validation;
    h->n_empty = n_cells - n;
    h->tokens_per_cell = n ? (double)n_tokens / (double)n : 0;
    if (h->n_train < 2)
        CPT_TRY(cpt_fail(e, CPT_ERR_DATA,
                         "scGPT: %lld cells with counts of the chosen genes are too few to train "
                         "on",
                         (long long)n));
    cpt_stream s;
    cpt_stream_init(&s, t->options->seed, CPT_RANDOM_SPLIT, 0);
    cpt_stream_shuffle_i64(&s, t->cells, n);
done:
    return status;
}

/* ---- a minibatch ---- */

/* Cell number `to` of the minibatch: its tokens are a random choice when there are too many, and of
 * them a share is masked. */
static bool fill_cell(trainer *t, sampler *s, int64_t row, uint64_t epoch, int32_t to)
{
    scgpt_batch *b = &t->batch;
    const scgpt_cell *c = &s->tokenizer.cell;
    cpt_stream random = stream_of(t, SCGPT_STREAM_MASK, epoch, (uint64_t)row);
    const size_t at = (size_t)to * (size_t)b->max_tokens;
    int32_t *ids = b->ids + at;
    uint8_t *bins = b->bins + at, *masked = b->masked + at;
    uint8_t *targets = b->targets + (size_t)to * (size_t)b->n_genes;
    scgpt_tokenize(&s->tokenizer, t->model, t->counts, row, CPT_SCGPT_TIES_LEFT);
    if (c->broken) return false;
    const int32_t n = c->n - 1, room = b->max_tokens - 1, kept = n < room ? n : room;
    const int32_t n_masked = (int32_t)fmax(1, floor(t->options->mask_ratio * kept));
    memset(targets, 0, (size_t)b->n_genes);
    for (int32_t i = 0; i < n; i++) {
        targets[c->genes[i + 1]] = (uint8_t)c->values[i + 1];
        s->order[i] = i;
    }
    cpt_stream_shuffle_i32(&random, s->order, n);
    memset(s->chosen, 0, (size_t)b->n_genes);
    for (int32_t i = 0; i < kept; i++) s->chosen[s->order[i]] = i < n_masked ? 2 : 1;
    ids[0] = t->model->cls;
    bins[0] = masked[0] = 0;
    int32_t length = 1;
    for (int32_t i = 0; i < n; i++) {
        if (!s->chosen[i]) continue;
        ids[length] = c->ids[i + 1];
        bins[length] = (uint8_t)c->values[i + 1];
        masked[length++] = s->chosen[i] == 2;
    }
    b->length[to] = length;
    return true;
}

static cpt_status fill(trainer *t, int32_t n, const int64_t *rows, uint64_t epoch, cpt_err *e)
{
    int64_t broken = -1;
    t->batch.n_cells = n;
#pragma omp parallel for schedule(static) num_threads(t->n_threads) if (t->n_threads > 1)
    for (int32_t i = 0; i < n; i++)
        if (!fill_cell(t, &t->samplers[omp_get_thread_num()], rows[i], epoch, i)) {
#pragma omp critical
            broken = rows[i] > broken ? rows[i] : broken;
        }
    return broken < 0
               ? CPT_OK
               : cpt_fail(e, CPT_ERR_DATA, "row %lld: a count is not finite", (long long)broken);
}

/* ---- epochs ---- */

static int64_t steps_per_epoch(const trainer *t)
{
    return (t->history->n_train + t->options->batch_size - 1) / t->options->batch_size;
}

/* Up in a straight line, down along half a cosine. */
static double rate_of(const trainer *t, int64_t step)
{
    const double all = (double)(steps_per_epoch(t) * t->options->n_epochs);
    const double rising = floor(t->options->warmup * all), done = (double)step;
    if (done < rising) return t->options->learning_rate * (done + 1) / (rising + 1);
    return t->options->learning_rate * 0.5 *
           (1 + cos(3.14159265358979323846 * (done - rising) / fmax(1, all - rising)));
}

static void add_losses(scgpt_losses *sum, const scgpt_losses *l)
{
    sum->gep += l->gep;
    sum->mvc += l->mvc;
    sum->n_gep += l->n_gep;
    sum->n_mvc += l->n_mvc;
}

static void report(trainer *t, const cpt_scgpt_epoch *epoch, const scgpt_losses *sum)
{
    char note[96];
    const double all = (double)(t->history->n_train * t->options->n_epochs);
    snprintf(note, sizeof note, "epoch %d, squared error %.1f (genes) %.1f (cells)",
             epoch->epoch + 1, sum->gep / fmax(1, (double)sum->n_gep),
             sum->mvc / fmax(1, (double)sum->n_mvc));
    cpt_progress(t->ctx, "training scGPT", (double)t->n_done, all, note);
}

static cpt_status train_epoch(trainer *t, cpt_scgpt_epoch *epoch, cpt_err *e)
{
    const int64_t n_train = t->history->n_train;
    const int32_t size = t->options->batch_size;
    scgpt_losses sum = {0}, losses;
    cpt_stream s = stream_of(t, SCGPT_STREAM_SHUFFLE, (uint64_t)epoch->epoch, 0);
    memcpy(t->order, t->cells + t->history->n_validation, sizeof *t->order * (size_t)n_train);
    cpt_stream_shuffle_i64(&s, t->order, n_train);
    for (int64_t first = 0; first < n_train; first += size, t->n_steps++) {
        const int32_t n = (int32_t)(n_train - first < size ? n_train - first : size);
        cpt_status status = cpt_check_stop(t->ctx, e);
        if (!status) status = fill(t, n, t->order + first, (uint64_t)epoch->epoch, e);
        if (status) return status;
        epoch->rate = rate_of(t, t->n_steps);
        scgpt_stepper_gradient(t->stepper, &t->batch, (uint64_t)t->n_steps, &losses);
        const double norm = scgpt_stepper_update(t->stepper, epoch->rate);
        epoch->gradient_norm += norm / (double)steps_per_epoch(t);
        add_losses(&sum, &losses);
        t->n_done += n;
        if (!isfinite(norm))
            return cpt_fail(e, CPT_ERR_DATA,
                            "scGPT's loss is not finite in epoch %d; lower the "
                            "learning rate (%g)",
                            epoch->epoch, t->options->learning_rate);
        report(t, epoch, &sum);
    }
    epoch->gep = sum.gep / fmax(1, (double)sum.n_gep);
    epoch->mvc = sum.mvc / fmax(1, (double)sum.n_mvc);
    return CPT_OK;
}

static cpt_status validate(trainer *t, cpt_scgpt_epoch *epoch, cpt_err *e)
{
    const uint64_t always = (uint64_t)1 << 21; /* the "epoch" of the masks: beyond all others */
    const int64_t n_validation = t->history->n_validation;
    const int32_t size = t->options->batch_size;
    scgpt_losses sum = {0}, losses;
    epoch->gep_validation = epoch->mvc_validation = NAN;
    for (int64_t first = 0; first < n_validation; first += size) {
        const int32_t n = (int32_t)(n_validation - first < size ? n_validation - first : size);
        cpt_status status = cpt_check_stop(t->ctx, e);
        if (!status) status = fill(t, n, t->cells + first, always, e);
        if (status) return status;
        scgpt_stepper_evaluate(t->stepper, &t->batch, &losses);
        add_losses(&sum, &losses);
    }
    if (n_validation == 0) return CPT_OK;
    epoch->gep_validation = sum.gep / fmax(1, (double)sum.n_gep);
    epoch->mvc_validation = sum.mvc / fmax(1, (double)sum.n_mvc);
    return CPT_OK;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static cpt_status run_epochs(trainer *t, cpt_err *e)
{
    cpt_scgpt_history *h = t->history;
    for (int32_t i = 0; i < t->options->n_epochs; i++) {
        cpt_scgpt_epoch epoch = {.epoch = i};
        const double from = now();
        cpt_status status =
            cpt_grow(&h->epochs, &h->capacity, (size_t)h->n + 1, sizeof *h->epochs, e);
        if (!status) status = train_epoch(t, &epoch, e);
        if (!status) status = validate(t, &epoch, e);
        if (status) return status;
        epoch.seconds = now() - from;
        h->epochs[h->n++] = epoch;
        cpt_debug(t->ctx, "scGPT epoch %d: %.2f %.2f, validation %.2f %.2f, norm %.1f, %.1f s",
                  i + 1, epoch.gep, epoch.mvc, epoch.gep_validation, epoch.mvc_validation,
                  epoch.gradient_norm, epoch.seconds);
    }
    return CPT_OK;
}

/* ---- setting up ---- */

/* The decoder's last bias starts at the mean bin: else the first steps go into finding it. */
static cpt_status start_bias(trainer *t, scgpt_weights *w, cpt_err *e)
{
    const int64_t n_train = t->history->n_train;
    const int32_t n = (int32_t)fmin((double)n_train, t->options->batch_size);
    double sum = 0, count = 0;
    cpt_status status = fill(t, n, t->cells + t->history->n_validation, 0, e);
    if (status) return status;
    for (int32_t i = 0; i < n; i++)
        for (int32_t j = 1; j < t->batch.length[i]; j++) {
            sum += t->batch.bins[(size_t)i * (size_t)t->batch.max_tokens + (size_t)j];
            count++;
        }
    w->values[w->at.decoder_bias[SCGPT_DECODER_LAYERS - 1]] = (float)(sum / fmax(1, count));
    return CPT_OK;
}

static cpt_status set_up(trainer *t, const cpt_strings *gene_names, cpt_err *e)
{
    const cpt_scgpt_train_options *o = t->options;
    const int32_t n_genes = t->counts->n_genes;
    const scgpt_shape shape = {.n_tokens = n_genes + SCGPT_SPECIAL,
                               .width = o->width,
                               .hidden = o->hidden ? o->hidden : o->width,
                               .n_heads = o->n_heads,
                               .n_layers = o->n_layers,
                               .pad_value = -2};
    scgpt_weights *w = NULL;
    cpt_model *model = NULL;
    cpt_status status;
    CPT_TRY(scgpt_weights_new(&shape, o->seed, &w, e));
    w->dropout = o->dropout;
    w->mask_value = o->mask_value;
    w->max_tokens = o->max_tokens;
    status = scgpt_model_of(w, gene_names, o->seed, &model, e);
    if (status) {
        scgpt_weights_free(w);
        return status;
    }
    t->model = (cpt_scgpt *)(void *)model;
    t->model->options.max_tokens = n_genes + 1; /* the tokeniser shows all, fill_cell cuts */
    CPT_TRY(cpt_alloc(&t->samplers, (size_t)t->n_threads, sizeof *t->samplers, e));
    for (int i = 0; i < t->n_threads; i++) {
        sampler *s = &t->samplers[i];
        CPT_TRY(scgpt_tokenizer_init(&s->tokenizer, t->model, e));
        CPT_TRY(cpt_alloc(&s->order, (size_t)n_genes, sizeof *s->order, e));
        CPT_TRY(cpt_alloc(&s->chosen, (size_t)n_genes, sizeof *s->chosen, e));
    }
    CPT_TRY(scgpt_batch_init(&t->batch, o->batch_size, o->max_tokens, n_genes, e));
    CPT_TRY(scgpt_stepper_new(w, o, t->n_threads, &t->stepper, e));
    status = start_bias(t, w, e);
done:
    return status;
}

static void clean_up(trainer *t)
{
    for (int i = 0; t->samplers && i < t->n_threads; i++) {
        scgpt_tokenizer_free(&t->samplers[i].tokenizer);
        free(t->samplers[i].order);
        free(t->samplers[i].chosen);
    }
    free(t->samplers);
    scgpt_batch_free(&t->batch);
    scgpt_stepper_free(t->stepper);
    free(t->cells);
    free(t->order);
}

cpt_status cpt_scgpt_train(const cpt_counts *counts, const cpt_strings *gene_names,
                           const cpt_scgpt_train_options *options, cpt_model **out,
                           cpt_scgpt_history *history, const cpt_context *ctx, cpt_err *e)
{
    cpt_scgpt_history own = {0};
    trainer t = {.counts = counts,
                 .options = options,
                 .ctx = ctx,
                 .n_threads = cpt_threads(ctx),
                 .history = history ? history : &own};
    cpt_scgpt_options defaults;
    cpt_status status;
    *out = NULL;
    *t.history = (cpt_scgpt_history){0};
    cpt_blas_single_thread();
    CPT_TRY(check_options(counts, gene_names, options, e));
    CPT_TRY(check_names(gene_names, e));
    CPT_TRY(split(&t, e));
    CPT_TRY(set_up(&t, gene_names, e));
    cpt_info(ctx,
             "scGPT: %lld cells to train on, %lld for validation, %d genes, %.0f tokens per cell, "
             "%lld parameters, %d epochs",
             (long long)t.history->n_train, (long long)t.history->n_validation, counts->n_genes,
             t.history->tokens_per_cell, (long long)t.model->trained->at.n, options->n_epochs);
    CPT_TRY(run_epochs(&t, e));
    cpt_scgpt_options_init(&defaults);
    t.model->options.max_tokens = defaults.max_tokens;
    CPT_TRY(scgpt_finish(t.model, e));
    *out = &t.model->base;
    t.model = NULL;
done:
    clean_up(&t);
    if (t.model) cpt_model_free(&t.model->base);
    cpt_scgpt_history_free(&own);
    return status;
}

/* attribution.c - attribution over all pairs of all concepts.
 *
 * Problem: thousands of pairs times thousands of genes, summarised per concept without holding the
 * values of all pairs at once.
 * Method: concepts go in batches whose pair values fit a fixed budget; within a batch the pairs run in
 * parallel, each into its own slot; then every concept is summarised from its slots in pair order.
 * Complexity: memory is O(budget) beside the result; time is the model's.
 * Traps: the batch size must depend on the data only, never on the number of threads. */
#include "concept/attribution_internal.h"

#include <math.h>
#include <omp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "concept/failure.h"
#include "concept/pair_store.h"
#include "math/statistics.h"

static const int64_t BATCH_BYTES = (int64_t)256 << 20;

void cpt_attribution_options_init(cpt_attribution_options *o)
{
    *o = (cpt_attribution_options){
        .method = CPT_METHOD_EXACT, .mode = CPT_MODE_SUBSTITUTE, .readout = CPT_READOUT_ACTIVATION,
        .screen = CPT_SCREEN_SWAP, .ig_steps = 64, .hybrid_top = 200, .hybrid_check = 50, .n_bootstrap = 1000,
        .n_sign_flips = 9999, .cutoff = 0.05, .q_cutoff = 0.05};
}

static cpt_status check_inputs(const cpt_model *m, const cpt_dictionary *d, const cpt_counts *counts,
                               const cpt_attribution_options *o, cpt_err *e)
{
    if (!cpt_model_has_counterfactuals(m))
        return cpt_fail(e, CPT_ERR_USAGE, "%s: attribution needs a model that embeds changed cells; "
                        "a fixed embedding has none, use the expression baseline", m->ops->kind);
    if (m->dim != d->dim)
        return cpt_fail(e, CPT_ERR_USAGE, "the model's embedding has %d dimensions, the dictionary's %d; "
                        "use the dictionary that was trained on this model", m->dim, d->dim);
    if (counts->n_genes != m->n_genes)
        return cpt_fail(e, CPT_ERR_USAGE, "counts over %d genes for a model of %d", counts->n_genes,
                        m->n_genes);
    const bool path = o->method == CPT_METHOD_IG ||
                      (o->method == CPT_METHOD_HYBRID && o->screen != CPT_SCREEN_GRADIENT);
    if (o->ig_steps < path || o->ig_steps > 10000 || o->hybrid_top < 0 || o->hybrid_check < 0 ||
        o->n_bootstrap < 0 || o->n_sign_flips < 0)
        return cpt_fail(e, CPT_ERR_USAGE, "attribution options out of range: steps %d (1 to 10,000), "
                        "top %d, check %d, bootstrap %d, sign flips %d (0 or more)", o->ig_steps,
                        o->hybrid_top, o->hybrid_check, o->n_bootstrap, o->n_sign_flips);
    return CPT_OK;
}

/* ---- one pair ---- */

cpt_status cpt_attribute_pair(const cpt_model *m, const cpt_dictionary *d, const cpt_counts *counts,
                              int32_t concept, int64_t prototype, int64_t counterfactual,
                              const cpt_attribution_options *o, uint64_t seed,
                              cpt_pair_attribution *out, cpt_err *e)
{
    cpt_pair_job job = {m, d, counts, o, concept, prototype, counterfactual, seed};
    size_t n = (size_t)m->n_genes;
    bool usable;
    cpt_status status;
    *out = (cpt_pair_attribution){0};
    CPT_TRY(check_inputs(m, d, counts, o, e));
    if (concept < 0 || concept >= d->n_concepts || prototype < 0 || counterfactual < 0 ||
        prototype >= counts->csr->n_rows || counterfactual >= counts->csr->n_rows)
        return cpt_fail(e, CPT_ERR_USAGE, "no concept %d (of %d) or no cell %lld or %lld (of %lld)",
                        concept, d->n_concepts, (long long)prototype, (long long)counterfactual,
                        (long long)counts->csr->n_rows);
    if (cpt_attribution_has_both(o)) CPT_TRY(cpt_alloc(&out->activation, n, sizeof(float), e));
    CPT_TRY(cpt_alloc(&out->pre, n, sizeof(float), e));
    CPT_TRY(cpt_alloc(&out->differs, n, sizeof(bool), e));
    CPT_TRY(cpt_attribution_run(&job, out, &usable, e));
    if (!usable)
        status = cpt_fail(e, CPT_ERR_DATA, "cell %lld does not activate concept %d; choose one of the "
                          "concept's prototypes", (long long)prototype, concept);
done:
    if (status != CPT_OK) cpt_pair_attribution_free(out);
    return status;
}

void cpt_pair_attribution_free(cpt_pair_attribution *a)
{
    if (!a) return;
    free(a->activation);
    free(a->pre);
    free(a->differs);
    *a = (cpt_pair_attribution){0};
}

/* ---- result ---- */

static cpt_status fill_nan(float **out, size_t n, cpt_err *e)
{
    cpt_status status = cpt_alloc(out, n, sizeof **out, e);
    for (size_t i = 0; status == CPT_OK && i < n; i++) (*out)[i] = NAN;
    return status;
}

static cpt_status fill_nan_double(double **out, size_t n, cpt_err *e)
{
    cpt_status status = cpt_alloc(out, n, sizeof **out, e);
    for (size_t i = 0; status == CPT_OK && i < n; i++) (*out)[i] = NAN;
    return status;
}

static cpt_status attribution_make(int32_t n_concepts, int32_t n_genes, bool both,
                                   cpt_attribution **out, cpt_err *e)
{
    cpt_attribution *a;
    size_t rows = (size_t)n_concepts, n;
    if (!cpt_size_mul(rows, (size_t)n_genes, &n)) n = SIZE_MAX; /* the first allocation refuses */
    cpt_status status = cpt_alloc(&a, 1, sizeof *a, e);
    if (status != CPT_OK) return status;
    *out = a;
    a->n_concepts = n_concepts;
    a->n_genes = n_genes;
    a->cutoff_percentile = NAN;
    for (int i = 0; i < 5; i++) a->noise_quantiles[i] = NAN;
    CPT_TRY(fill_nan(&a->mean, n, e));
    if (both) CPT_TRY(fill_nan(&a->mean_other, n, e));
    CPT_TRY(fill_nan(&a->sd, n, e));
    CPT_TRY(cpt_alloc(&a->n, n, sizeof *a->n, e));
    CPT_TRY(fill_nan(&a->same_sign, n, e));
    CPT_TRY(fill_nan(&a->low, n, e));
    CPT_TRY(fill_nan(&a->high, n, e));
    CPT_TRY(fill_nan_double(&a->p, n, e));
    CPT_TRY(fill_nan_double(&a->q, n, e));
    CPT_TRY(cpt_alloc(&a->n_pairs, rows, sizeof *a->n_pairs, e));
    CPT_TRY(fill_nan_double(&a->completeness_error, rows, e));
    CPT_TRY(fill_nan_double(&a->hybrid_spearman, rows, e));
    CPT_TRY(fill_nan_double(&a->hybrid_top20, rows, e));
    CPT_TRY(fill_nan_double(&a->hybrid_spearman_pre, rows, e));
    status = fill_nan_double(&a->hybrid_top20_pre, rows, e);
done:
    return status;
}

void cpt_attribution_free(cpt_attribution *a)
{
    if (!a) return;
    free(a->noise_mean);
    free(a->noise_n);
    free(a->mean);
    free(a->mean_other);
    free(a->sd);
    free(a->n);
    free(a->same_sign);
    free(a->low);
    free(a->high);
    free(a->p);
    free(a->q);
    free(a->n_pairs);
    free(a->completeness_error);
    free(a->hybrid_spearman);
    free(a->hybrid_top20);
    free(a->hybrid_spearman_pre);
    free(a->hybrid_top20_pre);
    free(a);
}

/* ---- batches of concepts ---- */

typedef struct batch {
    int64_t capacity;   /* slots */
    float *activation;  /* [capacity][n_genes]; NULL when the method gives only pre */
    float *pre;
    bool *differs;
    cpt_pair_attribution *slots; /* [capacity] views of the three */
    bool *usable;
} batch;

static void batch_free(batch *b)
{
    free(b->activation);
    free(b->pre);
    free(b->differs);
    free(b->slots);
    free(b->usable);
}

/* Slots for as many pairs as the budget holds, and at least for the largest concept. */
static cpt_status batch_make(batch *b, const cpt_pairs *pairs, int32_t n_genes, bool both, cpt_err *e)
{
    int64_t largest = 1, total = pairs->first[pairs->n_concepts];
    int64_t budget = BATCH_BYTES / (((int64_t)n_genes + 1) * (both ? 9 : 5));
    cpt_status status;
    for (int32_t c = 0; c < pairs->n_concepts; c++)
        if (pairs->first[c + 1] - pairs->first[c] > largest)
            largest = pairs->first[c + 1] - pairs->first[c];
    b->capacity = total < budget ? total : budget;
    if (b->capacity < largest) b->capacity = largest;
    size_t n = (size_t)b->capacity * (size_t)n_genes;
    if (both) CPT_TRY(cpt_alloc(&b->activation, n, sizeof *b->activation, e));
    CPT_TRY(cpt_alloc(&b->pre, n, sizeof *b->pre, e));
    CPT_TRY(cpt_alloc(&b->differs, n, sizeof *b->differs, e));
    CPT_TRY(cpt_alloc(&b->slots, (size_t)b->capacity, sizeof *b->slots, e));
    status = cpt_alloc(&b->usable, (size_t)b->capacity, sizeof *b->usable, e);
done:
    return status;
}

/* Zeroes slot i and points it at its rows. */
static cpt_pair_attribution *batch_slot(batch *b, int64_t i, int32_t n_genes)
{
    size_t at = (size_t)i * (size_t)n_genes, n = (size_t)n_genes;
    cpt_pair_attribution *slot = &b->slots[i];
    slot->activation = b->activation ? b->activation + at : NULL;
    slot->pre = b->pre + at;
    slot->differs = b->differs + at;
    if (slot->activation) memset(slot->activation, 0, n * sizeof(float));
    memset(slot->pre, 0, n * sizeof(float));
    memset(slot->differs, 0, n * sizeof(bool));
    return slot;
}

/* What attribute_all works on. */
typedef struct driver {
    cpt_pair_job job; /* concept and cells are set per pair */
    const cpt_pairs *pairs;
    const int32_t *concept_of; /* [pairs] */
    const cpt_context *ctx;
    cpt_attribution *out;
    batch slots;
} driver;

/* Into slot i, from the store when it has the pair. */
static cpt_status run_pair(driver *r, const cpt_pair_job *job, const cpt_pair *pair, int64_t i,
                           cpt_err *e)
{
    cpt_pair_store *store = job->options->store;
    cpt_pair_attribution *slot = batch_slot(&r->slots, i, job->model->n_genes);
    bool found = false, *usable = &r->slots.usable[i];
    if (store) cpt_pair_store_get(store, job->concept, pair, slot, usable, &found);
    if (found) return CPT_OK;
    cpt_status status = cpt_attribution_run(job, slot, usable, e);
    if (status == CPT_OK && store)
        status = cpt_pair_store_put(store, job->concept, pair, slot, *usable, e);
    return status;
}

static cpt_status run_pairs(driver *r, int64_t first, int64_t n, cpt_err *e)
{
    cpt_failure failure = {.status = CPT_OK};
    int64_t n_done = first, total = r->pairs->first[r->pairs->n_concepts];
#pragma omp parallel for schedule(dynamic) num_threads(cpt_threads(r->ctx))
    for (int64_t i = 0; i < n; i++) {
        if (cpt_failed(&failure)) continue;
        cpt_err err;
        int64_t done;
        const cpt_pair *pair = &r->pairs->pairs[first + i];
        cpt_pair_job job = r->job;
        job.concept = r->concept_of[first + i];
        job.prototype = pair->prototype;
        job.counterfactual = pair->counterfactual;
        cpt_status status = cpt_check_stop(r->ctx, &err);
        if (status == CPT_OK) status = run_pair(r, &job, pair, i, &err);
        cpt_failure_note(&failure, status, i, &err);
#pragma omp atomic capture
        done = ++n_done;
        if (omp_get_thread_num() == 0)
            cpt_progress(r->ctx, "attributing genes", (double)done, (double)total, NULL);
    }
    return cpt_failure_status(&failure, e);
}

/* Moves the usable pairs of a concept together; returns how many. */
static int32_t close_gaps(batch *b, int64_t first, int64_t n, int32_t n_genes)
{
    int64_t kept = 0;
    size_t row = (size_t)n_genes;
    for (int64_t i = 0; i < n; i++) {
        if (!b->usable[first + i]) continue;
        if (kept != i) {
            const cpt_pair_attribution *from = &b->slots[first + i];
            cpt_pair_attribution *to = &b->slots[first + kept];
            if (to->activation) memcpy(to->activation, from->activation, row * sizeof(float));
            memcpy(to->pre, from->pre, row * sizeof(float));
            memcpy(to->differs, from->differs, row * sizeof(bool));
            to->completeness_error = from->completeness_error;
            to->hybrid_spearman = from->hybrid_spearman;
            to->hybrid_top20_overlap = from->hybrid_top20_overlap;
            to->hybrid_spearman_pre = from->hybrid_spearman_pre;
            to->hybrid_top20_pre = from->hybrid_top20_pre;
        }
        kept++;
    }
    return (int32_t)kept;
}

/* Mean over the pairs of one field of theirs, NaN left out; NaN when all are. */
static double mean_quality(const cpt_pair_attribution *slots, int32_t n, size_t field)
{
    double sum = 0;
    int32_t used = 0;
    for (int32_t i = 0; i < n; i++) {
        double x;
        memcpy(&x, (const char *)&slots[i] + field, sizeof x);
        if (isnan(x)) continue;
        sum += x;
        used++;
    }
    return used ? sum / used : NAN;
}

/* Median completeness error and mean fidelity of the hybrid's screen over the pairs of a concept. */
static cpt_status summarise_quality(const cpt_pair_attribution *slots, int32_t n, int32_t concept,
                                    cpt_attribution *out, cpt_err *e)
{
    double *errors;
    int32_t n_errors = 0;
    cpt_status status = cpt_alloc(&errors, (size_t)n, sizeof *errors, e);
    if (status != CPT_OK) return status;
    for (int32_t i = 0; i < n; i++)
        if (!isnan(slots[i].completeness_error)) errors[n_errors++] = slots[i].completeness_error;
    if (n_errors) out->completeness_error[concept] = cpt_median(n_errors, errors);
    free(errors);
#define MEAN(field) mean_quality(slots, n, offsetof(cpt_pair_attribution, field))
    out->hybrid_spearman[concept] = MEAN(hybrid_spearman);
    out->hybrid_top20[concept] = MEAN(hybrid_top20_overlap);
    out->hybrid_spearman_pre[concept] = MEAN(hybrid_spearman_pre);
    out->hybrid_top20_pre[concept] = MEAN(hybrid_top20_pre);
#undef MEAN
    return CPT_OK;
}

static cpt_status summarise_concept(driver *r, int32_t concept, int64_t slot, cpt_err *e)
{
    batch *b = &r->slots;
    int32_t n_genes = r->out->n_genes;
    int64_t n = r->pairs->first[concept + 1] - r->pairs->first[concept];
    int32_t kept = close_gaps(b, slot, n, n_genes);
    r->out->n_pairs[concept] = kept;
    if (kept == 0) return CPT_OK;
    bool pre = !b->activation || r->job.options->readout == CPT_READOUT_PRE;
    const float *activation = b->slots[slot].activation, *pre_values = b->slots[slot].pre;
    cpt_pair_values v = {kept, n_genes, pre ? pre_values : activation, pre ? activation : pre_values,
                         b->slots[slot].differs};
    cpt_status status = cpt_attribution_summarise(&v, concept, r->job.options, r->ctx, r->out, e);
    if (status != CPT_OK) return status;
    return summarise_quality(b->slots + slot, kept, concept, r->out, e);
}

static cpt_status run_batches(driver *r, cpt_err *e)
{
    const int64_t *first = r->pairs->first;
    int32_t n_concepts = r->pairs->n_concepts;
    cpt_status status = CPT_OK;
    for (int32_t from = 0, to; from < n_concepts; from = to) {
        for (to = from + 1; to < n_concepts && first[to + 1] - first[from] <= r->slots.capacity;) to++;
        CPT_TRY(run_pairs(r, first[from], first[to] - first[from], e));
        for (int32_t c = from; c < to; c++) {
            CPT_TRY(cpt_check_stop(r->ctx, e));
            if (first[c + 1] > first[c]) CPT_TRY(summarise_concept(r, c, first[c] - first[from], e));
        }
    }
done:
    return status;
}

cpt_status cpt_attribute_all(const cpt_model *m, const cpt_dictionary *d, const cpt_counts *counts,
                             const cpt_pairs *pairs, const cpt_attribution_options *o,
                             cpt_attribution **out, const cpt_context *ctx, cpt_err *e)
{
    bool both = cpt_attribution_has_both(o);
    int32_t *concept_of = NULL;
    driver r = {.job = {m, d, counts, o, 0, 0, 0, ctx ? ctx->seed : 0}, .pairs = pairs, .ctx = ctx};
    cpt_status status;
    *out = NULL;
    CPT_TRY(check_inputs(m, d, counts, o, e));
    CPT_TRY(attribution_make(pairs->n_concepts, m->n_genes, both, &r.out, e));
    CPT_TRY(cpt_alloc(&concept_of, (size_t)pairs->first[pairs->n_concepts], sizeof *concept_of, e));
    for (int32_t c = 0; c < pairs->n_concepts; c++)
        for (int64_t i = pairs->first[c]; i < pairs->first[c + 1]; i++) concept_of[i] = c;
    r.concept_of = concept_of;
    CPT_TRY(batch_make(&r.slots, pairs, m->n_genes, both, e));
    status = run_batches(&r, e);
done:
    batch_free(&r.slots);
    free(concept_of);
    if (status == CPT_OK) *out = r.out;
    else cpt_attribution_free(r.out);
    return status;
}

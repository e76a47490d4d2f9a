/* faithfulness.c - curves of joint substitution (method.md 4).
 *
 * Problem: attributions are measured one gene at a time; whether a ranking by them is worth more than
 * one by expression or by chance shows when its first m genes are substituted together.
 * Method: per pair one session at the prototype and one joint change per ranking and m; the drops are
 * averaged over the pairs of a concept, in pair order.
 * Complexity: pairs * rankings * 8 changed copies.
 * Traps: genes that do not differ would be substituted without effect and make a ranking look bad for
 * the choice of pairs; they are left out. */
#include "concept/faithfulness.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>

#include "base/memory.h"
#include "base/random.h"
#include "concept/failure.h"

const int32_t cpt_faithfulness_sizes[CPT_FAITHFULNESS_POINTS] = {1, 2, 5, 10, 20, 50, 100, 200};

enum { POINTS = CPT_FAITHFULNESS_POINTS };

typedef struct faithfulness_job {
    const cpt_model *m;
    const cpt_dictionary *d;
    const cpt_counts *counts;
    const cpt_pairs *pairs;
    cpt_readout readout;
    int32_t n_rankings;
    const float *const *rankings;
    uint64_t seed;
} faithfulness_job;

typedef struct scored_change {
    double score;
    cpt_change change;
} scored_change;

static int by_score(const void *x, const void *y)
{
    const scored_change *a = x, *b = y;
    if (a->score != b->score) return a->score > b->score ? -1 : 1;
    return (a->change.gene > b->change.gene) - (a->change.gene < b->change.gene);
}

/* The genes that differ, with the counterfactual's values; returns how many. */
static int32_t list_changes(const cpt_profile *p, const cpt_profile *cf, cpt_change *out)
{
    int32_t n = 0;
    for (int32_t i = 0, j = 0; i < p->n || j < cf->n;) {
        bool take_p = j == cf->n || (i < p->n && p->genes[i] <= cf->genes[j]);
        bool take_cf = i == p->n || (j < cf->n && cf->genes[j] <= p->genes[i]);
        int32_t gene = take_p ? p->genes[i] : cf->genes[j];
        float x = take_p ? p->values[i++] : 0, y = take_cf ? cf->values[j++] : 0;
        if (x != y) out[n++] = (cpt_change){gene, y};
    }
    return n;
}

/* Orders the changes by one ranking, or at random. */
static void rank_changes(const faithfulness_job *job, int32_t ranking, int32_t concept, int64_t pair,
                         int32_t n, const cpt_change *changes, scored_change *scored, cpt_change *out)
{
    const float *scores = job->rankings[ranking];
    cpt_stream stream;
    cpt_stream_init(&stream, job->seed, CPT_RANDOM_EVALUATE, (uint64_t)ranking << 48 | (uint64_t)pair);
    for (int32_t i = 0; i < n; i++) {
        double score = scores ? scores[(int64_t)concept * job->m->n_genes + changes[i].gene]
                              : cpt_stream_uniform(&stream);
        scored[i] = (scored_change){isnan(score) ? -INFINITY : score, changes[i]};
    }
    qsort(scored, (size_t)n, sizeof *scored, by_score);
    for (int32_t i = 0; i < n; i++) out[i] = scored[i].change;
}

/* Everything one pair needs. */
typedef struct pair_scratch {
    cpt_profile p, cf;
    cpt_session *session;
    cpt_change *changes, *ranked;
    scored_change *scored;
    float *embedding;
} pair_scratch;

static void scratch_free(const cpt_model *m, pair_scratch *x)
{
    if (x->session) m->ops->session_free(x->session);
    cpt_profile_free(&x->p);
    cpt_profile_free(&x->cf);
    free(x->changes);
    free(x->ranked);
    free(x->scored);
    free(x->embedding);
}

static cpt_status scratch_make(const faithfulness_job *job, const cpt_pair *pair, pair_scratch *x,
                               cpt_err *e)
{
    const cpt_model_ops *ops = job->m->ops;
    cpt_status status;
    CPT_TRY(ops->profile(job->m, job->counts, pair->prototype, &x->p, e));
    CPT_TRY(ops->profile(job->m, job->counts, pair->counterfactual, &x->cf, e));
    CPT_TRY(ops->session_open(job->m, &x->p, &x->session, e));
    size_t most = (size_t)x->p.n + (size_t)x->cf.n;
    CPT_TRY(cpt_alloc(&x->changes, most, sizeof *x->changes, e));
    CPT_TRY(cpt_alloc(&x->ranked, most, sizeof *x->ranked, e));
    CPT_TRY(cpt_alloc(&x->scored, most, sizeof *x->scored, e));
    status = cpt_alloc(&x->embedding, (size_t)job->m->dim, sizeof *x->embedding, e);
done:
    return status;
}

/* Drops of one pair into drops [n_rankings][POINTS]; NaN when the prototype does not activate. */
static cpt_status run_pair(const faithfulness_job *job, int32_t concept, int64_t index, float *drops,
                           cpt_err *e)
{
    const cpt_model_ops *ops = job->m->ops;
    const cpt_dictionary *d = job->d;
    pair_scratch x = {.session = NULL};
    float unit, value[2], base[2];
    bool pre = job->readout == CPT_READOUT_PRE;
    cpt_status status;
    CPT_TRY(scratch_make(job, &job->pairs->pairs[index], &x, e));
    CPT_TRY(d->ops->readout(d, concept, 1, ops->session_embedding(x.session), &base[0], &base[1], e));
    unit = base[0] > 0 ? base[0] : NAN;
    int32_t n = list_changes(&x.p, &x.cf, x.changes);
    for (int32_t r = 0; r < job->n_rankings; r++) {
        rank_changes(job, r, concept, index, n, x.changes, x.scored, x.ranked);
        for (int point = 0; point < POINTS; point++) {
            int32_t m = n < cpt_faithfulness_sizes[point] ? n : cpt_faithfulness_sizes[point];
            CPT_TRY(ops->session_joint(x.session, m, x.ranked, x.embedding, e));
            CPT_TRY(d->ops->readout(d, concept, 1, x.embedding, &value[0], &value[1], e));
            drops[r * POINTS + point] = (base[pre] - value[pre]) / unit;
        }
    }
done:
    scratch_free(job->m, &x);
    return status;
}

double cpt_faithfulness_area(const float *drop)
{
    double area = 0;
    for (int i = 1; i < POINTS; i++)
        area += 0.5 * ((double)drop[i] + drop[i - 1]) *
                log((double)cpt_faithfulness_sizes[i] / cpt_faithfulness_sizes[i - 1]);
    return area / log((double)cpt_faithfulness_sizes[POINTS - 1] / cpt_faithfulness_sizes[0]);
}

/* Means over the usable pairs of a concept. drops [pairs][n_rankings][POINTS]. */
static void average(const faithfulness_job *job, int32_t concept, const float *drops,
                    cpt_faithfulness *out)
{
    int64_t from = job->pairs->first[concept], to = job->pairs->first[concept + 1];
    int64_t row = (int64_t)job->n_rankings * POINTS;
    for (int32_t r = 0; r < job->n_rankings; r++) {
        int64_t at = (int64_t)r * out->n_concepts + concept;
        for (int point = 0; point < POINTS; point++) {
            double sum = 0;
            int32_t n = 0;
            for (int64_t i = from; i < to; i++) {
                float drop = drops[i * row + r * POINTS + point];
                if (isnan(drop)) continue;
                sum += drop;
                n++;
            }
            out->drop[at * POINTS + point] = n ? (float)(sum / n) : NAN;
            out->n_pairs[concept] = n;
        }
        out->area[at] = (float)cpt_faithfulness_area(out->drop + at * POINTS);
    }
}

static cpt_status result_make(int32_t n_rankings, int32_t n_concepts, cpt_faithfulness **out, cpt_err *e)
{
    cpt_faithfulness *f;
    size_t n = (size_t)n_rankings * (size_t)n_concepts;
    cpt_status status = cpt_alloc(&f, 1, sizeof *f, e);
    if (status != CPT_OK) return status;
    *out = f;
    f->n_rankings = n_rankings;
    f->n_concepts = n_concepts;
    CPT_TRY(cpt_alloc(&f->drop, n, POINTS * sizeof *f->drop, e));
    CPT_TRY(cpt_alloc(&f->area, n, sizeof *f->area, e));
    status = cpt_alloc(&f->n_pairs, (size_t)n_concepts, sizeof *f->n_pairs, e);
done:
    return status;
}

/* All pairs in parallel, each into its own row of drops. */
static cpt_status run_pairs(const faithfulness_job *job, float *drops, const cpt_context *ctx, cpt_err *e)
{
    cpt_failure failure = {.status = CPT_OK};
    int64_t n_done = 0, total = job->pairs->first[job->pairs->n_concepts];
#pragma omp parallel for schedule(dynamic) num_threads(cpt_threads(ctx))
    for (int64_t i = 0; i < total; i++) {
        if (cpt_failed(&failure)) continue;
        cpt_err err;
        int64_t done;
        int32_t low = 0, high = job->pairs->n_concepts; /* the concept with first[low] <= i */
        while (high - low > 1) {
            int32_t middle = low + (high - low) / 2;
            if (job->pairs->first[middle] <= i) low = middle;
            else high = middle;
        }
        cpt_status status = cpt_check_stop(ctx, &err);
        if (status == CPT_OK)
            status = run_pair(job, low, i, drops + i * job->n_rankings * POINTS, &err);
        cpt_failure_note(&failure, status, i, &err);
#pragma omp atomic capture
        done = ++n_done;
        if (omp_get_thread_num() == 0)
            cpt_progress(ctx, "substituting genes together", (double)done, (double)total, NULL);
    }
    return cpt_failure_status(&failure, e);
}

cpt_status cpt_faithfulness_curves(const cpt_model *m, const cpt_dictionary *d, const cpt_counts *counts,
                                   const cpt_pairs *pairs, cpt_readout readout, int32_t n_rankings,
                                   const float *const *rankings, cpt_faithfulness **out,
                                   const cpt_context *ctx, cpt_err *e)
{
    faithfulness_job job = {m, d, counts, pairs, readout, n_rankings, rankings, ctx ? ctx->seed : 0};
    cpt_faithfulness *f = NULL;
    cpt_status status;
    *out = NULL;
    if (!cpt_model_has_counterfactuals(m) || m->dim != d->dim || n_rankings < 1)
        return cpt_fail(e, CPT_ERR_USAGE, "%s: faithfulness needs a model that embeds changed cells, a "
                        "dictionary of its embedding and at least one ranking", m->ops->kind);
    CPT_TRY(result_make(n_rankings, pairs->n_concepts, &f, e));
    CPT_TRY(cpt_alloc(&f->pair_drop, (size_t)pairs->first[pairs->n_concepts] * (size_t)n_rankings,
                      POINTS * sizeof *f->pair_drop, e));
    CPT_TRY(run_pairs(&job, f->pair_drop, ctx, e));
    for (int32_t c = 0; c < pairs->n_concepts; c++) average(&job, c, f->pair_drop, f);
done:
    if (status == CPT_OK) *out = f;
    else cpt_faithfulness_free(f);
    return status;
}

void cpt_faithfulness_free(cpt_faithfulness *f)
{
    if (!f) return;
    free(f->drop);
    free(f->area);
    free(f->n_pairs);
    free(f->pair_drop);
    free(f);
}

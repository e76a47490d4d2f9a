#include "trust/sweep.h"

#include "base/file.h"
#include "base/each.h"
#include "base/memory.h"
#include "dictionary/largest.h"
#include "math/blas.h"
#include "study/prepare.h"
#include "study/store.h"

#include <math.h>
#include <omp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* Problem: R2 means nothing by itself: which k, how many concepts, and what do plain methods reach
 * with as much?
 *
 * Method: a list of rows (kind, how, k, concepts), each with one result per seed. A task trains one
 * dictionary for one seed and fills the rows that it can: "largest" rows of one kind share a
 * training. Tasks run side by side, each in one thread, and write to places of their own: the same
 * results for any number of threads. Cost: one training per task; on a small embedding a second
 * each.
 *
 * The grid is ours: k up to the dimension, expansions 2, 4 and 16 for topk, 4 for the others. Above
 * 64 dimensions it is thinner, and above 128 ica and nmf are left out, which would take longer than
 * all else. */

enum {
    NARROW = 64,
    LOW_RANK_LIMIT = 128,
    MAX_SEEDS = 3,
    MOST_K = 16,
    N_VALUES = 13,
    PATH_LIMIT = 4096
};
static const double SAVE_EVERY = 20; /* seconds */

typedef enum how { TRAINED, RANK, LARGEST } how;
static const char *const how_names[] = {"trained", "rank", "largest"};

typedef struct result {
    bool done, failed; /* failed: this setting does not exist for these cells */
    cpt_reconstruction train, validation;
    double mean_baseline;
} result;

typedef struct row {
    const char *kind;
    how how;
    int32_t k, n_concepts; /* n_concepts 0 = as many as the kind makes */
    result results[MAX_SEEDS];
} row;

typedef struct task {
    int first, n; /* rows */
    int seed;
} task;

typedef struct sweep {
    cpt_study *s;
    const float *a;
    int64_t n_cells;
    int32_t dim;
    cpt_split splits[MAX_SEEDS];
    row *rows;
    task *tasks;
    int n_rows, n_tasks, n_seeds;
    char key[65]; /* of everything that the results depend on */
    double saved; /* when */
} sweep;

/* ---- the grid ---- */

typedef struct grid {
    int32_t k[MOST_K], expansions[4],
        variants[4]; /* each ends with 0; variants: expansions of the others */
    int n_seeds;
} grid;

static const grid narrow = {
    {1, 2, 3, 4, 5, 6, 8, 10, 16, 24, 32, 48, 64, 0}, {2, 4, 16, 0}, {4, 0}, MAX_SEEDS};
static const grid wide = {{8, 16, 32, 64, 128, 0}, {4, 8, 0}, {8, 0}, 2};

static bool fits(const sweep *w, int32_t k)
{
    return k <= w->dim && k < w->splits[0].n_train;
}

static void add_row(sweep *w, const char *kind, how way, int32_t k, int32_t n_concepts)
{
    w->rows[w->n_rows++] = (row){.kind = kind, .how = way, .k = k, .n_concepts = n_concepts};
}

static void add_trained(sweep *w, const grid *g, const char *kind, const int32_t *expansions)
{
    for (int x = 0; x < 4 && expansions[x]; x++)
        for (const int32_t *k = g->k; *k; k++)
            if (fits(w, *k)) add_row(w, kind, TRAINED, *k, expansions[x] * w->dim);
}

static void add_ks(sweep *w, const grid *g, const char *kind, how way)
{
    for (const int32_t *k = g->k; *k; k++)
        if (fits(w, *k)) add_row(w, kind, way, *k, 0);
}

static void add_rows(sweep *w, const grid *g)
{
    add_trained(w, g, "topk", g->expansions);
    add_trained(w, g, "batchtopk", g->variants);
    add_trained(w, g, "matryoshka", g->variants);
    add_trained(w, g, "random", g->variants);
    add_ks(w, g, "pca", RANK);
    add_ks(w, g, "pca", LARGEST);
    if (w->dim <= LOW_RANK_LIMIT) {
        add_ks(w, g, "ica", RANK);
        add_ks(w, g, "ica", LARGEST);
        add_ks(w, g, "nmf", RANK);
        add_ks(w, g, "nmf", LARGEST);
    }
    add_ks(w, g, "neurons", LARGEST);
}

static bool same_training(const row *a, const row *b)
{
    return a->how == LARGEST && b->how == LARGEST && strcmp(a->kind, b->kind) == 0;
}

/* Seed by seed: a run that was stopped has something of everything. */
static void add_tasks(sweep *w)
{
    for (int seed = 0; seed < w->n_seeds; seed++)
        for (int first = 0, n; first < w->n_rows; first += n) {
            for (n = 1;
                 first + n < w->n_rows && same_training(&w->rows[first], &w->rows[first + n]);)
                n++;
            w->tasks[w->n_tasks++] = (task){first, n, seed};
        }
}

/* ---- what is kept between runs ---- */

/* Everything the results depend on: the embedding, the split, and how dictionaries are trained. */
static void make_key(sweep *w)
{
    static const char *const names[] = {"validation", "donor", "preset", "dictionary-epochs",
                                        "ema"};
    const json_t *stages = json_object_get(w->s->manifest, "stages");
    const char *embedding =
        json_string_value(json_object_get(json_object_get(stages, "embedding"), "key"));
    cpt_sha256 h;
    char text[64];
    cpt_sha256_init(&h);
    snprintf(text, sizeof text, "sweep 1 %llu ", (unsigned long long)w->s->ctx->seed);
    cpt_sha256_add(&h, text, strlen(text));
    if (embedding) cpt_sha256_add(&h, embedding, strlen(embedding));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = cpt_options_text(w->s->options, names[i]);
        cpt_sha256_add(&h, value, strlen(value) + 1);
    }
    cpt_sha256_hex(&h, w->key);
}

static void row_name(const row *r, int seed, char *name, size_t capacity)
{
    snprintf(name, capacity, "%s %s k%d F%d seed%d", r->kind, how_names[r->how], r->k,
             r->n_concepts, seed);
}

static void pack(const cpt_reconstruction *r, double *v)
{
    const double values[] = {r->r2_feature, r->r2_scalar, r->cosine, r->l0, r->dead_fraction};
    v[0] = (double)r->n;
    memcpy(v + 1, values, sizeof values);
}

static void unpack(const double *v, cpt_reconstruction *r)
{
    *r = (cpt_reconstruction){(int64_t)v[0], v[1], v[2], 1 - v[1], v[3], v[4], v[5]};
}

/* As texts: study files round numbers, and results that were kept must be the same bits. */
static json_t *result_json(const result *r)
{
    double v[N_VALUES];
    if (r->failed) return json_null();
    json_t *list = json_array();
    pack(&r->train, v);
    pack(&r->validation, v + 6);
    v[12] = r->mean_baseline;
    for (int i = 0; i < N_VALUES; i++)
        json_array_append_new(list, isfinite(v[i]) ? json_sprintf("%.17g", v[i]) : json_null());
    return list;
}

static void result_read(const json_t *list, result *r)
{
    double v[N_VALUES];
    if (json_is_null(list)) r->done = r->failed = true;
    if (!json_is_array(list) || json_array_size(list) != N_VALUES) return;
    for (int i = 0; i < N_VALUES; i++) {
        const char *text = json_string_value(json_array_get(list, (size_t)i));
        if (!text || !cpt_parse_double(text, &v[i])) v[i] = NAN;
    }
    if (!(v[0] >= 0 && v[0] < 1e15 && v[6] >= 0 && v[6] < 1e15)) return;
    unpack(v, &r->train);
    unpack(v + 6, &r->validation);
    r->mean_baseline = v[12];
    r->done = true;
}

/* A file of another key, or none, or a broken one: everything is trained. */
static int read_kept(sweep *w)
{
    json_t *root = NULL;
    char name[96];
    int n = 0;
    if (cpt_store_read_json(w->s, "cache/sweep.json", "evaluation", &root, NULL) != CPT_OK)
        return 0;
    const char *key = json_string_value(json_object_get(root, "key"));
    const json_t *results = json_object_get(root, "results");
    for (int i = 0; i < w->n_rows && key && strcmp(key, w->key) == 0; i++)
        for (int seed = 0; seed < w->n_seeds; seed++) {
            row_name(&w->rows[i], seed, name, sizeof name);
            const json_t *kept = json_object_get(results, name);
            if (kept) result_read(kept, &w->rows[i].results[seed]);
            n += w->rows[i].results[seed].done;
        }
    json_decref(root);
    return n;
}

static cpt_status keep(sweep *w, cpt_err *e)
{
    json_t *results = json_object();
    char name[96];
    for (int i = 0; i < w->n_rows; i++)
        for (int seed = 0; seed < w->n_seeds; seed++) {
            if (!w->rows[i].results[seed].done) continue;
            row_name(&w->rows[i], seed, name, sizeof name);
            json_object_set_new(results, name, result_json(&w->rows[i].results[seed]));
        }
    json_t *root = json_pack("{s:s, s:o}", "key", w->key, "results", results);
    cpt_status status = cpt_store_write_json(w->s, "cache/sweep.json", root, e);
    json_decref(root);
    w->saved = omp_get_wtime();
    return status;
}

/* ---- one task ---- */

static cpt_status score_largest(const sweep *w, const cpt_split *split, const cpt_dictionary *d,
                                int32_t k, result *r, const cpt_context *ctx, cpt_err *e)
{
    cpt_largest kept;
    cpt_largest_init(&kept, d, k);
    cpt_status status = cpt_reconstruction_score(&kept.base, w->a, split->n_train, split->train,
                                                 NULL, &r->train, ctx, e);
    if (status) return status;
    return cpt_reconstruction_score(&kept.base, w->a, split->n_validation, split->validation, NULL,
                                    &r->validation, ctx, e);
}

static void training_options(const sweep *w, const row *r, cpt_dictionary_options *o)
{
    cpt_prepare_dictionary_options(w->s->options, o);
    o->kind = r->kind;
    o->groups = NULL;
    o->expansion = 0;
    o->n_concepts = r->n_concepts;
    o->k = r->how == LARGEST ? 0 : r->k;
    if (r->how != TRAINED) o->preset = NULL;
}

/* Into results [t->n], by row. A rank that the cells do not have is no error here: the setting does
 * not exist. */
static cpt_status run_task(const sweep *w, const task *t, result *results, cpt_err *e)
{
    const cpt_split *split = &w->splits[t->seed];
    const row *rows = &w->rows[t->first];
    cpt_context ctx = *w->s->ctx; /* silent: many of them run at once */
    cpt_dictionary_options o;
    cpt_dictionary_report report = {0};
    cpt_dictionary *d = NULL;
    ctx.n_threads = 1;
    ctx.seed += (uint64_t)t->seed;
    ctx.log = NULL;
    ctx.progress = NULL;
    training_options(w, rows, &o);
    cpt_status status =
        cpt_dictionary_train(&o, w->a, w->dim, split->n_train, split->train, split->n_validation,
                             split->validation, &d, &report, &ctx, e);
    for (int i = 0; i < t->n; i++) {
        result *r = &results[i];
        *r = (result){true, status == CPT_ERR_DATA, report.train, report.validation,
                      report.mean_baseline_feature};
        if (status == CPT_OK && rows[i].how == LARGEST)
            status = score_largest(w, split, d, rows[i].k, r, &ctx, e);
    }
    cpt_dictionary_free(d);
    cpt_dictionary_report_free(&report);
    return status == CPT_ERR_DATA ? CPT_OK : status;
}

static bool is_done(const sweep *w, const task *t)
{
    for (int i = t->first; i < t->first + t->n; i++)
        if (!w->rows[i].results[t->seed].done) return false;
    return true;
}

/* Called by one thread at a time. */
static cpt_status take_results(sweep *w, const task *t, const result *results, cpt_err *e)
{
    for (int i = 0; i < t->n; i++) w->rows[t->first + i].results[t->seed] = results[i];
    return omp_get_wtime() - w->saved > SAVE_EVERY ? keep(w, e) : CPT_OK;
}

static cpt_status do_task(void *data, int32_t number, cpt_err *e)
{
    sweep *w = data;
    const task *t = &w->tasks[number];
    result results[MOST_K];
    if (is_done(w, t)) return CPT_OK;
    cpt_status status = run_task(w, t, results, e);
#pragma omp critical(cpt_sweep_result)
    if (status == CPT_OK) status = take_results(w, t, results, e);
    return status;
}

static cpt_status run_tasks(sweep *w, cpt_err *e)
{
    cpt_blas_single_thread();
    w->saved = omp_get_wtime();
    return cpt_each(w->n_tasks, "sweep of dictionaries", do_task, w, cpt_threads(w->s->ctx), w->s->ctx, e);
}

/* ---- summaries ---- */

/* What is told of a result: the names of its columns, and where they stand in it. */
#define COLUMN(name, field) {name, offsetof(result, field)}
static const struct column {
    const char *name;
    size_t at;
} columns[] = {
    COLUMN("train_r2_feature", train.r2_feature),
    COLUMN("train_r2_scalar", train.r2_scalar),
    COLUMN("train_l0", train.l0),
    COLUMN("train_dead_fraction", train.dead_fraction),
    COLUMN("validation_r2_feature", validation.r2_feature),
    COLUMN("validation_r2_scalar", validation.r2_scalar),
    COLUMN("validation_cosine", validation.cosine),
    COLUMN("validation_l0", validation.l0),
    COLUMN("mean_baseline_r2_feature", mean_baseline),
};
enum { TRAIN_FEATURE = 0, VALIDATION_FEATURE = 4, N_COLUMNS = sizeof columns / sizeof *columns };

static double value_of(const result *r, int column)
{
    return r->failed ? NAN : *(const double *)((const char *)r + columns[column].at);
}

/* Over the seeds; sd NaN for one. Returns how many there are. */
static int mean_sd(const row *r, int n_seeds, int column, double *mean, double *sd)
{
    double sum = 0, squares = 0;
    int n = 0;
    for (int i = 0; i < n_seeds; i++) {
        const double x = value_of(&r->results[i], column);
        if (!isfinite(x)) continue;
        sum += x;
        n++;
    }
    *mean = n ? sum / n : NAN;
    for (int i = 0; i < n_seeds; i++) {
        const double x = value_of(&r->results[i], column);
        if (isfinite(x)) squares += (x - *mean) * (x - *mean);
    }
    *sd = n > 1 ? sqrt(squares / (n - 1)) : NAN;
    return n;
}

static cpt_status write_tsv(const sweep *w, cpt_err *e)
{
    cpt_text t = {0};
    char path[PATH_LIMIT], number[64];
    cpt_status status;
    cpt_text_add(&t, "kind\thow\tk\tn_concepts\tn_seeds");
    for (int c = 0; c < N_COLUMNS; c++)
        cpt_text_addf(&t, "\t%s\t%s_sd", columns[c].name, columns[c].name);
    for (int i = 0; i < w->n_rows; i++) {
        const row *r = &w->rows[i];
        double mean, sd;
        int n = mean_sd(r, w->n_seeds, TRAIN_FEATURE, &mean, &sd);
        cpt_text_addf(&t, "\n%s\t%s\t%d\t", r->kind, how_names[r->how], r->k);
        if (r->n_concepts) cpt_text_addf(&t, "%d", r->n_concepts);
        cpt_text_addf(&t, "\t%d", n);
        for (int c = 0; c < N_COLUMNS; c++) {
            mean_sd(r, w->n_seeds, c, &mean, &sd);
            for (int k = 0; k < 2; k++) {
                double x = k ? sd : mean;
                snprintf(number, sizeof number, "\t%.6g", x);
                cpt_text_add(&t, isfinite(x) ? number : "\t");
            }
        }
    }
    cpt_text_add(&t, "\n");
    CPT_TRY(cpt_text_status(&t, e));
    CPT_TRY(cpt_study_path(w->s, "sweep.tsv", path, sizeof path, e));
    status = cpt_write_file(path, t.bytes, t.length, e);
done:
    cpt_text_free(&t);
    return status;
}

static json_t *row_json(const sweep *w, const row *r)
{
    double mean, sd;
    int n = mean_sd(r, w->n_seeds, TRAIN_FEATURE, &mean, &sd);
    json_t *out = json_pack(
        "{s:s, s:s, s:i, s:o, s:i}", "kind", r->kind, "how", how_names[r->how], "k", r->k,
        "n_concepts", r->n_concepts ? json_integer(r->n_concepts) : json_null(), "n_seeds", n);
    for (int c = 0; c < N_COLUMNS; c++) {
        mean_sd(r, w->n_seeds, c, &mean, &sd);
        json_object_set_new(
            out, columns[c].name,
            json_pack("{s:o, s:o}", "mean", cpt_json_number(mean), "sd", cpt_json_number(sd)));
    }
    return out;
}

/* The row with the smallest k, then the fewest concepts, whose mean on validation cells is there.
 */
static const row *first_that_reaches(const sweep *w, const char *kind, how way, double level)
{
    const row *best = NULL;
    for (int i = 0; i < w->n_rows; i++) {
        const row *r = &w->rows[i];
        double mean, sd;
        if (strcmp(r->kind, kind) != 0 || r->how != way) continue;
        mean_sd(r, w->n_seeds, VALIDATION_FEATURE, &mean, &sd);
        if (!(mean >= level)) continue;
        if (!best || r->k < best->k || (r->k == best->k && r->n_concepts < best->n_concepts))
            best = r;
    }
    return best;
}

static json_t *reaches_json(const sweep *w, double level)
{
    json_t *list = json_array();
    for (int i = 0; i < w->n_rows; i++) {
        const row *r = &w->rows[i];
        if (i > 0 && r->how == r[-1].how && strcmp(r->kind, r[-1].kind) == 0) continue;
        const row *best = first_that_reaches(w, r->kind, r->how, level);
        json_array_append_new(
            list,
            json_pack("{s:s, s:s, s:o, s:o}", "kind", r->kind, "how", how_names[r->how], "k",
                      best ? json_integer(best->k) : json_null(), "n_concepts",
                      best && best->n_concepts ? json_integer(best->n_concepts) : json_null()));
    }
    return list;
}

static json_t *summary_json(const sweep *w)
{
    json_t *rows = json_array();
    for (int i = 0; i < w->n_rows; i++) json_array_append_new(rows, row_json(w, &w->rows[i]));
    return json_pack("{s:i, s:i, s:s, s:o, s:{s:o, s:o}}", "dim", w->dim, "n_seeds", w->n_seeds,
                     "rule",
                     "mean and sd over seeds, which change the training and the split; trained: k "
                     "active units per cell "
                     "(batchtopk, matryoshka: on average); rank: k components, all used; largest: "
                     "all components, each "
                     "cell keeps its k largest",
                     "rows", rows, "reaches_r2_feature", "0.99", reaches_json(w, 0.99), "0.999",
                     reaches_json(w, 0.999));
}

/* ---- all ---- */

static cpt_status sweep_new(cpt_study *s, sweep *w, cpt_err *e)
{
    const cpt_column *donor;
    cpt_status status;
    *w = (sweep){.s = s};
    CPT_TRY(cpt_study_embedding(s, &w->a, &w->n_cells, &w->dim, e));
    CPT_TRY(cpt_study_column(s, "donor", &donor, e));
    const grid *g = w->dim <= NARROW ? &narrow : &wide;
    w->n_seeds = g->n_seeds;
    for (int i = 0; i < w->n_seeds; i++)
        CPT_TRY(cpt_split_make(w->a, w->n_cells, w->dim, donor,
                               cpt_options_number(s->options, "validation"),
                               s->ctx->seed + (uint64_t)i, &w->splits[i], e));
    enum { MOST_ROWS = MOST_K * 20 };
    CPT_TRY(cpt_alloc(&w->rows, MOST_ROWS, sizeof *w->rows, e));
    CPT_TRY(cpt_alloc(&w->tasks, MOST_ROWS * MAX_SEEDS, sizeof *w->tasks, e));
    add_rows(w, g);
    add_tasks(w);
    make_key(w);
done:
    return status;
}

static void sweep_free(sweep *w)
{
    for (int i = 0; i < w->n_seeds; i++) cpt_split_free(&w->splits[i]);
    free(w->rows);
    free(w->tasks);
}

cpt_status cpt_sweep_json(cpt_study *s, json_t **out, cpt_err *e)
{
    sweep w;
    cpt_status status, kept;
    CPT_TRY(sweep_new(s, &w, e));
    int n = read_kept(&w);
    if (n)
        cpt_info(s->ctx, "sweep: %d of %d results are kept from before", n, w.n_rows * w.n_seeds);
    status = run_tasks(&w, e);
    kept = keep(&w, status ? NULL : e); /* what is done is done, also after a stop */
    if (status == CPT_OK) status = kept;
    if (status == CPT_OK) status = write_tsv(&w, e);
    if (status == CPT_OK) *out = summary_json(&w);
done:
    sweep_free(&w);
    return status;
}

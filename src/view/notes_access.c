#include "base/file.h"
#include "base/memory.h"
#include "io/json_value.h"
#include "notes/review.h"
#include "view/concept_keys.h"
#include "study/control_studies.h"
#include "study/notes_study.h"
#include "study/stages.h"
#include "view/view.h"

#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* The notes of a study: notes.sqlite (src/notes) together with the study's concepts.
 *
 * The study is opened only to learn the keys, and looked into (a view, kept until the results are
 * others) when a concept gets its first row. */

enum { REVIEW_ACTIVE = 10, ABOUT_GENES = 10, ABOUT_CELLS = 20 };

/* What the notes of a study carry with them. */
typedef struct origin {
    char *folder;
    cpt_context ctx;
    char generation[33];          /* of the results whose concepts are known */
    char dictionary[65];          /* key of the stage "concepts" whose concepts are known */
    cpt_text genes, label, cells; /* of the concept described last */
    cpt_view *view;               /* that described it; NULL = none yet */
    pthread_mutex_t lock;         /* of the following */
    struct known_units {
        char made_by[65]; /* key of the stage "concepts" */
        int32_t n;
        char (*keys)[CPT_NOTES_KEY + 1];
    } known[CPT_UNIT_KINDS];
} origin;

static const char *concepts_key(const cpt_study *s)
{
    const json_t *stages = json_object_get(s->manifest, "stages");
    const char *key =
        json_string_value(json_object_get(json_object_get(stages, "concepts"), "key"));
    return key ? key : "";
}

static void free_origin(void *data)
{
    origin *o = data;
    free(o->folder);
    cpt_view_close(o->view);
    cpt_text_free(&o->genes);
    cpt_text_free(&o->label);
    cpt_text_free(&o->cells);
    for (int k = 0; k < CPT_UNIT_KINDS; k++) free(o->known[k].keys);
    pthread_mutex_destroy(&o->lock);
    free(o);
}

/* ---- what is kept of a concept ---- */

static void describe_label(const cpt_view *v, int32_t concept, cpt_text *out)
{
    char *text = NULL;
    if (cpt_view_concept(v, concept, &text, NULL) != CPT_OK) return;
    json_t *header = json_loads(text, 0, NULL);
    cpt_text_add(out, cpt_json_text(header, "label"));
    json_decref(header);
    free(text);
}

static void describe_genes(const cpt_view *v, int32_t concept, cpt_text *out)
{
    const cpt_gene_query query = {.limit = ABOUT_GENES};
    char *text = NULL;
    size_t i;
    json_t *row;
    if (cpt_view_genes(v, concept, &query, &text, NULL) != CPT_OK) return;
    json_t *genes = json_loads(text, 0, NULL);
    json_array_foreach(json_object_get(genes, "rows"), i, row)
        cpt_text_addf(out, "%s%s", i ? "," : "", cpt_json_text(row, "symbol"));
    json_decref(genes);
    free(text);
}

static void describe_cells(const cpt_view *v, int32_t concept, cpt_text *out)
{
    int32_t *cells = NULL;
    float *values = NULL;
    int64_t n = 0;
    if (cpt_view_ranked_cells(v, concept, &cells, &values, &n, NULL) == CPT_OK)
        for (int64_t i = 0; i < n && i < ABOUT_CELLS; i++)
            cpt_text_addf(out, "%s%s", i ? "\n" : "",
                          cpt_strings_get(&v->cells->cell_ids, cells[i]));
    free(cells);
    free(values);
}

/* What a file of ours may hold: no control characters but newlines, and not too long. */
static const char *safe(const cpt_text *t)
{
    const char *text = cpt_text_str(t);
    return cpt_notes_check_text("about", text, CPT_NOTES_TEXT, true, NULL) == CPT_OK ? text : "";
}

static bool still_made_by(const origin *o)
{
    cpt_study *s;
    if (cpt_study_open(o->folder, &o->ctx, &s, NULL) != CPT_OK) return false;
    bool same = strcmp(concepts_key(s), o->dictionary) == 0;
    cpt_study_close(s);
    return same;
}

/* The view of the results that are there now, when they are still those of the dictionary known here. */
static const cpt_view *look(origin *o)
{
    char now[33], running[32];
    if (cpt_study_generation(o->folder, now, running, NULL) != CPT_OK) return NULL;
    if (o->view && strcmp(cpt_view_generation(o->view), now) == 0) return o->view;
    cpt_view_close(o->view);
    o->view = NULL;
    if (!still_made_by(o) || cpt_view_open(o->folder, &o->ctx, &o->view, NULL) != CPT_OK)
        o->view = NULL;
    return o->view;
}

/* What cannot be read (a later stage is being computed, or the study was run again meanwhile) is
 * left out: the words matter more. */
static cpt_status describe(void *data, int32_t concept, cpt_notes_about *about, cpt_err *e)
{
    origin *o = data;
    cpt_text_free(&o->genes);
    cpt_text_free(&o->label);
    cpt_text_free(&o->cells);
    const cpt_view *v = look(o);
    if (v) {
        describe_label(v, concept, &o->label);
        describe_genes(v, concept, &o->genes);
        describe_cells(v, concept, &o->cells);
    }
    *about = (cpt_notes_about){safe(&o->genes), safe(&o->label), safe(&o->cells)};
    return CPT_OK;
}

/* ---- opening ---- */

static bool has_concepts(const char *folder)
{
    char path[PATH_MAX];
    return cpt_path_join(path, sizeof path, folder, "cache/activations_by_concept.indptr.npy",
                         NULL) == CPT_OK &&
           cpt_path_exists(path);
}

/* Keys and generation must be of the same results: a stage may end while keys are computed. */
static cpt_status learn_concepts(cpt_notes *n, origin *o, cpt_err *e)
{
    cpt_study *s = NULL;
    char(*keys)[CPT_NOTES_KEY + 1] = NULL;
    char before[33] = "", after[33] = "", running[32];
    int32_t n_concepts = 0;
    cpt_status status;
    CPT_TRY(cpt_study_generation(o->folder, before, running, e));
    CPT_TRY(cpt_study_open(o->folder, &o->ctx, &s, e));
    if (has_concepts(o->folder)) CPT_TRY(cpt_study_concept_keys(s, &n_concepts, &keys, e));
    CPT_TRY(cpt_study_generation(o->folder, after, running, e));
    if (keys) CPT_TRY(cpt_notes_set_concepts(n, n_concepts, keys, describe, o, e));
    pthread_mutex_lock(&o->lock);
    snprintf(o->dictionary, sizeof o->dictionary, "%s", concepts_key(s));
    snprintf(o->generation, sizeof o->generation, "%s", strcmp(before, after) == 0 ? after : "");
    pthread_mutex_unlock(&o->lock);
done:
    free(keys);
    cpt_study_close(s);
    return status;
}

cpt_status cpt_notes_open(const char *study, const cpt_context *ctx, cpt_notes **out, cpt_err *e)
{
    char path[PATH_MAX];
    cpt_notes *n = NULL;
    origin *o = calloc(1, sizeof *o);
    cpt_status status;
    *out = NULL;
    if (!o || pthread_mutex_init(&o->lock, NULL) != 0) {
        free(o);
        return cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
    }
    if (!(o->folder = cpt_strdup(study))) {
        status = cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
        goto done;
    }
    cpt_context_init(&o->ctx);
    if (ctx) o->ctx = *ctx;
    CPT_TRY(cpt_path_join(path, sizeof path, study, "notes.sqlite", e));
    CPT_TRY(cpt_notes_open_file(path, true, &n, e));
    cpt_notes_adopt(n, o, free_origin);
    CPT_TRY(learn_concepts(n, o, e));
    *out = n;
    return CPT_OK;
done:
    if (n) cpt_notes_close(n);
    else free_origin(o);
    return status;
}

cpt_status cpt_notes_refresh(cpt_notes *n, cpt_err *e)
{
    return learn_concepts(n, cpt_notes_owned(n), e);
}

cpt_status cpt_notes_of_study(cpt_study *s, cpt_notes **out, cpt_err *e)
{
    char path[PATH_MAX];
    char(*keys)[CPT_NOTES_KEY + 1] = NULL;
    int32_t n_concepts = 0;
    cpt_status status;
    *out = NULL;
    CPT_TRY(cpt_study_path(s, "notes.sqlite", path, sizeof path, e));
    CPT_TRY(cpt_notes_open_file(path, false, out, e));
    if (!cpt_path_exists(path) || !has_concepts(s->folder)) goto done;
    CPT_TRY(cpt_study_concept_keys(s, &n_concepts, &keys, e));
    status = cpt_notes_set_concepts(*out, n_concepts, keys, NULL, NULL, e);
done:
    free(keys);
    if (status) {
        cpt_notes_close(*out);
        *out = NULL;
    }
    return status;
}

/* A damaged notes file does not stop a run of hours: its results are then without notes, and it
 * says so. */
cpt_status cpt_study_opinions(cpt_study *s, cpt_notes_opinions *out, cpt_err *e)
{
    cpt_notes *n;
    cpt_err own;
    *out = (cpt_notes_opinions){0};
    cpt_status status = cpt_notes_of_study(s, &n, &own);
    if (status == CPT_OK) status = cpt_notes_summarise(n, out, &own);
    cpt_notes_close(n);
    if (status == CPT_OK) return CPT_OK;
    if (status == CPT_ERR_MEMORY) return cpt_fail(e, status, "%s", own.text);
    cpt_warn(s->ctx, "left out: %s", own.text);
    return CPT_OK;
}

static void hash_text(cpt_sha256 *h, const char *text)
{
    cpt_sha256_add(h, text, strlen(text) + 1);
}

cpt_status cpt_study_hash_opinions(cpt_study *s, cpt_sha256 *h, cpt_err *e)
{
    cpt_notes_opinions o;
    cpt_status status = cpt_study_opinions(s, &o, e);
    for (int32_t i = 0; status == CPT_OK && i < o.n; i++) {
        const cpt_notes_opinion *r = &o.rows[i];
        const int32_t numbers[4] = {r->concept, r->n_names, r->n_ratings, r->n_experts};
        cpt_sha256_add(h, numbers, sizeof numbers);
        cpt_sha256_add(h, &r->rating, sizeof r->rating);
        hash_text(h, r->name);
        hash_text(h, r->label);
        hash_text(h, r->notes);
    }
    cpt_notes_opinions_free(&o);
    return status;
}

/* ---- JSON out ---- */

/* The value as text; takes it over. */
static cpt_status as_text(cpt_status status, json_t *value, char **text, cpt_err *e)
{
    *text = status == CPT_OK ? json_dumps(value, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(value);
    if (status == CPT_OK && !*text) return cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
    return status;
}

cpt_status cpt_notes_keys(cpt_notes *n, char **json, cpt_err *e)
{
    json_t *out = NULL;
    origin *o = cpt_notes_owned(n);
    cpt_status status = cpt_notes_all_keys(n, &out, e);
    pthread_mutex_lock(&o->lock);
    if (status == CPT_OK) json_object_set_new(out, "generation", json_string(o->generation));
    pthread_mutex_unlock(&o->lock);
    return as_text(status, out, json, e);
}

cpt_status cpt_notes_list(cpt_notes *n, const char *author, char **json, cpt_err *e)
{
    json_t *out = NULL;
    cpt_status status = cpt_notes_rows(n, author, &out, e);
    return as_text(status, out, json, e);
}

cpt_status cpt_notes_history(cpt_notes *n, const char *key, char **json, cpt_err *e)
{
    json_t *out = NULL;
    cpt_status status = cpt_notes_past(n, key, &out, e);
    return as_text(status, out, json, e);
}

cpt_status cpt_notes_save(cpt_notes *n, const cpt_note_change *c, bool *conflict, char **json,
                          cpt_err *e)
{
    cpt_notes_result r;
    json_t *out = NULL;
    cpt_status status = cpt_notes_set(n, c, &r, e);
    *conflict = r.conflict;
    if (status == CPT_OK)
        out = json_pack("{s:I, s:s, s:b}", "revision", (json_int_t)r.revision, "time", r.time,
                        "earlier", r.earlier);
    if (r.conflict) json_object_set_new(out, "now", r.now ? r.now : json_null());
    return as_text(status, out, json, e);
}

static cpt_status step(cpt_notes *n, const char *author, bool redo, char **json, cpt_err *e)
{
    int64_t revision;
    json_t *undone, *out = NULL;
    cpt_status status = cpt_notes_step_back(n, author, redo, &revision, &undone, e);
    if (status == CPT_OK)
        out = json_pack("{s:I, s:o}", "revision", (json_int_t)revision, redo ? "redone" : "undone",
                        undone ? undone : json_null());
    return as_text(status, out, json, e);
}

cpt_status cpt_notes_undo(cpt_notes *n, const char *author, char **json, cpt_err *e)
{
    return step(n, author, false, json, e);
}

cpt_status cpt_notes_redo(cpt_notes *n, const char *author, char **json, cpt_err *e)
{
    return step(n, author, true, json, e);
}

cpt_status cpt_notes_export(cpt_notes *n, char **json, cpt_err *e)
{
    json_t *out = NULL;
    cpt_status status = cpt_notes_dump(n, &out, e);
    return as_text(status, out, json, e);
}

static cpt_status merged_text(cpt_status status, const cpt_notes_merged *m, char **json, cpt_err *e)
{
    json_t *out = json_pack("{s:I, s:I, s:I}", "added", (json_int_t)m->added, "known",
                            (json_int_t)m->known, "conflicts", (json_int_t)m->conflicts);
    return as_text(status, out, json, e);
}

cpt_status cpt_notes_merge(cpt_notes *n, const char *name, const void *bytes, size_t size,
                           char **json, cpt_err *e)
{
    cpt_notes_merged m;
    cpt_status status = cpt_notes_import(n, name, bytes, size, &m, e);
    return merged_text(status, &m, json, e);
}

cpt_status cpt_notes_merge_file(cpt_notes *n, const char *path, char **json, cpt_err *e)
{
    cpt_notes_merged m;
    cpt_status status = cpt_notes_import_path(n, path, &m, e);
    return merged_text(status, &m, json, e);
}

/* ---- review ---- */

cpt_status cpt_review_prepare(const char *study, const cpt_options *options, const char *command,
                              const cpt_context *ctx, cpt_err *e)
{
    const char *last = cpt_stage_find("index") ? "index" : "enrichment";
    cpt_study *s;
    cpt_status status = cpt_study_begin(study, NULL, options, command, ctx, &s, e);
    if (status) return status;
    status = cpt_study_advance(s, last, false, e);
    for (int i = 0; i < CPT_CONTROL_KINDS && status == CPT_OK; i++)
        status = cpt_control_make(s, cpt_control_kinds[i], last, e);
    cpt_study_close(s);
    return status;
}

/* The folder of the study whose units are of a kind. */
static cpt_status folder_of_kind(const origin *o, cpt_unit_kind kind, char folder[PATH_MAX],
                                 cpt_err *e)
{
    if (kind != CPT_UNIT_CONCEPT)
        return cpt_control_folder(o->folder, cpt_control_kinds[kind - 1], folder, PATH_MAX, e);
    snprintf(folder, PATH_MAX, "%s", o->folder);
    return CPT_OK;
}

static cpt_status open_kind(const origin *o, cpt_unit_kind kind, cpt_study **s, cpt_err *e)
{
    char folder[PATH_MAX];
    cpt_status status = folder_of_kind(o, kind, folder, e);
    if (status) return status;
    if (!has_concepts(folder))
        return cpt_fail(
            e, CPT_ERR_DATA,
            "%s: what the review mixes in is not there yet; run `conceptome review %s` first",
            o->folder, o->folder);
    return cpt_study_open(folder, &o->ctx, s, e);
}

/* Units of one kind that are active in at least REVIEW_ACTIVE cells, with their keys. */
typedef struct pool_part {
    int32_t n, *units;
    char (*keys)[CPT_NOTES_KEY + 1];
} pool_part;

static cpt_status load_part(const origin *o, cpt_unit_kind kind, pool_part *p, cpt_err *e)
{
    cpt_study *s = NULL;
    const cpt_activations *u;
    int32_t n = 0;
    cpt_status status;
    CPT_TRY(open_kind(o, kind, &s, e));
    CPT_TRY(cpt_study_activations(s, &u, e));
    CPT_TRY(cpt_study_concept_keys(s, &n, &p->keys, e));
    CPT_TRY(cpt_alloc(&p->units, (size_t)n, sizeof *p->units, e));
    for (int32_t c = 0; c < n; c++) {
        if (u->stats[c].n_active < REVIEW_ACTIVE) continue;
        p->units[p->n] = c;
        memmove(p->keys[p->n++], p->keys[c], sizeof *p->keys);
    }
done:
    cpt_study_close(s);
    return status;
}

cpt_status cpt_review_start(cpt_notes *n, const char *author, int32_t items, uint64_t seed,
                            char **json, cpt_err *e)
{
    pool_part parts[CPT_UNIT_KINDS] = {{0}};
    cpt_review_pool pool = {{0}, {NULL}, {NULL}};
    cpt_review_item *plan = NULL;
    json_t *session = NULL;
    int32_t n_plan;
    cpt_status status = CPT_OK;
    *json = NULL;
    for (int k = 0; k < CPT_UNIT_KINDS; k++) {
        CPT_TRY(load_part(cpt_notes_owned(n), (cpt_unit_kind)k, &parts[k], e));
        pool.n[k] = parts[k].n;
        pool.units[k] = parts[k].units;
        pool.keys[k] = (const char(*)[CPT_NOTES_KEY + 1]) parts[k].keys;
    }
    CPT_TRY(cpt_review_plan(&pool, items, seed, author, &plan, &n_plan, e));
    CPT_TRY(cpt_review_begin(n, author, seed, plan, n_plan, &session, e));
done:
    for (int k = 0; k < CPT_UNIT_KINDS; k++) {
        free(parts[k].units);
        free(parts[k].keys);
    }
    free(plan);
    return as_text(status, session, json, e);
}

cpt_status cpt_review_sessions(cpt_notes *n, char **json, cpt_err *e)
{
    json_t *out = NULL;
    cpt_status status = cpt_review_list(n, &out, e);
    return as_text(status, out, json, e);
}

cpt_status cpt_review_next(cpt_notes *n, const char *session, int64_t after, char **json,
                           cpt_err *e)
{
    json_t *out = NULL;
    cpt_status status = cpt_review_open_item(n, session, after, &out, e);
    return as_text(status, out, json, e);
}

/* Whether unit number `unit` of a kind is still the one with this key. Keys are computed once per
 * run. */
static cpt_status check_unit(origin *o, const cpt_review_item *item, cpt_err *e)
{
    struct known_units *known = &o->known[item->kind];
    cpt_study *s = NULL;
    cpt_status status = open_kind(o, item->kind, &s, e);
    if (status) return status;
    pthread_mutex_lock(&o->lock);
    if (!known->keys || strcmp(known->made_by, concepts_key(s)) != 0) {
        free(known->keys);
        known->keys = NULL;
        status = cpt_study_concept_keys(s, &known->n, &known->keys, e);
        snprintf(known->made_by, sizeof known->made_by, "%s", concepts_key(s));
    }
    bool same = status == CPT_OK && item->unit < known->n &&
                strcmp(known->keys[item->unit], item->key) == 0;
    pthread_mutex_unlock(&o->lock);
    cpt_study_close(s);
    if (status || same) return status;
    return cpt_fail(e, CPT_ERR_DATA,
                    "the study was run again since this session began: its units are no more; "
                    "begin a new session");
}

cpt_status cpt_review_evidence(cpt_notes *n, const char *session, const char *item, char *folder,
                               size_t capacity, int32_t *unit, cpt_err *e)
{
    char path[PATH_MAX];
    cpt_review_item found;
    origin *o = cpt_notes_owned(n);
    cpt_status status = cpt_review_item_of(n, session, item, &found, e);
    if (status == CPT_OK) status = check_unit(o, &found, e);
    if (status == CPT_OK) status = folder_of_kind(o, found.kind, path, e);
    if (status) return status;
    if (strlen(path) >= capacity)
        return cpt_fail(e, CPT_ERR_USAGE, "%s: the path is too long", path);
    memcpy(folder, path, strlen(path) + 1);
    *unit = found.unit;
    return CPT_OK;
}

cpt_status cpt_review_reply(cpt_notes *n, const char *session, const char *item,
                            const cpt_review_answer *a, char **json, cpt_err *e)
{
    int64_t answered = 0;
    cpt_status status = cpt_review_reply_to(n, session, item, a, &answered, e);
    return as_text(status, json_pack("{s:I}", "answered", (json_int_t)answered), json, e);
}

cpt_status cpt_review_agreement(cpt_notes *n, char **json, cpt_err *e)
{
    json_t *out = NULL;
    cpt_status status = cpt_review_agree(n, &out, e);
    return as_text(status, out, json, e);
}

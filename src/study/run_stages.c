#include "study/manifest.h"
#include "study/notes_study.h"
#include "study/stages.h"
#include "base/file.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

/* The engine that runs stages.
 *
 * A stage counts as done when the manifest holds its current key and every output is there with the
 * recorded size; a run that is killed in a stage leaves the manifest without it, so that stage starts
 * afresh and gives the same bytes. */

enum { PATH_LIMIT = CPT_STUDY_PATH_LIMIT };

/* ---- keys ---- */

static void hash_text(cpt_sha256 *h, const char *text)
{
    cpt_sha256_add(h, text, strlen(text) + 1);
}

/* The value as study.json holds it: 0.1 given on the command line and 0.1 read back must be the
 * same key. */
static void hash_value(const cpt_study *s, cpt_sha256 *h, const char *name)
{
    size_t n;
    char number[64];
    const cpt_option_info *info = cpt_option_list(&n);
    while (strcmp(info->name, name) != 0) info++;
    if (info->kind == CPT_OPTION_NUMBER) {
        snprintf(number, sizeof number, "%.17g", cpt_options_number(s->options, name));
        hash_text(h, number);
    } else if (info->kind == CPT_OPTION_INTEGER) {
        snprintf(number, sizeof number, "%lld", (long long)cpt_options_integer(s->options, name));
        hash_text(h, number);
    } else {
        hash_text(h, cpt_options_text(s->options, name));
    }
}

/* Options that came when studies had been made: at their defaults they stay out of the keys, and those
 * studies stand. */
static bool came_later(const char *name, const char *value)
{
    return (strcmp(name, "groups") == 0 && !*value) ||
           (strcmp(name, "sweep") == 0 && strcmp(value, "no") == 0);
}

/* A file named by an option counts with its content. */
static cpt_status hash_option(cpt_study *s, cpt_sha256 *h, const char *name, cpt_err *e)
{
    const char *text = cpt_options_text(s->options, name);
    if (came_later(name, text)) return CPT_OK;
    hash_text(h, name);
    hash_value(s, h, name);
    if (!cpt_option_names_a_file(name)) return CPT_OK;
    const char *const *items = &text;
    bool list = strcmp(name, "gmt") == 0 || strcmp(name, "markers") == 0;
    size_t n = list ? cpt_options_list(s->options, name, &items) : 1;
    for (size_t j = 0; j < n; j++) {
        char hex[65];
        if (!*items[j] || !cpt_path_exists(items[j])) continue;
        cpt_status status = cpt_sha256_path(items[j], hex, e);
        if (status) return status;
        hash_text(h, hex);
    }
    return CPT_OK;
}

cpt_status cpt_study_stage_key(cpt_study *s, const cpt_stage *stage, char hex[65], cpt_err *e)
{
    cpt_sha256 h;
    char number[64];
    const json_t *done = json_object_get(s->manifest, "stages");
    cpt_sha256_init(&h);
    hash_text(&h, stage->name);
    snprintf(number, sizeof number, "%d %llu", stage->format,
             stage->depends & CPT_STAGE_SEED ? (unsigned long long)s->ctx->seed : 0ULL);
    hash_text(&h, number);
    const char *input =
        json_string_value(json_object_get(json_object_get(s->manifest, "input"), "sha256"));
    if (!stage->reads[0]) hash_text(&h, input ? input : "");
    for (int i = 0; i < CPT_STAGE_MAX_READS && stage->reads[i]; i++) {
        const char *key =
            json_string_value(json_object_get(json_object_get(done, stage->reads[i]), "key"));
        hash_text(&h, key ? key : "");
    }
    for (int i = 0; i < CPT_STAGE_MAX_OPTIONS && stage->options[i]; i++) {
        cpt_status status = hash_option(s, &h, stage->options[i], e);
        if (status) return status;
    }
    cpt_status status = stage->depends & CPT_STAGE_NOTES ? cpt_study_hash_opinions(s, &h, e) : CPT_OK;
    cpt_sha256_hex(&h, hex);
    return status;
}

static bool stage_is_done(const cpt_study *s, const cpt_stage *stage, const char *key)
{
    const json_t *record = json_object_get(json_object_get(s->manifest, "stages"), stage->name);
    const char *state = json_string_value(json_object_get(record, "state"));
    const char *old = json_string_value(json_object_get(record, "key"));
    if (!state || !old || strcmp(state, "done") != 0 || strcmp(old, key) != 0) return false;
    const char *file;
    json_t *output;
    json_object_foreach(json_object_get(record, "outputs"), file, output)
    {
        char path[PATH_LIMIT];
        struct stat st;
        if (cpt_study_path(s, file, path, sizeof path, NULL) || stat(path, &st) != 0) return false;
        if (S_ISREG(st.st_mode) &&
            json_integer_value(json_object_get(output, "bytes")) != (json_int_t)st.st_size)
            return false;
    }
    return true;
}

/* ---- running ---- */

static cpt_status record_output(const cpt_study *s, json_t *outputs, const char *file, cpt_err *e)
{
    char path[PATH_LIMIT], hex[65];
    struct stat st;
    cpt_status status = cpt_study_path(s, file, path, sizeof path, e);
    if (status) return status;
    if (stat(path, &st) != 0)
        return cpt_fail(e, CPT_ERR_INTERNAL, "%s: a stage ended without writing it", path);
    json_t *record =
        json_pack("{s:I}", "bytes", (json_int_t)(S_ISREG(st.st_mode) ? st.st_size : 0));
    /* The cache can be many gigabytes and is checked on opening; results carry their checksum. */
    if (strncmp(file, "cache/", 6) != 0) {
        status = cpt_sha256_path(path, hex, e);
        if (status == CPT_OK) json_object_set_new(record, "sha256", json_string(hex));
    }
    json_object_set_new(outputs, file, record);
    return status;
}

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Of this process and of those that it has waited for. */
static double cpu_seconds(void)
{
    static const int who[] = {RUSAGE_SELF, RUSAGE_CHILDREN};
    double sum = 0;
    for (int i = 0; i < 2; i++) {
        struct rusage u;
        if (getrusage(who[i], &u) != 0) continue;
        sum += (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
               1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
    }
    return sum;
}

/* `join` NULL: by the stage itself; else joined from n pieces. */
static cpt_status run_stage(cpt_study *s, const cpt_stage *stage, const char *key,
                            cpt_join_fn *join, const char *pieces, int32_t n, cpt_err *e)
{
    char started[32];
    time_t now = time(NULL);
    struct tm utc;
    strftime(started, sizeof started, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    json_t *all = json_object_get(s->manifest, "stages");
    json_object_set_new(all, stage->name,
                        json_pack("{s:s, s:s}", "state", "running", "started", started));
    cpt_status status = cpt_manifest_write(s, e);
    if (status) return status;
    cpt_debug(s->ctx, "stage %s", stage->name);
    double begin = seconds_now(), cpu = cpu_seconds();
    if (!stage->reads[0]) cpt_study_drop_cells(s);
    status = join ? join(s, pieces, n, e) : stage->run(s, e);
    cpt_study_drop_loaded(s);
    if (status) return status;
    json_t *outputs = json_object();
    for (int i = 0; i < CPT_STAGE_MAX_OUTPUTS && stage->outputs[i] && status == CPT_OK; i++)
        status = record_output(s, outputs, stage->outputs[i], e);
    json_object_set_new(all, stage->name,
                        json_pack("{s:s, s:s, s:s, s:f, s:f, s:o}", "state",
                                  status ? "failed" : "done", "key", key, "started", started,
                                  "seconds", seconds_now() - begin, "cpu_seconds",
                                  cpu_seconds() - cpu, "outputs", outputs));
    return status ? status : cpt_manifest_write(s, e);
}

cpt_status cpt_study_join_stage(cpt_study *s, const cpt_stage *stage, const char *key,
                                cpt_join_fn *join, const char *pieces, int32_t n, cpt_err *e)
{
    return run_stage(s, stage, key, join, pieces, n, e);
}

bool cpt_study_stage_done(cpt_study *s, const cpt_stage *stage)
{
    char key[65];
    return cpt_study_stage_key(s, stage, key, NULL) == CPT_OK && stage_is_done(s, stage, key);
}

/* Which stages `last` needs, itself included: reads[] closed over. */
static void mark_needed(const char *name, bool *needed)
{
    size_t n;
    const cpt_stage *list = cpt_stage_list(&n);
    const cpt_stage *stage = cpt_stage_find(name);
    needed[stage - list] = true;
    for (int i = 0; i < CPT_STAGE_MAX_READS && stage->reads[i]; i++)
        mark_needed(stage->reads[i], needed);
}

/* Columns that are named must be there: better said before a model is trained than after. */
static cpt_status check_columns(cpt_study *s, cpt_err *e)
{
    static const char *const options[] = {"label", "donor", "batch", "match"};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        const cpt_column *column;
        cpt_status status = *cpt_options_text(s->options, options[i])
                                ? cpt_study_column(s, options[i], &column, e)
                                : CPT_OK;
        if (status) return status;
    }
    return CPT_OK;
}

static cpt_status no_stage(const char *name, cpt_err *e)
{
    size_t n;
    const cpt_stage *list = cpt_stage_list(&n);
    cpt_text names = {0};
    for (size_t i = 0; i < n; i++) cpt_text_addf(&names, "%s%s", i ? ", " : "", list[i].name);
    cpt_fail(e, CPT_ERR_USAGE, "there is no stage '%s'; there are %s", name, cpt_text_str(&names));
    cpt_text_free(&names);
    return CPT_ERR_USAGE;
}

cpt_status cpt_study_advance(cpt_study *s, const char *last, bool force, cpt_err *e)
{
    size_t n;
    const cpt_stage *list = cpt_stage_list(&n);
    bool needed[64] = {false};
    if (last && !cpt_stage_find(last)) return no_stage(last, e);
    for (size_t i = 0; i < n; i++)
        if (!last) needed[i] = true;
    if (last) mark_needed(last, needed);
    for (size_t i = 0; i < n; i++) {
        char key[65];
        if (!needed[i]) continue;
        cpt_status status = cpt_check_stop(s->ctx, e);
        if (status == CPT_OK) status = cpt_study_stage_key(s, &list[i], key, e);
        if (status) return status;
        bool again = force && last && strcmp(last, list[i].name) == 0;
        if (!again && stage_is_done(s, &list[i], key))
            cpt_debug(s->ctx, "%s: nothing has changed, kept", list[i].name);
        else status = run_stage(s, &list[i], key, NULL, NULL, 0, e);
        if (status == CPT_OK && strcmp(list[i].name, "cells") == 0) status = check_columns(s, e);
        if (status) return status;
    }
    return CPT_OK;
}

cpt_status cpt_study_advance_one(cpt_study *s, const char *name, cpt_err *e)
{
    const cpt_stage *stage = cpt_stage_find(name);
    char key[65];
    if (!stage) return no_stage(name, e);
    cpt_status status = cpt_study_stage_key(s, stage, key, e);
    if (status || stage_is_done(s, stage, key)) return status;
    return run_stage(s, stage, key, NULL, NULL, 0, e);
}

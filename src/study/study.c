#include "study/stages.h"
#include "study/control_studies.h"
#include "study/notes_study.h"
#include "base/file.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* The study's folder, lock and manifest, and the engine that runs stages.
 *
 * study.json is rewritten (atomically) after every stage. A stage counts as done when the manifest
 * holds its current key and every output is there with the recorded size; a run that is killed in a
 * stage leaves the manifest without it, so that stage starts afresh and gives the same bytes. */

enum { PATH_LIMIT = 4096, MANIFEST_VERSION = 1 };

cpt_status cpt_study_path(const cpt_study *s, const char *name, char *path, size_t capacity,
                          cpt_err *e)
{
    return cpt_path_join(path, capacity, s->folder, name, e);
}

/* ---- manifest ---- */

static cpt_status manifest_write(cpt_study *s, cpt_err *e)
{
    char path[PATH_LIMIT];
    cpt_status status = cpt_study_path(s, "study.json", path, sizeof path, e);
    if (status) return status;
    char *text =
        json_dumps(s->manifest, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(17));
    if (!text) return cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
    status = cpt_write_file(path, text, strlen(text), e);
    free(text);
    return status;
}

static cpt_status manifest_read(cpt_study *s, cpt_err *e)
{
    char path[PATH_LIMIT];
    json_error_t reason;
    cpt_status status = cpt_study_path(s, "study.json", path, sizeof path, e);
    if (status) return status;
    s->manifest = json_load_file(path, JSON_REJECT_DUPLICATES, &reason);
    if (!s->manifest)
        return cpt_fail(e, CPT_ERR_FORMAT,
                        "%s: line %d: %s; it is not a study's manifest, or damaged", path,
                        reason.line, reason.text);
    if (json_integer_value(json_object_get(s->manifest, "format")) != MANIFEST_VERSION ||
        !json_is_object(json_object_get(s->manifest, "stages")) ||
        !json_is_object(json_object_get(s->manifest, "options")))
        return cpt_fail(e, CPT_ERR_FORMAT,
                        "%s: not the manifest of a study of this version; choose another "
                        "folder with -o",
                        path);
    return CPT_OK;
}

static json_t *options_json(const cpt_options *o)
{
    size_t n;
    const cpt_option_info *list = cpt_option_list(&n);
    json_t *object = json_object();
    for (size_t i = 0; i < n; i++) {
        const char *name = list[i].name;
        json_t *value;
        if (list[i].kind == CPT_OPTION_INTEGER) {
            value = json_integer(cpt_options_integer(o, name));
        } else if (list[i].kind == CPT_OPTION_NUMBER) {
            value = json_real(cpt_options_number(o, name));
        } else if (list[i].kind == CPT_OPTION_FLAG) {
            value = json_boolean(cpt_options_flag(o, name));
        } else if (list[i].kind == CPT_OPTION_LIST) {
            const char *const *items;
            size_t m = cpt_options_list(o, name, &items);
            value = json_array();
            for (size_t j = 0; j < m; j++) json_array_append_new(value, json_string(items[j]));
        } else {
            value = json_string(cpt_options_text(o, name));
        }
        json_object_set_new(object, name, value);
    }
    return object;
}

/* ---- lock ---- */

static cpt_status take_lock(cpt_study *s, cpt_err *e)
{
    char path[PATH_LIMIT], text[64] = "";
    cpt_status status = cpt_study_path(s, ".lock", path, sizeof path, e);
    if (status) return status;
    s->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (s->lock < 0)
        return cpt_fail(e, CPT_ERR_IO, "%s: cannot be written: %s", path, strerror(errno));
    if (flock(s->lock, LOCK_EX | LOCK_NB) != 0) {
        ssize_t n = pread(s->lock, text, sizeof text - 1, 0);
        text[n > 0 ? n : 0] = '\0';
        close(s->lock);
        s->lock = -1;
        return cpt_fail(e, CPT_ERR_LOCKED,
                        "%s: process %s is working on this study; wait for it or stop it",
                        s->folder, text[0] ? text : "(unknown)");
    }
    int n = snprintf(text, sizeof text, "%ld", (long)getpid());
    if (ftruncate(s->lock, 0) != 0 || pwrite(s->lock, text, (size_t)n, 0) != n)
        return cpt_fail(e, CPT_ERR_IO, "%s: cannot be written", path);
    return CPT_OK;
}

/* ---- opening and closing ---- */

static cpt_study *study_new(const char *folder, const cpt_context *ctx, cpt_err *e)
{
    cpt_study *s = calloc(1, sizeof *s);
    if (!s || !(s->folder = cpt_strdup(folder)) || !(s->options = cpt_options_new(e))) {
        cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
        free(s);
        return NULL;
    }
    s->lock = -1;
    cpt_context_init(&s->own);
    if (ctx) s->own = *ctx;
    s->ctx = &s->own;
    return s;
}

static const char *const file_options[] = {"go",      "annotation", "gmt",
                                           "markers", "model",      "dictionary"};
enum { N_FILE_OPTIONS = sizeof file_options / sizeof *file_options };

static bool names_a_file(const char *option)
{
    for (size_t i = 0; i < N_FILE_OPTIONS; i++)
        if (strcmp(option, file_options[i]) == 0) return true;
    return false;
}

static cpt_status unknown_dictionary(const char *value, cpt_err *e)
{
    char kinds[128];
    cpt_dictionary_kinds_text(kinds, sizeof kinds);
    return cpt_fail(e, CPT_ERR_USAGE,
                    "--dictionary %s: neither a kind (%s) nor the folder of a dictionary (with cfg.json)",
                    value, kinds);
}

/* Files are recorded by their full path: the next command on the study may come from another
 * folder. One that is missing is missed now, not after an hour of training. Models and dictionaries
 * can be names as well. */
static cpt_status set_file_option(cpt_study *s, const char *name, const char *value, cpt_err *e)
{
    char real[PATH_LIMIT], config[PATH_LIMIT];
    bool model = strcmp(name, "model") == 0, dictionary = strcmp(name, "dictionary") == 0;
    if (dictionary) {
        cpt_status status = cpt_path_join(config, sizeof config, value, "cfg.json", e);
        if (status) return status;
        if (!cpt_path_exists(config) && cpt_dictionary_is_kind(value))
            return cpt_options_set(s->options, name, value, e);
        if (!cpt_path_exists(config))
            return unknown_dictionary(value, e);
    }
    if (model &&
        (strcmp(value, "scvi") == 0 || strcmp(value, "scgpt") == 0 || !cpt_path_exists(value)))
        return cpt_options_set(s->options, name, value, e);
    if (!realpath(value, real))
        return cpt_fail(e, CPT_ERR_IO, "--%s %s: %s", name, value, strerror(errno));
    return cpt_options_set(s->options, name, real, e);
}

static cpt_status set_given(cpt_study *s, const char *name, const char *value, cpt_err *e)
{
    return *value && names_a_file(name) ? set_file_option(s, name, value, e)
                                        : cpt_options_set(s->options, name, value, e);
}

static bool trains_scgpt(const char *model)
{
    return model && strcmp(model, "scgpt") == 0;
}

/* Whether defaults are now others than when the options were recorded. */
static bool defaults_changed(const json_t *recorded, const cpt_options *given)
{
    const char *before = json_string_value(json_object_get(recorded, "model"));
    return before && given && cpt_options_given(given, "model") &&
           trains_scgpt(before) != trains_scgpt(cpt_options_text(given, "model"));
}

/* Options recorded in the manifest fill in what was not given now. */
static cpt_status merge_options(cpt_study *s, const cpt_options *given, cpt_err *e)
{
    cpt_status status = CPT_OK;
    size_t n;
    const cpt_option_info *list = cpt_option_list(&n);
    const json_t *recorded = json_object_get(s->manifest, "options");
    const bool changed = defaults_changed(recorded, given);
    for (size_t i = 0; i < n && status == CPT_OK; i++) {
        const char *name = list[i].name;
        const bool forget = changed && cpt_options_by_model(name);
        const json_t *value = forget ? NULL : json_object_get(recorded, name);
        char number[64];
        if (given && cpt_options_given(given, name)) {
            if (list[i].kind == CPT_OPTION_LIST) {
                const char *const *items;
                size_t m = cpt_options_list(given, name, &items);
                for (size_t j = 0; j < m && status == CPT_OK; j++)
                    status = set_given(s, name, items[j], e);
            } else {
                status = set_given(s, name, cpt_options_text(given, name), e);
            }
        } else if (json_is_string(value)) {
            status = cpt_options_set(s->options, name, json_string_value(value), e);
        } else if (json_is_boolean(value)) {
            status = cpt_options_set(s->options, name, json_is_true(value) ? "yes" : "no", e);
        } else if (json_is_number(value)) {
            if (json_is_integer(value))
                snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
            else
                cpt_format_number(json_real_value(value),
                                  number); /* texts make the keys of stages */
            status = cpt_options_set(s->options, name, number, e);
        } else if (json_is_array(value)) {
            for (size_t j = 0; j < json_array_size(value) && status == CPT_OK; j++) {
                const char *item = json_string_value(json_array_get(value, j));
                status = item ? cpt_options_set(s->options, name, item, e)
                              : cpt_fail(e, CPT_ERR_FORMAT,
                                         "%s/study.json: option '%s': a text is expected",
                                         s->folder, name);
            }
        }
    }
    s->own.seed = (uint64_t)cpt_options_integer(s->options, "seed");
    return status;
}

/* Checksum of the input; taken over from the manifest when size and time of change are as recorded.
 */
static cpt_status record_input(cpt_study *s, const char *input, cpt_err *e)
{
    char real[PATH_LIMIT], hex[65];
    struct stat st;
    if (!realpath(input, real) || stat(real, &st) != 0)
        return cpt_fail(e, CPT_ERR_IO, "%s: %s", input, strerror(errno));
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
        return cpt_fail(e, CPT_ERR_IO,
                        "%s: neither a file nor a folder; pipes and devices cannot be read", input);
    const json_t *old = json_object_get(s->manifest, "input");
    const char *old_path = json_string_value(json_object_get(old, "path"));
    int64_t stamp = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    bool same = old_path && strcmp(old_path, real) == 0 && S_ISREG(st.st_mode) &&
                json_integer_value(json_object_get(old, "bytes")) == (json_int_t)st.st_size &&
                json_integer_value(json_object_get(old, "changed_ns")) == (json_int_t)stamp;
    if (!same) {
        cpt_status status = cpt_sha256_path(real, hex, e);
        if (status) return status;
        json_object_set_new(s->manifest, "input",
                            json_pack("{s:s, s:I, s:I, s:s}", "path", real, "bytes",
                                      (json_int_t)st.st_size, "changed_ns", (json_int_t)stamp,
                                      "sha256", hex));
    }
    free(s->input);
    s->input = cpt_strdup(real);
    return s->input ? CPT_OK : cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
}

static cpt_status begin_manifest(cpt_study *s, const char *input, const cpt_options *given,
                                 cpt_err *e)
{
    char path[PATH_LIMIT];
    cpt_status status = cpt_study_path(s, "study.json", path, sizeof path, e);
    if (status) return status;
    if (cpt_path_exists(path)) {
        status = manifest_read(s, e);
    } else if (!input) {
        status = cpt_fail(e, CPT_ERR_USAGE,
                          "%s: not a study (study.json is absent); make one with "
                          "`conceptome run CELLS -o %s`",
                          s->folder, s->folder);
    } else {
        s->manifest = json_pack("{s:i, s:s, s:{}, s:{}}", "format", MANIFEST_VERSION, "conceptome",
                                CPT_VERSION, "options", "stages");
    }
    s->options_before = json_incref(json_object_get(s->manifest, "options"));
    if (status == CPT_OK) status = merge_options(s, given, e);
    if (status) return status;
    /* An absent input is no obstacle when only later stages run: the checksum stands in the
     * manifest. */
    const char *recorded =
        json_string_value(json_object_get(json_object_get(s->manifest, "input"), "path"));
    if (input) status = record_input(s, input, e);
    else if (recorded && cpt_path_exists(recorded)) status = record_input(s, recorded, e);
    else if (recorded) s->input = cpt_strdup(recorded);
    if (status) return status;
    json_object_set_new(s->manifest, "conceptome", json_string(CPT_VERSION));
    if (s->command) json_object_set_new(s->manifest, "command", json_string(s->command));
    json_object_set_new(s->manifest, "options", options_json(s->options));
    return manifest_write(s, e);
}

cpt_status cpt_study_begin(const char *folder, const char *input, const cpt_options *given,
                           const char *command, const cpt_context *ctx, cpt_study **out, cpt_err *e)
{
    *out = NULL;
    if (input && !cpt_path_exists(input))
        return cpt_fail(e, CPT_ERR_IO, "%s: no such file or folder", input);
    if (!input && !cpt_path_is_folder(folder))
        return cpt_fail(e, CPT_ERR_IO,
                        "%s: no such study; make one with `conceptome run CELLS -o %s`", folder,
                        folder);
    cpt_study *s = study_new(folder, ctx, e);
    if (!s) return CPT_ERR_MEMORY;
    s->command = command;
    char path[PATH_LIMIT];
    cpt_status status = input ? cpt_make_folder(folder, e) : CPT_OK;
    if (status == CPT_OK) status = take_lock(s, e);
    if (status == CPT_OK) status = cpt_remove_leftovers(folder, "shards", e);
    if (status == CPT_OK) status = begin_manifest(s, input, given, e);
    if (status == CPT_OK) status = cpt_study_path(s, "cache", path, sizeof path, e);
    if (status == CPT_OK) status = cpt_make_folder(path, e);
    if (status) cpt_study_close(s);
    else *out = s;
    return status;
}

cpt_status cpt_study_open(const char *folder, const cpt_context *ctx, cpt_study **out, cpt_err *e)
{
    return cpt_study_look(folder, NULL, ctx, out, e);
}

cpt_status cpt_study_look(const char *folder, const cpt_options *given, const cpt_context *ctx,
                          cpt_study **out, cpt_err *e)
{
    *out = NULL;
    char path[PATH_LIMIT];
    cpt_status status = cpt_path_join(path, sizeof path, folder, "study.json", e);
    if (status) return status;
    if (!cpt_path_exists(path))
        return cpt_fail(e, CPT_ERR_IO,
                        "%s: not a study (study.json is absent); make one with "
                        "`conceptome run CELLS -o %s`",
                        folder, folder);
    cpt_study *s = study_new(folder, ctx, e);
    if (!s) return CPT_ERR_MEMORY;
    status = manifest_read(s, e);
    if (status == CPT_OK) status = merge_options(s, given, e);
    const char *recorded =
        json_string_value(json_object_get(json_object_get(s->manifest, "input"), "path"));
    if (recorded) s->input = cpt_strdup(recorded);
    if (status) cpt_study_close(s);
    else *out = s;
    return status;
}

/* ---- running stages ---- */

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
    if (!names_a_file(name)) return CPT_OK;
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

/* The cells change with their own stage only; all stages look at them. */
static void drop_cells(cpt_study *s)
{
    cpt_cells_free(s->cells);
    cpt_strings_free(&s->symbols);
    s->cells = NULL;
    s->have_symbols = false;
}

/* What a stage has rewritten must not be served from memory any more. */
static void drop_loaded(cpt_study *s)
{
    if (s->cells) cpt_cells_forget(s->cells);
    cpt_model_free(s->model);
    cpt_alignment_free(&s->alignment);
    free(s->universe.columns);
    free(s->universe.model_genes);
    cpt_strings_free(&s->universe.names);
    cpt_strings_free(&s->universe.symbols);
    cpt_npy_close(&s->fixed);
    cpt_npy_close(&s->embedding);
    cpt_npy_close(&s->umap);
    cpt_npy_close(&s->split);
    cpt_dictionary_free(s->dictionary);
    cpt_activations_free(s->activations);
    cpt_pairs_free(s->pairs);
    cpt_attribution_free(s->attribution);
    cpt_expression_free(s->expression);
    if (s->enrichment) {
        free(s->enrichment->rows);
        free(s->enrichment->first);
        cpt_strings_free(&s->enrichment->texts);
        free(s->enrichment);
    }
    json_decref(s->dictionary_report);
    json_decref(s->evaluation);
    s->have_universe = false;
    s->model = NULL;
    s->alignment = (cpt_alignment){0};
    s->counts = (cpt_counts){0};
    s->universe = (cpt_universe){0};
    s->dictionary = NULL;
    s->activations = NULL;
    s->pairs = NULL;
    s->attribution = NULL;
    s->expression = NULL;
    s->enrichment = NULL;
    s->dictionary_report = s->evaluation = NULL;
}

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
    cpt_status status = manifest_write(s, e);
    if (status) return status;
    cpt_debug(s->ctx, "stage %s", stage->name);
    double begin = seconds_now(), cpu = cpu_seconds();
    if (!stage->reads[0]) drop_cells(s);
    status = join ? join(s, pieces, n, e) : stage->run(s, e);
    drop_loaded(s);
    if (status) return status;
    json_t *outputs = json_object();
    for (int i = 0; i < CPT_STAGE_MAX_OUTPUTS && stage->outputs[i] && status == CPT_OK; i++)
        status = record_output(s, outputs, stage->outputs[i], e);
    json_object_set_new(all, stage->name,
                        json_pack("{s:s, s:s, s:s, s:f, s:f, s:o}", "state",
                                  status ? "failed" : "done", "key", key, "started", started,
                                  "seconds", seconds_now() - begin, "cpu_seconds",
                                  cpu_seconds() - cpu, "outputs", outputs));
    return status ? status : manifest_write(s, e);
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

cpt_status cpt_study_advance(cpt_study *s, const char *last, bool force, cpt_err *e)
{
    size_t n;
    const cpt_stage *list = cpt_stage_list(&n);
    bool needed[64] = {false};
    if (last && !cpt_stage_find(last))
        return cpt_fail(e, CPT_ERR_USAGE, "there is no stage '%s'", last);
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
    if (!stage) return cpt_fail(e, CPT_ERR_USAGE, "there is no stage '%s'", name);
    cpt_status status = cpt_study_stage_key(s, stage, key, e);
    if (status || stage_is_done(s, stage, key)) return status;
    return run_stage(s, stage, key, NULL, NULL, 0, e);
}

/* ---- options of a run that failed ---- */

static bool led_to_a_result(cpt_study *s, const char *option)
{
    size_t n;
    const cpt_stage *list = cpt_stage_list(&n);
    for (size_t i = 0; i < n; i++) {
        if (!cpt_study_stage_done(s, &list[i])) continue;
        for (int j = 0; j < CPT_STAGE_MAX_OPTIONS && list[i].options[j]; j++)
            if (strcmp(list[i].options[j], option) == 0) return true;
    }
    return false;
}

/* Recorded options hold for the next command. One that was wrong (a column that does not exist)
 * must not, or leaving it out would not mend the run: those that no finished stage has used go back
 * to what they were. */
static void forget_options(cpt_study *s, const cpt_options *given, const json_t *before)
{
    size_t n;
    const cpt_option_info *list = cpt_option_list(&n);
    json_t *options = json_object_get(s->manifest, "options");
    for (size_t i = 0; given && i < n; i++) {
        const char *name = list[i].name;
        json_t *old = json_object_get(before, name);
        if (!cpt_options_given(given, name) || strcmp(name, "seed") == 0 ||
            led_to_a_result(s, name))
            continue;
        if (old) json_object_set(options, name, old);
        else json_object_del(options, name);
    }
    manifest_write(s, NULL);
}

void cpt_study_close(cpt_study *s)
{
    if (!s) return;
    drop_loaded(s);
    drop_cells(s);
    if (s->lock >= 0) close(s->lock);
    json_decref(s->manifest);
    json_decref(s->options_before);
    cpt_options_free(s->options);
    free(s->folder);
    free(s->input);
    free(s);
}

/* ---- the public calls ---- */

static cpt_status work(const char *study, const char *cells, const char *last,
                       const cpt_options *options, bool force, const char *command,
                       const cpt_context *ctx, cpt_err *e)
{
    cpt_study *s;
    cpt_status status = cpt_study_begin(study, cells, options, command, ctx, &s, e);
    if (status) return status;
    status = cpt_study_advance(s, last, force, e);
    if (status && status != CPT_ERR_INTERRUPTED) forget_options(s, options, s->options_before);
    cpt_study_close(s);
    return status;
}

cpt_status cpt_study_run(const char *cells, const char *study, const char *until,
                         const cpt_options *options, const char *command, const cpt_context *ctx,
                         cpt_err *e)
{
    return work(study, cells, until, options, false, command, ctx, e);
}

cpt_status cpt_study_stage(const char *study, const char *stage, const cpt_options *options,
                           bool force, const char *command, const cpt_context *ctx, cpt_err *e)
{
    return work(study, NULL, stage, options, force, command, ctx, e);
}

/* Looks first without the lock: an index that is there must not need a folder that can be written. */
static cpt_status index_one(const char *study, const cpt_context *ctx, cpt_err *e)
{
    cpt_study *s;
    cpt_status status = cpt_study_open(study, ctx, &s, e);
    if (status) return status;
    bool done = cpt_study_stage_done(s, cpt_stage_find("index"));
    cpt_study_close(s);
    if (done) return CPT_OK;
    char path[PATH_LIMIT];
    status = cpt_study_begin(study, NULL, NULL, NULL, ctx, &s, e);
    if (status) return status;
    /* Counts are read piece by piece, and checked there: not all of them here, which would take minutes. */
    if (!s->cells && cpt_study_path(s, "cache/cells", path, sizeof path, e) == CPT_OK)
        cpt_cells_open_shallow(path, &s->cells, NULL);
    status = cpt_study_advance_one(s, "index", e);
    cpt_study_close(s);
    return status;
}

/* The control studies of blind review are looked at like the study itself. */
cpt_status cpt_study_index(const char *study, const cpt_context *ctx, cpt_err *e)
{
    char folder[PATH_LIMIT], manifest[PATH_LIMIT];
    cpt_status status = index_one(study, ctx, e);
    for (int i = 0; i < CPT_CONTROL_KINDS && status == CPT_OK; i++) {
        status = cpt_control_folder(study, cpt_control_kinds[i], folder, sizeof folder, e);
        if (status == CPT_OK) status = cpt_path_join(manifest, sizeof manifest, folder, "enrichment.tsv.gz", e);
        if (status == CPT_OK && cpt_path_exists(manifest)) status = index_one(folder, ctx, e);
    }
    return status;
}

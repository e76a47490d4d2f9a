#include "study/manifest.h"
#include "study/stages.h"
#include "base/file.h"
#include "base/memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A study's options: those given now over those recorded in study.json over the defaults. */

enum { PATH_LIMIT = CPT_STUDY_PATH_LIMIT };

static const char *const file_options[] = {"go",      "annotation", "gmt",
                                           "markers", "model",      "dictionary"};
enum { N_FILE_OPTIONS = sizeof file_options / sizeof *file_options };

bool cpt_option_names_a_file(const char *option)
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
    return *value && cpt_option_names_a_file(name) ? set_file_option(s, name, value, e)
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

/* The values of an option that was given now. */
static cpt_status take_given(cpt_study *s, const cpt_option_info *option, const cpt_options *given,
                             cpt_err *e)
{
    const char *const *items;
    cpt_status status = CPT_OK;
    if (option->kind != CPT_OPTION_LIST)
        return set_given(s, option->name, cpt_options_text(given, option->name), e);
    size_t n = cpt_options_list(given, option->name, &items);
    for (size_t i = 0; i < n && status == CPT_OK; i++)
        status = set_given(s, option->name, items[i], e);
    return status;
}

static cpt_status take_list(cpt_study *s, const char *name, const json_t *list, cpt_err *e)
{
    cpt_status status = CPT_OK;
    for (size_t i = 0; i < json_array_size(list) && status == CPT_OK; i++) {
        const char *item = json_string_value(json_array_get(list, i));
        status = item ? cpt_options_set(s->options, name, item, e)
                      : cpt_fail(e, CPT_ERR_FORMAT, "%s/study.json: option '%s': a text is expected",
                                 s->folder, name);
    }
    return status;
}

/* The value that the manifest holds; nothing where it holds none. */
static cpt_status take_recorded(cpt_study *s, const char *name, const json_t *value, cpt_err *e)
{
    char number[64];
    if (json_is_string(value)) return cpt_options_set(s->options, name, json_string_value(value), e);
    if (json_is_boolean(value))
        return cpt_options_set(s->options, name, json_is_true(value) ? "yes" : "no", e);
    if (json_is_array(value)) return take_list(s, name, value, e);
    if (!json_is_number(value)) return CPT_OK;
    if (json_is_integer(value))
        snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
    else cpt_format_number(json_real_value(value), number); /* texts make the keys of stages */
    return cpt_options_set(s->options, name, number, e);
}

cpt_status cpt_study_merge_options(cpt_study *s, const cpt_options *given, cpt_err *e)
{
    cpt_status status = CPT_OK;
    size_t n;
    const cpt_option_info *list = cpt_option_list(&n);
    const json_t *recorded = json_object_get(s->manifest, "options");
    const bool changed = defaults_changed(recorded, given);
    for (size_t i = 0; i < n && status == CPT_OK; i++) {
        const char *name = list[i].name;
        const bool forget = changed && cpt_options_by_model(name);
        if (given && cpt_options_given(given, name)) status = take_given(s, &list[i], given, e);
        else if (!forget) status = take_recorded(s, name, json_object_get(recorded, name), e);
    }
    s->own.seed = (uint64_t)cpt_options_integer(s->options, "seed");
    return status;
}

json_t *cpt_options_json(const cpt_options *o)
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

/* ---- of a run that failed ---- */

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
void cpt_study_forget_options(cpt_study *s, const cpt_options *given, const json_t *before)
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
    cpt_manifest_write(s, NULL);
}

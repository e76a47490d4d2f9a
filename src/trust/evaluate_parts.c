#include "trust/evaluate.h"
#include "base/file.h"
#include "base/memory.h"
#include "study/store.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What the parts of the evaluation share, and their gathering into evaluation.json. */

static const char *const parts[][2] = {{"probing", "probing"},
                                       {"purity", "purity"},
                                       {"stability", "stability"},
                                       {"faithfulness", "faithfulness"},
                                       {"noise_floor", "noise"}};
enum { N_PARTS = sizeof parts / sizeof *parts, FILE_LIMIT = 128 };

bool cpt_evaluation_in_full(const cpt_study *s)
{
    return strcmp(cpt_options_text(s->options, "evaluation"), "full") == 0;
}

json_t *cpt_json_mean_sd(double mean, double sd)
{
    return json_pack("{s:o, s:o}", "mean", cpt_json_number(mean), "sd", cpt_json_number(sd));
}

json_t *cpt_json_numbers(int64_t n, const double *values)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < n; i++) json_array_append_new(list, cpt_json_number(values[i]));
    return list;
}

cpt_status cpt_json_skipped(cpt_status status, const cpt_err *e, json_t **out)
{
    if (status != CPT_ERR_DATA) return status;
    *out = json_pack("{s:s}", "skipped", e->text);
    return CPT_OK;
}

cpt_status cpt_evaluation_write(const cpt_study *s, const char *part, json_t *value, cpt_err *e)
{
    char path[4096], file[FILE_LIMIT];
    snprintf(file, sizeof file, "cache/evaluation/%s.json", part);
    cpt_status status = cpt_study_path(s, "cache/evaluation", path, sizeof path, e);
    if (status == CPT_OK) status = cpt_make_folder(path, e);
    if (status == CPT_OK) status = cpt_store_write_json(s, file, value, e);
    return status;
}

cpt_status cpt_evaluation_part(cpt_study *s, const char *part, cpt_evaluation_compute *compute,
                               cpt_err *e)
{
    json_t *value = NULL;
    cpt_err why;
    cpt_status status = cpt_json_skipped(compute(s, &value, &why), &why, &value);
    if (status != CPT_OK && e) *e = why;
    if (status == CPT_OK) status = cpt_evaluation_write(s, part, value, e);
    json_decref(value);
    return status;
}

/* ---- labels ---- */

bool cpt_label_is_none(const char *label)
{
    static const char *const none[] = {
        "unassigned", "unknown", "unclassified", "unannotated", "none", "nan", "na", "n/a", ""};
    char lower[16];
    size_t n = strlen(label);
    if (n >= sizeof lower) return false;
    for (size_t i = 0; i <= n; i++) lower[i] = (char)tolower((unsigned char)label[i]);
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        if (strcmp(lower, none[i]) == 0) return true;
    return false;
}

cpt_status cpt_evaluation_codes(const cpt_column *column, int64_t n, const bool *usable,
                                int32_t **codes, json_t **left_out, cpt_err *e)
{
    cpt_status status = cpt_alloc(codes, (size_t)n, sizeof **codes, e);
    if (status) return status;
    *left_out = json_array();
    for (int64_t k = 0; k < column->categories.n; k++) {
        const char *name = cpt_strings_get(&column->categories, k);
        if (cpt_label_is_none(name)) json_array_append_new(*left_out, json_string(name));
    }
    for (int64_t i = 0; i < n; i++) {
        const int32_t code = column->codes[i];
        const bool counts = usable[i] && code >= 0 &&
                            !cpt_label_is_none(cpt_strings_get(&column->categories, code));
        (*codes)[i] = counts ? code : -1;
    }
    return CPT_OK;
}

/* ---- evaluation.json ---- */

cpt_status cpt_evaluation_add_parts(cpt_study *s, json_t *root, cpt_err *e)
{
    cpt_status status = CPT_OK;
    json_t *part;
    for (int i = 0; i < N_PARTS; i++) {
        char file[FILE_LIMIT];
        snprintf(file, sizeof file, "cache/evaluation/%s.json", parts[i][1]);
        CPT_TRY(cpt_store_read_json(s, file, parts[i][1], &part, e));
        json_object_set_new(root, parts[i][0], part);
    }
    CPT_TRY(cpt_flags_json(s, root, &part, e));
    json_object_set_new(root, "flags", part);
    CPT_TRY(cpt_words_json(s, root, &part, e));
    json_object_set_new(root, "summary", part);
    json_object_set_new(root, "effort", json_string(cpt_options_text(s->options, "evaluation")));
done:
    return status;
}

#include "base/memory.h"
#include "io/json_value.h"
#include "study/stages.h"
#include "view/view.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* The study as a whole: its generation, and what it was made of and with. */

enum { PATH_LIMIT = 4096 };

/* ---- generation ---- */

static bool process_lives(const char *folder)
{
    char path[PATH_LIMIT], text[32] = "";
    if (cpt_path_join(path, sizeof path, folder, ".lock", NULL)) return false;
    FILE *f = fopen(path, "r");
    if (!f) return false;
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = '\0';
    long pid = strtol(text, NULL, 10);
    return pid > 0 && (kill((pid_t)pid, 0) == 0 || errno == EPERM);
}

/* Between two stages of a run no stage is marked as running, but its lock is held. It is asked for only
 * when the process that took it last still lives, and given back at once. */
static bool lock_is_held(const char *folder)
{
    char path[PATH_LIMIT];
    if (!process_lives(folder) || cpt_path_join(path, sizeof path, folder, ".lock", NULL)) return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    bool held = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    close(fd);
    return held;
}

/* Only finished stages count: a generation does not change because something has begun. */
static void hash_stages(cpt_sha256 *h, const json_t *stages, const char *folder, char running[32])
{
    size_t n;
    const cpt_stage *list = cpt_stage_list(&n);
    for (size_t i = 0; i < n; i++) {
        const json_t *stage = json_object_get(stages, list[i].name);
        const char *state = json_string_value(json_object_get(stage, "state")),
                   *key = json_string_value(json_object_get(stage, "key")),
                   *started = json_string_value(json_object_get(stage, "started"));
        if (state && strcmp(state, "running") == 0 && process_lives(folder))
            snprintf(running, 32, "%s", list[i].name);
        if (!state || !key || strcmp(state, "done") != 0) continue;
        cpt_sha256_add(h, key, strlen(key));
        if (started)
            cpt_sha256_add(h, started,
                           strlen(started)); /* forced runs: the same key, maybe other bytes */
    }
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void hash_comparisons(cpt_sha256 *h, const char *folder)
{
    char path[PATH_LIMIT], file[PATH_LIMIT];
    struct dirent **list = NULL;
    struct stat st;
    if (cpt_path_join(path, sizeof path, folder, "comparisons", NULL)) return;
    int n = scandir(path, &list, NULL, by_name);
    for (int i = 0; i < n; i++) {
        if (list[i]->d_name[0] != '.' &&
            cpt_path_join(file, sizeof file, path, list[i]->d_name, NULL) == CPT_OK &&
            stat(file, &st) == 0) {
            const int64_t facts[3] = {st.st_size, st.st_mtim.tv_sec, st.st_mtim.tv_nsec};
            cpt_sha256_add(h, list[i]->d_name, strlen(list[i]->d_name));
            cpt_sha256_add(h, facts, sizeof facts);
        }
        free(list[i]);
    }
    free(list);
}

cpt_status cpt_study_generation(const char *folder, char generation[33], char running[32],
                                cpt_err *e)
{
    char path[PATH_LIMIT], hex[65];
    cpt_sha256 h;
    json_error_t reason;
    running[0] = '\0';
    cpt_status status = cpt_path_join(path, sizeof path, folder, "study.json", e);
    if (status) return status;
    json_t *manifest = json_load_file(path, 0, &reason);
    if (!manifest) return cpt_fail(e, CPT_ERR_IO, "%s: %s", path, reason.text);
    cpt_sha256_init(&h);
    cpt_sha256_add(&h, CPT_VERSION, sizeof CPT_VERSION);
    hash_stages(&h, json_object_get(manifest, "stages"), folder, running);
    if (!*running && lock_is_held(folder)) snprintf(running, 32, "the next stage");
    hash_comparisons(&h, folder);
    cpt_sha256_hex(&h, hex);
    snprintf(generation, 33, "%.32s", hex);
    json_decref(manifest);
    return CPT_OK;
}

/* ---- study ---- */

/* The scalars of a JSON object. */
static void put_scalars(cpt_jot *j, const json_t *object)
{
    const char *key;
    json_t *value;
    cpt_jot_open(j, '{');
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        if (json_is_string(value)) cpt_jot_put_text(j, key, json_string_value(value));
        else if (json_is_integer(value)) cpt_jot_put_integer(j, key, json_integer_value(value));
        else if (json_is_real(value)) cpt_jot_put_number(j, key, json_real_value(value));
        else if (json_is_boolean(value)) cpt_jot_put_integer(j, key, json_is_true(value));
    }
    cpt_jot_close(j, '}');
}

static void put_column(const cpt_view *v, cpt_jot *j, const cpt_column *c)
{
    const char *role = c == v->label   ? "label"
                       : c == v->donor ? "donor"
                       : c == v->batch ? "batch"
                                       : NULL;
    cpt_jot_open(j, '{');
    cpt_jot_put_text(j, "name", c->name);
    cpt_jot_put_text(j, "kind", c->kind == CPT_COLUMN_NUMBER ? "number" : "category");
    cpt_jot_put_text(j, "role", role);
    if (c->kind == CPT_COLUMN_CATEGORY) {
        cpt_jot_key(j, "categories");
        cpt_jot_open(j, '[');
        for (int64_t i = 0; i < c->categories.n; i++)
            cpt_jot_text(j, cpt_strings_get(&c->categories, i));
        cpt_jot_close(j, ']');
    } else {
        double low = INFINITY, high = -INFINITY;
        for (int64_t i = 0; i < v->cells->n_cells; i++) {
            low = fmin(low, c->numbers[i]); /* passes NaN over */
            high = fmax(high, c->numbers[i]);
        }
        cpt_jot_put_number(j, "low", low);
        cpt_jot_put_number(j, "high", high);
    }
    cpt_jot_close(j, '}');
}

static const char *option(const cpt_view *v, const char *name)
{
    return cpt_options_text(v->study->options, name);
}

static void put_attribution(const cpt_view *v, cpt_jot *j)
{
    cpt_jot_key(j, "attribution");
    if (!v->have_attribution) {
        cpt_jot_null(j);
        return;
    }
    const cpt_options *o = v->study->options;
    const char *method = option(v, "method"),
               *kind = json_string_value(json_object_get(v->model, "kind"));
    const char *found = json_string_value(json_object_get(v->attribution_summary, "method"));
    cpt_jot_open(j, '{');
    cpt_jot_put_text(j, "method", found ? found : *method ? method : "exact");
    cpt_jot_put_text(j, "mode", option(v, "mode"));
    cpt_jot_put_text(j, "readout", option(v, "readout"));
    cpt_jot_put_text(j, "space", kind && strcmp(kind, "scgpt") == 0 ? option(v, "space") : NULL);
    cpt_jot_put_integer(j, "prototypes", cpt_options_integer(o, "prototypes"));
    cpt_jot_put_integer(j, "counterfactuals", cpt_options_integer(o, "counterfactuals"));
    cpt_jot_put_number(j, "cutoff", cpt_options_number(o, "cutoff"));
    cpt_jot_close(j, '}');
}

static void put_names(cpt_jot *j, const char *key, const json_t *list)
{
    size_t i;
    json_t *item;
    cpt_jot_key(j, key);
    cpt_jot_open(j, '[');
    json_array_foreach((json_t *)(uintptr_t)list, i, item) cpt_jot_text(j, json_string_value(item));
    cpt_jot_close(j, ']');
}

/* Collections that were tested: terms of the ontology alone are no family. */
static void put_collections(const cpt_view *v, cpt_jot *j)
{
    const char *key;
    json_t *value;
    cpt_jot_key(j, "collections");
    cpt_jot_open(j, '[');
    json_object_foreach(json_object_get(v->enrichment, "sets_tested"), key, value)
        cpt_jot_text(j, key);
    cpt_jot_close(j, ']');
}

static void put_rankings(const cpt_view *v, cpt_jot *j)
{
    cpt_jot_key(j, "rankings");
    cpt_jot_open(j, '[');
    if (v->have_attribution) cpt_jot_text(j, "attribution");
    if (v->have_expression) cpt_jot_text(j, "expression");
    cpt_jot_close(j, ']');
}

static void put_reconstruction(const cpt_view *v, cpt_jot *j)
{
    const json_t *validation = json_object_get(v->dictionary, "validation"),
                 *train = json_object_get(v->dictionary, "train"),
                 *baseline =
                     json_object_get(json_object_get(v->dictionary, "mean_baseline"), "r2_feature");
    const char *key;
    json_t *value;
    cpt_jot_key(j, "reconstruction");
    if (!validation && !train) {
        cpt_jot_null(j);
        return;
    }
    cpt_jot_open(j, '{');
    json_object_foreach((json_t *)(uintptr_t)(validation ? validation : train), key, value)
        cpt_jot_put_number(j, key, cpt_json_double(value));
    cpt_jot_put_number(j, "mean_baseline", cpt_json_double(baseline));
    cpt_jot_close(j, '}');
}

static void put_noise_floor(const cpt_view *v, cpt_jot *j)
{
    const json_t *noise = json_object_get(v->evaluation, "noise_floor");
    const char *key;
    json_t *value;
    cpt_jot_key(j, "noise_floor");
    if (!json_is_object(noise)) {
        cpt_jot_null(j);
        return;
    }
    cpt_jot_open(j, '{');
    json_object_foreach((json_t *)(uintptr_t)noise, key, value) if (json_is_number(value))
        cpt_jot_put_number(j, key, json_number_value(value));
    json_object_foreach(json_object_get(noise, "abs_mean_attribution"), key, value)
        cpt_jot_put_number(j, key, cpt_json_double(value));
    cpt_jot_close(j, '}');
}

cpt_status cpt_view_study(const cpt_view *v, char **json, cpt_err *e)
{
    cpt_jot j = {0};
    const cpt_table *obs = &v->cells->obs;
    const char *model = json_string_value(json_object_get(v->model, "kind")),
               *dictionary = json_string_value(json_object_get(v->dictionary, "kind"));
    cpt_jot_open(&j, '{');
    cpt_jot_put_text(&j, "name", v->name);
    cpt_jot_put_integer(&j, "cells", v->cells->n_cells);
    cpt_jot_put_integer(&j, "genes", v->n_genes ? v->n_genes : v->cells->n_genes);
    cpt_jot_put_integer(&j, "concepts", v->n_concepts);
    cpt_jot_put_text(&j, "model", model ? model : "");
    cpt_jot_put_text(&j, "dictionary", dictionary ? dictionary : "");
    cpt_jot_put_text(&j, "generation", v->generation);
    cpt_jot_put_integer(&j, "cells_placed", v->n_placed);
    cpt_jot_put_integer(&j, "neurons", v->dim);
    cpt_jot_key(&j, "columns");
    cpt_jot_open(&j, '[');
    for (int32_t i = 0; i < obs->n_columns; i++) put_column(v, &j, &obs->columns[i]);
    cpt_jot_close(&j, ']');
    cpt_jot_key(&j, "model_info");
    put_scalars(&j, v->model);
    cpt_jot_key(&j, "dictionary_info");
    put_scalars(&j, v->dictionary);
    put_reconstruction(v, &j);
    put_attribution(v, &j);
    cpt_jot_key(&j, "expression");
    cpt_jot_open(&j, '{');
    cpt_jot_put_text(&j, "test", option(v, "test"));
    cpt_jot_close(&j, '}');
    put_collections(v, &j);
    put_names(&j, "methods", json_object_get(v->index.head, "methods"));
    put_rankings(v, &j);
    put_noise_floor(v, &j);
    cpt_jot_key(&j, "comparisons");
    cpt_view_put_comparisons(v, &j);
    cpt_jot_close(&j, '}');
    return cpt_jot_take(&j, json, e);
}

/* control_studies.c - makes a control study beside the cache of its parent.
 *
 * Stages up to the map are the parent's: their files are linked (relative symbolic links, so that a
 * study can be moved) and their records copied into the control's study.json, where the engine
 * finds them done. What follows runs as in any study, and is not run again while its key stands.
 *
 * Folders are made, files linked one by one: a stage that replaces a file (rename) then replaces
 * the link and never writes into the parent. */
#include "study/control_studies.h"
#include "base/file.h"
#include "study/stages.h"
#include "study/store.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *const cpt_control_kinds[CPT_CONTROL_KINDS] = {"neurons", "random"};

static const char *const linked[] = {
    "model.safetensors",   "cache/genes.tsv",           "cache/model.json", "cache/history.tsv",
    "cache/embedding.npy", "cache/fixed_embedding.npy", "cache/umap.npy"};
static const char *const taken_over[] = {"cells", "model", "embedding", "map"};
enum {
    N_LINKED = sizeof linked / sizeof *linked,
    N_TAKEN = sizeof taken_over / sizeof *taken_over
};

cpt_status cpt_control_folder(const char *study, const char *kind, char *path, size_t capacity,
                              cpt_err *e)
{
    char inner[64];
    snprintf(inner, sizeof inner, "cache/controls/%s", kind);
    return cpt_path_join(path, capacity, study, inner, e);
}

/* FOLDER/NAME -> the parent's file of that name; three levels up, and one more per '/' of the name.
 */
static cpt_status link_file(const cpt_study *s, const char *folder, const char *name, cpt_err *e)
{
    char source[PATH_MAX], place[PATH_MAX], target[PATH_MAX] = "../../../";
    cpt_status status = cpt_study_path(s, name, source, sizeof source, e);
    if (status == CPT_OK) status = cpt_path_join(place, sizeof place, folder, name, e);
    if (status) return status;
    for (const char *p = strchr(name, '/'); p; p = strchr(p + 1, '/')) strcat(target, "../");
    strncat(target, name, sizeof target - strlen(target) - 1);
    if (unlink(place) != 0 && errno != ENOENT)
        return cpt_fail(e, CPT_ERR_IO, "%s: cannot be replaced: %s", place, strerror(errno));
    if (!cpt_path_exists(source)) return CPT_OK;
    return symlink(target, place) == 0
               ? CPT_OK
               : cpt_fail(e, CPT_ERR_IO, "%s: cannot be made: %s", place, strerror(errno));
}

static cpt_status link_cells(const cpt_study *s, const char *folder, cpt_err *e)
{
    char path[PATH_MAX], name[NAME_MAX + 16];
    cpt_status status = cpt_path_join(path, sizeof path, folder, "cache/cells", e);
    if (status == CPT_OK) status = cpt_remove_tree(path, e);
    if (status == CPT_OK) status = cpt_make_folder(path, e);
    if (status == CPT_OK) status = cpt_study_path(s, "cache/cells", path, sizeof path, e);
    if (status) return status;
    DIR *list = opendir(path);
    if (!list) return cpt_fail(e, CPT_ERR_IO, "%s: %s", path, strerror(errno));
    for (struct dirent *entry; status == CPT_OK && (entry = readdir(list));) {
        if (entry->d_name[0] == '.') continue;
        snprintf(name, sizeof name, "cache/cells/%s", entry->d_name);
        status = link_file(s, folder, name, e);
    }
    closedir(list);
    return status;
}

/* The control's manifest: the parent's input, options and first stages; of its own what came after.
 */
static cpt_status write_manifest(const cpt_study *s, const char *folder, cpt_err *e)
{
    char path[PATH_MAX];
    cpt_status status = cpt_path_join(path, sizeof path, folder, "study.json", e);
    if (status) return status;
    json_t *old = json_load_file(path, 0, NULL), *stages = json_object_get(old, "stages");
    json_t *manifest = json_copy(s->manifest),
           *own = json_is_object(stages) ? json_copy(stages) : json_object();
    for (int i = 0; i < N_TAKEN; i++)
        json_object_set(own, taken_over[i],
                        json_object_get(json_object_get(s->manifest, "stages"), taken_over[i]));
    json_object_set_new(manifest, "stages", own);
    char *text =
        json_dumps(manifest, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(17));
    status = text ? cpt_write_file(path, text, strlen(text), e)
                  : cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
    free(text);
    json_decref(manifest);
    json_decref(old);
    return status;
}

/* As many directions and as many active ones as the study's dictionary has. */
static cpt_status control_options(cpt_study *s, const char *kind, cpt_options *o, cpt_err *e)
{
    cpt_dictionary *d;
    char number[32];
    cpt_status status;
    CPT_TRY(cpt_study_dictionary(s, &d, e));
    CPT_TRY(cpt_options_set(o, "dictionary", kind, e));
    CPT_TRY(cpt_options_set(o, "preset", "", e));
    bool pca = strcmp(kind, "pca") == 0; /* all components */
    snprintf(number, sizeof number, "%d", pca ? 0 : d->n_concepts);
    CPT_TRY(cpt_options_set(o, "concepts", number, e));
    if (pca) CPT_TRY(cpt_options_set(o, "expansion", "0", e));
    if (pca) CPT_TRY(cpt_options_set(o, "k", "0", e));
    if (d->max_active < d->dim && !pca) {
        snprintf(number, sizeof number, "%d", d->max_active);
        CPT_TRY(cpt_options_set(o, "k", number, e));
    }
    CPT_TRY(cpt_options_set(o, "noise-directions", "0", e));
    CPT_TRY(cpt_options_set(o, "completeness", "no", e));
    status = cpt_options_set(o, "controls", "no", e);
done:
    return status;
}

static cpt_status prepare_folder(const cpt_study *s, const char *folder, cpt_err *e)
{
    char cache[PATH_MAX];
    cpt_status status;
    CPT_TRY(cpt_path_join(cache, sizeof cache, folder, "cache", e));
    CPT_TRY(cpt_make_folder(cache, e));
    for (int i = 0; i < N_LINKED; i++) CPT_TRY(link_file(s, folder, linked[i], e));
    CPT_TRY(link_cells(s, folder, e));
    status = write_manifest(s, folder, e);
done:
    return status;
}

cpt_status cpt_control_make(cpt_study *s, const char *kind, const char *last, cpt_err *e)
{
    char folder[PATH_MAX];
    cpt_options *o = NULL;
    cpt_study *control = NULL;
    cpt_status status;
    CPT_TRY(cpt_control_folder(s->folder, kind, folder, sizeof folder, e));
    CPT_TRY(prepare_folder(s, folder, e));
    o = cpt_options_new(e);
    if (!o) {
        status = CPT_ERR_MEMORY;
        goto done;
    }
    CPT_TRY(control_options(s, kind, o, e));
    cpt_info(s->ctx, "control: %s", kind);
    CPT_TRY(cpt_study_begin(folder, NULL, o, s->command, s->ctx, &control, e));
    status = cpt_study_advance(control, last, false, e);
done:
    cpt_study_close(control);
    cpt_options_free(o);
    return status;
}

#include "study/manifest.h"
#include "base/file.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* The study's folder, lock and manifest; study.json is rewritten (atomically) after every stage. */

enum { PATH_LIMIT = CPT_STUDY_PATH_LIMIT, MANIFEST_VERSION = 1 };

cpt_status cpt_study_path(const cpt_study *s, const char *name, char *path, size_t capacity,
                          cpt_err *e)
{
    return cpt_path_join(path, capacity, s->folder, name, e);
}

/* ---- manifest ---- */

cpt_status cpt_manifest_write(cpt_study *s, cpt_err *e)
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
    if (status == CPT_OK) status = cpt_study_merge_options(s, given, e);
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
    json_object_set_new(s->manifest, "options", cpt_options_json(s->options));
    return cpt_manifest_write(s, e);
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
    if (status == CPT_OK) status = cpt_study_merge_options(s, given, e);
    const char *recorded =
        json_string_value(json_object_get(json_object_get(s->manifest, "input"), "path"));
    if (recorded) s->input = cpt_strdup(recorded);
    if (status) cpt_study_close(s);
    else *out = s;
    return status;
}

void cpt_study_close(cpt_study *s)
{
    if (!s) return;
    cpt_study_drop_loaded(s);
    cpt_study_drop_cells(s);
    if (s->lock >= 0) close(s->lock);
    json_decref(s->manifest);
    json_decref(s->options_before);
    cpt_options_free(s->options);
    free(s->folder);
    free(s->input);
    free(s);
}

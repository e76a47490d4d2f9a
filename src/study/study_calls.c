#include "study/control_studies.h"
#include "study/manifest.h"
#include "study/stages.h"
#include "base/file.h"

/* The calls of conceptome.h that work on a whole study. */

enum { PATH_LIMIT = CPT_STUDY_PATH_LIMIT };

static cpt_status work(const char *study, const char *cells, const char *last,
                       const cpt_options *options, bool force, const char *command,
                       const cpt_context *ctx, cpt_err *e)
{
    cpt_study *s;
    cpt_status status = cpt_study_begin(study, cells, options, command, ctx, &s, e);
    if (status) return status;
    status = cpt_study_advance(s, last, force, e);
    if (status && status != CPT_ERR_INTERRUPTED) cpt_study_forget_options(s, options, s->options_before);
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

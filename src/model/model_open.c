/* Tells what a path is and hands it to the model's own reader.
 *
 * Folders are told by the names of their files, files by their content. Each format is one line
 * of the table; the first that matches reads. */
#include "model/model.h"

#include <string.h>

#include "base/file.h"
#include "model/scgpt_network.h"
#include "model/scvi_files.h"

enum { PATH = 4096 };

typedef struct format {
    const char *files[3]; /* a folder with all of these */
    cpt_status (*open)(const char *folder, cpt_model **out, const cpt_context *ctx, cpt_err *e);
} format;

static cpt_status open_file(const char *path, cpt_model **out, cpt_err *e)
{
    cpt_checkpoint *file = NULL;
    cpt_status status = cpt_checkpoint_open(path, &file, e);
    if (status) return status;
    if (!file->root)
        status = scvi_open_tensors(path, file, out, e);
    else if (cpt_value_get(file->root, "model_state_dict"))
        status = scvi_open_torch(path, file, out, e);
    else
        status =
            cpt_fail(e, CPT_ERR_UNSUPPORTED,
                     "%s: is a PyTorch file, but no model of scvi-tools "
                     "(no model_state_dict); for scGPT, and for scvi-tools before 0.15, give the "
                     "folder that holds it",
                     path);
    cpt_checkpoint_free(file);
    return status;
}

/* The folder's file `name`. */
static cpt_status open_inside(const char *folder, const char *name, cpt_model **out, cpt_err *e)
{
    char path[PATH];
    cpt_status status = cpt_path_join(path, sizeof path, folder, name, e);
    return status ? status : open_file(path, out, e);
}

static cpt_status open_scvi(const char *folder, cpt_model **out, const cpt_context *ctx, cpt_err *e)
{
    return open_inside(folder, "model.pt", out, e);
}

static cpt_status open_legacy(const char *folder, cpt_model **out, const cpt_context *ctx,
                              cpt_err *e)
{
    return scvi_open_legacy(folder, out, e);
}

static cpt_status open_ours(const char *folder, cpt_model **out, const cpt_context *ctx, cpt_err *e)
{
    return open_inside(folder, "model.safetensors", out, e);
}

static const format formats[] = {
    {{"best_model.pt", "args.json", "vocab.json"}, scgpt_open_folder},
    {{"model.safetensors", "args.json", "vocab.json"}, scgpt_open_folder},
    {{"model.pt"}, open_scvi},
    {{"model_params.pt", "var_names.csv", "attr.pkl"}, open_legacy},
    {{"model.safetensors"}, open_ours},
};

static bool has_files(const char *folder, const format *f)
{
    char path[PATH];
    for (int i = 0; i < 3 && f->files[i]; i++)
        if (cpt_path_join(path, sizeof path, folder, f->files[i], NULL) || !cpt_path_exists(path))
            return false;
    return true;
}

cpt_status cpt_model_open(const char *path, cpt_model **out, const cpt_context *ctx, cpt_err *e)
{
    *out = NULL;
    if (!cpt_path_exists(path))
        return cpt_fail(e, CPT_ERR_IO,
                        "%s: there is no such file or folder; a model is a folder or file "
                        "of scvi-tools (model.pt) or scGPT",
                        path);
    if (!cpt_path_is_folder(path)) return open_file(path, out, e);
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (has_files(path, &formats[i])) return formats[i].open(path, out, ctx, e);
    return cpt_fail(e, CPT_ERR_FORMAT, "%s: holds no model: expected model.pt (scvi-tools), "
                    "model_params.pt with var_names.csv and attr.pkl (scvi-tools before 0.15), or "
                    "best_model.pt with args.json and vocab.json (scGPT)", path);
}

/* Writes a trained scGPT as scGPT keeps its models: best_model.pt, args.json, vocab.json.
 *
 * Names and shapes are those of the published checkpoints (models.md 1.2), the attention under
 * flash-attention's name (Wqkv), which scGPT's load_pretrained renames as it needs. It loads
 * without strictness, so a wrong name would stay random without a word: test/golden has a script
 * that loads a folder of ours with the real code and compares embeddings. */
#include "model/scgpt_weights.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

enum { PATH = 4096 };
static const char *const special[SCGPT_SPECIAL] = {"<pad>", "<cls>", "<eoc>"};

static cpt_status save_weights(const scgpt_weights *w, const char *path, cpt_err *e)
{
    cpt_tree *tree = cpt_tree_new();
    cpt_value *root = tree ? cpt_tree_dict(tree, true) : NULL;
    bool ok = root != NULL;
    for (int32_t i = 0; ok && i < w->n_parameters; i++) {
        const scgpt_parameter *p = &w->parameters[i];
        const int64_t shape[2] = {p->rows, p->cols};
        ok = cpt_tree_set(
            tree, root, p->name,
            cpt_tree_tensor(tree, CPT_F32, p->cols ? 2 : 1, shape, w->values + p->offset));
    }
    cpt_status status = ok ? cpt_torch_write(path, root, e)
                           : cpt_fail(e, CPT_ERR_MEMORY, "%s: out of memory while saving", path);
    cpt_tree_free(tree);
    return status;
}

static cpt_status save_json(const char *path, json_t *value, size_t flags, cpt_err *e)
{
    char *text = value ? json_dumps(value, flags) : NULL;
    cpt_status status = text ? cpt_write_file(path, text, strlen(text), e)
                             : cpt_fail(e, CPT_ERR_MEMORY, "%s: out of memory while saving", path);
    free(text);
    json_decref(value);
    return status;
}

static json_t *vocabulary_of(const cpt_model *m)
{
    json_t *v = json_object();
    bool ok = v != NULL;
    for (int32_t i = 0; ok && i < m->n_genes + SCGPT_SPECIAL; i++) {
        const char *name =
            i < m->n_genes ? cpt_strings_get(&m->gene_names, i) : special[i - m->n_genes];
        ok = json_object_set_new(v, name, json_integer(i)) == 0;
    }
    if (ok) return v;
    json_decref(v);
    return NULL;
}

static json_t *args_of(const scgpt_weights *w)
{
    const scgpt_shape *s = &w->shape;
    return json_pack("{s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:f, s:i, s:b, s:b}",
                     "pad_token", special[0], "input_style", "binned", "input_emb_style",
                     "continuous", "n_bins", SCGPT_BINS, "max_seq_len", w->max_tokens, "embsize",
                     s->width, "nheads", s->n_heads, "d_hid", s->hidden, "nlayers", s->n_layers,
                     "n_layers_cls", 3, "dropout", w->dropout, "mask_value", w->mask_value,
                     "pad_value", (int)s->pad_value, "fast_transformer", 1, "MVC", 1);
}

cpt_status scgpt_save(const cpt_model *base, const char *folder, cpt_err *e)
{
    const cpt_scgpt *m = scgpt_of(base);
    char path[PATH];
    cpt_status status;
    if (!m->trained)
        return cpt_fail(e, CPT_ERR_UNSUPPORTED,
                        "%s: this scGPT was loaded, not trained here; copy "
                        "its folder instead",
                        folder);
    CPT_TRY(cpt_make_folder(folder, e));
    CPT_TRY(cpt_path_join(path, PATH, folder, "vocab.json", e));
    CPT_TRY(save_json(path, vocabulary_of(base), JSON_COMPACT, e));
    CPT_TRY(cpt_path_join(path, PATH, folder, "args.json", e));
    CPT_TRY(save_json(path, args_of(m->trained), JSON_INDENT(1), e));
    CPT_TRY(cpt_path_join(path, PATH, folder, "best_model.pt", e));
    CPT_TRY(save_weights(m->trained, path, e));
done:
    return status;
}

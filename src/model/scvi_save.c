/* Writes scVI models: in scvi-tools' model.pt layout (models.md 5.7), and our own .safetensors.
 *
 * SCVI.load(folder, adata) runs setup_anndata again with the registry's setup arguments, checks
 * the genes and the categories, builds a module from init_params_ and loads the state dictionary
 * strictly. Hence the file needs all of that, and every tensor of the module: also the heads that
 * are never trained (l_encoder, px_r_decoder, for NB px_dropout_decoder), which are written as
 * freshly initialised. test/golden/check_scvi_save.py loads such a file with the real scvi-tools.
 */
#include "model/scvi_files.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* The version whose layout this is. */
static const char *const SCVI_TOOLS_VERSION = "1.1.0";

/* ---- model.pt ---- */

/* Building stops at the first failure; `failed` then is true and everything later does nothing. */
typedef struct builder {
    cpt_tree *tree;
    bool failed;
} builder;

static void put(builder *b, cpt_value *dict, const char *key, cpt_value *value)
{
    if (!b->failed && (!dict || !value || !cpt_tree_set(b->tree, dict, key, value)))
        b->failed = true;
}

static cpt_value *put_dict(builder *b, cpt_value *parent, const char *key)
{
    cpt_value *dict = cpt_tree_dict(b->tree, false);
    put(b, parent, key, dict);
    return b->failed ? NULL : dict;
}

static void put_text(builder *b, cpt_value *dict, const char *key, const char *text)
{
    put(b, dict, key, text ? cpt_tree_text(b->tree, text) : cpt_tree_none(b->tree));
}

static void put_int(builder *b, cpt_value *dict, const char *key, int64_t value)
{
    put(b, dict, key, cpt_tree_int(b->tree, value));
}

static void put_names(builder *b, cpt_value *dict, const char *key, const cpt_strings *names)
{
    put(b, dict, key, cpt_tree_text_array(b->tree, names));
}

static void put_init_params(builder *b, cpt_value *attributes, const cpt_scvi *m)
{
    cpt_value *init = put_dict(b, attributes, "init_params_");
    put_dict(b, put_dict(b, init, "kwargs"), "model_kwargs");
    cpt_value *p = put_dict(b, init, "non_kwargs");
    put_int(b, p, "n_hidden", m->shape.n_hidden);
    put_int(b, p, "n_latent", m->shape.n_latent);
    put_int(b, p, "n_layers", m->shape.n_layers);
    put(b, p, "dropout_rate", cpt_tree_float(b->tree, m->dropout));
    put_text(b, p, "dispersion", "gene");
    put_text(b, p, "gene_likelihood", m->shape.zero_inflated ? "zinb" : "nb");
    put_text(b, p, "latent_distribution", "normal");
}

static const char *batch_key(const cpt_scvi *m)
{
    if (m->n_batches < 2) return NULL;
    return m->batch_key.length ? cpt_text_str(&m->batch_key) : "batch";
}

static void put_setup_args(builder *b, cpt_value *registry, const cpt_scvi *m)
{
    static const char *const none[] = {"labels_key", "size_factor_key",
                                       "categorical_covariate_keys", "continuous_covariate_keys"};
    cpt_value *args = put_dict(b, registry, "setup_args");
    put_text(b, args, "layer", NULL);
    put_text(b, args, "batch_key", batch_key(m));
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) put_text(b, args, none[i], NULL);
}

/* A field_registries entry; its state_registry is returned through *state, summary_stats through
 * *sum. */
static void put_field(builder *b, cpt_value *fields, const char *name, const char *attr_name,
                      const char *attr_key, cpt_value **state, cpt_value **sum)
{
    cpt_value *entry = put_dict(b, fields, name), *data = put_dict(b, entry, "data_registry");
    if (attr_name) {
        put_text(b, data, "attr_name", attr_name);
        put_text(b, data, "attr_key", attr_key);
    }
    *state = put_dict(b, entry, "state_registry");
    *sum = put_dict(b, entry, "summary_stats");
}

static void put_category(builder *b, cpt_value *state, const cpt_strings *labels, const char *key)
{
    static const int64_t zero[1] = {0};
    put(b, state, "categorical_mapping", labels ? cpt_tree_text_array(b->tree, labels)
                                                : cpt_tree_int_array(b->tree, zero, 1));
    put_text(b, state, "original_key", key);
}

static void put_fields(builder *b, cpt_value *registry, const cpt_scvi *m)
{
    cpt_value *fields = put_dict(b, registry, "field_registries"), *state, *sum;
    const bool batches = m->n_batches > 1;
    put_field(b, fields, "X", "X", NULL, &state, &sum);
    put_int(b, state, "n_vars", m->base.n_genes);
    put_names(b, state, "column_names", &m->base.gene_names);
    put_int(b, sum, "n_vars", m->base.n_genes);
    put_field(b, fields, "batch", "obs", "_scvi_batch", &state, &sum);
    put_category(b, state, batches ? &m->batch_names : NULL,
                 batches ? batch_key(m) : "_scvi_batch");
    put_int(b, sum, "n_batch", batches ? m->n_batches : 1);
    put_field(b, fields, "labels", "obs", "_scvi_labels", &state, &sum);
    put_category(b, state, NULL, "_scvi_labels");
    put_int(b, sum, "n_labels", 1);
    put_field(b, fields, "size_factor", NULL, NULL, &state, &sum);
    put_field(b, fields, "extra_categorical_covs", NULL, NULL, &state, &sum);
    put_int(b, sum, "n_extra_categorical_covs", 0);
    put_field(b, fields, "extra_continuous_covs", NULL, NULL, &state, &sum);
    put_int(b, sum, "n_extra_continuous_covs", 0);
}

static void put_attributes(builder *b, cpt_value *root, const cpt_scvi *m)
{
    cpt_value *attributes = put_dict(b, root, "attr_dict");
    cpt_value *registry = put_dict(b, attributes, "registry_");
    put_text(b, registry, "scvi_version", SCVI_TOOLS_VERSION);
    put_text(b, registry, "model_name", "SCVI");
    put_setup_args(b, registry, m);
    put_fields(b, registry, m);
    put_text(b, registry, "setup_method_name", "setup_anndata");
    put_text(b, registry, "_scvi_uuid", "00000000-0000-0000-0000-000000000000");
    put_init_params(b, attributes, m);
    put(b, attributes, "is_trained_", cpt_tree_bool(b->tree, true));
    put(b, attributes, "history_", cpt_tree_none(b->tree));
    static const char *const indices[] = {"train_indices_", "validation_indices_", "test_indices_"};
    for (size_t i = 0; i < sizeof indices / sizeof *indices; i++)
        put(b, attributes, indices[i], cpt_tree_int_array(b->tree, NULL, 0));
}

static void put_state(builder *b, cpt_value *root, const scvi_export *x)
{
    cpt_value *state = cpt_tree_dict(b->tree, true);
    put(b, root, "model_state_dict", state);
    for (int32_t i = 0; i < x->n; i++) {
        const cpt_tensor *t = &x->tensors[i];
        put(b, state, t->name, cpt_tree_tensor(b->tree, t->dtype, t->n_dims, t->shape, t->data));
    }
}

/* What scvi-tools' own SCVI class with default settings could not have made. */
static cpt_status check_standard(const cpt_scvi *m, cpt_err *e)
{
    const char *why = !m->px_r ? "its dispersion is not one per gene"
                      : !m->shape.encoder_norm || !m->shape.decoder_norm
                          ? "it lacks batch normalisation"
                      : !m->shape.log_input ? "it reads counts without logarithm"
                                            : m->no_decode;
    if (!why && m->base.gene_names.n != m->base.n_genes) why = "its genes have no names";
    if (!why && m->n_batches > 1 && m->batch_names.n != m->n_batches)
        why = "its batches have no names";
    if (!why) return CPT_OK;
    return cpt_fail(e, CPT_ERR_UNSUPPORTED, "this model cannot be written for scvi-tools: %s", why);
}

cpt_status cpt_scvi_save(const cpt_model *base, const char *folder, cpt_err *e)
{
    enum { PATH = 4096 };
    const cpt_scvi *m = scvi_of(base);
    char path[PATH];
    builder b = {cpt_tree_new(), false};
    scvi_export x = {0};
    cpt_status status;
    CPT_TRY(b.tree ? CPT_OK : cpt_fail(e, CPT_ERR_MEMORY, "out of memory"));
    CPT_TRY(check_standard(m, e));
    CPT_TRY(cpt_make_folder(folder, e));
    CPT_TRY(cpt_path_join(path, PATH, folder, "model.pt", e));
    CPT_TRY(scvi_export_init(&x, m, true, e));
    cpt_value *root = cpt_tree_dict(b.tree, false);
    put_state(&b, root, &x);
    put_names(&b, root, "var_names", &base->gene_names);
    put_attributes(&b, root, m);
    CPT_TRY(b.failed ? cpt_fail(e, CPT_ERR_MEMORY, "%s: out of memory while saving", path)
                     : CPT_OK);
    CPT_TRY(cpt_torch_write(path, root, e));
done:
    scvi_export_free(&x);
    cpt_tree_free(b.tree);
    return status;
}

/* ---- .safetensors ---- */

static json_t *json_names(const cpt_strings *names)
{
    json_t *array = json_array();
    for (int64_t i = 0; i < names->n; i++)
        json_array_append_new(array, json_string(cpt_strings_get(names, i)));
    return array;
}

/* The settings as JSON text, freed with free(); NULL when out of memory or a name is no UTF-8. */
static char *settings_text(const cpt_scvi *m)
{
    json_t *genes = json_names(&m->base.gene_names), *batches = json_names(&m->batch_names);
    char *text = NULL;
    if (json_array_size(genes) == (size_t)m->base.gene_names.n &&
        json_array_size(batches) == (size_t)m->batch_names.n) {
        json_t *json = json_pack("{s:s, s:b, s:b, s:f, s:i, s:s, s:O, s:O}", "likelihood",
                                 m->shape.zero_inflated ? "zinb" : "nb", "log_input",
                                 (int)m->shape.log_input, "decodes", (int)!m->no_decode, "dropout",
                                 m->dropout, "n_batches", (int)m->n_batches, "batch_key",
                                 cpt_text_str(&m->batch_key), "batches", batches, "genes", genes);
        text = json ? json_dumps(json, JSON_COMPACT) : NULL;
        json_decref(json);
    }
    json_decref(genes);
    json_decref(batches);
    return text;
}

cpt_status cpt_scvi_save_tensors(const cpt_model *base, const char *path, cpt_err *e)
{
    const cpt_scvi *m = scvi_of(base);
    scvi_export x = {0};
    char *text = settings_text(m);
    cpt_status status;
    CPT_TRY(text ? CPT_OK
                 : cpt_fail(e, CPT_ERR_DATA, "%s: a gene or batch name is no UTF-8 text", path));
    const char *const pairs[] = {SCVI_METADATA, text};
    CPT_TRY(scvi_export_init(&x, m, false, e));
    CPT_TRY(cpt_safetensors_write(path, x.n, x.tensors, 1, pairs, e));
done:
    scvi_export_free(&x);
    free(text);
    return status;
}

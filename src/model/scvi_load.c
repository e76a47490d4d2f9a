/* Files of scVI models: scvi-tools' model.pt, its folders from before 0.15, and our own
 * .safetensors.
 *
 * A scvi-tools file holds the tensors (scvi_tensors.c), the genes (var_names) and a dictionary of
 * attributes (models.md 5.7). Of the attributes we want what changes the computation: the class,
 * and the settings among init_params_; where a setting sits depends on the version, so all its
 * places are looked at. A setting that we cannot compute with is refused by its name; one that
 * only the decoder minds makes decoding refuse and leaves embedding alone. */
#include "model/scvi_files.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* ---- attributes ---- */

/* init_params_[non_kwargs][key], or [kwargs][any][key], or [kwargs][key], or [key]. NULL: not
 * there. */
static const cpt_value *setting(const cpt_value *attributes, const char *key)
{
    const cpt_value *init = cpt_value_get(attributes, "init_params_");
    const cpt_value *found = cpt_value_get(cpt_value_get(init, "non_kwargs"), key);
    const cpt_value *kwargs = cpt_value_get(init, "kwargs");
    if (!found) found = cpt_value_get(kwargs, key);
    if (!found) found = cpt_value_get(init, key);
    if (!found && kwargs && kwargs->kind == CPT_VALUE_DICT)
        for (int64_t i = 0; i < kwargs->as.list.n && !found; i++)
            found = cpt_value_get(kwargs->as.list.items[2 * i + 1], key);
    return found;
}

static bool setting_is(const cpt_value *attributes, const char *key, const char *text)
{
    const char *value = cpt_value_text(setting(attributes, key));
    return value && strcmp(value, text) == 0;
}

static bool setting_is_true(const cpt_value *attributes, const char *key)
{
    const cpt_value *v = setting(attributes, key);
    return v && v->kind == CPT_VALUE_BOOL && v->as.boolean;
}

static const cpt_value *field(const cpt_value *registry, const char *name, const char *part)
{
    return cpt_value_get(cpt_value_get(cpt_value_get(registry, "field_registries"), name), part);
}

static int64_t integer_or(const cpt_value *v, int64_t otherwise)
{
    return v && v->kind == CPT_VALUE_INT ? v->as.integer : otherwise;
}

/* Before 0.15 the registry was called scvi_setup_dict_ and looked different. */
static int64_t find_n_batches(const cpt_value *attributes)
{
    const cpt_value *registry = cpt_value_get(attributes, "registry_");
    const cpt_value *old =
        cpt_value_get(cpt_value_get(attributes, "scvi_setup_dict_"), "summary_stats");
    return integer_or(cpt_value_get(field(registry, "batch", "summary_stats"), "n_batch"),
                      integer_or(cpt_value_get(old, "n_batch"), 1));
}

static cpt_status refuse(const char *path, const char *what, cpt_err *e)
{
    return cpt_fail(e, CPT_ERR_UNSUPPORTED,
                    "%s: this model was made with %s, which is not supported; "
                    "train it without, or let `conceptome fit` train one",
                    path, what);
}

static cpt_status read_settings(const char *path, const cpt_value *attributes, scvi_settings *out,
                                cpt_err *e)
{
    const cpt_value *registry = cpt_value_get(attributes, "registry_");
    const cpt_value *log_input = setting(attributes, "log_variational");
    const cpt_value *dropout = setting(attributes, "dropout_rate");
    const char *likelihood = cpt_value_text(setting(attributes, "gene_likelihood"));
    const int64_t n_batches = find_n_batches(attributes);
    if (setting_is(attributes, "latent_distribution", "ln"))
        return refuse(path, "latent_distribution = \"ln\"", e);
    if (setting_is(attributes, "use_layer_norm", "encoder") ||
        setting_is(attributes, "use_layer_norm", "both"))
        return refuse(path, "layer normalisation in the encoder (use_layer_norm)", e);
    if (n_batches < 0 || n_batches > INT32_MAX)
        return cpt_fail(e, CPT_ERR_FORMAT, "%s: %lld batches cannot be", path,
                        (long long)n_batches);
    *out = (scvi_settings){.zero_inflated = !likelihood || strcmp(likelihood, "zinb") == 0,
                           .log_input = !log_input || log_input->kind != CPT_VALUE_BOOL ||
                                        log_input->as.boolean,
                           .n_batches = (int32_t)n_batches,
                           .dropout = dropout && dropout->kind == CPT_VALUE_FLOAT ?
                                          dropout->as.number : 0};
    if (setting_is(attributes, "use_layer_norm", "decoder"))
        out->no_decode = "its decoder has layer normalisation";
    if (setting_is(attributes, "batch_representation", "embedding"))
        out->no_decode = "its decoder reads a learned embedding of the batch";
    if (setting_is_true(attributes, "use_size_factor_key") ||
        cpt_value_text(cpt_value_get(cpt_value_get(registry, "setup_args"), "size_factor_key")))
        out->no_decode = "its decoder works with size factors";
    return CPT_OK;
}

/* ---- names ---- */

/* Texts or whole numbers of a numpy array or a list. */
static cpt_status read_labels(const char *path, const char *what, const cpt_value *v,
                              cpt_strings *out, cpt_err *e)
{
    const bool array = v && v->kind == CPT_VALUE_ARRAY, list = v && v->kind == CPT_VALUE_LIST;
    const int64_t n = array && v->as.array.n_dims == 1 ? v->as.array.shape[0]
                      : list                           ? v->as.list.n : -1;
    cpt_value **items = array ? v->as.array.objects : list ? v->as.list.items : NULL;
    char digits[32];
    if (n < 0 || (array && !items && v->as.array.dtype != CPT_I64))
        return cpt_fail(e, CPT_ERR_FORMAT, "%s: %s is no list of names", path, what);
    for (int64_t i = 0; i < n; i++) {
        const char *text = items ? cpt_value_text(items[i]) : NULL;
        if (!text && (!items || items[i]->kind == CPT_VALUE_INT)) {
            int64_t number;
            if (items) number = items[i]->as.integer;
            else memcpy(&number, (const char *)v->as.array.data + i * 8, sizeof number);
            snprintf(digits, sizeof digits, "%lld", (long long)number);
            text = digits;
        }
        if (!text) return cpt_fail(e, CPT_ERR_FORMAT, "%s: %s: entry %lld is no name", path, what,
                                   (long long)i);
        cpt_status status = cpt_strings_add(out, text, strlen(text), e);
        if (status) return status;
    }
    return CPT_OK;
}

/* As many names as genes, no two alike. */
static cpt_status check_genes(const char *path, const cpt_scvi *m, cpt_err *e)
{
    const cpt_strings *names = &m->base.gene_names;
    if (names->n != m->base.n_genes)
        return cpt_fail(e, CPT_ERR_FORMAT, "%s: %lld gene names, but the tensors are of %d genes",
                        path, (long long)names->n, m->base.n_genes);
    cpt_index *seen = cpt_index_new((size_t)names->n, e);
    cpt_status status = seen ? CPT_OK : CPT_ERR_MEMORY;
    for (int64_t i = 0, first; !status && i < names->n; i++) {
        status = cpt_index_add(seen, cpt_strings_get(names, i), i, &first, e);
        if (!status && first != i)
            status = cpt_fail(e, CPT_ERR_DATA,
                              "%s: genes %lld and %lld of the model are both called "
                              "%s",
                              path, (long long)first, (long long)i, cpt_strings_get(names, i));
    }
    cpt_index_free(seen);
    return status;
}

/* The batch column and its labels; without them the batches are only numbered. */
static cpt_status read_batches(const char *path, const cpt_value *attributes, cpt_scvi *m,
                               cpt_err *e)
{
    const cpt_value *registry = cpt_value_get(attributes, "registry_");
    const cpt_value *old = cpt_value_get(
        cpt_value_get(cpt_value_get(attributes, "scvi_setup_dict_"), "categorical_mappings"),
        "_scvi_batch");
    const cpt_value *state = field(registry, "batch", "state_registry");
    const cpt_value *labels = cpt_value_get(state, "categorical_mapping");
    const char *key = cpt_value_text(cpt_value_get(state, "original_key"));
    if (!labels) labels = cpt_value_get(old, "mapping");
    if (!key) key = cpt_value_text(cpt_value_get(old, "original_key"));
    if (m->n_batches < 2) return CPT_OK;
    if (key) cpt_text_add(&m->batch_key, key);
    cpt_status status = cpt_text_status(&m->batch_key, e);
    if (!status && labels) status = read_labels(path, "the batches", labels, &m->batch_names, e);
    if (!status && labels && m->batch_names.n != m->n_batches)
        status = cpt_fail(e, CPT_ERR_FORMAT, "%s: %lld batch labels for %d batches", path,
                          (long long)m->batch_names.n, m->n_batches);
    return status;
}

static cpt_status describe_class(cpt_scvi *m, const char *class_name, cpt_err *e)
{
    cpt_text text = {0};
    if (!class_name || strcmp(class_name, "SCANVI") != 0) return CPT_OK;
    cpt_text_addf(&text, "scANVI (its scVI part)%s",
                  cpt_text_str(&m->base.description) + strlen("scVI"));
    cpt_status status = cpt_text_status(&text, e);
    cpt_text_free(&m->base.description);
    m->base.description = text;
    return status;
}

/* ---- scvi-tools ---- */

/* Genes are in `names` (.pt) or already in m (legacy). */
static cpt_status finish(const char *path, const cpt_value *attributes, const cpt_value *names,
                         cpt_scvi *m, cpt_err *e)
{
    const char *name =
        cpt_value_text(cpt_value_get(cpt_value_get(attributes, "registry_"), "model_name"));
    cpt_status status = CPT_OK;
    if (names) CPT_TRY(read_labels(path, "var_names", names, &m->base.gene_names, e));
    CPT_TRY(check_genes(path, m, e));
    CPT_TRY(read_batches(path, attributes, m, e));
    CPT_TRY(describe_class(m, name, e));
done:
    return status;
}

static cpt_status check_class(const char *path, const cpt_value *root, cpt_err *e)
{
    const cpt_value *names = cpt_value_get(root, "var_names");
    const cpt_value *registry = cpt_value_get(cpt_value_get(root, "attr_dict"), "registry_");
    const char *name = cpt_value_text(cpt_value_get(registry, "model_name"));
    if (name && strcmp(name, "SCVI") != 0 && strcmp(name, "SCANVI") != 0)
        return cpt_fail(e, CPT_ERR_UNSUPPORTED,
                        "%s: is a %s model of scvi-tools; only SCVI and SCANVI "
                        "models can be read",
                        path, name);
    if (names && names->kind == CPT_VALUE_DICT)
        return cpt_fail(e, CPT_ERR_UNSUPPORTED,
                        "%s: is a model of several modalities; only SCVI and "
                        "SCANVI models of counts can be read",
                        path);
    return CPT_OK;
}

cpt_status scvi_open_torch(const char *path, const cpt_checkpoint *file, cpt_model **out,
                           cpt_err *e)
{
    const cpt_value *attributes = cpt_value_get(file->root, "attr_dict");
    const cpt_value *names = cpt_value_get(file->root, "var_names");
    scvi_settings settings;
    cpt_scvi *m = NULL;
    cpt_status status;
    *out = NULL;
    CPT_TRY(check_class(path, file->root, e));
    if (!names)
        CPT_TRY(cpt_fail(e, CPT_ERR_FORMAT,
                         "%s: var_names, the genes' names, are absent; save "
                         "the model again with scvi-tools",
                         path));
    CPT_TRY(read_settings(path, attributes, &settings, e));
    CPT_TRY(scvi_read_tensors(path, file, "model_state_dict.", &settings, &m, e));
    CPT_TRY(finish(path, attributes, names, m, e));
    *out = &m->base;
    m = NULL;
done:
    if (m) cpt_model_free(&m->base);
    return status;
}

/* One gene per line. */
static cpt_status read_gene_lines(const char *path, cpt_strings *out, cpt_err *e)
{
    cpt_lines *in = cpt_lines_open(path, 1 << 16, e);
    cpt_status status = in ? CPT_OK : e ? e->code : CPT_ERR_IO;
    while (!status) {
        char *line;
        size_t length;
        status = cpt_lines_next(in, &line, &length, e);
        if (status || !line) break;
        if (length > 0) status = cpt_strings_add(out, line, length, e);
    }
    cpt_lines_close(in);
    return status;
}

cpt_status scvi_open_legacy(const char *folder, cpt_model **out, cpt_err *e)
{
    enum { PATH = 4096 };
    char parameters[PATH], names[PATH], attributes[PATH];
    cpt_checkpoint *tensors = NULL, *pickle = NULL;
    scvi_settings settings;
    cpt_scvi *m = NULL;
    cpt_status status;
    *out = NULL;
    CPT_TRY(cpt_path_join(parameters, PATH, folder, "model_params.pt", e));
    CPT_TRY(cpt_path_join(names, PATH, folder, "var_names.csv", e));
    CPT_TRY(cpt_path_join(attributes, PATH, folder, "attr.pkl", e));
    CPT_TRY(cpt_checkpoint_open(parameters, &tensors, e));
    CPT_TRY(cpt_checkpoint_open(attributes, &pickle, e));
    CPT_TRY(read_settings(attributes, pickle->root, &settings, e));
    CPT_TRY(scvi_read_tensors(parameters, tensors, "", &settings, &m, e));
    CPT_TRY(read_gene_lines(names, &m->base.gene_names, e));
    CPT_TRY(finish(folder, pickle->root, NULL, m, e));
    *out = &m->base;
    m = NULL;
done:
    if (m) cpt_model_free(&m->base);
    cpt_checkpoint_free(tensors);
    cpt_checkpoint_free(pickle);
    return status;
}

/* ---- ours ---- */

static const char *metadata(const cpt_checkpoint *file, const char *key)
{
    for (int64_t i = 0; file->metadata_keys && i < file->metadata_keys->n; i++)
        if (strcmp(cpt_strings_get(file->metadata_keys, i), key) == 0)
            return cpt_strings_get(file->metadata_values, i);
    return NULL;
}

static cpt_status read_json_names(const char *path, const json_t *array, const char *key,
                                  cpt_strings *out, cpt_err *e)
{
    for (size_t i = 0; i < json_array_size(array); i++) {
        const char *text = json_string_value(json_array_get(array, i));
        if (!text) return cpt_fail(e, CPT_ERR_FORMAT, "%s: %s: entry %zu is no text", path, key, i);
        cpt_status status = cpt_strings_add(out, text, strlen(text), e);
        if (status) return status;
    }
    return CPT_OK;
}

static cpt_status read_json(const char *path, const cpt_checkpoint *file, const json_t *json,
                            cpt_scvi **out, cpt_err *e)
{
    const json_t *batches = json_object_get(json, "batches");
    const char *likelihood = json_string_value(json_object_get(json, "likelihood"));
    const char *key = json_string_value(json_object_get(json, "batch_key"));
    const json_int_t n_batches = json_integer_value(json_object_get(json, "n_batches"));
    cpt_status status;
    if (n_batches < 0 || n_batches > INT32_MAX || !likelihood)
        return cpt_fail(e, CPT_ERR_FORMAT, "%s: the settings in its metadata are damaged", path);
    const scvi_settings settings = {.zero_inflated = strcmp(likelihood, "zinb") == 0,
        .log_input = json_is_true(json_object_get(json, "log_input")),
        .n_batches = (int32_t)n_batches,
        .dropout = json_number_value(json_object_get(json, "dropout")),
        .no_decode = json_is_false(json_object_get(json, "decodes")) ?
                         "its decoder needs inputs beside the batch" : NULL};
    CPT_TRY(scvi_read_tensors(path, file, "", &settings, out, e));
    CPT_TRY(read_json_names(path, json_object_get(json, "genes"), "genes", &(*out)->base.gene_names,
                            e));
    CPT_TRY(check_genes(path, *out, e));
    CPT_TRY(read_json_names(path, batches, "batches", &(*out)->batch_names, e));
    if (key) cpt_text_add(&(*out)->batch_key, key);
    CPT_TRY(cpt_text_status(&(*out)->batch_key, e));
done:
    return status;
}

cpt_status scvi_open_tensors(const char *path, const cpt_checkpoint *file, cpt_model **out,
                             cpt_err *e)
{
    const char *text = metadata(file, SCVI_METADATA);
    cpt_scvi *m = NULL;
    json_error_t where;
    *out = NULL;
    if (!text)
        return cpt_fail(e, CPT_ERR_UNSUPPORTED,
                        "%s: is a .safetensors file, but not of a model that "
                        "conceptome saved; give the folder or model.pt of the model instead",
                        path);
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, &where);
    cpt_status status = json ? read_json(path, file, json, &m, e)
                             : cpt_fail(e, CPT_ERR_FORMAT, "%s: the settings in its metadata are "
                                        "damaged: %s", path, where.text);
    json_decref(json);
    if (status && m) cpt_model_free(&m->base);
    else if (m) *out = &m->base;
    return status;
}

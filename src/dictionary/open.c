/* open.c - loads a dictionary folder: reads cfg.json and hands it to the loader of its architecture.
 *
 * The folder is a stranger's: sizes are bounded, the JSON parser bounds nesting, and nothing is
 * allocated for a size before the weights file has been seen to hold it. */
#include "dictionary/config.h"
#include "dictionary/lowrank.h"
#include "dictionary/sae.h"
#include "dictionary/train.h"

#include "base/file.h"

#include <jansson.h>
#include <string.h>

static const struct {
    const char *architecture;
    cpt_loader_fn *load;
} loaders[] = {
    {CPT_SAE_TOPK, cpt_load_sae},
    {CPT_SAE_JUMPRELU, cpt_load_sae},
    {CPT_ARCHITECTURE_NEURONS, cpt_load_neurons},
    {CPT_ARCHITECTURE_PCA, cpt_load_pca},
    {CPT_ARCHITECTURE_ICA, cpt_load_ica},
    {CPT_ARCHITECTURE_NMF, cpt_load_nmf},
};
enum { N_LOADERS = sizeof loaders / sizeof *loaders, MAX_CONFIG_BYTES = 1 << 24 };

cpt_status cpt_config_int(const char *folder, const void *cfg, const char *key, int32_t min,
                          int32_t max, int32_t *out, cpt_err *e)
{
    const json_t *value = json_object_get(cfg, key);
    if (!value)
        return cpt_fail(e, CPT_ERR_FORMAT, "%s/" CPT_CONFIG_FILE ": '%s' is absent", folder, key);
    if (!json_is_integer(value) || json_integer_value(value) < min || json_integer_value(value) > max)
        return cpt_fail(e, CPT_ERR_FORMAT,
                        "%s/" CPT_CONFIG_FILE ": '%s' must be a whole number from %d to %d", folder, key,
                        min, max);
    *out = (int32_t)json_integer_value(value);
    return CPT_OK;
}

static cpt_status read_config(const char *folder, json_t **out, cpt_err *e)
{
    char path[4096];
    cpt_map map = {0};
    cpt_status status = CPT_OK;
    *out = NULL;
    if (!cpt_path_is_folder(folder))
        return cpt_fail(e, CPT_ERR_IO, "%s: not a folder; a dictionary is a folder with "
                        CPT_CONFIG_FILE " and " CPT_WEIGHTS_FILE, folder);
    CPT_TRY(cpt_path_join(path, sizeof path, folder, CPT_CONFIG_FILE, e));
    CPT_TRY(cpt_map_open(path, &map, e));
    if (map.size > MAX_CONFIG_BYTES) {
        status = cpt_fail(e, CPT_ERR_FORMAT, "%s: %zu bytes are too many for a configuration", path,
                          map.size);
        goto done;
    }
    json_error_t where;
    *out = json_loadb((const char *)map.bytes, map.size, JSON_REJECT_DUPLICATES, &where);
    if (!*out)
        status = cpt_fail(e, CPT_ERR_FORMAT, "%s: line %d: %s", path, where.line, where.text);
    else if (!json_is_object(*out))
        status = cpt_fail(e, CPT_ERR_FORMAT, "%s: not a JSON object", path);
done:
    cpt_map_close(&map);
    if (status != CPT_OK) {
        json_decref(*out);
        *out = NULL;
    }
    return status;
}

cpt_status cpt_dictionary_open(const char *folder, cpt_dictionary **out, cpt_err *e)
{
    json_t *cfg = NULL;
    cpt_status status = CPT_OK;
    *out = NULL;
    CPT_TRY(read_config(folder, &cfg, e));
    const char *architecture = json_string_value(json_object_get(cfg, "architecture"));
    if (!architecture) {
        status = cpt_fail(e, CPT_ERR_FORMAT,
                          "%s/" CPT_CONFIG_FILE ": 'architecture' is absent or not a text", folder);
        goto done;
    }
    for (int i = 0; i < N_LOADERS; i++)
        if (strcmp(architecture, loaders[i].architecture) == 0) {
            CPT_TRY(loaders[i].load(folder, cfg, out, e));
            goto done;
        }
    status = cpt_fail(e, CPT_ERR_UNSUPPORTED,
                      "%s/" CPT_CONFIG_FILE ": architecture '%.40s' is not supported; topk, jumprelu and "
                      CPT_ARCHITECTURE_NEURONS ", -pca, -ica and -nmf are", folder, architecture);
done:
    json_decref(cfg);
    return status;
}

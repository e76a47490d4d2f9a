/* config.h - reading cfg.json of a dictionary folder; private to this folder. */
#ifndef CPT_DICTIONARY_CONFIG_H
#define CPT_DICTIONARY_CONFIG_H

#include "base/error.h"

#define CPT_CONFIG_FILE "cfg.json"
#define CPT_WEIGHTS_FILE "sae_weights.safetensors"
#define CPT_ARCHITECTURE_NEURONS "conceptome-neurons"

enum { CPT_CONFIG_MAX_DIM = 1 << 20 };

/* `cfg` is the parsed object (json_t). An absent or misplaced value is an error that names folder, key
 * and what is allowed. */
cpt_status cpt_config_int(const char *folder, const void *cfg, const char *key, int32_t min,
                          int32_t max, int32_t *out, cpt_err *e);

#endif

/* sae_file.c - a sparse autoencoder on disk, in the layout of SAELens' inference classes TopKSAE
 * and, for thresholds, JumpReLUSAE (as SAELens itself saves Batch-Top-K).
 *
 *   DIR/sae_weights.safetensors   W_enc [d_in][d_sae], b_enc [d_sae], W_dec [d_sae][d_in], b_dec
 * [d_in], f32; jumprelu: threshold [d_sae] DIR/cfg.json                  architecture "topk" |
 * "jumprelu", d_in, d_sae, k (topk), apply_b_dec_to_input, dtype, ..., metadata {"conceptome_kind":
 * "topk" | "random" | "batchtopk" | "matryoshka" | "jumprelu", "conceptome_k" (jumprelu: active
 * concepts on average in training), "conceptome_version"}
 *
 * Written folders load with SAE.load_from_disk of sae-lens 6.54.12 (checked), and SAELens' own are
 * read: f16, bf16 and f64 weights are converted; a decoder whose norm is still to be multiplied
 * into the activations (rescale_acts_by_decoder_norm) is folded, which leaves selection and output
 * as they are; k may also stand in activation_fn_kwargs as SAELens up to 5 wrote it. What changes
 * the numbers and is not implemented (input normalisation, hook_z reshaping) is refused, not
 * ignored. */
#include "dictionary/config.h"
#include "dictionary/sae.h"
#include "dictionary/train.h"

#include "base/file.h"
#include "base/memory.h"
#include "io/checkpoint.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* to [columns][rows] = transpose of from [rows][columns] */
static void transpose(const float *from, int64_t rows, int64_t columns, float *to)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++) to[j * rows + i] = from[i * columns + j];
}

static cpt_tensor tensor_of(const char *name, const float *data, int64_t rows, int64_t columns)
{
    cpt_tensor t = {.name = name,
                    .dtype = CPT_F32,
                    .n_dims = columns ? 2 : 1,
                    .n_items = columns ? rows * columns : rows,
                    .contiguous = true,
                    .data = data};
    t.shape[0] = rows;
    t.shape[1] = columns;
    t.strides[0] = columns ? columns : 1;
    t.strides[1] = columns ? 1 : 0;
    return t;
}

static cpt_status write_weights(const cpt_sae *s, const char *folder, cpt_err *e)
{
    cpt_status status = CPT_OK;
    const int64_t F = s->base.n_concepts, d = s->base.dim;
    float *w_enc = NULL;
    char path[4096];
    CPT_TRY(cpt_alloc(&w_enc, (size_t)(F * d), sizeof *w_enc, e));
    transpose(s->w_enc, F, d, w_enc);
    const cpt_tensor tensors[] = {
        tensor_of("W_dec", s->w_dec, F, d), tensor_of("W_enc", w_enc, d, F),
        tensor_of("b_dec", s->b_dec, d, 0), tensor_of("b_enc", s->b_enc, F, 0),
        tensor_of("threshold", s->threshold, F, 0)};
    static const char *const metadata[] = {"format", "pt"};
    CPT_TRY(cpt_path_join(path, sizeof path, folder, CPT_WEIGHTS_FILE, e));
    CPT_TRY(cpt_safetensors_write(path, s->threshold ? 5 : 4, tensors, 1, metadata, e));
done:
    free(w_enc);
    return status;
}

static cpt_status write_config(const cpt_sae *s, const char *folder, cpt_err *e)
{
    cpt_status status = CPT_OK;
    cpt_text text = {0};
    char path[4096];
    cpt_text_addf(&text,
                  "{\n"
                  "  \"architecture\": \"%s\",\n"
                  "  \"d_in\": %d,\n"
                  "  \"d_sae\": %d,\n",
                  s->threshold ? CPT_SAE_JUMPRELU : CPT_SAE_TOPK, s->base.dim, s->base.n_concepts);
    if (!s->threshold) cpt_text_addf(&text, "  \"k\": %d,\n", s->base.k);
    cpt_text_addf(&text,
                  "  \"dtype\": \"float32\",\n"
                  "  \"device\": \"cpu\",\n"
                  "  \"apply_b_dec_to_input\": %s,\n"
                  "  \"normalize_activations\": \"none\",\n"
                  "  \"reshape_activations\": \"none\",\n",
                  s->subtract_bias ? "true" : "false");
    if (!s->threshold) cpt_text_add(&text, "  \"rescale_acts_by_decoder_norm\": false,\n");
    cpt_text_addf(&text, "  \"metadata\": {\n    \"conceptome_kind\": \"%s\",\n",
                  s->base.ops->kind);
    if (s->threshold) cpt_text_addf(&text, "    \"conceptome_k\": %d,\n", s->base.k);
    cpt_text_add(&text, "    \"conceptome_version\": \"" CPT_VERSION "\"\n  }\n}\n");
    CPT_TRY(cpt_text_status(&text, e));
    CPT_TRY(cpt_path_join(path, sizeof path, folder, CPT_CONFIG_FILE, e));
    CPT_TRY(cpt_write_file(path, text.bytes, text.length, e));
done:
    cpt_text_free(&text);
    return status;
}

cpt_status cpt_sae_save(const cpt_dictionary *d, const char *folder, cpt_err *e)
{
    const cpt_sae *s = (const cpt_sae *)d;
    cpt_status status = CPT_OK;
    CPT_TRY(cpt_make_folder(folder, e));
    CPT_TRY(write_weights(s, folder, e));
    CPT_TRY(write_config(s, folder, e)); /* last: a folder with cfg.json is whole */
done:
    return status;
}

/* ---- reading ---- */

static cpt_status refuse_unless(const char *folder, const json_t *cfg, const char *key,
                                const char *allowed, cpt_err *e)
{
    const json_t *value = json_object_get(cfg, key);
    const char *text = json_string_value(value);
    if (!value || json_is_null(value) || (text && strcmp(text, allowed) == 0)) return CPT_OK;
    return cpt_fail(e, CPT_ERR_UNSUPPORTED,
                    "%s/" CPT_CONFIG_FILE
                    ": '%s' is '%.40s' and only '%s' is supported; fold it into "
                    "the weights with SAELens and save again",
                    folder, key, text ? text : "not a text", allowed);
}

static cpt_status read_flag(const char *folder, const json_t *cfg, const char *key, bool absent,
                            bool *out, cpt_err *e)
{
    const json_t *value = json_object_get(cfg, key);
    *out = value ? json_is_true(value) : absent;
    if (value && !json_is_boolean(value))
        return cpt_fail(e, CPT_ERR_FORMAT, "%s/" CPT_CONFIG_FILE ": '%s' must be true or false",
                        folder, key);
    return CPT_OK;
}

typedef struct config {
    int32_t dim, n_concepts, k;
    bool subtract_bias, rescale, threshold;
    const char *kind;
} config;

static cpt_status read_k(const char *folder, const json_t *cfg, config *c, cpt_err *e)
{
    const json_t *metadata = json_object_get(cfg, "metadata");
    const json_t *with_k =
        json_object_get(cfg, "k") ? cfg : json_object_get(cfg, "activation_fn_kwargs");
    c->k = 0;
    if (!c->threshold)
        return cpt_config_int(folder, with_k ? with_k : cfg, "k", 1, c->n_concepts, &c->k, e);
    if (!json_object_get(metadata, "conceptome_k")) return CPT_OK;
    return cpt_config_int(folder, metadata, "conceptome_k", 0, c->n_concepts, &c->k, e);
}

/* What we called it when we saved it; somebody else's are plain. */
static const char *kind_of(const json_t *cfg, bool threshold)
{
    static const char *const with_topk[] = {CPT_SAE_RANDOM, NULL};
    static const char *const with_threshold[] = {CPT_SAE_BATCHTOPK, CPT_SAE_MATRYOSHKA, NULL};
    const char *kind =
        json_string_value(json_object_get(json_object_get(cfg, "metadata"), "conceptome_kind"));
    for (const char *const *p = threshold ? with_threshold : with_topk; *p && kind; p++)
        if (strcmp(kind, *p) == 0) return *p;
    return threshold ? CPT_SAE_JUMPRELU : CPT_SAE_TOPK;
}

static cpt_status read_settings(const char *folder, const json_t *cfg, config *c, cpt_err *e)
{
    cpt_status status = CPT_OK;
    const char *architecture = json_string_value(json_object_get(cfg, "architecture"));
    c->threshold = architecture && strcmp(architecture, CPT_SAE_JUMPRELU) == 0;
    CPT_TRY(cpt_config_int(folder, cfg, "d_in", 1, CPT_CONFIG_MAX_DIM, &c->dim, e));
    CPT_TRY(cpt_config_int(folder, cfg, "d_sae", 1, INT32_MAX, &c->n_concepts, e));
    CPT_TRY(read_k(folder, cfg, c, e));
    CPT_TRY(read_flag(folder, cfg, "apply_b_dec_to_input", true, &c->subtract_bias, e));
    CPT_TRY(read_flag(folder, cfg, "rescale_acts_by_decoder_norm", false, &c->rescale, e));
    CPT_TRY(refuse_unless(folder, cfg, "normalize_activations", "none", e));
    CPT_TRY(refuse_unless(folder, cfg, "reshape_activations", "none", e));
    if (c->threshold && c->rescale)
        status =
            cpt_fail(e, CPT_ERR_UNSUPPORTED,
                     "%s/" CPT_CONFIG_FILE ": 'rescale_acts_by_decoder_norm' is not supported with "
                     "thresholds; fold the norms into the weights with SAELens and save again",
                     folder);
    c->kind = kind_of(cfg, c->threshold);
done:
    return status;
}

static cpt_status all_finite(const char *path, const char *name, const float *x, int64_t n,
                             cpt_err *e)
{
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return cpt_fail(e, CPT_ERR_FORMAT, "%s: tensor %s is not finite at element %lld", path,
                            name, (long long)i);
    return CPT_OK;
}

/* All four tensors are found with their shapes before anything of that size is allocated. */
static cpt_status read_weights(const char *path, const config *c, const cpt_checkpoint *file,
                               cpt_sae **out, cpt_err *e)
{
    cpt_status status = CPT_OK;
    const int64_t F = c->n_concepts, d = c->dim;
    const cpt_tensor *w_enc, *w_dec, *b_enc, *b_dec, *threshold = NULL;
    float *transposed = NULL;
    cpt_sae *s = NULL;
    CPT_TRY(cpt_checkpoint_need(file, "W_enc", 2, (int64_t[]){d, F}, &w_enc, e));
    CPT_TRY(cpt_checkpoint_need(file, "W_dec", 2, (int64_t[]){F, d}, &w_dec, e));
    CPT_TRY(cpt_checkpoint_need(file, "b_enc", 1, (int64_t[]){F}, &b_enc, e));
    CPT_TRY(cpt_checkpoint_need(file, "b_dec", 1, (int64_t[]){d}, &b_dec, e));
    if (c->threshold)
        CPT_TRY(cpt_checkpoint_need(file, "threshold", 1, (int64_t[]){F}, &threshold, e));
    CPT_TRY(cpt_sae_new(c->kind, c->n_concepts, c->dim, c->k, &s, e));
    CPT_TRY(cpt_alloc(&transposed, (size_t)(F * d), sizeof *transposed, e));
    CPT_TRY(cpt_tensor_read_f32(w_enc, transposed, e));
    CPT_TRY(cpt_tensor_read_f32(w_dec, s->w_dec, e));
    CPT_TRY(cpt_tensor_read_f32(b_enc, s->b_enc, e));
    CPT_TRY(cpt_tensor_read_f32(b_dec, s->b_dec, e));
    CPT_TRY(all_finite(path, "W_enc", transposed, F * d, e));
    CPT_TRY(all_finite(path, "W_dec", s->w_dec, F * d, e));
    CPT_TRY(all_finite(path, "b_enc", s->b_enc, F, e));
    CPT_TRY(all_finite(path, "b_dec", s->b_dec, d, e));
    if (threshold) {
        CPT_TRY(cpt_tensor_read_f32(threshold, s->threshold, e));
        CPT_TRY(all_finite(path, "threshold", s->threshold, F, e));
    }
    transpose(transposed, d, F, s->w_enc);
    s->subtract_bias = c->subtract_bias;
    if (c->rescale) cpt_sae_unit_rows(s);
    *out = s;
    s = NULL;
done:
    free(transposed);
    if (s) cpt_dictionary_free(&s->base);
    return status;
}

cpt_status cpt_load_sae(const char *folder, const void *cfg, cpt_dictionary **out, cpt_err *e)
{
    cpt_status status = CPT_OK;
    cpt_checkpoint *file = NULL;
    cpt_sae *s = NULL;
    config c;
    char path[4096];
    CPT_TRY(read_settings(folder, cfg, &c, e));
    CPT_TRY(cpt_path_join(path, sizeof path, folder, CPT_WEIGHTS_FILE, e));
    CPT_TRY(cpt_checkpoint_open(path, &file, e));
    CPT_TRY(read_weights(path, &c, file, &s, e));
    *out = &s->base;
done:
    cpt_checkpoint_free(file);
    return status;
}

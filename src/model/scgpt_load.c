/* Folders of scGPT: best_model.pt or model.safetensors, args.json, vocab.json (models.md 1.1
 * to 1.4).
 *
 * The reference loads without strictness: a tensor whose name or shape differs stays random and
 * nothing is said. Here every tensor that the embedding is computed with must be there under one of
 * its known names, with exactly the shape that args.json and vocab.json lead to, and finite;
 * anything else is refused by name. Three spellings of the attention weights occur: flash-attention
 * 1 (Wqkv), scGPT since 2026 (_impl.Wqkv) and plain PyTorch (in_proj); they are the same matrix.
 *
 * f32 tensors are used in the mapped file. Opening reads all of it once (checksums, NaN); the heads
 * that only training needs are never touched again. */
#include "model/scgpt_network.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"

enum { NAME = 256, PATH = 4096 };

typedef struct reader {
    const char *folder;
    cpt_scgpt *m;
    const char *prefix;    /* "" or "module." */
    const char *attention; /* between "self_attn." and the tensor: "", "_impl." */
    bool in_proj;          /* in_proj_weight instead of Wqkv.weight */
    const cpt_context *ctx;
} reader;

/* ---- args.json ---- */

static cpt_status read_json(const char *folder, const char *name, json_t **out, cpt_err *e)
{
    char path[PATH];
    json_error_t where;
    cpt_map map = {0};
    cpt_status status;
    *out = NULL;
    CPT_TRY(cpt_path_join(path, sizeof path, folder, name, e));
    CPT_TRY(cpt_map_open(path, &map, e));
    *out = json_loadb((const char *)map.bytes, map.size, JSON_REJECT_DUPLICATES, &where);
    if (!*out)
        CPT_TRY(cpt_fail(e, CPT_ERR_FORMAT, "%s: line %d: %s; the file is damaged or no JSON", path,
                         where.line, where.text));
    if (!json_is_object(*out))
        CPT_TRY(cpt_fail(e, CPT_ERR_FORMAT, "%s: is no JSON object", path));
done:
    cpt_map_close(&map);
    if (status) {
        json_decref(*out);
        *out = NULL;
    }
    return status;
}

static cpt_status read_size(const char *folder, const json_t *args, const char *key, int32_t most,
                            int32_t *out, cpt_err *e)
{
    const json_t *v = json_object_get(args, key);
    if (!json_is_integer(v) || json_integer_value(v) < 1 || json_integer_value(v) > most)
        return cpt_fail(e, CPT_ERR_FORMAT, "%s/args.json: %s must be a whole number from 1 to %d",
                        folder, key, most);
    *out = (int32_t)json_integer_value(v);
    return CPT_OK;
}

/* Settings that would change the computation: either as released models have them, or refused. */
static cpt_status check_settings(const reader *r, const json_t *args, cpt_err *e)
{
    static const struct { const char *key, *known; } texts[] = {
        {"input_emb_style", "continuous"}, {"cell_emb_style", "cls"}, {"activation", "relu"}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const char *value = json_string_value(json_object_get(args, texts[i].key));
        if (value && strcmp(value, texts[i].known))
            return cpt_fail(e, CPT_ERR_UNSUPPORTED, "%s/args.json: %s is \"%s\"; only \"%s\" is "
                            "supported", r->folder, texts[i].key, value, texts[i].known);
    }
    if (json_is_true(json_object_get(args, "pre_norm")))
        return cpt_fail(e, CPT_ERR_UNSUPPORTED, "%s/args.json: pre_norm is true; only models that "
                        "normalise after each block are supported", r->folder);
    const json_t *bins = json_object_get(args, "n_bins");
    if (json_is_integer(bins) && json_integer_value(bins) != SCGPT_BINS)
        cpt_warn(r->ctx,
                 "%s/args.json: n_bins is %lld, but scGPT's embedding always bins into %d; "
                 "the same is done here",
                 r->folder, (long long)json_integer_value(bins), SCGPT_BINS);
    return CPT_OK;
}

static cpt_status read_args(const reader *r, cpt_text *pad_token, cpt_err *e)
{
    scgpt_shape *d = &r->m->shape;
    json_t *args;
    cpt_status status = read_json(r->folder, "args.json", &args, e);
    if (status) return status;
    const json_t *pad = json_object_get(args, "pad_value");
    CPT_TRY(read_size(r->folder, args, "embsize", 1 << 16, &d->width, e));
    CPT_TRY(read_size(r->folder, args, "nheads", 1 << 12, &d->n_heads, e));
    CPT_TRY(read_size(r->folder, args, "d_hid", 1 << 18, &d->hidden, e));
    CPT_TRY(read_size(r->folder, args, "nlayers", SCGPT_MAX_LAYERS, &d->n_layers, e));
    CPT_TRY(check_settings(r, args, e));
    if (d->width % d->n_heads)
        CPT_TRY(cpt_fail(e, CPT_ERR_FORMAT, "%s/args.json: embsize %d is no multiple of nheads %d",
                         r->folder, d->width, d->n_heads));
    if (pad && !json_is_number(pad))
        CPT_TRY(cpt_fail(e, CPT_ERR_FORMAT, "%s/args.json: pad_value is no number", r->folder));
    d->pad_value = pad ? (float)json_number_value(pad) : -2;
    const char *token = json_string_value(json_object_get(args, "pad_token"));
    cpt_text_add(pad_token, token ? token : "<pad>");
    CPT_TRY(cpt_text_status(pad_token, e));
done:
    json_decref(args);
    return status;
}

/* ---- vocab.json ---- */

/* Tokens that stand for no gene. A gene of the data that is called so never meets one of them. */
static bool is_special(const char *token, const char *pad_token)
{
    const size_t n = strlen(token);
    return strcmp(token, pad_token) == 0 || (n >= 2 && token[0] == '<' && token[n - 1] == '>');
}

/* names[id] = token; every id once. */
static cpt_status order_tokens(const char *folder, json_t *vocabulary, int32_t n,
                               const char **names, cpt_err *e)
{
    const char *token;
    json_t *id;
    json_object_foreach(vocabulary, token, id)
    {
        const json_int_t i = json_integer_value(id);
        if (!json_is_integer(id) || i < 0)
            return cpt_fail(e, CPT_ERR_FORMAT,
                            "%s/vocab.json: the id of '%.60s' is no whole number from 0", folder,
                            token);
        if (i >= n)
            return cpt_fail(e, CPT_ERR_FORMAT,
                            "%s/vocab.json: '%.60s' has id %lld, but there are %d tokens: "
                            "the ids have a gap; take the file that belongs to this checkpoint",
                            folder, token, (long long)i, n);
        if (names[i])
            return cpt_fail(e, CPT_ERR_FORMAT,
                            "%s/vocab.json: '%.60s' and '%.60s' both have id %lld; take "
                            "the file that belongs to this checkpoint",
                            folder, names[i], token, (long long)i);
        names[i] = token;
    }
    return CPT_OK;
}

static cpt_status take_genes(cpt_scgpt *m, const char *const *names, const char *pad_token,
                             cpt_err *e)
{
    cpt_status status = cpt_alloc(&m->token_of, (size_t)m->shape.n_tokens, sizeof *m->token_of, e);
    m->cls = -1;
    for (int32_t i = 0; !status && i < m->shape.n_tokens; i++) {
        if (strcmp(names[i], "<cls>") == 0) m->cls = i;
        if (is_special(names[i], pad_token)) continue;
        m->token_of[m->base.n_genes++] = i;
        status = cpt_strings_add(&m->base.gene_names, names[i], strlen(names[i]), e);
    }
    return status;
}

static cpt_status read_vocabulary(const reader *r, const char *pad_token, cpt_err *e)
{
    cpt_scgpt *m = r->m;
    json_t *vocabulary;
    const char **names = NULL;
    cpt_status status = read_json(r->folder, "vocab.json", &vocabulary, e);
    if (status) return status;
    const size_t n = json_object_size(vocabulary);
    if (n > INT32_MAX / 2)
        CPT_TRY(cpt_fail(e, CPT_ERR_FORMAT, "%s/vocab.json: too many tokens", r->folder));
    m->shape.n_tokens = (int32_t)n;
    CPT_TRY(cpt_alloc(&names, n, sizeof *names, e));
    CPT_TRY(order_tokens(r->folder, vocabulary, (int32_t)n, names, e));
    CPT_TRY(take_genes(m, names, pad_token, e));
    if (m->cls < 0)
        CPT_TRY(cpt_fail(e, CPT_ERR_FORMAT,
                         "%s/vocab.json: has no token '<cls>', whose output is the "
                         "embedding; take the file that belongs to this checkpoint",
                         r->folder));
    if (m->base.n_genes == 0)
        CPT_TRY(cpt_fail(e, CPT_ERR_FORMAT, "%s/vocab.json: has no genes", r->folder));
done:
    free(names);
    json_decref(vocabulary);
    return status;
}

/* ---- tensors ---- */

/* Bits of the exponent are all ones exactly for infinities and NaN; no branch, so it runs as fast
 * as the memory. */
static int64_t first_not_finite(const float *values, int64_t n)
{
    enum { BLOCK = 4096 };
    for (int64_t from = 0; from < n; from += BLOCK) {
        const int64_t end = from + BLOCK < n ? from + BLOCK : n;
        int bad = 0;
        for (int64_t i = from; i < end; i++) {
            uint32_t bits;
            memcpy(&bits, &values[i], sizeof bits);
            bad |= (bits & 0x7f800000u) == 0x7f800000u;
        }
        for (int64_t i = from; bad && i < end; i++) {
            uint32_t bits;
            memcpy(&bits, &values[i], sizeof bits);
            if ((bits & 0x7f800000u) == 0x7f800000u) return i;
        }
    }
    return -1;
}

/* In the map where it is aligned f32, else converted into memory of the model. */
static cpt_status values_of(cpt_scgpt *m, const cpt_tensor *t, const float **out, cpt_err *e)
{
    float *copy = NULL;
    if (t->dtype == CPT_F32 && t->contiguous && (uintptr_t)t->data % sizeof(float) == 0) {
        *out = t->data;
        return CPT_OK;
    }
    cpt_status status =
        cpt_grow(&m->owned, &m->owned_capacity, m->n_owned + 1, sizeof *m->owned, e);
    if (!status) status = cpt_alloc(&copy, (size_t)t->n_items, sizeof *copy, e);
    if (status) return status;
    m->owned[m->n_owned++] = copy;
    *out = copy;
    return cpt_tensor_read_f32(t, copy, e);
}

/* A tensor of shape [rows][cols], or [rows] when cols is 0. */
static cpt_status need(const reader *r, const char *name, int64_t rows, int64_t cols,
                       const float **out, cpt_err *e)
{
    const int64_t shape[2] = {rows, cols};
    const cpt_tensor *t;
    char full[NAME];
    snprintf(full, sizeof full, "%s%s", r->prefix, name);
    cpt_status status = cpt_checkpoint_need(r->m->file, full, cols ? 2 : 1, shape, &t, e);
    if (!status) status = values_of(r->m, t, out, e);
    if (status) return status;
    const int64_t bad = first_not_finite(*out, t->n_items);
    if (bad >= 0)
        return cpt_fail(e, CPT_ERR_DATA,
                        "%s: tensor '%s': value %lld is not finite; the training of this "
                        "model failed, or the file is damaged",
                        r->folder, full, (long long)bad);
    return CPT_OK;
}

static cpt_status need_norm(const reader *r, const char *stem, scgpt_norm *out, cpt_err *e)
{
    char name[NAME];
    snprintf(name, sizeof name, "%s.weight", stem);
    cpt_status status = need(r, name, r->m->shape.width, 0, &out->gain, e);
    if (status) return status;
    snprintf(name, sizeof name, "%s.bias", stem);
    return need(r, name, r->m->shape.width, 0, &out->shift, e);
}

static const char *const LAYER = "transformer_encoder.layers.%d.%s";

static cpt_status read_attention(const reader *r, int32_t layer, scgpt_layer *l, cpt_err *e)
{
    const int64_t d = r->m->shape.width;
    const struct { const char *part, *kind; int64_t rows, cols; const float **to; } parts[] = {
        {r->in_proj ? "in_proj_" : "Wqkv.", "weight", 3 * d, d, &l->qkv_weight},
        {r->in_proj ? "in_proj_" : "Wqkv.", "bias", 3 * d, 0, &l->qkv_bias},
        {"out_proj.", "weight", d, d, &l->out_weight},
        {"out_proj.", "bias", d, 0, &l->out_bias}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char name[NAME];
        snprintf(name, sizeof name, "transformer_encoder.layers.%d.self_attn.%s%s%s", layer,
                 r->attention, parts[i].part, parts[i].kind);
        cpt_status status = need(r, name, parts[i].rows, parts[i].cols, parts[i].to, e);
        if (status) return status;
    }
    return CPT_OK;
}

static cpt_status read_layer(const reader *r, int32_t layer, scgpt_layer *l, cpt_err *e)
{
    const int64_t d = r->m->shape.width, f = r->m->shape.hidden;
    char name[NAME / 2];
    const struct { const char *part; int64_t rows, cols; const float **to; } parts[] = {
        {"linear1.weight", f, d, &l->up_weight}, {"linear1.bias", f, 0, &l->up_bias},
        {"linear2.weight", d, f, &l->down_weight}, {"linear2.bias", d, 0, &l->down_bias}};
    cpt_status status;
    CPT_TRY(read_attention(r, layer, l, e));
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        snprintf(name, sizeof name, LAYER, layer, parts[i].part);
        CPT_TRY(need(r, name, parts[i].rows, parts[i].cols, parts[i].to, e));
    }
    snprintf(name, sizeof name, LAYER, layer, "norm1");
    CPT_TRY(need_norm(r, name, &l->norm1, e));
    snprintf(name, sizeof name, LAYER, layer, "norm2");
    CPT_TRY(need_norm(r, name, &l->norm2, e));
done:
    return status;
}

static bool has(const reader *r, const char *name)
{
    char full[NAME];
    snprintf(full, sizeof full, "%s%s", r->prefix, name);
    return cpt_checkpoint_find(r->m->file, full) != NULL;
}

/* Prefix and spelling, from the tensors of the first layer. */
static void find_spelling(reader *r)
{
    r->prefix = "module.";
    if (!has(r, "encoder.embedding.weight")) r->prefix = "";
    r->attention =
        has(r, "transformer_encoder.layers.0.self_attn._impl.Wqkv.weight") ? "_impl." : "";
    r->in_proj = has(r, "transformer_encoder.layers.0.self_attn.in_proj_weight");
}

/* The vocabulary's size is checked by itself: this is the mistake that people make. */
static cpt_status read_embedding(const reader *r, cpt_err *e)
{
    cpt_scgpt *m = r->m;
    char full[NAME];
    snprintf(full, sizeof full, "%sencoder.embedding.weight", r->prefix);
    const cpt_tensor *t = cpt_checkpoint_find(m->file, full);
    if (t && t->n_dims == 2 && t->shape[0] != m->shape.n_tokens)
        return cpt_fail(e, CPT_ERR_FORMAT,
                        "%s: vocab.json has %d tokens, but tensor '%s' has %lld rows; "
                        "take the vocab.json that belongs to this checkpoint",
                        r->folder, m->shape.n_tokens, full, (long long)t->shape[0]);
    if (t && t->n_dims == 2 && t->shape[1] != m->shape.width)
        return cpt_fail(e, CPT_ERR_FORMAT,
                        "%s: args.json says embsize %d, but tensor '%s' has %lld columns; "
                        "take the args.json that belongs to this checkpoint",
                        r->folder, m->shape.width, full, (long long)t->shape[1]);
    return need(r, "encoder.embedding.weight", m->shape.n_tokens, m->shape.width, &m->embedding, e);
}

static cpt_status read_tensors(const reader *r, cpt_err *e)
{
    cpt_scgpt *m = r->m;
    const int64_t d = m->shape.width;
    char name[NAME];
    cpt_status status;
    CPT_TRY(read_embedding(r, e));
    CPT_TRY(need_norm(r, "encoder.enc_norm", &m->token_norm, e));
    CPT_TRY(need(r, "value_encoder.linear1.weight", d, 1, &m->value_in, e));
    CPT_TRY(need(r, "value_encoder.linear1.bias", d, 0, &m->value_in_bias, e));
    CPT_TRY(need(r, "value_encoder.linear2.weight", d, d, &m->value_out, e));
    CPT_TRY(need(r, "value_encoder.linear2.bias", d, 0, &m->value_out_bias, e));
    CPT_TRY(need_norm(r, "value_encoder.norm", &m->value_norm, e));
    CPT_TRY(cpt_alloc(&m->layers, (size_t)m->shape.n_layers, sizeof *m->layers, e));
    for (int32_t i = 0; i < m->shape.n_layers; i++) CPT_TRY(read_layer(r, i, &m->layers[i], e));
    snprintf(name, sizeof name, LAYER, m->shape.n_layers, "norm1.weight");
    if (has(r, name))
        CPT_TRY(cpt_fail(e, CPT_ERR_FORMAT,
                         "%s: args.json says nlayers %d, but there is a tensor '%s%s'; "
                         "take the args.json that belongs to this checkpoint",
                         r->folder, m->shape.n_layers, r->prefix, name));
done:
    return status;
}

/* ---- what is not used ---- */

static bool starts_with(const char *name, const char *const *stems)
{
    for (; *stems; stems++)
        if (strncmp(name, *stems, strlen(*stems)) == 0) return true;
    return false;
}

/* Notes tensors that belong to no scGPT, and batch normalisation, which scGPT's embed_data leaves
 * out although such a model was trained with it. */
static cpt_status note_unused(const reader *r, cpt_err *e)
{
    static const char *const used[] = {"encoder.embedding.", "encoder.enc_norm.", "value_encoder.",
                                       "transformer_encoder.", NULL};
    static const char *const heads[] = {"decoder.", "mvc_decoder.", "cls_decoder.", "flag_encoder.",
        "batch_encoder.", "pert_encoder.", "grad_reverse_discriminator.", NULL};
    static const char *const norms[] = {"bn.", "dsbn.", NULL};
    cpt_scgpt *m = r->m;
    for (int32_t i = 0; i < m->file->n_tensors; i++) {
        const char *full = m->file->tensors[i].name, *name = full;
        if (strncmp(full, r->prefix, strlen(r->prefix)) == 0) name += strlen(r->prefix);
        if (starts_with(name, norms)) m->ignores_batch_norm = true;
        else if (!starts_with(name, used) && !starts_with(name, heads)) {
            cpt_status status = cpt_strings_add(&m->unknown, full, strlen(full), e);
            if (status) return status;
        }
    }
    if (m->ignores_batch_norm)
        cpt_warn(r->ctx,
                 "%s: was fine-tuned with batch normalisation (bn. or dsbn.), which the embedding "
                 "leaves out, as scGPT's embed_data does; its embeddings may be of little use",
                 r->folder);
    if (m->unknown.n)
        cpt_warn(r->ctx, "%s: %lld tensors are no part of scGPT and not used, the first is '%s'",
                 r->folder, (long long)m->unknown.n, cpt_strings_get(&m->unknown, 0));
    return CPT_OK;
}

static cpt_status open_weights(const reader *r, cpt_err *e)
{
    char path[PATH];
    cpt_status status = cpt_path_join(path, sizeof path, r->folder, "best_model.pt", e);
    if (!status && !cpt_path_exists(path))
        status = cpt_path_join(path, sizeof path, r->folder, "model.safetensors", e);
    return status ? status : cpt_checkpoint_open(path, &r->m->file, e);
}

cpt_status scgpt_open_folder(const char *folder, cpt_model **out, const cpt_context *ctx,
                             cpt_err *e)
{
    cpt_scgpt *m = NULL;
    cpt_text pad_token = {0};
    cpt_status status;
    *out = NULL;
    CPT_TRY(cpt_alloc(&m, 1, sizeof *m, e));
    reader r = {.folder = folder, .m = m, .ctx = ctx};
    m->base.ops = &scgpt_ops;
    cpt_scgpt_options_init(&m->options);
    m->options.seed = ctx ? ctx->seed : 0;
    CPT_TRY(read_args(&r, &pad_token, e));
    m->base.dim = m->shape.width;
    CPT_TRY(read_vocabulary(&r, cpt_text_str(&pad_token), e));
    CPT_TRY(open_weights(&r, e));
    find_spelling(&r);
    CPT_TRY(read_tensors(&r, e));
    CPT_TRY(note_unused(&r, e));
    CPT_TRY(scgpt_finish(m, e));
    *out = &m->base;
done:
    cpt_text_free(&pad_token);
    if (status && m) cpt_model_free(&m->base);
    return status;
}

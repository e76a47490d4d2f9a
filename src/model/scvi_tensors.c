/* The tensors of an scVI model under the names of scvi-tools' state_dict (models.md 5.6), read
 * from any checkpoint whose settings are known.
 *
 * Sizes come from the tensors' shapes, not from what settings claim; every tensor that is
 * computed with must be there with exactly the shape that follows, or reading ends with its name.
 * Note the blank in "Layer 0", and that PyTorch stores weights [n_out][n_in]. */
#include "model/scvi_network.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "model/scvi_files.h"

typedef struct reader {
    const char *path;
    const cpt_checkpoint *file;
    const char *prefix;
    float *scratch;
    int64_t room; /* of scratch */
} reader;

enum { NAME = 256 };

static void full_name(const reader *r, const char *name, char out[NAME])
{
    snprintf(out, NAME, "%s%s", r->prefix, name);
}

static const cpt_tensor *find(const reader *r, const char *name)
{
    char full[NAME];
    full_name(r, name, full);
    return cpt_checkpoint_find(r->file, full);
}

static cpt_status need(const reader *r, const char *name, int n_dims, const int64_t *shape,
                       const cpt_tensor **out, cpt_err *e)
{
    char full[NAME];
    full_name(r, name, full);
    if (cpt_checkpoint_need(r->file, full, n_dims, shape, out, e))
        return cpt_fail_in(e, "%s", r->path);
    return CPT_OK;
}

static cpt_status check_finite(const reader *r, const char *name, const float *values, int64_t n,
                               cpt_err *e)
{
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(values[i]))
            return cpt_fail(e, CPT_ERR_DATA,
                            "%s: %s: value %lld is not finite; the training of this "
                            "model failed",
                            r->path, name, (long long)i);
    return CPT_OK;
}

static cpt_status read_vector(const reader *r, const char *name, int64_t n, float *out, cpt_err *e)
{
    const cpt_tensor *t;
    cpt_status status = need(r, name, 1, &n, &t, e);
    if (!status) status = cpt_tensor_read_f32(t, out, e);
    return status ? status : check_finite(r, name, out, n, e);
}

static cpt_status read_matrix(const reader *r, const char *name, int64_t rows, int64_t cols,
                              float *out, cpt_err *e)
{
    const int64_t shape[2] = {rows, cols};
    const cpt_tensor *t;
    cpt_status status = need(r, name, 2, shape, &t, e);
    if (!status) status = cpt_tensor_read_f32(t, out, e);
    return status ? status : check_finite(r, name, out, rows * cols, e);
}

/* [n_out][n_in] of the file -> [n_in][n_out] */
static cpt_status read_transposed(reader *r, const char *name, int64_t n_in, int64_t n_out,
                                  float *out, cpt_err *e)
{
    if (n_in * n_out > r->room) {
        free(r->scratch);
        r->room = 0;
        cpt_status status = cpt_alloc(&r->scratch, (size_t)(n_in * n_out), sizeof(float), e);
        if (status) return status;
        r->room = n_in * n_out;
    }
    cpt_status status = read_matrix(r, name, n_out, n_in, r->scratch, e);
    for (int64_t i = 0; !status && i < n_in; i++)
        for (int64_t j = 0; j < n_out; j++) out[i * n_out + j] = r->scratch[j * n_in + i];
    return status;
}

static cpt_status read_layer(reader *r, const char *stem, int32_t index, scvi_layer *l, cpt_err *e)
{
    char name[NAME];
    const cpt_tensor *tracked;
    cpt_status status;
    snprintf(name, sizeof name, "%s.fc_layers.Layer %d.0.weight", stem, index);
    CPT_TRY(read_transposed(r, name, l->n_in, l->n_out, l->weight, e));
    snprintf(name, sizeof name, "%s.fc_layers.Layer %d.0.bias", stem, index);
    CPT_TRY(read_vector(r, name, l->n_out, l->bias, e));
    if (!l->bn_weight) goto done;
    const struct { const char *key; float *to; } rest[] = {{"weight", l->bn_weight},
        {"bias", l->bn_bias}, {"running_mean", l->running_mean}, {"running_var", l->running_var}};
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++) {
        snprintf(name, sizeof name, "%s.fc_layers.Layer %d.1.%s", stem, index, rest[i].key);
        CPT_TRY(read_vector(r, name, l->n_out, rest[i].to, e));
    }
    for (int32_t j = 0; j < l->n_out; j++)
        if (l->running_var[j] < 0)
            CPT_TRY(cpt_fail(e, CPT_ERR_DATA, "%s: %s: value %d is a negative variance", r->path,
                             name, j));
    snprintf(name, sizeof name, "%s.fc_layers.Layer %d.1.num_batches_tracked", stem, index);
    tracked = find(r, name);
    if (tracked && tracked->n_items == 1) CPT_TRY(cpt_tensor_read_i64(tracked, &l->n_tracked, e));
done:
    return status;
}

static int32_t count_layers(const reader *r, const char *stem)
{
    char name[NAME];
    int32_t n = 0;
    for (; n < SCVI_MAX_LAYERS; n++) {
        snprintf(name, sizeof name, "%s.fc_layers.Layer %d.0.weight", stem, n);
        if (!find(r, name)) break;
    }
    return n;
}

static bool has_norm(const reader *r, const char *stem)
{
    char name[NAME];
    snprintf(name, sizeof name, "%s.fc_layers.Layer 0.1.weight", stem);
    return find(r, name) != NULL;
}

static const char *const ENCODER = "z_encoder.encoder", *const DECODER = "decoder.px_decoder";

/* Sizes, from the shapes of five tensors. */
static cpt_status find_shape(const reader *r, const scvi_settings *settings, scvi_shape *shape,
                             cpt_err *e)
{
    static const int64_t any[2] = {-1, -1};
    const cpt_tensor *first, *mean, *heads, *decoder, *second;
    const char *second_name = "decoder.px_decoder.fc_layers.Layer 1.0.weight";
    cpt_status status;
    CPT_TRY(need(r, "z_encoder.encoder.fc_layers.Layer 0.0.weight", 2, any, &first, e));
    CPT_TRY(need(r, "z_encoder.mean_encoder.weight", 2, any, &mean, e));
    CPT_TRY(need(r, "decoder.px_scale_decoder.0.weight", 2, any, &heads, e));
    CPT_TRY(need(r, "decoder.px_decoder.fc_layers.Layer 0.0.weight", 2, any, &decoder, e));
    if (heads->shape[0] > INT32_MAX || heads->shape[0] < 1 || first->shape[0] > INT32_MAX ||
        first->shape[0] < 1 || mean->shape[0] > INT32_MAX || mean->shape[0] < 1 ||
        decoder->shape[1] < mean->shape[0] || decoder->shape[1] - mean->shape[0] > INT32_MAX)
        CPT_TRY(cpt_fail(e, CPT_ERR_FORMAT, "%s: the tensors' sizes are those of no scVI model",
                         r->path));
    *shape = (scvi_shape){.n_genes = (int32_t)heads->shape[0],
                          .n_hidden = (int32_t)first->shape[0],
                          .n_latent = (int32_t)mean->shape[0],
                          .n_layers = count_layers(r, ENCODER),
                          .n_covariates = (int32_t)(decoder->shape[1] - mean->shape[0]),
                          .encoder_norm = has_norm(r, ENCODER),
                          .decoder_norm = has_norm(r, DECODER),
                          .zero_inflated = settings->zero_inflated,
                          .log_input = settings->log_input};
    if (first->shape[1] > shape->n_genes)
        CPT_TRY(
            cpt_fail(e, CPT_ERR_UNSUPPORTED,
                     "%s: the encoder reads %lld values beside the %d genes (encode_covariates = "
                     "True), so a cell's embedding would depend on more than its counts; train "
                     "with encode_covariates = False",
                     r->path, (long long)(first->shape[1] - shape->n_genes), shape->n_genes));
    second = find(r, second_name);
    shape->deep = !second || second->n_dims != 2 || second->shape[1] != shape->n_hidden;
    const cpt_tensor *px_r = find(r, "px_r");
    shape->has_px_r = px_r && px_r->n_dims == 1;
done:
    return status;
}

static cpt_status read_heads(reader *r, cpt_scvi *m, cpt_err *e)
{
    const int64_t genes = m->shape.n_genes, h = m->shape.n_hidden, latent = m->shape.n_latent;
    cpt_status status;
    CPT_TRY(read_transposed(r, "z_encoder.mean_encoder.weight", h, latent, m->mean_weight, e));
    CPT_TRY(read_vector(r, "z_encoder.mean_encoder.bias", latent, m->mean_bias, e));
    CPT_TRY(read_transposed(r, "z_encoder.var_encoder.weight", h, latent, m->var_weight, e));
    CPT_TRY(read_vector(r, "z_encoder.var_encoder.bias", latent, m->var_bias, e));
    CPT_TRY(read_matrix(r, "decoder.px_scale_decoder.0.weight", genes, h, m->scale_weight, e));
    CPT_TRY(read_vector(r, "decoder.px_scale_decoder.0.bias", genes, m->scale_bias, e));
    if (m->dropout_weight) {
        CPT_TRY(
            read_matrix(r, "decoder.px_dropout_decoder.weight", genes, h, m->dropout_weight, e));
        CPT_TRY(read_vector(r, "decoder.px_dropout_decoder.bias", genes, m->dropout_bias, e));
    }
    if (m->px_r) CPT_TRY(read_vector(r, "px_r", genes, m->px_r, e));
done:
    return status;
}

cpt_status scvi_read_tensors(const char *path, const cpt_checkpoint *file, const char *prefix,
                             const scvi_settings *settings, cpt_scvi **out, cpt_err *e)
{
    reader r = {.path = path, .file = file, .prefix = prefix};
    cpt_scvi *m = NULL;
    scvi_shape shape;
    cpt_status status;
    *out = NULL;
    CPT_TRY(find_shape(&r, settings, &shape, e));
    CPT_TRY(scvi_new(&shape, &m, e));
    for (int32_t i = 0; i < shape.n_layers; i++) {
        CPT_TRY(read_layer(&r, ENCODER, i, &m->encoder[i], e));
        CPT_TRY(read_layer(&r, DECODER, i, &m->decoder[i], e));
    }
    CPT_TRY(read_heads(&r, m, e));
    m->n_batches = settings->n_batches > 1 ? settings->n_batches : 0;
    m->dropout = settings->dropout;
    if (settings->no_decode)
        m->no_decode = settings->no_decode;
    else if (m->n_batches != shape.n_covariates)
        m->no_decode = "its decoder reads covariates beside the batch";
    CPT_TRY(scvi_finish(m, e));
    *out = m;
    m = NULL;
done:
    if (m) cpt_model_free(&m->base);
    free(r.scratch);
    return status;
}

/* ---- writing ---- */

/* Walks over the tensors twice: to count, and to fill. */
typedef struct writer {
    scvi_export *x;
    bool filling;
    int64_t n_values, n_counters;
    cpt_stream random; /* for the unused tensors */
    cpt_status status;
    cpt_err *e;
} writer;

/* Names one more tensor; returns where its values go, NULL while counting. */
static void *add_tensor(writer *w, cpt_dtype dtype, int n_dims, int64_t rows, int64_t cols,
                        const char *name)
{
    const int64_t n = n_dims == 0 ? 1 : n_dims == 1 ? rows : rows * cols;
    int64_t *used = dtype == CPT_I64 ? &w->n_counters : &w->n_values, at = *used;
    *used += n;
    if (!w->filling) {
        if (!w->status) w->status = cpt_strings_add(&w->x->names, name, strlen(name), w->e);
        return NULL;
    }
    cpt_tensor *t = &w->x->tensors[w->x->n];
    void *data = dtype == CPT_I64 ? (void *)(w->x->counters + at) : (void *)(w->x->values + at);
    *t = (cpt_tensor){.name = cpt_strings_get(&w->x->names, w->x->n),
                      .dtype = dtype,
                      .n_dims = n_dims,
                      .shape = {rows, cols},
                      .strides = {n_dims == 2 ? cols : 1, 1},
                      .n_items = n,
                      .contiguous = true,
                      .data = data};
    w->x->n++;
    return data;
}

static void put_vector(writer *w, const char *name, const float *values, int64_t n)
{
    float *to = add_tensor(w, CPT_F32, 1, n, 0, name);
    if (to) memcpy(to, values, sizeof *to * (size_t)n);
}

static void put_matrix(writer *w, const char *name, const float *values, int64_t rows, int64_t cols)
{
    float *to = add_tensor(w, CPT_F32, 2, rows, cols, name);
    if (to) memcpy(to, values, sizeof *to * (size_t)(rows * cols));
}

/* [n_in][n_out] -> [n_out][n_in] of the file */
static void put_transposed(writer *w, const char *name, const float *values, int64_t n_in,
                           int64_t n_out)
{
    float *to = add_tensor(w, CPT_F32, 2, n_out, n_in, name);
    for (int64_t j = 0; to && j < n_out; j++)
        for (int64_t i = 0; i < n_in; i++) to[j * n_in + i] = values[i * n_out + j];
}

static void put_constant(writer *w, const char *name, float value, int64_t n)
{
    float *to = add_tensor(w, CPT_F32, 1, n, 0, name);
    for (int64_t i = 0; to && i < n; i++) to[i] = value;
}

/* Weight and bias of a torch.nn.Linear at its start. */
static void put_fresh(writer *w, const char *stem, int64_t n_in, int64_t n_out)
{
    char name[NAME];
    const double bound = 1 / sqrt((double)n_in);
    snprintf(name, sizeof name, "%s.weight", stem);
    float *to = add_tensor(w, CPT_F32, 2, n_out, n_in, name);
    for (int64_t i = 0; to && i < n_in * n_out; i++)
        to[i] = (float)(bound * (2 * cpt_stream_uniform(&w->random) - 1));
    snprintf(name, sizeof name, "%s.bias", stem);
    to = add_tensor(w, CPT_F32, 1, n_out, 0, name);
    for (int64_t i = 0; to && i < n_out; i++)
        to[i] = (float)(bound * (2 * cpt_stream_uniform(&w->random) - 1));
}

static void put_counter(writer *w, const char *name, int64_t value)
{
    int64_t *to = add_tensor(w, CPT_I64, 0, 0, 0, name);
    if (to) *to = value;
}

static void put_layer(writer *w, const char *stem, int32_t index, const scvi_layer *l)
{
    char name[NAME];
    snprintf(name, sizeof name, "%s.fc_layers.Layer %d.0.weight", stem, index);
    put_transposed(w, name, l->weight, l->n_in, l->n_out);
    snprintf(name, sizeof name, "%s.fc_layers.Layer %d.0.bias", stem, index);
    put_vector(w, name, l->bias, l->n_out);
    if (!l->bn_weight) return;
    const struct { const char *key; const float *from; } rest[] = {{"weight", l->bn_weight},
        {"bias", l->bn_bias}, {"running_mean", l->running_mean}, {"running_var", l->running_var}};
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++) {
        snprintf(name, sizeof name, "%s.fc_layers.Layer %d.1.%s", stem, index, rest[i].key);
        put_vector(w, name, rest[i].from, l->n_out);
    }
    snprintf(name, sizeof name, "%s.fc_layers.Layer %d.1.num_batches_tracked", stem, index);
    put_counter(w, name, l->n_tracked);
}

/* The library-size encoder: one layer, one output. Never run with observed library sizes. */
static void put_library_encoder(writer *w, const cpt_scvi *m)
{
    const int64_t h = m->shape.n_hidden;
    const char *const stem = "l_encoder.encoder.fc_layers.Layer 0";
    put_fresh(w, "l_encoder.encoder.fc_layers.Layer 0.0", m->shape.n_genes, h);
    if (m->shape.encoder_norm) {
        char name[NAME];
        static const struct { const char *key; float value; } rest[] = {{"weight", 1}, {"bias", 0},
            {"running_mean", 0}, {"running_var", 1}};
        for (size_t i = 0; i < sizeof rest / sizeof *rest; i++) {
            snprintf(name, sizeof name, "%s.1.%s", stem, rest[i].key);
            put_constant(w, name, rest[i].value, h);
        }
        snprintf(name, sizeof name, "%s.1.num_batches_tracked", stem);
        put_counter(w, name, 0);
    }
    put_fresh(w, "l_encoder.mean_encoder", h, 1);
    put_fresh(w, "l_encoder.var_encoder", h, 1);
}

static void put_model(writer *w, const cpt_scvi *m, bool unused)
{
    const int64_t genes = m->shape.n_genes, h = m->shape.n_hidden, latent = m->shape.n_latent;
    if (m->px_r) put_vector(w, "px_r", m->px_r, genes);
    for (int32_t i = 0; i < m->shape.n_layers; i++) put_layer(w, ENCODER, i, &m->encoder[i]);
    put_transposed(w, "z_encoder.mean_encoder.weight", m->mean_weight, h, latent);
    put_vector(w, "z_encoder.mean_encoder.bias", m->mean_bias, latent);
    put_transposed(w, "z_encoder.var_encoder.weight", m->var_weight, h, latent);
    put_vector(w, "z_encoder.var_encoder.bias", m->var_bias, latent);
    if (unused) put_library_encoder(w, m);
    for (int32_t i = 0; i < m->shape.n_layers; i++) put_layer(w, DECODER, i, &m->decoder[i]);
    put_matrix(w, "decoder.px_scale_decoder.0.weight", m->scale_weight, genes, h);
    put_vector(w, "decoder.px_scale_decoder.0.bias", m->scale_bias, genes);
    if (unused) put_fresh(w, "decoder.px_r_decoder", h, genes);
    if (m->dropout_weight) {
        put_matrix(w, "decoder.px_dropout_decoder.weight", m->dropout_weight, genes, h);
        put_vector(w, "decoder.px_dropout_decoder.bias", m->dropout_bias, genes);
    } else if (unused) {
        put_fresh(w, "decoder.px_dropout_decoder", h, genes);
    }
}

void scvi_export_free(scvi_export *x)
{
    free(x->tensors);
    free(x->values);
    free(x->counters);
    cpt_strings_free(&x->names);
    *x = (scvi_export){0};
}

cpt_status scvi_export_init(scvi_export *x, const cpt_scvi *m, bool unused, cpt_err *e)
{
    writer w = {.x = x, .e = e};
    cpt_status status;
    *x = (scvi_export){0};
    put_model(&w, m, unused);
    CPT_TRY(w.status);
    CPT_TRY(cpt_alloc(&x->tensors, (size_t)x->names.n, sizeof *x->tensors, e));
    CPT_TRY(cpt_alloc(&x->values, (size_t)w.n_values, sizeof *x->values, e));
    CPT_TRY(cpt_alloc(&x->counters, (size_t)w.n_counters, sizeof *x->counters, e));
    w = (writer){.x = x, .e = e, .filling = true};
    cpt_stream_init(&w.random, 0, CPT_RANDOM_SCVI_INIT, 1);
    put_model(&w, m, unused);
done:
    if (status) scvi_export_free(x);
    return status;
}

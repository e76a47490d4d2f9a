/* lowrank.c - pca and ica as dictionaries: sizes, encoding, decoding, files.
 *
 * Every sum over dimensions runs in double and in the order of the dimensions, for all components
 * side by side; so encoding one cell, a block, or one unit (readout) gives the same bits.
 * O(n rank dim).
 *
 * Files: DIR/sae_weights.safetensors {encoder [rank][dim], components [rank][dim], mean [dim], f32}
 * and DIR/cfg.json {"architecture": "conceptome-pca" | "conceptome-ica", "d_in": dim,
 * "d_sae": 2 rank}. */
#include "dictionary/lowrank.h"

#include "base/file.h"
#include "base/memory.h"
#include "io/checkpoint.h"
#include "math/linalg.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Axes below this share of the largest are the rounding of squares (linalg.h). */
static const double SMALLEST_AXIS = 1e-6;

/* ---- sizes ---- */

static bool is_nmf(const char *kind) { return strcmp(kind, "nmf") == 0; }

bool cpt_lowrank_is(const char *kind)
{
    return strcmp(kind, "pca") == 0 || strcmp(kind, "ica") == 0 || is_nmf(kind);
}

cpt_status cpt_lowrank_resolve(cpt_dictionary_options *o, int32_t dim, int64_t n_train, cpt_err *e)
{
    const bool nmf = is_nmf(o->kind);
    const int32_t units = nmf ? 1 : 2;
    if (dim > CPT_LOWRANK_MAX_DIM)
        return cpt_fail(e, CPT_ERR_USAGE, "%s of %d dimensions: at most %d are supported", o->kind,
                        dim, CPT_LOWRANK_MAX_DIM);
    if (!nmf && n_train < 2)
        return cpt_fail(e, CPT_ERR_DATA, "%s needs at least 2 training cells, not %lld", o->kind,
                        (long long)n_train);
    if (o->expansion > 0)
        return cpt_fail(e, CPT_ERR_USAGE,
                        "kind %s has a rank and no expansion; use --k RANK or --concepts %s",
                        o->kind, nmf ? "RANK" : "2*RANK");
    if (o->n_concepts % units)
        return cpt_fail(e, CPT_ERR_USAGE,
                        "kind %s has two units per component; %d concepts are odd", o->kind,
                        o->n_concepts);
    if (o->n_concepts > 0 && o->k > 0 && o->k != o->n_concepts / units)
        return cpt_fail(e, CPT_ERR_USAGE,
                        "kind %s with %d concepts has rank %d, but --k says %d; leave one "
                        "out",
                        o->kind, o->n_concepts, o->n_concepts / units, o->k);
    const int64_t cells = nmf ? n_train : n_train - 1, most_dims = nmf ? 2 * (int64_t)dim : dim;
    const int64_t most = cells < most_dims ? cells : most_dims;
    if (o->n_concepts > 0) o->k = o->n_concepts / units;
    if (o->k > most)
        return cpt_fail(e, CPT_ERR_USAGE,
                        "rank %d is more than the %lld that %s can have with %d dimensions "
                        "and %lld training cells; lower --k or --concepts",
                        o->k, (long long)most, o->kind, dim, (long long)n_train);
    if (o->k == 0 && nmf) o->k = dim < cells ? dim : (int32_t)cells;
    o->n_concepts = units * o->k;
    return CPT_OK;
}

/* ---- the dictionary ---- */

static void pre_activations(const cpt_lowrank *d, const float *a, double *h)
{
    const int32_t r = d->rank;
    memset(h, 0, (size_t)r * sizeof *h);
    for (int64_t j = 0; j < d->base.dim; j++) {
        const double x = (double)a[j] - (double)d->mean[j];
        const double *w = d->encoder_by_dim + j * r;
        for (int32_t c = 0; c < r; c++) h[c] += x * w[c];
    }
}

static cpt_status encode(const cpt_dictionary *base, int64_t n, const float *a, int32_t *counts,
                         int32_t *concepts, float *values, cpt_err *e)
{
    const cpt_lowrank *d = (const cpt_lowrank *)base;
    double *h = NULL;
    cpt_status status = cpt_alloc(&h, (size_t)d->rank, sizeof *h, e);
    if (status != CPT_OK) return status;
    for (int64_t i = 0; i < n; i++) {
        const int64_t at = i * base->max_active;
        pre_activations(d, a + i * base->dim, h);
        counts[i] = 0;
        for (int32_t c = 0; c < d->rank; c++) {
            const float value = (float)h[c];
            if (!(value > 0 || value < 0)) continue;
            concepts[at + counts[i]] = 2 * c + (value < 0);
            values[at + counts[i]++] = fabsf(value);
        }
    }
    free(h);
    return CPT_OK;
}

static void decode(const cpt_dictionary *d, int64_t n, const int32_t *counts,
                   const int32_t *concepts, const float *values, float *out)
{
    for (int64_t i = 0; i < n; i++) {
        float *row = out + i * d->dim;
        memcpy(row, d->bias, (size_t)d->dim * sizeof *row);
        for (int32_t c = 0; c < counts[i]; c++) {
            const float *unit = d->decoder + (int64_t)concepts[i * d->max_active + c] * d->dim;
            const float value = values[i * d->max_active + c];
            for (int32_t j = 0; j < d->dim; j++) row[j] += value * unit[j];
        }
    }
}

static cpt_status readout(const cpt_dictionary *base, int32_t concept, int64_t n, const float *a,
                          float *activation, float *pre, cpt_err *e)
{
    const cpt_lowrank *d = (const cpt_lowrank *)base;
    const float *w = d->encoder + (int64_t)(concept / 2) * base->dim;
    for (int64_t i = 0; i < n; i++) {
        double sum = 0;
        for (int32_t j = 0; j < base->dim; j++)
            sum += ((double)a[i * base->dim + j] - (double)d->mean[j]) * w[j];
        const float h = concept % 2 ? (float)-sum : (float)sum;
        if (pre) pre[i] = h;
        if (activation) activation[i] = h > 0 ? h : 0;
    }
    return CPT_OK;
}

static void gradient(const cpt_dictionary *base, int32_t concept, const float *a, float *out)
{
    const cpt_lowrank *d = (const cpt_lowrank *)base;
    const float *w = d->encoder + (int64_t)(concept / 2) * base->dim;
    for (int32_t j = 0; j < base->dim; j++) out[j] = concept % 2 ? -w[j] : w[j];
}

static void lowrank_free(cpt_dictionary *base)
{
    cpt_lowrank *d = (cpt_lowrank *)base;
    if (!d) return;
    free(d->encoder);
    free(d->components);
    free(d->mean);
    free(d->units);
    free(d->encoder_by_dim);
    free(d);
}

static void list_tensors(const cpt_lowrank *d, int32_t rank, int32_t dim, cpt_lowrank_tensor *t)
{
    t[0] = (cpt_lowrank_tensor){"components", d ? d->components : NULL, rank, dim};
    t[1] = (cpt_lowrank_tensor){"encoder", d ? d->encoder : NULL, rank, dim};
    t[2] = (cpt_lowrank_tensor){"mean", d ? d->mean : NULL, dim, 0};
}

static cpt_status save_signed(const cpt_dictionary *base, const char *architecture,
                              const char *folder, cpt_err *e)
{
    const cpt_lowrank *d = (const cpt_lowrank *)base;
    cpt_lowrank_tensor tensors[3];
    list_tensors(d, d->rank, base->dim, tensors);
    return cpt_lowrank_save(folder, architecture, base, 3, tensors, e);
}

static cpt_status save_pca(const cpt_dictionary *d, const char *folder, cpt_err *e)
{
    return save_signed(d, CPT_ARCHITECTURE_PCA, folder, e);
}

static cpt_status save_ica(const cpt_dictionary *d, const char *folder, cpt_err *e)
{
    return save_signed(d, CPT_ARCHITECTURE_ICA, folder, e);
}

static const cpt_dictionary_ops pca_ops = {"pca",    encode,   decode,      readout,
                                           gradient, save_pca, lowrank_free, NULL, NULL};
static const cpt_dictionary_ops ica_ops = {"ica",    encode,   decode,      readout,
                                           gradient, save_ica, lowrank_free, NULL, NULL};

cpt_status cpt_lowrank_new(const char *kind, int32_t rank, int32_t dim, cpt_lowrank **out,
                           cpt_err *e)
{
    cpt_status status = CPT_OK;
    const size_t n = (size_t)rank * (size_t)dim;
    cpt_lowrank *d = NULL;
    CPT_TRY(cpt_alloc(&d, 1, sizeof *d, e));
    CPT_TRY(cpt_alloc(&d->encoder, n, sizeof *d->encoder, e));
    CPT_TRY(cpt_alloc(&d->components, n, sizeof *d->components, e));
    CPT_TRY(cpt_alloc(&d->mean, (size_t)dim, sizeof *d->mean, e));
    CPT_TRY(cpt_alloc(&d->units, 2 * n, sizeof *d->units, e));
    CPT_TRY(cpt_alloc(&d->encoder_by_dim, n, sizeof *d->encoder_by_dim, e));
    d->rank = rank;
    d->base = (cpt_dictionary){.ops = strcmp(kind, "ica") == 0 ? &ica_ops : &pca_ops,
                               .n_concepts = 2 * rank,
                               .dim = dim,
                               .max_active = rank,
                               .k = rank,
                               .decoder = d->units,
                               .bias = d->mean};
    *out = d;
    d = NULL;
done:
    if (d) lowrank_free(&d->base);
    return status;
}

void cpt_lowrank_finish(cpt_lowrank *d)
{
    const int64_t dim = d->base.dim;
    for (int64_t c = 0; c < d->rank; c++)
        for (int64_t j = 0; j < dim; j++) {
            d->encoder_by_dim[j * d->rank + c] = d->encoder[c * dim + j];
            d->units[2 * c * dim + j] = d->components[c * dim + j];
            d->units[(2 * c + 1) * dim + j] = -d->components[c * dim + j];
        }
}

/* ---- principal axes ---- */

void cpt_axes_free(cpt_axes *axes)
{
    free(axes->x);
    free(axes->mean);
    free(axes->components);
    free(axes->singular);
    *axes = (cpt_axes){0};
}

cpt_status cpt_axes_make(const char *kind, int32_t rank, const cpt_training_rows *t, cpt_axes *axes,
                         const cpt_context *ctx, cpt_err *e)
{
    cpt_status status = CPT_OK;
    const int32_t dim = t->dim;
    const int32_t most = t->n - 1 < dim ? (int32_t)(t->n - 1) : dim;
    *axes = (cpt_axes){.dim = dim, .n = t->n};
    CPT_TRY(cpt_alloc(&axes->x, (size_t)t->n * (size_t)dim, sizeof *axes->x, e));
    CPT_TRY(cpt_alloc(&axes->mean, (size_t)dim, sizeof *axes->mean, e));
    CPT_TRY(cpt_alloc(&axes->components, (size_t)most * (size_t)dim, sizeof *axes->components, e));
    CPT_TRY(cpt_alloc(&axes->singular, (size_t)most, sizeof *axes->singular, e));
    for (int64_t i = 0; i < t->n; i++)
        memcpy(axes->x + i * dim, cpt_training_row(t, i), (size_t)dim * sizeof *axes->x);
    CPT_TRY(
        cpt_pca(axes->x, t->n, dim, most, axes->mean, axes->components, axes->singular, ctx, e));
    while (axes->rank < most && axes->singular[axes->rank] > SMALLEST_AXIS * axes->singular[0])
        axes->rank++;
    if (axes->rank == 0)
        status = cpt_fail(e, CPT_ERR_DATA, "%s: all %lld training cells have the same embedding",
                          kind, (long long)t->n);
    else if (rank > axes->rank)
        status = cpt_fail(e, CPT_ERR_DATA,
                          "%s: rank %d was asked for, but the embedding of the training cells "
                          "has rank %d; lower --k or --concepts",
                          kind, rank, axes->rank);
    else if (rank > 0)
        axes->rank = rank;
done:
    if (status != CPT_OK) cpt_axes_free(axes);
    return status;
}

/* ---- files ---- */

static cpt_status write_config(const char *folder, const char *architecture,
                               const cpt_dictionary *d, cpt_err *e)
{
    char path[4096];
    cpt_text text = {0};
    cpt_status status = CPT_OK;
    CPT_TRY(cpt_path_join(path, sizeof path, folder, CPT_CONFIG_FILE, e));
    cpt_text_addf(&text,
                  "{\n"
                  "  \"architecture\": \"%s\",\n"
                  "  \"d_in\": %d,\n"
                  "  \"d_sae\": %d,\n"
                  "  \"metadata\": {\n"
                  "    \"conceptome_kind\": \"%s\",\n"
                  "    \"conceptome_version\": \"" CPT_VERSION "\"\n"
                  "  }\n"
                  "}\n",
                  architecture, d->dim, d->n_concepts, d->ops->kind);
    CPT_TRY(cpt_text_status(&text, e));
    CPT_TRY(cpt_write_file(path, text.bytes, text.length, e));
done:
    cpt_text_free(&text);
    return status;
}

cpt_status cpt_lowrank_save(const char *folder, const char *architecture, const cpt_dictionary *d,
                            int32_t n, const cpt_lowrank_tensor *tensors, cpt_err *e)
{
    static const char *const metadata[] = {"format", "pt"};
    char path[4096];
    cpt_tensor *out = NULL;
    cpt_status status = CPT_OK;
    CPT_TRY(cpt_make_folder(folder, e));
    CPT_TRY(cpt_path_join(path, sizeof path, folder, CPT_WEIGHTS_FILE, e));
    CPT_TRY(cpt_alloc(&out, (size_t)n, sizeof *out, e));
    for (int32_t i = 0; i < n; i++) {
        const cpt_lowrank_tensor *t = &tensors[i];
        const int64_t columns = t->columns ? t->columns : 1;
        out[i] = (cpt_tensor){.name = t->name,
                              .dtype = CPT_F32,
                              .n_dims = t->columns ? 2 : 1,
                              .n_items = t->rows * columns,
                              .contiguous = true,
                              .data = t->data,
                              .shape = {t->rows, t->columns},
                              .strides = {columns, t->columns ? 1 : 0}};
    }
    CPT_TRY(cpt_safetensors_write(path, n, out, 1, metadata, e));
    CPT_TRY(write_config(folder, architecture, d, e)); /* last: a folder with cfg.json is whole */
done:
    free(out);
    return status;
}

cpt_status cpt_lowrank_check(const cpt_checkpoint *file, int32_t n,
                             const cpt_lowrank_tensor *tensors, cpt_err *e)
{
    cpt_status status = CPT_OK;
    for (int32_t i = 0; i < n && status == CPT_OK; i++) {
        const cpt_tensor *t;
        status = cpt_checkpoint_need(file, tensors[i].name, tensors[i].columns ? 2 : 1,
                                     (int64_t[]){tensors[i].rows, tensors[i].columns}, &t, e);
    }
    return status;
}

cpt_status cpt_lowrank_read(const cpt_checkpoint *file, const char *path, int32_t n,
                            const cpt_lowrank_tensor *tensors, cpt_err *e)
{
    for (int32_t i = 0; i < n; i++) {
        const cpt_tensor *t = cpt_checkpoint_find(file, tensors[i].name);
        cpt_status status = cpt_tensor_read_f32(t, tensors[i].data, e);
        if (status != CPT_OK) return status;
        for (int64_t j = 0; j < t->n_items; j++)
            if (!isfinite(tensors[i].data[j]))
                return cpt_fail(e, CPT_ERR_FORMAT, "%s: tensor %s is not finite at element %lld",
                                path, tensors[i].name, (long long)j);
    }
    return CPT_OK;
}

static cpt_status load_signed(const char *kind, const char *folder, const void *cfg,
                              cpt_dictionary **out, cpt_err *e)
{
    int32_t dim = 0, units = 0;
    char path[4096];
    cpt_lowrank_tensor tensors[3];
    cpt_checkpoint *file = NULL;
    cpt_lowrank *d = NULL;
    cpt_status status = CPT_OK;
    CPT_TRY(cpt_config_int(folder, cfg, "d_in", 1, CPT_LOWRANK_MAX_DIM, &dim, e));
    CPT_TRY(cpt_config_int(folder, cfg, "d_sae", 2, 2 * dim, &units, e));
    if (units % 2) {
        status = cpt_fail(e, CPT_ERR_FORMAT,
                          "%s/" CPT_CONFIG_FILE ": d_sae is %d, but %s has two units per "
                          "component",
                          folder, units, kind);
        goto done;
    }
    CPT_TRY(cpt_path_join(path, sizeof path, folder, CPT_WEIGHTS_FILE, e));
    CPT_TRY(cpt_checkpoint_open(path, &file, e));
    list_tensors(NULL, units / 2, dim, tensors);
    CPT_TRY(cpt_lowrank_check(file, 3, tensors, e));
    CPT_TRY(cpt_lowrank_new(kind, units / 2, dim, &d, e));
    list_tensors(d, units / 2, dim, tensors);
    CPT_TRY(cpt_lowrank_read(file, path, 3, tensors, e));
    cpt_lowrank_finish(d);
    *out = &d->base;
    d = NULL;
done:
    if (d) lowrank_free(&d->base);
    cpt_checkpoint_free(file);
    return status;
}

cpt_status cpt_load_pca(const char *folder, const void *cfg, cpt_dictionary **out, cpt_err *e)
{
    return load_signed("pca", folder, cfg, out, e);
}

cpt_status cpt_load_ica(const char *folder, const void *cfg, cpt_dictionary **out, cpt_err *e)
{
    return load_signed("ica", folder, cfg, out, e);
}

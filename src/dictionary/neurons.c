/* neurons.c - the paper's baseline: the coordinates of the embedding themselves as "concepts".
 *
 * A coordinate has two signs and a concept one, so each coordinate j makes two units, and they can be
 * compared with concepts like for like:
 *
 *     unit 2j     = +coordinate j:  u = max(+a_j, 0)
 *     unit 2j + 1 = -coordinate j:  u = max(-a_j, 0)
 *
 * Decoding is exact; at most `dim` units are active. Nothing is learned and nothing but the dimension is
 * stored: DIR/cfg.json {"architecture": "conceptome-neurons", "d_in": dim, "d_sae": 2 dim}. */
#include "dictionary/config.h"
#include "dictionary/train.h"

#include "base/file.h"
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

enum { NEURONS_MAX_DIM = 1 << 13 }; /* the decoder has 2 dim^2 entries */

typedef struct neurons {
    cpt_dictionary base;
    float *rows; /* [2 dim][dim] */
} neurons;

static cpt_status encode(const cpt_dictionary *d, int64_t n, const float *a, int32_t *counts,
                         int32_t *concepts, float *values, cpt_err *e)
{
    for (int64_t i = 0; i < n; i++) {
        const float *x = a + i * d->dim;
        int64_t at = i * d->max_active;
        counts[i] = 0;
        for (int32_t j = 0; j < d->dim; j++) {
            if (!(x[j] > 0 || x[j] < 0)) continue;
            concepts[at + counts[i]] = 2 * j + (x[j] < 0);
            values[at + counts[i]++] = x[j] < 0 ? -x[j] : x[j];
        }
    }
    return CPT_OK;
}

static void decode(const cpt_dictionary *d, int64_t n, const int32_t *counts, const int32_t *concepts,
                   const float *values, float *out)
{
    memset(out, 0, (size_t)n * (size_t)d->dim * sizeof *out);
    for (int64_t i = 0; i < n; i++)
        for (int32_t c = 0; c < counts[i]; c++) {
            int32_t unit = concepts[i * d->max_active + c];
            float value = values[i * d->max_active + c];
            out[i * d->dim + unit / 2] += unit % 2 ? -value : value;
        }
}

static cpt_status readout(const cpt_dictionary *d, int32_t concept, int64_t n, const float *a,
                          float *activation, float *pre, cpt_err *e)
{
    for (int64_t i = 0; i < n; i++) {
        float h = a[i * d->dim + concept / 2];
        if (concept % 2) h = -h;
        if (pre) pre[i] = h;
        if (activation) activation[i] = h > 0 ? h : 0;
    }
    return CPT_OK;
}

static void gradient(const cpt_dictionary *d, int32_t concept, const float *a, float *out)
{
    memset(out, 0, (size_t)d->dim * sizeof *out);
    out[concept / 2] = concept % 2 ? -1.0f : 1.0f;
}

static cpt_status save(const cpt_dictionary *d, const char *folder, cpt_err *e)
{
    char path[4096];
    cpt_text text = {0};
    cpt_status status = CPT_OK;
    CPT_TRY(cpt_make_folder(folder, e));
    CPT_TRY(cpt_path_join(path, sizeof path, folder, CPT_CONFIG_FILE, e));
    cpt_text_addf(&text, "{\n  \"architecture\": \"" CPT_ARCHITECTURE_NEURONS "\",\n  \"d_in\": %d,\n"
                  "  \"d_sae\": %d\n}\n", d->dim, d->n_concepts);
    CPT_TRY(cpt_text_status(&text, e));
    CPT_TRY(cpt_write_file(path, text.bytes, text.length, e));
done:
    cpt_text_free(&text);
    return status;
}

static void neurons_free(cpt_dictionary *d)
{
    if (!d) return;
    free(((neurons *)d)->rows);
    free(d);
}

static const cpt_dictionary_ops ops = {"neurons", encode, decode, readout, gradient, save, neurons_free,
                                       NULL, NULL};

static cpt_status neurons_new(int32_t dim, cpt_dictionary **out, cpt_err *e)
{
    cpt_status status = CPT_OK;
    neurons *u = NULL;
    CPT_TRY(cpt_alloc(&u, 1, sizeof *u, e));
    CPT_TRY(cpt_alloc(&u->rows, 2 * (size_t)dim * (size_t)dim, sizeof *u->rows, e));
    for (int64_t j = 0; j < dim; j++) {
        u->rows[2 * j * dim + j] = 1;
        u->rows[(2 * j + 1) * dim + j] = -1;
    }
    u->base = (cpt_dictionary){.ops = &ops,
                               .n_concepts = 2 * dim,
                               .dim = dim,
                               .max_active = dim,
                               .k = dim,
                               .decoder = u->rows};
    *out = &u->base;
    u = NULL;
done:
    if (u) neurons_free(&u->base);
    return status;
}

cpt_status cpt_train_neurons(const cpt_dictionary_options *o, const cpt_training_rows *t,
                             cpt_dictionary **out, cpt_dictionary_report *report,
                             const cpt_context *ctx, cpt_err *e)
{
    return neurons_new(t->dim, out, e);
}

cpt_status cpt_load_neurons(const char *folder, const void *cfg, cpt_dictionary **out, cpt_err *e)
{
    int32_t dim = 0, n_concepts = 0;
    cpt_status status = CPT_OK;
    CPT_TRY(cpt_config_int(folder, cfg, "d_in", 1, NEURONS_MAX_DIM, &dim, e));
    CPT_TRY(cpt_config_int(folder, cfg, "d_sae", 1, 2 * NEURONS_MAX_DIM, &n_concepts, e));
    if (n_concepts != 2 * dim)
        return cpt_fail(e, CPT_ERR_FORMAT, "%s/" CPT_CONFIG_FILE ": d_sae is %d but neurons of %d "
                        "dimensions are %d units", folder, n_concepts, dim, 2 * dim);
    CPT_TRY(neurons_new(dim, out, e));
done:
    return status;
}

/* scgpt_golden.h - the golden scGPT models as tests want them. */
#ifndef CPT_TEST_SCGPT_GOLDEN_H
#define CPT_TEST_SCGPT_GOLDEN_H

#include "golden.h"

#include "model/scgpt_network.h"

typedef struct golden_scgpt {
    const char *folder, *name; /* of golden/scgpt; "tiny" or "medium" */
    cpt_model *model;
    cpt_checkpoint *file;
    json_t *json;
    int32_t width, columns, longest; /* columns of the counts; positions of a padded cell */
} golden_scgpt;

enum { GOLDEN_SCGPT_CELLS = 12 };

static inline const cpt_scgpt *golden_network(const golden_scgpt *g)
{
    return scgpt_of(g->model);
}

static inline cpt_model *scgpt_load(const char *folder, const char *name)
{
    cpt_err err;
    cpt_model *m;
    char path[1200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_ok(cpt_model_open(path, &m, NULL, &err));
    return m;
}

static inline void golden_scgpt_open(golden_scgpt *g, const char *folder, const char *name)
{
    cpt_err err;
    char path[1200];
    const cpt_tensor *t;
    *g = (golden_scgpt){.folder = folder, .name = name, .model = scgpt_load(folder, name)};
    snprintf(path, sizeof path, "%s/%s.safetensors", folder, name);
    assert_ok(cpt_checkpoint_open(path, &g->file, &err));
    snprintf(path, sizeof path, "%s/%s.json", folder, name);
    g->json = golden_json(path);
    assert_non_null(t = cpt_checkpoint_find(g->file, "counts"));
    g->columns = (int32_t)t->shape[1];
    assert_non_null(t = cpt_checkpoint_find(g->file, "token"));
    g->longest = (int32_t)t->shape[1];
    g->width = g->model->dim;
}

static inline void golden_scgpt_close(golden_scgpt *g)
{
    cpt_model_free(g->model);
    cpt_checkpoint_free(g->file);
    json_decref(g->json);
}

/* malloc'ed numbers of a tensor; NULL when the file has none of that name. */
static inline double *golden_numbers(const cpt_checkpoint *file, const char *name)
{
    cpt_err err;
    const cpt_tensor *t = cpt_checkpoint_find(file, name);
    if (!t) return NULL;
    double *v = malloc((size_t)(t->n_items + 1) * sizeof *v);
    assert_non_null(v);
    assert_ok(cpt_tensor_read_f64(t, v, &err));
    return v;
}

/* Tokens and values of a golden cell; returns their number. */
static inline int32_t golden_cell(const golden_scgpt *g, int cell, const char *values_name,
                                  int32_t *ids, float *values)
{
    double *length = golden_numbers(g->file, "length"), *token = golden_numbers(g->file, "token");
    double *bin = golden_numbers(g->file, values_name);
    const int32_t n = (int32_t)length[cell];
    for (int32_t i = 0; i < n; i++) {
        ids[i] = (int32_t)token[cell * g->longest + i];
        values[i] = (float)bin[cell * g->longest + i];
    }
    values[0] = -2;
    free(length), free(token), free(bin);
    return n;
}

/* Tokens and values out of JSON arrays. */
static inline int32_t golden_tokens(const json_t *object, int32_t *ids, float *values)
{
    const json_t *tokens = json_object_get(object, "tokens"),
                 *numbers = json_object_get(object, "values");
    const int32_t n = (int32_t)json_array_size(tokens);
    for (int32_t i = 0; i < n; i++) {
        ids[i] = (int32_t)json_integer_value(json_array_get(tokens, (size_t)i));
        values[i] = (float)json_number_value(json_array_get(numbers, (size_t)i));
    }
    return n;
}

/* Model gene of a token, -1 for special ones. */
static inline int32_t golden_gene(const cpt_scgpt *m, int32_t token)
{
    for (int32_t g = 0; g < m->base.n_genes; g++)
        if (m->token_of[g] == token) return g;
    return -1;
}

static inline void network_forward(const cpt_scgpt *m, int32_t n, const int32_t *ids,
                                   const float *values, float *raw, float *out)
{
    cpt_err err;
    scgpt_work w;
    assert_ok(scgpt_work_init(&w, m, CPT_GEMM_F32, n, 1, &err));
    scgpt_forward(m, n, ids, values, &w, NULL, out);
    if (raw) memcpy(raw, scgpt_last_at(m, n, w.last).raw, sizeof *raw * (size_t)m->shape.width);
    scgpt_work_free(&w);
}

#endif

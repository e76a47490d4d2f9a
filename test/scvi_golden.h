/* scvi_golden.h - the golden scVI models as tests want them. */
#ifndef CPT_TEST_SCVI_GOLDEN_H
#define CPT_TEST_SCVI_GOLDEN_H

#include "check.h"

#include "io/checkpoint.h"
#include "model/scvi_files.h"

typedef struct golden_model {
    const char *name;
    cpt_model *model; /* from state_dict.safetensors */
    cpt_checkpoint *forward, *train;
    float *values;    /* [n_cells][n_genes] */
    int64_t n_cells;
    int32_t *codes;   /* [n_cells] */
    cpt_csr csr;
    cpt_counts counts;
} golden_model;

static inline cpt_checkpoint *golden_file(const char *folder, const char *a, const char *b)
{
    cpt_err err;
    cpt_checkpoint *c = NULL;
    char path[1200];
    snprintf(path, sizeof path, "%s/%s/%s", folder, a, b);
    assert_ok(cpt_checkpoint_open(path, &c, &err));
    return c;
}

static inline float *golden_f32(const cpt_checkpoint *c, const char *name)
{
    cpt_err err;
    const cpt_tensor *t = cpt_checkpoint_find(c, name);
    if (!t) fail_msg("golden tensor %s is not there", name);
    float *out = malloc(sizeof *out * (size_t)t->n_items + 64);
    assert_ok(cpt_tensor_read_f32(t, out, &err));
    return out;
}

static inline int64_t *golden_i64(const cpt_checkpoint *c, const char *name)
{
    cpt_err err;
    const cpt_tensor *t = cpt_checkpoint_find(c, name);
    if (!t) fail_msg("golden tensor %s is not there", name);
    int64_t *out = malloc(sizeof *out * (size_t)t->n_items + 64);
    assert_ok(cpt_tensor_read_i64(t, out, &err));
    return out;
}

/* Dense rows as CSR; freed by dense_free. */
static inline cpt_csr dense_csr(const float *values, int64_t n_rows, int64_t n_cols)
{
    int64_t *indptr = calloc((size_t)n_rows + 1, sizeof *indptr), n = 0;
    int32_t *indices = malloc(sizeof *indices * (size_t)(n_rows * n_cols) + 64);
    float *kept = malloc(sizeof *kept * (size_t)(n_rows * n_cols) + 64);
    for (int64_t i = 0; i < n_rows; i++) {
        for (int64_t j = 0; j < n_cols; j++)
            if (values[i * n_cols + j] != 0) {
                indices[n] = (int32_t)j;
                kept[n++] = values[i * n_cols + j];
            }
        indptr[i + 1] = n;
    }
    return (cpt_csr){n_rows, n_cols, indptr, indices, kept};
}

static inline void dense_free(cpt_csr *c)
{
    free((void *)(uintptr_t)c->indptr);
    free((void *)(uintptr_t)c->indices);
    free((void *)(uintptr_t)c->values);
}

/* which: 0 = nb1, 1 = zinb2 */
static inline void golden_open(golden_model *g, const char *folder, int which)
{
    cpt_err err;
    *g = (golden_model){.name = which ? "zinb2" : "nb1", .n_cells = 64};
    cpt_checkpoint *cells = golden_file(folder, ".", "cells.safetensors");
    cpt_checkpoint *tensors = golden_file(folder, g->name, "state_dict.safetensors");
    g->values = golden_f32(cells, "counts");
    g->forward = golden_file(folder, g->name, "forward.safetensors");
    g->train = golden_file(folder, g->name, "train.safetensors");
    const scvi_settings settings = {.zero_inflated = which, .log_input = true,
                                    .n_batches = which ? 2 : 0, .dropout = 0.1};
    cpt_scvi *m;
    assert_ok(scvi_read_tensors("state_dict.safetensors", tensors, "", &settings, &m, &err));
    g->model = &m->base;
    int64_t *codes = golden_i64(g->forward, "batch_index");
    g->codes = calloc(64, sizeof *g->codes);
    for (int i = 0; i < 64; i++) g->codes[i] = (int32_t)codes[i];
    free(codes);
    g->csr = dense_csr(g->values, 64, m->shape.n_genes);
    assert_ok(cpt_counts_init(&g->counts, &g->csr, NULL, m->shape.n_genes, &err));
    cpt_checkpoint_free(cells);
    cpt_checkpoint_free(tensors);
}

static inline void golden_close(golden_model *g)
{
    cpt_model_free(g->model);
    cpt_checkpoint_free(g->forward);
    cpt_checkpoint_free(g->train);
    free(g->values);
    free(g->codes);
    dense_free(&g->csr);
}

#endif

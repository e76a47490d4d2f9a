/* fake_model.h - a model and a dictionary small enough to be obviously right, for the tests of what
 * stands on the two interfaces: f(x) = tanh(W log1p(x) + b), and Top-K over random rows. */
#ifndef CPT_TEST_FAKE_MODEL_H
#define CPT_TEST_FAKE_MODEL_H

#include "check.h"

#include "base/memory.h"
#include "base/random.h"
#include "dictionary/dictionary.h"
#include "model/model.h"

/* ---- counts ---- */

typedef struct fake_cells {
    cpt_csr by_cell, by_gene;
    cpt_counts counts;
    double *totals;
    float *dense; /* [n_cells][n_genes] */
} fake_cells;

static inline cpt_csr fake_csr(const float *dense, int64_t n_rows, int64_t n_cols, bool transposed)
{
    int64_t *indptr = calloc((size_t)n_rows + 1, sizeof *indptr);
    int32_t *indices = malloc((size_t)(n_rows * n_cols + 1) * sizeof *indices);
    float *values = malloc((size_t)(n_rows * n_cols + 1) * sizeof *values);
    int64_t n = 0;
    for (int64_t i = 0; i < n_rows; i++) {
        for (int64_t j = 0; j < n_cols; j++) {
            float x = transposed ? dense[j * n_rows + i] : dense[i * n_cols + j];
            if (x == 0) continue;
            indices[n] = (int32_t)j;
            values[n++] = x;
        }
        indptr[i + 1] = n;
    }
    return (cpt_csr){n_rows, n_cols, indptr, indices, values};
}

/* Takes ownership of dense. */
static inline fake_cells fake_cells_of(float *dense, int64_t n_cells, int32_t n_genes)
{
    fake_cells c = {.dense = dense};
    c.by_cell = fake_csr(dense, n_cells, n_genes, false);
    c.by_gene = fake_csr(dense, n_genes, n_cells, true);
    c.counts = (cpt_counts){.csr = &c.by_cell, .n_genes = n_genes, .ascending = true};
    c.totals = calloc((size_t)n_cells + 1, sizeof *c.totals);
    for (int64_t i = 0; i < n_cells; i++)
        for (int32_t g = 0; g < n_genes; g++) c.totals[i] += dense[i * n_genes + g];
    return c;
}

/* Sparse counts of `n_types` kinds of cells. */
static inline fake_cells fake_cells_random(int64_t n_cells, int32_t n_genes, int32_t n_types, uint64_t seed)
{
    float *dense = calloc((size_t)(n_cells * n_genes + 1), sizeof *dense);
    cpt_stream s;
    cpt_stream_init(&s, seed, CPT_RANDOM_TEST, 1);
    for (int64_t i = 0; i < n_cells; i++)
        for (int32_t g = 0; g < n_genes; g++) {
            double rate = (g % n_types == i % n_types) ? 2.5 : 0.4;
            dense[i * n_genes + g] = (float)cpt_stream_poisson(&s, rate);
        }
    return fake_cells_of(dense, n_cells, n_genes);
}

static inline void fake_csr_free(cpt_csr *m)
{
    free((void *)m->indptr);
    free((void *)m->indices);
    free((void *)m->values);
}

static inline void fake_cells_free(fake_cells *c)
{
    fake_csr_free(&c->by_cell);
    fake_csr_free(&c->by_gene);
    free(c->totals);
    free(c->dense);
}

/* ---- model ---- */

typedef struct fake_model {
    cpt_model base;
    double *weights; /* [dim][n_genes] */
    double *bias;    /* [dim] */
} fake_model;

typedef struct fake_session {
    cpt_session base;
    float *x;         /* [n_genes] */
    double *z;        /* [dim] */
    float *embedding; /* [dim] */
} fake_session;

static inline const fake_model *fake_of(const cpt_model *m)
{
    return (const fake_model *)(const void *)m;
}

static inline void fake_forward(const fake_model *m, const float *x, double *z, float *out)
{
    for (int32_t j = 0; j < m->base.dim; j++) {
        z[j] = m->bias[j];
        for (int32_t g = 0; g < m->base.n_genes; g++)
            z[j] += m->weights[(int64_t)j * m->base.n_genes + g] * log1p(x[g]);
        out[j] = (float)tanh(z[j]);
    }
}

static inline cpt_status fake_embed(const cpt_model *m, const cpt_counts *counts, int64_t first, int64_t n,
                                    float *out, const cpt_context *ctx, cpt_err *e)
{
    (void)ctx;
    float *x = calloc((size_t)m->n_genes, sizeof *x);
    double *z = calloc((size_t)m->dim, sizeof *z);
    if (!x || !z) return cpt_fail(e, CPT_ERR_MEMORY, "fake");
    for (int64_t i = 0; i < n; i++) {
        memset(x, 0, (size_t)m->n_genes * sizeof *x);
        for (int64_t k = counts->csr->indptr[first + i]; k < counts->csr->indptr[first + i + 1]; k++)
            x[counts->csr->indices[k]] = counts->csr->values[k];
        fake_forward(fake_of(m), x, z, out + i * m->dim);
    }
    free(x);
    free(z);
    return CPT_OK;
}

static inline cpt_status fake_profile(const cpt_model *m, const cpt_counts *counts, int64_t row,
                                      cpt_profile *out, cpt_err *e)
{
    (void)m;
    int64_t from = counts->csr->indptr[row], n = counts->csr->indptr[row + 1] - from;
    out->n = (int32_t)n;
    cpt_status status = cpt_alloc(&out->genes, (size_t)n, sizeof *out->genes, e);
    if (status == CPT_OK) status = cpt_alloc(&out->values, (size_t)n, sizeof *out->values, e);
    if (status != CPT_OK) return status;
    memcpy(out->genes, counts->csr->indices + from, (size_t)n * sizeof *out->genes);
    memcpy(out->values, counts->csr->values + from, (size_t)n * sizeof *out->values);
    return CPT_OK;
}

static inline void fake_session_free(cpt_session *base)
{
    fake_session *s = (fake_session *)(void *)base;
    if (!s) return;
    free(s->x);
    free(s->z);
    free(s->embedding);
    free(s);
}

static inline cpt_status fake_session_open(const cpt_model *m, const cpt_profile *p, cpt_session **out,
                                           cpt_err *e)
{
    fake_session *s = calloc(1, sizeof *s);
    if (!s) return cpt_fail(e, CPT_ERR_MEMORY, "fake");
    s->base.model = m;
    s->x = calloc((size_t)m->n_genes, sizeof *s->x);
    s->z = calloc((size_t)m->dim, sizeof *s->z);
    s->embedding = calloc((size_t)m->dim, sizeof *s->embedding);
    for (int32_t i = 0; i < p->n; i++) s->x[p->genes[i]] = p->values[i];
    fake_forward(fake_of(m), s->x, s->z, s->embedding);
    *out = &s->base;
    return CPT_OK;
}

static inline const float *fake_session_embedding(const cpt_session *s)
{
    return ((const fake_session *)(const void *)s)->embedding;
}

static inline cpt_status fake_session_singles(cpt_session *base, int32_t n, const cpt_change *changes,
                                              float *out, cpt_err *e)
{
    (void)e;
    fake_session *s = (fake_session *)(void *)base;
    const fake_model *m = fake_of(base->model);
    for (int32_t i = 0; i < n; i++)
        for (int32_t j = 0; j < m->base.dim; j++) {
            int32_t g = changes[i].gene;
            double w = m->weights[(int64_t)j * m->base.n_genes + g];
            out[i * m->base.dim + j] =
                (float)tanh(s->z[j] + w * (log1p(changes[i].value) - log1p(s->x[g])));
        }
    return CPT_OK;
}

static inline cpt_status fake_session_joint(cpt_session *base, int32_t n, const cpt_change *changes,
                                            float *out, cpt_err *e)
{
    (void)e;
    fake_session *s = (fake_session *)(void *)base;
    const fake_model *m = fake_of(base->model);
    for (int32_t j = 0; j < m->base.dim; j++) {
        double z = s->z[j];
        for (int32_t i = 0; i < n; i++)
            z += m->weights[(int64_t)j * m->base.n_genes + changes[i].gene] *
                 (log1p(changes[i].value) - log1p(s->x[changes[i].gene]));
        out[j] = (float)tanh(z);
    }
    return CPT_OK;
}

static inline cpt_status fake_session_gradient(cpt_session *base, int32_t n_w, const float *w, float *out,
                                               cpt_err *e)
{
    (void)e;
    fake_session *s = (fake_session *)(void *)base;
    const fake_model *m = fake_of(base->model);
    int32_t dim = m->base.dim, n_genes = m->base.n_genes;
    for (int32_t i = 0; i < n_w; i++)
        for (int32_t g = 0; g < n_genes; g++) {
            double sum = 0;
            for (int32_t j = 0; j < dim; j++) {
                double t = tanh(s->z[j]);
                sum += w[i * dim + j] * (1 - t * t) * m->weights[(int64_t)j * n_genes + g];
            }
            out[(int64_t)i * n_genes + g] = (float)(sum / (1 + (double)s->x[g]));
        }
    return CPT_OK;
}

/* What a perfect screen would say. */
static inline cpt_status fake_session_screen(cpt_session *base, int32_t n_w, const float *w, int32_t n,
                                             const cpt_change *changes, float *out, cpt_err *e)
{
    const int32_t dim = base->model->dim;
    const float *f = fake_session_embedding(base);
    float copy[64];
    for (int32_t i = 0; i < n; i++) {
        cpt_status status = fake_session_singles(base, 1, &changes[i], copy, e);
        if (status != CPT_OK) return status;
        for (int32_t k = 0; k < n_w; k++) {
            double sum = 0;
            for (int32_t j = 0; j < dim; j++) sum += w[k * dim + j] * ((double)copy[j] - f[j]);
            out[k * n + i] = (float)sum;
        }
    }
    return CPT_OK;
}

static inline void fake_model_free(cpt_model *base)
{
    fake_model *m = (fake_model *)(void *)base;
    free(m->weights);
    free(m->bias);
    free(m);
}

static inline cpt_model *fake_model_new(int32_t n_genes, int32_t dim, uint64_t seed)
{
    static const cpt_model_ops ops = {
        .kind = "fake", .embed = fake_embed, .profile = fake_profile, .session_open = fake_session_open,
        .session_embedding = fake_session_embedding, .session_singles = fake_session_singles,
        .session_joint = fake_session_joint, .session_gradient = fake_session_gradient,
        .session_screen = fake_session_screen, .session_free = fake_session_free, .free = fake_model_free};
    fake_model *m = calloc(1, sizeof *m);
    m->base.ops = &ops;
    m->base.n_genes = n_genes;
    m->base.dim = dim;
    m->weights = calloc((size_t)dim * (size_t)n_genes, sizeof *m->weights);
    m->bias = calloc((size_t)dim, sizeof *m->bias);
    cpt_stream s;
    cpt_stream_init(&s, seed, CPT_RANDOM_TEST, 2);
    for (int64_t i = 0; i < (int64_t)dim * n_genes; i++)
        m->weights[i] = cpt_stream_normal(&s) / sqrt((double)n_genes);
    for (int32_t j = 0; j < dim; j++) m->bias[j] = 0.3 * cpt_stream_normal(&s);
    return &m->base;
}

static inline float *fake_embedding(const cpt_model *m, const fake_cells *c)
{
    cpt_err err;
    float *a = calloc((size_t)c->by_cell.n_rows * (size_t)m->dim + 1, sizeof *a);
    assert_ok(m->ops->embed(m, &c->counts, 0, c->by_cell.n_rows, a, NULL, &err));
    return a;
}

/* ---- dictionary ---- */

typedef struct fake_dictionary {
    cpt_dictionary base;
    double *rows;   /* [n_concepts][dim] */
    double *offset; /* [n_concepts] added to h */
} fake_dictionary;

static inline double fake_pre(const fake_dictionary *d, int32_t c, const float *a)
{
    double h = d->offset[c];
    for (int32_t j = 0; j < d->base.dim; j++) h += d->rows[(int64_t)c * d->base.dim + j] * a[j];
    return h;
}

/* Concept c is positive and among the k largest, ties by lower number. */
static inline bool fake_has_place(const fake_dictionary *d, int32_t c, const float *a)
{
    double h = fake_pre(d, c, a);
    int32_t before = 0;
    for (int32_t o = 0; o < d->base.n_concepts; o++) {
        double other = fake_pre(d, o, a);
        before += other > h || (other == h && o < c);
    }
    return (float)h > 0 && before < d->base.max_active;
}

static inline cpt_status fake_encode(const cpt_dictionary *base, int64_t n, const float *a, int32_t *counts,
                                     int32_t *concepts, float *values, cpt_err *e)
{
    (void)e;
    const fake_dictionary *d = (const fake_dictionary *)(const void *)base;
    for (int64_t i = 0; i < n; i++) {
        counts[i] = 0;
        for (int32_t c = 0; c < base->n_concepts; c++) {
            if (!fake_has_place(d, c, a + i * base->dim)) continue;
            int64_t at = i * base->max_active + counts[i]++;
            concepts[at] = c;
            values[at] = (float)fake_pre(d, c, a + i * base->dim);
        }
    }
    return CPT_OK;
}

static inline cpt_status fake_readout(const cpt_dictionary *base, int32_t concept, int64_t n, const float *a,
                                      float *activation, float *pre, cpt_err *e)
{
    (void)e;
    const fake_dictionary *d = (const fake_dictionary *)(const void *)base;
    for (int64_t i = 0; i < n; i++) {
        float h = (float)fake_pre(d, concept, a + i * base->dim);
        if (pre) pre[i] = h;
        if (activation) activation[i] = fake_has_place(d, concept, a + i * base->dim) ? h : 0;
    }
    return CPT_OK;
}

static inline void fake_gradient(const cpt_dictionary *base, int32_t concept, const float *a, float *out)
{
    (void)a;
    const fake_dictionary *d = (const fake_dictionary *)(const void *)base;
    for (int32_t j = 0; j < base->dim; j++) out[j] = (float)d->rows[(int64_t)concept * base->dim + j];
}

static inline cpt_status fake_pre_activations(const cpt_dictionary *base, const float *a, float *h,
                                              cpt_err *e)
{
    (void)e;
    for (int32_t c = 0; c < base->n_concepts; c++)
        h[c] = (float)fake_pre((const fake_dictionary *)(const void *)base, c, a);
    return CPT_OK;
}

static inline float fake_activation(const cpt_dictionary *base, int32_t concept, const float *h)
{
    int32_t before = 0;
    for (int32_t o = 0; o < base->n_concepts; o++)
        before += h[o] > h[concept] || (h[o] == h[concept] && o < concept);
    return h[concept] > 0 && before < base->max_active ? h[concept] : 0;
}

static inline void fake_dictionary_free(cpt_dictionary *base)
{
    fake_dictionary *d = (fake_dictionary *)(void *)base;
    free(d->rows);
    free(d->offset);
    free(d);
}

static inline fake_dictionary *fake_dictionary_new(int32_t n_concepts, int32_t dim, int32_t k, uint64_t seed)
{
    static const cpt_dictionary_ops ops = {.kind = "fake", .encode = fake_encode, .readout = fake_readout,
                                           .gradient = fake_gradient, .free = fake_dictionary_free,
                                           .pre_activations = fake_pre_activations,
                                           .activation = fake_activation};
    fake_dictionary *d = calloc(1, sizeof *d);
    d->base.ops = &ops;
    d->base.n_concepts = n_concepts;
    d->base.dim = dim;
    d->base.max_active = k;
    d->rows = calloc((size_t)n_concepts * (size_t)dim, sizeof *d->rows);
    d->offset = calloc((size_t)n_concepts, sizeof *d->offset);
    cpt_stream s;
    cpt_stream_init(&s, seed, CPT_RANDOM_TEST, 3);
    for (int64_t i = 0; i < (int64_t)n_concepts * dim; i++) d->rows[i] = cpt_stream_normal(&s);
    return d;
}

#endif

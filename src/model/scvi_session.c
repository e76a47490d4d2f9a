/* One scVI cell and its perturbed copies.
 *
 * The encoder reads log(1 + count) of each gene on its own and nothing that depends on the whole
 * cell (the library size goes to the decoder only; models.md pitfall 10). So exchanging one
 * gene's count changes the first layer's sum by a multiple of one row of its weights: H numbers.
 * Cost per copy with one layer: H + H L multiply-adds instead of nnz H + H L; later layers are
 * done for SCVI_BLOCK copies at a time. The gradient is one backward pass per direction and one
 * product with the first layer's weights; the derivative of log(1 + x) is 1 / (1 + x), also for
 * genes that are 0. */
#include "model/scvi_network.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "math/blas.h"

typedef struct scvi_session {
    cpt_session base;
    const cpt_network_kernels *kernels;
    float *inputs;    /* [n_genes] what the first layer eats, of the base cell */
    float *values;    /* [n_genes] counts of the base cell */
    float *sum;       /* [n_hidden] first layer's weights times the input, of the base cell */
    float *changed;   /* [n_hidden] the same of a copy */
    float *embedding; /* [dim] */
    bool *marked;     /* [n_genes] scratch of joint; all false between calls */
    scvi_scratch scratch;
    float *block;
} scvi_session;

static scvi_session *session_of(cpt_session *s)
{
    return (scvi_session *)(void *)s;
}

static const cpt_scvi *model_of(const scvi_session *s)
{
    return scvi_of(s->base.model);
}

void scvi_session_free(cpt_session *base)
{
    scvi_session *s = session_of(base);
    if (!s) return;
    free(s->block);
    free(s->marked);
    scvi_scratch_free(&s->scratch);
    free(s);
}

static cpt_status check_value(const cpt_scvi *m, int32_t gene, float value, cpt_err *e)
{
    if (gene < 0 || gene >= m->shape.n_genes)
        return cpt_fail(e, CPT_ERR_USAGE, "there is no gene %d: the model has %d", gene,
                        m->shape.n_genes);
    if (!(value >= 0) || isinf(value))
        return cpt_fail(e, CPT_ERR_USAGE, "gene %s: %g is no count", 
                        m->base.gene_names.n ? cpt_strings_get(&m->base.gene_names, gene) : "?",
                        (double)value);
    return CPT_OK;
}

static cpt_status allocate(scvi_session *s, const cpt_scvi *m, cpt_err *e)
{
    size_t genes = (size_t)m->shape.n_genes, hidden = (size_t)m->shape.n_hidden;
    cpt_status status;
    CPT_TRY(cpt_alloc(&s->block, 2 * genes + 2 * hidden + (size_t)m->base.dim, sizeof(float), e));
    CPT_TRY(cpt_alloc(&s->marked, genes, sizeof *s->marked, e));
    CPT_TRY(scvi_scratch_init(&s->scratch, m, e));
    s->inputs = s->block;
    s->values = s->inputs + genes;
    s->sum = s->values + genes;
    s->changed = s->sum + hidden;
    s->embedding = s->changed + hidden;
done:
    return status;
}

/* hidden[0][row] = first layer after ReLU for the sum `from` + delta * the gene's weights. */
static void first_hidden(scvi_session *s, const float *from, float delta, int32_t gene, int32_t row)
{
    const cpt_scvi *m = model_of(s);
    const scvi_layer *l = &m->encoder[0];
    s->kernels->perturb(l->n_out, from, delta, l->weight + (size_t)gene * (size_t)l->n_out,
                        l->scale, l->shift, s->scratch.hidden[0] + (size_t)row * (size_t)l->n_out);
}

cpt_status scvi_session_open(const cpt_model *base, const cpt_profile *cell, cpt_session **out,
                             cpt_err *e)
{
    const cpt_scvi *m = scvi_of(base);
    scvi_session *s = NULL;
    *out = NULL;
    cpt_status status = cpt_alloc(&s, 1, sizeof *s, e);
    if (status) return status;
    s->base.model = base;
    s->kernels = cpt_network_kernels_get();
    CPT_TRY(allocate(s, m, e));
    for (int32_t i = 0; i < cell->n; i++) {
        CPT_TRY(check_value(m, cell->genes[i], cell->values[i], e));
        s->scratch.values[i] = cell->values[i];
        s->values[cell->genes[i]] = cell->values[i];
    }
    scvi_inputs(m, cell->n, s->scratch.values);
    for (int32_t i = 0; i < cell->n; i++) s->inputs[cell->genes[i]] = s->scratch.values[i];
    scvi_first_layer(m, cell->n, cell->genes, s->scratch.values, s->sum);
    first_hidden(s, s->sum, 0, 0, 0);
    scvi_encode_rest(m, 1, &s->scratch, s->embedding, NULL);
    *out = &s->base;
done:
    if (status) scvi_session_free(&s->base);
    return status;
}

const float *scvi_session_embedding(const cpt_session *s)
{
    return ((const scvi_session *)(const void *)s)->embedding;
}

cpt_status scvi_session_singles(cpt_session *base, int32_t n, const cpt_change *changes, float *out,
                                cpt_err *e)
{
    scvi_session *s = session_of(base);
    const cpt_scvi *m = model_of(s);
    float inputs[SCVI_BLOCK];
    for (int32_t from = 0; from < n; from += SCVI_BLOCK) {
        int32_t size = n - from < SCVI_BLOCK ? n - from : SCVI_BLOCK;
        for (int32_t i = 0; i < size; i++) {
            const cpt_change *c = &changes[from + i];
            cpt_status status = check_value(m, c->gene, c->value, e);
            if (status) return status;
            inputs[i] = c->value;
        }
        scvi_inputs(m, size, inputs);
        for (int32_t i = 0; i < size; i++) {
            int32_t gene = changes[from + i].gene;
            first_hidden(s, s->sum, inputs[i] - s->inputs[gene], gene, i);
        }
        scvi_encode_rest(m, size, &s->scratch, out + (size_t)from * (size_t)m->base.dim, NULL);
    }
    return CPT_OK;
}

cpt_status scvi_session_joint(cpt_session *base, int32_t n, const cpt_change *changes, float *out,
                              cpt_err *e)
{
    scvi_session *s = session_of(base);
    const cpt_scvi *m = model_of(s);
    cpt_status status = CPT_OK;
    int32_t n_marked = 0;
    if (n > m->shape.n_genes)
        return cpt_fail(e, CPT_ERR_USAGE, "%d joint changes for %d genes: a gene may change once",
                        n, m->shape.n_genes);
    for (; n_marked < n; n_marked++) {
        const cpt_change *c = &changes[n_marked];
        CPT_TRY(check_value(m, c->gene, c->value, e));
        if (s->marked[c->gene])
            CPT_TRY(cpt_fail(e, CPT_ERR_USAGE, "gene %d is changed twice in one joint change",
                             c->gene));
        s->marked[c->gene] = true;
        s->scratch.genes[n_marked] = c->gene;
        s->scratch.values[n_marked] = c->value;
    }
    scvi_inputs(m, n, s->scratch.values);
    for (int32_t i = 0; i < n; i++) s->scratch.values[i] -= s->inputs[changes[i].gene];
    memcpy(s->changed, s->sum, sizeof(float) * (size_t)m->shape.n_hidden);
    s->kernels->accumulate(n, s->scratch.genes, s->scratch.values, m->encoder[0].weight,
                           m->shape.n_hidden, s->changed);
    first_hidden(s, s->changed, 0, 0, 0);
    scvi_encode_rest(m, 1, &s->scratch, out, NULL);
done:
    while (n_marked > 0) s->marked[changes[--n_marked].gene] = false;
    return status;
}

/* back [n_w][n_out] *= scale where the layer's unit is on for the base cell. */
static void through_unit(const scvi_layer *l, int32_t n_w, const float *active, float *back)
{
    for (int32_t w = 0; w < n_w; w++)
        for (int32_t j = 0; j < l->n_out; j++)
            back[(size_t)w * (size_t)l->n_out + (size_t)j] *= active[j] > 0 ? l->scale[j] : 0;
}

/* The hidden layers of the base cell, [n_layers][n_hidden]. */
static void base_activations(scvi_session *s, float *active)
{
    const cpt_scvi *m = model_of(s);
    const size_t hidden = (size_t)m->shape.n_hidden;
    first_hidden(s, s->sum, 0, 0, 0);
    memcpy(active, s->scratch.hidden[0], sizeof(float) * hidden);
    for (int32_t i = 1; i < m->shape.n_layers; i++) {
        const scvi_layer *l = &m->encoder[i];
        float *to = active + (size_t)i * hidden;
        s->kernels->dense(1, l->n_in, l->n_out, to - hidden, l->weight, s->scratch.zeros, to);
        s->kernels->activate(1, l->n_out, l->scale, l->shift, to);
    }
}

cpt_status scvi_session_gradient(cpt_session *base, int32_t n_w, const float *w, float *out,
                                 cpt_err *e)
{
    scvi_session *s = session_of(base);
    const cpt_scvi *m = model_of(s);
    const int32_t h = m->shape.n_hidden, dim = m->shape.n_latent, genes = m->shape.n_genes;
    const size_t size = (size_t)n_w * (size_t)h;
    float *active = NULL, *back = NULL, *next = NULL;
    cpt_status status;
    CPT_TRY(cpt_alloc(&active, (size_t)m->shape.n_layers * (size_t)h, sizeof *active, e));
    CPT_TRY(cpt_alloc(&back, size, sizeof *back, e));
    CPT_TRY(cpt_alloc(&next, size, sizeof *next, e));
    base_activations(s, active);
    cpt_gemm(false, true, n_w, h, dim, 1, w, dim, m->mean_weight, dim, 0, back, h, 1);
    for (int32_t i = m->shape.n_layers - 1; i >= 0; i--) {
        const scvi_layer *l = &m->encoder[i];
        through_unit(l, n_w, active + (size_t)i * (size_t)h, back);
        if (i == 0) break;
        cpt_gemm(false, true, n_w, h, h, 1, back, h, l->weight, h, 0, next, h, 1);
        memcpy(back, next, sizeof *back * size);
    }
    cpt_gemm(false, true, n_w, genes, h, 1, back, h, m->encoder[0].weight, h, 0, out, genes, 1);
    for (int32_t i = 0; m->shape.log_input && i < n_w; i++)
        for (int32_t g = 0; g < genes; g++)
            out[(size_t)i * (size_t)genes + (size_t)g] /= 1 + s->values[g];
done:
    free(active);
    free(back);
    free(next);
    return status;
}

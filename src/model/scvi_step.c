/* One minibatch of scVI: forward in training mode, the gradients of all parameters, Adam.
 *
 * Formulas: models.md 6.4-6.6. Where the time goes, for 4,000 genes, 128 cells, 128 hidden units:
 *   first layer  only the genes a cell has: rows of W summed (forward), and per gene the cells that
 *                have it (gradient); the minibatch is kept in both orders, of which the second is made
 *                while the layers between are computed
 *   gene heads   logits, HEAD_BLOCK genes of all cells at a time: the block's weights are packed
 *                (math/gemm.h), multiplied and forgotten while they are in the cache; then CHUNK
 *                cells at a time likelihood and its gradient in place (math/kernels/likelihood.c);
 *                then again by blocks of genes the block's share of the gradient of the hidden
 *                layer, and the gradient of the block's own weights
 *   Adam         one flat pass over all parameters
 * The chunks, the blocks of genes and the order of all sums are fixed, so the result does not depend
 * on the number of threads. Sums over cells are in double where they are not matrix products.
 *
 * Trap: Adam must leave alone what has no gradient (no decay either); such tensors (scvi-tools'
 * unused heads) are not part of the parameters here at all. */
#include "model/scvi_network.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "math/blas.h"
#include "math/gemm.h"

enum { CHUNK = 32, GENE_BLOCK = 64, HEAD_BLOCK = 256, ADAM_BLOCK = 16384 };

/* Weights of all layers between up to which one thread does them. */
static const double SMALL_LAYERS = 1 << 16;

/* Scratch of a block of genes, of each its own, as threads take blocks as they come. */
typedef struct head_block {
    void *packed;  /* its weights */
    float *turned; /* [HEAD_BLOCK][capacity] gradients of its logits */
    float *share;  /* [capacity][n_hidden] of the gradient of the last decoder layer */
} head_block;

/* What the backward pass needs of a layer; [capacity][n_out] unless said otherwise. */
typedef struct layer_pass {
    float *input;      /* [capacity][n_in]; NULL for the first encoder layer */
    float *normalised; /* (x - mean) / sd */
    float *output;     /* after ReLU and dropout */
    float *gradient;   /* d / d output, then d / d (x weight + bias) */
    double *inverse_sd; /* [n_out] */
} layer_pass;

struct scvi_stepper {
    cpt_scvi *model;
    cpt_scvi_options options;
    scvi_minibatch batch;
    int32_t *length;         /* [capacity] genes of each cell */
    double *log_factorial;   /* [n_known] of cells of the data, NaN = not yet computed */
    int64_t n_known;
    layer_pass *encoder, *decoder; /* [n_layers] */
    float *mean, *log_var, *variance, *latent;   /* [capacity][n_latent] */
    float *d_mean, *d_log_var;                   /* [capacity][n_latent] */
    float *d_input;          /* [capacity][widest decoder input] */
    float *logits, *dropout; /* [capacity][n_genes]; dropout NULL for NB */
    head_block *blocks_of_genes; /* [ceil(n_genes / HEAD_BLOCK)] */
    void *packed_hidden;     /* the last decoder layer's output as right-hand side */
    cpt_gene_tables tables;
    float *sums;             /* [n_chunks][SUMS][n_genes] */
    double *nonzero;         /* [n_chunks][2 * n_genes] */
    float *single;           /* [n_chunks][7 * n_genes] */
    double *reconstruction;  /* [capacity] per cell */
    double *column;          /* [4][n_hidden] scratch */
    float *gradients, *first_moment, *second_moment; /* [n_parameters] */
    int64_t n_steps;
    void **blocks;           /* everything above that was allocated */
    size_t n_blocks, blocks_capacity;
};
enum { SUM_THETA, SUM_LOGITS, SUM_DROPOUT, SUM_SCRATCH, SUMS };

/* ---- memory ---- */

static cpt_status reserve(scvi_stepper *s, void *out, int64_t n, size_t size, cpt_err *e)
{
    void *p = NULL;
    cpt_status status =
        cpt_grow(&s->blocks, &s->blocks_capacity, s->n_blocks + 1, sizeof *s->blocks, e);
    if (!status) status = cpt_alloc(&p, (size_t)n, size, e);
    if (!status) s->blocks[s->n_blocks++] = p;
    memcpy(out, &p, sizeof p);
    return status;
}

static cpt_status reserve_floats(scvi_stepper *s, float **out, int64_t n, cpt_err *e)
{
    return reserve(s, out, n, sizeof(float), e);
}

static cpt_status reserve_layer(scvi_stepper *s, layer_pass *p, const scvi_layer *l, bool input,
                                cpt_err *e)
{
    int64_t n = s->batch.capacity, size = n * l->n_out;
    cpt_status status;
    if (input) CPT_TRY(reserve_floats(s, &p->input, n * l->n_in, e));
    CPT_TRY(reserve_floats(s, &p->normalised, size, e));
    CPT_TRY(reserve_floats(s, &p->output, size, e));
    CPT_TRY(reserve_floats(s, &p->gradient, size, e));
    CPT_TRY(reserve(s, &p->inverse_sd, l->n_out, sizeof(double), e));
done:
    return status;
}

static cpt_status reserve_layers(scvi_stepper *s, cpt_err *e)
{
    const cpt_scvi *m = s->model;
    const int64_t n = s->batch.capacity, latent = n * m->shape.n_latent;
    int64_t widest = 0;
    cpt_status status;
    CPT_TRY(reserve(s, &s->encoder, m->shape.n_layers, sizeof *s->encoder, e));
    CPT_TRY(reserve(s, &s->decoder, m->shape.n_layers, sizeof *s->decoder, e));
    for (int32_t i = 0; i < m->shape.n_layers; i++) {
        CPT_TRY(reserve_layer(s, &s->encoder[i], &m->encoder[i], i > 0, e));
        CPT_TRY(reserve_layer(s, &s->decoder[i], &m->decoder[i], true, e));
        widest = m->decoder[i].n_in > widest ? m->decoder[i].n_in : widest;
    }
    CPT_TRY(reserve_floats(s, &s->d_input, n * widest, e));
    float **const six[] = {&s->mean,   &s->log_var, &s->variance,
                           &s->latent, &s->d_mean,  &s->d_log_var};
    for (size_t i = 0; i < sizeof six / sizeof *six; i++)
        CPT_TRY(reserve_floats(s, six[i], latent, e));
    CPT_TRY(reserve(s, &s->column, 4 * (int64_t)m->shape.n_hidden, sizeof(double), e));
done:
    return status;
}

static cpt_status reserve_head_blocks(scvi_stepper *s, cpt_err *e)
{
    const int64_t n = s->batch.capacity, h = s->model->shape.n_hidden;
    const int32_t n_blocks = (s->model->shape.n_genes + HEAD_BLOCK - 1) / HEAD_BLOCK;
    const size_t forward = cpt_packed_bytes(CPT_GEMM_F32, HEAD_BLOCK, h), back = cpt_packed_bytes(CPT_GEMM_F32, h, HEAD_BLOCK);
    cpt_status status;
    CPT_TRY(reserve(s, &s->blocks_of_genes, n_blocks, sizeof *s->blocks_of_genes, e));
    CPT_TRY(reserve(s, &s->packed_hidden, (int64_t)cpt_packed_bytes(CPT_GEMM_F32, h, n), 1, e));
    for (int32_t i = 0; i < n_blocks; i++) {
        head_block *b = &s->blocks_of_genes[i];
        CPT_TRY(reserve(s, &b->packed, (int64_t)(forward > back ? forward : back), 1, e));
        CPT_TRY(reserve_floats(s, &b->turned, HEAD_BLOCK * n, e));
        CPT_TRY(reserve_floats(s, &b->share, n * h, e));
    }
done:
    return status;
}

static cpt_status reserve_heads(scvi_stepper *s, cpt_err *e)
{
    const cpt_scvi *m = s->model;
    const int64_t n = s->batch.capacity, genes = m->shape.n_genes, chunks = (n + CHUNK - 1) / CHUNK;
    cpt_status status;
    CPT_TRY(reserve_floats(s, &s->logits, n * genes, e));
    if (m->dropout_weight) CPT_TRY(reserve_floats(s, &s->dropout, n * genes, e));
    CPT_TRY(reserve_head_blocks(s, e));
    CPT_TRY(reserve_floats(s, &s->tables.theta, genes, e));
    CPT_TRY(reserve_floats(s, &s->tables.inverse, genes, e));
    CPT_TRY(reserve(s, &s->tables.lgamma, genes, sizeof(double), e));
    CPT_TRY(reserve(s, &s->tables.digamma, genes, sizeof(double), e));
    CPT_TRY(reserve_floats(s, &s->sums, chunks * SUMS * genes, e));
    CPT_TRY(reserve(s, &s->nonzero, chunks * 2 * genes, sizeof(double), e));
    CPT_TRY(reserve_floats(s, &s->single, chunks * 7 * genes, e));
    CPT_TRY(reserve(s, &s->reconstruction, n, sizeof(double), e));
    CPT_TRY(reserve_floats(s, &s->gradients, m->n_parameters, e));
    CPT_TRY(reserve_floats(s, &s->first_moment, m->n_parameters, e));
    CPT_TRY(reserve_floats(s, &s->second_moment, m->n_parameters, e));
done:
    return status;
}

static cpt_status reserve_minibatch(scvi_stepper *s, cpt_err *e)
{
    scvi_minibatch *b = &s->batch;
    cpt_status status;
    CPT_TRY(reserve(s, &b->start, b->capacity + 1, sizeof *b->start, e));
    CPT_TRY(reserve(s, &s->length, b->capacity, sizeof *s->length, e));
    CPT_TRY(reserve(s, &b->library, b->capacity, sizeof *b->library, e));
    CPT_TRY(reserve(s, &b->log_factorial, b->capacity, sizeof *b->log_factorial, e));
    CPT_TRY(reserve(s, &b->codes, b->capacity, sizeof *b->codes, e));
    CPT_TRY(
        reserve(s, &b->gene_start, (int64_t)s->model->shape.n_genes + 1, sizeof *b->gene_start, e));
done:
    return status;
}

cpt_status scvi_stepper_new(cpt_scvi *m, const cpt_scvi_options *options, scvi_stepper **out,
                            cpt_err *e)
{
    scvi_stepper *s = NULL;
    cpt_status status;
    *out = NULL;
    if (!m->shape.encoder_norm || !m->shape.decoder_norm || !m->px_r ||
        m->shape.n_covariates != m->n_batches)
        return cpt_fail(e, CPT_ERR_UNSUPPORTED, "training needs batch normalisation in encoder and "
                        "decoder, one dispersion per gene, and no covariates but the batch");
    CPT_TRY(cpt_alloc(&s, 1, sizeof *s, e));
    s->model = m;
    s->options = *options;
    s->batch.capacity = options->batch_size;
    CPT_TRY(reserve_minibatch(s, e));
    CPT_TRY(reserve_layers(s, e));
    CPT_TRY(reserve_heads(s, e));
    cpt_blas_single_thread();
done:
    if (status) scvi_stepper_free(s);
    else *out = s;
    return status;
}

void scvi_stepper_free(scvi_stepper *s)
{
    if (!s) return;
    for (size_t i = 0; i < s->n_blocks; i++) free(s->blocks[i]);
    free(s->blocks);
    free(s->log_factorial);
    free(s->batch.genes);
    free(s->batch.counts);
    free(s->batch.inputs);
    free(s->batch.gene_cells);
    free(s->batch.gene_inputs);
    free(s);
}

const float *scvi_stepper_gradients(const scvi_stepper *s)
{
    return s->gradients;
}

const float *scvi_stepper_latent(const scvi_stepper *s, const float **mean, const float **variance)
{
    *mean = s->mean;
    *variance = s->variance;
    return s->latent;
}

/* ---- loading a minibatch ---- */

static cpt_status make_room(scvi_minibatch *b, size_t need, cpt_err *e)
{
    cpt_status status = CPT_OK;
    if (need <= b->room) return CPT_OK;
    void **const arrays[] = {(void **)&b->genes, (void **)&b->counts, (void **)&b->inputs,
                             (void **)&b->gene_cells, (void **)&b->gene_inputs};
    b->room = 0;
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        free(*arrays[i]);
        *arrays[i] = NULL;
        if (!status) status = cpt_alloc(arrays[i], need + need / 4, 4, e);
    }
    if (!status) b->room = need + need / 4;
    return status;
}

static cpt_status know_cells(scvi_stepper *s, int64_t n, cpt_err *e)
{
    if (s->n_known == n) return CPT_OK;
    free(s->log_factorial);
    s->log_factorial = NULL;
    cpt_status status = cpt_alloc(&s->log_factorial, (size_t)n, sizeof(double), e);
    s->n_known = status ? 0 : n;
    for (int64_t i = 0; i < s->n_known; i++) s->log_factorial[i] = NAN;
    return status;
}

static void load_cell(scvi_stepper *s, const cpt_counts *counts, int32_t i, int64_t row)
{
    scvi_minibatch *b = &s->batch;
    const int64_t at = b->start[i];
    int32_t n = cpt_counts_row(counts, row, b->genes + at, b->counts + at);
    double sum = 0;
    for (int32_t k = 0; k < n; k++) sum += b->counts[at + k];
    if (isnan(s->log_factorial[row]))
        s->log_factorial[row] = cpt_likelihood_kernels_get()->log_factorials(n, b->counts + at);
    memcpy(b->inputs + at, b->counts + at, sizeof(float) * (size_t)n);
    scvi_inputs(s->model, n, b->inputs + at);
    s->length[i] = n;
    b->library[i] = sum;
    b->log_factorial[i] = s->log_factorial[row];
    b->codes[i] =
        s->model->n_batches > 1 && s->options.batch_codes ? s->options.batch_codes[row] : 0;
}

/* The same entries by gene, cells ascending: counting sort. */
static void sort_by_gene(scvi_stepper *s)
{
    scvi_minibatch *b = &s->batch;
    const int32_t genes = s->model->shape.n_genes;
    memset(b->gene_start, 0, sizeof *b->gene_start * ((size_t)genes + 1));
    for (int32_t i = 0; i < b->n; i++)
        for (int32_t k = 0; k < s->length[i]; k++) b->gene_start[b->genes[b->start[i] + k] + 1]++;
    for (int32_t g = 0; g < genes; g++) b->gene_start[g + 1] += b->gene_start[g];
    for (int32_t i = b->n; i-- > 0;) /* from behind, so that gene_start ends up shifted by itself */
        for (int32_t k = s->length[i]; k-- > 0;) {
            int64_t from = b->start[i] + k, to = --b->gene_start[b->genes[from] + 1];
            b->gene_cells[to] = i;
            b->gene_inputs[to] = b->inputs[from];
        }
    /* gene_start[g + 1] now is where gene g starts */
    int64_t total = 0;
    for (int32_t i = 0; i < b->n; i++) total += s->length[i];
    memmove(b->gene_start, b->gene_start + 1, sizeof *b->gene_start * (size_t)genes);
    b->gene_start[genes] = total;
}

cpt_status scvi_stepper_load(scvi_stepper *s, const cpt_counts *counts, int32_t n,
                             const int64_t *rows, const cpt_context *ctx, cpt_err *e)
{
    scvi_minibatch *b = &s->batch;
    const int64_t *indptr = counts->csr->indptr;
    const int n_threads = cpt_threads(ctx);
    cpt_status status = know_cells(s, counts->csr->n_rows, e);
    if (status) return status;
    b->n = n;
    b->start[0] = 0;
    for (int32_t i = 0; i < n; i++)
        b->start[i + 1] = b->start[i] + indptr[rows[i] + 1] - indptr[rows[i]];
    status = make_room(b, (size_t)b->start[n], e);
    if (status) return status;
#pragma omp parallel for schedule(dynamic, 8) num_threads(n_threads)
    for (int32_t i = 0; i < n; i++) load_cell(s, counts, i, rows[i]);
    return CPT_OK;
}

/* ---- layers ---- */

static size_t at(int32_t row, int32_t width)
{
    return (size_t)row * (size_t)width;
}

/* Sums over rows of x and of x * y (y may be NULL: x * x), into sum and product [width]. */
static void column_sums(int32_t n, int32_t width, const float *x, const float *y, double *sum,
                        double *product)
{
    memset(sum, 0, sizeof *sum * (size_t)width);
    memset(product, 0, sizeof *product * (size_t)width);
    for (int32_t i = 0; i < n; i++) {
        const float *row = x + at(i, width), *other = (y ? y : x) + at(i, width);
        for (int32_t j = 0; j < width; j++) {
            sum[j] += row[j];
            product[j] += (double)row[j] * other[j];
        }
    }
}

/* Batch statistics of x [n][n_out]: normalised in place, running statistics updated. */
static void normalise(scvi_layer *l, layer_pass *p, int32_t n, double *mean, double *variance)
{
    const int32_t width = l->n_out;
    memset(mean, 0, sizeof *mean * (size_t)width);
    memset(variance, 0, sizeof *variance * (size_t)width);
    for (int32_t i = 0; i < n; i++)
        for (int32_t j = 0; j < width; j++) mean[j] += p->normalised[at(i, width) + (size_t)j];
    for (int32_t j = 0; j < width; j++) mean[j] /= n;
    for (int32_t i = 0; i < n; i++)
        for (int32_t j = 0; j < width; j++) {
            double d = p->normalised[at(i, width) + (size_t)j] - mean[j];
            variance[j] += d * d;
        }
    for (int32_t j = 0; j < width; j++) {
        double v = variance[j] / n, unbiased = n > 1 ? variance[j] / (n - 1) : v;
        p->inverse_sd[j] = 1 / sqrt(v + SCVI_BATCH_EPS);
        l->running_mean[j] = (float)((1 - SCVI_BATCH_MOMENTUM) * l->running_mean[j] +
                                     SCVI_BATCH_MOMENTUM * mean[j]);
        l->running_var[j] = (float)((1 - SCVI_BATCH_MOMENTUM) * l->running_var[j] +
                                    SCVI_BATCH_MOMENTUM * unbiased);
    }
    for (int32_t i = 0; i < n; i++)
        for (int32_t j = 0; j < width; j++) {
            float *x = &p->normalised[at(i, width) + (size_t)j];
            *x = (float)((*x - mean[j]) * p->inverse_sd[j]);
        }
    l->n_tracked++;
}

/* From x weight + bias in p->normalised to p->output. `keep` NULL = no dropout. */
static void activate(scvi_stepper *s, scvi_layer *l, layer_pass *p, const float *keep)
{
    const int32_t n = s->batch.n, width = l->n_out;
    normalise(l, p, n, s->column, s->column + width);
    for (int32_t i = 0; i < n; i++) {
        const float *x = p->normalised + at(i, width), *kept = keep ? keep + at(i, width) : NULL;
        float *y = p->output + at(i, width);
        for (int32_t j = 0; j < width; j++) {
            float a = x[j] * l->bn_weight[j] + l->bn_bias[j];
            y[j] = a > 0 ? a : 0;
        }
        for (int32_t j = 0; kept && j < width; j++) y[j] *= kept[j];
    }
}

/* The same with running statistics; x weight + bias in p->output. Uses the derived scale and shift.
 */
static void activate_eval(scvi_stepper *s, const scvi_layer *l, layer_pass *p)
{
    const int32_t n = s->batch.n, width = l->n_out;
    for (int32_t i = 0; i < n; i++)
        for (int32_t j = 0; j < width; j++) {
            float *y = &p->output[at(i, width) + (size_t)j];
            float a = l->scale[j] * (*y - l->bias[j]) + l->shift[j];
            *y = a > 0 ? a : 0;
        }
}

static void fill_rows(int32_t n, int32_t width, const float *row, float *out)
{
    for (int32_t i = 0; i < n; i++) memcpy(out + at(i, width), row, sizeof(float) * (size_t)width);
}

/* out [n][n_out] = in weight + bias */
static void linear(int32_t n, int32_t n_in, int32_t n_out, const float *in, const float *weight,
                   const float *bias, float *out, int n_threads)
{
    fill_rows(n, n_out, bias, out);
    cpt_gemm(false, false, n, n_out, n_in, 1, in, n_in, weight, n_out, 1, out, n_out, n_threads);
}

static void first_layer(scvi_stepper *s, bool training, int n_threads)
{
    const scvi_minibatch *b = &s->batch;
    const scvi_layer *l = &s->model->encoder[0];
    float *out = training ? s->encoder[0].normalised : s->encoder[0].output;
    fill_rows(b->n, l->n_out, l->bias, out);
#pragma omp parallel for schedule(dynamic, 8) num_threads(n_threads)
    for (int32_t i = 0; i < b->n; i++)
        cpt_network_kernels_get()->accumulate(s->length[i], b->genes + b->start[i],
                                              b->inputs + b->start[i], l->weight, l->n_out,
                                              out + at(i, l->n_out));
}

/* p->input of decoder layer i: the rows of `from` [n][width], then the batch one-hot if it has one.
 */
static void decoder_input(const scvi_stepper *s, const scvi_layer *l, layer_pass *p,
                          const float *from, int32_t width)
{
    for (int32_t i = 0; i < s->batch.n; i++) {
        float *row = p->input + at(i, l->n_in);
        memcpy(row, from + at(i, width), sizeof(float) * (size_t)width);
        memset(row + width, 0, sizeof(float) * (size_t)(l->n_in - width));
        if (l->n_in > width) row[width + s->batch.codes[i]] = 1;
    }
}

/* Encoder layers behind the sums of the first, latent moments, a draw of the latent values, decoder layers. */
static void forward(scvi_stepper *s, const scvi_noise *noise, bool training, int n_threads)
{
    cpt_scvi *m = s->model;
    const int32_t n = s->batch.n, h = m->shape.n_hidden, latent = m->shape.n_latent;
    for (int32_t i = 0; i < m->shape.n_layers; i++) {
        layer_pass *p = &s->encoder[i];
        scvi_layer *l = &m->encoder[i];
        float *to = training ? p->normalised : p->output;
        if (i > 0) {
            memcpy(p->input, s->encoder[i - 1].output, sizeof(float) * at(n, h));
            linear(n, h, h, p->input, l->weight, l->bias, to, n_threads);
        }
        if (training)
            activate(s, l, p, noise->dropout ? noise->dropout + at(i, h) * (size_t)n : NULL);
        else activate_eval(s, l, p);
    }
    const float *hidden = s->encoder[m->shape.n_layers - 1].output;
    linear(n, h, latent, hidden, m->mean_weight, m->mean_bias, s->mean, n_threads);
    linear(n, h, latent, hidden, m->var_weight, m->var_bias, s->log_var, n_threads);
    for (size_t k = 0; k < at(n, latent); k++) {
        s->variance[k] = expf(s->log_var[k]) + (float)SCVI_VARIANCE_EPS;
        s->latent[k] = s->mean[k] + (noise->latent ? sqrtf(s->variance[k]) * noise->latent[k] : 0);
    }
    for (int32_t i = 0; i < m->shape.n_layers; i++) {
        layer_pass *p = &s->decoder[i];
        scvi_layer *l = &m->decoder[i];
        decoder_input(s, l, p, i ? s->decoder[i - 1].output : s->latent, i ? h : latent);
        linear(n, l->n_in, h, p->input, l->weight, l->bias, training ? p->normalised : p->output,
               n_threads);
        if (training) activate(s, l, p, NULL);
        else activate_eval(s, l, p);
    }
}

/* ---- heads over genes ---- */

static float *chunk_sum(const scvi_stepper *s, int32_t chunk, int which)
{
    return s->sums + ((size_t)chunk * SUMS + (size_t)which) * (size_t)s->model->shape.n_genes;
}

static int32_t shorter(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

/* Of one head, all cells, genes [first, first + n): values = hidden weight' + bias. */
static void head_values(scvi_stepper *s, int32_t first, int32_t n, const float *weight, const float *bias,
                        float *values)
{
    const cpt_scvi *m = s->model;
    const int32_t h = m->shape.n_hidden;
    cpt_packed packed;
    cpt_pack(CPT_GEMM_F32, n, h, weight + at(first, h), h, 1, s->blocks_of_genes[first / HEAD_BLOCK].packed, &packed);
    cpt_multiply(&packed, s->batch.n, s->decoder[m->shape.n_layers - 1].output, h, values + first, m->shape.n_genes,
                 &(cpt_epilogue){.bias = bias + first});
}

/* Logits become their gradients; losses per cell; sums over the chunk's cells. */
static void chunk_likelihood(scvi_stepper *s, int32_t chunk, int32_t first, int32_t n)
{
    const scvi_minibatch *b = &s->batch;
    const int32_t genes = s->model->shape.n_genes;
    cpt_likelihood_out out = {.scale = 1.0 / b->n,
                              .d_theta = chunk_sum(s, chunk, SUM_THETA),
                              .sum_logits = chunk_sum(s, chunk, SUM_LOGITS),
                              .sum_dropout = chunk_sum(s, chunk, SUM_DROPOUT),
                              .scratch = chunk_sum(s, chunk, SUM_SCRATCH),
                              .nonzero = s->nonzero + (size_t)chunk * 2 * (size_t)genes,
                              .single = s->single + (size_t)chunk * 7 * (size_t)genes};
    memset(out.d_theta, 0, sizeof(float) * 3 * (size_t)genes); /* the first three of SUMS */
    for (int32_t i = first; i < first + n; i++) {
        cpt_cell_counts cell = {s->length[i], b->genes + b->start[i], b->counts + b->start[i],
                                b->library[i], b->log_factorial[i]};
        out.logits = s->logits + at(i, genes);
        out.dropout = s->dropout ? s->dropout + at(i, genes) : NULL;
        s->reconstruction[i] = cpt_likelihood_kernels_get()->cell(&s->tables, &cell, &out);
    }
}

static float *gradient_of(const scvi_stepper *s, const float *parameter)
{
    return s->gradients + (parameter - s->model->parameters);
}

/* out [n_genes] = sum over chunks, times factor (NULL = 1) */
static void add_chunks(const scvi_stepper *s, int which, const float *factor, float *out)
{
    const int32_t genes = s->model->shape.n_genes, n_chunks = (s->batch.n + CHUNK - 1) / CHUNK;
    for (int32_t g = 0; g < genes; g++) {
        double sum = 0;
        for (int32_t c = 0; c < n_chunks; c++) sum += chunk_sum(s, c, which)[g];
        out[g] = (float)(factor ? sum * factor[g] : sum);
    }
}

/* Of one head and the genes of a block: the block's share of d / d last decoder layer (added to what is
 * there if `add`), and the gradient of the block's weights. `slopes` = d / d the head's values. */
static void head_back(scvi_stepper *s, const cpt_packed *hidden, int32_t first, int32_t n, const float *weight,
                      const float *slopes, bool add)
{
    const int32_t h = s->model->shape.n_hidden, genes = s->model->shape.n_genes, cells = s->batch.n;
    head_block *b = &s->blocks_of_genes[first / HEAD_BLOCK];
    cpt_packed packed;
    cpt_pack(CPT_GEMM_F32, h, n, weight + at(first, h), 1, h, b->packed, &packed);
    cpt_multiply(&packed, cells, slopes + first, genes, b->share, h,
                 add ? &(cpt_epilogue){.add = b->share, .add_stride = h} : NULL);
    cpt_network_kernels_get()->turn(cells, n, slopes + first, genes, b->turned, cells);
    cpt_multiply(hidden, n, b->turned, cells, gradient_of(s, weight) + at(first, h), h, NULL);
}

/* d / d last decoder layer: the sum of all blocks' shares, in their order. */
static void add_shares(scvi_stepper *s)
{
    const cpt_scvi *m = s->model;
    const size_t size = at(s->batch.n, m->shape.n_hidden);
    float *restrict to = s->decoder[m->shape.n_layers - 1].gradient;
    memcpy(to, s->blocks_of_genes[0].share, sizeof *to * size);
    for (int32_t b = 1; b * HEAD_BLOCK < m->shape.n_genes; b++) {
        const float *restrict share = s->blocks_of_genes[b].share;
        for (size_t i = 0; i < size; i++) to[i] += share[i];
    }
}

static void heads_gradient(scvi_stepper *s, int n_threads)
{
    const cpt_scvi *m = s->model;
    const int32_t h = m->shape.n_hidden, genes = m->shape.n_genes;
    cpt_packed hidden;
    cpt_pack(CPT_GEMM_F32, h, s->batch.n, s->decoder[m->shape.n_layers - 1].output, 1, h, s->packed_hidden, &hidden);
#pragma omp parallel for schedule(dynamic) num_threads(n_threads)
    for (int32_t first = 0; first < genes; first += HEAD_BLOCK) {
        const int32_t n = shorter(HEAD_BLOCK, genes - first);
        head_back(s, &hidden, first, n, m->scale_weight, s->logits, false);
        if (m->dropout_weight) head_back(s, &hidden, first, n, m->dropout_weight, s->dropout, true);
    }
    add_shares(s);
    add_chunks(s, SUM_LOGITS, NULL, gradient_of(s, m->scale_bias));
    add_chunks(s, SUM_THETA, s->tables.theta, gradient_of(s, m->px_r));
    if (m->dropout_weight) add_chunks(s, SUM_DROPOUT, NULL, gradient_of(s, m->dropout_bias));
}

/* Logits, likelihood, and d / d logits in their place. */
static void heads(scvi_stepper *s, int n_threads)
{
    const cpt_scvi *m = s->model;
    const int32_t n = s->batch.n, genes = m->shape.n_genes, n_chunks = (n + CHUNK - 1) / CHUNK;
#pragma omp parallel num_threads(n_threads)
    {
#pragma omp for schedule(dynamic)
        for (int32_t first = 0; first < genes; first += HEAD_BLOCK) {
            const int32_t size = shorter(HEAD_BLOCK, genes - first);
            head_values(s, first, size, m->scale_weight, m->scale_bias, s->logits);
            if (m->dropout_weight) head_values(s, first, size, m->dropout_weight, m->dropout_bias, s->dropout);
        }
#pragma omp for schedule(dynamic)
        for (int32_t c = 0; c < n_chunks; c++) chunk_likelihood(s, c, c * CHUNK, shorter(CHUNK, n - c * CHUNK));
    }
}

/* ---- the way back ---- */

/* p->gradient: d / d output -> d / d (x weight + bias), and the gradients of the normalisation. */
static void layer_backward(scvi_stepper *s, const scvi_layer *l, layer_pass *p, const float *keep)
{
    const int32_t n = s->batch.n, width = l->n_out;
    double *sum = s->column, *product = sum + width, *bias = product + width,
           *unused = bias + width;
    for (int32_t i = 0; i < n; i++) {
        const float *x = p->normalised + at(i, width), *kept = keep ? keep + at(i, width) : NULL;
        float *d = p->gradient + at(i, width);
        for (int32_t j = 0; j < width; j++)
            d[j] = x[j] * l->bn_weight[j] + l->bn_bias[j] > 0 ? d[j] : 0;
        for (int32_t j = 0; kept && j < width; j++) d[j] *= kept[j];
    }
    column_sums(n, width, p->gradient, p->normalised, sum, product);
    for (int32_t i = 0; i < n; i++)
        for (int32_t j = 0; j < width; j++) {
            float *d = &p->gradient[at(i, width) + (size_t)j];
            double x = p->normalised[at(i, width) + (size_t)j];
            *d = (float)(l->bn_weight[j] * p->inverse_sd[j] * (*d - (sum[j] + x * product[j]) / n));
        }
    column_sums(n, width, p->gradient, NULL, bias, unused);
    for (int32_t j = 0; j < width; j++) {
        gradient_of(s, l->bn_bias)[j] = (float)sum[j];
        gradient_of(s, l->bn_weight)[j] = (float)product[j];
        gradient_of(s, l->bias)[j] = (float)bias[j];
    }
}

/* Gradient of weight [n_in][n_out] and, unless NULL, of the input. */
static void linear_backward(const scvi_stepper *s, int32_t n_in, int32_t n_out, const float *input,
                            const float *d, const float *weight, float beta, float *d_input,
                            int n_threads)
{
    const int32_t n = s->batch.n;
    cpt_gemm(true, false, n_in, n_out, n, 1, input, n_in, d, n_out, 0, gradient_of(s, weight),
             n_out, n_threads);
    if (d_input)
        cpt_gemm(false, true, n, n_in, n_out, 1, d, n_out, weight, n_out, beta, d_input, n_in,
                 n_threads);
}

static void decoder_backward(scvi_stepper *s, int n_threads)
{
    const cpt_scvi *m = s->model;
    const int32_t n = s->batch.n, h = m->shape.n_hidden;
    for (int32_t i = m->shape.n_layers - 1; i >= 0; i--) {
        layer_pass *p = &s->decoder[i];
        const scvi_layer *l = &m->decoder[i];
        layer_backward(s, l, p, NULL);
        linear_backward(s, l->n_in, h, p->input, p->gradient, l->weight, 0, s->d_input, n_threads);
        for (int32_t r = 0; i > 0 && r < n; r++) /* without the one-hot columns */
            memcpy(s->decoder[i - 1].gradient + at(r, h), s->d_input + at(r, l->n_in),
                   sizeof(float) * (size_t)h);
    }
}

/* Through the draw of the latent values and the KL term, to the two encoder heads. */
static void latent_backward(scvi_stepper *s, const scvi_noise *noise, double kl_weight,
                            int n_threads)
{
    const cpt_scvi *m = s->model;
    const int32_t n = s->batch.n, h = m->shape.n_hidden, latent = m->shape.n_latent;
    const int32_t width = m->decoder[0].n_in, top = m->shape.n_layers - 1;
    const double weight = kl_weight / n;
    for (int32_t i = 0; i < n; i++)
        for (int32_t j = 0; j < latent; j++) {
            size_t k = at(i, latent) + (size_t)j;
            double d = s->d_input[at(i, width) + (size_t)j], v = s->variance[k];
            double slope = v - SCVI_VARIANCE_EPS, draw = noise->latent ? noise->latent[k] : 0;
            s->d_mean[k] = (float)(d + weight * s->mean[k]);
            s->d_log_var[k] =
                (float)(slope * (d * draw / (2 * sqrt(v)) + weight * 0.5 * (1 - 1 / v)));
        }
    const float *hidden = s->encoder[top].output;
    float *back = s->encoder[top].gradient;
    linear_backward(s, h, latent, hidden, s->d_mean, m->mean_weight, 0, back, n_threads);
    linear_backward(s, h, latent, hidden, s->d_log_var, m->var_weight, 1, back, n_threads);
    for (int32_t j = 0; j < latent; j++) {
        double mean = 0, log_var = 0;
        for (int32_t i = 0; i < n; i++) {
            mean += s->d_mean[at(i, latent) + (size_t)j];
            log_var += s->d_log_var[at(i, latent) + (size_t)j];
        }
        gradient_of(s, m->mean_bias)[j] = (float)mean;
        gradient_of(s, m->var_bias)[j] = (float)log_var;
    }
}

/* Per gene, over the cells that have it. */
static void first_layer_gradient(scvi_stepper *s, int n_threads)
{
    const scvi_minibatch *b = &s->batch;
    const scvi_layer *l = &s->model->encoder[0];
    float *out = gradient_of(s, l->weight);
#pragma omp parallel for schedule(dynamic) num_threads(n_threads)
    for (int32_t block = 0; block < l->n_in; block += GENE_BLOCK) {
        int32_t end = block + GENE_BLOCK < l->n_in ? block + GENE_BLOCK : l->n_in;
        memset(out + at(block, l->n_out), 0, sizeof(float) * at(end - block, l->n_out));
        for (int32_t g = block; g < end; g++)
            cpt_network_kernels_get()->accumulate(
                (int32_t)(b->gene_start[g + 1] - b->gene_start[g]),
                b->gene_cells + b->gene_start[g], b->gene_inputs + b->gene_start[g],
                s->encoder[0].gradient, l->n_out, out + at(g, l->n_out));
    }
}

static void encoder_backward(scvi_stepper *s, const scvi_noise *noise, int n_threads)
{
    const cpt_scvi *m = s->model;
    const int32_t n = s->batch.n, h = m->shape.n_hidden;
    for (int32_t i = m->shape.n_layers - 1; i >= 0; i--) {
        layer_pass *p = &s->encoder[i];
        layer_backward(s, &m->encoder[i], p,
                       noise->dropout ? noise->dropout + at(i, h) * (size_t)n : NULL);
        if (i > 0)
            linear_backward(s, h, h, p->input, p->gradient, m->encoder[i].weight, 0,
                            s->encoder[i - 1].gradient, n_threads);
    }
    first_layer_gradient(s, n_threads);
}

/* ---- losses ---- */

static double cell_kl(const scvi_stepper *s, int32_t i)
{
    const int32_t latent = s->model->shape.n_latent;
    double kl = 0;
    for (int32_t j = 0; j < latent; j++) {
        double mean = s->mean[at(i, latent) + (size_t)j],
               v = s->variance[at(i, latent) + (size_t)j];
        kl += 0.5 * (v + mean * mean - 1 - log(v));
    }
    return kl;
}

static void add_losses(const scvi_stepper *s, scvi_losses *losses, double *reconstruction,
                       double *kl)
{
    *losses = (scvi_losses){0, 0};
    for (int32_t i = 0; i < s->batch.n; i++) {
        double divergence = cell_kl(s, i);
        losses->reconstruction += s->reconstruction[i];
        losses->kl += divergence;
        if (reconstruction) reconstruction[i] = s->reconstruction[i];
        if (kl) kl[i] = divergence;
    }
}

void scvi_stepper_gradient(scvi_stepper *s, const scvi_noise *noise, double kl_weight,
                           scvi_losses *losses, int n_threads)
{
    first_layer(s, true, n_threads);
    /* As a rule a row of small products and normalisations, too short to share; beside it what is needed later. */
    const scvi_shape *shape = &s->model->shape;
    const bool small = (double)shape->n_layers * shape->n_hidden * shape->n_hidden <= SMALL_LAYERS;
#pragma omp parallel sections num_threads(small && n_threads > 1 ? 2 : 1)
    {
#pragma omp section
        forward(s, noise, true, small ? 1 : n_threads);
#pragma omp section
        {
            cpt_likelihood_kernels_get()->genes(s->model->shape.n_genes, s->model->px_r, &s->tables);
            sort_by_gene(s);
        }
    }
    heads(s, n_threads);
    add_losses(s, losses, NULL, NULL);
    heads_gradient(s, n_threads);
    decoder_backward(s, n_threads);
    latent_backward(s, noise, kl_weight, n_threads);
    encoder_backward(s, noise, n_threads);
}

void scvi_stepper_evaluate(scvi_stepper *s, const scvi_noise *noise, scvi_losses *losses,
                           double *reconstruction, double *kl, int n_threads)
{
    first_layer(s, false, n_threads);
    forward(s, noise, false, n_threads);
    cpt_likelihood_kernels_get()->genes(s->model->shape.n_genes, s->model->px_r, &s->tables);
    heads(s, n_threads);
    add_losses(s, losses, reconstruction, kl);
}

void scvi_stepper_update(scvi_stepper *s, int n_threads)
{
    const cpt_scvi *m = s->model;
    const double beta1 = 0.9, beta2 = 0.999, t = (double)++s->n_steps;
    const cpt_adam_step step = {.rate = (float)(s->options.learning_rate / (1 - pow(beta1, t))),
                                .root = (float)(1 / sqrt(1 - pow(beta2, t))),
                                .beta1 = (float)beta1,
                                .rest1 = (float)(1 - beta1),
                                .beta2 = (float)beta2,
                                .rest2 = (float)(1 - beta2),
                                .eps = (float)s->options.adam_eps,
                                .decay = (float)s->options.weight_decay};
#pragma omp parallel for schedule(static) num_threads(n_threads)
    for (int64_t first = 0; first < m->n_parameters; first += ADAM_BLOCK) {
        int64_t n = m->n_parameters - first < ADAM_BLOCK ? m->n_parameters - first : ADAM_BLOCK;
        cpt_network_kernels_get()->adam(n, &step, m->parameters + first, s->gradients + first,
                                        s->first_moment + first, s->second_moment + first);
    }
}

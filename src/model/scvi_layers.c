/* The layers of scVI in training mode, there and back (models.md 6.4, 6.6).
 *
 * The first layer sums only the genes a cell has: rows of W (forward), and per gene the cells that have it (gradient).
 * Sums over cells are in double where they are not matrix products. */
#include "model/scvi_stepper.h"

#include <math.h>
#include <string.h>

#include "math/blas.h"

enum { GENE_BLOCK = 64 };

static void column_sums(int32_t n, int32_t width, const float *x, const float *y, double *sum,
                        double *product)
{
    memset(sum, 0, sizeof *sum * (size_t)width);
    memset(product, 0, sizeof *product * (size_t)width);
    for (int32_t i = 0; i < n; i++) {
        const float *row = x + scvi_at(i, width), *other = (y ? y : x) + scvi_at(i, width);
        for (int32_t j = 0; j < width; j++) {
            sum[j] += row[j];
            product[j] += (double)row[j] * other[j];
        }
    }
}

/* Batch statistics of x [n][n_out]: normalised in place, running statistics updated. */
static void normalise(scvi_layer *l, scvi_layer_pass *p, int32_t n, double *mean, double *variance)
{
    const int32_t width = l->n_out;
    memset(mean, 0, sizeof *mean * (size_t)width);
    memset(variance, 0, sizeof *variance * (size_t)width);
    for (int32_t i = 0; i < n; i++)
        for (int32_t j = 0; j < width; j++) mean[j] += p->normalised[scvi_at(i, width) + (size_t)j];
    for (int32_t j = 0; j < width; j++) mean[j] /= n;
    for (int32_t i = 0; i < n; i++)
        for (int32_t j = 0; j < width; j++) {
            double d = p->normalised[scvi_at(i, width) + (size_t)j] - mean[j];
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
            float *x = &p->normalised[scvi_at(i, width) + (size_t)j];
            *x = (float)((*x - mean[j]) * p->inverse_sd[j]);
        }
    l->n_tracked++;
}

/* From x weight + bias in p->normalised to p->output. `keep` NULL = no dropout. */
static void activate(scvi_stepper *s, scvi_layer *l, scvi_layer_pass *p, const float *keep)
{
    const int32_t n = s->batch.n, width = l->n_out;
    normalise(l, p, n, s->column, s->column + width);
    for (int32_t i = 0; i < n; i++) {
        const float *x = p->normalised + scvi_at(i, width), *kept = keep ? keep + scvi_at(i, width) : NULL;
        float *y = p->output + scvi_at(i, width);
        for (int32_t j = 0; j < width; j++) {
            float a = x[j] * l->bn_weight[j] + l->bn_bias[j];
            y[j] = a > 0 ? a : 0;
        }
        for (int32_t j = 0; kept && j < width; j++) y[j] *= kept[j];
    }
}

/* The same with running statistics; x weight + bias in p->output. Uses the derived scale and shift.
 */
static void activate_eval(scvi_stepper *s, const scvi_layer *l, scvi_layer_pass *p)
{
    const int32_t n = s->batch.n, width = l->n_out;
    for (int32_t i = 0; i < n; i++)
        for (int32_t j = 0; j < width; j++) {
            float *y = &p->output[scvi_at(i, width) + (size_t)j];
            float a = l->scale[j] * (*y - l->bias[j]) + l->shift[j];
            *y = a > 0 ? a : 0;
        }
}

static void fill_rows(int32_t n, int32_t width, const float *row, float *out)
{
    for (int32_t i = 0; i < n; i++) memcpy(out + scvi_at(i, width), row, sizeof(float) * (size_t)width);
}

/* out [n][n_out] = in weight + bias */
static void linear(int32_t n, int32_t n_in, int32_t n_out, const float *in, const float *weight,
                   const float *bias, float *out, int n_threads)
{
    fill_rows(n, n_out, bias, out);
    cpt_gemm(false, false, n, n_out, n_in, 1, in, n_in, weight, n_out, 1, out, n_out, n_threads);
}

void scvi_sum_first_layer(scvi_stepper *s, bool training, int n_threads)
{
    const scvi_minibatch *b = &s->batch;
    const scvi_layer *l = &s->model->encoder[0];
    float *out = training ? s->encoder[0].normalised : s->encoder[0].output;
    fill_rows(b->n, l->n_out, l->bias, out);
#pragma omp parallel for schedule(dynamic, 8) num_threads(n_threads)
    for (int32_t i = 0; i < b->n; i++)
        cpt_network_kernels_get()->accumulate(s->length[i], b->genes + b->start[i],
                                              b->inputs + b->start[i], l->weight, l->n_out,
                                              out + scvi_at(i, l->n_out));
}

/* p->input of decoder layer i: the rows of `from` [n][width], then the batch one-hot if it has one.
 */
static void decoder_input(const scvi_stepper *s, const scvi_layer *l, scvi_layer_pass *p,
                          const float *from, int32_t width)
{
    for (int32_t i = 0; i < s->batch.n; i++) {
        float *row = p->input + scvi_at(i, l->n_in);
        memcpy(row, from + scvi_at(i, width), sizeof(float) * (size_t)width);
        memset(row + width, 0, sizeof(float) * (size_t)(l->n_in - width));
        if (l->n_in > width) row[width + s->batch.codes[i]] = 1;
    }
}

/* Encoder layers behind the sums of the first, latent moments, a draw of the latent values, decoder layers. */
void scvi_layers_forward(scvi_stepper *s, const scvi_noise *noise, bool training, int n_threads)
{
    cpt_scvi *m = s->model;
    const int32_t n = s->batch.n, h = m->shape.n_hidden, latent = m->shape.n_latent;
    for (int32_t i = 0; i < m->shape.n_layers; i++) {
        scvi_layer_pass *p = &s->encoder[i];
        scvi_layer *l = &m->encoder[i];
        float *to = training ? p->normalised : p->output;
        if (i > 0) {
            memcpy(p->input, s->encoder[i - 1].output, sizeof(float) * scvi_at(n, h));
            linear(n, h, h, p->input, l->weight, l->bias, to, n_threads);
        }
        if (training)
            activate(s, l, p, noise->dropout ? noise->dropout + scvi_at(i, h) * (size_t)n : NULL);
        else activate_eval(s, l, p);
    }
    const float *hidden = s->encoder[m->shape.n_layers - 1].output;
    linear(n, h, latent, hidden, m->mean_weight, m->mean_bias, s->mean, n_threads);
    linear(n, h, latent, hidden, m->var_weight, m->var_bias, s->log_var, n_threads);
    for (size_t k = 0; k < scvi_at(n, latent); k++) {
        s->variance[k] = expf(s->log_var[k]) + (float)SCVI_VARIANCE_EPS;
        s->latent[k] = s->mean[k] + (noise->latent ? sqrtf(s->variance[k]) * noise->latent[k] : 0);
    }
    for (int32_t i = 0; i < m->shape.n_layers; i++) {
        scvi_layer_pass *p = &s->decoder[i];
        scvi_layer *l = &m->decoder[i];
        decoder_input(s, l, p, i ? s->decoder[i - 1].output : s->latent, i ? h : latent);
        linear(n, l->n_in, h, p->input, l->weight, l->bias, training ? p->normalised : p->output,
               n_threads);
        if (training) activate(s, l, p, NULL);
        else activate_eval(s, l, p);
    }
}

/* ---- the way back ---- */

/* p->gradient: d / d output -> d / d (x weight + bias), and the gradients of the normalisation. */
static void layer_backward(scvi_stepper *s, const scvi_layer *l, scvi_layer_pass *p, const float *keep)
{
    const int32_t n = s->batch.n, width = l->n_out;
    double *sum = s->column, *product = sum + width, *bias = product + width,
           *unused = bias + width;
    for (int32_t i = 0; i < n; i++) {
        const float *x = p->normalised + scvi_at(i, width), *kept = keep ? keep + scvi_at(i, width) : NULL;
        float *d = p->gradient + scvi_at(i, width);
        for (int32_t j = 0; j < width; j++)
            d[j] = x[j] * l->bn_weight[j] + l->bn_bias[j] > 0 ? d[j] : 0;
        for (int32_t j = 0; kept && j < width; j++) d[j] *= kept[j];
    }
    column_sums(n, width, p->gradient, p->normalised, sum, product);
    for (int32_t i = 0; i < n; i++)
        for (int32_t j = 0; j < width; j++) {
            float *d = &p->gradient[scvi_at(i, width) + (size_t)j];
            double x = p->normalised[scvi_at(i, width) + (size_t)j];
            *d = (float)(l->bn_weight[j] * p->inverse_sd[j] * (*d - (sum[j] + x * product[j]) / n));
        }
    column_sums(n, width, p->gradient, NULL, bias, unused);
    for (int32_t j = 0; j < width; j++) {
        scvi_gradient_of(s, l->bn_bias)[j] = (float)sum[j];
        scvi_gradient_of(s, l->bn_weight)[j] = (float)product[j];
        scvi_gradient_of(s, l->bias)[j] = (float)bias[j];
    }
}

/* Gradient of weight [n_in][n_out] and, unless NULL, of the input. */
static void linear_backward(const scvi_stepper *s, int32_t n_in, int32_t n_out, const float *input,
                            const float *d, const float *weight, float beta, float *d_input,
                            int n_threads)
{
    const int32_t n = s->batch.n;
    cpt_gemm(true, false, n_in, n_out, n, 1, input, n_in, d, n_out, 0, scvi_gradient_of(s, weight),
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
        scvi_layer_pass *p = &s->decoder[i];
        const scvi_layer *l = &m->decoder[i];
        layer_backward(s, l, p, NULL);
        linear_backward(s, l->n_in, h, p->input, p->gradient, l->weight, 0, s->d_input, n_threads);
        for (int32_t r = 0; i > 0 && r < n; r++) /* without the one-hot columns */
            memcpy(s->decoder[i - 1].gradient + scvi_at(r, h), s->d_input + scvi_at(r, l->n_in),
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
            size_t k = scvi_at(i, latent) + (size_t)j;
            double d = s->d_input[scvi_at(i, width) + (size_t)j], v = s->variance[k];
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
            mean += s->d_mean[scvi_at(i, latent) + (size_t)j];
            log_var += s->d_log_var[scvi_at(i, latent) + (size_t)j];
        }
        scvi_gradient_of(s, m->mean_bias)[j] = (float)mean;
        scvi_gradient_of(s, m->var_bias)[j] = (float)log_var;
    }
}

/* Per gene, over the cells that have it. */
static void first_layer_gradient(scvi_stepper *s, int n_threads)
{
    const scvi_minibatch *b = &s->batch;
    const scvi_layer *l = &s->model->encoder[0];
    float *out = scvi_gradient_of(s, l->weight);
#pragma omp parallel for schedule(dynamic) num_threads(n_threads)
    for (int32_t block = 0; block < l->n_in; block += GENE_BLOCK) {
        int32_t end = block + GENE_BLOCK < l->n_in ? block + GENE_BLOCK : l->n_in;
        memset(out + scvi_at(block, l->n_out), 0, sizeof(float) * scvi_at(end - block, l->n_out));
        for (int32_t g = block; g < end; g++)
            cpt_network_kernels_get()->accumulate(
                (int32_t)(b->gene_start[g + 1] - b->gene_start[g]),
                b->gene_cells + b->gene_start[g], b->gene_inputs + b->gene_start[g],
                s->encoder[0].gradient, l->n_out, out + scvi_at(g, l->n_out));
    }
}

static void encoder_backward(scvi_stepper *s, const scvi_noise *noise, int n_threads)
{
    const cpt_scvi *m = s->model;
    const int32_t n = s->batch.n, h = m->shape.n_hidden;
    for (int32_t i = m->shape.n_layers - 1; i >= 0; i--) {
        scvi_layer_pass *p = &s->encoder[i];
        layer_backward(s, &m->encoder[i], p,
                       noise->dropout ? noise->dropout + scvi_at(i, h) * (size_t)n : NULL);
        if (i > 0)
            linear_backward(s, h, h, p->input, p->gradient, m->encoder[i].weight, 0,
                            s->encoder[i - 1].gradient, n_threads);
    }
    first_layer_gradient(s, n_threads);
}

void scvi_layers_backward(scvi_stepper *s, const scvi_noise *noise, double kl_weight, int n_threads)
{
    decoder_backward(s, n_threads);
    latent_backward(s, noise, kl_weight, n_threads);
    encoder_backward(s, noise, n_threads);
}

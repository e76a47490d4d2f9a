/* The layers of scVI in training mode, there and back (models.md 6.4, 6.6).
 *
 * The first layer sums only the genes a cell has: rows of W (forward); on the way back every cell adds to the rows of its
 * genes, some genes at a time, whose rows stay in the first-level cache. Sums over cells are in double where they are not
 * matrix products. */
#include "model/scvi_stepper.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "math/batch_norm.h"
#include "math/blas.h"

static cpt_batch_norm norm_of(const scvi_stepper *s, const scvi_layer *l, const scvi_layer_pass *p, const float *keep)
{
    return (cpt_batch_norm){s->batch.n, l->n_out, l->bn_weight, l->bn_bias, keep, p->inverse_sd, p->normalised};
}

/* Running statistics and inverse_sd from a batch's mean and sums of squares about it. */
static void take_moments(scvi_layer *l, scvi_layer_pass *p, int32_t n, const double *mean, const double *squares)
{
    for (int32_t j = 0; j < l->n_out; j++) {
        double v = squares[j] / n, unbiased = n > 1 ? squares[j] / (n - 1) : v;
        p->inverse_sd[j] = 1 / sqrt(v + SCVI_BATCH_EPS);
        l->running_mean[j] = (float)((1 - SCVI_BATCH_MOMENTUM) * l->running_mean[j] +
                                     SCVI_BATCH_MOMENTUM * mean[j]);
        l->running_var[j] = (float)((1 - SCVI_BATCH_MOMENTUM) * l->running_var[j] +
                                    SCVI_BATCH_MOMENTUM * unbiased);
    }
    l->n_tracked++;
}

/* From x weight + bias in p->normalised to p->output. `keep` NULL = no dropout. */
static void activate(scvi_stepper *s, scvi_layer *l, scvi_layer_pass *p, const float *keep)
{
    const cpt_batch_norm_kernels *k = cpt_batch_norm_kernels_get();
    const cpt_batch_norm norm = norm_of(s, l, p, keep);
    double *mean = s->column, *squares = mean + l->n_out;
    k->moments(&norm, mean, squares);
    take_moments(l, p, s->batch.n, mean, squares);
    k->forward(&norm, mean, p->output);
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
    const cpt_network_kernels *k = cpt_network_kernels_get();
    fill_rows(b->n, l->n_out, l->bias, out);
#pragma omp parallel for schedule(dynamic, 8) num_threads(n_threads)
    for (int32_t i = 0; i < b->n; i++)
        k->accumulate(b->length[i], b->genes + b->start[i], b->inputs + b->start[i], l->weight, l->n_out,
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
    const cpt_batch_norm norm = norm_of(s, l, p, keep);
    cpt_batch_norm_kernels_get()->backward(&norm, p->gradient, scvi_gradient_of(s, l->bn_weight),
                                           scvi_gradient_of(s, l->bn_bias), scvi_gradient_of(s, l->bias));
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

/* Genes [first, end), which begin and end with units: cell by cell to the rows of the genes it has. */
static void input_block_gradient(scvi_stepper *s, scvi_worker *w, int32_t first, int32_t end)
{
    const cpt_network_kernels *k = cpt_network_kernels_get();
    const scvi_minibatch *b = &s->batch;
    const scvi_layer *l = &s->model->encoder[0];
    const int32_t unit = first / SCVI_UNIT, behind = (end + SCVI_UNIT - 1) / SCVI_UNIT;
    float *rows = l->weight + scvi_at(first, l->n_out), *gradient = scvi_gradient_place(s, w, rows);
    memset(gradient, 0, sizeof *gradient * scvi_at(end - first, l->n_out));
    for (int32_t i = 0; i < b->n; i++) {
        const int32_t *units = b->units + scvi_at(i, s->n_units + 1);
        const int64_t from = b->start[i] + units[unit];
        k->scatter(units[behind] - units[unit], b->genes + from, first, b->inputs + from,
                   s->encoder[0].gradient + scvi_at(i, l->n_out), l->n_out, gradient);
    }
    scvi_learn(s, rows, gradient, scvi_at(end - first, l->n_out));
}

static void first_layer_gradient(scvi_stepper *s, int n_threads)
{
    const int32_t genes = s->model->shape.n_genes;
#pragma omp parallel for schedule(dynamic) num_threads(n_threads)
    for (int32_t first = 0; first < genes; first += SCVI_INPUT_BLOCK)
        input_block_gradient(s, &s->workers[omp_get_thread_num()], first, scvi_shorter(genes, first + SCVI_INPUT_BLOCK));
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

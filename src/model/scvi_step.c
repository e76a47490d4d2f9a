/* One minibatch of scVI: forward in training mode, the gradients of all parameters, Adam.
 *
 * Formulas: models.md 6.4-6.6. The blocks of genes and the order of all sums are fixed, so the result does not depend on
 * the number of threads.
 *
 * Trap: Adam must leave alone what has no gradient (no decay either); such tensors (scvi-tools'
 * unused heads) are not part of the parameters here at all. */
#include "model/scvi_stepper.h"

#include <math.h>

enum { ADAM_BLOCK = 16384 };

static double cell_kl(const scvi_stepper *s, int32_t i)
{
    const int32_t latent = s->model->shape.n_latent;
    double kl = 0;
    for (int32_t j = 0; j < latent; j++) {
        double mean = s->mean[scvi_at(i, latent) + (size_t)j],
               v = s->variance[scvi_at(i, latent) + (size_t)j];
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

/* As many as there is scratch for. */
static int workers(const scvi_stepper *s, int n_threads)
{
    return (size_t)n_threads < s->n_workers ? n_threads : (int)s->n_workers;
}

void scvi_stepper_gradient(scvi_stepper *s, const scvi_noise *noise, double kl_weight,
                           scvi_losses *losses, int n_threads)
{
    const int n = workers(s, n_threads);
    scvi_sum_first_layer(s, true, n);
    scvi_layers_forward(s, noise, true, n);
    scvi_heads_forward(s, n);
    add_losses(s, losses, NULL, NULL);
    scvi_heads_backward(s, n);
    scvi_layers_backward(s, noise, kl_weight, n);
}

void scvi_stepper_evaluate(scvi_stepper *s, const scvi_noise *noise, scvi_losses *losses,
                           double *reconstruction, double *kl, int n_threads)
{
    const int n = workers(s, n_threads);
    scvi_sum_first_layer(s, false, n);
    scvi_layers_forward(s, noise, false, n);
    scvi_heads_forward(s, n);
    add_losses(s, losses, reconstruction, kl);
}

/* ---- Adam ---- */

static cpt_adam_step next_step(scvi_stepper *s)
{
    const double beta1 = 0.9, beta2 = 0.999, t = (double)++s->n_steps;
    return (cpt_adam_step){.rate = (float)(s->options.learning_rate / (1 - pow(beta1, t))),
                           .root = (float)(1 / sqrt(1 - pow(beta2, t))),
                           .beta1 = (float)beta1,
                           .rest1 = (float)(1 - beta1),
                           .beta2 = (float)beta2,
                           .rest2 = (float)(1 - beta2),
                           .eps = (float)s->options.adam_eps,
                           .decay = (float)s->options.weight_decay};
}

void scvi_learn(scvi_stepper *s, float *parameter, const float *gradient, size_t n)
{
    const int64_t at = parameter - s->model->parameters;
    if (!s->learning) return;
    cpt_network_kernels_get()->adam((int64_t)n, s->learning, parameter, gradient, s->first_moment + at,
                                    s->second_moment + at);
}

void scvi_stepper_update(scvi_stepper *s, int n_threads)
{
    const cpt_adam_step step = next_step(s);
    const int64_t n = s->model->n_parameters;
    s->learning = &step;
#pragma omp parallel for schedule(static) num_threads(n_threads)
    for (int64_t first = 0; first < n; first += ADAM_BLOCK)
        scvi_learn(s, s->model->parameters + first, s->gradients + first,
                   (size_t)(n - first < ADAM_BLOCK ? n - first : ADAM_BLOCK));
    s->learning = NULL;
}

/* All parameters but the matrices with a row per gene, which have learned where their gradients were made. */
static void learn_rest(scvi_stepper *s)
{
    const cpt_scvi *m = s->model;
    const int64_t large = (int64_t)m->shape.n_genes * m->shape.n_hidden, end = m->n_parameters;
    const float *const matrices[] = {m->encoder[0].weight, m->scale_weight, m->dropout_weight};
    for (int64_t at = 0; at < end;) {
        int64_t next = end, behind = end; /* the first matrix from here on */
        for (size_t i = 0; i < sizeof matrices / sizeof *matrices; i++) {
            const int64_t from = matrices[i] ? matrices[i] - m->parameters : end;
            if (from < at || from >= next) continue;
            next = from;
            behind = from + large;
        }
        scvi_learn(s, m->parameters + at, s->gradients + at, (size_t)(next - at));
        at = behind;
    }
}

void scvi_stepper_step(scvi_stepper *s, const scvi_noise *noise, double kl_weight, scvi_losses *losses, int n_threads)
{
    const cpt_adam_step step = next_step(s);
    s->learning = &step;
    scvi_stepper_gradient(s, noise, kl_weight, losses, n_threads);
    learn_rest(s);
    s->learning = NULL;
}

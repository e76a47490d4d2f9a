/* One minibatch of scVI: forward in training mode, the gradients of all parameters, Adam.
 *
 * Formulas: models.md 6.4-6.6. The chunks, the blocks of genes and the order of all sums are fixed, so the result does
 * not depend on the number of threads.
 *
 * Trap: Adam must leave alone what has no gradient (no decay either); such tensors (scvi-tools'
 * unused heads) are not part of the parameters here at all. */
#include "model/scvi_stepper.h"

#include <math.h>

enum { ADAM_BLOCK = 16384 };

/* Weights of all layers between up to which one thread does them. */
static const double SMALL_LAYERS = 1 << 16;

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

void scvi_stepper_gradient(scvi_stepper *s, const scvi_noise *noise, double kl_weight,
                           scvi_losses *losses, int n_threads)
{
    scvi_sum_first_layer(s, true, n_threads);
    /* As a rule a row of small products and normalisations, too short to share; beside it what is needed later. */
    const scvi_shape *shape = &s->model->shape;
    const bool small = (double)shape->n_layers * shape->n_hidden * shape->n_hidden <= SMALL_LAYERS;
#pragma omp parallel sections num_threads(small && n_threads > 1 ? 2 : 1)
    {
#pragma omp section
        scvi_layers_forward(s, noise, true, small ? 1 : n_threads);
#pragma omp section
        {
            cpt_likelihood_kernels_get()->genes(s->model->shape.n_genes, s->model->px_r, &s->tables);
            scvi_sort_by_gene(s);
        }
    }
    scvi_heads_forward(s, n_threads);
    add_losses(s, losses, NULL, NULL);
    scvi_heads_backward(s, n_threads);
    scvi_layers_backward(s, noise, kl_weight, n_threads);
}

void scvi_stepper_evaluate(scvi_stepper *s, const scvi_noise *noise, scvi_losses *losses,
                           double *reconstruction, double *kl, int n_threads)
{
    scvi_sum_first_layer(s, false, n_threads);
    scvi_layers_forward(s, noise, false, n_threads);
    cpt_likelihood_kernels_get()->genes(s->model->shape.n_genes, s->model->px_r, &s->tables);
    scvi_heads_forward(s, n_threads);
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

/* scGPT models as objects: options, description, and what the common interface calls. */
#include "model/scgpt_network.h"
#include "model/scgpt_weights.h"

#include <stdlib.h>

#include "base/cpu.h"
#include "base/memory.h"

void cpt_scgpt_options_init(cpt_scgpt_options *o)
{
    *o = (cpt_scgpt_options){.ties = CPT_SCGPT_TIES_LEFT,
                             .overflow = CPT_SCGPT_OVERFLOW_RANDOM,
                             .space = CPT_SCGPT_SPACE_BINS,
                             .max_tokens = 1200,
                             .tie_draws = 1};
}

bool cpt_model_is_scgpt(const cpt_model *m)
{
    return m->ops == &scgpt_ops;
}

const cpt_strings *cpt_scgpt_unknown_tensors(const cpt_model *m)
{
    return &scgpt_of(m)->unknown;
}

cpt_status scgpt_describe(cpt_scgpt *m, cpt_err *e)
{
    static const char *const ties[] = {"to the highest bin", "at random", "as numpy"};
    static const char *const overflow[] = {"a random subset", "the highest counts",
                                           "the first genes", "a random subset as torch"};
    const cpt_scgpt_options *o = &m->options;
    const scgpt_shape *d = &m->shape;
    cpt_text *t = &m->base.description;
    cpt_text_free(t);
    cpt_text_addf(t,
                  "scGPT, %d genes, %d layers, %d heads, %d values; ties in binning go %s, cells "
                  "with more than %d genes keep %s",
                  m->base.n_genes, d->n_layers, d->n_heads, d->width, ties[o->ties],
                  o->max_tokens - 1, overflow[o->overflow]);
    if (o->ties == CPT_SCGPT_TIES_RANDOM && o->tie_draws > 1)
        cpt_text_addf(t, "; embeddings are averaged over %d binnings", o->tie_draws);
    if (o->precision == CPT_SCGPT_BF16)
        cpt_text_addf(t, "; embeddings with products of bfloat16%s",
                      cpt_cpu_level() >= CPT_CPU_AVX512_BF16
                          ? ""
                          : " (emulated: this processor lacks AVX512-BF16)");
    if (m->ignores_batch_norm) cpt_text_add(t, "; its batch normalisation is ignored");
    return cpt_text_status(t, e);
}

cpt_status cpt_scgpt_set_options(cpt_model *base, const cpt_scgpt_options *o, cpt_err *e)
{
    cpt_scgpt *m = (cpt_scgpt *)(void *)base;
    if (!cpt_model_is_scgpt(base))
        return cpt_fail(e, CPT_ERR_USAGE, "%s: options of scGPT for a model that is none",
                        cpt_text_str(&base->description));
    if (o->max_tokens < 2 || o->max_tokens > 1 << 16)
        return cpt_fail(e, CPT_ERR_USAGE,
                        "scGPT: at most %d tokens per cell: 2 to 65536 are possible",
                        o->max_tokens);
    if (o->tie_draws < 1 || o->tie_draws > 1000)
        return cpt_fail(e, CPT_ERR_USAGE, "scGPT: %d binnings per cell: 1 to 1000 are possible",
                        o->tie_draws);
    m->options = *o;
    return scgpt_describe(m, e);
}

cpt_status scgpt_finish(cpt_scgpt *m, cpt_err *e)
{
    const size_t d = (size_t)m->shape.width;
    float values[SCGPT_VALUES], *scratch = NULL;
    cpt_status status;
    for (int32_t v = 0; v < SCGPT_BINS; v++) values[v] = (float)v;
    values[SCGPT_BINS] = m->shape.pad_value;
    scgpt_packs_free(m->packs);
    m->packs = NULL;
    CPT_TRY(scgpt_packs_new(&m->packs, e));
    if (!m->value_table)
        CPT_TRY(cpt_alloc(&m->value_table, SCGPT_VALUES * d, sizeof(float), e));
    CPT_TRY(cpt_alloc(&scratch, SCGPT_VALUES * d, sizeof(float), e));
    scgpt_embed_values(m, SCGPT_VALUES, values, m->value_table, scratch);
    CPT_TRY(scgpt_describe(m, e));
done:
    free(scratch);
    return status;
}

static void free_scgpt(cpt_model *base)
{
    cpt_scgpt *m = (cpt_scgpt *)(void *)base;
    if (!m) return;
    for (size_t i = 0; i < m->n_owned; i++) free(m->owned[i]);
    free(m->owned);
    free(m->layers);
    free(m->token_of);
    free(m->value_table);
    scgpt_weights_free(m->trained);
    scgpt_packs_free(m->packs);
    cpt_strings_free(&m->unknown);
    cpt_strings_free(&m->base.gene_names);
    cpt_text_free(&m->base.description);
    cpt_checkpoint_free(m->file);
    free(m);
}

const cpt_model_ops scgpt_ops = {
    .kind = "scgpt",
    .costly = true,
    .embed = scgpt_embed,
    .profile = scgpt_profile,
    .session_open = scgpt_session_open,
    .session_embedding = scgpt_session_embedding,
    .session_singles = scgpt_session_singles,
    .session_joint = scgpt_session_joint,
    .session_gradient = scgpt_session_gradient,
    .session_screen = scgpt_session_screen,
    .session_free = scgpt_session_free,
    .save = scgpt_save,
    .free = free_scgpt,
};

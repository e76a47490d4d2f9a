/* sae_recipe.c - our recipe and those of the established implementations (method.md, table 2.2).
 *
 * Presets reproduce the objective, the optimiser and the constraints of the named code; sizes, epochs and
 * batch stay the user's. What cannot be carried over is said at the preset. The remedies against dead
 * latents in our own recipe were chosen by measurement: doc/dictionary-calibration.md. */
#include "dictionary/sae_recipe.h"

#include "dictionary/sae.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Ours, for the few dozen concepts of small embeddings: halves of halves. Bussmann et al. (2025) draw the
 * prefixes; a common choice for thousands of latents is 1/32,1/32,1/16,7/8. */
static const char *const DEFAULT_GROUPS = "1/8,1/8,1/4,1/2";

/* dictionary_learning and sparsify: 2e-4 at 2^14 latents, falling with the root of their number. */
static double automatic_rate(int32_t n_concepts)
{
    return 2e-4 / sqrt((double)n_concepts / (1 << 14));
}

/* In narrow embeddings AuxK was seen to make more dead latents than it saved, and revival does its work;
 * in wide ones neither was measured here, and AuxK stays as Gao et al. (2024) have it. */
enum { WIDE = 256 };

static void ours(cpt_sae_recipe *r, int32_t dim)
{
    r->scale_input = true;
    r->init = CPT_SAE_INIT_SPHERE;
    r->decoder_norm = 1;
    r->bias = CPT_SAE_BIAS_MEDIAN;
    r->decoder = CPT_SAE_DECODER_UNIT;
    r->loss = CPT_SAE_LOSS_FVU;
    r->aux = dim >= WIDE ? CPT_SAE_AUX_NORMALISED : CPT_SAE_AUX_NONE;
    r->aux_weight = 1.0 / 32;
    r->learning_rate = automatic_rate(r->n_concepts);
    r->adam_eps = 6.25e-10;
    r->warm_up = 0.05;
    r->decay = 0.2;
    r->clip = 1;
    r->revive = CPT_SAE_REVIVE_RESIDUAL;
    r->revive_encoder = 1;
    r->revive_until = 0.8; /* later leaves no time to settle: R2 falls by up to 0.05 */
    r->revive_rounds = 40;
    r->threshold_start = -1; /* dictionary_learning's 1,000 and 0.999 where training is long enough */
}

/* sparse_autoencoder 4965b94, train.py, with the gradients cleared between steps (as shipped they never
 * are). Dead after 10 million tokens there; after one epoch here. */
static void openai(cpt_sae_recipe *r, int32_t dim)
{
    ours(r, dim);
    r->scale_input = false;
    r->aux = CPT_SAE_AUX_NORMALISED;
    r->loss = CPT_SAE_LOSS_FIXED;
    r->decoder = CPT_SAE_DECODER_UNIT_FIRST;
    r->aux_bias_gradient = true;
    r->k_aux = dim > 3 ? dim / 3 : 1; /* 256 of 768 */
    r->fire_above = 1e-3;
    r->learning_rate = 1e-4;
    r->warm_up = r->decay = r->clip = 0;
    r->revive = CPT_SAE_REVIVE_NONE;
    r->k_start = 0;
}

/* overcomplete a1781af with its plain mean squared error; no bias, no auxiliary loss. */
static void overcomplete(cpt_sae_recipe *r, int32_t dim)
{
    ours(r, dim);
    r->scale_input = false;
    r->init = CPT_SAE_INIT_NOISE;
    r->bias = CPT_SAE_BIAS_ABSENT;
    r->decoder = CPT_SAE_DECODER_IN_FORWARD;
    r->loss = CPT_SAE_LOSS_MEAN;
    r->aux = CPT_SAE_AUX_NONE;
    r->learning_rate = 1e-3; /* the user's there; PyTorch's default */
    r->adam_eps = 1e-8;
    r->warm_up = r->decay = 0;
    r->revive = CPT_SAE_REVIVE_NONE;
    r->k_start = 0;
}

/* SAELens 6, TopKTrainingSAE and its trainer. Dead after 1,000 steps there; after one epoch here. */
static void sae_lens(cpt_sae_recipe *r, int32_t dim)
{
    ours(r, dim);
    r->scale_input = false;
    r->decoder_norm = 0.1;
    r->bias = CPT_SAE_BIAS_ZERO;
    r->decoder = CPT_SAE_DECODER_RESCALED;
    r->loss = CPT_SAE_LOSS_SUM;
    r->aux = CPT_SAE_AUX_SUM;
    r->aux_weight = 1;
    r->aux_negative = true;
    r->learning_rate = 3e-4;
    r->adam_eps = 1e-8;
    r->warm_up = r->decay = 0;
    r->revive = CPT_SAE_REVIVE_NONE;
    r->k_start = 0;
    r->threshold_keep = 0.99;
    r->threshold_start = 0;
    r->threshold_from_zero = true;
}

static const struct {
    const char *name;
    void (*fill)(cpt_sae_recipe *r, int32_t dim);
} presets[] = {{"overcomplete", overcomplete}, {"openai", openai}, {"sae-lens", sae_lens}};
enum { N_PRESETS = sizeof presets / sizeof *presets };

/* ---- Batch-Top-K and Matryoshka ---- */

static cpt_status bad_groups(const char *groups, const char *why, cpt_err *e)
{
    return cpt_fail(e, CPT_ERR_USAGE,
                    "--groups %s: %s; give 2 to %d shares that sum to 1, as in 1/8,1/8,1/4,1/2", groups,
                    why, CPT_SAE_MAX_PREFIXES);
}

/* "0.25" or "1/4" up to a comma or the end; NaN when it is neither. */
static double parse_share(const char *text, char **end)
{
    double share = strtod(text, end);
    if (*end == text) return NAN;
    if (**end == '/') {
        const char *below = *end + 1;
        share /= strtod(below, end);
        if (*end == below) return NAN;
    }
    return **end == ',' || !**end ? share : NAN;
}

/* Shares of the latents -> ends of the prefixes; every group gets at least one latent. */
static cpt_status set_prefixes(cpt_sae_recipe *r, const char *groups, cpt_err *e)
{
    double sum = 0;
    const char *text = groups;
    r->n_prefixes = 0;
    for (bool more = true; more;) {
        char *end;
        double share = parse_share(text, &end);
        if (!(share > 0 && share < 1)) return bad_groups(groups, "not shares between 0 and 1", e);
        if (r->n_prefixes == CPT_SAE_MAX_PREFIXES) return bad_groups(groups, "too many groups", e);
        sum += share;
        int32_t before = r->n_prefixes ? r->prefix_end[r->n_prefixes - 1] : 0;
        int32_t at = (int32_t)lround(fmin(sum, 1) * r->n_concepts);
        r->prefix_end[r->n_prefixes++] = at > before ? at : before + 1;
        more = *end == ',';
        text = end + 1;
    }
    if (r->n_prefixes < 2 || fabs(sum - 1) > 1e-6) return bad_groups(groups, "they do not sum to 1", e);
    if (r->prefix_end[r->n_prefixes - 1] != r->n_concepts)
        return cpt_fail(e, CPT_ERR_USAGE, "--groups %s: %d groups are too many for %d concepts", groups,
                        r->n_prefixes, r->n_concepts);
    return CPT_OK;
}

static cpt_status apply_kind(const cpt_dictionary_options *o, cpt_sae_recipe *r, cpt_err *e)
{
    if (strcmp(o->kind, CPT_SAE_TOPK) == 0) return CPT_OK;
    r->select = CPT_SAE_SELECT_BATCH;
    const bool matryoshka = strcmp(o->kind, CPT_SAE_MATRYOSHKA) == 0;
    /* The budget of the batch goes to large values, and residuals are small: fewer latents die when they are
     * set on the cell itself. Not so with Matryoshka (doc/dictionary-calibration.md). */
    if (r->revive != CPT_SAE_REVIVE_NONE && !matryoshka) r->revive = CPT_SAE_REVIVE_INPUT;
    if (!matryoshka) return CPT_OK;
    return set_prefixes(r, o->groups && *o->groups ? o->groups : DEFAULT_GROUPS, e);
}

const char *cpt_sae_recipe_kind(const cpt_sae_recipe *r)
{
    if (r->n_prefixes > 1) return CPT_SAE_MATRYOSHKA;
    return r->select == CPT_SAE_SELECT_BATCH ? CPT_SAE_BATCHTOPK : CPT_SAE_TOPK;
}

cpt_status cpt_sae_recipe_init(const cpt_dictionary_options *o, int32_t dim, cpt_sae_recipe *out,
                               cpt_err *e)
{
    *out = (cpt_sae_recipe){.n_concepts = o->n_concepts,
                            .k = o->k,
                            .batch = o->batch,
                            .epochs = o->epochs,
                            .beta1 = 0.9,
                            .beta2 = 0.999,
                            .ema = o->ema ? 0.999 : 0};
    int found = o->preset ? -1 : N_PRESETS;
    for (int i = 0; i < N_PRESETS && o->preset; i++)
        if (strcmp(o->preset, presets[i].name) == 0) found = i;
    if (found < 0)
        return cpt_fail(e, CPT_ERR_USAGE,
                        "preset '%s' is not known; presets: overcomplete, openai, sae-lens", o->preset);
    if (found == N_PRESETS) ours(out, dim);
    else presets[found].fill(out, dim);
    if (o->learning_rate > 0) out->learning_rate = o->learning_rate;
    return apply_kind(o, out, e);
}

double cpt_sae_schedule(const cpt_sae_recipe *r, int64_t s, int64_t n)
{
    double warm = floor(r->warm_up * (double)n), tail = floor(r->decay * (double)n), factor = 1;
    if ((double)s + 1 < warm) factor = ((double)s + 1) / warm;
    double left = (double)(n - s);
    if (left < tail) factor = fmin(factor, left / tail);
    return factor;
}

int32_t cpt_sae_k_at(const cpt_sae_recipe *r, int64_t s, int64_t n)
{
    if (r->k_start <= r->k) return r->k;
    double share = (double)s / (r->k_anneal * (double)n);
    if (!(share < 1)) return r->k;
    return r->k_start - (int32_t)floor(share * (r->k_start - r->k + 1));
}

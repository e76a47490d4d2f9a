#include "trust/evaluate.h"
#include "report/report.h"
#include "study/store.h"

#include <math.h>
#include <string.h>

/* `summary`: one paragraph that a biologist can quote. Plain text; a sentence per part, and none
 * where a part was skipped. What speaks against the study is said as plainly as what speaks for it.
 */

static double at(const json_t *root, const char *a, const char *b, const char *c)
{
    return cpt_report_json(root, a, b, c);
}

static void add_p(cpt_text *t, double p)
{
    if (p < 0.001) cpt_text_add(t, "p < 0.001");
    else cpt_text_addf(t, "p = %.2g", p);
}

static void add_reconstruction(cpt_text *t, const json_t *e)
{
    const json_t *r = json_object_get(e, "reconstruction");
    const double r2 = at(r, "validation", "r2_feature", NULL), n = at(r, "validation", "n", NULL);
    if (!isfinite(r2)) return;
    cpt_text_addf(
        t,
        "On %.0f cells kept out of training the dictionary reproduces %.1f %% of the embedding's "
        "variance with %.1f concepts active per cell. ",
        n, 100 * r2, at(r, "validation", "l0", NULL));
}

static void add_probe(cpt_text *t, const json_t *e)
{
    static const char *const few[] = {"concepts_1", "concepts_5", "concepts_10", "concepts_20"};
    static const int n_few[] = {1, 5, 10, 20};
    const json_t *p = json_object_get(json_object_get(e, "probing"), "label");
    const double embedding = at(p, "embedding", "accuracy", "mean"),
                 concepts = at(p, "concepts", "accuracy", "mean"),
                 d = at(p, "concepts", "accuracy_less_embedding", "mean"),
                 sd = at(p, "concepts", "accuracy_less_embedding", "sd");
    if (!isfinite(concepts)) return;
    const char *column = json_string_value(json_object_get(p, "column"));
    cpt_text_addf(
        t,
        "From all concepts a linear classifier names %s (%.0f classes) right in %.1f %% of cells "
        "it "
        "has not seen%s, from the whole embedding in %.1f %% (difference %+.1f points, sd over "
        "folds %.1f), and %.1f %% are right by always naming the commonest. ",
        column ? column : "the label", at(p, "classes", NULL, NULL), 100 * concepts,
        json_is_true(json_object_get(p, "grouped_by_donor")) ? " (donors kept apart)" : "",
        100 * embedding, 100 * d, 100 * sd, 100 * at(p, "majority", "accuracy", NULL));
    for (int i = 0; i < 4; i++) {
        const double x = at(p, few[i], "accuracy", "mean");
        if (!(x >= embedding - 0.01)) continue;
        cpt_text_addf(t, "The best %d concepts come within one point of the embedding. ", n_few[i]);
        return;
    }
    const double best20 = at(p, "concepts_20", "accuracy", "mean");
    if (isfinite(best20)) cpt_text_addf(t, "The best 20 concepts reach %.1f %%. ", 100 * best20);
}

static void add_phases(cpt_text *t, const json_t *e)
{
    const json_t *p = json_object_get(json_object_get(e, "probing"), "cell_cycle");
    const double embedding = at(p, "embedding", "macro_f1", "mean"),
                 concepts = at(p, "concepts", "macro_f1", "mean"),
                 null = at(p, "majority", "macro_f1", NULL);
    if (!isfinite(concepts)) return;
    cpt_text_addf(t,
                  "Cell cycle phases are read off concepts with a macro F1 of %.2f, off the "
                  "embedding with %.2f "
                  "(always naming the commonest: %.2f)%s. ",
                  concepts, embedding, null,
                  embedding < null + 0.1
                      ? ": the embedding hardly holds them, or these cells hardly divide"
                      : "");
}

static void add_purity(cpt_text *t, const json_t *e)
{
    const json_t *p =
        json_object_get(json_object_get(json_object_get(e, "purity"), "best_by_label"), "f1");
    const double c = at(p, "mean_concepts", NULL, NULL), n = at(p, "mean_neurons", NULL, NULL);
    if (!isfinite(c) || !isfinite(n)) return;
    cpt_text_addf(
        t,
        "Label by label, the best single concept reaches a mean F1 of %.2f and the best single "
        "neuron %.2f (%.0f labels, ",
        c, n, at(p, "n_labels", NULL, NULL));
    add_p(t, at(p, "p", NULL, NULL));
    cpt_text_add(t, "). ");
}

static void add_stability(cpt_text *t, const json_t *e)
{
    const json_t *s = json_object_get(e, "stability"), *d = json_object_get(s, "decoder"),
                 *a = json_object_get(s, "activation");
    const double mean = at(a, "correlation", "mean", NULL),
                 null = at(a, "null", "correlation", "mean"),
                 cosine = at(d, "cosine", "mean", NULL), n = at(s, "n_seeds", NULL, NULL),
                 z = at(json_object_get(d, "null"), "random_covariance", "z", NULL);
    if (!isfinite(mean)) return;
    cpt_text_addf(
        t,
        "Across %.0f trainings with different seeds, matched concepts agree with a mean "
        "correlation "
        "of activations of %.2f (random dictionaries: %.2f) and a mean cosine of directions of "
        "%.2f (random directions with the embedding's covariance: %.2f). ",
        n, mean, null, cosine,
        at(json_object_get(d, "null"), "random_covariance", "cosine", "mean"));
    const double null_sd = at(a, "null", "correlation", "sd");
    const bool active = mean > null + 2 * null_sd, along = z > 2;
    if (active && along) cpt_text_add(t, "Both are above chance. ");
    else if (active) cpt_text_add(t, "By activity that is above chance, by direction it is not. ");
    else if (along) cpt_text_add(t, "By direction that is above chance, by activity it is not. ");
    else
        cpt_text_add(t,
                     "Neither is above chance: rely on single concepts that are stable, not on the "
                     "dictionary as a whole. ");
}

static void add_faithfulness(cpt_text *t, const json_t *e)
{
    const json_t *f = json_object_get(e, "faithfulness"), *areas = json_object_get(f, "area"),
                 *less = json_object_get(f, "attribution_less");
    const double attribution = at(areas, "attribution", "mean", NULL),
                 expression = at(areas, "expression", "mean", NULL),
                 absolute = at(areas, "expression_abs", "mean", NULL);
    if (!isfinite(attribution)) return;
    const char *better = absolute > expression ? "expression_abs" : "expression";
    const double n = at(f, "n_concepts", NULL, NULL),
                 behind = (double)json_array_size(json_object_get(f, "attribution_does_not_lead"));
    cpt_text_addf(
        t,
        "When the top genes of a ranking are swapped together in cells that took no part in "
        "ranking "
        "them, the activation falls by %.0f %% on average over list lengths from 1 to 200 with "
        "attribution (95 %% interval %.0f to %.0f), %.0f %% with differential expression and %.0f "
        "%% "
        "with random genes; attribution %s differential expression (",
        100 * attribution, 100 * at(areas, "attribution", "low", NULL),
        100 * at(areas, "attribution", "high", NULL), 100 * fmax(expression, absolute),
        100 * at(areas, "random", "mean", NULL),
        at(less, better, "mean", NULL) > 0 ? "leads" : "does not lead");
    add_p(t, at(less, better, "p", NULL));
    cpt_text_addf(t, ", %.0f concepts)", n);
    if (behind > 0) cpt_text_addf(t, ", though not for %.0f of them", behind);
    cpt_text_add(t, ". ");
}

static void add_noise(cpt_text *t, const json_t *e, double cutoff)
{
    const json_t *n = json_object_get(e, "noise_floor"), *sources = json_object_get(n, "sources"),
                 *cut = json_object_get(
                     json_object_get(json_object_get(n, "cutoff_for_5_percent_false"),
                                     "random_dictionary"),
                     "all");
    const double below = at(sources, "random_directions", "share_below_cutoff", NULL),
                 own = at(sources, "concepts", "share_below_cutoff", NULL),
                 by_call = at(cut, "by_call", NULL, NULL);
    if (!isfinite(own)) return;
    cpt_text_addf(
        t, "The cut-off of %g on |attribution| lies above %.2f %% of the attributions of concepts",
        cutoff, floor(1e4 * own) / 100);
    if (isfinite(below))
        cpt_text_addf(t, " and %.2f %% of those of random directions", floor(1e4 * below) / 100);
    if (isfinite(by_call))
        cpt_text_addf(t,
                      "; 5 %% of the genes called are expected to be false at a cut-off of %.2g "
                      "(random dictionary)",
                      by_call);
    cpt_text_add(t, ". ");
}

static void add_flags(cpt_text *t, const json_t *e)
{
    static const struct {
        const char *flag, *one, *many;
    } words[] = {
        {"dead", "is dead", "are dead"},
        {"dense", "is active in most cells", "are active in most cells"},
        {"rare", "is rare", "are rare"},
        {"one_donor", "comes from one donor", "come from one donor each"},
        {"one_batch", "comes from one batch", "come from one batch each"},
        {"confounded", "has confounded counterfactuals", "have confounded counterfactuals"},
        {"fragile", "has a fragile best term", "have a fragile best term"},
        {"unstable", "is unstable", "are unstable"}};
    const json_t *counts = json_object_get(json_object_get(e, "flags"), "counts");
    bool any = false;
    cpt_text_addf(t, "Of %.0f concepts ", at(e, "flags", "n", NULL));
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        const double n = at(counts, words[i].flag, NULL, NULL);
        if (!(n > 0)) continue;
        cpt_text_addf(t, "%s%.0f %s", any ? ", " : "", n, n > 1 ? words[i].many : words[i].one);
        any = true;
    }
    cpt_text_add(t, any ? "." : "none carries a flag.");
}

cpt_status cpt_words_json(const cpt_study *s, const json_t *evaluation, json_t **out, cpt_err *e)
{
    cpt_text t = {0};
    add_reconstruction(&t, evaluation);
    add_probe(&t, evaluation);
    add_phases(&t, evaluation);
    add_purity(&t, evaluation);
    add_stability(&t, evaluation);
    add_faithfulness(&t, evaluation);
    add_noise(&t, evaluation, cpt_options_number(s->options, "cutoff"));
    add_flags(&t, evaluation);
    cpt_status status = cpt_text_status(&t, e);
    if (status == CPT_OK) *out = json_string(cpt_text_str(&t));
    cpt_text_free(&t);
    return status;
}

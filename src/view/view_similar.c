#include "base/memory.h"
#include "io/json_value.h"
#include "view/view.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Concepts like this one, here and in other studies, and what speaks for and against trusting it.
 */

/* ---- similar ---- */

static cpt_status put_coactive(const cpt_view *v, cpt_jot *j, int32_t concept, cpt_err *e)
{
    int32_t others[CPT_SIMILAR];
    double numbers[3 * CPT_SIMILAR];
    cpt_status status = CPT_OK;
    cpt_jot_key(j, "coactive");
    cpt_jot_open(j, '[');
    if (v->index.have_coactive) {
        CPT_TRY(cpt_array_row(&v->index.coactive, concept, others, e));
        CPT_TRY(cpt_array_row(&v->index.coactive_numbers, concept, numbers, e));
        for (int i = 0; i < CPT_SIMILAR && others[i] >= 0 && others[i] < v->n_concepts; i++) {
            cpt_jot_open(j, '{');
            cpt_jot_put_integer(j, "concept", others[i]);
            cpt_jot_put_number(j, "jaccard", numbers[3 * i]);
            cpt_jot_put_number(j, "correlation", numbers[3 * i + 1]);
            cpt_jot_put_number(j, "both", numbers[3 * i + 2]);
            cpt_jot_close(j, '}');
        }
    }
    cpt_jot_close(j, ']');
done:
    return status;
}

static cpt_status put_alike(const cpt_view *v, cpt_jot *j, const char *key,
                            const cpt_array *concepts, const cpt_array *cosine, int32_t concept,
                            cpt_err *e)
{
    int32_t others[CPT_SIMILAR];
    float values[CPT_SIMILAR];
    cpt_status status = CPT_OK;
    cpt_jot_key(j, key);
    cpt_jot_open(j, '[');
    if (cpt_array_is_open(concepts)) {
        CPT_TRY(cpt_array_row(concepts, concept, others, e));
        CPT_TRY(cpt_array_row(cosine, concept, values, e));
        for (int i = 0; i < CPT_SIMILAR && others[i] >= 0 && others[i] < v->n_concepts; i++) {
            cpt_jot_open(j, '{');
            cpt_jot_put_integer(j, "concept", others[i]);
            cpt_jot_put_number(j, "cosine", (double)values[i]);
            cpt_jot_close(j, '}');
        }
    }
    cpt_jot_close(j, ']');
done:
    return status;
}

cpt_status cpt_view_similar(const cpt_view *v, int32_t concept, char **json, cpt_err *e)
{
    const cpt_index_files *f = &v->index;
    cpt_jot j = {0};
    cpt_status status;
    CPT_TRY(cpt_view_need_concept(v, concept, e));
    CPT_TRY(cpt_view_need_index(v, e));
    cpt_jot_open(&j, '{');
    CPT_TRY(put_coactive(v, &j, concept, e));
    CPT_TRY(put_alike(v, &j, "genes", &f->genes_like, &f->genes_cosine, concept, e));
    CPT_TRY(put_alike(v, &j, "decoder", &f->decoder_like, &f->decoder_cosine, concept, e));
    cpt_jot_key(&j, "matched");
    cpt_view_put_matched(v, &j, concept);
    cpt_jot_close(&j, '}');
done:
    if (status == CPT_OK) return cpt_jot_take(&j, json, e);
    cpt_jot_drop(&j);
    return status;
}

/* ---- trust ---- */

static const json_t *at(const json_t *from, const char *const *path)
{
    for (; *path; path++) from = json_object_get(from, *path);
    return from;
}
#define AT(from, ...) at(from, (const char *const[]){__VA_ARGS__, NULL})

/* Mean cosine with the matched rows of dictionaries of other seeds, beside the mean of random rows
 * with the embedding's covariance: what matching alone reaches. */
static void put_stability(const cpt_view *v, cpt_jot *j, int32_t concept,
                          const cpt_concept_facts *f)
{
    const json_t *all = AT(v->evaluation, "stability");
    cpt_jot_key(j, "stability");
    if (isnan(f->stability)) {
        cpt_jot_null(j);
        return;
    }
    cpt_jot_open(j, '{');
    cpt_jot_put_number(j, "cosine", f->stability);
    cpt_jot_put_number(j, "sd", NAN);
    cpt_jot_put_number(j, "n", cpt_json_double(json_object_get(all, "n_seeds")));
    cpt_jot_put_number(
        j, "null_mean",
        cpt_json_double(AT(all, "decoder", "null", "random_covariance", "cosine", "mean")));
    cpt_jot_put_number(
        j, "activation",
        cpt_json_double(json_array_get(AT(all, "activation", "by_concept"), (size_t) concept)));
    cpt_jot_put_number(j, "activation_null_mean",
                       cpt_json_double(AT(all, "activation", "null", "correlation", "mean")));
    cpt_jot_close(j, '}');
}

static void put_numbers(cpt_jot *j, const json_t *list)
{
    size_t i;
    json_t *x;
    cpt_jot_open(j, '[');
    json_array_foreach((json_t *)(uintptr_t)list, i, x) cpt_jot_number(j, cpt_json_double(x));
    cpt_jot_close(j, ']');
}

static void put_faithfulness(const cpt_view *v, cpt_jot *j, int32_t concept)
{
    const json_t *all = AT(v->evaluation, "faithfulness"),
                 *own = v->faithful ? v->faithful[concept] : NULL;
    const char *key;
    json_t *value;
    cpt_jot_key(j, "faithfulness");
    if (!own) {
        cpt_jot_null(j);
        return;
    }
    cpt_jot_open(j, '{');
    cpt_jot_key(j, "m");
    put_numbers(j, json_object_get(all, "sizes"));
    cpt_jot_key(j, "curves");
    cpt_jot_open(j, '{');
    json_object_foreach(json_object_get(all, "curve"), key, value)
    {
        cpt_jot_key(j, key);
        put_numbers(j, json_object_get(value, "mean"));
    }
    cpt_jot_close(j, '}');
    cpt_jot_put_text(j, "curves_of", "study");
    cpt_jot_key(j, "areas");
    cpt_jot_open(j, '{');
    json_object_foreach(json_object_get(own, "area"), key, value)
        cpt_jot_put_number(j, key, cpt_json_double(value));
    cpt_jot_close(j, '}');
    cpt_jot_put_number(j, "pairs", cpt_json_double(json_object_get(own, "n_pairs")));
    cpt_jot_close(j, '}');
}

/* |mean attribution| of the concept's genes against the noise: how many are beyond its 95 %. */
static cpt_status put_noise(const cpt_view *v, cpt_jot *j, int32_t concept, cpt_err *e)
{
    const json_t *quantiles = AT(v->evaluation, "noise_floor", "abs_mean_attribution");
    double limit = cpt_json_double(json_object_get(quantiles, "q95"));
    const char *key;
    json_t *value;
    float *mean = NULL;
    int64_t above = 0;
    cpt_status status = CPT_OK;
    cpt_jot_key(j, "noise");
    if (!v->have_attribution || !quantiles) {
        cpt_jot_null(j);
        return CPT_OK;
    }
    CPT_TRY(cpt_alloc(&mean, (size_t)v->n_genes, sizeof *mean, e));
    CPT_TRY(cpt_array_row(&v->attribution[A_MEAN], concept, mean, e));
    for (int32_t g = 0; g < v->n_genes; g++) above += fabs((double)mean[g]) > limit;
    cpt_jot_open(j, '{');
    cpt_jot_put_number(j, "cutoff", cpt_options_number(v->study->options, "cutoff"));
    cpt_jot_key(j, "quantiles");
    cpt_jot_open(j, '{');
    json_object_foreach((json_t *)(uintptr_t)quantiles, key, value)
        cpt_jot_put_number(j, key, cpt_json_double(value));
    cpt_jot_close(j, '}');
    cpt_jot_put_integer(j, "above", above);
    cpt_jot_close(j, '}');
done:
    free(mean);
    return status;
}

/* Entry of this concept in every list and every object keyed by concepts that lies in a part of
 * evaluation.json, by its path: {"GO_BP.attribution.recall": 0.4}. Parts grow; pages list what
 * there is. */
static void put_entries(cpt_jot *j, const json_t *part, const char *path, int32_t concept,
                        int32_t n_concepts, int depth)
{
    const char *key;
    json_t *value;
    char inner[256];
    json_object_foreach((json_t *)(uintptr_t)part, key, value)
    {
        if (snprintf(inner, sizeof inner, "%s%s%s", path, *path ? "." : "", key) >=
            (int)sizeof inner)
            continue;
        if (json_is_object(value) && depth < 6)
            put_entries(j, value, inner, concept, n_concepts, depth + 1);
        if (!json_is_array(value) || json_array_size(value) != (size_t)n_concepts) continue;
        const json_t *x = json_array_get(value, (size_t) concept);
        if (json_is_number(x)) cpt_jot_put_number(j, inner, json_number_value(x));
        else if (json_is_boolean(x)) {
            cpt_jot_key(j, inner);
            cpt_jot_bool(j, json_is_true(x));
        }
    }
}

static void put_part(const cpt_view *v, cpt_jot *j, const char *key, const char *part,
                     int32_t concept)
{
    const json_t *from = json_object_get(v->evaluation, part);
    cpt_jot_key(j, key);
    if (!json_is_object(from)) {
        cpt_jot_null(j);
        return;
    }
    cpt_jot_open(j, '{');
    put_entries(j, from, "", concept, v->n_concepts, 0);
    cpt_jot_close(j, '}');
}

cpt_status cpt_view_trust(const cpt_view *v, int32_t concept, char **json, cpt_err *e)
{
    cpt_concept_facts f;
    cpt_jot j = {0};
    cpt_status status;
    CPT_TRY(cpt_view_need_concept(v, concept, e));
    cpt_view_facts(v, concept, &f);
    cpt_jot_open(&j, '{');
    cpt_jot_key(&j, "flags");
    cpt_view_put_flags(&j, &f);
    put_stability(v, &j, concept, &f);
    put_faithfulness(v, &j, concept);
    CPT_TRY(put_noise(v, &j, concept, e));
    put_part(v, &j, "fragile", "completeness", concept);
    put_part(v, &j, "controls", "controls", concept);
    cpt_jot_close(&j, '}');
done:
    if (status == CPT_OK) return cpt_jot_take(&j, json, e);
    cpt_jot_drop(&j);
    return status;
}

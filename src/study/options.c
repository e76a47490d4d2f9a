#include "base/memory.h"
#include "base/text.h"
#include "conceptome.h"
#include "study/study.h"

#include <assert.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The table of all options, and a set of values for them.
 *
 * A value is kept as text, checked when it is set; typed access parses it again, which cannot fail.
 * "Given" remembers that a value was set by someone, so that a --config file never overrides the
 * command line and a study's recorded options stay where nothing new was said. */

#define NONE -HUGE_VAL, HUGE_VAL

static const cpt_option_info table[] = {
    {"seed", "common", CPT_OPTION_INTEGER, "0", "N", 0, 9e15,
     "every random number derives from it: same seed, same bytes"},
    /* cells */
    {"layer", "cells", CPT_OPTION_TEXT, "", "NAME", NONE,
     "where the counts are: X, raw, or a layer's name (default: found and said)"},
    {"label", "cells", CPT_OPTION_TEXT, "", "COL", NONE,
     "obs column with cell types, for composition and scores (default: cell_type when there)"},
    {"donor", "cells", CPT_OPTION_TEXT, "", "COL", NONE,
     "obs column with donors: validation cells are whole donors, warnings on concentration"},
    {"batch", "cells", CPT_OPTION_TEXT, "", "COL", NONE,
     "obs column that scVI corrects for when it is trained here"},
    /* model */
    {"model", "model", CPT_OPTION_TEXT, "scvi", "MODEL", NONE,
     "scvi or scgpt (trained here), a model file or folder, obsm:KEY or FILE.npy (fixed embedding)"},
    {"genes", "model", CPT_OPTION_INTEGER, "4000", "N", 0, 1e6,
     "highly variable genes to train on, by analytic Pearson residuals; 0 = all (scGPT: 1200)"},
    {"latent", "model", CPT_OPTION_INTEGER, "10", "N", 1, 4096, "scVI: latent dimensions"},
    {"layers", "model", CPT_OPTION_INTEGER, "1", "N", 1, 64,
     "scVI: hidden layers, at most 8; scGPT: transformer layers (4)"},
    {"hidden", "model", CPT_OPTION_INTEGER, "128", "N", 1, 8192, "scVI: units of a hidden layer"},
    {"likelihood", "model", CPT_OPTION_CHOICE, "nb", "nb|zinb", NONE,
     "scVI: count distribution (scvi-tools' own default is zinb; nb suits UMI counts)"},
    {"epochs", "model", CPT_OPTION_INTEGER, "-1", "N", -1, 1e6,
     "passes over the cells; 0 = scvi-tools' rule, 400 below 20,000 cells; -1 = at most 60 of them (scGPT: 8; 0 = "
     "untrained)"},
    {"kl-warmup", "model", CPT_OPTION_INTEGER, "400", "N", 0, 1e6,
     "scVI: epochs until the KL term has full weight (as scvi-tools, also when epochs are fewer)"},
    {"early-stopping", "model", CPT_OPTION_FLAG, "no", "", NONE,
     "scVI: stop when the validation ELBO has not improved for 45 epochs"},
    {"embsize", "model", CPT_OPTION_INTEGER, "128", "N", 1, 8192,
     "scGPT: size of the embedding, a multiple of the heads"},
    {"heads", "model", CPT_OPTION_INTEGER, "4", "N", 1, 256, "scGPT: attention heads"},
    {"max-length", "model", CPT_OPTION_INTEGER, "129", "N", 3, 65536,
     "scGPT: tokens per cell in training, <cls> included; more genes are drawn anew each epoch"},
    {"mask-ratio", "model", CPT_OPTION_NUMBER, "0.4", "X", 0.01, 0.99,
     "scGPT: share of a cell's genes whose values are hidden and predicted"},
    {"mvc-weight", "model", CPT_OPTION_NUMBER, "1", "X", 0, 1e6,
     "scGPT: weight of predicting genes from the cell's embedding"},
    {"batch-size", "model", CPT_OPTION_INTEGER, "8", "N", 1, 65536, "scGPT: cells per step"},
    {"learning-rate", "model", CPT_OPTION_NUMBER, "0.001", "X", 1e-9, 1,
     "scGPT: highest learning rate of Adam"},
    {"dropout", "model", CPT_OPTION_NUMBER, "0", "X", 0, 0.9, "scGPT: dropout in training"},
    {"gene-aliases", "model", CPT_OPTION_FLAG, "no", "", NONE,
     "find genes of a loaded model that the input names by an old symbol, too"},
    {"ties", "model", CPT_OPTION_CHOICE, "left", "left|random|numpy", NONE,
     "scGPT: bin of a count that lies on several edges; left needs no chance, numpy repeats scGPT's"},
    {"tie-draws", "model", CPT_OPTION_INTEGER, "1", "N", 1, 1000,
     "scGPT with --ties random: embeddings are the mean over so many binnings"},
    {"max-tokens", "model", CPT_OPTION_INTEGER, "1200", "N", 2, 65536,
     "scGPT: most tokens of a cell, <cls> included"},
    {"overflow", "model", CPT_OPTION_CHOICE, "random", "random|top|first|torch", NONE,
     "scGPT: which genes a cell with more of them keeps (top: highest counts; torch repeats scGPT's)"},
    {"precision", "model", CPT_OPTION_CHOICE, "f32", "f32|bf16", NONE,
     "scGPT: products of embeddings; bf16 for processors with AMX or AVX512-BF16. Attribution is f32"},
    /* dictionary */
    {"dictionary", "dictionary", CPT_OPTION_TEXT, "topk", "NAME", NONE,
     "topk, batchtopk, matryoshka, pca, ica, nmf, neurons, random, or the folder of a trained "
     "dictionary"},
    {"preset", "dictionary", CPT_OPTION_CHOICE, "", "overcomplete|openai|sae-lens", NONE,
     "training recipe of that implementation instead of ours"},
    {"expansion", "dictionary", CPT_OPTION_INTEGER, "0", "E", 0, 4096,
     "concepts per embedding dimension; 0 = 4 up to 64 dimensions, 8 from 256, else 16"},
    {"concepts", "dictionary", CPT_OPTION_INTEGER, "0", "F", 0, 1e6,
     "number of concepts, instead of an expansion"},
    {"k", "dictionary", CPT_OPTION_INTEGER, "0", "K", 0, 4096,
     "active concepts per cell (batchtopk, matryoshka: on average); 0 = by dimension, at most half "
     "of it"},
    {"groups", "dictionary", CPT_OPTION_TEXT, "", "SHARES", NONE,
     "matryoshka: shares of the concepts in its groups, which sum to 1; default 1/8,1/8,1/4,1/2"},
    {"dictionary-epochs", "dictionary", CPT_OPTION_INTEGER, "0", "N", 0, 1e6,
     "passes over the embedding; 0 = 20 to 200 so that at least 5,000 steps are made"},
    {"ema", "dictionary", CPT_OPTION_FLAG, "no", "", NONE,
     "average the weights over steps (0.999)"},
    {"validation", "dictionary", CPT_OPTION_NUMBER, "0.1", "SHARE", 0, 0.5,
     "share of cells (or donors) kept out of the dictionary's training"},
    /* attribution */
    {"prototypes", "attribution", CPT_OPTION_INTEGER, "32", "N", 1, 10000,
     "cells with the largest activation, per concept"},
    {"prototype-choice", "attribution", CPT_OPTION_CHOICE, "top", "top|quantiles|donors", NONE,
     "how prototypes are chosen among the active cells"},
    {"counterfactuals", "attribution", CPT_OPTION_INTEGER, "1", "M", 1, 100,
     "nearest inactive cells per prototype (the paper: 1; 5 guards against odd neighbours)"},
    {"match", "attribution", CPT_OPTION_TEXT, "", "COL", NONE,
     "obs column in which prototype and counterfactual must agree"},
    {"method", "attribution", CPT_OPTION_CHOICE, "", "exact|gradient|ig|hybrid", NONE,
     "default: exact for scVI, hybrid for transformers"},
    {"mode", "attribution", CPT_OPTION_CHOICE, "substitute", "substitute|insert|mask", NONE,
     "what is done to a gene (substitute: the paper)"},
    {"readout", "attribution", CPT_OPTION_CHOICE, "activation", "activation|pre", NONE,
     "concept value after Top-K (the paper) or before it (smooth)"},
    {"space", "attribution", CPT_OPTION_CHOICE, "bins", "bins|counts", NONE,
     "scGPT: substitute bins, or counts that are binned again"},
    {"cutoff", "attribution", CPT_OPTION_NUMBER, "0.05", "X", 0, 1e6,
     "smallest |attribution| of an attributed gene (0.05: the paper)"},
    {"screen", "attribution", CPT_OPTION_CHOICE, "swap", "swap|ig|gradient", NONE,
     "hybrid: estimates of all genes before the exact ones; swap: each step in full, the rest linear"},
    {"ig-steps", "attribution", CPT_OPTION_INTEGER, "64", "N", 1, 10000,
     "points on the path of integrated gradients"},
    {"hybrid-top", "attribution", CPT_OPTION_INTEGER, "200", "N", 0, 1e6,
     "hybrid: genes per pair that are substituted exactly after the screen"},
    {"hybrid-check", "attribution", CPT_OPTION_INTEGER, "50", "N", 0, 1e6,
     "hybrid: random genes per pair on which the screen is checked"},
    {"noise-directions", "attribution", CPT_OPTION_INTEGER, "64", "N", 0, 10000,
     "random directions through the same pipeline: the noise floor"},
    /* expression */
    {"test", "expression", CPT_OPTION_CHOICE, "welch", "welch|wilcoxon", NONE,
     "differential expression of active against other cells"},
    {"active-quantile", "expression", CPT_OPTION_NUMBER, "0", "Q", 0, 0.999,
     "active = above this quantile of a concept's positive activations"},
    /* enrichment */
    {"go", "enrichment", CPT_OPTION_TEXT, "", "OBO", NONE,
     "ontology (default: the shipped release)"},
    {"annotation", "enrichment", CPT_OPTION_TEXT, "", "GAF", NONE,
     "annotation of genes (default: the shipped release)"},
    {"gmt", "enrichment", CPT_OPTION_LIST, "", "FILE", NONE, "gene sets as well; may be repeated"},
    {"markers", "enrichment", CPT_OPTION_LIST, "", "FILE", NONE,
     "GMT of cell types' markers (3 genes or more): tested alike, and named as suggestions; may be "
     "repeated"},
    {"aspects", "enrichment", CPT_OPTION_TEXT, "BP", "BP,MF,CC", NONE,
     "parts of GO to test, each a family of its own; 'none' leaves GO out"},
    {"exclude-evidence", "enrichment", CPT_OPTION_TEXT, "", "IEA,ND", NONE,
     "evidence codes to leave out"},
    {"min-size", "enrichment", CPT_OPTION_INTEGER, "15", "N", 1, 1e6,
     "smallest set, within the universe"},
    {"max-size", "enrichment", CPT_OPTION_INTEGER, "500", "N", 1, 1e6, "largest set"},
    {"permutations", "enrichment", CPT_OPTION_INTEGER, "10000", "N", 1, 1e6,
     "GSEA: simple permutations"},
    {"gsea-p", "enrichment", CPT_OPTION_CHOICE, "simple", "simple|multilevel", NONE,
     "GSEA: how small p are found (simple: floor about 1 / permutations; the few sets that this floor alone keeps from q < "
     "0.05 are split)"},
    {"weight", "enrichment", CPT_OPTION_NUMBER, "1", "P", 0, 10, "GSEA: exponent of the statistic"},
    {"weights", "enrichment", CPT_OPTION_CHOICE, "values", "values|rank", NONE,
     "GSEA: a gene weighs its statistic, or its rank: then one null serves all concepts"},
    {"study-genes", "enrichment", CPT_OPTION_INTEGER, "50", "N", 1, 1e5,
     "ORA: at most so many of the attributed (or up-regulated) genes"},
    {"dag-tests", "enrichment", CPT_OPTION_TEXT, "",
     "elim,weight01,parent_child,parent_child_intersect", NONE,
     "tests along GO's graph beside ORA, on the same lists of genes"},
    {"weight01", "enrichment", CPT_OPTION_CHOICE, "intended", "intended|topgo", NONE,
     "weight01 as published, or as topGO 2.31 computes it"},
    {"similarity", "enrichment", CPT_OPTION_CHOICE, "simrel", "lin|resnik|simrel|wang|jaccard",
     NONE,
     "likeness of significant terms when redundant ones are folded (jaccard: of their genes)"},
    {"redundancy", "enrichment", CPT_OPTION_NUMBER, "0.7", "X", 0.01, 1,
     "terms at least so alike are folded under one of them"},
    /* evaluation */
    {"evaluation", "evaluation", CPT_OPTION_CHOICE, "quick", "quick|full", NONE,
     "how much is computed: run does it in brief, evaluate in full"},
    {"seeds", "evaluation", CPT_OPTION_INTEGER, "5", "N", 1, 100,
     "dictionaries trained with other seeds for the stability, the study's own included (quick: at "
     "most 3)"},
    {"completeness", "evaluation", CPT_OPTION_FLAG, "no", "", NONE,
     "GSEA again with 20 to 80 % of GO's annotations and without electronic ones"},
    {"controls", "evaluation", CPT_OPTION_FLAG, "no", "", NONE,
     "the same on neurons, principal components, random directions and shuffled genes; bias of rankings"},
    {"sweep", "evaluation", CPT_OPTION_FLAG, "no", "", NONE,
     "reconstruction by every kind of dictionary over k and expansion, with three seeds: sweep.tsv"},
};
enum { N_OPTIONS = sizeof table / sizeof *table };

/* Defaults that are others when an scGPT is trained. */
static const struct { const char *name, *fallback; } for_scgpt[] = {
    {"genes", "1200"}, {"layers", "4"}, {"epochs", "8"}};
enum { N_FOR_SCGPT = sizeof for_scgpt / sizeof *for_scgpt };

struct cpt_options {
    char *values[N_OPTIONS];       /* NULL = default; lists: items joined by '\n' */
    const char **items[N_OPTIONS]; /* lists, split on demand into a private copy */
    char *item_text[N_OPTIONS];
    bool given[N_OPTIONS];
};

const cpt_option_info *cpt_option_list(size_t *n)
{
    *n = N_OPTIONS;
    return table;
}

static int find(const char *name)
{
    for (int i = 0; i < N_OPTIONS; i++)
        if (strcmp(table[i].name, name) == 0) return i;
    return -1;
}

cpt_options *cpt_options_new(cpt_err *e)
{
    cpt_options *o = calloc(1, sizeof *o);
    if (!o) cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
    return o;
}

cpt_options *cpt_options_copy(const cpt_options *o, cpt_err *e)
{
    cpt_options *copy = cpt_options_new(e);
    for (int i = 0; copy && i < N_OPTIONS; i++) {
        copy->given[i] = o->given[i];
        if (o->values[i] && !(copy->values[i] = cpt_strdup(o->values[i]))) {
            cpt_options_free(copy);
            cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
            return NULL;
        }
    }
    return copy;
}

void cpt_options_free(cpt_options *o)
{
    if (!o) return;
    for (int i = 0; i < N_OPTIONS; i++) {
        free(o->values[i]);
        free(o->items[i]);
        free(o->item_text[i]);
    }
    free(o);
}

/* "yes" and "no" in all common spellings. */
static int parse_flag(const char *s)
{
    static const char *const yes[] = {"yes", "true", "1", "on"}, *const no[] = {"no", "false", "0",
                                                                                "off"};
    for (int i = 0; i < 4; i++) {
        if (strcmp(s, yes[i]) == 0) return 1;
        if (strcmp(s, no[i]) == 0) return 0;
    }
    return -1;
}

static bool is_choice(const char *choices, const char *value)
{
    size_t n = strlen(value);
    for (const char *p = choices; p; p = strchr(p, '|') ? strchr(p, '|') + 1 : NULL) {
        size_t length = strcspn(p, "|");
        if (length == n && n && strncmp(p, value, n) == 0) return true;
    }
    return false;
}

/* A comma-separated list of known words, or "none": judged here, not after an hour of training. */
static cpt_status check_list(const char *option, const char *value, const char *const *words,
                             size_t n_words, cpt_err *e)
{
    if (strcmp(value, "none") == 0) return CPT_OK;
    for (const char *p = value; p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL) {
        char word[32], all[128] = "";
        size_t i = 0;
        snprintf(word, sizeof word, "%.*s", (int)strcspn(p, ","), p);
        while (i < n_words && strcmp(word, words[i]) != 0) i++;
        if (i < n_words) continue;
        for (i = 0; i < n_words; i++) {
            strcat(all, i ? ", " : "");
            strcat(all, words[i]);
        }
        const char *near = cpt_nearest_word(word, words, n_words);
        return cpt_fail(e, CPT_ERR_USAGE, "--%s: '%s' is not a list of %s, nor 'none'%s%s%s",
                        option, value, all, near ? "; did you mean '" : "", near ? near : "",
                        near ? "'?" : "");
    }
    return CPT_OK;
}

static cpt_status check_text(const char *option, const char *value, cpt_err *e)
{
    static const char *const aspects[] = {"BP", "MF", "CC"};
    static const char *const dag_tests[] = {"elim", "weight01", "parent_child",
                                            "parent_child_intersect"};
    if (strchr(value, '\n'))
        return cpt_fail(e, CPT_ERR_USAGE, "--%s: the value contains a line break", option);
    if (strcmp(option, "aspects") == 0) return check_list(option, value, aspects, 3, e);
    if (strcmp(option, "dag-tests") == 0) return check_list(option, value, dag_tests, 4, e);
    return CPT_OK;
}

static cpt_status check_value(const cpt_option_info *info, const char *value, cpt_err *e)
{
    int64_t integer;
    double number;
    switch (info->kind) {
    case CPT_OPTION_INTEGER:
        if (!cpt_parse_i64(value, &integer))
            return cpt_fail(e, CPT_ERR_USAGE, "--%s: '%s' is not a whole number", info->name,
                            value);
        number = (double)integer;
        break;
    case CPT_OPTION_NUMBER:
        if (!cpt_parse_double(value, &number) || !isfinite(number))
            return cpt_fail(e, CPT_ERR_USAGE, "--%s: '%s' is not a number", info->name, value);
        break;
    case CPT_OPTION_FLAG:
        if (parse_flag(value) >= 0) return CPT_OK;
        return cpt_fail(e, CPT_ERR_USAGE, "--%s: '%s' is neither yes nor no", info->name, value);
    case CPT_OPTION_CHOICE:
        if (is_choice(info->argument, value)) return CPT_OK;
        return cpt_fail(e, CPT_ERR_USAGE, "--%s: '%s' is not one of %s", info->name, value,
                        info->argument);
    default:
        return check_text(info->name, value, e);
    }
    if (number < info->low || number > info->high)
        return cpt_fail(e, CPT_ERR_USAGE, "--%s: %s is outside %g to %g", info->name, value,
                        info->low, info->high);
    return CPT_OK;
}

static cpt_status unknown(const char *name, cpt_err *e)
{
    const char *names[N_OPTIONS];
    for (int i = 0; i < N_OPTIONS; i++) names[i] = table[i].name;
    const char *near = cpt_nearest_word(name, names, N_OPTIONS);
    return near ? cpt_fail(e, CPT_ERR_USAGE, "unknown option '%s'; did you mean '%s'?", name, near)
                : cpt_fail(e, CPT_ERR_USAGE,
                           "unknown option '%s'; `conceptome help run` lists them", name);
}

cpt_status cpt_options_set(cpt_options *o, const char *name, const char *value, cpt_err *e)
{
    int i = find(name);
    if (i < 0) return unknown(name, e);
    /* Choices and texts may be emptied: back to "chosen from the data". */
    if (*value || table[i].kind == CPT_OPTION_INTEGER || table[i].kind == CPT_OPTION_NUMBER) {
        cpt_status status = check_value(&table[i], value, e);
        if (status) return status;
    }
    cpt_text t = {0};
    if (table[i].kind == CPT_OPTION_LIST && o->values[i]) cpt_text_addf(&t, "%s\n", o->values[i]);
    if (table[i].kind == CPT_OPTION_FLAG && *value) value = parse_flag(value) ? "yes" : "no";
    cpt_text_add(&t, table[i].kind == CPT_OPTION_FLAG && !*value ? table[i].fallback : value);
    if (t.failed) {
        cpt_text_free(&t);
        return cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
    }
    free(o->values[i]);
    o->values[i] = t.bytes;
    o->given[i] = true;
    free(o->items[i]);
    free(o->item_text[i]);
    o->items[i] = NULL;
    o->item_text[i] = NULL;
    return CPT_OK;
}

static cpt_status set_json(cpt_options *o, const char *name, const json_t *value, cpt_err *e)
{
    char number[64];
    if (json_is_string(value)) return cpt_options_set(o, name, json_string_value(value), e);
    if (json_is_boolean(value))
        return cpt_options_set(o, name, json_is_true(value) ? "yes" : "no", e);
    if (json_is_integer(value)) {
        snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
        return cpt_options_set(o, name, number, e);
    }
    if (json_is_real(value)) {
        cpt_format_number(json_real_value(value), number);
        return cpt_options_set(o, name, number, e);
    }
    if (json_is_array(value)) {
        for (size_t i = 0; i < json_array_size(value); i++) {
            cpt_status status = set_json(o, name, json_array_get(value, i), e);
            if (status) return status;
        }
        return CPT_OK;
    }
    return json_is_null(value)
               ? CPT_OK
               : cpt_fail(e, CPT_ERR_USAGE, "'%s': a value of this kind makes no sense", name);
}

cpt_status cpt_options_read(cpt_options *o, const char *json_file, cpt_err *e)
{
    json_error_t reason;
    json_t *root = json_load_file(json_file, JSON_REJECT_DUPLICATES, &reason);
    if (!root && reason.line < 0) return cpt_fail(e, CPT_ERR_IO, "%s", reason.text);
    if (!root)
        return cpt_fail(e, CPT_ERR_FORMAT, "%s: line %d: %s", json_file, reason.line, reason.text);
    cpt_status status =
        json_is_object(root)
            ? CPT_OK
            : cpt_fail(e, CPT_ERR_FORMAT, "%s: a JSON object of options is expected", json_file);
    const char *name;
    json_t *value;
    bool fixed[N_OPTIONS];
    memcpy(fixed, o->given,
           sizeof fixed); /* lists: the file may add several, but only if none was given */
    if (status == CPT_OK) json_object_foreach(root, name, value)
        {
            int i = find(name);
            if (i >= 0 && fixed[i]) continue;
            status = i < 0 ? unknown(name, e) : set_json(o, name, value, e);
            if (status) {
                cpt_fail_in(e, "%s", json_file);
                break;
            }
        }
    json_decref(root);
    return status;
}

static int known(const char *name)
{
    int i = find(name);
    assert(i >= 0 && "an option that is not in the table");
    return i;
}

bool cpt_options_given(const cpt_options *o, const char *name)
{
    return o->given[known(name)];
}

bool cpt_options_by_model(const char *name)
{
    for (int i = 0; i < N_FOR_SCGPT; i++)
        if (strcmp(for_scgpt[i].name, name) == 0) return true;
    return false;
}

const char *cpt_options_text(const cpt_options *o, const char *name)
{
    int i = known(name), model = known("model");
    if (o->values[i]) return o->values[i];
    if (o->values[model] && strcmp(o->values[model], "scgpt") == 0)
        for (int j = 0; j < N_FOR_SCGPT; j++)
            if (strcmp(for_scgpt[j].name, name) == 0) return for_scgpt[j].fallback;
    return table[i].fallback;
}

int64_t cpt_options_integer(const cpt_options *o, const char *name)
{
    int64_t v = 0;
    cpt_parse_i64(cpt_options_text(o, name), &v);
    return v;
}

double cpt_options_number(const cpt_options *o, const char *name)
{
    double v = 0;
    cpt_parse_double(cpt_options_text(o, name), &v);
    return v;
}

bool cpt_options_flag(const cpt_options *o, const char *name)
{
    return parse_flag(cpt_options_text(o, name)) == 1;
}

size_t cpt_options_list(const cpt_options *o, const char *name, const char *const **items)
{
    int i = known(name);
    cpt_options *m = (cpt_options *)(uintptr_t)o; /* fills the cache of split items */
    size_t n = 0;
    *items = NULL;
    if (!o->values[i] || !*o->values[i]) return 0;
    for (const char *p = o->values[i]; p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL) n++;
    if (!o->items[i]) {
        m->item_text[i] = cpt_strdup(o->values[i]);
        m->items[i] = calloc(n, sizeof *m->items[i]);
        if (!m->items[i] || !m->item_text[i]) return 0;
        char *p = m->item_text[i];
        for (size_t j = 0; j < n; j++) {
            m->items[i][j] = p;
            p = strchr(p, '\n');
            if (p) *p++ = '\0';
        }
    }
    *items = o->items[i];
    return n;
}

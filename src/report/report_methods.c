#include "report/report.h"

#include <math.h>
#include <string.h>

/* The methods in words, with the options of this study, and where everything came from. */

static const char *option(const cpt_report *r, const char *name)
{
    return cpt_options_text(r->s->options, name);
}

/* Numbers come back from study.json with 17 digits; 0.05 is to read 0.05. */
static void add_option_value(cpt_report *r, const char *name, const char *if_empty)
{
    const char *value = option(r, name);
    double number;
    if (strlen(value) > 8 && cpt_parse_double(value, &number)) cpt_text_addf(&r->html, "%.10g",
                                                                             number);
    else cpt_text_add_html(&r->html, *value ? value : if_empty);
}

static void add_option(cpt_report *r, const char *name, const char *if_empty)
{
    cpt_text_add(&r->html, "<b>");
    add_option_value(r, name, if_empty);
    cpt_text_add(&r->html, "</b>");
}

static void add_method_terms(cpt_report *r)
{
    cpt_text *t = &r->html;
    cpt_text_add(t, "<dt>Concept</dt><dd>A direction of the embedding that a sparse dictionary (");
    add_option(r, "dictionary", "topk");
    cpt_text_addf(t, ") found. Each cell is written as a sum of few concepts with positive "
                     "activations; here "
                  "%.3g are active per cell on average. A cell is <em>active</em> for a concept when its "
                  "activation is above 0.</dd>",
                  cpt_report_json(r->dictionary, "train", "l0", NULL));
    cpt_text_addf(t, "<dt>Prototypes and counterfactuals</dt><dd>For each concept the %lld cells "
                     "with the largest activation "
                  "(<b>%s</b>), each paired with its <b>%lld</b> nearest cell%s in the embedding "
                  "in which the concept is "
                  "not active (exact search). ", (long long)cpt_options_integer(r->s->options,
                                                                                "prototypes"),
                  option(r, "prototype-choice"), (long long)cpt_options_integer(r->s->options,
                                                                                "counterfactuals"),
                  cpt_options_integer(r->s->options, "counterfactuals") == 1 ? "" : "s");
    if (*option(r, "match")) {
        cpt_text_add(t, "Both agree in the column ");
        add_option(r, "match", "");
        cpt_text_add(t, ". ");
    }
    cpt_text_add(t, "This is the paper's definition with one counterfactual.</dd>");
    cpt_text_add(t, "<dt>Attribution</dt><dd>Gene by gene, the prototype's value is changed "
                    "(mode ");
    add_option(r, "mode", "substitute");
    cpt_text_add(t, ": <em>substitute</em> takes the counterfactual's value, as the paper does), "
                    "the cell is embedded again and "
                    "the fall of the concept's activation, divided by the prototype's activation, "
                    "is the gene's attribution. "
                    "Read-out: ");
    add_option(r, "readout", "activation");
    cpt_text_add(t, "; method: ");
    add_option(r, "method", "exact for scVI, hybrid for transformers");
    cpt_text_add(t, ". A gene that does not differ between the two cells counts as 0. Means are "
                    "over pairs, intervals are "
                    "95 % percentile bootstrap, p by sign-flip permutation, q by "
                    "Benjamini–Hochberg over the genes of a "
                    "concept. A gene counts as attributed when |mean| ≥ ");
    add_option(r, "cutoff", "0.05");
    cpt_text_add(t, " (0.05 is the paper's) and q &lt; 0.05 (our addition). One gene of thousands "
                    "often changes an activation by "
                    "less than that, so the strongest genes are listed in any case.</dd>");
    cpt_text_addf(t, "<dt>Noise floor</dt><dd>%lld random directions of the embedding, through "
                     "the same pipeline (our "
                  "addition): what attributions look like without any learned concept.</dd>",
                  (long long)cpt_options_integer(r->s->options, "noise-directions"));
}

static void add_test_terms(cpt_report *r)
{
    cpt_text *t = &r->html;
    cpt_text_add(t, "<dt>Differential expression (DGE)</dt><dd>Active against other cells on "
                    "log1p(10,000 × counts / total), test ");
    add_option(r, "test", "welch");
    cpt_text_add(t, ", conventions of scanpy's rank_genes_groups. The groups were chosen by the "
                    "embedding of the same cells, "
                    "so p-values are too small: they order genes, they prove nothing.</dd>");
    cpt_text_addf(t, "<dt>Universe</dt><dd>%d genes: those that the model knows and at least one "
                     "cell expresses. Gene sets are "
                  "cut down to it and kept when %lld to %lld genes remain.</dd>", r->universe->n,
                  (long long)cpt_options_integer(r->s->options, "min-size"),
                  (long long)cpt_options_integer(r->s->options, "max-size"));
    cpt_text_add(t, "<dt>Terms</dt><dd>GSEA on the whole ranking (weight ");
    add_option(r, "weight", "1");
    cpt_text_add(t, ", ");
    add_option(r, "permutations", "1000");
    cpt_text_add(t, " gene permutations, p ");
    add_option(r, "gsea-p", "simple");
    cpt_text_add(t, "), and over-representation (hypergeometric) of at most ");
    add_option(r, "study-genes", "50");
    cpt_text_add(t, " attributed, or significantly higher expressed, genes. q by "
                    "Benjamini–Hochberg within concept, ranking, "
                    "method and collection: across all concepts of this page a share of the "
                    "significant terms is still due "
                    "to chance. Both tests treat genes as independent, which they are not.</dd>");
    cpt_text_addf(t, "<dt>Flags</dt><dd>dense: active in more than half of the cells; rare: in "
                     "fewer than 10; donor or batch: more than %.0f %% of the active cells from one "
                     "that holds less than %.0f %% of all; confounded, fragile, unstable: see the table "
                     "of flags. All are our defaults.</dd>",
                  100 * CPT_REPORT_CONCENTRATED, 100 * CPT_REPORT_CONCENTRATED_OF);
}

/* ---- provenance ---- */

static void add_fact(cpt_text *t, const char *name, const char *value)
{
    if (!value || !*value) return;
    cpt_text_addf(t, "<tr><th scope=\"row\">%s</th><td>", name);
    cpt_text_add_html(t, value);
    cpt_text_add(t, "</td></tr>");
}

static const char *json_text(const json_t *root, const char *a, const char *b)
{
    root = json_object_get(root, a);
    if (b) root = json_object_get(root, b);
    return json_is_string(root) ? json_string_value(root) : "";
}

static const char *file_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

/* The annotation's own header lines, one per line of the cell. */
static void add_annotation_header(cpt_text *t, const char *header)
{
    if (!*header) return;
    cpt_text_add(t, "<tr><th scope=\"row\">annotation says</th><td class=\"pre\">");
    cpt_text_add_html(t, header);
    cpt_text_add(t, "</td></tr>");
}

static void add_provenance(cpt_report *r)
{
    const json_t *m = r->s->manifest;
    cpt_text *t = &r->html;
    cpt_text_add(t, "<h3>Provenance</h3><table class=\"facts\"><tbody>");
    add_fact(t, "program", "conceptome " CPT_VERSION);
    add_fact(t, "cells", file_name(json_text(m, "input", "path")));
    add_fact(t, "SHA-256", json_text(m, "input", "sha256"));
    add_fact(t, "counts from", r->cells->counts_from);
    add_fact(t, "model", json_text(r->model, "description", NULL));
    add_fact(t, "GO release", json_text(r->sets, "go_release", NULL));
    add_fact(t, "ontology", json_text(json_object_get(r->sets, "ontology"), "file", NULL));
    add_fact(t, "its SHA-256", json_text(json_object_get(r->sets, "ontology"), "sha256", NULL));
    add_fact(t, "annotation", json_text(json_object_get(r->sets, "annotation"), "file", NULL));
    add_fact(t, "its SHA-256", json_text(json_object_get(r->sets, "annotation"), "sha256", NULL));
    add_annotation_header(t, json_text(r->sets, "annotation_header", NULL));
    cpt_text_add(t, "</tbody></table>");
}

static void add_notes(cpt_report *r)
{
    cpt_text *t = &r->html;
    if (r->cells->notes.n == 0) return;
    cpt_text_add(t, "<h3>Notes on the input</h3><ul>");
    for (int64_t i = 0; i < r->cells->notes.n; i++) {
        cpt_text_add(t, "<li>");
        cpt_text_add_html(t, cpt_strings_get(&r->cells->notes, i));
        cpt_text_add(t, "</li>");
    }
    cpt_text_add(t, "</ul>");
}

static void add_options(cpt_report *r)
{
    cpt_text *t = &r->html;
    size_t n;
    const cpt_option_info *list = cpt_option_list(&n);
    cpt_text_add(t, "<details><summary>All options</summary><table class=\"facts\"><tbody>");
    for (size_t i = 0; i < n; i++) {
        cpt_text_add(t, "<tr><th scope=\"row\" title=\"");
        cpt_text_add_html(t, list[i].help);
        cpt_text_addf(t, "\">%s</th><td>", list[i].name);
        add_option_value(r, list[i].name, "(chosen from the data)");
        cpt_text_add(t, "</td></tr>");
    }
    cpt_text_add(t, "</tbody></table></details>");
}

static void add_citation(cpt_report *r)
{
    cpt_text_add(&r->html, "<h3>Citing</h3><p>Method: Claye, Marschall, Ouerdane, Hudelot, "
                           "Duquesne, “Discovering "
                           "Interpretable Biological Concepts in Single-cell RNA-seq Foundation "
                           "Models”, <a "
                           "href=\"https://arxiv.org/abs/2510.25807\">arXiv:2510.25807</a>. "
                           "Please name this program with its version, and the model and data it "
                           "was run on.</p>"
                           "<p>Gene Ontology terms and annotations: Gene Ontology Consortium, "
                           "licence <a "
                           "href=\"https://creativecommons.org/licenses/by/4.0/\">CC BY 4.0</a>, "
                           "release as above. Other gene "
                           "sets keep the licence of whoever provided them.</p>");
}

void cpt_report_methods(cpt_report *r)
{
    cpt_text_add(&r->html, "<section id=\"methods\"><h2>Methods</h2><p>What is the paper's "
                           "(arXiv:2510.25807) and what is our "
                           "addition or default is said at each item.</p><dl>");
    add_method_terms(r);
    add_test_terms(r);
    cpt_text_add(&r->html, "</dl>");
    add_provenance(r);
    add_notes(r);
    add_options(r);
    add_citation(r);
    cpt_text_add(&r->html, "</section>\n");
}

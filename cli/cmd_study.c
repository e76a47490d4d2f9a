#include "cli.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* run, attribute, enrich, evaluate, report, export: commands on a whole study. */

/* As much of a text as fits a column: cut between two items of a list or two words, never within a
 * character. */
static void print_column(const char *text, int width)
{
    int n = 0, shown = 0, cut_bytes = 0,
        cut_shown = 0; /* bytes and characters so far; at the last place to cut */
    while (text[n] && shown <= width) {
        if (text[n] == ',' || text[n] == ' ') {
            cut_bytes = n;
            cut_shown = shown;
        }
        for (n++; ((unsigned char)text[n] & 0xC0) == 0x80; n++) {}
        shown++;
    }
    if (shown > width) {
        n = cut_bytes;
        shown = cut_shown;
    }
    printf("%.*s%*s", n, text, width - shown, "");
}

/* "b_cells (59 % of active cells)" without what the head of the column says. */
static void print_label(const char *text, int width)
{
    static const char *const rest = " of active cells)";
    char label[256];
    const size_t n = strlen(text), cut = strlen(rest);
    const bool known = n > cut && strcmp(text + n - cut, rest) == 0;
    snprintf(label, sizeof label, "%.*s%s", (int)(known ? n - cut : n), text, known ? ")" : "");
    print_column(label, width);
}

/* by: what ranks the genes. */
static void print_concepts(const json_t *list, const char *by)
{
    enum { FIXED = 18, LEAST = 62, LABELS = 28, GENES = 38, TERMS = 44 };
    const int columns = cli_columns(STDOUT_FILENO), room = columns - FIXED - 3;
    const bool narrow = columns > 0 && room < LABELS + GENES + TERMS;
    const int share = room < LEAST ? LEAST : room;
    const int labels = narrow ? share * 3 / 10 : LABELS, genes = narrow ? share * 3 / 10 : GENES;
    const int terms = share - labels - genes;
    char head[64];
    size_t i;
    json_t *c;
    printf("\n%-6s %9s  ", "", "active");
    print_column("fits best", labels);
    putchar(' ');
    snprintf(head, sizeof head, "top genes by %s", by);
    print_column(head, genes);
    printf(" top term\n");
    json_array_foreach(list, i, c)
    {
        printf("%-6s %8.1f%%  ", cli_text(c, "concept"),
               100 * json_number_value(json_object_get(c, "frequency")));
        print_label(cli_text(c, "label"), labels);
        putchar(' ');
        print_column(cli_text(c, "genes"), genes);
        putchar(' ');
        if (narrow) print_column(cli_text(c, "term"), terms);
        else printf("%s", cli_text(c, "term"));
        putchar('\n');
    }
}

static double number(const json_t *root, const char *a, const char *b)
{
    return json_number_value(json_object_get(json_object_get(root, a), b));
}

static int print_summary(cli *c, const char *study)
{
    cpt_err err;
    char *text;
    if (cpt_study_summary(study, &text, &err) != CPT_OK) return cli_fail(&err);
    if (c->json) {
        puts(text);
        free(text);
        return cli_close_stdout();
    }
    json_t *root = json_loads(text, 0, NULL);
    free(text);
    if (!root) return CLI_FAILED;
    if (!c->quiet) {
        printf("\n%s: %lld cells, %lld genes; %s\n", study, (long long)number(root, "cells", "n"),
               (long long)number(root, "cells", "genes"),
               json_string_value(json_object_get(json_object_get(root, "model"), "description")));
        printf("dictionary: %lld concepts (%lld dead), R2_feature %.3f on validation cells (mean: "
               "%.3f), L0 %.1f\n",
               (long long)number(root, "dictionary", "n_concepts"),
               (long long)number(root, "dictionary", "n_dead"),
               number(root, "dictionary", "r2_feature_validation"),
               number(root, "dictionary", "mean_baseline"), number(root, "dictionary", "l0"));
        const bool fixed = strcmp(cli_text(json_object_get(root, "model"), "kind"), "fixed") == 0;
        print_concepts(json_object_get(root, "concepts"), fixed ? "expression" : "attribution");
        printf("\nreport   %s\n", json_string_value(json_object_get(root, "report")));
    }
    json_decref(root);
    return cli_close_stdout();
}

int cli_run(cli *c)
{
    cpt_err err;
    int code = cli_operands(c, 1, 1);
    const char *study = cli_value(c, "output");
    if (code) return code;
    if (!study) return cli_usage(c, "-o STUDY is missing");
    if (cpt_study_run(c->operands[0], study, cli_value(c, "until"), c->options, c->line, &c->ctx,
                      &err) != CPT_OK)
        return cli_fail(&err);
    if (cli_value(c, "until")) {
        if (c->json)
            cli_print_json(json_pack("{s:s, s:s}", "study", study, "until", cli_value(c, "until")));
        return cli_close_stdout();
    }
    return print_summary(c, study);
}

/* ---- pieces ---- */

int cli_piece(cli *c, const char *stage)
{
    cpt_err err;
    int i, n, used = 0, code = cli_operands(c, 1, 1);
    const char *shard = cli_value(c, "shard");
    if (code) return code;
    if (sscanf(shard, "%d/%d%n", &i, &n, &used) != 2 || shard[used] || i < 1 || n < i)
        return cli_usage(c, "--shard %s: i/n is expected, such as 1/4", shard);
    if (cpt_study_piece(c->operands[0], stage, i, n, c->options, &c->ctx, &err) != CPT_OK)
        return cli_fail(&err);
    if (c->json)
        cli_print_json(json_pack("{s:s, s:s, s:i, s:i}", "study", c->operands[0], "stage", stage,
                                 "shard", i, "of", n));
    return cli_close_stdout();
}

int cli_merge(cli *c)
{
    cpt_err err;
    int code = cli_operands(c, 1, 1);
    if (code) return code;
    if (cpt_study_merge(c->operands[0], c->options, c->line, &c->ctx, &err) != CPT_OK)
        return cli_fail(&err);
    if (c->json) cli_print_json(json_pack("{s:s}", "study", c->operands[0]));
    return cli_close_stdout();
}

static int run_stage(cli *c, const char *stage, const char *file)
{
    cpt_err err;
    int code = cli_operands(c, 1, 1);
    if (code) return code;
    if (cpt_study_stage(c->operands[0], stage, c->options, false, c->line, &c->ctx, &err) != CPT_OK)
        return cli_fail(&err);
    if (c->json)
        cli_print_json(json_pack("{s:s, s:s, s:o}", "study", c->operands[0], "stage", stage, "file",
                                 json_sprintf("%s/%s", c->operands[0], file)));
    else if (!c->quiet) printf("%s/%s\n", c->operands[0], file);
    return cli_close_stdout();
}

int cli_attribute(cli *c)
{
    if (cli_value(c, "shard")) return cli_piece(c, "attribution");
    return run_stage(c, "tables", "attribution.h5ad");
}

/* In full unless --quick or --evaluation say otherwise; tables and report tell of it, so they are
 * brought up to date as well. */
int cli_evaluate(cli *c)
{
    cpt_err err;
    const char *quick = cli_value(c, "quick");
    if (quick && cpt_options_given(c->options, "evaluation"))
        return cli_usage(c, "--quick and --evaluation exclude each other");
    if ((quick || !cpt_options_given(c->options, "evaluation")) &&
        cpt_options_set(c->options, "evaluation", quick ? "quick" : "full", &err) != CPT_OK)
        return cli_fail(&err);
    return run_stage(c, "report", "evaluation.json");
}

int cli_report(cli *c)
{
    return run_stage(c, "report", "report.html");
}

int cli_enrich(cli *c)
{
    cpt_err err;
    const char *n_plots = cli_value(c, "plot-terms");
    cpt_enrich_request what = {.ranking = cli_value(c, "ranking"),
                               .genes = cli_value(c, "genes"),
                               .background = cli_value(c, "background"),
                               .plots = cli_value(c, "plots"),
                               .n_plots = 20};
    if (!what.ranking && (what.plots || n_plots)) return cli_usage(c, "--plots goes with --ranking");
    if (!what.genes && what.background) return cli_usage(c, "--background goes with --genes");
    if (cli_value(c, "shard")) {
        if (what.ranking || what.genes) return cli_usage(c, "--shard is for studies");
        return cli_piece(c, "enrichment");
    }
    if (!what.ranking && !what.genes) return run_stage(c, "enrichment", "enrichment.tsv.gz");
    if (what.ranking && what.genes) return cli_usage(c, "--ranking and --genes exclude each other");
    if (c->n_operands)
        return cli_usage(c, "a study and --%s exclude each other", what.ranking ? "ranking" : "genes");
    if (n_plots) {
        char *end;
        long n = strtol(n_plots, &end, 10);
        if (*end || n < 1 || n > 100000)
            return cli_usage(c, "--plot-terms: '%s' is not a number from 1 to 100,000", n_plots);
        what.n_plots = (int32_t)n;
    }
    if (cpt_enrich_list(&what, c->options, c->json, stdout, &c->ctx, &err) != CPT_OK)
        return cli_fail(&err);
    return cli_close_stdout();
}

int cli_export(cli *c)
{
    cpt_err err;
    const char *what = cli_value(c, "what"), *format = cli_value(c, "format");
    int code = cli_operands(c, 1, 1);
    if (code) return code;
    if (!what) return cli_usage(c, "--what concepts|genes|terms|notes is missing");
    if (!format) format = c->json ? "json" : "tsv";
    if (cpt_study_export(c->operands[0], what, format, stdout, &err) != CPT_OK)
        return cli_fail(&err);
    return cli_close_stdout();
}

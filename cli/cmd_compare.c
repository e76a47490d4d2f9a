#include "cli.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* compare: the table on stdout, the finding in words on stderr (on stdout when the table goes to
 * files). */

enum { SHOWN = 12 };

static void say_sides(const json_t *pair, FILE *out)
{
    const json_t *a = json_object_get(pair, "a"), *b = json_object_get(pair, "b"), *set;
    size_t i;
    fprintf(out, "\n%s (%s; %.0f cells, %.0f of %.0f concepts active)\n", cli_text(a, "name"),
            cli_text(a, "model"), cli_number(a, "n_cells"), cli_number(a, "n_active"),
            cli_number(a, "n_concepts"));
    fprintf(out, "%s (%s; %.0f cells, %.0f of %.0f concepts active)\n", cli_text(b, "name"),
            cli_text(b, "model"), cli_number(b, "n_cells"), cli_number(b, "n_active"),
            cli_number(b, "n_concepts"));
    if (json_is_true(json_object_get(pair, "same_model")))
        fprintf(out, "one latent space: %s\n", cli_text(pair, "same_model_by"));
    else fprintf(out, "two models: decoder rows cannot be compared\n");
    json_array_foreach(json_object_get(pair, "cells"), i, set)
    {
        const char *of = cli_text(set, "of");
        if (strcmp(of, "both") == 0)
            fprintf(out, "the same %.0f cells in both\n", cli_number(set, "n"));
        else
            fprintf(
                out,
                "%.0f cells of %s encoded by the model of %s, which finds %.0f of its %.0f genes\n",
                cli_number(set, "n"), cli_text(strcmp(of, "a") == 0 ? a : b, "name"),
                cli_text(strcmp(of, "a") == 0 ? b : a, "name"), cli_number(set, "genes_found"),
                cli_number(set, "model_genes"));
    }
}

static void say_measure(const char *name, const char *what, const json_t *pair, FILE *out)
{
    const json_t *m = json_object_get(json_object_get(pair, "measures"), name),
                 *null = json_object_get(m, "null"),
                 *random = json_object_get(m, "random_partners"),
                 *mcc = json_object_get(m, "pw_mcc"), *within = json_object_get(m, "within_labels");
    if (json_object_get(m, "absent")) {
        fprintf(out, "  %-28s -  %s\n", what, cli_text(m, "absent"));
        return;
    }
    fprintf(out,
            "  %-28s %5.2f (sd %.2f, %.0f pairs; %2.0f %% above 0.7) | chance %5.2f (sd %.2f), p "
            "%.2g | "
            "random partners %5.2f | %.0f pairs q < 0.05\n",
            what, cli_number(m, "mean"), cli_number(m, "sd"), cli_number(m, "n"),
            100 * cli_number(m, "above_07"), cli_number(null, "mean"), cli_number(null, "sd"),
            cli_number(m, "p"), cli_number(random, "mean"), cli_number(m, "n_significant"));
    if (within)
        fprintf(out, "  %-28s %38s | chance %5.2f (sd %.2f), p %.2g | %21s | %.0f pairs q < 0.05\n",
                "  beyond the cells' labels", "", cli_number(within, "null_mean"),
                cli_number(within, "null_sd"), cli_number(within, "p"), "",
                cli_number(within, "n_significant"));
    if (mcc)
        fprintf(out, "  %-28s %5.2f %*s | chance %5.2f (sd %.2f), p %.2g\n", "PW-MCC",
                cli_number(mcc, "mean"), 33, "", cli_number(mcc, "null_mean"),
                cli_number(mcc, "null_sd"), cli_number(mcc, "p"));
}

static void say_matches(const json_t *pair, FILE *out)
{
    const json_t *list = json_object_get(pair, "matches");
    size_t i;
    json_t *m;
    const bool labels = json_object_get(
        json_object_get(json_object_get(pair, "measures"), "activation"), "within_labels");
    fprintf(out, "most alike, by %s (* q < 0.05%s):\n", cli_text(pair, "matched_by"),
            labels ? ", ** also among cells of one label" : "");
    json_array_foreach(list, i, m)
    {
        if (i == SHOWN) break;
        const bool beyond = cli_number(m, "q") < 0.05,
                   far = cli_number(m, "q_within_labels") < 0.05;
        fprintf(out, "  %-5s %-5s %5.2f%-2s  %s | %s%s%s\n", cli_text(m, "concept_a"),
                cli_text(m, "concept_b"), cli_number(m, "likeness"), beyond ? far ? "**" : "*" : "",
                *cli_text(m, "label_a") ? cli_text(m, "label_a") : "-",
                *cli_text(m, "label_b") ? cli_text(m, "label_b") : "-",
                *cli_text(m, "shared_genes") ? " | both: " : "", cli_text(m, "shared_genes"));
    }
    if (json_array_size(list) > SHOWN) fprintf(out, "  ... (%zu in all)\n", json_array_size(list));
}

static void say_pair(const json_t *pair, FILE *out)
{
    size_t i;
    json_t *line;
    say_sides(pair, out);
    fprintf(out, "matched one to one, mean likeness:\n");
    say_measure("decoder", "decoder cosine", pair, out);
    say_measure("activation", "activation correlation", pair, out);
    say_measure("attribution", "attribution over genes", pair, out);
    say_measure("expression", "expression over genes", pair, out);
    say_matches(pair, out);
    json_array_foreach(json_object_get(pair, "notes"), i, line)
        fprintf(out, "note: %s\n", json_string_value(line));
}

static void say_over_pairs(const json_t *root, FILE *out)
{
    const char *name;
    json_t *m;
    if (json_array_size(json_object_get(root, "pairs")) < 2) return;
    fprintf(out, "\nover all pairs of studies\n");
    json_object_foreach(json_object_get(root, "over_pairs"), name, m)
        fprintf(out, "  %-12s %.2f (sd %.2f, %.0f pairs)\n", name, cli_number(m, "mean"),
                cli_number(m, "sd"), cli_number(m, "n"));
}

int cli_compare(cli *c)
{
    cpt_err err;
    cpt_comparison how;
    char *json = NULL, *tsv = NULL;
    long n_null, max_cells;
    size_t i;
    json_t *pair;
    int code = cli_operands(c, 2, CLI_MAX_OPERANDS);
    cpt_comparison_init(&how);
    if (code == CLI_OK) code = cli_count(c, "null", 1, 100000, how.n_null, &n_null);
    if (code == CLI_OK)
        code = cli_count(c, "max-cells", 0, 100000000, (long)how.max_cells, &max_cells);
    if (code) return code;
    how.n_null = (int32_t)n_null;
    how.max_cells = max_cells;
    how.save = cli_value(c, "save") != NULL;
    how.folder = cli_value(c, "output");
    if (cpt_study_compare(c->operands, c->n_operands, &how, &json, &tsv, &c->ctx, &err) != CPT_OK)
        return cli_fail(&err);
    json_t *root = json_loads(json, 0, NULL);
    if (c->json) puts(json);
    else if (!how.folder) fputs(tsv, stdout);
    FILE *out = how.folder && !c->json ? stdout : stderr;
    json_array_foreach(json_object_get(root, "pairs"), i, pair) if (!c->quiet) say_pair(pair, out);
    if (root && !c->quiet) say_over_pairs(root, out);
    json_decref(root);
    free(json);
    free(tsv);
    return cli_close_stdout();
}

#include "cli.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* steer: the table on stdout, the finding in words on stderr (on stdout when the table goes to
 * files). */

enum { SHOWN_GENES = 12, SHOWN_LABELS = 4 };
static const double EXPRESSED = 0.1; /* counts in 10,000, before or after: genes worth a word */

static void say_edit(const json_t *root, FILE *out)
{
    const json_t *cells = json_object_get(root, "cells"), *u = json_object_get(root, "activation"),
                 *step = json_object_get(root, "step");
    const char *edit = cli_text(root, "edit"), *label = cli_text(root, "concept_label"),
               *query = cli_text(root, "query");
    fprintf(out, "%s%s%s%s: ", cli_text(root, "concept"), *label ? " (" : "", label,
            *label ? ")" : "");
    if (strcmp(edit, "ablate") == 0) fprintf(out, "switched off");
    else
        fprintf(out, "%s %s%.4g", edit, strcmp(edit, "scale") == 0 ? "x " : "to ",
                cli_number(root, "value"));
    fprintf(out, " in %.0f of %.0f cells%s%s%s", cli_number(cells, "n"),
            cli_number(cells, "selected"), *query ? " (" : "", query, *query ? ")" : "");
    fprintf(
        out,
        "\nactivation %.3g -> %.3g on average (%.3g when the edited cell is encoded again); step "
        "%.3g, %.2g of the cells' spread\n",
        cli_number(u, "before"), cli_number(u, "after"), cli_number(u, "encoded_again"),
        cli_number(step, "length"), cli_number(step, "relative"));
    if (cli_number(step, "relative") > 1)
        fprintf(out,
                "the step is longer than the cells are spread: they end where the model may have "
                "seen none\n");
}

static bool is_expressed(const json_t *gene)
{
    return fmax(cli_number(gene, "before"), cli_number(gene, "after")) >= EXPRESSED;
}

/* The expressed genes that change most, one way; * = beyond the random directions. */
static void say_genes(const json_t *genes, int sign, const char *word, FILE *out)
{
    size_t i;
    json_t *g;
    int shown = 0;
    fprintf(out, "expected to %s (log2 fold):", word);
    json_array_foreach(genes, i, g)
    {
        if (cli_number(g, "change") * sign <= 0 || !is_expressed(g)) continue;
        fprintf(out, "%s %s %+.2f%s", shown ? "," : "", cli_text(g, "symbol"),
                cli_number(g, "change"), cli_number(g, "p") < 0.05 ? "*" : "");
        if (++shown == SHOWN_GENES) break;
    }
    fputs(shown ? "\n" : " no expressed gene\n", out);
}

static void say_chance(const json_t *genes, int directions, FILE *out)
{
    size_t i;
    json_t *g;
    int n = 0, beyond = 0;
    json_array_foreach(genes, i, g)
    {
        n += is_expressed(g);
        beyond += is_expressed(g) && cli_number(g, "p") < 0.05;
    }
    if (directions > 0 && n > 0)
        fprintf(
            out,
            "* p < 0.05 among %d random directions of the same length: %d of %d expressed genes "
            "(%.0f %%; 5 %% by chance)\n",
            directions, beyond, n, 100.0 * beyond / n);
}

static void say_labels(const json_t *root, FILE *out)
{
    const json_t *labels = json_object_get(root, "labels"), *probe = json_object_get(root, "probe");
    size_t i;
    json_t *l;
    fprintf(out,
            "probabilities of %s (a probe right in %.0f %% of %.0f held-out cells; always the "
            "commonest: %.0f %%)\n",
            cli_text(probe, "column"), 100 * cli_number(probe, "accuracy"), cli_number(probe, "n"),
            100 * cli_number(probe, "majority"));
    json_array_foreach(labels, i, l)
    {
        if (i == SHOWN_LABELS) break;
        fprintf(out, "  %-28s %.3f -> %.3f (%+.3f, sd %.3f; named in %.0f -> %.0f %%)",
                cli_text(l, "name"), cli_number(l, "before"), cli_number(l, "after"),
                cli_number(l, "change"), cli_number(l, "sd"), 100 * cli_number(l, "named_before"),
                100 * cli_number(l, "named_after"));
        if (isfinite(cli_number(l, "p")))
            fprintf(out, "; random directions %+.3f (sd %.3f), p %.2g", cli_number(l, "null_mean"),
                    cli_number(l, "null_sd"), cli_number(l, "p"));
        fputc('\n', out);
    }
}

static void say_all(const json_t *root, FILE *out)
{
    size_t i;
    json_t *line;
    say_edit(root, out);
    if (json_object_get(root, "genes")) {
        say_genes(json_object_get(root, "genes"), 1, "rise", out);
        say_genes(json_object_get(root, "genes"), -1, "fall", out);
        say_chance(json_object_get(root, "genes"), (int)cli_number(root, "directions"), out);
    }
    if (json_object_get(root, "labels")) say_labels(root, out);
    json_array_foreach(json_object_get(root, "notes"), i, line)
        fprintf(out, "note: %s\n", json_string_value(line));
}

int cli_steer(cli *c)
{
    cpt_err err;
    cpt_steer how;
    char *json = NULL, *tsv = NULL;
    long max_cells, directions;
    int code = cli_operands(c, 1, 1);
    cpt_steer_init(&how);
    if (code == CLI_OK)
        code = cli_count(c, "max-cells", 0, 100000000, (long)how.max_cells, &max_cells);
    if (code == CLI_OK) code = cli_count(c, "directions", 0, 100000, how.n_directions, &directions);
    if (code) return code;
    how.concept = cli_value(c, "concept");
    how.scale = cli_value(c, "scale");
    how.clamp = cli_value(c, "clamp");
    how.ablate = cli_value(c, "ablate") != NULL;
    how.cells = cli_value(c, "cells");
    how.max_cells = max_cells;
    how.n_directions = (int32_t)directions;
    how.folder = cli_value(c, "output");
    if (!how.concept) return cli_usage(c, "--concept ID is missing");
    if (cpt_study_steer(c->operands[0], &how, c->options, &json, &tsv, &c->ctx, &err) != CPT_OK)
        return cli_fail(&err);
    json_t *root = json_loads(json, 0, NULL);
    if (c->json) puts(json);
    else if (!how.folder) fputs(tsv, stdout);
    if (root && !c->quiet) say_all(root, how.folder && !c->json ? stdout : stderr);
    json_decref(root);
    free(json);
    free(tsv);
    return cli_close_stdout();
}

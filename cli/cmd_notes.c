#include "cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* notes, review: what experts said, and how far they agree. */

static long long count(const json_t *object, const char *key)
{
    return (long long)json_integer_value(json_object_get(object, key));
}

static void print_merged(const cli *c, const char *file, const json_t *merged)
{
    if (c->json) return;
    printf("%s: %lld rows added, %lld known; experts now differ about %lld values\n", file,
           count(merged, "added"), count(merged, "known"), count(merged, "conflicts"));
}

static int merge_files(cli *c, cpt_notes *n, json_t *files)
{
    for (int i = 1; i < c->n_operands; i++) {
        cpt_err err;
        char *text;
        if (cpt_notes_merge_file(n, c->operands[i], &text, &err) != CPT_OK) return cli_fail(&err);
        json_t *merged = json_loads(text, 0, NULL);
        free(text);
        print_merged(c, c->operands[i], merged);
        json_object_set_new(merged, "file", json_string(c->operands[i]));
        json_array_append_new(files, merged);
    }
    return CLI_OK;
}

/* {author: {field: n}} of the rows. */
static json_t *count_by_author(const json_t *rows)
{
    json_t *authors = json_object(), *row;
    size_t i;
    json_array_foreach((json_t *)(uintptr_t)rows, i, row)
    {
        json_t *fields = json_object_get(authors, cli_text(row, "author"));
        if (!fields) {
            fields = json_object();
            json_object_set_new(authors, cli_text(row, "author"), fields);
        }
        json_object_set_new(fields, cli_text(row, "field"),
                            json_integer(count(fields, cli_text(row, "field")) + 1));
    }
    return authors;
}

static void print_authors(const json_t *authors, const json_t *list)
{
    const char *author, *field;
    json_t *fields, *n;
    json_object_foreach((json_t *)(uintptr_t)authors, author, fields)
    {
        const char *separator = "";
        printf("%s: ", author);
        json_object_foreach(fields, field, n)
        {
            printf("%s%lld %s", separator, (long long)json_integer_value(n), field);
            separator = ", ";
        }
        putchar('\n');
    }
    size_t n_earlier = json_array_size(json_object_get(list, "earlier"));
    if (n_earlier) printf("%zu values about concepts of an earlier dictionary\n", n_earlier);
    if (!json_object_size(authors) && !n_earlier) puts("nothing has been said yet");
}

/* One key per line, in the order of the concepts: for whoever writes notes by program. */
static int print_keys(cli *c, cpt_notes *n)
{
    cpt_err err;
    char *text;
    size_t i;
    json_t *key;
    if (cpt_notes_keys(n, &text, &err) != CPT_OK) return cli_fail(&err);
    json_t *root = json_loads(text, 0, NULL);
    free(text);
    json_array_foreach(json_object_get(root, "keys"), i, key) puts(json_string_value(key));
    json_decref(root);
    return cli_close_stdout();
}

int cli_notes(cli *c)
{
    cpt_err err;
    cpt_notes *n;
    char *text = NULL;
    json_t *files = json_array();
    int code = cli_operands(c, 1, CLI_MAX_OPERANDS);
    if (code == CLI_OK && cpt_notes_open(c->operands[0], &c->ctx, &n, &err) != CPT_OK)
        code = cli_fail(&err);
    if (code != CLI_OK) {
        json_decref(files);
        return code;
    }
    if (cli_value(c, "keys")) {
        code = print_keys(c, n);
        cpt_notes_close(n);
        json_decref(files);
        return code;
    }
    code = merge_files(c, n, files);
    if (code == CLI_OK && cpt_notes_list(n, NULL, &text, &err) != CPT_OK) code = cli_fail(&err);
    cpt_notes_close(n);
    if (code == CLI_OK) {
        json_t *list = json_loads(text, 0, NULL),
               *authors = count_by_author(json_object_get(list, "rows"));
        if (c->json)
            cli_print_json(json_pack("{s:O, s:O, s:i}", "merged", files, "authors", authors,
                                     "earlier",
                                     (int)json_array_size(json_object_get(list, "earlier"))));
        else if (!c->quiet) print_authors(authors, list);
        json_decref(authors);
        json_decref(list);
    }
    free(text);
    json_decref(files);
    return code == CLI_OK ? cli_close_stdout() : code;
}

/* ---- review ---- */

static void print_number(const char *name, const json_t *value)
{
    if (json_is_number(value)) printf("  %s %.3f", name, json_number_value(value));
    else printf("  %s not defined", name);
}

static void print_contrast(const char *name, const json_t *k)
{
    if (!json_is_object(k)) return;
    printf("concepts against %s: %+.2f (95 %% %.2f to %.2f), p %.2g; %lld concepts, %lld controls, "
           "%lld experts\n",
           name, json_number_value(json_object_get(k, "difference")),
           json_number_value(json_object_get(k, "low")),
           json_number_value(json_object_get(k, "high")),
           json_number_value(json_object_get(k, "p")), count(k, "concepts"), count(k, "controls"),
           count(k, "experts"));
}

static void print_agreement(const json_t *a)
{
    size_t i;
    json_t *row;
    const json_t *inter = json_object_get(a, "inter");
    json_array_foreach(json_object_get(a, "experts"), i, row)
    {
        printf("%s: %lld answers; with oneself on %lld repeats:", cli_text(row, "author"),
               count(row, "answered"), count(row, "repeats"));
        print_number("weighted kappa", json_object_get(row, "intra_kappa"));
        print_number("exact", json_object_get(row, "intra_exact"));
        putchar('\n');
    }
    json_array_foreach(json_object_get(inter, "pairs"), i, row)
    {
        printf("%s and %s, %lld units:", cli_text(row, "a"), cli_text(row, "b"), count(row, "n"));
        print_number("weighted kappa", json_object_get(row, "kappa"));
        putchar('\n');
    }
    if (json_array_size(json_object_get(inter, "pairs"))) {
        printf("all experts, %lld units:", count(inter, "items"));
        print_number("Krippendorff's alpha", json_object_get(inter, "krippendorff"));
        print_number("Fleiss' kappa", json_object_get(inter, "fleiss"));
        putchar('\n');
    }
    json_array_foreach(json_object_get(a, "kinds"), i, row) if (count(row, "n")) printf(
        "%s: mean rating %.2f (95 %% %.2f to %.2f) over %lld units, %lld ratings\n",
        cli_text(row, "kind"), json_number_value(json_object_get(row, "mean")),
        json_number_value(json_object_get(row, "low")),
        json_number_value(json_object_get(row, "high")), count(row, "n"), count(row, "ratings"));
    print_contrast("neurons", json_object_get(a, "concepts_against_neurons"));
    print_contrast("random directions", json_object_get(a, "concepts_against_random"));
}

int cli_review(cli *c)
{
    cpt_err err;
    cpt_notes *n;
    char *text;
    int code = cli_operands(c, 1, 1);
    if (code) return code;
    if (cpt_review_prepare(c->operands[0], c->options, c->line, &c->ctx, &err) != CPT_OK ||
        cpt_notes_open(c->operands[0], &c->ctx, &n, &err) != CPT_OK)
        return cli_fail(&err);
    cpt_status status = cpt_review_agreement(n, &text, &err);
    cpt_notes_close(n);
    if (status != CPT_OK) return cli_fail(&err);
    json_t *agreement = json_loads(text, 0, NULL);
    free(text);
    if (c->json) {
        cli_print_json(agreement);
    } else {
        if (!c->quiet && json_array_size(json_object_get(agreement, "experts")))
            print_agreement(agreement);
        else if (!c->quiet)
            printf("ready; `conceptome serve %s` and its page Review ask the experts\n",
                   c->operands[0]);
        json_decref(agreement);
    }
    return cli_close_stdout();
}

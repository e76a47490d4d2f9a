#include "cli.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* inspect, simulate, fetch. */

enum { MAX_LIST = 12, INDENT = 2 };

/* A screenful: nested objects indented, long lists cut with their length said. */
static void print_value(const json_t *v, int depth)
{
    const char *key;
    json_t *inner;
    size_t i;
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        if (depth) putchar('\n');
        json_object_foreach((json_t *)(uintptr_t)v, key, inner)
        {
            printf("%*s%s: ", depth * INDENT, "", key);
            print_value(inner, depth + 1);
        }
        return;
    case JSON_ARRAY:
        json_array_foreach(v, i, inner)
        {
            if (i == MAX_LIST) {
                printf(" ... (%zu in all)", json_array_size(v));
                break;
            }
            char *text = json_is_string(inner) ? NULL : json_dumps(inner, JSON_ENCODE_ANY);
            printf("%s%s", i ? ", " : "", text ? text : json_string_value(inner));
            free(text);
        }
        putchar('\n');
        return;
    case JSON_STRING: puts(json_string_value(v)); return;
    case JSON_INTEGER: printf("%lld\n", (long long)json_integer_value(v)); return;
    case JSON_REAL: printf("%.6g\n", json_real_value(v)); return;
    case JSON_TRUE: puts("yes"); return;
    case JSON_FALSE: puts("no"); return;
    default: puts("-");
    }
}

/* ---- a study ---- */

static bool is_default(const cpt_option_info *option, const json_t *value)
{
    const char *fallback = option->fallback ? option->fallback : "";
    if (json_is_string(value)) return strcmp(json_string_value(value), fallback) == 0;
    if (json_is_boolean(value)) return json_is_true(value) == (strcmp(fallback, "yes") == 0);
    if (json_is_number(value)) return json_number_value(value) == strtod(fallback, NULL);
    return json_is_array(value) && json_array_size(value) == 0;
}

/* What was chosen; the rest is in study.json and with --json. */
static void print_options(const json_t *options)
{
    size_t n;
    const cpt_option_info *table = cpt_option_list(&n);
    bool any = false;
    for (size_t i = 0; i < n; i++) {
        const json_t *value = json_object_get(options, table[i].name);
        if (!value || is_default(&table[i], value)) continue;
        if (!any) puts("options other than the defaults:");
        printf("%*s%s: ", INDENT, "", table[i].name);
        print_value(value, 1);
        any = true;
    }
}

static void print_stages(const json_t *stages)
{
    const char *name;
    json_t *stage;
    puts("stages:");
    json_object_foreach((json_t *)(uintptr_t)stages, name, stage)
    {
        const double seconds = cli_number(stage, "seconds");
        printf("%*s%-13s %s", INDENT, "", name, cli_text(stage, "state"));
        if (seconds == seconds) printf(" %8.1f s  %s", seconds, cli_text(stage, "started"));
        putchar('\n');
    }
}

static void print_study(const json_t *study)
{
    const json_t *input = json_object_get(study, "input");
    printf("kind: study of conceptome %s\n", cli_text(study, "conceptome"));
    printf("cells: %s\n", cli_text(input, "path"));
    if (*cli_text(input, "sha256")) printf("%*ssha256 %s\n", INDENT, "", cli_text(input, "sha256"));
    printf("command: %s\n", cli_text(study, "command"));
    print_options(json_object_get(study, "options"));
    print_stages(json_object_get(study, "stages"));
}

int cli_inspect(cli *c)
{
    cpt_err err;
    char *text;
    int code = cli_operands(c, 1, 1);
    if (code) return code;
    if (cpt_inspect(c->operands[0], &text, &err) != CPT_OK) return cli_fail(&err);
    if (c->json) {
        puts(text);
    } else {
        json_t *root = json_loads(text, 0, NULL);
        if (root && strcmp(cli_text(root, "kind"), "study") == 0)
            print_study(json_object_get(root, "content"));
        else if (root) print_value(root, 0);
        json_decref(root);
    }
    free(text);
    return cli_close_stdout();
}

int cli_simulate(cli *c)
{
    cpt_err err;
    long cells, genes, programs;
    const char *out = cli_value(c, "output");
    int code = cli_operands(c, 0, 0);
    if (code == CLI_OK) code = cli_count(c, "cells", 10, 100000000, 2000, &cells);
    if (code == CLI_OK) code = cli_count(c, "genes", 20, 1000000, 3000, &genes);
    if (code == CLI_OK) code = cli_count(c, "programs", 1, 1000, 8, &programs);
    if (code) return code;
    if (!out) return cli_usage(c, "-o FILE.h5ad is missing");
    const cpt_simulation what = {cells, (int32_t)genes, (int32_t)programs};
    if (cpt_simulate(out, &what, &c->ctx, &err) != CPT_OK) return cli_fail(&err);
    if (!c->quiet) puts(out);
    return cli_close_stdout();
}

int cli_fetch(cli *c)
{
    cpt_err err;
    char path[4096];
    int code = cli_operands(c, 1, 1);
    if (code) return code;
    if (cpt_fetch(c->operands[0], path, sizeof path, &c->ctx, &err) != CPT_OK)
        return cli_fail(&err);
    puts(path);
    return cli_close_stdout();
}

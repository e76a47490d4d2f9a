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
        if (root) print_value(root, 0);
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

#include "cli.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

/* fit, embed, train, encode: one step on files. */

static int need_output(cli *c, const char **out)
{
    int code = cli_operands(c, 1, 1);
    if (code) return code;
    *out = cli_value(c, "output");
    return *out ? CLI_OK : cli_usage(c, "-o is missing");
}

static int said(cli *c, cpt_status status, const cpt_err *err, const char *out)
{
    if (status != CPT_OK) return cli_fail(err);
    if (c->json) cli_print_json(json_pack("{s:s}", "file", out));
    else if (!c->quiet) puts(out);
    return cli_close_stdout();
}

int cli_fit(cli *c)
{
    cpt_err err;
    const char *out;
    int code = need_output(c, &out);
    if (code) return code;
    return said(c, cpt_fit(c->operands[0], out, c->options, &c->ctx, &err), &err, out);
}

int cli_embed(cli *c)
{
    if (cli_value(c, "shard")) return cli_piece(c, "embedding");
    cpt_err err;
    const char *out;
    int code = need_output(c, &out);
    if (code) return code;
    return said(c, cpt_embed(c->operands[0], out, c->options, &c->ctx, &err), &err, out);
}

int cli_train(cli *c)
{
    cpt_err err;
    const char *out;
    char *report = NULL;
    int code = need_output(c, &out);
    if (code) return code;
    if (cpt_train(c->operands[0], cli_value(c, "obsm"), out, c->options, &report, &c->ctx, &err) !=
        CPT_OK)
        return cli_fail(&err);
    if (c->json) puts(report);
    else if (!c->quiet) puts(out);
    free(report);
    return cli_close_stdout();
}

int cli_encode(cli *c)
{
    cpt_err err;
    const char *out;
    int code = need_output(c, &out);
    if (code) return code;
    if (!cpt_options_given(c->options, "dictionary"))
        return cli_usage(c, "--dictionary DICT is missing");
    return said(c,
                cpt_encode(c->operands[0], cli_value(c, "obsm"),
                           cpt_options_text(c->options, "dictionary"), out, &c->ctx, &err),
                &err, out);
}

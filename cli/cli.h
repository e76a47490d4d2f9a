/* cli.h - what the subcommands share: arguments, log, progress, Ctrl-C, the last line. */
#ifndef CPT_CLI_H
#define CPT_CLI_H

#include "conceptome.h"

#include <jansson.h>

enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

/* An option of one command only; those of the option table are known everywhere. */
typedef struct cli_extra {
    const char *name;     /* "output" */
    char letter;          /* 'o', or 0 */
    const char *argument; /* placeholder; NULL = flag */
    const char *help;
    const char *value;    /* filled by cli_parse; "" for a given flag, NULL = not given */
} cli_extra;

struct cli;
typedef struct cli_command {
    const char *name, *group, *usage, *line; /* one line for `help` */
    const char *about;                       /* a paragraph for `help NAME` */
    const char *option_groups;               /* of the option table: "cells model", "all", "" */
    int (*run)(struct cli *c);
    const cli_extra *extras;                 /* ends with a NULL name */
} cli_command;

enum { CLI_MAX_EXTRAS = 16, CLI_MAX_OPERANDS = 64 };

typedef struct cli {
    const cli_command *command;
    cpt_context ctx;
    cpt_options *options;
    cli_extra extras[CLI_MAX_EXTRAS];
    const char *operands[CLI_MAX_OPERANDS];
    int n_operands;
    bool quiet, verbose, json, help;
    char *line; /* the whole command line, for provenance */
} cli;

const cli_command *cli_commands(size_t *n);

/* Fills *c; CLI_OK, or CLI_USAGE after having said why on stderr. */
int cli_parse(cli *c, const cli_command *command, int argc, char **argv);
const char *cli_value(const cli *c, const char *extra); /* NULL when not given */
/* Exactly `least` to `most` operands, else a usage message. */
int cli_operands(const cli *c, int least, int most);
int cli_usage(const cli *c, const char *fmt, ...);
int cli_fail(const cpt_err *e); /* prints, returns the exit code that belongs to it */
/* Flushes and closes stdout: a full disk is an error, not silence. */
int cli_close_stdout(void);

/* A whole number among the extras, or `fallback`; a usage message when it is none or out of range. */
int cli_count(cli *c, const char *extra, long low, long high, long fallback, long *out);
void cli_print_json(json_t *value); /* one line on stdout; takes the value over */
double cli_number(const json_t *object, const char *key);      /* NaN when it is no number */
const char *cli_text(const json_t *object, const char *key);   /* "" when it is no text */

int cli_piece(cli *c, const char *stage); /* one piece, by --shard */

/* Columns of the terminal that `fd` is; 0 when it is none, or does not say. */
int cli_columns(int fd);
/* The text on stdout in lines of at most `width` columns (a longer word stands alone), after `used` columns of the
 * first; further lines begin with `indent` spaces. Line feeds in it are spaces. */
void cli_wrap(const char *text, int used, int indent, int width);

void cli_begin(cli *c); /* log, progress, signals */
void cli_end(cli *c, int code);

void cli_help(const char *program_name);
void cli_help_command(const cli_command *command);

int cli_run(cli *c);
int cli_fit(cli *c);
int cli_embed(cli *c);
int cli_train(cli *c);
int cli_encode(cli *c);
int cli_attribute(cli *c);
int cli_merge(cli *c);
int cli_enrich(cli *c);
int cli_evaluate(cli *c);
int cli_report(cli *c);
int cli_serve(cli *c);
int cli_export(cli *c);
int cli_compare(cli *c);
int cli_steer(cli *c);
int cli_notes(cli *c);
int cli_review(cli *c);
int cli_inspect(cli *c);
int cli_simulate(cli *c);
int cli_fetch(cli *c);

#endif
